//! Errors as a Postgres client sees them, and the one table from our kinds of error to SQLSTATE.

use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use weir_engine::error::JsonPath;
use weir_engine::{Error, ErrorKind, Notice};
use weir_sql::ErrorKind as Sql;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The statement failed.
    Error,
    /// The connection ends.
    Fatal,
}

/// An error in the form of an ErrorResponse.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    /// How bad.
    pub severity: Severity,
    /// Which SQLSTATE.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What may help.
    pub hint: Option<String>,
    /// Where in the statement: characters, from 1.
    pub position: Option<usize>,
    /// Where in the data.
    pub context: Option<String>,
}

impl Failure {
    /// A statement's error that the wire itself found.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Failure {
        Failure {
            severity: Severity::Error,
            code,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
        }
    }

    /// An error that ends the connection.
    pub(crate) fn fatal(code: &'static str, message: impl Into<String>) -> Failure {
        Failure { severity: Severity::Fatal, ..Failure::new(code, message) }
    }

    /// Adds the hint.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// A broken message (08P01).
    pub(crate) fn protocol(message: impl Into<String>) -> Failure {
        Failure::new("08P01", message)
    }

    /// The message for the wire.
    pub(crate) fn to_response(&self) -> ErrorResponse {
        let severity = match self.severity {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        };
        let position = self.position.map(|p| p.to_string());
        ErrorResponse::new(fields([
            (b'S', Some(severity)),
            (b'V', Some(severity)),
            (b'C', Some(self.code)),
            (b'M', Some(&self.message)),
            (b'D', self.detail.as_deref()),
            (b'H', self.hint.as_deref()),
            (b'P', position.as_deref()),
            (b'W', self.context.as_deref()),
        ]))
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Failure {
        // Whoever ends the session or the server ends the conversation as well.
        let severity = if e.kind == ErrorKind::Shutdown { Severity::Fatal } else { Severity::Error };
        Failure {
            severity,
            code: sqlstate(e.kind),
            message: e.message,
            detail: e.detail,
            hint: e.hint,
            position: e.position,
            context: e.context,
        }
    }
}

impl From<super::frontend::Malformed> for Failure {
    fn from(e: super::frontend::Malformed) -> Failure {
        match e.0.starts_with("invalid byte sequence") {
            true => Failure::new("22021", e.0),
            false => Failure::protocol(e.0),
        }
    }
}

/// A NoticeResponse.
pub(crate) fn notice(notice: &Notice) -> NoticeResponse {
    let severity = match notice.severity {
        weir_engine::Severity::Notice => "NOTICE",
        weir_engine::Severity::Warning => "WARNING",
    };
    NoticeResponse::new(fields([
        (b'S', Some(severity)),
        (b'V', Some(severity)),
        (b'C', Some(notice.code)),
        (b'M', Some(&notice.message)),
        (b'D', notice.detail.as_deref()),
        (b'H', notice.hint.as_deref()),
    ]))
}

/// Fields that are there, without the zero bytes that would end them early.
fn fields<const N: usize>(all: [(u8, Option<&str>); N]) -> Vec<(u8, String)> {
    all.into_iter().filter_map(|(tag, text)| text.map(|text| (tag, text.replace('\0', "\u{fffd}")))).collect()
}

