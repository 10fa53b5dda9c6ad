//! array_agg, groupArray, groupUniqArray.
//!
//! They depend on the order of rows, so that their state is that of [`super::collect`]; what is here sees rows sorted by group.

use arrow::array::{ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::take;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::states::{Collected, by_group, lists, rows_that_count};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, Order, function};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::groups::GroupTable;
use crate::exec::keys;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let list = |args: &[Type]| Type::Array(Box::new(args[0].clone()));
    let state = |args: &[Type], _: &Type| vec![Type::Array(Box::new(args[0].clone()))];
    let overload = |create| {
        vec![AggregateOverload::new(vec![Param::Any], Returns::Computed(list), state, create).order(Order::Rows)]
    };
    vec![
        function(
            &["array_agg", "list"],
            "The values, NULLs too, as an array; NULL if there are no rows.",
            ("array_agg(x)", "{1,2,3,NULL}"),
            overload(|call| gather(call, false, false)),
        ),
        function(
            &["groupArray"],
            "The values that are not NULL as an array; no more than so many: groupArray(10)(x).",
            ("groupArray(x)", "{1,2,3}"),
            overload(|call| gather(call, true, false)),
        ),
        function(
            &["groupArrayLast"],
            "The last so many of the values that are not NULL: groupArrayLast(10)(x).",
            ("groupArrayLast(2)(x)", "{2,3}"),
            overload(|call| Ok(Box::new(Gather { last: true, ..Gather::new(call, true, false)? }))),
        ),
        function(
            &["groupArraySorted"],
            "The least so many of the values that are not NULL, in order: groupArraySorted(10)(x).",
            ("groupArraySorted(2)(-x)", "{-3,-2}"),
            overload(|call| Ok(Box::new(Gather { sorted: true, ..Gather::new(call, true, false)? }))),
        ),
        function(
            &["groupArraySample"],
            "So many of the values that are not NULL, by chance: groupArraySample(10)(x), or groupArraySample(10, seed)(x). One seed gives one choice.",
            ("length(groupArraySample(2)(x))", "2"),
            overload(|call| Ok(Box::new(Gather { sample: Some(seed(call)), ..Gather::new(call, true, false)? }))),
        ),
        function(
            &["groupUniqArray"],
            "The distinct values that are not NULL as an array, in the order in which they first came.",
            ("groupUniqArray(x)", "{1,2,3}"),
            overload(|call| gather(call, true, true)),
        ),
    ]
}

/// The second parameter.
fn seed(call: &Call<'_>) -> u64 {
    call.params.get(1).and_then(super::moments::float_of).unwrap_or_default() as u64
}

fn gather(call: &Call<'_>, skip_nulls: bool, unique: bool) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Gather::new(call, skip_nulls, unique)?))
}

/// Values by group, in the order they come.
pub(super) struct Gather {
    ty: Type,
    skip_nulls: bool,
    unique: bool,
    /// So many at the most: the first, or the last.
    most: usize,
    last: bool,
    /// By value, and not as they come.
    sorted: bool,
    /// By chance, which comes from this seed; in the order in which they come.
    sample: Option<u64>,
    rows: Collected,
}

impl Gather {
    fn new(call: &Call<'_>, skip_nulls: bool, unique: bool) -> Result<Gather> {
        let most = match call.params {
            [] => usize::MAX,
            [value, ..] => super::moments::float_of(value).filter(|most| *most >= 1.0).ok_or_else(|| {
                Error::new(ErrorKind::InvalidParameter, format!("a number of values is 1 or more, not {value}"))
            })? as usize,
        };
        let (ty, rows) = (call.args[0].clone(), Collected::default());
        Ok(Gather { ty, skip_nulls, unique, most, last: false, sorted: false, sample: None, rows })
    }

    /// Keeps those of a group's rows whose places' hashes are least.
    fn choose(&self, group: &mut Vec<u32>) {
        if group.len() <= self.most {
            return;
        }
        let hash =
            |at: &usize| xxhash_rust::xxh3::xxh3_64_with_seed(&at.to_le_bytes(), self.sample.unwrap_or_default());
        let mut places: Vec<usize> = (0..group.len()).collect();
        places.select_nth_unstable_by_key(self.most, hash);
        places.truncate(self.most);
        places.sort_unstable();
        *group = places.into_iter().map(|place| group[place]).collect();
    }

    fn list(&mut self, n_groups: usize, empty_is_null: bool) -> Result<ArrayRef> {
        let (mut columns, groups) = self.rows.take(&[self.ty.to_arrow()])?;
        let values = columns.remove(0);
        let (mut order, mut lengths) = by_group(&groups, n_groups);
        if self.unique {
            let mut table = GroupTable::new(&[Type::UInt32, self.ty.clone()])?;
            let sorted = take(&UInt32Array::from(groups), &order, None)?;
            let normal = keys::normalize(&self.ty, &take(&values, &order, None)?)?;
            let mut ids = Vec::new();
            table.intern(&[sorted.clone(), normal], order.len(), &mut ids)?;
            let groups = arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt32Type>(&sorted).clone();
            let (mut next, mut first) = (0, Vec::new());
            lengths.fill(0);
            for (at, &id) in ids.iter().enumerate() {
                if id == next {
                    next += 1;
                    first.push(order.value(at));
                    lengths[groups.value(at) as usize] += 1;
                }
            }
            order = UInt32Array::from(first);
        }
        if self.sorted {
            let normal = keys::normalize(&self.ty, &values)?;
            let by = keys::row_converter(std::slice::from_ref(&self.ty), &[Default::default()])?;
            let by = by.convert_columns(&[normal])?;
            order = pieces(&order, &lengths, |group| group.sort_by_key(|&row| by.row(row as usize)));
        }
        if lengths.iter().any(|&length| length > self.most) {
            order = pieces(&order, &lengths, |group| match self.last {
                _ if self.sample.is_some() => self.choose(group),
                true => drop(group.drain(..group.len().saturating_sub(self.most))),
                false => group.truncate(self.most),
            });
            lengths.iter_mut().for_each(|length| *length = (*length).min(self.most));
        }
        lists(self.ty.element_field(), take(&values, &order, None)?, &lengths, empty_is_null)
    }
}

/// The rows of each group, changed.
fn pieces(order: &UInt32Array, lengths: &[usize], change: impl Fn(&mut Vec<u32>)) -> UInt32Array {
    let (mut left, mut changed) = (order.values().as_ref(), Vec::with_capacity(order.len()));
    for &length in lengths {
        let (group, rest) = left.split_at(length);
        left = rest;
        let mut group = group.to_vec();
        change(&mut group);
        changed.extend(group);
    }
    UInt32Array::from(changed)
}

impl Accumulator for Gather {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        _n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let nulls = if self.skip_nulls { args[0].logical_nulls() } else { None };
        self.rows.add(&args[..1], groups, rows_that_count(nulls.as_ref(), filter))
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], _n_groups: usize) -> Result<()> {
        self.rows.add_lists(states, groups)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.list(n_groups, false)?])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.list(n_groups, !self.skip_nulls)
    }

    fn memory(&self) -> usize {
        self.rows.memory()
    }
}
