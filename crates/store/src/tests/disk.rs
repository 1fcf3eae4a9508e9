//! A disk that is full or fails while the store is in use.

use super::support::*;
use crate::*;
use model::EpochId;

fn store() -> (Memory, MemoryIndex, Store) {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let store = open(options(&storage, &index));
    (storage, index, store)
}

#[test]
fn a_full_disk_refuses_writes_and_serves_reads_until_there_is_room() {
    let (storage, index, store) = store();
    now(store.commit(vec![draft("a", "1")])).unwrap();
    let used: u64 = storage.list().unwrap().iter().map(|name| storage.len(name).unwrap()).sum();
    for room in [0, 1, 31, 33, 200] {
        storage.set_capacity(Some(used + room));
        let refused = now(store.commit(vec![draft("b", &"x".repeat(300))]));
        assert_eq!(refused.unwrap_err(), CommitError::Full, "room {room}");
        assert!(store.status().disk_full);
        assert_eq!(store.get(&key("b")).unwrap(), None);
        assert_eq!(store.get(&key("a")).unwrap().unwrap().body(), "1");
        assert_eq!(whole_feed(&store).len(), 2);
    }
    storage.set_capacity(None);
    now(store.commit(vec![draft("b", "2")])).unwrap();
    assert!(!store.status().disk_full);
    drop(store);
    let (store, report) = Store::open(options(&storage, &index)).unwrap();
    assert_eq!((store.head(), report.tail_cut), (3, None));
    assert_eq!(store.get(&key("b")).unwrap().unwrap().body(), "2");
}

#[test]
fn the_reserve_is_left_on_the_disk() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let limits = Limits { reserve_bytes: 10_000, ..small() };
    let store = open(Options { limits, ..options(&storage, &index) });
    storage.set_capacity(Some(13_000));
    let mut committed = 0;
    while now(store.commit(vec![draft(&committed.to_string(), "x")])).is_ok() {
        committed += 1;
    }
    assert!(committed > 0);
    assert!(store.status().disk_full);
    assert!((9_000..10_000).contains(&storage.free_bytes().unwrap()), "{}", storage.free_bytes().unwrap());
    now(store.close()).unwrap();
}

#[test]
fn a_segment_that_does_not_fit_leaves_nothing_behind() {
    let (storage, index, store) = store();
    let mut at = 0;
    while storage.len("00000000000000000001.seg").unwrap() < small().segment_bytes {
        now(store.commit(vec![draft(&format!("r{at}"), &"x".repeat(200))])).unwrap();
        at += 1;
    }
    let used: u64 = storage.list().unwrap().iter().map(|name| storage.len(name).unwrap()).sum();
    storage.set_capacity(Some(used + 50));
    assert_eq!(now(store.commit(vec![draft("b", "")])).unwrap_err(), CommitError::Full);
    assert_eq!(store.status().segments, 1);
    storage.set_capacity(None);
    let committed = now(store.commit(vec![draft("b", "")])).unwrap();
    assert_eq!(store.status().segments, 2);
    drop(store);
    assert_eq!(Store::open(options(&storage, &index)).unwrap().0.head(), committed.lsn);
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let (storage, index, store) = store();
    now(store.commit(vec![draft("a", "1")])).unwrap();
    storage.fail_sync(1);
    let failed = |draft| matches!(now(store.commit(vec![draft])), Err(CommitError::Failed(_)));
    assert!(failed(draft("b", "1")));
    assert!(failed(draft("c", "1")), "the next sync would succeed, over bytes that are lost");
    assert!(store.status().log_failed);
    assert_eq!(store.get(&key("a")).unwrap().unwrap().body(), "1");
    assert_eq!(store.get(&key("b")).unwrap(), None);
    assert!(now(store.close()).is_err());
    let powerless = storage.image(storage.steps(), Cut::Synced);
    for storage in [&storage, &powerless] {
        let store = open(options(storage, &index.copy()));
        assert_eq!(store.head(), 3, "the epoch, the commit, and the new epoch");
        assert_eq!(store.get(&key("b")).unwrap(), None);
        now(store.commit(vec![draft("b", "2")])).unwrap();
        now(store.close()).unwrap();
    }
}

#[test]
fn a_failed_write_stops_the_log_and_keeps_what_was_there() {
    let (storage, index, store) = store();
    now(store.commit(vec![draft("a", "1")])).unwrap();
    storage.fail_write(1);
    assert!(matches!(now(store.commit(vec![draft("b", "1")])), Err(CommitError::Failed(_))));
    assert!(matches!(now(store.commit(vec![draft("b", "1")])), Err(CommitError::Failed(_))));
    drop(store);
    let (store, report) = Store::open(options(&storage, &index)).unwrap();
    assert_eq!((store.head(), report.tail_cut), (2, None), "the half that was written had been cut off");
}

#[test]
fn an_overlay_that_cannot_be_folded_holds_writers_back() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let limits = Limits { overlay_bytes: 4096, ..small() };
    let store = open(Options { limits, ..options(&storage, &index) });
    let used = || storage.list().unwrap().iter().map(|name| storage.len(name).unwrap()).sum::<u64>();
    let commit = |at: usize| {
        // Room for one commit more, but not for twice what is in the overlay.
        storage.set_capacity(Some(used() + 1500));
        now(store.commit(vec![draft(&format!("r{at}"), "a b c d e f g h i j k l m n o p")]))
    };
    let refused = (0..100).find_map(|at| commit(at).err());
    assert_eq!(refused, Some(CommitError::Full));
    assert!(store.status().overlay_bytes < 2 * 4096, "{}", store.status().overlay_bytes);
    assert_eq!(store.get(&key("r0")).unwrap().unwrap().envelope().key(), key("r0"));
    storage.set_capacity(None);
    now(store.commit(vec![draft("last", "")])).unwrap();
}

