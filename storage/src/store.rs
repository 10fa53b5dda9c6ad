//! [`Store`]: a data directory, open.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use arrow::array::RecordBatch;
use crossbeam_channel::{Sender, bounded, unbounded};
use parking_lot::{Mutex, RwLock};

use crate::committer::{Committer, Expect, Pending, Request};
use crate::def::{Commit, Committed, PartId, Pressure, StoreOptions, TableDef, TableId};
use crate::error::{Error, Result};
use crate::io::{Io, LockError};
use crate::log::Log;
use crate::maintain::{self, Maintenance};
use crate::moved::Moves;
use crate::part::{NewPart, PartDir};
use crate::record::Record;
use crate::recovery;
use crate::snapshot::Snapshot;
use crate::state::{Op, State};

/// A data directory, open. Clones are handles to the same one; the last one closes it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What the threads of a store share.
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) options: StoreOptions,
    pub(crate) parts: PartDir,
    pub(crate) next_part: AtomicU64,
    newest: RwLock<Arc<State>>,
    /// Bytes of the newest log, and of those before it since the last checkpoint.
    log_bytes: AtomicU64,
    log_bytes_before: AtomicU64,
    pub(crate) requests: Sender<Request>,
    pub(crate) maintenance: Maintenance,
    /// Where flushes and merges have put rows.
    pub(crate) moves: Moves,
    stopping: AtomicBool,
    /// One flush at a time.
    pub(crate) flushing: Mutex<()>,
    /// Held until everything else is gone.
    _lock: Box<dyn Send + Sync>,
}

impl Shared {
    pub(crate) fn state(&self) -> Arc<State> {
        self.newest.read().clone()
    }

    pub(crate) fn publish(&self, state: Arc<State>) {
        // The old state is dropped outside the lock: it may be the last that held files.
        let old = std::mem::replace(&mut *self.newest.write(), state);
        drop(old);
    }

    pub(crate) fn snapshot_of(&self, state: Arc<State>) -> Snapshot {
        Snapshot { state, granule_rows: self.options.granule_rows, own: Arc::default() }
    }

    /// Hands operations to the committer and waits for its answer.
    pub(crate) fn submit(&self, ops: Vec<Op>, expect: Expect) -> Result<Committed> {
        let record = Record::new(&ops)?;
        let (reply, answer) = bounded(1);
        let pending = Pending { ops, record, expect, reply };
        self.requests.send(Request::Commit(pending)).map_err(|_| Error::Closed)?;
        answer.recv().unwrap_or(Err(Error::Closed))
    }

    pub(crate) fn new_part_id(&self) -> PartId {
        PartId(self.next_part.fetch_add(1, Ordering::Relaxed))
    }

    /// The newest log's length.
    pub(crate) fn set_log_bytes(&self, bytes: u64) {
        self.log_bytes.store(bytes, Ordering::Relaxed);
    }

    /// A log of this length was followed by the next.
    pub(crate) fn log_ended(&self, bytes: u64) {
        self.log_bytes_before.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The newest log is the first after a checkpoint.
    pub(crate) fn logs_forgotten(&self) {
        self.log_bytes_before.store(0, Ordering::Relaxed);
    }

    /// Bytes of the log since the last checkpoint.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed) + self.log_bytes_before.load(Ordering::Relaxed)
    }

