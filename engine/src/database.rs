//! The database: one data directory, open.
//!
//! [`Database`] is the embedded API and what the server and ingest stand on. It holds the store, the catalogue of the newest version, the
//! pool that queries run on and the memory broker; sessions hold the rest.
//!
//! ```
//! # fn main() -> weir_engine::Result<()> {
//! # let dir = tempfile::tempdir().expect("a directory");
//! let db = weir_engine::Database::open(dir.path())?;
//! db.execute("CREATE TABLE t (id bigint, name text)")?;
//! db.execute("INSERT INTO t VALUES (1, 'one'), (2, 'two')")?;
//! assert_eq!(db.query("SELECT name FROM t WHERE id > 1")?.rows(), 1);
//! db.close()
//! # }
//! ```

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use arrow::array::RecordBatch;
use parking_lot::{Mutex, RwLock};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};
use weir_sql::Type;
use weir_sql::catalog::{ColumnInfo, Relation, RelationKind};
use weir_sql::plan::OutputColumn;
use weir_storage::{Snapshot, Store, StoreOptions};

use crate::alerts::Watched;
use crate::background::Begun;
use crate::backup::Places;
use crate::cancel::Cancel;
use crate::catalog::CatalogState;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::{Broker, Limits, PartialCache, Pool, QueryMemory};
use crate::gate::Gates;
use crate::index_values::IndexExpressions;
use crate::ingest::RelationRows;
use crate::session::settings::SessionSettings;
use crate::session::{Outcome, Session, now_micros};
use crate::sinks::Sinks;
use crate::statement::bootstrap;
use crate::statement::ttl::ExpiredRows;
use crate::views::refresh::Failures;
use crate::views::{Building, StateCollapse};

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that run queries; `None` is one a core.
    pub threads: Option<usize>,
    /// Bytes that all queries together may hold: by default 60 % of what the machine or the control group has.
    pub memory_limit: usize,
    /// Bytes that one query may hold: by default 40 %.
    pub query_memory_limit: usize,
    /// Bytes that one operator of a query may hold on one thread before it writes to disk.
    pub operator_memory_limit: usize,
    /// Bytes that may be kept of what aggregations made of rows that do not change; `None` is a share of `memory_limit`, 0 keeps nothing.
    pub partial_cache_size: Option<usize>,
    /// Rows of a batch inside a query.
    pub batch_rows: usize,
    /// Rows of a granule.
    pub granule_rows: usize,
    /// A COPY or INSERT of more bytes than this is written as parts, not through the log.
    pub bulk_bytes: usize,
    /// Storage's own options; granule size and threads are set from the ones above.
    pub store: StoreOptions,
}

impl Default for Options {
    fn default() -> Options {
        let memory = machine_memory();
        Options {
            threads: None,
            memory_limit: memory / 10 * 6,
            query_memory_limit: memory / 10 * 4,
            operator_memory_limit: usize::MAX,
            partial_cache_size: None,
            batch_rows: 8192,
            granule_rows: 8192,
            bulk_bytes: 16 << 20,
            store: StoreOptions::default(),
        }
    }
}

/// Bytes of memory that are thought to be there at the least.
const MEMORY_LEAST: usize = 1 << 30;

/// Bytes of memory that the machine has, or the control group that this process is in.
fn machine_memory() -> usize {
    static MEMORY: LazyLock<usize> = LazyLock::new(|| {
        let memory = MemoryRefreshKind::nothing().with_ram();
        let system = System::new_with_specifics(RefreshKind::nothing().with_memory(memory));
        let group = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
        // Where neither is told, a small machine is one that this works on.
        (system.total_memory().min(group) as usize).max(MEMORY_LEAST)
    });
    *MEMORY
}

