//! Text and bytes: plain is the lengths and then all bytes, so that decoding is writing 16-byte views onto the chunk itself
//! (or onto its decompressed copy); nothing is copied.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanBufferBuilder, GenericByteViewArray, ListArray, StringViewArray,
    StructArray, make_view,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{BinaryViewType, ByteViewType, StringViewType};
use memchr::memmem::Finder;

use super::compress::Method;
use super::dictionary::Dictionary;
use super::fixed::{sample_distinct, sample_entries};
use super::integers::{self, Shape};
use super::{Effort, Encoder, Encoding, Physical, Shared, fsst, json, nested_u32, runs};
use crate::bytes::Reader;
use crate::codec::{Codec, Transform};
use crate::error::{Decoded, damaged};

/// Chunks smaller than this get no dictionary of their own.
const DICTIONARY_ROWS_MIN: usize = 64;
/// A part whose first chunk has so many rows, and seems to be drawn from at most so many values, tries a dictionary for as many rows as four of
/// each value would be.
const CHUNK_ROWS_MIN: usize = 4096;
const PART_ENTRIES_MAX: usize = 32_768;
const PART_ROWS: usize = 4 * PART_ENTRIES_MAX;
/// A choice between codes and compression holds for so many chunks.
const CHOICE_CHUNKS: u32 = 64;

impl Encoder {
    pub(super) fn encode_text(
        &mut self,
        array: &dyn Array,
        nulls: Option<&NullBuffer>,
        out: &mut Vec<u8>,
    ) -> Decoded<Encoding> {
        if let Some(strings) = array.as_any().downcast_ref::<StringViewArray>() {
            return self.encode_views(strings, nulls, out);
        }
        match array.as_any().downcast_ref::<BinaryViewArray>() {
            Some(bytes) => self.encode_views(bytes, nulls, out),
            None => damaged("text of another type"),
        }
    }

    fn encode_views<T: ByteViewType>(
        &mut self,
        array: &GenericByteViewArray<T>,
        nulls: Option<&NullBuffer>,
        out: &mut Vec<u8>,
    ) -> Decoded<Encoding> {
        let valid = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
        let value = |row: usize| -> &[u8] { array.value(row).as_ref() };
        if let Some(first) = (array.len() > 1).then(|| (0..array.len()).find(|&row| valid(row))).flatten()
            && (first..array.len()).all(|row| !valid(row) || value(row) == value(first))
        {
            out.extend_from_slice(value(first));
            return Ok(Encoding::Constant);
        }
        let pays = || sample_distinct((0..array.len()).map(&value)).is_some();
        if self.effort != Effort::Log && self.codec.transform != Transform::Plain {
            let pays_in_part = || {
                let entries = sample_entries((0..array.len()).map(&value));
                let is_few = array.len() >= CHUNK_ROWS_MIN && entries <= PART_ENTRIES_MAX as f64;
                is_few || entries * 2.0 <= array.len() as f64
            };
            if self.decide_shared(pays_in_part, Dictionary::bytes, PART_ROWS)
                && let Shared::Yes(dictionary) = &mut self.shared
                && let Some(codes) = dictionary.codes_bytes(array, nulls)
            {
                runs::write_codes(&codes, out);
                return Ok(Encoding::PartDictionary);
            }
            self.give_up_shared();
            if array.len() >= DICTIONARY_ROWS_MIN && pays() {
                let mut dictionary = Dictionary::bytes();
                if let Some(codes) = dictionary.codes_bytes(array, nulls)
                    && dictionary.len() * 2 < array.len()
                {
                    self.write_dictionary(&dictionary, array.data_type(), &codes, out)?;
                    return Ok(Encoding::Dictionary);
                }
            }
        }
        let values: Vec<&[u8]> = (0..array.len()).map(|row| if valid(row) { value(row) } else { &[] }).collect();
        self.encode_values(&values, out)
    }

