//! An aggregation over a table, answered from the states of a view on that table.
//!
//! Both are written over the table's own columns ([`Asked`]) and compared ([`ViewPlan::answer`]): the view leaves out no row that the query counts, what
//! else the query asks of rows is a function of the view's keys, and of each aggregate there are states. These are then merged by the query's keys,
//! which gives the same to the last bit, since no state depends on how rows were split (see [`crate::aggregates`]). (J. Goldstein and P.-Å. Larson,
//! "Optimizing Queries Using Materialized Views", SIGMOD 2001.)

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_sql::catalog::{ColumnInfo, Functions, NoStatistics, Relation, RelationKind};
use weir_sql::plan::{AggregateCall, Combinator, Expr, ExprKind, OutputColumn, Plan, Scan};
use weir_sql::{Type, walk};

use super::age::age_max;
use super::asker::Asker;
use super::{ViewPlan, scan_of};
use crate::exec::operators::Grouping;
use crate::functions::datetime_grain::{DAYS, Grain, cut, grain};
use crate::functions::{Implementation, registry};

/// What an aggregation asks of one table, over the table's columns.
pub(crate) struct Asked {
    /// The table.
    pub(crate) relation: Arc<Relation>,
    filters: Vec<Expr>,
    keys: Vec<Expr>,
    calls: Vec<AggregateCall>,
    columns: Vec<OutputColumn>,
}

/// A query over a view's states.
pub(crate) struct Answer {
    /// The query, in place of the aggregation.
    pub(crate) plan: Plan,
    /// How many columns it reads.
    pub(crate) width: usize,
}

impl Asked {
    /// What a plan asks; `None` of all but an aggregation over filters and projections of one relation.
    pub(crate) fn of(plan: &Plan, asker: &Asker) -> Option<Asked> {
        // As a view's plan is brought into form, so that what is written alike looks alike.
        let plan = weir_sql::rules::optimise_stored(plan.clone(), registry(), &NoStatistics);
        let Plan::Aggregate { input, keys, aggregates, always, columns } = &plan else { return None };
        if !always.is_empty() || walk::is_correlated(&plan) {
            return None;
        }
        let asked = Asked::over(input, keys, aggregates, columns, asker)?;
        let is_volatile = |expr: &Expr| weir_sql::rules::is_volatile(expr, registry());
        let mut refused = false;
        asked.parts(&mut |part| refused = refused || is_volatile(part) || weir_sql::rules::has_subquery(part));
        (!refused).then_some(asked)
    }

    fn over(
        input: &Plan,
        keys: &[Expr],
        calls: &[AggregateCall],
        columns: &[OutputColumn],
        asker: &Asker,
    ) -> Option<Asked> {
        let (scan, mut filters, exprs) = over_table(input)?;
        let settled = |expr: &mut Expr| {
            walk::substitute(expr, &exprs);
            asker.settle(expr);
        };
        let (mut keys, mut calls) = (keys.to_vec(), calls.to_vec());
        keys.iter_mut().for_each(settled);
        calls.iter_mut().for_each(|call| walk::aggregate_parts_mut(call, &mut |part| settled(part)));
        filters.iter_mut().for_each(|filter| asker.settle(filter));
        let filters = filters.into_iter().flat_map(walk::conjuncts).collect();
        Some(Asked { relation: scan.relation.clone(), filters, keys, calls, columns: columns.to_vec() })
    }

    fn parts(&self, f: &mut dyn FnMut(&Expr)) {
        self.filters.iter().chain(&self.keys).for_each(&mut *f);
        self.calls.iter().for_each(|call| walk::aggregate_parts(call, &mut |part| f(part)));
    }

    /// The greatest age, in microseconds by a moment in a column, of rows that it is about, from `now` on; `None` if it does not say.
    pub(crate) fn age_max(&self, column: usize, now: i64) -> Option<i64> {
        age_max(&self.filters, column, now)
    }

    /// How many of the table's columns it reads.
    pub(crate) fn width(&self) -> usize {
        let mut columns = BTreeSet::new();
        self.parts(&mut |part| columns.extend(walk::columns_read(part)));
        columns.len()
    }

    /// The arguments of a call, and the conditions under which a row counts.
    fn counted(&self, call: &AggregateCall) -> (Vec<Expr>, Vec<Expr>) {
        let (name, conditional) = registry().aggregate(call.function);
        let mut args = call.args.clone();
        let mut conditions: Vec<Expr> = call.filter.iter().cloned().collect();
        if conditional {
            conditions.extend(args.pop());
        }
        let is_there = |arg: &Expr| match &arg.kind {
            ExprKind::Column(column) => self.relation.columns.get(*column).is_some_and(|column| !column.nullable),
            ExprKind::Literal(value) => !value.is_null(),
            _ => false,
        };
        // What is never NULL is counted as rows are.
        if name == "count" && !call.distinct && call.combinator.is_none() && args.iter().all(is_there) {
            args.clear();
        }
        (args, conditions.into_iter().flat_map(walk::conjuncts).collect())
    }
}

