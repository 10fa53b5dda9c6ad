//! The clients of `benches/compare/serving.py`: `serving PORT CONNECTIONS SECONDS MOMENT`.
//!
//! Standard input has the queries, a JSON list of texts whose `$1` is the moment since when they look at events (milliseconds since the epoch).
//! Each connection prepares all of them and runs one after the other, from another one on than its neighbours, until the time is over. First one
//! connection is alone, then all run at once; standard output gets what [`Figures`] has of both, as JSON.

use std::error::Error;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use postgres::{Client, NoTls};
use serde_json::{Value, json};

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Done<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, connections, seconds, moment] = arguments.as_slice() else {
        return Err("usage: serving PORT CONNECTIONS SECONDS MOMENT".into());
    };
    let queries: Vec<String> = serde_json::from_reader(std::io::stdin())?;
    let work = Work {
        config: format!("host=127.0.0.1 port={port} user=weir dbname=weir"),
        queries,
        since: UNIX_EPOCH + Duration::from_millis(moment.parse()?),
        time: Duration::from_secs_f64(seconds.parse()?),
    };
    let (alone, together) = (work.run(1)?, work.run(connections.parse()?)?);
    println!("{}", json!({ "alone": alone, "together": together }));
    Ok(())
}

/// What every connection does.
struct Work {
    config: String,
    queries: Vec<String>,
    since: SystemTime,
    time: Duration,
}

impl Work {
    /// Queries a second, and the median and the 99th of a hundred latencies, in milliseconds.
    fn run(&self, connections: usize) -> Done<Value> {
        let clients = (0..connections).map(|_| self.connect()).collect::<Done<Vec<_>>>()?;
        let start = Instant::now();
        let latencies = std::thread::scope(|scope| {
            let at_work: Vec<_> = clients
                .into_iter()
                .enumerate()
                .map(|(nth, client)| scope.spawn(move || self.ask(client, nth)))
                .collect();
            at_work.into_iter().map(|one| one.join().map_err(|_| "a connection panicked")?).collect::<Done<Vec<_>>>()
        })?;
        let took = start.elapsed().as_secs_f64();
        let mut all: Vec<Duration> = latencies.into_iter().flatten().collect();
        all.sort_unstable();
        let at = |share: f64| all[(all.len() as f64 * share) as usize].as_secs_f64() * 1000.0;
        if all.is_empty() {
            return Err("no query came to its end".into());
        }
        Ok(json!({ "queries_a_second": all.len() as f64 / took, "median_ms": at(0.5), "p99_ms": at(0.99) }))
    }

    /// A connection that has prepared all queries, with each run once.
    fn connect(&self) -> Done<Connection> {
        let mut client = Client::connect(&self.config, NoTls)?;
        client.batch_execute("SET weir.partial_cache = off")?;
        let statements = self.queries.iter().map(|query| client.prepare(query)).collect::<Result<Vec<_>, _>>()?;
        for statement in &statements {
            client.query(statement, &[&self.since])?;
        }
        Ok(Connection { client, statements })
    }

    /// How long each query took until its last row was here.
    fn ask(&self, mut connection: Connection, nth: usize) -> Done<Vec<Duration>> {
        let start = Instant::now();
        let mut latencies = Vec::new();
        for statement in connection.statements.iter().cycle().skip(nth) {
            if start.elapsed() >= self.time {
                break;
            }
            let asked = Instant::now();
            connection.client.query(statement, &[&self.since])?;
            latencies.push(asked.elapsed());
        }
        Ok(latencies)
    }
}

struct Connection {
    client: Client,
    statements: Vec<postgres::Statement>,
}
