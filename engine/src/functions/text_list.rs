//! Writing lists of texts: what `string_to_array`, `regexp_match` and `splitByChar` give.

use std::sync::Arc;

use arrow::array::{BooleanBufferBuilder, ListArray, StringViewBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use weir_sql::Type;

use super::Datum;
use super::rows::{batch, is_valid, nulls_of};
use crate::error::{Error, Result};

/// Where a row's elements are written.
pub(crate) struct TextList {
    values: StringViewBuilder,
    count: usize,
}

impl TextList {
    /// Adds an element.
    pub(crate) fn push(&mut self, text: &str) {
        self.values.append_value(text);
        self.count += 1;
    }

    /// Adds a NULL element.
    pub(crate) fn push_null(&mut self) {
        self.values.append_null();
        self.count += 1;
    }
}

/// A strict kernel that gives a list of texts a row. `false` makes the row NULL.
pub(crate) fn list_rows(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    body: impl FnMut(usize, &mut TextList) -> Result<bool>,
) -> Result<Datum> {
    list(args, rows, ty, true, body)
}

/// As [`list_rows`], for a kernel that is called on NULL arguments too.
pub(crate) fn list_rows_with_nulls(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    body: impl FnMut(usize, &mut TextList) -> Result<bool>,
) -> Result<Datum> {
    list(args, rows, ty, false, body)
}

fn list(
    args: &[Datum],
    rows: usize,
    ty: &Type,
    strict: bool,
    mut body: impl FnMut(usize, &mut TextList) -> Result<bool>,
) -> Result<Datum> {
    let Type::Array(element) = ty else { return Err(Error::internal(format!("{ty} is not an array"))) };
    batch(args, rows, ty, |rows| {
        let nulls = if strict { nulls_of(args, rows) } else { None };
        let mut list = TextList { values: StringViewBuilder::with_capacity(rows), count: 0 };
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0i32);
        let mut valid = BooleanBufferBuilder::new(rows);
        for row in 0..rows {
            let written = is_valid(&nulls, row) && body(row, &mut list)?;
            valid.append(written);
            let end =
                i32::try_from(list.count).map_err(|_| Error::internal("a batch's lists have too many elements"))?;
            offsets.push(end);
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let nulls = Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0);
        let values = Arc::new(list.values.finish());
        Ok(Arc::new(ListArray::try_new(element.element_field(), offsets, values, nulls)?))
    })
}
