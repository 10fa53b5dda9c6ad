//! Arithmetic operators on numbers: `+ - * / %`, unary `-` and `+`, `@`, and ClickHouse's names for them.
//!
//! Both sides have one type, which the binder has cast them to; numerics keep static scales where Postgres's rule for the display scale
//! gives one (`+ -` the larger, `*` the sum) and 38 digits hold the result, and become unconstrained numerics otherwise. Integers and
//! numerics that do not fit raise 22003, division by zero raises 22012, floats too, as in Postgres.
//!
//! A batch of unconstrained numerics that all have one scale and fit may be a column of decimals, for a reader that takes either form
//! ([`either_form`]).

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, Datum as ArrowDatum, Decimal128Array, PrimitiveArray, Scalar};
use arrow::compute::kernels::numeric::{add, div, mul, sub};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL128_MAX_SCALE, DataType, Decimal128Type, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use weir_sql::catalog::{Param, Returns};
use weir_sql::{Type, Value};

use super::declare::{NUMERIC, function};
use super::rows::{batch, is_valid, nulls_of};
use super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cast::{cast_array, float_range};
use crate::kernels::numeric::{self, Numeric, NumericBuilder, value_at};

const FAMILY: &str = "arithmetic";

const INTEGERS: [Type; 7] = [Type::Int4, Type::Int8, Type::Int2, Type::UInt8, Type::UInt16, Type::UInt32, Type::UInt64];

