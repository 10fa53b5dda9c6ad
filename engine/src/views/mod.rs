//! Incremental materialized views: kept right by the commits that feed them.
//!
//! A view's SELECT is split at its aggregation ([`ViewPlan`]). CREATE makes a table of the view's own for group keys and partial
//! states and, in the same commit, starts feeding it: from that version on, every commit of rows to the input carries the states that
//! these rows bring ([`maintain`]). What was there before is read from the snapshot of exactly that version and added by one later
//! commit ([`fill`]), which also shows the view; until then it is hidden. Reading merges states by key; storage's merges fold equal keys
//! by [`StateCollapse`]. Where rows of the input go, and for views over joins and over other views, [`derive`] finds what a commit means.

mod closing;
mod create;
pub(crate) mod derive;
mod fill;
pub(crate) mod late;
pub(crate) mod maintain;
pub(crate) mod refresh;
mod replace;
pub(crate) mod rewrite;
mod touched;
mod transform;

use std::sync::Arc;

use arrow::array::RecordBatch;
use parking_lot::RwLock;
use weir_sql::plan::Plan;
use weir_sql::statement::Statement;
use weir_storage::{Change, Collapse, TableDef, TableId};

pub(crate) use closing::{closed, shown, windows_of};
pub(crate) use create::{create, over_own, own_ttl};
pub(crate) use fill::{Building, fill_all, resume};
pub(crate) use maintain::Deltas;
pub(crate) use touched::Touched;
pub(crate) use transform::Transforms;

use crate::cancel::Cancel;
use crate::catalog::{CatalogState, Entry, StateCatalog};
use crate::database::{Database, WeakDatabase};
use crate::error::{Error, Result};
use crate::exec::ViewPlan;
use crate::exec::batch::Batch;
use crate::functions::registry;
use crate::statement::table::detached_context;

/// A view's SELECT, bound again from the catalogue and split; done once a version of the catalogue.
pub(crate) fn plan_of(state: &CatalogState, entry: &Entry) -> Result<Arc<ViewPlan>> {
    if let Some(plan) = entry.view_plan.get() {
        return Ok(plan.clone());
    }
    let query = entry.def.query.as_deref().ok_or_else(|| Error::internal("a view has no query"))?;
    let names: Vec<&str> = entry.def.columns.iter().map(|column| column.name.as_str()).collect();
    let plan = Arc::new(bound(state, query, &entry.def.search_path, &names)?);
    Ok(entry.view_plan.get_or_init(|| plan).clone())
}

/// A view's query, split, as the catalogue without any session has it, of these columns.
fn bound(state: &CatalogState, query: &str, path: &[String], columns: &[&str]) -> Result<ViewPlan> {
    ViewPlan::new(&bound_narrowed(state, query, path, columns)?)
}

/// The same as a plan.
fn bound_narrowed(state: &CatalogState, query: &str, path: &[String], columns: &[&str]) -> Result<Plan> {
    Ok(weir_sql::bind::narrowed(bound_query(state, query, path)?, columns))
}

/// A definition's query, as the catalogue without any session has it.
pub(crate) fn bound_query(state: &CatalogState, query: &str, path: &[String]) -> Result<Plan> {
    let broken = |why: &str| Error::internal(format!("a view cannot be bound: {why}: {query}"));
    let parsed = weir_sql::parse::parse(query)?;
    let [parsed] = parsed.as_slice() else { return Err(broken("it is not one statement")) };
    let bound = weir_sql::bind::bind(parsed, &StateCatalog { state, path }, registry(), &[])?;
    let Statement::Query(plan) = bound.statement else { return Err(broken("it is no SELECT")) };
    Ok(plan)
}

/// Rows for a table of states or the like, as a change: through the log, or as parts if they are many.
pub(crate) fn added(
    database: &Database,
    def: &TableDef,
    table: TableId,
    partition: String,
    rows: RecordBatch,
) -> Result<Change> {
    if Batch::from_record(&rows).bytes() <= database.options().bulk_bytes {
        return Ok(Change::Append { table, partition, rows });
    }
    Ok(Change::AddParts { table, parts: database.store()?.write_parts(def, &partition, vec![rows])? })
}

/// The changes that empty the linear views on a table which is emptied.
pub(crate) fn emptied(state: &CatalogState, table: u32) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for view in state.fed_by(table) {
        if plan_of(state, view)?.is_emptied_with(table) {
            changes.push(Change::Truncate { table: TableId(view.def.oid) });
        }
    }
    Ok(changes)
}

/// Folds the states of equal keys when storage merges parts of a view.
#[derive(Default)]
pub(crate) struct StateCollapse {
    /// Set once the database is open; weak, since the database owns the store that owns this.
    database: RwLock<Option<WeakDatabase>>,
}

impl StateCollapse {
    pub(crate) fn attach(&self, database: &Database) {
        *self.database.write() = Some(database.downgrade());
    }

    fn fold(&self, def: &TableDef, rows: &RecordBatch) -> Result<RecordBatch> {
        let database = self.database.read().as_ref().and_then(WeakDatabase::upgrade);
        let database = database.ok_or_else(|| Error::internal("the database is not open"))?;
        let state = database.catalog(&database.store()?.snapshot())?;
        let entry = state.entries().find(|entry| entry.qualified() == def.name);
        let entry = entry.ok_or_else(|| Error::internal(format!("there is no view \"{}\"", def.name)))?;
        let context = Arc::new(detached_context(&database, &Cancel::default()));
        plan_of(&state, entry)?.collapse(rows, &context)
    }
}

impl Collapse for StateCollapse {
    fn collapse(&self, def: &TableDef, rows: RecordBatch) -> std::result::Result<RecordBatch, String> {
        self.fold(def, &rows).map_err(|e| e.message)
    }
}
