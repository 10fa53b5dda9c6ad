//! RESET OFFSETS and REBUILD through the door of streams: what was read before is refused, rows and offsets change places at once, views follow,
//! and a restart goes on.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use weir_engine::{Database, ErrorKind, Hold, IngestBatch, ReplayFrom, SourceOffset};

const WITH: &str =
    "WITH ('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'nowhere:9', 'format' = 'json')";

/// A stream with one partition, in which the event at offset n is the n-th of a list of (id, v).
struct Stream {
    events: Vec<(i64, &'static str)>,
}

impl Stream {
    /// The source of a table.
    fn source(database: &Database, table: &str) -> String {
        format!("s:{}", database.ingest_target(table).expect("the table is there").oid)
    }

    /// The batch that takes the events of a range to a table now.
    fn batch(&self, database: &Database, table: &str, from: usize, to: usize) -> IngestBatch {
        let target = database.ingest_target(table).expect("the table is there");
        let events = &self.events[from..to];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(events.iter().map(|(id, _)| *id))),
            Arc::new(StringViewArray::from_iter_values(events.iter().map(|(_, v)| *v))),
        ];
        IngestBatch {
            table: target.table.clone(),
            rows: vec![RecordBatch::try_new(target.schema.clone(), columns).expect("the rows fit")],
            offsets: vec![offset(database, table, to)],
            epoch: target.epoch,
            ..IngestBatch::default()
        }
    }

    fn read(&self, database: &Database, table: &str, from: usize, to: usize) {
        database.ingest(self.batch(database, table, from, to)).expect("the batch is taken");
    }
}

fn offset(database: &Database, table: &str, next: usize) -> SourceOffset {
    SourceOffset { source: Stream::source(database, table), partition: 0, next: next as i64 }
}

/// The source of a table begins the replay that is before it, there.
fn begin(database: &Database, table: &str, next: usize) {
    let target = database.ingest_target(table).expect("the table is there");
    let batch = IngestBatch {
        table: target.table.clone(),
        offsets: vec![offset(database, table, next)],
        epoch: target.epoch,
        begins: Some(Stream::source(database, table)),
        ..IngestBatch::default()
    };
    database.ingest(batch).expect("the replay begins");
}

fn replay(database: &Database, table: &str) -> Option<ReplayFrom> {
    let target = database.ingest_target(table).expect("the table is there");
    database.replay(&Stream::source(database, table), &target)
}

fn at(database: &Database, table: &str) -> Vec<(i32, i64)> {
    database.source_offsets(&Stream::source(database, table))
}

