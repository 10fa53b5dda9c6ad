//! Definitions and partitions change while rows come in: none is lost, none is wrong, and what goes is gone from the disk soon.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use weir_tests::process::{Server, eventually, explain, rows, value};

/// Writers that insert `(id, ts, v)` until they are told to stop; how many rows were acknowledged.
struct Ingest<'a> {
    server: &'a Server,
    stop: AtomicBool,
    acknowledged: AtomicI64,
}

impl Ingest<'_> {
    fn write(&self, thread: i64) {
        let mut client = self.server.connect();
        let mut n = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let id = thread * 1_000_000 + n;
            let sql = format!("INSERT INTO t (id, ts, v) VALUES ({id}, now(), {}), ({id}, now(), {})", n % 7, n % 11);
            client.batch_execute(&sql).unwrap_or_else(|e| panic!("{sql}: {}", explain(&e)));
            self.acknowledged.fetch_add(2, Ordering::Relaxed);
            n += 1;
        }
    }
}

/// Runs `work` while three threads insert; gives the number of rows that were acknowledged.
fn under_ingest(server: &Server, work: impl FnOnce()) -> i64 {
    let ingest = Ingest { server, stop: AtomicBool::new(false), acknowledged: AtomicI64::new(0) };
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let ingest = &ingest;
            scope.spawn(move || ingest.write(thread));
        }
        // Stops the writers whatever happens, or the scope would never end.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&ingest.stop);
        eventually("the writers write", Duration::from_secs(30), || ingest.acknowledged.load(Ordering::Relaxed) > 20);
        work();
        let so_far = ingest.acknowledged.load(Ordering::Relaxed);
        eventually("the writers go on", Duration::from_secs(30), || {
            ingest.acknowledged.load(Ordering::Relaxed) > so_far + 20
        });
    });
    ingest.acknowledged.load(Ordering::Relaxed)
}

#[test]
fn columns_change_under_ingest_and_no_row_is_lost() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id int, ts timestamptz, v int) ORDER BY id;
             CREATE MATERIALIZED VIEW per_v AS SELECT v, count(*) AS n FROM t GROUP BY v",
        )
        .expect("it is made");
    let acknowledged = under_ingest(&server, || {
        for sql in [
            "ALTER TABLE t ADD COLUMN tag text DEFAULT 'none'",
            "ALTER TABLE t ADD COLUMN n bigint FIRST",
            "ALTER TABLE t ALTER COLUMN id TYPE bigint",
            "ALTER TABLE t ALTER COLUMN tag TYPE varchar(10) USING tag || '!'",
            "ALTER TABLE t ALTER COLUMN id SET NOT NULL, ALTER COLUMN n SET DEFAULT 5",
            "ALTER TABLE t DROP COLUMN n",
            "ALTER TABLE t ADD COLUMN r double precision DEFAULT random()",
        ] {
            client.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {}", weir_tests::process::explain(&e)));
        }
    });
    let counts = "SELECT count(*), count(id), count(tag), count(r), count(DISTINCT id) * 2 FROM t";
    let check = |client: &mut postgres::Client| {
        client.batch_execute("SET weir.view_rewrite = off").expect("the table itself is asked");
        let all = acknowledged.to_string();
        assert_eq!(rows(client, counts), [vec![all.clone(), all.clone(), all.clone(), all.clone(), all]]);
        assert_eq!(
            rows(client, "SELECT v, count(*) FROM t GROUP BY v ORDER BY v"),
            rows(client, "SELECT v, n FROM per_v ORDER BY v")
        );
    };
    check(&mut client);
    drop(client);
    server.stop();
    let server = Server::start(data.path());
    check(&mut server.connect());
}

fn part_bytes(data: &Path) -> u64 {
    let files = std::fs::read_dir(data.join("parts")).expect("the folder is there");
    files.filter_map(|file| file.ok()?.metadata().ok()).map(|file| file.len()).sum()
}

#[test]
fn a_dropped_partition_frees_its_space_under_ingest() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id bigint, ts timestamptz, v bigint) PARTITION BY toYYYYMM(ts) ORDER BY id;
             INSERT INTO t SELECT i, '2020-01-15', (random() * 1e18)::bigint FROM generate_series(1, 1000000) AS i",
        )
        .expect("it is made");
    eventually("a million rows are in parts", Duration::from_secs(60), || part_bytes(data.path()) > 6_000_000);
    let acknowledged = under_ingest(&server, || {
        client.batch_execute("ALTER TABLE t DROP PARTITION 202001").expect("it goes");
        assert_eq!(value(&mut client, "SELECT count(*) FROM t WHERE ts < '2021-01-01'"), "0");
        eventually("the space is free", Duration::from_secs(60), || part_bytes(data.path()) < 1_000_000);
    });
    assert_eq!(value(&mut client, "SELECT count(*) FROM t"), acknowledged.to_string());
}

#[test]
fn a_row_past_its_ttl_is_in_no_answer_under_ingest() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    client.batch_execute("CREATE TABLE t (id bigint, ts timestamptz, v bigint) ORDER BY id").expect("it is made");
    let acknowledged = under_ingest(&server, || {
        client.batch_execute("ALTER TABLE t MODIFY TTL ts + INTERVAL 2 SECOND").expect("it has a TTL");
        for _ in 0..40 {
            // now() is the statement's time, and the TTL goes by it.
            let expired = "SELECT count(*) FROM t WHERE ts + INTERVAL '2 seconds' <= now()";
            assert_eq!(value(&mut client, expired), "0");
            let sql = "SELECT count(*) FROM t WHERE id >= 0 AND v >= 0 AND ts <= now() - INTERVAL '2 seconds'";
            assert_eq!(value(&mut client, sql), "0");
        }
    });
    assert!(acknowledged > 0);
    eventually("all rows have expired", Duration::from_secs(20), || {
        value(&mut client, "SELECT count(*) FROM t") == "0"
    });
}

