//! JSON values as values of other types, by ClickHouse's rules: what does not fit is `None`, and becomes the type's zero or NULL.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Float64Array, ListArray, PrimitiveArray, StringViewArray,
    new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{is_null, kernels::zip::zip};
use arrow::datatypes::{Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use weir_sql::{Type, Value};

use super::super::{Context, Datum};
use crate::error::Result;
use crate::format::json::normalize;
use crate::format::parse_text;
use crate::kernels::cast::cast;
use crate::kernels::json::{Elements, Kind, kind, string, trimmed};
use crate::kernels::numeric::Numeric;

/// A string's text; anything else as it is written; `None` for null.
pub(super) fn text(value: &str) -> Option<Cow<'_, str>> {
    match kind(value) {
        Kind::Null => None,
        Kind::String => string(trimmed(value)).ok(),
        _ => Some(Cow::Borrowed(trimmed(value))),
    }
}

/// An integer, cut off towards zero; of a string, what it reads as.
pub(super) fn integer(value: &str) -> Option<i128> {
    match kind(value) {
        Kind::Number => {
            let digits = trimmed(value);
            digits.parse().ok().or_else(|| digits.parse::<Numeric>().ok()?.trunc(0).to_i128())
        }
        Kind::Boolean => Some(i128::from(trimmed(value) == "true")),
        Kind::String => string(trimmed(value)).ok()?.parse().ok(),
        _ => None,
    }
}

/// A number; of a string, what it reads as.
pub(super) fn float(value: &str) -> Option<f64> {
    match kind(value) {
        Kind::Number => trimmed(value).parse().ok(),
        Kind::Boolean => Some(f64::from(u8::from(trimmed(value) == "true"))),
        Kind::String => string(trimmed(value)).ok()?.parse().ok(),
        _ => None,
    }
}

/// A boolean; a number that is not zero is true.
pub(super) fn boolean(value: &str) -> Option<bool> {
    match kind(value) {
        Kind::Boolean => Some(trimmed(value) == "true"),
        Kind::Number => float(value).map(|v| v != 0.0),
        _ => None,
    }
}

fn integers<T: ArrowPrimitiveType>(found: &[Option<&str>]) -> ArrayRef
where
    T::Native: TryFrom<i128>,
{
    let values = found.iter().map(|v| v.and_then(integer).and_then(|v| T::Native::try_from(v).ok()));
    Arc::new(values.collect::<PrimitiveArray<T>>())
}

/// A column of a type from JSON values. What is missing or does not fit is NULL if it may be, and else the type's zero or empty value.
pub(crate) fn column(context: &Context, found: &[Option<&str>], ty: &Type, nullable: bool) -> Result<ArrayRef> {
    let array: ArrayRef = match ty {
        Type::Bool => Arc::new(found.iter().map(|v| v.and_then(boolean)).collect::<BooleanArray>()),
        Type::Int2 => integers::<Int16Type>(found),
        Type::Int4 => integers::<Int32Type>(found),
        Type::Int8 => integers::<Int64Type>(found),
        Type::UInt8 => integers::<UInt8Type>(found),
        Type::UInt16 => integers::<UInt16Type>(found),
        Type::UInt32 => integers::<UInt32Type>(found),
        Type::UInt64 => integers::<UInt64Type>(found),
        Type::Float8 => Arc::new(found.iter().map(|v| v.and_then(float)).collect::<Float64Array>()),
        Type::Json => Arc::new(found.iter().map(|v| v.map(trimmed)).collect::<StringViewArray>()),
        Type::Jsonb => Arc::new(found.iter().map(|v| v.and_then(|v| normalize(v).ok())).collect::<StringViewArray>()),
        Type::Map(map) => {
            let read = |v: &str| crate::format::map::read(v, map, context).ok();
            Arc::new(found.iter().map(|v| v.and_then(read)).collect::<StringViewArray>())
        }
        Type::Array(element) => return lists(context, found, element, nullable),
        ty => {
            let texts: ArrayRef = Arc::new(found.iter().map(|v| v.and_then(text)).collect::<StringViewArray>());
            match ty {
                Type::Text => texts,
                ty => cast(context, &Datum::Array(texts), &Type::Text, ty, true, true)?.into_array(found.len())?,
            }
        }
    };
    if nullable || array.null_count() == 0 {
        return Ok(array);
    }
    match zero(context, ty) {
        Some(zero) => {
            let missing = is_null(&array)?;
            Ok(zip(&missing, &arrow::array::Scalar::new(zero.array), &array)?)
        }
        None => Ok(array),
    }
}

fn lists(context: &Context, found: &[Option<&str>], element: &Type, nullable: bool) -> Result<ArrayRef> {
    let (mut values, mut lengths, mut valid) = (Vec::new(), Vec::with_capacity(found.len()), Vec::new());
    for value in found {
        let before = values.len();
        values.extend(Elements::of(value.unwrap_or("")).map(Some));
        lengths.push(values.len() - before);
        valid.push(!nullable || value.is_some_and(|value| kind(value) == Kind::Array));
    }
    let values = column(context, &values, element, nullable)?;
    let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
    let list = ListArray::try_new(element.element_field(), OffsetBuffer::from_lengths(lengths), values, nulls)?;
    Ok(Arc::new(list))
}

/// ClickHouse's default value of a type: zero, empty, the epoch. `None` where a type has none.
pub(crate) fn zero(context: &Context, ty: &Type) -> Option<Value> {
    let text = match ty {
        Type::Bool => "false",
        ty if ty.is_number() || ty.is_oid() => "0",
        ty if ty.is_text() => "",
        Type::Bytea => "",
        Type::Date => "1970-01-01",
        Type::Timestamp | Type::Timestamptz => "1970-01-01 00:00:00+00",
        Type::Time => "00:00:00",
        Type::Interval => "0",
        Type::Uuid => "00000000-0000-0000-0000-000000000000",
        Type::Json | Type::Jsonb | Type::Map(_) => "{}",
        Type::Array(element) => {
            let list = ListArray::new(
                element.element_field(),
                OffsetBuffer::from_lengths([0]),
                new_null_array(&element.to_arrow(), 0),
                None,
            );
            return Some(Value::new(ty.clone(), Arc::new(list)));
        }
        _ => return None,
    };
    parse_text(ty, text, context).ok()
}
