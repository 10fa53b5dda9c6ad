//! A real Kafka for one test, and producers to it.

use std::process::Command;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

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
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("an admin client");
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        let made = futures::executor::block_on(admin.create_topics([&new], &options)).expect("the broker answers");
        made.into_iter().for_each(|topic| {
            topic.expect("the topic is made");
        });
    }

    /// A producer that batches.
    pub fn producer(&self) -> BaseProducer {
        self.config()
            .set("linger.ms", "20")
            .set("batch.size", "1000000")
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
