//! Text functions that take a text apart: substring, left, right, split_part, and where one text is in another.
//!
//! Results that are a piece of the argument share its bytes (see [`slice_rows`]). Positions count characters from 1.

use std::ops::Range;

use arrow::array::BinaryViewArray;
use arrow::datatypes::{Int32Type, Int64Type};
use memchr::memmem;
use weir_sql::Type;

use super::declare::{BYTEA, INT4, INT8, STRING, TEXT, function, strict};
use super::rows::{
    bool_rows, bytes_rows, column, invalid_parameter, primitive, primitive_rows, slice_rows, text, text_rows,
};
use super::string::{char_count, lower};
use super::{Context, Datum, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};

pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["substring", "substr", "mid", "substringUTF8"],
            STRING,
            "The part of the text from a position on, of a length if one is given.",
            ("substring('Thomas', 2, 3)", "hom"),
            vec![
                strict([TEXT, INT4, INT4], Type::Text, substring::<Int32Type>).optional(1),
                strict([BYTEA, INT4, INT4], Type::Bytea, substring_bytes).optional(1),
                strict([TEXT, INT8, INT8], Type::Text, substring::<Int64Type>).optional(1),
            ],
        ),
        function(
            &["left", "leftUTF8"],
            STRING,
            "The first characters of the text; all but the last ones for a negative number.",
            ("left('abcde', 2)", "ab"),
            vec![strict([TEXT, INT4], Type::Text, |_, a, n, ty| {
                let counts = primitive::<Int32Type>(a, 1)?;
                slice_rows(a, n, ty, |row, value| Ok(Some(0..split_at(value, counts.at(row)))))
            })],
        ),
        function(
            &["right", "rightUTF8"],
            STRING,
            "The last characters of the text; all but the first ones for a negative number.",
            ("right('abcde', 2)", "de"),
            vec![strict([TEXT, INT4], Type::Text, |_, a, n, ty| {
                let counts = primitive::<Int32Type>(a, 1)?;
                slice_rows(a, n, ty, |row, value| {
                    let count = counts.at(row);
                    let start = match count {
                        i32::MIN..0 => byte_offset(value, count.unsigned_abs() as usize),
                        0 => value.len(),
                        _ => split_at(value, -count),
                    };
                    Ok(Some(start..value.len()))
                })
            })],
        ),
        function(
            &["strpos", "position", "locateUTF8", "positionUTF8", "instr"],
            STRING,
            "Where the second text first occurs in the first, counted from 1; 0 if nowhere.",
            ("strpos('high', 'ig')", "2"),
            vec![
                strict([TEXT, TEXT], Type::Int4, |_, a, n, ty| position(a, n, ty, false)),
                strict([BYTEA, BYTEA], Type::Int4, |_, a, n, ty| {
                    let (values, needles) = (column::<BinaryViewArray>(a, 0)?, column::<BinaryViewArray>(a, 1)?);
                    primitive_rows::<Int32Type>(a, n, ty, |row| {
                        Ok(Some(memmem::find(values.at(row), needles.at(row)).map_or(0, |at| at as i32 + 1)))
                    })
                }),
            ],
        ),
        function(
            &["positionCaseInsensitive", "positionCaseInsensitiveUTF8"],
            STRING,
            "Where the second text first occurs in the first whatever the case, counted from 1; 0 if nowhere.",
            ("positionCaseInsensitive('Hello, world!', 'hELLO')", "1"),
            vec![strict([TEXT, TEXT], Type::Int4, |_, a, n, ty| position(a, n, ty, true))],
        ),
        function(
            &["countSubstrings"],
            STRING,
            "How often the second text occurs in the first, without overlaps.",
            ("countSubstrings('aaaa', 'aa')", "2"),
            vec![strict([TEXT, TEXT], Type::Int4, |_, a, n, ty| {
                let (values, needles) = (text(a, 0)?, text(a, 1)?);
                primitive_rows::<Int32Type>(a, n, ty, |row| {
                    let needle = needles.at(row).as_bytes();
                    if needle.is_empty() {
                        return Ok(Some(0));
                    }
                    Ok(Some(memmem::find_iter(values.at(row).as_bytes(), needle).count() as i32))
                })
            })],
        ),
        function(
            &["split_part"],
            STRING,
            "The field at a place, counted from 1 or from the end if negative, of a text split at a delimiter.",
            ("split_part('abc~@~def~@~ghi', '~@~', 2)", "def"),
            vec![strict([TEXT, TEXT, INT4], Type::Text, split_part)],
        ),
        function(
            &["starts_with", "^@", "startsWith", "startsWithUTF8", "prefix"],
            STRING,
            "Whether the first text begins with the second.",
            ("starts_with('alphabet', 'alph')", "t"),
            vec![strict([TEXT, TEXT], Type::Bool, |_, a, n, ty| {
                let (values, prefixes) = (text(a, 0)?, text(a, 1)?);
                bool_rows(a, n, ty, |row| Ok(Some(values.at(row).as_bytes().starts_with(prefixes.at(row).as_bytes()))))
            })],
        ),
        function(
            &["ends_with", "endsWith", "endsWithUTF8", "suffix"],
            STRING,
            "Whether the first text ends with the second.",
            ("endsWith('alphabet', 'bet')", "t"),
            vec![strict([TEXT, TEXT], Type::Bool, |_, a, n, ty| {
                let (values, suffixes) = (text(a, 0)?, text(a, 1)?);
                bool_rows(a, n, ty, |row| Ok(Some(values.at(row).as_bytes().ends_with(suffixes.at(row).as_bytes()))))
            })],
        ),
        function(
            &["overlay"],
            STRING,
            "The text with the part at a position, of a length (the new part's by default), replaced by another text.",
            ("overlay('Txxxxas', 'hom', 2, 4)", "Thomas"),
            vec![strict([TEXT, TEXT, INT4, INT4], Type::Text, overlay).optional(1)],
        ),
        function(
            &["hasToken"],
            STRING,
            "Whether the text contains a word: letters and digits bounded by others or by the text's ends.",
            ("hasToken('one two', 'two')", "t"),
            vec![strict([TEXT, TEXT], Type::Bool, has_token)],
        ),
    ]
}

