//! The door for who sends a sink's batches: the next one, which is the same again until it is said to be out.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::{
    SortOptions, and, concat_batches, filter_record_batch, is_null, sort_to_indices, take_record_batch,
};
use arrow::datatypes::Int64Type;
use weir_sql::plan::OutputColumn;
use weir_storage::{Change, Commit, RowSet, Snapshot, TableId};

use super::closing::Standing;
use super::{EPOCH, KeyColumn, OWN, SEQUENCE, Source, added};
use crate::catalog::{CatalogState, Entry, SinkMode};
use crate::copy::RowWriter;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::exec::keys::{normalize_all, row_converter};
use crate::format::FormatSettings;
use crate::views::Touched;

/// Entries of a batch at the most.
pub(super) const BATCH_ROWS: usize = 20_000;

/// A sink that someone else than the engine sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Its oid.
    pub oid: u32,
    /// `schema.name`.
    pub name: String,
    /// The options of INTO KAFKA (…) and WITH (…), keys in lower case.
    pub options: Vec<(String, String)>,
}

/// Records that go out together.
#[derive(Debug)]
pub struct SinkBatch {
    /// Its number: one more than that of the batch before.
    pub epoch: i64,
    /// The records, in order.
    pub records: Vec<SinkRecord>,
}

/// A record, each part as a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkRecord {
    /// The columns of the key, if it has one.
    pub key: Option<Vec<u8>>,
    /// The row; `None` if there is none with this key any more.
    pub value: Option<Vec<u8>>,
}

impl Database {
    /// The sinks into Kafka that are complete. Ask again when [`Database::catalog_version`] has moved.
    pub fn sinks(&self) -> Vec<Sink> {
        let Ok(state) = self.store().and_then(|store| self.catalog(&store.snapshot())) else { return Vec::new() };
        let is_kafka = |entry: &&Arc<Entry>| {
            !entry.def.building && entry.def.sink.as_ref().is_some_and(|sink| sink.into.is_none())
        };
        let sink = |entry: &Arc<Entry>| Sink {
            oid: entry.def.oid,
            name: entry.qualified(),
            options: entry.def.options.clone(),
        };
        state.sinks().filter(is_kafka).map(sink).collect()
    }

    /// The next batch of a sink, or the last one again unless its epoch is `sent`; `None` if there is nothing to send. One at a time.
    pub fn sink_batch(&self, sink: u32, sent: i64) -> Result<Option<SinkBatch>> {
        let store = self.store()?;
        loop {
            let snapshot = store.snapshot();
            let state = self.catalog(&snapshot)?;
            let Some(entry) = state.entry(sink) else { return Ok(None) };
            if self.sinks_state().is_idle(&snapshot, entry) {
                return Ok(None);
            }
            let source = Source::of(&state, entry)?;
            if source.entry.def.building {
                return Ok(None);
            }
            let mode = entry.def.sink.as_ref().map(|def| def.mode);
            let upserts = mode == Some(SinkMode::Upsert);
            if mode == Some(SinkMode::Close) {
                match closed_batch(self, &state, &snapshot, entry, &source, sent)? {
                    Ok(Some(batch)) => return Ok(Some(batch)),
                    Ok(None) => {
                        self.sinks_state().set_idle(&snapshot, sink);
                        return Ok(None);
                    }
                    Err(CatalogMoved) => continue,
                }
            }
            let picked = pick(&snapshot, entry, usize::MAX, |epoch| epoch.is_some_and(|epoch| epoch > sent))?;
            let (table, mut changes) = (TableId(sink), Vec::new());
            let commit = |changes| store.commit(Commit { changes, expect_catalog: Some(state.version), seen: None });
            if let Some(picked) = picked {
                // What has changed since then goes out with it, and not again with the next.
                let same = if upserts { waiting_with(&snapshot, &state, entry, &source, &picked.rows)? } else { None };
                if let Some(rows) = same {
                    match commit(vec![Change::Delete { table, rows }]) {
                        Ok(_) => {}
                        Err(weir_storage::Error::RowsChanged { .. } | weir_storage::Error::CatalogChanged) => continue,
                        Err(error) => return Err(error.into()),
                    }
                }
                let epoch = epoch_of(&snapshot, sink);
                return Ok(Some(batch(self, &state, &snapshot, entry, &picked.rows, epoch)?));
            }
            if let Some(done) = pick(&snapshot, entry, usize::MAX, |epoch| epoch.is_some())? {
                changes.push(Change::Delete { table, rows: done.places });
            }
            let mut next = pick(&snapshot, entry, BATCH_ROWS, |epoch| epoch.is_none())?;
            let waits = next.is_some();
            if waits && !self.sinks_state().is_due(sink, &source.entry.def) {
                next = None;
            }
            let epoch = epoch_of(&snapshot, sink).max(sent) + 1;
            if let Some(next) = &next {
                let same = if upserts { waiting_with(&snapshot, &state, entry, &source, &next.rows)? } else { None };
                changes.push(Change::Delete { table, rows: same.unwrap_or_else(|| next.places.clone()) });
                changes.push(added(self, &snapshot, entry, of_epoch(&next.rows, epoch)?)?);
                changes.push(Standing::at(epoch).kept(sink)?);
            }
            if changes.is_empty() {
                if !waits {
                    self.sinks_state().set_idle(&snapshot, sink);
                }
                return Ok(None);
            }
            match commit(changes) {
                Ok(_) => {}
                // Entries that were merged meanwhile are looked for again.
                Err(weir_storage::Error::RowsChanged { .. } | weir_storage::Error::CatalogChanged) => continue,
                Err(error) => return Err(error.into()),
            }
            let Some(next) = next else { return Ok(None) };
            return Ok(Some(batch(self, &state, &snapshot, entry, &next.rows, epoch)?));
        }
    }

