//! Skip indexes: `INDEX name expr TYPE …` among a table's elements, CREATE INDEX in PostgreSQL's and in ClickHouse's form, DROP INDEX, and
//! ALTER TABLE ADD, DROP, MATERIALIZE and CLEAR INDEX.

use sqlparser::ast::Expr;
use sqlparser::tokenizer::Token;

use super::ast::{Ast, Index, IndexAction, IndexType, Name, Written};
use super::cursor::Cursor;
use super::statement::ready;
use crate::error::Result;
use crate::statement::{DropIndex, ObjectName, Statement};

/// After INDEX: `name expr TYPE kind(…) [GRANULARITY n]`.
pub(super) fn index(c: &mut Cursor<'_>) -> Result<Index> {
    let name = c.name()?;
    let keys = keys_of(c.written()?);
    let kind = index_type(c)?;
    Ok(Index { name: Some(name), keys, kind, granularity: granularity(c)? })
}

/// One expression, or those of a tuple.
fn keys_of(written: Written) -> Vec<Written> {
    match written.expr {
        Expr::Tuple(exprs) => exprs.into_iter().map(|expr| Written { text: expr.to_string(), expr }).collect(),
        Expr::Nested(expr) => vec![Written { text: expr.to_string(), expr: *expr }],
        _ => vec![written],
    }
}

/// `TYPE kind(arguments)`.
fn index_type(c: &mut Cursor<'_>) -> Result<IndexType> {
    c.expect_words("TYPE")?;
    let Name { name, at } = c.name()?;
    let mut args = Vec::new();
    if c.token(&Token::LParen) && !c.token(&Token::RParen) {
        args = c.comma_separated(Cursor::written)?;
        c.expect(&Token::RParen)?;
    }
    Ok(IndexType { name: name.to_ascii_lowercase(), args, at })
}

fn granularity(c: &mut Cursor<'_>) -> Result<Option<u64>> {
    if !c.words("GRANULARITY") {
        return Ok(None);
    }
    match c.peek() {
        Token::Number(text, _) => {
            let Ok(granularity) = text.parse() else { return Err(c.unexpected()) };
            c.advance();
            Ok(Some(granularity))
        }
        _ => Err(c.unexpected()),
    }
}

/// After CREATE INDEX, in either form:
/// `[CONCURRENTLY] [[IF NOT EXISTS] name] ON t [USING method] (key, …) …` or `[IF NOT EXISTS] name ON t (expr) TYPE kind [GRANULARITY n]`.
pub(super) fn create_index(c: &mut Cursor<'_>) -> Result<Ast> {
    c.words("CONCURRENTLY");
    let if_not_exists = c.words("IF NOT EXISTS");
    let name = if c.is_word("ON") { None } else { Some(c.name()?) };
    c.expect_words("ON")?;
    c.words("ONLY");
    let at = c.position();
    let table = c.object_name()?;
    let method_at = c.position();
    let method = if c.words("USING") { Some(c.ident()?) } else { None };
    c.expect(&Token::LParen)?;
    let keys = c.comma_separated(key)?;
    c.expect(&Token::RParen)?;
    let (kind, granularity) = match c.is_word("TYPE") {
        true => (index_type(c)?, granularity(c)?),
        false => {
            postgres_clauses(c)?;
            (IndexType { name: method.unwrap_or_else(|| "btree".into()), args: Vec::new(), at: method_at }, None)
        }
    };
    let index = Index { name, keys, kind, granularity };
    let actions = vec![IndexAction::Add { index, if_not_exists, everywhere: true }];
    Ok(Ast::AlterIndexes { table, at, if_exists: false, actions, tag: "CREATE INDEX" })
}

/// `expr [COLLATE c] [opclass [(…)]] [ASC | DESC] [NULLS FIRST | LAST]`.
fn key(c: &mut Cursor<'_>) -> Result<Written> {
    let key = c.written()?;
    let key = match key.expr {
        Expr::Nested(expr) => Written { text: expr.to_string(), expr: *expr },
        _ => key,
    };
    if c.words("COLLATE") {
        c.object_name()?;
    }
    while !matches!(c.peek(), Token::Comma | Token::RParen) {
        match c.peek() {
            Token::LParen => drop(c.parenthesised_text()?),
            Token::Word(_) | Token::Period => c.advance(),
            _ => return Err(c.unexpected()),
        }
    }
    Ok(key)
}

