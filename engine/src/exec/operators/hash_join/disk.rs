//! Joins whose built side does not fit: a grace hash join.
//!
//! Both sides are written to disk, by the hash of their keys; the built one into [`PARTITIONS`], the other into the *passes* that these are put
//! together to, as many as memory has room for. Each pass is then a join in memory. If even its built rows do not fit (one key may have very many), they are
//! taken in *parts*, and the pass's probing rows are read again for each.
//!
//! What a pass puts out are runs, one a thread and part, with the positions of both rows as key; their merge gives the rows that the
//! join in memory gives, in the same order.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::Array;
use parking_lot::Mutex;

use super::table::{Built, Matches, Shared};
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::operator::Metrics;
use crate::exec::partitions::{self, Gathered, PARTITIONS, Partitioned, next_part, partitions, split_positions};
use crate::exec::pipeline::{Source, drain, parallel};
use crate::exec::runs::{Run, RunWriter, merge, number_keys};
use crate::exec::spill::{Extent, SpillFile};

/// About what a row takes in a table besides its own bytes.
const TABLE_ROW: usize = 32;

/// A gathered side.
pub(super) enum Side {
    Memory(Box<Built>),
    Disk(Disk),
}

/// The built side on disk: lists of each thread and partition.
pub(super) struct Disk {
    file: Arc<SpillFile>,
    threads: Vec<Vec<Vec<Extent>>>,
}

/// Reads the built side.
pub(super) fn gather(
    shared: &Shared,
    input: &dyn Source,
    context: &Arc<QueryContext>,
    metrics: &Metrics,
) -> Result<Side> {
    let partition = |rows: &Batch| Ok(partitions(shared.hashes(rows, true, context)?));
    let (batches, held) = match partitions::gather(input, "Hash", TABLE_ROW, context, &partition)? {
        Gathered::Memory(batches, held) => (batches, held),
        Gathered::Disk(file, threads) => return Ok(Side::Disk(Disk { file, threads })),
    };
    let rows = Batch::concat(&batches, &shared.build_types)?;
    drop(batches);
    let built = shared.build(rows, Vec::new(), held, context)?;
    metrics.held(&built.held);
    Ok(Side::Memory(Box::new(built)))
}

impl Disk {
    /// Joins with the other side.
    pub(super) fn join(
        self,
        shared: &Shared,
        probe: &dyn Source,
        context: &Arc<QueryContext>,
        metrics: &Metrics,
    ) -> Result<Arc<dyn Source>> {
        let bytes_of = |extent: &Extent| extent.bytes() + extent.rows * TABLE_ROW;
        let passes = partitions::passes(context, |nth| self.extents(nth..nth + 1).iter().map(bytes_of).sum());
        let mut pass_of = [0; PARTITIONS];
        for (pass, partitions) in passes.iter().enumerate() {
            pass_of[partitions.clone()].fill(pass);
        }
        let partition = |rows: &Batch| -> Result<Vec<usize>> {
            Ok(partitions(shared.hashes(rows, false, context)?).into_iter().map(|p| pass_of[p]).collect())
        };
        let locals = drain(
            context,
            probe,
            || Ok(Partitioned::new(passes.len())),
            |local, at, batch| local.push(at, batch, &self.file, &partition),
        )?;
        let probing =
            locals.into_iter().map(|local| local.finish(&self.file, &partition)).collect::<Result<Vec<_>>>()?;
        let mut runs = Vec::new();
        for (pass, partitions) in passes.into_iter().enumerate() {
            let lists = probing.iter().map(|lists| lists[pass].as_slice()).collect();
            Pass { shared, file: &self.file, lists, context }.join(self.extents(partitions), metrics, &mut runs)?;
        }
        self.file.note(metrics);
        merge(context, self.file, runs)
    }

    /// All rows of some partitions.
    fn extents(&self, partitions: Range<usize>) -> Vec<Extent> {
        self.threads.iter().flat_map(|lists| &lists[partitions.clone()]).flatten().copied().collect()
    }
}

/// One pass: the probing rows of each thread, and what is needed to join them.
struct Pass<'a> {
    shared: &'a Shared,
    file: &'a SpillFile,
    lists: Vec<&'a [Extent]>,
    context: &'a Arc<QueryContext>,
}

impl Pass<'_> {
    fn join(&self, build: Vec<Extent>, metrics: &Metrics, runs: &mut Vec<Run>) -> Result<()> {
        if self.lists.iter().all(|list| list.is_empty()) && !self.shared.keeps_built() {
            return Ok(());
        }
        let matched: Vec<Mutex<Vec<bool>>> = self
            .lists
            .iter()
            .map(|list| Mutex::new(vec![false; list.iter().map(|extent| extent.rows).sum()]))
            .collect();
        let mut flags = self.context.memory.reservation("Hash");
        flags.resize(matched.iter().map(|matched| matched.lock().len()).sum())?;
        let mut rest = build.as_slice();
        loop {
            let built = self.part(&mut rest)?;
            metrics.held(&built.held);
            let joined = parallel(self.context, self.lists.len(), |i| {
                self.probe(&built, self.lists[i], &mut matched[i].lock(), rest.is_empty())
            })?;
            runs.extend(joined.into_iter().flatten());
            runs.extend(self.kept(&built)?);
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// The next of the built rows that fit, at least one batch.
    fn part(&self, rest: &mut &[Extent]) -> Result<Built> {
        let mut held = self.context.memory.reservation("Hash");
        let part = next_part(rest, self.file, TABLE_ROW, &mut held)?;
        let (rows, positions) = part.unwrap_or_else(|| (Batch::empty(&self.shared.build_types), Vec::new()));
        self.shared.build(rows, positions, held, self.context)
    }

    /// Joins one thread's rows with a part of the built ones.
    fn probe(&self, built: &Built, list: &[Extent], matched: &mut [bool], last: bool) -> Result<Option<Run>> {
        let mut writer = RunWriter::new(self.file);
        let mut matched = matched;
        for extent in list {
            self.context.cancel.check()?;
            let (rows, positions) = split_positions(self.file.read(extent)?)?;
            let (own, rest) = matched.split_at_mut(rows.rows);
            matched = rest;
            self.shared.probe(built, &rows, own, last, self.context, &mut |matches: Matches| {
                let keys = number_keys(matches.probe.values().iter().enumerate().map(|(i, &row)| {
                    let met = matches.build.as_ref().filter(|build| build.is_valid(i));
                    // Positions of met rows begin at one: a row that met nothing has none beside it.
                    let met = met.map_or(0, |build| built.positions[build.value(i) as usize] + 1);
                    [positions[row as usize], met]
                }));
                writer.push(matches.rows, keys)
            })?;
        }
        writer.finish()
    }

    /// The built rows that are put out by whether they were met: after all others.
    fn kept(&self, built: &Built) -> Result<Option<Run>> {
        let mut writer = RunWriter::new(self.file);
        for rows in self.shared.kept(built).chunks(self.context.batch_rows.max(1)) {
            let keys = number_keys(rows.iter().map(|&row| [u64::MAX, built.positions[row as usize]]));
            writer.push(self.shared.alone(rows, built)?, keys)?;
        }
        writer.finish()
    }
}
