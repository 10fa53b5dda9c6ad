//! Arithmetic operators on dates, times and intervals, as Postgres has them.
//!
//! Months are added before days and days before time; a timestamptz moves on the wall clock of the session's zone. Out of range is 22008.

use arrow::datatypes::{
    Date32Type, Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use jiff::tz::TimeZone;
use weir_sql::Type;

use super::declare::{DATE, DATETIME, FLOAT8, INT4, INTERVAL, TIME, TIMESTAMP, TIMESTAMPTZ, function, strict};
use super::rows::{primitive, primitive_rows};
use super::{Context, Datum, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::datetime::{
    DATE_INFINITY, DATE_NEG_INFINITY, END_DATE, MICROS_PER_DAY, MIN_DAY, add_interval, is_infinite,
};

type Micros = TimestampMicrosecondType;
type Intervals = IntervalMonthDayNanoType;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["+", "plus"],
            DATETIME,
            "A later moment, or the sum of intervals.",
            ("date '2024-02-28' + 2", "2024-03-01"),
            additions(),
        ),
        function(
            &["-", "minus"],
            DATETIME,
            "An earlier moment, or the time between two.",
            ("date '2024-03-01' - date '2024-02-28'", "2"),
            {
                let mut all = subtractions();
                all.push(strict([INTERVAL], Type::Interval, |_, args, rows, ty| {
                    let spans = primitive::<Intervals>(args, 0)?;
                    primitive_rows::<Intervals>(args, rows, ty, |row| negative(spans.at(row)).map(Some))
                }));
                all
            },
        ),
        function(
            &["*", "multiply"],
            DATETIME,
            "An interval so many times.",
            ("interval '1 day' * 1.5", "1 day 12:00:00"),
            vec![
                strict([INTERVAL, FLOAT8], Type::Interval, |_, args, rows, ty| scaled(args, rows, ty, 0, 1, Ok)),
                strict([FLOAT8, INTERVAL], Type::Interval, |_, args, rows, ty| scaled(args, rows, ty, 1, 0, Ok)),
            ],
        ),
        function(
            &["/"],
            DATETIME,
            "A part of an interval.",
            ("interval '1 hour' / 4", "00:15:00"),
            vec![strict([INTERVAL, FLOAT8], Type::Interval, |_, args, rows, ty| {
                scaled(args, rows, ty, 0, 1, |divisor| match divisor {
                    0.0 => Err(Error::new(ErrorKind::DivisionByZero, "division by zero")),
                    divisor => Ok(1.0 / divisor),
                })
            })],
        ),
    ]
}

fn additions() -> Vec<Overload> {
    vec![
        strict([DATE, INT4], Type::Date, |_, args, rows, ty| days(args, rows, ty, 0, 1, 1)),
        strict([INT4, DATE], Type::Date, |_, args, rows, ty| days(args, rows, ty, 1, 0, 1)),
        strict([DATE, INTERVAL], Type::Timestamp, |_, args, rows, ty| date_shift(args, rows, ty, 0, 1, false)),
        strict([INTERVAL, DATE], Type::Timestamp, |_, args, rows, ty| date_shift(args, rows, ty, 1, 0, false)),
        strict([DATE, TIME], Type::Timestamp, |_, args, rows, ty| date_time(args, rows, ty, 0, 1)),
        strict([TIME, DATE], Type::Timestamp, |_, args, rows, ty| date_time(args, rows, ty, 1, 0)),
        strict([TIMESTAMP, INTERVAL], Type::Timestamp, |ctx, args, rows, ty| shift(ctx, args, rows, ty, 0, 1, false)),
        strict([INTERVAL, TIMESTAMP], Type::Timestamp, |ctx, args, rows, ty| shift(ctx, args, rows, ty, 1, 0, false)),
        strict([TIMESTAMPTZ, INTERVAL], Type::Timestamptz, |ctx, args, rows, ty| {
            shift(ctx, args, rows, ty, 0, 1, false)
        }),
        strict([INTERVAL, TIMESTAMPTZ], Type::Timestamptz, |ctx, args, rows, ty| {
            shift(ctx, args, rows, ty, 1, 0, false)
        }),
        strict([TIME, INTERVAL], Type::Time, |_, args, rows, ty| clock(args, rows, ty, 0, 1, 1)),
        strict([INTERVAL, TIME], Type::Time, |_, args, rows, ty| clock(args, rows, ty, 1, 0, 1)),
        strict([INTERVAL, INTERVAL], Type::Interval, |_, args, rows, ty| spans(args, rows, ty, false)),
    ]
}

