//! Moments cut to a unit: date_trunc, date_bin, time_bucket, toStartOf….
//!
//! Units up to a week have a fixed length on the wall clock: cutting is one division, in a loop without branches when the clock is UTC. Months
//! and more go through the calendar. A timestamptz is cut on the wall clock of the session's zone.

use std::ops::Range;

use arrow::datatypes::{
    Date32Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType,
};
use jiff::tz::TimeZone;
use weir_sql::Type;

use super::datetime::{constant_zone, zone_named};
use super::datetime_fields::Field;
use super::declare::{DATE, DATETIME, INT4, INTERVAL, TEXT, TIMESTAMP, TIMESTAMPTZ, function, strict};
use super::rows::{invalid_parameter, map_rows, primitive, primitive_rows, text};
use super::{Context, Datum, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cast::cast;
use crate::kernels::datetime::{
    MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil, is_infinite, local_to_utc, offset_at,
    utc_to_local,
};

type Micros = TimestampMicrosecondType;
type Intervals = IntervalMonthDayNanoType;

/// Microseconds of an hour.
pub(super) const HOUR: i64 = 3600 * MICROS_PER_SECOND;
/// Microseconds of a minute.
pub(super) const MINUTE: i64 = 60 * MICROS_PER_SECOND;

/// What a moment is cut to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// A fixed time: microseconds, counted from the given origin.
    Fixed { length: i64, origin: i64 },
    /// So many months, counted from January of the year 0.
    Months(i64),
    /// Centuries and millennia begin in a year that ends in 1.
    YearsFromOne(i64),
}

/// A fixed time, counted from 1970.
pub(super) const fn fixed(length: i64) -> Unit {
    Unit::Fixed { length, origin: 0 }
}

/// Weeks begin on a Monday; 1970-01-05 was one.
const WEEK: Unit = Unit::Fixed { length: 7 * MICROS_PER_DAY, origin: 4 * MICROS_PER_DAY };

/// Weeks that begin on a Sunday; 1970-01-04 was one.
const SUNDAY_WEEK: Unit = Unit::Fixed { length: 7 * MICROS_PER_DAY, origin: 3 * MICROS_PER_DAY };

impl Unit {
    pub(super) fn named(name: &str) -> Option<Unit> {
        Some(match name.to_ascii_lowercase().as_str() {
            "microsecond" | "microseconds" | "us" => fixed(1),
            "millisecond" | "milliseconds" | "ms" => fixed(1000),
            "second" | "seconds" | "s" | "sec" => fixed(MICROS_PER_SECOND),
            "minute" | "minutes" | "m" | "min" => fixed(MINUTE),
            "hour" | "hours" | "h" => fixed(HOUR),
            "day" | "days" | "d" => fixed(MICROS_PER_DAY),
            "week" | "weeks" | "w" => WEEK,
            "month" | "months" | "mon" => Unit::Months(1),
            "quarter" | "quarters" | "qtr" => Unit::Months(3),
            "year" | "years" | "y" => Unit::Months(12),
            "decade" | "decades" => Unit::Months(120),
            "century" | "centuries" => Unit::YearsFromOne(100),
            "millennium" | "millennia" => Unit::YearsFromOne(1000),
            _ => return None,
        })
    }

    /// The beginning of the unit that a wall-clock time is in.
    #[inline]
    fn cut(self, at: i64) -> i64 {
        match self {
            Unit::Fixed { length, origin } => at - (at - origin).rem_euclid(length),
            _ => self.begins(self.number(at)),
        }
    }

    /// The unit that a wall-clock time is in: its beginning, and the next one's.
    pub(super) fn around(self, at: i64) -> Range<i64> {
        match self {
            Unit::Fixed { length, .. } => {
                let start = self.cut(at);
                start..start.saturating_add(length)
            }
            _ => self.begins(self.number(at))..self.begins(self.number(at) + 1),
        }
    }

    /// Which one of the calendar's units a wall-clock time is in.
    fn number(self, at: i64) -> i64 {
        let (year, month, _) = civil_from_days(at.div_euclid(MICROS_PER_DAY));
        match self {
            Unit::Fixed { .. } => 0,
            Unit::Months(months) => (year * 12 + i64::from(month) - 1).div_euclid(months),
            Unit::YearsFromOne(years) => (year - 1).div_euclid(years),
        }
    }

