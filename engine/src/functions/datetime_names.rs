//! More of ClickHouse's and DuckDB's functions of dates and times: numbers of units since an epoch, names of days, DuckDB's epochs, strftime and
//! strptime.

use arrow::datatypes::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType as Micros};
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use weir_sql::Type;

use super::datetime_trunc::{HOUR, MINUTE};
use super::declare::{DATE, DATETIME, TEXT, TIMESTAMP, TIMESTAMPTZ, function, strict};
use super::rows::{invalid_parameter, map_rows, primitive, primitive_rows, text, text_rows};
use super::{Datum, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::datetime::{
    MICROS_PER_DAY, MICROS_PER_SECOND, as_micros, civil_from_days, days_from_civil, days_in_month, utc_to_local,
};

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = numbers();
    all.extend(epochs());
    all.extend(texts());
    all
}

/// Overloads over the three kinds of moments, whose body sees the local time in microseconds.
macro_rules! of_local {
    ($returns:expr, $out:ty, |$at:ident| $body:expr) => {
        vec![
            strict([TIMESTAMPTZ], $returns, |ctx, args, rows, ty| {
                let zone = &ctx.time_zone;
                map_rows::<Micros, $out>(args, 0, rows, ty, |at| {
                    let $at = utc_to_local(zone, at);
                    $body
                })
            }),
            strict([TIMESTAMP], $returns, |_, args, rows, ty| map_rows::<Micros, $out>(args, 0, rows, ty, |$at| $body)),
            strict([DATE], $returns, |_, args, rows, ty| {
                map_rows::<Date32Type, $out>(args, 0, rows, ty, |day| {
                    let $at = i64::from(day) * MICROS_PER_DAY;
                    $body
                })
            }),
        ]
    };
}

/// Overloads over the three kinds of moments that write a text, with arguments after the moment.
macro_rules! written {
    ([$($more:expr)?], $write:expr) => {
        vec![
            strict(vec![TIMESTAMPTZ, $($more)?], Type::Text, |ctx, a, n, ty| written(a, n, ty, Some(&ctx.time_zone), $write)),
            strict(vec![TIMESTAMP, $($more)?], Type::Text, |_, a, n, ty| written(a, n, ty, None, $write)),
            strict(vec![DATE, $($more)?], Type::Text, |_, a, n, ty| written(a, n, ty, None, $write)),
        ]
    };
}

fn civil(at: i64) -> (i64, u32, u32) {
    civil_from_days(at.div_euclid(MICROS_PER_DAY))
}

fn day(at: i64) -> i64 {
    at.div_euclid(MICROS_PER_DAY)
}

/// The year of ISO 8601 that a day is in: that of its week's Thursday.
fn iso_year(day: i64) -> i64 {
    civil_from_days(day - (day + 3).rem_euclid(7) + 3).0
}