#[test]
fn a_store_opens_and_reads_on_a_full_disk() {
    let (storage, index, store) = store();
    now(store.commit(vec![draft("a", "1")])).unwrap();
    now(store.close()).unwrap();
    let used: u64 = storage.list().unwrap().iter().map(|name| storage.len(name).unwrap()).sum();
    storage.set_capacity(Some(used));
    let (store, _) = Store::open(options(&storage, &index)).unwrap();
    assert_eq!(store.get(&key("a")).unwrap().unwrap().body(), "1");
    drop(store);
    storage.set_capacity(None);
    let (_, report) = Store::open(options(&storage, &index)).unwrap();
    assert!(report.power_loss, "without a mark the worst is assumed");
}

#[test]
fn a_start_that_finds_no_room_refuses_writes_for_that() {
    let (storage, index, store) = store();
    now(store.close()).unwrap();
    let (store, _) = Store::open(options(&storage, &index)).unwrap();
    assert_eq!(now(store.commit(vec![draft("a", "1")])).unwrap_err(), CommitError::NotWriting);
    let used: u64 = storage.list().unwrap().iter().map(|name| storage.len(name).unwrap()).sum();
    storage.set_capacity(Some(used + 1));
    assert_eq!(now(store.begin_epoch(EpochId([7; 16]), vec![])).unwrap_err(), CommitError::Full);
    assert_eq!(now(store.commit(vec![draft("a", "1")])).unwrap_err(), CommitError::Full);
    storage.set_capacity(None);
    assert_eq!(now(store.commit(vec![draft("a", "1")])).unwrap_err(), CommitError::NotWriting);
    now(store.begin_epoch(EpochId([7; 16]), vec![])).unwrap();
    now(store.commit(vec![draft("a", "1")])).unwrap();
}

#[test]
fn a_node_that_writes_nothing_learns_that_there_is_room_again() {
    let (storage, _, store) = store();
    let used: u64 = storage.list().unwrap().iter().map(|name| storage.len(name).unwrap()).sum();
    storage.set_capacity(Some(used + 200));
    assert_eq!(now(store.commit(vec![draft("b", &"x".repeat(300))])).unwrap_err(), CommitError::Full);
    assert!(store.status().disk_full);
    storage.set_capacity(Some(used + 250));
    assert!(store.status().disk_full, "what was refused would still not fit");
    storage.set_capacity(Some(used + 2_000));
    assert!(!store.status().disk_full, "nobody has written since");
    storage.set_capacity(Some(used + 200));
    assert!(!store.status().disk_full, "only a refused write makes it full");
}

#[test]
fn the_reserve_is_what_a_full_disk_waits_for() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let limits = Limits { reserve_bytes: 10_000, ..small() };
    let store = open(Options { limits, ..options(&storage, &index) });
    let used: u64 = storage.list().unwrap().iter().map(|name| storage.len(name).unwrap()).sum();
    storage.set_capacity(Some(used + 9_000));
    assert_eq!(now(store.commit(vec![draft("a", "x")])).unwrap_err(), CommitError::Full);
    storage.set_capacity(Some(used + 9_999));
    assert!(store.status().disk_full);
    storage.set_capacity(Some(used + 10_000));
    assert!(!store.status().disk_full);
    now(store.commit(vec![draft("a", "x")])).unwrap();
}

#[test]
fn a_full_overlay_that_finds_no_room_says_that_the_disk_is_full() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let limits = Limits { overlay_bytes: 4096, ..small() };
    let store = open(Options { limits, ..options(&storage, &index) });
    let used = || storage.list().unwrap().iter().map(|name| storage.len(name).unwrap()).sum::<u64>();
    for at in 0.. {
        storage.set_capacity(Some(used() + 1500));
        if now(store.commit(vec![draft(&format!("r{at}"), "a b c d e f g h i j k l m n o p")])).is_err() {
            break;
        }
        assert!(at < 100);
    }
    assert!(store.status().disk_full);
    storage.set_capacity(None);
    assert!(!store.status().disk_full);
}

#[test]
fn a_store_opens_on_a_full_disk_however_much_the_index_lacks() {
    let (storage, index) = (Memory::new(1), MemoryIndex::default());
    let roomy = Limits { overlay_bytes: 1 << 20, ..small() };
    let store = open(Options { limits: roomy, ..options(&storage, &index) });
    for at in 0..200 {
        now(store.commit(vec![draft(&format!("r{at}"), "a b c d e f g h")])).unwrap();
    }
    let held = whole_feed(&store);
    let overlay = store.status().overlay_bytes;
    drop(store);
    let used: u64 = storage.list().unwrap().iter().map(|name| storage.len(name).unwrap()).sum();
    storage.set_capacity(Some(used + 64));
    let tight = Limits { overlay_bytes: overlay as usize / 8, ..small() };
    let (store, report) = Store::open(Options { limits: tight, ..options(&storage, &index) }).unwrap();
    assert_eq!(report.replayed, 201);
    assert_eq!(whole_feed(&store), held);
    assert_eq!(store.get(&key("r7")).unwrap().unwrap().body(), "a b c d e f g h");
    assert_eq!(now(store.begin_epoch(EpochId([2; 16]), vec![])).unwrap_err(), CommitError::Full);
    assert!(store.status().disk_full);
    storage.set_capacity(None);
    assert!(!store.status().disk_full);
    now(store.begin_epoch(EpochId([2; 16]), vec![])).unwrap();
    now(store.commit(vec![draft("last", "")])).unwrap();
    assert!(store.status().overlay_bytes < overlay / 4, "the index has taken what it lacked");
}
