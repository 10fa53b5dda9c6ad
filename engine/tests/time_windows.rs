//! Conditions on the bounds of TUMBLE's windows prune by the time, and leave out no row that fulfils them.

use arrow::array::AsArray;
use weir_engine::{Database, Options, Session};

/// The first column of a query's rows, which is text.
fn texts(session: &mut Session, sql: &str) -> Vec<String> {
    let result = session.query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    result
        .batches
        .iter()
        .flat_map(|batch| batch.column(0).as_string_view().iter().flatten())
        .map(String::from)
        .collect()
}

/// How many granules a query left out.
fn pruned(session: &mut Session, query: &str) -> u64 {
    let lines = texts(session, &format!("EXPLAIN ANALYZE {query}"));
    let counts = lines.iter().filter_map(|line| line.trim().strip_prefix("Granules Pruned by ")?.rsplit(' ').next());
    counts.map(|count| count.parse::<u64>().expect("a number")).sum()
}

#[test]
fn conditions_on_windows_prune_by_the_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = Options { granule_rows: 10, bulk_bytes: 1024, ..Options::default() };
    let db = Database::open_with(folder.path(), options).expect("it opens");
    let mut session = db.session();
    for sql in [
        "CREATE TABLE e (id bigint, ts timestamp) ORDER BY ts",
        "INSERT INTO e SELECT i, timestamp '2024-01-01' + i * interval '1 minute' FROM generate_series(0, 999) AS g(i)",
    ] {
        session.execute(sql).expect(sql);
    }
    let windows = "SELECT count(*)::text FROM tumble(e, ts, INTERVAL '15 minutes', INTERVAL '5 minutes')";
    let same = "SELECT count(*)::text FROM (SELECT *, date_bin('15 minutes', ts, '1970-01-01 00:05') AS window_start,
        date_bin('15 minutes', ts, '1970-01-01 00:05') + interval '15 minutes' AS window_end FROM e) AS w";
    for condition in [
        "window_start >= '2024-01-01 10:07:00'",
        "window_start > '2024-01-01 10:05:00'",
        "window_start = '2024-01-01 10:05:00'",
        "'2024-01-01 10:05:00' < window_start",
        "window_end <= '2024-01-01 03:20:00'",
        "window_end < '2024-01-01 03:21:00'",
        "window_end = '2024-01-01 03:20:00'",
        "'2024-01-01 03:20:00' >= window_end",
    ] {
        let query = format!("{windows} WHERE {condition}");
        assert_eq!(
            texts(&mut session, &query),
            texts(&mut session, &format!("{same} WHERE {condition}")),
            "{condition}"
        );
        assert!(pruned(&mut session, &query) > 30, "{condition} reads all");
    }
    let everywhere = format!("{windows} WHERE window_start <> '2024-01-01 10:05:00'");
    assert_eq!(pruned(&mut session, &everywhere), 0);
}
