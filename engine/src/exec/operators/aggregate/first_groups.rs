//! LIMIT over groups that nothing sorts: only the first groups are made.
//!
//! Groups come in the order in which they first appear. Once the first rows of all have as many groups as are asked for, these are the ones,
//! and rows of all others can be passed over. The first rows are those of the first morsel: the thread that groups it says which groups it
//! met ([`FirstGroups::look`]), and all threads try their rows with those from then on ([`FirstGroups::rows`]). Nobody waits for that: a group
//! that a thread made before comes behind them, where the LIMIT ends. So the answer does not depend on which rows were passed over.
//!
//! If the first morsel has fewer groups, or if most rows are of the first groups, all rows are grouped.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::{Grouping, Groups};
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::arrays;
use crate::exec::groups::{ABSENT, GroupTable};
use crate::exec::keys;
use crate::exec::memory::Reservation;

/// Larger LIMITs are rarely met by the first morsel.
pub(super) const WANTED_MAX: usize = 10_000;
/// After so many rows it is looked whether it pays to try them.
const TRIED_LEAST: usize = 1 << 16;

/// The first groups of all rows, which one query looks for.
pub(super) struct FirstGroups {
    wanted: usize,
    found: OnceLock<(GroupTable, Reservation)>,
    /// Rows that were looked up, and how many of them are of these groups.
    tried: AtomicUsize,
    kept: AtomicUsize,
}

impl FirstGroups {
    pub(super) fn new(wanted: usize) -> FirstGroups {
        FirstGroups { wanted, found: OnceLock::new(), tried: AtomicUsize::new(0), kept: AtomicUsize::new(0) }
    }

    /// Looks whether the first of all groups are among those of a thread that has just been given rows at position `at`.
    pub(super) fn look(&self, at: u64, groups: &Groups, grouping: &Grouping, context: &QueryContext) -> Result<()> {
        let is_first_morsel = at >> 32 == 0;
        if !is_first_morsel || self.found.get().is_some() {
            return Ok(());
        }
        let Some(keys) = groups.leading(self.wanted)? else { return Ok(()) };
        let mut table = GroupTable::new(&grouping.key_types)?;
        table.intern(&keys, self.wanted, &mut Vec::new())?;
        let mut held = context.memory.reservation("Aggregate");
        if held.fits(table.memory())? {
            self.found.get_or_init(|| (table, held));
        }
        Ok(())
    }

    /// The rows of a batch that are worth grouping.
    pub(super) fn rows(&self, batch: Batch, grouping: &Grouping, context: &Arc<QueryContext>) -> Result<Batch> {
        let Some((table, _)) = self.found.get() else { return Ok(batch) };
        let tried = self.tried.load(Ordering::Relaxed);
        if tried >= TRIED_LEAST && self.kept.load(Ordering::Relaxed) * 2 > tried {
            return Ok(batch);
        }
        let normal = keys::normalize_all(&grouping.key_types, &arrays(&grouping.keys, &batch, context)?)?;
        let mut groups = Vec::new();
        table.lookup(&keys::decoded(&normal)?, batch.rows, &mut groups)?;
        let kept: Vec<u32> = (0..).zip(groups).filter(|(_, group)| *group != ABSENT).map(|(row, _)| row).collect();
        self.tried.fetch_add(batch.rows, Ordering::Relaxed);
        self.kept.fetch_add(kept.len(), Ordering::Relaxed);
        if kept.len() == batch.rows { Ok(batch) } else { batch.take(&kept.into()) }
    }
}
