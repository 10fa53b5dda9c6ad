//! Windows of event time in FROM: TUMBLE, HOP, CUMULATE and SESSION, as Flink writes them (`TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)`) and
//! as RisingWave does (`tumble(t, ts, INTERVAL '1 minute')`).
//!
//! The rows of a table with the bounds of the window that each is in behind them: of TUMBLE computed by a projection, of HOP and CUMULATE the elements of
//! an array, so that a row is there once for each window that it is in. Windows are half-open and counted from 1970-01-01 00:00:00 UTC.
//!
//! SESSION's come from the rows around: of one partition in the order of time, a session ends where the next row comes more than the gap later. A row
//! that comes exactly the gap later belongs to it, as in Flink, where the windows `[time, time + gap)` of rows merge that overlap or touch. So a
//! session starts at the latest row up to here that follows nothing, and ends the gap after the earliest row from here on that nothing follows:
//! two window functions over a third.
//!
//! A row without a time is in no window and is left out, as RisingWave's `hop` leaves it out.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, Ident, TableAlias};

use super::call::CallName;
use super::expr::not;
use super::from::Item;
use super::names::at;
use super::scope::{Clause, Frame, Scope, scope_columns, visible_columns};
use super::{Binder, CoercionContext};
use crate::catalog::{FunctionKind, Signature};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::names::fold;
use crate::parse::time_windows::{PARTITION, WINDOWS};
use crate::plan::{
    AggregateCall, Exclude, Expr, ExprKind, Frame as WindowFrame, FrameBound, FrameUnits, OutputColumn, Plan, SortKey,
    WindowCall,
};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// Which windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

impl Shape {
    /// By its name in lower case.
    pub(super) fn named(name: &str) -> Option<Shape> {
        let shapes = [Shape::Tumble, Shape::Hop, Shape::Cumulate, Shape::Session];
        WINDOWS.iter().zip(shapes).find(|(known, _)| **known == name).map(|(_, shape)| shape)
    }

    /// As Flink writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Shape::Tumble => "TUMBLE",
            Shape::Hop => "HOP",
            Shape::Cumulate => "CUMULATE",
            Shape::Session => "SESSION",
        }
    }

    /// What Flink calls the intervals; the last may be left out where it is an offset.
    fn intervals(self) -> &'static [&'static str] {
        match self {
            Shape::Tumble => &["size", "offset"],
            Shape::Hop => &["slide", "size", "offset"],
            Shape::Cumulate => &["step", "size", "offset"],
            Shape::Session => &["gap"],
        }
    }
}

/// The arguments of a call in FROM.
struct Arguments<'a> {
    data: &'a ast::Expr,
    time: &'a Ident,
    /// By the names of [`Shape::intervals`].
    intervals: Vec<&'a ast::Expr>,
    partition: Vec<&'a ast::Expr>,
    /// Whether DESCRIPTOR was written: Flink's form, which has a column more.
    flink: bool,
}