    /// Says why a sink's batch could not be sent, or that it could; shown in `weir.sinks`.
    pub fn set_sink_error(&self, sink: u32, why: Option<String>) {
        self.sinks_state().set_failure(sink, why);
    }
}

/// The entries that wait in an outbox with the keys of these.
fn waiting_with(
    snapshot: &Snapshot,
    state: &CatalogState,
    sink: &Entry,
    source: &Source,
    entries: &RecordBatch,
) -> Result<Option<RowSet>> {
    let keys = source.key(state)?.ok_or_else(|| Error::internal("a sink has no key"))?;
    let columns: Vec<usize> = (OWN..OWN + keys.len()).collect();
    let mut touched = Touched::of_columns(keys.into_iter().map(|key| key.ty).collect(), columns.clone())?;
    touched.add(&entries.project(&columns)?)?;
    let table = TableId(sink.def.oid);
    let (scan, mut places) = (snapshot.scan(table, &[])?, Vec::new());
    let wanted: Vec<usize> = columns.into_iter().chain([EPOCH]).collect();
    for granule in 0..scan.len() {
        let rows = scan.read(granule, &wanted, None)?;
        let same = and(&touched.mask(&rows)?, &is_null(rows.column(rows.num_columns() - 1))?)?;
        let selection: Vec<u32> = same.values().set_indices_u32().collect();
        places.extend_from_slice(scan.places(granule, Some(&selection))?.values());
    }
    Ok(if places.is_empty() { None } else { Some(snapshot.row_set(table, &places)?) })
}

/// The epoch of the last batch that was made.
pub(crate) fn epoch_of(snapshot: &Snapshot, sink: u32) -> i64 {
    Standing::of(snapshot, sink).epoch
}

/// How many entries wait in an outbox.
pub(crate) fn waiting(snapshot: &Snapshot, sink: u32) -> u64 {
    snapshot.table(TableId(sink)).map_or(0, |table| table.rows())
}

/// Entries of an outbox, in order.
pub(super) struct Picked {
    pub(super) places: RowSet,
    pub(super) rows: RecordBatch,
}

