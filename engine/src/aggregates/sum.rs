//! sum.
//!
//! | argument | result | state |
//! |---|---|---|
//! | int2, int4, uint8, uint16 | int8 | bigint: the sum |
//! | int8, uint32, uint64 | numeric(38,0) | numeric(38,0): the sum |
//! | numeric(p,s) | numeric(38,s) | numeric(38,s): the sum |
//! | numeric | numeric | numeric: the sum |
//! | float4, float8 | the same | the exact sum (see [`super::exact`]), bigint: how many values |
//! | interval | interval | interval: the sum |
//!
//! The sum's column is NULL in a group without values.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float32Array, Float64Array, IntervalMonthDayNanoArray,
};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::exact::ExactSums;
use super::states::{Optional, TOGETHER, each_row, one_group, out_of_range, rows_that_count};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, function};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::numeric::{Numeric, NumericBuilder, of_decimal, value_at};

pub(super) fn functions() -> Vec<AggregateFunction> {
    let state = |args: &[Type], returns: &Type| match args[0] {
        Type::Float4 | Type::Float8 => vec![Type::Array(Box::new(Type::Float8)), Type::Int8],
        _ => vec![returns.clone()],
    };
    let returns = Returns::Computed(|args| sum_type(&args[0]));
    vec![function(
        &["sum", "sumWithOverflow", "sumKahan", "fsum"],
        "The sum of the values that are not NULL; NULL if there are none.",
        ("sum(x)", "6"),
        vec![
            AggregateOverload::new(vec![Param::AnyNumber], returns, state, create).either_form(),
            AggregateOverload::new(vec![Param::Exact(Type::Interval)], Returns::Exact(Type::Interval), state, create),
        ],
    )]
}

/// The type of a sum.
fn sum_type(arg: &Type) -> Type {
    match arg {
        Type::Int2 | Type::Int4 | Type::UInt8 | Type::UInt16 => Type::Int8,
        Type::Int8 | Type::UInt32 | Type::UInt64 => Type::Numeric(Some((38, 0))),
        Type::Numeric(Some((_, s))) => Type::Numeric(Some((38, *s))),
        other => other.clone(),
    }
}

fn create(call: &Call<'_>) -> Result<Box<dyn Accumulator>> {
    Ok(match &call.args[0] {
        Type::Float4 | Type::Float8 => {
            Box::new(FloatSum { float4: call.args[0] == Type::Float4, ..Default::default() })
        }
        Type::Numeric(None) => Box::new(NumericSum::default()),
        Type::Interval => Box::new(IntervalSum::default()),
        Type::Int2 | Type::Int4 | Type::UInt8 | Type::UInt16 => Box::new(SmallSum::default()),
        Type::Int8 | Type::UInt32 | Type::UInt64 | Type::Numeric(Some(_)) => {
            Box::new(WideSum { ty: call.returns.to_arrow(), sums: Optional::default() })
        }
        other => return Err(Error::internal(format!("no sum of {other}"))),
    })
}

/// `$walk` for the type of an integer column, or of a decimal's unscaled values.
macro_rules! of_integer {
    ($array:expr, $walk:ident($($arg:expr),*)) => {
        match $array.data_type() {
            DataType::Int16 => $walk::<Int16Type>($($arg),*),
            DataType::Int32 => $walk::<Int32Type>($($arg),*),
            DataType::Int64 => $walk::<Int64Type>($($arg),*),
            DataType::UInt8 => $walk::<UInt8Type>($($arg),*),
            DataType::UInt16 => $walk::<UInt16Type>($($arg),*),
            DataType::UInt32 => $walk::<UInt32Type>($($arg),*),
            DataType::UInt64 => $walk::<UInt64Type>($($arg),*),
            DataType::Decimal128(..) => $walk::<Decimal128Type>($($arg),*),
            other => return Err(Error::internal(format!("{other} is no integer"))),
        }
    };
}

