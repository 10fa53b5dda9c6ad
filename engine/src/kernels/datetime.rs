//! The calendar and the clock: days and microseconds since 1970 to and from their fields, and local time to and from UTC.
//!
//! The proleptic Gregorian calendar over all years that Postgres has (4714 BC to 5874897 AD), with year 0 for 1 BC. Time zones come from
//! `jiff`, whose years end at ±9999; beyond them a zone keeps the offset it has there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Date32Type, IntervalMonthDayNano, TimestampMicrosecondType};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use weir_sql::{Type, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::functions::Datum;

/// Microseconds of a second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds of a day without daylight saving.
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// `date 'infinity'`.
pub const DATE_INFINITY: i32 = i32::MAX;
/// `date '-infinity'`.
pub const DATE_NEG_INFINITY: i32 = i32::MIN;
/// `timestamp 'infinity'`.
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
/// `timestamp '-infinity'`.
pub const TIMESTAMP_NEG_INFINITY: i64 = i64::MIN;

/// The first day that date and timestamp have: 4714-11-24 BC.
pub const MIN_DAY: i64 = days_from_civil(-4713, 11, 24);
/// The day after the last date: 5874898-01-01.
pub const END_DATE: i64 = days_from_civil(5_874_898, 1, 1);
/// The first timestamp.
pub const MIN_TIMESTAMP: i64 = MIN_DAY * MICROS_PER_DAY;
/// The end of timestamps, in January 294247 (Postgres's, which counts from 2000, come 30 years further): 'infinity' itself.
pub const END_TIMESTAMP: i64 = TIMESTAMP_INFINITY;

/// Whether microseconds are a finite timestamp.
pub fn is_timestamp(micros: i64) -> bool {
    (MIN_TIMESTAMP..END_TIMESTAMP).contains(&micros)
}

/// Whether it is 'infinity' or '-infinity'.
#[inline]
pub fn is_infinite(micros: i64) -> bool {
    micros == TIMESTAMP_INFINITY || micros == TIMESTAMP_NEG_INFINITY
}

/// Days since 1970-01-01 of a date; the year 0 is 1 BC. Days past the month's end run on into the next.
pub const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year (0 is 1 BC), month and day of days since 1970-01-01.
#[inline]
pub const fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month as u32, day as u32)
}

/// Days in a month.
pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 and microseconds of the day.
#[inline]
pub fn split_micros(micros: i64) -> (i64, i64) {
    (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY))
}

/// A timestamp moved by whole months, its day kept within the month; `None` out of range. Infinite ones stay.
pub fn add_months(micros: i64, months: i64) -> Option<i64> {
    if months == 0 || is_infinite(micros) {
        return Some(micros);
    }
    let (days, time) = split_micros(micros);
    let (year, month, day) = civil_from_days(days);
    let total = year * 12 + i64::from(month) - 1 + months;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) as u32 + 1);
    let day = day.min(days_in_month(year, month));
    let days = days_from_civil(year, i64::from(month), i64::from(day));
    days.checked_mul(MICROS_PER_DAY)?.checked_add(time).filter(|&v| is_timestamp(v))
}

/// The zone's offset from UTC, in seconds, at a UTC time.
pub fn offset_at(zone: &TimeZone, micros: i64) -> i32 {
    if let Ok(offset) = zone.to_fixed_offset() {
        return offset.seconds();
    }
    let second = micros.div_euclid(MICROS_PER_SECOND).clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    match Timestamp::from_second(second) {
        Ok(at) => zone.to_offset(at).seconds(),
        Err(_) => 0,
    }
}

/// Local clock time of a UTC time. Infinite times stay.
#[inline]
pub fn utc_to_local(zone: &TimeZone, micros: i64) -> i64 {
    if is_infinite(micros) {
        return micros;
    }
    micros.saturating_add(i64::from(offset_at(zone, micros)) * MICROS_PER_SECOND)
}

/// UTC of a local clock time. A time that occurs twice is the second; a time that the clock leaps over is taken with the offset before, as
/// Postgres does. Infinite times stay.
pub fn local_to_utc(zone: &TimeZone, micros: i64) -> i64 {
    if is_infinite(micros) {
        return micros;
    }
    micros.saturating_sub(i64::from(local_offset(zone, micros)) * MICROS_PER_SECOND)
}

/// The offset, in seconds, that a local clock time has.
pub fn local_offset(zone: &TimeZone, micros: i64) -> i32 {
    if let Ok(offset) = zone.to_fixed_offset() {
        return offset.seconds();
    }
    let second = micros.div_euclid(MICROS_PER_SECOND).clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    let Ok(at) = Timestamp::from_second(second) else { return 0 };
    let local: DateTime = Offset::UTC.to_datetime(at);
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.seconds(),
        AmbiguousOffset::Gap { before, .. } => before.seconds(),
        AmbiguousOffset::Fold { after, .. } => after.seconds(),
    }
}

