//! FSST: text and bytes as one-byte codes for strings of up to eight bytes (Boncz, Neumann, Leis: "FSST: Fast Random Access String
//! Compression", VLDB 2020; the table is built by the crate `fsst-rs`). Every value is coded by itself, so that one value can be
//! read without the others.
//!
//! A table is trained on the first chunk of a column and kept for the next ones, until what it saves falls behind what it
//! saved when it was new. Each chunk carries the table it was written with.

use fsst::Compressor;

use super::integers::{self, Shape};
use super::nested_u32;
use crate::bytes::{Reader, Write};
use crate::error::{Decoded, damaged};
use arrow::buffer::{Buffer, ScalarBuffer};

/// The code after which a byte stands for itself.
const ESCAPE: u8 = 255;
/// Text shorter than this, all together, gets no table.
pub(super) const BYTES_MIN: usize = 4096;

/// A table that was trained, and what it saved then.
pub(super) struct Table {
    compressor: Compressor,
    /// Coded bytes for each thousand.
    permille: usize,
}

/// Values in codes.
pub(super) struct Coded {
    codes: Vec<u8>,
    ends: Vec<u64>,
    raw: usize,
}

impl Coded {
    /// The size of the body, about.
    pub(super) fn len(&self) -> usize {
        self.codes.len() + self.ends.len() + 1024
    }

    fn permille(&self) -> usize {
        self.codes.len() * 1000 / self.raw.max(1)
    }
}

/// The values in codes of the column's table, or of a new one.
pub(super) fn code(memory: &mut Option<Box<Table>>, values: &[&[u8]]) -> Coded {
    if let Some(table) = memory {
        let coded = compress(&table.compressor, values);
        if coded.permille() * 10 <= table.permille * 11 {
            return coded;
        }
    }
    // The crate samples by itself.
    let compressor = Compressor::train(&values.to_vec());
    let coded = compress(&compressor, values);
    *memory = Some(Box::new(Table { compressor, permille: coded.permille() }));
    coded
}

fn compress(compressor: &Compressor, values: &[&[u8]]) -> Coded {
    let (mut codes, mut ends) = (Vec::new(), Vec::with_capacity(values.len()));
    compressor.compress_bulk_into::<{ Compressor::DEFAULT_BULK_LANES }>(values, &mut codes, &mut ends);
    Coded { codes, ends, raw: values.iter().map(|value| value.len()).sum() }
}

/// Appends the body of values that [`code`] coded last.
pub(super) fn write(memory: &Option<Box<Table>>, coded: &Coded, out: &mut Vec<u8>) {
    let Some(table) = memory else { return };
    let (symbols, lengths) = (table.compressor.symbol_table(), table.compressor.symbol_lengths());
    out.put_varint(coded.raw as u64);
    out.put_u8(symbols.len() as u8);
    out.extend_from_slice(lengths);
    for (symbol, &length) in symbols.iter().zip(lengths) {
        out.extend_from_slice(&symbol.to_u64().to_le_bytes()[..usize::from(length)]);
    }
    let starts = std::iter::once(0).chain(coded.ends.iter().copied());
    let lengths: Vec<u64> = starts.zip(&coded.ends).map(|(start, end)| end - start).collect();
    integers::nest(&lengths, Shape::U32, out);
    out.extend_from_slice(&coded.codes);
}

/// Reads the body, all rows or the selected ones: their bytes, and where each ends.
pub(super) fn decode(rows: usize, body: &Buffer, selection: Option<&[u32]>, level: u8) -> Decoded<(Vec<u8>, Vec<u32>)> {
    let opened = open(rows, body, level)?;
    let (raw, lengths) = (opened.raw as usize, &opened.lengths);
    let end = match selection {
        None => raw,
        Some(selection) => raw.min(selection.iter().map(|&row| 8 * lengths[row as usize] as usize).sum()),
    };
    let mut decoder = Decoder { symbols: opened.symbols, out: vec![0; end + 8], at: 0, end };
    let mut ends = Vec::with_capacity(selection.map_or(rows, <[u32]>::len));
    opened.each(selection, |codes| {
        decoder.push(codes)?;
        ends.push(decoder.at as u32);
        Ok(())
    })?;
    decoder.out.truncate(decoder.at);
    Ok((decoder.out, ends))
}

