//! Taking values out of json and jsonb, and asking about them: `-> ->> #> #>> @> <@ ? ?| ?&`, lengths and types.
//!
//! What comes out is a part of what went in, so that its bytes are shared rather than copied, except for strings with escapes.

use std::ops::Range;

use arrow::array::{Array, ListArray, StringViewArray};
use arrow::datatypes::Int32Type;
use weir_sql::Type;

use super::super::declare::{INT4, JSON, JSON_TEXT, JSONB, TEXT, function, strict, texts};
use super::super::rows::{
    Column, bool_rows, column, invalid_parameter, primitive, primitive_rows, slice_rows, text, text_rows,
};
use super::super::{Context, Datum, ScalarFunction, Types};
use crate::error::Result;
use crate::kernels::json::contain::{contains, has_key};
use crate::kernels::json::{Elements, Kind, as_text, at_path, element, field, kind, trimmed};

pub(super) fn functions() -> Vec<ScalarFunction> {
    let mut all = operators();
    all.extend(questions());
    all
}

fn operators() -> Vec<ScalarFunction> {
    let both = |second: weir_sql::catalog::Param, json, jsonb, kernel: super::super::Kernel| {
        vec![strict([JSON_TEXT, second.clone()], json, kernel), strict([JSONB, second], jsonb, kernel)]
    };
    let mut get = both(TEXT, Type::Json, Type::Jsonb, get_field);
    get.extend(both(INT4, Type::Json, Type::Jsonb, get_element));
    let mut get_text = both(TEXT, Type::Text, Type::Text, get_field);
    get_text.extend(both(INT4, Type::Text, Type::Text, get_element));
    let path = |param, ty, kernel| vec![strict([param, TEXT], ty, kernel).variadic()];
    vec![
        function(
            &["->"],
            JSON,
            "The object's field of this name, or the array's element of this number (from 0, or from the end with -1 the last).",
            ("'{\"a\": {\"b\": 1}}'::json -> 'a'", "{\"b\": 1}"),
            get,
        ),
        function(
            &["->>"],
            JSON,
            "The object's field of this name, or the array's element of this number, as text.",
            ("'[1, 2, \"three\"]'::json ->> 2", "three"),
            get_text,
        ),
        function(
            &["#>"],
            JSON,
            "What is at the end of a path of field names and element numbers.",
            ("'{\"a\": {\"b\": [\"foo\", \"bar\"]}}'::json #> '{a,b,1}'", "\"bar\""),
            both(texts(), Type::Json, Type::Jsonb, get_path),
        ),
        function(
            &["#>>"],
            JSON,
            "What is at the end of a path of field names and element numbers, as text.",
            ("'{\"a\": {\"b\": [\"foo\", \"bar\"]}}'::json #>> '{a,b,1}'", "bar"),
            both(texts(), Type::Text, Type::Text, get_path),
        ),
        function(
            &["json_extract_path"],
            JSON,
            "What is at the end of a path, each step an argument.",
            ("json_extract_path('{\"a\": {\"b\": 1}}', 'a', 'b')", "1"),
            path(JSON_TEXT, Type::Json, get_steps),
        ),
        function(
            &["jsonb_extract_path"],
            JSON,
            "What is at the end of a path, each step an argument.",
            ("jsonb_extract_path('{\"a\": {\"b\": 1}}', 'a', 'b')", "1"),
            path(JSONB, Type::Jsonb, get_steps),
        ),
        function(
            &["json_extract_path_text"],
            JSON,
            "What is at the end of a path, each step an argument, as text.",
            ("json_extract_path_text('{\"a\": {\"b\": \"x\"}}', 'a', 'b')", "x"),
            path(JSON_TEXT, Type::Text, get_steps),
        ),
        function(
            &["jsonb_extract_path_text"],
            JSON,
            "What is at the end of a path, each step an argument, as text.",
            ("jsonb_extract_path_text('{\"a\": {\"b\": \"x\"}}', 'a', 'b')", "x"),
            path(JSONB, Type::Text, get_steps),
        ),
    ]
}

