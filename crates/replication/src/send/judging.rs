//! Tells a child how far its own log has been judged: by this node and by those above it.
//!
//! ```text
//! mark: p = how much of the child's log is here, l = the end of this log
//!   └▶ judged up to l (by this node's linker, or as the one above says): u = the end of this log, what follows stands before it
//!        └▶ the child has acknowledged u of its down feed: it is told p, as of the mark
//! ```
//! One mark at a time for each judge, so nothing grows, and however busy all are, marks come to their end.

use std::collections::BTreeMap;
use std::time::Duration;

use model::NodePath;
use model::feed::JudgedUpTo;
use tokio::time::Instant;

use super::Course;
use crate::judged::Word;

/// News wait for so much of the time between two heads, so that they are not a head each.
const SOON: u32 = 8;

/// How much of the child's log is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub numbering: [u8; 16],
    pub position: u64,
}

/// How things are.
#[derive(Debug)]
pub(super) struct Now {
    pub at: Instant,
    /// None while the child does not ship.
    pub held: Option<Held>,
    /// The end of this node's log, read after everything else here.
    pub head: u64,
    /// Up to where the child has taken its down feed.
    pub acknowledged: u64,
    /// How far this node's log is judged, and by whom.
    pub judges: Vec<(NodePath, Word)>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    held: Held,
    /// The end of this node's log when it was made.
    log: u64,
    made: Instant,
    /// It is judged: what follows stands before this position, and as of when.
    follows: Option<(u64, Instant)>,
}

/// What one session tells its child.
#[derive(Debug, Default)]
pub(super) struct Judging {
    marks: BTreeMap<NodePath, Mark>,
    told: BTreeMap<NodePath, (Held, Instant)>,
}

impl Judging {
    /// Looks how far marks have come; whether there is more to tell of the child's log than before.
    pub fn look(&mut self, now: &Now) -> bool {
        let mut more = false;
        for (by, word) in &now.judges {
            // A mark that has come to its end makes room for one of now, which may come to its end as well.
            for _ in 0..2 {
                let Some(mark) = self.mark(by, now) else { break };
                if mark.follows.is_none() && word.position >= mark.log {
                    mark.follows = Some((now.head, mark.made.min(word.as_of)));
                }
                let Some((follows, as_of)) = mark.follows else { break };
                if now.acknowledged < follows {
                    break;
                }
                let held = mark.held;
                let before = self.told.insert(by.clone(), (held, as_of));
                more |= before.is_none_or(|(before, _)| before != held);
                self.marks.remove(by);
            }
        }
        more
    }

    fn mark(&mut self, by: &NodePath, now: &Now) -> Option<&mut Mark> {
        if !self.marks.contains_key(by) {
            let held = now.held?;
            self.marks.insert(by.clone(), Mark { held, log: now.head, made: now.at, follows: None });
        }
        self.marks.get_mut(by)
    }

    /// What there is to tell.
    pub fn words(&self, now: Instant) -> Vec<JudgedUpTo> {
        let word = |(by, (held, as_of)): (&NodePath, &(Held, Instant))| JudgedUpTo {
            by: by.clone(),
            numbering: held.numbering,
            position: held.position,
            ago_ms: millis_up(now.saturating_duration_since(*as_of)),
        };
        self.told.iter().map(word).collect()
    }
}

impl Course<'_> {
    /// Looks how far the child's log is judged. More of that is told soon: without it the child asks for whom it could answer.
    pub(super) fn look_at_judges(&mut self) {
        let Some(judging) = &mut self.judging else { return };
        let (sender, now) = (self.sender, Instant::now());
        let judges = sender.links.judged().all(&sender.own.path, now);
        let held = sender.links.received(self.to);
        let held = held.map(|(numbering, position)| Held { numbering, position });
        let (head, acknowledged) = (sender.store.head(), self.shipping.acknowledged());
        if judging.look(&Now { at: now, held, head, acknowledged, judges }) {
            self.next_head = self.next_head.min(now + sender.settings.head_interval / SOON);
        }
    }
}

/// In milliseconds, rounded up: nobody is to take it for fresher than it is.
fn millis_up(since: Duration) -> u64 {
    u64::try_from(since.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> NodePath {
        text.parse().unwrap()
    }

    fn held(position: u64) -> Held {
        Held { numbering: [7; 16], position }
    }

    fn told(judging: &Judging, by: &str, now: Instant) -> Option<(u64, u64)> {
        let words = judging.words(now);
        words.iter().find(|word| word.by == path(by)).map(|word| (word.position, word.ago_ms))
    }

    /// The node is a prefecture: its own linker has judged up to `here`, the province's as told up to `above` as of a second before.
    fn now(at: Instant, (child, head, acknowledged): (u64, u64, u64), (here, above): (u64, u64)) -> Now {
        let second = Duration::from_secs(1);
        let above = Word { position: above, as_of: at - second };
        let here = Word { position: here, as_of: at };
        let judges = vec![(path("530000"), above), (path("530000/532900"), here)];
        Now { at, held: Some(held(child)), head, acknowledged, judges }
    }

    #[tokio::test(start_paused = true)]
    async fn a_position_is_told_when_what_follows_from_it_is_there() {
        tokio::time::advance(Duration::from_secs(100)).await;
        let (mut judging, at) = (Judging::default(), Instant::now());
        let (own, province) = ("530000/532900", "530000");
        assert!(!judging.look(&now(at, (5, 100, 90), (99, 99))));
        assert_eq!(judging.words(at), Vec::new(), "the last record is not judged");
        // Its own linker is there, and wrote a link at 101.
        let later = at + Duration::from_millis(10);
        assert!(!judging.look(&now(later, (6, 101, 100), (100, 99))));
        assert_eq!(told(&judging, own, later), None, "the child lacks that link");
        let later = at + Duration::from_millis(20);
        assert!(judging.look(&now(later, (6, 103, 101), (103, 99))));
        assert_eq!(told(&judging, own, later), Some((5, 20)), "what was there at the mark, as of the mark");
        assert_eq!(told(&judging, province, later), None);
        let later = at + Duration::from_millis(30);
        assert!(judging.look(&now(later, (6, 103, 103), (103, 100))));
        assert_eq!(
            told(&judging, own, later),
            Some((6, 0)),
            "nothing is open, so the next mark is at its end at once"
        );
        assert_eq!(told(&judging, province, later), Some((5, 1000)), "the province's word is older");
    }

    #[tokio::test(start_paused = true)]
    async fn at_rest_it_is_as_of_now_and_nothing_more() {
        tokio::time::advance(Duration::from_secs(100)).await;
        let (mut judging, at) = (Judging::default(), Instant::now());
        assert!(judging.look(&now(at, (5, 100, 100), (100, 100))));
        let later = at + Duration::from_secs(60);
        judging.look(&now(later, (5, 100, 100), (100, 100)));
        assert!(!judging.look(&now(later, (5, 100, 100), (100, 100))), "nothing more to tell");
        assert_eq!(told(&judging, "530000/532900", later), Some((5, 0)));
        assert_eq!(told(&judging, "530000", later), Some((5, 1000)));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_said_while_the_child_does_not_ship() {
        tokio::time::advance(Duration::from_secs(100)).await;
        let (mut judging, at) = (Judging::default(), Instant::now());
        let silent = Now { held: None, ..now(at, (5, 100, 100), (100, 100)) };
        assert!(!judging.look(&silent));
        assert_eq!(judging.words(at), Vec::new());
    }
}
