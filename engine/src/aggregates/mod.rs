//! Aggregate functions: each is declared once, with its names, signatures, documentation and accumulator.
//!
//! An [`Accumulator`] owns a vector of states, one a group; groups are dense numbers that a group table gives out. It is asked once a
//! batch, never once a value. Its *partial states* are columns: a query merges those of its threads, and a materialized view stores
//! them, so that each layout is written down at its function and never changes its meaning.
//!
//! Invariant: what an accumulator gives does not depend on how rows were split into batches, threads or commits. Sums of integers
//! are exact, sums of floats too, and what depends on the order of rows (`array_agg`) is handed rows in order. An overload that cannot keep it
//! says so (`steady`): approx_top_k, over more values than it counts.

mod any;
mod arrays;
mod association;
mod bitmap;
mod bits;
mod collect;
mod composite;
mod count;
mod ddsketch;
mod delta;
mod dense_sets;
mod distinct;
mod distinct_words;
mod events;
mod exact;
mod hyperloglog;
mod keyed;
mod mean;
mod minmax;
mod moments;
mod packed;
mod pick;
mod quantile;
mod rank_corr;
mod samples;
mod series;
mod shape;
mod sketches;
mod space_saving;
mod spread;
mod states;
mod sum;
mod text;
mod theta;
mod top;
mod value_sets;
mod whole;
mod word_partitions;

pub(crate) use bitmap::{read as read_bitmap, words as bitmap_words, write as write_bitmap};
pub(crate) use packed::{StateOf, pack, unpack};
pub(crate) use sketches::Sketch;
pub(crate) use states::flatten;
pub(crate) use theta::Sketch as ThetaSketch;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::row::Rows;
use weir_sql::catalog::{Param, Returns};
use weir_sql::plan::Spread;
use weir_sql::{Type, Value};

pub use self::word_partitions::{Parts, Settled};
use crate::error::{Error, Result};
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

    /// The same, of whatever types: what only [`Accumulator::merge`] is given again, many times.
    fn kept_state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        self.state(n_groups)
    }

    /// Whether it counts the values that are not NULL, whatever they are, so that its state is how many there are.
    fn counts_values(&self) -> bool {
        false
    }

    /// The results of groups `0..n_groups`, and forgets them.
    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef>;

    /// Bytes it holds.
    fn memory(&self) -> usize;

    /// Whether its states are sets of values, which need not be held as a whole: [`divide`](Accumulator::divide) takes them apart, and each
    /// part is merged and [settled](Accumulator::settle) by itself.
    fn is_set(&self) -> bool {
        false
    }

    /// Partial states as `parts` of them, each with the values of some hashes.
    fn divide(&self, _states: &[ArrayRef], _parts: usize) -> Result<Vec<Vec<ArrayRef>>> {
        Err(Error::internal("these states are no sets"))
    }

    /// Its sets in parts that can be merged with another thread's side by side, if it has such; it has none after.
    fn take_parts(&mut self) -> Option<Parts> {
        None
    }

    /// Counts the distinct values of a merged part.
    fn settled(&mut self, _settled: Settled, _n_groups: usize) -> Result<()> {
        Err(Error::internal("these states have no parts"))
    }

    /// Counts the values of a part's sets and forgets them. Only `finish` and other parts may follow.
    fn settle(&mut self, _n_groups: usize) -> Result<()> {
        Ok(())
    }

    /// Whether its states, or those of what its sets are counted by, are lists of rows that need not be held as a whole: sorted elsewhere by their
    /// [keys](Accumulator::sort_keys), they are handed over [in order](Accumulator::in_order).
    fn is_sorted(&self) -> bool {
        false
    }

    /// By what the rows of its states are sorted.
    fn sort_keys(&self, _rows: &[ArrayRef]) -> Result<Rows> {
        Err(Error::internal("these states have no order"))
    }

    /// Takes more rows, sorted by group and key, in place of states. `counts` says how many there are of each group in all. Only `finish` and
    /// further rows may follow.
    fn in_order(&mut self, _rows: &[ArrayRef], _groups: &[u32], _counts: &[usize]) -> Result<()> {
        Err(Error::internal("these states have no order"))
    }

    /// The states of what its settled sets are counted by, if these are to be sorted.
    fn settled_rows(&mut self, _n_groups: usize) -> Result<Vec<ArrayRef>> {
        Err(Error::internal("these states are no sets that are sorted"))
    }
}

