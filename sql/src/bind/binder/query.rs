//! Queries: WITH, set operations, VALUES, and ORDER BY / LIMIT over any of them.

use std::cmp::Ordering;

use sqlparser::ast::{self, LimitClause, SetExpr, SetOperator, SetQuantifier};

use super::coerce::common_type;
use super::collate::together;
use super::place::{locate, locate_column};
use super::scope::{Clause, Frame, Scope};
use super::{Binder, CoercionContext};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::names::fold;
use crate::plan::{Expr, ExprKind, OutputColumn, Plan, SetKind, SortKey};
use crate::types::Type;

/// LIMIT and OFFSET, bound.
#[derive(Default)]
pub(super) struct Bounds {
    limit: Option<Expr>,
    offset: Option<Expr>,
    /// FETCH … WITH TIES: and the peers of the last row.
    ties: bool,
    /// LIMIT … BY: for each value of these.
    pub(super) by: Vec<ast::Expr>,
}

impl Bounds {
    /// `by` is what [`Bounds::by`] is, over the plan's columns.
    pub(super) fn over(self, plan: Plan, by: Vec<Expr>, binder: &mut Binder<'_>) -> Result<Plan> {
        let keys = match &plan {
            Plan::Sort { keys, .. } => keys.clone(),
            Plan::Fill { input, .. } => match &**input {
                Plan::Sort { keys, .. } => keys.clone(),
                _ => Vec::new(),
            },
            Plan::Distinct { input, on: Some(_) } => match &**input {
                Plan::Sort { keys, .. } => keys.clone(),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        if self.ties && keys.is_empty() {
            let message = "WITH TIES cannot be specified without ORDER BY clause";
            return Err(Error::new(ErrorKind::Syntax, message));
        }
        if by.is_empty() && !self.ties {
            return Ok(match self.limit.is_none() && self.offset.is_none() {
                true => plan,
                false => Plan::Limit { input: Box::new(plan), limit: self.limit, offset: self.offset },
            });
        }
        // Both are conditions on the numbers that rows have in their order.
        let columns = plan.columns().to_vec();
        let (row, peers) = (Expr::column(columns.len(), Type::Int8), Expr::column(columns.len() + 1, Type::Int8));
        let mut numbered = columns.clone();
        let mut calls = Vec::new();
        for name in ["row_number", "rank"] {
            numbered.push(OutputColumn::computed(name, Type::Int8));
            calls.push(super::window::numbering(name, binder.functions)?);
        }
        let first: Vec<SortKey> =
            by.iter().map(|expr| SortKey { expr: expr.clone(), descending: false, nulls_first: false }).collect();
        let order: Vec<SortKey> = first.into_iter().chain(keys.iter().cloned()).collect();
        let input = match by.is_empty() {
            true => plan,
            false => Plan::Sort { input: Box::new(plan), keys: order },
        };
        let (partition_by, order_by) = (by, keys.clone());
        // The offset of LIMIT … BY is of all rows.
        let (offset, skipped) = if partition_by.is_empty() { (self.offset, None) } else { (None, self.offset) };
        let regrouped = !partition_by.is_empty() && !keys.is_empty();
        let mut plan = Plan::Window { input: Box::new(input), partition_by, order_by, calls, columns: numbered };
        let mut last = self.limit;
        let mut conditions = Vec::new();
        if let Some(offset) = offset {
            conditions.push(binder.operator(">", vec![row.clone(), offset.clone()])?);
            last = last.map(|last| binder.operator("+", vec![last, offset])).transpose()?;
        }
        if let Some(last) = last {
            let number = if self.ties { peers } else { row };
            conditions.push(binder.operator("<=", vec![number, last])?);
        }
        if let Some(predicate) = crate::walk::conjunction(conditions) {
            plan = Plan::Filter { input: Box::new(plan), predicate };
        }
        if regrouped {
            plan = Plan::Sort { input: Box::new(plan), keys };
        }
        if skipped.is_some() {
            plan = Plan::Limit { input: Box::new(plan), limit: None, offset: skipped };
        }
        let exprs = columns.iter().enumerate().map(|(at, column)| Expr::column(at, column.ty.clone())).collect();
        Ok(Plan::Project { input: Box::new(plan), exprs, columns })
    }
}

/// An error unless so many columns can be put into `columns`, or into the first of them if there may be fewer.
fn check_width(given: usize, columns: usize, fewer: bool) -> Result<()> {
    let message = match given.cmp(&columns) {
        Ordering::Greater => "INSERT has more expressions than target columns",
        Ordering::Less if !fewer => "INSERT has more target columns than expressions",
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Syntax, message))
}

impl Binder<'_> {
    /// A query's plan. What its columns leave unknown is text.
    pub fn bind_query(&mut self, query: &ast::Query) -> Result<Plan> {
        self.bind_query_at_level(query, false)
    }

