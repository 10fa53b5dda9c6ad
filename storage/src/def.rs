//! What callers hand to storage: table definitions, changes, commits and options.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};

use crate::codec::Codec;
use crate::index::{IndexDef, IndexValues};
use crate::io::{DiskIo, Io};
use crate::part::NewPart;
use crate::rows::RowSet;
use crate::snapshot::Snapshot;

/// A table's id, chosen by the engine and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u32);

/// A part's id; unique in its database, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId(pub u64);

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What storage has to know about a table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableDef {
    /// Only for messages.
    pub name: String,
    /// The columns; metadata is kept as it is.
    pub schema: SchemaRef,
    /// Of each column, by what it is known while names, places and neighbours change: unique in the table, never used again.
    pub ids: Vec<u32>,
    /// Of each column, its value (one row) in rows that were there before the column was; `None` is NULL.
    pub missing: Vec<Option<ArrayRef>>,
    /// The columns by which parts are sorted, ascending, NULLs last.
    pub sort_key: Vec<usize>,
    /// When a commit of rows is acknowledged.
    pub durability: Durability,
    /// Key columns by whose equal runs flush and merges call [`Collapse`]; parts are then sorted by these first.
    pub collapse: Option<Vec<usize>>,
    /// When rows may be dropped: when one of these says so.
    pub ttl: Vec<TtlDef>,
    /// Skip indexes.
    pub indexes: Vec<IndexDef>,
    /// How columns are to be encoded, by column; those past its end, by their data.
    pub codecs: Vec<Codec>,
    /// The columns that no two rows have the same values of, NULLs included; set when the table is made. It is kept by those who
    /// add rows ([`Commit::seen`]).
    pub key: Option<Vec<usize>>,
}

impl TableDef {
    /// A table with these columns, sorted by nothing, fsynced, kept for ever.
    pub fn new(name: impl Into<String>, schema: SchemaRef) -> TableDef {
        let columns = schema.fields().len();
        TableDef {
            name: name.into(),
            schema,
            ids: (1..=columns as u32).collect(),
            missing: vec![None; columns],
            sort_key: Vec::new(),
            durability: Durability::Fsync,
            collapse: None,
            ttl: Vec::new(),
            indexes: Vec::new(),
            codecs: Vec::new(),
            key: None,
        }
    }

    /// Whether parts of one of the tables can be parts of the other: the same columns in the same order of rows.
    pub fn has_same_rows(&self, other: &TableDef) -> bool {
        let columns = |def: &TableDef| -> Vec<(DataType, bool)> {
            def.schema.fields().iter().map(|field| (field.data_type().clone(), field.is_nullable())).collect()
        };
        columns(self) == columns(other)
            && self.ids == other.ids
            && self.order() == other.order()
            && self.collapse == other.collapse
            && self.key == other.key
    }

    /// The columns by which parts are really sorted: the sort key, with the collapse key brought to the front unless the
    /// sort key begins with exactly those columns.
    pub fn order(&self) -> Vec<usize> {
        let Some(collapse) = &self.collapse else { return self.sort_key.clone() };
        let front = self.sort_key.get(..collapse.len()).unwrap_or_default();
        if collapse.iter().all(|column| front.contains(column)) && front.iter().all(|column| collapse.contains(column))
        {
            return self.sort_key.clone();
        }
        let mut order = collapse.clone();
        order.extend(self.sort_key.iter().filter(|column| !collapse.contains(column)));
        order
    }
}

/// When a commit of rows is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// After its fsync.
    #[default]
    Fsync,
    /// After it is written to the operating system; a crash of the machine may lose the last moments.
    Async,
}

/// Rows may be dropped once `column` + the interval is past. The column is a Date32 or a Timestamp(µs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlDef {
    /// The column.
    pub column: usize,
    /// Calendar months of the interval.
    pub months: i32,
    /// Days of the interval.
    pub days: i32,
    /// Microseconds of the interval.
    pub micros: i64,
    /// Only rows expire for which more is true: [`Retain`] knows.
    pub conditional: bool,
}

/// Changes that become durable and visible together, at one version.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The changes, applied in order.
    pub changes: Vec<Change>,
    /// Fail with [`crate::Error::CatalogChanged`] unless the catalogue is still at this version.
    pub expect_catalog: Option<u64>,
    /// The version of the snapshot in which the keys were looked up of the rows that it adds to tables with a unique key; it must
    /// be there when it adds some. The commit fails with [`crate::Error::RowsChanged`] when another has added one of the keys since. That no
    /// key is twice among its own rows is for the caller to see to.
    pub seen: Option<u64>,
}

impl From<Vec<Change>> for Commit {
    fn from(changes: Vec<Change>) -> Commit {
        Commit { changes, ..Commit::default() }
    }
}

