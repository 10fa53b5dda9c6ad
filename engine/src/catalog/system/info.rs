//! information_schema: the standard's own view of the same catalogue.

use weir_sql::Type;
use weir_sql::catalog::Relation;

use super::class::visible;
use super::types::type_row;
use super::{Cell, Fill, Rows, SystemContext};
use crate::catalog::definition::Kind;
use crate::session::OWNER_NAME;

pub(super) fn fill(name: &str) -> Option<Fill> {
    Some(match name {
        "schemata" => schemata,
        "tables" => tables,
        "columns" => columns,
        "views" => views,
        "table_constraints" => table_constraints,
        "key_column_usage" => key_column_usage,
        "constraint_column_usage" => constraint_column_usage,
        "enabled_roles" | "applicable_roles" => enabled_roles,
        "information_schema_catalog_name" => catalog_name,
        "character_sets" => character_sets,
        _ => return None,
    })
}

fn schemata(context: &SystemContext, rows: &mut Rows<'_>) {
    for (name, _) in context.state.schemas() {
        rows.push(&[
            ("catalog_name", (&context.session.database_name).into()),
            ("schema_name", name.into()),
            ("schema_owner", OWNER_NAME.into()),
        ]);
    }
}

/// Every relation and the type that `information_schema.tables` gives it; materialized views are not in the standard.
fn relations(context: &SystemContext) -> Vec<(&Relation, &'static str)> {
    let system = super::all().iter().map(|s| (&*s.relation, if s.is_view { "VIEW" } else { "BASE TABLE" }));
    let users = visible(context)
        .filter(|e| e.def.kind != Kind::Materialized)
        .map(|e| (&*e.relation, if e.def.kind == Kind::View { "VIEW" } else { "BASE TABLE" }));
    system.chain(users).collect()
}

fn tables(context: &SystemContext, rows: &mut Rows<'_>) {
    for (relation, kind) in relations(context) {
        rows.push(&[
            ("table_catalog", (&context.session.database_name).into()),
            ("table_schema", (&relation.schema).into()),
            ("table_name", (&relation.name).into()),
            ("table_type", kind.into()),
            ("is_insertable_into", if kind == "VIEW" { "NO" } else { "YES" }.into()),
            ("is_typed", "NO".into()),
        ]);
    }
}

fn columns(context: &SystemContext, rows: &mut Rows<'_>) {
    let database = &context.session.database_name;
    for (relation, kind) in relations(context) {
        for (i, column) in relation.columns.iter().enumerate() {
            let ty = column.ty.wire();
            let (precision, radix, scale) = numeric_facts(&ty);
            let datetime = match &ty {
                Type::Date => Cell::from(0),
                Type::Time | Type::Timestamp | Type::Timestamptz | Type::Interval => Cell::from(6),
                _ => Cell::Null,
            };
            let (length, octets) = match &ty {
                Type::Varchar(Some(n)) | Type::Bpchar(Some(n)) => (Cell::from(*n), Cell::from(n * 4)),
                ty if ty.is_text() && !matches!(ty, Type::Name | Type::Char) => (Cell::Null, Cell::from(1 << 30)),
                _ => (Cell::Null, Cell::Null),
            };
            rows.push(&[
                ("table_catalog", database.into()),
                ("table_schema", (&relation.schema).into()),
                ("table_name", (&relation.name).into()),
                ("column_name", (&column.name).into()),
                ("ordinal_position", (i + 1).into()),
                ("column_default", column.default.as_ref().into()),
                ("is_nullable", if column.nullable { "YES" } else { "NO" }.into()),
                ("data_type", data_type(&ty).into()),
                ("character_maximum_length", length),
                ("character_octet_length", octets),
                ("numeric_precision", precision),
                ("numeric_precision_radix", radix),
                ("numeric_scale", scale),
                ("datetime_precision", datetime),
                ("udt_catalog", database.into()),
                ("udt_schema", "pg_catalog".into()),
                ("udt_name", type_row(ty.oid()).map_or("unknown", |r| r.name).into()),
                ("dtd_identifier", (i + 1).to_string().into()),
                ("is_self_referencing", "NO".into()),
                ("is_identity", "NO".into()),
                ("identity_cycle", "NO".into()),
                ("is_generated", "NEVER".into()),
                ("is_updatable", if kind == "VIEW" { "NO" } else { "YES" }.into()),
            ]);
        }
    }
}

