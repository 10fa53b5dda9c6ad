//! Moments cut to a unit, and their fields: date_trunc, date_bin, time_bucket, toStartOf…, extract, date_part, toYYYYMM….
//!
//! Units up to a week have a fixed length on the wall clock: cutting is one division, in a loop without branches when the clock is UTC. Months
//! and more go through the calendar. A timestamptz is cut on the wall clock of the session's zone.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{
    Date32Type, Float64Type, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use jiff::tz::TimeZone;
use weir_sql::Type;
use weir_sql::catalog::Returns;

use super::datetime::zone_named;
use super::declare::{DATE, DATETIME, INTERVAL, TEXT, TIME, TIMESTAMP, TIMESTAMPTZ, function, strict};
use super::rows::{invalid_parameter, map_rows, primitive, primitive_rows, text};
use super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cast::cast;
use crate::kernels::datetime::{
    MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil, is_infinite, local_to_utc, offset_at,
    utc_to_local,
};
use crate::kernels::numeric::{self, Numeric};

type Micros = TimestampMicrosecondType;
type Intervals = IntervalMonthDayNanoType;

const HOUR: i64 = 3600 * MICROS_PER_SECOND;
const MINUTE: i64 = 60 * MICROS_PER_SECOND;

/// What a moment is cut to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// A fixed time: microseconds, counted from the given origin.
    Fixed { length: i64, origin: i64 },
    /// So many months, counted from January of the year 0.
    Months(i64),
    /// Centuries and millennia begin in a year that ends in 1.
    YearsFromOne(i64),
}

const fn fixed(length: i64) -> Unit {
    Unit::Fixed { length, origin: 0 }
}

/// Weeks begin on a Monday; 1970-01-05 was one.
const WEEK: Unit = Unit::Fixed { length: 7 * MICROS_PER_DAY, origin: 4 * MICROS_PER_DAY };

impl Unit {
    fn named(name: &str) -> Option<Unit> {
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
            Unit::Months(months) => {
                let (year, month, _) = civil_from_days(at.div_euclid(MICROS_PER_DAY));
                let count = (year * 12 + i64::from(month) - 1).div_euclid(months) * months;
                days_from_civil(count.div_euclid(12), count.rem_euclid(12) + 1, 1) * MICROS_PER_DAY
            }
            Unit::YearsFromOne(years) => {
                let (year, ..) = civil_from_days(at.div_euclid(MICROS_PER_DAY));
                days_from_civil((year - 1).div_euclid(years) * years + 1, 1, 1) * MICROS_PER_DAY
            }
        }
    }
}

/// A zone, unless it is UTC, where the wall clock is the moment itself.
fn shifting(zone: &TimeZone) -> Option<&TimeZone> {
    (*zone != TimeZone::UTC).then_some(zone)
}

/// Cuts a column of moments, on the wall clock of a zone if there is one.
fn cut(args: &[Datum], index: usize, rows: usize, ty: &Type, unit: Unit, zone: Option<&TimeZone>) -> Result<Datum> {
    match zone.and_then(shifting) {
        None => map_rows::<Micros, Micros>(args, index, rows, ty, |at| if is_infinite(at) { at } else { unit.cut(at) }),
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
            "Timescale's: the beginning of the interval of this length that a moment is in; counted from Monday 2000-01-03, or 2000-01-01 for months.",
            ("time_bucket('1 hour', timestamp '2020-02-11 15:44:17')", "2020-02-11 15:00:00"),
            vec![
                strict([INTERVAL, TIMESTAMP, TIMESTAMP], Type::Timestamp, |_, a, n, ty| bucket(a, n, ty)).optional(1),
                strict([INTERVAL, TIMESTAMPTZ, TIMESTAMPTZ], Type::Timestamptz, |_, a, n, ty| bucket(a, n, ty))
                    .optional(1),
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
            ],
        )
        .stable(),
    ];
    all.extend(starts());
    all.extend(fields());
    all
}

fn unknown_unit(name: &str, ty: &Type) -> Error {
    invalid_parameter(format!("unit \"{name}\" not recognized for type {ty}"))
}

