//! Mathematical functions: roots, powers, logarithms, rounding, trigonometry, bits, greatest and least.
//!
//! What is irrational is computed in double precision; rounding of numerics is exact. Errors are Postgres's.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int16Type, Int32Type, Int64Type};
use rand::Rng;
use weir_sql::catalog::{Param, Returns};
use weir_sql::{Type, Value};

use super::declare::{FLOAT8, INT4, INT8, NUMERIC, function, strict};
use super::rows::{batch, bool_rows, invalid_parameter, is_valid, map_rows, nulls_of, primitive, primitive_rows};
use super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cast::float_range;
use crate::kernels::compare::{Comparison, compare};
use crate::kernels::numeric::{self, Numeric, NumericBuilder, value_at};

const MATH: &str = "mathematical";
const BITS: &str = "bit";

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = rounding();
    all.extend(floats());
    all.extend(integers());
    all.push(function(
        &["greatest", "max2"],
        MATH,
        "The largest value that is not NULL.",
        ("greatest(1, 3, 2)", "3"),
        vec![extreme(greatest)],
    ));
    all.push(function(
        &["least", "min2"],
        MATH,
        "The smallest value that is not NULL.",
        ("least(1, 3, 2)", "1"),
        vec![extreme(least)],
    ));
    all
}

fn rounding() -> Vec<ScalarFunction> {
    let both = |float: Kernel, exact: Kernel| {
        vec![strict([FLOAT8], Type::Float8, float), strict([NUMERIC], Type::Numeric(None), exact)]
    };
    let with_digits = |mut all: Vec<Overload>, digits: Kernel| {
        all.push(strict([NUMERIC, INT4], Type::Numeric(None), digits));
        all
    };
    vec![
        function(
            &["round"],
            MATH,
            "The nearest whole number, or the nearest with so many digits: numerics half away from zero, doubles half to even.",
            ("round(42.4382, 2)", "42.44"),
            with_digits(
                both(|_, a, n, ty| float(a, n, ty, f64::round_ties_even), |_, a, n, _| exact(a, n, |v, _| v.round(0))),
                |_, a, n, _| exact(a, n, Numeric::round),
            ),
        ),
        function(
            &["trunc", "truncate"],
            MATH,
            "Cut off towards zero, to a whole number or so many digits.",
            ("trunc(42.4382, 2)", "42.43"),
            with_digits(
                both(|_, a, n, ty| float(a, n, ty, f64::trunc), |_, a, n, _| exact(a, n, |v, _| v.trunc(0))),
                |_, a, n, _| exact(a, n, Numeric::trunc),
            ),
        ),
        function(
            &["ceil", "ceiling"],
            MATH,
            "The smallest whole number that is not smaller.",
            ("ceil(-42.8)", "-42"),
            both(|_, a, n, ty| float(a, n, ty, f64::ceil), |_, a, n, _| exact(a, n, |v, _| v.ceil())),
        ),
        function(
            &["floor"],
            MATH,
            "The largest whole number that is not larger.",
            ("floor(-42.8)", "-43"),
            both(|_, a, n, ty| float(a, n, ty, f64::floor), |_, a, n, _| exact(a, n, |v, _| v.floor())),
        ),
        function(
            &["sign"],
            MATH,
            "-1, 0 or 1.",
            ("sign(-8.4)", "-1"),
            both(
                |_, a, n, ty| {
                    float(a, n, ty, |v| {
                        if v == 0.0 {
                            0.0
                        } else if v.is_nan() {
                            v
                        } else {
                            v.signum()
                        }
                    })
                },
                |_, a, n, _| {
                    exact(a, n, |v, _| if v.is_nan() { v.clone() } else { Numeric::finite(v.signum().into(), 0) })
                },
            ),
        ),
        function(
            &["isNaN"],
            MATH,
            "Whether the value is NaN.",
            ("isNaN('NaN'::float8)", "t"),
            vec![strict([FLOAT8], Type::Bool, |_, a, n, ty| test(a, n, ty, f64::is_nan))],
        ),
        function(
            &["isFinite"],
            MATH,
            "Whether the value is neither NaN nor infinite.",
            ("isFinite(1.5)", "t"),
            vec![strict([FLOAT8], Type::Bool, |_, a, n, ty| test(a, n, ty, f64::is_finite))],
        ),
        function(
            &["isInfinite"],
            MATH,
            "Whether the value is infinite.",
            ("isInfinite(1.5)", "f"),
            vec![strict([FLOAT8], Type::Bool, |_, a, n, ty| test(a, n, ty, f64::is_infinite))],
        ),
    ]
}

