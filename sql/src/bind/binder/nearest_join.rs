//! ASOF and ANY joins: each left row with one row of the right.
//!
//! The condition is bound as any join's. Of an ASOF join it has one inequality: the first that ON has, or for USING `>=` between the last of the
//! columns, as DuckDB and ClickHouse have it. What else is asked is asked of a pair before it is the nearest. A condition on one side alone
//! is a key of that side that is to be true. ANY RIGHT is ANY LEFT the other way round; ANY INNER takes the first left row of each key.

use super::Binder;
use super::from::Item;
use super::join::Condition;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::joins::Strictness;
use crate::plan::{Expr, ExprKind, JoinKind, Nearest, OutputColumn, Plan, SortKey};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

impl Binder<'_> {
    pub(super) fn nearest_join(
        &mut self,
        left: Item,
        right: Item,
        kind: JoinKind,
        condition: Option<Condition<'_>>,
        strictness: Strictness,
    ) -> Result<Item> {
        let asof = strictness == Strictness::Asof;
        // There is a nearest row where there is any.
        if matches!(kind, JoinKind::Semi | JoinKind::Anti) {
            return self.join(left, right, kind, false, condition);
        }
        let using = matches!(condition, Some(Condition::Using(_)));
        let width = left.scope.columns.len();
        let Item { plan, scope } = self.join(left, right, kind, false, condition)?;
        let Plan::Join { left, right, mut on, filter, columns, .. } = plan else { return Ok(Item { plan, scope }) };
        let mut rest = filter.map(walk::conjuncts).unwrap_or_default();
        let order = match using {
            _ if !asof => None,
            true if rest.is_empty() => on.pop().map(|(left, right)| (left, right, ">=")),
            true => {
                let message = "columns in the USING clause of ASOF JOIN must be of the same types";
                return Err(Error::new(ErrorKind::DatatypeMismatch, message).with_hint("Use ON with casts."));
            }
            false => {
                let at = rest.iter().position(|conjunct| inequality(conjunct, width).is_some());
                at.and_then(|at| inequality(&rest.remove(at), width))
            }
        };
        if asof && order.is_none() {
            let error = Error::new(ErrorKind::Syntax, "ASOF JOIN needs an inequality between its sides");
            return Err(error.with_hint("For example, ON a.key = b.key AND a.ts >= b.ts, or USING (key, ts)."));
        }
        if asof && rest.iter().any(|conjunct| inequality(conjunct, width).is_some()) {
            return Err(Error::new(ErrorKind::Syntax, "ASOF JOIN takes one inequality between its sides")
                .with_hint("Which row is the nearest is told by one: put the others into WHERE."));
        }
        let mut of_both = Vec::new();
        for conjunct in rest {
            let truth = Expr::literal(Value::bool(true));
            match side(&conjunct, width) {
                Some(Side::Left) => on.push((conjunct, truth)),
                Some(Side::Right) => {
                    let mut conjunct = conjunct;
                    walk::rename_columns(&mut conjunct, &|column| column - width);
                    on.push((truth, conjunct));
                }
                None => of_both.push(conjunct),
            }
        }
        let order = match order {
            Some((left, right, symbol)) => {
                let (mut sides, _) = self.unify(vec![left, right], "ASOF JOIN")?;
                let (right, left) = (sides.remove(1), sides.remove(0));
                Some(Box::new(Nearest { left, right, before: symbol.starts_with('>'), equal: symbol.ends_with('=') }))
            }
            None => None,
        };
        let filter = walk::conjunction(of_both);
        let plan = match kind {
            JoinKind::Right if !asof => any_right(*left, *right, on, filter, columns),
            JoinKind::Inner if !asof && filter.is_some() => {
                let error = Error::new(ErrorKind::Unsupported, "ANY INNER JOIN takes equalities between its sides");
                return Err(error.with_hint("Use ANY LEFT or ANY RIGHT, or put the condition into WHERE."));
            }
            JoinKind::Inner if !asof => {
                let keys = on.iter().map(|(key, _)| key.clone()).collect();
                let shown: Vec<usize> = (0..width).chain(width + 1..=columns.len()).collect();
                let left = Box::new(self.first_of_each(*left, keys)?);
                let both = left.columns().iter().chain(right.columns()).cloned().collect();
                let joined = Plan::NearestJoin { kind, left, right, on, order, filter, columns: both };
                picked(joined, &shown, columns)
            }
            _ => Plan::NearestJoin { kind, left, right, on, order, filter, columns },
        };
        Ok(Item { plan, scope })
    }

    /// The first row for each value of the keys, and its number beside it.
    fn first_of_each(&mut self, input: Plan, keys: Vec<Expr>) -> Result<Plan> {
        let mut columns = input.columns().to_vec();
        let number = Expr::column(columns.len(), Type::Int8);
        columns.push(OutputColumn::computed("row_number", Type::Int8));
        let calls = vec![super::window::numbering("row_number", self.functions)?];
        let key = |expr: &Expr| SortKey { expr: expr.clone(), descending: false, nulls_first: false };
        let input = Box::new(Plan::Sort { input: Box::new(input), keys: keys.iter().map(key).collect() });
        let numbered = Plan::Window { input, partition_by: keys, order_by: Vec::new(), calls, columns };
        let predicate = self.operator("=", vec![number, Expr::literal(Value::int8(1))])?;
        Ok(Plan::Filter { input: Box::new(numbered), predicate })
    }
}

