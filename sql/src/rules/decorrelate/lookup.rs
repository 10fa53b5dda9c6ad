//! Correlated queries of an expression become columns that a left join adds to its input, and the expression reads these.

use super::build::{aggregate, call, case, columns_from, computed, count_of, is_null, not, or, settled};
use super::*;
use crate::plan::OutputColumn;
use crate::types::Type;

/// The plan to which answers are joined. Its columns stay where they are; answers come after them.
pub(super) struct Left {
    pub(super) plan: Plan,
    /// Whether it reads nothing further out.
    pub(super) closed: bool,
    /// The plan as it was when it was named: its rows have the same values.
    base: Option<Plan>,
}

impl Left {
    pub(super) fn new(plan: Plan, closed: bool) -> Left {
        Left { plan, closed, base: None }
    }

    /// Joins rows to the plan; where those columns of them begin that come after the first `own`.
    pub(super) fn join(&mut self, kind: JoinKind, rows: Plan, pairs: Vec<(Expr, Expr)>, own: usize) -> usize {
        let at = self.plan.columns().len() + own;
        let plan = std::mem::replace(&mut self.plan, nothing());
        self.plan = Plan::join(kind, plan, rows, pairs, None);
        at
    }

    /// The plan by a name, of which the first `columns` are read.
    pub(super) fn shared(&mut self, columns: usize, named: impl FnOnce(Plan) -> Plan) -> Plan {
        match &self.base {
            Some(base) if base.columns().len() >= columns => base.clone(),
            _ => {
                let plan = named(std::mem::replace(&mut self.plan, nothing()));
                self.plan = plan.clone();
                self.base = Some(plan.clone());
                plan
            }
        }
    }
}

/// A plan with a last column that tells its rows from the NULLs of a left join, of which the left side has `width` columns; and whether
/// there was no row.
pub(super) fn marked(plan: Plan, width: usize) -> (Plan, Expr) {
    let met = Expr::column(width + plan.columns().len(), Type::Bool);
    (extended(plan, vec![Expr::literal(Value::bool(true))]), is_null(met))
}

/// A value, or another where there was no row.
pub(super) fn or_missing(value: Expr, unmet: &Expr, missing: Expr) -> Expr {
    match &missing.kind {
        ExprKind::Literal(null) if null.is_null() => value,
        _ => case(vec![(unmet.clone(), missing)], value),
    }
}

/// Whether a query has one row at the most.
fn has_one_row(plan: &Plan) -> bool {
    match plan {
        Plan::Project { input, .. } | Plan::Sort { input, .. } | Plan::Filter { input, .. } => has_one_row(input),
        Plan::Distinct { input, .. } | Plan::Cte { input, .. } => has_one_row(input),
        Plan::Limit { input, limit, .. } => {
            limit.as_ref().and_then(pull::literal).is_some_and(|most| most <= 1) || has_one_row(input)
        }
        Plan::Aggregate { keys, .. } => keys.is_empty(),
        Plan::Values { rows, .. } => rows.len() <= 1,
        Plan::Join { kind: JoinKind::Semi | JoinKind::Anti, left, .. } => has_one_row(left),
        Plan::Join { left, right, .. } => has_one_row(left) && has_one_row(right),
        _ => false,
    }
}

/// One row a value of a query that may have several: the value, and how many there were. `width` is how many columns the domain has.
fn single(plan: Plan, width: usize, functions: &dyn Functions) -> Option<Plan> {
    let value = plan.columns()[width].clone();
    let keys = columns_from(&plan.columns()[..width], 0);
    let calls = vec![
        aggregate("any_value", vec![Expr::column(width, value.ty.clone())], functions)?,
        count_of(None, functions)?,
    ];
    let mut columns: Vec<OutputColumn> = plan.columns()[..width].to_vec();
    columns.extend([value, computed(&Expr::column(0, Type::Int8))]);
    Some(Plan::Aggregate { input: Box::new(plan), keys, aggregates: calls, always: Vec::new(), columns })
}

/// A condition that holds for a row unless what is before it has decided.
fn not_true(condition: &Expr) -> Expr {
    not(settled(condition.clone(), false))
}

/// A condition that is not false.
fn not_false(condition: &Expr) -> Expr {
    or(vec![settled(condition.clone(), true)])
}

