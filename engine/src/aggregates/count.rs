//! count, countIf, uniqExact.
//!
//! State of count: one bigint. State of a count of distinct values: see [`super::distinct`].

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::Int64Type;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::distinct;
use super::states::{TOGETHER, one_group, rows_that_count};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, function};
use crate::error::Result;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let bigint = || Returns::Exact(Type::Int8);
    let overload = |params| AggregateOverload::new(params, bigint(), |_, _| vec![Type::Int8], create);
    let lists = |args: &[Type], _: &Type| args.iter().map(|ty| Type::Array(Box::new(ty.clone()))).collect();
    let unique = |params| AggregateOverload::new(params, bigint(), lists, create_distinct);
    let mut many = unique(vec![Param::Any, Param::Any]);
    many.variadic = true;
    vec![
        function(
            &["count"],
            "The number of rows, or of those in which the argument is not NULL.",
            ("count(x)", "3"),
            vec![overload(vec![]), overload(vec![Param::Any])],
        ),
        function(
            &["uniqExact", "uniq", "uniqCombined", "uniqHLL12", "count_distinct"],
            "The number of distinct values that are not NULL.",
            ("uniqExact(x)", "3"),
            vec![unique(vec![Param::Any]), many],
        ),
    ]
}

fn create(_: &Call<'_>) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Count::default()))
}

fn create_distinct(call: &Call<'_>) -> Result<Box<dyn Accumulator>> {
    distinct::before(call.args, Box::new(Count::default()))
}

/// Counts rows in which the first argument, if there is one, is not NULL.
#[derive(Debug, Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.counts.resize(n_groups.max(self.counts.len()), 0);
        let counts = &mut self.counts;
        let nulls = args.first().and_then(|a| a.logical_nulls());
        let mask = rows_that_count(nulls.as_ref(), filter);
        if n_groups == 1 {
            counts[0] += mask.map_or(groups.len(), |mask| mask.count_set_bits()) as i64;
            return Ok(());
        }
        let Some(mask) = mask else {
            for groups in groups.chunks(TOGETHER) {
                match one_group(groups) {
                    Some(group) => counts[group] += groups.len() as i64,
                    None => groups.iter().for_each(|&group| counts[group as usize] += 1),
                }
            }
            return Ok(());
        };
        mask.set_indices().for_each(|row| counts[groups[row] as usize] += 1);
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.counts.resize(n_groups.max(self.counts.len()), 0);
        let more = states[0].as_primitive::<Int64Type>().values();
        for (&group, &n) in groups.iter().zip(more) {
            self.counts[group as usize] += n;
        }
        Ok(())
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.finish(n_groups)?])
    }

    fn counts_values(&self) -> bool {
        true
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let mut counts = std::mem::take(&mut self.counts);
        counts.resize(n_groups, 0);
        Ok(Arc::new(Int64Array::from(counts)))
    }

    fn memory(&self) -> usize {
        self.counts.capacity() * 8
    }
}
