//! Alerts: what is true long enough fires once, restarts or not; what fails says why; what webhooks are sent waits in order.

use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use serde_json::Value;
use weir_engine::Database;

/// The one number that a query gives.
fn number(database: &Database, sql: &str) -> i64 {
    let found = database.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    found.batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

/// The one text that a query gives.
fn text(database: &Database, sql: &str) -> String {
    let found = database.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    found.batches[0].column(0).as_string_view().value(0).to_string()
}

/// Waits until something holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what} is not so");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn comes_to(database: &Database, sql: &str, wanted: i64) {
    eventually(&format!("{sql} = {wanted}"), || number(database, sql) == wanted);
}

fn is_in(database: &Database, alert: &str, state: &str) {
    let sql = format!("SELECT state FROM weir.alerts WHERE name = '{alert}'");
    eventually(&format!("{alert} {state}"), || text(database, &sql) == state);
}

/// Waits until an alert was evaluated as things are now.
fn is_evaluated(database: &Database, alert: &str) {
    let now = text(database, "SELECT now()::text");
    comes_to(database, &format!("SELECT count(*) FROM weir.alerts WHERE name = '{alert}' AND checked_at > '{now}'"), 1);
}

fn run(database: &Database, statements: &[&str]) {
    for sql in statements {
        database.execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[test]
fn what_is_true_fires_once_whatever_is_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).unwrap();
    run(
        &database,
        &[
            "CREATE TABLE t (v bigint)",
            "CREATE TABLE seen (v numeric(10,1) PRIMARY KEY, note text DEFAULT 'high')",
            "CREATE MATERIALIZED VIEW noted AS SELECT note, count(*) AS n FROM seen GROUP BY note",
            "INSERT INTO t VALUES (1)",
            "CREATE ALERT high WHEN (SELECT v FROM t WHERE v > 10) EVERY '1 second' THEN INSERT INTO seen (v)",
        ],
    );
    is_evaluated(&database, "high");
    assert_eq!(number(&database, "SELECT count(*) FROM seen"), 0);
    run(&database, &["INSERT INTO t VALUES (11), (12)"]);
    comes_to(&database, "SELECT count(*) FROM seen WHERE note = 'high'", 2);
    is_in(&database, "high", "firing");
    let value = text(&database, "SELECT value::text FROM weir.alerts");
    assert_eq!(value, r#"[{"v": 11}, {"v": 12}]"#);
    // It goes on to be true, of other rows too.
    run(&database, &["INSERT INTO t VALUES (14)"]);
    is_evaluated(&database, "high");
    database.close().unwrap();

    let database = Database::open(dir.path()).unwrap();
    assert_eq!(text(&database, "SELECT state FROM weir.alerts"), "firing");
    is_evaluated(&database, "high");
    assert_eq!(number(&database, "SELECT count(*) FROM seen"), 2);
    run(&database, &["DELETE FROM t WHERE v > 10"]);
    is_in(&database, "high", "ok");
    run(&database, &["INSERT INTO t VALUES (15)"]);
    // Views on the table follow.
    comes_to(&database, "SELECT sum(n)::bigint FROM noted", 3);
    // A backup has the alert and where it is.
    let place = tempfile::tempdir().unwrap();
    let (backup, restored) = (place.path().join("backup"), place.path().join("restored"));
    run(&database, &[&format!("BACKUP DATABASE TO '{}'", backup.display())]);
    run(&database, &[&format!("RESTORE DATABASE FROM '{}' WITH (data = '{}')", backup.display(), restored.display())]);
    database.close().unwrap();
    let database = Database::open(restored).unwrap();
    assert_eq!(text(&database, "SELECT state FROM weir.alerts"), "firing");
    database.close().unwrap();
}

#[test]
fn an_alert_is_pending_until_it_was_true_for_long_enough() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).unwrap();
    run(
        &database,
        &[
            "CREATE TABLE t (v bigint)",
            "CREATE TABLE flags (b boolean)",
            // One boolean in one row means what it says.
            "CREATE ALERT a WHEN (SELECT count(*) > 0 FROM t) EVERY '1 second' FOR '2 seconds' THEN INSERT INTO flags",
        ],
    );
    is_evaluated(&database, "a");
    is_in(&database, "a", "ok");
    run(&database, &["INSERT INTO t VALUES (1)"]);
    is_in(&database, "a", "pending");
    assert_eq!(number(&database, "SELECT count(*) FROM flags"), 0);
    // What is true for a shorter time than that never fires.
    run(&database, &["DELETE FROM t"]);
    is_in(&database, "a", "ok");
    assert_eq!(number(&database, "SELECT count(*) FROM flags"), 0);
    run(&database, &["INSERT INTO t VALUES (1)"]);
    is_in(&database, "a", "firing");
    assert_eq!(number(&database, "SELECT count(*) FROM flags WHERE b"), 1);
    database.close().unwrap();
}

