//! SELECT: from its clauses to FROM → Filter → Aggregate → Filter → ProjectSet → Project → Sort → Limit.
//!
//! Expressions of all clauses are bound over FROM's columns first. If the query aggregates, they are rewritten over the group keys and aggregates
//! (see `group`). ORDER BY keys that are not in the SELECT list become columns of the projection that a last projection drops
//! again.

use sqlparser::ast::{self, Distinct, Select, SelectItem, SelectItemQualifiedWildcardKind, WildcardAdditionalOptions};

use super::clauses::Clauses;
use super::collate::beneath;
use super::gapfill::no_gapfill_key;
use super::group::Grouping;
use super::place::locate;
use super::query::{Bounds, OrderItem, bare_name, order_items};
use super::scope::{Clause, Found, Frame, GAPS, TIMES, WINDOWS};
use super::window;
use super::{Binder, names};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::datatype::type_of;
use crate::parse::names::fold;
use crate::plan::{Expr, ExprKind, OutputColumn, Plan, SortKey};
use crate::types::Type;
use crate::walk;

/// A column of the SELECT list, bound over FROM's columns.
pub(super) struct Output {
    pub(super) expr: Expr,
    pub(super) column: OutputColumn,
}

impl Binder<'_> {
    pub(super) fn bind_select(
        &mut self,
        select: &Select,
        order_by: Option<&ast::OrderBy>,
        bounds: Bounds,
        keep_unknown: bool,
    ) -> Result<Plan> {
        refuse_unsupported(select)?;
        let base = std::mem::replace(&mut self.from_base, self.frames.len());
        let item = self.bind_from(&select.from);
        self.from_base = base;
        let item = item?;
        self.frames.push(Frame::query(item.scope, Clause::Select));
        let plan = self.bind_clauses(select, order_by, bounds, keep_unknown, item.plan);
        self.frames.pop();
        plan
    }

    pub(super) fn enter(&mut self, clause: Clause) {
        if let Some(frame) = self.frames.last_mut() {
            frame.clause = clause;
        }
    }

    fn bind_clauses(
        &mut self,
        select: &Select,
        order_by: Option<&ast::OrderBy>,
        mut bounds: Bounds,
        keep_unknown: bool,
        mut plan: Plan,
    ) -> Result<Plan> {
        let aliases = select.projection.iter().filter_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } => Some((fold(alias), expr.clone())),
            _ => None,
        });
        let aliases = aliases.collect();
        if let Some(frame) = self.frames.last_mut() {
            frame.aliases = aliases;
            frame.named_windows.clone_from(&select.named_window);
        }
        for (at, window) in select.named_window.iter().enumerate() {
            let name = fold(&window.0);
            if select.named_window[..at].iter().any(|before| fold(&before.0) == name) {
                let error = Error::new(ErrorKind::Windowing, format!("window \"{name}\" is already defined"));
                return Err(super::names::at(error, &window.0));
            }
        }

        self.enter(Clause::Select);
        self.bind_group_window(select)?;
        let mut outputs = self.bind_projection(&select.projection)?;
        let distinct = select.distinct.as_ref().filter(|distinct| !matches!(distinct, Distinct::All));
        if !keep_unknown || distinct.is_some() || order_by.is_some() {
            self.settle_outputs(&mut outputs)?;
        }

        self.enter(Clause::Where);
        let mut conditions = Vec::new();
        for condition in select.prewhere.iter().chain(&select.selection) {
            let predicate = self.bind_where(condition, "WHERE")?;
            if self.frames.last().is_some_and(|frame| frame.gapfill.is_some()) {
                conditions.push(predicate.clone());
            }
            plan = Plan::Filter { input: Box::new(plan), predicate };
        }

        self.enter(Clause::Having);
        let having = match &select.having {
            Some(condition) => Some(self.bind_where(condition, "HAVING")?),
            None => None,
        };
        self.enter(Clause::OrderBy);
        let sort = self.bind_order_by(order_by, &outputs)?;
        let shown: Vec<OutputColumn> = outputs.iter().map(|output| output.column.clone()).collect();
        let filling = self.bind_filling(order_by, &sort, &shown, true)?;
        let by = std::mem::take(&mut bounds.by);
        let limit_by = by.iter().map(|expr| self.bind_group_key(expr, &outputs)).collect::<Result<Vec<Expr>>>()?;
        self.enter(Clause::DistinctOn);
        let distinct_on = match distinct {
            Some(Distinct::On(exprs)) => Some(self.bind_distinct_on(exprs, &outputs)?),
            _ => None,
        };
        self.enter(Clause::GroupBy);
        let mut group_by = self.bind_group_by(&select.group_by, &outputs)?;
        self.enter(Clause::Qualify);
        let qualify = match &select.qualify {
            Some(condition) => Some(self.bind_where(condition, "QUALIFY")?),
            None => None,
        };

        let width = plan.columns().len();
        if let Some(window) = self.frames.last_mut().and_then(|frame| frame.time_window.take()) {
            plan = self.over_group_window(plan, window, &group_by.keys, group_by.sets.is_some())?;
        }
        let Some(frame) = self.frames.last_mut() else { return Ok(plan) };
        let (mut aggregates, mut groupings) =
            (std::mem::take(&mut frame.aggregates), std::mem::take(&mut frame.groupings));
        let gapfill = frame.gapfill.take();
        let mut clauses = Clauses {
            outputs,
            having,
            gaps: std::mem::take(&mut frame.gaps),
            windows: std::mem::take(&mut frame.windows),
            qualify,
            sets: std::mem::take(&mut frame.sets),
            sort,
            filling,
            distinct: distinct.is_some(),
            distinct_on,
            limit_by,
            bounds,
        };
        // The bounds of a window of time are behind FROM's columns.
        let of_window = |column: usize| if column >= TIMES { column - TIMES + width } else { column };
        let mut placed = |expr: &mut Expr| walk::rename_columns(expr, &of_window);
        clauses.each_mut(&mut placed);
        group_by.keys.iter_mut().chain(groupings.iter_mut().flatten()).for_each(&mut placed);
        aggregates.iter_mut().for_each(|call| walk::aggregate_parts_mut(call, &mut placed));
        let mut bucket = None;
        if group_by.explicit || !aggregates.is_empty() || !groupings.is_empty() || clauses.having.is_some() {
            let mut grouping = Grouping::new(frame, group_by, aggregates, &groupings)?;
            let mut result = Ok(());
            clauses.each_mut(&mut |expr| result = result.clone().and_then(|()| grouping.rewrite(expr)));
            result?;
            if let (Some(fill), Some(keys)) = (&gapfill, grouping.plain_keys()) {
                let mut key = fill.bucket();
                grouping.rewrite(&mut key).map_err(|_| no_gapfill_key())?;
                bucket = Some((key, keys));
            }
            plan = grouping.over(plan, self.functions);
        }
        if let Some(predicate) = clauses.having.take() {
            plan = Plan::Filter { input: Box::new(plan), predicate };
        }
        let gaps = std::mem::take(&mut clauses.gaps);
        match (gapfill, bucket) {
            (Some(fill), Some((key, keys))) => {
                let width = plan.columns().len();
                plan = self.gap_filled(plan, fill, gaps, &key, keys, conditions)?;
                clauses.place(GAPS, &|gap| width + gap);
            }
            (None, _) if gaps.is_empty() => {}
            (None, _) => {
                let message = "locf and interpolate are only allowed in a query with time_bucket_gapfill";
                return Err(Error::new(ErrorKind::Grouping, message));
            }
            (Some(_), None) => {
                return Err(no_gapfill_key());
            }
        }
        let windows = std::mem::take(&mut clauses.windows);
        if !windows.is_empty() {
            let (over, places) = window::over(plan, windows);
            plan = over;
            clauses.place(WINDOWS, &|window| places[window]);
        }
        if let Some(predicate) = clauses.qualify.take() {
            plan = Plan::Filter { input: Box::new(plan), predicate };
        }
        plan = clauses.over_sets(plan);
        if clauses.distinct && clauses.distinct_on.is_none() {
            sorted_by_outputs(&clauses.sort, &clauses.outputs, order_by)?;
        }
        clauses.over(plan, self)
    }

    pub(super) fn bind_where(&mut self, condition: &ast::Expr, clause: &str) -> Result<Expr> {
        let bound = self.bind_expr(condition)?;
        self.coerce_condition(bound, clause).map_err(|error| locate(error, condition))
    }

    pub(super) fn settle_outputs(&mut self, outputs: &mut [Output]) -> Result<()> {
        for output in outputs {
            let expr = std::mem::replace(&mut output.expr, Expr::column(0, Type::Unknown));
            output.expr = self.settle(expr)?;
            output.column.ty = output.expr.ty.clone();
            output.column.collating = output.expr.collating.of_column();
        }
        Ok(())
    }

    pub(super) fn bind_projection(&mut self, items: &[SelectItem]) -> Result<Vec<Output>> {
        let mut outputs = Vec::with_capacity(items.len());
        for item in items {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
                && let Some(call) = super::columns::call_in(expr)
            {
                let Some(frame) = self.frames.last() else { continue };
                let names: Vec<String> = frame.scope.visible.iter().map(|visible| visible.name.clone()).collect();
                for name in super::columns::chosen(call, &names).map_err(|error| locate(error, expr))? {
                    outputs.push(self.bind_output(&super::columns::with_column(expr, &name), name)?);
                }
                continue;
            }
            match item {
                SelectItem::UnnamedExpr(expr) => outputs.push(self.bind_output(expr, Self::column_name(expr))?),
                SelectItem::ExprWithAlias { expr, alias } => outputs.push(self.bind_output(expr, fold(alias))?),
                SelectItem::Wildcard(options) => {
                    let Some(frame) = self.frames.last() else { continue };
                    if frame.scope.columns.is_empty() && frame.scope.tables.is_empty() {
                        let message = "SELECT * with no tables specified is not valid";
                        return Err(Error::new(ErrorKind::Syntax, message));
                    }
                    let all: Vec<(String, Expr)> = frame
                        .scope
                        .visible
                        .iter()
                        .map(|visible| (visible.name.clone(), visible.expr.clone()))
                        .collect();
                    self.expand(all, options, &mut outputs)?;
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    let all = self.table_columns(name)?;
                    self.expand(all, options, &mut outputs)?;
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expr), options) => {
                    let record = self.bind_expr(expr)?;
                    let Type::Record(fields) = record.ty.clone() else {
                        let message = format!("type {} is not composite", record.ty);
                        return Err(locate(Error::new(ErrorKind::WrongObjectType, message), expr));
                    };
                    let field = |(index, (name, ty)): (usize, (String, Type))| {
                        (name, Expr::new(ExprKind::Field(Box::new(record.clone()), index), ty))
                    };
                    let all = fields.into_iter().enumerate().map(field).collect();
                    self.expand(all, options, &mut outputs)?;
                }
                SelectItem::ExprWithAliases { .. } => {
                    return Err(Error::new(ErrorKind::Unsupported, format!("{item} is not supported")));
                }
            }
        }
        Ok(outputs)
    }

    fn bind_output(&mut self, written: &ast::Expr, name: String) -> Result<Output> {
        let expr = self.bind_expr(written)?;
        let (mut typmod, origin) = match self.frames.last() {
            Some(frame) => frame.scope.provenance(&expr),
            None => (-1, None),
        };
        let mut inner = written;
        while let ast::Expr::Nested(nested) = inner {
            inner = nested;
        }
        if let ast::Expr::Cast { data_type, .. } = inner {
            typmod = type_of(data_type)?.typmod();
        }
        let column = OutputColumn { name, ty: expr.ty.clone(), typmod, origin, collating: expr.collating.of_column() };
        Ok(Output { expr, column })
    }

    /// The columns of a table in FROM, or of an outer query's.
    fn table_columns(&mut self, name: &ast::ObjectName) -> Result<Vec<(String, Expr)>> {
        let parts: Vec<&ast::Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        let folded: Vec<String> = parts.iter().map(|ident| fold(ident)).collect();
        let (schema, table) = match folded.as_slice() {
            [table] => (None, table.as_str()),
            [.., schema, table] => (Some(schema.as_str()), table.as_str()),
            [] => (None, ""),
        };
        for depth in 0..self.frames.len() {
            let frame = &self.frames[self.frames.len() - 1 - depth];
            if !frame.open {
                continue;
            }
            if let Some(found) = frame.scope.table(schema, table) {
                let column = |&column: &usize| {
                    let name = frame.scope.columns[column].name.clone();
                    (name, walk::outward(&frame.scope.column(column), depth))
                };
                return Ok(found.columns.iter().map(column).collect());
            }
        }
        // `composite_column.*`
        if let [ident] = parts.as_slice()
            && let Some(frame) = self.frames.last()
            && let Found::One(record) = frame.scope.unqualified(table)
            && let Type::Record(fields) = record.ty.clone()
        {
            let field = |(index, (name, ty)): (usize, (String, Type))| {
                (name, Expr::new(ExprKind::Field(Box::new(record.clone()), index), ty))
            };
            let _ = ident;
            return Ok(fields.into_iter().enumerate().map(field).collect());
        }
        let error = self.missing_table(schema, table);
        Err(parts.first().map_or(error.clone(), |ident| names::at(error, ident)))
    }

    /// Columns of a `*`, less what EXCEPT or EXCLUDE names, with what REPLACE and RENAME change.
    fn expand(
        &mut self,
        all: Vec<(String, Expr)>,
        options: &WildcardAdditionalOptions,
        outputs: &mut Vec<Output>,
    ) -> Result<()> {
        if options.opt_ilike.is_some() || options.opt_rename.is_some() || options.opt_alias.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, format!("*{options} is not supported")));
        }
        let excluded = excluded(options);
        if let Some(missing) = excluded.iter().find(|name| !all.iter().any(|(known, _)| known == *name)) {
            return Err(Error::new(ErrorKind::UndefinedColumn, format!("column \"{missing}\" does not exist")));
        }
        for (name, expr) in all {
            if excluded.contains(&name) {
                continue;
            }
            let replaced = options.opt_replace.as_ref().and_then(|replace| {
                replace.items.iter().find(|item| fold(&item.column_name) == name).map(|item| item.expr.clone())
            });
            if let Some(replacement) = replaced {
                outputs.push(self.bind_output(&replacement, name)?);
                continue;
            }
            if let Some(frame) = self.frames.last_mut() {
                let at = options.wildcard_token.0.span.start.column as usize;
                let used = walk::columns_read(&expr).into_iter().map(|column| (column, at));
                frame.references.extend(used);
                let (typmod, origin) = frame.scope.provenance(&expr);
                let collating = expr.collating.of_column();
                let column = OutputColumn { name, ty: expr.ty.clone(), typmod, origin, collating };
                outputs.push(Output { expr, column });
            }
        }
        Ok(())
    }

    /// ORDER BY: an output name first, then an ordinal, then an expression over FROM's columns.
    fn bind_order_by(&mut self, order_by: Option<&ast::OrderBy>, outputs: &[Output]) -> Result<Vec<SortKey>> {
        let Some(order_by) = order_by else { return Ok(Vec::new()) };
        let mut keys = Vec::new();
        for (item, options) in order_items(order_by, outputs.len())? {
            let expr = match item {
                OrderItem::Ordinal(index) => outputs[index].expr.clone(),
                OrderItem::Expr(written) => match self.output_named(written, outputs, "ORDER BY")? {
                    Some(expr) => expr,
                    None => {
                        let bound = self.bind_expr(written)?;
                        self.settle(bound)?
                    }
                },
            };
            keys.push(self.sort_key(expr, &options)?);
        }
        Ok(keys)
    }

    /// The output column that a bare name means.
    pub(super) fn output_named(
        &mut self,
        written: &ast::Expr,
        outputs: &[Output],
        clause: &str,
    ) -> Result<Option<Expr>> {
        let Some(name) = bare_name(written) else { return Ok(None) };
        let mut found: Option<&Expr> = None;
        for output in outputs.iter().filter(|output| output.column.name == name) {
            match found {
                Some(known) if !walk::same(known, &output.expr) => {
                    let error = Error::new(ErrorKind::AmbiguousColumn, format!("{clause} \"{name}\" is ambiguous"));
                    return Err(locate(error, written));
                }
                _ => found = Some(&output.expr),
            }
        }
        Ok(found.cloned())
    }

    fn bind_distinct_on(&mut self, exprs: &[ast::Expr], outputs: &[Output]) -> Result<Vec<Expr>> {
        let mut on = Vec::with_capacity(exprs.len());
        for written in exprs {
            let index = super::query::ordinal(written, outputs.len(), "DISTINCT ON")?;
            on.push(match (index, self.output_named(written, outputs, "DISTINCT ON")?) {
                (Some(index), _) => outputs[index].expr.clone(),
                (None, Some(expr)) => expr,
                (None, None) => {
                    let bound = self.bind_expr(written)?;
                    self.settle(bound)?
                }
            });
        }
        Ok(on)
    }
}

