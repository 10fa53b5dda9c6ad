//! Looking at all rows of a table, and writing them anew under another definition. The table's gate is closed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use weir_sql::Type;
use weir_sql::catalog::Relation;
use weir_sql::plan::{Expr, ExprKind, Plan};
use weir_storage::{Change, NewPart, Snapshot, TableDef, TableId};

use super::Work;
use crate::catalog::Entry;
use crate::error::Result;
use crate::exec::{self, RelationRows, Relations, RowStream};
use crate::statement::table::{Target, output_columns, whole_scan};
use crate::statement::ttl;

/// Rows are written when there are this many bytes of them.
const BYTES_AT_ONCE: usize = 128 << 20;

/// One table's rows as its parts have them, those that pass the filters.
pub(in crate::statement) struct StoredRows {
    pub(in crate::statement) snapshot: Snapshot,
    pub(in crate::statement) table: TableId,
    pub(in crate::statement) filters: Vec<Expr>,
}

impl Relations for StoredRows {
    fn rows(&self, _: &Relation) -> Result<RelationRows> {
        Ok(RelationRows::Stored {
            snapshot: self.snapshot.clone(),
            table: self.table,
            filters: self.filters.clone(),
            shown: Vec::new(),
        })
    }
}

impl Work<'_> {
    /// Runs a plan over the rows of the old table whose TTL is not over.
    pub(super) fn over_living_rows(&self, plan: &Plan) -> Result<RowStream> {
        let alive = ttl::alive(&self.entry, self.running.functions.now)?;
        self.over_rows(plan, alive.into_iter().collect())
    }

    /// Runs a plan over the rows of the old table that pass the filters, expired ones too.
    fn over_rows(&self, plan: &Plan, filters: Vec<Expr>) -> Result<RowStream> {
        let id = TableId(self.def.oid);
        // The gate is closed by now; what was committed before it closed counts.
        let view = self.session.view()?;
        let relations = StoredRows { snapshot: view.snapshot.clone(), table: id, filters };
        let context = self.session.query_context(self.running).with_relations(Arc::new(relations));
        exec::run(plan, &Arc::new(context))
    }

    /// Whether a column of the new definition would be NULL in some row.
    pub(super) fn has_null(&self, at: usize) -> Result<bool> {
        let predicate = Expr::new(ExprKind::IsNull(Box::new(self.current(at))), Type::Bool);
        let input = Box::new(whole_scan(&self.entry.relation));
        let mut rows = self.over_rows(&Plan::Filter { input, predicate }, Vec::new())?;
        while let Some(batch) = rows.next()? {
            if batch.num_rows() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The changes that put all rows whose TTL is not over, written under the new definition, in the place of the old ones.
    pub(super) fn rewritten(&self, def: TableDef) -> Result<Vec<Change>> {
        let id = TableId(self.def.oid);
        let entry = Arc::new(Entry::new(self.def.clone()));
        let target = Target::new(&entry, &self.session.database, &self.running.cancel)?;
        let plan = Plan::Project {
            input: Box::new(whole_scan(&self.entry.relation)),
            exprs: (0..self.origins.len()).map(|at| self.current(at)).collect(),
            columns: output_columns(&entry.relation),
        };
        let store = self.session.database.store()?;
        let mut parts: Vec<NewPart> = Vec::new();
        self.over_living_rows(&plan)?.in_pieces(BYTES_AT_ONCE, |rows| {
            let mut split: BTreeMap<String, Vec<RecordBatch>> = BTreeMap::new();
            for batch in rows {
                for (partition, rows) in target.split(&target.conform(&batch)?)? {
                    split.entry(partition).or_default().push(rows);
                }
            }
            for (partition, rows) in split {
                parts.extend(store.write_parts(&def, &partition, rows)?);
            }
            Ok(())
        })?;
        let stored = self.session.view()?.snapshot.table(id);
        let partitions = stored.map(|table| table.partitions().into_iter().collect()).unwrap_or_default();
        Ok(vec![
            Change::DropPartitions { table: id, partitions },
            Change::AlterTable { id, def },
            Change::AddParts { table: id, parts },
        ])
    }
}