/// How many bytes each value has, of all rows or the selected ones.
pub(super) fn lengths(rows: usize, body: &Buffer, selection: Option<&[u32]>, level: u8) -> Decoded<Vec<i32>> {
    let opened = open(rows, body, level)?;
    let bytes = opened.symbols.map(|(_, length)| u64::from(length));
    let mut all = 0;
    let mut lengths = Vec::with_capacity(selection.map_or(rows, <[u32]>::len));
    opened.each(selection, |codes| {
        let mut codes = codes.iter();
        let mut length = 0;
        while let Some(&code) = codes.next() {
            length += match code {
                ESCAPE => match codes.next() {
                    Some(_) => 1,
                    None => return damaged("a value ends in an escape"),
                },
                code => bytes[usize::from(code)],
            };
        }
        all += length;
        lengths.push(length as i32);
        Ok(())
    })?;
    match all > opened.raw.min(i32::MAX as u64) {
        true => damaged(format!("values of over {} bytes", opened.raw)),
        false => Ok(lengths),
    }
}

/// How many codes each value has: an empty one none.
pub(super) fn code_counts(rows: usize, body: &Buffer, level: u8) -> Decoded<ScalarBuffer<u32>> {
    Ok(open(rows, body, level)?.lengths)
}

/// A body taken apart.
struct Opened<'a> {
    /// The bytes of all values.
    raw: u64,
    /// What codes stand for, and how many bytes that is; 0 for codes that are not used.
    symbols: [(u64, u8); 256],
    /// How many codes each value has.
    lengths: ScalarBuffer<u32>,
    codes: &'a [u8],
}

fn open(rows: usize, body: &Buffer, level: u8) -> Decoded<Opened<'_>> {
    let mut reader = Reader::new(body);
    let raw = reader.varint()?;
    let count = usize::from(reader.u8()?);
    let mut symbols = [(0u64, 0u8); 256];
    let lengths = reader.take(count)?;
    for (symbol, &length) in symbols.iter_mut().zip(lengths) {
        if !(1..=8).contains(&length) {
            return damaged(format!("a symbol of {length} bytes"));
        }
        let mut bytes = [0; 8];
        bytes[..usize::from(length)].copy_from_slice(reader.take(length.into())?);
        *symbol = (u64::from_le_bytes(bytes), length);
    }
    let lengths = nested_u32(&mut reader, body, rows, level)?;
    let codes = reader.take(reader.left())?;
    // A code stands for at most eight bytes, so a damaged length cannot make us allocate the world.
    if raw > 8 * codes.len() as u64
        || lengths.iter().map(|&length| u64::from(length)).sum::<u64>() != codes.len() as u64
    {
        return damaged(format!("{} codes cannot be {raw} bytes of {rows} values", codes.len()));
    }
    Ok(Opened { raw, symbols, lengths, codes })
}

impl Opened<'_> {
    /// The codes of each value, of all rows or the selected ones.
    #[inline]
    fn each(&self, selection: Option<&[u32]>, mut visit: impl FnMut(&[u8]) -> Decoded<()>) -> Decoded<()> {
        let mut from = 0;
        match selection {
            None => {
                for &length in &*self.lengths {
                    visit(&self.codes[from..from + length as usize])?;
                    from += length as usize;
                }
            }
            Some(selection) => {
                let mut next = 0;
                for &row in selection {
                    from += self.lengths[next..row as usize].iter().map(|&length| length as usize).sum::<usize>();
                    next = row as usize;
                    visit(&self.codes[from..from + self.lengths[next] as usize])?;
                }
            }
        }
        Ok(())
    }
}

struct Decoder {
    /// What codes stand for, and how many bytes that is; 0 for codes that are not used.
    symbols: [(u64, u8); 256],
    /// Eight bytes longer than what may be put out, since symbols are written whole.
    out: Vec<u8>,
    at: usize,
    end: usize,
}

impl Decoder {
    #[inline]
    fn push(&mut self, codes: &[u8]) -> Decoded<()> {
        let mut codes = codes.iter();
        let mut at = self.at;
        while let Some(&code) = codes.next() {
            let (symbol, length) = match code {
                ESCAPE => match codes.next() {
                    Some(&byte) => (u64::from(byte), 1),
                    None => return damaged("a value ends in an escape"),
                },
                code => self.symbols[usize::from(code)],
            };
            match self.out.get_mut(at..at + 8) {
                Some(place) => place.copy_from_slice(&symbol.to_le_bytes()),
                None => return damaged(format!("values of over {} bytes", self.end)),
            }
            at += usize::from(length);
        }
        if at > self.end {
            return damaged(format!("values of over {} bytes", self.end));
        }
        self.at = at;
        Ok(())
    }
}