fn float(args: &[Datum], rows: usize, ty: &Type, body: fn(f64) -> f64) -> Result<Datum> {
    map_rows::<Float64Type, Float64Type>(args, 0, rows, ty, body)
}

fn test(args: &[Datum], rows: usize, ty: &Type, body: fn(f64) -> bool) -> Result<Datum> {
    let values = primitive::<Float64Type>(args, 0)?;
    bool_rows(args, rows, ty, |row| Ok(Some(body(values.at(row)))))
}

/// A numeric of any form, with the digits in the second argument if there is one.
fn exact(args: &[Datum], rows: usize, body: fn(&Numeric, i32) -> Numeric) -> Result<Datum> {
    let digits = if args.len() > 1 { Some(primitive::<Int32Type>(args, 1)?) } else { None };
    batch(args, rows, &Type::Numeric(None), |rows| {
        let nulls = nulls_of(args, rows);
        let array = args[0].array();
        let stride = usize::from(matches!(args[0], Datum::Array(_)));
        let mut out = NumericBuilder::with_capacity(rows);
        for row in 0..rows {
            match is_valid(&nulls, row) {
                true => out.append(&body(&value_at(array.as_ref(), row * stride), digits.map_or(0, |d| d.at(row)))),
                false => out.append_null(),
            }
        }
        Ok(Arc::new(out.finish()))
    })
}

/// A function of one double that may refuse its argument.
macro_rules! of_one {
    ($body:expr) => {
        vec![strict([FLOAT8], Type::Float8, |_, args, rows, ty| {
            let values = primitive::<Float64Type>(args, 0)?;
            let body: fn(f64) -> Result<f64> = $body;
            primitive_rows::<Float64Type>(args, rows, ty, |row| body(values.at(row)).map(Some))
        })]
    };
}

fn of_two(body: Kernel) -> Vec<Overload> {
    vec![strict([FLOAT8, FLOAT8], Type::Float8, body)]
}

/// 22003 for what became infinite on the way.
fn finite(value: f64, from: f64) -> Result<f64> {
    if value.is_infinite() && from.is_finite() { Err(float_range("overflow")) } else { Ok(value) }
}

fn logarithm(value: f64, log: fn(f64) -> f64) -> Result<f64> {
    let wrong =
        |what| Err(Error::new(ErrorKind::InvalidArgumentForLogarithm, format!("cannot take logarithm of {what}")));
    match value {
        0.0 => wrong("zero"),
        v if v < 0.0 => wrong("a negative number"),
        v => Ok(log(v)),
    }
}

fn power(base: f64, exponent: f64) -> Result<f64> {
    let wrong = |message: &str| Err(Error::new(ErrorKind::InvalidArgumentForPower, message));
    if base == 0.0 && exponent < 0.0 {
        return wrong("zero raised to a negative power is undefined");
    }
    if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
        return wrong("a negative number raised to a non-integer power yields a complex result");
    }
    let value = base.powf(exponent);
    if value == 0.0 && base != 0.0 && base.is_finite() && exponent.is_finite() {
        return Err(float_range("underflow"));
    }
    if exponent.is_infinite() { Ok(value) } else { finite(value, base) }
}

