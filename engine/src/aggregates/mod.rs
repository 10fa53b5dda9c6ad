//! Aggregate functions: each is declared once, with its names, signatures, documentation and accumulator.
//!
//! An [`Accumulator`] owns a vector of states, one a group; groups are dense numbers that a group table gives out. It is asked once a
//! batch, never once a value. Its *partial states* are columns: a query merges those of its threads, and a materialized view stores
//! them, so that each layout is written down at its function and never changes its meaning.
//!
//! Invariant: what an accumulator gives does not depend on how rows were split into batches, threads or commits. Sums of integers
//! are exact, sums of floats too, and what depends on the order of rows (`array_agg`) is handed rows in order.

use arrow::array::{ArrayRef, BooleanArray};
use weir_sql::catalog::{Param, Returns};
use weir_sql::{Type, Value};

use crate::error::Result;
use crate::functions::Context;

/// What an accumulator is made for: one call in one statement or view.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Types of the arguments, after casts.
    pub args: &'a [Type],
    /// Constant parameters: `quantile(0.9)(x)`, or the direct arguments of an ordered-set aggregate.
    pub params: &'a [Value],
    /// The type of the result.
    pub returns: &'a Type,
    /// Whether an ordered-set aggregate's ORDER BY is descending.
    pub descending: bool,
    /// What a kernel may ask of the statement.
    pub context: &'a Context,
}

/// The states of one aggregate call, of all groups.
pub trait Accumulator: Send {
    /// Adds rows: `groups` says which group each row belongs to, below `n_groups`. Rows for which `filter` is not true do not count.
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()>;

    /// Adds partial states, as [`Accumulator::state`] gave them, to groups.
    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()>;

    /// The partial states of groups `0..n_groups`, and forgets them. Columns are of the types that the overload's `state` says.
    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>>;

    /// The results of groups `0..n_groups`, and forgets them.
    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef>;

    /// Bytes it holds.
    fn memory(&self) -> usize;
}

/// Makes an accumulator.
pub type Create = fn(&Call<'_>) -> Result<Box<dyn Accumulator>>;

/// One overload of an aggregate function.
#[derive(Debug, Clone)]
pub struct AggregateOverload {
    /// What its arguments must be.
    pub params: Vec<Param>,
    /// How many of them may be left off at the end.
    pub optional: usize,
    /// Whether the last may be repeated.
    pub variadic: bool,
    /// Its result's type.
    pub returns: Returns,
    /// Types of the partial state's columns, from those of the arguments and the result.
    pub state: fn(&[Type], &Type) -> Vec<Type>,
    /// Its accumulator.
    pub create: Create,
    /// Whether the result depends on the order of rows, so that ORDER BY inside the call matters.
    pub ordered: bool,
    /// Whether it is an ordered-set aggregate: its argument may come from WITHIN GROUP (ORDER BY …).
    pub ordered_set: bool,
    /// The -If combinator: a last boolean argument says which rows count.
    pub condition: bool,
}

/// An aggregate function.
#[derive(Debug, Clone)]
pub struct AggregateFunction {
    /// Its name, then its other names.
    pub names: &'static [&'static str],
    /// Its family, as SHOW FUNCTIONS groups them.
    pub family: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// A SELECT's expression and what it gives over `VALUES (1), (2), (3), (NULL)` as `x`; empty where there is none.
    pub example: (&'static str, &'static str),
    /// Its overloads.
    pub overloads: Vec<AggregateOverload>,
}