    /// When one of the calendar's units begins.
    fn begins(self, number: i64) -> i64 {
        let days = match self {
            Unit::Fixed { .. } => 0,
            Unit::Months(months) => {
                let count = number * months;
                days_from_civil(count.div_euclid(12), count.rem_euclid(12) + 1, 1)
            }
            Unit::YearsFromOne(years) => days_from_civil(number * years + 1, 1, 1),
        };
        // The next unit may be beyond the last moment that there is.
        days.saturating_mul(MICROS_PER_DAY)
    }
}

/// A zone, unless it is UTC, where the wall clock is the moment itself.
fn shifting(zone: &TimeZone) -> Option<&TimeZone> {
    (*zone != TimeZone::UTC).then_some(zone)
}

/// Cuts a column of moments, on the wall clock of a zone if there is one.
fn cut(args: &[Datum], index: usize, rows: usize, ty: &Type, unit: Unit, zone: Option<&TimeZone>) -> Result<Datum> {
    match zone.and_then(shifting) {
        None => {
            // Events come about in the order of time: most are in the same unit as the one before.
            let mut last = 0..0;
            map_rows::<Micros, Micros>(args, index, rows, ty, |at| {
                if !last.contains(&at) {
                    if is_infinite(at) {
                        return at;
                    }
                    last = unit.around(at);
                }
                last.start
            })
        }
        // Units shorter than a day are cut on the offset that holds at the moment, so that an hour that the clock shows twice stays two.
        Some(zone) => map_rows::<Micros, Micros>(args, index, rows, ty, |at| match unit {
            _ if is_infinite(at) => at,
            Unit::Fixed { length, .. } if length < MICROS_PER_DAY => {
                let offset = i64::from(offset_at(zone, at)) * MICROS_PER_SECOND;
                unit.cut(at + offset) - offset
            }
            unit => local_to_utc(zone, unit.cut(utc_to_local(zone, at))),
        }),
    }
}

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = vec![
        function(
            &["date_trunc", "dateTrunc"],
            DATETIME,
            "A moment or interval cut to a unit, from microseconds to millennium.",
            ("date_trunc('hour', timestamp '2001-02-16 20:38:40')", "2001-02-16 20:00:00"),
            vec![
                strict([TEXT, TIMESTAMPTZ], Type::Timestamptz, |ctx, a, n, ty| {
                    truncate(a, n, ty, Some(&ctx.time_zone))
                }),
                strict([TEXT, TIMESTAMP], Type::Timestamp, |_, a, n, ty| truncate(a, n, ty, None)),
                strict([TEXT, TIMESTAMPTZ, TEXT], Type::Timestamptz, truncate_in_zone),
                strict([TEXT, INTERVAL], Type::Interval, truncate_interval),
            ],
        )
        .stable(),
        function(
            &["date_bin"],
            DATETIME,
            "The beginning of the interval of this length, counted from an origin, that a moment is in.",
            ("date_bin('15 minutes', timestamp '2020-02-11 15:44:17', timestamp '2001-01-01')", "2020-02-11 15:30:00"),
            vec![
                strict([INTERVAL, TIMESTAMP, TIMESTAMP], Type::Timestamp, |_, a, n, ty| bin(a, n, ty)),
                strict([INTERVAL, TIMESTAMPTZ, TIMESTAMPTZ], Type::Timestamptz, |_, a, n, ty| bin(a, n, ty)),
            ],
        ),
        function(
            &["time_bucket"],
            DATETIME,
            "Timescale's: the beginning of the interval of this length that a moment is in; counted from Monday 2000-01-03, or 2000-01-01 for months. A third argument is another origin, or a time zone.",
            ("time_bucket('1 hour', timestamp '2020-02-11 15:44:17')", "2020-02-11 15:00:00"),
            vec![
                strict([INTERVAL, TIMESTAMP, TIMESTAMP], Type::Timestamp, |_, a, n, ty| bucket(a, n, ty)).optional(1),
                strict([INTERVAL, TIMESTAMPTZ, TIMESTAMPTZ], Type::Timestamptz, |_, a, n, ty| bucket(a, n, ty))
                    .optional(1),
                strict([INTERVAL, TIMESTAMPTZ, TEXT], Type::Timestamptz, |_, a, n, ty| bucket_in_zone(a, n, ty)),
                strict([INTERVAL, DATE], Type::Date, |ctx, args, rows, types| {
                    let at = cast(ctx, &args[1], &Type::Date, &Type::Timestamp, false, false)?;
                    let cut = bucket(&[args[0].clone(), at], rows, &Type::Timestamp)?;
                    cast(ctx, &cut, &Type::Timestamp, types.result, true, false)
                }),
            ],
        ),
        function(
            &["toStartOfInterval"],
            DATETIME,
            "The beginning of the interval of this length that a moment is in, counted from 1970.",
            ("", ""),
            vec![
                strict([TIMESTAMPTZ, INTERVAL], Type::Timestamptz, |ctx, a, n, ty| {
                    interval_start(a, n, ty, Some(&ctx.time_zone))
                }),
                strict([TIMESTAMP, INTERVAL], Type::Timestamp, |_, a, n, ty| interval_start(a, n, ty, None)),
                strict([DATE, INTERVAL], Type::Date, |ctx, args, rows, types| {
                    let at = cast(ctx, &args[0], &Type::Date, &Type::Timestamp, false, false)?;
                    let start = interval_start(&[at, args[1].clone()], rows, &Type::Timestamp, None)?;
                    cast(ctx, &start, &Type::Timestamp, types.result, true, false)
                }),
            ],
        )
        .stable(),
    ];
    all.extend(starts());
    all
}

