//! approx_quantile, quantileDD: quantiles within a relative error of the value, in bounded memory (DDSketch, Masson et al., VLDB 2019).
//!
//! A value is counted in the bucket of its logarithm to the base (1 + a) / (1 - a), where a is the accuracy: any value of a bucket is within
//! a of the bucket's middle. Of the mergeable sketches it is the one whose counts, and so its answer, depend neither on the order of rows
//! nor on how they were split; t-digests and KLL sketches do not promise that. A decade of values is 230 buckets at the default of 0.5 %.
//!
//! State: integer[] the buckets that have any values, ascending; bigint[] how many; double precision the least value and the greatest, and
//! the fraction where it is an argument.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::moments::float_of;
use super::states::{each_row, lists};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, function};
use crate::error::{Error, ErrorKind, Result};

pub(super) fn functions() -> Vec<AggregateFunction> {
    let list = |ty: Type| Type::Array(Box::new(ty));
    let overload = |args: usize, returns: Type, create| {
        let state = |_: &[Type], _: &Type| {
            let list = |ty: Type| Type::Array(Box::new(ty));
            vec![list(Type::Int4), list(Type::Int8), Type::Float8, Type::Float8, Type::Float8]
        };
        AggregateOverload::new(vec![Param::Exact(Type::Float8); args], Returns::Exact(returns), state, create)
    };
    vec![
        function(
            &["approx_quantile", "approx_percentile"],
            "The value at a fraction of the sorted values, within 0.5 % of the value, in bounded memory; approx_quantileMerge(0.99)(state) asks a state of approx_quantileState(x) for any fraction.",
            ("round(approx_quantile(x, 0.5))", "2"),
            vec![
                overload(2, Type::Float8, |call| create(call, Params::Fractions)),
                overload(1, Type::Float8, |call| create(call, Params::Fractions)).parameters_last(),
            ],
        ),
        function(
            &["quantileDD", "medianDD"],
            "The value at a fraction of the sorted values, within a relative error: quantileDD(0.01, 0.9)(x).",
            ("round(quantileDD(0.01, 0.5)(x))", "2"),
            vec![overload(1, Type::Float8, |call| create(call, Params::AccuracyFirst))],
        ),
        function(
            &["quantilesDD"],
            "The values at several fractions of the sorted values, within a relative error: quantilesDD(0.01, 0.5, 0.9)(x).",
            ("quantilesDD(0.01, 0, 1)(x)", "{1,3}"),
            vec![overload(1, list(Type::Float8), |call| create(call, Params::AccuracyFirst))],
        ),
    ]
}

const ACCURACY: f64 = 0.005;
/// What a positive value's bucket is moved by, so that those of all negative values are below 0, which is zero's own.
const ZERO: i32 = 1 << 24;
const INFINITE: i32 = i32::MAX - 1;
const NAN: i32 = i32::MAX;

#[derive(Clone, Copy, PartialEq)]
enum Params {
    Fractions,
    AccuracyFirst,
}

fn create(call: &Call<'_>, params: Params) -> Result<Box<dyn Accumulator>> {
    let mut numbers = Vec::new();
    for value in call.params {
        let number = float_of(value).filter(|number| (0.0..=1.0).contains(number));
        numbers.push(
            number
                .ok_or_else(|| Error::new(ErrorKind::NumericOutOfRange, format!("{value} is not between 0 and 1")))?,
        );
    }
    let mut accuracy = ACCURACY;
    if params == Params::AccuracyFirst {
        if numbers.is_empty() || !(1e-4..=0.5).contains(&numbers[0]) {
            let message = "the first parameter is the relative accuracy, from 0.0001 to 0.5";
            return Err(Error::new(ErrorKind::InvalidParameter, message));
        }
        accuracy = numbers.remove(0);
    }
    if numbers.is_empty() {
        numbers.push(0.5);
    }
    Ok(Box::new(Quantiles {
        ln_base: ((1.0 + accuracy) / (1.0 - accuracy)).ln(),
        fractions: numbers,
        several: matches!(call.returns, Type::Array(_)),
        sketches: Vec::new(),
    }))
}

#[derive(Debug, Clone)]
struct Sketch {
    buckets: BTreeMap<i32, i64>,
    least: f64,
    greatest: f64,
    /// Where it is an argument.
    fraction: Option<f64>,
}

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch { buckets: BTreeMap::new(), least: f64::INFINITY, greatest: f64::NEG_INFINITY, fraction: None }
    }
}

impl Sketch {
    fn at(&self, fraction: f64, ln_base: f64) -> Option<f64> {
        let count: i64 = self.buckets.values().sum();
        let rank = (fraction * (count - 1).max(0) as f64) as i64;
        match rank {
            _ if count == 0 || self.buckets.contains_key(&NAN) => {}
            0 => return Some(self.least),
            rank if rank == count - 1 => return Some(self.greatest),
            _ => {}
        }
        let mut passed = 0;
        let found = self.buckets.iter().find(|(_, n)| {
            passed += **n;
            passed > rank
        });
        found.map(|(bucket, _)| match *bucket {
            NAN => f64::NAN,
            bucket => middle(bucket, ln_base).max(self.least).min(self.greatest),
        })
    }
}

fn bucket(value: f64, ln_base: f64) -> i32 {
    let size = value.abs();
    let place = match size {
        size if size.is_nan() => return NAN,
        0.0 => return 0,
        f64::INFINITY => INFINITE,
        size => ZERO + (size.ln() / ln_base).ceil() as i32,
    };
    if value < 0.0 { -place } else { place }
}

