//! ClickHouse, as `chdb` in Python, as the oracle of what its engines mean.

use super::duckdb::script_rows;

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
    script_rows(SCRIPT, &statements.join(";\n"))
}
