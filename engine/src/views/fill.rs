//! Filling a new view: what its input held at the version that began to feed it.

use std::sync::Arc;

use weir_storage::{Change, Commit, Snapshot, TableId};

use super::maintain::Feed;
use crate::cancel::Cancel;
use crate::catalog::Entry;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::exec;
use crate::session::now_micros;
use crate::statement::define::set_relation;
use crate::statement::relations::StoredRelations;
use crate::statement::table::{detached_context, whole_scan};

/// Rows are aggregated this many bytes at a time, which bounds what a backfill holds.
const BYTES_AT_ONCE: usize = 64 << 20;

/// Adds the states of all rows that the input has in `snapshot`, which is of exactly the commit that made the view, and shows the view.
pub(crate) fn fill(database: &Database, view: u32, snapshot: &Snapshot) -> Result<()> {
    let result = try_fill(database, view, snapshot);
    if result.is_err() {
        // A view that is not complete is never shown: take it back.
        let _ = finish(database, view, Vec::new(), false);
    }
    result
}

fn try_fill(database: &Database, view: u32, snapshot: &Snapshot) -> Result<()> {
    let state = database.catalog(snapshot)?;
    let entry = state.entry(view).ok_or_else(|| Error::internal("the view is gone"))?;
    let cancel = Cancel::default();
    let feed = Feed::new(database, &state, entry, &cancel)?;
    let input = super::plan_of(&state, entry)?.input().clone();
    let relations = StoredRelations { state: state.clone(), snapshot: snapshot.clone(), now: now_micros() };
    let context = Arc::new(detached_context(database, &cancel).with_relations(Arc::new(relations)));
    let mut changes = Vec::new();
    exec::run(&whole_scan(&input), &context)?.in_pieces(BYTES_AT_ONCE, |rows| {
        changes.extend(write(database, entry, snapshot, feed.states(rows)?)?);
        Ok(())
    })?;
    finish(database, view, changes, true)
}

/// States as parts, which the last commit names.
fn write(
    database: &Database,
    entry: &Entry,
    snapshot: &Snapshot,
    states: Vec<(String, arrow::array::RecordBatch)>,
) -> Result<Vec<Change>> {
    let id = TableId(entry.def.oid);
    let table = snapshot.table(id).ok_or_else(|| Error::internal("the view has no table"))?;
    let mut changes = Vec::new();
    for (partition, rows) in states {
        if rows.num_rows() > 0 {
            let parts = database.store()?.write_parts(table.def(), &partition, vec![rows])?;
            changes.push(Change::AddParts { table: id, parts });
        }
    }
    Ok(changes)
}

/// One commit that adds the states and shows the view, or, if it could not be filled, drops it.
fn finish(database: &Database, view: u32, changes: Vec<Change>, complete: bool) -> Result<()> {
    let store = database.store()?;
    loop {
        let snapshot = store.snapshot();
        let state = database.catalog(&snapshot)?;
        // Dropped meanwhile: the parts are garbage.
        let Some(entry) = state.entry(view) else { return Ok(()) };
        let mut changes = changes.clone();
        if complete {
            let def = crate::catalog::RelationDef { building: false, ..entry.def.clone() };
            changes.push(set_relation(&def)?);
        } else {
            changes.push(Change::DropTable { id: TableId(view) });
            let key = format!("{}{view}", crate::catalog::state::RELATION_PREFIX);
            changes.push(Change::Set { key, value: None });
        }
        match store.commit(Commit { changes, expect_catalog: Some(state.version), seen: None }) {
            Ok(_) => return Ok(()),
            Err(weir_storage::Error::CatalogChanged) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
