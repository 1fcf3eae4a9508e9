//! Identifiers: resident IDs with what they say of their holder, mistyped ones, and documents of other types.

use model::codes;
use model::normalise::identifier_key;
use model::{PartialDate, ResidentId};
use smallvec::{SmallVec, ToSmallVec};

use super::characters::fold;
use super::name::NameKind;

/// Whether the number of a resident ID is the registered person's own, from what the number says of its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Belongs {
    /// The birth date contradicts beyond a slip, or differs and the sex does too; or a newborn without a birth date bears it, or it goes
    /// by many names: somebody else's card was shown (a child's guardian, a relative).
    Another,
    /// No birth date to compare with, one that differs by what a slip or a guess explains, or the same one with the other sex.
    Perhaps,
    /// The birth date agrees, and so does the sex where it is known.
    Own,
}

/// Characters of a number, 0 to 9 and X.
pub type Digits = SmallVec<[u8; ResidentNumber::MAX]>;

/// The number of a resident ID as it was given.
#[derive(Clone, PartialEq, Eq)]
pub struct ResidentNumber {
    /// Canonical characters when valid; otherwise what was typed, the old form with its century: at most [`ResidentNumber::MAX`] digits
    /// and X.
    pub digits: Digits,
    /// Form and check digit are right.
    pub valid: bool,
    /// Typed in the old form of 15 digits, which has no check digit: a slip leaves it valid.
    pub old: bool,
    pub belongs: Belongs,
}

impl std::fmt::Debug for ResidentNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ResidentNumber(\"...\", valid: {}, {:?})", self.valid, self.belongs)
    }
}

impl ResidentNumber {
    /// Characters kept of a mistyped number.
    pub const MAX: usize = 20;
    /// Digits before the check digit, and those of region and birth date before the sequence number.
    const BODY: usize = 17;
    const BEFORE_SEQUENCE: usize = 14;

    /// Reads a number; none for what holds no number (`无`, zeros) or is too short to be one with a slip.
    pub fn read(text: &str, birth: Option<PartialDate>, sex: u8) -> Option<Self> {
        if let Ok(id) = ResidentId::parse(text) {
            let belongs = belongs(id.birth_date(), id.sex().code().parse().unwrap_or(0), birth, sex);
            let old = text.chars().filter(|c| fold(*c).is_ascii_alphanumeric()).count() < Self::BODY;
            return Some(Self { digits: id.as_str().as_bytes().to_smallvec(), valid: true, old, belongs });
        }
        let mut typed = text.chars().take(64).map(fold).filter(char::is_ascii_alphanumeric);
        let digits: Digits = typed.by_ref().take(Self::MAX).map(|c| c as u8).collect();
        let plausible = (14..=Self::MAX).contains(&digits.len())
            && typed.next().is_none()
            && digits.iter().all(|c| c.is_ascii_digit() || *c == b'X')
            && digits.windows(2).filter(|pair| pair[0] == pair[1]).count() < 12;
        let old = digits.len() < Self::BODY;
        let digits = if plausible && old { expand(&digits) } else { digits };
        plausible.then_some(Self { digits, valid: false, old, belongs: Belongs::Perhaps })
    }

    /// The number as it stands under a name: a newborn that has no name yet has no number either, unless the number says so.
    #[must_use]
    pub fn under(mut self, name: NameKind, birth: Option<PartialDate>) -> Self {
        if self.valid && name == NameKind::Newborn && birth.is_none() {
            self.belongs = Belongs::Another;
        }
        self
    }

    /// Whether the numbers differ by one slip of the keyboard: a digit wrong, left out, doubled, two exchanged.
    pub fn one_slip(&self, other: &Self) -> bool {
        let (a, b) = self.typed_beside(other);
        one_slip(a, b)
    }

    /// Whether the numbers are equally long and differ in at most two places.
    pub fn two_slips(&self, other: &Self) -> bool {
        let (a, b) = self.typed_beside(other);
        let differing = a.iter().zip(b).filter(|(a, b)| a != b).count();
        a.len() == b.len() && differing <= 2
    }

