//! Group tables: keys to dense group numbers.
//!
//! One algorithm with three ways to hold a key. Columns of fixed width are *packed* into one 64- or 128-bit word; a text column
//! of a packed key is first interned by a table of its own, so that its part of the word is 30 bits, as are numerics and other bytes; a single
//! text is hashed as what it is; whatever does not fit (long keys, arrays) goes through Arrow's row encoding. Hash tables are open addressing with linear
//! probing at a load of at most a half, and hold the key (or its hash) beside the group number, so that a hit touches one line.
//!
//! Keys are normalised ([`keys::normalize`](super::keys)) and NULL equals NULL; a join leaves NULL rows out itself. Hashes are the same in
//! every run: the order of results does not change from one to the next.

mod packed;
mod rows;
mod text;
mod words;

use std::cell::OnceCell;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray};
use arrow::datatypes::{DataType, UInt32Type};
use weir_sql::Type;

use packed::Packed;
use rows::RowTable;
use text::{TextTable, bytes_of};

use super::keys::{self, Word, fold};
use crate::error::Result;

/// Not a group: what a lookup gives for a key that is not there.
pub(crate) const ABSENT: u32 = u32::MAX;

/// Keys and their numbers.
pub(crate) struct GroupTable {
    types: Vec<Type>,
    kind: Kind,
}

enum Kind {
    /// No keys: one group.
    One(bool),
    Narrow(Packed<u64>),
    Wide(Packed<u128>),
    Text(TextTable),
    Rows(RowTable),
}

impl GroupTable {
    /// An empty table for keys of these types.
    pub(crate) fn new(types: &[Type]) -> Result<GroupTable> {
        let kind = if types.is_empty() {
            Kind::One(false)
        } else if types.len() == 1 && is_view(&types[0]) {
            Kind::Text(TextTable::new(is_text(&types[0])))
        } else {
            match packed::Layout::of(types) {
                Some((layout, bits)) if bits <= 64 => Kind::Narrow(Packed::new(layout, types)),
                Some((layout, _)) => Kind::Wide(Packed::new(layout, types)),
                None => Kind::Rows(RowTable::new(types)?),
            }
        };
        Ok(GroupTable { types: types.to_vec(), kind })
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        match &self.kind {
            Kind::One(there) => usize::from(*there),
            Kind::Narrow(table) => table.len(),
            Kind::Wide(table) => table.len(),
            Kind::Text(table) => table.len(),
            Kind::Rows(table) => table.len(),
        }
    }

    /// Puts each row's group number into `groups`; new keys become new groups, numbered in the order of their first rows. Texts may come as a
    /// dictionary's codes. `groups` are those that the last call gave.
    pub(crate) fn intern(&mut self, columns: &[ArrayRef], rows: usize, groups: &mut Vec<u32>) -> Result<()> {
        groups.resize(rows, 0);
        match &mut self.kind {
            // All of them are 0 from the last call.
            Kind::One(there) => *there |= rows > 0,
            Kind::Narrow(table) => table.intern(columns, groups)?,
            Kind::Wide(table) => table.intern(columns, groups)?,
            Kind::Text(table) => table.intern(&columns[0], groups),
            Kind::Rows(table) => table.intern(&keys::decoded(columns)?, groups)?,
        }
        Ok(())
    }

    /// Makes room for so many more groups, if they are going to be that many.
    pub(crate) fn expect(&mut self, more: usize) {
        match &mut self.kind {
            Kind::Narrow(table) => table.expect(more),
            Kind::Wide(table) => table.expect(more),
            Kind::One(_) | Kind::Text(_) | Kind::Rows(_) => {}
        }
    }

    /// Makes the one group of a table without keys, which is there even over no rows.
    pub(crate) fn ensure_one(&mut self) {
        if let Kind::One(there) = &mut self.kind {
            *there = true;
        }
    }

    /// Puts each row's group number into `groups`, [`ABSENT`] where the key is not there.
    pub(crate) fn lookup(&self, columns: &[ArrayRef], rows: usize, groups: &mut Vec<u32>) -> Result<()> {
        groups.clear();
        groups.resize(rows, 0);
        match &self.kind {
            Kind::One(there) => groups.fill(if *there { 0 } else { ABSENT }),
            Kind::Narrow(table) => table.lookup(columns, groups)?,
            Kind::Wide(table) => table.lookup(columns, groups)?,
            Kind::Text(table) => table.lookup(&columns[0], groups),
            Kind::Rows(table) => table.lookup(columns, groups)?,
        }
        Ok(())
    }

    /// The (normalised) keys of all groups.
    pub(crate) fn keys(&self) -> Result<Vec<ArrayRef>> {
        self.keys_as(false)
    }

    /// The same, texts that many groups share as a dictionary's codes.
    pub(crate) fn coded_keys(&self) -> Result<Vec<ArrayRef>> {
        self.keys_as(true)
    }

