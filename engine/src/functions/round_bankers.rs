//! roundBankers: rounding to the nearest, halves to the even neighbour.

use arrow::datatypes::{Float64Type, Int32Type};
use weir_sql::Type;

use super::declare::{FLOAT8, INT4, NUMERIC, function, strict};
use super::math_numeric::{argument, numeric_rows};
use super::rows::{primitive, primitive_rows};
use super::{Datum, ScalarFunction};
use crate::error::Result;
use crate::kernels::numeric::Numeric;

pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![function(
        &["roundBankers", "round_even"],
        "math",
        "The nearest value of so many digits (0); of two that are as near, the even one.",
        ("roundBankers(2.5)", "2"),
        vec![
            strict([NUMERIC, INT4], Type::Numeric(None), |_, a, n, _| {
                numeric_rows(a, n, |row| even(&argument(&a[0], row), digits(a, row)?).map(Some))
            })
            .optional(1),
            strict([FLOAT8, INT4], Type::Float8, |_, a, n, ty| {
                let values = primitive::<Float64Type>(a, 0)?;
                primitive_rows::<Float64Type>(a, n, ty, |row| {
                    let (value, digits) = (values.at(row), digits(a, row)?);
                    let unit = 10_f64.powi(digits.abs());
                    let rounded = match digits {
                        0.. => (value * unit).round_ties_even() / unit,
                        _ => (value / unit).round_ties_even() * unit,
                    };
                    // Where the unit is beyond a float's digits, the value is as round as it can be.
                    Ok(Some(if rounded.is_finite() { rounded } else { value }))
                })
            })
            .optional(1),
        ],
    )]
}

fn digits(args: &[Datum], row: usize) -> Result<i32> {
    if args.len() == 1 {
        return Ok(0);
    }
    Ok(primitive::<Int32Type>(args, 1)?.at(row))
}

fn even(value: &Numeric, digits: i32) -> Result<Numeric> {
    if !value.is_finite() {
        return Ok(value.clone());
    }
    let unit: Numeric = format!("1e{}", -i64::from(digits.clamp(-1000, 1000))).parse()?;
    let down = value.trunc(digits);
    let two: Numeric = "2".parse()?;
    let rest = value.sub(&down)?.abs().mul(&two)?;
    // A half, and what is below it is even.
    match rest.sub(&unit)?.is_zero() && down.rem(&unit.mul(&two)?)?.is_zero() {
        true => Ok(down),
        false => Ok(value.round(digits)),
    }
}
