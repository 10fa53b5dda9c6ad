//! Real Postgres drivers against a server: each inserts, reads back every type, sees errors by SQLSTATE, and cancels a running query.
//! What a driver does stands in `tests/clients`, in its own language.

use std::path::PathBuf;
use std::process::Command;

use weir_tests::outside::duckdb::{python, root};
use weir_tests::outside::oracle::Postgres;
use weir_tests::process::Server;

fn clients() -> PathBuf {
    root().join("tests/clients")
}

/// Runs a client program against a new server; it says where the server is by the environment.
fn run(command: &mut Command) {
    let data = tempfile::tempdir().expect("a temporary folder");
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let port = server.port();
    let output = command
        .env("WEIR_PORT", port.to_string())
        .env("WEIR_DSN", format!("host=127.0.0.1 port={port} user=weir dbname=weir"))
        .env("WEIR_SCRATCH", scratch.path())
        .env("WEIR_URL", format!("postgres://weir@127.0.0.1:{port}/weir"))
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains(": ok"), "{command:?}\n{said}\n{complained}");
    server.stop();
}

#[test]
fn psql() {
    run(Command::new("bash").arg(clients().join("check_psql.sh")));
}

#[test]
fn psycopg() {
    run(Command::new(python()).arg(clients().join("check_psycopg.py")));
}

#[test]
fn asyncpg() {
    run(Command::new(python()).arg(clients().join("check_asyncpg.py")));
}

#[test]
fn node_postgres() {
    run(Command::new("node").arg(clients().join("node/check_pg.js")));
}

#[test]
fn pgjdbc() {
    let source = clients().join("java/CheckPgjdbc.java");
    run(Command::new("java").args(["-cp", "/usr/share/java/postgresql.jar"]).arg(source));
}

#[test]
fn pgx() {
    let program = tempfile::tempdir().expect("a temporary folder");
    let check = program.path().join("check");
    let built =
        Command::new("go").args(["build", "-o"]).arg(&check).arg(".").current_dir(clients().join("go")).status();
    assert!(built.expect("go runs").success(), "the client does not build");
    run(&mut Command::new(check));
}

/// Every question about the catalogue that the recorded clients asked.
#[test]
fn recorded() {
    run(Command::new(python()).arg(clients().join("check_recorded.py")));
}

/// psql's describe commands over the same schema show the same, here and on PostgreSQL: titles, columns, rows.
#[test]
fn psql_describes_as_on_postgres() {
    const COMMANDS: &[&str] = &[
        "\\d",
        "\\d events",
        "\\d+ events",
        "\\d plain",
        "\\d+ plain",
        "\\d v",
        "\\d mv",
        "\\d lab.t",
        "\\d lab.*",
        "\\d nope",
        "\\dt",
        "\\dt lab.*",
        "\\dt nope",
        "\\dv",
        "\\dv+",
        "\\dm",
        "\\di",
        "\\ds",
        "\\dE",
        "\\dT",
        "\\dD",
        "\\dp",
        "\\ddp",
        "\\dd",
        "\\db",
        "\\dx",
        "\\dy",
        "\\des",
        "\\det",
        "\\dew",
        "\\dX",
        "\\dRp",
        "\\dP",
        "\\drds",
        "\\dl",
        "\\du",
        "\\dg",
        "\\df weirdly",
    ];
    const SCHEMA: &str = "
        CREATE TABLE events (id bigint NOT NULL, event_type text NOT NULL, n integer DEFAULT 7, ts timestamptz NOT NULL,
            amount numeric(10,2), tags text[], properties jsonb, PRIMARY KEY (id, ts));
        COMMENT ON TABLE events IS 'what happened';
        COMMENT ON COLUMN events.ts IS 'when';
        CREATE TABLE plain (a int, b varchar(10));
        CREATE VIEW v AS SELECT event_type, amount FROM events WHERE amount > 0;
        CREATE MATERIALIZED VIEW mv AS SELECT event_type, count(*) AS n, max(id) AS most FROM events GROUP BY event_type;
        CREATE SCHEMA lab;
        CREATE TABLE lab.t (x date);";
    let ask = |dsn: &str, command: &str| {
        let output = Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--no-align", "--dbname", dsn, "--command", command])
            .output()
            .expect("psql runs");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let (data, postgres) = (tempfile::tempdir().expect("a temporary folder"), Postgres::start());
    let server = Server::start(data.path());
    let weir = format!("host=127.0.0.1 port={} user=weir dbname=weir", server.port());
    let oracle = postgres.config();
    // The same names on both sides: of the owner, and of the schema that holds Weir's own relations.
    let setup = ask(&oracle, "CREATE ROLE weir SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS LOGIN");
    assert_eq!(setup, "");
    let oracle = oracle.replace("user=postgres", "user=weir");
    ask(&weir, SCHEMA);
    ask(&oracle, SCHEMA);
    let mut differences = String::new();
    for command in COMMANDS {
        let (found, expected) = (ask(&weir, command), ask(&oracle, command));
        // PostgreSQL's own first role is listed beside ours, and its one extension has a comment.
        let expected: String = expected
            .lines()
            .filter(|line| !line.starts_with("postgres|Superuser"))
            .map(|line| line.replace("|postgres|", "|weir|").replace("PL/pgSQL procedural language", "") + "\n")
            .collect();
        if found.trim_end() != expected.trim_end() {
            differences += &format!("{command}\nfound:\n{found}\nexpected:\n{expected}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
    // The SELECT of a view is shown as it was written.
    let view = ask(&weir, "\\d+ mv");
    assert!(
        view.contains("View definition:\n SELECT event_type, count(*) AS n, max(id) AS most FROM events"),
        "{view}"
    );
    server.stop();
}
