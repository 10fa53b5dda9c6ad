//! One column in the making, fed with JSON values.
//!
//! The types that events are made of have a builder of their own; every other type is read by the engine from its Postgres text
//! form, so that no type is without a way in.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, BooleanBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder,
    Int64Builder, ListArray, NullBufferBuilder, StringViewBuilder, TimestampMicrosecondBuilder, UInt8Builder,
    UInt16Builder, UInt32Builder, UInt64Builder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    FieldRef, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use sonic_rs::{JsonType, JsonValueTrait, LazyValue, to_array_iter};
use weir_engine::format::{ColumnBuilder, parse_bool};
use weir_engine::functions::Context;
use weir_sql::Type;

use super::{Reason, time};

/// A column in the making.
#[derive(Debug)]
pub(super) struct Column {
    ty: Type,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    UInt8(UInt8Builder),
    UInt16(UInt16Builder),
    UInt32(UInt32Builder),
    UInt64(UInt64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    /// Strings as they are, anything else as its JSON text.
    Text(StringViewBuilder),
    Json(StringViewBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    List {
        field: FieldRef,
        element: Box<Column>,
        offsets: Vec<i32>,
        nulls: NullBufferBuilder,
    },
    /// Through the engine's text form.
    Other(ColumnBuilder),
}

/// Runs one expression on whichever of arrow's builders it is, and others for lists and for the engine's builder.
macro_rules! each_builder {
    ($values:expr, $builder:ident => $do:expr, list $list:expr, other $other:ident => $else:expr) => {
        match $values {
            Values::Bool($builder) => $do,
            Values::Int16($builder) => $do,
            Values::Int32($builder) => $do,
            Values::Int64($builder) => $do,
            Values::UInt8($builder) => $do,
            Values::UInt16($builder) => $do,
            Values::UInt32($builder) => $do,
            Values::UInt64($builder) => $do,
            Values::Float32($builder) => $do,
            Values::Float64($builder) => $do,
            Values::Text($builder) => $do,
            Values::Json($builder) => $do,
            Values::Timestamp($builder) => $do,
            Values::List { .. } => $list,
            Values::Other($other) => $else,
        }
    };
}

impl Column {
    pub(super) fn new(ty: &Type) -> Column {
        let values = match ty {
            Type::Bool => Values::Bool(BooleanBuilder::new()),
            Type::Int2 => Values::Int16(Int16Builder::new()),
            Type::Int4 => Values::Int32(Int32Builder::new()),
            Type::Int8 => Values::Int64(Int64Builder::new()),
            Type::UInt8 => Values::UInt8(UInt8Builder::new()),
            Type::UInt16 => Values::UInt16(UInt16Builder::new()),
            Type::UInt32 => Values::UInt32(UInt32Builder::new()),
            Type::UInt64 => Values::UInt64(UInt64Builder::new()),
            Type::Float4 => Values::Float32(Float32Builder::new()),
            Type::Float8 => Values::Float64(Float64Builder::new()),
            Type::Text => Values::Text(StringViewBuilder::new()),
            Type::Json => Values::Json(StringViewBuilder::new()),
            Type::Timestamp | Type::Timestamptz => {
                Values::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(ty.to_arrow()))
            }
            Type::Array(element) => Values::List {
                field: element.element_field(),
                element: Box::new(Column::new(element)),
                offsets: vec![0],
                nulls: NullBufferBuilder::new(0),
            },
            _ => Values::Other(ColumnBuilder::new(ty, 0, &Context::detached())),
        };
        Column { ty: ty.clone(), values }
    }

    /// Appends a JSON value; on error, NULL in its place, so that every column has the same length whatever a record holds.
    pub(super) fn push(&mut self, value: &LazyValue) -> Result<(), Reason> {
        self.try_push(value).inspect_err(|_| self.push_null())
    }

    fn try_push(&mut self, value: &LazyValue) -> Result<(), Reason> {
        let kind = value.get_type();
        if kind == JsonType::Null {
            self.push_null();
            return Ok(());
        }
        let raw = value.as_raw_str();
        let ty = &self.ty;
        let wrong = || Err(format!("invalid input syntax for type {ty}: {}", shortened(raw)));
        match &mut self.values {
            Values::Text(builder) => match plain_string(raw) {
                Some(text) => builder.append_value(text),
                None if kind == JsonType::String => builder.append_value(value.as_str().unwrap_or_default()),
                None => builder.append_value(raw),
            },
            Values::Json(builder) => builder.append_value(raw),
            Values::Bool(builder) => match (kind, raw) {
                (JsonType::Boolean, _) => builder.append_value(raw == "true"),
                (JsonType::Number, "0" | "1") => builder.append_value(raw == "1"),
                (JsonType::String, _) => match string_of(value, raw).and_then(|text| parse_bool(text).ok()) {
                    Some(truth) => builder.append_value(truth),
                    None => return wrong(),
                },
                _ => return wrong(),
            },
            Values::Int16(builder) => builder.append_value(number(value, kind, raw, ty)?),
            Values::Int32(builder) => builder.append_value(number(value, kind, raw, ty)?),
            Values::Int64(builder) => builder.append_value(number(value, kind, raw, ty)?),
            Values::UInt8(builder) => builder.append_value(number(value, kind, raw, ty)?),
            Values::UInt16(builder) => builder.append_value(number(value, kind, raw, ty)?),
            Values::UInt32(builder) => builder.append_value(number(value, kind, raw, ty)?),
            Values::UInt64(builder) => builder.append_value(number(value, kind, raw, ty)?),
            Values::Float32(builder) => builder.append_value(number(value, kind, raw, ty)?),
            Values::Float64(builder) => builder.append_value(number(value, kind, raw, ty)?),
            Values::Timestamp(builder) => {
                let micros = match (kind, &self.ty) {
                    (JsonType::Number, _) => time::epoch_micros(raw),
                    (JsonType::String, Type::Timestamp) => string_of(value, raw).and_then(time::timestamp_micros),
                    (JsonType::String, _) => string_of(value, raw).and_then(time::timestamptz_micros),
                    _ => None,
                };
                match micros {
                    Some(micros) => builder.append_value(micros),
                    None => return wrong(),
                }
            }
            Values::List { element, offsets, nulls, .. } => {
                if kind != JsonType::Array {
                    return wrong();
                }
                push_elements(element, raw)?;
                offsets.push(element.len() as i32);
                nulls.append_non_null();
            }
            Values::Other(builder) => {
                let text = match &self.ty {
                    Type::Jsonb | Type::Map(_) => raw,
                    _ => scalar_text(value, kind, raw).ok_or_else(|| wrong().unwrap_err())?,
                };
                builder.append_text(text).map_err(|e| e.message)?;
            }
        }
        Ok(())
    }

    fn len(&self) -> usize {
        each_builder!(&self.values, b => b.len(), list self.list_len(), other b => b.len())
    }

    fn list_len(&self) -> usize {
        match &self.values {
            Values::List { offsets, .. } => offsets.len() - 1,
            _ => 0,
        }
    }

    pub(super) fn push_null(&mut self) {
        if let Values::List { element, offsets, nulls, .. } = &mut self.values {
            offsets.push(element.len() as i32);
            nulls.append_null();
            return;
        }
        each_builder!(&mut self.values, b => b.append_null(), list (), other b => b.append_null())
    }

    /// Appends the one row of an array of this column's type.
    pub(super) fn push_value(&mut self, value: &ArrayRef) {
        if value.is_null(0) {
            return self.push_null();
        }
        match &mut self.values {
            Values::Bool(b) => b.append_value(value.as_boolean().value(0)),
            Values::Int16(b) => b.append_value(value.as_primitive::<Int16Type>().value(0)),
            Values::Int32(b) => b.append_value(value.as_primitive::<Int32Type>().value(0)),
            Values::Int64(b) => b.append_value(value.as_primitive::<Int64Type>().value(0)),
            Values::UInt8(b) => b.append_value(value.as_primitive::<UInt8Type>().value(0)),
            Values::UInt16(b) => b.append_value(value.as_primitive::<UInt16Type>().value(0)),
            Values::UInt32(b) => b.append_value(value.as_primitive::<UInt32Type>().value(0)),
            Values::UInt64(b) => b.append_value(value.as_primitive::<UInt64Type>().value(0)),
            Values::Float32(b) => b.append_value(value.as_primitive::<Float32Type>().value(0)),
            Values::Float64(b) => b.append_value(value.as_primitive::<Float64Type>().value(0)),
            Values::Text(b) | Values::Json(b) => b.append_value(value.as_string_view().value(0)),
            Values::Timestamp(b) => b.append_value(value.as_primitive::<TimestampMicrosecondType>().value(0)),
            Values::List { element, offsets, nulls, .. } => {
                let items = value.as_list::<i32>().value(0);
                (0..items.len()).for_each(|i| element.push_value(&items.slice(i, 1)));
                offsets.push(element.len() as i32);
                nulls.append_non_null();
            }
            Values::Other(b) => b.append_value(value).expect("the value is of the column's type"),
        }
    }

    /// The column; the builder starts anew.
    pub(super) fn finish(&mut self) -> ArrayRef {
        if let Values::List { field, element, offsets, nulls } = &mut self.values {
            let offsets = std::mem::replace(offsets, vec![0]);
            let offsets = OffsetBuffer::new(offsets.into());
            return Arc::new(ListArray::new(field.clone(), offsets, element.finish(), nulls.finish()));
        }
        each_builder!(&mut self.values, b => ArrayBuilder::finish(b), list unreachable!("a list returned above"), other b => b.finish())
    }
}

/// Appends the elements of a JSON array, up to the first that is wrong.
fn push_elements(element: &mut Column, raw: &str) -> Result<(), Reason> {
    for (index, item) in to_array_iter(raw).enumerate() {
        let item = item.map_err(|e| format!("malformed JSON array: {e}"))?;
        element.push(&item).map_err(|why| format!("element {}: {why}", index + 1))?;
    }
    Ok(())
}

/// The text between the quotes of a JSON string that needs no unescaping.
fn plain_string(raw: &str) -> Option<&str> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.as_bytes().contains(&b'\\')).then_some(inner)
}