/// A statement's whole result.
#[derive(Debug, Clone)]
pub struct QueryResult {
    /// What the rows look like.
    pub columns: Vec<OutputColumn>,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

impl QueryResult {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// An open database. Clones are the same one.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    store: Mutex<Option<Store>>,
    catalog: RwLock<Option<Arc<CatalogState>>>,
    pool: Arc<Pool>,
    broker: Arc<Broker>,
    partial_cache: Option<Arc<PartialCache>>,
    temporary: PathBuf,
    options: Options,
    next_session: AtomicI32,
    next_oid: AtomicU32,
    registered: RwLock<Vec<Registered>>,
    sessions: Mutex<BTreeMap<i32, Arc<Mutex<Live>>>>,
    closing: AtomicBool,
    gates: Arc<Gates>,
    places: RwLock<Places>,
    settling: Mutex<()>,
    derivations: Mutex<()>,
    building: Building,
    sinks: Sinks,
    /// Ends work that belongs to no session.
    background: Cancel,
    begun: Begun,
    refresh_failures: Failures,
    /// When it was opened: microseconds since 1970.
    opened: i64,
    watched_alerts: Watched,
}

/// A relation that someone else fills.
#[derive(Clone)]
pub(crate) struct Registered {
    pub(crate) relation: Arc<Relation>,
    pub(crate) rows: RelationRows,
}

/// What others see of a session.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) activity: Activity,
    /// The running statement, if there is one.
    pub(crate) running: Option<Cancel>,
    /// Ends the connection that the session belongs to.
    pub(crate) terminate: Option<Terminate>,
}

/// What ends a session's connection.
#[derive(Clone)]
pub(crate) struct Terminate(pub(crate) Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Terminate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Terminate")
    }
}

/// A row of pg_stat_activity.
#[derive(Debug, Default, Clone)]
pub(crate) struct Activity {
    pub(crate) id: i32,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) application: String,
    pub(crate) started: i64,
    pub(crate) query_started: Option<i64>,
    pub(crate) query: String,
    pub(crate) active: bool,
    /// Whether it is in a transaction block, and whether that has failed, as of its last statement's end.
    pub(crate) in_transaction: bool,
    pub(crate) failed: bool,
}

impl Activity {
    /// What pg_stat_activity calls it.
    pub(crate) fn state(&self) -> &'static str {
        match (self.active, self.in_transaction, self.failed) {
            (true, ..) => "active",
            (false, false, _) => "idle",
            (false, true, false) => "idle in transaction",
            (false, true, true) => "idle in transaction (aborted)",
        }
    }
}

/// A database that is not kept open by this handle.
pub(crate) struct WeakDatabase(Weak<Inner>);

