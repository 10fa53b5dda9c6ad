//! Scans: the granules of one table at one version, in part order and then the head.
//!
//! A granule is what a worker takes and reads by columns and, after a filter, by rows. The head has no granules of its own: its
//! runs are grouped into batches of at most as many rows, joined when they are read. Runs that stay what they are until they are flushed are
//! in no granule with others.
//!
//! Deleted rows are not there: rows are counted and selected among the living ones, and a granule without any is left out. A
//! granule without deleted rows is read as if there were no such thing; of the others, min, max and NULL counts are not told.

use std::cell::LazyCell;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use memchr::memmem::Finder;

use crate::closed_up::closed_up;
use crate::def::{PartId, TableDef};
use crate::encoding::{CodeRange, Coded};
use crate::error::{Error, Result};
use crate::head::{Run, Runs};
use crate::index;
use crate::marks::Marks;
use crate::part::Part;
use crate::prune::{Condition, Prune, prune};
use crate::rows::{living, place};
use crate::shown::Shown;
use crate::state::TableState;

/// The granules that survive pruning.
#[derive(Debug, Clone)]
pub struct Scan {
    def: Arc<TableDef>,
    parts: Arc<Vec<Shown>>,
    /// The partitions of the head: first sequence number, and those of deleted rows.
    head: Vec<(u64, Marks)>,
    granules: Vec<Granule>,
    stats: ScanStats,
    by_index: Vec<(String, usize)>,
}

#[derive(Debug, Clone)]
enum Granule {
    /// A granule of a part, both by number, with so many living rows.
    Part { part: u32, granule: u32, rows: u32 },
    /// Pieces of batches of one partition of the head, by number; the first of their rows by number, and how many live. And the full run that
    /// they are of, with its first row.
    Head { partition: u32, from: u32, rows: u32, batches: Vec<RecordBatch>, run: Option<(Arc<Run>, u32)> },
}

/// What pruning did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanStats {
    /// Granules of parts before pruning.
    pub granules_total: usize,
    /// Left out by the sort key's index.
    pub granules_pruned_by_key: usize,
    /// Left out by min, max and NULL counts.
    pub granules_pruned_by_zone: usize,
    /// Left out because a value is not in the part's dictionary.
    pub granules_pruned_by_dictionary: usize,
    /// Parts before pruning.
    pub parts_total: usize,
    /// Parts of which nothing is left.
    pub parts_pruned: usize,
}

/// What is known of one column of a granule without reading it.
#[derive(Debug, Clone)]
pub struct Zone {
    /// The least value: one row; NULL when the granule has no values.
    pub min: ArrayRef,
    /// The greatest value: one row; NULL when the granule has no values.
    pub max: ArrayRef,
    /// How many rows are NULL.
    pub null_count: usize,
}

impl Scan {
    pub(crate) fn new(table: &TableState, conditions: &[Condition], granule_rows: usize) -> Result<Scan> {
        let mut granules = Vec::new();
        let (mut stats, mut by_index) = (ScanStats::default(), Vec::new());
        for (number, shown) in table.parts.iter().enumerate() {
            let pruned = prune(shown, conditions)?;
            let rows = shown.granules()?;
            stats.parts_total += 1;
            stats.parts_pruned += usize::from(pruned.granules.is_empty());
            stats.granules_total += rows.len();
            stats.granules_pruned_by_key += pruned.by_key;
            stats.granules_pruned_by_zone += pruned.by_zone;
            stats.granules_pruned_by_dictionary += pruned.by_dictionary;
            for (indexes, count) in pruned.by_index {
                count_index(&mut by_index, index_names(table.def(), &indexes), count);
            }
            let part = number as u32;
            for granule in pruned.granules {
                let living = rows[granule as usize] - deleted_rows(shown, granule)?;
                if living > 0 {
                    granules.push(Granule::Part { part, granule, rows: living });
                }
            }
        }
        let mut head = Vec::new();
        for (_, runs) in table.head.partitions.iter() {
            head_granules(runs, head.len() as u32, granule_rows, &mut granules);
            head.push((runs.first, runs.deleted.clone()));
        }
        Ok(Scan { def: table.def().clone(), parts: table.parts.clone(), head, granules, stats, by_index })
    }

