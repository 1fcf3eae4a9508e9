//! Which segments are worth rewriting: how many bytes of their records are still current, from the index.
//!
//! Counted anew for every round, and only if something was committed since the last: no commit pays for it, and nothing
//! has to be kept. What changes while it counts makes it a little wrong, which only moves a segment up or down the order.

use std::collections::BTreeSet;

use prost::Message;

use crate::content::QuarantineValue;
use crate::error::ReadError;
use crate::index::for_each;
use crate::keys::{Key, PARTITIONS};
use crate::log::Layout;
use crate::log::format::{ITEM_HEADER, SEGMENT_HEADER, segment_name};
use crate::log::item::Pointer;
use crate::shared::Shared;
use crate::types::HeldUp;

/// A segment that is worth rewriting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Worth {
    pub segment: u64,
    /// Bytes that its copy will have at most, about.
    pub copy_bytes: u64,
    /// It has damaged places, all of which have been mended.
    pub damaged: bool,
    dead: u64,
}

/// What there is to reclaim.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub dead_bytes: u64,
    /// The most dead last, and behind them those that were damaged: until they are rewritten no index can be made from the log.
    pub worth: Vec<Worth>,
    pub held_up: Option<HeldUp>,
}

impl Shared {
    pub(super) fn look(&self, futile: &BTreeSet<u64>) -> Result<Usage, ReadError> {
        // What the overlay holds would be counted where the index still has it.
        self.fold()?;
        let closed = self.log.closed();
        let live = self.live_bytes(&closed)?;
        let applied = self.index_applied.load(std::sync::atomic::Ordering::SeqCst);
        let (damage, ..) = self.log.damage();
        let mut usage = Usage::default();
        for (at, (segment, layout)) in closed.iter().enumerate() {
            let last = closed.get(at + 1).map(|(next, _)| *next).or_else(|| self.log.last_segment());
            // An index that covers half of a rewritten segment would be made again.
            if last.is_none_or(|next| next > applied + 1) {
                continue;
            }
            let records = self.record_bytes(*segment, layout)?;
            let dead = records.saturating_sub(live[at]);
            usage.dead_bytes += dead;
            let percent = u128::from(self.limits.reclaim_percent);
            let enough = dead > 0 && u128::from(dead) * 100 >= u128::from(records) * percent;
            let name = segment_name(*segment);
            let mut places = damage.iter().filter(|place| place.segment == name).peekable();
            let damaged = places.peek().is_some();
            if !places.all(|place| place.healed) {
                usage.held_up = Some(HeldUp::Damaged);
                continue;
            }
            if damaged || enough && !futile.contains(segment) {
                let copy_bytes = layout.len - dead.min(layout.len) / 2;
                usage.worth.push(Worth { segment: *segment, copy_bytes, damaged, dead });
            }
        }
        let order = |worth: &Worth| (worth.damaged, worth.dead, std::cmp::Reverse(worth.segment));
        usage.worth.sort_unstable_by_key(order);
        Ok(usage)
    }

    /// Bytes of the records that a segment was closed or last rewritten with.
    fn record_bytes(&self, segment: u64, layout: &Layout) -> Result<u64, ReadError> {
        use crate::log::table::TableError;
        if layout.moved.is_none() {
            return Ok(layout.len - SEGMENT_HEADER as u64);
        }
        match self.log.table(segment, layout) {
            Ok(table) => Ok(table.record_bytes),
            // The scrub finds it.
            Err(TableError::Damaged) => Ok(0),
            Err(TableError::Io(error)) => Err(crate::log::Log::io(error)),
        }
    }

    /// Bytes of what is current in these segments, as the index says.
    fn live_bytes(&self, closed: &[(u64, Layout)]) -> Result<Vec<u64>, ReadError> {
        let mut live = vec![0; closed.len()];
        let end = self.log.last_segment().unwrap_or_default();
        let mut take = |lsn: u64, length: u32| {
            let at = closed.partition_point(|(first, _)| *first <= lsn);
            if let Some(at) = at.checked_sub(1).filter(|_| lsn < end) {
                live[at] += u64::from(length) + ITEM_HEADER as u64;
            }
        };
        let mut broken = false;
        for partition in 0..PARTITIONS as u8 {
            self.index_read(|index| {
                for_each(
                    index,
                    &Key::record_table(partition),
                    &mut |_, value| match Pointer::decode(value) {
                        Ok(pointer) => take(pointer.lsn, pointer.length),
                        Err(_) => broken = true,
                    },
                )?;
                let table = Key::quarantine_table(partition);
                for_each(index, &table, &mut |_, value| match QuarantineValue::decode(value) {
                    Ok(place) => take(place.lsn, place.length),
                    Err(_) => broken = true,
                })
            })?;
        }
        if broken { Err(self.index_broken()) } else { Ok(live) }
    }
}
