//! Random queries, put to PostgreSQL and to Weir over the same rows.
//!
//! [`generator`] makes schemas of a few tables (NULLs, skew, edge values) and queries over them. A query whose answer SQL leaves open is not made:
//! rows are compared as a bag, and LIMIT comes with an ORDER BY of every column. Errors are compared by SQLSTATE. Where only one of the two needs a
//! scalar query's value, only that one says that it has several rows (21000): SQL leaves open what is evaluated of what makes no
//! difference. These are counted, and have to be few.
//!
//! It runs for a minute from a new seed, which it prints; `WEIR_DIFF_SEED` repeats one, `WEIR_DIFF_SECONDS` and `WEIR_DIFF_QUERIES` say how long.

mod correlated;
mod generator;

use std::time::{Duration, Instant};

use generator::Generator;
use postgres::{Client, NoTls, SimpleQueryMessage};
use weir_tests::outside::oracle::Postgres;
use weir_tests::process::{Server, explain};

/// So many queries are put to one schema.
const QUERIES_A_SCHEMA: usize = 150;
/// Differences that are shown before it ends.
const SHOWN: usize = 5;

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// Where values are equal and look different (9 and 9.00), SQL leaves open which one these show.
const OPEN_LOOKS: [&str; 6] = ["DISTINCT", "UNION", "INTERSECT", "EXCEPT", "min(", "max("];

/// A number without zeros at its end.
fn plain(value: &str) -> String {
    match value.contains('.') && value.parse::<f64>().is_ok() {
        true => value.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => value.to_string(),
    }
}

/// The rows of a query in order of their text, or the SQLSTATE of its error.
fn answer(client: &mut Client, sql: &str) -> Result<Vec<Vec<String>>, String> {
    let messages = client.simple_query(sql).map_err(|error| match error.as_db_error() {
        Some(db) => db.code().code().to_string(),
        None => panic!("{sql}\n{error}"),
    })?;
    let open = OPEN_LOOKS.iter().any(|word| sql.contains(word));
    let value = |value: Option<&str>| match value {
        Some(value) if open => plain(value),
        value => value.unwrap_or("NULL").to_string(),
    };
    let mut rows: Vec<Vec<String>> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| value(row.get(at))).collect()),
            _ => None,
        })
        .collect();
    rows.sort();
    Ok(rows)
}

#[test]
fn random_queries_give_what_postgres_gives() {
    let seed = setting("WEIR_DIFF_SEED").unwrap_or_else(rand::random);
    let limit = Duration::from_secs(setting("WEIR_DIFF_SECONDS").unwrap_or(60));
    let most = setting("WEIR_DIFF_QUERIES").unwrap_or(u64::MAX);
    println!("differential: seed {seed}");
    let postgres = Postgres::start();
    let mut theirs = Client::connect(&postgres.config(), NoTls).expect("PostgreSQL takes connections");
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut ours = server.connect();
    let mut generator = Generator::new(seed);
    let (start, mut queries, mut failed, mut differences) = (Instant::now(), 0_u64, 0_u64, Vec::new());
    let mut open = 0_u64;
    while start.elapsed() < limit && queries < most && differences.len() < SHOWN {
        let schema = generator.schema();
        for sql in &schema {
            theirs.batch_execute(sql).unwrap_or_else(|e| panic!("PostgreSQL: {sql}: {}", explain(&e)));
            ours.batch_execute(sql).unwrap_or_else(|e| panic!("Weir: {sql}: {}", explain(&e)));
        }
        for _ in 0..QUERIES_A_SCHEMA {
            let sql = generator.query();
            let (expected, given) = (answer(&mut theirs, &sql), answer(&mut ours, &sql));
            queries += 1;
            failed += u64::from(expected.is_err());
            let several = |answer: &Result<_, String>| answer.as_ref().is_err_and(|code| code == "21000");
            if several(&expected) != several(&given) && (expected.is_ok() || given.is_ok()) {
                open += 1;
            } else if expected != given {
                let short = |answer: &Result<Vec<Vec<String>>, String>| match answer {
                    Ok(rows) => format!("{} rows: {:?}", rows.len(), &rows[..rows.len().min(20)]),
                    Err(code) => code.clone(),
                };
                differences.push(format!(
                    "{}\n{sql}\nPostgreSQL {}\nWeir       {}",
                    schema.join(";\n"),
                    short(&expected),
                    short(&given)
                ));
                if differences.len() >= SHOWN {
                    break;
                }
            }
        }
    }
    println!(
        "differential: {queries} queries, {failed} of them errors, {open} an error of one that the other did not need, {} differences",
        differences.len()
    );
    assert!(differences.is_empty(), "seed {seed}:\n{}", differences.join("\n\n"));
    assert!(open <= 2 + queries / 5000, "{open} of {queries} queries have several rows for one only");
    // Errors are the exception, so that answers are what is compared.
    assert!(failed * 10 < queries, "{failed} of {queries} queries fail");
}
