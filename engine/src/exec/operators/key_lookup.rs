//! Scans that a unique key answers: `WHERE key = constant`, or, for a key of one column, `key IN (constants)`.
//!
//! Storage finds the rows by its index of the key, and reads them alone. All filters are evaluated on them as on any rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use weir_storage::{Condition, Prune, PruneOp, Snapshot, TableId};

use super::scan::Reader;
use crate::error::Result;
use crate::exec::context::QueryContext;
use crate::exec::operator::Metrics;
use crate::exec::pipeline::{Numbered, Source};

/// More keys than this are found by a scan.
const KEYS_MAX: usize = 1024;

/// The rows that the key leaves, if the conditions name their keys.
pub(super) fn open(
    snapshot: &Snapshot,
    table: TableId,
    conditions: &[Condition],
    reader: Arc<Reader>,
    context: Arc<QueryContext>,
    metrics: &Metrics,
) -> Result<Option<Arc<dyn Source>>> {
    let Some(keys) = keys(snapshot, table, conditions) else { return Ok(None) };
    let mut places: Vec<u64> = snapshot.find_keys(table, &keys)?.into_iter().flatten().collect();
    places.sort_unstable();
    places.dedup();
    metrics.note("Rows Found by Key", places.len().to_string());
    let snapshot = snapshot.clone();
    let morsels = usize::from(!places.is_empty());
    Ok(Some(Arc::new(Numbered::new(morsels, move |_, emit| {
        let read = |columns: &[usize], selection: Option<&[u32]>| {
            let picked: Vec<u64> = match selection {
                None => places.clone(),
                Some(rows) => rows.iter().map(|&row| places[row as usize]).collect(),
            };
            let stored = columns.strip_suffix(&[reader.width()]).unwrap_or(columns);
            let mut arrays = snapshot.take(table, &picked, stored)?.columns().to_vec();
            if stored.len() < columns.len() {
                arrays.push(Arc::new(Int64Array::from_iter_values(picked.iter().map(|&place| place as i64))));
            }
            Ok(arrays)
        };
        reader.granule(places.len(), &[], &read, &context, emit)
    }))))
}

/// The keys that rows must have: one array a column of the key.
fn keys(snapshot: &Snapshot, table: TableId, conditions: &[Condition]) -> Option<Vec<ArrayRef>> {
    let table = snapshot.table(table)?;
    let def = table.def();
    let key = def.key.as_ref()?;
    let of = |&column: &usize| {
        conditions.iter().find_map(|condition| match condition {
            Condition::Column(Prune { column: of, op, values }) if *of == column => {
                let listed = *op == PruneOp::Eq || (*op == PruneOp::In && key.len() == 1 && values.len() <= KEYS_MAX);
                let typed = values.data_type() == def.schema.field(column).data_type();
                (listed && typed && values.null_count() == 0).then(|| values.clone())
            }
            _ => None,
        })
    };
    key.iter().map(of).collect()
}
