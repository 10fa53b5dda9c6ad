//! Chunks: one column of one run of rows as bytes (FORMAT.md, "Chunk").
//!
//! [`Encoder`] writes the chunks of one column, one after the other; it tries encodings on the data and remembers what paid.
//! [`decode`] reads a chunk back, whole or only selected rows. Decoding never trusts a length: everything is checked
//! against the bytes that are there, and bad bytes give [`Damage`], never a panic.
//!
//! One file holds one family: [`numbers`] (packed, delta), [`dictionary`], [`decimal`] (floats), [`text`] (text and
//! bytes), [`fixed`] (constant and plain of fixed width, and how fixed-width chunks are chosen), [`nested`] (lists and structs);
//! [`bitpack`] and [`compress`] are what they stand on.

mod bitpack;
mod compress;
mod decimal;
mod dictionary;
mod fixed;
mod nested;
mod numbers;
mod text;

#[cfg(test)]
mod conformance;

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, BooleanArray, make_array, new_null_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::DataType;

use crate::bytes::{Reader, Write};
use crate::error::{Damage, Decoded, damaged};
use dictionary::Dictionary;

/// A chunk has at most this many rows: more is damage, not data.
const ROWS_MAX: u64 = 1 << 28;

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
    /// Floats as integers over a power of ten.
    Decimal = 8,
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
            8 => Encoding::Decimal,
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
            Encoding::Decimal => "decimal",
        })
    }
}

/// How much an encoder may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Rows on their way through the log: little time, no dictionary, no compression.
    Log,
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
    shared: Shared,
    compression: compress::Memory,
    /// Rows seen, to judge whether the dictionary pays.
    rows: usize,
    children: Vec<Encoder>,
}

impl Encoder {
    /// Every chunk stands alone.
    pub(crate) fn new(effort: Effort) -> Encoder {
        Encoder { effort, shared: Shared::No, compression: Default::default(), rows: 0, children: Vec::new() }
    }

    /// Chunks may share a dictionary, which [`Encoder::dictionary`] gives at the end.
    pub(crate) fn with_dictionary(effort: Effort) -> Encoder {
        Encoder { shared: Shared::Open, ..Encoder::new(effort) }
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
            self.children.push(Encoder::new(self.effort));
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
            out.extend_from_slice(&bitmap(nulls.inner()));
        }
        let body = out.len();
        let encoding = match physical {
            Physical::Bool => encode_bool(array, nulls, out),
            Physical::Text | Physical::Bytes => self.encode_text(array, nulls, out)?,
            Physical::List => self.encode_list(array, out)?,
            Physical::Struct => self.encode_struct(array, out)?,
            _ => self.encode_fixed(array, physical, nulls, out)?,
        };
        let compression = match encoding {
            // Their children are chunks that are compressed themselves.
            Encoding::List | Encoding::Struct | Encoding::Decimal | Encoding::Constant => compress::NONE,
            _ => compress::compress(out, body, self.effort, &mut self.compression),
        };
        out[start] = encoding as u8;
        out[start + 1] = if nulls.is_some() { NULLS_SOME } else { 0 } | compression << 2;
        Ok(encoding)
    }

    /// Appends `array` as a nested chunk: its length, then itself.
    pub(crate) fn encode_nested(&mut self, array: &dyn Array, out: &mut Vec<u8>) -> Decoded<()> {
        let mut chunk = Vec::new();
        self.encode(array, &mut chunk)?;
        out.put_bytes(&chunk);
        Ok(())
    }
}

fn bitmap(bits: &BooleanBuffer) -> Vec<u8> {
    // Bits past the end are zeroed, so that equal arrays give equal bytes.
    let mut bytes = bits.sliced().as_slice()[..bits.len().div_ceil(8)].to_vec();
    if let (Some(last), rest @ 1..) = (bytes.last_mut(), bits.len() % 8) {
        *last &= (1 << rest) - 1;
    }
    bytes
}

fn encode_bool(array: &dyn Array, nulls: Option<&NullBuffer>, out: &mut Vec<u8>) -> Encoding {
    let Some(array) = array.as_any().downcast_ref::<BooleanArray>() else { return Encoding::Plain };
    let bits = match nulls {
        Some(nulls) => array.values() & nulls.inner(),
        None => array.values().clone(),
    };
    let ones = bits.count_set_bits();
    let valid = nulls.map_or(array.len(), |nulls| nulls.len() - nulls.null_count());
    if array.len() > 8 && (ones == 0 || ones == valid) {
        out.put_u8(u8::from(ones > 0));
        return Encoding::Constant;
    }
    out.extend_from_slice(&bitmap(&bits));
    Encoding::Plain
}

/// A nested chunk's bytes.
fn nested(reader: &mut Reader<'_>, buffer: &Buffer) -> Decoded<Buffer> {
    let length = reader.count()?;
    let from = reader.position();
    reader.take(length)?;
    Ok(buffer.slice_with_length(from, length))
}

