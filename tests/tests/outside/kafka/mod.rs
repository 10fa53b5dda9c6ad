//! The Kafka source against a real broker, with little data: what comes, what goes, what is broken, and where a restart begins.
//!
//! The tests share one broker and have topics of their own. They wait for what they assert (`eventually`) and never for a time.

mod fields;
mod flow;
mod guide;
mod offsets;
mod pressure;
mod replay;
mod sinks;
mod subscriptions;

use std::time::Duration;

use postgres::Client;
use rdkafka::producer::{BaseProducer, BaseRecord};
use tempfile::TempDir;
use weir_tests::outside::broker::{Broker, flush};
use weir_tests::process::{Server, eventually, rows};

/// How long anything of these tests may take.
const SOON: Duration = Duration::from_secs(20);

/// A server on a data directory that outlives it.
struct Weir {
    data: TempDir,
    server: Option<Server>,
    args: Vec<String>,
}

impl Weir {
    fn start() -> Weir {
        Weir::start_with(&[])
    }

    fn start_with(args: &[&str]) -> Weir {
        let data = tempfile::tempdir().expect("a temporary folder");
        let args = args.iter().map(|arg| arg.to_string()).collect();
        let mut weir = Weir { data, server: None, args };
        weir.up();
        weir
    }

    /// Starts a server with this `weir.toml`.
    fn with_config(toml: &str) -> Weir {
        let config = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(config.path(), toml).expect("the file is ours");
        let (_, path) = config.keep().expect("the file stays for restarts");
        Weir::start_with(&["--config", path.to_str().expect("a path in UTF-8")])
    }

    fn up(&mut self) {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        self.server = Some(Server::start_with(self.data.path(), &args));
    }

    /// A clean stop.
    fn down(&mut self) {
        self.server.take().expect("it runs").stop();
    }

    fn client(&self) -> Client {
        self.server.as_ref().expect("it runs").connect()
    }
}

/// `WITH (…)` of a table on a topic, with more options in SQL's spelling.
fn with(broker: &Broker, topic: &str, more: &[(&str, &str)]) -> String {
    let mut options = format!(
        "WITH ('connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{}', 'format' = 'json'",
        broker.address()
    );
    more.iter().for_each(|(key, value)| options += &format!(", '{key}' = '{value}'"));
    options + ")"
}

fn run(client: &mut Client, sql: &str) {
    client.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}\n{}", weir_tests::process::explain(&e)));
}

/// Sends records with a payload each to one partition, and waits until the broker has them.
fn send(broker: &Broker, topic: &str, partition: i32, payloads: &[&str]) {
    let producer = broker.producer();
    for payload in payloads {
        put(&producer, BaseRecord::to(topic).partition(partition).key("key").payload(*payload));
    }
    flush(&producer);
}

fn put(producer: &BaseProducer, record: BaseRecord<'_, str, str>) {
    producer.send(record).map_err(|(e, _)| e).expect("the queue has room");
}

/// `{"id": N}` for each of a range.
fn send_ids(broker: &Broker, topic: &str, partition: i32, ids: std::ops::Range<usize>) {
    let records: Vec<String> = ids.map(|id| format!("{{\"id\": {id}}}")).collect();
    send(broker, topic, partition, &records.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Waits until a query has this one value.
fn wait_for(client: &mut Client, sql: &str, expected: &str) {
    let start = std::time::Instant::now();
    loop {
        // A relation without rows has no value yet.
        let last = rows(client, sql);
        if last == [[expected]] {
            return;
        }
        if start.elapsed() > SOON {
            let status = rows(client, "SELECT * FROM weir.kafka_status");
            let dead = rows(client, "SELECT \"offset\", reason FROM weir.dead_letters LIMIT 10");
            panic!("{sql} is {last:?} and not {expected}\nstatus {status:?}\ndead letters {dead:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a table has exactly the ids of a range, each once.
fn wait_for_ids(client: &mut Client, table: &str, ids: std::ops::Range<usize>) {
    wait_for(client, &format!("SELECT count(*) FROM {table}"), &ids.len().to_string());
    let sums = format!("SELECT count(DISTINCT id), coalesce(min(id), 0), coalesce(max(id), -1) FROM {table}");
    let expected = match ids.is_empty() {
        true => ["0".to_string(), "0".to_string(), "-1".to_string()],
        false => [ids.len().to_string(), ids.start.to_string(), (ids.end - 1).to_string()],
    };
    assert_eq!(rows(client, &sums), [expected]);
}

/// The state of one partition of a topic, and its last error.
fn state(client: &mut Client, topic: &str, partition: i32) -> (String, String) {
    let sql = format!(
        "SELECT state, coalesce(last_error, '') FROM weir.kafka_status WHERE topic = '{topic}' AND partition = {partition}"
    );
    rows(client, &sql).pop().map_or_else(Default::default, |row| (row[0].clone(), row[1].clone()))
}

/// Waits until a partition is in a state; its last error.
fn wait_for_state(client: &mut Client, topic: &str, partition: i32, expected: &str) -> String {
    let mut last = Default::default();
    eventually(&format!("{topic}/{partition} is {expected}"), SOON, || {
        last = state(client, topic, partition);
        last.0 == expected
    });
    last.1
}
