//! Mathematical functions of numerics, exact or to the digits that Postgres chooses, and those of doubles that Postgres has beside the usual
//! ones: hyperbolic inverses, trigonometry in degrees.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray};
use arrow::datatypes::{Float64Type, Int32Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::declare::{FLOAT8, NUMERIC, function, strict};
use super::rows::{batch, column, is_valid, map_rows, nulls_of, primitive, primitive_rows};
use super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::compare::{Comparison, compare};
use crate::kernels::numeric::{Numeric, NumericBuilder, value_at};

const MATH: &str = "mathematical";

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = numerics();
    all.extend(doubles());
    all
}

fn one(kernel: Kernel) -> Vec<Overload> {
    vec![strict([NUMERIC], Type::Numeric(None), kernel)]
}

fn two(kernel: Kernel) -> Vec<Overload> {
    vec![strict([NUMERIC, NUMERIC], Type::Numeric(None), kernel)]
}

fn numerics() -> Vec<ScalarFunction> {
    vec![
        function(
            &["sqrt"],
            MATH,
            "The square root of a numeric.",
            ("sqrt(2.0)", "1.414213562373095"),
            one(|_, a, n, _| of_one(a, n, |v| v.sqrt().map(Some))),
        ),
        function(
            &["exp"],
            MATH,
            "e to a numeric power.",
            ("exp(1.0)", "2.7182818284590452"),
            one(|_, a, n, _| of_one(a, n, |v| v.exp().map(Some))),
        ),
        function(
            &["ln"],
            MATH,
            "The natural logarithm of a numeric.",
            ("ln(2.0)", "0.6931471805599453"),
            one(|_, a, n, _| of_one(a, n, |v| v.ln().map(Some))),
        ),
        function(
            &["log10", "log"],
            MATH,
            "The logarithm of a numeric to base 10.",
            ("log(100.0)", "2.0000000000000000"),
            one(|_, a, n, _| of_one(a, n, |v| Numeric::log(&Numeric::Small(10, 0), v).map(Some))),
        ),
        function(
            &["log"],
            MATH,
            "The logarithm of a numeric to the first argument as base.",
            ("log(2.0, 64.0)", "6.0000000000000000"),
            two(|_, a, n, _| of_two(a, n, Numeric::log)),
        ),
        function(
            &["power", "pow", "^"],
            MATH,
            "A numeric to a numeric power.",
            ("power(9.0, 3.0)", "729.0000000000000000"),
            two(|_, a, n, _| of_two(a, n, Numeric::power)),
        ),
        function(
            &["gcd"],
            MATH,
            "The greatest common divisor of numerics.",
            ("gcd(12.5, 7.5)", "2.5"),
            two(|_, a, n, _| of_two(a, n, |a, b| Ok(a.gcd(b)))),
        ),
        function(
            &["lcm"],
            MATH,
            "The least common multiple of numerics.",
            ("lcm(1.5, 2.5)", "7.5"),
            two(|_, a, n, _| of_two(a, n, Numeric::lcm)),
        ),
        function(
            &["scale"],
            MATH,
            "How many digits a numeric shows after the point.",
            ("scale(8.4100)", "4"),
            vec![strict([NUMERIC], Type::Int4, |_, a, n, ty| {
                to_integer(a, n, ty, |v| v.is_finite().then(|| v.scale().into()))
            })],
        ),
        function(
            &["min_scale"],
            MATH,
            "How many digits after the point a numeric needs.",
            ("min_scale(8.4100)", "2"),
            vec![strict([NUMERIC], Type::Int4, |_, a, n, ty| {
                to_integer(a, n, ty, |v| v.is_finite().then(|| v.trimmed().scale().into()))
            })],
        ),
        function(
            &["trim_scale"],
            MATH,
            "A numeric without zeros at the end of its digits after the point.",
            ("trim_scale(8.4100)", "8.41"),
            one(|_, a, n, _| of_one(a, n, |v| Ok(Some(v.trimmed())))),
        ),
        function(
            &["width_bucket"],
            MATH,
            "The number of the bucket, of those that an array's values begin, that the value is in.",
            ("width_bucket(5, ARRAY[1, 3, 6, 9])", "2"),
            vec![Overload::new(vec![Param::AnyElement, Param::AnyArray], Returns::Exact(Type::Int4), width_bucket)],
        ),
    ]
}

