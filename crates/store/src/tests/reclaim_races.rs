//! A segment is replaced in the middle of a read, at every read: nobody notices.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::reclaim::{seen, worn};
use super::scrub::scrub_all;
use super::support::*;
use crate::*;

/// A disk that does something at one of its reads, after the bytes are read or before.
#[derive(Clone)]
struct Interrupted {
    disk: Memory,
    at: Arc<Mutex<Option<Interruption>>>,
}

struct Interruption {
    reads_left: usize,
    before: bool,
    act: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interrupted")
    }
}

impl Interrupted {
    fn due(&self, before: bool) -> Option<Box<dyn FnOnce() + Send>> {
        let mut at = self.at.lock();
        let waiting = at.as_mut().filter(|waiting| waiting.before == before)?;
        match waiting.reads_left.checked_sub(1) {
            Some(left) => {
                waiting.reads_left = left;
                None
            }
            None => at.take().map(|due| due.act),
        }
    }
}

impl Storage for Interrupted {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<()> {
        self.disk.create(name)
    }

    fn append(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.append(name, at, bytes)
    }

    fn sync_data(&self, name: &str) -> io::Result<()> {
        self.disk.sync_data(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn read_at(&self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
        if let Some(act) = self.due(true) {
            act();
        }
        let read = self.disk.read_at(name, at, into);
        if let Some(act) = self.due(false) {
            act();
        }
        read
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.disk.truncate(name, len)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.disk.len(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        self.disk.random(out)
    }
}

/// Lets everything be rewritten at the `nth` read of `look`; whether there were so many.
fn interrupt(store: &Store, disk: &Interrupted, nth: usize, look: &dyn Fn(&Store)) -> bool {
    let (reclaimer, update) = (store.clone(), nth.is_multiple_of(3));
    let act = Box::new(move || {
        if update {
            // What is being read may be superseded and gone before it is.
            for at in 0..20 {
                now(reclaimer.commit(vec![draft(&format!("r{at}"), &"w".repeat(300))])).unwrap();
            }
        }
        assert!(reclaim_all(&reclaimer, u64::MAX) > 0);
    });
    *disk.at.lock() = Some(Interruption { reads_left: nth / 2, before: nth.is_multiple_of(2), act });
    look(store);
    disk.at.lock().take().is_none()
}

/// A worn store on such a disk; `rewritten` once before, if so.
fn prepared(rewritten: bool) -> (Interrupted, Store) {
    let (storage, index, store) = worn(60);
    if rewritten {
        reclaim_all(&store, u64::MAX);
        for at in 0..15 {
            now(store.commit(vec![draft(&format!("r{at}"), &"z".repeat(300))])).unwrap();
        }
    }
    store.dump_index().unwrap();
    drop(store);
    let disk = Interrupted { disk: storage.copy(), at: Arc::default() };
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let store = open(Options { storage, ..options(&Memory::new(1), &index) });
    (disk, store)
}

fn check_every_interruption(look: &dyn Fn(&Store)) {
    for rewritten in [false, true] {
        let mut interrupted = 0;
        for nth in 0..36 {
            let (disk, store) = prepared(rewritten);
            let before = seen(&store);
            if !interrupt(&store, &disk, nth, look) {
                break;
            }
            interrupted += 1;
            assert_eq!(store.status().damaged, []);
            if !nth.is_multiple_of(3) {
                assert_eq!(seen(&store), before);
            }
        }
        assert!(interrupted > 1, "{interrupted}");
    }
}

#[test]
fn a_record_is_read() {
    check_every_interruption(&|store| {
        for name in ["r1", "r7", "f3", "r19"] {
            let record = store.get(&key(name)).unwrap();
            assert_eq!(record.is_some(), name.starts_with('r'));
            let held = foreign("f3", 1, "").key();
            assert_eq!(store.get(&held).unwrap().unwrap().body(), "sky");
        }
    });
}

#[test]
fn a_history_is_read() {
    check_every_interruption(&|store| {
        let history = store.history(&key("r5"), 100).unwrap();
        assert!(!history.is_empty() && history.windows(2).all(|pair| pair[0].0 > pair[1].0));
    });
}

#[test]
fn a_feed_is_read() {
    check_every_interruption(&|store| {
        let mut reader = store.feed_reader(0);
        let mut keys = Vec::new();
        // Up to the head as it is then: what is superseded on the way comes at its new place.
        while reader.position() < store.head() {
            let slice = reader.next(10, 4096, &|_| true).unwrap();
            keys.extend(slice.records.iter().map(model::Record::key));
        }
        keys.sort_unstable();
        keys.dedup();
        let held: u64 = store.status().counts.iter().map(|count| count.live + count.tombstones).sum();
        assert_eq!(keys.len() as u64, held);
    });
}

#[test]
fn the_log_is_scrubbed() {
    check_every_interruption(&|store| assert_eq!(scrub_all(store, 5000).1, []));
}

#[test]
fn quarantined_records_are_read() {
    check_every_interruption(&|store| assert_eq!(store.quarantine(10).unwrap().len(), 2));
}
