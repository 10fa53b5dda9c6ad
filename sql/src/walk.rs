//! Walking plans and expressions: the direct parts of each node, and the rewrites of column references that moving a node needs.
//!
//! Every traversal of the crate goes through these few functions, so that a new kind of node is taught in one place. Two kinds of depth
//! are told apart: the parts of one operator (which see its input) and nested plans, where a column of the place outside is
//! `Outer { depth }`. A subquery's plan, a lambda's body and the right side of a lateral join are one level deeper than what is around them.

use crate::plan::{AggregateCall, Expr, ExprKind, FrameBound, Gap, Plan, SortKey, SubqueryKind, WindowCall};
use crate::types::Type;

/// Calls `f` for each direct part of an expression; of a subquery, for its left side only. A lambda's body is no part: it sees other columns.
pub fn children<'e>(expr: &'e Expr, f: &mut dyn FnMut(&'e Expr)) {
    match &expr.kind {
        ExprKind::Column(_)
        | ExprKind::Outer { .. }
        | ExprKind::Literal(_)
        | ExprKind::Parameter(_)
        | ExprKind::Lambda(_) => {}
        ExprKind::Call { args, .. } => args.iter().for_each(f),
        ExprKind::Cast { expr, .. } | ExprKind::Not(expr) | ExprKind::IsNull(expr) | ExprKind::Field(expr, _) => {
            f(expr)
        }
        ExprKind::And(list)
        | ExprKind::Or(list)
        | ExprKind::Coalesce(list)
        | ExprKind::Array(list)
        | ExprKind::Row(list) => list.iter().for_each(f),
        ExprKind::Case { branches, otherwise } => {
            for (condition, result) in branches {
                f(condition);
                f(result);
            }
            if let Some(otherwise) = otherwise {
                f(otherwise);
            }
        }
        ExprKind::InList { expr, list } => {
            f(expr);
            list.iter().for_each(f);
        }
        ExprKind::Quantified { left, array, .. } => {
            f(left);
            f(array);
        }
        ExprKind::Subquery(subquery) => match &subquery.kind {
            SubqueryKind::Any { left, .. } | SubqueryKind::All { left, .. } => left.iter().for_each(f),
            SubqueryKind::Scalar | SubqueryKind::Exists | SubqueryKind::Array => {}
        },
    }
}

/// [`children`], to change them.
pub fn children_mut(expr: &mut Expr, f: &mut dyn FnMut(&mut Expr)) {
    match &mut expr.kind {
        ExprKind::Column(_)
        | ExprKind::Outer { .. }
        | ExprKind::Literal(_)
        | ExprKind::Parameter(_)
        | ExprKind::Lambda(_) => {}
        ExprKind::Call { args, .. } => args.iter_mut().for_each(f),
        ExprKind::Cast { expr, .. } | ExprKind::Not(expr) | ExprKind::IsNull(expr) | ExprKind::Field(expr, _) => {
            f(expr)
        }
        ExprKind::And(list)
        | ExprKind::Or(list)
        | ExprKind::Coalesce(list)
        | ExprKind::Array(list)
        | ExprKind::Row(list) => list.iter_mut().for_each(f),
        ExprKind::Case { branches, otherwise } => {
            for (condition, result) in branches {
                f(condition);
                f(result);
            }
            if let Some(otherwise) = otherwise {
                f(otherwise);
            }
        }
        ExprKind::InList { expr, list } => {
            f(expr);
            list.iter_mut().for_each(f);
        }
        ExprKind::Quantified { left, array, .. } => {
            f(left);
            f(array);
        }
        ExprKind::Subquery(subquery) => match &mut subquery.kind {
            SubqueryKind::Any { left, .. } | SubqueryKind::All { left, .. } => left.iter_mut().for_each(f),
            SubqueryKind::Scalar | SubqueryKind::Exists | SubqueryKind::Array => {}
        },
    }
}

