//! How a statement's rows reach the pending changes: rows that go, and rows that come.
//!
//! Small batches travel in the log. Once a statement has more than `bulk_bytes` of rows they are written as parts while it runs, and the
//! commit only names them. What the rows mean for the views on the table is computed from the same rows at once, or, where rows go, by
//! recomputing the groups that they touch ([`crate::views::retract`]).
//!
//! Invariants: deletions stand before additions in a statement's changes, so that a row may take another's place; a place is one of the
//! snapshot that the statement reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use roaring::RoaringTreemap;
use weir_storage::{Change, NewPart, Snapshot, Store, TableId};

use super::table::Target;
use crate::cancel::Cancel;
use crate::catalog::{CatalogState, Entry};
use crate::database::Database;
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::transaction::{Item, Pending};
use crate::views::{Deltas, maintain, retract};

/// A bulk statement writes parts each time it has this many times `bulk_bytes` of rows.
const PART_FACTOR: usize = 8;

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

/// Takes the rows of one statement for one table.
pub(crate) struct Writer {
    base: Base,
    target: Target,
    store: Store,
    bulk_bytes: usize,
    deltas: Deltas,
    /// Places of rows that go, in the base's snapshot.
    deleted: RoaringTreemap,
    /// Rows not in parts yet, by partition.
    waiting: BTreeMap<String, Vec<RecordBatch>>,
    waiting_bytes: usize,
    parts: Vec<NewPart>,
    rows: u64,
    /// Everything goes to parts, however little it is.
    bulk: bool,
}

impl Writer {
    /// For the rows of a statement that sees this.
    pub(crate) fn new(base: Base, entry: &Arc<Entry>) -> Result<Writer> {
        let database = &base.database;
        Ok(Writer {
            target: Target::new(entry, database, &base.cancel)?,
            store: database.store()?,
            bulk_bytes: database.options().bulk_bytes,
            deltas: maintain::deltas(database, &base.state, entry.def.oid, &base.cancel)?,
            deleted: RoaringTreemap::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            parts: Vec::new(),
            rows: 0,
            bulk: false,
            base,
        })
    }

    /// Whether to write parts whatever the rows' number.
    pub(crate) fn set_bulk(&mut self, bulk: bool) {
        self.bulk = bulk;
    }

    /// The table.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// How many rows it took.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The rows at these places of the base's snapshot go; how many of them were not gone already.
    pub(crate) fn delete(&mut self, places: impl IntoIterator<Item = u64>) -> u64 {
        places.into_iter().map(|place| u64::from(self.deleted.insert(place))).sum()
    }

    /// Takes rows; gives them back as they are kept.
    pub(crate) fn push(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let rows = self.target.conform(rows)?;
        self.rows += rows.num_rows() as u64;
        self.keep(&rows)?;
        Ok(rows)
    }

    fn keep(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.deltas.add(rows)?;
        self.waiting_bytes += Batch::from_record(rows).bytes();
        for (partition, rows) in self.target.split(rows)? {
            self.waiting.entry(partition).or_default().push(rows);
        }
        if self.waiting_bytes > self.bulk_bytes * PART_FACTOR {
            self.write_parts()?;
        }
        Ok(())
    }

    fn write_parts(&mut self) -> Result<()> {
        let def = self.target.storage_def();
        for (partition, rows) in std::mem::take(&mut self.waiting) {
            self.parts.extend(self.store.write_parts(&def, &partition, rows)?);
        }
        self.waiting_bytes = 0;
        Ok(())
    }

    fn table(&self) -> TableId {
        TableId(self.target.entry.def.oid)
    }

    /// The changes to the table itself.
    fn changes(&mut self) -> Result<Vec<Change>> {
        let table = self.table();
        let mut changes = Vec::new();
        if !self.deleted.is_empty() {
            let places: Vec<u64> = self.deleted.iter().collect();
            changes.push(Change::Delete { table, rows: self.base.snapshot.row_set(table, &places)? });
        }
        if self.bulk || !self.parts.is_empty() || self.waiting_bytes > self.bulk_bytes {
            self.write_parts()?;
        }
        if !self.parts.is_empty() {
            changes.push(Change::AddParts { table, parts: std::mem::take(&mut self.parts) });
        }
        for (partition, batches) in std::mem::take(&mut self.waiting) {
            let rows = match batches.as_slice() {
                [one] => one.clone(),
                many => arrow::compute::concat_batches(&self.target.schema, many)?,
            };
            changes.push(Change::Append { table, partition, rows });
        }
        Ok(changes)
    }

    /// Adds everything to a transaction's changes.
    pub(crate) fn finish(mut self, pending: &mut Pending) -> Result<()> {
        let changes = self.changes()?;
        if changes.is_empty() {
            return Ok(());
        }
        let deltas = match self.deleted.is_empty() {
            true => self.deltas.finish()?,
            false => retract::changes(&self.base, &self.target.entry, &self.deleted, &changes, &mut self.deltas)?,
        };
        pending.items.extend(changes.into_iter().map(Item::Own));
        pending.items.extend(deltas.into_iter().map(Item::Delta));
        pending.catalog.get_or_insert(self.base.state.version);
        Ok(())
    }
}