    /// The table's definition.
    pub fn def(&self) -> &Arc<TableDef> {
        &self.def
    }

    /// How many granules there are.
    pub fn len(&self) -> usize {
        self.granules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.granules.is_empty()
    }

    /// The number of rows of granule `i`.
    pub fn rows(&self, i: usize) -> usize {
        match &self.granules[i] {
            Granule::Part { rows, .. } | Granule::Head { rows, .. } => *rows as usize,
        }
    }

    /// The number of rows of granule `i`, deleted ones counted; which are, and the number of its first one there.
    fn marks(&self, i: usize) -> Result<(usize, &Marks, u64)> {
        Ok(match &self.granules[i] {
            Granule::Part { part, granule, .. } => {
                let shown = &self.parts[*part as usize];
                let at = *granule as usize;
                (shown.granules()?[at] as usize, &shown.deleted, shown.starts()?[at])
            }
            Granule::Head { partition, from, batches, .. } => {
                let (first, deleted) = &self.head[*partition as usize];
                (batches.iter().map(RecordBatch::num_rows).sum(), deleted, first + u64::from(*from))
            }
        })
    }

    /// The numbers that the deleted rows of granule `i` have among all its rows, and how many those are.
    fn dead(&self, i: usize) -> Result<(Vec<u32>, usize)> {
        let (rows, deleted, from) = self.marks(i)?;
        let dead = if rows == self.rows(i) { Vec::new() } else { deleted.offsets(from..from + rows as u64) };
        Ok((dead, rows))
    }

    /// The numbers that the living rows of granule `i` have among all its rows; `None` when all live.
    fn living(&self, i: usize) -> Result<Option<Vec<u32>>> {
        let (dead, rows) = self.dead(i)?;
        Ok((!dead.is_empty()).then(|| living(&dead, rows)))
    }

    /// Whether granule `i` has deleted rows.
    fn has_deleted(&self, i: usize) -> bool {
        self.marks(i).map_or(true, |(rows, ..)| rows != self.rows(i))
    }

    /// Places ([`Snapshot::row_set`](crate::Snapshot::row_set), [`Snapshot::take`](crate::Snapshot::take)) of the rows of granule `i`,
    /// all or the selected ones (sorted row numbers within the granule).
    pub fn places(&self, i: usize, selection: Option<&[u32]>) -> Result<UInt64Array> {
        let first = match &self.granules[i] {
            Granule::Part { part, granule, .. } => {
                let start = self.parts[*part as usize].starts()?[*granule as usize];
                place(*part as usize, start)
            }
            Granule::Head { partition, from, .. } => place(self.parts.len() + *partition as usize, (*from).into()),
        };
        let of = |rows: &mut dyn Iterator<Item = u32>| rows.map(|row| first + u64::from(row)).collect::<Vec<_>>();
        let places = match (self.living(i)?, selection) {
            (None, None) => of(&mut (0..self.rows(i) as u32)),
            (None, Some(selection)) => of(&mut selection.iter().copied()),
            (Some(living), None) => of(&mut living.into_iter()),
            (Some(living), Some(selection)) => of(&mut selection.iter().map(|&row| living[row as usize])),
        };
        Ok(places.into())
    }

    /// What pruning did.
    pub fn stats(&self) -> ScanStats {
        self.stats
    }

    /// How many granules were left out by each index that was asked, after all else; several names where they were asked together, in
    /// an OR.
    pub fn pruned_by_index(&self) -> &[(String, usize)] {
        &self.by_index
    }

    /// The part that granule `i` is in; `None` when it is in the head.
    pub fn part(&self, i: usize) -> Option<PartId> {
        match &self.granules[i] {
            Granule::Part { part, .. } => Some(self.parts[*part as usize].id()),
            Granule::Head { .. } => None,
        }
    }

