//! TPC-H at scale 1: all 22 queries, with the specification's parameters, answered as DuckDB answers them, with all memory and with 16 MiB.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use weir_tests::outside::duckdb;
use weir_tests::process::{Server, explain, rows};

const TABLES: [&str; 8] = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];
const QUERIES: usize = 22;

/// The folder with the tables as Parquet, made once a checkout.
fn folder() -> PathBuf {
    let folder = duckdb::root().join("target/tpch");
    if TABLES.iter().any(|table| !folder.join(table).with_extension("parquet").exists()) {
        let generator = duckdb::python().with_file_name("tpchgen-cli");
        let args = ["parquet", "--quiet", "-s", "1", "--output-dir"];
        let done = Command::new(generator).args(args).arg(&folder).status().expect("tpchgen-cli starts");
        assert!(done.success(), "tpchgen-cli failed");
    }
    folder
}

/// Whether two values are one: as text, or as numbers but for what double precision rounds away.
fn same(ours: &str, theirs: &str) -> bool {
    ours == theirs
        || match (ours.parse::<f64>(), theirs.parse::<f64>()) {
            (Ok(a), Ok(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0),
            _ => false,
        }
}

#[test]
fn all_queries_of_tpch_give_what_duckdb_gives() {
    let folder = folder();
    let source = |table: &str| folder.join(table).with_extension("parquet").display().to_string();
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    let mut script = String::new();
    for table in TABLES {
        let sql = format!("CREATE TABLE {table} AS SELECT * FROM read_parquet('{}')", source(table));
        client.batch_execute(&sql).unwrap_or_else(|e| panic!("{sql}: {}", explain(&e)));
        script += &format!("CREATE VIEW {table} AS SELECT * FROM read_parquet('{}');\n", source(table));
    }
    let query = |number: usize| {
        let path = duckdb::root().join(format!("tests/queries/tpch/{number:02}.sql"));
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    for number in 1..=QUERIES {
        script += &format!("SELECT 'query {number}';\n{}", query(number));
    }
    let theirs = duckdb::rows(&script);
    let theirs: Vec<_> = theirs.split(|row| row.len() == 1 && row[0].starts_with("query ")).skip(1).collect();
    assert_eq!(theirs.len(), QUERIES, "DuckDB answers every query");
    let mut on_disk = 0;
    for limit in ["0", "16MB"] {
        client.batch_execute(&format!("SET weir.query_memory_limit = '{limit}'")).expect("it is a setting");
        for (number, theirs) in (1..).zip(&theirs) {
            let sql = query(number);
            let sql = sql.trim_end().trim_end_matches(';');
            let ours = rows(&mut client, sql);
            assert_eq!(ours.len(), theirs.len(), "rows of query {number} within {limit}");
            for (ours, theirs) in ours.iter().zip(*theirs) {
                let equal = ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b));
                assert!(equal, "query {number} within {limit}: {ours:?}, DuckDB {theirs:?}");
            }
            if limit != "0" {
                let plan = rows(&mut client, &format!("EXPLAIN ANALYZE {sql}"));
                on_disk += usize::from(plan.iter().any(|line| line[0].contains("Disk:")));
            }
        }
    }
    assert!(on_disk > 5, "{on_disk} queries went to disk");
    println!(
        "tpch: {QUERIES} of {QUERIES} queries at scale 1 equal DuckDB's answers; within 16 MiB too, {on_disk} on disk"
    );
}
