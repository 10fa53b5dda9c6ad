//! Postgres's functions of arrays: subscripts and slices, `||`, lengths and bounds, array_append and its kin, array_fill, trim_array.

use arrow::array::{Array, ListArray};
use arrow::datatypes::Int32Type;
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::super::declare::{ARRAY, INT4, function};
use super::super::rows::{column, primitive, primitive_rows, text_rows};
use super::super::string::write;
use super::super::{Context, Datum, Kernel, Overload, ScalarFunction, Types};
use super::{ELEMENTS_MAX, NULL, array_rows, count, element_rows, too_many};
use crate::error::{Error, ErrorKind, Result};

fn of_array(params: Vec<Param>, returns: Returns, kernel: Kernel) -> Vec<Overload> {
    vec![Overload::new(params, returns, kernel)]
}

pub(super) fn functions() -> Vec<ScalarFunction> {
    let mut all = making();
    all.extend(measuring());
    all
}

fn making() -> Vec<ScalarFunction> {
    use Param::{AnyArray, AnyElement};
    let lax = |params: Vec<Param>, kernel: Kernel| Overload::new(params, Returns::ArrayOfElement, kernel).lax();
    vec![
        function(
            &["array_get"],
            ARRAY,
            "The element of this number, from 1: what `a[i]` is.",
            ("(ARRAY[7, 8, 9])[2]", "8"),
            of_array(vec![AnyArray, INT4], Returns::Element, get),
        ),
        function(
            &["array_slice"],
            ARRAY,
            "The elements from one number to another: what `a[i:j]` is.",
            ("(ARRAY[7, 8, 9])[2:3]", "{8,9}"),
            vec![lax(vec![AnyArray, INT4, INT4], slice)],
        ),
        function(
            &["||"],
            ARRAY,
            "The elements of two arrays, or of an array and one more.",
            ("ARRAY[1, 2] || ARRAY[3] || 4", "{1,2,3,4}"),
            vec![
                lax(vec![AnyArray, AnyArray], concatenate),
                lax(vec![AnyArray, AnyElement], append),
                lax(vec![AnyElement, AnyArray], prepend),
            ],
        ),
        function(
            &["array_cat"],
            ARRAY,
            "The elements of two arrays.",
            ("array_cat(ARRAY[1, 2], ARRAY[3])", "{1,2,3}"),
            vec![lax(vec![AnyArray, AnyArray], concatenate)],
        ),
        function(
            &["array_append", "arrayPushBack"],
            ARRAY,
            "The array with one more element at its end.",
            ("array_append(ARRAY[1, 2], 3)", "{1,2,3}"),
            vec![lax(vec![AnyArray, AnyElement], append)],
        ),
        function(
            &["array_prepend"],
            ARRAY,
            "The array with one more element at its start.",
            ("array_prepend(1, ARRAY[2, 3])", "{1,2,3}"),
            vec![lax(vec![AnyElement, AnyArray], prepend)],
        ),
        function(
            &["array_fill"],
            ARRAY,
            "An array of so many times the value; its length is itself an array of one.",
            ("array_fill(7, ARRAY[3])", "{7,7,7}"),
            vec![lax(vec![AnyElement, Param::Exact(Type::Array(Box::new(Type::Int4))), integers()], fill).optional(1)],
        ),
        function(
            &["trim_array"],
            ARRAY,
            "The array without so many elements at its end.",
            ("trim_array(ARRAY[1, 2, 3], 1)", "{1,2}"),
            of_array(vec![AnyArray, INT4], Returns::ArrayOfElement, trim),
        ),
    ]
}

fn integers() -> Param {
    Param::Exact(Type::Array(Box::new(Type::Int4)))
}

