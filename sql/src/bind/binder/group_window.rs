//! Windows of event time in GROUP BY, Flink's `GROUP BY k, HOP(ts, slide, size)` with `HOP_START(ts, slide, size)` in the SELECT list; and the same words as
//! functions, which ClickHouse has.
//!
//! TUMBLE, HOP or SESSION among the keys puts the bounds of the window of each row behind FROM's columns, as it does in FROM; HOP makes a row one for
//! each window. Both bounds are keys. While the query is bound they are placeholder columns from [`TIMES`], unless they can be computed (TUMBLE); they
//! get their places before the aggregation is made, when the other keys are known, which a session is of.
//!
//! Without such a key, `tumble`, `tumbleStart`, `tumbleEnd`, `hop`, `hopStart` and `hopEnd` are ClickHouse's functions.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Select, SelectItem};

use super::Binder;
use super::call::CallName;
use super::query::{bare_name, ordinal};
use super::scope::{Clause, Found, TIMES};
use super::time_window::{Shape, timed};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::names::fold;
use crate::plan::{Expr, ExprKind, Plan};
use crate::types::Type;
use crate::walk;

/// The window that a query groups by.
#[derive(Debug, Clone)]
pub(super) struct GroupWindow {
    shape: Shape,
    /// The time, then the intervals.
    args: Vec<Expr>,
    /// Its start and its end.
    bounds: [Expr; 2],
}

impl GroupWindow {
    /// The keys that a key of GROUP BY stands for, if it is the window.
    pub(super) fn keys(&self, key: &Expr) -> Option<[Expr; 2]> {
        walk::same(key, &self.record()).then(|| self.bounds.clone())
    }

    fn record(&self) -> Expr {
        let field = |name: &str, bound: &Expr| (name.to_string(), bound.ty.clone());
        let ty = Type::Record(vec![field("window_start", &self.bounds[0]), field("window_end", &self.bounds[1])]);
        Expr::new(ExprKind::Row(self.bounds.to_vec()), ty)
    }
}

/// What a word says of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Start,
    End,
    /// Flink's ROWTIME.
    Last,
}

/// A window's shape and a part of it by their name, and whether it is Flink's.
fn word(name: &str) -> Option<(Shape, Part, bool)> {
    let prefix = ["tumble", "hop", "session"].into_iter().find(|prefix| name.starts_with(prefix))?;
    let (part, flink) = match &name[prefix.len()..] {
        "" => (Part::Whole, false),
        "start" => (Part::Start, false),
        "end" => (Part::End, false),
        "_start" => (Part::Start, true),
        "_end" => (Part::End, true),
        "_rowtime" => (Part::Last, true),
        _ => return None,
    };
    Some((Shape::named(prefix)?, part, flink))
}

