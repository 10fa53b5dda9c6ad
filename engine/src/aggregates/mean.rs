//! avg.
//!
//! | argument | result | state |
//! |---|---|---|
//! | integers, numeric(p,s) | numeric | numeric(38,s): the sum; bigint: how many |
//! | numeric | numeric | numeric: the sum; bigint: how many |
//! | float4, float8 | float8 | the exact sum (see [`super::exact`]); bigint: how many |
//! | interval | interval | interval: the sum; bigint: how many |

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, IntervalMonthDayNanoArray};
use arrow::datatypes::{Decimal128Type, Int64Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::exact::ExactSums;
use super::states::{Optional, each_row, out_of_range};
use super::sum::{IntervalSum, NumericSum, each_float, each_sum, interval};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, function};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::numeric::{Numeric, NumericBuilder};

pub(super) fn functions() -> Vec<AggregateFunction> {
    let state = |args: &[Type], _: &Type| vec![sum_type(&args[0]), Type::Int8];
    let returns = Returns::Computed(|args| match args[0] {
        Type::Float4 | Type::Float8 => Type::Float8,
        _ => Type::Numeric(None),
    });
    vec![function(
        &["avg", "mean"],
        "The mean of the values that are not NULL; NULL if there are none.",
        ("avg(x)", "2.0000000000000000"),
        vec![
            AggregateOverload::new(vec![Param::AnyNumber], returns, state, create).either_form(),
            AggregateOverload::new(vec![Param::Exact(Type::Interval)], Returns::Exact(Type::Interval), state, create),
        ],
    )]
}

fn sum_type(arg: &Type) -> Type {
    match arg {
        Type::Float4 | Type::Float8 => Type::Array(Box::new(Type::Float8)),
        Type::Numeric(Some((_, s))) => Type::Numeric(Some((38, *s))),
        Type::Numeric(None) | Type::Interval => arg.clone(),
        _ => Type::Numeric(Some((38, 0))),
    }
}

fn create(call: &Call<'_>) -> Result<Box<dyn Accumulator>> {
    let sums = match &call.args[0] {
        Type::Float4 | Type::Float8 => Sums::Float(ExactSums::default()),
        Type::Numeric(None) => Sums::Numeric(NumericSum::default()),
        Type::Interval => Sums::Interval(IntervalSum::default()),
        Type::Numeric(Some((_, s))) if *s >= 0 => Sums::Wide(Optional::default(), *s),
        ty if ty.is_integer() => Sums::Wide(Optional::default(), 0),
        other => return Err(Error::internal(format!("no mean of {other}"))),
    };
    Ok(Box::new(Mean { sums, counts: Vec::new() }))
}

#[derive(Debug)]
enum Sums {
    /// Unscaled, and the scale.
    Wide(Optional<i128>, i8),
    Numeric(NumericSum),
    Float(ExactSums),
    Interval(IntervalSum),
}

#[derive(Debug)]
struct Mean {
    sums: Sums,
    counts: Vec<i64>,
}

