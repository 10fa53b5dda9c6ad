//! ASOF and ANY joins whose right side does not fit.
//!
//! Both sides are on disk by the hash of their equal keys, in passes that memory has room for; of a pass that is still too large the right rows are
//! taken in *parts*, and the left rows are read again for each. Every part offers each left row the nearest of its own rows. The offers are sorted by
//! the left row's position and how near they are, so that the first of each left row is what it meets.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, UInt32Array, UInt64Array};
use arrow::datatypes::UInt64Type;
use parking_lot::Mutex;
use roaring::RoaringTreemap;

use super::{BUILT_ROW, Built, Shared};
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::operator::Metrics;
use crate::exec::partitions::{PARTITIONS, Partitioned, next_part, partitions, passes, split_positions};
use crate::exec::pipeline::{Chained, Mapped, Source, drain, parallel};
use crate::exec::runs::{Run, RunWriter, merge, number_keys};
use crate::exec::spill::{Extent, SpillFile};
use crate::exec::spool::Spool;

/// The right side: lists of each thread and partition.
pub(super) struct Right {
    pub(super) file: Arc<SpillFile>,
    pub(super) threads: Vec<Vec<Vec<Extent>>>,
}

impl Right {
    /// All rows of some partitions.
    fn extents(&self, partitions: std::ops::Range<usize>) -> Vec<Extent> {
        self.threads.iter().flat_map(|lists| &lists[partitions.clone()]).flatten().copied().collect()
    }
}

/// Joins the left side with it.
pub(super) fn join(
    shared: &Arc<Shared>,
    right: Right,
    left: &dyn Source,
    context: &Arc<QueryContext>,
    metrics: &Metrics,
) -> Result<Arc<dyn Source>> {
    let bytes_of = |extent: &Extent| extent.bytes() + extent.rows * BUILT_ROW;
    let passes = passes(context, |nth| right.extents(nth..nth + 1).iter().map(bytes_of).sum());
    let mut pass_of = [0; PARTITIONS];
    for (pass, partitions) in passes.iter().enumerate() {
        pass_of[partitions.clone()].fill(pass);
    }
    let file = &right.file;
    let by_key = |rows: &Batch| -> Result<Vec<usize>> {
        Ok(partitions(shared.hashes(rows, false, context)?).into_iter().map(|p| pass_of[p]).collect())
    };
    let start = || Ok(Partitioned::new(passes.len()));
    let locals = drain(context, left, start, |local, at, batch| local.push(at, batch, file, &by_key))?;
    let lefts = locals.into_iter().map(|local| local.finish(file, &by_key)).collect::<Result<Vec<_>>>()?;
    let mut runs = Vec::new();
    for (pass, partitions) in passes.into_iter().enumerate() {
        let lists: Vec<&[Extent]> = lefts.iter().map(|lists| lists[pass].as_slice()).collect();
        offers(shared, &right.extents(partitions), &lists, file, context, &mut runs)?;
    }
    let mut met = RoaringTreemap::new();
    let matches = nearest(runs, file, &mut met, context, metrics)?;
    file.note(metrics);
    if !shared.keeps_right() {
        return Ok(matches);
    }
    Ok(Arc::new(Chained::new(vec![matches, unmet(shared, &right, &met, context)?])))
}

/// The runs of one pass: what each part offers.
fn offers(
    shared: &Shared,
    right: &[Extent],
    lists: &[&[Extent]],
    file: &SpillFile,
    context: &Arc<QueryContext>,
    runs: &mut Vec<Run>,
) -> Result<()> {
    if lists.iter().all(|list| list.is_empty()) {
        return Ok(());
    }
    let flags = |list: &&[Extent]| Mutex::new(vec![false; list.iter().map(|extent| extent.rows).sum()]);
    let matched: Vec<Mutex<Vec<bool>>> = lists.iter().map(flags).collect();
    let mut held_flags = context.memory.reservation("Nearest Join");
    held_flags.resize(matched.iter().map(|matched| matched.lock().len()).sum())?;
    let mut rest = right;
    loop {
        let mut held = context.memory.reservation("Nearest Join");
        let part = next_part(&mut rest, file, BUILT_ROW, &mut held)?;
        let (rows, positions) = part.unwrap_or_else(|| (Batch::empty(&shared.right_types), Vec::new()));
        let built = shared.build(rows, positions, held, context)?;
        let offered = parallel(context, lists.len(), |i| {
            let mut writer = RunWriter::new(file);
            let mut matched = matched[i].lock();
            let mut from = 0;
            for extent in lists[i] {
                let (rows, positions) = split_positions(file.read(extent)?)?;
                let matched = &mut matched[from..from + rows.rows];
                from += rows.rows;
                offer(shared, &built, &rows, &positions, matched, rest.is_empty(), &mut writer, context)?;
            }
            writer.finish()
        })?;
        runs.extend(offered.into_iter().flatten());
        if rest.is_empty() {
            return Ok(());
        }
    }
}

