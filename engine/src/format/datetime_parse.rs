//! Dates and times from text: ISO first, on a path of its own; whatever else Postgres reads is [`super::datetime_words`]'s.

use super::datetime_words::{Fields, Moment, Zone};
use crate::error::{Error, ErrorKind, Result};
use crate::functions::Context;
use crate::kernels::datetime::{
    DATE_INFINITY, DATE_NEG_INFINITY, END_DATE, MICROS_PER_DAY, MICROS_PER_SECOND, MIN_DAY, TIMESTAMP_INFINITY,
    TIMESTAMP_NEG_INFINITY, days_from_civil, days_in_month, is_timestamp, local_to_utc,
};

/// Days since 1970 of a date.
pub fn parse_date(text: &str, ctx: &Context) -> Result<i32> {
    if let Some((days, rest)) = iso_date(text.as_bytes())
        && rest.is_empty()
    {
        return Ok(days as i32);
    }
    match Fields::parse(text, "date", ctx)?.resolve(text, "date", ctx)? {
        Moment::Infinity => Ok(DATE_INFINITY),
        Moment::NegInfinity => Ok(DATE_NEG_INFINITY),
        Moment::At { days: Some(days), .. } if (MIN_DAY..END_DATE).contains(&days) => Ok(days as i32),
        Moment::At { days: Some(_), .. } => Err(out_of_range("date", text)),
        Moment::At { .. } => Err(invalid("date", text)),
    }
}

/// Microseconds of a time of day; 24:00:00 is one.
pub fn parse_time(text: &str, ctx: &Context) -> Result<i64> {
    if let Some((time, rest)) = iso_time(text.as_bytes())
        && rest.is_empty()
    {
        return Ok(time);
    }
    match Fields::parse(text, "time", ctx)?.resolve(text, "time", ctx)? {
        Moment::At { time: Some(time), .. } => Ok(time),
        _ => Err(invalid("time", text)),
    }
}

/// Microseconds since 1970 of a timestamp without time zone; a zone in the text is ignored.
pub fn parse_timestamp(text: &str, ctx: &Context) -> Result<i64> {
    if let Some((days, time, rest)) = iso_timestamp(text.as_bytes())
        && rest.is_empty()
    {
        return at(days, time, "timestamp", text);
    }
    match Fields::parse(text, "timestamp", ctx)?.resolve(text, "timestamp", ctx)? {
        Moment::Infinity => Ok(TIMESTAMP_INFINITY),
        Moment::NegInfinity => Ok(TIMESTAMP_NEG_INFINITY),
        Moment::At { days: Some(days), time, .. } => at(days, time.unwrap_or(0), "timestamp", text),
        Moment::At { .. } => Err(invalid("timestamp", text)),
    }
}

/// Microseconds since 1970 in UTC; a text without a zone is local time in the session's.
pub fn parse_timestamptz(text: &str, ctx: &Context) -> Result<i64> {
    const TYPE: &str = "timestamp with time zone";
    if let Some((days, time, rest)) = iso_timestamp(text.as_bytes()) {
        if let Some(offset) = iso_offset(rest) {
            return in_range(at(days, time, "timestamp", text)? - offset * MICROS_PER_SECOND, text);
        }
        if rest.is_empty() {
            return in_range(local_to_utc(&ctx.time_zone, at(days, time, "timestamp", text)?), text);
        }
    }
    match Fields::parse(text, TYPE, ctx)?.resolve(text, TYPE, ctx)? {
        Moment::Infinity => Ok(TIMESTAMP_INFINITY),
        Moment::NegInfinity => Ok(TIMESTAMP_NEG_INFINITY),
        Moment::At { days: Some(days), time, zone } => {
            let local = at(days, time.unwrap_or(0), "timestamp", text)?;
            let utc = match zone {
                Some(Zone::Offset(seconds)) => local - seconds * MICROS_PER_SECOND,
                Some(Zone::Named(zone)) => local_to_utc(&zone, local),
                None => local_to_utc(&ctx.time_zone, local),
            };
            in_range(utc, text)
        }
        Moment::At { .. } => Err(invalid(TYPE, text)),
    }
}

fn at(days: i64, time: i64, ty: &str, text: &str) -> Result<i64> {
    days.checked_mul(MICROS_PER_DAY)
        .and_then(|v| v.checked_add(time))
        .filter(|&v| is_timestamp(v))
        .ok_or_else(|| out_of_range(ty, text))
}

fn in_range(micros: i64, text: &str) -> Result<i64> {
    if is_timestamp(micros) { Ok(micros) } else { Err(out_of_range("timestamp", text)) }
}

pub(super) fn invalid(ty: &str, text: &str) -> Error {
    Error::new(ErrorKind::InvalidDatetime, format!("invalid input syntax for type {ty}: \"{text}\""))
}

fn out_of_range(ty: &str, text: &str) -> Error {
    Error::new(ErrorKind::DatetimeOutOfRange, format!("{ty} out of range: \"{text}\""))
}

// ---- ISO ----

#[inline]
pub(super) fn digits(bytes: &[u8]) -> Option<i64> {
    let mut v = 0;
    for &b in bytes {
        if !b.is_ascii_digit() {
            return None;
        }
        v = v * 10 + i64::from(b - b'0');
    }
    Some(v)
}

/// `YYYY-MM-DD` and what follows; `None` for anything else, or a day that does not exist.
#[inline]
fn iso_date(text: &[u8]) -> Option<(i64, &[u8])> {
    if text.len() < 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..10])?);
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > i64::from(days_in_month(year, month as u32)) {
        return None;
    }
    Some((days_from_civil(year, month, day), &text[10..]))
}

/// `HH:MM[:SS[.ffffff]]` and what follows.
#[inline]
fn iso_time(text: &[u8]) -> Option<(i64, &[u8])> {
    if text.len() < 5 || text[2] != b':' {
        return None;
    }
    let (hour, minute) = (digits(&text[..2])?, digits(&text[3..5])?);
    let mut second = 0;
    let mut micros = 0;
    let mut rest = &text[5..];
    if let [b':', s, t, after @ ..] = rest {
        second = digits(&[*s, *t])?;
        rest = after;
        if let [b'.' | b',', fraction @ ..] = rest {
            let length = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            micros = fraction_micros(&fraction[..length])?;
            rest = &fraction[length..];
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros, rest))
}

/// Digits after the point, rounded to microseconds.
pub(super) fn fraction_micros(digits: &[u8]) -> Option<i64> {
    if digits.len() <= 6 {
        let mut v = self::digits(digits)?;
        for _ in digits.len()..6 {
            v *= 10;
        }
        return Some(v);
    }
    let text = std::str::from_utf8(digits).ok()?;
    let fraction: f64 = format!("0.{text}").parse().ok()?;
    Some((fraction * 1e6).round_ties_even() as i64)
}

#[inline]
fn iso_timestamp(text: &[u8]) -> Option<(i64, i64, &[u8])> {
    let (days, rest) = iso_date(text)?;
    match rest {
        [] => Some((days, 0, rest)),
        [b' ' | b'T' | b't', time @ ..] => {
            let (time, rest) = iso_time(time)?;
            Some((days, time, rest))
        }
        _ => None,
    }
}

/// `Z`, `+HH`, `+HHMM`, `+HH:MM`: seconds east of Greenwich.
#[inline]
fn iso_offset(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text {
        [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.len() {
        2 => (digits(rest)?, 0),
        4 => (digits(&rest[..2])?, digits(&rest[2..])?),
        5 if rest[2] == b':' => (digits(&rest[..2])?, digits(&rest[3..])?),
        _ => return None,
    };
    (hours <= 15 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}