/// Integers of which a few, those that are looked at together, are added up at once.
trait Summed: Sized {
    /// The sum of up to [`TOGETHER`]; `None` if it does not fit.
    fn sum(values: &[Self]) -> Option<i128>;
}

macro_rules! small {
    ($($ty:ty),*) => {$(
        impl Summed for $ty {
            #[inline]
            fn sum(values: &[$ty]) -> Option<i128> {
                Some(values.iter().fold(0, |sum, &value| sum + i64::from(value)).into())
            }
        }
    )*};
}
small!(i16, i32, u8, u16, u32);

impl Summed for u64 {
    #[inline]
    fn sum(values: &[u64]) -> Option<i128> {
        Some(halves(values.iter().copied()))
    }
}

impl Summed for i64 {
    #[inline]
    fn sum(values: &[i64]) -> Option<i128> {
        // Moved up to be unsigned, and back as a sum.
        let sum = halves(values.iter().map(|&value| value as u64 ^ 1 << 63));
        Some(sum - ((values.len() as i128) << 63))
    }
}

impl Summed for i128 {
    #[inline]
    fn sum(values: &[i128]) -> Option<i128> {
        values.iter().try_fold(0_i128, |sum, &value| sum.checked_add(value))
    }
}

/// The sum of words, of which the lower and the upper halves are added up by themselves: in 64 bits, as SIMD does.
#[inline]
fn halves(words: impl Iterator<Item = u64>) -> i128 {
    let (low, high) =
        words.fold((0, 0), |(low, high): (u64, u64), word| (low + (word & 0xFFFF_FFFF), high + (word >> 32)));
    i128::from(low) + (i128::from(high) << 32)
}

/// Calls `f` with a group, the sum of some of its values and how many those are, until all rows that count were among some: of any integer
/// column or a decimal's unscaled values. Fails if a sum of few does not fit.
#[inline]
pub(super) fn each_sum(
    array: &ArrayRef,
    groups: &[u32],
    filter: Option<&BooleanArray>,
    mut f: impl FnMut(usize, i128, i64),
) -> Result<()> {
    fn walk<T: ArrowPrimitiveType>(
        array: &ArrayRef,
        groups: &[u32],
        filter: Option<&BooleanArray>,
        f: &mut impl FnMut(usize, i128, i64),
    ) -> Result<()>
    where
        T::Native: Into<i128> + Summed,
    {
        let array = array.as_primitive::<T>();
        let values = array.values();
        if let Some(mask) = rows_that_count(array.nulls(), filter) {
            mask.set_indices().for_each(|row| f(groups[row] as usize, values[row].into(), 1));
            return Ok(());
        }
        let mut overflow = false;
        for (values, groups) in values.chunks(TOGETHER).zip(groups.chunks(TOGETHER)) {
            let Some(group) = one_group(groups) else {
                values.iter().zip(groups).for_each(|(&value, &group)| f(group as usize, value.into(), 1));
                continue;
            };
            let sum = T::Native::sum(values);
            overflow |= sum.is_none();
            let sum = sum.unwrap_or_default();
            f(group, sum, values.len() as i64);
        }
        if overflow { Err(out_of_range("numeric")) } else { Ok(()) }
    }
    of_integer!(array, walk(array, groups, filter, &mut f))
}

/// Calls `f` with the group and value of each row that counts, of any integer column or a decimal's unscaled values.
#[inline]
pub(super) fn each_integer(
    array: &ArrayRef,
    groups: &[u32],
    filter: Option<&BooleanArray>,
    mut f: impl FnMut(usize, i128),
) -> Result<()> {
    fn walk<T: ArrowPrimitiveType>(
        array: &ArrayRef,
        groups: &[u32],
        filter: Option<&BooleanArray>,
        f: &mut impl FnMut(usize, i128),
    ) where
        T::Native: Into<i128>,
    {
        let array = array.as_primitive::<T>();
        let values = array.values();
        each_row(groups, array.nulls(), filter, |row, group| f(group, values[row].into()));
    }
    of_integer!(array, walk(array, groups, filter, &mut f));
    Ok(())
}

