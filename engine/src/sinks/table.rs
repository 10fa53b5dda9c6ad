//! Sinks into a table of this database: rows go there in the commit that takes them from the outbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, new_null_array};
use weir_sql::catalog::NoStatistics;
use weir_sql::plan::Plan;
use weir_sql::rules::optimise;
use weir_sql::statement::Statement;
use weir_storage::{Change, Snapshot, TableId};

use super::closing::Standing;
use super::send::{BATCH_ROWS, changed, pick};
use super::{OWN, Source, run};
use crate::cancel::Cancel;
use crate::catalog::state::StateCatalog;
use crate::catalog::{CatalogState, Entry, RelationDef, SinkMode};
use crate::database::{Database, WeakDatabase};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::Batch;
use crate::exec::{self, Given, RowStream};
use crate::format::quote_identifier;
use crate::functions::registry;
use crate::statement::commit::commit;
use crate::statement::table::detached_context;
use crate::statement::unique::Policy;
use crate::statement::writer::{Base, Writer};
use crate::transaction::{Item, Pending};
use crate::views::Touched;

/// How often it is looked what waits…
const PAUSE: Duration = Duration::from_millis(50);
/// …and how long one waits that could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// The rows of a sink's relation as rows of the table, cast as INSERT does.
pub(super) fn insert(state: &CatalogState, sink: &RelationDef, into: &Entry) -> Result<Plan> {
    let query = sink.query.as_deref().ok_or_else(|| Error::internal("a sink has no query"))?;
    let source = crate::views::bound_query(state, query, &[])?;
    let names: Vec<_> = source.columns().iter().map(|column| quote_identifier(&column.name)).collect();
    let (schema, name) = (quote_identifier(&into.def.schema), quote_identifier(&into.def.name));
    let text = format!("INSERT INTO {schema}.{name} ({}) {query}", names.join(", "));
    let parsed = weir_sql::parse::parse(&text)?;
    let bound = weir_sql::bind::bind(&parsed[0], &StateCatalog { state, path: &[] }, registry(), &[])?;
    match bound.statement {
        Statement::Insert(insert) => Ok(optimise(insert.source, registry(), &NoStatistics)),
        _ => Err(Error::internal("an INSERT is none")),
    }
}

/// Carries on what sinks have for tables, until the database is closed.
pub(crate) fn watch(database: &WeakDatabase) {
    let (mut seen, mut pause) = (0, PAUSE);
    loop {
        std::thread::sleep(std::mem::replace(&mut pause, PAUSE));
        let Some(database) = database.upgrade() else { return };
        let Ok(snapshot) = database.store().map(|store| store.snapshot()) else { return };
        if snapshot.version() == seen {
            continue;
        }
        let Ok(state) = database.catalog(&snapshot) else { return };
        let mut done = true;
        for sink in state.sinks().filter(|sink| sink.def.sink.as_ref().is_some_and(|def| def.into.is_some())) {
            match carry(&database, sink.def.oid) {
                Ok(more) => {
                    done &= !more;
                    database.set_sink_error(sink.def.oid, None);
                }
                Err(error) if error.kind == ErrorKind::Shutdown => return,
                // Another commit was in between.
                Err(error) if error.kind == ErrorKind::SerializationFailure => done = false,
                Err(error) => {
                    let why = Some(error.to_string());
                    if database.sinks_state().failure(sink.def.oid) != why {
                        tracing::warn!(sink = sink.qualified(), %error, "a sink cannot write to its table for now");
                    }
                    database.set_sink_error(sink.def.oid, why);
                    (done, pause) = (false, RETRY);
                }
            }
        }
        seen = if done { snapshot.version() } else { 0 };
    }
}

