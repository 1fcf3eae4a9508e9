//! What a hospital could learn about the members of a household: names, numbers, telephones, where they lived when.
//! Drawn member by member, each from a stream of its own, and only for those who are asked about.

use rand::Rng;
use rand::rngs::SmallRng;

use super::chance::{Chance, Purpose, stream};
use super::day::Day;
use super::households::{Census, END, Household, Member, Role, START};
use super::names::{Name, Names, Who, ethnicity};
use super::numbers::resident_id;
use super::places::Home;
use super::register::Register;
use super::tables::{PET_NAMES, PHONE_PREFIXES};

/// A household, with all that can be asked about it.
#[derive(Debug)]
pub struct Family<'a> {
    pub census: &'a Census,
    pub names: &'a Names,
    pub register: &'a Register,
    pub household: &'a Household,
}

/// What changes in a person's life, and papers other than the resident ID.
pub struct Life {
    /// A given name that was changed, and the day of that.
    pub former_given: Option<(String, Day)>,
    pub pet_name: Option<&'static str>,
    /// Birthday by the lunar calendar, for those who give that one.
    pub lunar_birthday: Option<Day>,
    pub passport: Option<String>,
    pub birth_certificate: Option<String>,
    /// The first home of one's own.
    own_home: Option<(Day, Home)>,
}

/// Where a household lives, and where it moves.
pub struct Homes {
    first: Home,
    moved: Option<(Day, Home)>,
    /// First character of the given names of sons and of daughters.
    generation: [Option<char>; 2],
}

