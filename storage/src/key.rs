//! Comparing single values: what zones, the sparse key index and pruning stand on.
//!
//! The order is the one in which parts are sorted: numbers as numbers, NaN greatest, −0 equal to 0, text and bytes bytewise.

use arrow::array::{Array, AsArray, GenericByteViewArray};
use arrow::datatypes::{
    ByteViewType, DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};

use crate::recent::INLINE_MAX;

/// Zones keep text and bytes up to this length.
const TEXT_MAX: usize = 64;

/// One value, not NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key<'a> {
    Number(i128),
    Bytes(&'a [u8]),
}

/// Whether values of the column can be compared here: not lists, structs and intervals, nor bytes that carry another SQL
/// type, whose order is not that of the bytes.
pub(crate) fn is_comparable(field: &Field) -> bool {
    match field.data_type() {
        DataType::List(_) | DataType::Struct(_) | DataType::Interval(_) => false,
        DataType::BinaryView => field.metadata().is_empty(),
        _ => true,
    }
}

/// The bits of a float, so that their order as unsigned numbers is the floats'.
pub(crate) fn float_order(value: f64) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    // Adding zero turns −0 into 0.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The value in a row; `None` when it is NULL, or of a type without an order.
pub(crate) fn key_at(array: &dyn Array, row: usize) -> Option<Key<'_>> {
    if array.is_null(row) {
        return None;
    }
    macro_rules! number {
        ($ty:ty) => {
            Key::Number(array.as_primitive::<$ty>().value(row).into())
        };
    }
    Some(match array.data_type() {
        DataType::Boolean => Key::Number(array.as_boolean().value(row).into()),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Date32 => number!(Date32Type),
        DataType::Time64(_) => number!(Time64MicrosecondType),
        DataType::Timestamp(..) => number!(TimestampMicrosecondType),
        DataType::Decimal128(..) => number!(Decimal128Type),
        DataType::Float32 => Key::Number(float_order(array.as_primitive::<Float32Type>().value(row).into()).into()),
        DataType::Float64 => Key::Number(float_order(array.as_primitive::<Float64Type>().value(row)).into()),
        DataType::Utf8View => Key::Bytes(array.as_string_view().value(row).as_bytes()),
        DataType::BinaryView => Key::Bytes(array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => Key::Bytes(array.as_fixed_size_binary().value(row)),
        _ => return None,
    })
}

/// The rows of the least and the greatest value. `None` when there are no values, or one of the two is too long to keep.
pub(crate) fn extremes(array: &dyn Array) -> Option<(usize, usize)> {
    if array.null_count() == array.len() {
        return None;
    }
    macro_rules! numbers {
        ($ty:ty, $order:expr) => {{
            let array = array.as_primitive::<$ty>();
            let values = array.values();
            match array.nulls().filter(|nulls| nulls.null_count() > 0) {
                None => extremes_of(0..values.len(), |row| $order(values[row])),
                Some(nulls) => extremes_of(nulls.valid_indices(), |row| $order(values[row])),
            }
        }};
    }
    macro_rules! bytes {
        ($array:expr, $bytes:expr) => {{
            let array = $array;
            let rows = (0..array.len()).filter(|&row| array.is_valid(row));
            let (min, max) = extremes_of(rows, |row| $bytes(array.value(row)))?;
            let fits = |row: usize| $bytes(array.value(row)).len() <= TEXT_MAX;
            (fits(min) && fits(max)).then_some((min, max))
        }};
    }
    fn same<T>(value: T) -> T {
        value
    }
    match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            let rows = (0..array.len()).filter(|&row| array.is_valid(row));
            extremes_of(rows, |row| array.value(row))
        }
        DataType::Int8 => numbers!(Int8Type, same),
        DataType::Int16 => numbers!(Int16Type, same),
        DataType::Int32 => numbers!(Int32Type, same),
        DataType::Int64 => numbers!(Int64Type, same),
        DataType::UInt8 => numbers!(UInt8Type, same),
        DataType::UInt16 => numbers!(UInt16Type, same),
        DataType::UInt32 => numbers!(UInt32Type, same),
        DataType::UInt64 => numbers!(UInt64Type, same),
        DataType::Date32 => numbers!(Date32Type, same),
        DataType::Time64(_) => numbers!(Time64MicrosecondType, same),
        DataType::Timestamp(..) => numbers!(TimestampMicrosecondType, same),
        DataType::Decimal128(..) => numbers!(Decimal128Type, same),
        DataType::Float32 => numbers!(Float32Type, |value: f32| float_order(value.into())),
        DataType::Float64 => numbers!(Float64Type, float_order),
        DataType::Utf8View => views(array.as_string_view()),
        DataType::BinaryView => views(array.as_binary_view()),
        DataType::FixedSizeBinary(_) => bytes!(array.as_fixed_size_binary(), same),
        _ => None,
    }
}

