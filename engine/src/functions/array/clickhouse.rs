//! ClickHouse's functions that make arrays of arrays: sorting, reversing, distinct elements, slices, `range`.
//!
//! Order and equality of elements are those of ORDER BY: each element becomes bytes that compare as it does.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::Int64Type;
use arrow::row::Rows;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::super::declare::{ARRAY, INT8, function, strict};
use super::super::json::values::zero;
use super::super::rows::{batch, bool_rows, column, invalid_parameter, is_valid, nulls_of, primitive, primitive_rows};
use super::super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use super::lambda::over_lambda;
use super::{ELEMENTS_MAX, array_rows, count, element_of, too_many};
use crate::error::Result;
use crate::exec::keys::{normalize, row_converter};

use Param::{AnyArray, AnyElement};

pub(super) fn functions() -> Vec<ScalarFunction> {
    let mut all = reordering();
    all.extend(cutting());
    all.extend(measuring());
    all
}

fn reordering() -> Vec<ScalarFunction> {
    let same = |kernel: Kernel| vec![Overload::new(vec![AnyArray], Returns::ArrayOfElement, kernel)];
    let sorted = |kernel: Kernel| {
        let plain = Overload::new(vec![AnyArray], Returns::ArrayOfElement, kernel);
        vec![plain, over_lambda(Param::Lambda, Returns::Argument(1), kernel)]
    };
    vec![
        function(
            &["arraySort", "list_sort", "array_sort"],
            ARRAY,
            "The elements in ascending order, or in that of a lambda's values, NULLs last.",
            ("arraySort(ARRAY[3, NULL, 1, 2])", "{1,2,3,NULL}"),
            sorted(|_, a, n, ty| sort(a, n, ty, false)),
        ),
        function(
            &["arrayReverseSort"],
            ARRAY,
            "The elements in descending order, or in that of a lambda's values, NULLs last.",
            ("arrayReverseSort(ARRAY[3, NULL, 1, 2])", "{3,2,1,NULL}"),
            sorted(|_, a, n, ty| sort(a, n, ty, true)),
        ),
        function(
            &["arrayReverse", "reverse", "list_reverse", "array_reverse"],
            ARRAY,
            "The elements from the last to the first.",
            ("arrayReverse(ARRAY[1, 2, 3])", "{3,2,1}"),
            same(|_, a, n, ty| {
                let lists = column::<ListArray>(a, 0)?;
                array_rows(a, n, ty, true, &[lists.values()], |row, out| {
                    out.extend(0, lists.range(row).rev());
                    Ok(true)
                })
            }),
        ),
        function(
            &["arrayDistinct", "list_distinct", "array_distinct"],
            ARRAY,
            "The elements without NULLs and what came before.",
            ("arrayDistinct(ARRAY[1, 2, 2, NULL, 1])", "{1,2}"),
            same(|_, a, n, ty| {
                let lists = column::<ListArray>(a, 0)?;
                let (values, keys) = (lists.values(), keys_of(a, ty, 0)?);
                let mut seen = HashSet::new();
                array_rows(a, n, ty, true, &[values], |row, out| {
                    seen.clear();
                    out.extend(0, lists.range(row).filter(|&i| values.is_valid(i) && seen.insert(keys.row(i))));
                    Ok(true)
                })
            }),
        ),
        function(
            &["arrayCompact"],
            ARRAY,
            "The elements without those that equal the one before.",
            ("arrayCompact(ARRAY[1, 1, 2, 2, 1])", "{1,2,1}"),
            same(|_, a, n, ty| {
                let lists = column::<ListArray>(a, 0)?;
                let keys = keys_of(a, ty, 0)?;
                array_rows(a, n, ty, true, &[lists.values()], |row, out| {
                    let range = lists.range(row);
                    let first = range.start;
                    out.extend(0, range.filter(|&i| i == first || keys.row(i) != keys.row(i - 1)));
                    Ok(true)
                })
            }),
        ),
        function(
            &["arrayConcat", "list_concat", "list_cat", "array_concat"],
            ARRAY,
            "The elements of all arrays.",
            ("arrayConcat(ARRAY[1, 2], ARRAY[3], ARRAY[4])", "{1,2,3,4}"),
            vec![Overload::new(vec![AnyArray], Returns::ArrayOfElement, super::postgres::concatenate).variadic()],
        ),
        function(
            &["arrayPushFront"],
            ARRAY,
            "The array with one more element at its start.",
            ("arrayPushFront(ARRAY[2, 3], 1)", "{1,2,3}"),
            vec![
                Overload::new(vec![AnyArray, AnyElement], Returns::ArrayOfElement, |_, a, n, ty| {
                    let lists = column::<ListArray>(a, 0)?;
                    let constant = matches!(a[1], Datum::Scalar(_));
                    array_rows(a, n, ty, false, &[lists.values(), a[1].array()], |row, out| {
                        out.push(1, if constant { 0 } else { row });
                        if !lists.is_null(row) {
                            out.extend(0, lists.range(row));
                        }
                        Ok(true)
                    })
                })
                .lax(),
            ],
        ),
        function(
            &["arrayFlatten", "flatten"],
            ARRAY,
            "The elements of an array of arrays, however deep, as one array.",
            ("arrayFlatten(arrayMap(x -> range(x), ARRAY[1, 2, 3]))", "{0,0,1,0,1,2}"),
            vec![Overload::new(vec![AnyArray], Returns::Computed(flat_type), flatten)],
        ),
        function(
            &["arrayEnumerateUniq"],
            ARRAY,
            "For each element, how many equal ones there were up to it.",
            ("arrayEnumerateUniq(ARRAY[10, 20, 10, 30])", "{1,1,2,1}"),
            vec![Overload::new(vec![AnyArray], Returns::Exact(Type::Array(Box::new(Type::Int8))), |_, a, n, ty| {
                let (lists, keys) = (column::<ListArray>(a, 0)?, keys_of(a, ty, 0)?);
                let mut seen = HashMap::new();
                numbers(a, n, ty, |row, out| {
                    seen.clear();
                    out.extend(lists.range(row).map(|i| {
                        let times = seen.entry(keys.row(i)).or_insert(0);
                        *times += 1;
                        *times
                    }));
                    Ok(())
                })
            })],
        ),
        function(
            &["arrayIntersect", "list_intersect", "array_intersect"],
            ARRAY,
            "The distinct elements that all arrays have.",
            ("arrayIntersect(ARRAY[1, 2, 3], ARRAY[3, 2], ARRAY[2, 5])", "{2}"),
            vec![Overload::new(vec![AnyArray], Returns::ArrayOfElement, intersect).variadic()],
        ),
    ]
}

