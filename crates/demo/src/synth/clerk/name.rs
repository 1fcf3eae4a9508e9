//! The name as written: other names a person goes by, then slips of hearing, typing and character sets.

use rand::Rng;
use rand::rngs::SmallRng;

use super::Case;
use crate::synth::chance::Chance;
use crate::synth::names::{Form, respelled};
use crate::synth::tables::DOTS;
use crate::synth::tags::{Tag, Tags};

impl Case<'_> {
    pub(super) fn written_name(&self, rng: &mut SmallRng, tags: &mut Tags) -> String {
        if self.newborn
            && let Some((_, mother)) = self.family.parents(self.place)
        {
            tags.add(Tag::NewbornName);
            let mother = self.family.name(mother, self.homes).full;
            return format!("{mother}{}", self.newborn_suffix(rng));
        }
        let name = self.name_in_use(rng, tags);
        let name = match &self.name.form {
            Form::Han { surname } => self.mistyped(name, *surname, rng, tags),
            Form::Parts { first, second, dotted } => {
                self.respelled_parts(name, first, second, *dotted, rng, tags)
            }
            Form::Foreign { .. } => name,
        };
        self.stored(name, rng, tags)
    }

    /// "The son of", in the words of the ward; twins are numbered by their order of birth.
    fn newborn_suffix(&self, rng: &mut SmallRng) -> String {
        let son = self.member.sex == 1;
        let usual = if son { "之子" } else { "之女" };
        let mut suffix = if rng.odds(0.72) {
            usual.to_owned()
        } else if son {
            rng.pick(&["之婴", "子", "婴儿", "之男婴", "BB"]).to_owned()
        } else {
            rng.pick(&["之婴", "女", "婴儿", "之女婴", "BB"]).to_owned()
        };
        if let Some(twin) = self.member.twin
            && rng.odds(0.75)
        {
            let elder = self.place < usize::from(twin);
            suffix.push_str(match (rng.odds(0.5), elder) {
                (true, true) => "1",
                (true, false) => "2",
                (false, true) => "大双",
                (false, false) => "小双",
            });
        }
        suffix
    }

    /// The name in the papers, or one that was or is used beside it.
    fn name_in_use(&self, rng: &mut SmallRng, tags: &mut Tags) -> String {
        let mut name = self.name.full.clone();
        if let (Some((given, until)), Some(surname)) = (&self.life.former_given, self.name.surname())
            && self.day < *until
        {
            tags.add(Tag::FormerName);
            name = format!("{surname}{given}");
        }
        if let Some(pet_name) = self.life.pet_name
            && self.age < 6.0
            && self.noise.hits(0.25, rng)
        {
            tags.add(Tag::Nickname);
            let surname = self.name.surname().filter(|_| rng.odds(0.7)).unwrap_or_default();
            name = format!("{surname}{pet_name}");
        }
        match &self.name.form {
            Form::Foreign { latin } if rng.odds(0.45) => {
                tags.add(Tag::LatinName);
                latin.clone()
            }
            _ => name,
        }
    }

    /// A Han name heard or typed wrong. `surname` is the length of the surname in bytes.
    fn mistyped(&self, name: String, surname: usize, rng: &mut SmallRng, tags: &mut Tags) -> String {
        if self.card {
            return name;
        }
        let given = if name.is_char_boundary(surname) { name[..surname].chars().count() } else { 1 };
        let mut characters: Vec<char> = name.chars().collect();
        let names = self.family.names;
        if self.noise.hits(0.03, rng) {
            let from = if rng.odds(0.25) { 0 } else { given.min(characters.len() - 1) };
            let place = rng.random_range(from..characters.len());
            if let Some(other) = names.same_sound(characters[place], rng) {
                characters[place] = other;
                tags.add(Tag::Homophone);
            }
        }
        if self.noise.hits(0.007, rng) {
            let place = rng.random_range(0..characters.len());
            if let Some(other) = names.same_shape(characters[place], rng) {
                characters[place] = other;
                tags.add(Tag::Shape);
            }
        }
        let last = characters.len() - 1;
        if last == given + 1 && characters[last] != characters[given] && self.noise.hits(0.006, rng) {
            characters.swap(given, last);
            tags.add(Tag::SwapGiven);
        }
        if last >= 2 && self.noise.hits(0.003, rng) {
            characters.remove(rng.random_range(1..=last));
            tags.add(Tag::DropChar);
        }
        if self.noise.hits(0.004, rng) {
            characters.insert(given.min(characters.len()), ' ');
            tags.add(Tag::Space);
        }
        let mut name: String = characters.into_iter().collect();
        if self.noise.hits(0.002, rng) {
            name.push_str(rng.pick(&["（自费）", "(复诊)", "1", "*"]));
            tags.add(Tag::Suffix);
        }
        name
    }

    /// A transliterated name: its dot, its spelling, and what a short field cuts off.
    fn respelled_parts(
        &self,
        mut name: String,
        first: &str,
        second: &str,
        dotted: bool,
        rng: &mut SmallRng,
        tags: &mut Tags,
    ) -> String {
        if dotted && name == self.name.full {
            let rate = if self.card { 0.12 } else { 0.5 };
            if self.noise.hits(rate, rng) {
                name = format!("{first}{}{second}", rng.pick(&DOTS[1..]));
                tags.add(Tag::DotVariant);
            }
        }
        if !self.card && self.noise.hits(0.07, rng) {
            for part in [first, second] {
                if let Some(other) = respelled(part) {
                    name = name.replacen(part, &other, 1);
                    tags.add(Tag::Translit);
                }
            }
        }
        if name.chars().count() > 6 && self.noise.hits(0.08, rng) {
            name = name.chars().take(rng.random_range(5..=6)).collect();
            tags.add(Tag::Truncated);
        }
        name
    }

    /// What the character set of the system makes of it.
    fn stored(&self, mut name: String, rng: &mut SmallRng, tags: &mut Tags) -> String {
        let names = self.family.names;
        if self.noise.hits(if self.card { 0.002 } else { 0.01 }, rng) {
            let traditional = names.traditional(&name);
            if traditional != name {
                name = traditional;
                tags.add(Tag::Trad);
            }
        }
        if name.chars().any(|c| names.is_rare(c)) && self.noise.hits(0.45, rng) {
            name = name
                .chars()
                .map(|c| if names.is_rare(c) { rng.pick(&['?', '？', '*', '〓']) } else { c })
                .collect();
            tags.add(Tag::RareChar);
        }
        name
    }
}