fn measuring() -> Vec<ScalarFunction> {
    let int = || Returns::Exact(Type::Int4);
    let with_dimension = |kernel: Kernel| of_array(vec![Param::AnyArray, INT4], int(), kernel);
    vec![
        function(
            &["array_length"],
            ARRAY,
            "The length of a dimension, of which there is one; NULL for an empty array.",
            ("array_length(ARRAY[1, 2, 3], 1)", "3"),
            with_dimension(length_of_dimension),
        ),
        function(
            &["array_upper"],
            ARRAY,
            "The last subscript of a dimension, of which there is one; NULL for an empty array.",
            ("array_upper(ARRAY[1, 2, 3], 1)", "3"),
            with_dimension(length_of_dimension),
        ),
        function(
            &["array_lower"],
            ARRAY,
            "The first subscript of a dimension, of which there is one; NULL for an empty array.",
            ("array_lower(ARRAY[1, 2, 3], 1)", "1"),
            with_dimension(|_, a, n, ty| {
                let (lists, dimensions) = (column::<ListArray>(a, 0)?, primitive::<Int32Type>(a, 1)?);
                primitive_rows::<Int32Type>(a, n, ty, |row| {
                    Ok((dimensions.at(row) == 1 && count(&lists, row) > 0).then_some(1))
                })
            }),
        ),
        function(
            &["array_ndims"],
            ARRAY,
            "The number of dimensions: 1; NULL for an empty array.",
            ("array_ndims(ARRAY[1, 2, 3])", "1"),
            of_array(vec![Param::AnyArray], int(), |_, a, n, ty| {
                let lists = column::<ListArray>(a, 0)?;
                primitive_rows::<Int32Type>(a, n, ty, |row| Ok((count(&lists, row) > 0).then_some(1)))
            }),
        ),
        function(
            &["array_dims"],
            ARRAY,
            "The bounds of the dimensions as text; NULL for an empty array.",
            ("array_dims(ARRAY[1, 2, 3])", "[1:3]"),
            of_array(vec![Param::AnyArray], Returns::Exact(Type::Text), |_, a, n, ty| {
                let lists = column::<ListArray>(a, 0)?;
                text_rows(a, n, ty, |row, out| match count(&lists, row) {
                    0 => Ok(false),
                    count => write(out, format_args!("[1:{count}]")),
                })
            }),
        ),
        function(
            &["cardinality"],
            ARRAY,
            "The number of elements.",
            ("cardinality(ARRAY[1, 2, 3])", "3"),
            of_array(vec![Param::AnyArray], int(), |_, a, n, ty| {
                let lists = column::<ListArray>(a, 0)?;
                primitive_rows::<Int32Type>(a, n, ty, |row| Ok(Some(count(&lists, row) as i32)))
            }),
        ),
    ]
}

fn get(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (lists, numbers) = (column::<ListArray>(args, 0)?, primitive::<Int32Type>(args, 1)?);
    element_rows(args, rows, types, lists.values(), |row| {
        let range = lists.range(row);
        let index = usize::try_from(numbers.at(row)).ok().and_then(|number| number.checked_sub(1));
        Ok(index.filter(|index| *index < range.len()).map(|index| range.start + index))
    })
}

/// A bound that is a NULL constant was left off.
fn slice(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let lists = column::<ListArray>(args, 0)?;
    let (from, to) = (primitive::<Int32Type>(args, 1)?, primitive::<Int32Type>(args, 2)?);
    let (open_from, open_to) = (args[1].is_null_scalar(), args[2].is_null_scalar());
    array_rows(args, rows, types, false, &[lists.values()], |row, out| {
        if lists.is_null(row) || (!open_from && from.is_null(row)) || (!open_to && to.is_null(row)) {
            return Ok(false);
        }
        let range = lists.range(row);
        let first = if open_from { 1 } else { i64::from(from.at(row)).max(1) };
        let last = if open_to { range.len() as i64 } else { i64::from(to.at(row)).min(range.len() as i64) };
        out.extend(0, (first..=last).map(|number| range.start + number as usize - 1));
        Ok(true)
    })
}

