//! DuckDB's PIVOT and UNPIVOT, as statements and behind a table in FROM.
//!
//! PIVOT is a GROUP BY with one aggregate for each value: `sum(pop) FILTER (WHERE year::text = '2000') AS "2000"`. Values that no IN names are those
//! that the source has when the statement is bound, which the catalogue tells. Without GROUP BY the groups are the columns that nothing else
//! reads. UNPIVOT repeats each row once for each of its items, as set-returning functions in a SELECT list do.

use sqlparser::ast::{
    self, ExprWithAlias, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, NullInclusion,
    PivotValueSource, SelectItem, SetExpr, TableFactor, TableWithJoins,
};

use super::Binder;
use super::from::Item;
use super::place::locate;
use super::scope::{Clause, Frame};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::duckdb::{GROUP, INTO, ON, PIVOT, UNPIVOT, USING};
use crate::parse::names::{fold, quoted};
use crate::plan::{OutputColumn, Plan, SortKey};
use crate::types::Type;
use crate::walk;

/// Columns that a PIVOT may make.
const COLUMNS_MAX: usize = 10_000;

/// What PIVOT says.
struct Pivot {
    source: Box<ast::Query>,
    on: Vec<PivotOn>,
    /// Aggregates, with what they are called.
    using: Vec<(ast::Expr, Option<Ident>)>,
    group: Option<Vec<ast::Expr>>,
}

/// What is made columns of.
struct PivotOn {
    expr: ast::Expr,
    /// Conditions that are true of each value, and what it is called; `None` for all values that there are.
    values: Option<Vec<(ast::Expr, String)>>,
}

/// What UNPIVOT says.
struct Unpivot {
    source: Box<ast::Query>,
    /// The expressions of each item, and what it is called.
    items: Vec<(Vec<ast::Expr>, String)>,
    name: Ident,
    values: Vec<Ident>,
    nulls: bool,
}

