//! Casts between all types that Postgres casts between, and ClickHouse's unsigned integers.
//!
//! A cast of a column to a type of the same Arrow form costs nothing. Numbers are converted a column at a time and checked by what became
//! NULL; text goes through [`ColumnBuilder`] and [`TextEncoder`], as COPY and the wire do, so that a cast and a client never disagree.
//! Rounding is Postgres's: floats to the nearest even integer, numerics half away from zero.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int32Array, ListArray,
    PrimitiveArray, StringViewArray, StringViewBuilder, StructArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options, concat};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
    UInt64Type,
};
use jiff::tz::TimeZone;
use weir_sql::{Type, Value};

use super::datetime::{
    DATE_INFINITY, DATE_NEG_INFINITY, MICROS_PER_DAY, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, is_infinite,
    is_timestamp, local_to_utc, utc_to_local,
};
use super::numeric::{self, Numeric, decimal_to_numeric, numeric_to_decimal};
use crate::error::{Error, ErrorKind, Result};
use crate::format::json::normalize;
use crate::format::{ColumnBuilder, FormatSettings, TextEncoder};
use crate::functions::{Context, Datum};

/// The datum as another type. `explicit`: the user wrote the cast, so that text may be cut to length. `lenient`: what cannot be
/// cast is NULL.
pub fn cast(context: &Context, datum: &Datum, from: &Type, to: &Type, explicit: bool, lenient: bool) -> Result<Datum> {
    let array = datum.array();
    let result = cast_array(context, array, from, to, explicit);
    let array = match result {
        Err(_) if lenient => each_row(context, array, from, to, explicit)?,
        other => other?,
    };
    Ok(match datum {
        Datum::Array(_) => Datum::Array(array),
        Datum::Scalar(_) => Datum::Scalar(Value::new(to.clone(), array)),
    })
}

/// Row by row: an error is that row's NULL.
fn each_row(context: &Context, array: &ArrayRef, from: &Type, to: &Type, explicit: bool) -> Result<ArrayRef> {
    let rows: Vec<ArrayRef> = (0..array.len())
        .map(|row| {
            let cast = cast_array(context, &array.slice(row, 1), from, to, explicit);
            cast.unwrap_or_else(|_| new_null_array(&to.to_arrow(), 1))
        })
        .collect();
    if rows.is_empty() {
        return Ok(new_null_array(&to.to_arrow(), 0));
    }
    Ok(concat(&rows.iter().map(|row| row.as_ref()).collect::<Vec<_>>())?)
}

/// A column as another type.
pub fn cast_array(context: &Context, array: &ArrayRef, from: &Type, to: &Type, explicit: bool) -> Result<ArrayRef> {
    if from == to {
        return Ok(array.clone());
    }
    match (from, to) {
        (_, Type::Void) => Ok(Arc::new(StringViewArray::from(vec![Some(""); array.len()]))),
        (from, to) if from.is_text() => from_text(context, array, from, to, explicit),
        (Type::Json, Type::Jsonb) => map_text(array, normalize),
        (Type::Jsonb, Type::Json) | (Type::Map(_), Type::Json | Type::Jsonb) => Ok(array.clone()),
        (Type::Json | Type::Jsonb | Type::Map(_), Type::Map(_)) => build(context, array, to),
        (Type::Jsonb, to) if to.is_number() || *to == Type::Bool => from_jsonb(context, array, to),
        (from, to) if to.is_text() || matches!(to, Type::Json | Type::Jsonb) => {
            to_text(context, array, from, to, explicit)
        }
        (Type::Bool, to) if to.is_integer() => widen(&arrow_cast(array, &DataType::Int32)?, &Type::Int4, to),
        (from, Type::Bool) if from.is_number() => not_zero(array),
        (Type::Numeric(_), to) if to.is_integer() || matches!(to, Type::Float4 | Type::Float8 | Type::Numeric(_)) => {
            from_numeric(array, to)
        }
        (from, Type::Numeric(modifiers)) if from.is_number() => to_numeric(array, from, *modifiers),
        (Type::Float4 | Type::Float8, to) if to.is_integer() => float_to_int(array, to),
        (Type::Float8, Type::Float4) => narrow_float(array),
        (Type::Float4, Type::Float8) => Ok(arrow_cast(array, &DataType::Float64)?),
        (from, to) if from.is_integer() && to.is_integer() => widen(array, from, to),
        (from, Type::Float4 | Type::Float8) if from.is_integer() => Ok(arrow_cast(array, &to.to_arrow())?),
        (from, to) if from.is_oid() && to.is_oid() => Ok(array.clone()),
        (from, to) if from.is_integer() && to.is_oid() => int_to_oid(array, from),
        (from, to) if from.is_oid() && to.is_integer() => widen(array, &Type::UInt32, to),
        (Type::Array(from), Type::Array(to)) => lists(context, array, from, to, explicit),
        (Type::Record(from), Type::Record(to)) if from.len() == to.len() => records(context, array, from, to, explicit),
        _ => moments(context, array, from, to)?.ok_or_else(|| {
            Error::new(ErrorKind::Sql(weir_sql::ErrorKind::CannotCoerce), format!("cannot cast type {from} to {to}"))
        }),
    }
}

