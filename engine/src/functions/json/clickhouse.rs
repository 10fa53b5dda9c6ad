//! ClickHouse's functions that take values out of JSON: JSONExtract… over a path, JSON_VALUE.
//!
//! They read text as well as json and jsonb. What is not there, or not of the wanted type, is zero, the empty text or false, never an
//! error; steps of a path are names of fields and numbers of elements, from 1, or from the end with -1 the last.
//!
//! Paths of names, the usual case, are followed by sonic-rs, which skips over what it does not need many bytes at a time and checks what it
//! passes; the scanner of [`crate::kernels::json`] does the rest.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, StringViewArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast as arrow_cast, filter, is_not_null, nullif};
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::super::declare::{JSON, JSON_TEXT, JSONB, TEXT, function, strict, strict_as, text_array};
use super::super::rows::{
    Column, batch, bool_rows, invalid_parameter, is_valid, nulls_of, primitive_rows, text, text_rows,
};
use super::super::text_list::list_rows;
use super::super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use super::values;
use crate::error::{Error, Result};
use crate::kernels::json::{Elements, Fields, Kind, element, field, kind, string, trimmed};

/// The overloads over every form of JSON, with a path of any length.
fn over_paths(returns: Type, kernel: Kernel) -> Vec<Overload> {
    over_paths_as(Returns::Exact(returns), kernel)
}

fn over_paths_as(returns: Returns, kernel: Kernel) -> Vec<Overload> {
    let one = |json: Param| strict_as([json, Param::Any], returns.clone(), kernel).optional(1).variadic();
    vec![one(TEXT), one(JSONB), one(JSON_TEXT)]
}

/// An array of key and value.
fn pairs_of(value: Type) -> Type {
    Type::Array(Box::new(Type::Record(vec![("key".into(), Type::Text), ("value".into(), value)])))
}

