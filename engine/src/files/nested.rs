//! Structs, maps and lists of them as jsonb.
//!
//! The text is jsonb's normal form at once, so that it need not be parsed again: keys in its order, numbers as numerics, one space after
//! `:` and `,`. A column is taken apart once ([`Nested::new`]); a row then costs its own bytes alone.

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use weir_sql::Type;

use super::convert;
use crate::error::Result;
use crate::format::datetime::{write_timestamp, write_timestamptz};
use crate::format::json::write_string;
use crate::format::{FormatSettings, TextEncoder};
use crate::kernels::numeric::Numeric;

/// A column of anything as jsonb.
pub(super) fn to_jsonb(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let nested = Nested::new(array, field)?;
    let mut builder = StringViewBuilder::with_capacity(array.len());
    let mut text = Vec::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        nested.write(row, &mut text);
        builder.append_value(String::from_utf8_lossy(&text));
    }
    let jsonb: StringViewArray = builder.finish();
    Ok(std::sync::Arc::new(jsonb))
}

struct Nested {
    nulls: Option<NullBuffer>,
    form: Form,
}

enum Form {
    /// Keys quoted, with their colon, in jsonb's order.
    Struct(Vec<(Vec<u8>, Nested)>),
    List(OffsetBuffer<i32>, Box<Nested>),
    Map(OffsetBuffer<i32>, TextEncoder, Box<Nested>),
    /// Text that is JSON already.
    Raw(TextEncoder),
    /// A number, which may be NaN.
    Number(TextEncoder),
    Quoted(TextEncoder),
    Time(arrow::array::TimestampMicrosecondArray, bool),
}