/// The first entries whose epoch is as asked.
pub(super) fn pick(
    snapshot: &Snapshot,
    sink: &Entry,
    most: usize,
    wanted: impl Fn(Option<i64>) -> bool,
) -> Result<Option<Picked>> {
    let table = TableId(sink.def.oid);
    let scan = snapshot.scan(table, &[])?;
    let mut found: Vec<(i64, usize, u32)> = Vec::new();
    for granule in 0..scan.len() {
        let rows = scan.read(granule, &[SEQUENCE, EPOCH], None)?;
        let (sequence, epochs) = (int8(rows.column(0)), int8(rows.column(1)));
        let epoch = |row: usize| epochs.is_valid(row).then(|| epochs.value(row));
        let of = (0..rows.num_rows()).filter(|&row| wanted(epoch(row)));
        found.extend(of.map(|row| (sequence.value(row), granule, row as u32)));
        if found.len() / 4 > most {
            keep_first(&mut found, most);
        }
    }
    keep_first(&mut found, most);
    if found.is_empty() {
        return Ok(None);
    }
    found.sort_unstable_by_key(|(_, granule, row)| (*granule, *row));
    let columns: Vec<usize> = (0..sink.def.columns.len()).collect();
    let (mut places, mut batches) = (Vec::new(), Vec::new());
    for of_granule in found.chunk_by(|a, b| a.1 == b.1) {
        let selection: Vec<u32> = of_granule.iter().map(|(_, _, row)| *row).collect();
        batches.push(scan.read(of_granule[0].1, &columns, Some(&selection))?);
        places.extend_from_slice(scan.places(of_granule[0].1, Some(&selection))?.values());
    }
    let rows = concat_batches(&batches[0].schema(), &batches)?;
    let order = sort_to_indices(rows.column(SEQUENCE), None, None)?;
    Ok(Some(Picked { places: snapshot.row_set(table, &places)?, rows: take_record_batch(&rows, &order)? }))
}

fn keep_first(found: &mut Vec<(i64, usize, u32)>, most: usize) {
    if found.len() > most {
        found.select_nth_unstable(most);
        found.truncate(most);
    }
}

fn int8(column: &ArrayRef) -> &Int64Array {
    column.as_primitive::<Int64Type>()
}

/// The same entries, in a batch.
fn of_epoch(rows: &RecordBatch, epoch: i64) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns[EPOCH] = Arc::new(Int64Array::from_value(epoch, rows.num_rows()));
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

/// Entries as records.
fn batch(
    database: &Database,
    state: &Arc<CatalogState>,
    snapshot: &Snapshot,
    sink: &Entry,
    entries: &RecordBatch,
    epoch: i64,
) -> Result<SinkBatch> {
    let source = Source::of(state, sink)?;
    let columns = source.columns();
    let records = match sink.def.sink.as_ref().map(|def| def.mode) {
        Some(SinkMode::Append) => {
            let rows = entries.project(&(OWN..entries.num_columns()).collect::<Vec<_>>())?;
            added_records(sink, columns, &rows)?
        }
        _ => {
            let changed = changed(database, state, snapshot, &source, entries)?;
            let key_columns: Vec<usize> = changed.keys.iter().map(|key| key.sent).collect();
            let keys = objects(&named(columns, &key_columns), &changed.key_rows)?;
            let mut values: Vec<Option<Vec<u8>>> = match &changed.rows {
                Some(rows) => objects(columns, rows)?.into_iter().map(Some).collect(),
                None => Vec::new(),
            };
            let value = |row: Option<usize>| row.and_then(|row| values[row].take());
            let values: Vec<Option<Vec<u8>>> = changed.places.iter().copied().map(value).collect();
            keys.into_iter().zip(values).map(|(key, value)| SinkRecord { key: Some(key), value }).collect()
        }
    };
    Ok(SinkBatch { epoch, records })
}

/// Rows that were added, as records.
fn added_records(sink: &Entry, columns: &[OutputColumn], rows: &RecordBatch) -> Result<Vec<SinkRecord>> {
    let key: Vec<usize> = sink.def.sink.iter().flat_map(|def| def.key.iter().copied()).collect();
    let keys: Vec<Option<Vec<u8>>> = match key.is_empty() {
        true => vec![None; rows.num_rows()],
        false => objects(&named(columns, &key), &rows.project(&key)?)?.into_iter().map(Some).collect(),
    };
    let record = |(value, key)| SinkRecord { key, value: Some(value) };
    Ok(objects(columns, rows)?.into_iter().zip(keys).map(record).collect())
}

/// The catalogue is not what it was: look again.
struct CatalogMoved;

/// The next batch of windows that have closed, or the last one again.
fn closed_batch(
    database: &Database,
    state: &Arc<CatalogState>,
    snapshot: &Snapshot,
    sink: &Entry,
    source: &Source,
    sent: i64,
) -> Result<std::result::Result<Option<SinkBatch>, CatalogMoved>> {
    let (oid, view) = (sink.def.oid, &source.entry);
    let standing = Standing::of(snapshot, oid);
    let (epoch, rows) = if standing.epoch > sent {
        (standing.epoch, standing.rows(database, state, snapshot, view)?)
    } else {
        let Some((mut next, rows)) = standing.next(database, state, snapshot, view)? else {
            return Ok(Ok(None));
        };
        next.epoch = next.epoch.max(sent + 1);
        let commit = Commit { changes: vec![next.kept(oid)?], expect_catalog: Some(state.version), seen: None };
        match database.store()?.commit(commit) {
            Ok(_) => (next.epoch, rows),
            Err(weir_storage::Error::CatalogChanged) => return Ok(Err(CatalogMoved)),
            Err(error) => return Err(error.into()),
        }
    };
    let records = rows.iter().map(|rows| added_records(sink, source.columns(), rows)).collect::<Result<Vec<_>>>()?;
    Ok(Ok(Some(SinkBatch { epoch, records: records.concat() })))
}