/// The argument's numeric at a row, of a column or a constant.
pub(super) fn argument(arg: &Datum, row: usize) -> Numeric {
    value_at(arg.array().as_ref(), if matches!(arg, Datum::Array(_)) { row } else { 0 })
}

pub(super) fn numeric_rows(
    args: &[Datum],
    rows: usize,
    body: impl Fn(usize) -> Result<Option<Numeric>>,
) -> Result<Datum> {
    batch(args, rows, &Type::Numeric(None), |rows| {
        let nulls = nulls_of(args, rows);
        let mut out = NumericBuilder::with_capacity(rows);
        for row in 0..rows {
            out.append_option(if is_valid(&nulls, row) { body(row)? } else { None }.as_ref());
        }
        Ok(Arc::new(out.finish()))
    })
}

fn of_one(args: &[Datum], rows: usize, body: fn(&Numeric) -> Result<Option<Numeric>>) -> Result<Datum> {
    numeric_rows(args, rows, |row| body(&argument(&args[0], row)))
}

fn of_two(args: &[Datum], rows: usize, body: fn(&Numeric, &Numeric) -> Result<Numeric>) -> Result<Datum> {
    numeric_rows(args, rows, |row| body(&argument(&args[0], row), &argument(&args[1], row)).map(Some))
}

fn to_integer(args: &[Datum], rows: usize, ty: &Type, body: fn(&Numeric) -> Option<i32>) -> Result<Datum> {
    primitive_rows::<Int32Type>(args, rows, ty, |row| Ok(body(&argument(&args[0], row))))
}

/// How many of the array's values are not greater than the value; they are taken to be in order.
fn width_bucket(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let lists = column::<ListArray>(args, 1)?;
    let all_bounds = lists.values();
    if all_bounds.null_count() > 0 {
        return Err(Error::new(ErrorKind::NullNotAllowed, "thresholds array must not contain NULLs"));
    }
    primitive_rows::<Int32Type>(args, rows, types, |row| {
        let range = lists.range(row);
        let bounds: ArrayRef = all_bounds.slice(range.start, range.len());
        let value = args[0].array().slice(if matches!(args[0], Datum::Array(_)) { row } else { 0 }, 1);
        let value = Datum::Scalar(weir_sql::Value::new(types.args[0].clone(), value));
        let count = bounds.len();
        let reached = compare(Comparison::Le, &types.args[0], &Datum::Array(bounds), &value, count)?;
        let reached = reached.into_array(count)?;
        let reached = reached.as_any().downcast_ref::<arrow::array::BooleanArray>();
        Ok(reached.map(|reached| reached.true_count() as i32))
    })
}

/// A function of one double that may refuse its argument.
macro_rules! of_double {
    ($body:expr) => {
        vec![strict([FLOAT8], Type::Float8, |_, args, rows, ty| {
            let values = primitive::<Float64Type>(args, 0)?;
            let body: fn(f64) -> Result<f64> = $body;
            primitive_rows::<Float64Type>(args, rows, ty, |row| body(values.at(row)).map(Some))
        })]
    };
}

fn out_of_range() -> Error {
    Error::new(ErrorKind::NumericOutOfRange, "input is out of range")
}

/// A number within bounds, or NaN.
fn within(value: f64, low: f64, high: f64) -> Result<f64> {
    if value < low || value > high { Err(out_of_range()) } else { Ok(value) }
}

