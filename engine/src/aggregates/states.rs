//! What accumulators share: walking the rows that count, vectors of optional values, lists of values by group.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, ListArray, PrimitiveArray, UInt32Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, FieldRef};

use crate::error::{Error, ErrorKind, Result};

/// Calls `f` with each row that counts and its group: not NULL in `nulls`, and true in `filter`.
#[inline]
pub(super) fn each_row(
    groups: &[u32],
    nulls: Option<&NullBuffer>,
    filter: Option<&BooleanArray>,
    mut f: impl FnMut(usize, usize),
) {
    match rows_that_count(nulls, filter) {
        None => groups.iter().enumerate().for_each(|(row, &group)| f(row, group as usize)),
        Some(mask) => mask.set_indices().for_each(|row| f(row, groups[row] as usize)),
    }
}

/// Rows that are looked at together: what is of one group is added up before it is added to it. Rows come in the order of the sort key, so
/// that neighbours are often of one.
pub(super) const TOGETHER: usize = 64;

/// The group of rows that are all of one.
#[inline]
pub(super) fn one_group(groups: &[u32]) -> Option<usize> {
    let (first, last) = (*groups.first()?, *groups.last()?);
    let is_one = first == last && groups.iter().fold(0, |differ, &group| differ | (group ^ first)) == 0;
    is_one.then_some(first as usize)
}

/// Which rows count; `None` for all.
pub(super) fn rows_that_count(nulls: Option<&NullBuffer>, filter: Option<&BooleanArray>) -> Option<BooleanBuffer> {
    let filter = filter.map(|filter| match filter.nulls() {
        Some(valid) if filter.null_count() > 0 => filter.values() & valid.inner(),
        _ => filter.values().clone(),
    });
    match (nulls.filter(|n| n.null_count() > 0), filter) {
        (None, None) => None,
        (Some(nulls), None) => Some(nulls.inner().clone()),
        (None, Some(filter)) => Some(filter),
        (Some(nulls), Some(filter)) => Some(nulls.inner() & &filter),
    }
}

/// A value or none for each group.
#[derive(Debug)]
pub(super) struct Optional<N> {
    pub(super) values: Vec<N>,
    pub(super) there: Vec<bool>,
}

impl<N> Default for Optional<N> {
    fn default() -> Self {
        Optional { values: Vec::new(), there: Vec::new() }
    }
}

impl<N: Copy> Optional<N> {
    /// Makes room for groups.
    pub(super) fn resize(&mut self, n_groups: usize, value: N) {
        if self.values.len() < n_groups {
            self.values.resize(n_groups, value);
            self.there.resize(n_groups, false);
        }
    }

    /// NULL where there is none.
    pub(super) fn nulls(&self) -> Option<NullBuffer> {
        Some(NullBuffer::from(self.there.as_slice())).filter(|n| n.null_count() > 0)
    }

    /// As a column, and forgets the values.
    pub(super) fn take<T: ArrowPrimitiveType<Native = N>>(&mut self, ty: &DataType) -> ArrayRef
    where
        N: arrow::datatypes::ArrowNativeType,
    {
        let nulls = self.nulls();
        self.there.clear();
        let values = std::mem::take(&mut self.values);
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(ty.clone()))
    }

    pub(super) fn memory(&self) -> usize {
        self.values.capacity() * size_of::<N>() + self.there.capacity()
    }
}

/// Rows collected by group: columns in pieces, and each row's group.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pieces: Vec<Vec<ArrayRef>>,
    groups: Vec<u32>,
    bytes: usize,
}

impl Collected {
    /// Adds the rows that count.
    pub(super) fn add(&mut self, columns: &[ArrayRef], groups: &[u32], mask: Option<BooleanBuffer>) -> Result<()> {
        let (columns, groups) = match mask {
            None => (columns.to_vec(), groups.to_vec()),
            Some(mask) => {
                let rows: Vec<u32> = mask.set_indices_u32().collect();
                let groups = rows.iter().map(|&row| groups[row as usize]).collect();
                let rows = UInt32Array::from(rows);
                (columns.iter().map(|c| take(c, &rows, None)).collect::<std::result::Result<Vec<_>, _>>()?, groups)
            }
        };
        self.bytes += columns.iter().map(crate::exec::batch::array_bytes).sum::<usize>();
        self.pieces.push(columns);
        self.groups.extend(groups);
        Ok(())
    }

