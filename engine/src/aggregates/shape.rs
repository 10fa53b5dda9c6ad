//! Skewness and kurtosis, with ClickHouse's names and with DuckDB's.
//!
//! Sums of powers up to the fourth, each power rounded once and the sums exact (see [`super::exact`]), so that neither order nor splits matter.
//!
//! State: bigint n, exact sums of x, x^2, x^3 and x^4.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array};
use arrow::datatypes::{Float64Type, Int64Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::exact::ExactSums;
use super::states::each_row;
use super::{Accumulator, AggregateFunction, AggregateOverload, Create, function};
use crate::error::Result;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let state = |_: &[Type], _: &Type| {
        let exact = || Type::Array(Box::new(Type::Float8));
        vec![Type::Int8, exact(), exact(), exact(), exact()]
    };
    let of = |names, doc, example, create: Create| {
        let float = vec![Param::Exact(Type::Float8)];
        function(names, doc, example, vec![AggregateOverload::new(float, Returns::Exact(Type::Float8), state, create)])
    };
    vec![
        of(&["skewPop"], "The skewness.", ("skewPop(x)", "0"), |_| shape(What::SkewPop)),
        of(&["skewSamp"], "The skewness, over the sample variance.", ("skewSamp(x)", "0"), |_| shape(What::SkewSamp)),
        of(
            &["skewness"],
            "The skewness, corrected for a sample; NULL for fewer than three values.",
            ("skewness(x)", "0"),
            |_| shape(What::Skewness),
        ),
        of(
            &["kurtPop"],
            "The kurtosis: 3 of a normal distribution.",
            ("round(kurtPop(x)::numeric, 6)", "1.500000"),
            |_| shape(What::KurtPop),
        ),
        of(
            &["kurtSamp"],
            "The kurtosis, over the sample variance.",
            ("round(kurtSamp(x)::numeric, 6)", "0.666667"),
            |_| shape(What::KurtSamp),
        ),
        of(
            &["kurtosis_pop"],
            "The kurtosis over that of a normal distribution.",
            ("round(kurtosis_pop(x)::numeric, 6)", "-1.500000"),
            |_| shape(What::KurtosisPop),
        ),
        of(
            &["kurtosis"],
            "The kurtosis over that of a normal distribution, corrected for a sample; NULL for fewer than four values.",
            ("kurtosis(x * x)", "NULL"),
            |_| shape(What::Kurtosis),
        ),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    SkewPop,
    SkewSamp,
    Skewness,
    KurtPop,
    KurtSamp,
    KurtosisPop,
    Kurtosis,
}

fn shape(what: What) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Shape { what, counts: Vec::new(), sums: Default::default() }))
}

#[derive(Debug)]
struct Shape {
    what: What,
    counts: Vec<i64>,
    sums: [ExactSums; 4],
}

impl Shape {
    fn resize(&mut self, n_groups: usize) {
        self.counts.resize(n_groups.max(self.counts.len()), 0);
        self.sums.iter_mut().for_each(|sums| sums.resize(n_groups));
    }

    fn value(&self, group: usize) -> Option<f64> {
        if self.counts[group] == 0 {
            return None;
        }
        let n = self.counts[group] as f64;
        let [mean, squares, cubes, fourths] = [0, 1, 2, 3].map(|power: usize| self.sums[power].value(group) / n);
        // The moments around the mean.
        let second = squares - mean * mean;
        let third = cubes - 3.0 * mean * squares + 2.0 * mean.powi(3);
        let fourth = fourths - 4.0 * mean * cubes + 6.0 * mean * mean * squares - 3.0 * mean.powi(4);
        let sample = second * n / (n - 1.0);
        let kurtosis = fourth / (second * second);
        match self.what {
            What::SkewPop => Some(third / second.powf(1.5)),
            What::SkewSamp => Some(third / sample.powf(1.5)),
            What::Skewness => (n > 2.0).then(|| (n * (n - 1.0)).sqrt() / (n - 2.0) * third / second.powf(1.5)),
            What::KurtPop => Some(kurtosis),
            What::KurtSamp => Some(fourth / (sample * sample)),
            What::KurtosisPop => (n > 1.0).then_some(kurtosis - 3.0),
            What::Kurtosis => {
                (n > 3.0).then(|| (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * kurtosis - 3.0 * (n - 1.0)))
            }
        }
    }
}

impl Accumulator for Shape {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.resize(n_groups);
        let values = args[0].as_primitive::<Float64Type>();
        each_row(groups, values.nulls(), filter, |row, group| {
            let x = values.value(row);
            self.counts[group] += 1;
            let mut power = 1.0;
            for sums in &mut self.sums {
                power *= x;
                sums.add(group, power);
            }
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.resize(n_groups);
        let counts = states[0].as_primitive::<Int64Type>().values();
        groups.iter().zip(counts).for_each(|(&group, &n)| self.counts[group as usize] += n);
        self.sums.iter_mut().zip(&states[1..]).for_each(|(sums, state)| sums.merge(state, groups, n_groups));
        Ok(())
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let mut counts = std::mem::take(&mut self.counts);
        counts.resize(n_groups, 0);
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(counts))];
        for sums in &mut self.sums {
            columns.push(sums.state(n_groups)?);
        }
        Ok(columns)
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.resize(n_groups);
        let result: Float64Array = (0..n_groups).map(|group| self.value(group)).collect();
        self.counts.clear();
        self.sums = Default::default();
        Ok(Arc::new(result))
    }

    fn memory(&self) -> usize {
        self.counts.capacity() * 8 + self.sums.iter().map(ExactSums::memory).sum::<usize>()
    }
}
