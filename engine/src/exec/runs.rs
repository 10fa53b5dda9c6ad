//! Sorted runs on disk, and the merge that reads them as one.
//!
//! A run's batches carry their rows' keys as a last column of bytes; rows go out in the order of these bytes, which no two rows share. Runs of
//! one set are merged by a heap of their heads, [`FAN_IN`] at once, or as many as memory has room for: more are first merged into longer ones.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray};
use arrow::compute::interleave;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::memory::Reservation;
use crate::exec::pipeline::{Source, Task};
use crate::exec::spill::{Extent, SpillFile};

/// How many runs are merged at once.
const FAN_IN: usize = 64;
/// Bytes of a run's batch: what a merge holds of each run.
const BATCH_BYTES: usize = 64 << 10;

/// Rows of several batches as one.
pub(crate) fn gather(batches: &[Batch], columns: usize, places: &[(usize, usize)]) -> Result<Batch> {
    let columns = (0..columns)
        .map(|c| interleave(&batches.iter().map(|b| b.columns[c].as_ref()).collect::<Vec<_>>(), places))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(Batch::new(columns, places.len()))
}

/// Writes one run.
pub(crate) struct RunWriter<'a> {
    file: &'a SpillFile,
    extents: Vec<Extent>,
    pending: Vec<Batch>,
    bytes: usize,
}

impl<'a> RunWriter<'a> {
    pub(crate) fn new(file: &'a SpillFile) -> RunWriter<'a> {
        RunWriter { file, extents: Vec::new(), pending: Vec::new(), bytes: 0 }
    }

    /// Adds rows, which come after all before them, with their keys.
    pub(crate) fn push(&mut self, mut rows: Batch, keys: BinaryArray) -> Result<()> {
        rows.columns.push(Arc::new(keys));
        self.push_keyed(rows)
    }

    fn push_keyed(&mut self, rows: Batch) -> Result<()> {
        self.bytes += rows.bytes();
        self.pending.push(rows);
        if self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let rows = Batch::concat(&self.pending, &[])?;
        self.pending.clear();
        let size = (BATCH_BYTES * rows.rows / self.bytes.max(1)).max(1);
        for start in (0..rows.rows).step_by(size) {
            self.extents.push(self.file.append(&rows.slice(start, size.min(rows.rows - start)))?);
        }
        self.bytes = 0;
        Ok(())
    }

    /// The run; `None` if it has no rows.
    pub(crate) fn finish(mut self) -> Result<Option<Run>> {
        if !self.pending.is_empty() {
            self.flush()?;
        }
        Ok((!self.extents.is_empty()).then_some(Run(self.extents)))
    }
}

/// Rows in order.
#[derive(Debug)]
pub(crate) struct Run(Vec<Extent>);

/// Keys that are numbers, the first the most significant.
pub(crate) fn number_keys<const N: usize>(keys: impl ExactSizeIterator<Item = [u64; N]>) -> BinaryArray {
    BinaryArray::from_iter_values(keys.map(|key| key.map(u64::to_be_bytes).concat()))
}

/// The rows of all runs, in order.
pub(crate) fn merge(context: &Arc<QueryContext>, file: Arc<SpillFile>, mut runs: Vec<Run>) -> Result<Arc<dyn Source>> {
    // Each run that is merged is there with a batch.
    let batch = runs.iter().flat_map(|run| &run.0).map(Extent::bytes).max().unwrap_or(0);
    let fan_in = (context.memory.share(0) / batch.max(1)).clamp(2, FAN_IN);
    while runs.len() > fan_in {
        let rest = runs.split_off(fan_in);
        let mut merging = Merging::new(file.clone(), runs, context)?;
        let mut writer = RunWriter::new(&file);
        while let Some((batches, places)) = merging.next(context.batch_rows.max(1))? {
            context.cancel.check()?;
            let columns = batches[0].columns.len();
            writer.push_keyed(gather(&batches, columns, &places)?)?;
        }
        runs = rest;
        runs.extend(writer.finish()?);
    }
    let rows: usize = runs.iter().flat_map(|run| &run.0).map(|extent| extent.rows).sum();
    let size = context.batch_rows.max(1);
    Ok(Arc::new(Merge { merging: Mutex::new(Merging::new(file, runs, context)?), size, morsels: rows.div_ceil(size) }))
}

/// One run that is being read.
struct Cursor {
    rest: std::vec::IntoIter<Extent>,
    batch: Batch,
    keys: BinaryArray,
    row: usize,
    /// Where the batch stands among those that the rows at hand come from.
    slot: Option<usize>,
}

impl Cursor {
    fn new(run: Run, file: &SpillFile) -> Result<Option<Cursor>> {
        let mut rest = run.0.into_iter();
        let Some(extent) = rest.next() else { return Ok(None) };
        let (batch, keys) = read(file, &extent)?;
        Ok(Some(Cursor { rest, batch, keys, row: 0, slot: None }))
    }

