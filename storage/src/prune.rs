//! Pruning: which granules cannot hold a row that matches.

use arrow::array::ArrayRef;

/// A condition on one column. All conditions of a scan hold for the rows that are wanted; they are hints: rows for which they do
/// not hold may still come.
#[derive(Debug, Clone)]
pub struct Prune {
    /// The column.
    pub column: usize,
    /// The comparison.
    pub op: PruneOp,
    /// What is compared with, in the column's type: one value; any number for [`PruneOp::In`]; none for the NULL tests.
    pub values: ArrayRef,
}

/// The comparison of a [`Prune`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneOp {
    /// column = value
    Eq,
    /// column < value
    Lt,
    /// column <= value
    Le,
    /// column > value
    Gt,
    /// column >= value
    Ge,
    /// column is one of the values
    In,
    /// column is NULL
    IsNull,
    /// column is not NULL
    IsNotNull,
}
