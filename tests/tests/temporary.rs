//! Temporary tables: one session's own, and gone with it.

use std::process::Command;
use std::time::Duration;

use weir_tests::process::{Server, eventually, rows, value};

const LEFT: &str = "SELECT count(*) FROM pg_class WHERE relname IN ('own', 'big')";

#[test]
fn a_temporary_table_is_seen_by_its_session_and_goes_with_it() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let (mut first, mut second) = (server.connect(), server.connect());
    first.batch_execute("CREATE TABLE own (a text); INSERT INTO own VALUES ('shared')").expect("a table for all");
    first.batch_execute("CREATE TEMPORARY TABLE own (a int); INSERT INTO own VALUES (1), (2)").expect("and one's own");
    first
        .batch_execute("CREATE TEMP TABLE big AS SELECT i FROM generate_series(1, 100000) AS g (i)")
        .expect("a big one");
    assert_eq!(rows(&mut first, "SELECT a FROM own ORDER BY a"), [["1"], ["2"]]);
    assert_eq!(value(&mut first, "SELECT sum(i) FROM big"), "5000050000");
    assert_eq!(rows(&mut second, "SELECT a FROM own"), [["shared"]]);
    assert!(second.simple_query("SELECT * FROM big").is_err());
    // Another session has a table of the same name.
    second.batch_execute("CREATE TEMP TABLE own AS SELECT 7 AS a").expect("its own");
    assert_eq!(rows(&mut second, "SELECT a FROM own"), [["7"]]);
    assert_eq!(value(&mut second, LEFT), "4");
    drop(first);
    eventually("the session's tables are gone", Duration::from_secs(30), || value(&mut second, LEFT) == "2");
    assert_eq!(rows(&mut second, "DROP TABLE own; SELECT a FROM own"), [["shared"]]);
}

#[test]
fn temporary_tables_do_not_survive_a_crash() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    client.batch_execute("CREATE TEMP TABLE own AS SELECT 1 AS a").expect("a temporary table");
    assert_eq!(value(&mut client, LEFT), "1");
    let killed = Command::new("kill").args(["-9", &server.pid().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    server.kill();
    let server = Server::start(data.path());
    let mut client = server.connect();
    assert_eq!(value(&mut client, LEFT), "0");
    assert_eq!(value(&mut client, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pg_temp%'"), "0");
}

#[test]
fn a_temporary_table_is_a_table() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    client.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").expect("a table for all");
    client.batch_execute("CREATE TEMP TABLE t (b text); INSERT INTO t VALUES ('mine')").expect("one's own before it");
    assert_eq!(rows(&mut client, "SELECT * FROM t"), [["mine"]]);
    assert_eq!(rows(&mut client, "SELECT * FROM pg_temp.t"), [["mine"]]);
    assert_eq!(rows(&mut client, "SELECT * FROM public.t"), [["1"]]);
    let code = |client: &mut postgres::Client, sql: &str| {
        let error = client.batch_execute(sql).expect_err(sql);
        error.code().expect("the server says why").code().to_string()
    };
    assert_eq!(code(&mut client, "CREATE TEMP TABLE t (c int)"), "42P07");
    client.batch_execute("CREATE TEMP TABLE IF NOT EXISTS t (c int)").expect("it is there");
    client.batch_execute("UPDATE t SET b = 'changed'; ALTER TABLE t ADD COLUMN n int DEFAULT 5").expect("it changes");
    assert_eq!(rows(&mut client, "SELECT * FROM t"), [["changed", "5"]]);
    assert_eq!(value(&mut client, "SELECT relpersistence FROM pg_class WHERE oid = 't'::regclass"), "t");
    client.batch_execute("CREATE VIEW v AS SELECT b FROM t").expect("a temporary view");
    assert_eq!(rows(&mut client, "SELECT * FROM v"), [["changed"]]);
    assert!(server.connect().simple_query("SELECT * FROM v").is_err());
    assert_eq!(code(&mut client, "CREATE VIEW public.w AS SELECT b FROM t"), "42P16");
    client
        .batch_execute("CREATE OR REPLACE TEMP VIEW v AS SELECT b, 1 AS one FROM t; DROP VIEW v")
        .expect("it changes");
    assert_eq!(code(&mut client, "CREATE MATERIALIZED VIEW v AS SELECT b, count(*) FROM t GROUP BY b"), "0A000");
    client.batch_execute("CREATE TEMP TABLE keyed (k int PRIMARY KEY, v text)").expect("with a key");
    let upsert = "INSERT INTO keyed VALUES (1, 'a') ON CONFLICT (k) DO UPDATE SET v = keyed.v || excluded.v";
    client.batch_execute(&format!("{upsert}; {upsert}")).expect("an upsert");
    assert_eq!(rows(&mut client, "SELECT * FROM keyed"), [["1", "aa"]]);
    client.batch_execute("BEGIN; CREATE TEMP TABLE undone (a int); INSERT INTO undone VALUES (1)").expect("in a block");
    assert_eq!(value(&mut client, "SELECT count(*) FROM undone"), "1");
    client.batch_execute("ROLLBACK").expect("it ends");
    assert_eq!(code(&mut client, "SELECT * FROM undone"), "42P01");
    client.batch_execute("DROP TABLE t").expect("it goes");
    assert_eq!(rows(&mut client, "SELECT * FROM t"), [["1"]]);
}

#[test]
fn a_commit_takes_what_on_commit_says() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    let missing = |client: &mut postgres::Client, sql: &str| {
        client.simple_query(sql).expect_err(sql).code().expect("the server says why").code() == "42P01"
    };
    client.batch_execute("CREATE TEMP TABLE gone (a int) ON COMMIT DROP").expect("made, and gone at once");
    assert!(missing(&mut client, "SELECT * FROM gone"));
    client.batch_execute("BEGIN; CREATE TEMP TABLE gone ON COMMIT DROP AS SELECT 1 AS a").expect("made");
    assert_eq!(rows(&mut client, "SELECT a FROM gone"), [["1"]]);
    client.batch_execute("COMMIT").expect("it ends");
    assert!(missing(&mut client, "SELECT * FROM gone"));
    client.batch_execute("BEGIN; CREATE TEMP TABLE gone (a int) ON COMMIT DROP; ROLLBACK").expect("undone");
    client.batch_execute("CREATE TEMP TABLE gone AS SELECT 2 AS a").expect("another of the name");
    client.batch_execute("INSERT INTO gone VALUES (3)").expect("which stays");
    assert_eq!(value(&mut client, "SELECT sum(a) FROM gone"), "5");
    client.batch_execute("CREATE TEMP TABLE empty (a int) ON COMMIT DELETE ROWS").expect("made");
    client.batch_execute("INSERT INTO empty VALUES (1)").expect("a transaction of its own");
    assert_eq!(value(&mut client, "SELECT count(*) FROM empty"), "0");
    client.batch_execute("BEGIN; INSERT INTO empty VALUES (1), (2)").expect("two rows");
    assert_eq!(value(&mut client, "SELECT count(*) FROM empty"), "2");
    client.batch_execute("COMMIT").expect("it ends");
    assert_eq!(value(&mut client, "SELECT count(*) FROM empty"), "0");
    let error = client.batch_execute("CREATE TABLE kept (a int) ON COMMIT DROP").expect_err("it is not temporary");
    assert_eq!(error.code().expect("the server says why").code(), "42P16");
}
