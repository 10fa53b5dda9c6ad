//! Doors for event streams: rows, view deltas, source offsets and dead letters in one commit, with no SQL.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use weir_sql::Type;
use weir_sql::catalog::ColumnInfo;
use weir_storage::Change;

use crate::cancel::Cancel;
use crate::catalog::{CatalogState, Entry, Kind};
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::evolve;
use crate::exec;
use crate::replay::{self, Replay};
use crate::statement::commit::{tables_of, with_views};
use crate::statement::table::{assigned, bind_over, detached_context};
use crate::statement::unique::Policy;
use crate::statement::writer::{Base, Writer};
use crate::transaction::{Item, Pending};
use crate::views::late;
use crate::watermark;

/// What a decoder must know of the table it fills. It is of one catalogue version: compare [`Database::catalog_version`] and ask again.
#[derive(Debug, Clone)]
pub struct IngestTarget {
    /// `schema.name`, as it may be given back in [`IngestBatch::table`].
    pub table: String,
    /// The relation's oid.
    pub oid: u32,
    /// The catalogue version that this is of.
    pub catalog_version: u64,
    /// The table's columns in order, with types in the fields' metadata (`Type::from_field`), and what the columns are known by: rows of this
    /// schema are taken after ALTER TABLE too.
    pub schema: SchemaRef,
    /// The same as SQL sees them.
    pub columns: Vec<ColumnInfo>,
    /// The options of `WITH (…)`.
    pub options: Vec<(String, String)>,
    /// The number of the table's newest replay, 0 if there was none: for [`IngestBatch::epoch`].
    pub epoch: u64,
    /// Whether it is a hidden table of [`Database::rebuilds`].
    pub rebuilding: bool,
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
    /// Which partitions of the offsets' source the rows came from, in the rows' order: what a table's watermark is kept by. Rows beyond count
    /// as those of INSERT do.
    pub origins: Vec<RowOrigin>,
    /// Next offset by source and partition: kept under `source/NAME/PARTITION`.
    pub offsets: Vec<SourceOffset>,
    /// A source and the id of the topic that its offsets are of: kept under `source/NAME/topic`.
    pub topic: Option<(String, String)>,
    /// Records that could not be decoded, in the schema of `weir.dead_letters` (see [`Database::dead_letter_schema`]).
    pub dead_letters: Option<RecordBatch>,
    /// The [`IngestTarget::epoch`] in which it was read. A batch with offsets is refused, with `SerializationFailure`, once the table has
    /// another.
    pub epoch: u64,
    /// A source that begins the replay which was before it ([`Database::replay`]) with these offsets.
    pub begins: Option<String>,
    /// Whether the rows are many: written as parts that the commit names, rather than through the log.
    pub bulk: bool,
}

/// Rows that came one after the other from one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowOrigin {
    /// The partition.
    pub partition: i32,
    /// How many rows.
    pub rows: usize,
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

/// The table of records that could not be decoded.
pub(crate) const DEAD_LETTERS: &str = "dead_letters";
/// Where sources' offsets are kept.
pub(crate) const SOURCE_PREFIX: &str = "source/";

/// What stands in the place of the partition in the key of a topic's id.
pub(crate) const TOPIC: &str = "topic";

/// Source and partition of an offset's key.
pub(crate) fn parse_source_key(key: &str) -> Option<(&str, i32)> {
    let (source, partition) = key.strip_prefix(SOURCE_PREFIX)?.rsplit_once('/')?;
    Some((source, partition.parse().ok()?))
}

impl Database {
    /// What a decoder must know of a table (`name` or `schema.name`).
    pub fn ingest_target(&self, table: &str) -> Result<Arc<IngestTarget>> {
        let snapshot = self.store()?.snapshot();
        let state = self.catalog(&snapshot)?;
        let entry = table_named(&state, table)?;
        let context = Arc::new(detached_context(self, &Cancel::default()));
        let default = |column: &ColumnInfo| -> Result<Option<ArrayRef>> {
            let Some(sql) = &column.default else { return Ok(None) };
            let expr = assigned(bind_over(sql, &[])?, &column.ty)?;
            let one = RecordBatch::try_new_with_options(
                Arc::new(Schema::empty()),
                Vec::new(),
                &RecordBatchOptions::new().with_row_count(Some(1)),
            )?;
            Ok(Some(exec::evaluate(&expr, &one, &context)?))
        };
        Ok(Arc::new(IngestTarget {
            table: entry.qualified(),
            oid: entry.def.oid,
            catalog_version: state.version,
            schema: evolve::marked_schema(&entry),
            columns: entry.relation.columns.clone(),
            options: entry.def.options.clone(),
            epoch: Replay::of(&snapshot, entry.def.oid).epoch,
            rebuilding: entry.def.building,
            defaults: entry.relation.columns.iter().map(default).collect::<Result<_>>()?,
        }))
    }

