//! pg_class, pg_attribute and what hangs on them: indexes and constraints of primary keys, defaults, comments, dependencies.

use weir_sql::catalog::{ColumnInfo, RelationKind};
use weir_sql::collation::Collation;

use super::types::type_row;
use super::{Cell, Fill, Rows, SystemContext};
use crate::catalog::definition::Kind;
use crate::catalog::describe::quote;
use crate::catalog::state::{CatalogState, Entry};
use crate::session::context::TEMPORARY;

/// The role that owns everything.
pub(super) const OWNER: u32 = 10;

/// A primary key's index has the table's oid in this range.
const INDEX_OIDS: u32 = 0x5000_0000;
/// Its constraint has it in this one.
const CONSTRAINT_OIDS: u32 = 0x6000_0000;
/// A column's default has `table * 2048 + column` here, folded into 28 bits.
const DEFAULT_OIDS: u32 = 0x7000_0000;

pub(super) fn fill(name: &str) -> Option<Fill> {
    Some(match name {
        "pg_class" => pg_class,
        "pg_attribute" => pg_attribute,
        "pg_attrdef" => pg_attrdef,
        "pg_index" => pg_index,
        "pg_constraint" => pg_constraint,
        "pg_description" => pg_description,
        "pg_depend" => pg_depend,
        "pg_rewrite" => pg_rewrite,
        _ => return None,
    })
}

/// Users' relations that queries may see.
pub(super) fn visible(context: &SystemContext) -> impl Iterator<Item = &Entry> {
    context.state.entries().map(AsRef::as_ref).filter(|entry| !entry.def.building && entry.def.sink.is_none())
}

pub(super) fn namespace(context: &SystemContext, schema: &str) -> u32 {
    context.state.schema_oid(schema).unwrap_or(0)
}

fn pg_class(context: &SystemContext, rows: &mut Rows<'_>) {
    for system in super::all() {
        let relation = &system.relation;
        rows.push(&[
            ("oid", relation.oid.into()),
            ("relname", (&relation.name).into()),
            ("relnamespace", namespace(context, &relation.schema).into()),
            ("relowner", OWNER.into()),
            ("relam", if system.is_view { 0 } else { 2u32 }.into()),
            ("relkind", if system.is_view { "v" } else { "r" }.into()),
            ("relpersistence", "p".into()),
            ("relnatts", relation.columns.len().into()),
            ("reltuples", (-1.0).into()),
            ("relhasrules", system.is_view.into()),
            ("relispopulated", true.into()),
            ("relreplident", "n".into()),
        ]);
    }
    for entry in visible(context) {
        let def = &entry.def;
        let stored = context.snapshot.table(weir_storage::TableId(def.oid));
        let (rows_stored, bytes) =
            stored.map_or((-1.0, 0), |t| (t.rows() as f64, t.parts().iter().map(|p| p.bytes()).sum::<u64>()));
        let persistence = if def.schema.starts_with(TEMPORARY) { "t" } else { "p" };
        rows.push(&[
            ("oid", def.oid.into()),
            ("relname", (&def.name).into()),
            ("relnamespace", namespace(context, &def.schema).into()),
            ("relowner", OWNER.into()),
            ("relam", if def.kind == Kind::View { 0 } else { 2u32 }.into()),
            ("relfilenode", if def.kind == Kind::View { 0 } else { def.oid }.into()),
            ("relpages", bytes.div_ceil(8192).into()),
            ("reltuples", rows_stored.into()),
            ("relhasindex", (!def.primary_key.is_empty()).into()),
            ("relpersistence", persistence.into()),
            ("relkind", def.kind.letter().into()),
            ("relnatts", def.columns.len().into()),
            ("relhasrules", (def.kind != Kind::Table).into()),
            ("relispopulated", true.into()),
            ("relreplident", if def.kind == Kind::View { "n" } else { "d" }.into()),
        ]);
        if !def.primary_key.is_empty() {
            rows.push(&[
                ("oid", (INDEX_OIDS + def.oid).into()),
                ("relname", index_name(entry).into()),
                ("relnamespace", namespace(context, &def.schema).into()),
                ("relowner", OWNER.into()),
                ("relam", 403u32.into()),
                ("relpersistence", persistence.into()),
                ("relkind", "i".into()),
                ("relnatts", def.primary_key.len().into()),
                ("relispopulated", true.into()),
                ("relreplident", "n".into()),
            ]);
        }
    }
}

