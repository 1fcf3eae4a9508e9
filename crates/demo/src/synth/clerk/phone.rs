//! The telephone number as written: the person's own, a parent's, a relative's, or a slip.

use rand::Rng;
use rand::rngs::SmallRng;

use super::{Case, ascii, full_width, other_digit};
use crate::synth::chance::Chance;
use crate::synth::tags::{Tag, Tags};

const PLACEHOLDERS: [&str; 6] = ["00000000000", "13800000000", "11111111111", "13888888888", "0", "无"];

impl Case<'_> {
    /// None when not given.
    pub(super) fn phone(&self, rng: &mut SmallRng, tags: &mut Tags) -> Option<String> {
        let owner = self.phone_owner(rng, tags);
        let number = self.family.phone(owner, self.day);
        if self.noise.hits(0.055, rng) {
            tags.add(Tag::PhoneMissing);
            return None;
        }
        Some(if self.noise.hits(0.015, rng) {
            tags.add(Tag::PhonePlaceholder);
            rng.pick(&PLACEHOLDERS).to_owned()
        } else if self.noise.hits(0.014, rng) {
            tags.add(Tag::PhoneTypo);
            let mut digits = number.into_bytes();
            let place = rng.random_range(3..digits.len());
            digits[place] = other_digit(digits[place], rng);
            ascii(digits)
        } else if self.noise.hits(0.01, rng) {
            tags.add(Tag::PhonePrefix);
            format!("{}{number}", rng.pick(&["+86", "0", "86-"]))
        } else if self.noise.hits(0.005, rng) {
            tags.add(Tag::PhoneFullwidth);
            full_width(&number)
        } else {
            number
        })
    }

    /// Children give a parent's number, some of the old a younger relative's.
    fn phone_owner(&self, rng: &mut SmallRng, tags: &mut Tags) -> usize {
        let heads = self.family.heads();
        if self.age < 14.0 {
            tags.add(Tag::ParentPhone);
            return if rng.odds(0.62) { heads[heads.len() - 1] } else { heads[0] };
        }
        let shared = if self.age > 68.0 { rng.odds(0.45) } else { self.noise.hits(0.035, rng) };
        let owner = if shared { rng.pick(heads) } else { self.place };
        if owner != self.place {
            tags.add(Tag::FamilyPhone);
        }
        owner
    }
}