/// What PostgreSQL has after the keys, and of which nothing matters here: an index over all rows serves a partial one's queries too.
fn postgres_clauses(c: &mut Cursor<'_>) -> Result<()> {
    loop {
        if c.words("INCLUDE") {
            c.names()?;
        } else if c.words("NULLS DISTINCT") || c.words("NULLS NOT DISTINCT") {
        } else if c.words("WITH") {
            c.parenthesised_text()?;
        } else if c.words("TABLESPACE") {
            c.ident()?;
        } else if c.words("WHERE") {
            c.expr()?;
        } else {
            return Ok(());
        }
    }
}

/// After DROP INDEX: PostgreSQL's `[CONCURRENTLY] [IF EXISTS] name, …`, or ClickHouse's `[IF EXISTS] name ON t`.
pub(super) fn drop_index(c: &mut Cursor<'_>) -> Result<Ast> {
    c.words("CONCURRENTLY");
    let if_exists = c.words("IF EXISTS");
    let at = c.position();
    let names = c.comma_separated(Cursor::object_name)?;
    if c.words("ON") {
        let table_at = c.position();
        let table = c.object_name()?;
        let action = |name: ObjectName| IndexAction::Drop { name: Name { name: name.name, at }, if_exists };
        let actions = names.into_iter().map(action).collect();
        return Ok(Ast::AlterIndexes { table, at: table_at, if_exists: false, actions, tag: "DROP INDEX" });
    }
    let _ = c.words("CASCADE") || c.words("RESTRICT");
    Ok(ready(Statement::DropIndex(DropIndex { names, if_exists })))
}

/// Whether ALTER TABLE has an index for its subject.
pub(super) fn is_alter(c: &Cursor<'_>) -> bool {
    let mut at = if c.is_words("ALTER TABLE") { 2 } else { return false };
    if c.is_word_at(at, "IF") && c.is_word_at(at + 1, "EXISTS") {
        at += 2;
    }
    at += usize::from(c.is_word_at(at, "ONLY"));
    if !matches!(c.peek_nth(at), Token::Word(_)) {
        return false;
    }
    at += 1;
    while *c.peek_nth(at) == Token::Period {
        at += 2;
    }
    let is_verb = ["ADD", "DROP", "MATERIALIZE", "CLEAR"].iter().any(|verb| c.is_word_at(at, verb));
    is_verb && c.is_word_at(at + 1, "INDEX")
}

/// `ALTER TABLE [IF EXISTS] t action, …`, each on an index.
pub(super) fn alter(c: &mut Cursor<'_>) -> Result<Ast> {
    c.expect_words("ALTER TABLE")?;
    let if_exists = c.words("IF EXISTS");
    c.words("ONLY");
    let at = c.position();
    let table = c.object_name()?;
    let actions = c.comma_separated(action)?;
    Ok(Ast::AlterIndexes { table, at, if_exists, actions, tag: "ALTER TABLE" })
}

fn action(c: &mut Cursor<'_>) -> Result<IndexAction> {
    if c.words("ADD INDEX") {
        let if_not_exists = c.words("IF NOT EXISTS");
        let index = index(c)?;
        // Where it stands among the others means nothing.
        if !c.words("FIRST") && c.words("AFTER") {
            c.ident()?;
        }
        return Ok(IndexAction::Add { index, if_not_exists, everywhere: false });
    }
    if c.words("DROP INDEX") {
        let if_exists = c.words("IF EXISTS");
        return Ok(IndexAction::Drop { name: c.name()?, if_exists });
    }
    if c.words("MATERIALIZE INDEX") {
        let if_exists = c.words("IF EXISTS");
        let name = c.name()?;
        if c.is_words("IN PARTITION") {
            return Err(c
                .unsupported("MATERIALIZE INDEX of one partition")
                .with_hint("Leave it off: parts that have the index are not written again."));
        }
        return Ok(IndexAction::Materialize { name, if_exists });
    }
    if c.is_words("CLEAR INDEX") {
        return Err(c.unsupported("CLEAR INDEX").with_hint("Use DROP INDEX."));
    }
    Err(c.unsupported("ALTER TABLE with other actions beside those on indexes"))
}