    /// Where granule `i` lies: its part, by its number in [`Scan::shown`], and its own number there; `None` when it is in the head.
    pub fn place_in_part(&self, i: usize) -> Option<(usize, usize)> {
        match &self.granules[i] {
            Granule::Part { part, granule, .. } => Some((*part as usize, *granule as usize)),
            Granule::Head { .. } => None,
        }
    }

    /// The run of the head that granule `i` is in, if it stays as it is until it is flushed.
    pub fn run(&self, i: usize) -> Option<&Arc<Run>> {
        match &self.granules[i] {
            Granule::Head { run: Some((run, _)), .. } => Some(run),
            _ => None,
        }
    }

    /// Which rows of that run are deleted, ascending, counted from its first.
    pub fn deleted_in_run(&self, i: usize) -> Vec<u32> {
        let Granule::Head { partition, run: Some((run, from)), .. } = &self.granules[i] else { return Vec::new() };
        let (first, deleted) = &self.head[*partition as usize];
        let first = first + u64::from(*from);
        deleted.offsets(first..first + run.rows() as u64)
    }

    /// The table's parts, pruned ones too.
    pub fn shown(&self) -> &[Shown] {
        &self.parts
    }

    /// What is known of a column of granule `i`; `None` when nothing is, as in the head, or where rows are deleted.
    pub fn zone(&self, i: usize, column: usize) -> Option<Zone> {
        let Granule::Part { part, granule, .. } = self.granules[i] else { return None };
        if self.has_deleted(i) {
            return None;
        }
        let (index, granule) = (self.parts[part as usize].index(column).ok()?, granule as usize);
        let (min, max) = index.zones.as_ref()?;
        // A zone without values is known only when there are none.
        let null_count = index.nulls[granule] as usize;
        let known = min.is_valid(granule) || null_count == self.rows(i);
        known.then(|| Zone { min: min.slice(granule, 1), max: max.slice(granule, 1), null_count })
    }

    /// How many rows of granule `i` are NULL in a column; `None` when that is not known, as in the head, or where rows are deleted.
    pub fn null_count(&self, i: usize, column: usize) -> Option<usize> {
        let Granule::Part { part, granule, .. } = self.granules[i] else { return None };
        if self.has_deleted(i) {
            return None;
        }
        Some(self.parts[part as usize].index(column).ok()?.nulls[granule as usize] as usize)
    }

    /// Reads columns of granule `i`, all rows or the selected ones (sorted row numbers within the granule).
    pub fn read(&self, i: usize, columns: &[usize], selection: Option<&[u32]>) -> Result<RecordBatch> {
        let schema = project(&self.def.schema, columns)?;
        let rows = selection.map_or(self.rows(i), <[u32]>::len);
        let (dead, all) = self.dead(i)?;
        let living = LazyCell::new(|| chosen(&dead, all, selection));
        let chosen = || if dead.is_empty() { selection } else { Some(living.as_slice()) };
        // Values of a fixed width are decoded together, dead ones too, when those are few.
        let close_up = selection.is_none() && !dead.is_empty() && dead.len() < all / 2;
        let arrays = match &self.granules[i] {
            Granule::Part { part, granule, .. } => {
                let (part, granule) = (&self.parts[*part as usize], *granule as usize);
                let read = |(&column, field): (&usize, &FieldRef)| match field.data_type().primitive_width() {
                    Some(_) if close_up => closed_up(&part.read(granule, column, None)?, &dead),
                    _ => part.read(granule, column, chosen()),
                };
                columns.iter().zip(schema.fields()).map(read).collect::<Result<Vec<_>>>()?
            }
            Granule::Head { batches, .. } => read_head(batches, &schema, columns, chosen())?,
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema, arrays, &options).map_err(|error| Error::invalid(error.to_string()))
    }

