//! What a partition of the index covers, and the checksum that proves it.

use std::collections::BTreeMap;

use prost::Message;

use crate::content::Change;
use crate::keys::{Key, PARTITIONS};
use crate::log::Place;
use crate::log::item::Pointer;
use crate::types::KindCount;

use super::{Index, IndexFailed, for_each};

/// Layout of keys and values; another number means rebuild.
const LAYOUT: u32 = 3;

/// Value under [`Key::Meta`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartitionMeta {
    #[prost(uint32, tag = "1")]
    layout: u32,
    /// The log that this was made from.
    #[prost(bytes = "vec", tag = "2")]
    store_id: Vec<u8>,
    /// The derivation that made the terms.
    #[prost(uint32, tag = "3")]
    derivation: u32,
    /// Everything up to this position is in the partition, and nothing beyond it.
    #[prost(uint64, tag = "4")]
    pub applied: u64,
    /// Where the log goes on after that position.
    #[prost(uint64, tag = "5")]
    end_segment: u64,
    #[prost(uint64, tag = "6")]
    end_offset: u64,
    /// Wrapping sum of [`pair_hash`] over all pairs but this one.
    #[prost(fixed64, tag = "7")]
    pub checksum: u64,
    #[prost(message, repeated, tag = "8")]
    counts: Vec<Count>,
    /// Bytes of the current records.
    #[prost(uint64, tag = "9")]
    pub live_bytes: u64,
    #[prost(uint64, tag = "10")]
    pub quarantined: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Count {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint64, tag = "2")]
    live: u64,
    #[prost(uint64, tag = "3")]
    tombstones: u64,
}

/// What an index must have been made from to be of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MadeFrom {
    pub store_id: [u8; 16],
    pub derivation: u32,
}

impl PartitionMeta {
    pub(crate) fn new(made_from: MadeFrom) -> Self {
        Self {
            layout: LAYOUT,
            store_id: made_from.store_id.to_vec(),
            derivation: made_from.derivation,
            ..Self::default()
        }
    }

    pub(crate) fn end(&self) -> Place {
        Place { segment: self.end_segment, offset: self.end_offset }
    }

    /// Moves the applied position.
    pub(crate) fn cover(&mut self, lsn: u64, end: Place) {
        self.applied = lsn;
        self.end_segment = end.segment;
        self.end_offset = end.offset;
    }

    pub(crate) fn add(&mut self, change: &CountChange) {
        for (kind, (live, tombstones)) in &change.kinds {
            let at = self.counts.partition_point(|count| count.kind < *kind);
            if self.counts.get(at).is_none_or(|count| count.kind != *kind) {
                self.counts.insert(at, Count { kind: *kind, ..Count::default() });
            }
            let count = &mut self.counts[at];
            count.live = count.live.wrapping_add_signed(*live);
            count.tombstones = count.tombstones.wrapping_add_signed(*tombstones);
        }
        self.live_bytes = self.live_bytes.wrapping_add_signed(change.live_bytes);
        self.quarantined += change.quarantined;
    }

    /// Adds another partition's counts.
    pub(crate) fn add_all(&mut self, other: &Self) {
        let kinds =
            other.counts.iter().map(|count| (count.kind, (count.live as i64, count.tombstones as i64)));
        self.add(&CountChange {
            kinds: kinds.collect(),
            live_bytes: other.live_bytes as i64,
            quarantined: other.quarantined,
        });
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = KindCount> + '_ {
        self.counts.iter().map(|count| KindCount {
            kind: count.kind,
            live: count.live,
            tombstones: count.tombstones,
        })
    }

    /// With a checksum of its own: what it vouches for decides whether the log is complete.
    pub(crate) fn to_value(&self) -> Vec<u8> {
        let mut value = self.encode_to_vec();
        let crc = crc32c::crc32c(&value);
        value.extend_from_slice(&crc.to_le_bytes());
        value
    }

