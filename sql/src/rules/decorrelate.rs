//! Queries inside expressions become joins, so that they run once and not once a row.
//!
//! * A conjunct `EXISTS (q)` or `x IN (q)` becomes a semi join, `NOT EXISTS (q)` an anti join. `NOT IN` stays: a NULL on either side makes it
//!   neither true nor false.
//! * A correlated scalar query over one aggregation, wherever it stands, becomes a left join with the query grouped by what it is correlated
//!   with. Where there is no group, its value is what the aggregates give over no rows.
//! * A correlated EXISTS that is not a conjunct becomes a left join with the distinct values that it is correlated with.
//! * A lateral join becomes one that is none.
//!
//! [`pull`] takes the conditions that name outer columns out of a query, up to where they can be a join's. It gives up where a row of
//! the query depends on an outer one in another way (a LIMIT, a window, an outer column in the SELECT list): such a query stays as it is.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;

use super::{is_volatile, nothing};
use crate::bind::binder::join::split_condition;
use crate::catalog::Functions;
use crate::plan::{Expr, ExprKind, JoinKind, OutputColumn, Plan, Subquery, SubqueryKind};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// The plan with what can be made joins of.
pub(super) fn decorrelate(mut plan: Plan, functions: &dyn Functions) -> Plan {
    walk::inputs_mut(&mut plan, &mut |input, _| {
        let taken = std::mem::replace(input, nothing());
        *input = decorrelate(taken, functions);
    });
    walk::expressions_mut(&mut plan, &mut |expr| {
        walk::visit_mut_shallow(expr, &mut |node| {
            if let ExprKind::Subquery(subquery) = &mut node.kind {
                let taken = std::mem::replace(&mut subquery.plan, nothing());
                subquery.plan = decorrelate(taken, functions);
            }
        });
    });
    match plan {
        Plan::Filter { input, predicate } => filter(*input, predicate, functions),
        Plan::Project { input, mut exprs, columns } => {
            let mut input = *input;
            exprs.iter_mut().for_each(|expr| input = joined(std::mem::replace(&mut input, nothing()), expr, functions));
            Plan::Project { input: Box::new(input), exprs, columns }
        }
        Plan::Aggregate { input, mut keys, mut aggregates, always, columns } => {
            let mut input = *input;
            let mut join = |expr: &mut Expr| input = joined(std::mem::replace(&mut input, nothing()), expr, functions);
            keys.iter_mut().for_each(&mut join);
            aggregates.iter_mut().for_each(|call| walk::aggregate_parts_mut(call, &mut join));
            Plan::Aggregate { input: Box::new(input), keys, aggregates, always, columns }
        }
        Plan::Join { lateral: true, .. } => lateral(plan, functions),
        other => other,
    }
}

fn filter(input: Plan, predicate: Expr, functions: &dyn Functions) -> Plan {
    let columns = input.columns().to_vec();
    let (queries, plain): (Vec<Expr>, Vec<Expr>) =
        walk::conjuncts(predicate).into_iter().partition(super::has_subquery);
    let mut plan = filtered(input, plain);
    let mut rest = Vec::new();
    for conjunct in queries {
        match membership(&plan, &conjunct, functions) {
            Some((kind, right, condition)) => plan = join(kind, plan, right, condition),
            None => rest.push(conjunct),
        }
    }
    for conjunct in &mut rest {
        plan = joined(plan, conjunct, functions);
    }
    let plan = filtered(plan, rest);
    first_columns(plan, columns)
}

/// A plan's first columns.
fn first_columns(plan: Plan, columns: Vec<OutputColumn>) -> Plan {
    if plan.columns().len() == columns.len() {
        return plan;
    }
    let exprs = columns.iter().enumerate().map(|(at, column)| Expr::column(at, column.ty.clone())).collect();
    Plan::Project { input: Box::new(plan), exprs, columns }
}

