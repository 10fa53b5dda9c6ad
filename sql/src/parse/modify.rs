//! UPDATE, DELETE and MERGE in PostgreSQL's form, and ClickHouse's `ALTER TABLE t UPDATE …` and `ALTER TABLE t DELETE …`, which mean the same.

use sqlparser::ast::{Expr, SelectItem, With};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::ast::{Ast, Delete, Merge, MergeAction, MergeWhen, MergeWhenKind, Target, Update};
use super::cursor::Cursor;
use crate::error::Result;

/// After UPDATE.
pub(super) fn update(c: &mut Cursor<'_>) -> Result<Ast> {
    let target = target(c)?;
    c.expect_words("SET")?;
    let assignments = c.comma_separated(|c| c.rule(|p| p.parse_assignment()))?;
    let from = match c.words("FROM") {
        true => c.comma_separated(|c| c.rule(|p| p.parse_table_and_joins()))?,
        false => Vec::new(),
    };
    let (selection, returning) = (condition(c)?, returning(c)?);
    Ok(Ast::Update(Box::new(Update { target, assignments, from, selection, returning })))
}

/// After DELETE.
pub(super) fn delete(c: &mut Cursor<'_>) -> Result<Ast> {
    c.expect_words("FROM")?;
    let target = target(c)?;
    let using = match c.words("USING") {
        true => c.comma_separated(|c| c.rule(|p| p.parse_table_and_joins()))?,
        false => Vec::new(),
    };
    let (selection, returning) = (condition(c)?, returning(c)?);
    Ok(Ast::Delete(Box::new(Delete { target, using, selection, returning })))
}

/// Whether `ALTER TABLE t UPDATE …` or `ALTER TABLE t DELETE …` is next: ClickHouse's mutations.
pub(super) fn is_mutation(c: &Cursor<'_>) -> bool {
    let mut at = match c.is_words("ALTER TABLE") {
        true => 3,
        false => return false,
    };
    while *c.peek_nth(at) == Token::Period {
        at += 2;
    }
    c.is_word_at(at, "UPDATE") || (c.is_word_at(at, "DELETE") && c.is_word_at(at + 1, "WHERE"))
}

/// From ALTER.
pub(super) fn mutation(c: &mut Cursor<'_>) -> Result<Ast> {
    c.expect_words("ALTER TABLE")?;
    let target = Target { name: c.rule(|p| p.parse_object_name(false))?, alias: None };
    if c.words("DELETE") {
        let selection = condition(c)?;
        return Ok(Ast::Delete(Box::new(Delete { target, using: Vec::new(), selection, returning: None })));
    }
    c.expect_words("UPDATE")?;
    let assignments = c.comma_separated(|c| c.rule(|p| p.parse_assignment()))?;
    let selection = condition(c)?;
    Ok(Ast::Update(Box::new(Update { target, assignments, from: Vec::new(), selection, returning: None })))
}

/// After MERGE.
pub(super) fn merge(c: &mut Cursor<'_>) -> Result<Ast> {
    c.expect_words("INTO")?;
    let target = target(c)?;
    c.expect_words("USING")?;
    let source = c.rule(|p| p.parse_table_factor())?;
    c.expect_words("ON")?;
    let on = c.expr()?;
    let mut whens = Vec::new();
    while c.is_word("WHEN") {
        whens.push(when(c)?);
    }
    if whens.is_empty() {
        return Err(c.unexpected());
    }
    if c.is_word("RETURNING") {
        return Err(c.unsupported("MERGE … RETURNING"));
    }
    Ok(Ast::Merge(Box::new(Merge { target, source, on, whens })))
}

fn when(c: &mut Cursor<'_>) -> Result<MergeWhen> {
    let at = c.position();
    c.expect_words("WHEN")?;
    let kind = if c.words("MATCHED") {
        MergeWhenKind::Matched
    } else {
        c.expect_words("NOT MATCHED")?;
        if c.words("BY SOURCE") {
            MergeWhenKind::NotMatchedBySource
        } else {
            c.words("BY TARGET");
            MergeWhenKind::NotMatched
        }
    };
    let condition = if c.words("AND") { Some(c.expr()?) } else { None };
    c.expect_words("THEN")?;
    let action = match kind {
        _ if c.words("DO NOTHING") => MergeAction::Nothing,
        MergeWhenKind::NotMatched => {
            c.expect_words("INSERT")?;
            insert(c)?
        }
        _ if c.words("DELETE") => MergeAction::Delete,
        _ => {
            c.expect_words("UPDATE SET")?;
            MergeAction::Update(c.comma_separated(|c| c.rule(|p| p.parse_assignment()))?)
        }
    };
    Ok(MergeWhen { kind, condition, action, at })
}

