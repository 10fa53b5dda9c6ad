//! `x op ANY (query)` and `x op ALL (query)`, IN and NOT IN among them, in all three values of logic.
//!
//! What an order says of all rows it says of the least or the greatest: `x > ALL (q)` is `x > max(q)`. One row of counts and ends for each value of
//! the query's outer columns answers these. `=` asks whether the value is among the rows: a join with the distinct ones. With either, the counts
//! of rows and of those that are not NULL say whether the answer is NULL where it is not settled: so a NULL in the query, or to the left,
//! makes NOT IN neither true nor false. Rows of several values, and other operators, are compared pair by pair, once for each value.

use super::build::{aggregate, and, case, columns_from, comparison, computed, count_of, is_null, not, or};
use super::*;
use crate::catalog::FunctionId;
use crate::plan::{AggregateCall, OutputColumn};
use crate::types::Type;

fn truth(value: bool) -> Expr {
    Expr::literal(Value::bool(value))
}

fn unknown() -> Expr {
    Expr::literal(Value::null(Type::Bool))
}

impl Rule<'_> {
    /// What stands for the comparison once the query's answers are joined.
    pub(super) fn quantified(&self, left: &mut Left, subquery: &Subquery, guards: &[Expr]) -> Option<Expr> {
        let (values, ids, all) = match &subquery.kind {
            SubqueryKind::Any { left, functions } => (left, functions, false),
            SubqueryKind::All { left, functions } => (left, functions, true),
            _ => return None,
        };
        if !left.closed || values.iter().any(|value| has_subquery(value) || is_volatile(value, self.functions)) {
            return None;
        }
        // A left side that may fail is not evaluated where it would not be.
        let guarded: Vec<Expr> = values.iter().map(|value| self.where_reached(value, guards)).collect();
        if guarded.iter().any(|value| is_volatile(value, self.functions) || has_subquery(value)) {
            return None;
        }
        if let ([value], [id]) = (guarded.as_slice(), ids.as_slice())
            && let Some(op) = comparison(*id, self.functions)
            && *subquery.plan.columns()[0].ty.to_string() != *"json"
        {
            let among = matches!((op, all), ("=", false) | ("<>", true));
            // A set that is made once, and asked by hash.
            if among && !subquery.correlated {
                return None;
            }
            let tried = match among {
                true => self.among(left, &subquery.plan, (value, *id), all, guards),
                false => self.by_ends(left, &subquery.plan, (value, op, *id), all, guards),
            };
            if tried.is_some() {
                return tried;
            }
        }
        self.by_pairs(left, &subquery.plan, guarded, ids, all, guards)
    }

    fn where_reached(&self, value: &Expr, guards: &[Expr]) -> Expr {
        if guards.is_empty() || !fallible::expr(value, self.functions, true) {
            return value.clone();
        }
        let otherwise = Some(Box::new(Expr::literal(Value::null(value.ty.clone()))));
        let branches = vec![(and(guards.to_vec()), value.clone())];
        Expr::new(ExprKind::Case { branches, otherwise }, value.ty.clone())
    }

    /// Joins to the plan the aggregates of a query's rows; where they are, the last of the columns.
    fn summed(&self, left: &mut Left, query: &Plan, calls: Vec<AggregateCall>, guards: &[Expr]) -> Option<usize> {
        let columns = calls.iter().map(|call| computed(&Expr::column(0, call.ty.clone()))).collect();
        let input = Box::new(query.clone());
        let query = Plan::Aggregate { input, keys: Vec::new(), aggregates: calls, always: Vec::new(), columns };
        let outer = outer_columns(&query);
        if outer.is_empty() {
            if share::has_volatile(&query, self.functions) || has_sample(&query) {
                return None;
            }
            let mut right = query;
            walk::shift_plan(&mut right, -1, 0);
            // There is exactly one row.
            return Some(left.join(JoinKind::Inner, right, Vec::new(), 0));
        }
        let (mut unnest, keys) = self.unnest(left, &query, outer, Vec::new(), guards, true)?;
        let own = keys.len();
        let rows = self.plan(unnest.rows(query)?.plan, true);
        Some(left.join(JoinKind::Left, rows, self.keyed(&unnest, keys), own))
    }

    /// The rows of a query for each value of its outer columns and of more expressions, after those; and what makes them independent.
    fn answers(
        &self,
        left: &mut Left,
        query: &Plan,
        more: Vec<Expr>,
        guards: &[Expr],
    ) -> Option<(Plan, unnest::Unnest<'_>, Vec<Expr>)> {
        let (mut unnest, keys) = self.unnest(left, query, outer_columns(query), more, guards, false)?;
        let rows = unnest.all_rows(query.clone())?;
        Some((self.plan(rows, true), unnest, keys))
    }

    fn compared(&self, (value, op, id): (&Expr, &str, FunctionId), with: Expr) -> Expr {
        let args = vec![value.clone(), with];
        Expr::new(ExprKind::Call { function: id, name: op.into(), args }, Type::Bool)
    }

    /// By the least and the greatest of the rows.
    fn by_ends(
        &self,
        left: &mut Left,
        query: &Plan,
        (value, op, id): (&Expr, &str, FunctionId),
        all: bool,
        guards: &[Expr],
    ) -> Option<Expr> {
        let ty = query.columns()[0].ty.clone();
        let ends: &[&str] = match (op, all) {
            ("<" | "<=", false) | (">" | ">=", true) => &["max"],
            (">" | ">=", false) | ("<" | "<=", true) => &["min"],
            _ => &["min", "max"],
        };
        let end = |name: &&str| {
            let call = aggregate(name, vec![Expr::column(0, ty.clone())], self.functions)?;
            (call.ty == ty).then_some(call)
        };
        let mut calls = vec![
            count_of(None, self.functions)?,
            aggregate("count", vec![Expr::column(0, ty.clone())], self.functions)?,
        ];
        calls.extend(ends.iter().map(end).collect::<Option<Vec<_>>>()?);
        let at = self.summed(left, query, calls, guards)?;
        let (count, valid) = (Expr::column(at, Type::Int8), Expr::column(at + 1, Type::Int8));
        let of_ends = (0..ends.len()).map(|nth| self.compared((value, op, id), Expr::column(at + 2 + nth, ty.clone())));
        let of_ends: Vec<Expr> = of_ends.collect();
        let settles = if all { or(of_ends.into_iter().map(not).collect()) } else { or(of_ends) };
        self.settled(settles, value, count, valid, all)
    }

    /// What a comparison with rows is: settled by one of them, or by there being none, or NULL if a value was, or the other truth.
    fn settled(&self, settles: Expr, value: &Expr, count: Expr, valid: Expr, all: bool) -> Option<Expr> {
        let zero = Expr::literal(Value::int8(0));
        let count = Expr::new(ExprKind::Coalesce(vec![count, zero.clone()]), Type::Int8);
        let none = build::call("=", vec![count.clone(), zero], self.functions)?;
        let some_null = build::call("<", vec![valid, count], self.functions)?;
        let branches =
            vec![(settles, truth(!all)), (none, truth(all)), (or(vec![is_null(value.clone()), some_null]), unknown())];
        Some(case(branches, truth(all)))
    }

    /// Whether a value is among the rows.
    fn among(
        &self,
        left: &mut Left,
        query: &Plan,
        (value, id): (&Expr, FunctionId),
        all: bool,
        guards: &[Expr],
    ) -> Option<Expr> {
        let ty = query.columns()[0].ty.clone();
        let equality = self.functions.overloads("=").iter().find(|signature| match all {
            true => {
                let types: Vec<_> = signature.params.iter().collect();
                let unequal = self.functions.overloads("<>").iter().find(|other| other.id == id);
                unequal.is_some_and(|other| other.params.iter().collect::<Vec<_>>() == types)
            }
            false => signature.id == id,
        })?;
        // A key of a join reads a column.
        let width = left.plan.columns().len();
        let right = Expr::column(width, ty.clone());
        split_condition(self.compared((value, "=", equality.id), right), width).0.first()?;
        let valid = aggregate("count", vec![Expr::column(0, ty.clone())], self.functions)?;
        let at = self.summed(left, query, vec![count_of(None, self.functions)?, valid], guards)?;
        // For the value as well: is there a row that is equal?
        let (rows, mut unnest, keys) = self.answers(left, query, vec![value.clone()], guards)?;
        let own = keys.len();
        let sought = Expr::column(own - 1, value.ty.clone());
        let equal = self.compared((&sought, "=", equality.id), Expr::column(own, ty));
        let columns = rows.columns()[..own].to_vec();
        let met = Plan::Aggregate {
            input: Box::new(filtered(rows, vec![equal])),
            keys: columns_from(&columns, 0),
            aggregates: Vec::new(),
            always: Vec::new(),
            columns,
        };
        unnest.no_null[own - 1] = true;
        let (right, unmet) = lookup::marked(met, left.plan.columns().len());
        left.join(JoinKind::Left, right, self.keyed(&unnest, keys), own);
        let (count, valid) = (Expr::column(at, Type::Int8), Expr::column(at + 1, Type::Int8));
        self.settled(not(unmet), value, count, valid, all)
    }

    /// By every pair of a value and a row.
    fn by_pairs(
        &self,
        left: &mut Left,
        query: &Plan,
        values: Vec<Expr>,
        ids: &[FunctionId],
        all: bool,
        guards: &[Expr],
    ) -> Option<Expr> {
        let types: Vec<Type> = query.columns().iter().map(|column| column.ty.clone()).collect();
        let count = values.len();
        let (rows, unnest, keys) = self.answers(left, query, values.clone(), guards)?;
        let own = keys.len();
        let each = values.iter().zip(ids).zip(&types).enumerate().map(|(at, ((value, id), ty))| {
            let value = Expr::column(own - count + at, value.ty.clone());
            let op = comparison(*id, self.functions).unwrap_or("op");
            self.compared((&value, op, *id), Expr::column(own + at, ty.clone()))
        });
        let condition = and(each.collect());
        let settles = if all { not(condition.clone()) } else { condition.clone() };
        let calls = vec![count_of(Some(settles), self.functions)?, count_of(Some(is_null(condition)), self.functions)?];
        let mut columns: Vec<OutputColumn> = rows.columns()[..own].to_vec();
        columns.extend(calls.iter().map(|call| computed(&Expr::column(0, call.ty.clone()))));
        let (input, always) = (Box::new(rows), Vec::new());
        let counted =
            Plan::Aggregate { input, keys: columns_from(&columns[..own], 0), aggregates: calls, always, columns };
        let at = left.join(JoinKind::Left, counted, self.keyed(&unnest, keys), own);
        let some = |at: usize| {
            let zero = Expr::literal(Value::int8(0));
            build::call(">", vec![Expr::column(at, Type::Int8), zero], self.functions)
        };
        Some(case(vec![(some(at)?, truth(!all)), (some(at + 1)?, unknown())], truth(all)))
    }
}
