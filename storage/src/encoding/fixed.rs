//! Fixed-width values: constant and plain, and the choice among them, packed, delta, decimal and dictionaries.
//!
//! The choice: all equal is constant. Otherwise the sizes of packed and delta are known exactly from one pass; a
//! dictionary is considered when a sample shows few distinct values, and wins when its codes are narrower by enough to pay for
//! itself. Plain is what is left.

use arrow::array::{Array, ArrayData, UInt32Array};
use arrow::buffer::{Buffer, NullBuffer};
use hashbrown::HashSet;

use super::dictionary::Dictionary;
use super::numbers::{self, Frame, Word};
use super::{Effort, Encoder, Encoding, Physical, Shared, bitpack, decimal, fixed_bytes};
use crate::bytes::Write;
use crate::error::{Decoded, damaged};

/// How many rows of a chunk are looked at to guess its number of distinct values.
const SAMPLE: usize = 1024;
/// Chunks smaller than this get no dictionary of their own.
const DICTIONARY_ROWS_MIN: usize = 64;

impl Encoder {
    pub(super) fn encode_fixed(
        &mut self,
        array: &dyn Array,
        physical: Physical,
        nulls: Option<&NullBuffer>,
        out: &mut Vec<u8>,
    ) -> Decoded<Encoding> {
        let data = array.to_data();
        let width = physical.width();
        let bytes = fixed_bytes(&data, width);
        if self.effort == Effort::Log && array.len() < 16 {
            return Ok(plain(bytes, out));
        }
        match physical {
            Physical::Integer { width, signed } => {
                let values = widen(bytes, width, signed, nulls);
                self.encode_integers(&data, &values, width, signed, out)
            }
            Physical::Float { width } => {
                let bits = widen(bytes, width, false, nulls);
                let frame = numbers::frame(&bits, false);
                if frame.width == 0 {
                    return Ok(constant(&bits[0].to_le_bytes()[..width], out));
                }
                if self.effort == Effort::Log {
                    return Ok(plain(bytes, out));
                }
                if let Some(encoding) = self.dictionary_fixed(&data, &bits, 8 * width as u8, out)? {
                    return Ok(encoding);
                }
                if decimal::encode(self.child(0), &bits, width, out)? {
                    return Ok(Encoding::Decimal);
                }
                Ok(plain(bytes, out))
            }
            _ if width == 16 => {
                let values = fill(bytes.chunks_exact(16).map(i128::read).collect(), nulls);
                if values.iter().all(|value| *value == values[0]) {
                    return Ok(constant(&values[0].to_le_bytes(), out));
                }
                if self.effort != Effort::Log
                    && let Some(encoding) = self.dictionary_fixed(&data, &values, 64, out)?
                {
                    return Ok(encoding);
                }
                match physical == Physical::Wide && numbers::write_packed_wide(&values, out) {
                    true => Ok(Encoding::Packed),
                    false => Ok(plain(bytes, out)),
                }
            }
            _ => {
                let first = &bytes[..width];
                match nulls.is_none() && bytes.chunks_exact(width).all(|value| value == first) {
                    true => Ok(constant(first, out)),
                    false => Ok(plain(bytes, out)),
                }
            }
        }
    }

    fn encode_integers(
        &mut self,
        data: &ArrayData,
        values: &[u64],
        width: usize,
        signed: bool,
        out: &mut Vec<u8>,
    ) -> Decoded<Encoding> {
        let frame = numbers::frame(values, signed);
        if frame.width == 0 {
            return Ok(constant(&frame.base.to_le_bytes()[..width], out));
        }
        let delta = numbers::delta_frame(values);
        let size = |frame: Frame| bitpack::packed_len(values.len(), frame.width);
        // Delta has no random access and a longer header: it has to win clearly.
        let use_delta = size(delta) + 64 < size(frame) * 3 / 4;
        let best = if use_delta { delta.width } else { frame.width };
        if self.effort != Effort::Log
            && best > 8
            && let Some(encoding) = self.dictionary_fixed(data, values, best, out)?
        {
            return Ok(encoding);
        }
        if use_delta {
            numbers::write_delta(values, delta, out);
            return Ok(Encoding::Delta);
        }
        if usize::from(frame.width) < 8 * width {
            numbers::write_packed(values, frame, width, out);
            return Ok(Encoding::Packed);
        }
        for value in values {
            out.extend_from_slice(&value.to_le_bytes()[..width]);
        }
        Ok(Encoding::Plain)
    }

