//! to_char of moments and intervals: a template filled in.

use std::fmt::Write;

use arrow::datatypes::IntervalMonthDayNano;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::datetime::{Case, DAYS, Field, MONTHS, Node, Pattern, ROMAN, ordinal_ending};
use crate::error::{Error, ErrorKind, Result};
use crate::functions::datetime_fields::iso_week;
use crate::kernels::datetime::{MICROS_PER_SECOND, civil_from_days, days_from_civil, offset_at, split_micros};

/// What is shown, by its fields. The year 0 is 1 BC.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fields {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// Days since 1970; of an interval its length in days, a month counted as 30.
    days: i64,
    /// The offset from UTC in seconds and the zone's short name.
    zone: Option<(i64, String)>,
    is_interval: bool,
}

/// The zone's short name at a moment, such as CET.
fn abbreviation(zone: &TimeZone, micros: i64) -> String {
    let second = micros.div_euclid(MICROS_PER_SECOND).clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(second)
        .map_or_else(|_| String::new(), |at| zone.to_offset_info(at).abbreviation().to_string())
}

impl Fields {
    /// Of a wall-clock time.
    pub(super) fn of_timestamp(micros: i64) -> Fields {
        let (days, time) = split_micros(micros);
        let (year, month, day) = civil_from_days(days);
        let second = time / MICROS_PER_SECOND;
        Fields {
            year,
            month: month.into(),
            day: day.into(),
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            micros: time % MICROS_PER_SECOND,
            days,
            zone: None,
            is_interval: false,
        }
    }

    /// Of a moment, in a zone.
    pub(super) fn of_timestamptz(micros: i64, zone: &TimeZone) -> Fields {
        let offset = i64::from(offset_at(zone, micros));
        let local = micros.saturating_add(offset * MICROS_PER_SECOND);
        Fields { zone: Some((offset, abbreviation(zone, micros))), ..Fields::of_timestamp(local) }
    }

    /// Of an interval: hours may be more than 24, and each field may be negative.
    pub(super) fn of_interval(span: IntervalMonthDayNano) -> Fields {
        let micros = span.nanoseconds / 1000;
        let (months, days) = (i64::from(span.months), i64::from(span.days));
        Fields {
            year: months / 12,
            month: months % 12,
            day: days,
            hour: micros / (3600 * MICROS_PER_SECOND),
            minute: micros / (60 * MICROS_PER_SECOND) % 60,
            second: micros / MICROS_PER_SECOND % 60,
            micros: micros % MICROS_PER_SECOND,
            days: months * 30 + days,
            zone: None,
            is_interval: true,
        }
    }

    /// The year as it is written: there is no year 0.
    fn shown_year(&self, year: i64) -> i64 {
        if self.is_interval || year > 0 { year } else { 1 - year }
    }

    /// ISO 8601's year of the date.
    fn iso_year(&self) -> i64 {
        if self.is_interval { self.year } else { iso_week(self.days).0 }
    }

    fn iso_week(&self) -> i64 {
        if self.is_interval { (self.days - 1) / 7 + 1 } else { iso_week(self.days).1 }
    }

    fn day_of_year(&self) -> i64 {
        if self.is_interval { self.days } else { self.days - days_from_civil(self.year, 1, 1) + 1 }
    }

    fn iso_day_of_year(&self) -> i64 {
        if self.is_interval {
            return self.days;
        }
        let (_, week) = iso_week(self.days);
        (week - 1) * 7 + self.weekday_from_monday() + 1
    }

    /// 0 is Sunday.
    fn weekday(&self) -> i64 {
        (self.days + 4).rem_euclid(7)
    }

    fn weekday_from_monday(&self) -> i64 {
        (self.days + 3).rem_euclid(7)
    }

    fn century(&self) -> i64 {
        match self.year {
            year if self.is_interval => year / 100,
            year if year > 0 => (year - 1) / 100 + 1,
            year => year / 100 - 1,
        }
    }
}