impl Binder<'_> {
    /// A PIVOT or UNPIVOT that the lexer wrote as a call; `None` if the call is another.
    pub(super) fn bind_pivot_call(&mut self, name: &str, args: &[FunctionArg]) -> Result<Option<Item>> {
        match name {
            PIVOT => {
                let group = clause(args, GROUP);
                let using = clause(args, USING).unwrap_or_default();
                let on = clause(args, ON).unwrap_or_default().into_iter().map(|(expr, _)| pivot_on(expr));
                let pivot = Pivot {
                    source: source(args)?,
                    on: on.collect(),
                    using,
                    group: group.map(|group| group.into_iter().map(|(expr, _)| expr).collect()),
                };
                self.bind_pivot(pivot).map(Some)
            }
            UNPIVOT => {
                let mut names = match clause(args, INTO) {
                    Some(names) => names.into_iter().map(|(expr, _)| identifier(&expr)).collect::<Result<Vec<_>>>()?,
                    None => vec![Ident::new("name"), Ident::new("value")],
                };
                let source = source(args)?;
                let items = self.unpivot_items(&source, args)?;
                let name = names.remove(0);
                self.bind_unpivot(Unpivot { source, items, name, values: names, nulls: false }).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// `t PIVOT (…)`.
    pub(super) fn bind_pivot_factor(
        &mut self,
        table: &TableFactor,
        aggregates: &[ExprWithAlias],
        columns: &[ast::Expr],
        values: &PivotValueSource,
    ) -> Result<Item> {
        let [column] = columns else {
            return Err(Error::new(ErrorKind::Unsupported, "PIVOT FOR several columns is not supported"));
        };
        let values = match values {
            PivotValueSource::List(values) => {
                let value =
                    |value: &ExprWithAlias| (equal(column, &value.expr), name_of(&value.expr, value.alias.as_ref()));
                Some(values.iter().map(value).collect())
            }
            PivotValueSource::Any(_) => None,
            PivotValueSource::Subquery(_) => {
                return Err(Error::new(ErrorKind::Unsupported, "PIVOT with a query of values is not supported"));
            }
        };
        let mut on = vec![PivotOn { expr: column.clone(), values }];
        let (mut using, mut group) = (Vec::new(), None);
        for ExprWithAlias { expr, alias } in aggregates {
            match clause_of(expr) {
                Some((GROUP, items)) => group = Some(items.into_iter().map(|(expr, _)| expr).collect()),
                Some((_, items)) => on.extend(items.into_iter().map(|(expr, _)| pivot_on(expr))),
                None => using.push((expr.clone(), alias.clone())),
            }
        }
        self.bind_pivot(Pivot { source: whole(table)?, on, using, group })
    }

    /// `t UNPIVOT (…)`.
    pub(super) fn bind_unpivot_factor(
        &mut self,
        table: &TableFactor,
        value: &ast::Expr,
        name: &Ident,
        columns: &[ExprWithAlias],
        nulls: Option<&NullInclusion>,
    ) -> Result<Item> {
        let items = columns.iter().map(|column| item(&column.expr, column.alias.as_ref())).collect();
        let values = match value {
            ast::Expr::Tuple(values) => values.iter().map(identifier).collect::<Result<_>>()?,
            value => vec![identifier(value)?],
        };
        let nulls = matches!(nulls, Some(NullInclusion::IncludeNulls));
        self.bind_unpivot(Unpivot { source: whole(table)?, items, name: name.clone(), values, nulls })
    }

    fn bind_pivot(&mut self, pivot: Pivot) -> Result<Item> {
        if pivot.on.is_empty() {
            return Err(Error::new(ErrorKind::Syntax, "PIVOT needs ON"));
        }
        let (plan, columns) = self.bind_source(&pivot.source)?;
        let mut read = vec![false; columns.len()];
        let mut wanted: Vec<Vec<(ast::Expr, String)>> = Vec::new();
        for on in &pivot.on {
            let bound = self.bind_over(&on.expr, &columns, &mut read)?;
            wanted.push(match &on.values {
                Some(values) => values.clone(),
                None => self.values_there(&plan, bound, &on.expr)?,
            });
        }
        let using = match pivot.using.is_empty() {
            true => vec![(crate::parse::expr("count(*)")?, None)],
            false => pivot.using,
        };
        for (aggregate, _) in &using {
            self.bind_over(aggregate, &columns, &mut read)?;
        }
        let groups = match pivot.group {
            Some(groups) => groups,
            None => {
                let rest = columns.iter().zip(&read).filter(|(_, read)| !**read);
                rest.map(|(column, _)| ast::Expr::Identifier(Ident::with_quote('"', &column.name))).collect()
            }
        };
        let mut projection: Vec<SelectItem> = groups.iter().cloned().map(SelectItem::UnnamedExpr).collect();
        // Every value of one with every value of the next.
        let mut combinations: Vec<(Vec<ast::Expr>, String)> = vec![(Vec::new(), String::new())];
        for values in &wanted {
            let longer = combinations.iter().flat_map(|(conditions, name)| {
                values.iter().map(move |(condition, value)| {
                    let name = if conditions.is_empty() { value.clone() } else { format!("{name}_{value}") };
                    ([conditions.as_slice(), std::slice::from_ref(condition)].concat(), name)
                })
            });
            combinations = longer.collect();
            if combinations.len() * using.len() > COLUMNS_MAX {
                let message = format!("PIVOT makes more than {COLUMNS_MAX} columns");
                return Err(Error::new(ErrorKind::TooComplex, message).with_hint("Name fewer values with IN."));
            }
        }
        for (conditions, name) in &combinations {
            for (aggregate, alias) in &using {
                let name = match alias {
                    Some(alias) => format!("{name}_{}", alias.value),
                    None if using.len() > 1 => format!("{name}_{}", aggregate.to_string().to_lowercase()),
                    None => name.clone(),
                };
                let expr = filtered(aggregate, conditions)?;
                projection.push(SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) });
            }
        }
        let mut query = crate::parse::query("SELECT 1 FROM t")?;
        if let SetExpr::Select(select) = query.body.as_mut() {
            select.projection = projection;
            select.from = vec![derived(pivot.source)];
            select.group_by = GroupByExpr::Expressions(groups, Vec::new());
        }
        self.bind_as_item(&query)
    }

    /// The values that an expression over a plan has, with conditions that are true of each.
    fn values_there(
        &mut self,
        plan: &Plan,
        bound: crate::plan::Expr,
        written: &ast::Expr,
    ) -> Result<Vec<(ast::Expr, String)>> {
        let ty = bound.ty.clone();
        let columns = vec![OutputColumn::computed("value", ty.clone())];
        let plan = Plan::Project { input: Box::new(plan.clone()), exprs: vec![bound], columns };
        let plan = Plan::Distinct { input: Box::new(plan), on: None };
        let keys = vec![SortKey { expr: crate::plan::Expr::column(0, ty), descending: false, nulls_first: false }];
        let plan = Plan::Sort { input: Box::new(plan), keys };
        let plan = self.coerce_columns(plan, &[Type::Text], super::CoercionContext::Explicit)?;
        if walk::is_correlated(&plan) {
            let error = Error::new(ErrorKind::Unsupported, "PIVOT without IN cannot read columns from outside");
            return Err(locate(error, written));
        }
        let values = self.catalog.texts(plan).map_err(|error| locate(error, written))?;
        let condition = |value: String| {
            let text = format!("({written})::text = '{}'", value.replace('\'', "''"));
            Ok((crate::parse::expr(&text)?, value))
        };
        values.into_iter().map(condition).collect()
    }

    fn bind_unpivot(&mut self, unpivot: Unpivot) -> Result<Item> {
        let (_, columns) = self.bind_source(&unpivot.source)?;
        let mut read = vec![false; columns.len()];
        if unpivot.items.is_empty() {
            return Err(Error::new(ErrorKind::Syntax, "UNPIVOT needs columns"));
        }
        for expr in unpivot.items.iter().flat_map(|(exprs, _)| exprs) {
            self.bind_over(expr, &columns, &mut read)?;
        }
        if unpivot.items.iter().any(|(exprs, _)| exprs.len() != unpivot.values.len()) {
            let message = "UNPIVOT needs as many values as each of its items has columns";
            return Err(Error::new(ErrorKind::Syntax, message));
        }
        let mut items: Vec<String> =
            columns.iter().zip(&read).filter(|(_, read)| !**read).map(|(column, _)| quoted(&column.name)).collect();
        let name = quoted(&fold(&unpivot.name));
        let texts = unpivot.items.iter().map(|(_, name)| format!("'{}'", name.replace('\'', "''")));
        items.push(format!("unnest(ARRAY[{}]) AS {name}", texts.collect::<Vec<_>>().join(", ")));
        let mut conditions = Vec::new();
        for (at, value) in unpivot.values.iter().enumerate() {
            let value = quoted(&fold(value));
            let exprs = unpivot.items.iter().map(|(exprs, _)| exprs[at].to_string());
            items.push(format!("unnest(ARRAY[{}]) AS {value}", exprs.collect::<Vec<_>>().join(", ")));
            conditions.push(format!("{value} IS NOT NULL"));
        }
        let mut rows = crate::parse::query(&format!("SELECT {} FROM t", items.join(", ")))?;
        if let SetExpr::Select(select) = rows.body.as_mut() {
            select.from = vec![derived(unpivot.source)];
        }
        if unpivot.nulls {
            return self.bind_as_item(&rows);
        }
        let mut query = crate::parse::query(&format!("SELECT * FROM t WHERE {}", conditions.join(" AND ")))?;
        if let SetExpr::Select(select) = query.body.as_mut() {
            select.from = vec![derived(rows)];
        }
        self.bind_as_item(&query)
    }

    /// What stands after ON of UNPIVOT; COLUMNS(…) stands for the columns that it leaves.
    fn unpivot_items(&mut self, source: &ast::Query, args: &[FunctionArg]) -> Result<Vec<(Vec<ast::Expr>, String)>> {
        let mut items = Vec::new();
        for (expr, alias) in clause(args, ON).unwrap_or_default() {
            match &expr {
                ast::Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("columns") => {
                    let (_, columns) = self.bind_source(source)?;
                    let names: Vec<String> = columns.into_iter().map(|column| column.name).collect();
                    for name in super::columns::chosen(call, &names)? {
                        items.push((vec![ast::Expr::Identifier(Ident::with_quote('"', &name))], name));
                    }
                }
                expr => items.push(item(expr, alias.as_ref())),
            }
        }
        Ok(items)
    }

    /// A source's plan and its columns.
    pub(super) fn bind_source(&mut self, query: &ast::Query) -> Result<(Plan, Vec<OutputColumn>)> {
        let plan = self.bind_query_at_level(query, false)?;
        let columns = plan.columns().to_vec();
        Ok((plan, columns))
    }

    /// An expression over a source's columns, which may aggregate; notes what it reads.
    fn bind_over(
        &mut self,
        expr: &ast::Expr,
        columns: &[OutputColumn],
        read: &mut [bool],
    ) -> Result<crate::plan::Expr> {
        let scope = super::scope::Scope::of_columns(columns);
        self.frames.push(Frame::query(scope, Clause::Select));
        let bound = self.bind_expr(expr).and_then(|bound| self.settle(bound));
        let frame = self.frames.pop();
        let bound = bound?;
        let mut note = |expr: &crate::plan::Expr| {
            walk::columns_read(expr).into_iter().filter(|&column| column < columns.len()).for_each(|c| read[c] = true);
        };
        note(&bound);
        for call in frame.iter().flat_map(|frame| &frame.aggregates) {
            walk::aggregate_parts(call, &mut note);
        }
        Ok(bound)
    }

    /// A query as an item without a name.
    pub(super) fn bind_as_item(&mut self, query: &ast::Query) -> Result<Item> {
        let factor =
            TableFactor::Derived { lateral: false, subquery: Box::new(query.clone()), alias: None, sample: None };
        self.bind_factor(&factor)
    }
}