    /// Tries the shared dictionary, then one for this chunk, against values that otherwise take `width` bits each.
    fn dictionary_fixed<K: DictionaryKey>(
        &mut self,
        data: &ArrayData,
        values: &[K],
        width: u8,
        out: &mut Vec<u8>,
    ) -> Decoded<Option<Encoding>> {
        let sampled = || sample_distinct(values.iter().copied());
        if self.decide_shared(|| sampled().is_some_and(|bits| bits + 2 < width), Dictionary::fixed)
            && let Shared::Yes(dictionary) = &mut self.shared
            && let Some(codes) = dictionary.codes_fixed(values.iter().map(|value| value.key()))
            && bitpack::width_of(dictionary.len() as u64) < width
        {
            self.write_codes(&codes, out)?;
            return Ok(Some(Encoding::PartDictionary));
        }
        self.give_up_shared();
        if values.len() < DICTIONARY_ROWS_MIN || sampled().is_none_or(|bits| bits + 2 >= width) {
            return Ok(None);
        }
        let mut dictionary = Dictionary::fixed();
        let Some(codes) = dictionary.codes_fixed(values.iter().map(|value| value.key())) else { return Ok(None) };
        let codes_width = bitpack::width_of(dictionary.len() as u64);
        let size = dictionary.len() * usize::from(width) + values.len() * usize::from(codes_width);
        if size * 10 > values.len() * usize::from(width) * 8 {
            return Ok(None);
        }
        self.write_dictionary(&dictionary, data.data_type(), &codes, out)?;
        Ok(Some(Encoding::Dictionary))
    }

    /// Whether this chunk should try the shared dictionary: decided by `pays` on the first chunk, and again as it grows.
    pub(super) fn decide_shared(&mut self, pays: impl FnOnce() -> bool, new: fn() -> Dictionary) -> bool {
        match &self.shared {
            Shared::Open => {
                let pays = pays();
                self.shared = if pays { Shared::Yes(new()) } else { Shared::Done(None) };
                pays
            }
            // More than one distinct value in four rows after a few chunks: the entries cost more than the codes save.
            Shared::Yes(dictionary) => dictionary.len() < 4096 || dictionary.len() * 4 < self.rows,
            Shared::No | Shared::Done(_) => false,
        }
    }

    /// The shared dictionary did not serve this chunk: later ones do not try. (Chunks that use it keep it.)
    pub(super) fn give_up_shared(&mut self) {
        self.shared = match std::mem::replace(&mut self.shared, Shared::No) {
            Shared::Yes(dictionary) => Shared::Done(Some(dictionary)),
            other => other,
        };
    }

    pub(super) fn write_codes(&mut self, codes: &[u64], out: &mut Vec<u8>) -> Decoded<()> {
        let codes: UInt32Array = codes.iter().map(|&code| code as u32).collect::<Vec<_>>().into();
        Encoder::new(Effort::Log).encode(&codes, out).map(drop)
    }

    pub(super) fn write_dictionary(
        &mut self,
        dictionary: &Dictionary,
        ty: &arrow::datatypes::DataType,
        codes: &[u64],
        out: &mut Vec<u8>,
    ) -> Decoded<()> {
        out.put_varint(dictionary.len() as u64);
        Encoder::new(Effort::Log).encode_nested(&dictionary.entries(ty)?, out)?;
        let mut chunk = Vec::new();
        self.write_codes(codes, &mut chunk)?;
        out.put_bytes(&chunk);
        Ok(())
    }
}

/// A fixed-width value as a dictionary's key.
pub(super) trait DictionaryKey: Copy + Eq + std::hash::Hash {
    fn key(self) -> u128;
}

impl DictionaryKey for u64 {
    fn key(self) -> u128 {
        self.into()
    }
}

impl DictionaryKey for i128 {
    fn key(self) -> u128 {
        self as u128
    }
}