/// Writes what a part offers to a batch; with the last part, also that rows met nothing.
#[allow(clippy::too_many_arguments)]
fn offer(
    shared: &Shared,
    built: &Built,
    rows: &Batch,
    positions: &[u64],
    matched: &mut [bool],
    last: bool,
    writer: &mut RunWriter<'_>,
    context: &Arc<QueryContext>,
) -> Result<()> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for (row, member) in shared.meets(built, rows, context)?.into_iter().enumerate() {
        matched[row] |= member.is_some();
        if member.is_some() || last && shared.keeps_left() && !matched[row] {
            left.push(row as u32);
            right.push(member);
        }
    }
    let back = shared.order.as_ref().is_some_and(|order| order.before);
    let keys = BinaryArray::from_iter_values(left.iter().zip(&right).map(|(&row, member)| {
        let mut key = positions[row as usize].to_be_bytes().to_vec();
        let Some(member) = member.map(|member| member as usize) else { return key };
        let from = key.len();
        if let Some(order) = &built.order {
            key.extend_from_slice(order.row(member).as_ref());
        }
        key.extend_from_slice(&built.positions[member].to_be_bytes());
        if back {
            // The nearest is the last.
            key[from..].iter_mut().for_each(|byte| *byte = !*byte);
        }
        key
    }));
    let own = UInt64Array::from_iter_values(left.iter().map(|&row| positions[row as usize]));
    let met: UInt64Array = right.iter().map(|member| member.map(|member| built.positions[member as usize])).collect();
    let mut pairs = rows.take(&UInt32Array::from(left))?.beside(built.rows.take(&UInt32Array::from(right))?);
    pairs.columns.extend([Arc::new(own) as _, Arc::new(met) as _]);
    if pairs.rows > 0 { writer.push(pairs, keys) } else { Ok(()) }
}

/// The first offer of each left row; the positions of the right rows among them go to `met`.
fn nearest(
    runs: Vec<Run>,
    file: &Arc<SpillFile>,
    met: &mut RoaringTreemap,
    context: &Arc<QueryContext>,
    metrics: &Metrics,
) -> Result<Arc<dyn Source>> {
    let mut rows = Spool::empty(context, "Nearest Join");
    let mut last = None;
    let offers = merge(context, file.clone(), runs)?;
    while let Some(piece) = offers.claim()? {
        context.cancel.check()?;
        piece(&mut |mut batch| {
            let (Some(right), Some(left)) = (batch.columns.pop(), batch.columns.pop()) else {
                return Err(Error::internal("rows on disk lack their positions"));
            };
            let (right, left) = (right.as_primitive::<UInt64Type>(), left.as_primitive::<UInt64Type>());
            let mut first = Vec::new();
            for row in 0..batch.rows {
                if last != Some(left.value(row)) {
                    last = Some(left.value(row));
                    first.push(row as u32);
                    if right.is_valid(row) {
                        met.insert(right.value(row));
                    }
                }
            }
            rows.push(batch.take(&UInt32Array::from(first))?)
        })?;
    }
    Ok(rows.finish(metrics).read())
}

/// The right rows that were not met, beside NULLs.
fn unmet(
    shared: &Arc<Shared>,
    right: &Right,
    met: &RoaringTreemap,
    context: &Arc<QueryContext>,
) -> Result<Arc<dyn Source>> {
    let mut runs = Vec::new();
    for list in right.threads.iter().flatten() {
        let mut writer = RunWriter::new(&right.file);
        for extent in list {
            context.cancel.check()?;
            let (rows, positions) = split_positions(right.file.read(extent)?)?;
            let others = (0..rows.rows as u32).filter(|&row| !met.contains(positions[row as usize]));
            let others = UInt32Array::from_iter_values(others);
            if !others.is_empty() {
                let keys = number_keys(others.values().iter().map(|&row| [positions[row as usize]]));
                writer.push(rows.take(&others)?, keys)?;
            }
        }
        runs.extend(writer.finish()?);
    }
    let (rows, shared) = (merge(context, right.file.clone(), runs)?, shared.clone());
    Ok(Arc::new(Mapped::new(rows, move |batch, emit| emit(Batch::nulls(&shared.left_types, batch.rows).beside(batch)))))
}
