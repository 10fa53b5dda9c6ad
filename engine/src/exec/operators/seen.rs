//! The rows that a recursion has put out, among which those of a round are looked up.
//!
//! They are the keys of a table. When this does not fit its keys go to disk, into [`PARTITIONS`] by their hash, and it begins anew. Rows that are not in the
//! table wait, as many as fit beside it, and are then looked up on disk together: only partitions that may have them are read, batch after
//! batch. What is new comes out in the order of the round.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt32Array};
use weir_sql::Type;

use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::groups::{ABSENT, GroupTable, hash_rows};
use crate::exec::keys;
use crate::exec::memory::Reservation;
use crate::exec::operator::Metrics;
use crate::exec::spill::{Extent, SpillFile};
use crate::exec::spool::{Filling, Spool};

const PARTITIONS: usize = 256;

/// Rows that are known.
pub(super) struct Seen {
    types: Vec<Type>,
    /// Those that came last.
    table: GroupTable,
    held: Reservation,
    /// The keys of those before: lists by hash.
    disk: Option<(Arc<SpillFile>, Vec<Vec<Extent>>)>,
    /// Rows that are in the table, but may be on disk as well.
    waiting: Vec<Batch>,
}

impl Seen {
    pub(super) fn new(types: &[Type], context: &Arc<QueryContext>) -> Result<Seen> {
        let held = context.memory.reservation("Recursive Union");
        Ok(Seen { types: types.to_vec(), table: GroupTable::new(types)?, held, disk: None, waiting: Vec::new() })
    }

    /// The rows that are not known yet, each once; they are known from now on.
    pub(super) fn fresh(&mut self, rows: &Arc<Spool>, context: &Arc<QueryContext>) -> Result<Arc<Spool>> {
        let mut fresh = Spool::empty(context, "Recursive Union");
        let mut waiting_bytes = 0;
        for i in 0..rows.sizes().len() {
            context.cancel.check()?;
            let batch = rows.batch(i)?;
            let normal = self.normal(&batch)?;
            let first = unknown(&mut self.table, &normal, batch.rows)?;
            if !first.is_empty() {
                let batch = batch.take(&first)?;
                match self.disk.is_some() {
                    false => fresh.push(batch)?,
                    true => {
                        waiting_bytes += batch.bytes();
                        self.waiting.push(batch);
                    }
                }
            }
            if !self.held.fits(self.table.memory() + waiting_bytes)? {
                self.look_up(&mut fresh, context)?;
                waiting_bytes = 0;
                self.write(context)?;
            }
        }
        self.look_up(&mut fresh, context)?;
        Ok(fresh.finish(&Metrics::default()))
    }

    fn normal(&self, batch: &Batch) -> Result<Vec<ArrayRef>> {
        keys::normalize_all(&self.types, &batch.columns)
    }

    /// The rows of each partition.
    fn divided(&self, keys: &[ArrayRef], rows: usize) -> Result<Vec<Vec<u32>>> {
        let mut places: Vec<Vec<u32>> = vec![Vec::new(); PARTITIONS];
        for (hash, row) in hash_rows(&self.types, keys, rows)?.into_iter().zip(0u32..) {
            places[(hash >> 32) as usize % PARTITIONS].push(row);
        }
        Ok(places)
    }

    /// Moves the table to disk.
    fn write(&mut self, context: &QueryContext) -> Result<()> {
        let table = std::mem::replace(&mut self.table, GroupTable::new(&self.types)?);
        let keys = Batch::new(table.keys()?, table.len());
        let places = self.divided(&keys.columns, keys.rows)?;
        let (file, lists) = match &mut self.disk {
            Some(disk) => disk,
            None => self.disk.insert((SpillFile::create(context)?, vec![Vec::new(); PARTITIONS])),
        };
        for (list, places) in lists.iter_mut().zip(places).filter(|(_, places)| !places.is_empty()) {
            list.push(file.append(&keys.take(&UInt32Array::from(places))?)?);
        }
        self.held.resize(0)
    }

    /// Passes on those of the waiting rows that are not on disk.
    fn look_up(&mut self, fresh: &mut Filling, context: &QueryContext) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let Some((file, lists)) = self.disk.as_ref().filter(|_| !waiting.is_empty()) else { return Ok(()) };
        let rows = Batch::concat(&waiting, &self.types)?;
        drop(waiting);
        let normal = Batch::new(self.normal(&rows)?, rows.rows);
        let mut new = vec![true; rows.rows];
        for (places, list) in self.divided(&normal.columns, rows.rows)?.into_iter().zip(lists) {
            if places.is_empty() || list.is_empty() {
                continue;
            }
            let (mut table, mut groups) = (GroupTable::new(&self.types)?, Vec::new());
            let wanted = normal.take(&UInt32Array::from(places.clone()))?;
            table.intern(&wanted.columns, wanted.rows, &mut groups)?;
            for extent in list {
                context.cancel.check()?;
                let known = file.read(extent)?;
                table.lookup(&known.columns, known.rows, &mut groups)?;
                for &group in groups.iter().filter(|group| **group != ABSENT) {
                    new[places[group as usize] as usize] = false;
                }
            }
        }
        let rows = rows.filter(&BooleanArray::from(new))?;
        let size = context.batch_rows.max(1);
        (0..rows.rows).step_by(size).try_for_each(|start| fresh.push(rows.slice(start, size.min(rows.rows - start))))
    }
}

/// The rows that are the first with their key in a table, which has them then.
fn unknown(table: &mut GroupTable, keys: &[ArrayRef], rows: usize) -> Result<UInt32Array> {
    let (mut next, mut groups) = (table.len() as u32, Vec::new());
    table.intern(keys, rows, &mut groups)?;
    let mut first = Vec::new();
    for (row, &group) in groups.iter().enumerate() {
        if group == next {
            next += 1;
            first.push(row as u32);
        }
    }
    Ok(UInt32Array::from(first))
}
