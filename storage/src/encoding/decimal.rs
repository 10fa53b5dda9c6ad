//! Floats that are decimal fractions (prices, coordinates, measurements): value = n / 10^e exactly, with n an integer that
//! packs well. The smallest e that is exact for every value of the chunk is used; one value that is not exact (NaN, −0 and
//! infinities are not) sends the chunk elsewhere.

use arrow::array::Int64Array;
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;

use super::{Encoder, decode as decode_chunk, nested};
use crate::bytes::{Reader, Write};
use crate::error::{Decoded, damaged};

const POWERS: [f64; 15] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14];
/// Integers beyond this are not exact as floats.
const EXACT_MAX: f64 = (1u64 << 53) as f64;
/// The integers must be narrower than the floats by this many bits to be worth the division.
const BITS_SAVED_MIN: u8 = 8;

/// The bits of n / 10^e.
fn bits(n: i64, power: f64, width: usize) -> u64 {
    let value = n as f64 / power;
    if width == 4 { u64::from((value as f32).to_bits()) } else { value.to_bits() }
}

fn integer(bits_of: u64, power: f64, width: usize) -> Option<i64> {
    let value = if width == 4 { f64::from(f32::from_bits(bits_of as u32)) } else { f64::from_bits(bits_of) };
    let scaled = (value * power).round();
    // False for NaN too.
    let exact = scaled.abs() < EXACT_MAX && bits(scaled as i64, power, width) == bits_of;
    exact.then_some(scaled as i64)
}

/// Appends the body for floats given as bits, if they are decimals that pay.
pub(super) fn encode(child: &mut Encoder, values: &[u64], width: usize, out: &mut Vec<u8>) -> Decoded<bool> {
    let step = values.len().div_ceil(64).max(1);
    let exact = |&power: &&f64| values.iter().step_by(step).all(|&value| integer(value, *power, width).is_some());
    let Some(exponent) = POWERS.iter().position(|power| exact(&power)) else { return Ok(false) };
    for (exponent, &power) in POWERS.iter().enumerate().skip(exponent) {
        let integers: Option<Vec<i64>> = values.iter().map(|&value| integer(value, power, width)).collect();
        let Some(integers) = integers else { continue };
        let wide: Vec<u64> = integers.iter().map(|&n| n as u64).collect();
        if super::numbers::frame(&wide, true).width + BITS_SAVED_MIN > 8 * width as u8 {
            return Ok(false);
        }
        out.put_u8(exponent as u8);
        child.encode_nested(&Int64Array::from(integers), out)?;
        return Ok(true);
    }
    Ok(false)
}

/// Reads the body back into floats.
pub(super) fn decode(width: usize, rows: usize, body: &Buffer, selection: Option<&[u32]>) -> Decoded<Buffer> {
    let mut reader = Reader::new(body);
    let Some(&power) = POWERS.get(usize::from(reader.u8()?)) else { return damaged("an exponent over 14") };
    let integers = decode_chunk(&DataType::Int64, rows, &nested(&mut reader, body)?, None, selection)?;
    let Some(integers) = integers.as_any().downcast_ref::<Int64Array>() else {
        return damaged("integers of another type");
    };
    Ok(match width {
        4 => integers.values().iter().map(|&n| (n as f64 / power) as f32).collect::<Vec<_>>().into(),
        _ => integers.values().iter().map(|&n| n as f64 / power).collect::<Vec<_>>().into(),
    })
}
