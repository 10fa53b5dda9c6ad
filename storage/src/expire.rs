//! Expiry: rows whose TTL is over leave the disk.
//!
//! Readers leave them out at once; here they are only cleaned up. A part of which every row has expired is dropped without being read.
//! Flushes and merges ask [`crate::Retain`] which rows to keep. A part that nothing else would merge is rewritten by itself when
//! enough of it has expired, or some of it long ago ([`policy::is_retain_due`]).

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;

use crate::committer::Expect;
use crate::def::{Change, PartId, TableDef, TtlDef};
use crate::error::{Error, Result};
use crate::key::{Key, key_at};
use crate::merge::MergeTask;
use crate::policy::{self, Expiry};
use crate::shown::Shown;
use crate::state::{Op, TableState};
use crate::store::Shared;

/// How many microseconds one of a TTL column's units is; `None` for types that no TTL may be on.
fn unit(def: &TableDef, ttl: &TtlDef) -> Option<i128> {
    match def.schema.field(ttl.column).data_type() {
        DataType::Date32 => Some(86_400_000_000),
        DataType::Timestamp(..) => Some(1),
        _ => None,
    }
}

impl Shared {
    /// Drops the parts whose rows have all expired, or are all deleted.
    pub(crate) fn expire(&self, now: i64) -> Result<()> {
        let state = self.state();
        for (&id, table) in state.tables.iter() {
            let parts = expired(table, now);
            if parts.is_empty() {
                continue;
            }
            match self.submit(vec![Op::Change(Change::DropParts { table: id, parts })], Expect::default()) {
                // Next time.
                Err(Error::PartsChanged { .. } | Error::NoTable { .. }) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Rows without what has expired. Whoever reads them leaves those out anyway, so when it cannot be told, they stay.
    pub(crate) fn retained(&self, def: &Arc<TableDef>, rows: RecordBatch, now: i64) -> Result<RecordBatch> {
        let Some(retain) = self.options.retain.as_ref().filter(|_| !def.ttl.is_empty()) else { return Ok(rows) };
        match retain.retain(def, &rows, now) {
            Ok(kept) => Ok(kept.unwrap_or(rows)),
            Err(error) => {
                tracing::warn!(table = %def.name, error, "expired rows are kept for now");
                Ok(rows)
            }
        }
    }

    /// A part to rewrite without its expired rows.
    pub(crate) fn next_retain(&self, now: i64) -> Option<MergeTask> {
        self.options.retain.as_ref()?;
        let state = self.state();
        let mut retained = self.maintenance.retained.lock();
        let mut found = None;
        let mut there = Vec::new();
        for (&id, table) in state.tables.iter().filter(|(_, table)| !table.def().ttl.is_empty()) {
            for shown in table.parts() {
                there.push(shown.id());
                let last = retained.get(&shown.id()).copied();
                let due = |ttl: &TtlDef| {
                    let Ok(Some(expiry)) = expiry(shown, table.def(), ttl, now) else { return false };
                    policy::is_retain_due(ttl, &expiry, shown.rows(), last, now)
                };
                if found.is_none() && !self.is_resting(shown.id()) && table.def().ttl.iter().any(due) {
                    found =
                        Some(MergeTask { table: id, def: table.def().clone(), parts: vec![shown.clone()], stop: None });
                }
            }
        }
        retained.retain(|part, _| there.contains(part));
        found
    }

    /// Remembers that a new part has no row that had expired at `now`.
    pub(crate) fn note_retained(&self, part: PartId, now: i64) {
        self.maintenance.retained.lock().insert(part, now);
    }
}

fn expired(table: &TableState, now: i64) -> Vec<PartId> {
    let is_over = |part: &&Shown| {
        part.living_rows() == 0
            || table.def().ttl.iter().filter(|ttl| !ttl.conditional).any(|ttl| {
                let Some(unit) = unit(table.def(), ttl) else { return false };
                match part.max_of(ttl.column) {
                    Ok(greatest) => greatest.is_some_and(|greatest| policy::is_expired(ttl, greatest * unit, now)),
                    // Whoever reads it, and `check`, will say so.
                    Err(_) => false,
                }
            })
    };
    table.parts().iter().filter(is_over).map(|part| part.id()).collect()
}

/// What the zones of a part say of a rule; `None` when they do not know.
fn expiry(shown: &Shown, def: &TableDef, ttl: &TtlDef, now: i64) -> Result<Option<Expiry>> {
    let Some(unit) = unit(def, ttl) else { return Ok(None) };
    let index = shown.index(ttl.column)?;
    let Some((min, max)) = &index.zones else { return Ok(None) };
    let value = |zones: &dyn Array, granule: usize| match key_at(zones, granule) {
        Some(Key::Number(number)) => Some(policy::expires(ttl, number * unit)),
        _ => None,
    };
    let mut expiry = Expiry { first: i128::MAX, last: i128::MIN, rows: 0 };
    for (granule, &rows) in shown.granules()?.iter().enumerate() {
        let (Some(first), Some(last)) = (value(min, granule), value(max, granule)) else { continue };
        expiry.first = expiry.first.min(first);
        expiry.last = expiry.last.max(last);
        if last <= now.into() && index.nulls[granule] == 0 {
            expiry.rows += u64::from(rows);
        }
    }
    Ok((expiry.first <= expiry.last).then_some(expiry))
}
