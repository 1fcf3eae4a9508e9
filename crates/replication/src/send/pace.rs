//! A limit for thin lines: batches go no faster than the line carries, so that they do not queue in it ahead of queries.
//! Decides without I/O.
//!
//! A token bucket that holds one batch: a batch may go when the line has carried the one before it. What a line does not carry
//! at once waits in routers and in the system's buffers, first come first served, where no priority reaches it.

use std::time::Duration;

use tokio::time::Instant;

/// A batch takes the line for about so long: queries wait for no more than one.
const BATCHES_PER_S: u64 = 12;
/// Bytes of records that a batch may always have.
const LEAST_BATCH: usize = 8 * 1024;

/// When the next batch may go.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_s: Option<u64>,
    free_at: Instant,
}

impl Pace {
    /// The stricter of both limits; none: as fast as it goes.
    pub fn new(own: Option<u64>, theirs: Option<u64>, now: Instant) -> Self {
        let bytes_per_s = own.into_iter().chain(theirs).min().map(|rate| rate.max(1));
        Self { bytes_per_s, free_at: now }
    }

    /// Whether there is a limit.
    pub fn is_thin(&self) -> bool {
        self.bytes_per_s.is_some()
    }

    /// When the next batch may go, if not now.
    pub fn wait(&self, now: Instant) -> Option<Instant> {
        (self.free_at > now).then_some(self.free_at)
    }

    /// A batch of so many bytes goes.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        if let Some(rate) = self.bytes_per_s {
            let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
            self.free_at = self.free_at.max(now) + takes;
        }
    }

    /// Most bytes of records in a batch, where `most` is the limit without a thin line.
    pub fn batch_bytes(&self, most: usize) -> usize {
        let thin = self.bytes_per_s.map(|rate| LEAST_BATCH.max((rate / BATCHES_PER_S) as usize));
        thin.map_or(most, |thin| thin.min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn batches_go_no_faster_than_the_line() {
        let now = Instant::now();
        let mut pace = Pace::new(Some(1000), Some(4000), now);
        assert_eq!(pace.wait(now), None);
        pace.sent(500, now);
        assert_eq!(pace.wait(now), Some(now + Duration::from_millis(500)));
        assert_eq!(pace.wait(now + Duration::from_millis(500)), None);
        // Time in which nothing went is no credit.
        let later = now + Duration::from_secs(60);
        pace.sent(2000, later);
        assert_eq!(pace.wait(later), Some(later + Duration::from_secs(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_thin_line_has_small_batches_and_a_line_without_a_limit_has_none() {
        let now = Instant::now();
        assert_eq!(Pace::new(Some(240_000), None, now).batch_bytes(1 << 20), 20_000);
        assert_eq!(Pace::new(None, Some(10), now).batch_bytes(1 << 20), LEAST_BATCH);
        assert_eq!(Pace::new(Some(1 << 40), None, now).batch_bytes(1 << 20), 1 << 20);
        let mut pace = Pace::new(None, None, now);
        pace.sent(usize::MAX, now);
        assert_eq!((pace.wait(now), pace.batch_bytes(1 << 20)), (None, 1 << 20));
    }
}
