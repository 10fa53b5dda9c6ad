//! Merges on request: OPTIMIZE, VACUUM, and the building of indexes ([`Store::optimize`]).
//!
//! What is there when the call begins is worked on, in a thread of its own at low priority, one merge at a time, and between merges
//! background work has its turn; parts that come meanwhile are left alone, so that the call ends under any ingest. The parts that one
//! merge takes are chosen by [`policy::gather_task`]: as many neighbours as memory allows, so that one part a partition is a matter of a
//! few passes. A merge that finds its inputs gone is no failure: the next look sees what stands there now.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::def::{PartId, TableId};
use crate::error::{Error, Result};
use crate::maintain::{MERGE_GRANULE_BYTES, by_partition};
use crate::merge::MergeTask;
use crate::policy::{self, MergeLimits, PartMeta};
use crate::priority;
use crate::shown::Shown;
use crate::state::TableState;
use crate::store::{Shared, Store};

/// How often a waiting caller asks whether to stop.
const ASK: Duration = Duration::from_millis(20);

/// What [`Store::optimize`] does to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Optimize {
    /// Each partition becomes as few parts as the limit of background merges allows.
    Merge,
    /// Each partition becomes one part.
    Final,
    /// Parts with deleted rows are written anew without them.
    Deleted,
    /// Parts that lack an index which is to be everywhere are written anew with it.
    Indexes,
}

impl Store {
    /// Merges the parts of a table, or of one partition of it; its head is flushed first. Neither readers nor writers wait. `stop` is
    /// asked now and then; the answer is `false` when it said yes before all was done.
    pub fn optimize(
        &self,
        table: TableId,
        partition: Option<&str>,
        how: Optimize,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool> {
        let shared = self.shared();
        if matches!(how, Optimize::Merge | Optimize::Final) {
            shared.flush(Some(table))?;
        }
        let stopped = Arc::new(AtomicBool::new(false));
        std::thread::scope(|scope| {
            let work = || {
                priority::give_way();
                shared.optimize(table, partition, how, &stopped)
            };
            let worker = std::thread::Builder::new().name("weir-optimize".into()).spawn_scoped(scope, work);
            let worker = worker.map_err(|error| Error::io("start a thread for", &shared.dir, error))?;
            while !worker.is_finished() {
                if stop() {
                    stopped.store(true, Ordering::Relaxed);
                }
                std::thread::park_timeout(ASK);
            }
            worker.join().unwrap_or_else(|_| Err(Error::invalid("a merge panicked")))
        })
    }
}

impl Shared {
    fn optimize(
        &self,
        table: TableId,
        partition: Option<&str>,
        how: Optimize,
        stopped: &Arc<AtomicBool>,
    ) -> Result<bool> {
        let state = self.state();
        let there = state.tables.get(&table).ok_or(Error::NoTable { table: table.0 })?;
        let of_partition = |part: &&Shown| partition.is_none_or(|partition| part.partition() == partition);
        let mut wanted: HashSet<PartId> = there.parts().iter().filter(of_partition).map(|part| part.id()).collect();
        drop(state);
        loop {
            // Background merges hold this for one merge at a time.
            let one = loop {
                if stopped.load(Ordering::Relaxed) {
                    return Ok(false);
                }
                if self.is_stopping() {
                    return Err(Error::Closed);
                }
                if let Some(one) = self.maintenance.try_merging(ASK) {
                    break one;
                }
            };
            let state = self.state();
            let Some(there) = state.tables.get(&table) else { return Ok(true) };
            let Some(parts) = self.next_task(there, &wanted, how)? else { return Ok(true) };
            let task = MergeTask { table, def: there.def().clone(), parts, stop: Some(stopped.clone()) };
            drop(state);
            let merged = self.merge(&task);
            drop(one);
            match merged {
                Ok(new) => {
                    wanted.retain(|id| !task.ids().contains(id));
                    if matches!(how, Optimize::Merge | Optimize::Final) {
                        wanted.extend(new);
                    }
                }
                Err(Error::PartsChanged { .. } | Error::RowsChanged { .. }) => {}
                Err(Error::Stopped) => return Ok(false),
                Err(Error::NoTable { .. }) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// The parts to merge next, if any.
    fn next_task(&self, table: &TableState, wanted: &HashSet<PartId>, how: Optimize) -> Result<Option<Vec<Shown>>> {
        let is_due = |part: &Shown| -> Result<bool> {
            Ok(match how {
                Optimize::Merge => false,
                Optimize::Deleted => part.deleted_rows() > 0,
                Optimize::Indexes => lacks_index(table, part)?,
                Optimize::Final => part.deleted_rows() > 0 || lacks_index(table, part)?,
            })
        };
        if matches!(how, Optimize::Merge | Optimize::Final) {
            let limits = MergeLimits {
                bytes_max: if how == Optimize::Final { u64::MAX } else { self.options.merge_bytes_max },
                granule_bytes_max: MERGE_GRANULE_BYTES,
                granule_rows: self.options.granule_rows as u64,
            };
            for parts in by_partition(table).into_values() {
                for run in parts.split(|part| !wanted.contains(&part.id())) {
                    let meta = |part: &&Shown| PartMeta {
                        bytes: part.bytes(),
                        rows: part.rows(),
                        deleted: part.deleted_rows(),
                        resting: false,
                    };
                    let metas: Vec<PartMeta> = run.iter().map(meta).collect();
                    if let Some(range) = policy::gather_task(&metas, &limits) {
                        return Ok(Some(run[range].iter().map(|&part| part.clone()).collect()));
                    }
                }
            }
        }
        for part in table.parts().iter().filter(|part| wanted.contains(&part.id())) {
            if is_due(part)? {
                return Ok(Some(vec![part.clone()]));
            }
        }
        Ok(None)
    }
}

impl Shared {
    /// In the background: a part that is to get an index.
    pub(crate) fn next_build(&self) -> Option<MergeTask> {
        let state = self.state();
        for (&id, table) in state.tables.iter().filter(|(_, table)| !table.def().indexes.is_empty()) {
            // A damaged part shows in the queries that need it, and in `check`.
            let due = |part: &&Shown| !self.is_resting(part.id()) && lacks_index(table, part).unwrap_or(false);
            if let Some(part) = table.parts().iter().find(due) {
                return Some(MergeTask { table: id, def: table.def().clone(), parts: vec![part.clone()], stop: None });
            }
        }
        None
    }
}

/// Whether a part is to get an index that it does not have.
fn lacks_index(table: &TableState, part: &Shown) -> Result<bool> {
    for index in table.def().indexes.iter().filter(|index| index.everywhere) {
        if part.index_bytes(index.id)?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}
