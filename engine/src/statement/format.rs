//! A query's rows as lines of text: what FORMAT asks for.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use weir_sql::plan::{OutputColumn, Plan};
use weir_sql::statement::{CopyFormat, CopyHeader, CopyOptions, LineFormat};

use super::query;
use crate::copy::{Document, RowWriter};
use crate::error::{Error, Result};
use crate::exec::RowStream;
use crate::exec::batch::schema_of;
use crate::format::FormatSettings;
use crate::session::run::Running;
use crate::session::{Outcome, Rows, Session};

/// Rows that become lines as they are read.
pub(crate) struct Lines {
    stream: RowStream,
    writer: Writer,
    state: State,
    columns: Vec<OutputColumn>,
}

enum Writer {
    Copy(Box<RowWriter>),
    Document(Box<Document>),
}

#[derive(PartialEq)]
enum State {
    Begins,
    Goes,
    Ended,
}

/// Runs a query; each line is a row of the one column.
pub(super) fn lines(
    session: &mut Session,
    running: &Running,
    plan: &Plan,
    format: &LineFormat,
    columns: &[OutputColumn],
) -> Result<Outcome> {
    let settings = FormatSettings::of(&running.functions);
    let writer = match format {
        LineFormat::Document(format) => Writer::Document(Box::new(Document::new(*format, plan.columns(), settings))),
        LineFormat::Copy { format, header } => {
            let csv = *format == CopyFormat::Csv;
            let options = CopyOptions {
                format: *format,
                header: if *header { CopyHeader::Yes } else { CopyHeader::No },
                delimiter: if csv { b',' } else { b'\t' },
                null: if csv { String::new() } else { "\\N".to_string() },
                quote: b'"',
                escape: b'"',
                force_quote: Vec::new(),
                force_not_null: Vec::new(),
                force_null: Vec::new(),
            };
            Writer::Copy(Box::new(RowWriter::new(plan.columns(), &options, settings)?))
        }
    };
    let stream = query::stream(session, running, plan)?;
    let lines = Lines { stream, writer, state: State::Begins, columns: columns.to_vec() };
    Ok(Outcome::Rows(Rows::of_lines(columns.to_vec(), lines)))
}

/// A line without its end.
fn line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(bytes)).into_owned()
}

impl Lines {
    /// The next lines.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let mut texts: Vec<String> = Vec::new();
        if self.state == State::Begins {
            self.state = State::Goes;
            match &mut self.writer {
                Writer::Copy(writer) => {
                    let mut header = Vec::new();
                    writer.header(&mut header);
                    texts.extend((!header.is_empty()).then(|| line(&header)));
                }
                Writer::Document(document) => document.begin(&mut texts),
            }
        }
        while texts.is_empty() && self.state == State::Goes {
            match (self.stream.next()?, &mut self.writer) {
                (Some(batch), Writer::Copy(writer)) => {
                    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
                    writer.rows(&batch, 0..batch.num_rows(), &mut bytes, &mut ends);
                    let starts = std::iter::once(0).chain(ends.iter().copied());
                    texts.extend(starts.zip(&ends).map(|(start, &end)| line(&bytes[start..end])));
                }
                (Some(batch), Writer::Document(document)) => document.rows(&batch, &mut texts),
                (None, writer) => {
                    self.state = State::Ended;
                    if let Writer::Document(document) = writer {
                        document.end(&mut texts);
                    }
                }
            }
        }
        if texts.is_empty() {
            return Ok(None);
        }
        let lines: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
        RecordBatch::try_new(schema_of(&self.columns), vec![lines]).map(Some).map_err(Error::from)
    }
}
