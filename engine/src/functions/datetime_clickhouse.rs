//! ClickHouse's names for conversions to moments and arithmetic with them, formatDateTime, and OVERLAPS.
//!
//! ClickHouse's DateTime and DateTime64 are timestamptz here, so its functions work on the wall clock of the session's zone unless they are
//! given another one.

use std::fmt::Write;

use arrow::datatypes::{
    Date32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use jiff::tz::TimeZone;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::datetime::{constant_zone, zone_named};
use super::datetime_fields::iso_week;
use super::declare::{DATE, DATETIME, INT4, INT8, INTERVAL, TEXT, TIME, TIMESTAMP, TIMESTAMPTZ, function, strict};
use super::rows::{bool_rows_with_nulls, invalid_parameter, primitive, primitive_rows, text, text_rows};
use super::template::{DAYS, MONTHS};
use super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cast::cast;
use crate::kernels::datetime::{
    MICROS_PER_SECOND, add_interval, civil_from_days, days_from_civil, days_in_month, is_infinite, is_timestamp,
    offset_at, split_micros, utc_to_local,
};

type Micros = TimestampMicrosecondType;
type Intervals = IntervalMonthDayNanoType;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let to = |names: &'static [&'static str], doc, ty: Type, optional: usize| {
        let kernel: Kernel = |ctx, args, rows, types| convert(ctx, args, rows, types);
        let in_zone: Kernel = |ctx, args, rows, types| {
            let zone = constant_zone(args, args.len() - 1)?;
            convert(&Context { time_zone: zone, ..ctx.clone() }, args, rows, types)
        };
        let overloads = vec![
            Overload::new(vec![Param::Any, INT4], Returns::Exact(ty.clone()), kernel).optional(1.max(optional)),
            Overload::new(vec![Param::Any, TEXT], Returns::Exact(ty.clone()), in_zone),
            Overload::new(vec![Param::Any, INT4, TEXT], Returns::Exact(ty), in_zone),
        ];
        function(names, DATETIME, doc, ("", ""), overloads).stable()
    };
    let mut all = vec![
        to(&["toDate", "toDate32"], "The value as a date; of the day in another zone, if one is given.", Type::Date, 1),
        to(
            &["toDateTime", "toDateTime64", "toDateTime32", "parseDateTimeBestEffort", "parseDateTime64BestEffort"],
            "The value as a moment: text, a date, or seconds; text in another zone, if one is given.",
            Type::Timestamptz,
            1,
        ),
        function(
            &["toUnixTimestamp"],
            DATETIME,
            "Seconds since the epoch.",
            ("toUnixTimestamp(timestamptz '1970-01-02 00:00+00')", "86400"),
            vec![strict([TIMESTAMPTZ], Type::Int8, |_, a, n, ty| seconds(a, n, ty, MICROS_PER_SECOND))],
        ),
        function(
            &["fromUnixTimestamp64Micro"],
            DATETIME,
            "The moment so many microseconds after the epoch.",
            ("", ""),
            vec![strict([INT8], Type::Timestamptz, |_, a, n, ty| from_epoch(a, n, ty, 1))],
        ),
        function(&["toUnixTimestamp64Milli"], DATETIME, "Milliseconds since the epoch.", ("", ""), {
            vec![strict([TIMESTAMPTZ], Type::Int8, |_, a, n, ty| seconds(a, n, ty, 1000))]
        }),
        function(&["toUnixTimestamp64Micro"], DATETIME, "Microseconds since the epoch.", ("", ""), {
            vec![strict([TIMESTAMPTZ], Type::Int8, |_, a, n, ty| seconds(a, n, ty, 1))]
        }),
        function(&["fromUnixTimestamp"], DATETIME, "The moment so many seconds after the epoch.", ("", ""), {
            vec![strict([INT8], Type::Timestamptz, |_, a, n, ty| from_epoch(a, n, ty, MICROS_PER_SECOND))]
        }),
        function(
            &["fromUnixTimestamp64Milli"],
            DATETIME,
            "The moment so many milliseconds after the epoch.",
            ("", ""),
            vec![strict([INT8], Type::Timestamptz, |_, a, n, ty| from_epoch(a, n, ty, 1000))],
        ),
    ];
    all.extend(more());
    macro_rules! interval {
        ($name:expr, $add:expr, $sub:expr, $months:expr, $days:expr, $micros:expr) => {
            all.push(function(
                &[$name],
                DATETIME,
                "So many of this unit as an interval.",
                ("", ""),
                vec![strict([INT8], Type::Interval, |_, args, rows, ty| {
                    let counts = primitive::<Int64Type>(args, 0)?;
                    primitive_rows::<Intervals>(args, rows, ty, |row| {
                        unit(counts.at(row), ($months, $days, $micros)).map(Some)
                    })
                })],
            ));
            all.push(function(&[$add], DATETIME, "The moment so many of this unit later.", ("", ""), {
                let mut overloads = vec![
                    strict([TIMESTAMPTZ, INT8], Type::Timestamptz, |ctx, a, n, ty| {
                        add_units(ctx, a, n, ty, ($months, $days, $micros))
                    }),
                    strict([TIMESTAMP, INT8], Type::Timestamp, |ctx, a, n, ty| {
                        add_units(ctx, a, n, ty, ($months, $days, $micros))
                    }),
                ];
                if $micros == 0 {
                    overloads.push(strict([DATE, INT8], Type::Date, |ctx, a, n, ty| {
                        add_days(ctx, a, n, ty, ($months, $days, 0))
                    }));
                }
                overloads
            }));
            all.push(function(&[$sub], DATETIME, "The moment so many of this unit earlier.", ("", ""), {
                let mut overloads = vec![
                    strict([TIMESTAMPTZ, INT8], Type::Timestamptz, |ctx, a, n, ty| {
                        add_units(ctx, a, n, ty, (-$months, -$days, -$micros))
                    }),
                    strict([TIMESTAMP, INT8], Type::Timestamp, |ctx, a, n, ty| {
                        add_units(ctx, a, n, ty, (-$months, -$days, -$micros))
                    }),
                ];
                if $micros == 0 {
                    overloads.push(strict([DATE, INT8], Type::Date, |ctx, a, n, ty| {
                        add_days(ctx, a, n, ty, (-$months, -$days, 0))
                    }));
                }
                overloads
            }));
        };
    }
    interval!("toIntervalMicrosecond", "addMicroseconds", "subtractMicroseconds", 0, 0, 1);
    interval!("toIntervalMillisecond", "addMilliseconds", "subtractMilliseconds", 0, 0, 1000);
    interval!("toIntervalSecond", "addSeconds", "subtractSeconds", 0, 0, MICROS_PER_SECOND);
    interval!("toIntervalMinute", "addMinutes", "subtractMinutes", 0, 0, 60 * MICROS_PER_SECOND);
    interval!("toIntervalHour", "addHours", "subtractHours", 0, 0, 3600 * MICROS_PER_SECOND);
    interval!("toIntervalDay", "addDays", "subtractDays", 0, 1, 0);
    interval!("toIntervalWeek", "addWeeks", "subtractWeeks", 0, 7, 0);
    interval!("toIntervalMonth", "addMonths", "subtractMonths", 1, 0, 0);
    interval!("toIntervalQuarter", "addQuarters", "subtractQuarters", 3, 0, 0);
    interval!("toIntervalYear", "addYears", "subtractYears", 12, 0, 0);
    all
}

