//! Reading packed, patched, delta and scaled integers (written by [`super::integers`]).
//!
//! Integers of up to 8 bytes are handled as their 64 bits (sign-extended or zero-extended), 16-byte integers as i128 or, where they
//! fit, as 64 bits too. Distances are taken modulo the word size, so the extremes of a type need no special case.

use arrow::array::{Array, BooleanBufferBuilder, Int64Array, UInt64Array};
use arrow::buffer::{BooleanBuffer, Buffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType};

use super::bitpack::{self, Unpacked};
use super::{Encoding, Nulls, Opened, Physical, decode_at, is_one_of, nested, nested_u32, open, runs, valid};
use crate::bytes::{Reader, Write};
use crate::error::{Decoded, damaged};
use crate::key::{Key, key_at};
use crate::prune::Numbers;

/// The bits of a fixed-width value.
pub(super) trait Word: ArrowNativeType + Eq + std::hash::Hash {
    const SIZE: usize;
    fn add(self, distance: u64) -> Self;
    /// From at least as many bytes.
    fn read(bytes: &[u8]) -> Self;
    /// The low bytes of 64 bits; 16-byte words are sign-extended.
    fn of_bits(bits: u64) -> Self;
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
                <$ty>::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default())
            }
            #[inline]
            fn of_bits(bits: u64) -> Self {
                bits as i64 as $ty
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

/// Reads the body of a packed chunk.
pub(super) fn read_packed<T: Word>(body: &[u8], rows: usize, selection: Option<&[u32]>) -> Decoded<Buffer> {
    let mut reader = Reader::new(body);
    let base = T::read(reader.take(T::SIZE)?);
    let width = reader.u8()?;
    let bytes = reader.take(reader.left())?;
    if let Some(selection) = few(selection, rows) {
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

/// Which values of a chunk of integers, or of decimals unscaled, are some numbers, where that is found without making values of what is encoded; NULL is none.
pub(crate) fn decode_within(
    ty: &DataType,
    rows: usize,
    chunk: &Buffer,
    numbers: &Numbers,
) -> Decoded<Option<BooleanBuffer>> {
    let (width, signed) = match Physical::of(ty)? {
        Physical::Integer { width, signed } => (width, signed),
        Physical::Wide => (16, true),
        _ => return Ok(None),
    };
    if !is_one_of(chunk, &[Encoding::Packed, Encoding::Patched, Encoding::RunLength]) {
        return Ok(None);
    }
    let Opened { encoding, nulls: Nulls::Some(nulls), body } = open(rows, chunk, None, 0)? else {
        return Ok(Some(BooleanBuffer::new_unset(rows)));
    };
    let found = match encoding {
        Encoding::RunLength => Some(runs::within(ty, rows, &body, numbers)?),
        Encoding::Patched => patched_within(&body, rows, signed, numbers)?,
        _ => Some(packed_within(&body, rows, (width, signed), numbers)?),
    };
    Ok(found.map(|found| valid(found, nulls.as_ref())))
}

/// Which values are some numbers.
pub(super) fn values_within(values: &dyn Array, numbers: &Numbers) -> BooleanBuffer {
    let is_one = |row| matches!(key_at(values, row), Some(Key::Number(number)) if numbers.contains(number));
    BooleanBuffer::collect_bool(values.len(), is_one)
}

/// Which values of a packed chunk are some numbers, told by their distances; values are of so many bytes.
fn packed_within(body: &[u8], rows: usize, (size, signed): (usize, bool), numbers: &Numbers) -> Decoded<BooleanBuffer> {
    let mut reader = Reader::new(body);
    let base = reader.take(size)?.iter().rev().fold(0, |base, &byte| base << 8 | i128::from(byte));
    let unused = 128 - 8 * size;
    let base = if signed { base << unused >> unused } else { base };
    let width = reader.u8()?;
    distances_within(reader.take(reader.left())?, rows, width, base, numbers)
}

/// Which packed distances from a base are to some numbers.
fn distances_within(bytes: &[u8], rows: usize, width: u8, base: i128, numbers: &Numbers) -> Decoded<BooleanBuffer> {
    let found = match numbers.distances(base) {
        Some(distances) => bitpack::within(bytes, rows, width, distances)?,
        None => bitpack::check(bytes, rows, width).map(|()| BooleanBuffer::new_unset(rows))?,
    };
    Ok(if numbers.outside { !&found } else { found })
}

/// The same of a patched chunk: what has no patch by its distance, the others one by one. `None` where distances may go past the last number.
fn patched_within(body: &Buffer, rows: usize, signed: bool, numbers: &Numbers) -> Decoded<Option<BooleanBuffer>> {
    let Patched { base: bits, width, low, rows: patched, rest } = Patched::open(body, rows, 0)?;
    let number = |bits: u64| if signed { i128::from(bits as i64) } else { i128::from(bits) };
    let base = number(bits);
    if number(bits.wrapping_add((1 << width) - 1)) < base {
        return Ok(None);
    }
    let mut found = BooleanBufferBuilder::new(rows);
    found.append_buffer(&distances_within(low, rows, width, base, numbers)?);
    for (&row, &rest) in patched.iter().zip(&*rest) {
        let distance = bitpack::get(low, rows, width, row as usize) | rest << width;
        found.set_bit(row as usize, numbers.contains(number(bits.wrapping_add(distance))));
    }
    Ok(Some(found.finish()))
}

/// A selection that is worth finding value by value.
fn few(selection: Option<&[u32]>, rows: usize) -> Option<&[u32]> {
    selection.filter(|selection| selection.len() * 8 < rows)
}

/// The body of a patched chunk taken apart: the low bits of all distances from `base`, and the rows of which there are more.
struct Patched<'a> {
    base: u64,
    width: u8,
    low: &'a [u8],
    rows: ScalarBuffer<u32>,
    rest: ScalarBuffer<u64>,
}

impl Patched<'_> {
    fn open(body: &Buffer, rows: usize, level: u8) -> Decoded<Patched<'_>> {
        let mut reader = Reader::new(body);
        let (base, width) = (reader.u64()?, reader.u8()?);
        if width > 63 {
            return damaged(format!("patches over {width} bits"));
        }
        let low = reader.take(bitpack::packed_len(rows, width))?;
        let count = reader.varint()?;
        if count > rows as u64 {
            return damaged(format!("{count} patches of {rows} rows"));
        }
        let patched = nested_u32(&mut reader, body, count as usize, level)?;
        let rest = nested_u64(&mut reader, body, count as usize, level)?;
        if patched.windows(2).any(|pair| pair[0] >= pair[1]) || patched.last().is_some_and(|&row| row as usize >= rows)
        {
            return damaged("patches of rows that are not in order, or not there");
        }
        Ok(Patched { base, width, low, rows: patched, rest })
    }
}

