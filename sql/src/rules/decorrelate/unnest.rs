//! A query that depends on the row around it, for all rows at once: the general method of Neumann and Kemper, "Unnesting Arbitrary Queries"
//! (BTW 2015).
//!
//! The *domain* is the distinct values of the outer columns that the query reads. [`Unnest::rows`] gives, for a query `q`, a plan of the domain's columns
//! and then `q`'s own: the rows that `q` has for each of the values. The domain takes the place of what reads nothing outer, and goes up through
//! the operators: more group keys, more columns that DISTINCT and set operations compare, partitions of windows; a LIMIT becomes a
//! condition on the number of a row among those of its value. What is beside it is joined by the domain's columns, NULL with NULL.
//!
//! Invariants: the query stands in a plan that reads nothing further out, so nothing in the result does; the domain's columns come first. Queries
//! in the query's expressions stay: what they read of the outer row they read of their own input then.

use std::collections::HashSet;

use super::build::{
    ascending, call, case, columns_from, extended, filtered, is_null, not_distinct, numbered, select, settled, sorted,
};
use super::function::{call_column, columns_of_call};
use super::pull::over_no_rows;
use crate::catalog::{FunctionId, Functions};
use crate::plan::{
    AggregateCall, Expr, ExprKind, FillRange, FrameBound, Gap, JoinKind, OutputColumn, Plan, SetKind, SortKey,
};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// What a query is to be made independent of.
pub(super) struct Unnest<'f> {
    /// The distinct values.
    pub(super) domain: Plan,
    /// Which outer column each of the domain's first columns is.
    pub(super) outer: Vec<usize>,
    /// Which of the domain's columns has no NULL.
    pub(super) no_null: Vec<bool>,
    pub(super) functions: &'f dyn Functions,
    /// Recursions whose working tables have the domain's columns.
    pub(super) carried: HashSet<usize>,
}

/// Rows for each value of the domain.
pub(super) struct Rows {
    pub(super) plan: Plan,
    /// The query's columns where a value of the domain is not among the rows; without them it has no row then.
    pub(super) missing: Option<Vec<Expr>>,
}

impl From<Plan> for Rows {
    fn from(plan: Plan) -> Rows {
        Rows { plan, missing: None }
    }
}

/// Whether an expression reads a column of the row around the query in which it stands.
pub(super) fn reads_outer(expr: &Expr) -> bool {
    walk::any(expr, &mut |node, depth| matches!(node.kind, ExprKind::Outer { depth: out, .. } if out == depth + 1))
}

