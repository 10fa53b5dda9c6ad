//! What becomes of temporary tables.

/// ON COMMIT of a temporary table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCommit {
    /// Nothing.
    Preserve,
    /// Every commit takes its rows.
    DeleteRows,
    /// The transaction that makes it takes it away again.
    Drop,
}
