//! Sinks of views that show windows when they close: each window is sent once, as it is then.
//!
//! No commit says that a window closes, so there is no outbox: what is kept is up to which watermark windows were sent. A batch is those that closed from one
//! watermark to another, which stay the same until it is out. A window that is first there, or changes, after it closed is not sent.

use std::sync::Arc;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use weir_sql::catalog::NoStatistics;
use weir_sql::plan::{Expr, ExprKind, Plan};
use weir_sql::rules::optimise;
use weir_sql::{Type, walk};
use weir_storage::{Change, Snapshot};

use super::{epoch_key, run};
use crate::catalog::{CatalogState, Entry};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::functions::registry;
use crate::statement::table::whole_scan;
use crate::views::windows_of;
use crate::watermark;

/// How far a sink is, as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Standing {
    /// The last batch that was made.
    pub(super) epoch: i64,
    /// Windows of it closed after this watermark…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<i64>,
    /// …and up to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<i64>,
}

impl Standing {
    pub(super) fn of(snapshot: &Snapshot, sink: u32) -> Standing {
        let kept = snapshot.get(&epoch_key(sink)).and_then(|value| serde_json::from_slice(value).ok());
        kept.unwrap_or_default()
    }

    /// Of a batch of an outbox.
    pub(super) fn at(epoch: i64) -> Standing {
        Standing { epoch, ..Standing::default() }
    }

    /// With all windows sent that are closed in a snapshot.
    pub(super) fn behind(state: &CatalogState, snapshot: &Snapshot, view: &Entry) -> Standing {
        Standing { to: watermark::of_view(state, snapshot, view), ..Standing::default() }
    }

    /// The change that keeps it.
    pub(super) fn kept(&self, sink: u32) -> Result<Change> {
        let value = serde_json::to_vec(self).map_err(|e| Error::internal(format!("a number is not JSON: {e}")))?;
        Ok(Change::Set { key: epoch_key(sink), value: Some(value) })
    }

    /// The rows of its batch.
    pub(super) fn rows(
        &self,
        database: &Database,
        state: &Arc<CatalogState>,
        snapshot: &Snapshot,
        view: &Entry,
    ) -> Result<Vec<RecordBatch>> {
        let Some(to) = self.to else { return Ok(Vec::new()) };
        let windows = windows_of(state, view)?.ok_or_else(|| Error::internal("a view's windows are gone"))?;
        let mut conditions = vec![windows.closed(view, to)?];
        if let Some(from) = self.from {
            conditions.push(Expr::new(ExprKind::Not(Box::new(windows.closed(view, from)?)), Type::Bool));
        }
        let mut plan = whole_scan(&view.relation);
        if let Some(predicate) = walk::conjunction(conditions) {
            plan = Plan::Filter { input: Box::new(plan), predicate };
        }
        run(database, state, snapshot, &optimise(plan, registry(), &NoStatistics))?.collect()
    }

    /// The next batch, if windows have closed since: how it is kept, and its rows.
    pub(super) fn next(
        &self,
        database: &Database,
        state: &Arc<CatalogState>,
        snapshot: &Snapshot,
        view: &Entry,
    ) -> Result<Option<(Standing, Vec<RecordBatch>)>> {
        let to = watermark::of_view(state, snapshot, view);
        if to <= self.to {
            return Ok(None);
        }
        let next = Standing { epoch: self.epoch + 1, from: self.to, to };
        let rows = next.rows(database, state, snapshot, view)?;
        Ok(rows.iter().any(|batch| batch.num_rows() > 0).then_some((next, rows)))
    }
}
