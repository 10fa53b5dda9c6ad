//! Functions of arrays: [`postgres`] and [`compare`] have Postgres's, [`clickhouse`], [`numbers`] and [`sets`] ClickHouse's, [`text`] those between
//! arrays and text, [`lambda`] those that apply a lambda to each element, [`reduce`] the one
//! that applies an aggregate, [`vectors`] norms and distances, [`places`] shifts and places by value.
//!
//! Arrays have one dimension and count from 1. A kernel that makes arrays says, row by row, which elements of its sources they hold
//! ([`Assembly`]); the elements are then copied in one step, whatever their type.

mod clickhouse;
mod compare;
mod lambda;
mod numbers;
mod places;
mod postgres;
mod reduce;
mod sets;
mod text;
mod vectors;
mod zip;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder, ListArray, UInt32Array, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{interleave, take};
use weir_sql::Type;

use super::rows::{Column, batch, is_valid, nulls_of};
use super::{Datum, ScalarFunction, Types};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::compare::{Comparison, compare as compare_values};

/// All of them.
pub(crate) fn functions() -> Vec<ScalarFunction> {
    let mut all = postgres::functions();
    all.extend(compare::functions());
    all.extend(text::functions());
    all.extend(clickhouse::functions());
    all.extend(numbers::functions());
    all.extend(lambda::functions());
    all.extend(sets::functions());
    all.extend(places::functions());
    all.extend(reduce::functions());
    all.extend(vectors::functions());
    all.extend(zip::functions());
    all
}

/// The most elements that one call makes of nothing (`range`, `array_fill`), as many as Postgres's arrays may have.
const ELEMENTS_MAX: i64 = 134_217_727;

/// The error for more.
fn too_many() -> Error {
    let message = format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})");
    Error::new(ErrorKind::ProgramLimit, message)
}

/// The type of an array's elements.
fn element_of(ty: &Type) -> Result<&Type> {
    match ty {
        Type::Array(element) => Ok(element),
        other => Err(Error::internal(format!("{other} is not an array"))),
    }
}

/// Arrays in the making: which element of which source comes next.
struct Assembly {
    sources: Vec<ArrayRef>,
    indices: Vec<(usize, usize)>,
}

/// The source that is one NULL.
const NULL: usize = usize::MAX;

impl Assembly {
    /// Adds an element of a source.
    fn push(&mut self, source: usize, index: usize) {
        match source {
            NULL => self.push_null(),
            source => self.indices.push((source + 1, index)),
        }
    }

    /// Adds NULL.
    fn push_null(&mut self) {
        self.indices.push((0, 0));
    }

    /// Adds elements of a source.
    fn extend(&mut self, source: usize, indices: impl IntoIterator<Item = usize>) {
        self.indices.extend(indices.into_iter().map(|index| (source + 1, index)));
    }
}

/// A kernel that makes an array a row out of elements of `sources`, all of the result's element type. `false` makes the row NULL. A strict
/// one is not asked about rows with NULL arguments.
fn array_rows(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    strict: bool,
    sources: &[&ArrayRef],
    mut body: impl FnMut(usize, &mut Assembly) -> Result<bool>,
) -> Result<Datum> {
    let element = element_of(ty)?;
    batch(args, rows, ty, |rows| {
        let nulls = if strict { nulls_of(args, rows) } else { None };
        let mut all: Vec<ArrayRef> = vec![new_null_array(&element.to_arrow(), 1)];
        all.extend(sources.iter().map(|source| Arc::clone(source)));
        let mut assembly = Assembly { sources: all, indices: Vec::with_capacity(rows) };
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0i32);
        let mut valid = BooleanBufferBuilder::new(rows);
        for row in 0..rows {
            let before = assembly.indices.len();
            let made = is_valid(&nulls, row) && body(row, &mut assembly)?;
            if !made {
                assembly.indices.truncate(before);
            }
            valid.append(made);
            offsets.push(i32::try_from(assembly.indices.len()).map_err(|_| too_many())?);
        }
        let sources: Vec<&dyn Array> = assembly.sources.iter().map(|source| source.as_ref()).collect();
        let values = match assembly.indices.is_empty() {
            true => new_null_array(&element.to_arrow(), 0),
            false => interleave(&sources, &assembly.indices)?,
        };
        let nulls = Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(Arc::new(ListArray::try_new(element.element_field(), offsets, values, nulls)?))
    })
}

/// A kernel that gives an element of one array a row. `None` makes the row NULL.
fn element_rows(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    values: &ArrayRef,
    mut body: impl FnMut(usize) -> Result<Option<usize>>,
) -> Result<Datum> {
    batch(args, rows, ty, |rows| {
        let nulls = nulls_of(args, rows);
        let mut indices = Vec::with_capacity(rows);
        for row in 0..rows {
            let index = if is_valid(&nulls, row) { body(row)? } else { None };
            indices.push(index.map(|index| index as u32));
        }
        Ok(take(values, &UInt32Array::from(indices), None)?)
    })
}

/// For each element of all lists, whether it is the value that `needle` has in the list's row; NULL is a value like any other. Gives the
/// lists as one row each, and the answers for their values.
fn matches(args: &[Datum], needle: usize, rows: usize, types: &Types<'_>) -> Result<(ListArray, BooleanArray)> {
    let element = element_of(&types.args[0])?;
    let constant = args.iter().all(|arg| matches!(arg, Datum::Scalar(_)));
    let lists = args[0].clone().into_array(if constant { 1 } else { rows })?;
    let lists = lists.as_any().downcast_ref::<ListArray>().ok_or_else(|| Error::internal("an array is a list"))?;
    let values = lists.values();
    let wanted = match &args[needle] {
        scalar @ Datum::Scalar(_) => scalar.clone(),
        Datum::Array(needles) => {
            let mut owners = vec![0; values.len()];
            for row in 0..lists.len() {
                owners[range_of(lists, row)].fill(row as u32);
            }
            Datum::Array(take(needles, &UInt32Array::from(owners), None)?)
        }
    };
    let equal =
        compare_values(Comparison::NotDistinct, element, &Datum::Array(Arc::clone(values)), &wanted, values.len())?;
    let equal = equal.into_array(values.len())?;
    let equal =
        equal.as_any().downcast_ref::<BooleanArray>().ok_or_else(|| Error::internal("a comparison is boolean"))?;
    Ok((lists.clone(), equal.clone()))
}

/// Where the elements of a row are in the list's values.
fn range_of(lists: &ListArray, row: usize) -> Range<usize> {
    let offsets = lists.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

/// An error unless a row's arrays are of one length.
fn lists_equal_length(lists: &[Column<'_, ListArray>], row: usize) -> Result<()> {
    match lists.windows(2).all(|pair| pair[0].range(row).len() == pair[1].range(row).len()) {
        true => Ok(()),
        false => Err(super::rows::invalid_parameter("the arrays must have equal lengths")),
    }
}

/// The number of elements in a row.
fn count(lists: &Column<'_, ListArray>, row: usize) -> usize {
    lists.range(row).len()
}
