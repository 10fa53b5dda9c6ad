//! Fields that have no column, for tables that grow with their stream (`schema_evolution = 'add_columns'`).
//!
//! The type is that of the first value: what holds it and values like it. A number with a fraction after one without makes the column a double
//! precision as long as it is not there yet; anything else that does not fit is text.

use std::collections::BTreeMap;

use sonic_rs::{JsonType, JsonValueTrait, LazyValue};
use weir_sql::Type;

/// A name as long as Postgres takes; longer ones make no column.
const NAME_BYTES_MAX: usize = 63;

/// New fields of some records, by name.
#[derive(Debug, Default)]
pub(super) struct NewFields(BTreeMap<String, Type>);

impl NewFields {
    /// A field that has no column. A null says nothing of its type.
    pub(super) fn see(&mut self, name: &str, value: &LazyValue) {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
            return;
        }
        let Some(ty) = type_of(value) else { return };
        match self.0.get_mut(name) {
            Some(known) => *known = common(known, &ty),
            None => drop(self.0.insert(name.to_string(), ty)),
        }
    }

    /// What was seen, and nothing left. Of names that differ in case alone the first counts: its column takes the others' values.
    pub(super) fn take(&mut self) -> Vec<(String, Type)> {
        let mut folded: Vec<String> = Vec::new();
        let all = std::mem::take(&mut self.0).into_iter();
        all.filter(|(name, _)| {
            let name = name.to_lowercase();
            let new = !folded.contains(&name);
            folded.push(name);
            new
        })
        .collect()
    }
}

fn common(a: &Type, b: &Type) -> Type {
    match (a, b) {
        (a, b) if a == b => a.clone(),
        (Type::Int8 | Type::Float8, Type::Int8 | Type::Float8) => Type::Float8,
        _ => Type::Text,
    }
}

fn type_of(value: &LazyValue) -> Option<Type> {
    Some(match value.get_type() {
        JsonType::Null => return None,
        JsonType::Boolean => Type::Bool,
        JsonType::Number if value.as_raw_str().parse::<i64>().is_ok() => Type::Int8,
        JsonType::Number => Type::Float8,
        JsonType::String => match value.as_str() {
            Some(text) if is_moment(text) => Type::Timestamptz,
            _ => Type::Text,
        },
        JsonType::Object | JsonType::Array => Type::Jsonb,
    })
}

/// Whether a text is a moment as RFC 3339 writes it, with a zone: `2026-01-02T03:04:05.6Z`, `2026-01-02T03:04:05+02:00`.
fn is_moment(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00T00:00:00";
    let Some(rest) = bytes.get(shape.len()..) else { return false };
    let fits = bytes.iter().zip(shape).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    });
    let fraction = match rest.first() {
        Some(b'.') => 1 + rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let zone = &rest[fraction..];
    let offset = |zone: &[u8]| matches!(zone, [b'+' | b'-', h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()));
    fits && fraction != 1 && (zone == b"Z" || offset(zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(records: &[&str]) -> Vec<(String, Type)> {
        let mut fields = NewFields::default();
        for record in records {
            for field in sonic_rs::to_object_iter(*record) {
                let (name, value) = field.unwrap();
                fields.see(&name, &value);
            }
        }
        fields.take()
    }

    #[test]
    fn a_field_is_of_its_values_type() {
        let record = r#"{"b": true, "i": -5, "big": 9223372036854775808, "f": 1e3, "s": "2026-01-02", "z": null, "o": {"a": 1}, "l": [],
            "t": "2026-01-02T03:04:05.25Z", "u": "2026-01-02T03:04:05+02:00", "v": "2026-01-02T03:04:05", "w": "2026-01-02T03:04:05.Z"}"#;
        let expected = [
            ("b", Type::Bool),
            ("big", Type::Float8),
            ("f", Type::Float8),
            ("i", Type::Int8),
            ("l", Type::Jsonb),
            ("o", Type::Jsonb),
            ("s", Type::Text),
            ("t", Type::Timestamptz),
            ("u", Type::Timestamptz),
            ("v", Type::Text),
            ("w", Type::Text),
        ];
        assert_eq!(seen(&[record]), expected.map(|(name, ty)| (name.to_string(), ty)));
    }

    #[test]
    fn values_of_one_field_have_a_common_type() {
        assert_eq!(seen(&[r#"{"a": 1}"#, r#"{"a": 1.5}"#]), [("a".to_string(), Type::Float8)]);
        assert_eq!(seen(&[r#"{"a": 1}"#, r#"{"a": "x"}"#]), [("a".to_string(), Type::Text)]);
        assert_eq!(seen(&[r#"{"A": 1}"#, r#"{"a": 2}"#]), [("A".to_string(), Type::Int8)]);
        assert_eq!(seen(&[r#"{"": 1}"#, &format!(r#"{{"{}": 2}}"#, "x".repeat(64))]), []);
    }
}