/// A query's text, one row after the other.
fn text(database: &Database, sql: &str) -> String {
    let sql = format!("SELECT coalesce(string_agg(t::text, ' ' ORDER BY t::text), '') FROM ({sql}) t");
    let found = database.query(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    found.batches[0].column(0).as_string_view().value(0).to_string()
}

fn run(database: &Database, sql: &str) {
    database.execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn refused(database: &Database, sql: &str) -> String {
    let error = database.execute(sql).expect_err(sql);
    assert_eq!(error.kind, ErrorKind::WrongState, "{sql}: {error}");
    error.message
}

/// The hidden table that a table is made anew in.
fn hidden(database: &Database) -> String {
    let rebuilds = database.rebuilds();
    assert_eq!(rebuilds.len(), 1);
    rebuilds[0].into.clone()
}

fn finish(database: &Database) -> bool {
    let mut hold: Option<Hold> = None;
    database.finish_rebuild(&hidden(database), &mut hold).expect("it is looked at")
}

fn stream() -> Stream {
    Stream { events: vec![(1, "a"), (2, "b"), (1, "c"), (3, "d"), (2, "e"), (4, "f")] }
}

#[test]
fn what_was_read_before_a_reset_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(dir.path()).expect("the database opens");
    let stream = stream();
    run(&database, &format!("CREATE TABLE t (id bigint PRIMARY KEY, v text NOT NULL) {WITH}"));
    run(&database, "CREATE MATERIALIZED VIEW m AS SELECT v, count(*) AS n FROM t GROUP BY v");
    stream.read(&database, "t", 0, 4);
    let before = text(&database, "TABLE t");
    assert_eq!(before, "(1,c) (2,b) (3,d)");
    let late = stream.batch(&database, "t", 4, 6);
    run(&database, "ALTER TABLE t RESET OFFSETS TO EARLIEST");
    let error = database.ingest(late.clone()).expect_err("it was read before");
    assert_eq!(error.kind, ErrorKind::SerializationFailure);
    // Nor is one that knows of the reset and has not begun again.
    assert_eq!(replay(&database, "t"), Some(ReplayFrom::Earliest));
    assert!(database.ingest(stream.batch(&database, "t", 4, 6)).is_err());
    database.close().expect("it closes");

    let database = Database::open(dir.path()).expect("the database opens");
    assert_eq!(replay(&database, "t"), Some(ReplayFrom::Earliest), "a restart forgets nothing");
    assert!(database.ingest(late).is_err());
    assert_eq!(at(&database, "t"), [(0, 4)]);
    begin(&database, "t", 0);
    assert_eq!((replay(&database, "t"), at(&database, "t")), (None, vec![(0, 0)]));
    stream.read(&database, "t", 0, 4);
    assert_eq!(text(&database, "TABLE t"), before);
    assert_eq!(text(&database, "SELECT v, n FROM m"), "(b,1) (c,1) (d,1)");
    // A second replay while the first has not begun: the first counts for nothing.
    run(&database, "ALTER TABLE t RESET OFFSETS TO (0 => 2)");
    let target = database.ingest_target("t").expect("the table is there");
    run(&database, "ALTER TABLE t RESET OFFSETS TO TIMESTAMP '2024-01-01 00:00:00.0001'");
    assert_eq!(database.replay(&Stream::source(&database, "t"), &target), None);
    assert_eq!(replay(&database, "t"), Some(ReplayFrom::Timestamp(1_704_067_200_001)));
}

#[test]
fn a_reset_in_a_transaction_is_of_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(dir.path()).expect("the database opens");
    let stream = stream();
    run(&database, &format!("CREATE TABLE t (id bigint, v text NOT NULL) {WITH}"));
    stream.read(&database, "t", 0, 3);
    run(&database, "BEGIN; ALTER TABLE t RESET OFFSETS TO EARLIEST; ROLLBACK");
    assert_eq!(replay(&database, "t"), None);
    let late = stream.batch(&database, "t", 3, 4);
    // Emptied and read again from its beginning, at one version.
    run(&database, "BEGIN; TRUNCATE t; ALTER TABLE t RESET OFFSETS TO 'earliest-offset'; COMMIT");
    assert!(database.ingest(late).is_err());
    assert_eq!((text(&database, "TABLE t"), replay(&database, "t")), (String::new(), Some(ReplayFrom::Earliest)));
    begin(&database, "t", 0);
    stream.read(&database, "t", 0, 6);
    assert_eq!(text(&database, "SELECT count(*) FROM t"), "(6)");
    run(&database, "ALTER TABLE t RESET OFFSETS TO (0 => 5)");
    assert_eq!(replay(&database, "t"), Some(ReplayFrom::Offsets(BTreeMap::from([(0, 5)]))));
    // A table that is dropped and made anew knows nothing of it.
    run(&database, &format!("DROP TABLE t; CREATE TABLE t (id bigint, v text NOT NULL) {WITH}"));
    assert_eq!(replay(&database, "t"), None);
    stream.read(&database, "t", 0, 1);
}

