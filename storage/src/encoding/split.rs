//! Floats cut in two: the high bits (sign, exponent and the first digits), of which a chunk has few kinds, as small integers, and the
//! low bits as they are. After ALP-RD, the companion that the ALP paper has for real doubles.
//!
//! The cut is chosen on a sample: high bits cost what codes for their distinct values cost, or their range, whichever is less.

use arrow::array::{Array, UInt16Array};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;

use super::bitpack::{self, Unpacked};
use super::{Effort, Encoder, decode_at, nested};
use crate::bytes::{Reader, Write};
use crate::error::{Decoded, damaged};

/// The high part has at most this many bits.
const HIGH_BITS: u8 = 16;
const SAMPLE: usize = 256;

/// The best cut for floats of `bits` bits, if it saves a sixteenth.
pub(super) fn cut(values: &[u64], bits: u8) -> Option<u8> {
    let mut sample: Vec<u64> = values.iter().step_by(values.len().div_ceil(SAMPLE)).copied().collect();
    sample.sort_unstable();
    let cost = |cut: u8| {
        let high = |value: &u64| value >> cut;
        let distinct = sample.chunk_by(|a, b| high(a) == high(b)).count();
        let range = sample.last().map_or(0, high) - sample.first().map_or(0, high);
        let codes = bitpack::width_of(distinct as u64 - 1) + u8::from(distinct > 1);
        cut + codes.min(bitpack::width_of(range))
    };
    let (cost, cut) = (bits - HIGH_BITS..bits).map(|cut| (cost(cut), cut)).min()?;
    (cost + bits / 16 <= bits).then_some(cut)
}

/// Appends the body.
pub(super) fn write(values: &[u64], cut: u8, out: &mut Vec<u8>) -> Decoded<()> {
    out.put_u8(cut);
    let high: Vec<u16> = values.iter().map(|value| (value >> cut) as u16).collect();
    Encoder::new(Effort::Inner).encode_nested(&UInt16Array::from(high), out)?;
    let low: Vec<u64> = values.iter().map(|value| value & ((1 << cut) - 1)).collect();
    bitpack::pack(&low, cut, out);
    Ok(())
}

/// Reads the body back into floats.
pub(super) fn decode(
    width: usize,
    rows: usize,
    body: &Buffer,
    selection: Option<&[u32]>,
    level: u8,
) -> Decoded<Buffer> {
    let mut reader = Reader::new(body);
    let cut = reader.u8()?;
    if usize::from(cut) >= 8 * width {
        return damaged(format!("floats cut at bit {cut}"));
    }
    let high = decode_at(&DataType::UInt16, rows, &nested(&mut reader, body)?, None, selection, level + 1)?;
    let Some(high) = high.as_any().downcast_ref::<UInt16Array>().filter(|high| high.null_count() == 0) else {
        return damaged("high bits that are NULL");
    };
    let bytes = reader.take(reader.left())?;
    let join = |(&high, low): (&u16, u64)| u64::from(high) << cut | low;
    let high = high.values();
    let joined: Vec<u64> = match selection {
        Some(selection) => {
            bitpack::check(bytes, rows, cut)?;
            let low = selection.iter().map(|&row| bitpack::get(bytes, rows, cut, row as usize));
            high.iter().zip(low).map(join).collect()
        }
        None => match bitpack::unpack(bytes, rows, cut)? {
            Unpacked::Narrow(low) => high.iter().zip(low).map(|(high, low)| join((high, low.into()))).collect(),
            Unpacked::Wide(low) => high.iter().zip(low).map(join).collect(),
        },
    };
    Ok(match width {
        4 => joined.iter().map(|&bits| bits as u32).collect::<Vec<_>>().into(),
        _ => joined.into(),
    })
}
