//! Characters: one form for all ways of writing one, and how each sounds.

use std::collections::HashMap;
use std::sync::LazyLock;

use pinyin::{ToPinyin, ToPinyinMulti};
use unicode_normalization::char::{decompose_canonical, is_combining_mark};

/// Traditional and variant characters → simplified ones. See `data/README.md`.
static SIMPLIFIED: LazyLock<HashMap<char, char>> = LazyLock::new(|| {
    let rows = include_str!("../../data/traditional.tsv").lines();
    let pair = |row: &'static str| {
        let (from, to) = row.split_once('\t')?;
        Some((from.chars().next()?, to.chars().next()?))
    };
    rows.filter_map(pair).collect()
});

/// The sounds of the characters of nearly all names: they are asked for at every comparison.
static HAN_SOUNDS: LazyLock<Vec<Sounds>> = LazyLock::new(|| {
    let c = |code| char::from_u32(code).unwrap_or_default();
    (HAN_START..HAN_END).map(|code| Sounds::read(c(code))).collect()
});
/// The same characters simplified: every address is read through this.
static HAN_SIMPLIFIED: LazyLock<Vec<char>> = LazyLock::new(|| {
    let c = |code| char::from_u32(code).unwrap_or_default();
    (HAN_START..HAN_END).map(|code| SIMPLIFIED.get(&c(code)).copied().unwrap_or(c(code))).collect()
});
/// The unified ideographs and their first extension.
const HAN_START: u32 = 0x3400;
const HAN_END: u32 = 0xa000;

/// A toneless syllable of pinyin, or another letter or sign standing for itself. Zero is silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sound(u32);

/// The sounds of one character, commonest reading first; at most [`Sounds::READINGS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sounds([Sound; Sounds::READINGS]);

impl Sounds {
    /// Readings kept per character. Few characters of names have more than three without their tones.
    pub const READINGS: usize = 3;

    /// The sounds of a character.
    pub fn of(c: char) -> Self {
        let place = u32::from(c).wrapping_sub(HAN_START) as usize;
        HAN_SOUNDS.get(place).copied().unwrap_or_else(|| Self::read(c))
    }

    fn read(c: char) -> Self {
        let mut readings = [Sound::default(); Self::READINGS];
        let mut count = 0;
        let mut push = |sound: Sound| {
            if count < Self::READINGS && !readings[..count].contains(&sound) {
                readings[count] = sound;
                count += 1;
            }
        };
        if let Some(first) = c.to_pinyin() {
            push(syllable(first.plain()));
            for other in c.to_pinyin_multi().into_iter().flatten() {
                push(syllable(other.plain()));
            }
        } else {
            push(Sound(u32::from(c) | 1 << 31));
        }
        Self(readings)
    }

    /// The commonest reading.
    pub fn first(self) -> Sound {
        self.0[0]
    }

    /// Whether one reading of each is the same.
    pub fn alike(self, other: Self) -> bool {
        self.0.iter().take_while(|sound| **sound != Sound::default()).any(|sound| other.0.contains(sound))
    }
}

/// The form under which a character is compared: half width, upper case, simplified.
pub fn fold(c: char) -> char {
    let c = match c {
        '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        _ => c,
    };
    if c.is_ascii() {
        return c.to_ascii_uppercase();
    }
    if let Some(simplified) = HAN_SIMPLIFIED.get(u32::from(c).wrapping_sub(HAN_START) as usize) {
        return *simplified;
    }
    let c = c.to_uppercase().next().unwrap_or(c);
    if let Some(simplified) = SIMPLIFIED.get(&c) {
        return *simplified;
    }
    if is_han(c) { c } else { latin_base(c) }
}

/// Marks that combine with a letter, and characters without width or with a direction only: no part of what is compared.
pub fn is_mark(c: char) -> bool {
    is_combining_mark(c)
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Whether the character is a letter; at once where that is sure, for most are.
pub fn is_letter(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}') || c.is_alphabetic()
}

/// Whether the character is one of a Chinese name or address.
pub fn is_han(c: char) -> bool {
    matches!(u32::from(c), 0x3400..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff)
}

/// Six letters of five bits each, so that different syllables are different numbers.
fn syllable(plain: &str) -> Sound {
    let letter = |c: char| if c.is_ascii_lowercase() { u32::from(c) - u32::from('a') + 1 } else { 27 };
    Sound(plain.chars().take(6).fold(0, |sound, c| sound << 5 | letter(c)))
}

/// Letters with marks to the letter alone.
fn latin_base(c: char) -> char {
    let base = match c {
        'ø' | 'Ø' => 'O',
        'đ' | 'Đ' | 'ð' | 'Ð' => 'D',
        'ł' | 'Ł' => 'L',
        'ß' => 'S',
        'æ' | 'Æ' => 'A',
        c => {
            let mut first = None;
            decompose_canonical(c, |part| first = first.or(Some(part)));
            first.unwrap_or(c)
        }
    };
    base.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_for_all_ways_of_writing() {
        for (written, form) in [
            ('Ａ', 'A'),
            ('ｘ', 'X'),
            ('麗', '丽'),
            ('峯', '峰'),
            ('羣', '群'),
            ('堃', '坤'),
            ('é', 'E'),
            ('丽', '丽'),
            ('　', ' '),
        ] {
            assert_eq!(fold(written), form, "{written}");
        }
        assert!(('\u{4e00}'..='\u{9fff}').all(char::is_alphabetic));
    }

    #[test]
    fn sounds_have_all_readings() {
        assert!(Sounds::of('伟').alike(Sounds::of('卫')));
        assert!(Sounds::of('单').alike(Sounds::of('善')), "单 is also shàn");
        assert!(!Sounds::of('伟').alike(Sounds::of('丽')));
        assert!(!Sounds::of('A').alike(Sounds::of('B')));
        assert_eq!(Sounds::of('伟').first(), Sounds::of('维').first());
    }
}
