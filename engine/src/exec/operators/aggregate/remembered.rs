//! Groups of rows that do not change, remembered (`partial_cache`).
//!
//! A block whose states are known is not read: its task is dropped, and its states are merged with those of others. Of any other block the
//! states are made by themselves, kept, and merged too, so that the same states are merged whether they were known or not. Blocks in which
//! rows hardly meet, or whose states are large, are not kept; once one was met, the query's other rows are grouped as they come.
//!
//! Where blocks in a row are all known, what they come to together is kept too, and found in their place from then on: some in a row of
//! one part ([`RUN`]), all in a row of it, those of parts in a row. So states in which much is the same are merged once, not at every
//! question, and a question that is asked again merges few states, however many rows there are.
//!
//! A block's place among all morsels says where its groups first appeared.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::groups::{Grouping, Groups};
use super::{Local, Merged, PartialGroups, Pass, combine};
use crate::error::Result;
use crate::exec::context::QueryContext;
use crate::exec::operator::Metrics;
use crate::exec::partial_cache::{Block, PartialCache, Question};
use crate::exec::pipeline::{Task, Units, parallel, run_at, share_out};

/// Groups are worth to be kept if one row of so many meets another; and so many groups of any number of rows, since few rows tell nothing.
const MEETING: usize = 4;
const GROUPS_LEAST: usize = 1 << 13;
/// Blocks in a row are kept as one by so many.
const RUN: usize = 8;
/// Parts in a row are kept as one unless they have so many times as many rows as what follows.
const MORE_ROWS: usize = 8;
/// States of this many blocks and groups are merged at once.
const BLOCKS_TOGETHER: usize = 1024;
const GROUPS_TOGETHER: usize = 1 << 16;
/// Larger ones are merged alone.
const BYTES_TOGETHER: usize = 1 << 20;

/// States that are known, and the position that their own are counted from.
type Known = (u64, Arc<PartialGroups>);

/// What a thread takes at a time.
enum Work {
    /// Rows; as what their states are kept.
    Rows { order: u64, task: Task, keep: Option<Keep> },
    /// What is known, to be merged.
    Known(Vec<Known>),
}

/// As what states are kept: those of blocks in a row, by a shape.
struct Keep {
    shape: u64,
    blocks: Range<usize>,
}

/// The blocks of a query, by the number of their unit, each with the list of filters that it is not known to fulfil.
struct Blocks {
    blocks: Vec<Option<(Block, usize)>>,
    /// By list.
    shapes: Vec<Option<u64>>,
}

impl Blocks {
    /// Units in a row that are blocks, of which any two neighbours are of one list and have something else in common.
    fn rows(&self, in_common: impl Fn(&Block, &Block) -> bool) -> Vec<Range<usize>> {
        let belong = |a: &Option<(Block, usize)>, b: &Option<(Block, usize)>| match (a, b) {
            (Some((a, list)), Some((b, of))) => list == of && in_common(a, b),
            _ => false,
        };
        let mut start = 0;
        let row = |units: &[Option<(Block, usize)>]| {
            let row = start..start + units.len();
            start = row.end;
            (row.len() > 1).then_some(row)
        };
        self.blocks.chunk_by(belong).filter_map(row).collect()
    }

    /// Whether neighbours are of one part.
    fn is_one_part(&self, a: usize, b: usize) -> bool {
        matches!((self.blocks.get(a), self.blocks.get(b)), (Some(Some((a, _))), Some(Some((b, _)))) if same_part(a, b))
    }

    fn of(&self, units: Range<usize>) -> Vec<&Block> {
        self.blocks[units].iter().flatten().map(|(block, _)| block).collect()
    }

    fn shape(&self, unit: usize) -> Option<u64> {
        self.shapes[self.blocks[unit].as_ref()?.1]
    }

    /// Parts in a row, and runs of the head, as rows that are to be one: each has [`MORE_ROWS`] times as many rows as the next, so that what comes
    /// at the end changes the last ones. Parts that are there with some blocks only are left out. Those that a row was made of stand before it.
    fn chains(&self) -> Vec<Range<usize>> {
        let kind = |block: &Block| (*block.of).type_id();
        let mut chains = Vec::new();
        for row in self.rows(|a, b| kind(a) == kind(b)) {
            let mut bounds: Vec<usize> = vec![row.start];
            bounds.extend((row.start + 1..row.end).filter(|&unit| !self.is_one_part(unit - 1, unit)));
            bounds.push(row.end);
            let is_cut_before = row.start > 0 && self.is_one_part(row.start - 1, row.start);
            let is_cut_behind = self.is_one_part(row.end - 1, row.end);
            let mut last: Vec<(Range<usize>, usize)> = Vec::new();
            for part in bounds[usize::from(is_cut_before)..bounds.len() - usize::from(is_cut_behind)].windows(2) {
                let (mut chain, mut rows) = (part[0]..part[1], self.of(part[0]..part[1]).iter().map(|b| b.rows).sum());
                while let Some((before, more)) = last.pop_if(|(_, before)| *before < rows * MORE_ROWS) {
                    (chain, rows) = (before.start..chain.end, rows + more);
                    chains.push(chain.clone());
                }
                last.push((chain, rows));
            }
        }
        chains
    }
}

