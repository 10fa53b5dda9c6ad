//! What commits put into outboxes.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::DataType;
use weir_storage::{Change, Commit, Snapshot, TableId};

use super::{OWN, Source, added, outbox_schema};
use crate::catalog::{CatalogState, Entry, RelationDef, SinkMode};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::statement::define::set_relation;
use crate::transaction::table_of;

/// Entries are made of so many bytes of rows at a time, when a new sink is filled.
const BYTES_AT_ONCE: usize = 32 << 20;

/// What changes, made on a snapshot in this order, have the sinks on their tables send: entries for the outboxes.
pub(crate) fn noted(
    database: &Database,
    state: &Arc<CatalogState>,
    snapshot: &Snapshot,
    changes: &[Change],
) -> Result<Vec<Change>> {
    if state.sinks().next().is_none() {
        return Ok(Vec::new());
    }
    let changed: HashSet<u32> = changes.iter().filter_map(table_of).map(|table| table.0).collect();
    let mut noted = Vec::new();
    let told = |sink: &&Arc<Entry>| {
        sink.def.sink.as_ref().is_some_and(|def| changed.contains(&def.from) && def.mode != SinkMode::Close)
    };
    // One that the same commit makes is filled from what is there after it.
    let is_there = |sink: &&Arc<Entry>| snapshot.table(TableId(sink.def.oid)).is_some();
    for sink in state.sinks().filter(told).filter(is_there) {
        let source = Source::of(state, sink)?;
        let delta = delta(snapshot, changes, source.table())?;
        let mode = sink.def.sink.as_ref().map(|def| def.mode);
        let snapshots =
            std::iter::once(&delta.come).chain(delta.gone.iter().filter(|_| mode == Some(SinkMode::Upsert)));
        for rows in snapshots {
            each_entry(database, state, rows, &source, sink, &mut |columns, rows| {
                noted.push(added(database, snapshot, sink, entries(database, snapshot, sink, columns, rows)?)?);
                Ok(())
            })?;
        }
    }
    Ok(noted)
}

/// What came to a table and what went from it: snapshots in which it has these rows alone.
struct Delta {
    come: Snapshot,
    gone: Vec<Snapshot>,
}

fn delta(snapshot: &Snapshot, changes: &[Change], table: TableId) -> Result<Delta> {
    let (mut after, mut come, mut gone) = (snapshot.clone(), vec![Change::Truncate { table }], Vec::new());
    let mut dropped = Vec::new();
    for change in changes.iter().filter(|change| table_of(change) == Some(table)) {
        match change {
            Change::Append { .. } | Change::AddParts { .. } => come.push(change.clone()),
            Change::Delete { rows, .. } => {
                gone.push(after.with_only(table, rows)?);
                dropped.push(rows);
            }
            Change::Truncate { .. } => gone.push(after.clone()),
            _ => {}
        }
        after = after.with_changes(std::slice::from_ref(change))?;
    }
    let come = dropped.into_iter().try_fold(after.with_changes(&come)?, |come, rows| come.without(table, rows))?;
    Ok(Delta { come, gone })
}

/// What a sink has to send of all that its relation has in a snapshot: keys of its stored rows, or the rows that it shows.
fn each_entry(
    database: &Database,
    state: &Arc<CatalogState>,
    snapshot: &Snapshot,
    source: &Source,
    sink: &Entry,
    each: &mut dyn FnMut(Vec<ArrayRef>, usize) -> Result<()>,
) -> Result<()> {
    match sink.def.sink.as_ref().map(|def| def.mode) {
        Some(SinkMode::Append) => {
            let mut rows = source.rows(database, state, snapshot)?;
            while let Some(batch) = rows.next()? {
                each(batch.columns().to_vec(), batch.num_rows())?;
            }
        }
        _ => {
            let keys = source.key(state)?.ok_or_else(|| Error::internal("a sink has no key"))?;
            let columns: Vec<usize> = keys.iter().map(|key| key.stored).collect();
            let scan = snapshot.scan(source.table(), &[])?;
            for granule in 0..scan.len() {
                let rows = scan.read(granule, &columns, None)?;
                each(rows.columns().to_vec(), rows.num_rows())?;
            }
        }
    }
    Ok(())
}

/// Rows of an outbox.
fn entries(
    database: &Database,
    snapshot: &Snapshot,
    sink: &Entry,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let first = database.sinks_state().sequence(rows);
    let sequence: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + rows as i64));
    let own: [ArrayRef; OWN] = [sequence, new_null_array(&DataType::Int64, rows)];
    Batch::new(own.into_iter().chain(columns).collect(), rows).into_record(&outbox_schema(snapshot, sink)?)
}

/// Fills the outbox of a new sink with all that its relation has in `snapshot`, which is of the commit that made it; what came later is noted by then.
pub(crate) fn fill(database: &Database, sink: u32, snapshot: &Snapshot) -> Result<()> {
    let store = database.store()?;
    let state = database.catalog(snapshot)?;
    let Some(entry) = state.entry(sink) else { return Ok(()) };
    let mut changes = Vec::new();
    // A view that the same commit made is empty there, and notes what it is filled with.
    let mut waiting = (Vec::new(), 0);
    let mut write = |waiting: &mut (Vec<RecordBatch>, usize)| -> Result<()> {
        let stored = snapshot.table(TableId(sink)).ok_or_else(|| Error::internal("a sink has no outbox"))?;
        let rows = std::mem::take(&mut waiting.0);
        waiting.1 = 0;
        if !rows.is_empty() {
            changes.push(Change::AddParts { table: TableId(sink), parts: store.write_parts(stored.def(), "", rows)? });
        }
        Ok(())
    };
    each_entry(database, &state, snapshot, &Source::of(&state, entry)?, entry, &mut |columns, rows| {
        if rows > 0 {
            let rows = entries(database, snapshot, entry, columns, rows)?;
            waiting.1 += Batch::from_record(&rows).bytes();
            waiting.0.push(rows);
        }
        if waiting.1 > BYTES_AT_ONCE { write(&mut waiting) } else { Ok(()) }
    })?;
    write(&mut waiting)?;
    loop {
        let state = database.catalog(&store.snapshot())?;
        // Dropped meanwhile: the parts are garbage.
        let Some(entry) = state.entry(sink) else { return Ok(()) };
        let complete = set_relation(&RelationDef { building: false, ..entry.def.clone() })?;
        let changes = changes.iter().cloned().chain([complete]).collect();
        match store.commit(Commit { changes, expect_catalog: Some(state.version), seen: None }) {
            Ok(_) => return Ok(()),
            Err(weir_storage::Error::CatalogChanged) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The same after a restart in the middle: what is in the outbox is of commits since, and is forgotten with the rest.
pub(crate) fn fill_again(database: &Database, sink: u32) -> Result<()> {
    let empty = Change::Truncate { table: TableId(sink) };
    let committed = database.store()?.commit(Commit::from(vec![empty]))?;
    fill(database, sink, &committed.snapshot)
}
