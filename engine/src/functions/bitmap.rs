//! ClickHouse's functions over bitmaps: sets of integers, the states of groupBitmap (see `aggregates::bitmap`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, Int64Array, ListArray, UInt32Array, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int64Type};
use roaring::RoaringTreemap;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};
use weir_sql::types::StateType;

use super::declare::{INT8, function};
use super::rows::{batch, bool_rows, column, invalid_parameter, primitive, primitive_rows};
use super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::aggregates::{bitmap_words, pack, read_bitmap, unpack, write_bitmap};
use crate::error::{Error, Result};

const FAMILY: &str = "bitmap";

type Set = RoaringTreemap;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = sets();
    all.extend(questions());
    all
}

/// Two sets that have 2 and 3 in common.
macro_rules! over_both {
    ($call:expr) => {
        concat!(
            "(SELECT ",
            $call,
            " FROM (SELECT bitmapBuild(ARRAY[1, 2, 3]) AS a, bitmapBuild(ARRAY[2, 3, 4, 5]) AS b) AS s)"
        )
    };
}

fn sets() -> Vec<ScalarFunction> {
    let pair = |names, doc, example: (&'static str, &'static str), kernel: Kernel| {
        function(
            names,
            FAMILY,
            doc,
            example,
            vec![Overload::new(vec![Param::AnyState; 2], Returns::Argument(0), kernel)],
        )
    };
    vec![
        function(
            &["bitmapBuild"],
            FAMILY,
            "The set of an array's integers.",
            ("bitmapCardinality(bitmapBuild(ARRAY[1, 2, 2]))", "2"),
            vec![Overload::new(vec![Param::AnyArray], Returns::Computed(state_of), build)],
        ),
        function(
            &["bitmapToArray"],
            FAMILY,
            "The integers of a set, in ascending order.",
            ("bitmapToArray(bitmapBuild(ARRAY[3, 1, 3]))", "{1,3}"),
            vec![Overload::new(vec![Param::AnyState], Returns::Computed(elements_of), to_array)],
        ),
        pair(
            &["bitmapAnd"],
            "What is in both sets.",
            (over_both!("bitmapToArray(bitmapAnd(a, b))"), "{2,3}"),
            |ctx, a, n, ty| combined(ctx, a, n, ty, |a, b| a & b),
        ),
        pair(
            &["bitmapOr"],
            "What is in any of two sets.",
            (over_both!("bitmapToArray(bitmapOr(a, b))"), "{1,2,3,4,5}"),
            |ctx, a, n, ty| combined(ctx, a, n, ty, |a, b| a | b),
        ),
        pair(
            &["bitmapXor"],
            "What is in one of two sets only.",
            (over_both!("bitmapToArray(bitmapXor(a, b))"), "{1,4,5}"),
            |ctx, a, n, ty| combined(ctx, a, n, ty, |a, b| a ^ b),
        ),
        pair(
            &["bitmapAndnot"],
            "What is in the first set and not in the second.",
            (over_both!("bitmapToArray(bitmapAndnot(a, b))"), "{1}"),
            |ctx, a, n, ty| combined(ctx, a, n, ty, |a, b| a - b),
        ),
        of_numbers(
            &["bitmapSubsetInRange"],
            "The integers of a set from one on and below another.",
            ("bitmapToArray(bitmapSubsetInRange(bitmapBuild(ARRAY[0, 1, 30, 100]), 1, 50))", "{1,30}"),
            |ctx, a, n, ty| {
                taken(ctx, a, n, ty, |set, from, to| {
                    set.iter()
                        .skip_while(|integer| *integer < from)
                        .take_while(|integer| *integer < to as u64)
                        .collect()
                })
            },
        ),
        of_numbers(
            &["bitmapSubsetLimit"],
            "So many integers of a set from one on.",
            ("bitmapToArray(bitmapSubsetLimit(bitmapBuild(ARRAY[0, 1, 30, 100]), 1, 2))", "{1,30}"),
            |ctx, a, n, ty| {
                taken(ctx, a, n, ty, |set, from, count| {
                    set.iter().skip_while(|integer| *integer < from).take(count).collect()
                })
            },
        ),
        of_numbers(
            &["subBitmap"],
            "So many integers of a set after so many.",
            ("bitmapToArray(subBitmap(bitmapBuild(ARRAY[0, 1, 30, 100]), 1, 2))", "{1,30}"),
            |ctx, a, n, ty| {
                taken(ctx, a, n, ty, |set, before, count| {
                    set.iter().skip(usize::try_from(before).unwrap_or(usize::MAX)).take(count).collect()
                })
            },
        ),
    ]
}

