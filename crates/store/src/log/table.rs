//! Where the items of a rewritten segment are: from their original offsets to their places in the file.
//!
//! ```text
//! segment header, frames …
//! ┌──────────────────────────┐
//! │ block of up to 512 pairs │  original offset u32 · place u32, ascending by the offset, then CRC32C of the block
//! │ …                        │
//! ├──────────────────────────┤
//! │ heads                    │  the first original offset of every block, u32
//! ├──────────────────────────┤
//! │ footer, 40 B             │  magic "TMSHTAB1" · where the blocks begin u64 · pairs u32 · CRC32C of the heads
//! │                          │  · bytes of the kept records u64 · zeros · CRC32C of this footer and the salt
//! └──────────────────────────┘
//! ```
//! Offsets and places are those of the items' bytes, behind their headers. Only the heads are kept in memory: a look-up
//! reads one block.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::format::{u32_at, u64_at};
use super::skip::is_damage;
use crate::storage::Storage;

const MAGIC: &[u8; 8] = b"TMSHTAB1";
const FOOTER: usize = 40;
const PAIR: usize = 8;
const BLOCK_PAIRS: usize = 512;
const BLOCK: usize = BLOCK_PAIRS * PAIR + 4;
/// Most pairs of a table: more than a segment of 1 GiB can hold.
const MOST_PAIRS: u32 = 1 << 27;
/// Bytes of heads that are kept in memory.
const CACHE_BYTES: usize = 4 << 20;

/// Why there is no table.
#[derive(Debug)]
pub(crate) enum TableError {
    Damaged,
    Io(io::Error),
}

impl From<io::Error> for TableError {
    fn from(error: io::Error) -> Self {
        if is_damage(&error) { Self::Damaged } else { Self::Io(error) }
    }
}

/// The end of a rewritten segment, for pairs that ascend.
pub(crate) fn encode(pairs: &[(u32, u32)], begins: u64, record_bytes: u64, salt: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(pairs.len() * PAIR + pairs.len() / BLOCK_PAIRS * 8 + FOOTER + 8);
    for block in pairs.chunks(BLOCK_PAIRS) {
        let start = out.len();
        for (original, place) in block {
            out.extend_from_slice(&original.to_le_bytes());
            out.extend_from_slice(&place.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }
    let heads = out.len();
    for block in pairs.chunks(BLOCK_PAIRS) {
        out.extend_from_slice(&block[0].0.to_le_bytes());
    }
    let heads_crc = crc32c::crc32c(&out[heads..]);
    let footer = out.len();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&begins.to_le_bytes());
    out.extend_from_slice(&(pairs.len() as u32).to_le_bytes());
    out.extend_from_slice(&heads_crc.to_le_bytes());
    out.extend_from_slice(&record_bytes.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out[footer..]), &salt.to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// What a table's footer and heads say.
#[derive(Debug)]
pub(crate) struct Table {
    begins: u64,
    pairs: u32,
    heads: Vec<u32>,
    /// Bytes of the records that were kept, when the segment was rewritten.
    pub record_bytes: u64,
}

impl Table {
    /// Reads footer and heads of a file of `len` bytes.
    pub(crate) fn read(storage: &dyn Storage, name: &str, len: u64, salt: u64) -> Result<Self, TableError> {
        let at = len.checked_sub(FOOTER as u64).ok_or(TableError::Damaged)?;
        let footer = exactly(storage, name, at, FOOTER)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&footer[..FOOTER - 4]), &salt.to_le_bytes());
        if &footer[..8] != MAGIC || crc != u32_at(&footer, FOOTER - 4) {
            return Err(TableError::Damaged);
        }
        let (begins, pairs) = (u64_at(&footer, 8), u32_at(&footer, 16));
        if pairs > MOST_PAIRS || begins + blocks_len(pairs) + heads_len(pairs) != at {
            return Err(TableError::Damaged);
        }
        let bytes = exactly(storage, name, begins + blocks_len(pairs), heads_len(pairs) as usize)?;
        if crc32c::crc32c(&bytes) != u32_at(&footer, 20) {
            return Err(TableError::Damaged);
        }
        let heads = bytes.chunks_exact(4).map(|head| u32_at(head, 0)).collect();
        Ok(Self { begins, pairs, heads, record_bytes: u64_at(&footer, 24) })
    }

    /// Where the item with this original offset is now; none if it was not kept.
    pub(crate) fn find(
        &self,
        storage: &dyn Storage,
        name: &str,
        original: u32,
    ) -> Result<Option<u32>, TableError> {
        let Some(at) = self.heads.partition_point(|head| *head <= original).checked_sub(1) else {
            return Ok(None);
        };
        let block = self.block(storage, name, at)?;
        let found = block.binary_search_by_key(&original, |(original, _)| *original);
        Ok(found.ok().map(|found| block[found].1))
    }

    /// Reads all of it, to see that it can be.
    pub(crate) fn check(&self, storage: &dyn Storage, name: &str) -> Result<(), TableError> {
        (0..self.heads.len()).try_for_each(|at| self.block(storage, name, at).map(drop))
    }

    fn block(&self, storage: &dyn Storage, name: &str, at: usize) -> Result<Vec<(u32, u32)>, TableError> {
        let pairs = (self.pairs as usize - at * BLOCK_PAIRS).min(BLOCK_PAIRS);
        let bytes = exactly(storage, name, self.begins + (at * BLOCK) as u64, pairs * PAIR + 4)?;
        let (content, crc) = bytes.split_at(pairs * PAIR);
        if crc32c::crc32c(content) != u32_at(crc, 0) {
            return Err(TableError::Damaged);
        }
        Ok(content.chunks_exact(PAIR).map(|pair| (u32_at(pair, 0), u32_at(pair, 4))).collect())
    }
}

fn blocks_len(pairs: u32) -> u64 {
    u64::from(pairs) * PAIR as u64 + u64::from(pairs).div_ceil(BLOCK_PAIRS as u64) * 4
}

fn heads_len(pairs: u32) -> u64 {
    u64::from(pairs).div_ceil(BLOCK_PAIRS as u64) * 4
}

fn exactly(storage: &dyn Storage, name: &str, at: u64, length: usize) -> Result<Vec<u8>, TableError> {
    let mut bytes = vec![0; length];
    let read = storage.read_at(name, at, &mut bytes)?;
    if read == length { Ok(bytes) } else { Err(TableError::Damaged) }
}

/// Tables read lately, by the first position of the segment, with its generation.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    tables: BTreeMap<u64, (u64, Arc<Table>)>,
    bytes: usize,
}

impl Tables {
    pub(crate) fn get(
        &self,
        segment: u64,
        generation: u64,
        read: impl FnOnce() -> Result<Table, TableError>,
    ) -> Result<Arc<Table>, TableError> {
        if let Some((held, table)) = self.held.lock().tables.get(&segment)
            && *held == generation
        {
            return Ok(table.clone());
        }
        let table = Arc::new(read()?);
        let bytes = |table: &Table| table.heads.len() * 4 + 128;
        let mut held = self.held.lock();
        held.bytes += bytes(&table);
        if let Some((_, stale)) = held.tables.insert(segment, (generation, table.clone())) {
            held.bytes -= bytes(&stale);
        }
        while held.bytes > CACHE_BYTES {
            // Whichever: all are equally likely to be asked for again.
            let Some((_, (_, gone))) = held.tables.pop_first() else { break };
            held.bytes -= bytes(&gone);
        }
        Ok(table)
    }
}