/// The oid of a table's primary key's index.
pub(super) fn index_oid(table: u32) -> u32 {
    INDEX_OIDS + table
}

fn index_name(entry: &Entry) -> String {
    format!("{}_pkey", entry.def.name)
}

/// `pg_get_indexdef` of a primary key's index; `column` from 1 gives that column's name alone.
pub(crate) fn index_definition(state: &CatalogState, oid: u32, column: i32) -> Option<String> {
    let entry = state.entry(oid.checked_sub(INDEX_OIDS)?)?;
    let names = key_names(entry);
    match column {
        0 => Some(format!(
            "CREATE UNIQUE INDEX {} ON {} USING btree ({})",
            quote(&index_name(entry)),
            format_args!("{}.{}", quote(&entry.def.schema), quote(&entry.def.name)),
            names.join(", ")
        )),
        n => names.get(usize::try_from(n).ok()?.checked_sub(1)?).cloned(),
    }
}

/// `pg_get_constraintdef` of a primary key's constraint.
pub(crate) fn constraint_definition(state: &CatalogState, oid: u32) -> Option<String> {
    let entry = state.entry(oid.checked_sub(CONSTRAINT_OIDS)?)?;
    Some(format!("PRIMARY KEY ({})", key_names(entry).join(", ")))
}

/// Schema and name of a primary key's index.
pub(crate) fn index_relation(state: &CatalogState, oid: u32) -> Option<(String, String)> {
    let entry = state.entry(oid.checked_sub(INDEX_OIDS)?)?;
    (!entry.def.primary_key.is_empty()).then(|| (entry.def.schema.clone(), index_name(entry)))
}

fn key_names(entry: &Entry) -> Vec<String> {
    entry.def.primary_key.iter().map(|c| quote(&entry.def.columns[*c].name)).collect()
}

fn pg_attribute(context: &SystemContext, rows: &mut Rows<'_>) {
    for system in super::all() {
        for (i, column) in system.relation.columns.iter().enumerate() {
            push_attribute(rows, system.relation.oid, i, column);
        }
    }
    for entry in visible(context) {
        for (i, column) in entry.relation.columns.iter().enumerate() {
            push_attribute(rows, entry.def.oid, i, column);
        }
        for (i, key) in entry.def.primary_key.iter().enumerate() {
            push_attribute(rows, INDEX_OIDS + entry.def.oid, i, &entry.relation.columns[*key]);
        }
    }
}

fn push_attribute(rows: &mut Rows<'_>, oid: u32, index: usize, column: &ColumnInfo) {
    let type_oid = column.ty.oid();
    let row = type_row(type_oid);
    let collation = match column.collation {
        Collation::DEFAULT => row.map_or(0, |r| r.collation),
        other => other.oid(),
    };
    rows.push(&[
        ("attrelid", oid.into()),
        ("attname", (&column.name).into()),
        ("atttypid", type_oid.into()),
        ("attstattarget", (-1).into()),
        ("attlen", i64::from(row.map_or(-1, |r| r.length)).into()),
        ("attnum", (index + 1).into()),
        ("attndims", i64::from(matches!(column.ty, weir_sql::Type::Array(_))).into()),
        ("attcacheoff", (-1).into()),
        ("atttypmod", i64::from(column.ty.typmod()).into()),
        ("attbyval", row.is_some_and(|r| r.by_value).into()),
        ("attalign", row.map_or("i", |r| r.align).into()),
        ("attstorage", row.map_or("x", |r| r.storage).into()),
        ("attnotnull", (!column.nullable).into()),
        ("atthasdef", column.default.is_some().into()),
        ("attislocal", true.into()),
        ("attcollation", collation.into()),
    ]);
}

