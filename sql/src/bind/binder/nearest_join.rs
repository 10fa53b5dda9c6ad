//! ASOF and ANY joins: each left row with one row of the right.
//!
//! The condition is bound as any join's. Of an ASOF join it is equalities and one inequality: the one that ON has, or for USING `>=` between
//! the last of the columns, as DuckDB and ClickHouse have it.

use super::Binder;
use super::from::Item;
use super::join::Condition;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::joins::Strictness;
use crate::plan::{Expr, ExprKind, JoinKind, Nearest, Plan};
use crate::types::Type;
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
        let word = if strictness == Strictness::Asof { "ASOF" } else { "ANY" };
        let refused = match kind {
            JoinKind::Inner if strictness == Strictness::Any => Some("INNER"),
            JoinKind::Right => Some("RIGHT"),
            JoinKind::Full => Some("FULL"),
            JoinKind::Semi => Some("SEMI"),
            JoinKind::Anti => Some("ANTI"),
            JoinKind::Inner | JoinKind::Left => None,
        };
        if let Some(refused) = refused {
            return Err(Error::new(ErrorKind::Unsupported, format!("{word} {refused} JOIN is not supported")));
        }
        let using = matches!(condition, Some(Condition::Using(_)));
        let width = left.scope.columns.len();
        let Item { plan, scope } = self.join(left, right, kind, false, condition)?;
        let Plan::Join { left, right, mut on, filter, columns, .. } = plan else { return Ok(Item { plan, scope }) };
        let mut rest = filter.map(walk::conjuncts).unwrap_or_default();
        let order = match strictness {
            Strictness::Asof if using && rest.is_empty() => on.pop().map(|(left, right)| (left, right, ">=")),
            Strictness::Asof if using => {
                let message = "columns in the USING clause of ASOF JOIN must be of the same types";
                return Err(Error::new(ErrorKind::DatatypeMismatch, message).with_hint("Use ON with casts."));
            }
            Strictness::Asof => {
                let at = rest.iter().position(|conjunct| inequality(conjunct, width).is_some());
                at.and_then(|at| inequality(&rest.remove(at), width))
            }
            _ => None,
        };
        if strictness == Strictness::Asof && order.is_none() {
            let error = Error::new(ErrorKind::Syntax, "ASOF JOIN needs an inequality between its sides");
            return Err(error.with_hint("For example, ON a.key = b.key AND a.ts >= b.ts, or USING (key, ts)."));
        }
        if !rest.is_empty() {
            let message = match strictness {
                Strictness::Asof => "ASOF JOIN takes equalities and one inequality between its sides",
                _ => "ANY JOIN takes equalities between its sides",
            };
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_hint("Put other conditions into WHERE, or into a query in the place of the table."));
        }
        let order = match order {
            Some((left, right, symbol)) => {
                let (mut sides, _) = self.unify(vec![left, right], "ASOF JOIN")?;
                let (right, left) = (sides.remove(1), sides.remove(0));
                Some(Nearest { left, right, before: symbol.starts_with('>'), equal: symbol.ends_with('=') })
            }
            None => None,
        };
        Ok(Item { plan: Plan::NearestJoin { kind, left, right, on, order, columns }, scope })
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