/// Reads the body of a patched chunk.
pub(super) fn read_patched<T: Word>(
    body: &Buffer,
    rows: usize,
    selection: Option<&[u32]>,
    level: u8,
) -> Decoded<Buffer> {
    let Patched { base, width, low, rows: patched, rest } = Patched::open(body, rows, level)?;
    let patches = patched.iter().zip(rest.iter().map(|rest| rest << width));
    if let Some(selection) = few(selection, rows) {
        let mut bits: Vec<u64> = selection.iter().map(|&row| bitpack::get(low, rows, width, row as usize)).collect();
        for (row, rest) in patches {
            if let Ok(at) = selection.binary_search(row) {
                bits[at] |= rest;
            }
        }
        return Ok(bits.iter().map(|bits| T::of_bits(base.wrapping_add(*bits))).collect::<Vec<T>>().into());
    }
    let mut values: Vec<T> = match bitpack::unpack(low, rows, width)? {
        Unpacked::Narrow(low) => low.iter().map(|&low| T::of_bits(base.wrapping_add(low.into()))).collect(),
        Unpacked::Wide(low) => low.iter().map(|&low| T::of_bits(base.wrapping_add(low))).collect(),
    };
    for (&row, rest) in patches {
        let low = bitpack::get(low, rows, width, row as usize);
        values[row as usize] = T::of_bits(base.wrapping_add(low | rest));
    }
    Ok(select(values, selection))
}

/// Reads the body of a delta chunk.
pub(super) fn read_delta<T: Word>(body: &Buffer, rows: usize, selection: Option<&[u32]>, level: u8) -> Decoded<Buffer> {
    if rows == 0 {
        return damaged("a delta chunk without rows");
    }
    let mut reader = Reader::new(body);
    let mut value = reader.u64()?;
    let differences = nested_i64(&mut reader, body, rows - 1, None, level)?;
    let mut values = Vec::with_capacity(rows);
    values.push(T::of_bits(value));
    values.extend(differences.iter().map(|&difference| {
        value = value.wrapping_add(difference as u64);
        T::of_bits(value)
    }));
    Ok(select(values, selection))
}

/// Reads the body of a scaled chunk.
pub(super) fn read_scaled<T: Word>(
    body: &Buffer,
    rows: usize,
    selection: Option<&[u32]>,
    level: u8,
) -> Decoded<Buffer> {
    let mut reader = Reader::new(body);
    let (base, factor) = (reader.u64()?, reader.u64()?);
    let quotients = decode_at(&DataType::UInt64, rows, &nested(&mut reader, body)?, None, selection, level + 1)?;
    let value = |&quotient: &u64| T::of_bits(base.wrapping_add(quotient.wrapping_mul(factor)));
    Ok(words_u64(&quotients)?.iter().map(value).collect::<Vec<T>>().into())
}

/// Reads a nested chunk without NULLs of Int64.
pub(super) fn nested_i64(
    reader: &mut Reader<'_>,
    buffer: &Buffer,
    rows: usize,
    selection: Option<&[u32]>,
    level: u8,
) -> Decoded<ScalarBuffer<i64>> {
    let array = decode_at(&DataType::Int64, rows, &nested(reader, buffer)?, None, selection, level + 1)?;
    match array.as_any().downcast_ref::<Int64Array>().filter(|array| array.null_count() == 0) {
        Some(array) => Ok(array.values().clone()),
        None => damaged("nested integers that are NULL"),
    }
}

/// Reads a nested chunk without NULLs of UInt64.
pub(super) fn nested_u64(
    reader: &mut Reader<'_>,
    buffer: &Buffer,
    rows: usize,
    level: u8,
) -> Decoded<ScalarBuffer<u64>> {
    words_u64(&decode_at(&DataType::UInt64, rows, &nested(reader, buffer)?, None, None, level + 1)?)
}

fn words_u64(array: &dyn Array) -> Decoded<ScalarBuffer<u64>> {
    match array.as_any().downcast_ref::<UInt64Array>().filter(|array| array.null_count() == 0) {
        Some(array) => Ok(array.values().clone()),
        None => damaged("nested integers that are NULL"),
    }
}

/// The selected values. Selections were checked against the number of rows.
pub(super) fn select<T: Word>(values: Vec<T>, selection: Option<&[u32]>) -> Buffer {
    match selection {
        None => values.into(),
        Some(selection) => selection.iter().map(|&row| values[row as usize]).collect::<Vec<T>>().into(),
    }
}
