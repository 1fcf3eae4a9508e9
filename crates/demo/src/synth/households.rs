//! Who lives together, of which age and people, and when each of them goes to hospital: everything about a household that
//! must be known before any name is made up. Any household can be drawn alone, from the seed and its number.

use model::RegionCode;
use rand::Rng;
use rand::rngs::SmallRng;

use super::chance::{Chance, Purpose, stream};
use super::day::{Day, Moment};
use super::names::ethnicity;
use super::places::Places;
use super::tables::{OTHER_PROVINCES, XINJIANG};

/// First day of the simulated years.
pub const START: Day = Day::new(2015, 1, 1);
/// Last day of the simulated years.
pub const END: Day = Day::new(2025, 6, 30);
/// Nobody was born before this day.
pub const OLDEST: Day = Day::new(1925, 1, 1);

/// Share of Han households whose head is given name, sex and birth date of another household's.
const NAMESAKES: f64 = 0.031;
/// How many registrations a person has: weights of 1 to 8, 2.5 on average.
const REGISTRATIONS: [u32; 8] = [300, 280, 200, 110, 60, 30, 15, 5];

/// A household.
#[derive(Debug)]
pub struct Household {
    pub index: u64,
    /// Place of its county in [`Places::counties`].
    pub county: usize,
    /// Head, perhaps spouse, children by birth, perhaps a grandparent.
    pub members: Vec<Member>,
    /// Registrations to come, member by member.
    pub visits: Vec<Visit>,
    /// The household whose head lent this one's head name, sex and birth date.
    pub namesake_of: Option<u64>,
}

/// A person of a household.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    pub role: Role,
    /// GB/T 2261.1: 1 or 2.
    pub sex: u8,
    pub born: Day,
    /// GB/T 3304, or [`ethnicity::FOREIGN`].
    pub ethnicity: u8,
    /// The register office that issued the resident ID: a place in [`Offices`].
    pub office: u16,
    /// The other twin among the members.
    pub twin: Option<u8>,
}

/// What a member is to the household.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Head,
    Spouse,
    /// Of the head and the spouse.
    Child,
    /// A parent of the head.
    Grandparent,
}

/// A member's registration at a hospital.
#[derive(Debug, Clone, Copy)]
pub struct Visit {
    pub member: u8,
    pub moment: Moment,
    /// In the first days of life, when the child has neither name nor number.
    pub newborn: bool,
}

/// Register offices: the counties by their codes of today, then codes of the past and of elsewhere.
#[derive(Debug)]
pub struct Offices {
    codes: Vec<RegionCode>,
    /// By county: its former office and the last year that one issued numbers.
    former: Vec<Option<(u16, i32)>>,
    elsewhere: std::ops::Range<usize>,
    xinjiang: std::ops::Range<usize>,
}