/// A JSON string's text. A string with escapes is unescaped by the parser and borrowed from it.
fn string_of<'a>(value: &'a LazyValue, raw: &'a str) -> Option<&'a str> {
    plain_string(raw).or_else(|| value.as_str())
}

/// The text of a string, number or boolean; `None` for objects and arrays.
fn scalar_text<'a>(value: &'a LazyValue, kind: JsonType, raw: &'a str) -> Option<&'a str> {
    match kind {
        JsonType::String => string_of(value, raw),
        JsonType::Number | JsonType::Boolean => Some(raw),
        _ => None,
    }
}

/// A number, sent as a JSON number or as text. Integers are exact: a fraction or an exponent is accepted only where it is whole.
fn number<T: FromNumber>(value: &LazyValue, kind: JsonType, raw: &str, ty: &Type) -> Result<T, Reason> {
    let text = match kind {
        JsonType::Number => raw,
        JsonType::String => string_of(value, raw).unwrap_or_default().trim(),
        JsonType::Boolean if raw == "true" => "1",
        JsonType::Boolean => "0",
        _ => return Err(format!("invalid input syntax for type {ty}: {}", shortened(raw))),
    };
    T::from_number(text).map_err(|out_of_range| match out_of_range {
        true => format!("value {} is out of range for type {ty}", shortened(raw)),
        false => format!("invalid input syntax for type {ty}: {}", shortened(raw)),
    })
}

