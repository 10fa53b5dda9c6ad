//! ClickHouse's functions of arrays by the places of their elements: shifts, partial sorts, places by value, shingles, and empty arrays of each type.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{Float64Type, Int64Type};
use weir_sql::catalog::{Param, Returns};
use weir_sql::{Type, Value};

use super::super::declare::{ARRAY, INT8, function, strict};
use super::super::json::values::zero;
use super::super::rows::{batch, bool_rows, column, invalid_parameter, is_valid, nulls_of, primitive, primitive_rows};
use super::super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use super::clickhouse::{keys_of, numbers};
use super::sets::keys;
use super::{array_rows, element_of, lists_equal_length};
use crate::error::Result;

use Param::{AnyArray, AnyElement};

pub(super) fn functions() -> Vec<ScalarFunction> {
    let mut all = moving();
    all.extend(comparing());
    all.extend(empty());
    all
}

fn moving() -> Vec<ScalarFunction> {
    let shifted = |kernel: Kernel| {
        vec![Overload::new(vec![AnyArray, INT8, AnyElement], Returns::ArrayOfElement, kernel).optional(1)]
    };
    let partial = |kernel: Kernel| vec![Overload::new(vec![INT8, AnyArray], Returns::ArrayOfElement, kernel)];
    let whole = Returns::Exact(Type::Array(Box::new(Type::Int8)));
    vec![
        function(
            &["arrayShiftLeft"],
            ARRAY,
            "The elements so many places to the left, a value (their type's zero) in those that become free.",
            ("arrayShiftLeft(ARRAY[1, 2, 3], 1)", "{2,3,0}"),
            shifted(|c, a, n, ty| shift(c, a, n, ty, 1)),
        ),
        function(
            &["arrayShiftRight"],
            ARRAY,
            "The elements so many places to the right, a value (their type's zero) in those that become free.",
            ("arrayShiftRight(ARRAY[1, 2, 3], 1, 9)", "{9,1,2}"),
            shifted(|c, a, n, ty| shift(c, a, n, ty, -1)),
        ),
        function(
            &["arrayPartialSort"],
            ARRAY,
            "The elements, of which so many at the start are the least, in ascending order.",
            ("arrayPartialSort(2, ARRAY[5, 9, 1, 3])", "{1,3,5,9}"),
            partial(|_, a, n, ty| partial_sort(a, n, ty, false)),
        ),
        function(
            &["arrayPartialReverseSort"],
            ARRAY,
            "The elements, of which so many at the start are the greatest, in descending order.",
            ("arrayPartialReverseSort(2, ARRAY[5, 9, 1, 3])", "{9,5,3,1}"),
            partial(|_, a, n, ty| partial_sort(a, n, ty, true)),
        ),
        function(
            &["arrayEnumerateDense", "arrayEnumerateDenseRanked"],
            ARRAY,
            "For each element, which of the different elements it is, from 1, in the order in which they first come.",
            ("arrayEnumerateDense(ARRAY[10, 20, 10, 30])", "{1,2,1,3}"),
            vec![Overload::new(vec![AnyArray], whole, |_, a, n, ty| {
                let (lists, keys) = (column::<ListArray>(a, 0)?, keys_of(a, ty, 0)?);
                let mut seen = HashMap::new();
                numbers(a, n, ty, |row, out| {
                    seen.clear();
                    out.extend(lists.range(row).map(|i| {
                        let next = seen.len() as i64 + 1;
                        *seen.entry(keys.row(i)).or_insert(next)
                    }));
                    Ok(())
                })
            })],
        ),
        function(
            &["arrayShingles"],
            ARRAY,
            "The runs of so many elements that the array is made of, each one element after the last.",
            ("arrayShingles(ARRAY[1, 2, 3], 2)", "{{1,2},{2,3}}"),
            vec![Overload::new(
                vec![AnyArray, INT8],
                Returns::Computed(|types| Type::Array(Box::new(types[0].clone()))),
                shingles,
            )],
        ),
        function(
            &["indexOfAssumeSorted"],
            ARRAY,
            "The number of the first element that equals a value, from 1, in an array in ascending order; 0 if there is none.",
            ("indexOfAssumeSorted(ARRAY[1, 3, 3, 5], 3)", "2"),
            vec![Overload::new(vec![AnyArray, AnyElement], Returns::Exact(Type::Int8), |_, a, n, ty| {
                let (all, equal) = super::matches(a, 1, n, ty)?;
                let constant = all.len() == 1;
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    let mut range = super::range_of(&all, if constant { 0 } else { row });
                    Ok(Some(range.position(|i| equal.value(i)).map_or(0, |at| at as i64 + 1)))
                })
            })],
        ),
        function(
            &["emptyArrayToSingle"],
            ARRAY,
            "The array; if it is empty, one of its type's zero.",
            ("emptyArrayToSingle(ARRAY[]::int[])", "{0}"),
            vec![Overload::new(vec![AnyArray], Returns::ArrayOfElement, |context, a, n, ty| {
                let lists = column::<ListArray>(a, 0)?;
                let zero = zero_of(context, ty)?;
                array_rows(a, n, ty, true, &[lists.values(), &zero.array], |row, out| {
                    match lists.range(row) {
                        range if range.is_empty() => out.push(1, 0),
                        range => out.extend(0, range),
                    }
                    Ok(true)
                })
            })],
        ),
    ]
}

