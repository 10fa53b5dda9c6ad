//! JSON as shapes and holes: the text of a document with its numbers and strings cut out is its *shape*, of which a column has few;
//! what was cut out are columns of integers and of text, one for each hole of each shape, encoded by what they are.
//!
//! Putting the holes back gives the same bytes, whatever they were, so nothing here has to know JSON well: a number that is not
//! written as an integer is kept as text, keys belong to the shape, and text that has a hole's mark in it is left to others.
//!
//! Where all values are well-formed documents the chunk says so, and single fields can be read without the others ([`fields`]).

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, Int64Array};
use arrow::buffer::{BooleanBuffer, Buffer, ScalarBuffer};
use arrow::datatypes::{DataType, Int64Type};
use hashbrown::HashMap;
use memchr::memmem::Finder;

use super::integers::{self, Shape};
use super::{Effort, Encoder, decode_at, nested, nested_containing, nested_u32};
use crate::bytes::{Reader, Write};
use crate::error::{Decoded, damaged};

/// Stands for an integer.
const INTEGER: u8 = 0;
/// Stands for other bytes.
const BYTES: u8 = 1;
/// A chunk of more shapes than this is no such thing.
const SHAPES_MAX: usize = 64;
/// A shape of more holes than this is not cut.
const HOLES_MAX: usize = 256;
/// Beside the number of shapes: every object is one that nothing refuses.
const WELL_FORMED: u64 = 128;

/// What one hole of a shape has, in the order of rows.
enum Hole<'a> {
    Integers(Vec<i64>),
    Bytes(Vec<&'a [u8]>),
}

/// Whether a value looks like a document worth cutting.
pub(super) fn is_likely(value: &[u8]) -> bool {
    matches!(value.first(), Some(b'{' | b'['))
}

/// The body for these values, if they have few shapes.
pub(super) fn encode(values: &[&[u8]]) -> Decoded<Option<Vec<u8>>> {
    let mut numbers: HashMap<Vec<u8>, usize> = HashMap::new();
    let (mut shapes, mut holes): (Vec<Vec<u8>>, Vec<Vec<Hole<'_>>>) = (Vec::new(), Vec::new());
    let mut codes = Vec::with_capacity(values.len());
    let (mut shape, mut cuts) = (Vec::new(), Vec::new());
    for value in values {
        if !cut(value, &mut shape, &mut cuts) {
            return Ok(None);
        }
        let number = match numbers.get(&shape) {
            Some(&number) => number,
            None if shapes.len() == SHAPES_MAX => return Ok(None),
            None => {
                numbers.insert(shape.clone(), shapes.len());
                shapes.push(shape.clone());
                let new = |cut: &Cut<'_>| match cut {
                    Cut::Integer(_) => Hole::Integers(Vec::new()),
                    Cut::Bytes(_) => Hole::Bytes(Vec::new()),
                };
                holes.push(cuts.iter().map(new).collect());
                shapes.len() - 1
            }
        };
        for (hole, cut) in holes[number].iter_mut().zip(&cuts) {
            match (hole, cut) {
                (Hole::Integers(all), Cut::Integer(number)) => all.push(*number),
                (Hole::Bytes(all), Cut::Bytes(bytes)) => all.push(bytes),
                // The shape has the marks, so this cannot be.
                _ => return Ok(None),
            }
        }
        codes.push(number as u64);
    }
    let mut out = Vec::new();
    out.put_varint(values.iter().map(|value| value.len() as u64).sum());
    let is_well_formed = shapes.iter().zip(&holes).all(|(shape, holes)| is_well_formed(shape, holes));
    out.put_varint(shapes.len() as u64 + if is_well_formed { WELL_FORMED } else { 0 });
    shapes.iter().for_each(|shape| out.put_bytes(shape));
    integers::nest(&codes, Shape::U32, &mut out);
    for hole in holes.iter().flatten() {
        let array: ArrayRef = match hole {
            Hole::Integers(all) => std::sync::Arc::new(Int64Array::from(all.clone())),
            Hole::Bytes(all) => std::sync::Arc::new(BinaryViewArray::from_iter_values(all)),
        };
        // With all its means, as a column by itself.
        Encoder::new(Effort::Fast).encode_nested(&array, &mut out)?;
    }
    Ok(Some(out))
}

