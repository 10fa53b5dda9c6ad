//! What a query's lines are: ClickHouse's FORMAT.

use super::CopyFormat;

/// A format of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFormat {
    /// One of COPY's.
    Copy {
        /// Text, CSV or JSON.
        format: CopyFormat,
        /// Whether a line of names comes first.
        header: bool,
    },
    /// One that COPY does not have.
    Document(DocumentFormat),
}

/// Formats in which a line is not always a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentFormat {
    /// One document: what the columns are, an object a row, how many rows there are.
    Json,
    /// The same with an array a row.
    JsonCompact,
    /// An array a row.
    JsonCompactEachRow {
        /// Whether an array of names comes first.
        names: bool,
    },
    /// A table within lines.
    Pretty,
    /// A table with lines around its columns only.
    PrettyCompact,
    /// A table without lines.
    PrettySpace,
    /// A line a value.
    Vertical,
    /// A Markdown table.
    Markdown,
    /// What may stand after VALUES.
    Values,
    /// No lines; the query is run.
    Null,
}
