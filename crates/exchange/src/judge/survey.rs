//! A survey of what the linker holds: counted in steps between its work, on demand, so that nobody waits for it.

use std::collections::BinaryHeap;
use std::sync::Arc;

use linkage::Place;
use linkage::compare::Levels;
use linkage::quality::{CONTRADICTIONS, Drift, contradictions};
use model::RecordKey;
use model::body::{LinkBasis, LinkDecision};
use model::person_link::Decided;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;

use super::desk::{Desk, MAX_COMPONENT};

/// Registrations looked at in one step; some milliseconds.
const STEP: usize = 1_024;
/// Pairs of each stratum that humans are asked about.
pub(crate) const SAMPLE: usize = 100;
/// Pairs that humans decided about whose strata are looked up; of more, those that come first in a sample.
pub(crate) const MAX_ANSWERS: usize = 10_000;
/// Persons named for a contradiction.
pub(crate) const MAX_EXAMPLES: usize = 10;
/// Registrations of a person that are compared with each other; of a larger one, each with the first.
const MAX_COMPARED: usize = 8;
/// Persons compared against the model, about; of more, every so manieth.
const MAX_DRIFT: usize = 50_000;
/// Upper bounds of the sizes of persons counted together, the last one open.
pub(crate) const SIZES: [usize; 7] = [1, 2, 3, 5, 10, 50, usize::MAX];

/// Pairs that the linker holds alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Held {
    Rule,
    Sure,
    Doubtful,
    Possible,
}

impl Held {
    pub const ALL: [Self; 4] = [Self::Rule, Self::Sure, Self::Doubtful, Self::Possible];

    pub fn name(self) -> &'static str {
        ["rule", "sure", "doubtful", "possible"][self as usize]
    }

    /// What a decision of a linker is; none if it neither joins nor asks.
    pub fn of(
        decision: LinkDecision,
        basis: LinkBasis,
        weight_millibits: i32,
        sure_from: f32,
    ) -> Option<Self> {
        let sure = || linkage::model::probability(weight_millibits as f32 / 1000.0) >= sure_from;
        match decision {
            LinkDecision::Possible => Some(Self::Possible),
            LinkDecision::Same if basis == LinkBasis::Rule => Some(Self::Rule),
            LinkDecision::Same if sure() => Some(Self::Sure),
            LinkDecision::Same => Some(Self::Doubtful),
            _ => None,
        }
    }
}

/// A pair at its place in every sample: chance, but the same at every survey, so that answers are asked for once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Drawn {
    lot: u64,
    pub pair: [RecordKey; 2],
}

impl Drawn {
    pub fn new(a: RecordKey, b: RecordKey) -> Self {
        let pair = [a.min(b), a.max(b)];
        let mut hash = Sha256::new();
        hash.update(b"tiermesh sample v1\0");
        for key in &pair {
            hash.update(key.as_bytes());
        }
        let mut lot = [0; 8];
        lot.copy_from_slice(&hash.finalize()[..8]);
        Self { lot: u64::from_be_bytes(lot), pair }
    }
}

/// The first of all that were drawn, and how many there were.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub drawn: u64,
    first: BinaryHeap<Drawn>,
}

impl Sample {
    pub fn draw(&mut self, one: Drawn, most: usize) {
        self.drawn += 1;
        self.first.push(one);
        if self.first.len() > most {
            self.first.pop();
        }
    }

    /// Those drawn first, in order.
    pub fn first(&self) -> Vec<Drawn> {
        self.first.clone().into_sorted_vec()
    }
}

/// Persons with a contradiction, some of them by a registration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Suspects {
    pub persons: u64,
    pub examples: Vec<RecordKey>,
}

impl Suspects {
    fn add(&mut self, example: RecordKey) {
        self.persons += 1;
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(example);
        }
    }
}