/// The same for text and bytes. Of short ones the view has all bytes; of others the first four, which decide most comparisons.
fn views<T: ByteViewType>(array: &GenericByteViewArray<T>) -> Option<(usize, usize)> {
    let views = array.views();
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    // With those of NULLs, which may be anything.
    let lengths = views.iter().map(|&view| view as u32 as usize);
    let (shortest, longest) =
        lengths.fold((usize::MAX, 0), |(least, most), length| (least.min(length), most.max(length)));
    if nulls.is_none() && shortest > TEXT_MAX {
        return None;
    }
    if longest <= INLINE_MAX {
        // The bytes as a number, the first one highest, and the length, which decides between texts that differ in zeros at their ends.
        let value = |row: usize| (views[row] >> 32).swap_bytes() | u128::from(views[row] as u32);
        return match nulls {
            None => extremes_of(0..array.len(), value),
            Some(nulls) => extremes_of(nulls.valid_indices(), value),
        };
    }
    let bytes = |row: usize| -> &[u8] { array.value(row).as_ref() };
    let prefix = |row: usize| ((views[row] >> 32) as u32).swap_bytes();
    let value = |row: usize| (prefix(row), bytes(row));
    let (min, max) = match nulls {
        None => extremes_of(0..array.len(), value)?,
        Some(nulls) => extremes_of(nulls.valid_indices(), value)?,
    };
    (bytes(min).len() <= TEXT_MAX && bytes(max).len() <= TEXT_MAX).then_some((min, max))
}

fn extremes_of<T: PartialOrd>(
    mut rows: impl Iterator<Item = usize>,
    value: impl Fn(usize) -> T,
) -> Option<(usize, usize)> {
    let first = rows.next()?;
    let ((mut min, mut least), (mut max, mut greatest)) = ((first, value(first)), (first, value(first)));
    for row in rows {
        let value_at = value(row);
        if value_at < least {
            (min, least) = (row, value_at);
        } else if value_at > greatest {
            (max, greatest) = (row, value_at);
        }
    }
    Some((min, max))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, StringViewArray};

    use super::*;

    #[test]
    fn floats_order_with_nan_last_and_one_zero() {
        let values = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1e-300, 2.0, f64::INFINITY, -f64::NAN];
        let keys: Vec<u64> = values.iter().map(|&value| float_order(value)).collect();
        assert!(keys.is_sorted());
        assert_eq!(keys[2], keys[3]);
        let array = Float64Array::from(vec![None, Some(f64::NAN), Some(-2.0), None, Some(7.0)]);
        assert_eq!(extremes(&array), Some((2, 1)));
    }

    #[test]
    fn short_text_is_ordered_by_its_bytes_and_then_its_length() {
        let values = ["b", "a\0", "a", "", "\u{ff}", "abcdefghijkl", "abcdefghijkm", "zz"];
        let array = StringViewArray::from(values.to_vec());
        let order = |row: &usize| values[*row].as_bytes();
        for from in 0..values.len() {
            for to in from + 1..=values.len() {
                let (min, max) = extremes(&array.slice(from, to - from)).expect("values");
                assert_eq!(values[from + min].as_bytes(), (from..to).map(|row| order(&row)).min().expect("one"));
                assert_eq!(values[from + max].as_bytes(), (from..to).map(|row| order(&row)).max().expect("one"));
            }
        }
    }

    #[test]
    fn long_text_has_no_extremes() {
        let long = "x".repeat(100);
        let array = StringViewArray::from(vec![Some("b"), None, Some("a")]);
        assert_eq!(extremes(&array), Some((2, 0)));
        assert_eq!(extremes(&StringViewArray::from(vec!["a", &long])), None);
        assert_eq!(extremes(&StringViewArray::from(vec![None::<&str>])), None);
    }
}
