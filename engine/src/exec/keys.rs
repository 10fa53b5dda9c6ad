//! Values as keys: forms in which equality and order of bytes are Postgres's equality and order of values.
//!
//! [`normalize`] maps a column to one whose Arrow row encoding compares as SQL does: -0 is 0 and all NaNs are one, numerics of any
//! scale and intervals are their length, char(n) has no trailing blanks, jsonb is bytes in its order. Group tables, joins, DISTINCT and sorts all stand on it.
//! [`pack`] turns columns of fixed width into bits of machine words, which is what most tables hash.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, ListArray, PrimitiveArray,
    StringViewArray, StructArray,
};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::row::{RowConverter, SortField};
use weir_sql::Type;

use crate::error::{Error, Result};
use crate::functions::Datum;
use crate::kernels::compare::{Comparison, compare};
use crate::kernels::{json_order, numeric};

const DAY_MICROS: i128 = 86_400_000_000;

/// Whether [`normalize`] changes values of this type, so that equal keys may look different.
pub(crate) fn has_variants(ty: &Type) -> bool {
    match ty {
        Type::Numeric(None) | Type::Interval | Type::Bpchar(_) | Type::Jsonb | Type::Map(_) => true,
        Type::Array(element) => has_variants(element),
        Type::Record(fields) => fields.iter().any(|(_, ty)| has_variants(ty)),
        _ => false,
    }
}

/// The Arrow type of normalised values.
pub(crate) fn normal_type(ty: &Type) -> DataType {
    match ty {
        Type::Interval => DataType::Decimal128(38, 0),
        Type::Jsonb | Type::Map(_) => DataType::BinaryView,
        Type::Array(element) => DataType::List(Arc::new(normal_field("item", element))),
        Type::Record(fields) => DataType::Struct(fields.iter().map(|(name, ty)| normal_field(name, ty)).collect()),
        other => other.to_arrow(),
    }
}

/// The field of a normalised part of a value; it keeps its SQL type's name where the part is the value's own, so that keys which are read
/// back out of a table are of the plan's type.
fn normal_field(name: &str, ty: &Type) -> Field {
    let normal = normal_type(ty);
    if normal == ty.to_arrow() { ty.field(name, true) } else { Field::new(name, normal, true) }
}

/// The column in the form described above.
pub(crate) fn normalize(ty: &Type, array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match ty {
        Type::Float4 => Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(normal_f32)),
        Type::Float8 => Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(normal_f64)),
        Type::Numeric(None) => numeric::sort_key(array),
        Type::Jsonb | Type::Map(_) => json_order::sort_key(array),
        Type::Interval => {
            let spans = array.as_primitive::<IntervalMonthDayNanoType>().unary::<_, Decimal128Type>(|v| {
                let days = i128::from(v.months) * 30 + i128::from(v.days);
                days * DAY_MICROS + i128::from(v.nanoseconds) / 1000
            });
            Arc::new(spans.with_precision_and_scale(38, 0)?)
        }
        Type::Bpchar(_) => {
            let texts = array.as_string_view();
            Arc::new(texts.iter().map(|v| v.map(|v| v.trim_end_matches(' '))).collect::<StringViewArray>())
        }
        Type::Array(element) if has_variants(element) || matches!(**element, Type::Float4 | Type::Float8) => {
            let list = array.as_list::<i32>();
            let values = normalize(element, list.values())?;
            let field = normal_field("item", element);
            Arc::new(ListArray::try_new(Arc::new(field), list.offsets().clone(), values, list.nulls().cloned())?)
        }
        Type::Record(fields) => {
            let record = array.as_struct();
            if fields.is_empty() {
                return Ok(array.clone());
            }
            let DataType::Struct(normal) = normal_type(ty) else { return Err(Error::internal("a record is a struct")) };
            let columns = fields
                .iter()
                .zip(record.columns())
                .map(|((_, ty), column)| normalize(ty, column))
                .collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(normal, columns, record.nulls().cloned())?)
        }
        _ => array.clone(),
    })
}

/// Several columns.
pub(crate) fn normalize_all(types: &[Type], arrays: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    types.iter().zip(arrays).map(|(ty, array)| normalize(ty, array)).collect()
}

/// Columns that came as codes of a dictionary as their values.
pub(crate) fn decoded(arrays: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let decoded = |array: &ArrayRef| match array.as_dictionary_opt::<UInt32Type>() {
        Some(coded) => Ok(take(coded.values(), coded.keys(), None)?),
        None => Ok(array.clone()),
    };
    arrays.iter().map(decoded).collect()
}

/// -0 as 0, and the one NaN.
#[inline]
pub(crate) fn normal_f64(v: f64) -> f64 {
    if v.is_nan() { f64::NAN } else { v + 0.0 }
}

/// -0 as 0, and the one NaN.
#[inline]
pub(crate) fn normal_f32(v: f32) -> f32 {
    if v.is_nan() { f32::NAN } else { v + 0.0 }
}