impl Offices {
    /// The offices of these counties.
    pub fn new(places: &Places) -> Self {
        let mut codes: Vec<RegionCode> = places.counties.iter().map(|county| county.code).collect();
        let mut former = Vec::with_capacity(codes.len());
        for county in &places.counties {
            former.push(county.former.map(|(code, until)| {
                // Two counties of today can have been one.
                let known = codes.iter().position(|other| *other == code);
                let office = known.unwrap_or(codes.len());
                if known.is_none() {
                    codes.push(code);
                }
                (office as u16, until)
            }));
        }
        let outside = |text: &&str| text.parse::<RegionCode>().expect("the compiled-in codes are six digits");
        let first = codes.len();
        codes.extend(OTHER_PROVINCES.iter().map(outside));
        let second = codes.len();
        codes.extend(XINJIANG.iter().map(outside));
        Self { elsewhere: first..second, xinjiang: second..codes.len(), codes, former }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// The code an office puts into resident IDs.
    pub fn code(&self, office: u16) -> RegionCode {
        self.codes[usize::from(office)]
    }

    /// The office that registered somebody who lives in `county` now.
    fn draw(&self, county: usize, people: u8, born: Day, rng: &mut SmallRng) -> u16 {
        let place = match rng.random::<f64>() {
            _ if people == ethnicity::UYGHUR => rng.random_range(self.xinjiang.clone()),
            draw if draw < 0.05 => rng.random_range(self.elsewhere.clone()),
            draw if draw < 0.12 => rng.random_range(0..self.former.len()),
            _ => county,
        };
        match self.former.get(place).copied().flatten() {
            Some((office, until)) if born.year() < until - 3 && rng.odds(0.85) => office,
            _ => place as u16,
        }
    }
}

/// What is known of a household's head before anything else.
struct Head {
    county: usize,
    ethnicity: u8,
    couple: bool,
    sex: u8,
    age: i32,
    born: Day,
    /// Wants to be the namesake of an earlier head.
    namesake: Option<u64>,
}

/// Draws households.
#[derive(Debug)]
pub struct Census {
    pub seed: u64,
    pub places: Places,
    pub offices: Offices,
}

impl Census {
    /// The household with this number.
    pub fn household(&self, index: u64) -> Household {
        let mut rng = stream(self.seed, Purpose::Household, index, 0);
        let rng = &mut rng;
        let mut head = self.head(index, rng);
        let lender = head.namesake.map(|other| (other, self.lender(other)));
        let namesake_of = match lender {
            Some((other, Some(lender))) => {
                (head.couple, head.sex, head.age, head.born) =
                    (lender.couple, lender.sex, lender.age, lender.born);
                Some(other)
            }
            _ => None,
        };
        let mut members = Vec::with_capacity(6);
        members.push(self.member(Role::Head, head.sex, head.born, head.ethnicity, &head, rng));
        if head.couple {
            self.add_family(&head, &mut members, rng);
        }
        let mut visits = Vec::with_capacity(members.len() * 3);
        for (place, member) in members.iter().enumerate() {
            add_visits(place as u8, member, &mut visits, rng);
        }
        Household { index, county: head.county, members, visits, namesake_of }
    }

    fn head(&self, index: u64, rng: &mut SmallRng) -> Head {
        let county = self.places.draw(rng);
        let minorities = &self.places.counties[county];
        let people = match rng.random::<f64>() {
            draw if draw < 0.012 => ethnicity::FOREIGN,
            draw if draw < 0.016 => ethnicity::UYGHUR,
            _ if rng.random_range(0..100) < minorities.minority_percent => rng.pick(&minorities.minorities),
            _ => ethnicity::HAN,
        };
        let local = people != ethnicity::FOREIGN;
        let age = if local { rng.bell(46.0, 17.0) } else { rng.bell(38.0, 10.0) }.clamp(19.0, 92.0) as i32;
        let couple = local && rng.odds(0.72);
        let sex = if couple || rng.odds(0.5) { 1 } else { 2 };
        let born = birthday(age, rng);
        let namesake = people == ethnicity::HAN && index > 0 && rng.odds(NAMESAKES);
        let namesake = namesake.then(|| rng.random_range(0..index));
        Head { county, ethnicity: people, couple, sex, age, born, namesake }
    }

    /// The head that lends name, sex and birth date: Han too, and not a namesake itself.
    fn lender(&self, index: u64) -> Option<Head> {
        let head = self.head(index, &mut stream(self.seed, Purpose::Household, index, 0));
        (head.ethnicity == ethnicity::HAN && head.namesake.is_none()).then_some(head)
    }

    fn member(&self, role: Role, sex: u8, born: Day, people: u8, head: &Head, rng: &mut SmallRng) -> Member {
        let office = self.offices.draw(head.county, people, born, rng);
        Member { role, sex, born, ethnicity: people, office, twin: None }
    }

    /// Spouse, children and perhaps a grandparent.
    fn add_family(&self, head: &Head, members: &mut Vec<Member>, rng: &mut SmallRng) {
        let age = (head.age - rng.bell(2.0, 3.0) as i32).max(18);
        let people = if rng.odds(0.75) { head.ethnicity } else { ethnicity::HAN };
        let spouse = self.member(Role::Spouse, 2, birthday(age, rng), people, head, rng);
        members.push(spouse);
        let mut years = [i32::MAX; 4];
        let children = rng.weighted(&[14, 34, 36, 12, 4]);
        for year in &mut years[..children] {
            *year = spouse.born.year() + rng.bell(26.0, 4.0).clamp(19.0, 42.0) as i32;
        }
        years.sort_unstable();
        let mut last = 0;
        for wanted in &years[..children] {
            let year = if *wanted > last { *wanted } else { last + rng.random_range(1..4) };
            let born = Day::new(year, 1, 1) + rng.random_range(0..365);
            if born > END + -40 {
                break;
            }
            last = year;
            self.add_birth(born, head, members, rng);
        }
        if head.age < 62 && rng.odds(0.12) {
            let born = birthday((head.age + rng.random_range(20..32)).min(95), rng);
            let sex = rng.random_range(1..=2);
            members.push(self.member(Role::Grandparent, sex, born, head.ethnicity, head, rng));
        }
    }