pub(crate) fn functions() -> Vec<ScalarFunction> {
    vec![
        function(&["+", "plus"], FAMILY, "The sum.", ("1 + 1.5", "2.5"), overloads(Op::Add)),
        function(&["-", "minus"], FAMILY, "The difference, or the negative of one value.", ("1 - 1.5", "-0.5"), {
            let mut all = overloads(Op::Sub);
            all.extend(unary(negate));
            all
        }),
        function(&["*", "multiply"], FAMILY, "The product.", ("2 * 1.5", "3.0"), overloads(Op::Mul)),
        function(
            &["/"],
            FAMILY,
            "The quotient; of integers, cut off towards zero.",
            ("7 / 2", "3"),
            overloads(Op::Div),
        ),
        function(
            &["%", "mod", "modulo"],
            FAMILY,
            "The remainder of a division cut off towards zero: it has the sign of the first value.",
            ("-7 % 3", "-1"),
            overloads(Op::Rem),
        ),
        function(
            &["div", "intDiv"],
            FAMILY,
            "The quotient cut off towards zero.",
            ("div(7.5, 2)", "3"),
            vec![
                Overload::exact(&[Type::Int4, Type::Int4], Type::Int4, binary::<3>),
                Overload::exact(&[Type::Int8, Type::Int8], Type::Int8, binary::<3>),
                Overload::exact(
                    &[Type::Numeric(None), Type::Numeric(None)],
                    Type::Numeric(None),
                    |_, args, rows, _| numerics(args, rows, Numeric::div_trunc),
                ),
            ],
        ),
        function(&["negate"], FAMILY, "The negative.", ("negate(1)", "-1"), unary(negate)),
        function(&["@", "abs"], FAMILY, "The absolute value.", ("abs(-17.4)", "17.4"), unary(absolute)),
        function(
            &["divide"],
            FAMILY,
            "The quotient as a double.",
            ("divide(7, 2)", "3.5"),
            vec![Overload::exact(&[Type::Float8, Type::Float8], Type::Float8, binary::<3>)],
        ),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

const OPS: [Op; 5] = [Op::Add, Op::Sub, Op::Mul, Op::Div, Op::Rem];

fn overloads(op: Op) -> Vec<Overload> {
    let kernel: Kernel = match op {
        Op::Add => binary::<0>,
        Op::Sub => binary::<1>,
        Op::Mul => binary::<2>,
        Op::Div => binary::<3>,
        Op::Rem => binary::<4>,
    };
    let mut all: Vec<Overload> =
        INTEGERS.iter().map(|ty| Overload::exact(&[ty.clone(), ty.clone()], ty.clone(), kernel)).collect();
    if op != Op::Rem {
        for ty in [Type::Float8, Type::Float4] {
            all.push(Overload::exact(&[ty.clone(), ty.clone()], ty, kernel));
        }
    }
    let returns = match op {
        Op::Add | Op::Sub => Returns::Computed(sum_type),
        Op::Mul => Returns::Computed(product_type),
        Op::Div => Returns::Exact(Type::Numeric(None)),
        Op::Rem => Returns::Computed(remainder_type),
    };
    all.push(Overload::new(vec![NUMERIC, NUMERIC], returns, kernel));
    all
}

fn unary(kernel: Kernel) -> Vec<Overload> {
    let one = |ty: Type| Overload::new(vec![Param::Exact(ty)], Returns::Argument(0), kernel);
    let types = [Type::Int4, Type::Int8, Type::Int2, Type::Float8, Type::Float4, Type::Numeric(None)];
    types.into_iter().map(one).collect()
}

/// Static precision and scale of two numerics, if both have them.
fn modifiers(types: &[Type]) -> Option<((i32, i32), (i32, i32))> {
    match types {
        [Type::Numeric(Some((p1, s1))), Type::Numeric(Some((p2, s2)))] => {
            Some(((i32::from(*p1), i32::from(*s1)), (i32::from(*p2), i32::from(*s2))))
        }
        _ => None,
    }
}

fn numeric_of(precision: i32, scale: i32) -> Type {
    match u8::try_from(precision).ok().filter(|p| *p <= 38) {
        Some(precision) if (0..=i32::from(precision)).contains(&scale) => Type::Numeric(Some((precision, scale as i8))),
        _ => Type::Numeric(None),
    }
}

fn sum_type(types: &[Type]) -> Type {
    modifiers(types).map_or(Type::Numeric(None), |((p1, s1), (p2, s2))| {
        let scale = s1.max(s2);
        numeric_of((p1 - s1).max(p2 - s2) + scale + 1, scale)
    })
}

fn product_type(types: &[Type]) -> Type {
    modifiers(types).map_or(Type::Numeric(None), |((p1, s1), (p2, s2))| numeric_of(p1 + p2, s1 + s2))
}

fn remainder_type(types: &[Type]) -> Type {
    modifiers(types).map_or(Type::Numeric(None), |((p1, s1), (p2, s2))| {
        let scale = s1.max(s2);
        numeric_of((p1 - s1).max(p2 - s2) + scale, scale)
    })
}

/// An operator on two values of one type: chosen once a batch.
fn binary<const OP: usize>(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let op = OPS[OP];
    match types.result {
        Type::Int2 => integers::<Int16Type>(op, args, rows, types),
        Type::Int4 => integers::<Int32Type>(op, args, rows, types),
        Type::Int8 => integers::<Int64Type>(op, args, rows, types),
        Type::UInt8 => integers::<UInt8Type>(op, args, rows, types),
        Type::UInt16 => integers::<UInt16Type>(op, args, rows, types),
        Type::UInt32 => integers::<UInt32Type>(op, args, rows, types),
        Type::UInt64 => integers::<UInt64Type>(op, args, rows, types),
        Type::Float8 => floats::<Float64Type>(op, args, rows, types),
        Type::Float4 => floats::<Float32Type>(op, args, rows, types),
        Type::Numeric(Some((_, scale))) => decimals(context, op, args, rows, types, *scale),
        _ => numerics(
            args,
            rows,
            match op {
                Op::Add => Numeric::add,
                Op::Sub => Numeric::sub,
                Op::Mul => Numeric::mul,
                Op::Div => Numeric::div,
                Op::Rem => Numeric::rem,
            },
        ),
    }
}

/// One of arrow's kernels over columns and constants alike.
fn arrow(
    args: &[Datum],
    kernel: impl Fn(&dyn ArrowDatum, &dyn ArrowDatum) -> std::result::Result<ArrayRef, ArrowError>,
) -> Result<ArrayRef> {
    let side = |datum: &Datum| -> Box<dyn ArrowDatum> {
        match datum {
            Datum::Array(array) => Box::new(array.clone()),
            Datum::Scalar(value) => Box::new(Scalar::new(value.array.clone())),
        }
    };
    Ok(kernel(side(&args[0]).as_ref(), side(&args[1]).as_ref())?)
}

/// What a kernel gave, as a constant if its arguments were constants.
fn outcome(args: &[Datum], ty: &Type, array: ArrayRef) -> Datum {
    match args.iter().all(|arg| matches!(arg, Datum::Scalar(_))) {
        true => Datum::Scalar(Value::new(ty.clone(), array)),
        false => Datum::Array(array),
    }
}

fn division_by_zero() -> Error {
    Error::new(ErrorKind::DivisionByZero, "division by zero")
}

fn integers<T: ArrowPrimitiveType>(op: Op, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum>
where
    T::Native: num_traits::PrimInt + num_traits::CheckedRem,
{
    let ty = types.result;
    let overflow = |e: Error| match e.kind {
        ErrorKind::NumericOutOfRange => Error::new(ErrorKind::NumericOutOfRange, format!("{ty} out of range")),
        _ => e,
    };
    let result = match op {
        Op::Add => arrow(args, add),
        Op::Sub => arrow(args, sub),
        Op::Mul => arrow(args, mul),
        Op::Div => arrow(args, div),
        Op::Rem => return remainders::<T>(args, rows, ty),
    };
    Ok(outcome(args, ty, result.map_err(overflow)?))
}

/// Remainders of integers; of the least one by -1 it is 0, though the quotient does not exist.
fn remainders<T: ArrowPrimitiveType>(args: &[Datum], rows: usize, ty: &Type) -> Result<Datum>
where
    T::Native: num_traits::PrimInt + num_traits::CheckedRem,
{
    use num_traits::{CheckedRem, Zero};
    batch(args, rows, ty, |rows| {
        let (left, right) = (side::<T>(&args[0]), side::<T>(&args[1]));
        let nulls = nulls_of(args, rows);
        let mut values = Vec::with_capacity(rows);
        for row in 0..rows {
            if !is_valid(&nulls, row) {
                values.push(T::Native::zero());
                continue;
            }
            let (a, b) = (left.at(row), right.at(row));
            if b.is_zero() {
                return Err(division_by_zero());
            }
            values.push(a.checked_rem(&b).unwrap_or_else(T::Native::zero));
        }
        Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls)))
    })
}

