//! Which of its own entries a node writes again at a start.

use std::sync::Arc;

use model::fetch::Fetched;
use model::query::{ContentQuery, DocumentAnswer, DocumentQuery, PatientAnswer, PatientQuery};
use model::{Clock, Entropy, NodePath, OriginId, SigningKey, TrustDomain, Version};
use replication::{Directory, Links, NodeIdentity, Receiver};
use repository::{ContentLimits, Repository};
use store::{IndexChoice, Limits, Memory, MemoryIndex, Options, Run, Store};

use super::*;
use crate::{Acknowledge, Content, Deadline, Hop, Node, Parts, PeerError, Peers, TermKey, Terms};

const NODE: OriginId = OriginId([2; 16]);

#[derive(Debug)]
struct Seams;

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

#[async_trait::async_trait]
impl Peers for Seams {
    fn callable(&self, _: &Hop) -> bool {
        false
    }

    async fn find_patients(&self, _: &Hop, _: PatientQuery, _: Deadline) -> Result<PatientAnswer, PeerError> {
        unreachable!("nobody is asked")
    }

    async fn find_documents(
        &self,
        _: &Hop,
        _: DocumentQuery,
        _: Deadline,
    ) -> Result<DocumentAnswer, PeerError> {
        unreachable!("nobody is asked")
    }

    async fn retrieve(&self, _: &Hop, _: ContentQuery, _: Deadline) -> Result<Content, PeerError> {
        unreachable!("nobody is asked")
    }

    async fn fetch(&self, _: &Hop, _: Vec<RecordKey>, _: Deadline) -> Result<Fetched, PeerError> {
        unreachable!("nobody is asked")
    }
}

fn signing() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

/// A root over this disk.
fn root(storage: &Memory) -> (Exchange, Store) {
    let (seams, terms) = (Arc::new(Seams), TermKey::new([5; 32]));
    let (store, _) = Store::open(Options {
        storage: Arc::new(storage.clone()),
        index: IndexChoice::Memory(MemoryIndex::default()),
        derivation: Arc::new(Terms::new(terms.clone())),
        clock: seams.clone(),
        boot_id: "test".into(),
        node: NODE,
        signing: signing(),
        run: Run::Inline,
        limits: Limits { reserve_bytes: 0, ..Limits::default() },
    })
    .unwrap();
    let (path, trust_domain): (NodePath, TrustDomain) =
        ("530000".parse().unwrap(), "test.mesh".parse().unwrap());
    let (directory, links) = (Directory::default(), Links::new());
    let identity = NodeIdentity {
        path: path.clone(),
        origin: NODE,
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
    let exchange = Exchange::new(Parts {
        node: Node {
            path,
            name: "云南".into(),
            tier: "province".into(),
            origin: NODE,
            trust_domain,
            software: String::new(),
        },
        store: store.clone(),
        repository: Repository::in_memory(ContentLimits::default()),
        directory,
        links,
        receiver,
        confirmations: None,
        acknowledge: Acknowledge::Local,
        peers: seams.clone(),
        terms,
        clock: seams.clone(),
        entropy: seams,
        opened: String::new(),
        open_ms: 0,
        certificate_not_after_ms: 0,
    });
    (exchange, store)
}

/// Starts a root over this disk; what to note, and the versions of its key's and its own entry.
async fn start(storage: &Memory, noted: Option<LastEpoch>) -> (LastEpoch, [Version; 2]) {
    let public_key = signing().verifying_key();
    let key = SigningKeyEntry {
        public_key: Bytes::copy_from_slice(public_key.as_bytes()),
        certificate_chain: Vec::new(),
    };
    let (exchange, store) = root(storage);
    let noted = exchange.begin(key, noted).await.unwrap();
    let key_id = RecordId::of(&[public_key.id().as_bytes()]);
    let own = [(Kind::SigningKey, key_id), (Kind::Node, RecordId::of(&[]))];
    let version = |(kind, id)| store.version(&RecordKey::of(kind as u32, NODE, id)).unwrap().unwrap();
    (noted, own.map(version))
}

#[tokio::test]
async fn own_entries_are_written_once_and_again_after_the_disk_was_set_back() {
    let storage = Memory::new(1);
    let (noted, first) = start(&storage, None).await;
    let (noted, second) = start(&storage, Some(noted)).await;
    assert_eq!(first, second, "an ordinary start writes nothing of what is there");
    let backup = storage.copy();
    // The disk is lost, the root writes anew, and its children are told of that.
    let (noted, told) = start(&Memory::new(2), Some(noted)).await;
    assert!(told[0] > second[0] && told[1] > second[1]);
    let (noted, again) = start(&backup, Some(noted)).await;
    assert!(again[0] > told[0] && again[1] > told[1], "or the children would hold what their root does not");
    let (_, last) = start(&backup, Some(noted)).await;
    assert_eq!(last, again);
}