fn cutting() -> Vec<ScalarFunction> {
    let same = |kernel: Kernel| vec![Overload::new(vec![AnyArray], Returns::ArrayOfElement, kernel)];
    vec![
        function(
            &["arrayPopBack"],
            ARRAY,
            "The array without its last element.",
            ("arrayPopBack(ARRAY[1, 2, 3])", "{1,2}"),
            same(|_, a, n, ty| {
                let lists = column::<ListArray>(a, 0)?;
                array_rows(a, n, ty, true, &[lists.values()], |row, out| {
                    let range = lists.range(row);
                    out.extend(0, range.start..range.end.saturating_sub(1).max(range.start));
                    Ok(true)
                })
            }),
        ),
        function(
            &["arrayPopFront"],
            ARRAY,
            "The array without its first element.",
            ("arrayPopFront(ARRAY[1, 2, 3])", "{2,3}"),
            same(|_, a, n, ty| {
                let lists = column::<ListArray>(a, 0)?;
                array_rows(a, n, ty, true, &[lists.values()], |row, out| {
                    out.extend(0, lists.range(row).skip(1));
                    Ok(true)
                })
            }),
        ),
        function(
            &["arraySlice"],
            ARRAY,
            "The elements from a number on (from the end, if it is negative), so many of them if a length is given.",
            ("arraySlice(ARRAY[1, 2, 3, 4, 5], 2, 3)", "{2,3,4}"),
            vec![Overload::new(vec![AnyArray, INT8, INT8], Returns::ArrayOfElement, slice).optional(1)],
        ),
        function(
            &["arrayResize"],
            ARRAY,
            "The array cut, or filled with a value (its type's zero by default), to a length.",
            ("arrayResize(ARRAY[1, 2], 4, 9)", "{1,2,9,9}"),
            vec![Overload::new(vec![AnyArray, INT8, AnyElement], Returns::ArrayOfElement, resize).optional(1)],
        ),
        function(
            &["range"],
            ARRAY,
            "The integers from a start (0 by default) up to an end that is not among them, in steps.",
            ("range(1, 7, 2)", "{1,3,5}"),
            vec![strict([INT8, INT8, INT8], Type::Array(Box::new(Type::Int8)), range).optional(2)],
        ),
        function(
            &["arrayElement"],
            ARRAY,
            "The element of this number, from 1, or from the end with -1 the last; its type's zero if there is none.",
            ("arrayElement(ARRAY[7, 8, 9], -1)", "9"),
            vec![Overload::new(vec![AnyArray, INT8], Returns::Element, element)],
        ),
        function(
            &["arrayEnumerate"],
            ARRAY,
            "The numbers of the elements, from 1.",
            ("arrayEnumerate(ARRAY['a', 'b'])", "{1,2}"),
            vec![Overload::new(vec![AnyArray], Returns::Exact(Type::Array(Box::new(Type::Int8))), |_, a, n, ty| {
                let lists = column::<ListArray>(a, 0)?;
                numbers(a, n, ty, |row, out| {
                    out.extend(1..=count(&lists, row) as i64);
                    Ok(())
                })
            })],
        ),
    ]
}

