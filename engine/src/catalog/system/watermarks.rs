//! `weir.watermarks`: how far the event time of each table's partitions has come.

use weir_sql::Type;

use super::class::visible;
use super::{Rows, SystemContext};
use crate::session::now_micros;
use crate::watermark;

/// The columns of `weir.watermarks`.
pub(super) const COLUMNS: &[(&str, Type)] = &[
    ("schema", Type::Text),
    ("table", Type::Text),
    // '' is what INSERT, COPY and the like bring.
    ("source", Type::Text),
    ("partition", Type::Int8),
    ("watermark", Type::Timestamptz),
    // Whether no row came for longer than the table's idle timeout: the others do not wait for it.
    ("idle", Type::Bool),
    // Of all partitions together.
    ("table_watermark", Type::Timestamptz),
];

pub(super) fn watermarks(context: &SystemContext, rows: &mut Rows<'_>) {
    let now = now_micros();
    for entry in visible(context).filter(|entry| entry.def.watermark.is_some()) {
        let whole = watermark::of_table(&context.snapshot, entry.def.oid);
        for partition in watermark::partitions(&context.database, &context.snapshot, &entry.def, now) {
            rows.push(&[
                ("schema", (&entry.def.schema).into()),
                ("table", (&entry.def.name).into()),
                ("source", (&partition.source).into()),
                ("partition", i64::from(partition.partition).into()),
                ("watermark", partition.watermark.into()),
                ("idle", partition.is_idle.into()),
                ("table_watermark", whole.into()),
            ]);
        }
    }
}