/// Calls `f` with the group and value of each row that counts, of either float type.
#[inline]
pub(super) fn each_float(
    array: &ArrayRef,
    groups: &[u32],
    filter: Option<&BooleanArray>,
    mut f: impl FnMut(usize, f64),
) {
    match array.data_type() {
        DataType::Float32 => {
            let array = array.as_primitive::<Float32Type>();
            let values = array.values();
            each_row(groups, array.nulls(), filter, |row, group| f(group, f64::from(values[row])));
        }
        _ => {
            let array = array.as_primitive::<Float64Type>();
            let values = array.values();
            each_row(groups, array.nulls(), filter, |row, group| f(group, values[row]));
        }
    }
}

/// Sums of up to 32 bits in 64: a group would need 2^31 rows of the largest value to overflow, which is an error.
#[derive(Debug, Default)]
struct SmallSum {
    sums: Optional<i64>,
}

impl SmallSum {
    fn add<T: ArrowPrimitiveType>(
        &mut self,
        array: &ArrayRef,
        groups: &[u32],
        filter: Option<&BooleanArray>,
    ) -> Result<()>
    where
        T::Native: Into<i64>,
    {
        let array = array.as_primitive::<T>();
        let values = array.values();
        let (sums, there) = (&mut self.sums.values, &mut self.sums.there);
        let mut overflow = false;
        let mut add = |group: usize, value: i64| {
            let (sum, over) = sums[group].overflowing_add(value);
            sums[group] = sum;
            there[group] = true;
            overflow |= over;
        };
        match rows_that_count(array.nulls(), filter) {
            Some(mask) => mask.set_indices().for_each(|row| add(groups[row] as usize, values[row].into())),
            None => {
                for (values, groups) in values.chunks(TOGETHER).zip(groups.chunks(TOGETHER)) {
                    match one_group(groups) {
                        // Sums that are merged are of 64 bits; others are too short for so few to overflow.
                        Some(group) if size_of::<T::Native>() < size_of::<i64>() => {
                            add(group, values.iter().fold(0, |sum, &value| sum + value.into()));
                        }
                        _ => values.iter().zip(groups).for_each(|(&value, &group)| add(group as usize, value.into())),
                    }
                }
            }
        }
        if overflow { Err(out_of_range("bigint")) } else { Ok(()) }
    }
}

impl Accumulator for SmallSum {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.sums.resize(n_groups, 0);
        match args[0].data_type() {
            DataType::Int16 => self.add::<Int16Type>(&args[0], groups, filter),
            DataType::Int32 => self.add::<Int32Type>(&args[0], groups, filter),
            DataType::UInt8 => self.add::<UInt8Type>(&args[0], groups, filter),
            DataType::UInt16 => self.add::<UInt16Type>(&args[0], groups, filter),
            _ => self.add::<Int64Type>(&args[0], groups, filter),
        }
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.update(states, groups, n_groups, None)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.finish(n_groups)?])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.sums.resize(n_groups, 0);
        Ok(self.sums.take::<Int64Type>(&DataType::Int64))
    }

    fn memory(&self) -> usize {
        self.sums.memory()
    }
}

/// Sums in 128 bits: 64-bit integers and decimals.
#[derive(Debug)]
struct WideSum {
    ty: DataType,
    sums: Optional<i128>,
}