pub(super) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["JSONExtractString"],
            JSON,
            "The string at the end of a path; anything else as it is written.",
            ("JSONExtractString('{\"a\": {\"b\": \"x\"}}', 'a', 'b')", "x"),
            over_paths(Type::Text, |_, a, n, ty| {
                let (texts, path) = source(a, ty)?;
                text_rows(a, n, ty, |row, out| {
                    out.push_str(&path.find(row, texts.at(row)).and_then(values::text).unwrap_or(Cow::Borrowed("")));
                    Ok(true)
                })
            }),
        ),
        function(
            &["JSONExtractRaw"],
            JSON,
            "The value at the end of a path as it is written.",
            ("JSONExtractRaw('{\"a\": [1, 2]}', 'a')", "[1, 2]"),
            over_paths(Type::Text, |_, a, n, ty| {
                let (texts, path) = source(a, ty)?;
                text_rows(a, n, ty, |row, out| {
                    out.push_str(path.find(row, texts.at(row)).map_or("", trimmed));
                    Ok(true)
                })
            }),
        ),
        function(
            &["JSONExtractInt"],
            JSON,
            "The integer at the end of a path.",
            ("JSONExtractInt('{\"a\": [1, -2]}', 'a', 2)", "-2"),
            over_paths(Type::Int8, |_, a, n, ty| {
                let (texts, path) = source(a, ty)?;
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    let found = path.find(row, texts.at(row)).and_then(values::integer);
                    Ok(Some(found.and_then(|v| i64::try_from(v).ok()).unwrap_or(0)))
                })
            }),
        ),
        function(
            &["JSONExtractUInt"],
            JSON,
            "The integer at the end of a path, not negative.",
            ("JSONExtractUInt('{\"a\": 300}', 'a')", "300"),
            over_paths(Type::UInt64, |_, a, n, ty| {
                let (texts, path) = source(a, ty)?;
                primitive_rows::<UInt64Type>(a, n, ty, |row| {
                    let found = path.find(row, texts.at(row)).and_then(values::integer);
                    Ok(Some(found.and_then(|v| u64::try_from(v).ok()).unwrap_or(0)))
                })
            }),
        ),
        function(
            &["JSONExtractFloat"],
            JSON,
            "The number at the end of a path.",
            ("JSONExtractFloat('{\"a\": 2.5}', 'a')", "2.5"),
            over_paths(Type::Float8, |_, a, n, ty| {
                let (texts, path) = source(a, ty)?;
                primitive_rows::<Float64Type>(a, n, ty, |row| {
                    Ok(Some(path.find(row, texts.at(row)).and_then(values::float).unwrap_or(0.0)))
                })
            }),
        ),
        function(
            &["JSONExtractBool"],
            JSON,
            "The boolean at the end of a path.",
            ("JSONExtractBool('{\"a\": true}', 'a')", "t"),
            over_paths(Type::Bool, |_, a, n, ty| {
                let (texts, path) = source(a, ty)?;
                bool_rows(a, n, ty, |row| {
                    Ok(Some(path.find(row, texts.at(row)).and_then(values::boolean).unwrap_or(false)))
                })
            }),
        ),
        function(
            &["JSONExtract"],
            JSON,
            "The value at the end of a path, as the type that the last argument names.",
            ("JSONExtract('{\"a\": [1, 2, 3]}', 'a', 'Array(Int32)')", "{1,2,3}"),
            over_paths_as(Returns::Computed(|types| types.last().cloned().unwrap_or(Type::Text)), extract)
                .into_iter()
                .map(Overload::lax)
                .collect(),
        ),
        function(
            &["JSONExtractArrayRaw"],
            JSON,
            "The elements of the array at the end of a path, each as it is written.",
            ("JSONExtractArrayRaw('{\"a\": [1, \"x\"]}', 'a')", "{1,\"\\\"x\\\"\"}"),
            over_paths(text_array(), |_, a, n, ty| {
                let (texts, path) = source(a, ty)?;
                list_rows(a, n, ty, |row, list| {
                    Elements::of(path.find(row, texts.at(row)).unwrap_or("")).for_each(|element| list.push(element));
                    Ok(true)
                })
            }),
        ),
        function(
            &["JSONExtractKeys"],
            JSON,
            "The keys of the object at the end of a path.",
            ("JSONExtractKeys('{\"a\": 1, \"b\": 2}')", "{a,b}"),
            over_paths(text_array(), |_, a, n, ty| {
                let (texts, path) = source(a, ty)?;
                list_rows(a, n, ty, |row, list| {
                    for (key, _) in Fields::of(path.find(row, texts.at(row)).unwrap_or("")) {
                        list.push(&string(key).unwrap_or_default());
                    }
                    Ok(true)
                })
            }),
        ),
        function(
            &["JSONExtractKeysAndValuesRaw"],
            JSON,
            "The keys and values of the object at the end of a path, the values as they are written.",
            ("JSONExtractKeysAndValuesRaw('{\"a\": 1}')", "{\"(a,1)\"}"),
            over_paths(pairs_of(Type::Text), |ctx, a, n, ty| pairs(ctx, a, n, ty, true, a.len())),
        ),
        function(
            &["JSONExtractKeysAndValues"],
            JSON,
            "The keys and values of the object at the end of a path, the values as the type that the last argument names.",
            ("JSONExtractKeysAndValues('{\"a\": 1, \"b\": 2}', 'Int32')", "{\"(a,1)\",\"(b,2)\"}"),
            over_paths_as(
                Returns::Computed(|types| pairs_of(types.last().cloned().unwrap_or(Type::Text))),
                |ctx, a, n, ty| pairs(ctx, a, n, ty, false, a.len().saturating_sub(2)),
            )
            .into_iter()
            .map(Overload::lax)
            .collect(),
        ),
        function(
            &["JSONHas"],
            JSON,
            "Whether there is a value at the end of a path.",
            ("JSONHas('{\"a\": null}', 'a')", "t"),
            over_paths(Type::Bool, |_, a, n, ty| {
                let (texts, path) = source(a, ty)?;
                bool_rows(a, n, ty, |row| Ok(Some(path.find(row, texts.at(row)).is_some())))
            }),
        ),
        function(
            &["JSONLength"],
            JSON,
            "How many elements or fields the array or object at the end of a path has.",
            ("JSONLength('{\"a\": [1, 2]}', 'a')", "2"),
            over_paths(Type::Int8, |_, a, n, ty| {
                let (texts, path) = source(a, ty)?;
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    let found = path.find(row, texts.at(row)).unwrap_or("");
                    Ok(Some((Elements::of(found).count() + Fields::of(found).count()) as i64))
                })
            }),
        ),
        function(
            &["JSONType"],
            JSON,
            "What the value at the end of a path is: Object, Array, String, Int64, UInt64, Double, Bool or Null.",
            ("JSONType('{\"a\": 2.5}', 'a')", "Double"),
            over_paths(Type::Text, |_, a, n, ty| {
                let (texts, path) = source(a, ty)?;
                text_rows(a, n, ty, |row, out| {
                    out.push_str(path.find(row, texts.at(row)).map_or("Null", type_name));
                    Ok(true)
                })
            }),
        ),
        function(
            &["isValidJSON"],
            JSON,
            "Whether the text is JSON.",
            ("isValidJSON('{\"a\": 1')", "f"),
            vec![strict([TEXT], Type::Bool, |_, a, n, ty| {
                let texts = text(a, 0)?;
                bool_rows(a, n, ty, |row| Ok(Some(crate::format::json::check(texts.at(row)).is_ok())))
            })],
        ),
        function(
            &["JSON_VALUE"],
            JSON,
            "The scalar at the end of a path such as $.a.b[0]; the empty text where there is none.",
            ("JSON_VALUE('{\"a\": [{\"b\": \"x\"}]}', '$.a[0].b')", "x"),
            vec![strict([TEXT, TEXT], Type::Text, |_, a, n, ty| {
                dollar_rows(a, n, ty, |found, out| {
                    if kind(found).is_scalar() {
                        out.push_str(&values::text(found).unwrap_or(Cow::Borrowed("")));
                    }
                })
            })],
        ),
        function(
            &["JSON_QUERY"],
            JSON,
            "The array or object at the end of a path such as $.a.b[0], in brackets.",
            ("JSON_QUERY('{\"a\": {\"b\": 1}}', '$.a')", "[{\"b\": 1}]"),
            vec![strict([TEXT, TEXT], Type::Text, |_, a, n, ty| {
                dollar_rows(a, n, ty, |found, out| {
                    if !kind(found).is_scalar() {
                        out.extend(["[", found, "]"]);
                    }
                })
            })],
        ),
        function(
            &["JSON_EXISTS"],
            JSON,
            "Whether there is a value at the end of a path such as $.a.b[0].",
            ("JSON_EXISTS('{\"a\": 1}', '$.b')", "f"),
            vec![strict([TEXT, TEXT], Type::Bool, |_, a, n, ty| {
                let (texts, paths) = (text(a, 0)?, text(a, 1)?);
                bool_rows(a, n, ty, |row| {
                    let steps = dollar_path(paths.at(row))?;
                    Ok(Some(follow(texts.at(row), steps.into_iter()).is_some()))
                })
            })],
        ),
    ]
}

