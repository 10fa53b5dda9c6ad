//! Quantiles, the median and the mode: over all values, sorted at the end.
//!
//! State: the list of values that are not NULL.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, IntervalMonthDayNanoArray, UInt32Array,
    new_empty_array,
};
use arrow::compute::{SortOptions, interleave, take};
use arrow::datatypes::{Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType};
use weir_sql::catalog::{Param, Returns};
use weir_sql::{Type, Value};

use super::moments::float_of;
use super::states::{Collected, by_group, lists, rows_that_count};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, Create, function};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::keys;
use crate::kernels::compare::compare_floats;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let state = |args: &[Type], _: &Type| vec![Type::Array(Box::new(args[0].clone()))];
    let float = || vec![Param::Exact(Type::Float8)];
    let exact = Returns::Exact;
    let one = |names, doc, example, create: Create| {
        function(names, doc, example, vec![AggregateOverload::new(float(), exact(Type::Float8), state, create)])
    };
    let several = |names, doc, example, create: Create| {
        let floats = exact(Type::Array(Box::new(Type::Float8)));
        function(names, doc, example, vec![AggregateOverload::new(float(), floats, state, create)])
    };
    let cont = AggregateOverload::new(float(), exact(Type::Float8), state, |c| create(c, What::Between)).ordered_set();
    let spans = AggregateOverload::new(vec![Param::Exact(Type::Interval)], exact(Type::Interval), state, |c| {
        create(c, What::Between)
    })
    .ordered_set();
    let of_moments =
        AggregateOverload::new(vec![Param::AnyTimestamp], Returns::Argument(0), state, |c| create(c, What::Past));
    vec![
        function(
            &["percentile_cont"],
            "The value at a fraction of the sorted values, between two of them where it falls there; of an array of fractions an array.",
            ("percentile_cont(0.5) WITHIN GROUP (ORDER BY x)", "2"),
            vec![cont, spans],
        ),
        function(
            &["percentile_disc"],
            "The first of the sorted values at or past a fraction of them; of an array of fractions an array.",
            ("percentile_disc(0.5) WITHIN GROUP (ORDER BY x)", "2"),
            vec![
                AggregateOverload::new(vec![Param::Any], Returns::Argument(0), state, |c| create(c, What::At))
                    .ordered_set(),
            ],
        ),
        function(
            &["mode"],
            "The value that is there most often; the least of several.",
            ("mode() WITHIN GROUP (ORDER BY x)", "1"),
            vec![
                AggregateOverload::new(vec![Param::Any], Returns::Argument(0), state, |c| create(c, What::Mode))
                    .ordered_set(),
            ],
        ),
        one(
            &["quantile", "median", "quantileExactInclusive", "quantileTDigest", "medianTDigest"],
            "The value at a fraction (0.5 if it is not given: quantile(0.9)(x)) of the sorted values, between two where it falls there.",
            ("quantile(0.5)(x)", "2"),
            |c| create(c, What::Between),
        ),
        several(
            &["quantiles", "quantilesExactInclusive", "quantilesTDigest"],
            "The values at several fractions: quantiles(0.5, 0.9)(x).",
            ("quantiles(0.5, 1)(x)", "{2,3}"),
            |c| create(c, What::Between),
        ),
        one(
            &["quantileExact", "medianExact", "quantileExactHigh", "medianExactHigh", "quantileTiming", "medianTiming"],
            "The first of the sorted values past a fraction of them: always one of the values.",
            ("quantileExact(0.75)(x)", "3"),
            |c| create(c, What::Past),
        )
        .with(of_moments),
        several(
            &["quantilesExact", "quantilesExactHigh", "quantilesTiming"],
            "The first of the sorted values past each of several fractions.",
            ("quantilesExact(0.25, 0.75)(x)", "{1,3}"),
            |c| create(c, What::Past),
        ),
        one(
            &["quantileExactLow", "medianExactLow"],
            "As quantileExact, but of two values in the middle the lower one.",
            ("quantileExactLow(0.5)(x)", "2"),
            |c| create(c, What::PastLow),
        ),
        several(
            &["quantilesExactLow"],
            "As quantilesExact, but of two values in the middle the lower one.",
            ("quantilesExactLow(0.25, 0.5)(x)", "{1,2}"),
            |c| create(c, What::PastLow),
        ),
        one(
            &["quantileExactExclusive"],
            "The value at a fraction of the sorted values with one more at either end, between two where it falls there.",
            ("quantileExactExclusive(0.3)(x)", "1.2"),
            |c| create(c, What::Exclusive),
        ),
        several(
            &["quantilesExactExclusive"],
            "As quantileExactExclusive, at several fractions.",
            ("quantilesExactExclusive(0.3, 0.5)(x)", "{1.2,2}"),
            |c| create(c, What::Exclusive),
        ),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    /// Between two values, the first at fraction 0 and the last at 1.
    Between,
    /// Between two values, the first at fraction 1 / (n + 1).
    Exclusive,
    /// The value whose number, from 0, is the fraction of n, rounded down.
    Past,
    /// As `Past`, but of two in the middle the lower.
    PastLow,
    /// The first value at or past a fraction.
    At,
    Mode,
}