    fn keys_as(&self, coded: bool) -> Result<Vec<ArrayRef>> {
        match &self.kind {
            Kind::One(_) => Ok(Vec::new()),
            Kind::Narrow(table) => table.keys(&self.types, coded),
            Kind::Wide(table) => table.keys(&self.types, coded),
            Kind::Text(table) => Ok(vec![table.texts()]),
            Kind::Rows(table) => table.keys(),
        }
    }

    /// Bytes it holds.
    pub(crate) fn memory(&self) -> usize {
        match &self.kind {
            Kind::One(_) => 0,
            Kind::Narrow(table) => table.memory(),
            Kind::Wide(table) => table.memory(),
            Kind::Text(table) => table.memory(),
            Kind::Rows(table) => table.memory(),
        }
    }
}

fn is_text(ty: &Type) -> bool {
    keys::normal_type(ty) == DataType::Utf8View
}

/// Whether keys of a type are texts or bytes, as numerics of any scale and documents are too.
fn is_view(ty: &Type) -> bool {
    is_text(ty) || keys::normal_type(ty) == DataType::BinaryView
}

/// New keys are made room for in runs of this many rows, so that a table of few groups stays small.
const RUN: usize = 1024;

/// Keys that are looked up together, so that their slots come from memory side by side.
const AHEAD: usize = 32;

