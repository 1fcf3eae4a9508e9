//! The resident ID (GB 11643): 18 characters, read in every form in which hospitals write it.

use std::fmt;

use crate::codes::Sex;
use crate::date::PartialDate;
use crate::normalise;

/// A valid resident ID in its canonical form: 18 characters, digits and perhaps a final `X`.
///
/// Valid means: form and check digit are right. Whether it was issued, and to whom, only its issuer knows.
/// Prints `"..."` in `Debug` and has no `Display`; [`ResidentId::as_str`] is the explicit way out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResidentId([u8; LEN]);

/// Why a text is not a resident ID. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResidentIdError {
    #[error("a resident ID holds digits only, and X as its last character")]
    Character,
    #[error("a resident ID has 18 characters, or 15 digits in its old form")]
    Length,
    #[error("a resident ID is not one digit repeated")]
    Placeholder,
    #[error("the first two digits of the resident ID are no province's")]
    Region,
    #[error("the birth date in the resident ID does not exist")]
    BirthDate,
    #[error("the check digit of the resident ID is wrong")]
    CheckDigit,
}

impl ResidentIdError {
    /// Stable machine-readable name of the rule.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Character => "RESIDENT_ID_CHARACTER",
            Self::Length => "RESIDENT_ID_LENGTH",
            Self::Placeholder => "RESIDENT_ID_PLACEHOLDER",
            Self::Region => "RESIDENT_ID_REGION",
            Self::BirthDate => "RESIDENT_ID_BIRTH_DATE",
            Self::CheckDigit => "RESIDENT_ID_CHECK_DIGIT",
        }
    }
}

const LEN: usize = 18;
const OLD_LEN: usize = 15;
const WEIGHTS: [u32; LEN - 1] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const CHECK: &[u8; 11] = b"10X98765432";

impl ResidentId {
    /// Reads a resident ID in any written form: `x` in lower case, full-width characters, spaces and hyphens anywhere, and the
    /// old 15 digits, which get their century (19) and their check digit.
    ///
    /// The region is the one at issue, so only its province is checked: codes change. Residence permits of Hong Kong,
    /// Macao and Taiwan (81, 82, 83) and foreigners' permanent residence cards of 2023 (first digit 9) share the form.
    pub fn parse(text: &str) -> Result<Self, ResidentIdError> {
        let text = normalise::compact(text);
        let (body, last) = match text.as_bytes() {
            [body @ .., last] => (body, *last),
            [] => return Err(ResidentIdError::Length),
        };
        if !body.iter().all(u8::is_ascii_digit) || !(last.is_ascii_digit() || last == b'X') {
            return Err(ResidentIdError::Character);
        }
        if body.iter().all(|c| *c == last) && !body.is_empty() {
            return Err(ResidentIdError::Placeholder);
        }
        let digits: [u8; LEN - 1] = match text.len() {
            OLD_LEN if last != b'X' => {
                let old = text.as_bytes();
                let mut digits = [0; LEN - 1];
                digits[..6].copy_from_slice(&old[..6]);
                digits[6..8].copy_from_slice(b"19");
                digits[8..].copy_from_slice(&old[6..]);
                digits
            }
            LEN => body.try_into().map_err(|_| ResidentIdError::Length)?,
            _ => return Err(ResidentIdError::Length),
        };
        let mut canonical = [check_digit(&digits); LEN];
        canonical[..LEN - 1].copy_from_slice(&digits);
        let id = Self(canonical);
        if !is_province(&digits) {
            return Err(ResidentIdError::Region);
        }
        id.read_birth_date().ok_or(ResidentIdError::BirthDate)?;
        if text.len() == LEN && last != canonical[LEN - 1] {
            return Err(ResidentIdError::CheckDigit);
        }
        Ok(id)
    }

    /// The 18 characters. Personal data: not for logs.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The birth date in it.
    pub fn birth_date(&self) -> PartialDate {
        self.read_birth_date().expect("parse has checked the birth date")
    }

    /// The sex in it: the 17th digit is odd for men.
    pub fn sex(&self) -> Sex {
        if self.0[16] % 2 == 1 { Sex::Male } else { Sex::Female }
    }

    fn read_birth_date(&self) -> Option<PartialDate> {
        let number =
            |from: usize, to: usize| self.0[from..to].iter().fold(0, |acc, c| acc * 10 + u16::from(c - b'0'));
        PartialDate::from_day(number(6, 10), number(10, 12) as u8, number(12, 14) as u8).ok()
    }
}

impl fmt::Debug for ResidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResidentId(\"...\")")
    }
}

/// The check digit (ISO 7064, MOD 11-2) of 17 digits.
fn check_digit(digits: &[u8; LEN - 1]) -> u8 {
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    CHECK[(sum % 11) as usize]
}