fn create(call: &Call<'_>, what: What) -> Result<Box<dyn Accumulator>> {
    let mut fractions = Vec::new();
    let of_array = matches!(call.params, [one] if matches!(one.ty, Type::Array(_)));
    let params = match call.params {
        [array] if of_array => elements(array),
        params => params.to_vec(),
    };
    for value in &params {
        let fraction = if value.is_null() { None } else { Some(float_of(value)) };
        match fraction {
            None => fractions.push(None),
            Some(Some(f)) if (0.0..=1.0).contains(&f) => fractions.push(Some(f)),
            Some(Some(f)) => {
                let message = format!("percentile value {f} is not between 0 and 1");
                return Err(Error::new(ErrorKind::NumericOutOfRange, message));
            }
            Some(None) => {
                let message = format!("percentile value of type {} is not a number", value.ty);
                return Err(Error::new(ErrorKind::InvalidParameter, message));
            }
        }
    }
    if fractions.is_empty() && !of_array {
        fractions.push(Some(0.5));
    }
    Ok(Box::new(Quantile {
        what,
        several: of_array || (!matches!(what, What::At | What::Mode) && matches!(call.returns, Type::Array(_))),
        fractions,
        ty: call.args[0].clone(),
        descending: call.descending,
        values: Collected::default(),
    }))
}

/// The elements of a constant array.
fn elements(array: &Value) -> Vec<Value> {
    let Type::Array(element) = &array.ty else { return Vec::new() };
    let list = array.array.as_list::<i32>().value(0);
    (0..list.len()).map(|at| Value::new((**element).clone(), list.slice(at, 1))).collect()
}

struct Quantile {
    what: What,
    /// Whether the result is an array, of a value for each fraction.
    several: bool,
    fractions: Vec<Option<f64>>,
    ty: Type,
    descending: bool,
    values: Collected,
}

impl Quantile {
    /// Quantiles of floats: no sort, but a selection a fraction.
    fn floats(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let (columns, groups) = self.values.take(&[self.ty.to_arrow()])?;
        let values = columns[0].as_primitive::<Float64Type>().values();
        let (order, lengths) = by_group(&groups, n_groups);
        let mut sorted: Vec<f64> = order.values().iter().map(|&row| values[row as usize]).collect();
        let mut left = sorted.as_mut_slice();
        let (mut all, mut counts) = (Vec::with_capacity(n_groups), Vec::with_capacity(n_groups));
        for &n in &lengths {
            let (group, rest) = left.split_at_mut(n);
            left = rest;
            if !self.several {
                all.extend(select(group, &self.fractions[..1], self.what, self.descending));
                continue;
            }
            let fractions = if n > 0 { self.fractions.as_slice() } else { &[] };
            all.extend(select(group, fractions, self.what, self.descending));
            counts.push(fractions.len());
        }
        let all: ArrayRef = Arc::new(Float64Array::from(all));
        match self.several {
            false => Ok(all),
            true => lists(Type::Float8.element_field(), all, &counts, true),
        }
    }

    /// Values sorted by group and value, and where each group's begin.
    fn sorted(&mut self, n_groups: usize) -> Result<(ArrayRef, Vec<usize>)> {
        let (mut columns, groups) = self.values.take(&[self.ty.to_arrow()])?;
        let values = columns.remove(0);
        let normal = keys::normalize(&self.ty, &values)?;
        let options = SortOptions { descending: self.descending, nulls_first: false };
        let converter = keys::row_converter(std::slice::from_ref(&self.ty), &[options])?;
        let rows = converter.convert_columns(&[normal])?;
        let mut order: Vec<u32> = (0..groups.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            groups[a].cmp(&groups[b]).then_with(|| rows.row(a).cmp(&rows.row(b)))
        });
        let mut starts = vec![0; n_groups + 1];
        groups.iter().for_each(|&g| starts[g as usize + 1] += 1);
        for group in 0..n_groups {
            starts[group + 1] += starts[group];
        }
        Ok((take(&values, &UInt32Array::from(order), None)?, starts))
    }
}

/// Values at fractions of one group's floats, which are partly sorted by it: one selection a fraction.
fn select(values: &mut [f64], fractions: &[Option<f64>], what: What, descending: bool) -> Vec<Option<f64>> {
    let compare = |a: &f64, b: &f64| {
        let order = compare_floats(*a, *b);
        if descending { order.reverse() } else { order }
    };
    let at = |fraction: &Option<f64>| {
        let (low, high, part) = match what {
            What::Between => between((*fraction)?, 0, values.len())?,
            what => place((*fraction)?, values.len(), what)?,
        };
        let (_, value, above) = values.select_nth_unstable_by(low, compare);
        let value = *value;
        let next = if high == low { None } else { above.iter().copied().min_by(compare) };
        Some(mix(value, next.unwrap_or(value), part))
    };
    fractions.iter().map(at).collect()
}

