//! SHOW and DESCRIBE: a setting, or what there is.

use sqlparser::tokenizer::Token;

use super::ast::Ast;
use super::cursor::Cursor;
use super::names::quoted;
use super::session::setting_name;
use super::statement::ready;
use crate::error::Result;
use crate::statement::Statement;

/// One of them, or `None`.
pub(super) fn show(c: &mut Cursor<'_>) -> Result<Option<Ast>> {
    if c.words("DESCRIBE") || c.words("DESC") {
        c.words("TABLE");
        return describe(c).map(Some);
    }
    if !c.words("SHOW") {
        return Ok(None);
    }
    let what = ["TABLES", "DATABASES", "SCHEMAS", "FUNCTIONS", "COLUMNS", "CREATE"];
    if !matches!(c.peek_nth(1), Token::Eq | Token::Period)
        && let Some(what) = c.one_of(&what)
    {
        return match what {
            "TABLES" => tables(c),
            "DATABASES" | "SCHEMAS" => {
                let like = like(c, "nspname")?;
                query(&format!("SELECT nspname::text AS name FROM pg_catalog.pg_namespace WHERE true{like} ORDER BY 1"))
            }
            "FUNCTIONS" => {
                let like = like(c, "name")?;
                query(&format!("SELECT * FROM weir.functions WHERE true{like} ORDER BY name"))
            }
            "COLUMNS" => {
                let _ = c.words("FROM") || c.words("IN");
                describe(c)
            }
            _ => create(c),
        }
        .map(Some);
    }
    let name = match c.one_of(&["TIME ZONE", "SESSION AUTHORIZATION", "TRANSACTION ISOLATION LEVEL"]) {
        Some("TIME ZONE") => "timezone".to_string(),
        Some("SESSION AUTHORIZATION") => "session_authorization".to_string(),
        Some(_) => "transaction_isolation".to_string(),
        None => setting_name(c)?,
    };
    Ok(Some(ready(Statement::Show { name })))
}

fn describe(c: &mut Cursor<'_>) -> Result<Ast> {
    let at = c.position();
    Ok(Ast::Describe { name: c.object_name()?, at })
}

fn tables(c: &mut Cursor<'_>) -> Result<Ast> {
    let schema = match c.words("FROM") || c.words("IN") {
        true => literal(&c.ident()?),
        false => "current_schema()".to_string(),
    };
    let like = like(c, "relname")?;
    query(&format!(
        "SELECT relname::text AS name FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'v', 'm') AND relnamespace = \
         (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {schema}){like} ORDER BY 1"
    ))
}

fn create(c: &mut Cursor<'_>) -> Result<Ast> {
    let _ = c.words("TABLE") || c.words("VIEW") || c.words("MATERIALIZED VIEW");
    let name = c.object_name()?;
    let written = name.schema.iter().chain([&name.name]).map(|name| quoted(name)).collect::<Vec<_>>().join(".");
    query(&format!("SELECT weir_show_create({}::regclass) AS statement", literal(&written)))
}

/// ` AND column LIKE 'pattern'`.
fn like(c: &mut Cursor<'_>, column: &str) -> Result<String> {
    match c.one_of(&["LIKE", "ILIKE"]) {
        Some(operator) => Ok(format!(" AND {column} {operator} {}", literal(&c.string()?))),
        None => Ok(String::new()),
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn query(sql: &str) -> Result<Ast> {
    super::query(sql).map(Ast::ShowQuery)
}
