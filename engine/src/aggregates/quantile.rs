//! Quantiles, the median and the mode: over all values, sorted at the end.
//!
//! State: the list of values that are not NULL. Where these are sorted elsewhere and pass by in order, only those are kept that are asked for.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, IntervalMonthDayNanoArray, UInt32Array, UInt64Array,
    new_empty_array,
};
use arrow::compute::{SortOptions, concat, interleave, take};
use arrow::datatypes::{Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType};
use arrow::row::Rows;
use weir_sql::catalog::{Param, Returns};
use weir_sql::{Type, Value};

use super::moments::float_of;
use super::states::{Collected, by_group, lists, rows_that_count};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, Create, function};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::array_bytes;
use crate::exec::keys;
use crate::kernels::compare::compare_rows;

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
        picked: None,
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
    /// What was kept of values in order.
    picked: Option<Picked>,
}

impl Quantile {
    /// Quantiles of floats: no sort, but a selection a fraction.
    fn floats(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let (columns, groups) = self.values.take(&[self.ty.to_arrow()])?;
        let values = columns[0].as_primitive::<Float64Type>().values();
        let (mut sorted, lengths): (Vec<u64>, Vec<usize>) = match n_groups {
            1 => (values.iter().map(|&value| place_of(value)).collect(), vec![values.len()]),
            _ => {
                let (order, lengths) = by_group(&groups, n_groups);
                (order.values().iter().map(|&row| place_of(values[row as usize])).collect(), lengths)
            }
        };
        if self.descending {
            sorted.iter_mut().for_each(|place| *place = !*place);
        }
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

    /// What values are sorted by.
    fn encode(&self, values: &ArrayRef) -> Result<Rows> {
        let normal = keys::normalize(&self.ty, values)?;
        let options = SortOptions { descending: self.descending, nulls_first: false };
        Ok(keys::row_converter(std::slice::from_ref(&self.ty), &[options])?.convert_columns(&[normal])?)
    }

    /// Values sorted by group and value.
    fn sorted(&mut self, n_groups: usize) -> Result<Sorted> {
        let (mut columns, groups) = self.values.take(&[self.ty.to_arrow()])?;
        let values = columns.remove(0);
        let rows = self.encode(&values)?;
        let mut order: Vec<u32> = (0..groups.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| {
            let (a, b) = (a as usize, b as usize);
            groups[a].cmp(&groups[b]).then_with(|| rows.row(a).cmp(&rows.row(b)))
        });
        let mut counts = vec![0; n_groups];
        groups.iter().for_each(|&g| counts[g as usize] += 1);
        Ok(Sorted::new(take(&values, &UInt32Array::from(order), None)?, counts, None))
    }

    /// Which of a group's `n` sorted values a fraction falls on, or between which two, and how far between.
    fn rows(&self, fraction: Option<f64>, n: usize) -> Option<(usize, usize, f64)> {
        match self.what {
            What::Between => between(fraction?, n),
            What::At => {
                let row = fraction.map(|fraction| ((fraction * n as f64).ceil() as usize).max(1) - 1);
                row.filter(|_| n > 0).map(|row| (row, row, 0.0))
            }
            what => place(fraction?, n, what),
        }
    }
}

/// A double as an integer that orders like it, NaN last: selecting among integers needs no branch for each.
fn place_of(value: f64) -> u64 {
    let bits = if value.is_nan() { f64::NAN } else { value }.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The double of a place.
fn value_of(place: u64) -> f64 {
    f64::from_bits(if place >> 63 == 1 { place & !(1 << 63) } else { !place })
}

/// Values at fractions of one group's floats, given by their places, which are partly sorted by it: one selection a fraction.
fn select(places: &mut [u64], fractions: &[Option<f64>], what: What, descending: bool) -> Vec<Option<f64>> {
    let value = |place: u64| value_of(if descending { !place } else { place });
    let at = |fraction: &Option<f64>| {
        let (low, high, part) = match what {
            What::Between => between((*fraction)?, places.len())?,
            what => place((*fraction)?, places.len(), what)?,
        };
        let (_, &mut nth, above) = places.select_nth_unstable(low);
        let next = if high == low { None } else { above.iter().min() };
        Some(mix(value(nth), value(next.copied().unwrap_or(nth)), part))
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
        if n_groups == 1 {
            return Ok(vec![lists(self.ty.element_field(), columns[0].clone(), &[groups.len()], false)?]);
        }
        let (order, lengths) = by_group(&groups, n_groups);
        Ok(vec![lists(self.ty.element_field(), take(&columns[0], &order, None)?, &lengths, false)?])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let values = match self.picked.take() {
            Some(picked) => picked.finish(&self.ty, n_groups)?,
            None if self.ty == Type::Float8 && !matches!(self.what, What::At | What::Mode) => {
                return self.floats(n_groups);
            }
            None => self.sorted(n_groups)?,
        };
        if !self.several {
            return self.at(self.fractions[0], &values);
        }
        let columns = self.fractions.iter().map(|fraction| self.at(*fraction, &values));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let there = |group: usize| values.counts[group] > 0;
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
        self.values.memory() + self.picked.as_ref().map_or(0, Picked::memory)
    }

    fn is_sorted(&self) -> bool {
        true
    }

    fn sort_keys(&self, rows: &[ArrayRef]) -> Result<Rows> {
        self.encode(&rows[0])
    }

    fn in_order(&mut self, rows: &[ArrayRef], groups: &[u32], counts: &[usize]) -> Result<()> {
        let values = &rows[0];
        let mut picked = self.picked.take().unwrap_or_default();
        picked.counts = counts.to_vec();
        let mut at = 0;
        for own in groups.chunk_by(|a, b| a == b) {
            let (group, rows) = (own[0], at..at + own.len());
            at = rows.end;
            if picked.group != Some(group) {
                picked.end_run();
                (picked.group, picked.passed) = (Some(group), 0);
                let n = counts[group as usize];
                picked.wanted = match self.what {
                    What::Mode => Vec::new(),
                    _ => self.fractions.iter().filter_map(|f| self.rows(*f, n)).flat_map(|r| [r.0, r.1]).collect(),
                };
                picked.wanted.sort_unstable();
                picked.wanted.dedup();
            }
            if self.what == What::Mode {
                picked.count_runs(&self.ty, values, rows)?;
                continue;
            }
            let first = picked.passed;
            picked.passed += rows.len();
            let until = picked.wanted.partition_point(|&nth| nth < picked.passed);
            for nth in picked.wanted.drain(..until).collect::<Vec<_>>() {
                picked.keep(group, nth, values.slice(rows.start + nth - first, 1))?;
            }
        }
        self.picked = Some(picked);
        Ok(())
    }
}

/// Of values that pass by in order of group and value, those that are wanted.
#[derive(Default)]
struct Picked {
    counts: Vec<usize>,
    /// The group that passes, how many of its values did, and the numbers of those that are still wanted.
    group: Option<u32>,
    passed: usize,
    wanted: Vec<usize>,
    /// For the mode: the value that passes and how often it did, and the group's best so far.
    run: Option<(ArrayRef, usize)>,
    best: Option<(ArrayRef, usize)>,
    values: Vec<ArrayRef>,
    places: Vec<(u32, usize)>,
}

impl Picked {
    fn keep(&mut self, group: u32, nth: usize, value: ArrayRef) -> Result<()> {
        // A copy: what it is a slice of shall not be held.
        self.values.push(take(&value, &UInt32Array::from(vec![0]), None)?);
        self.places.push((group, nth));
        Ok(())
    }

    /// Counts how often each value is there.
    fn count_runs(&mut self, ty: &Type, values: &ArrayRef, rows: std::ops::Range<usize>) -> Result<()> {
        for row in rows {
            match &mut self.run {
                Some((value, n)) if compare_rows(ty, value, 0, values, row).is_eq() => *n += 1,
                _ => {
                    self.best_of_run();
                    self.run = Some((values.slice(row, 1), 1));
                }
            }
        }
        if let Some((value, _)) = &mut self.run {
            *value = take(value, &UInt32Array::from(vec![0]), None)?;
        }
        Ok(())
    }

    fn best_of_run(&mut self) {
        if let Some(run) = self.run.take()
            && self.best.as_ref().is_none_or(|best| best.1 < run.1)
        {
            self.best = Some(run);
        }
    }

    /// The group has ended.
    fn end_run(&mut self) {
        self.best_of_run();
        if let (Some((value, _)), Some(group)) = (self.best.take(), self.group) {
            self.values.push(value);
            self.places.push((group, 0));
        }
    }

    fn finish(mut self, ty: &Type, n_groups: usize) -> Result<Sorted> {
        self.end_run();
        self.counts.resize(n_groups, 0);
        let none = new_empty_array(&ty.to_arrow());
        let values = std::iter::once(&none).chain(&self.values).map(AsRef::as_ref).collect::<Vec<_>>();
        Ok(Sorted::new(concat(&values)?, self.counts, Some(self.places)))
    }

    fn memory(&self) -> usize {
        self.values.iter().map(array_bytes).sum::<usize>() + (self.counts.len() + 2 * self.places.len()) * 8
    }
}

/// Values in order of group and value: all, or those that are asked for.
struct Sorted {
    values: ArrayRef,
    /// How many each group has of all.
    counts: Vec<usize>,
    starts: Vec<usize>,
    /// Which value of which group each one is, unless all are here.
    places: Option<Vec<(u32, usize)>>,
}

impl Sorted {
    fn new(values: ArrayRef, counts: Vec<usize>, places: Option<Vec<(u32, usize)>>) -> Sorted {
        let mut end = 0;
        let starts = counts.iter().map(|count| {
            end += count;
            end - count
        });
        Sorted { starts: starts.collect(), values, counts, places }
    }

    /// Where a group's value of this number is.
    fn row(&self, group: usize, nth: usize) -> Result<usize> {
        match &self.places {
            None => Ok(self.starts[group] + nth),
            Some(places) => places
                .binary_search(&(group as u32, nth))
                .map_err(|_| Error::internal("a value that is asked for was not kept")),
        }
    }
}

impl Quantile {
    /// The value at a fraction of each group's sorted values.
    fn at(&self, fraction: Option<f64>, sorted: &Sorted) -> Result<ArrayRef> {
        let values = &sorted.values;
        let mut rows = Vec::with_capacity(sorted.counts.len());
        for (group, &n) in sorted.counts.iter().enumerate() {
            rows.push(match self.what {
                What::Mode if n == 0 => None,
                What::Mode if sorted.places.is_some() => Some((sorted.row(group, 0)?, 0, 0.0)),
                What::Mode => Some((most_frequent(&self.ty, values, sorted.starts[group], n), 0, 0.0)),
                _ => match self.rows(fraction, n) {
                    Some((low, high, part)) => Some((sorted.row(group, low)?, sorted.row(group, high)?, part)),
                    None => None,
                },
            });
        }
        Ok(match (self.what, &self.ty) {
            (What::Mode | What::At, _) | (What::Past, Type::Date | Type::Timestamp | Type::Timestamptz) => {
                let rows: UInt64Array = rows.iter().map(|row| row.map(|(low, _, _)| low as u64)).collect();
                take(values, &rows, None)?
            }
            (_, Type::Float8) => {
                let values = values.as_primitive::<Float64Type>();
                let mixed = |(low, high, part): (usize, usize, f64)| mix(values.value(low), values.value(high), part);
                Arc::new(rows.into_iter().map(|row| row.map(mixed)).collect::<Float64Array>())
            }
            _ => {
                let values = values.as_primitive::<IntervalMonthDayNanoType>();
                let mixed = |(low, high, part): (usize, usize, f64)| {
                    interval_between(values.value(low), values.value(high), part)
                };
                Arc::new(rows.into_iter().map(|row| row.map(mixed)).collect::<IntervalMonthDayNanoArray>())
            }
        })
    }
}

/// The two rows between which a fraction of `n` sorted rows falls, and how far between.
fn between(fraction: f64, n: usize) -> Option<(usize, usize, f64)> {
    if n == 0 {
        return None;
    }
    let at = fraction * (n - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    Some((low, high, at - low as f64))
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
fn most_frequent(ty: &Type, values: &ArrayRef, start: usize, n: usize) -> usize {
    let (mut best, mut best_length, mut run) = (start, 0, start);
    for row in start..=start + n {
        let ends = row == start + n || compare_rows(ty, values, run, values, row).is_ne();
        if ends {
            if row - run > best_length {
                (best, best_length) = (run, row - run);
            }
            run = row;
        }
    }
    best
}