fn same_part(a: &Block, b: &Block) -> bool {
    Arc::ptr_eq(&a.of, &b.of)
}

/// What is known of a query's blocks.
struct Found<'a> {
    cache: &'a PartialCache,
    blocks: &'a Blocks,
    /// By the first unit: behind the last one, and the states.
    known: Vec<Option<(usize, Arc<PartialGroups>)>>,
    is_known: Vec<bool>,
    bytes: usize,
}

impl Found<'_> {
    /// Looks for what is kept of blocks in a row, if nothing is known of them yet.
    fn look(&mut self, units: Range<usize>) {
        if !self.is_known[units.clone()].contains(&true)
            && let Some(shape) = self.blocks.shape(units.start)
            && let Some((states, bytes)) = self.cache.find(shape, &self.blocks.of(units.clone()))
        {
            self.bytes += bytes;
            self.is_known[units.clone()].fill(true);
            self.known[units.start] = Some((units.end, states));
        }
    }

    /// What blocks in a row come to together, if all are known, by more than one entry.
    fn pieces(&self, units: &Range<usize>) -> Option<Vec<Known>> {
        let (mut at, mut pieces) = (units.start, Vec::new());
        while at < units.end {
            let (end, states) = self.known[at].as_ref().filter(|(end, _)| *end <= units.end)?;
            pieces.push((position(at), states.clone()));
            at = *end;
        }
        (pieces.len() > 1).then_some(pieces)
    }

    /// Has one entry in the place of pieces.
    fn replace(&mut self, units: Range<usize>, states: Arc<PartialGroups>) {
        self.known[units.clone()].fill(None);
        self.known[units.start] = Some((units.end, states));
    }
}

fn position(unit: usize) -> u64 {
    (unit as u64) << 32
}

/// What the threads of one query keep.
struct Keeping<'a> {
    cache: &'a PartialCache,
    blocks: &'a Blocks,
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
    let morsels = units.len();
    let shape = |list: &Vec<usize>| Some(cache.shape(question.with(list.iter().map(|&i| &filters[i]), context)?));
    let shapes = unproven.iter().map(shape).collect();
    let (blocks, tasks): (Vec<_>, Vec<Task>) = units.into_iter().map(|unit| (unit.block, unit.task)).unzip();
    let blocks = Blocks { blocks, shapes };
    let (known, is_known) = (vec![None; morsels], vec![false; morsels]);
    let mut found = Found { cache, blocks: &blocks, known, is_known, bytes: 0 };
    let levels = look(&blocks, &mut found);
    let room = AtomicUsize::new(cache.query_bytes_max().saturating_sub(found.bytes));
    let keeping = Keeping { cache, blocks: &blocks, room, in_vain: AtomicBool::new(false) };
    for rows in levels {
        keeping.rows(rows, &mut found, grouping, context)?;
    }

    let (mut work, mut known, mut groups) = (Vec::new(), Vec::new(), 0);
    for (unit, states) in found.known.into_iter().enumerate() {
        let Some((_, states)) = states else { continue };
        groups += states.len();
        known.push((position(unit), states));
        if known.len() == BLOCKS_TOGETHER || groups > GROUPS_TOGETHER {
            work.push(Work::Known(std::mem::take(&mut known)));
            groups = 0;
        }
    }
    work.extend((!known.is_empty()).then_some(Work::Known(known)));
    let (mut remembered, mut computed) = (0, 0);
    for (unit, task) in tasks.into_iter().enumerate() {
        if found.is_known[unit] {
            remembered += 1;
            continue;
        }
        computed += usize::from(blocks.blocks[unit].is_some());
        let keep = blocks.shape(unit).map(|shape| Keep { shape, blocks: unit..unit + 1 });
        work.push(Work::Rows { order: unit as u64, task, keep });
    }
    if remembered + computed > 0 {
        metrics.note("Blocks Remembered", remembered.to_string());
        metrics.note("Blocks Computed", computed.to_string());
    }
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
                Work::Known(known) => merge_known(pass, local, &known),
                Work::Rows { order, task, keep: Some(keep) } if !keeping.in_vain.load(Ordering::Relaxed) => {
                    keeping.block(pass, local, order, task, keep)
                }
                Work::Rows { order, task, .. } => run_at(context, order, task, |at, batch| pass.add(local, at, batch)),
            },
        )
    })
}

