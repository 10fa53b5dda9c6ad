//! CREATE TABLE, CREATE VIEW, CREATE SCHEMA, COMMENT: definitions go into the catalogue's keys, tables to storage as well.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::IntervalMonthDayNanoType;
use weir_sql::collation::Collation;
use weir_sql::plan::OutputColumn;
use weir_sql::statement::{self as ast, CreateTable, Layout, ObjectName, OnCommit};
use weir_sql::{ErrorKind as SqlErrorKind, Type};
use weir_storage::{Change, TableId};

use super::index;
use super::names::{Named, already_exists, does_not_exist, look_up, sql_error, table_schema, taken, written};
use super::query;
use super::table::storage_def;
use super::ttl;
use super::unique::Policy;
use super::writer::{Base, Writer};
use crate::catalog::state::{NEXT_OID, RELATION_PREFIX, SCHEMA_PREFIX};
use crate::catalog::{ColumnDef, Entry, Kind, MergingDef, RelationDef, SchemaDef, TtlDef};
use crate::error::{Error, Result};
use crate::exec::keys::has_variants;
use crate::replay;
use crate::session::context::TEMPORARY;
use crate::session::run::Running;
use crate::session::{Outcome, Session, Severity, View};
use crate::sinks;
use crate::transaction::{Item, Pending};
use crate::views::{late, refresh};
use crate::watermark;

pub(crate) fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Command { tag: tag.into() })
}

/// The change that keeps a relation's definition.
pub(crate) fn set_relation(def: &RelationDef) -> Result<Change> {
    let value = serde_json::to_vec(def).map_err(|e| Error::internal(format!("a definition is not JSON: {e}")))?;
    Ok(Change::Set { key: format!("{RELATION_PREFIX}{}", def.oid), value: Some(value) })
}

/// The changes that drop a relation.
pub(crate) fn dropped(def: &RelationDef) -> Vec<Change> {
    let key = format!("{RELATION_PREFIX}{}", def.oid);
    let table = (def.kind != Kind::View).then_some(Change::DropTable { id: TableId(def.oid) });
    let own = table.into_iter().chain([Change::Set { key, value: None }]);
    let replay = (def.kind == Kind::Table).then(|| replay::forget(def.oid));
    let beside = refresh::forget(def).into_iter().chain(sinks::forget(def)).chain(late::forget(def)).chain(replay);
    own.chain(beside).collect()
}

/// Adds changes of the catalogue to a transaction.
pub(crate) fn define(session: &mut Session, running: &Running, changes: Vec<Change>) -> Result<()> {
    let version = running.view.state.version;
    let next = session.database.next_oid();
    let pending = &mut session.transaction()?.pending;
    add_definitions(pending, version, next, changes);
    Ok(())
}

/// The same without a session.
pub(crate) fn add_definitions(pending: &mut Pending, version: u64, next_oid: u32, changes: Vec<Change>) {
    pending.items.extend(changes.into_iter().map(Item::Own));
    let next = Change::Set { key: NEXT_OID.into(), value: Some(next_oid.to_string().into_bytes()) };
    pending.items.push(Item::Own(next));
    pending.catalog.get_or_insert(version);
    pending.defined();
}

