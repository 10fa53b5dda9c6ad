//! System relations: pg_catalog, information_schema and weir, computed when they are read.
//!
//! `data/relations.txt` names every relation of PostgreSQL 15's two schemas with its oid and columns, as that server itself lists them, so that
//! any client finds the columns it asks for; those for which a family's file has a function have rows, the others are empty. Relations of
//! the schema `weir` are declared in [`weir`]. One file a family; a function there pushes rows by column name.

mod alerts;
mod class;
mod database;
mod indexes;
mod info;
mod relations;
mod rows;
mod stat;
mod types;
mod watermarks;
mod weir;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use weir_sql::Type;
use weir_sql::catalog::{ColumnInfo, Relation, RelationKind};
use weir_storage::Snapshot;

pub(crate) use class::{constraint_definition, index_definition, index_relation};
pub(crate) use database::{role_name, role_oid};
pub(crate) use relations::view_definition;
pub use rows::{Cell, Rows};
pub use types::{function_name as type_function_name, function_oid as type_function_oid, type_name, type_oid};

use super::state::CatalogState;
use crate::database::Database;
use crate::session::SessionInfo;

/// A relation that is computed.
#[derive(Debug)]
pub struct SystemRelation {
    /// As the binder sees it.
    pub relation: Arc<Relation>,
    /// Whether Postgres has it as a view.
    pub is_view: bool,
    fill: Option<Fill>,
}

/// Computes a relation's rows.
type Fill = fn(&SystemContext, &mut Rows<'_>);

/// What rows are computed from: one snapshot, as one session sees it.
pub struct SystemContext {
    /// The catalogue.
    pub state: Arc<CatalogState>,
    /// The data.
    pub snapshot: Snapshot,
    /// Who asks.
    pub session: Arc<SessionInfo>,
    /// The database.
    pub database: Database,
}

impl SystemRelation {
    /// Its rows.
    pub fn rows(&self, context: &SystemContext) -> RecordBatch {
        let mut rows = Rows::new(&self.relation.columns);
        if let Some(fill) = self.fill {
            fill(context, &mut rows);
        }
        rows.finish()
    }
}

/// All of them.
pub fn all() -> &'static [SystemRelation] {
    &index().relations
}

/// One by name.
pub fn find(schema: &str, name: &str) -> Option<&'static SystemRelation> {
    let index = index();
    index.by_name.get(schema)?.get(name).map(|i| &index.relations[*i])
}

/// One by oid.
pub fn by_oid(oid: u32) -> Option<&'static SystemRelation> {
    let index = index();
    index.by_oid.get(&oid).map(|i| &index.relations[*i])
}

struct Index {
    relations: Vec<SystemRelation>,
    by_name: HashMap<String, HashMap<String, usize>>,
    by_oid: HashMap<u32, usize>,
}

fn index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut relations: Vec<SystemRelation> =
            include_str!("data/relations.txt").lines().filter_map(parse_relation).collect();
        relations.extend(weir::relations());
        let mut index = Index { relations, by_name: HashMap::new(), by_oid: HashMap::new() };
        for (i, system) in index.relations.iter().enumerate() {
            let relation = &system.relation;
            index.by_name.entry(relation.schema.clone()).or_default().insert(relation.name.clone(), i);
            index.by_oid.insert(relation.oid, i);
        }
        index
    })
}

/// `schema.name OID r|v: column type, column type!, …`; `!` is NOT NULL.
fn parse_relation(line: &str) -> Option<SystemRelation> {
    let (head, columns) = line.split_once(": ")?;
    let mut head = head.split(' ');
    let (schema, name) = head.next()?.split_once('.')?;
    let oid = head.next()?.parse().ok()?;
    let is_view = head.next()? == "v";
    let columns = columns
        .split(", ")
        .filter_map(|column| {
            let (name, ty) = column.split_once(' ')?;
            let nullable = !ty.ends_with('!');
            let ty = column_type(ty.trim_end_matches('!'));
            Some(ColumnInfo { nullable, ..ColumnInfo::new(name, ty) })
        })
        .collect();
    Some(declare(schema, name, oid, is_view, columns, fill_of(schema, name)))
}

fn declare(
    schema: &str,
    name: &str,
    oid: u32,
    is_view: bool,
    columns: Vec<ColumnInfo>,
    fill: Option<Fill>,
) -> SystemRelation {
    let relation = Arc::new(Relation {
        oid,
        schema: schema.into(),
        name: name.into(),
        kind: RelationKind::System,
        columns,
        primary_key: Vec::new(),
    });
    SystemRelation { relation, is_view, fill }
}

/// Our type for a type name of Postgres's catalogue; types that we lack are shown as the nearest that we have.
fn column_type(name: &str) -> Type {
    if let Some(element) = name.strip_prefix('_') {
        return Type::Array(Box::new(column_type(element)));
    }
    match name {
        "oid" | "xid" => Type::Oid,
        "int8" => Type::Int8,
        "int4" | "cardinal_number" => Type::Int4,
        "int2" => Type::Int2,
        "name" | "sql_identifier" => Type::Name,
        "bool" => Type::Bool,
        "char" => Type::Char,
        "timestamptz" | "time_stamp" => Type::Timestamptz,
        "regproc" => Type::Regproc,
        "regtype" => Type::Regtype,
        "float8" => Type::Float8,
        "float4" => Type::Float4,
        "bytea" => Type::Bytea,
        "interval" => Type::Interval,
        "numeric" => Type::Numeric(None),
        "int2vector" => Type::Array(Box::new(Type::Int2)),
        "oidvector" => Type::Array(Box::new(Type::Oid)),
        "character_data" => Type::Varchar(None),
        "yes_or_no" => Type::Varchar(Some(3)),
        _ => Type::Text,
    }
}

/// The function that fills a relation.
fn fill_of(schema: &str, name: &str) -> Option<Fill> {
    if schema == "information_schema" {
        return info::fill(name);
    }
    class::fill(name)
        .or_else(|| database::fill(name))
        .or_else(|| relations::fill(name))
        .or_else(|| stat::fill(name))
        .or_else(|| types::fill(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_read_whole() {
        assert_eq!(all().len(), include_str!("data/relations.txt").lines().count() + weir::relations().len());
        let class = find("pg_catalog", "pg_class").expect("pg_class");
        assert_eq!((class.relation.oid, class.relation.columns.len()), (1259, 33));
        assert_eq!(class.relation.columns[1].ty, Type::Name);
        assert_eq!(by_oid(1259).map(|r| r.relation.name.as_str()), Some("pg_class"));
        assert!(find("information_schema", "columns").is_some_and(|r| r.is_view));
    }
}
