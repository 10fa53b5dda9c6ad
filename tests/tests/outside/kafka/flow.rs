//! Brokers that are away, servers that stop, and the guide's own events.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use weir_tests::outside::broker::Broker;
use weir_tests::outside::duckdb::root;
use weir_tests::process::{rows, value};

use super::{Weir, run, send, send_ids, wait_for, wait_for_ids, with};

#[test]
fn a_broker_that_comes_later() {
    let broker = Broker::start("late");
    broker.create_topic("late", 1);
    send_ids(&broker, "late", 0, 0..10);
    broker.down();
    let mut weir = Weir::start();
    let mut client = weir.client();
    run(&mut client, &format!("CREATE TABLE late (id bigint) {}", with(&broker, "late", &[])));
    let shown = "SELECT state = 'waiting for the broker' AND last_error IS NOT NULL FROM weir.kafka_status";
    wait_for(&mut client, shown, "t");
    // It stops cleanly all the same.
    drop(client);
    weir.down();
    weir.up();
    let mut client = weir.client();
    broker.up();
    wait_for_ids(&mut client, "late", 0..10);
    wait_for(&mut client, "SELECT state || coalesce(last_error, '') FROM weir.kafka_status", "running");
}

#[test]
fn stopped_while_events_flow() {
    let broker = Broker::shared();
    broker.create_topic("stopped", 3);
    let (sent, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut weir = Weir::start();
    let options = [("batch.rows", "50"), ("batch.interval-ms", "5")];
    run(&mut weir.client(), &format!("CREATE TABLE stopped (id bigint) {}", with(broker, "stopped", &options)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut next = 0;
            while !done.load(Ordering::Relaxed) {
                send_ids(broker, "stopped", (next / 100 % 3) as i32, next..next + 100);
                next += 100;
                sent.store(next, Ordering::Relaxed);
            }
        });
        for _ in 0..3 {
            let mut client = weir.client();
            let before: usize = value(&mut client, "SELECT count(*) FROM stopped").parse().expect("a number");
            wait_for(&mut client, &format!("SELECT count(*) > {} FROM stopped", before + 200), "t");
            drop(client);
            weir.down();
            weir.up();
        }
        done.store(true, Ordering::Relaxed);
    });
    wait_for_ids(&mut weir.client(), "stopped", 0..sent.load(Ordering::Relaxed));
}

fn guide() -> String {
    std::fs::read_to_string(root().join("../shared/guide.txt")).expect("the guide stands beside the checkout")
}

/// From the first line that has `from` up to `to`.
fn cut<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap_or_else(|| panic!("the guide has no {from:?}"));
    let end = text[start..].find(to).unwrap_or_else(|| panic!("the guide has no {to:?} after {from:?}"));
    &text[start..start + end]
}

/// Events as the guide's Python producer and its browser snippet send them, at and after 1767225600: see [`produce`].
const PRODUCED: [&str; 4] = [
    r#"{"event_type": "product_viewed", "user_id": 12345, "timestamp": 1767225600.1234567, "properties": {"product_id": "sku-789", "category": "electronics", "price": 299.99, "device": "mobile"}, "session_id": null, "device": "mobile", "country": null}"#,
    r#"{"event_type": "page_viewed", "user_id": 7, "timestamp": 1767225601, "properties": {"page_id": "home", "session_id": "6b3ddfd2-a96c-4f7a-8a0b-33a0a3e1ad75"}, "session_id": "6b3ddfd2-a96c-4f7a-8a0b-33a0a3e1ad75", "device": null, "country": "DE"}"#,
    r#"{"event_type":"button_clicked","timestamp":1767225602500,"url":"https://shop.example/cart","user_id":"8","session_id":null,"properties":{"button_id":"checkout","page":"cart"}}"#,
    r#"{"event_type": "product_viewed", "user_id": 12345, "timestamp": 1767225603.5, "properties": {"session_id": "sess-abc"}, "session_id": "sess-abc", "device": null, "country": null}"#,
];

/// Sends them as of a minute ago, since the guide's table forgets what is old; the first one's time in seconds since the epoch.
fn produce(broker: &Broker, topic: &str) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").as_secs();
    let start = now / 100 * 100 - 100;
    let prefix = (start / 100).to_string();
    let records = PRODUCED.map(|record| record.replace("17672256", &prefix));
    broker.create_topic(topic, 1);
    send(broker, topic, 0, &records.each_ref().map(String::as_str));
    start
}