impl Accumulator for Mean {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.counts.resize(n_groups.max(self.counts.len()), 0);
        let counts = &mut self.counts;
        match &mut self.sums {
            Sums::Wide(sums, _) => {
                sums.resize(n_groups, 0);
                let mut overflow = false;
                each_sum(&args[0], groups, filter, |group, value, n| {
                    let (sum, over) = sums.values[group].overflowing_add(value);
                    sums.values[group] = sum;
                    counts[group] += n;
                    overflow |= over;
                })?;
                if overflow {
                    return Err(out_of_range("numeric"));
                }
                return Ok(());
            }
            Sums::Float(sums) => {
                sums.resize(n_groups);
                each_float(&args[0], groups, filter, |group, value| {
                    sums.add(group, value);
                    counts[group] += 1;
                });
                return Ok(());
            }
            Sums::Numeric(sums) => sums.update(args, groups, n_groups, filter)?,
            Sums::Interval(sums) => sums.update(args, groups, n_groups, filter)?,
        }
        each_row(groups, args[0].nulls(), filter, |_, group| counts[group] += 1);
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        match &mut self.sums {
            Sums::Wide(sums, _) => {
                sums.resize(n_groups, 0);
                let mut overflow = false;
                each_sum(&states[0], groups, None, |group, value, _| {
                    let (sum, over) = sums.values[group].overflowing_add(value);
                    sums.values[group] = sum;
                    overflow |= over;
                })?;
                if overflow {
                    return Err(out_of_range("numeric"));
                }
            }
            Sums::Float(sums) => sums.merge(&states[0], groups, n_groups),
            Sums::Numeric(sums) => sums.merge(&states[..1], groups, n_groups)?,
            Sums::Interval(sums) => sums.merge(&states[..1], groups, n_groups)?,
        }
        self.counts.resize(n_groups.max(self.counts.len()), 0);
        let counts = states[1].as_primitive::<Int64Type>().values();
        groups.iter().zip(counts).for_each(|(&group, &n)| self.counts[group as usize] += n);
        Ok(())
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let mut counts = std::mem::take(&mut self.counts);
        counts.resize(n_groups, 0);
        let sums = match &mut self.sums {
            Sums::Wide(sums, scale) => {
                sums.resize(n_groups, 0);
                sums.there.fill(true);
                sums.take::<Decimal128Type>(&Type::Numeric(Some((38, *scale))).to_arrow())
            }
            Sums::Numeric(sums) => sums.state(n_groups)?.remove(0),
            Sums::Float(sums) => sums.state(n_groups)?,
            Sums::Interval(sums) => sums.state(n_groups)?.remove(0),
        };
        Ok(vec![sums, Arc::new(Int64Array::from(counts))])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let mut counts = std::mem::take(&mut self.counts);
        counts.resize(n_groups, 0);
        let count = |n: i64| Numeric::Small(i128::from(n), 0);
        Ok(match &mut self.sums {
            Sums::Wide(sums, scale) => {
                let mut builder = NumericBuilder::with_capacity(n_groups);
                for (group, &n) in counts.iter().enumerate() {
                    match n {
                        0 => builder.append_null(),
                        _ => builder.append(&Numeric::Small(sums.values[group], *scale as u16).div(&count(n))?),
                    }
                }
                *sums = Optional::default();
                Arc::new(builder.finish())
            }
            Sums::Numeric(sums) => {
                let mut builder = NumericBuilder::with_capacity(n_groups);
                for (sum, &n) in sums.take(n_groups)?.iter().zip(&counts) {
                    match sum {
                        Some(sum) if n > 0 => builder.append(&sum.div(&count(n))?),
                        _ => builder.append_null(),
                    }
                }
                Arc::new(builder.finish())
            }
            Sums::Float(sums) => {
                let means = counts.iter().enumerate().map(|(group, &n)| (n > 0).then(|| sums.value(group) / n as f64));
                let result: Float64Array = means.collect();
                if result.iter().enumerate().any(|(g, v)| v.is_some_and(f64::is_infinite) && sums.is_finite(g)) {
                    return Err(Error::new(ErrorKind::NumericOutOfRange, "value out of range: overflow"));
                }
                *sums = ExactSums::default();
                Arc::new(result)
            }
            Sums::Interval(sums) => {
                let mut values = Vec::with_capacity(n_groups);
                for (group, &n) in counts.iter().enumerate() {
                    values.push(match sums.sum(group) {
                        Some((months, days, nanos)) if n > 0 => Some(divide_interval(months, days, nanos, n)?),
                        _ => None,
                    });
                }
                *sums = IntervalSum::default();
                Arc::new(IntervalMonthDayNanoArray::from(values))
            }
        })
    }

    fn memory(&self) -> usize {
        let sums = match &self.sums {
            Sums::Wide(sums, _) => sums.memory(),
            Sums::Numeric(sums) => sums.memory(),
            Sums::Float(sums) => sums.memory(),
            Sums::Interval(sums) => sums.memory(),
        };
        sums + self.counts.capacity() * 8
    }
}

/// What a division leaves of months goes to days (30 a month), what it leaves of days to microseconds, rounded, as Postgres's `interval / n` does.
fn divide_interval(months: i64, days: i64, nanos: i128, n: i64) -> Result<arrow::datatypes::IntervalMonthDayNano> {
    const DAY_MICROS: i128 = 86_400_000_000;
    let n = i128::from(n);
    let (months, days, micros) = (i128::from(months), i128::from(days), nanos / 1000);
    // The rest of months in days, as a fraction over n; its whole days stay days.
    let (month_quotient, month_rest) = (months / n, months % n);
    let rest_days = month_rest * 30;
    let (day_quotient, day_rest) = (days / n + rest_days / n, days % n + rest_days % n);
    let (extra, day_rest) = (day_rest / n, day_rest % n);
    let total = micros + day_rest * DAY_MICROS;
    let rounded = (2 * total.abs() + n) / (2 * n) * total.signum();
    interval(month_quotient as i64, (day_quotient + extra) as i64, rounded * 1000)
}
