//! Statements about the session, EXPLAIN, SHOW and DESCRIBE; and finding the relation that a statement names.

use std::sync::Arc;

use super::{BoundAst, World};
use crate::catalog::Relation;
use crate::collation::Collating;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Expr, OutputColumn, Plan};
use crate::statement::{ExplainOptions, ObjectName, Statement};
use crate::types::Type;
use crate::value::Value;

/// A computed column of a result.
pub(super) fn column(name: &str, ty: Type) -> OutputColumn {
    OutputColumn { name: name.to_string(), typmod: ty.typmod(), ty, origin: None, collating: Collating::default() }
}

/// The relation of this name, or 42P01 at its place.
pub(super) fn relation(world: &World<'_>, name: &ObjectName, at: usize) -> Result<Arc<Relation>> {
    if let Some(relation) = world.catalog.relation(name.schema.as_deref(), &name.name)? {
        return Ok(relation);
    }
    let message = match &name.schema {
        Some(schema) => format!("relation \"{schema}.{}\" does not exist", name.name),
        None => format!("relation \"{}\" does not exist", name.name),
    };
    let error = Error::new(ErrorKind::UndefinedTable, message);
    Err(if at > 0 { error.at(at) } else { error })
}

/// What the parser could say by itself; the catalogue tells of settings.
pub(super) fn ready(world: &World<'_>, statement: &Statement) -> Result<BoundAst> {
    let columns = match statement {
        Statement::Show { name } if name == "all" => {
            ["name", "setting", "description"].iter().map(|name| column(name, Type::Text)).collect()
        }
        Statement::Show { name } => {
            if world.catalog.setting(name).is_none() {
                let message = format!("unrecognized configuration parameter \"{name}\"");
                return Err(Error::new(ErrorKind::UndefinedObject, message));
            }
            vec![column(title(name), Type::Text)]
        }
        Statement::Backup { .. } | Statement::Restore { .. } => {
            ["version", "parts", "copied", "bytes"].iter().map(|name| column(name, Type::Int8)).collect()
        }
        _ => Vec::new(),
    };
    Ok((statement.clone(), columns))
}

/// How PostgreSQL writes a setting's name.
fn title(name: &str) -> &str {
    match name {
        "timezone" => "TimeZone",
        "datestyle" => "DateStyle",
        "intervalstyle" => "IntervalStyle",
        name => name,
    }
}

/// EXPLAIN of a bound statement.
pub(super) fn explain(statement: Statement, options: ExplainOptions) -> BoundAst {
    let columns = vec![column("QUERY PLAN", if options.json { Type::Json } else { Type::Text })];
    (Statement::Explain { statement: Box::new(statement), options }, columns)
}

/// DESCRIBE: one row a column.
pub(super) fn describe(world: &World<'_>, name: &ObjectName, at: usize) -> Result<BoundAst> {
    let relation = relation(world, name, at)?;
    let columns = vec![
        column("name", Type::Text),
        column("type", Type::Text),
        column("nullable", Type::Bool),
        column("default", Type::Text),
    ];
    let rows = relation.columns.iter().map(|column| {
        let default = column.default.as_deref().map_or_else(|| Value::null(Type::Text), Value::text);
        vec![
            Expr::literal(Value::text(&column.name)),
            Expr::literal(Value::text(&column.ty.to_string())),
            Expr::literal(Value::bool(column.nullable)),
            Expr::literal(default),
        ]
    });
    let plan = Plan::Values { rows: rows.collect(), columns: columns.clone() };
    Ok((Statement::ShowQuery(plan), columns))
}