/// What was counted of the registrations of the node's subtree and of the decisions between them. Each was looked at once, some later
/// than others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Survey {
    /// Which one asked for it.
    serial: u64,
    pub taken: Option<Instant>,
    pub registrations: u64,
    pub persons: u64,
    pub sizes: [u64; SIZES.len()],
    pub largest: u64,
    /// Pairs joined by a rule, by score, by a human.
    pub joins: [u64; 3],
    /// Pairs whose join is suspended.
    pub suspended: u64,
    /// For each of [`CONTRADICTIONS`], and for two of them in one pair.
    pub suspects: [Suspects; CONTRADICTIONS.len()],
    pub twice_suspect: Suspects,
    pub drift: Drift,
    /// Pairs that no human decided about, as [`Held`].
    pub unanswered: [Sample; Held::ALL.len()],
    /// Pairs that humans decided about.
    pub answered: Sample,
}

/// Surveys as they are asked for. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Surveys {
    wanted: Arc<watch::Sender<u64>>,
    done: Arc<watch::Sender<Arc<Survey>>>,
}

impl Surveys {
    /// The last survey if it is this fresh, or the next one.
    pub async fn latest(&self, fresh: std::time::Duration) -> Arc<Survey> {
        let mut done = self.done.subscribe();
        let last = done.borrow_and_update().clone();
        if last.taken.is_some_and(|taken| taken.elapsed() <= fresh) {
            return last;
        }
        // One that is under way serves whoever asks meanwhile.
        self.wanted.send_modify(|wanted| *wanted = last.serial + 1);
        let next = done.wait_for(|survey| survey.serial > last.serial).await;
        next.map(|survey| survey.clone()).unwrap_or(last)
    }

    /// For the linker, which takes them.
    pub fn surveyor(&self) -> Surveyor {
        Surveyor { wanted: self.wanted.subscribe(), surveys: self.clone(), under_way: None }
    }
}

/// Takes surveys of a desk.
#[derive(Debug)]
pub(super) struct Surveyor {
    wanted: watch::Receiver<u64>,
    surveys: Surveys,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    next: usize,
    every: usize,
    survey: Survey,
}

impl Surveyor {
    fn is_wanted(&self) -> bool {
        *self.wanted.borrow() > self.surveys.done.borrow().serial
    }

    /// Until there is a step to take.
    pub async fn due(&mut self) {
        while !self.is_wanted() && self.wanted.changed().await.is_ok() {}
    }

    /// Takes a step, if there is one to take.
    pub fn step(&mut self, desk: &Desk) {
        if !self.is_wanted() {
            return;
        }
        let under_way = self.under_way.get_or_insert_with(|| UnderWay {
            next: 0,
            every: desk.registrations() / MAX_DRIFT + 1,
            survey: Survey { serial: *self.wanted.borrow(), ..Survey::default() },
        });
        let end = (under_way.next + STEP).min(desk.held.len());
        for place in under_way.next..end {
            under_way.survey.look_at(desk, place as Place, under_way.every);
        }
        under_way.next = end;
        if end == desk.held.len() {
            let done = self.under_way.take().map(|under_way| under_way.survey).unwrap_or_default();
            self.surveys.done.send_replace(Arc::new(Survey { taken: Some(Instant::now()), ..done }));
        }
    }
}

impl Survey {
    fn look_at(&mut self, desk: &Desk, place: Place, every: usize) {
        let Some(held) = desk.held.get(place as usize).copied().flatten() else { return };
        self.registrations += 1;
        for key in desk.graph.others(&held.end.key) {
            if held.end.key < *key {
                self.look_at_pair(desk, &held.end.key, key);
            }
        }
        let person = desk.linker.person_of(place);
        let members = desk.linker.members(person);
        // Each person once, with the first of its members.
        if members.first() == Some(&place) {
            self.look_at_person(desk, members, every);
        }
    }

