//! ClickHouse's combinators of aggregate functions.

use std::sync::Arc;

use super::AggregateCall;

/// ClickHouse's combinators: those of partial states, and those that spread an aggregate over several. And one that only rules write.
#[derive(Debug, Clone, PartialEq)]
pub enum Combinator {
    /// -State: rows in, a state out.
    State,
    /// -Merge: states in, their result out.
    Merge,
    /// -MergeState: states in, one state out.
    MergeState,
    /// -ForEach, -Array and -Resample.
    Spread(Spread),
    /// States in, as the columns that a view keeps them in, the result of this call out, whose own arguments are not looked at.
    Stored(Arc<AggregateCall>),
}

/// What rows an aggregate sees in place of those of the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// -ForEach: the elements of arrays, those of one place being a group of their own. An array of results.
    ForEach,
    /// -Array: the elements of arrays.
    Array,
    /// -Resample: the rows whose last argument is in one of so many ranges from `start` on, each of them `step` wide and a group of its own. An
    /// array of results.
    Resample {
        /// Where the first range begins.
        start: i64,
        /// Where the last one ends at the latest.
        end: i64,
        /// How wide each is.
        step: i64,
    },
}
