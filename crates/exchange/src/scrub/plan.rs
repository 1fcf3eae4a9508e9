//! When the scrub does what. Does no I/O and reads no clock.

use std::time::Duration;

use store::ScrubPlace;
use tokio::time::Instant;

/// Between two pieces of a pass that nobody waits for.
pub(super) const PIECE_EVERY: Duration = Duration::from_secs(60);
/// The least that is read at once: a small log is done in a few pieces.
pub(super) const LEAST_PIECE: u64 = 4 << 20;
/// From the start to the first pass: a node that starts has other things to read.
pub(super) const FIRST_AFTER: Duration = Duration::from_secs(30);
/// From a failed try to mend to the next one, at first and at most.
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(1);
pub(super) const RETRY_MOST: Duration = Duration::from_secs(600);

/// What is under way and when it goes on.
#[derive(Debug)]
pub(super) struct Plan {
    every: Option<Duration>,
    pass: Option<Pass>,
    /// When the next pass begins, if none is under way.
    next: Option<Instant>,
    mend: Option<Retry>,
}

#[derive(Debug)]
struct Pass {
    place: ScrubPlace,
    /// Somebody waits for it.
    hurried: bool,
    /// None before its first piece.
    began: Option<Instant>,
    /// When its next piece is read.
    due: Instant,
}

#[derive(Debug)]
struct Retry {
    due: Instant,
    /// How long to wait after this try, if it does not help.
    wait: Duration,
}

impl Plan {
    pub(super) fn new(every: Option<Duration>, now: Instant) -> Self {
        Self { every, pass: None, next: every.map(|_| now + FIRST_AFTER), mend: None }
    }

