//! OPTIMIZE TABLE and VACUUM: storage merges while the statement waits.

use std::sync::Arc;

use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::statement::{Optimize, OptimizeKind};
use weir_storage::{Optimize as How, TableId};

use super::define::done;
use super::names::{Named, does_not_exist, look_up, sql_error};
use super::partition::named;
use super::rollup;
use crate::cancel::Cancel;
use crate::catalog::{Entry, Kind};
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::session::run::Running;
use crate::session::{Outcome, Session};

pub(super) fn optimize(session: &mut Session, running: &Running, optimize: &Optimize) -> Result<Outcome> {
    let command = optimize.tag.split(' ').next().unwrap_or_default();
    session.writable(command)?;
    // A pipeline of the extended protocol is a block to `in_block`, but not before it has changed something.
    let transaction = session.transaction()?;
    if transaction.explicit || !transaction.pending.is_empty() {
        let message = format!("{command} cannot run inside a transaction block");
        return Err(Error::new(ErrorKind::ActiveTransaction, message));
    }
    let view = &running.view;
    let mut entries: Vec<Arc<Entry>> = Vec::new();
    for name in &optimize.tables {
        match look_up(view, name) {
            Named::User(entry) if entry.def.kind == Kind::View => {
                let message = format!("\"{}\" is not a table", entry.def.name);
                return Err(sql_error(SqlErrorKind::WrongObjectType, message));
            }
            Named::User(entry) => entries.push(entry),
            // A computed relation has nothing to merge.
            Named::System => {}
            Named::Nothing => return Err(does_not_exist(name)),
        }
    }
    if optimize.tables.is_empty() {
        entries.extend(view.state.entries().filter(|entry| entry.def.kind != Kind::View).cloned());
    }
    let how = match optimize.kind {
        OptimizeKind::Merge => How::Merge,
        OptimizeKind::Final => How::Final,
        OptimizeKind::Deleted => How::Deleted,
    };
    for entry in entries {
        let table = TableId(entry.def.oid);
        if how == How::Final {
            rollup::roll_up(&session.database, entry.def.oid, &running.cancel)?;
        }
        let Some(partition) = &optimize.partition else {
            run(&session.database, table, None, how, &running.cancel)?;
            continue;
        };
        for partition in named(session, running, &entry, partition, &entry)? {
            run(&session.database, table, Some(&partition), how, &running.cancel)?;
        }
    }
    done(&optimize.tag)
}

/// Lets storage merge until it is done or the statement is cancelled. A table that is dropped meanwhile is done.
pub(super) fn run(
    database: &Database,
    table: TableId,
    partition: Option<&str>,
    how: How,
    cancel: &Cancel,
) -> Result<()> {
    match database.store()?.optimize(table, partition, how, &|| cancel.check().is_err()) {
        Ok(true) | Err(weir_storage::Error::NoTable { .. }) => Ok(()),
        Ok(false) => cancel.check(),
        Err(error) => Err(error.into()),
    }
}
