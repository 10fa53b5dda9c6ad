//! Columns as clients see them: the engine's encoders, chosen by format.

use arrow::array::{ArrayRef, RecordBatch};
use weir_engine::format::{BinaryEncoder, FormatSettings, TextEncoder};
use weir_sql::Type;
use weir_sql::plan::OutputColumn;

/// Writes the values of one column in one of Postgres's formats.
pub(crate) enum Encoder {
    /// As text.
    Text(TextEncoder),
    /// As bytes.
    Binary(BinaryEncoder),
}

impl Encoder {
    /// Appends a value; false, and nothing appended, if it is NULL.
    pub(crate) fn write(&self, row: usize, out: &mut Vec<u8>) -> bool {
        match self {
            Encoder::Text(encoder) if !encoder.is_null(row) => encoder.write(row, out),
            Encoder::Binary(encoder) if !encoder.is_null(row) => encoder.write(row, out),
            _ => return false,
        }
        true
    }
}

/// A text encoder for a value or column of a type.
pub(crate) fn text(ty: &Type, array: &ArrayRef, settings: &FormatSettings) -> Encoder {
    Encoder::Text(TextEncoder::new(ty, array, settings))
}

/// Text encoders for all columns of a batch.
pub(crate) fn texts(columns: &[OutputColumn], batch: &RecordBatch, settings: &FormatSettings) -> Vec<Encoder> {
    columns.iter().zip(batch.columns()).map(|(column, array)| text(&column.ty, array, settings)).collect()
}
