//! Changing jsonb: `||`, `-`, `#-`, jsonb_set, jsonb_insert, jsonb_pretty, json_strip_nulls.

use arrow::array::{BooleanArray, ListArray};
use arrow::datatypes::Int32Type;
use weir_sql::Type;

use super::super::declare::{BOOL, INT4, JSON, JSON_TEXT, JSONB, TEXT, function, strict, texts};
use super::super::rows::{column, invalid_parameter, primitive, text, text_rows, text_rows_with_nulls};
use super::super::{Context, Datum, ScalarFunction, Types};
use super::access::path_at;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::json::edit::{Change, change, concatenate, pretty, strip_nulls, without_element, without_keys};

pub(super) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["||", "jsonb_concat"],
            JSON,
            "The fields of two objects, the second's where both have one; or the elements of both in one array.",
            ("'{\"a\": 1}'::jsonb || '{\"b\": 2}'::jsonb", "{\"a\": 1, \"b\": 2}"),
            vec![strict([JSONB, JSONB], Type::Jsonb, |_, a, n, ty| {
                let (left, right) = (text(a, 0)?, text(a, 1)?);
                text_rows(a, n, ty, |row, out| {
                    concatenate(left.at(row), right.at(row), out);
                    Ok(true)
                })
            })],
        ),
        function(
            &["-", "jsonb_delete"],
            JSON,
            "The value without a field, some fields, or an element.",
            ("'{\"a\": 1, \"b\": 2}'::jsonb - 'a'", "{\"b\": 2}"),
            vec![
                strict([JSONB, TEXT], Type::Jsonb, |_, a, n, ty| {
                    let (values, keys) = (text(a, 0)?, text(a, 1)?);
                    text_rows(a, n, ty, |row, out| {
                        without_keys(values.at(row), &[keys.at(row)], out)?;
                        Ok(true)
                    })
                }),
                strict([JSONB, INT4], Type::Jsonb, |_, a, n, ty| {
                    let (values, indexes) = (text(a, 0)?, primitive::<Int32Type>(a, 1)?);
                    text_rows(a, n, ty, |row, out| {
                        without_element(values.at(row), indexes.at(row).into(), out)?;
                        Ok(true)
                    })
                }),
                strict([JSONB, texts()], Type::Jsonb, |_, a, n, ty| {
                    let (values, lists) = (text(a, 0)?, column::<ListArray>(a, 1)?);
                    text_rows(a, n, ty, |row, out| {
                        without_keys(values.at(row), &path_at(&lists, row).unwrap_or_default(), out)?;
                        Ok(true)
                    })
                }),
            ],
        ),
        function(
            &["#-", "jsonb_delete_path"],
            JSON,
            "The value without the field or element at the end of a path.",
            ("'{\"a\": {\"b\": 1, \"c\": 2}}'::jsonb #- '{a,b}'", "{\"a\": {\"c\": 2}}"),
            vec![strict([JSONB, texts()], Type::Jsonb, |_, a, n, ty| changed(a, n, ty, |_| Ok(Some(Change::Delete))))],
        ),
        function(
            &["jsonb_set"],
            JSON,
            "The value with another at the end of a path; a field or element that is not there is added, unless the last argument is false.",
            ("jsonb_set('{\"a\": [1, 2]}', '{a,0}', '9')", "{\"a\": [9, 2]}"),
            vec![
                strict([JSONB, texts(), JSONB, BOOL], Type::Jsonb, |_, a, n, ty| {
                    let values = text(a, 2)?;
                    let create = if a.len() > 3 { Some(column::<BooleanArray>(a, 3)?) } else { None };
                    changed(a, n, ty, |row| {
                        Ok(Some(Change::Set { value: values.at(row), create: create.is_none_or(|c| c.at(row)) }))
                    })
                })
                .optional(1),
            ],
        ),
        function(
            &["jsonb_set_lax"],
            JSON,
            "As jsonb_set; what a NULL value does is chosen by the last argument: raise_exception, use_json_null, delete_key, return_target.",
            ("jsonb_set_lax('{\"a\": 1, \"b\": 2}', '{a}', NULL)", "{\"a\": null, \"b\": 2}"),
            vec![strict([JSONB, texts(), JSONB, BOOL, TEXT], Type::Jsonb, set_lax).optional(2).lax()],
        ),
        function(
            &["jsonb_insert"],
            JSON,
            "The value with another before (after, if the last argument is true) the element at the end of a path, or as a new field.",
            ("jsonb_insert('{\"a\": [0, 1, 2]}', '{a,1}', '9')", "{\"a\": [0, 9, 1, 2]}"),
            vec![
                strict([JSONB, texts(), JSONB, BOOL], Type::Jsonb, |_, a, n, ty| {
                    let values = text(a, 2)?;
                    let after = if a.len() > 3 { Some(column::<BooleanArray>(a, 3)?) } else { None };
                    changed(a, n, ty, |row| {
                        Ok(Some(Change::Insert { value: values.at(row), after: after.is_some_and(|a| a.at(row)) }))
                    })
                })
                .optional(1),
            ],
        ),
        function(
            &["jsonb_pretty"],
            JSON,
            "The value over several lines.",
            ("jsonb_pretty('[1]')", "[\n    1\n]"),
            vec![strict([JSONB], Type::Text, |_, a, n, ty| {
                let values = text(a, 0)?;
                text_rows(a, n, ty, |row, out| {
                    pretty(values.at(row), 0, out);
                    Ok(true)
                })
            })],
        ),
        function(
            &["json_strip_nulls"],
            JSON,
            "The value without fields that are null.",
            ("json_strip_nulls('{\"a\": 1, \"b\": null, \"c\": [2, null]}')", "{\"a\":1,\"c\":[2,null]}"),
            vec![strict([JSON_TEXT], Type::Json, |_, a, n, ty| stripped(a, n, ty, false))],
        ),
        function(
            &["jsonb_strip_nulls"],
            JSON,
            "The value without fields that are null.",
            ("jsonb_strip_nulls('{\"a\": 1, \"b\": null, \"c\": [2, null]}')", "{\"a\": 1, \"c\": [2, null]}"),
            vec![strict([JSONB], Type::Jsonb, |_, a, n, ty| stripped(a, n, ty, true))],
        ),
    ]
}