fn in_domain(value: f64, body: fn(f64) -> f64) -> Result<f64> {
    let result = body(value);
    match result.is_nan() && !value.is_nan() {
        true => Err(Error::new(ErrorKind::NumericOutOfRange, "input is out of range")),
        false => Ok(result),
    }
}

fn floats() -> Vec<ScalarFunction> {
    let one = |names, doc, example, overloads| function(names, MATH, doc, example, overloads);
    vec![
        one(
            &["sqrt"],
            "The square root.",
            ("sqrt(16)", "4"),
            of_one!(|v| match v < 0.0 {
                true =>
                    Err(Error::new(ErrorKind::InvalidArgumentForPower, "cannot take square root of a negative number")),
                false => Ok(v.sqrt()),
            }),
        ),
        one(&["cbrt"], "The cube root.", ("cbrt(27)", "3"), of_one!(|v| Ok(v.cbrt()))),
        one(&["exp2", "intExp2"], "2 to this power.", ("exp2(3)", "8"), of_one!(|v| finite(v.exp2(), v))),
        one(&["exp10", "intExp10"], "10 to this power.", ("exp10(3)", "1000"), of_one!(|v| finite(10_f64.powf(v), v))),
        one(
            &["log1p"],
            "The natural logarithm of 1 more.",
            ("log1p(0)", "0"),
            of_one!(|v| if v > -1.0 { Ok(v.ln_1p()) } else { logarithm(v + 1.0, f64::ln) }),
        ),
        one(&["sigmoid"], "The logistic function.", ("sigmoid(0)", "0.5"), of_one!(|v| Ok(1.0 / (1.0 + (-v).exp())))),
        one(&["exp"], "e to this power.", ("exp(0)", "1"), of_one!(|v| finite(v.exp(), v))),
        one(&["ln"], "The natural logarithm.", ("ln(1)", "0"), of_one!(|v| logarithm(v, f64::ln))),
        one(&["log10"], "The logarithm to base 10.", ("log10(1000)", "3"), of_one!(|v| logarithm(v, f64::log10))),
        one(&["log2"], "The logarithm to base 2.", ("log2(8)", "3"), of_one!(|v| logarithm(v, f64::log2))),
        one(&["log"], "The logarithm to base 10.", ("log(100)", "2"), of_one!(|v| logarithm(v, f64::log10))),
        one(
            &["power", "pow", "^"],
            "The first value to the power of the second.",
            ("power(9, 3)", "729"),
            of_two(|_, args, rows, ty| two(args, rows, ty, power)),
        ),
        one(
            &["atan2"],
            "The angle of the point (second, first).",
            ("atan2(0, 1)", "0"),
            of_two(|_, args, rows, ty| two(args, rows, ty, |y, x| Ok(y.atan2(x)))),
        ),
        one(&["sin"], "The sine of an angle in radians.", ("sin(0)", "0"), of_one!(|v| in_domain(v, f64::sin))),
        one(&["cos"], "The cosine of an angle in radians.", ("cos(0)", "1"), of_one!(|v| in_domain(v, f64::cos))),
        one(&["tan"], "The tangent of an angle in radians.", ("tan(0)", "0"), of_one!(|v| in_domain(v, f64::tan))),
        one(&["cot"], "The cotangent of an angle in radians.", ("", ""), of_one!(|v| Ok(1.0 / v.tan()))),
        one(&["asin"], "The inverse sine.", ("asin(0)", "0"), of_one!(|v| in_domain(v, f64::asin))),
        one(&["acos"], "The inverse cosine.", ("acos(1)", "0"), of_one!(|v| in_domain(v, f64::acos))),
        one(&["atan"], "The inverse tangent.", ("atan(0)", "0"), of_one!(|v| Ok(v.atan()))),
        one(&["sinh"], "The hyperbolic sine.", ("sinh(0)", "0"), of_one!(|v| finite(v.sinh(), v))),
        one(&["cosh"], "The hyperbolic cosine.", ("cosh(0)", "1"), of_one!(|v| finite(v.cosh(), v))),
        one(&["tanh"], "The hyperbolic tangent.", ("tanh(0)", "0"), of_one!(|v| Ok(v.tanh()))),
        one(&["degrees"], "Radians as degrees.", ("degrees(0)", "0"), of_one!(|v| finite(v.to_degrees(), v))),
        one(
            &["radians"],
            "Degrees as radians.",
            ("radians(0)", "0"),
            of_one!(|v| Ok(v * (std::f64::consts::PI / 180.0))),
        ),
        one(
            &["e"],
            "Euler's number.",
            ("e()", "2.718281828459045"),
            vec![strict([], Type::Float8, |_, _, _, _| Ok(Datum::Scalar(Value::float8(std::f64::consts::E))))],
        ),
        one(
            &["pi"],
            "π.",
            ("pi()", "3.141592653589793"),
            vec![strict([], Type::Float8, |_, _, _, _| Ok(Datum::Scalar(Value::float8(std::f64::consts::PI))))],
        ),
        one(
            &["random", "rand"],
            "A random double from 0 up to 1.",
            ("", ""),
            vec![strict([], Type::Float8, |_, _, rows, _| {
                let mut random = rand::rng();
                let values: Vec<f64> = (0..rows).map(|_| random.random()).collect();
                Ok(Datum::Array(Arc::new(arrow::array::Float64Array::from(values))))
            })],
        )
        .volatile(),
        one(
            &["width_bucket"],
            "The number of the bucket, of so many equal ones between two bounds, that the value is in.",
            ("width_bucket(5.35, 0.024, 10.06, 5)", "3"),
            vec![strict([FLOAT8, FLOAT8, FLOAT8, INT4], Type::Int4, width_bucket)],
        ),
    ]
}