fn middle(bucket: i32, ln_base: f64) -> f64 {
    let size = match bucket.abs() {
        0 => return 0.0,
        INFINITE => f64::INFINITY,
        place => 2.0 * (f64::from(place - ZERO) * ln_base).exp() / (ln_base.exp() + 1.0),
    };
    if bucket < 0 { -size } else { size }
}

#[derive(Debug)]
struct Quantiles {
    ln_base: f64,
    fractions: Vec<f64>,
    several: bool,
    sketches: Vec<Sketch>,
}

impl Quantiles {
    fn resize(&mut self, n_groups: usize) {
        self.sketches.resize(n_groups.max(self.sketches.len()), Sketch::default());
    }
}

impl Accumulator for Quantiles {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.resize(n_groups);
        let values = args[0].as_primitive::<Float64Type>();
        let fractions = args.get(1).map(|fractions| fractions.as_primitive::<Float64Type>());
        let mut wrong = None;
        let (sketches, ln_base) = (&mut self.sketches, self.ln_base);
        each_row(groups, values.nulls(), filter, |row, group| {
            let (sketch, value) = (&mut sketches[group], values.value(row));
            *sketch.buckets.entry(bucket(value, ln_base)).or_default() += 1;
            sketch.least = sketch.least.min(value);
            sketch.greatest = sketch.greatest.max(value);
            if let Some(fraction) = fractions.filter(|fractions| fractions.is_valid(row)) {
                let fraction = fraction.value(row);
                if !(0.0..=1.0).contains(&fraction) || sketch.fraction.is_some_and(|known| known != fraction) {
                    wrong = Some(fraction);
                }
                sketch.fraction = Some(fraction);
            }
        });
        match wrong {
            None => Ok(()),
            Some(fraction) => {
                let message = format!("the fraction {fraction} is not between 0 and 1, or not the same for all rows");
                Err(Error::new(ErrorKind::NumericOutOfRange, message))
            }
        }
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.resize(n_groups);
        let (buckets, counts) = (states[0].as_list::<i32>(), states[1].as_list::<i32>());
        let [least, greatest, fractions] = [2, 3, 4].map(|column: usize| states[column].as_primitive::<Float64Type>());
        for (row, &group) in groups.iter().enumerate() {
            let sketch = &mut self.sketches[group as usize];
            let (buckets, counts) = (buckets.value(row), counts.value(row));
            let pairs =
                buckets.as_primitive::<Int32Type>().values().iter().zip(counts.as_primitive::<Int64Type>().values());
            pairs.for_each(|(bucket, count)| *sketch.buckets.entry(*bucket).or_default() += count);
            sketch.least = sketch.least.min(least.value(row));
            sketch.greatest = sketch.greatest.max(greatest.value(row));
            sketch.fraction = sketch.fraction.or(fractions.is_valid(row).then(|| fractions.value(row)));
        }
        Ok(())
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        self.resize(n_groups);
        let mut sketches = std::mem::take(&mut self.sketches);
        sketches.truncate(n_groups);
        let lengths: Vec<usize> = sketches.iter().map(|sketch| sketch.buckets.len()).collect();
        let buckets: Int32Array = sketches.iter().flat_map(|sketch| sketch.buckets.keys().copied()).collect();
        let counts: Int64Array = sketches.iter().flat_map(|sketch| sketch.buckets.values().copied()).collect();
        Ok(vec![
            lists(Type::Int4.element_field(), Arc::new(buckets), &lengths, false)?,
            lists(Type::Int8.element_field(), Arc::new(counts), &lengths, false)?,
            Arc::new(sketches.iter().map(|sketch| Some(sketch.least)).collect::<Float64Array>()),
            Arc::new(sketches.iter().map(|sketch| Some(sketch.greatest)).collect::<Float64Array>()),
            Arc::new(sketches.iter().map(|sketch| sketch.fraction).collect::<Float64Array>()),
        ])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.resize(n_groups);
        let mut sketches = std::mem::take(&mut self.sketches);
        sketches.truncate(n_groups);
        if !self.several {
            let value = |sketch: &Sketch| sketch.at(sketch.fraction.unwrap_or(self.fractions[0]), self.ln_base);
            return Ok(Arc::new(sketches.iter().map(value).collect::<Float64Array>()));
        }
        let filled = |sketch: &&Sketch| !sketch.buckets.is_empty();
        let lengths: Vec<usize> =
            sketches.iter().map(|sketch| if filled(&sketch) { self.fractions.len() } else { 0 }).collect();
        let values = sketches.iter().filter(filled);
        let values = values.flat_map(|sketch| self.fractions.iter().map(|fraction| sketch.at(*fraction, self.ln_base)));
        lists(Type::Float8.element_field(), Arc::new(values.collect::<Float64Array>()), &lengths, true)
    }

    fn memory(&self) -> usize {
        // An entry of a map is a key and a value, in nodes that are two thirds full or more.
        self.sketches.iter().map(|sketch| size_of::<Sketch>() + sketch.buckets.len() * 18).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_within_its_accuracy() {
        let ln_base = ((1.0 + ACCURACY) / (1.0 - ACCURACY)).ln();
        for value in [1e-300, 1e-9, 0.37, 1.0, 2.0, 12345.678, 9e15, 1e300] {
            for value in [value, -value] {
                let back = middle(bucket(value, ln_base), ln_base);
                assert!(((back - value) / value).abs() <= ACCURACY * 1.0001, "{value} came back as {back}");
            }
        }
        let order = [f64::NEG_INFINITY, -5.0, -1e-9, 0.0, 1e-9, 5.0, f64::INFINITY, f64::NAN];
        assert!(order.map(|value| bucket(value, ln_base)).is_sorted());
    }
}