/// One change. Creating, dropping and altering tables, and setting a key that begins with `catalog/`, raise the
/// catalogue's version.
#[derive(Debug, Clone)]
pub enum Change {
    /// A new, empty table.
    CreateTable {
        /// Its id.
        id: TableId,
        /// Its definition.
        def: TableDef,
    },
    /// The table and its rows go.
    DropTable {
        /// Its id.
        id: TableId,
    },
    /// The definition changes. Columns come, go and change places at once, whatever the number of rows; a type changes only to one that holds
    /// all of the old one's values as they are ([`crate::widens`]).
    AlterTable {
        /// Its id.
        id: TableId,
        /// Its new definition.
        def: TableDef,
    },
    /// Rows, through the log into the head.
    Append {
        /// The table.
        table: TableId,
        /// The partition; empty when the table has none.
        partition: String,
        /// The rows: the table's columns, in order.
        rows: RecordBatch,
    },
    /// Parts made by [`crate::Store::write_parts`].
    AddParts {
        /// The table.
        table: TableId,
        /// The parts.
        parts: Vec<NewPart>,
    },
    /// These parts go. Fails with [`crate::Error::PartsChanged`] when one is not there.
    DropParts {
        /// The table.
        table: TableId,
        /// The parts.
        parts: Vec<PartId>,
    },
    /// Marks rows deleted. Fails with [`crate::Error::RowsChanged`] when one of them is not there any more.
    Delete {
        /// The table.
        table: TableId,
        /// The rows, from [`Snapshot::row_set`]. They may be rows that changes before this one in the same commit have added.
        rows: RowSet,
    },
    /// All rows of these partitions go, of parts and head.
    DropPartitions {
        /// The table.
        table: TableId,
        /// The partitions.
        partitions: Vec<String>,
    },
    /// All rows of a partition, of parts and head, go to another table of the same columns and order.
    MovePartition {
        /// The table that has them.
        from: TableId,
        /// The table that gets them.
        to: TableId,
        /// The partition.
        partition: String,
    },
    /// All rows go.
    Truncate {
        /// The table.
        table: TableId,
    },
    /// Sets or removes a key of the database's own small map.
    Set {
        /// The key.
        key: String,
        /// The value; `None` removes the key.
        value: Option<Vec<u8>>,
    },
    /// Changes the numbers that a key of that map holds ([`crate::numbers`]), as they are when the commit is applied: commits that are made at
    /// the same time lose nothing of each other. Where there are none the key gets these.
    Tally {
        /// The key.
        key: String,
        /// What becomes of each number.
        how: Tally,
        /// With which.
        numbers: Vec<i64>,
    },
}

/// What [`Change::Tally`] makes of a number and another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tally {
    /// The greater one.
    Greatest,
    /// Their sum.
    Sum,
}

/// A commit that is durable and visible.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its version.
    pub version: u64,
    /// The database at exactly that version.
    pub snapshot: Snapshot,
}

/// Folds rows with equal keys into fewer, for the tables of views.
pub trait Collapse: Send + Sync {
    /// `rows` are sorted by `def.collapse` and hold every run of equal keys whole. The answer has the same schema and is
    /// sorted the same way.
    fn collapse(&self, def: &TableDef, rows: RecordBatch) -> std::result::Result<RecordBatch, String>;
}

/// Says what has not expired, for tables with a TTL.
pub trait Retain: Send + Sync {
    /// What is kept of the rows at `now` (microseconds since 1970, in UTC), in their order; `None` keeps all as they are. Values may be
    /// others than before, but none that the table is sorted or split by. Once a row is not kept it never is again.
    fn retain(&self, def: &TableDef, rows: &RecordBatch, now: i64) -> std::result::Result<Option<RecordBatch>, String>;
}

/// How a [`crate::Store`] behaves.
#[derive(Clone)]
pub struct StoreOptions {
    /// All file access.
    pub io: Arc<dyn Io>,
    /// Rows of a granule.
    pub granule_rows: usize,
    /// A table's head is flushed when it has this many rows…
    pub head_rows_max: usize,
    /// …or this many bytes. Commits are slowed when all heads together pass twice this, and wait at four times.
    pub head_bytes_max: usize,
    /// A checkpoint is written when the log since the last one passes this many bytes.
    pub log_bytes_max: u64,
    /// The most bytes of parts that a background merge takes together.
    pub merge_bytes_max: u64,
    /// Folds rows of tables whose definition asks for it.
    pub collapse: Option<Arc<dyn Collapse>>,
    /// Leaves expired rows out when parts are written.
    pub retain: Option<Arc<dyn Retain>>,
    /// Computes the expressions that indexes are over.
    pub index_values: Option<Arc<dyn IndexValues>>,
    /// Flush, merge, checkpoint and drop in background threads. Otherwise [`crate::Store::maintain`] does it, and commits that
    /// find the head full do it themselves.
    pub background: bool,
    /// Threads that `write_parts` may use.
    pub threads: usize,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            io: Arc::new(DiskIo),
            granule_rows: 8192,
            head_rows_max: 1 << 20,
            head_bytes_max: 64 << 20,
            log_bytes_max: 128 << 20,
            merge_bytes_max: 4 << 30,
            collapse: None,
            retain: None,
            index_values: None,
            background: true,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("granule_rows", &self.granule_rows)
            .field("head_rows_max", &self.head_rows_max)
            .field("head_bytes_max", &self.head_bytes_max)
            .field("log_bytes_max", &self.log_bytes_max)
            .field("background", &self.background)
            .finish_non_exhaustive()
    }
}

/// How full the heads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// Bytes of all heads.
    pub bytes: usize,
    /// From here on commits are slowed. Sources should pause.
    pub limit: usize,
}

impl Pressure {
    /// Whether sources should pause.
    pub fn is_over(&self) -> bool {
        self.bytes > self.limit
    }
}
