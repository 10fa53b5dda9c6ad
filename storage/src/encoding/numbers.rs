//! Packed (frame of reference) and delta: integers as small distances from a base, bit-packed.
//!
//! Integers of up to 8 bytes are handled as their 64 bits (sign-extended or zero-extended), 16-byte integers as i128.
//! Distances are taken modulo the word size, so the extremes of a type need no special case.

use arrow::buffer::Buffer;
use arrow::datatypes::ArrowNativeType;

use super::bitpack::{self, Unpacked};
use crate::bytes::{Reader, Write};
use crate::error::{Decoded, damaged};

/// The bits of a fixed-width value.
pub(super) trait Word: ArrowNativeType + Eq + std::hash::Hash {
    const SIZE: usize;
    fn add(self, distance: u64) -> Self;
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! word {
    ($($ty:ty),*) => {$(
        impl Word for $ty {
            const SIZE: usize = size_of::<$ty>();
            #[inline]
            fn add(self, distance: u64) -> Self {
                self.wrapping_add(distance as $ty)
            }
            #[inline]
            fn read(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<$ty>()];
                array.copy_from_slice(bytes);
                <$ty>::from_le_bytes(array)
            }
        }
    )*};
}

word!(i8, i16, i32, i64, i128);

/// Smallest base and width for which every value is base + distance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) base: u64,
    pub(super) width: u8,
}

/// The frame of 64-bit values that are compared as signed or as unsigned.
pub(super) fn frame(values: &[u64], signed: bool) -> Frame {
    let bias = if signed { 1 << 63 } else { 0 };
    let (mut min, mut max) = (u64::MAX, 0);
    for &value in values {
        min = min.min(value ^ bias);
        max = max.max(value ^ bias);
    }
    Frame { base: min ^ bias, width: bitpack::width_of(max.wrapping_sub(min)) }
}

/// The frame of the differences between neighbours.
pub(super) fn delta_frame(values: &[u64]) -> Frame {
    let (mut min, mut max) = (i64::MAX, i64::MIN);
    for pair in values.windows(2) {
        let difference = pair[1].wrapping_sub(pair[0]) as i64;
        min = min.min(difference);
        max = max.max(difference);
    }
    if values.len() < 2 {
        return Frame { base: 0, width: 0 };
    }
    Frame { base: min as u64, width: bitpack::width_of(max.wrapping_sub(min) as u64) }
}

/// Body of a packed chunk; `size` bytes of base.
pub(super) fn write_packed(values: &[u64], frame: Frame, size: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&frame.base.to_le_bytes()[..size]);
    out.put_u8(frame.width);
    let distances: Vec<u64> = values.iter().map(|value| value.wrapping_sub(frame.base)).collect();
    bitpack::pack(&distances, frame.width, out);
}

/// Body of a packed chunk of 16-byte integers, if the distances fit in 64 bits.
pub(super) fn write_packed_wide(values: &[i128], out: &mut Vec<u8>) -> bool {
    let (Some(&min), Some(&max)) = (values.iter().min(), values.iter().max()) else { return false };
    let Ok(range) = u64::try_from(max.wrapping_sub(min) as u128) else { return false };
    let width = bitpack::width_of(range);
    out.extend_from_slice(&min.to_le_bytes());
    out.put_u8(width);
    let distances: Vec<u64> = values.iter().map(|value| value.wrapping_sub(min) as u64).collect();
    bitpack::pack(&distances, width, out);
    true
}

/// Body of a delta chunk.
pub(super) fn write_delta(values: &[u64], frame: Frame, out: &mut Vec<u8>) {
    out.put_u64(values.first().copied().unwrap_or(0));
    out.put_u64(frame.base);
    out.put_u8(frame.width);
    let distances: Vec<u64> =
        values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]).wrapping_sub(frame.base)).collect();
    bitpack::pack(&distances, frame.width, out);
}

/// Reads the body of a packed chunk.
pub(super) fn read_packed<T: Word>(body: &[u8], rows: usize, selection: Option<&[u32]>) -> Decoded<Buffer> {
    let mut reader = Reader::new(body);
    let base = T::read(reader.take(T::SIZE)?);
    let width = reader.u8()?;
    let bytes = reader.take(reader.left())?;
    if let Some(selection) = selection.filter(|selection| selection.len() * 8 < rows) {
        bitpack::check(bytes, rows, width)?;
        let value = |&row: &u32| base.add(bitpack::get(bytes, rows, width, row as usize));
        return Ok(selection.iter().map(value).collect::<Vec<T>>().into());
    }
    let values: Vec<T> = match bitpack::unpack(bytes, rows, width)? {
        Unpacked::Narrow(distances) => distances.iter().map(|&distance| base.add(distance.into())).collect(),
        Unpacked::Wide(distances) => distances.iter().map(|&distance| base.add(distance)).collect(),
    };
    Ok(select(values, selection))
}

/// Reads the body of a delta chunk.
pub(super) fn read_delta<T: Word>(body: &[u8], rows: usize, selection: Option<&[u32]>) -> Decoded<Buffer> {
    if rows == 0 {
        return damaged("a delta chunk without rows");
    }
    let mut reader = Reader::new(body);
    let (first, base, width) = (reader.u64()?, reader.u64()?, reader.u8()?);
    let bytes = reader.take(reader.left())?;
    let mut value = first;
    let mut values = Vec::with_capacity(rows);
    let zero = T::default();
    values.push(zero.add(value));
    let mut next = |distance: u64| {
        value = value.wrapping_add(base).wrapping_add(distance);
        values.push(zero.add(value));
    };
    match bitpack::unpack(bytes, rows - 1, width)? {
        Unpacked::Narrow(distances) => distances.iter().for_each(|&distance| next(distance.into())),
        Unpacked::Wide(distances) => distances.iter().for_each(|&distance| next(distance)),
    }
    Ok(select(values, selection))
}

/// The selected values. Selections were checked against the number of rows.
pub(super) fn select<T: Word>(values: Vec<T>, selection: Option<&[u32]>) -> Buffer {
    match selection {
        None => values.into(),
        Some(selection) => selection.iter().map(|&row| values[row as usize]).collect::<Vec<T>>().into(),
    }
}
