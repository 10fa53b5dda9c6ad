//! Sets of constants, for IN.
//!
//! Values of one machine word are words: few are compared one by one, many are hashed. Text is hashed as bytes, everything else as
//! normalised row bytes.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::row::RowConverter;
use hashbrown::HashSet;
use weir_sql::{Type, Value};
use weir_storage::bits;

use crate::error::Result;
use crate::exec::keys;

/// Up to this many words are compared one by one, which the compiler vectorises.
const FEW: usize = 8;

/// Distinct values of one type, and whether NULL is among them.
pub(crate) struct ValueSet {
    ty: Type,
    values: Values,
    has_null: bool,
}

enum Values {
    Few(Vec<u64>),
    Words(HashSet<u64, foldhash::fast::RandomState>),
    Texts(HashSet<Box<str>, foldhash::fast::RandomState>),
    Rows(RowConverter, HashSet<Box<[u8]>, foldhash::fast::RandomState>),
}

impl ValueSet {
    /// The set of these, all of type `ty`.
    pub(crate) fn new(ty: &Type, constants: &[Value]) -> Result<ValueSet> {
        let arrays: Vec<_> = constants.iter().map(|v| v.array.as_ref()).collect();
        let column = match arrays.is_empty() {
            true => arrow::array::new_empty_array(&ty.to_arrow()),
            false => arrow::compute::concat(&arrays)?,
        };
        ValueSet::of_column(ty, &column)
    }

    /// The set of a column's values.
    pub(crate) fn of_column(ty: &Type, column: &ArrayRef) -> Result<ValueSet> {
        let column = keys::normalize(ty, column)?;
        let valid = || (0..column.len()).filter(|&i| column.is_valid(i));
        let values = if keys::width(ty).is_some_and(|bits| bits <= 64) {
            let mut words = vec![0; column.len()];
            keys::pack::<u64>(&column, 0, &mut words)?;
            let set: HashSet<u64, _> = valid().map(|i| words[i]).collect();
            if set.len() <= FEW { Values::Few(set.into_iter().collect()) } else { Values::Words(set) }
        } else if matches!(column.data_type(), arrow::datatypes::DataType::Utf8View) {
            let texts = column.as_string_view();
            Values::Texts(valid().map(|i| texts.value(i).into()).collect())
        } else {
            let converter = keys::row_converter(std::slice::from_ref(ty), &[Default::default()])?;
            let rows = converter.convert_columns(std::slice::from_ref(&column))?;
            let set = valid().map(|i| rows.row(i).as_ref().into()).collect();
            Values::Rows(converter, set)
        };
        Ok(ValueSet { ty: ty.clone(), values, has_null: column.null_count() > 0 })
    }

    /// Bytes it takes.
    pub(crate) fn memory(&self) -> usize {
        const ROOM: usize = 8;
        match &self.values {
            Values::Few(few) => few.len() * 8,
            Values::Words(set) => set.capacity() * (8 + 1),
            Values::Texts(set) => set.capacity() * (16 + 1) + set.iter().map(|text| text.len() + ROOM).sum::<usize>(),
            Values::Rows(_, set) => set.capacity() * (16 + 1) + set.iter().map(|row| row.len() + ROOM).sum::<usize>(),
        }
    }

    /// Whether there is nothing in it, not even NULL.
    pub(crate) fn is_empty(&self) -> bool {
        let none = match &self.values {
            Values::Few(v) => v.is_empty(),
            Values::Words(v) => v.is_empty(),
            Values::Texts(v) => v.is_empty(),
            Values::Rows(_, v) => v.is_empty(),
        };
        none && !self.has_null
    }

    /// `x IN set` for each row: NULL where x is, and where it is not found but NULL is in the set.
    pub(crate) fn contains(&self, column: &ArrayRef) -> Result<BooleanArray> {
        let rows = column.len();
        if self.is_empty() {
            return Ok(BooleanArray::from(vec![false; rows]));
        }
        let column = keys::normalize(&self.ty, column)?;
        let found = match &self.values {
            Values::Few(few) => {
                let mut words = vec![0; rows];
                keys::pack::<u64>(&column, 0, &mut words)?;
                bits::of(&words, |word| few.iter().fold(false, |hit, v| hit | (*v == word)))
            }
            Values::Words(set) => {
                let mut words = vec![0; rows];
                keys::pack::<u64>(&column, 0, &mut words)?;
                bits::of(&words, |word| set.contains(&word))
            }
            Values::Texts(set) => {
                let texts = column.as_string_view();
                BooleanBuffer::collect_bool(rows, |i| texts.is_valid(i) && set.contains(texts.value(i)))
            }
            Values::Rows(converter, set) => {
                let encoded = converter.convert_columns(std::slice::from_ref(&column))?;
                BooleanBuffer::collect_bool(rows, |i| set.contains(encoded.row(i).as_ref()))
            }
        };
        let known = if self.has_null { Some(NullBuffer::new(found.clone())) } else { None };
        Ok(BooleanArray::new(found, NullBuffer::union(column.logical_nulls().as_ref(), known.as_ref())))
    }
}
