//! rankCorr: Spearman's rank correlation. Equal values share the mean of their ranks.
//!
//! State: the lists of a group's first and second values, of rows in which neither is NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::Float64Type;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::states::{Collected, by_group, lists, rows_that_count};
use super::{Accumulator, AggregateFunction, AggregateOverload, function};
use crate::error::Result;

pub(super) fn functions() -> Vec<AggregateFunction> {
    vec![function(
        &["rankCorr"],
        "Spearman's rank correlation; NULL for fewer than two rows.",
        ("rankCorr(x, x * x)", "1"),
        vec![AggregateOverload::new(
            vec![Param::Exact(Type::Float8); 2],
            Returns::Exact(Type::Float8),
            |_, _| vec![Type::Array(Box::new(Type::Float8)); 2],
            |_| Ok(Box::new(RankCorr::default())),
        )],
    )]
}

#[derive(Default)]
struct RankCorr {
    rows: Collected,
}

impl RankCorr {
    /// The values of all groups, group by group, and how many each has.
    fn take(&mut self, n_groups: usize) -> Result<([ArrayRef; 2], Vec<usize>)> {
        let ty = Type::Float8.to_arrow();
        let (columns, groups) = self.rows.take(&[ty.clone(), ty])?;
        let (order, lengths) = by_group(&groups, n_groups);
        Ok(([take(&columns[0], &order, None)?, take(&columns[1], &order, None)?], lengths))
    }
}

impl Accumulator for RankCorr {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        _n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let nulls = NullBuffer::union(args[0].logical_nulls().as_ref(), args[1].logical_nulls().as_ref());
        self.rows.add(&args[..2], groups, rows_that_count(nulls.as_ref(), filter))
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], _n_groups: usize) -> Result<()> {
        self.rows.add_lists(states, groups)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let (columns, lengths) = self.take(n_groups)?;
        let field = Type::Float8.element_field();
        columns.into_iter().map(|column| lists(field.clone(), column, &lengths, false)).collect()
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let (columns, lengths) = self.take(n_groups)?;
        let [mut left, mut right] = [0, 1].map(|at: usize| columns[at].as_primitive::<Float64Type>().values().as_ref());
        let mut results = Vec::with_capacity(n_groups);
        for length in lengths {
            let ((x, more), (y, others)) = (left.split_at(length), right.split_at(length));
            (left, right) = (more, others);
            results.push(correlation(&ranks(x), &ranks(y)));
        }
        Ok(Arc::new(Float64Array::from(results)))
    }

    fn memory(&self) -> usize {
        self.rows.memory()
    }
}

/// Twice each value's rank, a whole number, from 2; equal values have the mean of theirs.
fn ranks(values: &[f64]) -> Vec<i64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0; values.len()];
    let mut at = 0;
    while at < order.len() {
        let same = order[at..].iter().take_while(|&&other| values[other] == values[order[at]]).count().max(1);
        let rank = (2 * at + same + 1) as i64;
        order[at..at + same].iter().for_each(|&row| ranks[row] = rank);
        at += same;
    }
    ranks
}

/// 1 - 6 sum(d^2) / (n (n^2 - 1)) for the differences of ranks, as ClickHouse has it where ranks are shared, too. The sum is exact, so the
/// order of rows does not matter.
fn correlation(x: &[i64], y: &[i64]) -> Option<f64> {
    let n = x.len() as f64;
    let squares: i128 = x.iter().zip(y).map(|(x, y)| i128::from(x - y) * i128::from(x - y)).sum();
    (x.len() > 1).then(|| 1.0 - 6.0 * (squares as f64 / 4.0) / (n * (n * n - 1.0)))
}