fn numbers() -> Vec<ScalarFunction> {
    let mut all = Vec::new();
    macro_rules! named {
        ($names:expr, $doc:expr, $example:expr, |$at:ident| $body:expr) => {
            all.push(function($names, DATETIME, $doc, $example, of_local!(Type::Int8, Int64Type, |$at| $body)).stable())
        };
    }
    named!(
        &["toISOYear", "isoyear"],
        "The year that the week of ISO 8601 is in.",
        ("toISOYear(date '2024-12-30')", "2025"),
        |at| iso_year(day(at))
    );
    named!(&["toDaysInMonth"], "How many days the month has.", ("toDaysInMonth(date '2024-02-10')", "29"), |at| {
        i64::from(days_in_month(civil(at).0, civil(at).1))
    });
    named!(
        &["toMillisecond"],
        "The milliseconds of the second.",
        ("toMillisecond(timestamp '2024-05-17 13:45:56.789')", "789"),
        |at| at.rem_euclid(MICROS_PER_SECOND) / 1000
    );
    named!(
        &["toRelativeMonthNum"],
        "How many months have passed since the year 0 began.",
        ("toRelativeMonthNum(date '2024-05-17')", "24293"),
        |at| civil(at).0 * 12 + i64::from(civil(at).1)
    );
    named!(
        &["toMonthNumSinceEpoch"],
        "How many months have passed since 1970.",
        ("toMonthNumSinceEpoch(date '2024-05-17')", "652"),
        |at| (civil(at).0 - 1970) * 12 + i64::from(civil(at).1) - 1
    );
    named!(
        &["toYearNumSinceEpoch"],
        "How many years have passed since 1970.",
        ("toYearNumSinceEpoch(date '2024-05-17')", "54"),
        |at| civil(at).0 - 1970
    );
    named!(&["toRelativeYearNum"], "The year.", ("toRelativeYearNum(date '2024-05-17')", "2024"), |at| civil(at).0);
    named!(
        &["toRelativeQuarterNum"],
        "How many quarters have passed since the year 0 began.",
        ("toRelativeQuarterNum(date '2024-05-17')", "8097"),
        |at| civil(at).0 * 4 + i64::from(civil(at).1 - 1) / 3
    );
    named!(
        &["toRelativeWeekNum"],
        "How many weeks, from Monday, have passed since 1970.",
        ("toRelativeWeekNum(date '2024-05-17')", "2837"),
        |at| (day(at) + 3).div_euclid(7)
    );
    named!(
        &["toRelativeDayNum"],
        "How many days have passed since 1970.",
        ("toRelativeDayNum(date '2024-05-17')", "19860"),
        |at| day(at)
    );
    named!(
        &["toRelativeHourNum"],
        "How many hours have passed since 1970.",
        ("toRelativeHourNum(timestamp '2024-05-17 13:45:56')", "476653"),
        |at| at.div_euclid(HOUR)
    );
    named!(
        &["toRelativeMinuteNum"],
        "How many minutes have passed since 1970.",
        ("toRelativeMinuteNum(timestamp '2024-05-17 13:45:56')", "28599225"),
        |at| at.div_euclid(MINUTE)
    );
    named!(
        &["toRelativeSecondNum"],
        "How many seconds have passed since 1970.",
        ("toRelativeSecondNum(timestamp '2024-05-17 13:45:56')", "1715953556"),
        |at| at.div_euclid(MICROS_PER_SECOND)
    );
    all.push(
        function(
            &["toLastDayOfWeek"],
            DATETIME,
            "The Saturday on which the week that began on a Sunday ends.",
            ("toLastDayOfWeek(date '2024-05-17')", "2024-05-18"),
            of_local!(Type::Date, Date32Type, |at| (day(at) + 6 - (day(at) + 4).rem_euclid(7)) as i32),
        )
        .stable(),
    );
    all.push(
        function(
            &["toStartOfISOYear"],
            DATETIME,
            "The Monday on which the year of ISO 8601 begins.",
            ("toStartOfISOYear(date '2024-05-17')", "2024-01-01"),
            of_local!(Type::Date, Date32Type, |at| {
                let fourth = days_from_civil(iso_year(day(at)), 1, 4);
                (fourth - (fourth + 3).rem_euclid(7)) as i32
            }),
        )
        .stable(),
    );
    all
}

fn epochs() -> Vec<ScalarFunction> {
    macro_rules! epoch {
        ($names:expr, $doc:expr, $example:expr, $returns:expr, $out:ty, |$at:ident| $body:expr) => {
            function(
                $names,
                DATETIME,
                $doc,
                $example,
                vec![
                    strict([TIMESTAMPTZ], $returns, |_, a, n, ty| map_rows::<Micros, $out>(a, 0, n, ty, |$at| $body)),
                    strict([TIMESTAMP], $returns, |_, a, n, ty| map_rows::<Micros, $out>(a, 0, n, ty, |$at| $body)),
                    strict([DATE], $returns, |_, a, n, ty| {
                        map_rows::<Date32Type, $out>(a, 0, n, ty, |day| {
                            let $at = i64::from(day) * MICROS_PER_DAY;
                            $body
                        })
                    }),
                ],
            )
        };
    }
    vec![
        epoch!(
            &["epoch"],
            "Seconds since 1970.",
            ("epoch(timestamp '2024-05-17 13:45:56.5')", "1715953556.5"),
            Type::Float8,
            Float64Type,
            |at| at as f64 / 1e6
        ),
        epoch!(
            &["epoch_ms"],
            "Milliseconds since 1970.",
            ("epoch_ms(timestamp '2024-05-17 13:45:56.5')", "1715953556500"),
            Type::Int8,
            Int64Type,
            |at| at.div_euclid(1000)
        ),
        epoch!(
            &["epoch_us"],
            "Microseconds since 1970.",
            ("epoch_us(timestamp '2024-05-17 13:45:56.5')", "1715953556500000"),
            Type::Int8,
            Int64Type,
            |at| at
        ),
    ]
}

