//! What is remembered of aggregations changes no answer: whatever happens to the rows, the table, the session and the question, a query gives
//! the same with the cache as without, the first time and again. And it is asked: blocks that did not change are not read again.

use weir_engine::format::{FormatSettings, text_at};
use weir_engine::{Database, Options, Session};
use weir_storage::StoreOptions;

/// A database whose parts have many granules; rows come as parts at once, and none are merged between two questions.
fn open(dir: &std::path::Path, threads: usize, cache: usize) -> Database {
    let options = Options {
        granule_rows: 32,
        bulk_bytes: 1,
        threads: Some(threads),
        partial_cache_size: Some(cache),
        store: StoreOptions { background: false, ..StoreOptions::default() },
        ..Options::default()
    };
    Database::open_with(dir, options).unwrap()
}

/// The rows of a query, as the session shows them.
fn rows(session: &mut Session, sql: &str) -> Vec<String> {
    let result = session.query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let settings = FormatSettings::of(&session.function_context());
    let mut rows = Vec::new();
    for batch in &result.batches {
        for row in 0..batch.num_rows() {
            let cells = result.columns.iter().zip(batch.columns());
            let cells = cells.map(|(c, array)| text_at(&c.ty, array, row, &settings).unwrap_or("NULL".into()));
            rows.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    rows
}

fn run(session: &mut Session, sql: &str) {
    session.execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// A number of `weir.cache_status`.
fn status(session: &mut Session, column: &str) -> u64 {
    rows(session, &format!("SELECT {column} FROM weir.cache_status"))[0].parse().unwrap()
}

/// A line of EXPLAIN ANALYZE.
fn explained(session: &mut Session, query: &str, key: &str) -> Option<u64> {
    let lines = rows(session, &format!("EXPLAIN ANALYZE {query}"));
    let prefix = format!("{key}: ");
    lines.iter().find_map(|line| line.trim().strip_prefix(&prefix)?.parse().ok())
}

/// The query's rows without the cache; asserts that they are the same with it, and again, when blocks in a row become one, and when they have.
fn asked(session: &mut Session, sql: &str) -> Vec<String> {
    run(session, "SET weir.partial_cache = off");
    let without = rows(session, sql);
    run(session, "RESET weir.partial_cache");
    for time in 1..=3 {
        assert_eq!(rows(session, sql), without, "{sql}, for the {time}. time");
    }
    without
}

/// 4,096 events, in the order of their times, a minute apart.
const EVENTS: &str = "
    CREATE TABLE events (id bigint NOT NULL, ts timestamptz NOT NULL, kind text, path text, price float8, amount numeric(10,2), n int)
        ORDER BY ts;
    INSERT INTO events SELECT i, timestamptz '2024-03-01 00:00:00+00' + i * interval '1 minute',
        CASE i % 7 WHEN 0 THEN NULL WHEN 1 THEN 'purchase' ELSE 'view ' || i % 3 END,
        '/a/rather/long/path/to/page-' || (i * 7919) % 40,
        CASE WHEN i % 11 > 0 THEN (i * 7919 % 10007) / 7.0 * 1e10 - (i % 3) * 1e-9 END, (i % 1000) / 8.0, i % 100
        FROM generate_series(0, 4095) AS g(i)";

/// Questions of many forms; most have no ORDER BY, so that the order of groups is compared as well.
const QUESTIONS: &[&str] = &[
    "SELECT count(*), sum(price), avg(price), min(path), max(ts) FROM events",
    "SELECT kind, count(*), sum(n), sum(amount), avg(price), stddev(price) FROM events GROUP BY kind",
    "SELECT date_trunc('hour', ts), count(*) FROM events GROUP BY 1",
    "SELECT ts::date, kind, sum(price) FILTER (WHERE n > 50) FROM events WHERE path LIKE '%page-1%' GROUP BY 1, 2",
    "SELECT path, count(DISTINCT kind), uniq(id), min(kind), max(amount) FROM events WHERE n < 30 GROUP BY path",
    "SELECT kind, count(*) FROM events WHERE ts >= '2024-03-01 05:00+00' AND ts < '2024-03-02 01:02:03+00' GROUP BY kind",
    "SELECT count(*) FROM events WHERE ts BETWEEN '2024-03-01 05:00+00' AND '2024-03-02' AND kind = 'purchase'",
    "SELECT kind, quantile(0.9)(n), median(price), percentile_cont(0.5) WITHIN GROUP (ORDER BY n) FROM events GROUP BY kind",
    "SELECT n, array_agg(id ORDER BY id DESC) FROM events WHERE id % 997 = 0 GROUP BY n",
    "SELECT kind, any(path), argMax(path, n), topK(3)(n) FROM events GROUP BY kind",
    "SELECT id, count(*) FROM events WHERE id < 1000 GROUP BY id",
    "SELECT kind, n % 4, grouping(kind), count(*) FROM events GROUP BY GROUPING SETS ((kind), (n % 4), ())",
    "SELECT kind, count(*) AS c FROM events GROUP BY kind HAVING count(*) > 600 ORDER BY c DESC LIMIT 3",
    "SELECT kind, count(*) FROM events GROUP BY kind ORDER BY kind LIMIT 2",
    "SELECT x, count(*), sum(y) FROM (SELECT n / 10 AS x, price * 2 AS y FROM events WHERE n > 5) AS q WHERE x < 9 GROUP BY x",
    "SELECT count(*), sum(price) FROM events WHERE path = 'nowhere'",
    "SELECT kind FROM events GROUP BY kind",
    "SELECT to_char(ts, 'HH24'), count(*), string_agg(DISTINCT kind, ',') FROM events GROUP BY 1",
    "SELECT ts::text, price::text, count(*) FROM events WHERE id % 500 = 3 GROUP BY 1, 2",
];

#[test]
fn what_is_asked_again_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), 2, 16 << 20);
    let s = &mut db.session();
    run(s, EVENTS);
    let query = "SELECT kind, count(*), sum(price) FROM events GROUP BY kind";
    assert_eq!(explained(s, query, "Blocks Remembered"), Some(0));
    let blocks = explained(s, query, "Blocks Remembered");
    assert!(blocks >= Some(10), "{blocks:?}");
    assert_eq!(explained(s, query, "Blocks Computed"), Some(0));
    // Eight blocks in a row are kept as one, too, and then all of the part.
    let blocks_of_all = blocks.unwrap_or_default();
    assert_eq!((status(s, "entries"), status(s, "hits")), (blocks_of_all + blocks_of_all / 8 + 1, 2 * blocks_of_all));
    assert_eq!(status(s, "rows_saved"), 2 * 4096);
    // New rows are all that is read.
    run(s, "INSERT INTO events (id, ts, kind) VALUES (99999, '2024-04-01', 'late')");
    assert_eq!(explained(s, query, "Blocks Remembered"), blocks);
    assert!(rows(s, query).iter().any(|row| row == "late|1|NULL"));
    // The same question in other words.
    let other = "SELECT e.kind AS k, count(*) c, sum(price) FROM events AS e GROUP BY 1";
    assert_eq!(explained(s, other, "Blocks Computed"), Some(0));
    run(s, "PREPARE p(int) AS SELECT kind, count(*) FROM events WHERE n > $1 GROUP BY kind");
    let few = rows(s, "EXECUTE p(90)");
    assert_ne!(rows(s, "EXECUTE p(10)"), few);
    assert_eq!(rows(s, "EXECUTE p(90)"), few);
    run(s, "SET weir.partial_cache = off");
    assert_eq!(rows(s, "SHOW weir.partial_cache"), ["off"]);
    assert_eq!(explained(s, query, "Blocks Remembered"), None);
}

