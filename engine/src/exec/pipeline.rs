//! How rows move: sources of morsels, and sinks that drain them.
//!
//! A [`Source`] hands out [`Task`]s. Claiming is cheap and gives an order; running a task, on any thread, gives the morsel's rows batch
//! after batch. A streaming operator (filter, project, the probe side of a join) is a source around a source: it wraps the task it
//! claims, so that a pipeline is a chain of closures, one allocation an operator and morsel. A pipeline breaker (aggregate, sort, the build
//! side of a join) drains its input when it is opened ([`drain`]: all threads claim, each into a local state, which the operator then
//! combines), and is a source of its results.
//!
//! Order: rows of an earlier claim come before those of a later one, so that each row has a position that does not depend on threads; `reader`
//! gives the batches back in that order.
//!
//! Work that is started within work (a correlated subquery inside an expression) runs on that thread alone: it neither waits for the pool nor
//! floods it. Threads of the pool are only asked for help while they are free (`pool`): no query waits for another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use weir_sql::plan::Expr;

use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::memory::Reservation;
use crate::exec::partial_cache::Block;
use crate::exec::pool;

/// Takes the batches of a morsel; an error ends the morsel.
pub(crate) type Emit<'a> = &'a mut dyn FnMut(Batch) -> Result<()>;