/// A lateral join as one that is none, if its right side can stand by itself.
fn lateral(plan: Plan, functions: &dyn Functions) -> Plan {
    let Plan::Join { kind, left, right, on, filter, columns, .. } = &plan else { return plan };
    let pulled = match kind {
        JoinKind::Inner | JoinKind::Left => pull((**right).clone(), functions),
        _ => None,
    };
    let Some(mut pulled) = pulled.filter(|pulled| !walk::reads_level(&pulled.plan, 1)) else { return plan };
    walk::shift_plan(&mut pulled.plan, -1, 0);
    let width = left.columns().len();
    let mut conditions: Vec<Expr> = filter.iter().cloned().flat_map(walk::conjuncts).collect();
    let own = pulled.conditions.into_iter().map(|condition| over_join(condition, width));
    let Some(missing) = pulled.missing else {
        conditions.extend(own);
        let mut joined = join(*kind, (**left).clone(), pulled.plan, conditions);
        if let Plan::Join { on: pairs, .. } = &mut joined {
            pairs.splice(0..0, on.iter().cloned());
        }
        return first_columns(joined, columns.clone());
    };
    // The right side has a row for every left one, which what else must hold could leave out.
    if !on.is_empty() || !conditions.is_empty() {
        return plan;
    }
    let (marked, unmet) = marked(pulled.plan, width);
    let joined = join(JoinKind::Left, (**left).clone(), marked, own.collect());
    let exprs = columns.iter().enumerate().map(|(at, column)| {
        let value = Expr::column(at, column.ty.clone());
        match at.checked_sub(width) {
            Some(of_right) => or_missing(value, &unmet, missing[of_right].clone()),
            None => value,
        }
    });
    Plan::Project { exprs: exprs.collect(), input: Box::new(joined), columns: columns.clone() }
}

/// A plan with a last column that tells its rows from the NULLs of a left join, of which the left side has `width` columns; and whether
/// there was no row.
fn marked(plan: Plan, width: usize) -> (Plan, Expr) {
    let mut columns = plan.columns().to_vec();
    let mut exprs: Vec<Expr> =
        columns.iter().enumerate().map(|(at, column)| Expr::column(at, column.ty.clone())).collect();
    let mark = Expr::literal(Value::bool(true));
    let met = Expr::column(width + exprs.len(), Type::Bool);
    columns.push(computed(&mark));
    exprs.push(mark);
    let unmet = Expr::new(ExprKind::IsNull(Box::new(met)), Type::Bool);
    (Plan::Project { input: Box::new(plan), exprs, columns }, unmet)
}

/// A value, or another where there was no row.
fn or_missing(value: Expr, unmet: &Expr, missing: Expr) -> Expr {
    if matches!(&missing.kind, ExprKind::Literal(null) if null.is_null()) {
        return value;
    }
    let ty = value.ty.clone();
    let branches = vec![(unmet.clone(), missing)];
    Expr::new(ExprKind::Case { branches, otherwise: Some(Box::new(value)) }, ty)
}

fn filtered(plan: Plan, conditions: Vec<Expr>) -> Plan {
    match walk::conjunction(conditions) {
        Some(predicate) => Plan::Filter { input: Box::new(plan), predicate },
        None => plan,
    }
}

fn join(kind: JoinKind, left: Plan, right: Plan, condition: Vec<Expr>) -> Plan {
    let mut columns = left.columns().to_vec();
    if !matches!(kind, JoinKind::Semi | JoinKind::Anti) {
        columns.extend_from_slice(right.columns());
    }
    let (on, filter) = match walk::conjunction(condition) {
        Some(condition) => split_condition(condition, left.columns().len()),
        None => (Vec::new(), None),
    };
    Plan::Join { kind, left: Box::new(left), right: Box::new(right), on, filter, lateral: false, columns }
}

/// The semi or anti join that a conjunct is: its kind, its right side and its condition.
fn membership(left: &Plan, conjunct: &Expr, functions: &dyn Functions) -> Option<(JoinKind, Plan, Vec<Expr>)> {
    let width = left.columns().len();
    let (subquery, kind) = match &conjunct.kind {
        ExprKind::Subquery(subquery) => (subquery, JoinKind::Semi),
        ExprKind::Not(inner) => match &inner.kind {
            ExprKind::Subquery(subquery) if subquery.kind == SubqueryKind::Exists => (subquery, JoinKind::Anti),
            _ => return None,
        },
        _ => return None,
    };
    match &subquery.kind {
        // Without outer columns it is known before the first row.
        SubqueryKind::Exists if subquery.correlated => {
            let (right, conditions) = uncorrelated(exists(subquery.plan.clone()), functions)?;
            let conditions = conditions.into_iter().map(|condition| over_join(condition, width)).collect();
            Some((kind, right, conditions))
        }
        SubqueryKind::Any { left, functions: comparisons } => {
            let (right, conditions) = uncorrelated(subquery.plan.clone(), functions)?;
            let mut all: Vec<Expr> = Vec::new();
            for (at, (left, function)) in left.iter().zip(comparisons).enumerate() {
                if super::has_subquery(left) || is_volatile(left, functions) {
                    return None;
                }
                let is_equality = functions.overloads("=").iter().any(|signature| signature.id == *function);
                if !is_equality {
                    return None;
                }
                let args = vec![left.clone(), Expr::column(width + at, right.columns()[at].ty.clone())];
                all.push(Expr::new(ExprKind::Call { function: *function, name: "=".into(), args }, Type::Bool));
            }
            all.extend(conditions.into_iter().map(|condition| over_join(condition, width)));
            Some((kind, right, all))
        }
        _ => None,
    }
}

