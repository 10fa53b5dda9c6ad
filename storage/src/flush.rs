//! Flush: the rows of a head become parts.
//!
//! 1. A commit *seals* the head: its rows so far are what this flush takes.
//! 2. They are sorted, folded where the table asks for it, and written as parts, one a partition, while commits go on and fill
//!    the head anew.
//! 3. A commit drops the sealed rows and names the parts, at one version. If the table was truncated or dropped meanwhile, that
//!    commit fails and the parts are garbage. Rows that were deleted meanwhile are deleted in the parts too ([`mod@crate::moved`]); if
//!    they had been folded, nobody can tell which they are, and the flush is done again without folding.
//!
//! A crash in between leaves the rows in the log, sealed or not; the next flush takes them.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::committer::Expect;
use crate::def::{TableDef, TableId};
use crate::encoding::Effort;
use crate::error::{Error, Result};
use crate::fold::fold_all;
use crate::head::{Run, Runs};
use crate::maintain::now_micros;
use crate::moved::{Flushed, Late, Moved};
use crate::part::{NewPart, Target, Written, write_rows};
use crate::rows::without_deleted;
use crate::state::{Op, conform};
use crate::store::Shared;

impl Shared {
    /// Writes rows as parts that no commit names yet.
    pub(crate) fn write_parts(&self, def: &TableDef, partition: &str, rows: Vec<RecordBatch>) -> Result<Vec<NewPart>> {
        let written = self.write_unsynced(def, partition, rows)?;
        self.parts.sync()?;
        Ok(written.into_iter().map(|written| written.part).collect())
    }

    /// The same; the names of the files are not durable yet.
    fn write_unsynced(&self, def: &TableDef, partition: &str, rows: Vec<RecordBatch>) -> Result<Option<Written>> {
        let rows: Vec<RecordBatch> = rows.iter().map(|batch| conform(def, batch)).collect::<Result<_>>()?;
        let id = self.new_part_id();
        let index_values = self.options.index_values.as_ref();
        let target = Target { dir: &self.parts, id, def, partition, effort: Effort::Fast, index_values };
        write_rows(target, &rows, self.options.granule_rows, self.options.threads)
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
        let done = match self.try_flush(id, true) {
            // Rows were deleted that it had folded or left out.
            Err(Error::RowsChanged { .. }) => self.try_flush(id, false),
            other => other,
        };
        match done {
            // It was dropped, or truncated, while we wrote: nothing is left to flush.
            Err(Error::PartsChanged { .. } | Error::NoTable { .. }) => Ok(()),
            other => other,
        }
    }

    fn try_flush(&self, id: TableId, may_fold: bool) -> Result<()> {
        if self.state().tables.get(&id).is_none_or(|table| table.head.rows == 0) {
            return Ok(());
        }
        let sealed = self.submit(vec![Op::Seal { table: id }], Expect::default())?;
        let Some(table) = sealed.snapshot.table(id) else { return Ok(()) };
        let Some(sealed_at) = table.head.sealed_at else { return Ok(()) };
        let fold = self.options.collapse.as_ref().filter(|_| may_fold && table.def().collapse.is_some());
        let (mut parts, mut moved, now) = (Vec::new(), Vec::new(), now_micros());
        let mut lossy = fold.is_some();
        for (partition, runs) in table.head.sealed() {
            let mut rows = living_of(runs)?;
            if may_fold {
                let before: usize = rows.iter().map(RecordBatch::num_rows).sum();
                let kept = rows.into_iter().map(|rows| self.retained(table.def(), rows, now));
                rows = kept.collect::<Result<_>>()?;
                lossy |= rows.iter().map(RecordBatch::num_rows).sum::<usize>() < before;
            }
            if let Some(fold) = fold {
                rows = vec![fold_all(fold, table.def(), &rows)?];
            }
            let written = self.write_unsynced(table.def(), partition, rows)?;
            if !lossy {
                let order = written.as_ref().and_then(|written| written.order.as_ref());
                let order = order.map(|order| &order.values()[..]);
                let part = written.as_ref().map(|written| written.part.id());
                let sealed = runs.first..runs.sealed_end();
                moved.push((partition.clone(), Flushed::new(sealed, &runs.deleted, order, part)));
            }
            parts.extend(written.map(|written| written.part));
        }
        self.parts.sync()?;
        let late = match lossy {
            true => Late::Refused { seen: table.head.sealed_deleted() },
            false => self.moved(Moved::Flush(moved)),
        };
        self.submit(vec![Op::Flush { table: id, sealed_at, parts, late }], Expect::default()).map(drop)
    }
}

impl Shared {
    /// Remembers where rows are going.
    pub(crate) fn moved(&self, moved: Moved) -> Late {
        let moved = Arc::new(moved);
        self.moves.push(moved.clone());
        Late::Moved(moved)
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
