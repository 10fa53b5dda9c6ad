//! Aggregation: expressions bound over FROM's columns, rewritten over the group keys and aggregates.
//!
//! A part of an expression that equals a group key becomes that key's column, an aggregate's placeholder becomes the aggregate's. Any other
//! column of FROM is an error (42803), also where a subquery reads it from outside; unless the primary key of its table is
//! among the keys: then it is made a key as well, which changes no group.

use super::from::computed_column;
use super::scope::{AGGREGATES, Frame, SETS, Scope};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{AggregateCall, Expr, ExprKind, OutputColumn, Plan};
use crate::walk;

/// The Aggregate of one query.
pub(super) struct Grouping<'f> {
    scope: &'f Scope,
    references: &'f [(usize, usize)],
    keys: Vec<Expr>,
    aggregates: Vec<AggregateCall>,
}

impl<'f> Grouping<'f> {
    pub(super) fn new(frame: &'f Frame, mut keys: Vec<Expr>, aggregates: Vec<AggregateCall>) -> Grouping<'f> {
        let scope = &frame.scope;
        let is_key = |keys: &[Expr], column: usize| keys.iter().any(|key| key.kind == ExprKind::Column(column));
        for table in scope.tables.iter().filter(|table| !table.primary_key.is_empty()) {
            if !table.primary_key.iter().all(|&column| is_key(&keys, column)) {
                continue;
            }
            for &(column, _) in &frame.references {
                if table.columns.contains(&column) && !is_key(&keys, column) {
                    keys.push(scope.column(column));
                }
            }
        }
        Grouping { scope, references: &frame.references, keys, aggregates }
    }

    /// The operator over FROM and WHERE.
    pub(super) fn over(self, input: Plan) -> Plan {
        let mut columns: Vec<OutputColumn> = Vec::with_capacity(self.keys.len() + self.aggregates.len());
        for key in &self.keys {
            columns.push(match key.kind {
                ExprKind::Column(column) if column < self.scope.columns.len() => self.scope.columns[column].output(),
                ExprKind::Call { ref name, .. } => computed_column(name, key.ty.clone()),
                _ => computed_column("?column?", key.ty.clone()),
            });
        }
        columns.extend(self.aggregates.iter().map(|call| computed_column(&call.name, call.ty.clone())));
        Plan::Aggregate { input: Box::new(input), keys: self.keys, aggregates: self.aggregates, columns }
    }

    /// Rewrites an expression.
    pub(super) fn rewrite(&mut self, expr: &mut Expr) -> Result<()> {
        self.rewrite_at(expr, 0)
    }

    /// `depth` is how many queries inside the aggregated one the expression stands.
    fn rewrite_at(&self, expr: &mut Expr, depth: usize) -> Result<()> {
        if let Some(index) = self.key_of(expr, depth) {
            *expr = self.place(index, expr, depth);
            return Ok(());
        }
        let column = match expr.kind {
            ExprKind::Column(column) if depth == 0 => Some(column),
            ExprKind::Outer { depth: out, column } if depth > 0 && out == depth => Some(column),
            _ => None,
        };
        if let Some(column) = column {
            if column >= SETS {
                return Ok(());
            }
            if column < AGGREGATES {
                return Err(self.ungrouped(column, depth));
            }
            *expr = self.place(self.keys.len() + (column - AGGREGATES), expr, depth);
            return Ok(());
        }
        let mut result = Ok(());
        walk::children_mut(expr, &mut |child| {
            if result.is_ok() {
                result = self.rewrite_at(child, depth);
            }
        });
        if let ExprKind::Subquery(subquery) = &mut expr.kind {
            result = result.and_then(|()| self.rewrite_plan(&mut subquery.plan, depth + 1));
        }
        result
    }

    fn rewrite_plan(&self, plan: &mut Plan, depth: usize) -> Result<()> {
        let mut result = Ok(());
        walk::expressions_mut(plan, &mut |expr| {
            if result.is_ok() {
                result = self.rewrite_at(expr, depth);
            }
        });
        walk::inputs_mut(plan, &mut |input, deeper| {
            if result.is_ok() {
                result = self.rewrite_plan(input, depth + usize::from(deeper));
            }
        });
        result
    }

    fn key_of(&self, expr: &Expr, depth: usize) -> Option<usize> {
        self.keys.iter().position(|key| match depth {
            0 => walk::same(key, expr),
            // A literal or parameter is itself wherever it stands.
            _ => !walk::columns_read(key).is_empty() && walk::outward(key, depth) == *expr,
        })
    }

    fn place(&self, index: usize, expr: &Expr, depth: usize) -> Expr {
        let kind = match depth {
            0 => ExprKind::Column(index),
            _ => ExprKind::Outer { depth, column: index },
        };
        Expr::new(kind, expr.ty.clone())
    }

    fn ungrouped(&self, column: usize, depth: usize) -> Error {
        let name = &self.scope.columns[column].name;
        let table = self.scope.tables.iter().find(|table| table.columns.contains(&column));
        let shown = match table {
            Some(table) => format!("\"{}.{name}\"", table.name),
            None => format!("\"{name}\""),
        };
        let message = match depth {
            0 => format!("column {shown} must appear in the GROUP BY clause or be used in an aggregate function"),
            _ => format!("subquery uses ungrouped column {shown} from outer query"),
        };
        let error = Error::new(ErrorKind::Grouping, message);
        match self.references.iter().find(|(known, position)| *known == column && *position > 0) {
            Some((_, position)) => error.at(*position),
            None => error,
        }
    }
}
