//! Rows on disk, in partitions: what a join and DISTINCT ON make of rows that do not fit.
//!
//! Each thread has lists of its own, in which rows keep the order of the input; every row carries its position as a last column.

use std::sync::Arc;

use arrow::array::{AsArray, UInt32Array, UInt64Array};
use arrow::datatypes::UInt64Type;

use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::spill::{Extent, SpillFile};

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

/// Rows and their positions.
pub(crate) fn split_positions(mut rows: Batch) -> Result<(Batch, Vec<u64>)> {
    match rows.columns.pop() {
        Some(positions) => Ok((rows, positions.as_primitive::<UInt64Type>().values().to_vec())),
        None => Err(Error::internal("rows on disk lack their positions")),
    }
}
