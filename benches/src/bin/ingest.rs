//! How fast events come in: `cargo run --release -p weir-benches --features outside --bin ingest [inserts | drain | latency]`, all three unless one is named.
//!
//! 1. Draining the prefilled soccer topic (3,251,294 JSON events on a real Kafka), as a ratio to the time that ClickHouse (chdb) takes to INSERT the
//!    same JSON lines from a file into a MergeTree table with the same sorting key, on the same machine, in turns.
//! 2. Event-to-visible latency at 20,000 events a second: from the record's time to the commit that shows it, as `weir.kafka_status` has
//!    it, and from the outside, by polling for the newest event.
//! 3. One-row INSERTs from 8 connections, each acknowledged after its fsync: rows a second, and the parts they end in.
//!
//! The release build of the server must be there (`cargo build --release -p weir-server`).

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weir_tests::outside::broker::{Broker, flush, send};
use weir_tests::outside::duckdb::python;
use weir_tests::outside::soccer::{EVENTS, json_lines, produce};
use weir_tests::process::{Server, eventually, value};

const TOPIC: &str = "soccer";
const ROUNDS: usize = 3;

fn main() {
    let named = std::env::args().nth(1);
    let is_wanted = |name: &str| named.as_ref().is_none_or(|named| named == name);
    if is_wanted("inserts") {
        inserts();
    }
    let broker = Broker::start("bench");
    if is_wanted("drain") {
        drain(&broker);
    }
    if is_wanted("latency") {
        latency(&broker);
    }
}

fn inserts() {
    const CONNECTIONS: usize = 8;
    const ROWS: usize = 10_000;
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    server.connect().batch_execute("CREATE TABLE small (c integer, seq bigint, t text)").expect("the table is made");
    let start = Instant::now();
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.connect();
                let insert = client.prepare("INSERT INTO small VALUES ($1, $2, 'some text')").expect("it binds");
                for seq in 0..ROWS / CONNECTIONS {
                    client.execute(&insert, &[&(connection as i32), &(seq as i64)]).expect("inserts never fail");
                }
            });
        }
    });
    let took = start.elapsed().as_secs_f64();
    let mut client = server.connect();
    assert_eq!(value(&mut client, "SELECT count(*) FROM small"), ROWS.to_string());
    let parts = value(&mut client, "SELECT count(*) FROM weir.parts WHERE \"table\" = 'small'");
    println!(
        "inserts: {ROWS} one-row INSERTs from {CONNECTIONS} connections: {:.0} acknowledged a second (limit 1000), {parts} parts",
        ROWS as f64 / took
    );
}

