//! The unified social credit code (GB 32100): 18 characters with a check character.

use std::fmt;

use crate::normalise;

/// A valid unified social credit code in its canonical form: 18 characters, upper case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocialCreditCode([u8; LEN]);

/// Why a text is not a unified social credit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SocialCreditError {
    #[error("a unified social credit code has 18 characters")]
    Length,
    #[error("a unified social credit code holds 0-9 and A-Z without I, O, S, V and Z, its region six digits")]
    Character,
    #[error("the check character of the unified social credit code is wrong")]
    Check,
}

const LEN: usize = 18;
const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

impl SocialCreditCode {
    /// Reads a code in lower case or full width too, with spaces and hyphens anywhere. Which authorities and classes of
    /// organisations exist (the first two characters) is not checked.
    pub fn parse(text: &str) -> Result<Self, SocialCreditError> {
        let text = normalise::compact(text);
        if text.chars().count() != LEN {
            return Err(SocialCreditError::Length);
        }
        let code: [u8; LEN] = text.as_bytes().try_into().map_err(|_| SocialCreditError::Character)?;
        if !code[2..8].iter().all(u8::is_ascii_digit) {
            return Err(SocialCreditError::Character);
        }
        match Self::check_character(&code[..LEN - 1]) {
            Some(check) if check == code[LEN - 1] => Ok(Self(code)),
            Some(_) if ALPHABET.contains(&code[LEN - 1]) => Err(SocialCreditError::Check),
            _ => Err(SocialCreditError::Character),
        }
    }

    /// The code that starts with these 17 characters, for codes that are made up (synthetic institutions).
    pub fn complete(first_17: &str) -> Result<Self, SocialCreditError> {
        let check = Self::check_character(first_17.as_bytes()).ok_or(SocialCreditError::Character)?;
        Self::parse(&format!("{first_17}{}", check as char))
    }

    /// The 18 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Weights are the powers of 3 modulo 31. None if a character is not of the alphabet.
    fn check_character(code: &[u8]) -> Option<u8> {
        let (mut sum, mut weight) = (0, 1);
        for character in code {
            sum += ALPHABET.iter().position(|known| known == character)? * weight;
            weight = weight * 3 % 31;
        }
        Some(ALPHABET[(31 - sum % 31) % 31])
    }
}

impl fmt::Display for SocialCreditCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SocialCreditCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_good_code_in_its_written_forms() {
        for form in [
            "91350100M000100Y43",
            "91350100m000100y43",
            " 91350100-M000100Y4-3",
            "９１３５０１００Ｍ０００１００Ｙ４３",
        ] {
            assert_eq!(
                SocialCreditCode::parse(form).map(|code| code.to_string()),
                Ok("91350100M000100Y43".to_owned())
            );
        }
    }

    #[test]
    fn each_rule_has_its_error() {
        for (bad, why) in [
            ("", SocialCreditError::Length),
            ("91350100M000100Y4", SocialCreditError::Length),
            ("91350100M000100Y431", SocialCreditError::Length),
            ("91350100M000100Y4医", SocialCreditError::Character),
            ("91350100I000100Y43", SocialCreditError::Character),
            ("9135010AM000100Y43", SocialCreditError::Character),
            ("91350100M000100Y4S", SocialCreditError::Character),
            ("91350100M000100Y44", SocialCreditError::Check),
        ] {
            assert_eq!(SocialCreditCode::parse(bad), Err(why), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_completed_code_parses_and_its_typos_do_not(
            first_17 in "[0-9A-HJ-NP-RTUWXY]{2}[0-9]{6}[0-9A-HJ-NP-RTUWXY]{9}", place in 0usize..18, by in 1usize..31
        ) {
            let code = SocialCreditCode::complete(&first_17).unwrap();
            prop_assert_eq!(SocialCreditCode::parse(code.as_str()), Ok(code));
            let mut typo = code.0;
            let at = ALPHABET.iter().position(|known| *known == typo[place]).unwrap();
            typo[place] = ALPHABET[(at + by) % 31];
            prop_assert!(SocialCreditCode::parse(std::str::from_utf8(&typo).unwrap()).is_err());
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,24}") {
            let _ = SocialCreditCode::parse(&text);
        }
    }
}