fn unit(count: i64, (months, days, micros): (i64, i64, i64)) -> Result<IntervalMonthDayNano> {
    let range = || Error::new(ErrorKind::DatetimeOutOfRange, "interval out of range");
    let part = |per: i64| count.checked_mul(per).and_then(|v| i32::try_from(v).ok()).ok_or_else(range);
    let nanos = count.checked_mul(micros).and_then(|v| v.checked_mul(1000)).ok_or_else(range)?;
    Ok(IntervalMonthDayNano::new(part(months)?, part(days)?, nanos))
}

fn add_units(ctx: &Context, args: &[Datum], rows: usize, ty: &Types<'_>, per: (i64, i64, i64)) -> Result<Datum> {
    let (times, counts) = (primitive::<Micros>(args, 0)?, primitive::<Int64Type>(args, 1)?);
    let zone = (*ty.result == Type::Timestamptz).then_some(&ctx.time_zone);
    primitive_rows::<Micros>(args, rows, ty, |row| {
        add_interval(times.at(row), unit(counts.at(row), per)?, zone).map(Some)
    })
}

/// A date so many days or months from another is a date.
fn add_days(ctx: &Context, args: &[Datum], rows: usize, ty: &Types<'_>, per: (i64, i64, i64)) -> Result<Datum> {
    let at = cast(ctx, &args[0], &Type::Date, &Type::Timestamp, false, false)?;
    let (args, moment) = ([at, args[1].clone()], Type::Timestamp);
    let moved = add_units(ctx, &args, rows, &Types { result: &moment, ..*ty }, per)?;
    cast(ctx, &moved, &moment, ty.result, true, false)
}