    /// A query's plan with exactly these columns, by name and type, cast by assignment: the source of an INSERT. A query of more columns is an error,
    /// and of fewer unless these are the first.
    pub fn bind_query_to(&mut self, query: &ast::Query, columns: &[(String, Type)], fewer: bool) -> Result<Plan> {
        let plan = match (query.body.as_ref(), &query.with, &query.order_by, &query.limit_clause, &query.fetch) {
            // Each value has a type of its own, whatever stands above and below it.
            (SetExpr::Values(values), None, None, None, None) => return self.bind_values_to(values, columns, fewer),
            _ => self.bind_query_at_level(query, true)?,
        };
        check_width(plan.columns().len(), columns.len(), fewer)?;
        for (column, (found, (name, ty))) in plan.columns().iter().zip(columns).enumerate() {
            if !super::casts::can_cast(&found.ty, ty, CoercionContext::Assignment) {
                return Err(locate_column(not_assignable(name, ty, &found.ty), &query.body, column));
            }
        }
        let types: Vec<Type> = columns.iter().map(|(_, ty)| ty.clone()).collect();
        self.coerce_columns(plan, &types, CoercionContext::Assignment)
    }

    /// A query above the innermost frame. With `keep_unknown`, literals without a type keep having none, for the caller to decide.
    pub(super) fn bind_query_at_level(&mut self, query: &ast::Query, keep_unknown: bool) -> Result<Plan> {
        self.depth += 1;
        let known = self.ctes.len();
        let plan = if self.depth > super::DEPTH_MAX {
            Err(Error::new(ErrorKind::Unsupported, "the query is nested too deeply"))
        } else {
            self.bind_query_parts(query, keep_unknown)
        };
        self.ctes.truncate(known);
        self.depth -= 1;
        plan
    }

    fn bind_query_parts(&mut self, query: &ast::Query, keep_unknown: bool) -> Result<Plan> {
        if query.format_clause.is_some() {
            return Err(Error::new(ErrorKind::Syntax, "FORMAT is only allowed at the end of a statement"));
        }
        if !query.pipe_operators.is_empty() {
            return Err(Error::new(ErrorKind::Unsupported, "pipe operators are not supported"));
        }
        if let Some(with) = &query.with {
            self.bind_with(with)?;
        }
        let mut body = query.body.as_ref();
        // Parentheses around a whole query change nothing.
        while let SetExpr::Query(inner) = body
            && inner.with.is_none()
            && inner.order_by.is_none()
            && inner.limit_clause.is_none()
            && inner.fetch.is_none()
        {
            body = inner.body.as_ref();
        }
        if let SetExpr::Select(select) = body {
            let bounds = self.bind_bounds(query).map_err(|error| self.reads_variables(error, select, query))?;
            let plan = self.bind_select(select, query.order_by.as_ref(), bounds, keep_unknown)?;
            return self.with_totals(plan, select);
        }
        let sorted = query.order_by.is_some();
        let plan = self.bind_set_expr(body, keep_unknown && !sorted)?;
        let plan = self.order_output(plan, query.order_by.as_ref())?;
        let mut bounds = self.bind_bounds(query)?;
        let by = std::mem::take(&mut bounds.by);
        let columns = plan.columns().to_vec();
        self.frames.push(Frame::query(Scope::of_columns(&columns), Clause::OrderBy));
        let bound = by.iter().map(|written| match ordinal(written, columns.len(), "LIMIT BY")? {
            Some(index) => Ok(Expr::column(index, columns[index].ty.clone())),
            None => self.bind_expr(written).and_then(|bound| self.settle(bound)),
        });
        let bound = bound.collect::<Result<Vec<Expr>>>();
        self.frames.pop();
        bounds.over(plan, bound?, self)
    }

