//! The clock, and making moments: now() and its kin, make_*, to_timestamp, AT TIME ZONE, age, justify, ClickHouse's conversions.

use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::{
    Date32Type, Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use jiff::tz::TimeZone;
use weir_sql::{Type, Value};

use super::declare::{DATE, DATETIME, FLOAT8, INT4, INTERVAL, TEXT, TIME, TIMESTAMP, TIMESTAMPTZ, function, strict};
use super::rows::{bool_rows, invalid_parameter, primitive, primitive_rows, text};
use super::{Context, Datum, Kernel, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cast::cast;
use crate::kernels::datetime::{
    DATE_INFINITY, DATE_NEG_INFINITY, MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil,
    days_in_month, is_infinite, is_timestamp, local_to_utc, utc_to_local,
};

type Micros = TimestampMicrosecondType;
type Intervals = IntervalMonthDayNanoType;

/// 2000-01-01 00:00, in microseconds since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800 * MICROS_PER_SECOND;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = clocks();
    all.extend(rounded());
    all.extend(makers());
    all.extend(zones());
    all.extend(spans());
    all
}

fn clock(names: &'static [&'static str], doc: &'static str, ty: Type, kernel: Kernel) -> ScalarFunction {
    function(names, DATETIME, doc, ("", ""), vec![strict([], ty, kernel)]).stable()
}

/// A moment as a constant of a type.
fn moment(context: &Context, micros: i64, ty: &Type) -> Result<Datum> {
    let now = TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC");
    let value = Datum::Scalar(Value::new(Type::Timestamptz, Arc::new(now)));
    if *ty == Type::Timestamptz { Ok(value) } else { cast(context, &value, &Type::Timestamptz, ty, true, false) }
}

/// What casts to `timestamp(n)` and the like do.
fn rounded() -> Vec<ScalarFunction> {
    fn round(at: i64, digits: i32) -> i64 {
        let unit = 10_i64.pow(6 - digits.clamp(0, 6) as u32);
        match is_infinite(at) {
            true => at,
            // Halves go away from zero of PostgreSQL's epoch, 2000-01-01.
            false => {
                let since = at - POSTGRES_EPOCH;
                let half = if since < 0 { -(unit / 2) } else { unit / 2 };
                (since + half) / unit * unit + POSTGRES_EPOCH
            }
        }
    }
    fn moments(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
        let (times, digits) = (primitive::<Micros>(args, 0)?, primitive::<Int32Type>(args, 1)?);
        primitive_rows::<Micros>(args, rows, ty, |row| Ok(Some(round(times.at(row), digits.at(row)))))
    }
    const DOC: &str = "The value with so many digits of a second, as a cast to its type of a precision gives it.";
    vec![
        function(
            &["timestamp"],
            DATETIME,
            DOC,
            ("\"timestamp\"(timestamp '2024-01-05 10:11:12.9', 0)", "2024-01-05 10:11:13"),
            vec![strict([TIMESTAMP, INT4], Type::Timestamp, moments)],
        ),
        function(
            &["timestamptz"],
            DATETIME,
            DOC,
            ("timestamptz(timestamptz '2024-01-05 10:11:12.9+00', 0)", "2024-01-05 10:11:13+00"),
            vec![strict([TIMESTAMPTZ, INT4], Type::Timestamptz, moments)],
        ),
        function(&["time"], DATETIME, DOC, ("\"time\"(time '10:11:12.9', 0)", "10:11:13"), {
            vec![strict([TIME, INT4], Type::Time, |_, args, rows, ty| {
                let (times, digits) = (primitive::<Time64MicrosecondType>(args, 0)?, primitive::<Int32Type>(args, 1)?);
                primitive_rows::<Time64MicrosecondType>(args, rows, ty, |row| {
                    Ok(Some(round(times.at(row) + POSTGRES_EPOCH, digits.at(row)) - POSTGRES_EPOCH))
                })
            })]
        }),
    ]
}

