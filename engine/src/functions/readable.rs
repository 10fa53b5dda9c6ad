//! Sizes, quantities and spans of time as people write them, by ClickHouse's names: formatReadableSize, parseReadableSize, formatReadableTimeDelta,
//! parseTimeDelta and their kin.

use arrow::datatypes::Float64Type;
use weir_sql::Type;

use super::declare::{FLOAT8, STRING, TEXT, function, strict};
use super::rows::{invalid_parameter, primitive, primitive_rows, text, text_rows};
use super::string::write;
use super::{Context, Datum, ScalarFunction, Types};
use crate::error::Result;

const BINARY: [&str; 9] = [" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB", " ZiB", " YiB"];
const DECIMAL: [&str; 9] = [" B", " KB", " MB", " GB", " TB", " PB", " EB", " ZB", " YB"];
const QUANTITIES: [&str; 12] = [
    "",
    " thousand",
    " million",
    " billion",
    " trillion",
    " quadrillion",
    " quintillion",
    " sextillion",
    " septillion",
    " octillion",
    " nonillion",
    " decillion",
];

/// A unit of time and how many seconds it has: a year has 365 days, a month 30.5.
const SPANS: [(&str, f64); 9] = [
    ("year", 31_536_000.0),
    ("month", 2_635_200.0),
    ("day", 86_400.0),
    ("hour", 3_600.0),
    ("minute", 60.0),
    ("second", 1.0),
    ("millisecond", 1e-3),
    ("microsecond", 1e-6),
    ("nanosecond", 1e-9),
];

/// The place of `second` in [`SPANS`].
const SECOND: usize = 5;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let scaled =
        |names, doc, example, kernel| function(names, STRING, doc, example, vec![strict([FLOAT8], Type::Text, kernel)]);
    vec![
        scaled(
            &["formatReadableSize"],
            "A number of bytes in units of 1024: KiB, MiB and so on.",
            ("formatReadableSize(192851925)", "183.92 MiB"),
            |_, a, n, ty| scale(a, n, ty, 1024.0, &BINARY),
        ),
        scaled(
            &["formatReadableDecimalSize"],
            "A number of bytes in units of 1000: KB, MB and so on.",
            ("formatReadableDecimalSize(192851925)", "192.85 MB"),
            |_, a, n, ty| scale(a, n, ty, 1000.0, &DECIMAL),
        ),
        scaled(
            &["formatReadableQuantity"],
            "A number in thousands, millions and so on.",
            ("formatReadableQuantity(1234567)", "1.23 million"),
            |_, a, n, ty| scale(a, n, ty, 1000.0, &QUANTITIES),
        ),
        function(
            &["formatReadableTimeDelta"],
            STRING,
            "So many seconds in words, from one unit (years) down to another (seconds).",
            ("formatReadableTimeDelta(3661)", "1 hour, 1 minute and 1 second"),
            vec![strict([FLOAT8, TEXT, TEXT], Type::Text, time_delta).optional(2)],
        ),
        function(
            &["parseTimeDelta"],
            STRING,
            "The seconds of a span of time in words: numbers and units, with signs between them or none.",
            ("parseTimeDelta('11s+22min')", "1331"),
            vec![strict([TEXT], Type::Float8, |_, a, n, ty| {
                let texts = text(a, 0)?;
                primitive_rows::<Float64Type>(a, n, ty, |row| {
                    let value = texts.at(row);
                    let wrong = || invalid_parameter(format!("\"{value}\" is not a span of time"));
                    parse_delta(value).map(Some).ok_or_else(wrong)
                })
            })],
        ),
        function(
            &["parseReadableSize"],
            STRING,
            "The number of bytes that a size in words is, upwards: '1 KiB' is 1024.",
            ("parseReadableSize('1.5 KiB')", "1536"),
            vec![strict([TEXT], Type::UInt64, |_, a, n, ty| size(a, n, ty, None))],
        ),
        function(
            &["parseReadableSizeOrNull"],
            STRING,
            "As parseReadableSize; NULL of what is no size.",
            ("parseReadableSizeOrNull('much')", "NULL"),
            vec![strict([TEXT], Type::UInt64, |_, a, n, ty| size(a, n, ty, Some(None)))],
        ),
        function(
            &["parseReadableSizeOrZero"],
            STRING,
            "As parseReadableSize; 0 of what is no size.",
            ("parseReadableSizeOrZero('much')", "0"),
            vec![strict([TEXT], Type::UInt64, |_, a, n, ty| size(a, n, ty, Some(Some(0))))],
        ),
    ]
}

fn scale(args: &[Datum], rows: usize, types: &Types<'_>, step: f64, units: &[&str]) -> Result<Datum> {
    let values = primitive::<Float64Type>(args, 0)?;
    text_rows(args, rows, types, |row, out| {
        let (mut value, mut unit) = (values.at(row), 0);
        if !value.is_finite() {
            out.push_str(if value.is_nan() {
                "nan"
            } else if value > 0.0 {
                "inf"
            } else {
                "-inf"
            });
            return Ok(true);
        }
        while unit + 1 < units.len() && value.abs() >= step {
            value /= step;
            unit += 1;
        }
        write(out, format_args!("{value:.2}{}", units[unit]))?;
        Ok(true)
    })
}

