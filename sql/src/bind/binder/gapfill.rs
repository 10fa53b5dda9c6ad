//! TimescaleDB's `time_bucket_gapfill`, `locf` and `interpolate`: a group for every bucket of a range of time, also where there are no rows.
//!
//! `time_bucket_gapfill` is bound as `time_bucket`, a group key; over the aggregates a `Fill` puts in the buckets that are missing for each value of
//! the other keys. Aggregates are NULL there, except as `locf` and `interpolate` say, which leave placeholder columns (from [`GAPS`]) until
//! then. What is computed from keys and aggregates is computed above. The range is what the arguments `start` and `finish` say, or
//! what WHERE says of the time by comparing it with values that are no columns.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::call::CallName;
use super::literal::cast;
use super::scope::GAPS;
use super::{Binder, CoercionContext};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::names::fold;
use crate::plan::{Expr, ExprKind, FillRange, Gap, OutputColumn, Plan, SortKey};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// A call of `time_bucket_gapfill`.
#[derive(Debug, Clone)]
pub(super) struct GapFill {
    /// The call of `time_bucket` that it is.
    bucket: Expr,
    /// Arguments of that: the width, the time and the zone.
    args: Vec<Expr>,
    start: Option<Expr>,
    finish: Option<Expr>,
}

impl GapFill {
    /// The group key that it is.
    pub(super) fn bucket(&self) -> Expr {
        self.bucket.clone()
    }
}

/// TimescaleDB's words.
pub(super) fn no_gapfill_key() -> Error {
    Error::new(ErrorKind::Grouping, "no top level time_bucket_gapfill in group by clause")
}

/// The bounds of a range of time.
struct Bounds {
    start: Option<Expr>,
    finish: Option<Expr>,
    inclusive: bool,
}