/// A query of which only matters whether it has rows, without what makes no difference to that.
fn exists(plan: Plan) -> Plan {
    match plan {
        Plan::Project { input, exprs, .. } if exprs.iter().all(|expr| !super::has_subquery(expr)) => exists(*input),
        Plan::Sort { input, .. } | Plan::Distinct { input, .. } => exists(*input),
        Plan::Limit { input, limit: Some(limit), offset: None } if is_positive(&limit) => exists(*input),
        other => other,
    }
}

fn is_positive(limit: &Expr) -> bool {
    let ExprKind::Literal(value) = &limit.kind else { return false };
    value.array.as_primitive_opt::<Int64Type>().is_some_and(|n| n.is_valid(0) && n.value(0) > 0)
}

/// A condition over a query's columns and outer ones, as one over a join's left and right side.
fn over_join(mut condition: Expr, width: usize) -> Expr {
    walk::visit_mut(&mut condition, 0, &mut |node, _| match &mut node.kind {
        ExprKind::Column(column) => *column += width,
        ExprKind::Outer { depth: 1, column } => node.kind = ExprKind::Column(*column),
        ExprKind::Outer { depth, .. } => *depth -= 1,
        _ => {}
    });
    condition
}

/// A query without its conditions on outer columns, and these, over its columns; `None` if it depends on outer rows in other ways too.
fn uncorrelated(plan: Plan, functions: &dyn Functions) -> Option<(Plan, Vec<Expr>)> {
    let mut pulled = pull(plan, functions)?;
    if walk::reads_level(&pulled.plan, 1) || pulled.missing.is_some() {
        return None;
    }
    // It stands one level further out now.
    walk::shift_plan(&mut pulled.plan, -1, 0);
    Some((pulled.plan, pulled.conditions))
}

/// What [`pull`] makes of a plan. The plan's own columns come first, then those that conditions need.
struct Pulled {
    plan: Plan,
    conditions: Vec<Expr>,
    /// For each of the plan's own columns, its value where no row fulfils the conditions, if the plan has a row even then.
    missing: Option<Vec<Expr>>,
}