/// The query that is a call's first argument.
pub(super) fn source(args: &[FunctionArg]) -> Result<Box<ast::Query>> {
    match args.first() {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Subquery(query)))) => Ok(query.clone()),
        _ => Err(Error::new(ErrorKind::Syntax, "syntax error in the source of a query")),
    }
}

/// A clause's items, with what AS calls them.
type Items = Vec<(ast::Expr, Option<Ident>)>;

/// The items of the clause of this name.
fn clause(args: &[FunctionArg], name: &str) -> Option<Items> {
    args.iter().find_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
            clause_of(expr).filter(|(own, _)| *own == name).map(|(_, items)| items)
        }
        _ => None,
    })
}

/// The clause that a call stands for.
fn clause_of(expr: &ast::Expr) -> Option<(&'static str, Items)> {
    let ast::Expr::Function(call) = expr else { return None };
    let name = &call.name.0.last()?.as_ident()?.value;
    let name = [ON, USING, GROUP, INTO].into_iter().find(|known| known == name)?;
    let FunctionArguments::List(list) = &call.args else { return Some((name, Vec::new())) };
    let items = list.args.iter().filter_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Named { expr, name })) => {
            Some((expr.as_ref().clone(), Some(name.clone())))
        }
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some((expr.clone(), None)),
        _ => None,
    });
    Some((name, items.collect()))
}

