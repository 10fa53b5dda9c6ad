//! Statements about the session: settings, transactions, prepared statements, cursors, comments.

use sqlparser::tokenizer::Token;

use super::ast::Ast;
use super::cursor::Cursor;
use super::statement::{prepare, ready};
use crate::error::{Error, ErrorKind, Result};
use crate::statement::{FetchRows, ObjectName, Statement};

/// One of them, or `None`.
pub(super) fn session(c: &mut Cursor<'_>) -> Result<Option<Ast>> {
    let words: &[&'static str] = &[
        "SET",
        "RESET",
        "USE",
        "BEGIN",
        "START TRANSACTION",
        "COMMIT",
        "END",
        "ROLLBACK",
        "ABORT",
        "SAVEPOINT",
        "RELEASE",
        "PREPARE",
        "EXECUTE",
        "DEALLOCATE",
        "DISCARD",
        "DECLARE",
        "FETCH",
        "MOVE",
        "CLOSE",
        "COMMENT ON",
    ];
    let Some(word) = c.one_of(words) else { return Ok(None) };
    let statement = match word {
        "SET" => set(c)?,
        "RESET" => reset(c)?,
        "USE" => Statement::Set { name: "search_path".to_string(), value: Some(c.ident()?), local: false },
        "BEGIN" => {
            noise(c);
            Statement::Begin { read_only: modes(c)? }
        }
        "START TRANSACTION" => Statement::Begin { read_only: modes(c)? },
        "COMMIT" | "END" => {
            if c.is_word("PREPARED") {
                return Err(c.unsupported("COMMIT PREPARED"));
            }
            noise(c);
            chain(c)?;
            Statement::Commit
        }
        "ROLLBACK" | "ABORT" => rollback(c)?,
        "SAVEPOINT" => Statement::Savepoint(c.ident()?),
        "RELEASE" => {
            c.words("SAVEPOINT");
            Statement::Release(c.ident()?)
        }
        "PREPARE" => return prepare(c).map(Some),
        "EXECUTE" => return execute(c).map(Some),
        "DEALLOCATE" => {
            if !(c.is_word("PREPARE") && *c.peek_nth(1) == Token::EOF) {
                c.words("PREPARE");
            }
            Statement::Deallocate(name_or_all(c)?)
        }
        "DISCARD" => discard(c)?,
        "DECLARE" => return declare(c).map(Some),
        "FETCH" => fetch(c, false)?,
        "MOVE" => fetch(c, true)?,
        "CLOSE" => Statement::CloseCursor(name_or_all(c)?),
        _ => comment(c)?,
    };
    Ok(Some(ready(statement)))
}

fn name_or_all(c: &mut Cursor<'_>) -> Result<Option<String>> {
    if c.words("ALL") { Ok(None) } else { c.ident().map(Some) }
}

/// WORK or TRANSACTION, which mean nothing.
fn noise(c: &mut Cursor<'_>) {
    let _ = c.words("WORK") || c.words("TRANSACTION");
}

fn chain(c: &mut Cursor<'_>) -> Result<()> {
    if c.words("AND NO CHAIN") {
        return Ok(());
    }
    if c.is_words("AND CHAIN") { Err(c.unsupported("AND CHAIN")) } else { Ok(()) }
}

/// Transaction modes; whether READ ONLY was among them. Every level is snapshot isolation here, which is at least what was asked for but
/// for SERIALIZABLE, which PostgreSQL's clients ask for where one snapshot is what they need.
fn modes(c: &mut Cursor<'_>) -> Result<bool> {
    let mut read_only = false;
    loop {
        if c.words("ISOLATION LEVEL") {
            let levels = ["SERIALIZABLE", "REPEATABLE READ", "READ COMMITTED", "READ UNCOMMITTED", "SNAPSHOT"];
            c.one_of(&levels).ok_or_else(|| c.unexpected())?;
        } else if c.words("READ ONLY") {
            read_only = true;
        } else if c.words("READ WRITE") {
            read_only = false;
        } else if !(c.words("NOT DEFERRABLE") || c.words("DEFERRABLE")) {
            return Ok(read_only);
        }
        c.token(&Token::Comma);
    }
}

fn rollback(c: &mut Cursor<'_>) -> Result<Statement> {
    if c.is_word("PREPARED") {
        return Err(c.unsupported("ROLLBACK PREPARED"));
    }
    noise(c);
    if c.words("TO") {
        c.words("SAVEPOINT");
        return c.ident().map(Statement::RollbackTo);
    }
    chain(c)?;
    Ok(Statement::Rollback)
}

