//! Reading the events of a stream again: ALTER TABLE … RESET OFFSETS and … REBUILD.
//!
//! What is asked for is kept in the catalogue, beside the table (`catalog/replay/OID`, [`Replay`]), and carried out by the streams that fill it,
//! as soon as they reach their brokers. Each replay has a number of its own, the table's *epoch*. A source's offsets are of one epoch
//! (`source/NAME:OID/epoch`); while that is not the table's, the source has the replay before it: its first commit says where it begins.
//!
//! Invariant: no batch is committed that was read before the table's newest replay. A batch names the epoch that it was read in
//! ([`IngestBatch::epoch`]), which is compared in the snapshot that the commit stands on; and a replay raises the catalogue's version, on
//! which every commit insists.

mod rebuild;
mod statement;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use weir_storage::{Change, Snapshot};

use crate::catalog::{CatalogState, Entry, Kind};
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::{IngestBatch, IngestTarget, SOURCE_PREFIX, TOPIC};

pub use rebuild::{Hold, Rebuild};
pub(crate) use rebuild::{behind, mirrored};
pub(crate) use statement::{HINT, carry_out};

/// Where a table's replay is kept, by the table's oid.
const REPLAY_PREFIX: &str = "catalog/replay/";
/// What stands in the place of the partition in the key of a source's epoch.
const EPOCH: &str = "epoch";

/// Where reading begins again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayFrom {
    /// At the oldest event of each partition.
    Earliest,
    /// After the newest.
    Latest,
    /// At the first event of this time or later, in milliseconds since 1970; after the newest where there is none.
    Timestamp(i64),
    /// At these offsets. Partitions that are not named go on as they stand, or begin at their oldest event if they have not begun.
    Offsets(BTreeMap<i32, i64>),
}

impl std::fmt::Display for ReplayFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplayFrom::Earliest => write!(f, "earliest"),
            ReplayFrom::Latest => write!(f, "latest"),
            ReplayFrom::Timestamp(millis) => write!(f, "timestamp {millis}"),
            ReplayFrom::Offsets(offsets) => {
                let one = |(partition, offset): (&i32, &i64)| format!("{partition} => {offset}");
                write!(f, "({})", offsets.iter().map(one).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// A table's newest replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replay {
    /// Its number; 0 while there was none.
    pub(crate) epoch: u64,
    /// Where sources that have not begun it begin; `None` where their own settings say.
    pub(crate) from: Option<ReplayFrom>,
}

impl Replay {
    /// That of a table.
    pub(crate) fn of(snapshot: &Snapshot, table: u32) -> Replay {
        let kept = snapshot.get(&format!("{REPLAY_PREFIX}{table}"));
        kept.and_then(|kept| serde_json::from_slice(kept).ok()).unwrap_or_default()
    }

    /// The change that makes it a table's newest.
    fn change(&self, table: u32) -> Result<Change> {
        let value = serde_json::to_vec(self).map_err(|e| Error::internal(format!("a replay is not JSON: {e}")))?;
        Ok(Change::Set { key: format!("{REPLAY_PREFIX}{table}"), value: Some(value) })
    }

    /// Whether a source of the table has still to begin it.
    fn is_before(&self, snapshot: &Snapshot, source: &str) -> bool {
        self.from.is_some() && source_epoch(snapshot, source) != self.epoch
    }
}

/// The change that forgets the replays of a table which is dropped.
pub(crate) fn forget(table: u32) -> Change {
    Change::Set { key: format!("{REPLAY_PREFIX}{table}"), value: None }
}

/// The epoch that a source's offsets are of.
fn source_epoch(snapshot: &Snapshot, source: &str) -> u64 {
    let kept = snapshot.get(&format!("{SOURCE_PREFIX}{source}/{EPOCH}"));
    kept.and_then(|epoch| std::str::from_utf8(epoch).ok()?.parse().ok()).unwrap_or(0)
}

/// The change that says so.
fn set_source_epoch(source: &str, epoch: u64) -> Change {
    let key = format!("{SOURCE_PREFIX}{source}/{EPOCH}");
    Change::Set { key, value: Some(epoch.to_string().into_bytes()) }
}

/// All that is kept of the sources of a table: the source's name without the table's oid, what it is (a partition, say), its value.
fn kept_of(snapshot: &Snapshot, table: u32) -> Vec<(String, String, Vec<u8>)> {
    let suffix = format!(":{table}");
    let own = |(key, value): (&str, &[u8])| {
        let (source, what) = key.strip_prefix(SOURCE_PREFIX)?.rsplit_once('/')?;
        Some((source.strip_suffix(&suffix)?.to_string(), what.to_string(), value.to_vec()))
    };
    snapshot.scan_prefix(SOURCE_PREFIX).filter_map(own).collect()
}

/// The changes that forget them.
fn forget_sources(snapshot: &Snapshot, table: u32) -> impl Iterator<Item = Change> {
    kept_of(snapshot, table).into_iter().map(move |(source, what, _)| Change::Set {
        key: format!("{SOURCE_PREFIX}{source}:{table}/{what}"),
        value: None,
    })
}

/// Where the sources of a table stand: by source and partition.
fn offsets_of(snapshot: &Snapshot, table: u32) -> BTreeMap<String, BTreeMap<i32, i64>> {
    let mut sources = BTreeMap::<String, BTreeMap<i32, i64>>::new();
    for (source, what, value) in kept_of(snapshot, table) {
        let next = std::str::from_utf8(&value).ok().and_then(|next| next.parse().ok());
        if let (Ok(partition), Some(next)) = (what.parse(), next) {
            sources.entry(source).or_default().insert(partition, next);
        }
    }
    sources
}

/// The id of the topic that a source's offsets are of.
fn topic_of<'s>(snapshot: &'s Snapshot, source: &str) -> Option<&'s [u8]> {
    snapshot.get(&format!("{SOURCE_PREFIX}{source}/{TOPIC}"))
}

