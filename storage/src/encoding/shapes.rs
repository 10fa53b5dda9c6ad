//! Cutting documents into shapes and holes: the writing of [`super::json`].
//!
//! Documents of a column look alike, so each is first held against the shapes that were met last: where the bytes between the holes are the
//! same, what is in the holes is all that is left to find. Only what fits none of them is looked at byte by byte ([`cut`]). Both cut alike.
//!
//! A hole is a column by itself, and what its encoder learnt in one chunk (tables, choices) serves in the next ([`Memory`]).

use arrow::array::Int64Array;
use hashbrown::HashMap;
use memchr::memchr2;

use super::integers::{self, Shape};
use super::json::{BYTES, INTEGER, SHAPES_MAX, WELL_FORMED, is_object};
use super::{Effort, Encoder};
use crate::bytes::Write;
use crate::error::Decoded;

/// A shape of more holes than this is not cut.
const HOLES_MAX: usize = 256;
/// So many shapes a document is held against.
const TRIES: usize = 4;
/// So many documents are fetched at once, of each so many lines of so many bytes.
const BLOCK: usize = 16;
const LINES: usize = 4;
const LINE: usize = 64;
/// So many holes have their encoders kept: each may have a table of some hundred kilobytes.
const ENCODERS_MAX: usize = 64;

/// The encoders of the holes of the last chunk's shapes.
#[derive(Default)]
pub(super) struct Memory(Vec<(Vec<u8>, Vec<Encoder>)>);

impl Memory {
    /// Those of a shape, which it may keep or have made anew.
    fn take(&mut self, shape: &[u8]) -> Vec<Encoder> {
        let at = self.0.iter().position(|(known, _)| known == shape);
        at.map(|at| self.0.swap_remove(at).1).unwrap_or_default()
    }
}

