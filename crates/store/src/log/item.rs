//! What is in a frame: records with what they supersede, what was forgotten of them, feed positions, quarantined records.

use bytes::Bytes;
use model::body::RawRecord;
use model::{KeyId, OriginId, Record, RecordKey, Version};
use prost::Message;

use super::format::{self, ITEM_HEADER};
use super::moved::Stub;
use crate::digest::{Class, OTHER_FLOWS, contribution};
use crate::types::{Direction, FeedId, FeedPosition, Quarantined};

/// Where a record's current version is, and what is needed to decide without reading it. Stored in the index under the
/// record's key and in frames as what a record supersedes. Offset and length are those of the item's bytes, without
/// its header.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Pointer {
    #[prost(uint64, tag = "1")]
    pub lsn: u64,
    #[prost(uint32, tag = "2")]
    pub offset: u32,
    #[prost(uint32, tag = "3")]
    pub length: u32,
    #[prost(uint32, tag = "4")]
    pub term: u32,
    #[prost(uint32, tag = "5")]
    pub epoch: u32,
    #[prost(uint64, tag = "6")]
    pub seq: u64,
    #[prost(uint32, tag = "7")]
    pub kind: u32,
    #[prost(bool, tag = "8")]
    pub tombstone: bool,
    #[prost(uint32, tag = "9")]
    flow: u32,
    // The key that signed the record and what the record adds to digests, 16 bytes each, in halves.
    #[prost(fixed64, tag = "10")]
    signer_high: u64,
    #[prost(fixed64, tag = "11")]
    signer_low: u64,
    #[prost(fixed64, tag = "12")]
    digest_high: u64,
    #[prost(fixed64, tag = "13")]
    digest_low: u64,
    /// The record was forgotten in this version: it counts for nothing and cannot be read, and may come again.
    #[prost(bool, tag = "14")]
    pub forgotten: bool,
}

impl Pointer {
    pub(crate) fn to(record: &Record, lsn: u64, span: Span) -> Self {
        let envelope = record.envelope();
        let (signer_high, signer_low) = halves(u128::from_be_bytes(envelope.key_id.0));
        let (digest_high, digest_low) = halves(contribution(record));
        Self {
            lsn,
            offset: span.offset,
            length: span.length,
            term: envelope.version.term,
            epoch: envelope.version.epoch,
            seq: envelope.version.seq,
            kind: envelope.kind,
            tombstone: envelope.tombstone,
            flow: envelope.flow as u32,
            signer_high,
            signer_low,
            digest_high,
            digest_low,
            forgotten: false,
        }
    }

    /// To the item that says that the version under `of` was forgotten.
    pub(crate) fn to_forgotten(of: &Self, lsn: u64, span: Span) -> Self {
        Self { lsn, offset: span.offset, length: span.length, forgotten: true, ..*of }
    }

    /// The record's contribution to digests.
    pub(crate) fn digest(&self) -> u128 {
        joined(self.digest_high, self.digest_low)
    }

    /// Whether a record under one is counted as one under the other is.
    pub(crate) fn counts_like(&self, other: &Self) -> bool {
        self.class() == other.class() && self.kind == other.kind
    }

    /// With which records it is counted together.
    pub(crate) fn class(&self) -> Class {
        let signer = KeyId(joined(self.signer_high, self.signer_low).to_be_bytes());
        Class { signer, flow: self.flow.min(OTHER_FLOWS) }
    }

    pub(crate) fn version(&self) -> Version {
        Version { term: self.term, epoch: self.epoch, seq: self.seq }
    }
}

fn halves(value: u128) -> (u64, u64) {
    ((value >> 64) as u64, value as u64)
}

fn joined(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

/// Wire form of one item.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct RawItem {
    #[prost(oneof = "Content", tags = "1, 2, 3, 4")]
    content: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
#[prost(skip_debug)]
enum Content {
    #[prost(message, tag = "1")]
    Record(RawRecordItem),
    #[prost(message, tag = "2")]
    Position(RawPosition),
    #[prost(message, tag = "3")]
    Quarantined(RawQuarantined),
    #[prost(message, tag = "4")]
    Forgotten(RawForgotten),
}

#[derive(Clone, PartialEq, Message)]
struct RawForgotten {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(message, required, tag = "2")]
    of: Pointer,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct RawRecordItem {
    #[prost(bytes = "bytes", tag = "1")]
    header: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    body: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    signature: Bytes,
    #[prost(message, optional, tag = "4")]
    supersedes: Option<Pointer>,
}

#[derive(Clone, PartialEq, Message)]
struct RawPosition {
    #[prost(bytes = "bytes", tag = "1")]
    peer: Bytes,
    #[prost(uint32, tag = "2")]
    direction: u32,
    #[prost(bytes = "bytes", tag = "3")]
    generation: Bytes,
    #[prost(uint64, tag = "4")]
    position: u64,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct RawQuarantined {
    #[prost(bytes = "bytes", tag = "1")]
    peer: Bytes,
    #[prost(uint32, tag = "2")]
    direction: u32,
    #[prost(bytes = "bytes", tag = "3")]
    raw: Bytes,
    #[prost(string, tag = "4")]
    reason: String,
    #[prost(bytes = "bytes", tag = "5")]
    hash: Bytes,
}

/// One item of a frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Record {
        record: Record,
        supersedes: Option<Pointer>,
    },
    Position {
        feed: FeedId,
        position: FeedPosition,
    },
    Quarantined(Quarantined),
    /// What is left of superseded versions of a record.
    Stub(Stub),
    /// The version of a record that was under `of` is forgotten.
    Forgotten {
        key: RecordKey,
        of: Pointer,
        /// The same, unless the versions in between are gone.
        supersedes: Option<Pointer>,
    },
}