fn subtractions() -> Vec<Overload> {
    vec![
        strict([DATE, INT4], Type::Date, |_, args, rows, ty| days(args, rows, ty, 0, 1, -1)),
        strict([DATE, DATE], Type::Int4, date_difference),
        strict([DATE, INTERVAL], Type::Timestamp, |_, args, rows, ty| date_shift(args, rows, ty, 0, 1, true)),
        strict([TIMESTAMP, INTERVAL], Type::Timestamp, |ctx, args, rows, ty| shift(ctx, args, rows, ty, 0, 1, true)),
        strict([TIMESTAMPTZ, INTERVAL], Type::Timestamptz, |ctx, args, rows, ty| {
            shift(ctx, args, rows, ty, 0, 1, true)
        }),
        strict([TIMESTAMP, TIMESTAMP], Type::Interval, difference),
        strict([TIMESTAMPTZ, TIMESTAMPTZ], Type::Interval, difference),
        strict([TIME, INTERVAL], Type::Time, |_, args, rows, ty| clock(args, rows, ty, 0, 1, -1)),
        strict([TIME, TIME], Type::Interval, |_, args, rows, ty| {
            let (a, b) = (primitive::<Time64MicrosecondType>(args, 0)?, primitive::<Time64MicrosecondType>(args, 1)?);
            primitive_rows::<Intervals>(args, rows, ty, |row| {
                Ok(Some(IntervalMonthDayNano::new(0, 0, (a.at(row) - b.at(row)) * 1000)))
            })
        }),
        strict([INTERVAL, INTERVAL], Type::Interval, |_, args, rows, ty| spans(args, rows, ty, true)),
    ]
}

fn interval_range() -> Error {
    Error::new(ErrorKind::DatetimeOutOfRange, "interval out of range")
}

fn negative(span: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let parts = (span.months.checked_neg(), span.days.checked_neg(), span.nanoseconds.checked_neg());
    match parts {
        (Some(months), Some(days), Some(nanos)) => Ok(IntervalMonthDayNano::new(months, days, nanos)),
        _ => Err(interval_range()),
    }
}

/// The moment one interval before, of a timestamptz on the wall clock of `zone`.
pub(crate) fn earlier(moment: i64, span: IntervalMonthDayNano, zone: Option<&TimeZone>) -> Result<i64> {
    add_interval(moment, negative(span)?, zone)
}

fn days(args: &[Datum], rows: usize, ty: &Type, date: usize, count: usize, sign: i64) -> Result<Datum> {
    let (dates, counts) = (primitive::<Date32Type>(args, date)?, primitive::<Int32Type>(args, count)?);
    primitive_rows::<Date32Type>(args, rows, ty, |row| {
        let date = dates.at(row);
        if matches!(date, DATE_INFINITY | DATE_NEG_INFINITY) {
            return Ok(Some(date));
        }
        let moved = i64::from(date) + sign * i64::from(counts.at(row));
        match (MIN_DAY..END_DATE).contains(&moved) {
            true => Ok(Some(moved as i32)),
            false => Err(Error::new(ErrorKind::DatetimeOutOfRange, "date out of range")),
        }
    })
}

/// The midnight of a date; infinities are those of timestamps.
fn midnight(date: i32) -> i64 {
    match date {
        DATE_INFINITY => i64::MAX,
        DATE_NEG_INFINITY => i64::MIN,
        date => i64::from(date) * MICROS_PER_DAY,
    }
}

fn date_shift(args: &[Datum], rows: usize, ty: &Type, date: usize, span: usize, back: bool) -> Result<Datum> {
    let (dates, spans) = (primitive::<Date32Type>(args, date)?, primitive::<Intervals>(args, span)?);
    primitive_rows::<Micros>(args, rows, ty, |row| {
        let shifted = if back { earlier } else { add_interval };
        shifted(midnight(dates.at(row)), spans.at(row), None).map(Some)
    })
}

fn date_time(args: &[Datum], rows: usize, ty: &Type, date: usize, time: usize) -> Result<Datum> {
    let (dates, times) = (primitive::<Date32Type>(args, date)?, primitive::<Time64MicrosecondType>(args, time)?);
    primitive_rows::<Micros>(args, rows, ty, |row| {
        let day = midnight(dates.at(row));
        Ok(Some(if is_infinite(day) { day } else { day + times.at(row) }))
    })
}

fn shift(
    context: &Context,
    args: &[Datum],
    rows: usize,
    ty: &Types<'_>,
    moment: usize,
    span: usize,
    back: bool,
) -> Result<Datum> {
    let (moments, spans) = (primitive::<Micros>(args, moment)?, primitive::<Intervals>(args, span)?);
    let zone = (*ty.result == Type::Timestamptz).then_some(&context.time_zone);
    primitive_rows::<Micros>(args, rows, ty, |row| {
        let shifted = if back { earlier } else { add_interval };
        shifted(moments.at(row), spans.at(row), zone).map(Some)
    })
}

