//! The guide's Flink, Kafka Streams and Druid examples with a real Kafka, in and out, while the server is killed: what comes out is what went in, each record
//! once for a consumer that reads what is committed.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use postgres::Client;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::producer::BaseRecord;
use serde_json::{Value, json};
use weir_tests::outside::broker::{Broker, flush};
use weir_tests::outside::duckdb::root;
use weir_tests::process::{eventually, rows, value, weir_binary};

use super::{SOON, Weir, put, run, wait_for};

const PARTITIONS: i32 = 2;

fn guide() -> String {
    std::fs::read_to_string(root().join("../shared/guide.txt")).expect("the guide stands beside the checkout")
}

/// The statements that the guide's program gives to Flink, on this broker and topic.
fn flink(broker: &Broker, topic: &str) -> Vec<String> {
    let guide = guide();
    let statements = guide.split("t_env.execute_sql(\"\"\"").skip(1);
    let statements: Vec<&str> =
        statements.map(|rest| rest.split("\"\"\")").next().expect("a statement ends")).collect();
    assert_eq!(statements.len(), 3);
    let here = |sql: &&str| sql.replace("kafka:9092", &broker.address()).replace("= 'events'", &format!("= '{topic}'"));
    statements.iter().map(here).collect()
}

/// Events of some minutes, each partition out of order by less than the watermark waits, and at the end one an hour later that closes all windows.
fn produce(broker: &Broker, topic: &str, random: &mut StdRng, seconds: std::ops::Range<i64>, last: bool) -> usize {
    let producer = broker.producer();
    let mut sent = 0;
    let mut send = |random: &mut StdRng, partition: i32, millis: i64, kind: &str| {
        let (hours, minutes, millis) = (millis / 3_600_000, millis / 60_000 % 60, millis % 60_000);
        let time = format!("2026-01-01 {hours:02}:{minutes:02}:{:02}.{:03}", millis / 1000, millis % 1000);
        let event = json!({
            "event_type": kind, "user_id": format!("u{}", random.random_range(0..50)), "timestamp": time,
            "device": "mobile", "country": "DE", "page_id": "home", "amount": random.random_range(1..100),
            "properties": {
                "page_id": format!("page-{}", random.random_range(0..5)),
                "endpoint": format!("/api/{}", random.random_range(0..3)),
                "response_time": format!("{}", random.random_range(1..400)),
            },
        });
        put(&producer, BaseRecord::to(topic).key("").payload(event.to_string().as_str()).partition(partition));
        sent += 1;
    };
    for second in seconds.clone() {
        for partition in 0..PARTITIONS {
            for _ in 0..random.random_range(0..6) {
                let late = random.random_range(0..4_900).min(second * 1000);
                let kind = ["page_viewed", "page_viewed", "api_call", "purchase"][random.random_range(0..4)];
                send(random, partition, second * 1000 - late, kind);
            }
        }
    }
    if last {
        (0..PARTITIONS).for_each(|partition| send(random, partition, seconds.end * 1000 + 3_600_000, "the_end"));
    }
    flush(&producer);
    sent
}

fn kill(weir: &mut Weir) {
    weir.server.take().expect("it runs").kill();
    weir.up();
}

/// The rows of two queries, of one version, of which one has more than the other.
fn differences(client: &mut Client, a: &str, b: &str) -> String {
    let more = |a: &str, b: &str| format!("(SELECT count(*) FROM (({a}) EXCEPT ALL ({b})) d)");
    value(client, &format!("SELECT {} + {}", more(a, b), more(b, a)))
}

