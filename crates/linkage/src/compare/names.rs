//! How far two names agree.

use smallvec::SmallVec;

use super::NameLevel;
use crate::normalise::Name;
use crate::normalise::name::{UNKNOWN_CHAR, alike};

pub(super) fn newborn(a: &Name, b: &Name) -> u8 {
    if !a.sounds_like(b) {
        NameLevel::NewbornOtherMother as u8
    } else if a.birth_order != 0 && b.birth_order != 0 && a.birth_order != b.birth_order {
        NameLevel::NewbornOtherTwin as u8
    } else {
        NameLevel::NewbornSameMother as u8
    }
}

pub(super) fn han(a: &Name, b: &Name) -> u8 {
    let unreadable = a.chars.contains(&UNKNOWN_CHAR) || b.chars.contains(&UNKNOWN_CHAR);
    if a.same_chars(b) && !unreadable {
        return NameLevel::Same as u8;
    }
    if a.sounds_like(b) && !unreadable {
        return NameLevel::SoundsSame as u8;
    }
    let (short, long) = if a.chars.len() <= b.chars.len() { (a, b) } else { (b, a) };
    let surname = usize::from(short.surname.max(1));
    let same_surname = short.surname == long.surname
        && short.chars.iter().zip(&long.chars).take(surname).all(|(x, y)| x == y);
    if short.chars.len() == long.chars.len()
        && let Some(level) = same_length(short, long, surname, same_surname)
    {
        return level as u8;
    }
    if is_subsequence(short, long) && short.chars.len() >= 2 {
        let difference = long.chars.len() - short.chars.len();
        if difference == 1 {
            return NameLevel::OneCharacterMore as u8;
        }
        if short.chars.len() >= 4 {
            return NameLevel::Transcription as u8;
        }
    }
    if long.chars.len() >= 4 && distance(short, long) * 3 <= long.chars.len() {
        return NameLevel::Transcription as u8;
    }
    if is_pet_name(short, long) || is_pet_name(long, short) {
        return NameLevel::PetName as u8;
    }
    let given = |name: &Name| name.chars.len() - usize::from(name.surname);
    let same_given = short.surname > 0 && long.surname > 0 && given(short) == 2 && given(long) == 2 && {
        let (x, y) = (usize::from(short.surname), usize::from(long.surname));
        alike(short.chars[x], long.chars[y]) && alike(short.chars[x + 1], long.chars[y + 1])
    };
    if same_given {
        NameLevel::GivenSame as u8
    } else if same_surname {
        NameLevel::SurnameSame as u8
    } else {
        NameLevel::Different as u8
    }
}

/// Names of as many characters: one unreadable, one other, two exchanged.
fn same_length(a: &Name, b: &Name, surname: usize, same_surname: bool) -> Option<NameLevel> {
    let length = a.chars.len();
    let unreadable = |place: &usize| a.chars[*place] == UNKNOWN_CHAR || b.chars[*place] == UNKNOWN_CHAR;
    let differs = |place: &usize| !alike(a.chars[*place], b.chars[*place]);
    let differing: SmallVec<[usize; 24]> = (0..length).filter(differs).collect();
    if differing.iter().all(unreadable) {
        return Some(NameLevel::UnreadableCharacter);
    }
    let exchanged =
        || alike(a.chars[surname], b.chars[surname + 1]) && alike(a.chars[surname + 1], b.chars[surname]);
    if same_surname && length - surname == 2 && exchanged() {
        return Some(NameLevel::GivenExchanged);
    }
    let one = differing.len() == 1 && length >= 3 && (same_surname || a.surname == 0 || b.surname == 0);
    one.then_some(if length > 4 { NameLevel::Transcription } else { NameLevel::OneCharacter })
}

/// A doubled or `小` given name, as small children are called, with the other's surname or without any.
fn is_pet_name(name: &Name, other: &Name) -> bool {
    let n = name.chars.len();
    let pet = |chars: &[char]| {
        chars.len() == 2 && (chars[0] == chars[1] || matches!(chars, ['小' | '大', '宝'] | ['宝', '贝']))
    };
    match n {
        2 => pet(&name.chars),
        3 => pet(&name.chars[1..]) && other.chars.first() == name.chars.first(),
        _ => false,
    }
}

pub(super) fn letters(a: &Name, b: &Name) -> u8 {
    if a.chars == b.chars {
        return NameLevel::Same as u8;
    }
    let words = |name: &Name| {
        let text: String = name.chars.iter().collect();
        let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        words.sort_unstable();
        words
    };
    let (one, other) = (words(a), words(b));
    if one == other {
        return NameLevel::GivenExchanged as u8;
    }
    let mut left = other.clone();
    let found = |word: &&String| {
        left.iter().position(|other| other == *word).map(|at| left.swap_remove(at)).is_some()
    };
    let common = one.iter().filter(found).count();
    if common == one.len().min(other.len()) && common > 0 && one.len() != other.len() {
        return NameLevel::OneCharacterMore as u8;
    }
    let edits = distance(a, b);
    if edits <= 1 {
        return NameLevel::OneCharacter as u8;
    }
    if edits * 5 <= a.chars.len().max(b.chars.len()) {
        return NameLevel::Transcription as u8;
    }
    if one.last() == other.last() || one.first() == other.first() || common > 0 {
        NameLevel::SurnameSame as u8
    } else {
        NameLevel::Different as u8
    }
}

/// Whether all characters of the shorter name sound, in order, in the longer one.
fn is_subsequence(short: &Name, long: &Name) -> bool {
    let mut rest = long.chars.iter();
    short.chars.iter().all(|c| rest.any(|other| alike(*c, *other)))
}

/// Levenshtein distance over characters that sound alike; bounded by the bound of names.
fn distance(a: &Name, b: &Name) -> usize {
    const WIDTH: usize = crate::normalise::name::MAX_CHARS + 1;
    let mut row: [usize; WIDTH] = std::array::from_fn(|place| place);
    for (i, c) in a.chars.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.chars.iter().enumerate() {
            let cost = usize::from(!alike(*c, *other));
            let best = (diagonal + cost).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = best;
        }
    }
    row[b.chars.len()]
}
