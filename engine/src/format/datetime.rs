//! Dates and times as ISO text: `2024-01-31`, `04:05:06.789`, `2024-01-31 04:05:06+00`, years before 1 with ` BC`.

use jiff::tz::TimeZone;

use super::integer::write_padded;
use crate::kernels::datetime::{
    DATE_INFINITY, DATE_NEG_INFINITY, MICROS_PER_SECOND, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, civil_from_days,
    offset_at, split_micros,
};

pub use super::datetime_parse::{parse_date, parse_time, parse_timestamp, parse_timestamptz};
pub(crate) use super::datetime_words::zone_abbreviation;

#[inline]
fn write_two(v: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + (v / 10) as u8, b'0' + (v % 10) as u8]);
}

/// Appends year, month, day; gives whether " BC" must follow.
fn write_day(days: i64, out: &mut Vec<u8>) -> bool {
    let (year, month, day) = civil_from_days(days);
    let bc = year <= 0;
    write_padded(if bc { 1 - year } else { year } as u64, 4, out);
    out.push(b'-');
    write_two(month, out);
    out.push(b'-');
    write_two(day, out);
    bc
}

/// Appends a date.
pub fn write_date(days: i32, out: &mut Vec<u8>) {
    match days {
        DATE_INFINITY => out.extend_from_slice(b"infinity"),
        DATE_NEG_INFINITY => out.extend_from_slice(b"-infinity"),
        days => {
            if write_day(i64::from(days), out) {
                out.extend_from_slice(b" BC");
            }
        }
    }
}

/// Appends a time of day: fractions without trailing zeros.
pub fn write_time(micros: i64, out: &mut Vec<u8>) {
    let seconds = micros / MICROS_PER_SECOND;
    write_two((seconds / 3600) as u32, out);
    out.push(b':');
    write_two((seconds / 60 % 60) as u32, out);
    out.push(b':');
    write_two((seconds % 60) as u32, out);
    write_fraction((micros % MICROS_PER_SECOND) as u32, out);
}

/// Appends `.789` for microseconds of a second; nothing for zero.
pub(crate) fn write_fraction(micros: u32, out: &mut Vec<u8>) {
    if micros == 0 {
        return;
    }
    out.push(b'.');
    write_padded(u64::from(micros), 6, out);
    while out.last() == Some(&b'0') {
        out.pop();
    }
}

fn write_infinite(micros: i64, out: &mut Vec<u8>) -> bool {
    match micros {
        TIMESTAMP_INFINITY => out.extend_from_slice(b"infinity"),
        TIMESTAMP_NEG_INFINITY => out.extend_from_slice(b"-infinity"),
        _ => return false,
    }
    true
}

/// Appends a timestamp; `separator` is a space, or `T` in JSON.
pub fn write_timestamp(micros: i64, separator: u8, out: &mut Vec<u8>) {
    if write_infinite(micros, out) {
        return;
    }
    let (days, time) = split_micros(micros);
    let bc = write_day(days, out);
    out.push(separator);
    write_time(time, out);
    if bc {
        out.extend_from_slice(b" BC");
    }
}

/// Appends a UTC time as local time with its offset; `full` writes the offset's minutes even if they are zero, as JSON wants it.
pub fn write_timestamptz(micros: i64, zone: &TimeZone, separator: u8, full: bool, out: &mut Vec<u8>) {
    if write_infinite(micros, out) {
        return;
    }
    let offset = offset_at(zone, micros);
    let (days, time) = split_micros(micros.saturating_add(i64::from(offset) * MICROS_PER_SECOND));
    let bc = write_day(days, out);
    out.push(separator);
    write_time(time, out);
    write_offset(offset, full, out);
    if bc {
        out.extend_from_slice(b" BC");
    }
}

/// Appends `+02`, `-03:30`.
pub fn write_offset(seconds: i32, full: bool, out: &mut Vec<u8>) {
    out.push(if seconds < 0 { b'-' } else { b'+' });
    let seconds = seconds.unsigned_abs();
    write_two(seconds / 3600, out);
    if full || !seconds.is_multiple_of(3600) {
        out.push(b':');
        write_two(seconds / 60 % 60, out);
    }
    if !seconds.is_multiple_of(60) {
        out.push(b':');
        write_two(seconds % 60, out);
    }
}
