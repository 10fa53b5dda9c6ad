//! How much texts differ, and which of several texts or patterns one holds: ClickHouse's and DuckDB's names. Distances are `strsim`'s.

use arrow::array::{Array, AsArray, ListArray};
use arrow::datatypes::{Float64Type, Int64Type};
use weir_sql::Type;

use super::declare::{INT8, PATTERN, STRING, TEXT, function, strict, texts};
use super::regex_syntax::{Flavour, Options, compile};
use super::rows::{Column, bool_rows, column, primitive, primitive_rows, slice_rows, text, text_rows};
use super::{Datum, Kernel, ScalarFunction};
use crate::error::Result;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = distances();
    all.extend(searches());
    all.extend(edges());
    all
}

fn distances() -> Vec<ScalarFunction> {
    macro_rules! distance {
        ($names:expr, $doc:expr, $example:expr, $distance:expr) => {
            function(
                $names,
                STRING,
                $doc,
                $example,
                vec![strict([TEXT, TEXT], Type::Int8, |_, a, n, ty| {
                    let (left, right) = (text(a, 0)?, text(a, 1)?);
                    primitive_rows::<Int64Type>(a, n, ty, |row| Ok(Some($distance(left.at(row), right.at(row)) as i64)))
                })],
            )
        };
    }
    macro_rules! similarity {
        ($names:expr, $doc:expr, $example:expr, $similarity:expr) => {
            function(
                $names,
                STRING,
                $doc,
                $example,
                vec![strict([TEXT, TEXT], Type::Float8, |_, a, n, ty| {
                    let (left, right) = (text(a, 0)?, text(a, 1)?);
                    primitive_rows::<Float64Type>(a, n, ty, |row| Ok(Some($similarity(left.at(row), right.at(row)))))
                })],
            )
        };
    }
    vec![
        distance!(
            &["levenshteinDistance", "editDistance", "levenshtein", "levenshteinDistanceUTF8", "editDistanceUTF8"],
            "How many characters must be put in, taken out or replaced to make one text of the other.",
            ("levenshteinDistance('kitten', 'sitting')", "3"),
            strsim::levenshtein
        ),
        distance!(
            &["damerauLevenshteinDistance", "damerau_levenshtein"],
            "As levenshteinDistance, with a swap of neighbours as one step.",
            ("damerauLevenshteinDistance('abc', 'acb')", "1"),
            strsim::damerau_levenshtein
        ),
        similarity!(
            &["jaroSimilarity", "jaro_similarity"],
            "The Jaro similarity, from 0 to 1.",
            ("round(jaroSimilarity('martha', 'marhta')::numeric, 4)", "0.9444"),
            strsim::jaro
        ),
        similarity!(
            &["jaroWinklerSimilarity", "jaro_winkler_similarity"],
            "The Jaro-Winkler similarity, from 0 to 1.",
            ("round(jaroWinklerSimilarity('martha', 'marhta')::numeric, 4)", "0.9611"),
            strsim::jaro_winkler
        ),
    ]
}

/// For each text, the number from 1 of the first element of its list that `holds` is true of; 0 if there is none.
fn first_index(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    holds: impl Fn(&str, &str) -> Result<bool>,
    give: impl Fn(usize) -> i64,
) -> Result<Datum> {
    let (haystacks, needles) = (text(args, 0)?, column::<ListArray>(args, 1)?);
    primitive_rows::<Int64Type>(args, rows, ty, |row| Ok(Some(give(find(&haystacks, &needles, row, &holds)?))))
}

fn find(
    haystacks: &Column<'_, arrow::array::StringViewArray>,
    needles: &Column<'_, ListArray>,
    row: usize,
    holds: &impl Fn(&str, &str) -> Result<bool>,
) -> Result<usize> {
    let values = needles.array.values().as_string_view();
    for (at, item) in needles.range(row).enumerate() {
        if values.is_valid(item) && holds(haystacks.at(row), values.value(item))? {
            return Ok(at + 1);
        }
    }
    Ok(0)
}

fn any(args: &[Datum], rows: usize, ty: &Type, holds: impl Fn(&str, &str) -> Result<bool>) -> Result<Datum> {
    let (haystacks, needles) = (text(args, 0)?, column::<ListArray>(args, 1)?);
    bool_rows(args, rows, ty, |row| Ok(Some(find(&haystacks, &needles, row, &holds)? > 0)))
}

fn contains(haystack: &str, needle: &str) -> Result<bool> {
    Ok(haystack.contains(needle))
}

fn contains_any_case(haystack: &str, needle: &str) -> Result<bool> {
    Ok(haystack.to_lowercase().contains(&needle.to_lowercase()))
}

fn is_match(haystack: &str, pattern: &str) -> Result<bool> {
    compile(pattern, Options::default(), Flavour::Re2)?.is_match(haystack)
}

