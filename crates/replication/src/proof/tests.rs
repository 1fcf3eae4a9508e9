//! What a parent gives back.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use store::{Apply, IndexChoice, Limits, Memory, MemoryIndex, Options, Run, bucket_of};

use super::*;
use crate::Directory;
use crate::testing::{PlainKeyring, Writer};

/// A store that works inside its caller is ready at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

#[derive(Debug)]
struct NoTerms;

impl store::Derivation for NoTerms {
    fn version(&self) -> u32 {
        1
    }

    fn terms(&self, record: &Record, out: &mut Vec<store::Term>) {
        crate::directory_terms(record, out);
    }
}

#[derive(Debug)]
struct Epoch;

impl model::Clock for Epoch {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

fn parent(records: Vec<Record>) -> (Store, Directory) {
    let root = Writer::new(9, "530000");
    let options = Options {
        storage: Arc::new(Memory::new(1)),
        index: IndexChoice::Memory(MemoryIndex::default()),
        derivation: Arc::new(NoTerms),
        clock: Arc::new(Epoch),
        boot_id: "boot".into(),
        node: root.origin,
        signing: root.key.clone(),
        run: Run::Inline,
        limits: Limits { reserve_bytes: 0, ..Limits::default() },
    };
    let (store, _) = Store::open(options).unwrap();
    now(store.apply(Apply { records, ..Apply::default() })).unwrap();
    let directory = Directory::load(&store, &PlainKeyring).unwrap();
    (store, directory)
}

/// A bucket of more keys than are looked at together, those of another subtree among them.
#[test]
fn all_that_a_child_lacks_of_a_large_bucket_is_given_back_and_nothing_else() {
    let (mut child, mut other) = (Writer::new(1, "530000/530100"), Writer::new(2, "530000/532900"));
    let mut records = child.introduction();
    records.extend(other.introduction());
    let bucket = 7;
    let mut of_child = Vec::new();
    for number in 0.. {
        let (mine, theirs) =
            (child.registration("H1", &number.to_string()), other.registration("H2", &number.to_string()));
        if bucket_of(&mine.key()) == bucket {
            of_child.push(mine.key());
            records.push(mine);
        }
        if bucket_of(&theirs.key()) == bucket {
            records.push(theirs);
        }
        if of_child.len() == 5 * PAGE {
            break;
        }
    }
    of_child.sort_unstable();
    let (store, directory) = parent(records);
    let (view, subtree) = (directory.snapshot(), "530000/530100".parse().unwrap());
    let given = |there: &[RecordKey]| {
        let is_there = |key: &RecordKey, _| there.contains(key);
        let records = held_of(&store, &view, &subtree, &[bucket], &is_there).unwrap();
        records.iter().map(Record::key).collect::<Vec<_>>()
    };
    let (last, there) = of_child.split_last().unwrap();
    assert_eq!(given(there), [*last], "the last of the last page");
    assert_eq!(given(&[]), of_child);
    assert_eq!(given(&of_child), []);
}
