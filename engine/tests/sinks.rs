//! Sinks: what a table follows, and the batches for Kafka, which are the same again until they are out.

use std::time::{Duration, Instant};

use arrow::array::AsArray;
use weir_engine::{Database, SinkBatch};

/// A query's rows as text, in order.
fn rows(database: &Database, sql: &str) -> Vec<String> {
    let sql = format!("SELECT q::text FROM ({sql}) q");
    let found = database.query(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let texts = found.batches.iter().flat_map(|batch| batch.column(0).as_string_view().iter());
    texts.map(|text| text.unwrap_or("NULL").to_string()).collect()
}

/// Waits until a query gives these rows.
fn come_to(database: &Database, sql: &str, wanted: &[String]) {
    let started = Instant::now();
    loop {
        let found = rows(database, sql);
        if found == wanted {
            return;
        }
        let sinks = rows(database, "SELECT name, waiting, coalesce(error, '') FROM weir.sinks");
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{sql} is {found:?}, and not {wanted:?}; sinks: {sinks:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn run(database: &Database, statements: &[&str]) {
    for sql in statements {
        database.execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// A batch's records as text: key, then value.
fn records(batch: &SinkBatch) -> Vec<String> {
    let text =
        |part: &Option<Vec<u8>>| part.as_deref().map_or("-".into(), |part| String::from_utf8_lossy(part).into_owned());
    batch.records.iter().map(|record| format!("{} {}", text(&record.key), text(&record.value))).collect()
}

#[test]
fn a_table_follows_a_view_through_all_that_its_input_does() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = Database::open(dir.path()).unwrap();
    run(
        &database,
        &[
            "CREATE TABLE e (id int PRIMARY KEY, k text, v int)",
            "INSERT INTO e SELECT i, 'k' || i % 3, i FROM generate_series(1, 10) i",
            "CREATE MATERIALIZED VIEW m AS SELECT k, count(*) AS n, sum(v) AS s FROM e GROUP BY k HAVING sum(v) > 1",
            "CREATE TABLE o (note text DEFAULT 'of m', s bigint, n int, k text PRIMARY KEY)",
            "CREATE MATERIALIZED VIEW of_o AS SELECT sum(s) AS s FROM o",
            "CREATE SINK so FROM m INTO o",
            "CREATE TABLE keyless (k text, n bigint, s bigint)",
            "CREATE SINK sk FROM m INTO keyless",
        ],
    );
    let followed = |database: &Database| {
        come_to(
            database,
            "SELECT k, n, s, note FROM o ORDER BY k",
            &rows(database, "SELECT k, n, s, 'of m' FROM m ORDER BY k"),
        );
        come_to(database, "SELECT * FROM keyless ORDER BY k", &rows(database, "SELECT * FROM m ORDER BY k"));
        assert_eq!(rows(database, "SELECT s FROM of_o"), rows(database, "SELECT sum(s) FROM o"));
    };
    followed(&database);
    for sql in [
        "INSERT INTO e VALUES (11, 'k1', 100), (12, 'new', 5)",
        "DELETE FROM e WHERE k = 'k2'",
        "UPDATE e SET v = 0 WHERE k = 'new'",
        "INSERT INTO e VALUES (12, 'new', 7) ON CONFLICT (id) DO UPDATE SET v = excluded.v",
        "TRUNCATE e",
        "INSERT INTO e SELECT i, 'k' || i, i FROM generate_series(2, 3000) i",
    ] {
        run(&database, &[sql]);
        followed(&database);
    }
    database.close().unwrap();
    database = Database::open(dir.path()).unwrap();
    run(&database, &["DELETE FROM e WHERE id > 5", "DROP SINK so, sk"]);
    assert_eq!(rows(&database, "SELECT count(*) FROM weir.sinks"), ["(0)"]);
    run(&database, &["CREATE SINK again FROM m INTO o"]);
    come_to(&database, "SELECT waiting FROM weir.sinks", &["(0)".to_string()]);
    // What went while there was no sink stays in the table.
    assert_eq!(rows(&database, "SELECT count(*) FROM o WHERE k IN (SELECT k FROM m)"), ["(4)"]);
    database.close().unwrap();
}

#[test]
fn rows_of_a_query_are_added_once() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).unwrap();
    run(
        &database,
        &[
            "CREATE TABLE e (id int, v int)",
            "INSERT INTO e SELECT i, i FROM generate_series(1, 40000) i",
            "CREATE TABLE log (id int, note text DEFAULT 'x', v bigint)",
            "CREATE SINK doubled AS SELECT id, v * 2 AS v FROM e WHERE v % 2 = 0 INTO log",
            "INSERT INTO e SELECT i, i FROM generate_series(40001, 50000) i",
        ],
    );
    let doubled = "SELECT count(*), count(DISTINCT id), sum(v), min(note) FROM log";
    come_to(&database, doubled, &["(25000,25000,1250050000,x)".to_string()]);
    run(&database, &["ALTER TABLE e ADD COLUMN late int", "INSERT INTO e VALUES (50002, 50002, 1)"]);
    come_to(&database, doubled, &["(25001,25001,1250150004,x)".to_string()]);
    assert_eq!(
        rows(&database, "SELECT reads, writes, mode FROM weir.sinks"),
        ["(public.doubled_query,public.log,append)"]
    );
    run(&database, &["DROP SINK doubled"]);
    let error = database.query("TABLE doubled_query").unwrap_err();
    assert!(error.message.contains("\"doubled_query\" does not exist"), "{error}");
    database.close().unwrap();
}

#[test]
fn a_batch_is_the_same_until_it_is_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = Database::open(dir.path()).unwrap();
    run(
        &database,
        &[
            "CREATE TABLE e (k text, v int)",
            "INSERT INTO e VALUES ('a', 1), ('b', 2)",
            "CREATE MATERIALIZED VIEW m AS SELECT k, sum(v) AS s FROM e GROUP BY k",
            "CREATE SINK changes FROM m INTO KAFKA (topic = changes, brokers 'localhost:1', format json, mode upsert)",
            "CREATE SINK added FROM e WITH (connector = kafka, topic = added, 'properties.bootstrap.servers' = 'localhost:1',
                 snapshot = false, key = k)",
        ],
    );
    let sink = |database: &Database, name: &str| {
        database.sinks().into_iter().find(|sink| sink.name == format!("public.{name}")).expect("the sink is there").oid
    };
    let (changes, added) = (sink(&database, "changes"), sink(&database, "added"));
    let next = |database: &Database, sink: u32, sent: i64| database.sink_batch(sink, sent).unwrap();
    let first = next(&database, changes, 0).expect("what was there is to be sent");
    let mut sorted = records(&first);
    sorted.sort();
    assert_eq!(sorted, [r#"{"k":"a"} {"k":"a","s":1}"#, r#"{"k":"b"} {"k":"b","s":2}"#]);
    assert!(next(&database, added, 0).is_none());
    // Not sent yet: the same keys again, as they are by now, before and after a restart.
    run(
        &database,
        &["INSERT INTO e VALUES ('a', 10), ('c', 5)", "INSERT INTO e VALUES ('c', 6)", "DELETE FROM e WHERE k = 'b'"],
    );
    for _ in 0..2 {
        let again = next(&database, changes, 0).expect("it is not out");
        let mut sorted = records(&again);
        sorted.sort();
        assert_eq!(
            (again.epoch, sorted),
            (first.epoch, vec![r#"{"k":"a"} {"k":"a","s":11}"#.into(), r#"{"k":"b"} -"#.into()])
        );
        database.close().unwrap();
        database = Database::open(dir.path()).unwrap();
    }
    let second = next(&database, changes, first.epoch).expect("more has changed since");
    assert_eq!(second.epoch, first.epoch + 1);
    let mut sorted = records(&second);
    sorted.sort();
    // What changed of a and b went out with the batch that was sent again.
    assert_eq!(sorted, [r#"{"k":"c"} {"k":"c","s":11}"#]);
    assert!(next(&database, changes, second.epoch).is_none());
    assert!(next(&database, changes, second.epoch).is_none());
    // Rows that were added, in their order; what is deleted later was added all the same.
    let rows = next(&database, added, 0).expect("rows were added");
    assert_eq!(
        records(&rows),
        [r#"{"k":"a"} {"k":"a","v":10}"#, r#"{"k":"c"} {"k":"c","v":5}"#, r#"{"k":"c"} {"k":"c","v":6}"#]
    );
    // One that is ahead, since this database is an older copy, is not overtaken.
    run(&database, &["INSERT INTO e VALUES ('d', 1)"]);
    let ahead = next(&database, added, 70).expect("a row was added");
    assert_eq!((ahead.epoch, records(&ahead)), (71, vec![r#"{"k":"d"} {"k":"d","v":1}"#.into()]));
    database.close().unwrap();
}

#[test]
fn an_insert_of_a_stream_into_a_connector_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).unwrap();
    run(
        &database,
        &[
            "CREATE TABLE events (page text, ts timestamp(3)) WITH ('connector' = 'kafka', 'topic' = 'events',
                 'properties.bootstrap.servers' = 'localhost:1', 'format' = 'json')",
            "CREATE TABLE per_minute (page text, views bigint, starts timestamp(3), ends timestamp(3),
                 PRIMARY KEY (page, starts, ends) NOT ENFORCED)
                 WITH ('connector' = 'jdbc', 'url' = 'jdbc:clickhouse://clickhouse:8123/analytics')",
            "INSERT INTO per_minute SELECT page, count(*), TUMBLE_START(ts, INTERVAL '1' MINUTE),
                 TUMBLE_END(ts, INTERVAL '1' MINUTE) FROM events GROUP BY page, TUMBLE(ts, INTERVAL '1' MINUTE)",
            "INSERT INTO events VALUES ('a', '2026-01-01 00:00:10'), ('a', '2026-01-01 00:00:50'), ('b', '2026-01-01 00:01:00')",
        ],
    );
    let expected = [r#"(a,2,"2026-01-01 00:01:00")"#.to_string(), r#"(b,1,"2026-01-01 00:02:00")"#.to_string()];
    come_to(&database, "SELECT page, views, ends FROM per_minute ORDER BY page", &expected);
    // Late, and what is not of a stream is inserted once, as ever.
    run(
        &database,
        &[
            "INSERT INTO events VALUES ('a', '2026-01-01 00:00:01')",
            "INSERT INTO per_minute VALUES ('z', 1, now(), now())",
        ],
    );
    come_to(&database, "SELECT views FROM per_minute ORDER BY page", &["(3)".into(), "(1)".into(), "(1)".into()]);
    assert_eq!(
        rows(&database, "SELECT name, reads FROM weir.sinks"),
        ["(per_minute_sink,public.per_minute_sink_query)"]
    );
    database.close().unwrap();
}

#[test]
fn a_sink_and_rows_of_one_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).unwrap();
    run(&database, &["CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)"]);
    let mut session = database.session();
    for sql in [
        "BEGIN",
        "CREATE TABLE o (id int)",
        "CREATE SINK s FROM t INTO o",
        "INSERT INTO t VALUES (2)",
        "CREATE TABLE made (id int)",
        "CREATE SINK of_made FROM made INTO o",
        "INSERT INTO made VALUES (3)",
        "COMMIT",
        "INSERT INTO t VALUES (4)",
    ] {
        session.execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    come_to(&database, "SELECT * FROM o ORDER BY id", &[1, 2, 3, 4].map(|id| format!("({id})")));
    drop(session);
    database.close().unwrap();
}

#[test]
fn windows_are_sent_once_when_they_close() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = Database::open(dir.path()).unwrap();
    run(
        &database,
        &[
            "CREATE TABLE e (page text, ts timestamp, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
                 WITH ('connector' = 'kafka', 'topic' = 'e', 'properties.bootstrap.servers' = 'localhost:1')",
            "CREATE TABLE out (page text, views bigint, ends timestamp) WITH ('connector' = 'kafka', 'topic' = 'out',
                 'properties.bootstrap.servers' = 'localhost:1', 'format' = 'json')",
            "INSERT INTO out SELECT page, count(*), TUMBLE_END(ts, INTERVAL '1' MINUTE) FROM e
                 GROUP BY page, TUMBLE(ts, INTERVAL '1' MINUTE)",
            "CREATE MATERIALIZED VIEW v AS SELECT window_end, count(*) AS n FROM tumble(e, ts, INTERVAL '1 minute')
                 GROUP BY window_end EMIT ON WINDOW CLOSE",
            "CREATE TABLE closed (window_end timestamp, n bigint)",
            "CREATE SINK to_table FROM v INTO closed",
            "INSERT INTO e VALUES ('a', '2026-01-01 00:00:10'), ('b', '2026-01-01 00:01:04')",
        ],
    );
    assert_eq!(rows(&database, "SELECT name, mode FROM weir.sinks WHERE mode <> 'window close'"), [""; 0]);
    let sink = database.sinks()[0].oid;
    // It is not looked at every moment which windows have closed.
    let next = |database: &Database, sent: i64| {
        let started = Instant::now();
        loop {
            if let Some(batch) = database.sink_batch(sink, sent).unwrap() {
                return batch;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "no window closes after epoch {sent}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // The watermark is one second short of the first window's end.
    assert!(database.sink_batch(sink, 0).unwrap().is_none());
    run(&database, &["INSERT INTO e VALUES ('b', '2026-01-01 00:01:06')"]);
    let first = next(&database, 0);
    let closed = r#"- {"page":"a","views":1,"ends":"2026-01-01 00:01:00"}"#;
    assert_eq!((first.epoch, records(&first)), (1, vec![closed.to_string()]));
    come_to(&database, "SELECT * FROM closed", &[r#"("2026-01-01 00:01:00",1)"#.to_string()]);
    // More closes before that is out: it is the same batch again, and then the next.
    run(&database, &["INSERT INTO e VALUES ('c', '2026-01-01 00:05:00')"]);
    database.close().unwrap();
    database = Database::open(dir.path()).unwrap();
    let again = next(&database, 0);
    assert_eq!((again.epoch, records(&again)), (1, vec![closed.to_string()]));
    let second = next(&database, 1);
    assert_eq!(records(&second), [r#"- {"page":"b","views":2,"ends":"2026-01-01 00:02:00"}"#]);
    // Late: in the view, but the window was sent.
    run(&database, &["INSERT INTO e VALUES ('a', '2026-01-01 00:00:20')"]);
    run(&database, &["INSERT INTO e VALUES ('a', '2026-01-01 00:10:00')"]);
    let third = next(&database, 2);
    assert_eq!(records(&third), [r#"- {"page":"c","views":1,"ends":"2026-01-01 00:06:00"}"#]);
    assert_eq!(rows(&database, "SELECT views FROM out_sink_query WHERE page = 'a' ORDER BY ends LIMIT 1"), ["(2)"]);
    come_to(&database, "SELECT count(*), sum(n) FROM closed", &["(3,4)".to_string()]);
    database.close().unwrap();
}

#[test]
fn a_view_with_emit_every_is_sent_no_more_often() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).unwrap();
    run(
        &database,
        &[
            "CREATE TABLE e (k text)",
            "CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n FROM e GROUP BY k EMIT EVERY '1 hour'",
            "CREATE SINK s FROM v INTO KAFKA (topic t, brokers 'localhost:1')",
            "INSERT INTO e VALUES ('a')",
        ],
    );
    let sink = database.sinks()[0].oid;
    let first = database.sink_batch(sink, 0).unwrap().expect("the first is due at once");
    run(&database, &["INSERT INTO e VALUES ('a')"]);
    assert!(database.sink_batch(sink, first.epoch).unwrap().is_none());
    assert_eq!(rows(&database, "SELECT waiting FROM weir.sinks"), ["(1)"]);
    database.close().unwrap();
}