/// A side as a typed column; a constant stands for every row.
struct Side<'a, T: ArrowPrimitiveType> {
    values: &'a [T::Native],
    stride: usize,
}

impl<T: ArrowPrimitiveType> Side<'_, T> {
    #[inline]
    fn at(&self, row: usize) -> T::Native {
        self.values[row * self.stride]
    }

    /// What an operator gives of each pair; which side is a constant is asked outside the loop.
    #[inline]
    fn with(&self, right: &Self, rows: usize, f: impl Fn(T::Native, T::Native) -> T::Native) -> Vec<T::Native> {
        match (self.stride, right.stride) {
            (1, 1) => self.values.iter().zip(right.values).map(|(&a, &b)| f(a, b)).collect(),
            (1, _) => self.values.iter().map(|&a| f(a, right.at(0))).collect(),
            (_, 1) => right.values.iter().map(|&b| f(self.at(0), b)).collect(),
            _ => vec![f(self.at(0), right.at(0)); rows],
        }
    }
}

fn side<T: ArrowPrimitiveType>(datum: &Datum) -> Side<'_, T> {
    let array = datum.array().as_any().downcast_ref::<PrimitiveArray<T>>();
    let values = array.map_or(&[][..], |array| &array.values()[..]);
    Side { values, stride: usize::from(matches!(datum, Datum::Array(_))) }
}

fn floats<T: ArrowPrimitiveType>(op: Op, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum>
where
    T::Native: num_traits::Float,
{
    use num_traits::{Float, Zero};
    batch(args, rows, types.result, |rows| {
        let (left, right) = (side::<T>(&args[0]), side::<T>(&args[1]));
        let nulls = nulls_of(args, rows);
        let compute = |row: usize| {
            let (a, b) = (left.at(row), right.at(row));
            match op {
                Op::Add => a + b,
                Op::Sub => a - b,
                Op::Mul => a * b,
                Op::Div | Op::Rem => a / b,
            }
        };
        let values: Vec<T::Native> = (0..rows).map(compute).collect();
        // What came out infinite or zero may be out of range: looked at apart, so that the loop above stays plain.
        let products = matches!(op, Op::Mul | Op::Div);
        for (row, value) in values.iter().enumerate() {
            let suspicious = !value.is_finite() || (products && value.is_zero());
            if !suspicious || !is_valid(&nulls, row) {
                continue;
            }
            let (a, b) = (left.at(row), right.at(row));
            if op == Op::Div && b.is_zero() && !a.is_nan() {
                return Err(division_by_zero());
            }
            if value.is_infinite() && !a.is_infinite() && !b.is_infinite() {
                return Err(float_range("overflow"));
            }
            if products
                && value.is_zero()
                && !a.is_zero()
                && !(if op == Op::Mul { b.is_zero() } else { b.is_infinite() })
            {
                return Err(float_range("underflow"));
            }
        }
        Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls)))
    })
}

