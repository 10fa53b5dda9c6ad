//! A Kafka topic into a table, exactly once.
//!
//! Three stages on threads of their own, joined by short bounded channels, so that fetching, decoding and committing overlap and
//! a slow stage holds back the ones before it:
//!
//! ```text
//!   reader ── raw batches ──> decoders (one a core) ── columns ──> committer ──> Database::ingest
//! ```
//!
//! - The **reader** owns the consumer. Partitions are assigned by hand from the offsets in Weir's own manifest; no consumer group is joined,
//!   so no rebalance can take a partition away or hand out a second copy. Batches are numbered.
//! - **Decoders** take any batch; the **committer** puts them back in order, so that offsets of a partition only ever rise.
//! - One commit holds a batch's rows, its dead letters and the offsets after it. After a crash the manifest says what is in; nothing else is
//!   asked. The group offset is published after the commit, for monitoring tools alone.
//!
//! What stops a partition is shown in `weir.kafka_status` and never skipped over: an offset that the broker no longer has, above all.

mod batch;
mod committer;
mod reader;
mod topic;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::bounded;
use weir_engine::Database;

use crate::status::Board;
use crate::subscription::Subscription;

/// Batches between two stages: enough to overlap, few enough to bound memory.
const STAGE_DEPTH: usize = 2;

/// A running subscription.
#[derive(Debug)]
pub(crate) struct Source {
    /// As it was started.
    pub(crate) subscription: Subscription,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the stages of one subscription share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) db: Database,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) board: Board,
    /// Set when the subscription is to end.
    pub(crate) stop: Arc<AtomicBool>,
    /// Set by the committer when the table is not what the reader began with: the reader starts over.
    pub(crate) restart: Arc<AtomicBool>,
    /// Buffers of batches that are committed, for the reader to fill again.
    pub(crate) spare: batch::Spare,
}

impl Shared {
    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn ending(&self) -> bool {
        self.stopping() || self.restart.load(Ordering::Relaxed)
    }

    /// Waits a moment, or less if the subscription is to end.
    pub(crate) fn pause(&self, time: Duration) {
        const STEP: Duration = Duration::from_millis(20);
        let mut left = time;
        while !self.stopping() && !left.is_zero() {
            std::thread::sleep(left.min(STEP));
            left = left.saturating_sub(STEP);
        }
    }
}

impl Source {
    /// Starts a subscription.
    pub(crate) fn start(db: &Database, subscription: Subscription, board: &Board) -> Source {
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Shared {
            db: db.clone(),
            subscription: Arc::new(subscription.clone()),
            board: board.clone(),
            stop: stop.clone(),
            restart: Arc::new(AtomicBool::new(false)),
            spare: batch::Spare::default(),
        };
        board.begin(&subscription.name, &subscription.table, &subscription.topic);
        let thread = std::thread::Builder::new()
            .name("kafka-read".to_string())
            .spawn(move || run(&shared))
            .expect("the system has a thread to spare");
        Source { subscription, stop, thread: Some(thread) }
    }

    /// Ends it: batches that are read are committed, or left for the next start.
    pub(crate) fn stop(mut self, board: &Board) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        board.remove(&self.subscription.name);
    }
}

/// Runs a subscription until it is stopped, starting over when its table changes or the consumer fails.
fn run(shared: &Shared) {
    const RETRY: Duration = Duration::from_millis(500);
    let name = &shared.subscription.name;
    while !shared.stopping() {
        shared.restart.store(false, Ordering::Relaxed);
        if let Err(why) = run_once(shared) {
            tracing::warn!(source = %name, "{why}");
            shared.board.set_error(name, Some(why));
            shared.pause(RETRY);
        }
    }
}

/// One life of the pipeline, from the offsets in the manifest on.
fn run_once(shared: &Shared) -> Result<(), String> {
    let subscription = &shared.subscription;
    let target = shared.db.ingest_target(&subscription.table).map_err(|e| {
        shared.board.set_state(&subscription.name, "waiting for its table");
        e.message
    })?;
    // A table that is dropped and made again is another table: it begins anew.
    let source = format!("{}:{}", subscription.source, target.oid);
    let (raw_in, raw_out) = bounded(STAGE_DEPTH);
    let (decoded_in, decoded_out) = bounded(STAGE_DEPTH);
    let decoders = std::thread::available_parallelism().map_or(1, |n| n.get());
    let named = |name: &str| std::thread::Builder::new().name(format!("kafka-{name}"));
    std::thread::scope(|scope| {
        for _ in 0..decoders {
            let (raw_out, decoded_in, target) = (raw_out.clone(), decoded_in.clone(), target.clone());
            named("decode")
                .spawn_scoped(scope, move || batch::decode_all(shared, &target, &raw_out, &decoded_in))
                .map_err(|e| format!("cannot start a thread: {e}"))?;
        }
        drop((raw_out, decoded_in));
        let (published_in, published_out) = bounded(64);
        let (source, target) = (source.as_str(), target.as_ref());
        // The committer owns its ends: when it stops early, the stages before it see closed channels and stop as well.
        let commits = named("commit")
            .spawn_scoped(scope, move || committer::commit_all(shared, source, target, &decoded_out, &published_in))
            .map_err(|e| format!("cannot start a thread: {e}"))?;
        let read = reader::read_all(shared, source, target, raw_in, &published_out);
        // The reader has dropped its channel, so the stages behind it finish what they have and end.
        let committed = commits.join().unwrap_or_else(|_| Err("the committer panicked".to_string()));
        read.and(committed)
    })
}
