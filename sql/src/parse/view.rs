//! CREATE VIEW and CREATE MATERIALIZED VIEW, with ClickHouse's clauses between the name and AS.

use sqlparser::tokenizer::Token;

use super::ast::{Ast, CreateView, Layout};
use super::cursor::Cursor;
use super::statement::ready;
use super::{emit, table};
use crate::error::{Error, ErrorKind, Result};
use crate::statement::{ObjectName, Statement};

/// After CREATE [OR REPLACE] TEMPORARY VIEW.
pub(super) fn create_temporary_view(c: &mut Cursor<'_>, or_replace: bool) -> Result<Ast> {
    let at = c.position();
    let mut ast = create_view(c, false, or_replace)?;
    if let Ast::CreateView(view) = &mut ast {
        let temporary = "pg_temp".to_string();
        if view.name.schema.as_ref().is_some_and(|schema| *schema != temporary) {
            let message = "cannot create temporary relation in non-temporary schema";
            return Err(Error::new(ErrorKind::InvalidDefinition, message).at(at));
        }
        view.name.schema = Some(temporary);
    }
    Ok(ast)
}

/// After CREATE [OR REPLACE] [MATERIALIZED] VIEW.
pub(super) fn create_view(c: &mut Cursor<'_>, materialized: bool, or_replace: bool) -> Result<Ast> {
    if or_replace && materialized {
        return Err(c
            .unsupported("CREATE OR REPLACE MATERIALIZED VIEW")
            .with_hint("Drop it first, in the same transaction."));
    }
    let if_not_exists = c.words("IF NOT EXISTS");
    let name = c.object_name()?;
    let mut columns = Vec::new();
    if *c.peek() == Token::LParen {
        columns = c.names()?;
    }
    let mut layout = Layout::default();
    let (mut populate, mut refresh, mut to) = (false, None, None);
    loop {
        if materialized && to.is_none() && c.words("TO") {
            to = Some(c.object_name()?);
        } else if c.words("POPULATE") {
            populate = true;
        } else if materialized && c.words("REFRESH") {
            refresh = Some(every(c)?);
        } else if c.is_word("ON") {
            return Err(c.unsupported("ON CLUSTER").with_hint("Weir runs on one machine."));
        } else {
            let at = c.mark();
            table::layout(c, &mut layout)?;
            if c.mark() == at {
                break;
            }
        }
    }
    c.expect_words("AS")?;
    let mark = c.mark();
    let query = c.query()?;
    let text = c.text_since(mark);
    let at = c.position();
    let emit = emit::emit(c)?;
    if emit.is_some() && !materialized {
        let error = Error::new(ErrorKind::Unsupported, "EMIT of a view that is not materialized is not supported");
        return Err(error.at(at).with_hint("Use CREATE MATERIALIZED VIEW, or say EMIT where the view is read."));
    }
    if to.is_some() && (populate || emit.is_some()) {
        let error = c.unsupported(if populate { "POPULATE with TO" } else { "EMIT with TO" });
        return Err(match populate {
            true => error.with_hint("INSERT INTO the table what its SELECT gives over the rows that are there."),
            false => error.with_hint("Use CREATE SINK … AS SELECT … INTO the table."),
        });
    }
    let with_data = table::with_data(c) || populate;
    if c.words("WITH") {
        let _ = c.words("LOCAL") || c.words("CASCADED");
        return Err(c.unsupported("WITH CHECK OPTION"));
    }
    c.expect_end()?;
    Ok(Ast::CreateView(Box::new(CreateView {
        name,
        materialized,
        or_replace,
        if_not_exists,
        alters: None,
        columns,
        layout,
        query,
        text,
        with_data,
        refresh,
        emit,
        to,
    })))
}

/// After REFRESH: `EVERY '5 minutes'`, or `EVERY 1 HOUR 30 MINUTE` in ClickHouse's form.
fn every(c: &mut Cursor<'_>) -> Result<String> {
    if c.one_of(&["EVERY", "AFTER"]).is_none() {
        return Err(c.unexpected());
    }
    interval(c)
}

/// An interval as text: `'5 minutes'`, or `1 HOUR 30 MINUTE` in ClickHouse's form.
pub(super) fn interval(c: &mut Cursor<'_>) -> Result<String> {
    c.words("INTERVAL");
    if c.is_string() {
        return c.string();
    }
    let mark = c.mark();
    while let Token::Number(..) = c.peek() {
        c.advance();
        c.ident()?;
    }
    if c.mark() == mark { Err(c.unexpected()) } else { Ok(c.text_since(mark)) }
}

/// After ALTER MATERIALIZED VIEW name AS, or ALTER TABLE name MODIFY QUERY in ClickHouse's form.
pub(super) fn new_query(c: &mut Cursor<'_>, name: ObjectName, if_exists: bool) -> Result<Ast> {
    let mark = c.mark();
    let query = c.query()?;
    let text = c.text_since(mark);
    let emit = emit::emit(c)?;
    c.expect_end()?;
    Ok(Ast::CreateView(Box::new(CreateView {
        name,
        materialized: true,
        or_replace: false,
        if_not_exists: false,
        alters: Some(if_exists),
        columns: Vec::new(),
        layout: Layout::default(),
        query,
        text,
        with_data: true,
        refresh: None,
        emit,
        to: None,
    })))
}

/// After REFRESH MATERIALIZED VIEW.
pub(super) fn refresh_view(c: &mut Cursor<'_>) -> Result<Ast> {
    c.words("CONCURRENTLY");
    let name = c.object_name()?;
    let with_data = table::with_data(c);
    if !with_data {
        return Err(c.unsupported("WITH NO DATA").with_hint("A materialized view is never without its rows."));
    }
    c.expect_end()?;
    Ok(ready(Statement::RefreshView(name)))
}
