//! ClickHouse's searches of one text for several others, or for a part of its letters; n-grams, Soundex, and patterns that mean themselves.
//!
//! Positions count characters from 1, as everywhere. Searches in any case compare what both texts are in lower case.

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{Int32Type, Int64Type};
use std::sync::Arc;
use weir_sql::Type;

use super::declare::{INT8, PATTERN, STRING, TEXT, function, strict, text_array, texts};
use super::rows::{
    Column, batch, bool_rows, column, invalid_parameter, is_valid, nulls_of, primitive, primitive_rows, text, text_rows,
};
use super::text_list::list_rows;
use super::{Datum, ScalarFunction, Types};
use crate::error::Result;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = searches();
    all.extend(vec![
        function(
            &["hasSubsequence", "hasSubsequenceUTF8"],
            PATTERN,
            "Whether the characters of the second text are in the first, in that order, with others between them.",
            ("hasSubsequence('garbage', 'gbe')", "t"),
            vec![strict([TEXT, TEXT], Type::Bool, |_, a, n, ty| {
                let (values, parts) = (text(a, 0)?, text(a, 1)?);
                bool_rows(a, n, ty, |row| Ok(Some(has_subsequence(values.at(row), parts.at(row)))))
            })],
        ),
        function(
            &["hasSubsequenceCaseInsensitive", "hasSubsequenceCaseInsensitiveUTF8"],
            PATTERN,
            "As hasSubsequence, in any case.",
            ("hasSubsequenceCaseInsensitive('gARbage', 'GBe')", "t"),
            vec![strict([TEXT, TEXT], Type::Bool, |_, a, n, ty| {
                let (values, parts) = (text(a, 0)?, text(a, 1)?);
                bool_rows(a, n, ty, |row| {
                    Ok(Some(has_subsequence(&values.at(row).to_lowercase(), &parts.at(row).to_lowercase())))
                })
            })],
        ),
        function(
            &["ngrams"],
            STRING,
            "The pieces of so many characters that the text is made of, each one character after the last.",
            ("ngrams('abcd', 2)", "{ab,bc,cd}"),
            vec![strict([TEXT, INT8], text_array(), ngrams)],
        ),
        function(
            &["regexpQuoteMeta"],
            PATTERN,
            "A regular expression that matches the text itself: characters with a meaning have a backslash before them.",
            ("regexpQuoteMeta('a.b')", "a\\.b"),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| {
                let values = text(a, 0)?;
                text_rows(a, n, ty, |row, out| {
                    for c in values.at(row).chars() {
                        if "\\|()^$.[]?*+{:-".contains(c) {
                            out.push('\\');
                        }
                        out.push(c);
                    }
                    Ok(true)
                })
            })],
        ),
        function(
            &["soundex"],
            STRING,
            "The Soundex code of a name: its first letter and three digits for how the rest sounds in English.",
            ("soundex('Robert')", "R163"),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| {
                let values = text(a, 0)?;
                text_rows(a, n, ty, |row, out| {
                    soundex(values.at(row), out);
                    Ok(true)
                })
            })],
        ),
    ]);
    all
}

fn searches() -> Vec<ScalarFunction> {
    let places = || Type::Array(Box::new(Type::Int4));
    vec![
        function(
            &["multiSearchAllPositions", "multiSearchAllPositionsUTF8"],
            PATTERN,
            "Where each of several texts first occurs in a text, counted from 1; 0 for those that do not.",
            ("multiSearchAllPositions('hello', ARRAY['l', 'z'])", "{3,0}"),
            vec![strict([TEXT, texts()], places(), |_, a, n, ty| all_positions(a, n, ty, str::to_owned))],
        ),
        function(
            &["multiSearchAllPositionsCaseInsensitive", "multiSearchAllPositionsCaseInsensitiveUTF8"],
            PATTERN,
            "As multiSearchAllPositions, in any case.",
            ("multiSearchAllPositionsCaseInsensitive('Hello', ARRAY['L', 'h'])", "{3,1}"),
            vec![strict([TEXT, texts()], places(), |_, a, n, ty| all_positions(a, n, ty, str::to_lowercase))],
        ),
        function(
            &["multiSearchFirstPosition", "multiSearchFirstPositionUTF8"],
            PATTERN,
            "The first place where any of several texts occurs in a text, counted from 1; 0 if none does.",
            ("multiSearchFirstPosition('hello world', ARRAY['wor', 'l'])", "3"),
            vec![strict([TEXT, texts()], Type::Int4, |_, a, n, ty| first_position(a, n, ty, str::to_owned))],
        ),
        function(
            &["multiSearchFirstPositionCaseInsensitive", "multiSearchFirstPositionCaseInsensitiveUTF8"],
            PATTERN,
            "As multiSearchFirstPosition, in any case.",
            ("multiSearchFirstPositionCaseInsensitive('hello world', ARRAY['WOR', 'O'])", "5"),
            vec![strict([TEXT, texts()], Type::Int4, |_, a, n, ty| first_position(a, n, ty, str::to_lowercase))],
        ),
    ]
}

