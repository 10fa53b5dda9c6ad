//! The reader: owns the consumer, assigns partitions from the manifest's offsets, cuts the stream into batches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::statistics::Statistics;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use weir_engine::ingest::{IngestBatch, IngestTarget, SourceOffset};
use weir_engine::{Hold, ReplayFrom};

use super::Shared;
use super::batch::RawBatch;
use super::committer::same_table;
use super::topic::topic_id;
use crate::status::Board;
use crate::subscription::{NoOffset, Start, Subscription};

/// How often the topic is asked for partitions that it did not have before.
const TOPIC_REFRESH: Duration = Duration::from_secs(5);
/// How often it is asked whether a table that is made anew is done.
const REBUILD_LOOK: Duration = Duration::from_millis(100);
/// How long a question to the broker may take.
const ASK: Duration = Duration::from_secs(5);
/// Records that are taken between two looks at everything else.
const BURST: usize = 256;
/// The longest wait in one poll: bounds how late a stop is noticed.
const POLL: Duration = Duration::from_millis(20);

/// Reads until the subscription ends or has to start over.
pub(super) fn read_all(
    shared: &Shared,
    source: &str,
    target: &IngestTarget,
    raw: Sender<RawBatch>,
    published: &Receiver<Vec<(i32, i64)>>,
) -> Result<(), String> {
    let mut reader = Reader::new(shared, source, target)?;
    if !reader.wait_for_topic()? {
        return Ok(());
    }
    shared.board.set_state(&shared.subscription.name, "running");
    let mut batch = RawBatch::default();
    let mut began = Instant::now();
    while !shared.ending() {
        reader.keep_house(published)?;
        // The clock and the house are looked at once a burst, not once a record.
        for _ in 0..BURST {
            if reader.poll(&mut batch, Duration::ZERO)? {
                if batch.records() == 1 {
                    began = Instant::now();
                }
                if is_large(&shared.subscription, &batch) {
                    break;
                }
                continue;
            }
            let wait = match batch.records() {
                0 => POLL,
                _ => shared.subscription.batch_interval.saturating_sub(began.elapsed()).min(POLL),
            };
            if reader.poll(&mut batch, wait)? && batch.records() == 1 {
                began = Instant::now();
            }
            break;
        }
        if is_full(&shared.subscription, &batch, began) && !reader.hand_over(&raw, batch.take(&shared.spare)) {
            return Ok(());
        }
    }
    Ok(())
}

fn is_large(subscription: &Subscription, batch: &RawBatch) -> bool {
    batch.records() >= subscription.batch_rows || batch.bytes() >= subscription.batch_bytes
}

fn is_full(subscription: &Subscription, batch: &RawBatch, began: Instant) -> bool {
    is_large(subscription, batch) || (batch.records() > 0 && began.elapsed() >= subscription.batch_interval)
}

struct Reader<'a> {
    shared: &'a Shared,
    source: &'a str,
    target: &'a IngestTarget,
    /// The catalogue version at which the table was last seen to be the same.
    catalog_version: u64,
    /// The replay that is to begin.
    replay: Option<ReplayFrom>,
    /// Keeps the live table still while a hidden one comes to where it is.
    hold: Option<Hold>,
    looked: Instant,
    /// The id of the topic that the offsets are of, where the broker has ids.
    topic_id: Option<String>,
    /// Why the topic is not the one that the offsets are of, if so: nothing of it is read.
    strange: Option<String>,
    /// Set by an error of the client: what it was about is looked at soon.
    suspect: Option<Instant>,
    consumer: BaseConsumer<Context>,
    /// Partitions that are assigned.
    assigned: BTreeSet<i32>,
    /// The next offset to read of each partition that is or was assigned.
    next: BTreeMap<i32, i64>,
    /// Whether the partitions are paused because the head is full.
    paused: bool,
    refreshed: Instant,
}

