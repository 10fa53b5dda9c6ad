//! The schema `weir`: what Weir shows of itself. (`weir.dead_letters` is a table, made when the database is first opened.)

use weir_sql::Type;
use weir_sql::catalog::ColumnInfo;

use super::class::visible;
use super::{Cell, Fill, Rows, SystemContext, SystemRelation, declare};
use crate::catalog::definition::Kind;
use crate::replay;
use crate::session::settings::definitions;
use crate::views::{late, refresh};
use crate::watermark;

/// A relation: its name, columns and code.
type Declaration = (&'static str, &'static [(&'static str, Type)], Fill);

const TEXT: Type = Type::Text;
const INT8: Type = Type::Int8;
const OID: Type = Type::Oid;
const BOOL: Type = Type::Bool;
const TIME: Type = Type::Timestamptz;

/// The first oid of these relations.
const FIRST_OID: u32 = 15000;

const DECLARATIONS: &[Declaration] = &[
    (
        "tables",
        &[
            ("schema", TEXT),
            ("name", TEXT),
            ("oid", OID),
            ("kind", TEXT),
            ("rows", INT8),
            ("bytes", INT8),
            ("parts", INT8),
            ("head_rows", INT8),
            ("partition_by", TEXT),
            ("order_by", TEXT),
            ("ttl", TEXT),
            ("options", TEXT),
        ],
        tables,
    ),
    (
        "parts",
        &[
            ("schema", TEXT),
            ("table", TEXT),
            ("part", INT8),
            ("partition", TEXT),
            ("rows", INT8),
            ("rows_deleted", INT8),
            ("granules", INT8),
            ("bytes", INT8),
            ("bytes_raw", INT8),
        ],
        parts,
    ),
    (
        "partitions",
        &[
            ("schema", TEXT),
            ("table", TEXT),
            ("partition", TEXT),
            ("parts", INT8),
            ("rows", INT8),
            ("head_rows", INT8),
            ("bytes", INT8),
        ],
        partitions,
    ),
    (
        "part_columns",
        &[
            ("schema", TEXT),
            ("table", TEXT),
            ("part", INT8),
            ("column", TEXT),
            ("type", TEXT),
            ("encodings", TEXT),
            ("nulls", INT8),
            ("bytes", INT8),
            ("bytes_raw", INT8),
        ],
        part_columns,
    ),
    (
        "views",
        &[
            ("schema", TEXT),
            ("name", TEXT),
            ("reads", TEXT),
            ("target", TEXT),
            ("building", BOOL),
            ("rows_done", INT8),
            ("rows_total", INT8),
            ("in_step", BOOL),
            ("refresh", TEXT),
            ("refreshed", TIME),
            ("error", TEXT),
            ("state_rows", INT8),
            ("state_bytes", INT8),
            ("definition", TEXT),
            ("emit", TEXT),
            // The column that says when a window ends, or begins, and how far what the view reads has come.
            ("window_column", TEXT),
            ("watermark", TIME),
            ("late_rows", INT8),
        ],
        views,
    ),
    (
        "functions",
        &[
            ("name", TEXT),
            ("kind", TEXT),
            ("family", TEXT),
            ("signatures", TEXT),
            ("doc", TEXT),
            ("example", TEXT),
            ("result", TEXT),
        ],
        functions,
    ),
    ("settings", &[("name", TEXT), ("value", TEXT), ("default", TEXT), ("unit", TEXT), ("doc", TEXT)], settings),
    (
        "queries",
        &[
            ("session", INT8),
            ("user", TEXT),
            ("application", TEXT),
            ("state", TEXT),
            ("started", TIME),
            ("query", TEXT),
        ],
        queries,
    ),
    ("columns", COLUMN_COLUMNS, columns),
    ("sources", &[("source", TEXT), ("partition", INT8), ("next_offset", INT8)], sources),
    ("indexes", super::indexes::COLUMNS, super::indexes::indexes),
    (
        "cache_status",
        &[
            ("entries", INT8),
            ("bytes", INT8),
            ("bytes_limit", INT8),
            ("hits", INT8),
            ("misses", INT8),
            ("evictions", INT8),
            ("rows_saved", INT8),
        ],
        cache_status,
    ),
    (
        "sinks",
        &[
            ("schema", TEXT),
            ("name", TEXT),
            ("reads", TEXT),
            ("writes", TEXT),
            ("mode", TEXT),
            ("building", BOOL),
            ("waiting", INT8),
            ("epoch", INT8),
            ("error", TEXT),
        ],
        sinks,
    ),
    ("watermarks", super::watermarks::COLUMNS, super::watermarks::watermarks),
    ("alerts", super::alerts::COLUMNS, super::alerts::alerts),
    ("rebuilds", &[("schema", TEXT), ("table", TEXT), ("begins", TEXT), ("rows", INT8), ("behind", INT8)], rebuilds),
];

const COLUMN_COLUMNS: &[(&str, Type)] = &[
    ("schema", TEXT),
    ("table", TEXT),
    ("position", INT8),
    ("name", TEXT),
    ("type", TEXT),
    ("nullable", BOOL),
    ("default", TEXT),
    ("codec", TEXT),
    ("comment", TEXT),
];

pub(super) fn relations() -> Vec<SystemRelation> {
    DECLARATIONS
        .iter()
        .enumerate()
        .map(|(i, (name, columns, fill))| {
            let columns = columns.iter().map(|(name, ty)| ColumnInfo::new(*name, ty.clone())).collect();
            declare("weir", name, FIRST_OID + i as u32, true, columns, Some(*fill))
        })
        .collect()
}

fn tables(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context).filter(|e| e.def.kind != Kind::View) {
        let def = &entry.def;
        let Some(stored) = context.snapshot.table(weir_storage::TableId(def.oid)) else { continue };
        let names =
            |columns: &[usize]| columns.iter().map(|c| def.columns[*c].name.as_str()).collect::<Vec<_>>().join(", ");
        let options: Vec<String> = def.options.iter().map(|(k, v)| format!("{k} = {v}")).collect();
        rows.push(&[
            ("schema", (&def.schema).into()),
            ("name", (&def.name).into()),
            ("oid", def.oid.into()),
            ("kind", def.kind.noun().into()),
            ("rows", stored.rows().into()),
            ("bytes", bytes(&stored).into()),
            ("parts", stored.parts().len().into()),
            ("head_rows", stored.head_rows().into()),
            ("partition_by", def.partition_by.as_ref().into()),
            ("order_by", names(&def.order_by).into()),
            ("ttl", def.ttl_text().into()),
            ("options", options.join(", ").into()),
        ]);
    }
}

/// Bytes of a table's parts.
fn bytes(table: &weir_storage::TableState) -> u64 {
    table.parts().iter().map(|part| part.bytes()).sum()
}

fn partitions(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context).filter(|e| e.def.kind != Kind::View) {
        let Some(stored) = context.snapshot.table(weir_storage::TableId(entry.def.oid)) else { continue };
        for partition in stored.partitions() {
            let parts: Vec<_> = stored.parts().iter().filter(|part| part.partition() == partition).collect();
            let head_rows = stored.head_rows_of(&partition);
            rows.push(&[
                ("schema", (&entry.def.schema).into()),
                ("table", (&entry.def.name).into()),
                ("partition", (&partition).into()),
                ("parts", parts.len().into()),
                ("rows", (head_rows + parts.iter().map(|part| part.living_rows()).sum::<u64>()).into()),
                ("head_rows", head_rows.into()),
                ("bytes", parts.iter().map(|part| part.bytes()).sum::<u64>().into()),
            ]);
        }
    }
}

fn parts(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context) {
        let Some(stored) = context.snapshot.table(weir_storage::TableId(entry.def.oid)) else { continue };
        let columns = stored.def().schema.fields().len();
        for part in stored.parts() {
            // A damaged part shows in the queries that need it, and in `weir check`.
            let raw = (0..columns).map(|column| Some(part.column(column).ok()?.raw_bytes)).sum::<Option<u64>>();
            rows.push(&[
                ("schema", (&entry.def.schema).into()),
                ("table", (&entry.def.name).into()),
                ("part", part.id().0.into()),
                ("partition", part.partition().into()),
                ("rows", part.living_rows().into()),
                ("rows_deleted", part.deleted_rows().into()),
                ("granules", part.granule_count().ok().into()),
                ("bytes", part.bytes().into()),
                ("bytes_raw", raw.into()),
            ]);
        }
    }
}

