//! Floats as text: the shortest digits that read back the same, laid out as Postgres does (an exponent below -4, or from 15 digits for
//! double precision and 6 for real).

use std::fmt;
use std::io::Write;

use crate::error::{Error, ErrorKind, Result};
use crate::format::{invalid_text, trim};

/// Appends a double.
pub fn write_f64(v: f64, out: &mut Vec<u8>) {
    if !write_special(v, out) {
        write_shortest(format_args!("{v:e}"), 15, out);
    }
}

/// Appends a single.
pub fn write_f32(v: f32, out: &mut Vec<u8>) {
    if !write_special(f64::from(v), out) {
        write_shortest(format_args!("{v:e}"), 6, out);
    }
}

/// Appends what `%.{digits}g` prints: extra_float_digits below 1.
pub(crate) fn write_digits(v: f64, digits: i32, out: &mut Vec<u8>) {
    if write_special(v, out) {
        return;
    }
    let digits = digits.max(1) as usize;
    let text = format!("{:.*e}", digits - 1, v);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    lay_out(mantissa.as_bytes(), exponent.parse().unwrap_or(0), digits as i32, out);
}

fn write_special(v: f64, out: &mut Vec<u8>) -> bool {
    if v.is_finite() {
        return false;
    }
    let text: &[u8] = if v.is_nan() {
        b"NaN"
    } else if v > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    };
    out.extend_from_slice(text);
    true
}

fn write_shortest(text: fmt::Arguments<'_>, limit: i32, out: &mut Vec<u8>) {
    let mut buffer = [0u8; 40];
    let mut rest = &mut buffer[..];
    // 40 bytes hold any shortest form; the write cannot fail.
    let _ = rest.write_fmt(text);
    let used = 40 - rest.len();
    let text = &buffer[..used];
    let at = text.iter().position(|&b| b == b'e').unwrap_or(used);
    let exponent = std::str::from_utf8(&text[(at + 1).min(used)..]).ok().and_then(|e| e.parse().ok()).unwrap_or(0);
    lay_out(&text[..at], exponent, limit, out);
}

/// `mantissa` is `d`, `-d` or `d.ddd`.
fn lay_out(mantissa: &[u8], exponent: i32, limit: i32, out: &mut Vec<u8>) {
    let (sign, mantissa) = match mantissa {
        [b'-', rest @ ..] => (true, rest),
        all => (false, all),
    };
    if sign {
        out.push(b'-');
    }
    let (first, rest) = (mantissa[0], mantissa.get(2..).unwrap_or(&[]));
    if !(-4..limit).contains(&exponent) {
        out.push(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        super::integer::write_padded(u64::from(exponent.unsigned_abs()), 2, out);
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        out.push(first);
        out.extend_from_slice(rest);
    } else {
        let whole = exponent as usize;
        out.push(first);
        if rest.len() <= whole {
            out.extend_from_slice(rest);
            out.extend(std::iter::repeat_n(b'0', whole - rest.len()));
        } else {
            out.extend_from_slice(&rest[..whole]);
            out.push(b'.');
            out.extend_from_slice(&rest[whole..]);
        }
    }
}

/// A double from text; `ty` is the type's name in messages.
pub(crate) fn parse_f64(text: &str, ty: &str) -> Result<f64> {
    let trimmed = trim(text);
    let v: f64 = parse_number(trimmed).ok_or_else(|| invalid_text(ty, text))?;
    check_range(v.is_infinite(), v == 0.0, trimmed, ty)?;
    Ok(v)
}

/// A single from text.
pub(crate) fn parse_f32(text: &str) -> Result<f32> {
    let trimmed = trim(text);
    let v: f32 = parse_number(trimmed).ok_or_else(|| invalid_text("real", text))?;
    check_range(v.is_infinite(), v == 0.0, trimmed, "real")?;
    Ok(v)
}

fn parse_number<T: std::str::FromStr>(text: &str) -> Option<T> {
    // Rust reads what C's strtod reads (inf, infinity, nan in any case, 1., .5), but for hexadecimal.
    let body = text.trim_start_matches(['+', '-']);
    if text.len() - body.len() > 1 {
        return None;
    }
    text.parse().ok()
}

/// Digits that became infinite or zero are out of range.
fn check_range(infinite: bool, zero: bool, text: &str, ty: &str) -> Result<()> {
    let written_digits = text.bytes().any(|b| b.is_ascii_digit());
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let written_non_zero = mantissa.bytes().any(|b| matches!(b, b'1'..=b'9'));
    if infinite && written_digits || zero && written_non_zero {
        return Err(Error::new(ErrorKind::NumericOutOfRange, format!("\"{text}\" is out of range for type {ty}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_laid_out_as_postgres_does() {
        let shown = |v: f64| {
            let mut out = Vec::new();
            write_f64(v, &mut out);
            String::from_utf8(out).expect("ascii")
        };
        for (v, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e20, "1e+20"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (123456789012345.0, "123456789012345"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1234567890123456.0, "1.234567890123456e+15"),
            (1.5e300, "1.5e+300"),
            (-2.5, "-2.5"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(shown(v), text);
        }
    }

    #[test]
    fn singles_too() {
        let shown = |v: f32| {
            let mut out = Vec::new();
            write_f32(v, &mut out);
            String::from_utf8(out).expect("ascii")
        };
        for (v, text) in
            [(0.1, "0.1"), (1e6, "1e+06"), (123456.0, "123456"), (1234567.0, "1.234567e+06"), (3.4e38, "3.4e+38")]
        {
            assert_eq!(shown(v), text);
        }
    }

    #[test]
    fn out_of_range_is_not_infinity() {
        assert_eq!(
            parse_f64("1e400", "double precision").unwrap_err().message,
            "\"1e400\" is out of range for type double precision"
        );
        assert_eq!(parse_f64("1e-400", "double precision").unwrap_err().kind, ErrorKind::NumericOutOfRange);
        assert_eq!(parse_f64(" inf ", "double precision").unwrap(), f64::INFINITY);
        assert_eq!(
            parse_f64("x", "double precision").unwrap_err().message,
            "invalid input syntax for type double precision: \"x\""
        );
    }
}
