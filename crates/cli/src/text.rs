//! Times, sizes and durations for people. Times are Beijing time: China has one time zone, and records are dated in it.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

const BEIJING: Offset = Offset::constant(8);

/// A moment, `2026-11-21 23:17:51`; `-` for none.
pub(crate) fn time(ms: u64) -> String {
    match i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()) {
        _ if ms == 0 => "-".to_owned(),
        Some(time) => BEIJING.to_datetime(time).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => "beyond the calendar".to_owned(),
    }
}

/// Reads `2026-11-21`, `2026-11-21T23:17`, `2026-11-21 23:17:51` (Beijing time), or a time with its own offset.
/// Milliseconds since 1970.
pub(crate) fn parse_time(text: &str) -> Result<u64, &'static str> {
    let wrong = "must be YYYY-MM-DD or YYYY-MM-DDTHH:MM[:SS][offset], not before 1970";
    let in_beijing = |time: DateTime| TimeZone::fixed(BEIJING).to_timestamp(time).ok();
    let parsed =
        text.parse::<Timestamp>().ok().or_else(|| text.parse().ok().and_then(in_beijing)).ok_or(wrong)?;
    u64::try_from(parsed.as_millisecond()).ok().filter(|ms| *ms > 0).ok_or(wrong)
}

/// How long ago, or how long: `0.4 s`, `12 s`, `3 min`, `5 h`, `12 d`.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{:.1} s", ms as f64 / 1000.0),
        10..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A size: `512 B`, `1.5 kB`, `20 MB`; powers of 1000.
pub(crate) fn bytes(count: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if value < 9.95 { format!("{value:.1} {}", units[unit]) } else { format!("{value:.0} {}", units[unit]) }
}

/// `1 registration`, `2 registrations`.
pub(crate) fn count(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
}

/// Text from elsewhere as it may go to a terminal: control and direction-changing characters would let a record
/// or a node rewrite what the operator reads.
pub(crate) fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
    };
    text.chars().map(|c| if steers(c) { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_beijing_time() {
        assert_eq!(time(1_795_303_071_000), "2026-11-22 07:17:51");
        assert_eq!((time(0).as_str(), time(u64::MAX).as_str()), ("-", "beyond the calendar"));
        for (text, ms) in [
            ("2026-11-22", Ok(1_795_276_800_000)),
            ("2026-11-22T07:17", Ok(1_795_303_020_000)),
            ("2026-11-22 07:17:51", Ok(1_795_303_071_000)),
            ("2026-11-21T23:17:51Z", Ok(1_795_303_071_000)),
            ("2026-11-22T07:17:51+08:00", Ok(1_795_303_071_000)),
            ("1969-01-01", Err(())),
            ("22.11.2026", Err(())),
            ("", Err(())),
        ] {
            assert_eq!(parse_time(text).map_err(|_| ()), ms, "{text}");
        }
    }

    #[test]
    fn spans_and_sizes() {
        for (ms, text) in [
            (0, "0.0 s"),
            (420, "0.4 s"),
            (59_000, "59 s"),
            (180_000, "3 min"),
            (7_200_000, "2 h"),
            (900_000_000, "10 d"),
        ] {
            assert_eq!(span(ms), text);
        }
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_500, "1.5 kB"),
            (20_400, "20 kB"),
            (999_900, "1.0 MB"),
            (u64::MAX, "18447 PB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(plain("王\u{1b}[2J\u{202e}小\n明·"), "王\u{fffd}[2J\u{fffd}小\u{fffd}明·");
        assert_eq!(plain("阿卜杜拉·买买提"), "阿卜杜拉·买买提");
    }
}
