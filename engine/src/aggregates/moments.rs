//! Variance, standard deviation, covariance, correlation and linear regression.
//!
//! All keep sums of powers and products, exactly, so that neither order nor splits matter: integers and numerics in whole numbers, floats
//! in exact sums (see [`super::exact`]). The end then needs no running correction: of exact sums, `n * sum(x^2) - sum(x)^2` is taken in
//! double-double arithmetic (floats) or in whole numbers.
//!
//! State of variance over integers and numerics: bigint n, numeric sum(x), numeric sum(x^2). Over floats: bigint n, exact
//! sum(x), exact sum(x^2). Of functions of two floats (y, x): bigint n, exact sums of x, y, x^2, y^2 and x*y.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use num_bigint::BigInt;
use num_traits::ToPrimitive;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::exact::{ExactSums, two_product, two_sum};
use super::states::each_row;
use super::sum::{each_float, each_integer};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, Create, function};
use crate::error::{Error, Result};
use crate::kernels::numeric::{Numeric, NumericBuilder, decode_at, from_values};

pub(super) fn functions() -> Vec<AggregateFunction> {
    let returns = || {
        Returns::Computed(|args| match args[0] {
            Type::Float4 | Type::Float8 => Type::Float8,
            _ => Type::Numeric(None),
        })
    };
    let state = |args: &[Type], _: &Type| match args[0] {
        Type::Float4 | Type::Float8 => vec![Type::Int8, exact(), exact()],
        _ => vec![Type::Int8, Type::Numeric(None), Type::Numeric(None)],
    };
    let one = |create: Create| vec![AggregateOverload::new(vec![Param::AnyNumber], returns(), state, create)];
    let two = |create: Create| {
        let params = vec![Param::Exact(Type::Float8), Param::Exact(Type::Float8)];
        let state = |_: &[Type], _: &Type| vec![Type::Int8, exact(), exact(), exact(), exact(), exact()];
        vec![AggregateOverload::new(params, Returns::Exact(Type::Float8), state, create)]
    };
    let count = {
        let params = vec![Param::Exact(Type::Float8), Param::Exact(Type::Float8)];
        let state = |_: &[Type], _: &Type| vec![Type::Int8, exact(), exact(), exact(), exact(), exact()];
        vec![AggregateOverload::new(params, Returns::Exact(Type::Int8), state, |_| pairs(Pair::Count))]
    };
    let line = {
        let params = vec![Param::Exact(Type::Float8), Param::Exact(Type::Float8)];
        let state = |_: &[Type], _: &Type| vec![Type::Int8, exact(), exact(), exact(), exact(), exact()];
        vec![AggregateOverload::new(params, Returns::Exact(line_type()), state, |_| pairs(Pair::Line))]
    };
    vec![
        function(
            &["var_samp", "variance", "varSamp", "varSampStable"],
            "The sample variance; NULL for fewer than two values.",
            ("var_samp(x)", "1.00000000000000000000"),
            one(|call| spread(call, true, false)),
        ),
        function(
            &["var_pop", "varPop", "varPopStable"],
            "The population variance.",
            ("var_pop(x)", "0.66666666666666666667"),
            one(|call| spread(call, false, false)),
        ),
        function(
            &["stddev_samp", "stddev", "stddevSamp", "stddevSampStable"],
            "The sample standard deviation; NULL for fewer than two values.",
            ("stddev_samp(x)", "1.00000000000000000000"),
            one(|call| spread(call, true, true)),
        ),
        function(
            &["stddev_pop", "stddevPop", "stddevPopStable"],
            "The population standard deviation.",
            ("stddev_pop(x)", "0.81649658092772603273"),
            one(|call| spread(call, false, true)),
        ),
        function(
            &["covar_pop", "covarPop", "covarPopStable"],
            "The population covariance.",
            ("", ""),
            two(|_| pairs(Pair::CovarPop)),
        ),
        function(
            &["covar_samp", "covarSamp", "covarSampStable"],
            "The sample covariance.",
            ("", ""),
            two(|_| pairs(Pair::CovarSamp)),
        ),
        function(
            &["corr", "corrStable"],
            "The correlation coefficient.",
            ("corr(x, x)", "1"),
            two(|_| pairs(Pair::Corr)),
        ),
        function(&["regr_count"], "The number of rows in which both are not NULL.", ("regr_count(x, x)", "3"), count),
        function(&["regr_sxx"], "The sum of squares of x around its mean.", ("", ""), two(|_| pairs(Pair::Sxx))),
        function(&["regr_syy"], "The sum of squares of y around its mean.", ("", ""), two(|_| pairs(Pair::Syy))),
        function(&["regr_sxy"], "The sum of products around the means.", ("", ""), two(|_| pairs(Pair::Sxy))),
        function(&["regr_avgx"], "The mean of x.", ("", ""), two(|_| pairs(Pair::AvgX))),
        function(&["regr_avgy"], "The mean of y.", ("", ""), two(|_| pairs(Pair::AvgY))),
        function(&["regr_slope"], "The slope of the least-squares line.", ("", ""), two(|_| pairs(Pair::Slope))),
        function(&["regr_intercept"], "Where that line meets x = 0.", ("", ""), two(|_| pairs(Pair::Intercept))),
        function(
            &["avgWeighted"],
            "The mean of values, each of which counts as its weight says: avgWeighted(value, weight).",
            ("avgWeighted(x, x)", "2.3333333333333335"),
            two(|_| pairs(Pair::Weighted)),
        ),
        function(
            &["simpleLinearRegression"],
            "The least-squares line through points (x, y): a record of its slope k and of b, where it meets x = 0.",
            ("simpleLinearRegression(x, 2 * x + 1)", "(2,1)"),
            line,
        ),
        function(&["regr_r2"], "The square of the correlation coefficient.", ("", ""), two(|_| pairs(Pair::R2))),
    ]
}