/// One step of a path.
#[derive(Debug, Clone)]
enum Step<'a> {
    Key(Cow<'a, str>),
    /// From 1, or from the end with -1 the last.
    Place(i64),
}

fn follow<'t, 'a>(text: &'t str, mut steps: impl Iterator<Item = Step<'a>>) -> Option<&'t str> {
    let text = trimmed(text);
    steps
        .try_fold(text, |value, step| match (kind(value), step) {
            (Kind::Object, Step::Key(key)) => field(value, &key, false),
            (Kind::Array, Step::Place(place)) => element(value, if place > 0 { place - 1 } else { place.min(-1) }),
            (Kind::Object, Step::Place(place)) => {
                let count = Fields::of(value).count() as i64;
                let at = if place > 0 { place - 1 } else { place + count };
                Fields::of(value).nth(usize::try_from(at).ok()?).map(|(_, value)| value)
            }
            _ => None,
        })
        .filter(|found| !found.is_empty())
}

/// The path arguments of a call.
struct Path<'a> {
    steps: Vec<StepColumn<'a>>,
    /// The path, if it is the same for every row and has names only.
    names: Option<Vec<&'a str>>,
    /// Whether the text may be anything.
    unchecked: bool,
}

enum StepColumn<'a> {
    Key(Column<'a, StringViewArray>),
    Place(Int64Array, bool),
}

