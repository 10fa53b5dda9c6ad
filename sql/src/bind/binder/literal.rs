//! Literals: numbers typed as in Postgres, strings of every form, intervals; and the casts of literals that need no engine.
//!
//! An integer is int4, int8 or numeric by its size. A number with a point or exponent is a numeric with exactly its own digits; beyond 38
//! digits it is a cast of text to numeric, which the engine evaluates. A string is of type unknown until its context decides.

use std::sync::Arc;

use arrow::array::{
    Array, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray,
    UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::IntervalMonthDayNano;
use sqlparser::ast;

use super::{Binder, CoercionContext};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Expr, ExprKind};
use crate::types::Type;
use crate::value::Value;

impl Binder<'_> {
    /// A literal or parameter.
    pub(super) fn bind_literal(&mut self, value: &ast::Value) -> Result<Expr> {
        use ast::Value as V;
        Ok(match value {
            V::Number(digits, _) => number(digits)?,
            V::SingleQuotedString(text)
            | V::EscapedStringLiteral(text)
            | V::UnicodeStringLiteral(text)
            | V::NationalStringLiteral(text)
            | V::TripleSingleQuotedString(text)
            | V::DoubleQuotedString(text)
            | V::SingleQuotedRawStringLiteral(text) => Expr::literal(Value::unknown(text)),
            V::DollarQuotedString(string) => Expr::literal(Value::unknown(&string.value)),
            V::Boolean(value) => Expr::literal(Value::bool(*value)),
            V::Null => Expr::literal(Value::null(Type::Unknown)),
            V::HexStringLiteral(digits) => match i64::from_str_radix(digits, 16) {
                Ok(value) => integer(i128::from(value)),
                Err(_) => {
                    return Err(Error::new(ErrorKind::Syntax, format!("invalid hexadecimal integer \"{digits}\"")));
                }
            },
            V::Placeholder(name) => return self.bind_parameter(name),
            other => {
                return Err(Error::new(ErrorKind::Unsupported, format!("literals such as {other} are not supported")));
            }
        })
    }
}

/// A number's literal, by Postgres's rule.
pub(super) fn number(text: &str) -> Result<Expr> {
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    if let Some(value) = radix(&digits) {
        return Ok(integer(value));
    }
    if let Ok(value) = digits.parse::<i128>()
        && i64::try_from(value).is_ok()
    {
        return Ok(integer(value));
    }
    match decimal(&digits) {
        Some((unscaled, precision, scale)) => Ok(Expr::literal(Value::decimal(unscaled, precision, scale))),
        None => Ok(cast(Expr::literal(Value::unknown(&digits)), Type::Numeric(None), true)),
    }
}

fn radix(digits: &str) -> Option<i128> {
    let (negative, rest) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits),
    };
    let value = match rest.get(..2)? {
        "0x" | "0X" => i64::from_str_radix(&rest[2..], 16),
        "0o" | "0O" => i64::from_str_radix(&rest[2..], 8),
        "0b" | "0B" => i64::from_str_radix(&rest[2..], 2),
        _ => return None,
    };
    value.ok().map(|value| if negative { -i128::from(value) } else { i128::from(value) })
}

fn integer(value: i128) -> Expr {
    Expr::literal(match (i32::try_from(value), i64::try_from(value)) {
        (Ok(value), _) => Value::int4(value),
        (_, Ok(value)) => Value::int8(value),
        _ => Value::decimal(value, value.unsigned_abs().to_string().len() as u8, 0),
    })
}

/// Digits, an optional point, an optional exponent, as (unscaled, precision, scale); `None` beyond 38 digits or if it is no number.
pub(super) fn decimal(text: &str) -> Option<(i128, u8, i8)> {
    let text = text.trim();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if (whole.is_empty() && fraction.is_empty()) || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut digits = format!("{whole}{fraction}");
    let mut scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    if scale < 0 {
        if scale < -38 {
            return None;
        }
        digits.push_str(&"0".repeat(scale.unsigned_abs() as usize));
        scale = 0;
    }
    let significant = digits.trim_start_matches('0');
    let precision = significant.len().max(scale as usize).max(1);
    if precision > 38 {
        return None;
    }
    let unscaled: i128 = if significant.is_empty() { 0 } else { significant.parse().ok()? };
    Some((if negative { -unscaled } else { unscaled }, precision as u8, scale as i8))
}