fn set(c: &mut Cursor<'_>) -> Result<Statement> {
    if c.words("SESSION CHARACTERISTICS AS TRANSACTION") {
        return match modes(c)? {
            true => Ok(setting("default_transaction_read_only", Some("on".to_string()), false)),
            false => Ok(setting("default_transaction_read_only", Some("off".to_string()), false)),
        };
    }
    if c.words("TRANSACTION SNAPSHOT") {
        return Err(c.unsupported("SET TRANSACTION SNAPSHOT"));
    }
    if c.words("TRANSACTION") {
        return match modes(c)? {
            true => Ok(setting("transaction_read_only", Some("on".to_string()), true)),
            false => Ok(Statement::NoOp { tag: "SET".to_string() }),
        };
    }
    if c.words("CONSTRAINTS") {
        c.rest();
        return Ok(Statement::NoOp { tag: "SET CONSTRAINTS".to_string() });
    }
    if c.words("SESSION AUTHORIZATION") {
        let value = if c.words("DEFAULT") { None } else { Some(value(c)?) };
        return Ok(setting("session_authorization", value, false));
    }
    let followed = |c: &Cursor<'_>| !matches!(c.peek_nth(1), Token::Eq) && !c.is_word_at(1, "TO");
    let local = c.is_word("LOCAL") && followed(c) && c.words("LOCAL");
    if c.is_word("SESSION") && followed(c) {
        c.words("SESSION");
    }
    if c.words("TIME ZONE") {
        return time_zone(c, local);
    }
    if c.words("NAMES") {
        let value = if c.words("DEFAULT") { None } else { Some(value(c)?) };
        return Ok(setting("client_encoding", value, local));
    }
    if c.is_word("SCHEMA") && matches!(c.peek_nth(1), Token::SingleQuotedString(_)) {
        c.advance();
        return Ok(setting("search_path", Some(c.string()?), local));
    }
    if c.is_word("ROLE") && followed(c) {
        c.advance();
        return Ok(setting("role", Some(value(c)?), local));
    }
    let name = setting_name(c)?;
    if !(c.token(&Token::Eq) || c.words("TO")) {
        return Err(c.unexpected());
    }
    if c.words("DEFAULT") {
        return Ok(setting(&name, None, local));
    }
    let values = c.comma_separated(value)?;
    Ok(setting(&name, Some(values.join(", ")), local))
}

fn setting(name: &str, value: Option<String>, local: bool) -> Statement {
    Statement::Set { name: name.to_string(), value, local }
}

/// The name of a setting, lower case, perhaps with a period in it.
pub(super) fn setting_name(c: &mut Cursor<'_>) -> Result<String> {
    let mut name = c.ident()?;
    while c.token(&Token::Period) {
        name = format!("{name}.{}", c.ident()?);
    }
    Ok(name.to_ascii_lowercase())
}

/// A value of SET: a string's content, a number, or a word; a word in double quotes keeps them where it needs them.
fn value(c: &mut Cursor<'_>) -> Result<String> {
    if let Token::Word(word) = c.peek() {
        let simple = word.value.chars().all(|ch| ch.is_ascii_lowercase() || ch.is_ascii_digit() || ch == '_');
        let quoted = (word.quote_style.is_some() && !simple).then(|| format!("\"{}\"", word.value));
        let folded = c.ident()?;
        return Ok(quoted.unwrap_or(folded));
    }
    super::table::option_value(c)
}

fn time_zone(c: &mut Cursor<'_>, local: bool) -> Result<Statement> {
    if c.words("LOCAL") || c.words("DEFAULT") {
        return Ok(setting("timezone", None, local));
    }
    if c.words("INTERVAL") {
        let offset = c.string()?;
        c.words("HOUR TO MINUTE");
        return Ok(setting("timezone", Some(offset), local));
    }
    let zone = value(c)?;
    Ok(setting("timezone", Some(zone), local))
}

fn reset(c: &mut Cursor<'_>) -> Result<Statement> {
    if c.words("ALL") {
        return Ok(Statement::ResetAll);
    }
    let name = match c.one_of(&["TIME ZONE", "SESSION AUTHORIZATION", "TRANSACTION ISOLATION LEVEL"]) {
        Some("TIME ZONE") => "timezone".to_string(),
        Some("SESSION AUTHORIZATION") => "session_authorization".to_string(),
        Some(_) => "transaction_isolation".to_string(),
        None => setting_name(c)?,
    };
    Ok(setting(&name, None, false))
}

fn execute(c: &mut Cursor<'_>) -> Result<Ast> {
    let name = c.ident()?;
    let mut args = Vec::new();
    if c.token(&Token::LParen) && !c.token(&Token::RParen) {
        args = c.comma_separated(Cursor::expr)?;
        c.expect(&Token::RParen)?;
    }
    Ok(Ast::Execute { name, args })
}