fn part_columns(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context) {
        let Some(stored) = context.snapshot.table(weir_storage::TableId(entry.def.oid)) else { continue };
        let schema = stored.def().schema.clone();
        for part in stored.parts() {
            for (index, field) in schema.fields().iter().enumerate() {
                // A damaged part shows in the queries that need it, and in `weir check`.
                let Ok(column) = part.column(index) else { continue };
                let ty = match entry.def.kind {
                    Kind::Table => entry.def.columns.get(index).map(|column| column.ty.to_string()),
                    _ => Some(field.data_type().to_string()),
                };
                let encodings: Vec<String> = column.encodings.iter().map(|(e, n)| format!("{e} x{n}")).collect();
                rows.push(&[
                    ("schema", (&entry.def.schema).into()),
                    ("table", (&entry.def.name).into()),
                    ("part", part.id().0.into()),
                    ("column", field.name().into()),
                    ("type", ty.into()),
                    ("encodings", encodings.join(", ").into()),
                    ("nulls", column.nulls.into()),
                    ("bytes", column.bytes.into()),
                    ("bytes_raw", column.raw_bytes.into()),
                ]);
            }
        }
    }
}

fn views(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in context.state.entries().filter(|e| e.def.kind == Kind::Materialized || e.def.transform.is_some()) {
        let (def, transform) = (&entry.def, entry.def.transform.as_ref());
        let stored = context.snapshot.table(weir_storage::TableId(def.oid));
        let progress = context.database.building().progress(def.oid).filter(|_| def.building);
        let reads: Vec<String> = def
            .depends
            .iter()
            .filter(|oid| transform.is_none_or(|transform| transform.into != **oid))
            .filter_map(|oid| context.state.entry(*oid))
            .map(|e| e.qualified())
            .collect();
        // A view that cannot be bound says so where it is read.
        let windows = crate::views::windows_of(&context.state, entry).ok().flatten();
        let late_rows = late::count(&context.state, &context.snapshot, entry).ok().flatten();
        let watermark = windows.as_ref().and_then(|_| watermark::of_view(&context.state, &context.snapshot, entry));
        rows.push(&[
            ("schema", (&def.schema).into()),
            ("name", (&def.name).into()),
            ("reads", reads.join(", ").into()),
            ("target", transform.map(|transform| &transform.name).into()),
            ("building", def.building.into()),
            ("rows_done", progress.map(|(done, _)| done).into()),
            ("rows_total", progress.map(|(_, total)| total).into()),
            ("in_step", def.in_step.into()),
            ("refresh", def.refresh_text().into()),
            ("refreshed", refresh::refreshed_at(&context.snapshot, def.oid).into()),
            ("error", context.database.refresh_failures().of(def.oid).into()),
            ("state_rows", stored.as_ref().map_or(0, |t| t.rows()).into()),
            ("state_bytes", stored.as_ref().map_or(0, |t| bytes(t)).into()),
            ("definition", transform.map_or(def.query.as_ref(), |transform| Some(&transform.query)).into()),
            ("emit", def.emit_text().into()),
            ("window_column", windows.map(|windows| def.columns[windows.column].name.clone()).into()),
            ("watermark", watermark.into()),
            ("late_rows", late_rows.into()),
        ]);
    }
}

