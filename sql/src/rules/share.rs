//! A query that WITH names, and that is read more than once, runs once.
//!
//! The binder puts the query in each place that names it, as a [`Plan::Cte`]. [`share`] takes those that are worth it out of the plan, to its
//! top: a [`Plan::With`] runs each once, and a [`Plan::CteScan`] stands where it was named. Others become what they are. Worth it is what is
//! named twice and does more than read a table row by row; what Postgres promises to run once (a volatile query, one that is MATERIALIZED);
//! never what depends on a row around it.
//!
//! Conditions do not pass a scan of such a query, since others read it too. [`narrow`] gives it what all of them have in common: the OR of their
//! conditions, and the columns that at least one reads.

use std::collections::{HashMap, HashSet};

use super::{has_subquery, is_volatile, nothing};
use crate::catalog::Functions;
use crate::plan::{Cte, Expr, ExprKind, Plan};
use crate::types::Type;
use crate::walk;

/// The plan with shared queries at its top, if it has any.
pub(super) fn share(mut plan: Plan, functions: &dyn Functions) -> Plan {
    let mut named = HashMap::new();
    count(&plan, &mut named, functions);
    let shared: HashSet<usize> = named.iter().filter(|(_, times)| **times > 1).map(|(id, _)| *id).collect();
    let mut ctes = Vec::new();
    take(&mut plan, &shared, &mut ctes);
    if ctes.is_empty() {
        return plan;
    }
    Plan::With { ctes, body: Box::new(plan) }
}

/// How often each query is named that may be shared. What is in a query that is shared counts once.
fn count(plan: &Plan, named: &mut HashMap<usize, usize>, functions: &dyn Functions) {
    if let Plan::Cte { id, input, materialized, .. } = plan
        && may_share(input, *materialized, functions)
    {
        let times = named.entry(*id).or_default();
        *times += 1;
        if *times > 1 {
            return;
        }
    }
    walk::plans(plan, &mut |below| count(below, named, functions));
}

fn may_share(plan: &Plan, materialized: Option<bool>, functions: &dyn Functions) -> bool {
    if walk::is_correlated(plan) || reads_working_table(plan) {
        return false;
    }
    materialized.unwrap_or_else(|| !streams(plan) || has_volatile(plan, functions))
}

/// Whether a query only goes over the rows of a relation, which is about as dear as to keep them.
fn streams(plan: &Plan) -> bool {
    match plan {
        Plan::Scan(_) | Plan::Values { .. } | Plan::TableFunction { .. } | Plan::CteScan { .. } => true,
        Plan::Filter { input, predicate } => !has_subquery(predicate) && streams(input),
        Plan::Project { input, exprs, .. } => !exprs.iter().any(has_subquery) && streams(input),
        Plan::Limit { input, .. } | Plan::Cte { input, .. } => streams(input),
        _ => false,
    }
}

/// Whether a plan may give other rows when it is run again.
pub(super) fn has_volatile(plan: &Plan, functions: &dyn Functions) -> bool {
    let mut found = false;
    walk::expressions(plan, &mut |expr| found = found || is_volatile(expr, functions));
    walk::plans(plan, &mut |below| found = found || has_volatile(below, functions));
    found
}

/// Whether a plan reads rows of a recursion around it.
pub(super) fn reads_working_table(plan: &Plan) -> bool {
    fn visit(plan: &Plan, inside: &mut Vec<usize>) -> bool {
        match plan {
            Plan::WorkingTable { id, .. } => return !inside.contains(id),
            Plan::Recursive { id, .. } => inside.push(*id),
            _ => {}
        }
        let mut found = false;
        walk::plans(plan, &mut |below| found = found || visit(below, inside));
        found
    }
    visit(plan, &mut Vec::new())
}

