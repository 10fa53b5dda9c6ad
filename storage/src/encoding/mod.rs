//! Chunks: one column of one run of rows as bytes (FORMAT.md, "Chunk").
//!
//! [`Encoder`] writes the chunks of one column, one after the other; it tries encodings on the data and remembers what paid.
//! [`decode`] reads a chunk back, whole or only selected rows. Decoding never trusts a length: everything is checked
//! against the bytes that are there, and bad bytes give [`Damage`](crate::error::Damage), never a panic.
//!
//! One file holds one family: [`integers`] and [`numbers`] (writing and reading packed, patched, delta, scaled), [`alp`] and [`split`] (floats),
//! [`gorilla`], [`bools`], [`runs`], [`dictionary`] and [`coded`] (codes, as values and as what they are), [`text`], [`fsst`], [`json`] and [`shapes`], and [`lengths`] (text
//! and bytes), [`fixed`] (constant and plain of fixed width, and how fixed-width chunks are chosen), [`nested`] (lists and structs); [`bitpack`] and
//! [`compress`] are what they stand on.

mod alp;
mod bitpack;
mod bools;
mod coded;
mod compress;
mod dictionary;
mod fixed;
mod fsst;
mod gorilla;
mod integers;
mod json;
mod lengths;
mod nested;
mod numbers;
mod runs;
mod shapes;
mod split;
mod text;

#[cfg(test)]
mod conformance;

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, BooleanArray, make_array, new_null_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use memchr::memmem::Finder;

use crate::bytes::{Reader, Write};
use crate::codec::Codec;
use crate::error::{Decoded, damaged};
pub use coded::{CodeRange, Coded};
pub(crate) use coded::{decode_codes, decode_codes_within};
use dictionary::Dictionary;
pub(crate) use lengths::{decode_empty, decode_lengths};
pub(crate) use numbers::decode_within;

/// A chunk has at most this many rows: more is damage, not data.
const ROWS_MAX: u64 = 1 << 28;
/// Chunks lie within chunks at most this deep: more is damage, not data.
const LEVELS_MAX: u8 = 64;

/// How a chunk is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// The values as they are.
    Plain = 0,
    /// One value for all rows.
    Constant = 1,
    /// Bit-packed distances from a base.
    Packed = 2,
    /// Bit-packed differences between neighbours.
    Delta = 3,
    /// Codes into the chunk's own dictionary.
    Dictionary = 4,
    /// Codes into the part's dictionary of the column.
    PartDictionary = 5,
    /// Lengths and children.
    List = 6,
    /// Fields.
    Struct = 7,
    /// Floats as integers over a power of ten, and what that leaves.
    Alp = 8,
    /// Equal neighbours once.
    RunLength = 9,
    /// Packed, with the few values that are too great kept aside.
    Patched = 10,
    /// Integers as multiples of a factor.
    Scaled = 11,
    /// Floats as few kinds of high bits, and low bits.
    Split = 12,
    /// Text in codes for frequent strings.
    Fsst = 13,
    /// Booleans by the rows of the rarer kind.
    Sparse = 14,
    /// Floats as the bits that change.
    Gorilla = 15,
    /// Documents as shapes, and what is in their holes.
    Json = 16,
}

