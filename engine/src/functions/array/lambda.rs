//! Functions that take a lambda: ClickHouse's arrayMap, arrayFilter and their kin, and DuckDB's names for them.
//!
//! A kernel is given the lambda as the array of its values (see `exec::expression::lambda`): a filter is one by an array of booleans, a sort
//! one by an array of keys. An element for which a condition is NULL does not fulfil it.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{interleave, take};
use arrow::datatypes::Int64Type;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::super::declare::{ARRAY, function};
use super::super::json::values::zero;
use super::super::rows::{Column, batch, bool_rows, column, is_valid, nulls_of, primitive_rows};
use super::super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use super::{array_rows, element_of, element_rows};
use crate::error::Result;

/// An overload that takes a lambda, then arrays.
pub(super) fn over_lambda(lambda: Param, returns: Returns, kernel: Kernel) -> Overload {
    Overload::new(vec![lambda, Param::Any], returns, kernel).variadic()
}

/// A lambda that says yes or no.
pub(super) const CONDITION: Param = Param::LambdaOf(Type::Bool);

/// The type of the elements of the first array: of the lambda's values, where it is one.
pub(super) fn element_of_first(types: &[Type]) -> Type {
    element(types, 0)
}

fn element(types: &[Type], at: usize) -> Type {
    match types.get(at) {
        Some(Type::Array(element)) => (**element).clone(),
        _ => Type::Text,
    }
}

pub(super) fn functions() -> Vec<ScalarFunction> {
    let mut all = mapping();
    all.extend(finding());
    all.extend(cutting());
    all
}

fn mapping() -> Vec<ScalarFunction> {
    vec![
        function(
            &["arrayMap"],
            ARRAY,
            "The values of a lambda for the elements of arrays.",
            ("arrayMap((x, y) -> x * y, ARRAY[1, 2, 3], ARRAY[4, 5, 6])", "{4,10,18}"),
            vec![over_lambda(Param::Lambda, Returns::Argument(0), |_, a, _, _| Ok(a[0].clone()))],
        ),
        function(
            &["arrayFold"],
            ARRAY,
            "What a lambda of an accumulator and elements gives for the last element, from a first value on.",
            ("arrayFold((acc, x) -> acc * 10 + x, ARRAY[1, 2, 3], 4)", "4123"),
            vec![
                Overload::new(
                    vec![Param::Lambda, Param::Any],
                    Returns::Computed(|types| types.last().cloned().unwrap_or(Type::Text)),
                    // The lambda has folded already.
                    |_, a, _, _| Ok(a[0].clone()),
                )
                .variadic()
                .lax(),
            ],
        ),
        function(
            &["list_transform", "array_transform", "list_apply", "array_apply"],
            ARRAY,
            "The values of a lambda for the elements of an array.",
            ("list_transform(ARRAY[1, 2, 3], x -> x + 1)", "{2,3,4}"),
            vec![Overload::new(vec![Param::Any, Param::Lambda], Returns::Argument(1), |_, a, _, _| Ok(a[1].clone()))],
        ),
        function(
            &["arrayFilter"],
            ARRAY,
            "The elements of the first array for which a lambda is true.",
            ("arrayFilter(x -> x > 1, ARRAY[1, 2, 3])", "{2,3}"),
            vec![over_lambda(CONDITION, Returns::Argument(1), |_, a, n, ty| filter(a, n, ty, 0, 1))],
        ),
        function(
            &["list_filter", "array_filter"],
            ARRAY,
            "The elements for which a lambda is true.",
            ("list_filter(ARRAY[1, 2, 3], x -> x > 1)", "{2,3}"),
            vec![Overload::new(vec![Param::Any, CONDITION], Returns::Argument(0), |_, a, n, ty| {
                filter(a, n, ty, 1, 0)
            })],
        ),
        function(
            &["arrayFill"],
            ARRAY,
            "The array with elements for which a lambda is not true replaced by the one before.",
            ("arrayFill(x -> x IS NOT NULL, ARRAY[1, NULL, NULL, 4])", "{1,1,1,4}"),
            vec![over_lambda(CONDITION, Returns::Argument(1), |_, a, n, ty| fill(a, n, ty, false))],
        ),
        function(
            &["arrayReverseFill"],
            ARRAY,
            "The array with elements for which a lambda is not true replaced by the one after.",
            ("arrayReverseFill(x -> x IS NOT NULL, ARRAY[1, NULL, NULL, 4])", "{1,4,4,4}"),
            vec![over_lambda(CONDITION, Returns::Argument(1), |_, a, n, ty| fill(a, n, ty, true))],
        ),
    ]
}

/// Over a lambda, or over an array of booleans as it is.
fn condition(returns: Type, kernel: Kernel) -> Vec<Overload> {
    let bools = Param::Exact(Type::Array(Box::new(Type::Bool)));
    vec![
        over_lambda(CONDITION, Returns::Exact(returns.clone()), kernel),
        Overload::new(vec![bools], Returns::Exact(returns), kernel),
    ]
}

