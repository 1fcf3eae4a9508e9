//! Which of its own entries a node writes again at a start.

use std::sync::Arc;

use model::{OriginId, SigningKey, Version};
use replication::Directory;
use store::{Direction, FeedId, Memory, Store};

use super::*;
use crate::TermKey;
use crate::stand_in::{self, Fake};

const NODE: OriginId = OriginId([2; 16]);

fn signing() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

/// A root over this disk.
fn root(storage: &Memory) -> (Exchange, Store) {
    let terms = TermKey::new([5; 32]);
    let store = stand_in::store(storage, &terms, NODE, signing());
    let (directory, peers) = (Directory::default(), Arc::new(Fake::default()));
    let path = "530000".parse().unwrap();
    (stand_in::exchange(store.clone(), directory, peers, terms, NODE, path), store)
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
async fn a_root_notes_before_which_epoch_it_lost_something() {
    let storage = Memory::new(1);
    let (noted, _) = start(&storage, None).await;
    let (noted, _) = start(&storage, Some(noted)).await;
    let (note, _) = replication::note_lost(NODE, 0);
    // Where the linker notes how far it came.
    assert_ne!(note, FeedId { peer: NODE, direction: Direction::Up });
    assert_eq!(root(&storage).1.position(&note), None, "an ordinary start");
    let storage = Memory::new(2);
    let (noted, _) = start(&storage, Some(noted)).await;
    assert_eq!(noted.counter, 3);
    let lost = |storage: &Memory| root(storage).1.position(&note).map(|noted| noted.position);
    assert_eq!(lost(&storage), Some(3));
    start(&storage, Some(noted)).await;
    assert_eq!(lost(&storage), Some(3), "what was written since is held");
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
