//! The least normalisation that lookups need: keys under which identifiers and names are found.
//!
//! Small on purpose. The linker brings its own (variants of characters, homophones, transcriptions) and replaces it.

use crate::codes;
use crate::date::PartialDate;
use crate::resident_id::ResidentId;

/// The key of an identifier, equal for all written forms of one identifier of one type; to be kept apart by type.
///
/// A resident ID (type `01`) gives its canonical 18 characters and nothing when it is not valid: a mistyped number is
/// kept in the record but never joins two people. Other types are folded to half width and upper case, without spaces and
/// hyphens. None also for what stands where no number is known: one character repeated, or under type `99` a date.
pub fn identifier_key(identifier_type: &str, value: &str) -> Option<String> {
    if identifier_type == codes::RESIDENT_ID {
        return ResidentId::parse(value).ok().map(|id| id.as_str().to_owned());
    }
    let key = compact(value);
    let first = key.chars().next()?;
    let placeholder =
        key.chars().all(|c| c == first) || (identifier_type == codes::OTHER_DOCUMENT && is_date(&key));
    (!placeholder).then_some(key)
}

/// The key of a name: half width, upper case, without spaces and without the dot between the parts of a name in any of
/// the characters it is typed as. Empty for a name of nothing else.
pub fn name_key(name: &str) -> String {
    let kept = name.chars().map(fold).filter(|c| !is_blank(*c) && !is_name_separator(*c));
    kept.flat_map(char::to_uppercase).collect()
}

/// Half width, upper case, without spaces and hyphens.
pub(crate) fn compact(text: &str) -> String {
    let kept = text.chars().map(fold).filter(|c| !is_blank(*c) && !is_hyphen(*c));
    kept.flat_map(char::to_uppercase).collect()
}

/// Full-width forms of ASCII to ASCII; everything else stays.
fn fold(c: char) -> char {
    match c {
        '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        _ => c,
    }
}

/// Spaces, and the characters without width that copying from other programs leaves behind.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
}

fn is_hyphen(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}')
}

/// The middle dot of minority and foreign names (U+00B7), the dots typed for it, and the hyphen that some systems use.
fn is_name_separator(c: char) -> bool {
    is_hyphen(c)
        || matches!(
            c,
            '.' | '\u{b7}'
                | '\u{387}'
                | '\u{2022}'
                | '\u{2024}'
                | '\u{2027}'
                | '\u{2219}'
                | '\u{22c5}'
                | '\u{25cf}'
                | '\u{2e31}'
                | '\u{3002}'
                | '\u{30fb}'
                | '\u{fe52}'
                | '\u{ff61}'
                | '\u{ff65}'
        )
}

/// Whether the eight digits of a key are a date, written without hyphens.
fn is_date(key: &str) -> bool {
    let number = |range: std::ops::Range<usize>| key.get(range)?.parse().ok();
    let day = |key: &str| {
        let all_digits = key.len() == 8 && key.bytes().all(|c| c.is_ascii_digit());
        all_digits.then_some(())?;
        PartialDate::from_day(number(0..4)?, number(4..6)? as u8, number(6..8)? as u8).ok()
    };
    day(key).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identifiers_in_any_written_form_have_one_key() {
        for (identifier_type, value, key) in [
            ("01", "11010519491231002x", Some("11010519491231002X")),
            ("01", "110105491231002", Some("11010519491231002X")),
            ("01", "１１０１０５ 19491231-002X", Some("11010519491231002X")),
            ("01", "110105194912310021", None),
            ("01", "530000000000000000", None),
            ("01", "未带证件", None),
            ("03", " e1234-5678 ", Some("E12345678")),
            ("03", "Ｅ１２３４５６７８", Some("E12345678")),
            ("03", "00000000", None),
            ("03", "无", None),
            ("03", " - ", None),
            ("03", "", None),
            ("03", "20150102", Some("20150102")),
            ("99", "20150102", None),
            ("99", "2015-01-02", None),
            ("99", "20151302", Some("20151302")),
            ("99", "Z532048150", Some("Z532048150")),
        ] {
            assert_eq!(identifier_key(identifier_type, value).as_deref(), key, "{identifier_type} {value}");
        }
    }

    #[test]
    fn names_with_any_dot_have_one_key() {
        for dot in ["", "·", "•", "・", "．", "‧", ".", "。", "･", "-", "⋅", " ", "\u{3000}"] {
            assert_eq!(name_key(&format!("热合曼{dot}艾合买提")), "热合曼艾合买提", "{dot:?}");
        }
        assert_eq!(name_key(" nguyen thi　Thida "), "NGUYENTHITHIDA");
        assert_eq!(name_key("Ｍ Ａung"), "MAUNG");
        assert_ne!(name_key("张敏"), name_key("张明"));
        assert_eq!(name_key("··"), "");
    }

    proptest! {
        #[test]
        fn keys_are_stable(identifier_type in "(02|03|99|HC)", text in "\\PC{0,24}") {
            prop_assert_eq!(name_key(&name_key(&text)), name_key(&text));
            if let Some(key) = identifier_key(&identifier_type, &text) {
                prop_assert_eq!(identifier_key(&identifier_type, &key), Some(key));
            }
        }

        #[test]
        fn width_and_case_do_not_matter(text in "[!-~]{0,24}") {
            let wide: String = text.chars().map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap()).collect();
            prop_assert_eq!(identifier_key("03", &wide), identifier_key("03", &text.to_lowercase()));
            prop_assert_eq!(name_key(&wide), name_key(&text.to_lowercase()));
        }
    }
}
