//! The order of jsonb values: Object > Array > Boolean > Number > String > null, as Postgres's btree sorts them.

use std::cmp::Ordering;

use serde_json::Value;

use super::numeric::Numeric;

/// Orders two jsonb texts; texts that are not JSON (which jsonb never holds) compare as bytes.
pub(crate) fn compare_text(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    match (serde_json::from_str(a), serde_json::from_str(b)) {
        (Ok(a), Ok(b)) => compare(&a, &b),
        _ => a.cmp(b),
    }
}

fn rank(v: &Value) -> u8 {
    match v {
        Value::Null => 0,
        Value::String(_) => 1,
        Value::Number(_) => 2,
        Value::Bool(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => {
            match (a.to_string().parse::<Numeric>(), b.to_string().parse::<Numeric>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                _ => Ordering::Equal,
            }
        }
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        // Postgres sorts an empty array below everything else.
        (Value::Array(a), Value::Array(b)) => a.len().cmp(&b.len()).then_with(|| compare_all(a.iter(), b.iter())),
        (Value::Array(a), _) if a.is_empty() => Ordering::Less,
        (_, Value::Array(b)) if b.is_empty() => Ordering::Greater,
        (Value::Object(a), Value::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
            for ((k, v), (l, w)) in a.iter().zip(b.iter()) {
                let order = (k.len(), k).cmp(&(l.len(), l)).then_with(|| compare(v, w));
                if order != Ordering::Equal {
                    return order;
                }
            }
            Ordering::Equal
        }),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn compare_all<'a>(a: impl Iterator<Item = &'a Value>, b: impl Iterator<Item = &'a Value>) -> Ordering {
    for (x, y) in a.zip(b) {
        let order = compare(x, y);
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}