    fn look_at_pair(&mut self, desk: &Desk, a: &RecordKey, b: &RecordKey) {
        let Some((one, two)) = desk.end_of(a).zip(desk.end_of(b)) else { return };
        self.suspended += u64::from(desk.graph.is_suspended(&one, &two));
        let joined = desk.graph.joined(&one, &two) == Some(true);
        if let Some((decided, _)) = desk.graph.join(&one, &two).filter(|_| joined) {
            self.joins[by(&decided)] += 1;
        }
        let drawn = Drawn::new(*a, *b);
        if desk.graph.by_humans(&one, &two).is_some() {
            self.answered.draw(drawn, MAX_ANSWERS);
            return;
        }
        let Some(said) = desk.graph.by_machines(&one, &two) else { return };
        let sure_from = desk.linker.scorer().model().sure_from;
        let Some(stratum) = Held::of(said.decision, said.basis, said.weight_millibits, sure_from) else {
            return;
        };
        let person = |key: &RecordKey| desk.places.get(key).map(|place| desk.linker.person_of(*place));
        // What is said and does not count is of neither kind.
        let counts = if stratum == Held::Possible { person(a) != person(b) } else { joined };
        if counts {
            self.unanswered[stratum as usize].draw(drawn, SAMPLE);
        }
    }

    fn look_at_person(&mut self, desk: &Desk, members: &[Place], every: usize) {
        self.persons += 1;
        let size = members.len();
        self.sizes[SIZES.iter().position(|most| size <= *most).unwrap_or(SIZES.len() - 1)] += 1;
        self.largest = self.largest.max(size as u64);
        let Some(key) = desk.key(members[0]) else { return };
        let members = &members[..size.min(MAX_COMPONENT)];
        let all: Vec<linkage::Features> = members.iter().map(|place| desk.linker.features(*place)).collect();
        let (mut found, mut twice) = ([false; CONTRADICTIONS.len()], false);
        let mut compare = |a: usize, b: usize| -> Levels {
            let levels = linkage::compare::compare(&all[a], &all[b]);
            let pair = contradictions(&levels);
            pair.iter().zip(&mut found).for_each(|(of_pair, found)| *found |= of_pair);
            twice |= pair.iter().filter(|contradicts| **contradicts).count() > 1;
            levels
        };
        let drawn = 1 + usize::from(key.as_bytes()[15]) % size.saturating_sub(1).max(1);
        let firsts = if size > MAX_COMPARED { 1 } else { size };
        for a in 0..firsts {
            for b in a + 1..members.len() {
                let levels = compare(a, b);
                // One pair of each person, whichever: those that the linker joined by are the best of each.
                if (a, b) == (0, drawn) && self.persons.is_multiple_of(every as u64) {
                    self.drift.add(&levels);
                }
            }
        }
        for (suspects, found) in self.suspects.iter_mut().zip(found) {
            if found {
                suspects.add(key);
            }
        }
        if twice {
            self.twice_suspect.add(key);
        }
    }
}

fn by(decided: &Decided) -> usize {
    match decided.basis {
        LinkBasis::Rule => 0,
        LinkBasis::Human => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(of: u16) -> Drawn {
        let key = |half: u8| {
            let mut bytes = [half; 16];
            bytes[..2].copy_from_slice(&of.to_be_bytes());
            RecordKey(bytes)
        };
        Drawn::new(key(1), key(2))
    }

    #[test]
    fn a_sample_is_the_same_whatever_comes_first_and_changes_little_when_more_comes() {
        let draw = |pairs: &mut dyn Iterator<Item = u16>| {
            let mut sample = Sample::default();
            pairs.for_each(|of| sample.draw(pair(of), SAMPLE));
            sample
        };
        let (forth, back) = (draw(&mut (0..1000)), draw(&mut (0..1000).rev()));
        assert_eq!((forth.drawn, forth.first()), (1000, back.first()));
        let named = |sample: &Sample| {
            sample.first().iter().map(|one| one.pair).collect::<std::collections::BTreeSet<_>>()
        };
        let (before, after) = (named(&forth), named(&draw(&mut (0..1100))));
        let stay = before.intersection(&after).count();
        assert!(before.len() == SAMPLE && (75..SAMPLE).contains(&stay), "{stay} of {SAMPLE} stay");
        // By lot, not by key: half of them come from either half.
        let low = before.iter().filter(|[one, _]| one.0[..2] < 500_u16.to_be_bytes()[..]).count();
        assert!((30..=70).contains(&low), "{low} of the lower half");
        assert_eq!(pair(7).pair, Drawn::new(pair(7).pair[1], pair(7).pair[0]).pair);
    }
}
