//! GROUP BY: a group table and accumulators a thread, then one merge.
//!
//! Every thread has a [`Groups`] of its own. At the end these are merged: few groups into one table; many by hash, each thread's groups split
//! into partitions that are then merged side by side. A thread that finds that hardly any rows meet in its groups gives up on them: each row is a
//! group by itself then, and what meets does so in the partitions, whose tables are small. Results come in the order in which the groups
//! first appeared in the input, whatever threads did; or as they are merged, each with where that was.
//!
//! A thread whose groups do not fit writes their partial states to disk, by hash into partitions, and begins anew; then each partition is
//! merged by itself, split again if need be, and its results become a run in the order of first appearance. Without keys there is one
//! group, which has to fit but for the sets of its DISTINCT arguments and the rows that its calls want in order.
//!
//! What groups come to over rows that do not change is remembered, where that pays (`remembered`). Under a LIMIT only the first groups are made
//! (`first_groups`).
//!
//! Where equal keys can look different (numerics of several scales, intervals), the group shows the one whose bytes are least.

mod first_groups;
mod groups;
mod partial;
mod remembered;
mod sorting;
mod spilled;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, UInt64Array};
use parking_lot::Mutex;
use weir_sql::plan::{AggregateCall, Expr, Plan};
use weir_sql::{rules, walk};

use self::first_groups::{FirstGroups, WANTED_MAX};
pub(crate) use self::groups::{Call, Grouping, Groups};
use self::partial::PARTITIONS;
pub(crate) use self::partial::PartialGroups;
use self::spilled::Spilled;
use super::limit::Held;
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::memory::Reservation;
use crate::exec::operator::{Description, Metrics, Node, Opened, Operator};
use crate::exec::partial_cache::Question;
use crate::exec::pipeline::{Numbered, Source, drain, parallel};
use crate::exec::runs::gather;
use crate::exec::top_bound::cannot_fail;
use crate::functions::registry;

/// Up to this many groups of all threads are merged by one thread.
const MERGED_ALONE: usize = 1 << 14;
/// With this many groups it is looked whether rows meet in them.
const LOOKED_AT: usize = 1 << 16;
/// They do where so large a share of the rows found a group that was there,
const MEETING: f64 = 0.3;
/// or where a group is going to have so many rows of each thread.
const ROWS_OF_GROUP: f64 = 3.0;

pub(crate) struct Aggregate {
    input: Node,
    grouping: Arc<Grouping>,
    keys: String,
    /// What is asked of a table's rows, if the answer may be remembered.
    question: Option<Arc<Question>>,
    /// Whether a row may be passed over without its error being missed.
    may_pass_over: bool,
}

impl Aggregate {
    pub(crate) fn new(
        input: Node,
        keys: &[Expr],
        calls: &[AggregateCall],
        always: &[i32],
        context: &Arc<QueryContext>,
    ) -> Result<Aggregate> {
        let text = explain::expressions(keys, &explain::names(&input.columns));
        let mut may_pass_over = always.is_empty() && !keys.iter().any(|key| rules::is_volatile(key, registry()));
        let mut look = |part: &Expr| may_pass_over &= cannot_fail(part);
        calls.iter().for_each(|call| walk::aggregate_parts(call, &mut look));
        let grouping = Grouping::new(keys, calls, context)?.with_always(always);
        Ok(Aggregate { input, grouping: Arc::new(grouping), keys: text, question: None, may_pass_over })
    }

    /// The same over the rows of a plan that does not depend on the rest of the query.
    pub(crate) fn remembering(
        self,
        input: &Plan,
        keys: &[Expr],
        calls: &[AggregateCall],
        context: &Arc<QueryContext>,
    ) -> Aggregate {
        let question = context.cache.as_ref().and_then(|_| Question::new(input, keys, calls, context));
        Aggregate { question: question.map(Arc::new), ..self }
    }
}

impl Operator for Aggregate {
    fn describe(&self) -> Description {
        if self.keys.is_empty() {
            return Description::new("Aggregate");
        }
        let description = Description::new("HashAggregate").with("Group Key", self.keys.clone());
        match self.grouping.wanted {
            Some(wanted) => description.with("Limit", wanted.to_string()),
            None => description,
        }
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        self.merged(context, metrics)?.in_order(context)
    }

