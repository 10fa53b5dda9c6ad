//! A session: one client's settings, transaction, prepared statements and cursors.
//!
//! Text goes in through [`Session::parse`], [`Session::prepare`] and [`Session::run`], in this order; each may fail by itself, as in the
//! extended protocol. A session is used by one thread at a time; only its [`CancelHandle`] is for others.
//!
//! `run` decides what kind of statement it has and hands it to a file of `crate::statement`; the transaction around it is `control`'s.

pub(crate) mod context;
mod control;
mod outcome;
pub(crate) mod run;
pub(crate) mod setting_values;
pub mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use weir_sql::Type;
use weir_sql::plan::OutputColumn;
use weir_sql::statement::{Bound, OnCommit, Statement};

pub use context::{SessionInfo, View};
pub use outcome::{Notice, Outcome, Rows, Severity};
pub(crate) use run::now_micros;
pub use setting_values::time_zone;

use crate::cancel::Cancel;
use crate::catalog::CatalogState;
use crate::database::{Activity, Database, Live, Terminate};
use crate::error::Result;
use crate::functions::Context;
use crate::statement::cursor::Cursor;
use crate::transaction::Transaction;
use context::TEMPORARY;
use settings::SessionSettings;

/// The role that owns everything.
pub const OWNER_NAME: &str = "weir";

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
    pub(crate) syntax: weir_sql::parse::Parsed,
}

impl Parsed {
    /// The statement's own text.
    pub fn text(&self) -> &str {
        &self.syntax.text
    }

    /// Whether it ends the transaction, or goes back in it: what must be possible whatever the transaction's changes have met.
    pub(crate) fn ends_transaction(&self) -> bool {
        let weir_sql::parse::Ast::Ready(statement) = self.syntax.ast.as_ref() else { return false };
        matches!(**statement, Statement::Commit | Statement::Rollback | Statement::RollbackTo(_))
    }
}

/// A statement that was bound: its parameters and columns are known. Cheap to clone; stays good when the catalogue changes, because
/// [`Session::run`] binds it again.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub(crate) parsed: Parsed,
    pub(crate) declared: Vec<Option<Type>>,
    pub(crate) bound: Arc<Bound>,
    /// The result's columns: those of `bound`, or of what an EXECUTE or FETCH names.
    pub(crate) columns: Arc<[OutputColumn]>,
    pub(crate) bound_under: BoundUnder,
}

/// What a plan was bound under; it is bound again when any of it differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BoundUnder {
    pub(crate) catalog: u64,
    pub(crate) ddl: u64,
    pub(crate) search_path: Option<String>,
    /// Whether views may answer it, of which sessions, and on which day.
    pub(crate) rewrites: Option<(bool, bool, i64)>,
}

impl Prepared {
    /// Types of `$1`, `$2`, ….
    pub fn parameters(&self) -> &[Type] {
        &self.bound.parameters
    }

    /// The columns of its result; empty for statements that give no rows (NoData).
    pub fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    /// The statement it came from.
    pub fn parsed(&self) -> &Parsed {
        &self.parsed
    }

    /// Whether this ends a transaction block (COMMIT, ROLLBACK): what is allowed in a failed one.
    pub fn ends_transaction(&self) -> bool {
        matches!(self.bound.statement, Statement::Commit | Statement::Rollback | Statement::RollbackTo(_))
    }
}

/// Ends a session's running statement from another thread.
#[derive(Debug, Clone)]
pub struct CancelHandle {
    live: Arc<Mutex<Live>>,
}

