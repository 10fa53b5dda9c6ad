//! numeric in Postgres's binary form: base 10000 digits.
//!
//! ```text
//! i16 ndigits, i16 weight (of the first digit, in base 10000), u16 sign (0, 4000 -, C000 NaN, D000 Infinity, F000 -Infinity),
//! u16 display scale, ndigits × i16
//! ```

use num_bigint::BigInt;
use num_traits::Signed;

use super::invalid_length;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::numeric::{Numeric, pow10};

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEG_INFINITY: u16 = 0xF000;

/// Appends a numeric.
pub(crate) fn write(value: &Numeric, out: &mut Vec<u8>) {
    match value {
        Numeric::NaN => special(NAN, out),
        Numeric::Infinity => special(INFINITY, out),
        Numeric::NegInfinity => special(NEG_INFINITY, out),
        Numeric::Small(m, scale) => write_small(*m, *scale, out),
        Numeric::Big(m, scale) => {
            let digits = m.magnitude().to_string();
            write_digits(m.is_negative(), digits.as_bytes(), *scale, out);
        }
    }
}

fn special(sign: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 0, 0]);
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
}

/// Appends `unscaled * 10^-scale`.
pub(crate) fn write_small(unscaled: i128, scale: u16, out: &mut Vec<u8>) {
    let mut buffer = [0u8; 40];
    let mut at = buffer.len();
    let mut v = unscaled.unsigned_abs();
    while v > 0 {
        at -= 1;
        buffer[at] = b'0' + (v % 10) as u8;
        v /= 10;
    }
    write_digits(unscaled < 0, &buffer[at..], scale, out);
}

/// Decimal digits (none for zero), regrouped by four around the point.
fn write_digits(negative: bool, digits: &[u8], scale: u16, out: &mut Vec<u8>) {
    let whole = digits.len() as i64 - i64::from(scale);
    // The first group starts at the digit whose exponent is a multiple of four, at or before the first digit.
    let weight = (whole - 1).div_euclid(4);
    let lead = ((weight + 1) * 4 - whole) as usize;
    let header = out.len();
    out.extend_from_slice(&[0; 8]);
    let groups = (lead + digits.len()).div_ceil(4);
    let (mut first, mut last, mut written) = (None, 0, Vec::new());
    for group in 0..groups {
        let mut value = 0u16;
        for place in 0..4 {
            let at = (group * 4 + place) as i64 - lead as i64;
            let digit = usize::try_from(at).ok().and_then(|at| digits.get(at)).map_or(0, |d| d - b'0');
            value = value * 10 + u16::from(digit);
        }
        if value != 0 {
            first.get_or_insert(group);
            last = group;
        }
        written.push(value);
    }
    let (count, weight) = match first {
        None => (0, 0),
        Some(first) => {
            for value in &written[first..=last] {
                out.extend_from_slice(&value.to_be_bytes());
            }
            (last - first + 1, weight - first as i64)
        }
    };
    out[header..header + 2].copy_from_slice(&(count as i16).to_be_bytes());
    out[header + 2..header + 4].copy_from_slice(&(weight as i16).to_be_bytes());
    let sign = if negative && count > 0 { NEGATIVE } else { 0 };
    out[header + 4..header + 6].copy_from_slice(&sign.to_be_bytes());
    out[header + 6..header + 8].copy_from_slice(&scale.to_be_bytes());
}

/// Reads a numeric.
pub(crate) fn parse(bytes: &[u8]) -> Result<Numeric> {
    let wrong =
        |what: &str| Error::new(ErrorKind::InvalidBinary, format!("invalid {what} in external \"numeric\" value"));
    if bytes.len() < 8 {
        return Err(invalid_length("numeric"));
    }
    let field = |i: usize| u16::from_be_bytes([bytes[i * 2], bytes[i * 2 + 1]]);
    let (count, weight, sign, scale) = (usize::from(field(0)), i64::from(field(1) as i16), field(2), field(3));
    match sign {
        NAN => return Ok(Numeric::NaN),
        INFINITY => return Ok(Numeric::Infinity),
        NEG_INFINITY => return Ok(Numeric::NegInfinity),
        0 | NEGATIVE => {}
        _ => return Err(wrong("sign")),
    }
    if scale > crate::kernels::numeric::MAX_SCALE {
        return Err(wrong("scale"));
    }
    if bytes.len() != 8 + count * 2 {
        return Err(wrong("length"));
    }
    let mut small: Option<i128> = Some(0);
    let mut big = BigInt::from(0);
    for i in 0..count {
        let digit = field(4 + i);
        if digit >= 10_000 {
            return Err(wrong("digit"));
        }
        match small {
            Some(v) => match v.checked_mul(10_000).and_then(|v| v.checked_add(i128::from(digit))) {
                Some(v) => small = Some(v),
                None => {
                    big = BigInt::from(v) * 10_000 + digit;
                    small = None;
                }
            },
            None => big = big * 10_000 + digit,
        }
    }
    let mut unscaled = small.map_or(big, BigInt::from);
    // The digits stand at 10000^(weight - count + 1); bring them to the display scale, cutting off what it hides.
    let shift = (weight - count as i64 + 1) * 4 + i64::from(scale);
    if shift >= 0 {
        unscaled *= pow10(shift as u32);
    } else {
        unscaled /= pow10(-shift as u32);
    }
    Numeric::checked(if sign == NEGATIVE { -unscaled } else { unscaled }, scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_postgres_and_come_back() {
        // As numeric_send gives them.
        for (text, hex) in [
            ("0", "0000000000000000"),
            ("0.00", "0000000000000002"),
            ("1", "00010000000000000001"),
            ("-1.50", "000200004000000200011388"),
            ("10000", "00010001000000000001"),
            ("0.0001", "0001ffff000000040001"),
            ("12345.678", "0003000100000003000109291a7c"),
            ("NaN", "00000000c0000000"),
            ("Infinity", "00000000d0000000"),
            ("-Infinity", "00000000f0000000"),
        ] {
            let value: Numeric = text.parse().expect("a numeric");
            let mut bytes = Vec::new();
            write(&value, &mut bytes);
            assert_eq!(hex::encode(&bytes), hex, "{text}");
            assert_eq!(parse(&bytes).expect("it is its own form").to_string(), text);
        }
        for text in
            ["123456789012345678901234567890123456789012345.678900", "-0.000000000000000000000000000000000000000001"]
        {
            let value: Numeric = text.parse().expect("a numeric");
            let mut bytes = Vec::new();
            write(&value, &mut bytes);
            assert_eq!(parse(&bytes).expect("it is its own form").to_string(), text);
        }
    }

    #[test]
    fn wrong_bytes_are_refused() {
        assert!(parse(&[0, 1]).is_err());
        assert!(parse(&[0, 1, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(parse(&[0, 1, 0, 0, 0x12, 0, 0, 0, 0, 1]).is_err());
        assert!(parse(&[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10]).is_err());
    }
}