impl Unnest<'_> {
    fn width(&self) -> usize {
        self.domain.columns().len()
    }

    fn keys(&self) -> Vec<Expr> {
        columns_from(self.domain.columns(), 0)
    }

    /// Equalities of the domain's columns, which are the first on both sides.
    fn same(&self) -> Vec<(Expr, Expr)> {
        let pairs = self.keys().into_iter().zip(&self.no_null);
        pairs.flat_map(|(key, no_null)| not_distinct(key.clone(), key, *no_null)).collect()
    }

    fn needs(&self, plan: &Plan) -> bool {
        fn carries(plan: &Plan, ids: &HashSet<usize>) -> bool {
            let mut found = matches!(plan, Plan::WorkingTable { id, .. } if ids.contains(id));
            walk::inputs(plan, &mut |input, _| found = found || carries(input, ids));
            found
        }
        walk::reads_level(plan, 1) || carries(plan, &self.carried)
    }

    /// An expression over an operator's input, whose columns `place` moves, as it reads the domain's columns at `first`. `depth` is how many levels
    /// below the operator it stands.
    fn moved(&self, expr: &mut Expr, depth: usize, first: usize, place: &dyn Fn(usize) -> usize) {
        walk::visit_mut(expr, depth, &mut |node, depth| match &mut node.kind {
            ExprKind::Column(column) if depth == 0 => *column = place(*column),
            ExprKind::Outer { depth: out, column } if *out == depth => *column = place(*column),
            ExprKind::Outer { depth: out, column } if *out == depth + 1 => {
                let column = first + self.outer.iter().position(|outer| outer == column).unwrap_or(0);
                node.kind = match depth {
                    0 => ExprKind::Column(column),
                    depth => ExprKind::Outer { depth, column },
                };
            }
            ExprKind::Outer { depth: out, .. } if *out > depth => *out -= 1,
            _ => {}
        });
    }

    /// The same where the domain's columns are before the input's.
    fn over(&self, mut expr: Expr) -> Expr {
        let width = self.width();
        self.moved(&mut expr, 0, 0, &|column| column + width);
        expr
    }

    fn all_over(&self, exprs: Vec<Expr>) -> Vec<Expr> {
        exprs.into_iter().map(|expr| self.over(expr)).collect()
    }

    fn sort_keys(&self, keys: Vec<SortKey>) -> Vec<SortKey> {
        keys.into_iter().map(|key| SortKey { expr: self.over(key.expr), ..key }).collect()
    }

    fn columns(&self, own: Vec<OutputColumn>) -> Vec<OutputColumn> {
        self.domain.columns().iter().cloned().chain(own).collect()
    }

    fn aggregate_call(&self, mut call: AggregateCall) -> AggregateCall {
        walk::aggregate_parts_mut(&mut call, &mut |part| *part = self.over(part.clone()));
        call
    }

    /// Every row of a query that reads nothing outer, for each value.
    fn beside(&self, mut plan: Plan) -> Plan {
        walk::shift_plan(&mut plan, -1, 0);
        Plan::join(JoinKind::Inner, self.domain.clone(), plan, Vec::new(), None)
    }

    /// The rows for each value, those that are there without any among them.
    pub(super) fn all_rows(&mut self, plan: Plan) -> Option<Plan> {
        let rows = self.rows(plan)?;
        let Some(missing) = rows.missing else { return Some(rows.plan) };
        let (width, own) = (self.width(), rows.plan.columns().len());
        let columns = rows.plan.columns().to_vec();
        let marked = extended(rows.plan, vec![Expr::literal(Value::bool(true))]);
        let joined = Plan::join(JoinKind::Left, self.domain.clone(), marked, self.same(), None);
        let unmet = is_null(Expr::column(width + own, Type::Bool));
        let mut exprs = self.keys();
        for (at, missing) in missing.into_iter().enumerate() {
            let value = Expr::column(2 * width + at, columns[width + at].ty.clone());
            exprs.push(case(vec![(unmet.clone(), missing)], value));
        }
        Some(Plan::Project { input: Box::new(joined), exprs, columns })
    }

    /// The rows for each value; `None` if what the query does cannot be done for all at once.
    pub(super) fn rows(&mut self, plan: Plan) -> Option<Rows> {
        if !self.needs(&plan) {
            return Some(self.beside(plan).into());
        }
        let width = self.width();
        let plan = match plan {
            Plan::Scan(_) | Plan::CteScan { .. } | Plan::With { .. } | Plan::Sample { .. } => return None,
            Plan::Cte { input, .. } => return self.rows(*input),
            Plan::WorkingTable { id, columns } => Plan::WorkingTable { id, columns: self.columns(columns) },
            Plan::Values { rows, columns } => self.values(rows, columns)?,
            Plan::TableFunction { function, args, named_args, columns, ordinality, name } => {
                if !named_args.is_empty() {
                    return None;
                }
                self.table_function((function, name), args, columns, ordinality)?
            }
            Plan::Filter { input, predicate } => {
                let input = self.all_rows(*input)?;
                Plan::Filter { input: Box::new(input), predicate: self.over(predicate) }
            }
            Plan::Project { input, exprs, columns } => return self.project(*input, exprs, columns),
            Plan::ProjectSet { input, calls, columns } => {
                let input = Box::new(self.all_rows(*input)?);
                let calls = calls.into_iter().map(|(function, args)| (function, self.all_over(args))).collect();
                Plan::ProjectSet { input, calls, columns: self.columns(columns) }
            }
            Plan::Window { input, partition_by, order_by, mut calls, columns } => {
                let mut fixed = true;
                calls.iter().for_each(|call| {
                    for bound in [&call.frame.start, &call.frame.end] {
                        if let FrameBound::Preceding(offset) | FrameBound::Following(offset) = bound {
                            fixed &= !reads_outer(&offset.value);
                        }
                    }
                });
                if !fixed {
                    return None;
                }
                let order: Vec<SortKey> =
                    ascending(partition_by.clone()).into_iter().chain(order_by.iter().cloned()).collect();
                let input = self.in_order(*input, order)?;
                let partition_by = self.keys().into_iter().chain(self.all_over(partition_by)).collect();
                let order_by = self.sort_keys(order_by);
                calls.iter_mut().for_each(|call| {
                    walk::window_parts_mut(call, &mut |part| *part = self.over(part.clone()));
                });
                let columns = self.columns(columns);
                Plan::Window { input: Box::new(input), partition_by, order_by, calls, columns }
            }
            Plan::Aggregate { input, keys, aggregates, always, columns } => {
                return self.aggregate(*input, keys, aggregates, always, columns);
            }
            Plan::Sort { input, keys } => sorted(self.all_rows(*input)?, self.sort_keys(keys)),
            Plan::Limit { input, limit, offset } => self.limit(*input, limit, offset)?,
            Plan::Distinct { input, on } => {
                let input = Box::new(self.all_rows(*input)?);
                let on = on.map(|on| self.keys().into_iter().chain(self.all_over(on)).collect());
                Plan::Distinct { input, on }
            }
            Plan::Join { .. } => self.join(plan)?,
            Plan::NearestJoin { kind: JoinKind::Right | JoinKind::Full, .. }
            | Plan::NearestJoin { filter: Some(_), .. } => {
                return None;
            }
            Plan::NearestJoin { kind, left, right, on, order, filter, columns } => {
                let right_needs = self.needs(&right)
                    || on.iter().any(|(_, key)| reads_outer(key))
                    || order.iter().any(|order| reads_outer(&order.right));
                let left = Box::new(self.all_rows(*left)?);
                let own = if right_needs { width } else { 0 };
                let right = if right_needs { self.all_rows(*right)? } else { shifted(*right) };
                let right_key = |key: Expr| if right_needs { self.over(key) } else { key };
                let mut pairs: Vec<(Expr, Expr)> = if right_needs { self.same() } else { Vec::new() };
                pairs.extend(on.into_iter().map(|(a, b)| (self.over(a), right_key(b))));
                let order = order.map(|mut order| {
                    order.left = self.over(order.left);
                    order.right = right_key(order.right);
                    order
                });
                let (left_width, all) = (left.columns().len(), left.columns().len() + right.columns().len());
                let shown = left.columns().iter().chain(right.columns()).cloned().collect();
                let right = Box::new(right);
                let joined = Plan::NearestJoin { kind, left, right, on: pairs, order, filter, columns: shown };
                let places: Vec<usize> = (0..left_width).chain(left_width + own..all).collect();
                debug_assert_eq!(places.len(), width + columns.len(), "the domain's columns and its own");
                select(joined, &places)
            }
            Plan::Fill { input, partition_by, mut ranges, mut values } => {
                let bounds =
                    |range: &FillRange| [&range.from, &range.to, &range.zone].into_iter().flatten().any(reads_outer);
                if ranges.iter().any(|range| reads_outer(&range.step) || bounds(range)) {
                    return None;
                }
                let input = Box::new(self.in_order(*input, Vec::new())?);
                ranges.iter_mut().for_each(|range| range.key += width);
                values.iter_mut().for_each(|gap| gap.rename_columns(&|column| column + width));
                let partition_by = (0..width).chain(partition_by.into_iter().map(|at| at + width)).collect();
                let values = std::iter::repeat_n(Gap::Null, width).chain(values).collect();
                Plan::Fill { input, partition_by, ranges, values }
            }
            Plan::SetOperation { kind, all, left, right, columns } => {
                let (left, right) = (Box::new(self.all_rows(*left)?), Box::new(self.all_rows(*right)?));
                Plan::SetOperation { kind, all, left, right, columns: self.columns(columns) }
            }
            Plan::Recursive { id, base, step, all, columns } => {
                if reads_working_table_in_queries(&step, id) {
                    return None;
                }
                let base = Box::new(self.all_rows(*base)?);
                self.carried.insert(id);
                let step = Box::new(self.all_rows(*step)?);
                Plan::Recursive { id, base, step, all, columns: self.columns(columns) }
            }
        };
        Some(plan.into())
    }

    /// A plan in order of its values, and of each in its own order, or else in that of `keys`.
    fn in_order(&mut self, plan: Plan, keys: Vec<SortKey>) -> Option<Plan> {
        let (input, keys) = match plan {
            Plan::Sort { input, keys } => (*input, keys),
            other => (other, keys),
        };
        let input = self.all_rows(input)?;
        let keys = ascending(self.keys()).into_iter().chain(self.sort_keys(keys)).collect();
        Some(sorted(input, keys))
    }

    fn values(&self, rows: Vec<Vec<Expr>>, columns: Vec<OutputColumn>) -> Option<Plan> {
        let row = |row: Vec<Expr>| {
            let exprs = self.keys().into_iter().chain(self.all_over(row)).collect();
            let columns = self.columns(columns.clone());
            Plan::Project { input: Box::new(self.domain.clone()), exprs, columns }
        };
        let union = |left: Plan, right: Plan| {
            let (left, right) = (Box::new(left), Box::new(right));
            Plan::SetOperation { kind: SetKind::Union, all: true, left, right, columns: self.columns(columns.clone()) }
        };
        rows.into_iter().map(row).reduce(union)
    }

    fn table_function(
        &self,
        (function, name): (FunctionId, String),
        args: Vec<Expr>,
        columns: Vec<OutputColumn>,
        ordinality: bool,
    ) -> Option<Plan> {
        let width = self.width();
        let given = &columns[..columns.len() - usize::from(ordinality)];
        let of_call = call_column(name, given)?;
        let value = Expr::column(width, of_call.ty.clone());
        let calls = vec![(function, self.all_over(args))];
        let input = Box::new(self.domain.clone());
        let mut plan = Plan::ProjectSet { input, calls, columns: self.columns(vec![of_call]) };
        if ordinality {
            plan = numbered(plan, self.keys(), Vec::new(), self.functions)?;
        }
        let mut exprs = self.keys();
        exprs.extend(columns_of_call(value, given));
        if ordinality {
            exprs.push(Expr::column(width + 1, Type::Int8));
        }
        Some(Plan::Project { input: Box::new(plan), exprs, columns: self.columns(columns) })
    }

    fn project(&mut self, input: Plan, exprs: Vec<Expr>, columns: Vec<OutputColumn>) -> Option<Rows> {
        let depends = exprs.iter().any(reads_outer);
        let mut rows = match depends {
            true => self.all_rows(input)?.into(),
            false => self.rows(input)?,
        };
        if let Some(missing) = &mut rows.missing {
            let values = exprs.iter().map(|expr| {
                let mut value = expr.clone();
                walk::substitute(&mut value, missing);
                value
            });
            *missing = values.collect();
        }
        let exprs = self.keys().into_iter().chain(self.all_over(exprs)).collect();
        rows.plan = Plan::Project { input: Box::new(rows.plan), exprs, columns: self.columns(columns) };
        Some(rows)
    }

    fn aggregate(
        &mut self,
        input: Plan,
        keys: Vec<Expr>,
        aggregates: Vec<AggregateCall>,
        always: Vec<i32>,
        columns: Vec<OutputColumn>,
    ) -> Option<Rows> {
        if keys.is_empty()
            && let Some(rows) = self.running(&input, &aggregates, &columns)
        {
            return Some(rows);
        }
        let input = self.all_rows(input)?;
        let (scalar, own_keys) = (keys.is_empty(), keys.len());
        let keys: Vec<Expr> = self.keys().into_iter().chain(self.all_over(keys)).collect();
        let aggregates: Vec<AggregateCall> = aggregates.into_iter().map(|call| self.aggregate_call(call)).collect();
        let columns = self.columns(columns);
        let missing: Option<Vec<Expr>> = aggregates.iter().map(over_no_rows).collect();
        let has_all = !scalar && always.is_empty();
        if missing.is_some() || has_all {
            let plan = Plan::Aggregate {
                input: Box::new(input),
                keys,
                aggregates,
                always: Vec::new(),
                columns: columns.clone(),
            };
            return match (always.is_empty(), missing) {
                (true, missing) => Some(Rows { plan, missing: missing.filter(|_| scalar) }),
                (false, missing) => self.with_groups(plan, own_keys, &always, missing?, columns).map(Rows::from),
            };
        }
        if !always.is_empty() {
            return None;
        }
        // What these are over no rows is for them to say: each value gets a row that no aggregate takes.
        let mut parts = Vec::new();
        let first = input.columns().len();
        let mut aggregates = aggregates;
        for call in &mut aggregates {
            walk::aggregate_parts_mut(call, &mut |part| {
                let width = self.width();
                let column = Expr::column(width + first + parts.len(), part.ty.clone());
                parts.push(std::mem::replace(part, column));
            });
        }
        let met = Expr::column(self.width() + first + parts.len(), Type::Bool);
        parts.push(Expr::literal(Value::bool(true)));
        let joined = Plan::join(JoinKind::Left, self.domain.clone(), extended(input, parts), self.same(), None);
        for call in &mut aggregates {
            let conditions = call.filter.take().into_iter().chain([settled(met.clone(), false)]);
            call.filter = walk::conjunction(conditions.collect());
        }
        Some(Plan::Aggregate { input: Box::new(joined), keys, aggregates, always, columns }.into())
    }

    /// Groups of GROUPING SETS, with those for each value that are there over no rows.
    fn with_groups(
        &self,
        plan: Plan,
        own_keys: usize,
        always: &[i32],
        missing: Vec<Expr>,
        columns: Vec<OutputColumn>,
    ) -> Option<Plan> {
        let (width, set) = (self.width(), self.width() + own_keys - 1);
        let ids = always.iter().map(|id| vec![Expr::literal(Value::int4(*id))]).collect();
        let of_set = OutputColumn { name: "set".into(), ..columns[set].clone() };
        if of_set.ty != Type::Int4 {
            return None;
        }
        let ids = Plan::Values { rows: ids, columns: vec![of_set] };
        let wanted = Plan::join(JoinKind::Inner, self.domain.clone(), ids, Vec::new(), None);
        let marked = extended(plan, vec![Expr::literal(Value::bool(true))]);
        let mut on = self.same();
        on.push((Expr::column(width, Type::Int4), Expr::column(set, Type::Int4)));
        let joined = Plan::join(JoinKind::Full, wanted, marked, on, None);
        let unmet = is_null(Expr::column(width + 1 + columns.len(), Type::Bool));
        let place = |at: usize| Expr::column(width + 1 + at, columns[at].ty.clone());
        let either = |left: usize, right: Expr| {
            let ty = right.ty.clone();
            Expr::new(ExprKind::Coalesce(vec![Expr::column(left, ty.clone()), right]), ty)
        };
        let exprs = (0..columns.len()).map(|at| match at {
            at if at < width => either(at, place(at)),
            at if at == set => either(width, place(at)),
            at if at < set => place(at),
            at => case(vec![(unmet.clone(), missing[at - set - 1].clone())], place(at)),
        });
        Some(Plan::Project { exprs: exprs.collect(), input: Box::new(joined), columns })
    }

    fn limit(&mut self, input: Plan, limit: Option<Expr>, offset: Option<Expr>) -> Option<Plan> {
        if let Plan::Project { input, exprs, columns } = input {
            // It stays above.
            let below = self.limit(*input, limit, offset)?;
            let exprs = self.keys().into_iter().chain(self.all_over(exprs)).collect();
            return Some(Plan::Project { input: Box::new(below), exprs, columns: self.columns(columns) });
        }
        let keys = self.sort_keys(order_of(&input));
        let plan = match input {
            Plan::Sort { input, .. } => self.all_rows(*input)?,
            other => self.all_rows(other)?,
        };
        let columns = plan.columns().to_vec();
        if offset.is_none() && limit.as_ref().is_some_and(|limit| super::pull::literal(limit) == Some(1)) {
            // The first row of each value.
            let input = if keys.is_empty() { plan } else { sorted(plan, keys) };
            return Some(Plan::Distinct { input: Box::new(input), on: Some(self.keys()) });
        }
        let plan = numbered(plan, self.keys(), keys, self.functions)?;
        let number = Expr::column(columns.len(), Type::Int8);
        let no_bound = || Expr::literal(Value::null(Type::Int8));
        let bounds = [limit, offset].map(|bound| bound.map_or_else(no_bound, |bound| self.over(bound)));
        let args: Vec<Expr> = [number].into_iter().chain(bounds).collect();
        let plan = filtered(plan, vec![call("weir_within_limit", args, self.functions)?]);
        Some(super::build::first_columns(plan, columns))
    }

    fn join(&mut self, plan: Plan) -> Option<Plan> {
        let Plan::Join { kind, left, right, on, filter, lateral, build_left, columns } = plan else { return None };
        let width = self.width();
        let (own_left, own_right) = (left.columns().len(), right.columns().len());
        if lateral {
            let left = Box::new(self.all_rows(*left)?);
            let mut right = right;
            walk::visit_plan_mut(&mut right, 1, &mut |node, depth| {
                if matches!(node.kind, ExprKind::Outer { .. }) {
                    self.moved(node, depth, 0, &|column| column + width);
                }
            });
            let on = on.into_iter().map(|(a, b)| (self.over(a), b)).collect();
            let filter = filter.map(|filter| self.over(filter));
            return Some(Plan::Join {
                kind,
                left,
                right,
                on,
                filter,
                lateral,
                build_left,
                columns: self.columns(columns),
            });
        }
        let right_needs = self.needs(&right) || on.iter().any(|(_, key)| reads_outer(key));
        let left_needs = self.needs(&left) || on.iter().any(|(key, _)| reads_outer(key));
        let (with_left, with_right) = match kind {
            JoinKind::Inner if right_needs && !left_needs => (false, true),
            JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti => (true, right_needs),
            JoinKind::Right => (left_needs, true),
            JoinKind::Full => (true, true),
        };
        let left = if with_left { self.all_rows(*left)? } else { shifted(*left) };
        let right = if with_right { self.all_rows(*right)? } else { shifted(*right) };
        let of_left = if with_left { width } else { 0 };
        let of_right = if with_right { width } else { 0 };
        let wide_left = left.columns().len();
        let first = if with_left { 0 } else { wide_left };
        let key = |mut key: Expr, has_domain: bool| {
            let by = if has_domain { width } else { 0 };
            self.moved(&mut key, 0, 0, &|column| column + by);
            key
        };
        let mut pairs = if with_left && with_right { self.same() } else { Vec::new() };
        pairs.extend(on.into_iter().map(|(a, b)| (key(a, with_left), key(b, with_right))));
        let place =
            |column: usize| if column < own_left { of_left + column } else { wide_left + of_right + column - own_left };
        let filter = filter.map(|mut filter| {
            self.moved(&mut filter, 0, first, &place);
            filter
        });
        let narrow = matches!(kind, JoinKind::Semi | JoinKind::Anti);
        let joined = Plan::join(kind, left, right, pairs, filter);
        if kind == JoinKind::Full {
            let keys = self.keys().into_iter().enumerate().map(|(at, key)| {
                let ty = key.ty.clone();
                Expr::new(ExprKind::Coalesce(vec![key, Expr::column(wide_left + at, ty.clone())]), ty)
            });
            let own = (0..own_left + own_right).map(|at| Expr::column(place(at), columns[at].ty.clone()));
            let exprs = keys.chain(own).collect();
            return Some(Plan::Project { input: Box::new(joined), exprs, columns: self.columns(columns) });
        }
        let shown = if narrow { own_left } else { own_left + own_right };
        // A right join's domain is the right side's.
        let first = if kind == JoinKind::Right { wide_left } else { first };
        let places: Vec<usize> = (first..first + width).chain((0..shown).map(place)).collect();
        Some(match places.iter().copied().eq(0..joined.columns().len()) {
            true => joined,
            false => select(joined, &places),
        })
    }
}

