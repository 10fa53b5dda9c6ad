//! DECLARE, FETCH, MOVE, CLOSE: a cursor is a query's stream of rows that waits. It holds its own snapshot, so WITH HOLD costs nothing more.
//!
//! A cursor that may scroll keeps the rows that it has computed, in memory while they fit and on disk beyond that; another keeps only those of
//! the batch in which it stands.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use weir_sql::plan::{OutputColumn, Plan};
use weir_sql::statement::FetchRows;

use super::query;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::RowStream;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::memory::Reservation;
use crate::exec::spill::{Extent, SharedFile};
use crate::session::run::Running;
use crate::session::{Outcome, Rows, Session};

/// A cursor.
pub(crate) struct Cursor {
    text: String,
    columns: Vec<OutputColumn>,
    stream: RowStream,
    context: Arc<QueryContext>,
    /// Ends the stream: a cancel of FETCH means it.
    cancel: Cancel,
    /// Rows that were computed, each batch with the number of its first row, from 1.
    kept: VecDeque<(u64, Kept)>,
    file: SharedFile,
    memory: Reservation,
    /// How many rows were computed.
    computed: u64,
    /// The row on which it stands: 0 is before all, and one more than there are is behind them.
    position: u64,
    scrolls: bool,
    holdable: bool,
    held: bool,
}

/// Where a batch is.
enum Kept {
    Memory(RecordBatch),
    Disk(Extent),
}

impl Kept {
    fn rows(&self) -> u64 {
        match self {
            Kept::Memory(batch) => batch.num_rows() as u64,
            Kept::Disk(extent) => extent.rows as u64,
        }
    }
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor").field("text", &self.text).field("held", &self.held).finish_non_exhaustive()
    }
}

impl Cursor {
    pub(crate) fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it was declared WITH HOLD.
    pub(crate) fn is_holdable(&self) -> bool {
        self.holdable
    }

    /// Whether it was declared SCROLL.
    pub(crate) fn is_scrollable(&self) -> bool {
        self.scrolls
    }

    /// Whether the transaction that declared it was committed.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// Its transaction is committed.
    pub(crate) fn hold(&mut self) {
        self.held = true;
    }

    /// Goes where `rows` says and gives what is on the way.
    fn fetch(&mut self, rows: FetchRows) -> Result<Vec<RecordBatch>> {
        let at = self.position;
        let onward = match rows {
            FetchRows::Forward(count) => count != Some(0),
            FetchRows::Backward(_) => false,
            FetchRows::Absolute(row) => u64::try_from(row).is_ok_and(|row| row > at),
            FetchRows::Relative(step) => step > 0,
        };
        if !onward && !self.scrolls {
            let error = Error::new(ErrorKind::WrongState, "cursor can only scan forward");
            return Err(error.with_hint("Declare it with SCROLL option to enable backward scan."));
        }
        match rows {
            FetchRows::Forward(Some(0)) | FetchRows::Backward(Some(0)) => self.one(at),
            FetchRows::Forward(count) => {
                let last = count.map_or(u64::MAX, |count| at.saturating_add(count));
                self.compute(last)?;
                let taken = self.between(at + 1, last.min(self.computed))?;
                self.position = last.min(self.computed + 1).max(at);
                self.forget();
                Ok(taken)
            }
            FetchRows::Backward(count) => {
                let before = at.saturating_sub(1);
                let first = count.map_or(0, |count| (before + 1).saturating_sub(count));
                let mut taken = self.between(first.max(1), before)?;
                taken.reverse();
                self.position = first;
                taken.iter().map(reversed).collect()
            }
            FetchRows::Relative(step) => self.one(at.saturating_add_signed(step)),
            FetchRows::Absolute(row) => match u64::try_from(row) {
                Ok(row) => self.one(row),
                Err(_) => {
                    self.compute(u64::MAX)?;
                    self.one((self.computed + 1).saturating_add_signed(row))
                }
            },
        }
    }

    /// Goes to a row and gives it, if there is such a one.
    fn one(&mut self, row: u64) -> Result<Vec<RecordBatch>> {
        self.compute(row)?;
        self.position = row.min(self.computed + 1);
        let taken = self.between(self.position.max(1), self.position)?;
        self.forget();
        Ok(taken)
    }

