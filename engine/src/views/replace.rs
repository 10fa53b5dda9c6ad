//! ALTER MATERIALIZED VIEW … AS: another query, for which a view is filled beside the old one, which then gives way to it.
//!
//! Until the new one is complete the old one answers, and follows its inputs. One commit takes the old one away and gives its name to the new.
//! The clauses of the old one (PARTITION BY, ORDER BY, TTL) hold for the new, bound to its columns by name.

use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::bind::{Binder, layout};
use weir_sql::plan::OutputColumn;
use weir_sql::statement::{CreateMaterializedView, Emit, Layout, ObjectName, SqlExpr};
use weir_storage::{Change, TableDef, TableId};

use super::{create, late, plan_of, refresh};
use crate::catalog::{CatalogState, Entry, Kind, RelationDef};
use crate::error::{Error, ErrorKind, Result};
use crate::functions::registry;
use crate::session::run::Running;
use crate::session::{Outcome, Session, Severity};
use crate::statement::define::{define, done, dropped, set_relation};
use crate::statement::names::{Named, does_not_exist, look_up, sql_error, written};
use crate::statement::table::{NoRelations, bind_over};

const COMMAND: &str = "ALTER MATERIALIZED VIEW";

/// Gives a view another query.
pub(super) fn replace(
    session: &mut Session,
    running: &Running,
    alter: &CreateMaterializedView,
    if_exists: bool,
) -> Result<Outcome> {
    session.writable(COMMAND)?;
    let state = &running.view.state;
    let old = match look_up(&running.view, &alter.name) {
        Named::User(entry) if entry.def.kind == Kind::Materialized && !entry.def.building => entry,
        Named::Nothing if if_exists => {
            let message = format!("relation \"{}\" does not exist, skipping", written(&alter.name));
            session.notice(Severity::Notice, "00000", message);
            return done(COMMAND);
        }
        Named::Nothing => return Err(does_not_exist(&alter.name)),
        _ => {
            let message = format!("\"{}\" is not a materialized view", alter.name.name);
            return Err(sql_error(SqlErrorKind::WrongObjectType, message));
        }
    };
    check_readers(state, &old.def)?;
    let layout = layout_of(state, &old, &alter.columns)?;
    let (schema, oid) = (old.def.schema.clone(), old.def.oid);
    let new = |name: String| CreateMaterializedView {
        name: ObjectName { name, ..alter.name.clone() },
        layout: layout.clone(),
        alters: None,
        emit: alter.emit.or(old.def.emit.map(Emit::from)),
        late: alter.late.clone().or_else(|| late::said(state, &old.def)),
        ..alter.clone()
    };
    match old.def.refresh {
        Some(every) => {
            define(session, running, dropped(&old.def))?;
            refresh::create(session, running, &new(old.def.name.clone()), schema, every)?;
        }
        None => {
            // Of a name that nobody gives.
            let name = format!("{} as of {}", old.def.name, session.database.next_oid());
            create::make(session, running, &new(name), schema, Some(oid))?;
        }
    }
    done(COMMAND)
}

/// The changes that let a view, which is filled, take the place that it is for; `None` if there is no such view any more.
pub(super) fn take_place(state: &CatalogState, new: &RelationDef, stored: &TableDef) -> Result<Option<Vec<Change>>> {
    let done = RelationDef { building: false, replaces: None, ..new.clone() };
    let Some(replaces) = new.replaces else { return Ok(Some(vec![set_relation(&done)?])) };
    let Some(old) = state.entry(replaces) else { return Ok(None) };
    check_readers(state, &old.def)?;
    let (schema, name) = (old.def.schema.clone(), old.def.name.clone());
    let def = TableDef { name: old.qualified(), ..stored.clone() };
    let mut changes = dropped(&old.def);
    changes.push(Change::AlterTable { id: TableId(new.oid), def });
    changes.push(set_relation(&RelationDef { schema, name, comment: old.def.comment.clone(), ..done })?);
    Ok(Some(changes))
}

/// What reads a view would have to be bound, and filled, again.
fn check_readers(state: &CatalogState, def: &RelationDef) -> Result<()> {
    let Some(reader) = state.dependent_names(def.oid).next() else { return Ok(()) };
    let message = format!("cannot change the query of {} {} because another reads it", def.kind.noun(), def.name);
    Err(Error::new(ErrorKind::DependentObjects, message).with_detail(format!("{reader} depends on it")))
}

/// The clauses of a view for these columns.
fn layout_of(state: &CatalogState, old: &Entry, columns: &[OutputColumn]) -> Result<Layout> {
    let def = &old.def;
    let partition_by = match &def.partition_by {
        Some(sql) => Some(SqlExpr { sql: sql.clone(), expr: bind_over(sql, columns)? }),
        None => None,
    };
    // Its sorting key is one of its own table, where it keeps states.
    let own = if def.keeps_states() { Some(plan_of(state, old)?.key_of_column()) } else { None };
    let shown = |key: &usize| match &own {
        None => Some(*key),
        Some(own) => own.iter().position(|column| column.as_ref() == Some(key)),
    };
    let mut order_by = Vec::new();
    for name in def.order_by.iter().filter_map(shown).map(|column| &def.columns[column].name) {
        order_by.push(columns.iter().position(|column| column.name == *name).ok_or_else(|| {
            let message = format!("column \"{name}\" of the sorting key does not exist");
            sql_error(SqlErrorKind::UndefinedColumn, message)
        })?);
    }
    let mut binder = Binder::new(&NoRelations, registry(), &[]);
    let rules = def.ttl_text().map_or(Ok(Vec::new()), |text| weir_sql::parse::ttl(&text))?;
    let ttl = rules.iter().map(|rule| layout::ttl(&mut binder, rule, columns)).collect::<weir_sql::Result<_>>()?;
    Ok(Layout { engine: def.engine.clone(), partition_by, order_by, ttl, ..Layout::default() })
}