fn measuring() -> Vec<ScalarFunction> {
    let of = |returns: Type, kernel: Kernel| vec![Overload::new(vec![AnyArray], Returns::Exact(returns), kernel)];
    vec![
        function(
            &["length", "len"],
            ARRAY,
            "The number of elements.",
            ("length(ARRAY[1, 2, 3])", "3"),
            of(Type::Int8, |_, a, n, ty| {
                let lists = column::<ListArray>(a, 0)?;
                primitive_rows::<Int64Type>(a, n, ty, |row| Ok(Some(count(&lists, row) as i64)))
            }),
        ),
        function(
            &["empty"],
            ARRAY,
            "Whether the array has no elements.",
            ("empty(ARRAY[1])", "f"),
            of(Type::Bool, |_, a, n, ty| {
                let lists = column::<ListArray>(a, 0)?;
                bool_rows(a, n, ty, |row| Ok(Some(count(&lists, row) == 0)))
            }),
        ),
        function(
            &["notEmpty"],
            ARRAY,
            "Whether the array has any elements.",
            ("notEmpty(ARRAY[1])", "t"),
            of(Type::Bool, |_, a, n, ty| {
                let lists = column::<ListArray>(a, 0)?;
                bool_rows(a, n, ty, |row| Ok(Some(count(&lists, row) > 0)))
            }),
        ),
        function(
            &["arrayUniq"],
            ARRAY,
            "How many distinct elements there are.",
            ("arrayUniq(ARRAY[1, 2, 2])", "2"),
            of(Type::Int8, |_, a, n, ty| {
                let (lists, keys) = (column::<ListArray>(a, 0)?, keys_of(a, ty, 0)?);
                let mut seen = HashSet::new();
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    seen.clear();
                    seen.extend(lists.range(row).map(|i| keys.row(i)));
                    Ok(Some(seen.len() as i64))
                })
            }),
        ),
    ]
}

