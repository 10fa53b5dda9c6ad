//! The two sides of a COPY that a client feeds or reads: [`CopyIn`] and [`CopyOut`].

use arrow::array::RecordBatch;
use weir_sql::statement::CopyFormat;

use super::input::Input;
use super::output::RowWriter;
use crate::error::{ErrorKind, Result};
use crate::exec::RowStream;
use crate::session::Session;

/// The inward side of COPY … FROM STDIN. Nothing is visible before [`CopyIn::finish`]; dropping it leaves no trace.
pub struct CopyIn {
    pub(super) format: CopyFormat,
    pub(super) columns: usize,
    pub(super) input: Box<Input>,
}

impl std::fmt::Debug for CopyIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyIn").field("format", &self.format).field("columns", &self.columns).finish()
    }
}

impl CopyIn {
    /// The form of the data: text and CSV are format 0 in CopyInResponse, binary is 1.
    pub fn format(&self) -> CopyFormat {
        self.format
    }

    /// How many columns the data has.
    pub fn column_count(&self) -> usize {
        self.columns
    }

    /// Takes the next bytes, cut anywhere. An error ends the COPY (and fails the transaction block once it is given to
    /// [`CopyIn::abort`]).
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.input.push(bytes)
    }

    /// The data has ended: writes the rows and gives the command tag, `COPY n`. An error has failed the transaction.
    pub fn finish(mut self, session: &mut Session) -> Result<String> {
        let alone = !session.in_block();
        // Keys are looked up in what is there now, however long the data took to come.
        let seen = session.base_of_next().and_then(|base| self.input.see(base));
        let mut done = seen.and_then(|_| self.finish_once(session));
        // Another commit has added one of the keys, or changed a row that goes: on top of it, the same rows may mean something else.
        while let Err(error) = &done
            && alone
            && error.kind == ErrorKind::SerializationFailure
            && session.base_of_next().and_then(|base| self.input.see(base))?
        {
            done = self.finish_once(session);
        }
        if done.is_err() {
            session.fail_transaction();
        }
        session.rest();
        done.map(|rows| format!("COPY {rows}"))
    }

    fn finish_once(&mut self, session: &mut Session) -> Result<u64> {
        let rows = session.transaction().and_then(|transaction| self.input.finish(&mut transaction.pending))?;
        session.finish_statement().map(|()| rows)
    }

    /// The client gave up (CopyFail) or [`CopyIn::push`] failed: nothing is written, and the transaction block, if there is one, fails.
    pub fn abort(self, session: &mut Session) {
        session.fail_transaction();
        session.rest();
    }
}

/// The outward side of COPY … TO STDOUT.
pub struct CopyOut {
    format: CopyFormat,
    columns: usize,
    writer: RowWriter,
    stream: RowStream,
    /// Rows that are not written yet, from this one on.
    batch: Option<(RecordBatch, usize)>,
    /// Written rows, and where each of them ends.
    buffer: Vec<u8>,
    ends: Vec<usize>,
    /// The next of `ends` to be given.
    at: usize,
    state: State,
    rows: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    Rows,
    End,
}

/// How many rows are written at a time.
const ROWS_AT_A_TIME: usize = 256;

impl std::fmt::Debug for CopyOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyOut").field("format", &self.format).field("columns", &self.columns).finish()
    }
}

impl CopyOut {
    pub(super) fn new(format: CopyFormat, writer: RowWriter, stream: RowStream) -> CopyOut {
        CopyOut {
            format,
            columns: stream.columns().len(),
            writer,
            stream,
            batch: None,
            buffer: Vec::new(),
            ends: Vec::new(),
            at: 0,
            state: State::Begin,
            rows: 0,
        }
    }

    /// The form of the data.
    pub fn format(&self) -> CopyFormat {
        self.format
    }

    /// How many columns the data has.
    pub fn column_count(&self) -> usize {
        self.columns
    }

    /// The next bytes: one row, or the header or trailer. `None` at the end. Blocks until there are some.
    ///
    /// As PostgreSQL's, binary's header comes together with the first row.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.at == self.ends.len() && !self.fill()? {
            return Ok(None);
        }
        let start = if self.at == 0 { 0 } else { self.ends[self.at - 1] };
        let end = self.ends[self.at];
        self.at += 1;
        Ok(Some(&self.buffer[start..end]))
    }

    /// Writes the next rows to the buffer; false at the end.
    fn fill(&mut self) -> Result<bool> {
        self.buffer.clear();
        self.ends.clear();
        self.at = 0;
        if self.state == State::Begin {
            self.state = State::Rows;
            self.writer.header(&mut self.buffer);
            if self.format != CopyFormat::Binary && !self.buffer.is_empty() {
                self.ends.push(self.buffer.len());
                return Ok(true);
            }
        }
        if self.state == State::End {
            return Ok(false);
        }
        if self.batch.is_none() {
            self.batch = self.stream.next()?.map(|batch| (batch, 0));
        }
        match self.batch.take() {
            Some((batch, from)) => {
                let to = batch.num_rows().min(from + ROWS_AT_A_TIME);
                self.writer.rows(&batch, from..to, &mut self.buffer, &mut self.ends);
                self.rows += (to - from) as u64;
                if to < batch.num_rows() {
                    self.batch = Some((batch, to));
                }
                Ok(true)
            }
            None => {
                self.state = State::End;
                self.writer.trailer(&mut self.buffer);
                let some = !self.buffer.is_empty();
                self.ends.extend(some.then_some(self.buffer.len()));
                Ok(some)
            }
        }
    }

    /// `COPY n`, for the rows taken so far.
    pub fn tag(&self) -> String {
        format!("COPY {}", self.rows)
    }
}
