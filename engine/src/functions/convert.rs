//! ClickHouse's conversions by name: toInt32, toFloat64, toString and so on; each also with OrNull, OrZero and OrDefault, for what cannot
//! be converted.
//!
//! They differ from a cast where ClickHouse does: a fraction is cut off rather than rounded, a date counts its days and a moment its seconds
//! since the epoch. What does not fit raises an error, as a cast does.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Scalar};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast as arrow_cast, is_null};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use weir_sql::catalog::{Param, Returns};
use weir_sql::{Type, Value};

use super::declare::{INT8, NUMERIC, function, strict};
use super::json::values::zero;
use super::rows::{batch, primitive, primitive_rows};
use super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::Result;
use crate::kernels::cast::cast;
use crate::kernels::compare::floats;
use crate::kernels::numeric::{self, Numeric};

const FAMILY: &str = "conversion";

/// A type's names: of its conversion, and of the forms that give NULL, zero or a value.
type Names = [&'static [&'static str]; 4];

macro_rules! names {
    ($ty:expr, $($name:literal),+) => {
        (
            [
                &[$($name),+],
                &[$(concat!($name, "OrNull")),+],
                &[$(concat!($name, "OrZero")),+],
                &[$(concat!($name, "OrDefault")),+],
            ],
            $ty,
        )
    };
}

pub(crate) fn functions() -> Vec<ScalarFunction> {
    let types: [(Names, Type); 14] = [
        names!(Type::Int2, "toInt8", "toInt16"),
        names!(Type::Int4, "toInt32"),
        names!(Type::Int8, "toInt64"),
        names!(Type::UInt8, "toUInt8"),
        names!(Type::UInt16, "toUInt16"),
        names!(Type::UInt32, "toUInt32"),
        names!(Type::UInt64, "toUInt64"),
        names!(Type::Numeric(None), "toInt128", "toInt256", "toUInt128", "toUInt256"),
        names!(Type::Float4, "toFloat32"),
        names!(Type::Float8, "toFloat64"),
        names!(Type::Bool, "toBool"),
        names!(Type::Uuid, "toUUID"),
        names!(Type::Date, "toDate", "toDate32"),
        names!(Type::Timestamptz, "toDateTime", "toDateTime64", "parseDateTimeBestEffort"),
    ];
    let mut all = Vec::new();
    for ([plain, or_null, or_zero, or_default], ty) in types {
        let overload = |kernel: Kernel| vec![Overload::new(vec![Param::Any], Returns::Exact(ty.clone()), kernel)];
        // Dates and moments have their plain conversions among the functions of time.
        let moment = matches!(ty, Type::Date | Type::Timestamptz);
        if !moment {
            let doc = "The value as another type; a fraction is cut off.";
            all.push(function(plain, FAMILY, doc, example(&ty), overload(convert)));
        }
        let doc = "The value as another type, or NULL if it is not one.";
        all.push(function(or_null, FAMILY, doc, ("", ""), overload(or_null_kernel)));
        let doc = "The value as another type, or its zero if it is not one.";
        all.push(function(or_zero, FAMILY, doc, ("", ""), overload(or_zero_kernel)));
        let doc =
            "The value as another type, or the second argument if it is not one; the type's zero if there is none.";
        let mut overloads = overload(or_zero_kernel);
        let params = vec![Param::Any, Param::Exact(ty.clone())];
        overloads.push(Overload::new(params, Returns::Exact(ty.clone()), or_default_kernel));
        all.push(function(or_default, FAMILY, doc, ("", ""), overloads));
    }
    all.push(function(
        &["toString"],
        FAMILY,
        "The value as text.",
        ("toString(1.50)", "1.50"),
        vec![Overload::new(vec![Param::Any], Returns::Exact(Type::Text), |ctx, a, _, ty| {
            cast(ctx, &a[0], &ty.args[0], ty.result, true, false)
        })],
    ));
    all.extend(nulls());
    all.extend(divisions());
    all
}

fn example(ty: &Type) -> (&'static str, &'static str) {
    match ty {
        Type::Int4 => ("toInt32(-2.9)", "-2"),
        Type::Int8 => ("toInt64('42')", "42"),
        Type::UInt64 => ("toUInt64(7.99)", "7"),
        Type::Float8 => ("toFloat64('1.5')", "1.5"),
        _ => ("", ""),
    }
}

fn nulls() -> Vec<ScalarFunction> {
    let same = |kernel: Kernel| Overload::new(vec![Param::AnyElement], Returns::Element, kernel).lax();
    vec![
        function(
            &["toNullable", "materialize", "identity"],
            FAMILY,
            "The value as it is: every type has NULL.",
            ("toNullable(1)", "1"),
            vec![same(|_, a, _, _| Ok(a[0].clone()))],
        ),
        function(
            &["assumeNotNull"],
            FAMILY,
            "The value, or its type's zero in place of NULL.",
            ("assumeNotNull(NULL::int)", "0"),
            vec![same(|ctx, a, _, ty| {
                let filled = fill(ctx, a[0].array().clone(), ty.result)?;
                Ok(like(&a[0], ty.result, filled))
            })],
        ),
    ]
}

