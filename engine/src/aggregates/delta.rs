//! deltaSum: how much a counter that restarts at times has risen.
//!
//! It depends on the order of rows, so that its state is that of [`super::collect`]; what is here sees rows in order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array};
use arrow::compute::take;
use arrow::datatypes::{Float64Type, Int64Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::states::{Collected, by_group, lists, out_of_range, rows_that_count};
use super::{Accumulator, AggregateFunction, AggregateOverload, Order, function};
use crate::error::Result;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let of = |ty: Type| {
        let state = |args: &[Type], _: &Type| vec![Type::Array(Box::new(args[0].clone()))];
        let params = vec![Param::Exact(ty.clone())];
        AggregateOverload::new(params, Returns::Exact(ty), state, |call| {
            Ok(Box::new(Delta { ty: call.args[0].clone(), rows: Collected::default() }))
        })
        .order(Order::Rows)
    };
    vec![function(
        &["deltaSum"],
        "The sum of what each value is greater than the one before; where it is less, nothing is added.",
        ("deltaSum(x)", "2"),
        vec![of(Type::Int8), of(Type::Float8)],
    )]
}

struct Delta {
    ty: Type,
    rows: Collected,
}

impl Delta {
    fn take(&mut self, n_groups: usize) -> Result<(ArrayRef, Vec<usize>)> {
        let (columns, groups) = self.rows.take(&[self.ty.to_arrow()])?;
        let (order, lengths) = by_group(&groups, n_groups);
        Ok((take(&columns[0], &order, None)?, lengths))
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
        self.rows.add(&args[..1], groups, rows_that_count(args[0].logical_nulls().as_ref(), filter))
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], _: usize) -> Result<()> {
        self.rows.add_lists(states, groups)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let (values, lengths) = self.take(n_groups)?;
        Ok(vec![lists(self.ty.element_field(), values, &lengths, false)?])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let (values, lengths) = self.take(n_groups)?;
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
