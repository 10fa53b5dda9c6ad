//! Conditions of a query on outer columns become those of a join.
//!
//! [`pull`] takes the conditions that name outer columns out of a query, up to where they can be a join's. It gives up where a row of
//! the query depends on an outer one in another way (a LIMIT, a window, an outer column in the SELECT list).

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;

use super::build::{computed, filtered};
use super::unnest::reads_outer;
use crate::catalog::Functions;
use crate::plan::{Expr, ExprKind, JoinKind, OutputColumn, Plan};
use crate::rules::{has_subquery, is_volatile};
use crate::value::Value;
use crate::walk;

/// A query of which only matters whether it has rows, without what makes no difference to that.
pub(super) fn exists(plan: Plan) -> Plan {
    match plan {
        Plan::Project { input, exprs, .. } if exprs.iter().all(|expr| !has_subquery(expr)) => exists(*input),
        Plan::Sort { input, .. } | Plan::Distinct { input, .. } => exists(*input),
        Plan::Limit { input, limit: Some(limit), offset: None } if literal(&limit).is_some_and(|n| n > 0) => {
            exists(*input)
        }
        other => other,
    }
}

/// The bigint that an expression is.
pub(super) fn literal(expr: &Expr) -> Option<i64> {
    let ExprKind::Literal(value) = &expr.kind else { return None };
    value.array.as_primitive_opt::<Int64Type>().filter(|n| n.is_valid(0)).map(|n| n.value(0))
}

/// A condition over a query's columns and outer ones, as one over a join's left and right side.
pub(super) fn over_join(mut condition: Expr, width: usize) -> Expr {
    walk::visit_mut(&mut condition, 0, &mut |node, _| match &mut node.kind {
        ExprKind::Column(column) => *column += width,
        ExprKind::Outer { depth: 1, column } => node.kind = ExprKind::Column(*column),
        ExprKind::Outer { depth, .. } => *depth -= 1,
        _ => {}
    });
    condition
}

/// A query without its conditions on outer columns, and these, over its columns; `None` if it depends on outer rows in other ways too.
pub(super) fn uncorrelated(plan: Plan, functions: &dyn Functions) -> Option<(Plan, Vec<Expr>)> {
    let mut pulled = pull(plan, functions)?;
    if walk::reads_level(&pulled.plan, 1) || pulled.missing.is_some() {
        return None;
    }
    // It stands one level further out now.
    walk::shift_plan(&mut pulled.plan, -1, 0);
    Some((pulled.plan, pulled.conditions))
}

/// What [`pull`] makes of a plan. The plan's own columns come first, then those that conditions need.
pub(super) struct Pulled {
    pub(super) plan: Plan,
    pub(super) conditions: Vec<Expr>,
    /// For each of the plan's own columns, its value where no row fulfils the conditions, if the plan has a row even then.
    pub(super) missing: Option<Vec<Expr>>,
}

