//! Groups of rows that do not change, remembered (`partial_cache`).
//!
//! A block whose states are known is not read: its task is dropped, and its states are merged with those of others. Of any other block the
//! states are made by themselves, kept, and merged too, so that the same states are merged whether they were known or not. Blocks in which
//! rows hardly meet, or whose states are large, are not kept; once one was met, the query's other rows are grouped as they come.
//!
//! Where eight blocks in a row are all known, what they come to together is kept too, and found in their place from then on: sets of values
//! that are much the same in all of them are merged once, not at every question.
//!
//! A block's place among all morsels says where its groups first appeared.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::groups::{Grouping, Groups};
use super::{Local, Merged, PartialGroups, Pass, combine};
use crate::error::Result;
use crate::exec::context::QueryContext;
use crate::exec::operator::Metrics;
use crate::exec::partial_cache::{Block, PartialCache, Question};
use crate::exec::pipeline::{Task, Unit, Units, run_at, share_out};

/// Of so many rows one group is worth to be kept, and so many groups of any number of rows.
const ROWS_OF_GROUP: usize = 8;
const GROUPS_LEAST: usize = 64;
/// So many blocks in a row are kept as one too, under numbers from `RUN_NUMBERS`.
const RUN: usize = 8;
const RUN_NUMBERS: usize = 1 << 40;
/// States of this many blocks and groups are merged at once.
const BLOCKS_TOGETHER: usize = 1024;
const GROUPS_TOGETHER: usize = 1 << 16;

/// What a thread takes at a time, and as what its states are kept.
enum Work {
    /// Rows.
    Rows { order: u64, task: Task, keep: Option<(u64, Block)> },
    /// States that are known, each with the position that its own are counted from.
    Known { states: Vec<(u64, Arc<PartialGroups>)>, keep: Option<(u64, Block)> },
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
) -> Result<Merged> {
    let Units { filters, unproven, units } = units;
    let shape = |list: &Vec<usize>| Some(cache.shape(question.with(list.iter().map(|&i| &filters[i]), context)?));
    let shapes: Vec<Option<u64>> = unproven.iter().map(shape).collect();
    let mut runs = runs(&units);
    let (of_runs, run_bytes) = cache.find(runs.iter().map(|run| Some((shapes[run.list]?, &run.block))));
    for (run, states) in runs.iter_mut().zip(of_runs) {
        run.states = states;
    }
    let morsels = units.len();
    let mut is_covered = vec![false; morsels];
    for run in runs.iter().filter(|run| run.states.is_some()) {
        is_covered[run.start..run.start + RUN].fill(true);
    }
    let asked = units.iter().zip(&is_covered).map(|(unit, is_covered)| {
        let (block, list) = unit.block.as_ref().filter(|_| !is_covered)?;
        Some((shapes[*list]?, block))
    });
    let (found, bytes) = cache.find(asked);

    let (mut work, mut known, mut groups) = (Vec::new(), Vec::new(), 0);
    let (mut remembered, mut computed, mut next) = (0, 0, 0);
    let mut runs = runs.into_iter().peekable();
    for (i, unit) in units.into_iter().enumerate() {
        if i < next {
            continue;
        }
        let at = (i as u64) << 32;
        let (mut states, mut blocks) = (found[i].clone(), 1);
        if let Some(run) = runs.next_if(|run| run.start == i) {
            let each = found[i..i + RUN].iter().zip(0..).map(|(states, nth)| Some((at + (nth << 32), states.clone()?)));
            if run.states.is_some() {
                (states, blocks) = (run.states, RUN);
            } else if let (Some(states), Some(shape)) = (each.collect(), shapes[run.list]) {
                work.push(Work::Known { states, keep: Some((shape, run.block)) });
                remembered += RUN;
                next = i + RUN;
                continue;
            }
        }
        let Some(states) = states else {
            computed += usize::from(unit.block.is_some());
            let keep = unit.block.and_then(|(block, list)| Some((shapes[list]?, block)));
            work.push(Work::Rows { order: i as u64, task: unit.task, keep });
            continue;
        };
        remembered += blocks;
        next = i + blocks;
        groups += states.len();
        known.push((at, states));
        if known.len() == BLOCKS_TOGETHER || groups > GROUPS_TOGETHER {
            work.push(Work::Known { states: std::mem::take(&mut known), keep: None });
            groups = 0;
        }
    }
    if !known.is_empty() {
        work.push(Work::Known { states: known, keep: None });
    }
    if remembered + computed > 0 {
        metrics.note("Blocks Remembered", remembered.to_string());
        metrics.note("Blocks Computed", computed.to_string());
    }
    let room = AtomicUsize::new(cache.query_bytes_max().saturating_sub(bytes + run_bytes));
    let keeping = Keeping { cache, room, in_vain: AtomicBool::new(false) };
    let count = work.len();
    let work = Mutex::new(work.into_iter());
    combine(grouping, Some(morsels), context, metrics, |pass| {
        let claim = || Ok(work.lock().next());
        share_out(
            context,
            Some(count),
            claim,
            || pass.start(),
            |local, _, work| match work {
                Work::Known { states, keep: None } => pass.merge(local, merged(&states)?),
                Work::Known { states, keep: Some((shape, block)) } => keeping.run(pass, local, &states, shape, &block),
                Work::Rows { order, task, keep: Some((shape, block)) } if !keeping.in_vain.load(Ordering::Relaxed) => {
                    keeping.block(pass, local, order, task, shape, &block)
                }
                Work::Rows { order, task, .. } => run_at(context, order, task, |at, batch| pass.add(local, at, batch)),
            },
        )
    })
}