    /// What was typed of both: of an old form no check digit, so none of the other either.
    fn typed_beside<'a>(&'a self, other: &'a Self) -> (&'a [u8], &'a [u8]) {
        let body = |of: &'a Self| {
            let check = usize::from(of.valid || !of.old);
            &of.digits[..of.digits.len().saturating_sub(check)]
        };
        if self.old || other.old { (body(self), body(other)) } else { (&self.digits, &other.digits) }
    }

    /// A valid number as an integer, another for every one and for its old form.
    pub fn code(&self) -> NumberCode {
        let value = |digit: &u8| u64::from(if *digit == b'X' { 10 } else { digit.wrapping_sub(b'0') });
        let code =
            self.digits.iter().fold(0, |code: u64, digit| code.wrapping_mul(11).wrapping_add(value(digit)));
        NumberCode(code | if self.old { NumberCode::OLD } else { 0 })
    }

    /// Whether two valid numbers may be one: they are the same, or one is of the old form and differs by a slip in region or birth date.
    /// Those that differ in the sequence number alone are of two people, twins often.
    pub fn may_be(&self, other: &Self) -> bool {
        let split = |of: &'_ Self| -> ([u8; Self::BEFORE_SEQUENCE], [u8; 3]) {
            // A valid number is whole.
            let digit = |at: usize| of.digits.get(at).copied().unwrap_or_default();
            (std::array::from_fn(digit), std::array::from_fn(|at| digit(Self::BEFORE_SEQUENCE + at)))
        };
        let ((a, sequence), (b, other_sequence)) = (split(self), split(other));
        self.digits == other.digits
            || (self.old || other.old) && sequence == other_sequence && one_slip(&a, &b)
    }
}

/// A valid number in eight bytes. 18 characters of eleven kinds leave the highest bit free.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NumberCode(u64);

impl std::fmt::Debug for NumberCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NumberCode(\"...\")")
    }
}

impl NumberCode {
    const OLD: u64 = 1 << 63;

    pub fn is_old(self) -> bool {
        self.0 & Self::OLD != 0
    }

    /// As [`ResidentNumber::may_be`].
    pub fn may_be(self, other: Self) -> bool {
        self.0 & !Self::OLD == other.0 & !Self::OLD
            || (self.is_old() || other.is_old()) && self.number().may_be(&other.number())
    }

    fn number(self) -> ResidentNumber {
        let mut rest = self.0 & !Self::OLD;
        let mut digits: Digits = std::iter::repeat_with(|| {
            let digit = (rest % 11) as u8;
            rest /= 11;
            if digit == 10 { b'X' } else { b'0' + digit }
        })
        .take(ResidentNumber::BODY + 1)
        .collect();
        digits.reverse();
        ResidentNumber { digits, valid: true, old: self.is_old(), belongs: Belongs::Own }
    }
}

/// A mistyped number of the old form in the new one, as far as that goes, so that it resembles the valid one.
fn expand(old: &[u8]) -> Digits {
    let mut digits = old[..6].to_smallvec();
    digits.extend_from_slice(b"19");
    digits.extend_from_slice(&old[6..]);
    digits
}

/// A document of another type: passport, permit, birth certificate, health card.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identifier {
    /// Written form folded; types are not kept apart, since desks mix them up.
    pub value: Box<str>,
}

impl std::fmt::Debug for Identifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identifier(\"...\")")
    }
}

impl Identifier {
    /// Characters compared; longer values are no identifiers.
    const MAX: usize = 32;

    pub fn read(kind: &str, value: &str) -> Option<Self> {
        let key = identifier_key(if kind.is_empty() { codes::OTHER_DOCUMENT } else { kind }, value)?;
        // A1234567 and 00000001 stand for "none" on many desks.
        let digits: Vec<u8> = key.bytes().filter(u8::is_ascii_digit).collect();
        let made_up = digits.windows(2).all(|pair| pair[1] == pair[0] + 1)
            || digits.iter().rev().skip(1).all(|c| *c == b'0');
        let telling =
            !made_up && key.len() >= 5 && key.len() <= Self::MAX && key.bytes().any(|c| c.is_ascii_digit());
        telling.then(|| Self { value: key.into() })
    }

    pub fn one_slip(&self, other: &Self) -> bool {
        one_slip(self.value.as_bytes(), other.value.as_bytes())
    }
}

/// One character wrong, left out, put in, or two neighbours exchanged.
pub fn one_slip(a: &[u8], b: &[u8]) -> bool {
    let same_start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[same_start..], &b[same_start..]);
    let same_end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[..a.len() - same_end], &b[..b.len() - same_end]);
    match (a.len(), b.len()) {
        (1, 0 | 1) | (0, 1) => true,
        (2, 2) => a[0] == b[1] && a[1] == b[0],
        _ => false,
    }
}