/// Whether a query has no row where an outer column is NULL. If it is `top`, an aggregation of all its rows counts as having none then: its value is
/// what is known to be missing.
pub(super) fn rejects_null(plan: &Plan, column: usize, top: bool) -> bool {
    match plan {
        Plan::Filter { input, predicate } => {
            let rejects = walk::conjuncts(predicate.clone()).iter().any(|conjunct| match &conjunct.kind {
                ExprKind::Call { name, args, .. } if matches!(name.as_str(), "=" | "<>" | "<" | "<=" | ">" | ">=") => {
                    args.iter().any(|arg| arg.kind == ExprKind::Outer { depth: 1, column })
                }
                _ => false,
            });
            rejects || rejects_null(input, column, false)
        }
        Plan::Project { input, exprs, .. } => rejects_null(input, column, top && !exprs.iter().any(reads_outer)),
        Plan::Sort { input, .. } | Plan::Limit { input, .. } | Plan::Distinct { input, .. } => {
            rejects_null(input, column, false)
        }
        Plan::Aggregate { input, keys, aggregates, always, .. } => {
            let has_row = keys.is_empty() && !(top && aggregates.iter().all(|call| over_no_rows(call).is_some()));
            !has_row && always.is_empty() && rejects_null(input, column, false)
        }
        _ => false,
    }
}

