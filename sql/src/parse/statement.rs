//! Which statement it is: the first words decide, and the families' own files read the rest.

use sqlparser::ast::{Spanned, Statement as SqlStatement};
use sqlparser::tokenizer::Token;

use super::ast::Ast;
use super::cursor::Cursor;
use super::{alert, alter, backup, copy, emit, index, modify, optimize, session, show, sink, table, view};
use crate::error::{Error, ErrorKind, Result};
use crate::statement::{ExplainOptions, ObjectKind, Statement};

/// A whole statement, to its end.
pub(super) fn statement(c: &mut Cursor<'_>) -> Result<Ast> {
    let ast = inner(c)?;
    c.expect_end()?;
    Ok(ast)
}

fn inner(c: &mut Cursor<'_>) -> Result<Ast> {
    if c.is_word("WITH") && modify::is_with(c) {
        return modify::with(c);
    }
    if *c.peek() == Token::LParen || c.is_any(&["SELECT", "WITH", "VALUES", "TABLE", "FROM"]) {
        let query = c.query()?;
        let at = c.position();
        let emit = emit::emit(c)?;
        return match (table::or_into(query)?, emit) {
            (Ast::Query(query), Some(emit)) => Ok(Ast::Emitted(query, emit)),
            (ast, None) => Ok(ast),
            _ => Err(Error::new(ErrorKind::Syntax, "SELECT … INTO has no EMIT").at(at)),
        };
    }
    if c.is_word("INSERT") {
        return insert(c);
    }
    if c.words("UPDATE") {
        return modify::update(c);
    }
    if c.words("DELETE") {
        return modify::delete(c);
    }
    if c.words("MERGE") {
        return modify::merge(c);
    }
    if modify::is_mutation(c) {
        return modify::mutation(c);
    }
    if index::is_alter(c) {
        return index::alter(c);
    }
    if alert::is_alert(c) {
        return alert::alert(c);
    }
    if ["TABLE", "VIEW", "MATERIALIZED"].iter().any(|object| c.is_word("ALTER") && c.is_word_at(1, object)) {
        c.advance();
        return alter::alter(c);
    }
    if let Some(what) = unsupported(c) {
        let error = Error::new(ErrorKind::Unsupported, format!("{what} is not supported yet"));
        c.rest();
        return Ok(Ast::Unsupported(Box::new(error)));
    }
    if let Some(tag) = without_effect(c) {
        c.rest();
        return Ok(ready(Statement::NoOp { tag: tag.to_string() }));
    }
    if c.words("CREATE") {
        return create(c);
    }
    if c.words("DROP INDEX") {
        return index::drop_index(c);
    }
    if c.words("DROP") {
        return drop_objects(c);
    }
    if c.words("BACKUP") {
        return backup::backup(c);
    }
    if c.words("RESTORE") {
        return backup::restore(c);
    }
    if c.words("TRUNCATE") {
        return truncate(c);
    }
    if c.words("REFRESH MATERIALIZED VIEW") {
        return view::refresh_view(c);
    }
    if c.words("OPTIMIZE") {
        return optimize::optimize(c);
    }
    if c.words("VACUUM") {
        return optimize::vacuum(c);
    }
    if c.words("COPY") {
        return copy::copy(c);
    }
    if c.words("EXPLAIN") {
        return explain(c);
    }
    match show::show(c)? {
        Some(ast) => Ok(ast),
        None => session::session(c)?.ok_or_else(|| c.unexpected()),
    }
}

/// A statement that needs no catalogue.
pub(super) fn ready(statement: Statement) -> Ast {
    Ast::Ready(Box::new(statement))
}

pub(super) fn insert(c: &mut Cursor<'_>) -> Result<Ast> {
    match c.rule(|p| p.parse_statement())? {
        SqlStatement::Insert(insert) => {
            let ends = insert.on.is_none() && insert.returning.is_none();
            let query = insert.source.as_ref().filter(|_| ends);
            // Not all kinds of query know where they begin.
            let begins = |text: &String| {
                let word = text.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
                word.eq_ignore_ascii_case("SELECT") || word.eq_ignore_ascii_case("WITH")
            };
            let text = query.and_then(|query| c.text_from(query.span().start.column)).filter(begins);
            Ok(Ast::Insert(Box::new(insert), text))
        }
        other => Err(Error::new(ErrorKind::Syntax, format!("not an INSERT: {other}"))),
    }
}