    fn open_unordered(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Opened> {
        self.merged(context, metrics)?.unordered(context)
    }

    fn want_first(&mut self, rows: usize) {
        let is_of_use = self.may_pass_over && !self.keys.is_empty() && (1..=WANTED_MAX).contains(&rows);
        // Nobody else has it before the operator is opened.
        if let Some(grouping) = Arc::get_mut(&mut self.grouping).filter(|_| is_of_use) {
            grouping.wanted = Some(rows);
        }
    }
}

impl Aggregate {
    /// Groups all rows.
    fn merged(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Merged> {
        self.grouping.prepare(context);
        let input = self.input.open(context)?;
        if let (Some(cache), Some(question)) = (&context.cache, &self.question)
            && let Some(units) = input.units()?
        {
            return remembered::aggregate(&self.grouping, question, units, cache, context, metrics);
        }
        grouped(&self.grouping, input.as_ref(), context, metrics)
    }
}

/// Groups all rows of a source.
pub(crate) fn aggregate(
    grouping: &Arc<Grouping>,
    input: &dyn Source,
    context: &Arc<QueryContext>,
    metrics: &Arc<Metrics>,
) -> Result<Arc<dyn Source>> {
    grouped(grouping, input, context, metrics)?.in_order(context)
}

fn grouped(
    grouping: &Arc<Grouping>,
    input: &dyn Source,
    context: &Arc<QueryContext>,
    metrics: &Arc<Metrics>,
) -> Result<Merged> {
    combine(grouping, input.morsels(), context, metrics, |pass| {
        drain(context, input, || pass.start(), |local, at, batch| pass.add(local, at, batch))
    })
}

/// Merges the partial states of a source's rows; `split` says which columns are what.
pub(crate) fn merge_states(
    grouping: &Arc<Grouping>,
    input: &dyn Source,
    context: &Arc<QueryContext>,
    metrics: &Arc<Metrics>,
    split: impl Fn(u64, Batch) -> PartialGroups + Sync,
) -> Result<Arc<dyn Source>> {
    combine(grouping, None, context, metrics, |pass| {
        drain(context, input, || pass.start(), |local, at, batch| pass.merge(local, split(at, batch)))
    })?
    .in_order(context)
}

/// What one thread has grouped.
struct Local {
    groups: Groups,
    held: Reservation,
    /// How many rows it had.
    rows: usize,
    /// Whether it gave up.
    apart: bool,
    /// Groups that it gave up, by partition.
    parts: Vec<Vec<PartialGroups>>,
    /// The dictionaries of the keys of the last of them.
    dictionaries: Vec<ArrayRef>,
    /// Their bytes.
    bytes: usize,
}

impl Local {
    fn memory(&self) -> usize {
        self.groups.memory() + self.bytes
    }

    /// Whether rows hardly meet, and will not by the end. `done` is the share of the input that was taken.
    fn is_in_vain(&self, done: f64) -> bool {
        if self.apart || self.groups.len() < LOOKED_AT {
            return false;
        }
        let (rows, groups) = (self.rows as f64, self.groups.len() as f64);
        let met = (1.0 - groups / rows).max(0.0);
        // Of n keys at random, r rows find n (1 - exp(-r / n)): so many keys there are, to the second order.
        let keys = rows / (2.0 * met * (1.0 + 2.0 / 3.0 * met));
        met < MEETING && rows / done < keys * ROWS_OF_GROUP
    }

    /// Writes all groups to disk, and begins anew.
    fn spill(&mut self, spilled: &Spilled, grouping: &Grouping, context: &Arc<QueryContext>) -> Result<()> {
        let groups = std::mem::replace(&mut self.groups, Groups::new(grouping, &context.functions)?);
        spilled.add(groups.states(grouping)?, 0, grouping, context)?;
        for (partition, pieces) in std::mem::take(&mut self.parts).into_iter().enumerate() {
            for partial in joined(pieces)? {
                spilled.add_to(partition, partial.decoded()?, context)?;
            }
        }
        (self.bytes, self.rows) = (0, 0);
        self.held.resize(0)
    }