/// Each right row with the first left row that it meets.
fn any_right(
    left: Plan,
    right: Plan,
    on: Vec<(Expr, Expr)>,
    mut filter: Option<Expr>,
    columns: Vec<OutputColumn>,
) -> Plan {
    let (width, other) = (left.columns().len(), right.columns().len());
    let swapped = |column: usize| if column < width { other + column } else { column - width };
    filter.iter_mut().for_each(|filter| walk::rename_columns(filter, &swapped));
    let on = on.into_iter().map(|(left, right)| (right, left)).collect();
    let both = right.columns().iter().chain(left.columns()).cloned().collect();
    let (left, right) = (Box::new(right), Box::new(left));
    let joined = Plan::NearestJoin { kind: JoinKind::Left, left, right, on, order: None, filter, columns: both };
    let shown: Vec<usize> = (0..width + other).map(swapped).collect();
    picked(joined, &shown, columns)
}

/// Some columns of a plan, called as they are to be.
fn picked(plan: Plan, places: &[usize], columns: Vec<OutputColumn>) -> Plan {
    let exprs = places.iter().zip(&columns).map(|(&place, column)| Expr::column(place, column.ty.clone())).collect();
    Plan::Project { input: Box::new(plan), exprs, columns }
}

/// Whose columns a condition reads.
enum Side {
    Left,
    Right,
}

/// The one side that a condition reads.
fn side(condition: &Expr, width: usize) -> Option<Side> {
    if walk::any(condition, &mut |node, _| matches!(node.kind, ExprKind::Subquery(_))) {
        return None;
    }
    let reads = walk::columns_read(condition);
    match () {
        () if reads.iter().all(|&column| column < width) => Some(Side::Left),
        () if reads.iter().all(|&column| column >= width) => Some(Side::Right),
        () => None,
    }
}

/// `left >= right` and its kin where each side reads only its own input, as keys over those.
fn inequality(conjunct: &Expr, width: usize) -> Option<(Expr, Expr, &'static str)> {
    let ExprKind::Call { name, args, .. } = &conjunct.kind else { return None };
    let [a, b] = args.as_slice() else { return None };
    let (symbol, flipped) = match name.as_str() {
        ">=" => (">=", "<="),
        ">" => (">", "<"),
        "<=" => ("<=", ">="),
        "<" => ("<", ">"),
        _ => return None,
    };
    let (reads_a, reads_b) = (walk::columns_read(a), walk::columns_read(b));
    let is_left = |reads: &[usize]| !reads.is_empty() && reads.iter().all(|&column| column < width);
    let is_right = |reads: &[usize]| !reads.is_empty() && reads.iter().all(|&column| column >= width);
    let (left, right, symbol) = match () {
        () if is_left(&reads_a) && is_right(&reads_b) => (a, b, symbol),
        () if is_right(&reads_a) && is_left(&reads_b) => (b, a, flipped),
        () => return None,
    };
    let mut right = right.clone();
    walk::rename_columns(&mut right, &|column| column - width);
    Some((uncast(left.clone()), uncast(right), symbol))
}

/// Without the implicit cast that the operator took.
fn uncast(expr: Expr) -> Expr {
    match expr.kind {
        ExprKind::Cast { expr: inner, explicit: false, lenient: false } if inner.ty != Type::Unknown => *inner,
        kind => Expr::new(kind, expr.ty),
    }
}
