//! Watermarks: how far the event time of a table has come, in Flink's sense. At a watermark of 12:00 no more rows are awaited from before 12:00.
//!
//! `WATERMARK FOR ts AS ts - INTERVAL '5 seconds'` says of each row which watermark it brings. A commit carries, with its rows, the greatest one of
//! each partition that they came from, and what these come to together: the least of all partitions, so that no window closes before each of
//! them has passed its end. Nothing goes back: the committer takes the greater of what is there and what comes.
//!
//! | key | value |
//! |---|---|
//! | `watermark/OID/SOURCE/PARTITION` | the partition's watermark, and when its last row came |
//! | `watermark/OID` | the table's |
//!
//! Both in microseconds since 1970. What INSERT, COPY and the like bring counts as partition 0 of the source `''`. Rows for which the expression is NULL
//! do not count. A partition from which no row came for `'scan.watermark.idle-timeout'` (Flink's option; here one minute unless it is said, and 0
//! for never) is idle: it holds the others back no more, until its next row. While a database is closed no partition is idle. Where all are
//! idle, all are waited for no longer, and the table's watermark is the greatest of theirs.
//!
//! The table's own watermark is only ever raised by a commit: a snapshot has the same one for everybody. [`watch`] makes such a commit where a
//! partition became idle. It may stand a moment lower than its partitions where commits are made at the same time; the next one makes up for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use weir_sql::plan::Expr;
use weir_sql::{ErrorKind as SqlErrorKind, Type};
use weir_storage::{Change, Commit, Snapshot, Tally, numbers};

use crate::cancel::Cancel;
use crate::catalog::{CatalogState, Entry, RelationDef};
use crate::database::Database;
use crate::error::Result;
use crate::exec::{self, QueryContext};
use crate::format::interval;
use crate::ingest::{RowOrigin, SOURCE_PREFIX};
use crate::session::now_micros;
use crate::statement::names::sql_error;
use crate::statement::table::{bind_over, detached_context, output_columns};
use crate::transaction::{Item, Pending};

/// The beginning of all keys here.
const PREFIX: &str = "watermark/";
/// Stands for the watermark of a partition that has brought no row yet.
const NONE: i64 = i64::MIN;
/// Flink's option.
const IDLE_TIMEOUT: &str = "scan.watermark.idle-timeout";
/// What it is where it is not given: a minute.
const IDLE_DEFAULT: i64 = 60_000_000;

fn table_key(table: u32) -> String {
    format!("{PREFIX}{table}")
}

fn partition_key(table: u32, source: &str, partition: i32) -> String {
    format!("{PREFIX}{table}/{source}/{partition}")
}

/// Microseconds without a row after which a partition of a table is idle; `None` if never.
fn idle_timeout(def: &RelationDef) -> Result<Option<i64>> {
    let Some((_, text)) = def.options.iter().find(|(key, _)| key == IDLE_TIMEOUT) else {
        return Ok(Some(IDLE_DEFAULT));
    };
    let micros = interval::parse(text).ok().filter(|time| time.months == 0).and_then(|time| {
        let days = i64::from(time.days).checked_mul(86_400_000_000)?;
        days.checked_add(time.nanoseconds / 1000).filter(|micros| *micros >= 0)
    });
    let micros = micros.ok_or_else(|| {
        let message = format!("invalid value for option \"{IDLE_TIMEOUT}\": \"{text}\"");
        sql_error(SqlErrorKind::InvalidParameter, message)
            .with_hint("It is a time such as '1 minute', or '0' for never.")
    })?;
    Ok((micros > 0).then_some(micros))
}

/// Whether the options of a table say of its watermark what can be.
pub(crate) fn check(def: &RelationDef) -> Result<()> {
    idle_timeout(def).map(drop)
}

/// The watermarks that rows of a statement bring, by partition.
pub(crate) struct Observed {
    table: u32,
    /// A timestamp over the rows.
    expr: Expr,
    context: Arc<QueryContext>,
    source: String,
    /// Where the next rows are from; of what comes after that all is partition 0.
    origins: VecDeque<RowOrigin>,
    greatest: BTreeMap<i32, i64>,
}

impl Observed {
    /// For rows of a table; `None` if it has no watermark.
    pub(crate) fn new(entry: &Entry, database: &Database, cancel: &Cancel) -> Result<Option<Observed>> {
        let Some((_, sql)) = &entry.def.watermark else { return Ok(None) };
        let expr = bind_over(sql, &output_columns(&entry.relation))?;
        if !matches!(expr.ty, Type::Timestamp | Type::Timestamptz) {
            // Of a table that was made before this was asked.
            return Ok(None);
        }
        let context = Arc::new(detached_context(database, cancel));
        let (source, origins, greatest) = Default::default();
        Ok(Some(Observed { table: entry.def.oid, expr, context, source, origins, greatest }))
    }

