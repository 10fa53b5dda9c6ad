//! A real Kafka for one test, and producers to it.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::duckdb::root;
use super::oracle::free_port;

/// A Kafka broker. Dropping it stops it and forgets its data.
pub struct Broker {
    name: String,
    port: u16,
}

impl Broker {
    /// Starts a broker without topics; `name` tells brokers that run at the same time apart.
    pub fn start(name: &str) -> Broker {
        let broker = Broker { name: format!("kafka-test-{name}"), port: free_port() };
        broker.xtask("down", &["--purge"]);
        broker.xtask("up", &[]);
        broker
    }

    /// The broker that all tests of this process share. It ends when the process does, however that ends.
    pub fn shared() -> &'static Broker {
        static SHARED: OnceLock<(Broker, Child)> = OnceLock::new();
        let (broker, _) = SHARED.get_or_init(|| {
            let broker = Broker::start("shared");
            // A static is never dropped. The shell's input closes when this process is gone, and it stops the broker then.
            let down =
                "read -r _; exec \"$0\" run --quiet --package xtask -- kafka down --purge --name \"$1\" --port \"$2\"";
            let warden = Command::new("sh")
                .args(["-c", down, env!("CARGO"), &broker.name, &broker.port.to_string()])
                .current_dir(root())
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("a shell runs");
            (broker, warden)
        });
        broker
    }

    /// Starts a broker that is away, on the data and port that it had.
    pub fn up(&self) {
        self.xtask("up", &[]);
    }

    /// Stops the broker; its topics are there again after [`Broker::up`].
    pub fn down(&self) {
        self.xtask("down", &[]);
    }

    /// A clean stop and a new start, on the same data and port.
    pub fn restart(&self) {
        self.xtask("down", &[]);
        self.xtask("up", &[]);
    }

    /// Its `bootstrap.servers`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address());
        config
    }

    /// Makes a topic.
    pub fn create_topic(&self, topic: &str, partitions: i32) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("max.message.bytes", "16777216");
        let made = block_on(self.admin().create_topics([&new], &options())).expect("the broker answers");
        made.into_iter().for_each(|topic| {
            topic.expect("the topic is made");
        });
    }

    /// Adds partitions to a topic until it has `total`.
    pub fn add_partitions(&self, topic: &str, total: usize) {
        let new = NewPartitions::new(topic, total);
        let made = block_on(self.admin().create_partitions([&new], &options())).expect("the broker answers");
        made.into_iter().for_each(|topic| {
            topic.expect("the partitions are made");
        });
    }

    /// Deletes a topic, and makes it anew once it is gone.
    pub fn recreate_topic(&self, topic: &str, partitions: i32) {
        let gone = block_on(self.admin().delete_topics(&[topic], &options())).expect("the broker answers");
        gone.into_iter().for_each(|topic| {
            topic.expect("the topic is deleted");
        });
        self.create_topic(topic, partitions);
    }

    /// Deletes a partition's records before an offset, as retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let list = offsets(topic, &[(partition, before)]);
        let deleted = block_on(self.admin().delete_records(&list, &options())).expect("the broker answers");
        deleted.elements().iter().for_each(|partition| partition.error().expect("the records are deleted"));
    }

    /// What a consumer group has committed; `None` for a partition without an offset.
    pub fn group_offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let list = offsets(topic, &[(partition, 0)]);
        let committed = self.group(group).committed_offsets(list, Duration::from_secs(10)).expect("the broker answers");
        match committed.elements().first().map(|partition| partition.offset()) {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        }
    }

    /// Moves a consumer group that has no members.
    pub fn set_group_offset(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let list = offsets(topic, &[(partition, offset)]);
        self.group(group).commit(&list, CommitMode::Sync).expect("the group moves");
    }

    fn group(&self, group: &str) -> BaseConsumer {
        self.config().set("group.id", group).create().expect("a consumer")
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().expect("an admin client")
    }

    /// All records of a topic, each partition in order, as a consumer sees them that reads what is committed.
    pub fn read_committed(&self, topic: &str) -> Vec<Record> {
        let wait = Duration::from_secs(10);
        let mut config = self.config();
        config.set("group.id", "reader").set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(topic), wait).expect("the broker answers");
        let mut open: BTreeSet<i32> =
            metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect();
        let mut list = TopicPartitionList::new();
        for &partition in &open {
            list.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition is assigned");
        }
        consumer.assign(&list).expect("partitions are assigned");
        let mut records = Vec::new();
        while !open.is_empty() {
            match consumer.poll(wait).expect("a record or an end comes") {
                Ok(record) => records.push(Record {
                    partition: record.partition(),
                    key: record.key().map(<[u8]>::to_vec),
                    value: record.payload().map(<[u8]>::to_vec),
                }),
                Err(KafkaError::PartitionEOF(partition)) => drop(open.remove(&partition)),
                Err(error) => panic!("cannot read {topic}: {error}"),
            }
        }
        records.sort_by_key(|record| record.partition);
        records
    }

    /// A producer that batches.
    pub fn producer(&self) -> BaseProducer {
        self.config()
            .set("linger.ms", "20")
            .set("batch.size", "1000000")
            .set("message.max.bytes", "16777216")
            .set("queue.buffering.max.messages", "200000")
            .create()
            .expect("a producer")
    }

    fn xtask(&self, action: &str, more: &[&str]) {
        let status = Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--package", "xtask", "--", "kafka", action, "--name", &self.name, "--port"])
            .arg(self.port.to_string())
            .args(more)
            .current_dir(root())
            .status()
            .expect("cargo runs");
        assert!(status.success(), "xtask kafka {action} failed");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.xtask("down", &["--purge"]);
    }
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its payload; a tombstone has none.
    pub value: Option<Vec<u8>>,
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)))
}

fn offsets(topic: &str, partitions: &[(i32, i64)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for &(partition, offset) in partitions {
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset is not negative");
    }
    list
}

/// Sends one record, waiting while the producer's queue is full.
pub fn send(producer: &BaseProducer, topic: &str, key: &[u8], payload: &[u8]) {
    let mut record = BaseRecord::to(topic).key(key).payload(payload);
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                producer.poll(Duration::from_millis(10));
            }
            Err((e, _)) => panic!("cannot produce: {e}"),
        }
    }
}

/// Waits until all that was sent has arrived.
pub fn flush(producer: &BaseProducer) {
    producer.flush(Duration::from_secs(120)).expect("all records arrive");
}
