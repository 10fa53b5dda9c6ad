//! The elements and fields of json as rows.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringViewArray};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::{TableCall, TableFunction, TableOverload, TableRows};
use crate::functions::declare::{BOOL, JSON_TEXT, JSONB, TEXT};
use crate::functions::json::path::query;
use crate::kernels::json::path::Zone;
use crate::kernels::json::{Elements, Fields, Kind, as_text, kind, string};

use super::ready;

pub(super) fn functions() -> Vec<TableFunction> {
    let one = |names: &'static [&'static str], doc, example, param: Param, returns: Type, open| TableFunction {
        names,
        family: "json",
        doc,
        example,
        overloads: vec![TableOverload {
            params: vec![param],
            optional: 0,
            variadic: false,
            returns: Returns::Exact(returns),
            open,
        }],
    };
    let pair = |value: Type| Type::Record(vec![("key".into(), Type::Text), ("value".into(), value)]);
    let (json, jsonb) = (JSON_TEXT, JSONB);
    let path_query = |names, doc, example, open| TableFunction {
        names,
        family: "json",
        doc,
        example,
        overloads: vec![TableOverload {
            params: vec![JSONB, TEXT, JSONB, BOOL],
            optional: 2,
            variadic: false,
            returns: Returns::Exact(Type::Jsonb),
            open,
        }],
    };
    vec![
        path_query(
            &["jsonb_path_query"],
            "All that a SQL/JSON path finds in a value. A third argument has the path's variables; a fourth, if true, keeps errors silent.",
            ("jsonb_path_query('{\"a\": [1, 2, 3]}', '$.a[*] ? (@ > 1)')", "2, 3"),
            |call| found(call, None),
        ),
        path_query(
            &["jsonb_path_query_tz"],
            "As jsonb_path_query, where what has no time zone is in the session's.",
            ("", ""),
            |call| found(call, Some(Zone { zone: &call.context.functions.time_zone, now: call.context.functions.now })),
        ),
        one(
            &["json_array_elements"],
            "The elements of a json array.",
            ("json_array_elements('[1, [2, \"x\"]]')", "1, [2, \"x\"]"),
            json.clone(),
            Type::Json,
            elements,
        ),
        one(
            &["jsonb_array_elements"],
            "The elements of a jsonb array.",
            ("jsonb_array_elements('[1,[2,\"x\"]]')", "1, [2, \"x\"]"),
            jsonb.clone(),
            Type::Jsonb,
            elements,
        ),
        one(
            &["json_array_elements_text"],
            "The elements of a json array as text.",
            ("json_array_elements_text('[\"foo\", \"bar\"]')", "foo, bar"),
            json.clone(),
            Type::Text,
            elements,
        ),
        one(
            &["jsonb_array_elements_text"],
            "The elements of a jsonb array as text.",
            ("jsonb_array_elements_text('[\"foo\", \"bar\"]')", "foo, bar"),
            jsonb.clone(),
            Type::Text,
            elements,
        ),
        one(
            &["json_object_keys"],
            "The keys of a json object.",
            ("json_object_keys('{\"f1\": \"abc\", \"f2\": 1}')", "f1, f2"),
            json.clone(),
            Type::Text,
            keys,
        ),
        one(
            &["jsonb_object_keys"],
            "The keys of a jsonb object.",
            ("jsonb_object_keys('{\"f1\": \"abc\", \"f2\": 1}')", "f1, f2"),
            jsonb.clone(),
            Type::Text,
            keys,
        ),
        one(&["json_each"], "The fields of a json object.", ("", ""), json.clone(), pair(Type::Json), fields),
        one(&["jsonb_each"], "The fields of a jsonb object.", ("", ""), jsonb.clone(), pair(Type::Jsonb), fields),
        one(&["json_each_text"], "The fields of a json object as text.", ("", ""), json, pair(Type::Text), fields),
        one(&["jsonb_each_text"], "The fields of a jsonb object as text.", ("", ""), jsonb, pair(Type::Text), fields),
    ]
}

fn found(call: &TableCall<'_>, zone: Option<Zone<'_>>) -> Result<Box<dyn TableRows>> {
    let text = |at: usize| call.args.get(at).and_then(|arg| arg.as_str());
    let silent = call.args.get(3).is_some_and(|arg| !arg.is_null() && arg.array.as_boolean().value(0));
    let no_null = call.args.iter().all(|arg| !arg.is_null());
    let found = match (text(0), text(1)) {
        (Some(target), Some(path)) if no_null => query(target, path, text(2).unwrap_or("{}"), silent, zone)?,
        _ => Vec::new(),
    };
    let rows = found.len();
    ready(call.columns, vec![Arc::new(StringViewArray::from_iter_values(found))], rows)
}

/// A json value as the type of a column: text without quotes (NULL for null), json as it is written.
fn shown<'a>(value: &'a str, ty: &Type) -> Result<Option<Cow<'a, str>>> {
    match ty {
        Type::Text => as_text(value),
        _ => Ok(Some(Cow::Borrowed(value))),
    }
}

fn column<'a>(values: impl Iterator<Item = Result<Option<Cow<'a, str>>>>) -> Result<ArrayRef> {
    Ok(Arc::new(values.collect::<Result<StringViewArray>>()?))
}

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::InvalidParameter, message)
}

fn elements(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let text = call.args[0].as_str().unwrap_or("[]");
    let name = if call.columns[0].ty == Type::Text { "json_array_elements_text" } else { "json_array_elements" };
    match (kind(text), &call.args[0].ty) {
        (Kind::Array, _) => {}
        (Kind::Object, Type::Json) => return Err(wrong(&format!("cannot call {name} on a non-array"))),
        (_, Type::Json) => return Err(wrong(&format!("cannot call {name} on a scalar"))),
        (Kind::Object, _) => return Err(wrong("cannot extract elements from an object")),
        _ => return Err(wrong("cannot extract elements from a scalar")),
    }
    let values = column(Elements::of(text).map(|value| shown(value, &call.columns[0].ty)))?;
    let rows = values.len();
    ready(call.columns, vec![values], rows)
}

/// The text of the object in the argument; of one without fields for NULL. `name` is the function's without its prefix, for messages.
fn object<'a>(call: &'a TableCall<'_>, name: &str) -> Result<&'a str> {
    let text = call.args[0].as_str().unwrap_or("{}");
    let what = match kind(text) {
        Kind::Object => return Ok(text),
        Kind::Array => "an array",
        _ => "a scalar",
    };
    let json = call.args[0].ty == Type::Json;
    Err(wrong(&match (name, json, what) {
        ("object_keys", true, what) => format!("cannot call json_object_keys on {what}"),
        ("object_keys", false, what) => format!("cannot call jsonb_object_keys on {what}"),
        (_, true, "an array") => "cannot deconstruct an array as an object".into(),
        (_, true, _) => "cannot deconstruct a scalar".into(),
        _ => format!("cannot call jsonb_{name} on a non-object"),
    }))
}

fn keys(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let text = object(call, "object_keys")?;
    let values = column(Fields::of(text).map(|(key, _)| string(key).map(Some)))?;
    let rows = values.len();
    ready(call.columns, vec![values], rows)
}

fn fields(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let ty = &call.columns[1].ty;
    let text = object(call, if *ty == Type::Text { "each_text" } else { "each" })?;
    let keys = column(Fields::of(text).map(|(key, _)| string(key).map(Some)))?;
    let values = column(Fields::of(text).map(|(_, value)| shown(value, ty)))?;
    let rows = keys.len();
    ready(call.columns, vec![keys, values], rows)
}
