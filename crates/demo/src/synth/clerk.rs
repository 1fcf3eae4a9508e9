//! How a hospital writes a patient down: mostly right, sometimes not. What goes wrong, and how often, follows the
//! reference population in the project's data; every flaw leaves its tag.
//!
//! Half of the adults show a chip card, which is read by a machine: name, number, birth date and sex are then clean.

mod birth;
mod name;
mod papers;
mod phone;

use model::body::{Address, Contact, Identifier, Registration};
use rand::Rng;
use rand::rngs::SmallRng;

use super::chance::Chance;
use super::day::Day;
use super::family::{Family, Homes, Life};
use super::households::{Member, Visit};
use super::names::{Name, ethnicity};
use super::tags::{Tag, Tags};

/// One registration as it happens.
struct Case<'a> {
    family: &'a Family<'a>,
    place: usize,
    member: &'a Member,
    name: Name,
    life: Life,
    homes: &'a Homes,
    day: Day,
    /// In years.
    age: f64,
    newborn: bool,
    /// The chip card was read.
    card: bool,
    noise: Noise,
}

/// Scales the rates of all flaws: 1 is the reference, 0 is none.
#[derive(Debug, Clone, Copy)]
pub struct Noise(pub f64);

impl Noise {
    /// Whether a flaw of this rate happens.
    fn hits(self, rate: f64, rng: &mut SmallRng) -> bool {
        rng.odds(rate * self.0)
    }
}

/// Where somebody registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hospital {
    /// A hospital of this kind (place in [`KINDS`]) in a county (place in the census' places).
    Local { county: usize, kind: usize },
    /// A hospital of the province, 0 to 3, at one of its four sites.
    Provincial { site: usize, number: usize },
}

/// Kinds of local hospitals: people's hospital, traditional medicine, mother and child, township.
pub const KINDS: [&str; 4] = ["R", "Z", "F", "W"];

/// A registration as written, without the numbers that the hospital gives it.
pub struct Written {
    pub hospital: Hospital,
    pub registration: Registration,
    pub tags: Tags,
}

/// Writes one visit down.
pub fn write(family: &Family<'_>, visit: &Visit, noise: Noise, rng: &mut SmallRng) -> Written {
    let place = usize::from(visit.member);
    let (member, homes) = (family.member(place), family.homes());
    let age = f64::from(visit.moment.day - member.born) / 365.25;
    let local = member.ethnicity != ethnicity::FOREIGN;
    let shown = if age >= 16.0 { 0.48 } else { 0.22 };
    let case = Case {
        family,
        place,
        member,
        name: family.name(place, &homes),
        life: family.life(place),
        homes: &homes,
        day: visit.moment.day,
        age,
        newborn: visit.newborn,
        card: local && age >= 6.0 && rng.odds(shown),
        noise,
    };
    case.write(rng)
}

