//! RESET OFFSETS, REBUILD and REBUILD CANCEL as statements: they change definitions alone, so that a transaction takes them as any DDL.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, TimestampMicrosecondType};
use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::statement as ast;
use weir_storage::{Change, TableDef, TableId};

use super::{Replay, ReplayFrom, forget_sources, is_filled, offsets_of};
use crate::catalog::{Entry, Kind, MergingDef, RelationDef};
use crate::error::{Error, ErrorKind, Result};
use crate::exec;
use crate::session::run::Running;
use crate::session::{Session, Severity};
use crate::statement::define::{define, dropped, set_relation};
use crate::statement::names::sql_error;
use crate::statement::table::bind_over;

/// What is to be done while a table is made anew.
pub(crate) const HINT: &str = "Wait until it is done (weir.rebuilds), or end it with ALTER TABLE … REBUILD CANCEL.";

/// Carries out one action.
pub(crate) fn carry_out(
    session: &mut Session,
    running: &Running,
    entry: &Arc<Entry>,
    action: &ast::ReplayAction,
) -> Result<()> {
    if entry.def.kind != Kind::Table {
        return Err(sql_error(SqlErrorKind::WrongObjectType, format!("\"{}\" is not a table", entry.def.name)));
    }
    match action {
        ast::ReplayAction::Reset(from) => reset(session, running, entry, from),
        ast::ReplayAction::Rebuild(from) => rebuild(session, running, entry, from),
        ast::ReplayAction::CancelRebuild => cancel(session, running, entry),
    }
}

fn reset(session: &mut Session, running: &Running, entry: &Arc<Entry>, from: &ast::ReplayFrom) -> Result<()> {
    let from = start(session, running, entry, from, "reset the offsets of")?;
    if !takes_again(&entry.def) && from != ReplayFrom::Latest {
        let message = format!("rows of events that are read again come to table \"{}\" again", entry.def.name);
        session.notice(Severity::Notice, "00000", message);
    }
    let replay = Replay { epoch: session.database.new_oid().into(), from: Some(from) };
    define(session, running, vec![replay.change(entry.def.oid)?])
}

/// Whether a table is the same when it gets rows twice.
fn takes_again(def: &RelationDef) -> bool {
    match &def.merging {
        Some(merging) => matches!(merging, MergingDef::Replacing { .. }),
        None => !def.primary_key.is_empty(),
    }
}

/// A hidden table like this one, which the same streams fill from there on.
fn rebuild(session: &mut Session, running: &Running, entry: &Arc<Entry>, from: &ast::ReplayFrom) -> Result<()> {
    let from = start(session, running, entry, from, "rebuild")?;
    let stored = running.view.snapshot.table(TableId(entry.def.oid));
    let stored = stored.ok_or_else(|| Error::internal("the table has no rows"))?;
    let oid = session.database.new_oid();
    let live = &entry.def;
    let hidden = RelationDef { oid, name: format!("{} as of {oid}", live.name), ..super::rebuild::hidden(live) };
    let def = TableDef { name: format!("{}.{}", hidden.schema, hidden.name), ..(**stored.def()).clone() };
    let replay = Replay { epoch: session.database.new_oid().into(), from: Some(from) };
    // It is of this definition: one that another transaction has changed meanwhile is a conflict.
    let pending = &mut session.transaction()?.pending;
    pending.altered.entry(live.oid).or_insert_with(|| entry.clone());
    let changes =
        vec![Change::CreateTable { id: TableId(oid), def }, set_relation(&hidden)?, replay.change(hidden.oid)?];
    define(session, running, changes)
}

fn cancel(session: &mut Session, running: &Running, entry: &Arc<Entry>) -> Result<()> {
    let Some(hidden) = running.view.state.rebuild_of(entry.def.oid) else {
        let message = format!("table \"{}\" is not being rebuilt", entry.def.name);
        return Err(Error::new(ErrorKind::WrongState, message));
    };
    let mut changes = dropped(&hidden.def);
    changes.extend(forget_sources(&running.view.snapshot, hidden.def.oid));
    define(session, running, changes)
}

/// Where to begin, if the table's stream can be read again now.
fn start(
    session: &Session,
    running: &Running,
    entry: &Entry,
    from: &ast::ReplayFrom,
    what: &str,
) -> Result<ReplayFrom> {
    let name = &entry.def.name;
    if running.view.state.rebuild_of(entry.def.oid).is_some() {
        let message = format!("cannot {what} table \"{name}\" because it is being rebuilt");
        return Err(Error::new(ErrorKind::WrongState, message).with_hint(HINT));
    }
    if !is_filled(&running.view.snapshot, entry) {
        let message = format!("cannot {what} table \"{name}\" because no stream fills it");
        return Err(Error::new(ErrorKind::WrongState, message)
            .with_detail("A subscription of the configuration is known here once it has reached its topic."));
    }
    Ok(match from {
        ast::ReplayFrom::Earliest => ReplayFrom::Earliest,
        ast::ReplayFrom::Latest => ReplayFrom::Latest,
        ast::ReplayFrom::Timestamp(text) => ReplayFrom::Timestamp(millis(session, running, text)?),
        ast::ReplayFrom::Offsets(offsets) => {
            let sources = offsets_of(&running.view.snapshot, entry.def.oid);
            if sources.len() > 1 {
                let message = format!("table \"{name}\" has several streams: offsets would mean each of them");
                return Err(
                    sql_error(SqlErrorKind::Unsupported, message).with_hint("Say EARLIEST, LATEST or TIMESTAMP '…'.")
                );
            }
            let unknown = |partition: i32| sources.values().any(|known| !known.contains_key(&partition));
            if let Some((partition, _)) = offsets.iter().find(|(partition, _)| unknown(*partition)) {
                let message = format!("the topic of table \"{name}\" has no partition {partition}");
                return Err(Error::new(ErrorKind::InvalidParameter, message));
            }
            ReplayFrom::Offsets(offsets.iter().copied().collect())
        }
    })
}

/// A time in the session's time zone, in milliseconds since 1970: the first that is not before it.
fn millis(session: &Session, running: &Running, text: &str) -> Result<i64> {
    let time = bind_over(&format!("timestamptz '{}'", text.replace('\'', "''")), &[])?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let one = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    let value = exec::evaluate(&time, &one, &session.query_context(running))?;
    let micros = value.as_primitive::<TimestampMicrosecondType>().value(0);
    if matches!(micros, i64::MIN | i64::MAX) {
        return Err(Error::new(ErrorKind::InvalidParameter, "a stream has no events of an infinite time"));
    }
    Ok(micros.div_euclid(1000) + i64::from(micros.rem_euclid(1000) > 0))
}
