//! EMIT and `late`: when a view shows its windows of event time, and what becomes of rows that come after one is closed.

use super::ObjectName;

/// EMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// CHANGES: rows as they are now.
    Changes,
    /// EVERY: a reader that follows is told at most once in so many microseconds.
    Every(i64),
    /// ON WINDOW CLOSE: only windows that end at or before the watermark.
    OnWindowClose,
}

/// `WITH (late = …)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Late {
    /// They count as any other.
    Include,
    /// They change nothing.
    Drop,
    /// They change nothing, and go to this table.
    Side(ObjectName),
}