fn comparing() -> Vec<ScalarFunction> {
    vec![
        function(
            &["hasSubstr"],
            ARRAY,
            "Whether the second array's elements follow each other in the first as they do in the second.",
            ("hasSubstr(ARRAY[1, 2, 3], ARRAY[2, 3])", "t"),
            vec![Overload::new(vec![AnyArray, AnyArray], Returns::Exact(Type::Bool), |_, a, n, ty| {
                let (keys, starts) = keys(a, ty)?;
                let (lists, parts) = (column::<ListArray>(a, 0)?, column::<ListArray>(a, 1)?);
                bool_rows(a, n, ty, |row| {
                    let (list, part) = (lists.range(row), parts.range(row));
                    let same = |at: usize| {
                        part.clone().enumerate().all(|(i, other)| keys.row(at + i) == keys.row(starts[1] + other))
                    };
                    Ok(Some((list.start..=list.end).take_while(|at| at + part.len() <= list.end).any(same)))
                })
            })],
        ),
        function(
            &["arrayJaccardIndex"],
            ARRAY,
            "How many different elements two arrays have in common, of all that either has.",
            ("arrayJaccardIndex(ARRAY[1, 2], ARRAY[2, 3])", "0.3333333333333333"),
            vec![Overload::new(vec![AnyArray, AnyArray], Returns::Exact(Type::Float8), |_, a, n, ty| {
                let (keys, starts) = keys(a, ty)?;
                let lists = [column::<ListArray>(a, 0)?, column::<ListArray>(a, 1)?];
                primitive_rows::<Float64Type>(a, n, ty, |row| {
                    let [left, right] = [0, 1].map(|at: usize| {
                        lists[at].range(row).map(|i| keys.row(starts[at] + i)).collect::<HashSet<_>>()
                    });
                    Ok(Some(left.intersection(&right).count() as f64 / left.union(&right).count() as f64))
                })
            })],
        ),
        function(
            &["arrayLevenshteinDistance"],
            ARRAY,
            "How many elements must be added, taken away or replaced to make one array the other.",
            ("arrayLevenshteinDistance(ARRAY[1, 2, 4], ARRAY[1, 2, 3])", "1"),
            vec![Overload::new(vec![AnyArray, AnyArray], Returns::Exact(Type::Int8), |_, a, n, ty| {
                let (keys, starts) = keys(a, ty)?;
                let (left, right) = (column::<ListArray>(a, 0)?, column::<ListArray>(a, 1)?);
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    let same = |l: usize, r: usize| keys.row(l) == keys.row(starts[1] + r);
                    Ok(Some(levenshtein(left.range(row), right.range(row), same)))
                })
            })],
        ),
        function(
            &["arraySymmetricDifference"],
            ARRAY,
            "The different elements that are in some of the arrays, not in all, in the order in which they first come.",
            ("arraySymmetricDifference(ARRAY[1, 2], ARRAY[2, 3])", "{1,3}"),
            vec![
                Overload::new(vec![AnyArray], Returns::ArrayOfElement, |_, a, n, ty| {
                    let (keys, starts) = keys(a, ty)?;
                    let lists = (0..a.len()).map(|at| column::<ListArray>(a, at)).collect::<Result<Vec<_>>>()?;
                    let sources: Vec<&ArrayRef> = lists.iter().map(|list| list.values()).collect();
                    array_rows(a, n, ty, true, &sources, |row, out| {
                        // In how many arrays each is, and in which it was last seen.
                        let mut seen = HashMap::new();
                        for (source, list) in lists.iter().enumerate() {
                            for i in list.range(row) {
                                let (count, last) = seen.entry(keys.row(starts[source] + i)).or_insert((0, usize::MAX));
                                *count += usize::from(*last != source);
                                *last = source;
                            }
                        }
                        for (source, list) in lists.iter().enumerate() {
                            let some = |i: &usize| {
                                let seen = seen.remove(&keys.row(starts[source] + i));
                                seen.is_some_and(|(count, _)| count < lists.len())
                            };
                            out.extend(source, list.range(row).filter(some).collect::<Vec<_>>());
                        }
                        Ok(true)
                    })
                })
                .variadic(),
            ],
        ),
        function(
            &["arrayAUC", "arrayROCAUC"],
            ARRAY,
            "The area under the ROC curve of scores, given which of them are of the class sought (a label above 0).",
            ("arrayAUC(ARRAY[0.1, 0.4, 0.35, 0.8], ARRAY[0, 0, 1, 1])", "0.75"),
            vec![strict([floats(), floats()], Type::Float8, |_, a, n, ty| scored(a, n, ty, roc_area))],
        ),
        function(
            &["arrayAUCPR", "arrayPRAUC"],
            ARRAY,
            "The area under the curve of precision over recall of scores, given which of them are of the class sought (a label above 0).",
            ("arrayAUCPR(ARRAY[0.1, 0.4, 0.35, 0.8], ARRAY[0, 0, 1, 1])", "0.8333333333333333"),
            vec![strict([floats(), floats()], Type::Float8, |_, a, n, ty| scored(a, n, ty, pr_area))],
        ),
    ]
}

