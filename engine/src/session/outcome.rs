//! What running a statement gives: a command tag, rows, or one side of a COPY.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use parking_lot::Mutex;
use weir_sql::plan::OutputColumn;

use crate::cancel::Cancel;
use crate::copy::{CopyIn, CopyOut};
use crate::database::Live;
use crate::error::Result;
use crate::exec::RowStream;
use crate::statement::format::Lines;

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
    CopyOut(Box<CopyOut>),
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
    Lines(Box<Lines>),
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

    /// Rows that a query computes, as lines of text.
    pub(crate) fn of_lines(columns: Vec<OutputColumn>, lines: Lines) -> Rows {
        Rows { columns, source: RowsSource::Lines(Box::new(lines)), rows: 0, verb: "SELECT".into(), at_work: None }
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
                RowsSource::Lines(lines) => lines.next()?,
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
            "SELECT" | "FETCH" | "UPDATE" | "DELETE" | "MERGE" => format!("{} {rows}", self.verb),
            verb => verb.to_string(),
        }
    }
}
