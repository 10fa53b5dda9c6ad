//! Fixed-width values: constant and plain, and the choice among these, runs, dictionaries and what [`integers`], [`super::alp`] and
//! [`split`] offer.
//!
//! The choice: all equal is constant, long runs are kept as such. A dictionary is considered when a sample shows few distinct
//! values, and wins when its codes are narrower by enough to pay for itself; a column that has taken to one stays with it while it
//! serves. Plain is what is left.

use arrow::array::Array;
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::DataType;
use hashbrown::HashSet;

use super::alp::Decimals;
use super::dictionary::Dictionary;
use super::integers::{self, Shape, Tries};
use super::numbers::{self, Word};
use super::{Effort, Encoder, Encoding, Physical, Shared, bitpack, fixed_bytes, gorilla, runs, split};
use crate::bytes::Write;
use crate::codec::Transform;
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
        let plainly = self.codec.transform == Transform::Plain && self.effort != Effort::Log;
        if plainly || (self.effort == Effort::Log && array.len() < 16) {
            return Ok(plain(bytes, out));
        }
        match physical {
            Physical::Integer { width, signed } => {
                let values = widen(bytes, width, signed, nulls);
                self.encode_integers(array, &values, nulls, Shape { width, signed }, out)
            }
            Physical::Float { width } => {
                let bits = widen(bytes, width, false, nulls);
                self.encode_floats(array, &bits, nulls, width, out)
            }
            _ if width == 16 => {
                let values = fill(bytes.chunks_exact(16).map(i128::read).collect(), nulls);
                self.encode_wide(array, &values, nulls, physical, out)
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
        array: &dyn Array,
        values: &[u64],
        nulls: Option<&NullBuffer>,
        shape: Shape,
        out: &mut Vec<u8>,
    ) -> Decoded<Encoding> {
        let width = numbers::frame(values, shape.signed).width;
        let plan = match self.codec.transform {
            _ if self.effort == Effort::Log => Some(integers::plan(values, shape, Tries::QUICK)),
            Transform::Delta(times) if width > 0 && values.len() > 1 => Some(integers::plan_delta(values, times)),
            Transform::Packed => Some(integers::plan(values, shape, Tries::PACKED)),
            Transform::Scaled => Some(integers::plan(values, shape, Tries::ALL)),
            _ => None,
        };
        if let Some(plan) = plan {
            return Ok(integers::write(values, &plan, shape, out));
        }
        if width > 0 {
            if let Some(encoding) = self.runs(array, values, nulls, width.into(), out)? {
                return Ok(encoding);
            }
            // What served before is asked before anything else is.
            if width > 8
                && let Shared::Yes(_) = self.shared
                && let Some(encoding) = self.integer_codes(array, values, shape, width, out)?
            {
                return Ok(encoding);
            }
        }
        let plan = integers::plan(values, shape, Tries::ALL);
        let best = (plan.bits / values.len()) as u8;
        if !plan.is_constant()
            && best > 8
            && let Some(encoding) = self.integer_codes(array, values, shape, best, out)?
        {
            return Ok(encoding);
        }
        Ok(integers::write(values, &plan, shape, out))
    }

    fn integer_codes(
        &mut self,
        array: &dyn Array,
        values: &[u64],
        shape: Shape,
        width: u8,
        out: &mut Vec<u8>,
    ) -> Decoded<Option<Encoding>> {
        match shape.width {
            16 => self.dictionary_fixed(array.data_type(), values, |value| value as i64 as u128, width, out),
            _ => self.dictionary_fixed(array.data_type(), values, u128::from, width, out),
        }
    }

    /// Numbers of 16 bytes, and other things of that width.
    fn encode_wide(
        &mut self,
        array: &dyn Array,
        values: &[i128],
        nulls: Option<&NullBuffer>,
        physical: Physical,
        out: &mut Vec<u8>,
    ) -> Decoded<Encoding> {
        if physical == Physical::Wide && values.iter().all(|&value| i128::from(value as i64) == value) {
            let narrow: Vec<u64> = values.iter().map(|&value| value as u64).collect();
            return self.encode_integers(array, &narrow, nulls, Shape { width: 16, signed: true }, out);
        }
        if values.iter().all(|value| *value == values[0]) {
            return Ok(constant(&values[0].to_le_bytes(), out));
        }
        if self.effort != Effort::Log {
            if let Some(encoding) = self.runs(array, values, nulls, 128, out)? {
                return Ok(encoding);
            }
            if let Some(encoding) = self.dictionary_fixed(array.data_type(), values, |value| value as u128, 64, out)? {
                return Ok(encoding);
            }
        }
        if physical == Physical::Wide && numbers::write_packed_wide(values, out) {
            return Ok(Encoding::Packed);
        }
        values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        Ok(Encoding::Plain)
    }

    fn encode_floats(
        &mut self,
        array: &dyn Array,
        bits: &[u64],
        nulls: Option<&NullBuffer>,
        width: usize,
        out: &mut Vec<u8>,
    ) -> Decoded<Encoding> {
        let shape = Shape { width, signed: false };
        if bits.iter().all(|value| *value == bits[0]) {
            shape.put(bits[0], out);
            return Ok(Encoding::Constant);
        }
        if self.effort != Effort::Log {
            if self.codec.transform == Transform::Gorilla {
                gorilla::write(bits, out);
                return Ok(Encoding::Gorilla);
            }
            if self.codec.transform == Transform::Alp
                && let Some(dense) = floats(bits, width)
            {
                return dense.write(bits, out);
            }
            if let Some(encoding) = self.runs(array, bits, nulls, 8 * width, out)? {
                return Ok(encoding);
            }
            let dense = if matches!(self.shared, Shared::Yes(_)) { None } else { floats(bits, width) };
            let best = dense.as_ref().map_or(8 * width, |dense| dense.bits(bits.len()) / bits.len()) as u8;
            if let Some(encoding) = self.dictionary_fixed(array.data_type(), bits, u128::from, best, out)? {
                return Ok(encoding);
            }
            // A dictionary that was to serve and did not left no other choice made.
            if let Some(dense) = dense.or_else(|| floats(bits, width)) {
                return dense.write(bits, out);
            }
        }
        bits.iter().for_each(|&value| shape.put(value, out));
        Ok(Encoding::Plain)
    }

    /// Runs, if they take much less than `width` bits a row.
    fn runs<T: PartialEq>(
        &mut self,
        array: &dyn Array,
        values: &[T],
        nulls: Option<&NullBuffer>,
        width: usize,
        out: &mut Vec<u8>,
    ) -> Decoded<Option<Encoding>> {
        let Some(runs) = runs::find(values, nulls) else { return Ok(None) };
        if runs::bits(&runs, width) * 2 > values.len() * width {
            return Ok(None);
        }
        self.write_runs(array, &runs, out)?;
        Ok(Some(Encoding::RunLength))
    }

    /// Tries the shared dictionary, then one for this chunk, against values that otherwise take `width` bits each.
    fn dictionary_fixed<K: Copy + Eq + std::hash::Hash>(
        &mut self,
        ty: &DataType,
        values: &[K],
        key: impl Fn(K) -> u128 + Copy,
        width: u8,
        out: &mut Vec<u8>,
    ) -> Decoded<Option<Encoding>> {
        let sampled = || sample_distinct(values.iter().copied());
        if self.decide_shared(|| sampled().is_some_and(|bits| bits + 2 < width), Dictionary::fixed, 0)
            && let Shared::Yes(dictionary) = &mut self.shared
            && let Some(codes) = dictionary.codes_fixed(values, key)
            && bitpack::width_of(dictionary.len() as u64) < width
        {
            runs::write_codes(&codes, out);
            return Ok(Some(Encoding::PartDictionary));
        }
        self.give_up_shared();
        let pays = || sampled().is_some_and(|bits| bits + 2 < width);
        if values.len() < DICTIONARY_ROWS_MIN || !self.own.pays(pays) {
            return Ok(None);
        }
        let mut dictionary = Dictionary::fixed();
        let codes = dictionary.codes_fixed(values, key).filter(|_| {
            let codes_width = bitpack::width_of(dictionary.len() as u64);
            let size = dictionary.len() * usize::from(width) + values.len() * usize::from(codes_width);
            size * 10 <= values.len() * usize::from(width) * 8
        });
        let Some(codes) = codes else {
            self.own.failed();
            return Ok(None);
        };
        self.write_dictionary(&dictionary, ty, &codes, out)?;
        Ok(Some(Encoding::Dictionary))
    }

    /// Whether this chunk should try the shared dictionary: decided by `pays` on the first chunk, and again as it grows, for at least so many
    /// rows.
    pub(super) fn decide_shared(&mut self, pays: impl FnOnce() -> bool, new: fn() -> Dictionary, rows: usize) -> bool {
        match &self.shared {
            Shared::Open => {
                let pays = pays();
                self.shared = if pays { Shared::Yes(new()) } else { Shared::Done(None) };
                pays
            }
            // More than one distinct value in four rows after a few chunks: the entries cost more than the codes save.
            Shared::Yes(dictionary) => dictionary.len() < 4096 || dictionary.len() * 4 < self.rows.max(rows),
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

    pub(super) fn write_dictionary(
        &mut self,
        dictionary: &Dictionary,
        ty: &DataType,
        codes: &[u64],
        out: &mut Vec<u8>,
    ) -> Decoded<()> {
        out.put_varint(dictionary.len() as u64);
        Encoder::new(Effort::Inner).encode_nested(&dictionary.entries(ty)?, out)?;
        let mut chunk = Vec::new();
        runs::write_codes(codes, &mut chunk);
        out.put_bytes(&chunk);
        Ok(())
    }
}

/// Floats that need not be plain.
enum Dense {
    Decimals(Decimals),
    Split(u8),
}

impl Dense {
    fn write(&self, bits: &[u64], out: &mut Vec<u8>) -> Decoded<Encoding> {
        match self {
            Dense::Decimals(decimals) => {
                decimals.write(out);
                Ok(Encoding::Alp)
            }
            Dense::Split(cut) => split::write(bits, *cut, out).map(|()| Encoding::Split),
        }
    }

    /// What `rows` values take.
    fn bits(&self, rows: usize) -> usize {
        match self {
            Dense::Decimals(decimals) => decimals.bits(),
            // The high bits take two at least.
            Dense::Split(cut) => rows * (usize::from(*cut) + 2),
        }
    }
}

/// How floats are best written; `None` is plain.
fn floats(bits: &[u64], width: usize) -> Option<Dense> {
    let plain = 8 * width;
    let cut = split::cut(bits, plain as u8);
    let split = cut.map_or(plain, |cut| usize::from(cut) + 2);
    let decimals =
        Decimals::of(bits, width, split * 7 / 8).filter(|decimals| decimals.bits() < bits.len() * split * 7 / 8);
    decimals.map(Dense::Decimals).or(cut.map(Dense::Split))
}

/// The bits that codes of the chunk's values would need, judged by a sample; `None` when more than every other row would be a new entry.
pub(super) fn sample_distinct<K: Eq + std::hash::Hash>(values: impl ExactSizeIterator<Item = K>) -> Option<u8> {
    let rows = values.len();
    let entries = sample_entries(values);
    (entries * 2.0 <= rows as f64).then(|| bitpack::width_of(entries as u64))
}

/// How many different values there are, judged by a sample.
pub(super) fn sample_entries<K: Eq + std::hash::Hash>(values: impl ExactSizeIterator<Item = K>) -> f64 {
    let rows = values.len();
    let step = rows.div_ceil(SAMPLE).max(1);
    let (mut distinct, mut seen) = (HashSet::with_hasher(foldhash::fast::FixedState::default()), 0);
    for value in values.step_by(step) {
        distinct.insert(value);
        seen += 1;
    }
    if seen == rows { distinct.len() as f64 } else { population(distinct.len(), seen) }
}

/// How many equally frequent values there are when so many of `seen` draws were distinct: the D for which D·(1 − e^(−seen/D)) is
/// `distinct`, by bisection.
fn population(distinct: usize, seen: usize) -> f64 {
    let (mut low, mut high) = (distinct as f64, 1e6);
    for _ in 0..32 {
        let middle = (low + high) / 2.0;
        let expected = middle * (1.0 - (-(seen as f64) / middle).exp());
        if expected < distinct as f64 { low = middle } else { high = middle }
    }
    high
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

/// Reads any fixed-width chunk but dictionaries, runs and floats as something else.
pub(super) fn decode(
    encoding: Encoding,
    physical: Physical,
    rows: usize,
    body: Buffer,
    selection: Option<&[u32]>,
    level: u8,
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
        (_, Physical::Integer { width: 1, .. }) => integers_of::<i8>(encoding, rows, &body, selection, level),
        (_, Physical::Integer { width: 2, .. }) => integers_of::<i16>(encoding, rows, &body, selection, level),
        (_, Physical::Integer { width: 4, .. }) => integers_of::<i32>(encoding, rows, &body, selection, level),
        (_, Physical::Integer { .. }) => integers_of::<i64>(encoding, rows, &body, selection, level),
        (_, Physical::Wide) => integers_of::<i128>(encoding, rows, &body, selection, level),
        _ => damaged(format!("a {encoding} of {physical:?}")),
    }
}

fn integers_of<T: Word>(
    encoding: Encoding,
    rows: usize,
    body: &Buffer,
    selection: Option<&[u32]>,
    level: u8,
) -> Decoded<Buffer> {
    match encoding {
        Encoding::Packed => numbers::read_packed::<T>(body, rows, selection),
        Encoding::Patched => numbers::read_patched::<T>(body, rows, selection, level),
        Encoding::Delta => numbers::read_delta::<T>(body, rows, selection, level),
        Encoding::Scaled => numbers::read_scaled::<T>(body, rows, selection, level),
        other => damaged(format!("integers encoded as {other}")),
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
