//! Reading JSON text in place: a value is the part of the text that it is written in, found by scanning, never by building a tree.
//!
//! The texts are those of json and jsonb columns, which were checked when they came in. On a text that is not JSON nothing here fails or
//! leaves the text; what it gives is then unspecified.
//!
//! json may have a key twice, of which the last counts ([`field`] with `last`); jsonb has its keys once, ordered by length and then by bytes.

pub(crate) mod contain;
pub(crate) mod edit;
pub(crate) mod encode;
pub(crate) mod path;

use std::borrow::Cow;

use memchr::memchr2;

use crate::error::{Error, ErrorKind, Result};

/// What a JSON value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    String,
    Number,
    Boolean,
    Array,
    Object,
}

impl Kind {
    /// As json_typeof names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::String => "string",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Array => "array",
            Kind::Object => "object",
        }
    }

    /// Whether it has no parts.
    pub(crate) fn is_scalar(self) -> bool {
        !matches!(self, Kind::Array | Kind::Object)
    }
}

/// What a value is, by its first byte.
pub(crate) fn kind(text: &str) -> Kind {
    match text.as_bytes().get(skip_space(text.as_bytes(), 0)) {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'n') | None => Kind::Null,
        Some(_) => Kind::Number,
    }
}

#[inline]
fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Past the string whose opening quote is at `at`.
#[inline]
fn skip_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

/// Past the value that starts at `at`.
fn skip_value(bytes: &[u8], mut at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => skip_string(bytes, at),
        Some(b'{' | b'[') => {
            let mut depth = 0_usize;
            while let Some(byte) = bytes.get(at) {
                match byte {
                    b'"' => {
                        at = skip_string(bytes, at);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return at + 1;
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
            bytes.len()
        }
        _ => {
            while !matches!(bytes.get(at), None | Some(b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\n' | b'\r')) {
                at += 1;
            }
            at
        }
    }
}

/// The value that a text starts with, whatever follows it.
pub(crate) fn first(text: &str) -> &str {
    let start = skip_space(text.as_bytes(), 0);
    text.get(start..skip_value(text.as_bytes(), start)).unwrap_or("")
}

/// A value without the white space around it.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

/// The elements of an array, as they are written; nothing for other values.
#[derive(Debug, Clone)]
pub(crate) struct Elements<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Elements<'a> {
    pub(crate) fn of(text: &'a str) -> Elements<'a> {
        let start = skip_space(text.as_bytes(), 0);
        let at = if text.as_bytes().get(start) == Some(&b'[') { start + 1 } else { text.len() };
        Elements { text, at }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let mut start = skip_space(bytes, self.at);
        if bytes.get(start) == Some(&b',') {
            start = skip_space(bytes, start + 1);
        }
        let end = skip_value(bytes, start);
        if end == start {
            self.at = bytes.len();
            return None;
        }
        self.at = end;
        self.text.get(start..end)
    }
}

/// The fields of an object, as they are written: key with its quotes, value. Nothing for other values.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(text: &'a str) -> Fields<'a> {
        let start = skip_space(text.as_bytes(), 0);
        let at = if text.as_bytes().get(start) == Some(&b'{') { start + 1 } else { text.len() };
        Fields { text, at }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        let bytes = self.text.as_bytes();
        let mut key = skip_space(bytes, self.at);
        if bytes.get(key) == Some(&b',') {
            key = skip_space(bytes, key + 1);
        }
        if bytes.get(key) != Some(&b'"') {
            self.at = bytes.len();
            return None;
        }
        let key_end = skip_string(bytes, key);
        let colon = skip_space(bytes, key_end);
        let start = skip_space(bytes, colon + 1);
        let end = skip_value(bytes, start);
        self.at = end;
        Some((self.text.get(key..key_end)?, self.text.get(start..end)?))
    }
}

/// Whether a quoted key is this one.
#[inline]
pub(crate) fn is_key(quoted: &str, key: &str) -> bool {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or("");
    if inner == key {
        return !inner.contains('\\');
    }
    inner.len() > key.len() && inner.contains('\\') && string(quoted).is_ok_and(|unescaped| unescaped == key)
}

/// An object's field: the first with this key, or the last.
pub(crate) fn field<'a>(text: &'a str, key: &str, last: bool) -> Option<&'a str> {
    let mut fields = Fields::of(text).filter(|(quoted, _)| is_key(quoted, key)).map(|(_, value)| value);
    if last { fields.last() } else { fields.next() }
}