fn floats() -> Param {
    Param::Exact(Type::Array(Box::new(Type::Float8)))
}

/// emptyArrayInt32() and its kin.
fn empty() -> Vec<ScalarFunction> {
    macro_rules! of {
        ($name:literal, $ty:expr) => {
            function(
                &[concat!("emptyArray", $name)],
                ARRAY,
                "An array of this type without elements.",
                (concat!("emptyArray", $name, "()"), "{}"),
                vec![strict([], Type::Array(Box::new($ty)), |_, _, _, ty| {
                    let none = arrow::array::new_empty_array(&element_of(ty)?.to_arrow());
                    let list =
                        ListArray::new(element_of(ty)?.element_field(), OffsetBuffer::from_lengths([0]), none, None);
                    Ok(Datum::Scalar(Value::new(ty.result.clone(), Arc::new(list))))
                })],
            )
        };
    }
    vec![
        of!("Int8", Type::Int2),
        of!("Int16", Type::Int2),
        of!("Int32", Type::Int4),
        of!("Int64", Type::Int8),
        of!("UInt8", Type::UInt8),
        of!("UInt16", Type::UInt16),
        of!("UInt32", Type::UInt32),
        of!("UInt64", Type::UInt64),
        of!("Float32", Type::Float4),
        of!("Float64", Type::Float8),
        of!("Date", Type::Date),
        of!("DateTime", Type::Timestamptz),
        of!("String", Type::Text),
    ]
}

/// The zero of the result's elements.
fn zero_of(context: &Context, types: &Types<'_>) -> Result<Value> {
    let element = element_of(types.result)?;
    Ok(zero(context, element).unwrap_or_else(|| Value::null(element.clone())))
}

fn shift(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>, direction: i64) -> Result<Datum> {
    let (lists, steps) = (column::<ListArray>(args, 0)?, primitive::<Int64Type>(args, 1)?);
    let zero = zero_of(context, types)?;
    let (filling, constant) = match args.get(2) {
        Some(datum) => (datum.array(), matches!(datum, Datum::Scalar(_))),
        None => (&zero.array, true),
    };
    array_rows(args, rows, types, true, &[lists.values(), filling], |row, out| {
        let range = lists.range(row);
        let count = range.len() as i64;
        let step = steps.at(row).clamp(-count, count) * direction;
        for place in 0..count {
            match place + step {
                from if (0..count).contains(&from) => out.push(0, range.start + from as usize),
                _ => out.push(1, if constant { 0 } else { row }),
            }
        }
        Ok(true)
    })
}

