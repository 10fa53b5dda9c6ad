//! The soccer stream: 3,251,294 real events as JSON through a real Kafka, exactly once whatever is killed.

use std::path::Path;
use std::time::{Duration, Instant};

use postgres::Client;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_tests::outside::broker::Broker;
use weir_tests::outside::duckdb;
use weir_tests::outside::soccer::{EVENTS, produce};
use weir_tests::process::{Server, check, eventually, rows, value};

const TOPIC: &str = "soccer";

fn create(client: &mut Client, broker: &Broker) {
    let table = format!(
        "CREATE TABLE soccer (
            id bigint NOT NULL, ts timestamp, competition text, \"matchId\" bigint, \"matchPeriod\" text,
            \"eventSec\" double precision, \"teamId\" bigint, \"playerId\" bigint, \"eventId\" bigint, \"eventName\" text,
            \"subEventId\" integer, \"subEventName\" text, tags bigint[], positions jsonb
        ) PARTITION BY date_trunc('year', ts) ORDER BY (competition, \"eventName\", ts)
        WITH ('connector' = 'kafka', 'topic' = '{TOPIC}', 'properties.bootstrap.servers' = '{}', 'format' = 'json')",
        broker.address()
    );
    client.batch_execute(&table).expect("the table is made");
    client.batch_execute(VIEW).expect("the view is made");
}

const VIEW: &str = "CREATE MATERIALIZED VIEW hourly AS
    SELECT competition, \"eventName\" AS event, date_trunc('hour', ts) AS hour,
           count(*) AS events, count(DISTINCT \"playerId\") AS players, avg(\"eventSec\") AS second
    FROM soccer GROUP BY competition, \"eventName\", hour";

/// Rows that the view has and its SELECT has not, and the other way round: in one statement, so of one version.
const VIEW_DIFFERENCES: &str = "WITH fresh AS (
        SELECT competition, \"eventName\" AS event, date_trunc('hour', ts) AS hour,
               count(*) AS events, count(DISTINCT \"playerId\") AS players, avg(\"eventSec\") AS second
        FROM soccer GROUP BY 1, 2, 3),
    kept AS (SELECT competition, event, hour, events, players, second FROM hourly)
    SELECT (SELECT count(*) FROM (SELECT * FROM fresh EXCEPT ALL SELECT * FROM kept) a)
         + (SELECT count(*) FROM (SELECT * FROM kept EXCEPT ALL SELECT * FROM fresh) b)";

fn assert_view_is_right(client: &mut Client) {
    assert_eq!(value(client, VIEW_DIFFERENCES), "0", "the view differs from its SELECT");
}

fn count(client: &mut Client) -> usize {
    value(client, "SELECT count(*) FROM soccer").parse().expect("a count is a number")
}

/// Waits until all events are in, and asserts that no more come.
fn drain(client: &mut Client) {
    eventually("all events are in", Duration::from_secs(300), || count(client) >= EVENTS);
}

/// The table against DuckDB's answers over the Parquet file.
fn assert_equals_duckdb(client: &mut Client) {
    let parquet = duckdb::data("soccer-events.parquet");
    let sums = "count(*), count(DISTINCT id), sum((id * 2654435761) % 1000003), sum(\"playerId\")";
    let expected = duckdb::rows(&format!("SELECT {sums} FROM '{}'", parquet.display()));
    assert_eq!(rows(client, &format!("SELECT {sums} FROM soccer")), expected);
    let group =
        "SELECT competition, \"matchPeriod\", \"eventName\", \"subEventName\", \"teamId\", count(*), min(id), max(ts)";
    let order = "GROUP BY 1, 2, 3, 4, 5 ORDER BY 1 NULLS LAST, 2 NULLS LAST, 3 NULLS LAST, 4 NULLS LAST, 5 NULLS LAST";
    let expected = duckdb::rows(&format!("{group} FROM '{}' {order}", parquet.display()));
    let found = rows(client, &format!("{group} FROM soccer {order}"));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(shorten(found), shorten(expected));
    }
    // The nested parts: tags as an array, positions as json.
    let tags = "SELECT count(*), sum(t) FROM (SELECT unnest(tags) AS t FROM";
    let expected = duckdb::rows(&format!("{tags} '{}') s", parquet.display()));
    assert_eq!(rows(client, &format!("{tags} soccer) s")), expected);
    let expected = duckdb::rows(&format!(
        "SELECT sum(positions[1].x), sum(positions[2].y), sum(len(positions)) FROM '{}'",
        parquet.display()
    ));
    let positions = "SELECT sum((positions -> 0 ->> 'x')::bigint), sum((positions -> 1 ->> 'y')::bigint),
        sum(jsonb_array_length(positions)) FROM soccer";
    assert_eq!(rows(client, positions), expected);
}

