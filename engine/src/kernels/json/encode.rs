//! Columns of any type to JSON, as to_json, json_agg and row_to_json write them.
//!
//! Numbers and booleans are themselves, NULL is null, json is what it is, arrays and records become arrays and objects, dates and times are
//! ISO 8601; anything else is its text in quotes.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringViewArray, StructArray, TimestampMicrosecondArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::TimestampMicrosecondType;
use jiff::tz::TimeZone;
use weir_sql::Type;

use crate::error::Result;
use crate::format::datetime::{write_timestamp, write_timestamptz};
use crate::format::json::{normalize, write_string};
use crate::format::{FormatSettings, TextEncoder};

/// Writes the rows of one column as JSON. Made once a batch.
#[derive(Debug)]
pub(crate) struct JsonEncoder {
    nulls: Option<NullBuffer>,
    column: Column,
}

#[derive(Debug)]
enum Column {
    /// Digits as they are; NaN and the infinities in quotes.
    Number(TextEncoder),
    Bool(BooleanArray),
    Json(StringViewArray),
    Text(StringViewArray),
    /// Any other type's text, in quotes.
    Other(TextEncoder),
    Timestamp(TimestampMicrosecondArray),
    Timestamptz(TimestampMicrosecondArray, TimeZone),
    Array(OffsetBuffer<i32>, Box<JsonEncoder>),
    Record(Vec<(Vec<u8>, JsonEncoder)>),
}

impl JsonEncoder {
    pub(crate) fn new(ty: &Type, array: &ArrayRef, settings: &FormatSettings) -> JsonEncoder {
        let column = match ty {
            Type::Bool => Column::Bool(array.as_boolean().clone()),
            Type::Json | Type::Jsonb | Type::Map(_) => Column::Json(array.as_string_view().clone()),
            Type::Timestamp => Column::Timestamp(array.as_primitive::<TimestampMicrosecondType>().clone()),
            Type::Timestamptz => Column::Timestamptz(
                array.as_primitive::<TimestampMicrosecondType>().clone(),
                settings.time_zone.clone(),
            ),
            Type::Array(element) => {
                let list = array.as_list::<i32>();
                let elements = JsonEncoder::new(element, list.values(), settings);
                Column::Array(list.offsets().clone(), Box::new(elements))
            }
            Type::Record(fields) => {
                let record: &StructArray = array.as_struct();
                let columns = fields.iter().zip(record.columns()).map(|((name, ty), column)| {
                    let mut key = Vec::new();
                    write_string(name, &mut key);
                    (key, JsonEncoder::new(ty, column, settings))
                });
                Column::Record(columns.collect())
            }
            ty if ty.is_number() => Column::Number(TextEncoder::new(ty, array, settings)),
            ty if ty.is_text() => Column::Text(array.as_string_view().clone()),
            ty => Column::Other(TextEncoder::new(ty, array, settings)),
        };
        JsonEncoder { nulls: array.logical_nulls(), column }
    }

    /// Whether the row is NULL.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends a row; `null` for NULL. `separator` stands between the parts of its array or object.
    pub(crate) fn write_with(&self, row: usize, separator: &[u8], out: &mut Vec<u8>) {
        if self.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        let quoted = |out: &mut Vec<u8>, from: usize| {
            let text = out.split_off(from);
            write_string(&String::from_utf8_lossy(&text), out);
        };
        let from = out.len();
        match &self.column {
            Column::Bool(values) => out.extend_from_slice(if values.value(row) { b"true" } else { b"false" }),
            Column::Json(texts) => out.extend_from_slice(texts.value(row).as_bytes()),
            Column::Text(texts) => write_string(texts.value(row), out),
            Column::Number(encoder) => {
                encoder.write(row, out);
                if !out[from..].last().is_some_and(u8::is_ascii_digit) {
                    quoted(out, from);
                }
            }
            Column::Other(encoder) => {
                encoder.write(row, out);
                quoted(out, from);
            }
            Column::Timestamp(times) => {
                write_timestamp(times.value(row), b'T', out);
                quoted(out, from);
            }
            Column::Timestamptz(times, zone) => {
                write_timestamptz(times.value(row), zone, b'T', true, out);
                quoted(out, from);
            }
            Column::Array(offsets, elements) => {
                out.push(b'[');
                let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
                for item in start..end {
                    if item > start {
                        out.extend_from_slice(separator);
                    }
                    elements.write(item, out);
                }
                out.push(b']');
            }
            Column::Record(fields) => {
                out.push(b'{');
                for (i, (key, field)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.extend_from_slice(separator);
                    }
                    out.extend_from_slice(key);
                    out.push(b':');
                    field.write(row, out);
                }
                out.push(b'}');
            }
        }
    }

    /// Appends a row; `null` for NULL.
    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) {
        self.write_with(row, b",", out);
    }

    /// Appends a row in jsonb's normal form.
    pub(crate) fn write_normal(&self, row: usize, out: &mut String) -> Result<()> {
        let mut text = Vec::new();
        self.write(row, &mut text);
        let text = String::from_utf8_lossy(&text);
        // Digits with an exponent are written out; what has parts is put in order.
        let plain = match &self.column {
            Column::Number(_) => !text.contains(['e', 'E']),
            Column::Json(_) | Column::Array(..) | Column::Record(_) => false,
            _ => true,
        };
        match plain || self.is_null(row) {
            true => out.push_str(&text),
            false => out.push_str(&normalize(&text)?),
        }
        Ok(())
    }
}