fn hash_bytes(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// 32 bits of a hash.
fn fold_hash(hash: u64) -> u32 {
    (hash >> 32) as u32 ^ hash as u32
}

/// [`hash_rows`] of keys as they come.
pub(crate) fn hash_keys(types: &[Type], columns: &[ArrayRef], rows: usize) -> Result<Vec<u64>> {
    hash_rows(types, &keys::normalize_all(types, columns)?, rows)
}

/// A hash of each row's (normalised) key, the same for equal keys whatever table they come from. Texts may come as a dictionary's codes.
pub(crate) fn hash_rows(types: &[Type], columns: &[ArrayRef], rows: usize) -> Result<Vec<u64>> {
    fn add_words<W: Word>(column: &ArrayRef, hashes: &mut [u64]) -> Result<()> {
        let mut words = vec![W::default(); hashes.len()];
        keys::pack(column, 0, &mut words)?;
        hashes.iter_mut().zip(&words).for_each(|(h, w)| *h = fold(*h ^ w.hash(), keys::SEED_1));
        Ok(())
    }
    let mut hashes = vec![0_u64; rows];
    for (ty, column) in types.iter().zip(columns) {
        if let Some(bits) = keys::width(ty) {
            match bits {
                ..=64 => add_words::<u64>(column, &mut hashes)?,
                _ => add_words::<u128>(column, &mut hashes)?,
            }
        } else if is_view(ty) {
            let hash_of = |texts: &BinaryViewArray, row: usize| match texts.is_valid(row) {
                true => hash_bytes(texts.value(row)),
                false => 0,
            };
            let mut add = |own: &dyn Fn(usize) -> u64| {
                hashes.iter_mut().enumerate().for_each(|(row, hash)| *hash = fold(*hash ^ own(row), keys::SEED_1));
            };
            match column.as_dictionary_opt::<UInt32Type>() {
                None => {
                    let texts = bytes_of(column);
                    add(&|row| hash_of(&texts, row));
                }
                Some(coded) => {
                    let (texts, codes) = (bytes_of(coded.values()), coded.keys());
                    let of_entry = OnceCell::new();
                    let all = || (0..texts.len()).map(|entry| hash_of(&texts, entry)).collect::<Vec<_>>();
                    let is_worth_it = texts.len() <= rows;
                    add(&|row| match (codes.is_valid(row), codes.value(row) as usize) {
                        (false, _) => 0,
                        (true, code) if is_worth_it => of_entry.get_or_init(all)[code],
                        (true, code) => hash_of(&texts, code),
                    });
                }
            }
        } else {
            let converter = keys::row_converter(std::slice::from_ref(ty), &[Default::default()])?;
            let encoded = converter.convert_columns(std::slice::from_ref(column))?;
            for (row, hash) in hashes.iter_mut().enumerate() {
                *hash = fold(*hash ^ hash_bytes(encoded.row(row).as_ref()), keys::SEED_1);
            }
        }
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        BooleanArray, Decimal128Array, DictionaryArray, Int16Array, Int64Array, StringViewArray, UInt32Array,
    };
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::Arc;

    /// Columns of each type, all drawn from a few values and NULL.
    fn column(ty: &Type, picks: &[u8]) -> ArrayRef {
        let pick = |i: usize| (picks[i] % 5 != 4).then_some(picks[i] % 5);
        let rows = 0..picks.len();
        let text =
            |v: u8| ["", "a", "exactly 12 b", "longer than twelve bytes", "longer than twelve byteS"][v as usize];
        match ty {
            Type::Bool => Arc::new(rows.map(|i| pick(i).map(|v| v > 1)).collect::<BooleanArray>()),
            Type::Int2 => Arc::new(rows.map(|i| pick(i).map(|v| i16::from(v) - 2)).collect::<Int16Array>()),
            Type::Int8 => Arc::new(rows.map(|i| pick(i).map(|v| i64::from(v) << 60)).collect::<Int64Array>()),
            Type::Text => Arc::new(rows.map(|i| pick(i).map(text)).collect::<StringViewArray>()),
            Type::Numeric(Some(_)) => {
                let values: Decimal128Array = rows.map(|i| pick(i).map(|v| i128::from(v) - 2)).collect();
                Arc::new(values.with_precision_and_scale(38, 2).expect("it fits"))
            }
            other => panic!("no column of {other}"),
        }
    }

    /// Texts as codes of a dictionary, in which the same value may be twice.
    fn coded(column: &ArrayRef) -> ArrayRef {
        if column.data_type() != &DataType::Utf8View {
            return column.clone();
        }
        let codes = UInt32Array::new((0..column.len() as u32).collect::<Vec<_>>().into(), column.nulls().cloned());
        let texts = column.as_string_view();
        let entries = StringViewArray::from_iter_values((0..texts.len()).map(|row| texts.value(row)));
        Arc::new(DictionaryArray::new(codes, Arc::new(entries)))
    }

    fn row(columns: &[ArrayRef], row: usize) -> Vec<Option<String>> {
        let text = |c: &ArrayRef| arrow::util::display::array_value_to_string(c, row).expect("it has a text");
        columns.iter().map(|c| c.is_valid(row).then(|| text(c))).collect()
    }

    fn check(types: &[Type], batches: &[Vec<Vec<u8>>]) {
        let mut table = GroupTable::new(types).expect("a table");
        let mut model: HashMap<Vec<Option<String>>, u32> = HashMap::new();
        let mut groups = Vec::new();
        for picks in batches {
            let columns: Vec<ArrayRef> = types.iter().zip(picks).map(|(ty, p)| column(ty, p)).collect();
            let rows = picks[0].len();
            let given: Vec<ArrayRef> =
                if picks[0][0] % 2 == 0 { columns.iter().map(coded).collect() } else { columns.clone() };
            let hashes = hash_keys(types, &columns, rows).expect("hashes");
            assert_eq!(hash_keys(types, &given, rows).expect("hashes"), hashes, "{types:?}");
            table.lookup(&columns, rows, &mut groups).expect("it looks up");
            for (i, &group) in groups.iter().enumerate() {
                assert_eq!(group, model.get(&row(&columns, i)).copied().unwrap_or(ABSENT), "{types:?}");
            }
            table.intern(&given, rows, &mut groups).expect("it interns");
            for (i, &group) in groups.iter().enumerate() {
                let next = model.len() as u32;
                assert_eq!(group, *model.entry(row(&columns, i)).or_insert(next), "{types:?}");
            }
            assert_eq!(table.len(), model.len());
        }
        for keys in [table.keys(), table.coded_keys().and_then(|keys| keys::decoded(&keys))] {
            let keys = keys.expect("keys");
            for (key, group) in &model {
                assert_eq!(&row(&keys, *group as usize), key, "{types:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_form_of_table_agrees_with_a_map(
            batches in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 20), 4), 1..4),
        ) {
            let decimal = Type::Numeric(Some((38, 2)));
            for types in [
                vec![Type::Bool],
                vec![Type::Int8],
                vec![Type::Text],
                vec![decimal.clone()],
                vec![Type::Int2, Type::Bool],
                vec![Type::Text, Type::Int2],
                vec![Type::Int8, Type::Text],
                vec![Type::Text, Type::Text, Type::Bool],
                vec![decimal, Type::Bool],
                vec![Type::Int8, Type::Text, Type::Int8, Type::Text],
            ] {
                check(&types, &batches);
            }
        }
    }

    #[test]
    fn tables_grow() {
        let ids = Int64Array::from_iter_values((0..20_000).map(|i| i % 7_000));
        let texts: StringViewArray = ids.values().iter().map(|i| Some(format!("the text of {i}"))).collect();
        let mut groups = Vec::new();
        for (types, column) in
            [(vec![Type::Int8], Arc::new(ids.clone()) as ArrayRef), (vec![Type::Text], Arc::new(texts))]
        {
            let mut table = GroupTable::new(&types).expect("a table");
            table.intern(&[column], 20_000, &mut groups).expect("it interns");
            assert_eq!(table.len(), 7_000);
            assert!(groups.iter().zip(ids.values()).all(|(&group, &id)| i64::from(group) == id));
        }
    }
}