fn sinks(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in context.state.sinks() {
        let (def, Some(sink)) = (&entry.def, &entry.def.sink) else { continue };
        let named = |oid: u32| context.state.entry(oid).map(|entry| entry.qualified());
        let topic =
            def.options.iter().find(|(name, _)| name == "topic").map(|(_, topic)| format!("kafka topic {topic}"));
        rows.push(&[
            ("schema", (&def.schema).into()),
            ("name", (&def.name).into()),
            ("reads", named(sink.from).into()),
            ("writes", sink.into.and_then(named).or(topic).into()),
            ("mode", sink.mode.name().into()),
            ("building", def.building.into()),
            ("waiting", crate::sinks::waiting(&context.snapshot, def.oid).into()),
            ("epoch", crate::sinks::epoch_of(&context.snapshot, def.oid).into()),
            ("error", context.database.sinks_state().failure(def.oid).into()),
        ]);
    }
}

fn functions(_: &SystemContext, rows: &mut Rows<'_>) {
    for function in crate::functions::registry::registry().rows() {
        rows.push(&[
            ("name", function.name.into()),
            ("kind", function.kind.into()),
            ("family", function.family.into()),
            ("signatures", function.signatures.into()),
            ("doc", function.doc.into()),
            ("example", function.example.into()),
            ("result", function.result.into()),
        ]);
    }
}

