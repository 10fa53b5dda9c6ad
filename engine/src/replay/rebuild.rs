//! REBUILD: a table made anew of its stream's events, beside the table as it is.
//!
//! A hidden table of the same definition ([`hidden`]) is filled by the same streams, from where REBUILD said, with offsets of its own. Whoever fills it
//! asks [`Database::finish_rebuild`] again and again. Once the hidden table is nearly as far as the live one, the live one's gate is closed
//! for a moment ([`Hold`]), so that it stands still; when the hidden one is as far in every partition, one commit takes the live rows away, gives
//! it the hidden rows and offsets, and drops the hidden table. Parts are shared, not written anew. To views it is a TRUNCATE with an INSERT. The live
//! table has another epoch from then on: its streams go on from the new offsets, and nothing that they read before is committed.
//!
//! All that is known of a rebuild is in the catalogue and in the offsets, so that a restart goes on with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_storage::{Change, Snapshot, TableDef, TableId};

use super::{Replay, forget_sources, kept_of, offsets_of, set_source_epoch, topic_of};
use crate::catalog::{CatalogState, Entry, Kind, RelationDef};
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::exec;
use crate::gate::Closed;
use crate::ingest::{SOURCE_PREFIX, table_named};
use crate::statement::commit::with_views;
use crate::statement::define::{add_definitions, dropped, set_relation};
use crate::statement::relations::StoredRelations;
use crate::statement::table::{detached_context, whole_scan};
use crate::statement::writer::Base;
use crate::transaction::{Item, Pending};
use crate::views::{emptied, maintain};

/// From so many events on the live table waits for the hidden one…
const NEAR: u64 = 65_536;
/// …but no longer than this.
const HOLD_MAX: Duration = Duration::from_secs(5);

/// A table that is made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    /// The live table's oid.
    pub oid: u32,
    /// `schema.name` of the hidden table that the same streams are to fill.
    pub into: String,
}

/// Holds the live table still while the hidden one catches up. Dropping it lets the live one go on.
#[derive(Debug)]
pub struct Hold {
    _closed: Closed,
    until: Instant,
}

/// The hidden table's definition, but for its oid and name. Indexes are the live one's, by name.
pub(super) fn hidden(live: &RelationDef) -> RelationDef {
    RelationDef { building: true, replaces: Some(live.oid), indexes: Vec::new(), ..live.clone() }
}

/// The changes that let the hidden table follow a definition that changes.
pub(crate) fn mirrored(entry: &Entry, live: &RelationDef, stored: &TableDef) -> Result<Vec<Change>> {
    let (oid, name) = (entry.def.oid, entry.def.name.clone());
    let def = RelationDef { oid, name, ..hidden(live) };
    let stored = TableDef { name: format!("{}.{}", def.schema, def.name), ..stored.clone() };
    Ok(vec![Change::AlterTable { id: TableId(oid), def: stored }, set_relation(&def)?])
}

/// How many events the hidden table is behind the live one; `None` while its streams have not begun, or read another topic than the
/// live table has rows of.
pub(crate) fn behind(snapshot: &Snapshot, live: u32, hidden: u32) -> Option<u64> {
    let (replay, again) = (Replay::of(snapshot, live), Replay::of(snapshot, hidden));
    let (there, here) = (offsets_of(snapshot, live), offsets_of(snapshot, hidden));
    let mut behind = 0;
    for (source, offsets) in &there {
        let (old, new) = (format!("{source}:{live}"), format!("{source}:{hidden}"));
        if replay.is_before(snapshot, &old) || again.is_before(snapshot, &new) {
            return None;
        }
        if let (Some(old), Some(new)) = (topic_of(snapshot, &old), topic_of(snapshot, &new))
            && old != new
        {
            return None;
        }
        for (partition, next) in offsets {
            behind += next.saturating_sub(*here.get(source)?.get(partition)?).max(0) as u64;
        }
    }
    // A table whose stream has not begun is as far as one that has.
    (!here.is_empty()).then_some(behind)
}

/// The hidden table and the live one, which it is of the same definition as.
struct Pair {
    live: Arc<Entry>,
    hidden: Arc<Entry>,
}

impl Pair {
    /// `None` if the rebuild is over.
    fn find(state: &CatalogState, into: &str) -> Option<Pair> {
        let hidden = table_named(state, into).ok()?;
        let live = state.entry(hidden.def.replaces?)?.clone();
        Some(Pair { live, hidden })
    }

    fn stored(snapshot: &Snapshot, entry: &Entry) -> Result<Arc<weir_storage::TableState>> {
        let stored = snapshot.table(TableId(entry.def.oid));
        stored.ok_or_else(|| Error::internal(format!("\"{}\" has no rows", entry.def.name)))
    }

    /// Whether rows of the hidden table are rows of the live one.
    fn is_alike(&self, snapshot: &Snapshot) -> Result<bool> {
        let (live, hidden) = (Pair::stored(snapshot, &self.live)?, Pair::stored(snapshot, &self.hidden)?);
        Ok(hidden.def().has_same_rows(live.def()) && self.live.def.partition_by == self.hidden.def.partition_by)
    }

    /// What the views on the live table make of the hidden table's rows, where these say it by themselves.
    fn deltas(&self, base: &Base) -> Result<Vec<Change>> {
        let live = self.live.def.oid;
        if base.state.fed_by(live).next().is_none() {
            return Ok(Vec::new());
        }
        let mut deltas = maintain::deltas(&base.database, &base.state, live, &base.cancel)?;
        let relations = StoredRelations { state: base.state.clone(), snapshot: base.snapshot.clone(), now: base.now };
        let context = Arc::new(detached_context(&base.database, &base.cancel).with_relations(Arc::new(relations)));
        let mut rows = exec::run(&whole_scan(&self.hidden.relation), &context)?;
        while let Some(rows) = rows.next()? {
            deltas.add(&rows)?;
        }
        deltas.finish()
    }