impl<'a> Reader<'a> {
    fn new(shared: &'a Shared, source: &'a str, target: &'a IngestTarget) -> Result<Reader<'a>, String> {
        let subscription = &shared.subscription;
        let mut config = ClientConfig::new();
        // What a user may change, then the user's properties, then what exactly-once stands on.
        config
            .set("group.id", format!("weir-{}", subscription.name))
            .set("client.id", "weir")
            .set("queued.min.messages", "1000000")
            .set("queued.max.messages.kbytes", "65536")
            // What waits in the client is bounded by the line above. A full queue is looked at again soon: librdkafka's second would
            // starve the decoders, who empty it in a tenth of that.
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.message.max.bytes", "4194304")
            .set("fetch.wait.max.ms", "50")
            .set("reconnect.backoff.max.ms", "1000");
        for (key, value) in &subscription.properties {
            config.set(key, value);
        }
        config
            .set("bootstrap.servers", &subscription.brokers)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("statistics.interval.ms", "1000");
        let context = Context { board: shared.board.clone(), source: subscription.name.clone() };
        let consumer = config.create_with_context(context).map_err(|e| format!("cannot make a consumer: {e}"))?;
        Ok(Reader {
            shared,
            source,
            target,
            catalog_version: target.catalog_version,
            replay: shared.db.replay(source, target),
            hold: None,
            looked: Instant::now(),
            topic_id: shared.db.source_topic(source),
            strange: None,
            suspect: None,
            consumer,
            assigned: BTreeSet::new(),
            next: BTreeMap::new(),
            paused: false,
            refreshed: Instant::now(),
        })
    }

    fn topic(&self) -> &'a str {
        &self.shared.subscription.topic
    }