/// Rows of normalised columns as bytes: `options` says how each is sorted.
pub(crate) fn row_converter(types: &[Type], options: &[SortOptions]) -> Result<RowConverter> {
    let fields =
        types.iter().zip(options).map(|(ty, options)| SortField::new_with_options(normal_type(ty), *options)).collect();
    Ok(RowConverter::new(fields)?)
}

/// `a = b`, NULL if either is.
pub(crate) fn equal(ty: &Type, a: &ArrayRef, b: &ArrayRef) -> Result<BooleanArray> {
    let rows = a.len();
    let result = compare(Comparison::Eq, ty, &Datum::Array(a.clone()), &Datum::Array(b.clone()), rows)?;
    Ok(result.into_array(rows)?.as_boolean().clone())
}

/// Bits of a normalised value of this type, if all its values have the same width of at most 128.
pub(crate) fn width(ty: &Type) -> Option<u32> {
    Some(match ty.to_arrow() {
        DataType::Boolean => 1,
        DataType::UInt8 => 8,
        DataType::Int16 | DataType::UInt16 => 16,
        DataType::Int32 | DataType::UInt32 | DataType::Float32 | DataType::Date32 => 32,
        DataType::Int64 | DataType::UInt64 | DataType::Float64 | DataType::Time64(_) | DataType::Timestamp(..) => 64,
        DataType::Decimal128(..) | DataType::FixedSizeBinary(16) | DataType::Interval(_) => 128,
        _ => return None,
    })
}

/// A word that keys are packed into.
pub(crate) trait Word: Copy + Eq + Default + Send + Sync + 'static {
    /// From the low bits.
    fn of(v: u128) -> Self;
    /// From 64 bits.
    fn of_u64(v: u64) -> Self;
    /// As 128 bits.
    fn wide(self) -> u128;
    /// Moved up.
    fn up(self, by: u32) -> Self;
    /// Bits of both.
    fn with(self, other: Self) -> Self;
    /// A hash, all bits of which are good.
    fn hash(self) -> u64;
}

/// The product's two halves folded: a fast hash whose high and low bits both depend on all input bits.
#[inline]
pub(crate) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Odd constants to hash with.
pub(crate) const SEED_1: u64 = 0x9E37_79B9_7F4A_7C15;
pub(crate) const SEED_2: u64 = 0xD6E8_FEB8_6659_FD93;

impl Word for u64 {
    #[inline]
    fn of(v: u128) -> u64 {
        v as u64
    }
    #[inline]
    fn of_u64(v: u64) -> u64 {
        v
    }
    #[inline]
    fn wide(self) -> u128 {
        u128::from(self)
    }
    #[inline]
    fn up(self, by: u32) -> u64 {
        self << by
    }
    #[inline]
    fn with(self, other: u64) -> u64 {
        self | other
    }
    #[inline]
    fn hash(self) -> u64 {
        fold(self ^ SEED_1, SEED_2)
    }
}

impl Word for u128 {
    #[inline]
    fn of(v: u128) -> u128 {
        v
    }
    #[inline]
    fn of_u64(v: u64) -> u128 {
        u128::from(v)
    }
    #[inline]
    fn wide(self) -> u128 {
        self
    }
    #[inline]
    fn up(self, by: u32) -> u128 {
        self << by
    }
    #[inline]
    fn with(self, other: u128) -> u128 {
        self | other
    }
    #[inline]
    fn hash(self) -> u64 {
        fold((self as u64) ^ SEED_1, ((self >> 64) as u64) ^ SEED_2)
    }
}

