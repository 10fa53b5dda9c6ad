//! Arrays as sets and vectors, by ClickHouse's names: arrayUnion, arrayExcept, arrayRemove, arrayRotateLeft, arrayDotProduct and their kin.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::compute::concat;
use arrow::datatypes::{Float64Type, Int64Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::super::declare::{ARRAY, INT8, function, strict};
use super::super::rows::{Column, column, invalid_parameter, primitive, primitive_rows};
use super::super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use super::{ELEMENTS_MAX, array_rows, element_of, element_rows, matches, too_many};
use crate::error::Result;
use crate::exec::keys::{normalize, row_converter};

use Param::{AnyArray, AnyElement};

pub(super) fn functions() -> Vec<ScalarFunction> {
    let of = |params: &[Param], kernel: Kernel| vec![Overload::new(params.to_vec(), Returns::ArrayOfElement, kernel)];
    let floats = Param::Exact(Type::Array(Box::new(Type::Float8)));
    vec![
        function(
            &["arrayUnion"],
            ARRAY,
            "The distinct elements that any of the arrays has, in the order in which they first come.",
            ("arrayUnion(ARRAY[1, 2], ARRAY[2, 3])", "{1,2,3}"),
            vec![Overload::new(vec![AnyArray], Returns::ArrayOfElement, union).variadic()],
        ),
        function(
            &["arrayExcept"],
            ARRAY,
            "The elements of the first array that the second has not.",
            ("arrayExcept(ARRAY[1, 2, 3, 2], ARRAY[2])", "{1,3}"),
            of(&[AnyArray, AnyArray], except),
        ),
        function(
            &["arrayRemove"],
            ARRAY,
            "The array without the elements that equal a value; NULL equals NULL.",
            ("arrayRemove(ARRAY[1, 2, 3, 2], 2)", "{1,3}"),
            vec![Overload::new(vec![AnyArray, AnyElement], Returns::ArrayOfElement, remove).lax()],
        ),
        function(
            &["arrayRotateLeft"],
            ARRAY,
            "The array with so many of its first elements at its end.",
            ("arrayRotateLeft(ARRAY[1, 2, 3, 4], 1)", "{2,3,4,1}"),
            of(&[AnyArray, INT8], |_, a, n, ty| rotate(a, n, ty, 1)),
        ),
        function(
            &["arrayRotateRight"],
            ARRAY,
            "The array with so many of its last elements at its start.",
            ("arrayRotateRight(ARRAY[1, 2, 3, 4], 1)", "{4,1,2,3}"),
            of(&[AnyArray, INT8], |_, a, n, ty| rotate(a, n, ty, -1)),
        ),
        function(
            &["arrayWithConstant"],
            ARRAY,
            "An array of so many times one value.",
            ("arrayWithConstant(3, 'x')", "{x,x,x}"),
            vec![Overload::new(vec![INT8, AnyElement], Returns::ArrayOfElement, repeat).lax()],
        ),
        function(
            &["arrayElementOrNull"],
            ARRAY,
            "The element of this number, from 1, or from the end with -1 the last; NULL if there is none.",
            ("arrayElementOrNull(ARRAY[7, 8, 9], 4)", "NULL"),
            vec![Overload::new(vec![AnyArray, INT8], Returns::Element, |_, a, n, ty| {
                let (lists, numbers) = (column::<ListArray>(a, 0)?, primitive::<Int64Type>(a, 1)?);
                element_rows(a, n, ty, lists.values(), |row| {
                    let range = lists.range(row);
                    let index = match numbers.at(row) {
                        number @ 1.. => number - 1,
                        0 => -1,
                        number => range.len() as i64 + number,
                    };
                    Ok(usize::try_from(index)
                        .ok()
                        .filter(|index| *index < range.len())
                        .map(|index| range.start + index))
                })
            })],
        ),
        function(
            &["arrayDotProduct", "dotProduct", "scalarProduct", "list_dot_product", "list_inner_product"],
            ARRAY,
            "The sum of the products of the elements at the same places.",
            ("arrayDotProduct(ARRAY[1, 2, 3], ARRAY[4, 5, 6])", "32"),
            vec![strict([floats.clone(), floats], Type::Float8, |_, a, n, ty| {
                let (left, right) = (column::<ListArray>(a, 0)?, column::<ListArray>(a, 1)?);
                let of = |list: &Column<'_, ListArray>| list.values().as_primitive::<Float64Type>().clone();
                let (lefts, rights) = (of(&left), of(&right));
                primitive_rows::<Float64Type>(a, n, ty, |row| {
                    if left.range(row).len() != right.range(row).len() {
                        return Err(invalid_parameter("the arrays of a dot product must have equal lengths"));
                    }
                    let pairs = left.range(row).zip(right.range(row));
                    let product = |(l, r): (usize, usize)| lefts.is_valid(l) && rights.is_valid(r);
                    let there = pairs.filter(|pair| product(*pair));
                    Ok(Some(there.map(|(l, r)| lefts.value(l) * rights.value(r)).sum()))
                })
            })],
        ),
    ]
}

/// The elements of all arguments' arrays as bytes that are equal where they are, one argument's after the other's; and where each argument's begin.
pub(super) fn keys(args: &[Datum], types: &Types<'_>) -> Result<(arrow::row::Rows, Vec<usize>)> {
    let element = element_of(&types.args[0])?;
    let mut starts = Vec::with_capacity(args.len());
    let mut values: Vec<ArrayRef> = Vec::with_capacity(args.len());
    let mut start = 0;
    for at in 0..args.len() {
        let list = column::<ListArray>(args, at)?;
        starts.push(start);
        start += list.values().len();
        values.push(normalize(element, list.values())?);
    }
    let values: Vec<&dyn Array> = values.iter().map(|values| values.as_ref()).collect();
    let converter = row_converter(std::slice::from_ref(element), &[Default::default()])?;
    Ok((converter.convert_columns(&[concat(&values)?])?, starts))
}

fn union(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (keys, starts) = keys(args, types)?;
    let lists = (0..args.len()).map(|at| column::<ListArray>(args, at)).collect::<Result<Vec<_>>>()?;
    let sources: Vec<&ArrayRef> = lists.iter().map(|list| list.values()).collect();
    let mut seen = HashSet::new();
    array_rows(args, rows, types, true, &sources, |row, out| {
        seen.clear();
        for (source, list) in lists.iter().enumerate() {
            out.extend(source, list.range(row).filter(|i| seen.insert(keys.row(starts[source] + i))));
        }
        Ok(true)
    })
}

fn except(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (keys, starts) = keys(args, types)?;
    let (lists, others) = (column::<ListArray>(args, 0)?, column::<ListArray>(args, 1)?);
    let mut gone = HashSet::new();
    array_rows(args, rows, types, true, &[lists.values()], |row, out| {
        gone.clear();
        gone.extend(others.range(row).map(|i| keys.row(starts[1] + i)));
        out.extend(0, lists.range(row).filter(|i| !gone.contains(&keys.row(*i))));
        Ok(true)
    })
}

fn remove(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (all, equal) = matches(args, 1, rows, types)?;
    let values = all.values();
    let lists = column::<ListArray>(args, 0)?;
    array_rows(args, rows, types, false, &[values], |row, out| {
        if lists.is_null(row) {
            return Ok(false);
        }
        let constant = all.len() == 1;
        out.extend(0, super::range_of(&all, if constant { 0 } else { row }).filter(|i| !equal.value(*i)));
        Ok(true)
    })
}

fn rotate(args: &[Datum], rows: usize, types: &Types<'_>, direction: i64) -> Result<Datum> {
    let (lists, steps) = (column::<ListArray>(args, 0)?, primitive::<Int64Type>(args, 1)?);
    array_rows(args, rows, types, true, &[lists.values()], |row, out| {
        let range = lists.range(row);
        if !range.is_empty() {
            let count = range.len() as i64;
            let first = range.start + (steps.at(row) % count * direction).rem_euclid(count) as usize;
            out.extend(0, (first..range.end).chain(range.start..first));
        }
        Ok(true)
    })
}

fn repeat(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let counts = primitive::<Int64Type>(args, 0)?;
    let constant = matches!(args[1], Datum::Scalar(_));
    array_rows(args, rows, types, false, &[args[1].array()], |row, out| {
        if counts.is_null(row) {
            return Ok(false);
        }
        match counts.at(row) {
            count @ 0..=ELEMENTS_MAX => {
                (0..count).for_each(|_| out.push(0, if constant { 0 } else { row }));
                Ok(true)
            }
            count if count < 0 => Err(invalid_parameter("an array has no negative number of elements")),
            _ => Err(too_many()),
        }
    })
}