impl Encoding {
    pub(crate) fn from_code(code: u8) -> Decoded<Encoding> {
        Ok(match code {
            0 => Encoding::Plain,
            1 => Encoding::Constant,
            2 => Encoding::Packed,
            3 => Encoding::Delta,
            4 => Encoding::Dictionary,
            5 => Encoding::PartDictionary,
            6 => Encoding::List,
            7 => Encoding::Struct,
            8 => Encoding::Alp,
            9 => Encoding::RunLength,
            10 => Encoding::Patched,
            11 => Encoding::Scaled,
            12 => Encoding::Split,
            13 => Encoding::Fsst,
            14 => Encoding::Sparse,
            15 => Encoding::Gorilla,
            16 => Encoding::Json,
            other => return damaged(format!("there is no encoding {other}")),
        })
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encoding::Plain => "plain",
            Encoding::Constant => "constant",
            Encoding::Packed => "packed",
            Encoding::Delta => "delta",
            Encoding::Dictionary => "dictionary",
            Encoding::PartDictionary => "part dictionary",
            Encoding::List => "list",
            Encoding::Struct => "struct",
            Encoding::Alp => "alp",
            Encoding::RunLength => "run-length",
            Encoding::Patched => "patched",
            Encoding::Scaled => "scaled",
            Encoding::Split => "split",
            Encoding::Fsst => "fsst",
            Encoding::Sparse => "sparse",
            Encoding::Gorilla => "gorilla",
            Encoding::Json => "json",
        })
    }
}

/// How much an encoder may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Rows on their way through the log: little time, no dictionary, no compression.
    Log,
    /// Chunks within a chunk, whose body is compressed as a whole if at all.
    Inner,
    /// Fresh parts.
    Fast,
    /// Parts that will stay.
    Dense,
}

/// What a type is to the encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Physical {
    Bool,
    Integer {
        width: usize,
        signed: bool,
    },
    Float {
        width: usize,
    },
    /// 16 bytes that are a number.
    Wide,
    /// Bytes of a fixed number.
    Fixed {
        width: usize,
    },
    Text,
    Bytes,
    List,
    Struct,
}

impl Physical {
    fn of(ty: &DataType) -> Decoded<Physical> {
        let integer = |width, signed| Physical::Integer { width, signed };
        Ok(match ty {
            DataType::Boolean => Physical::Bool,
            DataType::Int8 => integer(1, true),
            DataType::Int16 => integer(2, true),
            DataType::Int32 | DataType::Date32 => integer(4, true),
            DataType::Int64 | DataType::Time64(_) | DataType::Timestamp(..) => integer(8, true),
            DataType::UInt8 => integer(1, false),
            DataType::UInt16 => integer(2, false),
            DataType::UInt32 => integer(4, false),
            DataType::UInt64 => integer(8, false),
            DataType::Float32 => Physical::Float { width: 4 },
            DataType::Float64 => Physical::Float { width: 8 },
            DataType::Decimal128(..) => Physical::Wide,
            DataType::Interval(_) => Physical::Fixed { width: 16 },
            DataType::FixedSizeBinary(width) => Physical::Fixed { width: *width as usize },
            DataType::Utf8View => Physical::Text,
            DataType::BinaryView => Physical::Bytes,
            DataType::List(_) => Physical::List,
            DataType::Struct(_) => Physical::Struct,
            other => return damaged(format!("type {other} has no encoding")),
        })
    }

    /// Bytes of a value; 0 when that varies.
    fn width(self) -> usize {
        match self {
            Physical::Integer { width, .. } | Physical::Float { width } | Physical::Fixed { width } => width,
            Physical::Wide => 16,
            _ => 0,
        }
    }
}

const NULLS_SOME: u8 = 1;
const NULLS_ALL: u8 = 2;

/// Whether a column uses a dictionary that outlives the chunk.
enum Shared {
    /// It may not.
    No,
    /// Not decided.
    Open,
    /// It does.
    Yes(Dictionary),
    /// It did, or was found not to pay; the entries that chunks refer to stay.
    Done(Option<Dictionary>),
}

/// Writes the chunks of one column.
pub(crate) struct Encoder {
    effort: Effort,
    codec: Codec,
    shared: Shared,
    compression: compress::Memory,
    text: text::Memory,
    own: dictionary::Trials,
    /// Rows seen, to judge whether the dictionary pays.
    rows: usize,
    children: Vec<Encoder>,
}

impl Encoder {
    /// Every chunk stands alone.
    pub(crate) fn new(effort: Effort) -> Encoder {
        Encoder {
            effort,
            codec: Codec::default(),
            shared: Shared::No,
            compression: Default::default(),
            text: Default::default(),
            own: Default::default(),
            rows: 0,
            children: Vec::new(),
        }
    }

