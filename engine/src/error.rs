//! What can go wrong in the engine, sorted by what the caller can do about it.

use std::fmt;

use weir_sql::ErrorKind as SqlErrorKind;

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What a JSON path found amiss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonPath {
    /// An argument of `.datetime()` (22031).
    Datetime,
    /// A subscript (22033).
    Subscript,
    /// No number (22036).
    NonNumeric,
    /// No single item (22038).
    NotSingle,
    /// No array (22039).
    NoArray,
    /// No such member (2203A).
    NoMember,
    /// No number to sign (2203B).
    NoNumber,
    /// No object (2203C).
    NoObject,
}

/// What kind of error it is. The server maps each to one SQLSTATE; nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The statement does not bind; see [`weir_sql::ErrorKind`].
    Sql(SqlErrorKind),
    /// A number does not fit its type (22003).
    NumericOutOfRange,
    /// Division by zero (22012).
    DivisionByZero,
    /// Text that is not a value of its type (22P02).
    InvalidText,
    /// Bytes that are not a value of their type (22P03).
    InvalidBinary,
    /// Bytes that end before their value does (08P01).
    ProtocolViolation,
    /// A date or time that does not exist or is malformed (22007).
    InvalidDatetime,
    /// A date or time out of range (22008).
    DatetimeOutOfRange,
    /// A text longer than its type admits (22001).
    StringTooLong,
    /// Bytes that are not UTF-8, or a zero byte (22021).
    CharacterNotInRepertoire,
    /// NULL where a function does not take it (22004).
    NullNotAllowed,
    /// An argument that a function does not take (22023).
    InvalidParameter,
    /// A regular expression that is malformed (2201B).
    InvalidRegularExpression,
    /// sqrt of a negative number and the like (2201F; ln of zero is 2201E in Postgres).
    InvalidArgumentForPower,
    /// ln of zero or a negative number (2201E).
    InvalidArgumentForLogarithm,
    /// What a JSON path finds in the data is not as it has it (22031 to 2203C).
    JsonPath(JsonPath),
    /// Bounds or a count that width_bucket does not take (2201G).
    InvalidArgumentForWidthBucket,
    /// A negative offset of a frame (22013).
    InvalidFrameOffset,
    /// No buckets for ntile (22014).
    InvalidNtile,
    /// A row before the first for nth_value (22016).
    InvalidNthValue,
    /// A negative LIMIT (2201W).
    InvalidLimit,
    /// A negative OFFSET (2201X).
    InvalidOffset,
    /// An array subscript or dimension that is wrong (2202E).
    ArraySubscript,
    /// A substring of a negative length (22011).
    Substring,
    /// An escape in a pattern or text that is malformed (22025).
    InvalidEscape,
    /// A result or argument past a fixed limit (54000).
    ProgramLimit,
    /// Malformed input of COPY (22P04).
    BadCopyFile,
    /// A subquery gave more than one row (21000).
    CardinalityViolation,
    /// NULL in a NOT NULL column (23502).
    NotNullViolation,
    /// A duplicate primary key (23505).
    UniqueViolation,
    /// What is asked for is not possible now (55000).
    WrongState,
    /// TABLESAMPLE of less than nothing or more than all (2202H).
    InvalidSampleArgument,
    /// A setting that cannot be changed (55P02).
    CantChange,
    /// Another transaction changed what this one stands on; it may be tried again (40001).
    SerializationFailure,
    /// The statement is not allowed in this state of the transaction (25001, for a second BEGIN and the like).
    ActiveTransaction,
    /// Commands are ignored until the end of a failed transaction block (25P02).
    InFailedTransaction,
    /// A statement that needs a transaction block (25P01).
    NoActiveTransaction,
    /// Writing in a read-only transaction (25006).
    ReadOnlyTransaction,
    /// No such savepoint (3B001).
    NoSuchSavepoint,
    /// No such prepared statement (26000).
    UndefinedStatement,
    /// The prepared statement is there already (42P05).
    DuplicateStatement,
    /// No such cursor or portal (34000).
    UndefinedCursor,
    /// The cursor is there already (42P03).
    DuplicateCursor,
    /// Another object depends on it (2BP01).
    DependentObjects,
    /// The query may not have more memory (53200).
    OutOfMemory,
    /// The disk is full (53100).
    DiskFull,
    /// Too many connections (53300).
    TooManyConnections,
    /// Cancelled by the user or a time-out (57014).
    Cancelled,
    /// The database is shutting down (57P01).
    Shutdown,
    /// A file cannot be read (58P01 if it is not there, 58030 otherwise).
    UndefinedFile,
    /// An input or output error (58030).
    Io,
    /// Damaged bytes on disk (XX001).
    DataCorrupted,
    /// The data directory is held by another process (55006).
    Locked,
    /// A bug in Weir (XX000).
    Internal,
}

/// An error in Postgres's form.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    /// What kind.
    pub kind: ErrorKind,
    /// What happened, in Postgres's words where it has them.
    pub message: String,
    /// More about it: the column, value, line, offset.
    pub detail: Option<String>,
    /// What may help.
    pub hint: Option<String>,
    /// Where in the statement's text: characters, counted from 1.
    pub position: Option<usize>,
    /// Postgres's CONTEXT: "COPY t, line 3, column x".
    pub context: Option<String>,
}

impl Error {
    /// An error with no more than a message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), detail: None, hint: None, position: None, context: None }
    }

    /// A bug in Weir, said politely.
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Internal, message)
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

    /// Adds the context, unless a nearer one is known already.
    pub fn with_context(mut self, context: impl Into<String>) -> Error {
        self.context.get_or_insert_with(|| context.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<weir_sql::Error> for Error {
    fn from(e: weir_sql::Error) -> Error {
        Error {
            kind: ErrorKind::Sql(e.kind),
            message: e.message,
            detail: e.detail,
            hint: e.hint,
            position: e.position,
            context: None,
        }
    }
}

/// Arrow's own errors mean a kernel was called wrongly, except overflow and division by zero, which are the user's.
impl From<arrow::error::ArrowError> for Error {
    fn from(e: arrow::error::ArrowError) -> Error {
        use arrow::error::ArrowError;
        match e {
            ArrowError::DivideByZero => Error::new(ErrorKind::DivisionByZero, "division by zero"),
            ArrowError::ArithmeticOverflow(_) => Error::new(ErrorKind::NumericOutOfRange, "value out of range"),
            other => Error::internal(other.to_string()),
        }
    }
}
