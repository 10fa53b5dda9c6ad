//! INSERT: rows of exactly the table's columns, in order. Columns that are not named have their DEFAULT, or NULL.

use std::borrow::Cow;

use sqlparser::ast::{self, SelectItem, SetExpr, TableObject};

use super::utility::relation;
use super::{Binder, BoundAst, CoercionContext, World};
use crate::catalog::{Relation, RelationKind};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::ast::Name;
use crate::parse::names::{fold, object_name};
use crate::plan::{Expr, OutputColumn, Plan};
use crate::statement::{Insert, ObjectName, Statement};
use crate::types::Type;
use crate::value::Value;

/// INSERT.
pub(super) fn insert(world: &World<'_>, binder: &mut Binder<'_>, insert: &ast::Insert) -> Result<BoundAst> {
    check_supported(insert)?;
    let TableObject::TableName(written) = &insert.table else {
        return Err(Error::new(ErrorKind::Unsupported, "INSERT INTO FUNCTION is not supported"));
    };
    let at = start(written.0.first().and_then(|part| part.as_ident()));
    let relation = relation(world, &object_name(written)?, at)?;
    insertable(&relation, "insert into")?;
    let names = insert.columns.iter().map(column_name).collect::<Result<Vec<Name>>>()?;
    let mut targets = target_columns(&relation, &names)?;

    let rows = match &insert.source {
        None => {
            targets.clear();
            Plan::Values { rows: vec![Vec::new()], columns: Vec::new() }
        }
        Some(query) => {
            if names.is_empty()
                && let Some(width) = width(world, query)?
                && width < targets.len()
            {
                targets.truncate(width);
            }
            check_widths(query, &targets)?;
            let query = with_defaults(query, &relation, &targets)?;
            let shape: Vec<(String, Type)> = targets
                .iter()
                .map(|&at| (relation.columns[at].name.clone(), relation.columns[at].ty.clone()))
                .collect();
            binder.bind_query_to(&query, &shape)?
        }
    };
    let source = whole_rows(binder, &relation, &targets, rows)?;
    let returning = insert.returning.as_deref().map(|items| returning(binder, &relation, items)).transpose()?;
    let columns = returning.as_ref().map(|(_, columns)| columns.clone()).unwrap_or_default();
    let table = ObjectName { schema: Some(relation.schema.clone()), name: relation.name.clone() };
    Ok((Statement::Insert(Insert { table, oid: relation.oid, source, returning }), columns))
}

fn check_supported(insert: &ast::Insert) -> Result<()> {
    let what = if insert.on.is_some() {
        "ON CONFLICT"
    } else if insert.overwrite {
        "INSERT OVERWRITE"
    } else if insert.or.is_some() || insert.ignore || insert.replace_into {
        "INSERT OR IGNORE / REPLACE"
    } else if insert.partitioned.is_some() {
        "INSERT INTO … PARTITION"
    } else if insert.by_name || !insert.assignments.is_empty() {
        "this form of INSERT"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Unsupported, format!("{what} is not supported")))
}

fn start(ident: Option<&ast::Ident>) -> usize {
    ident.map_or(0, |ident| ident.span.start.column as usize)
}

fn column_name(column: &ast::ObjectName) -> Result<Name> {
    match column.0.last().and_then(|part| part.as_ident()) {
        Some(ident) => Ok(Name { name: fold(ident), at: start(Some(ident)) }),
        None => Err(Error::new(ErrorKind::Syntax, format!("{column} is not a column"))),
    }
}

/// An error unless rows can be added to the relation by hand.
pub(super) fn insertable(relation: &Relation, verb: &str) -> Result<()> {
    let what = match relation.kind {
        RelationKind::Table => return Ok(()),
        RelationKind::View { .. } => "view",
        RelationKind::MaterializedView => "materialized view",
        RelationKind::System => "system relation",
    };
    Err(Error::new(ErrorKind::WrongObjectType, format!("cannot {verb} {what} \"{}\"", relation.name)))
}

/// Indexes of the named columns; of all if none is named.
pub(super) fn target_columns(relation: &Relation, names: &[Name]) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..relation.columns.len()).collect());
    }
    let mut targets = Vec::with_capacity(names.len());
    for Name { name, at } in names {
        let Some(index) = relation.columns.iter().position(|column| column.name == *name) else {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name);
            return Err(Error::new(ErrorKind::UndefinedColumn, message).at(*at));
        };
        if targets.contains(&index) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(Error::new(ErrorKind::DuplicateColumn, message).at(*at));
        }
        targets.push(index);
    }
    Ok(targets)
}

/// A column's DEFAULT as an expression of its type; `None` if it has none.
pub(super) fn default_of(binder: &mut Binder<'_>, relation: &Relation, at: usize) -> Result<Option<Expr>> {
    let column = &relation.columns[at];
    let Some(sql) = &column.default else { return Ok(None) };
    let expr = binder.bind_expr_over(&crate::parse::expr(sql)?, &[])?;
    binder.coerce(expr, &column.ty, CoercionContext::Assignment).map(Some)
}

/// How many columns a query has, as far as it can be told without binding it; a query with `*` is bound, apart, to see.
fn width(world: &World<'_>, query: &ast::Query) -> Result<Option<usize>> {
    Ok(match query.body.as_ref() {
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        SetExpr::Select(select) if select.projection.iter().all(is_one_column) => Some(select.projection.len()),
        _ => Some(world.binder().bind_query(query)?.columns().len()),
    })
}