    /// SELECT, VALUES, TABLE, a set operation or a parenthesised query, without ORDER BY of its own.
    pub(super) fn bind_set_expr(&mut self, body: &SetExpr, keep_unknown: bool) -> Result<Plan> {
        match body {
            SetExpr::Select(select) => {
                let plan = self.bind_select(select, None, Bounds::default(), keep_unknown)?;
                self.with_totals(plan, select)
            }
            SetExpr::Query(query) => self.bind_query_at_level(query, keep_unknown),
            SetExpr::Values(values) => self.bind_values(values, keep_unknown),
            SetExpr::Table(table) => self.bind_table_command(table),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                self.bind_set_operation(left, *op, *set_quantifier, right)
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(Error::new(ErrorKind::Unsupported, "statements that change data are not supported inside queries"))
            }
        }
    }

    fn bind_table_command(&mut self, table: &ast::Table) -> Result<Plan> {
        let parts = table.schema_name.iter().chain(&table.table_name).cloned().collect::<Vec<_>>();
        let factor = ast::TableFactor::Table {
            name: ast::ObjectName::from(parts),
            alias: None,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_directives: Vec::new(),
            inheritance: None,
        };
        Ok(self.bind_factor(&factor)?.plan)
    }

    fn bind_set_operation(
        &mut self,
        left: &SetExpr,
        op: SetOperator,
        quantifier: SetQuantifier,
        right: &SetExpr,
    ) -> Result<Plan> {
        let (kind, word) = match op {
            SetOperator::Union => (SetKind::Union, "UNION"),
            SetOperator::Intersect => (SetKind::Intersect, "INTERSECT"),
            SetOperator::Except | SetOperator::Minus => (SetKind::Except, "EXCEPT"),
        };
        let all = match quantifier {
            SetQuantifier::All => true,
            SetQuantifier::Distinct | SetQuantifier::None => false,
            _ => return Err(Error::new(ErrorKind::Unsupported, format!("{word} BY NAME is not supported"))),
        };
        let (left, written) = (self.bind_set_expr(left, true)?, right);
        let right = self.bind_set_expr(right, true)?;
        let (left, right) =
            self.unify_columns(left, right, word).map_err(|(error, column)| locate_column(error, written, column))?;
        let mut columns = left.columns().to_vec();
        for (column, other) in columns.iter_mut().zip(right.columns()) {
            column.origin = None;
            column.collating = column.collating.with(other.collating)?;
            if !(all && kind == SetKind::Union) {
                column.collating.agreed()?;
            }
            column.collating = column.collating.of_column();
        }
        Ok(Plan::SetOperation { kind, all, left: Box::new(left), right: Box::new(right), columns })
    }

    /// Casts the columns of two plans to their common types. An error comes with the column of the right that it is about.
    pub(super) fn unify_columns(
        &mut self,
        left: Plan,
        right: Plan,
        word: &str,
    ) -> std::result::Result<(Plan, Plan), (Error, usize)> {
        if left.columns().len() != right.columns().len() {
            let message = format!("each {word} query must have the same number of columns");
            return Err((Error::new(ErrorKind::Syntax, message), 0));
        }
        let mut types = Vec::with_capacity(left.columns().len());
        for (index, (a, b)) in left.columns().iter().zip(right.columns()).enumerate() {
            let (a, b) = (sample(&left, index, &a.ty), sample(&right, index, &b.ty));
            types.push(common_type(&[&a, &b]).map_err(|(a, b)| {
                let message = format!("{word} types {a} and {b} cannot be matched");
                (Error::new(ErrorKind::DatatypeMismatch, message), index)
            })?);
        }
        let left = self.coerce_columns(left, &types, CoercionContext::Implicit).map_err(|error| (error, 0))?;
        let right = self.coerce_columns(right, &types, CoercionContext::Implicit).map_err(|error| (error, 0))?;
        Ok((left, right))
    }

    /// `VALUES (…), (…)`: columns called column1, column2, ….
    /// The values of each row, as many in each, before they have a type in common.
    fn bind_rows(&mut self, values: &ast::Values) -> Result<Vec<Vec<Expr>>> {
        self.frames.push(Frame::query(Scope::default(), Clause::Values));
        let rows: Result<Vec<Vec<Expr>>> = values.rows.iter().map(|row| self.bind_list(&row.content)).collect();
        self.frames.pop();
        let rows = rows?;
        let width = rows.first().map_or(0, Vec::len);
        let Some(odd) = rows.iter().position(|row| row.len() != width) else { return Ok(rows) };
        let error = Error::new(ErrorKind::Syntax, "VALUES lists must all be the same length");
        Err(match values.rows[odd].content.first() {
            Some(first) => locate(error, first),
            None => error,
        })
    }

    /// The same of VALUES.
    fn bind_values_to(&mut self, values: &ast::Values, columns: &[(String, Type)], fewer: bool) -> Result<Plan> {
        let bound = self.bind_rows(values)?;
        let width = bound.first().map_or(0, Vec::len);
        check_width(width, columns.len(), fewer)?;
        let mut rows = Vec::with_capacity(bound.len());
        for (row, written) in bound.into_iter().zip(&values.rows) {
            let mut cells = Vec::with_capacity(row.len());
            for ((cell, written), (name, ty)) in row.into_iter().zip(&written.content).zip(columns) {
                if !super::casts::can_cast(&cell.ty, ty, CoercionContext::Assignment) {
                    return Err(locate(not_assignable(name, ty, &cell.ty), written));
                }
                cells.push(self.coerce(cell, ty, CoercionContext::Assignment).map_err(|e| locate(e, written))?);
            }
            rows.push(cells);
        }
        let width = rows.first().map_or(0, Vec::len);
        let columns = columns[..width].iter().map(|(name, ty)| OutputColumn::computed(name, ty.clone())).collect();
        Ok(Plan::Values { rows, columns })
    }

    fn bind_values(&mut self, values: &ast::Values, keep_unknown: bool) -> Result<Plan> {
        let mut rows = self.bind_rows(values)?;
        let width = rows.first().map_or(0, Vec::len);
        let mut columns = Vec::with_capacity(width);
        for index in 0..width {
            let cells: Vec<&Expr> = rows.iter().map(|row| &row[index]).collect();
            let ty = if keep_unknown && cells.iter().all(|cell| cell.ty == Type::Unknown) {
                Type::Unknown
            } else {
                common_type(&cells).map_err(|(a, b)| {
                    let message = format!("VALUES types {a} and {b} cannot be matched");
                    let odd = (1..cells.len()).find(|&odd| common_type(&cells[..=odd]).is_err()).unwrap_or(0);
                    locate(Error::new(ErrorKind::DatatypeMismatch, message), &values.rows[odd].content[index])
                })?
            };
            for row in &mut rows {
                let cell = std::mem::replace(&mut row[index], Expr::literal(crate::value::Value::null(Type::Unknown)));
                row[index] = self.coerce(cell, &ty, CoercionContext::Implicit)?;
            }
            let collating = together(rows.iter().map(|row| &row[index]))?.of_column();
            columns.push(OutputColumn { collating, ..OutputColumn::computed(format!("column{}", index + 1), ty) });
        }
        Ok(Plan::Values { rows, columns })
    }

    /// ORDER BY over what a set operation or VALUES puts out: output names, ordinals, and expressions over them.
    fn order_output(&mut self, plan: Plan, order_by: Option<&ast::OrderBy>) -> Result<Plan> {
        let Some(order_by) = order_by else { return Ok(plan) };
        let columns = plan.columns().to_vec();
        let of_sets = matches!(plan, Plan::SetOperation { .. });
        let mut keys: Vec<SortKey> = Vec::new();
        self.frames.push(Frame::query(Scope::of_columns(&columns), Clause::OrderBy));
        let bound: Result<()> = order_items(order_by, columns.len())?.iter().try_for_each(|(item, options)| {
            let expr = match item {
                OrderItem::Ordinal(index) => {
                    Expr::column(*index, columns[*index].ty.clone()).collated(columns[*index].collating)
                }
                OrderItem::Expr(expr) => {
                    let bound = self.bind_expr(expr)?;
                    let bound = self.settle(bound)?;
                    if of_sets && !matches!(bound.kind, ExprKind::Column(_)) {
                        return Err(locate(not_a_name(), expr));
                    }
                    bound
                }
            };
            keys.push(self.sort_key(expr, options)?);
            Ok(())
        });
        let frame = self.frames.pop();
        bound?;
        if frame.is_some_and(|f| !f.aggregates.is_empty() || !f.sets.is_empty() || !f.windows.is_empty()) {
            return Err(not_a_name());
        }
        let filling = self.bind_filling(Some(order_by), &keys, &columns, false)?;
        let plan = Plan::Sort { input: Box::new(plan), keys: keys.clone() };
        match filling {
            Some(filling) => filling.over(plan, &keys, columns.len(), &[]),
            None => Ok(plan),
        }
    }

    /// LIMIT, OFFSET and FETCH: bigints over no columns but those of queries around this one.
    fn bind_bounds(&mut self, query: &ast::Query) -> Result<Bounds> {
        let (mut limit, mut offset) = limit_and_offset(query);
        let (mut ties, mut by) = (false, Vec::new());
        if let Some(LimitClause::LimitOffset { limit_by, .. }) = &query.limit_clause {
            by.clone_from(limit_by);
        }
        let one;
        if let Some(fetch) = &query.fetch {
            if fetch.percent {
                return Err(Error::new(ErrorKind::Unsupported, "FETCH FIRST … PERCENT is not supported"));
            }
            ties = fetch.with_ties;
            one = ast::Expr::value(ast::Value::Number("1".into(), false));
            limit = Some(fetch.quantity.as_ref().unwrap_or(&one));
        }
        let mut bind = |expr: &mut Option<&ast::Expr>, word: &str| match expr {
            Some(expr) => self.bind_bound(expr, word),
            None => Ok(None),
        };
        Ok(Bounds { limit: bind(&mut limit, "LIMIT")?, offset: bind(&mut offset, "OFFSET")?, ties, by })
    }

    /// The error of a LIMIT or OFFSET: PostgreSQL's own if what it does not know are columns of FROM.
    fn reads_variables(&mut self, error: Error, select: &ast::Select, query: &ast::Query) -> Error {
        if error.kind != ErrorKind::UndefinedColumn && error.kind != ErrorKind::UndefinedTable {
            return error;
        }
        let (limit, offset) = limit_and_offset(query);
        let Ok(item) = self.bind_from(&select.from) else { return error };
        self.frames.push(Frame::query(item.scope, Clause::Limit));
        let read = [(limit, "LIMIT"), (offset, "OFFSET")].into_iter().find_map(|(expr, word)| {
            let bound = self.bind_expr(expr?).ok()?;
            (!crate::walk::columns_read(&bound).is_empty()).then_some((expr?, word))
        });
        self.frames.pop();
        let Some((expr, word)) = read else { return error };
        let message = format!("argument of {word} must not contain variables");
        let placed = Error { position: error.position, ..Error::new(ErrorKind::InvalidColumnReference, message) };
        if placed.position.is_some() { placed } else { locate(placed, expr) }
    }

    fn bind_bound(&mut self, expr: &ast::Expr, word: &str) -> Result<Option<Expr>> {
        self.frames.push(Frame::query(Scope::default(), Clause::Limit));
        let bound = self.bind_expr(expr);
        self.frames.pop();
        let bound = bound?;
        if matches!(&bound.kind, ExprKind::Literal(value) if value.is_null()) {
            return Ok(None);
        }
        let ty = bound.ty.clone();
        self.coerce(bound, &Type::Int8, CoercionContext::Assignment).map(Some).map_err(|error| match error.kind {
            ErrorKind::InvalidText | ErrorKind::OutOfRange => error,
            _ => {
                let message = format!("argument of {word} must be type bigint, not type {ty}");
                locate(Error::new(ErrorKind::DatatypeMismatch, message), expr)
            }
        })
    }
}

