//! Aggregates over frames.
//!
//! Frames that follow each other and are the same are computed once: all rows of a partition without ORDER BY, or of a group of peers.
//! Where frames are short, each row goes into every frame that has it. Otherwise a tree of partial states is built, each node the merge of
//! two below, so that any frame is the merge of few nodes: V. Leis et al., Efficient Processing of Window Functions in Analytical SQL Queries,
//! PVLDB 8(10), 2015.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, UInt32Array, new_empty_array};
use arrow::compute::{and, concat, take};
use weir_sql::Type;

use super::frame::{Frame, Frames, Layout};
use super::{Before, Beyond};
use crate::aggregates::Accumulator;
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::arrays;
use crate::exec::memory::Reservation;
use crate::exec::operators::aggregate::Call;

/// Rows go straight into their frames while that is at most so many times their number.
const DIRECT_FACTOR: usize = 8;
/// And while they are no more than this in any case.
const DIRECT_LEAST: usize = 1024;
/// So many rows or nodes are handed over at once.
const AT_ONCE: usize = 1 << 14;

/// A compiled call.
pub(super) struct Framed {
    pub(super) call: Call,
    pub(super) frame: Frame,
    pub(super) ty: Type,
}

/// Frames that differ, as runs of the rows that count.
struct Distinct {
    runs: Vec<[Range<usize>; 3]>,
    /// Whether each goes on before the rows at hand, and after them.
    beyond: Vec<(bool, bool)>,
    /// Which of them each row has.
    of: Vec<u32>,
}

impl Framed {
    /// Its value in each row.
    pub(super) fn over(
        &self,
        rows: &Batch,
        layout: &Layout,
        before: &Before,
        beyond: &Beyond,
        held: &mut Reservation,
        context: &Arc<QueryContext>,
    ) -> Result<ArrayRef> {
        let (counted, args) = self.args(rows, before, context)?;
        let count = counted.as_ref().map_or(rows.rows, |counted| counted.len());
        let frames = self.frame.over(rows, layout, context)?;
        let distinct = distinct(&frames, rows.rows, layout, beyond, counted.as_ref());
        let total: usize = distinct.runs.iter().flatten().map(Range::len).sum();
        let results = if total <= DIRECT_LEAST.max(DIRECT_FACTOR * count) {
            self.direct(&args, count, &distinct, beyond, held, context)?
        } else {
            self.by_tree(&args, count, &distinct, beyond, held, context)?
        };
        Ok(take(&results, &UInt32Array::from(distinct.of), None)?)
    }

    /// The state of rows and of others beside them, of which the state is given.
    pub(super) fn joined(
        &self,
        others: Option<Vec<ArrayRef>>,
        rows: &Batch,
        before: &Before,
        context: &Arc<QueryContext>,
    ) -> Result<Vec<ArrayRef>> {
        let mut state = self.call.accumulator(&context.functions)?;
        if let Some(others) = others {
            state.merge(&others, &[0], 1)?;
        }
        let (counted, args) = self.args(rows, before, context)?;
        let count = counted.as_ref().map_or(rows.rows, |counted| counted.len());
        state.update(&args, &vec![0; count], 1, None)?;
        state.state(1)
    }

    /// Which rows count, unless all do, and the arguments in these.
    fn args(
        &self,
        rows: &Batch,
        before: &Before,
        context: &Arc<QueryContext>,
    ) -> Result<(Option<UInt32Array>, Vec<ArrayRef>)> {
        let mut keep: Option<BooleanArray> = None;
        for filter in self.call.filters() {
            let selected = filter.selects(rows, context)?;
            keep = Some(match keep {
                None => selected,
                Some(keep) => and(&keep, &selected)?,
            });
        }
        // What may fail is computed only where the filter holds.
        let counted: Option<UInt32Array> =
            keep.map(|keep| UInt32Array::from_iter_values(keep.values().set_indices_u32()));
        let few = counted.as_ref().map(|counted| rows.take(counted)).transpose()?;
        let input = few.as_ref().unwrap_or(rows);
        let mut args = arrays(self.call.inputs(), input, context)?;
        if self.call.wants_position() {
            let first = before.rows as i64;
            args.push(Arc::new(Int64Array::from_iter_values(first..first + input.rows as i64)));
        }
        Ok((counted, args))
    }

    /// Each row into every frame that has it.
    fn direct(
        &self,
        args: &[ArrayRef],
        rows: usize,
        distinct: &Distinct,
        beyond: &Beyond,
        held: &mut Reservation,
        context: &Arc<QueryContext>,
    ) -> Result<ArrayRef> {
        let frames = distinct.runs.as_slice();
        let (mut places, mut groups) = (Vec::new(), Vec::new());
        for (runs, group) in frames.iter().zip(0u32..) {
            for run in runs {
                places.extend(run.start as u32..run.end as u32);
                groups.resize(places.len(), group);
            }
        }
        let once = places.len() == rows && places.iter().zip(0u32..).all(|(place, row)| *place == row);
        let mut accumulator = self.call.accumulator(&context.functions)?;
        for start in (0..places.len()).step_by(AT_ONCE) {
            context.cancel.check()?;
            let end = (start + AT_ONCE).min(places.len());
            let piece: Vec<ArrayRef> = match once {
                true => args.iter().map(|arg| arg.slice(start, end - start)).collect(),
                false => taken(args, places[start..end].to_vec())?,
            };
            accumulator.update(&piece, &groups[start..end], frames.len(), None)?;
            held.resize(accumulator.memory())?;
        }
        merge_beyond(accumulator.as_mut(), beyond, &distinct.beyond)?;
        accumulator.finish(frames.len())
    }