trait FromNumber: Sized {
    /// The error says whether the text is a number that does not fit.
    fn from_number(text: &str) -> Result<Self, bool>;
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl FromNumber for $t {
            fn from_number(text: &str) -> Result<$t, bool> {
                if let Ok(value) = text.parse() {
                    return Ok(value);
                }
                if let Ok(wide) = text.parse::<i128>() {
                    return <$t>::try_from(wide).map_err(|_| true);
                }
                match text.parse::<f64>() {
                    // Whole floats up to 2^53 are exact.
                    Ok(f) if f.fract() == 0.0 && f.abs() <= 9_007_199_254_740_992.0 => {
                        <$t>::try_from(f as i128).map_err(|_| true)
                    }
                    Ok(f) => Err(f.is_finite() && f.fract() == 0.0),
                    Err(_) => Err(false),
                }
            }
        }
    )*};
}
integers!(i16, i32, i64, u8, u16, u32, u64);

impl FromNumber for f64 {
    fn from_number(text: &str) -> Result<f64, bool> {
        let value: f64 = text.parse().map_err(|_| false)?;
        let said_infinite = text.trim_start_matches(['+', '-']).starts_with(['i', 'I']);
        if value.is_infinite() && !said_infinite { Err(true) } else { Ok(value) }
    }
}

impl FromNumber for f32 {
    fn from_number(text: &str) -> Result<f32, bool> {
        let wide = f64::from_number(text)?;
        let value: f32 = text.parse().map_err(|_| false)?;
        if value.is_infinite() && wide.is_finite() { Err(true) } else { Ok(value) }
    }
}

/// A value as a message shows it: quoted, and not too long.
fn shortened(raw: &str) -> String {
    const MAX: usize = 80;
    let bare = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')).unwrap_or(raw);
    match bare.char_indices().nth(MAX) {
        Some((cut, _)) => format!("\"{}…\"", &bare[..cut]),
        None => format!("\"{bare}\""),
    }
}