fn seconds(args: &[Datum], rows: usize, ty: &Type, per: i64) -> Result<Datum> {
    let times = primitive::<Micros>(args, 0)?;
    primitive_rows::<Int64Type>(args, rows, ty, |row| Ok(Some(times.at(row).div_euclid(per))))
}

fn from_epoch(args: &[Datum], rows: usize, ty: &Type, per: i64) -> Result<Datum> {
    let counts = primitive::<Int64Type>(args, 0)?;
    primitive_rows::<Micros>(args, rows, ty, |row| {
        let at = counts.at(row).checked_mul(per).filter(|at| is_timestamp(*at));
        at.map(Some).ok_or_else(|| Error::new(ErrorKind::DatetimeOutOfRange, "timestamp out of range"))
    })
}

/// Text, dates and moments by their cast; numbers are seconds since the epoch (days, for a date below 65536).
fn convert(ctx: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let from = &types.args[0];
    if !from.is_number() {
        return cast(ctx, &args[0], from, types.result, true, false);
    }
    // A Date is a number of days, as ClickHouse has it, up to 65535.
    const DAYS_MAX: i64 = 65_535;
    let numbers = [cast(ctx, &args[0], from, &Type::Int8, true, false)?];
    let values = primitive::<Int64Type>(&numbers, 0)?;
    let range = || Error::new(ErrorKind::DatetimeOutOfRange, "timestamp out of range");
    if *types.result == Type::Date {
        return primitive_rows::<Date32Type>(&numbers, rows, types, |row| match values.at(row) {
            days if (0..=DAYS_MAX).contains(&days) => Ok(Some(days as i32)),
            seconds => {
                let micros = seconds.checked_mul(MICROS_PER_SECOND).filter(|at| is_timestamp(*at)).ok_or_else(range)?;
                Ok(Some(split_micros(utc_to_local(&ctx.time_zone, micros)).0 as i32))
            }
        });
    }
    from_epoch(&numbers, rows, types, MICROS_PER_SECOND)
}