/// The columns that EXCEPT or EXCLUDE of a `*` names.
pub(super) fn excluded(options: &WildcardAdditionalOptions) -> Vec<String> {
    let mut excluded: Vec<String> = Vec::new();
    if let Some(except) = &options.opt_except {
        excluded.push(fold(&except.first_element));
        excluded.extend(except.additional_elements.iter().map(fold));
    }
    match &options.opt_exclude {
        Some(ast::ExcludeSelectItem::Single(name)) => excluded.push(name.to_string().to_lowercase()),
        Some(ast::ExcludeSelectItem::Multiple(names)) => {
            excluded.extend(names.iter().map(|name| name.to_string().to_lowercase()));
        }
        None => {}
    }
    excluded
}

/// Of a row that stands for several, only what all of them show says where it goes.
fn sorted_by_outputs(sort: &[SortKey], outputs: &[Output], order_by: Option<&ast::OrderBy>) -> Result<()> {
    let hidden = |key: &SortKey| !outputs.iter().any(|output| walk::same(&output.expr, beneath(&key.expr)));
    let Some(at) = sort.iter().position(hidden) else { return Ok(()) };
    let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
    let error = Error::new(ErrorKind::InvalidColumnReference, message);
    Err(match order_by.map(|order_by| &order_by.kind) {
        Some(ast::OrderByKind::Expressions(keys)) => locate(error, &keys[at].expr),
        _ => error,
    })
}

fn refuse_unsupported(select: &Select) -> Result<()> {
    let refused = [
        (select.top.is_some(), "SELECT TOP"),
        (select.into.is_some(), "SELECT INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (select.value_table_mode.is_some(), "SELECT AS"),
        (select.exclude.is_some(), "SELECT … EXCLUDE"),
    ];
    match refused.into_iter().find(|(found, _)| *found) {
        Some((_, what)) => Err(Error::new(ErrorKind::Unsupported, format!("{what} is not supported yet"))),
        None => Ok(()),
    }
}