/// Sets of values of which some are near each other, some negative, some far apart, some NULL, some no numbers; and what is no count of a set.
const SETS: &str = "SELECT kind, count(DISTINCT n), count(DISTINCT id - 9000), uniqExact(ts), count(DISTINCT path), count(DISTINCT amount),
        count(DISTINCT id * 1000000007 - n * 7777777777), count(DISTINCT nullif(n, 3)) FILTER (WHERE id % 3 > 0), sum(DISTINCT n), sum(price)
    FROM events GROUP BY kind";

#[test]
fn parts_in_a_row_are_kept_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), 2, 64 << 20);
    let s = &mut db.session();
    run(s, EVENTS);
    let more = |s: &mut Session, nth: u32| {
        run(
            s,
            &format!(
                "INSERT INTO events SELECT i, timestamptz '2024-06-01 00:00+00' + i * interval '1 minute', CASE WHEN i % 9 > 0 THEN 'view ' || i % 4 END,
                 '/page-' || i % 50, i / 3.0, (i % 1777) / 8.0, i % 130 FROM generate_series({}, {}) AS g(i)",
                nth * 3000,
                nth * 3000 + 4095
            ),
        );
    };
    (1..4).for_each(|nth| more(s, nth));
    let entries = |s: &mut Session| (status(s, "entries"), explained(s, SETS, "Blocks Computed"));
    asked(s, SETS);
    // Thirty-two blocks a part, four runs of eight, and the part; then all four.
    assert_eq!(entries(s), (4 * 37 + 1, Some(0)));
    more(s, 4);
    asked(s, SETS);
    assert_eq!(entries(s), (5 * 37 + 2, Some(0)), "all five, beside the first four");
    for change in [
        "DELETE FROM events WHERE id = 5000",
        "INSERT INTO events (id, n, ts) SELECT i, -i, now() FROM generate_series(1, 500) AS g(i)",
        "DELETE FROM events WHERE kind = 'view 0'",
        "OPTIMIZE TABLE events FINAL",
        "ALTER TABLE events ALTER COLUMN n TYPE bigint",
        "INSERT INTO events (id, n, ts) SELECT i, i::bigint * 1000000, now() FROM generate_series(-300, 500) AS g(i)",
    ] {
        run(s, change);
        asked(s, SETS);
        asked(s, &SETS.replace("GROUP BY", "WHERE ts >= '2024-06-02' GROUP BY"));
    }
}

