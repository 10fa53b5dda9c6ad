//! INSERT.

use std::sync::Arc;

use weir_sql::statement::{Insert, OnConflict};

use super::query;
use super::unique::Policy;
use super::writer::Writer;
use crate::catalog::Entry;
use crate::error::{Error, Result};
use crate::session::run::Running;
use crate::session::{Outcome, Rows, Session};
use crate::sinks;

/// INSERT.
pub(crate) fn insert(session: &mut Session, running: &Running, insert: &Insert) -> Result<Outcome> {
    session.writable("INSERT")?;
    let entry = entry(running, insert.oid)?;
    if let Some(outcome) = sinks::running(session, running, insert, &entry)? {
        return Ok(outcome);
    }
    let mut writer = Writer::new(session.base(running), &entry, policy(session, running, insert, &entry))?;
    if let Some(OnConflict::Update { .. }) = insert.on_conflict {
        // No row may meet one that the statement has added before.
        writer.settle_at_end();
    }
    if insert.returning.is_some() {
        writer.keep_rows();
    }
    let mut stream = query::stream(session, running, &insert.source)?;
    while let Some(batch) = stream.next()? {
        writer.push(&batch)?;
    }
    drop(stream);
    let written = writer.finish(&mut session.transaction()?.pending)?;
    match &insert.returning {
        None => Ok(Outcome::Command { tag: format!("INSERT 0 {}", written.count) }),
        Some((exprs, columns)) => {
            let batches = query::returned(exprs, columns, &written.rows, &session.query_context(running))?;
            Ok(Outcome::Rows(Rows::of_batches(columns.clone(), batches, "INSERT")))
        }
    }
}

/// What is done with rows whose key is there.
fn policy(session: &Session, running: &Running, insert: &Insert, entry: &Entry) -> Policy {
    match &insert.on_conflict {
        None => Policy::of_table(&entry.def),
        Some(OnConflict::Nothing) => Policy::Ignore,
        Some(OnConflict::Update { row, predicate }) => {
            Policy::Update { row: row.clone(), predicate: predicate.clone(), context: session.query_context(running) }
        }
    }
}

/// The table of this oid.
pub(crate) fn entry(running: &Running, oid: u32) -> Result<Arc<Entry>> {
    let entry = running.view.state.entry(oid).cloned();
    entry.ok_or_else(|| Error::internal(format!("no table has the oid {oid}")))
}
