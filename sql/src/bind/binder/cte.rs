//! WITH: each common table expression is bound once, and its plan put where it is named, as a `Cte`. WITH RECURSIVE makes a `Recursive` operator.

use sqlparser::ast::{self, Cte, CteAsMaterialized, SetExpr, SetOperator, SetQuantifier};

use super::from::Item;
use super::scope::{Scope, scope_columns};
use super::{Binder, CoercionContext};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::names::fold;
use crate::plan::{OutputColumn, Plan};
use crate::types::Type;
use crate::walk;

/// A name that WITH gave.
pub(super) struct Named {
    name: String,
    /// What `Cte`s of it are known by; a recursion's own name inside its step has none.
    id: Option<usize>,
    /// MATERIALIZED, or NOT MATERIALIZED.
    materialized: Option<bool>,
    plan: Plan,
    /// Its columns, as it renames them; none of a statement that returns nothing.
    columns: Vec<OutputColumn>,
    /// Whether it may be read.
    returns: bool,
    /// How it names itself wrongly: a recursive query outside of its step.
    misplaced: Option<Error>,
    /// How many frames were on the stack where it was defined: its outer columns count from there.
    level: usize,
}

impl Named {
    /// The working table of a statement that changes rows.
    pub(super) fn working(name: &str, id: usize, columns: Option<Vec<OutputColumn>>, level: usize) -> Named {
        let returns = columns.is_some();
        let columns = columns.unwrap_or_default();
        let plan = Plan::WorkingTable { id, columns: columns.clone() };
        Named { name: name.to_string(), id: None, materialized: None, plan, columns, returns, misplaced: None, level }
    }
}

impl Binder<'_> {
    pub(super) fn bind_with(&mut self, with: &ast::With) -> Result<()> {
        let first = self.ctes.len();
        for cte in &with.cte_tables {
            let name = fold(&cte.alias.name);
            if self.ctes[first..].iter().any(|known| known.name == name) {
                let message = format!("WITH query name \"{name}\" specified more than once");
                return Err(super::names::at(Error::new(ErrorKind::DuplicateAlias, message), &cte.alias.name));
            }
            if let Some(named) = self.bind_change(cte, &name)? {
                self.ctes.push(named);
                continue;
            }
            let traversal = crate::parse::traversal::taken(&cte.query)?;
            let (stripped, traversal) = match traversal {
                Some((query, traversal)) => (Some(Cte { query: Box::new(query), ..cte.clone() }), Some(traversal)),
                None => (None, None),
            };
            let cte = stripped.as_ref().unwrap_or(cte);
            let named = match recursive_parts(cte).filter(|_| with.recursive) {
                Some((base, step, all)) => match traversal {
                    None => self.bind_recursive(cte, &name, base, step, all)?,
                    Some(traversal) => {
                        let columns = self.bind_base(cte, &name, base)?.1;
                        let (base, step, names) = self.traversed(cte, &traversal, base, step, &columns)?;
                        let mut cte = cte.clone();
                        cte.alias.columns = names;
                        self.bind_recursive(&cte, &name, &base, &step, all)?
                    }
                },
                None if traversal.is_some() => return Err(super::traverse::not_recursive()),
                None => {
                    let known = self.ctes.len();
                    if with.recursive {
                        let is_union = is_union(&cte.query.body);
                        self.ctes.push(misplaced(name.clone(), is_union, self.frames.len()));
                    }
                    let plan = self.bind_query_at_level(&cte.query, false);
                    self.ctes.truncate(known);
                    let plan = plan?;
                    let columns = renamed(cte, plan.columns())?;
                    self.named(cte, name, plan, columns)
                }
            };
            self.ctes.push(named);
        }
        Ok(())
    }

    /// What is bound with the names that WITH gives.
    pub(crate) fn within<T>(&mut self, with: &ast::With, bind: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let known = self.ctes.len();
        let bound = self.bind_with(with).and_then(|()| bind(self));
        self.ctes.truncate(known);
        bound
    }

    fn bind_recursive(&mut self, cte: &Cte, name: &str, base: &SetExpr, step: &SetExpr, all: bool) -> Result<Named> {
        let query = &cte.query;
        if query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
            let clause = match (&query.order_by, &query.limit_clause) {
                (Some(_), _) => "ORDER BY",
                (None, Some(ast::LimitClause::LimitOffset { limit: None, .. })) => "OFFSET",
                _ => "LIMIT",
            };
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{clause} in a recursive query is not implemented"),
            ));
        }
        let known = self.ctes.len();
        if let Some(with) = &query.with {
            self.bind_with(with)?;
        }
        let (base, columns) = self.bind_base(cte, name, base)?;
        let types: Vec<_> = columns.iter().map(|column| column.ty.clone()).collect();
        let base = self.coerce_columns(base, &types, CoercionContext::Implicit)?;
        let id = self.next_recursion;
        self.next_recursion += 1;
        let working = Plan::WorkingTable { id, columns: columns.clone() };
        self.ctes.push(Named {
            name: name.to_string(),
            id: None,
            materialized: None,
            plan: working,
            columns: columns.clone(),
            returns: true,
            misplaced: None,
            level: self.frames.len(),
        });
        let step = self.bind_set_expr(step, true);
        self.ctes.truncate(known);
        let step = step?;
        super::recursion::check_step(&step, id, name)?;
        if step.columns().len() != columns.len() {
            return Err(Error::new(ErrorKind::Syntax, "each UNION query must have the same number of columns"));
        }
        for (index, (base, step)) in columns.iter().zip(step.columns()).enumerate() {
            if !super::casts::can_cast(&step.ty, &base.ty, CoercionContext::Implicit) {
                let message = format!(
                    "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} overall",
                    index + 1,
                    base.ty,
                    without_digits(&step.ty)
                );
                let error = Error::new(ErrorKind::DatatypeMismatch, message);
                return Err(error.with_hint("Cast the output of the non-recursive term to the correct type."));
            }
        }
        let step = self.coerce_columns(step, &types, CoercionContext::Implicit)?;
        let plan = Plan::Recursive { id, base: Box::new(base), step: Box::new(step), all, columns: columns.clone() };
        Ok(self.named(cte, name.to_string(), plan, columns))
    }

    /// The first rows of a recursive query, and what its columns are.
    fn bind_base(&mut self, cte: &Cte, name: &str, base: &SetExpr) -> Result<(Plan, Vec<OutputColumn>)> {
        self.ctes.push(misplaced(name.to_string(), true, self.frames.len()));
        let base = self.bind_set_expr(base, false);
        self.ctes.pop();
        let base = base?;
        let mut columns = renamed(cte, base.columns())?;
        for column in &mut columns {
            column.origin = None;
            // A literal's digits say nothing of those that steps come to.
            column.ty = without_digits(&column.ty);
        }
        Ok((base, columns))
    }

    fn named(&mut self, cte: &Cte, name: String, plan: Plan, columns: Vec<OutputColumn>) -> Named {
        let materialized = cte.materialized.as_ref().map(|how| matches!(how, CteAsMaterialized::Materialized));
        let id = self.next_cte;
        self.next_cte += 1;
        let level = self.frames.len();
        Named { name, id: Some(id), materialized, plan, columns, returns: true, misplaced: None, level }
    }

    /// A CTE of this name in FROM.
    pub(super) fn bind_cte_reference(&mut self, name: &str) -> Result<Option<Item>> {
        let Some(named) = self.ctes.iter().rev().find(|named| named.name == name) else { return Ok(None) };
        if let Some(error) = &named.misplaced {
            return Err(error.clone());
        }
        if !named.returns {
            let message = format!("WITH query \"{name}\" does not have a RETURNING clause");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let mut plan = named.plan.clone();
        let deeper = self.frames.len() - named.level;
        walk::shift_plan(&mut plan, deeper as isize, 0);
        if let Some(id) = named.id {
            let (name, materialized) = (named.name.clone(), named.materialized);
            plan = Plan::Cte { id, name, input: Box::new(plan), materialized };
        }
        let scope = Scope::of_table(name, scope_columns(&named.columns));
        Ok(Some(Item { plan, scope }))
    }
}

