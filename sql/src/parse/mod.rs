//! Text to syntax trees: [`parse`].
//!
//! Three steps. `lexer` cuts a query text into statements and gives every token its character position. `statement` looks at the first words of
//! each: SELECT, INSERT and every expression are read by `sqlparser` with [`dialect::WeirDialect`]; everything else by the grammar in this
//! folder, one file a family, since no dialect of `sqlparser` reads ClickHouse's and Flink's definitions. The result is an [`Ast`], which
//! [`crate::bind`] binds.

use std::sync::Arc;

use crate::error::Result;

pub mod datatype;
pub mod dialect;
mod error;
mod lexer;
pub mod names;

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

/// A statement's syntax.
#[derive(Debug, Clone)]
pub enum Ast {
    /// SELECT, VALUES, TABLE, WITH.
    Query(Box<sqlparser::ast::Query>),
}

/// Splits a query text into its statements and parses each. A text without any (`;`, a comment) gives none.
///
/// Errors are in Postgres's form, `syntax error at or near "x"`, with the position in the whole query text.
pub fn parse(sql: &str) -> Result<Vec<Parsed>> {
    lexer::lex(sql)?
        .into_iter()
        .map(|lexed| {
            let (text, offset) = (Arc::from(lexed.text), lexed.offset);
            let ast = statement(&lexed).map_err(|mut error| {
                error.position = error.position.map(|position| position + offset);
                error
            })?;
            Ok(Parsed { text, offset, ast: Arc::new(ast) })
        })
        .collect()
}

fn statement(lexed: &lexer::Lexed<'_>) -> Result<Ast> {
    let mut parser =
        sqlparser::parser::Parser::new(&dialect::WeirDialect).with_tokens_with_locations(lexed.tokens.clone());
    let query = parser.parse_query().map_err(|error| error::convert(lexed, error))?;
    match parser.peek_token_ref() {
        token if token.token == sqlparser::tokenizer::Token::EOF => Ok(Ast::Query(query)),
        token => Err(error::near(lexed, token.span.start.column as usize)),
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
