//! Comparison of two columns of one type, as Postgres orders values.
//!
//! Text compares by bytes ("C" collation). Floats treat -0 and 0 as equal, and NaN as equal to itself and larger than all else. Numerics
//! compare by value, whatever their scales; intervals by their length with a month of 30 days of 24 hours; arrays element by element, then
//! by length; records field by field. NULL elements and fields are equal to each other and larger than all else.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Decimal128Array, IntervalMonthDayNanoArray, Scalar,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::cmp;
use arrow::datatypes::{
    ArrowNativeTypeOp, DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use weir_sql::Type;
use weir_storage::bits;

use super::numeric::{self, Numeric};
use crate::error::Result;
use crate::functions::Datum;

/// What is asked of each pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// IS DISTINCT FROM
    Distinct,
    /// IS NOT DISTINCT FROM
    NotDistinct,
}

impl Comparison {
    /// Whether the answer is yes for values (not NULLs) in this order.
    #[inline]
    pub fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Eq | Comparison::NotDistinct => order == Ordering::Equal,
            Comparison::Ne | Comparison::Distinct => order != Ordering::Equal,
            Comparison::Lt => order == Ordering::Less,
            Comparison::Le => order != Ordering::Greater,
            Comparison::Gt => order == Ordering::Greater,
            Comparison::Ge => order != Ordering::Less,
        }
    }

    /// What is asked of a pair whose sides changed places.
    pub fn mirrored(self) -> Comparison {
        match self {
            Comparison::Lt => Comparison::Gt,
            Comparison::Le => Comparison::Ge,
            Comparison::Gt => Comparison::Lt,
            Comparison::Ge => Comparison::Le,
            other => other,
        }
    }
}

/// Compares row by row two columns (or scalars) of the type `ty`, or of two number types where `ty` is any number type. The result is a
/// scalar where both sides are.
pub fn compare(op: Comparison, ty: &Type, left: &Datum, right: &Datum, rows: usize) -> Result<Datum> {
    if let (Datum::Scalar(_), Datum::Scalar(_)) = (left, right) {
        let answer = compare_sides(op, ty, &Side::column(left.array()), &Side::column(right.array()), 1)?;
        return Ok(Datum::Scalar(weir_sql::Value::new(Type::Bool, Arc::new(answer))));
    }
    Ok(Datum::Array(Arc::new(compare_sides(op, ty, &Side::of(left), &Side::of(right), rows)?)))
}

/// Compares two arrays of the same length row by row.
pub fn compare_arrays(op: Comparison, ty: &Type, left: &ArrayRef, right: &ArrayRef) -> Result<BooleanArray> {
    compare_sides(op, ty, &Side::column(left), &Side::column(right), left.len())
}

/// The order of two values, neither NULL, of columns of the type `ty`.
pub fn compare_rows(ty: &Type, left: &dyn Array, i: usize, right: &dyn Array, j: usize) -> Ordering {
    comparator(ty, left, right)(i, j)
}

/// One side of a comparison: a column, or one value for all rows.
struct Side<'a> {
    array: &'a ArrayRef,
    scalar: bool,
}