/// Calls `f` for each of an operator's own expressions.
pub fn expressions<'p>(plan: &'p Plan, f: &mut dyn FnMut(&'p Expr)) {
    match plan {
        Plan::Scan(scan) => scan.filters.iter().for_each(f),
        Plan::Values { rows, .. } => rows.iter().flatten().for_each(f),
        Plan::TableFunction { args, .. } => args.iter().for_each(f),
        Plan::Filter { predicate, .. } => f(predicate),
        Plan::Project { exprs, .. } => exprs.iter().for_each(f),
        Plan::ProjectSet { calls, .. } => calls.iter().flat_map(|(_, args)| args).for_each(f),
        Plan::Window { partition_by, order_by, calls, .. } => {
            partition_by.iter().chain(order_by.iter().map(|key| &key.expr)).for_each(&mut *f);
            calls.iter().for_each(|call| window_parts(call, f));
        }
        Plan::Aggregate { keys, aggregates, .. } => {
            keys.iter().for_each(&mut *f);
            aggregates.iter().for_each(|call| aggregate_parts(call, f));
        }
        Plan::Sort { keys, .. } => keys.iter().for_each(|key| f(&key.expr)),
        Plan::Limit { limit, offset, .. } => limit.iter().chain(offset).for_each(f),
        Plan::Sample { amount, offset, seed, .. } => [amount].into_iter().chain(offset).chain(seed).for_each(f),
        Plan::Fill { ranges, values, .. } => {
            for range in ranges {
                [&range.step].into_iter().chain(&range.from).chain(&range.to).chain(&range.zone).for_each(&mut *f);
            }
            values.iter().for_each(|gap| {
                if let Gap::Before(expr) = gap {
                    f(expr)
                }
            });
        }
        Plan::Distinct { on, .. } => on.iter().flatten().for_each(f),
        Plan::Join { on, filter, .. } => {
            for (left, right) in on {
                f(left);
                f(right);
            }
            filter.iter().for_each(f);
        }
        Plan::NearestJoin { on, order, filter, .. } => {
            let order = order.iter().map(|order| (&order.left, &order.right));
            for (left, right) in on.iter().map(|(left, right)| (left, right)).chain(order) {
                f(left);
                f(right);
            }
            filter.iter().for_each(f);
        }
        Plan::SetOperation { .. } | Plan::Recursive { .. } | Plan::WorkingTable { .. } => {}
        Plan::Cte { .. } | Plan::With { .. } | Plan::CteScan { .. } => {}
    }
}

/// [`expressions`], to change them.
pub fn expressions_mut(plan: &mut Plan, f: &mut dyn FnMut(&mut Expr)) {
    match plan {
        Plan::Scan(scan) => scan.filters.iter_mut().for_each(f),
        Plan::Values { rows, .. } => rows.iter_mut().flatten().for_each(f),
        Plan::TableFunction { args, .. } => args.iter_mut().for_each(f),
        Plan::Filter { predicate, .. } => f(predicate),
        Plan::Project { exprs, .. } => exprs.iter_mut().for_each(f),
        Plan::ProjectSet { calls, .. } => calls.iter_mut().flat_map(|(_, args)| args).for_each(f),
        Plan::Window { partition_by, order_by, calls, .. } => {
            partition_by.iter_mut().chain(order_by.iter_mut().map(|key| &mut key.expr)).for_each(&mut *f);
            calls.iter_mut().for_each(|call| window_parts_mut(call, f));
        }
        Plan::Aggregate { keys, aggregates, .. } => {
            keys.iter_mut().for_each(&mut *f);
            aggregates.iter_mut().for_each(|call| aggregate_parts_mut(call, f));
        }
        Plan::Sort { keys, .. } => keys.iter_mut().for_each(|key| f(&mut key.expr)),
        Plan::Limit { limit, offset, .. } => limit.iter_mut().chain(offset).for_each(f),
        Plan::Sample { amount, offset, seed, .. } => [amount].into_iter().chain(offset).chain(seed).for_each(f),
        Plan::Fill { ranges, values, .. } => {
            for range in ranges {
                let bounds = range.from.iter_mut().chain(&mut range.to).chain(&mut range.zone);
                [&mut range.step].into_iter().chain(bounds).for_each(&mut *f);
            }
            values.iter_mut().for_each(|gap| {
                if let Gap::Before(expr) = gap {
                    f(expr)
                }
            });
        }
        Plan::Distinct { on, .. } => on.iter_mut().flatten().for_each(f),
        Plan::Join { on, filter, .. } => {
            for (left, right) in on {
                f(left);
                f(right);
            }
            filter.iter_mut().for_each(f);
        }
        Plan::NearestJoin { on, order, filter, .. } => {
            let order = order.iter_mut().map(|order| (&mut order.left, &mut order.right));
            for (left, right) in on.iter_mut().map(|(left, right)| (left, right)).chain(order) {
                f(left);
                f(right);
            }
            filter.iter_mut().for_each(f);
        }
        Plan::SetOperation { .. } | Plan::Recursive { .. } | Plan::WorkingTable { .. } => {}
        Plan::Cte { .. } | Plan::With { .. } | Plan::CteScan { .. } => {}
    }
}

