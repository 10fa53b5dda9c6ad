//! What a SELECT's clauses are over, step by step: their expressions are rewritten together whenever the plan beneath them grows.
//!
//! The last steps are made here as well: set-returning functions, then Project, Distinct, Sort and Limit; and a last projection where ORDER BY, DISTINCT
//! ON or WITH FILL needed more columns than are put out.

use super::Binder;
use super::collate::{beneath, rebased};
use super::fill::Filling;
use super::query::Bounds;
use super::scope::{SETS, SetCall, WINDOWS};
use super::select::Output;
use super::window::Windowed;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Expr, ExprKind, Gap, OutputColumn, Plan, SortKey};
use crate::walk;

/// The clauses above FROM and WHERE. What is done with is taken out.
pub(super) struct Clauses {
    pub(super) outputs: Vec<Output>,
    pub(super) having: Option<Expr>,
    /// What locf and interpolate are over.
    pub(super) gaps: Vec<(Gap, Expr)>,
    pub(super) windows: Vec<Windowed>,
    pub(super) qualify: Option<Expr>,
    pub(super) sets: Vec<SetCall>,
    pub(super) sort: Vec<SortKey>,
    /// WITH FILL
    pub(super) filling: Option<Filling>,
    pub(super) distinct: bool,
    pub(super) distinct_on: Option<Vec<Expr>>,
    /// LIMIT … BY
    pub(super) limit_by: Vec<Expr>,
    pub(super) bounds: Bounds,
}

impl Clauses {
    /// Every expression that is left.
    pub(super) fn each_mut(&mut self, f: &mut dyn FnMut(&mut Expr)) {
        self.outputs.iter_mut().for_each(|output| f(&mut output.expr));
        self.having.iter_mut().for_each(&mut *f);
        self.gaps.iter_mut().for_each(|(_, expr)| f(expr));
        self.windows.iter_mut().for_each(|window| window.parts_mut(f));
        self.qualify.iter_mut().for_each(&mut *f);
        self.sets.iter_mut().flat_map(|call| &mut call.args).for_each(&mut *f);
        self.sort.iter_mut().for_each(|key| f(&mut key.expr));
        self.filling.iter_mut().flat_map(|filling| &mut filling.read).for_each(&mut *f);
        self.distinct_on.iter_mut().flatten().for_each(&mut *f);
        self.limit_by.iter_mut().for_each(f);
    }

    /// Gives the placeholders of a kind, which are numbered from `first` and are the last that are left, their columns.
    pub(super) fn place(&mut self, first: usize, column: &dyn Fn(usize) -> usize) {
        let to = |index: usize| if index >= first { column(index - first) } else { index };
        self.each_mut(&mut |expr| walk::rename_columns(expr, &to));
    }

    /// Set-returning functions: those over the rows of others above these, all others side by side.
    pub(super) fn over_sets(&mut self, mut plan: Plan) -> Plan {
        let mut places = vec![0; self.sets.len()];
        let mut left: Vec<(usize, SetCall)> = std::mem::take(&mut self.sets).into_iter().enumerate().collect();
        while !left.is_empty() {
            let waits = |arg: &Expr| walk::any(arg, &mut |node, depth| depth == 0 && is_set(node));
            let (now, later): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, call)| !call.args.iter().any(waits));
            let mut columns = plan.columns().to_vec();
            let mut calls = Vec::with_capacity(now.len());
            let done: Vec<usize> = now.iter().map(|(index, _)| SETS + index).collect();
            for (index, call) in now {
                places[index] = columns.len();
                columns.push(OutputColumn::computed(&call.name, call.ty));
                calls.push((call.function, call.args));
            }
            plan = Plan::ProjectSet { input: Box::new(plan), calls, columns };
            left = later;
            let to = |column: usize| if done.contains(&column) { places[column - SETS] } else { column };
            left.iter_mut().flat_map(|(_, call)| &mut call.args).for_each(|arg| walk::rename_columns(arg, &to));
        }
        self.place(SETS, &|set| places[set]);
        plan
    }

    /// The end of the plan.
    pub(super) fn over(self, plan: Plan, binder: &mut Binder<'_>) -> Result<Plan> {
        let Clauses { outputs, sort, filling, distinct, distinct_on, limit_by, bounds, .. } = self;
        let width = outputs.len();
        let (mut exprs, mut columns): (Vec<Expr>, Vec<OutputColumn>) =
            outputs.into_iter().map(|output| (output.expr, output.column)).unzip();
        let plain_distinct = distinct && distinct_on.is_none();

        let mut place = |expr: Expr| -> usize {
            exprs.iter().position(|known| walk::same(known, &expr)).unwrap_or_else(|| {
                columns.push(OutputColumn::computed("?order?", expr.ty.clone()));
                exprs.push(expr);
                exprs.len() - 1
            })
        };
        let mut placed = |expr: Expr| {
            let ty = expr.ty.clone();
            Expr::column(place(expr), ty)
        };
        let mut keys = Vec::with_capacity(sort.len());
        for key in sort {
            // The key of a collation is made of the column.
            let over = placed(beneath(&key.expr).clone());
            keys.push(SortKey { expr: rebased(key.expr, over), ..key });
        }
        let on = distinct_on.map(|on| on.into_iter().map(&mut placed).collect::<Vec<Expr>>());
        let by = limit_by.into_iter().map(&mut placed).collect::<Vec<Expr>>();
        let filling = filling.map(|mut filling| {
            let read: Vec<usize> = std::mem::take(&mut filling.read).into_iter().map(&mut place).collect();
            (filling, read)
        });
        if let Some(on) = &on {
            if keys.iter().take(on.len()).any(|key| !on.contains(beneath(&key.expr))) {
                return Err(Error::new(
                    ErrorKind::InvalidColumnReference,
                    "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
                ));
            }
            // Rows of one value must come together, in the order that says which is first.
            let missing = on.iter().filter(|expr| !keys.iter().any(|key| beneath(&key.expr) == *expr)).cloned();
            let missing: Vec<SortKey> =
                missing.map(|expr| SortKey { expr, descending: false, nulls_first: false }).collect();
            let at = keys.len().min(on.len());
            keys.splice(at..at, missing);
        }

        let visible: Vec<OutputColumn> = columns[..width].to_vec();
        let mut plan = Plan::Project { input: Box::new(plan), exprs, columns };
        if plain_distinct {
            plan = Plan::Distinct { input: Box::new(plan), on: None };
        }
        if !keys.is_empty() {
            plan = Plan::Sort { input: Box::new(plan), keys: keys.clone() };
        }
        if let Some((filling, read)) = filling {
            plan = filling.over(plan, &keys, width, &read)?;
        }
        if on.is_some() {
            plan = Plan::Distinct { input: Box::new(plan), on };
        }
        plan = bounds.over(plan, by, binder)?;
        if plan.columns().len() > width {
            let exprs =
                visible.iter().enumerate().map(|(index, column)| Expr::column(index, column.ty.clone())).collect();
            plan = Plan::Project { input: Box::new(plan), exprs, columns: visible };
        }
        Ok(plan)
    }
}

/// Whether it is a set-returning function's placeholder.
fn is_set(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Column(column) if (SETS..WINDOWS).contains(&column))
}