    /// Reads a column of granule `i` as codes, all rows or the selected ones; `None` where it is not kept in codes.
    pub fn codes(&self, i: usize, column: usize, selection: Option<&[u32]>) -> Result<Option<Coded>> {
        self.encoded(i, selection, |part, granule, selection| part.codes(granule, column, selection))
    }

    /// Which rows of granule `i` are NULL in a column, of all rows or of the selected ones; `None` where that is not known without reading it.
    pub fn nulls(&self, i: usize, column: usize, selection: Option<&[u32]>) -> Result<Option<NullBuffer>> {
        self.encoded(i, selection, |part, granule, selection| part.nulls(granule, column, selection))
    }

    /// How many bytes the values of a text column of granule `i` have, of all rows or of the selected ones; NULL has none. `None` where that is not
    /// known without reading them.
    pub fn lengths(&self, i: usize, column: usize, selection: Option<&[u32]>) -> Result<Option<Int32Array>> {
        self.encoded(i, selection, |part, granule, selection| part.lengths(granule, column, selection))
    }

    /// Reads a text column of granule `i` whose values are JSON, all rows or the selected ones, with only those fields of the objects that have
    /// these names: `{"a": 1, "b": 2}` is `{"a": 1}`, or `{}`. `None` where that is not known of the values, or they are not kept so.
    pub fn fields(
        &self,
        i: usize,
        column: usize,
        selection: Option<&[u32]>,
        names: &[String],
    ) -> Result<Option<ArrayRef>> {
        self.encoded(i, selection, |part, granule, selection| part.fields(granule, column, selection, names))
    }

    /// Which rows of granule `i` have a text in a text column; NULL has none. `None` where that is best found value by value, as where rows
    /// are deleted.
    pub fn containing(&self, i: usize, column: usize, needle: &str) -> Result<Option<BooleanBuffer>> {
        if self.has_deleted(i) {
            return Ok(None);
        }
        self.encoded(i, None, |part, granule, _| part.containing(granule, column, &Finder::new(needle)))
    }

    /// For which rows of granule `i` a comparison holds. `None` where that is best found value by value, as where rows are deleted.
    pub fn comparing(&self, i: usize, comparison: &Prune) -> Result<Option<BooleanBuffer>> {
        if self.has_deleted(i) {
            return Ok(None);
        }
        let column = comparison.column;
        match (comparison.numbers(), comparison.emptiness()) {
            (Some(numbers), _) => self.encoded(i, None, |part, granule, _| part.within(granule, column, &numbers)),
            (None, Some(empty)) => self.encoded(i, None, |part, granule, _| part.empty(granule, column, empty)),
            (None, None) => Ok(None),
        }
    }

    /// Which rows of granule `i` have a value whose code is one of those that `wanted` finds in its part's dictionary, if it can. NULL has none.
    /// `None` where that is best found value by value, as where rows are deleted.
    pub fn codes_within(
        &self,
        i: usize,
        column: usize,
        wanted: impl FnOnce(&ArrayRef) -> Option<CodeRange>,
    ) -> Result<Option<BooleanBuffer>> {
        if self.has_deleted(i) {
            return Ok(None);
        }
        self.encoded(i, None, |part, granule, _| part.codes_within(granule, column, wanted))
    }