enum Cut<'a> {
    Integer(i64),
    Bytes(&'a [u8]),
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
                    cuts.push(Cut::Bytes(&value[at + 1..end]));
                }
                if end < value.len() {
                    shape.push(b'"');
                }
                at = end + 1;
            }
            b'-' | b'0'..=b'9' => {
                let is_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let end = at + value[at..].iter().take_while(|byte| is_number(byte)).count();
                match integer(&value[at..end]) {
                    Some(number) => {
                        shape.push(INTEGER);
                        cuts.push(Cut::Integer(number));
                    }
                    None => {
                        shape.push(BYTES);
                        cuts.push(Cut::Bytes(&value[at..end]));
                    }
                }
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
    while at < value.len() && value[at] != b'"' {
        at += if value[at] == b'\\' { 2 } else { 1 };
    }
    at.min(value.len())
}

/// The integer that is written in exactly these bytes.
fn integer(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (itoa::Buffer::new().format(number).as_bytes() == text).then_some(number)
}

/// Whether objects of this shape, with these in its holes, are JSON of which no reader would refuse a part: strings without code points
/// by number, and numbers of a common size. Of what is no object nothing is asked, since it is always read whole.
fn is_well_formed(shape: &[u8], holes: &[Hole<'_>]) -> bool {
    if !is_object(shape) {
        return true;
    }
    let mut filled = Vec::with_capacity(shape.len());
    // A quote within a string is in its hole, or behind a backslash, which is refused below.
    let (mut holes, mut is_string) = (holes.iter(), false);
    for &byte in shape {
        match byte {
            INTEGER => {
                filled.push(b'0');
                holes.next();
            }
            BYTES => {
                filled.push(b'0');
                let is_sound: fn(&[u8]) -> bool = if is_string { is_plain_string } else { is_plain_number };
                if !matches!(holes.next(), Some(Hole::Bytes(all)) if all.iter().all(|bytes| is_sound(bytes))) {
                    return false;
                }
            }
            other => {
                is_string ^= other == b'"';
                filled.push(other);
            }
        }
    }
    // Keys are read as they are written.
    !filled.contains(&b'\\') && serde_json::from_slice::<serde::de::IgnoredAny>(&filled).is_ok()
}

fn is_object(shape: &[u8]) -> bool {
    shape.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
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

/// A body taken apart; its holes are not read yet.
struct Opened<'a> {
    raw: usize,
    is_well_formed: bool,
    shapes: Vec<Shaped<'a>>,
    /// The shape of each row.
    codes: ScalarBuffer<u32>,
}

struct Shaped<'a> {
    text: &'a [u8],
    /// Chunks, with the types of their values.
    holes: Vec<(DataType, Buffer)>,
}

fn open<'a>(rows: usize, body: &'a Buffer, level: u8) -> Decoded<Opened<'a>> {
    let mut reader = Reader::new(body);
    let raw = reader.varint()?;
    let count = reader.varint()?;
    let (is_well_formed, count) = (count & WELL_FORMED != 0, count & !WELL_FORMED);
    if raw > i32::MAX as u64 || count > SHAPES_MAX as u64 {
        return damaged(format!("{raw} bytes of {count} shapes"));
    }
    let texts = (0..count).map(|_| reader.bytes()).collect::<Decoded<Vec<_>>>()?;
    let codes = nested_u32(&mut reader, body, rows, level)?;
    let mut hole = |mark: u8| {
        let ty = if mark == INTEGER { DataType::Int64 } else { DataType::BinaryView };
        Ok((ty, nested(&mut reader, body)?))
    };
    let shape = |text: &'a [u8]| {
        let holes = text.iter().filter(|&&byte| byte <= BYTES).map(|&mark| hole(mark)).collect::<Decoded<_>>()?;
        Ok(Shaped { text, holes })
    };
    let shapes = texts.into_iter().map(shape).collect::<Decoded<_>>()?;
    Ok(Opened { raw: raw as usize, is_well_formed, shapes, codes })
}

/// Reads the body, all rows or the selected ones: their bytes, and where each ends.
pub(super) fn decode(rows: usize, body: &Buffer, selection: Option<&[u32]>, level: u8) -> Decoded<(Vec<u8>, Vec<u32>)> {
    open(rows, body, level)?.documents(selection, level)
}

/// The same with only those fields of the documents that have these names, as they are written; what is no object is whole. `None` where not
/// all values are well-formed documents.
pub(super) fn fields(
    rows: usize,
    body: &Buffer,
    selection: Option<&[u32]>,
    names: &[String],
    level: u8,
) -> Decoded<Option<(Vec<u8>, Vec<u32>)>> {
    let mut opened = open(rows, body, level)?;
    if !opened.is_well_formed {
        return Ok(None);
    }
    let kept: Vec<Option<Kept>> = opened.shapes.iter().map(|shape| only(shape.text, names)).collect();
    for (shape, kept) in opened.shapes.iter_mut().zip(&kept) {
        if let Some(kept) = kept {
            shape.text = &kept.text;
            shape.holes = kept.holes.iter().filter_map(|&hole| shape.holes.get(hole).cloned()).collect();
        }
    }
    opened.documents(selection, level).map(Some)
}

