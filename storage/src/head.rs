//! The head: a table's rows that are logged but not yet in parts, by partition, in the order they came.
//!
//! Rows are kept in *runs*, each a record batch. Appends of a row or two would leave thousands of tiny batches, so equal-sized runs
//! are joined eight at a time: a partition has at most seven runs of each size class (1, 8, 64, 512, 4096 rows) and then full
//! ones, and every row is copied about four times in all. An append copies pointers, and now and then joins a few runs;
//! it never copies the head. Everything is shared by reference with the snapshots that show it.
//!
//! A flush takes the rows that are there when it begins: it *seals* them. Sealed runs are left alone until the flush is
//! committed, and rows that come meanwhile form new runs.
//!
//! A row has a *sequence number* in its partition, which it keeps while it is in the head: joining runs changes neither order nor
//! count, and a flush takes the oldest rows. Numbers are never used again while the store is open, so a row set that names rows that
//! are gone can never hit others. Deleted rows are marked by number and stay in their runs until the flush.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, RecordBatch, StructArray};
use arrow::compute::concat;
use arrow::datatypes::{DataType, SchemaRef};
use roaring::RoaringBitmap;

use crate::error::Result;
use crate::key::extremes;
use crate::map::Map;
use crate::marks::Marks;
use crate::unique::Entry;

/// How many runs of a size class are joined into one of the next.
const FAN_IN: usize = 8;
/// Runs of this many rows are joined no further.
const RUN_ROWS: usize = 8192;

/// Some rows of one partition. They never change; what changes is which runs there are.
#[derive(Debug)]
pub struct Run {
    pub(crate) batch: RecordBatch,
    /// What the rows took in the log: how much they count for the head's limits.
    pub(crate) bytes: usize,
    /// Its rows by the hash of their unique key; nothing when the table has none.
    pub(crate) keys: Vec<Entry>,
    /// Of each column, once somebody asked.
    bounds: Vec<OnceLock<Option<(ArrayRef, ArrayRef)>>>,
}

impl Run {
    fn new(batch: RecordBatch, bytes: usize, keys: Vec<Entry>) -> Arc<Run> {
        let bounds = batch.columns().iter().map(|_| OnceLock::new()).collect();
        Arc::new(Run { batch, bytes, keys, bounds })
    }

    /// Whether it is joined with others no more: it stays what it is until it is flushed.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.num_rows() >= RUN_ROWS
    }

    /// How many rows it has, deleted ones counted.
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// How many values of a column are NULL, those of deleted rows counted.
    pub fn nulls(&self, column: usize) -> usize {
        self.batch.column(column).logical_null_count()
    }

    /// The least and the greatest value of a column, one row each, those of deleted rows among them; `None` where they are not known.
    pub fn bounds(&self, column: usize) -> Option<&(ArrayRef, ArrayRef)> {
        let bounds = || {
            let values = self.batch.column(column);
            let (least, greatest) = extremes(values)?;
            Some((values.slice(least, 1), values.slice(greatest, 1)))
        };
        self.bounds[column].get_or_init(bounds).as_ref()
    }

    fn class(&self) -> u32 {
        self.batch.num_rows().max(1).ilog(FAN_IN)
    }
}

/// Runs of one partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs {
    /// The sequence number of the first row.
    pub(crate) first: u64,
    /// Sequence numbers of the rows that are deleted.
    pub(crate) deleted: Marks,
    /// Being flushed.
    pub(crate) sealed: Arc<Vec<Arc<Run>>>,
    /// The newest.
    pub(crate) open: Arc<Vec<Arc<Run>>>,
}

impl Runs {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.sealed.iter().chain(self.open.iter())
    }

    /// The sequence number after the last row's.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.iter().map(|run| run.batch.num_rows() as u64).sum::<u64>()
    }

    /// The sequence number after the last sealed row's.
    pub(crate) fn sealed_end(&self) -> u64 {
        self.first + self.sealed.iter().map(|run| run.batch.num_rows() as u64).sum::<u64>()
    }
}