    /// Whether the store is closing: long work should end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

struct Inner {
    shared: Arc<Shared>,
    /// The committer last: the others need it until they end.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    /// Opens a directory, which is made if it is not there: takes its lock, reads its newest state, removes what nothing
    /// names.
    pub fn open(dir: impl AsRef<Path>, options: StoreOptions) -> Result<Store> {
        let dir = dir.as_ref();
        if options.granule_rows == 0 || options.granule_rows > 1 << 20 {
            return Err(Error::invalid("granules have 1 to 1048576 rows"));
        }
        let io = options.io.clone();
        for dir in [dir.to_path_buf(), dir.join("log"), dir.join("parts")] {
            io.create_dir(&dir).map_err(|error| Error::io("create", &dir, error))?;
        }
        let lock = lock_dir(&*io, dir, true)?;
        let recovered = recovery::recover(&io, dir)?;
        for file in &recovered.garbage {
            tracing::info!(file = %file.display(), "removing a file that nothing names");
            io.remove(file).map_err(|error| Error::io("remove", file, error))?;
        }
        let log = match recovered.log {
            Some((number, length)) => Log::resume(io.clone(), dir, number, length)?,
            None => {
                io.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))?;
                Log::create(io.clone(), dir, recovered.checkpoint.unwrap_or(1))?
            }
        };
        let (requests, receiver) = unbounded();
        let shared = Arc::new(Shared {
            dir: dir.to_path_buf(),
            parts: PartDir::new(io, dir),
            options,
            next_part: AtomicU64::new(recovered.next_part),
            newest: RwLock::new(Arc::new(recovered.state)),
            log_bytes: AtomicU64::new(log.len()),
            log_bytes_before: AtomicU64::new(recovered.log_bytes.saturating_sub(log.len())),
            requests,
            maintenance: Maintenance::default(),
            moves: Moves::default(),
            stopping: AtomicBool::new(false),
            flushing: Mutex::new(()),
            _lock: lock,
        });
        let committer = Committer { shared: shared.clone(), log, requests: receiver };
        let inner = Inner { shared, threads: Mutex::default() };
        inner.threads.lock().push(spawn("weir-commit", move || committer.run())?);
        if inner.shared.options.background {
            for (name, run) in
                [("weir-flush", maintain::run_flushes as fn(&Arc<Shared>)), ("weir-merge", maintain::run_merges)]
            {
                let shared = inner.shared.clone();
                inner.threads.lock().insert(0, spawn(name, move || run(&shared))?);
            }
        }
        Ok(Store { inner: Arc::new(inner) })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.inner.shared.dir
    }

    /// The newest version.
    pub fn snapshot(&self) -> Snapshot {
        let shared = &self.inner.shared;
        shared.snapshot_of(shared.state())
    }

    /// Makes changes durable and visible, together. Many threads may call this at once: one fsync serves all that wait. Returns
    /// when the changes are fsynced (unless all their tables opted out) and visible.
    pub fn commit(&self, commit: Commit) -> Result<Committed> {
        self.inner.shared.make_room(&commit)?;
        let expect = Expect { catalog: commit.expect_catalog, seen: commit.seen };
        let ops: Vec<Op> = commit.changes.into_iter().map(Op::Change).collect();
        self.inner.shared.submit(ops, expect)
    }

    /// Sorts, encodes, writes and fsyncs rows as parts of a partition, in as many threads as the options allow. A later commit
    /// names them by [`crate::Change::AddParts`]; parts that no commit names are removed.
    pub fn write_parts(&self, def: &TableDef, partition: &str, rows: Vec<RecordBatch>) -> Result<Vec<NewPart>> {
        self.inner.shared.write_parts(def, partition, rows)
    }

    /// Moves the rows of one head, or of all, to parts now.
    pub fn flush(&self, table: Option<TableId>) -> Result<()> {
        self.inner.shared.flush(table)
    }

    /// Does, in this thread, all background work that is due: flushes heads that are full or old, drops expired parts, merges parts, and
    /// writes a checkpoint when the log is long.
    pub fn maintain(&self) -> Result<()> {
        self.inner.shared.maintain()
    }

    /// How full the heads are.
    pub fn pressure(&self) -> Pressure {
        let shared = &self.inner.shared;
        Pressure { bytes: shared.state().head_bytes, limit: 2 * shared.options.head_bytes_max }
    }

    /// Finishes the commits that wait, and closes. Other handles get [`Error::Closed`] from here on.
    pub fn close(self) -> Result<()> {
        self.inner.stop();
        Ok(())
    }
}

impl Inner {
    fn stop(&self) {
        let threads = std::mem::take(&mut *self.threads.lock());
        if threads.is_empty() {
            return;
        }
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.maintenance.wake_all();
        let count = threads.len();
        for (at, thread) in threads.into_iter().enumerate() {
            if at + 1 == count {
                // If the committer is gone already, there is nobody to stop.
                let _ = self.shared.requests.send(Request::Stop);
            }
            // The last handle may have been held by a caller's code that a background thread was just running (a collapse): that
            // thread ends by itself.
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn lock_dir(io: &dyn Io, dir: &Path, write_pid: bool) -> Result<Box<dyn Send + Sync>> {
    let path = dir.join("LOCK");
    io.lock(&path, write_pid).map_err(|error| match error {
        LockError::Held(pid) => Error::Locked { dir: dir.to_path_buf(), pid },
        LockError::Io(error) => Error::io("lock", &path, error),
    })
}

pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(body);
    thread.map_err(|error| Error::io("start a thread for", Path::new(name), error))
}
