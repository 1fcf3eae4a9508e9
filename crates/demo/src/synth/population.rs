//! The stream of registrations, in order of arrival.
//!
//! Sorting all visits of all persons would need memory for all of them. Instead time is cut into windows of about a million
//! visits; for each window the households are drawn again and only its visits are kept, 12 bytes each. Names and papers are
//! made up when a visit's turn comes.

use std::sync::Arc;

use model::RegionCode;

use super::chance::{Purpose, stream};
use super::clerk::{self, Hospital, KINDS, Noise, Written};
use super::day::{DAY_SECONDS, Day, Moment};
use super::facility::{Facilities, Facility};
use super::family::Family;
use super::households::{Census, END, Offices, START};
use super::names::Names;
use super::places::Places;
use super::regions::Tree;
use super::register::{Register, Totals};
use super::{SynthError, SyntheticRegistration, Truth};

/// Most visits held at a time, unless one day alone has more.
const WINDOW: u64 = 1 << 20;

/// What population to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// 1 to [`super::MAX_PERSONS`]. Each registers 2.5 times on average.
    pub persons: u64,
    pub seed: u64,
    /// Counties that people live in, in proportion to their residents; empty for all of the tree. They also go to the seat of
    /// their prefecture and to hospitals of the province, whether or not those counties are among these.
    pub counties: Vec<RegionCode>,
    /// Scales the rates of all flaws: 1 as in the reference population, 0 for none.
    pub noise: f64,
}

impl Options {
    /// A population of all counties with the usual flaws.
    pub fn new(persons: u64, seed: u64) -> Self {
        Self { persons, seed, counties: vec![], noise: 1.0 }
    }

    /// The same with people living in these counties only.
    #[must_use]
    pub fn living_in(self, counties: Vec<RegionCode>) -> Self {
        Self { counties, ..self }
    }
}

/// A population, and the place in its stream.
#[derive(Debug)]
pub struct Population {
    census: Census,
    names: Names,
    register: Register,
    noise: Noise,
    hospitals: Hospitals,
    window: std::vec::IntoIter<Arrival>,
    /// Most visits of a window: [`WINDOW`], but for tests.
    limit: u64,
    /// First day that no window has covered yet.
    next_day: Day,
    yielded: u64,
}

/// A visit's place in time and in the population; the order of the fields is the order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    /// Seconds since the start of [`START`].
    second: u32,
    household: u32,
    visit: u32,
}

impl Population {
    /// Counts the population (about a second for a million persons), then stands at its first registration. Hospitals
    /// register with the nodes of the chosen counties and those above them.
    pub fn new(tree: &Tree, options: &Options) -> Result<Self, SynthError> {
        if !(0.0..=5.0).contains(&options.noise) {
            return Err(SynthError::Noise);
        }
        let places = Places::new(tree, &options.counties)?;
        let homes: Vec<RegionCode> = places.homes().map(|county| places.counties[county].code).collect();
        let hospitals = Hospitals::new(&places, Facilities::new(tree.clone(), tree.nodes(&homes)))?;
        let census = Census { seed: options.seed, offices: Offices::new(&places), places };
        let register = Register::new(&census, options.persons)?;
        Ok(Self {
            census,
            names: Names::new(),
            register,
            noise: Noise(options.noise),
            hospitals,
            window: vec![].into_iter(),
            limit: WINDOW,
            next_day: START,
            yielded: 0,
        })
    }

    /// How much there is.
    pub fn totals(&self) -> Totals {
        self.register.totals
    }

    /// The hospitals that registrations can come from, by label.
    pub fn facilities(&self) -> Vec<Arc<Facility>> {
        self.hospitals.reachable.clone()
    }

