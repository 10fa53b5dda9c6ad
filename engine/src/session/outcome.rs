//! What running a statement gives: a command tag, rows, or one side of a COPY.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use parking_lot::Mutex;
use weir_sql::Type;
use weir_sql::plan::OutputColumn;
use weir_sql::statement::CopyFormat;

use super::Session;
use crate::cancel::Cancel;
use crate::database::Live;
use crate::error::Result;
use crate::exec::RowStream;

/// The result of [`Session::run`].
#[derive(Debug)]
pub enum Outcome {
    /// There was no statement: `;` or a comment (EmptyQueryResponse).
    Empty,
    /// Done; what CommandComplete says.
    Command {
        /// `INSERT 0 3`, `CREATE TABLE`, `SET`, …
        tag: String,
    },
    /// Rows.
    Rows(Rows),
    /// COPY … FROM STDIN: push the data in.
    CopyIn(CopyIn),
    /// COPY … TO STDOUT: take the data out.
    CopyOut(CopyOut),
}

/// How grave a [`Notice`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// NOTICE
    Notice,
    /// WARNING
    Warning,
}

/// Something a client is told that is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How grave.
    pub severity: Severity,
    /// SQLSTATE: `00000` for a plain notice.
    pub code: &'static str,
    /// The text.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What may help.
    pub hint: Option<String>,
}

/// Rows of a statement, as they are computed. Dropping it ends the statement.
pub struct Rows {
    columns: Vec<OutputColumn>,
    source: RowsSource,
    rows: u64,
    verb: String,
    /// While it is there, pg_stat_activity shows the statement as running.
    at_work: Option<AtWork>,
}

/// Marks a session's statement as done when its rows are, or when nobody wants them any more.
pub(super) struct AtWork {
    pub(super) live: Arc<Mutex<Live>>,
    pub(super) cancel: Cancel,
    /// When the statement started: a later one of the session is not this one's to end.
    pub(super) started: Option<i64>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let activity = &mut self.live.lock().activity;
        if activity.query_started == self.started {
            activity.active = false;
        }
    }
}

/// Where rows come from.
enum RowsSource {
    Batches(VecDeque<RecordBatch>),
    Stream(Box<RowStream>),
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("columns", &self.columns.len()).field("rows", &self.rows).finish()
    }
}

impl Rows {
    /// Rows that are there already.
    pub(crate) fn of_batches(columns: Vec<OutputColumn>, batches: Vec<RecordBatch>, verb: &str) -> Rows {
        Rows { columns, source: RowsSource::Batches(batches.into()), rows: 0, verb: verb.into(), at_work: None }
    }

    /// Rows that a query computes.
    pub(crate) fn of_stream(columns: Vec<OutputColumn>, stream: RowStream, verb: &str) -> Rows {
        Rows { columns, source: RowsSource::Stream(Box::new(stream)), rows: 0, verb: verb.into(), at_work: None }
    }

    pub(super) fn cancel(&self) -> Option<&Cancel> {
        self.at_work.as_ref().map(|at_work| &at_work.cancel)
    }

    pub(super) fn set_at_work(&mut self, at_work: AtWork) {
        self.at_work = Some(at_work);
    }

    /// What the rows look like.
    pub fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    /// The next rows, never an empty batch; `None` at the end. Blocks until there are some.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let batch = match &mut self.source {
                RowsSource::Batches(batches) => batches.pop_front(),
                RowsSource::Stream(stream) => stream.next()?,
            };
            match batch {
                Some(batch) if batch.num_rows() == 0 => continue,
                Some(batch) => {
                    self.rows += batch.num_rows() as u64;
                    return Ok(Some(batch));
                }
                None => {
                    self.at_work = None;
                    return Ok(None);
                }
            }
        }
    }

    /// What CommandComplete says after the rows that were taken so far: `SELECT 3`, `INSERT 0 3` with RETURNING, `FETCH 3`, `SHOW`.
    pub fn tag(&self) -> String {
        self.tag_of(self.rows)
    }

    /// The same for a number of rows that the caller counted, as a portal that was read in pieces must.
    pub fn tag_of(&self, rows: u64) -> String {
        match self.verb.as_str() {
            "INSERT" => format!("INSERT 0 {rows}"),
            "SELECT" | "FETCH" => format!("{} {rows}", self.verb),
            verb => verb.to_string(),
        }
    }
}

/// The inward side of COPY … FROM STDIN. Nothing is visible before [`CopyIn::finish`]; dropping it leaves no trace.
pub struct CopyIn {
    format: CopyFormat,
    columns: usize,
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
    pub fn push(&mut self, _bytes: &[u8]) -> Result<()> {
        Err(crate::Error::internal("COPY FROM STDIN is not built yet"))
    }

    /// The data has ended: writes the rows and gives the command tag, `COPY n`.
    pub fn finish(self, _session: &mut Session) -> Result<String> {
        Err(crate::Error::internal("COPY FROM STDIN is not built yet"))
    }

    /// The client gave up (CopyFail) or [`CopyIn::push`] failed: nothing is written, and the transaction block, if there is one, fails.
    pub fn abort(self, session: &mut Session) {
        session.fail_transaction();
    }
}

/// The outward side of COPY … TO STDOUT.
pub struct CopyOut {
    format: CopyFormat,
    types: Vec<Type>,
    rows: u64,
}

impl std::fmt::Debug for CopyOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyOut").field("format", &self.format).field("columns", &self.types.len()).finish()
    }
}

impl CopyOut {
    /// The form of the data.
    pub fn format(&self) -> CopyFormat {
        self.format
    }

    /// How many columns the data has.
    pub fn column_count(&self) -> usize {
        self.types.len()
    }

    /// The next bytes: whole rows. `None` at the end. Blocks until there are some.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// `COPY n`, for the rows taken so far.
    pub fn tag(&self) -> String {
        format!("COPY {}", self.rows)
    }
}
