//! How kernels read arguments and write results, row by row but with every choice made once a batch.
//!
//! [`column`] gives typed access to an argument that is a column or a constant: a constant is an array of one row whose index is
//! multiplied by zero, so that inner loops have no branch for it. The `*_rows` functions run a loop over all rows, or over one row
//! when every argument is constant, and skip rows in which a strict argument is NULL: a body never sees them and cannot fail on
//! them.

use std::any::type_name;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryViewArray, BinaryViewBuilder, BooleanArray, BooleanBufferBuilder,
    ByteView, ListArray, PrimitiveArray, StringViewArray, StringViewBuilder, make_view,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use weir_sql::{Type, Value};

use super::Datum;
use crate::error::{Error, Result};

/// An argument as a typed array; a constant has one row that stands for all.
#[derive(Debug)]
pub(crate) struct Column<'a, A> {
    /// The array: all rows, or the one of a constant.
    pub(crate) array: &'a A,
    /// 1 for a column, 0 for a constant.
    stride: usize,
}

impl<A> Clone for Column<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Column<'_, A> {}

/// The argument at `index`, which the binder has cast to a type whose Arrow form is `A`.
pub(crate) fn column<A: Array + 'static>(args: &[Datum], index: usize) -> Result<Column<'_, A>> {
    let datum = args.get(index).ok_or_else(|| Error::internal(format!("argument {} is missing", index + 1)))?;
    let array = datum.array();
    let array = array.as_any().downcast_ref::<A>().ok_or_else(|| {
        Error::internal(format!("argument {} is {}, not {}", index + 1, array.data_type(), type_name::<A>()))
    })?;
    Ok(Column { array, stride: usize::from(matches!(datum, Datum::Array(_))) })
}

/// The argument at `index` as text.
pub(crate) fn text(args: &[Datum], index: usize) -> Result<Column<'_, StringViewArray>> {
    column(args, index)
}

/// The argument at `index` as a number, date or time of the Arrow type `T`.
pub(crate) fn primitive<T: ArrowPrimitiveType>(args: &[Datum], index: usize) -> Result<Column<'_, PrimitiveArray<T>>> {
    column(args, index)
}

impl<'a, A: Array> Column<'a, A> {
    /// Where row `row` is in the array.
    #[inline]
    pub(crate) fn index(&self, row: usize) -> usize {
        row * self.stride
    }

    /// Whether the row is NULL.
    #[inline]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row * self.stride)
    }

    /// Whether every row is this one value.
    pub(crate) fn is_constant(&self) -> bool {
        self.stride == 0
    }
}

impl<'a> Column<'a, StringViewArray> {
    /// The row's text; some text, unspecified, where it is NULL.
    #[inline]
    pub(crate) fn at(&self, row: usize) -> &'a str {
        self.array.value(row * self.stride)
    }

    /// The constant's text, if this is a constant that is not NULL.
    pub(crate) fn constant(&self) -> Option<&'a str> {
        (self.stride == 0 && !self.array.is_null(0)).then(|| self.array.value(0))
    }
}

impl<'a> Column<'a, BinaryViewArray> {
    /// The row's bytes.
    #[inline]
    pub(crate) fn at(&self, row: usize) -> &'a [u8] {
        self.array.value(row * self.stride)
    }
}

impl<T: ArrowPrimitiveType> Column<'_, PrimitiveArray<T>> {
    /// The row's value.
    #[inline]
    pub(crate) fn at(&self, row: usize) -> T::Native {
        self.array.value(row * self.stride)
    }

    /// The constant, if this is one that is not NULL.
    pub(crate) fn constant(&self) -> Option<T::Native> {
        (self.stride == 0 && !self.array.is_null(0)).then(|| self.array.value(0))
    }
}

impl Column<'_, BooleanArray> {
    /// The row's value.
    #[inline]
    pub(crate) fn at(&self, row: usize) -> bool {
        self.array.value(row * self.stride)
    }
}

