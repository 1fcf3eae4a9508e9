//! Names in pinyin, as people type them and as characters are read.
//!
//! `zhangwei`, `Zhang Wei`, `zhāng wěi` and `zhang1 wei3` are one; `lv`, `lü` and `lyu` are `lu`. What is typed without spaces may be
//! cut into syllables in several ways (`xian`), and letters that make no syllables are the initials of some (`zgq`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use pinyin::{ToPinyin, ToPinyinMulti};

use crate::normalise::characters::{Sounds, fold, is_han, is_mark};

/// Ways of cutting one text into syllables that are looked at, those with the longest syllables first.
const MAX_WAYS: usize = 8;
/// Letters read of what is typed.
const MAX_LETTERS: usize = 64;
/// Letters of a word that may be initials; a longer one is no pinyin.
const MAX_INITIALS: usize = 6;

/// What one character of a name must sound like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    Syllable(&'static str),
    Initial(char),
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Piece(\"...\")")
    }
}

/// Syllables, each with the commonest readings of the characters that may also be read so (單: shan, commonly dan), itself first.
static SYLLABLES: LazyLock<BTreeMap<String, Vec<String>>> = LazyLock::new(|| {
    let mut syllables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let characters = ('\u{4e00}'..='\u{9fff}').filter(|c| fold(*c) == *c);
    for readings in characters.filter(|c| c.to_pinyin().is_some()).map(readings) {
        for reading in readings.iter().filter(|reading| reading.contains(['a', 'e', 'i', 'o', 'u'])) {
            syllables.entry(reading.clone()).or_default().insert(readings[0].clone());
        }
    }
    let with_itself_first = |(syllable, mut commonest): (String, BTreeSet<String>)| {
        commonest.remove(&syllable);
        let all = std::iter::once(syllable.clone()).chain(commonest).collect();
        (syllable, all)
    };
    syllables.into_iter().map(with_itself_first).collect()
});

/// The first letter of every syllable that is some character's commonest reading, with those syllables.
static INITIALS: LazyLock<BTreeMap<char, Vec<String>>> = LazyLock::new(|| {
    let commonest: BTreeSet<&String> = SYLLABLES.values().flatten().collect();
    let mut initials: BTreeMap<char, Vec<String>> = BTreeMap::new();
    for syllable in commonest {
        initials.entry(syllable.chars().next().unwrap_or_default()).or_default().push(syllable.clone());
    }
    initials
});

impl Piece {
    /// The commonest readings of characters that the piece can stand for.
    pub fn sounds(self) -> &'static [String] {
        match self {
            Self::Syllable(syllable) => SYLLABLES.get(syllable).map_or(&[], Vec::as_slice),
            Self::Initial(letter) => INITIALS.get(&letter).map_or(&[], Vec::as_slice),
        }
    }

    /// Whether a character can be read so.
    pub fn fits(self, c: char) -> bool {
        let fits = |reading: &String| match self {
            Self::Syllable(syllable) => reading == syllable,
            Self::Initial(letter) => reading.starts_with(letter),
        };
        readings(c).iter().any(fits)
    }
}

/// Letters without tones, marks and case, `v` and `ü` as `u`; everything else is left out.
pub fn letters(text: &str) -> String {
    let folded = text.chars().filter(|c| !is_mark(*c)).map(fold).filter(char::is_ascii_alphabetic);
    let plain: String = folded.map(|c| if c == 'V' { 'u' } else { c.to_ascii_lowercase() }).collect();
    plain.replace("lyu", "lu").replace("nyu", "nu")
}

/// The readings of a character that names are compared by, the commonest first; never empty.
fn readings(c: char) -> Vec<String> {
    let Some(first) = c.to_pinyin() else { return vec![c.to_lowercase().collect()] };
    let mut readings = vec![letters(first.plain())];
    for other in c.to_pinyin_multi().into_iter().flatten() {
        let other = letters(other.plain());
        if readings.len() < Sounds::READINGS && !readings.contains(&other) {
            readings.push(other);
        }
    }
    readings
}

/// The commonest reading of a character of a name; a letter is itself.
pub fn sound(c: char) -> String {
    readings(c).swap_remove(0)
}

/// What was typed in letters.
#[derive(Clone, PartialEq, Eq)]
pub struct Typed {
    /// Without spaces.
    pub letters: String,
    pub words: Vec<String>,
    /// The ways to read it as one syllable, or one initial, per character; none when it cannot be pinyin.
    pub ways: Vec<Vec<Piece>>,
}

impl std::fmt::Debug for Typed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Typed(\"...\")")
    }
}