    /// Computes rows up to this one, if there are so many.
    fn compute(&mut self, last: u64) -> Result<()> {
        while self.computed < last
            && let Some(batch) = self.stream.next()?
        {
            let (first, rows) = (self.computed + 1, batch.num_rows() as u64);
            let bytes = self.memory.bytes() + batch.get_array_memory_size();
            let kept = match !self.scrolls || self.memory.fits(bytes)? {
                true => Kept::Memory(batch),
                false => Kept::Disk(self.file.get(&self.context)?.append(&Batch::from_record(&batch))?),
            };
            self.kept.push_back((first, kept));
            self.computed += rows;
        }
        Ok(())
    }

    /// The computed rows from one to another.
    fn between(&self, first: u64, last: u64) -> Result<Vec<RecordBatch>> {
        let mut taken = Vec::new();
        for (start, kept) in &self.kept {
            let (from, to) = (first.max(*start), last.min(start + kept.rows() - 1));
            if from > to {
                continue;
            }
            let batch = match kept {
                Kept::Memory(batch) => batch.clone(),
                Kept::Disk(extent) => self.file.get(&self.context)?.read(extent)?.into_record(self.stream.schema())?,
            };
            taken.push(batch.slice((from - start) as usize, (to - from + 1) as usize));
        }
        Ok(taken)
    }

    /// Lets go of the rows to which it cannot come back.
    fn forget(&mut self) {
        while !self.scrolls && self.kept.front().is_some_and(|(start, kept)| start + kept.rows() <= self.position) {
            self.kept.pop_front();
        }
    }
}

/// The rows from the last to the first.
fn reversed(batch: &RecordBatch) -> Result<RecordBatch> {
    let order = UInt32Array::from_iter_values((0..batch.num_rows() as u32).rev());
    Batch::from_record(batch).take(&order)?.into_record(&batch.schema())
}

/// DECLARE.
pub(super) fn declare(
    session: &mut Session,
    running: &Running,
    (name, plan): (&str, &Plan),
    (hold, scrolls): (bool, bool),
    text: &str,
) -> Result<Outcome> {
    if !hold {
        session.require_block("DECLARE CURSOR")?;
    }
    if session.cursors.contains_key(name) {
        return Err(Error::new(ErrorKind::DuplicateCursor, format!("cursor \"{name}\" already exists")));
    }
    let context = session.query_context(running);
    let cursor = Cursor {
        text: text.to_string(),
        columns: plan.columns().to_vec(),
        stream: query::stream(session, running, plan)?,
        cancel: running.cancel.clone(),
        kept: VecDeque::new(),
        file: SharedFile::default(),
        memory: context.memory.reservation("a cursor's rows"),
        computed: 0,
        position: 0,
        scrolls,
        holdable: hold,
        held: false,
        context,
    };
    session.cursors.insert(name.to_string(), cursor);
    Ok(Outcome::Command { tag: "DECLARE CURSOR".into() })
}

fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedCursor, format!("cursor \"{name}\" does not exist"))
}

/// FETCH and MOVE.
pub(super) fn fetch(session: &mut Session, name: &str, rows: FetchRows, skip: bool) -> Result<Outcome> {
    let cancel = session.cursors.get(name).ok_or_else(|| unknown(name))?.cancel.clone();
    session.run_again(&cancel);
    let cursor = session.cursors.get_mut(name).ok_or_else(|| unknown(name))?;
    let batches = cursor.fetch(rows)?;
    if skip {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        return Ok(Outcome::Command { tag: format!("MOVE {rows}") });
    }
    Ok(Outcome::Rows(Rows::of_batches(cursor.columns.clone(), batches, "FETCH")))
}

/// CLOSE.
pub(super) fn close(session: &mut Session, name: Option<&str>) -> Result<Outcome> {
    match name {
        None => {
            session.cursors.clear();
            Ok(Outcome::Command { tag: "CLOSE CURSOR ALL".into() })
        }
        Some(name) => {
            session.cursors.remove(name).ok_or_else(|| unknown(name))?;
            Ok(Outcome::Command { tag: "CLOSE CURSOR".into() })
        }
    }
}