pub(super) fn unknown_unit(name: &str, ty: &Type) -> Error {
    invalid_parameter(format!("unit \"{name}\" not recognized for type {ty}"))
}

pub(super) fn unit_named(name: &str, ty: &Type) -> Result<Unit> {
    Unit::named(name).ok_or_else(|| match Field::named(name) {
        // A field, but none that a moment can be cut to.
        Some(_) => Error::new(
            ErrorKind::Sql(weir_sql::ErrorKind::Unsupported),
            format!("unit \"{name}\" not supported for type {ty}"),
        ),
        None => unknown_unit(name, ty),
    })
}

fn truncate(args: &[Datum], rows: usize, types: &Types<'_>, zone: Option<&TimeZone>) -> Result<Datum> {
    let names = text(args, 0)?;
    if let Some(name) = names.constant() {
        return cut(args, 1, rows, types.result, unit_named(name, types.result)?, zone);
    }
    let times = primitive::<Micros>(args, 1)?;
    primitive_rows::<Micros>(args, rows, types, |row| {
        let (unit, at) = (unit_named(names.at(row), types.result)?, times.at(row));
        Ok(Some(match zone {
            _ if is_infinite(at) => at,
            None => unit.cut(at),
            Some(zone) => local_to_utc(zone, unit.cut(utc_to_local(zone, at))),
        }))
    })
}

fn truncate_in_zone(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let zone = text(args, 2)?.constant().ok_or_else(|| invalid_parameter("the time zone must be a constant"))?;
    truncate(args, rows, types, Some(&zone_named(zone)?))
}

fn truncate_interval(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (names, spans) = (text(args, 0)?, primitive::<Intervals>(args, 1)?);
    primitive_rows::<Intervals>(args, rows, types, |row| {
        let span = spans.at(row);
        Ok(Some(match unit_named(names.at(row), &Type::Interval)? {
            Unit::Fixed { length, .. } if length < MICROS_PER_DAY => {
                let length = length * 1000;
                IntervalMonthDayNano::new(span.months, span.days, span.nanoseconds / length * length)
            }
            Unit::Fixed { length, .. } if length == MICROS_PER_DAY => {
                IntervalMonthDayNano::new(span.months, span.days, 0)
            }
            Unit::Fixed { .. } => {
                return Err(Error::new(
                    ErrorKind::Sql(weir_sql::ErrorKind::Unsupported),
                    "unit \"week\" not supported for type interval",
                )
                .with_detail("Months usually have fractional weeks."));
            }
            Unit::Months(months) => IntervalMonthDayNano::new(span.months / months as i32 * months as i32, 0, 0),
            Unit::YearsFromOne(years) => {
                let months = years as i32 * 12;
                IntervalMonthDayNano::new(span.months / months * months, 0, 0)
            }
        }))
    })
}

/// The fixed length of an interval without months; an error says what is wrong with it.
fn length_of(span: IntervalMonthDayNano) -> Result<i64> {
    let length = i64::from(span.days) * MICROS_PER_DAY + span.nanoseconds / 1000;
    if length <= 0 {
        return Err(Error::new(ErrorKind::DatetimeOutOfRange, "stride must be greater than zero"));
    }
    Ok(length)
}

fn bin(args: &[Datum], rows: usize, ty: &Type) -> Result<Datum> {
    let (spans, times, origins) =
        (primitive::<Intervals>(args, 0)?, primitive::<Micros>(args, 1)?, primitive::<Micros>(args, 2)?);
    primitive_rows::<Micros>(args, rows, ty, |row| {
        let (span, at) = (spans.at(row), times.at(row));
        if span.months != 0 {
            let message = "timestamps cannot be binned into intervals containing months or years";
            return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), message));
        }
        let unit = Unit::Fixed { length: length_of(span)?, origin: origins.at(row) };
        Ok(Some(if is_infinite(at) { at } else { unit.cut(at) }))
    })
}

