//! What rows mean for the linear views on their table: partial states, for the same commit.

use std::sync::Arc;

use arrow::array::RecordBatch;
use weir_storage::{Change, TableId};

use super::create::over_own;
use super::late::{Counter, Lateness};
use super::plan_of;
use super::touched::Touched;
use crate::cancel::Cancel;
use crate::catalog::{CatalogState, Entry};
use crate::database::Database;
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::{QueryContext, ViewPlan};
use crate::statement::table::{Split, bind_over, detached_context, output_columns};

/// Rows are aggregated when there are this many bytes of them, so that a long statement holds states rather than rows.
const BYTES_AT_ONCE: usize = 32 << 20;

/// Collects the rows of a statement, and gives what they bring to each view on their table.
pub(crate) struct Deltas {
    table: u32,
    views: Vec<Feed>,
    /// Of the views that include what comes late.
    counters: Vec<Counter>,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    changes: Vec<Change>,
}

/// One view that is fed.
pub(super) struct Feed {
    table: TableId,
    plan: Arc<ViewPlan>,
    split: Split,
    context: Arc<QueryContext>,
    /// Groups that are final.
    closed: Option<Lateness>,
}

impl Feed {
    pub(super) fn new(database: &Database, state: &CatalogState, view: &Entry, cancel: &Cancel) -> Result<Feed> {
        let plan = plan_of(state, view)?;
        let columns = output_columns(&view.relation);
        let partition_by = match &view.def.partition_by {
            Some(sql) => Some(over_own(&bind_over(sql, &columns)?, &plan, "PARTITION BY")?),
            None => None,
        };
        let context = Arc::new(detached_context(database, cancel));
        let split = Split::new(partition_by, context.clone());
        Ok(Feed { table: TableId(view.def.oid), plan, split, context, closed: None })
    }

    /// The groups of these windows are final.
    pub(super) fn close(&mut self, closed: Option<Lateness>) {
        self.closed = closed;
    }

    /// The rows of the view's own table, or of its keys, that are not of final groups.
    pub(super) fn open(&self, rows: RecordBatch) -> Result<RecordBatch> {
        match &self.closed {
            Some(closed) if rows.num_rows() > 0 => closed.open(&rows, &self.context),
            _ => Ok(rows),
        }
    }

    /// The view's own table.
    pub(super) fn table(&self) -> TableId {
        self.table
    }

    /// Its SELECT, split.
    pub(super) fn plan(&self) -> &ViewPlan {
        &self.plan
    }

    /// What it runs in.
    pub(super) fn context(&self) -> &Arc<QueryContext> {
        &self.context
    }

    /// The columns of its own table that say which group a row is of: all, if it has no groups.
    pub(super) fn keys(&self) -> Vec<usize> {
        (0..self.plan.keys().len()).collect()
    }

    /// No groups, to be added to.
    pub(super) fn touched(&self) -> Result<Touched> {
        Touched::new(self.plan.keys().into_iter().map(|key| key.ty).collect())
    }

    /// The states that rows of the stage come to, by partition.
    pub(super) fn states_of(&self, rows: Vec<RecordBatch>) -> Result<Vec<(String, RecordBatch)>> {
        self.split.split(&self.plan.states_of(rows, &self.context)?)
    }
}

/// For rows of this table, as a catalogue of this version sees its views.
pub(crate) fn deltas(database: &Database, state: &Arc<CatalogState>, table: u32, cancel: &Cancel) -> Result<Deltas> {
    let (mut views, mut counters) = (Vec::new(), Vec::new());
    for view in state.fed_by(table) {
        // What of a row is left out is known to the commit.
        if view.def.late.is_none() && plan_of(state, view)?.is_linear() {
            views.push(Feed::new(database, state, view, cancel)?);
            counters.extend(Counter::new(database, state, view)?);
        }
    }
    Ok(Deltas { table, views, counters, waiting: Vec::new(), waiting_bytes: 0, changes: Vec::new() })
}

impl Deltas {
    /// Takes rows, which have all of the table's columns.
    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        if self.views.is_empty() || rows.num_rows() == 0 {
            return Ok(());
        }
        self.waiting_bytes += Batch::from_record(rows).bytes();
        self.waiting.push(rows.clone());
        if self.waiting_bytes > BYTES_AT_ONCE { self.aggregate() } else { Ok(()) }
    }

    fn aggregate(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if rows.is_empty() {
            return Ok(());
        }
        for view in &self.views {
            let states = view.plan.partial(self.table, &rows, &view.context)?;
            for (partition, rows) in view.split.split(&states)? {
                if rows.num_rows() > 0 {
                    self.changes.push(Change::Append { table: view.table, partition, rows });
                }
            }
        }
        let context = self.views.first().map(|view| view.context.clone());
        for (counter, context) in self.counters.iter_mut().zip(context.iter().cycle()) {
            counter.add(&rows, context)?;
        }
        Ok(())
    }

    /// The changes to the views' own tables.
    pub(crate) fn finish(&mut self) -> Result<Vec<Change>> {
        self.aggregate()?;
        let counted = self.counters.iter_mut().filter_map(Counter::finish);
        Ok(std::mem::take(&mut self.changes).into_iter().chain(counted).collect())
    }
}
