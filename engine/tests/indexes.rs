//! Skip indexes from SQL: a table with indexes answers every question as one without, and EXPLAIN ANALYZE names the index that left
//! granules out.

use arrow::array::{Array, AsArray};
use arrow::util::display::array_value_to_string;
use weir_engine::{Database, Options, Session};

fn open(dir: &std::path::Path) -> Database {
    Database::open_with(dir, Options { granule_rows: 100, threads: Some(2), ..Options::default() }).unwrap()
}

/// The rows of a query, as text.
fn rows(session: &mut Session, sql: &str) -> Vec<String> {
    let result = session.query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let mut rows = Vec::new();
    for batch in &result.batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
            rows.push(cells.collect::<Vec<_>>().join("|"));
        }
    }
    rows
}

/// Granules that an index left out of a query.
fn pruned(session: &mut Session, query: &str, index: &str) -> u64 {
    let lines = rows(session, &format!("EXPLAIN ANALYZE {query}"));
    let prefix = format!("Granules Pruned by Index {index}: ");
    let line = lines.iter().find_map(|line| line.trim().strip_prefix(&prefix).map(str::to_string));
    line.unwrap_or_else(|| panic!("{query} does not ask {index}: {lines:#?}")).parse().unwrap()
}

const COLUMNS: &str = "id bigint NOT NULL, n int, s text, tags text[], j jsonb, at timestamp";

/// 3,000 rows: near ids have near numbers, words and tags of their own.
/// Every granule has a very small and a very large number, so that its zone tells nothing.
const FILL: &str = "SELECT i, CASE WHEN i % 20 = 1 THEN -1000000 WHEN i % 20 = 2 THEN 1000000
        WHEN i % 10 > 0 THEN (i * 7919) % 100 + i / 100 * 1000 END,
    CASE WHEN i % 13 > 0 THEN 'Order ' || i || ' by user-' || i / 50 || ' 100%_sure: ' ||
        CASE i / 1000 WHEN 0 THEN 'error in Kern' WHEN 1 THEN 'all well' ELSE 'Über error_code=' || i END END,
    CASE WHEN i % 17 > 0 THEN ARRAY['t' || i / 300, 'common', NULL] END,
    jsonb_build_object('k', 'v' || i / 200, 'i', i),
    TIMESTAMP '2024-01-01 00:00:00' + i * INTERVAL '1 minute'
    FROM generate_series(0, 2999) AS g(i)";

const INDEXES: &str = "
    INDEX n_minmax n TYPE minmax GRANULARITY 2,
    INDEX n_set n TYPE set(0) GRANULARITY 1,
    INDEX n_bloom n TYPE bloom_filter(0.01),
    INDEX s_bloom s TYPE bloom_filter,
    INDEX s_ngrams s TYPE ngrambf_v1(3, 4096, 2, 0) GRANULARITY 1,
    INDEX s_tokens s TYPE tokenbf_v1(2048, 3, 7) GRANULARITY 1,
    INDEX s_text s TYPE text,
    INDEX lower_text lower(s) TYPE text(tokenizer = 'default'),
    INDEX lower_bloom lower(s) TYPE bloom_filter(0.01),
    INDEX tags_bloom tags TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX path (j ->> 'k') TYPE set(10) GRANULARITY 1,
    INDEX day at::date TYPE minmax,
    INDEX two (n + 1, id * 2) TYPE minmax";