/// A timestamp's trailing zeros of the fraction are not data: DuckDB's driver prints six digits, Postgres none.
fn shorten(row: &[String]) -> Vec<String> {
    row.iter()
        .map(|v| match v.split_once('.') {
            Some((whole, fraction)) if whole.len() == 19 => {
                let fraction = fraction.trim_end_matches('0');
                if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") }
            }
            _ => v.clone(),
        })
        .collect()
}

fn assert_sound(data: &Path) {
    let (code, said) = check(data);
    assert_eq!(code, 0, "weir check found damage: {said}");
}

#[test]
fn every_event_once_while_the_server_is_killed() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let broker = Broker::start("kill");
    broker.create_topic(TOPIC, 4);
    produce(&broker, TOPIC, 1000, seed);
    let data = tempfile::tempdir().expect("a temporary folder");
    let mut server = Server::start(data.path());
    create(&mut server.connect(), &broker);
    for round in 1..=6 {
        let mut client = server.connect();
        let before = count(&mut client);
        // Somewhere in the stream, at no special moment: after some more events and then some more time.
        let more = random.random_range(1..EVENTS / 9);
        eventually("events come in", Duration::from_secs(120), || count(&mut client) >= (before + more).min(EVENTS));
        std::thread::sleep(Duration::from_millis(random.random_range(0..300)));
        let seen = count(&mut client);
        server.kill();
        let start = Instant::now();
        server = Server::start(data.path());
        let mut client = server.connect();
        println!("kill {round}: {seen} events seen, up again after {:?}", start.elapsed());
        assert!(count(&mut client) >= seen, "events that were visible are gone");
        assert_view_is_right(&mut client);
    }
    let mut client = server.connect();
    drain(&mut client);
    eventually("all broken records are in", Duration::from_secs(60), || {
        value(&mut client, "SELECT count(*) FROM weir.dead_letters") == "1000"
    });
    let places =
        "SELECT count(DISTINCT (partition, \"offset\")), count(reason) FROM weir.dead_letters WHERE topic = 'soccer'";
    assert_eq!(rows(&mut client, places), [["1000", "1000"]]);
    assert_equals_duckdb(&mut client);
    assert_view_is_right(&mut client);
    drop(client);
    server.stop();
    assert_sound(data.path());
    // Nothing is read again after a clean stop.
    let server = Server::start(data.path());
    let mut client = server.connect();
    assert_eq!(count(&mut client), EVENTS);
    assert_view_is_right(&mut client);
}

#[test]
fn every_event_once_while_the_broker_is_restarted() {
    let broker = Broker::start("restart");
    broker.create_topic(TOPIC, 4);
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    create(&mut client, &broker);
    produce(&broker, TOPIC, 0, 1);
    for _ in 0..2 {
        broker.restart();
    }
    drain(&mut client);
    assert_equals_duckdb(&mut client);
    assert_view_is_right(&mut client);
    drop(client);
    server.stop();
    assert_sound(data.path());
}
