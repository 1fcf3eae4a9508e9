//! Names of persons: Han names by era and sex, transliterated names of the peoples who have their own, and what
//! misspelling makes of either.

use std::collections::HashMap;

use rand::Rng;
use rand::rngs::SmallRng;

use super::chance::Chance;
use super::misspellings::{SAME_SHAPE, SAME_SOUND, TRADITIONAL};
use super::tables::{
    BURMESE, DAI_MEN, DAI_WOMEN, DOTS, ERAS, GIVEN_NAMES, JINGPO_CLANS, JINGPO_GIVEN, LAHU_GIVEN, LATIN,
    RARE, SPELLINGS, SURNAMES, TIBETAN, TWO_CHARACTERS, UYGHUR, WA_GIVEN, YI_CLANS, YI_GIVEN,
};

/// Ethnicity codes (GB/T 3304) that decide about names.
pub mod ethnicity {
    /// Somebody of another country: no code.
    pub const FOREIGN: u8 = 0;
    pub const HAN: u8 = 1;
    pub const TIBETAN: u8 = 4;
    pub const UYGHUR: u8 = 5;
    pub const YI: u8 = 7;
    pub const DAI: u8 = 18;
    pub const WA: u8 = 21;
    pub const LAHU: u8 = 24;
    pub const JINGPO: u8 = 28;
    pub const BLANG: u8 = 34;
}

/// A person's name.
#[derive(Clone, PartialEq, Eq)]
pub struct Name {
    /// As papers have it.
    pub full: String,
    pub form: Form,
}

/// What a name is made of.
#[derive(Clone, PartialEq, Eq)]
pub enum Form {
    /// Surname and given name; the surname's length in bytes.
    Han { surname: usize },
    /// Two transliterated parts, with a dot between them or none.
    Parts { first: String, second: String, dotted: bool },
    /// Somebody from across the border, and the name in the passport.
    Foreign { latin: String },
}

impl Name {
    fn han(surname: &str, given: &str) -> Self {
        Self { full: format!("{surname}{given}"), form: Form::Han { surname: surname.len() } }
    }

    fn parts(first: &str, second: &str, dotted: bool) -> Self {
        let dot = if dotted { DOTS[0] } else { "" };
        let form = Form::Parts { first: first.to_owned(), second: second.to_owned(), dotted };
        Self { full: format!("{first}{dot}{second}"), form }
    }

    /// The surname, for names that have one to pass on.
    pub fn surname(&self) -> Option<&str> {
        match self.form {
            Form::Han { surname } => Some(&self.full[..surname]),
            _ => None,
        }
    }
}

