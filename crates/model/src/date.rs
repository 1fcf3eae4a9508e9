//! Dates as patients' records have them: a year, a year and month, or a full date, checked against the real calendar.
//!
//! No clock here: whether a date lies in the future is asked with [`PartialDate::is_after`] and a `today` of the caller's.

use std::fmt;
use std::str::FromStr;

/// First year accepted. Nobody in a register was born before it, so an earlier year is a mistake.
pub const MIN_YEAR: u16 = 1850;

/// China has one time zone; dates of records are dates there.
const BEIJING_OFFSET_MS: u64 = 8 * 3_600_000;
const DAY_MS: u64 = 86_400_000;

/// A date of known precision (FHIR R4 `date`): `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
///
/// Prints `"..."` in `Debug`, because a birth date is personal data; `Display` is the written form.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartialDate {
    year: u16,
    /// Zero when unknown; then `day` is zero too.
    month: u8,
    day: u8,
}

/// Why a text is not a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DateError {
    #[error("a date is written YYYY-MM-DD, YYYY-MM or YYYY")]
    Form,
    #[error("the calendar has no such date")]
    NoSuchDay,
    #[error("the year is before {MIN_YEAR}")]
    TooEarly,
}

impl PartialDate {
    /// A full date.
    pub fn from_day(year: u16, month: u8, day: u8) -> Result<Self, DateError> {
        if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) || year > 9999 {
            return Err(DateError::NoSuchDay);
        }
        Self { year, month, day }.not_too_early()
    }

    /// The full date in China at this moment, in milliseconds since 1970-01-01 UTC; what a caller passes as `today`.
    pub fn of_unix_ms(ms: u64) -> Self {
        let (mut year, mut days) = (1970u16, (ms.saturating_add(BEIJING_OFFSET_MS)) / DAY_MS);
        // Whole 400-year cycles first, so that an absurd clock does not loop for long; the year stays printable.
        year = year.saturating_add((days / 146_097).min(20) as u16 * 400);
        days %= 146_097;
        while days >= days_in_year(year) {
            days -= days_in_year(year);
            year += 1;
        }
        let mut month = 1;
        while days >= u64::from(days_in_month(year, month)) {
            days -= u64::from(days_in_month(year, month));
            month += 1;
        }
        Self { year: year.min(9999), month, day: days as u8 + 1 }
    }

    /// The year.
    pub fn year(self) -> u16 {
        self.year
    }

    /// The month, 1 to 12, if known.
    pub fn month(self) -> Option<u8> {
        (self.month > 0).then_some(self.month)
    }

    /// The day of the month, 1 to 31, if known.
    pub fn day(self) -> Option<u8> {
        (self.day > 0).then_some(self.day)
    }

    /// Whether year, month and day are all known.
    pub fn is_full(self) -> bool {
        self.day > 0
    }

    /// Whether every day this can mean lies after every day `other` can mean.
    pub fn is_after(self, other: Self) -> bool {
        let unknown_last = |part: u8| if part == 0 { u8::MAX } else { part };
        (self.year, self.month, self.day) > (other.year, unknown_last(other.month), unknown_last(other.day))
    }

    fn not_too_early(self) -> Result<Self, DateError> {
        if self.year < MIN_YEAR { Err(DateError::TooEarly) } else { Ok(self) }
    }
}

impl FromStr for PartialDate {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let bytes = text.as_bytes();
        let number = |range: std::ops::Range<usize>| {
            bytes[range]
                .iter()
                .try_fold(0u16, |acc, c| c.is_ascii_digit().then(|| acc * 10 + u16::from(c - b'0')))
        };
        let dash = |place: usize| (bytes[place] == b'-').then_some(());
        let parts = match bytes.len() {
            4 => number(0..4).map(|year| (year, None, None)),
            7 => dash(4).and_then(|()| Some((number(0..4)?, Some(number(5..7)?), None))),
            10 => (dash(4).and(dash(7)))
                .and_then(|()| Some((number(0..4)?, Some(number(5..7)?), Some(number(8..10)?)))),
            _ => None,
        };
        match parts.ok_or(DateError::Form)? {
            (year, Some(month), Some(day)) => Self::from_day(year, month as u8, day as u8),
            (_, Some(month), None) if !(1..=12).contains(&month) => Err(DateError::NoSuchDay),
            (year, month, _) => Self { year, month: month.unwrap_or(0) as u8, day: 0 }.not_too_early(),
        }
    }
}