/// A query's own name where it may not be said.
fn misplaced(name: String, is_union: bool, level: usize) -> Named {
    let error = super::recursion::misplaced(&name, is_union);
    Named { misplaced: Some(error), ..Named::working(&name, 0, None, level) }
}

fn is_union(body: &SetExpr) -> bool {
    matches!(body, SetExpr::SetOperation { op: SetOperator::Union, .. })
}

/// A type as it is named where only its kind counts.
fn without_digits(ty: &Type) -> Type {
    if let Type::Numeric(_) = ty { Type::Numeric(None) } else { ty.clone() }
}

/// The two halves of a recursive query: `base UNION [ALL] step`, where step names the query.
fn recursive_parts(cte: &Cte) -> Option<(&SetExpr, &SetExpr, bool)> {
    let SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right } = cte.query.body.as_ref() else {
        return None;
    };
    let name = fold(&cte.alias.name);
    let all = matches!(set_quantifier, SetQuantifier::All);
    names_table(right, &name).then_some((left, right, all))
}

/// Whether a query names a table. The tree is searched by its text form: a name inside a string makes no more than an unused
/// working table.
fn names_table(body: &SetExpr, name: &str) -> bool {
    let text = body.to_string().to_lowercase();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(&name.to_lowercase())
        .any(|(at, found)| !text[..at].ends_with(word) && !text[at + found.len()..].starts_with(word))
}

/// The columns, as the WITH clause's column list names them.
pub(super) fn renamed(cte: &Cte, columns: &[OutputColumn]) -> Result<Vec<OutputColumn>> {
    let mut columns = columns.to_vec();
    let names = &cte.alias.columns;
    if names.len() > columns.len() {
        let message = format!(
            "WITH query \"{}\" has {} columns available but {} columns specified",
            fold(&cte.alias.name),
            columns.len(),
            names.len()
        );
        return Err(Error::new(ErrorKind::InvalidColumnReference, message));
    }
    for (column, name) in columns.iter_mut().zip(names) {
        column.name = fold(&name.name);
    }
    Ok(columns)
}
