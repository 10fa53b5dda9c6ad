//! Where an object would be in PostgreSQL's binary jsonb, which is what `.keyvalue()` takes for its number.
//!
//! A container is a header of four bytes, four for each element (for each key and each value), then the keys and the values themselves. Numbers and
//! containers begin at a multiple of four.

use serde_json::Value;

/// The offset of `target` within `root`, of which it is a part; `None` if it is none.
pub(super) fn offset_of(root: &Value, target: &Value) -> Option<u64> {
    let mut walk = Walk { target, found: None };
    walk.container(root, 0);
    walk.found
}

struct Walk<'v> {
    target: &'v Value,
    found: Option<u64>,
}

impl Walk<'_> {
    /// Passes over a container at an offset, and gives the offset after it.
    fn container(&mut self, value: &Value, at: u64) -> u64 {
        if std::ptr::eq(value, self.target) {
            self.found = Some(at);
        }
        match value {
            Value::Array(elements) => {
                let start = at + 4 + 4 * elements.len() as u64;
                elements.iter().fold(start, |at, element| self.value(element, at))
            }
            Value::Object(map) => {
                let keys: u64 = map.keys().map(|key| key.len() as u64).sum();
                map.values().fold(at + 4 + 8 * map.len() as u64 + keys, |at, value| self.value(value, at))
            }
            _ => at,
        }
    }

    fn value(&mut self, value: &Value, at: u64) -> u64 {
        match value {
            Value::Null | Value::Bool(_) => at,
            Value::String(text) => at + text.len() as u64,
            Value::Number(number) => at.next_multiple_of(4) + number_size(&number.to_string()),
            _ => self.container(value, at.next_multiple_of(4)),
        }
    }
}

/// Bytes of a number: two headers, and two for each four decimal digits from the first that are not all zeros to the last.
fn number_size(text: &str) -> u64 {
    let digits = text.trim_start_matches('-');
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut groups: Vec<bool> = whole.as_bytes().rchunks(4).map(is_not_zero).collect();
    groups.reverse();
    groups.extend(fraction.as_bytes().chunks(4).map(is_not_zero));
    let first = groups.iter().position(|group| *group);
    let last = groups.iter().rposition(|group| *group);
    let count = first.zip(last).map_or(0, |(first, last)| last - first + 1);
    // Of many digits before or after the point, the header is longer.
    let long = whole.len() > 4 * 64 || fraction.len() > 63;
    6 + if long { 2 } else { 0 } + 2 * count as u64
}

fn is_not_zero(digits: &[u8]) -> bool {
    digits.iter().any(|digit| *digit != b'0')
}
