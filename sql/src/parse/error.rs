//! Errors of `sqlparser` in PostgreSQL's words.

use sqlparser::parser::ParserError;

use super::lexer::Lexed;
use crate::error::{Error, ErrorKind};

/// `syntax error at or near "x"` for the token at this character position of the statement.
pub(super) fn near(lexed: &Lexed<'_>, position: usize) -> Error {
    let token = lexed.tokens.iter().position(|token| token.span.start.column as usize == position);
    match token.and_then(|index| lexed.bytes.get(index)) {
        Some(&(start, end)) => {
            Error::new(ErrorKind::Syntax, format!("syntax error at or near \"{}\"", &lexed.text[start..end]))
                .at(position)
        }
        None => at_end(lexed),
    }
}

/// `syntax error at end of input`.
pub(super) fn at_end(lexed: &Lexed<'_>) -> Error {
    Error::new(ErrorKind::Syntax, "syntax error at end of input").at(lexed.text.chars().count() + 1)
}

/// An error of `sqlparser`: its place becomes the position, and what it expected there the detail.
pub(super) fn convert(lexed: &Lexed<'_>, error: ParserError) -> Error {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return Error::new(ErrorKind::Unsupported, "statement is nested too deeply")
                .with_hint("Take it apart with WITH, or into several statements.");
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    let (message, position) = match message.rsplit_once(" at Line: ") {
        Some((message, place)) => {
            (message, place.rsplit_once("Column: ").and_then(|(_, column)| column.trim().parse().ok()))
        }
        None => (message.as_str(), None),
    };
    let error = match position {
        Some(position) => near(lexed, position),
        None if message.ends_with("found: EOF") || message.is_empty() => at_end(lexed),
        None => Error::new(ErrorKind::Syntax, message.to_string()),
    };
    match message.split_once(", found: ") {
        Some((expected, _)) => error.with_detail(format!("{expected}.")),
        None if error.message == message => error,
        None if message.is_empty() => error,
        None => error.with_detail(message.to_string()),
    }
}