/// A morsel that was claimed: gives its rows when it is run.
pub(crate) type Task = Box<dyn FnOnce(Emit<'_>) -> Result<()> + Send>;

/// Rows, in morsels.
pub(crate) trait Source: Send + Sync {
    /// The next morsel; `None` when there are no more. Called by one thread at a time.
    fn claim(&self) -> Result<Option<Task>>;

    /// How many morsels there are at the most, if that is known.
    fn morsels(&self) -> Option<usize> {
        None
    }

    /// All morsels at once, in order, of a source that knows which rows each is made of and that these do not change. Instead of
    /// [`claim`](Source::claim).
    fn units(&self) -> Result<Option<Units>> {
        Ok(None)
    }
}

/// The morsels of a scan, and what is above it made of them.
pub(crate) struct Units {
    /// What is asked of the relation's rows.
    pub(crate) filters: Arc<[Expr]>,
    /// Lists of those, by number: what units are not known to fulfil.
    pub(crate) unproven: Vec<Vec<usize>>,
    pub(crate) units: Vec<Unit>,
}

/// One of them.
pub(crate) struct Unit {
    pub(crate) task: Task,
    /// The rows of a part that it is made of, and which list of filters they are not known to fulfil.
    pub(crate) block: Option<(Block, usize)>,
}

impl Units {
    /// The same with other tasks.
    pub(crate) fn map(mut self, mut task: impl FnMut(Task) -> Task) -> Units {
        self.units = self.units.into_iter().map(|unit| Unit { task: task(unit.task), ..unit }).collect();
        self
    }
}

/// Batches that are there already; each is a morsel.
pub(crate) struct Batches {
    batches: Arc<Vec<Batch>>,
    next: AtomicUsize,
}

impl Batches {
    /// A source of these.
    pub(crate) fn new(batches: Vec<Batch>) -> Batches {
        Batches { batches: Arc::new(batches), next: AtomicUsize::new(0) }
    }
}

impl Source for Batches {
    fn claim(&self) -> Result<Option<Task>> {
        let i = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(batch) = self.batches.get(i).cloned() else { return Ok(None) };
        Ok(Some(Box::new(move |emit| if batch.rows > 0 { emit(batch) } else { Ok(()) })))
    }

    fn morsels(&self) -> Option<usize> {
        Some(self.batches.len())
    }
}

/// A source of `count` morsels that are computed by number.
pub(crate) struct Numbered<F> {
    count: usize,
    next: AtomicUsize,
    read: Arc<F>,
}

impl<F> Numbered<F>
where
    F: Fn(usize, Emit<'_>) -> Result<()> + Send + Sync + 'static,
{
    /// Morsel `i` gives the rows that `read(i, …)` emits.
    pub(crate) fn new(count: usize, read: F) -> Numbered<F> {
        Numbered { count, next: AtomicUsize::new(0), read: Arc::new(read) }
    }
}

impl<F> Source for Numbered<F>
where
    F: Fn(usize, Emit<'_>) -> Result<()> + Send + Sync + 'static,
{
    fn claim(&self) -> Result<Option<Task>> {
        let i = self.next.fetch_add(1, Ordering::Relaxed);
        if i >= self.count {
            return Ok(None);
        }
        let read = self.read.clone();
        Ok(Some(Box::new(move |emit| read(i, emit))))
    }

    fn morsels(&self) -> Option<usize> {
        Some(self.count)
    }
}

/// A source whose morsels are another's, with each batch passed through a function.
pub(crate) struct Mapped<F> {
    input: Arc<dyn Source>,
    map: Arc<F>,
}

impl<F> Mapped<F>
where
    F: Fn(Batch, Emit<'_>) -> Result<()> + Send + Sync + 'static,
{
    /// Emits what `map` makes of each batch.
    pub(crate) fn new(input: Arc<dyn Source>, map: F) -> Mapped<F> {
        Mapped { input, map: Arc::new(map) }
    }

    fn mapped(&self, task: Task) -> Task {
        let map = self.map.clone();
        Box::new(move |emit| task(&mut |batch| map(batch, emit)))
    }
}

impl<F> Source for Mapped<F>
where
    F: Fn(Batch, Emit<'_>) -> Result<()> + Send + Sync + 'static,
{
    fn claim(&self) -> Result<Option<Task>> {
        let Some(task) = self.input.claim()? else { return Ok(None) };
        Ok(Some(self.mapped(task)))
    }

    fn morsels(&self) -> Option<usize> {
        self.input.morsels()
    }

    fn units(&self) -> Result<Option<Units>> {
        Ok(self.input.units()?.map(|units| units.map(|task| self.mapped(task))))
    }
}

/// Sources one after the other.
pub(crate) struct Chained {
    sources: Vec<Arc<dyn Source>>,
    current: AtomicUsize,
}

impl Chained {
    /// The rows of the first, then of the second, …
    pub(crate) fn new(sources: Vec<Arc<dyn Source>>) -> Chained {
        Chained { sources, current: AtomicUsize::new(0) }
    }
}

impl Source for Chained {
    fn claim(&self) -> Result<Option<Task>> {
        loop {
            let current = self.current.load(Ordering::Relaxed);
            let Some(source) = self.sources.get(current) else { return Ok(None) };
            if let Some(task) = source.claim()? {
                return Ok(Some(task));
            }
            self.current.store(current + 1, Ordering::Relaxed);
        }
    }

    fn morsels(&self) -> Option<usize> {
        self.sources.iter().map(|s| s.morsels()).sum()
    }
}

/// Whether work started here has to stay on this thread.
pub(crate) fn alone(context: &QueryContext) -> bool {
    context.pool.size() == 1 || pool::is_working()
}

/// Runs a task; a panic in it is an error of the query, not the end of the process.
pub(super) fn run_task(task: Task, emit: Emit<'_>) -> Result<()> {
    guard(|| task(emit))
}

fn guard<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|s| s.to_string())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Err(Error::internal(format!("a bug in query execution: {text}")))
    })
}

/// Takes all rows of a source on all threads: each has a local state, made by `new`, and `each` adds a batch to it. The second argument of
/// `each` is the position of the batch's first row; rows that follow have the next positions. Gives the local states, in no order.
pub(crate) fn drain<L, N, E>(context: &QueryContext, source: &dyn Source, new: N, each: E) -> Result<Vec<L>>
where
    L: Send,
    N: Fn() -> Result<L> + Sync,
    E: Fn(&mut L, u64, Batch) -> Result<()> + Sync,
{
    let claim = || source.claim();
    share_out(context, source.morsels(), claim, new, |local, order, task| {
        run_at(context, order, task, |at, batch| each(local, at, batch))
    })
}

/// Runs a task that was claimed as this one of all. The first argument of `each` is the position of the batch's first row.
pub(crate) fn run_at(
    context: &QueryContext,
    order: u64,
    task: Task,
    mut each: impl FnMut(u64, Batch) -> Result<()>,
) -> Result<()> {
    let mut at = order << 32;
    task(&mut |batch| {
        context.cancel.check()?;
        let rows = batch.rows as u64;
        each(at, batch)?;
        at += rows;
        Ok(())
    })
}

/// Does work on this thread and those that are free, which is claimed piece by piece, `count` pieces at the most: each thread has a local state, made by `new`, and `each`
/// does a piece, whose number among all is its second argument. Gives the local states, in no order.
pub(crate) fn share_out<L, W>(
    context: &QueryContext,
    count: Option<usize>,
    claim: impl Fn() -> Result<Option<W>> + Sync,
    new: impl Fn() -> Result<L> + Sync,
    each: impl Fn(&mut L, u64, W) -> Result<()> + Sync,
) -> Result<Vec<L>>
where
    L: Send,
{
    let claims = Mutex::new(0_u64);
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    let locals = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let work = |before_each: &mut dyn FnMut()| {
        let result = guard(|| {
            let mut local = new()?;
            while !stop.load(Ordering::Relaxed) {
                context.cancel.check()?;
                before_each();
                let (order, piece) = {
                    let mut order = claims.lock();
                    let Some(piece) = claim()? else { break };
                    *order += 1;
                    (*order - 1, piece)
                };
                each(&mut local, order, piece)?;
            }
            Ok(local)
        });
        match result {
            Ok(local) => locals.lock().push(local),
            Err(error) => {
                stop.store(true, Ordering::Relaxed);
                failed.lock().get_or_insert(error);
            }
        }
    };
    let threads = context.pool.size().min(count.unwrap_or(usize::MAX)).max(1);
    if threads == 1 || alone(context) {
        work(&mut || {});
    } else {
        // This thread counts: where many queries are at work, each stays on its own.
        let _own = context.pool.take();
        context.pool.scope(|scope| {
            let mut helpers = 0;
            let mut get_help = || {
                while helpers + 1 < threads
                    && let Some(slot) = context.pool.take()
                {
                    helpers += 1;
                    let work = &work;
                    scope.spawn(move |_| {
                        pool::working(|| work(&mut || {}));
                        drop(slot);
                    });
                }
            };
            pool::working(|| work(&mut get_help));
        });
    }
    match failed.into_inner() {
        Some(error) => Err(error),
        None => Ok(locals.into_inner()),
    }
}

/// What unwinds a sort that was cancelled.
struct Stopped;

/// Sorts on the threads that are free, by a total order. A cancel ends it: the comparison looks now and then, and unwinds.
pub(crate) fn sort<T: Copy + Send>(
    context: &QueryContext,
    items: &mut [T],
    compare: impl Fn(&T, &T) -> std::cmp::Ordering + Sync,
) -> Result<()> {
    use rayon::slice::ParallelSliceMut;
    thread_local! {
        static COMPARED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }
    let compare = |a: &T, b: &T| {
        let n = COMPARED.get().wrapping_add(1);
        COMPARED.set(n);
        if n & 0xFFFF == 0 && context.cancel.is_cancelled() {
            std::panic::resume_unwind(Box::new(Stopped));
        }
        compare(a, b)
    };
    let slot = (!alone(context)).then(|| context.pool.take()).flatten();
    let sorted = catch_unwind(AssertUnwindSafe(|| match slot {
        None => items.sort_unstable_by(compare),
        Some(slot) => slot.install(|| items.par_sort_unstable_by(compare)),
    }));
    context.cancel.check()?;
    sorted.map_err(|_| Error::internal("a bug in query execution: a sort failed"))
}

/// Runs `work(i)` for each `i` below `count` on all threads; results in order.
pub(crate) fn parallel<T, W>(context: &QueryContext, count: usize, work: W) -> Result<Vec<T>>
where
    T: Send,
    W: Fn(usize) -> Result<T> + Sync,
{
    let next = AtomicUsize::new(0);
    let claim = || Ok(Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < count));
    let done = share_out(
        context,
        Some(count),
        claim,
        || Ok(Vec::new()),
        |done: &mut Vec<(usize, T)>, _, i| {
            done.push((i, work(i)?));
            Ok(())
        },
    )?;
    let mut done: Vec<(usize, T)> = done.into_iter().flatten().collect();
    done.sort_unstable_by_key(|(i, _)| *i);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// All rows of a source, in order.
pub(crate) fn collect(
    context: &Arc<QueryContext>,
    source: Arc<dyn Source>,
    owner: &'static str,
) -> Result<(Vec<Batch>, Reservation)> {
    let mut reservation = context.memory.reservation(owner);
    let mut locals = drain(
        context,
        source.as_ref(),
        || Ok((Vec::new(), context.memory.reservation(owner))),
        |(batches, held), at, batch| {
            held.grow(batch.bytes())?;
            batches.push((at, batch));
            Ok(())
        },
    )?;
    let mut all = Vec::new();
    for (batches, held) in &mut locals {
        all.append(batches);
        let bytes = held.bytes();
        held.resize(0)?;
        reservation.grow(bytes)?;
    }
    all.sort_unstable_by_key(|(at, _)| *at);
    Ok((all.into_iter().map(|(_, batch)| batch).collect(), reservation))
}
