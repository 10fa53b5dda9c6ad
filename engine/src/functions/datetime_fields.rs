//! Fields of moments and intervals: extract, date_part, toYear…, toYYYYMM…, and how many borders of a unit lie between two moments.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{
    Date32Type, Float64Type, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use weir_sql::Type;
use weir_sql::catalog::Returns;

use super::datetime::constant_zone;
use super::datetime_trunc::{HOUR, MINUTE, Unit, unit_named, unknown_unit};
use super::declare::{DATE, DATETIME, INTERVAL, TEXT, TIME, TIMESTAMP, TIMESTAMPTZ, function, strict};
use super::rows::{map_rows, primitive, primitive_rows, text};
use super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::datetime::{
    DATE_INFINITY, DATE_NEG_INFINITY, MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil, is_infinite,
    offset_at, utc_to_local,
};
use crate::kernels::numeric::{self, Numeric};

type Micros = TimestampMicrosecondType;
type Intervals = IntervalMonthDayNanoType;

/// A field of a moment or interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
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
    /// By its name in any case.
    pub(super) fn named(name: &str) -> Option<Field> {
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
enum Extracted {
    Finite {
        unscaled: i64,
        scale: u8,
    },
    /// Of an infinite moment, a field that grows with time.
    Infinite {
        negative: bool,
    },
}

impl Extracted {
    fn numeric(self) -> Numeric {
        match self {
            Extracted::Finite { unscaled, scale } => Numeric::finite(unscaled.into(), scale.into()),
            Extracted::Infinite { negative: true } => Numeric::NegInfinity,
            Extracted::Infinite { negative: false } => Numeric::Infinity,
        }
    }

    fn float(self) -> f64 {
        match self {
            Extracted::Finite { unscaled, scale } => unscaled as f64 / 10_f64.powi(scale.into()),
            Extracted::Infinite { negative: true } => f64::NEG_INFINITY,
            Extracted::Infinite { negative: false } => f64::INFINITY,
        }
    }

    /// What Postgres says of infinite moments: NULL for fields that come around again.
    fn of_infinite(field: Field, negative: bool) -> Option<Extracted> {
        let grows = matches!(
            field,
            Field::Year
                | Field::Decade
                | Field::Century
                | Field::Millennium
                | Field::IsoYear
                | Field::Epoch
                | Field::Julian
        );
        grows.then_some(Extracted::Infinite { negative })
    }
}

const fn whole(unscaled: i64) -> Extracted {
    Extracted::Finite { unscaled, scale: 0 }
}

const fn micro(unscaled: i64) -> Extracted {
    Extracted::Finite { unscaled, scale: 6 }
}

/// Years as Postgres counts them in fields: there is no year 0.
fn shown_year(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

/// ISO 8601's year and week.
pub(super) fn iso_week(days: i64) -> (i64, i64) {
    // The Thursday of the same week decides.
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (year, ..) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

fn of_clock(field: Field, time: i64) -> Option<Extracted> {
    Some(match field {
        Field::Microseconds => whole(time % MINUTE),
        Field::Milliseconds => Extracted::Finite { unscaled: time % MINUTE, scale: 3 },
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

pub(crate) fn functions() -> Vec<ScalarFunction> {
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
                    "This field of a moment, as a number; in another zone, if one is given.",
                    ("", ""),
                    vec![
                        strict([TIMESTAMPTZ], Type::Int4, |ctx, args, rows, ty| {
                            let zone = &ctx.time_zone;
                            map_rows::<Micros, Int32Type>(args, 0, rows, ty, |at| {
                                let $local = utc_to_local(zone, at);
                                $body as i32
                            })
                        }),
                        strict([TIMESTAMPTZ, TEXT], Type::Int4, |_, args, rows, ty| {
                            let zone = constant_zone(args, 1)?;
                            map_rows::<Micros, Int32Type>(args, 0, rows, ty, |at| {
                                let $local = utc_to_local(&zone, at);
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
    field!(&["toYear", "year"], |at| civil(at).0);
    field!(&["toQuarter", "quarter"], |at| (civil(at).1 - 1) / 3 + 1);
    field!(&["toMonth", "month"], |at| civil(at).1);
    field!(&["toDayOfMonth", "day", "dayofmonth"], |at| civil(at).2);
    field!(&["toDayOfWeek", "isodow"], |at| (at.div_euclid(MICROS_PER_DAY) + 3).rem_euclid(7) + 1);
    field!(&["toDayOfYear", "dayofyear"], |at| at.div_euclid(MICROS_PER_DAY) - days_from_civil(civil(at).0, 1, 1) + 1);
    field!(&["toISOWeek", "weekofyear"], |at| iso_week(at.div_euclid(MICROS_PER_DAY)).1);
    field!(&["toHour", "hour"], |at| at.rem_euclid(MICROS_PER_DAY) / HOUR);
    field!(&["toMinute", "minute"], |at| at.rem_euclid(HOUR) / MINUTE);
    field!(&["toSecond", "second"], |at| at.rem_euclid(MINUTE) / MICROS_PER_SECOND);
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
                    return Ok(Extracted::of_infinite(field, at < 0));
                }
                let offset = (*from == Type::Timestamptz).then(|| offset_at(&ctx.time_zone, at));
                of_moment(field, at + i64::from(offset.unwrap_or(0)) * MICROS_PER_SECOND, offset)
            }
            Type::Date => {
                let date = primitive::<Date32Type>(args, 1)?.at(row);
                if matches!(date, DATE_INFINITY | DATE_NEG_INFINITY) {
                    return Ok(Extracted::of_infinite(field, date < 0));
                }
                let days = i64::from(date);
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
