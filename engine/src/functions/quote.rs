//! Texts as parts of a statement: quote_ident, quote_literal, parse_ident.

use weir_sql::Type;

use super::declare::{BOOL, STRING, TEXT, function, strict, text_array};
use super::rows::{column, invalid_parameter, text, text_rows_with_nulls};
use super::string::{lower, map_text};
use super::text_list::list_rows;
use super::{Context, Datum, ScalarFunction, Types};
use crate::error::Result;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["quote_ident"],
            STRING,
            "The text as an identifier, in quotes where it needs them.",
            ("quote_ident('Foo bar')", "\"Foo bar\""),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| map_text(a, n, ty, quote_ident))],
        ),
        function(
            &["quote_literal"],
            STRING,
            "The text as a string literal.",
            ("quote_literal('O''Reilly')", "'O''Reilly'"),
            vec![strict([TEXT], Type::Text, |_, a, n, ty| map_text(a, n, ty, quote_literal))],
        ),
        function(
            &["quote_nullable"],
            STRING,
            "The text as a string literal, or the word NULL.",
            ("quote_nullable(NULL)", "NULL"),
            vec![
                strict([TEXT], Type::Text, |_, a, n, ty| {
                    let texts = text(a, 0)?;
                    text_rows_with_nulls(a, n, ty, |row, out| {
                        match texts.is_null(row) {
                            true => out.push_str("NULL"),
                            false => quote_literal(texts.at(row), out),
                        }
                        Ok(true)
                    })
                })
                .lax(),
            ],
        ),
        function(
            &["parse_ident"],
            STRING,
            "The parts of a qualified identifier, unquoted.",
            ("parse_ident('\"SomeSchema\".someTable')", "{SomeSchema,sometable}"),
            vec![strict([TEXT, BOOL], text_array(), parse_ident).optional(1)],
        ),
    ]
}

/// Words that must be quoted as an identifier: Postgres's reserved words and those it admits only as column or function names.
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization", "between", "bigint", "binary", "bit",
    "boolean", "both", "case", "cast", "char", "character", "check", "coalesce", "collate", "collation", "column", "concurrently",
    "constraint", "create", "cross", "current_catalog", "current_date", "current_role", "current_schema", "current_time",
    "current_timestamp", "current_user", "dec", "decimal", "default", "deferrable", "desc", "distinct", "do", "else", "end", "except",
    "exists", "extract", "false", "fetch", "float", "for", "foreign", "freeze", "from", "full", "grant", "greatest", "group", "grouping",
    "having", "ilike", "in", "initially", "inner", "inout", "int", "integer", "intersect", "interval", "into", "is", "isnull", "join",
    "lateral", "leading", "least", "left", "like", "limit", "localtime", "localtimestamp", "national", "natural", "nchar", "none",
    "normalize", "not", "notnull", "null", "nullif", "numeric", "offset", "on", "only", "or", "order", "out", "outer", "overlaps",
    "overlay", "placing", "position", "precision", "primary", "real", "references", "returning", "right", "row", "select", "session_user",
    "setof", "similar", "smallint", "some", "substring", "symmetric", "table", "tablesample", "then", "time", "timestamp", "to",
    "trailing", "treat", "trim", "true", "union", "unique", "user", "using", "values", "varchar", "variadic", "verbose", "when", "where",
    "window", "with", "xmlattributes", "xmlconcat", "xmlelement", "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi",
    "xmlroot", "xmlserialize", "xmltable",
];

/// Appends `name` as SQL would read it back: bare if it is a lower-case word that is not reserved.
pub fn quote_ident(name: &str, out: &mut String) {
    let mut bytes = name.bytes();
    let bare = bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && RESERVED.binary_search(&name).is_err();
    if bare {
        out.push_str(name);
        return;
    }
    out.push('"');
    for c in name.chars() {
        if c == '"' {
            out.push('"');
        }
        out.push(c);
    }
    out.push('"');
}

/// Appends `value` as a string literal, with `E` in front if it has backslashes.
pub fn quote_literal(value: &str, out: &mut String) {
    if value.contains('\\') {
        out.push('E');
    }
    out.push('\'');
    for c in value.chars() {
        if matches!(c, '\'' | '\\') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('\'');
}

fn parse_ident(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let texts = text(args, 0)?;
    let strict = if args.len() > 1 { Some(column::<arrow::array::BooleanArray>(args, 1)?) } else { None };
    list_rows(args, rows, ty, |row, out| {
        for part in identifiers(texts.at(row), strict.is_none_or(|strict| strict.at(row)))? {
            out.push(&part);
        }
        Ok(true)
    })
}

/// The parts of `a."B".c`. With `strict`, nothing may follow the last one.
fn identifiers(whole: &str, strict: bool) -> Result<Vec<String>> {
    let fail = |detail: &str| {
        let error = invalid_parameter(format!("string is not a valid identifier: \"{whole}\""));
        Err(if detail.is_empty() { error } else { error.with_detail(detail) })
    };
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c');
    let mut rest = whole.trim_start_matches(is_space);
    let mut parts = Vec::new();
    let mut after_dot = false;
    loop {
        let mut part = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            loop {
                let Some(at) = rest.find('"') else { return fail("String has unclosed double quotes.") };
                part.push_str(&rest[..at]);
                rest = &rest[at + 1..];
                match rest.strip_prefix('"') {
                    Some(more) => rest = more,
                    None => break,
                }
                part.push('"');
            }
            if part.is_empty() {
                return fail("Quoted identifier must not be empty.");
            }
        } else if rest.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic() || !c.is_ascii()) {
            let is_part = |c: char| c == '_' || c == '$' || c.is_ascii_alphanumeric() || !c.is_ascii();
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            lower(&rest[..end], &mut part);
            rest = &rest[end..];
        } else if rest.starts_with('.') {
            return fail("No valid identifier before \".\".");
        } else if after_dot {
            return fail("No valid identifier after \".\".");
        } else {
            return fail("");
        }
        parts.push(part);
        rest = rest.trim_start_matches(is_space);
        match rest.strip_prefix('.') {
            Some(more) => rest = more.trim_start_matches(is_space),
            None if rest.is_empty() || !strict => return Ok(parts),
            None => return fail(""),
        }
        after_dot = true;
    }
}