fn data_type(ty: &Type) -> String {
    match ty {
        Type::Array(_) => "ARRAY".into(),
        Type::Varchar(_) => "character varying".into(),
        Type::Bpchar(_) => "character".into(),
        Type::Numeric(_) => "numeric".into(),
        other => other.to_string(),
    }
}

/// numeric_precision, its radix, and numeric_scale.
fn numeric_facts(ty: &Type) -> (Cell, Cell, Cell) {
    let (precision, radix, scale): (Option<i64>, Option<i64>, Option<i64>) = match ty {
        Type::Int2 => (Some(16), Some(2), Some(0)),
        Type::Int4 => (Some(32), Some(2), Some(0)),
        Type::Int8 => (Some(64), Some(2), Some(0)),
        Type::Float4 => (Some(24), Some(2), None),
        Type::Float8 => (Some(53), Some(2), None),
        Type::Numeric(Some((p, s))) => (Some(i64::from(*p)), Some(10), Some(i64::from(*s))),
        Type::Numeric(None) => (None, Some(10), None),
        _ => (None, None, None),
    };
    (precision.into(), radix.into(), scale.into())
}

fn views(context: &SystemContext, rows: &mut Rows<'_>) {
    for entry in visible(context).filter(|e| e.def.kind == Kind::View) {
        rows.push(&[
            ("table_catalog", (&context.session.database_name).into()),
            ("table_schema", (&entry.def.schema).into()),
            ("table_name", (&entry.def.name).into()),
            ("view_definition", super::view_definition(&entry.def).into()),
            ("check_option", "NONE".into()),
            ("is_updatable", "NO".into()),
            ("is_insertable_into", "NO".into()),
            ("is_trigger_updatable", "NO".into()),
            ("is_trigger_deletable", "NO".into()),
            ("is_trigger_insertable_into", "NO".into()),
        ]);
    }
}

fn table_constraints(context: &SystemContext, rows: &mut Rows<'_>) {
    let database = &context.session.database_name;
    for entry in visible(context).filter(|e| !e.def.primary_key.is_empty()) {
        rows.push(&[
            ("constraint_catalog", database.into()),
            ("constraint_schema", (&entry.def.schema).into()),
            ("constraint_name", format!("{}_pkey", entry.def.name).into()),
            ("table_catalog", database.into()),
            ("table_schema", (&entry.def.schema).into()),
            ("table_name", (&entry.def.name).into()),
            ("constraint_type", "PRIMARY KEY".into()),
            ("is_deferrable", "NO".into()),
            ("initially_deferred", "NO".into()),
            ("enforced", "YES".into()),
        ]);
    }
}

fn key_column_usage(context: &SystemContext, rows: &mut Rows<'_>) {
    key_columns(context, rows, true);
}

fn constraint_column_usage(context: &SystemContext, rows: &mut Rows<'_>) {
    key_columns(context, rows, false);
}

fn key_columns(context: &SystemContext, rows: &mut Rows<'_>, position: bool) {
    let database = &context.session.database_name;
    for entry in visible(context) {
        for (i, key) in entry.def.primary_key.iter().enumerate() {
            let mut row: Vec<(&str, Cell)> = vec![
                ("constraint_catalog", database.into()),
                ("constraint_schema", (&entry.def.schema).into()),
                ("constraint_name", format!("{}_pkey", entry.def.name).into()),
                ("table_catalog", database.into()),
                ("table_schema", (&entry.def.schema).into()),
                ("table_name", (&entry.def.name).into()),
                ("column_name", (&entry.def.columns[*key].name).into()),
            ];
            if position {
                row.push(("ordinal_position", (i + 1).into()));
            }
            rows.push(&row);
        }
    }
}

fn enabled_roles(context: &SystemContext, rows: &mut Rows<'_>) {
    if rows.has("role_name") && !rows.has("grantee") {
        rows.push(&[("role_name", (&context.session.user).into())]);
    }
}

fn catalog_name(context: &SystemContext, rows: &mut Rows<'_>) {
    rows.push(&[("catalog_name", (&context.session.database_name).into())]);
}

fn character_sets(context: &SystemContext, rows: &mut Rows<'_>) {
    rows.push(&[
        ("character_set_name", "UTF8".into()),
        ("character_repertoire", "UCS".into()),
        ("form_of_use", "UTF8".into()),
        ("default_collate_catalog", (&context.session.database_name).into()),
    ]);
}