    /// Text without a dictionary.
    fn encode_values(&mut self, values: &[&[u8]], out: &mut Vec<u8>) -> Decoded<Encoding> {
        let raw: usize = values.iter().map(|value| value.len()).sum();
        let by_data = self.codec == Codec::default();
        if matches!(self.effort, Effort::Log | Effort::Inner) || raw < fsst::BYTES_MIN || !by_data {
            plain(values, out);
            return Ok(Encoding::Plain);
        }
        if self.text.until > 0 && self.text.choice == Choice::Plain {
            self.text.until -= 1;
            plain(values, out);
            return Ok(Encoding::Plain);
        }
        let start = out.len();
        if self.text.until > 0 && self.text.choice == Choice::Shapes {
            self.text.until -= 1;
            if let Some(body) = json::encode(values)? {
                out.extend_from_slice(&body);
                return Ok(Encoding::Json);
            }
            self.text.until = 0;
        }
        if self.text.until > 0
            && let Choice::Compressed(method) = self.text.choice
        {
            self.text.until -= 1;
            plain(values, out);
            self.compression.expect(method);
            return Ok(Encoding::Plain);
        }
        let coded = fsst::code(&mut self.text.table, values);
        if self.text.until == 0 {
            plain(values, out);
            let [lz4, zstd] = [Method::Lz4, Method::ZSTD].map(|method| method.len(&out[start..]));
            self.text.choice = choose(raw, coded.len(), lz4, zstd);
            self.text.until = CHOICE_CHUNKS;
            let likely = values.iter().find(|value| !value.is_empty()).is_some_and(|value| json::is_likely(value));
            // Documents are put together anew: beside codes that has to save half. Beside zstd, which reads all rows for one, a third.
            if likely
                && let Some(body) = json::encode(values)?
                && body.len() * 2 <= coded.len()
                && body.len() * 10 <= zstd * 7
            {
                self.text.choice = Choice::Shapes;
                out.truncate(start);
                out.extend_from_slice(&body);
                return Ok(Encoding::Json);
            }
            if self.text.choice != Choice::Coded {
                if let Choice::Compressed(method) = self.text.choice {
                    self.compression.expect(method);
                }
                return Ok(Encoding::Plain);
            }
            out.truncate(start);
        }
        self.text.until -= 1;
        fsst::write(&self.text.table, &coded, out);
        Ok(Encoding::Fsst)
    }
}