/// Decimals of static scale: sums at the result's scale, products at the sum of the scales.
fn decimals(context: &Context, op: Op, args: &[Datum], rows: usize, types: &Types<'_>, scale: i8) -> Result<Datum> {
    let ty = types.result;
    let aligned: Vec<Datum> = match op {
        Op::Mul => args.to_vec(),
        _ => {
            args.iter().zip(types.args).map(|(arg, from)| at_scale(context, arg, from, scale)).collect::<Result<_>>()?
        }
    };
    batch(args, rows, ty, |rows| {
        let (left, right) = (side::<Decimal128Type>(&aligned[0]), side::<Decimal128Type>(&aligned[1]));
        let nulls = nulls_of(args, rows);
        if op == Op::Rem && (0..rows).any(|row| is_valid(&nulls, row) && right.at(row) == 0) {
            return Err(division_by_zero());
        }
        // The result's precision holds every result, so nothing here can overflow.
        let values = match op {
            Op::Add => left.with(&right, rows, i128::wrapping_add),
            Op::Sub => left.with(&right, rows, i128::wrapping_sub),
            Op::Mul | Op::Div => left.with(&right, rows, i128::wrapping_mul),
            Op::Rem => left.with(&right, rows, |a, b| a.checked_rem(b).unwrap_or(0)),
        };
        Ok(Arc::new(Decimal128Array::new(values.into(), nulls).with_data_type(ty.to_arrow())))
    })
}

/// A decimal at a larger scale.
fn at_scale(context: &Context, arg: &Datum, from: &Type, scale: i8) -> Result<Datum> {
    let to = Type::Numeric(Some((38, scale)));
    let array = cast_array(context, arg.array(), from, &to, false)?;
    Ok(match arg {
        Datum::Array(_) => Datum::Array(array),
        Datum::Scalar(_) => Datum::Scalar(Value::new(to, array)),
    })
}

/// Numerics of any scale, value by value.
pub(super) fn numerics(args: &[Datum], rows: usize, body: fn(&Numeric, &Numeric) -> Result<Numeric>) -> Result<Datum> {
    batch(args, rows, &Type::Numeric(None), |rows| {
        let nulls = nulls_of(args, rows);
        let index = |arg: &Datum, row: usize| if matches!(arg, Datum::Array(_)) { row } else { 0 };
        let mut out = NumericBuilder::with_capacity(rows);
        for row in 0..rows {
            if !is_valid(&nulls, row) {
                out.append_null();
                continue;
            }
            let value = |arg: &Datum| value_at(arg.array().as_ref(), index(arg, row));
            out.append(&body(&value(&args[0]), &value(&args[1]))?);
        }
        Ok(Arc::new(out.finish()))
    })
}

/// The operator of this name on so many numerics without a static scale, for a reader that takes decimals as well.
pub(crate) fn either_form(name: &str, args: usize) -> Option<Kernel> {
    Some(match (name, args) {
        ("+" | "plus", 2) => either::<0>,
        ("-" | "minus", 2) => either::<1>,
        ("*" | "multiply", 2) => either::<2>,
        _ => return None,
    })
}

/// The same as [`binary`], as decimals if both sides are and the results fit.
fn either<const OP: usize>(context: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    match unconstrained_decimals(OPS[OP], args, rows) {
        Some(decimals) => Ok(Datum::Array(Arc::new(decimals))),
        None => binary::<OP>(context, args, rows, types),
    }
}

/// One side of an operator on decimals of any precision: unscaled values, how far each is from the one before, and their scale.
struct Decimals<'a> {
    values: Cow<'a, [i128]>,
    stride: usize,
    scale: i8,
}

