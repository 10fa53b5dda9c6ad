//! Making json and jsonb: to_json, row_to_json, array_to_json, json_build_object, json_build_array, json_object, and their jsonb forms.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, ListArray, StringViewArray, StringViewBuilder};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::super::declare::{BOOL, JSON, function, strict, texts};
use super::super::rows::{Column, batch, column, invalid_parameter, is_valid, nulls_of, text_rows};
use super::super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::format::FormatSettings;
use crate::format::json::{normalize, write_string};
use crate::kernels::json::encode::JsonEncoder;

pub(super) fn functions() -> Vec<ScalarFunction> {
    let any = |ty: Type, kernel: Kernel| vec![Overload::new(vec![Param::Any], Returns::Exact(ty), kernel)];
    let list = |ty: Type, kernel: Kernel| {
        vec![Overload::new(vec![Param::Any], Returns::Exact(ty), kernel).optional(1).variadic().lax()]
    };
    vec![
        function(
            &["to_json"],
            JSON,
            "The value as json.",
            ("to_json('He said \"Hi.\"'::text)", "\"He said \\\"Hi.\\\"\""),
            any(Type::Json, to_json),
        ),
        function(
            &["to_jsonb"],
            JSON,
            "The value as jsonb.",
            ("to_jsonb(ARRAY[1, 2])", "[1, 2]"),
            any(Type::Jsonb, to_json),
        ),
        function(
            &["row_to_json"],
            JSON,
            "The row as a json object; with a line for each field, if the second argument is true.",
            ("row_to_json(ROW(1, 'foo'))", "{\"f1\":1,\"f2\":\"foo\"}"),
            vec![
                Overload::new(vec![Param::Any, BOOL], Returns::Exact(Type::Json), |ctx, a, n, ty| {
                    if !matches!(ty.args[0], Type::Record(_)) {
                        return Err(invalid_parameter("row_to_json takes a row"));
                    }
                    to_json_lines(ctx, a, n, ty)
                })
                .optional(1),
            ],
        ),
        function(
            &["array_to_json"],
            JSON,
            "The array as a json array; with a line for each element, if the second argument is true.",
            ("array_to_json(ARRAY[1, 5])", "[1,5]"),
            vec![Overload::new(vec![Param::AnyArray, BOOL], Returns::Exact(Type::Json), to_json_lines).optional(1)],
        ),
        function(
            &["json_build_array"],
            JSON,
            "The arguments as a json array.",
            ("json_build_array(1, 2, 'foo', 4)", "[1, 2, \"foo\", 4]"),
            list(Type::Json, build_array),
        ),
        function(
            &["jsonb_build_array"],
            JSON,
            "The arguments as a jsonb array.",
            ("jsonb_build_array(1, 2, 'foo', 4)", "[1, 2, \"foo\", 4]"),
            list(Type::Jsonb, build_array),
        ),
        function(
            &["json_build_object"],
            JSON,
            "The arguments, keys and values by turns, as a json object.",
            ("json_build_object('foo', 1, 2, true)", "{\"foo\" : 1, \"2\" : true}"),
            list(Type::Json, build_object),
        ),
        function(
            &["jsonb_build_object"],
            JSON,
            "The arguments, keys and values by turns, as a jsonb object.",
            ("jsonb_build_object('foo', 1, 2, true)", "{\"2\": true, \"foo\": 1}"),
            list(Type::Jsonb, build_object),
        ),
        function(
            &["json_object"],
            JSON,
            "An object of texts, from keys and values by turns or from two arrays.",
            ("json_object('{a,b}', '{1,2}')", "{\"a\" : \"1\", \"b\" : \"2\"}"),
            vec![strict([texts(), texts()], Type::Json, object_of_texts).optional(1)],
        ),
        function(
            &["jsonb_object"],
            JSON,
            "An object of texts, from keys and values by turns or from two arrays.",
            ("jsonb_object('{a,1,b,2}')", "{\"a\": \"1\", \"b\": \"2\"}"),
            vec![strict([texts(), texts()], Type::Jsonb, object_of_texts).optional(1)],
        ),
    ]
}

fn to_json(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let encoder = JsonEncoder::new(&types.args[0], args[0].array(), &FormatSettings::of(context));
    let mut bytes = Vec::new();
    text_rows(args, rows, types, |row, out| {
        if *types.result == Type::Jsonb {
            encoder.write_normal(row, out)?;
        } else {
            bytes.clear();
            encoder.write(row, &mut bytes);
            out.push_str(&String::from_utf8_lossy(&bytes));
        }
        Ok(true)
    })
}

fn to_json_lines(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let encoder = JsonEncoder::new(&types.args[0], args[0].array(), &FormatSettings::of(context));
    let lines = if args.len() > 1 { Some(column::<BooleanArray>(args, 1)?) } else { None };
    let constant = matches!(args[0], Datum::Scalar(_));
    let mut bytes = Vec::new();
    text_rows(args, rows, types, |row, out| {
        let separator: &[u8] = if lines.is_some_and(|lines| lines.at(row)) { b",\n " } else { b"," };
        bytes.clear();
        encoder.write_with(if constant { 0 } else { row }, separator, &mut bytes);
        out.push_str(&String::from_utf8_lossy(&bytes));
        Ok(true)
    })
}

