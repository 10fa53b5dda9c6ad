//! INSERT: rows of exactly the table's columns, in order. Columns that are not named have their DEFAULT, or NULL.

use std::borrow::Cow;
use std::sync::Arc;

use sqlparser::ast::{self, ConflictTarget, OnConflictAction, OnInsert, SelectItem, SetExpr, Spanned, TableObject};

use super::utility::relation;
use super::{Binder, BoundAst, CoercionContext, World};
use crate::catalog::{Relation, RelationKind};
use crate::collation::Collating;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::ast::Name;
use crate::parse::names::{fold, object_name};
use crate::plan::{Expr, OutputColumn, Plan};
use crate::statement::{Insert, InsertedQuery, ObjectName, OnConflict, Statement};
use crate::types::Type;
use crate::value::Value;

/// INSERT. `query` is the text of what it inserts, if that is all that follows the columns.
pub(super) fn insert(
    world: &World<'_>,
    binder: &mut Binder<'_>,
    insert: &ast::Insert,
    query: Option<&str>,
) -> Result<BoundAst> {
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
                && let Some(width) = width(query)
                && width < targets.len()
            {
                targets.truncate(width);
            }
            check_widths(query, &targets, &names)?;
            let query = with_defaults(query, &relation, &targets)?;
            let shape: Vec<(String, Type)> = targets
                .iter()
                .map(|&at| (relation.columns[at].name.clone(), relation.columns[at].ty.clone()))
                .collect();
            let plan = binder.bind_query_to(&query, &shape, names.is_empty())?;
            targets.truncate(plan.columns().len());
            plan
        }
    };
    let source = whole_rows(binder, &relation, &targets, rows)?;
    let query = query.map(|text| InsertedQuery { text: text.to_string(), columns: targets });
    let name = insert.table_alias.as_ref().map_or_else(|| relation.name.clone(), |alias| fold(&alias.alias));
    let on_conflict = match &insert.on {
        Some(OnInsert::OnConflict(on)) => on_conflict(binder, &relation, &name, on)?,
        _ => None,
    };
    let table = table_columns(&relation);
    let returning = insert.returning.as_deref().map(|items| binder.bind_returning(items, &name, &table)).transpose()?;
    let columns = returning.as_ref().map(|(_, columns)| columns.clone()).unwrap_or_default();
    let table = ObjectName { schema: Some(relation.schema.clone()), name: relation.name.clone() };
    Ok((Statement::Insert(Insert { table, oid: relation.oid, source, on_conflict, returning, query }), columns))
}

fn check_supported(insert: &ast::Insert) -> Result<()> {
    let what = if matches!(insert.on, Some(OnInsert::DuplicateKeyUpdate(_))) {
        "ON DUPLICATE KEY UPDATE"
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

/// ON CONFLICT. The primary key is the only thing that rows can conflict in.
fn on_conflict(
    binder: &mut Binder<'_>,
    relation: &Arc<Relation>,
    name: &str,
    on: &ast::OnConflict,
) -> Result<Option<OnConflict>> {
    match &on.conflict_target {
        None if matches!(on.action, OnConflictAction::DoUpdate(_)) => {
            let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            return Err(Error::new(ErrorKind::Syntax, message).with_hint("For example, ON CONFLICT (column_name)."));
        }
        None => {}
        Some(ConflictTarget::OnConstraint(constraint)) => {
            let named = object_name(constraint)?.name;
            if relation.primary_key.is_empty() || named != format!("{}_pkey", relation.name) {
                let message = format!("constraint \"{named}\" for table \"{}\" does not exist", relation.name);
                return Err(Error::new(ErrorKind::UndefinedObject, message));
            }
        }
        Some(ConflictTarget::Columns { columns, predicate }) => {
            if predicate.is_some() {
                return Err(Error::new(ErrorKind::Unsupported, "ON CONFLICT (…) WHERE is not supported"));
            }
            let names: Vec<Name> =
                columns.iter().map(|ident| Name { name: fold(ident), at: start(Some(ident)) }).collect();
            let mut named = Vec::new();
            for Name { name, at } in &names {
                let Some(column) = relation.columns.iter().position(|column| column.name == *name) else {
                    let message = format!("column \"{name}\" does not exist");
                    return Err(Error::new(ErrorKind::UndefinedColumn, message).at(*at));
                };
                named.push(column);
            }
            let key = &relation.primary_key;
            if key.is_empty() || !named.iter().all(|c| key.contains(c)) || !key.iter().all(|c| named.contains(c)) {
                let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
                return Err(Error::new(ErrorKind::InvalidColumnReference, message));
            }
        }
    }
    Ok(match &on.action {
        OnConflictAction::DoNothing if relation.primary_key.is_empty() => None,
        OnConflictAction::DoNothing => Some(OnConflict::Nothing),
        OnConflictAction::DoUpdate(update) => {
            let (row, predicate) = binder.bind_conflict_update(relation, name, update)?;
            Some(OnConflict::Update { row, predicate })
        }
    })
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
        RelationKind::MaterializedView | RelationKind::States => "materialized view",
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

/// How many columns a query has, as far as it can be told without binding it.
fn width(query: &ast::Query) -> Option<usize> {
    match query.body.as_ref() {
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        SetExpr::Select(select) if select.projection.iter().all(is_one_column) => Some(select.projection.len()),
        _ => None,
    }
}

fn is_one_column(item: &SelectItem) -> bool {
    matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
}

/// PostgreSQL's words for rows of VALUES that do not fit.
fn check_widths(query: &ast::Query, targets: &[usize], names: &[Name]) -> Result<()> {
    let SetExpr::Values(values) = query.body.as_ref() else { return Ok(()) };
    let first = values.rows.first().map_or(0, |row| row.content.len());
    for row in &values.rows {
        let width = row.content.len();
        let (message, at) = if width != first {
            ("VALUES lists must all be the same length", row.content.first().map(|expr| expr.span().start.column))
        } else if width > targets.len() {
            let extra = row.content.get(targets.len()).map(|expr| expr.span().start.column);
            ("INSERT has more expressions than target columns", extra)
        } else if width < targets.len() {
            ("INSERT has more target columns than expressions", names.get(width).map(|name| name.at as u64))
        } else {
            continue;
        };
        let error = Error::new(ErrorKind::Syntax, message);
        return Err(match at {
            Some(at) if at > 0 => error.at(at as usize),
            _ => error,
        });
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

/// Whether it is the word DEFAULT.
pub(super) fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// The table's columns as a plan puts them out.
pub(super) fn table_columns(relation: &Relation) -> Vec<OutputColumn> {
    let column = |(at, column): (usize, &crate::catalog::ColumnInfo)| OutputColumn {
        name: column.name.clone(),
        ty: column.ty.clone(),
        typmod: column.ty.typmod(),
        origin: Some((relation.oid, at as i16 + 1)),
        collating: Collating::Implicit(column.collation),
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