/// Bytes whose checksum is right but which are not an item: written by a broken or later release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAnItem;

impl Item {
    fn to_raw(&self) -> RawItem {
        let content = match self {
            Self::Record { record, supersedes } => Content::Record(RawRecordItem {
                header: record.header_bytes().clone(),
                body: record.body().clone(),
                signature: record.signature().clone(),
                supersedes: *supersedes,
            }),
            Self::Position { feed, position } => Content::Position(RawPosition {
                peer: Bytes::copy_from_slice(&feed.peer.0),
                direction: feed.direction.number(),
                generation: Bytes::copy_from_slice(&position.generation),
                position: position.position,
            }),
            Self::Forgotten { key, of, .. } => {
                Content::Forgotten(RawForgotten { key: Bytes::copy_from_slice(&key.0), of: *of })
            }
            Self::Stub(_) => unreachable!("stubs stand in the head of a frame that has moved"),
            Self::Quarantined(quarantined) => Content::Quarantined(RawQuarantined {
                peer: Bytes::copy_from_slice(&quarantined.from.peer.0),
                direction: quarantined.from.direction.number(),
                raw: quarantined.raw.clone(),
                reason: quarantined.reason.clone(),
                hash: Bytes::copy_from_slice(&quarantined.hash),
            }),
        };
        RawItem { content: Some(content) }
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, NotAnItem> {
        let raw = RawItem::decode(bytes).map_err(|_| NotAnItem)?;
        match raw.content.ok_or(NotAnItem)? {
            Content::Record(raw) => {
                let parts = RawRecord { header: raw.header, body: raw.body, signature: raw.signature };
                let record = Record::from_raw(parts).map_err(|_| NotAnItem)?;
                Ok(Self::Record { record, supersedes: raw.supersedes })
            }
            Content::Forgotten(raw) => Ok(Self::Forgotten {
                key: RecordKey(array_of(&raw.key)?),
                of: raw.of,
                supersedes: Some(raw.of),
            }),
            Content::Position(raw) => Ok(Self::Position {
                feed: feed_of(&raw.peer, raw.direction)?,
                position: FeedPosition { generation: array_of(&raw.generation)?, position: raw.position },
            }),
            Content::Quarantined(raw) => Ok(Self::Quarantined(Quarantined {
                from: feed_of(&raw.peer, raw.direction)?,
                hash: array_of(&raw.hash)?,
                raw: raw.raw,
                reason: raw.reason,
            })),
        }
    }
}

fn feed_of(peer: &[u8], direction: u32) -> Result<FeedId, NotAnItem> {
    Ok(FeedId {
        peer: OriginId(array_of(peer)?),
        direction: Direction::of_number(direction).ok_or(NotAnItem)?,
    })
}

fn array_of<const N: usize>(bytes: &[u8]) -> Result<[u8; N], NotAnItem> {
    bytes.try_into().map_err(|_| NotAnItem)
}

/// Where an item's bytes are within its frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub offset: u32,
    pub length: u32,
}

/// Appends an item with its header to a payload.
pub(crate) fn push(item: &Item, payload: &mut Vec<u8>) -> Span {
    let start = payload.len();
    payload.extend_from_slice(&[0; ITEM_HEADER]);
    let raw = item.to_raw();
    payload.reserve(raw.encoded_len());
    // A Vec grows, which is the only reason for this to fail.
    raw.encode(payload).expect("a vector takes what is encoded into it");
    let length = (payload.len() - start - ITEM_HEADER) as u32;
    let crc = crc32c::crc32c(&payload[start + ITEM_HEADER..]);
    payload[start..start + 4].copy_from_slice(&length.to_le_bytes());
    payload[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    Span { offset: (start + ITEM_HEADER) as u32, length }
}

/// The bytes of one item with its header.
pub(crate) fn alone(item: &Item) -> Bytes {
    let mut bytes = Vec::new();
    push(item, &mut bytes);
    Bytes::from(bytes)
}

/// Reads the items of a payload whose checksum was right.
pub(crate) fn read_all(payload: &Bytes) -> Result<Vec<(Span, Item)>, NotAnItem> {
    let mut items = Vec::new();
    let mut at = 0;
    while at < payload.len() {
        if payload.len() - at < ITEM_HEADER {
            return Err(NotAnItem);
        }
        let length = format::u32_at(payload, at);
        let start = at + ITEM_HEADER;
        let end = start.checked_add(length as usize).filter(|end| *end <= payload.len()).ok_or(NotAnItem)?;
        items.push((Span { offset: start as u32, length }, Item::decode(payload.slice(start..end))?));
        at = end;
    }
    Ok(items)
}

/// Reads one item from its header and bytes, checking length and checksum.
pub(crate) fn read_one(bytes: Bytes) -> Result<Item, NotAnItem> {
    if bytes.len() < ITEM_HEADER || format::u32_at(&bytes, 0) as usize != bytes.len() - ITEM_HEADER {
        return Err(NotAnItem);
    }
    let crc = format::u32_at(&bytes, 4);
    let content = bytes.slice(ITEM_HEADER..);
    if crc32c::crc32c(&content) != crc {
        return Err(NotAnItem);
    }
    Item::decode(content)
}