fn belongs(id_birth: PartialDate, id_sex: u8, birth: Option<PartialDate>, sex: u8) -> Belongs {
    let sex_known = matches!(sex, 1 | 2);
    let Some(birth) = birth else { return Belongs::Perhaps };
    if birth == id_birth {
        return if !sex_known || sex == id_sex { Belongs::Own } else { Belongs::Perhaps };
    }
    let (written, stated) = (parts(id_birth), parts(birth));
    let same = (0..3).filter(|part| written[*part] == stated[*part] && stated[*part] != 0).count();
    let default = stated[1] <= 1 && stated[2] <= 1 && written[0] == stated[0];
    let exchanged = written[0] == stated[0] && written[1] == stated[2] && written[2] == stated[1];
    let year_slip = written[0].abs_diff(stated[0]) <= 2 || written[0].abs_diff(stated[0]) == 10;
    if (same == 2 && year_slip || default || exchanged) && (!sex_known || sex == id_sex) {
        Belongs::Perhaps
    } else {
        Belongs::Another
    }
}

/// Year, month and day, zero where unknown.
pub fn parts(date: PartialDate) -> [u16; 3] {
    [date.year(), u16::from(date.month().unwrap_or(0)), u16::from(date.day().unwrap_or(0))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, birth: &str, sex: u8) -> Option<(bool, Belongs)> {
        ResidentNumber::read(text, birth.parse().ok(), sex).map(|number| (number.valid, number.belongs))
    }

    #[test]
    fn a_number_says_whose_it_is() {
        for (birth, sex, belongs) in [
            ("1949-12-31", 2, Belongs::Own),
            ("1949-12-31", 0, Belongs::Own),
            ("1949-12-31", 1, Belongs::Perhaps),
            ("", 2, Belongs::Perhaps),
            ("1949-12-21", 2, Belongs::Perhaps),
            ("1949-01-01", 2, Belongs::Perhaps),
            ("1959-12-31", 2, Belongs::Perhaps),
            ("1975-12-31", 2, Belongs::Another),
            ("1949-03-05", 2, Belongs::Another),
            ("1949-12-21", 1, Belongs::Another),
        ] {
            assert_eq!(read("11010519491231002X", birth, sex), Some((true, belongs)), "{birth} {sex}");
        }
    }

    #[test]
    fn mistyped_numbers_are_kept_and_placeholders_are_not() {
        assert_eq!(read("110105194912310021", "1949-12-31", 2), Some((false, Belongs::Perhaps)));
        for nothing in [
            "",
            "无",
            "000000000000000000",
            "530000000000000000",
            "未带证件",
            "12345",
            "1111111111111111111111111",
        ] {
            assert_eq!(read(nothing, "1949-12-31", 2), None, "{nothing}");
        }
    }

    /// The old form has no check digit, so a slip in it leaves another valid number, or one without its check digit.
    #[test]
    fn a_slip_in_the_old_form_is_no_other_number() {
        let number = |text: &str| ResidentNumber::read(text, None, 0).unwrap();
        let right = number("11010519491231002X");
        for (old, may_be, one_slip) in [
            ("110105491231002", true, false),
            ("110106491231002", true, true),
            ("110105491231003", false, true),
            ("110105491230002", true, true),
            ("110106491231003", false, false),
            ("110106491230002", false, false),
            ("120105491231002", true, true),
        ] {
            let old = number(old);
            assert!(old.valid && old.old);
            assert_eq!((old.may_be(&right), right.may_be(&old)), (may_be, may_be));
            assert_eq!((old.code().may_be(right.code()), right.code().may_be(old.code())), (may_be, may_be));
            assert_eq!((old.one_slip(&right), right.one_slip(&old)), (one_slip, one_slip));
        }
        // No province begins with 01.
        let mistyped = number("010105491231002");
        assert!(!mistyped.valid && mistyped.one_slip(&right) && !number("010105491231003").one_slip(&right));
        // With their check digits, two numbers are two.
        let other = number("11010619491231002X");
        assert!(!other.valid, "its check digit is another");
        let neighbour =
            ResidentNumber { digits: number("110106491231002").digits, old: false, ..right.clone() };
        assert!(!neighbour.may_be(&right) && !neighbour.code().may_be(right.code()));
        assert_eq!(format!("{:?}", right.code()), "NumberCode(\"...\")");
    }

    #[test]
    fn slips_of_the_keyboard() {
        for (a, b, slip) in [
            ("123456", "123456", false),
            ("123456", "123457", true),
            ("123456", "124356", true),
            ("123456", "12346", true),
            ("123456", "1234556", true),
            ("123456", "125436", false),
            ("123456", "654321", false),
        ] {
            assert_eq!(one_slip(a.as_bytes(), b.as_bytes()), slip, "{a} {b}");
        }
    }
}
