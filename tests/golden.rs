//! Bytes as releases wrote them, read by this one: records, the frames of a feed, and names in certificates.
//!
//! `golden/<release>/` holds them. Those of this release must also come out the same when they are made again: what changes them
//! changes what older neighbours read, and needs a new version of the protocol.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use bytes::Bytes;
use identity::name::{Role, SpiffeId};
use model::body::{
    DocumentEntry, EpochEntry, FieldWeight, Kind, LinkBasis, LinkDecision, LinkLayer, PastDecision,
    PersonLink, RawRecord, Registration, RegistrationRef,
};
use model::feed::{
    Ack, BucketSum, Comparison, Compression, Direction, FromReceiver, FromSender, Head, Hello, JudgedUpTo,
    NodeSeen, PROTOCOLS, Proof, Refused, Verdict, Welcome,
};
use model::person_link::Decided;
use model::record::Unsigned;
use model::{Flow, OriginId, Record, RecordId, RecordKey, SigningKey, TrustDomain, Version};
use prost::Message;
use replication::batch::{self, Place};
use wire::v1;

/// Set to 1: writes the directory of this release anew. Those of earlier ones are never written.
const UPDATE: &str = "TIERMESH_UPDATE_GOLDEN";
const RELEASE: &str = env!("CARGO_PKG_VERSION");
const RECORDS: &str = "records.txt";
const NAMES: &str = "names.txt";
/// The compressor may find other bytes for the same records: these are only read.
const COMPRESSED: &str = "batch-zstd";

fn folder() -> PathBuf {
    static WRITTEN: Once = Once::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    if std::env::var(UPDATE).is_ok_and(|value| value == "1") {
        WRITTEN.call_once(|| write(&folder.join(RELEASE)));
    }
    folder
}

fn write(path: &Path) {
    fs::create_dir_all(path).expect("a folder");
    for (name, frame) in sent().iter().map(|(name, frame)| (name, sent_bytes(frame.clone()))) {
        fs::write(path.join(format!("{name}.sent")), frame).expect("written");
    }
    for (name, frame) in received() {
        fs::write(path.join(format!("{name}.received")), received_bytes(frame)).expect("written");
    }
    fs::write(path.join(RECORDS), listed(&kept())).expect("written");
    fs::write(path.join(NAMES), names()).expect("written");
}

/// The directories of all releases.
fn releases() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the folder").map(|entry| entry.expect("an entry").path());
    let found: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    assert!(!found.is_empty());
    found
}

/// Names and bytes of one directory's files that end so.
fn files(of: &Path, ending: &str) -> Vec<(String, Bytes)> {
    let entries =
        fs::read_dir(of).expect("the release's folder").map(|entry| entry.expect("an entry").path());
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let mut found: Vec<(String, Bytes)> = entries
        .filter_map(|path| {
            Some((name(&path).strip_suffix(ending)?.to_owned(), fs::read(&path).expect("bytes").into()))
        })
        .collect();
    found.sort();
    found
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[21; 32])
}

fn domain() -> TrustDomain {
    "golden.tiermesh".parse().expect("a trust domain")
}

fn signed(flow: Flow, kind: u32, natural: &[&[u8]], seq: u64, body: &impl Message) -> Record {
    let origin = OriginId::of_institution(&domain(), "12530000431204711A");
    let unsigned = Unsigned {
        flow,
        kind,
        id: RecordId::of(natural),
        origin,
        subject: (kind == 2).then(|| RecordKey::of(1, origin, RecordId::of(&[b"", b"P1"]))),
        tombstone: false,
        body: body.encode_to_vec().into(),
    };
    Record::sign(unsigned, Version { term: 2, epoch: 3, seq }, 1_790_000_000_000, &key()).expect("a record")
}

/// A registration, a document entry and a tombstone of nobody.
fn records() -> Vec<Record> {
    let registration = Registration {
        local_id: "P1".into(),
        institution_code: "12530000431204711A".into(),
        name: "段·金花".into(),
        sex: "2".into(),
        birth_date: "1987-05-01".into(),
        ..Registration::default()
    };
    let document = DocumentEntry {
        document_id: "LAB1".into(),
        local_id: "P1".into(),
        title: "检验报告".into(),
        created_ms: 1_780_000_000_000,
        ..DocumentEntry::default()
    };
    let first = signed(Flow::Registration, 1, &[b"", b"P1"], 7, &registration);
    let gone = Unsigned {
        flow: Flow::Registration,
        kind: 1,
        id: RecordId::of(&[b"", b"P2"]),
        origin: first.envelope().origin,
        subject: None,
        tombstone: true,
        body: Bytes::new(),
    };
    let version = Version { term: 2, epoch: 3, seq: 9 };
    vec![
        first,
        signed(Flow::DocumentEntry, 2, &[b"LAB1"], 8, &document),
        Record::sign(gone, version, 1_790_000_000_001, &key()).expect("a record"),
    ]
}