/// Calls `f` for each expression of an aggregate call.
pub fn aggregate_parts<'c>(call: &'c AggregateCall, f: &mut dyn FnMut(&'c Expr)) {
    call.args.iter().for_each(&mut *f);
    call.filter.iter().for_each(&mut *f);
    call.order_by.iter().for_each(|SortKey { expr, .. }| f(expr));
}

/// [`aggregate_parts`], to change them.
pub fn aggregate_parts_mut(call: &mut AggregateCall, f: &mut dyn FnMut(&mut Expr)) {
    call.args.iter_mut().for_each(&mut *f);
    call.filter.iter_mut().for_each(&mut *f);
    call.order_by.iter_mut().for_each(|SortKey { expr, .. }| f(expr));
}

/// Calls `f` for each expression of a window call.
pub fn window_parts<'c>(window: &'c WindowCall, f: &mut dyn FnMut(&'c Expr)) {
    aggregate_parts(&window.call, f);
    window.frame.key.iter().for_each(&mut *f);
    for bound in [&window.frame.start, &window.frame.end] {
        if let FrameBound::Preceding(offset) | FrameBound::Following(offset) = bound {
            f(&offset.value);
            f(&offset.negative);
            offset.key.iter().for_each(&mut *f);
        }
    }
}

/// [`window_parts`], to change them.
pub fn window_parts_mut(window: &mut WindowCall, f: &mut dyn FnMut(&mut Expr)) {
    aggregate_parts_mut(&mut window.call, f);
    window.frame.key.iter_mut().for_each(&mut *f);
    for bound in [&mut window.frame.start, &mut window.frame.end] {
        if let FrameBound::Preceding(offset) | FrameBound::Following(offset) = bound {
            f(&mut offset.value);
            f(&mut offset.negative);
            offset.key.iter_mut().for_each(&mut *f);
        }
    }
}

/// Calls `f` for each input of an operator, with whether it is one level deeper (the right of a lateral join).
pub fn inputs<'p>(plan: &'p Plan, f: &mut dyn FnMut(&'p Plan, bool)) {
    match plan {
        Plan::Scan(_) | Plan::Values { .. } | Plan::TableFunction { .. } => {}
        Plan::WorkingTable { .. } | Plan::CteScan { .. } => {}
        Plan::Filter { input, .. }
        | Plan::Project { input, .. }
        | Plan::ProjectSet { input, .. }
        | Plan::Window { input, .. }
        | Plan::Aggregate { input, .. }
        | Plan::Sort { input, .. }
        | Plan::Limit { input, .. }
        | Plan::Sample { input, .. }
        | Plan::Fill { input, .. }
        | Plan::Distinct { input, .. }
        | Plan::Cte { input, .. } => f(input, false),
        Plan::Join { left, right, lateral, .. } => {
            f(left, false);
            f(right, *lateral);
        }
        Plan::SetOperation { left, right, .. } | Plan::NearestJoin { left, right, .. } => {
            f(left, false);
            f(right, false);
        }
        Plan::Recursive { base, step, .. } => {
            f(base, false);
            f(step, false);
        }
        Plan::With { ctes, body } => {
            ctes.iter().for_each(|cte| f(&cte.plan, false));
            f(body, false);
        }
    }
}

/// [`inputs`], to change them.
pub fn inputs_mut(plan: &mut Plan, f: &mut dyn FnMut(&mut Plan, bool)) {
    match plan {
        Plan::Scan(_) | Plan::Values { .. } | Plan::TableFunction { .. } => {}
        Plan::WorkingTable { .. } | Plan::CteScan { .. } => {}
        Plan::Filter { input, .. }
        | Plan::Project { input, .. }
        | Plan::ProjectSet { input, .. }
        | Plan::Window { input, .. }
        | Plan::Aggregate { input, .. }
        | Plan::Sort { input, .. }
        | Plan::Limit { input, .. }
        | Plan::Sample { input, .. }
        | Plan::Fill { input, .. }
        | Plan::Distinct { input, .. }
        | Plan::Cte { input, .. } => f(input, false),
        Plan::Join { left, right, lateral, .. } => {
            f(left, false);
            f(right, *lateral);
        }
        Plan::SetOperation { left, right, .. } | Plan::NearestJoin { left, right, .. } => {
            f(left, false);
            f(right, false);
        }
        Plan::Recursive { base, step, .. } => {
            f(base, false);
            f(step, false);
        }
        Plan::With { ctes, body } => {
            ctes.iter_mut().for_each(|cte| f(&mut cte.plan, false));
            f(body, false);
        }
    }
}