impl fmt::Display for PartialDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.month(), self.day()) {
            (Some(month), Some(day)) => write!(f, "{:04}-{month:02}-{day:02}", self.year),
            (Some(month), None) => write!(f, "{:04}-{month:02}", self.year),
            _ => write!(f, "{:04}", self.year),
        }
    }
}

impl fmt::Debug for PartialDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartialDate(\"...\")")
    }
}

fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_year(year: u16) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

/// Days of a month 1 to 12.
fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date(text: &str) -> PartialDate {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_calendar_is_real() {
        for good in ["1850", "1949-10", "1968-02-29", "2000-02-29", "2023-12-31", "9999"] {
            assert_eq!(date(good).to_string(), good);
        }
        for (bad, why) in [
            ("1900-02-29", DateError::NoSuchDay),
            ("2023-02-29", DateError::NoSuchDay),
            ("2023-04-31", DateError::NoSuchDay),
            ("2023-13", DateError::NoSuchDay),
            ("2023-00", DateError::NoSuchDay),
            ("2023-00-10", DateError::NoSuchDay),
            ("2023-01-00", DateError::NoSuchDay),
            ("1849-12-31", DateError::TooEarly),
            ("1849", DateError::TooEarly),
            ("", DateError::Form),
            ("20230101", DateError::Form),
            ("2023-1-1", DateError::Form),
            ("2023/01/01", DateError::Form),
            ("2023-01-01 ", DateError::Form),
            ("２０２３", DateError::Form),
            ("+123", DateError::Form),
        ] {
            assert_eq!(bad.parse::<PartialDate>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn after_is_only_said_of_what_is_certain() {
        assert!(date("2024-05-02").is_after(date("2024-05-01")));
        assert!(!date("2024-05-01").is_after(date("2024-05-01")));
        assert!(!date("2024").is_after(date("2024-05-01")));
        assert!(!date("2024-05").is_after(date("2024-05-01")));
        assert!(date("2024-06").is_after(date("2024-05-01")));
        assert!(date("2025").is_after(date("2024-05-01")));
        assert!(!date("2024-12-31").is_after(date("2024")));
    }

    #[test]
    fn today_in_china_starts_eight_hours_before_utc() {
        assert_eq!(PartialDate::of_unix_ms(0), date("1970-01-01"));
        // 2024-02-28T16:00:00Z is midnight of a leap day in Beijing.
        assert_eq!(PartialDate::of_unix_ms(1_709_136_000_000), date("2024-02-29"));
        assert_eq!(PartialDate::of_unix_ms(1_709_136_000_000 - 1), date("2024-02-28"));
        assert_eq!(PartialDate::of_unix_ms(u64::MAX).year(), 9999);
    }

    #[test]
    fn debug_shows_no_date() {
        assert!(!format!("{:?}", date("1968-05-18")).contains("1968"));
    }

    proptest! {
        #[test]
        fn days_follow_each_other(day in 0u64..200_000) {
            let (a, b) = (PartialDate::of_unix_ms(day * DAY_MS), PartialDate::of_unix_ms((day + 1) * DAY_MS));
            prop_assert!(b.is_after(a));
            prop_assert!(a.to_string().parse() == Ok(a));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,12}") {
            if let Ok(date) = text.parse::<PartialDate>() {
                prop_assert_eq!(date.to_string(), text);
            }
        }
    }
}