    /// When there is something to do next; none: nothing by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        let pass = self.pass.as_ref().map(|pass| pass.due).or(self.next);
        pass.into_iter().chain(self.mend.as_ref().map(|mend| mend.due)).min()
    }

    /// A pass from the log's start without pauses, in place of the one under way; what is damaged is asked for again.
    pub(super) fn begin_hurried(&mut self, now: Instant) {
        self.pass = Some(Pass { place: ScrubPlace::default(), hurried: true, began: None, due: now });
        if self.mend.is_some() {
            self.damage_found(now);
        }
    }

    /// Something new is to be mended: at once, whatever the last tries gave.
    pub(super) fn damage_found(&mut self, now: Instant) {
        self.mend = Some(Retry { due: now, wait: RETRY_FIRST });
    }

    pub(super) fn mend_is_due(&self, now: Instant) -> bool {
        self.mend.as_ref().is_some_and(|mend| mend.due <= now)
    }

    /// A try to mend is over; `chance` spreads the next one, so that a tree's nodes do not ask together.
    pub(super) fn mended(&mut self, some_left: bool, chance: u8, now: Instant) {
        let wait = self.mend.as_ref().map_or(RETRY_FIRST, |mend| mend.wait);
        let spread = 0.75 + f64::from(chance) / 512.0;
        self.mend =
            some_left.then(|| Retry { due: now + wait.mul_f64(spread), wait: (wait * 2).min(RETRY_MOST) });
    }

    pub(super) fn piece_is_due(&self, now: Instant) -> bool {
        self.pass.as_ref().map(|pass| pass.due).or(self.next).is_some_and(|due| due <= now)
    }

    /// Makes the pass to which the piece belongs that is due. Whether it is a new one.
    pub(super) fn begin_piece(&mut self, now: Instant) -> bool {
        let pass = self.pass.get_or_insert_with(|| Pass {
            place: ScrubPlace::default(),
            hurried: false,
            began: None,
            due: now,
        });
        let begins = pass.began.is_none();
        pass.began.get_or_insert(now);
        begins
    }

    /// Where the piece begins and how much of a log of so many bytes it is.
    pub(super) fn piece(&self, log_bytes: u64) -> (ScrubPlace, u64) {
        let place = self.pass.as_ref().map(|pass| pass.place).unwrap_or_default();
        let pieces = self.every.map_or(1, |every| every.as_secs() / PIECE_EVERY.as_secs()).max(1);
        let slow = self.pass.as_ref().is_some_and(|pass| !pass.hurried);
        let share = if slow { log_bytes.div_ceil(pieces) } else { LEAST_PIECE };
        (place, share.max(LEAST_PIECE))
    }

    /// The piece could not be read: the same again, later.
    pub(super) fn piece_failed(&mut self, now: Instant) {
        if let Some(pass) = &mut self.pass {
            pass.due = now + PIECE_EVERY;
        }
    }

    /// The pass goes on here, or has ended. Whether it has ended.
    pub(super) fn piece_done(&mut self, next: Option<ScrubPlace>, now: Instant) -> bool {
        let Some(pass) = &mut self.pass else { return false };
        if let Some(next) = next {
            pass.place = next;
            pass.due = if pass.hurried { now } else { now + PIECE_EVERY };
            return false;
        }
        let began = pass.began.unwrap_or(now);
        self.pass = None;
        self.next = self.every.map(|every| (began + every).max(now + PIECE_EVERY));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn place(position: u64) -> ScrubPlace {
        ScrubPlace { position }
    }

    #[test]
    fn a_pass_takes_no_longer_than_it_may_and_begins_once_in_that_time() {
        let start = Instant::now();
        let mut plan = Plan::new(Some(7 * DAY), start);
        assert_eq!(plan.due(), Some(start + FIRST_AFTER));
        assert!(!plan.piece_is_due(start));
        let log: u64 = 200 << 30;
        let (mut now, mut read, mut pieces) = (start + FIRST_AFTER, 0, 0);
        while read < log {
            now = plan.due().unwrap();
            assert!(plan.piece_is_due(now));
            assert_eq!(plan.begin_piece(now), read == 0);
            let (from, bytes) = plan.piece(log);
            assert_eq!(from.position, read);
            (read, pieces) = (read + bytes, pieces + 1);
            assert!(bytes < 32 << 20);
            assert_eq!(plan.piece_done((read < log).then_some(place(read)), now), read >= log);
        }
        assert!(now - start <= 7 * DAY && pieces > 10_000, "{pieces}");
        assert_eq!(plan.due(), Some(start + FIRST_AFTER + 7 * DAY));
    }

    #[test]
    fn a_small_log_is_read_in_a_few_pieces_and_then_rests() {
        let start = Instant::now();
        let mut plan = Plan::new(Some(DAY), start);
        let began = plan.due().unwrap();
        plan.begin_piece(began);
        assert_eq!(plan.piece(10 << 20), (place(0), LEAST_PIECE));
        plan.piece_done(Some(place(5)), began);
        assert_eq!(plan.due(), Some(began + PIECE_EVERY));
        assert_eq!(plan.piece(10 << 20).0, place(5));
        assert!(plan.piece_done(None, began + PIECE_EVERY));
        assert_eq!(plan.due(), Some(began + DAY));
    }

    #[test]
    fn whoever_asks_gets_a_pass_from_the_start_at_once() {
        let now = Instant::now();
        let mut plan = Plan::new(None, now);
        assert_eq!(plan.due(), None);
        plan.begin_hurried(now);
        assert!(plan.piece_is_due(now) && plan.begin_piece(now) && !plan.begin_piece(now));
        plan.piece_done(Some(place(9)), now);
        assert!(plan.piece_is_due(now), "no pause");
        plan.begin_hurried(now);
        assert!(plan.begin_piece(now), "another one, which begins anew");
        assert_eq!(plan.piece(1 << 40), (place(0), LEAST_PIECE));
        plan.piece_failed(now);
        assert_eq!(plan.due(), Some(now + PIECE_EVERY));
        assert!(plan.piece_done(None, now));
        assert_eq!(plan.due(), None);
    }

    #[test]
    fn mending_is_tried_ever_more_seldom_until_there_is_news() {
        let mut now = Instant::now();
        let mut plan = Plan::new(None, now);
        plan.damage_found(now);
        let mut waits = Vec::new();
        for _ in 0..14 {
            assert!(plan.mend_is_due(now));
            plan.mended(true, 128, now);
            waits.push(plan.due().unwrap() - now);
            now = plan.due().unwrap();
        }
        assert_eq!(waits[0], RETRY_FIRST);
        assert!(waits.windows(2).all(|pair| pair[1] == (pair[0] * 2).min(RETRY_MOST)), "{waits:?}");
        assert_eq!(waits[13], RETRY_MOST);
        plan.damage_found(now);
        plan.mended(true, 0, now);
        assert_eq!(plan.due(), Some(now + RETRY_FIRST.mul_f64(0.75)));
        plan.begin_hurried(now);
        assert!(plan.mend_is_due(now), "asking for a pass asks the neighbours again");
        plan.mended(false, 0, now);
        assert!(!plan.mend_is_due(now + RETRY_MOST * 10));
    }
}
