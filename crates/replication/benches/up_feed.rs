//! Records per second that a parent applies, without a network: `cargo bench -p replication`.
//!
//! Prints one line per case: the whole way (read, compress, decompress, verify, judge, commit, acknowledge) over logs in memory
//! and on files, and the parts that do most of the work alone. The number of records is the first argument, 100,000 by default.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, stream};
use model::body::{Flow, InstitutionEntry, Kind, NodeEntry, Registration, SigningKeyEntry};
use model::{
    Clock, EpochId, NodePath, OriginId, Record, RecordId, RecordKey, SigningKey, TrustDomain, VerifyingKey,
};
use prost::Message;
use replication::batch::{Place, decode, encode};
use replication::entitlement::{Rules, Staged, judge};
use replication::{AdmittedKey, Directory, Keyring, LinkError, Links, NodeIdentity, Receiver, Sender};
use store::{
    Derivation, Draft, Expect, Files, IndexChoice, Limits, Memory, MemoryIndex, Options, Run, Storage, Store,
    Term,
};
use tokio::sync::mpsc;

#[derive(Debug)]
struct WallClock(Instant);

impl Clock for WallClock {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + self.0.elapsed().as_millis() as u64
    }
}

/// Terms as registrations have them: four each.
#[derive(Debug)]
struct Terms;

impl Derivation for Terms {
    fn version(&self) -> u32 {
        1
    }

    fn terms(&self, record: &Record, out: &mut Vec<Term>) {
        replication::directory_terms(record, out);
        if record.envelope().kind == Kind::Registration as u32 {
            let term = |space: u8| RecordId::of(&[&[space], record.key().as_bytes()]).0;
            out.extend((2..6).map(|space| Term { space, term: term(space) }));
        }
    }
}

#[derive(Debug)]
struct PlainKeyring;

impl Keyring for PlainKeyring {
    fn admit(&self, entry: &SigningKeyEntry) -> Result<AdmittedKey, String> {
        let path = String::from_utf8_lossy(&entry.certificate_chain[0]).parse().map_err(|_| "no path")?;
        let key = entry.public_key[..].try_into().ok().and_then(VerifyingKey::from_bytes).ok_or("no key")?;
        Ok(AdmittedKey { path, key })
    }
}

struct Node {
    own: NodeIdentity,
    key: SigningKey,
    store: Store,
    directory: Directory,
    clock: Arc<dyn Clock>,
}

fn domain() -> TrustDomain {
    "tiermesh.bench".parse().expect("a trust domain")
}

fn open(path: &str, seed: u8, storage: Arc<dyn Storage>) -> Node {
    let clock: Arc<dyn Clock> = Arc::new(WallClock(Instant::now()));
    let key = SigningKey::from_seed(&[seed; 32]);
    let own = NodeIdentity {
        path: path.parse().expect("a path"),
        origin: OriginId::of_node(&domain(), key.verifying_key().as_bytes()),
        trust_domain: domain(),
        software: "bench".into(),
        protocols: model::feed::PROTOCOLS.to_vec(),
    };
    let options = Options {
        storage,
        index: IndexChoice::Memory(MemoryIndex::default()),
        derivation: Arc::new(Terms),
        clock: Arc::clone(&clock),
        boot_id: "bench".into(),
        node: own.origin,
        signing: key.clone(),
        run: Run::Threads,
        limits: Limits { reserve_bytes: 0, ..Limits::default() },
    };
    let (store, _) = Store::open(options).expect("a new store opens");
    let directory = Directory::load(&store, &PlainKeyring).expect("an empty directory");
    Node { own, key, store, directory, clock }
}

impl Node {
    fn draft(&self, kind: Kind, natural_key: &[&[u8]], body: &impl Message) -> Draft {
        Draft {
            flow: Flow::Directory,
            kind: kind as u32,
            id: RecordId::of(natural_key),
            origin: self.own.origin,
            term: 1,
            subject: None,
            tombstone: false,
            body: body.encode_to_vec().into(),
            expect: Expect::Anything,
        }
    }