/// The place in [`SPANS`] of a unit by its plural.
fn span_named(name: &str) -> Result<usize> {
    let is = |(unit, _): &(&str, f64)| name.strip_suffix('s') == Some(unit);
    SPANS.iter().position(is).ok_or_else(|| {
        invalid_parameter(format!("there is no unit of time \"{name}\"")).with_hint(
            "Units are nanoseconds, microseconds, milliseconds, seconds, minutes, hours, days, months and years.",
        )
    })
}

fn time_delta(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let values = primitive::<Float64Type>(args, 0)?;
    let units = (1..args.len()).map(|at| text(args, at)).collect::<Result<Vec<_>>>()?;
    text_rows(args, rows, types, |row, out| {
        let largest = units.first().map_or(Ok(0), |unit| span_named(unit.at(row)))?;
        let least = units.get(1).map_or(Ok(SECOND.max(largest)), |unit| span_named(unit.at(row)))?;
        if least < largest {
            return Err(invalid_parameter("the smallest unit must not be larger than the largest"));
        }
        let value = values.at(row);
        if !value.is_finite() {
            out.push_str(if value.is_nan() {
                "nan"
            } else if value > 0.0 {
                "inf"
            } else {
                "-inf"
            });
            return Ok(true);
        }
        if value < 0.0 {
            out.push('-');
        }
        // In units of the smallest, so that a fraction of a second is exact in its own unit.
        let mut left = (value.abs() * (1.0 / SPANS[least].1)).trunc();
        let mut parts = Vec::new();
        for (unit, seconds) in &SPANS[largest..=least] {
            let size = (seconds / SPANS[least].1).round().max(1.0);
            let count = (left / size).trunc();
            left -= count * size;
            if count > 0.0 {
                parts.push(format!("{count:.0} {unit}{}", if count == 1.0 { "" } else { "s" }));
            }
        }
        if parts.is_empty() {
            parts.push(format!("0 {}s", SPANS[least].0));
        }
        let last = parts.pop().unwrap_or_default();
        if !parts.is_empty() {
            write(out, format_args!("{} and ", parts.join(", ")))?;
        }
        out.push_str(&last);
        Ok(true)
    })
}

/// Seconds of a unit as parseTimeDelta knows it.
fn seconds_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "years" | "year" | "yr" | "y" => 31_536_000.0,
        "months" | "month" | "mo" => 2_635_200.0,
        "weeks" | "week" | "w" => 604_800.0,
        "days" | "day" | "d" => 86_400.0,
        "hours" | "hour" | "hr" | "h" => 3_600.0,
        "minutes" | "minute" | "min" | "m" => 60.0,
        "seconds" | "second" | "sec" | "s" => 1.0,
        "milliseconds" | "millisecond" | "millisec" | "ms" => 1e-3,
        "microseconds" | "microsecond" | "microsec" | "μs" | "µs" | "us" => 1e-6,
        "nanoseconds" | "nanosecond" | "nanosec" | "ns" => 1e-9,
        _ => return None,
    })
}

/// `None` if the text is no span of time.
fn parse_delta(value: &str) -> Option<f64> {
    let is_between = |c: char| c.is_whitespace() || matches!(c, ';' | '-' | '+' | ',' | ':');
    let mut rest = value.trim();
    let mut total = None;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].trim_start();
        let end = unit.find(|c: char| !c.is_alphabetic() && c != 'µ').unwrap_or(unit.len());
        total = Some(total.unwrap_or(0.0) + number * seconds_of(&unit[..end].to_lowercase())?);
        let after = unit[end..].trim_start();
        // One sign between two spans; the word "and" after a comma is none.
        rest = after.strip_prefix(is_between).unwrap_or(after).trim_start();
        rest = rest.strip_prefix("and ").unwrap_or(rest).trim_start();
    }
    total
}

fn size(args: &[Datum], rows: usize, types: &Types<'_>, otherwise: Option<Option<u64>>) -> Result<Datum> {
    let texts = text(args, 0)?;
    primitive_rows::<arrow::datatypes::UInt64Type>(args, rows, types, |row| {
        let value = texts.at(row);
        match (parse_size(value), otherwise) {
            (Some(size), _) => Ok(Some(size)),
            (None, Some(other)) => Ok(other),
            (None, None) => Err(invalid_parameter(format!("\"{value}\" is not a size in bytes"))),
        }
    })
}

/// `None` if the text is no size.
fn parse_size(value: &str) -> Option<u64> {
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.' && c != 'e' && c != 'E').unwrap_or(value.len());
    // An E that a unit begins with is no exponent.
    let digits = value[..digits].trim_end_matches(['e', 'E']).len();
    let number: f64 = value[..digits].parse().ok()?;
    let unit = value[digits..].trim_start();
    let named = |units: &[&str]| units.iter().position(|known| known[1..].eq_ignore_ascii_case(unit));
    let scale = match (named(&BINARY[..7]), named(&DECIMAL[..7])) {
        (Some(power), _) => 1024_f64.powi(power as i32),
        (_, Some(power)) => 1000_f64.powi(power as i32),
        _ => return None,
    };
    let bytes = (number * scale).ceil();
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}
