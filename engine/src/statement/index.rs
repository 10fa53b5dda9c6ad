//! Skip indexes: definitions checked against the table's types, CREATE INDEX, ALTER TABLE … INDEX, DROP INDEX.
//!
//! An index of ClickHouse's form has a name of its own within its table, one of CREATE INDEX within its schema. Its oid is also
//! what parts know it by, so an index that is dropped and made again is another one. CREATE INDEX and MATERIALIZE INDEX outside of a
//! transaction block wait until the parts that are there have it (`commit`); inside, background work sees to it after COMMIT.

use std::sync::Arc;

use weir_sql::statement::{self as ast, AlterIndexes, DropIndex, IndexChange, SqlExpr};
use weir_sql::{ErrorKind as SqlErrorKind, Type, plan::ExprKind, walk};
use weir_storage::{Change, TableDef, TableId};

use super::define::{define, done, set_relation};
use super::names::{Named, already_exists, does_not_exist, look_up, sql_error, taken};
use super::table::{bind_over, output_columns, storage_def};
use crate::catalog::definition::{IndexDef, IndexKey, IndexKind};
use crate::catalog::{CatalogState, Entry, Kind, RelationDef};
use crate::error::{Error, Result};
use crate::exec::operators::ordered_bytes;
use crate::index_values::is_fixed;
use crate::session::run::Running;
use crate::session::{Outcome, Session, Severity};

impl From<ast::IndexKind> for IndexKind {
    fn from(kind: ast::IndexKind) -> IndexKind {
        match kind {
            ast::IndexKind::MinMax => IndexKind::MinMax,
            ast::IndexKind::Set(values) => IndexKind::Set(values),
            ast::IndexKind::Bloom(rate) => IndexKind::Bloom(rate),
            ast::IndexKind::Ngrams { n, filter: f } => {
                IndexKind::Ngrams { n, bytes: f.bytes, hashes: f.hashes, seed: f.seed }
            }
            ast::IndexKind::Tokens(f) => IndexKind::Tokens { bytes: f.bytes, hashes: f.hashes, seed: f.seed },
            ast::IndexKind::Text => IndexKind::Text,
        }
    }
}

impl From<IndexKind> for weir_storage::IndexKind {
    fn from(kind: IndexKind) -> weir_storage::IndexKind {
        use weir_storage::{FilterSize, IndexKind as Stored};
        match kind {
            IndexKind::MinMax => Stored::MinMax,
            IndexKind::Set(values) => Stored::Set(values),
            IndexKind::Bloom(rate) => Stored::Bloom(rate),
            IndexKind::Ngrams { n, bytes, hashes, seed } => {
                Stored::Ngrams { n, filter: FilterSize { bytes, hashes, seed } }
            }
            IndexKind::Tokens { bytes, hashes, seed } => Stored::Tokens(FilterSize { bytes, hashes, seed }),
            IndexKind::Text => Stored::Text,
        }
    }
}

/// What storage has to know of an index.
pub(crate) fn stored(index: &IndexDef) -> weir_storage::IndexDef {
    let key = |key: &IndexKey| weir_storage::IndexKey {
        source: match (key.is_column, key.columns.as_slice()) {
            (true, [column]) => weir_storage::IndexSource::Column(*column),
            _ => weir_storage::IndexSource::Expression { sql: key.sql.clone(), columns: key.columns.clone() },
        },
        ty: key.ty.to_arrow(),
    };
    weir_storage::IndexDef {
        id: index.oid,
        name: index.name.clone(),
        kind: index.kind.into(),
        granularity: index.granularity,
        keys: index.keys.iter().map(key).collect(),
        everywhere: index.everywhere,
    }
}

/// An index as the catalogue keeps it.
pub(super) fn index_def(oid: u32, name: String, index: &ast::IndexDef) -> Result<IndexDef> {
    let kind = IndexKind::from(index.kind);
    let keys = index.keys.iter().map(|key| index_key(&name, kind, key)).collect::<Result<_>>()?;
    Ok(IndexDef { oid, name, kind, granularity: index.granularity, keys, everywhere: index.everywhere })
}

fn index_key(name: &str, kind: IndexKind, key: &ast::SqlExpr) -> Result<IndexKey> {
    let (expr, ty) = (&key.expr, key.expr.ty.clone());
    let mut columns = walk::columns_read(expr);
    columns.sort_unstable();
    columns.dedup();
    if columns.is_empty() {
        let message = format!("index \"{name}\" is over {}, which reads no column", key.sql);
        return Err(sql_error(SqlErrorKind::InvalidDefinition, message));
    }
    if !is_fixed(expr) {
        let message = "functions in index expression must be marked IMMUTABLE";
        return Err(sql_error(SqlErrorKind::InvalidDefinition, message)
            .with_detail(format!("{} may depend on the time or on a setting.", key.sql)));
    }
    let stored = weir_storage::IndexKind::from(kind);
    if !is_indexable(&stored, &ty) {
        let message = format!("index \"{name}\" of type {} cannot be over type {ty}", stored.name());
        return Err(sql_error(SqlErrorKind::DatatypeMismatch, message));
    }
    let is_column = matches!(expr.kind, ExprKind::Column(_));
    Ok(IndexKey { sql: key.sql.clone(), columns, is_column, ty })
}

