//! What the tests of the store share: a node with a store that can be closed, killed and opened again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use model::{Clock, EpochId, Flow, OriginId, Record, RecordId, RecordKey, SigningKey, Version};

use crate::index::meta::pair_hash;
use crate::index::{Pair, PartitionMeta};
use crate::keys::Key;
use crate::*;

pub(crate) const NODE: OriginId = OriginId([7; 16]);
pub(crate) const KIND: u32 = 1;

#[derive(Debug)]
pub(crate) struct StoppedClock;

impl Clock for StoppedClock {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

/// Every word of a body is a term in space 1.
#[derive(Debug)]
pub(crate) struct Words(pub u32);

impl Derivation for Words {
    fn version(&self) -> u32 {
        self.0
    }

    fn terms(&self, record: &Record, out: &mut Vec<Term>) {
        let words = record.body().split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        out.extend(words.map(|word| Term { space: 1, term: term(word) }));
    }
}

pub(crate) fn term(word: &[u8]) -> [u8; 16] {
    RecordId::of(&[b"term", word]).0
}

pub(crate) fn signing() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

/// Small limits, so that segments roll and overlays fold within a test.
pub(crate) fn small() -> Limits {
    Limits { segment_bytes: 8 * 1024, overlay_bytes: 32 * 1024, reserve_bytes: 0, ..Limits::default() }
}

pub(crate) fn options(storage: &Memory, index: &MemoryIndex) -> Options {
    Options {
        storage: Arc::new(storage.clone()),
        index: IndexChoice::Memory(index.clone()),
        derivation: Arc::new(Words(1)),
        clock: Arc::new(StoppedClock),
        boot_id: "boot-1".to_owned(),
        node: NODE,
        signing: signing(),
        run: Run::Inline,
        limits: small(),
    }
}

/// Waits for a future of an inline store, which is ready at once.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("an inline store makes nobody wait"),
    }
}

/// Opens a store and its first epoch of this start.
pub(crate) fn open(options: Options) -> Store {
    let (store, _) = Store::open(options).unwrap();
    now(store.begin_epoch(EpochId([1; 16]), Vec::new())).unwrap();
    store
}

pub(crate) fn draft(name: &str, body: &str) -> Draft {
    Draft {
        flow: Flow::Registration,
        kind: KIND,
        id: RecordId::of(&[name.as_bytes()]),
        origin: OriginId([3; 16]),
        term: 1,
        subject: None,
        tombstone: false,
        body: Bytes::copy_from_slice(body.as_bytes()),
        expect: Expect::Anything,
    }
}

pub(crate) fn key(name: &str) -> RecordKey {
    draft(name, "").key()
}

/// A record of another node's writer.
pub(crate) fn foreign(name: &str, seq: u64, body: &str) -> Record {
    let unsigned = model::record::Unsigned {
        flow: Flow::Registration,
        kind: KIND,
        id: RecordId::of(&[name.as_bytes()]),
        origin: OriginId([4; 16]),
        subject: None,
        tombstone: false,
        body: Bytes::copy_from_slice(body.as_bytes()),
    };
    Record::sign(unsigned, Version { term: 1, epoch: 1, seq }, 5, &SigningKey::from_seed(&[8; 32])).unwrap()
}

pub(crate) fn feed(peer: u8) -> FeedId {
    FeedId { peer: OriginId([peer; 16]), direction: Direction::Up }
}

pub(crate) fn position(position: u64) -> FeedPosition {
    FeedPosition { generation: [5; 16], position }
}

/// Reclaims until there is nothing more to do, a little at a time; bytes that were freed.
pub(crate) fn reclaim_all(store: &Store, max_bytes: u64) -> u64 {
    let mut freed = 0;
    loop {
        let done = store.reclaim(max_bytes).unwrap();
        freed += done.freed;
        if !done.more {
            return freed;
        }
    }
}

/// An index that was made from the log is the one that was in use, pair by pair, but for links of versions that were
/// reclaimed: terms and subjects that no record has any more. With them goes their part of the partitions' checksums.
pub(crate) fn check_rebuilt(live: &[Pair], rebuilt: &Store, context: &str) {
    let made = rebuilt.dump_index().unwrap();
    let mut sums: BTreeMap<u8, u64> = BTreeMap::new();
    let mut rest = made.iter().peekable();
    for pair in live {
        let (key, value) = pair;
        if rest.next_if(|made| *made == pair).is_some() {
            continue;
        }
        match Key::decode(key).unwrap() {
            Key::Meta { .. } => {
                let (found, value_of) = rest.next().unwrap();
                assert_eq!(found, key, "{context}");
                let mut live = PartitionMeta::of_value(value).unwrap();
                let made = PartitionMeta::of_value(value_of).unwrap();
                sums.insert(key[0], live.checksum.wrapping_sub(made.checksum));
                live.checksum = made.checksum;
                assert_eq!(live, made, "{context}");
            }
            Key::Term { term: gone, key: of, .. } => {
                if let Some(record) = rebuilt.get(&of).unwrap() {
                    let mut words = record.body().split(|byte| *byte == b' ').filter(|word| !word.is_empty());
                    assert!(words.all(|word| term(word) != gone), "{context}: a current term is gone");
                }
                let sum = sums.get_mut(&key[0]).unwrap();
                *sum = sum.wrapping_sub(pair_hash(key, value));
            }
            other => panic!("{context}: {other:?} is gone or not the same"),
        }
    }
    assert_eq!(rest.next(), None, "{context}");
    assert!(sums.values().all(|sum| *sum == 0), "{context}: checksums");
}

/// All records of a feed from the start, in order.
pub(crate) fn whole_feed(store: &Store) -> Vec<Record> {
    let mut reader = store.feed_reader(0);
    let mut records = Vec::new();
    loop {
        let slice = reader.next(10, 4096, &|_| true).unwrap();
        records.extend(slice.records);
        if slice.upto >= slice.head {
            return records;
        }
    }
}