/// Arrow's cast where it means the same and cannot fail.
fn arrow_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    Ok(cast_with_options(array, to, &CastOptions::default())?)
}

fn out_of_range(to: &Type) -> Error {
    Error::new(ErrorKind::NumericOutOfRange, format!("{to} out of range"))
}

/// Between integers; 22003 if a value does not fit.
fn widen(array: &ArrayRef, from: &Type, to: &Type) -> Result<ArrayRef> {
    if from == to {
        return Ok(array.clone());
    }
    let cast = arrow_cast(array, &to.to_arrow())?;
    if cast.null_count() > array.null_count() { Err(out_of_range(to)) } else { Ok(cast) }
}

fn float_to_int(array: &ArrayRef, to: &Type) -> Result<ArrayRef> {
    let wide = arrow_cast(array, &DataType::Float64)?;
    let floats = wide.as_primitive::<Float64Type>();
    let rounded: Float64Array = floats.unary(f64::round_ties_even);
    let cast = arrow_cast(&(Arc::new(rounded) as ArrayRef), &to.to_arrow())?;
    if cast.null_count() > array.null_count() { Err(out_of_range(to)) } else { Ok(cast) }
}

fn narrow_float(array: &ArrayRef) -> Result<ArrayRef> {
    let floats = array.as_primitive::<Float64Type>();
    let narrow: Float32Array = floats.try_unary(|wide| {
        let narrow = wide as f32;
        match () {
            () if narrow.is_infinite() && wide.is_finite() => Err(float_range("overflow")),
            () if narrow == 0.0 && wide != 0.0 => Err(float_range("underflow")),
            () => Ok(narrow),
        }
    })?;
    Ok(Arc::new(narrow))
}

/// 22003 as Postgres says it of floats.
pub(crate) fn float_range(what: &str) -> Error {
    Error::new(ErrorKind::NumericOutOfRange, format!("value out of range: {what}"))
}

fn not_zero(array: &ArrayRef) -> Result<ArrayRef> {
    let values: BooleanArray = match array.data_type() {
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().iter().map(|v| v.map(|v| v != 0)).collect(),
        DataType::BinaryView => (0..array.len())
            .map(|row| (!array.is_null(row)).then(|| !numeric::value_at(array, row).is_zero()))
            .collect(),
        _ => {
            let wide = arrow_cast(array, &DataType::Float64)?;
            wide.as_primitive::<Float64Type>().iter().map(|v| v.map(|v| v != 0.0)).collect()
        }
    };
    Ok(Arc::new(values))
}

/// Each value that is not NULL, by row.
fn numerics(array: &ArrayRef) -> impl Iterator<Item = Option<Numeric>> + '_ {
    (0..array.len()).map(|row| (!array.is_null(row)).then(|| numeric::value_at(array, row)))
}

