//! Sinks: what comes to a table or a view goes on to Kafka, or to another table.
//!
//! A sink has a table of its own, the outbox. Each commit that changes its relation puts there what it has to send ([`note`]): rows, where they are
//! only added (`mode = append`), or the keys of rows that come, change and go (`mode = upsert`), whose rows are read when they are sent. So a
//! commit pays for the keys alone, and a key that changes many times in between is sent once.
//!
//! Entries are sent in batches ([`send`]). One commit gives a batch its number, the epoch, and marks its entries; after a crash the same batch
//! is there. (Views with EMIT ON WINDOW CLOSE need no outbox: [`closing`].) Kafka keeps the epoch in the transaction that holds the batch's records, so that whoever comes back knows whether they are out: each is there
//! exactly once. Into a table of this database ([`table`]) the batch's rows go in the commit that takes its entries away.

mod closing;
mod create;
mod note;
mod send;
pub(crate) mod table;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use weir_sql::Type;
use weir_sql::catalog::NoStatistics;
use weir_sql::plan::{OutputColumn, Plan};
use weir_sql::rules::optimise;
use weir_storage::{Change, Snapshot, TableId};

pub(crate) use create::{create, owned, running};
pub(crate) use note::{fill, fill_again, noted};
pub use send::{Sink, SinkBatch, SinkRecord};
pub(crate) use send::{epoch_of, waiting};

use crate::catalog::{CatalogState, EmitDef, Entry, RelationDef, SinkMode};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::exec::{self, RowStream};
use crate::functions::registry;
use crate::session::now_micros;
use crate::statement::relations::StoredRelations;
use crate::statement::table::detached_context;
use crate::views::{bound_query, plan_of};

/// The first columns of an outbox: the place in the order, and the batch that the entry is in, if it is.
const SEQUENCE: usize = 0;
const EPOCH: usize = 1;
/// How many there are; what is to be sent stands behind them.
const OWN: usize = 2;

/// How often at most it is looked which windows have closed: microseconds.
const CLOSING_PAUSE: i64 = 100_000;

/// Keys of how far sinks are, by their oids.
const EPOCHS: &str = "sink/";

fn epoch_key(sink: u32) -> String {
    format!("{EPOCHS}{sink}")
}

/// The change that forgets how far a sink is which is dropped.
pub(crate) fn forget(def: &RelationDef) -> Option<Change> {
    def.sink.as_ref().map(|_| Change::Set { key: epoch_key(def.oid), value: None })
}

/// What a database knows of its sinks while it is open.
#[derive(Default)]
pub(crate) struct Sinks {
    sequence: AtomicI64,
    failures: Mutex<HashMap<u32, String>>,
    /// The version at which a sink had nothing to send, and when that was seen, by its oid.
    idle: Mutex<HashMap<u32, (u64, i64)>>,
    /// When the last batch was made, for those that have to wait.
    made: Mutex<HashMap<u32, i64>>,
}

impl Sinks {
    /// The first of so many places in the order, behind all that were given out before, in another life of the database too.
    fn sequence(&self, entries: usize) -> i64 {
        let (now, entries) = (now_micros(), entries as i64);
        let next = |last: i64| Some(last.max(now).saturating_add(entries));
        let last = self.sequence.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(0);
        last.max(now)
    }

    /// Why the last batch of a sink could not be sent.
    pub(crate) fn failure(&self, sink: u32) -> Option<String> {
        self.failures.lock().get(&sink).cloned()
    }

    /// Whether it is known that a sink has nothing to send yet. Whether windows have closed is not asked of each version.
    fn is_idle(&self, snapshot: &Snapshot, sink: &Entry) -> bool {
        let pause = match sink.def.sink.as_ref().map(|def| def.mode) {
            Some(SinkMode::Close) => CLOSING_PAUSE,
            _ => 0,
        };
        let idle = self.idle.lock().get(&sink.def.oid).copied();
        idle.is_some_and(|(version, seen)| version == snapshot.version() || now_micros() < seen.saturating_add(pause))
    }

    fn set_idle(&self, snapshot: &Snapshot, sink: u32) {
        self.idle.lock().insert(sink, (snapshot.version(), now_micros()));
    }

