//! Scans: the granules of one table at one version, in part order and then the head.
//!
//! A granule is what a worker takes and reads by columns and, after a filter, by rows. The head has no granules of its own: its
//! runs are grouped into batches of at most as many rows, joined when they are read.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{Schema, SchemaRef};

use crate::def::{PartId, TableDef};
use crate::error::{Error, Result};
use crate::part::Part;
use crate::prune::{Condition, prune};
use crate::state::TableState;

/// The granules that survive pruning.
#[derive(Debug, Clone)]
pub struct Scan {
    def: Arc<TableDef>,
    parts: Arc<Vec<Arc<Part>>>,
    granules: Vec<Granule>,
    stats: ScanStats,
}

#[derive(Debug, Clone)]
enum Granule {
    /// A granule of a part, both by number.
    Part { part: u32, granule: u32, rows: u32 },
    /// Pieces of head batches.
    Head(Vec<RecordBatch>),
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
        let mut stats = ScanStats::default();
        for (number, part) in table.parts.iter().enumerate() {
            let pruned = prune(part, conditions)?;
            let rows = part.granules()?;
            stats.parts_total += 1;
            stats.parts_pruned += usize::from(pruned.granules.is_empty());
            stats.granules_total += rows.len();
            stats.granules_pruned_by_key += pruned.by_key;
            stats.granules_pruned_by_zone += pruned.by_zone;
            stats.granules_pruned_by_dictionary += pruned.by_dictionary;
            let part = number as u32;
            granules.extend(pruned.granules.iter().map(|&granule| Granule::Part {
                part,
                granule,
                rows: rows[granule as usize],
            }));
        }
        for (_, runs) in table.head.partitions.iter() {
            let (mut batches, mut rows) = (Vec::new(), 0);
            for run in runs.iter() {
                let mut batch = run.batch.clone();
                while batch.num_rows() > 0 {
                    let piece = batch.slice(0, batch.num_rows().min(granule_rows - rows));
                    batch = batch.slice(piece.num_rows(), batch.num_rows() - piece.num_rows());
                    rows += piece.num_rows();
                    batches.push(piece);
                    if rows == granule_rows {
                        granules.push(Granule::Head(std::mem::take(&mut batches)));
                        rows = 0;
                    }
                }
            }
            if rows > 0 {
                granules.push(Granule::Head(batches));
            }
        }
        Ok(Scan { def: table.def().clone(), parts: table.parts.clone(), granules, stats })
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
            Granule::Part { rows, .. } => *rows as usize,
            Granule::Head(batches) => batches.iter().map(RecordBatch::num_rows).sum(),
        }
    }

    /// What pruning did.
    pub fn stats(&self) -> ScanStats {
        self.stats
    }

    /// The part that granule `i` is in; `None` when it is in the head.
    pub fn part(&self, i: usize) -> Option<PartId> {
        match &self.granules[i] {
            Granule::Part { part, .. } => Some(self.parts[*part as usize].id()),
            Granule::Head(_) => None,
        }
    }

    /// What is known of a column of granule `i`; `None` when nothing is, as in the head.
    pub fn zone(&self, i: usize, column: usize) -> Option<Zone> {
        let Granule::Part { part, granule, .. } = self.granules[i] else { return None };
        let (index, granule) = (self.parts[part as usize].index(column).ok()?, granule as usize);
        let (min, max) = index.zones.as_ref()?;
        // A zone without values is known only when there are none.
        let null_count = index.nulls[granule] as usize;
        let known = min.is_valid(granule) || null_count == self.rows(i);
        known.then(|| Zone { min: min.slice(granule, 1), max: max.slice(granule, 1), null_count })
    }

    /// How many rows of granule `i` are NULL in a column; `None` in the head.
    pub fn null_count(&self, i: usize, column: usize) -> Option<usize> {
        let Granule::Part { part, granule, .. } = self.granules[i] else { return None };
        Some(self.parts[part as usize].index(column).ok()?.nulls[granule as usize] as usize)
    }

    /// Reads columns of granule `i`, all rows or the selected ones (sorted row numbers within the granule).
    pub fn read(&self, i: usize, columns: &[usize], selection: Option<&[u32]>) -> Result<RecordBatch> {
        let schema = project(&self.def.schema, columns)?;
        let rows = selection.map_or(self.rows(i), <[u32]>::len);
        let arrays = match &self.granules[i] {
            Granule::Part { part, granule, .. } => {
                let part = &self.parts[*part as usize];
                columns
                    .iter()
                    .map(|&column| part.read(*granule as usize, column, selection))
                    .collect::<Result<Vec<_>>>()?
            }
            Granule::Head(batches) => read_head(batches, &schema, columns, selection)?,
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema, arrays, &options).map_err(|error| Error::invalid(error.to_string()))
    }
}

fn project(schema: &SchemaRef, columns: &[usize]) -> Result<SchemaRef> {
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