    /// Each frame from the nodes of a tree.
    fn by_tree(
        &self,
        args: &[ArrayRef],
        rows: usize,
        distinct: &Distinct,
        beyond: &Beyond,
        held: &mut Reservation,
        context: &Arc<QueryContext>,
    ) -> Result<ArrayRef> {
        let mut leaves = self.call.accumulator(&context.functions)?;
        let own: Vec<u32> = (0..rows as u32).collect();
        leaves.update(args, &own, rows, None)?;
        held.resize(leaves.memory())?;
        let mut levels = vec![leaves.state(rows)?];
        let mut nodes = rows;
        while nodes > 1 {
            context.cancel.check()?;
            let parents: Vec<u32> = (0..nodes as u32).map(|node| node / 2).collect();
            nodes = nodes.div_ceil(2);
            let mut accumulator = self.call.accumulator(&context.functions)?;
            accumulator.merge(&levels[levels.len() - 1], &parents, nodes)?;
            levels.push(accumulator.state(nodes)?);
            held.resize(levels.iter().flatten().map(crate::exec::batch::array_bytes).sum())?;
        }
        let mut results = Vec::new();
        for (frames, sees) in distinct.runs.chunks(AT_ONCE).zip(distinct.beyond.chunks(AT_ONCE)) {
            context.cancel.check()?;
            let mut parts: Vec<(Vec<u32>, Vec<u32>)> = vec![Default::default(); levels.len()];
            for (runs, group) in frames.iter().zip(0u32..) {
                runs.iter().for_each(|run| {
                    each_node(run.clone(), |level, node| {
                        parts[level].0.push(node as u32);
                        parts[level].1.push(group);
                    });
                });
            }
            let mut accumulator = self.call.accumulator(&context.functions)?;
            for (level, (nodes, groups)) in levels.iter().zip(parts) {
                accumulator.merge(&taken(level, nodes)?, &groups, frames.len())?;
            }
            merge_beyond(accumulator.as_mut(), beyond, sees)?;
            results.push(accumulator.finish(frames.len())?);
        }
        match results.as_slice() {
            [] => Ok(new_empty_array(&self.ty.to_arrow())),
            [one] => Ok(one.clone()),
            many => Ok(concat(&many.iter().map(|array| array.as_ref()).collect::<Vec<_>>())?),
        }
    }
}

/// Adds the states of what is beyond the rows at hand to the frames that see it.
fn merge_beyond(accumulator: &mut dyn Accumulator, beyond: &Beyond, frames: &[(bool, bool)]) -> Result<()> {
    type Sees = fn(&(bool, bool)) -> bool;
    for (state, sees) in [(&beyond.before, (|sees| sees.0) as Sees), (&beyond.after, |sees| sees.1)] {
        let Some(state) = state else { continue };
        let groups: Vec<u32> = frames.iter().zip(0u32..).filter(|(frame, _)| sees(frame)).map(|(_, at)| at).collect();
        accumulator.merge(&taken(state, vec![0; groups.len()])?, &groups, frames.len())?;
    }
    Ok(())
}

/// The nodes whose leaves are a run: level 0 has the leaves, and each level half as many nodes as the one below.
fn each_node(run: Range<usize>, mut f: impl FnMut(usize, usize)) {
    let (mut from, mut to, mut level) = (run.start, run.end, 0);
    while from < to {
        if from % 2 == 1 {
            f(level, from);
            from += 1;
        }
        if to % 2 == 1 {
            to -= 1;
            f(level, to);
        }
        (from, to, level) = (from / 2, to / 2, level + 1);
    }
}

fn taken(columns: &[ArrayRef], rows: Vec<u32>) -> Result<Vec<ArrayRef>> {
    let rows = UInt32Array::from(rows);
    Ok(columns.iter().map(|column| take(column, &rows, None)).collect::<std::result::Result<_, _>>()?)
}

/// The frames of all rows, over those of them that count.
fn distinct(frames: &Frames, rows: usize, layout: &Layout, beyond: &Beyond, counted: Option<&UInt32Array>) -> Distinct {
    let before: Option<Vec<usize>> = counted.map(|counted| {
        let mut before = vec![0; rows + 1];
        counted.values().iter().for_each(|&row| before[row as usize + 1] = 1);
        (0..rows).for_each(|row| before[row + 1] += before[row]);
        before
    });
    let mut distinct = Distinct { runs: Vec::new(), beyond: Vec::new(), of: Vec::with_capacity(rows) };
    for row in 0..rows {
        let runs = frames.ranges(row, layout).map(|run| match &before {
            None => run,
            Some(before) => before[run.start]..before[run.end],
        });
        let sees = beyond.seen_from(row, layout);
        if distinct.runs.last() != Some(&runs) || distinct.beyond.last() != Some(&sees) {
            distinct.runs.push(runs);
            distinct.beyond.push(sees);
        }
        distinct.of.push(distinct.runs.len() as u32 - 1);
    }
    distinct
}
