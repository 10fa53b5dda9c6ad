//! How a change of one input changes the rows of a stage.
//!
//! Of rows that came to an input, or went from it, [`reached`] makes a plan over them and the other inputs that gives at least the rows of the stage that
//! came or went with them. What an outer join puts out besides, or an anti join, depends on rows that are not there: their partners are
//! looked for instead, which are enough to know the groups that change. Where [`adds`] holds it gives exactly those rows, so that what comes
//! need only be added. (The delta rules of Gupta and Mumick, "Maintenance of Materialized Views", 1995.)

use weir_sql::Value;
use weir_sql::plan::{Expr, JoinKind, OutputColumn, Plan, SetKind};
use weir_sql::walk;

/// Which of a join's sides.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
}

/// Whether a scan of this oid is in a plan.
fn has(plan: &Plan, oid: u32) -> bool {
    let mut found = matches!(plan, Plan::Scan(scan) if scan.relation.oid == oid);
    walk::inputs(plan, &mut |input, _| found = found || has(input, oid));
    found
}

/// Whether rows that come to the scan of this oid add rows to the stage, and change none.
pub(super) fn adds(stage: &Plan, oid: u32) -> bool {
    if let Plan::Join { kind, left, .. } = stage {
        let side = if has(left, oid) { Side::Left } else { Side::Right };
        if !is_kept(*kind, side) {
            return false;
        }
    }
    let mut below = true;
    walk::inputs(stage, &mut |input, _| below = below && (!has(input, oid) || adds(input, oid)));
    below
}

/// Whether each row of this side of a join gives its rows by itself.
fn is_kept(kind: JoinKind, side: Side) -> bool {
    match kind {
        JoinKind::Inner => true,
        JoinKind::Left | JoinKind::Semi | JoinKind::Anti => side == Side::Left,
        JoinKind::Right => side == Side::Right,
        JoinKind::Full => false,
    }
}

/// A plan that gives all rows of the stage which come and go with rows of the scan of this oid, and perhaps others, where that scan gives the rows
/// that came or went.
pub(super) fn reached(stage: &Plan, oid: u32) -> Plan {
    match stage {
        Plan::Filter { input, predicate } => {
            Plan::Filter { input: Box::new(reached(input, oid)), predicate: predicate.clone() }
        }
        Plan::Project { input, exprs, columns } => {
            Plan::Project { input: Box::new(reached(input, oid)), exprs: exprs.clone(), columns: columns.clone() }
        }
        Plan::ProjectSet { input, calls, columns } => {
            Plan::ProjectSet { input: Box::new(reached(input, oid)), calls: calls.clone(), columns: columns.clone() }
        }
        Plan::SetOperation { left, right, .. } => reached(if has(left, oid) { left } else { right }, oid),
        Plan::Join { kind, left, right, on, filter, columns, .. } => {
            let side = if has(left, oid) { Side::Left } else { Side::Right };
            let joined = |kind: JoinKind| {
                let (mut left, mut right) = (left.clone(), right.clone());
                let changed = if side == Side::Left { &mut left } else { &mut right };
                **changed = reached(changed, oid);
                let (on, filter, columns) = (on.clone(), filter.clone(), columns.clone());
                Plan::Join { kind, left, right, on, filter, lateral: false, build_left: false, columns }
            };
            let bare = |kept: Side| alone(joined(JoinKind::Inner), kept, left.columns().len());
            match (kind, side) {
                (kind, side) if is_kept(*kind, side) => joined(*kind),
                (JoinKind::Semi | JoinKind::Anti, _) => joined(JoinKind::Semi),
                (JoinKind::Full, Side::Left) => both(joined(JoinKind::Left), bare(Side::Right)),
                (JoinKind::Full, Side::Right) => both(joined(JoinKind::Right), bare(Side::Left)),
                (_, Side::Left) => both(joined(JoinKind::Inner), bare(Side::Right)),
                (_, Side::Right) => both(joined(JoinKind::Inner), bare(Side::Left)),
            }
        }
        other => other.clone(),
    }
}

/// The rows of a join with one side's columns alone, as if the other had no partner for them.
fn alone(join: Plan, kept: Side, width: usize) -> Plan {
    let columns: Vec<OutputColumn> = join.columns().to_vec();
    let value = |(at, column): (usize, &OutputColumn)| {
        let side = if at < width { Side::Left } else { Side::Right };
        match side == kept {
            true => Expr::column(at, column.ty.clone()),
            false => Expr::literal(Value::null(column.ty.clone())),
        }
    };
    let exprs = columns.iter().enumerate().map(value).collect();
    Plan::Project { input: Box::new(join), exprs, columns }
}

fn both(left: Plan, right: Plan) -> Plan {
    let columns = left.columns().to_vec();
    Plan::SetOperation { kind: SetKind::Union, all: true, left: Box::new(left), right: Box::new(right), columns }
}