impl<'a> Path<'a> {
    fn of(args: &'a [Datum], types: &Types<'_>, steps: std::ops::Range<usize>) -> Result<Path<'a>> {
        let mut columns = Vec::new();
        for i in steps {
            columns.push(match &types.args[i] {
                ty if ty.is_text() => StepColumn::Key(text(args, i)?),
                ty if ty.is_integer() => {
                    let places = arrow_cast(args[i].array(), &DataType::Int64)?;
                    let constant = matches!(args[i], Datum::Scalar(_));
                    StepColumn::Place(places.as_primitive::<Int64Type>().clone(), constant)
                }
                ty => return Err(invalid_parameter(format!("a step of a path is text or an integer, not {ty}"))),
            });
        }
        let names = columns.iter().map(|step| match step {
            StepColumn::Key(keys) => keys.constant(),
            StepColumn::Place(..) => None,
        });
        let names = names.collect::<Option<Vec<&str>>>().filter(|names| !names.is_empty());
        Ok(Path { names, steps: columns, unchecked: types.args[0].is_text() })
    }

    /// What is at the end of the path in a text.
    fn find<'t>(&self, row: usize, text: &'t str) -> Option<&'t str> {
        if let Some(names) = &self.names
            && self.unchecked
        {
            return sonic_rs::get(text, names).ok().and_then(|found| match found.as_raw_cow() {
                Cow::Borrowed(part) => Some(part),
                Cow::Owned(_) => None,
            });
        }
        let steps = self.steps.iter().map(|step| match step {
            StepColumn::Key(keys) => Step::Key(Cow::Borrowed(keys.at(row))),
            StepColumn::Place(places, constant) => Step::Place(places.value(if *constant { 0 } else { row })),
        });
        follow(text, steps)
    }
}

fn source<'a>(args: &'a [Datum], types: &Types<'_>) -> Result<(Column<'a, StringViewArray>, Path<'a>)> {
    Ok((text(args, 0)?, Path::of(args, types, 1..args.len())?))
}

fn type_name(value: &str) -> &'static str {
    match kind(value) {
        Kind::Object => "Object",
        Kind::Array => "Array",
        Kind::String => "String",
        Kind::Boolean => "Bool",
        Kind::Null => "Null",
        Kind::Number => match trimmed(value).parse::<i128>() {
            Ok(v) if i64::try_from(v).is_ok() => "Int64",
            Ok(v) if u64::try_from(v).is_ok() => "UInt64",
            _ => "Double",
        },
    }
}

/// The argument that says whether what is missing is NULL: the last but one of those that the binder makes of a type's name.
fn is_nullable(args: &[Datum]) -> bool {
    let flag = args.len().checked_sub(2).and_then(|i| args[i].array().as_boolean_opt());
    flag.is_some_and(|flag| !flag.is_empty() && flag.value(0))
}

/// JSONExtract(json, path…, whether NULL may be, NULL of the type).
fn extract(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    if args.len() < 3 {
        return Err(Error::internal("JSONExtract without a type"));
    }
    let data = &args[..args.len() - 2];
    let (texts, path) = (text(args, 0)?, Path::of(args, types, 1..data.len())?);
    let nullable = is_nullable(args);
    batch(data, rows, types, |rows| {
        let nulls = nulls_of(data, rows);
        let found: Vec<Option<&str>> =
            (0..rows).map(|row| if is_valid(&nulls, row) { path.find(row, texts.at(row)) } else { None }).collect();
        let column = values::column(context, &found, types.result, nullable)?;
        // A row without JSON has no value, whatever the type.
        match nulls {
            Some(nulls) => Ok(nullif(&column, &BooleanArray::new(!nulls.inner(), None))?),
            None => Ok(column),
        }
    })
}

