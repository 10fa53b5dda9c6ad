//! Between arrays and text: string_to_array, array_to_string, and ClickHouse's splitByChar and its kin.

use arrow::array::ListArray;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::super::declare::{ARRAY, TEXT, function, strict, text_array};
use super::super::rows::{column, invalid_parameter, text, text_rows_with_nulls};
use super::super::text_list::{list_rows, list_rows_with_nulls};
use super::super::{Context, Datum, Overload, ScalarFunction, Types};
use super::element_of;
use crate::error::Result;
use crate::format::{FormatSettings, TextEncoder};

pub(super) fn functions() -> Vec<ScalarFunction> {
    let joined = |kernel| Overload::new(vec![Param::AnyArray, TEXT, TEXT], Returns::Exact(Type::Text), kernel).lax();
    vec![
        function(
            &["array_to_string"],
            ARRAY,
            "The elements as one text, with a separator between them; NULL as the third argument, or left out.",
            ("array_to_string(ARRAY[1, 2, 3, NULL, 5], ',', '*')", "1,2,3,*,5"),
            vec![joined(|ctx, a, n, ty| join(ctx, a, n, ty, false)).optional(1)],
        )
        .stable(),
        function(
            &["arrayStringConcat"],
            ARRAY,
            "The elements as one text, with a separator (nothing by default) between them.",
            ("arrayStringConcat(ARRAY['a', 'b'], '-')", "a-b"),
            vec![joined(|ctx, a, n, ty| join(ctx, a, n, ty, true)).optional(2)],
        )
        .stable(),
        function(
            &["string_to_array"],
            ARRAY,
            "The parts of a text between separators; the characters, if the separator is NULL. Parts that equal the third argument are NULL.",
            ("string_to_array('xx~~yy~~zz', '~~', 'yy')", "{xx,NULL,zz}"),
            vec![strict([TEXT, TEXT, TEXT], text_array(), split).optional(1).lax()],
        ),
        function(
            &["splitByChar"],
            ARRAY,
            "The parts of a text between separators of one character.",
            ("splitByChar(',', '1,2,,3')", "{1,2,\"\",3}"),
            vec![strict([TEXT, TEXT], text_array(), |_, a, n, ty| {
                let (separators, texts) = (text(a, 0)?, text(a, 1)?);
                list_rows(a, n, ty, |row, list| {
                    let mut separator = separators.at(row).chars();
                    let (Some(c), None) = (separator.next(), separator.next()) else {
                        return Err(invalid_parameter("splitByChar takes a separator of one character"));
                    };
                    texts.at(row).split(c).for_each(|part| list.push(part));
                    Ok(true)
                })
            })],
        ),
        function(
            &["splitByString"],
            ARRAY,
            "The parts of a text between separators; the characters, if the separator is empty.",
            ("splitByString(', ', 'a, b, c')", "{a,b,c}"),
            vec![strict([TEXT, TEXT], text_array(), |_, a, n, ty| split_rows(a, n, ty, [1, 0]))],
        ),
        function(
            &["string_split", "str_split", "split"],
            ARRAY,
            "The parts of a text between separators; the characters, if the separator is empty.",
            ("string_split('a, b, c', ', ')", "{a,b,c}"),
            vec![strict([TEXT, TEXT], text_array(), |_, a, n, ty| split_rows(a, n, ty, [0, 1]))],
        ),
        function(
            &["splitByWhitespace"],
            ARRAY,
            "The words of a text, between white space.",
            ("splitByWhitespace('  a b  c ')", "{a,b,c}"),
            vec![strict([TEXT], text_array(), |_, a, n, ty| {
                let texts = text(a, 0)?;
                list_rows(a, n, ty, |row, list| {
                    texts.at(row).split_whitespace().for_each(|part| list.push(part));
                    Ok(true)
                })
            })],
        ),
        function(
            &["splitByNonAlpha"],
            ARRAY,
            "The parts of a text between white space and punctuation.",
            ("splitByNonAlpha('a, b-c')", "{a,b,c}"),
            vec![strict([TEXT], text_array(), |_, a, n, ty| {
                words(a, n, ty, |c| c.is_ascii_whitespace() || c.is_ascii_punctuation())
            })],
        ),
        function(
            &["alphaTokens", "splitByAlpha"],
            ARRAY,
            "The runs of the letters a to z in a text.",
            ("alphaTokens('abca1abc')", "{abca,abc}"),
            vec![strict([TEXT], text_array(), |_, a, n, ty| words(a, n, ty, |c| !c.is_ascii_alphabetic()))],
        ),
    ]
}