    /// Chunks may share a dictionary, which [`Encoder::dictionary`] gives at the end.
    pub(crate) fn with_dictionary(effort: Effort) -> Encoder {
        Encoder { shared: Shared::Open, ..Encoder::new(effort) }
    }

    /// Does what the codec says, where it applies.
    pub(crate) fn with_codec(self, codec: Codec) -> Encoder {
        Encoder { codec, ..self }
    }

    /// The shared dictionary, if any chunk refers to it.
    pub(crate) fn dictionary(&self, ty: &DataType) -> Decoded<Option<ArrayRef>> {
        match &self.shared {
            Shared::Yes(dictionary) | Shared::Done(Some(dictionary)) => dictionary.entries(ty).map(Some),
            _ => Ok(None),
        }
    }

    fn child(&mut self, index: usize) -> &mut Encoder {
        while self.children.len() <= index {
            self.children.push(Encoder::new(self.effort).with_codec(self.codec));
        }
        &mut self.children[index]
    }

    /// Appends the chunk of `array`. Fails only for a type that has no encoding.
    pub(crate) fn encode(&mut self, array: &dyn Array, out: &mut Vec<u8>) -> Decoded<Encoding> {
        let physical = Physical::of(array.data_type())?;
        let start = out.len();
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        self.rows += array.len();
        if array.is_empty() {
            out.extend_from_slice(&[Encoding::Constant as u8, NULLS_ALL]);
            return Ok(Encoding::Constant);
        }
        out.extend_from_slice(&[0, 0]);
        if let Some(nulls) = nulls {
            if nulls.null_count() == nulls.len() {
                out[start] = Encoding::Constant as u8;
                out[start + 1] = NULLS_ALL;
                return Ok(Encoding::Constant);
            }
            let mut chunk = vec![0, 0];
            chunk[0] = bools::write(nulls.inner(), self.effort, &mut chunk) as u8;
            out.put_bytes(&chunk);
        }
        let body = out.len();
        let encoding = match physical {
            Physical::Bool => encode_bool(array, nulls, self.effort, out),
            Physical::Text | Physical::Bytes => self.encode_text(array, nulls, out)?,
            Physical::List => self.encode_list(array, out)?,
            Physical::Struct => self.encode_struct(array, out)?,
            _ => self.encode_fixed(array, physical, nulls, out)?,
        };
        let compression = self.compress(encoding, body, out);
        out[start] = encoding as u8;
        out[start + 1] = if nulls.is_some() { NULLS_SOME } else { 0 } | compression << 2;
        Ok(encoding)
    }

    /// Compresses a body where that pays; says how.
    fn compress(&mut self, encoding: Encoding, body: usize, out: &mut Vec<u8>) -> u8 {
        match encoding {
            // Their children are chunks that are compressed themselves.
            Encoding::List | Encoding::Struct => compress::NONE,
            // Nothing is left to compress, and single values are found.
            Encoding::Constant | Encoding::Fsst | Encoding::Json => compress::NONE,
            _ => compress::compress(out, body, self.effort, self.codec.compression, &mut self.compression),
        }
    }

    /// Appends `array` as a nested chunk: its length, then itself.
    pub(crate) fn encode_nested(&mut self, array: &dyn Array, out: &mut Vec<u8>) -> Decoded<()> {
        let mut chunk = Vec::new();
        self.encode(array, &mut chunk)?;
        out.put_bytes(&chunk);
        Ok(())
    }
}

fn encode_bool(array: &dyn Array, nulls: Option<&NullBuffer>, effort: Effort, out: &mut Vec<u8>) -> Encoding {
    let values = array.as_boolean().values();
    let Some(nulls) = nulls else { return bools::write(values, effort, out) };
    // A NULL is what most are, so that it makes no difference.
    let ones = values & nulls.inner();
    let many = ones.count_set_bits() * 2 > nulls.len() - nulls.null_count();
    bools::write(&if many { &ones | &!nulls.inner() } else { ones }, effort, out)
}