/// Makes an accumulator.
pub type Create = fn(&Call<'_>) -> Result<Box<dyn Accumulator>>;

/// What the order of rows means to an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    Any,
    /// The result depends on it: all rows are collected and handed over sorted.
    Rows,
    /// The accumulator takes each row's position (bigint) as a last argument, and decides by it.
    Position,
}

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
    pub order: Order,
    /// Whether duplicates make no difference, so that DISTINCT needs no work.
    pub idempotent: bool,
    /// Whether it is an ordered-set aggregate: its argument may come from WITHIN GROUP (ORDER BY …).
    pub ordered_set: bool,
    /// The -If combinator: a last boolean argument says which rows count.
    pub condition: bool,
    /// Whether the result is the same however rows are split before their states are merged. No view keeps one of which that is not so.
    pub steady: bool,
    /// Whether states are the same whatever the parameters, which only the end asks for: states made without them are merged with any.
    pub parameters_last: bool,
    /// Whether a column of unconstrained numerics may come as decimals of one scale, batch by batch.
    pub either_form: bool,
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
    /// A SELECT's expression and what it gives over `VALUES (1), (2), (3), (NULL)` as `x`; empty where `functions::example_list` has it.
    pub example: (&'static str, &'static str),
    /// Its overloads.
    pub overloads: Vec<AggregateOverload>,
}

impl AggregateOverload {
    /// An overload that does not care for order.
    fn new(params: Vec<Param>, returns: Returns, state: fn(&[Type], &Type) -> Vec<Type>, create: Create) -> Self {
        AggregateOverload {
            params,
            optional: 0,
            variadic: false,
            returns,
            state,
            create,
            order: Order::Any,
            idempotent: false,
            ordered_set: false,
            condition: false,
            steady: true,
            parameters_last: false,
            either_form: false,
        }
    }

    fn unsteady(mut self) -> Self {
        self.steady = false;
        self
    }

    fn parameters_last(mut self) -> Self {
        self.parameters_last = true;
        self
    }

    fn either_form(mut self) -> Self {
        self.either_form = true;
        self
    }

    fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    fn ordered_set(mut self) -> Self {
        self.ordered_set = true;
        self
    }

    /// The accumulator of a call of this overload: `order_by` are the sort keys inside the call (descending, NULLs first), whose columns
    /// follow the arguments; where [`AggregateOverload::wants_position`] says so, the row's position follows as a last column.
    pub(crate) fn accumulator(
        &self,
        call: &Call<'_>,
        distinct: bool,
        order_by: &[(Type, arrow::compute::SortOptions)],
    ) -> Result<Box<dyn Accumulator>> {
        let inner = (self.create)(call)?;
        self.behind(inner, call.args, distinct, order_by)
    }

    /// An accumulator behind what sorts its rows or lets equal ones through once, where that is asked for.
    fn behind(
        &self,
        inner: Box<dyn Accumulator>,
        args: &[Type],
        distinct: bool,
        order_by: &[(Type, arrow::compute::SortOptions)],
    ) -> Result<Box<dyn Accumulator>> {
        if self.collects(distinct, !order_by.is_empty()) {
            let extra = self.order == Order::Position;
            return Ok(Box::new(collect::Ordered::new(args, order_by, distinct, extra, inner)));
        }
        if distinct && !self.idempotent {
            return distinct::before(args, inner);
        }
        Ok(inner)
    }

    /// The accumulator of a call that is spread over elements or ranges: what is sorted and made distinct are the rows of the query.
    pub(crate) fn spread(
        &self,
        spread: Spread,
        call: &Call<'_>,
        distinct: bool,
        order_by: &[(Type, arrow::compute::SortOptions)],
    ) -> Result<Box<dyn Accumulator>> {
        let (args, returns) = spread::inner(spread, call.args, call.returns)?;
        let inner = (self.create)(&Call { args: &args, returns: &returns, ..*call })?;
        let states = (self.state)(&args, &returns);
        let position = self.order == Order::Position;
        let spread = spread::Spreading::new(spread, call.args.len(), returns, states, position, inner);
        self.behind(Box::new(spread), call.args, distinct, order_by)
    }

