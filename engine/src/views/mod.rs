//! Incremental materialized views: kept right by the commits that feed them.
//!
//! A view's SELECT is split at its aggregation ([`ViewPlan`]). CREATE makes a table of the view's own for group keys and partial
//! states and, in the same commit, starts feeding it: from that version on, every commit of rows to the input carries the states that
//! these rows bring ([`maintain`]). What was there before is read from the snapshot of exactly that version and added by one later
//! commit ([`fill`]), which also shows the view; until then it is hidden. Reading merges states by key; storage's merges fold equal keys
//! by [`StateCollapse`]. Where rows of the input go, the
//! groups they were in are computed again ([`retract`]).

mod create;
mod fill;
pub(crate) mod maintain;
pub(crate) mod retract;

use std::sync::Arc;

use arrow::array::RecordBatch;
use parking_lot::RwLock;
use weir_sql::statement::Statement;
use weir_storage::{Collapse, TableDef};

pub(crate) use create::create;
pub(crate) use fill::fill;
pub(crate) use maintain::Deltas;
pub(crate) use retract::Retractions;

use crate::cancel::Cancel;
use crate::catalog::{CatalogState, Entry, StateCatalog};
use crate::database::{Database, WeakDatabase};
use crate::error::{Error, Result};
use crate::exec::ViewPlan;
use crate::functions::registry;
use crate::statement::table::detached_context;

/// A view's SELECT, bound again from the catalogue and split; done once a version of the catalogue.
pub(crate) fn plan_of(state: &CatalogState, entry: &Entry) -> Result<Arc<ViewPlan>> {
    if let Some(plan) = entry.view_plan.get() {
        return Ok(plan.clone());
    }
    let broken = |why: String| Error::internal(format!("the view \"{}\" cannot be bound: {why}", entry.def.name));
    let query = entry.def.query.as_deref().ok_or_else(|| broken("it has no query".into()))?;
    let parsed = weir_sql::parse::parse(query)?;
    let [parsed] = parsed.as_slice() else { return Err(broken("its query is not one statement".into())) };
    let catalog = StateCatalog { state, path: &entry.def.search_path };
    let bound = weir_sql::bind::bind(parsed, &catalog, registry(), &[])?;
    let Statement::Query(plan) = bound.statement else { return Err(broken("its query is no SELECT".into())) };
    let names: Vec<&str> = entry.def.columns.iter().map(|column| column.name.as_str()).collect();
    let plan = Arc::new(ViewPlan::new(&weir_sql::bind::narrowed(plan, &names))?);
    Ok(entry.view_plan.get_or_init(|| plan).clone())
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
