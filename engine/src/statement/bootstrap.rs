//! What a database has from its first opening on: `weir.dead_letters`. Also takes back what a crash left half done.

use weir_storage::{Change, Commit, TableId};

use super::define::{add_definitions, blank, dropped, set_relation};
use super::table::storage_def;
use crate::catalog::state::SCHEMA_PREFIX;
use crate::catalog::{ColumnDef, Entry, Kind, RelationDef};
use crate::database::Database;
use crate::error::Result;
use crate::ingest::{DEAD_LETTERS, dead_letter_columns};
use crate::session::context::TEMPORARY;
use crate::transaction::Pending;

/// Makes what is not there.
pub(crate) fn first_open(database: &Database) -> Result<()> {
    let snapshot = database.store()?.snapshot();
    let state = database.catalog(&snapshot)?;
    let mut changes = Vec::new();
    // Temporary tables of sessions that a crash ended.
    let temporary = state.entries().filter(|entry| entry.def.schema.starts_with(TEMPORARY));
    for entry in temporary {
        changes.extend(dropped(&entry.def));
    }
    for (_, oid) in state.schemas().filter(|(schema, _)| schema.starts_with(TEMPORARY)) {
        changes.push(Change::Set { key: format!("{SCHEMA_PREFIX}{oid}"), value: None });
    }
    if state.find("weir", DEAD_LETTERS).is_none() {
        let columns = dead_letter_columns()
            .into_iter()
            .map(|(name, ty, nullable)| ColumnDef {
                name: name.into(),
                ty,
                nullable,
                default: None,
                codec: None,
                fold: None,
                collation: None,
                scale: None,
                comment: None,
            })
            .collect();
        let def = RelationDef {
            comment: Some("Records of streams that could not be decoded, with the reason.".into()),
            ..blank(database.new_oid(), "weir".into(), DEAD_LETTERS, Kind::Table, columns)
        };
        let entry = Entry::new(def.clone());
        changes.push(Change::CreateTable { id: TableId(def.oid), def: storage_def(&def, entry.schema()) });
        changes.push(set_relation(&def)?);
    }
    if changes.is_empty() {
        return Ok(());
    }
    let mut pending = Pending::default();
    add_definitions(&mut pending, state.version, database.next_oid(), changes);
    database.store()?.commit(Commit::from(pending.changes()))?;
    Ok(())
}