impl Binder<'_> {
    /// The windows that a call in FROM is of; `None` if it is one of another function.
    pub(super) fn bind_time_windows(
        &mut self,
        name: &ast::ObjectName,
        args: &[FunctionArg],
        alias: Option<&TableAlias>,
    ) -> Result<Option<Item>> {
        let name = CallName::of(name)?;
        let Some(shape) = Shape::named(&name.folded).filter(|_| name.qualified.is_none()) else { return Ok(None) };
        let bound = match arguments(shape, args) {
            Ok(None) => return Ok(None),
            Ok(Some(arguments)) => self.windowed_rows(shape, &arguments),
            Err(error) => Err(error),
        };
        let item = bound.map_err(|error| at(error, &name.ident))?;
        self.alias(item, alias).map(Some)
    }

    fn windowed_rows(&mut self, shape: Shape, arguments: &Arguments<'_>) -> Result<Item> {
        let item = match arguments.data {
            ast::Expr::Subquery(query) => self.bind_derived(query, false)?,
            ast::Expr::Identifier(ident) => self.bind_table(&ast::ObjectName::from(vec![ident.clone()]))?,
            ast::Expr::CompoundIdentifier(parts) => self.bind_table(&ast::ObjectName::from(parts.clone()))?,
            other => return Err(Error::new(ErrorKind::Syntax, format!("{other} is not a table"))),
        };
        self.frames.push(Frame::query(Scope::default(), Clause::From));
        let intervals: Result<Vec<Expr>> = arguments.intervals.iter().map(|expr| self.bind_expr(expr)).collect();
        self.frames.pop();
        let intervals = self.window_intervals(shape, intervals?)?;
        self.frames.push(Frame::query(item.scope.clone(), Clause::From));
        let of_row = self.columns_of_windows(arguments);
        self.frames.pop();
        let (time, partition) = of_row?;
        let time = self.window_time(shape, time)?;
        let mut plan = self.with_windows(shape, item.plan, time, intervals, partition)?;
        if arguments.flink {
            plan = self.with_window_time(plan)?;
        }
        // A row may be there several times: what was a key is none.
        let mut columns = item.scope.columns;
        let table = item.scope.tables.into_iter().next().map(|table| (table.schema, table.name));
        columns.extend(scope_columns(&plan.columns()[columns.len()..]));
        let mut scope = Scope { visible: visible_columns(&columns), ..Scope::default() };
        if let Some((schema, name)) = table {
            scope = Scope::of_table(&name, columns);
            scope.tables[0].schema = schema;
        } else {
            scope.columns = columns;
        }
        Ok(Item { plan, scope })
    }

    /// The column of the time, and those of PARTITION BY.
    fn columns_of_windows(&mut self, arguments: &Arguments<'_>) -> Result<(Expr, Vec<Expr>)> {
        let time = self.bind_expr(&ast::Expr::Identifier(arguments.time.clone()))?;
        if !matches!(time.kind, ExprKind::Column(_)) {
            let message = format!("\"{}\" is not a column of the table", arguments.time.value);
            return Err(at(Error::new(ErrorKind::InvalidColumnReference, message), arguments.time));
        }
        let key = |binder: &mut Self, expr: &&ast::Expr| {
            let bound = binder.bind_expr(expr)?;
            binder.settle(bound)
        };
        let partition = arguments.partition.iter().map(|expr| key(self, expr)).collect::<Result<_>>()?;
        Ok((time, partition))
    }

    /// A time that windows can be of: a date is its midnight.
    pub(super) fn window_time(&mut self, shape: Shape, time: Expr) -> Result<Expr> {
        match time.ty {
            Type::Timestamp | Type::Timestamptz => Ok(time),
            Type::Date => self.coerce(time, &Type::Timestamp, CoercionContext::Explicit),
            Type::Unknown => self.coerce(time, &Type::Timestamp, CoercionContext::Implicit),
            ty => {
                let message = format!("{} needs a date or timestamp, not {ty}", shape.name());
                Err(Error::new(ErrorKind::DatatypeMismatch, message))
            }
        }
    }

    /// The intervals of windows, which are the same for all rows. An argument behind them may be a time zone's name.
    pub(super) fn window_intervals(&mut self, shape: Shape, intervals: Vec<Expr>) -> Result<Vec<Expr>> {
        let mut bound = Vec::with_capacity(intervals.len());
        for (name, expr) in shape.intervals().iter().zip(intervals) {
            let ty = expr.ty.clone();
            let expr = match (*name, &ty) {
                ("offset", Type::Text) => expr,
                (_, Type::Unknown | Type::Interval) => self.coerce(expr, &Type::Interval, CoercionContext::Implicit)?,
                _ => {
                    let message = format!("the {name} of {} must be an interval, not {ty}", shape.name());
                    return Err(Error::new(ErrorKind::DatatypeMismatch, message));
                }
            };
            if matches!(&expr.kind, ExprKind::Literal(value) if value.is_null()) {
                let message = format!("the {name} of {} must not be NULL", shape.name());
                return Err(Error::new(ErrorKind::InvalidParameter, message));
            }
            let varies =
                |node: &Expr| matches!(node.kind, ExprKind::Column(_) | ExprKind::Outer { .. } | ExprKind::Subquery(_));
            if walk::any(&expr, &mut |node, _| varies(node)) {
                let message = format!("the {name} of {} must be a constant", shape.name());
                return Err(Error::new(ErrorKind::InvalidParameter, message));
            }
            bound.push(expr);
        }
        Ok(bound)
    }

    /// A function of windows over a time and intervals. What is wrong with these is said at once and not only where there are rows.
    pub(super) fn checked_window(&mut self, function: &str, args: Vec<Expr>) -> Result<Expr> {
        if let Some(time) = args.first()
            && !args[1..].iter().any(|arg| walk::any(arg, &mut |node, _| matches!(node.kind, ExprKind::Parameter(_))))
        {
            let epoch =
                self.coerce(Expr::literal(Value::unknown("1970-01-01")), &time.ty, CoercionContext::Explicit)?;
            let args = [epoch].into_iter().chain(args[1..].iter().cloned()).collect();
            let probe = self.operator(function, args)?;
            self.catalog.check_constant(&probe)?;
        }
        self.operator(function, args)
    }

    /// Rows with `window_start` and `window_end` behind their columns. `time`, `intervals` and `partition` are over them.
    pub(super) fn with_windows(
        &mut self,
        shape: Shape,
        input: Plan,
        time: Expr,
        intervals: Vec<Expr>,
        partition: Vec<Expr>,
    ) -> Result<Plan> {
        let width = input.columns().len();
        let args: Vec<Expr> = [time.clone()].into_iter().chain(intervals).collect();
        let (input, bounds) = match shape {
            Shape::Tumble => {
                let bounds = [self.checked_window("tumbleStart", args.clone())?, self.operator("tumbleEnd", args)?];
                (timed(input, &time), bounds)
            }
            Shape::Hop | Shape::Cumulate => {
                let function = if shape == Shape::Hop { "hop_windows" } else { "cumulate_windows" };
                let windows = self.checked_window(function, args)?;
                let Type::Array(record) = windows.ty.clone() else {
                    return Err(Error::new(ErrorKind::DatatypeMismatch, format!("{function} gives no array")));
                };
                let unnest = self.signature("unnest", FunctionKind::Table)?.id;
                let mut columns = input.columns().to_vec();
                columns.push(OutputColumn::computed("window", (*record).clone()));
                let input = Plan::ProjectSet { input: Box::new(input), calls: vec![(unnest, vec![windows])], columns };
                let window = Expr::column(width, *record);
                let bound = |index| Expr::new(ExprKind::Field(Box::new(window.clone()), index), time.ty.clone());
                (input, [bound(0), bound(1)])
            }
            Shape::Session => {
                let Some(gap) = args.into_iter().nth(1) else {
                    return Err(Error::new(ErrorKind::UndefinedFunction, "SESSION needs a gap"));
                };
                self.sessions(timed(input, &time), &time, &gap, partition)?
            }
        };
        let mut columns = input.columns()[..width].to_vec();
        let mut exprs: Vec<Expr> = own(&columns);
        for (name, bound) in ["window_start", "window_end"].into_iter().zip(bounds) {
            columns.push(OutputColumn::computed(name, bound.ty.clone()));
            exprs.push(bound);
        }
        Ok(Plan::Project { input: Box::new(input), exprs, columns })
    }

    /// The rows, and over them the bounds of their sessions.
    fn sessions(&mut self, input: Plan, time: &Expr, gap: &Expr, partition_by: Vec<Expr>) -> Result<(Plan, [Expr; 2])> {
        let width = input.columns().len();
        let end = self.checked_window("session_window_end", vec![time.clone(), gap.clone()])?;
        let ordered = |expr: Expr| SortKey { expr, descending: false, nulls_first: false };
        let order_by = vec![ordered(time.clone())];
        let keys = partition_by.iter().cloned().map(ordered).chain(order_by.iter().cloned()).collect();
        let sorted = Plan::Sort { input: Box::new(input), keys };
        let over = |input: Plan, calls: Vec<WindowCall>| {
            let mut columns = input.columns().to_vec();
            columns.extend(calls.iter().map(|call| OutputColumn::computed(&call.call.name, call.call.ty.clone())));
            let (partition_by, order_by) = (partition_by.clone(), order_by.clone());
            Plan::Window { input: Box::new(input), partition_by, order_by, calls, columns }
        };
        let all = (FrameBound::Unbounded, FrameBound::Unbounded);
        let around = ["lag", "lead"].map(|name| self.frame_call(name, time.clone(), all.clone()));
        let [before, after] = around;
        let rows = over(sorted, vec![before?, after?]);

        let neighbour = |index: usize| Expr::column(width + index, time.ty.clone());
        let (before, after) = (neighbour(0), neighbour(1));
        let end_before = self.operator("session_window_end", vec![before.clone(), gap.clone()])?;
        let opens = [self.operator(">", vec![time.clone(), end_before])?, is_null(&before)];
        let closes = [self.operator(">", vec![after.clone(), end.clone()])?, is_null(&after)];
        let where_any = |conditions: [Expr; 2], value: Expr| {
            let ty = value.ty.clone();
            let condition = Expr::new(ExprKind::Or(conditions.to_vec()), Type::Bool);
            Expr::new(ExprKind::Case { branches: vec![(condition, value)], otherwise: None }, ty)
        };
        let (opens, closes) = (where_any(opens, time.clone()), where_any(closes, end));
        let mut columns = rows.columns()[..width].to_vec();
        let mut exprs = own(&columns);
        for (name, expr) in [("opens", opens), ("closes", closes)] {
            columns.push(OutputColumn::computed(name, expr.ty.clone()));
            exprs.push(expr);
        }
        let rows = Plan::Project { input: Box::new(rows), exprs, columns };

        let so_far = (FrameBound::Unbounded, FrameBound::CurrentRow);
        let from_here = (FrameBound::CurrentRow, FrameBound::Unbounded);
        let first = self.frame_call("max", neighbour(0), so_far)?;
        let last = self.frame_call("min", neighbour(1), from_here)?;
        let bounds = [2, 3].map(neighbour);
        Ok((over(rows, vec![first, last]), bounds))
    }

    /// A window function of one argument over a frame of rows.
    fn frame_call(&mut self, name: &str, arg: Expr, (start, end): (FrameBound, FrameBound)) -> Result<WindowCall> {
        let kinds = |signature: &&Signature| matches!(signature.kind, FunctionKind::Window | FunctionKind::Aggregate);
        let signatures: Vec<Signature> = self.functions.overloads(name).iter().filter(kinds).cloned().collect();
        let what = |_: &[Expr]| format!("function {name}");
        let Some(resolved) = self.resolve(&signatures, vec![arg], false, &what)? else {
            return Err(Error::new(ErrorKind::UndefinedFunction, format!("function {name} does not exist")));
        };
        let call = AggregateCall {
            function: resolved.signature.id,
            name: name.to_string(),
            params: Vec::new(),
            args: resolved.args,
            distinct: false,
            filter: None,
            order_by: Vec::new(),
            combinator: None,
            ty: resolved.ty,
        };
        let frame = WindowFrame { units: FrameUnits::Rows, start, end, exclude: Exclude::NoOthers, key: None };
        Ok(WindowCall { call, frame, ignore_nulls: false })
    }

    fn signature(&self, name: &str, kind: FunctionKind) -> Result<&Signature> {
        self.functions
            .overloads(name)
            .iter()
            .find(|signature| signature.kind == kind)
            .ok_or_else(|| Error::new(ErrorKind::UndefinedFunction, format!("function {name} does not exist")))
    }

    /// Flink's column more: the last millisecond of the window.
    fn with_window_time(&mut self, input: Plan) -> Result<Plan> {
        let mut columns = input.columns().to_vec();
        let mut exprs = own(&columns);
        let Some(end) = exprs.last().cloned() else { return Ok(input) };
        let time = self.last_millisecond(end)?;
        columns.push(OutputColumn::computed("window_time", time.ty.clone()));
        exprs.push(time);
        Ok(Plan::Project { input: Box::new(input), exprs, columns })
    }

    /// The last millisecond of a window that ends then, which Flink calls its time.
    pub(super) fn last_millisecond(&mut self, end: Expr) -> Result<Expr> {
        let millisecond = Expr::literal(Value::unknown("1 millisecond"));
        let millisecond = self.coerce(millisecond, &Type::Interval, CoercionContext::Explicit)?;
        self.operator("-", vec![end, millisecond])
    }
}