/// `expr` cast to a type, whatever it is.
pub(crate) fn cast(expr: Expr, ty: Type, explicit: bool) -> Expr {
    Expr::new(ExprKind::Cast { expr: Box::new(expr), explicit, lenient: false }, ty)
}

/// The value of an integer literal.
pub(crate) fn integer_value(expr: &Expr) -> Option<i128> {
    let ExprKind::Literal(value) = &expr.kind else { return None };
    if value.is_null() {
        return None;
    }
    let array = value.array.as_any();
    Some(match value.ty {
        Type::Int2 => array.downcast_ref::<Int16Array>()?.value(0).into(),
        Type::Int4 => array.downcast_ref::<Int32Array>()?.value(0).into(),
        Type::Int8 => array.downcast_ref::<Int64Array>()?.value(0).into(),
        Type::UInt8 => array.downcast_ref::<UInt8Array>()?.value(0).into(),
        Type::UInt16 => array.downcast_ref::<UInt16Array>()?.value(0).into(),
        Type::UInt32 => array.downcast_ref::<UInt32Array>()?.value(0).into(),
        Type::UInt64 => array.downcast_ref::<UInt64Array>()?.value(0).into(),
        _ => return None,
    })
}

/// A numeric literal's (unscaled, precision, scale).
fn decimal_value(expr: &Expr) -> Option<(i128, u8, i8)> {
    let ExprKind::Literal(value) = &expr.kind else { return None };
    let Type::Numeric(Some((precision, scale))) = value.ty else { return None };
    let array = value.array.as_any().downcast_ref::<Decimal128Array>()?;
    (!array.is_null(0)).then(|| (array.value(0), precision, scale))
}

/// The numeric type of exactly an integer or numeric literal's digits.
pub(super) fn literal_numeric(expr: &Expr) -> Option<(u8, i8)> {
    match integer_value(expr) {
        Some(value) => Some((value.unsigned_abs().to_string().len() as u8, 0)),
        None => decimal_value(expr).map(|(_, precision, scale)| (precision, scale)),
    }
}

/// The literal as a literal of another type, where that takes no more than arithmetic and loses nothing; otherwise `None`, and the cast is the
/// engine's to do or to refuse.
pub(super) fn convert(expr: &Expr, to: &Type) -> Option<Expr> {
    let ExprKind::Literal(value) = &expr.kind else { return None };
    if value.is_null() {
        return Some(Expr::literal(Value::null(to.clone())));
    }
    if let Some(text) = value.as_str().filter(|_| value.ty == Type::Unknown) {
        return match to {
            Type::Text | Type::Name | Type::Varchar(None) | Type::Unknown => {
                Some(Expr::literal(Value::of_text(to.clone(), text)))
            }
            Type::Interval => interval(text).map(Expr::literal),
            _ => None,
        };
    }
    if let Some(value) = integer_value(expr) {
        return from_integer(value, to).map(Expr::literal);
    }
    let (unscaled, _, scale) = decimal_value(expr)?;
    match to {
        // The shortest text of a decimal read as a float is the nearest float.
        Type::Float8 => format!("{unscaled}e-{scale}").parse().ok().map(|value| Expr::literal(Value::float8(value))),
        Type::Numeric(Some((precision, wanted))) if *wanted >= scale => {
            let unscaled = unscaled.checked_mul(10_i128.checked_pow((wanted - scale) as u32)?)?;
            fits(unscaled, *precision).then(|| Expr::literal(Value::decimal(unscaled, *precision, *wanted)))
        }
        _ => None,
    }
}

fn fits(unscaled: i128, precision: u8) -> bool {
    10_u128.checked_pow(u32::from(precision)).is_none_or(|limit| unscaled.unsigned_abs() < limit)
}