/// A nested chunk's bytes.
fn nested(reader: &mut Reader<'_>, buffer: &Buffer) -> Decoded<Buffer> {
    let length = reader.count()?;
    let from = reader.position();
    reader.take(length)?;
    Ok(buffer.slice_with_length(from, length))
}

/// Reads a nested chunk without NULLs of UInt32.
fn nested_u32(reader: &mut Reader<'_>, buffer: &Buffer, rows: usize, level: u8) -> Decoded<ScalarBuffer<u32>> {
    decode_u32(&nested(reader, buffer)?, rows, None, level + 1)
}

/// Reads a chunk without NULLs of UInt32.
fn decode_u32(chunk: &Buffer, rows: usize, selection: Option<&[u32]>, level: u8) -> Decoded<ScalarBuffer<u32>> {
    let array = decode_at(&DataType::UInt32, rows, chunk, None, selection, level)?;
    if array.null_count() > 0 {
        return damaged("a NULL among lengths or codes");
    }
    match array.as_any().downcast_ref::<arrow::array::UInt32Array>() {
        Some(array) => Ok(array.values().clone()),
        None => damaged("lengths or codes of the wrong type"),
    }
}

/// A fixed-width array over `values`, aligned if need be.
fn fixed_array(ty: &DataType, rows: usize, values: Buffer, nulls: Option<NullBuffer>) -> Decoded<ArrayRef> {
    let data = ArrayData::builder(ty.clone()).len(rows).add_buffer(values).nulls(nulls).align_buffers(true);
    Ok(make_array(data.build()?))
}

/// The value bytes of a fixed-width array.
fn fixed_bytes(data: &ArrayData, width: usize) -> &[u8] {
    &data.buffers()[0].as_slice()[data.offset() * width..(data.offset() + data.len()) * width]
}

/// Reads the chunk in `chunk`, which has `rows` rows, or only the selected ones (sorted row numbers).
pub(crate) fn decode(
    ty: &DataType,
    rows: usize,
    chunk: &Buffer,
    dictionary: Option<&ArrayRef>,
    selection: Option<&[u32]>,
) -> Decoded<ArrayRef> {
    decode_at(ty, rows, chunk, dictionary, selection, 0)
}

/// The documents of a chunk with only the fields of these names, if it is one of which those can be read; see [`decode`].
pub(crate) fn decode_fields(
    ty: &DataType,
    rows: usize,
    chunk: &Buffer,
    selection: Option<&[u32]>,
    names: &[String],
) -> Decoded<Option<ArrayRef>> {
    if *ty != DataType::Utf8View || !is_one_of(chunk, &[Encoding::Json]) {
        return Ok(None);
    }
    let Opened { nulls: Nulls::Some(nulls), body, .. } = open(rows, chunk, selection, 0)? else { return Ok(None) };
    text::decode_fields(rows, &body, selection, nulls, names)
}

/// Which values of a text chunk have a text in them, none of them NULL; `None` where that is best found value by value.
pub(crate) fn decode_containing(
    ty: &DataType,
    rows: usize,
    chunk: &Buffer,
    needle: &Finder<'_>,
) -> Decoded<Option<BooleanBuffer>> {
    if *ty != DataType::Utf8View || !is_one_of(chunk, &[Encoding::Plain, Encoding::Fsst, Encoding::Json]) {
        return Ok(None);
    }
    let Opened { encoding, nulls: Nulls::Some(nulls), body } = open(rows, chunk, None, 0)? else {
        return Ok(Some(BooleanBuffer::new_unset(rows)));
    };
    let found = text::containing(encoding, rows, &body, needle, 0)?;
    Ok(found.map(|found| valid(found, nulls.as_ref())))
}

