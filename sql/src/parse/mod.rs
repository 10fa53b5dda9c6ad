//! Text to syntax trees: [`parse`].
//!
//! Three steps. `lexer` cuts a query text into statements and gives every token its character position. `statement` looks at the first words of
//! each: SELECT, INSERT and every expression are read by `sqlparser` with [`dialect::WeirDialect`]; everything else by the grammar in this
//! folder, one file a family, since no dialect of `sqlparser` reads ClickHouse's and Flink's definitions. The result is an [`Ast`], which
//! [`crate::bind`] binds.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::statement::Statement;

mod alert;
mod alter;
pub(crate) mod array_join;
pub mod ast;
mod backup;
pub(crate) mod clauses;
mod copy;
mod cursor;
pub mod datatype;
pub mod dialect;
pub(crate) mod duckdb;
mod emit;
mod error;
pub(crate) mod exclude;
mod index;
pub(crate) mod joins;
mod lexer;
mod modify;
pub mod names;
mod optimize;
mod replay;
mod session;
mod show;
mod sink;
mod statement;
mod table;
pub(crate) mod time_windows;
pub(crate) mod traversal;
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

/// The first `$n` of a statement's text, and where it stands.
pub fn first_parameter(sql: &str) -> Option<(String, usize)> {
    use sqlparser::tokenizer::Token;
    let statements = lexer::lex(sql).ok()?;
    statements.iter().flat_map(|lexed| &lexed.tokens).find_map(|token| match &token.token {
        Token::Placeholder(name) => Some((name.clone(), token.span.start.column as usize)),
        _ => None,
    })
}

/// Parses the rules of a TTL, parted by commas.
pub fn ttl(sql: &str) -> Result<Vec<crate::statement::TtlRule>> {
    let lexed = one(lexer::lex(sql)?)?;
    let mut cursor = Cursor::new(&lexed);
    let rules = table::ttl(&mut cursor)?;
    cursor.expect_end()?;
    Ok(rules)
}

/// An expression's text with another name in the place of a column's. What follows a name (`(`, `.`) tells that it is no column.
pub fn rename_column(sql: &str, from: &str, to: &str) -> Result<String> {
    use sqlparser::tokenizer::Token;
    let lexed = one(lexer::lex(sql)?)?;
    let (mut text, mut end) = (String::new(), 0);
    let quoted = names::quoted(to);
    for (at, token) in lexed.tokens.iter().enumerate() {
        let Token::Word(word) = &token.token else { continue };
        let is_it = match word.quote_style {
            Some(_) => word.value == from,
            None => word.value.to_lowercase() == from,
        };
        let next = lexed.tokens[at + 1..].iter().find(|next| !matches!(next.token, Token::Whitespace(_)));
        if is_it && !next.is_some_and(|next| matches!(next.token, Token::LParen | Token::Period)) {
            text.push_str(&lexed.text[end..lexed.bytes[at].0]);
            text.push_str(&quoted);
            end = lexed.bytes[at].1;
        }
    }
    text.push_str(&lexed.text[end..]);
    Ok(text)
}

fn one(mut statements: Vec<lexer::Lexed<'_>>) -> Result<lexer::Lexed<'_>> {
    match (statements.pop(), statements.is_empty()) {
        (Some(lexed), true) => Ok(lexed),
        _ => Err(Error::new(ErrorKind::Syntax, "syntax error at end of input")),
    }
}

#[cfg(test)]
mod tests;
