//! toJSONString: any value as JSON in ClickHouse's form. Tuples are arrays, dates and times their text, and nothing stands between the parts.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use serde_json::Value;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::super::declare::{JSON, TEXT, function, strict};
use super::super::rows::{primitive_rows, text, text_rows};
use super::super::{Context, Datum, Overload, ScalarFunction, Types};
use crate::error::{Error, Result};
use crate::format::datetime::write_timestamp;
use crate::format::json::write_string;
use crate::format::{FormatSettings, TextEncoder};
use crate::kernels::datetime::utc_to_local;

pub(super) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["toJSONString"],
            JSON,
            "The value as JSON, a tuple as an array.",
            ("toJSONString(ARRAY['a', 'b'])", "[\"a\",\"b\"]"),
            vec![Overload::new(vec![Param::Any], Returns::Exact(Type::Text), to_json_string)],
        )
        .stable(),
        function(
            &["JSONArrayLength", "json_array_size"],
            JSON,
            "How many elements the text's JSON array has; NULL of anything else.",
            ("JSONArrayLength('[1, [2, 3]]')", "2"),
            vec![strict([TEXT], Type::UInt64, |_, a, n, ty| {
                let texts = text(a, 0)?;
                primitive_rows::<arrow::datatypes::UInt64Type>(a, n, ty, |row| {
                    Ok(match serde_json::from_str(texts.at(row)) {
                        Ok(Value::Array(elements)) => Some(elements.len() as u64),
                        _ => None,
                    })
                })
            })],
        ),
    ]
}

fn to_json_string(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let writer = Writer::new(&types.args[0], args[0].array(), context);
    let constant = matches!(args[0], Datum::Scalar(_));
    let mut bytes = Vec::new();
    text_rows(args, rows, types, |row, out| {
        bytes.clear();
        writer.write(if constant { 0 } else { row }, &mut bytes)?;
        out.push_str(&String::from_utf8_lossy(&bytes));
        Ok(true)
    })
}

/// Writes the rows of a column. Made once a batch.
struct Writer {
    array: ArrayRef,
    column: Column,
}

enum Column {
    Bool,
    Text,
    Map,
    /// Digits as they are.
    Number(TextEncoder),
    /// Any other type's text.
    Other(TextEncoder),
    Moment(Option<jiff::tz::TimeZone>),
    Array(Box<Writer>),
    Record(Vec<Writer>),
}

impl Writer {
    fn new(ty: &Type, array: &ArrayRef, context: &Context) -> Writer {
        let settings = FormatSettings::of(context);
        let column = match ty {
            Type::Bool => Column::Bool,
            Type::Map(_) | Type::Json | Type::Jsonb => Column::Map,
            Type::Timestamp => Column::Moment(None),
            Type::Timestamptz => Column::Moment(Some(context.time_zone.clone())),
            Type::Array(element) => {
                Column::Array(Box::new(Writer::new(element, array.as_list::<i32>().values(), context)))
            }
            Type::Record(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                Column::Record(columns.map(|((_, ty), column)| Writer::new(ty, column, context)).collect())
            }
            ty if ty.is_number() => Column::Number(TextEncoder::new(ty, array, &settings)),
            ty if ty.is_text() => Column::Text,
            ty => Column::Other(TextEncoder::new(ty, array, &settings)),
        };
        Writer { array: array.clone(), column }
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.array.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        let from = out.len();
        let quoted = |out: &mut Vec<u8>| {
            let text = out.split_off(from);
            write_string(&String::from_utf8_lossy(&text), out);
        };
        match &self.column {
            Column::Bool => out.extend_from_slice(if self.array.as_boolean().value(row) { b"true" } else { b"false" }),
            Column::Text => write_string(self.array.as_string_view().value(row), out),
            Column::Map => {
                let text = self.array.as_string_view().value(row);
                let value: Value = serde_json::from_str(text).map_err(|error| Error::internal(error.to_string()))?;
                out.extend_from_slice(value.to_string().as_bytes());
            }
            Column::Number(encoder) => {
                encoder.write(row, out);
                // There is no JSON for what is no number.
                if !out[from..].last().is_some_and(u8::is_ascii_digit) {
                    out.truncate(from);
                    out.extend_from_slice(b"null");
                }
            }
            Column::Other(encoder) => {
                encoder.write(row, out);
                quoted(out);
            }
            Column::Moment(zone) => {
                let at = self.array.as_primitive::<TimestampMicrosecondType>().value(row);
                write_timestamp(zone.as_ref().map_or(at, |zone| utc_to_local(zone, at)), b' ', out);
                quoted(out);
            }
            Column::Array(elements) => {
                let offsets = self.array.as_list::<i32>().value_offsets();
                out.push(b'[');
                for (at, item) in (offsets[row]..offsets[row + 1]).enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    elements.write(item as usize, out)?;
                }
                out.push(b']');
            }
            Column::Record(fields) => {
                out.push(b'[');
                for (at, field) in fields.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    field.write(row, out)?;
                }
                out.push(b']');
            }
        }
        Ok(())
    }
}
