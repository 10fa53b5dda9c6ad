//! ClickHouse's ORDER BY … WITH FILL and INTERPOLATE: rows that are missing between those of an ordered answer.
//!
//! Keys before the first that is filled part the rows that are filled by themselves. A row that is put in has the zero of each other column's type, as in
//! ClickHouse, or what INTERPOLATE makes of the row before, which it sees with the columns of FROM as well. The first row of a part has
//! none before it: there INTERPOLATE sees zeros, where ClickHouse sees the last row of the part before.

use sqlparser::ast;

use super::place::locate;
use super::scope::{Clause, Frame, Scope};
use super::{Binder, CoercionContext};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::names::fold;
use crate::plan::{Expr, ExprKind, FillRange, Gap, OutputColumn, Plan, SortKey};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// Keys WITH FILL, bound.
pub(super) struct Filling {
    keys: Vec<FilledKey>,
    zone: Expr,
    /// INTERPOLATE: what columns have, of the row before; all have its own if none is named.
    interpolate: Option<Vec<(usize, Expr)>>,
    /// What that reads and is not put out: the columns after those that are.
    pub(super) read: Vec<Expr>,
}

struct FilledKey {
    /// Which of the ORDER BY keys it is.
    key: usize,
    from: Option<Expr>,
    to: Option<Expr>,
    step: Option<Expr>,
}

