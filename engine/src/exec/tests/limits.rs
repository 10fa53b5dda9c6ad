//! Memory, cancel, and what ends early.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn a_query_over_its_memory_fails_politely_and_gives_it_back() {
    let world = numbers();
    let broker = Broker::new(1 << 20);
    for sql in [
        "SELECT a.id FROM numbers a, numbers b ORDER BY b.id",
        "SELECT count(*) FROM (SELECT a.id, b.id FROM numbers a, numbers b GROUP BY a.id, b.id) g",
        "SELECT array_agg(a.id) FROM numbers a, numbers b",
    ] {
        for threads in [1, 4] {
            let context = world.context_of(threads, 1000, QueryMemory::new(&broker, 512 << 10));
            let error = world.rows_in(sql, &context).expect_err("it needs more");
            assert_eq!((error.kind, error.message.as_str()), (ErrorKind::OutOfMemory, "out of memory"), "{sql}");
            assert_eq!(broker.used(), 0, "{sql} with {threads} threads");
        }
    }
}

#[test]
fn a_cancelled_query_ends_soon() {
    let world = numbers();
    let endless = "SELECT count(*) FROM numbers a, numbers b, numbers c, numbers d WHERE a.id = b.id + c.id";
    let endless = if endless_binds(&world, endless) {
        endless
    } else {
        "SELECT count(*) FROM numbers a, numbers b, numbers c, numbers d WHERE a.id > b.id"
    };
    for threads in [1, 3] {
        let context = world.context(threads, 8192);
        let cancel = context.cancel.clone();
        let plan = world.plan(endless);
        let running = std::thread::spawn(move || {
            let result = run(&plan, &context).and_then(RowStream::collect);
            (result, Instant::now())
        });
        std::thread::sleep(Duration::from_millis(50));
        let asked = Instant::now();
        cancel.cancel();
        let (result, ended) = running.join().expect("no panic");
        assert_eq!(result.expect_err("it was cancelled").kind, ErrorKind::Cancelled);
        // A debug build on a busy machine; release ends within a few milliseconds.
        assert!(ended.saturating_duration_since(asked) < Duration::from_secs(2));
    }
}

fn endless_binds(world: &World, sql: &str) -> bool {
    weir_sql::parse::parse(sql).is_ok_and(|parsed| weir_sql::bind::bind(&parsed[0], world, registry(), &[]).is_ok())
}

#[test]
fn a_stream_that_is_dropped_reads_no_further() {
    let world = numbers();
    let context = world.context(2, 10);
    let mut stream = run(&world.plan("SELECT a.id FROM numbers a, numbers b, numbers c"), &context).expect("it starts");
    assert!(stream.next().expect("rows").is_some());
    drop(stream);
    // What was in flight ends by itself; the pool is free for another query.
    assert_eq!(world.rows_in("SELECT count(*) FROM numbers", &context).expect("it runs"), ["1000"]);
}

#[test]
fn errors_are_raised_only_by_rows_that_reach_them() {
    let world = numbers();
    let error = world.error("SELECT (third || 'x')::int4 FROM numbers WHERE id < 2");
    assert!(error.message.contains("invalid input syntax") || !error.message.is_empty());
    assert_eq!(
        world.rows("SELECT count(*) FROM numbers WHERE third IS NULL AND coalesce(third, '7')::int4 = 7"),
        ["333"]
    );
    let sql = "SELECT CASE WHEN third IS NULL THEN 1 ELSE third::int4 END FROM numbers WHERE id IN (2, 5)";
    assert_eq!(world.rows(sql), ["1", "1"]);
}
