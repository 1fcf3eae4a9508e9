//! The log: append-only segment files of commit frames. It is the data; everything else can be made from it.
//!
//! ```text
//! log/00000000000000000001.seg      named by the first position (log sequence number, LSN) in it, 20 digits
//! ┌────────────────────────┐
//! │ segment header, 96 B   │  magic "TMSHLOG1" · format u16 · reserved u16 · store id 16 B · node 16 B · salt u64
//! │                        │  · first LSN u64 · first LSN of the segment before u64 · its length u64 · zeros · CRC32C
//! ├────────────────────────┤
//! │ frame header, 32 B     │  magic F7 'T' 'M' 'F' · payload length u32 · LSN u64 · place in its group u16 · cipher u8
//! │                        │  · flags u8 · key id u32 · CRC32C of the payload · CRC32C of this header and the salt
//! │ ├ item header, 8 B     │  length u32 · CRC32C of the item
//! │ ├ item                 │  protobuf: a record and what it supersedes, a feed position, or a quarantined record
//! │ └ …                    │
//! ├────────────────────────┤
//! │ next frame, LSN + 1 …  │
//! └────────────────────────┘
//! mark                              whether the store is open (and since which boot) or was closed
//! 00000000000000000001.4096.torn    what was cut off the end of a segment after a crash
//! ```
//! All numbers are little endian. One commit is one frame. Frames of one write and sync are a *group*; the first of a
//! group is only written when everything before it is durable, so a bad frame with a good one of a **later** group
//! behind it was acknowledged once. Items have checksums of their own so that one record can be read without its frame.
//! The salt is known to this log alone: nobody can put bytes into a record that pass for a frame.
//!
//! # Rewritten segments
//!
//! A closed segment may be replaced by a shorter one under the same name (`<name>.new`, synced, renamed; a start removes
//! one that was not finished). Its header has format 3 and says the segment's length when it was closed, at byte 76, and
//! its last position, at byte 80. Its frames have the flag 2 (*moved*): bytes 16 and 17 say how many further positions a
//! frame stands for, and the payload is a head (framed as an item, see `moved.rs`) and the items that were kept, byte for
//! byte. The flag 4 (*part*) says that the next frame is of the same position. Behind the frames is a table from original
//! offsets to places in the file (see `table.rs`), since pointers keep the offsets that items had at first.
//!
//! Kept are current records, tombstones among them, quarantined records, this node's epochs, and feed positions that are
//! the last known. Of a superseded record a *stub* stays: its key, its pointer and what it superseded. So an index made from
//! a log with rewritten segments is the one that was in use, pair by pair (pointers, counts, digests, positions, writer),
//! but for terms and subjects that only superseded versions had: "had once" is kept for as long as the version is. That
//! holds for whole segments only. An index that covers a part of a rewritten one is made again.
//!
//! Does not decide what is written or kept, and does not know what records mean.

mod damage;
pub(crate) mod format;
pub(crate) mod item;
pub(crate) mod moved;
pub(crate) mod owner;
pub(crate) mod read;
pub(crate) mod scan;
pub(crate) mod segments;
pub(crate) mod skip;
pub(crate) mod table;
pub(crate) mod tail;

pub(crate) use read::Walk;
pub(crate) use segments::{Layout, Log, Place};

#[cfg(test)]
mod tests;