/// What the keys in entries stand for now.
pub(super) struct Changed {
    pub(super) keys: Vec<KeyColumn>,
    /// Each key once.
    pub(super) key_rows: RecordBatch,
    /// For each key, its row among `rows`.
    places: Vec<Option<usize>>,
    rows: Option<RecordBatch>,
    /// A snapshot in which the relation has the rows of these keys alone.
    pub(super) only: Snapshot,
}

impl Changed {
    /// The keys that stand for no row.
    pub(super) fn gone(&self) -> Result<RecordBatch> {
        let gone: BooleanArray = self.places.iter().map(|place| Some(place.is_none())).collect();
        Ok(filter_record_batch(&self.key_rows, &gone)?)
    }
}

pub(super) fn changed(
    database: &Database,
    state: &Arc<CatalogState>,
    snapshot: &Snapshot,
    source: &Source,
    entries: &RecordBatch,
) -> Result<Changed> {
    let keys = source.key(state)?.ok_or_else(|| Error::internal("a sink has no key"))?;
    let types: Vec<_> = keys.iter().map(|key| key.ty.clone()).collect();
    let converter = row_converter(&types, &vec![SortOptions::default(); types.len()])?;
    let bytes = |columns: &[ArrayRef], rows: usize| -> Result<Vec<Box<[u8]>>> {
        if types.is_empty() {
            return Ok(vec![Box::default(); rows]);
        }
        let rows = converter.convert_columns(&normalize_all(&types, columns)?)?;
        Ok(rows.iter().map(|row| row.as_ref().into()).collect())
    };
    let all = entries.project(&(OWN..OWN + keys.len()).collect::<Vec<_>>())?;
    let mut index: HashMap<Box<[u8]>, usize> = HashMap::new();
    let mut firsts: Vec<u64> = Vec::new();
    for (row, key) in bytes(all.columns(), all.num_rows())?.into_iter().enumerate() {
        let next = index.len();
        index.entry(key).or_insert_with(|| {
            firsts.push(row as u64);
            next
        });
    }
    let key_rows =
        if types.is_empty() { all.slice(0, 1) } else { take_record_batch(&all, &UInt64Array::from(firsts))? };
    let mut touched = Touched::of_columns(types.clone(), keys.iter().map(|key| key.stored).collect())?;
    touched.add(&key_rows)?;
    let table = source.table();
    let only = snapshot.with_only(table, &touched.states(snapshot, table, database.background())?)?;
    let (mut stream, mut batches) = (source.rows(database, state, &only)?, Vec::new());
    while let Some(batch) = stream.next()? {
        batches.push(batch);
    }
    drop(stream);
    let rows = match batches.first() {
        Some(first) => Some(concat_batches(&first.schema(), &batches)?),
        None => None,
    };
    let mut places = vec![None; index.len()];
    if let Some(rows) = &rows {
        let columns: Vec<ArrayRef> = keys.iter().map(|key| rows.column(key.sent).clone()).collect();
        for (row, key) in bytes(&columns, rows.num_rows())?.iter().enumerate() {
            if let Some(&at) = index.get(key) {
                places[at] = Some(row);
            }
        }
    }
    Ok(Changed { keys, key_rows, places, rows, only })
}

fn named(columns: &[OutputColumn], which: &[usize]) -> Vec<OutputColumn> {
    which.iter().map(|&column| columns[column].clone()).collect()
}

/// Rows as JSON objects.
fn objects(columns: &[OutputColumn], rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
    let mut writer = RowWriter::json(columns, FormatSettings::default())?;
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    writer.rows(rows, 0..rows.num_rows(), &mut bytes, &mut ends);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let line =
        |(start, &end): (usize, &usize)| bytes[start..end].strip_suffix(b"\n").unwrap_or(&bytes[start..end]).to_vec();
    Ok(starts.zip(&ends).map(line).collect())
}
