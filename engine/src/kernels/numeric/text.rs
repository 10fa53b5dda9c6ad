//! numeric to and from text and the machine's numbers.

use std::fmt;
use std::str::FromStr;

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::{MAX_INTEGER_DIGITS, MAX_SCALE, Numeric, overflow, pow10, pow10_i128};
use crate::error::{Error, ErrorKind, Result};

/// `invalid input syntax for type numeric: "x"`.
fn invalid(text: &str) -> Error {
    Error::new(ErrorKind::InvalidText, format!("invalid input syntax for type numeric: \"{text}\""))
}

impl FromStr for Numeric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Numeric> {
        let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
        let (negative, body) = match trimmed.as_bytes() {
            [b'-', ..] => (true, &trimmed[1..]),
            [b'+', ..] => (false, &trimmed[1..]),
            _ => (false, trimmed),
        };
        if body.eq_ignore_ascii_case("infinity") || body.eq_ignore_ascii_case("inf") {
            return Ok(if negative { Numeric::NegInfinity } else { Numeric::Infinity });
        }
        if trimmed.eq_ignore_ascii_case("nan") {
            return Ok(Numeric::NaN);
        }
        parse_finite(negative, body.as_bytes()).unwrap_or_else(|| Err(invalid(text)))
    }
}

/// `None` where the syntax is wrong.
fn parse_finite(negative: bool, body: &[u8]) -> Option<Result<Numeric>> {
    let mut small: Option<u128> = Some(0);
    let (mut digits, mut fraction, mut point, mut at) = (0usize, 0i64, false, 0);
    while at < body.len() {
        match body[at] {
            b'0'..=b'9' => {
                digits += 1;
                fraction += i64::from(point);
                small = small
                    .and_then(|v| v.checked_mul(10)?.checked_add(u128::from(body[at] - b'0')))
                    .filter(|&v| v <= i128::MAX as u128);
            }
            b'.' if !point => point = true,
            b'e' | b'E' => break,
            _ => return None,
        }
        at += 1;
    }
    if digits == 0 {
        return None;
    }
    let mantissa = &body[..at];
    let mut exponent = 0i64;
    if at < body.len() {
        exponent = parse_exponent(&body[at + 1..])?;
    }
    let scale = fraction - exponent;
    if digits as i64 - scale > MAX_INTEGER_DIGITS && small != Some(0) || exponent.abs() > i64::from(i32::MAX / 2) {
        return Some(Err(overflow()));
    }
    if scale > i64::from(MAX_SCALE) {
        return Some(Err(overflow()));
    }
    let shift = (-scale).max(0) as u32;
    let scale = scale.max(0) as u16;
    if let Some(v) = small {
        let scaled = if v == 0 { Some(0) } else { pow10_i128(shift).and_then(|p| (v as i128).checked_mul(p)) };
        if let Some(v) = scaled {
            return Some(Ok(Numeric::Small(if negative { -v } else { v }, scale)));
        }
    }
    let text: Vec<u8> = mantissa.iter().copied().filter(|&b| b != b'.').collect();
    let unscaled = BigInt::parse_bytes(&text, 10)? * pow10(shift);
    Some(Ok(Numeric::finite(if negative { -unscaled } else { unscaled }, scale)))
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut value = 0i64;
    for d in digits {
        value = value.saturating_mul(10).saturating_add(i64::from(d - b'0'));
    }
    Some(if negative { -value } else { value })
}

/// Appends `unscaled * 10^-scale` as text.
pub fn write_decimal(unscaled: i128, scale: i8, out: &mut Vec<u8>) {
    match u16::try_from(scale) {
        Ok(scale) => write_small(unscaled, scale, out),
        Err(_) => super::of_decimal(unscaled, scale).write_text(out),
    }
}

fn write_small(unscaled: i128, scale: u16, out: &mut Vec<u8>) {
    if unscaled < 0 {
        out.push(b'-');
    }
    let mut buffer = [0u8; 40];
    let mut at = buffer.len();
    let mut v = unscaled.unsigned_abs();
    // Halves of 19 digits, so that most divisions are of u64.
    while v > u128::from(u64::MAX) {
        let mut low = (v % 10_000_000_000_000_000_000) as u64;
        v /= 10_000_000_000_000_000_000;
        for _ in 0..19 {
            at -= 1;
            buffer[at] = b'0' + (low % 10) as u8;
            low /= 10;
        }
    }
    let mut v = v as u64;
    while v > 0 {
        at -= 1;
        buffer[at] = b'0' + (v % 10) as u8;
        v /= 10;
    }
    write_digits(&buffer[at..], usize::from(scale), out);
}

