//! ClickHouse's toWeek and toYearWeek, with MySQL's modes.
//!
//! Of a mode's bits, 1 begins weeks on Monday rather than Sunday, 2 counts the days before the first week to the last of the year before rather than to
//! a week 0, 4 turns around what the first week is: that with the year's first such day, or that with four days or more in the year. 8
//! makes it the week with January 1.

use arrow::datatypes::{Date32Type, Int32Type, TimestampMicrosecondType};
use weir_sql::Type;

use super::declare::{DATE, DATETIME, INT4, TIMESTAMP, TIMESTAMPTZ, function, strict};
use super::rows::{primitive, primitive_rows};
use super::{Datum, ScalarFunction, Types};
use crate::error::Result;
use crate::kernels::datetime::{MICROS_PER_DAY, civil_from_days, days_from_civil, utc_to_local};

pub(crate) fn functions() -> Vec<ScalarFunction> {
    macro_rules! week {
        ($names:expr, $doc:expr, $example:expr, $of:expr) => {
            function(
                $names,
                DATETIME,
                $doc,
                $example,
                vec![
                    strict([DATE, INT4], Type::Int4, |_, a, n, ty| {
                        let dates = primitive::<Date32Type>(a, 0)?;
                        weeks(a, n, ty, |row| i64::from(dates.at(row)), $of)
                    })
                    .optional(1),
                    strict([TIMESTAMP, INT4], Type::Int4, |_, a, n, ty| {
                        let times = primitive::<TimestampMicrosecondType>(a, 0)?;
                        weeks(a, n, ty, |row| times.at(row).div_euclid(MICROS_PER_DAY), $of)
                    })
                    .optional(1),
                    strict([TIMESTAMPTZ, INT4], Type::Int4, |ctx, a, n, ty| {
                        let times = primitive::<TimestampMicrosecondType>(a, 0)?;
                        let day = |row| utc_to_local(&ctx.time_zone, times.at(row)).div_euclid(MICROS_PER_DAY);
                        weeks(a, n, ty, day, $of)
                    })
                    .optional(1),
                ],
            )
            .stable()
        };
    }
    vec![
        week!(
            &["toWeek"],
            "The week of the year, in one of MySQL's modes (0).",
            ("toWeek(date '2016-12-27', 1)", "52"),
            |day, mode| week(day, mode).1
        ),
        week!(
            &["toYearWeek", "yearweek"],
            "The year of a week and the week, as 201652, in one of MySQL's modes (0).",
            ("toYearWeek(date '2016-12-27', 9)", "201701"),
            |day, mode| {
                let (year, week) = week(day, mode | 2);
                year * 100 + week
            }
        ),
    ]
}

fn weeks(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    day: impl Fn(usize) -> i64,
    of: fn(i64, i32) -> i64,
) -> Result<Datum> {
    let modes = if args.len() > 1 { Some(primitive::<Int32Type>(args, 1)?) } else { None };
    primitive_rows::<Int32Type>(args, rows, types, |row| {
        Ok(Some(of(day(row), modes.as_ref().map_or(0, |modes| modes.at(row))) as i32))
    })
}

/// Year and week of a day, which is counted from 1970-01-01.
fn week(day: i64, mode: i32) -> (i64, i64) {
    let monday_first = mode & 1 != 0;
    let first_day = |year: i64| days_from_civil(year, 1, 1);
    // Days since the week's first day.
    let weekday = |day: i64| if monday_first { (day + 3).rem_euclid(7) } else { (day + 4).rem_euclid(7) };
    if mode & 8 != 0 {
        let year = civil_from_days(day + 6 - weekday(day)).0;
        let (start, first) = (day - weekday(day), first_day(year));
        return (year, (start - (first - weekday(first))) / 7 + 1);
    }
    let mut year = civil_from_days(day).0;
    // Whether the first week begins with the year's first day of weeks.
    let whole = (mode & 4 != 0) == monday_first;
    let short = |weekday: i64| if whole { weekday != 0 } else { weekday >= 4 };
    let mut first = first_day(year);
    let mut with_year = mode & 2 != 0;
    if day - first < 7 - weekday(first) {
        if !with_year && short(weekday(first)) {
            return (year, 0);
        }
        if short(weekday(first)) {
            with_year = true;
            year -= 1;
            first = first_day(year);
        }
    }
    let start = if short(weekday(first)) { first + 7 - weekday(first) } else { first - weekday(first) };
    if with_year && day - start >= 52 * 7 && !short(weekday(first_day(year + 1))) {
        return (year + 1, 1);
    }
    (year, (day - start) / 7 + 1)
}