/// LIMIT and OFFSET as they are written.
fn limit_and_offset(query: &ast::Query) -> (Option<&ast::Expr>, Option<&ast::Expr>) {
    match &query.limit_clause {
        None => (None, None),
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
    }
}

/// A column for the sake of its type; the literal itself where the plan is one of literals, so that it may adapt.
fn sample(plan: &Plan, index: usize, ty: &Type) -> Expr {
    match plan {
        Plan::Project { exprs, .. } => match &exprs[index] {
            literal @ Expr { kind: ExprKind::Literal(_), .. } => literal.clone(),
            _ => Expr::column(index, ty.clone()),
        },
        _ => Expr::column(index, ty.clone()),
    }
}

/// Postgres's words for a value that its column cannot take.
pub(super) fn not_assignable(column: &str, ty: &Type, found: &Type) -> Error {
    let message = format!("column \"{column}\" is of type {ty} but expression is of type {found}");
    Error::new(ErrorKind::DatatypeMismatch, message).with_hint("You will need to rewrite or cast the expression.")
}

/// An ORDER BY key before it is bound.
pub(super) enum OrderItem<'q> {
    /// The select item of this index.
    Ordinal(usize),
    Expr(&'q ast::Expr),
}

/// The keys of an ORDER BY over `width` output columns.
pub(super) fn order_items(order_by: &ast::OrderBy, width: usize) -> Result<Vec<(OrderItem<'_>, ast::OrderByOptions)>> {
    let keys = match &order_by.kind {
        ast::OrderByKind::All(options) => {
            return Ok((0..width).map(|index| (OrderItem::Ordinal(index), options.clone())).collect());
        }
        ast::OrderByKind::Expressions(keys) => keys,
    };
    let mut items = Vec::with_capacity(keys.len());
    for key in keys {
        let item = match ordinal(&key.expr, width, "ORDER BY")? {
            Some(index) => OrderItem::Ordinal(index),
            None => OrderItem::Expr(&key.expr),
        };
        items.push((item, key.options.clone()));
    }
    Ok(items)
}

