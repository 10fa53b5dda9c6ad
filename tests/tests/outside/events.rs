//! Chains of events beside ClickHouse: windowFunnel, sequenceMatch, sequenceCount and retention over random events.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_tests::outside::chdb;
use weir_tests::process::{Server, rows};

const GROUPS: usize = 400;
const EVENTS_MAX: usize = 10;

const PATTERNS: [&str; 13] = [
    "(?1)(?2)",
    "(?1).*(?2)",
    "(?1)(?t<=3)(?2)",
    "(?1).*(?t>3)(?2)",
    "(?1).(?2)",
    "(?1).*(?2).*(?3)",
    "(?2)(?2)",
    "(?1)(?t==1)(?3)",
    "(?1).*(?1)",
    "(?1)(?t>2).(?3)",
    "(?1).(?t<4)(?2)(?t>=1)(?3)",
    "..(?1)",
    "(?1)(?t<2)(?2)",
];

#[test]
fn chains_of_events_are_what_clickhouse_finds() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut events = Vec::new();
    for group in 0..GROUPS {
        let mut time = 0;
        for _ in 0..random.random_range(0..EVENTS_MAX) {
            time += [1, 1, 2, 3, 5, 9][random.random_range(0..6)];
            events.push(format!("({group}, {time}, {})", random.random_range(0..5)));
        }
    }
    let events = events.join(", ");
    let conditions = "t, e = 1, e = 2, e = 3";
    let mut calls = vec!["retention(e = 1, e = 2, e = 3)".to_string()];
    for parameters in ["0", "1", "3", "10", "10, 'strict_order'", "10, 'strict_deduplication'", "10, 'strict_increase'"]
    {
        calls.push(format!("windowFunnel({parameters})({conditions})"));
        calls.push(format!("windowFunnel({parameters})(t, e >= 1, e = 2 OR e = 0, e >= 3)"));
    }
    for pattern in PATTERNS {
        calls.push(format!("sequenceMatch('{pattern}')({conditions})"));
        calls.push(format!("sequenceCount('{pattern}')({conditions})"));
    }
    let select = |call: &String| format!("SELECT g, {call} FROM events GROUP BY g ORDER BY g");

    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut client = server.connect();
    let made = format!(
        "CREATE TABLE events (g int, t timestamptz, e int);
         INSERT INTO events SELECT g, to_timestamp(t), e FROM (VALUES {events}) AS v (g, t, e)"
    );
    client.batch_execute(&made).expect("the events are stored");
    let mut script = vec![
        "CREATE TABLE events (g Int32, t DateTime, e Int32) ENGINE = MergeTree ORDER BY (g, t)".to_string(),
        format!("INSERT INTO events SELECT g, toDateTime(t), e FROM values('g Int32, t Int32, e Int32', {events})"),
    ];
    script.extend(calls.iter().map(&select));
    let mut theirs = chdb::rows(&script).into_iter();
    for call in &calls {
        for ours in rows(&mut client, &select(call)) {
            let theirs = theirs.next().expect("ClickHouse has as many rows");
            let plain: Vec<String> = theirs.iter().map(|value| value.replace('[', "{").replace(']', "}")).collect();
            assert_eq!(ours, plain, "seed {seed}: {call}");
        }
    }
    assert_eq!(theirs.next(), None, "ClickHouse has no more rows");
}
