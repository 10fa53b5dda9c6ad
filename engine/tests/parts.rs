//! What `weir.parts` and `weir.part_columns` tell of rows that are in parts, and that CODEC decides how they are kept.

use weir_engine::format::{FormatSettings, text_at};
use weir_engine::{Database, Options};

/// The rows of a query as texts.
fn rows(db: &Database, sql: &str) -> Vec<Vec<String>> {
    let result = db.query(sql).expect("it runs");
    let settings = FormatSettings::default();
    let mut rows = Vec::new();
    for batch in &result.batches {
        for row in 0..batch.num_rows() {
            let values = result.columns.iter().zip(batch.columns());
            rows.push(values.map(|(c, array)| text_at(&c.ty, array, row, &settings).unwrap_or_default()).collect());
        }
    }
    rows
}

#[test]
fn parts_show_their_encodings_and_codecs_decide_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Database::open_with(folder.path(), Options { bulk_bytes: 1024, ..Options::default() }).expect("it opens");
    db.execute(
        "CREATE TABLE t (
            id bigint, delta bigint CODEC(Delta), bits bigint CODEC(T64), raw bigint CODEC(NONE),
            gorilla double precision CODEC(Gorilla), alp double precision, few text, maybe int
        ) ORDER BY id",
    )
    .expect("the table is made");
    db.execute(
        "INSERT INTO t SELECT i, i * i, i * i, i * i, i / 8.0, i / 100.0, 'kind ' || i % 5, nullif(i % 10, 0)
         FROM generate_series(1, 5000) g(i)",
    )
    .expect("rows come in");
    db.execute("DELETE FROM t WHERE id <= 7").expect("rows go");
    assert_eq!(
        rows(
            &db,
            "SELECT sum(rows), sum(rows_deleted), sum(granules) >= count(*), sum(bytes) < sum(bytes_raw) FROM weir.parts"
        ),
        [["4993", "7", "t", "t"]]
    );
    let kept = rows(
        &db,
        "SELECT \"column\", type, min(regexp_replace(encodings, ' x.*', '')), sum(nulls), sum(bytes) > 0, sum(bytes_raw) > 0
         FROM weir.part_columns WHERE \"table\" = 't' GROUP BY 1, 2 ORDER BY 1",
    );
    let expected = [
        ["alp", "double precision", "alp", "0"],
        ["bits", "bigint", "packed", "0"],
        ["delta", "bigint", "delta", "0"],
        ["few", "text", "part dictionary", "0"],
        ["gorilla", "double precision", "gorilla", "0"],
        ["id", "bigint", "delta", "0"],
        ["maybe", "integer", "packed", "500"],
        ["raw", "bigint", "plain", "0"],
    ];
    for (kept, expected) in kept.iter().zip(expected) {
        assert_eq!(kept[..4], expected);
        assert_eq!(kept[4..], ["t", "t"], "{}", expected[0]);
    }
    assert_eq!(kept.len(), expected.len());
    let sums =
        rows(&db, "SELECT sum(delta) = sum(bits) AND sum(bits) = sum(raw), sum(gorilla * 8), sum(alp * 100) FROM t");
    assert_eq!(sums, [["t", "12502472", "12502472"]]);
}

#[test]
fn texts_that_come_again_later_in_a_part_get_its_dictionary() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Database::open_with(folder.path(), Options { bulk_bytes: 1024, ..Options::default() }).expect("it opens");
    db.execute("CREATE TABLE t (id bigint, product text) ORDER BY id").expect("the table is made");
    // 20,000 products, the first the most frequent: most of a granule's rows are products that it has once.
    db.execute(
        "INSERT INTO t SELECT i, 'sku-' || floor(pow((i * 7919 % 100003) / 100003.0, 2) * 20000)::int
         FROM generate_series(1, 200000) g(i)",
    )
    .expect("rows come in");
    db.execute("OPTIMIZE TABLE t FINAL").expect("it is one part");
    let kept = rows(
        &db,
        "SELECT DISTINCT regexp_replace(encodings, ' x.*', '') FROM weir.part_columns WHERE \"column\" = 'product'",
    );
    assert_eq!(kept, [["part dictionary"]]);
}

