//! SQL scripts (sqllogictest) over the Postgres wire: the same runner for Weir and for a real PostgreSQL, which is the oracle.
//!
//! Values are compared as the text that the server sends, whole: no rounding, no case folding, no trimming. An empty text is
//! shown as `(empty)`, NULL as `NULL`, a row without columns as `(no columns)`. Errors are compared by SQLSTATE where the script names one.

use std::fmt;
use std::path::{Path, PathBuf};

use postgres::{Client, NoTls, SimpleQueryMessage};
use sqllogictest::{DB, DBOutput, DefaultColumnType, Normalizer, Runner, default_column_validator, default_normalizer};

/// A connection for scripts.
pub struct Connection {
    client: Client,
    engine: &'static str,
}

/// What a server said of an error.
#[derive(Debug)]
pub struct ScriptError(postgres::Error);

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_db_error() {
            Some(db) => write!(f, "{} (SQLSTATE {})", db.message(), db.code().code()),
            None => self.0.fmt(f),
        }
    }
}

impl std::error::Error for ScriptError {}

impl Connection {
    /// Connects; `engine` is what `onlyif` and `skipif` compare with: `weir` or `postgres`.
    pub fn open(config: &str, engine: &'static str) -> Result<Connection, postgres::Error> {
        Ok(Connection { client: Client::connect(config, NoTls)?, engine })
    }
}

impl DB for Connection {
    type Error = ScriptError;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, ScriptError> {
        let messages = self.client.simple_query(sql).map_err(ScriptError)?;
        let mut rows = Vec::new();
        let mut width = None;
        let mut affected = 0;
        for message in &messages {
            match message {
                SimpleQueryMessage::RowDescription(columns) => width = Some(columns.len()),
                SimpleQueryMessage::Row(row) => {
                    rows.push(shown_row((0..row.len()).map(|i| shown(row.get(i))).collect()))
                }
                SimpleQueryMessage::CommandComplete(n) => affected = *n,
                _ => {}
            }
        }
        Ok(match width {
            Some(width) => DBOutput::Rows { types: vec![DefaultColumnType::Text; width], rows },
            None => DBOutput::StatementComplete(affected),
        })
    }

    fn engine_name(&self) -> &str {
        self.engine
    }

    fn error_sql_state(error: &ScriptError) -> Option<String> {
        error.0.as_db_error().map(|db| db.code().code().to_string())
    }
}

/// A value as scripts write it.
pub fn shown(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_string(),
        Some("") => "(empty)".to_string(),
        Some(text) => text.replace('\n', "\\n"),
    }
}

/// A row as scripts write it, since one without columns would be an empty line, which ends the rows.
pub fn shown_row(cells: Vec<String>) -> Vec<String> {
    if cells.is_empty() { vec!["(no columns)".to_string()] } else { cells }
}

/// All scripts below a folder, in order; for a developer in a hurry those alone whose path holds what `WEIR_SCRIPTS` says.
pub fn scripts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(dir) = open.pop() {
        let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        for path in entries.map(|entry| entry.expect("the folder can be read").path()) {
            match path.extension().is_some_and(|e| e == "slt") {
                true => found.push(path),
                false if path.is_dir() => open.push(path),
                false => {}
            }
        }
    }
    found.sort();
    if let Some(wanted) = std::env::var_os("WEIR_SCRIPTS") {
        found.retain(|path| path.to_string_lossy().contains(&*wanted.to_string_lossy()));
    }
    assert!(!found.is_empty(), "no scripts in {}", folder.display());
    found
}

/// The folder of the SQL scripts.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("slt")
}

/// Runs one script on the server that `config` names; the error says where and what.
pub fn run(script: &Path, config: &str, engine: &'static str) -> Result<(), String> {
    run_on(script, || Connection::open(config, engine).map_err(ScriptError))
}

/// Runs one script on what `open` opens.
pub fn run_on<D: DB<ColumnType = DefaultColumnType> + Send + 'static>(
    script: &Path,
    open: impl Fn() -> Result<D, D::Error>,
) -> Result<(), String> {
    let mut runner = Runner::new(|| std::future::ready(open()));
    runner.with_validator(exactly);
    runner.run_file(script).map_err(|e| e.display(false).to_string())
}

/// Runs one script and writes what the server answers into it as what is expected.
pub fn update(script: &Path, config: &str, engine: &'static str) -> Result<(), String> {
    update_on(script, || Connection::open(config, engine).map_err(ScriptError))
}

/// Runs one script on what `open` opens, and writes its answers.
pub fn update_on<D: DB<ColumnType = DefaultColumnType> + Send + 'static>(
    script: &Path,
    open: impl Fn() -> Result<D, D::Error>,
) -> Result<(), String> {
    let mut runner = Runner::new(|| std::future::ready(open()));
    let updated = runner.update_test_file(script, " ", exactly, default_normalizer, default_column_validator);
    futures::executor::block_on(updated).map_err(|e| e.to_string())
}

/// Rows are compared as they are.
pub fn exactly(_: Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    actual.iter().map(|row| row.join(" ")).eq(expected.iter().cloned())
}
