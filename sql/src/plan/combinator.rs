//! ClickHouse's combinators of aggregate functions.

/// ClickHouse's combinators: those of partial states, and those that spread an aggregate over several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combinator {
    /// -State: rows in, a state out.
    State,
    /// -Merge: states in, their result out.
    Merge,
    /// -MergeState: states in, one state out.
    MergeState,
    /// -ForEach, -Array and -Resample.
    Spread(Spread),
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