/// What one hole of a shape has, in the order of rows.
enum Hole<'a> {
    Integers(Vec<i64>),
    /// Numbers that are not written as integers.
    Numbers(Vec<&'a [u8]>),
    Strings(Vec<&'a [u8]>),
}

#[derive(Debug, PartialEq)]
enum Cut<'a> {
    Integer(i64),
    Number(&'a [u8]),
    String(&'a [u8]),
}

impl<'a> Hole<'a> {
    fn of(cut: &Cut<'_>) -> Hole<'a> {
        match cut {
            Cut::Integer(_) => Hole::Integers(Vec::new()),
            Cut::Number(_) => Hole::Numbers(Vec::new()),
            Cut::String(_) => Hole::Strings(Vec::new()),
        }
    }

    /// False where the hole is of another kind.
    fn push(&mut self, cut: &Cut<'a>) -> bool {
        match (self, cut) {
            (Hole::Integers(all), Cut::Integer(number)) => all.push(*number),
            (Hole::Numbers(all), Cut::Number(bytes)) | (Hole::Strings(all), Cut::String(bytes)) => all.push(bytes),
            _ => return false,
        }
        true
    }
}

/// A shape, and what the documents that have it have in its holes.
struct Known<'a> {
    shape: Vec<u8>,
    /// What stands before each hole, and after the last.
    literals: Vec<Vec<u8>>,
    holes: Vec<Hole<'a>>,
}

impl<'a> Known<'a> {
    fn new(shape: &[u8], cuts: &[Cut<'a>]) -> Known<'a> {
        let literals = shape.split(|&byte| byte <= BYTES).map(<[u8]>::to_vec).collect();
        Known { shape: shape.to_vec(), literals, holes: cuts.iter().map(Hole::of).collect() }
    }

    /// Cuts a document, if it has this shape.
    fn cut(&self, value: &'a [u8], cuts: &mut Vec<Cut<'a>>) -> bool {
        cuts.clear();
        let mut rest = value;
        for (literal, hole) in self.literals.iter().zip(&self.holes) {
            let Some(from) = rest.strip_prefix(&literal[..]) else { return false };
            let end = match hole {
                Hole::Strings(_) => string_end(from, 0),
                Hole::Integers(_) | Hole::Numbers(_) => number_end(from),
            };
            let (bytes, after) = from.split_at(end);
            let cut = match hole {
                Hole::Strings(_) => Some(Cut::String(bytes)),
                Hole::Integers(_) => integer(bytes).map(Cut::Integer),
                // One that is written as an integer is of another shape.
                Hole::Numbers(_) if bytes.first().is_some_and(begins_number) && integer(bytes).is_none() => {
                    Some(Cut::Number(bytes))
                }
                Hole::Numbers(_) => None,
            };
            let Some(cut) = cut else { return false };
            cuts.push(cut);
            rest = after;
        }
        self.literals.last().is_some_and(|literal| rest == &literal[..])
    }
}

/// The shapes of a chunk, in the order in which they first appear.
#[derive(Default)]
struct Shapes<'a> {
    known: Vec<Known<'a>>,
    numbers: HashMap<Vec<u8>, usize>,
    /// The last document's.
    last: usize,
    shape: Vec<u8>,
    cuts: Vec<Cut<'a>>,
}

impl<'a> Shapes<'a> {
    /// Takes a document; gives the number of its shape, `None` if it cannot be cut or is one too many.
    fn add(&mut self, value: &'a [u8]) -> Option<usize> {
        let fits = |&number: &usize| match self.known.get(number) {
            Some(known) => known.cut(value, &mut self.cuts),
            None => false,
        };
        let number = match std::iter::once(self.last).chain(0..TRIES).find(fits) {
            Some(number) => number,
            None => self.look(value)?,
        };
        self.last = number;
        let mut holes = self.known[number].holes.iter_mut().zip(&self.cuts);
        holes.all(|(hole, cut)| hole.push(cut)).then_some(number)
    }

    /// Cuts a document byte by byte.
    fn look(&mut self, value: &'a [u8]) -> Option<usize> {
        if !cut(value, &mut self.shape, &mut self.cuts) {
            return None;
        }
        match self.numbers.get(&self.shape) {
            Some(&number) => Some(number),
            None if self.known.len() == SHAPES_MAX => None,
            None => {
                self.numbers.insert(self.shape.clone(), self.known.len());
                self.known.push(Known::new(&self.shape, &self.cuts));
                Some(self.known.len() - 1)
            }
        }
    }
}

/// The body for these values, if they have few shapes.
pub(super) fn encode(values: &[&[u8]], memory: &mut Memory) -> Decoded<Option<Vec<u8>>> {
    let mut shapes = Shapes::default();
    let mut codes = Vec::with_capacity(values.len());
    let (mut raw, mut is_plain) = (0, true);
    for block in values.chunks(BLOCK) {
        touch(block);
        for value in block {
            let Some(code) = shapes.add(value) else { return Ok(None) };
            codes.push(code as u64);
            raw += value.len() as u64;
            is_plain &= is_plain_text(value);
        }
    }
    let mut out = Vec::new();
    out.put_varint(raw);
    let is_well_formed = shapes.known.iter().all(|known| is_well_formed(known, is_plain));
    out.put_varint(shapes.known.len() as u64 + if is_well_formed { WELL_FORMED } else { 0 });
    shapes.known.iter().for_each(|known| out.put_bytes(&known.shape));
    integers::nest(&codes, Shape::U32, &mut out);
    let (mut kept, mut free) = (Vec::with_capacity(shapes.known.len()), ENCODERS_MAX);
    for known in shapes.known {
        let mut encoders = memory.take(&known.shape);
        // With all its means, as a column by itself.
        encoders.resize_with(known.holes.len(), || Encoder::new(Effort::Fast));
        for (hole, encoder) in known.holes.into_iter().zip(&mut encoders) {
            match hole {
                Hole::Integers(all) => encoder.encode_nested(&Int64Array::from(all), &mut out)?,
                Hole::Numbers(all) | Hole::Strings(all) => encoder.encode_nested_bytes(&all, &mut out)?,
            }
        }
        encoders.truncate(free);
        free -= encoders.len();
        kept.push((known.shape, encoders));
    }
    memory.0 = kept;
    Ok(Some(out))
}

/// Has the beginnings of documents, which lie anywhere when rows were sorted, fetched from memory all at once: none waits for the one before.
fn touch(values: &[&[u8]]) {
    let lines = values.iter().flat_map(|value| value.iter().step_by(LINE).take(LINES));
    std::hint::black_box(lines.fold(0, |all, byte| all ^ byte));
}

/// A value's shape, and what is cut out of it; false when it has a mark in it or is too long.
fn cut<'a>(value: &'a [u8], shape: &mut Vec<u8>, cuts: &mut Vec<Cut<'a>>) -> bool {
    shape.clear();
    cuts.clear();
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        match byte {
            INTEGER | BYTES => return false,
            b'"' => {
                let end = string_end(value, at + 1);
                let is_key = value[end..].iter().skip(1).find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
                shape.push(b'"');
                if is_key {
                    if value[at + 1..end].iter().any(|&byte| byte <= BYTES) {
                        return false;
                    }
                    shape.extend_from_slice(&value[at + 1..end]);
                } else {
                    shape.push(BYTES);
                    cuts.push(Cut::String(&value[at + 1..end]));
                }
                if end < value.len() {
                    shape.push(b'"');
                }
                at = end + 1;
            }
            _ if begins_number(&byte) => {
                let end = at + number_end(&value[at..]);
                let number = number(&value[at..end]);
                shape.push(if matches!(number, Cut::Integer(_)) { INTEGER } else { BYTES });
                cuts.push(number);
                at = end;
            }
            other => {
                shape.push(other);
                at += 1;
            }
        }
        if cuts.len() > HOLES_MAX {
            return false;
        }
    }
    true
}

/// Where a string that begins at `at` has its closing quote, or the value its end.
fn string_end(value: &[u8], mut at: usize) -> usize {
    while let Some(found) = value.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if value[at] == b'"' {
            return at;
        }
        at += 2;
    }
    value.len()
}

