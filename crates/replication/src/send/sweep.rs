//! When the sender of a down feed compares what the child holds with what the rule tells it, bucket by bucket. No I/O here.
//!
//! ```text
//! gather: the rule over all records of some buckets, in pieces ─▶ their sums go with a head ─▶ equal: on to the next ones
//!    ▲                                                             └▶ different: the child names what it holds of one bucket
//!    │                                                                 missing or older: shipped    too much: retracted
//!    └── the same bucket again, until it is equal ◀────────────────────┘   not known here: counted and shown
//! ```
//! A pass takes what it takes: after every step the sender waits fifty times as long as that took. It goes on only while
//! both ends are at the feed's head; whatever is committed meanwhile makes it gather the step again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::feed::{BucketSum, CheckAnswer, Comparison, HeldVersion, MAX_CHECKED};
use model::{RecordKey, Version};
use store::{BUCKETS, BucketDigest, ReadError};
use tokio::time::Instant;

use crate::DirectoryView;

/// How long the sender rests after a step, in times of what the step took.
const REST: u32 = 50;
/// The least rest.
const LEAST_REST: Duration = Duration::from_millis(20);
/// When a step that the log outran is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// Longest pause after a pass that did not find the ends equal.
const AFTER_DIFFERENT: Duration = Duration::from_secs(300);
/// Records of one step; more buckets are left to the next one.
const STEP_RECORDS: usize = 256;
/// Repairs in a row that do not make a bucket equal before it is left to the next pass.
const MAX_ROUNDS: u32 = 3;

/// What the child is to hold of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub key: RecordKey,
    pub version: Version,
    pub duty: Duty,
}

/// Which version of a record the child is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    Current,
    /// It may have the current one or none.
    CurrentOrNone,
    /// It may have any or none: it is told when something else is known.
    Any,
}

/// Some buckets, as far as the rule has been asked about their records.
#[derive(Debug)]
pub(super) struct Gathering {
    /// The state of things about which it was asked.
    pub position: u64,
    pub view: Arc<DirectoryView>,
    /// Complete buckets, consecutive.
    pub sums: Vec<BucketSum>,
    /// What the child is to hold of each, in the order of the keys.
    told: Vec<Vec<Told>>,
    /// The bucket that is being gathered, the last key looked at, and its sum so far.
    pub bucket: u16,
    pub after: Option<RecordKey>,
    open: (BucketDigest, Vec<Told>),
    /// A record of it cannot be read here.
    unreadable: bool,
    pub records: usize,
    pub spent: Duration,
    /// The key behind which the child is asked for more of the only bucket.
    pub page: Option<RecordKey>,
}

impl Gathering {
    fn new(bucket: u16, position: u64, view: Arc<DirectoryView>) -> Self {
        Self {
            position,
            view,
            sums: Vec::new(),
            told: Vec::new(),
            bucket,
            after: None,
            open: (BucketDigest::default(), Vec::new()),
            unreadable: false,
            records: 0,
            spent: Duration::ZERO,
            page: None,
        }
    }

    /// The child is to hold this one.
    pub fn tell(&mut self, told: Told, contribution: u128) {
        if told.duty == Duty::Current {
            self.open.0 = self.open.0.with(contribution);
        }
        self.open.1.push(told);
    }

    /// The bucket that is being gathered cannot be compared now.
    pub fn skip(&mut self) {
        self.unreadable = true;
    }

    /// All records of the bucket have been looked at.
    fn close(&mut self) {
        let (sum, told) = std::mem::take(&mut self.open);
        self.sums.push(BucketSum { bucket: self.bucket, sum: sum.sum, records: sum.count });
        self.told.push(told);
        self.bucket += 1;
        self.after = None;
    }

    fn first(&self) -> u16 {
        self.sums.first().map_or(self.bucket, |sum| sum.bucket)
    }

    fn is_full(&self) -> bool {
        self.sums.len() == MAX_CHECKED || self.records >= STEP_RECORDS || usize::from(self.bucket) == BUCKETS
    }
}

/// What came of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// The child is to get so many records, and to forget so many.
    Mend(usize, usize),
    /// A pass is over: so many records are held by both ends …
    Proven(u64),
    /// … or it found what could not be mended.
    Different {
        buckets: u16,
        surplus: u64,
    },
}

/// Where the child holds something else, as far as its answer goes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    missing: Vec<(RecordKey, Version)>,
    /// Not told by the rule, or not any more.
    too_much: Vec<(RecordKey, Version)>,
    /// In a higher version than is held here.
    ahead: u64,
    /// In quarantine there, or told when something else is known: no difference, but the sums may not be the same.
    allowed: bool,
}

