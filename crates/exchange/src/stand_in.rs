//! What stands in for the rest of a node in tests of use cases: clock, randomness, certificates, neighbours, a store in memory.

use std::sync::Arc;

use model::body::SigningKeyEntry;
use model::fetch::Fetched;
use model::query::{ContentQuery, DocumentAnswer, DocumentQuery, PatientAnswer, PatientQuery};
use model::{Clock, Entropy, NodePath, OriginId, Record, RecordKey, SigningKey, TrustDomain};
use parking_lot::Mutex;
use replication::{Directory, Links, NodeIdentity, Receiver};
use repository::{ContentLimits, Repository};
use store::{IndexChoice, Limits, Memory, MemoryIndex, Options, Run, Store};

use crate::{Acknowledge, Content, Deadline, Exchange, Hop, Node, Parts, PeerError, Peers, TermKey, Terms};

#[derive(Debug)]
pub(crate) struct Seams;

impl Clock for Seams {
    fn now_ms(&self) -> u64 {
        77
    }
}

impl Entropy for Seams {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(128);
    }
}

impl replication::Keyring for Seams {
    fn admit(&self, _: &SigningKeyEntry) -> Result<replication::AdmittedKey, String> {
        Err("no certificates here".into())
    }
}

/// What one neighbour does when it is asked.
#[derive(Debug, Clone, Default)]
pub(crate) enum Neighbour {
    #[default]
    Away,
    /// Gives those of these that are asked for, at most so many at once.
    Holds(Vec<Record>, usize),
    /// Gives these whatever is asked for.
    Gives(Vec<Record>),
}

#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub parent: Mutex<Neighbour>,
    pub child: Mutex<Neighbour>,
    pub asked: Mutex<Vec<(Hop, Vec<RecordKey>)>>,
    /// What the parent answers when it is asked for patients; none: it is not to be asked.
    pub tells: Mutex<Option<Result<PatientAnswer, PeerError>>>,
}

#[async_trait::async_trait]
impl Peers for Fake {
    fn callable(&self, _: &Hop) -> bool {
        true
    }

    async fn find_patients(&self, _: &Hop, _: PatientQuery, _: Deadline) -> Result<PatientAnswer, PeerError> {
        self.tells.lock().clone().expect("the parent is not to be asked")
    }

    async fn find_documents(
        &self,
        _: &Hop,
        _: DocumentQuery,
        _: Deadline,
    ) -> Result<DocumentAnswer, PeerError> {
        unreachable!("nothing is looked for")
    }

    async fn retrieve(&self, _: &Hop, _: ContentQuery, _: Deadline) -> Result<Content, PeerError> {
        unreachable!("nothing is retrieved")
    }

    async fn fetch(&self, to: &Hop, keys: Vec<RecordKey>, _: Deadline) -> Result<Fetched, PeerError> {
        self.asked.lock().push((to.clone(), keys.clone()));
        let neighbour = if *to == Hop::Parent { &self.parent } else { &self.child };
        match neighbour.lock().clone() {
            Neighbour::Away => Err(PeerError::NotConnected { to: "n".into(), since_ms: 0 }),
            Neighbour::Gives(records) => Ok(Fetched { records, incomplete: false }),
            Neighbour::Holds(held, most) => {
                let mut records: Vec<Record> =
                    held.into_iter().filter(|record| keys.contains(&record.key())).collect();
                let incomplete = records.len() > most;
                records.truncate(most);
                Ok(Fetched { records, incomplete })
            }
        }
    }
}

/// A store on this disk.
pub(crate) fn store(storage: &Memory, terms: &TermKey, node: OriginId, signing: SigningKey) -> Store {
    let options = Options {
        storage: Arc::new(storage.clone()),
        index: IndexChoice::Memory(MemoryIndex::default()),
        derivation: Arc::new(Terms::new(terms.clone())),
        clock: Arc::new(Seams),
        boot_id: "test".into(),
        node,
        signing,
        run: Run::Inline,
        limits: Limits { reserve_bytes: 0, ..Limits::default() },
    };
    Store::open(options).unwrap().0
}

/// The use cases of the node at `path` over this store.
pub(crate) fn exchange(
    store: Store,
    directory: Directory,
    peers: Arc<Fake>,
    terms: TermKey,
    origin: OriginId,
    path: NodePath,
) -> Exchange {
    let (links, seams) = (Links::new(), Arc::new(Seams));
    let trust_domain: TrustDomain = "test.mesh".parse().unwrap();
    let identity = NodeIdentity {
        path: path.clone(),
        origin,
        trust_domain: trust_domain.clone(),
        software: String::new(),
        protocols: model::feed::PROTOCOLS.to_vec(),
    };
    let receiver = Receiver::new(
        store.clone(),
        directory.clone(),
        seams.clone(),
        links.clone(),
        seams.clone(),
        identity,
    );
    Exchange::new(Parts {
        node: Node {
            path,
            name: String::new(),
            tier: String::new(),
            origin,
            trust_domain,
            software: String::new(),
        },
        store,
        repository: Repository::in_memory(ContentLimits::default()),
        directory,
        links,
        receiver,
        confirmations: None,
        acknowledge: Acknowledge::Local,
        peers,
        terms,
        clock: seams.clone(),
        entropy: seams,
        opened: String::new(),
        open_ms: 0,
        certificate_not_after_ms: u64::MAX,
    })
}
