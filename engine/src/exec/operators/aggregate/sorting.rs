//! Rows of groups' states, sorted on disk.
//!
//! What needs a group's rows in order (a quantile, an aggregate with ORDER BY) need not hold them: they are written as runs, by group and key, and the merge
//! of these passes them to the accumulator piece by piece.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, UInt32Array};
use arrow::datatypes::UInt32Type;

use crate::aggregates::{Accumulator, flatten};
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::runs::{Run, RunWriter, merge};
use crate::exec::spill::SpillFile;

/// Bytes of rows that are sorted at once, at least.
const SORTED_LEAST: usize = 64 << 10;

/// The rows of one call, of all groups.
#[derive(Default)]
pub(super) struct Sorting {
    runs: Vec<Run>,
    /// How many rows each group has.
    counts: Vec<usize>,
}

impl Sorting {
    /// Adds the rows of states, which belong to these groups.
    pub(super) fn add(
        &mut self,
        of: &dyn Accumulator,
        states: &[ArrayRef],
        groups: &[u32],
        file: &SpillFile,
        context: &QueryContext,
    ) -> Result<()> {
        let (columns, owners) = flatten(states, groups)?;
        let rows = Batch::new(columns, owners.len());
        let pieces = rows.bytes().div_ceil((context.memory.share(0) / 4).max(SORTED_LEAST)).max(1);
        let size = rows.rows.div_ceil(pieces).max(1);
        for start in (0..rows.rows).step_by(size) {
            context.cancel.check()?;
            let mut rows = rows.slice(start, size.min(rows.rows - start));
            let owners = &owners[start..start + rows.rows];
            for &group in owners {
                let group = group as usize;
                self.counts.resize(self.counts.len().max(group + 1), 0);
                self.counts[group] += 1;
            }
            let keys = of.sort_keys(&rows.columns)?;
            // Without keys all rows of a group are equal, and encode to no rows at all.
            let key = |row: u32| (keys.num_rows() > 0).then(|| keys.row(row as usize));
            let mut order: Vec<u32> = (0..rows.rows as u32).collect();
            order.sort_unstable_by(|&a, &b| {
                owners[a as usize].cmp(&owners[b as usize]).then_with(|| key(a).cmp(&key(b)))
            });
            rows.columns.push(Arc::new(UInt32Array::from(owners.to_vec())));
            let mut writer = RunWriter::new(file);
            for order in order.chunks(context.batch_rows.max(1)) {
                let keys = BinaryArray::from_iter_values(order.iter().map(|&row| {
                    let key = key(row);
                    [&owners[row as usize].to_be_bytes()[..], key.as_ref().map_or(&[][..], |key| key.as_ref())].concat()
                }));
                writer.push(rows.take(&UInt32Array::from(order.to_vec()))?, keys)?;
            }
            self.runs.extend(writer.finish()?);
        }
        Ok(())
    }

    /// Passes all rows to the accumulator, in order. `held` is asked to hold what it has come to hold after each piece.
    pub(super) fn pass(
        mut self,
        to: &mut dyn Accumulator,
        n_groups: usize,
        file: &Arc<SpillFile>,
        context: &Arc<QueryContext>,
        mut held: impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        self.counts.resize(n_groups, 0);
        let rows = merge(context, file.clone(), self.runs)?;
        while let Some(piece) = rows.claim()? {
            context.cancel.check()?;
            piece(&mut |mut batch| {
                let owners = batch.columns.pop();
                let owners = owners.as_ref().and_then(|owners| owners.as_primitive_opt::<UInt32Type>());
                let owners = owners.ok_or_else(|| Error::internal("sorted rows lack their groups"))?;
                to.in_order(&batch.columns, owners.values(), &self.counts)?;
                held(to.memory())
            })?;
        }
        Ok(())
    }
}