impl WeakDatabase {
    pub(crate) fn upgrade(&self) -> Option<Database> {
        self.0.upgrade().map(|inner| Database { inner })
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

/// Which share of its memory a database keeps partial states in, unless it is told.
const CACHE_SHARE: usize = 32;

/// The first oid of registered relations.
const REGISTERED_OIDS: u32 = 15500;

impl Database {
    /// Opens the database in a directory, which is made if it is not there.
    pub fn open(dir: impl AsRef<Path>) -> Result<Database> {
        Database::open_with(dir, Options::default())
    }

    /// Opens it with options.
    pub fn open_with(dir: impl AsRef<Path>, options: Options) -> Result<Database> {
        let threads = options.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
        let collapse = Arc::new(StateCollapse::default());
        let expired = Arc::new(ExpiredRows::default());
        let pool = Pool::new(threads)?;
        let places = Places::local(options.store.io.clone());
        let store_options = StoreOptions {
            granule_rows: options.granule_rows,
            threads,
            collapse: Some(collapse.clone()),
            retain: Some(expired.clone()),
            index_values: Some(Arc::new(IndexExpressions::new(pool.clone(), options.batch_rows))),
            ..options.store.clone()
        };
        let store = Store::open(dir.as_ref(), store_options)?;
        let cache_size = options.partial_cache_size.unwrap_or(options.memory_limit / CACHE_SHARE);
        let inner = Inner {
            store: Mutex::new(Some(store)),
            catalog: RwLock::new(None),
            pool,
            broker: Broker::new(options.memory_limit),
            partial_cache: (cache_size > 0).then(|| Arc::new(PartialCache::new(cache_size))),
            temporary: dir.as_ref().join("tmp"),
            options,
            next_session: AtomicI32::new(1),
            next_oid: AtomicU32::new(0),
            registered: RwLock::default(),
            sessions: Mutex::default(),
            closing: AtomicBool::new(false),
            gates: Arc::default(),
            places: RwLock::new(places),
            settling: Mutex::default(),
            derivations: Mutex::default(),
            building: Building::default(),
            sinks: Sinks::default(),
            background: Cancel::default(),
            begun: Begun::default(),
            refresh_failures: Failures::default(),
            opened: now_micros(),
            watched_alerts: Watched::default(),
        };
        let database = Database { inner: Arc::new(inner) };
        let snapshot = database.store()?.snapshot();
        let catalog = database.catalog(&snapshot)?;
        database.inner.next_oid.store(catalog.next_oid(), Ordering::Relaxed);
        collapse.attach(&database);
        expired.attach(&database);
        bootstrap::first_open(&database)?;
        crate::statement::partition::settle(&database)?;
        crate::views::resume(&database, &catalog)?;
        database.watch_all(&snapshot, &catalog);
        Ok(database)
    }

    /// When it was opened: microseconds since 1970.
    pub(crate) fn opened(&self) -> i64 {
        self.inner.opened
    }

    /// Which threads of the background were begun.
    pub(crate) fn begun(&self) -> &Begun {
        &self.inner.begun
    }

    /// What was seen of alerts.
    pub(crate) fn watched_alerts(&self) -> &Watched {
        &self.inner.watched_alerts
    }

    /// Why views could not be refreshed.
    pub(crate) fn refresh_failures(&self) -> &Failures {
        &self.inner.refresh_failures
    }

    /// A new connection.
    pub fn session(&self) -> Session {
        let id = self.inner.next_session.fetch_add(1, Ordering::Relaxed);
        let live = Arc::new(Mutex::new(Live::default()));
        self.inner.sessions.lock().insert(id, live.clone());
        Session::new(self.clone(), id, live)
    }

    /// Runs statements in a session of their own; the rows affected by the last.
    pub fn execute(&self, sql: &str) -> Result<u64> {
        self.session().execute(sql)
    }

    /// Runs one statement and collects its rows. A text of several statements runs them all and gives the last one's.
    pub fn query(&self, sql: &str) -> Result<QueryResult> {
        self.session().query(sql)
    }

    /// Finishes all commits and lets the directory go. Statements that still run end with 57P01.
    pub fn close(self) -> Result<()> {
        self.inner.closing.store(true, Ordering::Relaxed);
        self.inner.background.shut_down();
        for live in self.inner.sessions.lock().values() {
            if let Some(cancel) = &live.lock().running {
                cancel.shut_down();
            }
        }
        // Not under the lock: closing waits for background work, which may be folding a view's states and ask for the store.
        let store = self.inner.store.lock().take();
        match store {
            Some(store) => Ok(store.close()?),
            None => Ok(()),
        }
    }

    pub(crate) fn downgrade(&self) -> WeakDatabase {
        WeakDatabase(Arc::downgrade(&self.inner))
    }

    /// The store; an error once the database is closed.
    pub(crate) fn store(&self) -> Result<Store> {
        let closed = || Error::new(ErrorKind::Shutdown, "the database is closed");
        self.inner.store.lock().clone().ok_or_else(closed)
    }

    /// The catalogue of a snapshot's version; made once a version.
    pub(crate) fn catalog(&self, snapshot: &Snapshot) -> Result<Arc<CatalogState>> {
        let version = snapshot.catalog_version();
        if let Some(state) = &*self.inner.catalog.read()
            && state.version == version
        {
            return Ok(state.clone());
        }
        let state = Arc::new(load_catalog(snapshot)?);
        let mut newest = self.inner.catalog.write();
        if newest.as_ref().is_none_or(|known| known.version < version) {
            *newest = Some(state.clone());
        }
        Ok(state)
    }

    /// An oid that was never given out.
    pub(crate) fn new_oid(&self) -> u32 {
        self.inner.next_oid.fetch_add(1, Ordering::Relaxed)
    }

    /// The smallest oid not given out yet.
    pub(crate) fn next_oid(&self) -> u32 {
        self.inner.next_oid.load(Ordering::Relaxed)
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.inner.pool
    }

    /// What a query of a session with these settings may hold.
    pub(crate) fn query_memory(&self, settings: &SessionSettings) -> Arc<QueryMemory> {
        let options = &self.inner.options;
        let own = Some(settings.bytes("weir.query_memory_limit")).filter(|limit| *limit > 0);
        let limits = Limits {
            query: own.unwrap_or(usize::MAX).min(options.query_memory_limit),
            operator: settings.bytes("work_mem").min(options.operator_memory_limit),
            folder: Some(self.inner.temporary.clone()),
        };
        QueryMemory::new(&self.inner.broker, limits)
    }

    /// What is remembered of rows that do not change; `None` if nothing is to be.
    pub(crate) fn partial_cache(&self) -> Option<Arc<PartialCache>> {
        self.inner.partial_cache.clone()
    }

    /// Where backups may be.
    pub(crate) fn places(&self) -> Places {
        self.inner.places.read().clone()
    }

    pub(crate) fn change_places(&self, change: impl FnOnce(&mut Places)) {
        change(&mut self.inner.places.write());
    }

    /// Held by commits that mean more for views than their rows say, from the snapshot that they look at to their end.
    pub(crate) fn derivations(&self) -> &Mutex<()> {
        &self.inner.derivations
    }

    /// Ends work that belongs to no session, when the database is closed.
    pub(crate) fn background(&self) -> &Cancel {
        &self.inner.background
    }

    /// What is known of sinks.
    pub(crate) fn sinks_state(&self) -> &Sinks {
        &self.inner.sinks
    }

    /// What is to be done to views that are being filled.
    pub(crate) fn building(&self) -> &Building {
        &self.inner.building
    }

    /// What commits of rows pass.
    pub(crate) fn gates(&self) -> &Arc<Gates> {
        &self.inner.gates
    }

    /// Held by who names and removes files of partitions.
    pub(crate) fn settling(&self) -> &Mutex<()> {
        &self.inner.settling
    }

    /// What the sessions do.
    pub(crate) fn activity(&self) -> Vec<Activity> {
        self.inner.sessions.lock().values().map(|live| live.lock().activity.clone()).collect()
    }

    /// `pg_cancel_backend` and `pg_terminate_backend`: whether there is such a session.
    pub(crate) fn signal_session(&self, id: i32, terminate: bool) -> bool {
        let Some(live) = self.inner.sessions.lock().get(&id).cloned() else { return false };
        let live = live.lock();
        if terminate && let Some(terminate) = &live.terminate {
            (terminate.0)();
        }
        if let Some(running) = &live.running {
            if terminate { running.shut_down() } else { running.cancel() }
        }
        true
    }

    pub(crate) fn forget_session(&self, id: i32) {
        self.inner.sessions.lock().remove(&id);
    }

    /// A relation that was registered under this name.
    pub(crate) fn registered(&self, schema: &str, name: &str) -> Option<Registered> {
        let list = self.inner.registered.read();
        list.iter().find(|r| r.relation.schema == schema && r.relation.name == name).cloned()
    }

    /// A relation that was registered, by oid.
    pub(crate) fn registered_oid(&self, oid: u32) -> Option<Registered> {
        self.inner.registered.read().iter().find(|r| r.relation.oid == oid).cloned()
    }

    /// Adds a relation whose rows the caller computes at each read, such as `weir.kafka_status`. Not kept: register it at each open.
    pub fn register_relation(&self, schema: &str, name: &str, columns: Vec<(String, Type)>, rows: RelationRows) {
        let mut list = self.inner.registered.write();
        list.retain(|r| !(r.relation.schema == schema && r.relation.name == name));
        let used: HashMap<u32, ()> = list.iter().map(|r| (r.relation.oid, ())).collect();
        let oid = (REGISTERED_OIDS..).find(|oid| !used.contains_key(oid)).unwrap_or(REGISTERED_OIDS);
        let columns = columns.into_iter().map(|(name, ty)| ColumnInfo::new(name, ty)).collect();
        let relation = Arc::new(Relation {
            oid,
            schema: schema.into(),
            name: name.into(),
            kind: RelationKind::System,
            columns,
            primary_key: Vec::new(),
        });
        list.push(Registered { relation, rows });
    }
}

/// Reads a snapshot's catalogue.
pub(crate) fn load_catalog(snapshot: &Snapshot) -> Result<CatalogState> {
    CatalogState::load(snapshot.catalog_version(), snapshot.scan_prefix("catalog/"))
}

/// Runs a text in a session and gives the rows of its last statement.
impl Session {
    /// Runs statements and collects the rows of the last.
    pub fn query(&mut self, sql: &str) -> Result<QueryResult> {
        let mut result = QueryResult { columns: Vec::new(), batches: Vec::new() };
        self.run_text(sql, &mut |outcome| {
            if let Outcome::Rows(rows) = outcome {
                result = QueryResult { columns: rows.columns().to_vec(), batches: Vec::new() };
                while let Some(batch) = rows.next()? {
                    result.batches.push(batch);
                }
            }
            Ok(())
        })?;
        Ok(result)
    }
}

/// Storage's errors, in Postgres's words.
impl From<weir_storage::Error> for Error {
    fn from(e: weir_storage::Error) -> Error {
        use weir_storage::Error as E;
        let message = e.to_string();
        match e {
            E::Corrupt { file, offset, detail } => {
                Error::new(ErrorKind::DataCorrupted, format!("file \"{}\" is damaged", file.display()))
                    .with_detail(format!("At offset {offset}: {detail}."))
                    .with_hint("Run \"weir check\" to find all damage.")
            }
            E::Full { file } => Error::new(
                ErrorKind::DiskFull,
                format!("could not write file \"{}\": No space left on device", file.display()),
            ),
            E::Io { .. } => Error::new(ErrorKind::Io, message),
            E::CatalogChanged => Error::new(
                ErrorKind::SerializationFailure,
                "could not serialize access due to concurrent change of the catalogue",
            ),
            E::PartsChanged { .. } | E::RowsChanged { .. } => {
                Error::new(ErrorKind::SerializationFailure, "could not serialize access due to concurrent update")
            }
            E::NotEmpty { .. } => Error::new(ErrorKind::Sql(weir_sql::ErrorKind::DuplicateObject), message)
                .with_hint("A backup is restored into a directory of its own."),
            E::Foreign { .. } => Error::new(ErrorKind::Sql(weir_sql::ErrorKind::DatatypeMismatch), message),
            E::NoTable { table } => {
                let kind = ErrorKind::Sql(weir_sql::ErrorKind::UndefinedTable);
                Error::new(kind, format!("relation with OID {table} does not exist"))
            }
            E::Locked { .. } => Error::new(ErrorKind::Locked, message),
            E::Invalid(_) => Error::internal(message),
            E::Stopped => Error::new(ErrorKind::Cancelled, "canceling statement due to user request"),
            E::Closed => Error::new(ErrorKind::Shutdown, "the database is closed"),
        }
    }
}
