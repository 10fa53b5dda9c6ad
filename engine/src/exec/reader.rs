//! The reader: gives a source's batches in order, while threads work ahead.
//!
//! It claims morsels, up to a window of them, and threads of the pool that are free run them; where none is, one thread of its own does. Its caller
//! drives it: nothing runs ahead of the window, and dropping it stops what is in flight. Only the morsel that is being read ever waits for the
//! caller, and only if it gives more than some megabytes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::{Condvar, Mutex};

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::memory::Reservation;
use crate::exec::pipeline::{Source, Task, alone, run_task};
use crate::exec::pool;

/// What a running morsel tells its reader.
enum Message {
    Batch(Batch),
    End(Result<()>),
}

/// What a reader and the threads that work for it share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Morsels that were claimed and not begun, in order.
    waiting: Mutex<Waiting>,
    /// The morsel whose batches are passed on now, and bytes of it that wait.
    current: Mutex<(u64, usize)>,
    taken: Condvar,
}

impl Shared {
    /// Runs morsels until none waits.
    fn work(&self, cancel: &Cancel, sender: &Sender<(u64, Message)>) {
        loop {
            let (order, task) = {
                let mut waiting = self.waiting.lock();
                match waiting.tasks.pop_front() {
                    Some(next) => next,
                    None => {
                        waiting.threads -= 1;
                        return;
                    }
                }
            };
            // The reader may be gone: then nobody wants to know.
            let result = run_task(task, &mut |batch| {
                cancel.check()?;
                if batch.rows > 0 {
                    self.pause(order, batch.bytes(), cancel)?;
                    let _ = sender.send((order, Message::Batch(batch)));
                }
                Ok(())
            });
            let _ = sender.send((order, Message::End(result)));
        }
    }

    /// A batch of the current morsel waits while many of it do; the reader is about to take them. Others do not wait: the reader needs
    /// the threads for the current one.
    fn pause(&self, order: u64, bytes: usize, cancel: &Cancel) -> Result<()> {
        let mut current = self.current.lock();
        while current.0 == order && current.1 > PENDING_MAX {
            self.taken.wait_for(&mut current, Duration::from_millis(20));
            self.check()?;
            cancel.check()?;
        }
        if current.0 == order {
            current.1 += bytes;
        }
        self.check()
    }

    fn check(&self) -> Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::internal("nobody reads the result any more")),
            false => Ok(()),
        }
    }
}

#[derive(Default)]
struct Waiting {
    tasks: VecDeque<(u64, Task)>,
    /// Threads that take them until there are none.
    threads: usize,
}

/// Bytes of the current morsel that may wait for a reader.
const PENDING_MAX: usize = 16 << 20;

/// A morsel in flight, or finished before its turn.
#[derive(Default)]
struct Morsel {
    batches: VecDeque<Batch>,
    end: Option<Result<()>>,
}

/// Reads a source in order.
pub(crate) struct Reader {
    context: Arc<QueryContext>,
    source: Arc<dyn Source>,
    /// Morsels in flight at once; 0 runs them here, one after the other.
    window: usize,
    /// Whether those in flight are the last before the window is 0.
    winding_down: bool,
    claimed: u64,
    passed: u64,
    exhausted: bool,
    morsels: HashMap<u64, Morsel>,
    ready: VecDeque<Batch>,
    held: Reservation,
    shared: Arc<Shared>,
    sender: Sender<(u64, Message)>,
    receiver: Receiver<(u64, Message)>,
}

impl Reader {
    /// Starts nothing yet.
    pub(crate) fn new(context: &Arc<QueryContext>, source: Arc<dyn Source>) -> Reader {
        let one = alone(context) || source.morsels().is_some_and(|n| n <= 1);
        let (sender, receiver) = unbounded();
        Reader {
            context: context.clone(),
            source,
            window: if one { 0 } else { 2 * context.pool.size() },
            winding_down: false,
            claimed: 0,
            passed: 0,
            exhausted: false,
            morsels: HashMap::new(),
            ready: VecDeque::new(),
            held: context.memory.reservation("Result"),
            shared: Arc::default(),
            sender,
            receiver,
        }
    }

    /// The next batch, never an empty one; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            self.context.cancel.check()?;
            if self.window == 0 {
                let Some(task) = self.source.claim()? else { return Ok(None) };
                let (ready, context, held) = (&mut self.ready, &self.context, &mut self.held);
                held.resize(0)?;
                run_task(task, &mut |batch| {
                    context.cancel.check()?;
                    if batch.rows > 0 {
                        held.grow(batch.bytes())?;
                        ready.push_back(batch);
                    }
                    Ok(())
                })?;
                continue;
            }
            while !self.exhausted && !self.winding_down && self.morsels.len() < self.window {
                self.start()?;
            }
            let Some(morsel) = self.morsels.get_mut(&self.passed) else {
                if self.exhausted {
                    return Ok(None);
                }
                self.window = 0;
                continue;
            };
            if let Some(batch) = morsel.batches.pop_front() {
                let bytes = batch.bytes();
                self.held.resize(self.held.bytes().saturating_sub(bytes))?;
                let mut current = self.shared.current.lock();
                current.1 = current.1.saturating_sub(bytes);
                self.shared.taken.notify_all();
                return Ok(Some(batch));
            }
            if let Some(end) = morsel.end.take() {
                end?;
                self.morsels.remove(&self.passed);
                self.passed += 1;
                *self.shared.current.lock() = (self.passed, 0);
                continue;
            }
            let Ok((order, message)) = self.receiver.recv() else { return Ok(None) };
            let Some(morsel) = self.morsels.get_mut(&order) else { continue };
            match message {
                Message::Batch(batch) => {
                    self.held.grow(batch.bytes())?;
                    morsel.batches.push_back(batch);
                }
                Message::End(end) => morsel.end = Some(end),
            }
        }
    }

    /// Starts nothing any more, so that other threads may read on: whether something is still in flight, which must be read first.
    pub(crate) fn wind_down(&mut self) -> bool {
        self.winding_down = true;
        !self.morsels.is_empty()
    }

    fn start(&mut self) -> Result<()> {
        let Some(task) = self.source.claim()? else {
            self.exhausted = true;
            return Ok(());
        };
        let order = self.claimed;
        self.claimed += 1;
        self.morsels.insert(order, Morsel::default());
        let mut waiting = self.shared.waiting.lock();
        waiting.tasks.push_back((order, task));
        let slot = self.context.pool.take();
        // One there has to be, though it be one more than the pool has.
        if slot.is_none() && waiting.threads > 0 {
            return Ok(());
        }
        let (cancel, shared, sender) = (self.context.cancel.clone(), self.shared.clone(), self.sender.clone());
        let job = move || pool::working(|| shared.work(&cancel, &sender));
        match slot {
            Some(slot) => slot.spawn(job),
            None => {
                let thread = std::thread::Builder::new().name("weir-query".to_string()).spawn(job);
                drop(thread.map_err(|e| Error::internal(format!("cannot start a thread: {e}")))?);
            }
        }
        waiting.threads += 1;
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.waiting.lock().tasks.clear();
        self.shared.taken.notify_all();
    }
}