    /// Fills the next window; false after the last.
    fn advance(&mut self) -> bool {
        let first = self.next_day;
        let mut count = 0;
        while self.next_day <= END {
            let arrivals = u64::from(self.register.arrivals[(self.next_day - START) as usize]);
            if count > 0 && count + arrivals > self.limit {
                break;
            }
            count += arrivals;
            self.next_day = self.next_day + 1;
        }
        let mut arrivals = Vec::with_capacity(count as usize);
        for index in 0..self.register.totals.households {
            let household = self.register.household(&self.census, index);
            for (visit, moment) in (0..).zip(household.visits.iter().map(|visit| visit.moment)) {
                if (first..self.next_day).contains(&moment.day) {
                    let second = (moment.day - START) as u32 * DAY_SECONDS + moment.second;
                    arrivals.push(Arrival { second, household: index as u32, visit });
                }
            }
        }
        arrivals.sort_unstable();
        self.window = arrivals.into_iter();
        count > 0
    }

    fn registration(&self, arrival: Arrival) -> SyntheticRegistration {
        let index = u64::from(arrival.household);
        let household = &self.register.household(&self.census, index);
        let family = Family { census: &self.census, names: &self.names, register: &self.register, household };
        let visit = household.visits[arrival.visit as usize];
        let mut rng = stream(self.census.seed, Purpose::Registration, index, u64::from(arrival.visit));
        let Written { hospital, mut registration, tags } =
            clerk::write(&family, &visit, self.noise, &mut rng);
        let facility = self.hospitals.get(hospital);
        registration.local_id = format!("R{:08}", self.yielded);
        registration.institution_code.clone_from(&facility.code);
        let day = START + (arrival.second / DAY_SECONDS) as i32;
        registration.registered_date = day.to_string();
        SyntheticRegistration {
            facility: Arc::clone(facility),
            arrived: Moment { day, second: arrival.second % DAY_SECONDS },
            registration,
            truth: Some(Truth {
                person: self.register.person(index, usize::from(visit.member)),
                household: index,
                tags,
            }),
        }
    }
}

impl Iterator for Population {
    type Item = SyntheticRegistration;

    fn next(&mut self) -> Option<SyntheticRegistration> {
        loop {
            if let Some(arrival) = self.window.next() {
                let registration = self.registration(arrival);
                self.yielded += 1;
                return Some(registration);
            }
            if self.next_day > END || !self.advance() {
                return None;
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.register.totals.registrations - self.yielded) as usize;
        (left, Some(left))
    }
}

/// The hospitals by place.
#[derive(Debug)]
struct Hospitals {
    /// By county and kind.
    local: Vec<[Arc<Facility>; 4]>,
    /// By site and number.
    provincial: [[Arc<Facility>; 4]; 4],
    reachable: Vec<Arc<Facility>>,
}

impl Hospitals {
    fn new(places: &Places, mut facilities: Facilities) -> Result<Self, SynthError> {
        let mut four = |county: usize, kinds: [&str; 4]| -> Result<[Arc<Facility>; 4], SynthError> {
            let code = places.counties[county].code;
            let mut get = |kind: &str| facilities.get(&format!("{code}-{kind}"));
            Ok([get(kinds[0])?, get(kinds[1])?, get(kinds[2])?, get(kinds[3])?])
        };
        let mut local = Vec::with_capacity(places.counties.len());
        for county in 0..places.counties.len() {
            local.push(four(county, KINDS)?);
        }
        let mut site = |county: usize| four(county, ["P1", "P2", "P3", "P4"]);
        let provincial = [site(0)?, site(1)?, site(2)?, site(3)?];
        let mut reachable: Vec<_> = provincial.iter().flatten().cloned().collect();
        for home in places.homes() {
            reachable.extend(local[home].iter().cloned());
            reachable.extend(local[places.counties[home].seat][..3].iter().cloned());
        }
        reachable.sort_by(|a, b| a.label.cmp(&b.label));
        reachable.dedup();
        Ok(Self { local, provincial, reachable })
    }

    fn get(&self, hospital: Hospital) -> &Arc<Facility> {
        match hospital {
            Hospital::Local { county, kind } => &self.local[county][kind],
            Hospital::Provincial { site, number } => &self.provincial[site][number],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_join_without_a_seam() {
        let population = || Population::new(&Tree::yunnan(), &Options::new(500, 9)).unwrap();
        let narrow = Population { limit: 7, ..population() };
        assert!(narrow.eq(population()));
    }
}
