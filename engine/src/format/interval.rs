//! interval as text: every input style Postgres reads, and its four output styles.

use arrow::datatypes::IntervalMonthDayNano;

use super::IntervalStyle;
use super::datetime::write_fraction;
use super::integer::{write_i64, write_padded};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::datetime::{MICROS_PER_DAY, MICROS_PER_SECOND};

const MICROS_PER_HOUR: i64 = 3600 * MICROS_PER_SECOND;
const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;

/// An interval of months, days and microseconds.
pub fn from_parts(months: i32, days: i32, micros: i64) -> Result<IntervalMonthDayNano> {
    let nanos = micros.checked_mul(1000).ok_or_else(out_of_range)?;
    Ok(IntervalMonthDayNano::new(months, days, nanos))
}

/// "interval out of range".
pub fn out_of_range() -> Error {
    Error::new(ErrorKind::DatetimeOutOfRange, "interval out of range")
}

/// Appends an interval.
pub fn write(v: IntervalMonthDayNano, style: IntervalStyle, out: &mut Vec<u8>) {
    let (years, months, days, micros) = (v.months / 12, v.months % 12, v.days, v.nanoseconds / 1000);
    match style {
        IntervalStyle::Postgres => write_postgres(years, months, days, micros, out),
        IntervalStyle::PostgresVerbose => write_verbose(years, months, days, micros, out),
        IntervalStyle::SqlStandard => write_sql(years, months, days, micros, out),
        IntervalStyle::Iso8601 => write_iso(years, months, days, micros, out),
    }
}

fn write_clock(micros: i64, hour_width: usize, out: &mut Vec<u8>) {
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    write_padded(seconds / 3600, hour_width, out);
    out.push(b':');
    write_padded(seconds / 60 % 60, 2, out);
    out.push(b':');
    write_padded(seconds % 60, 2, out);
    write_fraction((micros % 1_000_000) as u32, out);
}