fn searches() -> Vec<ScalarFunction> {
    let one = |names, doc, example, returns: Type, kernel: Kernel| {
        function(names, PATTERN, doc, example, vec![strict([TEXT, texts()], returns, kernel)])
    };
    vec![
        one(
            &["multiSearchAny", "multiSearchAnyUTF8"],
            "Whether a text holds any of several.",
            ("multiSearchAny('hello world', ARRAY['x', 'wor'])", "t"),
            Type::Bool,
            |_, a, n, ty| any(a, n, ty, contains),
        ),
        one(
            &["multiSearchAnyCaseInsensitive", "multiSearchAnyCaseInsensitiveUTF8"],
            "Whether a text holds any of several, in any case.",
            ("multiSearchAnyCaseInsensitive('Hello', ARRAY['x', 'hELL'])", "t"),
            Type::Bool,
            |_, a, n, ty| any(a, n, ty, contains_any_case),
        ),
        one(
            &["multiSearchFirstIndex", "multiSearchFirstIndexUTF8"],
            "The number, from 1, of the first of several texts that a text holds; 0 if it holds none.",
            ("multiSearchFirstIndex('hello world', ARRAY['x', 'wor'])", "2"),
            Type::Int8,
            |_, a, n, ty| first_index(a, n, ty, contains, |at| at as i64),
        ),
        one(
            &["multiMatchAny"],
            "Whether a text has a match of any of several RE2 patterns.",
            ("multiMatchAny('hello', ARRAY['^x', 'l+o$'])", "t"),
            Type::Bool,
            |_, a, n, ty| any(a, n, ty, is_match),
        ),
        one(
            &["multiMatchAnyIndex"],
            "The number, from 1, of the first of several RE2 patterns that a text has a match of; 0 if it has none.",
            ("multiMatchAnyIndex('hello', ARRAY['^x', 'l+o$'])", "2"),
            Type::Int8,
            |_, a, n, ty| first_index(a, n, ty, is_match, |at| at as i64),
        ),
    ]
}

fn edges() -> Vec<ScalarFunction> {
    vec![
        function(
            &["startsWithCaseInsensitive", "startsWithCaseInsensitiveUTF8"],
            STRING,
            "Whether a text starts with another, in any case.",
            ("startsWithCaseInsensitive('Hello', 'hE')", "t"),
            vec![strict([TEXT, TEXT], Type::Bool, |_, a, n, ty| {
                let (texts, starts) = (text(a, 0)?, text(a, 1)?);
                bool_rows(a, n, ty, |row| {
                    Ok(Some(texts.at(row).to_lowercase().starts_with(&starts.at(row).to_lowercase())))
                })
            })],
        ),
        function(
            &["endsWithCaseInsensitive", "endsWithCaseInsensitiveUTF8"],
            STRING,
            "Whether a text ends with another, in any case.",
            ("endsWithCaseInsensitive('Hello', 'LO')", "t"),
            vec![strict([TEXT, TEXT], Type::Bool, |_, a, n, ty| {
                let (texts, ends) = (text(a, 0)?, text(a, 1)?);
                bool_rows(a, n, ty, |row| {
                    Ok(Some(texts.at(row).to_lowercase().ends_with(&ends.at(row).to_lowercase())))
                })
            })],
        ),
        function(
            &["contains"],
            STRING,
            "Whether a text holds another.",
            ("contains('hello', 'ell')", "t"),
            vec![strict([TEXT, TEXT], Type::Bool, |_, a, n, ty| {
                let (texts, parts) = (text(a, 0)?, text(a, 1)?);
                bool_rows(a, n, ty, |row| Ok(Some(texts.at(row).contains(parts.at(row)))))
            })],
        ),
        function(
            &["substringIndex", "SUBSTRING_INDEX", "substringIndexUTF8"],
            STRING,
            "What stands before the n-th separator, or for a negative n after the n-th from the end.",
            ("substringIndex('www.x.com', '.', 2)", "www.x"),
            vec![strict([TEXT, TEXT, INT8], Type::Text, |_, a, n, ty| {
                let (separators, counts) = (text(a, 1)?, primitive::<Int64Type>(a, 2)?);
                slice_rows(a, n, ty, |row, value| {
                    let (separator, count) = (separators.at(row), counts.at(row));
                    let nth = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
                    if separator.is_empty() || count == 0 {
                        return Ok(Some(0..0));
                    }
                    Ok(Some(match count > 0 {
                        true => 0..value.match_indices(separator).nth(nth - 1).map_or(value.len(), |(at, _)| at),
                        false => {
                            let found = value.rmatch_indices(separator).nth(nth - 1);
                            found.map_or(0, |(at, _)| at + separator.len())..value.len()
                        }
                    }))
                })
            })],
        ),
        function(
            &["appendTrailingCharIfAbsent"],
            STRING,
            "The text, with a character at its end if it is not empty and does not end with it.",
            ("appendTrailingCharIfAbsent('path', '/')", "path/"),
            vec![strict([TEXT, TEXT], Type::Text, |_, a, n, ty| {
                let (texts, ends) = (text(a, 0)?, text(a, 1)?);
                text_rows(a, n, ty, |row, out| {
                    let (value, end) = (texts.at(row), ends.at(row));
                    out.push_str(value);
                    if !value.is_empty() && !value.ends_with(end) {
                        out.push_str(end);
                    }
                    Ok(true)
                })
            })],
        ),
    ]
}
