//! Columns to Postgres's binary form.
//!
//! Unsigned integers go out as the wire's types do: UInt8 as smallint, UInt16 as integer, UInt32 as bigint, UInt64 as numeric. Dates and times
//! count from 2000.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, StringViewArray, UInt8Array,
    UInt16Array, UInt32Array, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use weir_sql::Type;

use super::numeric_binary;
use super::text::in_form;
use crate::kernels::datetime::{DATE_INFINITY, DATE_NEG_INFINITY, MICROS_PER_DAY, is_infinite};
use crate::kernels::numeric::{self, Numeric};

/// Days from 1970 to 2000.
pub(super) const EPOCH_DAYS: i32 = 10_957;
/// Microseconds from 1970 to 2000.
pub(super) const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * MICROS_PER_DAY;

/// Writes the rows of one column. Made once a batch; holds the column.
#[derive(Debug)]
pub struct BinaryEncoder {
    nulls: Option<NullBuffer>,
    column: Column,
}

#[derive(Debug)]
enum Column {
    Bool(BooleanArray),
    Int2(Int16Array),
    Int4(Int32Array),
    Int8(Int64Array),
    UInt8(UInt8Array),
    UInt16(UInt16Array),
    UInt32(UInt32Array),
    UInt64(UInt64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Decimal(Decimal128Array),
    Numeric(BinaryViewArray),
    Text(StringViewArray),
    Jsonb(StringViewArray),
    Bytea(BinaryViewArray),
    Uuid(FixedSizeBinaryArray),
    Date(arrow::array::Date32Array),
    Time(arrow::array::Time64MicrosecondArray),
    Timestamp(arrow::array::TimestampMicrosecondArray),
    Interval(IntervalMonthDayNanoArray),
    Oid(UInt32Array),
    Array(OffsetBuffer<i32>, Box<BinaryEncoder>, u32),
    Record(Vec<(u32, BinaryEncoder)>),
}

impl BinaryEncoder {
    /// An encoder of a column of the type `ty`. The array must have the type's Arrow form, or one that Arrow casts to it without loss.
    pub fn new(ty: &Type, array: &ArrayRef) -> BinaryEncoder {
        let array = in_form(ty, array);
        let column = match ty {
            Type::Bool => Column::Bool(array.as_boolean().clone()),
            Type::Int2 => Column::Int2(array.as_primitive::<Int16Type>().clone()),
            Type::Int4 => Column::Int4(array.as_primitive::<Int32Type>().clone()),
            Type::Int8 => Column::Int8(array.as_primitive::<Int64Type>().clone()),
            Type::UInt8 => Column::UInt8(array.as_primitive::<UInt8Type>().clone()),
            Type::UInt16 => Column::UInt16(array.as_primitive::<UInt16Type>().clone()),
            Type::UInt32 => Column::UInt32(array.as_primitive::<UInt32Type>().clone()),
            Type::UInt64 => Column::UInt64(array.as_primitive::<UInt64Type>().clone()),
            Type::Float4 => Column::Float4(array.as_primitive::<Float32Type>().clone()),
            Type::Float8 => Column::Float8(array.as_primitive::<Float64Type>().clone()),
            Type::Numeric(Some(_)) => Column::Decimal(array.as_primitive().clone()),
            Type::Numeric(None) => Column::Numeric(array.as_binary_view().clone()),
            Type::Bytea | Type::State(_) => Column::Bytea(array.as_binary_view().clone()),
            Type::Uuid => Column::Uuid(array.as_fixed_size_binary().clone()),
            Type::Date => Column::Date(array.as_primitive::<Date32Type>().clone()),
            Type::Time => Column::Time(array.as_primitive::<Time64MicrosecondType>().clone()),
            Type::Timestamp | Type::Timestamptz => {
                Column::Timestamp(array.as_primitive::<TimestampMicrosecondType>().clone())
            }
            Type::Interval => Column::Interval(array.as_primitive().clone()),
            Type::Jsonb | Type::Map(_) => Column::Jsonb(array.as_string_view().clone()),
            Type::Array(element) => {
                let list = array.as_list::<i32>();
                let inner = Box::new(BinaryEncoder::new(element, list.values()));
                Column::Array(list.offsets().clone(), inner, innermost(element).oid())
            }
            Type::Record(fields) => {
                let columns = array.as_struct().columns();
                let encoders = fields.iter().zip(columns).map(|((_, ty), c)| (ty.oid(), BinaryEncoder::new(ty, c)));
                Column::Record(encoders.collect())
            }
            ty if ty.is_oid() => Column::Oid(array.as_primitive::<UInt32Type>().clone()),
            _ => Column::Text(array.as_string_view().clone()),
        };
        BinaryEncoder { nulls: array.logical_nulls(), column }
    }

