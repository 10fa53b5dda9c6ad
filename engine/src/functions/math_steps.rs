//! Numbers brought to a step: powers of two, ages and durations as reports group them; and divisions that may have no answer.
//!
//! The steps of ages and durations are ClickHouse's.

use arrow::datatypes::{Float64Type, Int16Type, Int32Type, Int64Type};
use weir_sql::Type;
use weir_sql::catalog::Param;

use super::declare::{FLOAT8, INT4, INT8, function, strict};
use super::rows::{map_rows, primitive, primitive_rows};
use super::{Datum, ScalarFunction, Types};
use crate::error::Result;

const FAMILY: &str = "mathematical";

pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(
            &["roundToExp2"],
            FAMILY,
            "The largest power of two that is not larger; a whole number below 1 gives 0.",
            ("roundToExp2(100)", "64"),
            vec![
                strict([Param::Exact(Type::Int2)], Type::Int2, |_, a, n, ty| {
                    map_rows::<Int16Type, Int16Type>(a, 0, n, ty, |v| if v < 1 { 0 } else { 1 << v.ilog2() })
                }),
                strict([INT4], Type::Int4, |_, a, n, ty| {
                    map_rows::<Int32Type, Int32Type>(a, 0, n, ty, |v| if v < 1 { 0 } else { 1 << v.ilog2() })
                }),
                strict([INT8], Type::Int8, |_, a, n, ty| {
                    map_rows::<Int64Type, Int64Type>(a, 0, n, ty, |v| if v < 1 { 0 } else { 1 << v.ilog2() })
                }),
                strict([FLOAT8], Type::Float8, |_, a, n, ty| {
                    map_rows::<Float64Type, Float64Type>(a, 0, n, ty, exponent_only)
                }),
            ],
        ),
        function(
            &["roundAge"],
            FAMILY,
            "The lower end of the age group: 0, 17 (for 1 to 17), 18, 25, 35, 45 or 55.",
            ("roundAge(42)", "35"),
            vec![strict([INT8], Type::Int8, |_, a, n, ty| {
                map_rows::<Int64Type, Int64Type>(a, 0, n, ty, |age| match age {
                    1..=17 => 17,
                    _ => step(&[18, 25, 35, 45, 55], age),
                })
            })],
        ),
        function(
            &["roundDuration"],
            FAMILY,
            "The lower end of the group that a number of seconds is in: 0, 1, 10, 30 seconds, up to 36000.",
            ("roundDuration(100)", "60"),
            vec![strict([INT8], Type::Int8, |_, a, n, ty| {
                map_rows::<Int64Type, Int64Type>(a, 0, n, ty, |seconds| step(&DURATIONS, seconds))
            })],
        ),
        function(
            &["hypot"],
            FAMILY,
            "The longest side of a right-angled triangle with these two others.",
            ("hypot(3, 4)", "5"),
            vec![strict([FLOAT8, FLOAT8], Type::Float8, |_, a, n, ty| of_two(a, n, ty, |x, y| Some(x.hypot(y))))],
        ),
        function(
            &["ifNotFinite"],
            FAMILY,
            "The first value, or the second if the first is infinite or NaN.",
            ("ifNotFinite('NaN', 5)", "5"),
            vec![strict([FLOAT8, FLOAT8], Type::Float8, |_, a, n, ty| {
                of_two(a, n, ty, |x, other| Some(if x.is_finite() { x } else { other }))
            })],
        ),
        function(
            &["divideOrNull"],
            FAMILY,
            "The quotient as a double, or NULL for a division by zero.",
            ("divideOrNull(1, 0)", "NULL"),
            vec![strict([FLOAT8, FLOAT8], Type::Float8, |_, a, n, ty| {
                of_two(a, n, ty, |x, y| (y != 0.0).then_some(x / y))
            })],
        ),
        function(
            &["intDivOrNull"],
            FAMILY,
            "The quotient cut off towards zero, or NULL where there is none.",
            ("intDivOrNull(7, 0)", "NULL"),
            vec![strict([INT8, INT8], Type::Int8, |_, a, n, ty| of_two_whole(a, n, ty, i64::checked_div))],
        ),
        function(
            &["moduloOrNull", "modOrNull"],
            FAMILY,
            "The remainder, or NULL for a division by zero.",
            ("moduloOrNull(7, 0)", "NULL"),
            vec![strict([INT8, INT8], Type::Int8, |_, a, n, ty| {
                of_two_whole(a, n, ty, |x, y| (y != 0).then(|| x.wrapping_rem(y)))
            })],
        ),
    ]
}

const DURATIONS: [i64; 15] = [1, 10, 30, 60, 120, 180, 240, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000];

/// The largest step that is not larger than the value; 0 if there is none.
fn step(steps: &[i64], value: i64) -> i64 {
    steps.iter().rev().find(|&&step| step <= value).copied().unwrap_or(0)
}

/// The number without its mantissa: its sign and its power of two.
fn exponent_only(value: f64) -> f64 {
    f64::from_bits(value.to_bits() & !((1 << (f64::MANTISSA_DIGITS - 1)) - 1))
}

fn of_two(args: &[Datum], rows: usize, types: &Types<'_>, body: fn(f64, f64) -> Option<f64>) -> Result<Datum> {
    let (left, right) = (primitive::<Float64Type>(args, 0)?, primitive::<Float64Type>(args, 1)?);
    primitive_rows::<Float64Type>(args, rows, types, |row| Ok(body(left.at(row), right.at(row))))
}

fn of_two_whole(args: &[Datum], rows: usize, types: &Types<'_>, body: fn(i64, i64) -> Option<i64>) -> Result<Datum> {
    let (left, right) = (primitive::<Int64Type>(args, 0)?, primitive::<Int64Type>(args, 1)?);
    primitive_rows::<Int64Type>(args, rows, types, |row| Ok(body(left.at(row), right.at(row))))
}
