//! Queries share the threads, and none waits for another: one that comes while others have all of them runs on its own.

use weir_engine::{Database, ErrorKind, Options, Session};

fn run(session: &mut Session, sql: &str) {
    session.execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// How many rows a query gives.
fn count(session: &mut Session, sql: &str) -> usize {
    let result = session.query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    result.batches.iter().map(|batch| batch.num_rows()).sum()
}

#[test]
fn short_queries_do_not_wait_for_long_ones() {
    const LONG: usize = 3;
    let dir = tempfile::tempdir().unwrap();
    let options = Options { granule_rows: 32, bulk_bytes: 1, threads: Some(2), ..Options::default() };
    let db = Database::open_with(dir.path(), options).unwrap();
    let mut short = db.session();
    run(&mut short, "CREATE TABLE events (n bigint) ORDER BY n");
    run(&mut short, "INSERT INTO events SELECT * FROM generate_series(1, 4096)");
    std::thread::scope(|scope| {
        let (mut cancels, mut running) = (Vec::new(), Vec::new());
        for _ in 0..LONG {
            let mut session = db.session();
            cancels.push(session.cancel_handle());
            running.push(
                scope.spawn(move || session.query("SELECT count(pg_sleep(0.05 + 0 * n)) FROM events").map(|_| ())),
            );
        }
        let active = "SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%(pg_sleep(%'";
        while count(&mut short, active) < LONG {
            std::thread::yield_now();
        }
        // They are about to begin, if they have not: some round meets them.
        for _ in 0..20 {
            assert_eq!(count(&mut short, "SELECT n % 7 AS kind, sum(n) FROM events GROUP BY kind"), 7);
            assert_eq!(count(&mut short, "SELECT n FROM events WHERE n % 2 = 0"), 2048);
            assert_eq!(count(&mut short, "SELECT n, lag(n) OVER (ORDER BY -n) FROM events"), 4096);
        }
        cancels.iter().for_each(|cancel| cancel.cancel());
        for long in running {
            let error = long.join().unwrap().expect_err("the short ones are over before it is");
            assert_eq!(error.kind, ErrorKind::Cancelled);
        }
    });
}
