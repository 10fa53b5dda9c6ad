//! ClickHouse's aggregates of one array, or of a lambda's values: arraySum, arrayAvg, arrayMin, arrayMax, arrayProduct, arrayCumSum, arrayDifference.
//!
//! NULL elements are passed over, as in aggregates. Sums of integers are bigints and raise 22003 where they do not fit.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::super::declare::{ARRAY, function};
use super::super::rows::{batch, column, is_valid, nulls_of, primitive_rows};
use super::super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use super::lambda::{element_of_first, over_lambda};
use super::{element_of, element_rows};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::compare::{comparator, floats};
use crate::kernels::numeric::{Numeric, NumericBuilder, value_at};

pub(super) fn functions() -> Vec<ScalarFunction> {
    let of = |element: Type, returns: Type, kernel: Kernel| {
        Overload::new(vec![Param::Exact(Type::Array(Box::new(element)))], Returns::Exact(returns), kernel)
    };
    let any = |returns: Returns, kernel: Kernel| {
        vec![Overload::new(vec![Param::AnyArray], returns.clone(), kernel), over_lambda(Param::Lambda, returns, kernel)]
    };
    let over = |body: Type, kernel: Kernel| {
        let returns = Returns::Exact(Type::Array(Box::new(body.clone())));
        over_lambda(Param::LambdaOf(body), returns, kernel)
    };
    let list = |ty: Type| Type::Array(Box::new(ty));
    vec![
        function(
            &["arraySum"],
            ARRAY,
            "The sum of the elements; 0 of none.",
            ("arraySum(ARRAY[1, 2, 3])", "6"),
            any(Returns::Computed(sum_type), sum),
        ),
        function(
            &["arrayAvg"],
            ARRAY,
            "The mean of the elements as a double; NULL of none.",
            ("arrayAvg(ARRAY[1, 2, 4])", "2.3333333333333335"),
            any(Returns::Exact(Type::Float8), |_, a, n, ty| {
                let (lists, values) = (column::<ListArray>(a, 0)?, doubles(a, ty)?);
                primitive_rows::<Float64Type>(a, n, ty, |row| {
                    let count = lists.range(row).filter(|&i| values.is_valid(i)).count();
                    let sum: f64 = lists.range(row).filter(|&i| values.is_valid(i)).map(|i| values.value(i)).sum();
                    Ok((count > 0).then(|| sum / count as f64))
                })
            }),
        ),
        function(
            &["arrayProduct"],
            ARRAY,
            "The product of the elements as a double; 1 of none.",
            ("arrayProduct(ARRAY[2, 3, 4])", "24"),
            any(Returns::Exact(Type::Float8), |_, a, n, ty| {
                let (lists, values) = (column::<ListArray>(a, 0)?, doubles(a, ty)?);
                primitive_rows::<Float64Type>(a, n, ty, |row| {
                    Ok(Some(lists.range(row).filter(|&i| values.is_valid(i)).map(|i| values.value(i)).product()))
                })
            }),
        ),
        function(
            &["arrayMin"],
            ARRAY,
            "The smallest element; NULL of none.",
            ("arrayMin(ARRAY[3, 1, 2])", "1"),
            any(Returns::Computed(element_of_first), |_, a, n, ty| extreme(a, n, ty, Ordering::Less)),
        ),
        function(
            &["arrayMax"],
            ARRAY,
            "The largest element; NULL of none.",
            ("arrayMax(ARRAY[3, 1, 2])", "3"),
            any(Returns::Computed(element_of_first), |_, a, n, ty| extreme(a, n, ty, Ordering::Greater)),
        ),
        function(
            &["arrayCumSum"],
            ARRAY,
            "The sums of the elements up to each.",
            ("arrayCumSum(ARRAY[1, 2, 3])", "{1,3,6}"),
            vec![
                of(Type::Int8, list(Type::Int8), |_, a, n, ty| whole(a, n, ty, Running::Sums)),
                of(Type::Float8, list(Type::Float8), |_, a, n, ty| fractional(a, n, ty, Running::Sums)),
                over(Type::Int8, |_, a, n, ty| whole(a, n, ty, Running::Sums)),
                over(Type::Float8, |_, a, n, ty| fractional(a, n, ty, Running::Sums)),
            ],
        ),
        function(
            &["arrayCumSumNonNegative"],
            ARRAY,
            "The sums of the elements up to each, where one that is below 0 is 0.",
            ("arrayCumSumNonNegative(ARRAY[1, -3, 2])", "{1,0,2}"),
            vec![
                of(Type::Int8, list(Type::Int8), |_, a, n, ty| whole(a, n, ty, Running::NonNegative)),
                of(Type::Float8, list(Type::Float8), |_, a, n, ty| fractional(a, n, ty, Running::NonNegative)),
                over(Type::Int8, |_, a, n, ty| whole(a, n, ty, Running::NonNegative)),
                over(Type::Float8, |_, a, n, ty| fractional(a, n, ty, Running::NonNegative)),
            ],
        ),
        function(
            &["arrayDifference"],
            ARRAY,
            "The difference of each element to the one before; 0 for the first.",
            ("arrayDifference(ARRAY[1, 3, 6])", "{0,2,3}"),
            vec![
                of(Type::Int8, list(Type::Int8), |_, a, n, ty| whole(a, n, ty, Running::Differences)),
                of(Type::Float8, list(Type::Float8), |_, a, n, ty| fractional(a, n, ty, Running::Differences)),
                over(Type::Int8, |_, a, n, ty| whole(a, n, ty, Running::Differences)),
                over(Type::Float8, |_, a, n, ty| fractional(a, n, ty, Running::Differences)),
            ],
        ),
    ]
}

