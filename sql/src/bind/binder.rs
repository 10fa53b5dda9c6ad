//! The query binder: a syntax tree to a [`Plan`], names resolved, types decided, every implicit cast written out.
//!
//! One [`Binder`] serves one statement. It keeps a stack of frames, innermost last: one for each query whose expressions are being bound, and one
//! for the left side of each join whose right side may be lateral. A name found `d` frames out is `Outer { depth: d }`; the
//! stack therefore mirrors exactly how plans will nest.
//!
//! A query is bound in Postgres's order: FROM, select list, WHERE, HAVING, ORDER BY, GROUP BY, LIMIT. All expressions are first bound over FROM's
//! columns; aggregates and set-returning functions leave placeholder columns (numbered from [`AGGREGATES`] and [`SETS`]) that are
//! given their places once all are known (`aggregate`, `select`).

use sqlparser::ast;

use crate::catalog::{Catalog, Functions};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Expr, OutputColumn};
use crate::types::Type;

mod aggregate_call;
mod array_join;
mod call;
mod casts;
mod changes;
mod clauses;
mod coerce;
mod collate;
mod columns;
pub(crate) mod combinator;
mod cte;
mod dictionary;
mod expr;
mod fill;
mod forms;
mod from;
mod gapfill;
mod group;
mod group_by;
mod group_window;
mod hypothetical;
mod item;
pub(crate) mod join;
mod json_records;
mod lambda;
pub(crate) mod literal;
mod map;
mod merge;
mod modify;
mod names;
mod nearest_join;
mod operators;
mod pivot;
mod place;
mod query;
mod recursion;
pub(crate) mod resolve;
mod rows_from;
mod sample;
mod scope;
mod select;
mod special;
mod subquery;
mod summarize;
mod table_function;
mod time_window;
mod totals;
mod traverse;
pub(crate) mod window;

pub use combinator::{params_of, settled_type, state_overload};
pub use names::nearest;
use scope::{Clause, Frame, Scope};

/// How deep expressions and queries may nest: far beyond what people write, and within the stack of any thread.
const DEPTH_MAX: usize = 200;

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
    /// The statement's text, to find operators in for errors.
    text: Option<&'a str>,
    /// Where its literals stand.
    literals: place::Literals,
    /// The scopes around what is being bound, innermost last.
    frames: Vec<Frame>,
    /// Where the frames of the FROM clause that is being bound begin.
    from_base: usize,
    /// What WITH has named, innermost last.
    ctes: Vec<cte::Named>,
    /// What WITH changes, by the number of its working table.
    changes: Vec<(usize, crate::statement::Statement)>,
    /// The next recursive query's number.
    next_recursion: usize,
    /// The next number of a query that WITH names.
    next_cte: usize,
    /// How many views are being expanded.
    view_depth: usize,
    /// How deep the expression or query being bound is nested.
    depth: usize,
}

impl<'a> Binder<'a> {
    /// A binder for one statement. `parameter_types` are what the client said of `$1`, `$2`, …; statements may use more.
    pub fn new(catalog: &'a dyn Catalog, functions: &'a dyn Functions, parameter_types: &[Option<Type>]) -> Binder<'a> {
        Binder {
            catalog,
            functions,
            parameters: parameter_types.to_vec(),
            text: None,
            literals: place::Literals::default(),
            frames: Vec::new(),
            from_base: 0,
            ctes: Vec::new(),
            changes: Vec::new(),
            next_recursion: 0,
            next_cte: 0,
            view_depth: 0,
            depth: 0,
        }
    }

    /// With the statement's text, errors about operators point at the operator, as Postgres's do.
    pub fn with_text(mut self, text: &'a str) -> Binder<'a> {
        self.text = Some(text);
        self
    }

    /// What it asks for functions.
    pub(super) fn functions(&self) -> &'a dyn Functions {
        self.functions
    }

    /// An expression over the columns of one relation: DEFAULT (over none), PARTITION BY, TTL. Aggregates are errors. Its type may still be unknown: coerce
    /// it.
    pub fn bind_expr_over(&mut self, expr: &ast::Expr, columns: &[OutputColumn]) -> Result<Expr> {
        self.frames.push(Frame::query(Scope::of_columns(columns), Clause::Default));
        let bound = self.bind_expr(expr);
        self.frames.pop();
        bound
    }

    /// Expressions over the columns of a table that may also be named with the table's name: RETURNING. Unknown literals are text.
    pub fn bind_returning(
        &mut self,
        items: &[ast::SelectItem],
        table: &str,
        columns: &[OutputColumn],
    ) -> Result<(Vec<Expr>, Vec<OutputColumn>)> {
        let scope = Scope::of_table(table, scope::scope_columns(columns));
        self.frames.push(Frame::query(scope, Clause::Returning));
        let returned = self.bind_returned(items);
        self.frames.pop();
        returned
    }

    /// Types of all parameters; one that no context decided is an error (42P18).
    pub fn finish(self) -> Result<Vec<Type>> {
        let decided = |(index, ty): (usize, Option<Type>)| {
            ty.filter(|ty| *ty != Type::Unknown).ok_or_else(|| {
                let message = format!("could not determine data type of parameter ${}", index + 1);
                Error::new(ErrorKind::IndeterminateType, message)
            })
        };
        self.parameters.into_iter().enumerate().map(decided).collect()
    }
}
