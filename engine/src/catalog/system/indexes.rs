//! Skip indexes: `weir.indexes`, and their rows of `pg_indexes`.

use weir_sql::Type;

use super::class::visible;
use super::{Rows, SystemContext};
use crate::catalog::definition::{IndexDef, RelationDef};
use crate::catalog::describe::quote;

/// The columns of `weir.indexes`.
pub(super) const COLUMNS: &[(&str, Type)] = &[
    ("schema", Type::Text),
    ("table", Type::Text),
    ("name", Type::Text),
    ("type", Type::Text),
    ("expression", Type::Text),
    ("granularity", Type::Int8),
    // Parts that have it, of how many; and what it takes in them.
    ("parts", Type::Int8),
    ("parts_total", Type::Int8),
    ("bytes", Type::Int8),
];

pub(super) fn indexes(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context) {
        let stored = context.snapshot.table(weir_storage::TableId(entry.def.oid));
        for index in &entry.def.indexes {
            let parts = stored.as_ref().map_or(&[][..], |table| table.parts());
            // A damaged part shows in the queries that need it, and in `weir check`.
            let sizes: Vec<u64> = parts.iter().filter_map(|part| part.index_bytes(index.oid).ok().flatten()).collect();
            rows.push(&[
                ("schema", (&entry.def.schema).into()),
                ("table", (&entry.def.name).into()),
                ("name", (&index.name).into()),
                ("type", weir_storage::IndexKind::from(index.kind).to_string().into()),
                ("expression", expression(index).into()),
                ("granularity", index.granularity.into()),
                ("parts", sizes.len().into()),
                ("parts_total", parts.len().into()),
                ("bytes", sizes.iter().sum::<u64>().into()),
            ]);
        }
    }
}

fn expression(index: &IndexDef) -> String {
    index.keys.iter().map(|key| key.sql.as_str()).collect::<Vec<_>>().join(", ")
}

/// `CREATE INDEX …`, as `pg_get_indexdef` would have it.
fn definition(def: &RelationDef, index: &IndexDef) -> String {
    let kind = weir_storage::IndexKind::from(index.kind);
    format!(
        "CREATE INDEX {} ON {}.{} USING {} ({})",
        quote(&index.name),
        quote(&def.schema),
        quote(&def.name),
        kind.name(),
        expression(index)
    )
}

pub(super) fn pg_indexes(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context) {
        for index in &entry.def.indexes {
            rows.push(&[
                ("schemaname", (&entry.def.schema).into()),
                ("tablename", (&entry.def.name).into()),
                ("indexname", (&index.name).into()),
                ("indexdef", definition(&entry.def, index).into()),
            ]);
        }
    }
}
