//! Optimiser rules over [`Plan`]: each its own file, each a function from plan to plan that gives the same rows and the same errors.
//!
//! [`optimise`] makes joins of queries in expressions (`decorrelate`), one sum of those that a constant tells apart (`shifted_sums`), coarser
//! groups of finer ones (`rollup`), groups by no key that others determine (`derived_keys`), takes out what is named twice, so that it runs once
//! (`share`), moves
//! conditions towards the scans (`push_filters`), with those that follow from them (`imply`), makes
//! inner joins of outer ones where they allow it (`outer_joins`), puts inner joins in order (`join_order`, with the
//! guesses of `estimate`), and lets each operator read only the columns that something above it uses (`prune_columns`). Queries inside
//! expressions are plans of their own and get the same. Constants are folded where a plan is compiled, since only there the clock and the
//! parameters are known.

mod decorrelate;
mod derived_keys;
mod estimate;
mod imply;
mod join_order;
mod outer_joins;
mod prune_columns;
mod push_filters;
mod rollup;
mod share;
mod shifted_sums;

use crate::catalog::{Functions, Statistics, Volatility};
use crate::plan::{Cte, Expr, ExprKind, Plan, SubqueryKind};
use crate::types::Type;
use crate::walk;
pub(crate) use decorrelate::not_distinct;

pub use estimate::rows as estimated_rows;
pub use share::inline;

/// Applies all rules.
pub fn optimise(plan: Plan, functions: &dyn Functions, statistics: &dyn Statistics) -> Plan {
    let plan = shifted_sums::shifted_sums(decorrelate::decorrelate(plan, functions), functions);
    let plan = derived_keys::derive(rollup::rollup(plan, functions), functions);
    optimise_shared(plan, functions, statistics)
}

/// Applies the rules that leave groups and their calls as they are, and each scan where it stands: those of a view, whose states are stored.
pub fn optimise_stored(plan: Plan, functions: &dyn Functions, statistics: &dyn Statistics) -> Plan {
    optimise_all(decorrelate::decorrelate(plan, functions), functions, statistics)
}

fn optimise_shared(plan: Plan, functions: &dyn Functions, statistics: &dyn Statistics) -> Plan {
    match share::share(plan, functions) {
        Plan::With { ctes, body } => optimise_with(ctes, *body, functions, statistics),
        plan => optimise_all(plan, functions, statistics),
    }
}

/// Applies all rules to a plan of which every column is used.
fn optimise_all(plan: Plan, functions: &dyn Functions, statistics: &dyn Statistics) -> Plan {
    let every = vec![true; plan.columns().len()];
    optimise_for(plan, &every, functions, statistics)
}

/// Applies all rules to shared queries and to what reads them. How many rows one gives is known before those that read it are put in order,
/// and what they read of it before it is itself.
fn optimise_with(mut ctes: Vec<Cte>, mut body: Plan, functions: &dyn Functions, statistics: &dyn Statistics) -> Plan {
    for at in 0..ctes.len() {
        let (id, plan) = (ctes[at].id, optimise_all(ctes[at].plan.clone(), functions, statistics));
        let rows = estimate::rows(&plan, statistics);
        ctes[at + 1..].iter_mut().for_each(|later| share::set_rows(&mut later.plan, id, rows));
        share::set_rows(&mut body, id, rows);
    }
    body = optimise_all(body, functions, statistics);
    for at in (0..ctes.len()).rev() {
        let (before, after) = ctes.split_at_mut(at + 1);
        let cte = &mut before[at];
        let mut readers: Vec<&mut Plan> = after.iter_mut().map(|later| &mut later.plan).chain([&mut body]).collect();
        if share::narrow(cte, &mut readers, functions) {
            cte.plan = optimise_all(std::mem::replace(&mut cte.plan, nothing()), functions, statistics);
        } else {
            ctes.remove(at);
        }
    }
    match ctes.is_empty() {
        true => body,
        false => Plan::With { ctes, body: Box::new(body) },
    }
}

/// Applies all rules to a plan of whose columns only some are used. Columns that are not may be gone, all others stay in order.
fn optimise_for(plan: Plan, used: &[bool], functions: &dyn Functions, statistics: &dyn Statistics) -> Plan {
    let plan = push_filters::push(plan, Vec::new(), functions);
    let mut plan = join_order::order(plan, statistics);
    prune_columns::prune(&mut plan, used, functions);
    optimise_subqueries(&mut plan, functions, statistics);
    plan
}

fn optimise_subqueries(plan: &mut Plan, functions: &dyn Functions, statistics: &dyn Statistics) {
    walk::expressions_mut(plan, &mut |expr| optimise_subqueries_of(expr, functions, statistics));
    walk::inputs_mut(plan, &mut |input, _| optimise_subqueries(input, functions, statistics));
}

fn optimise_subqueries_of(expr: &mut Expr, functions: &dyn Functions, statistics: &dyn Statistics) {
    walk::children_mut(expr, &mut |child| optimise_subqueries_of(child, functions, statistics));
    if let ExprKind::Lambda(lambda) = &mut expr.kind {
        optimise_subqueries_of(&mut lambda.body, functions, statistics);
    }
    if let ExprKind::Subquery(subquery) = &mut expr.kind {
        let plan = std::mem::replace(&mut subquery.plan, nothing());
        // EXISTS only asks whether there is a row.
        let used = vec![subquery.kind != SubqueryKind::Exists; plan.columns().len()];
        subquery.plan = optimise_for(plan, &used, functions, statistics);
    }
}

/// The volatility of a function by its id and the name it was called by; `Volatile` if it cannot be found.
pub(crate) fn volatility(function: crate::catalog::FunctionId, name: &str, functions: &dyn Functions) -> Volatility {
    let of = |name: &str| functions.overloads(name).iter().find(|signature| signature.id == function);
    of(name).or_else(|| of(&name.to_lowercase())).map_or(Volatility::Volatile, |signature| signature.volatility)
}

/// Whether an expression may differ between two evaluations over the same row.
pub fn is_volatile(expr: &Expr, functions: &dyn Functions) -> bool {
    walk::any(expr, &mut |node, _| match &node.kind {
        ExprKind::Call { function, name, .. } => volatility(*function, name, functions) == Volatility::Volatile,
        _ => false,
    })
}

/// Whether an expression says the same of a row whoever asks and whenever: no clock, no time zone, no other row.
pub fn is_immutable(expr: &Expr, functions: &dyn Functions) -> bool {
    let fixed = |function, name: &str| volatility(function, name, functions) == Volatility::Immutable;
    !walk::any(expr, &mut |node, depth| match &node.kind {
        ExprKind::Call { function, name, .. } | ExprKind::Quantified { function, name, .. } => !fixed(*function, name),
        // Between times with and without a zone, and between either and text, the session's zone decides.
        ExprKind::Cast { expr, .. } => (expr.ty == Type::Timestamptz) != (node.ty == Type::Timestamptz),
        ExprKind::Parameter(_) | ExprKind::Subquery(_) => true,
        ExprKind::Outer { depth: out, .. } => *out > depth,
        _ => false,
    })
}

/// What stands where a plan is taken out to be changed.
fn nothing() -> Plan {
    Plan::Values { rows: Vec::new(), columns: Vec::new() }
}

/// Whether there is a query inside an expression.
pub fn has_subquery(expr: &Expr) -> bool {
    walk::any(expr, &mut |node, _| matches!(node.kind, ExprKind::Subquery(_)))
}