fn questions() -> Vec<ScalarFunction> {
    let by_kind = |ty: Type, kernel: super::super::Kernel, json: bool| {
        vec![strict([if json { JSON_TEXT } else { JSONB }], ty, kernel)]
    };
    vec![
        function(
            &["@>", "jsonb_contains"],
            JSON,
            "Whether the first value contains the second.",
            ("'{\"a\": 1, \"b\": 2}'::jsonb @> '{\"b\": 2}'::jsonb", "t"),
            vec![strict([JSONB, JSONB], Type::Bool, |_, a, n, ty| containment(a, n, ty, 0, 1))],
        ),
        function(
            &["<@", "jsonb_contained"],
            JSON,
            "Whether the second value contains the first.",
            ("'{\"b\": 2}'::jsonb <@ '{\"a\": 1, \"b\": 2}'::jsonb", "t"),
            vec![strict([JSONB, JSONB], Type::Bool, |_, a, n, ty| containment(a, n, ty, 1, 0))],
        ),
        function(
            &["?", "jsonb_exists"],
            JSON,
            "Whether a text is a field's name of the object, or an element of the array.",
            ("'{\"a\": 1, \"b\": 2}'::jsonb ? 'b'", "t"),
            vec![strict([JSONB, TEXT], Type::Bool, |_, a, n, ty| {
                let (values, keys) = (text(a, 0)?, text(a, 1)?);
                bool_rows(a, n, ty, |row| Ok(Some(has_key(values.at(row), keys.at(row)))))
            })],
        ),
        function(
            &["?|", "jsonb_exists_any"],
            JSON,
            "Whether any of the texts is a field's name of the object, or an element of the array.",
            ("'{\"a\": 1, \"b\": 2}'::jsonb ?| ARRAY['b', 'd']", "t"),
            vec![strict([JSONB, texts()], Type::Bool, |_, a, n, ty| exists(a, n, ty, false))],
        ),
        function(
            &["?&", "jsonb_exists_all"],
            JSON,
            "Whether all of the texts are field names of the object, or elements of the array.",
            ("'[\"a\", \"b\"]'::jsonb ?& ARRAY['a', 'b']", "t"),
            vec![strict([JSONB, texts()], Type::Bool, |_, a, n, ty| exists(a, n, ty, true))],
        ),
        function(
            &["json_typeof"],
            JSON,
            "What the value is: object, array, string, number, boolean or null.",
            ("json_typeof('-123.4')", "number"),
            by_kind(Type::Text, type_of, true),
        ),
        function(
            &["jsonb_typeof"],
            JSON,
            "What the value is: object, array, string, number, boolean or null.",
            ("jsonb_typeof('-123.4')", "number"),
            by_kind(Type::Text, type_of, false),
        ),
        function(
            &["json_array_length"],
            JSON,
            "How many elements the array has.",
            ("json_array_length('[1, 2, {\"f\": 3}]')", "3"),
            by_kind(Type::Int4, array_length, true),
        ),
        function(
            &["jsonb_array_length"],
            JSON,
            "How many elements the array has.",
            ("jsonb_array_length('[1, 2, {\"f\": 3}]')", "3"),
            by_kind(Type::Int4, array_length, false),
        ),
    ]
}

/// Whether the last of equal keys counts.
fn last_wins(types: &Types<'_>) -> bool {
    types.args[0] == Type::Json
}

/// Where a part of a text is in it.
fn range_in(whole: &str, part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    (start + part.len() <= whole.len()).then(|| start..start + part.len())
}

/// A strict kernel over the texts of the first argument that gives a part of each: as json, or as text if that is the result's type.
pub(super) fn part_rows(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    find: impl for<'t> Fn(usize, &'t str) -> Option<&'t str>,
) -> Result<Datum> {
    if *types.result != Type::Text {
        return slice_rows(args, rows, types, |row, whole| {
            Ok(find(row, whole).and_then(|part| range_in(whole, trimmed(part))))
        });
    }
    let mut escaped = false;
    let shared = slice_rows(args, rows, types, |row, whole| {
        let Some(part) = find(row, whole) else { return Ok(None) };
        let part = trimmed(part);
        Ok(match kind(part) {
            Kind::Null => None,
            Kind::String if part.contains('\\') => {
                escaped = true;
                None
            }
            Kind::String => range_in(whole, &part[1..part.len() - 1]),
            _ => range_in(whole, part),
        })
    })?;
    if !escaped {
        return Ok(shared);
    }
    let texts = text(args, 0)?;
    text_rows(args, rows, types, |row, out| {
        let Some(found) = find(row, texts.at(row)) else { return Ok(false) };
        let found = as_text(found)?;
        out.push_str(found.as_deref().unwrap_or(""));
        Ok(found.is_some())
    })
}

