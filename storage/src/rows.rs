//! Rows by name: places, row sets, and reading single rows.
//!
//! A *place* says where a row is within one snapshot: `ordinal << 32 | row`, where the ordinal counts the table's parts in order and
//! then the partitions of its head, and the row is the number in that part or in that partition's head, deleted rows counted. A
//! place means something only with its snapshot.
//!
//! A [`RowSet`] goes on meaning the same rows afterwards: it has rows of parts by the part's id, rows of the head by partition and
//! sequence number, and rows that an uncommitted transaction has added itself by their number among those.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::{BooleanBuffer, MutableBuffer};
use arrow::compute::{concat, filter_record_batch, take};
use arrow::error::ArrowError;
use arrow::util::bit_util;
use roaring::{RoaringBitmap, RoaringTreemap};

use crate::def::TableId;
use crate::error::{Error, Result};
use crate::head::Runs;
use crate::marks::Marks;
use crate::moved::PartRows;
use crate::scan::project;
use crate::shown::Shown;
use crate::snapshot::Snapshot;
use crate::state::TableState;

/// The sequence numbers, by table and partition, from which on the rows of a head are an uncommitted transaction's own.
pub(crate) type OwnRows = HashMap<(TableId, Arc<str>), u64>;

/// Rows of one table, named so that they can still be told once the snapshot is gone in which they were found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowSet {
    pub(crate) parts: PartRows,
    /// By partition, sequence numbers.
    pub(crate) head: BTreeMap<Arc<str>, RoaringTreemap>,
    /// By partition, numbers among the rows that the same commit appends there before.
    pub(crate) own: BTreeMap<Arc<str>, RoaringTreemap>,
}

impl RowSet {
    /// How many rows it names.
    pub fn len(&self) -> u64 {
        let head = self.head.values().chain(self.own.values()).map(RoaringTreemap::len);
        self.parts.values().map(RoaringBitmap::len).chain(head).sum()
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the rows of another set of the same table.
    pub fn union(&mut self, other: &RowSet) {
        for (part, rows) in &other.parts {
            *self.parts.entry(*part).or_default() |= rows;
        }
        for (mine, theirs) in [(&mut self.head, &other.head), (&mut self.own, &other.own)] {
            for (partition, rows) in theirs {
                *mine.entry(partition.clone()).or_default() |= rows;
            }
        }
    }

    /// About how many bytes it takes in a record of the log.
    pub(crate) fn record_bytes(&self) -> usize {
        let head = self.head.iter().chain(&self.own).map(|(partition, rows)| partition.len() + rows.serialized_size());
        self.parts.values().map(|rows| 16 + rows.serialized_size()).chain(head).sum()
    }
}

/// Rows of one table to mark, as a record of the log has them: rows of a head are numbered from the partition's first at
/// that version.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marked {
    pub(crate) parts: PartRows,
    pub(crate) head: Vec<(Arc<str>, RoaringBitmap)>,
}

/// The place of a row.
pub(crate) fn place(ordinal: usize, row: u64) -> u64 {
    (ordinal as u64) << 32 | row
}

fn split(place: u64) -> (usize, u32) {
    ((place >> 32) as usize, place as u32)
}

/// The numbers of `rows` rows without those of `dead`, which is sorted.
pub(crate) fn living(dead: &[u32], rows: usize) -> Vec<u32> {
    let mut living = Vec::with_capacity(rows - dead.len());
    let mut next = 0;
    for &dead in dead {
        living.extend(next..dead);
        next = dead + 1;
    }
    living.extend(next..rows as u32);
    living
}

/// Which of the rows of a run are not marked; `None` when all are.
pub(crate) fn living_mask(deleted: &Marks, from: u64, rows: usize) -> Option<BooleanArray> {
    let range = from..from + rows as u64;
    if deleted.count(range.clone()) == 0 {
        return None;
    }
    let mut bits = MutableBuffer::new(rows.div_ceil(8)).with_bitset(rows.div_ceil(8), true);
    deleted.iter(range).for_each(|dead| bit_util::unset_bit(&mut bits, (dead - from) as usize));
    Some(BooleanArray::new(BooleanBuffer::new(bits.into(), 0, rows), None))
}

/// The rows of `batch`, which begins at row `from`, that are not marked.
pub(crate) fn without_deleted(batch: &RecordBatch, deleted: &Marks, from: u64) -> Result<RecordBatch> {
    match living_mask(deleted, from, batch.num_rows()) {
        None => Ok(batch.clone()),
        Some(mask) => filter_record_batch(batch, &mask).map_err(invalid),
    }
}

pub(crate) fn invalid(error: ArrowError) -> Error {
    Error::invalid(error.to_string())
}

impl Snapshot {
    /// The rows at these places of a table, which come from this very snapshot, in any order.
    pub fn row_set(&self, table: TableId, places: &[u64]) -> Result<RowSet> {
        let table = self.table(table).ok_or(Error::NoTable { table: table.0 })?;
        let mut set = RowSet::default();
        each_ordinal(places, |ordinal, rows| {
            let rows = rows.iter().map(|&(row, _)| row);
            match table.at(ordinal).ok_or_else(no_place)? {
                At::Part(shown) => set.parts.entry(shown.id()).or_default().extend(rows),
                At::Head(partition, runs) => {
                    let own = self.own.get(&(table.id(), partition.clone())).copied().unwrap_or(u64::MAX);
                    for row in rows.map(|row| runs.first + u64::from(row)) {
                        let (rows, number) = if row < own { (&mut set.head, row) } else { (&mut set.own, row - own) };
                        rows.entry(partition.clone()).or_default().insert(number);
                    }
                }
            }
            Ok(())
        })?;
        Ok(set)
    }

