//! Text to syntax trees: [`parse`].
//!
//! Three steps. `lexer` cuts a query text into statements and gives every token its character position. `statement` looks at the first words of
//! each: SELECT, INSERT and every expression are read by `sqlparser` with [`dialect::WeirDialect`]; everything else by the grammar in this
//! folder, one file a family, since no dialect of `sqlparser` reads ClickHouse's and Flink's definitions. The result is an [`Ast`], which
//! [`crate::bind`] binds.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::statement::Statement;

pub mod ast;
mod copy;
mod cursor;
pub mod datatype;
pub mod dialect;
mod error;
mod lexer;
pub mod names;
mod session;
mod show;
mod statement;
mod table;
mod view;

pub use ast::Ast;
use cursor::Cursor;

/// One statement of a query text. Cheap to keep and to clone.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The statement's own text, without the semicolon and the comments around it.
    pub text: Arc<str>,
    /// How many characters of the query text come before `text`: what to add to the position of an error.
    pub offset: usize,
    /// What it says. Columns of spans in it are character positions in `text`, from 1; lines are always 1.
    pub ast: Arc<Ast>,
}

impl Parsed {
    /// The statement that is none: what a text without statements stands for, where a client prepares one.
    pub fn empty() -> Parsed {
        Parsed { text: Arc::from(""), offset: 0, ast: Arc::new(Ast::Ready(Box::new(Statement::Empty))) }
    }
}

/// Splits a query text into its statements and parses each. A text without any (`;`, a comment) gives none.
///
/// Errors are in Postgres's form, `syntax error at or near "x"`, with the position in the whole query text.
pub fn parse(sql: &str) -> Result<Vec<Parsed>> {
    lexer::lex(sql)?
        .into_iter()
        .map(|lexed| {
            let (text, offset) = (Arc::from(lexed.text), lexed.offset);
            let ast = statement::statement(&mut Cursor::new(&lexed)).map_err(|mut error| {
                error.position = error.position.map(|position| position + offset);
                error
            })?;
            Ok(Parsed { text, offset, ast: Arc::new(ast) })
        })
        .collect()
}

/// Parses a text that is one query, such as a view's definition.
pub fn query(sql: &str) -> Result<Box<sqlparser::ast::Query>> {
    let lexed = one(lexer::lex(sql)?)?;
    let mut cursor = Cursor::new(&lexed);
    let query = cursor.query()?;
    cursor.expect_end()?;
    Ok(query)
}

/// Parses a text that is one expression, such as a stored DEFAULT.
pub fn expr(sql: &str) -> Result<sqlparser::ast::Expr> {
    let lexed = one(lexer::lex(sql)?)?;
    let mut cursor = Cursor::new(&lexed);
    let expr = cursor.expr()?;
    cursor.expect_end()?;
    Ok(expr)
}

fn one(mut statements: Vec<lexer::Lexed<'_>>) -> Result<lexer::Lexed<'_>> {
    match (statements.pop(), statements.is_empty()) {
        (Some(lexed), true) => Ok(lexed),
        _ => Err(Error::new(ErrorKind::Syntax, "syntax error at end of input")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_token_and_its_place() {
        for (sql, message, position) in [
            ("select 1 +", "syntax error at end of input", 11),
            ("select é from t where group by é", "syntax error at or near \"group\"", 23),
            ("select 1; select (1", "syntax error at end of input", 20),
            ("select 1 2", "syntax error at or near \"2\"", 10),
            ("select a from t where where b", "syntax error at or near \"where\"", 23),
        ] {
            let error = parse(sql).expect_err(sql);
            assert_eq!((error.message.as_str(), error.position), (message, Some(position)), "{sql}");
        }
    }

    #[test]
    fn clickhouse_in_select() {
        for sql in [
            "select quantile(0.9)(x), quantiles(0.5, 0.9)(x) filter (where y) over (partition by z) from t",
            "select count() from t FINAL prewhere a = 1 where `b c` == 2 limit 3 by a",
            "select now() - interval 5 minute, interval '5' second, interval '5 minutes', interval 2 week",
            "select timestamp, toStartOfHour(timestamp) from events where timestamp >= now() - INTERVAL 24 HOUR",
            "select [1, 2], x in (1, 2), properties['page_id'] from t settings max_threads = 1",
            "select cast(x as Nullable(UInt8)), x::Array(String)",
        ] {
            if let Err(error) = parse(sql) {
                panic!("{sql}: {error} ({:?}) at {:?}", error.detail, error.position);
            }
        }
    }
}