impl Binder<'_> {
    /// Finds the window among the keys of a query that is about to be bound.
    pub(super) fn bind_group_window(&mut self, select: &Select) -> Result<()> {
        let GroupByExpr::Expressions(keys, _) = &select.group_by else { return Ok(()) };
        let mut found: Option<GroupWindow> = None;
        let mut leaves = Vec::new();
        keys.iter().for_each(|key| keys_within(key, &mut leaves));
        for key in leaves {
            let Some(call) = self.window_key(key, &select.projection) else { continue };
            let name = CallName::of(&call.name)?;
            let Some((shape, Part::Whole, _)) = word(&name.folded).filter(|_| name.qualified.is_none()) else {
                continue;
            };
            let window = self.group_window(shape, call).map_err(|error| super::names::at(error, &name.ident))?;
            match (&found, window) {
                (_, None) => {}
                (None, Some(window)) => found = Some(window),
                (Some(known), Some(window)) if known.shape == window.shape && same(&known.args, &window.args) => {}
                _ => {
                    let error = Error::new(ErrorKind::Unsupported, "GROUP BY may have one window of time");
                    return Err(super::names::at(error, &name.ident));
                }
            }
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.time_window = found;
        }
        Ok(())
    }

    /// The call that a key of GROUP BY is, or that the output is which it names.
    fn window_key<'s>(&self, key: &'s ast::Expr, projection: &'s [SelectItem]) -> Option<&'s ast::Function> {
        let output = |item: &'s SelectItem| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
            _ => None,
        };
        let mut expr = key;
        if let Ok(Some(index)) = ordinal(key, projection.len(), "GROUP BY") {
            // A `*` before it would move it.
            expr = projection[..=index].iter().map(output).collect::<Option<Vec<_>>>()?.pop()?;
        } else if let Some(name) = bare_name(key) {
            // A column of FROM comes first.
            if !matches!(self.frames.last()?.scope.unqualified(&name), Found::No) {
                return None;
            }
            let aliased =
                |item: &&SelectItem| matches!(item, SelectItem::ExprWithAlias { alias, .. } if fold(alias) == name);
            expr = projection.iter().find(aliased).and_then(output)?;
        }
        while let ast::Expr::Nested(inner) = expr {
            expr = inner;
        }
        match expr {
            ast::Expr::Function(function) if function.over.is_none() => Some(function),
            _ => None,
        }
    }

    /// The window that a call in GROUP BY is; `None` if it is none of a time and intervals.
    fn group_window(&mut self, shape: Shape, call: &ast::Function) -> Result<Option<GroupWindow>> {
        let clause = self.frames.last().map_or(Clause::GroupBy, |frame| frame.clause);
        self.enter(Clause::GroupBy);
        let args = self.window_arguments(shape, call);
        self.enter(clause);
        let Some(args) = args? else { return Ok(None) };
        let bounds = match shape {
            Shape::Tumble => {
                [self.checked_window("tumbleStart", args.clone())?, self.operator("tumbleEnd", args.clone())?]
            }
            _ => [0, 1].map(|bound| Expr::column(TIMES + bound, args[0].ty.clone())),
        };
        Ok(Some(GroupWindow { shape, args, bounds }))
    }

    /// The time and the intervals of a call; `None` if it has others.
    fn window_arguments(&mut self, shape: Shape, call: &ast::Function) -> Result<Option<Vec<Expr>>> {
        let FunctionArguments::List(list) = &call.args else { return Ok(None) };
        let required = if shape == Shape::Hop { 3 } else { 2 };
        let zone = usize::from(shape != Shape::Session);
        if !(required..=required + zone).contains(&list.args.len()) {
            return Ok(None);
        }
        let mut args = Vec::with_capacity(list.args.len());
        for arg in &list.args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else { return Ok(None) };
            args.push(self.bind_expr(expr)?);
        }
        let rest = args.split_off(1);
        let Some(time) = args.pop() else { return Ok(None) };
        args.push(self.window_time(shape, time)?);
        let (mut intervals, mut zones): (Vec<Expr>, Vec<Expr>) = Default::default();
        for (at, arg) in rest.into_iter().enumerate() {
            if at + 1 < required { intervals.push(arg) } else { zones.push(self.settle(arg)?) }
        }
        args.extend(self.window_intervals(shape, intervals)?);
        args.extend(zones);
        Ok(Some(args))
    }

    /// A call of a window's function; `None` if it is none.
    pub(super) fn bind_window_part(&mut self, function: &ast::Function, name: &CallName) -> Result<Option<Expr>> {
        let Some((shape, part, flink)) = word(&name.folded) else { return Ok(None) };
        let FunctionArguments::List(list) = &function.args else { return Ok(None) };
        if name.qualified.is_some() || function.over.is_some() {
            return Ok(None);
        }
        // ClickHouse's tumbleStart(tumble(…)).
        if let ([FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))], Part::Start | Part::End) =
            (list.args.as_slice(), part)
        {
            let record = self.bind_expr(expr)?;
            return match &record.ty {
                Type::Record(fields) if fields.len() == 2 => {
                    let index = usize::from(part == Part::End);
                    let ty = fields[index].1.clone();
                    Ok(Some(Expr::new(ExprKind::Field(Box::new(record), index), ty)))
                }
                ty => {
                    let message = format!("function {}({ty}) does not exist", name.shown);
                    Err(Error::new(ErrorKind::UndefinedFunction, message))
                }
            };
        }
        let Some(args) = self.window_arguments(shape, function)? else { return Ok(None) };
        let grouped = self.frames.last().filter(|frame| frame.clause != Clause::Where);
        let grouped = grouped.and_then(|frame| frame.time_window.as_ref());
        let known = grouped.filter(|known| known.shape == shape && same(&known.args, &args)).cloned();
        if let Some(window) = known {
            let [start, end] = window.bounds.clone();
            return match part {
                Part::Whole => Ok(Some(window.record())),
                Part::Start => Ok(Some(start)),
                Part::End => Ok(Some(end)),
                Part::Last => self.last_millisecond(end).map(Some),
            };
        }
        match (shape, part) {
            (Shape::Tumble, Part::Last) => {
                let end = self.checked_window("tumbleEnd", args)?;
                self.last_millisecond(end).map(Some)
            }
            (Shape::Tumble, _) => self.checked_window(&name.folded, args).map(Some),
            (Shape::Hop, _) if !flink => self.checked_window(&name.folded, args).map(Some),
            _ => {
                let (word, key) = (name.folded.to_uppercase(), shape.name());
                let message = match part {
                    Part::Whole => format!("{key} of a time is only allowed in GROUP BY, and where it is a key"),
                    _ => format!("{word} is only allowed where GROUP BY has {key} with the same arguments"),
                };
                Err(Error::new(ErrorKind::Grouping, message))
            }
        }
    }

    /// The rows with the bounds of their window, which are then columns from `width` on; the other keys are what a session is of.
    pub(super) fn over_group_window(
        &mut self,
        plan: Plan,
        window: GroupWindow,
        keys: &[Expr],
        has_sets: bool,
    ) -> Result<Plan> {
        let GroupWindow { shape, mut args, bounds } = window;
        let intervals = args.split_off(1);
        let Some(time) = args.pop() else { return Ok(plan) };
        if shape == Shape::Tumble {
            return Ok(timed(plan, &time));
        }
        if shape == Shape::Session && has_sets {
            let message = "SESSION is not supported beside GROUPING SETS, ROLLUP or CUBE";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let others = keys.iter().filter(|key| !bounds.contains(key)).cloned().collect();
        self.with_windows(shape, plan, time, intervals, others)
    }
}

/// The keys of an element of GROUP BY, out of its sets.
fn keys_within<'e>(element: &'e ast::Expr, keys: &mut Vec<&'e ast::Expr>) {
    match element {
        ast::Expr::Tuple(items) => items.iter().for_each(|item| keys_within(item, keys)),
        ast::Expr::Rollup(sets) | ast::Expr::Cube(sets) | ast::Expr::GroupingSets(sets) => {
            sets.iter().flatten().for_each(|item| keys_within(item, keys));
        }
        key => keys.push(key),
    }
}

fn same(left: &[Expr], right: &[Expr]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| walk::same(left, right))
}
