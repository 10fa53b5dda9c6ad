//! string_agg, json_agg, json_object_agg and their jsonb forms.
//!
//! They depend on the order of rows, so that their state is that of [`super::collect`]; what is here sees rows sorted by group.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, StringViewArray};
use weir_sql::Type;
use weir_sql::catalog::{Functions, Param, Returns};

use super::states::{each_row, flatten};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, Order, function};
use crate::error::{Error, ErrorKind, Result};
use crate::functions::json::check_key;
use crate::functions::{Context, Datum, Implementation, Kernel, Types, registry};
use crate::kernels::cast::cast_array;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let state = |args: &[Type], _: &Type| args.iter().map(|ty| Type::Array(Box::new(ty.clone()))).collect();
    let overload = |params: Vec<Param>, returns: Type, create| {
        vec![AggregateOverload::new(params, Returns::Exact(returns), state, create).order(Order::Rows)]
    };
    let exact = |ty: Type| Param::Exact(ty);
    let mut joined = overload(vec![exact(Type::Text), exact(Type::Text)], Type::Text, join);
    joined.extend(overload(vec![exact(Type::Bytea), exact(Type::Bytea)], Type::Bytea, join));
    vec![
        function(
            &["string_agg"],
            "The values that are not NULL one after the other, with the second argument between them.",
            ("string_agg(x::text, ',')", "1,2,3"),
            joined,
        ),
        function(
            &["groupConcat"],
            "The values that are not NULL as text, one after the other; with a text between them, and no more than so many: groupConcat(', ', 10)(x).",
            ("groupConcat('-', 2)(x)", "1-2"),
            vec![
                AggregateOverload::new(vec![Param::Any], Returns::Exact(Type::Text), state, group_concat)
                    .order(Order::Rows),
            ],
        ),
        function(
            &["json_agg"],
            "The values, NULLs too, as a JSON array.",
            ("json_agg(x)", "[1, 2, 3, null]"),
            overload(vec![Param::Any], Type::Json, |call| json(call, false)),
        ),
        function(
            &["jsonb_agg"],
            "The values, NULLs too, as a JSON array.",
            ("jsonb_agg(x)", "[1, 2, 3, null]"),
            overload(vec![Param::Any], Type::Jsonb, |call| json(call, false)),
        ),
        function(
            &["json_object_agg"],
            "Keys and values as a JSON object.",
            ("", ""),
            overload(vec![Param::Any, Param::Any], Type::Json, |call| json(call, true)),
        ),
        function(
            &["jsonb_object_agg"],
            "Keys and values as a JSON object.",
            ("", ""),
            overload(vec![Param::Any, Param::Any], Type::Jsonb, |call| json(call, true)),
        ),
    ]
}

fn join(call: &Call<'_>) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Join { binary: call.args[0] == Type::Bytea, texts: Vec::new(), bytes: 0 }))
}

struct Join {
    binary: bool,
    texts: Vec<Option<Vec<u8>>>,
    bytes: usize,
}

impl Accumulator for Join {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.texts.resize(n_groups.max(self.texts.len()), None);
        let (texts, bytes, binary) = (&mut self.texts, &mut self.bytes, self.binary);
        let value = |array: &'_ ArrayRef, row: usize| -> Option<Vec<u8>> {
            array.is_valid(row).then(|| match binary {
                true => array.as_binary_view().value(row).to_vec(),
                false => array.as_string_view().value(row).as_bytes().to_vec(),
            })
        };
        each_row(groups, args[0].nulls(), filter, |row, group| {
            let Some(next) = value(&args[0], row) else { return };
            *bytes += next.len();
            match &mut texts[group] {
                None => texts[group] = Some(next),
                Some(text) => {
                    text.extend(value(&args[1], row).unwrap_or_default());
                    text.extend(next);
                }
            }
        });
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        let (values, owners) = flatten(states, groups)?;
        self.update(&values, &owners, n_groups, None)
    }

    fn state(&mut self, _n_groups: usize) -> Result<Vec<ArrayRef>> {
        Err(Error::internal("rows that are not in order have no state of their own"))
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let mut texts = std::mem::take(&mut self.texts);
        texts.resize(n_groups, None);
        self.bytes = 0;
        if self.binary {
            return Ok(Arc::new(texts.into_iter().collect::<BinaryViewArray>()));
        }
        let texts = texts.into_iter().map(|t| t.map(|t| String::from_utf8_lossy(&t).into_owned()));
        Ok(Arc::new(texts.collect::<StringViewArray>()))
    }

    fn memory(&self) -> usize {
        self.bytes + self.texts.capacity() * 24
    }
}

/// groupConcat is string_agg of so many values as text.
fn group_concat(call: &Call<'_>) -> Result<Box<dyn Accumulator>> {
    let separator = call.params.first().and_then(|param| param.as_str()).unwrap_or_default().to_string();
    let most = match call.params.get(1) {
        None => usize::MAX,
        Some(most) => super::moments::float_of(most).filter(|most| *most >= 1.0).ok_or_else(|| {
            Error::new(ErrorKind::InvalidParameter, format!("a number of values is 1 or more, not {most}"))
        })? as usize,
    };
    let inner = Join { binary: false, texts: Vec::new(), bytes: 0 };
    let (ty, context) = (call.args[0].clone(), call.context.clone());
    Ok(Box::new(GroupConcat { ty, context, separator, most, counts: Vec::new(), inner }))
}

