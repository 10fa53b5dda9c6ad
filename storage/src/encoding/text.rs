//! Text and bytes: plain is the lengths and then all bytes, so that decoding is writing 16-byte views onto the chunk itself
//! (or onto its decompressed copy); nothing is copied.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanBufferBuilder, GenericByteViewArray, ListArray, StringViewArray,
    StructArray, make_view,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{BinaryViewType, ByteViewType, DataType, StringViewType};
use memchr::memmem::Finder;

use super::compress::Method;
use super::dictionary::Dictionary;
use super::fixed::{sample_distinct, sample_entries};
use super::integers::{self, Shape};
use super::{Effort, Encoder, Encoding, Physical, Shared, fsst, json, nested_u32, runs, shapes};
use crate::bytes::{Reader, Write};
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
/// And is made by about so many bytes of the first.
const SAMPLE_BYTES: usize = 256 << 10;

impl Encoder {
    pub(super) fn encode_text(
        &mut self,
        array: &dyn Array,
        nulls: Option<&NullBuffer>,
        out: &mut Vec<u8>,
    ) -> Decoded<Encoding> {
        if let Some(array) = array.as_any().downcast_ref::<StringViewArray>() {
            return self.encode_texts(&Views { array, nulls }, out);
        }
        match array.as_any().downcast_ref::<BinaryViewArray>() {
            Some(array) => self.encode_texts(&Views { array, nulls }, out),
            None => damaged("text of another type"),
        }
    }

    /// Appends bytes that are in no array, at least one value, as a nested chunk; see [`Encoder::encode_nested`].
    pub(super) fn encode_nested_bytes(&mut self, values: &[&[u8]], out: &mut Vec<u8>) -> Decoded<()> {
        let mut chunk = vec![0, 0];
        self.rows += values.len();
        let encoding = self.encode_texts(&values, &mut chunk)?;
        chunk[1] = self.compress(encoding, 2, &mut chunk) << 2;
        chunk[0] = encoding as u8;
        out.put_bytes(&chunk);
        Ok(())
    }

    fn encode_texts<'a>(&mut self, texts: &impl Texts<'a>, out: &mut Vec<u8>) -> Decoded<Encoding> {
        let rows = texts.rows();
        if let Some(first) = (rows > 1).then(|| (0..rows).find(|&row| texts.is_valid(row))).flatten()
            && (first..rows).all(|row| !texts.is_valid(row) || texts.value(row) == texts.value(first))
        {
            out.extend_from_slice(texts.value(first));
            return Ok(Encoding::Constant);
        }
        if self.effort != Effort::Log && self.codec.transform != Transform::Plain {
            let pays_in_part = || {
                let entries = sample_entries((0..rows).map(|row| texts.value(row)));
                let is_few = rows >= CHUNK_ROWS_MIN && entries <= PART_ENTRIES_MAX as f64;
                is_few || entries * 2.0 <= rows as f64
            };
            if self.decide_shared(pays_in_part, Dictionary::bytes, PART_ROWS)
                && let Shared::Yes(dictionary) = &mut self.shared
                && let Some(codes) = texts.codes(dictionary)
            {
                runs::write_codes(&codes, out);
                return Ok(Encoding::PartDictionary);
            }
            self.give_up_shared();
            let pays = || sample_distinct((0..rows).map(|row| texts.value(row))).is_some();
            if rows >= DICTIONARY_ROWS_MIN && self.own.pays(pays) {
                let mut dictionary = Dictionary::bytes();
                if let Some(codes) = texts.codes(&mut dictionary)
                    && dictionary.len() * 2 < rows
                {
                    self.write_dictionary(&dictionary, &texts.data_type(), &codes, out)?;
                    return Ok(Encoding::Dictionary);
                }
                self.own.failed();
            }
        }
        self.encode_values(&texts.values(), out)
    }

    /// Text without a dictionary.
    fn encode_values(&mut self, values: &[&[u8]], out: &mut Vec<u8>) -> Decoded<Encoding> {
        let raw: usize = values.iter().map(|value| value.len()).sum();
        let by_data = self.codec == Codec::default();
        if matches!(self.effort, Effort::Log | Effort::Inner) || raw < fsst::BYTES_MIN || !by_data {
            plain(values, out);
            return Ok(Encoding::Plain);
        }
        if self.text.until == 0 {
            self.text.choose(sample(values, raw), true)?;
        }
        if self.text.choice == Choice::Shapes {
            if let Some(body) = shapes::encode(values, &mut self.text.holes)? {
                self.text.until -= 1;
                out.extend_from_slice(&body);
                return Ok(Encoding::Json);
            }
            self.text.choose(sample(values, raw), false)?;
        }
        self.text.until -= 1;
        match self.text.choice {
            Choice::Coded => {
                let coded = fsst::code(&mut self.text.table, values);
                fsst::write(&self.text.table, &coded, out);
                return Ok(Encoding::Fsst);
            }
            Choice::Compressed(method) => self.compression.expect(method),
            Choice::Plain | Choice::Shapes => {}
        }
        plain(values, out);
        Ok(Encoding::Plain)
    }
}