/// What a linker decided about two registrations, with a decision before it, and what a human decided.
fn links() -> Vec<Record> {
    let by = OriginId::of_node(&domain(), key().verifying_key().as_bytes());
    let codes = ["12530000431204711A", "12530000431204712B"];
    let mut ends = codes.map(|code| {
        let (origin, id) = (OriginId::of_institution(&domain(), code), RecordId::of(&[b"", b"P1"]));
        let end = RegistrationRef {
            origin: origin.as_bytes().to_vec().into(),
            id: id.as_bytes().to_vec().into(),
            born_ms: 1_780_000_000_000,
            version: "2.3.7".into(),
        };
        (RecordKey::of(1, origin, id), end)
    });
    ends.sort_by_key(|(key, _)| *key);
    let [(a, end_a), (b, end_b)] = ends;
    let past = PastDecision {
        version: "1.3.8".into(),
        recorded_ms: 1_790_000_000_000,
        decision: LinkDecision::None as i32,
        basis: LinkBasis::Score as i32,
        weight_millibits: -2_500,
        model: "cn-2026.0".into(),
        ..PastDecision::default()
    };
    let machine = PersonLink {
        a: Some(end_a),
        b: Some(end_b),
        layer: LinkLayer::Machine as i32,
        decision: LinkDecision::Same as i32,
        basis: LinkBasis::Score as i32,
        weight_millibits: 23_456,
        doubtful: true,
        model: "cn-2026.1".into(),
        form: 1,
        fields: vec![FieldWeight { comparison: 2, level: 1, weight_millibits: -300 }],
        past: vec![past],
        ..PersonLink::default()
    };
    let human = PersonLink {
        layer: LinkLayer::Human as i32,
        decision: LinkDecision::Different as i32,
        basis: LinkBasis::Human as i32,
        weight_millibits: 0,
        doubtful: false,
        model: String::new(),
        form: 0,
        fields: Vec::new(),
        past: Vec::new(),
        operator: "li.wei".into(),
        reason: "父子同名".into(),
        ..machine.clone()
    };
    let sign = |link: PersonLink, seq| {
        let unsigned = Unsigned {
            flow: Flow::Link,
            kind: 3,
            id: RecordId::of(&[&[link.layer as u8], a.as_bytes(), b.as_bytes()]),
            origin: by,
            subject: Some(a),
            tombstone: false,
            body: link.encode_to_vec().into(),
        };
        let version = Version { term: 1, epoch: 3, seq };
        Record::sign(unsigned, version, 1_790_000_000_002, &key()).expect("a record")
    };
    vec![sign(machine, 10), sign(human, 11)]
}

