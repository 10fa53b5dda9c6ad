//! REFRESH EVERY: what is due is refreshed by itself, before and after a restart, and what fails says why.

use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use weir_engine::Database;

/// The one number that a query gives.
fn number(database: &Database, sql: &str) -> i64 {
    let found = database.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    found.batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

/// Waits until a query gives this number.
fn comes_to(database: &Database, sql: &str, wanted: i64) {
    let started = Instant::now();
    loop {
        let found = number(database, sql);
        if found == wanted {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{sql} is {found}, and not {wanted}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn views_are_refreshed_when_they_are_due() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(dir.path()).unwrap();
    database.execute("CREATE TABLE t (v bigint)").unwrap();
    database.execute("INSERT INTO t VALUES (1), (2)").unwrap();
    let sql =
        "CREATE MATERIALIZED VIEW most REFRESH EVERY 1 SECOND AS SELECT max(1000 / v) OVER () AS most FROM t LIMIT 1";
    database.execute(sql).unwrap();
    assert_eq!(number(&database, "SELECT most FROM most"), 1000);
    database.execute("DELETE FROM t WHERE v = 1").unwrap();
    comes_to(&database, "SELECT most FROM most", 500);
    // One that fails keeps its rows and says why, until it works again.
    let failed = "SELECT count(*) FROM weir.views WHERE error LIKE '%division by zero%'";
    database.execute("INSERT INTO t VALUES (0)").unwrap();
    comes_to(&database, failed, 1);
    assert_eq!(number(&database, "SELECT most FROM most"), 500);
    database.execute("UPDATE t SET v = 4 WHERE v = 0").unwrap();
    comes_to(&database, failed, 0);
    assert_eq!(number(&database, "SELECT most FROM most"), 500);
    database.close().unwrap();
    let database = Database::open(dir.path()).unwrap();
    assert_eq!(number(&database, "SELECT most FROM most"), 500);
    database.execute("INSERT INTO t VALUES (1)").unwrap();
    comes_to(&database, "SELECT most FROM most", 1000);
    database.close().unwrap();
}
