//! Groups that do not fit: their partial states on disk.
//!
//! States are written into partitions by the hash of their keys. At the end each partition is merged by itself, split again by other bits of
//! the hash if it still does not fit, and its results become a run in the order in which the groups first appeared; the runs are merged.
//! A group's own set of distinct values is taken apart likewise, and rows that are wanted in order are sorted (`sorting`); its other states
//! have to fit.

use std::sync::Arc;

use arrow::array::UInt32Array;
use parking_lot::Mutex;

use super::groups::{Grouping, Groups};
use super::partial::{PARTITIONS, PartialGroups};
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::operator::Metrics;
use crate::exec::pipeline::{Source, parallel};
use crate::exec::runs::{Run, RunWriter, merge, number_keys};
use crate::exec::spill::{Extent, SharedFile, SpillFile};

/// Partial states on disk, by the hash of their keys.
pub(super) struct Spilled {
    file: SharedFile,
    partitions: Mutex<Vec<Vec<Extent>>>,
}

impl Default for Spilled {
    fn default() -> Spilled {
        Spilled { file: SharedFile::default(), partitions: Mutex::new(vec![Vec::new(); PARTITIONS]) }
    }
}

/// How often a partition that is still too large is split again.
const LEVELS: usize = 4;
/// About how many times the bytes of their values sets of integers take.
const SET_FACTOR: usize = 16;
/// Sets are not taken into smaller parts than this, nor into more.
const PART_LEAST: usize = 1 << 20;
const PARTS_MAX: usize = 4096;
/// About what an extent takes besides its values.
const EXTENT_BYTES: usize = 1 << 10;
/// Extents are read together up to this many bytes.
const TOGETHER_BYTES: usize = 128 << 10;

impl Spilled {
    /// Whether there is anything.
    pub(super) fn any(&self) -> bool {
        self.file.used().is_some()
    }

    /// Writes states, into partitions by bits of the hash that the levels before did not use.
    pub(super) fn add(
        &self,
        partial: PartialGroups,
        level: usize,
        grouping: &Grouping,
        context: &QueryContext,
    ) -> Result<()> {
        for (partition, partial) in partial.by_partition(level, grouping)?.into_iter().enumerate() {
            if partial.len() > 0 {
                self.add_to(partition, partial, context)?;
            }
        }
        Ok(())
    }

    /// Writes states of one partition.
    pub(super) fn add_to(&self, partition: usize, partial: PartialGroups, context: &QueryContext) -> Result<()> {
        let extent = self.file.get(context)?.append(&partial.into_batch())?;
        self.partitions.lock()[partition].push(extent);
        Ok(())
    }

    /// The results of all groups, in the order in which they first appeared.
    pub(super) fn finish(
        self,
        grouping: &Grouping,
        context: &Arc<QueryContext>,
        metrics: &Metrics,
    ) -> Result<Arc<dyn Source>> {
        let file = self.file.get(context)?;
        let partitions = self.partitions.into_inner();
        let runs = parallel(context, PARTITIONS, |i| {
            let mut runs = Vec::new();
            finish_partition(&file, &partitions[i], 1, grouping, context, &mut runs)?;
            Ok(runs)
        })?;
        file.note(metrics);
        merge(context, file, runs.into_iter().flatten().collect())
    }
}