/// A table of each kind and views that follow it in each way, made anew.
#[test]
fn a_rebuild_changes_rows_offsets_and_views_at_once() {
    for (columns, expected) in [
        ("id bigint PRIMARY KEY, v text NOT NULL", "(1,c) (2,e) (3,d) (4,f)"),
        ("id bigint, v text NOT NULL", "(1,a) (1,c) (2,b) (2,e) (3,d) (4,f)"),
    ] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut database = Database::open(dir.path()).expect("the database opens");
        let stream = stream();
        run(&database, &format!("CREATE TABLE t ({columns}) PARTITION BY (id % 2) {WITH}"));
        run(&database, "CREATE TABLE names (id bigint, name text); INSERT INTO names VALUES (1, 'one'), (2, 'two')");
        let views = [
            ("linear", "SELECT v, count(*) AS n, sum(id) AS s FROM t GROUP BY v"),
            ("joined", "SELECT name, count(*) AS n, max(v) AS v FROM t JOIN names USING (id) GROUP BY name"),
            ("distinct_ids", "SELECT count(DISTINCT id) AS n FROM t"),
        ];
        for (name, query) in views {
            run(&database, &format!("CREATE MATERIALIZED VIEW {name} AS {query}"));
        }
        run(&database, "CREATE MATERIALIZED VIEW stacked AS SELECT n, count(*) AS c FROM linear GROUP BY n");
        stream.read(&database, "t", 0, 5);
        // What no stream would make again.
        run(&database, "DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (9, 'z')");
        run(&database, "ALTER TABLE t REBUILD FROM EARLIEST");
        let live = text(&database, "TABLE t");
        assert_eq!(
            refused(&database, "ALTER TABLE t REBUILD FROM EARLIEST"),
            "cannot rebuild table \"t\" because it is being rebuilt"
        );
        refused(&database, "ALTER TABLE t RESET OFFSETS TO LATEST");
        assert_eq!(text(&database, "SELECT \"table\", begins, rows, behind FROM weir.rebuilds"), "(t,earliest,0,)");
        let into = hidden(&database);
        assert_eq!(replay(&database, &into), Some(ReplayFrom::Earliest));
        assert!(!finish(&database), "it has not begun");
        begin(&database, &into, 0);
        stream.read(&database, &into, 0, 3);
        run(&database, "VACUUM FULL");
        assert_eq!(
            text(&database, "SELECT \"table\", begins, rows > 1 AS r, behind FROM weir.rebuilds"),
            "(t,earliest,t,2)"
        );
        assert!(!finish(&database), "it is not as far");
        database.close().expect("it closes");
        database = Database::open(dir.path()).expect("the database opens");
        // It goes on where it was, and so does the live table.
        assert_eq!((hidden(&database), at(&database, &into)), (into.clone(), vec![(0, 3)]));
        assert_eq!(text(&database, "TABLE t"), live);
        stream.read(&database, &into, 3, 5);
        stream.read(&database, "t", 5, 6);
        assert!(!finish(&database), "the live table went on");
        stream.read(&database, &into, 5, 6);
        let late = stream.batch(&database, "t", 0, 1);
        assert!(finish(&database));
        assert_eq!(text(&database, "TABLE t"), expected);
        for (name, query) in views {
            assert_eq!(text(&database, &format!("TABLE {name}")), text(&database, query), "{name}");
        }
        assert_eq!(text(&database, "TABLE stacked"), text(&database, "SELECT n, count(*) AS c FROM linear GROUP BY n"));
        assert_eq!((database.rebuilds(), at(&database, "t")), (vec![], vec![(0, 6)]));
        assert_eq!(text(&database, "SELECT source, next_offset FROM weir.sources").matches("s:").count(), 1);
        // What the live table's stream had read is refused, and it goes on.
        assert_eq!(replay(&database, "t"), None);
        assert!(database.ingest(late).is_err());
        stream.read(&database, "t", 0, 1);
        database.close().expect("it closes");
        assert_eq!(weir_engine::check(dir.path()).expect("it is checked").damage.len(), 0);
    }
}

#[test]
fn a_rebuild_is_cancelled_and_goes_with_its_table() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let database = Database::open(dir.path()).expect("the database opens");
    let stream = stream();
    run(&database, &format!("CREATE TABLE t (id bigint, v text NOT NULL) {WITH}"));
    run(&database, "CREATE TABLE plain (id bigint)");
    for sql in ["ALTER TABLE plain REBUILD FROM LATEST", "ALTER TABLE plain RESET OFFSETS TO LATEST"] {
        assert!(refused(&database, sql).contains("no stream fills it"));
    }
    assert_eq!(refused(&database, "ALTER TABLE t REBUILD CANCEL"), "table \"t\" is not being rebuilt");
    stream.read(&database, "t", 0, 2);
    assert!(database.execute("ALTER TABLE t REBUILD FROM (1 => 3)").is_err(), "there is no such partition");
    run(&database, "ALTER TABLE t REBUILD FROM (0 => 1)");
    let into = hidden(&database);
    begin(&database, &into, 1);
    stream.read(&database, &into, 1, 2);
    let late = stream.batch(&database, &into, 1, 2);
    run(&database, "ALTER TABLE t REBUILD CANCEL");
    assert!(database.ingest(late).is_err());
    assert_eq!((database.rebuilds(), text(&database, "TABLE t")), (vec![], "(1,a) (2,b)".to_string()));
    // A definition that changes is followed.
    run(&database, "ALTER TABLE t REBUILD FROM LATEST");
    run(&database, "ALTER TABLE t ADD COLUMN more text, DROP COLUMN v");
    let into = hidden(&database);
    database.add_columns(&into, &[("found".to_string(), weir_sql::Type::Text)]).expect("a stream finds a field");
    begin(&database, &into, 6);
    assert!(finish(&database));
    assert_eq!((text(&database, "SELECT count(*) FROM t"), at(&database, "t")), ("(0)".to_string(), vec![(0, 6)]));
    assert_eq!(text(&database, "SELECT name FROM weir.columns WHERE \"table\" = 't'"), "(found) (id) (more)");
    run(&database, "ALTER TABLE t REBUILD FROM EARLIEST");
    run(&database, "DROP TABLE t");
    assert_eq!(database.rebuilds(), vec![]);
}
