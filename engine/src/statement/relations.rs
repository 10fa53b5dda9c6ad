//! Where the rows of relations are, for the executor: one snapshot's tables and views, and what is computed.

use std::sync::Arc;

use weir_sql::catalog::{Relation, RelationKind};
use weir_storage::{Snapshot, TableId};

use super::{merging, ttl};
use crate::catalog::{CatalogState, system};
use crate::error::{Error, Result};
use crate::exec::{RelationRows, Relations};
use crate::session::View;
use crate::views;

/// Tables and materialized views at one version; rows whose TTL is over at `now` are not shown.
pub(crate) struct StoredRelations {
    pub(crate) state: Arc<CatalogState>,
    pub(crate) snapshot: Snapshot,
    pub(crate) now: i64,
}

impl Relations for StoredRelations {
    fn rows(&self, relation: &Relation) -> Result<RelationRows> {
        let gone = || Error::internal(format!("no rows for \"{}\"", relation.name));
        let entry = self.state.entry(relation.oid).ok_or_else(gone)?;
        let (snapshot, table) = (self.snapshot.clone(), TableId(relation.oid));
        if relation.kind == RelationKind::States {
            return Ok(RelationRows::Stored { snapshot, table, filters: Vec::new(), shown: Vec::new() });
        }
        match entry.def.keeps_states() {
            true => {
                let closed = views::shown(&self.state, &self.snapshot, entry)?;
                let filters = ttl::alive(entry, self.now)?.into_iter().chain(closed).collect();
                Ok(RelationRows::View { snapshot, table, view: views::plan_of(&self.state, entry)?, filters })
            }
            false => {
                let filters = ttl::alive(entry, self.now)?.into_iter().chain(merging::shown(entry)?).collect();
                let shown = ttl::faded(entry, self.now)?;
                Ok(RelationRows::Stored { snapshot, table, filters, shown })
            }
        }
    }
}

/// The relations of one statement.
pub(crate) struct SnapshotRelations {
    view: Arc<View>,
    stored: StoredRelations,
}

impl SnapshotRelations {
    /// Of a session's view, at `now`.
    pub(crate) fn new(view: Arc<View>, now: i64) -> SnapshotRelations {
        let stored = StoredRelations { state: view.state.clone(), snapshot: view.snapshot.clone(), now };
        SnapshotRelations { view, stored }
    }
}

impl Relations for SnapshotRelations {
    fn rows(&self, relation: &Relation) -> Result<RelationRows> {
        if matches!(relation.kind, RelationKind::MaterializedView | RelationKind::States) {
            let snapshot = self.view.derived()?.clone();
            return StoredRelations { state: self.stored.state.clone(), snapshot, now: self.stored.now }.rows(relation);
        }
        if relation.kind != RelationKind::System {
            return self.stored.rows(relation);
        }
        if let Some(system) = system::by_oid(relation.oid) {
            return Ok(RelationRows::Batches(vec![system.rows(&self.view.system_context())]));
        }
        let registered = self.view.database.registered_oid(relation.oid);
        let registered = registered.ok_or_else(|| Error::internal(format!("no rows for \"{}\"", relation.name)))?;
        Ok(RelationRows::Batches(vec![(registered.rows)()]))
    }
}