/// The scan below filters and projections; the filters and what is projected, over the relation's columns.
fn over_table(plan: &Plan) -> Option<(&Scan, Vec<Expr>, Vec<Expr>)> {
    match plan {
        Plan::Scan(scan) => {
            // The column behind the last is a row's place.
            let column = |&at: &usize| Some(Expr::column(at, scan.relation.columns.get(at)?.ty.clone()));
            let exprs = scan.projection.iter().map(column).collect::<Option<_>>()?;
            Some((scan, scan.filters.clone(), exprs))
        }
        Plan::Filter { input, predicate } => {
            let (scan, mut filters, exprs) = over_table(input)?;
            let mut predicate = predicate.clone();
            walk::substitute(&mut predicate, &exprs);
            filters.push(predicate);
            Some((scan, filters, exprs))
        }
        Plan::Project { input, exprs, .. } => {
            let (scan, filters, below) = over_table(input)?;
            let mut exprs = exprs.clone();
            exprs.iter_mut().for_each(|expr| walk::substitute(expr, &below));
            Some((scan, filters, exprs))
        }
        _ => None,
    }
}

impl ViewPlan {
    /// What is asked of its input, answered from its states; `None` if they do not tell. `view` is the relation that it is.
    pub(crate) fn answer(&self, asked: &Asked, view: &Relation, asker: &Asker) -> Option<Answer> {
        let core = self.core.as_ref().filter(|core| core.always.is_empty())?;
        let [input] = self.inputs.as_slice() else { return None };
        if input.oid != asked.relation.oid {
            return None;
        }
        let own = Asked::over(&self.stage, &core.keys, &core.aggregates, &[], asker)?;
        let known = |filter: &Expr, among: &[Expr]| asker.is_fixed(filter) && among.contains(filter);
        if !own.filters.iter().all(|filter| known(filter, &asked.filters)) {
            return None;
        }
        let states = Grouping::new(&core.keys, &core.aggregates, &asker.context).ok()?.state_types();
        let kept = Kept { own, states, asker };
        let rest = asked.filters.iter().filter(|filter| !known(filter, &kept.own.filters));
        let conditions: Vec<Expr> = rest.map(|filter| kept.of_keys(filter)).collect::<Option<_>>()?;
        let keys: Vec<Expr> = asked.keys.iter().map(|key| kept.of_group(key)).collect::<Option<_>>()?;
        let calls: Vec<AggregateCall> = asked.calls.iter().map(|call| kept.call(call, asked)).collect::<Option<_>>()?;

        let mut read = BTreeSet::new();
        conditions.iter().chain(&keys).for_each(|expr| read.extend(walk::columns_read(expr)));
        calls.iter().for_each(|call| walk::aggregate_parts(call, &mut |part| read.extend(walk::columns_read(part))));
        let mut input = Plan::Scan(self.scan_of_states(view, &kept.states));
        if let Some(predicate) = walk::conjunction(conditions) {
            input = Plan::Filter { input: Box::new(input), predicate };
        }
        let (input, columns) = (Box::new(input), asked.columns.clone());
        let plan = Plan::Aggregate { input, keys, aggregates: calls, always: Vec::new(), columns };
        Some(Answer { plan, width: read.len() })
    }

    /// A scan of its own table. Keys are named as the view names them.
    fn scan_of_states(&self, view: &Relation, states: &[Vec<Type>]) -> Scan {
        let of_column = self.key_of_column();
        let name = |key: usize| match of_column.iter().position(|own| *own == Some(key)) {
            Some(column) => self.columns[column].name.clone(),
            None => format!("key_{key}"),
        };
        let keys = self.keys().into_iter().enumerate().map(|(key, expr)| OutputColumn::computed(name(key), expr.ty));
        let states = states.iter().flatten().map(|ty| OutputColumn::computed("state", ty.clone()));
        let columns: Vec<OutputColumn> = keys.chain(states).collect();
        let relation = Relation {
            oid: view.oid,
            schema: view.schema.clone(),
            name: view.name.clone(),
            kind: RelationKind::States,
            columns: columns.iter().map(|column| ColumnInfo::new(&column.name, column.ty.clone())).collect(),
            primary_key: Vec::new(),
        };
        Scan { relation: Arc::new(relation), ..scan_of(view.oid, &view.name, &columns) }
    }
}

