//! Arrow's types, of whatever a file holds, as Weir's.
//!
//! Every Arrow type has a SQL type ([`type_of`]): structs, maps and lists of them or of lists are jsonb, other lists are arrays, what has no
//! own type is the nearest that holds all its values. Nothing is lost in silence: a value that does not fit is an error.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, ListArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, Field, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampNanosecondType,
};
use arrow::error::ArrowError;
use weir_sql::Type;
use weir_sql::types::TYPE_KEY;

use super::nested;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ColumnBuilder, interval};
use crate::functions::Context;

/// The SQL type of a file's column.
pub(super) fn type_of(field: &Field) -> Type {
    match field.metadata().get(TYPE_KEY).map(String::as_str) {
        Some("interval") => return Type::Interval,
        Some("uuid") => return Type::Uuid,
        _ => {}
    }
    match field.data_type() {
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => Type::Jsonb,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => match type_of(item) {
            Type::Jsonb if item.metadata().get(TYPE_KEY).is_none() => Type::Jsonb,
            // Arrays have one dimension.
            Type::Array(_) => Type::Jsonb,
            element => Type::Array(Box::new(element)),
        },
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s)
            if *s < 0 || *s as u8 > *p =>
        {
            Type::Numeric(None)
        }
        DataType::Duration(_) => Type::Interval,
        DataType::FixedSizeBinary(16) if field.extension_type_name() == Some("arrow.uuid") => Type::Uuid,
        DataType::FixedSizeBinary(_) => Type::Bytea,
        DataType::Dictionary(_, value) => type_of(&Field::new(field.name(), (**value).clone(), true)),
        DataType::RunEndEncoded(_, value) => type_of(value),
        _ => Type::from_field(field).unwrap_or(Type::Text),
    }
}

/// A cast in which a value that does not fit is an error, not a NULL.
pub(super) fn strict_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &options).map_err(|e| match e {
        ArrowError::CastError(text) | ArrowError::ComputeError(text) | ArrowError::ArithmeticOverflow(text) => {
            Error::new(ErrorKind::NumericOutOfRange, text)
        }
        other => other.into(),
    })
}

/// A file's column in the Arrow form of its own SQL type ([`type_of`]).
pub(super) fn column(array: &ArrayRef, field: &Field, ty: &Type) -> Result<ArrayRef> {
    if let DataType::Dictionary(_, value) = array.data_type() {
        let plain = Field::new(field.name(), (**value).clone(), true);
        return column(&strict_cast(array, value)?, &plain, ty);
    }
    match (array.data_type(), ty) {
        (data, Type::Jsonb) if !is_text(data) => nested::to_jsonb(array, field),
        (DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _), Type::Array(element)) => {
            let list = strict_cast(array, &DataType::List(item.clone()))?;
            let list = list.as_list::<i32>();
            let values = column(list.values(), item, element)?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(element.element_field(), offsets, values, nulls)?))
        }
        (DataType::Duration(_), Type::Interval) => {
            let micros = strict_cast(array, &DataType::Duration(TimeUnit::Microsecond))?;
            let intervals: Result<IntervalMonthDayNanoArray> = micros
                .as_primitive::<DurationMicrosecondType>()
                .iter()
                .map(|micros| micros.map(|micros| interval::from_parts(0, 0, micros)).transpose())
                .collect();
            Ok(Arc::new(intervals?))
        }
        (DataType::Interval(_), Type::Interval) => {
            let intervals = strict_cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
            let whole =
                intervals.as_primitive::<IntervalMonthDayNanoType>().unary::<_, IntervalMonthDayNanoType>(|v| {
                    arrow::datatypes::IntervalMonthDayNano::new(v.months, v.days, v.nanoseconds.div_euclid(1000) * 1000)
                });
            Ok(Arc::new(whole))
        }
        // Arrow rounds towards zero; a moment before 1970 is cut as one after it is.
        (DataType::Timestamp(TimeUnit::Nanosecond, _), Type::Timestamp | Type::Timestamptz) => {
            let micros = array
                .as_primitive::<TimestampNanosecondType>()
                .unary::<_, arrow::datatypes::TimestampMicrosecondType>(|nanos| nanos.div_euclid(1000));
            let zone = (*ty == Type::Timestamptz).then(|| Arc::from("UTC"));
            Ok(Arc::new(micros.with_timezone_opt::<Arc<str>>(zone)))
        }
        (data, Type::Numeric(None) | Type::Interval) if *data != ty.to_arrow() => parsed(array, ty),
        (DataType::FixedSizeBinary(_), Type::Bytea) => {
            strict_cast(&strict_cast(array, &DataType::Binary)?, &DataType::BinaryView)
        }
        _ => strict_cast(array, &ty.to_arrow()),
    }
}

