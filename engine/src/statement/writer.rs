//! How a statement's rows reach the pending changes: rows that go, and rows that come.
//!
//! Small batches travel in the log. Once a statement has more than `bulk_bytes` of rows they are written as parts while it runs, and the
//! commit only names them. What the rows mean for the linear views on the table is computed from the same rows at once, all else when the
//! commit is made ([`crate::views::derive`]).
//!
//! Rows for a table with a key are gathered and settled ([`super::unique`]): all at once at the end, or, where there are many, in runs that each see
//! what the ones before have done.
//!
//! Invariants: deletions stand before the additions that they make room for; a place is one of the snapshot in which it was found.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use roaring::RoaringTreemap;
use weir_storage::{Change, NewPart, Snapshot, Store, TableId};

use super::merging;
use super::table::{Target, detached_context};
use super::unique::{Policy, Unique};
use crate::cancel::Cancel;
use crate::catalog::{CatalogState, Entry};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::exec;
use crate::exec::batch::Batch;
use crate::ingest::RowOrigin;
use crate::session::now_micros;
use crate::transaction::{Item, Pending};
use crate::views::{Deltas, Transforms, maintain};
use crate::watermark::Observed;

/// A bulk statement writes parts each time it has this many times `bulk_bytes` of rows, while it gathers as many again.
const PART_FACTOR: usize = 4;
/// So many such pieces are written at once: where one has no work for two threads, another has.
const PIECES_MAX: usize = 2;
/// One with a key settles its rows each time it has this many times `bulk_bytes` of them.
const RUN_FACTOR: usize = 8;

/// What a statement sees when it begins.
#[derive(Clone)]
pub(crate) struct Base {
    pub(crate) database: Database,
    pub(crate) state: Arc<CatalogState>,
    /// The data, the transaction's own changes on top.
    pub(crate) snapshot: Snapshot,
    pub(crate) cancel: Cancel,
    /// `now()`, which decides whose TTL is over.
    pub(crate) now: i64,
}

impl Base {
    /// What is seen in a snapshot now; the catalogue is of its version.
    pub(crate) fn new(database: &Database, state: Arc<CatalogState>, snapshot: Snapshot, cancel: Cancel) -> Base {
        Base { database: database.clone(), state, snapshot, cancel, now: now_micros() }
    }
}

/// Takes the rows of one statement for one table.
pub(crate) struct Writer {
    base: Base,
    target: Target,
    store: Store,
    bulk_bytes: usize,
    deltas: Deltas,
    /// What the rows bring to other tables.
    transforms: Transforms,
    /// Whether views follow.
    fed: bool,
    /// Places of rows that go, in the base's snapshot.
    deleted: RoaringTreemap,
    unique: Option<Unique>,
    /// Rows that are not settled yet.
    gathered: Vec<RecordBatch>,
    gathered_bytes: usize,
    /// Rows that were settled at once, in case that they have to be again.
    settled: Vec<RecordBatch>,
    /// Whether rows are settled at the end only.
    at_end: bool,
    /// Whether rows were settled before the end.
    in_runs: bool,
    /// Rows not in parts yet, by partition.
    waiting: BTreeMap<String, Vec<RecordBatch>>,
    waiting_bytes: usize,
    /// Parts that other threads write while more rows come, the oldest first.
    writing: VecDeque<JoinHandle<Result<Vec<NewPart>>>>,
    parts: Vec<NewPart>,
    /// Changes that are settled, and what the snapshot shows with them on top.
    changes: Vec<Change>,
    current: Snapshot,
    /// How many rows it was given, and how many it added.
    taken: u64,
    rows: u64,
    /// Everything goes to parts, however little it is.
    bulk: bool,
    /// The rows as they were added, if they are asked for.
    kept: Option<Vec<RecordBatch>>,
    /// What the rows bring of the table's watermark.
    observed: Option<Observed>,
}

impl Writer {
    /// For rows that a statement, which sees this, adds to a table, and whose keys are dealt with as the policy says.
    pub(crate) fn new(base: Base, entry: &Arc<Entry>, policy: Policy) -> Result<Writer> {
        let unique = Unique::new(&base, entry, policy)?;
        Writer::with(base, entry, unique)
    }

    /// Lets the statement see this instead, for rows that it has gathered and not settled, nor written as parts; false if there are others.
    /// Rows that were settled and not committed count as gathered.
    pub(crate) fn see(&mut self, base: Base) -> Result<bool> {
        let Some(unique) = self.unique.as_ref().filter(|_| !self.in_runs) else { return Ok(false) };
        if base.state.version != self.base.state.version {
            return Ok(false);
        }
        let mut fresh = Writer::new(base, &self.target.entry, unique.policy().clone())?;
        for rows in self.settled.drain(..).chain(self.gathered.drain(..)) {
            fresh.push(&rows)?;
        }
        fresh.at_end = self.at_end;
        // The same rows: where they came from was said when they came.
        fresh.observed = self.observed.take();
        *self = fresh;
        Ok(true)
    }

