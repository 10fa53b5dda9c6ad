//! The threads that queries share, and who may use them.
//!
//! A query runs on its caller's thread; threads of the pool help it while they are free. A job is only given to the pool with a [`Slot`], of which there
//! are as many as threads: so a job begins at once, and nobody ever waits until another query is done with a thread.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

thread_local! {
    /// Whether this thread runs a piece of a query's work.
    static WORKING: Cell<bool> = const { Cell::new(false) };
}

/// A database's threads.
#[derive(Debug)]
pub struct Pool {
    threads: rayon::ThreadPool,
    free: AtomicUsize,
}

/// The right to run one job on a pool, until it is dropped.
pub(crate) struct Slot(Arc<Pool>);

impl Pool {
    /// So many threads, the caller's among them: with one, everything runs on the caller's.
    pub fn new(threads: usize) -> Result<Arc<Pool>> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("weir-query-{i}"))
            .build()
            .map_err(|e| Error::internal(format!("cannot start threads: {e}")))?;
        let free = AtomicUsize::new(threads.current_num_threads());
        Ok(Arc::new(Pool { threads, free }))
    }

    /// How many threads a query may use, its caller's among them.
    pub(crate) fn size(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Takes a slot, if one is free.
    pub(crate) fn take(self: &Arc<Pool>) -> Option<Slot> {
        let less = |free: usize| free.checked_sub(1);
        self.free.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less).ok().map(|_| Slot(self.clone()))
    }

    /// Runs jobs with slots of this pool beside what the caller does.
    pub(crate) fn scope<'scope>(&self, work: impl FnOnce(&rayon::Scope<'scope>)) {
        self.threads.in_place_scope(work);
    }
}

impl Slot {
    /// Starts a job, which has the slot until it is over.
    pub(crate) fn spawn(self, job: impl FnOnce() + Send + 'static) {
        self.0.clone().threads.spawn(move || {
            job();
            drop(self);
        });
    }

    /// Waits for a job that has the threads which are free to itself.
    pub(crate) fn install<T: Send>(self, job: impl FnOnce() -> T + Send) -> T {
        self.0.threads.install(job)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::AcqRel);
    }
}

/// Does a piece of a query's work: what it starts itself stays on this thread.
pub(crate) fn working<T>(work: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            WORKING.set(self.0);
        }
    }
    let _before = Before(WORKING.replace(true));
    work()
}

/// Whether this thread is at such a piece, or is another pool's.
pub(crate) fn is_working() -> bool {
    WORKING.get() || rayon::current_thread_index().is_some()
}
