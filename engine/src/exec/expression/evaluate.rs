//! One node after the other, each over a whole batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StructArray, UInt32Array, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{interleave, is_null, not, take};
use arrow::datatypes::DataType;
use weir_sql::{Type, Value};

use super::{Expression, Node, lambda, lazy};
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::keys;
use crate::functions::{Datum, Kernel, Types};

/// See [`Expression::evaluate`].
pub(super) fn evaluate(expr: &Expression, batch: &Batch, context: &Arc<QueryContext>) -> Result<Datum> {
    let rows = batch.rows;
    Ok(match &expr.node {
        Node::Column(column) => Datum::Array(batch.columns[*column].clone()),
        Node::Constant(value) => Datum::Scalar(value.clone()),
        Node::Failure(error) if rows > 0 => return Err(error.clone()),
        Node::Failure(_) => Datum::Scalar(Value::null(expr.ty.clone())),
        Node::Call { kernel, strict, args, types, fold } => {
            let args = lambda::arguments(args, batch, context)?;
            let types = Types { args: types, result: &expr.ty };
            call(*kernel, *strict, *fold, &args, rows, &types, context)?
        }
        Node::Cast { input, explicit, lenient } => cast(input, expr, *explicit, *lenient, batch, context)?,
        Node::And(parts) => lazy::and(parts, batch, context)?,
        Node::Or(parts) => lazy::or(parts, batch, context)?,
        Node::Not(input) => match input.evaluate(batch, context)? {
            Datum::Scalar(value) => Datum::Scalar(Value::new(Type::Bool, Arc::new(not(value.array.as_boolean())?))),
            Datum::Array(array) => Datum::Array(Arc::new(not(array.as_boolean())?)),
        },
        Node::IsNull(input) => {
            let datum = input.evaluate(batch, context)?;
            let nulls = is_null_deep(datum.array())?;
            match datum {
                Datum::Scalar(_) => Datum::Scalar(Value::new(Type::Bool, Arc::new(nulls))),
                Datum::Array(_) => Datum::Array(Arc::new(nulls)),
            }
        }
        Node::Case { branches, otherwise } => lazy::case(branches, otherwise.as_deref(), &expr.ty, batch, context)?,
        Node::Choice { conditions, values } => {
            Datum::Array(take(values, &lazy::choice(conditions, batch, context)?, None)?)
        }
        Node::Coalesce(parts) => lazy::coalesce(parts, &expr.ty, batch, context)?,
        Node::InSet { input, set } => match input.evaluate(batch, context)? {
            Datum::Scalar(value) => Datum::Scalar(Value::new(Type::Bool, Arc::new(set.contains(&value.array)?))),
            Datum::Array(array) => Datum::Array(Arc::new(set.contains(&array)?)),
        },
        Node::InList { input, list } => Datum::Array(in_list(input, list, batch, context)?),
        Node::Array(parts) => Datum::Array(array_of(parts, &expr.ty, batch, context)?),
        Node::Row(parts) => {
            let DataType::Struct(fields) = expr.ty.to_arrow() else {
                return Err(Error::internal("a row is a record"));
            };
            let columns = super::arrays(parts, batch, context)?;
            Datum::Array(Arc::new(if fields.is_empty() {
                StructArray::new_empty_fields(rows, None)
            } else {
                StructArray::try_new(fields, columns, None)?
            }))
        }
        Node::Field(input, index) => {
            let record = input.array(batch, context)?;
            let record = record.as_struct();
            Datum::Array(with_nulls(record.column(*index).clone(), record.nulls())?)
        }
        Node::Quantified { left, array, kernel, strict, all } => {
            let Type::Array(element) = &array.ty else { return Err(Error::internal("ANY is over an array")) };
            let types = [left.ty.clone(), (**element).clone()];
            let (left, lists) = (left.array(batch, context)?, array.evaluate(batch, context)?.into_array(rows)?);
            let compare = Compare { kernel: *kernel, strict: *strict, types: &types, context };
            Datum::Array(Arc::new(quantified(&left, lists.as_list(), *all, &compare)?))
        }
        Node::Subquery(subquery) => subquery.evaluate(&expr.ty, batch, context)?,
        Node::Lambda(_) => return Err(Error::internal("a lambda is an argument of a call")),
    })
}

/// Calls a kernel. With `fold`, a call over constants alone is computed once.
fn call(
    kernel: Kernel,
    strict: bool,
    fold: bool,
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    context: &QueryContext,
) -> Result<Datum> {
    if strict && args.iter().any(Datum::is_null_scalar) {
        return Ok(Datum::Scalar(Value::null(types.result.clone())));
    }
    if fold && args.iter().all(|a| matches!(a, Datum::Scalar(_))) {
        let result = kernel(&context.functions, args, 1, types)?.into_array(1)?;
        return Ok(Datum::Scalar(Value { ty: types.result.clone(), array: result }));
    }
    let result = kernel(&context.functions, args, rows, types)?;
    if !strict {
        return Ok(result);
    }
    let mut nulls: Option<NullBuffer> = None;
    for arg in args {
        if let Datum::Array(array) = arg
            && array.null_count() > 0
        {
            nulls = NullBuffer::union(nulls.as_ref(), array.logical_nulls().as_ref());
        }
    }
    match nulls {
        None => Ok(result),
        Some(nulls) => Ok(Datum::Array(with_nulls(result.into_array(rows)?, Some(&nulls))?)),
    }
}

