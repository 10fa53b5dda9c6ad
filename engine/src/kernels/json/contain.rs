//! Whether a jsonb value contains another (`@>`) or has a key (`?`), by Postgres's rules.
//!
//! An object contains another whose fields it all has, their values containing the other's values; an array contains another if for each
//! of its elements there is one that equals or (being an array or object) contains it. An array, at the top only, also contains a scalar.

use super::{Elements, Fields, Kind, as_text, is_key, kind, trimmed};
use crate::kernels::numeric::Numeric;

/// Whether `whole @> part`. Both are in jsonb's normal form.
pub(crate) fn contains(whole: &str, part: &str) -> bool {
    let (whole, part) = (trimmed(whole), trimmed(part));
    if kind(whole) == Kind::Array && kind(part).is_scalar() {
        return Elements::of(whole).any(|element| equal_scalars(element, part));
    }
    inside(whole, part)
}

fn inside(whole: &str, part: &str) -> bool {
    match (kind(whole), kind(part)) {
        (Kind::Object, Kind::Object) => Fields::of(part).all(|(key, wanted)| {
            // Keys in normal form are equal if they are written the same.
            let found = Fields::of(whole).find(|(known, _)| *known == key);
            found.is_some_and(|(_, value)| inside(value, wanted))
        }),
        (Kind::Array, Kind::Array) => {
            Elements::of(part).all(|wanted| Elements::of(whole).any(|element| inside(element, wanted)))
        }
        (a, b) if a == b => equal_scalars(whole, part),
        _ => false,
    }
}

/// Equality of scalars in normal form: numbers by value, anything else as it is written.
fn equal_scalars(a: &str, b: &str) -> bool {
    a == b
        || kind(a) == Kind::Number
            && kind(b) == Kind::Number
            && matches!((a.parse::<Numeric>(), b.parse::<Numeric>()), (Ok(a), Ok(b)) if a == b)
}

/// Whether a text is a key of the object, an element of the array, or the string itself (`?`).
pub(crate) fn has_key(text: &str, key: &str) -> bool {
    let is_string = |value: &str| kind(value) == Kind::String && is_key(value, key);
    match kind(text) {
        Kind::Object => Fields::of(text).any(|(quoted, _)| is_key(quoted, key)),
        Kind::Array => Elements::of(text).any(is_string),
        Kind::String => matches!(as_text(text), Ok(Some(text)) if text == key),
        _ => false,
    }
}
