//! Aggregates that depend on the order of rows: rows are collected, sorted by group, by the keys of ORDER BY and by position, and
//! handed to the aggregate at the end.
//!
//! State: a list for each argument, for each sort key, and one of the rows' positions (bigint). The position is where the row stood in the query's
//! input, so that without ORDER BY the order is the input's, whatever threads did.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Int64Type};
use arrow::row::Rows;
use weir_sql::Type;

use super::Accumulator;
use super::states::{Collected, by_group, lists, rows_that_count};
use crate::error::Result;
use crate::exec::groups::GroupTable;
use crate::exec::keys;

/// Sorted rows before another aggregate.
pub(super) struct Ordered {
    args: Vec<Type>,
    keys: Vec<(Type, SortOptions)>,
    distinct: bool,
    /// Whether the inner aggregate wants positions too.
    position: bool,
    rows: Collected,
    inner: Box<dyn Accumulator>,
    /// The arguments that were seen, where each counts once, and the key of the last of them. Equal arguments have equal keys: of rows in
    /// order only those with the last key are remembered.
    seen: Option<GroupTable>,
    last: Vec<u8>,
    /// How many rows were handed over.
    passed: i64,
}

impl Ordered {
    pub(super) fn new(
        args: &[Type],
        keys: &[(Type, SortOptions)],
        distinct: bool,
        position: bool,
        inner: Box<dyn Accumulator>,
    ) -> Ordered {
        let rows = Collected::default();
        Ordered {
            args: args.to_vec(),
            keys: keys.to_vec(),
            distinct,
            position,
            rows,
            inner,
            seen: None,
            last: Vec::new(),
            passed: 0,
        }
    }

    /// Types of the collected columns.
    fn types(&self) -> Vec<Type> {
        self.args.iter().chain(self.keys.iter().map(|(ty, _)| ty)).cloned().chain([Type::Int8]).collect()
    }

    fn take(&mut self) -> Result<(Vec<ArrayRef>, Vec<u32>)> {
        let types: Vec<DataType> = self.types().iter().map(Type::to_arrow).collect();
        self.rows.take(&types)
    }

    /// What the rows of a group are sorted by: keys, and position if that is wanted.
    fn encode(&self, columns: &[ArrayRef], position: bool) -> Result<Rows> {
        // DISTINCT without ORDER BY sorts by the arguments, as Postgres does.
        let by_args = SortOptions { descending: false, nulls_first: false };
        let (from, mut keys): (usize, Vec<(Type, SortOptions)>) = match (self.keys.is_empty(), self.distinct) {
            (true, true) => (0, self.args.iter().map(|ty| (ty.clone(), by_args)).collect()),
            _ => (self.args.len(), self.keys.clone()),
        };
        let mut sorted = columns[from..from + keys.len()].to_vec();
        if position {
            keys.push((Type::Int8, by_args));
            sorted.extend(columns.last().cloned());
        }
        let (types, options): (Vec<Type>, Vec<SortOptions>) = keys.into_iter().unzip();
        let sorted = keys::normalize_all(&types, &sorted)?;
        Ok(keys::row_converter(&types, &options)?.convert_columns(&sorted)?)
    }

