//! What parts know of their columns without a row being read: for those who choose between plans.

use arrow::array::ArrayRef;

use crate::def::TableId;
use crate::error::Result;
use crate::part::Part;
use crate::snapshot::Snapshot;

/// So many rows of the head are looked at.
const HEAD_ROWS: usize = 1 << 16;

/// What is known of a column. Rows that were deleted make no difference.
#[derive(Debug, Clone, Default)]
pub struct ColumnStatistics {
    /// Least and greatest values: of each part two columns, with a value for each of its granules.
    pub zones: Vec<(ArrayRef, ArrayRef)>,
    /// The most entries that a part's dictionary of the column has, where every part has one.
    pub dictionary: Option<u64>,
    /// Values of the head: some of them, where there are many.
    pub head: Vec<ArrayRef>,
}

impl Snapshot {
    /// Statistics of a table's column; none where there is no such table.
    pub fn statistics(&self, table: TableId, column: usize) -> Result<ColumnStatistics> {
        let Some(table) = self.table(table) else { return Ok(ColumnStatistics::default()) };
        let mut found = ColumnStatistics { zones: Vec::new(), dictionary: Some(0), head: Vec::new() };
        for part in table.parts() {
            let part: &Part = part;
            found.zones.extend(part.index(column)?.zones.clone());
            let entries = part.dictionary_entries(column)?;
            found.dictionary = found.dictionary.zip(entries).map(|(most, entries)| most.max(entries));
        }
        found.dictionary = found.dictionary.filter(|_| !table.parts().is_empty());
        let runs = table.head.partitions.iter().flat_map(|(_, runs)| runs.iter());
        let mut rows = 0;
        let few = runs.take_while(|run| {
            let fits = rows < HEAD_ROWS;
            rows += run.batch.num_rows();
            fits
        });
        found.head = few.map(|run| run.batch.column(column).clone()).collect();
        Ok(found)
    }
}
