//! deltaSum and deltaSumTimestamp: how much a counter that restarts at times has risen.
//!
//! The first depends on the order of rows, so that its state is that of [`super::collect`]; what is here sees rows in order. State of the second:
//! the lists of values and of times.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{Float64Type, Int64Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::states::{Collected, by_group, lists, out_of_range, rows_that_count};
use super::{Accumulator, AggregateFunction, AggregateOverload, Order, function};
use crate::error::Result;
use crate::exec::keys;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let of = |ty: Type| {
        let state = |args: &[Type], _: &Type| vec![Type::Array(Box::new(args[0].clone()))];
        let params = vec![Param::Exact(ty.clone())];
        AggregateOverload::new(params, Returns::Exact(ty), state, |call| {
            Ok(Box::new(Delta { ty: call.args[0].clone(), times: None, rows: Collected::default() }))
        })
        .order(Order::Rows)
    };
    vec![
        function(
            &["deltaSum"],
            "The sum of what each value is greater than the one before; where it is less, nothing is added.",
            ("deltaSum(x)", "2"),
            vec![of(Type::Int8), of(Type::Float8)],
        ),
        function(
            &["deltaSumTimestamp"],
            "As deltaSum, of values in the order of their times: deltaSumTimestamp(value, time).",
            ("deltaSumTimestamp(x, x)", "2"),
            [Type::Int8, Type::Float8]
                .into_iter()
                .flat_map(|ty| [Param::AnyTimestamp, Param::AnyNumber].map(|time| timed(ty.clone(), time)))
                .collect(),
        ),
    ]
}

/// Values and times, of which the rows are sorted at the end.
fn timed(ty: Type, time: Param) -> AggregateOverload {
    let state = |args: &[Type], _: &Type| args.iter().map(|ty| Type::Array(Box::new(ty.clone()))).collect();
    AggregateOverload::new(vec![Param::Exact(ty.clone()), time], Returns::Exact(ty), state, |call| {
        let times = Some(call.args[1].clone());
        Ok(Box::new(Delta { ty: call.args[0].clone(), times, rows: Collected::default() }))
    })
}

struct Delta {
    ty: Type,
    /// The type of the times that say which value comes after which; without them it is as the rows come.
    times: Option<Type>,
    rows: Collected,
}

impl Delta {
    fn types(&self) -> Vec<Type> {
        std::iter::once(&self.ty).chain(&self.times).cloned().collect()
    }

    /// The values of all groups, and times if there are any, group by group, and how many each has.
    fn take(&mut self, n_groups: usize) -> Result<(Vec<ArrayRef>, Vec<usize>)> {
        let types: Vec<_> = self.types().iter().map(Type::to_arrow).collect();
        let (columns, groups) = self.rows.take(&types)?;
        let (mut order, lengths) = by_group(&groups, n_groups);
        if self.times.is_some() {
            // By time, and values of one time by value, so that the order of rows makes no difference.
            let types: Vec<Type> = self.types().into_iter().rev().collect();
            let sorted = [columns[1].clone(), columns[0].clone()];
            let sorted = keys::normalize_all(&types, &sorted)?;
            let rows = keys::row_converter(&types, &[Default::default(); 2])?.convert_columns(&sorted)?;
            let mut places = order.values().to_vec();
            places.sort_unstable_by(|&a, &b| {
                let (a, b) = (a as usize, b as usize);
                groups[a].cmp(&groups[b]).then_with(|| rows.row(a).cmp(&rows.row(b)))
            });
            order = UInt32Array::from(places);
        }
        let columns = columns.iter().map(|column| take(column, &order, None));
        Ok((columns.collect::<std::result::Result<_, _>>()?, lengths))
    }
}

/// For each group, what `add` makes of its values' rises; NULL of no values.
fn rises<N: Copy + PartialOrd + Default>(
    values: &[N],
    lengths: &[usize],
    add: impl Fn(N, N, N) -> Option<N>,
) -> Result<Vec<Option<N>>> {
    let mut left = values;
    let mut sums = Vec::with_capacity(lengths.len());
    for &length in lengths {
        let (group, rest) = left.split_at(length);
        left = rest;
        let mut steps = group.windows(2).filter(|step| step[1] > step[0]);
        let sum = steps.try_fold(N::default(), |sum, step| add(sum, step[1], step[0]));
        sums.push((length > 0).then_some(sum.ok_or_else(|| out_of_range("bigint"))?));
    }
    Ok(sums)
}

impl Accumulator for Delta {
    fn update(&mut self, args: &[ArrayRef], groups: &[u32], _: usize, filter: Option<&BooleanArray>) -> Result<()> {
        let args = &args[..1 + usize::from(self.times.is_some())];
        let nulls =
            args.iter().fold(None, |nulls, arg| NullBuffer::union(nulls.as_ref(), arg.logical_nulls().as_ref()));
        self.rows.add(args, groups, rows_that_count(nulls.as_ref(), filter))
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], _: usize) -> Result<()> {
        self.rows.add_lists(states, groups)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let types = self.types();
        let (columns, lengths) = self.take(n_groups)?;
        types.iter().zip(columns).map(|(ty, column)| lists(ty.element_field(), column, &lengths, false)).collect()
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let (columns, lengths) = self.take(n_groups)?;
        let values = &columns[0];
        Ok(match self.ty {
            Type::Float8 => {
                let values = values.as_primitive::<Float64Type>().values();
                Arc::new(Float64Array::from(rises(values, &lengths, |sum, to, from| Some(sum + (to - from)))?))
            }
            _ => {
                let values = values.as_primitive::<Int64Type>().values();
                let add = |sum: i64, to: i64, from| to.checked_sub(from).and_then(|rise| sum.checked_add(rise));
                Arc::new(Int64Array::from(rises(values, &lengths, add)?))
            }
        })
    }

    fn memory(&self) -> usize {
        self.rows.memory()
    }
}
