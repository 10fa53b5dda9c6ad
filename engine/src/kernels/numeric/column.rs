//! Columns of numerics: building, reading, and to and from Decimal128.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryViewArray, BinaryViewBuilder, Decimal128Array};
use arrow::buffer::NullBuffer;

use super::Numeric;
use crate::error::{Error, ErrorKind, Result};

/// Downcasts, which only a bug can make fail.
pub(crate) fn downcast<T: 'static>(array: &dyn Array) -> &T {
    array.as_any().downcast_ref::<T>().unwrap_or_else(|| panic!("an unexpected {} array", array.data_type()))
}

/// Collects numerics into a column.
#[derive(Debug)]
pub struct NumericBuilder {
    builder: BinaryViewBuilder,
    bytes: Vec<u8>,
}

impl NumericBuilder {
    /// With room for `capacity` values.
    pub fn with_capacity(capacity: usize) -> NumericBuilder {
        NumericBuilder { builder: BinaryViewBuilder::with_capacity(capacity), bytes: Vec::with_capacity(32) }
    }

    /// One more value.
    pub fn append(&mut self, value: &Numeric) {
        self.bytes.clear();
        value.encode(&mut self.bytes);
        self.builder.append_value(&self.bytes);
    }

    /// One more NULL.
    pub fn append_null(&mut self) {
        self.builder.append_null();
    }

    /// A value or NULL.
    pub fn append_option(&mut self, value: Option<&Numeric>) {
        match value {
            Some(value) => self.append(value),
            None => self.append_null(),
        }
    }

    /// The column.
    pub fn finish(&mut self) -> BinaryViewArray {
        self.builder.finish()
    }
}

/// A column of these.
pub fn from_values(values: impl IntoIterator<Item = Option<Numeric>>) -> BinaryViewArray {
    let values = values.into_iter();
    let mut builder = NumericBuilder::with_capacity(values.size_hint().0);
    for value in values {
        builder.append_option(value.as_ref());
    }
    builder.finish()
}

/// The numeric at a row that is not NULL.
#[inline]
pub fn decode_at(array: &BinaryViewArray, row: usize) -> Numeric {
    Numeric::decode(array.value(row))
}

/// The number at a row that is not NULL, of a column in either form of numeric.
pub fn value_at(array: &dyn Array, row: usize) -> Numeric {
    match array.as_any().downcast_ref::<Decimal128Array>() {
        Some(decimals) => of_decimal(decimals.value(row), decimals.scale()),
        None => decode_at(downcast(array), row),
    }
}

/// `unscaled * 10^-scale`; a negative scale multiplies.
#[inline]
pub(crate) fn of_decimal(unscaled: i128, scale: i8) -> Numeric {
    if scale >= 0 {
        Numeric::Small(unscaled, scale as u16)
    } else {
        Numeric::finite(num_bigint::BigInt::from(unscaled) * super::pow10(u32::from(scale.unsigned_abs())), 0)
    }
}

/// The same numbers without a declared scale.
pub fn decimal_to_numeric(array: &Decimal128Array) -> BinaryViewArray {
    let mut builder = NumericBuilder::with_capacity(array.len());
    let scale = array.scale();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
        } else {
            builder.append(&of_decimal(array.value(row), scale));
        }
    }
    builder.finish()
}

/// The numbers rounded (half away from zero) to a declared precision and scale.
pub fn numeric_to_decimal(array: &BinaryViewArray, precision: u8, scale: i8) -> Result<ArrayRef> {
    let mut values = Vec::with_capacity(array.len());
    for row in 0..array.len() {
        values.push(if array.is_null(row) { 0 } else { decode_at(array, row).to_decimal(precision, scale)? });
    }
    decimals(values, array.nulls().cloned(), precision, scale)
}

/// A Decimal128 column.
fn decimals(values: Vec<i128>, nulls: Option<NullBuffer>, precision: u8, scale: i8) -> Result<ArrayRef> {
    Ok(Arc::new(Decimal128Array::new(values.into(), nulls).with_precision_and_scale(precision, scale)?))
}

/// Postgres's message for a number that does not fit numeric(precision, scale).
pub(crate) fn field_overflow(precision: impl Into<i32>, scale: impl Into<i32>) -> Error {
    let (precision, scale) = (precision.into(), scale.into());
    let digits = precision - scale;
    Error::new(ErrorKind::NumericOutOfRange, "numeric field overflow").with_detail(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than {}{}.",
        if digits == 0 { "" } else { "10^" },
        if digits == 0 { 1 } else { digits }
    ))
}

impl Numeric {
    /// The unscaled value at this scale, rounded, if it has at most `precision` digits.
    pub fn to_decimal(&self, precision: u8, scale: i8) -> Result<i128> {
        let rounded = match self {
            Numeric::NaN => {
                return Err(Error::new(ErrorKind::NumericOutOfRange, "numeric field overflow").with_detail(format!(
                    "A field with precision {precision}, scale {scale} cannot hold a NaN value."
                )));
            }
            Numeric::Infinity | Numeric::NegInfinity => {
                return Err(Error::new(ErrorKind::NumericOutOfRange, "numeric field overflow").with_detail(format!(
                    "A field with precision {precision}, scale {scale} cannot hold an infinite value."
                )));
            }
            finite => finite.rescale(i32::from(scale)),
        };
        let limit = super::pow10_i128(u32::from(precision)).unwrap_or(i128::MAX);
        match rounded {
            Some(v) if v.unsigned_abs() < limit.unsigned_abs() => Ok(v),
            _ => Err(field_overflow(precision, scale)),
        }
    }
}
