//! Arrays as vectors of doubles: norms, and the distances between two, by ClickHouse's and DuckDB's names.
//!
//! A NULL element makes the answer NULL; two vectors must be of one length.

use arrow::array::{Array, AsArray, ListArray};
use arrow::datatypes::Float64Type;
use weir_sql::Type;
use weir_sql::catalog::Param;

use super::super::declare::{ARRAY, function, strict};
use super::super::rows::{Column, column, invalid_parameter, primitive_rows};
use super::super::{Datum, ScalarFunction, Types};
use crate::error::Result;

pub(super) fn functions() -> Vec<ScalarFunction> {
    let vector = || Param::Exact(Type::Array(Box::new(Type::Float8)));
    let norm = |names, doc, example, kernel| {
        function(names, ARRAY, doc, example, vec![strict([vector()], Type::Float8, kernel)])
    };
    let distance = |names, doc, example, kernel| {
        function(names, ARRAY, doc, example, vec![strict([vector(), vector()], Type::Float8, kernel)])
    };
    vec![
        norm(
            &["L1Norm", "normL1"],
            "The sum of the sizes of the elements.",
            ("L1Norm(ARRAY[3, -4])", "7"),
            |_, a, n, ty| norms(a, n, ty, l1),
        ),
        norm(
            &["L2Norm", "normL2"],
            "The length of a vector: the root of the sum of its elements' squares.",
            ("L2Norm(ARRAY[3, -4])", "5"),
            |_, a, n, ty| norms(a, n, ty, |v| l2_squared(v).sqrt()),
        ),
        norm(
            &["L2SquaredNorm", "normL2Squared"],
            "The sum of the elements' squares.",
            ("L2SquaredNorm(ARRAY[3, -4])", "25"),
            |_, a, n, ty| norms(a, n, ty, l2_squared),
        ),
        norm(
            &["LinfNorm", "normLinf"],
            "The size of the element farthest from 0.",
            ("LinfNorm(ARRAY[3, -4])", "4"),
            |_, a, n, ty| norms(a, n, ty, l_inf),
        ),
        distance(
            &["L1Distance", "distanceL1"],
            "The sum of how far apart the elements of two vectors are.",
            ("L1Distance(ARRAY[0, 0], ARRAY[3, 4])", "7"),
            |_, a, n, ty| distances(a, n, ty, |x, y| l1(&differences(x, y))),
        ),
        distance(
            &["L2Distance", "distanceL2", "list_distance", "array_distance"],
            "How far apart two points are on a straight line.",
            ("L2Distance(ARRAY[0, 0], ARRAY[3, 4])", "5"),
            |_, a, n, ty| distances(a, n, ty, |x, y| l2_squared(&differences(x, y)).sqrt()),
        ),
        distance(
            &["L2SquaredDistance", "distanceL2Squared"],
            "The square of L2Distance.",
            ("L2SquaredDistance(ARRAY[0, 0], ARRAY[3, 4])", "25"),
            |_, a, n, ty| distances(a, n, ty, |x, y| l2_squared(&differences(x, y))),
        ),
        distance(
            &["LinfDistance", "distanceLinf"],
            "How far apart those elements of two vectors are that are farthest apart.",
            ("LinfDistance(ARRAY[0, 0], ARRAY[3, 4])", "4"),
            |_, a, n, ty| distances(a, n, ty, |x, y| l_inf(&differences(x, y))),
        ),
        distance(
            &["cosineDistance", "distanceCosine", "list_cosine_distance", "array_cosine_distance"],
            "1 less the cosine of the angle between two vectors; NaN if one is all zeros.",
            ("cosineDistance(ARRAY[0, 1], ARRAY[4, 3])", "0.4"),
            |_, a, n, ty| distances(a, n, ty, |x, y| 1.0 - cosine(x, y)),
        ),
        distance(
            &["list_cosine_similarity", "array_cosine_similarity"],
            "The cosine of the angle between two vectors; NaN if one is all zeros.",
            ("list_cosine_similarity(ARRAY[1, 0], ARRAY[3, 4])", "0.6"),
            |_, a, n, ty| distances(a, n, ty, cosine),
        ),
    ]
}

fn l1(values: &[f64]) -> f64 {
    values.iter().map(|v| v.abs()).sum()
}

fn l2_squared(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum()
}

fn l_inf(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, v| v.abs().max(most))
}

fn differences(left: &[f64], right: &[f64]) -> Vec<f64> {
    left.iter().zip(right).map(|(x, y)| x - y).collect()
}

fn cosine(left: &[f64], right: &[f64]) -> f64 {
    let dot: f64 = left.iter().zip(right).map(|(x, y)| x * y).sum();
    dot / (l2_squared(left) * l2_squared(right)).sqrt()
}

/// The row's elements, unless one is NULL.
fn elements<'a>(lists: &Column<'a, ListArray>, row: usize) -> Option<&'a [f64]> {
    let values = lists.array.values().as_primitive::<Float64Type>();
    let range = lists.range(row);
    (values.null_count() == 0 || range.clone().all(|at| values.is_valid(at))).then(|| &values.values()[range])
}

fn norms(args: &[Datum], rows: usize, types: &Types<'_>, norm: fn(&[f64]) -> f64) -> Result<Datum> {
    let lists = column::<ListArray>(args, 0)?;
    primitive_rows::<Float64Type>(args, rows, types, |row| Ok(elements(&lists, row).map(norm)))
}

fn distances(args: &[Datum], rows: usize, types: &Types<'_>, between: fn(&[f64], &[f64]) -> f64) -> Result<Datum> {
    let (left, right) = (column::<ListArray>(args, 0)?, column::<ListArray>(args, 1)?);
    primitive_rows::<Float64Type>(args, rows, types, |row| {
        if left.range(row).len() != right.range(row).len() {
            return Err(invalid_parameter("the vectors of a distance must have equal lengths"));
        }
        Ok(elements(&left, row).zip(elements(&right, row)).map(|(x, y)| between(x, y)))
    })
}