/// The same of the bytes of a nested chunk without NULLs, however they are kept.
fn nested_containing(rows: usize, chunk: &Buffer, needle: &Finder<'_>, level: u8) -> Decoded<BooleanBuffer> {
    let ty = DataType::BinaryView;
    let Opened { encoding, nulls: Nulls::Some(None), body } = open(rows, chunk, None, level)? else {
        return damaged("a NULL in a document");
    };
    if let Some(found) = text::containing(encoding, rows, &body, needle, level)? {
        return Ok(found);
    }
    let has = |value: &[u8]| needle.find(value).is_some();
    if encoding == Encoding::Dictionary {
        let (entries, codes) = dictionary::read(&ty, rows, &body, None, level)?;
        dictionary::check(&entries, &codes)?;
        let found: Vec<bool> = entries.as_binary_view().iter().map(|value| value.is_some_and(has)).collect();
        return Ok(BooleanBuffer::collect_bool(rows, |row| found[codes[row] as usize]));
    }
    let values = decode_opened(&ty, rows, Opened { encoding, nulls: Nulls::Some(None), body }, None, None, level)?;
    let values = values.as_binary_view();
    Ok(BooleanBuffer::collect_bool(rows, |row| has(values.value(row))))
}

/// Whether a chunk is encoded in one of these ways, told without opening it.
fn is_one_of(chunk: &[u8], encodings: &[Encoding]) -> bool {
    chunk.first().is_some_and(|&code| encodings.iter().any(|&encoding| encoding as u8 == code))
}

const NO_DICTIONARY: &str = "the part has no dictionary for the column";

/// A chunk taken apart.
struct Opened {
    encoding: Encoding,
    nulls: Nulls,
    body: Buffer,
}

/// Which of the wanted rows of a chunk are NULL.
enum Nulls {
    All,
    Some(Option<NullBuffer>),
}

/// Those of some rows that have a value.
fn valid(rows: BooleanBuffer, nulls: Option<&NullBuffer>) -> BooleanBuffer {
    nulls.map_or_else(|| rows.clone(), |nulls| &rows & nulls.inner())
}

fn open(rows: usize, chunk: &Buffer, selection: Option<&[u32]>, level: u8) -> Decoded<Opened> {
    check_rows(rows, selection, level)?;
    let mut reader = Reader::new(chunk);
    let encoding = Encoding::from_code(reader.u8()?)?;
    let flags = reader.u8()?;
    let nulls = nulls(rows, chunk, &mut reader, flags, selection, level)?;
    let body = match nulls {
        Nulls::All => Buffer::default(),
        Nulls::Some(_) => compress::decompress(chunk.slice(reader.position()), flags >> 2)?,
    };
    Ok(Opened { encoding, nulls, body })
}

fn nulls(
    rows: usize,
    chunk: &Buffer,
    reader: &mut Reader<'_>,
    flags: u8,
    selection: Option<&[u32]>,
    level: u8,
) -> Decoded<Nulls> {
    match flags & 3 {
        0 => Ok(Nulls::Some(None)),
        NULLS_SOME => {
            let bits = decode_at(&DataType::Boolean, rows, &nested(reader, chunk)?, None, selection, level + 1)?;
            let nulls = NullBuffer::new(bits.as_boolean().values().clone());
            Ok(Nulls::Some(Some(nulls).filter(|nulls| nulls.null_count() > 0)))
        }
        NULLS_ALL => Ok(Nulls::All),
        other => damaged(format!("NULLs of kind {other}")),
    }
}

/// Which rows of a chunk are NULL, without its values; see [`decode`].
pub(crate) fn decode_nulls(rows: usize, chunk: &Buffer, selection: Option<&[u32]>) -> Decoded<NullBuffer> {
    check_rows(rows, selection, 0)?;
    let mut reader = Reader::new(chunk);
    Encoding::from_code(reader.u8()?)?;
    let flags = reader.u8()?;
    let selected = selection.map_or(rows, <[u32]>::len);
    Ok(match nulls(rows, chunk, &mut reader, flags, selection, 0)? {
        Nulls::All => NullBuffer::new_null(selected),
        Nulls::Some(nulls) => nulls.unwrap_or_else(|| NullBuffer::new_valid(selected)),
    })
}

