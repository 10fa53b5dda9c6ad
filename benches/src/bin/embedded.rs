//! Weir inside a program, as a worker of `benches/compare`: `embedded DATA THREADS`.
//!
//! A statement comes in a line of standard input, as a JSON string; its answer goes out in a line: `{"seconds": …, "rows": […]}`, or
//! `{"error": …}`. The seconds are those between the text and its last batch of rows, in this program's memory; writing the rows as text is for
//! whoever compares answers, and is not counted.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

use serde_json::{Value, json};
use weir_engine::format::{FormatSettings, text_at};
use weir_engine::{Database, Options, QueryResult, Session};

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, threads] = arguments.as_slice() else { return Err("usage: embedded DATA THREADS".into()) };
    let database = Database::open_with(data, Options { threads: Some(threads.parse()?), ..Options::default() })?;
    let mut session = database.session();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let sql: String = serde_json::from_str(&line?)?;
        let start = Instant::now();
        let result = session.query(&sql);
        let seconds = start.elapsed().as_secs_f64();
        let answer = match &result {
            Ok(result) => json!({ "seconds": seconds, "rows": texts(&session, result) }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    drop(session);
    Ok(database.close()?)
}

/// The rows, their values as texts.
fn texts(session: &Session, result: &QueryResult) -> Vec<Value> {
    let settings = FormatSettings::of(&session.function_context());
    let mut rows = Vec::with_capacity(result.rows());
    for batch in &result.batches {
        let columns = || result.columns.iter().zip(batch.columns());
        let row = |row| columns().map(|(column, array)| text_at(&column.ty, array, row, &settings)).collect();
        rows.extend((0..batch.num_rows()).map(row));
    }
    rows
}