fn texts() -> Vec<ScalarFunction> {
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let parse = |names, doc, example, kernel| {
        function(names, DATETIME, doc, example, vec![strict([TEXT, TEXT], Type::Timestamp, kernel)])
    };
    vec![
        function(
            &["dayname"],
            DATETIME,
            "The day of the week.",
            ("dayname(date '2024-05-17')", "Friday"),
            written!([], |at, _, out| {
                out.push_str(DAYS[(day(at) + 3).rem_euclid(7) as usize]);
                Ok(())
            }),
        )
        .stable(),
        function(
            &["strftime"],
            DATETIME,
            "A moment as text, by C's format: %Y-%m-%d %H:%M:%S.",
            ("strftime(timestamp '2024-05-17 13:45:56', '%d.%m.%Y %H:%M')", "17.05.2024 13:45"),
            written!([TEXT], |at, format, out| {
                let wrong =
                    |error: jiff::Error| invalid_parameter(format!("strftime cannot write \"{format}\": {error}"));
                out.push_str(&strtime::format(format, date_time(at)?).map_err(wrong)?);
                Ok(())
            }),
        )
        .stable(),
        parse(
            &["strptime"],
            "The moment that a text says in C's format.",
            ("strptime('17.05.2024 13:45', '%d.%m.%Y %H:%M')", "2024-05-17 13:45:00"),
            |_, a, n, ty| parsed(a, n, ty, false),
        ),
        parse(
            &["try_strptime"],
            "The moment that a text says in C's format; NULL if it does not.",
            ("try_strptime('x', '%Y')", "NULL"),
            |_, a, n, ty| parsed(a, n, ty, true),
        ),
    ]
}

fn date_time(at: i64) -> Result<DateTime> {
    let wrong = |_| Error::new(ErrorKind::DatetimeOutOfRange, "timestamp out of range");
    Ok(TimeZone::UTC.to_datetime(jiff::Timestamp::from_microsecond(at).map_err(wrong)?))
}

/// A kernel that writes each moment's local time, given what the second argument says if there is one.
fn written(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    zone: Option<&TimeZone>,
    write: fn(i64, &str, &mut String) -> Result<()>,
) -> Result<Datum> {
    let local = [as_micros(&args[0], None)];
    let moments = primitive::<Int64Type>(&local, 0)?;
    let formats = if args.len() > 1 { Some(text(args, 1)?) } else { None };
    text_rows(args, rows, types, |row, out| {
        let at = zone.map_or(moments.at(row), |zone| utc_to_local(zone, moments.at(row)));
        write(at, formats.map_or("", |formats| formats.at(row)), out)?;
        Ok(true)
    })
}

fn parsed(args: &[Datum], rows: usize, types: &Types<'_>, lenient: bool) -> Result<Datum> {
    let (texts, formats) = (text(args, 0)?, text(args, 1)?);
    primitive_rows::<Micros>(args, rows, types, |row| {
        let (value, format) = (texts.at(row), formats.at(row));
        let found = strtime::parse(format, value)
            .and_then(|parts| parts.to_datetime().or_else(|_| parts.to_date().map(DateTime::from)));
        match found.and_then(|found| TimeZone::UTC.to_timestamp(found)) {
            Ok(moment) => Ok(Some(moment.as_microsecond())),
            Err(_) if lenient => Ok(None),
            Err(error) => {
                let message = format!("\"{value}\" is not a time in the format \"{format}\"");
                Err(Error::new(ErrorKind::InvalidDatetime, message).with_detail(error.to_string()))
            }
        }
    })
}