fn discard(c: &mut Cursor<'_>) -> Result<Statement> {
    match c.one_of(&["ALL", "PLANS", "SEQUENCES", "TEMPORARY", "TEMP"]) {
        Some("ALL") => Ok(Statement::Discard),
        Some("PLANS") => Ok(Statement::NoOp { tag: "DISCARD PLANS".to_string() }),
        Some("SEQUENCES") => Ok(Statement::NoOp { tag: "DISCARD SEQUENCES".to_string() }),
        Some(_) => Err(c.unsupported("DISCARD TEMP")),
        None => Err(c.unexpected()),
    }
}

fn declare(c: &mut Cursor<'_>) -> Result<Ast> {
    let name = c.ident()?;
    let mut scroll = false;
    while let Some(option) = c.one_of(&["BINARY", "ASENSITIVE", "INSENSITIVE", "NO SCROLL", "SCROLL"]) {
        scroll |= option == "SCROLL";
    }
    c.expect_words("CURSOR")?;
    let hold = c.words("WITH HOLD");
    c.words("WITHOUT HOLD");
    c.expect_words("FOR")?;
    let query = c.query()?;
    Ok(Ast::DeclareCursor { name, query, hold, scroll })
}

/// FETCH and MOVE.
fn fetch(c: &mut Cursor<'_>, skip: bool) -> Result<Statement> {
    let mut rows = FetchRows::Forward(Some(1));
    // Without a direction the name is the last word.
    if matches!(c.peek_nth(1), Token::Word(_) | Token::Number(..) | Token::Minus) {
        let words = [
            "NEXT",
            "PRIOR",
            "FIRST",
            "LAST",
            "ABSOLUTE",
            "RELATIVE",
            "ALL",
            "FORWARD ALL",
            "FORWARD",
            "BACKWARD ALL",
            "BACKWARD",
        ];
        rows = match c.one_of(&words) {
            Some("PRIOR") => FetchRows::Backward(Some(1)),
            Some("FIRST") => FetchRows::Absolute(1),
            Some("LAST") => FetchRows::Absolute(-1),
            Some("ABSOLUTE") => FetchRows::Absolute(whole(c)?),
            Some("RELATIVE") => FetchRows::Relative(whole(c)?),
            Some("ALL" | "FORWARD ALL") => FetchRows::Forward(None),
            Some("BACKWARD ALL") => FetchRows::Backward(None),
            Some(word @ ("FORWARD" | "BACKWARD")) => {
                let count = if is_whole(c) { whole(c)? } else { 1 };
                counted(if word == "FORWARD" { count } else { -count })
            }
            None if is_whole(c) => counted(whole(c)?),
            _ => rows,
        };
    } else if c.is_word("ALL") {
        return Err(c.unexpected());
    }
    let _ = c.words("FROM") || c.words("IN");
    Ok(Statement::Fetch { name: c.ident()?, rows, skip })
}

/// So many rows: backward if it is negative.
fn counted(count: i64) -> FetchRows {
    match count < 0 {
        true => FetchRows::Backward(Some(count.unsigned_abs())),
        false => FetchRows::Forward(Some(count.unsigned_abs())),
    }
}

fn is_whole(c: &Cursor<'_>) -> bool {
    matches!(c.peek(), Token::Number(..) | Token::Minus)
}

fn whole(c: &mut Cursor<'_>) -> Result<i64> {
    let negative = c.token(&Token::Minus);
    let number = c.rule(|p| p.parse_literal_uint())?;
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    Ok(if negative { -number } else { number })
}

fn comment(c: &mut Cursor<'_>) -> Result<Statement> {
    let kind = c.one_of(&["TABLE", "COLUMN", "VIEW", "MATERIALIZED VIEW"]);
    let Some(kind) = kind else {
        // On a schema, database, function …: nothing keeps it.
        c.rest();
        return Ok(Statement::NoOp { tag: "COMMENT".to_string() });
    };
    let at = c.position();
    let mut parts = vec![c.ident()?];
    while c.token(&Token::Period) {
        parts.push(c.ident()?);
    }
    let column = if kind == "COLUMN" { parts.pop() } else { None };
    let relation = match parts.as_slice() {
        [name] => ObjectName { schema: None, name: name.clone() },
        [schema, name] | [_, schema, name] => ObjectName { schema: Some(schema.clone()), name: name.clone() },
        [] => return Err(Error::new(ErrorKind::Syntax, "column name must be qualified").at(at)),
        _ => return Err(Error::new(ErrorKind::Syntax, "improper qualified name (too many dotted names)").at(at)),
    };
    c.expect_words("IS")?;
    let comment = if c.words("NULL") { None } else { Some(c.string()?) };
    Ok(Statement::Comment { relation, column, comment })
}
