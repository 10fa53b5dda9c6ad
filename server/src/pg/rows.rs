//! Record batches as DataRow messages.
//!
//! Values are encoded a column at a time, by the engine's encoders, into one buffer a column with the end of each value; then the messages are
//! put together row by row by copying. Nothing is allocated for a value, and the buffers are kept from batch to batch.

use std::ops::Range;

use arrow::record_batch::RecordBatch;
use bytes::{BufMut, BytesMut};
use pgwire::messages::data::{FieldDescription, RowDescription};
use weir_engine::Rows;
use weir_sql::plan::OutputColumn;

use weir_engine::format::{BinaryEncoder, FormatSettings};

use crate::values::{self, Encoder};

use super::connection::{Connection, Stop};
use super::failure::Failure;

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// As text.
    Text,
    /// As bytes.
    Binary,
}

impl Format {
    /// The formats of `count` values from none (all text), one (for all) or `count` codes. `None` where the number of codes does not fit, an
    /// error where a code does not exist.
    pub(crate) fn of_all(codes: &[i16], count: usize) -> Option<Result<Vec<Format>, Failure>> {
        let format = |code: &i16| match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            other => Err(Failure::new("22023", format!("unsupported format code: {other}"))),
        };
        match codes {
            [] => Some(Ok(vec![Format::Text; count])),
            [one] => Some(format(one).map(|format| vec![format; count])),
            each if each.len() == count => Some(each.iter().map(format).collect()),
            _ => None,
        }
    }

    fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }
}

/// How many bytes of values are encoded at a time: few enough for the columns' buffers to stay in the cache.
const BYTES_AT_A_TIME: usize = 128 << 10;

/// The buffers of the columns being encoded, and how many rows go into them at a time.
pub(crate) struct RowWriter {
    columns: Vec<Column>,
    /// Where the next row's value begins in each column.
    starts: Vec<usize>,
    /// From the size of the rows before: wide rows go out a few at a time.
    rows_at_a_time: usize,
}

impl Default for RowWriter {
    fn default() -> RowWriter {
        RowWriter { columns: Vec::new(), starts: Vec::new(), rows_at_a_time: 16 }
    }
}

/// One column of the rows being encoded.
#[derive(Default)]
struct Column {
    /// All values, one after the other.
    data: Vec<u8>,
    /// Where each ends; [`NULL`] for those that are not there.
    ends: Vec<usize>,
}

const NULL: usize = usize::MAX;

impl RowWriter {
    /// Appends the rows as DataRow messages.
    fn write(
        &mut self,
        columns: &[OutputColumn],
        batch: &RecordBatch,
        rows: Range<usize>,
        formats: &[Format],
        settings: &FormatSettings,
        out: &mut BytesMut,
    ) {
        self.columns.resize_with(columns.len(), Column::default);
        for (((buffer, column), array), format) in
            self.columns.iter_mut().zip(columns).zip(batch.columns()).zip(formats)
        {
            let encoder = match format {
                Format::Text => values::text(&column.ty, array, settings),
                Format::Binary => Encoder::Binary(BinaryEncoder::new(&column.ty, array)),
            };
            buffer.encode(&encoder, rows.clone());
        }
        self.starts.clear();
        self.starts.resize(columns.len(), 0);
        for row in 0..rows.len() {
            out.put_u8(b'D');
            let length_at = out.len();
            out.put_u32(0);
            out.put_u16(columns.len() as u16);
            for (column, start) in self.columns.iter().zip(&mut self.starts) {
                match column.ends[row] {
                    NULL => out.put_i32(-1),
                    end => {
                        out.put_u32((end - *start) as u32);
                        out.put_slice(&column.data[*start..end]);
                        *start = end;
                    }
                }
            }
            let length = (out.len() - length_at) as u32;
            out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        }
        let bytes: usize = self.columns.iter().map(|column| column.data.len()).sum();
        self.rows_at_a_time = (BYTES_AT_A_TIME / (bytes / rows.len().max(1)).max(1)).clamp(1, 4096);
    }
}

impl Connection<'_> {
    pub(super) fn send_row_description(&mut self, columns: &[OutputColumn], formats: &[Format]) {
        let describe = |(column, format): (&OutputColumn, &Format)| {
            let (table, attribute) = column.origin.unwrap_or((0, 0));
            let ty = &column.ty;
            FieldDescription::new(
                column.name.clone(),
                table as i32,
                attribute,
                ty.oid(),
                ty.size(),
                column.typmod,
                format.code(),
            )
        };
        let fields = columns.iter().zip(formats).map(describe).collect();
        self.output.push(&RowDescription::new(fields));
    }

    /// Sends some of a batch's rows, blocking while the client does not read.
    pub(super) fn send_rows(
        &mut self,
        rows: &Rows,
        batch: &RecordBatch,
        range: Range<usize>,
        formats: &[Format],
    ) -> Result<(), Stop> {
        let settings = FormatSettings::of(&self.session.function_context());
        let mut at = range.start;
        while at < range.end {
            let next = range.end.min(at + self.writer.rows_at_a_time);
            self.writer.write(rows.columns(), batch, at..next, formats, &settings, self.output.buffer());
            self.flush_if_full()?;
            at = next;
        }
        Ok(())
    }
}

impl Column {
    fn encode(&mut self, encoder: &Encoder, rows: Range<usize>) {
        self.data.clear();
        self.ends.clear();
        for row in rows {
            let there = encoder.write(row, &mut self.data);
            self.ends.push(if there { self.data.len() } else { NULL });
        }
    }
}