/// A float that a finite numeric became, unless it is none any more.
fn in_range<F: Into<f64> + Copy>(value: &Numeric, float: F, to: &Type) -> Result<F> {
    match float.into().is_infinite() && value.is_finite() {
        true => Err(Error::new(ErrorKind::NumericOutOfRange, format!("\"{value}\" is out of range for type {to}"))),
        false => Ok(float),
    }
}

fn from_numeric(array: &ArrayRef, to: &Type) -> Result<ArrayRef> {
    match to {
        Type::Numeric(None) => match array.as_any().downcast_ref::<Decimal128Array>() {
            Some(decimals) => Ok(Arc::new(decimal_to_numeric(decimals))),
            None => Ok(array.clone()),
        },
        Type::Numeric(Some((precision, scale))) => match array.as_any().downcast_ref::<Decimal128Array>() {
            Some(decimals) => rescale(decimals, *precision, *scale),
            None => numeric_to_decimal(array.as_binary_view(), *precision, *scale),
        },
        Type::Float8 => {
            if let Some(decimals) = array.as_any().downcast_ref::<Decimal128Array>() {
                return Ok(Arc::new(decimal_to_float(decimals)));
            }
            let floats = numerics(array).map(|v| v.map(|v| in_range(&v, v.to_f64(), to)).transpose());
            Ok(Arc::new(floats.collect::<Result<Float64Array>>()?))
        }
        Type::Float4 => {
            let floats = numerics(array).map(|v| v.map(|v| in_range(&v, v.to_f32(), to)).transpose());
            Ok(Arc::new(floats.collect::<Result<Float32Array>>()?))
        }
        _ => {
            let wide = |value: Numeric| -> Result<i128> {
                let what = if value.is_nan() { "NaN" } else { "infinity" };
                if !value.is_finite() {
                    let message = format!("cannot convert {what} to {to}");
                    return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), message));
                }
                value.round(0).to_i128().ok_or_else(|| out_of_range(to))
            };
            let values: Vec<Option<i128>> = numerics(array).map(|v| v.map(wide).transpose()).collect::<Result<_>>()?;
            integers(&values, to)
        }
    }
}

/// The nearest doubles. Of most both the digits and the power of ten are exact, so that one division rounds correctly.
fn decimal_to_float(decimals: &Decimal128Array) -> Float64Array {
    let scale = decimals.scale();
    let power = u32::try_from(scale).ok().filter(|scale| *scale <= 22).and_then(numeric::pow10_i128);
    decimals.unary(|digits| match power {
        Some(power) if digits.unsigned_abs() < 1 << f64::MANTISSA_DIGITS => digits as i64 as f64 / power as f64,
        _ => numeric::of_decimal(digits, scale).to_f64(),
    })
}

/// Integers of a type from wide ones.
fn integers(values: &[Option<i128>], to: &Type) -> Result<ArrayRef> {
    fn all<T: ArrowPrimitiveType>(values: &[Option<i128>], to: &Type) -> Result<ArrayRef>
    where
        T::Native: TryFrom<i128>,
    {
        let narrow = |v: i128| T::Native::try_from(v).map_err(|_| out_of_range(to));
        let values: Vec<Option<T::Native>> = values.iter().map(|v| v.map(narrow).transpose()).collect::<Result<_>>()?;
        Ok(Arc::new(PrimitiveArray::<T>::from_iter(values)))
    }
    use arrow::datatypes::{Int16Type, Int32Type, UInt8Type, UInt16Type};
    match to {
        Type::Int2 => all::<Int16Type>(values, to),
        Type::Int4 => all::<Int32Type>(values, to),
        Type::Int8 => all::<Int64Type>(values, to),
        Type::UInt8 => all::<UInt8Type>(values, to),
        Type::UInt16 => all::<UInt16Type>(values, to),
        Type::UInt32 => all::<UInt32Type>(values, to),
        _ => all::<UInt64Type>(values, to),
    }
}