pub(super) fn pull(plan: Plan, functions: &dyn Functions) -> Option<Pulled> {
    if !walk::reads_level(&plan, 1) {
        return Some(Pulled { plan, conditions: Vec::new(), missing: None });
    }
    match plan {
        Plan::Filter { input, predicate } => {
            let width = input.columns().len();
            let mut pulled = pull(*input, functions)?;
            if pulled.missing.is_some() {
                return None;
            }
            let (out, stay): (Vec<Expr>, Vec<Expr>) = walk::conjuncts(predicate).into_iter().partition(reads_outer);
            if out.iter().any(|condition| has_subquery(condition) || is_volatile(condition, functions)) {
                return None;
            }
            debug_assert!(pulled.plan.columns().len() >= width, "own columns come first");
            pulled.plan = filtered(pulled.plan, stay);
            pulled.conditions.extend(out);
            Some(pulled)
        }
        Plan::Project { input, mut exprs, mut columns } => {
            if exprs.iter().any(reads_outer) {
                return None;
            }
            let mut pulled = pull(*input, functions)?;
            if let Some(missing) = &mut pulled.missing {
                let values = exprs.iter().map(|expr| {
                    let mut value = expr.clone();
                    walk::substitute(&mut value, missing);
                    value
                });
                *missing = values.collect();
            }
            let below = pulled.plan.columns().to_vec();
            for condition in &mut pulled.conditions {
                exposed(condition, &below, &mut exprs, &mut columns);
            }
            pulled.plan = Plan::Project { input: Box::new(pulled.plan), exprs, columns };
            Some(pulled)
        }
        Plan::Aggregate { input, keys, aggregates, always, columns } if always.is_empty() => {
            aggregate(*input, keys, aggregates, columns, functions)
        }
        Plan::Sort { input, keys } if !keys.iter().any(|key| reads_outer(&key.expr)) => {
            let mut pulled = pull(*input, functions)?;
            pulled.plan = Plan::Sort { input: Box::new(pulled.plan), keys };
            Some(pulled)
        }
        Plan::Distinct { input, on: None } => {
            let mut pulled = pull(*input, functions)?;
            // What a condition needs must not tell rows apart that it does not tell apart itself.
            let (on, rest) = equalities(&pulled.conditions);
            if !rest || pulled.missing.is_some() || on.is_empty() {
                return None;
            }
            pulled.plan = Plan::Distinct { input: Box::new(pulled.plan), on: None };
            Some(pulled)
        }
        Plan::Join {
            kind: kind @ (JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti),
            left,
            right,
            on,
            filter,
            lateral: false,
            columns,
            ..
        } => {
            if on.iter().any(|(left, right)| reads_outer(left) || reads_outer(right)) {
                return None;
            }
            let (left_width, right_width) = (left.columns().len(), right.columns().len());
            let left = pull(*left, functions)?;
            let inner = kind == JoinKind::Inner;
            if left.missing.is_some() || (!inner && walk::reads_level(&right, 1)) {
                return None;
            }
            let mut right = pull(*right, functions)?;
            if right.missing.is_some() {
                return None;
            }
            let conjuncts = filter.map(walk::conjuncts).unwrap_or_default();
            let (out, stay): (Vec<Expr>, Vec<Expr>) = conjuncts.into_iter().partition(reads_outer);
            if !out.is_empty() && !inner || out.iter().any(has_subquery) {
                return None;
            }
            let wide_left = left.plan.columns().len();
            // Where the old columns are in the join of the pulled sides.
            let place = |column: usize| if column < left_width { column } else { column - left_width + wide_left };
            let mut filter = walk::conjunction(stay);
            filter.iter_mut().for_each(|filter| walk::rename_columns(filter, &place));
            let narrow = matches!(kind, JoinKind::Semi | JoinKind::Anti);
            let mut conditions = left.conditions;
            conditions.extend(right.conditions.drain(..).map(|mut condition| {
                walk::rename_columns(&mut condition, &|column| column + wide_left);
                condition
            }));
            conditions.extend(out.into_iter().map(|mut condition| {
                walk::rename_columns(&mut condition, &place);
                condition
            }));
            let plan = Plan::join(kind, left.plan, right.plan, on, filter);
            let all = plan.columns().to_vec();
            let own = if narrow { left_width } else { left_width + right_width };
            if all.len() == own {
                return Some(Pulled { plan, conditions, missing: None });
            }
            // Its own columns first, as everywhere.
            let (mut exprs, mut columns) =
                ((0..own).map(|at| Expr::column(place(at), all[place(at)].ty.clone())).collect(), columns);
            for condition in &mut conditions {
                exposed(condition, &all, &mut exprs, &mut columns);
            }
            Some(Pulled { plan: Plan::Project { input: Box::new(plan), exprs, columns }, conditions, missing: None })
        }
        _ => None,
    }
}

/// Rewrites a condition over a projection's input as one over the projection, which puts out the columns that it needs.
fn exposed(condition: &mut Expr, below: &[OutputColumn], exprs: &mut Vec<Expr>, columns: &mut Vec<OutputColumn>) {
    for column in walk::columns_read(condition) {
        if !exprs.iter().any(|expr| expr.kind == ExprKind::Column(column)) {
            exprs.push(Expr::column(column, below[column].ty.clone()));
            columns.push(below[column].clone());
        }
    }
    let place = |column: usize| exprs.iter().position(|expr| expr.kind == ExprKind::Column(column)).unwrap_or(column);
    walk::rename_columns(condition, &place);
}

