//! How long to wait before dialling again: doubling, bounded, with jitter, so that a county's worth of nodes does not
//! come back to a restarted parent in one moment. Reads no clock and makes no randomness.

use std::time::Duration;

/// First wait.
pub const FIRST: Duration = Duration::from_millis(250);
/// Longest wait. With 129 children it is 50 handshakes a second at a parent that refuses them all, about a tenth of a core;
/// a county's backlog begins to move within these seconds of its parent's return.
pub const LONGEST: Duration = Duration::from_secs(5);
/// A connection that lasted this long starts the waits anew. A shorter one does not, so that two nodes under one name do
/// not push each other off at full speed.
pub const STEADY: Duration = Duration::from_secs(10);

/// Waits of one link.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure: between half and all of 250 ms × 2ⁿ, at most 5 s; `random` is uniform over `u64`.
    pub fn next_wait(&mut self, random: u64) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = full / 2;
        half + half.mul_f64(random as f64 / u64::MAX as f64)
    }

    /// After a connection that lasted `lived`.
    pub fn ended(&mut self, lived: Duration) {
        if lived >= STEADY {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..10).map(|_| backoff.next_wait(u64::MAX).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 5000, 5000, 5000, 5000, 5000]);
    }

    #[test]
    fn jitter_takes_away_at_most_half() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next_wait(0).as_millis(), 125);
        assert_eq!(backoff.next_wait(u64::MAX / 2).as_millis(), 375);
        let mut tired = Backoff { failures: u32::MAX };
        assert_eq!(tired.next_wait(0), LONGEST / 2);
    }

    #[test]
    fn only_a_steady_connection_starts_anew() {
        let mut backoff = Backoff::default();
        let (_, _) = (backoff.next_wait(0), backoff.next_wait(0));
        backoff.ended(STEADY / 2);
        assert_eq!(backoff.next_wait(u64::MAX).as_millis(), 1000);
        backoff.ended(STEADY);
        assert_eq!(backoff.next_wait(u64::MAX), FIRST);
    }
}