    fn name(&self) -> &'a str {
        &self.shared.subscription.name
    }

    /// Assigns the topic's partitions as soon as there are any; false if the subscription ended before.
    fn wait_for_topic(&mut self) -> Result<bool, String> {
        while !self.shared.ending() {
            match self.partitions() {
                Ok(partitions) if !partitions.is_empty() => {
                    if partitions.iter().all(|partition| self.replays(*partition)) {
                        // Whatever topic has this name now is what is to be read.
                        self.topic_id = None;
                    }
                    self.mind_the_topic()?;
                    // Partitions that came while nobody read are as new as those that come later.
                    let known = !self.shared.db.source_offsets(self.source).is_empty();
                    let start = match &self.replay {
                        Some(from) => from.clone().into(),
                        None if known => Start::Earliest,
                        None => self.shared.subscription.start.clone(),
                    };
                    self.assign(&partitions, &start)?;
                    self.shared.board.set_error(self.name(), None);
                    return Ok(true);
                }
                Ok(_) => self.shared.board.set_state(self.name(), "waiting for its topic"),
                Err(why) => {
                    self.shared.board.set_state(self.name(), "waiting for the broker");
                    self.shared.board.set_error(self.name(), Some(why));
                }
            }
            // Serves the client's own events while there is nothing to read.
            let _ = self.consumer.poll(Duration::ZERO);
            self.shared.pause(Duration::from_millis(200));
        }
        Ok(false)
    }

    /// The topic's partitions; none if there is no such topic yet.
    fn partitions(&self) -> Result<Vec<i32>, String> {
        let metadata = self.consumer.fetch_metadata(Some(self.topic()), ASK).map_err(|e| e.to_string())?;
        let topic = metadata.topics().iter().find(|t| t.name() == self.topic());
        Ok(topic.map_or_else(Vec::new, |t| t.partitions().iter().map(|p| p.id()).collect()))
    }

    /// Assigns partitions at their committed offsets, or where `start` says, which is then committed at once: a restart before the first
    /// event must not begin somewhere else.
    fn assign(&mut self, partitions: &[i32], start: &Start) -> Result<(), String> {
        let mut committed: BTreeMap<i32, i64> = self.shared.db.source_offsets(self.source).into_iter().collect();
        committed.retain(|partition, _| !self.replays(*partition));
        let mut list = TopicPartitionList::new();
        let mut begun = Vec::new();
        for &partition in partitions {
            let (low, high) = self
                .consumer
                .fetch_watermarks(self.topic(), partition, ASK)
                .map_err(|e| format!("cannot ask for the offsets of partition {partition}: {e}"))?;
            let next = match self.next.get(&partition).or(committed.get(&partition)) {
                Some(&next) => next,
                None => self.begin(partition, start, low, high)?,
            };
            if !committed.contains_key(&partition) && self.strange.is_none() {
                begun.push(SourceOffset { source: self.source.to_string(), partition, next });
            }
            self.next.insert(partition, next);
            self.shared.board.set_high(self.name(), partition, high);
            self.shared.board.set_next(self.name(), partition, next);
            if let Some(why) = self.strange.clone().or_else(|| unreadable(next, low, high)) {
                tracing::error!(source = %self.name(), partition, "{why}");
                self.shared.board.set_partition(self.name(), partition, Some(("paused", why)));
                continue;
            }
            self.shared.board.set_partition(self.name(), partition, None);
            list.add_partition_offset(self.topic(), partition, Offset::Offset(next)).map_err(|e| e.to_string())?;
            self.assigned.insert(partition);
        }
        if !begun.is_empty() {
            let (table, epoch) = (self.target.table.clone(), self.target.epoch);
            let topic = self.topic_id.clone().map(|id| (self.source.to_string(), id));
            let begins = self.replay.is_some().then(|| self.source.to_string());
            let batch = IngestBatch { table, offsets: begun, topic, epoch, begins, ..Default::default() };
            self.shared.db.ingest(batch).map_err(|e| e.message)?;
            self.replay = None;
        }
        if list.count() > 0 {
            self.consumer.incremental_assign(&list).map_err(|e| e.to_string())?;
            if self.paused {
                self.consumer.pause(&list).map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    }

    /// Whether the replay that is to begin moves a partition.
    fn replays(&self, partition: i32) -> bool {
        match &self.replay {
            None => false,
            Some(ReplayFrom::Offsets(offsets)) => offsets.contains_key(&partition),
            Some(_) => true,
        }
    }

    /// Where a partition begins.
    fn begin(&self, partition: i32, start: &Start, low: i64, high: i64) -> Result<i64, String> {
        Ok(match start {
            Start::Earliest => low,
            Start::Latest => high,
            Start::Timestamp(millis) => self.offset_at(partition, *millis)?.unwrap_or(high),
            Start::Specific(offsets) => match offsets.get(&partition) {
                Some(offset) => *offset,
                None if self.replay.is_some() => low,
                None => self.group_offset(partition)?.unwrap_or(low),
            },
            Start::Group(otherwise) => match (self.group_offset(partition)?, otherwise) {
                (Some(offset), _) => offset,
                (None, NoOffset::Earliest) => low,
                (None, NoOffset::Latest) => high,
                (None, NoOffset::Error) => {
                    return Err(format!(
                        "the consumer group has no offset of partition {partition}: set 'properties.auto.offset.reset' to 'earliest' or 'latest'"
                    ));
                }
            },
        })
    }

    /// Where the consumer group stands in a partition, if it has begun.
    fn group_offset(&self, partition: i32) -> Result<Option<i64>, String> {
        let mut list = TopicPartitionList::new();
        list.add_partition(self.topic(), partition);
        let found = self.consumer.committed_offsets(list, ASK).map_err(|e| e.to_string())?;
        Ok(offset_in(&found))
    }

    /// Asks for the topic's id. Another than that of the offsets stops all that is read.
    fn mind_the_topic(&mut self) -> Result<(), String> {
        if self.strange.is_some() {
            return Ok(());
        }
        let id = match (topic_id(&self.consumer, self.topic(), ASK), &self.topic_id) {
            (Ok(id), _) => id,
            (Err(why), Some(_)) => return Err(format!("cannot ask for the topic's id: {why}")),
            // A broker that has no such question has no answer to compare either.
            (Err(why), None) => {
                tracing::debug!(source = %self.name(), "no topic id: {why}");
                None
            }
        };
        match (&self.topic_id, id) {
            (Some(before), Some(now)) if *before != now => {
                let why = format!(
                    "topic \"{}\" was deleted and made anew since it was last read: its events are not the ones that follow; {HINT}",
                    self.topic()
                );
                self.strange = Some(why.clone());
                for partition in self.assigned.clone() {
                    self.stop_partition(partition, why.clone())?;
                }
            }
            (None, Some(now)) => self.topic_id = Some(now),
            _ => {}
        }
        Ok(())
    }

    /// Stops one partition, visibly.
    fn stop_partition(&mut self, partition: i32, why: String) -> Result<(), String> {
        tracing::error!(source = %self.name(), partition, "{why}");
        self.assigned.remove(&partition);
        let mut list = TopicPartitionList::new();
        list.add_partition(self.topic(), partition);
        self.consumer.incremental_unassign(&list).map_err(|e| e.to_string())?;
        self.shared.board.set_partition(self.name(), partition, Some(("paused", why)));
        Ok(())
    }

    /// The first offset at or after a time; `None` if there is no such record yet.
    fn offset_at(&self, partition: i32, millis: i64) -> Result<Option<i64>, String> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(self.topic(), partition, Offset::Offset(millis)).map_err(|e| e.to_string())?;
        let found = self.consumer.offsets_for_times(list, ASK).map_err(|e| e.to_string())?;
        Ok(offset_in(&found))
    }

    /// Takes one record into the batch, waiting for it if need be; whether there was one.
    fn poll(&mut self, batch: &mut RawBatch, wait: Duration) -> Result<bool, String> {
        match self.consumer.poll(wait) {
            None => Ok(false),
            Some(Ok(record)) => {
                let (partition, offset) = (record.partition(), record.offset());
                // A record of an assignment that has ended since may still be in the queue.
                if self.assigned.contains(&partition) {
                    batch.push(partition, offset, record.timestamp().to_millis(), record.key(), record.payload());
                    self.next.insert(partition, offset + 1);
                }
                Ok(true)
            }
            Some(Err(e)) => {
                self.failed(&e)?;
                Ok(false)
            }
        }
    }

    /// Most errors pass by themselves (the client reconnects). Those about the topic or an offset are looked into, by [`Reader::look_into`].
    fn failed(&mut self, error: &KafkaError) -> Result<(), String> {
        self.shared.board.report(self.name(), error.to_string());
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => Err(error.to_string()),
            Some(
                RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopicId,
            ) => {
                self.suspect.get_or_insert_with(Instant::now);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// After such an error the client reads a partition no further. The topic may be another, or offsets may be gone: those stop, visibly.
    /// The rest begins again where it stood. Until the broker has answered all that, it is asked again.
    fn look_into(&mut self) -> Result<(), String> {
        const AGAIN: Duration = Duration::from_millis(500);
        if self.suspect.is_none_or(|since| since > Instant::now()) {
            return Ok(());
        }
        self.suspect = Some(Instant::now() + AGAIN);
        if self.mind_the_topic().is_err() || !self.stop_unreadable()? {
            return Ok(());
        }
        self.suspect = None;
        let mut again = TopicPartitionList::new();
        for partition in &self.assigned {
            let next = Offset::Offset(self.next.get(partition).copied().unwrap_or(0));
            again.add_partition_offset(self.topic(), *partition, next).map_err(|e| e.to_string())?;
        }
        if again.count() > 0 {
            self.consumer.incremental_unassign(&self.list()?).map_err(|e| e.to_string())?;
            self.consumer.incremental_assign(&again).map_err(|e| e.to_string())?;
            if self.paused {
                self.consumer.pause(&again).map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    }

    /// Stops the partitions whose next offset the broker does not have; false if it did not answer for all.
    fn stop_unreadable(&mut self) -> Result<bool, String> {
        let mut all = true;
        for partition in self.assigned.clone() {
            let Ok((low, high)) = self.consumer.fetch_watermarks(self.topic(), partition, ASK) else {
                all = false;
                continue;
            };
            let next = self.next.get(&partition).copied().unwrap_or(low);
            if let Some(why) = unreadable(next, low, high) {
                self.stop_partition(partition, why)?;
            }
        }
        Ok(all)
    }

    /// What is due now and then: back-pressure, new partitions, the group offset.
    fn keep_house(&mut self, published: &Receiver<Vec<(i32, i64)>>) -> Result<(), String> {
        self.mind_the_head()?;
        self.mind_the_table();
        self.mind_the_rebuild();
        self.look_into()?;
        if let Some(offsets) = published.try_iter().last() {
            self.publish(&offsets);
        }
        if self.refreshed.elapsed() >= TOPIC_REFRESH {
            self.refreshed = Instant::now();
            if self.topic_id.is_some() && self.mind_the_topic().is_err() {
                return Ok(());
            }
            // A broker that is away now is asked again later.
            let Ok(partitions) = self.partitions() else { return Ok(()) };
            self.watch_stopped();
            let new: Vec<i32> = partitions.into_iter().filter(|p| !self.next.contains_key(p)).collect();
            if !new.is_empty() {
                tracing::info!(source = %self.name(), partitions = ?new, "new partitions");
                self.assign(&new, &Start::Earliest)?;
            }
        }
        Ok(())
    }

    /// The lag of partitions that are stopped goes on growing, and the client has no figures of what is not assigned.
    fn watch_stopped(&self) {
        for &partition in self.next.keys().filter(|p| !self.assigned.contains(p)) {
            if let Ok((_, high)) = self.consumer.fetch_watermarks(self.topic(), partition, ASK) {
                self.shared.board.set_high(self.name(), partition, high);
            }
        }
    }

    /// Starts over when the table is gone or another: without events the committer would not see it.
    fn mind_the_table(&mut self) {
        let version = self.shared.db.catalog_version();
        if version != self.catalog_version {
            self.catalog_version = version;
            if !same_table(self.shared, self.target) {
                self.shared.restart.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Puts a table that is made anew in the place of the old one as soon as it is as far.
    fn mind_the_rebuild(&mut self) {
        if !self.target.rebuilding || self.looked.elapsed() < REBUILD_LOOK {
            return;
        }
        match self.shared.db.finish_rebuild(&self.target.table, &mut self.hold) {
            // Its source is about to be ended.
            Ok(true) => self.shared.restart.store(true, Ordering::Relaxed),
            Ok(false) => {}
            Err(e) => {
                tracing::error!(source = %self.name(), "cannot finish the rebuild: {}", e.message);
                self.shared.board.set_error(self.name(), Some(format!("cannot finish the rebuild: {}", e.message)));
            }
        }
        self.looked = Instant::now();
    }

    /// Pauses all partitions while the head is over its limit, and resumes them when it is well under it.
    fn mind_the_head(&mut self) -> Result<(), String> {
        let pressure = self.shared.db.pressure();
        let low_again = pressure.bytes < pressure.limit / 4 * 3;
        if !self.paused && pressure.is_high() {
            self.consumer.pause(&self.list()?).map_err(|e| e.to_string())?;
            self.shared.board.set_state(self.name(), "paused: writers are ahead of background work");
        } else if self.paused && low_again {
            self.consumer.resume(&self.list()?).map_err(|e| e.to_string())?;
            self.shared.board.set_state(self.name(), "running");
        } else {
            return Ok(());
        }
        self.paused = !self.paused;
        Ok(())
    }

    fn list(&self) -> Result<TopicPartitionList, String> {
        let mut list = TopicPartitionList::new();
        for &partition in &self.assigned {
            list.add_partition(self.topic(), partition);
        }
        Ok(list)
    }

    /// Publishes offsets to the consumer group, for monitoring alone: no error of it matters. The group is the live table's.
    fn publish(&self, offsets: &[(i32, i64)]) {
        if self.target.rebuilding {
            return;
        }
        let mut list = TopicPartitionList::new();
        for &(partition, next) in offsets {
            let _ = list.add_partition_offset(self.topic(), partition, Offset::Offset(next));
        }
        let _ = self.consumer.commit(&list, CommitMode::Async);
    }

    /// Hands a batch to the decoders, keeping the client alive while they are busy; false if the subscription ended.
    fn hand_over(&self, raw: &Sender<RawBatch>, batch: RawBatch) -> bool {
        let mut batch = batch;
        loop {
            match raw.send_timeout(batch, POLL) {
                Ok(()) => return true,
                Err(crossbeam_channel::SendTimeoutError::Timeout(back)) if !self.shared.ending() => batch = back,
                Err(_) => return false,
            }
        }
    }
}

/// What can be done about a partition that is paused.
const HINT: &str = "to go on at another offset, say ALTER TABLE … RESET OFFSETS TO EARLIEST (or LATEST, TIMESTAMP '…'); \
    ALTER TABLE … REBUILD FROM EARLIEST makes the table anew of what the topic has";

/// The offset of the one partition of an answer; `None` where there is none.
fn offset_in(found: &TopicPartitionList) -> Option<i64> {
    match found.elements().first()?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// Why a partition cannot be read from an offset on, if so.
fn unreadable(next: i64, low: i64, high: i64) -> Option<String> {
    if next < low {
        return Some(format!(
            "offset {next} is gone: the broker's oldest is {low}, so {} events were deleted before they were read; {HINT}",
            low - next
        ));
    }
    if next > high {
        return Some(format!(
            "offset {next} is beyond the broker's newest, {high}: the topic was truncated or made anew; {HINT}"
        ));
    }
    None
}

/// Takes the client's own events to the status board and the log.
struct Context {
    board: Board,
    source: String,
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        for topic in statistics.topics.values() {
            for (&partition, p) in topic.partitions.iter().filter(|(p, s)| **p >= 0 && s.hi_offset >= 0) {
                self.board.set_high(&self.source, partition, p.hi_offset);
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.board.report(&self.source, format!("{error}: {reason}"));
    }

    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(source = %self.source, ?level, facility, "{message}");
    }
}

impl ConsumerContext for Context {}