/// After INSERT: `[(columns)] VALUES (…)` or `DEFAULT VALUES`.
fn insert(c: &mut Cursor<'_>) -> Result<MergeAction> {
    let columns = if *c.peek() == Token::LParen { c.names()? } else { Vec::new() };
    if c.words("DEFAULT VALUES") {
        return Ok(MergeAction::Insert { columns, values: None });
    }
    c.expect_words("VALUES")?;
    c.expect(&Token::LParen)?;
    let values = c.comma_separated(Cursor::expr)?;
    c.expect(&Token::RParen)?;
    Ok(MergeAction::Insert { columns, values: Some(values) })
}

/// Whether what WITH is before changes data: the first word outside of parentheses that names a statement says it.
pub(super) fn is_with(c: &Cursor<'_>) -> bool {
    let mut depth = 0;
    for at in 1.. {
        match c.peek_nth(at) {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::EOF => break,
            // A name that WITH gives may be any of the words.
            Token::Word(_) if depth == 0 && !c.is_word_at(at + 1, "AS") && *c.peek_nth(at + 1) != Token::LParen => {
                if ["INSERT", "UPDATE", "DELETE", "MERGE"].iter().any(|verb| c.is_word_at(at, verb)) {
                    return true;
                }
                if ["SELECT", "VALUES", "TABLE"].iter().any(|verb| c.is_word_at(at, verb)) {
                    return false;
                }
            }
            _ => {}
        }
    }
    false
}

/// `WITH … INSERT`, UPDATE, DELETE or MERGE.
pub(super) fn with(c: &mut Cursor<'_>) -> Result<Ast> {
    let with = c.rule(|p| {
        let token = p.next_token();
        let recursive = p.parse_keyword(Keyword::RECURSIVE);
        let cte_tables = p.parse_comma_separated(Parser::parse_cte)?;
        Ok(With { with_token: token.into(), recursive, cte_tables })
    })?;
    let statement = match () {
        () if c.is_word("INSERT") => super::statement::insert(c)?,
        () if c.words("UPDATE") => update(c)?,
        () if c.words("DELETE") => delete(c)?,
        () => {
            c.expect_words("MERGE")?;
            merge(c)?
        }
    };
    let Ast::Insert(mut insert, _) = statement else { return Ok(Ast::With(Box::new(with), Box::new(statement))) };
    if let Some(source) = &mut insert.source {
        let own = source.with.take();
        let mut with = with;
        if let Some(own) = own {
            with.recursive |= own.recursive;
            with.cte_tables.extend(own.cte_tables);
        }
        source.with = Some(with);
    }
    Ok(Ast::Insert(insert, None))
}

/// `[ONLY] table [*] [[AS] alias]`.
fn target(c: &mut Cursor<'_>) -> Result<Target> {
    if c.is_word("ONLY") && matches!(c.peek_nth(1), Token::Word(_)) {
        c.advance();
    }
    if !matches!(c.peek(), Token::Word(_)) {
        return Err(c.unexpected());
    }
    let name = c.rule(|p| p.parse_object_name(false))?;
    c.token(&Token::Mul);
    let alias = c.rule(|p| p.maybe_parse_table_alias())?;
    Ok(Target { name, alias })
}

fn condition(c: &mut Cursor<'_>) -> Result<Option<Expr>> {
    if c.is_words("WHERE CURRENT OF") {
        return Err(c.unsupported("WHERE CURRENT OF"));
    }
    if c.words("WHERE") { c.expr().map(Some) } else { Ok(None) }
}

fn returning(c: &mut Cursor<'_>) -> Result<Option<Vec<SelectItem>>> {
    match c.words("RETURNING") {
        true => c.comma_separated(|c| c.rule(|p| p.parse_select_item())).map(Some),
        false => Ok(None),
    }
}