impl Column<'_, ListArray> {
    /// Where the row's elements are in the list's values.
    #[inline]
    pub(crate) fn range(&self, row: usize) -> Range<usize> {
        let offsets = self.array.value_offsets();
        let index = row * self.stride;
        offsets[index] as usize..offsets[index + 1] as usize
    }

    /// The elements of all rows.
    pub(crate) fn values(&self) -> &ArrayRef {
        self.array.values()
    }
}

/// The rows in which no argument is NULL, for a batch of `rows`.
pub(crate) fn nulls_of(args: &[Datum], rows: usize) -> Option<NullBuffer> {
    let mut nulls: Option<NullBuffer> = None;
    for arg in args {
        match arg {
            Datum::Array(array) => nulls = NullBuffer::union(nulls.as_ref(), array.logical_nulls().as_ref()),
            Datum::Scalar(value) if value.is_null() => return Some(NullBuffer::new_null(rows)),
            Datum::Scalar(_) => {}
        }
    }
    nulls.filter(|nulls| nulls.null_count() > 0)
}

/// Runs `body` over `rows` rows, or over one row if all arguments are constants.
pub(crate) fn batch(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    body: impl FnOnce(usize) -> Result<ArrayRef>,
) -> Result<Datum> {
    if args.iter().all(|arg| matches!(arg, Datum::Scalar(_))) {
        return Ok(Datum::Scalar(Value::new(ty.clone(), body(1)?)));
    }
    Ok(Datum::Array(body(rows)?))
}

/// Whether row `row` of a batch with these nulls is to be computed.
#[inline]
pub(crate) fn is_valid(nulls: &Option<NullBuffer>, row: usize) -> bool {
    nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
}

/// A strict kernel that writes each row's text into an empty buffer and says whether it did; `false` makes the row NULL.
pub(crate) fn text_rows(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    mut body: impl FnMut(usize, &mut String) -> Result<bool>,
) -> Result<Datum> {
    batch(args, rows, ty, |rows| {
        let nulls = nulls_of(args, rows);
        let mut out = StringViewBuilder::with_capacity(rows);
        let mut buffer = String::new();
        for row in 0..rows {
            buffer.clear();
            if is_valid(&nulls, row) && body(row, &mut buffer)? {
                out.append_value(&buffer);
            } else {
                out.append_null();
            }
        }
        Ok(Arc::new(out.finish()))
    })
}

/// As [`text_rows`], for a kernel that is called on NULL arguments too.
pub(crate) fn text_rows_with_nulls(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    mut body: impl FnMut(usize, &mut String) -> Result<bool>,
) -> Result<Datum> {
    batch(args, rows, ty, |rows| {
        let mut out = StringViewBuilder::with_capacity(rows);
        let mut buffer = String::new();
        for row in 0..rows {
            buffer.clear();
            if body(row, &mut buffer)? {
                out.append_value(&buffer);
            } else {
                out.append_null();
            }
        }
        Ok(Arc::new(out.finish()))
    })
}

/// A strict kernel that writes each row's bytes.
pub(crate) fn bytes_rows(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    mut body: impl FnMut(usize, &mut Vec<u8>) -> Result<bool>,
) -> Result<Datum> {
    batch(args, rows, ty, |rows| {
        let nulls = nulls_of(args, rows);
        let mut out = BinaryViewBuilder::with_capacity(rows);
        let mut buffer = Vec::new();
        for row in 0..rows {
            buffer.clear();
            if is_valid(&nulls, row) && body(row, &mut buffer)? {
                out.append_value(&buffer);
            } else {
                out.append_null();
            }
        }
        Ok(Arc::new(out.finish()))
    })
}

