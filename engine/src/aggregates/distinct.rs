//! DISTINCT inside a call: a group table over (group, arguments) lets each combination through once.
//!
//! State: for each argument, the list of its distinct values (of distinct combinations, where there are several arguments); merging is
//! letting those through again. Rows with a NULL argument are left out where there are several arguments, as ClickHouse's uniqExact
//! does; with one argument the aggregate itself decides.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::UInt32Type;
use arrow::row::Rows;
use weir_sql::Type;

use super::Accumulator;
use super::distinct_words::{self, DistinctWords};
use super::states::{Collected, by_group, flatten, lists, one_group, rows_that_count};
use crate::error::Result;
use crate::exec::groups::{GroupTable, hash_keys};
use crate::exec::keys;

/// Distinct arguments before another aggregate.
struct Distinct {
    types: Vec<Type>,
    table: GroupTable,
    /// The first row of each combination.
    values: Collected,
    inner: Box<dyn Accumulator>,
    scratch: Vec<u32>,
}

/// The group's number, and its arguments.
fn key_types(types: &[Type]) -> Vec<Type> {
    std::iter::once(Type::UInt32).chain(types.iter().cloned()).collect()
}

/// Lets each distinct argument through to another aggregate once.
pub(super) fn before(types: &[Type], inner: Box<dyn Accumulator>) -> Result<Box<dyn Accumulator>> {
    Ok(match types {
        [ty] if distinct_words::fits::<u64>(ty) => Box::new(DistinctWords::<u64>::new(ty, inner)),
        [ty] if distinct_words::fits::<u128>(ty) => Box::new(DistinctWords::<u128>::new(ty, inner)),
        _ => Box::new(Distinct::new(types, inner)?),
    })
}

impl Distinct {
    fn new(types: &[Type], inner: Box<dyn Accumulator>) -> Result<Distinct> {
        let table = GroupTable::new(&key_types(types))?;
        Ok(Distinct { types: types.to_vec(), table, values: Collected::default(), inner, scratch: Vec::new() })
    }

    fn add(&mut self, args: &[ArrayRef], groups: &[u32]) -> Result<()> {
        if let [arg] = args
            && let Some(coded) = arg.as_dictionary_opt::<UInt32Type>()
            && one_group(groups).is_some()
        {
            // Each of a group's codes needs to be looked at once.
            let mut seen = vec![false; coded.values().len()];
            let is_first = |&row: &u32| {
                let row = row as usize;
                coded.is_null(row) || !std::mem::replace(&mut seen[coded.keys().values()[row] as usize], true)
            };
            let rows: Vec<u32> = (0..groups.len() as u32).filter(is_first).collect();
            let groups = &groups[..rows.len()];
            return self.add_each(&[take(arg, &UInt32Array::from(rows), None)?], groups);
        }
        self.add_each(args, groups)
    }

    fn add_each(&mut self, args: &[ArrayRef], groups: &[u32]) -> Result<()> {
        let before = self.table.len();
        let mut key: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(groups.to_vec()))];
        key.extend(keys::normalize_all(&self.types, args)?);
        self.table.intern(&key, groups.len(), &mut self.scratch)?;
        // A new combination's number is the next one: its first row is where that number is first seen.
        let mut next = before as u32;
        let mut fresh = Vec::new();
        for (row, &id) in self.scratch.iter().enumerate() {
            if id == next {
                fresh.push(row as u32);
                next += 1;
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        let owners: Vec<u32> = fresh.iter().map(|&row| groups[row as usize]).collect();
        let fresh = UInt32Array::from(fresh);
        let columns = args.iter().map(|a| take(a, &fresh, None)).collect::<std::result::Result<Vec<_>, _>>()?;
        self.values.add(&keys::decoded(&columns)?, &owners, None)
    }

    fn take(&mut self) -> Result<(Vec<ArrayRef>, Vec<u32>)> {
        let types: Vec<_> = self.types.iter().map(Type::to_arrow).collect();
        self.values.take(&types)
    }
}

/// Lists of distinct values of these types as `parts` of them, each with the values of some hashes.
pub(super) fn divide(types: &[Type], states: &[ArrayRef], parts: usize) -> Result<Vec<Vec<ArrayRef>>> {
    let n_groups = states[0].len();
    let (values, owners) = flatten(states, &(0..n_groups as u32).collect::<Vec<_>>())?;
    let hashes = hash_keys(types, &values, owners.len())?;
    let mut rows = vec![Vec::new(); parts];
    for (row, hash) in hashes.iter().enumerate() {
        rows[((hash >> 32) as usize * parts) >> 32].push(row as u32);
    }
    let part = |rows: Vec<u32>| {
        let mut lengths = vec![0; n_groups];
        rows.iter().for_each(|&row| lengths[owners[row as usize] as usize] += 1);
        let rows = UInt32Array::from(rows);
        let list =
            |(ty, values): (&Type, &ArrayRef)| lists(ty.element_field(), take(values, &rows, None)?, &lengths, false);
        types.iter().zip(&values).map(list).collect()
    };
    rows.into_iter().map(part).collect()
}

impl Accumulator for Distinct {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        _n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let args = &args[..self.types.len()];
        let nulls = match args {
            [_] => None,
            _ => args.iter().fold(None, |nulls: Option<NullBuffer>, arg| {
                NullBuffer::union(nulls.as_ref(), arg.logical_nulls().as_ref())
            }),
        };
        match rows_that_count(nulls.as_ref(), filter) {
            None => self.add(args, groups),
            Some(mask) => {
                let rows: Vec<u32> = mask.set_indices_u32().collect();
                let groups: Vec<u32> = rows.iter().map(|&row| groups[row as usize]).collect();
                let rows = UInt32Array::from(rows);
                let args = args.iter().map(|a| take(a, &rows, None)).collect::<std::result::Result<Vec<_>, _>>()?;
                self.add(&args, &groups)
            }
        }
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], _n_groups: usize) -> Result<()> {
        let (values, owners) = flatten(states, groups)?;
        self.add(&values, &owners)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let (columns, groups) = self.take()?;
        let (order, lengths) = by_group(&groups, n_groups);
        self.types
            .iter()
            .zip(columns)
            .map(|(ty, column)| lists(ty.element_field(), take(&column, &order, None)?, &lengths, false))
            .collect()
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.settle(n_groups)?;
        self.inner.finish(n_groups)
    }

    fn is_set(&self) -> bool {
        true
    }

    fn divide(&self, states: &[ArrayRef], parts: usize) -> Result<Vec<Vec<ArrayRef>>> {
        divide(&self.types, states, parts)
    }

    fn settle(&mut self, n_groups: usize) -> Result<()> {
        let (columns, groups) = self.take()?;
        self.table = GroupTable::new(&key_types(&self.types))?;
        self.inner.update(&columns, &groups, n_groups, None)
    }

    fn is_sorted(&self) -> bool {
        self.inner.is_sorted()
    }

    fn sort_keys(&self, rows: &[ArrayRef]) -> Result<Rows> {
        self.inner.sort_keys(rows)
    }

    fn in_order(&mut self, rows: &[ArrayRef], groups: &[u32], counts: &[usize]) -> Result<()> {
        self.inner.in_order(rows, groups, counts)
    }

    fn settled_rows(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        self.inner.state(n_groups)
    }

    fn memory(&self) -> usize {
        self.table.memory() + self.values.memory() + self.scratch.capacity() * 4 + self.inner.memory()
    }
}