impl Typed {
    /// Reads what was typed; none when it holds a Chinese character or no letter.
    pub fn read(text: &str) -> Option<Self> {
        let text: String = text.chars().take(MAX_LETTERS).collect();
        if text.chars().map(fold).any(is_han) {
            return None;
        }
        let is_part_of_word = |c: char| c.is_alphanumeric() || is_mark(c);
        let words = text.split(|c: char| !is_part_of_word(c)).map(letters).filter(|word| !word.is_empty());
        let words: Vec<String> = words.collect();
        let mut ways = vec![Vec::new()];
        for word in &words {
            let pieces = cuts(word);
            let joined = ways.iter().flat_map(|way| pieces.iter().map(move |more| [&way[..], more].concat()));
            ways = joined.take(MAX_WAYS).collect();
        }
        (!words.is_empty()).then(|| Self { letters: words.concat(), words, ways })
    }

    /// Whether it holds initials, however it is read.
    pub fn has_initials(&self) -> bool {
        let abbreviated = |way: &Vec<Piece>| way.iter().any(|piece| matches!(piece, Piece::Initial(_)));
        !self.ways.is_empty() && self.ways.iter().all(abbreviated)
    }
}

/// The ways to cut a word into syllables; into initials when there is none.
fn cuts(word: &str) -> Vec<Vec<Piece>> {
    let mut found = Vec::new();
    cut(word, &mut Vec::new(), &mut found, &mut vec![false; word.len() + 1]);
    if found.is_empty() && word.len() <= MAX_INITIALS {
        found.push(word.chars().map(Piece::Initial).collect());
    }
    found
}

/// `dead` says of rests, by their length, that they cannot be cut: without it a word whose last letter fits nothing would be cut in every
/// way there is before that is known.
fn cut(rest: &str, before: &mut Vec<Piece>, found: &mut Vec<Vec<Piece>>, dead: &mut [bool]) {
    /// Letters of the longest syllables: `zhuang`.
    const LONGEST: usize = 6;
    if rest.is_empty() {
        found.push(before.clone());
        return;
    }
    if dead[rest.len()] {
        return;
    }
    let known = found.len();
    for length in (1..=rest.len().min(LONGEST)).rev() {
        if found.len() == MAX_WAYS {
            return;
        }
        if let Some((syllable, _)) = SYLLABLES.get_key_value(&rest[..length]) {
            before.push(Piece::Syllable(syllable));
            cut(&rest[length..], before, found, dead);
            before.pop();
        }
    }
    dead[rest.len()] = found.len() == known;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_in_all_its_forms() {
        for typed in ["zhangwei", "Zhang Wei", "zhāng wěi", "ZHANG1 WEI3", "ｚｈａｎｇ　ｗｅｉ", "zhang-wei"]
        {
            assert_eq!(Typed::read(typed).unwrap().letters, "zhangwei", "{typed}");
        }
        for typed in ["lv", "lü", "LYU", "lǘ", "lu:"] {
            assert_eq!(Typed::read(typed).unwrap().letters, "lu", "{typed}");
        }
        assert!(Typed::read("张wei").is_none() && Typed::read(" 12 ").is_none());
    }

    #[test]
    fn letters_are_cut_into_syllables_or_initials() {
        let ways = |typed: &str| Typed::read(typed).unwrap().ways;
        assert_eq!(
            ways("xian"),
            [vec![Piece::Syllable("xian")], vec![Piece::Syllable("xi"), Piece::Syllable("an")]]
        );
        assert_eq!(ways("xi'an"), [vec![Piece::Syllable("xi"), Piece::Syllable("an")]]);
        assert_eq!(ways("zgq"), [vec![Piece::Initial('z'), Piece::Initial('g'), Piece::Initial('q')]]);
        assert_eq!(
            ways("zhang gq"),
            [vec![Piece::Syllable("zhang"), Piece::Initial('g'), Piece::Initial('q')]]
        );
        assert!(ways("Strzelecki").is_empty(), "no pinyin");
        assert!(Typed::read("zgq").unwrap().has_initials() && !Typed::read("xian").unwrap().has_initials());
    }

    #[test]
    fn characters_are_read_in_all_their_ways() {
        let shan = Piece::Syllable("shan");
        assert!(shan.fits('单') && shan.fits('山') && !shan.fits('伟'));
        assert_eq!(shan.sounds()[0], "shan");
        assert!(shan.sounds().contains(&sound('单')), "found under its commonest reading");
        assert!(Piece::Initial('z').fits('张') && Piece::Initial('z').sounds().contains(&"zhang".to_owned()));
        assert_eq!((sound('吕'), sound('A'), sound('?')), ("lu".into(), "a".into(), "?".into()));
    }

    #[test]
    fn absurd_texts_are_bounded() {
        let open_end = "an".repeat(31) + "q";
        for typed in ["an".repeat(10_000), open_end, "xian".repeat(40), "z".repeat(300), "a b c ".repeat(50)]
        {
            let read = Typed::read(&typed).unwrap();
            assert!(read.letters.len() <= MAX_LETTERS && read.ways.len() <= MAX_WAYS);
        }
    }
}