fn drain(broker: &Broker) {
    broker.create_topic(TOPIC, 4);
    produce(broker, TOPIC, 0, 1);
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let weir = drain_once(broker);
        let chdb = chdb_insert();
        ratios.push(weir.as_secs_f64() / chdb.as_secs_f64());
        println!(
            "drain {round}: Weir {:.2} s ({:.0} events/s), chdb INSERT from file {:.2} s, ratio {:.2}",
            weir.as_secs_f64(),
            EVENTS as f64 / weir.as_secs_f64(),
            chdb.as_secs_f64(),
            ratios[round - 1]
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!("drain: median ratio {:.2} (limit 2.0)", ratios[ROUNDS / 2]);
}

/// From CREATE TABLE on a new server until every event is visible, which is after it is durable.
fn drain_once(broker: &Broker) -> Duration {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    let start = Instant::now();
    let table = format!(
        "CREATE TABLE soccer (
            id bigint, ts timestamp, competition text, \"matchId\" bigint, \"matchPeriod\" text, \"eventSec\" double precision,
            \"teamId\" bigint, \"playerId\" bigint, \"eventId\" bigint, \"eventName\" text, \"subEventId\" integer,
            \"subEventName\" text, tags bigint[], positions text
        ) ORDER BY (competition, \"eventName\", ts)
        WITH ('connector' = 'kafka', 'topic' = '{TOPIC}', 'properties.bootstrap.servers' = '{}', 'format' = 'json')",
        broker.address()
    );
    client.batch_execute(&table).expect("the table is made");
    eventually("all events are in", Duration::from_secs(300), || {
        value(&mut client, "SELECT count(*) FROM soccer") == EVENTS.to_string()
    });
    start.elapsed()
}

const CHDB: &str = r#"
import sys, time, chdb
from chdb import session
lines, folder = sys.argv[1:]
s = session.Session(folder)
s.query("""CREATE TABLE soccer (id Int64, ts DateTime64(6), competition String, matchId Int64, matchPeriod String,
    eventSec Float64, teamId Int64, playerId Int64, eventId Int64, eventName String, subEventId Nullable(Int32),
    subEventName Nullable(String), tags Array(Int64), positions String)
    ENGINE = MergeTree ORDER BY (competition, eventName, ts)""")
start = time.monotonic()
s.query(f"INSERT INTO soccer SELECT * FROM file('{lines}', JSONEachRow, 'id Int64, ts DateTime64(6), competition String, matchId Int64, matchPeriod String, eventSec Float64, teamId Int64, playerId Int64, eventId Int64, eventName String, subEventId Nullable(Int32), subEventName Nullable(String), tags Array(Int64), positions String') SETTINGS input_format_json_read_objects_as_strings=1, input_format_json_read_arrays_as_strings=1, max_insert_threads=2, max_threads=2")
print(time.monotonic() - start)
print(s.query("SELECT count() FROM soccer"), file=sys.stderr)
"#;

/// The seconds that chdb takes for its INSERT alone.
fn chdb_insert() -> Duration {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(python())
        .args(["-c", CHDB])
        .arg(json_lines())
        .arg(folder.path().join("chdb"))
        .output()
        .expect("python starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.contains(&EVENTS.to_string()), "chdb failed: {complaint}");
    let seconds = String::from_utf8_lossy(&output.stdout).trim().parse().expect("chdb's time");
    Duration::from_secs_f64(seconds)
}

fn latency(broker: &Broker) {
    const RATE: usize = 20_000;
    const SECONDS: usize = 20;
    broker.create_topic("paced", 4);
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    let table = format!(
        "CREATE TABLE paced (id bigint, ts timestamptz, kind text, amount numeric(10,2)) ORDER BY (kind, ts)
         WITH ('connector' = 'kafka', 'topic' = 'paced', 'properties.bootstrap.servers' = '{}', 'format' = 'json')",
        broker.address()
    );
    client.batch_execute(&table).expect("the table is made");
    let mut polled = std::thread::scope(|scope| {
        let pacer = scope.spawn(|| pace(broker, RATE, SECONDS));
        let polled = poll(&mut client, Duration::from_secs(SECONDS as u64));
        pacer.join().expect("the pacer ends");
        polled
    });
    eventually("all events are in", Duration::from_secs(60), || {
        value(&mut client, "SELECT count(*) FROM paced") == (RATE * SECONDS).to_string()
    });
    let p99 = value(&mut client, "SELECT max(latency_ms_p99) FROM weir.kafka_status");
    polled.sort();
    println!("latency at {RATE} events/s: event-to-visible p99 {p99} ms by weir.kafka_status (limit 1000)");
    println!("latency: a poll saw the newest event {} ms old at the worst", polled.last().copied().unwrap_or_default());
}

/// Sends events at an even rate, stamped with the time they are sent.
fn pace(broker: &Broker, rate: usize, seconds: usize) {
    let producer = broker.producer();
    let start = Instant::now();
    let mut event = String::new();
    for id in 0..rate * seconds {
        let due = Duration::from_secs_f64(id as f64 / rate as f64);
        if id % 100 == 0 {
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        event.clear();
        let cents = id * 37 % 100_000;
        write!(
            event,
            "{{\"id\":{id},\"ts\":{},\"kind\":\"kind-{}\",\"amount\":{}.{:02}}}",
            now_millis(),
            id % 7,
            cents / 100,
            cents % 100
        )
        .expect("a string takes all");
        send(&producer, "paced", &id.to_le_bytes(), event.as_bytes());
    }
    flush(&producer);
}

/// How old the newest visible event is, in milliseconds, each time it is asked while events flow.
fn poll(client: &mut postgres::Client, time: Duration) -> Vec<i64> {
    let start = Instant::now();
    let mut seen = Vec::new();
    while start.elapsed() < time {
        let newest = value(client, "SELECT coalesce(extract(epoch FROM max(ts)) * 1000, 0)::bigint FROM paced");
        let newest: i64 = newest.parse().expect("a number");
        // The first second is the pipeline's start.
        if newest > 0 && start.elapsed() > Duration::from_secs(2) {
            seen.push(now_millis() - newest);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    seen
}

fn now_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