/// Whether the first two digits are a province's (GB/T 2260), or the first is the 9 of foreigners' cards.
fn is_province(digits: &[u8; LEN - 1]) -> bool {
    let code = (digits[0] - b'0') * 10 + (digits[1] - b'0');
    matches!(code, 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83 | 90..=99)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> Result<String, ResidentIdError> {
        ResidentId::parse(text).map(|id| id.as_str().to_owned())
    }

    #[test]
    fn known_good_ids() {
        let id = ResidentId::parse("11010519491231002X").unwrap();
        assert_eq!((id.birth_date().to_string().as_str(), id.sex()), ("1949-12-31", Sex::Female));
        let id = ResidentId::parse("440524188001010014").unwrap();
        assert_eq!((id.birth_date().to_string().as_str(), id.sex()), ("1880-01-01", Sex::Male));
    }

    #[test]
    fn every_written_form_is_the_same_id() {
        for form in [
            "11010519491231002x",
            " 110105 19491231 002X ",
            "110105-19491231-002X",
            "１１０１０５１９４９１２３１００２Ｘ",
            "１１０１０５１９４９１２３１００２ｘ",
            "\u{3000}110105\u{a0}19491231\t002x\u{feff}",
            "110105–19491231－002X",
            "110105491231002",
            "110105 491231 002",
        ] {
            assert_eq!(canonical(form).as_deref(), Ok("11010519491231002X"), "{form}");
        }
    }

    #[test]
    fn each_rule_has_its_error() {
        for (bad, why) in [
            ("", ResidentIdError::Length),
            ("  ", ResidentIdError::Length),
            ("1101051949123100", ResidentIdError::Length),
            ("110105194912310021X", ResidentIdError::Length),
            ("11010549123100X", ResidentIdError::Length),
            ("110105491231002X", ResidentIdError::Length),
            ("无", ResidentIdError::Character),
            ("1101051949X231002X", ResidentIdError::Character),
            ("11010519491231002Y", ResidentIdError::Character),
            ("111111111111111", ResidentIdError::Placeholder),
            ("000000000000000000", ResidentIdError::Placeholder),
            ("01010519491231002X", ResidentIdError::Region),
            ("16010519491231002X", ResidentIdError::Region),
            ("530000000000000000", ResidentIdError::BirthDate),
            ("110105190002290021", ResidentIdError::BirthDate),
            ("110105184912310021", ResidentIdError::BirthDate),
            ("110105499931002", ResidentIdError::BirthDate),
            ("110105194912310021", ResidentIdError::CheckDigit),
        ] {
            assert_eq!(canonical(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn permits_and_foreigners_cards_share_the_form() {
        for digits in ["83000019900101001", "81000019900101002", "91184019900101001"] {
            let digits: &[u8; 17] = digits.as_bytes().try_into().unwrap();
            let text = format!("{}{}", std::str::from_utf8(digits).unwrap(), check_digit(digits) as char);
            assert_eq!(canonical(&text).as_deref(), Ok(text.as_str()));
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", ResidentId::parse("11010519491231002X").unwrap()), "ResidentId(\"...\")");
    }

    fn valid() -> impl Strategy<Value = String> {
        let region = prop::sample::select(vec!["530102", "532901", "110105", "830000", "911840"]);
        (region, 1850u16..2100, 1u8..=12, 1u8..=28, 0u16..1000).prop_map(
            |(region, year, month, day, sequence)| {
                let digits = format!("{region}{year}{month:02}{day:02}{sequence:03}");
                let check = check_digit(digits.as_bytes().try_into().unwrap());
                format!("{digits}{}", check as char)
            },
        )
    }

    proptest! {
        #[test]
        fn valid_ids_parse_to_themselves(id in valid()) {
            prop_assert_eq!(canonical(&id), Ok(id));
        }

        #[test]
        fn one_wrong_character_is_always_noticed(id in valid(), place in 0usize..18, by in 1u8..10) {
            let mut typo = id.into_bytes();
            typo[place] = if typo[place] == b'X' { b'0' + by } else { b'0' + (typo[place] - b'0' + by) % 10 };
            prop_assert!(canonical(std::str::from_utf8(&typo).unwrap()).is_err());
        }

        #[test]
        fn swapped_neighbours_are_always_noticed(id in valid(), place in 0usize..17) {
            let mut typo = id.clone().into_bytes();
            typo.swap(place, place + 1);
            let typo = String::from_utf8(typo).unwrap();
            prop_assert!(typo == id || canonical(&typo).is_err());
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,40}") {
            let _ = ResidentId::parse(&text);
        }

        #[test]
        fn any_digits_are_read_without_panic(text in "[0-9X]{14,19}") {
            let _ = ResidentId::parse(&text);
        }
    }
}
