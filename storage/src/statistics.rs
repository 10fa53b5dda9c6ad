//! What parts know of their columns without a row being read: for those who choose between plans.

use arrow::array::ArrayRef;

use crate::def::TableId;
use crate::error::Result;
use crate::part::Part;
use crate::snapshot::Snapshot;

/// What is known of a column. Rows of the head, and deleted ones, make no difference.
#[derive(Debug, Clone, Default)]
pub struct ColumnStatistics {
    /// Least and greatest values: of each part two columns, with a value for each of its granules.
    pub zones: Vec<(ArrayRef, ArrayRef)>,
    /// The most entries that a part's dictionary of the column has, where every part has one.
    pub dictionary: Option<u64>,
}

impl Snapshot {
    /// Statistics of a table's column; none where there is no such table.
    pub fn statistics(&self, table: TableId, column: usize) -> Result<ColumnStatistics> {
        let Some(table) = self.table(table) else { return Ok(ColumnStatistics::default()) };
        let mut found = ColumnStatistics { zones: Vec::new(), dictionary: Some(0) };
        for part in table.parts() {
            let part: &Part = part;
            found.zones.extend(part.index(column)?.zones.clone());
            let entries = part.dictionary_entries(column)?;
            found.dictionary = found.dictionary.zip(entries).map(|(most, entries)| most.max(entries));
        }
        found.dictionary = found.dictionary.filter(|_| !table.parts().is_empty());
        Ok(found)
    }
}
