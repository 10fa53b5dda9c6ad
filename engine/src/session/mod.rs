//! A session: one client's settings, transaction, prepared statements and cursors.
//!
//! Text goes in through [`Session::parse`], [`Session::prepare`] and [`Session::run`], in this order; each may fail by itself, as in the
//! extended protocol. A session is used by one thread at a time; only its [`CancelHandle`] is for others.

mod outcome;

use std::sync::Arc;

use parking_lot::Mutex;
use weir_sql::plan::OutputColumn;
use weir_sql::{Type, Value};

pub use outcome::{CopyIn, CopyOut, Notice, Outcome, Rows, Severity};

use crate::cancel::Cancel;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::functions::Context;

/// Where a session stands in its transaction: what ReadyForQuery says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// None is open (`I`).
    Idle,
    /// Inside a block (`T`).
    Open,
    /// Inside a block that failed: everything but ROLLBACK is refused (`E`).
    Failed,
}

/// One statement of a query text. Cheap to keep and to clone.
#[derive(Debug, Clone)]
pub struct Parsed {
    text: Arc<str>,
}

impl Parsed {
    /// The statement's own text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A statement that was bound: its parameters and columns are known. Cheap to clone; stays good when the catalogue changes, because
/// [`Session::run`] binds it again.
#[derive(Debug, Clone)]
pub struct Prepared {
    parsed: Parsed,
    parameters: Vec<Type>,
    columns: Vec<OutputColumn>,
}

impl Prepared {
    /// Types of `$1`, `$2`, ….
    pub fn parameters(&self) -> &[Type] {
        &self.parameters
    }

    /// The columns of its result; empty for statements that give no rows (NoData).
    pub fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    /// The statement it came from.
    pub fn parsed(&self) -> &Parsed {
        &self.parsed
    }
}

/// Ends a session's running statement from another thread.
#[derive(Debug, Clone)]
pub struct CancelHandle {
    running: Arc<Mutex<Option<Cancel>>>,
}

impl CancelHandle {
    /// The running statement ends with 57014 within 100 ms; nothing happens if there is none.
    pub fn cancel(&self) {
        if let Some(cancel) = &*self.running.lock() {
            cancel.cancel();
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    database: Database,
    id: i32,
    user: String,
    notices: Vec<Notice>,
    changes: Vec<(String, String)>,
    running: Arc<Mutex<Option<Cancel>>>,
}

impl Session {
    pub(crate) fn new(database: Database, id: i32) -> Session {
        Session { database, id, user: "weir".into(), notices: Vec::new(), changes: Vec::new(), running: Arc::default() }
    }

    /// Splits a query text into its statements and parses each; none for `;` or a comment.
    pub fn parse(&self, _sql: &str) -> Result<Vec<Parsed>> {
        Err(Error::internal("SQL is not built yet"))
    }

    /// Binds a statement. `param_types` are the types that the client declared, `None` for those it left open; there may be fewer than the
    /// statement has.
    pub fn prepare(&self, _parsed: &Parsed, _param_types: &[Option<Type>]) -> Result<Prepared> {
        Err(Error::internal("SQL is not built yet"))
    }

    /// Runs a statement with its parameters' values, which are of the types that [`Prepared::parameters`] says.
    ///
    /// An error inside a transaction block has failed the block when this returns. Rows, CopyIn and CopyOut that are read later may fail
    /// later: then the caller tells with [`Session::fail_transaction`].
    pub fn run(&mut self, _prepared: &Prepared, _params: &[Value]) -> Result<Outcome> {
        Err(Error::internal("SQL is not built yet"))
    }

    /// Runs all statements of a text, as one implicit transaction unless it says otherwise, and reads their rows to the end.
    /// The rows affected by the last.
    pub fn execute(&mut self, _sql: &str) -> Result<u64> {
        Err(Error::internal("SQL is not built yet"))
    }

    /// For ReadyForQuery.
    pub fn transaction_status(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }

    /// A query text of several statements is one transaction: call this before the first of several, and [`Session::end_implicit`] after
    /// the last one or the first error. Also right around the messages of an extended-protocol pipeline up to Sync.
    pub fn begin_implicit(&mut self) {}

    /// Ends what [`Session::begin_implicit`] began: commits, or rolls back if `failed`. Leaves an explicit block alone (which an error has
    /// failed already).
    pub fn end_implicit(&mut self, _failed: bool) -> Result<()> {
        Ok(())
    }

    /// An error happened outside [`Session::run`] (in the protocol, while rows were read): an open block fails.
    pub fn fail_transaction(&mut self) {}

    /// Who is logged in. At the start: `weir`.
    pub fn set_user(&mut self, user: &str) {
        self.user = user.to_string();
    }

    /// Sets a setting as a start-up parameter or a client library's connection option does; it becomes what RESET goes back to.
    pub fn set_parameter(&mut self, _name: &str, _value: &str) -> Result<()> {
        Ok(())
    }

    /// The value of a setting; `None` if there is none of this name.
    pub fn parameter(&self, _name: &str) -> Option<String> {
        None
    }

    /// All settings that a server reports at start (ParameterStatus), with Postgres's spelling.
    pub fn reported_parameters(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// The reported settings that changed since the last call: ParameterStatus messages.
    pub fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.changes)
    }

    /// Notices since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// What values are read and written with: the session's time zone, settings, and names of objects.
    pub fn function_context(&self) -> Context {
        Context::detached()
    }

    /// What other threads cancel this session's statement with.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle { running: self.running.clone() }
    }

    /// This session's number: `pg_backend_pid()`, and the process id of BackendKeyData.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// The database it belongs to.
    pub fn database(&self) -> &Database {
        &self.database
    }
}
