//! The `Retry-After` header.

use std::time::{Duration, SystemTime};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The wait that a `Retry-After` header asks for, in seconds or as a date.
pub(super) fn parse(header: &str) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = parse_date(header)?;
    // A time that has passed asks for no wait.
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Parses `Sun, 06 Nov 1994 08:49:37 GMT`, the only form that servers may send. Returns `None` for
/// anything else, and for a time before 1970.
fn parse_date(text: &str) -> Option<SystemTime> {
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split([' ', ':']);
    let day: u64 = number(parts.next()?, 1..=31)?;
    let month = parts.next()?;
    let (month, _) = (1..).zip(MONTHS).find(|(_, name)| *name == month)?;
    let year = number(parts.next()?, 1970..=9999)?;
    let hour = number(parts.next()?, 0..=23)?;
    let minute = number(parts.next()?, 0..=59)?;
    let second = number(parts.next()?, 0..=60)?;
    if (parts.next(), parts.next()) != (Some("GMT"), None) {
        return None;
    }
    let seconds = ((days_before(year, month) + day - 1) * 24 + hour) * 3600 + minute * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// The days from 1970 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    // Counted in years that begin in March, so that a leap day is the last of its year.
    let years = if month > 2 { year } else { year - 1 };
    let months = if month > 2 { month - 3 } else { month + 9 };
    let leap_days = years / 4 - years / 100 + years / 400;
    years * 365 + leap_days + (months * 153 + 2) / 5 - 719_468
}

fn number(digits: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let number = digits.parse().ok()?;
    range.contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        let cases = [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ];
        for (text, seconds) in cases {
            let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(parse_date(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_values_are_ignored() {
        let bad = [
            "",
            "7",
            "Sun, 06 Nov 1994",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nix 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ];
        for text in bad {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }
}