/// CREATE TABLE and CREATE TABLE AS.
pub(super) fn create_table(session: &mut Session, running: &Running, create: &CreateTable) -> Result<Outcome> {
    let command = if create.source.is_some() { "CREATE TABLE AS" } else { "CREATE TABLE" };
    session.writable(command)?;
    let schema = table_schema(&running.view, &create.name)?;
    if taken(&running.view, &schema, &create.name.name) {
        if create.if_not_exists {
            let message = format!("relation \"{}\" already exists, skipping", create.name.name);
            session.notice(Severity::Notice, "42P07", message);
            return done(command);
        }
        return Err(already_exists(&create.name.name));
    }
    let mut def = table_def(session.database.new_oid(), schema, &create.name.name, &create.columns, &create.layout)?;
    def.options = create.options.clone();
    def.comment = take_comment(&mut def.options);
    def.watermark = create.watermark.as_ref().map(|(column, expr)| (*column, expr.sql.clone()));
    def.indexes = index::create(session, &create.indexes)?;
    def.primary_key = create.primary_key.clone();
    if !def.primary_key.is_empty() {
        for column in &def.primary_key {
            def.columns[*column].nullable = false;
        }
        if def.order_by.is_empty() {
            def.order_by = def.primary_key.clone();
        }
    }
    def.merging = create.merging.as_ref().map(|merging| match merging {
        ast::Merging::Replacing { version, is_deleted } => {
            MergingDef::Replacing { version: *version, is_deleted: *is_deleted }
        }
        ast::Merging::Summing(columns) => MergingDef::Summing(columns.clone()),
        ast::Merging::Aggregating => MergingDef::Aggregating,
        ast::Merging::Collapsing { sign, version } => {
            // Rows of one key and different versions are different rows.
            def.order_by.extend(version.filter(|version| !def.order_by.contains(version)));
            MergingDef::Collapsing { sign: *sign, version: *version }
        }
    });
    check_key(&def)?;
    if def.watermark.is_some() {
        watermark::check(&def)?;
        session.database.watch_watermarks();
    }
    let entry = Arc::new(Entry::new(def.clone()));
    ttl::check(&session.database, &entry)?;
    let table = Change::CreateTable { id: TableId(def.oid), def: storage_def(&def, entry.schema()) };
    let mut changes = vec![table.clone(), set_relation(&def)?];
    changes.extend(temporary_schema(session, running, &def)?);
    define(session, running, changes)?;
    if create.on_commit != OnCommit::Preserve {
        session.on_commit.push((def.oid, create.on_commit));
    }
    let Some(source) = &create.source else { return done("CREATE TABLE") };
    // Rows go to the table as it will be.
    let base = session.base(running);
    let base = Base { snapshot: base.snapshot.with_changes(&[table])?, ..base };
    let mut writer = Writer::new(base, &entry, Policy::of_table(&entry.def))?;
    let mut stream = query::stream(session, running, source)?;
    while let Some(batch) = stream.next()? {
        writer.push(&batch)?;
    }
    drop(stream);
    let written = writer.finish(&mut session.transaction()?.pending)?;
    done(&format!("SELECT {}", written.count))
}

/// Whether storage can find rows by the key, and what `on_conflict` says.
pub(super) fn check_key(def: &RelationDef) -> Result<()> {
    let key = def.key();
    for &column in key.iter().flatten() {
        let ColumnDef { name, ty, .. } = &def.columns[column];
        if has_variants(ty) || matches!(ty, Type::Json | Type::Array(_)) {
            let message = format!("a primary key of type {ty} is not supported");
            return Err(sql_error(SqlErrorKind::Unsupported, message)
                .with_detail(format!("Equal values of column \"{name}\" may look different."))
                .with_hint(
                    "Use a type whose equal values look alike: an integer, numeric(p, s), text, uuid, date, timestamp.",
                ));
        }
    }
    let Some((_, value)) = def.options.iter().find(|(option, _)| option == "on_conflict") else { return Ok(()) };
    if !matches!(value.as_str(), "replace" | "ignore" | "error") {
        let message = format!("invalid value for option \"on_conflict\": \"{value}\"");
        return Err(sql_error(SqlErrorKind::InvalidParameter, message).with_hint("It is replace, ignore or error."));
    }
    match key {
        Some(_) => Ok(()),
        None => {
            let message = "option \"on_conflict\" needs a primary key";
            Err(sql_error(SqlErrorKind::InvalidDefinition, message))
        }
    }
}

/// `COMMENT '…'` of ClickHouse's form comes among the options.
fn take_comment(options: &mut Vec<(String, String)>) -> Option<String> {
    let at = options.iter().position(|(key, _)| key == "comment")?;
    Some(options.remove(at).1)
}

/// A table's definition.
pub(crate) fn table_def(
    oid: u32,
    schema: String,
    name: &str,
    columns: &[ast::ColumnDef],
    layout: &Layout,
) -> Result<RelationDef> {
    if let Some(column) = columns.iter().find(|c| contains_record(&c.ty)) {
        let message = format!("column \"{}\" has pseudo-type {}", column.name, column.ty);
        return Err(sql_error(SqlErrorKind::InvalidDefinition, message));
    }
    let columns = columns
        .iter()
        .map(|c| ColumnDef {
            name: c.name.clone(),
            ty: c.ty.clone(),
            nullable: c.nullable,
            default: c.default.as_ref().map(|d| d.sql.clone()),
            codec: c.codec.clone(),
            fold: c.fold,
            collation: c.collation,
            scale: c.scale,
            comment: c.comment.clone(),
        })
        .collect();
    Ok(RelationDef {
        order_by: layout.order_by.clone(),
        partition_by: layout.partition_by.as_ref().map(|p| p.sql.clone()),
        ttl: layout.ttl.iter().map(ttl_def).collect(),
        engine: layout.engine.clone(),
        ..blank(oid, schema, name, Kind::Table, columns)
    })
}