/// What ClickHouse has beside conversions and addX.
fn more() -> Vec<ScalarFunction> {
    vec![
        function(
            &["date_add", "dateAdd", "timestampAdd", "timestamp_add"],
            DATETIME,
            "A later moment: by an interval, or by so many of a unit.",
            ("dateAdd(timestamp '2024-01-31 00:00', interval '1 month')", "2024-02-29 00:00:00"),
            added(1),
        ),
        function(
            &["date_sub", "dateSub", "timestampSub", "timestamp_sub"],
            DATETIME,
            "An earlier moment: by an interval, or by so many of a unit.",
            ("dateSub('day', 1, timestamp '2024-03-01 00:00')", "2024-02-29 00:00:00"),
            added(-1),
        ),
        function(
            &["toLastDayOfMonth", "last_day"],
            DATETIME,
            "The last day of the month.",
            ("toLastDayOfMonth(date '2024-02-10')", "2024-02-29"),
            vec![
                strict([DATE], Type::Date, |_, args, rows, ty| {
                    let dates = primitive::<Date32Type>(args, 0)?;
                    primitive_rows::<Date32Type>(args, rows, ty, |row| Ok(Some(last_day(dates.at(row).into()))))
                }),
                strict([TIMESTAMPTZ], Type::Date, |ctx, args, rows, ty| {
                    let times = primitive::<Micros>(args, 0)?;
                    primitive_rows::<Date32Type>(args, rows, ty, |row| {
                        Ok(Some(last_day(split_micros(utc_to_local(&ctx.time_zone, times.at(row))).0)))
                    })
                }),
            ],
        )
        .stable(),
        function(
            &["formatDateTime", "DATE_FORMAT"],
            DATETIME,
            "A moment by a template of % and a letter: %Y-%m-%d %H:%i:%S; in another zone, if one is given.",
            ("formatDateTime(timestamptz '2024-05-07 13:04:05+00', '%d.%m.%y %H:%i:%S', 'UTC')", "07.05.24 13:04:05"),
            vec![strict([TIMESTAMPTZ, TEXT, TEXT], Type::Text, format_date_time).optional(1)],
        )
        .stable(),
        function(
            &["monthName"],
            DATETIME,
            "The month's English name.",
            ("monthName(timestamptz '2024-05-07 00:00+00')", "May"),
            vec![strict([TIMESTAMPTZ], Type::Text, |ctx, args, rows, ty| {
                let times = primitive::<Micros>(args, 0)?;
                text_rows(args, rows, ty, |row, out| {
                    let (_, month, _) = civil_from_days(split_micros(utc_to_local(&ctx.time_zone, times.at(row))).0);
                    out.push_str(MONTHS[month as usize - 1]);
                    Ok(true)
                })
            })],
        )
        .stable(),
        function(
            &["overlaps"],
            DATETIME,
            "OVERLAPS: whether two stretches of time, each from one end to the other, have a moment in common.",
            ("(date '2001-02-16', date '2001-12-21') OVERLAPS (date '2001-10-30', date '2002-10-30')", "t"),
            overlaps_of(),
        )
        .stable(),
    ]
}

fn last_day(days: i64) -> i32 {
    let (year, month, _) = civil_from_days(days);
    days_from_civil(year, month.into(), days_in_month(year, month).into()) as i32
}

/// date_add and date_sub.
fn added(sign: i64) -> Vec<Overload> {
    fn by_interval(ctx: &Context, a: &[Datum], n: usize, ty: &Types<'_>, sign: i64) -> Result<Datum> {
        let (times, spans) = (primitive::<Micros>(a, 0)?, primitive::<Intervals>(a, 1)?);
        let zone = (*ty.result == Type::Timestamptz).then_some(&ctx.time_zone);
        primitive_rows::<Micros>(a, n, ty, |row| {
            let span = spans.at(row);
            let span = match sign {
                1 => span,
                _ => IntervalMonthDayNano::new(
                    span.months.wrapping_neg(),
                    span.days.wrapping_neg(),
                    span.nanoseconds.wrapping_neg(),
                ),
            };
            add_interval(times.at(row), span, zone).map(Some)
        })
    }
    fn by_unit(ctx: &Context, a: &[Datum], n: usize, ty: &Types<'_>, sign: i64) -> Result<Datum> {
        let (names, counts, times) = (text(a, 0)?, primitive::<Int64Type>(a, 1)?, primitive::<Micros>(a, 2)?);
        let zone = (*ty.result == Type::Timestamptz).then_some(&ctx.time_zone);
        primitive_rows::<Micros>(a, n, ty, |row| {
            let count = counts.at(row).checked_mul(sign);
            let count = count.ok_or_else(|| Error::new(ErrorKind::DatetimeOutOfRange, "interval out of range"))?;
            add_interval(times.at(row), unit(count, unit_length(names.at(row))?)?, zone).map(Some)
        })
    }
    let (by_interval_kernel, by_unit_kernel): (Kernel, Kernel) = match sign {
        1 => (|ctx, a, n, ty| by_interval(ctx, a, n, ty, 1), |ctx, a, n, ty| by_unit(ctx, a, n, ty, 1)),
        _ => (|ctx, a, n, ty| by_interval(ctx, a, n, ty, -1), |ctx, a, n, ty| by_unit(ctx, a, n, ty, -1)),
    };
    let mut all = Vec::new();
    for (param, ty) in [(TIMESTAMPTZ, Type::Timestamptz), (TIMESTAMP, Type::Timestamp)] {
        all.push(strict([param.clone(), INTERVAL], ty.clone(), by_interval_kernel));
        all.push(strict([TEXT, INT8, param], ty, by_unit_kernel));
    }
    all
}

