//! Integers as text.

use crate::error::{Error, ErrorKind, Result};
use crate::format::{invalid_text, trim};

/// An integer of the range of `T`; `ty` is the type's name in messages.
pub(crate) fn parse<T: TryFrom<i128>>(text: &str, ty: &str) -> Result<T> {
    let trimmed = trim(text).as_bytes();
    let (negative, digits) = match trimmed {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    if digits.is_empty() {
        return Err(invalid_text(ty, text));
    }
    let out_of_range =
        || Error::new(ErrorKind::NumericOutOfRange, format!("value \"{text}\" is out of range for type {ty}"));
    // 18 digits fit an i64; what is longer takes the wide path.
    let value = if digits.len() <= 18 {
        let mut v = 0i64;
        for &d in digits {
            if !d.is_ascii_digit() {
                return Err(invalid_text(ty, text));
            }
            v = v * 10 + i64::from(d - b'0');
        }
        i128::from(v)
    } else {
        let mut v = 0i128;
        for &d in digits {
            if !d.is_ascii_digit() {
                return Err(invalid_text(ty, text));
            }
            v = v.saturating_mul(10).saturating_add(i128::from(d - b'0'));
        }
        v
    };
    T::try_from(if negative { -value } else { value }).map_err(|_| out_of_range())
}

/// Appends a signed integer.
#[inline]
pub(crate) fn write_i64(v: i64, out: &mut Vec<u8>) {
    if v < 0 {
        out.push(b'-');
    }
    write_u64(v.unsigned_abs(), out);
}

/// Appends an unsigned integer.
#[inline]
pub(crate) fn write_u64(mut v: u64, out: &mut Vec<u8>) {
    let mut buffer = [0u8; 20];
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (v % 10) as u8;
        v /= 10;
        if v == 0 {
            break;
        }
    }
    out.extend_from_slice(&buffer[at..]);
}

/// Appends a number with zeros in front, to at least `width` digits.
#[inline]
pub(crate) fn write_padded(v: u64, width: usize, out: &mut Vec<u8>) {
    let digits = v.checked_ilog10().map_or(1, |d| d as usize + 1);
    for _ in digits..width {
        out.push(b'0');
    }
    write_u64(v, out);
}
