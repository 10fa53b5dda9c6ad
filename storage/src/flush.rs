//! Flush: the rows of a head become parts.
//!
//! 1. A commit *seals* the head: its rows so far are what this flush takes.
//! 2. They are sorted, folded where the table asks for it, and written as parts, one a partition, while commits go on and fill
//!    the head anew.
//! 3. A commit drops the sealed rows and names the parts, at one version. If the table was truncated or dropped meanwhile, that
//!    commit fails and the parts are garbage.
//!
//! A crash in between leaves the rows in the log, sealed or not; the next flush takes them.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::def::{TableDef, TableId};
use crate::encoding::Effort;
use crate::error::{Error, Result};
use crate::fold::fold_all;
use crate::head::{Run, Runs};
use crate::part::{NewPart, Target, write_rows};
use crate::rows::without_deleted;
use crate::state::{Op, conform};
use crate::store::Shared;

impl Shared {
    /// Writes rows as parts that no commit names yet.
    pub(crate) fn write_parts(&self, def: &TableDef, partition: &str, rows: Vec<RecordBatch>) -> Result<Vec<NewPart>> {
        let parts = self.write_unsynced(def, partition, rows)?;
        self.parts.sync()?;
        Ok(parts)
    }

    /// The same; the names of the files are not durable yet.
    fn write_unsynced(&self, def: &TableDef, partition: &str, rows: Vec<RecordBatch>) -> Result<Vec<NewPart>> {
        let rows: Vec<RecordBatch> = rows.iter().map(|batch| conform(def, batch)).collect::<Result<_>>()?;
        let id = self.new_part_id();
        let index_values = self.options.index_values.as_ref();
        let target = Target { dir: &self.parts, id, def, partition, effort: Effort::Fast, index_values };
        let part = write_rows(target, &rows, self.options.granule_rows, self.options.threads)?;
        Ok(part.into_iter().collect())
    }

    /// Flushes one head, or all.
    pub(crate) fn flush(&self, table: Option<TableId>) -> Result<()> {
        let _one = self.flushing.lock();
        let tables: Vec<TableId> = match table {
            Some(table) => vec![table],
            None => self.state().tables.iter().map(|(id, _)| *id).collect(),
        };
        tables.into_iter().try_for_each(|table| self.flush_table(table))
    }

    /// Flushes one head. The caller holds `flushing`.
    pub(crate) fn flush_table(&self, id: TableId) -> Result<()> {
        match self.try_flush(id) {
            // It was dropped, or truncated, while we wrote: nothing is left to flush.
            Err(Error::PartsChanged { .. } | Error::RowsChanged { .. } | Error::NoTable { .. }) => Ok(()),
            other => other,
        }
    }

    fn try_flush(&self, id: TableId) -> Result<()> {
        if self.state().tables.get(&id).is_none_or(|table| table.head.rows == 0) {
            return Ok(());
        }
        let sealed = self.submit(vec![Op::Seal { table: id }], None)?;
        let Some(table) = sealed.snapshot.table(id) else { return Ok(()) };
        let Some(sealed_at) = table.head.sealed_at else { return Ok(()) };
        let mut parts = Vec::new();
        for (partition, runs) in table.head.sealed() {
            let mut rows = living_of(runs)?;
            if let (Some(collapse), Some(_)) = (&self.options.collapse, &table.def().collapse) {
                rows = vec![fold_all(collapse, table.def(), &rows)?];
            }
            parts.extend(self.write_unsynced(table.def(), partition, rows)?);
        }
        self.parts.sync()?;
        let deleted = Some(table.head.sealed_deleted());
        self.submit(vec![Op::Flush { table: id, sealed_at, parts, deleted }], None).map(drop)
    }
}

/// The sealed rows that are not deleted.
fn living_of(runs: &Runs) -> Result<Vec<RecordBatch>> {
    let mut from = runs.first;
    let living = |run: &Arc<Run>| {
        let rows = without_deleted(&run.batch, &runs.deleted, from);
        from += run.batch.num_rows() as u64;
        rows
    };
    runs.sealed.iter().map(living).collect()
}
