//! The one thing about a population that cannot be derived household by household: resident IDs are unique. Register
//! offices hand out the sequence numbers of a day in order, as real ones do, so twins have neighbouring numbers.
//!
//! Memory: 2 bytes a person and 4 a household; while counting, up to 40 MB of counters.

use super::SynthError;
use super::day::Day;
use super::households::{Census, END, Household, OLDEST, START};
use super::names::ethnicity;

/// Most persons of a population.
pub const MAX_PERSONS: u64 = 20_000_000;
/// Sequence numbers of one office, day and sex.
const NUMBERS: u16 = 499;
const DAYS: usize = END.since(OLDEST) as usize + 1;

/// What counting the population once has shown.
#[derive(Debug)]
pub struct Register {
    /// By person: the sequence number in the resident ID.
    sequences: Vec<u16>,
    /// By household: its first person.
    first: Vec<u32>,
    /// By day from [`START`]: registrations that arrive.
    pub arrivals: Vec<u32>,
    pub totals: Totals,
}

/// Sizes of a population.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub persons: u64,
    pub households: u64,
    pub registrations: u64,
    /// Pairs of registrations of one person.
    pub true_pairs: u64,
    /// Persons who are twins.
    pub twins: u64,
    /// Heads who share name, sex and birth date with another household's.
    pub namesake_pairs: u64,
}

impl Register {
    /// Counts households until there are this many persons; the last household may lose members for it.
    pub fn new(census: &Census, persons: u64) -> Result<Self, SynthError> {
        if !(1..=MAX_PERSONS).contains(&persons) {
            return Err(SynthError::Persons(persons));
        }
        let mut issued = vec![0u16; census.offices.len() * DAYS * 2];
        let mut register = Self {
            sequences: Vec::with_capacity(persons as usize),
            first: vec![],
            arrivals: vec![0; (END - START) as usize + 1],
            totals: Totals::default(),
        };
        while register.totals.persons < persons {
            let index = register.totals.households;
            let mut household = census.household(index);
            truncate(&mut household, persons - register.totals.persons);
            register.enter(&household, &mut issued);
        }
        Ok(register)
    }

    /// The household with this number, as far as it belongs to the population.
    pub fn household(&self, census: &Census, index: u64) -> Household {
        let mut household = census.household(index);
        truncate(&mut household, self.totals.persons - u64::from(self.first[index as usize]));
        household
    }

    /// The number of a member as a person of the population.
    pub fn person(&self, household: u64, member: usize) -> u64 {
        u64::from(self.first[household as usize]) + member as u64
    }

    /// The sequence number in a member's resident ID.
    pub fn sequence(&self, household: u64, member: usize) -> u16 {
        self.sequences[self.person(household, member) as usize]
    }

    fn enter(&mut self, household: &Household, issued: &mut [u16]) {
        let totals = &mut self.totals;
        self.first.push(totals.persons as u32);
        for member in &household.members {
            let sequence = if member.ethnicity == ethnicity::FOREIGN {
                0
            } else {
                next_sequence(member.office, member.born, member.sex, issued)
            };
            self.sequences.push(sequence);
        }
        let mut visits = [0u64; 16];
        for visit in &household.visits {
            self.arrivals[(visit.moment.day - START) as usize] += 1;
            visits[usize::from(visit.member)] += 1;
        }
        totals.persons += household.members.len() as u64;
        totals.households += 1;
        totals.registrations += household.visits.len() as u64;
        totals.true_pairs += visits.iter().map(|count| count * count.saturating_sub(1) / 2).sum::<u64>();
        totals.twins += household.members.iter().filter(|member| member.twin.is_some()).count() as u64;
        totals.namesake_pairs += u64::from(household.namesake_of.is_some());
    }
}

/// Odd for men, even for women. The first of a day differs between offices and days. Only after 499 births of one sex at one
/// office on one day would a number repeat; a county of ten million people has about 200.
fn next_sequence(office: u16, born: Day, sex: u8, issued: &mut [u16]) -> u16 {
    let day = (born - OLDEST) as usize;
    let cell = &mut issued[(usize::from(office) * DAYS + day) * 2 + usize::from(sex == 1)];
    let start = (usize::from(office) * 131 + day * 37) % usize::from(NUMBERS);
    let place = (start as u16 + *cell) % NUMBERS;
    *cell = (*cell + 1) % NUMBERS;
    if sex == 1 { place * 2 + 1 } else { place * 2 + 2 }
}

/// Keeps the first `room` members, and what belongs to them.
fn truncate(household: &mut Household, room: u64) {
    if household.members.len() as u64 <= room {
        return;
    }
    household.members.truncate(room as usize);
    let kept = household.members.len() as u8;
    household.visits.retain(|visit| visit.member < kept);
    for member in &mut household.members {
        member.twin = member.twin.filter(|twin| *twin < kept);
    }
}
