//! Times as events carry them: ISO 8601 text, or a number of seconds, milliseconds, microseconds or nanoseconds since the epoch.
//!
//! A number's unit is told by its size, as its value could be only one of them for any date between 1973 and 5138: below 10^11 seconds,
//! below 10^14 milliseconds, below 10^17 microseconds, nanoseconds beyond. Fractions are read as decimal digits, so `1700000000.123` is
//! exact to the microsecond.

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

/// Microseconds since the epoch, of a JSON number's text.
pub(super) fn epoch_micros(number: &str) -> Option<i64> {
    if number.contains(['e', 'E']) {
        let value: f64 = number.parse().ok()?;
        return epoch_micros(&format!("{value:.6}"));
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let value: i128 = whole.parse().ok()?;
    let exponent = match value.unsigned_abs() {
        ..100_000_000_000 => 6,
        100_000_000_000..100_000_000_000_000 => 3,
        100_000_000_000_000..100_000_000_000_000_000 => 0,
        _ => -3,
    };
    if exponent < 0 {
        return i64::try_from(value.div_euclid(1000)).ok();
    }
    // The digits of the fraction that a microsecond can show.
    let mut digits: i128 = 0;
    for i in 0..exponent {
        let digit = fraction.as_bytes().get(i as usize).map_or(0, |b| i128::from(b - b'0'));
        digits = digits * 10 + digit;
    }
    let sign = if number.starts_with('-') { -1 } else { 1 };
    i64::try_from(value * 10_i128.pow(exponent as u32) + sign * digits).ok()
}

/// Microseconds since the epoch, of ISO 8601 text; without an offset it is UTC.
pub(super) fn timestamptz_micros(text: &str) -> Option<i64> {
    if let Some(micros) = naive_micros(text) {
        return Some(micros);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_microsecond());
    }
    timestamp_micros(text)
}

/// Microseconds since the epoch as if in UTC, of ISO 8601 text without an offset (with one, it is converted to UTC).
pub(super) fn timestamp_micros(text: &str) -> Option<i64> {
    if let Some(micros) = naive_micros(text) {
        return Some(micros);
    }
    if let Ok(time) = text.parse::<DateTime>() {
        // A civil time takes text with an offset as well, and would drop it.
        if let Ok(exact) = text.parse::<Timestamp>() {
            return Some(exact.as_microsecond());
        }
        return Some(Offset::UTC.to_timestamp(time).ok()?.as_microsecond());
    }
    None
}

/// The common form `YYYY-MM-DD[T ]HH:MM:SS[.ffffff][Z]`, which most events have: several times quicker than the general parser.
fn naive_micros(text: &str) -> Option<i64> {
    let bytes = text.strip_suffix('Z').unwrap_or(text).as_bytes();
    if bytes.len() < 19 || bytes[4] != b'-' || bytes[7] != b'-' || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    if !matches!(bytes[10], b' ' | b'T') {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        bytes[range].iter().try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match bytes.get(19) {
        None => 0,
        Some(b'.') if (21..=26).contains(&bytes.len()) => {
            number(20..bytes.len())? * 10_i64.pow(26 - bytes.len() as u32)
        }
        Some(_) => return None,
    };
    let date = Date::new(year as i16, month as i8, day as i8).ok()?;
    let seconds = i64::from(days(date)) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

fn days(date: Date) -> i32 {
    const EPOCH: Date = Date::constant(1970, 1, 1);
    let since: SignedDuration = date.duration_since(EPOCH);
    (since.as_secs() / 86_400) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_their_unit_by_their_size() {
        assert_eq!(epoch_micros("1700000000"), Some(1_700_000_000_000_000));
        assert_eq!(epoch_micros("1700000000.1234567"), Some(1_700_000_000_123_456));
        assert_eq!(epoch_micros("1700000000123"), Some(1_700_000_000_123_000));
        assert_eq!(epoch_micros("1700000000123.5"), Some(1_700_000_000_123_500));
        assert_eq!(epoch_micros("1700000000123456"), Some(1_700_000_000_123_456));
        assert_eq!(epoch_micros("1700000000123456789"), Some(1_700_000_000_123_456));
        assert_eq!(epoch_micros("-1.5"), Some(-1_500_000));
        assert_eq!(epoch_micros("-0.5"), Some(-500_000));
        assert_eq!(epoch_micros("1.7e9"), Some(1_700_000_000_000_000));
        assert_eq!(epoch_micros("170000000000000000000000000"), None);
    }

    #[test]
    fn texts_in_every_iso_form() {
        let expected = Some(1_465_585_201_255_000);
        for text in ["2016-06-10 19:00:01.255", "2016-06-10T19:00:01.255Z", "2016-06-10T21:00:01.255+02:00"] {
            assert_eq!(timestamptz_micros(text), expected, "{text}");
        }
        assert_eq!(timestamp_micros("2016-06-10T21:00:01.255+02:00"), expected);
        assert_eq!(timestamp_micros("2016-06-10"), Some(1_465_516_800_000_000));
        assert_eq!(timestamptz_micros("2016-06-31 00:00:00"), None);
        assert_eq!(timestamptz_micros("yesterday"), None);
    }
}
