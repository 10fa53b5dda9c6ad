//! CREATE ALERT, ALTER ALERT and DROP ALERT.

use std::sync::Arc;

use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::statement::{AlertStatement, CreateAlert, ObjectName, alert_insert};
use weir_storage::Change;

use super::{already_exists, disabled_key, is_enabled, set, unset};
use crate::catalog::AlertDef;
use crate::catalog::state::ALERT_PREFIX;
use crate::error::Result;
use crate::session::run::Running;
use crate::session::{Outcome, Session, Severity};
use crate::statement::define::{define, done, used_by, uses_temporary};
use crate::statement::names::{sql_error, target_schema, written};
use crate::transaction::Item;

/// A statement about alerts.
pub(crate) fn run(session: &mut Session, running: &Running, statement: &AlertStatement) -> Result<Outcome> {
    match statement {
        AlertStatement::Create(alert) => create(session, running, alert),
        AlertStatement::Enable { name, if_exists, enabled } => enable(session, running, name, *if_exists, *enabled),
        AlertStatement::Drop { names, if_exists } => drop(session, running, names, *if_exists),
    }
}

/// The change that drops an alert. What has become of it is swept away later.
pub(crate) fn dropped(alert: &AlertDef) -> Change {
    unset(format!("{ALERT_PREFIX}{}", alert.oid))
}

fn create(session: &mut Session, running: &Running, alert: &CreateAlert) -> Result<Outcome> {
    const COMMAND: &str = "CREATE ALERT";
    session.writable(COMMAND)?;
    let view = &running.view;
    let schema = target_schema(view, &alert.name)?;
    if view.state.find_alert(&schema, &alert.name.name).is_some() {
        let error = already_exists(&alert.name.name);
        if !alert.if_not_exists {
            return Err(error);
        }
        session.notice(Severity::Notice, "42710", format!("{}, skipping", error.message));
        return done(COMMAND);
    }
    let mut def = AlertDef {
        oid: session.database.new_oid(),
        schema,
        name: alert.name.name.clone(),
        query: alert.query.clone(),
        search_path: view.path(),
        every: alert.every,
        hold: alert.hold,
        actions: alert.actions.iter().map(Into::into).collect(),
        depends: used_by(view, &alert.query)?,
    };
    let mut written = Vec::new();
    for target in def.inserts() {
        written.extend(used_by(view, &alert_insert(target, &def.query))?);
    }
    def.depends.extend(written);
    def.depends.sort_unstable();
    def.depends.dedup();
    if uses_temporary(view, &def.depends) {
        return Err(sql_error(SqlErrorKind::Unsupported, "alerts must not use temporary tables"));
    }
    define(session, running, vec![set(format!("{ALERT_PREFIX}{}", def.oid), &def)?])?;
    session.database.watch_alerts();
    done(COMMAND)
}

fn enable(
    session: &mut Session,
    running: &Running,
    name: &ObjectName,
    if_exists: bool,
    enabled: bool,
) -> Result<Outcome> {
    const COMMAND: &str = "ALTER ALERT";
    session.writable(COMMAND)?;
    let Some(alert) = find(session, running, name, if_exists)? else { return done(COMMAND) };
    if is_enabled(&running.view.snapshot, alert.oid) != enabled {
        let key = disabled_key(alert.oid);
        let change = if enabled { unset(key) } else { set(key, &true)? };
        let pending = &mut session.transaction()?.pending;
        pending.items.push(Item::Own(change));
        pending.catalog.get_or_insert(running.view.state.version);
    }
    done(COMMAND)
}

fn drop(session: &mut Session, running: &Running, names: &[ObjectName], if_exists: bool) -> Result<Outcome> {
    const COMMAND: &str = "DROP ALERT";
    session.writable(COMMAND)?;
    let mut changes = Vec::new();
    for name in names {
        changes.extend(find(session, running, name, if_exists)?.map(|alert| dropped(&alert)));
    }
    if !changes.is_empty() {
        define(session, running, changes)?;
    }
    done(COMMAND)
}

/// The alert of a name; `None` if there is none and need not be.
fn find(session: &mut Session, running: &Running, name: &ObjectName, if_exists: bool) -> Result<Option<Arc<AlertDef>>> {
    let state = &running.view.state;
    let found = match &name.schema {
        Some(schema) => state.find_alert(schema, &name.name),
        None => running.view.path().iter().find_map(|schema| state.find_alert(schema, &name.name)),
    };
    if let Some(alert) = found {
        return Ok(Some(alert.clone()));
    }
    let message = format!("alert \"{}\" does not exist", written(name));
    if !if_exists {
        return Err(sql_error(SqlErrorKind::UndefinedObject, message));
    }
    session.notice(Severity::Notice, "00000", format!("{message}, skipping"));
    Ok(None)
}