impl CancelHandle {
    /// The running statement ends with 57014 within 100 ms; nothing happens if there is none.
    pub fn cancel(&self) {
        if let Some(cancel) = &self.live.lock().running {
            cancel.cancel();
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    pub(crate) database: Database,
    id: i32,
    pub(crate) user: String,
    database_name: String,
    pub(crate) settings: Arc<SessionSettings>,
    pub(crate) transaction: Option<Transaction>,
    /// Whether it made a temporary table, which goes when it ends.
    pub(crate) has_temporary: bool,
    /// Temporary tables of which a commit takes more than it keeps.
    pub(crate) on_commit: Vec<(u32, OnCommit)>,
    /// Between `begin_implicit` and `end_implicit`.
    implicit: bool,
    pub(crate) prepared: BTreeMap<String, PreparedText>,
    pub(crate) cursors: BTreeMap<String, Cursor>,
    notices: Vec<Notice>,
    live: Arc<Mutex<Live>>,
    /// The catalogue with this transaction's own definitions: of which version, after how many changes.
    own_catalog: Mutex<Option<(u64, u64, Arc<CatalogState>)>>,
}

/// PREPARE's statement.
#[derive(Debug, Clone)]
pub(crate) struct PreparedText {
    pub(crate) parsed: Parsed,
    pub(crate) types: Vec<Option<Type>>,
    pub(crate) text: String,
}

impl Session {
    pub(crate) fn new(database: Database, id: i32, live: Arc<Mutex<Live>>) -> Session {
        live.lock().activity = Activity {
            id,
            user: OWNER_NAME.into(),
            database: OWNER_NAME.into(),
            started: now_micros(),
            ..Activity::default()
        };
        Session {
            database,
            id,
            user: OWNER_NAME.into(),
            database_name: OWNER_NAME.into(),
            settings: Arc::default(),
            transaction: None,
            has_temporary: false,
            on_commit: Vec::new(),
            implicit: false,
            prepared: BTreeMap::new(),
            cursors: BTreeMap::new(),
            notices: Vec::new(),
            live,
            own_catalog: Mutex::default(),
        }
    }

    /// Splits a query text into its statements and parses each; none for `;` or a comment.
    pub fn parse(&self, sql: &str) -> Result<Vec<Parsed>> {
        Ok(weir_sql::parse::parse(sql)?.into_iter().map(|syntax| Parsed { syntax }).collect())
    }

    /// For ReadyForQuery.
    pub fn transaction_status(&self) -> TransactionStatus {
        match &self.transaction {
            Some(transaction) if transaction.failed => TransactionStatus::Failed,
            Some(transaction) if transaction.explicit => TransactionStatus::Open,
            _ => TransactionStatus::Idle,
        }
    }

    /// Who is logged in. At the start: `weir`.
    pub fn set_user(&mut self, user: &str) {
        self.user = user.to_string();
        self.settings.force("session_authorization", user);
        self.live.lock().activity.user = user.to_string();
    }

    /// Under which name the client asked for the database; there is one only, whatever it is called.
    pub fn set_database_name(&mut self, name: &str) {
        self.database_name = name.to_string();
        self.live.lock().activity.database = name.to_string();
    }

    /// Sets a setting as a start-up parameter or a client library's connection option does; it becomes what RESET goes back to.
    pub fn set_parameter(&mut self, name: &str, value: &str) -> Result<()> {
        self.settings.set_start(name, value)
    }

    /// The value of a setting; `None` if there is none of this name.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.settings.get(name)
    }

    /// All settings that a server reports at start (ParameterStatus), with Postgres's spelling.
    pub fn reported_parameters(&self) -> Vec<(String, String)> {
        self.settings.reported()
    }

    /// The reported settings that changed since the last call: ParameterStatus messages.
    pub fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        self.settings.take_changes()
    }

    /// Notices since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// What values are read and written with: the session's time zone, settings, and names of objects.
    pub fn function_context(&self) -> Context {
        match self.view() {
            Ok(view) => Context::clone(&self.functions_context(&Arc::new(view), &Cancel::default())),
            Err(_) => Context::detached(),
        }
    }

    pub(crate) fn notice(&mut self, severity: Severity, code: &'static str, message: impl Into<String>) {
        self.notices.push(Notice { severity, code, message: message.into(), detail: None, hint: None });
    }

    /// What other threads cancel this session's statement with.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle { live: self.live.clone() }
    }

    /// The columns of a cursor's rows; `None` if there is no such cursor.
    pub fn cursor_columns(&self, name: &str) -> Option<&[OutputColumn]> {
        self.cursors.get(name).map(Cursor::columns)
    }

    /// What `pg_terminate_backend` does to the connection that this session belongs to, besides ending its statement.
    pub fn on_terminate(&self, terminate: impl Fn() + Send + Sync + 'static) {
        self.live.lock().terminate = Some(Terminate(Arc::new(terminate)));
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

impl Drop for Session {
    fn drop(&mut self) {
        if self.has_temporary {
            // Where this fails, the next opening does it.
            let _ = self.database.query(&format!("DROP SCHEMA IF EXISTS {TEMPORARY}{} CASCADE", self.id));
        }
        self.database.forget_session(self.id);
    }
}