    /// For rows that are known to have keys of their own.
    pub(crate) fn unchecked(base: Base, entry: &Arc<Entry>) -> Result<Writer> {
        Writer::with(base, entry, None)
    }

    /// Views are told nothing, and the table's watermark stays: the rows are old ones in another shape.
    pub(crate) fn unfed(self) -> Writer {
        Writer { fed: false, observed: None, ..self }.alone()
    }

    /// The next rows came from these partitions of a source.
    pub(crate) fn come_from(&mut self, source: &str, origins: &[RowOrigin]) {
        if let Some(observed) = &mut self.observed {
            observed.come_from(source, origins);
        }
    }

    /// The rows bring none to other tables: they are not new.
    pub(crate) fn alone(self) -> Writer {
        Writer { transforms: Transforms::default(), ..self }
    }

    fn with(base: Base, entry: &Arc<Entry>, unique: Option<Unique>) -> Result<Writer> {
        let database = &base.database;
        let transforms = Transforms::of(&base, entry.def.oid)?;
        Ok(Writer {
            transforms,
            target: Target::new(entry, database, &base.cancel)?,
            store: database.store()?,
            bulk_bytes: database.options().bulk_bytes,
            deltas: maintain::deltas(database, &base.state, entry.def.oid, &base.cancel)?,
            fed: true,
            deleted: RoaringTreemap::new(),
            unique,
            gathered: Vec::new(),
            gathered_bytes: 0,
            settled: Vec::new(),
            at_end: false,
            in_runs: false,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            writing: VecDeque::new(),
            parts: Vec::new(),
            changes: Vec::new(),
            current: base.snapshot.clone(),
            taken: 0,
            rows: 0,
            bulk: false,
            kept: None,
            observed: Observed::new(entry, database, &base.cancel)?,
            base,
        })
    }

    /// Whether to write parts whatever the rows' number.
    pub(crate) fn set_bulk(&mut self, bulk: bool) {
        self.bulk = bulk;
    }

    /// Rows are settled only at the end, since what goes is known only then, or since they must not meet each other.
    pub(crate) fn settle_at_end(&mut self) {
        self.at_end = true;
    }

    /// Rows are kept, for [`Writer::finish`] to give back.
    pub(crate) fn keep_rows(&mut self) {
        self.kept = Some(Vec::new());
    }

    /// The table.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The rows at these places of the base's snapshot go; how many of them were not gone already. Before rows are added, unless they
    /// are settled at the end.
    pub(crate) fn delete(&mut self, places: impl IntoIterator<Item = u64>) -> u64 {
        places.into_iter().map(|place| u64::from(self.deleted.insert(place))).sum()
    }

    /// Takes rows.
    pub(crate) fn push(&mut self, rows: &RecordBatch) -> Result<()> {
        let rows = self.target.conform(rows)?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.taken += rows.num_rows() as u64;
        if let Some(observed) = &mut self.observed {
            observed.add(&rows)?;
        }
        if self.folds() {
            self.transforms.add(&rows)?;
        }
        if self.unique.is_none() {
            return self.add(&rows);
        }
        self.gathered_bytes += Batch::from_record(&rows).bytes();
        self.gathered.push(rows);
        if self.gathered_bytes > self.bulk_bytes * RUN_FACTOR && !self.at_end {
            self.in_runs = true;
            self.settle()?;
            self.write_parts()?;
            self.name_parts()?;
        }
        Ok(())
    }

