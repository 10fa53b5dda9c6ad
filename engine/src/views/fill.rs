//! Filling a new view: what its inputs held at the version that began to feed it.
//!
//! The states of what was there are written as parts, which one commit names that also shows the view. Commits that come meanwhile feed it; what
//! they would have done to groups that are not complete yet is noted ([`Building`]), and done by that last commit. What cannot be
//! made good so (an input was emptied) starts the filling again, and so does a restart of the database.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use parking_lot::Mutex;
use weir_sql::catalog::Relation;
use weir_storage::{Change, Commit, Snapshot, TableId};

use super::derive::Derivation;
use super::maintain::Feed;
use super::replace;
use super::touched::Touched;
use crate::cancel::Cancel;
use crate::catalog::{CatalogState, Entry};
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::{QueryContext, RelationRows, Relations};
use crate::session::now_micros;
use crate::sinks;
use crate::statement::define::dropped;
use crate::statement::relations::StoredRelations;
use crate::statement::writer::Base;
use crate::transaction::{Item, Pending};

/// Rows are aggregated this many bytes at a time, which bounds what a backfill holds.
const BYTES_AT_ONCE: usize = 64 << 20;

/// Views that are being filled, by oid.
#[derive(Default)]
pub(crate) struct Building {
    /// What is to be done to them once they are complete.
    later: Mutex<HashMap<u32, Later>>,
    /// How far they are.
    filling: Mutex<HashMap<u32, Filling>>,
}

/// How much of its inputs a view has been filled with.
struct Filling {
    /// Rows that were read.
    done: Arc<AtomicU64>,
    /// Rows that there are to read.
    total: u64,
}

enum Later {
    /// These groups are to be computed again.
    Touched(Touched),
    /// All that was filled is out of date.
    Again,
}

impl Building {
    /// These groups changed.
    pub(super) fn touch(&self, view: u32, touched: Touched) {
        let mut views = self.later.lock();
        match views.get_mut(&view) {
            None => drop(views.insert(view, Later::Touched(touched))),
            Some(Later::Touched(known)) => known.absorb(touched),
            Some(Later::Again) => {}
        }
    }

    /// An input was emptied.
    pub(super) fn start_again(&self, view: u32) {
        self.later.lock().insert(view, Later::Again);
    }

    fn take(&self, view: u32) -> Option<Later> {
        self.later.lock().remove(&view)
    }

    /// A filling begins, of so many rows; where those that are read are counted.
    fn begin(&self, view: u32, total: u64) -> Arc<AtomicU64> {
        let done = Arc::new(AtomicU64::new(0));
        self.filling.lock().insert(view, Filling { done: done.clone(), total });
        done
    }

    /// Of how many rows a view has been filled with how many, if it is being filled.
    pub(crate) fn progress(&self, view: u32) -> Option<(u64, u64)> {
        let filling = self.filling.lock();
        let Filling { done, total } = filling.get(&view)?;
        Some((done.load(Ordering::Relaxed).min(*total), *total))
    }
}

/// Adds the states of all rows that the inputs have in `snapshot`, which is of exactly the commit that made the view, and shows the view.
fn fill(database: &Database, view: u32, snapshot: Snapshot) -> Result<()> {
    let result = try_fill(database, view, snapshot);
    if result.as_ref().is_err_and(|error| error.kind != ErrorKind::Shutdown) {
        // A view that is not complete is never shown: take it back.
        let _ = take_back(database, view);
    }
    database.building().take(view);
    database.building().filling.lock().remove(&view);
    result
}

/// Fills the views and sinks that a commit has made, those first that others read.
pub(crate) fn fill_all(database: &Database, views: &[u32], committed: &Snapshot) -> Result<()> {
    for &view in views {
        let state = database.catalog(&database.store()?.snapshot())?;
        if state.entry(view).is_some_and(|entry| entry.def.sink.is_some()) {
            sinks::fill(database, view, committed)?;
            continue;
        }
        let waits = state.entry(view).is_some_and(|entry| entry.def.depends.iter().any(|input| views.contains(input)));
        fill(database, view, if waits { empty(database, view)? } else { committed.clone() })?;
    }
    Ok(())
}

