//! The matches of a regular expression, and the parts between them, as rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, StringViewArray, StringViewBuilder};
use weir_sql::Type;
use weir_sql::catalog::Returns;

use crate::error::Result;
use crate::exec::context::{TableCall, TableFunction, TableOverload, TableRows};
use crate::functions::declare::{PATTERN, TEXT, text_array};
use crate::functions::regex::{for_each_match, split_at_matches};
use crate::functions::regex_syntax::{Flavour, Options, compile};
use crate::functions::rows::invalid_parameter;

use super::ready;

pub(super) fn functions() -> Vec<TableFunction> {
    let overload = |returns, open| TableOverload {
        params: vec![TEXT, TEXT, TEXT],
        optional: 1,
        variadic: false,
        returns: Returns::Exact(returns),
        open,
    };
    vec![
        TableFunction {
            names: &["regexp_matches"],
            family: PATTERN,
            doc: "The groups of a regular expression's first match, or of each match with the flag g.",
            example: ("regexp_matches('abcb', 'b', 'g')", "{b}, {b}"),
            overloads: vec![overload(text_array(), matches)],
        },
        TableFunction {
            names: &["regexp_split_to_table"],
            family: PATTERN,
            doc: "The parts of a text between a regular expression's matches.",
            example: ("regexp_split_to_table('a1b', '\\d')", "a, b"),
            overloads: vec![overload(Type::Text, split)],
        },
    ]
}

/// Text, pattern and flags of a call; `None` if one of them is NULL.
fn arguments<'a>(call: &TableCall<'a>) -> Option<(&'a str, &'a str, &'a str)> {
    let flags = match call.args.get(2) {
        Some(flags) => flags.as_str()?,
        None => "",
    };
    Some((call.args[0].as_str()?, call.args[1].as_str()?, flags))
}

fn matches(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let Type::Array(element) = text_array() else { return ready(call.columns, Vec::new(), 0) };
    let mut lists = ListBuilder::new(StringViewBuilder::new()).with_field(element.element_field());
    let mut rows = 0;
    if let Some((value, pattern, flags)) = arguments(call) {
        let options = Options::parse(flags)?;
        let regex = compile(pattern, options, Flavour::Postgres)?;
        for_each_match(&regex, value, 0, |found| {
            match found.len() {
                1 => lists.values().append_value(found.whole().as_str()),
                _ => {
                    for group in found.groups() {
                        lists.values().append_option(group.map(|group| group.as_str()));
                    }
                }
            }
            lists.append(true);
            rows += 1;
            options.global
        })?;
    }
    let lists: ArrayRef = Arc::new(lists.finish());
    ready(call.columns, vec![lists], rows)
}

fn split(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let mut parts: Vec<&str> = Vec::new();
    if let Some((value, pattern, flags)) = arguments(call) {
        let options = Options::parse(flags)?;
        if options.global {
            return Err(invalid_parameter("regexp_split_to_table() does not support the \"global\" option"));
        }
        let regex = compile(pattern, options, Flavour::Postgres)?;
        split_at_matches(&regex, value, |part| parts.push(part))?;
    }
    let rows = parts.len();
    ready(call.columns, vec![Arc::new(StringViewArray::from_iter_values(parts))], rows)
}