fn get_field(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (keys, last) = (text(args, 1)?, last_wins(types));
    part_rows(args, rows, types, |row, whole| field(whole, keys.at(row), last))
}

fn get_element(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let indexes = primitive::<Int32Type>(args, 1)?;
    part_rows(args, rows, types, |row, whole| element(whole, indexes.at(row).into()))
}

/// The texts of a list's row; `None` if one is NULL.
pub(super) fn path_at<'a>(lists: &Column<'a, ListArray>, row: usize) -> Option<Vec<&'a str>> {
    let values = lists.array.values().as_any().downcast_ref::<StringViewArray>()?;
    lists.range(row).map(|i| (!values.is_null(i)).then(|| values.value(i))).collect()
}

fn get_path(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (paths, last) = (column::<ListArray>(args, 1)?, last_wins(types));
    let constant = paths.is_constant().then(|| path_at(&paths, 0));
    part_rows(args, rows, types, |row, whole| match &constant {
        Some(path) => at_path(whole, path.as_deref()?, last),
        None => at_path(whole, &path_at(&paths, row)?, last),
    })
}

fn get_steps(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let last = last_wins(types);
    let steps = (1..args.len()).map(|i| text(args, i)).collect::<Result<Vec<_>>>()?;
    let constant: Option<Vec<&str>> = steps.iter().map(|step| step.constant()).collect();
    part_rows(args, rows, types, |row, whole| match &constant {
        Some(path) => at_path(whole, path, last),
        None => at_path(whole, &steps.iter().map(|step| step.at(row)).collect::<Vec<_>>(), last),
    })
}

fn containment(args: &[Datum], rows: usize, types: &Types<'_>, whole: usize, part: usize) -> Result<Datum> {
    let (whole, part) = (text(args, whole)?, text(args, part)?);
    bool_rows(args, rows, types, |row| Ok(Some(contains(whole.at(row), part.at(row)))))
}

fn exists(args: &[Datum], rows: usize, types: &Types<'_>, all: bool) -> Result<Datum> {
    let (values, lists) = (text(args, 0)?, column::<ListArray>(args, 1)?);
    let keys = lists.array.values().as_any().downcast_ref::<StringViewArray>();
    bool_rows(args, rows, types, |row| {
        let Some(keys) = keys else { return Ok(None) };
        let mut known = lists.range(row).filter(|&i| !keys.is_null(i)).map(|i| has_key(values.at(row), keys.value(i)));
        Ok(Some(if all { known.all(|has| has) } else { known.any(|has| has) }))
    })
}

fn type_of(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let values = text(args, 0)?;
    text_rows(args, rows, types, |row, out| {
        out.push_str(kind(values.at(row)).name());
        Ok(true)
    })
}

fn array_length(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let values = text(args, 0)?;
    primitive_rows::<Int32Type>(args, rows, types, |row| match kind(values.at(row)) {
        Kind::Array => Ok(Some(Elements::of(values.at(row)).count() as i32)),
        Kind::Object => Err(invalid_parameter("cannot get array length of a non-array")),
        _ => Err(invalid_parameter("cannot get array length of a scalar")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_knows_where_it_is() {
        let whole = r#"{"a": [1]}"#;
        let part = field(whole, "a", false).expect("there is an a");
        assert_eq!(range_in(whole, part), Some(6..9));
        assert_eq!(range_in(part, whole), None);
    }

    #[test]
    fn overloads_are_strict() {
        let all: Vec<super::super::super::Overload> = functions().into_iter().flat_map(|f| f.overloads).collect();
        assert!(all.iter().all(|overload| overload.strict));
    }
}