/// A definition with nothing but a name and columns.
pub(crate) fn blank(oid: u32, schema: String, name: &str, kind: Kind, columns: Vec<ColumnDef>) -> RelationDef {
    RelationDef {
        oid,
        schema,
        name: name.to_string(),
        kind,
        columns,
        column_ids: Vec::new(),
        last_column_id: None,
        primary_key: Vec::new(),
        order_by: Vec::new(),
        partition_by: None,
        ttl: Vec::new(),
        engine: None,
        indexes: Vec::new(),
        merging: None,
        options: Vec::new(),
        watermark: None,
        query: None,
        search_path: Vec::new(),
        depends: Vec::new(),
        building: false,
        replaces: None,
        refresh: None,
        sink: None,
        emit: None,
        late: None,
        transform: None,
        in_step: false,
        whole: None,
        comment: None,
    }
}

fn contains_record(ty: &Type) -> bool {
    match ty {
        Type::Record(_) => true,
        Type::Array(element) => contains_record(element),
        _ => false,
    }
}

/// A TTL's interval in months, days and microseconds.
pub(crate) fn ttl_def(ttl: &ast::Ttl) -> TtlDef {
    let interval = ttl.interval.array.as_primitive_opt::<IntervalMonthDayNanoType>().map(|a| a.value(0));
    let (months, days, micros) = interval.map_or((0, 0, 0), |i| (i.months, i.days, i.nanoseconds / 1000));
    let condition = ttl.condition.as_ref().map(|condition| condition.sql.clone());
    let ast::Ttl { column, day, of, rollup, .. } = *ttl;
    TtlDef { column, months, days, micros, day, condition, of, rollup, sql: ttl.sql.clone() }
}

/// The columns of a view as the catalogue keeps them.
pub(crate) fn view_columns(columns: &[OutputColumn]) -> Vec<ColumnDef> {
    columns
        .iter()
        .map(|c| ColumnDef {
            name: c.name.clone(),
            ty: c.ty.clone(),
            nullable: true,
            default: None,
            codec: None,
            fold: None,
            collation: c.collating.settled().ok().filter(|collation| *collation != Collation::DEFAULT),
            scale: None,
            comment: None,
        })
        .collect()
}

/// CREATE VIEW's parts.
pub(super) struct CreateView<'a> {
    pub(super) name: &'a ObjectName,
    pub(super) or_replace: bool,
    pub(super) if_not_exists: bool,
    pub(super) query: &'a str,
    pub(super) columns: &'a [OutputColumn],
}

/// CREATE VIEW.
pub(super) fn create_view(session: &mut Session, running: &Running, create: &CreateView<'_>) -> Result<Outcome> {
    session.writable("CREATE VIEW")?;
    let view = &running.view;
    let depends = used_by(view, create.query)?;
    let mut schema = table_schema(view, create.name)?;
    if schema != view.temporary_schema() && uses_temporary(view, &depends) {
        if create.name.schema.is_some() {
            let message = "cannot create temporary relation in non-temporary schema";
            return Err(sql_error(SqlErrorKind::InvalidDefinition, message));
        }
        schema = view.temporary_schema();
        session.notice(Severity::Notice, "00000", format!("view \"{}\" will be a temporary view", create.name.name));
    }
    let old = view.state.find(&schema, &create.name.name).cloned();
    let oid = match &old {
        Some(entry) if create.or_replace && entry.def.kind == Kind::View => {
            replaceable(entry, create.columns)?;
            entry.def.oid
        }
        Some(entry) if create.or_replace => {
            let message = format!("\"{}\" is not a view", entry.def.name);
            return Err(sql_error(SqlErrorKind::WrongObjectType, message));
        }
        Some(_) if create.if_not_exists => {
            let message = format!("relation \"{}\" already exists, skipping", create.name.name);
            session.notice(Severity::Notice, "42P07", message);
            return done("CREATE VIEW");
        }
        Some(_) => return Err(already_exists(&create.name.name)),
        None => session.database.new_oid(),
    };
    let def = RelationDef {
        query: Some(create.query.to_string()),
        search_path: view.path(),
        depends,
        ..blank(oid, schema, &create.name.name, Kind::View, view_columns(create.columns))
    };
    if def.depends.contains(&oid) {
        let message = format!("infinite recursion detected in rules for relation \"{}\"", def.name);
        return Err(sql_error(SqlErrorKind::InvalidDefinition, message));
    }
    let mut changes = vec![set_relation(&def)?];
    changes.extend(temporary_schema(session, running, &def)?);
    define(session, running, changes)?;
    done("CREATE VIEW")
}