/// Begins again to fill the views that a restart has interrupted, in the background.
pub(crate) fn resume(database: &Database, state: &CatalogState) -> Result<()> {
    let views = state.entries().filter(|entry| entry.def.building);
    let views = views.filter(|entry| entry.def.keeps_states() || entry.def.sink.is_some());
    let views: Vec<(u32, bool)> = views.map(|entry| (entry.def.oid, entry.def.sink.is_some())).collect();
    if views.is_empty() {
        return Ok(());
    }
    let database = database.clone();
    let refill = move || {
        for (view, is_sink) in views {
            let filled = match is_sink {
                true => sinks::fill_again(&database, view),
                false => empty(&database, view).and_then(|snapshot| fill(&database, view, snapshot)),
            };
            match filled {
                Ok(()) => {}
                Err(error) if error.kind == ErrorKind::Shutdown => return,
                Err(error) => tracing::warn!(view, %error, "a view could not be filled and is dropped"),
            }
        }
    };
    let started = std::thread::Builder::new().name("weir-fill".into()).spawn(refill);
    started.map(drop).map_err(|error| Error::internal(format!("cannot start a thread: {error}")))
}

fn try_fill(database: &Database, view: u32, mut snapshot: Snapshot) -> Result<()> {
    loop {
        let state = database.catalog(&snapshot)?;
        let entry = state.entry(view).ok_or_else(|| Error::internal("the view is gone"))?;
        let feed = Feed::new(database, &state, entry, database.background())?;
        let relations = StoredRelations { state: state.clone(), snapshot: snapshot.clone(), now: now_micros() };
        let rows = |relation: &Arc<Relation>| relations.rows(relation);
        let inputs: Vec<RelationRows> = feed.plan().inputs().iter().map(rows).collect::<Result<_>>()?;
        let total = inputs.iter().filter_map(RelationRows::count).sum();
        let progress = Some(database.building().begin(view, total));
        let context = Arc::new(QueryContext { progress, ..QueryContext::clone(feed.context()) });
        let mut changes = Vec::new();
        feed.plan().stage_rows(None, None, inputs, &context)?.in_pieces(BYTES_AT_ONCE, |rows| {
            changes.extend(write(database, entry, &snapshot, feed.states_of(rows)?)?);
            Ok(())
        })?;
        match finish(database, view, &changes)? {
            true => return Ok(()),
            false => snapshot = empty(database, view)?,
        }
    }
}

/// States as parts, which the last commit names.
fn write(
    database: &Database,
    entry: &Entry,
    snapshot: &Snapshot,
    states: Vec<(String, RecordBatch)>,
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

/// Drops all states that the view has so far. What comes later than the snapshot feeds it.
fn empty(database: &Database, view: u32) -> Result<Snapshot> {
    let _alone = database.derivations().lock();
    database.building().take(view);
    Ok(database.store()?.commit(Commit::from(vec![Change::Truncate { table: TableId(view) }]))?.snapshot)
}

/// One commit that adds the states, does what was noted, and shows the view; false if it has to be filled again.
fn finish(database: &Database, view: u32, filled: &[Change]) -> Result<bool> {
    let store = database.store()?;
    let _alone = database.derivations().lock();
    let touched = match database.building().take(view) {
        Some(Later::Again) => return Ok(false),
        Some(Later::Touched(touched)) => Some(touched),
        None => None,
    };
    loop {
        let snapshot = store.snapshot();
        let state = database.catalog(&snapshot)?;
        // Dropped meanwhile: the parts are garbage.
        let Some(entry) = state.entry(view) else { return Ok(true) };
        let base = Base::new(database, state.clone(), snapshot, Cancel::default());
        let mut changes = filled.to_vec();
        if let Some(touched) = &touched {
            let feed = Feed::new(database, &state, entry, &base.cancel)?;
            let mut pending = Pending::default();
            pending.items.extend(filled.iter().cloned().map(Item::Own));
            let mut derivation = Derivation::new(&base, &pending)?;
            derivation.replace(&feed, touched)?;
            changes.extend(derivation.into_changes());
        }
        let stored = base.snapshot.table(TableId(view)).ok_or_else(|| Error::internal("the view has no table"))?;
        let Some(shown) = replace::take_place(&state, &entry.def, stored.def())? else {
            take_back(database, view)?;
            return Ok(true);
        };
        changes.extend(shown);
        changes.extend(sinks::noted(database, &state, &base.snapshot, &changes)?);
        match store.commit(Commit { changes, expect_catalog: Some(state.version), seen: None }) {
            Ok(_) => return Ok(true),
            // States that were merged meanwhile are looked for again.
            Err(weir_storage::Error::CatalogChanged | weir_storage::Error::RowsChanged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Drops a view that could not be filled.
fn take_back(database: &Database, view: u32) -> Result<()> {
    let store = database.store()?;
    match database.catalog(&store.snapshot())?.entry(view) {
        Some(entry) => Ok(store.commit(Commit::from(dropped(&entry.def))).map(drop)?),
        None => Ok(()),
    }
}
