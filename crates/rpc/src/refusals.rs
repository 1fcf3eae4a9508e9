//! Which refused connections are worth a line in the log: each cause of each address once a minute, with a count of what
//! was left out, so that a misconfigured hospital system cannot fill the disk.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long the same cause from the same address stays silent.
const SILENT: Duration = Duration::from_secs(60);
/// Causes remembered; beyond it everything is forgotten, which costs repeated lines and no memory.
const MOST: usize = 1024;
/// Longest text of a cause; parts of it come from the other end.
const MAX_TEXT: usize = 300;

#[derive(Debug, Default)]
pub(crate) struct Refusals {
    seen: Mutex<HashMap<(IpAddr, String), Seen>>,
}

#[derive(Debug)]
struct Seen {
    told: Instant,
    suppressed: u64,
}

impl Refusals {
    /// Logs a refusal unless the same one was logged just now.
    pub fn log(&self, from: IpAddr, reason: String) {
        let reason: String = reason.chars().take(MAX_TEXT).collect();
        if let Some(suppressed) = self.note(from, reason.clone(), Instant::now()) {
            tracing::warn!(%from, reason, suppressed, "connection refused");
        }
    }

    /// How many were left out since the last line, if there is to be a line now.
    fn note(&self, from: IpAddr, reason: String, now: Instant) -> Option<u64> {
        let mut seen = self.seen.lock();
        if let Some(last) = seen.get_mut(&(from, reason.clone())) {
            if now.duration_since(last.told) < SILENT {
                last.suppressed += 1;
                return None;
            }
            last.told = now;
            return Some(std::mem::take(&mut last.suppressed));
        }
        if seen.len() >= MOST {
            seen.clear();
        }
        seen.insert((from, reason), Seen { told: now, suppressed: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_cause_is_told_once_a_minute() {
        let refusals = Refusals::default();
        let (here, there) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let now = Instant::now();
        let note = |from, reason: &str, now| refusals.note(from, reason.to_owned(), now);
        assert_eq!(note(here, "a", now), Some(0));
        assert_eq!(note(here, "a", now), None);
        assert_eq!(note(here, "a", now + SILENT - Duration::from_secs(1)), None);
        assert_eq!(note(here, "b", now), Some(0));
        assert_eq!(note(there, "a", now), Some(0));
        assert_eq!(note(here, "a", now + SILENT), Some(2));
    }

    #[test]
    fn memory_is_bounded() {
        let refusals = Refusals::default();
        let now = Instant::now();
        for place in 0..5000 {
            refusals.note(IpAddr::from([10, 0, 0, 1]), place.to_string(), now);
        }
        assert!(refusals.seen.lock().len() <= MOST);
    }
}