/// Slope and intercept.
fn line_type() -> Type {
    Type::Record(vec![("k".into(), Type::Float8), ("b".into(), Type::Float8)])
}

fn exact() -> Type {
    Type::Array(Box::new(Type::Float8))
}

fn spread(call: &Call<'_>, sample: bool, root: bool) -> Result<Box<dyn Accumulator>> {
    let how = Spread { sample, root };
    Ok(match &call.args[0] {
        Type::Float4 | Type::Float8 => {
            Box::new(FloatSpread { how, counts: Vec::new(), sums: Default::default(), squares: Default::default() })
        }
        Type::Numeric(Some((_, s))) if *s < 0 => return Err(Error::internal("no variance of a negative scale")),
        Type::Numeric(Some((_, s))) => Box::new(WholeSpread { how, scale: Some(*s as u16), sums: Vec::new() }),
        Type::Numeric(None) => Box::new(WholeSpread { how, scale: None, sums: Vec::new() }),
        _ => Box::new(WholeSpread { how, scale: Some(0), sums: Vec::new() }),
    })
}

#[derive(Debug, Clone, Copy)]
struct Spread {
    sample: bool,
    root: bool,
}

/// n, sum and sum of squares, in whole numbers: of unscaled values where all have one scale.
#[derive(Debug, Clone, Default)]
struct Powers {
    n: i64,
    sum: i128,
    squares: u128,
    /// What does not fit, and numerics of any scale.
    rest: Option<Box<(Numeric, Numeric)>>,
}

#[derive(Debug)]
struct WholeSpread {
    how: Spread,
    scale: Option<u16>,
    sums: Vec<Powers>,
}

impl WholeSpread {
    fn add_numeric(powers: &mut Powers, sum: &Numeric, squares: &Numeric) -> Result<()> {
        let rest = powers.rest.get_or_insert_with(|| Box::new((Numeric::ZERO, Numeric::ZERO)));
        rest.0 = rest.0.add(sum)?;
        rest.1 = rest.1.add(squares)?;
        Ok(())
    }

    /// n, sum(x), sum(x^2) of a group.
    fn totals(&self, group: usize) -> Result<(i64, Numeric, Numeric)> {
        let powers = &self.sums[group];
        let scale = self.scale.unwrap_or(0);
        let mut sum = Numeric::Small(powers.sum, scale);
        let mut squares = Numeric::finite(BigInt::from(powers.squares), 2 * scale);
        if let Some(rest) = &powers.rest {
            sum = sum.add(&rest.0)?;
            squares = squares.add(&rest.1)?;
        }
        Ok((powers.n, sum, squares))
    }
}