/// Appends the fields as the template wants them.
pub(super) fn write(template: &[Node], fields: &Fields, out: &mut String) -> Result<()> {
    for node in template {
        match *node {
            Node::Space(c) | Node::Separator(c) | Node::Text(c) => out.push(c),
            Node::Field { pattern, fill, ordinal, translated } => {
                let start = out.len();
                let numeric = write_field(pattern, fill, translated, fields, out)?;
                if let (Some(upper), true) = (ordinal, numeric) {
                    let ending = ordinal_ending(&out[start..], upper);
                    out.push_str(ending);
                }
            }
        }
    }
    Ok(())
}

fn not_of_interval(fields: &Fields) -> Result<()> {
    if !fields.is_interval {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidDatetime, "invalid format specification for an interval value")
        .with_hint("Intervals are not tied to specific calendar dates."))
}

/// A number with zeros in front, the sign counted with negative ones; as short as it is with FM.
fn number(out: &mut String, value: i64, width: usize, fill: bool) -> bool {
    let width = match (fill, value < 0) {
        (true, _) => 0,
        (false, true) => width + 1,
        (false, false) => width,
    };
    let _ = write!(out, "{value:0width$}");
    true
}

fn cased(name: &str, case: Case) -> String {
    match case {
        Case::Upper => name.to_ascii_uppercase(),
        Case::Capital => name.to_string(),
        Case::Lower => name.to_ascii_lowercase(),
    }
}

/// A name filled up with spaces to a width.
fn name(out: &mut String, name: &str, case: Case, width: usize) -> bool {
    let _ = write!(out, "{:width$}", cased(name, case));
    false
}

fn fraction(out: &mut String, micros: i64, digits: u8) -> bool {
    let value = micros / 10_i64.pow(6 - u32::from(digits));
    // printf counts the sign as one of the digits.
    let width = usize::from(digits);
    let _ = write!(out, "{value:0width$}");
    true
}

