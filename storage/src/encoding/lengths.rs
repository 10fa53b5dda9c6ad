//! How long texts and bytes are, read without them: plain and FSST keep the lengths apart from the bytes.

use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::datatypes::DataType;

use super::{Encoding, Nulls, Opened, Physical, fsst, is_one_of, open, text};
use crate::bits;
use crate::error::Decoded;

/// Which values of a chunk of text or bytes are empty, or else which are not; NULL is neither. `None` where that is not known without reading
/// them, or is better asked of their codes.
pub(crate) fn decode_empty(
    ty: &DataType,
    rows: usize,
    chunk: &Buffer,
    is_empty: bool,
) -> Decoded<Option<BooleanBuffer>> {
    if !has_length(ty)? || !is_one_of(chunk, &[Encoding::Plain, Encoding::Fsst]) {
        return Ok(None);
    }
    let Opened { encoding, nulls: Nulls::Some(nulls), body } = open(rows, chunk, None, 0)? else {
        return Ok(Some(BooleanBuffer::new_unset(rows)));
    };
    let lengths = match encoding {
        Encoding::Fsst => fsst::code_counts(rows, &body, 0)?,
        _ => text::read_plain(rows, &body, 0)?.0,
    };
    let found = bits::of(&lengths, |length| (length == 0) == is_empty);
    Ok(Some(match nulls {
        Some(nulls) => &found & nulls.inner(),
        None => found,
    }))
}

fn has_length(ty: &DataType) -> Decoded<bool> {
    Ok(matches!(Physical::of(ty)?, Physical::Text | Physical::Bytes))
}