impl<'a> Side<'a> {
    fn of(datum: &'a Datum) -> Side<'a> {
        Side { array: datum.array(), scalar: matches!(datum, Datum::Scalar(_)) }
    }

    fn column(array: &'a ArrayRef) -> Side<'a> {
        Side { array, scalar: false }
    }

    #[inline]
    fn index(&self, row: usize) -> usize {
        if self.scalar { 0 } else { row }
    }

    fn nulls(&self, rows: usize) -> Option<NullBuffer> {
        match (self.array.logical_nulls(), self.scalar) {
            (Some(nulls), true) => nulls.is_null(0).then(|| NullBuffer::new_null(rows)),
            (nulls, _) => nulls,
        }
    }
}

fn compare_sides(op: Comparison, ty: &Type, left: &Side, right: &Side, rows: usize) -> Result<BooleanArray> {
    let values = match (left.array.data_type(), right.array.data_type()) {
        _ if ty.is_number() => number_values(op, left, right, rows),
        (DataType::Decimal128(..), _) | (_, DataType::Decimal128(..)) => number_values(op, left, right, rows),
        (DataType::Interval(_), _) => {
            let (a, b) = (intervals(left.array), intervals(right.array));
            primitive_values(op, &a, left.scalar, &b, right.scalar, rows, |a, b| a.cmp(&b))
        }
        (DataType::List(_) | DataType::Struct(_), _) => general_values(op, ty, left, right, rows),
        _ if matches!(ty, Type::Bpchar(_) | Type::Jsonb | Type::Map(_)) => general_values(op, ty, left, right, rows),
        _ => return arrow_compare(op, left, right),
    };
    let (a, b) = (left.nulls(rows), right.nulls(rows));
    Ok(match op {
        Comparison::Distinct | Comparison::NotDistinct => {
            if a.is_none() && b.is_none() {
                return Ok(BooleanArray::new(values, None));
            }
            let all = || BooleanBuffer::new_set(rows);
            let valid_a = a.map_or_else(all, |n| n.inner().clone());
            let valid_b = b.map_or_else(all, |n| n.inner().clone());
            let both = &valid_a & &valid_b;
            let one = &valid_a ^ &valid_b;
            if op == Comparison::Distinct {
                BooleanArray::new(&(&values & &both) | &one, None)
            } else {
                let neither = !&(&valid_a | &valid_b);
                BooleanArray::new(&(&values & &both) | &neither, None)
            }
        }
        _ => BooleanArray::new(values, NullBuffer::union(a.as_ref(), b.as_ref())),
    })
}

/// Arrow's kernels have Postgres's semantics for every type without floats inside.
fn arrow_compare(op: Comparison, left: &Side, right: &Side) -> Result<BooleanArray> {
    let kernel = match op {
        Comparison::Eq => cmp::eq,
        Comparison::Ne => cmp::neq,
        Comparison::Lt => cmp::lt,
        Comparison::Le => cmp::lt_eq,
        Comparison::Gt => cmp::gt,
        Comparison::Ge => cmp::gt_eq,
        Comparison::Distinct => cmp::distinct,
        Comparison::NotDistinct => cmp::not_distinct,
    };
    Ok(match (left.scalar, right.scalar) {
        (false, false) => kernel(left.array, right.array)?,
        (true, false) => kernel(&Scalar::new(Arc::clone(left.array)), right.array)?,
        (false, true) => kernel(left.array, &Scalar::new(Arc::clone(right.array)))?,
        (true, true) => kernel(&Scalar::new(Arc::clone(left.array)), &Scalar::new(Arc::clone(right.array)))?,
    })
}

/// The order of floats: NaN equal to itself and largest, zeros equal.
#[inline]
pub fn compare_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[inline]
fn primitive_values<T: Copy>(
    op: Comparison,
    a: &[T],
    a_scalar: bool,
    b: &[T],
    b_scalar: bool,
    rows: usize,
    order: impl Fn(T, T) -> Ordering + Copy,
) -> BooleanBuffer {
    // One loop an operator, so that each vectorises.
    match op {
        Comparison::Eq | Comparison::NotDistinct => {
            each_pair(a, a_scalar, b, b_scalar, rows, |x, y| order(x, y).is_eq())
        }
        Comparison::Ne | Comparison::Distinct => each_pair(a, a_scalar, b, b_scalar, rows, |x, y| order(x, y).is_ne()),
        Comparison::Lt => each_pair(a, a_scalar, b, b_scalar, rows, |x, y| order(x, y).is_lt()),
        Comparison::Le => each_pair(a, a_scalar, b, b_scalar, rows, |x, y| order(x, y).is_le()),
        Comparison::Gt => each_pair(a, a_scalar, b, b_scalar, rows, |x, y| order(x, y).is_gt()),
        Comparison::Ge => each_pair(a, a_scalar, b, b_scalar, rows, |x, y| order(x, y).is_ge()),
    }
}

#[inline]
fn each_pair<T: Copy>(
    a: &[T],
    a_scalar: bool,
    b: &[T],
    b_scalar: bool,
    rows: usize,
    holds: impl Fn(T, T) -> bool,
) -> BooleanBuffer {
    match (a_scalar, b_scalar) {
        (false, false) => bits::of_pairs(&a[..rows], &b[..rows], holds),
        (false, true) => {
            let y = b[0];
            bits::of(&a[..rows], |x| holds(x, y))
        }
        (true, false) => {
            let x = a[0];
            bits::of(&b[..rows], |y| holds(x, y))
        }
        (true, true) => {
            let (x, y) = (a[0], b[0]);
            BooleanBuffer::collect_bool(rows, |_| holds(x, y))
        }
    }
}

/// Floats, one loop an operator so that each vectorises. `a >= b` and the like are false for NaN, which the second term puts right.
fn float_values<T: Copy + PartialOrd>(
    op: Comparison,
    (a, a_scalar): (&[T], bool),
    (b, b_scalar): (&[T], bool),
    rows: usize,
) -> BooleanBuffer {
    #[allow(clippy::eq_op)]
    fn nan<T: Copy + PartialOrd>(v: T) -> bool {
        v != v
    }
    match op {
        Comparison::Eq | Comparison::NotDistinct => {
            each_pair(a, a_scalar, b, b_scalar, rows, |x, y| (x == y) | (nan(x) & nan(y)))
        }
        Comparison::Ne | Comparison::Distinct => {
            each_pair(a, a_scalar, b, b_scalar, rows, |x, y| !((x == y) | (nan(x) & nan(y))))
        }
        Comparison::Lt => each_pair(a, a_scalar, b, b_scalar, rows, |x, y| (x < y) | (nan(y) & !nan(x))),
        Comparison::Le => each_pair(a, a_scalar, b, b_scalar, rows, |x, y| (x <= y) | nan(y)),
        Comparison::Gt => each_pair(a, a_scalar, b, b_scalar, rows, |x, y| (x > y) | (nan(x) & !nan(y))),
        Comparison::Ge => each_pair(a, a_scalar, b, b_scalar, rows, |x, y| (x >= y) | nan(x)),
    }
}

/// Numbers of any two types: by the native comparison where the types are equal, and exactly by value otherwise.
fn number_values(op: Comparison, left: &Side, right: &Side, rows: usize) -> BooleanBuffer {
    use DataType::*;
    let (a, b) = (left.array.data_type(), right.array.data_type());
    macro_rules! same {
        ($t:ty) => {{
            let (a, b) = (left.array.as_primitive::<$t>().values(), right.array.as_primitive::<$t>().values());
            primitive_values(op, a, left.scalar, b, right.scalar, rows, |x, y| x.compare(y))
        }};
    }
    match (a, b) {
        (Int16, Int16) => same!(Int16Type),
        (Int32, Int32) => same!(Int32Type),
        (Int64, Int64) => same!(Int64Type),
        (UInt8, UInt8) => same!(UInt8Type),
        (UInt16, UInt16) => same!(UInt16Type),
        (UInt32, UInt32) => same!(UInt32Type),
        (UInt64, UInt64) => same!(UInt64Type),
        (Float32, Float32) => {
            let (a, b) = (left.array.as_primitive::<Float32Type>(), right.array.as_primitive::<Float32Type>());
            float_values(op, (a.values(), left.scalar), (b.values(), right.scalar), rows)
        }
        (Decimal128(_, s), Decimal128(_, t)) if s == t => same!(Decimal128Type),
        (Float32 | Float64, _) | (_, Float32 | Float64) => {
            let (a, b) = (floats(left.array), floats(right.array));
            float_values(op, (&a, left.scalar), (&b, right.scalar), rows)
        }
        (BinaryView, _) | (_, BinaryView) => numeric_values(op, left, right, rows),
        _ => {
            if let Some(values) = narrowed(op, left, right, rows) {
                return values;
            }
            let (scale_a, scale_b) = (scale_of(a), scale_of(b));
            let scale = scale_a.max(scale_b);
            match (widened(left.array, scale - scale_a), widened(right.array, scale - scale_b)) {
                (Some(a), Some(b)) => {
                    primitive_values(op, &a, left.scalar, &b, right.scalar, rows, |x: i128, y| x.cmp(&y))
                }
                _ => numeric_values(op, left, right, rows),
            }
        }
    }
}

/// A column of integers or decimals beside one value of another such type: the value is put in the column's type, so that the column need not
/// be widened. `None` if the value has digits that the column's type does not.
fn narrowed(op: Comparison, left: &Side, right: &Side, rows: usize) -> Option<BooleanBuffer> {
    let (op, column, value) = match (left.scalar, right.scalar) {
        (false, true) => (op, left.array, right.array),
        (true, false) => (op.mirrored(), right.array, left.array),
        _ => return None,
    };
    if value.is_null(0) {
        return Some(BooleanBuffer::new_unset(rows));
    }
    let (own, other) = (scale_of(column.data_type()), scale_of(value.data_type()));
    let wide = widened(value, (own - other).max(0))?[0];
    let factor = numeric::pow10_i128(u32::try_from((other - own).max(0)).ok()?)?;
    if wide % factor != 0 {
        return None;
    }
    let wide = wide / factor;
    macro_rules! narrow {
        ($t:ty) => {
            match TryFrom::try_from(wide) {
                Ok(value) => {
                    let values = column.as_primitive::<$t>().values();
                    primitive_values(op, values, false, &[value], true, rows, |x, y| x.compare(y))
                }
                // Beyond all values of the type.
                Err(_) if op.holds(if wide > 0 { Ordering::Less } else { Ordering::Greater }) => {
                    BooleanBuffer::new_set(rows)
                }
                Err(_) => BooleanBuffer::new_unset(rows),
            }
        };
    }
    Some(match column.data_type() {
        DataType::Int16 => narrow!(Int16Type),
        DataType::Int32 => narrow!(Int32Type),
        DataType::Int64 => narrow!(Int64Type),
        DataType::UInt8 => narrow!(UInt8Type),
        DataType::UInt16 => narrow!(UInt16Type),
        DataType::UInt32 => narrow!(UInt32Type),
        DataType::UInt64 => narrow!(UInt64Type),
        DataType::Decimal128(..) => narrow!(Decimal128Type),
        _ => return None,
    })
}

fn scale_of(ty: &DataType) -> i8 {
    match ty {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    }
}

/// Any column of integers or decimals as `i128`, times a power of ten; `None` if that overflows.
fn widened(array: &ArrayRef, shift: i8) -> Option<Vec<i128>> {
    let factor = numeric::pow10_i128(u32::try_from(shift).ok()?)?;
    macro_rules! widen {
        ($t:ty) => {
            array.as_primitive::<$t>().values().iter().map(|&v| i128::from(v).checked_mul(factor)).collect()
        };
    }
    match array.data_type() {
        DataType::Int16 => widen!(Int16Type),
        DataType::Int32 => widen!(Int32Type),
        DataType::Int64 => widen!(Int64Type),
        DataType::UInt8 => widen!(UInt8Type),
        DataType::UInt16 => widen!(UInt16Type),
        DataType::UInt32 => widen!(UInt32Type),
        DataType::UInt64 => widen!(UInt64Type),
        DataType::Decimal128(..) => widen!(Decimal128Type),
        other => panic!("{other} is not an exact number"),
    }
}

/// Any column of numbers as doubles. Rows that are NULL hold anything.
pub(crate) fn floats(array: &ArrayRef) -> Vec<f64> {
    macro_rules! each {
        ($t:ty) => {
            array.as_primitive::<$t>().values().iter().map(|&v| v as f64).collect()
        };
    }
    match array.data_type() {
        DataType::Int16 => each!(Int16Type),
        DataType::Int32 => each!(Int32Type),
        DataType::Int64 => each!(Int64Type),
        DataType::UInt8 => each!(UInt8Type),
        DataType::UInt16 => each!(UInt16Type),
        DataType::UInt32 => each!(UInt32Type),
        DataType::UInt64 => each!(UInt64Type),
        DataType::Float32 => each!(Float32Type),
        DataType::Float64 => array.as_primitive::<Float64Type>().values().to_vec(),
        _ => (0..array.len())
            .map(|row| if array.is_null(row) { 0.0 } else { numeric::value_at(array, row).to_f64() })
            .collect(),
    }
}

fn numeric_values(op: Comparison, left: &Side, right: &Side, rows: usize) -> BooleanBuffer {
    let scalar =
        |side: &Side| side.scalar.then(|| if side.array.is_null(0) { Numeric::ZERO } else { number_at(side.array, 0) });
    let (a, b) = (scalar(left), scalar(right));
    BooleanBuffer::collect_bool(rows, |row| {
        if left.array.is_null(left.index(row)) || right.array.is_null(right.index(row)) {
            return false;
        }
        let x = a.clone().unwrap_or_else(|| number_at(left.array, row));
        op.holds(match &b {
            Some(y) => x.cmp(y),
            None => x.cmp(&number_at(right.array, row)),
        })
    })
}

/// The exact number at a row that is not NULL, of any integer or numeric column.
pub(crate) fn number_at(array: &ArrayRef, row: usize) -> Numeric {
    match array.data_type() {
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        _ => numeric::value_at(array, row),
    }
}

/// The length that orders an interval: microseconds, with a month of 30 days of 24 hours.
#[inline]
pub fn interval_span(v: IntervalMonthDayNano) -> i128 {
    let days = i64::from(v.months) * 30 + i64::from(v.days);
    i128::from(days) * 86_400_000_000 + i128::from(v.nanoseconds / 1000)
}

fn intervals(array: &ArrayRef) -> Vec<i128> {
    let array: &IntervalMonthDayNanoArray = array.as_primitive();
    array.values().iter().map(|&v| interval_span(v)).collect()
}

fn general_values(op: Comparison, ty: &Type, left: &Side, right: &Side, rows: usize) -> BooleanBuffer {
    let order = comparator(ty, left.array, right.array);
    BooleanBuffer::collect_bool(rows, |row| {
        let (i, j) = (left.index(row), right.index(row));
        !left.array.is_null(i) && !right.array.is_null(j) && op.holds(order(i, j))
    })
}

/// Compares a row of one column with a row of another, neither NULL.
pub(crate) type Comparator<'a> = Box<dyn Fn(usize, usize) -> Ordering + 'a>;

/// A comparator of two columns of the type `ty`, made once a batch.
pub fn comparator<'a>(ty: &Type, left: &'a dyn Array, right: &'a dyn Array) -> Comparator<'a> {
    macro_rules! native {
        ($t:ty) => {{
            let (a, b) = (left.as_primitive::<$t>().values(), right.as_primitive::<$t>().values());
            Box::new(move |i, j| a[i].compare(b[j]))
        }};
    }
    match ty {
        Type::Bool => {
            let (a, b) = (left.as_boolean(), right.as_boolean());
            Box::new(|i, j| a.value(i).cmp(&b.value(j)))
        }
        Type::Float4 => {
            let (a, b) = (left.as_primitive::<Float32Type>(), right.as_primitive::<Float32Type>());
            Box::new(|i, j| compare_floats(a.value(i).into(), b.value(j).into()))
        }
        Type::Float8 => {
            let (a, b) = (left.as_primitive::<Float64Type>(), right.as_primitive::<Float64Type>());
            Box::new(|i, j| compare_floats(a.value(i), b.value(j)))
        }
        Type::Int2 => native!(Int16Type),
        Type::Int4 => native!(Int32Type),
        Type::Int8 => native!(Int64Type),
        Type::UInt8 => native!(UInt8Type),
        Type::UInt16 => native!(UInt16Type),
        Type::UInt64 => native!(UInt64Type),
        Type::UInt32 => native!(UInt32Type),
        ty if ty.is_oid() => native!(UInt32Type),
        Type::Date => native!(arrow::datatypes::Date32Type),
        Type::Time => native!(arrow::datatypes::Time64MicrosecondType),
        Type::Timestamp | Type::Timestamptz => native!(arrow::datatypes::TimestampMicrosecondType),
        Type::Numeric(_) => {
            if let (Some(a), Some(b)) = (as_decimal(left), as_decimal(right))
                && a.scale() == b.scale()
            {
                return Box::new(|i, j| a.value(i).cmp(&b.value(j)));
            }
            Box::new(|i, j| numeric::value_at(left, i).cmp(&numeric::value_at(right, j)))
        }
        Type::Interval => {
            let a: &IntervalMonthDayNanoArray = left.as_primitive();
            let b: &IntervalMonthDayNanoArray = right.as_primitive();
            Box::new(|i, j| interval_span(a.value(i)).cmp(&interval_span(b.value(j))))
        }
        Type::Bytea | Type::State(_) => {
            let a: &BinaryViewArray = left.as_binary_view();
            let b: &BinaryViewArray = right.as_binary_view();
            Box::new(|i, j| a.value(i).cmp(b.value(j)))
        }
        Type::Uuid => {
            let (a, b) = (left.as_fixed_size_binary(), right.as_fixed_size_binary());
            Box::new(|i, j| a.value(i).cmp(b.value(j)))
        }
        Type::Bpchar(_) => {
            let (a, b) = (left.as_string_view(), right.as_string_view());
            Box::new(|i, j| a.value(i).trim_end_matches(' ').cmp(b.value(j).trim_end_matches(' ')))
        }
        Type::Jsonb | Type::Map(_) => {
            let (a, b) = (left.as_string_view(), right.as_string_view());
            Box::new(|i, j| super::json_order::compare_text(a.value(i), b.value(j)))
        }
        Type::Array(element) => {
            let (a, b) = (left.as_list::<i32>(), right.as_list::<i32>());
            let order = comparator(element, a.values(), b.values());
            Box::new(move |i, j| {
                let (x, y) = (range(a.value_offsets(), i), range(b.value_offsets(), j));
                for (k, l) in x.clone().zip(y.clone()) {
                    match nullable_order(a.values(), k, b.values(), l, &order) {
                        Ordering::Equal => {}
                        different => return different,
                    }
                }
                x.len().cmp(&y.len())
            })
        }
        Type::Record(fields) => {
            let (a, b) = (left.as_struct(), right.as_struct());
            let orders: Vec<Comparator<'a>> = fields
                .iter()
                .enumerate()
                .map(|(f, (_, ty))| comparator(ty, a.column(f).as_ref(), b.column(f).as_ref()))
                .collect();
            Box::new(move |i, j| {
                for (f, order) in orders.iter().enumerate() {
                    match nullable_order(a.column(f), i, b.column(f), j, order) {
                        Ordering::Equal => {}
                        different => return different,
                    }
                }
                Ordering::Equal
            })
        }
        _ => {
            let (a, b) = (left.as_string_view(), right.as_string_view());
            Box::new(|i, j| a.value(i).as_bytes().cmp(b.value(j).as_bytes()))
        }
    }
}

fn as_decimal(array: &dyn Array) -> Option<&Decimal128Array> {
    array.as_any().downcast_ref()
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

/// NULLs inside arrays and records are equal, and larger than values.
fn nullable_order(a: &ArrayRef, i: usize, b: &ArrayRef, j: usize, order: &Comparator<'_>) -> Ordering {
    match (a.is_null(i), b.is_null(j)) {
        (false, false) => order(i, j),
        (a, b) => a.cmp(&b),
    }
}
