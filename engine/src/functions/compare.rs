//! Comparison operators: `= <> < <= > >=` and IS [NOT] DISTINCT FROM.
//!
//! Every pair of number types has an overload of its own, so that no column is cast to be compared (`price > 100` compares decimals with an
//! integer exactly). The other types compare with themselves; dates and timestamps with each other too.

use std::sync::Arc;

use arrow::array::Int32Array;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns, Volatility};

use super::declare::function;
use super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::Result;
use crate::kernels::compare::{Comparison, compare};
use crate::kernels::datetime;

/// The number types, in the order in which Postgres prefers them.
pub(crate) const NUMBERS: [Type; 10] = [
    Type::Int4,
    Type::Int8,
    Type::Float8,
    Type::Numeric(None),
    Type::Int2,
    Type::Float4,
    Type::UInt8,
    Type::UInt16,
    Type::UInt32,
    Type::UInt64,
];

/// The operators.
pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![
        operator::<0>(&["=", "equals"], "Whether two values are equal.", ("1 = 1.0", "t")),
        operator::<1>(&["<>", "!=", "notEquals"], "Whether two values differ.", ("1 <> 2", "t")),
        operator::<2>(&["<", "less"], "Whether the first value is smaller.", ("'a' < 'b'", "t")),
        operator::<3>(&["<=", "lessOrEquals"], "Whether the first value is smaller or equal.", ("2 <= 2", "t")),
        operator::<4>(&[">", "greater"], "Whether the first value is larger.", ("'a' > 'b'", "f")),
        operator::<5>(&[">=", "greaterOrEquals"], "Whether the first value is larger or equal.", ("2 >= 2", "t")),
        operator::<6>(
            &["is_distinct_from", "isDistinctFrom"],
            "Whether two values differ, where NULL is a value like any other.",
            ("1 IS DISTINCT FROM NULL", "t"),
        ),
        operator::<7>(
            &["is_not_distinct_from", "isNotDistinctFrom"],
            "Whether two values are equal, where NULL is a value like any other.",
            ("NULL IS NOT DISTINCT FROM NULL", "t"),
        ),
        counting(
            &["num_nulls"],
            "How many of the arguments are NULL.",
            ("num_nulls(1, NULL, 3)", "1"),
            |_, a, n, _| counted(a, n, true),
        ),
        counting(
            &["num_nonnulls"],
            "How many of the arguments are not NULL.",
            ("num_nonnulls(1, NULL, 3)", "2"),
            |_, a, n, _| counted(a, n, false),
        ),
    ]
}

fn counting(
    names: &'static [&'static str],
    doc: &'static str,
    example: (&'static str, &'static str),
    kernel: Kernel,
) -> ScalarFunction {
    let overload = Overload::new(vec![Param::Any], Returns::Exact(Type::Int4), kernel).variadic().lax();
    function(names, "comparison", doc, example, vec![overload])
}

/// How many arguments are NULL, or are not, in each row.
fn counted(args: &[Datum], rows: usize, nulls: bool) -> Result<Datum> {
    let mut counts = vec![0; rows];
    for arg in args {
        let array = arg.array();
        let of_array = array.logical_nulls();
        let is_null = |row: usize| of_array.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let stride = usize::from(matches!(arg, Datum::Array(_)));
        (0..rows).for_each(|row| counts[row] += i32::from(is_null(row * stride) == nulls));
    }
    Ok(Datum::Array(Arc::new(Int32Array::from(counts))))
}

const fn comparison(op: u8) -> Comparison {
    match op {
        0 => Comparison::Eq,
        1 => Comparison::Ne,
        2 => Comparison::Lt,
        3 => Comparison::Le,
        4 => Comparison::Gt,
        5 => Comparison::Ge,
        6 => Comparison::Distinct,
        _ => Comparison::NotDistinct,
    }
}

