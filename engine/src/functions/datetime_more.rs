//! ClickHouse's smaller functions of dates and times: names and differences of parts, zones, slots, dates from numbers, and parts replaced.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, TimestampMicrosecondArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Date32Type, Int32Type, Int64Type, TimestampMicrosecondType as Micros};
use weir_sql::Type;

use super::datetime::zone_named;
use super::datetime_fields::iso_week;
use super::declare::{DATE, DATETIME, INT4, INT8, TEXT, TIMESTAMP, TIMESTAMPTZ, function, strict};
use super::rows::{batch, invalid_parameter, is_valid, nulls_of, primitive, primitive_rows, text, text_rows};
use super::string::write;
use super::template::{DAYS, MONTHS};
use super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::datetime::{
    MICROS_PER_DAY, MICROS_PER_SECOND, as_micros, civil_from_days, days_from_civil, days_in_month, is_timestamp,
    local_to_utc, offset_at, utc_to_local,
};

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = parts();
    all.extend(zones());
    all.extend(numbers());
    all.extend(changes());
    all
}

fn parts() -> Vec<ScalarFunction> {
    let days = |params: Vec<_>, kernel: Kernel| strict(params, Type::Int4, kernel);
    vec![
        function(
            &["dateName"],
            DATETIME,
            "A part of a moment, a month and a day of the week by their English names.",
            ("dateName('weekday', date '2024-05-07')", "Tuesday"),
            vec![
                strict([TEXT, DATE], Type::Text, name),
                strict([TEXT, TIMESTAMP], Type::Text, name),
                strict([TEXT, TIMESTAMPTZ], Type::Text, name),
            ],
        )
        .stable(),
        function(
            &["age"],
            DATETIME,
            "How many whole units lie between two moments.",
            ("age('hour', timestamptz '2024-01-01 22:00+00', timestamptz '2024-01-02 00:30+00')", "2"),
            vec![strict([TEXT, TIMESTAMPTZ, TIMESTAMPTZ], Type::Int8, age)],
        )
        .stable(),
        function(
            &["timeDiff"],
            DATETIME,
            "The seconds from one moment to another.",
            ("timeDiff(timestamptz '2024-01-01 00:00+00', timestamptz '2024-01-01 00:01+00')", "60"),
            vec![strict([TIMESTAMPTZ, TIMESTAMPTZ], Type::Int8, |_, a, n, ty| {
                let (from, to) = (primitive::<Micros>(a, 0)?, primitive::<Micros>(a, 1)?);
                let second = |at: i64| at.div_euclid(MICROS_PER_SECOND);
                primitive_rows::<Int64Type>(a, n, ty, |row| Ok(Some(second(to.at(row)) - second(from.at(row)))))
            })],
        ),
        function(
            &["toDayOfWeek"],
            DATETIME,
            "The day of the week: of mode 0 from Monday, 1, of mode 1 from Monday, 0, of mode 2 from Sunday, 0, of mode 3 from Sunday, 1.",
            ("toDayOfWeek(date '2024-05-12', 2)", "0"),
            vec![
                days(vec![DATE, INT4], day_of_week),
                days(vec![TIMESTAMP, INT4], day_of_week),
                days(vec![TIMESTAMPTZ, INT4], day_of_week),
            ],
        )
        .stable(),
        function(
            &["timeSlots"],
            DATETIME,
            "The beginnings of the slots of so many seconds (1800) that so many seconds from a moment on are in.",
            (
                "timeSlots(timestamptz '2024-05-07 13:44:05+00', 600, 300)",
                "{\"2024-05-07 13:40:00+00\",\"2024-05-07 13:45:00+00\",\"2024-05-07 13:50:00+00\"}",
            ),
            vec![
                strict([TIMESTAMPTZ, INT8, INT8], Type::Array(Box::new(Type::Timestamptz)), slots).optional(1),
            ],
        ),
    ]
}

/// The wall clock's time of each row's moment, in microseconds; `at` is the moment's argument.
fn locals<'a>(
    context: &'a Context,
    args: &[Datum],
    types: &Types<'_>,
    at: usize,
) -> Result<impl Fn(usize) -> i64 + 'a> {
    let zone = (types.args[at] == Type::Timestamptz).then_some(&context.time_zone);
    let array = as_micros(&args[at], None);
    let constant = matches!(array, Datum::Scalar(_));
    let values = primitive::<Int64Type>(std::slice::from_ref(&array), 0)?.array.clone();
    Ok(move |row: usize| {
        let value = values.value(if constant { 0 } else { row });
        zone.map_or(value, |zone| utc_to_local(zone, value))
    })
}