/// Conditions, and an index that each must be helped by.
const QUESTIONS: &[(&str, &str)] = &[
    ("n = 5051", "n_bloom"),
    ("n = 5051", "n_set"),
    ("5051 > n", "n_minmax"),
    ("n >= 28000", "n_minmax"),
    ("n BETWEEN 5000 AND 5010", "n_minmax"),
    ("n IN (5051, NULL, 17)", "n_bloom"),
    ("n = ANY('{5051,6060}')", "n_set"),
    ("n = 5051 OR n = 9001", "n_set"),
    ("n::bigint = 5051", "n_bloom"),
    ("s = 'Order 77 by user-1 100%_sure: error in Kern'", "s_bloom"),
    ("s = 'Order 77 by user-1 100%_sure: error in Kern'", "s_text"),
    ("s = 'Order 77 by user-1 100%_sure: error in Kern'", "s_tokens"),
    ("s IN ('Order 77 by user-1 100%_sure: error in Kern', 'Qxz none')", "s_ngrams"),
    ("s LIKE '%user-17 %'", "s_text"),
    ("s LIKE '%user-17 %'", "s_tokens"),
    ("s LIKE '%user-17%'", "s_ngrams"),
    ("s LIKE '%rror in Ker%'", "s_text"),
    ("s LIKE '%rror in Ker%'", "s_ngrams"),
    ("s LIKE 'Order 2_17 %'", "s_ngrams"),
    ("s LIKE '%100\\%\\_sure: all%'", "s_ngrams"),
    ("s LIKE '%code=25__'", "s_text"),
    ("s LIKE '%error%' AND s LIKE '%Kern'", "s_text"),
    ("s LIKE '%user-17 %' OR n = 5051", "s_text, n_set"),
    ("hasToken(s, 'Kern')", "s_text"),
    ("hasToken(s, 'code')", "s_tokens"),
    ("startsWith(s, 'Order 777 by')", "s_text"),
    ("endsWith(s, 'code=1')", "s_text"),
    ("ends_with(s, 'e=2500')", "s_ngrams"),
    ("lower(s) = 'order 77 by user-1 100%_sure: error in kern'", "lower_bloom"),
    ("lower(s) LIKE '%über%'", "lower_text"),
    ("hasToken(lower(s), 'kern')", "lower_text"),
    ("has(tags, 't3')", "tags_bloom"),
    ("'t3' = ANY(tags)", "tags_bloom"),
    ("tags @> ARRAY['common', 't4']", "tags_bloom"),
    ("tags && ARRAY['t1', 't9']", "tags_bloom"),
    ("j ->> 'k' = 'v3'", "path"),
    ("j ->> 'k' IN ('v3', 'v5')", "path"),
    ("at::date = '2024-01-02'", "day"),
    ("id * 2 > 5900", "two"),
];

#[test]
fn a_table_with_indexes_answers_as_one_without() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    let mut session = database.session();
    session.execute(&format!("CREATE TABLE plain ({COLUMNS}) ORDER BY (id)")).unwrap();
    session.execute(&format!("CREATE TABLE t ({COLUMNS}, {INDEXES}) ORDER BY (id)")).unwrap();
    for table in ["plain", "t"] {
        session.execute(&format!("INSERT INTO {table} {FILL}")).unwrap();
        session.execute(&format!("OPTIMIZE TABLE {table} FINAL")).unwrap();
    }
    for (condition, index) in QUESTIONS {
        let wanted = rows(&mut session, &format!("SELECT id FROM plain WHERE {condition} ORDER BY id"));
        let got = rows(&mut session, &format!("SELECT id FROM t WHERE {condition} ORDER BY id"));
        assert_eq!(got, wanted, "{condition}");
        let query = format!("SELECT id FROM t WHERE {condition}");
        // Several indexes answer the same question: the first to be asked leaves the most out.
        for name in index.split(", ") {
            let lines = rows(&mut session, &format!("EXPLAIN {query}")).join("\n");
            assert!(lines.contains(&format!("{name} (")), "{condition}: {lines}");
        }
    }
    // Alone, each leaves something out; but what minmax knows of a column, its zones know as well.
    for (condition, index) in QUESTIONS.iter().filter(|(_, index)| !index.contains(", ") && *index != "n_minmax") {
        let line = INDEXES.lines().find(|line| line.contains(&format!("INDEX {index} "))).unwrap();
        session.execute("DROP TABLE IF EXISTS one").unwrap();
        let definition = line.trim().trim_end_matches(',');
        session.execute(&format!("CREATE TABLE one ({COLUMNS}, {definition}) ORDER BY (id)")).unwrap();
        session.execute(&format!("INSERT INTO one {FILL}; OPTIMIZE TABLE one")).unwrap_err();
        session.execute(&format!("INSERT INTO one {FILL}")).unwrap();
        session.execute("OPTIMIZE TABLE one").unwrap();
        let left_out = pruned(&mut session, &format!("SELECT id FROM one WHERE {condition}"), index);
        let lines = rows(&mut session, &format!("EXPLAIN ANALYZE SELECT id FROM one WHERE {condition}"));
        assert!(left_out > 0, "{condition} with {index}: {lines:#?}");
    }
}

