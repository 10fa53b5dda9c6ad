//! ClickHouse's ORDER BY … WITH FILL and INTERPOLATE: rows that are missing between those of an ordered answer.
//!
//! One key may be filled; those before it part the rows that are filled by themselves. A row that is put in has the zero of each other
//! column's type, as in ClickHouse, or with INTERPOLATE what the row before has.

use sqlparser::ast;

use super::place::locate;
use super::query::bare_name;
use super::scope::{Clause, Frame, Scope};
use super::{Binder, CoercionContext};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::names::fold;
use crate::plan::{Expr, ExprKind, FillRange, Gap, OutputColumn, Plan, SortKey};
use crate::types::Type;
use crate::value::Value;

/// A key WITH FILL, bound.
pub(super) struct Filling {
    /// Which of the ORDER BY keys it is.
    key: usize,
    from: Option<Expr>,
    to: Option<Expr>,
    step: Option<Expr>,
    zone: Expr,
    /// INTERPOLATE: the columns; all if none is named.
    interpolate: Option<Vec<ast::Ident>>,
}

impl Binder<'_> {
    /// What an ORDER BY fills up; `sort` is its keys, bound.
    pub(super) fn bind_filling(
        &mut self,
        order_by: Option<&ast::OrderBy>,
        sort: &[SortKey],
    ) -> Result<Option<Filling>> {
        let Some(order_by) = order_by else { return Ok(None) };
        let ast::OrderByKind::Expressions(keys) = &order_by.kind else { return Ok(None) };
        let mut filled = keys.iter().enumerate().filter_map(|(at, key)| Some((at, key.with_fill.as_ref()?)));
        let Some((key, fill)) = filled.next() else {
            return match &order_by.interpolate {
                Some(_) => Err(Error::new(ErrorKind::Syntax, "INTERPOLATE needs a key WITH FILL")),
                None => Ok(None),
            };
        };
        if filled.next().is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "WITH FILL of several keys is not supported"));
        }
        let ty = sort[key].expr.ty.clone();
        if !(ty.is_integer() && ty != Type::UInt64 || matches!(ty, Type::Date | Type::Timestamp | Type::Timestamptz)) {
            let message = format!("WITH FILL of type {ty} is not supported");
            return Err(locate(Error::new(ErrorKind::Unsupported, message), &keys[key].expr));
        }
        let mut bounds = Vec::new();
        for written in [&fill.from, &fill.to, &fill.step] {
            bounds.push(match written {
                Some(written) => Some((self.bind_without_columns(written)?, written)),
                None => None,
            });
        }
        let (step, to, from) = (bounds.pop().flatten(), bounds.pop().flatten(), bounds.pop().flatten());
        let mut of_key = |bound: Option<(Expr, &ast::Expr)>| match bound {
            Some((bound, written)) => {
                self.coerce(bound, &ty, CoercionContext::Assignment).map(Some).map_err(|error| locate(error, written))
            }
            None => Ok(None),
        };
        let (from, to) = (of_key(from)?, of_key(to)?);
        let step = match step {
            Some((step, _)) if step.ty == Type::Interval => Some(step),
            Some((step, written)) => Some(
                self.coerce(step, &Type::Int8, CoercionContext::Assignment).map_err(|error| locate(error, written))?,
            ),
            None => None,
        };
        let interpolate = match &order_by.interpolate {
            None => None,
            Some(ast::Interpolate { exprs: None }) => Some(Vec::new()),
            Some(ast::Interpolate { exprs: Some(exprs) }) => {
                let mut columns = Vec::new();
                for expr in exprs {
                    let same = expr.expr.as_ref().is_none_or(|of| bare_name(of) == Some(fold(&expr.column)));
                    if !same {
                        let message = format!("INTERPOLATE ({expr}) is not supported");
                        return Err(Error::new(ErrorKind::Unsupported, message)
                            .with_hint("A column may be filled with its own last value only."));
                    }
                    columns.push(expr.column.clone());
                }
                Some(columns)
            }
        };
        let zone = self.operator("current_setting", vec![Expr::literal(Value::text("TimeZone"))])?;
        Ok(Some(Filling { key, from, to, step, zone, interpolate }))
    }

    /// An expression of no columns.
    pub(super) fn bind_without_columns(&mut self, written: &ast::Expr) -> Result<Expr> {
        self.frames.push(Frame::query(Scope::default(), Clause::Limit));
        let bound = self.bind_expr(written);
        self.frames.pop();
        bound
    }
}

impl Filling {
    /// The rows of a sorted plan, filled up. `keys` are what it is sorted by: columns of it, of which the first `width` are seen.
    pub(super) fn over(self, plan: Plan, keys: &[SortKey], width: usize) -> Result<Plan> {
        let column = |key: &SortKey| match key.expr.kind {
            ExprKind::Column(column) => Ok(column),
            _ => Err(Error::new(ErrorKind::Unsupported, "WITH FILL of this key is not supported")),
        };
        let key = column(&keys[self.key])?;
        let partition_by = keys[..self.key].iter().map(column).collect::<Result<Vec<usize>>>()?;
        let columns: &[OutputColumn] = plan.columns();
        let mut values = vec![Gap::Zero; columns.len()];
        match &self.interpolate {
            Some(names) if names.is_empty() => values.fill(Gap::Last { over_nulls: false }),
            Some(names) => {
                for ident in names {
                    let name = fold(ident);
                    let found = columns[..width].iter().position(|column| column.name == name).ok_or_else(|| {
                        let message = format!("column \"{name}\" does not exist");
                        super::names::at(Error::new(ErrorKind::UndefinedColumn, message), ident)
                    })?;
                    values[found] = Gap::Last { over_nulls: false };
                }
            }
            None => {}
        }
        let descending = keys[self.key].descending;
        let step = self.step.unwrap_or_else(|| Expr::literal(Value::int8(if descending { -1 } else { 1 })));
        let range =
            FillRange { key, descending, from: self.from, to: self.to, inclusive: false, step, zone: Some(self.zone) };
        Ok(Plan::Fill { input: Box::new(plan), partition_by, range: Box::new(range), values })
    }
}