/// A strict kernel whose result is a part of its first argument, a text: no bytes are copied. `None` makes the row NULL.
pub(crate) fn slice_rows(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    mut body: impl FnMut(usize, &str) -> Result<Option<Range<usize>>>,
) -> Result<Datum> {
    batch(args, rows, ty, |rows| {
        let nulls = nulls_of(args, rows);
        let texts = text(args, 0)?;
        let source = texts.array;
        let mut views = Vec::with_capacity(rows);
        let mut valid = BooleanBufferBuilder::new(rows);
        for row in 0..rows {
            let mut view = None;
            if is_valid(&nulls, row) {
                let value = texts.at(row);
                if let Some(range) = body(row, value)? {
                    let part = &value[range.clone()];
                    let whole = ByteView::from(source.views()[texts.index(row)]);
                    view = Some(match whole.length <= 12 {
                        true => make_view(part.as_bytes(), 0, 0),
                        false => make_view(part.as_bytes(), whole.buffer_index, whole.offset + range.start as u32),
                    });
                }
            }
            valid.append(view.is_some());
            views.push(view.unwrap_or(0));
        }
        let nulls = Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0);
        let buffers = source.data_buffers().clone();
        // SAFETY: each view is inline, or lies within the bytes that a valid view of `source` covers in the same buffer; `&value[range]`
        // has checked the bounds and that both ends are character boundaries, so the bytes are UTF-8. NULL rows hold the empty view.
        Ok(Arc::new(unsafe { StringViewArray::new_unchecked(ScalarBuffer::from(views), buffers, nulls) }))
    })
}

/// A strict kernel that gives a number, date or time a row. `None` makes the row NULL.
pub(crate) fn primitive_rows<T: ArrowPrimitiveType>(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    mut body: impl FnMut(usize) -> Result<Option<T::Native>>,
) -> Result<Datum> {
    batch(args, rows, ty, |rows| {
        let nulls = nulls_of(args, rows);
        let mut values = Vec::with_capacity(rows);
        let mut valid = BooleanBufferBuilder::new(rows);
        for row in 0..rows {
            let value = match is_valid(&nulls, row) {
                true => body(row)?,
                false => None,
            };
            valid.append(value.is_some());
            values.push(value.unwrap_or_default());
        }
        let nulls = Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0);
        let array = PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls);
        Ok(Arc::new(array.with_data_type(ty.to_arrow())))
    })
}

/// A strict kernel of one argument that cannot fail: the loop is free of branches, so that the compiler can vectorise it. NULL rows are
/// computed too, and thrown away.
pub(crate) fn map_rows<I: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    args: &[Datum],
    index: usize,
    rows: usize,
    ty: &Type,
    mut body: impl FnMut(I::Native) -> O::Native,
) -> Result<Datum> {
    let input = &args[index..=index];
    let mapped = batch(input, rows, ty, |_| {
        let array = primitive::<I>(args, index)?.array;
        let values: Vec<O::Native> = array.values().iter().map(|&value| body(value)).collect();
        let array = PrimitiveArray::<O>::new(ScalarBuffer::from(values), array.nulls().cloned());
        Ok(Arc::new(array.with_data_type(ty.to_arrow())))
    })?;
    Ok(mapped)
}

/// A strict kernel that gives a boolean a row. `None` makes the row NULL.
pub(crate) fn bool_rows(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    mut body: impl FnMut(usize) -> Result<Option<bool>>,
) -> Result<Datum> {
    batch(args, rows, ty, |rows| {
        let nulls = nulls_of(args, rows);
        let mut out = Vec::with_capacity(rows);
        for row in 0..rows {
            out.push(if is_valid(&nulls, row) { body(row)? } else { None });
        }
        Ok(Arc::new(BooleanArray::from(out)))
    })
}

/// As [`bool_rows`], for a kernel that is called on NULL arguments too.
pub(crate) fn bool_rows_with_nulls(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    mut body: impl FnMut(usize) -> Result<Option<bool>>,
) -> Result<Datum> {
    batch(args, rows, ty, |rows| {
        let values: Vec<Option<bool>> = (0..rows).map(&mut body).collect::<Result<_>>()?;
        Ok(Arc::new(BooleanArray::from(values)))
    })
}

/// An argument that must not be refused but makes no sense: error 22023.
pub(crate) fn invalid_parameter(message: impl Into<String>) -> Error {
    Error::new(crate::error::ErrorKind::InvalidParameter, message)
}
