//! JSON as shapes and holes: the text of a document with its numbers and strings cut out is its *shape*, of which a column has few;
//! what was cut out are columns of integers and of text, one for each hole of each shape, encoded by what they are.
//!
//! Putting the holes back gives the same bytes, whatever they were, so nothing here has to know JSON well: a number that is not
//! written as an integer is kept as text, keys belong to the shape, and text that has a hole's mark in it is left to others.

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, Int64Array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Int64Type};
use hashbrown::HashMap;

use super::integers::{self, Shape};
use super::{Effort, Encoder, decode_at, nested, nested_u32};
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
    out.put_varint(shapes.len() as u64);
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

/// Reads the body, all rows or the selected ones: their bytes, and where each ends.
pub(super) fn decode(rows: usize, body: &Buffer, selection: Option<&[u32]>, level: u8) -> Decoded<(Vec<u8>, Vec<u32>)> {
    let mut reader = Reader::new(body);
    let raw = reader.varint()?;
    let count = reader.count()?;
    if raw > i32::MAX as u64 || count > SHAPES_MAX {
        return damaged(format!("{raw} bytes of {count} shapes"));
    }
    let shapes = (0..count).map(|_| reader.bytes()).collect::<Decoded<Vec<_>>>()?;
    let codes = nested_u32(&mut reader, body, rows, level)?;
    let mut sizes = vec![0u32; count];
    // Of each shape, which of its rows are wanted; and the shapes of the wanted rows.
    let mut picks = vec![Vec::new(); count];
    let mut order = Vec::with_capacity(selection.map_or(rows, <[u32]>::len));
    let mut wanted = selection.map(|selection| selection.iter().peekable());
    for (row, &code) in codes.iter().enumerate() {
        let Some(size) = sizes.get_mut(code as usize) else {
            return damaged(format!("shape {code} of {count}"));
        };
        let is_wanted = match &mut wanted {
            None => true,
            Some(wanted) => wanted.next_if(|&&next| next as usize == row).is_some(),
        };
        if is_wanted {
            picks[code as usize].push(*size);
            order.push(code as usize);
        }
        *size += 1;
    }
    let mut holes = Vec::with_capacity(count);
    for (number, shape) in shapes.iter().enumerate() {
        let picked = selection.map(|_| picks[number].as_slice());
        let marks = shape.iter().filter(|&&byte| byte <= BYTES);
        let columns = marks.map(|&mark| {
            let ty = if mark == INTEGER { DataType::Int64 } else { DataType::BinaryView };
            let column = decode_at(&ty, sizes[number] as usize, &nested(&mut reader, body)?, None, picked, level + 1)?;
            if column.null_count() > 0 { damaged("a NULL in a document") } else { Ok(column) }
        });
        holes.push(columns.collect::<Decoded<Vec<ArrayRef>>>()?);
    }
    fill(&shapes, &holes, &order, raw as usize)
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
