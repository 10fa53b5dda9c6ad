//! The elements and fields of json as rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewArray};
use serde_json::Value as Json;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use crate::error::{Error, ErrorKind, Result};
use crate::exec::context::{TableCall, TableFunction, TableOverload, TableRows};
use crate::format::json::normalize;
use crate::functions::declare::{JSON_TEXT, JSONB};

use super::ready;

pub(super) fn functions() -> Vec<TableFunction> {
    let one = |names: &'static [&'static str], doc, param: Param, returns: Type, open| TableFunction {
        names,
        family: "json",
        doc,
        example: ("", ""),
        overloads: vec![TableOverload {
            params: vec![param],
            optional: 0,
            variadic: false,
            returns: Returns::Exact(returns),
            open,
        }],
    };
    let pair = |value: Type| Type::Record(vec![("key".into(), Type::Text), ("value".into(), value)]);
    vec![
        one(&["json_array_elements"], "The elements of a json array.", JSON_TEXT, Type::Json, elements),
        one(&["jsonb_array_elements"], "The elements of a jsonb array.", JSONB, Type::Jsonb, elements),
        one(&["json_array_elements_text"], "The elements of a json array as text.", JSON_TEXT, Type::Text, elements),
        one(&["jsonb_array_elements_text"], "The elements of a jsonb array as text.", JSONB, Type::Text, elements),
        one(&["json_object_keys"], "The keys of a json object.", JSON_TEXT, Type::Text, keys),
        one(&["jsonb_object_keys"], "The keys of a jsonb object.", JSONB, Type::Text, keys),
        one(&["json_each"], "The fields of a json object.", JSON_TEXT, pair(Type::Json), fields),
        one(&["jsonb_each"], "The fields of a jsonb object.", JSONB, pair(Type::Jsonb), fields),
        one(&["json_each_text"], "The fields of a json object as text.", JSON_TEXT, pair(Type::Text), fields),
        one(&["jsonb_each_text"], "The fields of a jsonb object as text.", JSONB, pair(Type::Text), fields),
    ]
}

fn parsed(call: &TableCall<'_>) -> Result<Option<Json>> {
    let Some(text) = call.args[0].as_str() else { return Ok(None) };
    let invalid = |_| Error::new(ErrorKind::InvalidText, "invalid input syntax for type json");
    serde_json::from_str(text).map(Some).map_err(invalid)
}

/// A json value as the type of a column: text without quotes (NULL for null), jsonb in its normal form.
fn shown(value: &Json, ty: &Type) -> Result<Option<String>> {
    Ok(match (ty, value) {
        (Type::Text, Json::Null) => None,
        (Type::Text, Json::String(text)) => Some(text.clone()),
        (Type::Jsonb, value) => Some(normalize(&value.to_string())?),
        (_, value) => Some(value.to_string()),
    })
}

fn column(values: Vec<Option<String>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringViewArray>())
}

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::InvalidParameter, message)
}

fn elements(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let items = match parsed(call)? {
        None => Vec::new(),
        Some(Json::Array(items)) => items,
        Some(Json::Object(_)) => return Err(wrong("cannot extract elements from an object")),
        Some(_) => return Err(wrong("cannot extract elements from a scalar")),
    };
    let values: Vec<_> = items.iter().map(|item| shown(item, &call.columns[0].ty)).collect::<Result<_>>()?;
    let rows = values.len();
    ready(call.columns, vec![column(values)], rows)
}

fn object(call: &TableCall<'_>) -> Result<Vec<(String, Json)>> {
    match parsed(call)? {
        None => Ok(Vec::new()),
        Some(Json::Object(fields)) => Ok(fields.into_iter().collect()),
        Some(Json::Array(_)) => Err(wrong("cannot deconstruct an array as an object")),
        Some(_) => Err(wrong("cannot deconstruct a scalar")),
    }
}

fn keys(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let keys: Vec<_> = object(call)?.into_iter().map(|(key, _)| Some(key)).collect();
    let rows = keys.len();
    ready(call.columns, vec![column(keys)], rows)
}

fn fields(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let fields = object(call)?;
    let values = fields.iter().map(|(_, value)| shown(value, &call.columns[1].ty)).collect::<Result<_>>()?;
    let keys = fields.iter().map(|(key, _)| Some(key.clone())).collect();
    ready(call.columns, vec![column(keys), column(values)], fields.len())
}