fn pull(plan: Plan, functions: &dyn Functions) -> Option<Pulled> {
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
            if out.iter().any(|condition| super::has_subquery(condition) || is_volatile(condition, functions)) {
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
            if !out.is_empty() && !inner || out.iter().any(super::has_subquery) {
                return None;
            }
            let wide_left = left.plan.columns().len();
            // Where the old columns are in the join of the pulled sides.
            let place = |column: usize| if column < left_width { column } else { column - left_width + wide_left };
            let mut filter = walk::conjunction(stay);
            filter.iter_mut().for_each(|filter| walk::rename_columns(filter, &place));
            let narrow = matches!(kind, JoinKind::Semi | JoinKind::Anti);
            let mut all = left.plan.columns().to_vec();
            if !narrow {
                all.extend_from_slice(right.plan.columns());
            }
            let mut conditions = left.conditions;
            conditions.extend(right.conditions.drain(..).map(|mut condition| {
                walk::rename_columns(&mut condition, &|column| column + wide_left);
                condition
            }));
            conditions.extend(out.into_iter().map(|mut condition| {
                walk::rename_columns(&mut condition, &place);
                condition
            }));
            let plan = Plan::Join {
                kind,
                left: Box::new(left.plan),
                right: Box::new(right.plan),
                on,
                filter,
                lateral: false,
                columns: all.clone(),
            };
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

fn computed(expr: &Expr) -> OutputColumn {
    OutputColumn {
        name: "?column?".into(),
        ty: expr.ty.clone(),
        typmod: -1,
        origin: None,
        collating: expr.collating.of_column(),
    }
}

/// Of each condition that equates something of the query with something outer, the former; and whether all conditions are such.
fn equalities(conditions: &[Expr]) -> (Vec<Expr>, bool) {
    let mut inner = Vec::new();
    for condition in conditions {
        let ExprKind::Call { name, args, .. } = &condition.kind else { return (inner, false) };
        let [a, b] = args.as_slice() else { return (inner, false) };
        if name != "=" || a.ty != b.ty {
            return (inner, false);
        }
        let own = |expr: &Expr| !reads_outer(expr);
        let foreign = |expr: &Expr| reads_outer(expr) && walk::columns_read(expr).is_empty();
        match (own(a) && foreign(b), own(b) && foreign(a)) {
            (true, _) => inner.push(a.clone()),
            (_, true) => inner.push(b.clone()),
            _ => return (inner, false),
        }
    }
    (inner, true)
}

fn replace(expr: &mut Expr, what: &Expr, with: &Expr) {
    if expr == what {
        *expr = with.clone();
        return;
    }
    walk::children_mut(expr, &mut |child| replace(child, what, with));
}

/// Whether an expression of a query reads a column of the row around it.
fn reads_outer(expr: &Expr) -> bool {
    walk::any(expr, &mut |node, depth| matches!(node.kind, ExprKind::Outer { depth: out, .. } if out == depth + 1))
}

/// What an aggregate gives over no rows; `None` if that is not known here.
fn over_no_rows(call: &crate::plan::AggregateCall) -> Option<Expr> {
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

/// Joins a plan with the correlated queries of an expression over it, which then reads their columns.
fn joined(mut plan: Plan, expr: &mut Expr, functions: &dyn Functions) -> Plan {
    if !super::has_subquery(expr) {
        return plan;
    }
    if let ExprKind::Subquery(subquery) = &expr.kind
        && subquery.correlated
        && let Some((right, conditions, value)) = looked_up(subquery, &expr.ty, plan.columns().len(), functions)
    {
        plan = join(JoinKind::Left, plan, right, conditions);
        *expr = value;
        return plan;
    }
    walk::children_mut(expr, &mut |child| {
        let taken = std::mem::replace(&mut plan, nothing());
        plan = joined(taken, child, functions);
    });
    plan
}

/// A correlated query as the right side of a left join that meets each left row at most once: that side, the condition, and what stands for the
/// query's value. `width` is how many columns the left has.
fn looked_up(
    subquery: &Subquery,
    ty: &Type,
    width: usize,
    functions: &dyn Functions,
) -> Option<(Plan, Vec<Expr>, Expr)> {
    let is_exists = match subquery.kind {
        SubqueryKind::Exists => true,
        SubqueryKind::Scalar => false,
        _ => return None,
    };
    let plan = if is_exists { exists(subquery.plan.clone()) } else { subquery.plan.clone() };
    let pulled = pull(plan, functions)?;
    if walk::reads_level(&pulled.plan, 1) || pulled.conditions.is_empty() {
        return None;
    }
    let (inner, all) = equalities(&pulled.conditions);
    if !all || (!is_exists && pulled.missing.is_none()) || (is_exists && pulled.missing.is_some()) {
        return None;
    }
    let mut right = pulled.plan;
    walk::shift_plan(&mut right, -1, 0);
    let mut conditions = pulled.conditions;
    if is_exists {
        // The values it is correlated with, each once.
        let columns: Vec<OutputColumn> = inner.iter().map(computed).collect();
        for (at, (condition, inner)) in conditions.iter_mut().zip(&inner).enumerate() {
            replace(condition, inner, &Expr::column(at, inner.ty.clone()));
        }
        let (keys, aggregates, always) = (inner, Vec::new(), Vec::new());
        right = Plan::Aggregate { input: Box::new(right), keys, aggregates, always, columns };
    }
    let (right, unmet) = marked(right, width);
    let conditions = conditions.into_iter().map(|condition| over_join(condition, width)).collect();
    let value = match pulled.missing {
        None => Expr::new(ExprKind::Not(Box::new(unmet)), Type::Bool),
        Some(missing) => or_missing(Expr::column(width, ty.clone()), &unmet, missing.into_iter().next()?),
    };
    Some((right, conditions, value))
}