/// Midnight of a date in microseconds; infinite dates become infinite timestamps. Dates past the end of timestamps become infinite too:
/// whoever must refuse them checks [`is_timestamp`] first.
#[inline]
pub fn date_to_micros(days: i32) -> i64 {
    match days {
        DATE_INFINITY => TIMESTAMP_INFINITY,
        DATE_NEG_INFINITY => TIMESTAMP_NEG_INFINITY,
        days => i64::from(days).checked_mul(MICROS_PER_DAY).unwrap_or(TIMESTAMP_INFINITY),
    }
}

/// Dates and timestamps as bigint microseconds since the epoch, so that they compare with each other. With a zone, dates and timestamps
/// without one are local times in it, and the result is UTC.
pub(crate) fn as_micros(datum: &Datum, zone: Option<&TimeZone>) -> Datum {
    let array = datum.array();
    let (values, local): (Vec<i64>, bool) = match array.data_type() {
        DataType::Date32 => {
            (array.as_primitive::<Date32Type>().values().iter().map(|&d| date_to_micros(d)).collect(), true)
        }
        other => (
            array.as_primitive::<TimestampMicrosecondType>().values().to_vec(),
            matches!(other, DataType::Timestamp(_, None)),
        ),
    };
    let values = match zone {
        Some(zone) if local => values.into_iter().map(|v| local_to_utc(zone, v)).collect(),
        _ => values,
    };
    let result: ArrayRef = Arc::new(Int64Array::new(values.into(), array.nulls().cloned()));
    match datum {
        Datum::Array(_) => Datum::Array(result),
        Datum::Scalar(_) => Datum::Scalar(Value::new(Type::Int8, result)),
    }
}

/// A timestamp plus an interval, as Postgres adds them: months first (the day cut to the month's last), then days, both on the wall clock of
/// `zone` for a timestamptz, then the time. Infinities stay. Error 22008 out of range.
pub fn add_interval(micros: i64, interval: IntervalMonthDayNano, zone: Option<&TimeZone>) -> Result<i64> {
    if is_infinite(micros) {
        return Ok(micros);
    }
    let out_of_range = || Error::new(ErrorKind::DatetimeOutOfRange, "timestamp out of range");
    let mut at = micros;
    if interval.months != 0 || interval.days != 0 {
        let mut local = zone.map_or(at, |zone| utc_to_local(zone, at));
        if interval.months != 0 {
            local = add_months(local, interval.months.into()).ok_or_else(out_of_range)?;
        }
        local = i64::from(interval.days)
            .checked_mul(MICROS_PER_DAY)
            .and_then(|days| local.checked_add(days))
            .ok_or_else(out_of_range)?;
        if !is_timestamp(local) {
            return Err(out_of_range());
        }
        at = zone.map_or(local, |zone| local_to_utc(zone, local));
    }
    let at = at.checked_add(interval.nanoseconds / 1000).ok_or_else(out_of_range)?;
    if is_timestamp(at) { Ok(at) } else { Err(out_of_range()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree() {
        for days in (-2_500_000..2_500_000).step_by(997).chain([MIN_DAY, END_DATE - 1, 0, -1]) {
            let (y, m, d) = civil_from_days(days);
            assert_eq!(days_from_civil(y, i64::from(m), i64::from(d)), days);
            assert!(d >= 1 && d <= days_in_month(y, m), "{y}-{m}-{d}");
        }
        assert_eq!(civil_from_days(11_016), (2000, 2, 29));
    }

    #[test]
    fn local_times_at_clock_changes_are_those_of_postgres() {
        let zone = TimeZone::get("America/New_York").expect("the zone is built in");
        let at = |day: i64, hour: i64, minute: i64| (day * 86_400 + hour * 3600 + minute * 60) * MICROS_PER_SECOND;
        let spring = days_from_civil(2024, 3, 10);
        // 02:30 does not exist: it is 03:30 EDT, 07:30 UTC.
        assert_eq!(local_to_utc(&zone, at(spring, 2, 30)), at(spring, 7, 30));
        let autumn = days_from_civil(2024, 11, 3);
        // 01:30 occurs twice: the second is EST, 06:30 UTC.
        assert_eq!(local_to_utc(&zone, at(autumn, 1, 30)), at(autumn, 6, 30));
        assert_eq!(utc_to_local(&zone, at(autumn, 6, 30)), at(autumn, 1, 30));
    }
}
