//! A query's rows as lines of text, in COPY's formats: what FORMAT asks for.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use weir_sql::plan::{OutputColumn, Plan};
use weir_sql::statement::{CopyFormat, CopyHeader, CopyOptions};

use super::query;
use crate::copy::RowWriter;
use crate::error::{Error, Result};
use crate::exec::RowStream;
use crate::exec::batch::schema_of;
use crate::format::FormatSettings;
use crate::session::run::Running;
use crate::session::{Outcome, Rows, Session};

/// Rows that become lines as they are read.
pub(crate) struct Lines {
    stream: RowStream,
    writer: RowWriter,
    /// The header, until it is read.
    header: Option<String>,
    columns: Vec<OutputColumn>,
}

/// Runs a query; each line is a row of the one column.
pub(super) fn lines(
    session: &mut Session,
    running: &Running,
    plan: &Plan,
    format: CopyFormat,
    header: bool,
    columns: &[OutputColumn],
) -> Result<Outcome> {
    let options = CopyOptions {
        format,
        header: if header { CopyHeader::Yes } else { CopyHeader::No },
        delimiter: if format == CopyFormat::Csv { b',' } else { b'\t' },
        null: if format == CopyFormat::Csv { String::new() } else { "\\N".to_string() },
        quote: b'"',
        escape: b'"',
        force_quote: Vec::new(),
        force_not_null: Vec::new(),
        force_null: Vec::new(),
    };
    let mut writer = RowWriter::new(plan.columns(), &options, FormatSettings::of(&running.functions))?;
    let mut first = Vec::new();
    writer.header(&mut first);
    let header = (!first.is_empty()).then(|| line(&first));
    let stream = query::stream(session, running, plan)?;
    let lines = Lines { stream, writer, header, columns: columns.to_vec() };
    Ok(Outcome::Rows(Rows::of_lines(columns.to_vec(), lines)))
}

/// A line without its end.
fn line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(bytes)).into_owned()
}

impl Lines {
    /// The next lines.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let texts: Vec<String> = match self.header.take() {
            Some(header) => vec![header],
            None => {
                let Some(batch) = self.stream.next()? else { return Ok(None) };
                let (mut bytes, mut ends) = (Vec::new(), Vec::new());
                self.writer.rows(&batch, 0..batch.num_rows(), &mut bytes, &mut ends);
                let starts = std::iter::once(0).chain(ends.iter().copied());
                starts.zip(&ends).map(|(start, &end)| line(&bytes[start..end])).collect()
            }
        };
        let lines: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
        RecordBatch::try_new(schema_of(&self.columns), vec![lines]).map(Some).map_err(Error::from)
    }
}