/// Calls `f` for each plan that stands directly in an operator: its inputs, and the queries in its expressions.
pub fn plans<'p>(plan: &'p Plan, f: &mut dyn FnMut(&'p Plan)) {
    inputs(plan, &mut |input, _| f(input));
    expressions(plan, &mut |expr| queries(expr, f));
}

/// [`plans`], to change them.
pub fn plans_mut(plan: &mut Plan, f: &mut dyn FnMut(&mut Plan)) {
    inputs_mut(plan, &mut |input, _| f(input));
    expressions_mut(plan, &mut |expr| {
        visit_mut_shallow(expr, &mut |node| {
            if let ExprKind::Subquery(subquery) = &mut node.kind {
                f(&mut subquery.plan);
            }
        });
    });
}

/// Calls `f` for each query in an expression, but for those in queries.
pub fn queries<'e>(expr: &'e Expr, f: &mut dyn FnMut(&'e Plan)) {
    children(expr, &mut |child| queries(child, f));
    if let ExprKind::Subquery(subquery) = &expr.kind {
        f(&subquery.plan);
    }
}

/// Visits an expression and all below it, subquery plans included, parents first. `f` is given each node's depth: how many levels it
/// stands below where the visit began.
pub fn visit<'e>(expr: &'e Expr, depth: usize, f: &mut dyn FnMut(&'e Expr, usize)) {
    f(expr, depth);
    children(expr, &mut |child| visit(child, depth, f));
    match &expr.kind {
        ExprKind::Subquery(subquery) => visit_plan(&subquery.plan, depth + 1, f),
        ExprKind::Lambda(lambda) => visit(&lambda.body, depth + 1, f),
        _ => {}
    }
}

/// [`visit`] over all expressions of a plan.
pub fn visit_plan<'p>(plan: &'p Plan, depth: usize, f: &mut dyn FnMut(&'p Expr, usize)) {
    expressions(plan, &mut |expr| visit(expr, depth, f));
    inputs(plan, &mut |input, deeper| visit_plan(input, depth + usize::from(deeper), f));
}

/// [`visit`], to change nodes: children first.
pub fn visit_mut(expr: &mut Expr, depth: usize, f: &mut dyn FnMut(&mut Expr, usize)) {
    children_mut(expr, &mut |child| visit_mut(child, depth, f));
    match &mut expr.kind {
        ExprKind::Subquery(subquery) => visit_plan_mut(&mut subquery.plan, depth + 1, f),
        ExprKind::Lambda(lambda) => visit_mut(&mut lambda.body, depth + 1, f),
        _ => {}
    }
    f(expr, depth);
}

/// Visits an expression and all below it, but no subquery's plan and no lambda's body: children first.
pub fn visit_mut_shallow(expr: &mut Expr, f: &mut dyn FnMut(&mut Expr)) {
    children_mut(expr, &mut |child| visit_mut_shallow(child, f));
    f(expr);
}

/// [`visit_mut`] over all expressions of a plan.
pub fn visit_plan_mut(plan: &mut Plan, depth: usize, f: &mut dyn FnMut(&mut Expr, usize)) {
    expressions_mut(plan, &mut |expr| visit_mut(expr, depth, f));
    inputs_mut(plan, &mut |input, deeper| visit_plan_mut(input, depth + usize::from(deeper), f));
}

/// Whether a predicate holds for an expression or any below it (subquery plans included).
pub fn any(expr: &Expr, test: &mut dyn FnMut(&Expr, usize) -> bool) -> bool {
    let mut found = false;
    visit(expr, 0, &mut |node, depth| found = found || test(node, depth));
    found
}

/// The input columns that an expression reads, in order of appearance and with repeats: its own, and those that subqueries
/// inside it read from it as outer columns.
pub fn columns_read(expr: &Expr) -> Vec<usize> {
    let mut columns = Vec::new();
    visit(expr, 0, &mut |node, depth| match node.kind {
        ExprKind::Column(column) if depth == 0 => columns.push(column),
        ExprKind::Outer { depth: out, column } if depth > 0 && out == depth => columns.push(column),
        _ => {}
    });
    columns
}

/// Renames the input columns of an expression, those read by subqueries inside it included.
pub fn rename_columns(expr: &mut Expr, to: &dyn Fn(usize) -> usize) {
    visit_mut(expr, 0, &mut |node, depth| rename_node(node, depth, to));
}

/// Renames the columns of the place `depth` levels out of a plan that a plan reads (1: where it stands as a subquery).
pub fn rename_outer_columns(plan: &mut Plan, to: &dyn Fn(usize) -> usize) {
    visit_plan_mut(plan, 1, &mut |node, depth| rename_node(node, depth, to));
}