fn write_postgres(years: i32, months: i32, days: i32, micros: i64, out: &mut Vec<u8>) {
    let start = out.len();
    // A positive part after a negative one says so.
    let mut negative = false;
    for (value, unit) in [(years, "year"), (months, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        if out.len() > start {
            out.push(b' ');
        }
        if negative && value > 0 {
            out.push(b'+');
        }
        write_i64(value.into(), out);
        out.push(b' ');
        out.extend_from_slice(unit.as_bytes());
        if value != 1 {
            out.push(b's');
        }
        negative = value < 0;
    }
    if micros != 0 || out.len() == start {
        if out.len() > start {
            out.push(b' ');
        }
        if micros < 0 {
            out.push(b'-');
        } else if negative {
            out.push(b'+');
        }
        write_clock(micros, 2, out);
    }
}

fn write_verbose(years: i32, months: i32, days: i32, micros: i64, out: &mut Vec<u8>) {
    out.push(b'@');
    let (hours, minutes) = (micros / MICROS_PER_HOUR, micros / MICROS_PER_MINUTE % 60);
    let rest = micros % MICROS_PER_MINUTE;
    let units = [
        (i64::from(years), "year"),
        (i64::from(months), "mon"),
        (i64::from(days), "day"),
        (hours, "hour"),
        (minutes, "min"),
    ];
    // The first part's sign becomes "ago", and turns the others round.
    let sign = units.iter().map(|u| u.0).chain([rest]).find(|&v| v != 0).map_or(1, i64::signum);
    let mut any = false;
    for (value, unit) in units {
        if value != 0 {
            any = true;
            out.push(b' ');
            write_i64(value * sign, out);
            out.push(b' ');
            out.extend_from_slice(unit.as_bytes());
            if value * sign != 1 {
                out.push(b's');
            }
        }
    }
    if rest != 0 {
        any = true;
        out.push(b' ');
        if rest * sign < 0 {
            out.push(b'-');
        }
        write_padded(rest.unsigned_abs() / 1_000_000, 1, out);
        write_fraction((rest.unsigned_abs() % 1_000_000) as u32, out);
        out.extend_from_slice(if rest.abs() == MICROS_PER_SECOND && rest * sign > 0 { b" sec" } else { b" secs" });
    }
    if !any {
        out.extend_from_slice(b" 0");
    }
    if sign < 0 {
        out.extend_from_slice(b" ago");
    }
}

fn write_sql(years: i32, months: i32, days: i32, micros: i64, out: &mut Vec<u8>) {
    let (month_part, day_part) = (years != 0 || months != 0, days != 0);
    let negative = years < 0 || months < 0 || days < 0 || micros < 0;
    let positive = years > 0 || months > 0 || days > 0 || micros > 0;
    let sign = |negative: bool| if negative { b'-' } else { b'+' };
    let year_month = |out: &mut Vec<u8>| {
        write_padded(years.unsigned_abs().into(), 1, out);
        out.push(b'-');
        write_padded(months.unsigned_abs().into(), 1, out);
    };
    if !month_part && !day_part && micros == 0 {
        out.push(b'0');
    } else if (negative && positive) || (month_part && (day_part || micros != 0)) {
        // Mixed: every part with its sign.
        out.push(sign(years < 0 || months < 0));
        year_month(out);
        out.extend_from_slice(&[b' ', sign(days < 0)]);
        write_padded(days.unsigned_abs().into(), 1, out);
        out.extend_from_slice(&[b' ', sign(micros < 0)]);
        write_clock(micros, 1, out);
    } else {
        if negative {
            out.push(b'-');
        }
        if month_part {
            year_month(out);
        } else {
            if day_part {
                write_padded(days.unsigned_abs().into(), 1, out);
                out.push(b' ');
            }
            write_clock(micros, 1, out);
        }
    }
}

fn write_iso(years: i32, months: i32, days: i32, micros: i64, out: &mut Vec<u8>) {
    if years == 0 && months == 0 && days == 0 && micros == 0 {
        out.extend_from_slice(b"PT0S");
        return;
    }
    out.push(b'P');
    for (value, unit) in [(years, b'Y'), (months, b'M'), (days, b'D')] {
        if value != 0 {
            write_i64(value.into(), out);
            out.push(unit);
        }
    }
    if micros == 0 {
        return;
    }
    out.push(b'T');
    for (value, unit) in [(micros / MICROS_PER_HOUR, b'H'), (micros / MICROS_PER_MINUTE % 60, b'M')] {
        if value != 0 {
            write_i64(value, out);
            out.push(unit);
        }
    }
    let rest = micros % MICROS_PER_MINUTE;
    if rest != 0 {
        if rest < 0 {
            out.push(b'-');
        }
        write_padded(rest.unsigned_abs() / 1_000_000, 1, out);
        write_fraction((rest.unsigned_abs() % 1_000_000) as u32, out);
        out.push(b'S');
    }
}

/// Reads an interval.
pub fn parse(text: &str) -> Result<IntervalMonthDayNano> {
    let invalid =
        || Error::new(ErrorKind::InvalidDatetime, format!("invalid input syntax for type interval: \"{text}\""));
    let overflow =
        || Error::new(ErrorKind::DatetimeOutOfRange, format!("interval field value out of range: \"{text}\""));
    let trimmed = super::trim(text);
    let mut sum = Sum::default();
    let ok = match trimmed.strip_prefix(['P', 'p']) {
        Some(iso) if !iso.is_empty() => parse_iso(iso, &mut sum),
        _ => parse_words(trimmed, &mut sum),
    };
    match ok {
        Some(()) => sum.finish().ok_or_else(overflow),
        None => Err(invalid()),
    }
}

/// What the fields of an interval add up to. Overflow shows at the end, so that it is told from bad syntax.
#[derive(Default)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
}

/// A number as written: whole part and fraction, of one sign.
#[derive(Clone, Copy)]
struct Amount {
    negative: bool,
    whole: i128,
    fraction: f64,
}