    /// Whether the next batch may be made: of a view with EMIT EVERY, only after that time.
    fn is_due(&self, sink: u32, view: &RelationDef) -> bool {
        let Some(EmitDef::Every(every)) = view.emit else { return true };
        let (mut made, now) = (self.made.lock(), now_micros());
        if made.get(&sink).is_some_and(|made| now < made.saturating_add(every)) {
            return false;
        }
        made.insert(sink, now);
        true
    }

    fn set_failure(&self, sink: u32, why: Option<String>) {
        match why {
            Some(why) => drop(self.failures.lock().insert(sink, why)),
            None => drop(self.failures.lock().remove(&sink)),
        }
    }
}

/// A column of a relation's key.
#[derive(Debug, Clone)]
struct KeyColumn {
    /// In its stored rows.
    stored: usize,
    /// In the rows that the sink sends.
    sent: usize,
    ty: Type,
}

/// What a sink reads.
struct Source {
    entry: Arc<Entry>,
    /// What it sends: the relation's columns when the sink was made.
    plan: Arc<Plan>,
}

impl Source {
    fn of(state: &CatalogState, sink: &Entry) -> Result<Source> {
        let from = sink.def.sink.as_ref().and_then(|def| state.entry(def.from));
        let entry = from.ok_or_else(|| Error::internal("a sink has no relation"))?.clone();
        if let Some(plan) = sink.plan.get() {
            return Ok(Source { entry, plan: plan.clone() });
        }
        let query = sink.def.query.as_deref().ok_or_else(|| Error::internal("a sink has no query"))?;
        let plan = Arc::new(optimise(bound_query(state, query, &[])?, registry(), &NoStatistics));
        Ok(Source { entry, plan: sink.plan.get_or_init(|| plan).clone() })
    }

    fn table(&self) -> TableId {
        TableId(self.entry.def.oid)
    }

    fn columns(&self) -> &[OutputColumn] {
        self.plan.columns()
    }

    /// The columns by which its rows are told apart: a table's key, a view's groups. `None` if there are no such, or not all are sent.
    fn key(&self, state: &CatalogState) -> Result<Option<Vec<KeyColumn>>> {
        let own = &self.entry.relation.columns;
        let sent = |column: usize| self.columns().iter().position(|sent| sent.name == own[column].name);
        if !self.entry.def.keeps_states() {
            let column = |stored: usize| Some(KeyColumn { stored, sent: sent(stored)?, ty: own[stored].ty.clone() });
            return Ok(self.entry.def.key().and_then(|key| key.into_iter().map(column).collect()));
        }
        let plan = plan_of(state, &self.entry)?;
        let Some(keys) = plan.key_columns() else { return Ok(None) };
        let shown = plan.key_of_column();
        let column = |stored: usize| {
            let column = shown.iter().position(|key| *key == Some(stored))?;
            Some(KeyColumn { stored, sent: sent(column)?, ty: plan.keys()[stored].ty.clone() })
        };
        Ok((0..keys).map(column).collect())
    }

    /// The rows that it sends, as a snapshot shows them.
    fn rows(&self, database: &Database, state: &Arc<CatalogState>, snapshot: &Snapshot) -> Result<RowStream> {
        run(database, state, snapshot, &self.plan)
    }
}

/// The rows of a plan over a snapshot.
fn run(database: &Database, state: &Arc<CatalogState>, snapshot: &Snapshot, plan: &Plan) -> Result<RowStream> {
    let relations = StoredRelations { state: state.clone(), snapshot: snapshot.clone(), now: now_micros() };
    let context = detached_context(database, database.background()).with_relations(Arc::new(relations));
    exec::run(plan, &Arc::new(context))
}

/// The schema that storage has of an outbox.
fn outbox_schema(snapshot: &Snapshot, sink: &Entry) -> Result<SchemaRef> {
    let table = snapshot.table(TableId(sink.def.oid)).ok_or_else(|| Error::internal("a sink has no outbox"))?;
    Ok(table.def().schema.clone())
}

/// Entries for an outbox, as a change: through the log, or as parts if they are many.
fn added(database: &Database, snapshot: &Snapshot, sink: &Entry, rows: arrow::array::RecordBatch) -> Result<Change> {
    let stored = snapshot.table(TableId(sink.def.oid)).ok_or_else(|| Error::internal("a sink has no outbox"))?;
    crate::views::added(database, stored.def(), TableId(sink.def.oid), String::new(), rows)
}
