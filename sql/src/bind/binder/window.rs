//! Window functions: `f(…) OVER (PARTITION BY … ORDER BY … frame)`.
//!
//! A call becomes a placeholder column, like an aggregate's. Once the query is bound, the calls of each window are computed together: a Sort by
//! its partition and order, and a Window over that. Calls of one window may have frames of their own.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, NamedWindowExpr, WindowFrameUnits};

use super::call::{CallName, type_list};
use super::combinator::Combined;
use super::place::locate;
use super::scope::{Clause, WINDOWS};
use super::{Binder, CoercionContext};
use crate::catalog::{FunctionKind, Functions, Signature};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::exclude;
use crate::parse::names::fold;
use crate::plan::{
    AggregateCall, Exclude, Expr, Frame, FrameBound, FrameOffset, FrameUnits, OutputColumn, Plan, SortKey, WindowCall,
};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// A call and the window it is over.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Windowed {
    call: WindowCall,
    partition_by: Vec<Expr>,
    order_by: Vec<SortKey>,
}

impl Windowed {
    /// Calls `f` for its expressions.
    pub(super) fn parts_mut(&mut self, f: &mut dyn FnMut(&mut Expr)) {
        self.partition_by.iter_mut().chain(self.order_by.iter_mut().map(|key| &mut key.expr)).for_each(&mut *f);
        walk::window_parts_mut(&mut self.call, f);
    }
}