impl Amount {
    fn parse(text: &str) -> Option<Amount> {
        let (negative, body) = match text.as_bytes() {
            [b'-', ..] => (true, &text[1..]),
            [b'+', ..] => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || whole.is_empty() && fraction.is_empty() || whole.len() > 30 {
            return None;
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let fraction = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().ok()? };
        Some(Amount { negative, whole, fraction })
    }

    fn signed(self) -> (i128, f64) {
        if self.negative { (-self.whole, -self.fraction) } else { (self.whole, self.fraction) }
    }
}

impl Sum {
    fn add(&mut self, amount: Amount, unit: Unit) {
        let (whole, fraction) = amount.signed();
        match unit {
            Unit::Micros(per) => {
                self.micros += whole * i128::from(per) + (fraction * per as f64).round_ties_even() as i128;
            }
            Unit::Days(per) => {
                self.days += whole * i128::from(per);
                self.add_days(fraction * per as f64);
            }
            Unit::Months(1) => {
                self.months += whole;
                self.add_days(fraction * 30.0);
            }
            Unit::Months(per) => {
                self.months += whole * i128::from(per) + (fraction * per as f64).round_ties_even() as i128;
            }
        }
    }

    fn add_days(&mut self, days: f64) {
        let whole = days.trunc();
        self.days += whole as i128;
        self.micros += ((days - whole) * MICROS_PER_DAY as f64).round_ties_even() as i128;
    }

    fn negate(&mut self) {
        self.months = -self.months;
        self.days = -self.days;
        self.micros = -self.micros;
    }

    fn finish(&self) -> Option<IntervalMonthDayNano> {
        let nanos = i64::try_from(self.micros.checked_mul(1000)?).ok()?;
        Some(IntervalMonthDayNano::new(self.months.try_into().ok()?, self.days.try_into().ok()?, nanos))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Months(i64),
    Days(i64),
    Micros(i64),
}

fn unit(name: &str) -> Option<Unit> {
    Some(match name.to_ascii_lowercase().as_str() {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecon" | "microsecond" | "microseconds" => {
            Unit::Micros(1)
        }
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecon" | "millisecond" | "milliseconds" => {
            Unit::Micros(1000)
        }
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Micros(MICROS_PER_SECOND),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Micros(MICROS_PER_MINUTE),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Micros(MICROS_PER_HOUR),
        "d" | "day" | "days" => Unit::Days(1),
        "w" | "week" | "weeks" => Unit::Days(7),
        "mon" | "mons" | "month" | "months" => Unit::Months(1),
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Months(12),
        "dec" | "decs" | "decade" | "decades" => Unit::Months(120),
        "c" | "cent" | "century" | "centuries" => Unit::Months(1200),
        "mil" | "mils" | "millennia" | "millennium" => Unit::Months(12000),
        _ => return None,
    })
}

/// `1 year 2 mons -3 days 04:05:06`, `@ 1 hour ago`, `1-2 3 4:05:06`, `90`.
fn parse_words(text: &str, sum: &mut Sum) -> Option<()> {
    let tokens = tokens(text);
    let mut at = 0;
    let mut any = false;
    // Units that were given, of which each may be given once.
    let mut seen: Vec<Unit> = Vec::new();
    let mut once = |units: &[Unit]| {
        let again = units.iter().any(|unit| seen.contains(unit));
        seen.extend_from_slice(units);
        (!again).then_some(())
    };
    const CLOCK: [Unit; 5] = [
        Unit::Micros(MICROS_PER_HOUR),
        Unit::Micros(MICROS_PER_MINUTE),
        Unit::Micros(MICROS_PER_SECOND),
        Unit::Micros(1000),
        Unit::Micros(1),
    ];
    while at < tokens.len() {
        let token = tokens[at];
        at += 1;
        if token == "@" {
            continue;
        }
        if token.eq_ignore_ascii_case("ago") {
            if at < tokens.len() || !any {
                return None;
            }
            sum.negate();
            return Some(());
        }
        any = true;
        if token.contains(':') {
            once(&CLOCK)?;
            add_clock(token, sum)?;
        } else if token[1..].contains('-') {
            once(&[Unit::Months(1)])?;
            add_year_month(token, sum)?;
        } else {
            let amount = Amount::parse(token)?;
            match tokens.get(at).and_then(|next| unit(next)) {
                Some(unit) => {
                    at += 1;
                    once(&[unit])?;
                    sum.add(amount, unit);
                }
                // Days before a clock; seconds alone.
                None if tokens.get(at).is_some_and(|next| next.contains(':')) => {
                    once(&[Unit::Days(1)])?;
                    sum.add(amount, Unit::Days(1));
                }
                None if at == tokens.len() => {
                    once(&[Unit::Micros(MICROS_PER_SECOND)])?;
                    sum.add(amount, Unit::Micros(MICROS_PER_SECOND));
                }
                None => return None,
            }
        }
    }
    any.then_some(())
}