    /// The next rows are from these partitions of a source.
    pub(crate) fn come_from(&mut self, source: &str, origins: &[RowOrigin]) {
        self.source = source.to_string();
        self.origins.extend(origins.iter().copied());
    }

    /// Takes rows, which have all of the table's columns.
    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        let values = exec::evaluate(&self.expr, rows, &self.context)?;
        let values = values.as_primitive::<TimestampMicrosecondType>();
        let mut from = 0;
        while from < values.len() {
            let left = values.len() - from;
            let (partition, rows) = match self.origins.front_mut() {
                Some(run) => {
                    let rows = run.rows.min(left);
                    run.rows -= rows;
                    (run.partition, rows)
                }
                None => (0, left),
            };
            if self.origins.front().is_some_and(|run| run.rows == 0) {
                self.origins.pop_front();
            }
            if let Some(greatest) = arrow::compute::max(&values.slice(from, rows)) {
                let known = self.greatest.entry(partition).or_insert(NONE);
                *known = greatest.max(*known);
            }
            from += rows;
        }
        Ok(())
    }

    /// The changes that say so.
    pub(crate) fn finish(&mut self) -> Vec<Change> {
        let arrived = now_micros();
        let change = |(partition, watermark): (i32, i64)| Change::Tally {
            key: partition_key(self.table, &self.source, partition),
            how: Tally::Greatest,
            numbers: vec![watermark, arrived],
        };
        std::mem::take(&mut self.greatest).into_iter().map(change).collect()
    }
}

/// The changes that make partitions known which a stream begins to read, or goes on to: they hold the others back before their first row.
pub(crate) fn begun(snapshot: &Snapshot, entry: &Entry, source: &str, partitions: &[i32]) -> Vec<Change> {
    if entry.def.watermark.is_none() {
        return Vec::new();
    }
    let keys = partitions.iter().map(|partition| partition_key(entry.def.oid, source, *partition));
    let new = keys.filter(|key| snapshot.get(key).is_none());
    let numbers = vec![NONE, now_micros()];
    new.map(|key| Change::Tally { key, how: Tally::Greatest, numbers: numbers.clone() }).collect()
}

/// A partition of a table.
pub(crate) struct Partition {
    pub(crate) source: String,
    pub(crate) partition: i32,
    pub(crate) watermark: Option<i64>,
    pub(crate) is_idle: bool,
}

/// The partitions that are known of a table, as they are at `now`.
pub(crate) fn partitions(database: &Database, snapshot: &Snapshot, def: &RelationDef, now: i64) -> Vec<Partition> {
    let prefix = format!("{}/", table_key(def.oid));
    let timeout = idle_timeout(def).ok().flatten();
    let partition = |(key, value): (&str, &[u8])| {
        let (source, partition) = key[prefix.len()..].rsplit_once('/')?;
        let held = numbers(value);
        let since = held.get(1).copied()?.max(database.opened());
        Some(Partition {
            source: source.to_string(),
            partition: partition.parse().ok()?,
            watermark: held.first().copied().filter(|watermark| *watermark != NONE),
            is_idle: timeout.is_some_and(|timeout| now.saturating_sub(since) > timeout),
        })
    };
    snapshot.scan_prefix(&prefix).filter_map(partition).collect()
}

/// The watermark of a table.
pub(crate) fn of_table(snapshot: &Snapshot, table: u32) -> Option<i64> {
    numbers(snapshot.get(&table_key(table))?).first().copied()
}

/// The change that raises a table's watermark to what its partitions come to, if that is more.
fn raised(database: &Database, snapshot: &Snapshot, def: &RelationDef, now: i64) -> Option<Change> {
    let partitions = partitions(database, snapshot, def, now);
    let mut busy = partitions.iter().filter(|partition| !partition.is_idle).peekable();
    let reached = match busy.peek() {
        // One that has none yet is the least of all.
        Some(_) => busy.map(|partition| partition.watermark).min().flatten(),
        None => partitions.iter().filter_map(|partition| partition.watermark).max(),
    };
    let reached = reached.filter(|reached| of_table(snapshot, def.oid).is_none_or(|before| before < *reached))?;
    Some(Change::Tally { key: table_key(def.oid), how: Tally::Greatest, numbers: vec![reached] })
}