/// The elements of an argument's arrays as bytes that compare as they do, NULLs last.
pub(super) fn keys_of(args: &[Datum], types: &Types<'_>, index: usize) -> Result<Rows> {
    let element = element_of(&types.args[index])?;
    let lists = column::<ListArray>(args, index)?;
    let options = SortOptions { descending: false, nulls_first: false };
    let converter = row_converter(std::slice::from_ref(element), &[options])?;
    Ok(converter.convert_columns(&[normalize(element, lists.values())?])?)
}

/// The keys are the first argument, a lambda's values where there are more.
pub(super) fn sort(args: &[Datum], rows: usize, types: &Types<'_>, descending: bool) -> Result<Datum> {
    let (by, keys) = (column::<ListArray>(args, 0)?, keys_of(args, types, 0)?);
    let lists = column::<ListArray>(args, usize::from(args.len() > 1))?;
    let mut order = Vec::new();
    array_rows(args, rows, types, true, &[lists.values()], |row, out| {
        let first = by.range(row).start;
        order.clear();
        order.extend(by.range(row));
        match descending {
            false => order.sort_by_key(|&i| keys.row(i)),
            true => order.sort_by_key(|&i| (by.values().is_null(i), Reverse(keys.row(i)))),
        }
        let start = lists.range(row).start;
        out.extend(0, order.iter().map(|i| start + i - first));
        Ok(true)
    })
}

fn flat_type(types: &[Type]) -> Type {
    let mut element = &types[0];
    while let Type::Array(inner) = element {
        element = inner;
    }
    Type::Array(Box::new(element.clone()))
}

fn flatten(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let lists = column::<ListArray>(args, 0)?;
    // The lists at each depth below the first; the elements of neighbours are neighbours.
    let mut inner: Vec<&ListArray> = Vec::new();
    let mut values = lists.values();
    while let Some(list) = values.as_any().downcast_ref::<ListArray>() {
        inner.push(list);
        values = list.values();
    }
    array_rows(args, rows, types, true, &[values], |row, out| {
        let range = inner.iter().fold(lists.range(row), |range, list| {
            let offsets = list.value_offsets();
            offsets[range.start] as usize..offsets[range.end] as usize
        });
        out.extend(0, range);
        Ok(true)
    })
}

fn intersect(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let lists = (0..args.len()).map(|i| column::<ListArray>(args, i)).collect::<Result<Vec<_>>>()?;
    let keys = (0..args.len()).map(|i| keys_of(args, types, i)).collect::<Result<Vec<_>>>()?;
    array_rows(args, rows, types, true, &[lists[0].values()], |row, out| {
        // Each element of the first, with how many of the arrays in a row have it.
        let mut found: HashMap<_, usize> = lists[0].range(row).map(|i| (keys[0].row(i), 1)).collect();
        for (at, list) in lists.iter().enumerate().skip(1) {
            for i in list.range(row) {
                if let Some(so_far) = found.get_mut(&keys[at].row(i))
                    && *so_far == at
                {
                    *so_far += 1;
                }
            }
        }
        for i in lists[0].range(row) {
            if found.remove(&keys[0].row(i)) == Some(lists.len()) {
                out.push(0, i);
            }
        }
        Ok(true)
    })
}

fn slice(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (lists, offsets) = (column::<ListArray>(args, 0)?, primitive::<Int64Type>(args, 1)?);
    let lengths = if args.len() > 2 { Some(primitive::<Int64Type>(args, 2)?) } else { None };
    array_rows(args, rows, types, true, &[lists.values()], |row, out| {
        let range = lists.range(row);
        let count = range.len() as i64;
        let from = match offsets.at(row) {
            0 => return Err(invalid_parameter("the elements of an array are counted from 1")),
            offset @ 1.. => offset - 1,
            offset => count.saturating_add(offset),
        };
        // A length that is negative leaves so many off at the end.
        let to = match lengths.map(|lengths| lengths.at(row)) {
            None => count,
            Some(length @ 0..) => from.saturating_add(length),
            Some(length) => count.saturating_add(length),
        };
        let (from, to) = (from.clamp(0, count), to.clamp(0, count));
        out.extend(0, range.start + from as usize..range.start + to.max(from) as usize);
        Ok(true)
    })
}

