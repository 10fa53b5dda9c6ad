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
            let limits = Limits { query: 512 << 10, operator: usize::MAX, folder: None };
            let context = world.context_of(threads, 1000, QueryMemory::new(&broker, limits));
            let error = world.rows_in(sql, &context).expect_err("it needs more");
            assert_eq!((error.kind, error.message.as_str()), (ErrorKind::OutOfMemory, "out of memory"), "{sql}");
            assert_eq!(broker.used(), 0, "{sql} with {threads} threads");
        }
    }
}

#[test]
fn a_cancelled_query_ends_soon() {
    let world = numbers();
    let endless = "SELECT count(*) FROM numbers a, numbers b, numbers c, numbers d WHERE a.id = b.id + c.id + d.id + 1";
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
    let error = world.error("SELECT third::int4 FROM numbers WHERE id < 2");
    assert_eq!(error.message, "invalid input syntax for type integer: \"zero\"");
    let error = world.error("SELECT 1 / (id - 5) FROM numbers");
    assert_eq!(error.kind, ErrorKind::DivisionByZero);
    assert_eq!(world.rows("SELECT count(*) FROM numbers WHERE id <> 5 AND 1 / (id - 5) >= 0"), ["998"]);
    assert_eq!(
        world.rows("SELECT CASE WHEN id = 5 THEN 0 ELSE 6 / (id - 5) END FROM numbers WHERE id > 3 AND id < 7"),
        ["-6", "0", "6"]
    );
    assert_eq!(world.rows("SELECT sum(6 / (id - 5)) FILTER (WHERE id <> 5) FROM numbers WHERE id < 12"), ["1"]);
    assert_eq!(
        world.rows("SELECT count(*) FROM numbers WHERE third IS NULL AND coalesce(third, '7')::int4 = 7"),
        ["333"]
    );
    let sql = "SELECT CASE WHEN third IS NULL THEN 1 ELSE third::int4 END FROM numbers WHERE id IN (2, 5)";
    assert_eq!(world.rows(sql), ["1", "1"]);
}