impl Accumulator for WholeSpread {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.sums.resize(n_groups.max(self.sums.len()), Powers::default());
        let sums = &mut self.sums;
        let mut result = Ok(());
        match self.scale {
            Some(scale) => each_integer(&args[0], groups, filter, |group, value| {
                let powers = &mut sums[group];
                powers.n += 1;
                let square = (value.unsigned_abs() <= u128::from(u64::MAX)).then(|| value.unsigned_abs().pow(2));
                let next = square.and_then(|s| Some((powers.sum.checked_add(value)?, powers.squares.checked_add(s)?)));
                match next {
                    Some((sum, squares)) => (powers.sum, powers.squares) = (sum, squares),
                    None if result.is_ok() => {
                        let big = BigInt::from(value);
                        let square = Numeric::finite(&big * &big, 2 * scale);
                        result = Self::add_numeric(powers, &Numeric::finite(big, scale), &square);
                    }
                    None => {}
                }
            })?,
            None => {
                let array = args[0].as_binary_view();
                each_row(groups, array.nulls(), filter, |row, group| {
                    if result.is_ok() {
                        let value = decode_at(array, row);
                        sums[group].n += 1;
                        result = value.mul(&value).and_then(|s| Self::add_numeric(&mut sums[group], &value, &s));
                    }
                });
            }
        }
        result
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.sums.resize(n_groups.max(self.sums.len()), Powers::default());
        let counts = states[0].as_primitive::<Int64Type>().values();
        let (sums, squares) = (states[1].as_binary_view(), states[2].as_binary_view());
        for (row, &group) in groups.iter().enumerate() {
            let powers = &mut self.sums[group as usize];
            powers.n += counts[row];
            Self::add_numeric(powers, &decode_at(sums, row), &decode_at(squares, row))?;
        }
        Ok(())
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        self.sums.resize(n_groups, Powers::default());
        let mut counts = Vec::with_capacity(n_groups);
        let (mut sums, mut squares) = (Vec::with_capacity(n_groups), Vec::with_capacity(n_groups));
        for group in 0..n_groups {
            let (n, sum, square) = self.totals(group)?;
            counts.push(n);
            sums.push(Some(sum));
            squares.push(Some(square));
        }
        self.sums.clear();
        Ok(vec![Arc::new(Int64Array::from(counts)), Arc::new(from_values(sums)), Arc::new(from_values(squares))])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.sums.resize(n_groups, Powers::default());
        let mut builder = NumericBuilder::with_capacity(n_groups);
        for group in 0..n_groups {
            let (n, sum, squares) = self.totals(group)?;
            builder.append_option(numeric_spread(self.how, n, &sum, &squares)?.as_ref());
        }
        self.sums.clear();
        Ok(Arc::new(builder.finish()))
    }

    fn memory(&self) -> usize {
        self.sums.capacity() * size_of::<Powers>()
    }
}

/// As Postgres's numeric_stddev_internal.
fn numeric_spread(how: Spread, n: i64, sum: &Numeric, squares: &Numeric) -> Result<Option<Numeric>> {
    if n == 0 || (how.sample && n == 1) {
        return Ok(None);
    }
    if !sum.is_finite() || !squares.is_finite() {
        return Ok(Some(Numeric::NaN));
    }
    let count = Numeric::Small(i128::from(n), 0);
    let over = count.mul(squares)?.sub(&sum.mul(sum)?)?;
    if over.signum() <= 0 {
        return Ok(Some(Numeric::ZERO));
    }
    let under = count.mul(&Numeric::Small(i128::from(if how.sample { n - 1 } else { n }), 0))?;
    let variance = over.div(&under)?;
    if !how.root {
        return Ok(Some(variance));
    }
    Ok(Some(root(&variance)))
}

/// The square root at the same scale, rounded.
fn root(value: &Numeric) -> Numeric {
    let scale = value.scale();
    // sqrt(m / 10^s) at scale s, with one more digit to round by.
    let widened = value.unscaled() * BigInt::from(10).pow(u32::from(scale) + 2);
    let root = widened.sqrt();
    Numeric::finite((root + 5_u8) / 10_u8, scale)
}

