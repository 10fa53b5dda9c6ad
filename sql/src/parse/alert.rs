//! CREATE ALERT name WHEN (query) EVERY interval [FOR interval] THEN actions, ALTER ALERT and DROP ALERT.

use sqlparser::tokenizer::Token;

use super::ast::{Ast, CreateAlert, WrittenAction};
use super::cursor::Cursor;
use super::statement::ready;
use super::view;
use crate::error::{Error, ErrorKind, Result};
use crate::statement::{AlertAction, AlertStatement, Statement};

/// Whether CREATE [OR REPLACE], ALTER or DROP of an alert is next.
pub(super) fn is_alert(c: &Cursor<'_>) -> bool {
    (c.is_any(&["CREATE", "ALTER", "DROP"]) && c.is_word_at(1, "ALERT")) || c.is_words("CREATE OR REPLACE ALERT")
}

/// One of these statements.
pub(super) fn alert(c: &mut Cursor<'_>) -> Result<Ast> {
    if c.words("CREATE ALERT") {
        return create(c);
    }
    if c.words("DROP ALERT") {
        let if_exists = c.words("IF EXISTS");
        let names = c.comma_separated(Cursor::object_name)?;
        let _ = c.words("CASCADE") || c.words("RESTRICT");
        return Ok(of(AlertStatement::Drop { names, if_exists }));
    }
    if c.words("ALTER ALERT") {
        let if_exists = c.words("IF EXISTS");
        let name = c.object_name()?;
        return match c.one_of(&["ENABLE", "DISABLE"]) {
            Some(word) => Ok(of(AlertStatement::Enable { name, if_exists, enabled: word == "ENABLE" })),
            None => Err(c.unexpected()),
        };
    }
    Err(c.unsupported("CREATE OR REPLACE ALERT").with_hint("Drop it first, in the same transaction."))
}

fn of(statement: AlertStatement) -> Ast {
    ready(Statement::Alert(Box::new(statement)))
}

fn create(c: &mut Cursor<'_>) -> Result<Ast> {
    let if_not_exists = c.words("IF NOT EXISTS");
    let name = c.object_name()?;
    c.expect_words("WHEN")?;
    c.expect(&Token::LParen)?;
    let mark = c.mark();
    let query = c.query()?;
    let text = c.text_since(mark);
    c.expect(&Token::RParen)?;
    c.expect_words("EVERY")?;
    let every = view::interval(c)?;
    let hold = if c.words("FOR") { Some(view::interval(c)?) } else { None };
    c.expect_words("THEN")?;
    let actions = c.comma_separated(action)?;
    Ok(Ast::CreateAlert(Box::new(CreateAlert { name, if_not_exists, query, text, every, hold, actions })))
}

fn action(c: &mut Cursor<'_>) -> Result<WrittenAction> {
    let at = c.position();
    if c.words("WEBHOOK") {
        let at = c.position();
        let url = c.string()?;
        check_url(&url).map_err(|error| error.at(at))?;
        return Ok(WrittenAction { action: AlertAction::Webhook(url), at });
    }
    c.expect_words("INSERT INTO")?;
    let mark = c.mark();
    c.object_name()?;
    if *c.peek() == Token::LParen {
        c.names()?;
    }
    Ok(WrittenAction { action: AlertAction::Insert(c.text_since(mark)), at })
}

/// Refuses what is no URL of HTTP with a host. What else may be wrong with one shows when it is used.
fn check_url(url: &str) -> Result<()> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (head, rest) = url.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let has_host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':']));
    if has_host && !url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidParameter, format!("\"{url}\" is not the URL of a webhook"))
        .with_hint("It begins with http:// or https:// and the name of a host."))
}
