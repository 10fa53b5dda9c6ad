//! Views that leave late rows out: by the watermark of all partitions, after a restart, in bulk, and with commits at the same time.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use weir_engine::ingest::RowOrigin;
use weir_engine::{Database, IngestBatch, SourceOffset};

fn number(database: &Database, sql: &str) -> i64 {
    let found = database.query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    found.batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

/// Minutes and counts of the view's windows, in one text.
fn shown(database: &Database, view: &str) -> String {
    let sql =
        format!("SELECT coalesce(string_agg(to_char(minute, 'MI') || '=' || n, ' ' ORDER BY minute), '') FROM {view}");
    database.query(&sql).expect(&sql).batches[0].column(0).as_string_view().value(0).to_string()
}

/// What a stream brings: seconds of each row, by partition.
fn batch(database: &Database, rows: &[(i32, i64)], bulk: bool) -> IngestBatch {
    let target = database.ingest_target("t").expect("the table is there");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|(partition, _)| *partition))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|(_, second)| second * 1_000_000))),
    ];
    let offset = |partition: i32| SourceOffset { source: format!("s:{}", target.oid), partition, next: 1 };
    IngestBatch {
        table: target.table.clone(),
        rows: vec![RecordBatch::try_new(target.schema.clone(), columns).expect("the rows fit")],
        origins: rows.iter().map(|(partition, _)| RowOrigin { partition: *partition, rows: 1 }).collect(),
        offsets: vec![offset(0), offset(1)],
        bulk,
        ..IngestBatch::default()
    }
}

const TABLE: &str = "CREATE TABLE t (p int, ts timestamp, WATERMARK FOR ts AS ts)";
const QUERY: &str = "SELECT date_trunc('minute', ts) AS minute, count(*) AS n FROM t GROUP BY 1";

#[test]
fn closed_windows_stay_closed() {
    for bulk in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::open(folder.path()).expect("it opens");
        database.execute(TABLE).expect("a table");
        database.execute(&format!("CREATE MATERIALIZED VIEW v WITH (late = side('late')) AS {QUERY}")).expect("a view");
        database.execute(&format!("CREATE MATERIALIZED VIEW closed AS {QUERY} EMIT ON WINDOW CLOSE")).expect("a view");
        let ingest = |database: &Database, rows: &[(i32, i64)]| {
            database.ingest(batch(database, rows, bulk)).expect("rows");
        };
        ingest(&database, &[(0, 10), (0, 130)]);
        // The other partition is behind: nothing is late, nothing is closed.
        ingest(&database, &[(0, 20), (0, 190)]);
        assert_eq!((shown(&database, "v"), shown(&database, "closed")), ("00=2 02=1 03=1".into(), String::new()));
        ingest(&database, &[(1, 30), (1, 70)]);
        assert_eq!((shown(&database, "v"), shown(&database, "closed")), ("00=3 01=1 02=1 03=1".into(), "00=3".into()));
        // Of the rows of one commit one is late.
        ingest(&database, &[(0, 40), (1, 80)]);
        let after = |database: &Database| {
            (shown(database, "v"), shown(database, "closed"), number(database, "SELECT count(*) FROM late"))
        };
        assert_eq!(after(&database), ("00=3 01=2 02=1 03=1".into(), "00=4".into(), 1));
        database.close().expect("it closes");

        let database = Database::open(folder.path()).expect("it opens again");
        assert_eq!(after(&database), ("00=3 01=2 02=1 03=1".into(), "00=4".into(), 1));
        ingest(&database, &[(1, 59), (0, 60), (0, 0)]);
        assert_eq!(after(&database), ("00=3 01=3 02=1 03=1".into(), "00=6".into(), 3));
        assert_eq!(number(&database, "SELECT late_rows FROM weir.views WHERE name = 'v'"), 3);
        database.execute("DELETE FROM t WHERE ts < '1970-01-01 00:01:10'").expect("rows go");
        assert_eq!(after(&database), ("00=3 01=2 02=1 03=1".into(), String::new(), 3));
        database.close().expect("it closes");
    }
}

#[test]
fn a_row_is_in_the_view_or_put_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::open(folder.path()).expect("it opens");
    database.execute(TABLE).expect("a table");
    database.execute(&format!("CREATE MATERIALIZED VIEW v WITH (late = side('late')) AS {QUERY}")).expect("a view");
    std::thread::scope(|scope| {
        for writer in 0..4i64 {
            let database = &database;
            scope.spawn(move || {
                for step in 0..40i64 {
                    // Each goes on by half a minute, and back by up to three.
                    let second = 600 + step * 30 - (step * 7 + writer * 5) % 180;
                    let sql =
                        format!("INSERT INTO t VALUES ({writer}, timestamp '1970-01-01' + INTERVAL '{second} s')");
                    database.execute(&sql).expect("a row");
                }
            });
        }
    });
    let aside = number(&database, "SELECT count(*) FROM late");
    assert!(aside > 0);
    assert_eq!(number(&database, "SELECT sum(n)::bigint FROM v") + aside, 160);
    assert_eq!(number(&database, "SELECT late_rows FROM weir.views WHERE name = 'v'"), aside);
}
