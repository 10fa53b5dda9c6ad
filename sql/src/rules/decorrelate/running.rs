//! Aggregates over the rows that lie before an outer value in some order: `(SELECT max(u.a) FROM u WHERE u.k = t.k AND u.b < t.b)`.
//!
//! Rows and values of the domain are put in one order, and the aggregates of each value are those of the rows so far: a window over both, which takes
//! the time of a sort and not that of all pairs. A NULL among what is compared meets nothing, so neither side has any.

use super::build::{columns_from, computed, filtered, is_null, not, sorted};
use super::pull::over_no_rows;
use super::unnest::{Rows, Unnest, reads_outer};
use crate::plan::{
    AggregateCall, Exclude, Expr, ExprKind, Frame, FrameBound, FrameUnits, OutputColumn, Plan, SetKind, SortKey,
    WindowCall,
};
use crate::rules::has_subquery;
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// A comparison of a value of the rows with an outer column.
struct Compared {
    own: Expr,
    outer: usize,
    op: &'static str,
}

/// A conjunct as such a comparison, the row's value to the left.
fn compared(conjunct: &Expr) -> Option<Compared> {
    let ExprKind::Call { name, args, .. } = &conjunct.kind else { return None };
    let [a, b] = args.as_slice() else { return None };
    let ops = [("=", "="), ("<", ">"), ("<=", ">="), (">", "<"), (">=", "<=")];
    let (op, turned) = ops.into_iter().find(|(op, _)| op == name)?;
    let (own, outer, op) = match (&a.kind, &b.kind) {
        (_, ExprKind::Outer { depth: 1, column }) => (a, *column, op),
        (ExprKind::Outer { depth: 1, column }, _) => (b, *column, turned),
        _ => return None,
    };
    (a.ty == b.ty && !reads_outer(own) && !has_subquery(own)).then(|| Compared { own: own.clone(), outer, op })
}

impl Unnest<'_> {
    /// The aggregates of all rows of a query for each value, if one inequality, and equalities, are what they depend on it by.
    pub(super) fn running(&self, input: &Plan, aggregates: &[AggregateCall], columns: &[OutputColumn]) -> Option<Rows> {
        let missing = aggregates.iter().map(over_no_rows).collect::<Option<Vec<Expr>>>()?;
        if let Plan::Project { input, exprs, .. } = input {
            let mut inner = aggregates.to_vec();
            let mut substitute = |part: &mut Expr| walk::substitute(part, exprs);
            inner.iter_mut().for_each(|call| walk::aggregate_parts_mut(call, &mut substitute));
            return self.running(input, &inner, columns);
        }
        let Plan::Filter { input, predicate } = input else { return None };
        if walk::reads_level(input, 1) {
            return None;
        }
        let plain = |call: &AggregateCall| {
            let mut fine = !call.distinct && call.order_by.is_empty();
            walk::aggregate_parts(call, &mut |part| fine &= !reads_outer(part) && !has_subquery(part));
            fine
        };
        let (of_outer, own): (Vec<Expr>, Vec<Expr>) =
            walk::conjuncts(predicate.clone()).into_iter().partition(reads_outer);
        let mut pairs: Vec<Compared> = of_outer.iter().map(compared).collect::<Option<_>>()?;
        let inequality = pairs.iter().position(|pair| pair.op != "=")?;
        let order = pairs.remove(inequality);
        if pairs.iter().any(|pair| pair.op != "=") || !aggregates.iter().all(plain) {
            return None;
        }
        // Of both sides: what is equated, what is compared, what the aggregates read, and the domain's columns, which tell its values from rows.
        let outer_column = |outer: usize| {
            let at = self.outer.iter().position(|known| *known == outer)?;
            Some(Expr::column(at, self.domain.columns()[at].ty.clone()))
        };
        let compared = || pairs.iter().chain([&order]);
        let of_rows: Vec<Expr> = compared().map(|pair| pair.own.clone()).collect();
        let of_values: Vec<Expr> = compared().map(|pair| outer_column(pair.outer)).collect::<Option<_>>()?;
        let mut parts = Vec::new();
        let mut calls = aggregates.to_vec();
        for call in &mut calls {
            walk::aggregate_parts_mut(call, &mut |part| {
                let column = Expr::column(of_rows.len() + parts.len(), part.ty.clone());
                parts.push(std::mem::replace(part, column));
            });
        }
        let null = |expr: &Expr| Expr::literal(Value::null(expr.ty.clone()));
        let domain = columns_from(self.domain.columns(), 0);
        let mark = of_rows.len() + parts.len();
        let side = |plan: Plan, exprs: Vec<Expr>| {
            let columns: Vec<OutputColumn> = exprs.iter().map(computed).collect();
            Plan::Project { input: Box::new(plan), exprs, columns }
        };
        let present = |exprs: &[Expr]| exprs.iter().map(|expr| not(is_null(expr.clone()))).collect::<Vec<Expr>>();
        let mut rows = (**input).clone();
        walk::shift_plan(&mut rows, -1, 0);
        let conditions = own.into_iter().chain(present(&of_rows)).collect();
        let all_of_rows = of_rows.iter().chain(&parts).cloned();
        let left = side(
            filtered(rows, conditions),
            all_of_rows.chain([Expr::literal(Value::bool(false))]).chain(domain.iter().map(null)).collect(),
        );
        let all_of_values = of_values.iter().cloned().chain(parts.iter().map(null));
        let right = side(
            filtered(self.domain.clone(), present(&of_values)),
            all_of_values.chain([Expr::literal(Value::bool(true))]).chain(domain.iter().cloned()).collect(),
        );
        let both = left.columns().to_vec();
        let (left, right) = (Box::new(left), Box::new(right));
        let all = Plan::SetOperation { kind: SetKind::Union, all: true, left, right, columns: both.clone() };
        let key = |at: usize, descending: bool| SortKey {
            expr: Expr::column(at, both[at].ty.clone()),
            descending,
            nulls_first: descending,
        };
        let (partition_by, last) = (columns_from(&both[..pairs.len()], 0), pairs.len());
        // Equal rows come before the value if they count.
        let order_by = vec![key(last, order.op.starts_with('>')), key(mark, !order.op.ends_with('='))];
        let sort = (0..last).map(|at| key(at, false)).chain(order_by.iter().cloned()).collect();
        let is_row = not(Expr::column(mark, Type::Bool));
        let calls: Vec<WindowCall> = calls
            .into_iter()
            .map(|mut call| {
                call.filter = walk::conjunction([is_row.clone()].into_iter().chain(call.filter).collect());
                let (start, end) = (FrameBound::Unbounded, FrameBound::CurrentRow);
                let frame = Frame { units: FrameUnits::Rows, start, end, exclude: Exclude::NoOthers, key: None };
                WindowCall { call, frame, ignore_nulls: false }
            })
            .collect();
        let first = both.len();
        let mut windowed = both;
        windowed.extend(calls.iter().map(|window| computed(&Expr::column(0, window.call.ty.clone()))));
        let values: Vec<Expr> = columns_from(&windowed, first);
        let window =
            Plan::Window { input: Box::new(sorted(all, sort)), partition_by, order_by, calls, columns: windowed };
        let only = filtered(window, vec![Expr::column(mark, Type::Bool)]);
        let domain = domain.into_iter().enumerate().map(|(at, column)| Expr::column(mark + 1 + at, column.ty));
        let exprs = domain.chain(values).collect();
        let columns = self.domain.columns().iter().chain(columns).cloned().collect();
        Some(Rows { plan: Plan::Project { input: Box::new(only), exprs, columns }, missing: Some(missing) })
    }
}