    /// Puts groups into the partitions.
    fn divide(&mut self, partial: PartialGroups, grouping: &Grouping) -> Result<()> {
        let partial = partial.compacted();
        self.bytes += partial.bytes();
        self.parts.resize_with(PARTITIONS, Vec::new);
        for (part, partial) in self.parts.iter_mut().zip(partial.by_partition(0, grouping)?) {
            part.extend((partial.len() > 0).then_some(partial));
        }
        Ok(())
    }
}

/// What all threads have in common while they group.
struct Pass<'a> {
    grouping: &'a Arc<Grouping>,
    context: &'a Arc<QueryContext>,
    spilled: Spilled,
    may_give_up: bool,
    first_groups: Option<FirstGroups>,
    /// Of the input, if that is known and positions count them.
    morsels: Option<usize>,
}

impl Pass<'_> {
    fn start(&self) -> Result<Local> {
        let groups = Groups::new(self.grouping, &self.context.functions)?;
        let held = self.context.memory.reservation("Aggregate");
        let (parts, dictionaries) = (Vec::new(), Vec::new());
        Ok(Local { groups, held, rows: 0, apart: false, parts, dictionaries, bytes: 0 })
    }

    /// Adds rows, the first of which stands at position `at`.
    fn add(&self, local: &mut Local, at: u64, batch: Batch) -> Result<()> {
        let batch = match &self.first_groups {
            Some(first_groups) => first_groups.rows(batch, self.grouping, self.context)?,
            None => batch,
        };
        local.rows += batch.rows;
        match local.apart {
            true => {
                let apart = Groups::apart(self.grouping, at, &batch, self.context)?;
                let apart = apart.decoded_unless(&mut local.dictionaries)?;
                local.divide(apart, self.grouping)?;
            }
            false => local.groups.update(self.grouping, at, &batch, self.context)?,
        }
        self.look_for_first(at, &local.groups)?;
        self.added(local, at)
    }

    /// Under a LIMIT, looks whether the first groups are known by now.
    fn look_for_first(&self, at: u64, groups: &Groups) -> Result<()> {
        let look = |first: &FirstGroups| first.look(at, groups, self.grouping, self.context);
        self.first_groups.as_ref().map_or(Ok(()), look)
    }

    /// Adds partial states.
    fn merge(&self, local: &mut Local, partial: PartialGroups) -> Result<()> {
        let at = partial.first.last().copied().unwrap_or_default();
        local.rows += partial.len();
        match local.apart {
            true => local.divide(partial, self.grouping)?,
            false => local.groups.merge(self.grouping, &partial)?,
        }
        self.added(local, at)
    }

    /// Asks to hold what there is now; what does not fit goes to disk.
    fn added(&self, local: &mut Local, at: u64) -> Result<()> {
        let (grouping, context) = (self.grouping, self.context);
        if grouping.is_one() && !local.groups.divides() {
            return local.held.resize(local.groups.memory());
        }
        let done = self.morsels.map_or(1.0, |morsels| ((at >> 32) + 1) as f64 / morsels as f64);
        if self.may_give_up && local.is_in_vain(done) {
            let groups = std::mem::replace(&mut local.groups, Groups::new(grouping, &context.functions)?);
            local.divide(groups.coded_states(grouping)?, grouping)?;
            local.apart = true;
        }
        if !local.held.fits(local.memory())? {
            local.spill(&self.spilled, grouping, context)?;
        }
        Ok(())
    }
}

