//! The text of a map: an object of JSON, or ClickHouse's `{'a':1,'b':NULL}`, brought into jsonb's normal form with keys and values that are of
//! the map's types. Of equal keys the last counts, as in jsonb.

use std::borrow::Cow;

use arrow::array::Array;
use weir_sql::Type;
use weir_sql::types::MapType;

use super::json::{normalize, write_string};
use super::nested::push_element;
use super::{ColumnBuilder, FormatSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::functions::Context;
use crate::kernels::json::encode::JsonEncoder;
use crate::kernels::json::{self, Elements, Fields, Kind, kind};

/// A map in normal form, from its text.
pub(crate) fn read(text: &str, ty: &MapType, context: &Context) -> Result<String> {
    let text = match is_clickhouse(text) {
        true => Cow::Owned(to_json(text)?),
        false => Cow::Borrowed(text),
    };
    super::json::check(&text)?;
    if kind(&text) != Kind::Object {
        return Err(malformed(&text).with_detail("A map is an object of keys and values."));
    }
    let mut entries = Vec::new();
    for (key, value) in Fields::of(&text) {
        entries.push((key_text(&json::string(key)?, &ty.key, context)?, value_text(value, ty, context)?));
    }
    Ok(write(entries))
}

/// The object of keys, in quotes, and values.
pub(crate) fn write(mut entries: Vec<(String, String)>) -> String {
    // Stable, so that the last of equal keys stays the last.
    entries.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    let mut out = String::from("{");
    for (at, (key, value)) in entries.iter().enumerate() {
        if entries.get(at + 1).is_some_and(|(next, _)| next == key) {
            continue;
        }
        if out.len() > 1 {
            out.push_str(", ");
        }
        let mut quoted = Vec::with_capacity(key.len() + 2);
        write_string(key, &mut quoted);
        out.push_str(&String::from_utf8_lossy(&quoted));
        out.push_str(": ");
        out.push_str(value);
    }
    out.push('}');
    out
}

/// A key's text as its type writes it.
fn key_text(text: &str, ty: &Type, context: &Context) -> Result<String> {
    if *ty == Type::Text {
        return Ok(text.to_string());
    }
    let encoded = encoded(text, ty, context)?;
    Ok(match kind(&encoded) {
        Kind::String => json::string(&encoded)?.into_owned(),
        _ => encoded,
    })
}

/// A value of JSON as one of the map's type.
fn value_text(value: &str, map: &MapType, context: &Context) -> Result<String> {
    let ty = &map.value;
    match (kind(value), ty) {
        (Kind::Null, _) if map.nullable || matches!(ty, Type::Json | Type::Jsonb) => Ok("null".to_string()),
        (Kind::Null, ty) => {
            let message = format!("a value of a map of {ty} cannot be null");
            Err(Error::new(ErrorKind::InvalidText, message).with_hint("Map(K, Nullable(V)) may have NULLs."))
        }
        (Kind::String, Type::Text) | (_, Type::Json | Type::Jsonb) => normalize(value),
        (Kind::String, ty) => encoded(&json::string(value)?, ty, context),
        (_, Type::Array(_)) => encoded(&array_text(value)?, ty, context),
        _ => encoded(value, ty, context),
    }
}

/// A text as a value of the type, in JSON.
fn encoded(text: &str, ty: &Type, context: &Context) -> Result<String> {
    let mut builder = ColumnBuilder::new(ty, 1, context);
    builder.append_text(text)?;
    let array = builder.finish();
    debug_assert_eq!(array.len(), 1);
    let mut out = String::new();
    JsonEncoder::new(ty, &array, &FormatSettings::of(context)).write_normal(0, &mut out)?;
    Ok(out)
}

/// An array of JSON as Postgres writes one.
fn array_text(value: &str) -> Result<String> {
    let mut out = String::from("{");
    for (at, item) in Elements::of(value).enumerate() {
        if at > 0 {
            out.push(',');
        }
        match json::as_text(item)? {
            None => out.push_str("NULL"),
            Some(text) => {
                push_element(&mut out, &text);
            }
        }
    }
    out.push('}');
    Ok(out)
}

/// Whether a text is ClickHouse's form: quotes are apostrophes, or a key has none.
fn is_clickhouse(text: &str) -> bool {
    let inner = text.trim_start().strip_prefix('{').map(str::trim_start);
    inner.is_some_and(|inner| !inner.is_empty() && !inner.starts_with(['"', '}']))
}

/// ClickHouse's form as JSON: `'a\'b'` and `''` are quotes of strings, keys that have none get them, NULL is null.
fn to_json(text: &str) -> Result<String> {
    let mut out = Vec::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    // Open braces and brackets.
    let (mut depth, mut arrays) = (0_usize, 0_usize);
    // Whether what follows is a key.
    let mut key = false;
    while let Some(c) = chars.next() {
        match c {
            '{' => {
                depth += 1;
                key = depth == 1;
                out.push(b'{');
            }
            '}' => {
                depth = depth.saturating_sub(1);
                out.push(b'}');
            }
            ':' => {
                key = false;
                out.push(b':');
            }
            ',' => {
                key = depth == 1 && arrays == 0;
                out.push(b',');
            }
            '\'' | '"' => {
                let mut string = String::new();
                loop {
                    match chars.next() {
                        Some('\\') => match chars.next() {
                            Some('n') => string.push('\n'),
                            Some('t') => string.push('\t'),
                            Some('r') => string.push('\r'),
                            Some('0') | None => return Err(malformed(text)),
                            Some(other) => string.push(other),
                        },
                        Some(quote) if quote == c && chars.peek() == Some(&c) => {
                            chars.next();
                            string.push(c);
                        }
                        Some(quote) if quote == c => break,
                        Some(other) => string.push(other),
                        None => return Err(malformed(text)),
                    }
                }
                write_string(&string, &mut out);
            }
            c if c.is_whitespace() => out.push(b' '),
            c if c.is_alphanumeric() || matches!(c, '-' | '+' | '.' | '_') => {
                let mut word = String::from(c);
                while let Some(more) = chars.next_if(|c| c.is_alphanumeric() || matches!(c, '-' | '+' | '.' | '_')) {
                    word.push(more);
                }
                match word.to_ascii_lowercase().as_str() {
                    "null" | "true" | "false" if !key => out.extend_from_slice(word.to_ascii_lowercase().as_bytes()),
                    _ if key => write_string(&word, &mut out),
                    _ => out.extend_from_slice(word.as_bytes()),
                }
            }
            '[' => {
                arrays += 1;
                out.push(b'[');
            }
            ']' => {
                arrays = arrays.saturating_sub(1);
                out.push(b']');
            }
            _ => return Err(malformed(text)),
        }
    }
    String::from_utf8(out).map_err(|_| malformed(text))
}

fn malformed(text: &str) -> Error {
    Error::new(ErrorKind::InvalidText, format!("malformed map literal: \"{text}\""))
}

#[cfg(test)]
mod tests {
    use super::to_json;

    #[test]
    fn clickhouse_maps_are_objects() {
        let json = |text: &str| to_json(text).expect(text);
        assert_eq!(json("{'a':1,'b\\'c':NULL}"), r#"{"a":1,"b'c":null}"#);
        assert_eq!(json("{1:'x', 2 : 'y''z'}"), r#"{"1":"x", "2" : "y'z"}"#);
        assert_eq!(json("{'a':['x','y'],'b':[]}"), r#"{"a":["x","y"],"b":[]}"#);
        assert!(to_json("{'a").is_err());
    }
}
