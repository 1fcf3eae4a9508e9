//! What a frame of a rewritten segment holds: a head, and behind it the items that were kept, byte for byte.
//!
//! The head is framed like an item (length and CRC32C). It says where each kept item was in the segment, what it supersedes
//! now if the versions in between are gone, and holds the stubs of records that were superseded.

use bytes::Bytes;
use model::RecordKey;
use prost::Message;

use super::format::{self, ITEM_HEADER};
use super::item::{self, Item, NotAnItem, Pointer, Span};
use super::read::Frame;

/// What is left of one or more versions of a record that followed on each other: what the last was and what the first
/// superseded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stub {
    pub key: RecordKey,
    pub pointer: Pointer,
    pub supersedes: Option<Pointer>,
    /// The highest seq of this node's own writer among them; 0 if none is its own.
    pub seq: u64,
}

/// An item that is kept: its bytes with their header, where they were, and what it supersedes if that is another than
/// they say.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// 0 for what nothing points to: no item was there.
    pub original: u32,
    pub bytes: Bytes,
    pub relinked: Option<Relinked>,
}

/// What an item supersedes now that the versions in between are gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Relinked(pub Option<Pointer>);

#[derive(Clone, PartialEq, Message)]
struct RawHead {
    #[prost(message, repeated, tag = "1")]
    kept: Vec<RawKept>,
    #[prost(message, repeated, tag = "2")]
    stubs: Vec<RawStub>,
    /// The own writer has come so far, at least.
    #[prost(uint64, tag = "3")]
    seq: u64,
}

#[derive(Clone, PartialEq, Message)]
struct RawKept {
    #[prost(uint32, tag = "1")]
    original: u32,
    #[prost(bool, tag = "2")]
    relinked: bool,
    #[prost(message, optional, tag = "3")]
    supersedes: Option<Pointer>,
}

#[derive(Clone, PartialEq, Message)]
struct RawStub {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(message, required, tag = "2")]
    pointer: Pointer,
    #[prost(message, optional, tag = "3")]
    supersedes: Option<Pointer>,
    #[prost(uint64, tag = "4")]
    seq: u64,
}

/// An item of a frame and where it is: in the payload, and in the segment as it was before it was rewritten.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where the item's bytes begin in the payload.
    pub at: usize,
    pub original: Span,
    pub item: Item,
    /// What it supersedes, if that is another than its bytes say.
    pub relinked: Option<Relinked>,
}

/// What a frame holds.
#[derive(Debug, Default)]
pub(crate) struct MovedItems {
    pub stubs: Vec<Stub>,
    pub found: Vec<Found>,
    pub seq: u64,
}

/// The payload of a moved frame, and where in it each kept item's bytes begin.
pub(crate) fn encode(kept: &[&Kept], stubs: &[Stub], seq: u64) -> (Vec<u8>, Vec<usize>) {
    let head = RawHead {
        kept: kept
            .iter()
            .map(|kept| RawKept {
                original: kept.original,
                relinked: kept.relinked.is_some(),
                supersedes: kept.relinked.and_then(|Relinked(supersedes)| supersedes),
            })
            .collect(),
        stubs: stubs
            .iter()
            .map(|stub| RawStub {
                key: Bytes::copy_from_slice(&stub.key.0),
                pointer: stub.pointer,
                supersedes: stub.supersedes,
                seq: stub.seq,
            })
            .collect(),
        seq,
    };
    let bytes = head.encode_to_vec();
    let mut payload = Vec::with_capacity(ITEM_HEADER + bytes.len());
    payload.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    payload.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    payload.extend_from_slice(&bytes);
    let mut places = Vec::with_capacity(kept.len());
    for kept in kept {
        places.push(payload.len() + ITEM_HEADER);
        payload.extend_from_slice(&kept.bytes);
    }
    (payload, places)
}

/// The items of a frame of either kind.
pub(crate) fn items(frame: &Frame) -> Result<MovedItems, NotAnItem> {
    if frame.header.is_moved() {
        return read(&frame.payload);
    }
    let place = |(span, item): (Span, Item)| Found {
        at: span.offset as usize,
        original: Span { offset: span.offset + frame.payload_offset() as u32, ..span },
        item,
        relinked: None,
    };
    let found = item::read_all(&frame.payload)?.into_iter().map(place).collect();
    Ok(MovedItems { found, ..MovedItems::default() })
}

/// Reads a moved frame's payload, whose checksum was right.
fn read(payload: &Bytes) -> Result<MovedItems, NotAnItem> {
    let (start, end) = item_at(payload, 0)?;
    let head = RawHead::decode(payload.slice(start..end)).map_err(|_| NotAnItem)?;
    let mut moved =
        MovedItems { stubs: Vec::with_capacity(head.stubs.len()), found: Vec::new(), seq: head.seq };
    for stub in head.stubs {
        let key = RecordKey(stub.key.as_ref().try_into().map_err(|_| NotAnItem)?);
        moved.stubs.push(Stub { key, pointer: stub.pointer, supersedes: stub.supersedes, seq: stub.seq });
    }
    let mut at = end;
    for kept in head.kept {
        let (start, end) = item_at(payload, at)?;
        let mut item = Item::decode(payload.slice(start..end))?;
        let relinked = kept.relinked.then_some(Relinked(kept.supersedes));
        if let (Item::Record { supersedes, .. } | Item::Forgotten { supersedes, .. }, Some(Relinked(now))) =
            (&mut item, relinked)
        {
            *supersedes = now;
        }
        let original = Span { offset: kept.original, length: (end - start) as u32 };
        moved.found.push(Found { at: start, original, item, relinked });
        at = end;
    }
    if at == payload.len() { Ok(moved) } else { Err(NotAnItem) }
}

/// Where the bytes of the item begin and end whose header is here.
fn item_at(payload: &Bytes, at: usize) -> Result<(usize, usize), NotAnItem> {
    if payload.len() < at + ITEM_HEADER {
        return Err(NotAnItem);
    }
    let start = at + ITEM_HEADER;
    let end = start.checked_add(format::u32_at(payload, at) as usize).filter(|end| *end <= payload.len());
    Ok((start, end.ok_or(NotAnItem)?))
}
