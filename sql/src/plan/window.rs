//! Calls of window functions and the frames of rows that they are over.

use super::{AggregateCall, Expr};

/// A call of a window function, or of an aggregate over a frame of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowCall {
    /// The function, which need not be an aggregate.
    pub call: AggregateCall,
    /// The rows that it is over.
    pub frame: Frame,
    /// IGNORE NULLS
    pub ignore_nulls: bool,
}

/// Which rows around the current one a window function is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// What offsets count.
    pub units: FrameUnits,
    /// Where it begins.
    pub start: FrameBound,
    /// Where it ends.
    pub end: FrameBound,
    /// Which of the rows between do not count.
    pub exclude: Exclude,
    /// The ORDER BY key, in the type of the bounds, where those of RANGE have offsets.
    pub key: Option<Expr>,
}

/// What a frame's offsets count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameUnits {
    /// Rows.
    Rows,
    /// The difference of the ORDER BY key.
    Range,
    /// Groups of peers.
    Groups,
}

/// One end of a frame.
#[derive(Debug, Clone, PartialEq)]
pub enum FrameBound {
    /// UNBOUNDED PRECEDING, or as an end UNBOUNDED FOLLOWING
    Unbounded,
    /// `n PRECEDING`
    Preceding(Box<FrameOffset>),
    /// CURRENT ROW
    CurrentRow,
    /// `n FOLLOWING`
    Following(Box<FrameOffset>),
}

/// How far from the current row a frame's bound is.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameOffset {
    /// How far: no columns.
    pub value: Expr,
    /// Whether it is negative, which is an error.
    pub negative: Expr,
    /// The key that far away, of RANGE.
    pub key: Option<Expr>,
}

/// EXCLUDE
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclude {
    /// NO OTHERS
    NoOthers,
    /// CURRENT ROW
    CurrentRow,
    /// GROUP: the current row and its peers.
    Group,
    /// TIES: its peers.
    Ties,
}
