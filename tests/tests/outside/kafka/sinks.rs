//! Sinks into a real Kafka: every record once for a consumer that reads what is committed, whatever becomes of the server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::producer::BaseRecord;
use serde_json::Value;
use weir_tests::outside::broker::{Broker, Record, flush};
use weir_tests::process::{eventually, rows, value};

use super::{SOON, Weir, put, run, wait_for, with};

fn json(part: Option<&Vec<u8>>) -> Value {
    part.map_or(Value::Null, |bytes| serde_json::from_slice(bytes).expect("records are JSON"))
}

/// Waits until nothing waits any more, and reads a topic.
fn sent(weir: &Weir, broker: &Broker, topic: &str) -> Vec<Record> {
    let mut client = weir.client();
    eventually("all is sent", SOON, || value(&mut client, "SELECT coalesce(sum(waiting), 0) FROM weir.sinks") == "0");
    broker.read_committed(topic)
}

/// `CREATE SINK … INTO KAFKA` of a source, with more options.
fn create(broker: &Broker, name: &str, source: &str, topic: &str, more: &str) -> String {
    format!(
        "CREATE SINK {name} {source} INTO KAFKA (topic = '{topic}', brokers '{}', format json{more})",
        broker.address()
    )
}

#[test]
fn each_record_once_through_kills() {
    let broker = Broker::shared();
    broker.create_topic("sink.events", 3);
    ["sink.views", "sink.rows"].iter().for_each(|topic| broker.create_topic(topic, 2));
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut weir = Weir::start();
    let mut client = weir.client();
    run(&mut client, &format!("CREATE TABLE events (id bigint, page text) {}", with(broker, "sink.events", &[])));
    run(&mut client, "CREATE MATERIALIZED VIEW views AS SELECT page, count(*) AS views FROM events GROUP BY page");
    run(&mut client, &create(broker, "views_out", "FROM views", "sink.views", ", mode upsert"));
    let of_query = "AS SELECT id, page FROM events WHERE page <> 'page-0'";
    run(&mut client, &create(broker, "rows_out", of_query, "sink.rows", ", mode append, key id"));
    drop(client);
    let producer = broker.producer();
    let mut pages = Vec::new();
    for _ in 0..8 {
        for _ in 0..500 {
            let page = format!("page-{}", random.random_range(0..10));
            let payload = format!("{{\"id\": {}, \"page\": \"{page}\"}}", pages.len());
            put(
                &producer,
                BaseRecord::to("sink.events").key("").payload(payload.as_str()).partition(pages.len() as i32 % 3),
            );
            pages.push(page);
        }
        flush(&producer);
        // At any moment of what follows.
        std::thread::sleep(Duration::from_millis(random.random_range(0..400)));
        weir.server.take().expect("it runs").kill();
        weir.up();
    }
    let mut client = weir.client();
    wait_for(&mut client, "SELECT sum(views) FROM views", &pages.len().to_string());

    let expected: BTreeSet<(i64, &str)> = pages
        .iter()
        .enumerate()
        .filter(|(_, page)| *page != "page-0")
        .map(|(id, page)| (id as i64, page.as_str()))
        .collect();
    eventually("all rows are sent", SOON, || broker.read_committed("sink.rows").len() >= expected.len());
    let records = sent(&weir, broker, "sink.rows");
    assert_eq!(records.len(), expected.len(), "each row once");
    for record in &records {
        let (key, row) = (json(record.key.as_ref()), json(record.value.as_ref()));
        assert_eq!(key["id"], row["id"]);
        let row = (row["id"].as_i64().expect("a number"), row["page"].as_str().expect("a text"));
        assert!(expected.contains(&row), "{row:?}");
    }
    // Counts only grow: a record that is there twice, or one from before it, would not.
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for record in sent(&weir, broker, "sink.views") {
        let row = json(record.value.as_ref());
        assert_eq!(json(record.key.as_ref())["page"], row["page"]);
        let (page, views) = (row["page"].as_str().expect("a text"), row["views"].as_i64().expect("a number"));
        let before = last.insert(page.to_string(), views);
        assert!(before.is_none_or(|before| before < views), "{page}: {views} after {before:?}");
    }
    let shown = rows(&mut client, "SELECT page, views FROM views ORDER BY page");
    let last: Vec<Vec<String>> = last.into_iter().map(|(page, views)| vec![page, views.to_string()]).collect();
    assert_eq!(last, shown);
}

#[test]
fn what_goes_is_a_tombstone_and_a_broker_that_is_away_is_waited_for() {
    let broker = Broker::start("sinks");
    broker.create_topic("gone", 1);
    let weir = Weir::start();
    let mut client = weir.client();
    run(&mut client, "CREATE TABLE users (id int PRIMARY KEY, name text)");
    run(&mut client, "INSERT INTO users VALUES (1, 'ann'), (2, 'bob')");
    run(&mut client, &create(&broker, "users_out", "FROM users", "gone", ""));
    let text = |records: &[Record]| -> Vec<String> {
        let text = |part: &Option<Vec<u8>>| {
            part.as_deref().map_or("-".into(), |part| String::from_utf8_lossy(part).into_owned())
        };
        records.iter().map(|record| format!("{} {}", text(&record.key), text(&record.value))).collect()
    };
    eventually("what was there is sent", SOON, || broker.read_committed("gone").len() == 2);
    broker.down();
    run(&mut client, "DELETE FROM users WHERE id = 1");
    run(&mut client, "INSERT INTO users VALUES (2, 'bobby') ON CONFLICT (id) DO UPDATE SET name = excluded.name");
    broker.up();
    eventually("the rest is sent", 4 * SOON, || broker.read_committed("gone").len() == 4);
    let mut later = text(&broker.read_committed("gone")[2..]);
    later.sort();
    assert_eq!(later, [r#"{"id":1} -"#, r#"{"id":2} {"id":2,"name":"bobby"}"#]);
    let state = "SELECT waiting, coalesce(error, '') FROM weir.sinks";
    eventually("the error is gone", SOON, || rows(&mut client, state) == [["0", ""]]);
}
