//! A node as `node` builds it, as far as replication goes: store, directory, both ends of links, its own writes.

use std::sync::Arc;

use bytes::Bytes;
use model::body::{EpochEntry, Flow, InstitutionEntry, Kind, NodeEntry, Registration, SigningKeyEntry};
use model::{
    Clock, EpochId, NodePath, OriginId, Record, RecordId, RecordKey, SigningKey, TrustDomain, VerifyingKey,
    Version,
};
use parking_lot::Mutex;
use prost::Message;
use replication::{
    AdmittedKey, Children, Directory, Interest, Keyring, Links, NodeIdentity, Receiver, ReceiverSettings,
    Sender, SenderSettings,
};
use store::{
    CommitError, Cut, Derivation, Draft, Expect, IndexChoice, Limits, Memory, MemoryIndex, Options,
    ReadError, Run, Store, Term,
};
use tokio::task::JoinHandle;

use crate::wire::{Breaks, Door, NEVER, Open, connect};

/// Simulated time: tokio's paused clock.
#[derive(Debug)]
pub struct TestClock(tokio::time::Instant);

impl TestClock {
    pub fn new() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + self.0.elapsed().as_millis() as u64
    }
}

#[derive(Debug)]
pub struct Terms;

impl Derivation for Terms {
    fn version(&self) -> u32 {
        1
    }

    fn terms(&self, record: &Record, out: &mut Vec<Term>) {
        replication::directory_terms(record, out);
    }
}

/// Certificates are the path as text.
#[derive(Debug)]
pub struct PlainKeyring;

impl Keyring for PlainKeyring {
    fn admit(&self, entry: &SigningKeyEntry) -> Result<AdmittedKey, String> {
        let path = std::str::from_utf8(&entry.certificate_chain[0]).ok().and_then(|text| text.parse().ok());
        let key = entry.public_key[..].try_into().ok().and_then(VerifyingKey::from_bytes);
        path.zip(key).map(|(path, key)| AdmittedKey { path, key }).ok_or_else(|| "no certificate".into())
    }
}

/// One name, one person.
#[derive(Debug)]
struct ByName(Store);

impl Interest for ByName {
    fn person(&self, registration: &Record) -> Result<Vec<Record>, ReadError> {
        let name = |record: &Record| record.decode_body::<Registration>().unwrap().name;
        let all = self.0.feed_reader(0).next(usize::MAX, usize::MAX, &|envelope| {
            envelope.kind == Kind::Registration as u32 && !envelope.tombstone
        })?;
        let same = |one: &Record| name(one) == name(registration);
        Ok(all.records.into_iter().filter(same).collect())
    }

    fn documents(&self, _registration: &RecordKey) -> Result<Vec<Record>, ReadError> {
        Ok(Vec::new())
    }

    fn links(&self, _registration: &RecordKey) -> Result<Vec<Record>, ReadError> {
        Ok(Vec::new())
    }
}

/// What a node is and what its disk holds; outlives its processes.
#[derive(Debug, Clone)]
pub struct Machine {
    pub path: NodePath,
    pub origin: OriginId,
    pub trust_domain: TrustDomain,
    pub key: SigningKey,
    pub storage: Memory,
    pub index: MemoryIndex,
    /// Starts of the machine itself.
    pub boot: u32,
    /// Versions of the feed's protocol that its release speaks.
    pub protocols: Vec<u32>,
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    pub machine: Machine,
    pub store: Store,
    pub directory: Directory,
    pub links: Links,
    pub sender: Sender,
    pub children: Children,
    pub door: Door,
    /// The epoch of this start is open.
    pub writing: bool,
    tasks: Vec<JoinHandle<()>>,
}

impl Machine {
    pub fn new(path: &str, seed: u8) -> Self {
        let key = SigningKey::from_seed(&[seed; 32]);
        let trust_domain = "tiermesh.test".parse().unwrap();
        Self {
            path: path.parse().unwrap(),
            origin: OriginId::of_node(&trust_domain, key.verifying_key().as_bytes()),
            trust_domain,
            key,
            storage: Memory::new(seed.into()),
            index: MemoryIndex::default(),
            boot: 1,
            protocols: model::feed::PROTOCOLS.to_vec(),
        }
    }

    /// The same with the disk as it is now.
    pub fn copy(&self) -> Self {
        Self { storage: self.storage.copy(), index: self.index.copy(), ..self.clone() }
    }

