//! json and jsonb text: checking one, and bringing the other into Postgres's normal form.
//!
//! jsonb's form: keys sorted by length and then bytes, the last of equal keys kept, one space after `:` and `,`, numbers written out
//! as numerics.

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::numeric::Numeric;

/// Refuses what is not JSON.
pub fn check(text: &str) -> Result<()> {
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|e| invalid(text, &e))
}

/// The normal form of a JSON text.
pub fn normalize(text: &str) -> Result<String> {
    let value: Value = serde_json::from_str(text).map_err(|e| invalid(text, &e))?;
    let mut out = Vec::with_capacity(text.len() + 16);
    write(&value, &mut out)?;
    String::from_utf8(out).map_err(|_| Error::internal("JSON is not UTF-8"))
}

fn invalid(text: &str, error: &serde_json::Error) -> Error {
    let detail = if error.is_eof() {
        "The input string ended unexpectedly.".to_string()
    } else {
        let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or("");
        let at = line.char_indices().map(|(i, _)| i).nth(error.column().saturating_sub(1)).unwrap_or(0);
        // The word in which the parser stopped.
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '.');
        let start = line[..at]
            .rfind(|c: char| !is_word(c))
            .map_or(0, |i| i + line[i..].chars().next().map_or(1, char::len_utf8));
        let end = line[start..].find(|c: char| !is_word(c)).map_or(line.len(), |i| start + i);
        let token = if start < end { &line[start..end] } else { line[at..].get(..1).unwrap_or("") };
        format!("Token \"{token}\" is invalid.")
    };
    Error::new(ErrorKind::InvalidText, "invalid input syntax for type json").with_detail(detail)
}

/// Appends a value in jsonb's normal form.
pub fn write(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(n) => n.to_string().parse::<Numeric>()?.write_text(out),
        Value::String(s) => {
            if s.contains('\0') {
                return Err(Error::new(ErrorKind::CharacterNotInRepertoire, "unsupported Unicode escape sequence")
                    .with_detail("\\u0000 cannot be converted to text."));
            }
            write_string(s, out);
        }
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
            out.push(b'{');
            for (i, (key, item)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                write_string(key, out);
                out.extend_from_slice(b": ");
                write(item, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// Appends a quoted JSON string, escaped as Postgres does.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for &b in text.as_bytes() {
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..=0x1f => out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
            _ => out.push(b),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jsonb_has_one_form() {
        for (text, normal) in [
            (r#"{"bb":1,"a":2,"a":3}"#, r#"{"a": 3, "bb": 1}"#),
            ("[1,  1.50, 1e2, -0.0, 1e-3]", "[1, 1.50, 100, 0.0, 0.001]"),
            (r#" "a\u0041\n" "#, r#""aA\n""#),
            ("{}", "{}"),
            ("[]", "[]"),
            ("null", "null"),
        ] {
            assert_eq!(normalize(text).expect(text), normal);
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_the_token() {
        let error = check("{bad}").unwrap_err();
        assert_eq!(error.message, "invalid input syntax for type json");
        assert_eq!(error.detail.as_deref(), Some("Token \"bad\" is invalid."));
        assert_eq!(check("{").unwrap_err().detail.as_deref(), Some("The input string ended unexpectedly."));
    }
}
