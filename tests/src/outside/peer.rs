//! DuckDB and ClickHouse (`chdb`) as sqllogictest runs them: one Python process a script, a statement in, its rows out.
//!
//! Values are written as PostgreSQL writes them, so that one script serves Weir and its peer: booleans as `t` and `f`, arrays in braces, a
//! moment with a zone with its offset.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use sqllogictest::{DB, DBOutput, DefaultColumnType};

use super::duckdb::python;
use crate::script::shown;

/// Reads statements, a JSON string a line; writes `rows n` and then so many lines of values, or `done`, or `error` and its message. Values are JSON.
const COMMON: &str = r#"
import datetime, decimal, json, sys
def text(v, quoted=False):
    if v is None: return 'NULL' if quoted else None
    if isinstance(v, bool): return 't' if v else 'f'
    if isinstance(v, float): return repr(v)[:-2] if repr(v).endswith('.0') else repr(v)
    if isinstance(v, datetime.datetime): return str(v.replace(tzinfo=None)) + ('+00' if v.tzinfo else '')
    if isinstance(v, (list, tuple)): return '{' + ','.join(text(x, True) for x in v) + '}'
    return str(v)
def serve(run):
    for line in sys.stdin:
        try:
            rows = run(json.loads(line))
            if rows is None: print('done')
            else:
                print('rows', len(rows))
                for row in rows: print(json.dumps([text(v) for v in row]))
        except Exception as e:
            print('error', str(e).replace('\n', ' '))
        sys.stdout.flush()
"#;

const DUCKDB: &str = r#"
import duckdb
con = duckdb.connect()
con.execute("SET TimeZone='UTC'")
def run(sql):
    cursor = con.execute(sql)
    kinds = ('CREATE', 'INSERT', 'DROP', 'ALTER', 'DELETE', 'UPDATE')
    return None if sql.lstrip().upper().startswith(kinds) else cursor.fetchall()
serve(run)
"#;

const CLICKHOUSE: &str = r#"
import datetime, tempfile
from chdb import session
folder = tempfile.TemporaryDirectory()
s = session.Session(folder.name)
s.query("SET session_timezone = 'UTC', output_format_json_quote_64bit_integers = 0, allow_experimental_object_type = 1")
def value(v, kind):
    if kind.startswith('Nullable('): kind = kind[9:-1]
    if v is not None and kind.startswith('DateTime'): return v + '+00'
    return v
def run(sql):
    out = str(s.query(sql, 'JSONCompactEachRowWithNamesAndTypes'))
    if not out.strip(): return None
    lines = [json.loads(line) for line in out.split('\n') if line.strip()]
    return [[value(v, kind) for v, kind in zip(line, lines[1])] for line in lines[2:]]
serve(run)
"#;

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
        let own = if name == "duckdb" { DUCKDB } else { CLICKHOUSE };
        let mut child = Command::new(python())
            .args(["-c", &format!("{COMMON}{own}")])
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
