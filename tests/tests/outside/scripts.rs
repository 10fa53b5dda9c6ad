//! The scripts in `slt/postgres` hold what PostgreSQL answers: run on a real one, they must give just that.
//!
//! `WEIR_UPDATE_SCRIPTS=1 cargo test -p weir-tests --features outside --test outside scripts` writes PostgreSQL's answers into them.

use weir_tests::script;

use weir_tests::outside::oracle::Postgres;

#[test]
fn postgres_scripts_are_what_postgres_says() {
    let mut failures = Vec::new();
    for path in script::scripts(&script::folder().join("postgres")) {
        let postgres = Postgres::start();
        let outcome = match std::env::var_os("WEIR_UPDATE_SCRIPTS") {
            Some(_) => script::update(&path, &postgres.config(), "postgres"),
            None => script::run(&path, &postgres.config(), "postgres"),
        };
        failures.extend(outcome.err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
