//! Weir's ingest: the Kafka loop, decoders, batching and dead letters; and the sinks' records to Kafka.
//!
//! It reads records, turns them into columns, and hands columns, offsets and dead letters to the engine as one commit. It never sees a part,
//! and parses no SQL. [`start`] is the door: it runs the subscriptions it is given, and those of the tables that were made
//! `WITH ('connector' = 'kafka', …)`, as they come and go.

pub mod decode;
mod kafka;
mod sink;
mod status;
pub mod subscription;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use weir_engine::{Database, Sink};

use crate::kafka::Source;
use crate::sink::Sender;
use crate::status::Board;
pub use crate::subscription::{Format, NoOffset, Start, Subscription};

/// Running subscriptions. Dropping it leaves them running; [`Handle::stop`] ends them.
#[derive(Debug)]
pub struct Handle {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// Ends all subscriptions: what is decoded is committed, the rest is read again at the next start.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}

/// Starts subscriptions, and registers `weir.kafka_status`. Never fails: what is wrong with a subscription is shown there, and it is
/// tried again.
pub fn start(db: Database, subscriptions: Vec<Subscription>) -> Handle {
    let board = Board::default();
    let shown = board.clone();
    db.register_relation("weir", "kafka_status", status::columns(), Arc::new(move || shown.rows()));
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = stop.clone();
    let thread = std::thread::Builder::new()
        .name("kafka".to_string())
        .spawn(move || supervise(&db, subscriptions, &board, &stopping))
        .expect("the system has a thread to spare");
    Handle { stop, thread }
}

/// Keeps one source running for each subscription that should be there.
fn supervise(db: &Database, configured: Vec<Subscription>, board: &Board, stop: &AtomicBool) {
    const LOOK: Duration = Duration::from_millis(50);
    let mut running: BTreeMap<String, Source> = BTreeMap::new();
    let mut senders: BTreeMap<u32, Sender> = BTreeMap::new();
    let mut failed = BTreeMap::new();
    let mut seen = None;
    while !stop.load(Ordering::Relaxed) {
        let version = db.catalog_version();
        if seen != Some(version) {
            seen = Some(version);
            let (wanted, wrong) = wanted(db, &configured);
            let ended = |name: &&String| !wanted.contains_key(*name) && !wrong.contains_key(*name);
            failed.keys().filter(ended).for_each(|name| board.remove(name));
            let gone: Vec<String> = running
                .iter()
                .filter(|(n, s)| wanted.get(*n) != Some(&s.subscription))
                .map(|(n, _)| n.clone())
                .collect();
            for source in gone.iter().filter_map(|name| running.remove(name)) {
                source.stop(board);
            }
            for (name, subscription) in wanted {
                running.entry(name).or_insert_with(|| Source::start(db, subscription, board));
            }
            // After the sources that end, which take their rows with them: one may be of a table that is there again.
            for (table, why) in &wrong {
                board.begin(table, table, "");
                board.set_state(table, "failed");
                board.set_error(table, Some(why.clone()));
            }
            failed = wrong;
            keep_sending(db, &mut senders);
        }
        std::thread::sleep(LOOK);
    }
    running.into_values().for_each(|source| source.stop(board));
    senders.into_values().for_each(Sender::stop);
}

/// Keeps one sender running for each sink that should be there.
fn keep_sending(db: &Database, senders: &mut BTreeMap<u32, Sender>) {
    let wanted: BTreeMap<u32, Sink> = db.sinks().into_iter().map(|sink| (sink.oid, sink)).collect();
    let is_gone = |sender: &Sender| wanted.get(&sender.sink.oid) != Some(&sender.sink);
    let gone: Vec<u32> = senders.iter().filter(|(_, sender)| is_gone(sender)).map(|(oid, _)| *oid).collect();
    gone.iter().filter_map(|oid| senders.remove(oid)).for_each(Sender::stop);
    for (oid, sink) in wanted {
        senders.entry(oid).or_insert_with(|| Sender::start(db, sink));
    }
}

/// The subscriptions that should run, by name, and the tables whose options are wrong, with the reason.
fn wanted(db: &Database, configured: &[Subscription]) -> (BTreeMap<String, Subscription>, BTreeMap<String, String>) {
    let mut wrong = BTreeMap::new();
    let mut wanted: BTreeMap<String, Subscription> = configured.iter().map(|s| (s.name.clone(), s.clone())).collect();
    for table in db.subscriptions() {
        match Subscription::of_table(&table) {
            Ok(subscription) => {
                wanted.insert(subscription.name.clone(), subscription);
            }
            Err(why) => {
                wrong.insert(table.table, why);
            }
        }
    }
    for rebuild in db.rebuilds() {
        let fills = |subscription: &&Subscription| {
            db.ingest_target(&subscription.table).is_ok_and(|target| target.oid == rebuild.oid)
        };
        let again: Vec<Subscription> = wanted.values().filter(fills).map(|s| s.rebuilding(&rebuild)).collect();
        wanted.extend(again.into_iter().map(|subscription| (subscription.name.clone(), subscription)));
    }
    (wanted, wrong)
}
