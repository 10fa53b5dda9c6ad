//! Statistics of a snapshot's tables, for the optimiser.

use arrow::array::AsArray;
use arrow::compute::{max, min};
use arrow::datatypes::Float64Type;
use weir_sql::catalog::{Statistics, numbers};
use weir_storage::{ColumnStatistics, TableId};

use crate::session::View;

impl Statistics for View {
    fn rows(&self, oid: u32) -> Option<f64> {
        self.snapshot.table(TableId(oid)).map(|table| table.rows() as f64)
    }

    fn distinct(&self, oid: u32, column: usize) -> Option<f64> {
        let (entry, rows) = (self.state.entry(oid)?, self.rows(oid)?);
        let (key, column_type) = (entry.def.key(), &entry.relation.columns.get(column)?.ty);
        if key.is_some_and(|key| *key == [column]) {
            return Some(rows);
        }
        let known = self.known(oid, column)?;
        if let Some(entries) = known.dictionary {
            return Some(entries as f64);
        }
        // Whole numbers and days: no more than lie between the least and the greatest.
        let whole = column_type.is_integer() || *column_type == weir_sql::Type::Date;
        let (least, greatest) = range(&known).filter(|_| whole)?;
        Some((greatest - least + 1.0).min(rows))
    }

    fn range(&self, oid: u32, column: usize) -> Option<(f64, f64)> {
        range(&self.known(oid, column)?)
    }
}

impl View {
    /// A part that cannot be read will say so to those who need its rows.
    fn known(&self, oid: u32, column: usize) -> Option<ColumnStatistics> {
        self.snapshot.statistics(TableId(oid), column).ok()
    }
}

/// The least and the greatest of all, as numbers.
fn range(known: &ColumnStatistics) -> Option<(f64, f64)> {
    let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
    let of_head = known.head.iter().map(|values| (values, values));
    for (mins, maxs) in known.zones.iter().map(|(mins, maxs)| (mins, maxs)).chain(of_head) {
        let low = min(numbers(mins)?.as_primitive::<Float64Type>());
        let high = max(numbers(maxs)?.as_primitive::<Float64Type>());
        least = low.map_or(least, |low| least.min(low));
        greatest = high.map_or(greatest, |high| greatest.max(high));
    }
    (least <= greatest).then_some((least, greatest))
}
