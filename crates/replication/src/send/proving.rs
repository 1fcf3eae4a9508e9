//! When the sender proves that its parent holds the same, and what it does when it does not.
//!
//! ```text
//! total ─▶ equal: proven
//!       └▶ different ─▶ buckets ─▶ the differing ones are shipped again ─▶ buckets ─▶ equal: repaired
//!                                        ▲                                       └▶ the parent gives back what it holds ─┐
//!                                        └────────────────── something was new here ◀──────────────────────────────────┘
//!                                                             nothing was: the link is red until somebody looks
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use model::RecordKey;
use model::feed::{Comparison, Verdict};
use tokio::time::Instant;

/// How often a feed that moves is proven.
const WHILE_MOVING: Duration = Duration::from_secs(5);
/// How often a feed that rests is proven again: an index or a disk may have changed under it.
const AT_REST: Duration = Duration::from_secs(600);
/// When a proof that the log outran, or one after a repair, is tried.
const AGAIN: Duration = Duration::from_secs(1);
/// When a link that could not be mended is tried again.
const AFTER_ALL: Duration = Duration::from_secs(60);
/// Repairs in a row that make nothing better before somebody is asked to look.
const MAX_ROUNDS: u32 = 4;

/// What to do after a verdict.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Nothing,
    Proven,
    /// Ship these again.
    Repair,
    /// Apply what the parent gave back, then ask again.
    TakeBack,
    /// They stay different.
    Disproven(String),
}

/// The proofs of one session.
#[derive(Debug)]
pub(super) struct Proving {
    due: Instant,
    with_buckets: bool,
    /// A proof without its verdict.
    asked: Option<u64>,
    /// Position last proven.
    proven: Option<u64>,
    /// Buckets to ship again, and how far the first one is shipped.
    repair: VecDeque<u16>,
    after: Option<RecordKey>,
    /// Whether what the parent gave back last was new here; none if it has not since the last repair.
    taken: Option<bool>,
    /// Repairs without success.
    rounds: u32,
}

impl Proving {
    pub fn new(now: Instant) -> Self {
        Self {
            due: now,
            with_buckets: false,
            asked: None,
            proven: None,
            repair: VecDeque::new(),
            after: None,
            taken: None,
            rounds: 0,
        }
    }

    /// Whether a proof of this position should go now, and whether with its buckets.
    pub fn wanted(&self, position: u64, now: Instant) -> Option<bool> {
        let rested = self.proven == Some(position) && !self.with_buckets;
        let due = if rested { self.due + AT_REST.saturating_sub(WHILE_MOVING) } else { self.due };
        (self.asked.is_none() && self.repair.is_empty() && now >= due).then_some(self.with_buckets)
    }

    /// Something was committed meanwhile, so there is nothing to compare now.
    pub fn defer(&mut self, now: Instant) {
        self.due = now + AGAIN;
    }

    /// A proof went.
    pub fn asked(&mut self, position: u64) {
        self.asked = Some(position);
    }

    /// The bucket to ship again next, and the key after which to go on.
    pub fn repairing(&self) -> Option<(u16, Option<RecordKey>)> {
        Some((*self.repair.front()?, self.after))
    }

    /// Shipped up to this key; none: the bucket is done.
    pub fn repaired_to(&mut self, key: Option<RecordKey>) {
        self.after = key;
        if key.is_none() {
            self.repair.pop_front();
        }
    }

    /// The parent gave back records that were new here, or none that were.
    pub fn taken(&mut self, any: bool) {
        self.taken = Some(any);
    }

    /// What follows from a verdict.
    pub fn heard(&mut self, verdict: &Verdict, now: Instant) -> Outcome {
        if self.asked.take() != Some(verdict.position) {
            return Outcome::Nothing;
        }
        self.due = now + WHILE_MOVING;
        match verdict.comparison {
            Comparison::NotYet => Outcome::Nothing,
            Comparison::Equal => {
                self.proven = Some(verdict.position);
                (self.with_buckets, self.rounds, self.taken) = (false, 0, None);
                Outcome::Proven
            }
            // It had the buckets and names none: a peer that says so again and again is asked no faster.
            Comparison::Different if verdict.differing.is_empty() && self.with_buckets => Outcome::Nothing,
            Comparison::Different if verdict.differing.is_empty() => {
                (self.with_buckets, self.due) = (true, now);
                Outcome::Nothing
            }
            Comparison::Different => self.differs(verdict, now),
        }
    }