impl Decimals<'_> {
    /// A column of decimals, or a constant.
    fn new(datum: &Datum) -> Option<Decimals<'_>> {
        let stride = usize::from(matches!(datum, Datum::Array(_)));
        if let Some(array) = datum.array().as_any().downcast_ref::<Decimal128Array>() {
            return Some(Decimals { values: Cow::Borrowed(array.values()), stride, scale: array.scale() });
        }
        match datum {
            Datum::Scalar(value) if !value.is_null() => match value_at(value.array.as_ref(), 0) {
                Numeric::Small(unscaled, scale) => {
                    Some(Decimals { values: Cow::Owned(vec![unscaled]), stride, scale: i8::try_from(scale).ok()? })
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// No value is larger, whatever its sign.
    fn most(&self) -> u128 {
        let bits = self.values.iter().fold(0, |bits, value| bits | value.unsigned_abs());
        u128::MAX.checked_shr(bits.leading_zeros()).unwrap_or(0)
    }
}

/// Sums, differences or products of decimals; `None` if a side is no decimals, or one may not fit. The values of NULLs may be anything.
fn unconstrained_decimals(op: Op, args: &[Datum], rows: usize) -> Option<Decimal128Array> {
    let [left, right] = args else { return None };
    let (left, right) = (Decimals::new(left)?, Decimals::new(right)?);
    if left.stride == 0 && right.stride == 0 || left.scale < 0 || right.scale < 0 {
        return None;
    }
    let scale = if op == Op::Mul { left.scale.checked_add(right.scale)? } else { left.scale.max(right.scale) };
    let times = |side: &Decimals<'_>| 10_i128.checked_pow((scale - side.scale).unsigned_abs().into());
    let (by_left, by_right) = if op == Op::Mul { (1, 1) } else { (times(&left)?, times(&right)?) };
    let most = |side: &Decimals<'_>, by: i128| side.most().checked_mul(by.unsigned_abs());
    let (of_left, of_right) = (most(&left, by_left)?, most(&right, by_right)?);
    let most = if op == Op::Mul { of_left.checked_mul(of_right) } else { of_left.checked_add(of_right) }?;
    if scale > DECIMAL128_MAX_SCALE || most >= 10_u128.pow(DECIMAL128_MAX_PRECISION.into()) {
        return None;
    }
    let [left, right] =
        [&left, &right].map(|side| Side::<Decimal128Type> { values: &side.values, stride: side.stride });
    let values = match op {
        Op::Add => left.with(&right, rows, |a, b| a * by_left + b * by_right),
        Op::Sub => left.with(&right, rows, |a, b| a * by_left - b * by_right),
        _ => left.with(&right, rows, |a, b| a * b),
    };
    let ty = DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale);
    Some(Decimal128Array::new(values.into(), nulls_of(args, rows)).with_data_type(ty))
}

fn negate(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    each(args, rows, types, |v| v.checked_neg(), |v| -v, Numeric::neg)
}

fn absolute(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    each(args, rows, types, |v| v.checked_abs(), f64::abs, Numeric::abs)
}

/// A number of any type, by the way of integers, floats or numerics.
fn each(
    args: &[Datum],
    rows: usize,
    types: &Types<'_>,
    integer: fn(i128) -> Option<i128>,
    float: fn(f64) -> f64,
    exact: fn(&Numeric) -> Numeric,
) -> Result<Datum> {
    fn map<T: ArrowPrimitiveType>(
        arg: &Datum,
        rows: usize,
        body: impl Fn(T::Native) -> Option<T::Native>,
        ty: &Type,
    ) -> Result<ArrayRef> {
        let array = arg.array().as_any().downcast_ref::<PrimitiveArray<T>>();
        let array = array.ok_or_else(|| Error::internal("a number is not of its type"))?;
        debug_assert!(matches!(arg, Datum::Scalar(_)) || array.len() == rows);
        let overflow = || Error::new(ErrorKind::NumericOutOfRange, format!("{ty} out of range"));
        let mapped: PrimitiveArray<T> = array.try_unary(|v| body(v).ok_or_else(overflow))?;
        Ok(Arc::new(mapped.with_data_type(ty.to_arrow())))
    }
    let (arg, ty) = (&args[0], types.result);
    let array = match ty {
        Type::Int2 => map::<Int16Type>(arg, rows, |v| integer(v.into()).and_then(|v| v.try_into().ok()), ty)?,
        Type::Int4 => map::<Int32Type>(arg, rows, |v| integer(v.into()).and_then(|v| v.try_into().ok()), ty)?,
        Type::Int8 => map::<Int64Type>(arg, rows, |v| integer(v.into()).and_then(|v| v.try_into().ok()), ty)?,
        Type::Float4 => map::<Float32Type>(arg, rows, |v| Some(float(v.into()) as f32), ty)?,
        Type::Float8 => map::<Float64Type>(arg, rows, |v| Some(float(v)), ty)?,
        Type::Numeric(Some(_)) => map::<Decimal128Type>(arg, rows, integer, ty)?,
        _ => {
            let array = arg.array();
            let value = |row: usize| (!array.is_null(row)).then(|| exact(&value_at(array.as_ref(), row)));
            Arc::new(numeric::from_values((0..array.len()).map(value)))
        }
    };
    Ok(outcome(args, ty, array))
}