fn from_integer(value: i128, to: &Type) -> Option<Value> {
    Some(match to {
        Type::Int2 => Value::new(Type::Int2, Arc::new(Int16Array::from(vec![i16::try_from(value).ok()?]))),
        Type::Int4 => Value::int4(i32::try_from(value).ok()?),
        Type::Int8 => Value::int8(i64::try_from(value).ok()?),
        Type::UInt8 => Value::new(Type::UInt8, Arc::new(UInt8Array::from(vec![u8::try_from(value).ok()?]))),
        Type::UInt16 => Value::new(Type::UInt16, Arc::new(UInt16Array::from(vec![u16::try_from(value).ok()?]))),
        Type::UInt32 => Value::new(Type::UInt32, Arc::new(UInt32Array::from(vec![u32::try_from(value).ok()?]))),
        Type::UInt64 => Value::new(Type::UInt64, Arc::new(UInt64Array::from(vec![u64::try_from(value).ok()?]))),
        Type::Oid => Value::new(Type::Oid, Arc::new(UInt32Array::from(vec![u32::try_from(value).ok()?]))),
        // Within the mantissa the conversion is exact.
        Type::Float4 if value.unsigned_abs() <= 1 << 24 => {
            Value::new(Type::Float4, Arc::new(Float32Array::from(vec![value as f32])))
        }
        Type::Float8 if value.unsigned_abs() <= 1 << 53 => {
            Value::new(Type::Float8, Arc::new(Float64Array::from(vec![value as f64])))
        }
        Type::Numeric(Some((precision, scale))) if *scale >= 0 => {
            let unscaled = value.checked_mul(10_i128.checked_pow(*scale as u32)?)?;
            if !fits(unscaled, *precision) {
                return None;
            }
            Value::decimal(unscaled, *precision, *scale)
        }
        _ => return None,
    })
}

/// Units of an interval as (months, days, microseconds).
pub(super) fn interval_unit(name: &str) -> Option<(i32, i32, i64)> {
    Some(match name.to_ascii_lowercase().as_str() {
        "microsecond" | "microseconds" | "us" => (0, 0, 1),
        "millisecond" | "milliseconds" | "ms" => (0, 0, 1_000),
        "second" | "seconds" | "sec" | "secs" | "s" => (0, 0, 1_000_000),
        "minute" | "minutes" | "min" | "mins" | "m" => (0, 0, 60_000_000),
        "hour" | "hours" | "h" | "hr" | "hrs" => (0, 0, 3_600_000_000),
        "day" | "days" | "d" => (0, 1, 0),
        "week" | "weeks" | "w" => (0, 7, 0),
        "month" | "months" | "mon" | "mons" => (1, 0, 0),
        "quarter" | "quarters" => (3, 0, 0),
        "year" | "years" | "y" | "yr" | "yrs" => (12, 0, 0),
        "decade" | "decades" => (120, 0, 0),
        "century" | "centuries" => (1200, 0, 0),
        _ => return None,
    })
}

/// `count` of a unit.
pub(super) fn interval_of(count: i64, unit: (i32, i32, i64)) -> Option<Value> {
    let narrow = |per: i32| i64::from(per).checked_mul(count).and_then(|n| i32::try_from(n).ok());
    interval_value(narrow(unit.0)?, narrow(unit.1)?, unit.2.checked_mul(count)?)
}

fn interval_value(months: i32, days: i32, micros: i64) -> Option<Value> {
    let value = IntervalMonthDayNano::new(months, days, micros.checked_mul(1000)?);
    Some(Value::new(Type::Interval, Arc::new(IntervalMonthDayNanoArray::from(vec![value]))))
}