/// Which documents have a text in them; `None` where it might lie across the edge of a hole.
pub(super) fn containing(rows: usize, body: &Buffer, needle: &Finder<'_>, level: u8) -> Decoded<Option<BooleanBuffer>> {
    let opened = open(rows, body, level)?;
    let sizes = opened.sizes()?;
    let mut found = Vec::with_capacity(sizes.len());
    for (shape, &size) in opened.shapes.iter().zip(&sizes) {
        match shape.containing(size as usize, needle, level)? {
            Some(rows) => found.push(rows),
            None => return Ok(None),
        }
    }
    let mut next = vec![0; sizes.len()];
    Ok(Some(BooleanBuffer::collect_bool(rows, |row| {
        let code = opened.codes[row] as usize;
        let at = next[code];
        next[code] += 1;
        found[code].value(at)
    })))
}

impl Shaped<'_> {
    /// Which rows of this shape have a text in them.
    fn containing(&self, rows: usize, needle: &Finder<'_>, level: u8) -> Decoded<Option<BooleanBuffer>> {
        let text = needle.needle();
        let mut literals = self.text.split(|&byte| byte <= BYTES).peekable();
        let (mut is_first, mut crosses) = (true, false);
        while let Some(literal) = literals.next() {
            if needle.find(literal).is_some() {
                return Ok(Some(BooleanBuffer::new_set(rows)));
            }
            let is_last = literals.peek().is_none();
            // What lies across an edge has the byte next to it.
            let has = |byte: Option<&u8>| byte.is_none_or(|byte| text.contains(byte));
            crosses |= !(is_first || is_last && literal.is_empty()) && has(literal.first());
            crosses |= !(is_last || is_first && literal.is_empty()) && has(literal.last());
            is_first = false;
        }
        // An integer's digits are not looked at.
        if crosses || text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-') {
            return Ok(None);
        }
        let mut found = BooleanBuffer::new_unset(rows);
        for (_, chunk) in self.holes.iter().filter(|(ty, _)| *ty == DataType::BinaryView) {
            found = &found | &nested_containing(rows, chunk, needle, level + 1)?;
        }
        Ok(Some(found))
    }
}

/// What is left of a shape, and which of its holes.
struct Kept {
    text: Vec<u8>,
    holes: Vec<usize>,
}

/// The shape of an object with only the fields of these names; `None` if it is no object.
fn only(shape: &[u8], names: &[String]) -> Option<Kept> {
    is_object(shape).then_some(())?;
    let mut scanner = Scanner { shape, at: 0 };
    scanner.skip_space();
    scanner.eat(b'{');
    let mut kept = Kept { text: vec![b'{'], holes: Vec::new() };
    let holes_before = |at: usize| shape[..at].iter().filter(|&&byte| byte <= BYTES).count();
    loop {
        scanner.skip_space();
        if scanner.eat(b',') {
            continue;
        }
        let start = scanner.at;
        if shape.get(start) != Some(&b'"') {
            break;
        }
        scanner.skip_value();
        let name = shape.get(start + 1..scanner.at - 1).unwrap_or_default();
        scanner.skip_space();
        scanner.eat(b':');
        scanner.skip_space();
        scanner.skip_value();
        if names.iter().any(|wanted| wanted.as_bytes() == name) {
            if kept.text.len() > 1 {
                kept.text.push(b',');
            }
            kept.text.extend_from_slice(&shape[start..scanner.at]);
            kept.holes.extend(holes_before(start)..holes_before(scanner.at));
        }
    }
    kept.text.push(b'}');
    Some(kept)
}