#[test]
fn a_window_that_slides_meets_the_blocks_within_it() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), 2, 16 << 20);
    let s = &mut db.session();
    run(s, EVENTS);
    let window = |hour: u32| {
        format!(
            "SELECT date_trunc('hour', ts), kind, count(*) FROM events
             WHERE ts >= timestamptz '2024-03-01 {hour:02}:00:07+00' AND ts < timestamptz '2024-03-02 {hour:02}:00:07+00' GROUP BY 1, 2"
        )
    };
    asked(s, &window(3));
    for hour in 4..8 {
        asked(s, &window(hour));
        let (computed, remembered) =
            (explained(s, &window(hour), "Blocks Computed"), explained(s, &window(hour), "Blocks Remembered"));
        assert!(computed <= Some(2) && remembered > Some(4), "{hour}: {computed:?} and {remembered:?}");
    }
    // What the clock says is no part of a question that holds for the whole block; where it may not, nothing is kept.
    let ever = "SELECT kind, count(*) FROM events WHERE ts < now() GROUP BY kind";
    asked(s, ever);
    assert_eq!(explained(s, ever, "Blocks Computed"), Some(0));
    let entries = status(s, "entries");
    for query in [
        "SELECT count(*) FROM events WHERE id * 1000000 < extract(epoch FROM now())",
        "SELECT now() - ts < interval '1 day', count(*) FROM events GROUP BY 1",
        "SELECT age(ts) > interval '1 day', count(*) FROM events GROUP BY 1",
        "SELECT count(*) FILTER (WHERE ts > now()) FROM events",
    ] {
        asked(s, query);
    }
    run(s, "SELECT random() < 2, count(*) FROM events GROUP BY 1");
    assert_eq!(status(s, "entries"), entries);
}