/// How a column's text is written, decided anew from time to time.
#[derive(Default)]
pub(super) struct Memory {
    table: Option<Box<fsst::Table>>,
    choice: Choice,
    /// For so many chunks more.
    until: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Choice {
    #[default]
    Plain,
    Coded,
    Compressed(Method),
    Shapes,
}

/// Codes and LZ4 are read twice as fast as zstd, and of codes single values at once: zstd has to save much more.
fn choose(raw: usize, coded: usize, lz4: usize, zstd: usize) -> Choice {
    if zstd * 5 <= coded.min(lz4) * 2 {
        Choice::Compressed(Method::ZSTD)
    } else if lz4 * 10 <= coded.min(raw) * 7 {
        Choice::Compressed(Method::Lz4)
    } else if coded * 10 <= raw * 8 {
        Choice::Coded
    } else {
        Choice::Plain
    }
}

/// Appends the body of a plain chunk.
fn plain(values: &[&[u8]], out: &mut Vec<u8>) {
    let lengths: Vec<u64> = values.iter().map(|value| value.len() as u64).collect();
    integers::nest(&lengths, Shape::U32, out);
    values.iter().for_each(|value| out.extend_from_slice(value));
}

/// Reads a plain, constant or coded chunk.
pub(super) fn decode(
    encoding: Encoding,
    text: bool,
    rows: usize,
    body: Buffer,
    selection: Option<&[u32]>,
    nulls: Option<NullBuffer>,
    level: u8,
) -> Decoded<ArrayRef> {
    let (views, bytes): (Vec<u128>, Buffer) = match encoding {
        Encoding::Constant => {
            if body.len() > i32::MAX as usize {
                return damaged("a value of over 2 GiB");
            }
            check_text(text, &body)?;
            (vec![make_view(&body, 0, 0); selection.map_or(rows, <[u32]>::len)], body)
        }
        Encoding::Plain => {
            let (lengths, bytes) = read_plain(rows, &body, level)?;
            let whole = check_text(text, &bytes)?;
            let mut starts = Vec::with_capacity(rows);
            let mut at = 0;
            for &length in &*lengths {
                starts.push(at as u32);
                if whole.is_some_and(|whole| !whole.is_char_boundary(at)) {
                    return damaged(format!("a value begins inside a character, at byte {at}"));
                }
                at += length as usize;
            }
            let view = |row: usize| {
                let from = starts[row] as usize;
                make_view(&bytes[from..from + lengths[row] as usize], 0, starts[row])
            };
            let views = match selection {
                None => (0..rows).map(view).collect(),
                Some(selection) => selection.iter().map(|&row| view(row as usize)).collect(),
            };
            (views, bytes)
        }
        Encoding::Fsst => return ended(fsst::decode(rows, &body, selection, level)?, text, nulls),
        Encoding::Json => return ended(json::decode(rows, &body, selection, level)?, text, nulls),
        other => return damaged(format!("text encoded as {other}")),
    };
    Ok(array(views, bytes, text, nulls))
}

/// Reads the body of a plain chunk: the lengths of the values, and their bytes.
fn read_plain(rows: usize, body: &Buffer, level: u8) -> Decoded<(ScalarBuffer<u32>, Buffer)> {
    let mut reader = Reader::new(body);
    let lengths = nested_u32(&mut reader, body, rows, level)?;
    let bytes = body.slice(reader.position());
    let total: u64 = lengths.iter().map(|&length| u64::from(length)).sum();
    if total > bytes.len() as u64 || total > i32::MAX as u64 {
        return damaged(format!("lengths of {total} over {} bytes", bytes.len()));
    }
    Ok((lengths, bytes.slice_with_length(0, total as usize)))
}

/// Which values have a text in them, found in the bytes of all of them at once; `None` for an encoding of which that is not known.
pub(super) fn containing(
    encoding: Encoding,
    rows: usize,
    body: &Buffer,
    needle: &Finder<'_>,
    level: u8,
) -> Decoded<Option<BooleanBuffer>> {
    Ok(match encoding {
        Encoding::Plain => {
            let (lengths, bytes) = read_plain(rows, body, level)?;
            let mut end = 0;
            let ends: Vec<u32> = lengths.iter().map(|length| (end += length, end).1).collect();
            Some(find_all(&bytes, &ends, needle))
        }
        Encoding::Fsst => {
            let (bytes, ends) = fsst::decode(rows, body, None, level)?;
            Some(find_all(&bytes, &ends, needle))
        }
        Encoding::Json => json::containing(rows, body, needle, level)?,
        _ => None,
    })
}

/// Which of the values that end at `ends` have `needle` in them. A place that reaches over an end counts for none.
fn find_all(bytes: &[u8], ends: &[u32], needle: &Finder<'_>) -> BooleanBuffer {
    let mut found = BooleanBufferBuilder::new(ends.len());
    found.append_n(ends.len(), false);
    let (mut from, mut row) = (0, 0);
    while let Some(at) = needle.find(&bytes[from..]).map(|at| from + at) {
        row += ends[row..].partition_point(|&end| end as usize <= at);
        let Some(&end) = ends.get(row) else { break };
        from = at + 1;
        if at + needle.needle().len() <= end as usize {
            found.set_bit(row, true);
            from = end as usize;
        }
    }
    found.finish()
}

/// The values of documents with only some of their fields, where that can be read; see [`json::fields`].
pub(super) fn decode_fields(
    rows: usize,
    body: &Buffer,
    selection: Option<&[u32]>,
    nulls: Option<NullBuffer>,
    names: &[String],
) -> Decoded<Option<ArrayRef>> {
    json::fields(rows, body, selection, names, 0)?.map(|values| ended(values, true, nulls)).transpose()
}

/// Values by their bytes, and where each ends.
fn ended((bytes, ends): (Vec<u8>, Vec<u32>), text: bool, nulls: Option<NullBuffer>) -> Decoded<ArrayRef> {
    let whole = check_text(text, &bytes)?;
    let mut views = Vec::with_capacity(ends.len());
    let mut from = 0;
    for end in ends {
        if whole.is_some_and(|whole| !whole.is_char_boundary(from as usize)) {
            return damaged(format!("a value begins inside a character, at byte {from}"));
        }
        views.push(make_view(&bytes[from as usize..end as usize], 0, from));
        from = end;
    }
    Ok(array(views, bytes.into(), text, nulls))
}

/// Of views that were made from ranges of `bytes`; those of text begin and end at its characters' boundaries.
fn array(views: Vec<u128>, bytes: Buffer, text: bool, nulls: Option<NullBuffer>) -> ArrayRef {
    let buffers: Arc<[Buffer]> = Arc::from([bytes]);
    let views = ScalarBuffer::from(views);
    // SAFETY: every view was made from a range of buffer 0, and text was checked to be UTF-8, as a whole and to begin at character
    // boundaries value by value.
    unsafe {
        match text {
            true => Arc::new(GenericByteViewArray::<StringViewType>::new_unchecked(views, buffers, nulls)),
            false => Arc::new(GenericByteViewArray::<BinaryViewType>::new_unchecked(views, buffers, nulls)),
        }
    }
}

fn check_text(text: bool, bytes: &[u8]) -> Decoded<Option<&str>> {
    match text.then(|| simdutf8::compat::from_utf8(bytes)) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(error)) => damaged(format!("text is not UTF-8 at byte {}", error.valid_up_to())),
    }
}

