//! The code of an institution: WS 218 (22 characters) or the unified social credit code (GB 32100, 18 characters).

use std::fmt;

use crate::codes;
use crate::normalise;
use crate::social_credit::{SocialCreditCode, SocialCreditError};

/// A well-formed institution code in its canonical form: upper case, without a hyphen. The canonical form is what
/// certificates, records and origins are named by, so that one institution has one origin.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstitutionCode(Form);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    Ws218(String),
    SocialCredit(SocialCreditCode),
}

/// Why a text is not an institution code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InstitutionCodeError {
    #[error("an institution code has 22 characters (WS 218) or 18 (GB 32100)")]
    Length,
    #[error(
        "a WS 218 code is an organisation code (9), a region (6 digits), an economic type (2), a class (letter and 3 digits) \
         and 1, 2 or 9 for its management"
    )]
    Ws218,
    #[error(transparent)]
    SocialCredit(#[from] SocialCreditError),
}

impl InstitutionCodeError {
    /// Stable machine-readable name of the rule.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Length | Self::SocialCredit(SocialCreditError::Length) => "INSTITUTION_CODE_LENGTH",
            Self::Ws218 => "INSTITUTION_CODE_WS218_FORM",
            Self::SocialCredit(SocialCreditError::Character) => "INSTITUTION_CODE_CHARACTER",
            Self::SocialCredit(SocialCreditError::Check) => "INSTITUTION_CODE_CHECK_CHARACTER",
        }
    }
}

const WS218_LEN: usize = 22;
const SOCIAL_CREDIT_LEN: usize = 18;

impl InstitutionCode {
    /// Reads either code, in lower case or full width too, with spaces and hyphens (WS 218 is often written with one,
    /// 23 characters in all). Of WS 218 only the form is checked: the split of its parts is recalled, not verified, and
    /// classes change; see [`InstitutionCode::class_name`].
    pub fn parse(text: &str) -> Result<Self, InstitutionCodeError> {
        let text = normalise::compact(text);
        match text.chars().count() {
            WS218_LEN if is_ws218(text.as_bytes()) => Ok(Self(Form::Ws218(text))),
            WS218_LEN => Err(InstitutionCodeError::Ws218),
            SOCIAL_CREDIT_LEN => Ok(Self(Form::SocialCredit(SocialCreditCode::parse(&text)?))),
            _ => Err(InstitutionCodeError::Length),
        }
    }

    /// The canonical form.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Form::Ws218(code) => code,
            Form::SocialCredit(code) => code.as_str(),
        }
    }

    /// The institution class of a WS 218 code (`A100`).
    pub fn class(&self) -> Option<&str> {
        match &self.0 {
            Form::Ws218(code) => code.get(17..21),
            Form::SocialCredit(_) => None,
        }
    }

    /// The Chinese name of the class, if the table of WS 218 has it.
    pub fn class_name(&self) -> Option<&'static str> {
        codes::INSTITUTION_CLASSES.name(self.class()?)
    }
}

fn is_ws218(code: &[u8]) -> bool {
    code.len() == WS218_LEN
        && code.iter().all(u8::is_ascii_alphanumeric)
        && code[9..15].iter().all(u8::is_ascii_digit)
        && code[17].is_ascii_uppercase()
        && code[18..21].iter().all(u8::is_ascii_digit)
        && matches!(code[21], b'1' | b'2' | b'9')
}

impl fmt::Display for InstitutionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for InstitutionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ws218_with_and_without_hyphen() {
        for form in ["12345678X53010211A1001", "12345678-X53010211A1001", "12345678x53010211a1001 "] {
            let code = InstitutionCode::parse(form).unwrap();
            assert_eq!(code.as_str(), "12345678X53010211A1001");
            assert_eq!((code.class(), code.class_name()), (Some("A100"), Some("综合医院")));
        }
        let local = InstitutionCode::parse("12345678X53010211Z9991").unwrap();
        assert_eq!(
            local.class_name(),
            None,
            "an unknown class is a question for the directory, not for the form"
        );
    }

    #[test]
    fn a_social_credit_code_is_one_too() {
        let code = InstitutionCode::parse("91350100m000100y43").unwrap();
        assert_eq!((code.as_str(), code.class()), ("91350100M000100Y43", None));
    }

    #[test]
    fn each_rule_has_its_name() {
        for (bad, rule) in [
            ("", "INSTITUTION_CODE_LENGTH"),
            ("530102-Z", "INSTITUTION_CODE_LENGTH"),
            ("12345678X530102111A1001", "INSTITUTION_CODE_LENGTH"),
            ("12345678X5301021111001", "INSTITUTION_CODE_WS218_FORM"),
            ("12345678X53010A11A1001", "INSTITUTION_CODE_WS218_FORM"),
            ("12345678X53010211A1003", "INSTITUTION_CODE_WS218_FORM"),
            ("12345678X53010211A100医", "INSTITUTION_CODE_WS218_FORM"),
            ("91350100M000100Y44", "INSTITUTION_CODE_CHECK_CHARACTER"),
            ("91350100I000100Y43", "INSTITUTION_CODE_CHARACTER"),
        ] {
            assert_eq!(InstitutionCode::parse(bad).map_err(InstitutionCodeError::rule), Err(rule), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn canonical_forms_are_stable(text in "[0-9A-Za-z -]{18,24}") {
            if let Ok(code) = InstitutionCode::parse(&text) {
                let again = InstitutionCode::parse(code.as_str());
                prop_assert_eq!(again, Ok(code));
            }
        }
    }
}