#[test]
fn answers_are_the_same_whatever_happens_to_the_table() {
    for threads in [1, 4] {
        let dir = tempfile::tempdir().unwrap();
        let db = open(dir.path(), threads, 16 << 20);
        let s = &mut db.session();
        run(s, EVENTS);
        for (nth, change) in [
            "SELECT 1",
            "INSERT INTO events SELECT i, timestamptz '2024-03-02 00:00:00+00' + i * interval '1 second', 'new', '/new', i, 1, i
                FROM generate_series(0, 599) AS g(i)",
            "DELETE FROM events WHERE id % 300 = 17",
            "UPDATE events SET price = 1, kind = 'changed' WHERE id BETWEEN 300 AND 310",
            "DELETE FROM events WHERE id BETWEEN 500 AND 1400",
            "ALTER TABLE events ALTER COLUMN n TYPE bigint",
            "ALTER TABLE events DROP COLUMN amount, ADD COLUMN amount numeric(10,2) DEFAULT 7.5",
            "ALTER TABLE events RENAME COLUMN kind TO sort, RENAME COLUMN path TO kind, RENAME COLUMN sort TO path",
            "OPTIMIZE TABLE events FINAL",
            "ALTER TABLE events SET (ttl = 'ts + interval ''200 years''')",
            "ALTER TABLE events MODIFY TTL ts + INTERVAL 200 YEAR, ts + INTERVAL 1 DAY DELETE WHERE n = 5",
            "ALTER TABLE events MODIFY COLUMN path TTL ts + INTERVAL 1 DAY",
            "TRUNCATE events",
        ]
        .into_iter()
        .enumerate()
        {
            run(s, change);
            // Some each time, so that what is remembered is of several changes before.
            for question in QUESTIONS.iter().skip(nth % 3).step_by(3) {
                asked(s, question);
            }
            // And what a transaction shows itself, before it is undone.
            for change in ["BEGIN; DELETE FROM events WHERE id % 7 = 1", "ROLLBACK; BEGIN; DELETE FROM events WHERE id % 7 = 2", "ROLLBACK"] {
                run(s, change);
                asked(s, QUESTIONS[1]);
            }
        }
        let hits = status(s, "hits");
        assert!(hits > 500, "{hits}");
        run(s, "DROP TABLE events");
        run(s, EVENTS);
        run(s, "UPDATE events SET n = n + 1");
        QUESTIONS.iter().for_each(|question| drop(asked(s, question)));
    }
}

#[test]
fn settings_that_change_answers_are_part_of_the_question() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), 2, 16 << 20);
    let s = &mut db.session();
    run(s, EVENTS);
    let query = "SELECT date_trunc('day', ts)::text, (ts - ts + interval '1 day 2 hours')::text, count(*), min((price / 3)::text),
        min(extract(hour FROM ts)) FROM events GROUP BY 1, 2";
    let mut answers = vec![asked(s, query)];
    for (setting, value) in [
        ("TimeZone", "Asia/Tokyo"),
        ("IntervalStyle", "iso_8601"),
        ("extra_float_digits", "-10"),
        ("TimeZone", "America/Lima"),
    ] {
        run(s, &format!("SET {setting} = '{value}'"));
        let answer = asked(s, query);
        assert!(!answers.contains(&answer), "{setting}");
        answers.push(answer);
    }
    run(s, "RESET ALL");
    assert_eq!(asked(s, query), answers[0]);
    // What is no matter of answers is no matter here.
    run(s, "SET application_name = 'another'; SET statement_timeout = '1h'");
    assert_eq!(explained(s, query, "Blocks Computed"), Some(0));
    // Words for moments are read anew.
    run(
        s,
        "CREATE TABLE words (id int, word text); INSERT INTO words SELECT i, 'today' FROM generate_series(1, 1000) AS g(i)",
    );
    let entries = status(s, "entries");
    asked(s, "SELECT word::date, count(*) FROM words GROUP BY 1");
    asked(s, "SELECT word::regtype IS NULL, count(*) FROM words WHERE id < 0 GROUP BY 1");
    assert_eq!(status(s, "entries"), entries);
}

