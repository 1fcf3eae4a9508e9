//! What the tests of the store share: a node with a store that can be closed, killed and opened again.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use model::{Clock, EpochId, Flow, OriginId, Record, RecordId, RecordKey, SigningKey, Version};

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
