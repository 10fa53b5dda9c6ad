//! A sink's batches into a Kafka topic, exactly once.
//!
//! Each batch is one Kafka transaction, which also commits the batch's epoch as an offset of a consumer group that the sink alone has. Whoever comes
//! back after a crash fences the writer before it, reads the epoch there, and knows whether the batch that Weir holds is out. (KIP-98; the
//! group's offset is where Kafka keeps one number in a transaction.)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use weir_engine::{Database, Sink, SinkBatch, SinkRecord};

/// How long the broker may take for one step of a transaction.
const STEP: Duration = Duration::from_secs(30);
/// How often it is looked whether there is a batch.
const PAUSE: Duration = Duration::from_millis(20);
/// How long to wait before a broker that refused is asked again.
const RETRY: Duration = Duration::from_millis(500);
/// The partition under which the group has the epoch.
const EPOCH_PARTITION: i32 = 0;

/// A sink that is being sent.
#[derive(Debug)]
pub(crate) struct Sender {
    /// As it was started.
    pub(crate) sink: Sink,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// Begins to send.
    pub(crate) fn start(db: &Database, sink: Sink) -> Sender {
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work { db: db.clone(), sink: sink.clone(), stop: stop.clone() };
        let thread = std::thread::Builder::new()
            .name("kafka-sink".to_string())
            .spawn(move || work.run())
            .expect("the system has a thread to spare");
        Sender { sink, stop, thread: Some(thread) }
    }

    /// Ends it: a batch that is not out yet is sent at the next start.
    pub(crate) fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    db: Database,
    sink: Sink,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn option(&self, name: &str) -> &str {
        self.sink.options.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Waits a moment, or less if it is to end.
    fn pause(&self, time: Duration) {
        let mut left = time;
        while !self.stopping() && !left.is_zero() {
            std::thread::sleep(left.min(PAUSE));
            left = left.saturating_sub(PAUSE);
        }
    }

    /// Sends until it is stopped, beginning anew after each error.
    fn run(&self) {
        while !self.stopping() {
            if let Err(why) = self.send_all() {
                tracing::warn!(sink = %self.sink.name, "{why}");
                self.db.set_sink_error(self.sink.oid, Some(why));
                self.pause(RETRY);
            }
        }
    }

    /// One life of a writer.
    fn send_all(&self) -> Result<(), String> {
        let failed = |what: &'static str| move |error: KafkaError| format!("cannot {what}: {error}");
        let producer: BaseProducer = self.config(true).create().map_err(failed("make a writer"))?;
        // From here on no writer of this sink before it can commit, and what one had begun is decided.
        producer.init_transactions(STEP).map_err(failed("begin to write"))?;
        let consumer: BaseConsumer = self.config(false).create().map_err(failed("make a reader of the group"))?;
        let mut sent = self.committed(&consumer).map_err(failed("read the epoch"))?;
        while !self.stopping() {
            match self.db.sink_batch(self.sink.oid, sent).map_err(|error| error.to_string())? {
                None => self.pause(PAUSE),
                Some(batch) => {
                    if let Err(why) = self.send(&producer, &consumer, &batch) {
                        // Whatever is wrong, the transaction is not to go on: the next writer's begin ends it, if this does not.
                        let _ = producer.abort_transaction(STEP);
                        return Err(why);
                    }
                    sent = batch.epoch;
                    self.db.set_sink_error(self.sink.oid, None);
                }
            }
        }
        Ok(())
    }

    fn config(&self, writes: bool) -> ClientConfig {
        let mut config = ClientConfig::new();
        let id = self.option("transactional.id");
        // Java's choice of the partition by the key, so that a topic's writers agree.
        config.set("partitioner", "murmur2_random").set("linger.ms", "5");
        for (name, value) in &self.sink.options {
            if let Some(name) = name.strip_prefix("properties.") {
                config.set(name, value);
            }
        }
        match writes {
            true => config.set("transactional.id", id),
            false => {
                config.set("group.id", id).set("isolation.level", "read_committed").set("enable.auto.commit", "false")
            }
        };
        for unfit in if writes { &["group.id"][..] } else { &["partitioner", "linger.ms", "transactional.id"] } {
            config.remove(unfit);
        }
        config
    }

    fn epoch_at(&self, offset: Offset) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(self.option("topic"), EPOCH_PARTITION, offset)?;
        Ok(list)
    }

    /// The epoch of the last batch that is out; 0 if there is none.
    fn committed(&self, consumer: &BaseConsumer) -> Result<i64, KafkaError> {
        let offsets = consumer.committed_offsets(self.epoch_at(Offset::Invalid)?, STEP)?;
        let offset = offsets.find_partition(self.option("topic"), EPOCH_PARTITION).map(|found| found.offset());
        Ok(if let Some(Offset::Offset(epoch)) = offset { epoch } else { 0 })
    }

    /// Sends a batch as one transaction.
    fn send(&self, producer: &BaseProducer, consumer: &BaseConsumer, batch: &SinkBatch) -> Result<(), String> {
        let failed = |what: &'static str| move |error: KafkaError| format!("cannot {what}: {error}");
        producer.begin_transaction().map_err(failed("begin a transaction"))?;
        for record in &batch.records {
            self.put(producer, record).map_err(failed("send a record"))?;
        }
        let group = consumer.group_metadata().ok_or("the client has no group")?;
        let epoch = self.epoch_at(Offset::Offset(batch.epoch)).map_err(failed("name the epoch"))?;
        producer.send_offsets_to_transaction(&epoch, &group, STEP).map_err(failed("send the epoch"))?;
        loop {
            match producer.commit_transaction(STEP) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if error.is_retriable() && !self.stopping() => {}
                Err(error) => return Err(failed("commit a transaction")(error)),
            }
        }
    }

    /// Hands a record to the client, waiting while it has too many.
    fn put(&self, producer: &BaseProducer, record: &SinkRecord) -> Result<(), KafkaError> {
        let mut out = BaseRecord::<[u8], [u8]>::to(self.option("topic"));
        out.key = record.key.as_deref();
        out.payload = record.value.as_deref();
        loop {
            match producer.send(out) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if !self.stopping() => {
                    out = back;
                    producer.poll(PAUSE);
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}
