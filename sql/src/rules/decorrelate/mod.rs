//! Queries inside expressions become joins, so that they run once and not once a row.
//!
//! * A conjunct `EXISTS (q)` or `x IN (q)` becomes a semi join, `NOT EXISTS (q)` an anti join.
//! * Any other correlated query becomes a left join with its answers, one for each value of what it is correlated with (`lookup`,
//!   `quantified`); a lateral join becomes one that is none.
//!
//! Two methods give the right side. Where conditions on outer columns are all that makes a query depend on them, these become the join's (`pull`).
//! Any other query is answered for the distinct values of its outer columns (`unnest`), which are found before: the plan to its left is a query
//! that is named twice, and shared like one of WITH. That is done only where the plan reads nothing further out, from the outside
//! in; what stands inside a correlated query waits until that one is independent.
//!
//! Errors stay those of the rows that PostgreSQL evaluates a query for: one that may fail, and stands behind a condition (CASE, AND, OR,
//! COALESCE), is answered for the rows that reach it; several rows are an error where the value is used. What stays a query of each row is
//! what must: one with volatile functions or a sample, one in a lambda, and a function with named arguments.

mod build;
mod fallible;
mod function;
mod lookup;
mod pull;
mod quantified;
mod running;
mod unnest;

use std::cell::Cell;
use std::collections::HashSet;

pub(crate) use self::build::not_distinct;
pub(super) use self::build::{aggregate, call};
use self::build::{extended, filtered, first_columns, is_never_null, numbered, select};
use self::lookup::Left;
use self::pull::{equalities, exists, over_join, pull, uncorrelated};
use self::unnest::Unnest;
use super::{has_subquery, is_volatile, nothing, share};
use crate::bind::binder::join::split_condition;
use crate::catalog::Functions;
use crate::plan::{Expr, ExprKind, JoinKind, Plan, Subquery, SubqueryKind};
use crate::value::Value;
use crate::walk;

/// A plan of more operators than this is not copied for its values to be found.
const COPIED_MAX: usize = 2000;

/// The plan with what can be made joins of.
pub(super) fn decorrelate(plan: Plan, functions: &dyn Functions) -> Plan {
    let next = Cell::new(highest_id(&plan));
    Rule { functions, next }.plan(plan, true)
}

/// A number that is above those of all named queries.
fn highest_id(plan: &Plan) -> usize {
    let mut highest = match plan {
        Plan::Cte { id, .. } => id + 1,
        _ => 0,
    };
    walk::plans(plan, &mut |below| highest = highest.max(highest_id(below)));
    highest
}

struct Rule<'f> {
    functions: &'f dyn Functions,
    /// Names the next query that is shared.
    next: Cell<usize>,
}

