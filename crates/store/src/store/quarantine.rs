//! The quarantine a page at a time, for somebody who looks at it.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use model::OriginId;

use super::Store;
use crate::error::ReadError;
use crate::log::item::Item;
use crate::types::{Direction, FeedId, Quarantined, QuarantinedRecord, Standing};

/// Earlier versions looked through for one that was refused at first and held later.
const MAX_EARLIER: usize = 16;

/// Where a quarantined record is kept: its place in the log, which it has for good. Later ones have higher places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuarantinePlace {
    pub lsn: u64,
    pub offset: u32,
}

impl Store {
    /// Gives quarantined records, those from one node or all, oldest first: those after `after`, at most `limit`. Only one of them is
    /// in memory at a time; of one whose place of the log is damaged nothing can be said. Answers the place of the last that was given
    /// if there are more. Blocks: reads what is known of each in the index, and those given from the log.
    pub fn each_quarantined(
        &self,
        from: Option<&OriginId>,
        after: Option<QuarantinePlace>,
        limit: usize,
        see: &mut dyn FnMut(Option<Quarantined>),
    ) -> Result<Option<QuarantinePlace>, ReadError> {
        let feeds = match from {
            Some(peer) => [Direction::Up, Direction::Down, Direction::Restore]
                .map(|direction| Some(FeedId { peer: *peer, direction }))
                .to_vec(),
            None => vec![None],
        };
        let shared = &self.handle.shared;
        let mut places: BTreeSet<(QuarantinePlace, u32)> = BTreeSet::new();
        for of in feeds {
            shared.quarantine_values(of, &mut |value| {
                let place = QuarantinePlace { lsn: value.lsn, offset: value.offset };
                if after.is_none_or(|after| after < place) {
                    places.insert((place, value.length));
                }
                // One more than is given says whether there are more.
                if places.len() > limit.saturating_add(1) {
                    places.pop_last();
                }
            })?;
        }
        let more = places.len() > limit;
        let mut last = None;
        for (place, length) in places.into_iter().take(limit) {
            see(match shared.log.item(place.lsn, place.offset, length) {
                Ok(Some(Item::Quarantined(quarantined))) => Some(quarantined),
                Ok(_) => return Err(shared.index_broken()),
                Err(ReadError::Corrupt { .. }) => None,
                Err(error) => return Err(error),
            });
            last = Some(place);
        }
        Ok(last.filter(|_| more))
    }

    /// What became here of a record that was refused.
    pub fn standing(&self, refused: &QuarantinedRecord) -> Result<Standing, ReadError> {
        let Some(held) = self.held(&refused.key)? else {
            let known = self.known_version(&refused.key)?.filter(|known| *known >= refused.version);
            return Ok(known.map_or(Standing::Missing, Standing::Forgotten));
        };
        let (now, then) = (held.version, refused.version);
        Ok(match now.cmp(&then) {
            Ordering::Less => Standing::Older(now),
            Ordering::Greater if (now.term, now.epoch) == (then.term, then.epoch) => {
                Standing::Superseded(now)
            }
            Ordering::Greater if self.passed_over(refused)? => Standing::Overruled(now),
            Ordering::Greater => Standing::Superseded(now),
            Ordering::Equal if held.contribution == refused.contribution => Standing::Held(now),
            Ordering::Equal => Standing::OtherBytes(now),
        })
    }

    /// Whether the log shows that what is held now did not follow on it: it still has what was held before, and that is something else.
    fn passed_over(&self, refused: &QuarantinedRecord) -> Result<bool, ReadError> {
        let (history, complete) = match self.handle.shared.history_to_end(&refused.key, MAX_EARLIER) {
            // Of damaged bytes nothing can be said; the scrub knows.
            Err(ReadError::Corrupt { .. }) => return Ok(false),
            history => history?,
        };
        let before = history.iter().find(|(_, record)| record.envelope().version <= refused.version);
        Ok(before.map_or(complete, |(_, record)| crate::contribution(record) != refused.contribution))
    }

    /// How many of a feed's quarantined records are settled: see [`Standing::is_settled`].
    pub fn settled(&self, feed: &FeedId) -> Result<u64, ReadError> {
        let mut settled = 0;
        for refused in self.quarantined_records(feed)?.1 {
            settled += u64::from(self.standing(&refused)?.is_settled());
        }
        Ok(settled)
    }
}