    /// Whether the row is NULL.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the bytes of a row that is not NULL, without their length.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        match &self.column {
            Column::Bool(a) => out.push(u8::from(a.value(row))),
            Column::Int2(a) => out.extend_from_slice(&a.value(row).to_be_bytes()),
            Column::Int4(a) => out.extend_from_slice(&a.value(row).to_be_bytes()),
            Column::Int8(a) => out.extend_from_slice(&a.value(row).to_be_bytes()),
            Column::UInt8(a) => out.extend_from_slice(&i16::from(a.value(row)).to_be_bytes()),
            Column::UInt16(a) => out.extend_from_slice(&i32::from(a.value(row)).to_be_bytes()),
            Column::UInt32(a) => out.extend_from_slice(&i64::from(a.value(row)).to_be_bytes()),
            Column::UInt64(a) => numeric_binary::write_small(a.value(row).into(), 0, out),
            Column::Float4(a) => out.extend_from_slice(&a.value(row).to_be_bytes()),
            Column::Float8(a) => out.extend_from_slice(&a.value(row).to_be_bytes()),
            Column::Decimal(a) => numeric_binary::write(&numeric::of_decimal(a.value(row), a.scale()), out),
            Column::Numeric(a) => numeric_binary::write(&Numeric::decode(a.value(row)), out),
            Column::Text(a) => out.extend_from_slice(a.value(row).as_bytes()),
            Column::Jsonb(a) => {
                out.push(1);
                out.extend_from_slice(a.value(row).as_bytes());
            }
            Column::Bytea(a) => out.extend_from_slice(a.value(row)),
            Column::Uuid(a) => out.extend_from_slice(a.value(row)),
            Column::Date(a) => out.extend_from_slice(
                &match a.value(row) {
                    infinite @ (DATE_INFINITY | DATE_NEG_INFINITY) => infinite,
                    days => days.wrapping_sub(EPOCH_DAYS),
                }
                .to_be_bytes(),
            ),
            Column::Time(a) => out.extend_from_slice(&a.value(row).to_be_bytes()),
            Column::Timestamp(a) => {
                let micros = a.value(row);
                let micros = if is_infinite(micros) { micros } else { micros.wrapping_sub(EPOCH_MICROS) };
                out.extend_from_slice(&micros.to_be_bytes());
            }
            Column::Interval(a) => {
                let v = a.value(row);
                out.extend_from_slice(&(v.nanoseconds / 1000).to_be_bytes());
                out.extend_from_slice(&v.days.to_be_bytes());
                out.extend_from_slice(&v.months.to_be_bytes());
            }
            Column::Oid(a) => out.extend_from_slice(&a.value(row).to_be_bytes()),
            Column::Array(offsets, element, oid) => {
                write_array(offsets[row] as usize..offsets[row + 1] as usize, element, *oid, out);
            }
            Column::Record(fields) => {
                out.extend_from_slice(&(fields.len() as i32).to_be_bytes());
                for (oid, field) in fields {
                    out.extend_from_slice(&oid.to_be_bytes());
                    field.write_sized(row, out);
                }
            }
        }
    }

    /// Appends a row with its length before it, as DataRow, COPY and arrays want it; -1 for NULL.
    pub fn write_sized(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(&(-1i32).to_be_bytes());
            return;
        }
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        self.write(row, out);
        let length = (out.len() - start - 4) as i32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

fn innermost(ty: &Type) -> &Type {
    match ty {
        Type::Array(element) => innermost(element),
        other => other,
    }
}

/// Dimensions, a flag for NULLs, the element's oid, each dimension's length and lower bound, the elements.
fn write_array(items: std::ops::Range<usize>, element: &BinaryEncoder, oid: u32, out: &mut Vec<u8>) {
    // Arrays of arrays are one array of several dimensions, where the inner ones are equally long.
    let mut dimensions = Vec::new();
    let (mut items, mut element) = (items, element);
    while !items.is_empty() {
        dimensions.push(items.len());
        match &element.column {
            Column::Array(offsets, inner, _) => {
                items = offsets[items.start] as usize..offsets[items.end] as usize;
                element = inner;
            }
            _ => break,
        }
    }
    let has_nulls = items.clone().any(|item| element.is_null(item));
    out.extend_from_slice(&(dimensions.len() as i32).to_be_bytes());
    out.extend_from_slice(&i32::from(has_nulls).to_be_bytes());
    out.extend_from_slice(&oid.to_be_bytes());
    let mut outer = 1;
    for length in dimensions {
        out.extend_from_slice(&((length / outer) as i32).to_be_bytes());
        out.extend_from_slice(&1i32.to_be_bytes());
        outer = length.max(1);
    }
    for item in items {
        element.write_sized(item, out);
    }
}
