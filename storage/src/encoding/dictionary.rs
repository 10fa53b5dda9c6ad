//! Dictionaries: distinct values in the order they were first seen, and codes into them.
//!
//! A [`Dictionary`] grows over all chunks of a column, so that one dictionary serves a whole part and its codes can be
//! compared across granules; the same builder, used for one chunk, makes that chunk's own dictionary. Growth is bounded:
//! once it would be too large, [`Dictionary::codes`] refuses and the caller encodes the chunk another way.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryViewArray, GenericByteViewArray, StringViewArray, make_view};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ByteViewType, DataType};
use hashbrown::HashTable;
use multiversion::multiversion;

use super::numbers::Word;
use super::{Physical, decode_at, decode_u32, fixed_array, fixed_bytes, nested};
use crate::bytes::Reader;
use crate::error::{Decoded, damaged};
use crate::recent::{INLINE_MAX, Recent};

/// A dictionary has at most this many entries…
const ENTRIES_MAX: usize = 1 << 16;
/// …and this many bytes of text.
const BYTES_MAX: usize = 4 << 20;

/// What was found of a chunk's own dictionary holds for so many chunks.
const TRIAL_CHUNKS: u32 = 16;

/// Whether a column's chunks are worth dictionaries of their own, asked anew from time to time.
#[derive(Default)]
pub(super) struct Trials {
    pays: bool,
    until: u32,
}

impl Trials {
    /// Whether the next chunk should try.
    pub(super) fn pays(&mut self, ask: impl FnOnce() -> bool) -> bool {
        if self.until == 0 {
            (self.pays, self.until) = (ask(), TRIAL_CHUNKS);
        }
        self.until -= 1;
        self.pays
    }

    /// Says that a chunk tried in vain.
    pub(super) fn failed(&mut self) {
        self.pays = false;
    }
}

/// Distinct values and their codes.
pub(super) enum Dictionary {
    /// Fixed-width values, as the low bytes of 16.
    Fixed(Entries<u128>),
    /// Text and bytes.
    Bytes(Texts),
}

/// Distinct texts or bytes.
#[derive(Default)]
pub(super) struct Texts {
    table: HashTable<u32>,
    ends: Vec<u32>,
    bytes: Vec<u8>,
    hasher: foldhash::fast::FixedState,
}

impl Texts {
    fn value(&self, code: u32) -> &[u8] {
        &self.bytes[Texts::range(&self.ends, code)]
    }

    fn range(ends: &[u32], code: u32) -> std::ops::Range<usize> {
        let from = if code == 0 { 0 } else { ends[code as usize - 1] as usize };
        from..ends[code as usize] as usize
    }

    fn code(&mut self, value: &[u8]) -> Option<u32> {
        let Texts { table, ends, bytes, hasher } = self;
        let hash = hasher.hash_one(value);
        if let Some(&code) = table.find(hash, |&code| &bytes[Texts::range(ends, code)] == value) {
            return Some(code);
        }
        if ends.len() >= ENTRIES_MAX || bytes.len() + value.len() > BYTES_MAX {
            return None;
        }
        let code = ends.len() as u32;
        bytes.extend_from_slice(value);
        ends.push(bytes.len() as u32);
        table.insert_unique(hash, code, |&code| hasher.hash_one(&bytes[Texts::range(ends, code)]));
        Some(code)
    }
}

/// Distinct fixed-width values.
pub(super) struct Entries<K> {
    table: HashTable<u32>,
    values: Vec<K>,
    hasher: foldhash::fast::FixedState,
}

impl<K: Copy + Eq + Hash> Entries<K> {
    fn code(&mut self, value: K) -> Option<u32> {
        let hash = self.hasher.hash_one(value);
        if let Some(&code) = self.table.find(hash, |&code| self.values[code as usize] == value) {
            return Some(code);
        }
        if self.values.len() >= ENTRIES_MAX {
            return None;
        }
        let code = self.values.len() as u32;
        self.values.push(value);
        self.table.insert_unique(hash, code, |&code| self.hasher.hash_one(self.values[code as usize]));
        Some(code)
    }
}

impl Dictionary {
    pub(super) fn fixed() -> Dictionary {
        Dictionary::Fixed(Entries { table: HashTable::new(), values: Vec::new(), hasher: Default::default() })
    }