fn two(args: &[Datum], rows: usize, ty: &Type, body: fn(f64, f64) -> Result<f64>) -> Result<Datum> {
    let (a, b) = (primitive::<Float64Type>(args, 0)?, primitive::<Float64Type>(args, 1)?);
    primitive_rows::<Float64Type>(args, rows, ty, |row| body(a.at(row), b.at(row)).map(Some))
}

fn width_bucket(_: &Context, args: &[Datum], rows: usize, ty: &Types<'_>) -> Result<Datum> {
    let value = |i| primitive::<Float64Type>(args, i);
    let (operand, low, high, count) = (value(0)?, value(1)?, value(2)?, primitive::<Int32Type>(args, 3)?);
    let wrong = |message: &str| Err(Error::new(ErrorKind::InvalidArgumentForWidthBucket, message));
    primitive_rows::<Int32Type>(args, rows, ty, |row| {
        let (v, low, high, count) = (operand.at(row), low.at(row), high.at(row), count.at(row));
        if count <= 0 {
            return wrong("count must be greater than zero");
        }
        if v.is_nan() || low.is_nan() || high.is_nan() {
            return wrong("operand, lower bound, and upper bound cannot be NaN");
        }
        if low.is_infinite() || high.is_infinite() {
            return wrong("lower and upper bounds must be finite");
        }
        if low == high {
            return wrong("lower bound cannot equal upper bound");
        }
        let (below, above) = if low < high { (v < low, v >= high) } else { (v > low, v <= high) };
        Ok(Some(match (below, above) {
            (true, _) => 0,
            (_, true) => count.checked_add(1).ok_or_else(|| float_range("overflow"))?,
            _ => ((v - low) / (high - low) * f64::from(count)) as i32 + 1,
        }))
    })
}

/// Overloads of an operation for pairs of integers of one type. A kernel is a plain function, so each needs the operation spelled out.
macro_rules! pairs {
    ($body:expr) => {
        vec![
            Overload::exact(&[Type::Int4, Type::Int4], Type::Int4, |_, a, n, ty| pair::<Int32Type>(a, n, ty, $body)),
            Overload::exact(&[Type::Int8, Type::Int8], Type::Int8, |_, a, n, ty| pair::<Int64Type>(a, n, ty, $body)),
            Overload::exact(&[Type::Int2, Type::Int2], Type::Int2, |_, a, n, ty| pair::<Int16Type>(a, n, ty, $body)),
        ]
    };
}

