//! The query binder: a syntax tree to a [`Plan`], names resolved, types decided, every implicit cast written out.
//!
//! One [`Binder`] serves one statement. It keeps a stack of frames, innermost last: one for each query whose expressions are being bound, and one
//! for the left side of each join whose right side may be lateral. A name found `d` frames out is `Outer { depth: d }`; the
//! stack therefore mirrors exactly how plans will nest.
//!
//! A query is bound in Postgres's order: FROM, select list, WHERE, HAVING, ORDER BY, GROUP BY, LIMIT. All expressions are first bound over FROM's
//! columns; aggregates and set-returning functions leave placeholder columns (numbered from [`AGGREGATES`] and [`SETS`]) that are
//! given their places once all are known (`aggregate`, `select`).

use crate::catalog::{Catalog, Functions};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Expr, OutputColumn, Plan};
use crate::types::Type;
use sqlparser::ast;

mod casts;
mod coerce;
mod literal;

/// How freely a cast is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CoercionContext {
    /// By itself, anywhere in an expression.
    Implicit,
    /// To store a value in a column.
    Assignment,
    /// Written by the user.
    Explicit,
}

/// Binds the queries and expressions of one statement.
pub struct Binder<'a> {
    catalog: &'a dyn Catalog,
    functions: &'a dyn Functions,
    /// Types of `$1`, `$2`, …; `None` while undecided.
    parameters: Vec<Option<Type>>,
}

impl<'a> Binder<'a> {
    /// A binder for one statement. `parameter_types` are what the client said of `$1`, `$2`, …; statements may use more.
    pub fn new(catalog: &'a dyn Catalog, functions: &'a dyn Functions, parameter_types: &[Option<Type>]) -> Binder<'a> {
        Binder { catalog, functions, parameters: parameter_types.to_vec() }
    }
}

/// Until the query files are in.
fn later<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "queries are not bound yet"))
}

impl Binder<'_> {
    /// A query's plan. What its columns leave unknown is text.
    pub fn bind_query(&mut self, _query: &ast::Query) -> Result<Plan> {
        later()
    }

    /// A query's plan with exactly these columns, by name and type, cast by assignment: the source of an INSERT. A query of fewer or more columns is an error.
    pub fn bind_query_to(&mut self, _query: &ast::Query, _columns: &[(String, Type)]) -> Result<Plan> {
        later()
    }

    /// An expression over the columns of one relation: DEFAULT (over none), PARTITION BY, TTL.
    pub fn bind_expr_over(&mut self, _expr: &ast::Expr, _columns: &[OutputColumn]) -> Result<Expr> {
        later()
    }

    /// A call of a function or operator by its name over bound arguments.
    pub fn operator(&mut self, _symbol: &str, _args: Vec<Expr>) -> Result<Expr> {
        later()
    }

    /// A parameter.
    fn bind_parameter(&mut self, _name: &str) -> Result<Expr> {
        later()
    }

    /// An expression.
    fn bind_expr(&mut self, _expr: &ast::Expr) -> Result<Expr> {
        later()
    }

    /// Types of all parameters; those that no context decided are text.
    pub fn finish(self) -> Result<Vec<Type>> {
        Ok(self.parameters.into_iter().map(|ty| ty.filter(|ty| *ty != Type::Unknown).unwrap_or(Type::Text)).collect())
    }
}