    pub(super) fn bytes() -> Dictionary {
        Dictionary::Bytes(Texts::default())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Dictionary::Fixed(entries) => entries.values.len(),
            Dictionary::Bytes(texts) => texts.ends.len(),
        }
    }

    /// The codes of fixed-width values, NULL or not; `None` when the dictionary would grow too large. Values added until
    /// then stay.
    pub(super) fn codes_fixed<K: Copy + Eq>(&mut self, values: &[K], key: impl Fn(K) -> u128) -> Option<Vec<u64>> {
        let Dictionary::Fixed(entries) = self else { return None };
        let mut last = None;
        let mut codes = Vec::with_capacity(values.len());
        for &value in values {
            let code = match last {
                Some((same, code)) if same == value => code,
                _ => u64::from(entries.code(key(value))?),
            };
            last = Some((value, code));
            codes.push(code);
        }
        Some(codes)
    }

    /// The same for text and bytes. A NULL has the code of the row before it.
    pub(super) fn codes_bytes<T: ByteViewType>(
        &mut self,
        array: &GenericByteViewArray<T>,
        nulls: Option<&NullBuffer>,
    ) -> Option<Vec<u64>> {
        let Dictionary::Bytes(texts) = self else { return None };
        let mut recent = Recent::default();
        let mut codes = Vec::with_capacity(array.len());
        let (mut code, mut last_view) = (0, None);
        for (row, &view) in array.views().iter().enumerate() {
            if nulls.is_none_or(|nulls| nulls.is_valid(row)) && last_view != Some(view) {
                code = recent.number(view, || texts.code(array.value(row).as_ref()))?;
                last_view = Some(view);
            }
            codes.push(u64::from(code));
        }
        Some(codes)
    }

    /// The same for values that are in no array.
    pub(super) fn codes_values(&mut self, values: &[&[u8]]) -> Option<Vec<u64>> {
        let Dictionary::Bytes(texts) = self else { return None };
        let (mut recent, mut long) = (Recent::default(), Recent::default());
        let code = |value: &&[u8]| {
            let Some((first, last)) = value.first_chunk().zip(value.last_chunk()).filter(|_| value.len() > INLINE_MAX)
            else {
                return recent.number(make_view(value, 0, 0), || texts.code(value));
            };
            // Of long ones the ends say which it may be; without a bit, since no word is all ones.
            let ends = u128::from(u64::from_le_bytes(*first)) << 64 | u128::from(u64::from_le_bytes(*last));
            let code = long.number(ends >> 1, || texts.code(value))?;
            if texts.value(code) == *value { Some(code) } else { texts.code(value) }
        };
        values.iter().map(code).map(|code| code.map(u64::from)).collect()
    }

    /// The entries as an array of the column's type.
    pub(super) fn entries(&self, ty: &DataType) -> Decoded<ArrayRef> {
        match self {
            Dictionary::Fixed(entries) => {
                let width = Physical::of(ty)?.width();
                let bytes: Vec<u8> =
                    entries.values.iter().flat_map(|value| value.to_le_bytes()[..width].to_vec()).collect();
                fixed_array(ty, entries.values.len(), bytes.into(), None)
            }
            Dictionary::Bytes(Texts { ends, bytes, .. }) => {
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let values = starts.zip(ends).map(|(from, &to)| &bytes[from as usize..to as usize]);
                Ok(match ty {
                    DataType::Utf8View => {
                        let values: Result<Vec<&str>, _> = values.map(std::str::from_utf8).collect();
                        match values {
                            Ok(values) => Arc::new(StringViewArray::from_iter_values(values)),
                            Err(_) => return damaged("text is not UTF-8"),
                        }
                    }
                    _ => Arc::new(BinaryViewArray::from_iter_values(values)),
                })
            }
        }
    }
}

/// Reads the body of a chunk that has its own dictionary: its entries, and the codes.
pub(super) fn read(
    ty: &DataType,
    rows: usize,
    body: &Buffer,
    selection: Option<&[u32]>,
    level: u8,
) -> Decoded<(ArrayRef, ScalarBuffer<u32>)> {
    let mut reader = Reader::new(body);
    let entries = reader.varint()?;
    if entries > rows as u64 {
        return damaged(format!("a dictionary of {entries} for {rows} rows"));
    }
    let dictionary = decode_at(ty, entries as usize, &nested(&mut reader, body)?, None, None, level + 1)?;
    let codes = decode_u32(&nested(&mut reader, body)?, rows, selection, level + 1)?;
    Ok((dictionary, codes))
}