/// Words, numbers and clocks; a number is cut from the letters that follow it (`1h30m`).
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for word in text.split([' ', '\t', '\n', '\r', ',']).filter(|w| !w.is_empty()) {
        let mut rest = word;
        while !rest.is_empty() {
            let letters = rest.starts_with(|c: char| c.is_ascii_alphabetic());
            let end = rest.find(|c: char| c.is_ascii_alphabetic() != letters).unwrap_or(rest.len());
            let (token, after) = rest.split_at(end);
            tokens.push(token);
            rest = after;
        }
    }
    tokens
}

/// `1-2`: years and months.
fn add_year_month(token: &str, sum: &mut Sum) -> Option<()> {
    let (negative, body) = match token.as_bytes()[0] {
        b'-' => (true, &token[1..]),
        b'+' => (false, &token[1..]),
        _ => (false, token),
    };
    let (years, months) = body.split_once('-')?;
    let (years, months) = (number(years)?, number(months)?);
    if months >= 12 {
        return None;
    }
    let total = years * 12 + months;
    sum.months += if negative { -total } else { total };
    Some(())
}

fn number(text: &str) -> Option<i128> {
    if text.is_empty() || text.len() > 18 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// `[-]hours:minutes[:seconds[.fraction]]`; two fields whose last has a fraction are minutes and seconds.
fn add_clock(token: &str, sum: &mut Sum) -> Option<()> {
    let (negative, body) = match token.as_bytes()[0] {
        b'-' => (true, &token[1..]),
        b'+' => (false, &token[1..]),
        _ => (false, token),
    };
    let parts: Vec<&str> = body.split(':').collect();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [m, s] if s.contains('.') => ("0", *m, *s),
        [h, m] => (*h, *m, "0"),
        [h, m, s] => (*h, *m, *s),
        _ => return None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let seconds = Amount::parse(seconds)?;
    if minutes > 59 || seconds.whole > 60 {
        return None;
    }
    let micros = hours * i128::from(MICROS_PER_HOUR)
        + minutes * i128::from(MICROS_PER_MINUTE)
        + seconds.whole * i128::from(MICROS_PER_SECOND)
        + (seconds.fraction * 1e6).round_ties_even() as i128;
    sum.micros += if negative { -micros } else { micros };
    Some(())
}

/// What follows the `P`: designators (`1Y2M3DT4H5M6S`, `2W`) or the alternative form (`0001-02-03T04:05:06`).
fn parse_iso(text: &str, sum: &mut Sum) -> Option<()> {
    let (date, time) = match text.find(['T', 't']) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    if time.is_empty() && text.len() != date.len() {
        return None;
    }
    if date.get(1..).is_some_and(|d| d.contains('-') && !d.ends_with(|c: char| c.is_ascii_alphabetic())) {
        let mut fields = date.splitn(3, '-');
        for unit in [Unit::Months(12), Unit::Months(1), Unit::Days(1)] {
            if let Some(field) = fields.next() {
                sum.add(Amount::parse(field)?, unit);
            }
        }
    } else {
        add_designators(date, false, sum)?;
    }
    if time.contains(':') { add_clock(time, sum) } else { add_designators(time, true, sum) }
}

fn add_designators(text: &str, time: bool, sum: &mut Sum) -> Option<()> {
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let unit = match (rest.as_bytes()[end].to_ascii_uppercase(), time) {
            (b'Y', false) => Unit::Months(12),
            (b'M', false) => Unit::Months(1),
            (b'W', false) => Unit::Days(7),
            (b'D', false) => Unit::Days(1),
            (b'H', true) => Unit::Micros(MICROS_PER_HOUR),
            (b'M', true) => Unit::Micros(MICROS_PER_MINUTE),
            (b'S', true) => Unit::Micros(MICROS_PER_SECOND),
            _ => return None,
        };
        sum.add(Amount::parse(&rest[..end])?, unit);
        rest = &rest[end + 1..];
    }
    Some(())
}
