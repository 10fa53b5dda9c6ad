//! JSON as shapes and holes: the text of a document with its numbers and strings cut out is its *shape*, of which a column has few;
//! what was cut out are columns of integers and of text, one for each hole of each shape, encoded by what they are.
//!
//! Putting the holes back gives the same bytes, whatever they were, so nothing here has to know JSON well: a number that is not
//! written as an integer is kept as text, keys belong to the shape, and text that has a hole's mark in it is left to others.
//!
//! Documents are cut in [`super::shapes`]; here they are put together.
//!
//! Where all values are well-formed documents the chunk says so, and single fields can be read without the others ([`fields`]).

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray};
use arrow::buffer::{BooleanBuffer, Buffer, ScalarBuffer};
use arrow::datatypes::{DataType, Int64Type};
use memchr::memmem::Finder;

use super::{decode_at, nested, nested_containing, nested_u32};
use crate::bytes::Reader;
use crate::error::{Decoded, damaged};

/// Stands for an integer.
pub(super) const INTEGER: u8 = 0;
/// Stands for other bytes.
pub(super) const BYTES: u8 = 1;
/// A chunk of more shapes than this is no such thing.
pub(super) const SHAPES_MAX: usize = 64;
/// Beside the number of shapes: every object is one that nothing refuses.
pub(super) const WELL_FORMED: u64 = 128;

/// Whether a value looks like a document worth cutting.
pub(super) fn is_likely(value: &[u8]) -> bool {
    matches!(value.first(), Some(b'{' | b'['))
}

pub(super) fn is_object(shape: &[u8]) -> bool {
    shape.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
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