/// Intervals written as whole counts of units (`1 day 2 hours`); other forms are the engine's to read, and what is wrong is its to refuse.
fn interval(text: &str) -> Option<Value> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(2) {
        return None;
    }
    let (mut months, mut days, mut micros) = (0_i32, 0_i32, 0_i64);
    let mut seen = Vec::new();
    for pair in words.chunks(2) {
        let count: i64 = pair[0].parse().ok()?;
        let unit = interval_unit(pair[1])?;
        // No unit may be there twice, and a text has no quarters.
        if seen.contains(&unit) || unit == (3, 0, 0) {
            return None;
        }
        seen.push(unit);
        months = months.checked_add(i32::try_from(i64::from(unit.0).checked_mul(count)?).ok()?)?;
        days = days.checked_add(i32::try_from(i64::from(unit.1).checked_mul(count)?).ok()?)?;
        micros = micros.checked_add(unit.2.checked_mul(count)?)?;
    }
    interval_value(months, days, micros)
}

impl Binder<'_> {
    /// `INTERVAL '…'`, `INTERVAL '5' SECOND`, `INTERVAL 5 MINUTE`, and ClickHouse's `INTERVAL expression DAY`.
    pub(super) fn bind_interval(&mut self, interval: &ast::Interval) -> Result<Expr> {
        let unit = match &interval.leading_field {
            None => None,
            Some(field) => Some(
                interval_unit(&field.to_string())
                    .ok_or_else(|| Error::new(ErrorKind::Syntax, format!("interval unit \"{field}\" is not known")))?,
            ),
        };
        let value = self.bind_expr(&interval.value)?;
        if let Some(last) = &interval.last_field
            && let ExprKind::Literal(literal) = &value.kind
            && let (Type::Unknown, Some(text)) = (&literal.ty, literal.as_str())
            && let Some(text) = of_fields(text.trim(), &unit_name(&interval.leading_field), &last.to_string())
        {
            return self.coerce(Expr::literal(Value::unknown(&text)), &Type::Interval, CoercionContext::Explicit);
        }
        let text = match &value.kind {
            ExprKind::Literal(value) if value.ty == Type::Unknown => value.as_str().map(str::to_string),
            _ => None,
        };
        let Some(unit) = unit else {
            return self.coerce(value, &Type::Interval, CoercionContext::Explicit);
        };
        let count = match (&text, integer_value(&value)) {
            (_, Some(count)) => i64::try_from(count).ok(),
            (Some(text), None) => text.trim().parse().ok(),
            (None, None) => None,
        };
        if let Some(whole) = count.and_then(|count| interval_of(count, unit)) {
            return Ok(Expr::literal(whole));
        }
        match text {
            // `INTERVAL '1 day 2:03' DAY TO MINUTE`: the text says its own units. `INTERVAL '1.5' HOUR` does not.
            Some(text) if text.trim().parse::<f64>().is_ok() => {
                let field = unit_name(&interval.leading_field);
                let text = format!("{} {}", text.trim(), field.to_lowercase());
                self.coerce(Expr::literal(Value::unknown(&text)), &Type::Interval, CoercionContext::Explicit)
            }
            Some(_) => self.coerce(value, &Type::Interval, CoercionContext::Explicit),
            None => {
                let one = interval_of(1, unit).map(Expr::literal);
                let one = one.ok_or_else(|| Error::new(ErrorKind::OutOfRange, "interval out of range"))?;
                self.operator("*", vec![value, one])
            }
        }
    }
}

fn unit_name(field: &Option<ast::DateTimeField>) -> String {
    field.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// The text of an interval whose fields say what its numbers are, where these alone would say something else: `'1:30' MINUTE TO SECOND`,
/// `'1 2' DAY TO HOUR`.
fn of_fields(text: &str, first: &str, last: &str) -> Option<String> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match (first.to_ascii_lowercase().as_str(), last.to_ascii_lowercase().as_str()) {
        ("minute", "second") => {
            let (minutes, seconds) = text.split_once(':')?;
            (is_number(minutes) && is_number(seconds.split('.').next()?)).then(|| format!("0:{text}"))
        }
        ("day", "hour") => {
            let (days, hours) = text.split_once(' ')?;
            (is_number(days) && is_number(hours)).then(|| format!("{days} days {hours} hours"))
        }
        _ => None,
    }
}