    /// The same with what a power loss leaves on the disk.
    pub fn crashed(&self, cut: Cut) -> Self {
        self.crashed_before(0, cut)
    }

    /// The same with what a power loss so many steps ago would have left.
    pub fn crashed_before(&self, steps: usize, cut: Cut) -> Self {
        let storage = self.storage.image(self.storage.steps().saturating_sub(steps), cut);
        Self { storage, index: self.index.copy(), boot: self.boot + 1, ..self.clone() }
    }

    /// Starts the node; it does not write yet. The door is where its children find it.
    pub fn start(&self, clock: &Arc<dyn Clock>, door: &Door) -> Node {
        let options = Options {
            storage: Arc::new(self.storage.clone()),
            index: IndexChoice::Memory(self.index.clone()),
            derivation: Arc::new(Terms),
            clock: Arc::clone(clock),
            boot_id: format!("boot {}", self.boot),
            node: self.origin,
            signing: self.key.clone(),
            run: Run::Inline,
            limits: Limits {
                segment_bytes: 64 << 10,
                overlay_bytes: 64 << 10,
                reserve_bytes: 0,
                ..Limits::default()
            },
        };
        let (store, _) = Store::open(options).unwrap();
        let directory = Directory::load(&store, &PlainKeyring).unwrap();
        let links = Links::new();
        let own = NodeIdentity {
            path: self.path.clone(),
            origin: self.origin,
            trust_domain: self.trust_domain.clone(),
            software: "test".into(),
            protocols: self.protocols.clone(),
        };
        let receiver = Receiver::new(
            store.clone(),
            directory.clone(),
            Arc::new(PlainKeyring),
            links.clone(),
            Arc::clone(clock),
            own.clone(),
        )
        .with_settings(ReceiverSettings { max_in_flight: 3, ..ReceiverSettings::default() });
        let sender = Sender::new(
            store.clone(),
            directory.clone(),
            Arc::new(PlainKeyring),
            links.clone(),
            Arc::clone(clock),
            own,
        )
        // Small batches, so that what depends on each other is far apart.
        .with_settings(SenderSettings { max_batch_records: 4, ..SenderSettings::default() });
        let children = Children::new(&sender, Arc::new(ByName(store.clone())), receiver.restores());
        *door.lock() = Some(Open::new(receiver));
        let machine = self.clone();
        Node {
            machine,
            store,
            directory,
            links,
            sender,
            children,
            door: Arc::clone(door),
            writing: false,
            tasks: Vec::new(),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        *self.door.lock() = None;
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Node {
    /// Keeps the feed to the parent up, with short waits between connections. Breaks only the first one.
    pub fn keep_link(&mut self, parent: &Door, breaks: Breaks) {
        let (sender, path, door) = (self.sender.clone(), self.machine.path.clone(), Arc::clone(parent));
        self.tasks.push(tokio::spawn(async move {
            let mut breaks = breaks;
            loop {
                connect(&sender, path.clone(), &door, std::mem::replace(&mut breaks, NEVER)).await;
                tokio::time::sleep(std::time::Duration::from_millis(250)).await;
            }
        }));
    }

    /// Keeps the down feed to a child up, and restores it when it was refused for want of its records.
    pub fn keep_child(&mut self, child: NodePath, door: &Door) {
        let (children, own) = (self.children.clone(), self.machine.path.clone());
        let (down, behind, to) = (children.down(&child), Arc::clone(door), own.clone());
        self.tasks.push(tokio::spawn(async move {
            loop {
                connect(&down, to.clone(), &behind, NEVER).await;
                tokio::time::sleep(std::time::Duration::from_millis(250)).await;
            }
        }));
        let door = Arc::clone(door);
        self.tasks.push(tokio::spawn(async move {
            loop {
                children.restores().wanted(&child).await;
                connect(&children.restore(&child), own.clone(), &door, NEVER).await;
            }
        }));
    }

    /// The receiving end, for tests that are the sender.
    pub fn receiver(&self) -> Receiver {
        self.door.lock().as_ref().expect("the node runs").receiver.clone()
    }

    pub fn drop_link(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }

    /// Opens an epoch with the node's own records, as `exchange` does. Every start has another number.
    pub async fn begin(&self, number: u64) -> EpochEntry {
        let machine = &self.machine;
        let key = SigningKeyEntry {
            public_key: Bytes::copy_from_slice(machine.key.verifying_key().as_bytes()),
            certificate_chain: vec![machine.path.to_string().into()],
        };
        let place = NodeEntry {
            origin: Bytes::copy_from_slice(machine.origin.as_bytes()),
            path: machine.path.to_string(),
            name: "昆明".into(),
            tier: "county".into(),
            trust_domain: machine.trust_domain.to_string(),
        };
        let own = [
            self.directory_draft(Kind::SigningKey, &[machine.key.id().as_bytes()], &key),
            self.directory_draft(Kind::Node, &[], &place),
        ];
        let is_new = |draft: &&Draft| self.store.get(&draft.key()).unwrap().is_none();
        let extra = own.iter().filter(is_new).cloned().collect();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let epoch = self.store.begin_epoch(EpochId(id), extra).await.unwrap();
        let epoch_draft = self.directory_draft(Kind::Epoch, &[&epoch.counter.to_be_bytes()], &epoch);
        for key in own.iter().chain([&epoch_draft]).map(Draft::key) {
            self.directory.learn(&self.store.get(&key).unwrap().unwrap());
        }
        epoch
    }

    pub fn directory_draft(&self, kind: Kind, natural_key: &[&[u8]], body: &impl Message) -> Draft {
        Draft {
            flow: Flow::Directory,
            kind: kind as u32,
            id: RecordId::of(natural_key),
            origin: self.machine.origin,
            term: 1,
            subject: None,
            tombstone: false,
            body: body.encode_to_vec().into(),
            expect: Expect::Anything,
        }
    }

    pub fn institution(&self, code: &str) -> OriginId {
        OriginId::of_institution(&self.machine.trust_domain, code)
    }

    pub fn institution_draft(&self, code: &str, name: &str) -> Draft {
        let origin = self.institution(code);
        let entry = InstitutionEntry {
            origin: Bytes::copy_from_slice(origin.as_bytes()),
            code: code.into(),
            name: name.into(),
            writer: Bytes::copy_from_slice(self.machine.origin.as_bytes()),
            term: 1,
        };
        self.directory_draft(Kind::Institution, &[origin.as_bytes(), &1u32.to_be_bytes()], &entry)
    }

    pub fn registration_draft(&self, code: &str, local_id: &str, name: &str) -> Draft {
        let (origin, id) = (self.institution(code), RecordId::of(&[b"", local_id.as_bytes()]));
        let kind = Kind::Registration as u32;
        let body = Registration {
            local_id: local_id.into(),
            institution_code: code.into(),
            name: name.into(),
            number: model::Number::of(RecordKey::of(kind, origin, id)).to_string(),
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
            expect: Expect::Anything,
        }
    }

    /// Registers a patient, enrolling the institution first if this node does not know it.
    pub async fn register(&self, code: &str, local_id: &str, name: &str) -> Result<Record, CommitError> {
        let mut drafts = Vec::new();
        if self.directory.institution(&self.institution(code)).is_none() {
            drafts.push(self.institution_draft(code, ""));
        }
        drafts.push(self.registration_draft(code, local_id, name));
        let records = self.store.commit(drafts).await?.records;
        for record in &records {
            self.directory.learn(record);
        }
        Ok(records.last().unwrap().clone())
    }

    /// Everything held, by key: version and bytes.
    pub fn records(&self) -> Vec<(RecordKey, Version, Bytes)> {
        let mut all = Vec::new();
        let mut reader = self.store.feed_reader(0);
        loop {
            let slice = reader.next(1000, 1 << 20, &|_| true).unwrap();
            all.extend(
                slice
                    .records
                    .iter()
                    .map(|record| (record.key(), record.envelope().version, bytes_of(record))),
            );
            if slice.upto >= slice.head {
                all.sort();
                return all;
            }
        }
    }

    /// Whether the parent has acknowledged everything that this node holds.
    pub fn is_caught_up(&self) -> bool {
        let Some(parent) = self.machine.path.parent() else { return true };
        let Some(link) = self.links.view(&parent) else { return false };
        link.connected && link.position == self.store.head()
    }
}

pub fn bytes_of(record: &Record) -> Bytes {
    record.to_raw().encode_to_vec().into()
}

/// Waits in simulated time.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let limit = tokio::time::Instant::now() + std::time::Duration::from_secs(300);
    while !condition() {
        assert!(tokio::time::Instant::now() < limit, "waited for {what}");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

pub fn door() -> Door {
    Arc::new(Mutex::new(None))
}