/// Texts or bytes to encode.
trait Texts<'a> {
    fn data_type(&self) -> DataType;
    fn rows(&self) -> usize;
    fn is_valid(&self, row: usize) -> bool;
    /// Anything where it is NULL.
    fn value(&self, row: usize) -> &'a [u8];
    /// Codes of a dictionary; see [`Dictionary::codes_bytes`].
    fn codes(&self, dictionary: &mut Dictionary) -> Option<Vec<u64>>;

    /// All values; a NULL is empty.
    fn values(&self) -> Vec<&'a [u8]> {
        (0..self.rows()).map(|row| if self.is_valid(row) { self.value(row) } else { &[] }).collect()
    }
}

struct Views<'a, T: ByteViewType> {
    array: &'a GenericByteViewArray<T>,
    nulls: Option<&'a NullBuffer>,
}

impl<'a, T: ByteViewType> Texts<'a> for Views<'a, T> {
    fn data_type(&self) -> DataType {
        T::DATA_TYPE
    }
    fn rows(&self) -> usize {
        self.array.len()
    }
    fn is_valid(&self, row: usize) -> bool {
        self.nulls.is_none_or(|nulls| nulls.is_valid(row))
    }
    fn value(&self, row: usize) -> &'a [u8] {
        self.array.value(row).as_ref()
    }
    fn codes(&self, dictionary: &mut Dictionary) -> Option<Vec<u64>> {
        dictionary.codes_bytes(self.array, self.nulls)
    }
}

impl<'a> Texts<'a> for &[&'a [u8]] {
    fn data_type(&self) -> DataType {
        DataType::BinaryView
    }
    fn rows(&self) -> usize {
        self.len()
    }
    fn is_valid(&self, _: usize) -> bool {
        true
    }
    fn value(&self, row: usize) -> &'a [u8] {
        self[row]
    }
    fn codes(&self, dictionary: &mut Dictionary) -> Option<Vec<u64>> {
        dictionary.codes_values(self)
    }
}

/// How a column's text is written, decided anew from time to time.
#[derive(Default)]
pub(super) struct Memory {
    table: Option<Box<fsst::Table>>,
    holes: shapes::Memory,
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

impl Memory {
    /// Chooses by a sample of the values how they are written, as documents if they may be.
    fn choose(&mut self, sample: &[&[u8]], may_cut: bool) -> Decoded<()> {
        let raw = sample.iter().map(|value| value.len()).sum();
        let coded = fsst::code(&mut self.table, sample).len();
        let mut body = Vec::with_capacity(raw + raw / 8);
        plain(sample, &mut body);
        let [lz4, zstd] = [Method::Lz4, Method::ZSTD].map(|method| method.len(&body));
        (self.choice, self.until) = (choose(raw, coded, lz4, zstd), CHOICE_CHUNKS);
        let is_likely = sample.iter().find(|value| !value.is_empty()).is_some_and(|value| json::is_likely(value));
        // Documents are put together anew: beside codes that has to save half. Beside zstd, which reads all rows for one, a third.
        if may_cut
            && is_likely
            && let Some(body) = shapes::encode(sample, &mut self.holes)?
            && body.len() * 2 <= coded
            && body.len() * 10 <= zstd * 7
        {
            self.choice = Choice::Shapes;
        } else {
            self.holes = shapes::Memory::default();
        }
        Ok(())
    }
}

/// Some of the values, by which to choose for all.
fn sample<'a, 'b>(values: &'a [&'b [u8]], raw: usize) -> &'a [&'b [u8]] {
    let rows = (values.len() * SAMPLE_BYTES / raw.max(1)).clamp(1, values.len());
    &values[(values.len() - rows) / 2..][..rows]
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
