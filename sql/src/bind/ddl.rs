//! CREATE TABLE: columns with their types, NULLs and defaults; keys; how rows are kept.
//!
//! A table with an ENGINE is ClickHouse's: its columns are NOT NULL unless Nullable(…), and one without a DEFAULT has its type's zero; its PRIMARY KEY
//! is a prefix of the sorting key. Any other table is PostgreSQL's: columns admit NULL unless they are said not to, and PRIMARY KEY is
//! unique.

use super::codec;
use super::utility::column;
use super::{Binder, CoercionContext, engine, index, layout, settled_type};
use crate::collation::{Collation, is_collatable};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::ast::{self, Name};
use crate::parse::datatype;
use crate::plan::{Expr, OutputColumn, Plan};
use crate::statement::{ColumnDef, CreateTable, Fold, ObjectName, OnCommit, SqlExpr, Statement};
use crate::types::Type;
use crate::value::Value;

/// CREATE TABLE.
pub(super) fn create_table(binder: &mut Binder<'_>, table: &ast::CreateTable) -> Result<Statement> {
    let clickhouse = table.layout.engine.is_some();
    let (mut columns, source) = columns(binder, table, clickhouse)?;
    let shape: Vec<OutputColumn> = columns.iter().map(|def| column(&def.name, def.ty.clone())).collect();
    let mut primary_key = Vec::new();
    for name in table.primary_key.iter().flatten() {
        primary_key.push(key_column(name, &shape, &primary_key)?);
    }
    if let (true, Some(exprs)) = (primary_key.is_empty(), &table.layout.primary_key) {
        primary_key = layout::key(exprs, &shape)?;
    }
    let layout = layout::layout(binder, &table.layout, &shape, &primary_key)?;
    let merging = engine::merging(table, &columns, &shape, &layout.order_by)?;
    if clickhouse {
        if !layout.order_by.starts_with(&primary_key) {
            return Err(Error::new(ErrorKind::InvalidDefinition, "PRIMARY KEY must be a prefix of ORDER BY"));
        }
        primary_key.clear();
    }
    for &key in &primary_key {
        columns[key].nullable = false;
    }
    let watermark = match &table.watermark {
        Some((name, written)) => {
            let at = position(name, &shape)?;
            let expr = binder.bind_expr_over(&written.expr, &shape)?;
            if !matches!(expr.ty, Type::Timestamp | Type::Timestamptz) {
                let message = format!("the watermark of \"{}\" must be a timestamp, not {}", name.name, expr.ty);
                return Err(Error::new(ErrorKind::DatatypeMismatch, message).at(name.at));
            }
            Some((at, SqlExpr { sql: written.text.clone(), expr }))
        }
        None => None,
    };
    if let Some((_, at)) = table.layout.on_commit
        && !table.temporary
    {
        let message = "ON COMMIT can only be used on temporary tables";
        return Err(Error::new(ErrorKind::InvalidDefinition, message).at(at));
    }
    let mut name = table.name.clone();
    if table.temporary {
        name = ObjectName { schema: Some("pg_temp".to_string()), name: name.name };
    }
    Ok(Statement::CreateTable(CreateTable {
        name,
        if_not_exists: table.if_not_exists,
        columns,
        layout,
        primary_key,
        indexes: index::indexes(binder, &table.indexes, &shape)?,
        merging,
        options: table.layout.options.clone(),
        watermark,
        source,
        on_commit: table.layout.on_commit.map_or(OnCommit::Preserve, |(what, _)| what),
    }))
}

