//! Doors for event streams: rows, view deltas, source offsets and dead letters in one commit, with no SQL.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use weir_sql::Type;
use weir_sql::catalog::ColumnInfo;

use crate::database::Database;
use crate::error::{Error, Result};

/// What a decoder must know of the table it fills. It is of one catalogue version: compare [`Database::catalog_version`] and ask again.
#[derive(Debug, Clone)]
pub struct IngestTarget {
    /// `schema.name`, as it may be given back in [`IngestBatch::table`].
    pub table: String,
    /// The relation's oid.
    pub oid: u32,
    /// The catalogue version that this is of.
    pub catalog_version: u64,
    /// The table's columns in order, with types in the fields' metadata (`Type::from_field`).
    pub schema: SchemaRef,
    /// The same as SQL sees them.
    pub columns: Vec<ColumnInfo>,
    /// The options of `WITH (…)`.
    pub options: Vec<(String, String)>,
    pub(crate) defaults: Vec<Option<ArrayRef>>,
}

impl IngestTarget {
    /// The value of a column that an event lacks, as an array of one row: its DEFAULT, or NULL. `None` if the column admits neither, so
    /// that the event is a dead letter.
    pub fn missing(&self, column: usize) -> Option<ArrayRef> {
        match &self.defaults[column] {
            Some(value) => Some(value.clone()),
            None if self.columns[column].nullable => {
                Some(arrow::array::new_null_array(self.schema.field(column).data_type(), 1))
            }
            None => None,
        }
    }
}

/// What ingest commits at once.
#[derive(Debug, Clone, Default)]
pub struct IngestBatch {
    /// `schema.name` of the table.
    pub table: String,
    /// Rows of the table's columns, in order.
    pub rows: Vec<RecordBatch>,
    /// Next offset by source and partition: kept under `source/NAME/PARTITION`.
    pub offsets: Vec<SourceOffset>,
    /// Records that could not be decoded, in the schema of `weir.dead_letters` (see [`Database::dead_letter_schema`]).
    pub dead_letters: Option<RecordBatch>,
    /// Whether the rows are many: written as parts that the commit names, rather than through the log.
    pub bulk: bool,
}

/// Where a source stands in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceOffset {
    /// The source's name.
    pub source: String,
    /// The partition.
    pub partition: i32,
    /// The offset of the next event to read.
    pub next: i64,
}

/// A table that was made `WITH ('connector' = 'kafka', …)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// `schema.name`.
    pub table: String,
    /// The relation's oid.
    pub oid: u32,
    /// The options of `WITH (…)`, keys in lower case.
    pub options: Vec<(String, String)>,
}

/// How full the head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    /// Bytes of rows that are logged but not yet in parts.
    pub bytes: u64,
    /// Writers should pause above this.
    pub limit: u64,
}

impl Pressure {
    /// Whether a source should pause.
    pub fn is_high(&self) -> bool {
        self.bytes >= self.limit
    }
}

/// Computes the rows of a relation that someone else than the engine fills ([`Database::register_relation`]).
pub type RelationRows = Arc<dyn Fn() -> RecordBatch + Send + Sync>;

impl Database {
    /// What a decoder must know of a table (`name` or `schema.name`).
    pub fn ingest_target(&self, _table: &str) -> Result<Arc<IngestTarget>> {
        Err(Error::internal("ingest is not built yet"))
    }

    /// Commits rows, the deltas of the views on them, offsets and dead letters, all or nothing; the version. Retries by itself when DDL
    /// raced with it, and fails if the table is gone or its columns have changed.
    pub fn ingest(&self, _batch: IngestBatch) -> Result<u64> {
        Err(Error::internal("ingest is not built yet"))
    }

    /// Next offsets by partition, as they were committed.
    pub fn source_offsets(&self, _source: &str) -> Vec<(i32, i64)> {
        Vec::new()
    }

    /// Tables that subscribe to a stream. Ask again when [`Database::catalog_version`] has moved.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        Vec::new()
    }

    /// Raised by every DDL statement.
    pub fn catalog_version(&self) -> u64 {
        0
    }

    /// How full the head is.
    pub fn pressure(&self) -> Pressure {
        Pressure { bytes: 0, limit: u64::MAX }
    }

    /// The columns of `weir.dead_letters`: topic text, partition integer, offset bigint, key bytea, raw bytea, reason text, time
    /// timestamptz.
    pub fn dead_letter_schema(&self) -> SchemaRef {
        dead_letter_schema()
    }

    /// Adds a relation whose rows the caller computes at each read, such as `weir.kafka_status`. Not kept: register it at each open.
    pub fn register_relation(&self, _schema: &str, _name: &str, _columns: Vec<(String, Type)>, _rows: RelationRows) {}
}

/// See [`Database::dead_letter_schema`].
pub(crate) fn dead_letter_schema() -> SchemaRef {
    let columns = [
        ("topic", Type::Text, false),
        ("partition", Type::Int4, false),
        ("offset", Type::Int8, false),
        ("key", Type::Bytea, true),
        ("raw", Type::Bytea, true),
        ("reason", Type::Text, false),
        ("time", Type::Timestamptz, false),
    ];
    let fields: Vec<_> = columns.iter().map(|(name, ty, nullable)| ty.field(name, *nullable)).collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
}