fn clock(args: &[Datum], rows: usize, ty: &Type, time: usize, span: usize, sign: i64) -> Result<Datum> {
    let (times, spans) = (primitive::<Time64MicrosecondType>(args, time)?, primitive::<Intervals>(args, span)?);
    primitive_rows::<Time64MicrosecondType>(args, rows, ty, |row| {
        let moved = times.at(row) + sign * (spans.at(row).nanoseconds / 1000 % MICROS_PER_DAY);
        Ok(Some(moved.rem_euclid(MICROS_PER_DAY)))
    })
}

fn date_difference(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (a, b) = (primitive::<Date32Type>(args, 0)?, primitive::<Date32Type>(args, 1)?);
    primitive_rows::<Int32Type>(args, rows, ty, |row| {
        let infinite = |date| matches!(date, DATE_INFINITY | DATE_NEG_INFINITY);
        let (a, b) = (a.at(row), b.at(row));
        match a.checked_sub(b) {
            Some(days) if !infinite(a) && !infinite(b) => Ok(Some(days)),
            _ => Err(Error::new(ErrorKind::DatetimeOutOfRange, "cannot subtract infinite dates")),
        }
    })
}

/// Whole days and the time that is left.
fn difference(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (a, b) = (primitive::<Micros>(args, 0)?, primitive::<Micros>(args, 1)?);
    primitive_rows::<Intervals>(args, rows, ty, |row| {
        let (a, b) = (a.at(row), b.at(row));
        if is_infinite(a) || is_infinite(b) {
            return Err(Error::new(ErrorKind::DatetimeOutOfRange, "cannot subtract infinite timestamps"));
        }
        let micros = a.checked_sub(b).ok_or_else(interval_range)?;
        let days = i32::try_from(micros / MICROS_PER_DAY).map_err(|_| interval_range())?;
        Ok(Some(IntervalMonthDayNano::new(0, days, micros % MICROS_PER_DAY * 1000)))
    })
}

fn spans(args: &[Datum], rows: usize, ty: &Type, minus: bool) -> Result<Datum> {
    let (a, b) = (primitive::<Intervals>(args, 0)?, primitive::<Intervals>(args, 1)?);
    primitive_rows::<Intervals>(args, rows, ty, |row| {
        let (a, b) = (a.at(row), b.at(row));
        let b = if minus { negative(b)? } else { b };
        let months = a.months.checked_add(b.months).ok_or_else(interval_range)?;
        let days = a.days.checked_add(b.days).ok_or_else(interval_range)?;
        let nanos = a.nanoseconds.checked_add(b.nanoseconds).ok_or_else(interval_range)?;
        Ok(Some(IntervalMonthDayNano::new(months, days, nanos)))
    })
}

/// An interval times a number: what is left of a month becomes days of which it has 30, what is left of a day becomes time, as in
/// Postgres's interval_mul.
fn scaled(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    span: usize,
    number: usize,
    factor: fn(f64) -> Result<f64>,
) -> Result<Datum> {
    let (spans, numbers) = (primitive::<Intervals>(args, span)?, primitive::<Float64Type>(args, number)?);
    primitive_rows::<Intervals>(args, rows, ty, |row| times(spans.at(row), factor(numbers.at(row))?).map(Some))
}

fn times(span: IntervalMonthDayNano, factor: f64) -> Result<IntervalMonthDayNano> {
    const SECONDS_PER_DAY: f64 = 86_400.0;
    let whole = |value: f64| -> Result<i32> {
        match value.is_finite() && value >= f64::from(i32::MIN) && value <= f64::from(i32::MAX) {
            true => Ok(value as i32),
            false => Err(interval_range()),
        }
    };
    // Rounded to a microsecond, so that 0.1 days does not leave a remainder of noise.
    let tidy = |value: f64| (value * 1e6).round() / 1e6;
    let (months, days) = (f64::from(span.months) * factor, f64::from(span.days) * factor);
    let (whole_months, whole_days) = (whole(months)?, whole(days)?);
    let month_days = tidy((months - f64::from(whole_months)) * 30.0);
    let mut seconds = tidy((days - f64::from(whole_days) + month_days - month_days.trunc()) * SECONDS_PER_DAY);
    let mut extra_days = month_days.trunc();
    if seconds.abs() >= SECONDS_PER_DAY {
        extra_days += (seconds / SECONDS_PER_DAY).trunc();
        seconds -= (seconds / SECONDS_PER_DAY).trunc() * SECONDS_PER_DAY;
    }
    let micros = (span.nanoseconds / 1000) as f64 * factor + seconds * 1e6;
    let micros = micros.round_ties_even();
    if !micros.is_finite() || micros.abs() >= 9.2e15 {
        return Err(interval_range());
    }
    let days = whole_days.checked_add(whole(extra_days)?).ok_or_else(interval_range)?;
    Ok(IntervalMonthDayNano::new(whole_months, days, micros as i64 * 1000))
}
