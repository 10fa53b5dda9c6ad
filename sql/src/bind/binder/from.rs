//! FROM: tables, views, subqueries, VALUES, functions, and their aliases.
//!
//! Each item gives a plan and the scope that names its columns. An item to the right of others may see them: functions always, subqueries if LATERAL.
//! To that end the left side stands on the stack as a frame of its own while the right side is bound; if nothing there read it, the
//! join is an ordinary one and the level is taken out of the plan again.

use sqlparser::ast::{self, Ident, TableAlias, TableFactor, TableWithJoins};

use super::names::{at, nearest};
use super::scope::{Frame, Scope, ScopeColumn, ScopeTable, scope_columns, visible_columns};
use super::{Binder, CoercionContext};
use crate::catalog::{Relation, RelationKind};
use crate::collation::Collating;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::names::fold;
use crate::plan::{Expr, JoinKind, OutputColumn, Plan, Scan};
use crate::walk;

/// A FROM item: its rows, and what they are called.
pub(super) struct Item {
    pub(super) plan: Plan,
    pub(super) scope: Scope,
}

impl Binder<'_> {
    /// The whole clause: items joined crosswise. Without FROM, one row of no columns.
    pub(super) fn bind_from(&mut self, from: &[TableWithJoins]) -> Result<Item> {
        let mut items = from.iter();
        let Some(first) = items.next() else {
            let plan = Plan::Values { rows: vec![Vec::new()], columns: Vec::new() };
            return Ok(Item { plan, scope: Scope::default() });
        };
        let mut left = self.bind_joins(first)?;
        for item in items {
            let (right, lateral) = self.bind_beside(&left.scope, &mut |binder| binder.bind_joins(item))?;
            left = self.join(left, right, JoinKind::Inner, lateral, None)?;
        }
        Ok(left)
    }

    /// Binds what stands right of `left` in FROM; tells whether it reads it.
    pub(super) fn bind_beside(
        &mut self,
        left: &Scope,
        bind: &mut dyn FnMut(&mut Self) -> Result<Item>,
    ) -> Result<(Item, bool)> {
        self.frames.push(Frame::lateral(left.clone()));
        let bound = bind(self);
        self.frames.pop();
        let mut right = bound?;
        let lateral = walk::reads_level(&right.plan, 1);
        if !lateral {
            walk::shift_plan(&mut right.plan, -1, 1);
        }
        Ok((right, lateral))
    }

    pub(super) fn bind_joins(&mut self, item: &TableWithJoins) -> Result<Item> {
        let mut left = self.bind_factor(&item.relation)?;
        for join in &item.joins {
            left = self.bind_join(left, join)?;
        }
        Ok(left)
    }

    /// One item.
    pub(super) fn bind_factor(&mut self, factor: &TableFactor) -> Result<Item> {
        match factor {
            TableFactor::Table { name, alias, args: None, sample, version: None, .. } => {
                if let Some(item) = self.bind_file(name, alias.as_ref())? {
                    return Ok(item);
                }
                let item = self.bind_table(name)?;
                let item = self.sampled(item, sample.as_ref())?;
                self.alias(item, alias.as_ref())
            }
            TableFactor::Table { name, alias, args: Some(arguments), with_ordinality, sample, .. } => {
                let item = self.bind_table_function(name, &arguments.args, *with_ordinality, alias.as_ref())?;
                self.sampled(item, sample.as_ref())
            }
            TableFactor::Function { name, args, with_ordinality, alias, .. } => {
                self.bind_table_function(name, args, *with_ordinality, alias.as_ref())
            }
            TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } => {
                self.bind_unnest(array_exprs, *with_ordinality, alias.as_ref())
            }
            TableFactor::TableFunction { expr: ast::Expr::Function(function), alias } => {
                let ast::FunctionArguments::List(list) = &function.args else {
                    return Err(Error::new(ErrorKind::Unsupported, format!("{factor} is not supported in FROM")));
                };
                self.bind_table_function(&function.name, &list.args, false, alias.as_ref())
            }
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                let item = self.bind_derived(subquery, *lateral)?;
                let item = self.sampled(item, sample.as_ref())?;
                self.alias(item, alias.as_ref())
            }
            TableFactor::Pivot {
                table,
                aggregate_functions,
                value_column,
                value_source,
                default_on_null: None,
                alias,
            } => {
                let item = self.bind_pivot_factor(table, aggregate_functions, value_column, value_source)?;
                self.alias(item, alias.as_ref())
            }
            TableFactor::Unpivot { table, value, name, columns, null_inclusion, alias } => {
                let item = self.bind_unpivot_factor(table, value, name, columns, null_inclusion.as_ref())?;
                self.alias(item, alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let item = self.bind_joins(table_with_joins)?;
                match alias {
                    None => Ok(item),
                    Some(_) => {
                        let item = self.flatten(item)?;
                        self.alias(item, alias.as_ref())
                    }
                }
            }
            other => Err(Error::new(ErrorKind::Unsupported, format!("{other} is not supported in FROM"))),
        }
    }

    /// A CTE, table, view or system relation.
    pub(super) fn bind_table(&mut self, name: &ast::ObjectName) -> Result<Item> {
        let object = crate::parse::names::object_name(name)?;
        let ident = name.0.first().and_then(|part| part.as_ident());
        let located = |error: Error| ident.map_or(error.clone(), |ident| at(error, ident));
        if object.schema.is_none()
            && let Some(item) = self.bind_cte_reference(&object.name).map_err(located)?
        {
            return Ok(item);
        }
        let schema = object.schema.as_deref();
        let found = self.catalog.relation(schema, &object.name).map_err(located)?;
        match found {
            Some(relation) => self.bind_relation(relation).map_err(located),
            None => Err(located(self.no_such_relation(schema, &object.name))),
        }
    }

    pub(super) fn no_such_relation(&self, schema: Option<&str>, name: &str) -> Error {
        let shown = match schema {
            Some(schema) => format!("{schema}.{name}"),
            None => name.to_string(),
        };
        let error = Error::new(ErrorKind::UndefinedTable, format!("relation \"{shown}\" does not exist"));
        let names = self.catalog.relation_names();
        match nearest(name, names.iter().map(String::as_str)) {
            Some(known) if known != name => error.with_hint(format!("Did you mean \"{known}\"?")),
            _ => error,
        }
    }

    /// All columns of a relation; a view's query is bound in its place.
    pub(super) fn bind_relation(&mut self, relation: std::sync::Arc<Relation>) -> Result<Item> {
        let columns: Vec<OutputColumn> = relation
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| OutputColumn {
                name: column.name.clone(),
                ty: column.ty.clone(),
                typmod: column.ty.typmod(),
                origin: i16::try_from(index + 1).ok().map(|number| (relation.oid, number)),
                collating: Collating::Implicit(column.collation),
            })
            .collect();
        let mut scope = Scope::of_table(&relation.name, scope_columns(&columns));
        if let Some(table) = scope.tables.first_mut() {
            table.schema = Some(relation.schema.clone());
            table.oid = Some(relation.oid);
            table.primary_key = relation.primary_key.clone();
        }
        let plan = match &relation.kind {
            RelationKind::View { query } => self.expand_view(&relation, query)?,
            RelationKind::Table | RelationKind::MaterializedView | RelationKind::States | RelationKind::System => {
                Plan::Scan(Scan { projection: (0..columns.len()).collect(), filters: Vec::new(), relation, columns })
            }
        };
        Ok(Item { plan, scope })
    }

    /// A view's query, bound on its own: it sees nothing of the query that names it. Its columns have the types that the view was defined with.
    fn expand_view(&mut self, relation: &Relation, query: &str) -> Result<Plan> {
        if self.view_depth > 64 {
            let message = format!("view \"{}\" is defined by way of itself", relation.name);
            return Err(Error::new(ErrorKind::InvalidDefinition, message));
        }
        let within = |mut error: Error| {
            // The place is one in the view's text, not in the statement's.
            error.position = None;
            error
        };
        let parsed = crate::parse::parse(query).map_err(within)?;
        let [statement] = parsed.as_slice() else {
            let message = format!("the definition of view \"{}\" is not one query", relation.name);
            return Err(Error::new(ErrorKind::InvalidDefinition, message));
        };
        let crate::parse::Ast::Query(query) = statement.ast.as_ref() else {
            let message = format!("the definition of view \"{}\" is not a query", relation.name);
            return Err(Error::new(ErrorKind::InvalidDefinition, message));
        };
        let mut binder = Binder::new(self.catalog, self.functions, &[]);
        binder.view_depth = self.view_depth + 1;
        (binder.next_recursion, binder.next_cte) = (self.next_recursion, self.next_cte);
        let plan = binder.bind_query(query).map_err(within)?;
        (self.next_recursion, self.next_cte) = (binder.next_recursion, binder.next_cte);
        let names: Vec<&str> = relation.columns.iter().map(|column| column.name.as_str()).collect();
        let plan = super::super::view::narrowed(plan, &names);
        if plan.columns().len() != relation.columns.len() {
            let message = format!("view \"{}\" no longer has the columns it was defined with", relation.name);
            return Err(Error::new(ErrorKind::InvalidDefinition, message));
        }
        let types: Vec<_> = relation.columns.iter().map(|column| column.ty.clone()).collect();
        self.coerce_columns(plan, &types, CoercionContext::Explicit)
    }

    /// `(SELECT …)`. Unless LATERAL it sees none of its neighbours.
    pub(super) fn bind_derived(&mut self, query: &ast::Query, lateral: bool) -> Result<Item> {
        let mut closed = Vec::new();
        if !lateral {
            // Only this query's own neighbours.
            for (index, frame) in self.frames.iter_mut().enumerate().skip(self.from_base) {
                if frame.lateral && frame.open {
                    frame.open = false;
                    closed.push(index);
                }
            }
        }
        let plan = self.bind_query_at_level(query, false);
        for index in closed {
            self.frames[index].open = true;
        }
        let plan = plan?;
        let columns = scope_columns(plan.columns());
        let visible = visible_columns(&columns);
        // Without an alias it has columns and no name.
        Ok(Item { scope: Scope { columns, visible, ..Scope::default() }, plan })
    }

    /// Makes the visible columns of an item its only ones.
    pub(super) fn flatten(&mut self, item: Item) -> Result<Item> {
        let columns: Vec<OutputColumn> = item
            .scope
            .visible
            .iter()
            .map(|visible| {
                let (typmod, origin) = item.scope.provenance(&visible.expr);
                let collating = visible.expr.collating.of_column();
                OutputColumn { name: visible.name.clone(), ty: visible.expr.ty.clone(), typmod, origin, collating }
            })
            .collect();
        let exprs: Vec<Expr> = item.scope.visible.into_iter().map(|visible| visible.expr).collect();
        let scope = Scope::of_columns(&columns);
        let plan = Plan::Project { input: Box::new(item.plan), exprs, columns };
        Ok(Item { plan, scope })
    }

    /// `AS name(column, …)`: the item is one table of this name, its columns renamed from the first.
    pub(super) fn alias(&mut self, mut item: Item, alias: Option<&TableAlias>) -> Result<Item> {
        let Some(alias) = alias else { return Ok(item) };
        let name = fold(&alias.name);
        let names: Vec<&Ident> = alias.columns.iter().map(|column| &column.name).collect();
        self.rename(&mut item.scope, &name, &names)?;
        Ok(item)
    }

    pub(super) fn rename(&mut self, scope: &mut Scope, name: &str, names: &[&Ident]) -> Result<()> {
        if names.len() > scope.columns.len() {
            let message = format!(
                "table \"{name}\" has {} columns available but {} columns specified",
                scope.columns.len(),
                names.len()
            );
            return Err(at(Error::new(ErrorKind::InvalidColumnReference, message), names[0]));
        }
        for (column, ident) in scope.columns.iter_mut().zip(names) {
            column.name = fold(ident);
        }
        scope.visible = visible_columns(&scope.columns);
        let known = scope.tables.first();
        let table = ScopeTable {
            schema: None,
            name: name.to_string(),
            hidden_name: known.map(|table| table.name.clone()).filter(|known| known != name),
            oid: known.and_then(|table| table.oid),
            columns: (0..scope.columns.len()).collect(),
            primary_key: known.map(|table| table.primary_key.clone()).unwrap_or_default(),
            scalar: known.is_some_and(|table| table.scalar),
        };
        scope.tables = vec![table];
        Ok(())
    }
}

impl ScopeColumn {
    pub(super) fn output(&self) -> OutputColumn {
        OutputColumn {
            name: self.name.clone(),
            ty: self.ty.clone(),
            typmod: self.typmod,
            origin: self.origin,
            collating: self.collating,
        }
    }
}
