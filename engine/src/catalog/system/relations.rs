//! Postgres's views over its own catalogue: pg_tables, pg_views, pg_matviews.

use super::class::visible;
use super::{Fill, Rows, SystemContext};
use crate::catalog::definition::{Kind, RelationDef};
use crate::session::OWNER_NAME;

pub(super) fn fill(name: &str) -> Option<Fill> {
    Some(match name {
        "pg_tables" => pg_tables,
        "pg_views" => pg_views,
        "pg_matviews" => pg_matviews,
        "pg_indexes" => pg_indexes,
        "pg_stat_user_tables" | "pg_stat_all_tables" => pg_stat_user_tables,
        _ => return None,
    })
}

/// A view's SELECT as `pg_get_viewdef` shows it: after a blank, up to a semicolon.
pub(crate) fn view_definition(def: &RelationDef) -> Option<String> {
    let emit = def.emit_text().map_or(String::new(), |emit| format!("\n{emit}"));
    def.query.as_deref().map(|query| format!(" {}{emit};", query.trim().trim_end_matches(';')))
}

fn pg_tables(context: &SystemContext, rows: &mut Rows<'_>) {
    for system in super::all().iter().filter(|s| !s.is_view) {
        rows.push(&[
            ("schemaname", (&system.relation.schema).into()),
            ("tablename", (&system.relation.name).into()),
            ("tableowner", OWNER_NAME.into()),
        ]);
    }
    for entry in visible(context).filter(|e| e.def.kind == Kind::Table) {
        rows.push(&[
            ("schemaname", (&entry.def.schema).into()),
            ("tablename", (&entry.def.name).into()),
            ("tableowner", OWNER_NAME.into()),
            ("hasindexes", (!entry.def.primary_key.is_empty()).into()),
            ("hasrules", false.into()),
            ("hastriggers", false.into()),
            ("rowsecurity", false.into()),
        ]);
    }
}

fn pg_views(context: &SystemContext, rows: &mut Rows<'_>) {
    for system in super::all().iter().filter(|s| s.is_view) {
        rows.push(&[
            ("schemaname", (&system.relation.schema).into()),
            ("viewname", (&system.relation.name).into()),
            ("viewowner", OWNER_NAME.into()),
        ]);
    }
    for entry in visible(context).filter(|e| e.def.kind == Kind::View) {
        rows.push(&[
            ("schemaname", (&entry.def.schema).into()),
            ("viewname", (&entry.def.name).into()),
            ("viewowner", OWNER_NAME.into()),
            ("definition", view_definition(&entry.def).into()),
        ]);
    }
}

fn pg_matviews(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context).filter(|e| e.def.kind == Kind::Materialized) {
        rows.push(&[
            ("schemaname", (&entry.def.schema).into()),
            ("matviewname", (&entry.def.name).into()),
            ("matviewowner", OWNER_NAME.into()),
            ("hasindexes", false.into()),
            ("ispopulated", true.into()),
            ("definition", view_definition(&entry.def).into()),
        ]);
    }
}

fn pg_indexes(context: &SystemContext, rows: &mut Rows<'_>) {
    super::indexes::pg_indexes(context, rows);
    for entry in visible(context).filter(|e| !e.def.primary_key.is_empty()) {
        let oid = super::class::index_oid(entry.def.oid);
        rows.push(&[
            ("schemaname", (&entry.def.schema).into()),
            ("tablename", (&entry.def.name).into()),
            ("indexname", format!("{}_pkey", entry.def.name).into()),
            ("indexdef", super::class::index_definition(&context.state, oid, 0).into()),
        ]);
    }
}

fn pg_stat_user_tables(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context).filter(|e| e.def.kind != Kind::View) {
        let live = context.snapshot.table(weir_storage::TableId(entry.def.oid)).map_or(0, |t| t.rows());
        rows.push(&[
            ("relid", entry.def.oid.into()),
            ("schemaname", (&entry.def.schema).into()),
            ("relname", (&entry.def.name).into()),
            ("n_live_tup", live.into()),
        ]);
    }
}
