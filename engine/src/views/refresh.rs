//! REFRESH EVERY: materialized views of any SELECT, computed again as a whole.
//!
//! Such a view keeps its rows as a table does. A refresh computes the SELECT over one snapshot and replaces all rows in one commit, which the views on it
//! follow; readers see the old rows until then. The time of the last refresh is kept beside it (key `refresh/OID`), in the same commit, so that a
//! restart goes on where it was. One that fails leaves the rows as they are, and is tried again after the same time; `weir.views` says
//! why.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use weir_sql::plan::Plan;
use weir_sql::rules::optimise;
use weir_sql::statement::{CreateMaterializedView, Emit, Late, ObjectName};
use weir_sql::{ErrorKind as SqlErrorKind, catalog::NoStatistics};
use weir_storage::{Change, Snapshot, TableId};

use super::{bound_narrowed, closing};
use crate::catalog::{CatalogState, EmitDef, Entry, Kind, RelationDef};
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::exec;
use crate::functions::registry;
use crate::session::run::Running;
use crate::session::{Outcome, Session, now_micros};
use crate::statement::commit::commit;
use crate::statement::define::{blank, define, dependencies, done, set_relation, ttl_def, view_columns};
use crate::statement::names::{Named, does_not_exist, look_up, sql_error};
use crate::statement::relations::StoredRelations;
use crate::statement::table::{detached_context, storage_def};
use crate::statement::writer::{Base, Writer};
use crate::transaction::{Item, Pending};

/// Keys of the times of the last refresh, by the view's oid: microseconds since 1970.
const REFRESHED: &str = "refresh/";
const COMMAND: &str = "REFRESH MATERIALIZED VIEW";

/// Why views could not be refreshed the last time, and when that was.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<u32, (i64, String)>>);

impl Failures {
    /// Why a view could not be refreshed the last time.
    pub(crate) fn of(&self, view: u32) -> Option<String> {
        self.0.lock().get(&view).map(|(_, why)| why.clone())
    }
}

/// When a view was refreshed.
pub(crate) fn refreshed_at(snapshot: &Snapshot, view: u32) -> Option<i64> {
    std::str::from_utf8(snapshot.get(&key(view))?).ok()?.parse().ok()
}

fn key(view: u32) -> String {
    format!("{REFRESHED}{view}")
}

/// The change that forgets a view which is dropped.
pub(crate) fn forget(def: &RelationDef) -> Option<Change> {
    def.refresh.map(|_| Change::Set { key: key(def.oid), value: None })
}

/// CREATE MATERIALIZED VIEW … REFRESH EVERY: a table of its rows, computed at once.
pub(super) fn create(
    session: &mut Session,
    running: &Running,
    create: &CreateMaterializedView,
    schema: String,
    every: i64,
) -> Result<()> {
    let view = &running.view;
    let needs_windows = match (create.emit, &create.late) {
        (Some(Emit::OnWindowClose), _) => Some("EMIT ON WINDOW CLOSE"),
        (_, Some(Late::Drop | Late::Side(_))) => Some("an option \"late\" that leaves rows out"),
        _ => None,
    };
    if let Some(what) = needs_windows {
        let why = "a view with REFRESH EVERY is computed as a whole, whatever is closed";
        return Err(closing::unclosed(what, why).into());
    }
    let def = RelationDef {
        query: Some(create.query.clone()),
        search_path: view.path(),
        depends: dependencies(view, &create.query)?,
        order_by: create.layout.order_by.clone(),
        partition_by: create.layout.partition_by.as_ref().map(|p| p.sql.clone()),
        ttl: create.layout.ttl.iter().map(ttl_def).collect(),
        engine: create.layout.engine.clone(),
        refresh: Some(every),
        emit: create.emit.map(EmitDef::from),
        ..blank(
            session.database.new_oid(),
            schema,
            &create.name.name,
            Kind::Materialized,
            view_columns(&create.columns),
        )
    };
    let entry = Arc::new(Entry::new(def));
    let table = Change::CreateTable { id: TableId(entry.def.oid), def: storage_def(&entry.def, entry.schema()) };
    define(session, running, vec![table.clone(), set_relation(&entry.def)?])?;
    session.database.watch_refreshes();
    if create.with_data {
        let base = session.base(running);
        let base = Base { snapshot: base.snapshot.with_changes(&[table])?, ..base };
        let rows = exec::run(&optimise(create.plan.clone(), registry(), &**view), &session.query_context(running))?;
        replace(base, &entry, rows, &mut session.transaction()?.pending)?;
    }
    Ok(())
}