/// The head of one table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    pub(crate) partitions: Map<Arc<str>, Runs>,
    /// Deleted ones too.
    pub(crate) rows: usize,
    pub(crate) deleted: usize,
    pub(crate) bytes: usize,
    /// The version of the last seal, when its rows are still here.
    pub(crate) sealed_at: Option<u64>,
    /// Where the sequence numbers of a partition begin that has no rows: no number from here on was ever used in one.
    clock: u64,
}

impl Head {
    /// Adds rows, which took `bytes` in the log, and of which `keys` are the hashes. Gives the first one's sequence number.
    pub(crate) fn append(&mut self, partition: &str, batch: RecordBatch, bytes: usize, keys: Vec<Entry>) -> u64 {
        let known = self.partitions.get(partition).cloned();
        let mut runs = known.unwrap_or_else(|| Runs { first: self.clock, ..Runs::default() });
        let at = runs.end();
        if batch.num_rows() == 0 {
            return at;
        }
        self.rows += batch.num_rows();
        self.bytes += bytes;
        let open = Arc::make_mut(&mut runs.open);
        open.push(Run::new(batch, bytes, keys));
        join(open);
        self.partitions.insert(partition.into(), runs);
        at
    }

    /// Marks rows of a partition, by sequence number, ascending. `None` when one of them is not there (any more).
    pub(crate) fn delete(&mut self, partition: &str, rows: impl Iterator<Item = u64>) -> Option<()> {
        let mut runs = self.partitions.get(partition)?.clone();
        let (there, before) = (runs.first..runs.end(), runs.deleted.len());
        let mut outside = false;
        let known = runs.deleted.insert(rows.inspect(|row| outside |= !there.contains(row)));
        if outside || known.is_some() {
            return None;
        }
        self.deleted += (runs.deleted.len() - before) as usize;
        self.partitions.insert(partition.into(), runs);
        Some(())
    }

    /// Marks all rows but those numbered so within their partitions.
    pub(crate) fn keep_only(&mut self, kept: &[(Arc<str>, RoaringBitmap)]) {
        let mut partitions = Map::default();
        for (partition, rows) in kept {
            let Some(runs) = self.partitions.get(partition) else { continue };
            let (first, end) = (runs.first, runs.end());
            let deleted = Marks::all_but(first..end, rows.iter().map(|row| first + u64::from(row)));
            partitions.insert(partition.clone(), Runs { deleted, ..runs.clone() });
        }
        let counts = partitions.iter().map(|(_, runs): (_, &Runs)| (runs.end() - runs.first, runs.deleted.len()));
        let (rows, deleted) = counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        (self.partitions, self.rows, self.deleted) = (partitions, rows as usize, deleted as usize);
    }

    /// Drops all rows.
    pub(crate) fn clear(&mut self) {
        let ends = self.partitions.iter().map(|(_, runs)| runs.end());
        *self = Head { clock: ends.fold(self.clock, u64::max), ..Head::default() };
    }

    /// Marks the rows so far as those that the next flush takes.
    pub(crate) fn seal(&mut self, version: u64) {
        let mut sealed = Map::default();
        for (partition, runs) in self.partitions.iter() {
            let all = runs.iter().cloned().collect();
            let runs = Runs { sealed: Arc::new(all), open: Arc::default(), ..runs.clone() };
            sealed.insert(partition.clone(), runs);
        }
        self.partitions = sealed;
        self.sealed_at = Some(version);
    }

    /// Drops the sealed rows: they are in parts now.
    pub(crate) fn drop_sealed(&mut self) {
        let mut rest = Map::default();
        (self.rows, self.deleted, self.bytes, self.sealed_at) = (0, 0, 0, None);
        for (partition, runs) in self.partitions.iter() {
            if runs.open.is_empty() {
                self.clock = self.clock.max(runs.end());
                continue;
            }
            for run in runs.open.iter() {
                self.rows += run.batch.num_rows();
                self.bytes += run.bytes;
            }
            let first = runs.sealed_end();
            let deleted = runs.deleted.without_before(first);
            self.deleted += deleted.len() as usize;
            rest.insert(partition.clone(), Runs { first, deleted, sealed: Arc::default(), open: runs.open.clone() });
        }
        self.partitions = rest;
    }

