//! Looking for somebody of whom a name, or a part of it, and perhaps a birth date and a sex are known.
//!
//! Gives the sounds under which names are looked up, says whether and how a name agrees with the one asked for, and weighs a
//! candidate as [`compare`](crate::compare) and the [model](crate::model) weigh two registrations. Looking up is the caller's.

use model::body::Registration;

use crate::compare::{MISSING, NameLevel, compare, field};
use crate::explain::{Field, fields};
use crate::features::Features;
use crate::model::{Frequencies, Scorer, probability};
use crate::normalise::Name;
use crate::normalise::characters::{Sounds, is_han};
use crate::normalise::name::{Age, MAX_CHARS};
use crate::spelling::{Piece, Typed, letters, sound};

/// Most parts under which one name is looked up.
pub const MAX_PARTS: usize = 4;
/// Parts of a name asked for that are looked up; the others are compared only. Of initials, which are vaguer, one more.
const ASKED_PARTS: usize = 2;
/// Letters of a word that stand for it when it is looked up.
const WORD_START: usize = 3;

/// How a name agrees with the one asked for, closest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Agreement {
    /// The same characters.
    Same,
    /// Characters that sound the same.
    SoundsSame,
    /// It is read as was typed.
    Pinyin,
    /// What was asked for stands in it, in order.
    Part,
}

impl Agreement {
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::SoundsSame => "sounds_same",
            Self::Pinyin => "pinyin",
            Self::Part => "part",
        }
    }
}

/// Under what to look. Every entry is a sound, or several in a row.
#[derive(Clone, PartialEq, Eq)]
pub enum Lookups {
    /// Whole names: the persons under any of these.
    Whole(Vec<String>),
    /// Parts of names: for each way to read the question the parts, for each part the sounds that it may have.
    Parts(Vec<Vec<Vec<String>>>),
}

impl std::fmt::Debug for Lookups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lookups(\"...\")")
    }
}

/// Somebody who is looked for.
#[derive(Clone)]
pub struct Sought {
    wanted: Wanted,
    part: bool,
    features: Features,
}

impl std::fmt::Debug for Sought {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sought(\"...\")")
    }
}

#[derive(Clone)]
enum Wanted {
    Characters(Name),
    Typed(Typed),
}

/// How a candidate compares with what is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    pub agreement: Agreement,
    /// log2 of the odds that this is the person asked for.
    pub weight: f32,
    pub probability: f32,
    /// What could be compared, and what each says.
    pub fields: Vec<Field>,
}

impl Sought {
    /// Reads what is known of somebody: name, birth date and sex, as in a registration. None without a character or letter in the name.
    pub fn read(known: &Registration, part: bool) -> Option<Self> {
        let name = read_name(&known.name);
        let wanted = match Typed::read(&known.name) {
            // A long name is kept by its beginning.
            Some(typed) if is_letters(&name) && known.name.chars().count() > MAX_CHARS => {
                Wanted::Typed(Typed { letters: spelled(&name), ..typed })
            }
            Some(typed) => Wanted::Typed(typed),
            None if name.chars.is_empty() => return None,
            None => Wanted::Characters(name),
        };
        Some(Self { wanted, part, features: Features::of(known, None) })
    }

    /// Characters or letters asked for: what makes a part telling.
    pub fn length(&self) -> usize {
        match &self.wanted {
            Wanted::Characters(name) => name.chars.len(),
            Wanted::Typed(typed) => typed.ways.iter().map(Vec::len).min().unwrap_or(typed.words.len()),
        }
    }

    /// Whether the name is given by its initials only, so that very many sounds have to be looked up.
    pub fn is_initials(&self) -> bool {
        matches!(&self.wanted, Wanted::Typed(typed) if typed.has_initials())
    }

    /// Under what to look. In a whole name typed in letters one character may have another than its commonest reading: any when
    /// `every_reading`, else the first, where such family names are (單 is Shàn).
    pub fn lookups(&self, every_reading: bool) -> Lookups {
        match &self.wanted {
            Wanted::Characters(name) if self.part => {
                let sounds = name.chars.iter().take(ASKED_PARTS).map(|c| vec![sound(*c)]);
                Lookups::Parts(vec![sounds.collect()])
            }
            Wanted::Characters(name) => Lookups::Whole(vec![spelled(name)]),
            Wanted::Typed(typed) if self.part || typed.has_initials() => typed_parts(typed),
            Wanted::Typed(typed) => Lookups::Whole(typed_whole(typed, every_reading)),
        }
    }

    /// How a name agrees with what is asked for; none when it does not.
    pub fn agreement(&self, name: &str) -> Option<Agreement> {
        let name = read_name(name);
        match (&self.wanted, self.part) {
            (Wanted::Characters(wanted), false) if wanted.same_chars(&name) => Some(Agreement::Same),
            (Wanted::Characters(wanted), false) => wanted.sounds_like(&name).then_some(Agreement::SoundsSame),
            (Wanted::Characters(wanted), true) => {
                let mut rest = name.chars.iter();
                let alike = |c: &char, d: &char| c == d || Sounds::of(*c).alike(Sounds::of(*d));
                let alike = wanted.chars.iter().all(|c| rest.any(|d| alike(c, d)));
                alike.then_some(Agreement::Part)
            }
            (Wanted::Typed(typed), part) => typed_agreement(typed, &name, part),
        }
    }

