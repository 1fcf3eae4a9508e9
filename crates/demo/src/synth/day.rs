//! Days and moments of the simulated years: plain counts, so that a registration costs no calendar library.

use std::fmt;
use std::ops::{Add, Sub};

/// Seconds of a day.
pub const DAY_SECONDS: u32 = 86_400;
/// China has one time zone, eight hours before UTC.
const BEIJING_MS: i64 = 8 * 3_600_000;

/// A day of the Gregorian calendar, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

impl Day {
    /// The day with this date, or none if the calendar lacks it. Years 1 to 9999.
    pub fn from_ymd(year: i32, month: i32, day: i32) -> Option<Self> {
        if !(1..=9999).contains(&year) || !(1..=12).contains(&month) {
            return None;
        }
        let candidate = Self::new(year, month, day);
        (candidate.ymd() == (year, month, day)).then_some(candidate)
    }

    /// The day with this date; a day beyond its month runs on into the next one.
    pub const fn new(year: i32, month: i32, day: i32) -> Self {
        // Years are counted from March, so that a leap day is the last of its year.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let leap_days = year / 4 - year / 100 + year / 400;
        Self(year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468)
    }

    /// Year, month and day of the month.
    pub const fn ymd(self) -> (i32, i32, i32) {
        let days = self.0 + 719_468;
        let (cycle, rest) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (rest - rest / 1_460 + rest / 36_524 - rest / 146_096) / 365;
        let rest = rest - (year * 365 + year / 4 - year / 100);
        let month = (rest * 5 + 2) / 153;
        let day = rest - (month * 153 + 2) / 5 + 1;
        let year = cycle * 400 + year;
        if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
    }

    /// The year.
    pub const fn year(self) -> i32 {
        self.ymd().0
    }

    /// How many days lie between an earlier day and this one.
    pub const fn since(self, earlier: Self) -> i32 {
        self.0 - earlier.0
    }

    /// Reads `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return None;
        }
        Self::from_ymd(digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..])?)
    }
}

impl Add<i32> for Day {
    type Output = Self;
    fn add(self, days: i32) -> Self {
        Self(self.0 + days)
    }
}

impl Sub for Day {
    type Output = i32;
    fn sub(self, other: Self) -> i32 {
        self.since(other)
    }
}

impl fmt::Display for Day {
    /// `YYYY-MM-DD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.ymd();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// A second in China's local time: when a registration reached its hospital.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    pub day: Day,
    /// Since midnight, below 86,400.
    pub second: u32,
}

impl Moment {
    /// Reads `YYYY-MM-DDThh:mm:ss`.
    pub fn parse(text: &str) -> Option<Self> {
        let (day, time) = text.split_once('T')?;
        let time = time.as_bytes();
        if time.len() != 8 || time[2] != b':' || time[5] != b':' {
            return None;
        }
        let (hour, minute, second) = (digits(&time[..2])?, digits(&time[3..5])?, digits(&time[6..])?);
        let valid = hour < 24 && minute < 60 && second < 60;
        valid.then_some(Self { day: Day::parse(day)?, second: (hour * 3600 + minute * 60 + second) as u32 })
    }

    /// The second in China at this moment.
    pub fn of_unix_ms(ms: u64) -> Self {
        let seconds = (ms / 1000).saturating_add(BEIJING_MS as u64 / 1000);
        let day = i32::try_from(seconds / u64::from(DAY_SECONDS)).unwrap_or(i32::MAX / 2);
        Self { day: Day(day), second: (seconds % u64::from(DAY_SECONDS)) as u32 }
    }

    /// Milliseconds since 1970-01-01 UTC; zero for what lies before.
    pub fn unix_ms(self) -> u64 {
        let local = i64::from(self.day.0) * i64::from(DAY_SECONDS) + i64::from(self.second);
        u64::try_from(local * 1000 - BEIJING_MS).unwrap_or(0)
    }
}

impl fmt::Display for Moment {
    /// `YYYY-MM-DDThh:mm:ss`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second) = (self.second / 3600, self.second / 60 % 60, self.second % 60);
        write!(f, "{}T{hour:02}:{minute:02}:{second:02}", self.day)
    }
}

fn digits(text: &[u8]) -> Option<i32> {
    text.iter().try_fold(0, |acc, c| c.is_ascii_digit().then(|| acc * 10 + i32::from(c - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks the calendar day by day with nothing but the rules of leap years.
    #[test]
    fn a_count_is_a_date_and_back() {
        let (mut year, mut month, mut day) = (1899, 12, 31);
        for count in (Day::new(1899, 12, 31) - Day::new(1970, 1, 1))..60_000 {
            let expected = Day::new(1970, 1, 1) + count;
            assert_eq!(
                (expected.ymd(), Day::from_ymd(year, month, day)),
                ((year, month, day), Some(expected))
            );
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length =
                [31, 28 + i32::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn known_days() {
        assert_eq!(Day::new(1970, 1, 1), Day(0));
        assert_eq!(Day::new(2000, 3, 1), Day(11_017));
        assert_eq!(Day::parse("2025-06-30").map(|day| day.to_string()).as_deref(), Some("2025-06-30"));
        for bad in ["2023-02-29", "2023-13-01", "2023-00-10", "2023-1-1", "20230101", "", "２０２３-01-01"]
        {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn moments_are_china_time() {
        let text = "1970-01-01T08:00:01";
        let moment = Moment::parse(text).unwrap();
        assert_eq!((moment.unix_ms(), moment.to_string().as_str()), (1000, text));
        assert_eq!(Moment::of_unix_ms(1999), moment);
        for bad in ["1970-01-01", "1970-01-01T24:00:00", "1970-01-01T08:60:00", "1970-01-01 08:00:00"] {
            assert_eq!(Moment::parse(bad), None, "{bad}");
        }
    }
}
