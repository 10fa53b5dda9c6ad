//! ClickHouse's `FORMAT name` at the end of a query: its rows as lines of text, of which each is a row of one column.

use sqlparser::ast::{FormatClause, Query};

use crate::error::{Error, ErrorKind, Result};
use crate::statement::CopyFormat;

/// The lines that a format makes.
pub(super) struct Format {
    /// COPY's format that they are in.
    pub(super) lines: CopyFormat,
    /// Whether a line of names comes first.
    pub(super) header: bool,
}

/// A query without its FORMAT, and the format; `None` if it has none.
pub(super) fn taken(query: &Query) -> Result<Option<(Query, Format)>> {
    let Some(clause) = &query.format_clause else { return Ok(None) };
    let name = match clause {
        FormatClause::Identifier(name) => name.value.clone(),
        FormatClause::Null => "Null".to_string(),
    };
    let (lines, header) = match name.to_ascii_lowercase().as_str() {
        "jsoneachrow" | "jsonlines" | "ndjson" => (CopyFormat::Json, false),
        "csv" => (CopyFormat::Csv, false),
        "csvwithnames" => (CopyFormat::Csv, true),
        "tsv" | "tabseparated" => (CopyFormat::Text, false),
        "tsvwithnames" | "tabseparatedwithnames" => (CopyFormat::Text, true),
        _ => {
            let error = Error::new(ErrorKind::Unsupported, format!("FORMAT {name} is not supported"));
            let error = error.with_hint("Use JSONEachRow, CSV, CSVWithNames, TSV or TSVWithNames, or leave it out.");
            return Err(match clause {
                FormatClause::Identifier(ident) if ident.span.start.column > 0 => {
                    error.at(ident.span.start.column as usize)
                }
                _ => error,
            });
        }
    };
    let query = Query { format_clause: None, ..query.clone() };
    Ok(Some((query, Format { lines, header })))
}