/// Two floats that together are a number of about 32 digits.
type Double = (f64, f64);

fn times(a: Double, b: Double) -> Double {
    let (product, rest) = two_product(a.0, b.0);
    two_sum(product, rest + a.0 * b.1 + a.1 * b.0)
}

fn minus(a: Double, b: Double) -> Double {
    let (high, rest) = two_sum(a.0, -b.0);
    let (low, rest_low) = two_sum(a.1, -b.1);
    let (high, rest) = two_sum(high, rest + low);
    two_sum(high, rest + rest_low)
}

/// `sum(xy) - sum(x) * sum(y) / n`, computed as `(n * sum(xy) - sum(x) * sum(y)) / n`.
fn around_means(n: i64, products: Double, x: Double, y: Double) -> f64 {
    let n = (n as f64, 0.0);
    let over = minus(times(n, products), times(x, y));
    over.0 / n.0
}

#[derive(Debug)]
struct FloatSpread {
    how: Spread,
    counts: Vec<i64>,
    sums: ExactSums,
    squares: ExactSums,
}

impl Accumulator for FloatSpread {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.counts.resize(n_groups.max(self.counts.len()), 0);
        self.sums.resize(n_groups);
        self.squares.resize(n_groups);
        each_float(&args[0], groups, filter, |group, value| {
            self.counts[group] += 1;
            self.sums.add(group, value);
            self.squares.add_product(group, value, value);
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.counts.resize(n_groups.max(self.counts.len()), 0);
        let counts = states[0].as_primitive::<Int64Type>().values();
        groups.iter().zip(counts).for_each(|(&group, &n)| self.counts[group as usize] += n);
        self.sums.merge(&states[1], groups, n_groups);
        self.squares.merge(&states[2], groups, n_groups);
        Ok(())
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let mut counts = std::mem::take(&mut self.counts);
        counts.resize(n_groups, 0);
        Ok(vec![Arc::new(Int64Array::from(counts)), self.sums.state(n_groups)?, self.squares.state(n_groups)?])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let mut counts = std::mem::take(&mut self.counts);
        counts.resize(n_groups, 0);
        let values = counts.iter().enumerate().map(|(group, &n)| {
            if n == 0 || (self.how.sample && n == 1) {
                return None;
            }
            let (sum, squares) = (self.sums.double(group), self.squares.double(group));
            if !sum.0.is_finite() || !squares.0.is_finite() {
                return Some(f64::NAN);
            }
            let over = around_means(n, squares, sum, sum).max(0.0);
            let variance = over / if self.how.sample { (n - 1) as f64 } else { n as f64 };
            Some(if self.how.root { variance.sqrt() } else { variance })
        });
        let result: Float64Array = values.collect();
        self.sums = ExactSums::default();
        self.squares = ExactSums::default();
        Ok(Arc::new(result))
    }

    fn memory(&self) -> usize {
        self.counts.capacity() * 8 + self.sums.memory() + self.squares.memory()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Pair {
    Count,
    CovarPop,
    CovarSamp,
    Corr,
    Sxx,
    Syy,
    Sxy,
    AvgX,
    AvgY,
    Slope,
    Intercept,
    R2,
    Weighted,
    Line,
}

fn pairs(what: Pair) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Pairs { what, counts: Vec::new(), sums: Default::default() }))
}

/// Sums over pairs (y, x), in this order as in SQL.
#[derive(Debug)]
struct Pairs {
    what: Pair,
    counts: Vec<i64>,
    /// x, y, xx, yy, xy
    sums: [ExactSums; 5],
}

impl Pairs {
    fn resize(&mut self, n_groups: usize) {
        self.counts.resize(n_groups.max(self.counts.len()), 0);
        self.sums.iter_mut().for_each(|s| s.resize(n_groups));
    }