/// 2000-01-03, a Monday.
const MONDAY: i64 = days_from_civil(2000, 1, 3) * MICROS_PER_DAY;

/// What time_bucket cuts to.
pub(super) fn bucket_unit(span: IntervalMonthDayNano, origin: Option<i64>) -> Result<Unit> {
    if span.months == 0 {
        return Ok(Unit::Fixed { length: length_of(span)?, origin: origin.unwrap_or(MONDAY) });
    }
    if span.days != 0 || span.nanoseconds != 0 || span.months < 0 {
        return Err(invalid_parameter("cannot mix months and smaller units in the bucket width"));
    }
    Ok(Unit::Months(span.months.into()))
}

/// time_bucket on the wall clock of a zone.
fn bucket_in_zone(args: &[Datum], rows: usize, ty: &Type) -> Result<Datum> {
    let (spans, times) = (primitive::<Intervals>(args, 0)?, primitive::<Micros>(args, 1)?);
    let zones = text(args, 2)?;
    let one = zones.constant().map(zone_named).transpose()?;
    primitive_rows::<Micros>(args, rows, ty, |row| {
        let at = times.at(row);
        if is_infinite(at) {
            return Ok(Some(at));
        }
        let zone = match &one {
            Some(zone) => zone.clone(),
            None => zone_named(zones.at(row))?,
        };
        let unit = bucket_unit(spans.at(row), None)?;
        Ok(Some(local_to_utc(&zone, unit.cut(utc_to_local(&zone, at)))))
    })
}

fn bucket(args: &[Datum], rows: usize, ty: &Type) -> Result<Datum> {
    let (spans, times) = (primitive::<Intervals>(args, 0)?, primitive::<Micros>(args, 1)?);
    let origins = if args.len() > 2 { Some(primitive::<Micros>(args, 2)?) } else { None };
    let unit = |span, row| bucket_unit(span, origins.map(|origins| origins.at(row)));
    if let (Some(span), None) = (spans.constant(), origins) {
        return cut(args, 1, rows, ty, unit(span, 0)?, None);
    }
    primitive_rows::<Micros>(args, rows, ty, |row| {
        let at = times.at(row);
        let unit = unit(spans.at(row), row)?;
        Ok(Some(if is_infinite(at) { at } else { unit.cut(at) }))
    })
}

fn interval_start(args: &[Datum], rows: usize, ty: &Type, zone: Option<&TimeZone>) -> Result<Datum> {
    let span = primitive::<Intervals>(args, 1)?.constant();
    let span = span.ok_or_else(|| invalid_parameter("the interval must be a constant"))?;
    cut(args, 0, rows, ty, interval_unit(span)?, zone)
}

/// What toStartOfInterval cuts to.
pub(super) fn interval_unit(span: IntervalMonthDayNano) -> Result<Unit> {
    Ok(match (span.months, span.days) {
        (0, 7) => WEEK,
        (0, _) => fixed(length_of(span)?),
        (months, _) => Unit::Months(months.into()),
    })
}

/// What the toStartOf… of this name cuts to.
pub(super) fn start_of(name: &str) -> Option<Unit> {
    Some(match name {
        "toStartOfSecond" => fixed(MICROS_PER_SECOND),
        "toStartOfMinute" => fixed(MINUTE),
        "toStartOfFiveMinutes" => fixed(5 * MINUTE),
        "toStartOfTenMinutes" => fixed(10 * MINUTE),
        "toStartOfFifteenMinutes" => fixed(15 * MINUTE),
        "timeSlot" => fixed(30 * MINUTE),
        "toStartOfHour" => fixed(HOUR),
        "toStartOfDay" => fixed(MICROS_PER_DAY),
        "toMonday" => WEEK,
        "toStartOfWeek" => SUNDAY_WEEK,
        "toStartOfMonth" => Unit::Months(1),
        "toStartOfQuarter" => Unit::Months(3),
        "toStartOfYear" => Unit::Months(12),
        _ => return None,
    })
}

