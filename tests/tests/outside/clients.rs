//! Real Postgres drivers against a server: each inserts, reads back every type, sees errors by SQLSTATE, and cancels a running query.
//! What a driver does stands in `tests/clients`, in its own language.

use std::path::PathBuf;
use std::process::Command;

use weir_tests::process::Server;

use weir_tests::outside::duckdb::{python, root};

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
