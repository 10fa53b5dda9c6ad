//! DuckDB, in Python, as the oracle over files.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Prints the rows of each statement given on standard input: values as text, tab-separated, NULL as NULL.
const SCRIPT: &str = r#"
import sys, duckdb
con = duckdb.connect()
con.execute("SET TimeZone='UTC'")
con.execute("SET memory_limit='4GB'")
for statement in sys.stdin.read().split(';\n'):
    if statement.strip():
        for row in con.execute(statement).fetchall():
            print('\t'.join('NULL' if v is None else str(v) for v in row))
"#;

/// The Python of the tools folder, with the drivers and peers that `cargo xtask setup` installed.
pub fn python() -> PathBuf {
    let python = root().join(".tools/venv/bin/python");
    assert!(python.exists(), "{} is not there: run `cargo xtask setup` first", python.display());
    python
}

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is below the root")
}

/// A file of the real data, which stands beside the checkout.
pub fn data(name: &str) -> PathBuf {
    let path = root().join("../shared/data").join(name);
    assert!(path.exists(), "{} is not there: the real data belongs beside the checkout", path.display());
    path
}

/// The rows of a statement (or of the last of several), as text.
pub fn rows(sql: &str) -> Vec<Vec<String>> {
    script_rows(SCRIPT, sql)
}

/// What a script in Python prints of the statements on its standard input: rows, parted by tabs.
pub(super) fn script_rows(script: &str, sql: &str) -> Vec<Vec<String>> {
    let mut child = Command::new(python())
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    child.stdin.take().expect("stdin is piped").write_all(sql.as_bytes()).expect("python reads");
    let output = child.wait_with_output().expect("python ends");
    assert!(output.status.success(), "refused: {sql}");
    let text = String::from_utf8(output.stdout).expect("python prints UTF-8");
    text.lines().map(|line| line.split('\t').map(str::to_string).collect()).collect()
}