/// Merges a partition's states and writes its results as a run; one that does not fit is split again.
fn finish_partition(
    file: &Arc<SpillFile>,
    extents: &[Extent],
    level: usize,
    grouping: &Grouping,
    context: &Arc<QueryContext>,
    runs: &mut Vec<Run>,
) -> Result<()> {
    let mut groups = Groups::new(grouping, &context.functions)?;
    let mut held = context.memory.reservation("Aggregate");
    let mut rest = extents;
    while let Some(partial) = next(&mut rest, file, grouping, context)? {
        groups.merge(grouping, &partial)?;
        if (level > LEVELS || groups.len() == 1) && groups.divides() {
            if !held.fits(groups.memory())? {
                drop((groups, held));
                runs.extend(finish_divided(file, extents, grouping, context)?);
                return Ok(());
            }
        } else if level > LEVELS || groups.len() == 1 {
            held.resize(groups.memory())?;
        } else if !held.fits(groups.memory())? {
            let smaller = Spilled { file: SharedFile::of(file), ..Spilled::default() };
            smaller.add(groups.states(grouping)?, level, grouping, context)?;
            held.resize(0)?;
            while let Some(partial) = next(&mut rest, file, grouping, context)? {
                smaller.add(partial, level, grouping, context)?;
            }
            for extents in smaller.partitions.into_inner() {
                finish_partition(file, &extents, level + 1, grouping, context, runs)?;
            }
            return Ok(());
        }
    }
    runs.extend(write(file, groups, grouping)?);
    Ok(())
}

/// Merges the states of groups that do not fit as a whole: sets are taken apart by the hash of their values, and the parts counted one after
/// the other; rows that are wanted in order are sorted.
fn finish_divided(
    file: &Arc<SpillFile>,
    extents: &[Extent],
    grouping: &Grouping,
    context: &Arc<QueryContext>,
) -> Result<Option<Run>> {
    let mut groups = Groups::new(grouping, &context.functions)?;
    let mut held = context.memory.reservation("Aggregate");
    let mut sortings = groups.sortings();
    let bytes: usize = extents.iter().map(|extent| extent.bytes().saturating_sub(EXTENT_BYTES)).sum();
    let count = match groups.has_sets() {
        true => (SET_FACTOR * bytes / context.memory.share(0).max(PART_LEAST)).clamp(2, PARTS_MAX),
        false => 0,
    };
    let mut parts = vec![Vec::new(); count];
    let mut rest = extents;
    while let Some(partial) = next(&mut rest, file, grouping, context)? {
        groups.merge_whole(grouping, &partial)?;
        held.resize(groups.memory())?;
        groups.sort(&partial, &mut sortings, file, context)?;
        if count > 0 {
            for (part, extents) in partial.divide(count, &groups)?.into_iter().zip(&mut parts) {
                extents.push(file.append(&part.into_batch())?);
            }
        }
    }
    for extents in &parts {
        let mut rest = extents.as_slice();
        while let Some(partial) = next(&mut rest, file, grouping, context)? {
            groups.merge_sets(grouping, &partial)?;
            held.resize(groups.memory())?;
        }
        groups.settle(&mut sortings, file, context)?;
    }
    held.resize(groups.memory())?;
    groups.pass(sortings, file, &mut held, context)?;
    write(file, groups, grouping)
}

/// The next of some states: of one extent, or of several small ones together.
fn next(
    rest: &mut &[Extent],
    file: &SpillFile,
    grouping: &Grouping,
    context: &QueryContext,
) -> Result<Option<PartialGroups>> {
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while let Some((extent, others)) = rest.split_first() {
        bytes += extent.bytes();
        if !batches.is_empty() && bytes > TOGETHER_BYTES {
            break;
        }
        context.cancel.check()?;
        batches.push(file.read(extent)?);
        *rest = others;
    }
    if batches.is_empty() {
        return Ok(None);
    }
    PartialGroups::from_batch(Batch::concat(&batches, &[])?, grouping).map(Some)
}

/// The results of groups as a run, in the order in which they first appeared.
fn write(file: &Arc<SpillFile>, groups: Groups, grouping: &Grouping) -> Result<Option<Run>> {
    let (results, first) = groups.finish(grouping)?;
    let mut order: Vec<u32> = (0..first.len() as u32).collect();
    order.sort_unstable_by_key(|&row| first[row as usize]);
    let mut writer = RunWriter::new(file);
    let keys = number_keys(order.iter().map(|&row| [first[row as usize]]));
    writer.push(results.take(&UInt32Array::from(order))?, keys)?;
    writer.finish()
}