fn resize(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (lists, sizes) = (column::<ListArray>(args, 0)?, primitive::<Int64Type>(args, 1)?);
    let element = element_of(types.result)?;
    let zero = zero(context, element).unwrap_or_else(|| weir_sql::Value::null(element.clone()));
    let filler = args.get(2).map_or(&zero.array, Datum::array);
    let constant = args.get(2).is_none_or(|filler| matches!(filler, Datum::Scalar(_)));
    array_rows(args, rows, types, true, &[lists.values(), filler], |row, out| {
        let range = lists.range(row);
        let size = sizes.at(row);
        let wanted = usize::try_from(size.unsigned_abs()).ok().filter(|size| *size as i64 <= ELEMENTS_MAX);
        let wanted = wanted.ok_or_else(too_many)?;
        let (kept, added) = (range.len().min(wanted), wanted.saturating_sub(range.len()));
        let filling = |out: &mut super::Assembly| (0..added).for_each(|_| out.push(1, if constant { 0 } else { row }));
        if size < 0 {
            filling(out);
            out.extend(0, range.end - kept..range.end);
        } else {
            out.extend(0, range.start..range.start + kept);
            filling(out);
        }
        Ok(true)
    })
}

/// A strict kernel that makes arrays of bigints.
pub(super) fn numbers(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    mut body: impl FnMut(usize, &mut Vec<i64>) -> Result<()>,
) -> Result<Datum> {
    batch(args, rows, types, |rows| {
        let nulls = nulls_of(args, rows);
        let (mut values, mut lengths) = (Vec::new(), Vec::with_capacity(rows));
        for row in 0..rows {
            let before = values.len();
            if is_valid(&nulls, row) {
                body(row, &mut values)?;
            }
            if values.len() as i64 > ELEMENTS_MAX {
                return Err(too_many());
            }
            lengths.push(values.len() - before);
        }
        let values: ArrayRef = Arc::new(Int64Array::from(values));
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(Type::Int8.element_field(), offsets, values, nulls)?))
    })
}

fn range(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let bounds = (0..args.len()).map(|i| primitive::<Int64Type>(args, i)).collect::<Result<Vec<_>>>()?;
    numbers(args, rows, types, |row, out| {
        let (start, end, step) = match bounds.as_slice() {
            [end] => (0, end.at(row), 1),
            [start, end] => (start.at(row), end.at(row), 1),
            [start, end, step] => (start.at(row), end.at(row), step.at(row)),
            _ => return Ok(()),
        };
        if step == 0 {
            return Err(invalid_parameter("step size cannot equal zero"));
        }
        let (span, step) = (i128::from(end) - i128::from(start), i128::from(step));
        let count = ((span + step - step.signum()) / step).max(0);
        if out.len() as i128 + count > i128::from(ELEMENTS_MAX) {
            return Err(too_many());
        }
        out.extend((0..count).map(|at| (i128::from(start) + at * step) as i64));
        Ok(())
    })
}

fn element(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (lists, numbers) = (column::<ListArray>(args, 0)?, primitive::<Int64Type>(args, 1)?);
    let zero = zero(context, types.result).unwrap_or_else(|| weir_sql::Value::null(types.result.clone()));
    batch(args, rows, types, |rows| {
        let nulls = nulls_of(args, rows);
        let mut indices = Vec::with_capacity(rows);
        for row in 0..rows {
            if !is_valid(&nulls, row) {
                indices.push((0, 0));
                continue;
            }
            let range = lists.range(row);
            let index = match numbers.at(row) {
                // There is no such element.
                0 => -1,
                number @ 1.. => number - 1,
                number => range.len() as i64 + number,
            };
            indices.push(match usize::try_from(index).ok().filter(|index| *index < range.len()) {
                Some(index) => (1, range.start + index),
                None => (0, 0),
            });
        }
        Ok(arrow::compute::interleave(&[zero.array.as_ref(), lists.values().as_ref()], &indices)?)
    })
}
