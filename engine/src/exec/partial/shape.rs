//! Which SELECTs a materialized view can keep, and where they are split.
//!
//! Below the lowest aggregation stands the *stage*: scans, filters, projections, joins and UNION ALL, whose rows change in a way that follows
//! from the rows that came and went. What stands above runs when the view is read.

use std::sync::Arc;

use weir_sql::catalog::{Relation, RelationKind, Volatility};
use weir_sql::plan::{Expr, ExprKind, Plan, SetKind};
use weir_sql::{ErrorKind as SqlErrorKind, walk};

use super::OCCURRENCES;
use crate::error::{Error, ErrorKind, Result};
use crate::functions::registry;
use crate::functions::watermark::WATERMARK;

/// The node below which everything is stored: the lowest aggregate, or else the lowest run of filters and projections. And whether it is
/// an aggregate.
pub(super) fn stored_place(plan: &mut Plan) -> Result<(&mut Plan, bool)> {
    if !has_aggregate(plan)? {
        let mut place = plan;
        while !is_stage(place) {
            place = input_mut(place).ok_or_else(|| unsupported("its SELECT reads no table"))?;
        }
        return Ok((place, false));
    }
    let mut place = plan;
    loop {
        let lowest = match &*place {
            Plan::Aggregate { input, .. } => !has_aggregate(input)?,
            _ => false,
        };
        if lowest {
            return Ok((place, true));
        }
        place = input_mut(place).ok_or_else(|| unsupported("its SELECT reads no table"))?;
    }
}

fn has_aggregate(plan: &Plan) -> Result<bool> {
    match plan {
        Plan::Aggregate { .. } => Ok(true),
        Plan::Scan(_) => Ok(false),
        Plan::Filter { input, .. }
        | Plan::Project { input, .. }
        | Plan::ProjectSet { input, .. }
        | Plan::Sort { input, .. }
        | Plan::Limit { input, .. }
        | Plan::Distinct { input, .. } => has_aggregate(input),
        Plan::Window { input, .. } => match has_aggregate(input)? {
            true => Ok(true),
            false => Err(unsupported("a new row changes the window functions of others")),
        },
        Plan::Sample { .. } | Plan::Fill { .. } => Err(unsupported("samples and fills are made when they are read")),
        Plan::Join { left, right, .. } => match has_aggregate(left)? || has_aggregate(right)? {
            false => Ok(false),
            true => Err(unsupported("a join over an aggregation is not one of rows")
                .with_hint("Make the aggregation a materialized view of its own, and join that.")),
        },
        Plan::SetOperation { kind: SetKind::Union, all: true, left, right, .. } => {
            match has_aggregate(left)? || has_aggregate(right)? {
                false => Ok(false),
                true => Err(unsupported("a UNION ALL over aggregations is not one of rows")
                    .with_hint("Aggregate over the UNION ALL, or make each a materialized view of its own.")),
            }
        }
        Plan::SetOperation { .. } => Err(unsupported("UNION, INTERSECT and EXCEPT compare all rows with all others")
            .with_hint("UNION ALL can be kept; a GROUP BY over it drops duplicates.")),
        Plan::NearestJoin { .. } => {
            Err(unsupported("a new row of an ASOF join may be nearer to old ones than what they were joined to"))
        }
        Plan::Cte { input, .. } | Plan::With { body: input, .. } => has_aggregate(input),
        Plan::Recursive { .. } | Plan::WorkingTable { .. } | Plan::CteScan { .. } => {
            Err(unsupported("WITH RECURSIVE is not supported in a materialized view"))
        }
        Plan::Values { .. } => Ok(false),
        Plan::TableFunction { name, .. } => Err(unsupported(&format!("of what {name}() reads no change is told"))),
    }
}

fn input_mut(plan: &mut Plan) -> Option<&mut Plan> {
    match plan {
        Plan::Filter { input, .. }
        | Plan::Project { input, .. }
        | Plan::ProjectSet { input, .. }
        | Plan::Aggregate { input, .. }
        | Plan::Window { input, .. }
        | Plan::Sort { input, .. }
        | Plan::Limit { input, .. }
        | Plan::Distinct { input, .. } => Some(input),
        _ => None,
    }
}

/// Whether what a plan gives follows, row by row, from rows of its scans.
fn is_stage(plan: &Plan) -> bool {
    match plan {
        Plan::Scan(_) | Plan::Values { .. } => true,
        Plan::Filter { input, .. } | Plan::Project { input, .. } | Plan::ProjectSet { input, .. } => is_stage(input),
        Plan::Join { left, right, lateral, .. } => !lateral && is_stage(left) && is_stage(right),
        Plan::SetOperation { kind: SetKind::Union, all: true, left, right, .. } => is_stage(left) && is_stage(right),
        _ => false,
    }
}

