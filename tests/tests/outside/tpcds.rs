//! TPC-DS at scale 1: all 99 queries, as DuckDB's extension has them, answered as DuckDB answers them, with all memory and with 64 MiB.
//!
//! The extension comes as a Python package for one version of DuckDB, so it has a Python of its own. ORDER BY leaves the order of many
//! rows open; every row must be among the other's, wherever.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use weir_tests::outside::duckdb;
use weir_tests::process::{Server, explain, rows};

const TABLES: usize = 24;
const QUERIES: usize = 99;

type Rows = Vec<Vec<String>>;

/// The folder with the tables and DuckDB's answers, made once a checkout.
fn folder() -> PathBuf {
    let folder = duckdb::root().join("target/tpcds");
    if !folder.exists() {
        let python = duckdb::root().join(".tools/tpcds/bin/python");
        assert!(python.exists(), "{} is not there: run `cargo xtask setup` first", python.display());
        let made = tempfile::tempdir_in(duckdb::root().join("target")).expect("target can be written");
        let script = duckdb::root().join("tests/clients/make_tpcds.py");
        let done = Command::new(python).arg(script).arg(made.path()).status().expect("python starts");
        assert!(done.success(), "the data of TPC-DS was not made");
        fs::rename(made.keep(), &folder).expect("both are in target");
    }
    folder
}

fn tables(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).expect("the folder was made").map(|entry| entry.expect("it can be read").path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "parquet")).collect()
}

/// Number, text and DuckDB's rows of each query.
fn queries(folder: &Path) -> Vec<(u64, String, Rows)> {
    let text = fs::read_to_string(folder.join("queries.json")).expect("the answers were written");
    let list: serde_json::Value = serde_json::from_str(&text).expect("they are JSON");
    let query = |entry: &serde_json::Value| {
        let rows = serde_json::from_value(entry["rows"].clone()).expect("rows of text");
        let number = entry["number"].as_u64().expect("a number");
        (number, entry["sql"].as_str().expect("a query").trim_end().trim_end_matches(';').to_string(), rows)
    };
    list.as_array().expect("a list of queries").iter().map(query).collect()
}

/// Whether two values are one: as text, but for the blanks that pad a char, or as numbers, but for what double precision rounds away.
fn same(ours: &str, theirs: &str) -> bool {
    ours.trim_end() == theirs.trim_end()
        || match (ours.parse::<f64>(), theirs.parse::<f64>()) {
            (Ok(a), Ok(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0),
            _ => false,
        }
}

fn same_row(ours: &[String], theirs: &[String]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b))
}

/// Says where two answers differ.
fn compare(ours: &Rows, theirs: &Rows) -> Result<(), String> {
    if ours.len() != theirs.len() {
        return Err(format!("{} rows, DuckDB {}", ours.len(), theirs.len()));
    }
    let mut left: Vec<&Vec<String>> = theirs.iter().collect();
    for row in ours {
        // In the same order it is the first that is left.
        match left.iter().position(|other| same_row(row, other)) {
            Some(at) => drop(left.remove(at)),
            None => return Err(format!("{row:?} is not among DuckDB's rows, of which is left {:?}", left.first())),
        }
    }
    Ok(())
}

#[test]
fn all_queries_of_tpcds_give_what_duckdb_gives() {
    let folder = folder();
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    let tables = tables(&folder);
    assert_eq!(tables.len(), TABLES, "tables in {}", folder.display());
    for path in tables {
        let table = path.file_stem().expect("a file has a name").display().to_string();
        let sql = format!("CREATE TABLE {table} AS SELECT * FROM read_parquet('{}')", path.display());
        client.batch_execute(&sql).unwrap_or_else(|e| panic!("{sql}: {}", explain(&e)));
    }
    let queries = queries(&folder);
    assert_eq!(queries.len(), QUERIES, "queries");
    for limit in ["0", "64MB"] {
        client.batch_execute(&format!("SET weir.query_memory_limit = '{limit}'")).expect("it is a setting");
        for (number, sql, theirs) in &queries {
            if let Err(difference) = compare(&rows(&mut client, sql), theirs) {
                panic!("query {number} within {limit}: {difference}");
            }
        }
    }
    println!("tpcds: {QUERIES} of {QUERIES} queries at scale 1 equal DuckDB's answers, within 64 MiB too");
}
