//! One evaluation of an alert: its SELECT over one snapshot, what that means for its status, and the commit of all that follows.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use serde_json::{Map, Value};
use weir_sql::Type;
use weir_sql::plan::OutputColumn;
use weir_sql::statement::{Insert, Statement, alert_insert};

use super::{AlertState, Status, is_enabled, outbox, set, state_key, unset};
use crate::catalog::AlertDef;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::exec::RowStream;
use crate::format::FormatSettings;
use crate::kernels::json::encode::JsonEncoder;
use crate::session::Session;
use crate::session::run::Running;
use crate::statement::commit::commit;
use crate::statement::unique::Policy;
use crate::statement::writer::{Base, Writer};
use crate::statement::{insert, query};
use crate::transaction::{Item, Pending};

/// Rows that are kept and sent.
pub(super) const ROWS_MAX: usize = 100;

/// Evaluates an alert and commits what changes. Its first rows, or `None` if it is disabled: then what is kept of it is forgotten.
pub(super) fn evaluate(database: &Database, oid: u32) -> Result<Option<Vec<Value>>> {
    // A session of nobody: it is in no list, and has the settings that sessions begin with.
    let session = Session::new(database.clone(), 0, Arc::default());
    let view = session.view()?;
    let Some(alert) = view.state.alert(oid).cloned() else { return Ok(None) };
    let before = AlertState::of(&view.snapshot, oid)?;
    let enabled = is_enabled(&view.snapshot, oid);
    let view = Arc::new(view.with_path(alert.search_path.clone()));
    let cancel = database.background().clone();
    let functions = session.functions_context(&view, &cancel);
    let running = Running { functions, view, cancel, params: Vec::new(), returned: Arc::default() };
    let now = running.functions.now;
    let mut pending = Pending { catalog: Some(running.view.state.version), ..Pending::default() };

    if !enabled {
        if before.is_some() {
            pending.items.push(Item::Own(unset(state_key(oid))));
            let after = AlertState { status: Status::Ok, since: now, checked_at: now, value: Vec::new() };
            tell(&running, &alert, before.as_ref(), &after, &mut pending)?;
            commit(database, pending)?;
        }
        return Ok(None);
    }

    // All is bound each time: what no longer fits is seen now, and not first when it fires.
    let Statement::Query(plan) = bind(&session, &running, &alert.query)? else {
        return Err(Error::internal("an alert is no SELECT"));
    };
    let mut inserts = Vec::new();
    for target in alert.inserts() {
        match bind(&session, &running, &alert_insert(target, &alert.query))? {
            Statement::Insert(insert) => inserts.push(insert),
            _ => return Err(Error::internal("an action of an alert is no INSERT")),
        }
    }
    let (is_true, value) = answer(query::stream(&session, &running, &plan)?)?;
    let (status, since) = next(&alert, before.as_ref(), is_true, now);
    if before.as_ref().is_none_or(|before| before.status != status) {
        let after = AlertState { status, since, checked_at: now, value: value.clone() };
        if status == Status::Firing {
            for insert in &inserts {
                add_rows(&session, &running, insert, &mut pending)?;
            }
        }
        tell(&running, &alert, before.as_ref(), &after, &mut pending)?;
        pending.items.push(Item::Own(set(state_key(oid), &after)?));
        commit(database, pending)?;
        tracing::info!(alert = alert.name, status = status.name(), "an alert has changed");
    }
    Ok(Some(value))
}

fn bind(session: &Session, running: &Running, sql: &str) -> Result<Statement> {
    match session.parse(sql)?.as_slice() {
        [parsed] => Ok(session.bind(&running.view, parsed, &[])?.statement),
        _ => Err(Error::internal(format!("not one statement: {sql}"))),
    }
}

/// Webhooks are told when it begins to fire, and when it ends.
fn tell(
    running: &Running,
    alert: &AlertDef,
    before: Option<&AlertState>,
    after: &AlertState,
    pending: &mut Pending,
) -> Result<()> {
    let snapshot = &running.view.snapshot;
    let fired = before.filter(|before| before.status == Status::Firing).map(|before| before.since);
    match (fired, after.status) {
        (None, Status::Firing) => outbox::post(snapshot, alert, after, None, pending),
        (Some(since), Status::Ok) => outbox::post(snapshot, alert, after, Some(since), pending),
        _ => Ok(()),
    }
}

/// The status that follows, and since when it is.
fn next(alert: &AlertDef, before: Option<&AlertState>, is_true: bool, now: i64) -> (Status, i64) {
    let (status, since) = before.map_or((Status::Ok, now), |before| (before.status, before.since));
    match (is_true, status) {
        (true, Status::Ok) if alert.hold > 0 => (Status::Pending, now),
        (true, Status::Ok) => (Status::Firing, now),
        (true, Status::Pending) if now.saturating_sub(since) >= alert.hold => (Status::Firing, now),
        (false, Status::Pending | Status::Firing) => (Status::Ok, now),
        (_, status) => (status, since),
    }
}

/// Whether the rows make an alert true, and the first of them as objects.
fn answer(mut stream: RowStream) -> Result<(bool, Vec<Value>)> {
    let columns = stream.columns().to_vec();
    let mut rows: Vec<Value> = Vec::new();
    let mut flag = None;
    while rows.len() < ROWS_MAX
        && let Some(batch) = stream.next()?
    {
        let batch = batch.slice(0, batch.num_rows().min(ROWS_MAX - rows.len()));
        if let ([OutputColumn { ty: Type::Bool, .. }], true) = (columns.as_slice(), rows.is_empty()) {
            let column = batch.column(0).as_boolean();
            flag = Some(column.is_valid(0) && column.value(0));
        }
        objects(&columns, &batch, &mut rows)?;
    }
    let is_true = match (rows.len(), flag) {
        (1, Some(flag)) => flag,
        (rows, _) => rows > 0,
    };
    Ok((is_true, rows))
}

fn objects(columns: &[OutputColumn], batch: &RecordBatch, rows: &mut Vec<Value>) -> Result<()> {
    let settings = FormatSettings::default();
    let encoder = |(column, array): (&OutputColumn, _)| JsonEncoder::new(&column.ty, array, &settings);
    let encoders: Vec<JsonEncoder> = columns.iter().zip(batch.columns()).map(encoder).collect();
    for row in 0..batch.num_rows() {
        let mut object = Map::new();
        for (column, encoder) in columns.iter().zip(&encoders) {
            let mut text = Vec::new();
            encoder.write(row, &mut text);
            let value = serde_json::from_slice(&text).map_err(|e| Error::internal(format!("not JSON: {e}")))?;
            object.insert(column.name.clone(), value);
        }
        rows.push(Value::Object(object));
    }
    Ok(())
}

/// INSERT INTO: the same SELECT over the same snapshot, at the same `now()`, its rows on top of what the actions before have added.
fn add_rows(session: &Session, running: &Running, insert: &Insert, pending: &mut Pending) -> Result<()> {
    let entry = insert::entry(running, insert.oid)?;
    let base = session.base(running);
    let base = Base { snapshot: pending.over(&base.snapshot)?, ..base };
    let mut writer = Writer::new(base, &entry, Policy::of_table(&entry.def))?;
    let mut stream = query::stream(session, running, &insert.source)?;
    while let Some(batch) = stream.next()? {
        writer.push(&batch)?;
    }
    drop(stream);
    writer.finish(pending).map(drop)
}