    /// Columns of the rows at these places of a table, which come from this very snapshot, in the order given.
    pub fn take(&self, table: TableId, places: &[u64], columns: &[usize]) -> Result<RecordBatch> {
        let table = self.table(table).ok_or(Error::NoTable { table: table.0 })?;
        let schema = project(&table.def().schema, columns)?;
        let mut pieces: Vec<Vec<ArrayRef>> = vec![Vec::new(); columns.len()];
        // Where in the joined pieces the row of each place is.
        let (mut order, mut taken) = (vec![0u32; places.len()], 0);
        each_ordinal(places, |ordinal, rows| {
            let mut numbers: Vec<u32> = Vec::with_capacity(rows.len());
            for &(row, at) in rows {
                if numbers.last() != Some(&row) {
                    numbers.push(row);
                }
                order[at] = (taken + numbers.len() - 1) as u32;
            }
            taken += numbers.len();
            match table.at(ordinal).ok_or_else(no_place)? {
                At::Part(shown) => take_part(shown, &numbers, columns, &mut pieces),
                At::Head(_, runs) => take_head(runs, &numbers, columns, &mut pieces),
            }
        })?;
        let order = UInt32Array::from(order);
        let join = |(pieces, field): (Vec<ArrayRef>, &Arc<arrow::datatypes::Field>)| -> Result<ArrayRef> {
            let joined = match &pieces[..] {
                [] => return Ok(arrow::array::new_empty_array(field.data_type())),
                [one] => one.clone(),
                many => concat(&many.iter().map(|piece| &**piece).collect::<Vec<_>>()).map_err(invalid)?,
            };
            take(&joined, &order, None).map_err(invalid)
        };
        let arrays = pieces.into_iter().zip(schema.fields()).map(join).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        RecordBatch::try_new_with_options(schema.clone(), arrays, &options).map_err(invalid)
    }
}

fn no_place() -> Error {
    Error::invalid("a place that is not in the table")
}

/// What an ordinal counts.
enum At<'a> {
    Part(&'a Shown),
    Head(&'a Arc<str>, &'a Runs),
}

impl TableState {
    fn at(&self, ordinal: usize) -> Option<At<'_>> {
        match ordinal.checked_sub(self.parts.len()) {
            None => Some(At::Part(&self.parts[ordinal])),
            Some(number) => self.head.partitions.iter().nth(number).map(|(partition, runs)| At::Head(partition, runs)),
        }
    }
}

/// Hands on places sorted and by ordinal: for each the row number, and where it stands in `places`.
fn each_ordinal(places: &[u64], mut each: impl FnMut(usize, &[(u32, usize)]) -> Result<()>) -> Result<()> {
    let mut sorted: Vec<(u64, usize)> = places.iter().enumerate().map(|(at, &place)| (place, at)).collect();
    sorted.sort_unstable();
    for run in sorted.chunk_by(|a, b| split(a.0).0 == split(b.0).0) {
        let rows: Vec<(u32, usize)> = run.iter().map(|&(place, at)| (split(place).1, at)).collect();
        each(split(run[0].0).0, &rows)?;
    }
    Ok(())
}

/// Reads rows of a part, ascending.
fn take_part(shown: &Shown, rows: &[u32], columns: &[usize], pieces: &mut [Vec<ArrayRef>]) -> Result<()> {
    let starts = shown.starts()?;
    let granule_of = |row: u32| starts.partition_point(|&start| start <= u64::from(row)) - 1;
    let mut rest = rows;
    while let Some(&first) = rest.first() {
        let granule = granule_of(first);
        let (start, end) = (starts[granule], starts.get(granule + 1).copied().ok_or_else(no_place)?);
        let (here, after) = rest.split_at(rest.partition_point(|&row| u64::from(row) < end));
        rest = after;
        let selection: Vec<u32> = here.iter().map(|&row| row - start as u32).collect();
        for (&column, pieces) in columns.iter().zip(&mut *pieces) {
            pieces.push(shown.read(granule, column, Some(&selection))?);
        }
    }
    Ok(())
}

/// Reads rows of a partition's head, ascending.
fn take_head(runs: &Runs, rows: &[u32], columns: &[usize], pieces: &mut [Vec<ArrayRef>]) -> Result<()> {
    let (mut rest, mut start) = (rows, 0);
    for run in runs.iter() {
        let count = run.batch.num_rows() as u32;
        let (here, after) = rest.split_at(rest.partition_point(|&row| row < start + count));
        rest = after;
        if !here.is_empty() {
            let selection = UInt32Array::from_iter_values(here.iter().map(|&row| row - start));
            for (&column, pieces) in columns.iter().zip(&mut *pieces) {
                pieces.push(take(run.batch.column(column), &selection, None).map_err(invalid)?);
            }
        }
        start += count;
    }
    if rest.is_empty() { Ok(()) } else { Err(no_place()) }
}
