//! A transaction: changes that are not committed yet, and what they were computed against.
//!
//! READ COMMITTED: each statement reads the newest snapshot, overlaid with the transaction's own changes. Nothing is written before COMMIT,
//! except bulk rows, whose parts no one names until then. At COMMIT all changes go to storage as one commit.
//!
//! Rows that feed views come with their deltas, computed against one catalogue version; the commit insists on that version, so that a
//! view made meanwhile cannot miss them. If it has moved, the deltas are computed again from the rows (`views::maintain`) and the
//! commit is tried again. What else a commit means for views is found when it is made (`views::derive`). Changes of the catalogue itself are checked against the newer one by name and oid.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_storage::{Change, Snapshot, TableId};

use crate::cancel::Cancel;
use crate::catalog::Entry;
use crate::error::Result;
use crate::gate::Closed;

/// Something a transaction will do.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// A change that stands by itself.
    Own(Change),
    /// Rows of a table that come or go, which views on it follow.
    Fed(Change),
    /// What a view makes of rows before it; thrown away and computed again when the catalogue moves.
    Delta(Change),
}

impl Item {
    pub(crate) fn change(&self) -> &Change {
        match self {
            Item::Own(change) | Item::Fed(change) | Item::Delta(change) => change,
        }
    }
}

/// Changes that are not committed yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending {
    pub(crate) items: Vec<Item>,
    /// The storage's catalogue version that deltas and definitions were computed against.
    pub(crate) catalog: Option<u64>,
    /// The number of the last change of the catalogue, so that plans are bound again after each; 0 if there is none.
    pub(crate) ddl: u64,
    /// Relations whose definitions it changes, as they were.
    pub(crate) altered: BTreeMap<u32, Arc<Entry>>,
    /// Gates that it holds closed.
    pub(crate) gates: Vec<Arc<Closed>>,
    /// Views that are to be filled after the commit.
    pub(crate) views: Vec<u32>,
    /// Tables whose parts are to get indexes after the commit, and what ends the wait for that.
    pub(crate) indexed: Vec<(u32, Cancel)>,
    /// The oldest version at which keys were looked up: a key that another commit has added since is a conflict.
    pub(crate) seen: Option<u64>,
}

/// Numbers changes of the catalogue, so that what one transaction defined is never taken for what another did.
static DEFINED: AtomicU64 = AtomicU64::new(1);

impl Pending {
    /// The catalogue changes.
    pub(crate) fn defined(&mut self) {
        self.ddl = DEFINED.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether a table is made, or its rows change.
    pub(crate) fn touches(&self, oid: u32) -> bool {
        self.items.iter().any(|item| match item.change() {
            Change::CreateTable { id, .. } => id.0 == oid,
            change => table_of(change).is_some_and(|table| table.0 == oid),
        })
    }

    /// Keys were looked up at this version.
    pub(crate) fn saw(&mut self, version: u64) {
        self.seen = Some(self.seen.map_or(version, |seen| seen.min(version)));
    }

    /// A snapshot with these changes on top.
    pub(crate) fn over(&self, base: &Snapshot) -> Result<Snapshot> {
        if self.items.is_empty() {
            return Ok(base.clone());
        }
        Ok(base.with_changes(&self.changes())?)
    }

    /// The changes in order.
    pub(crate) fn changes(&self) -> Vec<Change> {
        self.kept().map(|item| item.change().clone()).collect()
    }

    /// All but what rows mean for views that this transaction makes: they are filled after the commit, from all rows of its version.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| match item {
            Item::Own(_) | Item::Fed(_) => true,
            Item::Delta(change) => !table_of(change).is_some_and(|table| self.views.contains(&table.0)),
        })
    }

    /// The changes in order, with rows for the same table and partition joined to one batch where nothing stands between them.
    pub(crate) fn joined(&self) -> Result<Vec<Change>> {
        let mut groups: Vec<(TableId, String, Vec<arrow::array::RecordBatch>)> = Vec::new();
        let mut changes = Vec::new();
        for item in self.kept() {
            match item.change() {
                Change::Append { table, partition, rows } => {
                    match groups.iter_mut().find(|(t, p, _)| t == table && p == partition) {
                        Some((_, _, batches)) => batches.push(rows.clone()),
                        None => groups.push((*table, partition.clone(), vec![rows.clone()])),
                    }
                }
                // What comes between rows without touching any.
                tally @ Change::Tally { .. } => changes.push(tally.clone()),
                other => {
                    flush(&mut groups, &mut changes)?;
                    changes.push(other.clone());
                }
            }
        }
        flush(&mut groups, &mut changes)?;
        Ok(changes)
    }
}

/// The table whose rows change.
pub(crate) fn table_of(change: &Change) -> Option<TableId> {
    match change {
        Change::Append { table, .. }
        | Change::AddParts { table, .. }
        | Change::DropParts { table, .. }
        | Change::DropPartitions { table, .. }
        | Change::Delete { table, .. }
        | Change::Truncate { table } => Some(*table),
        _ => None,
    }
}

fn flush(groups: &mut Vec<(TableId, String, Vec<arrow::array::RecordBatch>)>, changes: &mut Vec<Change>) -> Result<()> {
    for (table, partition, batches) in groups.drain(..) {
        let rows = match batches.as_slice() {
            [one] => one.clone(),
            many => arrow::compute::concat_batches(many[0].schema_ref(), many)?,
        };
        changes.push(Change::Append { table, partition, rows });
    }
    Ok(())
}

/// A SAVEPOINT: where to go back to.
#[derive(Debug, Clone)]
pub(crate) struct Savepoint {
    pub(crate) name: String,
    pub(crate) pending: Pending,
    /// Depth of the saved settings.
    pub(crate) settings: usize,
}

/// An open transaction.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// BEGIN was said: it goes on until COMMIT or ROLLBACK.
    pub(crate) explicit: bool,
    /// An error happened: only ROLLBACK helps.
    pub(crate) failed: bool,
    /// No writes.
    pub(crate) read_only: bool,
    /// `now()`.
    pub(crate) started: i64,
    pub(crate) pending: Pending,
    pub(crate) savepoints: Vec<Savepoint>,
}

impl Transaction {
    pub(crate) fn new(explicit: bool, read_only: bool, started: i64) -> Transaction {
        Transaction { explicit, failed: false, read_only, started, pending: Pending::default(), savepoints: Vec::new() }
    }
}