#[test]
fn what_does_not_fit_goes_to_disk_and_gives_the_same_rows() {
    let world = numbers();
    let folder = tempfile::tempdir().expect("a folder");
    for sql in [
        "SELECT id, third FROM numbers ORDER BY third DESC NULLS FIRST, n",
        "SELECT a.id, b.id FROM numbers a, numbers b WHERE a.id < 60 AND b.id < 60 ORDER BY b.id % 7, a.id % 11",
        "SELECT third, n, count(*), sum(id), array_agg(id) FROM numbers GROUP BY third, n",
        "SELECT id, count(*) FROM numbers GROUP BY ROLLUP (id)",
        "SELECT DISTINCT n, third FROM numbers",
        "SELECT DISTINCT ON (n, third) * FROM numbers",
        "SELECT DISTINCT ON (f::int) f, id FROM numbers ORDER BY f::int DESC, id DESC",
        "SELECT count(*), array_agg(third) FROM numbers",
        "SELECT count(DISTINCT id), sum(DISTINCT n), count(*), avg(DISTINCT f), min(third) FROM numbers",
        "SELECT third, count(DISTINCT id), uniqExact(n, third), count(DISTINCT third), sum(id) FROM numbers GROUP BY third",
        "SELECT a.id, b.id, b.third FROM numbers a JOIN numbers b ON a.n = b.n WHERE a.id < 300",
        "SELECT a.id, b.id FROM numbers a JOIN numbers b ON a.n = b.n AND a.id < b.id AND a.id + b.id < 700",
        "SELECT a.id, b.id, b.third FROM numbers a LEFT JOIN numbers b ON a.id = b.id + 100 AND b.third IS NOT NULL",
        "SELECT a.id, b.id, b.third FROM numbers a RIGHT JOIN numbers b ON a.id = b.id + 100 AND a.id > 300",
        "SELECT a.id, b.id, b.third FROM numbers a FULL JOIN numbers b ON a.id = b.id + 100 AND b.id % 3 = 0",
        "SELECT a.id, b.id FROM numbers a LEFT JOIN numbers b ON a.id < 40 AND b.id < 20 AND a.id < b.id",
        "SELECT id FROM numbers a WHERE EXISTS (SELECT FROM numbers b WHERE a.n = b.n AND b.id > a.id + 400)",
        "SELECT id FROM numbers a WHERE id NOT IN (SELECT n FROM numbers WHERE n IS NOT NULL)",
        "SELECT a.id, b.id FROM numbers a, numbers b WHERE a.id < b.id AND b.id % 100 = 1 AND a.id % 9 = b.n",
        "SELECT a.id, b.id FROM numbers a, numbers b WHERE a.id < 300 AND b.id < 20 AND a.id % 10 < b.id",
        "SELECT n FROM numbers INTERSECT ALL SELECT id FROM numbers",
        "SELECT third FROM numbers EXCEPT SELECT third FROM numbers WHERE n > 3",
        "SELECT id, sum(id) OVER (PARTITION BY n ORDER BY third, id), row_number() OVER (ORDER BY id DESC) FROM numbers",
        "SELECT id, third FROM numbers ORDER BY third, id LIMIT 40 OFFSET 10",
        "SELECT id, row_number() OVER w, rank() OVER w, dense_rank() OVER w FROM numbers WINDOW w AS (ORDER BY n)",
        "SELECT id, lag(id, 3, -1) OVER w, lead(third, 2) OVER w, lag(id, -1) OVER w FROM numbers WINDOW w AS (ORDER BY f, id)",
        "SELECT id, ntile(7) OVER w, percent_rank() OVER w, cume_dist() OVER w FROM numbers WINDOW w AS (ORDER BY id / 3)",
        "SELECT id, sum(id) OVER w, avg(f) OVER w, count(third) FILTER (WHERE id % 2 = 0) OVER w FROM numbers WINDOW w AS (ORDER BY id)",
        "SELECT id, sum(id) OVER (), count(*) OVER (ROWS UNBOUNDED PRECEDING), max(third) OVER (PARTITION BY id < 900) FROM numbers",
        "SELECT id, min(id) OVER w, array_agg(id) OVER w FROM numbers WINDOW w AS (ORDER BY id DESC ROWS BETWEEN 3 PRECEDING AND 2 FOLLOWING)",
        "SELECT id, sum(id) OVER w, first_value(id) OVER w FROM numbers WINDOW w AS (ORDER BY id RANGE BETWEEN 10 PRECEDING AND 5 PRECEDING)",
        "SELECT id, count(*) OVER w, last_value(id) OVER w FROM numbers WINDOW w AS (ORDER BY n, id / 4 GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE TIES)",
        "SELECT id, sum(id) OVER w, first_value(third) OVER w, last_value(id) OVER w FROM numbers WINDOW w AS (ORDER BY id / 5)",
        "SELECT id, sum(id) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 3 FOLLOWING EXCLUDE CURRENT ROW) FROM numbers",
        "SELECT id, string_agg(third, ',') OVER (ORDER BY id) FROM numbers WHERE id < 120",
        "SELECT id, sum(id) OVER (ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING), nth_value(id, 3) OVER (ORDER BY id) FROM numbers",
        "SELECT id, rank() OVER (PARTITION BY id < 400 ORDER BY third), sum(n) OVER (PARTITION BY id < 400 ORDER BY third) FROM numbers",
        "SELECT id, sum(id) OVER w, last_value(id) OVER w, dense_rank() OVER w, cume_dist() OVER w FROM numbers WINDOW w AS (ORDER BY n % 3)",
        "SELECT id, sum(id) OVER (ORDER BY n % 3 RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING), string_agg(third, '') FILTER (WHERE id % 50 = 0) OVER (ORDER BY n % 3 DESC) FROM numbers",
        "SELECT id, count(*) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 200 PRECEDING), max(id) OVER (ORDER BY id ROWS BETWEEN 70 FOLLOWING AND UNBOUNDED FOLLOWING) FROM numbers",
        "SELECT id, first_value(third) IGNORE NULLS OVER (w ROWS BETWEEN 2 FOLLOWING AND UNBOUNDED FOLLOWING), nth_value(id, 4) OVER w, last_value(third) IGNORE NULLS OVER (w ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) FROM numbers WINDOW w AS (ORDER BY id)",
        "SELECT id, sum(id) OVER (ORDER BY n / 4 RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE GROUP), sum(n) OVER (ORDER BY n GROUPS BETWEEN CURRENT ROW AND 1 FOLLOWING EXCLUDE TIES) FROM numbers",
        "SELECT median(f), mode() WITHIN GROUP (ORDER BY n), quantiles(0.1, 0.7)(f), quantileExactLow(0.5)(f), percentile_disc(0.3) WITHIN GROUP (ORDER BY third DESC) FROM numbers",
        "SELECT n, median(DISTINCT f), string_agg(third, ',' ORDER BY third, id), array_agg(DISTINCT third), percentile_cont(ARRAY[0.1, 0.9]) WITHIN GROUP (ORDER BY f DESC) FILTER (WHERE id % 2 = 0) FROM numbers GROUP BY n",
        "SELECT id, n IN (SELECT id + 3 FROM numbers), third = ANY (SELECT third FROM numbers WHERE id % 9 > 0), f > ALL (SELECT f / 2 FROM numbers WHERE id < 9) FROM numbers",
        "WITH RECURSIVE r (a, b) AS (SELECT id, third FROM numbers UNION SELECT a % 50, b || 'x' FROM r WHERE length(b) < 7) SELECT * FROM r",
        "WITH RECURSIVE r (a) AS (SELECT id FROM numbers UNION ALL SELECT a + 1 FROM r WHERE a % 10 <> 0) SELECT * FROM r OFFSET 5",
        "SELECT a.id, b.id FROM numbers a ASOF JOIN numbers b ON a.n = b.n AND a.id > b.id",
        "SELECT a.id, b.id FROM numbers a ASOF LEFT JOIN numbers b ON a.third = b.third AND a.f < b.f",
        "SELECT a.id, b.id FROM numbers a ASOF FULL JOIN numbers b ON a.id = b.n AND a.id <= b.id",
        "SELECT a.id, b.id FROM numbers a ANY LEFT JOIN numbers b ON a.id = b.n",
    ] {
        let expected = world.rows_in(sql, &world.context(1, 8192)).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        for (threads, batch_rows, operator) in [(3, 100, 0), (2, 50, 8 << 10)] {
            let limits = Limits { query: usize::MAX, operator, folder: Some(folder.path().to_path_buf()) };
            let memory = QueryMemory::new(&Broker::new(usize::MAX), limits);
            let context = world.context_of(threads, batch_rows, memory);
            let rows = world.rows_in(sql, &context).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
            assert_eq!(expected, rows, "{sql} with {threads} threads, batches of {batch_rows}, {operator} bytes");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0, "files have no names");
}

#[test]
fn one_group_may_have_more_distinct_values_than_fit() {
    let world = numbers();
    let folder = tempfile::tempdir().expect("a folder");
    let sql = "SELECT count(DISTINCT a.id * 1000 + b.id), sum(DISTINCT a.id * 700 + b.id), count(*), max(a.id)
        FROM numbers a JOIN numbers b ON b.id < 200 AND a.n % 1 = b.n % 1";
    let whole = world.context(2, 8192);
    let expected = world.rows_in(sql, &whole).expect("all memory is enough");
    let limits = Limits { query: 3 << 20, operator: usize::MAX, folder: Some(folder.path().to_path_buf()) };
    let memory = QueryMemory::new(&Broker::new(usize::MAX), limits);
    assert_eq!(world.rows_in(sql, &world.context_of(2, 8192, memory.clone())).expect("3 MiB are enough"), expected);
    assert!(memory.peak() < whole.memory.peak() / 2, "{} of {} bytes", memory.peak(), whole.memory.peak());
}

#[test]
fn one_group_may_have_more_rows_to_put_in_order_than_fit() {
    let world = numbers();
    let folder = tempfile::tempdir().expect("a folder");
    let sql = "SELECT percentile_cont(0.3) WITHIN GROUP (ORDER BY v / 3.0), mode() WITHIN GROUP (ORDER BY v % 40000), count(*),
            percentile_disc(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY v::text), length(string_agg('x', '' ORDER BY v DESC)),
            median(DISTINCT v / 7) FILTER (WHERE v % 2 = 0)
        FROM (SELECT (a.id * 1000 + b.id * 7) AS v FROM numbers a JOIN numbers b ON b.id < 100) v";
    let whole = world.context(2, 8192);
    let expected = world.rows_in(sql, &whole).expect("all memory is enough");
    for threads in [1, 2] {
        let limits = Limits { query: 4 << 20, operator: usize::MAX, folder: Some(folder.path().to_path_buf()) };
        let memory = QueryMemory::new(&Broker::new(usize::MAX), limits);
        let rows = world.rows_in(sql, &world.context_of(threads, 1000, memory.clone())).expect("4 MiB are enough");
        assert_eq!(rows, expected);
        assert!(memory.peak() < whole.memory.peak() / 2, "{} of {} bytes", memory.peak(), whole.memory.peak());
    }
}

#[test]
fn other_operators_may_keep_more_than_fits() {
    let world = numbers();
    let folder = tempfile::tempdir().expect("a folder");
    let rows = "(SELECT a.id * 100 + b.id AS id, a.n + b.n * 8 AS n, a.third || repeat('room', 40) AS third
        FROM numbers a JOIN numbers b ON b.id < 20)";
    for sql in [
        format!("SELECT count(*), max(third), sum(id) FROM (SELECT * FROM {rows} r LIMIT 19000 OFFSET 9) x"),
        format!(
            "SELECT count(*), sum(id) FROM {rows} r WHERE third || id NOT IN (SELECT third || id * 2 FROM {rows} s) OR id = 7"
        ),
        format!(
            "SELECT count(*), sum(s.n), max(s.third) FROM {rows} r ASOF JOIN {rows} s ON r.n = s.n AND r.id > s.id"
        ),
        format!(
            "SELECT count(*), sum(s.n), max(s.third) FROM {rows} r ASOF LEFT JOIN {rows} s ON r.third = s.third AND r.id > s.id"
        ),
        format!(
            "WITH RECURSIVE t AS (SELECT * FROM {rows} r UNION SELECT id - 30000, n, third FROM t WHERE id > 30000) SELECT count(*), sum(n), max(third) FROM t"
        ),
    ] {
        let whole = world.context(2, 8192);
        let expected = world.rows_in(&sql, &whole).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let limits = Limits { query: 2 << 20, operator: usize::MAX, folder: Some(folder.path().to_path_buf()) };
        let memory = QueryMemory::new(&Broker::new(usize::MAX), limits);
        let context = world.context_of(2, 300, memory);
        assert_eq!(world.rows_in(&sql, &context).unwrap_or_else(|e| panic!("{sql}: {e:?}")), expected, "{sql}");
        assert!(whole.memory.peak() > 2 << 20, "{sql}: {} bytes are no test", whole.memory.peak());
    }
}