struct GroupConcat {
    ty: Type,
    context: Context,
    separator: String,
    most: usize,
    /// How many values each group has.
    counts: Vec<usize>,
    inner: Join,
}

impl Accumulator for GroupConcat {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.counts.resize(n_groups.max(self.counts.len()), 0);
        let texts = cast_array(&self.context, &args[0], &self.ty, &Type::Text, true)?;
        let mut within = vec![false; groups.len()];
        each_row(groups, texts.logical_nulls().as_ref(), filter, |row, group| {
            within[row] = self.counts[group] < self.most;
            self.counts[group] += 1;
        });
        let separators: ArrayRef = Arc::new(StringViewArray::from_iter_values(groups.iter().map(|_| &self.separator)));
        self.inner.update(&[texts, separators], groups, n_groups, Some(&BooleanArray::from(within)))
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        let (values, owners) = flatten(states, groups)?;
        self.update(&values, &owners, n_groups, None)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        self.inner.state(n_groups)
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.counts.clear();
        self.inner.finish(n_groups)
    }

    fn memory(&self) -> usize {
        self.inner.memory() + self.counts.capacity() * 8
    }
}

/// json_agg and json_object_agg.
fn json(call: &Call<'_>, object: bool) -> Result<Box<dyn Accumulator>> {
    if object {
        check_key(&call.args[0])?;
    }
    let name = if *call.returns == Type::Jsonb { "to_jsonb" } else { "to_json" };
    let kernel = registry().overloads(name).iter().find_map(|s| match registry().implementation(s.id) {
        Implementation::Scalar(overload) => Some(overload.kernel),
        _ => None,
    });
    let kernel = kernel.ok_or_else(|| Error::internal(format!("there is no {name}")))?;
    Ok(Box::new(Json {
        context: call.context.clone(),
        args: call.args.to_vec(),
        returns: call.returns.clone(),
        kernel,
        object,
        texts: Vec::new(),
        bytes: 0,
    }))
}

struct Json {
    context: Context,
    args: Vec<Type>,
    returns: Type,
    kernel: Kernel,
    object: bool,
    texts: Vec<Option<String>>,
    bytes: usize,
}

impl Json {
    fn encode(&self, arg: usize, column: &ArrayRef) -> Result<ArrayRef> {
        let types = Types { args: &self.args[arg..=arg], result: &self.returns };
        (self.kernel)(&self.context, &[Datum::Array(column.clone())], column.len(), &types)?.into_array(column.len())
    }
}

impl Accumulator for Json {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.texts.resize(n_groups.max(self.texts.len()), None);
        let values = self.encode(self.args.len() - 1, &args[self.args.len() - 1])?;
        let values = values.as_string_view();
        let keys = if self.object { Some(self.encode(0, &args[0])?) } else { None };
        let mut missing = false;
        let nested = matches!(self.args[0], Type::Record(_) | Type::Array(_)) && self.returns == Type::Json;
        each_row(groups, None, filter, |row, group| {
            // The value of a row that is NULL in SQL is null in JSON.
            let known = args[self.args.len() - 1].is_valid(row) && values.is_valid(row);
            let value = if known { values.value(row) } else { "null" };
            let text = &mut self.texts[group];
            let before = text.as_ref().map_or(0, String::len);
            let separator = if nested { ", \n " } else { ", " };
            let out = match text {
                None => text.insert(if self.object { "{ " } else { "[" }.to_string()),
                Some(out) => {
                    out.push_str(separator);
                    out
                }
            };
            if let Some(keys) = &keys {
                missing |= args[0].is_null(row);
                let key = keys.as_string_view().value(row);
                if key.starts_with('"') {
                    out.push_str(key);
                } else {
                    out.push_str(&serde_json::Value::from(key).to_string());
                }
                out.push_str(" : ");
            }
            out.push_str(value);
            self.bytes += out.len() - before;
        });
        if missing {
            return Err(Error::new(ErrorKind::InvalidParameter, "field name must not be null"));
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        let (values, owners) = flatten(states, groups)?;
        self.update(&values, &owners, n_groups, None)
    }

    fn state(&mut self, _n_groups: usize) -> Result<Vec<ArrayRef>> {
        Err(Error::internal("rows that are not in order have no state of their own"))
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let mut texts = std::mem::take(&mut self.texts);
        texts.resize(n_groups, None);
        self.bytes = 0;
        let end = if self.object { " }" } else { "]" };
        let texts: StringViewArray = texts.into_iter().map(|t| t.map(|t| t + end)).collect();
        if self.object && self.returns == Type::Jsonb {
            // Into jsonb's normal form.
            let texts: ArrayRef = Arc::new(texts);
            return cast_array(&self.context, &texts, &Type::Text, &Type::Jsonb, true);
        }
        Ok(Arc::new(texts))
    }

    fn memory(&self) -> usize {
        self.bytes + self.texts.capacity() * 24
    }
}