impl Rule<'_> {
    /// A plan with its queries as joins. If it is `closed`, it reads nothing outside.
    fn plan(&self, mut plan: Plan, closed: bool) -> Plan {
        walk::inputs_mut(&mut plan, &mut |input, deeper| {
            let taken = std::mem::replace(input, nothing());
            let closed = if deeper { !walk::is_correlated(&taken) } else { closed };
            *input = self.plan(taken, closed);
        });
        walk::expressions_mut(&mut plan, &mut |expr| {
            walk::visit_mut_shallow(expr, &mut |node| {
                if let ExprKind::Subquery(subquery) = &mut node.kind {
                    let taken = std::mem::replace(&mut subquery.plan, nothing());
                    subquery.correlated = walk::is_correlated(&taken);
                    subquery.plan = self.plan(taken, !subquery.correlated);
                }
            });
        });
        match plan {
            Plan::Filter { input, predicate } => self.filter(*input, predicate, closed),
            Plan::Join { lateral: true, .. } => self.lateral(plan, closed),
            Plan::Join { .. } => self.join(plan, closed),
            Plan::Project { .. }
            | Plan::ProjectSet { .. }
            | Plan::Window { .. }
            | Plan::Aggregate { .. }
            | Plan::Sort { .. }
            | Plan::Distinct { .. } => self.with_input(plan, closed),
            other => other,
        }
    }

    /// An operator of one input whose expressions' queries are joined to it.
    fn with_input(&self, mut plan: Plan, closed: bool) -> Plan {
        let mut queries = false;
        walk::expressions(&plan, &mut |expr| queries = queries || has_subquery(expr));
        if !queries {
            return plan;
        }
        let mut input = nothing();
        walk::inputs_mut(&mut plan, &mut |below, _| input = std::mem::replace(below, nothing()));
        let own = input.columns().to_vec();
        let mut left = Left::new(input, closed);
        match &mut plan {
            // A frame's bounds have no columns.
            Plan::Window { partition_by, order_by, calls, .. } => {
                let keys = partition_by.iter_mut().chain(order_by.iter_mut().map(|key| &mut key.expr));
                keys.for_each(|expr| self.joined(&mut left, expr, &[]));
                for window in calls {
                    walk::aggregate_parts_mut(&mut window.call, &mut |expr| self.joined(&mut left, expr, &[]));
                }
            }
            other => walk::expressions_mut(other, &mut |expr| self.joined(&mut left, expr, &[])),
        }
        let (width, wide) = (own.len(), left.plan.columns().len());
        let mut joined = Some(left.plan);
        walk::inputs_mut(&mut plan, &mut |below, _| *below = joined.take().unwrap_or_else(nothing));
        match &mut plan {
            // These put out their input's columns, and more of them now.
            Plan::Window { columns, .. } | Plan::ProjectSet { columns, .. } if wide > width => {
                let calls = columns.split_off(width);
                let mut input = Vec::new();
                walk::inputs(&plan, &mut |below, _| input.extend_from_slice(below.columns()));
                let places: Vec<usize> = (0..width).chain(wide..wide + calls.len()).collect();
                input.extend(calls);
                if let Plan::Window { columns, .. } | Plan::ProjectSet { columns, .. } = &mut plan {
                    *columns = input;
                }
                select(plan, &places)
            }
            Plan::Sort { .. } | Plan::Distinct { .. } => first_columns(plan, own),
            _ => plan,
        }
    }

    fn filter(&self, input: Plan, predicate: Expr, closed: bool) -> Plan {
        let columns = input.columns().to_vec();
        let (queries, plain): (Vec<Expr>, Vec<Expr>) = walk::conjuncts(predicate).into_iter().partition(has_subquery);
        let mut left = Left::new(filtered(input, plain), closed);
        let mut rest = Vec::new();
        for conjunct in queries {
            if !self.membership(&mut left, &conjunct) {
                rest.push(conjunct);
            }
        }
        for conjunct in &mut rest {
            self.joined(&mut left, conjunct, &[]);
        }
        first_columns(filtered(left.plan, rest), columns)
    }

    /// A join whose condition has queries: they are joined to the side that they read, or are a condition on the pairs.
    fn join(&self, plan: Plan, closed: bool) -> Plan {
        let Plan::Join { kind, left, right, on, filter: Some(filter), columns, lateral, build_left } = plan else {
            return plan;
        };
        if !has_subquery(&filter) {
            return Plan::Join { kind, left, right, on, filter: Some(filter), columns, lateral, build_left };
        }
        let width = left.columns().len();
        let (queries, mut plain): (Vec<Expr>, Vec<Expr>) = walk::conjuncts(filter).into_iter().partition(has_subquery);
        if kind == JoinKind::Inner {
            let pairs = Plan::join(kind, *left, *right, on, walk::conjunction(plain));
            return match walk::conjunction(queries) {
                Some(predicate) => self.filter(pairs, predicate, closed),
                None => pairs,
            };
        }
        let (mut left, mut right) = (*left, *right);
        let mut of_pairs = Vec::new();
        for mut conjunct in queries {
            let reads = walk::columns_read(&conjunct);
            let (of_left, of_right) = (reads.iter().all(|at| *at < width), reads.iter().all(|at| *at >= width));
            match kind {
                // What a row of the other side does not fulfil, it meets nothing by.
                JoinKind::Left | JoinKind::Semi | JoinKind::Anti if of_right && !reads.is_empty() => {
                    walk::rename_columns(&mut conjunct, &|column| column - width);
                    right = self.filter(right, conjunct, closed);
                }
                JoinKind::Right if of_left && !reads.is_empty() => left = self.filter(left, conjunct, closed),
                // Known before the first row.
                _ if reads.is_empty() && !walk::any(&conjunct, &mut is_correlated_query) => plain.push(conjunct),
                _ => of_pairs.push(conjunct),
            }
        }
        let number = |plan: &Plan| {
            let numbered = numbered(plan.clone(), Vec::new(), Vec::new(), self.functions)?;
            Some(self.named(numbered, Some(true)))
        };
        let copied = !of_pairs.is_empty() && closed && self.may_copy(&left) && self.may_copy(&right);
        if let Some(sides) = copied.then(|| number(&left).zip(number(&right))).flatten() {
            return self.pairs(kind, sides, on, plain, of_pairs);
        }
        plain.extend(of_pairs);
        Plan::join(kind, left, right, on, walk::conjunction(plain))
    }

    /// An outer, semi or anti join by the pairs that fulfil its condition: rows of both sides are numbered, pairs found, and joined to the rows
    /// by number.
    fn pairs(
        &self,
        kind: JoinKind,
        (numbered_left, numbered_right): (Plan, Plan),
        on: Vec<(Expr, Expr)>,
        plain: Vec<Expr>,
        queries: Vec<Expr>,
    ) -> Plan {
        let (of_left, of_right) = (numbered_left.columns().len() - 1, numbered_right.columns().len() - 1);
        let place = |column: usize| if column < of_left { column } else { column + 1 };
        let renamed = |mut expr: Expr| {
            walk::rename_columns(&mut expr, &place);
            expr
        };
        let plain = walk::conjunction(plain.into_iter().map(renamed).collect());
        let met = Plan::join(JoinKind::Inner, numbered_left.clone(), numbered_right.clone(), on, plain);
        let queries = walk::conjunction(queries.into_iter().map(renamed).collect());
        let met = match queries {
            Some(predicate) => self.filter(met, predicate, true),
            None => met,
        };
        let number_of = |column: usize| Expr::column(column, crate::types::Type::Int8);
        let (first, second) = (number_of(of_left), number_of(of_left + 1 + of_right));
        let own = |from: usize, count: usize| from..from + count;
        match kind {
            JoinKind::Semi | JoinKind::Anti => {
                let joined = Plan::join(kind, numbered_left, met, vec![(first.clone(), first)], None);
                select(joined, &own(0, of_left).collect::<Vec<_>>())
            }
            JoinKind::Right => {
                let joined = Plan::join(kind, met, numbered_right, vec![(second, number_of(of_right))], None);
                let right = own(of_left + of_right + 2, of_right);
                select(joined, &own(0, of_left).chain(right).collect::<Vec<_>>())
            }
            JoinKind::Full => {
                let met = self.named(met, Some(true));
                let all = Plan::join(JoinKind::Left, numbered_left, met.clone(), vec![(first.clone(), first)], None);
                let all = self.named(all, None);
                // Rows of the right that no pair has, beside NULLs.
                let pair = (number_of(of_right), second);
                let unmet = Plan::join(JoinKind::Anti, numbered_right, met, vec![pair], None);
                let beside = select(all.clone(), &own(0, of_left).collect::<Vec<_>>());
                let none = filtered(beside, vec![Expr::literal(Value::bool(false))]);
                let always = vec![(Expr::literal(Value::bool(true)), Expr::literal(Value::bool(true)))];
                let unmet = Plan::join(JoinKind::Right, none, unmet, always, None);
                let pairs = own(0, of_left).chain(own(of_left * 2 + 2, of_right));
                let left = Box::new(select(all, &pairs.collect::<Vec<_>>()));
                let right = Box::new(select(unmet, &own(0, of_left + of_right).collect::<Vec<_>>()));
                let columns = left.columns().to_vec();
                Plan::SetOperation { kind: crate::plan::SetKind::Union, all: true, left, right, columns }
            }
            JoinKind::Left | JoinKind::Inner => {
                let joined = Plan::join(JoinKind::Left, numbered_left, met, vec![(first.clone(), first)], None);
                let right = own(of_left * 2 + 2, of_right);
                select(joined, &own(0, of_left).chain(right).collect::<Vec<_>>())
            }
        }
    }

    /// A lateral join as one that is none.
    fn lateral(&self, plan: Plan, closed: bool) -> Plan {
        let plan = match function::per_row(plan).or_else(|plan| self.pulled_lateral(*plan)) {
            Ok(done) => return done,
            Err(plan) => *plan,
        };
        let Plan::Join { kind: kind @ (JoinKind::Inner | JoinKind::Left), left, right, on, filter, columns, .. } =
            &plan
        else {
            return plan;
        };
        let mut from = Left::new((**left).clone(), closed);
        let outer = outer_columns(right);
        let Some((mut unnest, keys)) = self.unnest(&mut from, right, outer, Vec::new(), &[], false) else {
            return plan;
        };
        let Some(rows) = unnest.all_rows((**right).clone()) else { return plan };
        let rows = self.plan(rows, true);
        let (width, own) = (left.columns().len(), keys.len());
        let mut pairs = self.keyed(&unnest, keys);
        pairs.extend(on.iter().map(|(a, b)| {
            let mut b = b.clone();
            walk::rename_columns(&mut b, &|column| column + own);
            (a.clone(), b)
        }));
        let filter = filter.clone().map(|mut filter| {
            walk::rename_columns(&mut filter, &|column| if column < width { column } else { column + own });
            filter
        });
        let right_width = right.columns().len();
        let joined = Plan::join(*kind, from.plan, rows, pairs, filter);
        let joined = if has_query_in_condition(&joined) { self.join(joined, closed) } else { joined };
        let places: Vec<usize> = (0..width).chain(width + own..width + own + right_width).collect();
        let plan = select(joined, &places);
        let Plan::Project { input, exprs, .. } = plan else { return plan };
        Plan::Project { input, exprs, columns: columns.clone() }
    }

    /// A lateral join whose right side depends on the left by conditions only.
    fn pulled_lateral(&self, plan: Plan) -> Result<Plan, Box<Plan>> {
        let Plan::Join { kind, left, right, on, filter, columns, .. } = &plan else { return Ok(plan) };
        let pulled = match kind {
            JoinKind::Inner | JoinKind::Left if !fallible::plan(right, self.functions, false) => {
                pull((**right).clone(), self.functions)
            }
            _ => None,
        };
        let Some(mut pulled) = pulled.filter(|pulled| !walk::reads_level(&pulled.plan, 1)) else {
            return Err(Box::new(plan));
        };
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
            return Ok(first_columns(joined, columns.clone()));
        };
        // The right side has a row for every left one, which what else must hold could leave out.
        if !on.is_empty() || !conditions.is_empty() {
            return Err(Box::new(plan));
        }
        let (marked, unmet) = lookup::marked(pulled.plan, width);
        let joined = join(JoinKind::Left, (**left).clone(), marked, own.collect());
        let exprs = columns.iter().enumerate().map(|(at, column)| {
            let value = Expr::column(at, column.ty.clone());
            match at.checked_sub(width) {
                Some(of_right) => lookup::or_missing(value, &unmet, missing[of_right].clone()),
                None => value,
            }
        });
        Ok(Plan::Project { exprs: exprs.collect(), input: Box::new(joined), columns: columns.clone() })
    }

    /// A query by a name that no other has. Where it is worth it, it runs once.
    fn named(&self, plan: Plan, materialized: Option<bool>) -> Plan {
        let id = self.next.replace(self.next.get() + 1);
        Plan::Cte { id, name: format!("outer_{id}"), input: Box::new(plan), materialized }
    }

    /// Whether a plan may stand in two places.
    fn may_copy(&self, plan: &Plan) -> bool {
        fn size(plan: &Plan) -> usize {
            let mut all = 1;
            walk::plans(plan, &mut |below| all += size(below));
            all
        }
        let fixed = !share::has_volatile(plan, self.functions) || !share::reads_working_table(plan);
        fixed && size(plan) <= COPIED_MAX
    }

    /// What makes a query over a plan independent of its rows: of the values of `outer` columns and of more expressions, in the rows for which the
    /// guards hold. Also the same values over the plan. `of_rows`: whether [`Unnest::rows`] is asked, rather than for all rows.
    fn unnest(
        &self,
        left: &mut Left,
        query: &Plan,
        outer: Vec<usize>,
        more: Vec<Expr>,
        guards: &[Expr],
        of_rows: bool,
    ) -> Option<(Unnest<'_>, Vec<Expr>)> {
        if !left.closed || share::has_volatile(query, self.functions) || has_sample(query) || !self.may_copy(&left.plan)
        {
            return None;
        }
        let columns = left.plan.columns();
        let mut keys: Vec<Expr> = outer.iter().map(|&at| Expr::column(at, columns[at].ty.clone())).collect();
        keys.extend(fallible::told_apart(query, &keys));
        keys.extend(more);
        let guards = match fallible::plan(query, self.functions, !guards.is_empty()) {
            true => guards.to_vec(),
            false => Vec::new(),
        };
        if guards.iter().chain(&keys).any(|expr| is_volatile(expr, self.functions) || has_subquery(expr)) {
            return None;
        }
        let read = guards.iter().chain(&keys).flat_map(walk::columns_read).max().map_or(0, |last| last + 1);
        let base = left.shared(read, |plan| self.named(plan, None));
        let no_null = keys.iter().map(|key| match key.kind {
            ExprKind::Column(at) if unnest::rejects_null(query, at, of_rows) => true,
            _ => is_never_null(&base, key),
        });
        let no_null = no_null.collect();
        let named = |key: &Expr| match key.kind {
            ExprKind::Column(at) => base.columns()[at].clone(),
            _ => build::computed(key),
        };
        let columns = keys.iter().map(named).collect();
        let input = Box::new(filtered(base.clone(), guards));
        let domain = Plan::Aggregate { input, keys: keys.clone(), aggregates: Vec::new(), always: Vec::new(), columns };
        // It is read once for each place of the query that reads outer columns.
        let domain = self.named(domain, None);
        Some((Unnest { domain, outer, no_null, functions: self.functions, carried: HashSet::new() }, keys))
    }

    /// The keys of a join with rows that begin with the values of these expressions.
    fn keyed(&self, unnest: &Unnest<'_>, keys: Vec<Expr>) -> Vec<(Expr, Expr)> {
        let pairs = keys.into_iter().enumerate().zip(&unnest.no_null);
        pairs
            .flat_map(|((at, key), no_null)| {
                let own = Expr::column(at, key.ty.clone());
                not_distinct(key, own, *no_null)
            })
            .collect()
    }
}

