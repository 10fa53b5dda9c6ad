//! What `weir.kafka_status` shows: for each partition of each subscription where it stands, how fast it goes and what is wrong.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Schema;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use weir_sql::Type;

/// Rates and latencies are of the events of this last while.
const WINDOW: Duration = Duration::from_secs(10);

/// The status of all subscriptions, shared by those who write it and the relation that shows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board {
    sources: Arc<Mutex<BTreeMap<String, Source>>>,
}

#[derive(Debug, Default)]
struct Source {
    table: String,
    topic: String,
    state: String,
    error: Option<String>,
    /// When an error was last written to the log.
    logged: Option<Instant>,
    partitions: BTreeMap<i32, Partition>,
}

/// One partition, as it stands.
#[derive(Debug, Default)]
struct Partition {
    /// Set while this partition alone is stopped.
    state: Option<String>,
    next: Option<i64>,
    high: Option<i64>,
    events: i64,
    dead_letters: i64,
    error: Option<String>,
    recent: VecDeque<(Instant, u64)>,
    latency: Option<Latency>,
}

/// Event-to-visible times in milliseconds, of the window before and the one in the making.
#[derive(Debug)]
struct Latency {
    since: Instant,
    current: Histogram<u32>,
    before: Histogram<u32>,
}

/// What one commit did to one partition.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) next: i64,
    pub(crate) events: u64,
    pub(crate) dead_letters: u64,
    /// Broker or producer times of its events, milliseconds since the epoch.
    pub(crate) times: Vec<i64>,
}

impl Board {
    pub(crate) fn set_state(&self, source: &str, state: &str) {
        self.source(source, |s| s.state = state.to_string());
    }

    pub(crate) fn set_error(&self, source: &str, error: Option<String>) {
        self.source(source, |s| s.error = error);
    }

    /// An error that the client reports, perhaps thousands of times a second while its broker is away: the status has the newest, the log
    /// one in a while.
    pub(crate) fn report(&self, source: &str, error: String) {
        let mut due = false;
        self.source(source, |s| {
            due = s.logged.is_none_or(|logged| logged.elapsed() >= WINDOW);
            if due {
                s.logged = Some(Instant::now());
            }
            s.error = Some(error.clone());
        });
        match due {
            true => tracing::warn!(source, "{error}"),
            false => tracing::debug!(source, "{error}"),
        }
    }

    pub(crate) fn begin(&self, source: &str, table: &str, topic: &str) {
        self.source(source, |s| (s.table, s.topic) = (table.to_string(), topic.to_string()));
    }

    pub(crate) fn remove(&self, source: &str) {
        self.sources.lock().remove(source);
    }

    /// Stops (`Some`) or resumes (`None`) one partition, with the reason.
    pub(crate) fn set_partition(&self, source: &str, partition: i32, stopped: Option<(&str, String)>) {
        self.partition(source, partition, |p| {
            p.state = stopped.as_ref().map(|(state, _)| state.to_string());
            p.error = stopped.map(|(_, why)| why);
        });
    }

    pub(crate) fn set_high(&self, source: &str, partition: i32, high: i64) {
        self.partition(source, partition, |p| p.high = Some(high.max(p.high.unwrap_or(0))));
    }

    pub(crate) fn set_next(&self, source: &str, partition: i32, next: i64) {
        self.partition(source, partition, |p| p.next = Some(next));
    }

    pub(crate) fn committed(&self, source: &str, partition: i32, progress: &Progress, now_millis: i64) {
        let now = Instant::now();
        self.partition(source, partition, |p| {
            p.next = Some(progress.next);
            p.high = Some(p.high.unwrap_or(0).max(progress.next));
            p.events += progress.events as i64;
            p.dead_letters += progress.dead_letters as i64;
            p.recent.push_back((now, progress.events));
            p.forget(now);
            let latency = p.latency.get_or_insert_with(|| Latency::new(now));
            progress.times.iter().for_each(|time| latency.record(now_millis - time, now));
        });
    }

    fn source(&self, source: &str, change: impl FnOnce(&mut Source)) {
        change(self.sources.lock().entry(source.to_string()).or_default());
    }

    fn partition(&self, source: &str, partition: i32, change: impl FnOnce(&mut Partition)) {
        self.source(source, |s| change(s.partitions.entry(partition).or_default()));
    }
}