/// The schema of the session's temporary relations, if this is the first of them.
fn temporary_schema(session: &mut Session, running: &Running, def: &RelationDef) -> Result<Option<Change>> {
    if def.schema != running.view.temporary_schema() {
        return Ok(None);
    }
    session.has_temporary = true;
    match running.view.state.schema_oid(&def.schema) {
        Some(_) => Ok(None),
        None => set_schema(session.database.new_oid(), &def.schema).map(Some),
    }
}

/// CREATE OR REPLACE VIEW may add columns at the end, and change no others.
fn replaceable(old: &Entry, columns: &[OutputColumn]) -> Result<()> {
    if columns.len() < old.def.columns.len() {
        return Err(sql_error(SqlErrorKind::InvalidDefinition, "cannot drop columns from view"));
    }
    for (was, is) in old.def.columns.iter().zip(columns) {
        if was.name != is.name {
            let message = format!("cannot change name of view column \"{}\" to \"{}\"", was.name, is.name);
            return Err(sql_error(SqlErrorKind::InvalidDefinition, message));
        }
        if was.ty != is.ty {
            let message =
                format!("cannot change data type of view column \"{}\" from {} to {}", was.name, was.ty, is.ty);
            return Err(sql_error(SqlErrorKind::InvalidDefinition, message));
        }
    }
    Ok(())
}

/// The users' relations that a query reads, those behind views among them. Temporary ones are an error.
pub(crate) fn dependencies(view: &View, query: &str) -> Result<Vec<u32>> {
    let used = used_by(view, query)?;
    match uses_temporary(view, &used) {
        true => Err(sql_error(SqlErrorKind::Unsupported, "materialized views must not use temporary tables")),
        false => Ok(used),
    }
}

pub(crate) fn uses_temporary(view: &View, used: &[u32]) -> bool {
    used.iter().any(|oid| view.state.entry(*oid).is_some_and(|entry| entry.def.schema.starts_with(TEMPORARY)))
}

/// The users' relations that a statement names, those behind views among them.
pub(crate) fn used_by(view: &View, query: &str) -> Result<Vec<u32>> {
    let fresh = view.with_path(view.path());
    let parsed = weir_sql::parse::parse(query)?;
    for statement in &parsed {
        weir_sql::bind::bind(statement, &fresh, crate::functions::registry(), &[])?;
    }
    Ok(fresh.used())
}

/// CREATE SCHEMA.
pub(super) fn create_schema(
    session: &mut Session,
    running: &Running,
    name: &str,
    if_not_exists: bool,
) -> Result<Outcome> {
    session.writable("CREATE SCHEMA")?;
    if running.view.state.schema_oid(name).is_some() {
        if if_not_exists {
            session.notice(Severity::Notice, "42P06", format!("schema \"{name}\" already exists, skipping"));
            return done("CREATE SCHEMA");
        }
        return Err(sql_error(SqlErrorKind::DuplicateSchema, format!("schema \"{name}\" already exists")));
    }
    if name.starts_with("pg_") {
        let message = format!("unacceptable schema name \"{name}\"");
        let detail = "The prefix \"pg_\" is reserved for system schemas.";
        return Err(sql_error(SqlErrorKind::InvalidDefinition, message).with_detail(detail));
    }
    define(session, running, vec![set_schema(session.database.new_oid(), name)?])?;
    done("CREATE SCHEMA")
}

/// The change that makes a schema.
fn set_schema(oid: u32, name: &str) -> Result<Change> {
    let def = SchemaDef { oid, name: name.to_string() };
    let value = serde_json::to_vec(&def).map_err(|e| Error::internal(format!("a definition is not JSON: {e}")))?;
    Ok(Change::Set { key: format!("{SCHEMA_PREFIX}{oid}"), value: Some(value) })
}

/// COMMENT ON TABLE, VIEW, COLUMN.
pub(super) fn comment(
    session: &mut Session,
    running: &Running,
    relation: &ObjectName,
    column: Option<&str>,
    comment: Option<&str>,
) -> Result<Outcome> {
    session.writable("COMMENT")?;
    let Named::User(entry) = look_up(&running.view, relation) else {
        return Err(does_not_exist(relation));
    };
    let mut def = entry.def.clone();
    let comment = comment.filter(|text| !text.is_empty()).map(str::to_string);
    match column {
        None => def.comment = comment,
        Some(column) => {
            let found = def.columns.iter_mut().find(|c| c.name == column);
            let message = format!("column \"{column}\" of relation \"{}\" does not exist", written(relation));
            found.ok_or_else(|| sql_error(SqlErrorKind::UndefinedColumn, message))?.comment = comment;
        }
    }
    define(session, running, vec![set_relation(&def)?])?;
    done("COMMENT")
}