    /// Weighs a candidate whose name agrees. `share` is how many of the `persons` bear a name that agrees as well.
    pub fn weigh(
        &self,
        scorer: &Scorer,
        candidate: &Registration,
        share: f32,
        persons: f32,
    ) -> Option<Match> {
        let agreement = self.agreement(&candidate.name)?;
        let mut levels = compare(&self.features, &Features::of(candidate, None));
        // What was asked for is all that is known of the name, so a name that holds it agrees, as telling as that is rare.
        levels[field::NAME] = match agreement {
            Agreement::Same => NameLevel::Same as u8,
            Agreement::SoundsSame | Agreement::Pinyin | Agreement::Part => NameLevel::SoundsSame as u8,
        };
        let frequencies = Frequencies { name: share, phone: 0.0, place: 0.0, county: 0.0, twin: false };
        let score = scorer.score(&levels, &frequencies, persons);
        let told = fields(scorer, &levels, &frequencies, score.rival());
        let compared = told.into_iter().zip(levels).enumerate().filter(|(_, (_, level))| *level != MISSING);
        let fields = compared.map(|(place, (told, _))| match place {
            field::NAME => Field { level: agreement.name(), ..told },
            _ => told,
        });
        let weight = score.weight();
        let fields = fields.collect();
        Some(Match { agreement, weight, probability: probability(weight), fields })
    }
}

/// The sound of a whole name, under which it is looked up; none of a name without a character or letter.
pub fn whole_name(name: &str) -> Option<String> {
    let name = read_name(name);
    (!name.chars.is_empty()).then(|| spelled(&name))
}

/// The sounds of parts of a name under which it is looked up, each once: of its first four characters, of a name of two parts with a
/// separator the first two of each; of a name in letters the beginnings of its first four words.
pub fn name_parts(name: &str) -> Vec<String> {
    let whole = read_name(name);
    let sounds: Vec<String> = if is_letters(&whole) {
        words(&whole).map(|word| start(&word)).collect()
    } else {
        let mut parts = segments(name);
        let each = if parts.len() > 1 && whole.chars.len() > MAX_PARTS { MAX_PARTS / 2 } else { MAX_PARTS };
        for part in &mut parts {
            part.truncate(each);
        }
        parts.concat().into_iter().map(sound).collect()
    };
    let mut parts: Vec<String> = Vec::with_capacity(MAX_PARTS);
    for sound in sounds.into_iter().take(MAX_PARTS) {
        if !sound.is_empty() && !parts.contains(&sound) {
            parts.push(sound);
        }
    }
    parts
}

/// As written: whose name it is when it ends like a newborn's is not asked here.
fn read_name(name: &str) -> Name {
    Name::read_of(name, Age::Grown)
}

fn is_letters(name: &Name) -> bool {
    !name.chars.iter().any(|c| is_han(*c))
}

/// The characters between the separators of a name.
fn segments(name: &str) -> Vec<Vec<char>> {
    let parts = name.split(|c: char| !c.is_alphanumeric());
    let read = parts.map(|part| read_name(part).chars.into_vec());
    read.filter(|part| !part.is_empty()).collect()
}

fn words(name: &Name) -> impl Iterator<Item = String> {
    let text: String = name.chars.iter().collect();
    let words: Vec<String> = text.split(' ').map(letters).filter(|word| !word.is_empty()).collect();
    words.into_iter()
}

fn start(word: &str) -> String {
    word.chars().take(WORD_START).collect()
}

fn spelled(name: &Name) -> String {
    if is_letters(name) {
        return words(name).collect::<Vec<_>>().concat();
    }
    name.chars.iter().map(|c| sound(*c)).collect()
}

/// The spellings under which whole names are that can be read as was typed: what was typed, and with one syllable in the commonest
/// reading of a character that has it as another.
fn typed_whole(typed: &Typed, every_reading: bool) -> Vec<String> {
    let mut spellings = vec![typed.letters.clone()];
    for way in &typed.ways {
        let varied = if every_reading { way.len() } else { 1 };
        for (place, piece) in way.iter().enumerate().take(varied) {
            for other in piece.sounds().iter().skip(1) {
                let at = |(at, piece): (usize, &Piece)| match piece {
                    _ if at == place => other.as_str(),
                    Piece::Syllable(syllable) => syllable,
                    Piece::Initial(_) => "",
                };
                spellings.push(way.iter().enumerate().map(at).collect());
            }
        }
    }
    spellings.sort_unstable();
    spellings.dedup();
    spellings
}

fn typed_parts(typed: &Typed) -> Lookups {
    let asked = if typed.has_initials() { ASKED_PARTS + 1 } else { ASKED_PARTS };
    let pieces = |way: &Vec<Piece>| way.iter().take(asked).map(|piece| piece.sounds().to_vec()).collect();
    let mut ways: Vec<Vec<Vec<String>>> = typed.ways.iter().map(pieces).collect();
    let words = typed.words.iter().take(asked).map(|word| vec![start(word)]);
    ways.push(words.collect());
    Lookups::Parts(ways)
}

fn typed_agreement(typed: &Typed, name: &Name, part: bool) -> Option<Agreement> {
    if is_letters(name) {
        let names: Vec<String> = words(name).collect();
        let mut rest = names.iter();
        let found = part && typed.words.iter().all(|word| rest.any(|other| other.starts_with(word.as_str())));
        let same = names.concat() == typed.letters;
        return if same { Some(Agreement::Same) } else { found.then_some(Agreement::Part) };
    }
    let whole = |way: &Vec<Piece>| {
        way.len() == name.chars.len() && way.iter().zip(&name.chars).all(|(piece, c)| piece.fits(*c))
    };
    let within = |way: &Vec<Piece>| {
        let mut rest = name.chars.iter();
        way.iter().all(|piece| rest.any(|c| piece.fits(*c)))
    };
    if typed.ways.iter().any(whole) {
        return Some(Agreement::Pinyin);
    }
    (part && typed.ways.iter().any(within)).then_some(Agreement::Part)
}

#[cfg(test)]
mod tests;