impl Partition {
    fn forget(&mut self, now: Instant) {
        while self.recent.front().is_some_and(|(at, _)| now - *at > WINDOW) {
            self.recent.pop_front();
        }
    }

    fn rate(&mut self) -> f64 {
        self.forget(Instant::now());
        self.recent.iter().map(|(_, events)| events).sum::<u64>() as f64 / WINDOW.as_secs_f64()
    }
}

impl Latency {
    fn new(now: Instant) -> Latency {
        // Milliseconds with two significant digits, growing as they need to.
        let empty = || Histogram::new(2).expect("two digits are a valid precision");
        Latency { since: now, current: empty(), before: empty() }
    }

    fn record(&mut self, millis: i64, now: Instant) {
        if now - self.since > WINDOW {
            std::mem::swap(&mut self.current, &mut self.before);
            self.current.reset();
            self.since = now;
        }
        self.current.saturating_record(millis.max(0) as u64);
    }

    fn quantile(&self, q: f64) -> i64 {
        let mut both = self.before.clone();
        both.add(&self.current).expect("histograms resize");
        both.value_at_quantile(q) as i64
    }
}

/// The columns of `weir.kafka_status`. Without partitions a subscription has one row, whose partition is NULL.
pub(crate) fn columns() -> Vec<(String, Type)> {
    [
        ("source", Type::Text),
        ("table", Type::Text),
        ("topic", Type::Text),
        ("partition", Type::Int4),
        ("state", Type::Text),
        ("offset", Type::Int8),
        ("high_watermark", Type::Int8),
        ("lag", Type::Int8),
        ("events", Type::Int8),
        ("dead_letters", Type::Int8),
        ("events_per_second", Type::Float8),
        ("latency_ms_p50", Type::Int8),
        ("latency_ms_p99", Type::Int8),
        ("last_error", Type::Text),
    ]
    .map(|(name, ty)| (name.to_string(), ty))
    .to_vec()
}

struct Row {
    texts: [String; 3],
    state: String,
    error: Option<String>,
    partition: Option<i32>,
    /// next, high, lag, events, dead letters, p50, p99
    numbers: [Option<i64>; 7],
    rate: Option<f64>,
}

impl Board {
    /// The relation as it is now.
    pub(crate) fn rows(&self) -> RecordBatch {
        let mut rows = Vec::new();
        for (name, source) in self.sources.lock().iter_mut() {
            let texts = || [name.clone(), source.table.clone(), source.topic.clone()];
            if source.partitions.is_empty() {
                rows.push(Row {
                    texts: texts(),
                    state: source.state.clone(),
                    error: source.error.clone(),
                    partition: None,
                    numbers: [None; 7],
                    rate: None,
                });
            }
            for (number, p) in &mut source.partitions {
                let lag = p.high.zip(p.next).map(|(high, next)| (high - next).max(0));
                let quantile = |q| p.latency.as_ref().map(|l| l.quantile(q));
                let numbers =
                    [p.next, p.high, lag, Some(p.events), Some(p.dead_letters), quantile(0.5), quantile(0.99)];
                rows.push(Row {
                    texts: [name.clone(), source.table.clone(), source.topic.clone()],
                    state: p.state.clone().unwrap_or_else(|| source.state.clone()),
                    error: p.error.clone().or_else(|| source.error.clone()),
                    partition: Some(*number),
                    numbers,
                    rate: Some(p.rate()),
                });
            }
        }
        batch(&rows)
    }
}

fn batch(rows: &[Row]) -> RecordBatch {
    let text =
        |i: usize| -> ArrayRef { Arc::new(rows.iter().map(|r| Some(r.texts[i].clone())).collect::<StringViewArray>()) };
    let number = |i: usize| -> ArrayRef { Arc::new(rows.iter().map(|r| r.numbers[i]).collect::<Int64Array>()) };
    let arrays: Vec<ArrayRef> = vec![
        text(0),
        text(1),
        text(2),
        Arc::new(rows.iter().map(|r| r.partition).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|r| Some(r.state.clone())).collect::<StringViewArray>()),
        number(0),
        number(1),
        number(2),
        number(3),
        number(4),
        Arc::new(rows.iter().map(|r| r.rate).collect::<Float64Array>()),
        number(5),
        number(6),
        Arc::new(rows.iter().map(|r| r.error.clone()).collect::<StringViewArray>()),
    ];
    let fields: Vec<_> = columns().iter().map(|(name, ty)| ty.field(name, true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("arrays fit the columns above")
}