fn name(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (parts, local) = (text(args, 0)?, locals(context, args, types, 1)?);
    text_rows(args, rows, types, |row, out| {
        let at = local(row);
        let (day, time) = (at.div_euclid(MICROS_PER_DAY), at.rem_euclid(MICROS_PER_DAY) / MICROS_PER_SECOND);
        let (year, month, of_month) = civil_from_days(day);
        let number = match parts.at(row).to_lowercase().as_str() {
            "year" => year,
            "quarter" => i64::from(month - 1) / 3 + 1,
            "month" => {
                out.push_str(MONTHS[month as usize - 1]);
                return Ok(true);
            }
            "dayofyear" => day - days_from_civil(year, 1, 1) + 1,
            "day" => of_month.into(),
            "week" => iso_week(day).1,
            "weekday" => {
                out.push_str(DAYS[(day + 4).rem_euclid(7) as usize]);
                return Ok(true);
            }
            "hour" => time / 3600,
            "minute" => time / 60 % 60,
            "second" => time % 60,
            other => return Err(invalid_parameter(format!("dateName has no part \"{other}\""))),
        };
        write(out, format_args!("{number}"))
    })
}

fn age(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (units, from, to) = (text(args, 0)?, locals(context, args, types, 1)?, locals(context, args, types, 2)?);
    primitive_rows::<Int64Type>(args, rows, types, |row| {
        let (from, to) = (from(row), to(row));
        // Whole months from the first to the second, towards 0: one less if the day of the month is not reached.
        let months = || {
            let [(first, day), (second, other)] = [from, to].map(|at| {
                let (year, month, day) = civil_from_days(at.div_euclid(MICROS_PER_DAY));
                (year * 12 + i64::from(month), (day, at.rem_euclid(MICROS_PER_DAY)))
            });
            let months = second - first;
            match months.cmp(&0) {
                Ordering::Greater if other < day => months - 1,
                Ordering::Less if other > day => months + 1,
                _ => months,
            }
        };
        let micros = to.saturating_sub(from);
        let unit = units.at(row).to_lowercase();
        Ok(Some(match unit.strip_suffix('s').unwrap_or(&unit) {
            "year" | "yyyy" | "yy" => months() / 12,
            "quarter" | "qq" | "q" => months() / 3,
            "month" | "mm" | "m" => months(),
            "week" | "wk" | "ww" => micros / (7 * MICROS_PER_DAY),
            "day" | "dd" | "d" => micros / MICROS_PER_DAY,
            "hour" | "hh" | "h" => micros / (3600 * MICROS_PER_SECOND),
            "minute" | "mi" | "n" => micros / (60 * MICROS_PER_SECOND),
            "second" | "" => micros / MICROS_PER_SECOND,
            "millisecond" => micros / 1000,
            "microsecond" => micros,
            other => return Err(invalid_parameter(format!("age has no unit \"{other}\""))),
        }))
    })
}

fn day_of_week(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (local, modes) = (locals(context, args, types, 0)?, primitive::<Int32Type>(args, 1)?);
    primitive_rows::<Int32Type>(args, rows, types, |row| {
        let day = local(row).div_euclid(MICROS_PER_DAY);
        let (monday, sunday) = ((day + 3).rem_euclid(7) as i32, (day + 4).rem_euclid(7) as i32);
        Ok(Some(match modes.at(row) & 3 {
            0 => monday + 1,
            1 => monday,
            2 => sunday,
            _ => sunday + 1,
        }))
    })
}

fn slots(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    const SLOTS_MAX: i64 = 1 << 20;
    let (starts, durations) = (primitive::<Micros>(args, 0)?, primitive::<Int64Type>(args, 1)?);
    let sizes = if args.len() > 2 { Some(primitive::<Int64Type>(args, 2)?) } else { None };
    batch(args, rows, types, |rows| {
        let nulls = nulls_of(args, rows);
        let (mut out, mut lengths) = (Vec::new(), Vec::with_capacity(rows));
        for row in 0..rows {
            let before = out.len();
            if is_valid(&nulls, row) {
                let size = sizes.map_or(1800, |sizes| sizes.at(row));
                if size <= 0 {
                    return Err(invalid_parameter("the size of a slot must be above 0"));
                }
                let start = starts.at(row).div_euclid(MICROS_PER_SECOND);
                let (first, last) = (start.div_euclid(size), start.saturating_add(durations.at(row)).div_euclid(size));
                if last.saturating_sub(first) > SLOTS_MAX {
                    return Err(Error::new(ErrorKind::ProgramLimit, format!("more than {SLOTS_MAX} slots")));
                }
                out.extend((first..=last).map(|slot| slot.saturating_mul(size).saturating_mul(MICROS_PER_SECOND)));
            }
            lengths.push(out.len() - before);
        }
        let values: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(out).with_data_type(Type::Timestamptz.to_arrow()));
        let field = Type::Timestamptz.element_field();
        Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, nulls)?))
    })
}

