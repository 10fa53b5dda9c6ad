//! Rows on disk, in partitions: what joins and DISTINCT ON make of rows that do not fit.
//!
//! Each thread has lists of its own, in which rows keep the order of the input; every row carries its position as a last column.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, UInt32Array, UInt64Array};
use arrow::datatypes::UInt64Type;

use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::memory::Reservation;
use crate::exec::pipeline::{Source, drain};
use crate::exec::spill::{Extent, SharedFile, SpillFile};

/// How many partitions the hash of a key divides rows into.
pub(crate) const PARTITIONS: usize = 64;

/// The partition of each hash.
pub(crate) fn partitions(hashes: Vec<u64>) -> Vec<usize> {
    hashes.into_iter().map(|hash| (hash >> 32) as usize % PARTITIONS).collect()
}

/// Bytes that are gathered before they are split.
const PENDING_BYTES: usize = 512 << 10;

/// One thread's rows by partition.
pub(crate) struct Partitioned {
    lists: Vec<Vec<Extent>>,
    pending: Vec<Batch>,
    bytes: usize,
}

impl Partitioned {
    /// No rows in `count` partitions.
    pub(crate) fn new(count: usize) -> Partitioned {
        Partitioned { lists: vec![Vec::new(); count], pending: Vec::new(), bytes: 0 }
    }

    /// Adds rows, the first of which stands at position `at`; `partition` says the partition of each row of a batch.
    pub(crate) fn push(
        &mut self,
        at: u64,
        mut rows: Batch,
        file: &SpillFile,
        partition: &impl Fn(&Batch) -> Result<Vec<usize>>,
    ) -> Result<()> {
        rows.columns.push(Arc::new(UInt64Array::from_iter_values(at..at + rows.rows as u64)));
        self.bytes += rows.bytes();
        self.pending.push(rows);
        if self.bytes >= PENDING_BYTES { self.flush(file, partition) } else { Ok(()) }
    }

    fn flush(&mut self, file: &SpillFile, partition: &impl Fn(&Batch) -> Result<Vec<usize>>) -> Result<()> {
        let rows = Batch::concat(&self.pending, &[])?;
        self.pending.clear();
        self.bytes = 0;
        let mut places: Vec<Vec<u32>> = vec![Vec::new(); self.lists.len()];
        for (row, partition) in partition(&rows)?.into_iter().enumerate() {
            places[partition].push(row as u32);
        }
        for (list, places) in self.lists.iter_mut().zip(places).filter(|(_, places)| !places.is_empty()) {
            list.push(file.append(&rows.take(&UInt32Array::from(places))?)?);
        }
        Ok(())
    }

    /// The lists, each in the order of positions.
    pub(crate) fn finish(
        mut self,
        file: &SpillFile,
        partition: &impl Fn(&Batch) -> Result<Vec<usize>>,
    ) -> Result<Vec<Vec<Extent>>> {
        if !self.pending.is_empty() {
            self.flush(file, partition)?;
        }
        Ok(self.lists)
    }
}

/// All rows of a source: in memory while they fit, or else on disk, as the lists of each thread.
pub(crate) enum Gathered {
    Memory(Vec<Batch>, Reservation),
    Disk(Arc<SpillFile>, Vec<Vec<Vec<Extent>>>),
}

/// What one thread gathers.
struct Gathering {
    batches: Vec<(u64, Batch)>,
    held: Reservation,
    disk: Option<Partitioned>,
}

impl Gathering {
    fn write(&mut self, file: &SpillFile, partition: &impl Fn(&Batch) -> Result<Vec<usize>>) -> Result<()> {
        let disk = self.disk.get_or_insert_with(|| Partitioned::new(PARTITIONS));
        for (at, batch) in self.batches.drain(..) {
            disk.push(at, batch, file, partition)?;
        }
        self.held.resize(0)
    }
}

/// Reads a source; `row_bytes` is about what a row takes besides its own bytes, `partition` says where each row of a batch goes on disk.
pub(crate) fn gather(
    input: &dyn Source,
    owner: &'static str,
    row_bytes: usize,
    context: &QueryContext,
    partition: &(impl Fn(&Batch) -> Result<Vec<usize>> + Sync),
) -> Result<Gathered> {
    let file = SharedFile::default();
    let start = || Ok(Gathering { batches: Vec::new(), held: context.memory.reservation(owner), disk: None });
    let mut locals = drain(context, input, start, |local, at, batch| {
        let bytes = local.held.bytes() + batch.bytes() + batch.rows * row_bytes;
        local.batches.push((at, batch));
        if local.disk.is_some() || !local.held.fits(bytes)? {
            local.write(&*file.get(context)?, partition)?;
        }
        Ok(())
    })?;
    if let Some(file) = file.used() {
        let mut threads = Vec::new();
        for mut local in locals {
            local.write(&file, partition)?;
            threads.extend(local.disk.map(|disk| disk.finish(&file, partition)).transpose()?);
        }
        return Ok(Gathered::Disk(file, threads));
    }
    let mut held = context.memory.reservation(owner);
    let mut batches = Vec::new();
    for local in &mut locals {
        batches.append(&mut local.batches);
        let bytes = local.held.bytes();
        local.held.resize(0)?;
        held.grow(bytes)?;
    }
    batches.sort_unstable_by_key(|(at, _)| *at);
    Ok(Gathered::Memory(batches.into_iter().map(|(_, batch)| batch).collect(), held))
}

/// Partitions put together to passes that have room, each about as large as `bytes` says of a partition.
pub(crate) fn passes(context: &QueryContext, bytes: impl Fn(usize) -> usize) -> Vec<Range<usize>> {
    let room = context.memory.share(0);
    let (mut passes, mut held): (Vec<Range<usize>>, usize) = (Vec::new(), 0);
    for partition in 0..PARTITIONS {
        let own = bytes(partition);
        match passes.last_mut().filter(|_| held + own <= room) {
            Some(pass) => pass.end += 1,
            None => {
                held = 0;
                passes.push(partition..partition + 1);
            }
        }
        held += own;
    }
    passes
}

/// The next of some rows that fit, at least one batch, in the order of their positions, which come with them; `row_bytes` as for [`gather`].
pub(crate) fn next_part(
    rest: &mut &[Extent],
    file: &SpillFile,
    row_bytes: usize,
    held: &mut Reservation,
) -> Result<Option<(Batch, Vec<u64>)>> {
    let mut batches = Vec::new();
    while let Some((extent, others)) = rest.split_first() {
        let bytes = held.bytes() + extent.bytes() + extent.rows * row_bytes;
        if batches.is_empty() {
            held.resize(bytes)?;
        } else if !held.fits(bytes)? {
            break;
        }
        batches.push(file.read(extent)?);
        *rest = others;
    }
    if batches.is_empty() {
        return Ok(None);
    }
    let (rows, positions) = split_positions(Batch::concat(&batches, &[])?)?;
    drop(batches);
    let mut order: Vec<u32> = (0..rows.rows as u32).collect();
    order.sort_unstable_by_key(|&row| positions[row as usize]);
    let positions = order.iter().map(|&row| positions[row as usize]).collect();
    Ok(Some((rows.take(&UInt32Array::from(order))?, positions)))
}

/// Rows and their positions.
pub(crate) fn split_positions(mut rows: Batch) -> Result<(Batch, Vec<u64>)> {
    match rows.columns.pop() {
        Some(positions) => Ok((rows, positions.as_primitive::<UInt64Type>().values().to_vec())),
        None => Err(Error::internal("rows on disk lack their positions")),
    }
}