/// Months, days and microseconds of a unit.
fn unit_length(name: &str) -> Result<(i64, i64, i64)> {
    Ok(match name.to_ascii_lowercase().trim_end_matches('s') {
        "microsecond" | "u" => (0, 0, 1),
        "millisecond" | "m" => (0, 0, 1000),
        "second" => (0, 0, MICROS_PER_SECOND),
        "minute" => (0, 0, 60 * MICROS_PER_SECOND),
        "hour" => (0, 0, 3600 * MICROS_PER_SECOND),
        "day" => (0, 1, 0),
        "week" => (0, 7, 0),
        "month" => (1, 0, 0),
        "quarter" => (3, 0, 0),
        "year" => (12, 0, 0),
        _ => return Err(invalid_parameter(format!("unit \"{name}\" not recognized"))),
    })
}

fn format_date_time(ctx: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (times, templates) = (primitive::<Micros>(args, 0)?, text(args, 1)?);
    let zones = if args.len() > 2 { Some(text(args, 2)?) } else { None };
    let constant = zones.and_then(|zones| zones.constant()).map(zone_named).transpose()?;
    text_rows(args, rows, types, |row, out| {
        let named = match (&constant, zones) {
            (None, Some(zones)) => Some(zone_named(zones.at(row))?),
            _ => None,
        };
        let zone = named.as_ref().or(constant.as_ref()).unwrap_or(&ctx.time_zone);
        let at = times.at(row);
        if is_infinite(at) {
            return Ok(false);
        }
        write_by_letters(at, zone, templates.at(row), out)?;
        Ok(true)
    })
}

/// ClickHouse's letters, which are MySQL's.
fn write_by_letters(at: i64, zone: &TimeZone, template: &str, out: &mut String) -> Result<()> {
    let (days, time) = split_micros(utc_to_local(zone, at));
    let (year, month, day) = civil_from_days(days);
    let seconds = time / MICROS_PER_SECOND;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let (month_name, day_name) = (MONTHS[month as usize - 1], DAYS[(days + 4).rem_euclid(7) as usize]);
    let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
    let mut chars = template.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let letter = chars.next().ok_or_else(|| invalid_parameter("the template ends with a lone %"))?;
        // Writing to a String cannot fail.
        let _ = match letter {
            'Y' => write!(out, "{year:04}"),
            'y' => write!(out, "{:02}", year.rem_euclid(100)),
            'C' => write!(out, "{:02}", year.div_euclid(100)),
            'm' | 'c' => write!(out, "{month:02}"),
            'M' => write!(out, "{month_name}"),
            'b' => write!(out, "{}", &month_name[..3]),
            'd' => write!(out, "{day:02}"),
            'e' => write!(out, "{day:>2}"),
            'j' => write!(out, "{:03}", days - days_from_civil(year, 1, 1) + 1),
            'W' => write!(out, "{day_name}"),
            'a' => write!(out, "{}", &day_name[..3]),
            'u' => write!(out, "{}", (days + 3).rem_euclid(7) + 1),
            'w' => write!(out, "{}", (days + 4).rem_euclid(7)),
            'V' => write!(out, "{:02}", iso_week(days).1),
            'G' => write!(out, "{}", iso_week(days).0),
            'g' => write!(out, "{:02}", iso_week(days).0.rem_euclid(100)),
            'Q' => write!(out, "{}", (month - 1) / 3 + 1),
            'H' | 'k' => write!(out, "{hour:02}"),
            'I' | 'h' | 'l' => write!(out, "{twelve:02}"),
            'i' => write!(out, "{minute:02}"),
            'S' | 's' => write!(out, "{second:02}"),
            'f' => write!(out, "{:06}", time % MICROS_PER_SECOND),
            'p' => write!(out, "{}", if hour >= 12 { "PM" } else { "AM" }),
            'T' => write!(out, "{hour:02}:{minute:02}:{second:02}"),
            'R' => write!(out, "{hour:02}:{minute:02}"),
            'r' => write!(out, "{twelve:02}:{minute:02} {}", if hour >= 12 { "PM" } else { "AM" }),
            'F' => write!(out, "{year:04}-{month:02}-{day:02}"),
            'D' => write!(out, "{month:02}/{day:02}/{:02}", year.rem_euclid(100)),
            'z' => {
                let offset = offset_at(zone, at);
                let (sign, size) = (if offset < 0 { '-' } else { '+' }, offset.abs());
                write!(out, "{sign}{:02}{:02}", size / 3600, size / 60 % 60)
            }
            'n' => writeln!(out),
            't' => write!(out, "\t"),
            '%' => write!(out, "%"),
            other => return Err(invalid_parameter(format!("%{other} is not a pattern of formatDateTime"))),
        };
    }
    Ok(())
}

