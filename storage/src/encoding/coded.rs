//! Chunks of codes as what they are: a dictionary's values, and which of them each row has.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, DictionaryArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::DataType;

use super::{
    Encoding, NO_DICTIONARY, Nulls, Opened, decode_opened, decode_u32, decode_within, dictionary, is_one_of, open,
    valid,
};
use crate::error::{Decoded, damaged};
use crate::prune::Numbers;

/// A chunk whose values are codes into a dictionary.
#[derive(Debug, Clone)]
pub struct Coded {
    entries: ArrayRef,
    is_shared: bool,
    codes: ScalarBuffer<u32>,
    nulls: Option<NullBuffer>,
}

impl Coded {
    /// Of how many rows of a dictionary's values some must be wanted for that its codes are of use.
    const ENTRIES_OF_ROW: usize = 4;

    /// The distinct values, none of them NULL. Of a dictionary that serves a whole part it is the same array for each of its chunks.
    pub fn entries(&self) -> &ArrayRef {
        &self.entries
    }

    /// Whether the dictionary serves the whole part.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Which of the entries each row has, all of which are there; of no meaning where a row is NULL.
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// Which rows are NULL.
    pub fn nulls(&self) -> Option<&NullBuffer> {
        self.nulls.as_ref()
    }

    /// As a column: values and codes; only the values where there are many more than rows.
    pub fn into_array(self) -> ArrayRef {
        let Coded { entries, codes, nulls, .. } = self;
        let keys = UInt32Array::new(codes, nulls);
        if entries.len() > keys.len() * Coded::ENTRIES_OF_ROW
            && let Ok(values) = take(&entries, &keys, None)
        {
            return values;
        }
        // SAFETY: `dictionary::check` saw that every code stands for an entry when they were read.
        Arc::new(unsafe { DictionaryArray::new_unchecked(keys, entries) })
    }
}

/// The codes of a chunk, if it is one of codes; see [`decode`].
pub(crate) fn decode_codes(
    ty: &DataType,
    rows: usize,
    chunk: &Buffer,
    dictionary: Option<&ArrayRef>,
    selection: Option<&[u32]>,
) -> Decoded<Option<Coded>> {
    if !is_one_of(chunk, &[Encoding::Dictionary, Encoding::PartDictionary, Encoding::Constant]) {
        return Ok(None);
    }
    let Opened { encoding, nulls: Nulls::Some(nulls), body } = open(rows, chunk, selection, 0)? else {
        return Ok(None);
    };
    let (entries, codes) = match (encoding, dictionary) {
        (Encoding::PartDictionary, Some(dictionary)) => (dictionary.clone(), decode_u32(&body, rows, selection, 1)?),
        (Encoding::PartDictionary, None) => return damaged(NO_DICTIONARY),
        (Encoding::Dictionary, _) => dictionary::read(ty, rows, &body, selection, 0)?,
        _ => {
            let value = decode_opened(ty, 1, Opened { encoding, nulls: Nulls::Some(None), body }, None, None, 0)?;
            (value, vec![0; selection.map_or(rows, <[u32]>::len)].into())
        }
    };
    dictionary::check(&entries, &codes)?;
    Ok(Some(Coded { entries, is_shared: encoding == Encoding::PartDictionary, codes, nulls }))
}

/// Codes that stand side by side, or all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeRange {
    /// Those side by side.
    pub range: Range<u32>,
    /// Whether it is the others.
    pub outside: bool,
}

/// Which rows of a chunk have one of the codes that `wanted` finds in the part's dictionary, where that is found without reading the codes; NULL
/// has none.
pub(crate) fn decode_codes_within(
    rows: usize,
    chunk: &Buffer,
    dictionary: Option<&ArrayRef>,
    wanted: impl FnOnce(&ArrayRef) -> Option<CodeRange>,
) -> Decoded<Option<BooleanBuffer>> {
    let Some(dictionary) = dictionary.filter(|_| is_one_of(chunk, &[Encoding::PartDictionary])) else {
        return Ok(None);
    };
    let Some(CodeRange { range, outside }) = wanted(dictionary) else { return Ok(None) };
    let Opened { nulls: Nulls::Some(nulls), body, .. } = open(rows, chunk, None, 0)? else {
        return Ok(Some(BooleanBuffer::new_unset(rows)));
    };
    let codes = Numbers { range: i128::from(range.start)..=i128::from(range.end) - 1, outside };
    let found = decode_within(&DataType::UInt32, rows, &body, &codes)?;
    Ok(found.map(|found| valid(found, nulls.as_ref())))
}