    /// Commits rows, the deltas of the views on them, offsets and dead letters, all or nothing; the version. Retries by itself when DDL
    /// raced with it; rows that were made for an older definition of the table are brought to the newest. Fails if the table is gone, or if
    /// its offsets were reset since the events were read.
    pub fn ingest(&self, batch: IngestBatch) -> Result<u64> {
        loop {
            let store = self.store()?;
            let snapshot = store.snapshot();
            let state = self.catalog(&snapshot)?;
            let base = Base::new(self, state.clone(), snapshot, Cancel::default());
            let mut pending = Pending::default();
            if !batch.offsets.is_empty() {
                let entry = table_named(&state, &batch.table)?;
                replay::check(&base.snapshot, &entry, &batch)?;
            }
            if !batch.rows.is_empty() {
                let entry = table_named(&state, &batch.table)?;
                let mut writer = Writer::new(base.clone(), &entry, Policy::of_stream(&entry.def))?;
                writer.set_bulk(batch.bulk);
                if let Some(offset) = batch.offsets.first() {
                    writer.come_from(&offset.source, &batch.origins);
                }
                let target = self.ingest_target(&batch.table)?;
                if target.catalog_version != state.version {
                    continue;
                }
                for rows in &batch.rows {
                    writer.push(&evolve::brought_to(self, &entry, &target, rows)?)?;
                }
                writer.finish(&mut pending)?;
            }
            if let Some(dead) = &batch.dead_letters {
                let entry = table_named(&state, &format!("weir.{DEAD_LETTERS}"))?;
                let mut writer = Writer::unchecked(base.clone(), &entry)?;
                writer.push(dead)?;
                writer.finish(&mut pending)?;
            }
            if let (Some(offset), Ok(entry)) = (batch.offsets.first(), table_named(&state, &batch.table)) {
                let partitions: Vec<i32> = batch.offsets.iter().map(|offset| offset.partition).collect();
                let begun = watermark::begun(&base.snapshot, &entry, &offset.source, &partitions);
                pending.items.extend(begun.into_iter().map(Item::Own));
            }
            for offset in &batch.offsets {
                let key = format!("{SOURCE_PREFIX}{}/{}", offset.source, offset.partition);
                let value = Some(offset.next.to_string().into_bytes());
                pending.items.push(Item::Own(Change::Set { key, value }));
            }
            pending.items.extend(replay::begun(&batch).map(Item::Own));
            if let Some((source, id)) = &batch.topic {
                let (key, value) = (format!("{SOURCE_PREFIX}{source}/{TOPIC}"), Some(id.clone().into_bytes()));
                pending.items.push(Item::Own(Change::Set { key, value }));
            }
            let _passing = self.gates().pass(&late::with_sides(self, tables_of(&pending))?, &[], &Cancel::default())?;
            // Against a newer catalogue everything is computed again, parts among it: a view may have come.
            pending.catalog = Some(state.version);
            match with_views(self, &pending) {
                Ok(Ok(committed)) => return Ok(committed.version),
                Ok(Err(weir_storage::Error::CatalogChanged | weir_storage::Error::RowsChanged { .. })) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(error) if error.kind == ErrorKind::SerializationFailure => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Next offsets by partition, as they were committed.
    pub fn source_offsets(&self, source: &str) -> Vec<(i32, i64)> {
        let Ok(store) = self.store() else { return Vec::new() };
        let prefix = format!("{SOURCE_PREFIX}{source}/");
        let snapshot = store.snapshot();
        let offset = |(key, value): (&str, &[u8])| {
            let partition = key[prefix.len()..].parse().ok()?;
            Some((partition, std::str::from_utf8(value).ok()?.parse().ok()?))
        };
        snapshot.scan_prefix(&prefix).filter_map(offset).collect()
    }

    /// The id of the topic that a source's offsets are of, if it was ever committed.
    pub fn source_topic(&self, source: &str) -> Option<String> {
        let snapshot = self.store().ok()?.snapshot();
        let key = format!("{SOURCE_PREFIX}{source}/{TOPIC}");
        let (_, id) = snapshot.scan_prefix(&key).find(|(found, _)| *found == key)?;
        String::from_utf8(id.to_vec()).ok()
    }

    /// Tables that subscribe to a stream. Ask again when [`Database::catalog_version`] has moved.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        let Ok(state) = self.store().and_then(|store| self.catalog(&store.snapshot())) else { return Vec::new() };
        let subscription = |entry: &Arc<Entry>| Subscription {
            table: entry.qualified(),
            oid: entry.def.oid,
            options: entry.def.options.clone(),
        };
        state.entries().filter(|entry| entry.is_stream() && !entry.def.building).map(subscription).collect()
    }

    /// Raised by every DDL statement.
    pub fn catalog_version(&self) -> u64 {
        self.store().map_or(0, |store| store.snapshot().catalog_version())
    }

    /// How full the head is.
    pub fn pressure(&self) -> Pressure {
        let pressure = self.store().map(|store| store.pressure());
        pressure.map_or(Pressure { bytes: 0, limit: u64::MAX }, |p| Pressure {
            bytes: p.bytes as u64,
            limit: p.limit as u64,
        })
    }

    /// The columns of `weir.dead_letters`: topic text, partition integer, offset bigint, key bytea, raw bytea, reason text, time
    /// timestamptz.
    pub fn dead_letter_schema(&self) -> SchemaRef {
        let fields: Vec<_> =
            dead_letter_columns().iter().map(|(name, ty, nullable)| ty.field(name, *nullable)).collect();
        Arc::new(Schema::new(fields))
    }
}

/// An ordinary table by `name` or `schema.name`.
pub(crate) fn table_named(state: &CatalogState, name: &str) -> Result<Arc<Entry>> {
    let (schema, bare) = name.split_once('.').unwrap_or(("public", name));
    match state.find(schema, bare) {
        Some(entry) if entry.def.kind == Kind::Table => Ok(entry.clone()),
        _ => {
            let kind = crate::ErrorKind::Sql(weir_sql::ErrorKind::UndefinedTable);
            Err(Error::new(kind, format!("table \"{name}\" does not exist")))
        }
    }
}

/// See [`Database::dead_letter_schema`]: name, type, whether it admits NULL.
pub(crate) fn dead_letter_columns() -> Vec<(&'static str, Type, bool)> {
    vec![
        ("topic", Type::Text, false),
        ("partition", Type::Int4, false),
        ("offset", Type::Int8, false),
        ("key", Type::Bytea, true),
        ("raw", Type::Bytea, true),
        ("reason", Type::Text, false),
        ("time", Type::Timestamptz, false),
    ]
}