/// Looks for all blocks, by the longest rows of them first. Gives the rows that can be kept as one, the shortest first.
fn look(blocks: &Blocks, found: &mut Found<'_>) -> [Vec<Range<usize>>; 4] {
    let run = |size: usize| blocks.rows(move |a, b| same_part(a, b) && a.number / size == b.number / size);
    let (runs, long_runs, parts, mut chains) = (run(RUN), run(RUN * RUN), blocks.rows(same_part), blocks.chains());
    for row in chains.iter().rev().chain(&parts).chain(&long_runs).chain(&runs).cloned() {
        found.look(row);
    }
    for unit in (0..blocks.blocks.len()).filter(|&unit| blocks.blocks[unit].is_some()) {
        found.look(unit..unit + 1);
    }
    // A chain that is within another stands before it; only the whole is made.
    let mut from = usize::MAX;
    chains.reverse();
    chains.retain(|chain| {
        let is_whole = chain.start < from;
        from = from.min(chain.start);
        is_whole
    });
    [runs, long_runs, parts, chains]
}

/// Merges what is known. Large states are merged one by one: putting them together would only copy them.
fn merge_known(pass: &Pass<'_>, local: &mut Local, known: &[Known]) -> Result<()> {
    let is_large = |states: &PartialGroups| states.bytes() > BYTES_TOGETHER;
    for alike in known.chunk_by(|(_, a), (_, b)| a.is_typed_as(b) && !is_large(a) && !is_large(b)) {
        pass.merge(local, together(alike)?)?;
    }
    Ok(())
}

/// States whose columns are of the same types, together.
fn together(known: &[Known]) -> Result<PartialGroups> {
    let states: Vec<&PartialGroups> = known.iter().map(|(_, states)| &**states).collect();
    let first = known.iter().flat_map(|(at, states)| states.first.iter().map(move |first| at + first)).collect();
    Ok(PartialGroups { first, ..PartialGroups::concat(&states)? })
}

impl Keeping<'_> {
    /// Groups the rows of a block by themselves, keeps their states and merges them.
    fn block(&self, pass: &Pass<'_>, local: &mut Local, order: u64, task: Task, keep: Keep) -> Result<()> {
        let Pass { grouping, context, .. } = *pass;
        let rows: usize = self.blocks.of(keep.blocks.clone()).iter().map(|block| block.rows).sum();
        let groups_max = (rows - rows / MEETING).max(GROUPS_LEAST);
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
        let at = order << 32;
        let (states, is_kept) = self.keep(at, groups, keep, grouping)?;
        if !is_kept {
            self.in_vain.store(true, Ordering::Relaxed);
        }
        merge_known(pass, local, &[(at, states)])
    }

    /// Keeps those rows of blocks as one of which all is known.
    fn rows(
        &self,
        rows: Vec<Range<usize>>,
        found: &mut Found<'_>,
        grouping: &Arc<Grouping>,
        context: &Arc<QueryContext>,
    ) -> Result<()> {
        let ready = rows.into_iter().filter_map(|row| Some((self.blocks.shape(row.start)?, found.pieces(&row)?, row)));
        let ready: Vec<(u64, Vec<Known>, Range<usize>)> = ready.collect();
        let states = parallel(context, ready.len(), |i| {
            let (shape, pieces, row) = &ready[i];
            let bytes: usize = pieces.iter().map(|(_, states)| states.bytes()).sum();
            let mut held = context.memory.reservation("Aggregate");
            if bytes > self.cache.query_bytes_max() || !held.fits(2 * bytes)? {
                return Ok(None);
            }
            let mut groups = Groups::new(grouping, &context.functions)?;
            for alike in pieces.chunk_by(|(_, a), (_, b)| a.is_typed_as(b)) {
                groups.merge(grouping, &together(alike)?)?;
            }
            let keep = Keep { shape: *shape, blocks: row.clone() };
            Ok(Some(self.keep(position(row.start), groups, keep, grouping)?.0))
        })?;
        for ((_, _, row), states) in ready.into_iter().zip(states) {
            states.into_iter().for_each(|states| found.replace(row.clone(), states));
        }
        Ok(())
    }

    /// Keeps groups whose positions are counted from `at`; their states, and whether they are not too large to be kept.
    fn keep(
        &self,
        at: u64,
        groups: Groups,
        keep: Keep,
        grouping: &Arc<Grouping>,
    ) -> Result<(Arc<PartialGroups>, bool)> {
        let (states, bytes) = groups.kept_states(grouping)?.detached(at, grouping)?;
        let states = Arc::new(states);
        if bytes > self.cache.entry_bytes_max() {
            return Ok((states, false));
        }
        let takes = |room: usize| room.checked_sub(bytes);
        if self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes).is_ok() {
            self.cache.keep(keep.shape, &self.blocks.of(keep.blocks), states.clone(), bytes);
        }
        Ok((states, true))
    }
}
