//! Sorting rows by a table's key.
//!
//! Each key column becomes order-preserving codes of as few bits as its values need (distance from the least; the rank for text
//! of few distinct values; NULL after all), and the codes of a row are packed, first column highest, into 96 bits with the
//! row number below them. Sorting is then sorting integers, and rows that are sorted already are noticed. Where the codes do not
//! hold the whole key (long text of many distinct values), runs of equal codes are sorted again by Arrow's row format.
//!
//! Equal keys stay in the order they came in.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

use crate::key::{Key, float_order, is_comparable, key_at};
use crate::recent::Recent;

/// Bits of codes in a packed key.
const CODE_BITS: u32 = 96;
/// Fewer rows than this are sorted by comparing.
const DIGITS_ROWS_MIN: usize = 4096;
/// Text with more distinct values than this has no ranks.
const RANKS_MAX: usize = 1 << 16;

/// One key column as codes.
struct Codes {
    codes: Vec<u64>,
    bits: u32,
    /// Equal codes mean equal values.
    exact: bool,
}

/// The order in which rows are sorted by `keys`; `None` when they are already.
pub(crate) fn sort_order(keys: &[ArrayRef]) -> Result<Option<Vec<u32>>, ArrowError> {
    let Some(rows) = keys.first().map(|key| key.len()) else { return Ok(None) };
    let mut packed = vec![0u128; rows];
    let (mut left, mut exact) = (CODE_BITS, true);
    for key in keys {
        let Codes { codes, bits, exact: whole } = codes(key);
        let (bits, shift) = if bits <= left { (bits, 0) } else { (left, bits - left) };
        exact = whole && shift == 0;
        left -= bits;
        if bits > 0 {
            for (packed, code) in packed.iter_mut().zip(codes) {
                *packed = *packed << bits | u128::from(code >> shift);
            }
        }
        if !exact {
            break;
        }
    }
    if exact && packed.is_sorted() {
        return Ok(None);
    }
    for (row, packed) in packed.iter_mut().enumerate() {
        *packed = *packed << 32 | row as u128;
    }
    sort_packed(&mut packed, CODE_BITS - left);
    let mut order: Vec<u32> = packed.iter().map(|&packed| packed as u32).collect();
    if !exact {
        let rows = key_rows(keys)?;
        let mut from = 0;
        for run in packed.chunk_by(|a, b| a >> 32 == b >> 32) {
            order[from..from + run.len()].sort_by(|&a, &b| rows.row(a as usize).cmp(&rows.row(b as usize)));
            from += run.len();
        }
    }
    Ok((!order.is_sorted()).then_some(order))
}

/// Sorts keys of so many bits, each with its row below; the rows are in order already. Many are sorted by their digits, a pass a byte.
fn sort_packed(packed: &mut [u128], bits: u32) {
    match bits {
        0..=64 if packed.len() >= DIGITS_ROWS_MIN => radsort::sort_by_key(packed, |packed| (packed >> 32) as u64),
        _ => packed.sort_unstable(),
    }
}

/// The keys in Arrow's row format, which compares bytewise in the order of parts.
pub(crate) fn key_rows(keys: &[ArrayRef]) -> Result<Rows, ArrowError> {
    KeyRows::new(keys.iter().map(|key| key.data_type().clone()))?.rows(keys)
}

/// Makes keys comparable across batches.
pub(crate) struct KeyRows(RowConverter);

impl KeyRows {
    /// For key columns of these types.
    pub(crate) fn new(types: impl Iterator<Item = DataType>) -> Result<KeyRows, ArrowError> {
        let options = SortOptions { descending: false, nulls_first: false };
        let fields = types.map(|ty| SortField::new_with_options(ty, options)).collect();
        Ok(KeyRows(RowConverter::new(fields)?))
    }

    /// The keys in Arrow's row format.
    pub(crate) fn rows(&self, keys: &[ArrayRef]) -> Result<Rows, ArrowError> {
        self.0.convert_columns(&keys.iter().map(one_zero).collect::<Vec<_>>())
    }
}

/// Floats with one zero and one NaN, as the order of parts has them.
fn one_zero(key: &ArrayRef) -> ArrayRef {
    fn map<T: ArrowPrimitiveType>(key: &ArrayRef, one: impl Fn(T::Native) -> T::Native) -> ArrayRef {
        let mapped: PrimitiveArray<T> = key.as_primitive::<T>().unary(one);
        Arc::new(mapped)
    }
    match key.data_type() {
        DataType::Float32 => map::<Float32Type>(key, |value| if value.is_nan() { f32::NAN } else { value + 0.0 }),
        DataType::Float64 => map::<Float64Type>(key, |value| if value.is_nan() { f64::NAN } else { value + 0.0 }),
        _ => key.clone(),
    }
}