fn check_rows(rows: usize, selection: Option<&[u32]>, level: u8) -> Decoded<()> {
    if rows as u64 > ROWS_MAX || level > LEVELS_MAX {
        return damaged(format!("a chunk of {rows} rows, within {level} others"));
    }
    match selection.is_some_and(|selection| selection.iter().any(|&row| row as usize >= rows)) {
        true => damaged(format!("a selection past {rows} rows")),
        false => Ok(()),
    }
}

/// The same of a chunk that is within `level` others.
fn decode_at(
    ty: &DataType,
    rows: usize,
    chunk: &Buffer,
    dictionary: Option<&ArrayRef>,
    selection: Option<&[u32]>,
    level: u8,
) -> Decoded<ArrayRef> {
    decode_opened(ty, rows, open(rows, chunk, selection, level)?, dictionary, selection, level)
}

fn decode_opened(
    ty: &DataType,
    rows: usize,
    chunk: Opened,
    dictionary: Option<&ArrayRef>,
    selection: Option<&[u32]>,
    level: u8,
) -> Decoded<ArrayRef> {
    let selected = selection.map_or(rows, <[u32]>::len);
    let Opened { encoding, nulls, body } = chunk;
    let Nulls::Some(nulls) = nulls else { return Ok(new_null_array(ty, selected)) };
    let physical = Physical::of(ty)?;
    match (encoding, physical) {
        (_, Physical::Bool) => {
            Ok(Arc::new(BooleanArray::new(bools::decode(encoding, rows, body, selection, level)?, nulls)))
        }
        (Encoding::List, Physical::List) => nested::decode_list(ty, rows, body, selection, nulls, level),
        (Encoding::Struct, Physical::Struct) => nested::decode_struct(ty, rows, body, selection, nulls, level),
        (_, Physical::List | Physical::Struct) => damaged(format!("a {encoding} of {ty}")),
        (Encoding::PartDictionary, _) => {
            let Some(dictionary) = dictionary else { return damaged(NO_DICTIONARY) };
            dictionary::lookup(dictionary, &decode_u32(&body, rows, selection, level + 1)?, nulls)
        }
        (Encoding::Dictionary, _) => {
            let (entries, codes) = dictionary::read(ty, rows, &body, selection, level)?;
            dictionary::lookup(&entries, &codes, nulls)
        }
        (Encoding::RunLength, _) => runs::decode(ty, rows, &body, selection, nulls, level),
        (_, Physical::Text | Physical::Bytes) => {
            text::decode(encoding, physical == Physical::Text, rows, body, selection, nulls, level)
        }
        (Encoding::Alp, Physical::Float { width }) => {
            fixed_array(ty, selected, alp::decode(width, rows, &body, selection, level)?, nulls)
        }
        (Encoding::Gorilla, Physical::Float { width }) => {
            fixed_array(ty, selected, gorilla::decode(width, rows, &body, selection)?, nulls)
        }
        (Encoding::Split, Physical::Float { width }) => {
            fixed_array(ty, selected, split::decode(width, rows, &body, selection, level)?, nulls)
        }
        _ => fixed_array(ty, selected, fixed::decode(encoding, physical, rows, body, selection, level)?, nulls),
    }
}

/// The number of bytes that the values take uncompressed, NULL bitmaps aside.
pub(crate) fn raw_size(array: &dyn Array) -> usize {
    text::raw_size(array)
}

/// The same of each row of columns.
pub(crate) fn row_sizes(columns: &[ArrayRef]) -> Vec<usize> {
    text::row_sizes(columns)
}