fn begins_number(byte: &u8) -> bool {
    matches!(byte, b'-' | b'0'..=b'9')
}

/// How many bytes at the beginning are of a number, if one begins there.
fn number_end(value: &[u8]) -> usize {
    let is_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    value.iter().take_while(|byte| is_number(byte)).count()
}

/// What is cut out for the bytes of a number.
fn number(bytes: &[u8]) -> Cut<'_> {
    integer(bytes).map_or(Cut::Number(bytes), Cut::Integer)
}

/// The integer that is written in exactly these bytes.
fn integer(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 18 {
        let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        return (itoa::Buffer::new().format(number).as_bytes() == text).then_some(number);
    }
    let is_written_so = digits.first().is_some_and(|&first| first != b'0') || text == b"0";
    if !is_written_so || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| 10 * number + i64::from(digit - b'0'));
    Some(if is_negative { -number } else { number })
}

/// Whether objects of this shape, with these in its holes, are JSON of which no reader would refuse a part: strings without code points
/// by number, and numbers of a common size. Of what is no object nothing is asked, since it is always read whole. `is_plain` says that no
/// string has anything in it that could be refused.
fn is_well_formed(Known { shape, holes, .. }: &Known<'_>, is_plain: bool) -> bool {
    if !is_object(shape) {
        return true;
    }
    let is_sound = |hole: &Hole<'_>| match hole {
        Hole::Integers(_) => true,
        Hole::Numbers(all) => all.iter().all(|bytes| is_plain_number(bytes)),
        Hole::Strings(all) => is_plain || all.iter().all(|bytes| is_plain_string(bytes)),
    };
    // A quote within a string is in its hole, or behind a backslash, which is refused.
    let filled: Vec<u8> = shape.iter().map(|&byte| if byte <= BYTES { b'0' } else { byte }).collect();
    let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(&filled).is_ok();
    // Keys are read as they are written.
    !filled.contains(&b'\\') && is_json() && holes.iter().all(is_sound)
}

/// Whether there is nothing in a text that a string of JSON may not have as it is, told of many bytes at once.
fn is_plain_text(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |found, &byte| found | (byte < b' ') | (byte == b'\\'))
}

fn is_plain_string(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| byte < b' ' || byte == b'\\') {
        match rest[at..] {
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => rest = &rest[at + 2..],
            _ => return false,
        }
    }
    true
}

fn is_plain_number(bytes: &[u8]) -> bool {
    bytes.len() <= 32
        && !bytes.iter().any(|byte| matches!(byte, b'e' | b'E'))
        && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document() -> impl Strategy<Value = String> {
        let number = prop_oneof!["-?[0-9]{1,20}", "-?0[0-9]", "[0-9]\\.[0-9]{1,3}", "[0-9]e[0-9]", "-", "\\+1"];
        let text = prop_oneof!["\"[a:\\\\ 0]{0,6}\"", "\"[a-c]{0,3}", "true", "[\\[\\]{}:, ]"];
        prop::collection::vec(prop_oneof![number, text, Just("\"k\": ".to_string()), Just(" ".to_string())], 0..8)
            .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// What a known shape says of a document is what is found byte by byte.
        #[test]
        fn a_shape_cuts_as_its_bytes_do(one in document(), other in document(), like in 0..3) {
            let (mut shape, mut cuts, mut known_cuts) = (Vec::new(), Vec::new(), Vec::new());
            let other = match like {
                0 => one.replace('a', "b").replace('1', "7"),
                1 => one.replace(['.', 'e'], ""),
                _ => other,
            };
            prop_assume!(cut(one.as_bytes(), &mut shape, &mut cuts));
            let known = Known::new(&shape, &cuts);
            for document in [&one, &other] {
                let is_cut = cut(document.as_bytes(), &mut shape, &mut cuts);
                let fits = known.cut(document.as_bytes(), &mut known_cuts);
                prop_assert_eq!(fits, is_cut && shape == known.shape, "{} by {}", document, one);
                if fits {
                    prop_assert_eq!(&known_cuts, &cuts);
                }
            }
        }
    }

    #[test]
    fn integers_are_those_written_so() {
        for number in [0, 7, -7, 123_456_789_012_345_678, i64::MAX, i64::MIN] {
            assert_eq!(integer(number.to_string().as_bytes()), Some(number));
        }
        for text in ["", "-", "-0", "00", "01", "+1", "1.0", "1e3", "9223372036854775808", "1-", "--1"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
    }
}