/// The array with these NULLs besides its own.
pub(super) fn with_nulls(array: ArrayRef, nulls: Option<&NullBuffer>) -> Result<ArrayRef> {
    let Some(nulls) = nulls.filter(|n| n.null_count() > 0) else { return Ok(array) };
    if array.data_type() == &DataType::Null || array.nulls().is_some_and(|own| own == nulls) {
        return Ok(array);
    }
    let union = NullBuffer::union(Some(nulls), array.nulls());
    let data = array.to_data().into_builder().nulls(union);
    Ok(arrow::array::make_array(data.build()?))
}

fn cast(
    input: &Expression,
    expr: &Expression,
    explicit: bool,
    lenient: bool,
    batch: &Batch,
    context: &Arc<QueryContext>,
) -> Result<Datum> {
    let datum = input.evaluate(batch, context)?;
    if input.ty == expr.ty {
        return Ok(datum);
    }
    crate::kernels::cast::cast(&context.functions, &datum, &input.ty, &expr.ty, explicit, lenient)
}

/// IS NULL: of a record also where all its fields are NULL.
fn is_null_deep(array: &ArrayRef) -> Result<BooleanArray> {
    let own = is_null(array)?;
    let DataType::Struct(fields) = array.data_type() else { return Ok(own) };
    if fields.is_empty() {
        return Ok(own);
    }
    let mut all: Option<BooleanArray> = None;
    for column in array.as_struct().columns() {
        let nulls = is_null(column)?;
        all = Some(match all {
            None => nulls,
            Some(all) => arrow::compute::and(&all, &nulls)?,
        });
    }
    Ok(match all {
        Some(all) => arrow::compute::or(&own, &all)?,
        None => own,
    })
}

/// `x IN (a, b, …)` where the list is not constant.
fn in_list(input: &Expression, list: &[Expression], batch: &Batch, context: &Arc<QueryContext>) -> Result<ArrayRef> {
    let left = input.array(batch, context)?;
    let mut result = BooleanArray::from(vec![false; batch.rows]);
    for value in list {
        let right = value.array(batch, context)?;
        result = arrow::compute::or_kleene(&result, &keys::equal(&input.ty, &left, &right)?)?;
    }
    Ok(Arc::new(result))
}

fn array_of(parts: &[Expression], ty: &Type, batch: &Batch, context: &Arc<QueryContext>) -> Result<ArrayRef> {
    let Type::Array(element) = ty else { return Err(Error::internal("ARRAY[] makes an array")) };
    let rows = batch.rows;
    let offsets = OffsetBuffer::from_repeated_length(parts.len(), rows);
    let columns = super::arrays(parts, batch, context)?;
    // ARRAY[ARRAY[1, 2], ARRAY[3, 4]] has elements of the inner type's own array type; Weir's arrays nest as lists do.
    let values = if columns.is_empty() || rows == 0 {
        new_null_array(&element.to_arrow(), 0)
    } else {
        let indices: Vec<_> = (0..rows).flat_map(|row| (0..columns.len()).map(move |c| (c, row))).collect();
        interleave(&columns.iter().map(|c| c.as_ref()).collect::<Vec<_>>(), &indices)?
    };
    Ok(Arc::new(ListArray::try_new(element.element_field(), offsets, values, None)?))
}

/// A comparison of a left value with an element.
pub(super) struct Compare<'a> {
    pub(super) kernel: Kernel,
    pub(super) strict: bool,
    pub(super) types: &'a [Type],
    pub(super) context: &'a QueryContext,
}

impl Compare<'_> {
    pub(super) fn run(&self, left: Datum, right: Datum, rows: usize) -> Result<BooleanArray> {
        let types = Types { args: self.types, result: &Type::Bool };
        let result = call(self.kernel, self.strict, true, &[left, right], rows, &types, self.context)?;
        Ok(result.into_array(rows)?.as_boolean().clone())
    }
}

/// `left op ANY (list)` or `ALL`, a list a row: one comparison over all elements, then a fold by row.
fn quantified(left: &ArrayRef, lists: &ListArray, all: bool, compare: &Compare<'_>) -> Result<BooleanArray> {
    let offsets = lists.value_offsets();
    let (first, last) = (offsets[0] as usize, offsets[lists.len()] as usize);
    let values = lists.values().slice(first, last - first);
    let owners: UInt32Array = (0..lists.len())
        .flat_map(|row| std::iter::repeat_n(row as u32, (offsets[row + 1] - offsets[row]) as usize))
        .collect::<Vec<_>>()
        .into();
    let spread = take(left, &owners, None)?;
    let rows = values.len();
    let outcome = compare.run(Datum::Array(spread), Datum::Array(values), rows)?;
    Ok((0..lists.len())
        .map(|row| {
            if lists.is_null(row) {
                return None;
            }
            let range = (offsets[row] as usize - first)..(offsets[row + 1] as usize - first);
            quantify(range.map(|i| outcome.is_valid(i).then(|| outcome.value(i))), all)
        })
        .collect())
}

/// ANY is true if one is true, else NULL if one is NULL; ALL is false if one is false, else NULL if one is NULL.
pub(super) fn quantify(outcomes: impl Iterator<Item = Option<bool>>, all: bool) -> Option<bool> {
    let mut unknown = false;
    for outcome in outcomes {
        match outcome {
            Some(v) if v != all => return Some(v),
            Some(_) => {}
            None => unknown = true,
        }
    }
    if unknown { None } else { Some(all) }
}