fn zones() -> Vec<ScalarFunction> {
    let moved = |names, doc, example, kernel: Kernel| {
        let overload = strict([TIMESTAMPTZ, TEXT], Type::Timestamptz, kernel);
        function(names, DATETIME, doc, example, vec![overload]).stable()
    };
    vec![
        moved(
            &["toTimeZone", "toTimezone"],
            "The moment, which is the same in every zone.",
            ("toTimeZone(timestamptz '2024-05-07 13:04:05+00', 'Asia/Tokyo')", "2024-05-07 13:04:05+00"),
            |_, a, n, ty| {
                let (times, zones) = (primitive::<Micros>(a, 0)?, text(a, 1)?);
                primitive_rows::<Micros>(a, n, ty, |row| zone_named(zones.at(row)).map(|_| Some(times.at(row))))
            },
        ),
        moved(
            &["toUTCTimestamp", "to_utc_timestamp"],
            "The moment whose wall clock in UTC is now read as one of another zone.",
            ("toUTCTimestamp(timestamptz '2024-05-07 13:00+00', 'Asia/Tokyo')", "2024-05-07 04:00:00+00"),
            |_, a, n, ty| shifted(a, n, ty, local_to_utc),
        ),
        moved(
            &["fromUTCTimestamp", "from_utc_timestamp"],
            "The moment whose wall clock in UTC is that of another zone.",
            ("fromUTCTimestamp(timestamptz '2024-05-07 13:00+00', 'Asia/Tokyo')", "2024-05-07 22:00:00+00"),
            |_, a, n, ty| shifted(a, n, ty, utc_to_local),
        ),
        function(
            &["timezone", "serverTimezone", "timezoneOf", "timeZoneOf"],
            DATETIME,
            "The session's time zone, which moments are shown in.",
            ("timezone()", "UTC"),
            vec![strict([], Type::Text, zone_name), strict([TIMESTAMPTZ], Type::Text, zone_name)],
        )
        .stable(),
        function(
            &["timezoneOffset", "timeZoneOffset"],
            DATETIME,
            "How many seconds the session's zone is ahead of UTC at a moment.",
            ("timezoneOffset(timestamptz '2024-05-07 13:00+00')", "0"),
            vec![strict([TIMESTAMPTZ], Type::Int4, |context, a, n, ty| {
                let times = primitive::<Micros>(a, 0)?;
                primitive_rows::<Int32Type>(a, n, ty, |row| Ok(Some(offset_at(&context.time_zone, times.at(row)))))
            })],
        )
        .stable(),
    ]
}

fn zone_name(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    text_rows(args, rows, types, |_, out| {
        out.push_str(context.time_zone.iana_name().unwrap_or("UTC"));
        Ok(true)
    })
}

fn shifted(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    shift: fn(&jiff::tz::TimeZone, i64) -> i64,
) -> Result<Datum> {
    let (times, zones) = (primitive::<Micros>(args, 0)?, text(args, 1)?);
    primitive_rows::<Micros>(args, rows, types, |row| Ok(Some(shift(&zone_named(zones.at(row))?, times.at(row)))))
}

fn out_of_range() -> Error {
    Error::new(ErrorKind::DatetimeOutOfRange, "date/time field value out of range")
}

/// The day of a year, month and day, if there is one.
fn date(year: i64, month: i64, day: i64) -> Result<i64> {
    let there = (1..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=i64::from(days_in_month(year, month as u32))).contains(&day);
    if there { Ok(days_from_civil(year, month, day)) } else { Err(out_of_range()) }
}

