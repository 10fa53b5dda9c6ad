//! What every operator is: [`Operator`], wrapped in a [`Node`] that counts for EXPLAIN ANALYZE.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use weir_sql::Type;
use weir_sql::plan::OutputColumn;

use crate::error::Result;
use crate::exec::context::QueryContext;
use crate::exec::memory::Reservation;
use crate::exec::pipeline::{Source, Task, Units};

/// What EXPLAIN says of an operator.
#[derive(Debug, Default, Clone)]
pub(crate) struct Description {
    /// Its line: `Seq Scan on events`.
    pub(crate) name: String,
    /// Lines under it: (`Filter`, `(x > 1)`).
    pub(crate) details: Vec<(&'static str, String)>,
}

impl Description {
    /// An operator with nothing more to say.
    pub(crate) fn new(name: impl Into<String>) -> Description {
        Description { name: name.into(), details: Vec::new() }
    }

    /// And this line under it.
    pub(crate) fn with(mut self, key: &'static str, value: impl Into<String>) -> Description {
        self.details.push((key, value.into()));
        self
    }
}

/// A compiled operator.
pub(crate) trait Operator: Send + Sync {
    /// For EXPLAIN.
    fn describe(&self) -> Description;

    /// Its inputs.
    fn children(&self) -> Vec<&Node>;

    /// Runs what must be complete before the first row, and gives the rows. May be called several times, one run each.
    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>>;

    /// The same where the order of the rows is of no use.
    fn open_unordered(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Opened> {
        Ok(Opened { source: self.open(context, metrics)?, is_placed: false })
    }

    /// Only its first `rows` rows will be read: what others take may be left. Called before it is opened.
    fn want_first(&mut self, _rows: usize) {}

    /// How many rows it will about give, where the optimiser does not say: what its input gives, unless it knows better.
    fn estimate(&self) -> f64 {
        self.children().first().map_or(1.0, |child| child.estimate())
    }
}

/// Rows in whatever order was the least work.
pub(crate) struct Opened {
    pub(crate) source: Arc<dyn Source>,
    /// Whether it is another than their own: then a last column of UInt64 says where each stands in that, no two at one place.
    pub(crate) is_placed: bool,
}

/// What an operator did.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) rows: AtomicU64,
    pub(crate) loops: AtomicU64,
    /// Nanoseconds since the first opening at which the first row came, and the last.
    pub(crate) first: AtomicU64,
    pub(crate) last: AtomicU64,
    pub(crate) memory: AtomicUsize,
    /// Rows that run-time filters dropped.
    pub(crate) filtered: AtomicU64,
    /// Lines that only a run can tell: granules read and pruned.
    pub(crate) notes: Mutex<Vec<(Cow<'static, str>, String)>>,
    started: Mutex<Option<Instant>>,
}

impl Metrics {
    /// Adds a line.
    pub(crate) fn note(&self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        self.notes.lock().push((key.into(), value.into()));
    }

    /// Counts what a reservation held.
    pub(crate) fn held(&self, reservation: &Reservation) {
        self.memory.fetch_add(reservation.peak(), Ordering::Relaxed);
    }

    fn elapsed(&self) -> u64 {
        self.started.lock().map_or(0, |started| started.elapsed().as_nanos() as u64)
    }
}

/// An operator in a tree.
pub(crate) struct Node {
    pub(crate) operator: Box<dyn Operator>,
    pub(crate) columns: Vec<OutputColumn>,
    pub(crate) metrics: Arc<Metrics>,
    /// How many rows the optimiser thinks that it gives.
    pub(crate) rows: Option<f64>,
    /// Queries in its expressions, for EXPLAIN: whether each runs for rows of the operator, rather than once.
    pub(crate) queries: Vec<(bool, Node)>,
}

impl Node {
    /// An operator that puts out these columns.
    pub(crate) fn new(operator: impl Operator + 'static, columns: &[OutputColumn]) -> Node {
        let (columns, metrics) = (columns.to_vec(), Arc::default());
        Node { operator: Box::new(operator), columns, metrics, rows: None, queries: Vec::new() }
    }

    /// Opens the operator; its rows and time are counted.
    pub(crate) fn open(&self, context: &Arc<QueryContext>) -> Result<Arc<dyn Source>> {
        self.begin();
        Ok(self.counted(self.operator.open(context, &self.metrics)?))
    }

    /// The same where the order of the rows is of no use.
    pub(crate) fn open_unordered(&self, context: &Arc<QueryContext>) -> Result<Opened> {
        self.begin();
        let Opened { source, is_placed } = self.operator.open_unordered(context, &self.metrics)?;
        Ok(Opened { source: self.counted(source), is_placed })
    }

    fn begin(&self) {
        self.metrics.started.lock().get_or_insert_with(Instant::now);
        self.metrics.loops.fetch_add(1, Ordering::Relaxed);
    }

    fn counted(&self, input: Arc<dyn Source>) -> Arc<dyn Source> {
        self.metrics.last.fetch_max(self.metrics.elapsed(), Ordering::Relaxed);
        Arc::new(Counted { input, metrics: self.metrics.clone() })
    }

    /// How many rows it will about give.
    pub(crate) fn estimate(&self) -> f64 {
        self.rows.unwrap_or_else(|| self.operator.estimate())
    }

    /// The types of its columns.
    pub(crate) fn types(&self) -> Vec<Type> {
        self.columns.iter().map(|c| c.ty.clone()).collect()
    }
}

/// Counts what passes.
struct Counted {
    input: Arc<dyn Source>,
    metrics: Arc<Metrics>,
}

impl Counted {
    fn counted(&self, task: Task) -> Task {
        let metrics = self.metrics.clone();
        Box::new(move |emit| {
            let mut rows = 0;
            let result = task(&mut |batch| {
                if rows == 0 && metrics.first.load(Ordering::Relaxed) == 0 {
                    metrics.first.store(metrics.elapsed().max(1), Ordering::Relaxed);
                }
                rows += batch.rows as u64;
                emit(batch)
            });
            metrics.rows.fetch_add(rows, Ordering::Relaxed);
            metrics.last.fetch_max(metrics.elapsed(), Ordering::Relaxed);
            result
        })
    }
}

impl Source for Counted {
    fn claim(&self) -> Result<Option<Task>> {
        Ok(self.input.claim()?.map(|task| self.counted(task)))
    }

    fn morsels(&self) -> Option<usize> {
        self.input.morsels()
    }

    fn units(&self) -> Result<Option<Units>> {
        Ok(self.input.units()?.map(|units| units.map(|task| self.counted(task))))
    }
}
