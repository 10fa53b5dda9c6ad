//! Functions that give rows: series, the elements of arrays and json, the matches of regular expressions, and files.

mod array;
mod json;
mod matches;
mod series;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use weir_sql::plan::OutputColumn;

use crate::error::Result;
use crate::exec::batch::schema_of;
use crate::exec::context::{TableFunction, TableRows};

/// All of them.
pub(crate) fn functions() -> Vec<TableFunction> {
    let mut all = series::functions();
    all.extend(array::functions());
    all.extend(json::functions());
    all.extend(matches::functions());
    all.extend(crate::files::functions());
    all
}

/// Rows that are all there at once.
struct Ready(Option<RecordBatch>);

impl TableRows for Ready {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        Ok(self.0.take())
    }
}

/// One batch of these columns; there is one even if it has no rows.
pub(crate) fn ready(columns: &[OutputColumn], arrays: Vec<ArrayRef>, rows: usize) -> Result<Box<dyn TableRows>> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(schema_of(columns), arrays, &options)?;
    Ok(Box::new(Ready(Some(batch))))
}