    /// Adds rows that come as one list a group and column.
    pub(super) fn add_lists(&mut self, lists: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let (values, owners) = flatten(lists, groups)?;
        self.add(&values, &owners, None)
    }

    /// All rows, and forgets them.
    pub(super) fn take(&mut self, types: &[DataType]) -> Result<(Vec<ArrayRef>, Vec<u32>)> {
        let pieces = std::mem::take(&mut self.pieces);
        let groups = std::mem::take(&mut self.groups);
        self.bytes = 0;
        let columns = types
            .iter()
            .enumerate()
            .map(|(i, ty)| {
                let parts: Vec<&dyn Array> = pieces.iter().map(|p| p[i].as_ref()).collect();
                if parts.is_empty() { Ok(arrow::array::new_empty_array(ty)) } else { concat(&parts) }
            })
            .collect::<std::result::Result<_, _>>()?;
        Ok((columns, groups))
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes + self.groups.capacity() * 4
    }
}

/// The values of lists, one list a group and column, and each value's group. All columns have lists of the same lengths.
pub(crate) fn flatten(lists: &[ArrayRef], groups: &[u32]) -> Result<(Vec<ArrayRef>, Vec<u32>)> {
    let mut owners = Vec::new();
    let mut columns = Vec::with_capacity(lists.len());
    for (i, list) in lists.iter().enumerate() {
        let list = list.as_list::<i32>();
        let offsets = list.value_offsets();
        let (first, last) = (offsets[0] as usize, offsets[list.len()] as usize);
        if list.null_count() > 0 {
            return Err(Error::internal("a state's list is never NULL"));
        }
        if i == 0 {
            for (row, &group) in groups.iter().enumerate() {
                owners.extend(std::iter::repeat_n(group, (offsets[row + 1] - offsets[row]) as usize));
            }
        }
        columns.push(list.values().slice(first, last - first));
    }
    Ok((columns, owners))
}

/// The order that puts rows of one group together, groups ascending, rows of a group as they came; and the groups' lengths.
pub(super) fn by_group(groups: &[u32], n_groups: usize) -> (UInt32Array, Vec<usize>) {
    let mut lengths = vec![0; n_groups];
    groups.iter().for_each(|&g| lengths[g as usize] += 1);
    let mut next = Vec::with_capacity(n_groups);
    let mut at = 0;
    for &length in &lengths {
        next.push(at);
        at += length;
    }
    let mut order = vec![0_u32; groups.len()];
    for (row, &group) in groups.iter().enumerate() {
        let place = &mut next[group as usize];
        order[*place] = row as u32;
        *place += 1;
    }
    (UInt32Array::from(order), lengths)
}

/// A list a group, of values that are in group order already. `empty_is_null`: a group without values is NULL.
pub(super) fn lists(field: FieldRef, values: ArrayRef, lengths: &[usize], empty_is_null: bool) -> Result<ArrayRef> {
    if values.len() > i32::MAX as usize {
        return Err(Error::new(ErrorKind::OutOfMemory, "out of memory").with_detail("An array of over 2^31 values."));
    }
    let nulls = empty_is_null.then(|| NullBuffer::from_iter(lengths.iter().map(|&n| n > 0)));
    let nulls = nulls.filter(|n| n.null_count() > 0);
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Ok(Arc::new(ListArray::try_new(field, offsets, values, nulls)?))
}

/// `integer out of range` and the like.
pub(super) fn out_of_range(ty: &str) -> Error {
    Error::new(ErrorKind::NumericOutOfRange, format!("{ty} out of range"))
}