    pub(crate) fn of_value(value: &[u8]) -> Option<Self> {
        let (message, crc) = value.split_last_chunk::<4>()?;
        (crc32c::crc32c(message) == u32::from_le_bytes(*crc)).then(|| Self::decode(message).ok()).flatten()
    }
}

/// Changes of a partition's counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct CountChange {
    /// Kind to changes of live records and tombstones.
    pub kinds: BTreeMap<u32, (i64, i64)>,
    pub live_bytes: i64,
    pub quarantined: u64,
}

impl CountChange {
    pub(crate) fn take(&mut self, change: &Change) {
        match change {
            Change::Record { pointer, supersedes, .. } => {
                self.count(pointer, 1);
                if let Some(old) = supersedes {
                    self.count(old, -1);
                }
            }
            Change::Quarantine { .. } => self.quarantined += 1,
            _ => {}
        }
    }

    fn count(&mut self, pointer: &Pointer, by: i64) {
        let (live, tombstones) = self.kinds.entry(pointer.kind).or_default();
        if pointer.forgotten {
            return;
        }
        *if pointer.tombstone { tombstones } else { live } += by;
        self.live_bytes += by * i64::from(pointer.length);
    }
}

/// Contribution of one pair to its partition's checksum: FNV-1a over both with their lengths, then mixed so that sums of
/// similar pairs do not cancel out.
pub(crate) fn pair_hash(key: &[u8], value: &[u8]) -> u64 {
    let lengths = ((key.len() as u64) << 32) | value.len() as u64;
    let bytes = key.iter().chain(value);
    let mut hash = bytes.fold(0xCBF2_9CE4_8422_2325 ^ lengths, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}

/// What an index says of itself.
pub(crate) enum Metas {
    /// It has no partitions: new, or it lost everything.
    Empty,
    /// It was made from something else, or is damaged.
    Useless(&'static str),
    Covers(Vec<PartitionMeta>),
}

/// Reads what the partitions cover.
pub(crate) fn read_all(index: &dyn Index, made_from: MadeFrom) -> Result<Metas, IndexFailed> {
    let mut metas = Vec::with_capacity(PARTITIONS);
    for partition in 0..PARTITIONS as u8 {
        if let Some(value) = index.get(&Key::Meta { partition }.encode())? {
            let Some(meta) = PartitionMeta::of_value(&value) else {
                return Ok(Metas::Useless("a partition's own record was damaged"));
            };
            metas.push(meta);
        }
    }
    if metas.is_empty() {
        let empty = index.scan(&[], None, 1)?.is_empty();
        return Ok(if empty { Metas::Empty } else { Metas::Useless("its partitions were lost") });
    }
    let useless = |meta: &PartitionMeta| {
        if meta.layout != LAYOUT {
            Some("it has another layout")
        } else if meta.store_id != made_from.store_id {
            Some("it was made from another log")
        } else if meta.derivation != made_from.derivation {
            Some("its lookup terms were derived otherwise")
        } else {
            None
        }
    };
    if let Some(why) = metas.iter().find_map(useless) {
        return Ok(Metas::Useless(why));
    }
    if metas.len() != PARTITIONS {
        return Ok(Metas::Useless("a partition was lost"));
    }
    Ok(Metas::Covers(metas))
}

/// Whether every partition holds exactly what its checksum says.
pub(crate) fn verify(index: &dyn Index, metas: &[PartitionMeta]) -> Result<bool, IndexFailed> {
    for (partition, meta) in metas.iter().enumerate() {
        if !verify_partition(index, partition as u8, meta)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a partition holds exactly what its checksum says.
pub(crate) fn verify_partition(
    index: &dyn Index,
    partition: u8,
    meta: &PartitionMeta,
) -> Result<bool, IndexFailed> {
    let mut sum = 0u64;
    for_each(index, &[partition], &mut |key, value| {
        if key.get(1) != Some(&0) {
            sum = sum.wrapping_add(pair_hash(key, value));
        }
    })?;
    Ok(sum == meta.checksum)
}
