//! Window functions: `f() OVER (PARTITION BY … ORDER BY …)`.
//!
//! A call becomes a placeholder column, like an aggregate's. Once the query is bound, the calls of each window are computed together: a Sort by
//! its partition and order, and a Window over that. Only functions that number rows are there so far (row_number, rank, dense_rank);
//! they look at no frame, so that Postgres ignores one as well.

use sqlparser::ast::{self, FunctionArguments};

use super::Binder;
use super::call::CallName;
use super::from::computed_column;
use super::scope::{Clause, WINDOWS};
use crate::catalog::{FunctionId, FunctionKind};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Expr, Plan, SortKey};
use crate::types::Type;
use crate::walk;

/// A call of a window function.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WindowCall {
    function: FunctionId,
    name: String,
    partition_by: Vec<Expr>,
    order_by: Vec<SortKey>,
    ty: Type,
}

impl WindowCall {
    /// Its expressions.
    pub(super) fn parts(&mut self) -> impl Iterator<Item = &mut Expr> {
        self.partition_by.iter_mut().chain(self.order_by.iter_mut().map(|key| &mut key.expr))
    }
}

impl Binder<'_> {
    pub(super) fn bind_window(
        &mut self,
        function: &ast::Function,
        name: &CallName,
        over: &ast::WindowType,
    ) -> Result<Expr> {
        let unsupported = |what: &str| Error::new(ErrorKind::Unsupported, format!("{what} not supported yet"));
        let Some(frame) = self.frames.last() else {
            return Err(Error::new(ErrorKind::Windowing, "window functions are not allowed here"));
        };
        if frame.in_aggregate {
            let message = "aggregate function calls cannot contain window function calls";
            return Err(Error::new(ErrorKind::Grouping, message));
        }
        if !matches!(frame.clause, Clause::Select | Clause::OrderBy | Clause::DistinctOn) {
            let message = format!("window functions are not allowed in {}", frame.clause.name());
            return Err(Error::new(ErrorKind::Windowing, message));
        }
        let ast::WindowType::WindowSpec(spec) = over else { return Err(unsupported("named windows are")) };
        if spec.window_name.is_some() {
            return Err(unsupported("named windows are"));
        }
        let signatures = self.overloads(name);
        let signature = match signatures.first() {
            Some(signature) if signature.kind == FunctionKind::Window => signature,
            Some(signature) if signature.kind == FunctionKind::Aggregate => {
                return Err(unsupported(&format!("{}(…) OVER is", name.shown)));
            }
            Some(_) => {
                let message =
                    format!("OVER specified, but {} is not a window function nor an aggregate function", name.shown);
                return Err(Error::new(ErrorKind::WrongObjectType, message));
            }
            None => return Err(self.no_such_function(&name.folded, &format!("function {}()", name.shown))),
        };
        if let FunctionArguments::List(list) = &function.args
            && !list.args.is_empty()
        {
            return Err(self.no_such_function(&name.folded, &format!("function {}(…)", name.shown)));
        }
        let mut settled = |expr: &ast::Expr| {
            let bound = self.bind_expr(expr)?;
            self.settle(bound)
        };
        let partition_by = spec.partition_by.iter().map(&mut settled).collect::<Result<Vec<Expr>>>()?;
        let mut order_by = Vec::with_capacity(spec.order_by.len());
        for key in &spec.order_by {
            order_by.push(Self::sort_key(settled(&key.expr)?, &key.options)?);
        }
        let ty = Type::Int8;
        let call = WindowCall { function: signature.id, name: name.shown_name(), partition_by, order_by, ty };
        let Some(frame) = self.frames.last_mut() else { return Ok(Expr::column(WINDOWS, Type::Int8)) };
        let index = frame.windows.iter().position(|known| *known == call).unwrap_or_else(|| {
            frame.windows.push(call);
            frame.windows.len() - 1
        });
        Ok(Expr::column(WINDOWS + index, Type::Int8))
    }
}

/// The operators that compute window functions over a query's rows; placeholders in `targets` become their columns.
pub(super) fn over<'e>(mut plan: Plan, windows: Vec<WindowCall>, targets: impl Iterator<Item = &'e mut Expr>) -> Plan {
    let mut places = vec![0; windows.len()];
    let mut left: Vec<(usize, WindowCall)> = windows.into_iter().enumerate().collect();
    while let Some((_, first)) = left.first() {
        let (partition_by, order_by) = (first.partition_by.clone(), first.order_by.clone());
        let same = |call: &WindowCall| call.partition_by == partition_by && call.order_by == order_by;
        let (now, later): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, call)| same(call));
        left = later;
        let mut columns = plan.columns().to_vec();
        let mut calls = Vec::with_capacity(now.len());
        for (index, call) in now {
            places[index] = columns.len();
            columns.push(computed_column(&call.name, call.ty));
            calls.push((call.function, call.name));
        }
        let partition = partition_by.iter().cloned();
        let mut keys: Vec<SortKey> =
            partition.map(|expr| SortKey { expr, descending: false, nulls_first: false }).collect();
        keys.extend(order_by.iter().cloned());
        if !keys.is_empty() {
            plan = Plan::Sort { input: Box::new(plan), keys };
        }
        plan = Plan::Window { input: Box::new(plan), partition_by, order_by, calls, columns };
    }
    for expr in targets {
        walk::rename_columns(expr, &|column| if column >= WINDOWS { places[column - WINDOWS] } else { column });
    }
    plan
}