/// The columns, and the rows of CREATE TABLE AS.
fn columns(
    binder: &mut Binder<'_>,
    table: &ast::CreateTable,
    clickhouse: bool,
) -> Result<(Vec<ColumnDef>, Option<Plan>)> {
    check_names(table.columns.iter().map(|column| &column.name))?;
    let typed = table.columns.iter().any(|column| column.data_type.is_some());
    let Some(query) = &table.source else {
        let columns = table.columns.iter().map(|column| define(binder, column, clickhouse)).collect::<Result<_>>()?;
        return Ok((columns, None));
    };
    if typed {
        let columns = table.columns.iter().map(|column| define(binder, column, clickhouse));
        let columns = columns.collect::<Result<Vec<ColumnDef>>>()?;
        let shape: Vec<(String, Type)> = columns.iter().map(|def| (def.name.clone(), def.ty.clone())).collect();
        let plan = binder.bind_query_to(query, &shape, false)?;
        return Ok((columns, table.with_data.then_some(plan)));
    }
    let plan = binder.bind_query(query)?;
    if table.columns.len() > plan.columns().len() {
        return Err(Error::new(ErrorKind::Syntax, "too many column names were specified"));
    }
    let mut columns: Vec<ColumnDef> = plan.columns().iter().map(result_column).collect();
    for (def, written) in columns.iter_mut().zip(&table.columns) {
        def.name = written.name.name.clone();
    }
    let mut seen: Vec<&str> = Vec::new();
    for def in &columns {
        if seen.contains(&def.name.as_str()) {
            return Err(twice(&def.name));
        }
        seen.push(&def.name);
    }
    Ok((columns, table.with_data.then_some(plan)))
}

fn result_column(column: &OutputColumn) -> ColumnDef {
    ColumnDef {
        name: column.name.clone(),
        ty: column.ty.clone(),
        nullable: true,
        default: None,
        codec: None,
        fold: None,
        collation: column.collating.settled().ok().filter(|collation| *collation != Collation::DEFAULT),
        comment: None,
        scale: None,
    }
}

/// One written column.
fn define(binder: &mut Binder<'_>, column: &ast::Column, clickhouse: bool) -> Result<ColumnDef> {
    let name = &column.name.name;
    let Some(data_type) = &column.data_type else {
        return Err(Error::new(ErrorKind::Syntax, format!("column \"{name}\" has no type")).at(column.name.at));
    };
    let ty = datatype::type_of(data_type)
        .and_then(|ty| settled_type(binder.functions(), &ty))
        .map_err(|error| error.at(column.name.at))?;
    if matches!(ty, Type::Unknown | Type::Void | Type::Record(_)) {
        let message = format!("column \"{name}\" has pseudo-type {ty}");
        return Err(Error::new(ErrorKind::InvalidDefinition, message).at(column.name.at));
    }
    if column.collation.is_some() && !is_collatable(&ty) {
        let message = format!("collations are not supported by type {ty}");
        return Err(Error::new(ErrorKind::DatatypeMismatch, message).at(column.name.at));
    }
    let nullable = match (column.nullable, clickhouse) {
        (Some(nullable), _) => nullable || datatype::is_nullable(data_type),
        // No state is the state of no rows.
        (None, true) => datatype::is_nullable(data_type) || matches!(ty, Type::State(_)),
        (None, false) => true,
    };
    let default = match &column.default {
        Some(written) => Some(SqlExpr { sql: written.text.clone(), expr: default(binder, &written.expr, name, &ty)? }),
        None if clickhouse && !nullable => zero(binder, &ty)?,
        None => None,
    };
    if let Some(written) = &column.codec {
        codec::codecs(written, &ty).map_err(|error| error.at(column.name.at))?;
    }
    Ok(ColumnDef {
        name: name.clone(),
        nullable,
        default,
        codec: column.codec.clone(),
        fold: column.fold.as_ref().map(|name| fold(binder, name, &ty)).transpose()?,
        collation: column.collation.filter(|collation| *collation != Collation::DEFAULT),
        comment: column.comment.clone(),
        scale: datatype::scale_of(data_type),
        ty,
    })
}

