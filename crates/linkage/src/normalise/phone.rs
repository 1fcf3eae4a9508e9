//! Telephone numbers: digits without country code and trunk prefix, unless nobody can have them.

use super::characters::fold;

/// Most digits of a number (E.164); longer ones are none.
const MAX_DIGITS: usize = 15;

/// The number as an integer; none for placeholders (`0`, one digit repeated, `13800000000`) and for what is too short.
pub fn read(text: &str) -> Option<u64> {
    let digits: String = text.chars().take(64).map(fold).filter(char::is_ascii_digit).collect();
    let mut digits = digits.trim_start_matches("00");
    if digits.len() > 11 {
        digits = digits.strip_prefix("86").unwrap_or(digits);
    }
    let digits = digits.trim_start_matches('0');
    if digits.len() < 6 || digits.len() > MAX_DIGITS || is_placeholder(digits) {
        return None;
    }
    digits.parse().ok()
}

/// Whether two numbers differ in one digit, or in two neighbours exchanged.
pub fn one_slip(a: u64, b: u64) -> bool {
    let (a, b) = (a.to_string(), b.to_string());
    super::identifier::one_slip(a.as_bytes(), b.as_bytes())
}

/// Numbers that manuals and forms show.
const DEMONSTRATION: [&[u8]; 3] = [b"13800138000", b"12345678910", b"13812345678"];

/// Seven or more of the last digits the same, all ascending, the last eight of a mobile ascending, or a demonstration number.
fn is_placeholder(digits: &str) -> bool {
    let digits = digits.as_bytes();
    let last = digits[digits.len() - 1];
    let run = digits.iter().rev().take_while(|c| **c == last).count();
    let ascending =
        |digits: &[u8]| digits.windows(2).all(|pair| (pair[1] - b'0') % 10 == (pair[0] - b'0' + 1) % 10);
    run >= 7
        || ascending(digits)
        || digits.len() == 11 && ascending(&digits[3..])
        || DEMONSTRATION.contains(&digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_in_all_its_forms() {
        for written in [
            "13987654321",
            "+86 13987654321",
            "86-13987654321",
            "013987654321",
            "１３９８７６５４３２１",
            "139-8765-4321",
            "008613987654321",
        ] {
            assert_eq!(read(written), Some(13_987_654_321), "{written}");
        }
        assert_eq!(read("0871-63123456"), Some(87_163_123_456));
    }

    #[test]
    fn placeholders_are_nobodys() {
        for nothing in [
            "",
            "0",
            "无",
            "00000000000",
            "13800000000",
            "11111111111",
            "123456789",
            "12345",
            "999999999999999999999",
        ] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn slips() {
        assert!(one_slip(13_987_654_321, 13_987_654_322));
        assert!(one_slip(13_987_654_321, 13_987_645_321));
        assert!(!one_slip(13_987_654_321, 13_987_654_321));
        assert!(!one_slip(13_987_654_321, 13_987_655_322));
    }
}