/// Puts scans in place of shared queries, which go to `ctes`, each after those that it reads; others lose their names.
fn take(plan: &mut Plan, shared: &HashSet<usize>, ctes: &mut Vec<Cte>) {
    if let Plan::Cte { id, name, input, .. } = plan {
        let mut own = std::mem::replace(&mut **input, nothing());
        if !shared.contains(id) {
            *plan = own;
            return take(plan, shared, ctes);
        }
        let columns = own.columns().to_vec();
        let projection = (0..columns.len()).collect();
        let scan = Plan::CteScan { id: *id, name: name.clone(), projection, rows: 1.0, columns };
        if !ctes.iter().any(|cte| cte.id == *id) {
            take(&mut own, shared, ctes);
            ctes.push(Cte { id: *id, name: name.clone(), plan: own });
        }
        *plan = scan;
        return;
    }
    walk::plans_mut(plan, &mut |below| take(below, shared, ctes));
}

/// The plan without names: each query stands where it is named.
pub fn inline(plan: &mut Plan) {
    take(plan, &HashSet::new(), &mut Vec::new());
}

/// Tells all scans of a shared query how many rows it gives.
pub(super) fn set_rows(plan: &mut Plan, of: usize, known: f64) {
    if let Plan::CteScan { id, rows, .. } = plan
        && *id == of
    {
        *rows = known;
    }
    walk::plans_mut(plan, &mut |below| set_rows(below, of, known));
}

/// What one scan of a shared query needs of it, over the query's columns.
struct Use {
    conditions: Vec<Expr>,
    columns: Vec<usize>,
}

/// A shared query that gives no more than its scans in `readers` need. They are changed to the columns that it has then. If there are no scans
/// any more, the answer is false.
pub(super) fn narrow(cte: &mut Cte, readers: &mut [&mut Plan], functions: &dyn Functions) -> bool {
    let mut uses = Vec::new();
    readers.iter().for_each(|plan| collect(plan, cte.id, &mut uses, functions));
    if uses.is_empty() {
        return false;
    }
    let input = std::mem::replace(&mut cte.plan, nothing());
    let all = input.columns().to_vec();
    let kept: Vec<usize> = (0..all.len()).filter(|at| uses.iter().any(|one| one.columns.contains(at))).collect();
    let volatile = has_volatile(&input, functions);
    let wanted: Option<Vec<Expr>> = uses.into_iter().map(|one| walk::conjunction(one.conditions)).collect();
    let mut plan = input;
    if let Some(wanted) = wanted.filter(|_| !volatile) {
        plan = Plan::Filter { input: Box::new(plan), predicate: Expr::new(ExprKind::Or(wanted), Type::Bool) };
    }
    let exprs = kept.iter().map(|&at| Expr::column(at, all[at].ty.clone())).collect();
    let columns = kept.iter().map(|&at| all[at].clone()).collect();
    cte.plan = Plan::Project { input: Box::new(plan), exprs, columns };
    readers.iter_mut().for_each(|plan| rename(plan, cte.id, &kept));
    true
}

fn collect(plan: &Plan, of: usize, uses: &mut Vec<Use>, functions: &dyn Functions) {
    let (scan, predicate) = match plan {
        Plan::Filter { input, predicate } => (&**input, Some(predicate)),
        other => (other, None),
    };
    let Plan::CteScan { id, projection, .. } = scan else {
        return walk::plans(plan, &mut |below| collect(below, of, uses, functions));
    };
    if let Some(predicate) = predicate {
        // There may be scans in its queries.
        walk::queries(predicate, &mut |below| collect(below, of, uses, functions));
    }
    if *id != of {
        return;
    }
    let plain = |condition: &Expr| {
        !has_subquery(condition)
            && !is_volatile(condition, functions)
            && !walk::any(condition, &mut |node, _| matches!(node.kind, ExprKind::Outer { .. }))
    };
    let mut conditions: Vec<Expr> = predicate.cloned().map(walk::conjuncts).unwrap_or_default();
    conditions.retain(plain);
    conditions.iter_mut().for_each(|condition| walk::rename_columns(condition, &|column| projection[column]));
    uses.push(Use { conditions, columns: projection.clone() });
}

fn rename(plan: &mut Plan, of: usize, kept: &[usize]) {
    if let Plan::CteScan { id, projection, .. } = plan
        && *id == of
    {
        projection.iter_mut().for_each(|column| *column = kept.binary_search(column).unwrap_or(*column));
    }
    walk::plans_mut(plan, &mut |below| rename(below, of, kept));
}