fn sum_type(types: &[Type]) -> Type {
    match types.first() {
        Some(Type::Array(element)) => match &**element {
            Type::Float4 | Type::Float8 => Type::Float8,
            Type::Numeric(_) | Type::UInt64 => Type::Numeric(None),
            _ => Type::Int8,
        },
        _ => Type::Int8,
    }
}

fn no_number(ty: &Type) -> Error {
    let message = format!("the elements of {ty} are not numbers");
    Error::new(ErrorKind::Sql(weir_sql::ErrorKind::DatatypeMismatch), message)
}

/// The elements of the argument as doubles.
fn doubles(args: &[Datum], types: &Types<'_>) -> Result<Float64Array> {
    if !element_of(&types.args[0])?.is_number() {
        return Err(no_number(&types.args[0]));
    }
    let lists = column::<ListArray>(args, 0)?;
    Ok(Float64Array::new(floats(lists.values()).into(), lists.values().logical_nulls()))
}

fn out_of_range() -> Error {
    Error::new(ErrorKind::NumericOutOfRange, "bigint out of range")
}

fn sum(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let lists = column::<ListArray>(args, 0)?;
    let values = lists.values();
    if !element_of(&types.args[0])?.is_number() {
        return Err(no_number(&types.args[0]));
    }
    match types.result {
        Type::Float8 => {
            let values = doubles(args, types)?;
            primitive_rows::<Float64Type>(args, rows, types, |row| {
                Ok(Some(lists.range(row).filter(|&i| values.is_valid(i)).map(|i| values.value(i)).sum()))
            })
        }
        Type::Int8 => {
            let wide = arrow_cast(values, &DataType::Int64)?;
            let wide = wide.as_primitive::<Int64Type>();
            primitive_rows::<Int64Type>(args, rows, types, |row| {
                let mut there = lists.range(row).filter(|&i| wide.is_valid(i)).map(|i| wide.value(i));
                there.try_fold(0_i64, i64::checked_add).map(Some).ok_or_else(out_of_range)
            })
        }
        _ => batch(args, rows, types, |rows| {
            let nulls = nulls_of(args, rows);
            let exact: ArrayRef = match values.data_type() {
                DataType::UInt64 => arrow_cast(values, &DataType::Decimal128(20, 0))?,
                _ => values.clone(),
            };
            let mut out = NumericBuilder::with_capacity(rows);
            for row in 0..rows {
                if !is_valid(&nulls, row) {
                    out.append_null();
                    continue;
                }
                let mut there = lists.range(row).filter(|&i| exact.is_valid(i)).map(|i| value_at(&exact, i));
                out.append(&there.try_fold(Numeric::ZERO, |sum, value| sum.add(&value))?);
            }
            Ok(Arc::new(out.finish()))
        }),
    }
}

fn extreme(args: &[Datum], rows: usize, types: &Types<'_>, better: Ordering) -> Result<Datum> {
    let lists = column::<ListArray>(args, 0)?;
    let values = lists.values();
    let order = comparator(types.result, values.as_ref(), values.as_ref());
    element_rows(args, rows, types, values, |row| {
        let there = lists.range(row).filter(|&i| values.is_valid(i));
        Ok(there.reduce(|best, next| if order(next, best) == better { next } else { best }))
    })
}

/// What is told of each element and those before it.
#[derive(Clone, Copy, PartialEq)]
enum Running {
    Sums,
    /// Sums that begin at 0 again where they would be below.
    NonNegative,
    Differences,
}

/// Running sums, or differences to the one before, of bigints; NULL elements count as 0.
fn whole(args: &[Datum], rows: usize, types: &Types<'_>, running: Running) -> Result<Datum> {
    let lists = column::<ListArray>(args, 0)?;
    let values = lists.values().as_primitive::<Int64Type>();
    super::clickhouse::numbers(args, rows, types, |row, out| {
        let mut before = None;
        for i in lists.range(row) {
            let value = if values.is_valid(i) { values.value(i) } else { 0 };
            let next = match running {
                Running::Differences => value.checked_sub(before.unwrap_or(value)),
                _ => value.checked_add(before.unwrap_or(0)),
            };
            let next = next.ok_or_else(out_of_range)?;
            let next = if running == Running::NonNegative { next.max(0) } else { next };
            out.push(next);
            before = Some(if running == Running::Differences { value } else { next });
        }
        Ok(())
    })
}

/// As [`whole`], of doubles.
fn fractional(args: &[Datum], rows: usize, types: &Types<'_>, running: Running) -> Result<Datum> {
    let lists = column::<ListArray>(args, 0)?;
    let values = lists.values().as_primitive::<Float64Type>();
    batch(args, rows, types, |rows| {
        let nulls = nulls_of(args, rows);
        let (mut out, mut lengths) = (Vec::new(), Vec::with_capacity(rows));
        for row in 0..rows {
            let start = out.len();
            let mut before = None;
            for i in if is_valid(&nulls, row) { lists.range(row) } else { 0..0 } {
                let value = if values.is_valid(i) { values.value(i) } else { 0.0 };
                let next = match running {
                    Running::Differences => value - before.unwrap_or(value),
                    _ => value + before.unwrap_or(0.0),
                };
                let next = if running == Running::NonNegative && next < 0.0 { 0.0 } else { next };
                out.push(next);
                before = Some(if running == Running::Differences { value } else { next });
            }
            lengths.push(out.len() - start);
        }
        let values: ArrayRef = Arc::new(Float64Array::from(out));
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(Type::Float8.element_field(), offsets, values, nulls)?))
    })
}