impl Accumulator for Quantile {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        _n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let mask = rows_that_count(args[0].logical_nulls().as_ref(), filter);
        self.values.add(&args[..1], groups, mask)
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], _n_groups: usize) -> Result<()> {
        self.values.add_lists(states, groups)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let (columns, groups) = self.values.take(&[self.ty.to_arrow()])?;
        let (order, lengths) = by_group(&groups, n_groups);
        Ok(vec![lists(self.ty.element_field(), take(&columns[0], &order, None)?, &lengths, false)?])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        if self.ty == Type::Float8 && !matches!(self.what, What::At | What::Mode) {
            return self.floats(n_groups);
        }
        let (values, starts) = self.sorted(n_groups)?;
        if !self.several {
            return self.at(self.fractions[0], &values, &starts);
        }
        let columns = self.fractions.iter().map(|fraction| self.at(*fraction, &values, &starts));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let there = |group: usize| starts[group + 1] > starts[group];
        let counts: Vec<usize> = (0..n_groups).map(|group| if there(group) { columns.len() } else { 0 }).collect();
        let places =
            (0..n_groups).filter(|group| there(*group)).flat_map(|group| (0..columns.len()).map(move |c| (c, group)));
        let places: Vec<(usize, usize)> = places.collect();
        let columns: Vec<&dyn Array> = columns.iter().map(|column| column.as_ref()).collect();
        let all = match places.is_empty() {
            true => new_empty_array(&self.ty.to_arrow()),
            false => interleave(&columns, &places)?,
        };
        lists(self.ty.element_field(), all, &counts, true)
    }

    fn memory(&self) -> usize {
        self.values.memory()
    }
}

impl Quantile {
    /// The value at a fraction of each group's sorted values.
    fn at(&self, fraction: Option<f64>, values: &ArrayRef, starts: &[usize]) -> Result<ArrayRef> {
        let groups = || starts.windows(2).map(|w| (w[0], w[1] - w[0]));
        Ok(match self.what {
            What::Mode => {
                let places = groups().map(|(start, n)| most_frequent(&self.ty, values, start, n));
                take(values, &places.collect::<Result<Int64Array>>()?, None)?
            }
            What::At => {
                let places = groups().map(|(start, n)| {
                    let fraction = fraction.filter(|_| n > 0)?;
                    let row = ((fraction * n as f64).ceil() as usize).max(1) - 1;
                    Some((start + row) as i64)
                });
                take(values, &places.collect::<Int64Array>(), None)?
            }
            What::Past => {
                let places = groups().map(|(start, n)| Some((start + place(fraction?, n, self.what)?.0) as i64));
                take(values, &places.collect::<Int64Array>(), None)?
            }
            _ => {
                let values = values.as_primitive::<IntervalMonthDayNanoType>();
                let result = groups().map(|(start, n)| {
                    let (low, high, part) = between(fraction?, start, n)?;
                    Some(interval_between(values.value(low), values.value(high), part))
                });
                Arc::new(result.collect::<IntervalMonthDayNanoArray>())
            }
        })
    }
}

/// The two rows between which a fraction of `n` sorted rows falls, and how far between.
fn between(fraction: f64, start: usize, n: usize) -> Option<(usize, usize, f64)> {
    if n == 0 {
        return None;
    }
    let at = fraction * (n - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    Some((start + low, start + high, at - low as f64))
}

/// As [`between`], by another rule.
fn place(fraction: f64, n: usize, what: What) -> Option<(usize, usize, f64)> {
    let last = n.checked_sub(1)?;
    let row = match what {
        What::Exclusive => {
            let at = fraction * (n + 1) as f64;
            let row = at.floor() as usize;
            if (1..n).contains(&row) {
                return Some((row - 1, row, at.fract()));
            }
            if row == 0 { 0 } else { last }
        }
        What::PastLow if fraction == 0.5 => last / 2,
        _ => ((fraction * n as f64) as usize).min(last),
    };
    Some((row, row, 0.0))
}

fn mix(low: f64, high: f64, part: f64) -> f64 {
    if part == 0.0 { low } else { low + part * (high - low) }
}

fn interval_between(low: IntervalMonthDayNano, high: IntervalMonthDayNano, part: f64) -> IntervalMonthDayNano {
    let months = f64::from(high.months - low.months) * part;
    let days = f64::from(high.days - low.days) * part + months.fract() * 30.0;
    let micros = ((high.nanoseconds - low.nanoseconds) / 1000) as f64 * part + days.fract() * 86_400e6;
    IntervalMonthDayNano::new(
        low.months + months.trunc() as i32,
        low.days + days.trunc() as i32,
        low.nanoseconds + micros.round() as i64 * 1000,
    )
}

/// Where the longest run of equal values among sorted ones begins.
fn most_frequent(ty: &Type, values: &ArrayRef, start: usize, n: usize) -> Result<Option<i64>> {
    if n == 0 {
        return Ok(None);
    }
    let (mut best, mut best_length, mut run) = (start, 0, start);
    for row in start..=start + n {
        let ends = row == start + n
            || crate::kernels::compare::compare_rows(ty, values, run, values, row) != std::cmp::Ordering::Equal;
        if ends {
            if row - run > best_length {
                (best, best_length) = (run, row - run);
            }
            run = row;
        }
    }
    Ok(Some(best as i64))
}
