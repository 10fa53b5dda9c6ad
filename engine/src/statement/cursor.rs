//! DECLARE, FETCH, MOVE, CLOSE: a cursor is a query's stream of rows that waits. It holds its own snapshot, so WITH HOLD costs nothing more.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use weir_sql::plan::{OutputColumn, Plan};

use super::query;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::RowStream;
use crate::session::run::Running;
use crate::session::{Outcome, Rows, Session};

/// A cursor.
pub(crate) struct Cursor {
    text: String,
    columns: Vec<OutputColumn>,
    stream: RowStream,
    /// Ends the stream: a cancel of FETCH means it.
    cancel: Cancel,
    /// Rows that were computed but not fetched.
    waiting: VecDeque<RecordBatch>,
    holdable: bool,
    held: bool,
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

    /// Whether the transaction that declared it was committed.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// Its transaction is committed.
    pub(crate) fn hold(&mut self) {
        self.held = true;
    }

    /// Up to `count` rows.
    fn take(&mut self, count: Option<u64>) -> Result<Vec<RecordBatch>> {
        let mut left = count.unwrap_or(u64::MAX);
        let mut taken = Vec::new();
        while left > 0 {
            let Some(batch) = (match self.waiting.pop_front() {
                Some(batch) => Some(batch),
                None => self.stream.next()?,
            }) else {
                break;
            };
            let rows = batch.num_rows() as u64;
            if rows > left {
                self.waiting.push_front(batch.slice(left as usize, (rows - left) as usize));
                taken.push(batch.slice(0, left as usize));
                break;
            }
            left -= rows;
            taken.push(batch);
        }
        Ok(taken)
    }
}

/// DECLARE.
pub(super) fn declare(
    session: &mut Session,
    running: &Running,
    name: &str,
    plan: &Plan,
    hold: bool,
    text: &str,
) -> Result<Outcome> {
    if !hold {
        session.require_block("DECLARE CURSOR")?;
    }
    if session.cursors.contains_key(name) {
        return Err(Error::new(ErrorKind::DuplicateCursor, format!("cursor \"{name}\" already exists")));
    }
    let cursor = Cursor {
        text: text.to_string(),
        columns: plan.columns().to_vec(),
        stream: query::stream(session, running, plan)?,
        cancel: running.cancel.clone(),
        waiting: VecDeque::new(),
        holdable: hold,
        held: false,
    };
    session.cursors.insert(name.to_string(), cursor);
    Ok(Outcome::Command { tag: "DECLARE CURSOR".into() })
}

fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedCursor, format!("cursor \"{name}\" does not exist"))
}

/// FETCH and MOVE.
pub(super) fn fetch(session: &mut Session, name: &str, count: Option<u64>, skip: bool) -> Result<Outcome> {
    let cancel = session.cursors.get(name).ok_or_else(|| unknown(name))?.cancel.clone();
    session.run_again(&cancel);
    let cursor = session.cursors.get_mut(name).ok_or_else(|| unknown(name))?;
    let batches = cursor.take(count)?;
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