/// REFRESH MATERIALIZED VIEW. One that follows its inputs is never out of date.
pub(crate) fn refresh(session: &mut Session, running: &Running, name: &ObjectName) -> Result<Outcome> {
    session.writable(COMMAND)?;
    let entry = match look_up(&running.view, name) {
        Named::User(entry) if entry.def.kind == Kind::Materialized => entry,
        Named::Nothing => return Err(does_not_exist(name)),
        _ => {
            let message = format!("\"{}\" is not a materialized view", name.name);
            return Err(sql_error(SqlErrorKind::WrongObjectType, message));
        }
    };
    if entry.def.refresh.is_some() {
        let plan = plan(&running.view.state, &entry)?;
        let rows = exec::run(&optimise(plan, registry(), &*running.view), &session.query_context(running))?;
        let base = session.base(running);
        replace(base, &entry, rows, &mut session.transaction()?.pending)?;
    }
    done(COMMAND)
}

fn plan(state: &CatalogState, entry: &Entry) -> Result<Plan> {
    let query = entry.def.query.as_deref().ok_or_else(|| Error::internal("a view has no query"))?;
    let names: Vec<&str> = entry.def.columns.iter().map(|column| column.name.as_str()).collect();
    bound_narrowed(state, query, &entry.def.search_path, &names)
}

/// All rows of a view give way to these.
fn replace(base: Base, entry: &Arc<Entry>, mut rows: exec::RowStream, pending: &mut Pending) -> Result<()> {
    let (oid, version) = (entry.def.oid, base.state.version);
    let empty = Change::Truncate { table: TableId(oid) };
    let base = Base { snapshot: base.snapshot.with_changes(std::slice::from_ref(&empty))?, ..base };
    let now = base.now.to_string().into_bytes();
    let mut writer = Writer::unchecked(base, entry)?;
    while let Some(batch) = rows.next()? {
        writer.push(&batch)?;
    }
    drop(rows);
    pending.items.push(Item::Fed(empty));
    pending.items.push(Item::Own(Change::Set { key: key(oid), value: Some(now) }));
    pending.catalog.get_or_insert(version);
    writer.finish(pending)?;
    Ok(())
}

/// Refreshes a view that is due at `now`.
fn refresh_due(database: &Database, view: u32) -> Result<()> {
    let snapshot = database.store()?.snapshot();
    let state = database.catalog(&snapshot)?;
    let Some(entry) = state.entry(view) else { return Ok(()) };
    let base = Base::new(database, state.clone(), snapshot, database.background().clone());
    let relations = StoredRelations { state: state.clone(), snapshot: base.snapshot.clone(), now: base.now };
    let context = Arc::new(detached_context(database, &base.cancel).with_relations(Arc::new(relations)));
    let rows = exec::run(&optimise(plan(&state, entry)?, registry(), &NoStatistics), &context)?;
    let mut pending = Pending::default();
    replace(base, entry, rows, &mut pending)?;
    commit(database, pending)
}

/// Refreshes what is due.
pub(crate) fn look(database: &Database) -> Result<()> {
    let snapshot = database.store()?.snapshot();
    let state = database.catalog(&snapshot)?;
    for entry in state.entries() {
        let (Some(every), view) = (entry.def.refresh, entry.def.oid) else { continue };
        let failed = database.refresh_failures().0.lock().get(&view).map(|(at, _)| *at);
        let last = refreshed_at(&snapshot, view).max(failed);
        if last.is_some_and(|last| now_micros() < last.saturating_add(every)) {
            continue;
        }
        match refresh_due(database, view) {
            Ok(()) => drop(database.refresh_failures().0.lock().remove(&view)),
            Err(error) if error.kind == ErrorKind::Shutdown => return Err(error),
            Err(error) => {
                tracing::warn!(view = entry.qualified(), %error, "a view is not refreshed for now");
                let why = (now_micros(), error.to_string());
                database.refresh_failures().0.lock().insert(view, why);
            }
        }
    }
    Ok(())
}