/// The f of SimpleAggregateFunction(f, type), which has to be there for the type.
fn fold(binder: &mut Binder<'_>, name: &Name, ty: &Type) -> Result<Fold> {
    let written = format!("SimpleAggregateFunction({}, {ty})", name.name);
    let Some(fold) = Fold::named(&name.name) else {
        let names: Vec<&str> = Fold::ALL.iter().map(|(name, _)| *name).collect();
        return Err(Error::new(ErrorKind::Unsupported, format!("{written} is not supported"))
            .with_hint(format!("One of {}.", names.join(", ")))
            .at(name.at));
    };
    let both = [column("l", ty.clone()), column("r", ty.clone())];
    let bound = binder.bind_expr_over(&crate::parse::expr(&fold.sql("l", "r"))?, &both);
    bound
        .and_then(|expr| binder.coerce(expr, ty, CoercionContext::Assignment))
        .map_err(|_| Error::new(ErrorKind::DatatypeMismatch, format!("{written} is not possible")).at(name.at))?;
    Ok(fold)
}

/// A DEFAULT, as the type of the column of this name.
pub fn default(binder: &mut Binder<'_>, expr: &sqlparser::ast::Expr, name: &str, ty: &Type) -> Result<Expr> {
    let expr = binder.bind_expr_over(expr, &[]).map_err(|error| match error.kind {
        ErrorKind::UndefinedColumn => Error {
            kind: ErrorKind::Unsupported,
            message: "cannot use column reference in DEFAULT expression".to_string(),
            ..error
        },
        _ => error,
    })?;
    let from = expr.ty.clone();
    binder.coerce(expr, ty, CoercionContext::Assignment).map_err(|error| match error.kind {
        ErrorKind::CannotCoerce | ErrorKind::DatatypeMismatch => Error::new(
            ErrorKind::DatatypeMismatch,
            format!("column \"{name}\" is of type {ty} but default expression is of type {from}"),
        )
        .with_hint("You will need to rewrite or cast the expression."),
        _ => error,
    })
}

/// ClickHouse's default of a type; `None` for types it does not have.
pub fn zero(binder: &mut Binder<'_>, ty: &Type) -> Result<Option<SqlExpr>> {
    let text = match ty {
        Type::Bool => "false",
        ty if ty.is_number() => "0",
        Type::Text | Type::Varchar(_) | Type::Bpchar(_) | Type::Bytea => "",
        Type::Uuid => "00000000-0000-0000-0000-000000000000",
        Type::Date => "1970-01-01",
        Type::Time => "00:00:00",
        Type::Timestamp => "1970-01-01 00:00:00",
        Type::Timestamptz => "1970-01-01 00:00:00+00",
        Type::Interval => "0 seconds",
        Type::Json | Type::Jsonb | Type::Map(_) | Type::Array(_) => "{}",
        _ => return Ok(None),
    };
    let expr = binder.coerce(Expr::literal(Value::unknown(text)), ty, CoercionContext::Assignment)?;
    Ok(Some(SqlExpr { sql: format!("'{text}'"), expr }))
}

fn check_names<'a>(names: impl Iterator<Item = &'a Name>) -> Result<()> {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if seen.contains(&name.name.as_str()) {
            return Err(twice(&name.name).at(name.at));
        }
        seen.push(&name.name);
    }
    Ok(())
}

fn twice(name: &str) -> Error {
    Error::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" specified more than once"))
}

fn position(name: &Name, columns: &[OutputColumn]) -> Result<usize> {
    columns.iter().position(|column| column.name == name.name).ok_or_else(|| {
        Error::new(ErrorKind::UndefinedColumn, format!("column \"{}\" does not exist", name.name)).at(name.at)
    })
}

fn key_column(name: &Name, columns: &[OutputColumn], key: &[usize]) -> Result<usize> {
    let Some(at) = columns.iter().position(|column| column.name == name.name) else {
        let message = format!("column \"{}\" named in key does not exist", name.name);
        return Err(Error::new(ErrorKind::UndefinedColumn, message).at(name.at));
    };
    if key.contains(&at) {
        let message = format!("column \"{}\" appears twice in primary key constraint", name.name);
        return Err(Error::new(ErrorKind::DuplicateColumn, message).at(name.at));
    }
    Ok(at)
}
