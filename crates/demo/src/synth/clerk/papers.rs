//! The identity document as written: none, somebody else's, or the person's own with a slip.

use rand::Rng;
use rand::rngs::SmallRng;

use super::{Case, ascii, full_width, other_digit};
use crate::synth::chance::Chance;
use crate::synth::tags::{Tag, Tags};

/// CV02.01.101: resident ID, household book, passport, other.
const RESIDENT_ID: &str = "01";
const HOUSEHOLD_BOOK: &str = "02";
const PASSPORT: &str = "03";
const OTHER: &str = "99";

/// What clerks type when the system wants a number and the patient has none.
const PLACEHOLDERS: [&str; 7] = [
    "000000000000000000",
    "111111111111111111",
    "无",
    "不详",
    "未带证件",
    "530000000000000000",
    "999999999999999999",
];

type Paper = (&'static str, String);

impl Case<'_> {
    pub(super) fn paper(&self, rng: &mut SmallRng, tags: &mut Tags) -> Option<Paper> {
        if let Some(passport) = &self.life.passport {
            return self.passport(passport, rng, tags);
        }
        let own = self.family.resident_id(self.place);
        if self.card {
            return Some((RESIDENT_ID, own));
        }
        // A newborn has no number yet, whatever the noise.
        let lacking = self.lacks_paper();
        let lacking = if self.age < 1.0 { rng.odds(lacking) } else { self.noise.hits(lacking, rng) };
        if lacking {
            return self.instead_of_paper(rng, tags);
        }
        if self.newborn {
            tags.add(Tag::IdMissing);
            return None;
        }
        let value = match self.relatives_paper(rng) {
            Some(borrowed) => {
                tags.add(Tag::RelativeId);
                borrowed
            }
            None => self.copied(own, rng, tags),
        };
        let kind = if self.age < 16.0 && rng.odds(0.35) { HOUSEHOLD_BOOK } else { RESIDENT_ID };
        Some((kind, value))
    }

    /// How often people of this age come without a number.
    fn lacks_paper(&self) -> f64 {
        match self.age {
            _ if self.newborn => 0.78,
            age if age < 1.0 => 0.45,
            age if age < 6.0 => 0.26,
            age if age < 16.0 => 0.20,
            age if age > 70.0 => 0.17,
            _ => 0.135,
        }
    }

    fn passport(&self, number: &str, rng: &mut SmallRng, tags: &mut Tags) -> Option<Paper> {
        let mut number = number.as_bytes().to_vec();
        if self.noise.hits(0.14, rng) {
            tags.add(Tag::IdMissing);
            return None;
        }
        if self.noise.hits(0.03, rng) {
            let place = rng.random_range(2..number.len());
            number[place] = other_digit(number[place], rng);
            tags.add(Tag::IdTypo);
        }
        let kind = if rng.odds(0.04) { OTHER } else { PASSPORT };
        Some((kind, ascii(number)))
    }

    /// A parent's number, a birth certificate, a placeholder, or nothing.
    fn instead_of_paper(&self, rng: &mut SmallRng, tags: &mut Tags) -> Option<Paper> {
        let draw: f64 = rng.random();
        let parents =
            self.family.parents(self.place).filter(|_| self.age < 10.0 && draw < 0.22 * self.noise.0);
        if let Some((father, mother)) = parents {
            let guardian = if rng.odds(0.65) { mother } else { father };
            tags.add(Tag::GuardianId);
            return Some((RESIDENT_ID, self.family.resident_id(guardian)));
        }
        if let Some(certificate) =
            self.life.birth_certificate.as_ref().filter(|_| self.age < 1.2 && draw < 0.45)
        {
            tags.add(Tag::BirthCert);
            return Some((OTHER, certificate.clone()));
        }
        if draw > 0.965 {
            tags.add(Tag::IdPlaceholder);
            return Some((RESIDENT_ID, rng.pick(&PLACEHOLDERS).to_owned()));
        }
        tags.add(Tag::IdMissing);
        None
    }

    /// The number of a relative whose card was used.
    fn relatives_paper(&self, rng: &mut SmallRng) -> Option<String> {
        if !self.noise.hits(0.003, rng) {
            return None;
        }
        let relative = rng.pick(self.family.heads());
        (relative != self.place).then(|| self.family.resident_id(relative))
    }

    /// The own number, copied by hand.
    fn copied(&self, own: String, rng: &mut SmallRng, tags: &mut Tags) -> String {
        let mut number = own.into_bytes();
        let kept_old = if self.day.year() < 2019 { 0.05 } else { 0.012 };
        if self.member.born.year() < 1984 && self.noise.hits(kept_old, rng) {
            number = [&number[..6], &number[8..17]].concat();
            tags.add(Tag::Id15);
        }
        if self.noise.hits(0.022, rng) {
            slip(&mut number, rng, tags);
        }
        if number.last() == Some(&b'X') && self.noise.hits(0.3, rng) {
            number.pop();
            number.push(b'x');
            tags.add(Tag::LowerX);
        }
        let number = ascii(number);
        if self.noise.hits(0.008, rng) {
            tags.add(Tag::FullWidth);
            full_width(&number)
        } else if self.noise.hits(0.005, rng) {
            tags.add(Tag::IdSpace);
            format!("{} {} {}", &number[..6], &number[6..number.len() - 4], &number[number.len() - 4..])
        } else {
            number
        }
    }
}

/// A digit wrong, two exchanged, one lost, or one typed twice.
fn slip(number: &mut Vec<u8>, rng: &mut SmallRng, tags: &mut Tags) {
    let place = rng.random_range(0..number.len());
    match rng.weighted(&[58, 27, 9, 6]) {
        0 => {
            number[place] = other_digit(number[place], rng);
            tags.add(Tag::IdSubst);
        }
        1 => {
            let place = place.min(number.len() - 2);
            if number[place] != number[place + 1] {
                number.swap(place, place + 1);
                tags.add(Tag::IdTransp);
            }
        }
        2 => {
            number.remove(place);
            tags.add(Tag::IdShort);
        }
        _ => {
            number.insert(place, number[place]);
            tags.add(Tag::IdLong);
        }
    }
}
