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
use crate::exec::batch::Batch;
use crate::exec::{self, RelationRows, Relations, RowStream};
use crate::statement::table::{Target, output_columns, whole_scan};

/// Rows are written when there are this many bytes of them.
const BYTES_AT_ONCE: usize = 128 << 20;

/// One table's rows, expired ones too: they are in its parts.
struct EveryRow {
    snapshot: Snapshot,
    table: TableId,
}

impl Relations for EveryRow {
    fn rows(&self, _: &Relation) -> Result<RelationRows> {
        Ok(RelationRows::Stored { snapshot: self.snapshot.clone(), table: self.table, filters: Vec::new() })
    }
}

impl Work<'_> {
    /// Runs a plan over all rows of the old table.
    fn over_rows(&self, plan: &Plan) -> Result<RowStream> {
        let id = TableId(self.def.oid);
        // The gate is closed by now; what was committed before it closed counts.
        let view = self.session.view()?;
        let relations = EveryRow { snapshot: view.snapshot.clone(), table: id };
        let context = self.session.query_context(self.running).with_relations(Arc::new(relations));
        exec::run(plan, &Arc::new(context))
    }

    /// Whether a column of the new definition would be NULL in some row.
    pub(super) fn has_null(&self, at: usize) -> Result<bool> {
        let predicate = Expr::new(ExprKind::IsNull(Box::new(self.current(at))), Type::Bool);
        let input = Box::new(whole_scan(&self.entry.relation));
        let mut rows = self.over_rows(&Plan::Filter { input, predicate })?;
        while let Some(batch) = rows.next()? {
            if batch.num_rows() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The changes that put all rows, written under the new definition, in the place of the old ones.
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
        let mut waiting: BTreeMap<String, Vec<RecordBatch>> = BTreeMap::new();
        let mut bytes = 0;
        let mut rows = self.over_rows(&plan)?;
        loop {
            let batch = rows.next()?;
            if let Some(batch) = &batch {
                let batch = target.conform(batch)?;
                bytes += Batch::from_record(&batch).bytes();
                for (partition, rows) in target.split(&batch)? {
                    waiting.entry(partition).or_default().push(rows);
                }
            }
            if batch.is_none() || bytes > BYTES_AT_ONCE {
                for (partition, rows) in std::mem::take(&mut waiting) {
                    parts.extend(store.write_parts(&def, &partition, rows)?);
                }
                bytes = 0;
            }
            if batch.is_none() {
                break;
            }
        }
        let stored = self.session.view()?.snapshot.table(id);
        let partitions = stored.map(|table| table.partitions().into_iter().collect()).unwrap_or_default();
        Ok(vec![
            Change::DropPartitions { table: id, partitions },
            Change::AlterTable { id, def },
            Change::AddParts { table: id, parts },
        ])
    }
}