fn finding() -> Vec<ScalarFunction> {
    let of_second = Returns::Computed(|types| element(types, 1));
    let found = |kernel: Kernel| vec![over_lambda(CONDITION, of_second.clone(), kernel)];
    vec![
        function(
            &["arrayExists"],
            ARRAY,
            "Whether a lambda is true for any element.",
            ("arrayExists(x -> x > 2, ARRAY[1, 2, 3])", "t"),
            condition(Type::Bool, |_, a, n, ty| {
                let conditions = Conditions::of(a, 0)?;
                bool_rows(a, n, ty, |row| Ok(Some(conditions.row(row).any(|holds| holds))))
            }),
        ),
        function(
            &["arrayAll"],
            ARRAY,
            "Whether a lambda is true for all elements.",
            ("arrayAll(x -> x > 2, ARRAY[1, 2, 3])", "f"),
            condition(Type::Bool, |_, a, n, ty| {
                let conditions = Conditions::of(a, 0)?;
                bool_rows(a, n, ty, |row| Ok(Some(conditions.row(row).all(|holds| holds))))
            }),
        ),
        function(
            &["arrayCount"],
            ARRAY,
            "For how many elements a lambda is true.",
            ("arrayCount(x -> x > 1, ARRAY[1, 2, 3])", "2"),
            condition(Type::Int8, |_, a, n, ty| {
                let conditions = Conditions::of(a, 0)?;
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    Ok(Some(conditions.row(row).filter(|holds| *holds).count() as i64))
                })
            }),
        ),
        function(
            &["arrayFirst"],
            ARRAY,
            "The first element for which a lambda is true; its type's zero if there is none.",
            ("arrayFirst(x -> x > 1, ARRAY[1, 2, 3])", "2"),
            found(|c, a, n, ty| or_zero(c, a, n, ty, |holds| holds.iter().position(|holds| *holds))),
        ),
        function(
            &["arrayFirstOrNull"],
            ARRAY,
            "The first element for which a lambda is true; NULL if there is none.",
            ("arrayFirstOrNull(x -> x > 3, ARRAY[1, 2, 3])", "NULL"),
            found(|_, a, n, ty| or_null(a, n, ty, |holds| holds.iter().position(|holds| *holds))),
        ),
        function(
            &["arrayLast"],
            ARRAY,
            "The last element for which a lambda is true; its type's zero if there is none.",
            ("arrayLast(x -> x < 3, ARRAY[1, 2, 3])", "2"),
            found(|c, a, n, ty| or_zero(c, a, n, ty, |holds| holds.iter().rposition(|holds| *holds))),
        ),
        function(
            &["arrayLastOrNull"],
            ARRAY,
            "The last element for which a lambda is true; NULL if there is none.",
            ("arrayLastOrNull(x -> x > 3, ARRAY[1, 2, 3])", "NULL"),
            found(|_, a, n, ty| or_null(a, n, ty, |holds| holds.iter().rposition(|holds| *holds))),
        ),
        function(
            &["arrayFirstIndex"],
            ARRAY,
            "The number of the first element for which a lambda is true, from 1; 0 if there is none.",
            ("arrayFirstIndex(x -> x > 1, ARRAY[1, 2, 3])", "2"),
            vec![over_lambda(CONDITION, Returns::Exact(Type::Int8), |_, a, n, ty| {
                let conditions = Conditions::of(a, 0)?;
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    Ok(Some(conditions.row(row).position(|holds| holds).map_or(0, |at| at as i64 + 1)))
                })
            })],
        ),
        function(
            &["arrayLastIndex"],
            ARRAY,
            "The number of the last element for which a lambda is true, from 1; 0 if there is none.",
            ("arrayLastIndex(x -> x < 3, ARRAY[1, 2, 3])", "2"),
            vec![over_lambda(CONDITION, Returns::Exact(Type::Int8), |_, a, n, ty| {
                let conditions = Conditions::of(a, 0)?;
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    Ok(Some(conditions.row(row).rposition(|holds| holds).map_or(0, |at| at as i64 + 1)))
                })
            })],
        ),
    ]
}

fn cutting() -> Vec<ScalarFunction> {
    let nested = Returns::Computed(|types| Type::Array(Box::new(types.get(1).cloned().unwrap_or(Type::Text))));
    vec![
        function(
            &["arraySplit"],
            ARRAY,
            "The array cut before each element for which a lambda is true.",
            ("arraySplit((x, y) -> y, ARRAY[1, 2, 3, 4, 5], ARRAY[1, 0, 0, 1, 0])", "{{1,2,3},{4,5}}"),
            vec![over_lambda(CONDITION, nested.clone(), |_, a, n, ty| split(a, n, ty, false))],
        ),
        function(
            &["arrayReverseSplit"],
            ARRAY,
            "The array cut after each element for which a lambda is true.",
            ("arrayReverseSplit((x, y) -> y, ARRAY[1, 2, 3, 4, 5], ARRAY[1, 0, 0, 1, 0])", "{{1},{2,3,4},{5}}"),
            vec![over_lambda(CONDITION, nested, |_, a, n, ty| split(a, n, ty, true))],
        ),
    ]
}