#[test]
fn one_that_cannot_be_evaluated_says_why_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).unwrap();
    run(
        &database,
        &[
            "CREATE TABLE t (v bigint)",
            "CREATE TABLE log (n bigint NOT NULL)",
            "INSERT INTO t VALUES (0)",
            "CREATE ALERT a WHEN (SELECT 100 / v AS n FROM t) EVERY '1 second' THEN INSERT INTO log",
        ],
    );
    is_in(&database, "a", "error");
    assert_eq!(text(&database, "SELECT error FROM weir.alerts"), "division by zero");
    // It could be evaluated, but what it is to do cannot be done: it does not fire.
    run(&database, &["UPDATE t SET v = NULL"]);
    let violated = "SELECT count(*) FROM weir.alerts WHERE state = 'error' AND error LIKE '%not-null constraint%'";
    comes_to(&database, violated, 1);
    run(&database, &["UPDATE t SET v = 4"]);
    is_in(&database, "a", "firing");
    assert_eq!(number(&database, "SELECT n FROM log"), 25);
    assert_eq!(number(&database, "SELECT count(*) FROM weir.alerts WHERE error IS NULL"), 1);
    database.close().unwrap();
}

#[test]
fn a_value_far_from_the_usual_fires() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).unwrap();
    run(
        &database,
        &[
            "CREATE TABLE events (minute bigint, host text)",
            "CREATE TABLE found (minute bigint, n bigint)",
            "CREATE MATERIALIZED VIEW per_minute AS SELECT minute, count(*) AS n FROM events GROUP BY minute",
            "INSERT INTO events SELECT m, 'a' FROM generate_series(1, 20) m, generate_series(1, 10 + m % 3)",
            "CREATE ALERT spike WHEN (
                SELECT minute, n FROM (
                    SELECT minute, n, zscore(n) OVER (ORDER BY minute ROWS BETWEEN 10 PRECEDING AND 1 PRECEDING) AS z FROM per_minute
                ) AS s WHERE z > 6
            ) EVERY '1 second' THEN INSERT INTO found",
        ],
    );
    is_evaluated(&database, "spike");
    is_in(&database, "spike", "ok");
    run(&database, &["INSERT INTO events SELECT 21, 'b' FROM generate_series(1, 90)"]);
    comes_to(&database, "SELECT count(*) FROM found WHERE minute = 21 AND n = 90", 1);
    database.close().unwrap();
}

#[test]
fn deliveries_wait_in_order_until_someone_takes_them() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).unwrap();
    run(
        &database,
        &[
            "CREATE TABLE t (v bigint, ts timestamptz)",
            "INSERT INTO t VALUES (7, '2024-01-01')",
            "CREATE ALERT a WHEN (SELECT v, ts FROM t) EVERY '1 second' THEN WEBHOOK 'http://one', WEBHOOK 'http://two'",
        ],
    );
    let waiting = "SELECT deliveries_pending FROM weir.alerts";
    comes_to(&database, waiting, 2);
    run(&database, &["TRUNCATE TABLE t"]);
    comes_to(&database, waiting, 4);
    database.close().unwrap();

    let database = Database::open(dir.path()).unwrap();
    let due = database.due_deliveries().unwrap();
    let urls: Vec<&str> = due.iter().map(|delivery| delivery.url.as_str()).collect();
    assert_eq!(urls, ["http://one", "http://two"], "the second to each waits for the first");
    let body: Value = serde_json::from_str(&due[0].body).unwrap();
    assert_eq!((&body["status"], &body["alert"], &body["version"]), (&"firing".into(), &"a".into(), &"4".into()));
    assert_eq!(body["value"].to_string(), r#"[{"v":7,"ts":"2024-01-01T00:00:00+00:00"}]"#);
    let started = body["alerts"][0]["startsAt"].clone();
    database.fail_delivery(&due[0], "connection refused").unwrap();
    database.acknowledge_delivery(&due[1]).unwrap();
    // The one that failed is due again after a pause, with the same id; of the other the next is due.
    assert_eq!(text(&database, "SELECT delivery_error FROM weir.alerts"), "connection refused");
    let next = database.due_deliveries().unwrap().into_iter().find(|delivery| delivery.url == "http://two").unwrap();
    let body: Value = serde_json::from_str(&next.body).unwrap();
    assert_eq!((&body["status"], &body["value"]), (&"resolved".into(), &Value::Array(Vec::new())));
    assert_eq!(body["alerts"][0]["startsAt"], started);
    assert_eq!(body["alerts"][0]["endsAt"], body["since"]);
    database.acknowledge_delivery(&next).unwrap();
    let mut again = None;
    eventually("it is due again", || {
        again = database.due_deliveries().unwrap().into_iter().next();
        again.is_some()
    });
    assert_eq!(again.as_ref(), Some(&due[0]));
    database.acknowledge_delivery(&due[0]).unwrap();
    comes_to(&database, waiting, 1);
    // One that is firing and disabled is resolved; one that is dropped sends nothing more.
    run(&database, &["INSERT INTO t VALUES (8, NULL)"]);
    comes_to(&database, waiting, 3);
    run(&database, &["ALTER ALERT a DISABLE"]);
    comes_to(&database, waiting, 5);
    run(&database, &["ALTER ALERT a ENABLE"]);
    comes_to(&database, waiting, 7);
    run(&database, &["DROP ALERT a"]);
    assert_eq!(database.due_deliveries().unwrap(), []);
    assert_eq!(number(&database, "SELECT count(*) FROM weir.alerts"), 0);
    database.close().unwrap();
}
