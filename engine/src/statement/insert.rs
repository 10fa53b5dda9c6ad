//! INSERT.

use std::sync::Arc;

use weir_sql::statement::Insert;

use super::query;
use super::writer::Writer;
use crate::catalog::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::session::run::Running;
use crate::session::{Outcome, Rows, Session};

/// INSERT.
pub(crate) fn insert(session: &mut Session, running: &Running, insert: &Insert) -> Result<Outcome> {
    session.writable("INSERT")?;
    let entry = entry(running, insert.oid)?;
    if insert.on_conflict.is_some() {
        let message = "ON CONFLICT is not supported yet";
        return Err(Error::new(ErrorKind::Sql(weir_sql::ErrorKind::Unsupported), message));
    }
    let mut writer = Writer::new(session.base(running), &entry)?;
    let mut kept = Vec::new();
    let mut stream = query::stream(session, running, &insert.source)?;
    while let Some(batch) = stream.next()? {
        let batch = writer.push(&batch)?;
        if insert.returning.is_some() {
            kept.push(batch);
        }
    }
    drop(stream);
    let rows = writer.rows();
    writer.finish(&mut session.transaction()?.pending)?;
    match &insert.returning {
        None => Ok(Outcome::Command { tag: format!("INSERT 0 {rows}") }),
        Some((exprs, columns)) => {
            let batches = query::returned(exprs, columns, &kept, &session.query_context(running))?;
            Ok(Outcome::Rows(Rows::of_batches(columns.clone(), batches, "INSERT")))
        }
    }
}

/// The table of this oid.
pub(crate) fn entry(running: &Running, oid: u32) -> Result<Arc<Entry>> {
    let entry = running.view.state.entry(oid).cloned();
    entry.ok_or_else(|| Error::internal(format!("no table has the oid {oid}")))
}