/// The byte offset of character `count` (counted from 0), or the text's end.
pub(crate) fn byte_offset(text: &str, count: usize) -> usize {
    if count >= text.len() {
        return text.len();
    }
    if text.as_bytes()[..count].is_ascii() {
        // The first `count` bytes are that many characters, and what follows begins a new one.
        return count;
    }
    text.char_indices().nth(count).map_or(text.len(), |(at, _)| at)
}

/// The byte offset after `count` characters; for a negative count, before the last `-count`.
fn split_at(text: &str, count: i32) -> usize {
    if count >= 0 {
        return byte_offset(text, count as usize);
    }
    let dropped = count.unsigned_abs() as usize;
    text.char_indices().rev().nth(dropped - 1).map_or(0, |(at, _)| at)
}

/// The characters (or bytes) from `start`, counted from 1, of `length`, as a range counted from 0.
fn substring_range(start: i64, length: Option<i64>) -> Result<(usize, Option<usize>)> {
    if length.is_some_and(|length| length < 0) {
        return Err(Error::new(ErrorKind::Substring, "negative substring length not allowed"));
    }
    let end = length.map(|length| start.saturating_add(length).max(1) as usize - 1);
    Ok((start.max(1) as usize - 1, end))
}

fn substring<T: arrow::array::ArrowPrimitiveType<Native: Into<i64>>>(
    _: &Context,
    args: &[Datum],
    rows: usize,
    ty: &Types<'_>,
) -> Result<Datum> {
    let starts = primitive::<T>(args, 1)?;
    let lengths = if args.len() > 2 { Some(primitive::<T>(args, 2)?) } else { None };
    slice_rows(args, rows, ty, |row, value| {
        let (from, to) = substring_range(starts.at(row).into(), lengths.map(|lengths| lengths.at(row).into()))?;
        let start = byte_offset(value, from);
        let end = match to {
            None => value.len(),
            Some(to) => start + byte_offset(&value[start..], to.saturating_sub(from)),
        };
        Ok(Some(start..end))
    })
}

fn substring_bytes(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let values = column::<BinaryViewArray>(args, 0)?;
    let starts = primitive::<Int32Type>(args, 1)?;
    let lengths = if args.len() > 2 { Some(primitive::<Int32Type>(args, 2)?) } else { None };
    bytes_rows(args, rows, ty, |row, out| {
        let value = values.at(row);
        let length = lengths.map(|lengths| i64::from(lengths.at(row)));
        let (from, to) = substring_range(i64::from(starts.at(row)), length)?;
        let end = to.unwrap_or(value.len()).min(value.len());
        out.extend_from_slice(&value[from.min(end)..end]);
        Ok(true)
    })
}