/// Lists of (key, value): values as written, or as the type of the last argument.
fn pairs(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>, raw: bool, steps: usize) -> Result<Datum> {
    let Type::Array(element) = types.result else { return Err(Error::internal("pairs come in an array")) };
    let Type::Record(fields) = &**element else { return Err(Error::internal("a pair is a record")) };
    let data = &args[..steps.max(1)];
    let (texts, path) = (text(args, 0)?, Path::of(args, types, 1..steps.max(1))?);
    let nullable = !raw && is_nullable(args);
    batch(data, rows, types, |rows| {
        let nulls = nulls_of(data, rows);
        let (mut keys, mut found, mut lengths) = (Vec::new(), Vec::new(), Vec::with_capacity(rows));
        for row in 0..rows {
            let before = keys.len();
            let object = if is_valid(&nulls, row) { path.find(row, texts.at(row)) } else { None };
            for (key, value) in Fields::of(object.unwrap_or("")) {
                keys.push(string(key).unwrap_or_default());
                found.push(Some(value));
            }
            lengths.push(keys.len() - before);
        }
        let mut keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(keys));
        let mut values: ArrayRef = match raw {
            true => Arc::new(found.into_iter().collect::<StringViewArray>()),
            false => values::column(context, &found, &fields[1].1, true)?,
        };
        // Values of another type are left out, with their keys.
        if !raw && !nullable && values.null_count() > 0 {
            let kept = is_not_null(&values)?;
            let mut at = 0;
            for length in &mut lengths {
                let all = *length;
                *length = kept.slice(at, all).true_count();
                at += all;
            }
            (keys, values) = (filter(&keys, &kept)?, filter(&values, &kept)?);
        }
        let DataType::Struct(form) = element.to_arrow() else { return Err(Error::internal("a record is a struct")) };
        let records = StructArray::try_new(form, vec![keys, values], None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        let nulls: Option<NullBuffer> = nulls;
        Ok(Arc::new(ListArray::try_new(element.element_field(), offsets, Arc::new(records), nulls)?))
    })
}

/// `$.a."b c"[0]` as steps. Errors: 22023 for anything else.
fn dollar_path(path: &str) -> Result<Vec<Step<'_>>> {
    let wrong = || invalid_parameter(format!("\"{path}\" is not a path such as $.a.b[0]"));
    let mut rest = path.trim().strip_prefix('$').ok_or_else(wrong)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let (name, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or_else(wrong)?,
                None => after.split_at(after.find(['.', '[']).unwrap_or(after.len())),
            };
            if name.is_empty() {
                return Err(wrong());
            }
            steps.push(Step::Key(Cow::Borrowed(name)));
            rest = after;
            continue;
        }
        let (inner, after) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or_else(wrong)?;
        let inner = inner.trim();
        let name = inner.strip_prefix(['"', '\'']).and_then(|inner| inner.strip_suffix(['"', '\'']));
        steps.push(match (name, inner.parse::<i64>()) {
            (Some(name), _) => Step::Key(Cow::Borrowed(name)),
            (None, Ok(index @ 0..)) => Step::Place(index + 1),
            _ => return Err(wrong()),
        });
        rest = after;
    }
    Ok(steps)
}

fn dollar_rows(args: &[Datum], rows: usize, types: &Types<'_>, write: impl Fn(&str, &mut String)) -> Result<Datum> {
    let (texts, paths) = (text(args, 0)?, text(args, 1)?);
    let constant = paths.constant().map(dollar_path).transpose()?;
    text_rows(args, rows, types, |row, out| {
        let steps = match &constant {
            Some(steps) => steps.clone(),
            None => dollar_path(paths.at(row))?,
        };
        if let Some(found) = follow(texts.at(row), steps.into_iter()) {
            write(trimmed(found), out);
        }
        Ok(true)
    })
}