pub(super) fn concatenate(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let lists = (0..args.len()).map(|i| column::<ListArray>(args, i)).collect::<Result<Vec<_>>>()?;
    let sources: Vec<_> = lists.iter().map(|list| list.values()).collect();
    array_rows(args, rows, types, false, &sources, |row, out| {
        let mut any = false;
        for (source, list) in lists.iter().enumerate() {
            if !list.is_null(row) {
                any = true;
                out.extend(source, list.range(row));
            }
        }
        Ok(any)
    })
}

/// The argument's index in its array, or the NULL source.
fn place(arg: &Datum, row: usize, source: usize) -> (usize, usize) {
    let row = if matches!(arg, Datum::Scalar(_)) { 0 } else { row };
    if arg.array().is_null(row) { (NULL, 0) } else { (source, row) }
}

fn append(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let lists = column::<ListArray>(args, 0)?;
    array_rows(args, rows, types, false, &[lists.values(), args[1].array()], |row, out| {
        if !lists.is_null(row) {
            out.extend(0, lists.range(row));
        }
        let (source, index) = place(&args[1], row, 1);
        out.push(source, index);
        Ok(true)
    })
}

fn prepend(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let lists = column::<ListArray>(args, 1)?;
    array_rows(args, rows, types, false, &[args[0].array(), lists.values()], |row, out| {
        let (source, index) = place(&args[0], row, 0);
        out.push(source, index);
        if !lists.is_null(row) {
            out.extend(1, lists.range(row));
        }
        Ok(true)
    })
}

fn fill(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let null = || Error::new(ErrorKind::NullNotAllowed, "dimension array or low bound array cannot be null");
    let only = |index: usize, row: usize| -> Result<Option<i32>> {
        let list = column::<ListArray>(args, index)?;
        if list.is_null(row) {
            return Err(null());
        }
        let range = list.range(row);
        let values = primitive_values(list.array)?;
        match range.len() {
            0 => Ok(None),
            1 if values.is_null(range.start) => {
                Err(Error::new(ErrorKind::NullNotAllowed, "dimension values cannot be null"))
            }
            1 => Ok(Some(values.value(range.start))),
            _ => Err(Error::new(
                ErrorKind::Sql(weir_sql::ErrorKind::Unsupported),
                "arrays of more than one dimension are not supported",
            )),
        }
    };
    array_rows(args, rows, types, false, &[args[0].array()], |row, out| {
        let length = only(1, row)?.unwrap_or(0);
        if args.len() > 2 && only(2, row)?.is_some_and(|bound| bound != 1) {
            return Err(Error::new(
                ErrorKind::Sql(weir_sql::ErrorKind::Unsupported),
                "arrays that do not start at 1 are not supported",
            ));
        }
        if i64::from(length) > ELEMENTS_MAX || length < 0 {
            return Err(too_many());
        }
        let (source, index) = place(&args[0], row, 0);
        (0..length).for_each(|_| out.push(source, index));
        Ok(true)
    })
}

fn primitive_values(list: &ListArray) -> Result<&arrow::array::Int32Array> {
    list.values().as_any().downcast_ref().ok_or_else(|| Error::internal("dimensions are integers"))
}

fn trim(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (lists, gone) = (column::<ListArray>(args, 0)?, primitive::<Int32Type>(args, 1)?);
    array_rows(args, rows, types, true, &[lists.values()], |row, out| {
        let range = lists.range(row);
        let gone = usize::try_from(gone.at(row)).ok().filter(|gone| *gone <= range.len()).ok_or_else(|| {
            let message = format!("number of elements to trim must be between 0 and {}", range.len());
            Error::new(ErrorKind::ArraySubscript, message)
        })?;
        out.extend(0, range.start..range.end - gone);
        Ok(true)
    })
}

fn length_of_dimension(_: &Context, args: &[Datum], rows: usize, types: &Types<'_>) -> Result<Datum> {
    let (lists, dimensions) = (column::<ListArray>(args, 0)?, primitive::<Int32Type>(args, 1)?);
    primitive_rows::<Int32Type>(args, rows, types, |row| {
        let length = count(&lists, row) as i32;
        Ok((dimensions.at(row) == 1 && length > 0).then_some(length))
    })
}
