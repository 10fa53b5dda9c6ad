//! COPY: rows in and out, in PostgreSQL's text, CSV and binary formats and in Parquet and JSON.
//!
//! | file | is |
//! |---|---|
//! | `lines` | bytes to lines and fields of text and CSV |
//! | `binary` | bytes to the tuples of the binary format |
//! | `input` | fields to the rows of a table |
//! | `output` | rows to bytes |
//! | `document` | rows to lines, in the formats that only FORMAT has |
//! | `stream` | what a client feeds and reads |
//! | `file`, `parquet` | files, written whole or not at all |
//!
//! Text and CSV are parsed here and not by the `csv` crate: PostgreSQL tells a quoted empty field from NULL, takes the first line's end
//! for all lines, has its own end marker and escapes, and its errors name line and column.

mod binary;
mod document;
mod file;
mod input;
pub(crate) mod lines;
pub mod output;
mod parquet;
mod stream;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::Path;

use weir_sql::plan::Plan;
use weir_sql::statement::{Copy, CopyFormat, CopyTarget, Statement};

pub(crate) use document::Document;
pub(crate) use file::file_error;
pub use output::RowWriter;
pub use stream::{CopyIn, CopyOut};

use crate::error::{Error, Result};
use crate::format::FormatSettings;
use crate::session::run::Running;
use crate::session::{Outcome, Session};
use crate::statement::insert;
use crate::statement::query;
use crate::statement::unique::Policy;
use crate::statement::writer::Writer;

/// How much of a file is read at a time.
const READ_BYTES: usize = 256 << 10;

/// COPY.
pub(crate) fn copy(session: &mut Session, running: &Running, copy: &Copy) -> Result<Outcome> {
    match (&copy.target, &copy.file) {
        (CopyTarget::To(plan), None) => {
            let stream = query::stream(session, running, plan)?;
            let writer = RowWriter::new(stream.columns(), &copy.options, FormatSettings::of(&running.functions))?;
            Ok(Outcome::CopyOut(Box::new(CopyOut::new(copy.options.format, writer, stream))))
        }
        (CopyTarget::To(plan), Some(file)) => {
            let rows = to_file(session, running, copy, plan, Path::new(file))?;
            Ok(Outcome::Command { tag: format!("COPY {rows}") })
        }
        (CopyTarget::From { .. }, Some(file))
            if matches!(copy.options.format, CopyFormat::Parquet | CopyFormat::Json) =>
        {
            from_columns(session, running, copy, file)
        }
        (CopyTarget::From { columns, .. }, None) => {
            let input = Box::new(input(session, running, copy)?);
            Ok(Outcome::CopyIn(CopyIn { format: copy.options.format, columns: columns.len(), input }))
        }
        (CopyTarget::From { .. }, Some(file)) => {
            let mut input = input(session, running, copy)?;
            let mut source = crate::files::source::open(Path::new(file)).map_err(|e| match e.hint {
                None => e.with_hint(
                    "COPY FROM instructs the server process to read a file. You may want a client-side facility such as psql's \\copy.",
                ),
                Some(_) => e,
            })?;
            let mut buffer = vec![0; READ_BYTES];
            loop {
                let count = source.read(&mut buffer).map_err(|e| file_error("read", Path::new(file), &e))?;
                if count == 0 {
                    break;
                }
                input.push(&buffer[..count])?;
            }
            let rows = input.finish(&mut session.transaction()?.pending)?;
            Ok(Outcome::Command { tag: format!("COPY {rows}") })
        }
    }
}

/// The inward side.
fn input(session: &mut Session, running: &Running, copy: &Copy) -> Result<input::Input> {
    session.writable("COPY FROM")?;
    let CopyTarget::From { oid, columns, defaults, .. } = &copy.target else {
        return Err(Error::internal("COPY TO has no inward side"));
    };
    let entry = insert::entry(running, *oid)?;
    let writer = Writer::new(session.base(running), &entry, Policy::of_table(&entry.def))?;
    input::Input::new(writer, columns, defaults, &copy.options, session.query_context(running))
}

/// COPY … TO a file; how many rows.
fn to_file(session: &mut Session, running: &Running, copy: &Copy, plan: &Plan, path: &Path) -> Result<u64> {
    let mut stream = query::stream(session, running, plan)?;
    if copy.options.format == CopyFormat::Parquet {
        return parquet::write(path, stream);
    }
    let mut writer = RowWriter::new(stream.columns(), &copy.options, FormatSettings::of(&running.functions))?;
    let mut file = file::NewFile::create(path, false)?;
    let (mut buffer, mut ends, mut rows) = (Vec::new(), Vec::new(), 0);
    writer.header(&mut buffer);
    while let Some(batch) = stream.next()? {
        ends.clear();
        writer.rows(&batch, 0..batch.num_rows(), &mut buffer, &mut ends);
        rows += batch.num_rows() as u64;
        file.write(&buffer)?;
        buffer.clear();
    }
    writer.trailer(&mut buffer);
    file.write(&buffer)?;
    file.finish()?;
    Ok(rows)
}

/// COPY … FROM a file that has columns with names: an INSERT of the query that reads it. Columns are found by name; the file may have more.
fn from_columns(session: &mut Session, running: &Running, copy: &Copy, file: &str) -> Result<Outcome> {
    let CopyTarget::From { table, oid, columns, .. } = &copy.target else {
        return Err(Error::internal("COPY TO reads no file"));
    };
    session.writable("COPY FROM")?;
    let relation = insert::entry(running, *oid)?.relation.clone();
    let function = if copy.options.format == CopyFormat::Json { "read_json" } else { "read_parquet" };
    let columns: Vec<_> = columns.iter().map(|&at| &relation.columns[at]).collect();
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    // JSON has few types of its own: its values are read as what the table's columns are.
    let hints = match copy.options.format {
        CopyFormat::Json => {
            let list: Vec<String> = columns.iter().map(|c| format!("{} {}", quoted(&c.name), c.ty)).collect();
            format!(", columns => '{}'", list.join(", ").replace('\'', "''"))
        }
        _ => String::new(),
    };
    // A text of the file is read as COPY reads one, by its column's type; what is text in the table must fit it, though.
    let values: Vec<String> = columns
        .iter()
        .zip(&names)
        .map(|(column, name)| if column.ty.is_text() { name.clone() } else { format!("{name}::{}", column.ty) })
        .collect();
    let text = format!(
        "INSERT INTO {}{} ({}) SELECT {} FROM {function}('{}'{hints})",
        table.schema.as_deref().map(|schema| format!("{}.", quoted(schema))).unwrap_or_default(),
        quoted(&table.name),
        names.join(", "),
        values.join(", "),
        glob::Pattern::escape(file).replace('\'', "''"),
    );
    let parsed = session.parse(&text)?;
    let parsed = parsed.first().ok_or_else(|| Error::internal("INSERT is a statement"))?;
    let bound = session.bind(&running.view, parsed, &[]).map_err(|mut e| {
        e.position = None;
        e
    })?;
    let Statement::Insert(statement) = &bound.statement else {
        return Err(Error::internal("INSERT is an INSERT"));
    };
    match insert::insert(session, running, statement)? {
        Outcome::Command { tag } => {
            Ok(Outcome::Command { tag: format!("COPY {}", tag.rsplit(' ').next().unwrap_or("0")) })
        }
        other => Ok(other),
    }
}
