//! The scripts in `slt/postgres`, `slt/duckdb` and `slt/clickhouse` hold what these answer: run on the real ones, they must give just that.
//!
//! `WEIR_UPDATE_SCRIPTS=1 cargo test -p weir-tests --features outside --test outside scripts` writes their answers into them. Where Weir and a
//! peer spell a statement differently, it is there twice, under `onlyif weir` and `skipif weir`.

use weir_tests::outside::oracle::Postgres;
use weir_tests::outside::peer::Peer;
use weir_tests::script;

#[test]
fn postgres_scripts_are_what_postgres_says() {
    let mut failures = Vec::new();
    let postgres = Postgres::start();
    for path in script::scripts(&script::folder().join("postgres")) {
        let outcome = match std::env::var_os("WEIR_UPDATE_SCRIPTS") {
            Some(_) => script::update(&path, &postgres.fresh(), "postgres"),
            None => script::run(&path, &postgres.fresh(), "postgres"),
        };
        failures.extend(outcome.err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn peer_scripts(name: &'static str) {
    let mut failures = Vec::new();
    for path in script::scripts(&script::folder().join(name)) {
        let open = || Ok(Peer::start(name));
        let outcome = match std::env::var_os("WEIR_UPDATE_SCRIPTS") {
            Some(_) => script::update_on(&path, open),
            None => script::run_on(&path, open),
        };
        failures.extend(outcome.err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn duckdb_scripts_are_what_duckdb_says() {
    peer_scripts("duckdb");
}

#[test]
fn clickhouse_scripts_are_what_clickhouse_says() {
    peer_scripts("clickhouse");
}