/// What is made columns of: an expression, or an expression IN a list.
fn pivot_on(expr: ast::Expr) -> PivotOn {
    match expr {
        ast::Expr::In { expr, target: ast::InTarget::List(list), negated: false, .. } => {
            let values = list.iter().map(|value| (equal(&expr, value), name_of(value, None))).collect();
            PivotOn { expr: *expr, values: Some(values) }
        }
        expr => PivotOn { expr, values: None },
    }
}

/// What a value is called as a column.
fn name_of(value: &ast::Expr, alias: Option<&Ident>) -> String {
    match (alias, value) {
        (Some(alias), _) => alias.value.clone(),
        (None, ast::Expr::Value(value)) => match &value.value {
            ast::Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        (None, other) => other.to_string(),
    }
}

fn equal(left: &ast::Expr, right: &ast::Expr) -> ast::Expr {
    let nested = |expr: &ast::Expr| Box::new(ast::Expr::Nested(Box::new(expr.clone())));
    ast::Expr::BinaryOp { left: nested(left), op: ast::BinaryOperator::Eq, right: nested(right) }
}

/// An aggregate over the rows for which all conditions hold.
fn filtered(aggregate: &ast::Expr, conditions: &[ast::Expr]) -> Result<ast::Expr> {
    let ast::Expr::Function(call) = aggregate else {
        let error = Error::new(ErrorKind::Grouping, "PIVOT needs calls of aggregate functions after USING");
        return Err(locate(error, aggregate));
    };
    let mut call = call.clone();
    for condition in conditions {
        let condition = Box::new(condition.clone());
        call.filter = Some(match call.filter.take() {
            Some(filter) => {
                Box::new(ast::Expr::BinaryOp { left: filter, op: ast::BinaryOperator::And, right: condition })
            }
            None => condition,
        });
    }
    Ok(ast::Expr::Function(call))
}

/// An item of UNPIVOT, and what it is called.
fn item(expr: &ast::Expr, alias: Option<&Ident>) -> (Vec<ast::Expr>, String) {
    let exprs = match expr {
        ast::Expr::Tuple(exprs) => exprs.clone(),
        ast::Expr::Nested(expr) => vec![expr.as_ref().clone()],
        expr => vec![expr.clone()],
    };
    let names = exprs.iter().map(|expr| super::item::figure(expr).map_or_else(|| expr.to_string(), |(name, _)| name));
    let name = alias.map_or_else(|| names.collect::<Vec<_>>().join("_"), |alias| alias.value.clone());
    (exprs, name)
}

fn identifier(expr: &ast::Expr) -> Result<Ident> {
    match expr {
        ast::Expr::Identifier(ident) => Ok(ident.clone()),
        other => Err(locate(Error::new(ErrorKind::Syntax, format!("{other} is not a name")), other)),
    }
}

/// `SELECT * FROM` a FROM item.
fn whole(factor: &TableFactor) -> Result<Box<ast::Query>> {
    let mut query = crate::parse::query("SELECT * FROM t")?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = vec![TableWithJoins { relation: factor.clone(), joins: Vec::new() }];
    }
    Ok(query)
}

fn derived(subquery: Box<ast::Query>) -> TableWithJoins {
    let relation = TableFactor::Derived { lateral: false, subquery, alias: None, sample: None };
    TableWithJoins { relation, joins: Vec::new() }
}
