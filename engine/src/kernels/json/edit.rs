//! New jsonb values out of old ones: `||`, `-`, `#-`, jsonb_set, jsonb_insert, strip_nulls, pretty.
//!
//! Values in and out are in jsonb's normal form, so that what does not change is copied as it is written.

use std::cmp::Ordering;

use super::{Elements, Fields, Kind, is_key, kind, string, subscript, trimmed};
use crate::error::{Error, ErrorKind, Result};
use crate::format::json::write_string;

/// Writes the parts of an array or object with commas between them.
struct Writer<'o> {
    out: &'o mut String,
    empty: bool,
    close: char,
}

impl<'o> Writer<'o> {
    fn array(out: &'o mut String) -> Writer<'o> {
        out.push('[');
        Writer { out, empty: true, close: ']' }
    }

    fn object(out: &'o mut String) -> Writer<'o> {
        out.push('{');
        Writer { out, empty: true, close: '}' }
    }

    /// Where the next part is to be written.
    fn next(&mut self) -> &mut String {
        if !self.empty {
            self.out.push_str(", ");
        }
        self.empty = false;
        self.out
    }

    fn element(&mut self, value: &str) {
        self.next().push_str(value);
    }

    /// Where the value of a field is to be written.
    fn key(&mut self, quoted: &str) -> &mut String {
        let out = self.next();
        out.push_str(quoted);
        out.push_str(": ");
        out
    }

    fn field(&mut self, quoted: &str, value: &str) {
        self.key(quoted).push_str(value);
    }

    fn finish(self) {
        self.out.push(self.close);
    }
}

fn refused(message: &str) -> Error {
    Error::new(ErrorKind::InvalidParameter, message)
}

/// jsonb's order of keys: by length, then bytes.
pub(crate) fn compare_keys(a: &str, b: &str) -> Ordering {
    let text = |quoted: &str| string(quoted).map(|text| text.into_owned()).unwrap_or_default();
    match a.contains('\\') || b.contains('\\') {
        false => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
        true => {
            let (a, b) = (text(a), text(b));
            a.len().cmp(&b.len()).then_with(|| a.cmp(&b))
        }
    }
}

/// `left || right`: of two objects, the fields of both, the right's where both have them; else the elements of both in one array.
pub(crate) fn concatenate(left: &str, right: &str, out: &mut String) {
    let (left, right) = (trimmed(left), trimmed(right));
    if (kind(left), kind(right)) == (Kind::Object, Kind::Object) {
        let (mut a, mut b) = (Fields::of(left).peekable(), Fields::of(right).peekable());
        let mut writer = Writer::object(out);
        loop {
            let order = match (a.peek(), b.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => compare_keys(a, b),
            };
            if order == Ordering::Equal {
                a.next();
            }
            let next = if order == Ordering::Less { a.next() } else { b.next() };
            if let Some((key, value)) = next {
                writer.field(key, value);
            }
        }
        return writer.finish();
    }
    let mut writer = Writer::array(out);
    for side in [left, right] {
        match kind(side) {
            Kind::Array => Elements::of(side).for_each(|element| writer.element(element)),
            _ => writer.element(side),
        }
    }
    writer.finish();
}

/// `value - keys`: without these fields of an object, or strings of an array.
pub(crate) fn without_keys(value: &str, keys: &[&str], out: &mut String) -> Result<()> {
    match kind(value) {
        Kind::Object => {
            let mut writer = Writer::object(out);
            for (key, value) in Fields::of(value) {
                if !keys.iter().any(|gone| is_key(key, gone)) {
                    writer.field(key, value);
                }
            }
            writer.finish();
        }
        Kind::Array => {
            let mut writer = Writer::array(out);
            for element in Elements::of(value) {
                if kind(element) != Kind::String || !keys.iter().any(|gone| is_key(element, gone)) {
                    writer.element(element);
                }
            }
            writer.finish();
        }
        _ => return Err(refused("cannot delete from scalar")),
    }
    Ok(())
}

/// `value - index`: without this element of an array.
pub(crate) fn without_element(value: &str, index: i64, out: &mut String) -> Result<()> {
    match kind(value) {
        Kind::Array => {}
        Kind::Object => return Err(refused("cannot delete from object using integer index")),
        _ => return Err(refused("cannot delete from scalar")),
    }
    let gone = place(index, Elements::of(value).count());
    let mut writer = Writer::array(out);
    for (at, element) in Elements::of(value).enumerate() {
        if Some(at) != gone {
            writer.element(element);
        }
    }
    writer.finish();
    Ok(())
}

/// An index that may count from the end, as one from the start; `None` before the first.
fn place(index: i64, count: usize) -> Option<usize> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    usize::try_from(if index < 0 { index + count } else { index }).ok()
}

/// What is done at the end of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    /// jsonb_set: the new value, in place of the old one or, if it may be created, where there was none.
    Set { value: &'a str, create: bool },
    /// jsonb_insert: the new value, before or after the element, or as a new field.
    Insert { value: &'a str, after: bool },
    /// `#-`
    Delete,
}

/// The value with a change at the end of a path; unchanged where the path leads nowhere.
pub(crate) fn change(value: &str, path: &[&str], change: Change<'_>, out: &mut String) -> Result<()> {
    let value = trimmed(value);
    if kind(value).is_scalar() {
        return Err(refused(match change {
            Change::Delete => "cannot delete path in scalar",
            _ => "cannot set path in scalar",
        }));
    }
    if path.is_empty() {
        out.push_str(value);
        return Ok(());
    }
    change_at(value, path, 0, change, out)
}

fn change_at(value: &str, path: &[&str], depth: usize, change: Change<'_>, out: &mut String) -> Result<()> {
    let last = depth + 1 == path.len();
    match kind(value) {
        Kind::Object => change_field(value, path, depth, last, change, out),
        Kind::Array => change_element(value, path, depth, last, change, out),
        _ => {
            out.push_str(value);
            Ok(())
        }
    }
}

fn change_field(
    value: &str,
    path: &[&str],
    depth: usize,
    last: bool,
    change: Change<'_>,
    out: &mut String,
) -> Result<()> {
    let step = path[depth];
    let known = Fields::of(value).any(|(key, _)| is_key(key, step));
    let mut added = match change {
        Change::Set { value, create: true } | Change::Insert { value, .. } if last && !known => {
            let mut quoted = Vec::with_capacity(step.len() + 2);
            write_string(step, &mut quoted);
            Some((String::from_utf8_lossy(&quoted).into_owned(), value))
        }
        _ => None,
    };
    let mut writer = Writer::object(out);
    for (key, old) in Fields::of(value) {
        if let Some((new_key, new)) = added.take_if(|(new_key, _)| compare_keys(new_key, key) == Ordering::Less) {
            writer.field(&new_key, new);
        }
        if !is_key(key, step) {
            writer.field(key, old);
        } else if !last {
            change_at(old, path, depth + 1, change, writer.key(key))?;
        } else {
            match change {
                Change::Set { value, .. } => writer.field(key, value),
                Change::Delete => {}
                Change::Insert { .. } => {
                    return Err(refused("cannot replace existing key")
                        .with_hint("Try using the function jsonb_set to replace key value."));
                }
            }
        }
    }
    if let Some((key, new)) = added {
        writer.field(&key, new);
    }
    writer.finish();
    Ok(())
}

fn change_element(
    value: &str,
    path: &[&str],
    depth: usize,
    last: bool,
    change: Change<'_>,
    out: &mut String,
) -> Result<()> {
    let step = path[depth];
    let index = subscript(step).ok_or_else(|| {
        let message = format!("path element at position {} is not an integer: \"{step}\"", depth + 1);
        Error::new(ErrorKind::InvalidText, message)
    })?;
    let count = Elements::of(value).count();
    let at = place(index, count);
    let mut writer = Writer::array(out);
    let added = match change {
        Change::Set { value, create: true } | Change::Insert { value, .. } if last => Some(value),
        _ => None,
    };
    if at.is_none()
        && let Some(new) = added
    {
        writer.element(new);
    }
    for (i, old) in Elements::of(value).enumerate() {
        if Some(i) != at {
            writer.element(old);
            continue;
        }
        match change {
            _ if !last => change_at(old, path, depth + 1, change, writer.next())?,
            Change::Set { value, .. } => writer.element(value),
            Change::Insert { value, after: false } => {
                writer.element(value);
                writer.element(old);
            }
            Change::Insert { value, after: true } => {
                writer.element(old);
                writer.element(value);
            }
            Change::Delete => {}
        }
    }
    if at.is_some_and(|at| at >= count)
        && let Some(new) = added
    {
        writer.element(new);
    }
    writer.finish();
    Ok(())
}

/// The value without the fields of objects that are null. `spaced` writes jsonb's spaces, else json's none.
pub(crate) fn strip_nulls(value: &str, spaced: bool, out: &mut String) {
    let value = trimmed(value);
    let (comma, colon) = if spaced { (", ", ": ") } else { (",", ":") };
    match kind(value) {
        Kind::Object => {
            out.push('{');
            let kept = Fields::of(value).filter(|(_, value)| kind(value) != Kind::Null);
            for (i, (key, value)) in kept.enumerate() {
                out.push_str(if i > 0 { comma } else { "" });
                out.push_str(key);
                out.push_str(colon);
                strip_nulls(value, spaced, out);
            }
            out.push('}');
        }
        Kind::Array => {
            out.push('[');
            for (i, value) in Elements::of(value).enumerate() {
                out.push_str(if i > 0 { comma } else { "" });
                strip_nulls(value, spaced, out);
            }
            out.push(']');
        }
        _ => out.push_str(value),
    }
}

/// The value over several lines, four spaces deeper for each level.
pub(crate) fn pretty(value: &str, depth: usize, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", depth));
    };
    match kind(value) {
        Kind::Object => {
            out.push('{');
            for (i, (key, value)) in Fields::of(value).enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                line(depth + 1, out);
                out.push_str(key);
                out.push_str(": ");
                pretty(value, depth + 1, out);
            }
            line(depth, out);
            out.push('}');
        }
        Kind::Array => {
            out.push('[');
            for (i, value) in Elements::of(value).enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                line(depth + 1, out);
                pretty(value, depth + 1, out);
            }
            line(depth, out);
            out.push(']');
        }
        _ => out.push_str(trimmed(value)),
    }
}