    /// The order of rows by group, keys and position.
    fn order(&self, columns: &[ArrayRef], groups: &[u32]) -> Result<Vec<u32>> {
        let positions = columns[columns.len() - 1].as_primitive::<Int64Type>().values().clone();
        let mut order: Vec<u32> = (0..groups.len() as u32).collect();
        if self.keys.is_empty() && !self.distinct {
            order.sort_unstable_by_key(|&row| (groups[row as usize], positions[row as usize]));
            return Ok(order);
        }
        let rows = self.encode(columns, false)?;
        order.sort_unstable_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            groups[a]
                .cmp(&groups[b])
                .then_with(|| rows.row(a).cmp(&rows.row(b)))
                .then_with(|| positions[a].cmp(&positions[b]))
        });
        Ok(order)
    }

    /// The rows of an order that are the first of their group and arguments, also among those that were asked for before.
    fn distinct(&mut self, columns: &[ArrayRef], groups: &[u32], order: Vec<u32>) -> Result<Vec<u32>> {
        let key: Vec<Type> = std::iter::once(Type::UInt32).chain(self.args.iter().cloned()).collect();
        let table = match &mut self.seen {
            Some(table) => table,
            None => self.seen.insert(GroupTable::new(&key)?),
        };
        let order = UInt32Array::from(order);
        let mut arrays: Vec<ArrayRef> = vec![take(&UInt32Array::from(groups.to_vec()), &order, None)?];
        for (ty, column) in self.args.iter().zip(columns) {
            arrays.push(keys::normalize(ty, &take(column, &order, None)?)?);
        }
        let mut ids = Vec::new();
        let mut next = table.len() as u32;
        table.intern(&arrays, order.len(), &mut ids)?;
        let mut first = Vec::new();
        for (&row, &id) in order.values().iter().zip(&ids) {
            if id == next {
                next += 1;
                first.push(row);
            }
        }
        Ok(first)
    }
}

impl Accumulator for Ordered {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        _n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.rows.add(args, groups, rows_that_count(None, filter))
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], _n_groups: usize) -> Result<()> {
        self.rows.add_lists(states, groups)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let (columns, groups) = self.take()?;
        let (order, lengths) = by_group(&groups, n_groups);
        self.types()
            .iter()
            .zip(columns)
            .map(|(ty, column)| lists(ty.element_field(), take(&column, &order, None)?, &lengths, false))
            .collect()
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let (columns, groups) = self.take()?;
        let order = self.order(&columns, &groups)?;
        self.hand_over(&columns, &groups, order, n_groups)?;
        (self.seen, self.passed) = (None, 0);
        self.inner.finish(n_groups)
    }

    fn is_sorted(&self) -> bool {
        true
    }

    fn sort_keys(&self, rows: &[ArrayRef]) -> Result<Rows> {
        self.encode(rows, true)
    }

    fn in_order(&mut self, rows: &[ArrayRef], groups: &[u32], counts: &[usize]) -> Result<()> {
        let all = 0..groups.len() as u32;
        if !self.distinct || groups.is_empty() {
            return self.hand_over(rows, groups, all.collect(), counts.len());
        }
        let keys = self.encode(rows, false)?;
        let key = |row: usize| [&groups[row].to_be_bytes()[..], keys.row(row).as_ref()].concat();
        let last = key(groups.len() - 1);
        let from = (0..groups.len()).rev().find(|&row| key(row) != last).map_or(0, |row| row as u32 + 1);
        if self.last != key(0) {
            self.seen = None;
        }
        self.hand_over(rows, groups, (0..from).collect(), counts.len())?;
        if from > 0 {
            self.seen = None;
        }
        self.last = last;
        self.hand_over(rows, groups, (from..all.end).collect(), counts.len())
    }

    fn memory(&self) -> usize {
        self.rows.memory() + self.inner.memory() + self.seen.as_ref().map_or(0, GroupTable::memory)
    }
}

impl Ordered {
    /// Gives rows in order to the aggregate.
    fn hand_over(&mut self, columns: &[ArrayRef], groups: &[u32], mut order: Vec<u32>, n_groups: usize) -> Result<()> {
        if self.distinct {
            order = self.distinct(columns, groups, order)?;
        }
        let sorted: Vec<u32> = order.iter().map(|&row| groups[row as usize]).collect();
        let order = UInt32Array::from(order);
        let mut args = columns[..self.args.len()]
            .iter()
            .map(|c| take(c, &order, None))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        if self.position {
            args.push(Arc::new(Int64Array::from_iter_values(self.passed..self.passed + order.len() as i64)));
        }
        self.passed += order.len() as i64;
        self.inner.update(&args, &sorted, n_groups, None)
    }
}