/// Reads a nested chunk without NULLs of UInt32.
fn nested_u32(reader: &mut Reader<'_>, buffer: &Buffer, rows: usize) -> Decoded<Vec<u32>> {
    decode_u32(&nested(reader, buffer)?, rows, None)
}

/// Reads a chunk without NULLs of UInt32.
fn decode_u32(chunk: &Buffer, rows: usize, selection: Option<&[u32]>) -> Decoded<Vec<u32>> {
    let array = decode(&DataType::UInt32, rows, chunk, None, selection)?;
    if array.null_count() > 0 {
        return damaged("a NULL among lengths or codes");
    }
    match array.as_any().downcast_ref::<arrow::array::UInt32Array>() {
        Some(array) => Ok(array.values().to_vec()),
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
    if rows as u64 > ROWS_MAX {
        return damaged(format!("a chunk of {rows} rows"));
    }
    if selection.is_some_and(|selection| selection.iter().any(|&row| row as usize >= rows)) {
        return Err(Damage(format!("a selection past {rows} rows")));
    }
    let mut reader = Reader::new(chunk);
    let encoding = Encoding::from_code(reader.u8()?)?;
    let flags = reader.u8()?;
    let selected = selection.map_or(rows, <[u32]>::len);
    let nulls = match flags & 3 {
        0 => None,
        NULLS_SOME => {
            reader.take(rows.div_ceil(8))?;
            let bits = BooleanBuffer::new(chunk.slice_with_length(2, rows.div_ceil(8)), 0, rows);
            Some(NullBuffer::new(select_bits(bits, selection))).filter(|nulls| nulls.null_count() > 0)
        }
        NULLS_ALL => return Ok(new_null_array(ty, selected)),
        other => return damaged(format!("NULLs of kind {other}")),
    };
    let body = chunk.slice(reader.position());
    let body = compress::decompress(body, flags >> 2)?;
    let physical = Physical::of(ty)?;
    match (encoding, physical) {
        (Encoding::Dictionary | Encoding::PartDictionary, Physical::Bool | Physical::List | Physical::Struct) => {
            damaged(format!("a {encoding} of {ty}"))
        }
        (Encoding::PartDictionary, _) => {
            let Some(dictionary) = dictionary else { return damaged("the part has no dictionary for the column") };
            dictionary::lookup(dictionary, &decode_u32(&body, rows, selection)?, nulls)
        }
        (Encoding::Dictionary, _) => {
            let mut reader = Reader::new(&body);
            let entries = reader.varint()?;
            if entries > ROWS_MAX {
                return damaged(format!("a dictionary of {entries}"));
            }
            let dictionary = decode(ty, entries as usize, &nested(&mut reader, &body)?, None, None)?;
            let codes = decode_u32(&nested(&mut reader, &body)?, rows, selection)?;
            dictionary::lookup(&dictionary, &codes, nulls)
        }
        (_, Physical::Bool) => decode_bool(encoding, rows, body, selection, nulls),
        (_, Physical::Text | Physical::Bytes) => {
            text::decode(encoding, physical == Physical::Text, rows, body, selection, nulls)
        }
        (Encoding::List, Physical::List) => nested::decode_list(ty, rows, body, selection, nulls),
        (Encoding::Struct, Physical::Struct) => nested::decode_struct(ty, rows, body, selection, nulls),
        (Encoding::Decimal, Physical::Float { width }) => {
            fixed_array(ty, selected, decimal::decode(width, rows, &body, selection)?, nulls)
        }
        _ => fixed_array(ty, selected, fixed::decode(encoding, physical, rows, body, selection)?, nulls),
    }
}

fn select_bits(bits: BooleanBuffer, selection: Option<&[u32]>) -> BooleanBuffer {
    match selection {
        None => bits,
        Some(selection) => BooleanBuffer::collect_bool(selection.len(), |at| bits.value(selection[at] as usize)),
    }
}

fn decode_bool(
    encoding: Encoding,
    rows: usize,
    body: Buffer,
    selection: Option<&[u32]>,
    nulls: Option<NullBuffer>,
) -> Decoded<ArrayRef> {
    let bits = match encoding {
        Encoding::Constant => {
            let value = Reader::new(&body).bool()?;
            let length = selection.map_or(rows, <[u32]>::len);
            if value { BooleanBuffer::new_set(length) } else { BooleanBuffer::new_unset(length) }
        }
        Encoding::Plain if body.len() >= rows.div_ceil(8) => select_bits(BooleanBuffer::new(body, 0, rows), selection),
        Encoding::Plain => return damaged(format!("{} bytes for {rows} booleans", body.len())),
        other => return damaged(format!("booleans encoded as {other}")),
    };
    Ok(Arc::new(BooleanArray::new(bits, nulls)))
}

/// The number of bytes that the values take uncompressed, NULL bitmaps aside.
pub(crate) fn raw_size(array: &dyn Array) -> usize {
    text::raw_size(array)
}
