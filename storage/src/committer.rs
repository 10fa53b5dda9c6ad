//! The committer: one thread that puts commits in order.
//!
//! It takes every commit that waits, applies each to the state that the one before it made, writes all their records as one frame,
//! fsyncs once, publishes the newest state, and answers all. While an fsync runs, the next commits gather. After answering, it
//! waits a moment for those it has just answered, if there were several: clients that commit in a loop then share every fsync
//! instead of every other one.
//!
//! A commit that does not apply (its table is gone, its parts were merged away) fails alone and leaves no trace. When the log
//! cannot be written, all commits of the group fail and the state stays what it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::def::{Change, Committed, Durability};
use crate::error::{Error, Result};
use crate::frame::PAYLOAD_MAX;
use crate::log::Log;
use crate::record::Record;
use crate::state::{Effects, Op, State};
use crate::store::Shared;

/// A group takes at most this many bytes of records…
const GROUP_BYTES_MAX: usize = 32 << 20;
/// …and this many commits.
const GROUP_MAX: usize = 4096;
/// How long a group waits for those that the last group answered.
const GATHER: Duration = Duration::from_micros(300);
/// What was acknowledged without an fsync is fsynced after this long.
const SYNC_AFTER: Duration = Duration::from_millis(100);

/// What the committer is asked to do.
pub(crate) enum Request {
    Commit(Pending),
    /// Start the next log file; answer its number, and the state with which it begins.
    Rotate(Sender<Result<(u32, Arc<State>)>>),
    Stop,
}

/// On what a commit insists ([`crate::Commit`]).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expect {
    pub(crate) catalog: Option<u64>,
    pub(crate) seen: Option<u64>,
}

/// A commit that waits.
pub(crate) struct Pending {
    pub(crate) ops: Vec<Op>,
    pub(crate) record: Record,
    pub(crate) expect: Expect,
    pub(crate) reply: Sender<Result<Committed>>,
}

/// A commit that was applied and waits for the fsync.
struct Applied {
    record: Record,
    state: Arc<State>,
    effects: Effects,
    sync: bool,
    reply: Sender<Result<Committed>>,
}

pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Log,
    pub(crate) requests: Receiver<Request>,
}

impl Committer {
    /// Runs until told to stop.
    pub(crate) fn run(mut self) {
        let mut answered = 0;
        loop {
            let first = match self.next() {
                Some(Request::Commit(pending)) => pending,
                Some(Request::Rotate(reply)) => {
                    self.rotate(&reply);
                    continue;
                }
                Some(Request::Stop) | None => {
                    if let Err(error) = self.log.sync() {
                        tracing::error!(%error, "the log could not be synced at the end");
                    }
                    return;
                }
            };
            let (group, after) = self.gather(first, answered);
            answered = group.len();
            self.commit(group);
            // What ended the gathering comes next.
            match after {
                None => {}
                Some(Request::Rotate(reply)) => self.rotate(&reply),
                Some(_) => {
                    let _ = self.log.sync();
                    return;
                }
            }
        }
    }

    fn rotate(&mut self, reply: &Sender<Result<(u32, Arc<State>)>>) {
        let old = self.log.len();
        let result = self.log.rotate().map(|number| (number, self.shared.state()));
        if result.is_ok() {
            self.shared.log_ended(old);
        }
        self.shared.set_log_bytes(self.log.len());
        let _ = reply.send(result);
    }