/// Moves entries of an outbox, as the rows that they stand for, to the sink's table; whether there were any, or are some that have to wait.
fn carry(database: &Database, sink: u32) -> Result<bool> {
    let snapshot = database.store()?.snapshot();
    let state = database.catalog(&snapshot)?;
    let Some(entry) = state.entry(sink).filter(|entry| !entry.def.building) else { return Ok(false) };
    let Some(def) = &entry.def.sink else { return Ok(false) };
    let source = Source::of(&state, entry)?;
    let into = def.into.and_then(|into| state.entry(into)).ok_or_else(|| Error::internal("a sink has no table"))?;
    if source.entry.def.building {
        return Ok(false);
    }
    if def.mode == SinkMode::Close {
        return carry_closed(database, &state, &snapshot, (entry, into), &source);
    }
    let Some(picked) = pick(&snapshot, entry, BATCH_ROWS, |_| true)? else { return Ok(false) };
    if !database.sinks_state().is_due(sink, &source.entry.def) {
        return Ok(true);
    }
    let plan = insert(&state, &entry.def, into)?;
    let base = Base::new(database, state.clone(), snapshot.clone(), Cancel::default());
    let mut pending = Pending::default();
    let taken = Change::Delete { table: TableId(sink), rows: picked.places };
    let mut rows = match def.mode {
        SinkMode::Append | SinkMode::Close => {
            let sent = picked.rows.project(&(OWN..picked.rows.num_columns()).collect::<Vec<_>>())?;
            let columns: Vec<usize> = (0..sent.num_columns()).collect();
            given(database, &source, &plan, &sent, &columns)?
        }
        SinkMode::Upsert => {
            let changed = changed(database, &state, &snapshot, &source, &picked.rows)?;
            let columns: Vec<usize> = changed.keys.iter().map(|key| key.sent).collect();
            let name = |column: &usize| source.columns()[*column].name.as_str();
            let key = places(into, columns.iter().map(name));
            // Where the table's key is the sink's, rows take the place of those before them by themselves.
            let by_key = into.def.key().is_some_and(|theirs| theirs.len() == key.len());
            let gone = if by_key { changed.gone()? } else { changed.key_rows.clone() };
            if gone.num_rows() > 0 {
                let rows = given(database, &source, &plan, &gone, &columns)?;
                pending.items.extend(deleted(into, key, &snapshot, rows, database)?.map(Item::Fed));
            }
            run(database, &state, &changed.only, &plan)?
        }
    };
    let base = Base { snapshot: pending.over(&base.snapshot)?, ..base };
    let mut writer = Writer::new(base, into, Policy::of_stream(&into.def))?;
    while let Some(batch) = rows.next()? {
        writer.push(&batch)?;
    }
    drop(rows);
    pending.items.push(Item::Own(taken));
    pending.catalog.get_or_insert(state.version);
    writer.finish(&mut pending)?;
    commit(database, pending)?;
    Ok(true)
}

/// Moves windows that have closed to the sink's table; whether there were any.
fn carry_closed(
    database: &Database,
    state: &Arc<CatalogState>,
    snapshot: &Snapshot,
    (sink, into): (&Entry, &Arc<Entry>),
    source: &Source,
) -> Result<bool> {
    let (oid, standing) = (sink.def.oid, Standing::of(snapshot, sink.def.oid));
    let Some((next, closed)) = standing.next(database, state, snapshot, &source.entry)? else { return Ok(false) };
    let plan = insert(state, &sink.def, into)?;
    let base = Base::new(database, state.clone(), snapshot.clone(), Cancel::default());
    let mut writer = Writer::new(base, into, Policy::of_stream(&into.def))?;
    for batch in &closed {
        let columns: Vec<usize> = (0..batch.num_columns()).collect();
        let mut rows = given(database, source, &plan, batch, &columns)?;
        while let Some(rows) = rows.next()? {
            writer.push(&rows)?;
        }
    }
    let mut pending = Pending::default();
    pending.items.push(Item::Own(next.kept(oid)?));
    pending.catalog.get_or_insert(state.version);
    writer.finish(&mut pending)?;
    commit(database, pending)?;
    Ok(true)
}

/// What the table is given for rows of some of the sink's columns; the others are NULL.
fn given(
    database: &Database,
    source: &Source,
    plan: &Plan,
    rows: &RecordBatch,
    columns: &[usize],
) -> Result<RowStream> {
    let schema = source.entry.schema();
    let sent = |name: &String| columns.iter().position(|&column| source.columns()[column].name == *name);
    let values = schema.fields().iter().map(|field| match sent(field.name()) {
        Some(at) => rows.column(at).clone(),
        None => new_null_array(field.data_type(), rows.num_rows()),
    });
    let whole = Batch::new(values.collect(), rows.num_rows()).into_record(&schema)?;
    let given = Given(HashMap::from([(source.entry.def.oid, vec![whole])]));
    let context = detached_context(database, database.background()).with_relations(Arc::new(given));
    exec::run(plan, &Arc::new(context))
}

/// The columns of a table that have these names.
fn places<'n>(into: &Entry, names: impl Iterator<Item = &'n str>) -> Vec<usize> {
    names.filter_map(|name| into.def.columns.iter().position(|column| column.name == name)).collect()
}

/// The change that deletes the rows of a table that have the same values as these in the columns of a key.
fn deleted(
    into: &Entry,
    key: Vec<usize>,
    snapshot: &Snapshot,
    mut rows: RowStream,
    database: &Database,
) -> Result<Option<Change>> {
    let types = key.iter().map(|&column| into.def.columns[column].ty.clone()).collect();
    let mut touched = Touched::of_columns(types, key.clone())?;
    while let Some(batch) = rows.next()? {
        touched.add(&batch.project(&key)?)?;
    }
    let table = TableId(into.def.oid);
    let rows = touched.states(snapshot, table, database.background())?;
    Ok((!rows.is_empty()).then_some(Change::Delete { table, rows }))
}