/// What a view keeps.
struct Kept<'a> {
    own: Asked,
    /// Types of each aggregate's state.
    states: Vec<Vec<Type>>,
    asker: &'a Asker,
}

impl Kept<'_> {
    fn key(&self, key: usize) -> Expr {
        Expr::column(key, self.own.keys[key].ty.clone())
    }

    /// The key that is an expression over the table.
    fn same_key(&self, expr: &Expr) -> Option<usize> {
        self.own.keys.iter().position(|key| key == expr).filter(|_| self.asker.is_fixed(expr))
    }

    /// A group's key over the view's. Of one of the view's own it makes no difference if equal values can look different: a group shows the same of
    /// them either way.
    fn of_group(&self, expr: &Expr) -> Option<Expr> {
        self.same_key(expr).map(|key| self.key(key)).or_else(|| self.of_keys(expr))
    }

    /// An expression over the table as one over the view's keys, if it is the same for all rows of a group.
    fn of_keys(&self, expr: &Expr) -> Option<Expr> {
        if let Some(key) = self.same_key(expr).filter(|_| is_plain(&expr.ty)) {
            return Some(self.key(key));
        }
        if let Some(expr) = self.bounded(expr).or_else(|| self.coarser(expr)) {
            return Some(expr);
        }
        if let ExprKind::Column(_) | ExprKind::Lambda(_) | ExprKind::Subquery(_) | ExprKind::Outer { .. } = expr.kind {
            return None;
        }
        let (mut of_keys, mut told) = (expr.clone(), true);
        walk::children_mut(&mut of_keys, &mut |child| match self.of_keys(child) {
            Some(expr) => *child = expr,
            None => told = false,
        });
        told.then_some(of_keys)
    }

    /// The keys that cut this moment to windows, and these.
    fn cuts<'k>(&'k self, moment: &'k Expr) -> impl Iterator<Item = (usize, Grain)> + 'k {
        let is_fixed = self.asker.is_fixed(moment) && (self.asker.utc || moment.ty != Type::Timestamptz);
        let of = move |(at, key): (usize, &'k Expr)| {
            let (_, windows) = cut(key).filter(|(cut, _)| is_fixed && *cut == moment)?;
            Some((at, windows))
        };
        self.own.keys.iter().enumerate().filter_map(of)
    }

    /// A key that is the beginning of a window, as a moment of a type.
    fn beginning(&self, key: usize, ty: &Type) -> Expr {
        let key = self.key(key);
        if key.ty == *ty {
            return key;
        }
        Expr::new(ExprKind::Cast { expr: Box::new(key), explicit: false, lenient: false }, ty.clone())
    }

    /// What is computed of moments to a coarser unit than that to which a key cuts them.
    fn coarser(&self, expr: &Expr) -> Option<Expr> {
        let (moment, of) = grain(expr)?;
        let (key, _) = self.cuts(moment).find(|(_, windows)| windows.is_within(of))?;
        let mut coarser = expr.clone();
        walk::children_mut(&mut coarser, &mut |child| {
            if child == moment {
                *child = self.beginning(key, &moment.ty);
            }
        });
        Some(coarser)
    }

    /// A comparison of a moment with where a window of a key begins: it holds for all of a window or for nothing of it.
    fn bounded(&self, expr: &Expr) -> Option<Expr> {
        let ExprKind::Call { name, args, .. } = &expr.kind else { return None };
        let [left, right] = args.as_slice() else { return None };
        let (at, bound, turned) = match walk::columns_read(right).is_empty() {
            true => (0, right, false),
            false => (1, left, true),
        };
        let closed_below = match name.as_str() {
            ">=" | "<" => !turned,
            "<=" | ">" => turned,
            _ => return None,
        };
        let moment = &args[at];
        let fits = |windows: Grain| match (&bound.kind, closed_below) {
            (_, true) => is_beginning(bound, windows),
            (ExprKind::Literal(value), false) => windows.ends_at(value),
            _ => false,
        };
        let is_moment = bound.ty == moment.ty && walk::columns_read(bound).is_empty();
        let (key, _) = self.cuts(moment).find(|(_, windows)| is_moment && fits(*windows))?;
        let mut bounded = expr.clone();
        if let ExprKind::Call { args, .. } = &mut bounded.kind {
            args[at] = self.beginning(key, &moment.ty);
        }
        Some(bounded)
    }

    /// A call over the states.
    fn call(&self, call: &AggregateCall, asked: &Asked) -> Option<AggregateCall> {
        let Implementation::Aggregate(overload) = registry().implementation(call.function) else { return None };
        if overload.wants_position() || !overload.steady {
            return None;
        }
        let merged = (0..self.states.len()).find_map(|at| self.merged(at, call, asked));
        merged.or_else(|| {
            // Of what the rows of a group have in common, it makes no difference how many there are.
            let is_of_values = (call.distinct || overload.idempotent) && !overload.ordered_set;
            // Without keys there may be a state of no rows.
            if !is_of_values || call.combinator.is_some() || self.own.keys.is_empty() || call.args.is_empty() {
                return None;
            }
            let (mut of_keys, mut told) = (AggregateCall { order_by: Vec::new(), ..call.clone() }, true);
            walk::aggregate_parts_mut(&mut of_keys, &mut |part| match self.of_keys(part) {
                Some(expr) => *part = expr,
                None => told = false,
            });
            told.then_some(of_keys)
        })
    }

    /// A call over the states of one of the view's, if they are its own.
    fn merged(&self, at: usize, call: &AggregateCall, asked: &Asked) -> Option<AggregateCall> {
        let (functions, kept) = (registry(), &self.own.calls[at]);
        let is_plain = |of: &AggregateCall| matches!(of.combinator, None | Some(Combinator::State));
        let Implementation::Aggregate(overload) = functions.implementation(call.function) else { return None };
        let (args, conditions) = asked.counted(call);
        let (kept_args, kept_conditions) = self.own.counted(kept);
        let is_same = functions.aggregate(call.function).0 == functions.aggregate(kept.function).0
            && args == kept_args
            && args.iter().all(|arg| self.asker.is_fixed(arg))
            && (call.params == kept.params || functions.parameters_last(call.function))
            && call.distinct == kept.distinct
            && (!overload.ordered_set || call.order_by == kept.order_by)
            && (call.combinator == kept.combinator || is_plain(call) && is_plain(kept));
        let known = |filter: &Expr, among: &[Expr]| self.asker.is_fixed(filter) && among.contains(filter);
        if !is_same || !kept_conditions.iter().all(|condition| known(condition, &conditions)) {
            return None;
        }
        let states = Grouping::new(&[], std::slice::from_ref(call), &self.asker.context).ok()?.state_types();
        if states.first() != self.states.get(at) {
            return None;
        }
        let rest = conditions.iter().filter(|condition| !known(condition, &kept_conditions));
        let filter = walk::conjunction(rest.map(|condition| self.of_keys(condition)).collect::<Option<_>>()?);
        let first = self.own.keys.len() + self.states[..at].iter().map(Vec::len).sum::<usize>();
        let columns = self.states[at].iter().enumerate();
        Some(AggregateCall {
            function: call.function,
            name: call.name.clone(),
            params: Vec::new(),
            args: columns.map(|(part, ty)| Expr::column(first + part, ty.clone())).collect(),
            distinct: false,
            filter,
            order_by: Vec::new(),
            combinator: Some(Combinator::Stored(Arc::new(call.clone()))),
            ty: call.ty.clone(),
        })
    }
}

