//! Run-length: neighbours that are equal are kept once, with how often they come. The values are a chunk of the column's own
//! type, so any type of one value a row can have runs.

use arrow::array::{Array, ArrayRef, BooleanBufferBuilder, UInt32Array, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::DataType;

use super::integers::{self, Shape, Tries};
use super::numbers::{Word, values_within};
use super::{
    Effort, Encoder, Encoding, Physical, decode_at, decode_within, fixed_array, fixed_bytes, nested, nested_u32,
};
use crate::bytes::{Reader, Write};
use crate::error::{Decoded, damaged};
use crate::prune::Numbers;

/// Runs have to be this long on average.
const RUN_MIN: usize = 8;

/// Where runs begin, if they are long. A NULL belongs to the run before it (the first ones to the first run), and a run is named by a row
/// that is not NULL.
pub(super) fn find<T: PartialEq>(values: &[T], nulls: Option<&NullBuffer>) -> Option<Vec<Run>> {
    let rows = values.len();
    let changes = values.windows(2).filter(|pair| pair[0] != pair[1]).count();
    if rows < 64 || (changes + 1) * RUN_MIN > rows {
        return None;
    }
    let mut runs: Vec<Run> = Vec::with_capacity(changes + 1);
    for row in 0..rows {
        match runs.last_mut() {
            Some(run) if values[run.row as usize] == values[row] => run.length += 1,
            _ => runs.push(Run { row: row as u32, length: 1 }),
        }
    }
    // The value of a run of filled NULLs is that of its first row that has one.
    if let Some(nulls) = nulls {
        let mut from = 0;
        for run in &mut runs {
            let to = from + run.length;
            if let Some(row) = (from..to).find(|&row| nulls.is_valid(row as usize)) {
                run.row = row;
            }
            from = to;
        }
    }
    Some(runs)
}

/// A run: a row that has its value, and how many rows it is.
pub(super) struct Run {
    pub(super) row: u32,
    pub(super) length: u32,
}

/// What runs take in bits when a value takes `width` bits.
pub(super) fn bits(runs: &[Run], width: usize) -> usize {
    let longest = runs.iter().map(|run| run.length).max().unwrap_or(0);
    runs.len() * (width + usize::from(super::bitpack::width_of(longest.into()))) + 256
}

/// Appends a chunk of codes (UInt32).
pub(super) fn write_codes(codes: &[u64], out: &mut Vec<u8>) {
    let plan = integers::plan(codes, Shape::U32, Tries::INNER);
    let start = out.len();
    out.extend_from_slice(&[0, 0]);
    out[start] = match find(codes, None).filter(|runs| bits(runs, 8) < plan.bits / 2) {
        Some(runs) => {
            let values: Vec<u64> = runs.iter().map(|run| codes[run.row as usize]).collect();
            let lengths: Vec<u64> = runs.iter().map(|run| run.length.into()).collect();
            out.put_varint(runs.len() as u64);
            integers::nest(&values, Shape::U32, out);
            integers::nest(&lengths, Shape::U32, out);
            Encoding::RunLength
        }
        None => integers::write(codes, &plan, Shape::U32, out),
    } as u8;
}

impl Encoder {
    /// Appends the body of a run-length chunk.
    pub(super) fn write_runs(&mut self, array: &dyn Array, runs: &[Run], out: &mut Vec<u8>) -> Decoded<()> {
        let rows: UInt32Array = runs.iter().map(|run| run.row).collect::<Vec<_>>().into();
        out.put_varint(runs.len() as u64);
        Encoder::new(Effort::Inner).encode_nested(&take(array, &rows, None)?, out)?;
        let lengths: Vec<u64> = runs.iter().map(|run| run.length.into()).collect();
        integers::nest(&lengths, Shape::U32, out);
        Ok(())
    }
}

/// Which values are some numbers: what is asked are the runs.
pub(super) fn within(ty: &DataType, rows: usize, body: &Buffer, numbers: &Numbers) -> Decoded<BooleanBuffer> {
    let (runs, values, lengths) = open(rows, body, 0)?;
    let passing = match decode_within(ty, runs, &values, numbers)? {
        Some(passing) => passing,
        None => values_within(&decode_at(ty, runs, &values, None, None, 1)?, numbers),
    };
    let mut found = BooleanBufferBuilder::new(rows);
    passing.iter().zip(&*lengths).for_each(|(passes, &length)| found.append_n(length as usize, passes));
    Ok(found.finish())
}

/// How many runs there are, the chunk of their values, and how long each is.
fn open(rows: usize, body: &Buffer, level: u8) -> Decoded<(usize, Buffer, ScalarBuffer<u32>)> {
    let mut reader = Reader::new(body);
    let runs = reader.varint()?;
    if runs > rows as u64 {
        return damaged(format!("{runs} runs of {rows} rows"));
    }
    let values = nested(&mut reader, body)?;
    let lengths = nested_u32(&mut reader, body, runs as usize, level)?;
    if lengths.iter().map(|&length| u64::from(length)).sum::<u64>() != rows as u64 {
        return damaged(format!("runs that do not make {rows} rows"));
    }
    Ok((runs as usize, values, lengths))
}

/// Reads the body.
pub(super) fn decode(
    ty: &DataType,
    rows: usize,
    body: &Buffer,
    selection: Option<&[u32]>,
    nulls: Option<NullBuffer>,
    level: u8,
) -> Decoded<ArrayRef> {
    let (runs, values, lengths) = open(rows, body, level)?;
    let values = decode_at(ty, runs, &values, None, None, level + 1)?;
    if values.null_count() > 0 {
        return damaged("a run of NULL");
    }
    let picks = match selection {
        None => lengths.to_vec(),
        Some(selection) => picked(&lengths, selection),
    };
    expand(ty, &values, &picks, nulls)
}

/// How many selected rows each run has.
fn picked(lengths: &[u32], selection: &[u32]) -> Vec<u32> {
    let (mut at, mut end) = (0, 0);
    lengths
        .iter()
        .map(|length| {
            end += length;
            let from = at;
            while at < selection.len() && selection[at] < end {
                at += 1;
            }
            (at - from) as u32
        })
        .collect()
}

/// Each value as often as its run says.
fn expand(ty: &DataType, values: &ArrayRef, lengths: &[u32], nulls: Option<NullBuffer>) -> Decoded<ArrayRef> {
    fn words<T: Word>(bytes: &[u8], lengths: &[u32], rows: usize) -> Buffer {
        let mut out = Vec::with_capacity(rows);
        for (value, &length) in bytes.chunks_exact(T::SIZE).zip(lengths) {
            out.resize(out.len() + length as usize, T::read(value));
        }
        out.into()
    }
    let rows = lengths.iter().map(|&length| length as usize).sum();
    let data = values.to_data();
    let bytes = |width| fixed_bytes(&data, width);
    let buffer = match Physical::of(ty)?.width() {
        1 => words::<i8>(bytes(1), lengths, rows),
        2 => words::<i16>(bytes(2), lengths, rows),
        4 => words::<i32>(bytes(4), lengths, rows),
        8 => words::<i64>(bytes(8), lengths, rows),
        16 => words::<i128>(bytes(16), lengths, rows),
        _ => {
            let runs = lengths.iter().enumerate().flat_map(|(run, &n)| std::iter::repeat_n(run as u32, n as usize));
            let taken = take(values, &UInt32Array::from_iter_values(runs), None)?;
            return Ok(make_array(taken.to_data().into_builder().nulls(nulls).build()?));
        }
    };
    fixed_array(ty, rows, buffer, nulls)
}