/// Whether a condition holds, for each element.
struct Conditions<'a> {
    lists: Column<'a, ListArray>,
    values: &'a BooleanArray,
}

impl<'a> Conditions<'a> {
    fn of(args: &'a [Datum], index: usize) -> Result<Conditions<'a>> {
        let lists = column::<ListArray>(args, index)?;
        Ok(Conditions { lists, values: lists.array.values().as_boolean() })
    }

    /// For the elements of a row.
    fn row(&self, row: usize) -> impl DoubleEndedIterator<Item = bool> + ExactSizeIterator {
        self.lists.range(row).map(|i| self.values.is_valid(i) && self.values.value(i))
    }
}

fn filter(args: &[Datum], rows: usize, types: &Types<'_>, lambda: usize, array: usize) -> Result<Datum> {
    let (conditions, lists) = (Conditions::of(args, lambda)?, column::<ListArray>(args, array)?);
    array_rows(args, rows, types, true, &[lists.values()], |row, out| {
        out.extend(0, lists.range(row).zip(conditions.row(row)).filter(|(_, holds)| *holds).map(|(i, _)| i));
        Ok(true)
    })
}

fn fill(args: &[Datum], rows: usize, types: &Types<'_>, reverse: bool) -> Result<Datum> {
    let (conditions, lists) = (Conditions::of(args, 0)?, column::<ListArray>(args, 1)?);
    let mut places = Vec::new();
    array_rows(args, rows, types, true, &[lists.values()], |row, out| {
        let pairs = lists.range(row).zip(conditions.row(row));
        let mut last = None;
        let mut place = |(i, holds): (usize, bool)| match last {
            Some(last) if !holds => last,
            _ => *last.insert(i),
        };
        places.clear();
        match reverse {
            false => places.extend(pairs.map(&mut place)),
            true => {
                places.extend(pairs.rev().map(&mut place));
                places.reverse();
            }
        }
        out.extend(0, places.iter().copied());
        Ok(true)
    })
}

/// The element of the first array that `choose` finds by whether the condition holds for each.
fn or_null(args: &[Datum], rows: usize, types: &Types<'_>, choose: impl Fn(&[bool]) -> Option<usize>) -> Result<Datum> {
    let (conditions, lists) = (Conditions::of(args, 0)?, column::<ListArray>(args, 1)?);
    let mut holds = Vec::new();
    element_rows(args, rows, types, lists.values(), |row| {
        holds.clear();
        holds.extend(conditions.row(row));
        Ok(choose(&holds).map(|at| lists.range(row).start + at))
    })
}

/// As [`or_null`], with the type's zero for none.
fn or_zero(
    context: &Context,
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    choose: impl Fn(&[bool]) -> Option<usize>,
) -> Result<Datum> {
    let (conditions, lists) = (Conditions::of(args, 0)?, column::<ListArray>(args, 1)?);
    let zero = zero(context, types.result).unwrap_or_else(|| weir_sql::Value::null(types.result.clone()));
    batch(args, rows, types, |rows| {
        let nulls = nulls_of(args, rows);
        let mut holds = Vec::new();
        let mut places = Vec::with_capacity(rows);
        for row in 0..rows {
            holds.clear();
            if is_valid(&nulls, row) {
                holds.extend(conditions.row(row));
            }
            places.push(choose(&holds).map_or((0, 0), |at| (1, lists.range(row).start + at)));
        }
        Ok(interleave(&[zero.array.as_ref(), lists.values().as_ref()], &places)?)
    })
}

fn split(args: &[Datum], rows: usize, types: &Types<'_>, after: bool) -> Result<Datum> {
    let (conditions, lists) = (Conditions::of(args, 0)?, column::<ListArray>(args, 1)?);
    let piece = element_of(types.result)?;
    let element = element_of(piece)?;
    batch(args, rows, types, |rows| {
        let nulls = nulls_of(args, rows);
        let (mut places, mut pieces, mut counts): (Vec<u32>, Vec<usize>, Vec<usize>) = Default::default();
        for row in 0..rows {
            let before = pieces.len();
            if is_valid(&nulls, row) {
                let range: Range<usize> = lists.range(row);
                let mut length = 0;
                for (at, holds) in conditions.row(row).enumerate() {
                    if holds && !after && at > 0 {
                        pieces.push(std::mem::take(&mut length));
                    }
                    places.push((range.start + at) as u32);
                    length += 1;
                    if holds && after && at + 1 < range.len() {
                        pieces.push(std::mem::take(&mut length));
                    }
                }
                if length > 0 {
                    pieces.push(length);
                }
            }
            counts.push(pieces.len() - before);
        }
        let values = take(lists.values(), &UInt32Array::from(places), None)?;
        let pieces = OffsetBuffer::from_lengths(pieces);
        let inner: ArrayRef = Arc::new(ListArray::try_new(element.element_field(), pieces, values, None)?);
        Ok(Arc::new(ListArray::try_new(piece.element_field(), OffsetBuffer::from_lengths(counts), inner, nulls)?))
    })
}
