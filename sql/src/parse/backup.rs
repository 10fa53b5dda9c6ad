//! BACKUP DATABASE TO and RESTORE DATABASE FROM.

use sqlparser::tokenizer::Token;

use super::ast::Ast;
use super::cursor::Cursor;
use super::statement::ready;
use super::table;
use crate::error::Result;
use crate::statement::Statement;

/// After BACKUP.
pub(super) fn backup(c: &mut Cursor<'_>) -> Result<Ast> {
    if c.is_word("TABLE") {
        return Err(c.unsupported("BACKUP TABLE").with_hint("BACKUP DATABASE keeps everything, at one version."));
    }
    whole(c)?;
    c.expect_words("TO")?;
    Ok(ready(Statement::Backup { to: c.string()?, options: options(c)? }))
}

/// After RESTORE.
pub(super) fn restore(c: &mut Cursor<'_>) -> Result<Ast> {
    if c.is_word("TABLE") {
        return Err(c.unsupported("RESTORE TABLE").with_hint("Restore the database elsewhere, and copy the table."));
    }
    whole(c)?;
    c.expect_words("FROM")?;
    Ok(ready(Statement::Restore { from: c.string()?, options: options(c)? }))
}

/// `DATABASE [name]`: there is one.
fn whole(c: &mut Cursor<'_>) -> Result<()> {
    c.expect_words("DATABASE")?;
    if !c.is_any(&["TO", "FROM"]) {
        c.ident()?;
    }
    Ok(())
}

fn options(c: &mut Cursor<'_>) -> Result<Vec<(String, String)>> {
    if !c.words("WITH") {
        return Ok(Vec::new());
    }
    c.expect(&Token::LParen)?;
    let options = c.comma_separated(table::option)?;
    c.expect(&Token::RParen)?;
    Ok(options)
}