#[test]
fn expired_rows_are_rolled_up_under_ingest_and_none_is_lost() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    let ttl = "ts + INTERVAL 1 SECOND GROUP BY v SET n = sum(n), ts = max(ts)";
    let table = format!("CREATE TABLE t (id bigint, ts timestamptz, v int, n bigint DEFAULT 1) ORDER BY v TTL {ttl}");
    client.batch_execute(&table).expect("the table is made");
    let acknowledged = under_ingest(&server, || {
        eventually("rows of one value become one", Duration::from_secs(60), || {
            value(&mut client, "SELECT coalesce(max(n), 0) > 20 FROM t") == "t"
        });
    });
    let sum = "SELECT sum(n) FROM t";
    assert_eq!(value(&mut client, sum), acknowledged.to_string(), "every row is counted once");
    // What is due when the server dies is done when it is back.
    server.kill();
    let server = Server::start(data.path());
    let mut client = server.connect();
    eventually("one row a value is left", Duration::from_secs(60), || {
        assert_eq!(value(&mut client, sum), acknowledged.to_string(), "every row is counted once");
        value(&mut client, "SELECT count(*) <= 11 FROM t") == "t"
    });
}

#[test]
fn show_create_gives_a_statement_that_makes_the_same_table() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    let tables = [
        "CREATE TABLE t (id bigint PRIMARY KEY, \"Name\" text NOT NULL DEFAULT 'it''s', at date, tags int[])
         PARTITION BY date_trunc('month', at) TTL at + INTERVAL 1 YEAR, at + INTERVAL 1 DAY DELETE WHERE \"Name\" = 'x'
         WITH ('on_conflict' = 'ignore')",
        "CREATE TABLE t (k UInt64, at DateTime64(3), v Nullable(Float64) CODEC(Delta, ZSTD(3)), s String TTL at + INTERVAL 7 DAY,
         INDEX i (v) TYPE minmax GRANULARITY 4, INDEX w s TYPE ngrambf_v1(3, 512, 2, 7), INDEX u lower(s) TYPE set(100))
         ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (k, at)
         TTL at + INTERVAL 1 MONTH WHERE k > 1 GROUP BY k SET v = max(v), at = max(at)",
        "CREATE TABLE t (k int, n int, m int, low SimpleAggregateFunction(min, int)) ENGINE = SummingMergeTree(n) ORDER BY k",
        "CREATE TABLE t (k int, v bigint, d UInt8) ENGINE = ReplacingMergeTree(v, d) ORDER BY k",
        "CREATE TABLE t (k int, x int, s Int8, v UInt32) ENGINE = VersionedCollapsingMergeTree(s, v) ORDER BY k",
        "CREATE TABLE t (k int, a SimpleAggregateFunction(sum, bigint)) ENGINE = AggregatingMergeTree ORDER BY k",
    ];
    for table in tables {
        client.batch_execute(table).unwrap_or_else(|e| panic!("{table}: {}", explain(&e)));
        let said = value(&mut client, "SHOW CREATE TABLE t");
        client.batch_execute("DROP TABLE t").expect("it is dropped");
        client.batch_execute(&said).unwrap_or_else(|e| panic!("{said}: {}", explain(&e)));
        assert_eq!(value(&mut client, "SHOW CREATE TABLE t"), said);
        let definition = "SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns WHERE table_name = 't'";
        let again = rows(&mut client, definition);
        client.batch_execute(&format!("DROP TABLE t; {table}")).expect("it is made as it was");
        assert_eq!(again, rows(&mut client, definition), "{said}");
        client.batch_execute("DROP TABLE t").expect("it is dropped");
    }
}

#[test]
fn a_detached_partition_survives_a_restart_and_comes_back() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    client
        .batch_execute(
            "CREATE TABLE t (id bigint, ts timestamptz, v bigint) PARTITION BY toYYYYMM(ts) ORDER BY id;
             INSERT INTO t SELECT i, '2020-01-15', i FROM generate_series(1, 1000) AS i",
        )
        .expect("it is made");
    let acknowledged = under_ingest(&server, || {
        client.batch_execute("ALTER TABLE t DETACH PARTITION 202001").expect("it is detached");
    });
    assert!(data.path().join("detached/public.t/202001").is_dir());
    server.kill();
    let server = Server::start(data.path());
    let mut client = server.connect();
    assert_eq!(value(&mut client, "SELECT count(*) FROM t"), acknowledged.to_string());
    client.batch_execute("ALTER TABLE t ATTACH PARTITION 202001").expect("it comes back");
    assert_eq!(value(&mut client, "SELECT sum(v) FROM t WHERE ts < '2021-01-01'"), "500500");
    server.kill();
    let server = Server::start(data.path());
    let mut client = server.connect();
    client.batch_execute("ALTER TABLE t ATTACH PARTITION 202001").expect("there is nothing left to attach");
    assert_eq!(value(&mut client, "SELECT count(*) FROM t"), (acknowledged + 1000).to_string());
}