#[test]
fn one_partition_may_have_more_rows_than_fit() {
    let world = numbers();
    let folder = tempfile::tempdir().expect("a folder");
    let windows = [
        "row_number() OVER w",
        "sum(id) OVER w",
        "lag(id, 5) OVER w",
        "ntile(10) OVER w",
        "avg(id) OVER (w ROWS BETWEEN 9 PRECEDING AND CURRENT ROW)",
        "sum(id) OVER (w ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)",
        "last_value(id) OVER (w ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
        "sum(id) OVER (ORDER BY id / 60000)",
        "rank() OVER (ORDER BY id / 60000)",
        "count(third) OVER ()",
    ];
    for window in windows {
        let sql = format!(
            "SELECT count(*), sum(v::numeric * (id % 97 + 1)), max(third) FROM
                (SELECT id, third, {window} AS v FROM (SELECT a.id * 100 + b.id AS id, a.third || repeat('room', 40) AS third
                    FROM numbers a JOIN numbers b ON b.id < 50) rows WINDOW w AS (ORDER BY id)) all_rows"
        );
        let whole = world.context(2, 8192);
        let expected = world.rows_in(&sql, &whole).expect("all memory is enough");
        let limits = Limits { query: 5 << 20, operator: usize::MAX, folder: Some(folder.path().to_path_buf()) };
        let memory = QueryMemory::new(&Broker::new(usize::MAX), limits);
        let context = world.context_of(2, 500, memory);
        assert_eq!(world.rows_in(&sql, &context).unwrap_or_else(|e| panic!("{window}: {e:?}")), expected, "{window}");
        assert!(whole.memory.peak() > 5 << 20, "{window}: {} bytes are no test", whole.memory.peak());
    }
}