#[test]
fn rows_of_parts_give_what_the_same_rows_give_elsewhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Database::open_with(folder.path(), Options { bulk_bytes: 1024, ..Options::default() }).expect("it opens");
    let made = "SELECT i AS id, 'the page of number ' || i % 50 AS page, CASE WHEN i % 20 <> 7 THEN 'kind ' || i % 3 END AS kind,
                       i * 7919 % 1000 - 500 AS n, nullif(i % 7, 3) AS few, i / 100 % 10 AS run,
                       'the note of ' || i * 7919 % 100003 || ' says so' AS note
                FROM generate_series(0, 149999) AS g(i)";
    db.execute(
        "CREATE TABLE e (id bigint NOT NULL, page text, kind text, n bigint, few int, run int, note text) ORDER BY id",
    )
    .expect("the table is made");
    db.execute(&format!("INSERT INTO e {made}")).expect("rows come in");
    for query in [
        // Keys in codes: few groups, many, and so many that threads give up on rows that meet.
        "SELECT kind, count(*), sum(n) FROM {} GROUP BY kind",
        "SELECT page, kind, few, max(id) FROM {} GROUP BY page, kind, few ORDER BY 4 DESC LIMIT 10",
        "SELECT id % 140000, page, count(*) FROM {} GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 7",
        "SELECT kind, id, count(*) FROM {} GROUP BY kind, id HAVING id % 1000 < 2 ORDER BY 3, kind LIMIT 9",
        "SELECT id % 140000, CASE WHEN id < 0 THEN page END, count(*) FROM {} GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 7",
        "SELECT count(*), sum(id) FROM (SELECT page, id, kind FROM {} GROUP BY page, id, kind) groups",
        // Of columns only which are NULL.
        "SELECT count(kind), count(few), count(*) FROM {} WHERE id % 3 = 1",
        "SELECT page, count(kind), count(few) FROM {} GROUP BY page ORDER BY page LIMIT 5",
        // Comparisons that packed integers answer.
        "SELECT count(*), sum(id) FROM {} WHERE n = 123",
        "SELECT count(*), sum(id) FROM {} WHERE n > 490 OR n < -498",
        "SELECT count(*), sum(id) FROM {} WHERE n >= 17 AND n <= 17.5 AND id > 100",
        "SELECT count(*), sum(id) FROM {} WHERE n < -1000000 OR few = 5",
        "SELECT count(*), sum(id) FROM {} WHERE few > 2 AND 100 <= n",
        "SELECT id, n, few FROM {} WHERE n = -77 AND few < 4 ORDER BY id LIMIT 4",
        "SELECT count(*), sum(id) FROM {} WHERE n <> 123 AND few != 2",
        "SELECT count(*), sum(id) FROM {} WHERE few <> 2.5 AND n <> 1000000",
        // Runs, and codes side by side in a dictionary.
        "SELECT count(*), sum(id) FROM {} WHERE run <> 3 AND run < 9",
        "SELECT count(*), sum(id) FROM {} WHERE kind = 'kind 1' AND run = 4",
        "SELECT count(*), sum(id) FROM {} WHERE kind <> 'kind 1' AND page >= 'the page of number 2'",
        // Texts that are searched where many rows are wanted, and read where few are.
        "SELECT count(*), sum(id) FROM {} WHERE note LIKE '%of 77%' AND n <> 5",
        "SELECT count(*), sum(id) FROM {} WHERE note LIKE '%of 7%' AND n = 5",
        "SELECT count(*), sum(id) FROM {} WHERE note LIKE '%of 7%' AND note NOT LIKE '%9%' AND few < 3 AND n > 7 AND 100 / (n - 7) > 1",
        // Columns that are read of the winners alone.
        "SELECT * FROM {} ORDER BY n DESC, id LIMIT 12",
        "SELECT note, page, n + 1 FROM {} WHERE few = 1 ORDER BY n, id DESC OFFSET 3 LIMIT 5",
        "SELECT note, kind FROM {} WHERE note LIKE '%of 3%' ORDER BY run DESC, kind NULLS FIRST, id LIMIT 8",
        "SELECT kind FROM {} ORDER BY id % 1000, id LIMIT 1030",
        // The least and the greatest, of whole granules.
        "SELECT min(n), max(n), max(few), min(run), max(id) FROM {}",
        "SELECT min(n), max(n), count(*) FROM {}",
        "SELECT max(n) - min(few) FROM {} WHERE n <> 499",
        // Distinct texts by their codes.
        "SELECT count(DISTINCT kind), count(DISTINCT page), count(DISTINCT note) FROM {}",
        "SELECT few, count(DISTINCT kind), count(DISTINCT page) FROM {} GROUP BY few ORDER BY few",
    ] {
        let [kept, expected] = ["e", &format!("({made}) made")].map(|from| rows(&db, &query.replace("{}", from)));
        assert_eq!(kept, expected, "{query}");
        assert!(!expected.is_empty(), "{query}");
    }
}

