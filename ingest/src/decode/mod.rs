//! Decoders: raw records to the columns of a table.
//!
//! A decoder appends each record straight to column builders, with no row objects between. A record that does not decode leaves
//! no row behind: its place in the batch is marked and dropped when the batch is finished, and the reason goes with
//! the record to the dead letters. Decoders share nothing, so several can work on successive batches of one stream.

mod column;
mod evolve;
pub mod json;
mod time;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use weir_engine::ingest::IngestTarget;

use column::Column;

/// Why a record is not a row: a sentence that names the column, the value and what is wrong with it.
pub type Reason = String;

/// Rows in the making, for one table.
///
/// Invariant: between records, all columns and `kept` have the same length.
#[derive(Debug)]
pub(crate) struct Rows {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// The value that stands in for a missing field, where there is one.
    missing: Vec<Option<ArrayRef>>,
    /// Columns that take the missing value for an explicit null: NOT NULL ones with a default, as ClickHouse does.
    null_is_missing: Vec<bool>,
    /// Which columns the current record has set.
    set: Vec<bool>,
    kept: Vec<bool>,
}

impl Rows {
    pub(crate) fn new(target: &IngestTarget) -> Rows {
        let columns: Vec<Column> = target.columns.iter().map(|c| Column::new(&c.ty)).collect();
        Rows {
            schema: target.schema.clone(),
            missing: (0..columns.len()).map(|i| target.missing(i)).collect(),
            null_is_missing: target.columns.iter().map(|c| !c.nullable).collect(),
            set: vec![false; columns.len()],
            kept: Vec::new(),
            columns,
        }
    }

    /// Completes the current record: fills the columns that it did not set, or drops it for `outcome`'s reason.
    fn end_record(&mut self, outcome: Result<(), Reason>) -> Result<(), Reason> {
        let mut outcome = outcome;
        for (index, column) in self.columns.iter_mut().enumerate() {
            if std::mem::take(&mut self.set[index]) {
                continue;
            }
            match (&outcome, &self.missing[index]) {
                (Ok(()), Some(value)) => column.push_value(value),
                (Ok(()), None) => {
                    let name = self.schema.field(index).name();
                    outcome = Err(format!("column \"{name}\" is missing and admits no NULL"));
                    column.push_null();
                }
                (Err(_), _) => column.push_null(),
            }
        }
        self.kept.push(outcome.is_ok());
        outcome
    }

    /// The rows of all records that decoded, in order.
    pub(crate) fn finish(&mut self) -> RecordBatch {
        let kept = std::mem::take(&mut self.kept);
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Column::finish).collect();
        let nullable = nullable_schema(&self.schema);
        let options = RecordBatchOptions::new().with_row_count(Some(kept.len()));
        let all = RecordBatch::try_new_with_options(nullable, arrays, &options).expect("columns fit their schema");
        let rows = match kept.iter().all(|&k| k) {
            true => all,
            false => filter_record_batch(&all, &BooleanArray::from(kept)).expect("the mask is as long as the batch"),
        };
        // Dropped records may have held NULL in a NOT NULL column; what is left does not.
        RecordBatch::try_new_with_options(self.schema.clone(), rows.columns().to_vec(), &options_of(&rows))
            .expect("no row that is kept has NULL where none may be")
    }
}

fn options_of(rows: &RecordBatch) -> RecordBatchOptions {
    RecordBatchOptions::new().with_row_count(Some(rows.num_rows()))
}

fn nullable_schema(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
}