/// A sort of all elements is a partial one.
fn partial_sort(args: &[Datum], rows: usize, types: &Types<'_>, reverse: bool) -> Result<Datum> {
    super::clickhouse::sort(&args[1..], rows, &Types { args: &types.args[1..], result: types.result }, reverse)
}

fn shingles(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (lists, sizes) = (column::<ListArray>(args, 0)?, primitive::<Int64Type>(args, 1)?);
    let piece = element_of(types.result)?;
    batch(args, rows, types, |rows| {
        let nulls = nulls_of(args, rows);
        let (mut places, mut pieces, mut counts): (Vec<u32>, Vec<usize>, Vec<usize>) = Default::default();
        for row in 0..rows {
            let before = pieces.len();
            if is_valid(&nulls, row) {
                let range = lists.range(row);
                let size = usize::try_from(sizes.at(row)).ok().filter(|size| (1..=range.len()).contains(size));
                let size = size.ok_or_else(|| {
                    invalid_parameter("the length of shingles must be between 1 and that of the array")
                })?;
                for start in range.start..=range.end - size {
                    places.extend((start..start + size).map(|at| at as u32));
                    pieces.push(size);
                }
            }
            counts.push(pieces.len() - before);
        }
        let values = take(lists.values(), &UInt32Array::from(places), None)?;
        let field = element_of(piece)?.element_field();
        let inner: ArrayRef = Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(pieces), values, None)?);
        Ok(Arc::new(ListArray::try_new(piece.element_field(), OffsetBuffer::from_lengths(counts), inner, nulls)?))
    })
}

fn levenshtein(
    left: std::ops::Range<usize>,
    right: std::ops::Range<usize>,
    same: impl Fn(usize, usize) -> bool,
) -> i64 {
    let mut above: Vec<i64> = (0..=right.len() as i64).collect();
    for l in left {
        let mut diagonal = above[0];
        above[0] += 1;
        for (at, r) in right.clone().enumerate() {
            let replaced = diagonal + i64::from(!same(l, r));
            diagonal = above[at + 1];
            above[at + 1] = replaced.min(above[at] + 1).min(diagonal + 1);
        }
    }
    above[right.len()]
}

/// The pairs of score and label of each row, the highest score first.
fn scored(args: &[Datum], rows: usize, types: &Types<'_>, area: fn(&[(f64, bool)]) -> f64) -> Result<Datum> {
    use arrow::array::AsArray;
    let (scores, labels) = (column::<ListArray>(args, 0)?, column::<ListArray>(args, 1)?);
    let [values, classes] = [scores, labels].map(|lists| lists.array.values().as_primitive::<Float64Type>());
    primitive_rows::<Float64Type>(args, rows, types, |row| {
        lists_equal_length(&[scores, labels], row)?;
        let pairs = scores.range(row).zip(labels.range(row));
        let mut pairs: Vec<(f64, bool)> = pairs.map(|(s, l)| (values.value(s), classes.value(l) > 0.0)).collect();
        pairs.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        Ok(Some(area(&pairs)))
    })
}

/// The runs of equal scores: how many of a run are of the class sought, and how many are not.
fn runs(pairs: &[(f64, bool)]) -> impl Iterator<Item = (f64, f64)> {
    pairs.chunk_by(|(a, _), (b, _)| a.total_cmp(b) == Ordering::Equal).map(|run| {
        let positive = run.iter().filter(|(_, class)| *class).count();
        (positive as f64, (run.len() - positive) as f64)
    })
}

fn roc_area(pairs: &[(f64, bool)]) -> f64 {
    let (mut area, mut hits, mut misses) = (0.0, 0.0, 0.0);
    for (positive, negative) in runs(pairs) {
        area += negative * (hits + positive / 2.0);
        hits += positive;
        misses += negative;
    }
    area / (hits * misses)
}

/// The sum over thresholds of precision times what recall gains.
fn pr_area(pairs: &[(f64, bool)]) -> f64 {
    let (mut area, mut hits, mut misses) = (0.0, 0.0, 0.0);
    for (positive, negative) in runs(pairs) {
        hits += positive;
        misses += negative;
        area += positive * hits / (hits + misses);
    }
    area / hits
}