/// The SQLSTATE of an error.
pub(crate) fn sqlstate(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Sql(kind) => match kind {
            Sql::Syntax => "42601",
            Sql::UndefinedTable => "42P01",
            Sql::UndefinedColumn => "42703",
            Sql::UndefinedFunction => "42883",
            Sql::UndefinedObject => "42704",
            Sql::UndefinedSchema => "3F000",
            Sql::UndefinedParameter => "42P02",
            Sql::DuplicateTable => "42P07",
            Sql::DuplicateColumn => "42701",
            Sql::DuplicateObject => "42710",
            Sql::DuplicateAlias => "42712",
            Sql::AmbiguousColumn => "42702",
            Sql::AmbiguousFunction => "42725",
            Sql::DatatypeMismatch => "42804",
            Sql::IndeterminateType => "42P18",
            Sql::CollationMismatch => "42P21",
            Sql::IndeterminateCollation => "42P22",
            Sql::CannotCoerce => "42846",
            Sql::Grouping => "42803",
            Sql::Windowing => "42P20",
            Sql::InvalidRecursion => "42P19",
            Sql::DuplicateSchema => "42P06",
            Sql::TooComplex => "54001",
            Sql::InvalidColumnReference => "42P10",
            Sql::InvalidText => "22P02",
            Sql::InvalidDatetime => "22007",
            Sql::DatetimeOutOfRange => "22008",
            Sql::OutOfRange => "22003",
            Sql::InvalidParameter => "22023",
            Sql::InvalidEscape => "22025",
            Sql::InvalidDefinition => "42P16",
            Sql::WrongObjectType => "42809",
            Sql::Unsupported => "0A000",
            Sql::UndefinedFile => "58P01",
            Sql::Io => "58030",
            Sql::BadFile => "22P04",
        },
        ErrorKind::NumericOutOfRange => "22003",
        ErrorKind::DivisionByZero => "22012",
        ErrorKind::InvalidText => "22P02",
        ErrorKind::InvalidBinary => "22P03",
        ErrorKind::ProtocolViolation => "08P01",
        ErrorKind::InvalidDatetime => "22007",
        ErrorKind::DatetimeOutOfRange => "22008",
        ErrorKind::StringTooLong => "22001",
        ErrorKind::CharacterNotInRepertoire => "22021",
        ErrorKind::NullNotAllowed => "22004",
        ErrorKind::InvalidParameter => "22023",
        ErrorKind::InvalidRegularExpression => "2201B",
        ErrorKind::InvalidArgumentForPower => "2201F",
        ErrorKind::InvalidArgumentForLogarithm => "2201E",
        ErrorKind::InvalidArgumentForWidthBucket => "2201G",
        ErrorKind::JsonPath(what) => match what {
            JsonPath::Datetime => "22031",
            JsonPath::Subscript => "22033",
            JsonPath::NonNumeric => "22036",
            JsonPath::NotSingle => "22038",
            JsonPath::NoArray => "22039",
            JsonPath::NoMember => "2203A",
            JsonPath::NoNumber => "2203B",
            JsonPath::NoObject => "2203C",
        },
        ErrorKind::InvalidFrameOffset => "22013",
        ErrorKind::InvalidNtile => "22014",
        ErrorKind::InvalidNthValue => "22016",
        ErrorKind::InvalidLimit => "2201W",
        ErrorKind::InvalidOffset => "2201X",
        ErrorKind::InvalidSampleArgument => "2202H",
        ErrorKind::ArraySubscript => "2202E",
        ErrorKind::Substring => "22011",
        ErrorKind::InvalidEscape => "22025",
        ErrorKind::ProgramLimit => "54000",
        ErrorKind::WrongState => "55000",
        ErrorKind::CantChange => "55P02",
        ErrorKind::SerializationFailure => "40001",
        ErrorKind::BadCopyFile => "22P04",
        ErrorKind::CardinalityViolation => "21000",
        ErrorKind::NotNullViolation => "23502",
        ErrorKind::UniqueViolation => "23505",
        ErrorKind::ActiveTransaction => "25001",
        ErrorKind::InFailedTransaction => "25P02",
        ErrorKind::NoActiveTransaction => "25P01",
        ErrorKind::ReadOnlyTransaction => "25006",
        ErrorKind::NoSuchSavepoint => "3B001",
        ErrorKind::UndefinedStatement => "26000",
        ErrorKind::DuplicateStatement => "42P05",
        ErrorKind::UndefinedCursor => "34000",
        ErrorKind::DuplicateCursor => "42P03",
        ErrorKind::DependentObjects => "2BP01",
        ErrorKind::OutOfMemory => "53200",
        ErrorKind::DiskFull => "53100",
        ErrorKind::TooManyConnections => "53300",
        ErrorKind::Cancelled => "57014",
        ErrorKind::Shutdown => "57P01",
        ErrorKind::UndefinedFile => "58P01",
        ErrorKind::Io => "58030",
        ErrorKind::DataCorrupted => "XX001",
        ErrorKind::Locked => "55006",
        ErrorKind::Internal => "XX000",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binder_error_keeps_its_position_and_gets_its_code() {
        let error = weir_sql::Error::new(Sql::UndefinedTable, "relation \"nope\" does not exist").at(15);
        let failure = Failure::from(Error::from(error));
        let response = failure.to_response();
        let field = |tag| response.fields.iter().find(|f| f.0 == tag).map(|f| f.1.as_str());
        assert_eq!(field(b'S'), Some("ERROR"));
        assert_eq!(field(b'C'), Some("42P01"));
        assert_eq!(field(b'P'), Some("15"));
        assert_eq!(field(b'D'), None);
    }

    #[test]
    fn a_zero_byte_does_not_cut_a_message_short() {
        let response = Failure::new("22021", "before\0after").to_response();
        assert!(response.fields.iter().all(|f| !f.1.contains('\0')));
    }
}