fn clocks() -> Vec<ScalarFunction> {
    vec![
        clock(
            &["now", "current_timestamp", "transaction_timestamp"],
            "When the transaction began.",
            Type::Timestamptz,
            |ctx, _, _, ty| moment(ctx, ctx.now, ty.result),
        ),
        clock(&["statement_timestamp"], "When the statement began.", Type::Timestamptz, |ctx, _, _, ty| {
            moment(ctx, ctx.statement_start, ty.result)
        }),
        clock(&["clock_timestamp", "now64"], "The time.", Type::Timestamptz, |ctx, _, _, ty| {
            moment(ctx, jiff::Timestamp::now().as_microsecond(), ty.result)
        })
        .volatile(),
        clock(&["current_date", "today"], "The date in the session's zone.", Type::Date, |ctx, _, _, ty| {
            moment(ctx, ctx.now, ty.result)
        }),
        clock(&["yesterday"], "The date before today's in the session's zone.", Type::Date, |ctx, _, _, ty| {
            moment(ctx, ctx.now - MICROS_PER_DAY, ty.result)
        }),
        clock(
            &["localtimestamp"],
            "The time on the wall clock of the session's zone.",
            Type::Timestamp,
            |ctx, _, _, ty| moment(ctx, ctx.now, ty.result),
        ),
        clock(&["localtime", "current_time"], "The time of day in the session's zone.", Type::Time, |ctx, _, _, ty| {
            moment(ctx, ctx.now, ty.result)
        }),
    ]
}

/// Days of a civil date, which must exist.
fn date_of(year: i32, month: i32, day: i32) -> Result<i64> {
    let (written, written_month) = (year, month);
    // There is no year 0: it goes the way of a month that does not exist.
    let (year, month) = match year {
        0 => (0, 0),
        year if year < 0 => (i64::from(year) + 1, month),
        year => (i64::from(year), month),
    };
    let named = || format!("date field value out of range: {written}-{written_month:02}-{day:02}");
    let exists = (1..=12).contains(&month) && day >= 1 && day as u32 <= days_in_month(year, month as u32);
    match exists {
        true => Ok(days_from_civil(year, month.into(), day.into())),
        false => Err(Error::new(ErrorKind::DatetimeOutOfRange, named())),
    }
}

fn time_of(hour: i32, minute: i32, second: f64) -> Result<i64> {
    let micros = (second * 1e6).round_ties_even();
    let fits = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60e6).contains(&micros);
    let total = i64::from(hour) * 3600 * MICROS_PER_SECOND + i64::from(minute) * 60 * MICROS_PER_SECOND + micros as i64;
    if fits && total <= MICROS_PER_DAY {
        return Ok(total);
    }
    let message = format!("time field value out of range: {hour}:{minute:02}:{}", c_general(second));
    Err(Error::new(ErrorKind::DatetimeOutOfRange, message))
}