impl Binder<'_> {
    /// One of the three; `None` if the call is another.
    pub(super) fn bind_gapfill(&mut self, function: &ast::Function, name: &CallName) -> Result<Option<Expr>> {
        if name.qualified.is_some() || !matches!(name.folded.as_str(), "time_bucket_gapfill" | "locf" | "interpolate") {
            return Ok(None);
        }
        let FunctionArguments::List(list) = &function.args else { return Ok(None) };
        let (mut args, mut named) = (Vec::new(), Vec::new());
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => args.push(self.bind_expr(expr)?),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                    named.push((fold(name), self.bind_expr(expr)?));
                }
                FunctionArg::ExprNamed {
                    name: ast::Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), ..
                } => named.push((fold(name), self.bind_expr(expr)?)),
                other => {
                    let message = format!("argument {other} of {} is not supported", name.shown);
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
            }
        }
        match name.folded.as_str() {
            "time_bucket_gapfill" => self.gapfill_bucket(args, named).map(Some),
            word => self.gap(word, args, named).map(Some),
        }
    }

    fn gapfill_bucket(&mut self, mut args: Vec<Expr>, named: Vec<(String, Expr)>) -> Result<Expr> {
        let (mut start, mut finish, mut zone) = (None, None, None);
        for (label, value) in named {
            match label.as_str() {
                "start" => start = Some(value),
                "finish" => finish = Some(value),
                "timezone" => zone = Some(value),
                _ => {
                    let message = format!("function time_bucket_gapfill has no argument named \"{label}\"");
                    return Err(Error::new(ErrorKind::UndefinedFunction, message));
                }
            }
        }
        if !(2..=5).contains(&args.len()) {
            let message = "time_bucket_gapfill takes a width, a time, and perhaps a time zone, start and finish";
            return Err(Error::new(ErrorKind::UndefinedFunction, message));
        }
        let mut rest = args.split_off(2);
        if rest.len() != 2 && !rest.is_empty() {
            zone = Some(rest.remove(0));
        }
        if let (Some(last), Some(first)) = (rest.pop(), rest.pop()) {
            (start, finish) = (Some(first), Some(last));
        }
        args.extend(zone);
        let time = args[1].ty.clone();
        let bucket = self.operator("time_bucket", args.clone())?;
        if let ExprKind::Call { args: bound, .. } = &bucket.kind {
            args.clone_from(bound);
        }
        let mut bound = |value: Option<Expr>| match value {
            Some(value) => self.coerce(value, &time, CoercionContext::Assignment).map(Some),
            None => Ok(None),
        };
        let given = |value: &Expr| !matches!(&value.kind, ExprKind::Literal(value) if value.is_null());
        let (start, finish) = (bound(start)?.filter(given), bound(finish)?.filter(given));
        let columns = |value: &Option<Expr>| value.iter().any(|value| !walk::columns_read(value).is_empty());
        if columns(&start) || columns(&finish) {
            let message = "start and finish of time_bucket_gapfill must not contain variables";
            return Err(Error::new(ErrorKind::InvalidColumnReference, message));
        }
        let Some(frame) = self.frames.last_mut() else { return Ok(bucket) };
        match &frame.gapfill {
            Some(known) if !walk::same(&known.bucket, &bucket) => {
                return Err(Error::new(ErrorKind::Unsupported, "multiple time_bucket_gapfill calls are not supported"));
            }
            Some(known) if known.start.is_some() || known.finish.is_some() => {}
            _ => frame.gapfill = Some(GapFill { bucket: bucket.clone(), args, start, finish }),
        }
        Ok(bucket)
    }

    /// `locf(value [, prev [, treat_null_as_missing]])` and `interpolate(value [, prev [, next]])`. `prev` and `next` are for buckets before the first row
    /// and after the last: a value, or to be interpolated with, a record of a time and a value.
    fn gap(&mut self, word: &str, args: Vec<Expr>, named: Vec<(String, Expr)>) -> Result<Expr> {
        let names: &[&str] = match word {
            "locf" => &["value", "prev", "treat_null_as_missing"],
            _ => &["value", "prev", "next"],
        };
        if args.len() > names.len() {
            let message = format!("{word} takes {} arguments at the most", names.len());
            return Err(Error::new(ErrorKind::UndefinedFunction, message));
        }
        let mut given: Vec<Option<Expr>> = args.into_iter().map(Some).collect();
        given.resize(names.len(), None);
        for (label, value) in named {
            match names.iter().position(|name| *name == label) {
                Some(at) if given[at].is_none() => given[at] = Some(value),
                _ => {
                    let message = format!("function {word} has no argument named \"{label}\"");
                    return Err(Error::new(ErrorKind::UndefinedFunction, message));
                }
            }
        }
        let (third, second, Some(value)) = (given.pop().flatten(), given.pop().flatten(), given.pop().flatten()) else {
            return Err(Error::new(ErrorKind::UndefinedFunction, format!("{word} needs a value")));
        };
        let value = self.settle(value)?;
        let ty = value.ty.clone();
        let some =
            |expr: Option<Expr>| expr.filter(|expr| !matches!(&expr.kind, ExprKind::Literal(value) if value.is_null()));
        let gap = if word == "locf" {
            let over_nulls = match third.as_ref().map(|third| &third.kind) {
                None => false,
                Some(ExprKind::Literal(value)) => *value == Value::bool(true),
                Some(_) => {
                    let message = "treat_null_as_missing of locf must be true or false";
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
            };
            let first = match some(second) {
                Some(first) => {
                    let first = self.coerce(first, &ty, CoercionContext::Implicit)?;
                    self.gap_column(Gap::Null, first)
                }
                None => None,
            };
            Gap::Last { over_nulls, first }
        } else {
            if !ty.is_number() {
                let message = format!("function interpolate({ty}) does not exist");
                return Err(Error::new(ErrorKind::UndefinedFunction, message));
            }
            Gap::Linear { before: self.gap_point(some(second))?, after: self.gap_point(some(third))? }
        };
        match self.gap_column(gap, value) {
            Some(column) => Ok(Expr::column(GAPS + column, ty)),
            None => Err(no_gapfill_key()),
        }
    }

    /// A column beside the groups, by its number among these.
    fn gap_column(&mut self, gap: Gap, expr: Expr) -> Option<usize> {
        let gaps = &mut self.frames.last_mut()?.gaps;
        gaps.push((gap, expr));
        Some(gaps.len() - 1)
    }

    /// The columns of a record of a time and a value.
    fn gap_point(&mut self, point: Option<Expr>) -> Result<Option<(usize, usize)>> {
        let Some(point) = point else { return Ok(None) };
        let Type::Record(fields) = &point.ty else {
            let message = "prev and next of interpolate must be a record of a time and a value";
            return Err(Error::new(ErrorKind::DatatypeMismatch, message));
        };
        let [(_, time), (_, value)] = fields.as_slice() else {
            let message = "prev and next of interpolate must have two fields";
            return Err(Error::new(ErrorKind::DatatypeMismatch, message));
        };
        let (time, value) = (time.clone(), value.clone());
        let field = |index: usize, ty: Type| Expr::new(ExprKind::Field(Box::new(point.clone()), index), ty);
        let value = self.coerce(field(1, value), &Type::Float8, CoercionContext::Assignment)?;
        Ok(self.gap_column(Gap::Null, field(0, time)).zip(self.gap_column(Gap::Null, value)))
    }

    /// The groups of a query with those that are missing. `key` is the bucket as a column of the plan, whose first `keys` columns are the
    /// group keys; `conditions` are WHERE's, over what the aggregate is over.
    pub(super) fn gap_filled(
        &mut self,
        plan: Plan,
        fill: GapFill,
        gaps: Vec<(Gap, Expr)>,
        key: &Expr,
        keys: usize,
        conditions: Vec<Expr>,
    ) -> Result<Plan> {
        let ExprKind::Column(key) = key.kind else {
            return Err(no_gapfill_key());
        };
        let bounds = self.gapfill_bounds(&fill, conditions)?;
        let missing = match (&bounds.start, &bounds.finish) {
            (None, _) => Some("start"),
            (_, None) => Some("finish"),
            _ => None,
        };
        if let Some(missing) = missing {
            let message = format!("missing time_bucket_gapfill argument: could not infer {missing} from WHERE clause");
            return Err(Error::new(ErrorKind::InvalidParameter, message)
                .with_hint("Specify start and finish as arguments or in the WHERE clause."));
        }
        let ty = plan.columns()[key].ty.clone();
        let [width, _, zone @ ..] = fill.args.as_slice() else { return Ok(plan) };
        let from = match bounds.start {
            Some(start) => {
                let args = [width.clone(), start].into_iter().chain(zone.iter().cloned()).collect();
                let first = self.operator("time_bucket", args)?;
                Some(self.coerce(first, &ty, CoercionContext::Assignment)?)
            }
            None => None,
        };
        let to = match bounds.finish {
            Some(finish) => Some(self.coerce(finish, &ty, CoercionContext::Assignment)?),
            None => None,
        };
        let step = match width.ty {
            Type::Interval => width.clone(),
            _ => cast(width.clone(), Type::Int8, false),
        };
        // Every column as it is, then what locf and interpolate are over.
        let mut columns = plan.columns().to_vec();
        let mut exprs: Vec<Expr> =
            columns.iter().enumerate().map(|(at, column)| Expr::column(at, column.ty.clone())).collect();
        let width = columns.len();
        let mut values = vec![Gap::Null; width];
        let times: Vec<usize> = gaps
            .iter()
            .filter_map(|(gap, _)| match gap {
                Gap::Linear { before, after } => Some(before.iter().chain(after).map(|(time, _)| *time)),
                _ => None,
            })
            .flatten()
            .collect();
        for (at, (mut gap, expr)) in gaps.into_iter().enumerate() {
            // Times are compared with the buckets.
            let expr = match times.contains(&at) {
                true => self.coerce(expr, &ty, CoercionContext::Assignment)?,
                false => expr,
            };
            gap.rename_columns(&|column| width + column);
            columns.push(OutputColumn::computed("?column?", expr.ty.clone()));
            exprs.push(expr);
            values.push(gap);
        }
        let partition_by: Vec<usize> = (0..keys).filter(|&column| column != key).collect();
        let sorted = partition_by.iter().chain([&key]).map(|&column| SortKey {
            expr: Expr::column(column, columns[column].ty.clone()),
            descending: false,
            nulls_first: false,
        });
        let sorted = sorted.collect();
        let plan = Plan::Project { input: Box::new(plan), exprs, columns };
        let plan = Plan::Sort { input: Box::new(plan), keys: sorted };
        let inclusive = bounds.inclusive;
        let zone = zone.first().cloned();
        let range = FillRange { key, descending: false, from, to, inclusive, step, zone };
        Ok(Plan::Fill { input: Box::new(plan), partition_by, ranges: vec![range], values })
    }

    /// The range, as far as it is known.
    fn gapfill_bounds(&mut self, fill: &GapFill, conditions: Vec<Expr>) -> Result<Bounds> {
        let mut bounds = Bounds { start: fill.start.clone(), finish: fill.finish.clone(), inclusive: false };
        for condition in conditions.into_iter().flat_map(walk::conjuncts) {
            let ExprKind::Call { name, args, .. } = condition.kind else { continue };
            let Ok([left, right]) = <[Expr; 2]>::try_from(args) else { continue };
            let time = |expr: &Expr| match &expr.kind {
                ExprKind::Cast { expr: inner, explicit: false, .. } => walk::same(inner, &fill.args[1]),
                _ => walk::same(expr, &fill.args[1]),
            };
            let (symbol, value) = match (time(&left), time(&right), name.as_str()) {
                (true, false, symbol) => (symbol, right),
                (false, true, ">=") => ("<=", left),
                (false, true, ">") => ("<", left),
                (false, true, "<=") => (">=", left),
                (false, true, "<") => (">", left),
                _ => continue,
            };
            if !walk::columns_read(&value).is_empty() {
                continue;
            }
            match symbol {
                ">=" | ">" if bounds.start.is_none() => bounds.start = Some(value),
                "<" | "<=" if bounds.finish.is_none() => {
                    bounds.finish = Some(value);
                    bounds.inclusive = symbol == "<=";
                }
                _ => {}
            }
        }
        let ty = fill.args[1].ty.clone();
        for value in [&mut bounds.start, &mut bounds.finish] {
            if let Some(found) = value.take() {
                *value = Some(self.coerce(found, &ty, CoercionContext::Assignment)?);
            }
        }
        Ok(bounds)
    }
}
