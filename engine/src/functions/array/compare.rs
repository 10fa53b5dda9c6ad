//! Questions about what arrays hold: `@> <@ &&`, array_position and its kin, and ClickHouse's has, hasAll, hasAny, indexOf, countEqual.
//!
//! Postgres's operators take NULL for no value at all, so that an array that has one is contained in none; everything else here takes it
//! for a value like any other.

use arrow::array::{Array, ListArray};
use arrow::datatypes::{Int32Type, Int64Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::super::declare::{ARRAY, INT4, function};
use super::super::rows::{batch, bool_rows, column, primitive};
use super::super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use super::{array_rows, element_of, matches, range_of};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::compare::comparator;

use Param::{AnyArray, AnyElement};

pub(super) fn functions() -> Vec<ScalarFunction> {
    let two = |kernel: Kernel| vec![Overload::new(vec![AnyArray, AnyArray], Returns::Exact(Type::Bool), kernel)];
    let one = |returns: Returns, kernel: Kernel| vec![Overload::new(vec![AnyArray, AnyElement], returns, kernel).lax()];
    vec![
        function(
            &["@>", "arraycontains"],
            ARRAY,
            "Whether the first array has every element of the second.",
            ("ARRAY[1, 4, 3] @> ARRAY[3, 1, 3]", "t"),
            two(|_, a, n, ty| contains(a, n, ty, 0, 1, false)),
        ),
        function(
            &["<@", "arraycontained"],
            ARRAY,
            "Whether the second array has every element of the first.",
            ("ARRAY[2, 2, 7] <@ ARRAY[1, 7, 4, 2, 6]", "t"),
            two(|_, a, n, ty| contains(a, n, ty, 1, 0, false)),
        ),
        function(
            &["&&", "arrayoverlap"],
            ARRAY,
            "Whether the arrays have an element in common.",
            ("ARRAY[1, 4, 3] && ARRAY[2, 1]", "t"),
            two(|_, a, n, ty| overlap(a, n, ty, false)),
        ),
        function(
            &["hasAll", "list_has_all", "array_has_all"],
            ARRAY,
            "Whether the first array has every element of the second.",
            ("hasAll(ARRAY[1, 2, 3], ARRAY[3, 1])", "t"),
            two(|_, a, n, ty| contains(a, n, ty, 0, 1, true)),
        ),
        function(
            &["hasAny", "list_has_any", "array_has_any"],
            ARRAY,
            "Whether the arrays have an element in common.",
            ("hasAny(ARRAY[1, 2], ARRAY[2, 3])", "t"),
            two(|_, a, n, ty| overlap(a, n, ty, true)),
        ),
        function(
            &["has"],
            ARRAY,
            "Whether the array has this element.",
            ("has(ARRAY[1, 2, 3], 2)", "t"),
            one(Returns::Exact(Type::Bool), has),
        ),
        function(
            &["indexOf"],
            ARRAY,
            "The number of the first such element, from 1; 0 if there is none.",
            ("indexOf(ARRAY[1, 3, 3], 3)", "2"),
            one(Returns::Exact(Type::Int8), |_, a, n, ty| {
                count_rows(a, n, ty, |list| list.iter().position(|is| *is).map_or(0, |at| at as i64 + 1))
            }),
        ),
        function(
            &["countEqual"],
            ARRAY,
            "How many elements are this value.",
            ("countEqual(ARRAY[1, 2, 2], 2)", "2"),
            one(Returns::Exact(Type::Int8), |_, a, n, ty| {
                count_rows(a, n, ty, |list| list.iter().filter(|is| **is).count() as i64)
            }),
        ),
        function(
            &["array_position"],
            ARRAY,
            "The number of the first such element, at or after a number if one is given; NULL if there is none.",
            ("array_position(ARRAY['sun', 'mon', 'tue'], 'mon')", "2"),
            vec![
                Overload::new(vec![AnyArray, AnyElement, INT4], Returns::Exact(Type::Int4), position).optional(1).lax(),
            ],
        ),
        function(
            &["array_positions"],
            ARRAY,
            "The numbers of all such elements.",
            ("array_positions(ARRAY['A', 'A', 'B', 'A'], 'A')", "{1,2,4}"),
            one(Returns::Exact(Type::Array(Box::new(Type::Int4))), positions),
        ),
        function(
            &["array_remove"],
            ARRAY,
            "The array without such elements.",
            ("array_remove(ARRAY[1, 2, 3, 2], 2)", "{1,3}"),
            one(Returns::ArrayOfElement, remove),
        ),
        function(
            &["array_replace"],
            ARRAY,
            "The array with each such element replaced by another.",
            ("array_replace(ARRAY[1, 2, 5, 4], 5, 3)", "{1,2,3,4}"),
            vec![Overload::new(vec![AnyArray, AnyElement, AnyElement], Returns::ArrayOfElement, replace).lax()],
        ),
    ]
}

/// Whether the array at `whole` has every element of the one at `part`.
fn contains(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    whole: usize,
    part: usize,
    null_is_value: bool,
) -> Result<Datum> {
    let element = element_of(&types.args[0])?;
    let (whole, part) = (column::<ListArray>(args, whole)?, column::<ListArray>(args, part)?);
    let (have, want) = (whole.values(), part.values());
    let order = comparator(element, have.as_ref(), want.as_ref());
    bool_rows(args, rows, types, |row| {
        Ok(Some(part.range(row).all(|wanted| match want.is_null(wanted) {
            true => null_is_value && whole.range(row).any(|i| have.is_null(i)),
            false => whole.range(row).any(|i| have.is_valid(i) && order(i, wanted).is_eq()),
        })))
    })
}

fn overlap(args: &[Datum], rows: usize, types: &Types<'_>, null_is_value: bool) -> Result<Datum> {
    let element = element_of(&types.args[0])?;
    let (a, b) = (column::<ListArray>(args, 0)?, column::<ListArray>(args, 1)?);
    let (left, right) = (a.values(), b.values());
    let order = comparator(element, left.as_ref(), right.as_ref());
    bool_rows(args, rows, types, |row| {
        Ok(Some(a.range(row).any(|i| {
            b.range(row).any(|j| match (left.is_null(i), right.is_null(j)) {
                (false, false) => order(i, j).is_eq(),
                (a, b) => null_is_value && a && b,
            })
        })))
    })
}

fn has(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (lists, equal) = matches(args, 1, rows, types)?;
    let (answers, only) = (equal.values(), &args[..1]);
    if args.iter().all(|arg| matches!(arg, Datum::Scalar(_))) || matches!(args[0], Datum::Array(_)) {
        return bool_rows(only, rows, types, |row| {
            let range = range_of(&lists, row);
            Ok(Some(answers.slice(range.start, range.len()).has_true()))
        });
    }
    let found = (0..lists.len()).map(|row| {
        let range = range_of(&lists, row);
        lists.is_valid(row).then(|| answers.slice(range.start, range.len()).has_true())
    });
    Ok(Datum::Array(std::sync::Arc::new(found.collect::<arrow::array::BooleanArray>())))
}

/// A number a row from which of its elements match.
fn count_rows(args: &[Datum], rows: usize, types: &Types<'_>, body: impl Fn(&[bool]) -> i64) -> Result<Datum> {
    let (lists, equal) = matches(args, 1, rows, types)?;
    let mut row_of = Vec::new();
    batch(args, rows, types, |rows| {
        let mut out = Vec::with_capacity(rows);
        for row in 0..rows {
            if lists.is_null(row) {
                out.push(None);
                continue;
            }
            row_of.clear();
            row_of.extend(range_of(&lists, row).map(|i| equal.value(i)));
            out.push(Some(body(&row_of)));
        }
        Ok(std::sync::Arc::new(arrow::array::PrimitiveArray::<Int64Type>::from(out)))
    })
}

fn position(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (lists, equal) = matches(&args[..2], 1, rows, types)?;
    // One row for each result row, whether the first two arguments are constants or not.
    let spread = lists.len() == 1 && rows != 1;
    let starts = if args.len() > 2 { Some(primitive::<Int32Type>(args, 2)?) } else { None };
    batch(args, rows, types, |rows| {
        let mut out = Vec::with_capacity(rows);
        for row in 0..rows {
            let list = if spread { 0 } else { row };
            if lists.is_null(list) {
                out.push(None);
                continue;
            }
            let start = match starts {
                None => 1,
                Some(starts) if starts.is_null(row) => {
                    return Err(Error::new(ErrorKind::NullNotAllowed, "initial position must not be null"));
                }
                Some(starts) => starts.at(row).max(1),
            };
            let mut range = range_of(&lists, list);
            let first = range.start;
            let found = range.find(|i| i - first + 1 >= start as usize && equal.value(*i));
            out.push(found.map(|i| (i - first + 1) as i32));
        }
        Ok(std::sync::Arc::new(arrow::array::PrimitiveArray::<Int32Type>::from(out)))
    })
}

fn positions(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (lists, equal) = matches(args, 1, rows, types)?;
    let longest = (0..lists.len()).map(|row| range_of(&lists, row).len()).max().unwrap_or(0);
    let numbers: arrow::array::ArrayRef =
        std::sync::Arc::new(arrow::array::Int32Array::from_iter_values(1..=longest as i32));
    array_rows(args, rows, types, false, &[&numbers], |row, out| {
        if lists.is_null(row) {
            return Ok(false);
        }
        let range = range_of(&lists, row);
        out.extend(0, range.clone().filter(|i| equal.value(*i)).map(|i| i - range.start));
        Ok(true)
    })
}

fn remove(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (lists, equal) = matches(args, 1, rows, types)?;
    array_rows(args, rows, types, false, &[lists.values()], |row, out| {
        if lists.is_null(row) {
            return Ok(false);
        }
        out.extend(0, range_of(&lists, row).filter(|i| !equal.value(*i)));
        Ok(true)
    })
}

fn replace(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let constant = args.iter().all(|arg| matches!(arg, Datum::Scalar(_)));
    let rows_in = if constant { 1 } else { rows };
    let list = Datum::Array(args[0].clone().into_array(rows_in)?);
    let (lists, equal) = matches(&[list, args[1].clone()], 1, rows_in, types)?;
    let new = &args[2];
    array_rows(args, rows, types, false, &[lists.values(), new.array()], |row, out| {
        if lists.is_null(row) {
            return Ok(false);
        }
        let at = if matches!(new, Datum::Scalar(_)) { 0 } else { row };
        for i in range_of(&lists, row) {
            match equal.value(i) {
                false => out.push(0, i),
                true if new.array().is_null(at) => out.push_null(),
                true => out.push(1, at),
            }
        }
        Ok(true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_constants_stands_for_every_row() {
        let context = Context::detached();
        let list = crate::format::parse_text(&Type::Array(Box::new(Type::Int4)), "{5,NULL,5}", &context);
        let list = list.expect("an array");
        let needle = weir_sql::Value::int4(5);
        let types = [list.ty.clone(), Type::Int4];
        let types = Types { args: &types, result: &Type::Int8 };
        let found = count_rows(&[Datum::Scalar(list), Datum::Scalar(needle)], 7, &types, |is| is.len() as i64);
        let found = found.expect("it counts").into_array(7).expect("a column");
        let found: Vec<i64> =
            (0..7).map(|row| arrow::array::AsArray::as_primitive::<Int64Type>(&found).value(row)).collect();
        assert_eq!(found, [3; 7]);
    }
}
