//! Weir inside a program, with no server: `cargo run -p weir-engine --example embedded`.
//!
//! Opens a database in a temporary folder, makes a table and a materialized view, inserts events and asks both.

use weir_engine::format::{FormatSettings, text_at};
use weir_engine::{Database, QueryResult, Result};

fn main() -> Result<()> {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let db = Database::open(folder.path())?;
    db.execute(
        "CREATE TABLE events (ts timestamptz NOT NULL, page text NOT NULL, user_id bigint) ORDER BY (page, ts)",
    )?;
    db.execute(
        "CREATE MATERIALIZED VIEW pages AS
         SELECT page, count(*) AS views, count(DISTINCT user_id) AS users FROM events GROUP BY page",
    )?;
    db.execute("INSERT INTO events SELECT now(), 'page ' || g % 3, g % 100 FROM generate_series(1, 10000) g")?;

    // A session keeps a transaction, settings and prepared statements.
    let mut session = db.session();
    session.execute("BEGIN")?;
    session.execute("INSERT INTO events VALUES (now(), 'page 0', 1000)")?;
    session.execute("COMMIT")?;

    print(&db.query("SELECT page, views, users FROM pages ORDER BY page")?);
    match db.query("SELECT 1 / 0") {
        Err(error) => println!("an error has a code and a message: {:?}: {}", error.kind, error.message),
        Ok(_) => unreachable!("division by zero is an error"),
    }
    db.close()
}

fn print(result: &QueryResult) {
    let names: Vec<&str> = result.columns.iter().map(|column| column.name.as_str()).collect();
    println!("{}", names.join("\t"));
    let settings = FormatSettings::default();
    for batch in &result.batches {
        for row in 0..batch.num_rows() {
            let values = result.columns.iter().zip(batch.columns());
            let texts = values.map(|(column, array)| text_at(&column.ty, array, row, &settings).unwrap_or_default());
            println!("{}", texts.collect::<Vec<_>>().join("\t"));
        }
    }
}
