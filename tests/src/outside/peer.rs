//! DuckDB and ClickHouse (`chdb`) as sqllogictest runs them: one Python process a script, a statement in, its rows out.
//!
//! Values are written as PostgreSQL writes them, so that one script serves Weir and its peer: `peer.py` says how.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use sqllogictest::{DB, DBOutput, DefaultColumnType};

use super::duckdb::python;
use crate::script::shown;

/// Reads statements and writes what the peer that its argument names says of them.
const SCRIPT: &str = include_str!("peer.py");

/// A peer that answers a script's statements.
pub struct Peer {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What a peer said of a statement that it refused.
#[derive(Debug)]
pub struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Peer {
    /// Starts `duckdb` or `clickhouse` with nothing in it.
    pub fn start(name: &'static str) -> Peer {
        let mut child = Command::new(python())
            .args(["-c", SCRIPT, name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let input = child.stdin.take().expect("stdin is piped");
        let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Peer { name, child, input, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("python prints UTF-8");
        assert!(!line.is_empty(), "{} ended", self.name);
        line.trim_end_matches('\n').to_string()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl DB for Peer {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let sent = serde_json::Value::String(sql.to_string());
        writeln!(self.input, "{sent}").and_then(|()| self.input.flush()).expect("python reads");
        let first = self.line();
        if let Some(message) = first.strip_prefix("error ") {
            return Err(Refused(message.to_string()));
        }
        let Some(count) = first.strip_prefix("rows ") else { return Ok(DBOutput::StatementComplete(0)) };
        let mut rows = Vec::new();
        for _ in 0..count.parse::<usize>().expect("a number of rows") {
            let cells: Vec<Option<String>> = serde_json::from_str(&self.line()).expect("a row in JSON");
            rows.push(cells.iter().map(|cell| shown(cell.as_deref())).collect::<Vec<_>>());
        }
        let width = rows.first().map_or(1, Vec::len);
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Text; width], rows })
    }

    fn engine_name(&self) -> &str {
        self.name
    }
}