/// A function of a set and two integers that gives a set.
fn of_numbers(
    names: &'static [&'static str],
    doc: &'static str,
    example: (&'static str, &'static str),
    kernel: Kernel,
) -> ScalarFunction {
    let overload = Overload::new(vec![Param::AnyState, INT8, INT8], Returns::Argument(0), kernel);
    function(names, FAMILY, doc, example, vec![overload])
}

/// What of each set a function of it and two integers takes.
fn taken(
    context: &Context,
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    of: fn(&Set, u64, usize) -> Set,
) -> Result<Datum> {
    let (first, second) = (primitive::<Int64Type>(args, 1)?, primitive::<Int64Type>(args, 2)?);
    batch(args, rows, types, |rows| {
        let (sets, nulls) = (read(context, args, rows, types, 0)?, super::rows::nulls_of(args, rows));
        let made = sets.iter().take(rows).enumerate().map(|(row, set)| match super::rows::is_valid(&nulls, row) {
            true => {
                let [first, second] = [first.at(row), second.at(row)];
                let negative = || invalid_parameter("the numbers of a subset must not be negative");
                let first = u64::try_from(first).map_err(|_| negative())?;
                write_bitmap(&of(set, first, usize::try_from(second).map_err(|_| negative())?))
            }
            false => write_bitmap(&Set::new()),
        });
        states(made, nulls.clone())
    })
}

