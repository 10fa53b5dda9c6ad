//! Groups of rows that do not change, remembered (`partial_cache`).
//!
//! A block whose states are known is not read: its task is dropped, and its states are merged with those of others. Of any other block the
//! states are made by themselves, kept, and merged too, so that the same states are merged whether they were known or not. Blocks in which
//! rows hardly meet, or whose states are large, are not kept; once one was met, the query's other rows are grouped as they come.
//!
//! A block's place among all morsels says where its groups first appeared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::groups::{Grouping, Groups};
use super::{Local, PartialGroups, Pass, combine};
use crate::error::Result;
use crate::exec::context::QueryContext;
use crate::exec::operator::Metrics;
use crate::exec::partial_cache::{Block, PartialCache, Question};
use crate::exec::pipeline::{Source, Task, Units, run_at, share_out};

/// Of so many rows one group is worth to be kept, and so many groups of any number of rows.
const ROWS_OF_GROUP: usize = 8;
const GROUPS_LEAST: usize = 64;
/// States of this many blocks and groups are merged at once.
const BLOCKS_TOGETHER: usize = 1024;
const GROUPS_TOGETHER: usize = 1 << 16;

/// What a thread takes at a time.
enum Work {
    /// Rows, and as what their states are kept.
    Rows { order: u64, task: Task, keep: Option<(u64, Block)> },
    /// States that are known, each with the position that its own are counted from.
    Known(Vec<(u64, Arc<PartialGroups>)>),
}

/// What the threads of one query keep.
struct Keeping<'a> {
    cache: &'a PartialCache,
    /// Bytes that the query may still fill: no question shall push out all others.
    room: AtomicUsize,
    /// Whether rows hardly meet.
    in_vain: AtomicBool,
}

/// Groups the rows of a scan's units.
pub(super) fn aggregate(
    grouping: &Arc<Grouping>,
    question: &Arc<Question>,
    units: Units,
    cache: &PartialCache,
    context: &Arc<QueryContext>,
    metrics: &Arc<Metrics>,
) -> Result<Arc<dyn Source>> {
    let Units { filters, unproven, units } = units;
    let shape = |list: &Vec<usize>| Some(cache.shape(question.with(list.iter().map(|&i| &filters[i]), context)?));
    let shapes: Vec<Option<u64>> = unproven.iter().map(shape).collect();
    let asked = units.iter().map(|unit| unit.block.as_ref().and_then(|(block, list)| Some((shapes[*list]?, block))));
    let (found, bytes) = cache.find(asked);

    let (mut work, mut known, mut groups) = (Vec::new(), Vec::new(), 0);
    let (mut remembered, mut computed) = (0, 0);
    for ((order, unit), found) in (0..).zip(units).zip(found) {
        let Some(states) = found else {
            computed += usize::from(unit.block.is_some());
            let keep = unit.block.and_then(|(block, list)| Some((shapes[list]?, block)));
            work.push(Work::Rows { order, task: unit.task, keep });
            continue;
        };
        remembered += 1;
        groups += states.len();
        known.push((order << 32, states));
        if known.len() == BLOCKS_TOGETHER || groups > GROUPS_TOGETHER {
            work.push(Work::Known(std::mem::take(&mut known)));
            groups = 0;
        }
    }
    if !known.is_empty() {
        work.push(Work::Known(known));
    }
    if remembered + computed > 0 {
        metrics.note("Blocks Remembered", remembered.to_string());
        metrics.note("Blocks Computed", computed.to_string());
    }
    let room = AtomicUsize::new(cache.query_bytes_max().saturating_sub(bytes));
    let keeping = Keeping { cache, room, in_vain: AtomicBool::new(false) };
    let count = work.len();
    let work = Mutex::new(work.into_iter());
    combine(grouping, context, metrics, |pass| {
        let claim = || Ok(work.lock().next());
        share_out(
            context,
            Some(count),
            claim,
            || pass.start(),
            |local, _, work| match work {
                Work::Known(known) => pass.merge(local, merged(&known)?),
                Work::Rows { order, task, keep: Some((shape, block)) } if !keeping.in_vain.load(Ordering::Relaxed) => {
                    keeping.block(pass, local, order, task, shape, &block)
                }
                Work::Rows { order, task, .. } => run_at(context, order, task, |at, batch| pass.add(local, at, batch)),
            },
        )
    })
}

/// Known states together.
fn merged(known: &[(u64, Arc<PartialGroups>)]) -> Result<PartialGroups> {
    let states: Vec<&PartialGroups> = known.iter().map(|(_, states)| &**states).collect();
    let first = known.iter().flat_map(|(at, states)| states.first.iter().map(move |first| at + first)).collect();
    Ok(PartialGroups { first, ..PartialGroups::concat(&states)? })
}

impl Keeping<'_> {
    /// Groups the rows of a block by themselves, keeps their states and merges them.
    fn block(
        &self,
        pass: &Pass<'_>,
        local: &mut Local,
        order: u64,
        task: Task,
        shape: u64,
        block: &Block,
    ) -> Result<()> {
        let Pass { grouping, context, .. } = *pass;
        let groups_max = (block.rows / ROWS_OF_GROUP).max(GROUPS_LEAST);
        let mut own = Some(Groups::new(grouping, &context.functions)?);
        run_at(context, order, task, |at, batch| {
            let Some(groups) = &mut own else { return pass.add(local, at, batch) };
            groups.update(grouping, at, &batch, context)?;
            let bytes = groups.memory();
            if groups.len() <= groups_max && local.held.fits(local.memory() + bytes)? {
                return Ok(());
            }
            self.in_vain.store(true, Ordering::Relaxed);
            match own.take() {
                Some(groups) => pass.merge(local, groups.states(grouping)?),
                None => Ok(()),
            }
        })?;
        let Some(groups) = own else { return Ok(()) };
        let states = groups.states(grouping)?;
        let (states, bytes) = states.detached(order << 32, grouping)?;
        let states = Arc::new(states);
        pass.merge(local, merged(&[(order << 32, states.clone())])?)?;
        if bytes > self.cache.entry_bytes_max() {
            self.in_vain.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let takes = |room: usize| room.checked_sub(bytes);
        if self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes).is_ok() {
            self.cache.keep(shape, block, states, bytes);
        }
        Ok(())
    }
}