    fn differs(&mut self, verdict: &Verdict, now: Instant) -> Outcome {
        self.rounds = if self.taken == Some(true) { 1 } else { self.rounds + 1 };
        // What came back for nothing may have come down meanwhile, and what is lacking come back next.
        if self.rounds > MAX_ROUNDS {
            (self.with_buckets, self.rounds, self.taken) = (false, 0, None);
            self.due = now + AFTER_ALL;
            return Outcome::Disproven(format!(
                "the ends hold different records in {} of 1024 buckets, and shipping them again both ways did not help: the \
                 same version may have other bytes at one end; keep both stores as they are and ask for help",
                verdict.differing.len()
            ));
        }
        (self.taken, self.due) = (None, now + AGAIN);
        if !verdict.given_back.is_empty() {
            return Outcome::TakeBack;
        }
        self.repair = verdict.differing.iter().copied().collect();
        self.after = None;
        Outcome::Repair
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(comparison: Comparison, differing: &[u16]) -> Verdict {
        Verdict { position: 5, comparison, differing: differing.to_vec(), given_back: Vec::new() }
    }

    fn given_back() -> Verdict {
        let record = crate::testing::Writer::new(1, "530000").signing_key();
        Verdict { given_back: vec![record], ..verdict(Comparison::Different, &[7]) }
    }

    fn asked(proving: &mut Proving, now: Instant) -> bool {
        let with_buckets = proving.wanted(5, now).expect("a proof is due");
        proving.asked(5);
        with_buckets
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_equal_rests() {
        let now = Instant::now();
        let mut proving = Proving::new(now);
        assert!(!asked(&mut proving, now));
        assert_eq!(proving.wanted(5, now), None, "one proof at a time");
        assert_eq!(proving.heard(&verdict(Comparison::Equal, &[]), now), Outcome::Proven);
        assert_eq!(proving.wanted(5, now + WHILE_MOVING), None);
        assert_eq!(proving.wanted(6, now + WHILE_MOVING), Some(false), "it has moved");
        assert_eq!(proving.wanted(5, now + AT_REST), Some(false), "and once in a while anyway");
    }

    #[tokio::test(start_paused = true)]
    async fn what_differs_is_shipped_again_and_then_given_back() {
        let now = Instant::now();
        let mut proving = Proving::new(now);
        asked(&mut proving, now);
        assert_eq!(proving.heard(&verdict(Comparison::Different, &[]), now), Outcome::Nothing);
        assert!(asked(&mut proving, now), "now with buckets");
        assert_eq!(proving.heard(&verdict(Comparison::Different, &[7, 9]), now), Outcome::Repair);
        assert_eq!(proving.wanted(5, now), None, "not before the buckets are shipped");
        assert_eq!(proving.repairing(), Some((7, None)));
        proving.repaired_to(Some(RecordKey([1; 16])));
        assert_eq!(proving.repairing(), Some((7, Some(RecordKey([1; 16])))));
        proving.repaired_to(None);
        proving.repaired_to(None);
        assert_eq!(proving.wanted(5, now), None, "what is on its way may be what differs");
        let now = now + AGAIN;
        assert!(asked(&mut proving, now));
        assert_eq!(proving.heard(&given_back(), now), Outcome::TakeBack);
        proving.taken(true);
        let now = now + AGAIN;
        assert!(asked(&mut proving, now));
        assert_eq!(proving.heard(&verdict(Comparison::Equal, &[]), now), Outcome::Proven);
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_different_is_said_and_not_tried_for_ever() {
        let mut now = Instant::now();
        let mut proving = Proving::new(now);
        for _ in 0..MAX_ROUNDS {
            asked(&mut proving, now);
            assert_eq!(proving.heard(&verdict(Comparison::Different, &[7]), now), Outcome::Repair);
            proving.repaired_to(None);
            now += AGAIN;
        }
        asked(&mut proving, now);
        assert!(matches!(proving.heard(&verdict(Comparison::Different, &[7]), now), Outcome::Disproven(_)));
        assert_eq!(proving.wanted(5, now + WHILE_MOVING), None);
        now += AFTER_ALL;
        assert!(!asked(&mut proving, now));
        assert_eq!(proving.heard(&given_back(), now), Outcome::TakeBack);
        for _ in 1..MAX_ROUNDS {
            proving.taken(false);
            now += AGAIN;
            asked(&mut proving, now);
            assert_eq!(
                proving.heard(&given_back(), now),
                Outcome::TakeBack,
                "the next may be what is lacking"
            );
        }
        proving.taken(false);
        now += AGAIN;
        asked(&mut proving, now);
        assert!(matches!(proving.heard(&given_back(), now), Outcome::Disproven(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_says_where_it_differs_is_not_asked_at_once_again() {
        let now = Instant::now();
        let mut proving = Proving::new(now);
        asked(&mut proving, now);
        assert_eq!(proving.heard(&verdict(Comparison::Different, &[]), now), Outcome::Nothing);
        assert!(asked(&mut proving, now));
        assert_eq!(proving.heard(&verdict(Comparison::Different, &[]), now), Outcome::Nothing);
        assert_eq!(proving.wanted(5, now), None);
        assert_eq!(proving.wanted(5, now + WHILE_MOVING), Some(true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_of_another_position_says_nothing() {
        let now = Instant::now();
        let mut proving = Proving::new(now);
        asked(&mut proving, now);
        let other = Verdict { position: 4, ..verdict(Comparison::Equal, &[]) };
        assert_eq!(proving.heard(&other, now), Outcome::Nothing);
    }
}