/// Merges the groups of all threads, which `gather` fills.
fn combine<'a>(
    grouping: &'a Arc<Grouping>,
    morsels: Option<usize>,
    context: &'a Arc<QueryContext>,
    metrics: &Arc<Metrics>,
    gather: impl FnOnce(&Pass<'a>) -> Result<Vec<Local>>,
) -> Result<Merged> {
    let may_give_up = !grouping.is_one() && grouping.has_small_states();
    let first_groups = grouping.wanted.map(FirstGroups::new);
    let pass = Pass { grouping, context, spilled: Spilled::default(), may_give_up, first_groups, morsels };
    let mut locals = gather(&pass)?;
    let spilled = pass.spilled;
    metrics.memory.fetch_max(locals.iter().map(|local| local.held.peak()).sum(), Ordering::Relaxed);
    let total: usize = locals.iter().map(|local| local.groups.len()).sum();
    let by_partition = locals.iter().any(|local| local.apart) || locals.len() > 1 && total > MERGED_ALONE;
    // What is merged is there twice for a while, and half as much again where it becomes many tables.
    let bytes: usize = locals.iter().map(Local::memory).sum();
    let fits = match locals.as_mut_slice() {
        [first, ..] if by_partition => first.held.granted(first.held.bytes() + 2 * bytes)?,
        [first, _, ..] => first.held.granted(first.held.bytes() + bytes)?,
        _ => true,
    };
    if spilled.any() || !fits {
        for mut local in locals {
            if grouping.is_one() {
                local.groups.ensure_one();
            }
            local.groups.ensure_always(grouping)?;
            local.spill(&spilled, grouping, context)?;
        }
        return Ok(Merged::OnDisk(spilled.finish(grouping, context, metrics)?));
    }
    if by_partition {
        return partitioned(grouping, locals, context);
    }
    let Some(Local { groups: mut all, mut held, .. }) = locals.pop() else {
        return Err(Error::internal("a drain has a local state"));
    };
    // What the others hold is given back once it is merged.
    let (others, others_held): (Vec<Groups>, Vec<Reservation>) =
        locals.into_iter().map(|local| (local.groups, local.held)).unzip();
    all.unite(grouping, others, context)?;
    drop(others_held);
    if grouping.is_one() {
        all.ensure_one();
    }
    all.ensure_always(grouping)?;
    held.resize(all.memory())?;
    let (batch, first) = all.finish(grouping)?;
    Ok(Merged::Held { batches: vec![batch], first: vec![first], held: vec![held] })
}

/// Merges groups by hash, side by side.
fn partitioned(grouping: &Arc<Grouping>, locals: Vec<Local>, context: &Arc<QueryContext>) -> Result<Merged> {
    let locals = Mutex::new(locals.into_iter().map(Some).collect::<Vec<_>>());
    let count = locals.lock().len();
    let divided = parallel(context, count, |i| {
        let Some(mut local) = locals.lock()[i].take() else {
            return Err(Error::internal("a local state is merged once"));
        };
        let groups = std::mem::replace(&mut local.groups, Groups::new(grouping, &context.functions)?);
        local.divide(groups.coded_states(grouping)?, grouping)?;
        Ok((local.parts, local.held))
    })?;
    let (parts, held): (Vec<Vec<Vec<PartialGroups>>>, Vec<Reservation>) = divided.into_iter().unzip();
    let mut pieces: Vec<Vec<PartialGroups>> = (0..PARTITIONS).map(|_| Vec::new()).collect();
    for parts in parts {
        pieces.iter_mut().zip(parts).for_each(|(all, own)| all.extend(own));
    }
    let pieces = pieces.into_iter().map(Mutex::new).collect();
    Ok(Merged::Divided(Divided { grouping: grouping.clone(), pieces, held }))
}

/// The groups of each partition, not merged yet.
struct Divided {
    grouping: Arc<Grouping>,
    pieces: Vec<Mutex<Vec<PartialGroups>>>,
    /// Merging them is within what was granted for it before.
    held: Vec<Reservation>,
}

impl Divided {
    /// The results of one partition, once, where each of its groups first appeared, and the bytes that its groups took.
    fn finish(&self, partition: usize, context: &Arc<QueryContext>) -> Result<(Batch, Vec<u64>, usize)> {
        let mut groups = Groups::new(&self.grouping, &context.functions)?;
        let pieces = std::mem::take(&mut *self.pieces[partition].lock());
        context.cancel.check()?;
        for partial in joined(pieces)? {
            groups.merge(&self.grouping, &partial)?;
        }
        let bytes = groups.memory();
        let (batch, first) = groups.finish(&self.grouping)?;
        Ok((batch, first, bytes))
    }