/// The further changes of a commit that carries watermarks of partitions: the tables' own.
pub(crate) fn advance(
    database: &Database,
    state: &CatalogState,
    snapshot: &Snapshot,
    pending: &Pending,
) -> Result<Vec<Change>> {
    let own: Vec<Change> = pending.items.iter().map(Item::change).filter(|change| is_own(change)).cloned().collect();
    if own.is_empty() {
        return Ok(Vec::new());
    }
    let tables: BTreeSet<u32> = own.iter().filter_map(table_of).collect();
    let (after, now) = (snapshot.with_changes(&own)?, now_micros());
    let entries = tables.iter().filter_map(|table| state.entry(*table));
    Ok(entries.filter_map(|entry| raised(database, &after, &entry.def, now)).collect())
}

fn is_own(change: &Change) -> bool {
    matches!(change, Change::Tally { key, .. } | Change::Set { key, .. } if key.starts_with(PREFIX))
}

/// The table whose partition's watermark a change raises.
fn table_of(change: &Change) -> Option<u32> {
    let Change::Tally { key, .. } = change else { return None };
    key.strip_prefix(PREFIX)?.split_once('/')?.0.parse().ok()
}

/// The changes that forget all watermarks of a table, which is dropped or emptied. The partitions that a stream goes on to read stay known.
pub(crate) fn forget(snapshot: &Snapshot, def: &RelationDef, goes_on: bool) -> Vec<Change> {
    if def.watermark.is_none() {
        return Vec::new();
    }
    let (key, prefix) = (table_key(def.oid), format!("{}/", table_key(def.oid)));
    let known = snapshot.scan_prefix(&prefix).map(|(key, _)| key.to_string());
    let mut changes: Vec<Change> =
        std::iter::once(key).chain(known).map(|key| Change::Set { key, value: None }).collect();
    if goes_on {
        let suffix = format!(":{}", def.oid);
        let read = |(key, _): (&str, _)| {
            let (source, partition) = key.strip_prefix(SOURCE_PREFIX)?.rsplit_once('/')?;
            let partition = partition.parse().ok().filter(|_| source.ends_with(&suffix))?;
            Some(partition_key(def.oid, source, partition))
        };
        let numbers = vec![NONE, now_micros()];
        let keys = snapshot.scan_prefix(SOURCE_PREFIX).filter_map(read);
        changes.extend(keys.map(|key| Change::Tally { key, how: Tally::Greatest, numbers: numbers.clone() }));
    }
    changes
}

/// The tables with a watermark that a relation reads, through views of any kind.
pub(crate) fn tables_read(state: &CatalogState, entry: &Entry) -> BTreeSet<u32> {
    let (mut tables, mut seen, mut next) = (BTreeSet::new(), BTreeSet::new(), vec![entry.def.oid]);
    while let Some(oid) = next.pop() {
        let Some(entry) = state.entry(oid).filter(|_| seen.insert(oid)) else { continue };
        if entry.def.watermark.is_some() {
            tables.insert(entry.def.oid);
        }
        next.extend(entry.def.depends.iter().copied().filter(|oid| entry.def.late_table() != Some(*oid)));
    }
    tables
}

/// The watermark of a view, in microseconds since 1970: the least of the tables' that it reads, as far as they have one. `None` while one has none
/// yet, or if there is no such table. Every reader of a snapshot finds the same.
pub(crate) fn of_view(state: &CatalogState, snapshot: &Snapshot, view: &Entry) -> Option<i64> {
    tables_read(state, view).into_iter().map(|table| of_table(snapshot, table)).min().flatten()
}

/// Raises the watermarks of tables of which partitions became idle.
pub(crate) fn catch_up(database: &Database) -> Result<()> {
    if due(database)?.1.is_empty() {
        return Ok(());
    }
    // Which rows are late depends on it: nobody looks at it meanwhile.
    let _alone = database.derivations().lock();
    let (version, changes) = due(database)?;
    if changes.is_empty() {
        return Ok(());
    }
    match database.store()?.commit(Commit { changes, expect_catalog: Some(version), seen: None }) {
        Ok(_) | Err(weir_storage::Error::CatalogChanged) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The changes that raise what is to be raised now, and the version of the catalogue that they are for.
fn due(database: &Database) -> Result<(u64, Vec<Change>)> {
    let snapshot = database.store()?.snapshot();
    let state = database.catalog(&snapshot)?;
    let tables = state.entries().filter(|entry| entry.def.watermark.is_some());
    let now = now_micros();
    Ok((state.version, tables.filter_map(|entry| raised(database, &snapshot, &entry.def, now)).collect()))
}