/// Adds a column's values, `shift` bits up, to words that are zero there. NULLs add nothing. The type has a [`width`]; the array is
/// normalised.
pub(crate) fn pack<W: Word>(array: &ArrayRef, shift: u32, words: &mut [W]) -> Result<()> {
    fn primitive<T: ArrowPrimitiveType, W: Word>(
        array: &ArrayRef,
        shift: u32,
        words: &mut [W],
        bits: impl Fn(T::Native) -> u64,
    ) {
        let array: &PrimitiveArray<T> = array.as_primitive();
        for (word, &v) in words.iter_mut().zip(array.values().iter()) {
            *word = word.with(W::of_u64(bits(v)).up(shift));
        }
        if let Some(nulls) = array.nulls().filter(|n| n.null_count() > 0) {
            // What lies under a NULL is undefined, so its bits are taken out again.
            for row in (!nulls.inner()).set_indices() {
                let added = W::of_u64(bits(array.values()[row])).up(shift);
                words[row] = W::of(words[row].wide() & !added.wide());
            }
        }
    }
    match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            for (row, word) in words.iter_mut().enumerate() {
                let v = array.is_valid(row) && array.value(row);
                *word = word.with(W::of_u64(u64::from(v)).up(shift));
            }
        }
        DataType::UInt8 => primitive::<UInt8Type, W>(array, shift, words, u64::from),
        DataType::UInt16 => primitive::<UInt16Type, W>(array, shift, words, u64::from),
        DataType::UInt32 => primitive::<UInt32Type, W>(array, shift, words, u64::from),
        DataType::UInt64 => primitive::<UInt64Type, W>(array, shift, words, |v| v),
        DataType::Int16 => primitive::<Int16Type, W>(array, shift, words, |v| u64::from(v as u16)),
        DataType::Int32 => primitive::<Int32Type, W>(array, shift, words, |v| u64::from(v as u32)),
        DataType::Int64 => primitive::<Int64Type, W>(array, shift, words, |v| v as u64),
        DataType::Float32 => primitive::<Float32Type, W>(array, shift, words, |v| u64::from(v.to_bits())),
        DataType::Float64 => primitive::<Float64Type, W>(array, shift, words, f64::to_bits),
        DataType::Date32 => primitive::<Date32Type, W>(array, shift, words, |v| u64::from(v as u32)),
        DataType::Time64(_) => primitive::<Time64MicrosecondType, W>(array, shift, words, |v| v as u64),
        DataType::Timestamp(..) => primitive::<TimestampMicrosecondType, W>(array, shift, words, |v| v as u64),
        DataType::Decimal128(..) => {
            let array: &Decimal128Array = array.as_primitive();
            for (row, word) in words.iter_mut().enumerate() {
                if array.is_valid(row) {
                    *word = word.with(W::of(array.value(row) as u128).up(shift));
                }
            }
        }
        DataType::FixedSizeBinary(16) => {
            let array = array.as_fixed_size_binary();
            for (row, word) in words.iter_mut().enumerate() {
                if array.is_valid(row) {
                    let bytes: [u8; 16] = array.value(row).try_into().unwrap_or_default();
                    *word = word.with(W::of(u128::from_le_bytes(bytes)).up(shift));
                }
            }
        }
        other => return Err(Error::internal(format!("{other} has no fixed width"))),
    }
    Ok(())
}

/// The column whose bits `value(row)` gives, with NULLs: the inverse of [`pack`].
pub(crate) fn unpack(
    ty: &DataType,
    rows: usize,
    value: impl Fn(usize) -> u128,
    null: impl Fn(usize) -> bool,
) -> Result<ArrayRef> {
    fn primitive<T: ArrowPrimitiveType>(
        ty: &DataType,
        rows: usize,
        value: impl Fn(usize) -> T::Native,
        null: impl Fn(usize) -> bool,
    ) -> ArrayRef {
        let values: Vec<T::Native> = (0..rows).map(value).collect();
        let nulls = arrow::buffer::NullBuffer::from_iter((0..rows).map(|row| !null(row)));
        let nulls = Some(nulls).filter(|n| n.null_count() > 0);
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(ty.clone()))
    }
    let word = |row: usize| value(row) as u64;
    Ok(match ty {
        DataType::Boolean => {
            Arc::new((0..rows).map(|row| (!null(row)).then(|| word(row) != 0)).collect::<BooleanArray>())
        }
        DataType::UInt8 => primitive::<UInt8Type>(ty, rows, |row| word(row) as u8, null),
        DataType::UInt16 => primitive::<UInt16Type>(ty, rows, |row| word(row) as u16, null),
        DataType::UInt32 => primitive::<UInt32Type>(ty, rows, |row| word(row) as u32, null),
        DataType::UInt64 => primitive::<UInt64Type>(ty, rows, word, null),
        DataType::Int16 => primitive::<Int16Type>(ty, rows, |row| word(row) as i16, null),
        DataType::Int32 => primitive::<Int32Type>(ty, rows, |row| word(row) as i32, null),
        DataType::Int64 => primitive::<Int64Type>(ty, rows, |row| word(row) as i64, null),
        DataType::Float32 => primitive::<Float32Type>(ty, rows, |row| f32::from_bits(word(row) as u32), null),
        DataType::Float64 => primitive::<Float64Type>(ty, rows, |row| f64::from_bits(word(row)), null),
        DataType::Date32 => primitive::<Date32Type>(ty, rows, |row| word(row) as i32, null),
        DataType::Time64(TimeUnit::Microsecond) => {
            primitive::<Time64MicrosecondType>(ty, rows, |row| word(row) as i64, null)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            primitive::<TimestampMicrosecondType>(ty, rows, |row| word(row) as i64, null)
        }
        DataType::Decimal128(..) => primitive::<Decimal128Type>(ty, rows, |row| value(row) as i128, null),
        DataType::FixedSizeBinary(16) => {
            let values = (0..rows).map(|row| (!null(row)).then(|| value(row).to_le_bytes()));
            Arc::new(arrow::array::FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 16)?)
        }
        other => return Err(Error::internal(format!("{other} has no fixed width"))),
    })
}
