//! The birth date as written.

use rand::rngs::SmallRng;

use super::Case;
use crate::synth::chance::Chance;
use crate::synth::day::Day;
use crate::synth::tags::{Tag, Tags};

impl Case<'_> {
    /// Empty when not given. `unproven` says that no document was shown, so that people say what they celebrate.
    pub(super) fn birth_date(&self, unproven: bool, rng: &mut SmallRng, tags: &mut Tags) -> String {
        let mut born = self.member.born;
        if self.card {
            return born.to_string();
        }
        if let Some(lunar) = self.life.lunar_birthday.filter(|lunar| unproven && *lunar <= self.day) {
            tags.add(Tag::LunarBirthday);
            born = lunar;
        }
        if self.noise.hits(0.014, rng) {
            if let Some(wrong) = mistyped(born, rng).filter(|wrong| *wrong != born && *wrong <= self.day) {
                tags.add(Tag::DobError);
                born = wrong;
            }
        } else if self.noise.hits(if self.age > 14.0 { 0.012 } else { 0.003 }, rng) {
            tags.add(Tag::DobDefault);
            born = Day::new(born.year(), 1, 1);
        }
        if self.noise.hits(0.012, rng) {
            tags.add(Tag::DobMissing);
            return String::new();
        }
        born.to_string()
    }
}

/// Day and month exchanged, or one of the three parts off; none if the calendar lacks the result.
fn mistyped(born: Day, rng: &mut SmallRng) -> Option<Day> {
    let (year, month, day) = born.ymd();
    match rng.weighted(&[30, 30, 20, 20]) {
        0 => Day::from_ymd(year, day, month),
        1 => Day::from_ymd(year, month, (day + rng.pick(&[-10, -1, 1, 10, 2])).clamp(1, 28)),
        2 => Day::from_ymd(year, (month + rng.pick(&[-1, 1, 10]) - 1).rem_euclid(12) + 1, day.min(28)),
        _ => Day::from_ymd(year + rng.pick(&[-1, 1, -10, 10, -2, 2]), month, day.min(28)),
    }
}