/// Between decimals: rounded half away from zero, 22003 if the digits do not fit.
fn rescale(decimals: &Decimal128Array, precision: u8, scale: i8) -> Result<ArrayRef> {
    let from = decimals.scale();
    let ty = DataType::Decimal128(precision, scale);
    let digits = |precision: u8, scale: i8| i32::from(precision) - i32::from(scale);
    if scale >= from && digits(precision, scale) >= digits(decimals.precision(), from) {
        // Every value fits.
        let times = 10_i128.pow((scale - from) as u32);
        let array = if times == 1 { decimals.clone() } else { decimals.unary(|value| value.wrapping_mul(times)) };
        return Ok(Arc::new(array.with_data_type(ty)));
    }
    let limit = 10_i128.pow(u32::from(precision));
    let convert = |value: i128| -> Result<i128> {
        let scaled = match scale >= from {
            true => value.checked_mul(10_i128.pow((scale - from) as u32)),
            false => Some(numeric::round_div_i128(value, 10_i128.pow((from - scale) as u32))),
        };
        match scaled {
            Some(value) if value.abs() < limit => Ok(value),
            _ => Err(numeric::field_overflow(precision, scale)),
        }
    };
    let array: Decimal128Array = decimals.try_unary(convert)?;
    Ok(Arc::new(array.with_data_type(ty)))
}

fn to_numeric(array: &ArrayRef, from: &Type, modifiers: Option<(u8, i8)>) -> Result<ArrayRef> {
    let exact: ArrayRef = match from {
        Type::Float8 => {
            let floats = array.as_primitive::<Float64Type>();
            Arc::new(numeric::from_values(floats.iter().map(|v| v.map(Numeric::from_f64))))
        }
        Type::Float4 => {
            let floats = array.as_primitive::<Float32Type>();
            Arc::new(numeric::from_values(floats.iter().map(|v| v.map(Numeric::from_f32))))
        }
        _ => {
            // 20 digits hold every 64-bit integer.
            let wide = arrow_cast(array, &DataType::Decimal128(20, 0))?;
            return match modifiers {
                Some((precision, scale)) => rescale(wide.as_primitive::<Decimal128Type>(), precision, scale),
                None => Ok(Arc::new(decimal_to_numeric(wide.as_primitive::<Decimal128Type>()))),
            };
        }
    };
    match modifiers {
        Some((precision, scale)) => numeric_to_decimal(exact.as_binary_view(), precision, scale),
        None => Ok(exact),
    }
}

fn int_to_oid(array: &ArrayRef, from: &Type) -> Result<ArrayRef> {
    // A negative integer is the oid of the same bits, as in Postgres.
    if let (Type::Int4, Some(ints)) = (from, array.as_any().downcast_ref::<Int32Array>()) {
        return Ok(Arc::new(ints.unary::<_, UInt32Type>(|v| v as u32)));
    }
    let cast = arrow_cast(array, &DataType::UInt32)?;
    if cast.null_count() > array.null_count() {
        return Err(Error::new(ErrorKind::NumericOutOfRange, "OID out of range"));
    }
    Ok(cast)
}

fn map_text(array: &ArrayRef, body: impl Fn(&str) -> Result<String>) -> Result<ArrayRef> {
    let texts = array.as_string_view();
    let mut out = StringViewBuilder::with_capacity(texts.len());
    for text in texts.iter() {
        out.append_option(text.map(&body).transpose()?);
    }
    Ok(Arc::new(out.finish()))
}

/// From text to anything.
fn from_text(context: &Context, array: &ArrayRef, from: &Type, to: &Type, explicit: bool) -> Result<ArrayRef> {
    // Trailing blanks of character(n) are not part of its text.
    if matches!(from, Type::Bpchar(_)) && !matches!(to, Type::Bpchar(_)) {
        let trimmed = map_text(array, |text| Ok(text.trim_end_matches(' ').to_string()))?;
        return from_text(context, &trimmed, &Type::Text, to, explicit);
    }
    match to {
        Type::Text | Type::Unknown | Type::Varchar(None) => return Ok(array.clone()),
        Type::Varchar(Some(n)) | Type::Bpchar(Some(n)) if explicit => {
            let cut = map_text(array, |text| Ok(text.chars().take(*n as usize).collect()))?;
            return build(context, &cut, to);
        }
        _ => {}
    }
    build(context, array, to)
}

