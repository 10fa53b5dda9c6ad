//! The elements of arrays as rows: unnest, generate_subscripts, regexp_split_to_table and its kin.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringViewArray, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::Int32Type;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use crate::error::{Error, Result};
use crate::exec::context::{TableCall, TableFunction, TableOverload, TableRows};
use crate::functions::declare::{BOOL, INT4, TEXT};

use super::ready;

const FAMILY: &str = "set returning";

pub(super) fn functions() -> Vec<TableFunction> {
    vec![
        TableFunction {
            names: &["unnest", "arrayJoin"],
            family: FAMILY,
            doc: "The elements of an array.",
            example: ("unnest(ARRAY[1, 2])", "1, 2"),
            overloads: vec![TableOverload {
                params: vec![Param::AnyArray],
                optional: 0,
                variadic: false,
                returns: Returns::Element,
                open: unnest,
            }],
        },
        TableFunction {
            names: &["generate_subscripts"],
            family: FAMILY,
            doc: "The subscripts of an array, from the last one if the third argument is true.",
            example: ("generate_subscripts(ARRAY['a', 'b'], 1)", "1, 2"),
            overloads: vec![TableOverload {
                params: vec![Param::AnyArray, INT4, BOOL],
                optional: 1,
                variadic: false,
                returns: Returns::Exact(Type::Int4),
                open: subscripts,
            }],
        },
        TableFunction {
            names: &["_pg_expandarray"],
            family: FAMILY,
            doc: "The elements of an array as x, with their numbers as n.",
            example: ("", ""),
            overloads: vec![TableOverload {
                params: vec![Param::AnyArray],
                optional: 0,
                variadic: false,
                returns: Returns::Computed(|types| {
                    let element = match types.first() {
                        Some(Type::Array(element)) => (**element).clone(),
                        _ => Type::Text,
                    };
                    Type::Record(vec![("x".into(), element), ("n".into(), Type::Int4)])
                }),
                open: expand,
            }],
        },
        TableFunction {
            names: &["string_to_table"],
            family: FAMILY,
            doc: "The parts of a text between delimiters; those that equal the third argument are NULL.",
            example: ("string_to_table('a,b', ',')", "a, b"),
            overloads: vec![TableOverload {
                params: vec![TEXT, TEXT, TEXT],
                optional: 1,
                variadic: false,
                returns: Returns::Exact(Type::Text),
                open: split,
            }],
        },
        TableFunction {
            names: &["pg_get_keywords"],
            family: FAMILY,
            doc: "No rows: keywords are not listed.",
            example: ("", ""),
            overloads: vec![TableOverload {
                params: vec![],
                optional: 0,
                variadic: false,
                returns: Returns::Exact(Type::Record(vec![
                    ("word".into(), Type::Text),
                    ("catcode".into(), Type::Char),
                    ("barelabel".into(), Type::Bool),
                    ("catdesc".into(), Type::Text),
                    ("baredesc".into(), Type::Text),
                ])),
                open: |call| {
                    let arrays = call.columns.iter().map(|c| arrow::array::new_empty_array(&c.ty.to_arrow())).collect();
                    ready(call.columns, arrays, 0)
                },
            }],
        },
    ]
}

/// The elements of the array in the first argument; none for NULL.
fn elements(call: &TableCall<'_>) -> Result<ArrayRef> {
    let list = call.args[0].array.as_list_opt::<i32>().ok_or_else(|| Error::internal("the argument is no array"))?;
    Ok(match list.is_null(0) {
        true => list.values().slice(0, 0),
        false => list.value(0),
    })
}

fn unnest(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let elements = elements(call)?;
    // Elements may share buffers with a whole column: what is put out shall not.
    let all = UInt32Array::from_iter_values(0..elements.len() as u32);
    let taken = take(&elements, &all, None)?;
    // Records come as their fields.
    let columns = match taken.as_struct_opt() {
        Some(records) if call.columns.len() == records.num_columns() => records.columns().to_vec(),
        _ => vec![taken],
    };
    ready(call.columns, columns, elements.len())
}

fn expand(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let elements = elements(call)?;
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(1..=elements.len() as i32));
    ready(call.columns, vec![concat(&[&elements])?, numbers], elements.len())
}

fn subscripts(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let dimension = &call.args[1];
    let first = !dimension.is_null() && dimension.array.as_primitive::<Int32Type>().value(0) == 1;
    let count = if first { elements(call)?.len() as i32 } else { 0 };
    let backward = call.args.get(2).is_some_and(|v| !v.is_null() && v.array.as_boolean().value(0));
    let numbers = match backward {
        true => Int32Array::from_iter_values((1..=count).rev()),
        false => Int32Array::from_iter_values(1..=count),
    };
    ready(call.columns, vec![Arc::new(numbers)], count as usize)
}

fn split(call: &TableCall<'_>) -> Result<Box<dyn TableRows>> {
    let parts: Vec<String> = match (call.args[0].as_str(), call.args[1].as_str()) {
        (None, _) | (Some(""), _) => Vec::new(),
        (Some(text), None) => text.chars().map(String::from).collect(),
        (Some(text), Some("")) => vec![text.to_string()],
        (Some(text), Some(delimiter)) => text.split(delimiter).map(str::to_string).collect(),
    };
    let rows = parts.len();
    let null = call.args.get(2).and_then(|value| value.as_str());
    let parts = parts.into_iter().map(|part| (Some(part.as_str()) != null).then_some(part));
    ready(call.columns, vec![Arc::new(parts.collect::<StringViewArray>())], rows)
}