#[test]
fn the_cache_stays_within_its_bounds_and_forgets_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), 2, 256 << 10);
    let s = &mut db.session();
    run(s, EVENTS);
    for n in 0..60 {
        asked(s, &format!("SELECT kind, count(*), sum(price) FROM events WHERE n <> {n} GROUP BY kind"));
        assert!(status(s, "bytes") <= 256 << 10);
    }
    assert!(status(s, "evictions") > 0 && status(s, "entries") > 0);
    // Groups in which rows do not meet are not kept.
    let entries = status(s, "entries");
    asked(s, "SELECT id, count(*) FROM events GROUP BY id");
    assert!(status(s, "entries") <= entries);
    let parts = |s: &mut Session| rows(s, "SELECT part FROM weir.parts WHERE \"table\" = 'events'");
    let before = parts(s);
    run(s, "INSERT INTO events SELECT * FROM events WHERE id < 500");
    run(s, "OPTIMIZE TABLE events FINAL");
    assert_ne!(parts(s), before);
    assert_eq!(status(s, "entries"), 0);
    asked(s, "SELECT kind, count(*) FROM events GROUP BY kind");
    assert!(status(s, "entries") > 0);
    run(s, "DROP TABLE events");
    assert_eq!(status(s, "entries"), 0);
    // Nothing of it outlives the parts: their files are gone.
    assert_eq!(std::fs::read_dir(dir.path().join("parts")).unwrap().count(), 0);
}

#[test]
fn full_runs_of_the_head_are_remembered_too() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        granule_rows: 1000,
        threads: Some(2),
        store: StoreOptions { background: false, ..StoreOptions::default() },
        ..Options::default()
    };
    let db = Database::open_with(dir.path(), options).unwrap();
    let s = &mut db.session();
    run(s, "CREATE TABLE h (id bigint NOT NULL, ts timestamptz NOT NULL, kind text, n int)");
    let more = |s: &mut Session, from: u32, rows: u32| {
        run(
            s,
            &format!(
                "INSERT INTO h SELECT i, timestamptz '2024-03-01 00:00+00' + i * interval '1 second', 'kind ' || i % 3, i % 10
                 FROM generate_series({from}, {}) AS g(i)",
                from + rows - 1
            ),
        );
    };
    more(s, 0, 300);
    (1..5).for_each(|nth| more(s, nth * 10_000, 9000));
    more(s, 50_000, 300);
    assert_eq!(rows(s, "SELECT count(*) FROM weir.parts WHERE \"table\" = 'h'"), ["0"]);
    let query = "SELECT kind, count(*), sum(n), min(id), max(ts) FROM h WHERE ts > timestamptz '2024-03-01 00:00:07+00' GROUP BY kind";
    asked(s, query);
    assert_eq!((explained(s, query, "Blocks Remembered"), explained(s, query, "Blocks Computed")), (Some(4), Some(0)));
    let later = query.replace("00:00:07", "00:00:09");
    asked(s, &later);
    assert_eq!(explained(s, &later, "Blocks Computed"), Some(0));
    for change in [
        "DELETE FROM h WHERE id % 1000 = 3",
        "DELETE FROM h WHERE id BETWEEN 20000 AND 21999",
        "BEGIN; DELETE FROM h WHERE id = 10007",
        "ROLLBACK; BEGIN; DELETE FROM h WHERE id = 10008",
        "INSERT INTO h SELECT 60000 + id, ts, 'own', n FROM h WHERE id >= 10000 AND id < 19000",
        "ROLLBACK",
        "ALTER TABLE h DROP COLUMN n, ADD COLUMN n int DEFAULT 4",
        "ALTER TABLE h ALTER COLUMN n TYPE bigint",
        "UPDATE h SET kind = NULL WHERE id < 10100",
    ] {
        run(s, change);
        asked(s, query);
        asked(s, "SELECT kind IS NULL, count(n), sum(id) FROM h WHERE kind IS NOT NULL OR id > 5 GROUP BY 1");
    }
    run(s, "OPTIMIZE TABLE h FINAL");
    asked(s, query);
    assert_ne!(rows(s, "SELECT count(*) FROM weir.parts WHERE \"table\" = 'h'"), ["0"]);
}

#[test]
fn without_a_size_nothing_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path(), 1, 0);
    let s = &mut db.session();
    run(s, EVENTS);
    let query = "SELECT count(*) FROM events";
    asked(s, query);
    assert_eq!(explained(s, query, "Blocks Remembered"), None);
    assert!(rows(s, "SELECT * FROM weir.cache_status").is_empty());
}