/// The number of bytes that the values take uncompressed, NULL bitmaps aside.
pub(super) fn raw_size(array: &dyn Array) -> usize {
    if let Some(strings) = array.as_any().downcast_ref::<StringViewArray>() {
        return strings.views().iter().map(|&view| view as u32 as usize).sum();
    }
    if let Some(bytes) = array.as_any().downcast_ref::<BinaryViewArray>() {
        return bytes.views().iter().map(|&view| view as u32 as usize).sum();
    }
    if let Some(list) = array.as_any().downcast_ref::<ListArray>() {
        let (from, to) = (list.value_offsets()[0] as usize, list.value_offsets()[list.len()] as usize);
        return 4 * list.len() + raw_size(&list.values().slice(from, to - from));
    }
    if let Some(record) = array.as_any().downcast_ref::<StructArray>() {
        return record.columns().iter().map(|column| raw_size(column)).sum();
    }
    match Physical::of(array.data_type()) {
        Ok(Physical::Bool) => array.len().div_ceil(8),
        Ok(physical) => physical.width() * array.len(),
        Err(_) => 0,
    }
}

/// The same of each row alone.
pub(super) fn row_sizes(columns: &[ArrayRef]) -> Vec<usize> {
    let mut sizes = vec![0; columns.first().map_or(0, |column| column.len())];
    let mut add = |size: &dyn Fn(usize) -> usize| sizes.iter_mut().enumerate().for_each(|(row, all)| *all += size(row));
    for column in columns {
        if let Some(strings) = column.as_any().downcast_ref::<StringViewArray>() {
            add(&|row| strings.views()[row] as u32 as usize);
        } else if let Some(bytes) = column.as_any().downcast_ref::<BinaryViewArray>() {
            add(&|row| bytes.views()[row] as u32 as usize);
        } else {
            match Physical::of(column.data_type()) {
                Ok(Physical::List | Physical::Struct) => add(&|row| raw_size(&column.slice(row, 1))),
                Ok(Physical::Bool) => add(&|_| 1),
                Ok(physical) => add(&|_| physical.width()),
                Err(_) => {}
            }
        }
    }
    sizes
}