    /// The commit that puts the hidden table's rows and offsets in the place of the live one's.
    fn swap(&self, base: &Base) -> Result<Pending> {
        let (database, snapshot) = (&base.database, &base.snapshot);
        let (live, hidden) = (self.live.def.oid, self.hidden.def.oid);
        let (table, stored) = (TableId(live), Pair::stored(snapshot, &self.hidden)?);
        let mut parts = Vec::new();
        for partition in stored.partitions() {
            let def = Pair::stored(snapshot, &self.live)?;
            parts.extend(database.store()?.share_partition(snapshot, TableId(hidden), &partition, def.def())?);
        }
        let mut pending = Pending::default();
        pending.items.push(Item::Fed(Change::Truncate { table }));
        pending.items.extend(emptied(&base.state, live)?.into_iter().map(Item::Delta));
        if !parts.is_empty() {
            pending.items.push(Item::Fed(Change::AddParts { table, parts }));
        }
        pending.items.extend(self.deltas(base)?.into_iter().map(Item::Delta));
        if self.live.def.key().is_some() {
            pending.saw(snapshot.version());
        }
        let replay = Replay { epoch: database.new_oid().into(), from: None };
        let mut changes: Vec<Change> = forget_sources(snapshot, live).collect();
        let mut offsets = BTreeMap::new();
        for (source, what, value) in kept_of(snapshot, hidden) {
            offsets.insert(format!("{SOURCE_PREFIX}{source}:{live}/{what}"), value);
        }
        changes.extend(offsets.into_iter().map(|(key, value)| Change::Set { key, value: Some(value) }));
        changes.extend(
            offsets_of(snapshot, hidden)
                .keys()
                .map(|source| set_source_epoch(&format!("{source}:{live}"), replay.epoch)),
        );
        changes.push(replay.change(live)?);
        changes.extend(forget_sources(snapshot, hidden));
        changes.extend(dropped(&self.hidden.def));
        add_definitions(&mut pending, base.state.version, database.next_oid(), changes);
        Ok(pending)
    }
}

impl Database {
    /// The tables that are made anew. Ask again when [`Database::catalog_version`] has moved.
    pub fn rebuilds(&self) -> Vec<Rebuild> {
        let Ok(state) = self.store().and_then(|store| self.catalog(&store.snapshot())) else { return Vec::new() };
        let rebuild = |entry: &Arc<Entry>| {
            let oid = entry.def.replaces.filter(|_| entry.def.kind == Kind::Table)?;
            Some(Rebuild { oid, into: entry.qualified() })
        };
        state.entries().filter_map(rebuild).collect()
    }

    /// Puts what a hidden table has into the place of the live table's rows, if it is as far in the streams; whether the rebuild is over. The
    /// live table may be held still for a moment: keep `hold` for the next time. Fails, with the rebuild ended, if the two have become
    /// different.
    pub fn finish_rebuild(&self, into: &str, hold: &mut Option<Hold>) -> Result<bool> {
        let finished = self.try_finish(into, hold);
        if !matches!(finished, Ok(false)) {
            *hold = None;
        }
        finished
    }

    fn try_finish(&self, into: &str, hold: &mut Option<Hold>) -> Result<bool> {
        use weir_storage::Error::{CatalogChanged, PartsChanged, RowsChanged};
        loop {
            let snapshot = self.store()?.snapshot();
            let state = self.catalog(&snapshot)?;
            let Some(pair) = Pair::find(&state, into) else { return Ok(true) };
            let (live, hidden) = (pair.live.def.oid, pair.hidden.def.oid);
            let until = hold.as_ref().map(|hold| hold.until);
            match (behind(&snapshot, live, hidden), until) {
                (Some(0), Some(_)) => {}
                (Some(0..=NEAR), Some(until)) if Instant::now() < until => return Ok(false),
                (Some(0..=NEAR), None) => {
                    let closed = self.gates().close(live, self.background())?;
                    *hold = Some(Hold { _closed: closed, until: Instant::now() + HOLD_MAX });
                    // What the live table got until now counts.
                    continue;
                }
                _ => {
                    *hold = None;
                    return Ok(false);
                }
            }
            if !pair.is_alike(&snapshot)? {
                return self.end_rebuild(&state, &snapshot, &pair);
            }
            let base = Base::new(self, state, snapshot, self.background().clone());
            match with_views(self, &pair.swap(&base)?) {
                Ok(Ok(_)) => return Ok(true),
                Ok(Err(CatalogChanged | RowsChanged { .. } | PartsChanged { .. })) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(error) if error.kind == ErrorKind::SerializationFailure => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Drops a hidden table that is of no use, and says so.
    fn end_rebuild(&self, state: &CatalogState, snapshot: &Snapshot, pair: &Pair) -> Result<bool> {
        let mut changes = dropped(&pair.hidden.def);
        changes.extend(forget_sources(snapshot, pair.hidden.def.oid));
        let commit = weir_storage::Commit { changes, expect_catalog: Some(state.version), seen: None };
        self.store()?.commit(commit)?;
        let message = format!("the rebuild of table \"{}\" is ended: its definition was changed", pair.live.def.name);
        Err(Error::new(ErrorKind::WrongState, message))
    }
}