fn position(args: &[Datum], rows: usize, ty: &Type, fold_case: bool) -> Result<Datum> {
    let (values, needles) = (text(args, 0)?, text(args, 1)?);
    let finder = needles.constant().filter(|_| !fold_case).map(memmem::Finder::new);
    let (mut folded, mut folded_needle) = (String::new(), String::new());
    primitive_rows::<Int32Type>(args, rows, ty, |row| {
        let (mut value, mut needle) = (values.at(row), needles.at(row));
        if fold_case {
            folded.clear();
            folded_needle.clear();
            lower(value, &mut folded);
            lower(needle, &mut folded_needle);
            (value, needle) = (&folded, &folded_needle);
        }
        let found = match &finder {
            Some(finder) => finder.find(value.as_bytes()),
            None => memmem::find(value.as_bytes(), needle.as_bytes()),
        };
        Ok(Some(found.map_or(0, |at| char_count(&value[..at]) as i32 + 1)))
    })
}

fn split_part(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (delimiters, fields) = (text(args, 1)?, primitive::<Int32Type>(args, 2)?);
    let finder = delimiters.constant().map(memmem::Finder::new);
    slice_rows(args, rows, ty, |row, value| {
        let (delimiter, field) = (delimiters.at(row), fields.at(row));
        if field == 0 {
            return Err(invalid_parameter("field position must not be zero"));
        }
        if delimiter.is_empty() {
            return Ok(Some(if field == 1 || field == -1 { 0..value.len() } else { 0..0 }));
        }
        let mut delimited = match &finder {
            Some(finder) => finder.find_iter(value.as_bytes()),
            None => memmem::find_iter(value.as_bytes(), delimiter),
        };
        Ok(Some(if field > 0 {
            field_at(value.len(), delimiter.len(), field as usize - 1, &mut delimited)
        } else {
            let count = delimited.count() + 1;
            match count.checked_sub(field.unsigned_abs() as usize) {
                None => 0..0,
                Some(field) => {
                    field_at(value.len(), delimiter.len(), field, &mut memmem::find_iter(value.as_bytes(), delimiter))
                }
            }
        }))
    })
}

/// The bytes of field `field` (from 0), given where the delimiters are; empty if there are fewer fields.
fn field_at(length: usize, width: usize, field: usize, delimiters: &mut impl Iterator<Item = usize>) -> Range<usize> {
    let start = match field {
        0 => 0,
        _ => match delimiters.nth(field - 1) {
            Some(at) => at + width,
            None => return 0..0,
        },
    };
    start..delimiters.next().unwrap_or(length)
}

fn overlay(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (values, news, starts) = (text(args, 0)?, text(args, 1)?, primitive::<Int32Type>(args, 2)?);
    let lengths = if args.len() > 3 { Some(primitive::<Int32Type>(args, 3)?) } else { None };
    text_rows(args, rows, ty, |row, out| {
        let (value, new, start) = (values.at(row), news.at(row), i64::from(starts.at(row)));
        if start <= 0 {
            return Err(Error::new(ErrorKind::Substring, "negative substring length not allowed"));
        }
        let length = lengths.map_or(char_count(new) as i64, |lengths| i64::from(lengths.at(row)));
        out.push_str(&value[..byte_offset(value, start as usize - 1)]);
        out.push_str(new);
        out.push_str(&value[byte_offset(value, (start + length - 1).max(0) as usize)..]);
        Ok(true)
    })
}

fn has_token(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let (values, tokens) = (text(args, 0)?, text(args, 1)?);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80;
    bool_rows(args, rows, ty, |row| {
        let (value, token) = (values.at(row).as_bytes(), tokens.at(row).as_bytes());
        if token.is_empty() || !token.iter().all(|&byte| is_word(byte)) {
            return Err(invalid_parameter("hasToken: needle must be one word, without separators"));
        }
        Ok(Some(memmem::find_iter(value, token).any(|at| {
            let before = at.checked_sub(1).is_none_or(|i| !is_word(value[i]));
            before && value.get(at + token.len()).is_none_or(|&byte| !is_word(byte))
        })))
    })
}