/// Whether something that is the same for all rows is where one of these windows begins, whenever it is asked.
fn is_beginning(expr: &Expr, windows: Grain) -> bool {
    if let ExprKind::Literal(value) = &expr.kind {
        return windows.begins_at(value);
    }
    // A day begins at midnight, also as a moment.
    let is_day = |expr: &Expr| expr.ty == Type::Date && windows.is_within(DAYS);
    if is_day(expr) || cut(expr).is_some_and(|(_, of)| windows.is_within(of)) {
        return true;
    }
    match &expr.kind {
        ExprKind::Cast { expr: inner, lenient: false, .. } => is_day(inner),
        ExprKind::Call { name, args, .. } => match (name.as_str(), args.as_slice()) {
            ("+" | "-", [from, Expr { kind: ExprKind::Literal(span), .. }]) => {
                is_beginning(from, windows) && windows.moves_by(span)
            }
            ("+", [Expr { kind: ExprKind::Literal(span), .. }, from]) => {
                is_beginning(from, windows) && windows.moves_by(span)
            }
            _ => false,
        },
        _ => false,
    }
}

/// Whether equal values of a type are the same whoever looks: 1.0 and 1.00 are not, nor 0 and -0.
fn is_plain(ty: &Type) -> bool {
    ty.is_integer()
        || matches!(
            ty,
            Type::Bool | Type::Date | Type::Timestamp | Type::Timestamptz | Type::Text | Type::Varchar(_) | Type::Uuid
        )
}