    fn key(&self) -> &[u8] {
        self.keys.value(self.row)
    }

    /// The next row; false at the end.
    fn advance(&mut self, file: &SpillFile) -> Result<bool> {
        self.row += 1;
        if self.row < self.batch.rows {
            return Ok(true);
        }
        let Some(extent) = self.rest.next() else { return Ok(false) };
        (self.batch, self.keys) = read(file, &extent)?;
        (self.row, self.slot) = (0, None);
        Ok(true)
    }
}

fn read(file: &SpillFile, extent: &Extent) -> Result<(Batch, BinaryArray)> {
    let batch = file.read(extent)?;
    let keys: Option<&ArrayRef> = batch.columns.last();
    let Some(keys) = keys.and_then(|keys| keys.as_binary_opt::<i32>()).cloned() else {
        return Err(Error::internal("a run's last column is its key"));
    };
    Ok((batch, keys))
}

/// A merge under way: a binary heap of cursors, the one with the least key on top.
struct Merging {
    file: Arc<SpillFile>,
    heap: Vec<Cursor>,
    _held: Reservation,
}

impl Merging {
    fn new(file: Arc<SpillFile>, runs: Vec<Run>, context: &QueryContext) -> Result<Merging> {
        let mut held = context.memory.reservation("Merge");
        let mut heap = Vec::with_capacity(runs.len());
        for run in runs {
            held.grow(run.0.iter().map(Extent::bytes).max().unwrap_or(0))?;
            heap.extend(Cursor::new(run, &file)?);
        }
        let mut merging = Merging { file, heap, _held: held };
        (0..merging.heap.len() / 2).rev().for_each(|place| merging.sift_down(place));
        Ok(merging)
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let least = [2 * place + 1, 2 * place + 2].into_iter().filter(|child| *child < self.heap.len()).fold(
                place,
                |least, child| if self.heap[child].key() < self.heap[least].key() { child } else { least },
            );
            if least == place {
                return;
            }
            self.heap.swap(place, least);
            place = least;
        }
    }

    /// The next `rows` rows or fewer, as places in batches; `None` at the end.
    #[allow(clippy::type_complexity)]
    fn next(&mut self, rows: usize) -> Result<Option<(Vec<Batch>, Vec<(usize, usize)>)>> {
        let (mut batches, mut places): (Vec<Batch>, Vec<(usize, usize)>) = (Vec::new(), Vec::with_capacity(rows));
        self.heap.iter_mut().for_each(|cursor| cursor.slot = None);
        while places.len() < rows
            && let Some(top) = self.heap.first_mut()
        {
            let slot = *top.slot.get_or_insert_with(|| {
                batches.push(top.batch.clone());
                batches.len() - 1
            });
            places.push((slot, top.row));
            if !top.advance(&self.file)? {
                self.heap.swap_remove(0);
            }
            if !self.heap.is_empty() {
                self.sift_down(0);
            }
        }
        Ok((!places.is_empty()).then_some((batches, places)))
    }
}

/// What a merge gives, a batch a morsel: who claims merges, who runs gathers.
struct Merge {
    merging: Mutex<Merging>,
    size: usize,
    morsels: usize,
}

impl Source for Merge {
    fn claim(&self) -> Result<Option<Task>> {
        let Some((batches, places)) = self.merging.lock().next(self.size)? else { return Ok(None) };
        Ok(Some(Box::new(move |emit| {
            let columns = batches[0].columns.len() - 1;
            emit(gather(&batches, columns, &places)?)
        })))
    }

    fn morsels(&self) -> Option<usize> {
        Some(self.morsels)
    }
}