impl Binder<'_> {
    /// ClickHouse's functions that look at the rows before and after as they come: runningDifference and neighbor are lag and lead over the
    /// whole query.
    pub(super) fn bind_neighbour(&mut self, function: &ast::Function, name: &CallName) -> Result<Option<Expr>> {
        let FunctionArguments::List(list) = &function.args else { return Ok(None) };
        let args: Vec<String> = list.args.iter().map(ToString::to_string).collect();
        let (sql, has_default) = match (name.folded.as_str(), args.as_slice()) {
            ("runningdifference", [value]) => (format!("coalesce({value} - lag({value}) OVER (), 0)"), true),
            ("neighbor", [value, offset]) => (format!("lead({value}, {offset}) OVER ()"), false),
            ("neighbor", [value, offset, default]) => (format!("lead({value}, {offset}, {default}) OVER ()"), true),
            _ => return Ok(None),
        };
        let bound = self.bind_expr(&crate::parse::expr(&sql)?)?;
        if has_default { Ok(Some(bound)) } else { self.or_default(bound).map(Some) }
    }

    pub(super) fn bind_window(
        &mut self,
        function: &ast::Function,
        name: &CallName,
        over: &ast::WindowType,
    ) -> Result<Expr> {
        let Some(frame) = self.frames.last_mut() else {
            return Err(windowing("window functions are not allowed here"));
        };
        if frame.in_aggregate {
            let message = "aggregate function calls cannot contain window function calls";
            return Err(Error::new(ErrorKind::Grouping, message));
        }
        if frame.in_window {
            return Err(windowing(match frame.in_window_definition {
                true => "window functions are not allowed in window definitions",
                false => "window function calls cannot be nested",
            }));
        }
        if !matches!(frame.clause, Clause::Select | Clause::OrderBy | Clause::DistinctOn | Clause::Qualify) {
            return Err(windowing(&format!("window functions are not allowed in {}", frame.clause.name())));
        }
        frame.in_window = true;
        let bound = self.bind_windowed(function, name, over);
        let Some(frame) = self.frames.last_mut() else {
            return Err(windowing("window functions are not allowed here"));
        };
        (frame.in_window, frame.in_window_definition) = (false, false);
        let bound = bound?;
        let (ty, made) = (bound.call.call.ty.clone(), bound.call.call.clone());
        let index = frame.windows.iter().position(|known| *known == bound).unwrap_or_else(|| {
            frame.windows.push(bound);
            frame.windows.len() - 1
        });
        self.aggregate_value(&made, Expr::column(WINDOWS + index, ty))
    }

    fn bind_windowed(&mut self, function: &ast::Function, name: &CallName, over: &ast::WindowType) -> Result<Windowed> {
        let (call, ignore_nulls) = self.window_call(function, name)?;
        let (spec, exclude) = match over {
            ast::WindowType::WindowSpec(spec) => self.full_spec(spec)?,
            ast::WindowType::NamedWindow(name) => self.named_window(name)?,
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.in_window_definition = true;
        }
        let settled = |binder: &mut Self, expr: &ast::Expr| {
            let bound = binder.bind_expr(expr)?;
            binder.settle(bound)
        };
        let partition_by = spec.partition_by.iter().map(|expr| settled(self, expr)).collect::<Result<Vec<Expr>>>()?;
        let mut order_by = Vec::with_capacity(spec.order_by.len());
        for key in &spec.order_by {
            let expr = settled(self, &key.expr)?;
            order_by.push(self.sort_key(expr, &key.options)?);
        }
        let frame = Frame { exclude, ..self.frame(spec.window_frame.as_ref(), &order_by)? };
        Ok(Windowed { call: WindowCall { call, frame, ignore_nulls }, partition_by, order_by })
    }

    /// The function and its arguments, and whether NULLs are ignored.
    fn window_call(&mut self, function: &ast::Function, name: &CallName) -> Result<(AggregateCall, bool)> {
        let mut treatment = function.null_treatment;
        if let FunctionArguments::List(list) = &function.args {
            for clause in &list.clauses {
                if let ast::FunctionArgumentClause::IgnoreOrRespectNulls(written) = clause {
                    treatment = Some(*written);
                }
            }
        }
        let ignore_nulls = treatment == Some(ast::NullTreatment::IgnoreNulls);
        let of_kind = |kind: FunctionKind, signatures: &[Signature]| -> Vec<Signature> {
            signatures.iter().filter(|signature| signature.kind == kind).cloned().collect()
        };
        let overloads = self.overloads(name);
        let windows = of_kind(FunctionKind::Window, overloads);
        if !windows.is_empty() {
            return Ok((self.own_call(function, name, &windows)?, ignore_nulls));
        }
        let refuse = |what: &str| Err(Error::new(ErrorKind::Unsupported, what));
        if ignore_nulls {
            return refuse(&format!("IGNORE NULLS of {} is not supported", name.shown));
        }
        let aggregates = of_kind(FunctionKind::Aggregate, overloads);
        let combined = match (aggregates.is_empty(), self.combined(name)) {
            (false, _) => Combined { signatures: &aggregates, combinator: None, condition: false },
            (true, Some(combined)) => combined,
            (true, None) if overloads.is_empty() => {
                return Err(self.no_such_function(&name.folded, &format!("function {}()", name.shown)));
            }
            (true, None) => {
                let message =
                    format!("OVER specified, but {} is not a window function nor an aggregate function", name.shown);
                return Err(Error::new(ErrorKind::WrongObjectType, message));
            }
        };
        let call = self.aggregate_parts(function, name, &combined)?;
        match &call {
            AggregateCall { distinct: true, .. } => refuse("DISTINCT is not implemented for window functions"),
            _ if !function.within_group.is_empty() => {
                refuse(&format!("OVER is not supported for ordered-set aggregate {}", name.shown))
            }
            AggregateCall { order_by, .. } if !order_by.is_empty() => {
                refuse("aggregate ORDER BY is not implemented for window functions")
            }
            _ => Ok((call, false)),
        }
    }

    /// A call of a function that is nothing but a window function.
    fn own_call(
        &mut self,
        function: &ast::Function,
        name: &CallName,
        signatures: &[Signature],
    ) -> Result<AggregateCall> {
        if function.filter.is_some() {
            let message = "FILTER is not implemented for non-aggregate window functions";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let mut args = Vec::new();
        if let FunctionArguments::List(list) = &function.args {
            if list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct) {
                return Err(Error::new(ErrorKind::Unsupported, "DISTINCT is not implemented for window functions"));
            }
            for arg in &list.args {
                match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => args.push(self.bind_expr(expr)?),
                    other => {
                        let message = format!("argument {other} of window function {} is not supported", name.shown);
                        return Err(Error::new(ErrorKind::Unsupported, message));
                    }
                }
            }
        }
        let described = format!("function {}({})", name.shown, type_list(&args));
        let what = |args: &[Expr]| format!("function {}({})", name.shown, type_list(args));
        let Some(resolved) = self.resolve(signatures, args, false, &what)? else {
            return Err(self.no_such_function(&name.folded, &described));
        };
        Ok(AggregateCall {
            function: resolved.signature.id,
            name: name.shown_name(),
            params: Vec::new(),
            args: resolved.args,
            distinct: false,
            filter: None,
            order_by: Vec::new(),
            combinator: None,
            ty: resolved.ty,
        })
    }

    /// What WINDOW says a name means.
    fn named_window(&mut self, name: &ast::Ident) -> Result<(ast::WindowSpec, Exclude)> {
        let folded = fold(name);
        let known = self.frames.last().and_then(|frame| {
            frame.named_windows.iter().find(|window| fold(&window.0) == folded).map(|window| window.1.clone())
        });
        match known {
            Some(NamedWindowExpr::WindowSpec(spec)) => self.full_spec(&spec),
            // Names stand for those before them, so that this ends.
            Some(NamedWindowExpr::NamedWindow(other)) if fold(&other) != folded => self.named_window(&other),
            _ => {
                let error = Error::new(ErrorKind::UndefinedObject, format!("window \"{folded}\" does not exist"));
                Err(super::names::at(error, name))
            }
        }
    }

    /// A window that may begin with another's name, with what that says written out.
    fn full_spec(&mut self, spec: &ast::WindowSpec) -> Result<(ast::WindowSpec, Exclude)> {
        let mut spec = spec.clone();
        let exclude = exclude::take(&mut spec);
        let Some(base) = spec.window_name.take() else { return Ok((spec, exclude)) };
        let name = fold(&base);
        let refuse = |what: &str| Err(super::names::at(windowing(what), &base));
        let (of, _) = self.named_window(&base)?;
        if !spec.partition_by.is_empty() {
            return refuse(&format!("cannot override PARTITION BY clause of window \"{name}\""));
        }
        if !spec.order_by.is_empty() && !of.order_by.is_empty() {
            return refuse(&format!("cannot override ORDER BY clause of window \"{name}\""));
        }
        if of.window_frame.is_some() {
            let error = refuse(&format!("cannot copy window \"{name}\" because it has a frame clause"));
            let bare = spec.order_by.is_empty() && spec.window_frame.is_none();
            return error.map_err(|error: Error| match bare {
                true => error.with_hint("Omit the parentheses in this OVER clause."),
                false => error,
            });
        }
        let order_by = if spec.order_by.is_empty() { of.order_by } else { spec.order_by };
        Ok((ast::WindowSpec { order_by, window_frame: spec.window_frame, ..of }, exclude))
    }

    fn frame(&mut self, written: Option<&ast::WindowFrame>, order_by: &[SortKey]) -> Result<Frame> {
        let Some(written) = written else { return Ok(default_frame()) };
        use ast::WindowFrameBound as B;
        let units = match written.units {
            WindowFrameUnits::Rows => FrameUnits::Rows,
            WindowFrameUnits::Range => FrameUnits::Range,
            WindowFrameUnits::Groups => FrameUnits::Groups,
        };
        let current = B::CurrentRow;
        let (start, end) = (&written.start_bound, written.end_bound.as_ref().unwrap_or(&current));
        match (start, end) {
            (B::Following(None), _) => return Err(windowing("frame start cannot be UNBOUNDED FOLLOWING")),
            (_, B::Preceding(None)) => return Err(windowing("frame end cannot be UNBOUNDED PRECEDING")),
            (B::CurrentRow, B::Preceding(_)) => {
                return Err(windowing("frame starting from current row cannot have preceding rows"));
            }
            (B::Following(_), B::CurrentRow) => {
                return Err(windowing("frame starting from following row cannot end with current row"));
            }
            (B::Following(_), B::Preceding(_)) => {
                return Err(windowing("frame starting from following row cannot have preceding rows"));
            }
            _ => {}
        }
        if units == FrameUnits::Groups && order_by.is_empty() {
            return Err(windowing("GROUPS mode requires an ORDER BY clause"));
        }
        let (start, start_key) = self.bound(start, units, order_by)?;
        let (end, end_key) = self.bound(end, units, order_by)?;
        let key = start_key.or(end_key);
        Ok(Frame { units, start, end, exclude: Exclude::NoOthers, key })
    }

    /// One bound, and for an offset of RANGE the key that it is compared with.
    fn bound(
        &mut self,
        written: &ast::WindowFrameBound,
        units: FrameUnits,
        order_by: &[SortKey],
    ) -> Result<(FrameBound, Option<Expr>)> {
        use ast::WindowFrameBound as B;
        let (expr, precedes) = match written {
            B::CurrentRow => return Ok((FrameBound::CurrentRow, None)),
            B::Preceding(None) | B::Following(None) => return Ok((FrameBound::Unbounded, None)),
            B::Preceding(Some(expr)) => (expr, true),
            B::Following(Some(expr)) => (expr, false),
        };
        let word = match units {
            FrameUnits::Rows => "ROWS",
            FrameUnits::Range => "RANGE",
            FrameUnits::Groups => "GROUPS",
        };
        let bound = self.bind_expr(expr)?;
        if !walk::columns_read(&bound).is_empty() {
            let message = format!("argument of {word} must not contain variables");
            return Err(locate(Error::new(ErrorKind::InvalidColumnReference, message), expr));
        }
        let (value, keys) = match units {
            FrameUnits::Range => {
                let [key] = order_by else {
                    let message = "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column";
                    return Err(windowing(message));
                };
                let (value, key, bound) = self.range_offset(bound, key, precedes != key.descending)?;
                (value, Some((key, bound)))
            }
            _ => {
                let ty = bound.ty.clone();
                let value = self.coerce(bound, &Type::Int8, CoercionContext::Assignment).map_err(|_| {
                    let message = format!("argument of {word} must be type bigint, not type {ty}");
                    locate(Error::new(ErrorKind::DatatypeMismatch, message), expr)
                })?;
                (value, None)
            }
        };
        let zero = Expr::literal(Value::unknown(if value.ty == Type::Interval { "0 seconds" } else { "0" }));
        let negative = self.operator("<", vec![value.clone(), zero])?;
        let (key, of_bound) = keys.unzip();
        let offset = Box::new(FrameOffset { value, negative, key: of_bound });
        Ok((if precedes { FrameBound::Preceding(offset) } else { FrameBound::Following(offset) }, key))
    }

    /// An offset of RANGE, the key, and the key so far before or after, the two in one type that holds every sum.
    fn range_offset(&mut self, offset: Expr, key: &SortKey, before: bool) -> Result<(Expr, Expr, Expr)> {
        let ty = &key.expr.ty;
        let (of_key, of_offset) = match ty {
            Type::Date | Type::Timestamp => (Type::Timestamp, Type::Interval),
            Type::Timestamptz => (Type::Timestamptz, Type::Interval),
            Type::Interval => (Type::Interval, Type::Interval),
            Type::Float4 | Type::Float8 => (Type::Float8, Type::Float8),
            ty if ty.is_number() => (Type::Numeric(None), Type::Numeric(None)),
            _ => {
                let message = format!("RANGE with offset PRECEDING/FOLLOWING is not supported for column type {ty}");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        };
        let from = offset.ty.clone();
        let offset = self.coerce(offset, &of_offset, CoercionContext::Implicit).map_err(|_| {
            let message = format!(
                "RANGE with offset PRECEDING/FOLLOWING is not supported for column type {ty} and offset type {from}"
            );
            Error::new(ErrorKind::Unsupported, message).with_hint("Cast the offset value to an appropriate type.")
        })?;
        let key = self.coerce(key.expr.clone(), &of_key, CoercionContext::Implicit)?;
        let bound = self.operator(if before { "-" } else { "+" }, vec![key.clone(), offset.clone()])?;
        let ty = bound.ty.clone();
        let key = self.coerce(key, &ty, CoercionContext::Implicit)?;
        Ok((offset, key, bound))
    }
}