/// Walks over a well-formed shape.
struct Scanner<'a> {
    shape: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn skip_space(&mut self) {
        while self.shape.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.shape.get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn skip_value(&mut self) {
        let mut depth = 0usize;
        while let Some(&byte) = self.shape.get(self.at) {
            match byte {
                b'"' => {
                    let rest = &self.shape[self.at + 1..];
                    self.at += 1 + rest.iter().position(|&byte| byte == b'"').map_or(rest.len(), |end| end + 1);
                    if depth == 0 {
                        return;
                    }
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth <= 1 => {
                    self.at += depth;
                    return;
                }
                b'}' | b']' => depth -= 1,
                b',' if depth == 0 => return,
                _ => {}
            }
            self.at += 1;
        }
    }
}

impl Opened<'_> {
    /// How many rows each shape has.
    fn sizes(&self) -> Decoded<Vec<u32>> {
        let mut sizes = vec![0u32; self.shapes.len()];
        for &code in &*self.codes {
            match sizes.get_mut(code as usize) {
                Some(size) => *size += 1,
                None => return damaged(format!("shape {code} of {}", self.shapes.len())),
            }
        }
        Ok(sizes)
    }

    fn documents(&self, selection: Option<&[u32]>, level: u8) -> Decoded<(Vec<u8>, Vec<u32>)> {
        let (count, sizes) = (self.shapes.len(), self.sizes()?);
        // Of each shape, which of its rows are wanted; and the shapes of the wanted rows.
        let (mut next, mut picks) = (vec![0u32; count], vec![Vec::new(); count]);
        let mut order = Vec::with_capacity(selection.map_or(self.codes.len(), <[u32]>::len));
        let mut wanted = selection.map(|selection| selection.iter().peekable());
        for (row, &code) in self.codes.iter().enumerate() {
            let is_wanted = match &mut wanted {
                None => true,
                Some(wanted) => wanted.next_if(|&&next| next as usize == row).is_some(),
            };
            if is_wanted {
                picks[code as usize].push(next[code as usize]);
                order.push(code as usize);
            }
            next[code as usize] += 1;
        }
        let mut holes = Vec::with_capacity(count);
        for (number, shape) in self.shapes.iter().enumerate() {
            let picked = selection.map(|_| picks[number].as_slice());
            let columns = shape.holes.iter().map(|(ty, chunk)| {
                let column = decode_at(ty, sizes[number] as usize, chunk, None, picked, level + 1)?;
                if column.null_count() > 0 { damaged("a NULL in a document") } else { Ok(column) }
            });
            holes.push(columns.collect::<Decoded<Vec<ArrayRef>>>()?);
        }
        let texts: Vec<&[u8]> = self.shapes.iter().map(|shape| shape.text).collect();
        fill(&texts, &holes, &order, self.raw)
    }
}

/// A piece of a shape: bytes as they are, and the hole after them.
struct Piece<'a> {
    literal: &'a [u8],
    hole: Filling<'a>,
}

/// What a hole has, by the shape's rows.
enum Filling<'a> {
    /// The shape ends.
    Nothing,
    Integers(&'a [i64]),
    Bytes(&'a BinaryViewArray),
}

/// A shape taken to pieces.
fn pieces<'a>(shape: &'a [u8], holes: &'a [ArrayRef]) -> Vec<Piece<'a>> {
    let mut holes = holes.iter();
    let mut rest = shape;
    let mut pieces = Vec::new();
    while let Some(at) = rest.iter().position(|&byte| byte <= BYTES) {
        let hole = match (rest[at], holes.next()) {
            (INTEGER, Some(column)) => Filling::Integers(column.as_primitive::<Int64Type>().values()),
            (_, Some(column)) => Filling::Bytes(column.as_binary_view()),
            (_, None) => Filling::Nothing,
        };
        pieces.push(Piece { literal: &rest[..at], hole });
        rest = &rest[at + 1..];
    }
    pieces.push(Piece { literal: rest, hole: Filling::Nothing });
    pieces
}

/// The documents of these shapes, in order.
fn fill(shapes: &[&[u8]], holes: &[Vec<ArrayRef>], order: &[usize], raw: usize) -> Decoded<(Vec<u8>, Vec<u32>)> {
    let shapes: Vec<Vec<Piece<'_>>> = shapes.iter().zip(holes).map(|(shape, holes)| pieces(shape, holes)).collect();
    let (mut out, mut ends) = (Vec::new(), Vec::with_capacity(order.len()));
    let mut next = vec![0; shapes.len()];
    let mut number = itoa::Buffer::new();
    for &shape in order {
        let row = next[shape];
        next[shape] += 1;
        for Piece { literal, hole } in &shapes[shape] {
            out.extend_from_slice(literal);
            match hole {
                Filling::Nothing => {}
                Filling::Integers(values) => out.extend_from_slice(number.format(values[row]).as_bytes()),
                Filling::Bytes(values) => out.extend_from_slice(values.value(row)),
            }
        }
        if out.len() > raw {
            return damaged(format!("documents of over {raw} bytes"));
        }
        ends.push(out.len() as u32);
    }
    Ok((out, ends))
}