impl Binder<'_> {
    /// What an ORDER BY fills up; `sort` is its keys, bound, and `columns` what is put out. `of_select` says whether FROM's columns may be read.
    pub(super) fn bind_filling(
        &mut self,
        order_by: Option<&ast::OrderBy>,
        sort: &[SortKey],
        columns: &[OutputColumn],
        of_select: bool,
    ) -> Result<Option<Filling>> {
        let Some(order_by) = order_by else { return Ok(None) };
        let ast::OrderByKind::Expressions(written) = &order_by.kind else { return Ok(None) };
        let mut keys = Vec::new();
        for (key, (written, sorted)) in written.iter().zip(sort).enumerate() {
            if let Some(fill) = &written.with_fill {
                keys.push(self.bind_filled_key(key, &written.expr, fill, &sorted.expr.ty)?);
            }
        }
        if keys.is_empty() {
            return match &order_by.interpolate {
                Some(_) => Err(Error::new(ErrorKind::Syntax, "INTERPOLATE needs a key WITH FILL")),
                None => Ok(None),
            };
        }
        let mut read = Vec::new();
        let interpolate = match &order_by.interpolate {
            None => None,
            Some(ast::Interpolate { exprs: None }) => Some(Vec::new()),
            Some(ast::Interpolate { exprs: Some(exprs) }) => {
                let mut bound = Vec::new();
                for ast::InterpolateExpr { column, expr } in exprs {
                    let name = fold(column);
                    let found = columns.iter().position(|column| column.name == name).ok_or_else(|| {
                        let message = format!("column \"{name}\" does not exist");
                        super::names::at(Error::new(ErrorKind::UndefinedColumn, message), column)
                    })?;
                    let own = ast::Expr::Identifier(column.clone());
                    let written = expr.as_ref().unwrap_or(&own);
                    bound.push((found, self.bind_interpolated(written, columns, found, of_select, &mut read)?));
                }
                Some(bound)
            }
        };
        let zone = self.operator("current_setting", vec![Expr::literal(Value::text("TimeZone"))])?;
        Ok(Some(Filling { keys, zone, interpolate, read }))
    }

    fn bind_filled_key(
        &mut self,
        key: usize,
        written: &ast::Expr,
        fill: &ast::WithFill,
        ty: &Type,
    ) -> Result<FilledKey> {
        if !(ty.is_integer() && *ty != Type::UInt64 || matches!(ty, Type::Date | Type::Timestamp | Type::Timestamptz)) {
            let message = format!("WITH FILL of type {ty} is not supported");
            return Err(locate(Error::new(ErrorKind::Unsupported, message), written));
        }
        let mut bound = |written: &Option<ast::Expr>, of_step: bool| {
            let Some(written) = written else { return Ok(None) };
            let bound = self.bind_without_columns(written)?;
            let ty = match of_step {
                true if bound.ty == Type::Interval => &Type::Interval,
                true => &Type::Int8,
                false => ty,
            };
            self.coerce(bound, ty, CoercionContext::Assignment).map(Some).map_err(|error| locate(error, written))
        };
        Ok(FilledKey {
            key,
            from: bound(&fill.from, false)?,
            to: bound(&fill.to, false)?,
            step: bound(&fill.step, true)?,
        })
    }

    /// What the column `target` has, over the columns that are put out and then over `read`.
    fn bind_interpolated(
        &mut self,
        written: &ast::Expr,
        columns: &[OutputColumn],
        target: usize,
        of_select: bool,
        read: &mut Vec<Expr>,
    ) -> Result<Expr> {
        self.frames.push(Frame::query(Scope::of_columns(columns), Clause::Interpolate));
        let bound = self
            .bind_expr(written)
            .and_then(|bound| self.coerce(bound, &columns[target].ty, CoercionContext::Assignment));
        self.frames.pop();
        let mut bound = bound.map_err(|error| locate(error, written))?;
        let mut refused = false;
        walk::visit_mut(&mut bound, 0, &mut |node, _| match node.kind {
            ExprKind::Outer { depth: 1, column } if of_select => {
                let column = Expr::column(column, node.ty.clone());
                let at = read.iter().position(|known| *known == column).unwrap_or_else(|| {
                    read.push(column);
                    read.len() - 1
                });
                node.kind = ExprKind::Column(columns.len() + at);
            }
            ExprKind::Outer { .. } | ExprKind::Subquery(_) | ExprKind::Lambda(_) => refused = true,
            _ => {}
        });
        if refused {
            let message = format!("INTERPOLATE of {written} is not supported");
            let error = Error::new(ErrorKind::Unsupported, message).with_hint("It reads the columns of one row only.");
            return Err(locate(error, written));
        }
        Ok(bound)
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
    /// The rows of a sorted plan, filled up. `keys` are what it is sorted by: columns of it, of which the first `width` are put out; `read` are
    /// the columns that [`Filling::read`] has become.
    pub(super) fn over(self, plan: Plan, keys: &[SortKey], width: usize, read: &[usize]) -> Result<Plan> {
        let column = |key: &SortKey| match key.expr.kind {
            ExprKind::Column(column) => Ok(column),
            _ => Err(Error::new(ErrorKind::Unsupported, "WITH FILL of this key is not supported")),
        };
        let first = self.keys.first().map_or(0, |filled| filled.key);
        let partition_by = keys[..first].iter().map(column).collect::<Result<Vec<usize>>>()?;
        let mut values = vec![Gap::Zero; plan.columns().len()];
        match self.interpolate {
            Some(columns) if columns.is_empty() => {
                for (at, column) in plan.columns().iter().enumerate() {
                    values[at] = Gap::Before(Expr::column(at, column.ty.clone()));
                }
            }
            Some(columns) => {
                for (at, mut expr) in columns {
                    walk::rename_columns(&mut expr, &|column| {
                        if column < width { column } else { read[column - width] }
                    });
                    values[at] = Gap::Before(expr);
                }
            }
            None => {}
        }
        let mut ranges = Vec::with_capacity(self.keys.len());
        for FilledKey { key, from, to, step } in self.keys {
            let descending = keys[key].descending;
            let step = step.unwrap_or_else(|| Expr::literal(Value::int8(if descending { -1 } else { 1 })));
            let (key, zone) = (column(&keys[key])?, Some(self.zone.clone()));
            ranges.push(FillRange { key, descending, from, to, inclusive: false, step, zone });
        }
        Ok(Plan::Fill { input: Box::new(plan), partition_by, ranges, values })
    }
}