    /// What a part knows of the living rows of granule `i`, all or the selected ones; nothing of the head.
    fn encoded<T>(
        &self,
        i: usize,
        selection: Option<&[u32]>,
        read: impl FnOnce(&Part, usize, Option<&[u32]>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let Granule::Part { part, granule, .. } = self.granules[i] else { return Ok(None) };
        let (dead, all) = self.dead(i)?;
        let living = (!dead.is_empty()).then(|| chosen(&dead, all, selection));
        read(&self.parts[part as usize], granule as usize, living.as_deref().or(selection))
    }
}

/// The living rows, all or the selected ones of them, as numbers among all rows.
fn chosen(dead: &[u32], all: usize, selection: Option<&[u32]>) -> Vec<u32> {
    let living = living(dead, all);
    match selection {
        Some(selection) => selection.iter().map(|&row| living[row as usize]).collect(),
        None => living,
    }
}

/// How many rows of a granule are deleted.
fn deleted_rows(shown: &Shown, granule: u32) -> Result<u32> {
    if shown.deleted.is_empty() {
        return Ok(0);
    }
    let starts = shown.starts()?;
    let at = granule as usize;
    Ok(shown.deleted.count(starts[at]..starts[at + 1]) as u32)
}

/// Groups the runs of a partition into granules.
fn head_granules(runs: &Runs, partition: u32, granule_rows: usize, granules: &mut Vec<Granule>) {
    let (mut batches, mut rows, mut from) = (Vec::new(), 0, 0u32);
    let mut push = |batches: Vec<RecordBatch>, count: usize, run: Option<(Arc<Run>, u32)>| {
        let first = runs.first + u64::from(from);
        let dead = runs.deleted.count(first..first + count as u64) as u32;
        let rows = count as u32 - dead;
        if rows > 0 {
            granules.push(Granule::Head { partition, from, rows, batches, run });
        }
        from += count as u32;
    };
    let mut at = 0;
    for run in runs.iter() {
        if run.is_full() && rows > 0 {
            push(std::mem::take(&mut batches), rows, None);
            rows = 0;
        }
        let full = run.is_full().then(|| (run.clone(), at));
        at += run.rows() as u32;
        let mut batch = run.batch.clone();
        while batch.num_rows() > 0 {
            let piece = batch.slice(0, batch.num_rows().min(granule_rows - rows));
            batch = batch.slice(piece.num_rows(), batch.num_rows() - piece.num_rows());
            rows += piece.num_rows();
            batches.push(piece);
            if rows == granule_rows || full.is_some() {
                push(std::mem::take(&mut batches), rows, full.clone());
                rows = 0;
            }
        }
    }
    if rows > 0 {
        push(batches, rows, None);
    }
}

fn index_names(def: &TableDef, ids: &[u32]) -> String {
    let names = ids.iter().filter_map(|&id| index::find(def, id)).map(|index| index.name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

fn count_index(counts: &mut Vec<(String, usize)>, name: String, count: usize) {
    match counts.iter_mut().find(|(known, _)| *known == name) {
        Some((_, sum)) => *sum += count,
        None => counts.push((name, count)),
    }
}

pub(crate) fn project(schema: &SchemaRef, columns: &[usize]) -> Result<SchemaRef> {
    if columns.len() == schema.fields().len() && columns.iter().enumerate().all(|(at, &column)| at == column) {
        return Ok(schema.clone());
    }
    let fields: Option<Vec<_>> = columns.iter().map(|&column| schema.fields().get(column).cloned()).collect();
    let fields = fields.ok_or_else(|| Error::invalid(format!("one of columns {columns:?} is not there")))?;
    Ok(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

fn read_head(
    batches: &[RecordBatch],
    schema: &SchemaRef,
    columns: &[usize],
    selection: Option<&[u32]>,
) -> Result<Vec<ArrayRef>> {
    let read = || -> std::result::Result<Vec<ArrayRef>, arrow::error::ArrowError> {
        let batches: Vec<RecordBatch> =
            batches.iter().map(|batch| batch.project(columns)).collect::<std::result::Result<_, _>>()?;
        let joined = match &batches[..] {
            [one] => one.clone(),
            // Without columns there is nothing to join.
            _ if columns.is_empty() => return Ok(Vec::new()),
            many => concat_batches(many[0].schema_ref(), many)?,
        };
        let Some(selection) = selection else { return Ok(joined.columns().to_vec()) };
        let rows = UInt32Array::from(selection.to_vec());
        joined.columns().iter().map(|column| take(column, &rows, None)).collect()
    };
    read().map_err(|error| Error::invalid(format!("rows of {:?}: {error}", schema.fields())))
}
