//! ClickHouse's `FORMAT name` at the end of a query: its rows as lines of text, of which each is a row of one column.

use sqlparser::ast::{FormatClause, Query};

use crate::error::{Error, ErrorKind, Result};
use crate::statement::{CopyFormat, DocumentFormat, LineFormat};

/// The formats, by their names in small letters.
const FORMATS: [(&str, LineFormat); 20] = [
    ("jsoneachrow", LineFormat::Copy { format: CopyFormat::Json, header: false }),
    ("jsonlines", LineFormat::Copy { format: CopyFormat::Json, header: false }),
    ("ndjson", LineFormat::Copy { format: CopyFormat::Json, header: false }),
    ("csv", LineFormat::Copy { format: CopyFormat::Csv, header: false }),
    ("csvwithnames", LineFormat::Copy { format: CopyFormat::Csv, header: true }),
    ("tsv", LineFormat::Copy { format: CopyFormat::Text, header: false }),
    ("tabseparated", LineFormat::Copy { format: CopyFormat::Text, header: false }),
    ("tsvwithnames", LineFormat::Copy { format: CopyFormat::Text, header: true }),
    ("tabseparatedwithnames", LineFormat::Copy { format: CopyFormat::Text, header: true }),
    ("json", LineFormat::Document(DocumentFormat::Json)),
    ("jsoncompact", LineFormat::Document(DocumentFormat::JsonCompact)),
    ("jsoncompacteachrow", LineFormat::Document(DocumentFormat::JsonCompactEachRow { names: false })),
    ("jsoncompacteachrowwithnames", LineFormat::Document(DocumentFormat::JsonCompactEachRow { names: true })),
    ("pretty", LineFormat::Document(DocumentFormat::Pretty)),
    ("prettycompact", LineFormat::Document(DocumentFormat::PrettyCompact)),
    ("prettyspace", LineFormat::Document(DocumentFormat::PrettySpace)),
    ("vertical", LineFormat::Document(DocumentFormat::Vertical)),
    ("markdown", LineFormat::Document(DocumentFormat::Markdown)),
    ("values", LineFormat::Document(DocumentFormat::Values)),
    ("null", LineFormat::Document(DocumentFormat::Null)),
];

/// A query without its FORMAT, and the format; `None` if it has none.
pub(super) fn taken(query: &Query) -> Result<Option<(Query, LineFormat)>> {
    let Some(clause) = &query.format_clause else { return Ok(None) };
    let name = match clause {
        FormatClause::Identifier(name) => name.value.clone(),
        FormatClause::Null => "Null".to_string(),
    };
    // Terminals' colours, and blocks put together, are what these are without anyhow.
    let lower = name.to_ascii_lowercase();
    let plain = lower.strip_suffix("noescapes").or_else(|| lower.strip_suffix("monoblock")).unwrap_or(&lower);
    let Some((_, format)) = FORMATS.iter().find(|(known, _)| *known == plain) else {
        let error = Error::new(ErrorKind::Unsupported, format!("FORMAT {name} is not supported"));
        let error = error.with_hint(
            "Use JSON, JSONCompact, JSONEachRow, JSONCompactEachRow, CSV, CSVWithNames, TSV, TSVWithNames, Pretty, PrettyCompact, PrettySpace, Vertical, Markdown, Values or Null.",
        );
        return Err(match clause {
            FormatClause::Identifier(ident) if ident.span.start.column > 0 => {
                error.at(ident.span.start.column as usize)
            }
            _ => error,
        });
    };
    let query = Query { format_clause: None, ..query.clone() };
    Ok(Some((query, *format)))
}