/// Name tables, made ready for drawing.
pub struct Names {
    /// Surnames with the running sum of their weights.
    surnames: Vec<(&'static str, u32)>,
    /// By era, men before women.
    given: Vec<[Vec<char>; 2]>,
    rare: Vec<char>,
    same_sound: HashMap<char, Vec<char>>,
    same_shape: HashMap<char, Vec<char>>,
    traditional: HashMap<char, char>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Names {
    /// The tables of `tables.rs` and `misspellings.rs`.
    pub fn new() -> Self {
        let mut sum = 0;
        let surnames = SURNAMES.iter().map(|(name, weight)| {
            sum += weight;
            (*name, sum)
        });
        Self {
            surnames: surnames.collect(),
            given: GIVEN_NAMES.iter().map(|era| era.map(|characters| characters.chars().collect())).collect(),
            rare: RARE.chars().collect(),
            same_sound: alternatives(SAME_SOUND),
            same_shape: alternatives(SAME_SHAPE),
            traditional: TRADITIONAL.split(' ').filter_map(pair).collect(),
        }
    }

    /// A name for somebody of this ethnicity, sex (1 male, 2 female) and year of birth. A child's family gives it the
    /// surname and perhaps the first character of its given name.
    pub fn draw(&self, who: Who<'_>, rng: &mut SmallRng) -> Name {
        own_form(who, rng).unwrap_or_else(|| {
            let surname = who.surname.unwrap_or_else(|| self.surname(rng));
            Name::han(surname, &self.given(who.year, who.sex, who.generation, rng))
        })
    }

    /// A name from across the border.
    pub fn foreign(rng: &mut SmallRng) -> Name {
        let second: String =
            if rng.odds(0.5) { rng.pick(BURMESE).chars().skip(1).collect() } else { String::new() };
        let latin = format!("{} {} {}", rng.pick(LATIN), rng.pick(LATIN), rng.pick(LATIN));
        Name { full: format!("{}{second}", rng.pick(BURMESE)), form: Form::Foreign { latin } }
    }

    /// A surname, the commoner the likelier.
    fn surname(&self, rng: &mut SmallRng) -> &'static str {
        let sum = self.surnames[self.surnames.len() - 1].1;
        let draw = rng.random_range(0..sum);
        self.surnames[self.surnames.partition_point(|(_, upto)| *upto <= draw)].0
    }

    /// A given name of one or two characters.
    pub fn given(&self, year: i32, sex: u8, generation: Option<char>, rng: &mut SmallRng) -> String {
        let era = ERAS.iter().filter(|first| year >= **first).count();
        let characters = &self.given[era][usize::from(sex == 2)];
        let mut name = String::with_capacity(8);
        if rng.odds(0.004) {
            name.push(rng.pick(&self.rare));
            if rng.odds(0.5) {
                name.push(rng.pick_common(characters));
            }
            return name;
        }
        let first = generation.unwrap_or_else(|| rng.pick_common(characters));
        name.push(first);
        if generation.is_some() || rng.random_range(0..100) < TWO_CHARACTERS[era] {
            let doubled = generation.is_none() && sex == 2 && rng.odds(0.06);
            name.push(if doubled { first } else { rng.pick_common(characters) });
        }
        name
    }

    /// A character that a family gives all its sons or daughters of an era.
    pub fn generation(&self, year: i32, sex: u8, rng: &mut SmallRng) -> Option<char> {
        if rng.odds(0.35) { self.given(year, sex, None, rng).chars().next() } else { None }
    }

    /// Another character of the same sound, if one is known.
    pub fn same_sound(&self, character: char, rng: &mut SmallRng) -> Option<char> {
        self.same_sound.get(&character).map(|others| rng.pick(others))
    }

    /// A character that looks alike, if one is known.
    pub fn same_shape(&self, character: char, rng: &mut SmallRng) -> Option<char> {
        self.same_shape.get(&character).map(|others| rng.pick(others))
    }

    /// The text in traditional characters.
    pub fn traditional(&self, text: &str) -> String {
        text.chars().map(|c| self.traditional.get(&c).copied().unwrap_or(c)).collect()
    }

    /// Whether many hospital systems cannot store this character.
    pub fn is_rare(&self, character: char) -> bool {
        self.rare.contains(&character)
    }
}

/// Who needs a name.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    pub ethnicity: u8,
    pub sex: u8,
    pub year: i32,
    pub surname: Option<&'a str>,
    pub generation: Option<char>,
}

/// The part spelled another way, if one is known.
pub fn respelled(part: &str) -> Option<String> {
    SPELLINGS
        .iter()
        .find(|(usual, _)| part.contains(usual))
        .map(|(usual, other)| part.replacen(usual, other, 1))
}

/// A name in the form of the person's own people, for the share of them who bear one.
fn own_form(who: Who<'_>, rng: &mut SmallRng) -> Option<Name> {
    let man = who.sex == 1;
    let share = match who.ethnicity {
        ethnicity::TIBETAN => 0.85,
        ethnicity::YI => 0.22,
        ethnicity::DAI | ethnicity::BLANG => 0.5,
        ethnicity::WA | ethnicity::LAHU => 0.4,
        ethnicity::JINGPO => 0.3,
        ethnicity::UYGHUR => 1.0,
        _ => return None,
    };
    if !rng.odds(share) {
        return None;
    }
    Some(match who.ethnicity {
        ethnicity::TIBETAN => two_of(TIBETAN, rng.odds(0.2), rng),
        ethnicity::UYGHUR => two_of(UYGHUR, true, rng),
        ethnicity::YI => Name::parts(rng.pick(YI_CLANS), rng.pick(YI_GIVEN), rng.odds(0.6)),
        ethnicity::JINGPO => Name::parts(rng.pick(JINGPO_CLANS), rng.pick(JINGPO_GIVEN), rng.odds(0.5)),
        ethnicity::WA => Name::parts(if man { "岩" } else { "叶" }, rng.pick(WA_GIVEN), false),
        ethnicity::LAHU => Name::parts(if man { "扎" } else { "娜" }, rng.pick(LAHU_GIVEN), false),
        _ => dai(man, rng),
    })
}