#[test]
fn the_guides_producer_fills_the_guides_clickhouse_table() {
    let broker = Broker::shared();
    let start = produce(broker, "guide_clickhouse");
    let guide = guide();
    let clickhouse = &guide[guide.find("-- Example: ClickHouse table").expect("the guide has its table")..];
    let table = cut(clickhouse, "CREATE TABLE events (", ";");
    let weir = Weir::start();
    let mut client = weir.client();
    run(&mut client, &format!("{table} {}", with(broker, "guide_clickhouse", &[])));
    wait_for(&mut client, "SELECT count(*) FROM events", "3");
    let sql = format!(
        "SELECT event_type, user_id, extract(epoch FROM timestamp) - {start}, session_id,
            JSONExtractString(properties, 'category'), device, country, page_id, amount
         FROM events ORDER BY timestamp"
    );
    let nobody = "00000000-0000-0000-0000-000000000000";
    let found = rows(&mut client, &sql);
    let expected = [
        ["product_viewed", "12345", "0.123456", nobody, "electronics", "mobile", "", "", "0.00"],
        ["page_viewed", "7", "1.000000", "6b3ddfd2-a96c-4f7a-8a0b-33a0a3e1ad75", "", "", "DE", "", "0.00"],
        ["button_clicked", "8", "2.500000", nobody, "", "", "", "", "0.00"],
    ];
    assert_eq!(found, expected);
    wait_for(&mut client, "SELECT count(*) FROM weir.dead_letters", "1");
    let dead = rows(&mut client, "SELECT \"offset\", reason FROM weir.dead_letters");
    assert_eq!(dead, [["3", "column \"session_id\": invalid input syntax for type uuid: \"sess-abc\""]]);
}

#[test]
fn the_guides_flink_table_reads_the_guides_events() {
    let broker = Broker::shared();
    let start = produce(broker, "events");
    let guide = guide();
    let flink = &guide[guide.find("properties MAP<STRING, STRING>").expect("the guide has its table") - 250..];
    let table = cut(flink, "CREATE TABLE events (", "\"\"\"").replace("kafka:9092", &broker.address());
    let weir = Weir::start();
    let mut client = weir.client();
    run(&mut client, &table);
    wait_for(&mut client, "SELECT count(*) FROM events", "4");
    // A subscript of a map is a value of its type; without the key it is NULL.
    let sql = format!(
        "SELECT event_type, user_id, extract(epoch FROM timestamp) - {start}, properties['page_id'], properties['price']
         FROM events ORDER BY timestamp LIMIT 2"
    );
    let expected =
        [["product_viewed", "12345", "0.123456", "NULL", "299.99"], ["page_viewed", "7", "1.000000", "home", "NULL"]];
    assert_eq!(rows(&mut client, &sql), expected);
    let grouped = "SELECT properties['page_id'] AS page_id, COUNT(*) AS view_count FROM events
        WHERE event_type = 'page_viewed' GROUP BY properties['page_id']";
    assert_eq!(rows(&mut client, grouped), [["home", "1"]]);
}

#[test]
fn a_window_closes_when_all_partitions_have_passed_it() {
    let broker = Broker::shared();
    broker.create_topic("windows", 2);
    let weir = Weir::start();
    let mut client = weir.client();
    let options = with(broker, "windows", &[("scan.watermark.idle-timeout", "0")]);
    run(&mut client, &format!("CREATE TABLE windows (id bigint, ts timestamp, WATERMARK FOR ts AS ts) {options}"));
    let view = "CREATE MATERIALIZED VIEW closed AS SELECT window_end, count(*) AS n
        FROM tumble(windows, ts, INTERVAL '1 minute') GROUP BY window_end EMIT ON WINDOW CLOSE";
    run(&mut client, view);
    let event = |id: usize, time: &str| format!(r#"{{"id": {id}, "ts": "2024-01-01T{time}"}}"#);
    send(broker, "windows", 0, &[&event(1, "00:00:10"), &event(2, "00:05:00")]);
    wait_for(&mut client, "SELECT count(*) FROM windows", "2");
    assert!(rows(&mut client, "SELECT n FROM closed").is_empty());
    send(broker, "windows", 1, &[&event(3, "00:00:20"), &event(4, "00:01:00")]);
    wait_for(&mut client, "SELECT n FROM closed", "2");
    let passed = "SELECT string_agg(to_char(watermark, 'MI:SS'), ' ' ORDER BY partition) FROM weir.watermarks";
    wait_for(&mut client, passed, "05:00 01:00");
}