fn numbers() -> Vec<ScalarFunction> {
    /// Days from 0000-01-01 and from 1858-11-17 to 1970-01-01.
    const YEAR_ZERO: i64 = 719_528;
    const JULIAN: i64 = 40_587;
    let of = |params: Vec<_>, returns: Type, kernel: Kernel| vec![strict(params, returns, kernel)];
    vec![
        function(
            &["YYYYMMDDToDate", "YYYYMMDDToDate32"],
            DATETIME,
            "The date that the digits of a number are.",
            ("YYYYMMDDToDate(20240507)", "2024-05-07"),
            of(vec![INT8], Type::Date, |_, a, n, ty| {
                let values = primitive::<Int64Type>(a, 0)?;
                primitive_rows::<Date32Type>(a, n, ty, |row| {
                    let value = values.at(row);
                    Ok(Some(date(value / 10_000, value / 100 % 100, value % 100)? as i32))
                })
            }),
        ),
        function(
            &["YYYYMMDDhhmmssToDateTime", "YYYYMMDDhhmmssToDateTime64"],
            DATETIME,
            "The moment that the digits of a number are.",
            ("YYYYMMDDhhmmssToDateTime(20240507130405)", "2024-05-07 13:04:05+00"),
            of(vec![INT8], Type::Timestamptz, |context, a, n, ty| {
                let values = primitive::<Int64Type>(a, 0)?;
                primitive_rows::<Micros>(a, n, ty, |row| {
                    let (value, time) = (values.at(row) / 1_000_000, values.at(row) % 1_000_000);
                    let (hour, minute, second) = (time / 10_000, time / 100 % 100, time % 100);
                    if hour > 23 || minute > 59 || second > 59 {
                        return Err(out_of_range());
                    }
                    let days = date(value / 10_000, value / 100 % 100, value % 100)?;
                    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
                    Ok(Some(local_to_utc(&context.time_zone, seconds * MICROS_PER_SECOND)))
                })
            }),
        )
        .stable(),
        function(
            &["makeDate", "makeDate32"],
            DATETIME,
            "The date of a year, a month and a day, or of a year and a day of it.",
            ("makeDate(2024, 60)", "2024-02-29"),
            vec![
                strict([INT4, INT4, INT4], Type::Date, |_, a, n, ty| {
                    let [year, month, day] = [0, 1, 2].map(|at| primitive::<Int32Type>(a, at));
                    let (year, month, day) = (year?, month?, day?);
                    primitive_rows::<Date32Type>(a, n, ty, |row| {
                        Ok(Some(date(year.at(row).into(), month.at(row).into(), day.at(row).into())? as i32))
                    })
                }),
                strict([INT4, INT4], Type::Date, |_, a, n, ty| {
                    let (years, days) = (primitive::<Int32Type>(a, 0)?, primitive::<Int32Type>(a, 1)?);
                    primitive_rows::<Date32Type>(a, n, ty, |row| {
                        let year = i64::from(years.at(row));
                        let (first, next) = (date(year, 1, 1)?, days_from_civil(year + 1, 1, 1));
                        let day = first + i64::from(days.at(row)) - 1;
                        if (first..next).contains(&day) { Ok(Some(day as i32)) } else { Err(out_of_range()) }
                    })
                }),
            ],
        ),
        function(
            &["toModifiedJulianDay"],
            DATETIME,
            "The modified Julian day of a date.",
            ("toModifiedJulianDay('2024-05-07')", "60437"),
            of(vec![DATE], Type::Int4, |_, a, n, ty| {
                let dates = primitive::<Date32Type>(a, 0)?;
                primitive_rows::<Int32Type>(a, n, ty, |row| Ok(Some(dates.at(row).saturating_add(JULIAN as i32))))
            }),
        ),
        function(
            &["fromModifiedJulianDay"],
            DATETIME,
            "The date of a modified Julian day.",
            ("fromModifiedJulianDay(60437)", "2024-05-07"),
            of(vec![INT4], Type::Date, |_, a, n, ty| {
                let days = primitive::<Int32Type>(a, 0)?;
                primitive_rows::<Date32Type>(a, n, ty, |row| Ok(Some(days.at(row).saturating_sub(JULIAN as i32))))
            }),
        ),
        function(
            &["toDaysSinceYearZero", "to_days"],
            DATETIME,
            "The days from the first of the year 0 to a date.",
            ("toDaysSinceYearZero(date '2024-05-07')", "739378"),
            of(vec![DATE], Type::Int4, |_, a, n, ty| {
                let dates = primitive::<Date32Type>(a, 0)?;
                primitive_rows::<Int32Type>(a, n, ty, |row| Ok(Some(dates.at(row).saturating_add(YEAR_ZERO as i32))))
            }),
        ),
        function(
            &["fromDaysSinceYearZero", "from_days"],
            DATETIME,
            "The date so many days after the first of the year 0.",
            ("fromDaysSinceYearZero(739378)", "2024-05-07"),
            of(vec![INT4], Type::Date, |_, a, n, ty| {
                let days = primitive::<Int32Type>(a, 0)?;
                primitive_rows::<Date32Type>(a, n, ty, |row| Ok(Some(days.at(row).saturating_sub(YEAR_ZERO as i32))))
            }),
        ),
    ]
}