impl Accumulator for WideSum {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.sums.resize(n_groups, 0);
        let (sums, there) = (&mut self.sums.values, &mut self.sums.there);
        let mut overflow = false;
        each_sum(&args[0], groups, filter, |group, value, _| {
            let (sum, over) = sums[group].overflowing_add(value);
            sums[group] = sum;
            there[group] = true;
            overflow |= over;
        })?;
        if overflow { Err(out_of_range("numeric")) } else { Ok(()) }
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.update(states, groups, n_groups, None)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.finish(n_groups)?])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.sums.resize(n_groups, 0);
        let most = 10_i128.pow(38);
        if self.sums.values.iter().any(|v| v.unsigned_abs() >= most as u128) {
            return Err(Error::new(ErrorKind::NumericOutOfRange, "numeric field overflow")
                .with_detail("A sum has more than 38 digits."));
        }
        Ok(self.sums.take::<Decimal128Type>(&self.ty))
    }

    fn memory(&self) -> usize {
        self.sums.memory()
    }
}

/// Sums of numerics of any scale.
#[derive(Debug, Default)]
pub(super) struct NumericSum {
    sums: Vec<Option<Numeric>>,
    /// What came as decimals, unscaled: a part of the sum.
    decimals: Optional<i128>,
    /// Their scale.
    scale: i8,
}

/// Up to this decimals are added up as such: so many of them as are looked at together fit an `i128`.
const DECIMAL_MOST: u128 = i128::MAX as u128 / TOGETHER as u128;

impl NumericSum {
    fn add(&mut self, group: usize, value: &Numeric) -> Result<()> {
        let sum = &mut self.sums[group];
        *sum = Some(match sum.take() {
            None => value.clone(),
            Some(sum) => sum.add(value)?,
        });
        Ok(())
    }

    /// Adds decimals; gives whether it did, which it does not if they are too large.
    fn add_decimals(
        &mut self,
        array: &ArrayRef,
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<bool> {
        let decimals = array.as_primitive::<Decimal128Type>();
        if decimals.values().iter().fold(0, |bits, value| bits | value.unsigned_abs()) > DECIMAL_MOST {
            return Ok(false);
        }
        if decimals.scale() != self.scale {
            self.settle()?;
            self.scale = decimals.scale();
        }
        self.decimals.resize(n_groups, 0);
        let (sums, there, scale) = (&mut self.decimals.values, &mut self.decimals.there, self.scale);
        let mut carried = Vec::new();
        each_sum(array, groups, filter, |group, value, _| {
            there[group] = true;
            match sums[group].checked_add(value) {
                Some(sum) => sums[group] = sum,
                None => carried.push((group, std::mem::replace(&mut sums[group], value))),
            }
        })?;
        for (group, sum) in carried {
            self.add(group, &of_decimal(sum, scale))?;
        }
        Ok(true)
    }

    /// Adds what came as decimals to the sums.
    fn settle(&mut self) -> Result<()> {
        let decimals = std::mem::take(&mut self.decimals);
        for (group, _) in decimals.there.iter().enumerate().filter(|(_, there)| **there) {
            self.add(group, &of_decimal(decimals.values[group], self.scale))?;
        }
        Ok(())
    }

    /// The sums of groups `0..n_groups`, and forgets them.
    pub(super) fn take(&mut self, n_groups: usize) -> Result<Vec<Option<Numeric>>> {
        self.settle()?;
        let mut sums = std::mem::take(&mut self.sums);
        sums.resize(n_groups, None);
        Ok(sums)
    }
}

impl Accumulator for NumericSum {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.sums.resize(n_groups.max(self.sums.len()), None);
        let array = &args[0];
        if matches!(array.data_type(), DataType::Decimal128(..))
            && self.add_decimals(array, groups, n_groups, filter)?
        {
            return Ok(());
        }
        let mut result = Ok(());
        each_row(groups, array.nulls(), filter, |row, group| {
            if result.is_ok() {
                result = self.add(group, &value_at(array.as_ref(), row));
            }
        });
        result
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.update(states, groups, n_groups, None)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.finish(n_groups)?])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let mut builder = NumericBuilder::with_capacity(n_groups);
        self.take(n_groups)?.iter().for_each(|sum| builder.append_option(sum.as_ref()));
        Ok(Arc::new(builder.finish()))
    }

    fn memory(&self) -> usize {
        self.sums.capacity() * size_of::<Option<Numeric>>() + self.decimals.memory()
    }
}