/// An array's element, counted from 0, or from the end with -1 the last.
pub(crate) fn element(text: &str, index: i64) -> Option<&str> {
    let index = match usize::try_from(index) {
        Ok(index) => index,
        Err(_) => {
            let back = usize::try_from(index.unsigned_abs()).ok()?;
            Elements::of(text).count().checked_sub(back)?
        }
    };
    Elements::of(text).nth(index)
}

/// What is at the end of a path of texts: keys of objects, and numbers of elements of arrays.
pub(crate) fn at_path<'a>(text: &'a str, path: &[&str], last: bool) -> Option<&'a str> {
    path.iter().try_fold(trimmed(text), |value, step| match kind(value) {
        Kind::Object => field(value, step, last),
        Kind::Array => element(value, subscript(step)?),
        _ => None,
    })
}

/// A path's step as the number of an element.
pub(crate) fn subscript(step: &str) -> Option<i64> {
    step.trim_start().parse::<i32>().ok().map(i64::from)
}

/// The text of a quoted string.
pub(crate) fn string(quoted: &str) -> Result<Cow<'_, str>> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or("");
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    let text: String = serde_json::from_str(quoted)
        .map_err(|_| Error::new(ErrorKind::InvalidText, "invalid input syntax for type json"))?;
    if text.contains('\0') {
        return Err(Error::new(ErrorKind::CharacterNotInRepertoire, "unsupported Unicode escape sequence")
            .with_detail("\\u0000 cannot be converted to text."));
    }
    Ok(Cow::Owned(text))
}

/// A value as text: a string without its quotes, anything else as it is written; `None` for null.
pub(crate) fn as_text(value: &str) -> Result<Option<Cow<'_, str>>> {
    Ok(match kind(value) {
        Kind::Null => None,
        Kind::String => Some(string(trimmed(value))?),
        _ => Some(Cow::Borrowed(trimmed(value))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_where_they_are_written() {
        let text = r#" {"a" : [1, "x,]}\"", {"b":null}], "c\u0041":-1.5e3,"":true , "a":2} "#;
        let fields: Vec<_> = Fields::of(text).collect();
        assert_eq!(
            fields,
            [
                (r#""a""#, r#"[1, "x,]}\"", {"b":null}]"#),
                (r#""c\u0041""#, "-1.5e3"),
                (r#""""#, "true"),
                (r#""a""#, "2")
            ]
        );
        assert_eq!(field(text, "cA", false), Some("-1.5e3"));
        assert_eq!(field(text, "a", true), Some("2"));
        assert_eq!(field(text, "", true), Some("true"));
        assert_eq!(field(text, "c\\u0041", true), None);
        let list = field(text, "a", false).expect("it is there");
        assert_eq!(Elements::of(list).collect::<Vec<_>>(), ["1", r#""x,]}\"""#, r#"{"b":null}"#]);
        assert_eq!(element(list, -1), Some(r#"{"b":null}"#));
        assert_eq!(element(list, -4), None);
        assert_eq!(at_path(text, &["a"], false).map(kind), Some(Kind::Array));
        assert_eq!(at_path(r#"{"a":[{"b":7}]}"#, &["a", "-1", "b"], false), Some("7"));
        assert_eq!(Elements::of("[ ]").count(), 0);
        assert_eq!(Fields::of("{ }").count(), 0);
        assert_eq!(Elements::of("{}").count(), 0);
    }

    #[test]
    fn what_is_not_json_ends() {
        for text in ["", "[", "{", "[1", "[,", "{\"a", "{\"a\"", "{\"a\":", "[\"\\", "[}", "{]", "[[1]", "ä", "[ä,ö"]
        {
            let _ = (Elements::of(text).take(9).count(), Fields::of(text).take(9).count(), kind(text), as_text(text));
            let _ = (field(text, "a", true), element(text, -1), at_path(text, &["a", "0"], true));
        }
    }
}
