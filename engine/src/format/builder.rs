//! Columns from Postgres's text or binary form: one builder a column, values appended one by one.
//!
//! The builder enforces what the type itself says: ranges, varchar's length, char's padding, numeric's precision.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryViewBuilder, BooleanBuilder, Date32Builder, FixedSizeBinaryBuilder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder, ListArray,
    NullBufferBuilder, StringViewBuilder, StructArray, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
    UInt8Builder, UInt16Builder, UInt32Builder, UInt64Builder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use weir_sql::Type;

use super::binary::{EPOCH_DAYS, EPOCH_MICROS};
use super::{
    bytea, datetime, float, integer, interval, invalid_length, json, map, names, nested, numeric_binary, uuid,
};
use crate::error::{Error, ErrorKind, Result};
use crate::functions::Context;
use crate::kernels::datetime::{DATE_INFINITY, DATE_NEG_INFINITY, MICROS_PER_DAY, is_infinite, is_timestamp};
use crate::kernels::numeric::{Numeric, NumericBuilder};

/// Collects the values of one column of a type.
#[derive(Debug)]
pub struct ColumnBuilder {
    ty: Type,
    ctx: Context,
    rows: usize,
    column: Column,
}

#[derive(Debug)]
enum Column {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    UInt8(UInt8Builder),
    UInt16(UInt16Builder),
    UInt32(UInt32Builder),
    UInt64(UInt64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal(arrow::array::Decimal128Builder, u8, i8),
    Numeric(NumericBuilder),
    Text(StringViewBuilder),
    Bytea(BinaryViewBuilder, Vec<u8>),
    Uuid(FixedSizeBinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Oid(UInt32Builder),
    Array { offsets: Vec<i32>, nulls: NullBufferBuilder, items: Box<ColumnBuilder> },
    Record { nulls: NullBufferBuilder, fields: Vec<ColumnBuilder> },
}

impl ColumnBuilder {
    /// A builder with room for `capacity` values.
    pub fn new(ty: &Type, capacity: usize, ctx: &Context) -> ColumnBuilder {
        let n = capacity;
        let column = match ty {
            Type::Bool => Column::Bool(BooleanBuilder::with_capacity(n)),
            Type::Int2 => Column::Int2(Int16Builder::with_capacity(n)),
            Type::Int4 => Column::Int4(Int32Builder::with_capacity(n)),
            Type::Int8 => Column::Int8(Int64Builder::with_capacity(n)),
            Type::UInt8 => Column::UInt8(UInt8Builder::with_capacity(n)),
            Type::UInt16 => Column::UInt16(UInt16Builder::with_capacity(n)),
            Type::UInt32 => Column::UInt32(UInt32Builder::with_capacity(n)),
            Type::UInt64 => Column::UInt64(UInt64Builder::with_capacity(n)),
            Type::Float4 => Column::Float4(Float32Builder::with_capacity(n)),
            Type::Float8 => Column::Float8(Float64Builder::with_capacity(n)),
            Type::Numeric(Some((p, s))) => {
                let builder =
                    arrow::array::Decimal128Builder::with_capacity(n).with_data_type(DataType::Decimal128(*p, *s));
                Column::Decimal(builder, *p, *s)
            }
            Type::Numeric(None) => Column::Numeric(NumericBuilder::with_capacity(n)),
            Type::Bytea | Type::State(_) => Column::Bytea(BinaryViewBuilder::with_capacity(n), Vec::new()),
            Type::Uuid => Column::Uuid(FixedSizeBinaryBuilder::with_capacity(n, 16)),
            Type::Date => Column::Date(Date32Builder::with_capacity(n)),
            Type::Time => Column::Time(Time64MicrosecondBuilder::with_capacity(n)),
            Type::Timestamp | Type::Timestamptz => {
                Column::Timestamp(TimestampMicrosecondBuilder::with_capacity(n).with_data_type(ty.to_arrow()))
            }
            Type::Interval => Column::Interval(IntervalMonthDayNanoBuilder::with_capacity(n)),
            Type::Array(element) => Column::Array {
                offsets: vec![0],
                nulls: NullBufferBuilder::new(n),
                items: Box::new(ColumnBuilder::new(element, n, ctx)),
            },
            Type::Record(fields) => Column::Record {
                nulls: NullBufferBuilder::new(n),
                fields: fields.iter().map(|(_, ty)| ColumnBuilder::new(ty, n, ctx)).collect(),
            },
            ty if ty.is_oid() => Column::Oid(UInt32Builder::with_capacity(n)),
            _ => Column::Text(StringViewBuilder::with_capacity(n)),
        };
        ColumnBuilder { ty: ty.clone(), ctx: ctx.clone(), rows: 0, column }
    }

    /// The type of the column.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// One more NULL.
    pub fn append_null(&mut self) {
        self.rows += 1;
        match &mut self.column {
            Column::Bool(b) => b.append_null(),
            Column::Int2(b) => b.append_null(),
            Column::Int4(b) => b.append_null(),
            Column::Int8(b) => b.append_null(),
            Column::UInt8(b) => b.append_null(),
            Column::UInt16(b) => b.append_null(),
            Column::UInt32(b) => b.append_null(),
            Column::UInt64(b) => b.append_null(),
            Column::Float4(b) => b.append_null(),
            Column::Float8(b) => b.append_null(),
            Column::Decimal(b, ..) => b.append_null(),
            Column::Numeric(b) => b.append_null(),
            Column::Text(b) => b.append_null(),
            Column::Bytea(b, _) => b.append_null(),
            Column::Uuid(b) => b.append_null(),
            Column::Date(b) => b.append_null(),
            Column::Time(b) => b.append_null(),
            Column::Timestamp(b) => b.append_null(),
            Column::Interval(b) => b.append_null(),
            Column::Oid(b) => b.append_null(),
            Column::Array { offsets, nulls, items } => {
                nulls.append_null();
                offsets.push(items.rows as i32);
            }
            Column::Record { nulls, fields } => {
                nulls.append_null();
                fields.iter_mut().for_each(ColumnBuilder::append_null);
            }
        }
    }

    /// One more value, from its text. On an error nothing is appended.
    pub fn append_text(&mut self, text: &str) -> Result<()> {
        let ty = &self.ty;
        match &mut self.column {
            Column::Bool(b) => b.append_value(parse_bool(text)?),
            Column::Int2(b) => b.append_value(integer::parse(text, "smallint")?),
            Column::Int4(b) => b.append_value(integer::parse(text, "integer")?),
            Column::Int8(b) => b.append_value(integer::parse(text, "bigint")?),
            Column::UInt8(b) => b.append_value(integer::parse(text, "uint8")?),
            Column::UInt16(b) => b.append_value(integer::parse(text, "uint16")?),
            Column::UInt32(b) => b.append_value(integer::parse(text, "uint32")?),
            Column::UInt64(b) => b.append_value(integer::parse(text, "uint64")?),
            Column::Float4(b) => b.append_value(float::parse_f32(text)?),
            Column::Float8(b) => b.append_value(float::parse_f64(text, "double precision")?),
            Column::Decimal(b, p, s) => b.append_value(text.parse::<Numeric>()?.to_decimal(*p, *s)?),
            Column::Numeric(b) => b.append(&text.parse()?),
            Column::Text(b) => match ty {
                Type::Json => {
                    json::check(text)?;
                    b.append_value(text);
                }
                Type::Jsonb => b.append_value(json::normalize(text)?),
                Type::Map(map) => b.append_value(map::read(text, map, &self.ctx)?),
                _ => b.append_value(fit_text(ty, text, false)?),
            },
            Column::Bytea(..) if matches!(ty, Type::State(_)) => return Err(no_input(ty)),
            Column::Bytea(b, buffer) => {
                buffer.clear();
                bytea::parse(text, buffer)?;
                b.append_value(&buffer);
            }
            Column::Uuid(b) => b.append_value(uuid::parse(text)?)?,
            Column::Date(b) => b.append_value(datetime::parse_date(text, &self.ctx)?),
            Column::Time(b) => b.append_value(datetime::parse_time(text, &self.ctx)?),
            Column::Timestamp(b) if *ty == Type::Timestamp => {
                b.append_value(datetime::parse_timestamp(text, &self.ctx)?);
            }
            Column::Timestamp(b) => b.append_value(datetime::parse_timestamptz(text, &self.ctx)?),
            Column::Interval(b) => b.append_value(interval::parse(text)?),
            Column::Oid(b) => b.append_value(names::parse(ty, text, self.ctx.catalog.as_ref())?),
            Column::Array { offsets, nulls, items } => {
                let start = items.rows;
                let split = nested::split_array(text, matches!(items.ty, Type::Array(_)), |element| match element {
                    Some(element) => items.append_text(element),
                    None => {
                        items.append_null();
                        Ok(())
                    }
                });
                if let Err(e) = split {
                    items.truncate(start);
                    return Err(e);
                }
                nulls.append_non_null();
                offsets.push(items.rows as i32);
            }
            Column::Record { nulls, fields } => {
                let texts = nested::split_record(text)?;
                if texts.len() != fields.len() {
                    let detail = if texts.len() < fields.len() { "Too few columns." } else { "Too many columns." };
                    let message = format!("malformed record literal: \"{text}\"");
                    return Err(Error::new(ErrorKind::InvalidText, message).with_detail(detail));
                }
                append_fields(fields, self.rows, |i, field| match &texts[i] {
                    Some(text) => field.append_text(text),
                    None => {
                        field.append_null();
                        Ok(())
                    }
                })?;
                nulls.append_non_null();
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// One more value, from its binary form. On an error nothing is appended.
    pub fn append_binary(&mut self, bytes: &[u8]) -> Result<()> {
        let ty = &self.ty;
        match &mut self.column {
            Column::Bool(b) => b.append_value(fixed::<1>(bytes, "boolean")?[0] != 0),
            Column::Int2(b) => b.append_value(i16::from_be_bytes(fixed(bytes, "smallint")?)),
            Column::Int4(b) => b.append_value(i32::from_be_bytes(fixed(bytes, "integer")?)),
            Column::Int8(b) => b.append_value(i64::from_be_bytes(fixed(bytes, "bigint")?)),
            Column::UInt8(b) => b.append_value(unsigned(i16::from_be_bytes(fixed(bytes, "smallint")?), ty)?),
            Column::UInt16(b) => b.append_value(unsigned(i32::from_be_bytes(fixed(bytes, "integer")?), ty)?),
            Column::UInt32(b) => b.append_value(unsigned(i64::from_be_bytes(fixed(bytes, "bigint")?), ty)?),
            Column::UInt64(b) => {
                let value = numeric_binary::parse(bytes)?.to_i128();
                b.append_value(unsigned(value.unwrap_or(-1), ty)?);
            }
            Column::Float4(b) => b.append_value(f32::from_be_bytes(fixed(bytes, "real")?)),
            Column::Float8(b) => b.append_value(f64::from_be_bytes(fixed(bytes, "double precision")?)),
            Column::Decimal(b, p, s) => b.append_value(numeric_binary::parse(bytes)?.to_decimal(*p, *s)?),
            Column::Numeric(b) => b.append(&numeric_binary::parse(bytes)?),
            Column::Text(b) => match ty {
                Type::Json => {
                    let text = utf8(bytes)?;
                    json::check(text)?;
                    b.append_value(text);
                }
                Type::Jsonb | Type::Map(_) => {
                    let [1, text @ ..] = bytes else {
                        let version = bytes.first().copied().unwrap_or(0);
                        let message = format!("unsupported jsonb version number {version}");
                        return Err(Error::new(ErrorKind::InvalidBinary, message));
                    };
                    b.append_value(match ty {
                        Type::Map(map) => map::read(utf8(text)?, map, &self.ctx)?,
                        _ => json::normalize(utf8(text)?)?,
                    });
                }
                _ => b.append_value(fit_text(ty, utf8(bytes)?, false)?),
            },
            Column::Bytea(..) if matches!(ty, Type::State(_)) => return Err(no_input(ty)),
            Column::Bytea(b, _) => b.append_value(bytes),
            Column::Uuid(b) => b.append_value(fixed::<16>(bytes, "uuid")?)?,
            Column::Date(b) => {
                let days = i32::from_be_bytes(fixed(bytes, "date")?);
                b.append_value(match days {
                    DATE_INFINITY | DATE_NEG_INFINITY => days,
                    days => days.checked_add(EPOCH_DAYS).ok_or_else(|| datetime_range("date"))?,
                });
            }
            Column::Time(b) => {
                let micros = i64::from_be_bytes(fixed(bytes, "time")?);
                if !(0..=MICROS_PER_DAY).contains(&micros) {
                    return Err(datetime_range("time"));
                }
                b.append_value(micros);
            }
            Column::Timestamp(b) => {
                let micros = i64::from_be_bytes(fixed(bytes, "timestamp")?);
                b.append_value(if is_infinite(micros) {
                    micros
                } else {
                    micros
                        .checked_add(EPOCH_MICROS)
                        .filter(|&v| is_timestamp(v))
                        .ok_or_else(|| datetime_range("timestamp"))?
                });
            }
            Column::Interval(b) => {
                let bytes: [u8; 16] = fixed(bytes, "interval")?;
                let micros = i64::from_be_bytes(fixed(&bytes[..8], "interval")?);
                let days = i32::from_be_bytes(fixed(&bytes[8..12], "interval")?);
                let months = i32::from_be_bytes(fixed(&bytes[12..], "interval")?);
                b.append_value(interval::from_parts(months, days, micros)?);
            }
            Column::Oid(b) => b.append_value(u32::from_be_bytes(fixed(bytes, "oid")?)),
            Column::Array { offsets, nulls, items } => {
                let start = items.rows;
                if let Err(e) = append_binary_array(items, bytes) {
                    items.truncate(start);
                    return Err(e);
                }
                nulls.append_non_null();
                offsets.push(items.rows as i32);
            }
            Column::Record { nulls, fields } => {
                let mut reader = Reader { bytes, what: "record" };
                if reader.i32()? != fields.len() as i32 {
                    return Err(Error::new(ErrorKind::InvalidBinary, "wrong number of columns in record"));
                }
                append_fields(fields, self.rows, |_, field| {
                    reader.i32()?;
                    match reader.sized()? {
                        Some(value) => field.append_binary(value),
                        None => {
                            field.append_null();
                            Ok(())
                        }
                    }
                })?;
                nulls.append_non_null();
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// One more value, which is the last of what is to be repeated: a default. The array has one row of the column's Arrow form.
    pub fn append_value(&mut self, value: &ArrayRef) -> Result<()> {
        // Rare (defaults in COPY), so by way of text.
        let settings = super::FormatSettings::of(&self.ctx);
        match super::text_at(&self.ty, value, 0, &settings) {
            Some(text) => self.append_text(&text),
            None => {
                self.append_null();
                Ok(())
            }
        }
    }

    /// The column; the builder is empty afterwards.
    pub fn finish(&mut self) -> ArrayRef {
        let rows = std::mem::take(&mut self.rows);
        match &mut self.column {
            Column::Bool(b) => Arc::new(b.finish()),
            Column::Int2(b) => Arc::new(b.finish()),
            Column::Int4(b) => Arc::new(b.finish()),
            Column::Int8(b) => Arc::new(b.finish()),
            Column::UInt8(b) => Arc::new(b.finish()),
            Column::UInt16(b) => Arc::new(b.finish()),
            Column::UInt32(b) => Arc::new(b.finish()),
            Column::UInt64(b) => Arc::new(b.finish()),
            Column::Float4(b) => Arc::new(b.finish()),
            Column::Float8(b) => Arc::new(b.finish()),
            Column::Decimal(b, ..) => Arc::new(b.finish()),
            Column::Numeric(b) => Arc::new(b.finish()),
            Column::Text(b) => Arc::new(b.finish()),
            Column::Bytea(b, _) => Arc::new(b.finish()),
            Column::Uuid(b) => Arc::new(b.finish()),
            Column::Date(b) => Arc::new(b.finish()),
            Column::Time(b) => Arc::new(b.finish()),
            Column::Timestamp(b) => Arc::new(b.finish()),
            Column::Interval(b) => Arc::new(b.finish()),
            Column::Oid(b) => Arc::new(b.finish()),
            Column::Array { offsets, nulls, items } => {
                let field = items.ty.element_field();
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])));
                Arc::new(ListArray::new(field, offsets, items.finish(), nulls.finish()))
            }
            Column::Record { nulls, fields } => {
                let DataType::Struct(types) = self.ty.to_arrow() else { unreachable!("a record is a struct") };
                let columns: Vec<ArrayRef> = fields.iter_mut().map(ColumnBuilder::finish).collect();
                if columns.is_empty() {
                    return Arc::new(StructArray::new_empty_fields(rows, nulls.finish()));
                }
                Arc::new(StructArray::new(types, columns, nulls.finish()))
            }
        }
    }

    /// Forgets the values from `rows` on: only after an error in the middle of an array or record.
    fn truncate(&mut self, rows: usize) {
        if rows >= self.rows {
            return;
        }
        let kept = self.finish().slice(0, rows);
        let mut fresh = ColumnBuilder::new(&self.ty, rows, &self.ctx);
        for row in 0..rows {
            // What was appended once is appended again; its own text cannot fail.
            if kept.is_null(row) || fresh.append_value(&kept.slice(row, 1)).is_err() {
                fresh.append_null();
            }
        }
        *self = fresh;
    }
}

/// Appends to every field, or to none.
fn append_fields(
    fields: &mut [ColumnBuilder],
    rows: usize,
    mut each: impl FnMut(usize, &mut ColumnBuilder) -> Result<()>,
) -> Result<()> {
    for i in 0..fields.len() {
        if let Err(e) = each(i, &mut fields[i]) {
            fields.iter_mut().for_each(|field| field.truncate(rows));
            return Err(e);
        }
    }
    Ok(())
}

/// A state says nothing about itself that could be checked.
fn no_input(ty: &Type) -> Error {
    Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), format!("cannot accept a value of type {ty}"))
        .with_hint("Aggregate the rows with the -State form of the function.")
}

fn append_binary_array(items: &mut ColumnBuilder, bytes: &[u8]) -> Result<()> {
    let mut reader = Reader { bytes, what: "array" };
    let (dimensions, _has_nulls, _oid) = (reader.i32()?, reader.i32()?, reader.i32()?);
    if dimensions == 0 {
        return Ok(());
    }
    if !(0..=1).contains(&dimensions) {
        let message = format!("invalid number of dimensions: {dimensions}");
        return Err(Error::new(ErrorKind::InvalidBinary, message));
    }
    let (length, _bound) = (reader.i32()?, reader.i32()?);
    for _ in 0..length {
        match reader.sized()? {
            Some(value) => items.append_binary(value)?,
            None => items.append_null(),
        }
    }
    if reader.bytes.is_empty() { Ok(()) } else { Err(invalid_length("array")) }
}

/// Takes fields off the front of bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        match self.bytes.split_at_checked(n) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => Err(invalid_length(self.what)),
        }
    }

    fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(fixed(self.take(4)?, self.what)?))
    }

    /// A value with its length before it; `None` for NULL.
    fn sized(&mut self) -> Result<Option<&'a [u8]>> {
        match self.i32()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => self.take(length).map(Some),
                Err(_) => Err(invalid_length(self.what)),
            },
        }
    }
}