impl Family<'_> {
    /// A member.
    pub fn member(&self, place: usize) -> &Member {
        &self.household.members[place]
    }

    fn stream(&self, purpose: Purpose, within: usize) -> SmallRng {
        stream(self.census.seed, purpose, self.household.index, within as u64)
    }

    /// Heads of the household: the head and the spouse.
    pub fn heads(&self) -> &'static [usize] {
        let couple = self.household.members.get(1).is_some_and(|member| member.role == Role::Spouse);
        if couple { &[0, 1] } else { &[0] }
    }

    /// Father and mother of a member, for children.
    pub fn parents(&self, place: usize) -> Option<(usize, usize)> {
        (self.member(place).role == Role::Child).then_some((0, 1))
    }

    /// A member's name.
    pub fn name(&self, place: usize, homes: &Homes) -> Name {
        let member = self.member(place);
        let (mut rng, year) = (self.stream(Purpose::Name, place), member.born.year());
        let who = Who { ethnicity: member.ethnicity, sex: member.sex, year, surname: None, generation: None };
        match (member.role, self.household.namesake_of) {
            _ if member.ethnicity == ethnicity::FOREIGN => Names::foreign(&mut rng),
            (Role::Head, Some(lender)) => {
                self.names.draw(who, &mut stream(self.census.seed, Purpose::Name, lender, 0))
            }
            (Role::Child, _) => self.child_name(place, who, homes, &mut rng),
            (Role::Grandparent, _) if rng.odds(0.6) => {
                let head = self.name(0, homes);
                self.names.draw(Who { surname: head.surname(), ..who }, &mut rng)
            }
            _ => self.names.draw(who, &mut rng),
        }
    }

    /// Mostly the father's surname; of twins, the second is never named like the first.
    fn child_name(&self, place: usize, who: Who<'_>, homes: &Homes, rng: &mut SmallRng) -> Name {
        let surname = |parent: usize| self.name(parent, homes).surname().map(str::to_owned);
        let surname = if rng.odds(0.95) { surname(0).or_else(|| surname(1)) } else { surname(1) };
        let who = Who {
            surname: surname.as_deref(),
            generation: homes.generation[usize::from(who.sex == 2)],
            ..who
        };
        let name = self.names.draw(who, rng);
        match self.member(place).twin {
            Some(twin)
                if usize::from(twin) < place && self.name(usize::from(twin), homes).full == name.full =>
            {
                self.names.draw(who, rng)
            }
            _ => name,
        }
    }

    /// A member's resident ID; empty for a foreigner.
    pub fn resident_id(&self, place: usize) -> String {
        let member = self.member(place);
        if member.ethnicity == ethnicity::FOREIGN {
            return String::new();
        }
        let sequence = self.register.sequence(self.household.index, place);
        resident_id(self.census.offices.code(member.office), member.born, sequence)
    }

    /// Where the household lives.
    pub fn homes(&self) -> Homes {
        let mut rng = self.stream(Purpose::Home, 0);
        let rng = &mut rng;
        let places = &self.census.places;
        let first = places.home(self.household.county, rng);
        let moved = rng.odds(0.16).then(|| {
            let county = if rng.odds(0.6) { self.household.county } else { places.draw(rng) };
            (START + rng.random_range(200..3600), places.home(county, rng))
        });
        let mut generation = [None; 2];
        for (sex, character) in (1..).zip(&mut generation) {
            let child = |member: &&Member| member.role == Role::Child && member.sex == sex;
            if let Some(eldest) = self.household.members.iter().find(child) {
                *character = self.names.generation(eldest.born.year(), sex, rng);
            }
        }
        Homes { first, moved, generation }
    }

    /// A member's telephone number on a day. Some change it once or twice in these years.
    pub fn phone(&self, place: usize, day: Day) -> String {
        let mut rng = self.stream(Purpose::Phone, place);
        let local = self.member(place).ethnicity != ethnicity::FOREIGN;
        let changes = if local { rng.weighted(&[66, 27, 7]) } else { 0 };
        let mut current = (Day::new(1900, 1, 1), phone(&mut rng));
        for _ in 0..changes {
            let next = (START + rng.random_range(200..3_700), phone(&mut rng));
            if next.0 <= day && next.0 > current.0 {
                current = next;
            }
        }
        current.1.to_string()
    }

    /// What happened in a member's life.
    pub fn life(&self, place: usize) -> Life {
        let member = self.member(place);
        let mut rng = self.stream(Purpose::Life, place);
        let rng = &mut rng;
        let (year, local) = (member.born.year(), member.ethnicity != ethnicity::FOREIGN);
        let grown_up = member.role == Role::Child && year <= END.year() - 24 && rng.odds(0.5);
        let own_home = grown_up.then(|| {
            let county = if rng.odds(0.45) { self.household.county } else { self.census.places.draw(rng) };
            (member.born + 23 * 365, self.census.places.home(county, rng))
        });
        let renamed = local && rng.odds(if year < 2010 { 0.02 } else { 0.035 });
        let former_given = renamed.then(|| {
            let given = self.names.given(year, member.sex, None, rng);
            (given, member.born + rng.random_range(2_000..14_000))
        });
        let small = year > END.year() - 12;
        Life {
            former_given,
            pet_name: (small && rng.odds(0.25)).then(|| rng.pick(PET_NAMES)),
            lunar_birthday: (local && rng.odds(0.012)).then(|| member.born + rng.pick(&LUNAR_SHIFTS)),
            passport: (!local)
                .then(|| format!("{}{:07}", rng.pick(&PASSPORTS), rng.random_range(0..10_000_000))),
            birth_certificate: (member.role == Role::Child && rng.odds(0.9)).then(|| birth_certificate(rng)),
            own_home,
        }
    }
}

impl Homes {
    /// The first home of a household: what a chip card goes on saying.
    pub fn registered(&self) -> &Home {
        &self.first
    }

    /// Where somebody of the household lives on a day.
    pub fn on<'h>(&'h self, day: Day, life: &'h Life) -> &'h Home {
        let since = |home: &&'h (Day, Home)| home.0 <= day;
        match (&life.own_home, &self.moved) {
            (Some(own), _) => Some(own).filter(since).map_or(&self.first, |(_, home)| home),
            (None, Some(moved)) => Some(moved).filter(since).map_or(&self.first, |(_, home)| home),
            (None, None) => &self.first,
        }
    }
}

/// The days by which a lunar birthday stands beside the one in the papers.
const LUNAR_SHIFTS: [i32; 10] = [-45, -38, -33, -30, -29, 25, 28, 31, 36, 44];
const PASSPORTS: [&str; 5] = ["MA", "MB", "MC", "PA", "N"];

fn phone(rng: &mut SmallRng) -> u64 {
    let prefix: u64 = rng.pick(PHONE_PREFIXES).parse().expect("the compiled-in prefixes are digits");
    prefix * 100_000_000 + rng.random_range(0..100_000_000)
}

fn birth_certificate(rng: &mut SmallRng) -> String {
    format!("{}53{:07}", char::from(rng.random_range(b'A'..=b'Z')), rng.random_range(0..10_000_000))
}