/// Fails unless every code stands for a value.
pub(super) fn check(dictionary: &ArrayRef, codes: &[u32]) -> Decoded<()> {
    if !codes.is_empty() && any_beyond(codes, (dictionary.len() as u32).wrapping_sub(1)) {
        return damaged(format!("a code that is not in a dictionary of {}", dictionary.len()));
    }
    if dictionary.null_count() > 0 {
        return damaged("a NULL in a dictionary");
    }
    Ok(())
}

/// Whether a code is greater than the last. The highest bit is set where it is, or the code has it: three operations of SIMD, where the machine
/// need not have a greatest of unsigned numbers.
#[multiversion(targets("x86_64+avx2"))]
fn any_beyond(codes: &[u32], last: u32) -> bool {
    codes.iter().fold(0, |beyond, &code| beyond | code | last.wrapping_sub(code)) >> 31 > 0
}

/// The values that codes stand for: for text, views onto the dictionary's own buffers.
pub(super) fn lookup(dictionary: &ArrayRef, codes: &[u32], nulls: Option<NullBuffer>) -> Decoded<ArrayRef> {
    check(dictionary, codes)?;
    fn views<T: ByteViewType>(from: &GenericByteViewArray<T>, codes: &[u32], nulls: Option<NullBuffer>) -> ArrayRef {
        let entries = from.views();
        let views: ScalarBuffer<u128> = codes.iter().map(|&code| entries[code as usize]).collect::<Vec<_>>().into();
        // SAFETY: every view is one of the dictionary's own, over the same buffers.
        Arc::new(unsafe { GenericByteViewArray::<T>::new_unchecked(views, from.data_buffers().clone(), nulls) })
    }
    fn words<T: Word>(values: &[u8], codes: &[u32]) -> Buffer {
        codes.iter().map(|&code| T::read(&values[code as usize * T::SIZE..][..T::SIZE])).collect::<Vec<T>>().into()
    }
    if let Some(strings) = dictionary.as_any().downcast_ref::<StringViewArray>() {
        return Ok(views(strings, codes, nulls));
    }
    if let Some(bytes) = dictionary.as_any().downcast_ref::<BinaryViewArray>() {
        return Ok(views(bytes, codes, nulls));
    }
    let data = dictionary.to_data();
    let (ty, values) = (dictionary.data_type(), fixed_bytes(&data, Physical::of(dictionary.data_type())?.width()));
    let values = match Physical::of(ty)?.width() {
        1 => words::<i8>(values, codes),
        2 => words::<i16>(values, codes),
        4 => words::<i32>(values, codes),
        8 => words::<i64>(values, codes),
        16 => words::<i128>(values, codes),
        width => return damaged(format!("a dictionary of {width}-byte values")),
    };
    fixed_array(ty, codes.len(), values, nulls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_any_length_have_their_own_codes() {
        // Short, long, and long with the same ends; the last are all ones.
        let long = |middle: u32| format!("a beginning {middle:08} and an end").into_bytes();
        let mut values: Vec<Vec<u8>> = (0..3000).map(long).collect();
        values.extend((0..3000u32).map(|number| number.to_string().into_bytes()));
        values.extend([vec![], vec![0], vec![0; 2], vec![255; 12], vec![255; 16], vec![255; 17]]);
        let twice: Vec<&[u8]> = values.iter().chain(&values).map(Vec::as_slice).collect();
        let mut dictionary = Dictionary::bytes();
        let codes = dictionary.codes_values(&twice).expect("few values");
        let expected: Vec<u64> = (0..values.len() as u64).chain(0..values.len() as u64).collect();
        assert_eq!(codes, expected);
        let array = BinaryViewArray::from_iter_values(&twice);
        assert_eq!(Dictionary::bytes().codes_bytes(&array, None), Some(expected));
        assert_eq!(Dictionary::bytes().codes_values(&[&[255; 16]]), Some(vec![0]));
    }
}