/// The parts of a text between separators, or its characters; `places` says which argument is the text and which the separator.
fn split_rows(args: &[Datum], rows: usize, ty: &Type, places: [usize; 2]) -> Result<Datum> {
    let (texts, separators) = (text(args, places[0])?, text(args, places[1])?);
    list_rows(args, rows, ty, |row, list| {
        let (separator, value) = (separators.at(row), texts.at(row));
        match separator {
            "" => value.chars().for_each(|c| list.push(c.encode_utf8(&mut [0; 4]))),
            _ => value.split(separator).for_each(|part| list.push(part)),
        }
        Ok(true)
    })
}

fn words(args: &[Datum], rows: usize, types: &Types<'_>, ends: fn(char) -> bool) -> Result<Datum> {
    let texts = text(args, 0)?;
    list_rows(args, rows, types, |row, list| {
        texts.at(row).split(ends).filter(|part| !part.is_empty()).for_each(|part| list.push(part));
        Ok(true)
    })
}

fn join(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>, optional: bool) -> Result<Datum> {
    let lists = column::<ListArray>(args, 0)?;
    let separators = if args.len() > 1 { Some(text(args, 1)?) } else { None };
    let shown_null = if args.len() > 2 { Some(text(args, 2)?) } else { None };
    let encoder = TextEncoder::new(element_of(&types.args[0])?, lists.values(), &FormatSettings::of(context));
    let mut bytes = Vec::new();
    text_rows_with_nulls(args, rows, types, |row, out| {
        if lists.is_null(row) || separators.is_some_and(|separators| separators.is_null(row)) {
            return Ok(false);
        }
        let separator = match separators {
            Some(separators) => separators.at(row),
            None if optional => "",
            None => return Ok(false),
        };
        let null = shown_null.filter(|shown| !shown.is_null(row)).map(|shown| shown.at(row));
        let mut first = true;
        for item in lists.range(row) {
            let is_null = encoder.is_null(item);
            if is_null && null.is_none() {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push_str(separator);
            }
            match null.filter(|_| is_null) {
                Some(null) => out.push_str(null),
                None => {
                    bytes.clear();
                    encoder.write(item, &mut bytes);
                    out.push_str(&String::from_utf8_lossy(&bytes));
                }
            }
        }
        Ok(true)
    })
}

fn split(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (texts, separators) = (text(args, 0)?, text(args, 1)?);
    let nulls = if args.len() > 2 { Some(text(args, 2)?) } else { None };
    list_rows_with_nulls(args, rows, types, |row, list| {
        if texts.is_null(row) {
            return Ok(false);
        }
        let value = texts.at(row);
        let null = nulls.filter(|nulls| !nulls.is_null(row)).map(|nulls| nulls.at(row));
        let mut push = |part: &str| if null == Some(part) { list.push_null() } else { list.push(part) };
        match (value, separators.is_null(row)) {
            ("", _) => {}
            (value, true) => value.chars().for_each(|c| push(c.encode_utf8(&mut [0; 4]))),
            (value, false) if separators.at(row).is_empty() => push(value),
            (value, false) => value.split(separators.at(row)).for_each(push),
        }
        Ok(true)
    })
}
