//! What can be wrong with a statement before it runs.

use std::fmt;

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of mistake it is, by what the caller can do about it. The server maps each to one SQLSTATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text is not SQL (42601).
    Syntax,
    /// No such table or view (42P01).
    UndefinedTable,
    /// No such column (42703).
    UndefinedColumn,
    /// No such function or operator for these argument types (42883).
    UndefinedFunction,
    /// No such type, schema, setting, role (42704; a schema is 3F000).
    UndefinedObject,
    /// No such schema (3F000).
    UndefinedSchema,
    /// No such parameter `$n` (42P02).
    UndefinedParameter,
    /// It is there already (42P07 for relations).
    DuplicateTable,
    /// A column is named twice (42701).
    DuplicateColumn,
    /// An object of another kind is there already (42710).
    DuplicateObject,
    /// A table alias is used twice (42712).
    DuplicateAlias,
    /// A name could mean several columns (42702).
    AmbiguousColumn,
    /// Several overloads fit equally (42725).
    AmbiguousFunction,
    /// Types do not go together (42804).
    DatatypeMismatch,
    /// A parameter's type cannot be told (42P18).
    IndeterminateType,
    /// Two collations meet where one must be (42P21).
    CollationMismatch,
    /// A comparison whose collation cannot be told (42P22).
    IndeterminateCollation,
    /// A cast that does not exist (42846).
    CannotCoerce,
    /// Aggregates and GROUP BY (42803).
    Grouping,
    /// Window functions where they may not be (42P20).
    Windowing,
    /// A WITH RECURSIVE query that names itself where it may not (42P19).
    InvalidRecursion,
    /// A schema that is there already (42P06).
    DuplicateSchema,
    /// More grouping sets, or arguments of GROUPING, than there may be (54001).
    TooComplex,
    /// A column reference that this place does not allow (42P10).
    InvalidColumnReference,
    /// A literal that is not of its type (22P02).
    InvalidText,
    /// A literal that is no date or time (22007).
    InvalidDatetime,
    /// A date or time that does not exist or is out of range (22008).
    DatetimeOutOfRange,
    /// A number out of its type's range (22003).
    OutOfRange,
    /// A parameter of a statement out of range or malformed (22023).
    InvalidParameter,
    /// An escape character or pattern that is malformed (22025).
    InvalidEscape,
    /// A definition that contradicts itself (42P16 for tables, 42611 for columns).
    InvalidDefinition,
    /// The object is of the wrong kind for this (42809).
    WrongObjectType,
    /// Valid SQL that Weir does not do (0A000).
    Unsupported,
    /// A file that a query reads is not there (58P01).
    UndefinedFile,
    /// A file that a query reads cannot be read (58030).
    Io,
    /// A file that a query reads is malformed (22P04).
    BadFile,
}

/// A mistake in a statement, in Postgres's form.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    /// What kind.
    pub kind: ErrorKind,
    /// What happened, in Postgres's words where it has them.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What may help.
    pub hint: Option<String>,
    /// Where in the statement's text: characters, counted from 1.
    pub position: Option<usize>,
}

impl Error {
    /// An error with no more than a message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), detail: None, hint: None, position: None }
    }

    /// Adds the detail.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Error {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the hint.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the position, unless a nearer one is known already.
    pub fn at(mut self, position: usize) -> Error {
        self.position.get_or_insert(position);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
