//! Booleans, and with them the NULLs of every column: all alike, a few of one kind among the other (their rows are kept), long runs
//! (their lengths are kept), or a bitmap.

use arrow::array::BooleanBufferBuilder;
use arrow::buffer::{BooleanBuffer, Buffer};

use super::integers::{self, Shape};
use super::{Effort, Encoding, nested_u32};
use crate::bytes::{Reader, Write};
use crate::error::{Decoded, damaged};

/// Bitmaps shorter than this are left alone.
const ROWS_MIN: usize = 256;

/// Appends a bitmap. Bits past the end are zeroed, so that equal arrays give equal bytes.
fn plain(bits: &BooleanBuffer, out: &mut Vec<u8>) {
    out.extend_from_slice(&bits.sliced().as_slice()[..bits.len().div_ceil(8)]);
    if let (Some(last), rest @ 1..) = (out.last_mut(), bits.len() % 8) {
        *last &= (1 << rest) - 1;
    }
}

/// Appends the body of at least one boolean.
pub(super) fn write(bits: &BooleanBuffer, effort: Effort, out: &mut Vec<u8>) -> Encoding {
    let (rows, ones) = (bits.len(), bits.count_set_bits());
    if rows > 8 && (ones == 0 || ones == rows) {
        out.put_u8(u8::from(ones > 0));
        return Encoding::Constant;
    }
    let start = out.len();
    if effort != Effort::Log && rows >= ROWS_MIN {
        let many = ones * 2 > rows;
        let few = if many { rows - ones } else { ones };
        // Runs of ones, by their ends; the others lie between.
        let runs = bits.set_slices().take(rows / 32).count();
        if few <= runs.max(1) * 2 && few * 8 <= rows {
            out.put_u8(u8::from(!many));
            write_sparse(bits, many, out);
            if (out.len() - start) * 8 < rows * 3 / 4 {
                return Encoding::Sparse;
            }
        } else if runs * 32 < rows {
            write_runs(bits, out);
            if (out.len() - start) * 8 < rows * 3 / 4 {
                return Encoding::RunLength;
            }
        }
        out.truncate(start);
    }
    plain(bits, out);
    Encoding::Plain
}

fn write_sparse(bits: &BooleanBuffer, many: bool, out: &mut Vec<u8>) {
    let rows: Vec<u64> = match many {
        true => (!bits).set_indices().map(|row| row as u64).collect(),
        false => bits.set_indices().map(|row| row as u64).collect(),
    };
    out.put_varint(rows.len() as u64);
    integers::nest(&rows, Shape::U32, out);
}

fn write_runs(bits: &BooleanBuffer, out: &mut Vec<u8>) {
    let (mut lengths, mut at) = (Vec::new(), 0);
    for (from, to) in bits.set_slices() {
        lengths.extend([(from - at) as u64, (to - from) as u64]);
        at = to;
    }
    lengths.push((bits.len() - at) as u64);
    out.put_varint(lengths.len() as u64);
    integers::nest(&lengths, Shape::U32, out);
}

/// Reads the body, all rows or the selected ones.
pub(super) fn decode(
    encoding: Encoding,
    rows: usize,
    body: Buffer,
    selection: Option<&[u32]>,
    level: u8,
) -> Decoded<BooleanBuffer> {
    let bits = match encoding {
        Encoding::Constant => {
            let value = Reader::new(&body).bool()?;
            let length = selection.map_or(rows, <[u32]>::len);
            return Ok(if value { BooleanBuffer::new_set(length) } else { BooleanBuffer::new_unset(length) });
        }
        Encoding::Plain if body.len() >= rows.div_ceil(8) => BooleanBuffer::new(body, 0, rows),
        Encoding::Plain => return damaged(format!("{} bytes for {rows} booleans", body.len())),
        Encoding::Sparse => read_sparse(rows, &body, level)?,
        Encoding::RunLength => read_runs(rows, &body, level)?,
        other => return damaged(format!("booleans encoded as {other}")),
    };
    Ok(select(bits, selection))
}

fn read_sparse(rows: usize, body: &Buffer, level: u8) -> Decoded<BooleanBuffer> {
    let mut reader = Reader::new(body);
    let value = reader.bool()?;
    let count = reader.varint()?;
    if count > rows as u64 {
        return damaged(format!("{count} of {rows} booleans"));
    }
    let at = nested_u32(&mut reader, body, count as usize, level)?;
    let mut bits = BooleanBufferBuilder::new(rows);
    bits.append_n(rows, !value);
    for &row in &*at {
        if row as usize >= rows {
            return damaged(format!("boolean {row} of {rows}"));
        }
        bits.set_bit(row as usize, value);
    }
    Ok(bits.finish())
}

fn read_runs(rows: usize, body: &Buffer, level: u8) -> Decoded<BooleanBuffer> {
    let mut reader = Reader::new(body);
    let count = reader.varint()?;
    // One run of no rows may come first and one last.
    if count > rows as u64 + 2 {
        return damaged(format!("{count} runs of {rows} booleans"));
    }
    let lengths = nested_u32(&mut reader, body, count as usize, level)?;
    if lengths.iter().map(|&length| u64::from(length)).sum::<u64>() != rows as u64 {
        return damaged(format!("runs that do not make {rows} booleans"));
    }
    let mut bits = BooleanBufferBuilder::new(rows);
    for (run, &length) in lengths.iter().enumerate() {
        bits.append_n(length as usize, run % 2 == 1);
    }
    Ok(bits.finish())
}

fn select(bits: BooleanBuffer, selection: Option<&[u32]>) -> BooleanBuffer {
    match selection {
        None => bits,
        Some(selection) => BooleanBuffer::collect_bool(selection.len(), |at| bits.value(selection[at] as usize)),
    }
}
