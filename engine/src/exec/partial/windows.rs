//! Which columns of a view are bounds of windows of event time, and of which times.
//!
//! A column is followed down through the plan, as it was bound, to the call that computes it: the end of TUMBLE, HOP or CUMULATE in any spelling, or a
//! time that is cut to a unit (date_trunc, time_bucket, date_bin, toStartOf…), which begins a window as long as the unit.

use arrow::array::AsArray;
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType};
use weir_sql::Type;
use weir_sql::plan::{Expr, ExprKind, Plan, SetKind};

use crate::format::interval;

/// What a column of a plan says of time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Traced {
    pub(crate) bound: Bound,
    /// The columns that the time is of, by relation and index: one a table that UNION ALL puts together.
    pub(crate) times: Vec<(u32, usize)>,
}

/// How a column comes from a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    /// It is the time.
    Time,
    /// The start of its window, which is so long, where that is known.
    Start(Option<IntervalMonthDayNano>),
    /// The end of its window.
    End,
}

/// What a column of a plan is, if it comes from a time.
pub(crate) fn traced(plan: &Plan, column: usize) -> Option<Traced> {
    match plan {
        Plan::Scan(scan) => {
            let time = (scan.relation.oid, *scan.projection.get(column)?);
            Some(Traced { bound: Bound::Time, times: vec![time] })
        }
        Plan::Filter { input, .. }
        | Plan::Sort { input, .. }
        | Plan::Limit { input, .. }
        | Plan::Distinct { input, .. }
        | Plan::Sample { input, .. }
        | Plan::Cte { input, .. }
        | Plan::With { body: input, .. } => traced(input, column),
        Plan::Project { input, exprs, .. } => of_expr(exprs.get(column)?, input),
        Plan::Aggregate { input, keys, .. } => of_expr(keys.get(column)?, input),
        Plan::ProjectSet { input, .. } | Plan::Window { input, .. } if column < input.columns().len() => {
            traced(input, column)
        }
        Plan::Join { left, right, .. } | Plan::NearestJoin { left, right, .. } => {
            match column.checked_sub(left.columns().len()) {
                None => traced(left, column),
                Some(column) => traced(right, column),
            }
        }
        Plan::SetOperation { kind: SetKind::Union, left, right, .. } => {
            let (mut left, right) = (traced(left, column)?, traced(right, column)?);
            left.times.extend(right.times);
            (left.bound == right.bound).then_some(left)
        }
        _ => None,
    }
}

fn of_expr(expr: &Expr, input: &Plan) -> Option<Traced> {
    match &expr.kind {
        ExprKind::Column(column) => traced(input, *column),
        // A date is its midnight, which is a time of the same day.
        ExprKind::Cast { expr: inner, .. } if is_time(&expr.ty) && is_time(&inner.ty) => of_expr(inner, input),
        ExprKind::Call { name, args, .. } => {
            let bound = of_call(&name.to_ascii_lowercase(), args)?;
            let time = args.iter().find(|arg| is_time(&arg.ty))?;
            of_expr(time, input).filter(|traced| traced.bound == Bound::Time).map(|traced| Traced { bound, ..traced })
        }
        ExprKind::Field(record, field) => {
            let ExprKind::Column(column) = record.kind else { return None };
            of_windows(input, column, *field)
        }
        _ => None,
    }
}

/// A field of a column that unnests the windows of a time.
fn of_windows(plan: &Plan, column: usize, field: usize) -> Option<Traced> {
    match plan {
        Plan::Filter { input, .. } | Plan::Sort { input, .. } => of_windows(input, column, field),
        Plan::Project { input, exprs, .. } => match exprs.get(column)?.kind {
            ExprKind::Column(column) => of_windows(input, column, field),
            _ => None,
        },
        Plan::ProjectSet { input, calls, .. } => {
            let Some(call) = column.checked_sub(input.columns().len()) else { return of_windows(input, column, field) };
            let [Expr { kind: ExprKind::Call { name, args, .. }, .. }] = calls.get(call)?.1.as_slice() else {
                return None;
            };
            let bound = match (name.as_str(), field) {
                ("hop_windows" | "cumulate_windows", 1) => Bound::End,
                ("hop_windows", 0) => Bound::Start(constant(args.get(2)?)),
                ("cumulate_windows", 0) => Bound::Start(None),
                _ => return None,
            };
            let time = of_expr(args.first()?, input)?;
            (time.bound == Bound::Time).then_some(Traced { bound, ..time })
        }
        _ => None,
    }
}

fn is_time(ty: &Type) -> bool {
    matches!(ty, Type::Timestamp | Type::Timestamptz | Type::Date)
}

/// What a function of a time gives, if that is a bound of a window.
fn of_call(name: &str, args: &[Expr]) -> Option<Bound> {
    let length = |text: &str| Some(Bound::Start(interval::parse(text).ok()));
    let interval = |at: usize| Some(Bound::Start(constant(args.get(at)?)));
    match name {
        "tumbleend" | "tumble_end" => Some(Bound::End),
        "tumblestart" | "tumble_start" | "tostartofinterval" => interval(1),
        "time_bucket" | "date_bin" => interval(0),
        "date_trunc" => length(&format!("1 {}", text(args.first()?)?)),
        "tostartofmicrosecond" => length("1 microsecond"),
        "tostartofmillisecond" => length("1 millisecond"),
        "tostartofsecond" => length("1 second"),
        "tostartofminute" => length("1 minute"),
        "tostartoffiveminutes" | "tostartoffiveminute" => length("5 minutes"),
        "tostartoftenminutes" => length("10 minutes"),
        "tostartoffifteenminutes" => length("15 minutes"),
        "tostartofhour" => length("1 hour"),
        "tostartofday" => length("1 day"),
        "tostartofweek" | "tomonday" => length("7 days"),
        "tostartofmonth" => length("1 month"),
        "tostartofquarter" => length("3 months"),
        "tostartofyear" => length("1 year"),
        _ => None,
    }
}

/// An interval that is the same for all rows.
fn constant(expr: &Expr) -> Option<IntervalMonthDayNano> {
    match &expr.kind {
        ExprKind::Literal(value) if !value.is_null() => {
            Some(value.array.as_primitive_opt::<IntervalMonthDayNanoType>()?.value(0))
        }
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Literal(value) if !value.is_null() => Some(value.array.as_string_view_opt()?.value(0).to_string()),
        _ => None,
    }
}