/// The arguments' encoders, and whether each is a constant.
fn encoders(context: &Context, args: &[Datum], types: &Types<'_>) -> Vec<(JsonEncoder, bool)> {
    let settings = FormatSettings::of(context);
    let encoder =
        |(arg, ty): (&Datum, &Type)| (JsonEncoder::new(ty, arg.array(), &settings), matches!(arg, Datum::Scalar(_)));
    args.iter().zip(types.args).map(encoder).collect()
}

/// A kernel that writes json, which becomes jsonb if that is the result's type.
fn json_rows(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    mut body: impl FnMut(usize, &mut Vec<u8>) -> Result<()>,
) -> Result<Datum> {
    batch(args, rows, types, |rows| {
        let mut out = StringViewBuilder::with_capacity(rows);
        let mut bytes = Vec::new();
        for row in 0..rows {
            bytes.clear();
            body(row, &mut bytes)?;
            let text = String::from_utf8_lossy(&bytes);
            match types.result {
                Type::Jsonb => out.append_value(normalize(&text)?),
                _ => out.append_value(text),
            }
        }
        Ok(Arc::new(out.finish()))
    })
}

fn build_array(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let encoders = encoders(context, args, types);
    json_rows(args, rows, types, |row, out| {
        out.push(b'[');
        for (i, (encoder, constant)) in encoders.iter().enumerate() {
            if i > 0 {
                out.extend_from_slice(b", ");
            }
            encoder.write(if *constant { 0 } else { row }, out);
        }
        out.push(b']');
        Ok(())
    })
}

/// Refuses a type whose values cannot be keys.
pub(crate) fn check_key(ty: &Type) -> Result<()> {
    match ty {
        Type::Array(_) | Type::Record(_) | Type::Json | Type::Jsonb => {
            Err(invalid_parameter("key value must be scalar, not array, composite, or json"))
        }
        _ => Ok(()),
    }
}

/// Appends a value as a key: in quotes, whatever it is.
fn write_key(encoder: &JsonEncoder, row: usize, out: &mut Vec<u8>) {
    let from = out.len();
    encoder.write(row, out);
    if out.get(from) != Some(&b'"') {
        out.insert(from, b'"');
        out.push(b'"');
    }
}

fn build_object(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let jsonb = *types.result == Type::Jsonb;
    if !args.len().is_multiple_of(2) {
        let name = if jsonb { "jsonb_build_object" } else { "json_build_object" };
        let error = invalid_parameter("argument list must have even number of elements");
        return Err(error.with_hint(format!("The arguments of {name}() must consist of alternating keys and values.")));
    }
    for ty in types.args.iter().step_by(2) {
        check_key(ty)?;
    }
    let encoders = encoders(context, args, types);
    json_rows(args, rows, types, |row, out| {
        out.push(b'{');
        for (i, (encoder, constant)) in encoders.iter().enumerate() {
            let row = if *constant { 0 } else { row };
            if i % 2 == 1 {
                out.extend_from_slice(b" : ");
                encoder.write(row, out);
                continue;
            }
            if encoder.is_null(row) {
                return Err(match jsonb {
                    true => invalid_parameter(format!("argument {}: key must not be null", i + 1)),
                    false => invalid_parameter(format!("argument {} cannot be null", i + 1))
                        .with_hint("Object keys should be text."),
                });
            }
            if i > 0 {
                out.extend_from_slice(b", ");
            }
            write_key(encoder, row, out);
        }
        out.push(b'}');
        Ok(())
    })
}

/// The texts of a row of a list, NULLs too.
fn texts_at<'a>(lists: &Column<'a, ListArray>, row: usize) -> Vec<Option<&'a str>> {
    let Some(values) = lists.array.values().as_any().downcast_ref::<StringViewArray>() else { return Vec::new() };
    lists.range(row).map(|i| (!values.is_null(i)).then(|| values.value(i))).collect()
}

fn object_of_texts(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let keys = column::<ListArray>(args, 0)?;
    let values = if args.len() > 1 { Some(column::<ListArray>(args, 1)?) } else { None };
    let count = if args.iter().all(|arg| matches!(arg, Datum::Scalar(_))) { 1 } else { rows };
    let nulls = nulls_of(args, count);
    json_rows(args, rows, types, |row, out| {
        out.push(b'{');
        if is_valid(&nulls, row) {
            let first = texts_at(&keys, row);
            let pairs: Vec<(Option<&str>, Option<&str>)> = match &values {
                Some(values) => {
                    let second = texts_at(values, row);
                    if first.len() != second.len() {
                        return Err(Error::new(ErrorKind::ArraySubscript, "mismatched array dimensions"));
                    }
                    first.into_iter().zip(second).collect()
                }
                None if !first.len().is_multiple_of(2) => {
                    return Err(Error::new(ErrorKind::ArraySubscript, "array must have even number of elements"));
                }
                None => first.chunks(2).map(|pair| (pair[0], pair[1])).collect(),
            };
            for (i, (key, value)) in pairs.into_iter().enumerate() {
                let key =
                    key.ok_or_else(|| Error::new(ErrorKind::NullNotAllowed, "null value not allowed for object key"))?;
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                write_string(key, out);
                out.extend_from_slice(b" : ");
                match value {
                    Some(value) => write_string(value, out),
                    None => out.extend_from_slice(b"null"),
                }
            }
        }
        out.push(b'}');
        Ok(())
    })
}