/// Whether an index answers for values of this type as SQL does.
fn is_indexable(kind: &weir_storage::IndexKind, ty: &Type) -> bool {
    use weir_storage::IndexKind as Stored;
    if !kind.takes(&ty.field("", true)) {
        return false;
    }
    match (kind, ty) {
        (Stored::Bloom(_), Type::Array(element)) => ordered_bytes(element),
        (Stored::Ngrams { .. } | Stored::Tokens(_) | Stored::Text, ty) => {
            matches!(ty, Type::Text | Type::Varchar(_) | Type::Name)
        }
        (_, ty) => ordered_bytes(ty),
    }
}

/// The indexes of a table that is being made.
pub(super) fn create(session: &Session, indexes: &[ast::IndexDef]) -> Result<Vec<IndexDef>> {
    let one =
        |index: &ast::IndexDef| index_def(session.database.new_oid(), index.name.clone().unwrap_or_default(), index);
    indexes.iter().map(one).collect()
}

/// ALTER TABLE with actions on indexes, and CREATE INDEX.
pub(super) fn alter(session: &mut Session, running: &Running, alter: &AlterIndexes) -> Result<Outcome> {
    session.writable(&alter.tag)?;
    let entry = match look_up(&running.view, &alter.table) {
        Named::User(entry) => entry,
        Named::System => {
            let message = format!("permission denied: \"{}\" is a system catalog", alter.table.name);
            return Err(sql_error(SqlErrorKind::WrongObjectType, message));
        }
        Named::Nothing => return Err(does_not_exist(&alter.table)),
    };
    match entry.def.kind {
        Kind::Table => {}
        Kind::Materialized => {
            let message = format!("an index on materialized view \"{}\" is not supported", entry.def.name);
            return Err(sql_error(SqlErrorKind::Unsupported, message)
                .with_hint("Its rows are found by its group keys as they are."));
        }
        Kind::View | Kind::Sink => {
            let message = format!("\"{}\" is not a table", entry.def.name);
            return Err(sql_error(SqlErrorKind::WrongObjectType, message));
        }
    }
    let mut def = entry.def.clone();
    let mut builds = false;
    for change in &alter.changes {
        builds |= apply(session, running, &mut def, change, alter.tag == "CREATE INDEX")?;
    }
    if def != entry.def {
        change_indexes(session, running, &entry, &def)?;
        if builds && !session.in_block() {
            session.transaction()?.pending.indexed.push((def.oid, running.cancel.clone()));
        }
    }
    done(&alter.tag)
}

/// Makes a change; says whether parts that are there are to get an index.
fn apply(
    session: &mut Session,
    running: &Running,
    def: &mut RelationDef,
    change: &IndexChange,
    of_schema: bool,
) -> Result<bool> {
    let find = |def: &RelationDef, name: &str| def.indexes.iter().position(|index| index.name == name);
    match change {
        IndexChange::Add { index, if_not_exists } => {
            let name = match &index.name {
                Some(name) => name.clone(),
                None => free_name(running, def, index),
            };
            let in_schema = of_schema && is_taken(running, &def.schema, &name);
            if in_schema || find(def, &name).is_some() {
                if *if_not_exists {
                    session.notice(Severity::Notice, "42P07", format!("relation \"{name}\" already exists, skipping"));
                    return Ok(false);
                }
                return Err(already_exists(&name));
            }
            def.indexes.push(index_def(session.database.new_oid(), name, index)?);
            Ok(index.everywhere)
        }
        IndexChange::Drop { name, if_exists } => {
            match find(def, name) {
                Some(at) => drop(def.indexes.remove(at)),
                None if *if_exists => {
                    session.notice(Severity::Notice, "00000", format!("index \"{name}\" does not exist, skipping"))
                }
                None => return Err(no_index(name)),
            }
            Ok(false)
        }
        IndexChange::Materialize { name, if_exists } => match find(def, name) {
            Some(at) => {
                def.indexes[at].everywhere = true;
                Ok(true)
            }
            None if *if_exists => Ok(false),
            None => Err(no_index(name)),
        },
    }
}

fn no_index(name: &str) -> Error {
    sql_error(SqlErrorKind::UndefinedObject, format!("index \"{name}\" does not exist"))
}

