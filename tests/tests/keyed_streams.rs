//! Streams and COPY into keyed tables: what a key that is there already means for each.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringViewArray};
use weir_engine::{Database, ErrorKind, IngestBatch, Outcome, SourceOffset};

fn database() -> (tempfile::TempDir, Database) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(dir.path()).expect("the database opens");
    (dir, database)
}

/// One batch of a stream: rows and the offset after them.
fn batch(database: &Database, table: &str, rows: &[(i32, &str)], next: i64) -> IngestBatch {
    let target = database.ingest_target(table).expect("the table is there");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|(id, _)| *id))),
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(|(_, v)| *v))),
    ];
    IngestBatch {
        table: target.table.clone(),
        rows: vec![RecordBatch::try_new(target.schema.clone(), columns).expect("the rows fit")],
        offsets: vec![SourceOffset { source: "s".into(), partition: 0, next }],
        ..IngestBatch::default()
    }
}

fn rows(database: &Database, sql: &str) -> Vec<String> {
    let mut session = database.session();
    let found = session.query(&format!("SELECT string_agg(id || v, ' ' ORDER BY id) FROM ({sql}) t")).expect(sql);
    let column = found.batches[0].column(0).as_any().downcast_ref::<StringViewArray>().expect("text");
    column.value(0).split(' ').map(str::to_string).collect()
}

#[test]
fn a_stream_replaces_rows_of_its_keys_and_never_stops() {
    for bulk in [false, true] {
        let (_dir, database) = database();
        database.execute("CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL)").expect("CREATE TABLE");
        database
            .execute("CREATE MATERIALIZED VIEW m AS SELECT v, count(*) AS n, min(id) AS id FROM t GROUP BY v")
            .expect("CREATE MATERIALIZED VIEW");
        for (rows, next) in [(&[(1, "a"), (2, "b"), (1, "c")][..], 3), (&[(2, "d"), (3, "c"), (3, "e")], 6)] {
            database.ingest(IngestBatch { bulk, ..batch(&database, "t", rows, next) }).expect("a batch is taken");
        }
        assert_eq!(rows(&database, "TABLE t"), ["1c", "2d", "3e"], "bulk: {bulk}");
        assert_eq!(rows(&database, "SELECT id, v || n AS v FROM m"), ["1c1", "2d1", "3e1"], "bulk: {bulk}");
        assert_eq!(database.source_offsets("s"), [(0, 6)]);
    }
}

#[test]
fn a_table_may_ignore_keys_that_are_there() {
    let (_dir, database) = database();
    let create = "CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL) WITH (on_conflict = 'ignore')";
    database.execute(create).expect("CREATE TABLE");
    database.ingest(batch(&database, "t", &[(1, "a"), (1, "b")], 2)).expect("a batch is taken");
    database.ingest(batch(&database, "t", &[(2, "c"), (1, "d")], 4)).expect("a batch is taken");
    assert_eq!(rows(&database, "TABLE t"), ["1a", "2c"]);
}

#[test]
fn copy_keeps_keys_unique_whatever_others_add_meanwhile() {
    let (_dir, database) = database();
    database.execute("CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL)").expect("CREATE TABLE");
    let mut session = database.session();
    let mut copy = |other: Option<&str>, data: &str| {
        let parsed = session.parse("COPY t FROM STDIN").expect("it parses");
        let prepared = session.prepare(&parsed[0], &[]).expect("it binds");
        let Outcome::CopyIn(mut copy) = session.run(&prepared, &[]).expect("it begins") else {
            panic!("COPY FROM STDIN")
        };
        if let Some(other) = other {
            database.execute(other).expect(other);
        }
        copy.push(data.as_bytes()).expect("the data is taken");
        copy.finish(&mut session)
    };
    assert_eq!(copy(None, "1\ta\n2\tb\n").expect("COPY"), "COPY 2");
    let twice = copy(None, "3\tc\n3\td\n").expect_err("a key twice");
    assert_eq!(
        (twice.kind, twice.detail.as_deref()),
        (ErrorKind::UniqueViolation, Some("Key (id)=(3) already exists."))
    );
    let there = copy(Some("INSERT INTO t VALUES (4, 'x')"), "4\te\n").expect_err("a key that came meanwhile");
    assert_eq!(there.kind, ErrorKind::UniqueViolation);
    assert_eq!(copy(Some("DELETE FROM t WHERE id = 1"), "1\tnew\n5\tf\n").expect("COPY"), "COPY 2");
    assert_eq!(rows(&database, "TABLE t"), ["1new", "2b", "4x", "5f"]);
}