/// Where the needle first is in the text, in characters from 1; 0 if nowhere.
fn position(haystack: &str, needle: &str) -> i32 {
    haystack.find(needle).map_or(0, |at| haystack[..at].chars().count() as i32 + 1)
}

/// The positions of the row's needles in its text, after both were `folded`; a NULL needle is nowhere.
fn positions<'a>(
    haystack: &'a str,
    needles: &'a Column<'_, ListArray>,
    row: usize,
    folded: fn(&str) -> String,
) -> impl Iterator<Item = i32> + 'a {
    let (haystack, values) = (folded(haystack), needles.values().as_string_view());
    needles
        .range(row)
        .map(move |at| if values.is_null(at) { 0 } else { position(&haystack, &folded(values.value(at))) })
}

fn all_positions(args: &[Datum], rows: usize, types: &Types<'_>, folded: fn(&str) -> String) -> Result<Datum> {
    let (haystacks, needles) = (text(args, 0)?, column::<ListArray>(args, 1)?);
    batch(args, rows, types, |rows| {
        let nulls = nulls_of(args, rows);
        let (mut out, mut lengths) = (Vec::new(), Vec::with_capacity(rows));
        for row in 0..rows {
            let start = out.len();
            if is_valid(&nulls, row) {
                out.extend(positions(haystacks.at(row), &needles, row, folded));
            }
            lengths.push(out.len() - start);
        }
        let values: ArrayRef = Arc::new(Int32Array::from(out));
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(Type::Int4.element_field(), offsets, values, nulls)?))
    })
}

fn first_position(args: &[Datum], rows: usize, types: &Types<'_>, folded: fn(&str) -> String) -> Result<Datum> {
    let (haystacks, needles) = (text(args, 0)?, column::<ListArray>(args, 1)?);
    primitive_rows::<Int32Type>(args, rows, types, |row| {
        let found = positions(haystacks.at(row), &needles, row, folded).filter(|&at| at > 0);
        Ok(Some(found.min().unwrap_or(0)))
    })
}

fn has_subsequence(text: &str, part: &str) -> bool {
    let mut rest = text.chars();
    part.chars().all(|wanted| rest.any(|c| c == wanted))
}

fn ngrams(_: &super::Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (values, sizes) = (text(args, 0)?, primitive::<Int64Type>(args, 1)?);
    list_rows(args, rows, types, |row, out| {
        let (value, size) = (values.at(row), sizes.at(row));
        if size < 1 {
            return Err(invalid_parameter("the length of n-grams must be positive"));
        }
        let ends = value.char_indices().map(|(at, _)| at).chain([value.len()]);
        let ends = ends.skip(usize::try_from(size).unwrap_or(usize::MAX));
        for ((start, _), end) in value.char_indices().zip(ends) {
            out.push(&value[start..end]);
        }
        Ok(true)
    })
}

/// Soundex as ClickHouse has it: only ASCII letters count, and a vowel, H or W parts two letters of one sound.
fn soundex(name: &str, out: &mut String) {
    const SOUNDS: &[u8; 26] = b"01230120022455012623010202";
    let mut before = 0;
    for letter in name.bytes().filter(u8::is_ascii_alphabetic).map(|c| c.to_ascii_uppercase()) {
        let sound = SOUNDS[usize::from(letter - b'A')];
        if out.is_empty() {
            out.push(char::from(letter));
        } else if sound != b'0' && sound != before {
            out.push(char::from(sound));
        }
        before = sound;
        if out.len() == 4 {
            return;
        }
    }
    while out.len() < 4 {
        out.push('0');
    }
}