impl Rule<'_> {
    /// Puts columns of the plan, which gets them, in place of an expression's queries. The expression is evaluated where the guards hold.
    pub(super) fn joined(&self, left: &mut Left, expr: &mut Expr, guards: &[Expr]) {
        if !has_subquery(expr) {
            return;
        }
        let mut guards = guards.to_vec();
        match &mut expr.kind {
            ExprKind::Case { branches, otherwise } => {
                for (condition, result) in branches {
                    self.joined(left, condition, &guards);
                    guards.push(condition.clone());
                    self.joined(left, result, &guards);
                    guards.pop();
                    guards.push(not_true(condition));
                }
                if let Some(otherwise) = otherwise {
                    self.joined(left, otherwise, &guards);
                }
            }
            ExprKind::And(_) | ExprKind::Or(_) | ExprKind::Coalesce(_) => {
                let goes_on: fn(&Expr) -> Expr = match expr.kind {
                    ExprKind::And(_) => not_false,
                    ExprKind::Or(_) => not_true,
                    _ => |value| is_null(value.clone()),
                };
                let (ExprKind::And(list) | ExprKind::Or(list) | ExprKind::Coalesce(list)) = &mut expr.kind else {
                    return;
                };
                for one in list {
                    self.joined(left, one, &guards);
                    guards.push(goes_on(one));
                }
            }
            _ => walk::children_mut(expr, &mut |child| self.joined(left, child, &guards)),
        }
        if let ExprKind::Subquery(subquery) = &expr.kind
            && let Some(value) = self.answered(left, subquery, &expr.ty, &guards)
        {
            *expr = value;
        }
    }

    /// What stands for a query's value once its answers are joined.
    fn answered(&self, left: &mut Left, subquery: &Subquery, ty: &Type, guards: &[Expr]) -> Option<Expr> {
        match subquery.kind {
            SubqueryKind::Any { .. } | SubqueryKind::All { .. } => self.quantified(left, subquery, guards),
            _ if !subquery.correlated => None,
            SubqueryKind::Scalar | SubqueryKind::Exists => match self.looked_up(subquery, ty, left) {
                Some(value) => Some(value),
                None => self.found(left, subquery, ty, guards),
            },
            SubqueryKind::Array => self.found(left, subquery, ty, guards),
        }
    }

    /// A query that is correlated by equalities only, as the right side of a left join that meets each row at most once.
    fn looked_up(&self, subquery: &Subquery, ty: &Type, left: &mut Left) -> Option<Expr> {
        let width = left.plan.columns().len();
        let is_exists = subquery.kind == SubqueryKind::Exists;
        let plan = if is_exists { exists(subquery.plan.clone()) } else { subquery.plan.clone() };
        if !is_exists && fallible::plan(&plan, self.functions, false) {
            return None;
        }
        let pulled = pull(plan, self.functions)?;
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
                pull::replace(condition, inner, &Expr::column(at, inner.ty.clone()));
            }
            let (keys, aggregates, always) = (inner, Vec::new(), Vec::new());
            right = Plan::Aggregate { input: Box::new(right), keys, aggregates, always, columns };
        }
        let (right, unmet) = marked(right, width);
        let conditions = conditions.into_iter().map(|condition| over_join(condition, width)).collect();
        let taken = std::mem::replace(&mut left.plan, nothing());
        left.plan = join(JoinKind::Left, taken, right, conditions);
        Some(match pulled.missing {
            None => not(unmet),
            Some(missing) => or_missing(Expr::column(width, ty.clone()), &unmet, missing.into_iter().next()?),
        })
    }

    /// Any other query by the values of its outer columns.
    fn found(&self, left: &mut Left, subquery: &Subquery, ty: &Type, guards: &[Expr]) -> Option<Expr> {
        let is_exists = subquery.kind == SubqueryKind::Exists;
        let query = if is_exists { exists(subquery.plan.clone()) } else { subquery.plan.clone() };
        let outer = outer_columns(&query);
        if outer.is_empty() {
            // What it read of the row makes no difference.
            let mut plan = query;
            walk::shift_plan(&mut plan, -1, 0);
            let plan = self.plan(plan, left.closed);
            let subquery = Subquery { kind: subquery.kind.clone(), plan, correlated: !left.closed };
            return left.closed.then(|| Expr::new(ExprKind::Subquery(Box::new(subquery)), ty.clone()));
        }
        let (mut unnest, keys) =
            self.unnest(left, &query, outer, Vec::new(), guards, subquery.kind != SubqueryKind::Array)?;
        let own = keys.len();
        let one_row = has_one_row(&query);
        let rows = match subquery.kind {
            SubqueryKind::Array => unnest.all_rows(query)?.into(),
            _ => unnest.rows(query)?,
        };
        let domain = &rows.plan.columns()[..own];
        let by_value = |plan: Plan, calls: Vec<crate::plan::AggregateCall>| {
            let mut columns = plan.columns()[..own].to_vec();
            columns.extend(calls.iter().map(|call| computed(&Expr::column(0, call.ty.clone()))));
            let keys = columns_from(&columns[..own], 0);
            Plan::Aggregate { input: Box::new(plan), keys, aggregates: calls, always: Vec::new(), columns }
        };
        let value_type = rows.plan.columns().get(own).map(|column| column.ty.clone());
        let (right, missing) = match &subquery.kind {
            // A row for every value.
            SubqueryKind::Exists if rows.missing.is_some() => return Some(Expr::literal(Value::bool(true))),
            SubqueryKind::Exists => {
                let columns = domain.to_vec();
                let keys = columns_from(&columns, 0);
                let (aggregates, always) = (Vec::new(), Vec::new());
                (Plan::Aggregate { input: Box::new(rows.plan), keys, aggregates, always, columns }, None)
            }
            SubqueryKind::Array => {
                let values = aggregate("array_agg", vec![Expr::column(own, value_type?)], self.functions)?;
                if values.ty != *ty {
                    return None;
                }
                (by_value(rows.plan, vec![values]), Some(Expr::new(ExprKind::Array(Vec::new()), ty.clone())))
            }
            _ => {
                let missing = rows.missing.and_then(|missing| missing.into_iter().next());
                let plan = match one_row {
                    true => rows.plan,
                    false => single(rows.plan, own, self.functions)?,
                };
                (plan, Some(missing.unwrap_or_else(|| Expr::literal(Value::null(ty.clone())))))
            }
        };
        let right = self.plan(right, true);
        let width = left.plan.columns().len();
        let (right, unmet) = marked(right, width);
        let at = left.join(JoinKind::Left, right, self.keyed(&unnest, keys), own);
        let value = Expr::column(at, ty.clone());
        match missing {
            None => Some(not(unmet)),
            Some(missing) if one_row || subquery.kind == SubqueryKind::Array => {
                Some(or_missing(value, &unmet, missing))
            }
            Some(_) => {
                let rows = Expr::column(at + 1, Type::Int8);
                call("weir_single_row", vec![value, rows], self.functions)
            }
        }
    }

    /// Makes a semi or anti join of a conjunct that asks whether there is a row, if it is one.
    pub(super) fn membership(&self, left: &mut Left, conjunct: &Expr) -> bool {
        let (subquery, kind) = match &conjunct.kind {
            ExprKind::Subquery(subquery) => (subquery, JoinKind::Semi),
            ExprKind::Not(inner) => match &inner.kind {
                ExprKind::Subquery(subquery) if subquery.kind == SubqueryKind::Exists => (subquery, JoinKind::Anti),
                _ => return false,
            },
            _ => return false,
        };
        match self.members(left, subquery) {
            Some((right, on, filter)) => {
                let taken = std::mem::replace(&mut left.plan, nothing());
                left.plan = Plan::join(kind, taken, right, on, filter);
                true
            }
            None => false,
        }
    }

    /// The right side of a semi or anti join, and its condition.
    #[expect(clippy::type_complexity, reason = "the parts of a join")]
    fn members(&self, left: &mut Left, subquery: &Subquery) -> Option<(Plan, Vec<(Expr, Expr)>, Option<Expr>)> {
        let width = left.plan.columns().len();
        let (values, query): (Vec<(Expr, crate::catalog::FunctionId)>, Plan) = match &subquery.kind {
            // Without outer columns it is known before the first row.
            SubqueryKind::Exists if subquery.correlated => (Vec::new(), exists(subquery.plan.clone())),
            SubqueryKind::Any { left: values, functions } => {
                let no_equality = |id| build::comparison(id, self.functions) != Some("=");
                if functions.iter().any(|id| no_equality(*id))
                    || values.iter().any(|value| has_subquery(value) || is_volatile(value, self.functions))
                {
                    return None;
                }
                (values.iter().cloned().zip(functions.iter().copied()).collect(), subquery.plan.clone())
            }
            _ => return None,
        };
        let equal = |first: usize, types: &[OutputColumn]| -> Vec<Expr> {
            let pair = |(at, (value, function)): (usize, &(Expr, crate::catalog::FunctionId))| {
                let args = vec![value.clone(), Expr::column(width + first + at, types[at].ty.clone())];
                Expr::new(ExprKind::Call { function: *function, name: "=".into(), args }, Type::Bool)
            };
            values.iter().enumerate().map(pair).collect()
        };
        let types = query.columns().to_vec();
        if let Some((right, conditions)) = uncorrelated(query.clone(), self.functions) {
            let mut all = equal(0, &types);
            all.extend(conditions.into_iter().map(|condition| over_join(condition, width)));
            let (on, filter) = walk::conjunction(all).map_or((Vec::new(), None), |all| split_condition(all, width));
            return Some((right, on, filter));
        }
        let (mut unnest, keys) = self.unnest(left, &query, outer_columns(&query), Vec::new(), &[], false)?;
        let own = keys.len();
        let right = unnest.all_rows(query)?;
        let right = self.plan(right, true);
        let mut on = self.keyed(&unnest, keys);
        let filter = walk::conjunction(equal(own, &types)).and_then(|all| {
            let (pairs, rest) = split_condition(all, width);
            on.extend(pairs);
            rest
        });
        Some((right, on, filter))
    }
}
