//! Numbers with check characters: resident IDs (GB 11643) and unified social credit codes (GB 32100, around a GB 11714
//! organisation code). All of them are invented; that one belongs to somebody real is chance.

use model::RegionCode;
use sha2::{Digest, Sha256};

use super::day::Day;

/// The check character of the first 17 digits of a resident ID (ISO 7064 MOD 11-2).
fn resident_check(digits: &[u8]) -> char {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    char::from(b"10X98765432"[(sum % 11) as usize])
}

/// The resident ID issued in `region` to somebody born on `born`, with this sequence number (0 to 999; odd for men).
pub fn resident_id(region: RegionCode, born: Day, sequence: u16) -> String {
    let (year, month, day) = born.ymd();
    let mut id = [0; 17];
    id[..6].copy_from_slice(region.as_str().as_bytes());
    let number = (year as u64 * 10_000 + month as u64 * 100 + day as u64) * 1000 + u64::from(sequence);
    put_digits(&mut id[6..], number);
    let mut text = String::with_capacity(18);
    text.extend(id.map(char::from));
    text.push(resident_check(&id));
    text
}

/// Fills the places with the number's last digits.
fn put_digits(places: &mut [u8], mut number: u64) {
    for place in places.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

const CREDIT_ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";

/// The credit code of the hospital that a population file calls `label` (`530826-Z`), the same in every run: a public
/// institution (12) of the region, with an organisation code made from a hash of the label.
pub fn social_credit_code(region: RegionCode, label: &str) -> String {
    let hash = Sha256::digest(label);
    let body: Vec<u8> = hash[..8].iter().map(|byte| CREDIT_ALPHABET[usize::from(*byte) % 31]).collect();
    let mut code = format!("12{region}");
    code.extend(body.iter().copied().map(char::from));
    code.push(organisation_check(&body));
    let sum = code.bytes().scan(1usize, |weight, c| {
        let term = *weight * credit_value(c);
        *weight = *weight * 3 % 31;
        Some(term)
    });
    let check = (31 - sum.sum::<usize>() % 31) % 31;
    code.push(char::from(CREDIT_ALPHABET[check]));
    code
}

/// The ninth character of an organisation code (GB 11714), where letters count from A = 10.
fn organisation_check(body: &[u8]) -> char {
    const WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];
    let value = |c: u8| char::from(c).to_digit(36).unwrap_or(0);
    let sum: u32 = body.iter().zip(WEIGHTS).map(|(c, weight)| value(*c) * weight).sum();
    match 11 - sum % 11 {
        10 => 'X',
        11 => '0',
        digit => char::from(b'0' + digit as u8),
    }
}

fn credit_value(c: u8) -> usize {
    CREDIT_ALPHABET.iter().position(|known| *known == c).expect("made from the alphabet alone")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published examples of the standards.
    #[test]
    fn known_check_characters() {
        assert_eq!(resident_check(b"11010519491231002"), 'X');
        assert_eq!(resident_check(b"44052418800101001"), '4');
        let born = Day::new(1949, 12, 31);
        assert_eq!(resident_id("110105".parse().unwrap(), born, 2), "11010519491231002X");
        assert_eq!(organisation_check(b"D2143569"), 'X');
        // 91350100M000100Y43: organisation code M000100Y4.
        assert_eq!(organisation_check(b"M000100Y"), '4');
    }

    #[test]
    fn credit_codes_are_stable_and_distinct() {
        let region: RegionCode = "530826".parse().unwrap();
        assert_eq!(social_credit_code(region, "530826-Z"), social_credit_code(region, "530826-Z"));
        assert_ne!(social_credit_code(region, "530826-Z"), social_credit_code(region, "530826-R"));
    }
}
