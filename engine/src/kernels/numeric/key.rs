//! Byte forms of numerics for hash tables and sorts.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryViewArray, BinaryViewBuilder};
use num_traits::Signed;

use super::{Numeric, column};

/// A column of bytes, equal where the numerics are equal and only there. NULL stays NULL. The bytes are still an encoding of the
/// numeric, with the smallest display scale that shows it.
pub fn normalize_key(array: &dyn Array) -> ArrayRef {
    map_bytes(array, |value, out| value.trimmed().encode(out))
}

/// A column of bytes whose order is the order of the numerics (NaN largest); equal numerics have equal bytes. NULL stays NULL.
///
/// ```text
/// -Infinity   00
/// negative    01, then the complement of what the magnitude would have, then FF
/// zero        02
/// positive    03, exponent of the first digit (i32, big-endian, sign flipped), pairs of digits (value + 1) from the first, 00
/// Infinity    04
/// NaN         05
/// ```
pub fn sort_key(array: &dyn Array) -> ArrayRef {
    map_bytes(array, write_sort_key)
}

fn map_bytes(array: &dyn Array, mut write: impl FnMut(&Numeric, &mut Vec<u8>)) -> ArrayRef {
    let array: &BinaryViewArray = column::downcast(array);
    let mut builder = BinaryViewBuilder::with_capacity(array.len());
    let mut bytes = Vec::with_capacity(64);
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
        } else {
            bytes.clear();
            write(&Numeric::decode(array.value(row)), &mut bytes);
            builder.append_value(&bytes);
        }
    }
    Arc::new(builder.finish())
}

/// Appends the bytes of [`sort_key`]; none are the start of another's.
pub(crate) fn write_sort_key(value: &Numeric, out: &mut Vec<u8>) {
    match value {
        Numeric::NegInfinity => out.push(0),
        Numeric::Infinity => out.push(4),
        Numeric::NaN => out.push(5),
        Numeric::Small(0, _) => out.push(2),
        Numeric::Small(m, scale) => {
            let mut digits = [0u8; 40];
            let used = write_digits(m.unsigned_abs(), &mut digits);
            write_finite(*m < 0, &digits[digits.len() - used..], *scale, out);
        }
        Numeric::Big(m, scale) => {
            write_finite(m.is_negative(), m.magnitude().to_string().as_bytes(), *scale, out);
        }
    }
}

/// Decimal digits at the end of `buffer`; gives how many.
fn write_digits(mut v: u128, buffer: &mut [u8; 40]) -> usize {
    let mut used = 0;
    while v > 0 {
        used += 1;
        buffer[40 - used] = b'0' + (v % 10) as u8;
        v /= 10;
    }
    used
}

fn write_finite(negative: bool, digits: &[u8], scale: u16, out: &mut Vec<u8>) {
    let exponent = digits.len() as i32 - i32::from(scale);
    let significant = digits.len() - digits.iter().rev().take_while(|&&d| d == b'0').count();
    out.push(if negative { 1 } else { 3 });
    let start = out.len();
    out.extend_from_slice(&((exponent as u32) ^ 0x8000_0000).to_be_bytes());
    for pair in digits[..significant].chunks(2) {
        let tens = pair[0] - b'0';
        let ones = pair.get(1).map_or(0, |d| d - b'0');
        out.push(tens * 10 + ones + 1);
    }
    out.push(0);
    if negative {
        for byte in &mut out[start..] {
            *byte = !*byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::from_values;
    use super::*;

    #[test]
    fn sort_keys_are_in_numeric_order_and_equal_for_equals() {
        let texts = [
            "-Infinity",
            "-1e30",
            "-123.5",
            "-123.45",
            "-100",
            "-99.9",
            "-0.002",
            "-0.001",
            "0",
            "0.001",
            "0.0010",
            "0.002",
            "1",
            "1.0",
            "1.00",
            "1.5",
            "9",
            "10",
            "10.0",
            "99",
            "100",
            "101",
            "123456789012345678901234567890123456789012",
            "1e50",
            "Infinity",
            "NaN",
        ];
        let values: Vec<Numeric> = texts.iter().map(|t| t.parse().expect("a numeric")).collect();
        let array = from_values(values.iter().cloned().map(Some));
        let (sort, equal) = (sort_key(&array), normalize_key(&array));
        let bytes = |keys: &ArrayRef, i: usize| column::downcast::<BinaryViewArray>(keys).value(i).to_vec();
        for i in 0..values.len() {
            for j in 0..values.len() {
                let order = values[i].cmp(&values[j]);
                assert_eq!(bytes(&sort, i).cmp(&bytes(&sort, j)), order, "{} and {}", texts[i], texts[j]);
                assert_eq!(bytes(&equal, i) == bytes(&equal, j), order.is_eq(), "{} and {}", texts[i], texts[j]);
            }
        }
    }
}