    /// Types of the partial state's columns of a call that is spread.
    pub(crate) fn spread_types(
        &self,
        spread: Spread,
        args: &[Type],
        returns: &Type,
        distinct: bool,
        order_by: &[Type],
    ) -> Vec<Type> {
        let collects = self.collects(distinct, !order_by.is_empty()) || (distinct && !self.idempotent);
        match spread::inner(spread, args, returns) {
            Ok((inner, result)) if !collects => spread::states(spread, (self.state)(&inner, &result)),
            _ => self.state_types(args, returns, distinct, order_by),
        }
    }

    fn collects(&self, _distinct: bool, has_order: bool) -> bool {
        match self.order {
            Order::Any => false,
            Order::Rows => true,
            Order::Position => has_order,
        }
    }

    /// Whether a last column says each row's position.
    pub(crate) fn wants_position(&self) -> bool {
        self.order != Order::Any
    }

    /// Whether the sort keys inside the call are asked for.
    pub(crate) fn wants_order(&self) -> bool {
        self.order != Order::Any
    }

    /// Types of the partial state's columns of a call.
    pub(crate) fn state_types(&self, args: &[Type], returns: &Type, distinct: bool, order_by: &[Type]) -> Vec<Type> {
        let list = |ty: &Type| Type::Array(Box::new(ty.clone()));
        if self.collects(distinct, !order_by.is_empty()) {
            return args.iter().chain(order_by).chain(&[Type::Int8]).map(list).collect();
        }
        if distinct && !self.idempotent {
            return args.iter().map(list).collect();
        }
        (self.state)(args, returns)
    }
}

/// A function of one family.
fn function(
    names: &'static [&'static str],
    doc: &'static str,
    example: (&'static str, &'static str),
    overloads: Vec<AggregateOverload>,
) -> AggregateFunction {
    AggregateFunction { names, family: "aggregate", doc, example, overloads }
}

impl AggregateFunction {
    /// With one more overload.
    fn with(mut self, overload: AggregateOverload) -> Self {
        self.overloads.push(overload);
        self
    }
}

/// All aggregate functions, each followed by its -If form.
pub fn functions() -> Vec<AggregateFunction> {
    let families: [fn() -> Vec<AggregateFunction>; 25] = [
        count::functions,
        sum::functions,
        mean::functions,
        minmax::functions,
        moments::functions,
        bits::functions,
        any::functions,
        pick::functions,
        arrays::functions,
        text::functions,
        quantile::functions,
        ddsketch::functions,
        hyperloglog::functions,
        keyed::functions,
        shape::functions,
        delta::functions,
        events::functions,
        top::functions,
        theta::functions,
        bitmap::functions,
        rank_corr::functions,
        association::functions,
        composite::functions,
        samples::functions,
        series::functions,
    ];
    let mut all = Vec::new();
    for function in families.iter().flat_map(|family| family()) {
        let conditional = with_condition(&function);
        all.push(function);
        all.extend(conditional);
    }
    all
}

/// The -If combinator of ClickHouse: `sumIf(x, condition)` is `sum(x) FILTER (WHERE condition)`.
fn with_condition(function: &AggregateFunction) -> Option<AggregateFunction> {
    let overloads: Vec<_> = function
        .overloads
        .iter()
        .filter(|o| !o.variadic && o.optional == 0)
        .cloned()
        .map(|mut o| {
            o.params.push(Param::Exact(Type::Bool));
            o.condition = true;
            o
        })
        .collect();
    if overloads.is_empty() {
        return None;
    }
    // Once a process: the registry is made once.
    let names: Vec<&'static str> = function.names.iter().map(|name| &*format!("{name}If").leak()).collect();
    Some(AggregateFunction {
        names: names.leak(),
        family: function.family,
        doc: "The aggregate over the rows for which the last argument is true.",
        example: ("", ""),
        overloads,
    })
}

/// Keeps, of values that are equal as keys, the one whose bytes are least; NULL where all are NULL. Its one state is the value.
pub(crate) fn least_bytes(ty: &Type) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(pick::Extreme::new(std::slice::from_ref(ty), &[(0, false, false)], &[0])?))
}