/// Blocks in a row that may be kept as one.
struct Run {
    /// Which unit is the first.
    start: usize,
    /// Which list of filters they are not known to fulfil.
    list: usize,
    block: Block,
    states: Option<Arc<PartialGroups>>,
}

/// Runs of blocks of one part, of which no row is deleted.
fn runs(units: &[Unit]) -> Vec<Run> {
    let mut runs = Vec::new();
    for (start, units) in units.windows(RUN).enumerate() {
        let Some((first, list)) = units[0].block.as_ref().filter(|(block, _)| block.number % RUN == 0) else {
            continue;
        };
        let follows = |(unit, number): (&Unit, usize)| {
            unit.block.as_ref().is_some_and(|(block, of)| {
                block.number == number && of == list && Arc::ptr_eq(&block.of, &first.of) && block.deleted.is_empty()
            })
        };
        if !units.iter().zip(first.number..).all(follows) {
            continue;
        }
        let block = Block {
            of: first.of.clone(),
            def: first.def.clone(),
            number: RUN_NUMBERS + first.number / RUN,
            deleted: Vec::new(),
            rows: units.iter().filter_map(|unit| Some(unit.block.as_ref()?.0.rows)).sum(),
            blocks: RUN,
        };
        runs.push(Run { start, list: *list, block, states: None });
    }
    runs
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
            pass.look_for_first(at, groups)?;
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
        if !self.settle(pass, local, order << 32, groups, (shape, block))? {
            self.in_vain.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Keeps what known blocks come to together, and merges it.
    fn run(
        &self,
        pass: &Pass<'_>,
        local: &mut Local,
        known: &[(u64, Arc<PartialGroups>)],
        shape: u64,
        block: &Block,
    ) -> Result<()> {
        let bytes: usize = known.iter().map(|(_, states)| states.bytes()).sum();
        let states = merged(known)?;
        if bytes > self.cache.entry_bytes_max().min(self.room.load(Ordering::Relaxed)) {
            return pass.merge(local, states);
        }
        let mut groups = Groups::new(pass.grouping, &pass.context.functions)?;
        groups.merge(pass.grouping, &states)?;
        match (known, local.held.fits(local.memory() + groups.memory())?) {
            ([(at, _), ..], true) => self.settle(pass, local, *at, groups, (shape, block)).map(drop),
            _ => pass.merge(local, states),
        }
    }

    /// Keeps groups whose positions are counted from `at`, and merges them; whether they are not too large to be kept.
    fn settle(
        &self,
        pass: &Pass<'_>,
        local: &mut Local,
        at: u64,
        groups: Groups,
        (shape, block): (u64, &Block),
    ) -> Result<bool> {
        let (states, bytes) = groups.states(pass.grouping)?.detached(at, pass.grouping)?;
        let states = Arc::new(states);
        pass.merge(local, merged(&[(at, states.clone())])?)?;
        if bytes > self.cache.entry_bytes_max() {
            return Ok(false);
        }
        let takes = |room: usize| room.checked_sub(bytes);
        if self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes).is_ok() {
            self.cache.keep(shape, block, states, bytes);
        }
        Ok(true)
    }
}
