//! Aggregates that look at all of a group's numbers at once: tests of samples, histograms, weighted quantiles, moving averages, series thinned out.
//!
//! State: for each argument the list of its values, of rows in which none is NULL. The rows are put in order at the end, by the first argument
//! and then the others, so that neither their order nor how they were split matters; those whose result depends on the order of rows see
//! them as they come, and have the state of [`super::collect`].

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Float64Type};
use weir_sql::catalog::{Param, Returns};
use weir_sql::{Type, Value};

use super::states::{Collected, by_group, lists, rows_that_count};
use super::{Accumulator, AggregateOverload, Call, Order};
use crate::error::{Error, Result};

/// A group's numbers: a column for each argument.
pub(super) struct Group<'a> {
    pub(super) columns: &'a [Vec<f64>],
    pub(super) params: &'a [Value],
}

/// What a group gives. It is of the type that the overload returns.
pub(super) enum Answer {
    /// A number, or NULL.
    Number(Option<f64>),
    /// An array of numbers.
    Numbers(Vec<f64>),
    /// A record of numbers.
    Record(Vec<f64>),
    /// An array of records.
    Records(Vec<Vec<f64>>),
}

/// What is made of a group.
pub(super) type Finish = fn(&Group<'_>) -> Result<Answer>;

impl Group<'_> {
    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.columns[0].len()
    }

    /// The parameter at a place as a number.
    pub(super) fn param(&self, at: usize) -> Option<f64> {
        self.params.get(at).and_then(super::moments::float_of)
    }
}

/// An overload over so many doubles; `create` is to call [`create`].
pub(super) fn overload(args: usize, returns: Type, create: super::Create) -> AggregateOverload {
    let state = |args: &[Type], _: &Type| args.iter().map(|ty| Type::Array(Box::new(ty.clone()))).collect();
    AggregateOverload::new(vec![Param::Exact(Type::Float8); args], Returns::Exact(returns), state, create)
}

/// A record of doubles with these names.
pub(super) fn record(names: &[&str]) -> Type {
    Type::Record(names.iter().map(|name| (name.to_string(), Type::Float8)).collect())
}

/// The accumulator; `order` as the overload has it.
pub(super) fn create(call: &Call<'_>, order: Order, finish: Finish) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Whole {
        args: call.args.len(),
        params: call.params.to_vec(),
        returns: call.returns.clone(),
        sorts: order == Order::Any,
        finish,
        rows: Collected::default(),
    }))
}

struct Whole {
    args: usize,
    params: Vec<Value>,
    returns: Type,
    sorts: bool,
    finish: Finish,
    rows: Collected,
}

impl Whole {
    fn take(&mut self, n_groups: usize) -> Result<(Vec<ArrayRef>, Vec<usize>)> {
        let (columns, groups) = self.rows.take(&vec![DataType::Float64; self.args])?;
        let (order, lengths) = by_group(&groups, n_groups);
        let columns = columns.iter().map(|column| take(column, &order, None));
        Ok((columns.collect::<std::result::Result<_, _>>()?, lengths))
    }
}

impl Accumulator for Whole {
    fn update(&mut self, args: &[ArrayRef], groups: &[u32], _: usize, filter: Option<&BooleanArray>) -> Result<()> {
        let args = &args[..self.args];
        let nulls =
            args.iter().fold(None, |nulls, arg| NullBuffer::union(nulls.as_ref(), arg.logical_nulls().as_ref()));
        self.rows.add(args, groups, rows_that_count(nulls.as_ref(), filter))
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], _: usize) -> Result<()> {
        self.rows.add_lists(states, groups)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let (columns, lengths) = self.take(n_groups)?;
        let field = Type::Float8.element_field();
        columns.into_iter().map(|column| lists(field.clone(), column, &lengths, false)).collect()
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let (columns, lengths) = self.take(n_groups)?;
        let columns: Vec<&[f64]> =
            columns.iter().map(|column| column.as_primitive::<Float64Type>().values().as_ref()).collect();
        let mut answers = Vec::with_capacity(n_groups);
        let mut start = 0;
        for length in lengths {
            let mut rows: Vec<usize> = (start..start + length).collect();
            start += length;
            if self.sorts {
                let by = |a: &usize, b: &usize| {
                    let orders = columns.iter().map(|column| column[*a].total_cmp(&column[*b]));
                    orders.fold(Ordering::Equal, Ordering::then)
                };
                rows.sort_unstable_by(by);
            }
            let group: Vec<Vec<f64>> =
                columns.iter().map(|column| rows.iter().map(|&row| column[row]).collect()).collect();
            answers.push((self.finish)(&Group { columns: &group, params: &self.params })?);
        }
        shown(answers, &self.returns)
    }

    fn memory(&self) -> usize {
        self.rows.memory()
    }
}

/// The answers as a column.
fn shown(answers: Vec<Answer>, ty: &Type) -> Result<ArrayRef> {
    let records = |records: Vec<Vec<f64>>, ty: &Type| -> Result<ArrayRef> {
        let DataType::Struct(fields) = ty.to_arrow() else { return Err(Error::internal(format!("{ty} is no record"))) };
        let column = |at: usize| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(records.iter().map(|record| record[at])))
        };
        let columns = (0..fields.len()).map(column).collect();
        Ok(Arc::new(StructArray::try_new_with_length(fields, columns, None, records.len())?))
    };
    let (mut numbers, mut rows, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Answer::Number(number) => numbers.push(number),
            Answer::Numbers(all) => {
                lengths.push(all.len());
                numbers.extend(all.into_iter().map(Some));
            }
            Answer::Record(record) => rows.push(record),
            Answer::Records(all) => {
                lengths.push(all.len());
                rows.extend(all);
            }
        }
    }
    let numbers: ArrayRef = Arc::new(Float64Array::from(numbers));
    match ty {
        Type::Record(_) => records(rows, ty),
        Type::Array(element) => {
            let values = if let Type::Record(_) = **element { records(rows, element)? } else { numbers };
            let offsets = OffsetBuffer::from_lengths(lengths);
            Ok(Arc::new(arrow::array::ListArray::try_new(element.element_field(), offsets, values, None)?))
        }
        _ => Ok(numbers),
    }
}