/// Whether a relation or index of a schema has this name.
fn is_taken(running: &Running, schema: &str, name: &str) -> bool {
    let in_schema = running.view.state.entries().filter(|entry| entry.def.schema == schema);
    let has = |entry: &Arc<Entry>| {
        let is_key = !entry.def.primary_key.is_empty() && format!("{}_pkey", entry.def.name) == name;
        is_key || entry.def.indexes.iter().any(|index| index.name == name)
    };
    taken(&running.view, schema, name) || in_schema.into_iter().any(has)
}

/// What PostgreSQL would call it: `table_key_key_idx`, with a number if that is there.
fn free_name(running: &Running, def: &RelationDef, index: &ast::IndexDef) -> String {
    let key = |key: &ast::SqlExpr| match &key.expr.kind {
        ExprKind::Column(column) => def.columns[*column].name.clone(),
        ExprKind::Call { name, .. } if name.chars().all(|c| c.is_alphanumeric() || c == '_') => name.to_lowercase(),
        _ => "expr".to_string(),
    };
    let keys: Vec<String> = index.keys.iter().map(key).collect();
    let base = format!("{}_{}_idx", def.name, keys.join("_"));
    let is_free =
        |name: &String| !is_taken(running, &def.schema, name) && !def.indexes.iter().any(|index| index.name == *name);
    let numbered = (1..).map(|n| format!("{base}{n}"));
    std::iter::once(base.clone()).chain(numbered).find(is_free).unwrap_or(base)
}

fn change_indexes(session: &mut Session, running: &Running, entry: &Arc<Entry>, def: &RelationDef) -> Result<()> {
    let id = TableId(def.oid);
    // What storage knows of older rows stays as it is.
    let missing = running.view.snapshot.table(id).map(|table| table.def().missing.clone()).unwrap_or_default();
    let stored = TableDef { missing, ..storage_def(def, entry.schema()) };
    let changes = vec![Change::AlterTable { id, def: stored }, set_relation(def)?];
    session.transaction()?.pending.altered.entry(def.oid).or_insert_with(|| entry.clone());
    define(session, running, changes)
}

/// The indexes of a table in which a column has another type now: bound again, and other indexes than before to the parts that are there.
pub(super) fn with_new_type(session: &Session, def: &mut RelationDef, column: usize) -> Result<()> {
    let columns = output_columns(&Entry::new(def.clone()).relation);
    for index in &mut def.indexes {
        if !index.keys.iter().any(|key| key.columns.contains(&column)) {
            continue;
        }
        for key in &mut index.keys {
            let expr = bind_over(&key.sql, &columns)?;
            *key = index_key(&index.name, index.kind, &SqlExpr { sql: key.sql.clone(), expr })?;
        }
        index.oid = session.database.new_oid();
        index.everywhere = true;
    }
    Ok(())
}

/// DROP INDEX of PostgreSQL's form: the table is the one that has it.
pub(super) fn drop_index(session: &mut Session, running: &Running, drop: &DropIndex) -> Result<Outcome> {
    session.writable("DROP INDEX")?;
    for name in &drop.names {
        let state = if session.transaction()?.pending.ddl > 0 {
            // An earlier name of this statement has changed the catalogue.
            session.view()?.state.clone()
        } else {
            running.view.state.clone()
        };
        let found = having(&state, name.schema.as_deref(), &name.name, &running.view.path());
        match found.as_slice() {
            [entry] => {
                let mut def = entry.def.clone();
                def.indexes.retain(|index| index.name != name.name);
                change_indexes(session, running, entry, &def)?;
            }
            [] if drop.if_exists => {
                let message = format!("index \"{}\" does not exist, skipping", name.name);
                session.notice(Severity::Notice, "00000", message);
            }
            [] => return Err(no_index(&name.name)),
            [one, other, ..] => {
                let message = format!("index \"{}\" is of several tables", name.name);
                return Err(sql_error(SqlErrorKind::DuplicateObject, message)
                    .with_detail(format!("{} and {} have one of this name.", one.def.name, other.def.name))
                    .with_hint(format!("Use ALTER TABLE … DROP INDEX {}.", name.name)));
            }
        }
    }
    done("DROP INDEX")
}

/// The tables that have an index of this name: of one schema, or of the first on the path that has any.
fn having(state: &CatalogState, schema: Option<&str>, name: &str, path: &[String]) -> Vec<Arc<Entry>> {
    let of = |schema: &str| -> Vec<Arc<Entry>> {
        let has = |entry: &&Arc<Entry>| {
            entry.def.schema == schema && entry.def.indexes.iter().any(|index| index.name == name)
        };
        state.entries().filter(has).cloned().collect()
    };
    match schema {
        Some(schema) => of(schema),
        None => path.iter().map(|schema| of(schema)).find(|found| !found.is_empty()).unwrap_or_default(),
    }
}