#[test]
fn an_index_comes_to_the_parts_that_are_there_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    let mut session = database.session();
    session.execute(&format!("CREATE TABLE t ({COLUMNS}) ORDER BY (id)")).unwrap();
    session.execute(&format!("INSERT INTO t {FILL}")).unwrap();
    session.execute("OPTIMIZE TABLE t FINAL").unwrap();
    let query = "SELECT id FROM t WHERE n = 5051";
    // ClickHouse's ADD INDEX is for parts that come.
    session.execute("ALTER TABLE t ADD INDEX i n TYPE bloom_filter GRANULARITY 1").unwrap();
    let shown = "SELECT parts, parts_total, bytes > 0 FROM weir.indexes WHERE name = 'i'";
    assert_eq!(rows(&mut session, shown), ["0|1|false"]);
    session.execute("ALTER TABLE t MATERIALIZE INDEX i").unwrap();
    assert_eq!(rows(&mut session, shown), ["1|1|true"]);
    assert!(pruned(&mut session, query, "i") > 0);
    session.execute("ALTER TABLE t DROP INDEX i").unwrap();
    assert!(!rows(&mut session, &format!("EXPLAIN {query}")).join("\n").contains("Indexes"));
    // Another of the same name is another index.
    session.execute("CREATE INDEX i ON t USING hash (n)").unwrap();
    assert!(pruned(&mut session, query, "i") > 0);
    assert_eq!(rows(&mut session, shown), ["1|1|true"]);
    // In a block it comes after COMMIT, by and by.
    session.execute("BEGIN; CREATE INDEX j ON t USING gin (s); ROLLBACK").unwrap();
    session.execute("BEGIN; CREATE INDEX j ON t USING gin (s); COMMIT").unwrap();
    session.execute("OPTIMIZE TABLE t FINAL").unwrap();
    assert_eq!(rows(&mut session, "SELECT parts FROM weir.indexes WHERE name = 'j'"), ["1"]);
    session.execute("DROP INDEX i, j").unwrap();
    assert_eq!(rows(&mut session, "SELECT count(*) FROM weir.indexes"), ["0"]);
    drop(session);
    database.close().unwrap();
    let database = open(dir.path());
    assert_eq!(rows(&mut database.session(), "SELECT count(*) FROM t WHERE n = 5051"), ["1"]);
}

#[test]
fn an_index_follows_its_columns() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    let mut session = database.session();
    session
        .execute(&format!("CREATE TABLE t ({COLUMNS}, INDEX i (n + 1, n) TYPE bloom_filter) ORDER BY (id)"))
        .unwrap();
    session.execute(&format!("INSERT INTO t {FILL}")).unwrap();
    session.execute("OPTIMIZE TABLE t FINAL").unwrap();
    let mut is_asked = |alter: &str, query: &str| {
        session.execute(alter).unwrap();
        session.execute("OPTIMIZE TABLE t FINAL").unwrap();
        let query = format!("SELECT id FROM t WHERE {query}");
        assert_eq!(rows(&mut session, &query), ["529"], "{alter}");
        assert!(pruned(&mut session, &query, "i") > 0, "{alter}");
    };
    is_asked("ALTER TABLE t ADD COLUMN first text DEFAULT 'x' FIRST", "n + 1 = 5052");
    is_asked("ALTER TABLE t RENAME COLUMN n TO \"Number\"", "\"Number\" = 5051");
    is_asked("ALTER TABLE t ALTER COLUMN \"Number\" TYPE bigint", "\"Number\" + 1 = 5052");
    is_asked("CREATE INDEX j ON t (s)", "first = 'x' AND \"Number\" = 5051");
    is_asked("ALTER TABLE t DROP COLUMN s", "\"Number\" = 5051");
    assert_eq!(rows(&mut session, "SELECT name, expression FROM weir.indexes"), ["i|\"Number\" + 1, \"Number\""]);
    session.execute("ALTER TABLE t DROP COLUMN \"Number\"").unwrap();
    assert_eq!(rows(&mut session, "SELECT count(*) FROM weir.indexes"), ["0"]);
}