/// Statements of PostgreSQL and ClickHouse that Weir does not have: by what name to say so.
fn unsupported(c: &Cursor<'_>) -> Option<String> {
    const ONE: &[&str] = &[
        "GRANT", "REVOKE", "CALL", "DO", "SECURITY", "IMPORT", "ATTACH", "DETACH", "RENAME", "EXCHANGE", "REASSIGN",
        "KILL",
    ];
    const TWO: &[&str] = &["CREATE", "DROP"];
    const OBJECTS: &[&str] = &[
        "FUNCTION",
        "PROCEDURE",
        "SEQUENCE",
        "TYPE",
        "DOMAIN",
        "TRIGGER",
        "RULE",
        "ROLE",
        "USER",
        "GROUP",
        "EXTENSION",
        "AGGREGATE",
        "OPERATOR",
        "CAST",
        "POLICY",
        "PUBLICATION",
        "SUBSCRIPTION",
        "SERVER",
        "LANGUAGE",
        "COLLATION",
        "TABLESPACE",
        "STATISTICS",
        "EVENT",
        "FOREIGN",
        "ACCESS",
        "CONVERSION",
        "TRANSFORM",
        "DICTIONARY",
        "SOURCE",
        "OWNED",
        "QUOTA",
        "PROFILE",
    ];
    if let Some(word) = ONE.iter().chain(&["ALTER"]).find(|word| c.is_word(word)) {
        return Some(match (*word, c.peek_nth(1)) {
            ("ALTER" | "RENAME" | "ATTACH" | "DETACH" | "EXCHANGE", Token::Word(object)) => {
                format!("{word} {}", object.value.to_uppercase())
            }
            _ => word.to_string(),
        });
    }
    let verb = TWO.iter().find(|word| c.is_word(word))?;
    let at = if c.is_word_at(1, "OR") && c.is_word_at(2, "REPLACE") { 3 } else { 1 };
    if c.is_word_at(at, "UNIQUE") && c.is_word_at(at + 1, "INDEX") {
        return Some("CREATE UNIQUE INDEX".to_string());
    }
    OBJECTS.iter().find(|object| c.is_word_at(at, object)).map(|object| format!("{verb} {object}"))
}