/// Stretches from one moment to another, or of a length.
fn overlaps_of() -> Vec<Overload> {
    let mut all = Vec::new();
    for ty in [TIMESTAMPTZ, TIMESTAMP, TIME] {
        for first in [ty.clone(), INTERVAL] {
            for second in [ty.clone(), INTERVAL] {
                let params = vec![ty.clone(), first.clone(), ty.clone(), second];
                all.push(Overload::new(params, Returns::Exact(Type::Bool), overlaps).lax());
            }
        }
    }
    all
}

fn overlaps(ctx: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let at = |i: usize, row: usize| -> Result<Option<i64>> {
        if types.args[i] == Type::Time {
            let times = primitive::<Time64MicrosecondType>(args, i)?;
            return Ok((!times.is_null(row)).then(|| times.at(row)));
        }
        let times = primitive::<Micros>(args, i)?;
        Ok((!times.is_null(row)).then(|| times.at(row)))
    };
    let end = |i: usize, row: usize| -> Result<Option<i64>> {
        if types.args[i] != Type::Interval {
            return at(i, row);
        }
        let spans = primitive::<Intervals>(args, i)?;
        let Some(start) = at(i - 1, row)?.filter(|_| !spans.is_null(row)) else { return Ok(None) };
        let span = spans.at(row);
        if types.args[i - 1] == Type::Time {
            return Ok(Some(start + span.nanoseconds / 1000));
        }
        let zone = (types.args[i - 1] == Type::Timestamptz).then_some(&ctx.time_zone);
        add_interval(start, span, zone).map(Some)
    };
    bool_rows_with_nulls(args, rows, types, |row| {
        Ok(stretches_overlap((at(0, row)?, end(1, row)?), (at(2, row)?, end(3, row)?)))
    })
}

/// SQL's rule: a stretch includes its start and not its end, unless they are the same. NULL for one end may still leave an answer.
fn stretches_overlap(a: (Option<i64>, Option<i64>), b: (Option<i64>, Option<i64>)) -> Option<bool> {
    // With the known end first; the other may be NULL.
    let ordered = |(start, end): (Option<i64>, Option<i64>)| match (start, end) {
        (Some(start), Some(end)) => Some((start.min(end), Some(start.max(end)))),
        (Some(one), None) | (None, Some(one)) => Some((one, None)),
        (None, None) => None,
    };
    let ((start_a, end_a), (start_b, end_b)) = (ordered(a)?, ordered(b)?);
    match start_a.cmp(&start_b) {
        std::cmp::Ordering::Equal => (end_a.is_some() && end_b.is_some()).then_some(true),
        // The one that begins later begins within the other, or it does not, or the other's end is not known.
        std::cmp::Ordering::Greater => overlap_after(start_a, end_a, end_b),
        std::cmp::Ordering::Less => overlap_after(start_b, end_b, end_a),
    }
}

fn overlap_after(later: i64, later_end: Option<i64>, earlier_end: Option<i64>) -> Option<bool> {
    let earlier_end = earlier_end?;
    if later < earlier_end {
        return later_end.map(|_| true);
    }
    Some(false)
}
