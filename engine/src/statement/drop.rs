//! DROP and TRUNCATE: what depends on what is dropped goes too, or forbids it.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::statement::{ObjectKind, ObjectName};
use weir_storage::{Change, TableId};

use super::define::{define, done, dropped};
use super::names::{Named, does_not_exist, look_up, sql_error, written};
use crate::alerts;
use crate::catalog::state::{FIXED_SCHEMAS, SCHEMA_PREFIX};
use crate::catalog::{AlertDef, CatalogState, Entry, Kind};
use crate::error::{Error, ErrorKind, Result};
use crate::session::run::Running;
use crate::session::{Outcome, Session, Severity};
use crate::sinks;
use crate::transaction::Item;
use crate::views;
use crate::watermark;

fn noun(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Table => "table",
        ObjectKind::View => "view",
        ObjectKind::MaterializedView => "materialized view",
        ObjectKind::Sink => "sink",
        ObjectKind::Schema => "schema",
    }
}

/// DROP.
pub(super) fn drop(
    session: &mut Session,
    running: &Running,
    kind: ObjectKind,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> Result<Outcome> {
    let tag = format!("DROP {}", noun(kind).to_uppercase());
    session.writable(&tag)?;
    let state = &running.view.state;
    let mut gone: BTreeSet<u32> = BTreeSet::new();
    let mut changes = Vec::new();
    for name in names {
        if kind == ObjectKind::Schema {
            drop_schema(session, state, &name.name, if_exists, cascade, &mut gone, &mut changes)?;
            continue;
        }
        let entry = match look_up(&running.view, name) {
            Named::User(entry) => entry,
            Named::System => {
                let message = format!("permission denied: \"{}\" is a system catalog", name.name);
                return Err(sql_error(SqlErrorKind::WrongObjectType, message));
            }
            Named::Nothing if if_exists => {
                let message = format!("{} \"{}\" does not exist, skipping", noun(kind), name.name);
                session.notice(Severity::Notice, "00000", message);
                continue;
            }
            Named::Nothing => {
                let message = format!("{} \"{}\" does not exist", noun(kind), written(name));
                return Err(sql_error(SqlErrorKind::UndefinedTable, message));
            }
        };
        check_kind(&entry, kind)?;
        drop_entry(session, state, &entry, cascade, &mut gone)?;
    }
    gone.extend(gone.clone().into_iter().filter_map(|oid| sinks::owned(&state.entry(oid)?.def)));
    // A table that is made anew goes with the hidden one.
    let hidden: Vec<u32> = gone.iter().filter_map(|oid| Some(state.rebuild_of(*oid)?.def.oid)).collect();
    gone.extend(hidden);
    for oid in gone {
        changes.extend(state.entry(oid).into_iter().flat_map(|entry| dropped(&entry.def)));
        let forgotten = state.entry(oid).map(|entry| watermark::forget(&running.view.snapshot, &entry.def, false));
        changes.extend(forgotten.into_iter().flatten());
        changes.extend(state.alert(oid).map(|alert| alerts::dropped(alert)));
    }
    if !changes.is_empty() {
        define(session, running, changes)?;
    }
    done(&tag)
}

fn check_kind(entry: &Entry, kind: ObjectKind) -> Result<()> {
    let right = match kind {
        ObjectKind::Table => entry.def.kind == Kind::Table,
        ObjectKind::View => entry.def.kind == Kind::View,
        ObjectKind::MaterializedView => entry.def.kind == Kind::Materialized || entry.def.transform.is_some(),
        ObjectKind::Sink => entry.def.kind == Kind::Sink,
        ObjectKind::Schema => false,
    };
    if right {
        return Ok(());
    }
    let message = format!("\"{}\" is not a {}", entry.def.name, noun(kind));
    let remove = entry.def.kind.noun();
    let hint = format!("Use DROP {} to remove a {remove}.", remove.to_uppercase());
    Err(sql_error(SqlErrorKind::WrongObjectType, message).with_hint(hint))
}

/// Marks a relation and, with CASCADE, all that reads it.
fn drop_entry(
    session: &mut Session,
    state: &CatalogState,
    entry: &Entry,
    cascade: bool,
    gone: &mut BTreeSet<u32>,
) -> Result<()> {
    let dependents = dependents(state, entry.def.oid);
    let others: Vec<&Arc<Entry>> = dependents.into_iter().filter(|d| !gone.contains(&d.def.oid)).collect();
    let oids: Vec<u32> = std::iter::once(entry.def.oid).chain(others.iter().map(|d| d.def.oid)).collect();
    let alerts = alerts_on(state, &oids, gone);
    let views = others.iter().map(|d| format!("{} {}", d.def.kind.noun(), d.def.name));
    let names: Vec<String> = views.chain(alerts.iter().map(|alert| format!("alert {}", alert.name))).collect();
    if !names.is_empty() {
        if !cascade {
            return Err(depended_upon(entry, &names));
        }
        cascade_notice(session, &names);
    }
    gone.extend(oids);
    gone.extend(alerts.iter().map(|alert| alert.oid));
    Ok(())
}

/// All relations that read this one, at any remove.
fn dependents(state: &CatalogState, oid: u32) -> Vec<&Arc<Entry>> {
    let mut found: Vec<&Arc<Entry>> = Vec::new();
    let mut next = vec![oid];
    while let Some(oid) = next.pop() {
        for entry in state.dependents(oid) {
            if !found.iter().any(|known| known.def.oid == entry.def.oid) {
                found.push(entry);
                next.push(entry.def.oid);
            }
        }
    }
    found
}

/// The alerts on any of these relations that are not gone already.
fn alerts_on<'a>(state: &'a CatalogState, oids: &[u32], gone: &BTreeSet<u32>) -> Vec<&'a Arc<AlertDef>> {
    let on_one = |alert: &&Arc<AlertDef>| alert.depends.iter().any(|input| oids.contains(input));
    state.alerts().filter(on_one).filter(|alert| !gone.contains(&alert.oid)).collect()
}

