//! COMMIT: all pending changes in one commit of storage, tried again when the catalogue moved meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use weir_storage::{Change, Commit, Committed, NewPart, Snapshot, TableId};

use super::names::sql_error;
use super::partition;
use super::table::storage_def;
use super::writer::Base;
use crate::alerts;
use crate::cancel::Cancel;
use crate::catalog::state::{NEXT_OID, RELATION_PREFIX};
use crate::catalog::{CatalogState, Entry, Kind, RelationDef};
use crate::database::{Database, load_catalog};
use crate::error::{Error, ErrorKind, Result};
use crate::sinks::noted;
use crate::transaction::{Item, Pending};
use crate::views::{derive, emptied, late, maintain};
use crate::watermark;

/// Commits, then fills the views that the transaction made.
pub(crate) fn commit(database: &Database, mut pending: Pending) -> Result<()> {
    let committed = commit_only(database, &mut pending)?;
    pending.gates.clear();
    if pending.items.iter().any(|item| partition::is_unsettled(std::slice::from_ref(item.change()))) {
        partition::settle(database)?;
    }
    crate::views::fill_all(database, &pending.views, &committed.snapshot)?;
    for (table, cancel) in &pending.indexed {
        // The index is there; what is not done when the wait is cancelled, background work does.
        super::optimize::run(database, TableId(*table), None, weir_storage::Optimize::Indexes, cancel)
            .or_else(|error| if cancel.check().is_err() { Ok(()) } else { Err(error) })?;
    }
    Ok(())
}