/// Compares what the child is to hold of a bucket, and names behind `after` and up to `end`, with what it says. At first what it has
/// in quarantine counts as missing: it may have come there altered, or before what it needs.
fn difference(
    told: &[Told],
    (after, end): (Option<RecordKey>, Option<RecordKey>),
    held: &[HeldVersion],
    first: bool,
) -> Difference {
    let within =
        |key: &RecordKey| after.is_none_or(|after| *key > after) && end.is_none_or(|end| *key <= end);
    let mut there: BTreeMap<RecordKey, Vec<&HeldVersion>> = BTreeMap::new();
    held.iter().filter(|one| within(&one.key)).for_each(|one| there.entry(one.key).or_default().push(one));
    let mut difference = Difference::default();
    for told in told.iter().filter(|told| within(&told.key)) {
        let versions = there.remove(&told.key).unwrap_or_default();
        difference.allowed |= told.duty != Duty::Current || versions.iter().any(|one| one.quarantined);
        let applied = versions.iter().find(|one| !one.quarantined).map(|one| one.version);
        let same = versions.iter().any(|one| one.version == told.version && !(one.quarantined && first));
        match (told.duty, applied) {
            (_, Some(version)) if version > told.version => difference.ahead += 1,
            _ if same => {}
            (Duty::Current, _) => difference.missing.push((told.key, told.version)),
            (Duty::CurrentOrNone, Some(older)) => difference.too_much.push((told.key, older)),
            (Duty::CurrentOrNone | Duty::Any, _) => {}
        }
    }
    for one in there.into_values().flatten() {
        if one.quarantined {
            difference.allowed = true;
        } else {
            difference.too_much.push((one.key, one.version));
        }
    }
    difference
}

/// The comparison in one session.
#[derive(Debug)]
pub(super) struct Sweep {
    due: Instant,
    /// Between passes.
    pause: Duration,
    at: u16,
    gathering: Option<Gathering>,
    /// Its sums went, and the answer is awaited.
    asked: Option<Gathering>,
    ready: bool,
    /// Another pass follows this one at once.
    again: bool,
    /// Repairs of the bucket at `at`, and whether the last answer about it asked for one.
    rounds: u32,
    mended: bool,
    /// Of this pass.
    records: u64,
    failed: u16,
    surplus: u64,
    /// Of the bucket that is being looked at: surplus, and whether something explains that its sums differ.
    open_surplus: u64,
    explained: bool,
    /// What the child lacks, in the version that was compared.
    pub to_ship: VecDeque<(RecordKey, Version)>,
    pub to_retract: VecDeque<(RecordKey, Version)>,
}

impl Sweep {
    /// The first pass is due now, others after a pause.
    pub fn new(now: Instant, pause: Duration) -> Self {
        Self {
            due: now,
            pause,
            at: 0,
            gathering: None,
            asked: None,
            ready: false,
            again: false,
            rounds: 0,
            mended: false,
            records: 0,
            failed: 0,
            surplus: 0,
            open_surplus: 0,
            explained: false,
            to_ship: VecDeque::new(),
            to_retract: VecDeque::new(),
        }
    }

    /// Something may have changed that no record of the log says again: the next pass begins now, behind one that is on its way.
    pub fn hasten(&mut self, now: Instant) {
        if self.is_between() {
            self.due = self.due.min(now);
        } else {
            self.again = true;
        }
    }

    fn is_between(&self) -> bool {
        self.at == 0 && self.rounds == 0 && self.gathering.is_none() && self.asked.is_none() && !self.mends()
    }

    /// When there is something to do next; none while an answer is awaited or something is to be mended.
    pub fn due(&self) -> Option<Instant> {
        (self.asked.is_none() && !self.mends()).then_some(self.due)
    }

    /// Something is to be shipped or retracted.
    pub fn mends(&self) -> bool {
        !self.to_ship.is_empty() || !self.to_retract.is_empty()
    }

    /// A step is gathered, so its sums can go.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// What is being gathered.
    pub fn gathering(&mut self, position: u64, view: &Arc<DirectoryView>) -> &mut Gathering {
        let at = self.at;
        let stale = |held: &Gathering| held.position != position || !Arc::ptr_eq(&held.view, view);
        if self.gathering.as_ref().is_some_and(stale) {
            self.gathering = None;
        }
        self.gathering.get_or_insert_with(|| Gathering::new(at, position, Arc::clone(view)))
    }

    /// The bucket has no more records.
    pub fn closed(&mut self, now: Instant) -> Found {
        let Some(gathering) = &mut self.gathering else { return Found::Nothing };
        if !gathering.unreadable {
            gathering.close();
            self.ready = gathering.is_full();
        } else if gathering.sums.is_empty() {
            self.gathering = None;
            self.failed += 1;
            self.pass_on(self.at + 1);
        } else {
            // What came before it is compared now; it is met again in the next step.
            self.ready = true;
        }
        self.end_of_pass(now)
    }