fn codes(key: &ArrayRef) -> Codes {
    let comparable = is_comparable(&arrow::datatypes::Field::new("", key.data_type().clone(), true));
    let keys = || (0..key.len()).map(|row| key_at(key, row));
    match key.data_type() {
        _ if !comparable => Codes { codes: Vec::new(), bits: 0, exact: false },
        DataType::Utf8View | DataType::BinaryView | DataType::FixedSizeBinary(_) => match ranks(key) {
            Some(codes) => codes,
            None => prefixes(keys()),
        },
        _ => match words(key) {
            Some(words) => word_distances(words, key.nulls()),
            None => distances(keys().map(|key| match key {
                Some(Key::Number(number)) => Some(number),
                _ => None,
            })),
        },
    }
}

/// Numbers of up to 64 bits as unsigned words of the same order; the fast way for most keys.
pub(crate) fn words(key: &ArrayRef) -> Option<Vec<u64>> {
    const SIGN: u64 = 1 << 63;
    macro_rules! words {
        ($ty:ty, $word:expr) => {
            key.as_primitive::<$ty>().values().iter().map($word).collect()
        };
    }
    Some(match key.data_type() {
        DataType::Int8 => words!(Int8Type, |&value| i64::from(value) as u64 ^ SIGN),
        DataType::Int16 => words!(Int16Type, |&value| i64::from(value) as u64 ^ SIGN),
        DataType::Int32 => words!(Int32Type, |&value| i64::from(value) as u64 ^ SIGN),
        DataType::Date32 => words!(Date32Type, |&value| i64::from(value) as u64 ^ SIGN),
        DataType::Int64 => words!(Int64Type, |&value| value as u64 ^ SIGN),
        DataType::Timestamp(..) => words!(TimestampMicrosecondType, |&value| value as u64 ^ SIGN),
        DataType::Time64(_) => words!(Time64MicrosecondType, |&value| value as u64 ^ SIGN),
        DataType::UInt8 => words!(UInt8Type, |&value| u64::from(value)),
        DataType::UInt16 => words!(UInt16Type, |&value| u64::from(value)),
        DataType::UInt32 => words!(UInt32Type, |&value| u64::from(value)),
        DataType::UInt64 => words!(UInt64Type, |&value| value),
        DataType::Float32 => words!(Float32Type, |&value| float_order(value.into())),
        DataType::Float64 => words!(Float64Type, |&value| float_order(value)),
        _ => return None,
    })
}

/// The same as [`distances`], of words. Where a row is NULL its word says nothing.
fn word_distances(mut words: Vec<u64>, nulls: Option<&NullBuffer>) -> Codes {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    let widen = |(min, max): (u64, u64), word: u64| (min.min(word), max.max(word));
    let (min, max) = match nulls {
        None => words.iter().copied().fold((u64::MAX, 0), widen),
        Some(nulls) => nulls.valid_indices().map(|row| words[row]).fold((u64::MAX, 0), widen),
    };
    let range = max.saturating_sub(min);
    let bits = 64 - range.leading_zeros();
    let shift = bits.saturating_sub(63);
    let bits = bits.min(63);
    words.iter_mut().for_each(|word| *word = word.wrapping_sub(min) >> shift);
    let bits = match nulls {
        None => bits,
        Some(nulls) => {
            let null = 1 << bits;
            (0..words.len()).filter(|&row| nulls.is_null(row)).for_each(|row| words[row] = null);
            bits + 1
        }
    };
    Codes { codes: words, bits, exact: shift == 0 }
}

/// Numbers as distances from the least; NULL is the greatest. When they need over 63 bits, the low ones are left out.
fn distances(numbers: impl Iterator<Item = Option<i128>>) -> Codes {
    let numbers: Vec<Option<i128>> = numbers.collect();
    let (mut min, mut max) = (i128::MAX, i128::MIN);
    for number in numbers.iter().flatten() {
        min = min.min(*number);
        max = max.max(*number);
    }
    let range = if min > max { 0 } else { max.wrapping_sub(min) as u128 };
    let bits = 128 - range.leading_zeros();
    let shift = bits.saturating_sub(63);
    let bits = bits.min(63) + 1;
    let null = 1u64 << (bits - 1);
    let code = |number: Option<i128>| match number {
        Some(number) => (number.wrapping_sub(min) as u128 >> shift) as u64,
        None => null,
    };
    let has_nulls = numbers.iter().any(Option::is_none);
    let codes = numbers.into_iter().map(code).collect();
    Codes { codes, bits: if has_nulls { bits } else { bits - 1 }, exact: shift == 0 }
}

