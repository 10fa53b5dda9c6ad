//! Watermarks: the least of a table's partitions, kept across restarts, never going back, without those that are idle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, TimestampMicrosecondArray};
use weir_engine::ingest::RowOrigin;
use weir_engine::{Database, IngestBatch, SourceOffset};

/// The rows of a query, each as text.
fn rows(database: &Database, sql: &str) -> Vec<String> {
    let result = database.query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let texts = result.batches.iter().flat_map(|batch| batch.column(0).as_string_view().iter());
    texts.map(|text| text.unwrap_or("NULL").to_string()).collect()
}

/// Source, partition and minute of each partition, and that of the table.
fn watermarks(database: &Database) -> Vec<String> {
    let minute = |column: &str| format!("coalesce(to_char({column}, 'MI:SS'), '-')");
    let sql = format!(
        "SELECT CASE source WHEN '' THEN 'sql' ELSE 'kafka' END || ' ' || partition || ' ' || {} || ' ' || {} FROM weir.watermarks
         WHERE \"table\" = 't' ORDER BY source, partition",
        minute("watermark"),
        minute("table_watermark")
    );
    rows(database, &sql)
}

/// What a stream brings: ids, minutes and the runs of partitions.
fn batch(database: &Database, minutes: &[Option<i64>], origins: &[(i32, usize)], partitions: &[i32]) -> IngestBatch {
    let target = database.ingest_target("t").expect("the table is there");
    let times = minutes.iter().map(|minute| minute.map(|minute| minute * 60_000_000));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(0..minutes.len() as i32)),
        Arc::new(TimestampMicrosecondArray::from_iter(times)),
    ];
    let offset = |partition: &i32| SourceOffset { source: format!("s:{}", target.oid), partition: *partition, next: 1 };
    IngestBatch {
        table: target.table.clone(),
        rows: match minutes {
            [] => Vec::new(),
            _ => vec![RecordBatch::try_new(target.schema.clone(), columns).expect("the rows fit")],
        },
        origins: origins.iter().map(|&(partition, rows)| RowOrigin { partition, rows }).collect(),
        offsets: partitions.iter().map(offset).collect(),
        ..IngestBatch::default()
    }
}

const TABLE: &str = "CREATE TABLE t (id int, ts timestamp, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')";

#[test]
fn a_table_comes_as_far_as_its_slowest_partition() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::open(folder.path()).expect("it opens");
    database.execute(TABLE).expect("a table");
    // All are known from the start: nothing is through before each has given a row.
    database.ingest(batch(&database, &[], &[], &[0, 1, 2])).expect("offsets");
    assert_eq!(watermarks(&database), ["kafka 0 - -", "kafka 1 - -", "kafka 2 - -"]);
    let minutes = [Some(10), Some(3), None, Some(20), Some(11)];
    database.ingest(batch(&database, &minutes, &[(0, 1), (1, 3), (0, 1)], &[0, 1])).expect("rows");
    assert_eq!(watermarks(&database), ["kafka 0 10:55 -", "kafka 1 19:55 -", "kafka 2 - -"]);
    // A row without a time brings nothing.
    database.ingest(batch(&database, &[None], &[(2, 1)], &[2])).expect("rows");
    assert_eq!(watermarks(&database)[2], "kafka 2 - -");
    let bulk = IngestBatch { bulk: true, ..batch(&database, &[Some(8), Some(15)], &[(2, 2)], &[2]) };
    database.ingest(bulk).expect("rows");
    assert_eq!(watermarks(&database), ["kafka 0 10:55 10:55", "kafka 1 19:55 10:55", "kafka 2 14:55 10:55"]);
    // What comes late takes nothing back.
    database.ingest(batch(&database, &[Some(1)], &[(0, 1)], &[0])).expect("rows");
    assert_eq!(watermarks(&database)[0], "kafka 0 10:55 10:55");
    // INSERT is a partition of its own, which may be behind.
    database.execute("INSERT INTO t VALUES (1, '1970-01-01 00:02:00')").expect("a row");
    let all = ["sql 0 01:55 10:55", "kafka 0 10:55 10:55", "kafka 1 19:55 10:55", "kafka 2 14:55 10:55"];
    assert_eq!(watermarks(&database), all);
    database.close().expect("it closes");

    let database = Database::open(folder.path()).expect("it opens again");
    assert_eq!(watermarks(&database), all);
    database.execute("BEGIN; INSERT INTO t VALUES (1, '1970-01-01 00:50:00'); ROLLBACK").expect("nothing");
    assert_eq!(watermarks(&database), all);
    database.execute("TRUNCATE t").expect("no rows");
    // The stream goes on.
    assert_eq!(watermarks(&database), ["kafka 0 - -", "kafka 1 - -", "kafka 2 - -"]);
    database.execute("INSERT INTO t VALUES (1, '1970-01-01 00:02:00'), (2, NULL)").expect("rows");
    assert_eq!(watermarks(&database)[0], "sql 0 01:55 -");
    database.execute("DROP TABLE t").expect("it is gone");
    database.execute(TABLE).expect("another table");
    assert!(watermarks(&database).is_empty());
}

#[test]
fn a_partition_that_is_idle_holds_no_other_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::open(folder.path()).expect("it opens");
    let options = "WITH ('scan.watermark.idle-timeout' = '300 ms')";
    database.execute(&format!("{TABLE} {options}")).expect("a table");
    database.ingest(batch(&database, &[Some(10), Some(20)], &[(0, 1), (1, 1)], &[0, 1])).expect("rows");
    let idle = "SELECT string_agg(idle::text, ' ' ORDER BY partition) FROM weir.watermarks";
    // Rows of the second come on; the first is waited for no longer.
    let (mut minute, end) = (20, Instant::now() + Duration::from_secs(60));
    while watermarks(&database)[0] != format!("kafka 0 09:55 {:02}:55", minute - 1) {
        assert!(Instant::now() < end, "{:?}", watermarks(&database));
        minute = (minute + 1).min(40);
        database.ingest(batch(&database, &[Some(minute)], &[(1, 1)], &[1])).expect("a row");
        std::thread::sleep(Duration::from_millis(20));
    }
    let reached = watermarks(&database)[1][8..13].to_string();
    // Its next row counts again, and takes nothing back.
    database.ingest(batch(&database, &[Some(11)], &[(0, 1)], &[0])).expect("a row");
    assert_eq!(watermarks(&database)[0], format!("kafka 0 10:55 {reached}"));
    // All are idle: the greatest is what there is.
    database.ingest(batch(&database, &[Some(50)], &[(1, 1)], &[1])).expect("a row");
    while watermarks(&database)[1] != "kafka 1 49:55 49:55" {
        assert!(Instant::now() < end, "{:?}", watermarks(&database));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(rows(&database, idle)[0].starts_with("true"));
}

#[test]
fn commits_at_the_same_time_take_nothing_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::open(folder.path()).expect("it opens");
    database.execute(TABLE).expect("a table");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let database = &database;
            scope.spawn(move || {
                for row in 0..50 {
                    let sql =
                        format!("INSERT INTO t VALUES (1, timestamp '1970-01-01' + INTERVAL '{} s')", row * 4 + writer);
                    database.execute(&sql).expect("a row");
                }
            });
        }
    });
    assert_eq!(watermarks(&database), ["sql 0 03:14 03:14"]);
}