fn settings(context: &SystemContext, rows: &mut Rows<'_>) {
    for definition in definitions() {
        rows.push(&[
            ("name", definition.name.into()),
            ("value", context.session.settings.get(definition.name).into()),
            ("default", definition.shown_default().into()),
            ("unit", definition.unit.into()),
            ("doc", definition.doc.into()),
        ]);
    }
}

fn queries(context: &SystemContext, rows: &mut Rows<'_>) {
    for activity in context.database.activity() {
        let state = activity.state();
        rows.push(&[
            ("session", activity.id.into()),
            ("user", activity.user.into()),
            ("application", activity.application.into()),
            ("state", state.into()),
            ("started", activity.query_started.into()),
            ("query", activity.query.into()),
        ]);
    }
}

/// What is remembered of aggregations; no row where nothing is to be.
fn cache_status(context: &SystemContext, rows: &mut Rows<'_>) {
    let Some(cache) = context.database.partial_cache() else { return };
    let status = cache.status();
    rows.push(&[
        ("entries", status.entries.into()),
        ("bytes", status.bytes.into()),
        ("bytes_limit", status.limit.into()),
        ("hits", status.hits.into()),
        ("misses", status.misses.into()),
        ("evictions", status.evictions.into()),
        ("rows_saved", status.rows_saved.into()),
    ]);
}

fn columns(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context) {
        for (i, column) in entry.def.columns.iter().enumerate() {
            rows.push(&[
                ("schema", (&entry.def.schema).into()),
                ("table", (&entry.def.name).into()),
                ("position", (i + 1).into()),
                ("name", (&column.name).into()),
                ("type", column.ty.to_string().into()),
                ("nullable", column.nullable.into()),
                ("default", column.default.as_ref().into()),
                ("codec", column.codec.as_ref().into()),
                ("comment", column.comment.as_ref().into()),
            ]);
        }
    }
}

/// Tables that are made anew of their streams, and by how many events they are behind what they replace.
fn rebuilds(context: &SystemContext, rows: &mut Rows<'_>) {
    let (state, snapshot) = (&context.state, &context.snapshot);
    for hidden in state.entries().filter(|entry| entry.def.kind == Kind::Table) {
        let Some(live) = hidden.def.replaces.and_then(|live| state.entry(live)) else { continue };
        let stored = snapshot.table(weir_storage::TableId(hidden.def.oid));
        let behind = replay::behind(snapshot, live.def.oid, hidden.def.oid);
        rows.push(&[
            ("schema", (&live.def.schema).into()),
            ("table", (&live.def.name).into()),
            ("begins", replay::Replay::of(snapshot, hidden.def.oid).from.map(|from| from.to_string()).into()),
            ("rows", stored.map_or(0, |stored| stored.rows()).into()),
            ("behind", behind.map_or(Cell::Null, |behind| Cell::Int(behind as i64))),
        ]);
    }
}

/// The offsets that ingest has committed.
fn sources(context: &SystemContext, rows: &mut Rows<'_>) {
    for (key, value) in context.snapshot.scan_prefix(crate::ingest::SOURCE_PREFIX) {
        let Some((source, partition)) = crate::ingest::parse_source_key(key) else { continue };
        let next = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
        rows.push(&[
            ("source", source.into()),
            ("partition", i64::from(partition).into()),
            ("next_offset", next.map_or(Cell::Null, Cell::Int)),
        ]);
    }
}