/// The order that a plan's rows are in.
fn order_of(plan: &Plan) -> Vec<SortKey> {
    match plan {
        Plan::Sort { keys, .. } => keys.clone(),
        Plan::Distinct { input, on: Some(_) } | Plan::Filter { input, .. } | Plan::Limit { input, .. } => {
            order_of(input)
        }
        Plan::Fill { input, partition_by, ranges, .. } => {
            let column = |at: usize| Expr::column(at, input.columns()[at].ty.clone());
            let mut keys = ascending(partition_by.iter().map(|&at| column(at)).collect());
            keys.extend(ranges.iter().map(|range| {
                let (expr, descending) = (column(range.key), range.descending);
                SortKey { expr, descending, nulls_first: descending }
            }));
            keys
        }
        _ => Vec::new(),
    }
}

/// A plan that reads nothing outer, one level further out.
fn shifted(mut plan: Plan) -> Plan {
    walk::shift_plan(&mut plan, -1, 0);
    plan
}

/// Whether queries in expressions of a recursion's step read its working table.
fn reads_working_table_in_queries(plan: &Plan, of: usize) -> bool {
    fn reads(plan: &Plan, of: usize) -> bool {
        let mut found = matches!(plan, Plan::WorkingTable { id, .. } if *id == of);
        walk::plans(plan, &mut |below| found = found || reads(below, of));
        found
    }
    let mut found = false;
    walk::expressions(plan, &mut |expr| walk::queries(expr, &mut |query| found = found || reads(query, of)));
    walk::inputs(plan, &mut |input, _| found = found || reads_working_table_in_queries(input, of));
    found
}