    /// Takes a partition's rows out. A flush that has begun is void: what it sealed and is still here is as if it were new.
    pub(crate) fn take_partition(&mut self, partition: &str) -> Option<Runs> {
        let taken = self.partitions.remove(partition)?;
        self.clock = self.clock.max(taken.end());
        for run in taken.iter() {
            self.rows -= run.batch.num_rows();
            self.bytes -= run.bytes;
        }
        self.deleted -= taken.deleted.len() as usize;
        self.unseal();
        Some(taken)
    }

    /// Changes every run's rows, whose number and order stay.
    pub(crate) fn convert(&mut self, change: impl Fn(&RecordBatch) -> Result<RecordBatch>) -> Result<()> {
        let convert = |runs: &[Arc<Run>]| -> Result<Arc<Vec<Arc<Run>>>> {
            let one = |run: &Arc<Run>| Ok(Run::new(change(&run.batch)?, run.bytes, run.keys.clone()));
            runs.iter().map(one).collect::<Result<_>>().map(Arc::new)
        };
        let mut partitions = Map::default();
        for (partition, runs) in self.partitions.iter() {
            let changed = Runs { sealed: convert(&runs.sealed)?, open: convert(&runs.open)?, ..runs.clone() };
            partitions.insert(partition.clone(), changed);
        }
        self.partitions = partitions;
        Ok(())
    }

    fn unseal(&mut self) {
        if self.sealed_at.take().is_none() {
            return;
        }
        let mut open = Map::default();
        for (partition, runs) in self.partitions.iter() {
            let all = runs.iter().cloned().collect();
            open.insert(partition.clone(), Runs { sealed: Arc::default(), open: Arc::new(all), ..runs.clone() });
        }
        self.partitions = open;
    }

    /// The partitions with sealed rows.
    pub(crate) fn sealed(&self) -> impl Iterator<Item = (&Arc<str>, &Runs)> {
        self.partitions.iter().filter(|(_, runs)| !runs.sealed.is_empty())
    }

    /// How many sealed rows are deleted.
    pub(crate) fn sealed_deleted(&self) -> u64 {
        self.sealed().map(|(_, runs)| runs.deleted.count(runs.first..runs.sealed_end())).sum()
    }
}

/// Joins runs at the end, as long as eight are of no higher class than the last.
fn join(runs: &mut Vec<Arc<Run>>) {
    while let Some(last) = runs.last() {
        let class = last.class();
        let small = |run: &&Arc<Run>| run.class() <= class && run.batch.num_rows() < RUN_ROWS;
        let count = runs.iter().rev().take_while(small).count();
        if count < FAN_IN {
            return;
        }
        let from = runs.len() - count;
        let batches: Vec<&RecordBatch> = runs[from..].iter().map(|run| &run.batch).collect();
        let Some(batch) = concat_compact(&runs[from].batch.schema(), &batches) else { return };
        let bytes = runs[from..].iter().map(|run| run.bytes).sum();
        let keys = join_keys(&runs[from..]);
        runs.truncate(from);
        runs.push(Run::new(batch, bytes, keys));
    }
}

/// The entries of joined runs.
fn join_keys(runs: &[Arc<Run>]) -> Vec<Entry> {
    let (mut keys, mut first) = (Vec::with_capacity(runs.iter().map(|run| run.keys.len()).sum()), 0);
    for run in runs {
        keys.extend(run.keys.iter().map(|&(hash, row)| (hash, first + row)));
        first += run.batch.num_rows() as u32;
    }
    // They are sorted runs, which the stable sort merges.
    keys.sort();
    keys
}

/// The batches as one, with text in one buffer instead of one a batch. `None` if they are not of one schema.
pub(crate) fn concat_compact(schema: &SchemaRef, batches: &[&RecordBatch]) -> Option<RecordBatch> {
    let columns: Option<Vec<ArrayRef>> = (0..schema.fields().len())
        .map(|column| {
            let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(column).as_ref()).collect();
            concat(&arrays).ok().map(compact)
        })
        .collect();
    let rows = batches.iter().map(|batch| batch.num_rows()).sum();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns?, &options).ok()
}

