//! From a frame to the changes of the index: the pure function that makes all derived state.

use model::{KeyId, Kind, OriginId, Record, RecordKey, Version};
use prost::Message;

use crate::digest::contribution;
use crate::keys::Key;
use crate::log::Place;
use crate::log::format::FLAG_OWN;
use crate::log::item::{self, Item, NotAnItem, Pointer};
use crate::log::moved::{self, Stub};
use crate::log::read::Frame;
use crate::options::{Derivation, Term};
use crate::types::{FeedId, FeedPosition, Quarantined, QuarantinedRecord};

/// What a frame says, and where.
#[derive(Debug)]
pub(crate) struct Content {
    pub lsn: u64,
    /// Where the next frame begins.
    pub end: Place,
    /// A commit of this node's own writer.
    pub own: bool,
    /// Not all of the position: the next frame has more of it.
    pub part: bool,
    /// The own writer has come so far, at least; 0 if nothing is said of it.
    pub seq: u64,
    /// With the offset in the segment and the length of each item's bytes.
    pub items: Vec<(item::Span, Item)>,
}

impl Content {
    pub(crate) fn of(frame: &Frame) -> Result<Self, NotAnItem> {
        let moved::MovedItems { stubs, found, seq } = moved::items(frame)?;
        let stubs = stubs.into_iter().map(|stub| (item::Span::default(), Item::Stub(stub)));
        let items = stubs.chain(found.into_iter().map(|found| (found.original, found.item))).collect();
        let own = frame.header.flags & FLAG_OWN != 0;
        let (end, part) = (frame.original_end(), frame.header.is_part());
        Ok(Self { lsn: frame.header.last_lsn(), end, own, part, seq, items })
    }
}

/// Value under [`Key::Quarantine`]: where the item is, and what can be said of the record without reading it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct QuarantineValue {
    #[prost(uint64, tag = "1")]
    pub lsn: u64,
    #[prost(uint32, tag = "2")]
    pub offset: u32,
    #[prost(uint32, tag = "3")]
    pub length: u32,
    /// Empty for bytes that are no record; then what follows says nothing.
    #[prost(bytes = "vec", tag = "4")]
    key: Vec<u8>,
    #[prost(uint32, tag = "5")]
    term: u32,
    #[prost(uint32, tag = "6")]
    epoch: u32,
    #[prost(uint64, tag = "7")]
    seq: u64,
    #[prost(bytes = "vec", tag = "8")]
    digest: Vec<u8>,
}

impl QuarantineValue {
    fn of(quarantined: &Quarantined, lsn: u64, span: item::Span) -> Self {
        let place = Self { lsn, offset: span.offset, length: span.length, ..Self::default() };
        let raw = model::body::RawRecord::decode(&quarantined.raw[..]).ok();
        let Some(record) = raw.and_then(|raw| Record::from_raw(raw).ok()) else { return place };
        let version = record.envelope().version;
        Self {
            key: record.key().0.to_vec(),
            term: version.term,
            epoch: version.epoch,
            seq: version.seq,
            digest: contribution(&record).to_be_bytes().to_vec(),
            ..place
        }
    }

    /// The record that was refused; none if it is none.
    pub(crate) fn record(&self) -> Option<QuarantinedRecord> {
        Some(QuarantinedRecord {
            key: RecordKey(self.key.as_slice().try_into().ok()?),
            version: Version { term: self.term, epoch: self.epoch, seq: self.seq },
            contribution: u128::from_be_bytes(self.digest.as_slice().try_into().ok()?),
        })
    }
}

/// Value under [`Key::Feed`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FeedValue {
    #[prost(bytes = "vec", tag = "1")]
    generation: Vec<u8>,
    #[prost(uint64, tag = "2")]
    position: u64,
}

impl FeedValue {
    pub(crate) fn of(position: &FeedPosition) -> Self {
        Self { generation: position.generation.to_vec(), position: position.position }
    }

    pub(crate) fn position(&self) -> Option<FeedPosition> {
        let generation = self.generation.as_slice().try_into().ok()?;
        Some(FeedPosition { generation, position: self.position })
    }
}

/// Value under [`Key::Writer`]: how far this node's own writer has come.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WriterState {
    #[prost(uint64, tag = "1")]
    pub last_seq: u64,
    /// A serialized `EpochEntry`; empty before the first.
    #[prost(bytes = "vec", tag = "2")]
    pub last_epoch: Vec<u8>,
}

impl WriterState {
    /// Takes what a change says of the own writer, if anything.
    pub(crate) fn follow(&mut self, change: &Change) {
        match change {
            Change::Seq(seq) => self.last_seq = self.last_seq.max(*seq),
            Change::Epoch { counter, entry } if self.epoch().is_none_or(|last| last.counter <= *counter) => {
                self.last_epoch.clone_from(entry);
            }
            _ => {}
        }
    }