    fn value(&self, group: usize) -> Option<f64> {
        let n = self.counts[group];
        if n == 0 {
            return None;
        }
        let [x, y, xx, yy, xy] = [0, 1, 2, 3, 4].map(|i| self.sums[i].double(group));
        let (sxx, syy, sxy) = (around_means(n, xx, x, x), around_means(n, yy, y, y), around_means(n, xy, x, y));
        let (sxx, syy) = (sxx.max(0.0), syy.max(0.0));
        let rows = n as f64;
        match self.what {
            Pair::Count | Pair::Line => None,
            Pair::Weighted => Some(xy.0 / x.0),
            Pair::CovarPop => Some(sxy / rows),
            Pair::CovarSamp => (n > 1).then(|| sxy / (rows - 1.0)),
            Pair::Corr => (sxx != 0.0 && syy != 0.0).then(|| sxy / (sxx * syy).sqrt()),
            Pair::Sxx => Some(sxx),
            Pair::Syy => Some(syy),
            Pair::Sxy => Some(sxy),
            Pair::AvgX => Some(x.0 / rows),
            Pair::AvgY => Some(y.0 / rows),
            Pair::Slope => (sxx != 0.0).then(|| sxy / sxx),
            Pair::Intercept => (sxx != 0.0).then(|| (y.0 - x.0 * sxy / sxx) / rows),
            Pair::R2 if sxx == 0.0 => None,
            Pair::R2 if syy == 0.0 => Some(1.0),
            Pair::R2 => Some((sxy * sxy) / (sxx * syy)),
        }
    }
}

impl Pairs {
    /// The slope and intercept of the line through pairs that are given the other way round: (x, y).
    fn lines(&self, n_groups: usize) -> Result<ArrayRef> {
        let line = |group: usize| {
            let n = self.counts[group];
            let [y, x, xx, xy] = [0, 1, 3, 4].map(|i: usize| self.sums[i].double(group));
            let slope = around_means(n, xy, x, y) / around_means(n, xx, x, x).max(0.0);
            (slope, (y.0 - x.0 * slope) / n as f64)
        };
        let (slopes, intercepts): (Vec<f64>, Vec<f64>) = (0..n_groups).map(line).unzip();
        let DataType::Struct(fields) = line_type().to_arrow() else {
            return Err(Error::internal("a line is a record"));
        };
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Float64Array::from(slopes)), Arc::new(Float64Array::from(intercepts))];
        let nulls = NullBuffer::from_iter(self.counts[..n_groups].iter().map(|&n| n > 0));
        Ok(Arc::new(StructArray::try_new(fields, columns, Some(nulls))?))
    }
}

impl Accumulator for Pairs {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.resize(n_groups);
        let (y, x) = (args[0].as_primitive::<Float64Type>(), args[1].as_primitive::<Float64Type>());
        let nulls = NullBuffer::union(y.nulls(), x.nulls());
        let (ys, xs) = (y.values(), x.values());
        each_row(groups, nulls.as_ref(), filter, |row, group| {
            let (x, y) = (xs[row], ys[row]);
            self.counts[group] += 1;
            self.sums[0].add(group, x);
            self.sums[1].add(group, y);
            self.sums[2].add_product(group, x, x);
            self.sums[3].add_product(group, y, y);
            self.sums[4].add_product(group, x, y);
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
        let result: ArrayRef = match self.what {
            Pair::Count => Arc::new(Int64Array::from(self.counts[..n_groups].to_vec())),
            Pair::Line => self.lines(n_groups)?,
            _ => Arc::new((0..n_groups).map(|group| self.value(group)).collect::<Float64Array>()),
        };
        self.counts.clear();
        self.sums = Default::default();
        Ok(result)
    }

    fn memory(&self) -> usize {
        self.counts.capacity() * 8 + self.sums.iter().map(ExactSums::memory).sum::<usize>()
    }
}

/// A constant parameter as a float.
pub(super) fn float_of(value: &weir_sql::Value) -> Option<f64> {
    if value.is_null() {
        return None;
    }
    match &value.ty {
        Type::Numeric(_) => Some(crate::kernels::numeric::value_at(&value.array, 0).to_f64()),
        Type::Float4 | Type::Float8 => {
            let mut result = None;
            each_float(&value.array, &[0], None, |_, v| result = Some(v));
            result
        }
        ty if ty.is_integer() => {
            let mut result = None;
            each_integer(&value.array, &[0], None, |_, v| result = v.to_f64()).ok()?;
            result
        }
        _ => None,
    }
}