/// Commits pending changes; they may be changed on the way, when deltas are computed again.
pub(crate) fn commit_only(database: &Database, pending: &mut Pending) -> Result<Committed> {
    let store = database.store()?;
    loop {
        let tables = late::with_sides(database, tables_of(pending))?;
        let _passing = database.gates().pass(&tables, &pending.gates, &Cancel::default())?;
        match with_views(database, pending)? {
            Ok(committed) => return Ok(committed),
            Err(weir_storage::Error::CatalogChanged) => {
                let snapshot = store.snapshot();
                let state = database.catalog(&snapshot)?;
                rebase(database, pending, &state)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Commits pending changes with all that they mean for views, or says why storage does not take them.
pub(crate) fn with_views(
    database: &Database,
    pending: &Pending,
) -> Result<std::result::Result<Committed, weir_storage::Error>> {
    let store = database.store()?;
    let commit = |changes| store.commit(Commit { changes, expect_catalog: pending.catalog, seen: pending.seen });
    let fed = pending.items.iter().any(|item| matches!(item, Item::Fed(_)));
    if !fed {
        return Ok(commit(pending.joined()?));
    }
    let snapshot = store.snapshot();
    let state = catalog_of(database, pending, &snapshot)?;
    if derive::affected(&state, pending)?.is_empty() {
        let mut changes = pending.joined()?;
        changes.extend(noted(database, &state, &snapshot, &changes)?);
        changes.extend(watermark::advance(database, &state, &snapshot, pending)?);
        return Ok(commit(changes));
    }
    drop(snapshot);
    let _alone = database.derivations().lock();
    loop {
        let snapshot = store.snapshot();
        if pending.catalog.is_some_and(|version| version != snapshot.catalog_version()) {
            return Ok(Err(weir_storage::Error::CatalogChanged));
        }
        let state = catalog_of(database, pending, &snapshot)?;
        let base = Base::new(database, state, snapshot, Cancel::default());
        let with_late = late::put_aside(&base, pending)?;
        let pending = with_late.as_ref().unwrap_or(pending);
        let views = derive::affected(&base.state, pending)?;
        let derived = derive::derive(&base, pending, &views)?;
        let mut changes = pending.joined()?;
        changes.extend(derived);
        changes.extend(noted(database, &base.state, &base.snapshot, &changes)?);
        changes.extend(watermark::advance(database, &base.state, &base.snapshot, pending)?);
        match commit(changes) {
            // States that were merged meanwhile are looked for again.
            Err(weir_storage::Error::RowsChanged { table }) if views.contains(&table) => {}
            other => return Ok(other),
        }
    }
}

/// The catalogue with a transaction's own definitions.
fn catalog_of(database: &Database, pending: &Pending, snapshot: &Snapshot) -> Result<Arc<CatalogState>> {
    match pending.ddl {
        0 => database.catalog(snapshot),
        _ => Ok(Arc::new(load_catalog(&pending.over(snapshot)?)?)),
    }
}

/// The tables whose rows change, each once.
pub(crate) fn tables_of(pending: &Pending) -> Vec<u32> {
    let table = |item: &Item| match item.change() {
        Change::Set { .. } | Change::Tally { .. } | Change::CreateTable { .. } => Vec::new(),
        Change::MovePartition { from, to, .. } => vec![from.0, to.0],
        Change::DropTable { id } | Change::AlterTable { id, .. } => vec![id.0],
        Change::Append { table, .. }
        | Change::AddParts { table, .. }
        | Change::DropParts { table, .. }
        | Change::DropPartitions { table, .. }
        | Change::Delete { table, .. }
        | Change::Truncate { table } => vec![table.0],
    };
    let mut tables: Vec<u32> = pending.items.iter().flat_map(table).collect();
    tables.sort_unstable();
    tables.dedup();
    tables
}

/// Makes pending changes fit a newer catalogue, or says why they do not.
pub(crate) fn rebase(database: &Database, pending: &mut Pending, state: &Arc<CatalogState>) -> Result<()> {
    let created: Vec<u32> = pending
        .items
        .iter()
        .filter_map(|item| match item.change() {
            Change::CreateTable { id, .. } => Some(id.0),
            change => alerts::defined(change),
        })
        .collect();
    for (oid, before) in &pending.altered {
        if state.entry(*oid).is_none_or(|now| now.def != before.def) {
            return Err(conflict(state, TableId(*oid)));
        }
    }
    let mut items = Vec::new();
    for item in std::mem::take(&mut pending.items) {
        let (change, fed) = match item {
            Item::Own(change) => (change, false),
            Item::Fed(change) => (change, true),
            Item::Delta(_) => continue,
        };
        let deltas = match &change {
            Change::Append { table, rows, .. } if !created.contains(&table.0) => {
                check_rows(state, *table, Some(rows))?;
                let mut deltas = maintain::deltas(database, state, table.0, &Cancel::default())?;
                if fed {
                    deltas.add(rows)?;
                }
                deltas.finish()?
            }
            Change::AddParts { table, parts } if !created.contains(&table.0) => {
                check_rows(state, *table, None)?;
                check_parts(state, *table, parts, &pending.altered)?;
                if state.fed_by(table.0).next().is_some() {
                    // Their rows are in files by now, and a view may have come that has not seen them.
                    return Err(conflict(state, *table));
                }
                Vec::new()
            }
            Change::Delete { table, .. } if !created.contains(&table.0) => {
                check_rows(state, *table, None)?;
                if state.fed_by(table.0).next().is_some() {
                    // What goes is known by its place alone, and a view may have come that shows it.
                    return Err(conflict(state, *table));
                }
                Vec::new()
            }
            Change::Truncate { table } => {
                check_rows(state, *table, None)?;
                emptied(state, table.0)?
            }
            Change::Set { key, value } => {
                check_definition(state, key, value.as_deref())?;
                alerts::check(state, key, value.as_deref(), &created)?;
                Vec::new()
            }
            Change::DropTable { id } if state.entry(id.0).is_none() && !created.contains(&id.0) => {
                return Err(gone(*id));
            }
            _ => Vec::new(),
        };
        let change = match change {
            Change::Set { key, .. } if key == NEXT_OID => {
                Change::Set { key, value: Some(database.next_oid().to_string().into_bytes()) }
            }
            change => change,
        };
        items.push(if fed { Item::Fed(change) } else { Item::Own(change) });
        items.extend(deltas.into_iter().map(Item::Delta));
    }
    pending.items = items;
    pending.catalog = Some(state.version);
    Ok(())
}

/// Rows for a table that is there, and has the columns that they have.
fn check_rows(state: &CatalogState, table: TableId, rows: Option<&RecordBatch>) -> Result<()> {
    let entry = state.entry(table.0).ok_or_else(|| gone(table))?;
    match rows {
        Some(rows) if rows.schema().fields() != entry.schema().fields() => Err(conflict(state, table)),
        _ => Ok(()),
    }
}

/// The same of rows that are in files. Where this transaction changes the definition itself, they are of its own.
fn check_parts(
    state: &CatalogState,
    table: TableId,
    parts: &[NewPart],
    altered: &BTreeMap<u32, Arc<Entry>>,
) -> Result<()> {
    let Some(entry) = state.entry(table.0).filter(|_| !altered.contains_key(&table.0)) else { return Ok(()) };
    let def = storage_def(&entry.def, entry.schema());
    for part in parts {
        if !part.is_of(&def)? {
            return Err(conflict(state, table));
        }
    }
    Ok(())
}

fn gone(table: TableId) -> Error {
    sql_error(weir_sql::ErrorKind::UndefinedTable, format!("relation with OID {table} does not exist"))
        .with_detail("It was dropped while the transaction ran.")
}

fn conflict(state: &CatalogState, table: TableId) -> Error {
    let name = state.entry(table.0).map_or_else(|| table.to_string(), |e| e.def.name.clone());
    let message = format!("could not serialize access due to a concurrent definition on \"{name}\"");
    Error::new(ErrorKind::SerializationFailure, message).with_hint("The transaction might succeed if retried.")
}

/// A definition of this transaction against the newer catalogue: its name must be free, and what it drops unneeded.
fn check_definition(state: &CatalogState, key: &str, value: Option<&[u8]>) -> Result<()> {
    let Some(oid) = key.strip_prefix(RELATION_PREFIX).and_then(|oid| oid.parse::<u32>().ok()) else {
        return Ok(());
    };
    match value.map(serde_json::from_slice::<RelationDef>) {
        Some(Ok(def)) => match state.find(&def.schema, &def.name) {
            Some(other) if other.def.oid != oid => {
                Err(sql_error(weir_sql::ErrorKind::DuplicateTable, format!("relation \"{}\" already exists", def.name)))
            }
            _ if def.kind == Kind::Materialized || def.kind == Kind::View => {
                match def.depends.iter().find(|input| state.entry(**input).is_none() && **input < oid) {
                    Some(_) => Err(conflict(state, TableId(oid))),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        },
        Some(Err(_)) => Ok(()),
        None => match state.dependents(oid).next() {
            Some(other) => Err(Error::new(
                ErrorKind::DependentObjects,
                format!("cannot drop relation because {} depends on it", other.def.name),
            )),
            // A statement that stands alone finds it when it runs again.
            None if state.alerts_on(oid).next().is_some() => Err(conflict(state, TableId(oid))),
            None => Ok(()),
        },
    }
}
