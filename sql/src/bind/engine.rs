//! ClickHouse's table engines: which rows of equal sorting keys are one.

use sqlparser::ast::Expr;

use crate::error::{Error, ErrorKind, Result};
use crate::parse::ast::CreateTable;
use crate::parse::names::fold;
use crate::plan::OutputColumn;
use crate::statement::{ColumnDef, Merging};
use crate::types::Type;

/// Engines whose tables keep every row as it came, which is what Weir's tables do by themselves.
const PLAIN: [&str; 4] = ["memory", "log", "tinylog", "stripelog"];
/// What may stand before `MergeTree` and changes nothing here.
const PREFIXES: [&str; 2] = ["replicated", "shared"];

/// What the engine makes of rows with equal keys; `key` is the sorting key, of the table's columns.
pub(super) fn merging(
    table: &CreateTable,
    defs: &[ColumnDef],
    columns: &[OutputColumn],
    key: &[usize],
) -> Result<Option<Merging>> {
    let Some(engine) = &table.layout.engine else { return Ok(None) };
    let name = engine.to_ascii_lowercase();
    if PLAIN.contains(&name.as_str()) {
        return Ok(None);
    }
    let prefix = PREFIXES.iter().find(|prefix| name.starts_with(**prefix));
    let family = prefix.map_or(name.as_str(), |prefix| &name[prefix.len()..]);
    // Replicas have a path and a name, as texts.
    let args: Vec<&str> =
        table.layout.engine_args.iter().map(String::as_str).filter(|arg| !arg.starts_with('\'')).collect();
    let merging = match family {
        "mergetree" => return Ok(None),
        "replacingmergetree" => replacing(engine, &args, columns)?,
        "summingmergetree" => summing(&args, defs, columns, key)?,
        "aggregatingmergetree" => aggregating(defs, key)?,
        "collapsingmergetree" => match args.as_slice() {
            [sign] => Merging::Collapsing { sign: sign_column(sign, columns)?, version: None },
            _ => return Err(Error::new(ErrorKind::Syntax, format!("ENGINE = {engine} takes a sign"))),
        },
        "versionedcollapsingmergetree" => match args.as_slice() {
            [sign, version] => {
                let version = column(version, columns)?;
                check_version(&columns[version])?;
                Merging::Collapsing { sign: sign_column(sign, columns)?, version: Some(version) }
            }
            _ => return Err(Error::new(ErrorKind::Syntax, format!("ENGINE = {engine} takes a sign and a version"))),
        },
        _ => {
            return Err(Error::new(ErrorKind::Unsupported, format!("ENGINE = {engine} is not supported for a table"))
                .with_hint(
                    "MergeTree and its Replacing, Summing, Aggregating, Collapsing and VersionedCollapsing kinds are; CREATE MATERIALIZED VIEW keeps any aggregate up to date.",
                ));
        }
    };
    let plain = |expr: &Expr| matches!(expr, Expr::Identifier(_));
    let written = table.layout.order_by.as_deref().unwrap_or_default();
    if key.is_empty() || !written.iter().all(plain) {
        let message = format!("ENGINE = {engine} needs a sorting key of plain columns");
        return Err(Error::new(ErrorKind::Unsupported, message)
            .with_hint("Rows that are equal in the columns of ORDER BY are one."));
    }
    Ok(Some(merging))
}

/// Every column is of the key or says what becomes of it: the rest would be of one row or another.
fn aggregating(defs: &[ColumnDef], key: &[usize]) -> Result<Merging> {
    let folded = |def: &ColumnDef| def.fold.is_some() || matches!(def.ty, Type::State(_));
    match (0..defs.len()).find(|at| !key.contains(at) && !folded(&defs[*at])) {
        None => Ok(Merging::Aggregating),
        Some(at) => {
            let message = format!("column \"{}\" is neither of the sorting key nor an aggregate", defs[at].name);
            Err(Error::new(ErrorKind::InvalidDefinition, message).with_hint(
                "Add it to ORDER BY, or make it a SimpleAggregateFunction(any, type) or an AggregateFunction(f, type).",
            ))
        }
    }
}

fn replacing(engine: &str, args: &[&str], columns: &[OutputColumn]) -> Result<Merging> {
    let (version, is_deleted) = match args {
        [] => (None, None),
        [version] => (Some(column(version, columns)?), None),
        [version, is_deleted] => (Some(column(version, columns)?), Some(column(is_deleted, columns)?)),
        _ => {
            let message = format!("ENGINE = {engine} takes a version and is_deleted");
            return Err(Error::new(ErrorKind::Syntax, message));
        }
    };
    if let Some(at) = version {
        check_version(&columns[at])?;
    }
    if let Some(at) = is_deleted
        && !(columns[at].ty.is_integer() || columns[at].ty == Type::Bool)
    {
        return Err(wrong_type(&columns[at], "is_deleted is 0 or 1"));
    }
    Ok(Merging::Replacing { version, is_deleted })
}

fn check_version(column: &OutputColumn) -> Result<()> {
    match column.ty.is_integer() || matches!(column.ty, Type::Date | Type::Timestamp | Type::Timestamptz) {
        true => Ok(()),
        false => Err(wrong_type(column, "a version is an integer, a date or a time")),
    }
}

fn sign_column(name: &str, columns: &[OutputColumn]) -> Result<usize> {
    let at = column(name, columns)?;
    match columns[at].ty.is_integer() {
        true => Ok(at),
        false => Err(wrong_type(&columns[at], "a sign is 1 or -1")),
    }
}

/// The columns to sum: those that are named, or all numbers outside of the key that do not say what becomes of them.
fn summing(args: &[&str], defs: &[ColumnDef], columns: &[OutputColumn], key: &[usize]) -> Result<Merging> {
    let mut named = Vec::new();
    for arg in args {
        let list = arg.trim().trim_start_matches("tuple").trim().trim_start_matches('(').trim_end_matches(')');
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let at = column(name, columns)?;
            if !columns[at].ty.is_number() {
                return Err(wrong_type(&columns[at], "only numbers are summed"));
            }
            if key.contains(&at) {
                let message = format!("column \"{}\" is of the sorting key and cannot be summed", columns[at].name);
                return Err(Error::new(ErrorKind::InvalidDefinition, message));
            }
            named.push(at);
        }
    }
    if named.is_empty() {
        let summed = |&at: &usize| columns[at].ty.is_number() && !key.contains(&at) && defs[at].fold.is_none();
        named = (0..columns.len()).filter(summed).collect();
    }
    Ok(Merging::Summing(named))
}

fn wrong_type(column: &OutputColumn, why: &str) -> Error {
    let message = format!("column \"{}\" is of type {}", column.name, column.ty);
    Error::new(ErrorKind::DatatypeMismatch, message).with_detail(format!("In ENGINE, {why}."))
}

fn column(text: &str, columns: &[OutputColumn]) -> Result<usize> {
    let name = match crate::parse::expr(text)? {
        Expr::Identifier(ident) => fold(&ident),
        _ => text.to_string(),
    };
    columns
        .iter()
        .position(|column| column.name == name)
        .ok_or_else(|| Error::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" does not exist")))
}
