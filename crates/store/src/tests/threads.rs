//! The store under threads: readers beside the writer and the folder, queues that run full, handles that go away.

use std::sync::Arc;

use model::{EpochId, Record, RecordKey, Version};
use parking_lot::Mutex;

use super::support::*;
use crate::*;

fn threaded(storage: &Memory, limits: Limits, index: IndexChoice) -> Options {
    Options { run: Run::Threads, limits, index, ..options(storage, &MemoryIndex::default()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_what_was_acknowledged_while_the_index_is_folded() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Memory::new(1);
    let limits =
        Limits { segment_bytes: 64 << 10, overlay_bytes: 24 << 10, reserve_bytes: 0, ..Limits::default() };
    let index = IndexChoice::Sled { path: dir.path().join("index"), cache_bytes: 4 << 20 };
    let (store, _) = Store::open(threaded(&storage, limits, index)).unwrap();
    store.begin_epoch(EpochId([1; 16]), vec![]).await.unwrap();
    let acknowledged: Arc<Mutex<Vec<(RecordKey, Version)>>> = Arc::default();
    let writers: Vec<_> = (0..8)
        .map(|task| {
            let (store, acknowledged) = (store.clone(), acknowledged.clone());
            tokio::spawn(async move {
                for at in 0..150 {
                    let name = format!("{task}-{}", at % 60);
                    let committed = store.commit(vec![draft(&name, "red sky")]).await.unwrap();
                    acknowledged.lock().push((key(&name), committed.records[0].envelope().version));
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (store, acknowledged) = (store.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut seen = 0;
                while seen < 8 * 150 {
                    let sample: Vec<_> = acknowledged.lock()[seen..].to_vec();
                    seen += sample.len();
                    for (key, version) in sample {
                        assert!(store.version(&key).unwrap() >= Some(version));
                        assert!(store.get(&key).unwrap().unwrap().envelope().version >= version);
                        let after = Some(RecordKey((u128::from_be_bytes(key.0) - 1).to_be_bytes()));
                        assert_eq!(store.lookup(1, &term(b"sky"), after, 1).unwrap(), [key]);
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let follower = tokio::spawn(follow(store.clone(), 8 * 150 + 1));
    for task in writers.into_iter().chain(readers) {
        task.await.unwrap();
    }
    // A follower may meet a record more than once, at its later changes; its last sight of each is the current one.
    let mut last: Vec<Record> = follower.await.unwrap();
    last.reverse();
    let mut keys = std::collections::HashSet::new();
    last.retain(|record| keys.insert(record.key()));
    last.reverse();
    assert_eq!(last, whole_feed(&store));
    assert!(store.status().index_applied > 0, "the overlay was folded on the way");
    let pairs = store.dump_index().unwrap();
    store.close().await.unwrap();
    let (rebuilt, _) = Store::open(options(&storage.copy(), &MemoryIndex::default())).unwrap();
    assert_eq!(rebuilt.dump_index().unwrap(), pairs);
}

/// Reads the feed as it grows, up to this position.
async fn follow(store: Store, until: u64) -> Vec<Record> {
    let mut head = store.watch_head();
    let mut reader = store.feed_reader(0);
    let mut records = Vec::new();
    while reader.position() < until {
        let slice = reader.next(20, 1 << 20, &|_| true).unwrap();
        records.extend(slice.records);
        if slice.upto >= slice.head && slice.upto < until {
            head.changed().await.unwrap();
        }
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_what_it_accepted_is_there() {
    let storage = Memory::new(1);
    let limits = Limits { queue: 2, group_commits: 1, sync_delay_ms: 2, ..small() };
    let index = MemoryIndex::default();
    let (store, _) = Store::open(threaded(&storage, limits, IndexChoice::Memory(index))).unwrap();
    store.begin_epoch(EpochId([1; 16]), vec![]).await.unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|at| {
            let store = store.clone();
            tokio::spawn(async move { (at, store.commit(vec![draft(&at.to_string(), "")]).await.map(drop)) })
        })
        .collect();
    let (mut made, mut refused) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            (at, Ok(())) => {
                made += 1;
                assert!(store.get(&key(&at.to_string())).unwrap().is_some());
            }
            (_, Err(error)) => {
                assert_eq!(error, CommitError::Overloaded);
                refused += 1;
            }
        }
    }
    assert!(made > 0 && refused > 0, "{made} made, {refused} refused");
    assert_eq!(store.status().live(KIND), made);
    store.commit(vec![draft("later", "")]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_that_wait_are_bounded() {
    let storage = Memory::new(1);
    let limits = Limits { queue_bytes: 1000, ..small() };
    let (store, _) =
        Store::open(threaded(&storage, limits, IndexChoice::Memory(MemoryIndex::default()))).unwrap();
    store.begin_epoch(EpochId([1; 16]), vec![]).await.unwrap();
    let large = store.commit(vec![draft("a", &"x".repeat(2000))]).await;
    assert_eq!(large.unwrap_err(), CommitError::Overloaded);
    for at in 0..10 {
        store.commit(vec![draft(&at.to_string(), &"x".repeat(600))]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_handle_that_goes_leaves_a_store_that_can_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let index = MemoryIndex::default();
    for start in 1..4u8 {
        let files = Arc::new(Files::open(dir.path().join("log")).unwrap());
        let options = threaded(&Memory::new(1), small(), IndexChoice::Memory(index.clone()));
        let (store, report) = Store::open(Options { storage: files, ..options }).unwrap();
        assert_eq!(report.last_lsn, u64::from(start - 1) * 2);
        store.begin_epoch(EpochId([start; 16]), vec![]).await.unwrap();
        let other = store.clone();
        drop(store);
        other.commit(vec![draft("a", "")]).await.unwrap();
    }
}