    /// Decides what becomes of the rows that were gathered.
    fn settle(&mut self) -> Result<()> {
        self.drop_deleted()?;
        let Some(unique) = &self.unique else { return Ok(()) };
        let gathered = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let rows = match gathered.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            many => concat_batches(&self.target.schema, many)?,
        };
        let settled = unique.settle(&rows, &self.current)?;
        if !self.in_runs {
            self.settled = gathered;
        }
        self.drop_rows(&settled.deleted)?;
        self.add(&settled.rows)
    }

    /// Turns the places of rows that go into a change.
    fn drop_deleted(&mut self) -> Result<()> {
        let places: Vec<u64> = std::mem::take(&mut self.deleted).iter().collect();
        self.drop_rows(&places)
    }

    fn drop_rows(&mut self, places: &[u64]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let table = self.table();
        let change = Change::Delete { table, rows: self.current.row_set(table, places)? };
        self.current = self.current.with_changes(std::slice::from_ref(&change))?;
        self.changes.push(change);
        Ok(())
    }

    /// Adds rows that are settled.
    fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.rows += rows.num_rows() as u64;
        if let Some(kept) = &mut self.kept {
            kept.push(rows.clone());
        }
        if self.fed {
            self.feed(rows)?;
        }
        if !self.folds() {
            self.transforms.add(rows)?;
        }
        self.waiting_bytes += Batch::from_record(rows).bytes();
        for (partition, rows) in self.target.split(rows)? {
            self.waiting.entry(partition).or_default().push(rows);
        }
        if self.waiting_bytes > self.bulk_bytes * PART_FACTOR {
            self.write_parts()?;
        }
        Ok(())
    }

    /// Whether rows become others with what is there, so that what they bring is told by them as they come.
    fn folds(&self) -> bool {
        self.target.entry.def.merging.is_some()
    }

    /// Gives rows to the views, but no tombstones.
    fn feed(&mut self, rows: &RecordBatch) -> Result<()> {
        match merging::shown(&self.target.entry)? {
            None => self.deltas.add(rows),
            Some(shown) => {
                let context = Arc::new(detached_context(&self.base.database, &self.base.cancel));
                let shown = exec::evaluate(&shown, rows, &context)?;
                self.deltas.add(&filter_record_batch(rows, shown.as_boolean())?)
            }
        }
    }

    /// Begins to write the rows that wait.
    fn write_parts(&mut self) -> Result<()> {
        self.await_parts(PIECES_MAX - 1)?;
        let (store, def, waiting) = (self.store.clone(), self.target.storage_def(), std::mem::take(&mut self.waiting));
        self.waiting_bytes = 0;
        let write = move || {
            let mut parts = Vec::new();
            for (partition, rows) in waiting {
                parts.extend(store.write_parts(&def, &partition, rows)?);
            }
            Ok(parts)
        };
        let started = std::thread::Builder::new().name("weir-parts".into()).spawn(write);
        self.writing.push_back(started.map_err(|error| Error::internal(format!("cannot start a thread: {error}")))?);
        Ok(())
    }

    /// Waits until no more pieces than these are being written.
    fn await_parts(&mut self, pieces: usize) -> Result<()> {
        while self.writing.len() > pieces
            && let Some(writing) = self.writing.pop_front()
        {
            self.parts.extend(writing.join().map_err(|_| Error::internal("a thread that wrote parts panicked"))??);
        }
        Ok(())
    }

    /// Turns the parts that were written into a change.
    fn name_parts(&mut self) -> Result<()> {
        self.await_parts(0)?;
        if self.parts.is_empty() {
            return Ok(());
        }
        let change = Change::AddParts { table: self.table(), parts: std::mem::take(&mut self.parts) };
        self.current = self.current.with_changes(std::slice::from_ref(&change))?;
        self.changes.push(change);
        Ok(())
    }

    fn table(&self) -> TableId {
        TableId(self.target.entry.def.oid)
    }

    /// The changes to the table itself.
    fn settled_changes(&mut self) -> Result<Vec<Change>> {
        self.settle()?;
        if self.bulk || !self.writing.is_empty() || !self.parts.is_empty() || self.waiting_bytes > self.bulk_bytes {
            self.write_parts()?;
        }
        self.name_parts()?;
        let table = self.table();
        for (partition, batches) in std::mem::take(&mut self.waiting) {
            let rows = match batches.as_slice() {
                [one] => one.clone(),
                many => concat_batches(&self.target.schema, many)?,
            };
            self.changes.push(Change::Append { table, partition, rows });
        }
        Ok(std::mem::take(&mut self.changes))
    }

    /// Adds everything to a transaction's changes.
    pub(crate) fn finish(&mut self, pending: &mut Pending) -> Result<Written> {
        let changes = self.settled_changes()?;
        let count = match &self.unique {
            Some(unique) if unique.counts_added() => self.rows,
            _ => self.taken,
        };
        let written = Written { count, rows: self.kept.take().unwrap_or_default() };
        if changes.is_empty() {
            self.transforms.finish(pending)?;
            return Ok(written);
        }
        let deltas = self.deltas.finish()?;
        let item = if self.fed { Item::Fed } else { Item::Own };
        pending.items.extend(changes.into_iter().map(item));
        pending.items.extend(deltas.into_iter().map(Item::Delta));
        pending.items.extend(self.observed.iter_mut().flat_map(Observed::finish).map(Item::Own));
        pending.catalog.get_or_insert(self.base.state.version);
        if self.target.entry.def.key().is_some() {
            pending.saw(self.base.snapshot.version());
        }
        self.transforms.finish(pending)?;
        Ok(written)
    }
}

/// What a writer added.
pub(crate) struct Written {
    /// How many rows a command tag says.
    pub(crate) count: u64,
    /// The rows, if they were asked for.
    pub(crate) rows: Vec<RecordBatch>,
}
