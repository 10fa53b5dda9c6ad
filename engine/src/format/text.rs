//! Columns to Postgres's text form.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int64Array, IntervalMonthDayNanoArray, StringViewArray, UInt32Array, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use weir_sql::Type;

use super::{FormatSettings, bytea, datetime, float, integer, interval, names, nested, uuid};
use crate::kernels::numeric;

/// Writes the rows of one column. Made once a batch; holds the column.
#[derive(Debug)]
pub struct TextEncoder {
    nulls: Option<NullBuffer>,
    column: Column,
    settings: FormatSettings,
}

#[derive(Debug)]
enum Column {
    Bool(BooleanArray),
    Int2(arrow::array::Int16Array),
    Int4(arrow::array::Int32Array),
    Int8(Int64Array),
    UInt8(arrow::array::UInt8Array),
    UInt16(arrow::array::UInt16Array),
    UInt32(UInt32Array),
    UInt64(UInt64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Decimal(Decimal128Array),
    Numeric(BinaryViewArray),
    Text(StringViewArray),
    Bytea(BinaryViewArray),
    Uuid(FixedSizeBinaryArray),
    Date(arrow::array::Date32Array),
    Time(arrow::array::Time64MicrosecondArray),
    Timestamp(arrow::array::TimestampMicrosecondArray),
    Timestamptz(arrow::array::TimestampMicrosecondArray),
    Interval(IntervalMonthDayNanoArray),
    Names(Type, UInt32Array),
    Array(OffsetBuffer<i32>, Box<TextEncoder>, bool),
    Record(Vec<TextEncoder>),
}

impl TextEncoder {
    /// An encoder of a column of the type `ty`. The array must have the type's Arrow form, or one that Arrow casts to it without loss.
    pub fn new(ty: &Type, array: &ArrayRef, settings: &FormatSettings) -> TextEncoder {
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
            Type::Timestamp => Column::Timestamp(array.as_primitive::<TimestampMicrosecondType>().clone()),
            Type::Timestamptz => Column::Timestamptz(array.as_primitive::<TimestampMicrosecondType>().clone()),
            Type::Interval => Column::Interval(array.as_primitive().clone()),
            Type::Array(element) => {
                let list = array.as_list::<i32>();
                let is_nested = matches!(**element, Type::Array(_));
                let inner = TextEncoder::new(element, list.values(), settings);
                Column::Array(list.offsets().clone(), Box::new(inner), is_nested)
            }
            Type::Record(fields) => {
                let columns = array.as_struct().columns();
                let encoders = fields.iter().zip(columns).map(|((_, ty), c)| TextEncoder::new(ty, c, settings));
                Column::Record(encoders.collect())
            }
            ty if ty.is_oid() => Column::Names(ty.clone(), array.as_primitive::<UInt32Type>().clone()),
            _ => Column::Text(array.as_string_view().clone()),
        };
        TextEncoder { nulls: array.logical_nulls(), column, settings: settings.clone() }
    }

    /// Whether the row is NULL.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The bytes of a row whose text is what the column holds (text, json), to be had without copying; `None` for other types.
    #[inline]
    pub fn as_bytes(&self, row: usize) -> Option<&[u8]> {
        match &self.column {
            Column::Text(array) => Some(array.value(row).as_bytes()),
            _ => None,
        }
    }

    /// Appends the text of a row that is not NULL.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        match &self.column {
            Column::Bool(a) => out.push(if a.value(row) { b't' } else { b'f' }),
            Column::Int2(a) => integer::write_i64(a.value(row).into(), out),
            Column::Int4(a) => integer::write_i64(a.value(row).into(), out),
            Column::Int8(a) => integer::write_i64(a.value(row), out),
            Column::UInt8(a) => integer::write_u64(a.value(row).into(), out),
            Column::UInt16(a) => integer::write_u64(a.value(row).into(), out),
            Column::UInt32(a) => integer::write_u64(a.value(row).into(), out),
            Column::UInt64(a) => integer::write_u64(a.value(row), out),
            Column::Float4(a) => match self.settings.float_digits {
                None => float::write_f32(a.value(row), out),
                Some(extra) => float::write_digits(a.value(row).into(), 6 + extra, out),
            },
            Column::Float8(a) => match self.settings.float_digits {
                None => float::write_f64(a.value(row), out),
                Some(extra) => float::write_digits(a.value(row), 15 + extra, out),
            },
            Column::Decimal(a) => numeric::write_decimal(a.value(row), a.scale(), out),
            Column::Numeric(a) => numeric::decode_at(a, row).write_text(out),
            Column::Text(a) => out.extend_from_slice(a.value(row).as_bytes()),
            Column::Bytea(a) if self.settings.bytea_escape => bytea::write_escape(a.value(row), out),
            Column::Bytea(a) => bytea::write_hex(a.value(row), out),
            Column::Uuid(a) => uuid::write(a.value(row), out),
            Column::Date(a) => datetime::write_date(a.value(row), out),
            Column::Time(a) => datetime::write_time(a.value(row), out),
            Column::Timestamp(a) => datetime::write_timestamp(a.value(row), b' ', out),
            Column::Timestamptz(a) => {
                datetime::write_timestamptz(a.value(row), &self.settings.time_zone, b' ', false, out);
            }
            Column::Interval(a) => interval::write(a.value(row), self.settings.interval_style, out),
            Column::Names(ty, a) => names::write(ty, a.value(row), self.settings.catalog.as_ref(), out),
            Column::Array(offsets, element, is_nested) => {
                out.push(b'{');
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                for item in start..end {
                    if item > start {
                        out.push(b',');
                    }
                    if element.is_null(item) {
                        out.extend_from_slice(b"NULL");
                    } else if *is_nested {
                        element.write(item, out);
                    } else {
                        let from = out.len();
                        element.write(item, out);
                        nested::quote_element(out, from);
                    }
                }
                out.push(b'}');
            }
            Column::Record(fields) => {
                out.push(b'(');
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    if !field.is_null(row) {
                        let from = out.len();
                        field.write(row, out);
                        nested::quote_field(out, from);
                    }
                }
                out.push(b')');
            }
        }
    }
}

/// The array in its type's Arrow form: foreign forms (a dictionary, plain Utf8) are cast.
pub(super) fn in_form(ty: &Type, array: &ArrayRef) -> ArrayRef {
    let form = ty.to_arrow();
    let same = match (array.data_type(), &form) {
        (a, b) if a == b => true,
        // Names of fields and metadata do not matter here.
        (DataType::List(_), DataType::List(_)) | (DataType::Struct(_), DataType::Struct(_)) => true,
        (DataType::Timestamp(a, _), DataType::Timestamp(b, _)) => a == b,
        _ => false,
    };
    if same { array.clone() } else { cast(array, &form).unwrap_or_else(|_| array.clone()) }
}