impl Nested {
    fn new(array: &ArrayRef, field: &Field) -> Result<Nested> {
        let nulls = array.logical_nulls();
        let form = match array.data_type() {
            DataType::Struct(fields) => {
                let mut columns: Vec<(&str, Nested)> = Vec::with_capacity(fields.len());
                for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                    columns.push((field.name(), Nested::new(column, field)?));
                }
                columns.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
                let key = |(name, nested): (&str, Nested)| {
                    let mut key = Vec::new();
                    write_string(name, &mut key);
                    key.extend_from_slice(b": ");
                    (key, nested)
                };
                Form::Struct(columns.into_iter().map(key).collect())
            }
            DataType::List(item) => {
                let list = array.as_list::<i32>();
                Form::List(list.offsets().clone(), Box::new(Nested::new(list.values(), item)?))
            }
            DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                let list = convert::strict_cast(array, &DataType::List(item.clone()))?;
                return Nested::new(&list, field);
            }
            DataType::Map(entries, _) => {
                let map = array.as_map();
                let (key, value) = (map.keys(), map.values());
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(crate::Error::internal("a map has entries"));
                };
                let ty = convert::type_of(&fields[0]);
                let keys = TextEncoder::new(&ty, &convert::column(key, &fields[0], &ty)?, &FormatSettings::default());
                Form::Map(map.offsets().clone(), keys, Box::new(Nested::new(value, &fields[1])?))
            }
            _ => {
                let ty = convert::type_of(field);
                let array = convert::column(array, field, &ty)?;
                let encoder = TextEncoder::new(&ty, &array, &FormatSettings::default());
                match ty {
                    Type::Bool => {
                        // `t` is no JSON.
                        let words = array.as_boolean().iter().map(|v| v.map(|v| if v { "true" } else { "false" }));
                        let words: ArrayRef = std::sync::Arc::new(words.collect::<StringViewArray>());
                        Form::Raw(TextEncoder::new(&Type::Text, &words, &FormatSettings::default()))
                    }
                    Type::Jsonb => Form::Raw(encoder),
                    Type::Timestamp | Type::Timestamptz => {
                        Form::Time(array.as_primitive().clone(), ty == Type::Timestamptz)
                    }
                    ty if ty.is_number() => Form::Number(encoder),
                    _ => Form::Quoted(encoder),
                }
            }
        };
        Ok(Nested { nulls, form })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return out.extend_from_slice(b"null");
        }
        match &self.form {
            Form::Struct(fields) => {
                out.push(b'{');
                for (at, (key, column)) in fields.iter().enumerate() {
                    if at > 0 {
                        out.extend_from_slice(b", ");
                    }
                    out.extend_from_slice(key);
                    column.write(row, out);
                }
                out.push(b'}');
            }
            Form::List(offsets, items) => {
                out.push(b'[');
                for item in offsets[row]..offsets[row + 1] {
                    if item > offsets[row] {
                        out.extend_from_slice(b", ");
                    }
                    items.write(item as usize, out);
                }
                out.push(b']');
            }
            Form::Map(offsets, keys, values) => {
                let mut entries: Vec<(Vec<u8>, usize)> = (offsets[row] as usize..offsets[row + 1] as usize)
                    .map(|entry| {
                        let mut key = Vec::new();
                        keys.write(entry, &mut key);
                        (key, entry)
                    })
                    .collect();
                entries.sort_by(|(a, x), (b, y)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)).then(y.cmp(x)));
                entries.dedup_by(|later, kept| later.0 == kept.0);
                out.push(b'{');
                for (at, (key, entry)) in entries.iter().enumerate() {
                    if at > 0 {
                        out.extend_from_slice(b", ");
                    }
                    write_string(&String::from_utf8_lossy(key), out);
                    out.extend_from_slice(b": ");
                    values.write(*entry, out);
                }
                out.push(b'}');
            }
            Form::Raw(encoder) => encoder.write(row, out),
            Form::Number(encoder) => {
                let from = out.len();
                encoder.write(row, out);
                let text = &out[from..];
                if text.iter().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.')) {
                    return;
                }
                let text = String::from_utf8_lossy(text).into_owned();
                out.truncate(from);
                match text.parse::<Numeric>() {
                    Ok(number) if number.is_finite() => number.write_text(out),
                    _ => write_string(&text, out),
                }
            }
            Form::Quoted(encoder) => {
                let mut text = Vec::new();
                encoder.write(row, &mut text);
                write_string(&String::from_utf8_lossy(&text), out);
            }
            Form::Time(times, zoned) => {
                out.push(b'"');
                match zoned {
                    true => write_timestamptz(times.value(row), &jiff::tz::TimeZone::UTC, b'T', true, out),
                    false => write_timestamp(times.value(row), b'T', out),
                }
                out.push(b'"');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int64Array, ListArray, StructArray};
    use std::sync::Arc;

    #[test]
    fn a_list_of_structs_is_jsonb_in_its_normal_form() {
        let fields =
            vec![Arc::new(Field::new("yy", DataType::Float64, true)), Arc::new(Field::new("x", DataType::Int64, true))];
        let rows = StructArray::new(
            fields.clone().into(),
            vec![
                Arc::new(Float64Array::from(vec![Some(1.5), Some(1e20), Some(f64::NAN)])),
                Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
            ],
            None,
        );
        let item = Arc::new(Field::new("item", DataType::Struct(fields.into()), true));
        let list: ArrayRef =
            Arc::new(ListArray::new(item.clone(), OffsetBuffer::from_lengths([2, 0, 1]), Arc::new(rows), None));
        let jsonb = to_jsonb(&list, &Field::new("p", DataType::List(item), true)).expect("converted");
        let texts: Vec<&str> = jsonb.as_string_view().iter().flatten().collect();
        assert_eq!(
            texts,
            [r#"[{"x": 1, "yy": 1.5}, {"x": null, "yy": 100000000000000000000}]"#, "[]", r#"[{"x": 3, "yy": "NaN"}]"#]
        );
        for text in texts {
            assert_eq!(crate::format::json::normalize(text).expect("JSON"), text);
        }
    }
}
