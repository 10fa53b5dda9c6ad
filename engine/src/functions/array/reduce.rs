//! arrayReduce and list_aggregate: any aggregate function over the elements of each row's arrays, a row being a group.
//!
//! The binder adds a last argument, a NULL of the type of the result, which the aggregate's name decides.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{nullif, take};
use weir_sql::catalog::{Param, Returns};
use weir_sql::types::StateType;

use super::super::declare::{ARRAY, TEXT, function};
use super::super::rows::{batch, invalid_parameter, text};
use super::super::{Context, Datum, Implementation, Overload, ScalarFunction, Types, registry};
use super::element_of;
use crate::aggregates::Call;
use crate::error::{Error, Result};

pub(super) fn functions() -> Vec<ScalarFunction> {
    let last = Returns::Computed(|types| types.last().cloned().unwrap_or(weir_sql::Type::Text));
    vec![function(
        &["arrayReduce"],
        ARRAY,
        "An aggregate function, by its name, over the elements of arrays.",
        ("arrayReduce('max', ARRAY[1, 3, 2])", "3"),
        vec![Overload::new(vec![TEXT, Param::Any], last, reduce).variadic().lax()],
    )]
}

fn reduce(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let name = text(args, 0)?.constant().ok_or_else(|| invalid_parameter("the name of an aggregate is a constant"))?;
    let arrays = &args[1..args.len() - 1];
    let elements =
        types.args[1..args.len() - 1].iter().map(|ty| element_of(ty).cloned()).collect::<Result<Vec<_>>>()?;
    let state = StateType { function: name.to_string(), params: Vec::new(), args: elements.clone() };
    let found = weir_sql::bind::state_overload(registry(), &state);
    let overload = match found.map(|(signature, ..)| registry().implementation(signature.id)) {
        Some(Implementation::Aggregate(overload)) => overload,
        _ => return Err(Error::internal(format!("there is no aggregate function {name}"))),
    };
    batch(args, rows, types, |rows| {
        let lists = arrays.iter().map(|array| array.clone().into_array(rows)).collect::<Result<Vec<_>>>()?;
        let lists: Vec<&ListArray> = lists.iter().map(|list| list.as_list::<i32>()).collect();
        let nulls = lists.iter().fold(None, |nulls, list| NullBuffer::union(nulls.as_ref(), list.nulls()));
        let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let (mut owners, mut places) = (Vec::new(), vec![Vec::new(); lists.len()]);
        for row in (0..rows).filter(|row| !is_null(*row)) {
            let length = lists[0].value_length(row);
            if lists.iter().any(|list| list.value_length(row) != length) {
                return Err(invalid_parameter("the arrays of arrayReduce must have equal lengths"));
            }
            owners.extend(std::iter::repeat_n(row as u32, length as usize));
            for (list, places) in lists.iter().zip(&mut places) {
                places.extend(super::range_of(list, row).map(|place| place as u32));
            }
        }
        let taken =
            lists.iter().zip(places).map(|(list, places)| take(list.values(), &UInt32Array::from(places), None));
        let mut values: Vec<ArrayRef> = taken.collect::<std::result::Result<_, _>>()?;
        if overload.wants_position() {
            values.push(Arc::new(Int64Array::from_iter_values(0..owners.len() as i64)));
        }
        let call = Call { args: &elements, params: &[], returns: types.result, descending: false, context };
        let mut accumulator = overload.accumulator(&call, false, &[])?;
        accumulator.update(&values, &owners, rows, None)?;
        let result = accumulator.finish(rows)?;
        Ok(match nulls {
            None => result,
            Some(_) => nullif(&result, &BooleanArray::from_iter((0..rows).map(|row| Some(is_null(row)))))?,
        })
    })
}