/// Statements that are accepted because nothing would be different afterwards: their command tags.
fn without_effect(c: &Cursor<'_>) -> Option<&'static str> {
    const STATEMENTS: &[(&str, &str)] = &[
        ("LISTEN", "LISTEN"),
        ("NOTIFY", "NOTIFY"),
        ("UNLISTEN", "UNLISTEN"),
        ("ANALYZE", "ANALYZE"),
        ("ANALYSE", "ANALYZE"),
        ("LOCK", "LOCK TABLE"),
        ("CHECKPOINT", "CHECKPOINT"),
        ("CLUSTER", "CLUSTER"),
        ("REINDEX", "REINDEX"),
        ("LOAD", "LOAD"),
    ];
    STATEMENTS.iter().find(|(words, _)| c.is_words(words)).map(|(_, tag)| *tag)
}

fn create(c: &mut Cursor<'_>) -> Result<Ast> {
    let or_replace = c.words("OR REPLACE");
    let temporary = c.words("GLOBAL TEMPORARY")
        || c.words("GLOBAL TEMP")
        || c.words("LOCAL TEMPORARY")
        || c.words("LOCAL TEMP")
        || c.words("TEMPORARY")
        || c.words("TEMP");
    c.words("UNLOGGED");
    if c.is_word("TABLE") && or_replace {
        return Err(c.unsupported("CREATE OR REPLACE TABLE").with_hint("Drop it first, in the same transaction."));
    }
    if c.words("TABLE") {
        return table::create_table(c, temporary);
    }
    if temporary {
        return if c.words("VIEW") { view::create_temporary_view(c, or_replace) } else { Err(c.unexpected()) };
    }
    if c.is_words("RECURSIVE VIEW") {
        return Err(c.unsupported("CREATE RECURSIVE VIEW").with_hint("Use CREATE VIEW … AS WITH RECURSIVE …."));
    }
    if c.words("VIEW") {
        return view::create_view(c, false, or_replace);
    }
    if c.words("MATERIALIZED VIEW") {
        return view::create_view(c, true, or_replace);
    }
    if !or_replace && c.words("SINK") {
        return sink::create_sink(c);
    }
    if !or_replace && c.words("INDEX") {
        return index::create_index(c);
    }
    if !or_replace && c.one_of(&["SCHEMA", "DATABASE"]).is_some() {
        return create_schema(c);
    }
    Err(c.unexpected())
}

fn create_schema(c: &mut Cursor<'_>) -> Result<Ast> {
    let if_not_exists = c.words("IF NOT EXISTS");
    // Without a name of its own the schema is called like its owner.
    c.words("AUTHORIZATION");
    let name = c.ident()?;
    if c.words("AUTHORIZATION") {
        c.ident()?;
    }
    if c.is_any(&["CREATE", "GRANT"]) {
        return Err(c.unsupported("CREATE SCHEMA with the objects in it"));
    }
    // Owners, encodings, engines: there is one of each.
    if c.is_any(&["WITH", "OWNER", "ENCODING", "TEMPLATE", "ENGINE", "COMMENT", "LC_COLLATE", "LC_CTYPE"]) {
        c.rest();
    }
    Ok(ready(Statement::CreateSchema { name, if_not_exists }))
}

fn drop_objects(c: &mut Cursor<'_>) -> Result<Ast> {
    let kind = match c.one_of(&["TABLE", "VIEW", "MATERIALIZED VIEW", "SINK", "SCHEMA", "DATABASE"]) {
        Some("TABLE") => ObjectKind::Table,
        Some("VIEW") => ObjectKind::View,
        Some("MATERIALIZED VIEW") => ObjectKind::MaterializedView,
        Some("SINK") => ObjectKind::Sink,
        Some(_) => ObjectKind::Schema,
        None => return Err(c.unexpected()),
    };
    let if_exists = c.words("IF EXISTS");
    let names = c.comma_separated(Cursor::object_name)?;
    let cascade = c.words("CASCADE");
    let _ = c.words("RESTRICT") || c.words("SYNC") || c.words("NO DELAY") || c.words("WITH (FORCE)");
    Ok(ready(Statement::Drop { kind, names, if_exists, cascade }))
}

fn truncate(c: &mut Cursor<'_>) -> Result<Ast> {
    c.words("TABLE");
    let names = c.comma_separated(|c| {
        c.words("ONLY");
        let name = c.object_name()?;
        c.token(&Token::Mul);
        Ok(name)
    })?;
    let _ = c.words("RESTART IDENTITY") || c.words("CONTINUE IDENTITY");
    let _ = c.words("CASCADE") || c.words("RESTRICT");
    Ok(ready(Statement::Truncate { names }))
}

fn explain(c: &mut Cursor<'_>) -> Result<Ast> {
    let mut options = ExplainOptions::default();
    let parenthesised = *c.peek() == Token::LParen && !c.is_word_at(1, "SELECT") && !c.is_word_at(1, "WITH");
    if parenthesised {
        c.expect(&Token::LParen)?;
        loop {
            let at = c.position();
            let name = c.ident()?.to_ascii_lowercase();
            let value = match c.peek() {
                Token::Comma | Token::RParen => None,
                _ => Some(table::option_value(c)?.to_ascii_lowercase()),
            };
            let on = !matches!(value.as_deref(), Some("off" | "false" | "0"));
            match name.as_str() {
                "analyze" => options.analyze = on,
                "verbose" => options.verbose = on,
                "costs" => options.costs = on,
                "timing" => options.timing = on,
                "summary" => options.summary = on,
                "format" => match value.as_deref() {
                    Some("json") => options.json = true,
                    Some("text") => options.json = false,
                    Some(other) => {
                        let message = format!("EXPLAIN format {} is not supported", other.to_uppercase());
                        return Err(Error::new(ErrorKind::Unsupported, message).at(at));
                    }
                    None => return Err(Error::new(ErrorKind::Syntax, "EXPLAIN option format requires a value").at(at)),
                },
                "settings" | "buffers" | "wal" | "generic_plan" => {}
                _ => {
                    let message = format!("unrecognized EXPLAIN option \"{name}\"");
                    return Err(Error::new(ErrorKind::Syntax, message).at(at));
                }
            }
            if !c.token(&Token::Comma) {
                break;
            }
        }
        c.expect(&Token::RParen)?;
    } else {
        options.analyze = c.words("ANALYZE") || c.words("ANALYSE");
        options.verbose = c.words("VERBOSE");
    }
    let at = c.position();
    let statement = inner(c)?;
    let explainable = matches!(
        &statement,
        Ast::Query(_)
            | Ast::Insert(..)
            | Ast::Emitted(..)
            | Ast::Update(_)
            | Ast::Delete(_)
            | Ast::Merge(_)
            | Ast::With(..)
            | Ast::CreateTable(_)
            | Ast::CreateView(_)
            | Ast::DeclareCursor { .. }
            | Ast::Execute { .. }
            | Ast::Unsupported(_)
    );
    if !explainable {
        return Err(Error::new(ErrorKind::Syntax, "EXPLAIN takes a query, INSERT, UPDATE, DELETE or MERGE").at(at));
    }
    Ok(Ast::Explain { statement: Box::new(statement), options })
}

/// PREPARE name [(types)] AS statement.
pub(super) fn prepare(c: &mut Cursor<'_>) -> Result<Ast> {
    if c.is_word("TRANSACTION") {
        return Err(c.unsupported("PREPARE TRANSACTION"));
    }
    let name = c.ident()?;
    let mut parameters = Vec::new();
    if c.token(&Token::LParen) {
        parameters = c.comma_separated(|c| {
            let at = c.position();
            let data_type = c.rule(|p| p.parse_data_type())?;
            super::datatype::type_of(&data_type).map_err(|error| error.at(at))
        })?;
        c.expect(&Token::RParen)?;
    }
    c.expect_words("AS")?;
    let mark = c.mark();
    inner(c)?;
    Ok(ready(Statement::Prepare { name, parameters, query: c.text_since(mark) }))
}