fn doubles() -> Vec<ScalarFunction> {
    let of = |names, doc, example, overloads| function(names, MATH, doc, example, overloads);
    vec![
        of(&["asinh"], "The inverse hyperbolic sine.", ("asinh(0)", "0"), of_double!(|v| Ok(v.asinh()))),
        of(
            &["acosh"],
            "The inverse hyperbolic cosine.",
            ("acosh(1)", "0"),
            of_double!(|v| within(v, 1.0, f64::INFINITY).map(f64::acosh)),
        ),
        of(
            &["atanh"],
            "The inverse hyperbolic tangent.",
            ("atanh(0)", "0"),
            of_double!(|v| within(v, -1.0, 1.0).map(f64::atanh)),
        ),
        of(&["|/"], "The square root.", ("|/ 25.0", "5"), {
            of_double!(|v| match v < 0.0 {
                true =>
                    Err(Error::new(ErrorKind::InvalidArgumentForPower, "cannot take square root of a negative number")),
                false => Ok(v.sqrt()),
            })
        }),
        of(&["||/"], "The cube root.", ("||/ 64.0", "4"), {
            vec![strict([FLOAT8], Type::Float8, |_, a, n, ty| {
                map_rows::<Float64Type, Float64Type>(a, 0, n, ty, f64::cbrt)
            })]
        }),
        of(&["sind"], "The sine of an angle in degrees.", ("sind(30)", "0.5"), of_double!(|v| degrees(v, sine))),
        of(&["cosd"], "The cosine of an angle in degrees.", ("cosd(60)", "0.5"), of_double!(|v| degrees(v, cosine))),
        of(
            &["tand"],
            "The tangent of an angle in degrees.",
            ("tand(45)", "1"),
            of_double!(|v| degrees(v, |angle| sine(angle) / cosine(angle))),
        ),
        of(
            &["cotd"],
            "The cotangent of an angle in degrees.",
            ("cotd(45)", "1"),
            of_double!(|v| degrees(v, |angle| cosine(angle) / sine(angle))),
        ),
        of(
            &["asind"],
            "The inverse sine in degrees.",
            ("asind(0.5)", "30"),
            of_double!(|v| within(v, -1.0, 1.0).map(|v| inverse_sine(v.abs()).copysign(v))),
        ),
        of(
            &["acosd"],
            "The inverse cosine in degrees.",
            ("acosd(0.5)", "60"),
            of_double!(|v| within(v, -1.0, 1.0).map(|v| match v < 0.0 {
                true => 90.0 + inverse_sine(-v),
                false => 90.0 - inverse_sine(v),
            })),
        ),
        of(
            &["atand"],
            "The inverse tangent in degrees.",
            ("atand(1)", "45"),
            of_double!(|v| Ok(v.atan() / 1f64.atan() * 45.0)),
        ),
        of(
            &["atan2d"],
            "The angle of the point (second, first) in degrees.",
            ("atan2d(1, -1)", "135"),
            vec![strict([FLOAT8, FLOAT8], Type::Float8, |_, args, rows, ty| {
                let (y, x) = (primitive::<Float64Type>(args, 0)?, primitive::<Float64Type>(args, 1)?);
                primitive_rows::<Float64Type>(args, rows, ty, |row| {
                    Ok(Some(y.at(row).atan2(x.at(row)) / 1f64.atan() * 45.0))
                })
            })],
        ),
    ]
}

/// A function of a finite angle in degrees, which whole turns do not change.
fn degrees(angle: f64, body: fn(f64) -> f64) -> Result<f64> {
    match angle {
        angle if angle.is_nan() => Ok(angle),
        angle if angle.is_infinite() => Err(out_of_range()),
        angle => Ok(body(angle % 360.0)),
    }
}

/// The sine of 0° to 30°, exact at its ends.
fn sine_of_small(angle: f64) -> f64 {
    (angle.to_radians().sin() / 30f64.to_radians().sin()) / 2.0
}

/// The cosine of 0° to 60°, exact at its ends.
fn cosine_of_small(angle: f64) -> f64 {
    1.0 - ((1.0 - angle.to_radians().cos()) / (1.0 - 60f64.to_radians().cos())) / 2.0
}

fn sine_of_quarter(angle: f64) -> f64 {
    if angle <= 30.0 { sine_of_small(angle) } else { cosine_of_small(90.0 - angle) }
}

fn sine(angle: f64) -> f64 {
    let (mut angle, mut sign) = (angle, 1.0);
    if angle < 0.0 {
        (angle, sign) = (-angle, -sign);
    }
    if angle > 180.0 {
        (angle, sign) = (360.0 - angle, -sign);
    }
    if angle > 90.0 {
        angle = 180.0 - angle;
    }
    sign * sine_of_quarter(angle)
}

fn cosine(angle: f64) -> f64 {
    let (mut angle, mut sign) = (angle.abs(), 1.0);
    if angle > 180.0 {
        angle = 360.0 - angle;
    }
    if angle > 90.0 {
        (angle, sign) = (180.0 - angle, -1.0);
    }
    sign * if angle <= 60.0 { cosine_of_small(angle) } else { sine_of_small(90.0 - angle) }
}

/// The inverse sine of 0 to 1 in degrees, exact where the angle is.
fn inverse_sine(value: f64) -> f64 {
    if value <= 0.5 { value.asin() / 0.5f64.asin() * 30.0 } else { 90.0 - value.acos() / 0.5f64.acos() * 60.0 }
}