/// Whether each row of the input gives rows by itself, whatever other rows there are.
pub(super) fn is_linear(stage: &Plan) -> bool {
    let mut linear = !matches!(stage, Plan::Join { .. });
    walk::inputs(stage, &mut |input, _| linear = linear && is_linear(input));
    linear
}

/// Whether each row of a view comes from one group of states, or one stored row, alone.
pub(super) fn is_local(rest: &Plan) -> bool {
    match rest {
        Plan::Scan(_) => true,
        Plan::Filter { input, .. }
        | Plan::Project { input, .. }
        | Plan::ProjectSet { input, .. }
        | Plan::Sort { input, .. } => is_local(input),
        _ => false,
    }
}

/// Gives each scan of a stage a relation of its own, numbered from [`OCCURRENCES`] down, and lists what they were.
pub(super) fn number_scans(stage: &mut Plan, inputs: &mut Vec<Arc<Relation>>) -> Result<()> {
    if let Plan::Scan(scan) = stage {
        if !matches!(scan.relation.kind, RelationKind::Table | RelationKind::MaterializedView) {
            return Err(unsupported(&format!("of \"{}\" no change is told", scan.relation.name)));
        }
        let oid = OCCURRENCES - inputs.len() as u32;
        let occurrence = Arc::new(Relation { oid, ..Relation::clone(&scan.relation) });
        inputs.push(std::mem::replace(&mut scan.relation, occurrence));
    }
    let mut result = Ok(());
    walk::inputs_mut(stage, &mut |input, _| {
        if result.is_ok() {
            result = number_scans(input, inputs);
        }
    });
    result
}

pub(super) fn check_stage(plan: &Plan) -> Result<()> {
    if !is_stage(plan) {
        return Err(unsupported(
            "what stands below the aggregation (DISTINCT, LIMIT, a correlated subquery) is not row by row",
        ));
    }
    let mut result = Ok(());
    walk::visit_plan(plan, 0, &mut |node, _| {
        if result.is_ok() {
            result = check_node(node);
        }
    });
    result
}

pub(super) fn check_expr(expr: &Expr) -> Result<()> {
    let mut result = Ok(());
    walk::visit(expr, 0, &mut |node, _| {
        if result.is_ok() {
            result = check_node(node);
        }
    });
    result
}

fn check_node(expr: &Expr) -> Result<()> {
    const CLOCKS: &[&str] = &[
        "now",
        "current_timestamp",
        "transaction_timestamp",
        "statement_timestamp",
        "clock_timestamp",
        "localtimestamp",
        "current_date",
        "current_time",
        "localtime",
        "today",
        "yesterday",
        "timeofday",
        "now64",
        // No clock, but it goes on like one.
        WATERMARK,
    ];
    match &expr.kind {
        ExprKind::Subquery(_) => {
            Err(unsupported("a subquery below the aggregation cannot be kept up to date row by row")
                .with_hint("A join, IN, EXISTS and NOT EXISTS can."))
        }
        ExprKind::Parameter(_) => Err(unsupported("it may not have parameters")),
        ExprKind::Call { function, name, .. }
            if registry().volatility(*function) == Volatility::Volatile
                || CLOCKS.contains(&name.to_ascii_lowercase().as_str()) =>
        {
            Err(unsupported(&format!("{name}() gives another answer at another time")))
        }
        _ => Ok(()),
    }
}

/// What is above the stored place sees its rows only: no relation in a query of an expression.
pub(super) fn check_rest(plan: &Plan) -> Result<()> {
    fn scans(plan: &Plan) -> bool {
        let mut found = matches!(plan, Plan::Scan(_));
        walk::plans(plan, &mut |below| found = found || scans(below));
        found
    }
    let mut found = false;
    walk::expressions(plan, &mut |expr| walk::queries(expr, &mut |query| found = found || scans(query)));
    if found {
        return Err(unsupported("a subquery reads a table whose changes the view does not see"));
    }
    let mut result = Ok(());
    walk::inputs(plan, &mut |input, _| result = result.clone().and_then(|()| check_rest(input)));
    result
}

pub(super) fn unsupported(why: &str) -> Error {
    Error::new(ErrorKind::Sql(SqlErrorKind::Unsupported), "this materialized view cannot be kept up to date")
        .with_detail(format!("The reason: {why}."))
}