    async fn begin(&self) {
        let key = SigningKeyEntry {
            public_key: Bytes::copy_from_slice(self.key.verifying_key().as_bytes()),
            certificate_chain: vec![self.own.path.to_string().into()],
        };
        let place = NodeEntry {
            origin: Bytes::copy_from_slice(self.own.origin.as_bytes()),
            path: self.own.path.to_string(),
            trust_domain: domain().to_string(),
            ..NodeEntry::default()
        };
        let extra = vec![
            self.draft(Kind::SigningKey, &[self.key.id().as_bytes()], &key),
            self.draft(Kind::Node, &[], &place),
        ];
        self.store.begin_epoch(EpochId([self.own.origin.0[0]; 16]), extra).await.expect("an epoch");
    }

    /// Registrations with bodies of about 400 bytes, 100 to a commit, as a group of concurrent calls makes them.
    async fn fill(&self, count: usize) {
        let code = "53290112345678901A1001";
        let origin = OriginId::of_institution(&domain(), code);
        let entry = InstitutionEntry {
            origin: Bytes::copy_from_slice(origin.as_bytes()),
            code: code.into(),
            writer: Bytes::copy_from_slice(self.own.origin.as_bytes()),
            term: 1,
            ..InstitutionEntry::default()
        };
        let enrolment = self.draft(Kind::Institution, &[origin.as_bytes(), &1u32.to_be_bytes()], &entry);
        self.store.commit(vec![enrolment]).await.expect("the enrolment");
        for start in (0..count).step_by(100) {
            let drafts = (start..count.min(start + 100)).map(|n| registration(origin, code, n)).collect();
            self.store.commit(drafts).await.expect("registrations");
        }
    }
}

fn registration(origin: OriginId, code: &str, n: usize) -> Draft {
    let local_id = format!("P{n:08}");
    let id = RecordId::of(&[b"", local_id.as_bytes()]);
    let kind = Kind::Registration as u32;
    // Text that compresses as names and addresses do, not as zeros.
    let address: String = (0..30)
        .map(|at| char::from_u32(0x4E00 + ((n * 31 + at * 977) % 4000) as u32).unwrap_or('云'))
        .collect();
    let body = Registration {
        local_id,
        institution_code: code.into(),
        number: model::Number::of(RecordKey::of(kind, origin, id)).to_string(),
        name: format!("{}{n}", &address[..9]),
        birth_date: format!("19{:02}-0{}-1{}", n % 100, n % 9 + 1, n % 10),
        sex: "1".into(),
        phones: vec![format!("138{n:08}")],
        addresses: vec![model::body::Address { text: address.repeat(2), region_code: "532901".into() }],
        ..Registration::default()
    };
    Draft {
        flow: Flow::Registration,
        kind,
        id,
        origin,
        term: 1,
        subject: Some(RecordKey::of(kind, origin, id)),
        tombstone: false,
        body: body.encode_to_vec().into(),
        expect: Expect::Absent,
    }
}

fn frames<T: Send>(frames: mpsc::Receiver<T>) -> impl Stream<Item = Result<T, LinkError>> + Send {
    stream::unfold(frames, async |mut frames| frames.recv().await.map(|frame| (Ok(frame), frames)))
}

/// Ships all that the child holds, and reports how long it took.
async fn drain(what: &str, count: usize, child: &Node, parent: &Node) {
    let links = Links::new();
    let sender = Sender::new(
        child.store.clone(),
        child.directory.clone(),
        Arc::new(PlainKeyring),
        links.clone(),
        child.clock.clone(),
        child.own.clone(),
    );
    let receiver = Receiver::new(
        parent.store.clone(),
        parent.directory.clone(),
        Arc::new(PlainKeyring),
        Links::new(),
        parent.clock.clone(),
        parent.own.clone(),
    );
    let (up, up_frames) = mpsc::channel(2);
    let (down, down_frames) = mpsc::channel(2);
    let peer: NodePath = child.own.path.clone();
    let started = Watch::start();
    let serving = tokio::spawn(async move { receiver.serve(peer, frames(up_frames), down).await });
    let shipping = tokio::spawn(async move { sender.ship(frames(down_frames), up).await });
    let head = child.store.head();
    while links.view(&parent.own.path).is_none_or(|link| link.position < head) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    report(what, count, started);
    shipping.abort();
    serving.abort();
}

