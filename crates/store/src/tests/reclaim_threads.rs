//! Reclaiming in real files while others write, read, follow and scrub.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use model::EpochId;

use super::support::*;
use crate::*;

const TASKS: usize = 4;
const NAMES: usize = 25;
const ROUNDS: usize = 500;

fn options_in(dir: &Path, index: &Path) -> Options {
    let limits = Limits {
        segment_bytes: 24 << 10,
        overlay_bytes: 24 << 10,
        reserve_bytes: 0,
        reclaim_percent: 10,
        ..Limits::default()
    };
    Options {
        storage: Arc::new(Files::open(dir).unwrap()),
        run: Run::Threads,
        limits,
        index: IndexChoice::Sled { path: index.to_owned(), cache_bytes: 4 << 20 },
        ..options(&Memory::new(1), &MemoryIndex::default())
    }
}

/// Each version has its number in it.
fn number_of(record: &model::Record) -> usize {
    let text = std::str::from_utf8(record.body()).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Writes ever higher versions of its own names.
async fn write(store: Store, task: usize) {
    for at in 0..ROUNDS {
        let name = format!("{task}-{}", at % NAMES);
        store.commit(vec![draft(&name, &format!("{at} {}", "x".repeat(200)))]).await.unwrap();
        let record = store.get(&key(&name)).unwrap().unwrap();
        assert_eq!(number_of(&record), at, "a writer reads what it wrote");
    }
}

/// Reads everything over and over, in every way, and gets it whole and in order.
fn read(store: &Store, task: usize, done: &AtomicBool, reads: &AtomicU64) {
    let mut newest = [0; NAMES];
    while !done.load(Ordering::SeqCst) {
        for (at, newest) in newest.iter_mut().enumerate() {
            let name = key(&format!("{task}-{at}"));
            if let Some(record) = store.get(&name).unwrap() {
                assert!(number_of(&record) >= *newest);
                *newest = number_of(&record);
            }
            let history = store.history(&name, 10).unwrap();
            assert!(history.windows(2).all(|pair| pair[0].0 > pair[1].0));
        }
        let mut reader = store.feed_reader(0);
        let mut seen = std::collections::BTreeMap::new();
        loop {
            let slice = reader.next(7, 4096, &|envelope| envelope.kind == KIND).unwrap();
            for record in &slice.records {
                let number = number_of(record);
                assert!(seen.insert(record.key(), number).is_none_or(|before| before < number));
            }
            if slice.upto >= slice.head {
                break;
            }
        }
        for (at, newest) in newest.iter().enumerate().filter(|(_, newest)| **newest > 0) {
            let name = key(&format!("{task}-{at}"));
            // A record can be read a little before its position is announced as the head.
            let (position, record) = store.history(&name, 1).unwrap().remove(0);
            let number = number_of(&record);
            assert!(number >= *newest, "nothing goes back");
            assert!(
                position > reader.position() || seen.get(&name) == Some(&number),
                "a feed misses nothing but what lies beyond where it was read to"
            );
        }
        let mut place = Some(ScrubPlace::default());
        while let Some(from) = place {
            let scrubbed = store.scrub(from, 30_000).unwrap();
            assert_eq!(scrubbed.damaged, []);
            place = scrubbed.next;
        }
        let digest = store.recompute_digest(&|_, _| true).unwrap();
        assert_eq!(digest.kept, digest.found);
        reads.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reclaiming_beside_everything_else_is_seen_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (log, index) = (dir.path().join("log"), dir.path().join("index"));
    let (store, _) = Store::open(options_in(&log, &index)).unwrap();
    store.begin_epoch(EpochId([1; 16]), vec![]).await.unwrap();
    let (done, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut beside: Vec<std::thread::JoinHandle<()>> = (0..2)
        .map(|task| {
            let (store, done, reads) = (store.clone(), done.clone(), reads.clone());
            std::thread::spawn(move || read(&store, task, &done, &reads))
        })
        .collect();
    let (reclaimer, until) = (store.clone(), done.clone());
    beside.push(std::thread::spawn(move || {
        while !until.load(Ordering::SeqCst) {
            reclaimer.reclaim(5000).unwrap();
        }
    }));
    let writers: Vec<_> = (0..TASKS).map(|task| tokio::spawn(write(store.clone(), task))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    for thread in beside {
        thread.join().unwrap();
    }
    let status = store.status();
    assert!(status.reclaim.segments > 10 && reads.load(Ordering::SeqCst) > 2, "{:?}", status.reclaim);
    assert_eq!((status.damaged, status.reclaim.held_up), (vec![], None));
    let (live, fed) = (store.dump_index().unwrap(), whole_feed(&store));
    store.close().await.unwrap();
    let rebuilt = Store::open(options_in(&log, &dir.path().join("another"))).unwrap().0;
    check_rebuilt(&live, &rebuilt, "rebuilt");
    assert_eq!(whole_feed(&rebuilt), fed);
}