/// A call of a function that numbers rows.
pub(crate) fn numbering(name: &str, functions: &dyn Functions) -> Result<WindowCall> {
    let of_windows = |signature: &&Signature| signature.kind == FunctionKind::Window;
    let Some(signature) = functions.overloads(name).iter().find(of_windows) else {
        return Err(Error::new(ErrorKind::UndefinedFunction, format!("function {name}() does not exist")));
    };
    let call = AggregateCall {
        function: signature.id,
        name: name.to_string(),
        params: Vec::new(),
        args: Vec::new(),
        distinct: false,
        filter: None,
        order_by: Vec::new(),
        combinator: None,
        ty: Type::Int8,
    };
    Ok(WindowCall { call, frame: default_frame(), ignore_nulls: false })
}

fn default_frame() -> Frame {
    Frame {
        units: FrameUnits::Range,
        start: FrameBound::Unbounded,
        end: FrameBound::CurrentRow,
        exclude: Exclude::NoOthers,
        key: None,
    }
}

fn windowing(message: &str) -> Error {
    Error::new(ErrorKind::Windowing, message)
}

/// The operators that compute window functions over a query's rows, and the column of each.
pub(super) fn over(mut plan: Plan, windows: Vec<Windowed>) -> (Plan, Vec<usize>) {
    let mut places = vec![0; windows.len()];
    let mut left: Vec<(usize, Windowed)> = windows.into_iter().enumerate().collect();
    while let Some((first, Windowed { partition_by, order_by, .. })) = left.first().cloned() {
        // A query in a key equals nothing, not even itself.
        let same = |window: &Windowed| window.partition_by == partition_by && window.order_by == order_by;
        let (now, later): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(index, window)| *index == first || same(window));
        left = later;
        let mut columns = plan.columns().to_vec();
        let mut calls = Vec::with_capacity(now.len());
        for (index, window) in now {
            places[index] = columns.len();
            columns.push(OutputColumn::computed(&window.call.call.name, window.call.call.ty.clone()));
            calls.push(window.call);
        }
        let partition = partition_by.iter().cloned();
        let mut keys: Vec<SortKey> =
            partition.map(|expr| SortKey { expr, descending: false, nulls_first: false }).collect();
        keys.extend(order_by.iter().cloned());
        if !keys.is_empty() {
            plan = Plan::Sort { input: Box::new(plan), keys };
        }
        plan = Plan::Window { input: Box::new(plan), partition_by, order_by, calls, columns };
    }
    (plan, places)
}