/// The select item that a bare integer names, counted from 0.
pub(super) fn ordinal(expr: &ast::Expr, width: usize, clause: &str) -> Result<Option<usize>> {
    let ast::Expr::Value(value) = expr else { return Ok(None) };
    let located = |error: Error| super::place::locate(error, expr);
    match &value.value {
        ast::Value::Number(digits, _) if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse::<usize>() {
            Ok(number) if (1..=width).contains(&number) => Ok(Some(number - 1)),
            _ => Err(located(Error::new(
                ErrorKind::InvalidColumnReference,
                format!("{clause} position {digits} is not in select list"),
            ))),
        },
        ast::Value::Placeholder(_) => Ok(None),
        _ => Err(located(Error::new(ErrorKind::Syntax, format!("non-integer constant in {clause}")))),
    }
}

/// The one name that an expression is, if it is no more than that.
pub(super) fn bare_name(expr: &ast::Expr) -> Option<String> {
    match expr {
        ast::Expr::Identifier(ident) => Some(fold(ident)),
        _ => None,
    }
}

/// A set operation is sorted by what it puts out.
fn not_a_name() -> Error {
    let error = Error::new(ErrorKind::Unsupported, "invalid UNION/INTERSECT/EXCEPT ORDER BY clause");
    error
        .with_detail("Only result column names can be used, not expressions or functions.")
        .with_hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause.")
}
