//! min and max of every ordered type.
//!
//! State: the value so far, NULL if there is none.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, StringViewArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::pick::Extreme;
use super::states::{Optional, TOGETHER, each_row, one_group, rows_that_count};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, function};
use crate::error::Result;
use crate::exec::keys;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let state = |args: &[Type], _: &Type| vec![args[0].clone()];
    let overload = |create| {
        vec![AggregateOverload::new(vec![Param::AnyElement], Returns::Argument(0), state, create).idempotent()]
    };
    vec![
        function(&["min"], "The least value that is not NULL.", ("min(x)", "1"), overload(|c| create(c, false))),
        function(&["max"], "The greatest value that is not NULL.", ("max(x)", "3"), overload(|c| create(c, true))),
    ]
}

fn create(call: &Call<'_>, max: bool) -> Result<Box<dyn Accumulator>> {
    fn fixed<T: ArrowPrimitiveType>(max: bool, ty: DataType) -> Box<dyn Accumulator>
    where
        T::Native: ArrowNativeTypeOp,
    {
        Box::new(Fixed::<T> { max, ty, best: Optional::default() })
    }
    let ty = &call.args[0];
    let arrow = ty.to_arrow();
    Ok(match arrow {
        DataType::Int16 => fixed::<Int16Type>(max, arrow),
        DataType::Int32 => fixed::<Int32Type>(max, arrow),
        DataType::Int64 => fixed::<Int64Type>(max, arrow),
        DataType::UInt8 => fixed::<UInt8Type>(max, arrow),
        DataType::UInt16 => fixed::<UInt16Type>(max, arrow),
        DataType::UInt32 => fixed::<UInt32Type>(max, arrow),
        DataType::UInt64 => fixed::<UInt64Type>(max, arrow),
        DataType::Float32 => fixed::<Float32Type>(max, arrow),
        DataType::Float64 => fixed::<Float64Type>(max, arrow),
        DataType::Date32 => fixed::<Date32Type>(max, arrow),
        DataType::Time64(_) => fixed::<Time64MicrosecondType>(max, arrow),
        DataType::Timestamp(..) => fixed::<TimestampMicrosecondType>(max, arrow),
        DataType::Decimal128(..) => fixed::<Decimal128Type>(max, arrow),
        DataType::Utf8View if !keys::has_variants(ty) => Box::new(Texts { max, best: Vec::new(), bytes: 0 }),
        // Among equal values that look different (1.0 and 1.00), the one whose bytes are least.
        _ => Box::new(Extreme::new(std::slice::from_ref(ty), &[(0, true, max), (0, false, false)], &[0])?),
    })
}

/// Machine numbers: order is total, NaN is the greatest.
struct Fixed<T: ArrowPrimitiveType> {
    max: bool,
    ty: DataType,
    best: Optional<T::Native>,
}

impl<T: ArrowPrimitiveType> Accumulator for Fixed<T>
where
    T::Native: ArrowNativeTypeOp,
{
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let start = if self.max { T::Native::MIN_TOTAL_ORDER } else { T::Native::MAX_TOTAL_ORDER };
        self.best.resize(n_groups, start);
        let array = match args[0].data_type() {
            // A NaN of any sign is the greatest.
            DataType::Float64 => &keys::normalize(&Type::Float8, &args[0])?,
            DataType::Float32 => &keys::normalize(&Type::Float4, &args[0])?,
            _ => &args[0],
        };
        let array = array.as_primitive::<T>();
        let values = array.values();
        let mask = rows_that_count(array.nulls(), filter);
        match self.max {
            true => pick(&mut self.best, values, groups, mask, |a, b| if a.is_gt(b) { a } else { b }),
            false => pick(&mut self.best, values, groups, mask, |a, b| if a.is_lt(b) { a } else { b }),
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.update(states, groups, n_groups, None)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.finish(n_groups)?])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.best.resize(n_groups, T::Native::ZERO);
        Ok(self.best.take::<T>(&self.ty))
    }

    fn memory(&self) -> usize {
        self.best.memory()
    }
}

/// Replaces each group's value by the better one of it and those of its rows that count.
#[inline]
fn pick<N: Copy>(
    best: &mut Optional<N>,
    values: &[N],
    groups: &[u32],
    mask: Option<BooleanBuffer>,
    better: impl Fn(N, N) -> N,
) {
    let mut add = |group: usize, value: N| {
        best.values[group] = better(value, best.values[group]);
        best.there[group] = true;
    };
    if let Some(mask) = mask {
        mask.set_indices().for_each(|row| add(groups[row] as usize, values[row]));
        return;
    }
    for (values, groups) in values.chunks(TOGETHER).zip(groups.chunks(TOGETHER)) {
        match (one_group(groups), values.split_first()) {
            (Some(group), Some((&first, rest))) => {
                add(group, rest.iter().fold(first, |best, &value| better(value, best)));
            }
            _ => values.iter().zip(groups).for_each(|(&value, &group)| add(group as usize, value)),
        }
    }
}

/// Texts, by bytes.
struct Texts {
    max: bool,
    best: Vec<Option<Box<str>>>,
    bytes: usize,
}

impl Accumulator for Texts {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.best.resize(n_groups.max(self.best.len()), None);
        let array = args[0].as_string_view();
        let (best, max, bytes) = (&mut self.best, self.max, &mut self.bytes);
        each_row(groups, array.nulls(), filter, |row, group| {
            let value = array.value(row);
            let better = match &best[group] {
                None => true,
                Some(best) if max => value > &**best,
                Some(best) => value < &**best,
            };
            if better {
                *bytes = (*bytes + value.len()).saturating_sub(best[group].as_deref().map_or(0, str::len));
                best[group] = Some(value.into());
            }
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
        self.best.resize(n_groups, None);
        self.bytes = 0;
        Ok(Arc::new(std::mem::take(&mut self.best).into_iter().collect::<StringViewArray>()))
    }

    fn memory(&self) -> usize {
        self.best.capacity() * 16 + self.bytes
    }
}