async fn whole_way(what: &str, count: usize, storage: impl Fn(&str) -> Arc<dyn Storage>) {
    let parent = open("530000", 1, storage("parent"));
    let child = open("530000/532900", 2, storage("child"));
    parent.begin().await;
    child.begin().await;
    let started = Watch::start();
    child.fill(count).await;
    report(&format!("{what}: committed at the child"), count, started);
    drain(&format!("{what}: shipped and applied"), count, &child, &parent).await;
    let held = parent.store.status().live(Kind::Registration as u32);
    assert_eq!(held, count as u64, "the parent holds what the child holds");
}

/// The pure parts alone, on one core.
async fn parts(count: usize) {
    let child = open("530000/532900", 2, Arc::new(Memory::new(1)));
    child.begin().await;
    child.fill(count).await;
    let mut reader = child.store.feed_reader(0);
    let mut slices = Vec::new();
    let started = Watch::start();
    loop {
        let slice = reader.next(1000, 1 << 20, &|_| true).expect("the feed is read");
        if slice.records.is_empty() {
            break;
        }
        slices.push(slice.records);
    }
    report("parts: read from the log", count, started);
    let place = Place { after: 0, upto: 0, head: 0, now_ms: 0 };
    let started = Watch::start();
    let batches: Vec<_> = slices.iter().map(|slice| encode(slice, place)).collect();
    report("parts: encode and compress", count, started);
    let (raw, sent) = batches
        .iter()
        .fold((0, 0), |sum, batch| (sum.0 + batch.raw_len as usize, sum.1 + batch.payload.len()));
    println!(
        "{:<44} {:>10.1} bytes before, {:.1} after compression",
        "parts: a record in a batch",
        raw as f64 / count as f64,
        sent as f64 / count as f64
    );
    let started = Watch::start();
    let decoded: Vec<Vec<Record>> = batches
        .iter()
        .map(|batch| {
            decode(batch)
                .expect("own batches")
                .into_iter()
                .map(|raw| Record::from_raw(raw).expect("own records"))
                .collect()
        })
        .collect();
    report("parts: decompress and read", count, started);
    let (trust_domain, sender) = (domain(), child.own.path.clone());
    let rules = Rules {
        trust_domain: &trust_domain,
        from: replication::entitlement::Territory::Within(&sender),
        keyring: &PlainKeyring,
    };
    let mut staged = Staged::new(Directory::default().snapshot());
    let started = Watch::start();
    for records in &decoded {
        staged = judge(records, staged, rules).1;
    }
    report("parts: verify and judge", count, started);
}

fn report(what: &str, count: usize, took: Watch) {
    let (wall, processor) = took.read();
    println!(
        "{what:<44} {:>10.0} records/s ({wall:.2} s, {processor:.2} s of processor)",
        count as f64 / wall
    );
}

/// Time on the wall and on the processors (from Linux; zero elsewhere): the second tells more on a busy machine.
#[derive(Clone, Copy)]
struct Watch {
    wall: Instant,
    processor: f64,
}

impl Watch {
    fn start() -> Self {
        Self { wall: Instant::now(), processor: processor_s() }
    }

    fn read(self) -> (f64, f64) {
        (self.wall.elapsed().as_secs_f64(), processor_s() - self.processor)
    }
}

fn processor_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let count = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(100_000);
    parts(count).await;
    whole_way("memory", count, |name| Arc::new(Memory::new(name.len() as u64))).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    whole_way("files", count, |name| Arc::new(Files::open(folder.path().join(name)).expect("a folder")))
        .await;
}
