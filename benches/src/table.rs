//! A table of events in memory, and queries of it whose time is that of one kernel, on one thread.
//!
//! Kernels are private to the engine: a query is the door to them. What a query costs besides (a fixed part, and reading the column) is small
//! beside a kernel over this many rows, and the same from one build to the next.

use tempfile::TempDir;
use weir_engine::format::{FormatSettings, text_at};
use weir_engine::{Database, Options, Session};

use crate::memory;

/// Rows of the table; few in a test build, which only shows that all this still runs.
pub const ROWS: u64 = if cfg!(debug_assertions) { 1 << 10 } else { 1 << 20 };

const TABLE: &str = "CREATE TABLE t (id bigint NOT NULL, ts timestamptz NOT NULL, few LowCardinality(text) NOT NULL, flag boolean NOT NULL,
    a bigint NOT NULL, b bigint NOT NULL, sparse bigint NOT NULL, price double precision NOT NULL, cents numeric(10, 2) NOT NULL,
    maybe bigint, day date NOT NULL, digits text NOT NULL, moment text NOT NULL, name text NOT NULL, token text NOT NULL, url text NOT NULL,
    doc text NOT NULL) ORDER BY id";

/// Numbers that look random and are the same everywhere: `x` and `y` are of 0 … 999,999, and `k` of 0 … 49,999.
const FILL: &str = r#"INSERT INTO t SELECT i, TIMESTAMPTZ '2024-05-25 00:00:00+00' + i * INTERVAL '577 milliseconds', 'kind ' || x % 40, y % 3 = 0,
    k, y, k * 2654435761 % 1000000007, x / 97.0, x / 100.0, CASE WHEN y % 10 > 0 THEN x END, DATE '2024-01-01' + (y % 365)::integer, x::text,
    (TIMESTAMP '2024-05-25 00:00:00' + x * INTERVAL '1 second')::text, 'user-' || k, md5(i::text),
    'https://www.example' || y % 50 || '.com/section' || x % 9 || '/item/' || x || '?page=' || y,
    '{"path": "/item/' || x || '", "latency_ms": ' || y % 2000 || ', "ab": "' || chr(65 + (x % 3)::integer) || '", "user": {"name": "user-' || k || '"}}'
    FROM (SELECT i, i * 7919 % 999983 AS x, i * 104729 % 999979 AS y, i * 15485863 % 50000 AS k FROM "#;

/// The table `t`, open.
pub struct Table {
    session: Session,
    database: Database,
    _dir: TempDir,
}

impl Table {
    /// A table with [`ROWS`] rows, one part.
    pub fn filled() -> Table {
        let dir = memory();
        let mut options = Options { threads: Some(1), bulk_bytes: 0, ..Options::default() };
        options.store.background = false;
        let database = Database::open_with(dir.path(), options).expect("it opens");
        let mut session = database.session();
        // What is measured is the work, not that it was done before.
        session.execute("SET weir.partial_cache = off").expect("a setting");
        session.execute(TABLE).expect("a table");
        session.execute(&format!("{FILL}generate_series(1, {ROWS}::bigint) AS g(i)) numbers")).expect("rows");
        session.execute("OPTIMIZE TABLE t FINAL").expect("one part");
        Table { session, database, _dir: dir }
    }

    /// Runs a query to its last row.
    pub fn run(&mut self, sql: &str) {
        let result = self.session.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert!(result.rows() > 0, "{sql} has rows");
    }

    /// The bytes of a column of text.
    pub fn bytes(&mut self, column: &str) -> u64 {
        let result = self.session.query(&format!("SELECT sum(octet_length({column})) FROM t")).expect("bytes");
        let sum = text_at(&result.columns[0].ty, result.batches[0].column(0), 0, &FormatSettings::default());
        sum.and_then(|text| text.parse().ok()).expect("a number")
    }

    /// Lets the folder go.
    pub fn close(self) {
        drop(self.session);
        self.database.close().expect("it closes");
    }
}