/// Each text as the value that it stands for.
fn build(context: &Context, array: &ArrayRef, to: &Type) -> Result<ArrayRef> {
    let texts = array.as_string_view();
    let mut builder = ColumnBuilder::new(to, texts.len(), context);
    for text in texts.iter() {
        match text {
            Some(text) => builder.append_text(text)?,
            None => builder.append_null(),
        }
    }
    Ok(builder.finish())
}

/// From anything to text.
fn to_text(context: &Context, array: &ArrayRef, from: &Type, to: &Type, explicit: bool) -> Result<ArrayRef> {
    let texts: ArrayRef = match from {
        Type::Json | Type::Jsonb | Type::Map(_) => array.clone(),
        Type::Bool => {
            let words = array.as_boolean().iter().map(|v| v.map(|v| if v { "true" } else { "false" }));
            Arc::new(words.collect::<StringViewArray>())
        }
        _ => {
            let encoder = TextEncoder::new(from, array, &FormatSettings::of(context));
            let mut out = StringViewBuilder::with_capacity(array.len());
            let mut bytes = Vec::new();
            for row in 0..array.len() {
                if encoder.is_null(row) {
                    out.append_null();
                    continue;
                }
                bytes.clear();
                encoder.write(row, &mut bytes);
                // Checking is quicker than replacing, of which there is no need.
                match std::str::from_utf8(&bytes) {
                    Ok(text) => out.append_value(text),
                    Err(_) => out.append_value(String::from_utf8_lossy(&bytes)),
                }
            }
            Arc::new(out.finish())
        }
    };
    match to {
        Type::Text => Ok(texts),
        to => from_text(context, &texts, &Type::Text, to, explicit),
    }
}

fn from_jsonb(context: &Context, array: &ArrayRef, to: &Type) -> Result<ArrayRef> {
    let scalar = |text: &str| -> Result<String> {
        let kind = match text.as_bytes().first() {
            Some(b'"') => "string",
            Some(b'{') => "object",
            Some(b'[') => "array",
            Some(b't' | b'f') if *to == Type::Bool => return Ok(text.to_string()),
            Some(b't' | b'f') => "boolean",
            Some(b'n') => "null",
            _ if *to == Type::Bool => "numeric",
            _ => return Ok(text.to_string()),
        };
        Err(Error::new(ErrorKind::InvalidParameter, format!("cannot cast jsonb {kind} to type {to}")))
    };
    let texts = map_text(array, scalar)?;
    match to {
        Type::Bool => build(context, &texts, to),
        // A number with a fraction is rounded, as from numeric.
        _ => cast_array(context, &build(context, &texts, &Type::Numeric(None))?, &Type::Numeric(None), to, true),
    }
}

fn lists(context: &Context, array: &ArrayRef, from: &Type, to: &Type, explicit: bool) -> Result<ArrayRef> {
    let list = array.as_list::<i32>();
    let values = cast_array(context, list.values(), from, to, explicit)?;
    Ok(Arc::new(ListArray::new(to.element_field(), list.offsets().clone(), values, list.nulls().cloned())))
}

fn records(
    context: &Context,
    array: &ArrayRef,
    from: &[(String, Type)],
    to: &[(String, Type)],
    explicit: bool,
) -> Result<ArrayRef> {
    let record = array.as_struct();
    let columns = from.iter().zip(to).zip(record.columns());
    let columns = columns
        .map(|(((_, from), (_, to)), column)| cast_array(context, column, from, to, explicit))
        .collect::<Result<_>>()?;
    let fields = to.iter().map(|(name, ty)| ty.field(name, true)).collect();
    Ok(Arc::new(StructArray::new(fields, columns, record.nulls().cloned())))
}