    /// Waits for a request; meanwhile syncs what is not.
    fn next(&mut self) -> Option<Request> {
        loop {
            if !self.log.is_dirty() {
                return self.requests.recv().ok();
            }
            match self.requests.recv_timeout(SYNC_AFTER) {
                Ok(request) => return Some(request),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = self.log.sync() {
                        tracing::warn!(%error, "the log cannot be synced; it will be tried again");
                    }
                }
            }
        }
    }

    /// The commits that wait, and the request that ended them if it was another.
    fn gather(&self, first: Pending, expected: usize) -> (Vec<Pending>, Option<Request>) {
        let until = Instant::now() + GATHER;
        let mut bytes = first.record.len();
        let mut group = vec![first];
        while group.len() < GROUP_MAX && bytes < GROUP_BYTES_MAX {
            let request = match group.len() < expected {
                true => self.requests.recv_deadline(until).ok(),
                false => self.requests.try_recv().ok(),
            };
            match request {
                Some(Request::Commit(pending)) => {
                    bytes += pending.record.len();
                    group.push(pending);
                }
                other => return (group, other),
            }
        }
        (group, None)
    }

    fn commit(&mut self, group: Vec<Pending>) {
        let before = self.shared.state();
        let mut state = before.clone();
        let mut applied = Vec::with_capacity(group.len());
        for mut pending in group {
            match apply(&state, &mut pending) {
                Ok((next, effects)) => {
                    let sync = needs_sync(&next, &pending.ops);
                    state = Arc::new(next);
                    let Pending { record, reply, .. } = pending;
                    applied.push(Applied { record, state: state.clone(), effects, sync, reply });
                }
                Err(error) => drop(pending.reply.send(Err(error))),
            }
        }
        if applied.is_empty() {
            return;
        }
        let sync = applied.iter().any(|commit| commit.sync);
        let records = applied.iter().map(|commit| commit.record.as_slice());
        if let Err(error) = self.log.write(before.version + 1, records, sync) {
            applied.into_iter().for_each(|commit| drop(commit.reply.send(Err(error.clone()))));
            return;
        }
        for commit in &applied {
            commit.effects.named.iter().for_each(|part| part.set_garbage(false));
            commit.effects.dropped.iter().for_each(|part| part.set_garbage(true));
        }
        let parts_came = applied.iter().any(|commit| !commit.effects.named.is_empty());
        self.shared.set_log_bytes(self.log.len());
        self.shared.publish(state.clone());
        self.shared.after_commit(&before, &state, parts_came);
        drop((before, state));
        for Applied { state, reply, effects, .. } in applied {
            // Who gets the answer may expect that files are gone which no snapshot shows.
            drop(effects);
            let snapshot = self.shared.snapshot_of(state);
            let _ = reply.send(Ok(Committed { version: snapshot.version(), snapshot }));
        }
    }
}

/// Applies a commit to a copy of the state, and completes its record.
fn apply(state: &State, pending: &mut Pending) -> Result<(State, Effects)> {
    if pending.expect.catalog.is_some_and(|version| version != state.catalog_version) {
        return Err(Error::CatalogChanged);
    }
    if pending.record.len() > PAYLOAD_MAX - 16 - GROUP_BYTES_MAX {
        return Err(Error::invalid("a commit is over 900 MiB: write its rows as parts"));
    }
    let (mut next, mut effects) = (state.clone(), Effects::default());
    next.version += 1;
    let version = next.version;
    let mut resolved = Vec::new();
    for (at, op) in pending.ops.iter().enumerate() {
        next.apply(op, version, &mut effects)?;
        resolved.extend(effects.resolved.take().map(|op| (at, op)));
    }
    next.add_keys(&effects.added, pending.expect.seen)?;
    pending.record.resolve(&resolved)?;
    Ok((next, effects))
}

/// Whether a commit waits for its fsync: all but those that only append to tables and delete from tables that opted out, with the keys (source
/// offsets) that go with the rows.
fn needs_sync(state: &State, ops: &[Op]) -> bool {
    let durable = |op: &Op| match op {
        Op::Change(Change::Append { table, .. } | Change::Delete { table, .. }) => {
            state.tables.get(table).is_none_or(|table| table.def().durability == Durability::Fsync)
        }
        Op::Change(Change::Set { key, .. }) => key.starts_with("catalog/"),
        Op::Change(Change::Tally { .. }) => false,
        _ => true,
    };
    let of_rows = |op: &Op| matches!(op, Op::Change(Change::Append { .. } | Change::Delete { .. }));
    !ops.iter().any(of_rows) || ops.iter().any(durable)
}