fn pg_attrdef(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context) {
        for (i, column) in entry.relation.columns.iter().enumerate() {
            let Some(default) = &column.default else { continue };
            let oid = DEFAULT_OIDS | ((entry.def.oid.wrapping_mul(2048).wrapping_add(i as u32)) & 0x0fff_ffff);
            rows.push(&[
                ("oid", oid.into()),
                ("adrelid", entry.def.oid.into()),
                ("adnum", (i + 1).into()),
                ("adbin", default.into()),
            ]);
        }
    }
}

fn key_numbers(entry: &Entry) -> Cell {
    entry.def.primary_key.iter().map(|c| c + 1).collect::<Vec<_>>().into()
}

fn pg_index(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context).filter(|e| !e.def.primary_key.is_empty()) {
        let n = entry.def.primary_key.len();
        rows.push(&[
            ("indexrelid", (INDEX_OIDS + entry.def.oid).into()),
            ("indrelid", entry.def.oid.into()),
            ("indnatts", n.into()),
            ("indnkeyatts", n.into()),
            ("indisunique", true.into()),
            ("indisprimary", true.into()),
            ("indimmediate", true.into()),
            ("indisvalid", true.into()),
            ("indisready", true.into()),
            ("indislive", true.into()),
            ("indkey", key_numbers(entry)),
            ("indcollation", vec![0; n].into()),
            ("indclass", vec![0; n].into()),
            ("indoption", vec![0; n].into()),
        ]);
    }
}

fn pg_constraint(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context).filter(|e| !e.def.primary_key.is_empty()) {
        rows.push(&[
            ("oid", (CONSTRAINT_OIDS + entry.def.oid).into()),
            ("conname", index_name(entry).into()),
            ("connamespace", namespace(context, &entry.def.schema).into()),
            ("contype", "p".into()),
            ("convalidated", true.into()),
            ("conrelid", entry.def.oid.into()),
            ("conindid", (INDEX_OIDS + entry.def.oid).into()),
            ("confupdtype", " ".into()),
            ("confdeltype", " ".into()),
            ("confmatchtype", " ".into()),
            ("conislocal", true.into()),
            ("connoinherit", true.into()),
            ("conkey", key_numbers(entry)),
        ]);
    }
}

fn pg_description(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context) {
        let columns = entry.def.columns.iter().enumerate().map(|(i, c)| (i + 1, &c.comment));
        for (number, comment) in std::iter::once((0, &entry.def.comment)).chain(columns) {
            let Some(comment) = comment else { continue };
            rows.push(&[
                ("objoid", entry.def.oid.into()),
                ("classoid", 1259u32.into()),
                ("objsubid", number.into()),
                ("description", comment.into()),
            ]);
        }
    }
}

/// What views read, as Postgres has it: the view's rule depends on the relations.
fn pg_depend(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context) {
        for input in &entry.def.depends {
            rows.push(&[
                ("classid", 2618u32.into()),
                ("objid", entry.def.oid.into()),
                ("refclassid", 1259u32.into()),
                ("refobjid", (*input).into()),
                ("deptype", "n".into()),
            ]);
        }
    }
}

fn pg_rewrite(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context).filter(|e| !matches!(e.relation.kind, RelationKind::Table)) {
        rows.push(&[
            ("oid", entry.def.oid.into()),
            ("rulename", "_RETURN".into()),
            ("ev_class", entry.def.oid.into()),
            ("ev_type", "1".into()),
            ("ev_enabled", "O".into()),
            ("is_instead", true.into()),
        ]);
    }
}
