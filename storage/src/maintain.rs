//! Background work: flush, checkpoint, merge, expiry ([`mod@policy`] says what is due).
//!
//! Two threads, so that a long merge never holds up a flush: one empties heads and shortens the log, the other merges parts and
//! drops those that have expired. Commits wake them; they also look by themselves now and then. [`crate::Store::maintain`] does
//! the same work in the caller's thread.
//!
//! Nothing here is fatal. What fails is logged, leaves nothing behind, and is tried again after a pause that grows while it goes on
//! failing. A merge that fails because of what is in its parts (damage, say) sets these parts aside for long, so that the
//! others go on.
//!
//! Writers feel it only when they outrun the flush ([`Shared::make_room`]): a commit of rows is held back a little when all heads pass
//! twice `head_bytes_max`, more the fuller they are, and waits at four times. Only when flushing itself fails (the disk is full) does
//! such a wait end in that error.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::bounded;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::committer::Request;
use crate::def::{Change, Commit, PartId, TableId};
use crate::encoding::raw_size;
use crate::error::{Error, Result};
use crate::merge::MergeTask;
use crate::policy::{self, HeadLimits, HeadMeta, MergeLimits, PartMeta};
use crate::shown::Shown;
use crate::state::{State, TableState};
use crate::store::Shared;
use crate::{checkpoint, log, priority};

/// How often heads are looked at when nothing wakes us.
const FLUSH_TICK: Duration = Duration::from_millis(250);
/// How often parts are.
const MERGE_TICK: Duration = Duration::from_secs(5);
/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// How long parts are set aside whose merge failed because of what is in them.
const REST: Duration = Duration::from_secs(3600);
/// What a merge holds decoded at once was at most this many bytes in its files.
pub(crate) const MERGE_GRANULE_BYTES: u64 = 128 << 20;
/// A commit that is held back is written at this many bytes a second when half of the room above the limit is used.
const SLOW_BYTES_A_SECOND: f64 = 64e6;
/// The same for small commits: how long each is held back.
const SLOW_COMMIT: f64 = 0.001;
/// No commit is held back longer than this before it may wait.
const SLOW_MAX: f64 = 1.0;

/// Commits of parts are held back when a partition has more parts than this…
const PARTS_SLOW: usize = 200;
/// …this long for each of the others.
const SLOW_PART: Duration = Duration::from_millis(4);

/// Wakes a thread.
#[derive(Default)]
pub(crate) struct Signal {
    raised: Mutex<bool>,
    condition: Condvar,
}

impl Signal {
    pub(crate) fn raise(&self) {
        *self.raised.lock() = true;
        self.condition.notify_all();
    }

    /// Waits until raised, at most so long, and lowers it.
    fn wait(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut raised = self.raised.lock();
        while !*raised && !self.condition.wait_until(&mut raised, until).timed_out() {}
        *raised = false;
    }
}

/// What background work remembers.
#[derive(Default)]
pub(crate) struct Maintenance {
    /// Wakes the thread that flushes.
    pub(crate) flush: Signal,
    /// Wakes the thread that merges.
    pub(crate) merge: Signal,
    /// Raised when heads got smaller, or at the end.
    pub(crate) room: Signal,
    /// When rows came to the heads that are not empty.
    ages: Mutex<HashMap<TableId, Age>>,
    /// Parts that are set aside, until when.
    resting: Mutex<HashMap<PartId, Instant>>,
    /// When expired rows were last left out of a part that is there.
    pub(crate) retained: Mutex<HashMap<PartId, i64>>,
    /// One merge at a time.
    merging: Mutex<()>,
    /// One checkpoint at a time.
    checkpointing: Mutex<()>,
    /// Why the last flush failed, if it did.
    flush_failed: Mutex<Option<Error>>,
}

impl Maintenance {
    /// The right to merge, if nobody else has it before the time is over.
    pub(crate) fn try_merging(&self, time: Duration) -> Option<MutexGuard<'_, ()>> {
        self.merging.try_lock_for(time)
    }

    /// Wakes all that wait.
    pub(crate) fn wake_all(&self) {
        self.flush.raise();
        self.merge.raise();
        self.room.raise();
    }
}

#[derive(Clone, Copy)]
struct Age {
    first: Instant,
    last: Instant,
    rows: usize,
}

/// The pause after failures in a row.
struct Pause(Duration);

impl Pause {
    fn new() -> Pause {
        Pause(PAUSES.0)
    }

    /// Logs the failure and waits.
    fn after(&mut self, shared: &Shared, what: &str, error: &Error) {
        tracing::warn!(%error, again_in = ?self.0, "{what} failed");
        let until = Instant::now() + self.0;
        self.0 = (self.0 * 2).min(PAUSES.1);
        while let Some(left) = until.checked_duration_since(Instant::now())
            && !shared.is_stopping()
        {
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }
}

/// Runs a piece of work; a panic in it is an error like another.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Error::invalid("background work panicked")))
}

