//! Every statement that real clients were recorded to send parses. The recordings are not part of this repository: without them the hard ones
//! below stand for all.

use std::path::Path;

use weir_sql::parse::parse;

/// Those that no dialect of `sqlparser` reads as they are, and those of unusual shape.
const HARD: &[&str] = &[
    "comment on table \"lab\".\"dbt_s\".\"m\" is $dbt_comment_literal_block$it's $1 a \"comment\"$dbt_comment_literal_block$",
    "comment on column t.a is null",
    "vacuum analyze pgbench_branches",
    "copy pgbench_accounts from stdin with (freeze on)",
    "COPY (select 1) TO STDOUT (FORMAT binary)",
    "COPY t TO STDOUT CSV FORCE QUOTE *",
    "COPY \"t\" (\"a\", \"b\") FROM STDIN CSV HEADER DELIMITER ';' NULL AS 'x' QUOTE '\"'",
    "MOVE 2 FROM \"named\"",
    "FETCH FORWARD 2 FROM \"named\"",
    "DECLARE \"named\" SCROLL CURSOR WITH HOLD FOR select 1",
    "DECLARE c1 CURSOR FOR SELECT a FROM public.t WHERE ((a < $1::integer))",
    "START TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY, DEFERRABLE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET extra_float_digits = 3",
    "SET search_path = \"$user\", public",
    "SHOW TRANSACTION ISOLATION LEVEL",
    "SELECT c.relname FROM pg_catalog.pg_class c WHERE c.relname OPERATOR(pg_catalog.~) '^(t)$' COLLATE pg_catalog.default",
    "SELECT (information_schema._pg_expandarray(i.indkey)).n FROM pg_catalog.pg_index i",
    "create temporary table \"x__dbt_tmp\" as (select 1 as id)",
    "drop table if exists \"lab\".\"dbt_s\".\"x\" cascade",
    "LOCK TABLE t IN ACCESS EXCLUSIVE MODE",
    "DEALLOCATE PREPARE \"_pg3_0\"",
    "DISCARD ALL",
    "ROLLBACK TO SAVEPOINT pg_psql_temporary_savepoint",
    "RELEASE pg_psql_temporary_savepoint",
    "insert into t (a, b) values ($1, default), ($2, 3) returning a, b",
    "explain (analyze, buffers off, format json) select 1",
];

fn failures(statements: &[String]) -> Vec<String> {
    statements
        .iter()
        .filter_map(|sql| parse(sql).err().map(|error| format!("{error} at {:?}: {sql}", error.position)))
        .collect()
}

#[test]
fn hard_statements_parse() {
    let statements: Vec<String> = HARD.iter().map(|sql| sql.to_string()).collect();
    assert_eq!(failures(&statements), Vec::<String>::new());
}

#[test]
fn recorded_statements_parse() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/clients");
    let Ok(files) = std::fs::read_dir(&folder) else {
        eprintln!("no recordings at {}: skipped", folder.display());
        return;
    };
    let mut statements = Vec::new();
    for file in files.flatten().filter(|file| file.path().extension().is_some_and(|extension| extension == "sql")) {
        let text = std::fs::read_to_string(file.path()).expect("a readable recording");
        statements.extend(recorded(&text));
    }
    assert!(statements.len() > 600, "{} statements recorded", statements.len());
    let failures = failures(&statements);
    // Clients also send mistakes on purpose.
    let unexpected: Vec<&String> = failures.iter().filter(|failure| !failure.contains("selec ")).collect();
    assert!(unexpected.is_empty(), "{} of {}: {unexpected:#?}", unexpected.len(), statements.len());
}

/// Statements of a recording: what stands between lines that start with `-- [` (how it was sent).
fn recorded(text: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    for line in text.lines().skip_while(|line| !line.starts_with("-- [")) {
        match (line.starts_with("-- ["), statements.last_mut()) {
            (false, Some(last)) => {
                last.push_str(line);
                last.push('\n');
            }
            _ => statements.push(String::new()),
        }
    }
    statements.retain(|statement| !statement.trim().is_empty());
    statements
}