/// Digits (none for zero) with a point put `scale` places from the end.
fn write_digits(digits: &[u8], scale: usize, out: &mut Vec<u8>) {
    // An i128 above u64 may leave zeros at the front; there are none, because the loop stops at the last non-zero half.
    let digits = &digits[digits.iter().take_while(|&&d| d == b'0').count()..];
    if digits.len() > scale {
        out.extend_from_slice(&digits[..digits.len() - scale]);
    } else {
        out.push(b'0');
    }
    if scale > 0 {
        out.push(b'.');
        let fraction = &digits[digits.len().saturating_sub(scale)..];
        out.extend(std::iter::repeat_n(b'0', scale - fraction.len()));
        out.extend_from_slice(fraction);
    }
}

impl Numeric {
    /// Appends the text that Postgres shows.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        match self {
            Numeric::NegInfinity => out.extend_from_slice(b"-Infinity"),
            Numeric::Infinity => out.extend_from_slice(b"Infinity"),
            Numeric::NaN => out.extend_from_slice(b"NaN"),
            Numeric::Small(m, scale) => write_small(*m, *scale, out),
            Numeric::Big(m, scale) => {
                if m.sign() == num_bigint::Sign::Minus {
                    out.push(b'-');
                }
                write_digits(m.magnitude().to_string().as_bytes(), usize::from(*scale), out);
            }
        }
    }

    /// The nearest double; infinite where it is out of range.
    pub fn to_f64(&self) -> f64 {
        match self {
            Numeric::NegInfinity => f64::NEG_INFINITY,
            Numeric::Infinity => f64::INFINITY,
            Numeric::NaN => f64::NAN,
            Numeric::Small(m, 0) => *m as f64,
            // Both are exact, so the one division rounds correctly.
            Numeric::Small(m, scale) if m.unsigned_abs() < 1 << 53 && *scale <= 22 => {
                *m as f64 / pow10_i128(u32::from(*scale)).unwrap_or(1) as f64
            }
            other => other.to_string().parse().unwrap_or(f64::NAN),
        }
    }

    /// The nearest single.
    pub fn to_f32(&self) -> f32 {
        match self {
            Numeric::NegInfinity => f32::NEG_INFINITY,
            Numeric::Infinity => f32::INFINITY,
            Numeric::NaN => f32::NAN,
            other => other.to_string().parse().unwrap_or(f32::NAN),
        }
    }

    /// The number that Postgres makes of a double: its first 15 significant digits.
    pub fn from_f64(v: f64) -> Numeric {
        of_float(v, 15)
    }

    /// The number that Postgres makes of a single: its first 6 significant digits.
    pub fn from_f32(v: f32) -> Numeric {
        of_float(f64::from(v), 6)
    }

    /// Rounded half away from zero to a whole number; `None` for NaN, infinities and what does not fit.
    pub fn to_i128(&self) -> Option<i128> {
        if self.is_finite() { self.rescale(0) } else { None }
    }

    /// Rounded to a bigint.
    pub fn to_i64(&self) -> Option<i64> {
        self.to_i128().and_then(|v| v.to_i64())
    }
}

/// What `%.{digits}g` would print, as a number.
fn of_float(v: f64, digits: usize) -> Numeric {
    if v.is_nan() {
        return Numeric::NaN;
    }
    if v.is_infinite() {
        return if v > 0.0 { Numeric::Infinity } else { Numeric::NegInfinity };
    }
    // `{:e}` with a precision rounds as printf does; the zeros that %g would leave out are not part of the scale.
    let text = format!("{:.*e}", digits - 1, v);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mut unscaled: i128 = 0;
    for d in mantissa.bytes().filter(u8::is_ascii_digit) {
        unscaled = unscaled * 10 + i128::from(d - b'0');
    }
    if v.is_sign_negative() {
        unscaled = -unscaled;
    }
    let mut scale = digits as i32 - 1 - exponent;
    while unscaled != 0 && unscaled % 10 == 0 && scale > 0 {
        unscaled /= 10;
        scale -= 1;
    }
    if unscaled == 0 {
        return Numeric::ZERO;
    }
    if scale >= 0 {
        Numeric::Small(unscaled, scale as u16)
    } else {
        Numeric::finite(BigInt::from(unscaled) * pow10(-scale as u32), 0)
    }
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::with_capacity(24);
        self.write_text(&mut out);
        f.write_str(std::str::from_utf8(&out).unwrap_or("?"))
    }
}
