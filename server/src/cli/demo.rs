//! `weir demo`: live shop events through an in-process Kafka, with nothing else to install.
//!
//! librdkafka's mock cluster is the broker; a generator produces events in the shape that a shop's web site sends; the table that
//! subscribes to the topic, and the view on it, are made by SQL like anybody's; and a few questions are asked over and over, so that their
//! answers are seen to change.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use weir_engine::Database;

use super::describe;
use super::serve::options;
use super::sql::Shell;
use crate::config::Config;
use crate::render::Form;
use crate::server::Server;

const TOPIC: &str = "events";
const PARTITIONS: i32 = 4;
/// How often the questions are asked.
const ASK_EVERY: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(2);

const VIEW: &str = "CREATE MATERIALIZED VIEW page_views_hourly
ENGINE = SummingMergeTree()
PARTITION BY toYYYYMMDD(hour)
ORDER BY (page_id, hour)
AS SELECT
    toStartOfHour(timestamp) as hour,
    page_id,
    count() as views,
    uniqExact(user_id) as unique_users
FROM events
WHERE event_type = 'page_viewed'
GROUP BY hour, page_id;";

const QUESTIONS: [(&str, &str); 4] = [
    (
        "events, and how long each took to be visible",
        "SELECT sum(\"offset\") AS events, sum(lag) AS waiting, round(sum(events_per_second)::numeric) AS per_second,
       max(latency_ms_p99) AS p99_ms FROM weir.kafka_status",
    ),
    (
        "the funnel of the last 30 minutes",
        "SELECT event_type, count() AS events, uniqExact(user_id) AS unique_users FROM events
WHERE event_type IN ('product_viewed', 'added_to_cart', 'checkout_started', 'purchase')
  AND timestamp >= now() - INTERVAL 30 MINUTE
GROUP BY event_type ORDER BY events DESC",
    ),
    (
        "top products by revenue in the last hour",
        "SELECT product_id, sum(amount) AS revenue, count() AS orders FROM events
WHERE event_type = 'purchase' AND timestamp >= now() - INTERVAL 1 HOUR
GROUP BY product_id ORDER BY revenue DESC LIMIT 5",
    ),
    (
        "page views of this hour, from the view",
        "SELECT page_id, views, unique_users FROM page_views_hourly
WHERE hour >= toStartOfHour(now()) ORDER BY views DESC LIMIT 5",
    ),
];

/// Runs the demo until a signal ends it.
pub(super) fn run(config: &Config, rate: u32) -> Result<ExitCode, String> {
    let cluster = MockCluster::new(1).map_err(|e| format!("cannot start the in-process Kafka: {e}"))?;
    cluster.create_topic(TOPIC, PARTITIONS, 1).map_err(|e| format!("cannot make the topic: {e}"))?;
    let db = Database::open_with(&config.data, options(config)).map_err(|e| describe(&e))?;
    db.register_place(crate::s3::SCHEME, crate::s3::opener());
    let brokers = cluster.bootstrap_servers();
    prepare(&db, &brokers)?;
    let ingest = weir_ingest::start(db.clone(), Vec::new());
    let server = Server::start(db.clone(), config).map_err(|e| e.to_string())?;
    print_welcome(&server, rate);
    let stop = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| produce(&brokers, rate, &stop));
        scope.spawn(|| ask(&db, &stop));
        let ended = server.wait_for_signal();
        stop.store(true, Ordering::Relaxed);
        ended
    });
    ended.map_err(|e| format!("cannot wait for signals: {e}"))?;
    ingest.stop();
    server.stop(GRACE);
    db.close().map_err(|e| describe(&e))?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the table and the view. The broker forgets its topic when the demo ends, so a table of an earlier run, which would wait for
/// offsets that are no more, is made anew.
fn prepare(db: &Database, brokers: &str) -> Result<(), String> {
    let table = format!(
        "CREATE TABLE events (
    event_type LowCardinality(String),
    user_id UInt64,
    timestamp DateTime64(3),
    session_id UUID,
    properties String,
    device LowCardinality(String),
    country LowCardinality(String),
    page_id LowCardinality(String),
    product_id LowCardinality(String),
    amount Decimal(10, 2)
) ENGINE = MergeTree()
PARTITION BY toYYYYMMDD(timestamp)
ORDER BY (event_type, timestamp, user_id)
TTL timestamp + INTERVAL 90 DAY
WITH ('connector' = 'kafka', 'topic' = '{TOPIC}', 'properties.bootstrap.servers' = '{brokers}', 'format' = 'json');"
    );
    for sql in ["DROP MATERIALIZED VIEW IF EXISTS page_views_hourly", "DROP TABLE IF EXISTS events", &table, VIEW] {
        db.execute(sql).map_err(|e| describe(&e))?;
    }
    Ok(())
}