/// Dai and Blang: 岩 or 玉, then one or two parts; a few papers put a dot behind the first.
fn dai(man: bool, rng: &mut SmallRng) -> Name {
    let parts = if man { DAI_MEN } else { DAI_WOMEN };
    let mut second = rng.pick(parts).to_owned();
    if rng.odds(0.6) {
        second.push_str(rng.pick(parts));
    }
    Name::parts(if man { "岩" } else { "玉" }, &second, rng.odds(0.05))
}

fn two_of(parts: &[&str], dotted: bool, rng: &mut SmallRng) -> Name {
    let first = rng.random_range(0..parts.len());
    let second = (first + rng.random_range(1..parts.len())) % parts.len();
    Name::parts(parts[first], parts[second], dotted)
}

fn alternatives(groups: &str) -> HashMap<char, Vec<char>> {
    let mut table: HashMap<char, Vec<char>> = HashMap::new();
    for group in groups.split(' ') {
        for character in group.chars() {
            table.entry(character).or_default().extend(group.chars().filter(|other| *other != character));
        }
    }
    table
}

fn pair(word: &str) -> Option<(char, char)> {
    let mut characters = word.chars();
    Some((characters.next()?, characters.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::chance::{Purpose, stream};

    fn draw(ethnicity: u8, sex: u8, seed: u64) -> Name {
        let who = Who { ethnicity, sex, year: 1985, surname: None, generation: None };
        Names::new().draw(who, &mut stream(seed, Purpose::Name, 0, 0))
    }

    #[test]
    fn tables_hold_no_slips() {
        let names = Names::new();
        for (table, others) in names.same_sound.iter().chain(&names.same_shape) {
            assert!(!others.is_empty() && !others.contains(table), "{table}");
        }
        assert!(names.traditional.iter().all(|(simplified, other)| simplified != other));
        assert!(DOTS.len() > 1 && names.surnames.iter().all(|(surname, _)| surname.chars().count() <= 2));
    }

    #[test]
    fn peoples_have_their_own_names() {
        let some = |ethnicity: u8, sex, wanted: fn(&Name) -> bool| {
            (0..200).any(|seed| wanted(&draw(ethnicity, sex, seed)))
        };
        assert!(some(ethnicity::DAI, 1, |name| name.full.starts_with('岩')));
        assert!(some(ethnicity::DAI, 2, |name| name.full.starts_with('玉')));
        for ethnicity in
            [ethnicity::YI, ethnicity::TIBETAN, ethnicity::UYGHUR, ethnicity::JINGPO, ethnicity::DAI]
        {
            assert!(some(ethnicity, 1, |name| name.full.contains('·')), "{ethnicity}");
        }
        assert!(!some(ethnicity::HAN, 1, |name| name.surname().is_none()));
        assert!(!some(ethnicity::UYGHUR, 2, |name| name.surname().is_some()));
    }

    #[test]
    fn a_child_bears_what_its_family_gives() {
        let names = Names::new();
        let who = Who {
            ethnicity: ethnicity::HAN,
            sex: 1,
            year: 2015,
            surname: Some("欧阳"),
            generation: Some('明'),
        };
        let bearing = (0..100).filter(|seed| {
            let name = names.draw(who, &mut stream(*seed, Purpose::Name, 0, 0));
            assert_eq!(name.surname(), Some("欧阳"));
            name.full.starts_with("欧阳明")
        });
        assert!(bearing.count() > 90);
    }

    #[test]
    fn known_misspellings() {
        let names = Names::new();
        let mut rng = stream(1, Purpose::Name, 0, 0);
        assert_eq!(names.same_sound('段', &mut rng), Some('端'));
        assert_eq!(names.same_shape('未', &mut rng), Some('末'));
        assert_eq!(names.traditional("刘国华"), "劉國華");
        assert_eq!(respelled("扎西").as_deref(), Some("札西"));
        assert_eq!(respelled("王"), None);
    }
}
