//! Which rows FETCH and MOVE mean.

/// A step from the row on which a cursor stands: row 0 is before its rows, and there is one more behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchRows {
    /// So many rows after it, or all; 0 is the row itself.
    Forward(Option<u64>),
    /// So many rows before it, the nearest first, or all; 0 is the row itself.
    Backward(Option<u64>),
    /// The row of this number, or from the end if it is negative.
    Absolute(i64),
    /// The row that many after it.
    Relative(i64),
}