/// ClickHouse's toStartOf…: a kernel each, since a kernel is a plain function.
fn starts() -> Vec<ScalarFunction> {
    let mut all = Vec::new();
    macro_rules! start {
        ($names:expr, $unit:expr) => {
            all.push(
                function(
                    $names,
                    DATETIME,
                    "The beginning of this unit of time; in another zone, if one is given.",
                    ("", ""),
                    vec![
                        strict([TIMESTAMPTZ], Type::Timestamptz, |ctx, a, n, ty| {
                            cut(a, 0, n, ty, $unit, Some(&ctx.time_zone))
                        }),
                        strict([TIMESTAMPTZ, TEXT], Type::Timestamptz, |_, a, n, ty| {
                            cut(a, 0, n, ty, $unit, Some(&constant_zone(a, 1)?))
                        }),
                        strict([TIMESTAMP], Type::Timestamp, |_, a, n, ty| cut(a, 0, n, ty, $unit, None)),
                    ],
                )
                .stable(),
            );
        };
    }
    start!(&["toStartOfSecond"], fixed(MICROS_PER_SECOND));
    start!(&["toStartOfMillisecond"], fixed(1000));
    start!(&["toStartOfMicrosecond", "toStartOfNanosecond"], fixed(1));
    start!(&["toStartOfMinute"], fixed(MINUTE));
    start!(&["toStartOfFiveMinutes", "toStartOfFiveMinute"], fixed(5 * MINUTE));
    start!(&["toStartOfTenMinutes"], fixed(10 * MINUTE));
    start!(&["toStartOfFifteenMinutes"], fixed(15 * MINUTE));
    start!(&["timeSlot"], fixed(30 * MINUTE));
    start!(&["toStartOfHour"], fixed(HOUR));
    start!(&["toStartOfDay"], fixed(MICROS_PER_DAY));
    macro_rules! date_start {
        ($names:expr, $unit:expr) => {
            all.push(
                function(
                    $names,
                    DATETIME,
                    "The first day of this unit of time; in another zone, if one is given.",
                    ("", ""),
                    vec![
                        strict([TIMESTAMPTZ], Type::Date, |ctx, args, rows, ty| {
                            let zone = &ctx.time_zone;
                            map_rows::<Micros, Date32Type>(args, 0, rows, ty, |at| {
                                $unit.cut(utc_to_local(zone, at)).div_euclid(MICROS_PER_DAY) as i32
                            })
                        }),
                        strict([TIMESTAMPTZ, TEXT], Type::Date, |_, args, rows, ty| {
                            let zone = constant_zone(args, 1)?;
                            map_rows::<Micros, Date32Type>(args, 0, rows, ty, |at| {
                                $unit.cut(utc_to_local(&zone, at)).div_euclid(MICROS_PER_DAY) as i32
                            })
                        }),
                        strict([TIMESTAMP], Type::Date, |_, args, rows, ty| {
                            map_rows::<Micros, Date32Type>(args, 0, rows, ty, |at| {
                                $unit.cut(at).div_euclid(MICROS_PER_DAY) as i32
                            })
                        }),
                        strict([DATE], Type::Date, |_, args, rows, ty| {
                            map_rows::<Date32Type, Date32Type>(args, 0, rows, ty, |day| {
                                $unit.cut(i64::from(day) * MICROS_PER_DAY).div_euclid(MICROS_PER_DAY) as i32
                            })
                        }),
                    ],
                )
                .stable(),
            );
        };
    }
    date_start!(&["toMonday"], WEEK);
    // ClickHouse's weeks begin on a Sunday unless it is told otherwise.
    date_start!(&["toStartOfWeek"], SUNDAY_WEEK);
    if let Some(week) = all.last_mut() {
        week.overloads.extend([
            strict([TIMESTAMPTZ, INT4], Type::Date, |ctx, args, rows, ty| {
                let at = cast(ctx, &args[0], &Type::Timestamptz, &Type::Date, true, false)?;
                week_start(&[at, args[1].clone()], rows, ty)
            }),
            strict([DATE, INT4], Type::Date, |_, args, rows, ty| week_start(args, rows, ty)),
        ]);
    }
    date_start!(&["toStartOfMonth"], Unit::Months(1));
    date_start!(&["toStartOfQuarter"], Unit::Months(3));
    date_start!(&["toStartOfYear"], Unit::Months(12));
    all
}

/// The first day of a date's week by ClickHouse's modes: odd ones have Monday first.
fn week_start(args: &[Datum], rows: usize, ty: &Type) -> Result<Datum> {
    let (days, modes) = (primitive::<Date32Type>(args, 0)?, primitive::<Int32Type>(args, 1)?);
    primitive_rows::<Date32Type>(args, rows, ty, |row| {
        let unit = if modes.at(row) % 2 == 0 { SUNDAY_WEEK } else { WEEK };
        Ok(Some(unit.cut(i64::from(days.at(row)) * MICROS_PER_DAY).div_euclid(MICROS_PER_DAY) as i32))
    })
}