fn operator<const OP: u8>(
    names: &'static [&'static str],
    doc: &'static str,
    example: (&'static str, &'static str),
) -> ScalarFunction {
    let mut overloads = Vec::new();
    let mut add = |left: Type, right: Type, kernel: Kernel| {
        overloads.push(Overload::exact(&[left, right], Type::Bool, kernel));
    };
    add(Type::Text, Type::Text, plain::<OP>);
    for left in NUMBERS {
        for right in NUMBERS {
            add(left.clone(), right, numbers::<OP>);
        }
    }
    for ty in [Type::Bool, Type::Date, Type::Time, Type::Timestamp, Type::Timestamptz, Type::Interval] {
        add(ty.clone(), ty, plain::<OP>);
    }
    let moments = [Type::Date, Type::Timestamp, Type::Timestamptz];
    for left in &moments {
        for right in &moments {
            if left != right {
                let zoned = *left == Type::Timestamptz || *right == Type::Timestamptz;
                add(left.clone(), right.clone(), if zoned { zoned_moments::<OP> } else { moments_of_day::<OP> });
            }
        }
    }
    add(Type::Bpchar(None), Type::Bpchar(None), bpchars::<OP>);
    add(Type::Jsonb, Type::Jsonb, jsonbs::<OP>);
    // What is an oid by another name compares as one.
    for ty in [Type::Bytea, Type::Uuid, Type::Oid] {
        add(ty.clone(), ty, plain::<OP>);
    }
    let arrays = Overload::new(vec![Param::AnyArray, Param::AnyArray], Returns::Exact(Type::Bool), nested::<OP>);
    // Records of any shape: the binder casts the fields of row constructors one by one.
    let records = Overload::new(vec![Param::AnyElement, Param::AnyElement], Returns::Exact(Type::Bool), nested::<OP>);
    overloads.extend([arrays, records]);
    if OP >= 6 {
        overloads = overloads.into_iter().map(Overload::lax).collect();
    }
    ScalarFunction { names, family: "comparison", doc, example, volatility: Volatility::Immutable, overloads }
}

fn numbers<const OP: u8>(_: &Context, args: &[Datum], rows: usize, _: &Types<'_>) -> Result<Datum> {
    compare(comparison(OP), &Type::Numeric(None), &args[0], &args[1], rows)
}

/// Types whose Arrow form orders itself, intervals included.
fn plain<const OP: u8>(_: &Context, args: &[Datum], rows: usize, _: &Types<'_>) -> Result<Datum> {
    compare(comparison(OP), &Type::Unknown, &args[0], &args[1], rows)
}

fn bpchars<const OP: u8>(_: &Context, args: &[Datum], rows: usize, _: &Types<'_>) -> Result<Datum> {
    compare(comparison(OP), &Type::Bpchar(None), &args[0], &args[1], rows)
}

fn jsonbs<const OP: u8>(_: &Context, args: &[Datum], rows: usize, _: &Types<'_>) -> Result<Datum> {
    compare(comparison(OP), &Type::Jsonb, &args[0], &args[1], rows)
}

/// Date with timestamp: the date is its midnight.
fn moments_of_day<const OP: u8>(_: &Context, args: &[Datum], rows: usize, _: &Types<'_>) -> Result<Datum> {
    let [a, b] = [datetime::as_micros(&args[0], None), datetime::as_micros(&args[1], None)];
    compare(comparison(OP), &Type::Int8, &a, &b, rows)
}

/// With timestamptz: dates and timestamps are taken in the session's zone.
fn zoned_moments<const OP: u8>(ctx: &Context, args: &[Datum], rows: usize, _: &Types<'_>) -> Result<Datum> {
    let zone = Some(&ctx.time_zone);
    let [a, b] = [datetime::as_micros(&args[0], zone), datetime::as_micros(&args[1], zone)];
    compare(comparison(OP), &Type::Int8, &a, &b, rows)
}

/// Anything else, by its SQL type: arrays and records first of all.
fn nested<const OP: u8>(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    compare(comparison(OP), &types.args[0], &args[0], &args[1], rows)
}
