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
    pub fn new(
        catalog: &'a dyn Catalog,
        functions: &'a dyn Functions,
        parameter_types: &[Option<Type>],
    ) -> Binder<'a> {
        Binder { catalog, functions, parameters: parameter_types.to_vec() }
    }
}