fn questions() -> Vec<ScalarFunction> {
    let number = |names, doc, example: (&'static str, &'static str), sets: usize, kernel: Kernel| {
        let of = Overload::new(vec![Param::AnyState; sets], Returns::Exact(Type::Int8), kernel);
        function(names, FAMILY, doc, example, vec![of])
    };
    let yes = |names, doc, example: (&'static str, &'static str), kernel: Kernel| {
        let of = Overload::new(vec![Param::AnyState; 2], Returns::Exact(Type::Bool), kernel);
        function(names, FAMILY, doc, example, vec![of])
    };
    vec![
        number(
            &["bitmapCardinality"],
            "How many integers a set has.",
            ("bitmapCardinality(bitmapBuild(ARRAY[1, 2, 2]))", "2"),
            1,
            |ctx, a, n, ty| {
                let sets = read(ctx, a, n, ty, 0)?;
                primitive_rows::<Int64Type>(a, n, ty, |row| Ok(Some(sets[row].len() as i64)))
            },
        ),
        number(
            &["bitmapAndCardinality"],
            "How many integers are in both sets.",
            (over_both!("bitmapAndCardinality(a, b)"), "2"),
            2,
            |ctx, a, n, ty| counted(ctx, a, n, ty, |a, b| a.intersection_len(b)),
        ),
        number(
            &["bitmapOrCardinality"],
            "How many integers are in any of two sets.",
            (over_both!("bitmapOrCardinality(a, b)"), "5"),
            2,
            |ctx, a, n, ty| counted(ctx, a, n, ty, |a, b| a.union_len(b)),
        ),
        number(
            &["bitmapXorCardinality"],
            "How many integers are in one of two sets only.",
            (over_both!("bitmapXorCardinality(a, b)"), "3"),
            2,
            |ctx, a, n, ty| counted(ctx, a, n, ty, |a, b| a.symmetric_difference_len(b)),
        ),
        number(
            &["bitmapAndnotCardinality"],
            "How many integers are in the first set and not in the second.",
            (over_both!("bitmapAndnotCardinality(a, b)"), "1"),
            2,
            |ctx, a, n, ty| counted(ctx, a, n, ty, |a, b| a.difference_len(b)),
        ),
        number(
            &["bitmapMin"],
            "The least integer of a set, without a sign; NULL of an empty one.",
            ("bitmapMin(bitmapBuild(ARRAY[5, 3]))", "3"),
            1,
            |ctx, a, n, ty| {
                let sets = read(ctx, a, n, ty, 0)?;
                primitive_rows::<Int64Type>(a, n, ty, |row| Ok(sets[row].min().map(|least| least as i64)))
            },
        ),
        number(
            &["bitmapMax"],
            "The greatest integer of a set, without a sign; NULL of an empty one.",
            ("bitmapMax(bitmapBuild(ARRAY[5, 3]))", "5"),
            1,
            |ctx, a, n, ty| {
                let sets = read(ctx, a, n, ty, 0)?;
                primitive_rows::<Int64Type>(a, n, ty, |row| Ok(sets[row].max().map(|most| most as i64)))
            },
        ),
        function(
            &["bitmapContains"],
            FAMILY,
            "Whether an integer is in a set.",
            ("bitmapContains(bitmapBuild(ARRAY[1, 2]), 2)", "t"),
            vec![Overload::new(vec![Param::AnyState, INT8], Returns::Exact(Type::Bool), |ctx, a, n, ty| {
                let (sets, integers) = (read(ctx, a, n, ty, 0)?, primitive::<Int64Type>(a, 1)?);
                bool_rows(a, n, ty, |row| Ok(Some(sets[row].contains(integers.at(row) as u64))))
            })],
        ),
        yes(
            &["bitmapHasAny"],
            "Whether two sets have an integer in common.",
            (over_both!("bitmapHasAny(a, b)"), "t"),
            |ctx, a, n, ty| asked(ctx, a, n, ty, |a, b| !a.is_disjoint(b)),
        ),
        yes(
            &["bitmapHasAll"],
            "Whether the first set has all integers of the second.",
            (over_both!("bitmapHasAll(a, b)"), "f"),
            |ctx, a, n, ty| asked(ctx, a, n, ty, |a, b| b.is_subset(a)),
        ),
    ]
}

fn state_of(args: &[Type]) -> Type {
    let element = match args.first() {
        Some(Type::Array(element)) => (**element).clone(),
        _ => Type::Int8,
    };
    Type::State(Box::new(StateType { function: "groupBitmap".into(), params: Vec::new(), args: vec![element] }))
}

fn elements_of(args: &[Type]) -> Type {
    let element = match args.first() {
        Some(Type::State(state)) => state.args.first().cloned(),
        _ => None,
    };
    Type::Array(Box::new(element.unwrap_or(Type::Int8)))
}

/// An argument's sets, one a row; what is NULL is empty, for the caller to leave out.
fn read(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>, at: usize) -> Result<Vec<Set>> {
    match &types.args[at] {
        Type::State(state) if state.function == "groupBitmap" => {}
        other => return Err(invalid_parameter(format!("sets are states of groupBitmap, not {other}"))),
    }
    let states = args[at].clone().into_array(rows)?;
    let there: Vec<u32> = (0..states.len() as u32).filter(|&row| states.is_valid(row as usize)).collect();
    let columns = unpack(&[Type::Bytea], &take(&states, &UInt32Array::from(there.clone()), None)?, context)?;
    let mut sets = vec![Set::new(); rows.max(1)];
    for (at, row) in there.into_iter().enumerate() {
        sets[row as usize] = read_bitmap(columns[0].as_binary_view().value(at))?;
    }
    Ok(sets)
}

