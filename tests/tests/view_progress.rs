//! A view that is being filled says how far it is: others see it in `weir.views`, hidden as it is otherwise.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use weir_engine::Database;

const ROWS: i64 = 400_000;

#[test]
fn a_view_that_is_filled_tells_how_far_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let database = Database::open(dir.path()).expect("it opens");
    let run = |sql: &str| database.session().execute(sql).map(drop).unwrap_or_else(|error| panic!("{sql}: {error}"));
    run("CREATE TABLE t (id bigint, body text)");
    run(&format!("INSERT INTO t SELECT n, 'text ' || n FROM generate_series(1, {ROWS}) AS g (n)"));

    let seen = std::thread::scope(|scope| {
        let filling = scope.spawn(|| {
            run("CREATE MATERIALIZED VIEW v AS SELECT id % 1000 AS k, count(*) AS n, count(DISTINCT md5(body)) AS bodies FROM t GROUP BY k");
        });
        let mut seen = Vec::new();
        while !filling.is_finished() {
            let found = database
                .session()
                .query("SELECT rows_done, rows_total FROM weir.views WHERE building AND rows_total IS NOT NULL")
                .expect("it can be asked meanwhile");
            for batch in found.batches.iter().filter(|batch| batch.num_rows() > 0) {
                let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(0);
                seen.push((number(0), number(1)));
            }
        }
        seen
    });
    assert!(!seen.is_empty(), "it was seen while it was filled");
    assert!(seen.is_sorted(), "it only gets further: {seen:?}");
    assert!(seen.iter().all(|(done, total)| (0..=ROWS).contains(done) && *total == ROWS), "of all rows: {seen:?}");

    let found = database
        .session()
        .query(
            "SELECT (SELECT sum(n)::bigint FROM v), count(*) FROM weir.views WHERE NOT building AND rows_total IS NULL",
        )
        .expect("it is there");
    let numbers: Vec<i64> =
        found.batches[0].columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0)).collect();
    assert_eq!(numbers, [ROWS, 1]);
    database.close().expect("it closes");
}