    /// The log or the directory moved: gathers again a little later.
    pub fn outrun(&mut self, now: Instant) {
        (self.gathering, self.ready) = (None, false);
        self.due = now + AGAIN;
    }

    /// What goes with the next head, if a step is gathered.
    pub fn question(&self) -> Option<&Gathering> {
        self.gathering.as_ref().filter(|_| self.ready)
    }

    /// It went.
    pub fn went(&mut self) {
        (self.asked, self.ready) = (self.gathering.take(), false);
    }

    /// What follows from an answer. `is_known` tells whether a record is known here in this version or a later one.
    pub fn heard(
        &mut self,
        answer: &CheckAnswer,
        is_known: &dyn Fn(&RecordKey, Version) -> Result<bool, ReadError>,
        now: Instant,
    ) -> Result<Found, ReadError> {
        let Some(asked) = self.asked.take() else { return Ok(Found::Nothing) };
        if answer.position != asked.position || answer.comparison == Comparison::NotYet {
            self.due = now + AGAIN;
            return Ok(Found::Nothing);
        }
        self.due = now + (asked.spent * REST).max(LEAST_REST);
        let at = asked.sums.iter().position(|sum| sum.bucket == answer.bucket);
        let equal = match (answer.comparison, at) {
            (Comparison::Equal, _) => asked.sums.len(),
            (_, Some(at)) => at,
            // It names a bucket that it was not asked about.
            (_, None) => return Ok(Found::Nothing),
        };
        if equal > 0 && asked.page.is_none() {
            self.records += asked.sums[..equal].iter().map(|sum| sum.records).sum::<u64>();
            self.pass_on(asked.first() + equal as u16);
        }
        if answer.comparison == Comparison::Equal {
            return Ok(self.end_of_pass(now));
        }
        self.differs(asked, equal, answer, is_known, now)
    }

    fn differs(
        &mut self,
        mut asked: Gathering,
        at: usize,
        answer: &CheckAnswer,
        is_known: &dyn Fn(&RecordKey, Version) -> Result<bool, ReadError>,
        now: Instant,
    ) -> Result<Found, ReadError> {
        let end = answer.held.last().map(|held| held.key).filter(|_| answer.incomplete);
        let difference = difference(&asked.told[at], (asked.page, end), &answer.held, self.rounds == 0);
        let mut retract = 0;
        for (key, version) in difference.too_much {
            if is_known(&key, version)? {
                self.to_retract.push_back((key, version));
                retract += 1;
            } else {
                self.open_surplus += 1;
            }
        }
        self.open_surplus += difference.ahead;
        self.explained |= difference.allowed || self.open_surplus > 0;
        let missing = difference.missing.len();
        self.to_ship.extend(difference.missing);
        self.mended |= missing + retract > 0;
        if let Some(end) = end {
            let (sum, told) = (asked.sums[at], std::mem::take(&mut asked.told[at]));
            (asked.sums, asked.told, asked.page) = (vec![sum], vec![told], Some(end));
            (self.gathering, self.ready) = (Some(asked), true);
        } else {
            self.end_of_bucket(asked.sums[at].records);
        }
        if missing + retract > 0 {
            return Ok(Found::Mend(missing, retract));
        }
        Ok(self.end_of_pass(now))
    }

    /// All of a bucket that differs has been looked at.
    fn end_of_bucket(&mut self, records: u64) {
        if self.mended && self.rounds < MAX_ROUNDS {
            // What differs is on its way: then it is compared again.
            self.rounds += 1;
            (self.mended, self.open_surplus, self.explained) = (false, 0, false);
            return;
        }
        self.surplus += self.open_surplus;
        if !self.mended && self.explained {
            self.records += records;
        } else {
            self.failed += 1;
        }
        self.pass_on(self.at + 1);
    }

    fn pass_on(&mut self, to: u16) {
        (self.at, self.rounds) = (to, 0);
        (self.mended, self.open_surplus, self.explained) = (false, 0, false);
    }

    fn end_of_pass(&mut self, now: Instant) -> Found {
        if usize::from(self.at) < BUCKETS {
            return Found::Nothing;
        }
        let (records, buckets, surplus) = (self.records, self.failed, self.surplus);
        let equal = buckets == 0 && surplus == 0;
        let pause = match equal {
            _ if self.again => LEAST_REST,
            true => self.pause,
            false => self.pause.min(AFTER_DIFFERENT),
        };
        *self = Self::new(now + pause, self.pause);
        if equal { Found::Proven(records) } else { Found::Different { buckets, surplus } }
    }
}

#[cfg(test)]
mod tests;