/// An aggregation is grouped by what its input is correlated with as well: in each group there is one value of that.
fn aggregate(
    input: Plan,
    keys: Vec<Expr>,
    aggregates: Vec<crate::plan::AggregateCall>,
    columns: Vec<OutputColumn>,
    functions: &dyn Functions,
) -> Option<Pulled> {
    let mut outer = keys.iter().any(reads_outer);
    aggregates.iter().for_each(|call| walk::aggregate_parts(call, &mut |part| outer |= reads_outer(part)));
    if outer {
        return None;
    }
    let pulled = pull(input, functions)?;
    let (pairs, all) = equalities(&pulled.conditions);
    if !all || pulled.missing.is_some() {
        return None;
    }
    let missing = match keys.is_empty() {
        true => Some(aggregates.iter().map(over_no_rows).collect::<Option<Vec<Expr>>>()?),
        false => None,
    };
    let (own, calls) = (keys.len(), aggregates.len());
    let mut all_keys = keys;
    let mut conditions = Vec::new();
    for (condition, inner) in pulled.conditions.iter().zip(pairs) {
        let place = own + calls + conditions.len();
        // The side that is the query's becomes a column.
        let mut condition = condition.clone();
        replace(&mut condition, &inner, &Expr::column(place, inner.ty.clone()));
        conditions.push(condition);
        all_keys.push(inner);
    }
    let (of_keys, of_calls) = columns.split_at(own);
    let added: Vec<OutputColumn> = all_keys[own..].iter().map(computed).collect();
    let aggregated: Vec<OutputColumn> = of_keys.iter().chain(&added).chain(of_calls).cloned().collect();
    let order = (0..own).chain(own + added.len()..aggregated.len()).chain(own..own + added.len());
    let order: Vec<usize> = order.collect();
    let exprs = order.iter().map(|&at| Expr::column(at, aggregated[at].ty.clone())).collect();
    let shown = order.iter().map(|&at| aggregated[at].clone()).collect();
    let plan = Plan::Aggregate {
        input: Box::new(pulled.plan),
        keys: all_keys,
        aggregates,
        always: Vec::new(),
        columns: aggregated,
    };
    Some(Pulled { plan: Plan::Project { input: Box::new(plan), exprs, columns: shown }, conditions, missing })
}

/// Of each condition that equates something of the query with something outer, the former; and whether all conditions are such.
pub(super) fn equalities(conditions: &[Expr]) -> (Vec<Expr>, bool) {
    let mut inner = Vec::new();
    for condition in conditions {
        let ExprKind::Call { name, args, .. } = &condition.kind else { return (inner, false) };
        let [a, b] = args.as_slice() else { return (inner, false) };
        if name != "=" || a.ty != b.ty {
            return (inner, false);
        }
        // What is further out is no value of the query, though it is the same for all its rows.
        let reaches_out = |node: &Expr, depth| matches!(node.kind, ExprKind::Outer { depth: out, .. } if out > depth);
        let own = |expr: &Expr| !walk::any(expr, &mut |node, depth| reaches_out(node, depth));
        let foreign = |expr: &Expr| reads_outer(expr) && walk::columns_read(expr).is_empty();
        match (own(a) && foreign(b), own(b) && foreign(a)) {
            (true, _) => inner.push(a.clone()),
            (_, true) => inner.push(b.clone()),
            _ => return (inner, false),
        }
    }
    (inner, true)
}

pub(super) fn replace(expr: &mut Expr, what: &Expr, with: &Expr) {
    if expr == what {
        *expr = with.clone();
        return;
    }
    walk::children_mut(expr, &mut |child| replace(child, what, with));
}

/// What an aggregate gives over no rows; `None` if that is not known here.
pub(super) fn over_no_rows(call: &crate::plan::AggregateCall) -> Option<Expr> {
    const NULL: [&str; 18] = [
        "sum",
        "avg",
        "min",
        "max",
        "stddev",
        "stddev_samp",
        "stddev_pop",
        "variance",
        "var_samp",
        "var_pop",
        "bool_and",
        "bool_or",
        "every",
        "string_agg",
        "array_agg",
        "any_value",
        "percentile_cont",
        "percentile_disc",
    ];
    let name = call.name.to_lowercase();
    match name.as_str() {
        "count" if call.combinator.is_none() => Some(Expr::literal(Value::int8(0))),
        name if NULL.contains(&name) => Some(Expr::literal(Value::null(call.ty.clone()))),
        _ => None,
    }
}