/// Each value's rank among the distinct ones, NULL last.
fn ranks(keys: &ArrayRef) -> Option<Codes> {
    let views: Option<&[u128]> = match keys.data_type() {
        DataType::Utf8View => Some(keys.as_string_view().views()),
        DataType::BinaryView => Some(keys.as_binary_view().views()),
        _ => None,
    };
    let mut first_seen: HashMap<Option<Key<'_>>, u32, foldhash::fast::FixedState> = HashMap::default();
    let mut recent = Recent::default();
    let mut codes = Vec::with_capacity(keys.len());
    for row in 0..keys.len() {
        let mut find = || {
            let next = first_seen.len() as u32;
            let code = *first_seen.entry(key_at(keys, row)).or_insert(next);
            (first_seen.len() <= RANKS_MAX).then_some(code)
        };
        codes.push(match views {
            Some(views) if keys.is_valid(row) => u64::from(recent.number(views[row], find)?),
            _ => u64::from(find()?),
        });
    }
    let mut distinct: Vec<(Option<Key<'_>>, u32)> = first_seen.into_iter().collect();
    distinct.sort_unstable_by_key(|&(key, _)| (key.is_none(), key));
    let mut rank_of = vec![0; distinct.len()];
    let bits = usize::BITS - distinct.len().saturating_sub(1).leading_zeros();
    for (rank, (_, code)) in distinct.iter().enumerate() {
        rank_of[*code as usize] = rank as u64;
    }
    codes.iter_mut().for_each(|code| *code = rank_of[*code as usize]);
    Some(Codes { codes, bits, exact: true })
}

/// The first bytes; NULL is the greatest.
fn prefixes<'a>(keys: impl Iterator<Item = Option<Key<'a>>>) -> Codes {
    let code = |key: Option<Key<'a>>| match key {
        Some(Key::Bytes(bytes)) => {
            let mut prefix = [0; 8];
            let length = bytes.len().min(8);
            prefix[..length].copy_from_slice(&bytes[..length]);
            u64::from_be_bytes(prefix) >> 1
        }
        _ => u64::MAX,
    };
    Codes { codes: keys.map(code).collect(), bits: 64, exact: false }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Float64Array, Int64Array, StringViewArray};
    use arrow::compute::{SortColumn, lexsort_to_indices};
    use proptest::prelude::*;

    use super::*;

    /// Sorting agrees with Arrow's own lexicographic sort, made stable by the row number.
    fn check(keys: Vec<ArrayRef>) {
        let rows = keys[0].len();
        let options = Some(SortOptions { descending: false, nulls_first: false });
        let mut columns: Vec<SortColumn> =
            keys.iter().map(|values| SortColumn { values: one_zero(values), options }).collect();
        columns.push(SortColumn { values: Arc::new(Int64Array::from_iter_values(0..rows as i64)), options });
        let expected = lexsort_to_indices(&columns, None).unwrap().values().to_vec();
        let order = sort_order(&keys).unwrap().unwrap_or_else(|| (0..rows as u32).collect());
        assert_eq!(order, expected);
    }

    proptest! {
        #[test]
        fn sorts_like_arrow(
            rows in prop::collection::vec((
                prop::option::of(prop_oneof![Just("a".to_string()), "[ab]{0,12}", "\\PC{0,20}"]),
                prop::option::of(prop_oneof![Just(0.0), Just(-0.0), Just(f64::NAN), any::<f64>()]),
                prop::option::of(prop_oneof![-3i64..3, any::<i64>()]),
                prop_oneof![-3i128..3, -10i128.pow(37)..10i128.pow(37)],
            ), 1..200),
            order in Just(vec![0usize, 1, 2, 3]).prop_shuffle(),
            count in 1usize..5,
        ) {
            let columns: Vec<ArrayRef> = vec![
                Arc::new(StringViewArray::from_iter(rows.iter().map(|row| row.0.as_deref()))),
                Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.1))),
                Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.2))),
                Arc::new(Decimal128Array::from_iter_values(rows.iter().map(|row| row.3))),
            ];
            check(order[..count].iter().map(|&column| columns[column].clone()).collect());
        }
    }

    #[test]
    fn text_of_many_distinct_values_is_sorted_whole() {
        let values = (0..100_000u64).map(|i| format!("a common beginning {:06}", i.wrapping_mul(0x9e37_79b9) % 70_000));
        check(vec![Arc::new(StringViewArray::from_iter_values(values))]);
    }

    #[test]
    fn sorted_rows_are_noticed() {
        let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![Some(1), Some(1), Some(5), None]))];
        assert_eq!(sort_order(&keys).unwrap(), None);
        assert_eq!(sort_order(&[]).unwrap(), None);
    }
}