/// A part of a moment that may be replaced.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

fn changes() -> Vec<ScalarFunction> {
    macro_rules! change {
        ($name:literal, $doc:literal, $example:expr, $part:expr) => {{
            let kernel: Kernel = |context, a, n, ty| changed(context, a, n, ty, $part);
            let mut overloads: Vec<Overload> = vec![
                strict([TIMESTAMP, INT4], Type::Timestamp, kernel),
                strict([TIMESTAMPTZ, INT4], Type::Timestamptz, kernel),
            ];
            if matches!($part, Part::Year | Part::Month | Part::Day) {
                overloads.push(strict([DATE, INT4], Type::Date, kernel));
            }
            function(&[$name], DATETIME, $doc, $example, overloads).stable()
        }};
    }
    vec![
        change!(
            "changeYear",
            "The moment with another year.",
            ("changeYear(date '2024-05-07', 2020)", "2020-05-07"),
            Part::Year
        ),
        change!(
            "changeMonth",
            "The moment with another month.",
            ("changeMonth(date '2024-05-07', 2)", "2024-02-07"),
            Part::Month
        ),
        change!(
            "changeDay",
            "The moment with another day of the month.",
            ("changeDay(date '2024-05-07', 31)", "2024-05-31"),
            Part::Day
        ),
        change!(
            "changeHour",
            "The moment with another hour.",
            ("changeHour(timestamp '2024-05-07 13:04:05', 1)", "2024-05-07 01:04:05"),
            Part::Hour
        ),
        change!(
            "changeMinute",
            "The moment with another minute.",
            ("changeMinute(timestamp '2024-05-07 13:04:05', 1)", "2024-05-07 13:01:05"),
            Part::Minute
        ),
        change!(
            "changeSecond",
            "The moment with another second.",
            ("changeSecond(timestamp '2024-05-07 13:04:05', 1)", "2024-05-07 13:04:01"),
            Part::Second
        ),
    ]
}

fn changed(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>, part: Part) -> Result<Datum> {
    let (local, values) = (locals(context, args, types, 0)?, primitive::<Int32Type>(args, 1)?);
    let of_row = |row: usize| -> Result<i64> {
        let (at, value) = (local(row), i64::from(values.at(row)));
        let (day, time) = (at.div_euclid(MICROS_PER_DAY), at.rem_euclid(MICROS_PER_DAY));
        let (year, month, of_month) = civil_from_days(day);
        let pick = |own: Part, before: i64| if part == own { value } else { before };
        let day = match part {
            // The last day of a month that has fewer.
            Part::Year | Part::Month => {
                let (year, month) = (pick(Part::Year, year), pick(Part::Month, month.into()));
                let first = date(year, month, 1)?;
                first + i64::from(of_month.min(days_in_month(year, month as u32))) - 1
            }
            Part::Day => date(year, month.into(), value)?,
            _ => day,
        };
        let seconds = time / MICROS_PER_SECOND;
        let hour = pick(Part::Hour, seconds / 3600);
        let minute = pick(Part::Minute, seconds / 60 % 60);
        let second = pick(Part::Second, seconds % 60);
        if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..60).contains(&second) {
            return Err(out_of_range());
        }
        let micros = (hour * 3600 + minute * 60 + second) * MICROS_PER_SECOND + time % MICROS_PER_SECOND;
        Ok(day * MICROS_PER_DAY + micros)
    };
    match types.result {
        Type::Date => primitive_rows::<Date32Type>(args, rows, types, |row| {
            Ok(Some(of_row(row)?.div_euclid(MICROS_PER_DAY) as i32))
        }),
        _ => primitive_rows::<Micros>(args, rows, types, |row| {
            let at = of_row(row)?;
            let at = if *types.result == Type::Timestamptz { local_to_utc(&context.time_zone, at) } else { at };
            if is_timestamp(at) { Ok(Some(at)) } else { Err(out_of_range()) }
        }),
    }
}