/// The rows that have a time.
pub(super) fn timed(input: Plan, time: &Expr) -> Plan {
    Plan::Filter { input: Box::new(input), predicate: not(is_null(time)) }
}

fn is_null(expr: &Expr) -> Expr {
    Expr::new(ExprKind::IsNull(Box::new(expr.clone())), Type::Bool)
}

fn own(columns: &[OutputColumn]) -> Vec<Expr> {
    columns.iter().enumerate().map(|(at, column)| Expr::column(at, column.ty.clone())).collect()
}

/// What a call in FROM says; `None` if its arguments are not those of windows over a table.
fn arguments(shape: Shape, args: &[FunctionArg]) -> Result<Option<Arguments<'_>>> {
    let names: Vec<&str> = ["data", "timecol"].into_iter().chain(shape.intervals().iter().copied()).collect();
    let mut given: Vec<Option<&ast::Expr>> = vec![None; names.len()];
    let mut partition = Vec::new();
    let mut next = 0;
    for arg in args {
        let (place, expr) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Function(call))) if is_call(call, PARTITION) => {
                partition = list(call);
                continue;
            }
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                next += 1;
                (next - 1, expr)
            }
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. }
            | FunctionArg::ExprNamed { name: ast::Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
                let Some(place) = names.iter().position(|known| *known == fold(name)) else {
                    let message = format!("{} has no argument named \"{}\"", shape.name(), name.value);
                    return Err(Error::new(ErrorKind::UndefinedFunction, message));
                };
                (place, expr)
            }
            _ => return Ok(None),
        };
        match given.get_mut(place) {
            Some(place @ None) => *place = Some(expr),
            Some(Some(_)) => {
                let message = format!("argument \"{}\" of {} is given twice", names[place], shape.name());
                return Err(Error::new(ErrorKind::Syntax, message));
            }
            None => return Err(wrong_arguments(shape)),
        }
    }
    let (Some(data), Some(time)) = (given[0], given[1]) else { return Ok(None) };
    let is_table = matches!(data, ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) | ast::Expr::Subquery(_));
    let (time, flink) = match time {
        ast::Expr::Identifier(ident) => (ident, false),
        ast::Expr::Function(call) if is_call(call, "descriptor") => match list(call).as_slice() {
            [ast::Expr::Identifier(ident)] => (ident, true),
            _ => {
                let message = format!("the DESCRIPTOR of {} must name one column, that of the time", shape.name());
                return Err(Error::new(ErrorKind::InvalidColumnReference, message));
            }
        },
        _ => return Ok(None),
    };
    if !is_table {
        return Ok(None);
    }
    if shape != Shape::Session && !partition.is_empty() {
        let message = format!("PARTITION BY is only allowed in SESSION, not in {}", shape.name());
        return Err(Error::new(ErrorKind::Syntax, message));
    }
    let required = shape.intervals().iter().filter(|name| **name != "offset").count();
    let intervals: Vec<&ast::Expr> = given[2..].iter().map_while(|arg| *arg).collect();
    if intervals.len() < required || intervals.len() != given[2..].iter().flatten().count() {
        return Err(wrong_arguments(shape));
    }
    Ok(Some(Arguments { data, time, intervals, partition, flink }))
}

fn wrong_arguments(shape: Shape) -> Error {
    let intervals: Vec<String> = shape
        .intervals()
        .iter()
        .map(|name| if *name == "offset" { "[, offset]".to_string() } else { format!(", {name}") })
        .collect();
    let message = format!("{} takes a table, the column of its time{}", shape.name(), intervals.concat());
    Error::new(ErrorKind::UndefinedFunction, message)
}

fn is_call(call: &ast::Function, name: &str) -> bool {
    matches!(call.name.0.as_slice(), [part] if part.as_ident().is_some_and(|ident| ident.value.eq_ignore_ascii_case(name)))
}

/// The arguments of a call, those in parentheses one by one.
fn list(call: &ast::Function) -> Vec<&ast::Expr> {
    let ast::FunctionArguments::List(list) = &call.args else { return Vec::new() };
    let args = list.args.iter().filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    args.flat_map(|expr| match expr {
        ast::Expr::Tuple(items) => items.iter().collect(),
        ast::Expr::Nested(inner) => vec![inner.as_ref()],
        other => vec![other],
    })
    .collect()
}
