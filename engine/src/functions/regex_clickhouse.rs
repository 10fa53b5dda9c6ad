//! ClickHouse's functions over regular expressions. Its patterns are RE2's, and its `.` matches a newline.

use std::sync::Arc;

use arrow::array::{ListArray, StringViewBuilder};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Int64Type;
use weir_sql::Type;

use super::declare::{INT8, PATTERN, TEXT, function, strict, text_array};
use super::regex::{Patterns, for_each_match, replace_matches, split_at_matches};
use super::regex_syntax::Flavour;
use super::rows::{
    batch, bool_rows, invalid_parameter, is_valid, nulls_of, primitive, primitive_rows, slice_rows, text, text_rows,
};
use super::text_list::list_rows;
use super::{Context, Datum, ScalarFunction, Types};
use crate::error::Result;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["match"],
            PATTERN,
            "Whether the text has a match of an RE2 pattern.",
            ("match('Hello', 'l+')", "t"),
            vec![strict([TEXT, TEXT], Type::Bool, |_, a, n, ty| {
                let texts = text(a, 0)?;
                let mut patterns = Patterns::new(a, 1, None, Flavour::Re2)?;
                bool_rows(a, n, ty, |row| Ok(Some(patterns.at(row, "")?.0.is_match(texts.at(row))?)))
            })],
        ),
        function(
            &["extract", "regexpExtract"],
            PATTERN,
            "The first match of an RE2 pattern, or its first group; empty without a match.",
            ("extract('number: 1, number: 2', '\\d+')", "1"),
            vec![strict([TEXT, TEXT], Type::Text, |_, a, n, ty| {
                let mut patterns = Patterns::new(a, 1, None, Flavour::Re2)?;
                slice_rows(a, n, ty, |row, value| {
                    let (regex, _) = patterns.at(row, "")?;
                    let regex = regex.linear()?;
                    let group = usize::from(regex.captures_len() > 1);
                    let found = regex.captures(value).and_then(|found| found.get(group).map(|group| group.range()));
                    Ok(Some(found.unwrap_or(0..0)))
                })
            })],
        ),
        function(
            &["regexp_extract"],
            PATTERN,
            "The first match of an RE2 pattern, or the group of this number in it; empty without a match.",
            ("regexp_extract('abc123', '([a-z]+)([0-9]+)', 2)", "123"),
            vec![
                strict([TEXT, TEXT, INT8], Type::Text, |_, a, n, ty| {
                    let mut patterns = Patterns::new(a, 1, None, Flavour::Re2)?;
                    let groups = if a.len() > 2 { Some(primitive::<Int64Type>(a, 2)?) } else { None };
                    slice_rows(a, n, ty, |row, value| {
                        let (regex, _) = patterns.at(row, "")?;
                        let group = groups.map_or(0, |groups| groups.at(row));
                        let group = usize::try_from(group).ok().filter(|group| *group < regex.captures_len());
                        let group =
                            group.ok_or_else(|| invalid_parameter("the pattern has no group of this number"))?;
                        let found =
                            regex.captures_at(value, 0)?.and_then(|found| found.get(group).map(|group| group.range()));
                        Ok(Some(found.unwrap_or(0..0)))
                    })
                })
                .optional(1),
            ],
        ),
        function(
            &["regexp_extract_all"],
            PATTERN,
            "All matches of an RE2 pattern.",
            ("regexp_extract_all('a1b22', '[0-9]+')", "{1,22}"),
            vec![strict([TEXT, TEXT], text_array(), |_, a, n, ty| {
                let texts = text(a, 0)?;
                let mut patterns = Patterns::new(a, 1, None, Flavour::Re2)?;
                list_rows(a, n, ty, |row, out| {
                    let (regex, _) = patterns.at(row, "")?;
                    regex.linear()?.find_iter(texts.at(row)).for_each(|found| out.push(found.as_str()));
                    Ok(true)
                })
            })],
        ),
        function(
            &["regexp_full_match"],
            PATTERN,
            "Whether the whole text is a match of an RE2 pattern.",
            ("regexp_full_match('abc', 'a.c')", "t"),
            vec![strict([TEXT, TEXT], Type::Bool, |_, a, n, ty| {
                let texts = text(a, 0)?;
                let mut patterns = Patterns::new(a, 1, None, Flavour::Re2)?;
                bool_rows(a, n, ty, |row| {
                    let (regex, value) = (patterns.at(row, "")?.0, texts.at(row));
                    let whole = |found: regex::Match<'_>| found.range() == (0..value.len());
                    Ok(Some(regex.linear()?.find_iter(value).any(whole)))
                })
            })],
        ),
        function(
            &["extractAllGroups", "extractAllGroupsVertical"],
            PATTERN,
            "The groups of each match of an RE2 pattern: an array of arrays.",
            ("extractAllGroups('a=1, b=2', '(\\w)=(\\w)')", "{{a,1},{b,2}}"),
            vec![strict([TEXT, TEXT], Type::Array(Box::new(text_array())), all_groups)],
        ),
        function(
            &["extractAll"],
            PATTERN,
            "All matches of an RE2 pattern, or their first groups.",
            ("extractAll('hello number: 1, world number: 2', '\\d+')", "{1,2}"),
            vec![strict([TEXT, TEXT], text_array(), |_, a, n, ty| {
                let texts = text(a, 0)?;
                let mut patterns = Patterns::new(a, 1, None, Flavour::Re2)?;
                list_rows(a, n, ty, |row, out| {
                    let (regex, _) = patterns.at(row, "")?;
                    let group = usize::from(regex.captures_len() > 1);
                    for found in regex.linear()?.captures_iter(texts.at(row)) {
                        out.push(found.get(group).map_or("", |group| group.as_str()));
                    }
                    Ok(true)
                })
            })],
        ),
        function(
            &["extractGroups"],
            PATTERN,
            "The groups of the first match of an RE2 pattern.",
            ("extractGroups('hello abc=111', '(\\w+)=(\\w+)')", "{abc,111}"),
            vec![strict([TEXT, TEXT], text_array(), |_, a, n, ty| {
                let texts = text(a, 0)?;
                let mut patterns = Patterns::new(a, 1, None, Flavour::Re2)?;
                list_rows(a, n, ty, |row, out| {
                    let (regex, _) = patterns.at(row, "")?;
                    for group in regex.linear()?.captures(texts.at(row)).iter().flat_map(|found| found.iter().skip(1)) {
                        out.push(group.map_or("", |group| group.as_str()));
                    }
                    Ok(true)
                })
            })],
        ),
        function(
            &["countMatches"],
            PATTERN,
            "How many matches of an RE2 pattern the text has.",
            ("countMatches('foobar.com', 'o+')", "2"),
            vec![strict([TEXT, TEXT], Type::Int8, |_, a, n, ty| {
                let texts = text(a, 0)?;
                let mut patterns = Patterns::new(a, 1, None, Flavour::Re2)?;
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    let (regex, _) = patterns.at(row, "")?;
                    let mut count = 0;
                    for_each_match(&regex, texts.at(row), 0, |found| {
                        count += i64::from(!found.whole().range().is_empty());
                        true
                    })?;
                    Ok(Some(count))
                })
            })],
        ),
        function(
            &["replaceRegexpAll", "regexpReplaceAll"],
            PATTERN,
            "The text with all matches of an RE2 pattern replaced; \\0 … \\9 stand for the match and its groups.",
            ("replaceRegexpAll('Hello, World!', '.', '\\0\\0')", "HHeelllloo,,  WWoorrlldd!!"),
            vec![strict([TEXT, TEXT, TEXT], Type::Text, |_, a, n, ty| replace(a, n, ty, 0))],
        ),
        function(
            &["replaceRegexpOne"],
            PATTERN,
            "The text with the first match of an RE2 pattern replaced.",
            ("replaceRegexpOne('2014-03-17', '(\\d{4})-(\\d{2})-(\\d{2})', '\\2/\\3/\\1')", "03/17/2014"),
            vec![strict([TEXT, TEXT, TEXT], Type::Text, |_, a, n, ty| replace(a, n, ty, 1))],
        ),
        function(
            &["splitByRegexp"],
            PATTERN,
            "The parts of the second text between matches of the first, an RE2 pattern.",
            ("splitByRegexp('\\d+', 'a12bc23de')", "{a,bc,de}"),
            vec![strict([TEXT, TEXT], text_array(), |_, a, n, ty| {
                let texts = text(a, 1)?;
                let mut patterns = Patterns::new(a, 0, None, Flavour::Re2)?;
                list_rows(a, n, ty, |row, out| {
                    split_at_matches(&patterns.at(row, "")?.0, texts.at(row), |part| out.push(part))?;
                    Ok(true)
                })
            })],
        ),
    ]
}