fn is_one_column(item: &SelectItem) -> bool {
    matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
}

/// PostgreSQL's words for rows of VALUES that do not fit.
fn check_widths(query: &ast::Query, targets: &[usize]) -> Result<()> {
    let SetExpr::Values(values) = query.body.as_ref() else { return Ok(()) };
    let first = values.rows.first().map_or(0, |row| row.content.len());
    for row in &values.rows {
        let place = |error: Error| match row.opening_token.0.span.start.column {
            0 => error,
            at => error.at(at as usize),
        };
        let width = row.content.len();
        let message = if width != first {
            "VALUES lists must all be the same length"
        } else if width > targets.len() {
            "INSERT has more expressions than target columns"
        } else if width < targets.len() {
            "INSERT has more target columns than expressions"
        } else {
            continue;
        };
        return Err(place(Error::new(ErrorKind::Syntax, message)));
    }
    Ok(())
}

/// The query with each DEFAULT in its VALUES replaced by the column's.
fn with_defaults<'a>(query: &'a ast::Query, relation: &Relation, targets: &[usize]) -> Result<Cow<'a, ast::Query>> {
    let has_default = match query.body.as_ref() {
        SetExpr::Values(values) => values.rows.iter().any(|row| row.content.iter().any(is_default)),
        _ => false,
    };
    if !has_default {
        return Ok(Cow::Borrowed(query));
    }
    let mut query = query.clone();
    if let SetExpr::Values(values) = query.body.as_mut() {
        for row in &mut values.rows {
            for (expr, &at) in row.content.iter_mut().zip(targets).filter(|(expr, _)| is_default(expr)) {
                *expr = crate::parse::expr(relation.columns[at].default.as_deref().unwrap_or("NULL"))?;
            }
        }
    }
    Ok(Cow::Owned(query))
}

fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// The table's columns as a plan puts them out.
fn table_columns(relation: &Relation) -> Vec<OutputColumn> {
    let column = |(at, column): (usize, &crate::catalog::ColumnInfo)| OutputColumn {
        name: column.name.clone(),
        ty: column.ty.clone(),
        typmod: column.ty.typmod(),
        origin: Some((relation.oid, at as i16 + 1)),
    };
    relation.columns.iter().enumerate().map(column).collect()
}

/// Rows of all columns from rows of the target columns.
fn whole_rows(binder: &mut Binder<'_>, relation: &Relation, targets: &[usize], rows: Plan) -> Result<Plan> {
    if targets.iter().copied().eq(0..relation.columns.len()) {
        return Ok(rows);
    }
    let mut exprs = Vec::with_capacity(relation.columns.len());
    for (at, column) in relation.columns.iter().enumerate() {
        exprs.push(match targets.iter().position(|&target| target == at) {
            Some(from) => Expr::column(from, column.ty.clone()),
            None => default_of(binder, relation, at)?.unwrap_or_else(|| Expr::literal(Value::null(column.ty.clone()))),
        });
    }
    let mut columns = table_columns(relation);
    columns.iter_mut().for_each(|column| column.origin = None);
    Ok(Plan::Project { input: Box::new(rows), exprs, columns })
}

/// RETURNING, over the table's columns.
fn returning(
    binder: &mut Binder<'_>,
    relation: &Relation,
    items: &[SelectItem],
) -> Result<(Vec<Expr>, Vec<OutputColumn>)> {
    let table = table_columns(relation);
    let (mut exprs, mut columns) = (Vec::new(), Vec::new());
    for item in items {
        let (expr, alias) = match item {
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                exprs.extend(table.iter().enumerate().map(|(at, column)| Expr::column(at, column.ty.clone())));
                columns.extend(table.iter().cloned());
                continue;
            }
            SelectItem::UnnamedExpr(expr) => (expr, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(fold(alias))),
            SelectItem::ExprWithAliases { expr, .. } => (expr, None),
        };
        let mut bound = binder.bind_expr_over(unqualified(expr, relation).as_ref(), &table)?;
        if bound.ty == Type::Unknown {
            bound = binder.coerce(bound, &Type::Text, CoercionContext::Implicit)?;
        }
        let column = match &bound.kind {
            crate::plan::ExprKind::Column(at) => table[*at].clone(),
            _ => {
                OutputColumn { name: result_name(expr), ty: bound.ty.clone(), typmod: bound.ty.typmod(), origin: None }
            }
        };
        columns.push(OutputColumn { name: alias.unwrap_or(column.name.clone()), ..column });
        exprs.push(bound);
    }
    Ok((exprs, columns))
}

/// `t.a` as `a`.
fn unqualified<'a>(expr: &'a ast::Expr, relation: &Relation) -> Cow<'a, ast::Expr> {
    match expr {
        ast::Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., table, column] if fold(table) == relation.name => Cow::Owned(ast::Expr::Identifier(column.clone())),
            _ => Cow::Borrowed(expr),
        },
        _ => Cow::Borrowed(expr),
    }
}

/// What PostgreSQL calls a computed column.
fn result_name(expr: &ast::Expr) -> String {
    match expr {
        ast::Expr::Function(function) => match function.name.0.last().and_then(|part| part.as_ident()) {
            Some(ident) => fold(ident),
            None => "?column?".to_string(),
        },
        ast::Expr::Nested(inner) | ast::Expr::Cast { expr: inner, .. } => result_name(inner),
        ast::Expr::Case { .. } => "case".to_string(),
        _ => "?column?".to_string(),
    }
}
