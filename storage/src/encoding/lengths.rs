//! How long texts and bytes are, read without them: plain keeps the lengths apart from the bytes, FSST has them in its codes, dictionaries
//! have each value once.

use arrow::array::{ArrayRef, AsArray, Int32Array};
use arrow::buffer::{BooleanBuffer, Buffer, ScalarBuffer};
use arrow::datatypes::DataType;

use super::coded::{Coded, decode_codes};
use super::{Encoding, Nulls, Opened, Physical, check_rows, compress, decode_u32, fsst, is_one_of, nulls, open, valid};
use crate::bits;
use crate::bytes::Reader;
use crate::error::{Decoded, damaged};

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
    let (lengths, nulls) = match is_one_of(chunk, &[Encoding::Plain]) {
        true => plain(rows, chunk, None)?,
        false => {
            let Opened { nulls, body, .. } = open(rows, chunk, None, 0)?;
            (fsst::code_counts(rows, &body, 0)?, nulls)
        }
    };
    let found = bits::of(&lengths, |length| (length == 0) == is_empty);
    Ok(Some(match nulls {
        Nulls::All => BooleanBuffer::new_unset(rows),
        Nulls::Some(nulls) => valid(found, nulls.as_ref()),
    }))
}

/// How many bytes the values of a chunk of text or bytes have; NULL has none. `None` where that is not known without reading them. See
/// [`decode`](super::decode).
pub(crate) fn decode_lengths(
    ty: &DataType,
    rows: usize,
    chunk: &Buffer,
    dictionary: Option<&ArrayRef>,
    selection: Option<&[u32]>,
) -> Decoded<Option<Int32Array>> {
    if !has_length(ty)? {
        return Ok(None);
    }
    if is_one_of(chunk, &[Encoding::Plain]) {
        let (lengths, nulls) = plain(rows, chunk, selection)?;
        let lengths = match selection {
            None => lengths.iter().map(|&length| length as i32).collect(),
            Some(selection) => selection.iter().map(|&row| lengths[row as usize] as i32).collect(),
        };
        return Ok(Some(array(lengths, nulls)));
    }
    if is_one_of(chunk, &[Encoding::Fsst]) {
        let Opened { nulls, body, .. } = open(rows, chunk, selection, 0)?;
        return Ok(Some(array(fsst::lengths(rows, &body, selection, 0)?, nulls)));
    }
    Ok(decode_codes(ty, rows, chunk, dictionary, selection)?.and_then(|coded| of_codes(&coded)))
}

fn has_length(ty: &DataType) -> Decoded<bool> {
    Ok(matches!(Physical::of(ty)?, Physical::Text | Physical::Bytes))
}

/// The lengths in a plain chunk, of all rows, and which of the wanted ones are NULL.
fn plain(rows: usize, chunk: &Buffer, selection: Option<&[u32]>) -> Decoded<(ScalarBuffer<u32>, Nulls)> {
    check_rows(rows, selection, 0)?;
    let mut reader = Reader::new(chunk);
    let (_, flags) = (reader.u8()?, reader.u8()?);
    let nulls = nulls(rows, chunk, &mut reader, flags, selection, 0)?;
    let (lengths, bytes) = compress::first_nested(chunk.slice(reader.position()), flags >> 2)?;
    let lengths = decode_u32(&lengths, rows, None, 1)?;
    let total: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
    match total > bytes as u64 || total > i32::MAX as u64 {
        true => damaged(format!("lengths of {total} over {bytes} bytes")),
        false => Ok((lengths, nulls)),
    }
}

/// The lengths of the values that codes stand for: the low quarters of their views.
fn of_codes(coded: &Coded) -> Option<Int32Array> {
    let entries = coded.entries();
    let views = match entries.as_string_view_opt() {
        Some(texts) => texts.views(),
        None => entries.as_binary_view_opt()?.views(),
    };
    let lengths = coded.codes().iter().map(|&code| views[code as usize] as i32).collect();
    Some(array(lengths, Nulls::Some(coded.nulls().cloned())))
}

fn array(lengths: Vec<i32>, nulls: Nulls) -> Int32Array {
    match nulls {
        Nulls::All => Int32Array::new_null(lengths.len()),
        Nulls::Some(nulls) => Int32Array::new(lengths.into(), nulls),
    }
}