fn rename_node(node: &mut Expr, depth: usize, to: &dyn Fn(usize) -> usize) {
    match &mut node.kind {
        ExprKind::Column(column) if depth == 0 => *column = to(*column),
        ExprKind::Outer { depth: out, column } if depth > 0 && *out == depth => *column = to(*column),
        _ => {}
    }
}

/// Puts an expression over each input column: `Column(i)` becomes `with[i]`, also where subqueries inside read it as an outer column.
pub fn substitute(expr: &mut Expr, with: &[Expr]) {
    visit_mut(expr, 0, &mut |node, depth| match node.kind {
        ExprKind::Column(column) if depth == 0 => *node = with[column].clone(),
        ExprKind::Outer { depth: out, column } if depth > 0 && out == depth => *node = outward(&with[column], depth),
        _ => {}
    });
}

/// A lambda's body as an expression at the lambda's own place: its parameters, then the row's columns as `column` numbers them.
pub fn inline(body: &Expr, column: &dyn Fn(usize) -> usize) -> Expr {
    let mut body = body.clone();
    visit_mut(&mut body, 0, &mut |node, depth| match &mut node.kind {
        ExprKind::Outer { depth: out, column: of } if *out == depth + 1 => {
            let column = column(*of);
            node.kind = match depth {
                0 => ExprKind::Column(column),
                depth => ExprKind::Outer { depth, column },
            };
        }
        ExprKind::Outer { depth: out, .. } if *out > depth + 1 => *out -= 1,
        _ => {}
    });
    body
}

/// An expression as it is written `levels` deeper: its columns become outer columns, and its outer columns reach further.
pub fn outward(expr: &Expr, levels: usize) -> Expr {
    let mut expr = expr.clone();
    if levels == 0 {
        return expr;
    }
    visit_mut(&mut expr, 0, &mut |node, depth| match &mut node.kind {
        ExprKind::Column(column) if depth == 0 => node.kind = ExprKind::Outer { depth: levels, column: *column },
        ExprKind::Outer { depth: out, .. } if *out > depth => *out += levels,
        // A subquery inside that read this expression's own input: its input is now further out.
        ExprKind::Outer { depth: out, .. } if depth > 0 && *out == depth => *out += levels,
        _ => {}
    });
    expr
}

/// Moves a plan `levels` deeper (or, if negative, less deep): outer columns that reach out of it by more than `beyond` levels change.
pub fn shift_plan(plan: &mut Plan, levels: isize, beyond: usize) {
    if levels == 0 {
        return;
    }
    visit_plan_mut(plan, 0, &mut |node, depth| {
        if let ExprKind::Outer { depth: out, .. } = &mut node.kind
            && *out > depth + beyond
        {
            *out = out.saturating_add_signed(levels);
        }
    });
}

/// Whether a plan has outer columns that reach out of it.
pub fn is_correlated(plan: &Plan) -> bool {
    reaches(plan, &mut |_| true)
}

/// Whether a plan reads columns of exactly the `level`-th place out of it (1 is the nearest).
pub fn reads_level(plan: &Plan, level: usize) -> bool {
    reaches(plan, &mut |reach| reach == level)
}

fn reaches(plan: &Plan, test: &mut dyn FnMut(usize) -> bool) -> bool {
    let mut found = false;
    visit_plan(plan, 0, &mut |node, depth| {
        if let ExprKind::Outer { depth: out, .. } = node.kind
            && out > depth
        {
            found = found || test(out - depth);
        }
    });
    found
}

/// The conjuncts of a predicate, in order.
pub fn conjuncts(predicate: Expr) -> Vec<Expr> {
    match predicate.kind {
        ExprKind::And(list) => list.into_iter().flat_map(conjuncts).collect(),
        _ => vec![predicate],
    }
}

/// The conjunction of predicates; `None` of no predicates.
pub fn conjunction(mut list: Vec<Expr>) -> Option<Expr> {
    match list.len() {
        0 => None,
        1 => list.pop(),
        _ => Some(Expr::new(ExprKind::And(list), Type::Bool)),
    }
}

/// Whether two expressions say the same. Unlike `==` it looks into subqueries.
pub fn same(a: &Expr, b: &Expr) -> bool {
    let nested = |expr: &Expr| any(expr, &mut |node, _| matches!(node.kind, ExprKind::Subquery(_)));
    // Plans have no equality; their debug form names everything in them.
    a == b || (a.ty == b.ty && nested(a) && nested(b) && format!("{a:?}") == format!("{b:?}"))
}