impl Case<'_> {
    fn write(&self, rng: &mut SmallRng) -> Written {
        let mut tags = Tags::default();
        let hospital = self.hospital(rng);
        let name = self.written_name(rng, &mut tags);
        let paper = self.paper(rng, &mut tags);
        let birth_date = self.birth_date(paper.is_none(), rng, &mut tags);
        let sex = self.sex(rng, &mut tags);
        let phone = self.phone(rng, &mut tags);
        let address = self.address(rng, &mut tags);
        let contact = self.contact(rng);
        let registration = Registration {
            name,
            sex,
            birth_date,
            identifiers: paper.map(|(kind, value)| identifier(kind, value)).into_iter().collect(),
            phones: phone.into_iter().collect(),
            addresses: address.map(|text| Address { text, region_code: String::new() }).into_iter().collect(),
            ethnicity: self.ethnicity(rng),
            contacts: contact.into_iter().collect(),
            ..Registration::default()
        };
        if self.card {
            tags.add(Tag::Card);
        }
        Written { hospital, registration, tags }
    }

    /// Mostly at home, else at the prefecture's seat, in the province's hospitals, or anywhere.
    fn hospital(&self, rng: &mut SmallRng) -> Hospital {
        let places = &self.family.census.places;
        let county = self.homes.on(self.day, &self.life).county;
        let for_mothers = if self.member.sex == 2 || self.age < 7.0 { 12 } else { 3 };
        match rng.random::<f64>() {
            draw if draw < 0.62 => Hospital::Local { county, kind: rng.weighted(&[45, 18, for_mothers, 25]) },
            draw if draw < 0.80 => {
                Hospital::Local { county: places.counties[county].seat, kind: rng.random_range(0..3) }
            }
            draw if draw < 0.94 => {
                Hospital::Provincial { site: rng.random_range(0..4), number: rng.random_range(0..4) }
            }
            _ => Hospital::Local { county: places.draw(rng), kind: 0 },
        }
    }

    fn sex(&self, rng: &mut SmallRng, tags: &mut Tags) -> String {
        let sex = match self.member.sex {
            right if self.card => right,
            right if self.noise.hits(0.006, rng) => {
                tags.add(Tag::SexWrong);
                3 - right
            }
            _ if self.noise.hits(0.008, rng) => {
                tags.add(Tag::SexUnknown);
                rng.pick(&[0, 9])
            }
            right => right,
        };
        sex.to_string()
    }

    fn address(&self, rng: &mut SmallRng, tags: &mut Tags) -> Option<String> {
        let places = &self.family.census.places;
        let current = self.homes.on(self.day, &self.life);
        let home = if self.card && rng.odds(0.6) { self.homes.registered() } else { current };
        if self.noise.hits(0.07, rng) {
            tags.add(Tag::AddrMissing);
            None
        } else if self.noise.hits(0.06, rng) {
            tags.add(Tag::AddrCountyOnly);
            Some(places.write_county(home, rng))
        } else {
            Some(places.write(home, self.noise.0, rng))
        }
    }

    /// A code of GB/T 3304, often left out or taken for the commonest; empty for foreigners.
    fn ethnicity(&self, rng: &mut SmallRng) -> String {
        if self.member.ethnicity == ethnicity::FOREIGN {
            return String::new();
        }
        let code = match self.noise.hits(0.18, rng) {
            true if rng.odds(0.6) => return String::new(),
            true => ethnicity::HAN,
            false => self.member.ethnicity,
        };
        format!("{code:02}")
    }

    /// A parent for children, somebody of the family for a few of the others.
    fn contact(&self, rng: &mut SmallRng) -> Option<Contact> {
        let (person, relation) = match self.family.parents(self.place) {
            Some((father, mother)) if self.age < 14.0 => {
                let mothers = self.newborn || rng.odds(0.62);
                let parent = if mothers { (mother, "母亲") } else { (father, "父亲") };
                rng.odds(0.8).then_some(parent)?
            }
            _ => rng.odds(0.28).then(|| (rng.pick(self.family.heads()), "家属"))?,
        };
        let name = (person != self.place).then(|| self.family.name(person, self.homes).full)?;
        Some(Contact { name, relation: relation.to_owned(), phone: String::new() })
    }
}

fn identifier(kind: &str, value: String) -> Identifier {
    Identifier { r#type: kind.to_owned(), value, assigner: String::new() }
}

/// Digits and X as a wide input method writes them.
fn full_width(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_graphic() { char::from_u32(c as u32 + 0xFEE0).unwrap_or(c) } else { c })
        .collect()
}

/// Another digit.
fn other_digit(digit: u8, rng: &mut SmallRng) -> u8 {
    let others = b"0123456789";
    let shift = rng.random_range(1..10);
    let value = if digit.is_ascii_digit() { digit - b'0' } else { 0 };
    others[usize::from(value + shift) % 10]
}

/// A text of ASCII bytes that stays one.
fn ascii(bytes: Vec<u8>) -> String {
    bytes.into_iter().map(char::from).collect()
}