    pub(crate) fn epoch(&self) -> Option<model::body::EpochEntry> {
        let some = (!self.last_epoch.is_empty()).then_some(&self.last_epoch)?;
        model::body::EpochEntry::decode(some.as_slice()).ok()
    }
}

/// One change of derived state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Record {
        key: RecordKey,
        pointer: Pointer,
        supersedes: Option<Pointer>,
    },
    /// A key without a value; `fresh` if it cannot have been there before.
    Link {
        key: Key,
        fresh: bool,
    },
    Feed {
        feed: FeedId,
        position: FeedPosition,
    },
    Quarantine {
        from: FeedId,
        hash: [u8; 32],
        value: QuarantineValue,
    },
    /// The own writer has come so far, at least.
    Seq(u64),
    /// A start of the own writer: its counter and the serialized entry.
    Epoch {
        counter: u32,
        entry: Vec<u8>,
    },
}

impl Change {
    /// The key that it changes.
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Record { key, .. } => Key::Record { key: *key },
            Self::Link { key, .. } => *key,
            Self::Feed { feed, .. } => Key::Feed(*feed),
            Self::Quarantine { from, hash, .. } => Key::Quarantine { from: *from, hash: *hash },
            Self::Seq(_) | Self::Epoch { .. } => Key::Writer,
        }
    }
}

/// Whose log it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own {
    pub node: OriginId,
    /// The key that its writer signs with.
    pub key: KeyId,
}

/// The changes that a frame makes.
pub(crate) fn changes(content: &Content, own: Own, derivation: &dyn Derivation) -> Vec<Change> {
    let mut out = Vec::with_capacity(content.items.len() * 4);
    let mut terms = Vec::new();
    out.extend((content.seq > 0).then_some(Change::Seq(content.seq)));
    for (span, item) in &content.items {
        match item {
            Item::Record { record, supersedes } => {
                record_changes(content, *span, record, *supersedes, own, &mut out);
                terms.clear();
                derivation.terms(record, &mut terms);
                terms.sort_unstable();
                terms.dedup();
                let fresh = supersedes.is_none();
                let key = record.key();
                let link = |Term { space, term }: &Term| Change::Link {
                    key: Key::Term { space: *space, term: *term, key },
                    fresh,
                };
                out.extend(terms.iter().map(link));
            }
            Item::Stub(stub) => {
                let Stub { key, pointer, supersedes, seq } = stub.clone();
                out.push(Change::Record { key, pointer, supersedes });
                out.extend((seq > 0).then_some(Change::Seq(seq)));
            }
            Item::Forgotten { key, of, supersedes } => {
                let pointer = Pointer::to_forgotten(of, content.lsn, *span);
                out.push(Change::Record { key: *key, pointer, supersedes: *supersedes });
            }
            Item::Position { feed, position } => out.push(Change::Feed { feed: *feed, position: *position }),
            Item::Quarantined(quarantined) => out.push(Change::Quarantine {
                from: quarantined.from,
                hash: quarantined.hash,
                value: QuarantineValue::of(quarantined, content.lsn, *span),
            }),
        }
    }
    out
}

/// The seq of a record of this node's own writer.
pub(crate) fn own_seq(record: &Record, own_commit: bool, own: Own) -> Option<u64> {
    let envelope = record.envelope();
    // What this node wrote and lost comes back as a peer's: its versions are taken all the same.
    let is_own = own_commit || envelope.origin == own.node || envelope.key_id == own.key;
    is_own.then_some(envelope.version.seq)
}

fn record_changes(
    content: &Content,
    span: item::Span,
    record: &Record,
    supersedes: Option<Pointer>,
    own: Own,
    out: &mut Vec<Change>,
) {
    let envelope = record.envelope();
    let key = record.key();
    let pointer = Pointer::to(record, content.lsn, span);
    out.push(Change::Record { key, pointer, supersedes });
    if let Some(subject) = envelope.subject.filter(|subject| *subject != key) {
        let link = Key::About { subject, kind: envelope.kind, key };
        out.push(Change::Link { key: link, fresh: supersedes.is_none() });
    }
    out.extend(own_seq(record, content.own, own).map(Change::Seq));
    if envelope.origin == own.node
        && envelope.kind == Kind::Epoch as u32
        && let Ok(entry) = record.decode_body::<model::body::EpochEntry>()
    {
        out.push(Change::Epoch { counter: entry.counter, entry: record.body().to_vec() });
    }
}
