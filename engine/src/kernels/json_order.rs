//! The order of jsonb values, as Postgres's btree has it: object > array > boolean > number > string > null; arrays and objects with more
//! parts are larger, then the first part that differs decides, in an object its key before its value. One exception is kept: an empty
//! array, not inside anything, is smaller than all else.
//!
//! A value's key is bytes in that order:
//!
//! ```text
//! 00                                   the empty array at the top
//! 01                                   null
//! 02, bytes, 00                        a string
//! 03, the numeric's own sort key       a number
//! 04, 05                               false, true
//! 06, count (u32, big-endian), parts   an array
//! 07, count, then key, 00, value …     an object
//! ```

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder};

use super::json::{Elements, Fields, Kind, kind, string, trimmed};
use super::numeric::{Numeric, write_sort_key};

/// The order of two jsonb texts.
pub(crate) fn compare_text(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let key = |text: &str| {
        let mut bytes = Vec::with_capacity(text.len() + 8);
        write_key(text, &mut bytes);
        bytes
    };
    key(a).cmp(&key(b))
}

/// A column of jsonb as bytes in the order of the values; equal values have equal bytes. NULL stays NULL.
pub(crate) fn sort_key(array: &ArrayRef) -> ArrayRef {
    let texts = array.as_string_view();
    let mut out = BinaryViewBuilder::with_capacity(texts.len());
    let mut bytes = Vec::new();
    for text in texts {
        bytes.clear();
        out.append_option(text.map(|text| {
            write_key(text, &mut bytes);
            &bytes
        }));
    }
    Arc::new(out.finish())
}

fn write_key(text: &str, out: &mut Vec<u8>) {
    match kind(text) {
        Kind::Array if Elements::of(text).next().is_none() => out.push(0),
        _ => write_part(text, out),
    }
}

fn write_string(quoted: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(string(quoted).unwrap_or_default().as_bytes());
    out.push(0);
}

fn write_part(text: &str, out: &mut Vec<u8>) {
    let text = trimmed(text);
    match kind(text) {
        Kind::Null => out.push(1),
        Kind::String => {
            out.push(2);
            write_string(text, out);
        }
        Kind::Number => {
            out.push(3);
            write_sort_key(&text.parse().unwrap_or(Numeric::ZERO), out);
        }
        Kind::Boolean => out.push(if text == "true" { 5 } else { 4 }),
        Kind::Array => {
            out.push(6);
            out.extend_from_slice(&(Elements::of(text).count() as u32).to_be_bytes());
            Elements::of(text).for_each(|element| write_part(element, out));
        }
        Kind::Object => {
            out.push(7);
            out.extend_from_slice(&(Fields::of(text).count() as u32).to_be_bytes());
            for (key, value) in Fields::of(text) {
                write_string(key, out);
                write_part(value, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PostgreSQL 15 sorts them.
    #[test]
    fn values_are_in_postgres_order() {
        let sorted = [
            "[]",
            "null",
            r#""""#,
            r#""a""#,
            r#""b""#,
            "-5",
            "1",
            "1000",
            "false",
            "true",
            "[null]",
            r#"["a"]"#,
            "[1]",
            "[true]",
            "[[]]",
            "[[1, 2]]",
            "[{}]",
            "[1, 2]",
            "[[1], [2]]",
            "{}",
            r#"{"a": null}"#,
            r#"{"a": "x"}"#,
            r#"{"a": 1}"#,
            r#"{"a": []}"#,
            r#"{"a": {}}"#,
            r#"{"aa": 1}"#,
            r#"{"b": 1}"#,
            r#"{"a": 1, "b": 2}"#,
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(compare_text(a, b), i.cmp(&j), "{a} and {b}");
            }
        }
        assert_eq!(compare_text("[1.0]", "[1]"), Ordering::Equal);
    }
}