    fn add_birth(&self, born: Day, head: &Head, members: &mut Vec<Member>, rng: &mut SmallRng) {
        let sex = if rng.odds(0.53) { 1 } else { 2 };
        let mut child = self.member(Role::Child, sex, born, head.ethnicity, head, rng);
        if rng.odds(0.02) {
            let place = members.len() as u8;
            let sex = if rng.odds(0.65) { sex } else { 3 - sex };
            let other = Member { sex, twin: Some(place), ..child };
            child.twin = Some(place + 1);
            members.extend([child, other]);
        } else {
            members.push(child);
        }
    }
}

/// A day in the year in which somebody of this age at the end was born; heads are grown up by then.
fn birthday(age: i32, rng: &mut SmallRng) -> Day {
    let day = Day::new(END.year() - age, 1, 1) + rng.random_range(0..365);
    day.clamp(OLDEST, END + -18 * 365)
}

fn add_visits(place: u8, member: &Member, visits: &mut Vec<Visit>, rng: &mut SmallRng) {
    let count = rng.weighted(&REGISTRATIONS) + 1;
    let young = member.role == Role::Child && member.born >= START;
    let mut done = 0;
    let mut add = |day: Day, newborn: bool, rng: &mut SmallRng| {
        let second = rng.random_range(7 * 3600..21 * 3600);
        visits.push(Visit { member: place, moment: Moment { day, second }, newborn });
    };
    if young && rng.odds(0.68) {
        add(member.born + rng.pick(&[0, 0, 0, 0, 1, 2, 3, 7]), true, rng);
        done = 1;
    }
    let first = member.born.max(START);
    for _ in done..count {
        let draw: f64 = rng.random();
        // Small children come more often than later.
        let share = if young { draw * draw } else { draw };
        let day = first + (f64::from(END - first) * share) as i32;
        let newborn = young && day - member.born < 25 && rng.odds(0.85);
        add(day, newborn, rng);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::regions::Tree;

    fn census(seed: u64) -> Census {
        let places = Places::new(&Tree::yunnan(), &[]).unwrap();
        let offices = Offices::new(&places);
        Census { seed, places, offices }
    }

    #[test]
    fn families_make_sense() {
        let census = census(3);
        for household in (0..5000).map(|index| census.household(index)) {
            assert!(household.members.len() <= 11 && household.members[0].role == Role::Head);
            let mother = household.members.get(1).filter(|member| member.role == Role::Spouse);
            for (place, member) in household.members.iter().enumerate() {
                assert!((OLDEST..END).contains(&member.born));
                if member.role == Role::Child {
                    let years = (member.born - mother.unwrap().born) / 365;
                    assert!((17..=60).contains(&years), "{years}");
                }
                if let Some(twin) = member.twin {
                    let twin = household.members[usize::from(twin)];
                    assert_eq!((twin.born, twin.twin), (member.born, Some(place as u8)));
                }
            }
            for visit in &household.visits {
                let born = household.members[usize::from(visit.member)].born;
                assert!(visit.moment.day >= born.max(START) && visit.moment.day <= END);
            }
        }
    }

    #[test]
    fn a_household_is_the_same_whenever_it_is_drawn() {
        let (first, second) = (census(7), census(7));
        let _ = second.household(99);
        assert_eq!(format!("{:?}", first.household(12)), format!("{:?}", second.household(12)));
        assert_ne!(format!("{:?}", first.household(12)), format!("{:?}", census(8).household(12)));
    }

    #[test]
    fn namesakes_share_sex_and_birth_date() {
        let census = census(5);
        let mut found = 0;
        for household in (0..20_000).map(|index| census.household(index)) {
            let Some(other) = household.namesake_of else { continue };
            let other = census.household(other);
            assert_eq!(
                (household.members[0].sex, household.members[0].born),
                (other.members[0].sex, other.members[0].born)
            );
            assert!(other.namesake_of.is_none());
            found += 1;
        }
        assert!((120..400).contains(&found), "{found}");
    }
}