/// Sums of floats.
#[derive(Debug, Default)]
struct FloatSum {
    float4: bool,
    sums: ExactSums,
    counts: Vec<i64>,
}

impl Accumulator for FloatSum {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.sums.resize(n_groups);
        self.counts.resize(n_groups.max(self.counts.len()), 0);
        each_float(&args[0], groups, filter, |group, value| {
            self.sums.add(group, value);
            self.counts[group] += 1;
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.sums.merge(&states[0], groups, n_groups);
        self.counts.resize(n_groups.max(self.counts.len()), 0);
        let counts = states[1].as_primitive::<Int64Type>().values();
        groups.iter().zip(counts).for_each(|(&group, &n)| self.counts[group as usize] += n);
        Ok(())
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let mut counts = std::mem::take(&mut self.counts);
        counts.resize(n_groups, 0);
        Ok(vec![self.sums.state(n_groups)?, Arc::new(arrow::array::Int64Array::from(counts))])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let counts = std::mem::take(&mut self.counts);
        let mut overflow = false;
        let mut value = |group: usize| {
            let sum = self.sums.value(group);
            let sum = if self.float4 { f64::from(sum as f32) } else { sum };
            overflow |= sum.is_infinite() && self.sums.is_finite(group);
            sum
        };
        let values = (0..n_groups).map(|g| (counts.get(g).is_some_and(|n| *n > 0)).then(|| value(g)));
        let result: ArrayRef = if self.float4 {
            Arc::new(values.map(|v| v.map(|v| v as f32)).collect::<Float32Array>())
        } else {
            Arc::new(values.collect::<Float64Array>())
        };
        if overflow {
            return Err(Error::new(ErrorKind::NumericOutOfRange, "value out of range: overflow"));
        }
        self.sums = ExactSums::default();
        Ok(result)
    }

    fn memory(&self) -> usize {
        self.sums.memory() + self.counts.capacity() * 8
    }
}

/// Sums of intervals: months, days and microseconds apart.
#[derive(Debug, Default)]
pub(super) struct IntervalSum {
    sums: Vec<Option<(i64, i64, i128)>>,
}

impl IntervalSum {
    /// A group's months, days and nanoseconds.
    pub(super) fn sum(&self, group: usize) -> Option<(i64, i64, i128)> {
        self.sums.get(group).copied().flatten()
    }
}

impl Accumulator for IntervalSum {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.sums.resize(n_groups.max(self.sums.len()), None);
        let array = args[0].as_primitive::<IntervalMonthDayNanoType>();
        each_row(groups, array.nulls(), filter, |row, group| {
            let v = array.value(row);
            let (months, days, nanos) = self.sums[group].unwrap_or_default();
            self.sums[group] =
                Some((months + i64::from(v.months), days + i64::from(v.days), nanos + i128::from(v.nanoseconds)));
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.update(states, groups, n_groups, None)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.finish(n_groups)?])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let values = (0..n_groups)
            .map(|group| self.sum(group).map(|(m, d, n)| interval(m, d, n)).transpose())
            .collect::<Result<Vec<_>>>()?;
        self.sums.clear();
        Ok(Arc::new(IntervalMonthDayNanoArray::from(values)))
    }

    fn memory(&self) -> usize {
        self.sums.capacity() * size_of::<Option<(i64, i64, i128)>>()
    }
}

/// An interval, if it is one.
pub(super) fn interval(months: i64, days: i64, nanos: i128) -> Result<IntervalMonthDayNano> {
    match (i32::try_from(months), i32::try_from(days), i64::try_from(nanos)) {
        (Ok(months), Ok(days), Ok(nanos)) => Ok(IntervalMonthDayNano::new(months, days, nanos)),
        _ => Err(Error::new(ErrorKind::DatetimeOutOfRange, "interval out of range")),
    }
}