/// Everything of which the bytes are kept.
fn kept() -> Vec<Record> {
    records().into_iter().chain(links()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(digits).collect()
}

/// A record a line: its bytes, and what is computed from them.
fn listed(records: &[Record]) -> String {
    records.iter().fold(String::new(), |mut out, record| {
        let (raw, envelope) = (record.to_raw().encode_to_vec(), record.envelope());
        let (id, origin, version) = (envelope.id, envelope.origin, envelope.version);
        let (key, digest, bucket) =
            (record.key(), store::contribution(record), store::bucket_of(&record.key()));
        let _ = writeln!(
            out,
            "{} key {key} id {id} origin {origin} version {version} contributes {digest:032x} to {bucket}",
            hex(&raw)
        );
        out
    })
}

fn names() -> String {
    let places = ["530000", "530000/532900/532901"];
    let below = |path: &str| {
        let client = |role: Role, who: &str| format!("/{path}/{role}/{who}");
        let mut all = vec![format!("/{path}"), format!("/{path}/node")];
        all.push(client(Role::Institution, "12530000431204711A"));
        all.extend([Role::Operator, Role::Auditor, Role::Service].map(|role| client(role, "li.wei_1-a")));
        all
    };
    let all = [String::new()].into_iter().chain(places.into_iter().flat_map(below));
    let names: Vec<String> = all.map(|rest| format!("spiffe://golden.tiermesh{rest}")).collect();
    names.join("\n") + "\n"
}

fn sum(bucket: u16) -> BucketSum {
    BucketSum { bucket, sum: u128::MAX / 3 + u128::from(bucket), records: 5 }
}

/// What a sender says.
fn sent() -> Vec<(&'static str, FromSender)> {
    let epoch = EpochEntry {
        counter: 3,
        epoch_id: vec![4; 16].into(),
        previous_epoch_id: vec![3; 16].into(),
        base_seq: 6,
        started_ms: 1_790_000_000_000,
    };
    let hello = |direction| Hello {
        protocols: PROTOCOLS.to_vec(),
        direction,
        path: "530000/532900/532901".parse().expect("a path"),
        origin: OriginId([5; 16]),
        trust_domain: domain(),
        generation: [6; 16],
        head: 1 << 40,
        epochs: vec![epoch.clone()],
        began: vec![1 << 33],
        last_seq: 9,
        now_ms: 1_790_000_000_002,
        software: "tiermesh golden".into(),
        introduction: records(),
    };
    let seen = NodeSeen {
        path: "530000/532900/532901/532902".parse().expect("a path"),
        connected: true,
        heard_ago_ms: Some(0),
        behind: 3,
    };
    let plain = Head { head: 12, now_ms: 4, below: Vec::new(), proof: None, check: None, judged: Vec::new() };
    let head = |proof, below| FromSender::Head(Head { below, proof, ..plain.clone() });
    let judged = JudgedUpTo {
        by: "530000/532900".parse().expect("a path"),
        numbering: [9; 16],
        position: 1 << 34,
        ago_ms: 1500,
    };
    let total = Proof { position: 12, total: sum(0), buckets: Vec::new() };
    let place = Place { after: 3, upto: 9, head: 12, now_ms: 5 };
    // Many of the same bytes, so that they are worth compressing.
    let many: Vec<Record> = (0..40).flat_map(|_| records()).collect();
    vec![
        ("hello-up", FromSender::Hello(Box::new(hello(Direction::Up)))),
        ("hello-down", FromSender::Hello(Box::new(hello(Direction::Down)))),
        ("hello-restore", FromSender::Hello(Box::new(hello(Direction::Restore)))),
        ("batch-none", FromSender::Batch(batch::encode(&records()[2..], place))),
        (COMPRESSED, FromSender::Batch(batch::encode(&many, place))),
        ("head", head(None, vec![seen.clone(), NodeSeen { heard_ago_ms: None, connected: false, ..seen }])),
        ("head-proof", head(Some(total.clone()), Vec::new())),
        ("head-judged", FromSender::Head(Head { judged: vec![judged], ..plain.clone() })),
        ("head-buckets", head(Some(Proof { buckets: vec![sum(0), sum(1023)], ..total }), Vec::new())),
    ]
}

/// What a receiver says.
fn received() -> Vec<(&'static str, FromReceiver)> {
    let mut refused = Refused { incomplete: true, ..Refused::default() };
    refused.push(
        RecordKey([7; 16]),
        Version { term: 1, epoch: 2, seq: 3 },
        "the signature is not the writer's",
    );
    let welcome = Welcome {
        protocol: 1,
        position: 11,
        now_ms: 6,
        path: "530000/532900".parse().expect("a path"),
        origin: OriginId([8; 16]),
        max_batch_bytes: 1 << 20,
        max_in_flight: 8,
        max_bytes_per_s: Some(250_000),
        software: "tiermesh golden".into(),
        refused: refused.clone(),
        lost_before: 3,
    };
    let ack = |verdict| {
        let (applied, repeated, quarantined) = (2, 1, 1);
        let refused = refused.clone();
        let (position, now_ms, quarantined_total, quarantined_settled) = (12, 7, 4, 3);
        FromReceiver::Ack(Ack {
            check: None,
            position,
            applied,
            repeated,
            quarantined,
            now_ms,
            quarantined_total,
            quarantined_settled,
            refused,
            verdict,
        })
    };
    let verdict =
        |comparison| Verdict { position: 12, comparison, differing: Vec::new(), given_back: Vec::new() };
    let different =
        Verdict { differing: vec![0, 1023], given_back: records(), ..verdict(Comparison::Different) };
    vec![
        ("welcome", FromReceiver::Welcome(welcome)),
        ("ack", ack(None)),
        ("ack-equal", ack(Some(verdict(Comparison::Equal)))),
        ("ack-different", ack(Some(different))),
        ("ack-not-yet", ack(Some(verdict(Comparison::NotYet)))),
    ]
}

fn sent_bytes(frame: FromSender) -> Vec<u8> {
    v1::ShipRequest::from(frame).encode_to_vec()
}

fn received_bytes(frame: FromReceiver) -> Vec<u8> {
    v1::ShipReply::from(frame).encode_to_vec()
}

fn sent_of(bytes: Bytes) -> FromSender {
    v1::ShipRequest::decode(bytes).expect("a message").try_into().expect("a frame")
}

fn received_of(bytes: Bytes) -> FromReceiver {
    v1::ShipReply::decode(bytes).expect("a message").try_into().expect("a frame")
}

/// The records that a frame carries, with all of their bytes.
fn carried(frame: &FromSender) -> Vec<RawRecord> {
    match frame {
        FromSender::Hello(hello) => hello.introduction.iter().map(Record::to_raw).collect(),
        FromSender::Batch(batch) => batch::decode(batch).expect("a batch"),
        FromSender::Head(_) => Vec::new(),
    }
}

#[test]
fn frames_of_any_release_are_read() {
    for release in releases() {
        let place = release.display();
        let (sent, received) = (files(&release, ".sent"), files(&release, ".received"));
        assert!(!sent.is_empty() && !received.is_empty(), "{place}");
        // Fields are only added, and what an older release did not say is not said for it: the same bytes come out again. A field
        // that is read under another number would be missing in them.
        for (name, bytes) in sent {
            let frame = sent_of(bytes.clone());
            assert!(!matches!(frame, FromSender::Batch(_)) || !carried(&frame).is_empty(), "{place}/{name}");
            assert!(bytes == sent_bytes(frame), "{place}/{name}: not read whole");
        }
        for (name, bytes) in received {
            assert!(bytes == received_bytes(received_of(bytes.clone())), "{place}/{name}: not read whole");
        }
    }
}

#[test]
fn frames_of_this_release_are_the_same_bytes_and_mean_the_same() {
    let release = folder().join(RELEASE);
    let kept = files(&release, ".sent");
    assert_eq!(kept.len(), sent().len());
    for (name, made) in sent() {
        let (_, bytes) =
            kept.iter().find(|(kept, _)| kept == name).unwrap_or_else(|| panic!("no {name}.sent"));
        let frame = sent_of(bytes.clone());
        assert_eq!(carried(&frame), carried(&made), "{name}");
        if name != COMPRESSED {
            assert_eq!(format!("{frame:?}"), format!("{made:?}"), "{name}");
            assert!(bytes == &sent_bytes(made), "{name}: other bytes; {UPDATE}=1 writes them anew");
        }
        assert!(bytes == &sent_bytes(frame), "{name}: other bytes when sent on");
    }
    let zstd = kept.iter().find(|(kept, _)| kept == COMPRESSED).expect("a batch").1.clone();
    assert!(matches!(sent_of(zstd), FromSender::Batch(batch) if batch.compression == Compression::Zstd));
    let kept = files(&release, ".received");
    assert_eq!(kept.len(), received().len());
    for (name, made) in received() {
        let (_, bytes) =
            kept.iter().find(|(kept, _)| kept == name).unwrap_or_else(|| panic!("no {name}.received"));
        assert_eq!(received_of(bytes.clone()), made, "{name}");
        assert!(bytes == &received_bytes(made), "{name}: other bytes; {UPDATE}=1 writes them anew");
    }
}

#[test]
fn records_of_any_release_are_read_and_verified() {
    for release in releases() {
        let kept = fs::read_to_string(release.join(RECORDS)).expect("the records");
        let read = |line: &str| {
            let raw = unhex(line.split(' ').next().expect("bytes"));
            Record::from_raw(RawRecord::decode(&raw[..]).expect("a message")).expect("a record")
        };
        let records: Vec<Record> = kept.lines().map(read).collect();
        for record in &records {
            record.verify(&key().verifying_key()).expect("signed by the key of this test");
            if record.envelope().kind == Kind::Link as u32 {
                Decided::of(record).expect("a link");
            }
        }
        assert_eq!(listed(&records), kept, "{}: key, id, version, digest", release.display());
    }
    let kept = fs::read_to_string(folder().join(RELEASE).join(RECORDS)).expect("the records");
    assert_eq!(listed(&self::kept()), kept, "{UPDATE}=1 writes them anew");
}

#[test]
fn names_of_any_release_are_read() {
    for release in releases() {
        let kept = fs::read_to_string(release.join(NAMES)).expect("the names");
        let mut roles = Vec::new();
        for line in kept.lines() {
            let id: SpiffeId = line.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(id.to_string(), line);
            roles.push(id.name.role());
        }
        let all =
            [Role::Authority, Role::Node, Role::Institution, Role::Operator, Role::Auditor, Role::Service];
        assert!(all.iter().all(|role| roles.contains(role)), "{}: {roles:?}", release.display());
    }
    let kept = fs::read_to_string(folder().join(RELEASE).join(NAMES)).expect("the names");
    assert_eq!(names(), kept, "{UPDATE}=1 writes them anew");
}
