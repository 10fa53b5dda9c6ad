//! Every function of SHOW FUNCTIONS has an example, which gives the answer that it states.

use weir_sql::catalog::FunctionKind;

use super::registry;
use crate::Database;
use crate::format::{FormatSettings, text_at};

/// The rows of a query as texts, columns and rows with commas between them.
fn answer(db: &Database, sql: &str) -> Result<String, String> {
    let result = db.query(sql).map_err(|error| error.to_string())?;
    let settings = FormatSettings::default();
    let mut rows = Vec::new();
    for batch in &result.batches {
        for row in 0..batch.num_rows() {
            let shown = |(column, array)| {
                let column: &weir_sql::plan::OutputColumn = column;
                text_at(&column.ty, array, row, &settings).unwrap_or_else(|| "NULL".to_string())
            };
            let row: Vec<String> = result.columns.iter().zip(batch.columns()).map(shown).collect();
            rows.push(row.join(", "));
        }
    }
    Ok(rows.join(", "))
}

#[test]
fn every_example_gives_its_answer() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let db = Database::open(dir.path()).expect("a database");
    // Files that examples name are beside no one's in particular: they are found where they are made.
    let file = |name: &str| dir.path().join(name).display().to_string();
    for (name, rows) in [("example.csv", "id,name\n1,one\n2,two\n"), ("example.json", "{\"id\":1,\"name\":\"one\"}\n")]
    {
        std::fs::write(file(name), rows).expect("it is written");
    }
    answer(&db, &format!("COPY (SELECT 1 AS id, 'one' AS name) TO '{}'", file("example.parquet")))
        .expect("it is written");
    let mut wrong = Vec::new();
    for function in registry().functions() {
        let (example, stated) = function.example;
        if example.is_empty() {
            wrong.push(format!("{} has no example", function.names[0]));
            continue;
        }
        let example = example.replace("'example.", &format!("'{}", file("example.")));
        let sql = match function.kind {
            FunctionKind::Aggregate => format!("SELECT {example} FROM (VALUES (1), (2), (3), (NULL)) AS t(x)"),
            FunctionKind::Window => format!("SELECT {example} FROM (VALUES (1), (2), (3), (NULL)) AS t(x)"),
            FunctionKind::Table => format!("SELECT * FROM {example}"),
            _ => format!("SELECT {example}"),
        };
        let given = answer(&db, &sql);
        if given.as_deref() != Ok(stated) {
            wrong.push(format!("{sql}\n  states {stated}\n  gives  {given:?}"));
        }
    }
    db.close().expect("it closes");
    assert!(wrong.is_empty(), "{} examples are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