/// Whether a stream fills a table, as far as is known here: subscriptions of the configuration are, once they have begun.
fn is_filled(snapshot: &Snapshot, entry: &Entry) -> bool {
    entry.is_stream() || !offsets_of(snapshot, entry.def.oid).is_empty()
}

/// Refuses a batch that was read before the newest replay of its table.
pub(crate) fn check(snapshot: &Snapshot, entry: &Entry, batch: &IngestBatch) -> Result<()> {
    let replay = Replay::of(snapshot, entry.def.oid);
    let sources: BTreeSet<&str> = batch.offsets.iter().map(|offset| offset.source.as_str()).collect();
    let begins = |source: &str| batch.begins.as_deref() == Some(source);
    let waits = |source: &&str| replay.is_before(snapshot, source) && !begins(source);
    if batch.epoch == replay.epoch && !sources.iter().any(waits) {
        return Ok(());
    }
    let message = format!("the offsets of table \"{}\" were reset", entry.def.name);
    Err(Error::new(ErrorKind::SerializationFailure, message)
        .with_detail("The events were read before, and are to be read again."))
}

/// The change that goes with a batch with which a source begins a replay.
pub(crate) fn begun(batch: &IngestBatch) -> Option<Change> {
    batch.begins.as_ref().map(|source| set_source_epoch(source, batch.epoch))
}

impl Database {
    /// The replay that a source of a table has before it: it begins with a batch of its offsets that says so ([`IngestBatch::begins`]).
    pub fn replay(&self, source: &str, target: &IngestTarget) -> Option<ReplayFrom> {
        let snapshot = self.store().ok()?.snapshot();
        let replay = Replay::of(&snapshot, target.oid);
        let waits = replay.epoch == target.epoch && replay.is_before(&snapshot, source);
        replay.from.filter(|_| waits)
    }
}

impl CatalogState {
    /// The hidden table in which a table is made anew, if it is.
    pub(crate) fn rebuild_of(&self, table: u32) -> Option<&std::sync::Arc<Entry>> {
        self.entries().find(|entry| entry.def.kind == Kind::Table && entry.def.replaces == Some(table))
    }
}