/// Between dates, times and intervals; `None` if there is no such cast.
fn moments(context: &Context, array: &ArrayRef, from: &Type, to: &Type) -> Result<Option<ArrayRef>> {
    let zone = &context.time_zone;
    let array: ArrayRef = match (from, to) {
        (Type::Date, Type::Timestamp) => Arc::new(date_to_timestamp(array, None)?),
        (Type::Date, Type::Timestamptz) => Arc::new(date_to_timestamp(array, Some(zone))?.with_timezone("UTC")),
        (Type::Timestamp, Type::Timestamptz) => {
            let shifted = each_finite(array, |at| local_to_utc(zone, at));
            Arc::new(shifted.with_timezone("UTC"))
        }
        (Type::Timestamptz, Type::Timestamp) => Arc::new(each_finite(array, |at| utc_to_local(zone, at))),
        (Type::Timestamp, Type::Date) => timestamp_to_date(array, None),
        (Type::Timestamptz, Type::Date) => timestamp_to_date(array, Some(zone)),
        (Type::Timestamp, Type::Time) => timestamp_to_time(array, None),
        (Type::Timestamptz, Type::Time) => timestamp_to_time(array, Some(zone)),
        (Type::Time, Type::Interval) => {
            let times = array.as_primitive::<Time64MicrosecondType>();
            Arc::new(times.unary::<_, IntervalMonthDayNanoType>(|t| IntervalMonthDayNano::new(0, 0, t * 1000)))
        }
        (Type::Interval, Type::Time) => {
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
            Arc::new(intervals.unary::<_, Time64MicrosecondType>(|i| (i.nanoseconds / 1000).rem_euclid(MICROS_PER_DAY)))
        }
        _ => return Ok(None),
    };
    Ok(Some(array))
}

type Timestamps = PrimitiveArray<TimestampMicrosecondType>;

fn date_to_timestamp(array: &ArrayRef, zone: Option<&TimeZone>) -> Result<Timestamps> {
    array.as_primitive::<Date32Type>().try_unary(|day| {
        let midnight = match day {
            DATE_INFINITY => return Ok(TIMESTAMP_INFINITY),
            DATE_NEG_INFINITY => return Ok(TIMESTAMP_NEG_INFINITY),
            day => i64::from(day).checked_mul(MICROS_PER_DAY).filter(|at| is_timestamp(*at)),
        };
        let midnight =
            midnight.ok_or_else(|| Error::new(ErrorKind::DatetimeOutOfRange, "date out of range for timestamp"))?;
        Ok(zone.map_or(midnight, |zone| local_to_utc(zone, midnight)))
    })
}

fn each_finite(array: &ArrayRef, body: impl Fn(i64) -> i64) -> Timestamps {
    let times = array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(None::<Arc<str>>);
    times.unary(|at| if is_infinite(at) { at } else { body(at) })
}

fn timestamp_to_date(array: &ArrayRef, zone: Option<&TimeZone>) -> ArrayRef {
    let times = array.as_primitive::<TimestampMicrosecondType>();
    Arc::new(times.unary::<_, Date32Type>(|at| match at {
        TIMESTAMP_INFINITY => DATE_INFINITY,
        TIMESTAMP_NEG_INFINITY => DATE_NEG_INFINITY,
        at => zone.map_or(at, |zone| utc_to_local(zone, at)).div_euclid(MICROS_PER_DAY) as i32,
    }))
}

fn timestamp_to_time(array: &ArrayRef, zone: Option<&TimeZone>) -> ArrayRef {
    let times = array.as_primitive::<TimestampMicrosecondType>().iter();
    let time = |at: i64| {
        let local = zone.map_or(at, |zone| utc_to_local(zone, at));
        (!is_infinite(at)).then(|| local.rem_euclid(MICROS_PER_DAY))
    };
    Arc::new(times.map(|at| at.and_then(time)).collect::<PrimitiveArray<Time64MicrosecondType>>())
}