#[test]
fn flink_and_kafka_streams() {
    let broker = Broker::shared();
    broker.create_topic("guide.events", PARTITIONS);
    ["guide.minutes", "analytics.page_views_per_minute"].iter().for_each(|topic| broker.create_topic(topic, 2));
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut weir = Weir::start();
    let mut client = weir.client();
    // Flink's job as it stands there, into what is ClickHouse there and a table here; and the same into Kafka.
    let statements = flink(broker, "guide.events");
    statements.iter().for_each(|sql| run(&mut client, sql));
    let address = broker.address();
    run(
        &mut client,
        &format!(
            "CREATE TABLE minutes (page_id STRING, view_count BIGINT, window_start TIMESTAMP(3), window_end TIMESTAMP(3))
             WITH ('connector' = 'kafka', 'topic' = 'guide.minutes', 'properties.bootstrap.servers' = '{address}', 'format' = 'json')"
        ),
    );
    run(&mut client, &statements[2].replace("INSERT INTO page_views_per_minute", "INSERT INTO minutes"));
    // Kafka Streams' counts of a minute, to its topic, and its sliding average, which moves every ten seconds.
    run(
        &mut client,
        "CREATE MATERIALIZED VIEW page_view_counts AS
         SELECT properties['page_id'] AS page_id, window_start, window_end, count(*) AS views
         FROM TUMBLE(events, \"timestamp\", INTERVAL '1 minute') WHERE event_type = 'page_viewed'
         GROUP BY properties['page_id'], window_start, window_end",
    );
    run(
        &mut client,
        &format!(
            "CREATE SINK page_views_out FROM page_view_counts
             INTO KAFKA (topic = 'analytics.page_views_per_minute', brokers '{address}', format json, mode upsert)"
        ),
    );
    let sliding = "SELECT properties['endpoint'] AS endpoint, window_start, window_end,
            avg(properties['response_time']::double precision) AS response_time
        FROM HOP(events, \"timestamp\", INTERVAL '10 seconds', INTERVAL '5 minutes') WHERE event_type = 'api_call'
        GROUP BY properties['endpoint'], window_start, window_end";
    run(&mut client, &format!("CREATE MATERIALIZED VIEW response_times AS {sliding}"));
    drop(client);

    let mut sent = 0;
    for round in 0..6 {
        sent += produce(broker, "guide.events", &mut random, round * 60..(round + 1) * 60, round == 5);
        std::thread::sleep(Duration::from_millis(random.random_range(0..600)));
        kill(&mut weir);
    }
    let mut client = weir.client();
    wait_for(&mut client, "SELECT count(*) FROM events", &sent.to_string());
    let counted = "SELECT properties['page_id'], count(*), TUMBLE_START(\"timestamp\", INTERVAL '1' MINUTE),
            TUMBLE_END(\"timestamp\", INTERVAL '1' MINUTE)
        FROM events WHERE event_type = 'page_viewed' GROUP BY properties['page_id'], TUMBLE(\"timestamp\", INTERVAL '1' MINUTE)";
    let views = value(&mut client, "SELECT count(*) FROM events WHERE event_type = 'page_viewed'");
    let windows: usize = value(&mut client, &format!("SELECT count(*) FROM ({counted}) c")).parse().expect("a count");

    wait_for(&mut client, "SELECT sum(view_count) FROM page_views_per_minute", &views);
    let stored = "SELECT page_id, view_count, window_start, window_end FROM page_views_per_minute";
    eventually("the table follows", SOON, || differences(&mut client, stored, counted) == "0");
    assert_eq!(differences(&mut client, "SELECT * FROM response_times", sliding), "0");

    // Each window once, when it closed, which was when all of it was there. The table on the topic reads it back.
    eventually("all windows are out", SOON, || broker.read_committed("guide.minutes").len() >= windows);
    assert_eq!(broker.read_committed("guide.minutes").len(), windows);
    wait_for(&mut client, "SELECT count(*) FROM minutes", &windows.to_string());
    assert_eq!(differences(&mut client, "SELECT * FROM minutes", counted), "0");

    let state = "SELECT coalesce(sum(waiting), 0) FROM weir.sinks";
    eventually("all changes are out", SOON, || value(&mut client, state) == "0");
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for record in broker.read_committed("analytics.page_views_per_minute") {
        let row: Value = serde_json::from_slice(record.value.as_ref().expect("a row")).expect("JSON");
        let key = String::from_utf8(record.key.expect("a key")).expect("JSON");
        let views = row["views"].as_i64().expect("a number");
        let before = last.insert(key.clone(), views);
        assert!(before.is_none_or(|before| before < views), "{key}: {views} after {before:?}");
    }
    assert_eq!(last.len(), windows);
    assert_eq!(last.values().sum::<i64>().to_string(), views);
}

#[test]
fn druids_ingestion_spec() {
    let broker = Broker::shared();
    broker.create_topic("guide.druid", PARTITIONS);
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let guide = guide();
    let from = &guide[guide.find("{\n  \"type\": \"kafka\"").expect("the guide has a spec")..];
    let spec = &from[..from.find("\n}\n").expect("it ends") + 2];
    let mut convert = Command::new(weir_binary())
        .args(["convert", "druid", "--topic", "guide.druid", "--brokers", &broker.address(), "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("weir starts");
    convert.stdin.take().expect("stdin is piped").write_all(spec.as_bytes()).expect("weir reads");
    let script = convert.wait_with_output().expect("weir ends");
    assert!(script.status.success());
    let mut weir = Weir::start();
    let mut client = weir.client();
    run(&mut client, &String::from_utf8(script.stdout).expect("SQL is UTF-8"));
    drop(client);
    let mut sent = 0;
    for round in 0..4 {
        sent += produce(broker, "guide.druid", &mut random, round * 60..(round + 1) * 60, false);
        std::thread::sleep(Duration::from_millis(random.random_range(0..400)));
        kill(&mut weir);
    }
    let mut client = weir.client();
    wait_for(&mut client, "SELECT sum(count) FROM events", &sent.to_string());
    let rolled = "SELECT date_trunc('minute', __time), event_type, sum(count), sum(amount), APPROX_COUNT_DISTINCT_DS_THETA(unique_users)
        FROM events GROUP BY 1, 2";
    let raw = "SELECT date_trunc('minute', \"timestamp\"), event_type, count(*), sum(amount), count(DISTINCT user_id)
        FROM events_raw GROUP BY 1, 2";
    assert_eq!(differences(&mut client, rolled, raw), "0");
    assert_eq!(rows(&mut client, "SELECT count(*) FROM weir.dead_letters"), [["0"]]);
}