fn fixed<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| match bytes.len() < N {
        true => Error::new(ErrorKind::ProtocolViolation, "insufficient data left in message"),
        false => invalid_length(what),
    })
}

fn unsigned<T: TryFrom<V>, V: std::fmt::Display + Copy>(value: V, ty: &Type) -> Result<T> {
    T::try_from(value).map_err(|_| {
        Error::new(ErrorKind::NumericOutOfRange, format!("value \"{value}\" is out of range for type {ty}"))
    })
}

fn datetime_range(what: &str) -> Error {
    Error::new(ErrorKind::DatetimeOutOfRange, format!("{what} out of range"))
}

pub(crate) fn utf8(bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let from = e.valid_up_to();
        let wrong: Vec<String> =
            bytes[from..].iter().take(e.error_len().unwrap_or(4)).map(|b| format!("0x{b:02x}")).collect();
        Error::new(
            ErrorKind::CharacterNotInRepertoire,
            format!("invalid byte sequence for encoding \"UTF8\": {}", wrong.join(" ")),
        )
    })?;
    if text.contains('\0') {
        let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
        return Err(Error::new(ErrorKind::CharacterNotInRepertoire, message));
    }
    Ok(text)
}

/// A boolean in any of the spellings that Postgres takes: unique prefixes of true, false, yes, no, on, off, and 1 and 0.
pub fn parse_bool(text: &str) -> Result<bool> {
    let word = super::trim(text).to_ascii_lowercase();
    let is = |full: &str, least: usize| word.len() >= least && full.starts_with(&word);
    if is("true", 1) || is("yes", 1) || is("on", 2) || word == "1" {
        Ok(true)
    } else if is("false", 1) || is("no", 1) || is("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(super::invalid_text("boolean", text))
    }
}