fn is_text(data: &DataType) -> bool {
    matches!(data, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// By way of text, for types that Arrow does not know.
fn parsed(array: &ArrayRef, ty: &Type) -> Result<ArrayRef> {
    let texts = strict_cast(array, &DataType::Utf8)?;
    let context = Context::detached();
    let mut builder = ColumnBuilder::new(ty, texts.len(), &context);
    for text in texts.as_string::<i32>() {
        match text {
            Some(text) => builder.append_text(text)?,
            None => builder.append_null(),
        }
    }
    Ok(builder.finish())
}

/// A schema in which texts and bytes are views from the start and dictionaries are unfolded: the form Weir has them in, so that a reader
/// that makes it saves a copy.
pub(super) fn with_views(field: &Field) -> Field {
    field.clone().with_data_type(match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, value) => {
            with_views(&Field::new(field.name(), (**value).clone(), true)).data_type().clone()
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::*;

    fn texts(array: ArrayRef) -> Vec<String> {
        let field = Field::new("a", array.data_type().clone(), true);
        let ty = type_of(&field);
        let converted = column(&array, &field, &ty).expect("converted");
        assert_eq!(converted.data_type(), &ty.to_arrow());
        let settings = crate::format::FormatSettings::default();
        let text = |row| crate::format::text_at(&ty, &converted, row, &settings).unwrap_or_else(|| "NULL".into());
        std::iter::once(ty.to_string()).chain((0..array.len()).map(text)).collect()
    }

    #[test]
    fn arrow_types_have_their_sql_type_and_values() {
        let ns = TimestampNanosecondArray::from(vec![Some(-1), Some(1_999), None]);
        assert_eq!(
            texts(Arc::new(ns)),
            ["timestamp without time zone", "1969-12-31 23:59:59.999999", "1970-01-01 00:00:00.000001", "NULL"]
        );
        let seconds = TimestampSecondArray::from(vec![86_400]).with_timezone("+00:00");
        assert_eq!(texts(Arc::new(seconds)), ["timestamp with time zone", "1970-01-02 00:00:00+00"]);
        assert_eq!(texts(Arc::new(UInt64Array::from(vec![u64::MAX])))[1], "18446744073709551615");
        assert_eq!(texts(Arc::new(Int8Array::from(vec![-128]))), ["smallint", "-128"]);
        let decimal = Decimal256Array::from(vec![arrow::datatypes::i256::from_i128(12345)]);
        let decimal = decimal.with_precision_and_scale(60, 2).expect("a decimal");
        assert_eq!(texts(Arc::new(decimal)), ["numeric", "123.45"]);
        let dictionary: DictionaryArray<arrow::datatypes::Int32Type> = ["a", "b", "a"].into_iter().collect();
        assert_eq!(texts(Arc::new(dictionary)), ["text", "a", "b", "a"]);
        assert_eq!(texts(Arc::new(DurationMillisecondArray::from(vec![61_000]))), ["interval", "00:01:01"]);
        assert_eq!(texts(Arc::new(Date64Array::from(vec![86_400_000]))), ["date", "1970-01-02"]);
        assert_eq!(texts(Arc::new(Time32SecondArray::from(vec![61])))[1], "00:01:01");
        let list = ListArray::from_iter_primitive::<arrow::datatypes::UInt16Type, _, _>([Some([Some(1), None]), None]);
        assert_eq!(texts(Arc::new(list))[1..], ["{1,NULL}", "NULL"]);
        let bytes = FixedSizeBinaryArray::try_from_iter([b"ab", b"cd"].into_iter()).expect("of one size");
        assert_eq!(texts(Arc::new(bytes)), ["bytea", "\\x6162", "\\x6364"]);
    }
}