/// The thread that flushes and writes checkpoints.
pub(crate) fn run_flushes(shared: &Arc<Shared>) {
    let mut pause = Pause::new();
    while !shared.is_stopping() {
        shared.maintenance.flush.wait(FLUSH_TICK);
        shared.moves.forget(Instant::now());
        let done = guarded(|| shared.flush_due()).and_then(|()| guarded(|| shared.checkpoint_due()));
        match done {
            Ok(()) => pause = Pause::new(),
            Err(Error::Closed) => return,
            Err(error) => pause.after(shared, "emptying heads", &error),
        }
    }
}

/// The thread that merges and drops parts.
pub(crate) fn run_merges(shared: &Arc<Shared>) {
    priority::give_way();
    let mut pause = Pause::new();
    while !shared.is_stopping() {
        shared.maintenance.merge.wait(MERGE_TICK);
        let done = guarded(|| shared.expire(now_micros())).and_then(|()| shared.merge_due());
        match done {
            Ok(()) => pause = Pause::new(),
            Err(Error::Closed) => return,
            Err(error) => pause.after(shared, "merging parts", &error),
        }
    }
}

pub(crate) fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as i64)
}

impl Shared {
    /// Everything that is due, now, in this thread.
    pub(crate) fn maintain(&self) -> Result<()> {
        self.flush_due()?;
        self.expire(now_micros())?;
        self.merge_due()?;
        self.checkpoint_due()
    }

    /// Flushes heads until none is due.
    fn flush_due(&self) -> Result<()> {
        let _one = self.flushing.lock();
        while let Some(table) = self.next_flush() {
            if self.is_stopping() {
                return Err(Error::Closed);
            }
            let result = guarded(|| self.flush_table(table));
            *self.maintenance.flush_failed.lock() = result.as_ref().err().cloned();
            if let Err(error) = result {
                // Who waits for room has to know.
                self.maintenance.room.raise();
                return Err(error);
            }
        }
        *self.maintenance.flush_failed.lock() = None;
        Ok(())
    }

    fn next_flush(&self) -> Option<TableId> {
        let (state, now) = (self.state(), Instant::now());
        let mut ages = self.maintenance.ages.lock();
        ages.retain(|id, _| state.tables.get(id).is_some_and(|table| table.head.rows > 0));
        let heads: Vec<HeadMeta> = state
            .tables
            .iter()
            .filter(|(_, table)| table.head.rows > 0)
            .map(|(&id, table)| {
                let rows = table.head.rows;
                let age = ages.entry(id).or_insert(Age { first: now, last: now, rows });
                // Fewer rows than before: a flush took the old ones.
                let first = if rows < age.rows { now } else { age.first };
                *age = Age { first, last: if rows == age.rows { age.last } else { now }, rows };
                HeadMeta { table: id, rows, bytes: table.head.bytes, age: now - age.first, idle: now - age.last }
            })
            .collect();
        let limits = HeadLimits {
            rows_max: self.options.head_rows_max,
            bytes_max: self.options.head_bytes_max,
            granule_rows: self.options.granule_rows,
        };
        policy::flush_task(&heads, &limits)
    }

    /// Writes a checkpoint and removes what it replaces, when the log since the last one is long.
    fn checkpoint_due(&self) -> Result<()> {
        let _one = self.maintenance.checkpointing.lock();
        if self.log_bytes() <= self.options.log_bytes_max {
            return Ok(());
        }
        let (reply, answer) = bounded(1);
        self.requests.send(Request::Rotate(reply)).map_err(|_| Error::Closed)?;
        let (number, state) = answer.recv().unwrap_or(Err(Error::Closed))?;
        let next_part = self.next_part.load(std::sync::atomic::Ordering::Relaxed);
        let io = &*self.options.io;
        checkpoint::write(io, &self.dir, number, &state, next_part)?;
        self.logs_forgotten();
        drop(state);
        let dir = self.dir.join("log");
        for name in io.list(&dir).map_err(|error| Error::io("list", &dir, error))? {
            if log::number_of(&name).is_some_and(|old| old < number)
                && let Err(error) = io.remove(&dir.join(&name))
            {
                // It is garbage, and removed at the next opening at the latest.
                tracing::warn!(file = name, %error, "cannot remove an old log");
            }
        }
        Ok(())
    }