    /// All results, side by side.
    fn merged(mut self, context: &Arc<QueryContext>) -> Result<Merged> {
        let finished = parallel(context, PARTITIONS, |partition| self.finish(partition, context))?;
        let mut held = std::mem::take(&mut self.held);
        held.truncate(1);
        if let Some(held) = held.first_mut() {
            held.resize(finished.iter().map(|(_, _, bytes)| bytes).sum())?;
        }
        let (batches, first) = finished.into_iter().map(|(batch, first, _)| (batch, first)).unzip();
        Ok(Merged::Held { batches, first, held })
    }
}

/// Pieces with keys in codes of the same dictionaries as one.
fn joined(pieces: Vec<PartialGroups>) -> Result<Vec<PartialGroups>> {
    let mut alike: Vec<Vec<PartialGroups>> = Vec::new();
    for piece in pieces {
        match alike.iter_mut().find(|alike| alike[0].is_coded_as(&piece)) {
            Some(alike) => alike.push(piece),
            None => alike.push(vec![piece]),
        }
    }
    alike.iter().map(|pieces| PartialGroups::concat(pieces)).collect()
}

/// All groups and their results.
enum Merged {
    /// On disk, in the order in which they first appeared.
    OnDisk(Arc<dyn Source>),
    /// In memory, and where each first appeared.
    Held {
        batches: Vec<Batch>,
        first: Vec<Vec<u64>>,
        held: Vec<Reservation>,
    },
    Divided(Divided),
}

impl Merged {
    /// As they come.
    fn unordered(self, context: &Arc<QueryContext>) -> Result<Opened> {
        let Merged::Divided(divided) = self else {
            return Ok(Opened { source: self.in_order(context)?, is_placed: false });
        };
        let context = context.clone();
        let source = Numbered::new(PARTITIONS, move |partition, emit| {
            let (mut batch, first, _) = divided.finish(partition, &context)?;
            batch.columns.push(Arc::new(UInt64Array::from(first)));
            chunks(&batch, context.batch_rows.max(1)).try_for_each(emit)
        });
        Ok(Opened { source: Arc::new(source), is_placed: true })
    }

    /// By where they first appeared.
    fn in_order(self, context: &Arc<QueryContext>) -> Result<Arc<dyn Source>> {
        match self {
            Merged::OnDisk(source) => Ok(source),
            Merged::Held { batches, first, held } => in_order(batches, first, held, context),
            Merged::Divided(divided) => divided.merged(context)?.in_order(context),
        }
    }
}

fn chunks(batch: &Batch, size: usize) -> impl Iterator<Item = Batch> {
    (0..batch.rows).step_by(size).map(move |start| batch.slice(start, size.min(batch.rows - start)))
}

/// Groups by where they first appeared.
fn in_order(
    batches: Vec<Batch>,
    first: Vec<Vec<u64>>,
    held: Vec<Reservation>,
    context: &Arc<QueryContext>,
) -> Result<Arc<dyn Source>> {
    let size = context.batch_rows.max(1);
    if let ([batch], [first]) = (batches.as_slice(), first.as_slice())
        && first.is_sorted()
    {
        return Ok(Arc::new(Held::new(chunks(batch, size).collect(), held)));
    }
    let mut order: Vec<(u64, u32, u32)> = Vec::with_capacity(first.iter().map(Vec::len).sum());
    for (piece, first) in first.iter().enumerate() {
        order.extend(first.iter().enumerate().map(|(row, &at)| (at, piece as u32, row as u32)));
    }
    context.cancel.check()?;
    radsort::sort_by_key(&mut order, |&(at, _, _)| at);
    let columns = batches.first().map_or(0, |b| b.columns.len());
    Ok(Arc::new(Numbered::new(order.len().div_ceil(size), move |i, emit| {
        let _ = &held;
        let run = &order[i * size..((i + 1) * size).min(order.len())];
        let places: Vec<_> = run.iter().map(|&(_, piece, row)| (piece as usize, row as usize)).collect();
        emit(gather(&batches, columns, &places)?)
    })))
}