fn unit_named(name: &str, ty: &Type) -> Result<Unit> {
    Unit::named(name).ok_or_else(|| unknown_unit(name, ty))
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

fn bucket(args: &[Datum], rows: usize, ty: &Type) -> Result<Datum> {
    /// 2000-01-03, a Monday.
    const MONDAY: i64 = days_from_civil(2000, 1, 3) * MICROS_PER_DAY;
    let (spans, times) = (primitive::<Intervals>(args, 0)?, primitive::<Micros>(args, 1)?);
    let origins = if args.len() > 2 { Some(primitive::<Micros>(args, 2)?) } else { None };
    let unit = |span: IntervalMonthDayNano, row: usize| -> Result<Unit> {
        if span.months == 0 {
            return Ok(Unit::Fixed { length: length_of(span)?, origin: origins.map_or(MONDAY, |o| o.at(row)) });
        }
        if span.days != 0 || span.nanoseconds != 0 || span.months < 0 {
            return Err(invalid_parameter("cannot mix months and smaller units in the bucket width"));
        }
        Ok(Unit::Months(span.months.into()))
    };
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
    let unit = match (span.months, span.days) {
        (0, 7) => WEEK,
        (0, _) => fixed(length_of(span)?),
        (months, _) => Unit::Months(months.into()),
    };
    cut(args, 0, rows, ty, unit, zone)
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
                    "The beginning of this unit of time.",
                    ("", ""),
                    vec![
                        strict([TIMESTAMPTZ], Type::Timestamptz, |ctx, a, n, ty| {
                            cut(a, 0, n, ty, $unit, Some(&ctx.time_zone))
                        }),
                        strict([TIMESTAMP], Type::Timestamp, |_, a, n, ty| cut(a, 0, n, ty, $unit, None)),
                    ],
                )
                .stable(),
            );
        };
    }
    start!(&["toStartOfSecond"], fixed(MICROS_PER_SECOND));
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
                    "The first day of this unit of time.",
                    ("", ""),
                    vec![
                        strict([TIMESTAMPTZ], Type::Date, |ctx, args, rows, ty| {
                            let zone = &ctx.time_zone;
                            map_rows::<Micros, Date32Type>(args, 0, rows, ty, |at| {
                                $unit.cut(utc_to_local(zone, at)).div_euclid(MICROS_PER_DAY) as i32
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
    date_start!(&["toStartOfWeek", "toMonday"], WEEK);
    date_start!(&["toStartOfMonth"], Unit::Months(1));
    date_start!(&["toStartOfQuarter"], Unit::Months(3));
    date_start!(&["toStartOfYear"], Unit::Months(12));
    all
}

/// A field of a moment or interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Epoch,
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Dow,
    IsoDow,
    Doy,
    Week,
    IsoYear,
    Julian,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

impl Field {
    fn named(name: &str) -> Option<Field> {
        Some(match name.to_ascii_lowercase().as_str() {
            "epoch" => Field::Epoch,
            "microseconds" | "microsecond" | "us" => Field::Microseconds,
            "milliseconds" | "millisecond" | "ms" => Field::Milliseconds,
            "second" | "seconds" | "s" | "sec" => Field::Second,
            "minute" | "minutes" | "m" | "min" => Field::Minute,
            "hour" | "hours" | "h" => Field::Hour,
            "day" | "days" | "d" => Field::Day,
            "month" | "months" | "mon" => Field::Month,
            "quarter" | "quarters" | "qtr" => Field::Quarter,
            "year" | "years" | "y" => Field::Year,
            "decade" | "decades" => Field::Decade,
            "century" | "centuries" => Field::Century,
            "millennium" | "millennia" => Field::Millennium,
            "dow" => Field::Dow,
            "isodow" => Field::IsoDow,
            "doy" => Field::Doy,
            "week" | "weeks" | "w" => Field::Week,
            "isoyear" => Field::IsoYear,
            "julian" => Field::Julian,
            "timezone" => Field::Timezone,
            "timezone_hour" => Field::TimezoneHour,
            "timezone_minute" => Field::TimezoneMinute,
            _ => return None,
        })
    }
}

/// A field's value: `unscaled * 10^-scale`, as extract shows it.
#[derive(Debug, Clone, Copy)]
struct Extracted {
    unscaled: i64,
    scale: u8,
}

impl Extracted {
    fn numeric(self) -> Numeric {
        Numeric::finite(self.unscaled.into(), self.scale.into())
    }

    fn float(self) -> f64 {
        self.unscaled as f64 / 10_f64.powi(self.scale.into())
    }
}

const fn whole(unscaled: i64) -> Extracted {
    Extracted { unscaled, scale: 0 }
}

const fn micro(unscaled: i64) -> Extracted {
    Extracted { unscaled, scale: 6 }
}

/// Years as Postgres counts them in fields: there is no year 0.
fn shown_year(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

/// ISO 8601's year and week.
fn iso_week(days: i64) -> (i64, i64) {
    // The Thursday of the same week decides.
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (year, ..) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

fn of_clock(field: Field, time: i64) -> Option<Extracted> {
    Some(match field {
        Field::Microseconds => whole(time % MINUTE),
        Field::Milliseconds => Extracted { unscaled: time % MINUTE, scale: 3 },
        Field::Second => micro(time % MINUTE),
        Field::Minute => whole(time / MINUTE % 60),
        Field::Hour => whole(time / HOUR),
        _ => return None,
    })
}

fn of_date(field: Field, days: i64) -> Option<Extracted> {
    let (year, month, day) = civil_from_days(days);
    let month = i64::from(month);
    Some(whole(match field {
        Field::Day => day.into(),
        Field::Month => month,
        Field::Quarter => (month - 1) / 3 + 1,
        Field::Year => shown_year(year),
        Field::Decade => year.div_euclid(10),
        Field::Century if year > 0 => (year + 99) / 100,
        Field::Century => -((99 - (year - 1)) / 100),
        Field::Millennium if year > 0 => (year + 999) / 1000,
        Field::Millennium => -((999 - (year - 1)) / 1000),
        Field::Dow => (days + 4).rem_euclid(7),
        Field::IsoDow => (days + 3).rem_euclid(7) + 1,
        Field::Doy => days - days_from_civil(year, 1, 1) + 1,
        Field::Week => iso_week(days).1,
        Field::IsoYear => shown_year(iso_week(days).0),
        Field::Julian => days + 2_440_588,
        _ => return None,
    }))
}

/// A field of a moment, on a wall clock whose offset from UTC is given in seconds for a timestamptz.
fn of_moment(field: Field, local: i64, offset: Option<i32>) -> Option<Extracted> {
    let (days, time) = (local.div_euclid(MICROS_PER_DAY), local.rem_euclid(MICROS_PER_DAY));
    let seconds = i64::from(offset.unwrap_or(0));
    match field {
        Field::Epoch => Some(micro(local - seconds * MICROS_PER_SECOND)),
        Field::Julian if time != 0 => {
            let whole_days = i128::from(days + 2_440_588) * 1_000_000_000_000;
            let part = i128::from(time) * 1_000_000_000_000 / i128::from(MICROS_PER_DAY);
            i64::try_from((whole_days + part) / 1_000_000).ok().map(micro)
        }
        Field::Timezone | Field::TimezoneHour | Field::TimezoneMinute => offset.map(|_| match field {
            Field::Timezone => whole(seconds),
            Field::TimezoneHour => whole(seconds / 3600),
            _ => whole(seconds / 60 % 60),
        }),
        field => of_clock(field, time).or_else(|| of_date(field, days)),
    }
}

fn of_interval(field: Field, span: IntervalMonthDayNano) -> Option<Extracted> {
    let (months, micros) = (i64::from(span.months), span.nanoseconds / 1000);
    Some(match field {
        Field::Epoch => {
            // A year has 365.25 days and a month 30, as Postgres counts them.
            let days = i64::from(span.days) + months % 12 * 30;
            let years = months / 12 * (365 * 4 + 1) * (MICROS_PER_DAY / 4);
            micro(years + days * MICROS_PER_DAY + micros)
        }
        Field::Day => whole(span.days.into()),
        Field::Month => whole(months % 12),
        Field::Quarter => whole(months % 12 / 3 + 1),
        Field::Year => whole(months / 12),
        Field::Decade => whole(months / 120),
        Field::Century => whole(months / 1200),
        Field::Millennium => whole(months / 12_000),
        field => return of_clock(field, micros),
    })
}

fn fields() -> Vec<ScalarFunction> {
    let overloads = |returns: Type| {
        vec![
            strict([TEXT, TIMESTAMPTZ], returns.clone(), extract),
            strict([TEXT, TIMESTAMP], returns.clone(), extract),
            strict([TEXT, DATE], returns.clone(), extract),
            strict([TEXT, TIME], returns.clone(), extract),
            strict([TEXT, INTERVAL], returns, extract),
        ]
    };
    let mut all = vec![
        function(
            &["extract"],
            DATETIME,
            "A field of a moment or interval.",
            ("extract(hour from timestamp '2001-02-16 20:38:40')", "20"),
            overloads(Type::Numeric(None)),
        )
        .stable(),
        function(
            &["date_part"],
            DATETIME,
            "A field of a moment or interval, as a double.",
            ("date_part('hour', timestamp '2001-02-16 20:38:40')", "20"),
            overloads(Type::Float8),
        )
        .stable(),
    ];
    macro_rules! field {
        ($names:expr, |$local:ident| $body:expr) => {
            all.push(
                function(
                    $names,
                    DATETIME,
                    "This field of a moment, as a number.",
                    ("", ""),
                    vec![
                        strict([TIMESTAMPTZ], Type::Int4, |ctx, args, rows, ty| {
                            let zone = &ctx.time_zone;
                            map_rows::<Micros, Int32Type>(args, 0, rows, ty, |at| {
                                let $local = utc_to_local(zone, at);
                                $body as i32
                            })
                        }),
                        strict([TIMESTAMP], Type::Int4, |_, args, rows, ty| {
                            map_rows::<Micros, Int32Type>(args, 0, rows, ty, |$local| $body as i32)
                        }),
                        strict([DATE], Type::Int4, |_, args, rows, ty| {
                            map_rows::<Date32Type, Int32Type>(args, 0, rows, ty, |day| {
                                let $local = i64::from(day) * MICROS_PER_DAY;
                                $body as i32
                            })
                        }),
                    ],
                )
                .stable(),
            );
        };
    }
    field!(&["toYear"], |at| civil(at).0);
    field!(&["toQuarter"], |at| (civil(at).1 - 1) / 3 + 1);
    field!(&["toMonth"], |at| civil(at).1);
    field!(&["toDayOfMonth"], |at| civil(at).2);
    field!(&["toDayOfWeek"], |at| (at.div_euclid(MICROS_PER_DAY) + 3).rem_euclid(7) + 1);
    field!(&["toDayOfYear"], |at| at.div_euclid(MICROS_PER_DAY) - days_from_civil(civil(at).0, 1, 1) + 1);
    field!(&["toISOWeek"], |at| iso_week(at.div_euclid(MICROS_PER_DAY)).1);
    field!(&["toHour"], |at| at.rem_euclid(MICROS_PER_DAY) / HOUR);
    field!(&["toMinute"], |at| at.rem_euclid(HOUR) / MINUTE);
    field!(&["toSecond"], |at| at.rem_euclid(MINUTE) / MICROS_PER_SECOND);
    field!(&["toYYYYMM"], |at| civil(at).0 * 100 + i64::from(civil(at).1));
    field!(&["toYYYYMMDD"], |at| (civil(at).0 * 100 + i64::from(civil(at).1)) * 100 + i64::from(civil(at).2));
    let long: Kernel = |ctx, args, rows, ty| {
        let zone = &ctx.time_zone;
        map_rows::<Micros, Int64Type>(args, 0, rows, ty, |at| {
            let at = utc_to_local(zone, at);
            let (year, month, day) = civil(at);
            let time = at.rem_euclid(MICROS_PER_DAY);
            let date = (year * 100 + i64::from(month)) * 100 + i64::from(day);
            ((date * 100 + time / HOUR) * 100 + time / MINUTE % 60) * 100 + time / MICROS_PER_SECOND % 60
        })
    };
    all.push(
        function(
            &["toYYYYMMDDhhmmss"],
            DATETIME,
            "A moment as a number of this form.",
            ("", ""),
            vec![strict([TIMESTAMPTZ], Type::Int8, long)],
        )
        .stable(),
    );
    all.push(
        function(
            &["date_diff", "dateDiff", "datediff"],
            DATETIME,
            "How many borders of a unit lie between two moments.",
            ("dateDiff('day', timestamptz '2024-01-01 23:00+00', timestamptz '2024-01-02 01:00+00')", "1"),
            vec![
                Overload::new(vec![TEXT, TIMESTAMPTZ, TIMESTAMPTZ], Returns::Exact(Type::Int8), difference),
                Overload::new(vec![TEXT, TIMESTAMP, TIMESTAMP], Returns::Exact(Type::Int8), difference),
            ],
        )
        .stable(),
    );
    all
}

fn civil(at: i64) -> (i64, u32, u32) {
    civil_from_days(at.div_euclid(MICROS_PER_DAY))
}

fn difference(ctx: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (names, from, to) = (text(args, 0)?, primitive::<Micros>(args, 1)?, primitive::<Micros>(args, 2)?);
    let zoned = types.args[1] == Type::Timestamptz;
    primitive_rows::<Int64Type>(args, rows, types, |row| {
        let local = |at: i64| if zoned { utc_to_local(&ctx.time_zone, at) } else { at };
        let (from, to) = (local(from.at(row)), local(to.at(row)));
        let months = |at: i64| civil(at).0 * 12 + i64::from(civil(at).1) - 1;
        Ok(Some(match unit_named(names.at(row), &types.args[1])? {
            Unit::Fixed { length, origin } => (to - origin).div_euclid(length) - (from - origin).div_euclid(length),
            Unit::Months(unit) => months(to).div_euclid(unit) - months(from).div_euclid(unit),
            Unit::YearsFromOne(years) => (civil(to).0 - 1).div_euclid(years) - (civil(from).0 - 1).div_euclid(years),
        }))
    })
}

/// extract and date_part of anything.
fn extract(ctx: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let from = &types.args[1];
    let names = text(args, 0)?;
    let field =
        |row: usize| -> Result<Field> { Field::named(names.at(row)).ok_or_else(|| unknown_unit(names.at(row), from)) };
    let constant = names.constant().map(|_| field(0)).transpose()?;
    let unsupported = |row: usize| {
        let message = format!("unit \"{}\" not supported for type {from}", names.at(row));
        Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), message)
    };
    let get = |row: usize| -> Result<Option<Extracted>> {
        let field = constant.map_or_else(|| field(row), Ok)?;
        let found = match from {
            Type::Timestamptz | Type::Timestamp => {
                let at = primitive::<Micros>(args, 1)?.at(row);
                if is_infinite(at) {
                    return Ok(None);
                }
                let offset = (*from == Type::Timestamptz).then(|| offset_at(&ctx.time_zone, at));
                of_moment(field, at + i64::from(offset.unwrap_or(0)) * MICROS_PER_SECOND, offset)
            }
            Type::Date => {
                let days = i64::from(primitive::<Date32Type>(args, 1)?.at(row));
                match field {
                    Field::Epoch => Some(whole(days * 86_400)),
                    field => of_date(field, days),
                }
            }
            Type::Time => {
                let time = primitive::<Time64MicrosecondType>(args, 1)?.at(row);
                if field == Field::Epoch { Some(micro(time)) } else { of_clock(field, time) }
            }
            _ => of_interval(field, primitive::<Intervals>(args, 1)?.at(row)),
        };
        found.map(Some).ok_or_else(|| unsupported(row))
    };
    if *types.result == Type::Float8 {
        return primitive_rows::<Float64Type>(args, rows, types, |row| Ok(get(row)?.map(Extracted::float)));
    }
    super::rows::batch(args, rows, types, |rows| {
        let nulls = super::rows::nulls_of(args, rows);
        let value = |row: usize| match super::rows::is_valid(&nulls, row) {
            true => Ok(get(row)?.map(Extracted::numeric)),
            false => Ok(None),
        };
        let values: Vec<Option<Numeric>> = (0..rows).map(value).collect::<Result<_>>()?;
        Ok(Arc::new(numeric::from_values(values)) as ArrayRef)
    })
}
