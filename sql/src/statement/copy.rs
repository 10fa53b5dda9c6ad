//! COPY: what it reads or writes, and in which form.

use super::ObjectName;
use crate::plan::{Expr, Plan};

/// COPY.
#[derive(Debug, Clone)]
pub struct Copy {
    /// From or to what.
    pub target: CopyTarget,
    /// STDIN / STDOUT, or a file's name.
    pub file: Option<String>,
    /// In which form.
    pub options: CopyOptions,
}

/// What COPY reads or writes.
#[derive(Debug, Clone)]
pub enum CopyTarget {
    /// COPY table (columns) FROM: rows of these columns, by index; the others have their default.
    From {
        /// The table.
        table: ObjectName,
        /// Its oid.
        oid: u32,
        /// Which columns, in the order of the data.
        columns: Vec<usize>,
        /// For each column of the table: its default, where it is not in `columns`.
        defaults: Vec<Option<Expr>>,
    },
    /// COPY table TO or COPY (query) TO.
    To(Plan),
}

/// Forms of COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFormat {
    /// Postgres's text.
    Text,
    /// CSV.
    Csv,
    /// Postgres's binary.
    Binary,
    /// Parquet; files only.
    Parquet,
    /// One JSON object a line; files only.
    Json,
}

/// What the first line of text and CSV is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyHeader {
    /// Data.
    #[default]
    No,
    /// The columns' names: written out, and passed over when read.
    Yes,
    /// The columns' names, which must be those of the columns that are read.
    Match,
}

/// Options of COPY.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyOptions {
    /// FORMAT
    pub format: CopyFormat,
    /// HEADER
    pub header: CopyHeader,
    /// DELIMITER
    pub delimiter: u8,
    /// NULL
    pub null: String,
    /// QUOTE
    pub quote: u8,
    /// ESCAPE
    pub escape: u8,
    /// FORCE_QUOTE (columns by name; `*` is all)
    pub force_quote: Vec<String>,
    /// FORCE_NOT_NULL: an unquoted field that is the NULL string is that text.
    pub force_not_null: Vec<String>,
    /// FORCE_NULL: a quoted field that is the NULL string is NULL.
    pub force_null: Vec<String>,
}
