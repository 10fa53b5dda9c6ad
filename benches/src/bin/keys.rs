//! Keyed tables at size: `cargo run --release -p weir-benches --features outside --bin keys [ROWS]` (10 million unless it is said).
//!
//! 1. A table with a primary key is filled, and a random tenth of its rows is upserted by INSERT … ON CONFLICT DO UPDATE. Count and sum are compared
//!    with those of a PostgreSQL that was given the same statements.
//! 2. The scan `SELECT count(*), sum(x)` of that table is timed beside the same scan of a table that was filled with the same rows and never
//!    upserted, in turns: the ratio of the medians (limit 1.2).
//! 3. Rows are looked up one by one, by `WHERE id = $1` in a prepared statement over the wire: the median (limit 1 ms).
//!
//! The release build of the server must be there (`cargo build --release -p weir-server`).

use std::time::{Duration, Instant};

use postgres::Client;
use weir_tests::outside::oracle::Postgres;
use weir_tests::process::{Server, value};

const ROUNDS: usize = 21;
const LOOKUPS: u64 = 1_000_000;
const SUMS: &str = "SELECT count(*), sum(x) FROM";

fn main() {
    let rows: u64 = std::env::args().nth(1).map_or(10_000_000, |text| text.parse().expect("a number of rows"));
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(data.path());
    let mut weir = server.connect();
    let postgres = Postgres::start();
    let mut oracle = Client::connect(&postgres.config(), postgres::NoTls).expect("PostgreSQL takes connections");

    let fill = format!("SELECT i, (i * 7919 % 1000003)::int, 'row ' || i FROM generate_series(1::bigint, {rows}) i");
    let plain = format!("CREATE TABLE plain (id bigint PRIMARY KEY, x int, t text); INSERT INTO plain {fill}");
    let keyed = format!("CREATE TABLE keyed (id bigint PRIMARY KEY, x int, t text); INSERT INTO keyed {fill}");
    weir.batch_execute(&plain).expect("the plain table is filled");
    let took = timed(|| weir.batch_execute(&keyed).expect("the keyed table is filled"));
    println!("fill: {rows} rows in {:.2} s", took.as_secs_f64());
    oracle.batch_execute(&keyed).expect("PostgreSQL's table is filled");

    // Ids that a multiplication scatters over the table, each once, as long as it is no multiple of the factor.
    let upsert = format!(
        "INSERT INTO keyed SELECT i * 15485863 % {rows} + 1, -(i % 1000)::int, 'upserted' FROM generate_series(1::bigint, {}) i
         ON CONFLICT (id) DO UPDATE SET x = keyed.x + excluded.x, t = excluded.t",
        rows / 10
    );
    let took = timed(|| assert!(weir.execute(upsert.as_str(), &[]).expect("the upsert runs") > 0));
    let theirs = timed(|| assert!(oracle.execute(upsert.as_str(), &[]).expect("PostgreSQL's upsert runs") > 0));
    let (ours, expected) = (sums(&mut weir, "keyed"), sums(&mut oracle, "keyed"));
    assert_eq!(ours, expected, "count and sum are PostgreSQL's");
    println!(
        "upsert: {} rows in {:.2} s (PostgreSQL {:.2} s); count and sum {ours} are equal",
        rows / 10,
        took.as_secs_f64(),
        theirs.as_secs_f64()
    );

    let mut scans = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (table, times) in ["keyed", "plain"].iter().zip(&mut scans) {
            times.push(timed(|| drop(sums(&mut weir, table))));
        }
    }
    let [keyed, plain] = scans.map(median);
    println!(
        "scan: {:.1} ms upserted, {:.1} ms never: ratio {:.2} (limit 1.20)",
        keyed.as_secs_f64() * 1e3,
        plain.as_secs_f64() * 1e3,
        keyed.as_secs_f64() / plain.as_secs_f64()
    );

    let find = weir.prepare("SELECT x, t FROM keyed WHERE id = $1").expect("it binds");
    let count = LOOKUPS.min(rows);
    let times = (0..count).map(|i| {
        let id = (i * 32_452_843 % rows + 1) as i64;
        timed(|| assert_eq!(weir.query(&find, &[&id]).expect("it is looked up").len(), 1, "one row has the key {id}"))
    });
    let times: Vec<Duration> = times.collect();
    println!("look-up: median {:.3} ms of {count} (limit 1 ms)", median(times).as_secs_f64() * 1e3);
}

/// Count and sum as one text.
fn sums(client: &mut Client, table: &str) -> String {
    value(client, &format!("SELECT count || ' ' || sum FROM ({SUMS} {table}) s"))
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
