//! Values as bytes for clients: Postgres's text and binary forms of every type, both ways.
//!
//! Columns go out through an [`text::TextEncoder`] or [`binary::BinaryEncoder`], made once a batch and column, and come in through a
//! [`ColumnBuilder`], made once a column. Nothing allocates per value but what the value itself needs. COPY, the wire and casts to and from text
//! all use these, so that they cannot disagree.

pub mod binary;
mod builder;
mod bytea;
pub mod datetime;
mod datetime_parse;
mod datetime_words;
mod float;
mod integer;
pub mod interval;
pub mod json;
pub(crate) mod map;
mod names;
mod nested;
mod numeric_binary;
pub mod text;
mod uuid;

use std::sync::Arc;

use arrow::array::ArrayRef;
use jiff::tz::TimeZone;
use weir_sql::{Type, Value};

pub use binary::BinaryEncoder;
pub(crate) use builder::utf8;
pub use builder::{ColumnBuilder, parse_bool};
pub use float::{write_f32, write_f64};
pub use names::quote_identifier;
pub(crate) use nested::push_element;
pub use text::TextEncoder;

use crate::error::{Error, ErrorKind, Result};
use crate::functions::{CatalogLookup, Context};

/// How a session wants its text.
#[derive(Debug, Clone)]
pub struct FormatSettings {
    /// TimeZone: in which timestamptz is shown.
    pub time_zone: TimeZone,
    /// IntervalStyle.
    pub interval_style: IntervalStyle,
    /// bytea_output: whether `escape` rather than `hex`.
    pub bytea_escape: bool,
    /// extra_float_digits: `None` (1 and more) for the shortest digits that read back the same, else so many fewer or more than 15 (6).
    pub float_digits: Option<i32>,
    /// Names of objects, for regclass and its like.
    pub catalog: Arc<dyn CatalogLookup>,
}

/// Postgres's IntervalStyle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IntervalStyle {
    /// `1 year 2 mons 3 days 04:05:06`
    #[default]
    Postgres,
    /// `@ 1 year 2 mons 3 days 4 hours 5 mins 6 secs`
    PostgresVerbose,
    /// `+1-2 +3 +4:05:06`
    SqlStandard,
    /// `P1Y2M3DT4H5M6S`
    Iso8601,
}

impl FormatSettings {
    /// The settings of the session that a statement runs in.
    pub fn of(ctx: &Context) -> FormatSettings {
        let setting = |name: &str| ctx.settings.get(name).map(|v| v.to_ascii_lowercase());
        FormatSettings {
            time_zone: ctx.time_zone.clone(),
            interval_style: match setting("intervalstyle").as_deref() {
                Some("postgres_verbose") => IntervalStyle::PostgresVerbose,
                Some("sql_standard") => IntervalStyle::SqlStandard,
                Some("iso_8601") => IntervalStyle::Iso8601,
                _ => IntervalStyle::Postgres,
            },
            bytea_escape: setting("bytea_output").as_deref() == Some("escape"),
            float_digits: setting("extra_float_digits").and_then(|v| v.parse().ok()).filter(|&n: &i32| n < 1),
            catalog: Arc::clone(&ctx.catalog),
        }
    }
}

/// UTC and Postgres's defaults, without a catalogue.
impl Default for FormatSettings {
    fn default() -> FormatSettings {
        FormatSettings::of(&Context::detached())
    }
}

/// The value that a text stands for.
pub fn parse_text(ty: &Type, text: &str, ctx: &Context) -> Result<Value> {
    let mut builder = ColumnBuilder::new(ty, 1, ctx);
    builder.append_text(text)?;
    Ok(Value::new(ty.clone(), builder.finish()))
}

/// The value that bytes in Postgres's binary form stand for.
pub fn parse_binary(ty: &Type, bytes: &[u8], ctx: &Context) -> Result<Value> {
    let mut builder = ColumnBuilder::new(ty, 1, ctx);
    builder.append_binary(bytes)?;
    Ok(Value::new(ty.clone(), builder.finish()))
}

/// The text of one value; `None` for NULL. For a column use a [`TextEncoder`].
pub fn to_text(value: &Value, settings: &FormatSettings) -> Option<String> {
    text_at(&value.ty, &value.array, 0, settings)
}

/// The text of one row; `None` for NULL. For more than a few rows use a [`TextEncoder`].
pub fn text_at(ty: &Type, array: &ArrayRef, row: usize, settings: &FormatSettings) -> Option<String> {
    let encoder = TextEncoder::new(ty, array, settings);
    if encoder.is_null(row) {
        return None;
    }
    let mut out = Vec::new();
    encoder.write(row, &mut out);
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// `invalid input syntax for type integer: "x"`.
pub(crate) fn invalid_text(ty: &str, text: &str) -> Error {
    Error::new(ErrorKind::InvalidText, format!("invalid input syntax for type {ty}: \"{text}\""))
}

/// Bytes of the wrong length for their type.
pub(crate) fn invalid_length(what: &str) -> Error {
    Error::new(ErrorKind::InvalidBinary, format!("incorrect binary data format for type {what}"))
}

/// Leading and trailing white space as C's `isspace` has it.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}
