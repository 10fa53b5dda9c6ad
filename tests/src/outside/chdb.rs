//! ClickHouse, as `chdb` in Python, as the oracle of what its engines mean.

use std::io::Write;
use std::process::{Command, Stdio};

use super::duckdb::python;

/// Prints what each statement given on standard input gives: rows as TSV.
const SCRIPT: &str = r#"
import sys, tempfile
from chdb import session
with tempfile.TemporaryDirectory() as folder:
    s = session.Session(folder)
    for statement in sys.stdin.read().split(';\n'):
        if statement.strip():
            sys.stdout.write(str(s.query(statement, 'TSV')))
    s.close()
"#;

/// The rows of all statements, as text.
pub fn rows(statements: &[String]) -> Vec<Vec<String>> {
    let mut child = Command::new(python())
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let text = statements.join(";\n");
    child.stdin.take().expect("stdin is piped").write_all(text.as_bytes()).expect("python reads");
    let output = child.wait_with_output().expect("python ends");
    assert!(output.status.success(), "ClickHouse refused: {text}");
    let text = String::from_utf8(output.stdout).expect("python prints UTF-8");
    text.lines().map(|line| line.split('\t').map(str::to_string).collect()).collect()
}