#[test]
fn optimize_makes_one_part_of_a_partition() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    let mut session = database.session();
    session.execute("CREATE TABLE t (id bigint, d date) PARTITION BY d ORDER BY (id)").unwrap();
    for round in 0..3 {
        let days = "DATE '2024-01-01' + (i % 3)::int";
        session
            .execute(&format!("INSERT INTO t SELECT i, {days} FROM generate_series({round}, {round} + 900) AS g(i)"))
            .unwrap();
        session.execute("OPTIMIZE TABLE t PARTITION '2024-01-02'").unwrap();
    }
    let parts =
        "SELECT partition, count(*) FROM weir.parts WHERE \"table\" = 't' GROUP BY partition ORDER BY partition";
    session.execute("OPTIMIZE TABLE t PARTITION ID '2024-01-02' FINAL").unwrap();
    assert_eq!(rows(&mut session, parts)[1], "2024-01-02|1");
    session.execute("OPTIMIZE TABLE t FINAL").unwrap();
    assert_eq!(rows(&mut session, parts), ["2024-01-01|1", "2024-01-02|1", "2024-01-03|1"]);
    assert_eq!(rows(&mut session, "SELECT count(*), sum(id) FROM t"), ["2703|1219053"]);
    session.execute("VACUUM").unwrap();
    session.execute("VACUUM FULL t").unwrap();
    session.execute("BEGIN").unwrap();
    assert!(session.execute("VACUUM t").is_err());
}

#[test]
fn what_is_nonsense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let database = open(dir.path());
    let mut session = database.session();
    session.execute(&format!("CREATE TABLE t ({COLUMNS}, z timestamptz)")).unwrap();
    for (index, why) in [
        ("i n TYPE nothing", "index type \"nothing\" does not exist"),
        ("i n TYPE set", "takes one parameter"),
        ("i n TYPE minmax(1)", "takes no parameters"),
        ("i n TYPE bloom_filter(2)", "a share between 0 and 1"),
        ("i s TYPE ngrambf_v1(3, 0, 2, 0)", "takes no 0"),
        ("i s TYPE ngrambf_v1(3, 512, 2)", "takes four parameters"),
        ("i s TYPE text(tokenizer = 'ngrams')", "is not supported"),
        ("i n TYPE tokenbf_v1(512, 2, 0)", "cannot be over type integer"),
        ("i j TYPE bloom_filter", "cannot be over type jsonb"),
        ("i tags TYPE minmax", "cannot be over type text[]"),
        ("i nosuch TYPE minmax", "column \"nosuch\" does not exist"),
        ("i now() TYPE minmax", "reads no column"),
        ("i n + random() TYPE minmax", "must be marked IMMUTABLE"),
        ("i z::date TYPE minmax", "must be marked IMMUTABLE"),
        ("i n TYPE minmax GRANULARITY 0", "is not between"),
    ] {
        let error = session.execute(&format!("ALTER TABLE t ADD INDEX {index}")).unwrap_err();
        assert!(error.message.contains(why), "{index}: {}", error.message);
    }
    session.execute("CREATE INDEX ON t (n)").unwrap();
    session.execute("CREATE INDEX ON t (n)").unwrap();
    session.execute("CREATE INDEX CONCURRENTLY ON t (lower(s) text_pattern_ops DESC NULLS LAST, n)").unwrap();
    let names = rows(&mut session, "SELECT indexname, indexdef FROM pg_indexes ORDER BY 1");
    assert_eq!(
        names,
        [
            "t_lower_n_idx|CREATE INDEX t_lower_n_idx ON public.t USING minmax (lower(s), n)",
            "t_n_idx|CREATE INDEX t_n_idx ON public.t USING minmax (n)",
            "t_n_idx1|CREATE INDEX t_n_idx1 ON public.t USING minmax (n)",
        ]
    );
    assert!(session.execute("CREATE INDEX t_n_idx ON t (n)").is_err());
    session.execute("CREATE INDEX IF NOT EXISTS t_n_idx ON t (n)").unwrap();
    assert!(session.execute("DROP INDEX nosuch").is_err());
    session.execute("DROP INDEX IF EXISTS nosuch").unwrap();
    session.execute("DROP INDEX t_n_idx").unwrap();
    let schema = session.query("SELECT count(*) FROM pg_indexes").unwrap();
    assert_eq!(schema.batches[0].column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0), 2);
    assert!(schema.batches[0].column(0).is_valid(0));
}