/// A text as one of a length-limited type: char(n) is padded, and what is too long is refused unless only spaces are lost, or cut off
/// where `cut` says so (an explicit cast).
pub(crate) fn fit_text<'a>(ty: &Type, text: &'a str, cut: bool) -> Result<std::borrow::Cow<'a, str>> {
    use std::borrow::Cow;
    let limit = match ty {
        Type::Varchar(Some(n)) | Type::Bpchar(Some(n)) => *n as usize,
        Type::Name => return Ok(Cow::Borrowed(text.get(..floor_char(text, 63)).unwrap_or(text))),
        Type::Char => return Ok(Cow::Borrowed(text.get(..floor_char(text, 1).max(1)).unwrap_or(text))),
        _ => return Ok(Cow::Borrowed(text)),
    };
    // Bytes bound characters: most texts are known to fit without counting.
    let length = if text.len() <= limit && !matches!(ty, Type::Bpchar(_)) {
        return Ok(Cow::Borrowed(text));
    } else {
        text.chars().count()
    };
    if length > limit {
        let end = text.char_indices().nth(limit).map_or(text.len(), |(at, _)| at);
        if !cut && text[end..].bytes().any(|b| b != b' ') {
            return Err(Error::new(ErrorKind::StringTooLong, format!("value too long for type {}", sql_name(ty))));
        }
        return Ok(Cow::Borrowed(&text[..end]));
    }
    if matches!(ty, Type::Bpchar(_)) && length < limit {
        let mut padded = String::with_capacity(text.len() + limit - length);
        padded.push_str(text);
        padded.extend(std::iter::repeat_n(' ', limit - length));
        return Ok(Cow::Owned(padded));
    }
    Ok(Cow::Borrowed(text))
}

fn sql_name(ty: &Type) -> String {
    match ty {
        Type::Bpchar(Some(n)) => format!("character({n})"),
        other => other.to_string(),
    }
}

fn floor_char(text: &str, limit: usize) -> usize {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}
