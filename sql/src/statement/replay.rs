//! ALTER TABLE … RESET OFFSETS and … REBUILD: the events of a table's stream are read again.

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayAction {
    /// RESET OFFSETS TO: the stream goes on from there.
    Reset(ReplayFrom),
    /// REBUILD FROM: rows made of the events from there on take the place of the table's.
    Rebuild(ReplayFrom),
    /// REBUILD CANCEL.
    CancelRebuild,
}

/// Where reading begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayFrom {
    /// At the oldest event of each partition.
    Earliest,
    /// After the newest.
    Latest,
    /// At the first event of this time or later: the text of a timestamptz.
    Timestamp(String),
    /// At these offsets, each partition once.
    Offsets(Vec<(i32, i64)>),
}