/// Copies text that is spread over many buffers into one.
fn compact(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        DataType::List(_) => {
            let (field, offsets, values, nulls) = array.as_list::<i32>().clone().into_parts();
            Arc::new(GenericListArray::new(field, offsets, compact(values), nulls))
        }
        DataType::Struct(_) => {
            let (fields, columns, nulls) = array.as_struct().clone().into_parts();
            if fields.is_empty() {
                return array;
            }
            Arc::new(StructArray::new(fields, columns.into_iter().map(compact).collect(), nulls))
        }
        _ => array,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringViewArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn batch(from: i32, rows: i32) -> RecordBatch {
        let schema =
            Schema::new(vec![Field::new("a", DataType::Int32, false), Field::new("b", DataType::Utf8View, false)]);
        let text = (from..from + rows).map(|i| format!("the text of row number {i}"));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values(from..from + rows)),
            Arc::new(StringViewArray::from_iter_values(text)),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    #[test]
    fn ten_thousand_one_row_appends_leave_few_runs_in_order() {
        let mut head = Head::default();
        let mut runs_max = 0;
        for row in 0..10_000 {
            head.append("p", batch(row, 1), 10, Vec::new());
            runs_max = runs_max.max(head.partitions.get("p").unwrap().open.len());
        }
        assert!(runs_max <= 40, "{runs_max} runs");
        assert_eq!((head.rows, head.bytes), (10_000, 100_000));
        let mut next = 0;
        for run in head.partitions.get("p").unwrap().iter() {
            let rows = run.batch.num_rows() as i32;
            assert_eq!(run.batch, batch(next, rows));
            assert!(run.batch.column(1).as_string_view().data_buffers().len() <= 2);
            next += rows;
        }
        assert_eq!(next, 10_000);
    }

    #[test]
    fn a_seal_keeps_apart_what_came_before_and_after() {
        let mut head = Head::default();
        (0..5).for_each(|row| _ = head.append("", batch(row, 1), 1, Vec::new()));
        head.seal(9);
        (5..12).for_each(|row| _ = head.append("", batch(row, 1), 1, Vec::new()));
        let sealed: u64 = head.sealed().map(|(_, runs)| runs.sealed_end() - runs.first).sum();
        assert_eq!((sealed, head.rows, head.sealed_at), (5, 12, Some(9)));
        head.drop_sealed();
        assert_eq!((head.rows, head.bytes, head.sealed_at), (7, 7, None));
        assert_eq!(head.partitions.get("").unwrap().open[0].batch, batch(5, 1));
    }
    #[test]
    fn sequence_numbers_stay_and_are_never_used_again() {
        let mut head = Head::default();
        for row in 0..20 {
            assert_eq!(head.append("", batch(row, 1), 1, Vec::new()), row as u64);
        }
        assert_eq!(head.delete("", [3, 19].into_iter()), Some(()));
        assert_eq!(head.delete("", [4, 19].into_iter()), None, "deleted twice");
        assert_eq!(head.delete("", [20].into_iter()), None, "not there");
        head.seal(1);
        assert_eq!(head.append("", batch(20, 5), 1, Vec::new()), 20);
        assert_eq!((head.rows, head.deleted, head.sealed_deleted()), (25, 2, 2));
        assert_eq!(head.delete("", [21].into_iter()), Some(()));
        head.drop_sealed();
        assert_eq!((head.rows, head.deleted, head.partitions.get("").unwrap().first), (5, 1, 20));
        assert_eq!(head.delete("", [5].into_iter()), None, "moved");
        head.seal(2);
        head.drop_sealed();
        assert_eq!(
            (head.rows, head.append("", batch(25, 1), 1, Vec::new()), head.append("q", batch(0, 1), 1, Vec::new())),
            (0, 25, 25)
        );
        head.clear();
        assert_eq!((head.rows, head.append("", batch(0, 1), 1, Vec::new())), (0, 26));
    }
}
