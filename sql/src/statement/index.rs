//! Skip indexes: what one is, and the statements that make and change them.

use super::{ObjectName, SqlExpr};

/// A skip index.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexDef {
    /// Its name; `None` where CREATE INDEX left it off.
    pub name: Option<String>,
    /// Its type.
    pub kind: IndexKind,
    /// Granules that are taken together.
    pub granularity: u32,
    /// What it is over: one or more, over the table's columns.
    pub keys: Vec<SqlExpr>,
    /// Parts that are there already get it too.
    pub everywhere: bool,
}

/// What a skip index keeps of its keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum IndexKind {
    /// Least and greatest value.
    MinMax,
    /// The distinct values, up to so many; 0 for all.
    Set(u32),
    /// A Bloom filter of the values, with this share of false positives.
    Bloom(f64),
    /// A Bloom filter of runs of characters.
    Ngrams {
        /// Their length.
        n: u32,
        /// The filter.
        filter: FilterSize,
    },
    /// A Bloom filter of words.
    Tokens(FilterSize),
    /// Words, and the rows that have them.
    Text,
}

/// A Bloom filter's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterSize {
    /// Bytes.
    pub bytes: u32,
    /// Hashes of an entry.
    pub hashes: u32,
    /// Seed of the hashes.
    pub seed: u64,
}

/// Changes of a table's indexes.
#[derive(Debug, Clone)]
pub struct AlterIndexes {
    /// The table, resolved.
    pub table: ObjectName,
    /// What to do, in order.
    pub changes: Vec<IndexChange>,
    /// What CommandComplete says.
    pub tag: String,
}

/// A change of one index.
#[derive(Debug, Clone)]
pub enum IndexChange {
    /// A new one.
    Add {
        /// Which.
        index: IndexDef,
        /// IF NOT EXISTS.
        if_not_exists: bool,
    },
    /// It goes.
    Drop {
        /// Which.
        name: String,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// Parts that are there already get it.
    Materialize {
        /// Which.
        name: String,
        /// IF EXISTS.
        if_exists: bool,
    },
}

/// DROP INDEX.
#[derive(Debug, Clone)]
pub struct DropIndex {
    /// Which; the schema is that of the table.
    pub names: Vec<ObjectName>,
    /// IF EXISTS.
    pub if_exists: bool,
}