/// A strict kernel of a value, a path, and what to change at its end; `None` makes the row NULL.
fn changed<'a>(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    what: impl Fn(usize) -> Result<Option<Change<'a>>>,
) -> Result<Datum> {
    let (values, paths) = (text(args, 0)?, column::<ListArray>(args, 1)?);
    text_rows(args, rows, types, |row, out| {
        let Some(what) = what(row)? else { return Ok(false) };
        let path = path_at(&paths, row).ok_or_else(|| null_step(&paths, row))?;
        change(values.at(row), &path, what, out)?;
        Ok(true)
    })
}

fn null_step(paths: &super::super::rows::Column<'_, ListArray>, row: usize) -> Error {
    use arrow::array::Array;
    let at = paths.range(row).position(|i| paths.values().is_null(i)).unwrap_or(0);
    let message = format!("path element at position {} is null", at + 1);
    Error::new(ErrorKind::NullNotAllowed, message)
}

fn stripped(args: &[Datum], rows: usize, types: &Types<'_>, spaced: bool) -> Result<Datum> {
    let values = text(args, 0)?;
    text_rows(args, rows, types, |row, out| {
        strip_nulls(values.at(row), spaced, out);
        Ok(true)
    })
}

fn set_lax(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (values, paths, news) = (text(args, 0)?, column::<ListArray>(args, 1)?, text(args, 2)?);
    let create = if args.len() > 3 { Some(column::<BooleanArray>(args, 3)?) } else { None };
    let treatment = if args.len() > 4 { Some(text(args, 4)?) } else { None };
    text_rows_with_nulls(args, rows, types, |row, out| {
        if values.is_null(row) || paths.is_null(row) || create.is_some_and(|create| create.is_null(row)) {
            return Ok(false);
        }
        let create = create.is_none_or(|create| create.at(row));
        let chosen = match treatment {
            Some(treatment) if treatment.is_null(row) => return Err(no_treatment()),
            Some(treatment) => treatment.at(row),
            None => "use_json_null",
        };
        let what = match (news.is_null(row), chosen) {
            (false, _) => Change::Set { value: news.at(row), create },
            (true, "use_json_null") => Change::Set { value: "null", create },
            (true, "delete_key") => Change::Delete,
            (true, "return_target") => {
                out.push_str(values.at(row));
                return Ok(true);
            }
            (true, "raise_exception") => {
                let error = Error::new(ErrorKind::NullNotAllowed, "JSON value must not be null");
                let detail = "Exception was raised because null_value_treatment is \"raise_exception\".";
                let hint = "To avoid, either change the null_value_treatment argument or ensure that an SQL NULL is not passed.";
                return Err(error.with_detail(detail).with_hint(hint));
            }
            (true, _) => return Err(no_treatment()),
        };
        let path = path_at(&paths, row).ok_or_else(|| null_step(&paths, row))?;
        change(values.at(row), &path, what, out)?;
        Ok(true)
    })
}

fn no_treatment() -> Error {
    invalid_parameter(
        "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"",
    )
}