fn print_welcome(server: &Server, rate: u32) {
    println!(
        "{rate} shop events a second are flowing from an in-process Kafka into table events and view page_views_hourly."
    );
    for address in server.pg_addresses() {
        println!("\n    psql -h {} -p {} -U weir\n", address.ip(), address.port());
    }
    println!("Questions worth asking, with their answers now (Ctrl-C ends the demo):");
}

/// Prints the questions with their answers, again and again.
fn ask(db: &Database, stop: &AtomicBool) {
    let mut shell = Shell { session: db.session(), form: Form::Table, timing: false };
    while !stop.load(Ordering::Relaxed) {
        pause(ASK_EVERY, stop);
        for (title, sql) in QUESTIONS {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            println!("\n-- {title}\n{sql};");
            shell.execute(sql);
        }
    }
}

fn pause(time: Duration, stop: &AtomicBool) {
    let end = Instant::now() + time;
    while !stop.load(Ordering::Relaxed) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Produces events at an even rate until the demo ends.
fn produce(brokers: &str, rate: u32, stop: &AtomicBool) {
    /// Events are sent in small bursts, so that the clock is asked seldom.
    const BURSTS_PER_SECOND: u32 = 50;
    let producer: BaseProducer<DefaultProducerContext> =
        match ClientConfig::new().set("bootstrap.servers", brokers).set("linger.ms", "5").create() {
            Ok(producer) => producer,
            Err(e) => return tracing::error!("cannot make a producer: {e}"),
        };
    let mut random = StdRng::seed_from_u64(7);
    let start = Instant::now();
    let mut sent = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        while sent < due {
            let event = event(&mut random);
            let key = sent.to_le_bytes();
            // A full queue means that the broker is behind: this event is sent with the next burst.
            if producer.send(BaseRecord::to(TOPIC).key(&key).payload(&event)).is_err() {
                break;
            }
            sent += 1;
        }
        producer.poll(Duration::from_secs(1) / BURSTS_PER_SECOND);
        std::thread::sleep(Duration::from_secs(1) / BURSTS_PER_SECOND);
    }
    let _ = producer.flush(Duration::from_secs(1));
}

/// One event: few users and products have most of them, and each step of the funnel is rarer than the one before.
fn event(random: &mut StdRng) -> String {
    const KINDS: [(&str, u32); 5] = [
        ("page_viewed", 60),
        ("product_viewed", 85),
        ("added_to_cart", 94),
        ("checkout_started", 98),
        ("purchase", 100),
    ];
    const DEVICES: [&str; 3] = ["mobile", "desktop", "tablet"];
    const COUNTRIES: [&str; 8] = ["US", "DE", "IN", "BR", "FR", "JP", "GB", "NG"];
    const PAGES: [&str; 6] = ["home", "search", "category", "product", "cart", "help"];
    let roll = random.random_range(0..100);
    let kind = KINDS.iter().find(|(_, up_to)| roll < *up_to).map_or("page_viewed", |(kind, _)| kind);
    let user = skewed(random, 50_000);
    let product = skewed(random, 500);
    let price = 5.0 + (product * 7919 % 20_000) as f64 / 100.0;
    let amount = if kind == "purchase" { format!("{price:.2}") } else { "0".to_string() };
    let event = serde_json::json!({
        "event_type": kind,
        "user_id": user,
        "timestamp": jiff::Timestamp::now().as_millisecond(),
        "session_id": format!("00000000-0000-4000-8000-{user:012}"),
        "properties": { "product_id": format!("sku-{product}"), "price": price, "referrer": COUNTRIES[user as usize % 8] },
        "device": DEVICES[(user % 7 / 3) as usize],
        "country": COUNTRIES[skewed(random, 8) as usize],
        "page_id": PAGES[skewed(random, 6) as usize],
        "product_id": format!("sku-{product}"),
    });
    // The amount as a number with exactly its digits.
    let mut text = event.to_string();
    text.pop();
    text + ",\"amount\":" + &amount + "}"
}

/// A number below `n`, small ones by far the likeliest.
fn skewed(random: &mut StdRng, n: u64) -> u64 {
    let u: f64 = random.random();
    ((u * u * u) * n as f64) as u64
}