/// printf's `%02g`: at most six significant digits.
fn c_general(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e6).contains(&value.abs()) {
        let text = format!("{value:.5e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mantissa =
            if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
        let exponent: i32 = exponent.parse().unwrap_or(0);
        return format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    let whole_digits = value.abs().max(1.0).log10() as usize + 1;
    let text = format!("{value:.*}", 6_usize.saturating_sub(whole_digits));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text.len() < 2 { format!("0{text}") } else { text.to_string() }
}

fn makers() -> Vec<ScalarFunction> {
    let moment_of = |zoned: bool| -> Kernel {
        if zoned {
            |ctx, args, rows, ty| make_timestamp(args, rows, ty, Some(&ctx.time_zone))
        } else {
            |_, args, rows, ty| make_timestamp(args, rows, ty, None)
        }
    };
    vec![
        function(
            &["make_date", "makeDate"],
            DATETIME,
            "A date from year, month and day.",
            ("make_date(2024, 2, 29)", "2024-02-29"),
            vec![strict([INT4, INT4, INT4], Type::Date, |_, args, rows, ty| {
                let part = |i| primitive::<Int32Type>(args, i);
                let (year, month, day) = (part(0)?, part(1)?, part(2)?);
                primitive_rows::<Date32Type>(args, rows, ty, |row| {
                    Ok(Some(date_of(year.at(row), month.at(row), day.at(row))? as i32))
                })
            })],
        ),
        function(
            &["make_time"],
            DATETIME,
            "A time from hour, minute and second.",
            ("make_time(8, 15, 23.5)", "08:15:23.5"),
            vec![strict([INT4, INT4, FLOAT8], Type::Time, |_, args, rows, ty| {
                let (hour, minute) = (primitive::<Int32Type>(args, 0)?, primitive::<Int32Type>(args, 1)?);
                let second = primitive::<Float64Type>(args, 2)?;
                primitive_rows::<Time64MicrosecondType>(args, rows, ty, |row| {
                    time_of(hour.at(row), minute.at(row), second.at(row)).map(Some)
                })
            })],
        ),
        function(
            &["make_timestamp", "makeDateTime"],
            DATETIME,
            "A timestamp from year, month, day, hour, minute and second.",
            ("make_timestamp(2024, 7, 15, 8, 15, 23.5)", "2024-07-15 08:15:23.5"),
            vec![strict([INT4, INT4, INT4, INT4, INT4, FLOAT8], Type::Timestamp, moment_of(false))],
        ),
        function(
            &["make_timestamptz"],
            DATETIME,
            "The same in the session's zone.",
            ("", ""),
            vec![
                strict([INT4, INT4, INT4, INT4, INT4, FLOAT8], Type::Timestamptz, moment_of(true)),
                strict([INT4, INT4, INT4, INT4, INT4, FLOAT8, TEXT], Type::Timestamptz, |_, args, rows, ty| {
                    let local = make_timestamp(&args[..6], rows, ty, None)?;
                    in_zone(&[args[6].clone(), local], rows, ty, local_to_utc)
                }),
            ],
        )
        .stable(),
        function(
            &["make_interval"],
            DATETIME,
            "An interval from years, months, weeks, days, hours, minutes and seconds.",
            ("make_interval(0, 0, 0, 10)", "10 days"),
            vec![strict([INT4, INT4, INT4, INT4, INT4, INT4, FLOAT8], Type::Interval, make_interval).optional(7)],
        ),
        function(
            &["to_timestamp"],
            DATETIME,
            "The moment so many seconds after the epoch.",
            ("to_timestamp(1284352323)", "2010-09-13 04:32:03+00"),
            vec![strict([FLOAT8], Type::Timestamptz, |_, args, rows, ty| {
                let seconds = primitive::<Float64Type>(args, 0)?;
                primitive_rows::<Micros>(args, rows, ty, |row| from_seconds(seconds.at(row)).map(Some))
            })],
        ),
    ]
}

fn from_seconds(seconds: f64) -> Result<i64> {
    let micros = (seconds * 1e6).round_ties_even();
    match micros {
        m if m == f64::INFINITY => Ok(i64::MAX),
        m if m == f64::NEG_INFINITY => Ok(i64::MIN),
        m if m.is_finite() && m.abs() < 9.2e18 && is_timestamp(m as i64) => Ok(m as i64),
        m if m.is_nan() => Err(Error::new(ErrorKind::DatetimeOutOfRange, "timestamp cannot be NaN")),
        _ => Err(Error::new(
            ErrorKind::DatetimeOutOfRange,
            format!("timestamp out of range: \"{}\"", c_general(seconds)),
        )),
    }
}

fn make_timestamp(args: &[Datum], rows: usize, ty: &Type, zone: Option<&TimeZone>) -> Result<Datum> {
    let part = |i| primitive::<Int32Type>(args, i);
    let (year, month, day, hour, minute) = (part(0)?, part(1)?, part(2)?, part(3)?, part(4)?);
    let second = primitive::<Float64Type>(args, 5)?;
    primitive_rows::<Micros>(args, rows, ty, |row| {
        let days = date_of(year.at(row), month.at(row), day.at(row))?;
        let local = days * MICROS_PER_DAY + time_of(hour.at(row), minute.at(row), second.at(row))?;
        Ok(Some(zone.map_or(local, |zone| local_to_utc(zone, local))))
    })
}

fn make_interval(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let part = |i: usize, row: usize| -> Result<i64> {
        if i >= args.len() { Ok(0) } else { Ok(primitive::<Int32Type>(args, i)?.at(row).into()) }
    };
    primitive_rows::<Intervals>(args, rows, ty, |row| {
        let seconds = if args.len() > 6 { primitive::<Float64Type>(args, 6)?.at(row) } else { 0.0 };
        let months = part(0, row)? * 12 + part(1, row)?;
        let days = part(2, row)? * 7 + part(3, row)?;
        let micros =
            (part(4, row)? * 3600 + part(5, row)? * 60) * MICROS_PER_SECOND + (seconds * 1e6).round_ties_even() as i64;
        let range = |_| Error::new(ErrorKind::DatetimeOutOfRange, "interval out of range");
        let (months, days) = (i32::try_from(months).map_err(range)?, i32::try_from(days).map_err(range)?);
        Ok(Some(IntervalMonthDayNano::new(months, days, micros.saturating_mul(1000))))
    })
}

/// A zone by its offset alone (`+02`, `-03:30`), which POSIX counts to the west.
fn posix_offset(name: &str) -> Option<TimeZone> {
    let (hours, minutes) = name.split_once(':').unwrap_or((name, "0"));
    let west = hours.strip_prefix('-').map_or(1, |_| -1);
    let hours: i32 = hours.trim_start_matches(['+', '-']).parse().ok()?;
    let minutes: i32 = minutes.parse().ok()?;
    jiff::tz::Offset::from_seconds(-west * (hours * 3600 + minutes * 60)).ok().map(TimeZone::fixed)
}

/// The time zone of this name; 22023 if there is none.
/// The zone that an argument names, the same for all rows.
pub(super) fn constant_zone(args: &[Datum], at: usize) -> Result<TimeZone> {
    let name = super::rows::text(args, at)?.constant();
    zone_named(name.ok_or_else(|| invalid_parameter("the time zone must be a constant"))?)
}

pub(super) fn zone_named(name: &str) -> Result<TimeZone> {
    crate::session::time_zone(name)
        .or_else(|| crate::format::datetime::zone_abbreviation(name))
        .or_else(|| posix_offset(name))
        .ok_or_else(|| invalid_parameter(format!("time zone \"{name}\" not recognized")))
}

fn zones() -> Vec<ScalarFunction> {
    let shift = |to_local: bool| -> Kernel {
        if to_local {
            |_, args, rows, ty| in_zone(args, rows, ty, utc_to_local)
        } else {
            |_, args, rows, ty| in_zone(args, rows, ty, local_to_utc)
        }
    };
    vec![
        function(
            &["timezone"],
            DATETIME,
            "AT TIME ZONE: a moment on the wall clock of a zone, or the moment that a wall clock showed.",
            ("timezone('UTC', timestamptz '2024-01-01 12:00+00')", "2024-01-01 12:00:00"),
            vec![
                strict([TEXT, TIMESTAMPTZ], Type::Timestamp, shift(true)),
                strict([TEXT, TIMESTAMP], Type::Timestamptz, shift(false)),
                strict([INTERVAL, TIMESTAMPTZ], Type::Timestamp, |_, args, rows, ty| by_offset(args, rows, ty, 1)),
                strict([INTERVAL, TIMESTAMP], Type::Timestamptz, |_, args, rows, ty| by_offset(args, rows, ty, -1)),
            ],
        ),
        function(
            &["isfinite"],
            DATETIME,
            "Whether a moment is not infinite.",
            ("isfinite(date 'infinity')", "f"),
            vec![
                strict([TIMESTAMP], Type::Bool, |_, args, rows, ty| {
                    let times = primitive::<Micros>(args, 0)?;
                    bool_rows(args, rows, ty, |row| Ok(Some(!is_infinite(times.at(row)))))
                }),
                strict([TIMESTAMPTZ], Type::Bool, |_, args, rows, ty| {
                    let times = primitive::<Micros>(args, 0)?;
                    bool_rows(args, rows, ty, |row| Ok(Some(!is_infinite(times.at(row)))))
                }),
                strict([DATE], Type::Bool, |_, args, rows, ty| {
                    let dates = primitive::<Date32Type>(args, 0)?;
                    bool_rows(args, rows, ty, |row| {
                        Ok(Some(!matches!(dates.at(row), DATE_INFINITY | DATE_NEG_INFINITY)))
                    })
                }),
                strict([INTERVAL], Type::Bool, |_, args, rows, ty| bool_rows(args, rows, ty, |_| Ok(Some(true)))),
            ],
        ),
    ]
}

/// AT TIME ZONE with the zone's offset as an interval.
fn by_offset(args: &[Datum], rows: usize, ty: &Type, sign: i64) -> Result<Datum> {
    let (offsets, times) = (primitive::<Intervals>(args, 0)?, primitive::<Micros>(args, 1)?);
    primitive_rows::<Micros>(args, rows, ty, |row| {
        let (offset, at) = (offsets.at(row), times.at(row));
        if offset.months != 0 || offset.days != 0 {
            return Err(invalid_parameter("interval time zone must not include months or days"));
        }
        Ok(Some(if is_infinite(at) { at } else { at + sign * (offset.nanoseconds / 1000) }))
    })
}

fn in_zone(args: &[Datum], rows: usize, ty: &Type, shift: fn(&TimeZone, i64) -> i64) -> Result<Datum> {
    let (names, times) = (text(args, 0)?, primitive::<Micros>(args, 1)?);
    let mut known: Option<(String, TimeZone)> = None;
    primitive_rows::<Micros>(args, rows, ty, |row| {
        let name = names.at(row);
        if known.as_ref().is_none_or(|(last, _)| last != name) {
            known = Some((name.to_string(), zone_named(name)?));
        }
        let at = times.at(row);
        let zone = known.as_ref().map(|(_, zone)| zone);
        Ok(zone.map(|zone| if is_infinite(at) { at } else { shift(zone, at) }))
    })
}

fn spans() -> Vec<ScalarFunction> {
    let justify: fn(&'static [&'static str], &'static str, (&'static str, &'static str), Kernel) -> ScalarFunction =
        |names, doc, example, kernel| {
            function(names, DATETIME, doc, example, vec![strict([INTERVAL], Type::Interval, kernel)])
        };
    vec![
        function(
            &["age"],
            DATETIME,
            "The time between two moments in years, months and days.",
            ("age(timestamp '2001-04-10', timestamp '1957-06-13')", "43 years 9 mons 27 days"),
            vec![
                strict([TIMESTAMP, TIMESTAMP], Type::Interval, |_, args, rows, ty| age(args, rows, ty, None)),
                strict([TIMESTAMPTZ, TIMESTAMPTZ], Type::Interval, |ctx, args, rows, ty| {
                    age(args, rows, ty, Some(&ctx.time_zone))
                }),
                strict([TIMESTAMP], Type::Interval, |ctx, args, rows, ty| {
                    age(&[today(ctx, &Type::Timestamp)?, args[0].clone()], rows, ty, None)
                }),
                strict([TIMESTAMPTZ], Type::Interval, |ctx, args, rows, ty| {
                    age(&[today(ctx, &Type::Timestamptz)?, args[0].clone()], rows, ty, Some(&ctx.time_zone))
                }),
            ],
        ),
        justify(
            &["justify_hours"],
            "24 hours become a day.",
            ("justify_hours(interval '27 hours')", "1 day 03:00:00"),
            |_, a, n, ty| justified(a, n, ty, true, false),
        ),
        justify(
            &["justify_days"],
            "30 days become a month.",
            ("justify_days(interval '35 days')", "1 mon 5 days"),
            |_, a, n, ty| justified(a, n, ty, false, true),
        ),
        justify(
            &["justify_interval"],
            "24 hours become a day, 30 days a month.",
            ("justify_interval(interval '1 mon -1 hour')", "29 days 23:00:00"),
            |_, a, n, ty| justified(a, n, ty, true, true),
        ),
    ]
}

fn justified(args: &[Datum], rows: usize, ty: &Type, hours: bool, days: bool) -> Result<Datum> {
    const DAY: i64 = MICROS_PER_DAY * 1000;
    let spans = primitive::<Intervals>(args, 0)?;
    primitive_rows::<Intervals>(args, rows, ty, |row| {
        let span = spans.at(row);
        let (mut months, mut day, mut nanos) = (i64::from(span.months), i64::from(span.days), span.nanoseconds);
        if hours {
            day += nanos / DAY;
            nanos %= DAY;
        }
        if days {
            months += day / 30;
            day %= 30;
        }
        // All parts get the sign of the largest.
        if days && months > 0 && (day < 0 || (day == 0 && hours && nanos < 0)) {
            (months, day) = (months - 1, day + 30);
        } else if days && months < 0 && (day > 0 || (day == 0 && hours && nanos > 0)) {
            (months, day) = (months + 1, day - 30);
        }
        if hours && day > 0 && nanos < 0 {
            (day, nanos) = (day - 1, nanos + DAY);
        } else if hours && day < 0 && nanos > 0 {
            (day, nanos) = (day + 1, nanos - DAY);
        }
        Ok(Some(IntervalMonthDayNano::new(months as i32, day as i32, nanos)))
    })
}

/// Midnight at the start of the day.
fn today(context: &Context, ty: &Type) -> Result<Datum> {
    let date = moment(context, context.now, &Type::Date)?;
    cast(context, &date, &Type::Date, ty, true, false)
}

/// Postgres's timestamp_age: field by field, borrowing from the month of the earlier moment.
fn age(args: &[Datum], rows: usize, ty: &Type, zone: Option<&TimeZone>) -> Result<Datum> {
    let (a, b) = (primitive::<Micros>(args, 0)?, primitive::<Micros>(args, 1)?);
    primitive_rows::<Intervals>(args, rows, ty, |row| {
        let local = |at: i64| zone.map_or(at, |zone| utc_to_local(zone, at));
        let (a, b) = (local(a.at(row)), local(b.at(row)));
        let negative = a < b;
        let (late, early) = if negative { (b, a) } else { (a, b) };
        let fields = |at: i64| {
            let (year, month, day) = civil_from_days(at.div_euclid(MICROS_PER_DAY));
            (year, i64::from(month), i64::from(day), at.rem_euclid(MICROS_PER_DAY))
        };
        let (y1, m1, d1, t1) = fields(late);
        let (y0, m0, d0, t0) = fields(early);
        let (mut months, mut days, mut time) = ((y1 - y0) * 12 + m1 - m0, d1 - d0, t1 - t0);
        if time < 0 {
            (time, days) = (time + MICROS_PER_DAY, days - 1);
        }
        while days < 0 {
            // The borrowed month is the earlier moment's.
            (days, months) = (days + i64::from(days_in_month(y0, m0 as u32)), months - 1);
        }
        let sign = if negative { -1 } else { 1 };
        Ok(Some(IntervalMonthDayNano::new((sign * months) as i32, (sign * days) as i32, sign * time * 1000)))
    })
}
