//! Folding rows with equal keys ([`Collapse`]) when heads are flushed and parts are merged.
//!
//! Rows come sorted, in batches of any size; [`Fold`] gathers some, cuts them where the key changes, and hands every run of equal
//! keys over whole. Folding makes tables smaller, never right: whoever reads them merges equal keys anyway. So when it
//! fails, the rows are kept as they are, and the next merge tries again.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};

use crate::def::{Collapse, TableDef};
use crate::encoding::raw_size;
use crate::error::{Error, Result};
use crate::sort::{key_rows, sort_order};
use crate::state::conform;

/// Rows are folded when there are this many…
const ROWS: usize = 64 << 10;
/// …or this many bytes of them.
const BYTES: usize = 32 << 20;

/// Gathers sorted rows and folds them.
pub(crate) struct Fold {
    collapse: Arc<dyn Collapse>,
    def: Arc<TableDef>,
    key: Vec<usize>,
    waiting: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    /// Rows and bytes with which the next ones are folded.
    enough: (usize, usize),
}

impl Fold {
    /// For a table whose definition asks for it.
    pub(crate) fn new(collapse: Option<&Arc<dyn Collapse>>, def: &Arc<TableDef>) -> Option<Fold> {
        let key = def.collapse.clone()?;
        let collapse = collapse?.clone();
        let enough = (ROWS, BYTES);
        Some(Fold { collapse, def: def.clone(), key, waiting: Vec::new(), rows: 0, bytes: 0, enough })
    }

    /// Takes rows that follow those before in the table's order; gives back rows that are folded.
    pub(crate) fn push(&mut self, rows: RecordBatch) -> Result<Option<RecordBatch>> {
        self.rows += rows.num_rows();
        self.bytes += bytes(&rows);
        self.waiting.push(rows);
        if self.rows < self.enough.0 && self.bytes < self.enough.1 {
            return Ok(None);
        }
        let rows = self.gather()?;
        let cut = last_run(&rows, &self.key)?;
        self.keep(rows.slice(cut, rows.num_rows() - cut));
        Ok((cut > 0).then(|| self.fold(rows.slice(0, cut))))
    }

    /// The rest.
    pub(crate) fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let rows = self.gather()?;
        self.keep(rows.slice(0, 0));
        Ok(Some(self.fold(rows)))
    }

    fn gather(&self) -> Result<RecordBatch> {
        concat_batches(&self.def.schema, &self.waiting).map_err(|error| Error::invalid(error.to_string()))
    }

    fn keep(&mut self, rows: RecordBatch) {
        (self.rows, self.bytes) = (rows.num_rows(), bytes(&rows));
        // A long run is looked at again only when it may have doubled.
        self.enough = (ROWS.max(2 * self.rows), BYTES.max(2 * self.bytes));
        self.waiting.clear();
        self.waiting.push(rows);
    }

    fn fold(&self, rows: RecordBatch) -> RecordBatch {
        let folded = self.collapse.collapse(&self.def, rows.clone()).and_then(|folded| {
            let folded = conform(&self.def, &folded).map_err(|error| error.to_string())?;
            match order_of(&self.def, &folded) {
                Ok(None) => Ok(folded),
                Ok(Some(_)) => Err("folded rows are not in the table's order".into()),
                Err(error) => Err(error.to_string()),
            }
        });
        folded.unwrap_or_else(|error| {
            tracing::warn!(table = %self.def.name, error, "rows with equal keys are kept apart for now");
            rows
        })
    }
}

/// Sorts and folds rows that are all here.
pub(crate) fn fold_all(collapse: &Arc<dyn Collapse>, def: &Arc<TableDef>, rows: &[RecordBatch]) -> Result<RecordBatch> {
    let invalid = |error: arrow::error::ArrowError| Error::invalid(error.to_string());
    let mut rows = concat_batches(&def.schema, rows).map_err(invalid)?;
    if let Some(order) = order_of(def, &rows)? {
        rows = take_record_batch(&rows, &UInt32Array::from(order)).map_err(invalid)?;
    }
    match Fold::new(Some(collapse), def) {
        Some(fold) => Ok(fold.fold(rows)),
        None => Ok(rows),
    }
}

fn bytes(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| raw_size(column)).sum()
}

fn order_of(def: &TableDef, rows: &RecordBatch) -> Result<Option<Vec<u32>>> {
    let keys: Vec<ArrayRef> = def.order().iter().map(|&column| rows.column(column).clone()).collect();
    sort_order(&keys).map_err(|error| Error::invalid(error.to_string()))
}

/// Where the last run of equal keys begins.
fn last_run(rows: &RecordBatch, key: &[usize]) -> Result<usize> {
    let keys: Vec<ArrayRef> = key.iter().map(|&column| rows.column(column).clone()).collect();
    if keys.is_empty() || rows.num_rows() == 0 {
        return Ok(0);
    }
    let keys = key_rows(&keys).map_err(|error| Error::invalid(error.to_string()))?;
    let last = keys.num_rows() - 1;
    Ok((0..last).rev().find(|&row| keys.row(row) != keys.row(last)).map_or(0, |row| row + 1))
}
