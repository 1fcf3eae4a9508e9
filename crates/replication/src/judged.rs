//! How far a node's log has been judged: by its own linker, and by those of the nodes above it (design.md, *Identity*).
//!
//! ```text
//! linker ─▶ here                                                  above ◀─ heads of the down feed (send::judging of the parent)
//!   here, above ─▶ send::judging: tells each child about its own log        └─▶ covers: may this node answer without asking?
//! ```
//! Whoever is above tells a position of *this* node's log: up to there it has judged every registration, and what follows from
//! that has come down. And as of when: all that it knew then of persons registered here is held here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::NodePath;
use model::feed::JudgedUpTo;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// The word of one node about this node's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// It has judged everything up to here, and what follows is here.
    pub position: u64,
    /// What it knew then has come down. By this process' clock.
    pub as_of: Instant,
}

/// How far this node's log is judged. In memory only: it is told again within seconds of a start. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Judged {
    known: Arc<Mutex<Known>>,
    /// Wakes its waiters in their order: a `watch` draws whom it wakes first, and a simulated seed would not be the same twice.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Known {
    /// By this node's own linker; none while it does not follow the log.
    here: Option<u64>,
    /// Bounded by the nodes above.
    above: BTreeMap<NodePath, Word>,
}

impl Judged {
    /// This node's linker has judged everything up to here and written what follows; none: it does not follow the log now.
    pub fn here(&self, position: Option<u64>) {
        let before = std::mem::replace(&mut self.known.lock().here, position);
        if before != position {
            self.changed.notify_waiters();
        }
    }

    /// What the parent tells of this log, of which this is the numbering and the end. Words about another numbering, of nodes that
    /// are not above, or about what is not there yet count for nothing.
    pub(crate) fn told(
        &self,
        own: &NodePath,
        (numbering, head): ([u8; 16], u64),
        words: Vec<JudgedUpTo>,
        now: Instant,
    ) {
        let counts = |word: &JudgedUpTo| {
            word.numbering == numbering && word.position <= head && word.by != *own && word.by.contains(own)
        };
        let mut known = self.known.lock();
        for word in words.into_iter().filter(counts) {
            // Older than the process' clock is as good as never.
            let Some(as_of) = now.checked_sub(Duration::from_millis(word.ago_ms)) else { continue };
            known.above.insert(word.by, Word { position: word.position, as_of });
        }
        drop(known);
        self.changed.notify_waiters();
    }

    /// What the nodes above said last, topmost first.
    pub fn above(&self) -> Vec<(NodePath, Word)> {
        self.known.lock().above.iter().map(|(path, word)| (path.clone(), *word)).collect()
    }

    /// Of everybody who judges this log, how far; this node's own linker as of `now`.
    pub(crate) fn all(&self, own: &NodePath, now: Instant) -> Vec<(NodePath, Word)> {
        let known = self.known.lock();
        let here = known.here.map(|position| (own.clone(), Word { position, as_of: now }));
        known.above.iter().map(|(path, word)| (path.clone(), *word)).chain(here).collect()
    }

    /// Since when every node above has judged what stands at this position of the log, as of their latest words: how long ago what all of
    /// them knew has come down. None when one of them has not, or has not said so.
    pub fn covers(&self, own: &NodePath, position: u64, now: Instant) -> Option<Duration> {
        let known = self.known.lock();
        let mut oldest = Duration::ZERO;
        let mut above = own.parent();
        while let Some(path) = above {
            let word = known.above.get(&path).filter(|word| word.position >= position)?;
            oldest = oldest.max(now.saturating_duration_since(word.as_of));
            above = path.parent();
        }
        Some(oldest)
    }

    /// Ends when somebody has said something since this call.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LOG: [u8; 16] = [7; 16];

    fn path(text: &str) -> NodePath {
        text.parse().unwrap()
    }

    fn word(by: &str, position: u64, ago_ms: u64) -> JudgedUpTo {
        JudgedUpTo { by: path(by), numbering: LOG, position, ago_ms }
    }

    #[tokio::test(start_paused = true)]
    async fn all_above_must_have_judged() {
        tokio::time::advance(Duration::from_secs(100)).await;
        let (judged, own, now) = (Judged::default(), path("530000/532900/532901"), Instant::now());
        assert_eq!(judged.covers(&own, 0, now), None, "nobody has said anything");
        judged.told(&own, (LOG, 50), vec![word("530000/532900", 40, 100)], now);
        assert_eq!(judged.covers(&own, 10, now), None, "the province has not");
        judged.told(&own, (LOG, 50), vec![word("530000", 30, 700)], now);
        assert_eq!(judged.covers(&own, 30, now), Some(Duration::from_millis(700)), "the older one counts");
        assert_eq!(judged.covers(&own, 31, now), None);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(judged.covers(&own, 30, Instant::now()), Some(Duration::from_millis(2700)));
        assert_eq!(judged.covers(&path("530000"), 99, now), Some(Duration::ZERO), "nobody is above a root");
    }

    #[tokio::test(start_paused = true)]
    async fn words_that_cannot_be_meant_count_for_nothing() {
        tokio::time::advance(Duration::from_secs(100)).await;
        let (own, now) = (path("530000/532900"), Instant::now());
        let other = JudgedUpTo { numbering: [8; 16], ..word("530000", 10, 0) };
        let cases = [
            other,
            word("530000", 51, 0),
            word("530000/532900", 10, 0),
            word("530000/532900/532901", 10, 0),
            word("530100", 10, 0),
        ];
        for case in cases {
            let judged = Judged::default();
            judged.told(&own, (LOG, 50), vec![case.clone()], now);
            assert_eq!(judged.above(), Vec::new(), "{case:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_linker_that_stops_says_nothing() {
        let (judged, own) = (Judged::default(), path("530000"));
        let news = judged.changed();
        judged.here(Some(7));
        assert!(news.now_or_never().is_some());
        let news = judged.changed();
        judged.here(Some(7));
        assert!(news.now_or_never().is_none(), "nothing new");
        assert_eq!(judged.all(&own, Instant::now()).len(), 1);
        judged.here(None);
        assert_eq!(judged.all(&own, Instant::now()), Vec::new());
    }
}