    /// Merges until nothing is worth merging.
    fn merge_due(&self) -> Result<()> {
        loop {
            let _one = self.maintenance.merging.lock();
            let Some(task) = self.next_due() else { return Ok(()) };
            match guarded(|| self.merge(&task)) {
                Ok(_) => {}
                // Its parts, or some of their rows, are no longer there: so is the task.
                Err(Error::PartsChanged { .. } | Error::RowsChanged { .. } | Error::NoTable { .. }) => {}
                Err(error @ (Error::Corrupt { .. } | Error::Invalid(_))) => {
                    tracing::error!(%error, table = task.def.name, parts = ?task.ids(), "a merge failed");
                    let until = Instant::now() + REST;
                    self.maintenance.resting.lock().extend(task.ids().into_iter().map(|id| (id, until)));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What is to be merged now, the most worthwhile first.
    fn next_due(&self) -> Option<MergeTask> {
        self.next_merge().or_else(|| self.next_retain(now_micros())).or_else(|| self.next_build())
    }

    /// Whether a part is set aside.
    pub(crate) fn is_resting(&self, part: PartId) -> bool {
        self.maintenance.resting.lock().get(&part).is_some_and(|until| *until > Instant::now())
    }

    /// The best merge of all tables and partitions.
    fn next_merge(&self) -> Option<MergeTask> {
        let (state, now) = (self.state(), Instant::now());
        let mut resting = self.maintenance.resting.lock();
        resting.retain(|_, until| *until > now);
        let limits = MergeLimits {
            bytes_max: self.options.merge_bytes_max,
            granule_bytes_max: MERGE_GRANULE_BYTES,
            granule_rows: self.options.granule_rows as u64,
        };
        let mut best: Option<(u64, MergeTask)> = None;
        for (_, table) in state.tables.iter() {
            for parts in by_partition(table).into_values() {
                let meta = |part: &&Shown| PartMeta {
                    bytes: part.bytes(),
                    rows: part.rows(),
                    deleted: part.deleted_rows(),
                    resting: resting.contains_key(&part.id()),
                };
                let metas: Vec<PartMeta> = parts.iter().map(meta).collect();
                if let Some((run, score)) = policy::merge_task(&metas, &limits)
                    && best.as_ref().is_none_or(|(other, _)| score < *other)
                {
                    let parts = parts[run].iter().map(|&shown| shown.clone()).collect();
                    best = Some((score, MergeTask { table: table.id(), def: table.def().clone(), parts, stop: None }));
                }
            }
        }
        best.map(|(_, task)| task)
    }

    /// What the committer calls after each group: wakes whoever has something to do now.
    pub(crate) fn after_commit(&self, before: &State, after: &State, parts_came: bool) {
        let over = after.head_bytes >= self.options.head_bytes_max || self.log_bytes() > self.options.log_bytes_max;
        if over {
            self.maintenance.flush.raise();
        }
        if parts_came {
            self.maintenance.merge.raise();
        }
        if after.head_bytes < before.head_bytes {
            self.maintenance.room.raise();
        }
    }

    /// Holds back a commit while heads are over their limits.
    pub(crate) fn make_room(&self, commit: &Commit) -> Result<()> {
        let rows = |change: &Change| match change {
            Change::Append { rows, .. } => rows.columns().iter().map(|column| raw_size(column)).sum(),
            _ => 0,
        };
        if self.options.background {
            self.wait_for_merges(commit);
        }
        if !commit.changes.iter().any(|change| matches!(change, Change::Append { .. })) {
            return Ok(());
        }
        let max = self.options.head_bytes_max.max(1);
        if !self.options.background {
            if self.state().head_bytes >= max
                && let Err(error) = self.flush_due()
            {
                tracing::warn!(%error, "a flush failed");
            }
            return Ok(());
        }
        let bytes = self.state().head_bytes;
        if bytes <= 2 * max {
            return Ok(());
        }
        let used = ((bytes - 2 * max) as f64 / (2 * max) as f64).min(1.0);
        let size: usize = commit.changes.iter().map(rows).sum();
        let pause = (SLOW_COMMIT + size as f64 / SLOW_BYTES_A_SECOND) * used / (1.0 - used);
        std::thread::sleep(Duration::from_secs_f64(pause.min(SLOW_MAX)));
        while self.state().head_bytes >= 4 * max {
            if self.is_stopping() {
                return Err(Error::Closed);
            }
            if let Some(error) = self.maintenance.flush_failed.lock().clone() {
                return Err(error);
            }
            self.maintenance.room.wait(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Shared {
    /// Holds back a commit of parts a little when its partitions have very many already: merges are behind.
    fn wait_for_merges(&self, commit: &Commit) {
        let state = self.state();
        let crowd = |change: &Change| match change {
            Change::AddParts { table, parts } => {
                let there = state.tables.get(table).map_or(&[][..], |table| table.parts());
                let in_partition = |partition: &str| there.iter().filter(|part| part.partition() == partition).count();
                match there.len() > PARTS_SLOW {
                    true => parts.iter().map(|part| in_partition(part.partition())).max().unwrap_or(0),
                    false => 0,
                }
            }
            _ => 0,
        };
        let parts = commit.changes.iter().map(crowd).max().unwrap_or(0);
        if parts > PARTS_SLOW {
            std::thread::sleep((SLOW_PART * (parts - PARTS_SLOW) as u32).min(Duration::from_secs_f64(SLOW_MAX)));
        }
    }
}

/// A table's parts by partition, oldest first.
pub(crate) fn by_partition(table: &TableState) -> HashMap<&str, Vec<&Shown>> {
    let mut partitions: HashMap<&str, Vec<&Shown>> = HashMap::new();
    for part in table.parts() {
        partitions.entry(part.partition()).or_default().push(part);
    }
    partitions
}