/// The columns of the place around it that a query reads.
fn outer_columns(query: &Plan) -> Vec<usize> {
    let mut outer = Vec::new();
    walk::visit_plan(query, 1, &mut |node, depth| match node.kind {
        ExprKind::Outer { depth: out, column } if out == depth => outer.push(column),
        _ => {}
    });
    outer.sort_unstable();
    outer.dedup();
    outer
}

fn is_correlated_query(node: &Expr, _: usize) -> bool {
    matches!(&node.kind, ExprKind::Subquery(subquery) if subquery.correlated)
}

fn has_query_in_condition(plan: &Plan) -> bool {
    matches!(plan, Plan::Join { filter: Some(filter), .. } if has_subquery(filter))
}

/// Whether there is a sample in a plan, which may differ from run to run.
fn has_sample(plan: &Plan) -> bool {
    let mut found = matches!(plan, Plan::Sample { .. });
    walk::plans(plan, &mut |below| found = found || has_sample(below));
    found
}

/// A join by a condition, of which the equalities are found.
fn join(kind: JoinKind, left: Plan, right: Plan, condition: Vec<Expr>) -> Plan {
    let (on, filter) = match walk::conjunction(condition) {
        Some(condition) => split_condition(condition, left.columns().len()),
        None => (Vec::new(), None),
    };
    Plan::join(kind, left, right, on, filter)
}
