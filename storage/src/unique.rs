//! Unique keys: the hash of a row's key, and the sorted arrays by which heads are searched.
//!
//! The hash of a key is made column by column, each with the hash so far as its seed (FORMAT.md, "Hash index"): equal keys have equal
//! hashes, whatever the types' widths. NULL equals NULL, −0 equals 0, and all NaN are one. Whoever finds a hash compares the
//! keys themselves.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::def::TableDef;
use crate::error::{Error, Result};
use crate::key::{Key, key_at};
use crate::sort::words;

/// A row's hash, and its number.
pub(crate) type Entry = (u64, u32);

/// Whether a column of this type can be in a unique key.
pub(crate) fn can_be_key(ty: &DataType) -> bool {
    !matches!(ty, DataType::List(_) | DataType::Struct(_) | DataType::Interval(_))
}

/// The hash of each row's key.
pub(crate) fn hash_keys(columns: &[ArrayRef]) -> Vec<u64> {
    let mut hashes = vec![0; columns.first().map_or(0, |column| column.len())];
    for column in columns {
        let (nulls, hashes) = (column.nulls(), &mut hashes);
        match column.data_type() {
            DataType::Utf8View => mix(hashes, nulls, |row| column.as_string_view().value(row)),
            DataType::BinaryView => mix(hashes, nulls, |row| column.as_binary_view().value(row)),
            DataType::FixedSizeBinary(_) => mix(hashes, nulls, |row| column.as_fixed_size_binary().value(row)),
            _ => match words(column) {
                Some(words) => mix(hashes, nulls, |row| words[row].to_le_bytes()),
                None => mix(hashes, nulls, |row| match key_at(column, row) {
                    Some(Key::Number(number)) => number.to_le_bytes(),
                    _ => [0; 16],
                }),
            },
        }
    }
    hashes
}

/// Mixes a column's values into the hashes so far.
fn mix<T: AsRef<[u8]>>(hashes: &mut [u64], nulls: Option<&NullBuffer>, value: impl Fn(usize) -> T) {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    for (row, hash) in hashes.iter_mut().enumerate() {
        *hash = match nulls.is_some_and(|nulls| nulls.is_null(row)) {
            true => xxh3_64_with_seed(&[], !*hash),
            false => xxh3_64_with_seed(value(row).as_ref(), *hash),
        };
    }
}

/// The columns of a table's unique key.
pub(crate) fn key_columns(key: &[usize], rows: &RecordBatch) -> Vec<ArrayRef> {
    key.iter().map(|&column| rows.column(column).clone()).collect()
}

/// The rows of a batch by hash; nothing when the table has no unique key.
pub(crate) fn entries(def: &TableDef, rows: &RecordBatch) -> Vec<Entry> {
    let Some(key) = &def.key else { return Vec::new() };
    let hashes = hash_keys(&key_columns(key, rows));
    let mut entries: Vec<Entry> = hashes.into_iter().zip(0..).collect();
    entries.sort_unstable();
    entries
}

/// The entries with a hash, of sorted ones from `from` on. Moves `from` there: hashes are asked for in ascending order.
pub(crate) fn with_hash<'a>(entries: &'a [Entry], hash: u64, from: &mut usize) -> &'a [Entry] {
    let mut step = 1;
    while entries.get(*from + step - 1).is_some_and(|(other, _)| *other < hash) {
        *from += step;
        step *= 2;
    }
    let within = &entries[*from..entries.len().min(*from + step)];
    *from += within.partition_point(|(other, _)| *other < hash);
    let rest = &entries[*from..];
    let count = rest.iter().take_while(|(other, _)| *other == hash).count();
    &rest[..count]
}

/// Whether two rows have the same key.
pub(crate) fn same_key(a: &[ArrayRef], row_a: usize, b: &[ArrayRef], row_b: usize) -> bool {
    a.iter().zip(b).all(|(a, b)| key_at(a, row_a) == key_at(b, row_b))
}

/// Fails when the key of a definition cannot be one.
pub(crate) fn check(def: &TableDef) -> Result<()> {
    let Some(key) = &def.key else { return Ok(()) };
    let named = |column: usize| def.schema.fields().get(column);
    match key.iter().find(|&&column| named(column).is_none_or(|field| !can_be_key(field.data_type()))) {
        Some(column) => Err(Error::invalid(format!("column {column} of table {} cannot be in a key", def.name))),
        None if key.is_empty() => Err(Error::invalid(format!("the key of table {} has no columns", def.name))),
        None if def.collapse.is_some() => {
            Err(Error::invalid(format!("table {} cannot have a unique key and fold equal keys", def.name)))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Float64Array, Int64Array, StringViewArray};

    use super::*;

    #[test]
    fn equal_keys_have_equal_hashes_and_others_do_not() {
        let of = |columns: Vec<ArrayRef>| hash_keys(&columns);
        let floats = of(vec![Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.0]))]);
        assert_eq!((floats[0], floats[2]), (floats[1], floats[3]));
        let texts = of(vec![
            Arc::new(StringViewArray::from(vec![Some("ab"), Some("a"), Some(""), None, None])),
            Arc::new(StringViewArray::from(vec![Some("c"), Some("bc"), None, Some(""), None])),
        ]);
        let numbers = of(vec![Arc::new(Int64Array::from(vec![Some(0), Some(-1), Some(1), None]))]);
        let decimals = of(vec![Arc::new(Decimal128Array::from(vec![0, -1, 1 << 100]))]);
        for hashes in [&floats[..0], &texts, &numbers, &decimals] {
            let distinct: std::collections::BTreeSet<&u64> = hashes.iter().collect();
            assert_eq!(distinct.len(), hashes.len());
        }
    }

    #[test]
    fn hashes_are_found_in_ascending_order() {
        let hashes = [1, 3, 3, 3, 9, 20, 21, 22, 23, 24, 30, 30];
        let entries: Vec<Entry> = hashes.into_iter().zip(0..).collect();
        let mut from = 0;
        for hash in 0..40 {
            let expected: Vec<Entry> = entries.iter().copied().filter(|(other, _)| *other == hash).collect();
            assert_eq!(with_hash(&entries, hash, &mut from), expected, "{hash}");
        }
        for hash in 0..40 {
            let expected = hashes.iter().filter(|other| **other == hash).count();
            assert_eq!(with_hash(&entries, hash, &mut 0).len(), expected);
        }
    }
}