fn all_groups(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let texts = text(args, 0)?;
    let mut patterns = Patterns::new(args, 1, None, Flavour::Re2)?;
    batch(args, rows, types, |rows| {
        let nulls = nulls_of(args, rows);
        let (mut values, mut groups, mut matches) = (StringViewBuilder::new(), Vec::new(), Vec::with_capacity(rows));
        for row in 0..rows {
            let before = groups.len();
            if is_valid(&nulls, row) {
                let (regex, _) = patterns.at(row, "")?;
                for found in regex.linear()?.captures_iter(texts.at(row)) {
                    found
                        .iter()
                        .skip(1)
                        .for_each(|group| values.append_value(group.map_or("", |group| group.as_str())));
                    groups.push(regex.captures_len() - 1);
                }
            }
            matches.push(groups.len() - before);
        }
        let offsets = OffsetBuffer::from_lengths(groups);
        let inner = ListArray::try_new(Type::Text.element_field(), offsets, Arc::new(values.finish()), None)?;
        let offsets = OffsetBuffer::from_lengths(matches);
        Ok(Arc::new(ListArray::try_new(text_array().element_field(), offsets, Arc::new(inner), nulls)?))
    })
}

fn replace(args: &[Datum], rows: usize, ty: &Type, nth: usize) -> Result<Datum> {
    let (texts, replacements) = (text(args, 0)?, text(args, 2)?);
    let mut patterns = Patterns::new(args, 1, None, Flavour::Re2)?;
    text_rows(args, rows, ty, |row, out| {
        let (regex, _) = patterns.at(row, "")?;
        replace_matches(out, &regex, texts.at(row), replacements.at(row), Flavour::Re2, 0, nth)?;
        Ok(true)
    })
}