/// The bits that codes would need if the chunk has no more distinct values than a sample shows; `None` when over half of
/// the sample is distinct.
pub(super) fn sample_distinct<K: Eq + std::hash::Hash>(values: impl ExactSizeIterator<Item = K>) -> Option<u8> {
    let step = values.len().div_ceil(SAMPLE).max(1);
    let (mut distinct, mut seen) = (HashSet::with_hasher(foldhash::fast::FixedState::default()), 0);
    for value in values.step_by(step) {
        distinct.insert(value);
        seen += 1;
    }
    (distinct.len() * 2 <= seen).then(|| bitpack::width_of(distinct.len() as u64))
}

fn constant(value: &[u8], out: &mut Vec<u8>) -> Encoding {
    out.extend_from_slice(value);
    Encoding::Constant
}

fn plain(bytes: &[u8], out: &mut Vec<u8>) -> Encoding {
    out.extend_from_slice(bytes);
    Encoding::Plain
}

/// Values of up to 8 bytes as 64 bits; a NULL repeats the value before it.
fn widen(bytes: &[u8], width: usize, signed: bool, nulls: Option<&NullBuffer>) -> Vec<u64> {
    fn all<T: Word>(bytes: &[u8], wide: impl Fn(T) -> u64) -> Vec<u64> {
        bytes.chunks_exact(T::SIZE).map(|value| wide(T::read(value))).collect()
    }
    let values = match (width, signed) {
        (1, true) => all(bytes, |value: i8| value as u64),
        (2, true) => all(bytes, |value: i16| value as u64),
        (4, true) => all(bytes, |value: i32| value as u64),
        (1, false) => all(bytes, |value: i8| u64::from(value as u8)),
        (2, false) => all(bytes, |value: i16| u64::from(value as u16)),
        (4, false) => all(bytes, |value: i32| u64::from(value as u32)),
        _ => all(bytes, |value: i64| value as u64),
    };
    fill(values, nulls)
}

/// Gives NULLs the value before them (the first ones the first value), so that they widen no range.
fn fill<T: Copy>(mut values: Vec<T>, nulls: Option<&NullBuffer>) -> Vec<T> {
    let Some(nulls) = nulls else { return values };
    let Some(first) = nulls.valid_indices().next() else { return values };
    let mut last = values[first];
    for (row, value) in values.iter_mut().enumerate() {
        if nulls.is_null(row) { *value = last } else { last = *value }
    }
    values
}

/// Reads any fixed-width chunk but dictionaries and decimals.
pub(super) fn decode(
    encoding: Encoding,
    physical: Physical,
    rows: usize,
    body: Buffer,
    selection: Option<&[u32]>,
) -> Decoded<Buffer> {
    match (encoding, physical) {
        (Encoding::Plain, _) => decode_plain(physical.width(), rows, body, selection),
        (Encoding::Constant, _) => {
            let width = physical.width();
            if width == 0 || body.len() < width {
                return damaged(format!("a constant of {} bytes instead of {width}", body.len()));
            }
            Ok(body[..width].repeat(selection.map_or(rows, <[u32]>::len)).into())
        }
        (Encoding::Packed, Physical::Integer { width, .. }) => match width {
            1 => numbers::read_packed::<i8>(&body, rows, selection),
            2 => numbers::read_packed::<i16>(&body, rows, selection),
            4 => numbers::read_packed::<i32>(&body, rows, selection),
            _ => numbers::read_packed::<i64>(&body, rows, selection),
        },
        (Encoding::Packed, Physical::Wide) => numbers::read_packed::<i128>(&body, rows, selection),
        (Encoding::Delta, Physical::Integer { width, .. }) => match width {
            1 => numbers::read_delta::<i8>(&body, rows, selection),
            2 => numbers::read_delta::<i16>(&body, rows, selection),
            4 => numbers::read_delta::<i32>(&body, rows, selection),
            _ => numbers::read_delta::<i64>(&body, rows, selection),
        },
        _ => damaged(format!("a {encoding} of {physical:?}")),
    }
}

fn decode_plain(width: usize, rows: usize, body: Buffer, selection: Option<&[u32]>) -> Decoded<Buffer> {
    let Some(length) = rows.checked_mul(width).filter(|&length| width > 0 && length <= body.len()) else {
        return damaged(format!("{} bytes for {rows} values of {width}", body.len()));
    };
    let Some(selection) = selection else { return Ok(body.slice_with_length(0, length)) };
    let mut out = Vec::with_capacity(selection.len() * width);
    for &row in selection {
        out.extend_from_slice(&body[row as usize * width..][..width]);
    }
    Ok(out.into())
}