/// Writes one pattern; whether it is a number, which may have an ordinal's ending.
fn write_field(pattern: Pattern, fill: bool, translated: bool, fields: &Fields, out: &mut String) -> Result<bool> {
    let two_words = |dotted: &str, plain: &str| cased(if pattern.dotted { dotted } else { plain }, pattern.case);
    Ok(match pattern.field {
        Field::AmPm => {
            let afternoon = fields.hour % 24 >= 12;
            out.push_str(&if afternoon { two_words("P.M.", "PM") } else { two_words("A.M.", "AM") });
            false
        }
        Field::Era => {
            not_of_interval(fields)?;
            out.push_str(&if fields.year <= 0 { two_words("B.C.", "BC") } else { two_words("A.D.", "AD") });
            false
        }
        Field::Hour12 => number(out, if fields.hour % 12 == 0 { 12 } else { fields.hour % 12 }, 2, fill),
        Field::Hour24 => number(out, fields.hour, 2, fill),
        Field::Minute => number(out, fields.minute, 2, fill),
        Field::Second => number(out, fields.second, 2, fill),
        Field::Fraction(digits) => fraction(out, fields.micros, digits),
        Field::Millisecond => fraction(out, fields.micros, 3),
        Field::Microsecond => fraction(out, fields.micros, 6),
        Field::SecondOfDay => {
            let _ = write!(out, "{}", fields.hour * 3600 + fields.minute * 60 + fields.second);
            true
        }
        Field::ZoneName | Field::ZoneHour | Field::ZoneMinute | Field::Offset => {
            write_zone(pattern, fill, fields, out)?;
            false
        }
        Field::MonthName | Field::MonthShort => {
            not_of_interval(fields)?;
            let full = MONTHS[fields.month as usize - 1];
            match pattern.field {
                Field::MonthName => name(out, full, pattern.case, if fill || translated { 0 } else { 9 }),
                _ => name(out, &full[..3], pattern.case, 0),
            }
        }
        Field::DayName | Field::DayShort => {
            not_of_interval(fields)?;
            let full = DAYS[fields.weekday() as usize];
            match pattern.field {
                Field::DayName => name(out, full, pattern.case, if fill || translated { 0 } else { 9 }),
                _ => name(out, &full[..3], pattern.case, 0),
            }
        }
        Field::Month => number(out, fields.month, 2, fill),
        Field::MonthRoman => {
            if fields.month == 0 && fields.year == 0 {
                return Ok(false);
            }
            let at = match fields.month {
                0 if fields.year >= 0 => 0,
                0 => 11,
                month if month < 0 => -(month + 1),
                month => 12 - month,
            };
            name(out, ROMAN[at as usize], pattern.case, if fill { 0 } else { 4 })
        }
        Field::Day => number(out, fields.day, 2, fill),
        Field::DayOfYear => unsigned(out, fields.day_of_year(), 3, fill),
        Field::IsoDayOfYear => unsigned(out, fields.iso_day_of_year(), 3, fill),
        Field::DayOfWeek | Field::IsoDayOfWeek => {
            not_of_interval(fields)?;
            let day = match pattern.field {
                Field::DayOfWeek => fields.weekday(),
                _ => fields.weekday_from_monday(),
            };
            let _ = write!(out, "{}", day + 1);
            true
        }
        Field::WeekOfYear => unsigned(out, (fields.day_of_year() - 1) / 7 + 1, 2, fill),
        Field::IsoWeek => unsigned(out, fields.iso_week(), 2, fill),
        Field::WeekOfMonth => {
            let _ = write!(out, "{}", (fields.day - 1) / 7 + 1);
            true
        }
        Field::Quarter => {
            if fields.month == 0 {
                return Ok(false);
            }
            let _ = write!(out, "{}", (fields.month - 1) / 3 + 1);
            true
        }
        Field::Century => {
            let century = fields.century();
            number(out, century, if century.abs() <= 99 { 2 } else { 0 }, fill)
        }
        Field::YearWithComma => {
            let year = fields.shown_year(fields.year);
            let _ = write!(out, "{},{:03}", year / 1000, year % 1000);
            true
        }
        Field::Year(digits) => year(out, fields.shown_year(fields.year), digits, fill),
        Field::IsoYear(digits) => year(out, fields.shown_year(fields.iso_year()), digits, fill),
        Field::Julian => {
            let days =
                if fields.is_interval { days_from_civil(fields.year, fields.month, fields.day) } else { fields.days };
            let _ = write!(out, "{}", days + 2_440_588);
            true
        }
        Field::Exact => false,
    })
}

/// As [`number`], where Postgres leaves no room for a sign.
fn unsigned(out: &mut String, value: i64, width: usize, fill: bool) -> bool {
    let width = if fill { 0 } else { width };
    let _ = write!(out, "{value:0width$}");
    true
}

/// The last digits of a year.
fn year(out: &mut String, year: i64, digits: u8, fill: bool) -> bool {
    let shown = if digits == 4 { year } else { year % 10_i64.pow(digits.into()) };
    let width = match (fill, year < 0) {
        _ if digits == 1 => 1,
        (true, _) => 0,
        (false, true) => usize::from(digits) + 1,
        (false, false) => usize::from(digits),
    };
    let _ = write!(out, "{shown:0width$}");
    true
}

fn write_zone(pattern: Pattern, fill: bool, fields: &Fields, out: &mut String) -> Result<()> {
    not_of_interval(fields)?;
    let (offset, short) = fields.zone.as_ref().map_or((0, ""), |(offset, short)| (*offset, short));
    let (sign, size) = (if offset < 0 { '-' } else { '+' }, offset.abs());
    match pattern.field {
        Field::ZoneName if pattern.case == Case::Lower => out.push_str(&short.to_ascii_lowercase()),
        Field::ZoneName => out.push_str(short),
        Field::ZoneHour => {
            let _ = write!(out, "{sign}{:02}", size / 3600);
        }
        Field::ZoneMinute => {
            let _ = write!(out, "{:02}", size % 3600 / 60);
        }
        _ => {
            out.push(sign);
            number(out, size / 3600, 2, fill);
            if size % 3600 != 0 {
                let _ = write!(out, ":{:02}", size % 3600 / 60);
            }
        }
    }
    Ok(())
}