fn integers() -> Vec<ScalarFunction> {
    vec![
        function(
            &["gcd"],
            MATH,
            "The greatest common divisor.",
            ("gcd(1071, 462)", "21"),
            pairs!(|a, b| Some(num_integer::gcd(a, b))),
        ),
        function(
            &["lcm"],
            MATH,
            "The least common multiple.",
            ("lcm(1071, 462)", "23562"),
            pairs!(|a, b| {
                if a == 0 || b == 0 { Some(0) } else { (a / num_integer::gcd(a, b)).checked_mul(b).map(i128::abs) }
            }),
        ),
        function(
            &["factorial"],
            MATH,
            "The product of all whole numbers from 1.",
            ("factorial(5)", "120"),
            vec![strict([INT8], Type::Numeric(None), |_, args, rows, _| {
                let values = primitive::<Int64Type>(args, 0)?;
                batch(args, rows, &Type::Numeric(None), |rows| {
                    let nulls = nulls_of(args, rows);
                    let value =
                        |row: usize| is_valid(&nulls, row).then(|| numeric::factorial(values.at(row))).transpose();
                    let values: Vec<Option<Numeric>> = (0..rows).map(value).collect::<Result<_>>()?;
                    Ok(Arc::new(numeric::from_values(values)))
                })
            })],
        ),
        function(&["&", "bitAnd"], BITS, "The bits that both have.", ("91 & 15", "11"), pairs!(|a, b| Some(a & b))),
        function(&["|", "bitOr"], BITS, "The bits that one of them has.", ("32 | 3", "35"), pairs!(|a, b| Some(a | b))),
        function(
            &["#", "bitXor"],
            BITS,
            "The bits that just one of them has.",
            ("17 # 5", "20"),
            pairs!(|a, b| Some(a ^ b)),
        ),
        function(
            &["bitTest"],
            BITS,
            "Whether the bit of this number, from 0, is set.",
            ("bitTest(43, 1)", "t"),
            vec![strict([INT8, INT8], Type::Bool, |_, a, n, ty| {
                let (values, bits) = (primitive::<Int64Type>(a, 0)?, primitive::<Int64Type>(a, 1)?);
                bool_rows(a, n, ty, |row| match u32::try_from(bits.at(row)) {
                    Ok(bit @ 0..=63) => Ok(Some(values.at(row) >> bit & 1 == 1)),
                    _ => Err(invalid_parameter("the bits of a number are counted from 0 to 63")),
                })
            })],
        ),
        function(
            &["bitCount", "bit_count"],
            BITS,
            "How many bits are set.",
            ("bitCount(7)", "3"),
            vec![strict([INT8], Type::Int8, |_, a, n, ty| {
                map_rows::<Int64Type, Int64Type>(a, 0, n, ty, |v| i64::from(v.count_ones()))
            })],
        ),
        function(
            &["bitHammingDistance"],
            BITS,
            "In how many bits two integers differ.",
            ("bitHammingDistance(111, 121)", "3"),
            vec![strict([INT8, INT8], Type::Int8, |_, a, n, ty| {
                let (left, right) = (primitive::<Int64Type>(a, 0)?, primitive::<Int64Type>(a, 1)?);
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    Ok(Some(i64::from((left.at(row) ^ right.at(row)).count_ones())))
                })
            })],
        ),
        function(&["<<", "bitShiftLeft"], BITS, "Shifted to the left.", ("1 << 4", "16"), shifts(true)),
        function(&[">>", "bitShiftRight"], BITS, "Shifted to the right.", ("8 >> 2", "2"), shifts(false)),
        function(
            &["~", "bitNot"],
            BITS,
            "All bits turned over.",
            ("~91", "-92"),
            vec![
                strict([Param::Exact(Type::Int2)], Type::Int2, |_, a, n, ty| {
                    map_rows::<Int16Type, Int16Type>(a, 0, n, ty, |v| !v)
                }),
                strict([INT4], Type::Int4, |_, a, n, ty| map_rows::<Int32Type, Int32Type>(a, 0, n, ty, |v| !v)),
                strict([INT8], Type::Int8, |_, a, n, ty| map_rows::<Int64Type, Int64Type>(a, 0, n, ty, |v| !v)),
            ],
        ),
    ]
}