fn states(sets: impl Iterator<Item = Result<Vec<u8>>>, nulls: Option<arrow::buffer::NullBuffer>) -> Result<ArrayRef> {
    let bytes = sets.collect::<Result<Vec<_>>>()?;
    let rows = bytes.len();
    let states: ArrayRef = Arc::new(BinaryViewArray::from_iter_values(bytes));
    let packed = pack(&[Type::Bytea], &[states], rows)?;
    Ok(match nulls {
        Some(nulls) => arrow::compute::nullif(&packed, &arrow::array::BooleanArray::new(!nulls.inner(), None))?,
        None => packed,
    })
}

fn combined(
    context: &Context,
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    of: fn(&Set, &Set) -> Set,
) -> Result<Datum> {
    batch(args, rows, types, |rows| {
        let (left, right) = (read(context, args, rows, types, 0)?, read(context, args, rows, types, 1)?);
        let made = left.iter().zip(&right).take(rows).map(|(left, right)| write_bitmap(&of(left, right)));
        states(made, super::rows::nulls_of(args, rows))
    })
}

fn counted(
    context: &Context,
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    of: fn(&Set, &Set) -> u64,
) -> Result<Datum> {
    let (left, right) = (read(context, args, rows, types, 0)?, read(context, args, rows, types, 1)?);
    primitive_rows::<Int64Type>(args, rows, types, |row| Ok(Some(of(&left[row], &right[row]) as i64)))
}

fn asked(
    context: &Context,
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    of: fn(&Set, &Set) -> bool,
) -> Result<Datum> {
    let (left, right) = (read(context, args, rows, types, 0)?, read(context, args, rows, types, 1)?);
    bool_rows(args, rows, types, |row| Ok(Some(of(&left[row], &right[row]))))
}

fn build(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    match &types.args[0] {
        Type::Array(element) if element.is_integer() => {}
        other => return Err(invalid_parameter(format!("a bitmap is of integers, not of {other}"))),
    }
    let lists = column::<ListArray>(args, 0)?;
    let (values, words) = (lists.values(), bitmap_words(lists.values())?);
    batch(args, rows, types, |rows| {
        let nulls = super::rows::nulls_of(args, rows);
        let sets = (0..rows).map(|row| {
            let range = if super::rows::is_valid(&nulls, row) { lists.range(row) } else { 0..0 };
            write_bitmap(&range.filter(|&at| values.is_valid(at)).map(|at| words[at]).collect())
        });
        states(sets, nulls.clone())
    })
}

fn to_array(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let Type::Array(element) = types.result else { return Err(Error::internal("integers come in an array")) };
    batch(args, rows, types, |rows| {
        let sets = read(context, args, rows, types, 0)?;
        let mut integers: Vec<u64> = Vec::new();
        let mut lengths = Vec::with_capacity(rows);
        for set in sets.iter().take(rows) {
            let before = integers.len();
            match element.wire().is_integer() && !matches!(**element, Type::UInt64) {
                // Those below zero are the greatest without a sign.
                true => {
                    let mut signed: Vec<i64> = set.iter().map(|integer| integer as i64).collect();
                    signed.sort_unstable();
                    integers.extend(signed.into_iter().map(|integer| integer as u64));
                }
                false => integers.extend(set.iter()),
            }
            lengths.push(integers.len() - before);
        }
        let values: ArrayRef = match element.to_arrow() {
            DataType::UInt64 => Arc::new(UInt64Array::from(integers)),
            ty => cast(&Int64Array::from_iter_values(integers.into_iter().map(|integer| integer as i64)), &ty)?,
        };
        let nulls = super::rows::nulls_of(args, rows);
        Ok(Arc::new(ListArray::try_new(element.element_field(), OffsetBuffer::from_lengths(lengths), values, nulls)?))
    })
}