fn depended_upon(entry: &Entry, others: &[String]) -> Error {
    let what = format!("{} {}", entry.def.kind.noun(), entry.def.name);
    let lines: Vec<String> = others.iter().map(|other| format!("{other} depends on {what}")).collect();
    Error::new(ErrorKind::DependentObjects, format!("cannot drop {what} because other objects depend on it"))
        .with_detail(lines.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
}

fn cascade_notice(session: &mut Session, others: &[String]) {
    let message = match others {
        [one] => format!("drop cascades to {one}"),
        many => format!("drop cascades to {} other objects", many.len()),
    };
    session.notice(Severity::Notice, "00000", message);
}

fn drop_schema(
    session: &mut Session,
    state: &CatalogState,
    name: &str,
    if_exists: bool,
    cascade: bool,
    gone: &mut BTreeSet<u32>,
    changes: &mut Vec<Change>,
) -> Result<()> {
    let Some(oid) = state.schema_oid(name) else {
        if if_exists {
            session.notice(Severity::Notice, "00000", format!("schema \"{name}\" does not exist, skipping"));
            return Ok(());
        }
        return Err(sql_error(SqlErrorKind::UndefinedSchema, format!("schema \"{name}\" does not exist")));
    };
    if FIXED_SCHEMAS.iter().any(|(fixed, _)| *fixed == name) {
        let message = format!("cannot drop schema {name} because it is required by the database system");
        return Err(Error::new(ErrorKind::DependentObjects, message));
    }
    let inside: Vec<&Arc<Entry>> = state.entries().filter(|e| e.def.schema == name).collect();
    let alerts: Vec<&Arc<AlertDef>> = state.alerts().filter(|alert| alert.schema == name).collect();
    let relations = inside.iter().map(|e| format!("{} {}", e.def.kind.noun(), e.qualified()));
    let names: Vec<String> =
        relations.chain(alerts.iter().map(|alert| format!("alert {name}.{}", alert.name))).collect();
    if !names.is_empty() {
        if !cascade {
            let lines: Vec<String> = names.iter().map(|inside| format!("{inside} depends on schema {name}")).collect();
            let message = format!("cannot drop schema {name} because other objects depend on it");
            return Err(Error::new(ErrorKind::DependentObjects, message)
                .with_detail(lines.join("\n"))
                .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        cascade_notice(session, &names);
    }
    gone.extend(alerts.iter().map(|alert| alert.oid));
    for entry in inside {
        gone.insert(entry.def.oid);
        gone.extend(dependents(state, entry.def.oid).iter().map(|d| d.def.oid));
    }
    let oids: Vec<u32> = gone.iter().copied().collect();
    let alerts: Vec<u32> = alerts_on(state, &oids, gone).iter().map(|alert| alert.oid).collect();
    gone.extend(alerts);
    changes.push(Change::Set { key: format!("{SCHEMA_PREFIX}{oid}"), value: None });
    Ok(())
}

/// TRUNCATE: the views that the table feeds are emptied with it.
pub(super) fn truncate(session: &mut Session, running: &Running, names: &[ObjectName]) -> Result<Outcome> {
    session.writable("TRUNCATE TABLE")?;
    let state = &running.view.state;
    let mut items = Vec::new();
    for name in names {
        let Named::User(entry) = look_up(&running.view, name) else { return Err(does_not_exist(name)) };
        if entry.def.kind != Kind::Table {
            let message = format!("\"{}\" is not a table", entry.def.name);
            return Err(sql_error(SqlErrorKind::WrongObjectType, message));
        }
        items.push(Item::Fed(Change::Truncate { table: TableId(entry.def.oid) }));
        items.extend(views::emptied(state, entry.def.oid)?.into_iter().map(Item::Delta));
        items.extend(watermark::forget(&running.view.snapshot, &entry.def, true).into_iter().map(Item::Own));
    }
    let version = state.version;
    let pending = &mut session.transaction()?.pending;
    pending.items.extend(items);
    pending.catalog.get_or_insert(version);
    done("TRUNCATE TABLE")
}