#[test]
fn texts_of_which_only_lengths_are_asked_give_what_the_same_rows_give_elsewhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Database::open_with(folder.path(), Options { bulk_bytes: 1024, ..Options::default() }).expect("it opens");
    // The same texts in codes of strings, as they are, compressed, and others by dictionary. Those that are empty or NULL are none of those by
    // which storage judges how many there are.
    let made = |from: i64, to: i64| {
        format!(
            "SELECT id, url, url AS plain, url AS zstd, url AS lz4, page, nothing FROM (
                 SELECT i AS id, CASE WHEN i % 10 = 3 THEN '' WHEN i % 14 <> 5 THEN 'https://größe.example/' || md5(i::text) || repeat('/x', i % 9) END AS url,
                        CASE WHEN i % 3 = 1 THEN '' WHEN i % 4 <> 3 THEN 'the page ' || repeat('ö', i % 50) END AS page, NULL::text AS nothing
                 FROM generate_series({from}, {to}) AS g(i)
             ) texts"
        )
    };
    db.execute(
        "CREATE TABLE e (
             id bigint NOT NULL, url text, plain text CODEC(NONE), zstd text CODEC(ZSTD(1)), lz4 text CODEC(LZ4), page text, nothing text
         ) ORDER BY id",
    )
    .expect("the table is made");
    db.execute(&format!("INSERT INTO e {}", made(0, 10_000))).expect("rows come in");
    let check = |rows_of: &str| {
        for query in [
            "SELECT count(*), sum(id) FROM {} WHERE COLUMN <> ''",
            "SELECT count(*), sum(id) FROM {} WHERE '' = COLUMN",
            "SELECT id, COLUMN FROM {} WHERE COLUMN <> '' AND id % 1000 = 5 ORDER BY id",
            "SELECT count(*), min(COLUMN) FROM {} WHERE NOT COLUMN <> '' AND id > 100",
            "SELECT count(*) FROM {} WHERE COLUMN = '' OR COLUMN IS NULL",
            "SELECT id % 7, avg(octet_length(COLUMN)), count(COLUMN) FROM {} WHERE COLUMN <> '' GROUP BY 1 ORDER BY 1",
            "SELECT count(COLUMN), sum(octet_length(COLUMN)), sum(length(page)), max(strlen(COLUMN)) FROM {} WHERE id % 3 = 1",
            "SELECT octet_length(COLUMN), octet_length(page), page, count(*) FROM {} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT 50",
            "SELECT id, octet_length(COLUMN) + 1, octet_length(COLUMN) IS NULL FROM {} WHERE id % 1000 < 9 ORDER BY id",
            "SELECT count(*), sum(octet_length(COLUMN)) FROM {} WHERE octet_length(COLUMN) > 60 AND COLUMN <> ''",
            "SELECT sum(octet_length(COLUMN)) FILTER (WHERE id < 5000), sum(CASE WHEN id % 2 = 0 THEN octet_length(COLUMN) END) FROM {}",
        ] {
            for column in ["url", "plain", "zstd", "lz4", "page", "nothing"] {
                let query = query.replace("COLUMN", column);
                let [kept, expected] =
                    ["e", &format!("({rows_of}) made")].map(|from| rows(&db, &query.replace("{}", from)));
                assert_eq!(kept, expected, "{query}");
            }
        }
    };
    let kept = rows(
        &db,
        "SELECT \"column\", min(regexp_replace(encodings, ' x.*', '')) FROM weir.part_columns WHERE \"table\" = 'e' GROUP BY 1 ORDER BY 1",
    );
    let expected = [
        ["id", "delta"],
        ["lz4", "plain"],
        ["nothing", "constant"],
        ["page", "part dictionary"],
        ["plain", "plain"],
        ["url", "fsst"],
        ["zstd", "plain"],
    ];
    assert_eq!(kept, expected);
    check(&made(0, 10_000));
    // Rows that are not in parts yet, and rows that are not there any more.
    db.execute(&format!("INSERT INTO e {}", made(10_001, 10_003))).expect("a few rows come in");
    db.execute("DELETE FROM e WHERE id % 11 = 6").expect("rows go");
    check(&format!("SELECT * FROM ({}) texts WHERE id % 11 <> 6", made(0, 10_003)));
}