fn divisions() -> Vec<ScalarFunction> {
    let both = |kernel: Kernel| vec![strict([INT8, INT8], Type::Int8, kernel)];
    vec![
        function(
            &["intDivOrZero"],
            "arithmetic",
            "The quotient cut off towards zero, or 0 for a division by zero.",
            ("intDivOrZero(7, 0)", "0"),
            both(|_, a, n, ty| {
                let (left, right) = (primitive::<Int64Type>(a, 0)?, primitive::<Int64Type>(a, 1)?);
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    Ok(Some(left.at(row).checked_div(right.at(row)).unwrap_or(0)))
                })
            }),
        ),
        function(
            &["moduloOrZero"],
            "arithmetic",
            "The remainder, or 0 for a division by zero.",
            ("moduloOrZero(7, 0)", "0"),
            both(|_, a, n, ty| {
                let (left, right) = (primitive::<Int64Type>(a, 0)?, primitive::<Int64Type>(a, 1)?);
                primitive_rows::<Int64Type>(a, n, ty, |row| {
                    Ok(Some(left.at(row).checked_rem(right.at(row)).unwrap_or(0)))
                })
            }),
        ),
        function(
            &["positiveModulo", "positive_modulo", "pmod"],
            "arithmetic",
            "The remainder of a division cut off downwards: it is never negative for a positive divisor.",
            ("positiveModulo(-1, 10)", "9"),
            vec![
                strict([INT8, INT8], Type::Int8, |_, a, n, ty| {
                    let (left, right) = (primitive::<Int64Type>(a, 0)?, primitive::<Int64Type>(a, 1)?);
                    primitive_rows::<Int64Type>(a, n, ty, |row| match right.at(row) {
                        0 => Err(numeric::division_by_zero()),
                        by => Ok(Some(left.at(row).checked_rem_euclid(by).unwrap_or(0))),
                    })
                }),
                strict([NUMERIC, NUMERIC], Type::Numeric(None), |_, a, n, _| {
                    super::arithmetic::numerics(a, n, |left, right| {
                        let rest = left.rem(right)?;
                        if rest.signum() < 0 && !rest.is_zero() { rest.add(&right.abs()) } else { Ok(rest) }
                    })
                }),
            ],
        ),
    ]
}

/// An array in place of a datum: a constant for a constant.
fn like(datum: &Datum, ty: &Type, array: ArrayRef) -> Datum {
    match datum {
        Datum::Array(_) => Datum::Array(array),
        Datum::Scalar(_) => Datum::Scalar(Value::new(ty.clone(), array)),
    }
}

/// The array with its type's zero in place of NULL, where the type has one.
fn fill(context: &Context, array: ArrayRef, ty: &Type) -> Result<ArrayRef> {
    match zero(context, ty).filter(|_| array.null_count() > 0) {
        Some(zero) => Ok(zip(&is_null(&array)?, &Scalar::new(zero.array), &array)?),
        None => Ok(array),
    }
}

fn convert(context: &Context, args: &[Datum], _: usize, types: &Types<'_>) -> Result<Datum> {
    converted(context, &args[0], &types.args[0], types.result, false)
}

fn or_null_kernel(context: &Context, args: &[Datum], _: usize, types: &Types<'_>) -> Result<Datum> {
    converted(context, &args[0], &types.args[0], types.result, true)
}

fn or_zero_kernel(context: &Context, args: &[Datum], _: usize, types: &Types<'_>) -> Result<Datum> {
    let datum = converted(context, &args[0], &types.args[0], types.result, true)?;
    // What was NULL before it was converted stays so: the caller sees to that.
    let filled = fill(context, datum.array().clone(), types.result)?;
    Ok(like(&args[0], types.result, filled))
}

fn or_default_kernel(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    batch(args, rows, types, |rows| {
        let value = converted(context, &args[0], &types.args[0], types.result, true)?.into_array(rows)?;
        let default = cast(context, &args[1], &types.args[1], types.result, true, false)?.into_array(rows)?;
        Ok(zip(&is_null(&value)?, &default, &value)?)
    })
}

/// `lenient`: what cannot be converted is NULL.
fn converted(context: &Context, datum: &Datum, from: &Type, to: &Type, lenient: bool) -> Result<Datum> {
    // Of these names, those for numerics are of whole numbers.
    let whole = to.is_integer() || matches!(to, Type::Numeric(None));
    let number = whole || matches!(to, Type::Float4 | Type::Float8);
    let (array, from): (ArrayRef, Type) = match from {
        Type::Float4 | Type::Float8 if whole => {
            let values = Float64Array::new(floats(datum.array()).into(), datum.array().logical_nulls());
            (Arc::new(values.unary::<_, Float64Type>(f64::trunc)), Type::Float8)
        }
        Type::Numeric(_) if whole => {
            let source = datum.array();
            let whole = |row: usize| (!source.is_null(row)).then(|| cut(numeric::value_at(source.as_ref(), row)));
            (Arc::new(numeric::from_values((0..source.len()).map(whole))), Type::Numeric(None))
        }
        Type::Date if number => {
            (arrow_cast(&arrow_cast(datum.array(), &DataType::Int32)?, &DataType::Int64)?, Type::Int8)
        }
        Type::Timestamp | Type::Timestamptz if number => {
            let micros = datum.array().as_primitive::<TimestampMicrosecondType>();
            (Arc::new(micros.unary::<_, Int64Type>(|at| at.div_euclid(1_000_000))), Type::Int8)
        }
        from => (datum.array().clone(), from.clone()),
    };
    cast(context, &like(datum, &from, array), &from, to, true, lenient)
}

fn cut(value: Numeric) -> Numeric {
    if value.is_finite() { value.trunc(0) } else { value }
}