/// An operation of two integers of one type; `None` is out of range.
fn pair<T: ArrowPrimitiveType>(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    body: impl Fn(i128, i128) -> Option<i128>,
) -> Result<Datum>
where
    T::Native: Into<i128> + TryFrom<i128>,
{
    let (a, b) = (primitive::<T>(args, 0)?, primitive::<T>(args, 1)?);
    primitive_rows::<T>(args, rows, ty, |row| {
        let value = body(a.at(row).into(), b.at(row).into()).and_then(|v| T::Native::try_from(v).ok());
        value.map(Some).ok_or_else(|| Error::new(ErrorKind::NumericOutOfRange, format!("{ty} out of range")))
    })
}

fn shifts(left: bool) -> Vec<Overload> {
    let kernel = |left: Kernel, right: Kernel, is_left: bool| if is_left { left } else { right };
    vec![
        strict(
            [INT4, INT4],
            Type::Int4,
            kernel(
                |_, a, n, ty| shift::<Int32Type>(a, n, ty, |v, by| v.wrapping_shl(by as u32)),
                |_, a, n, ty| shift::<Int32Type>(a, n, ty, |v, by| v.wrapping_shr(by as u32)),
                left,
            ),
        ),
        strict(
            [INT8, INT4],
            Type::Int8,
            kernel(
                |_, a, n, ty| shift::<Int64Type>(a, n, ty, |v, by| v.wrapping_shl(by as u32)),
                |_, a, n, ty| shift::<Int64Type>(a, n, ty, |v, by| v.wrapping_shr(by as u32)),
                left,
            ),
        ),
    ]
}

fn shift<T: ArrowPrimitiveType>(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    body: fn(T::Native, i32) -> T::Native,
) -> Result<Datum> {
    let (values, by) = (primitive::<T>(args, 0)?, primitive::<Int32Type>(args, 1)?);
    primitive_rows::<T>(args, rows, ty, |row| Ok(Some(body(values.at(row), by.at(row)))))
}

fn extreme(kernel: Kernel) -> Overload {
    Overload::new(vec![Param::AnyElement], Returns::Element, kernel).variadic().lax()
}

fn greatest(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    choose(args, rows, types.result, Comparison::Gt)
}

fn least(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    choose(args, rows, types.result, Comparison::Lt)
}

/// The one of the arguments that compares so with all others; NULLs are passed over.
fn choose(args: &[Datum], rows: usize, ty: &Type, comparison: Comparison) -> Result<Datum> {
    let constant = args.iter().all(|arg| matches!(arg, Datum::Scalar(_)));
    let rows = if constant { 1 } else { rows };
    let mut best: ArrayRef = args[0].clone().into_array(rows)?;
    for arg in &args[1..] {
        let next = arg.clone().into_array(rows)?;
        let better = compare(comparison, ty, &Datum::Array(next.clone()), &Datum::Array(best.clone()), rows)?;
        let better = better.into_array(rows)?;
        let better = better.as_any().downcast_ref::<BooleanArray>();
        let better = better.ok_or_else(|| Error::internal("a comparison is not boolean"))?;
        let take = (0..rows)
            .map(|row| !next.is_null(row) && (best.is_null(row) || (better.is_valid(row) && better.value(row))));
        let take = BooleanArray::from_iter(take.map(Some));
        best = zip(&take, &next, &best)?;
    }
    Ok(match constant {
        true => Datum::Scalar(Value::new(ty.clone(), best)),
        false => Datum::Array(best),
    })
}
