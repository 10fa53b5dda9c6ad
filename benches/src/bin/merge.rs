//! What a merge costs a running dashboard: the median latency of one query while nothing else runs, and while OPTIMIZE … FINAL merges
//! the table under it; and the memory that the process holds.
//!
//! `cargo run --release -p weir-benches --bin merge [ROWS] [PARTS]`, 20,000,000 rows in 20 parts by default. The parts overlap wholly in the
//! sorting key, so that every row is really merged. Prints both medians, their ratio, and the peak of anonymous memory (pages of
//! mapped files are the system's to take back; they are printed beside it).

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weir_engine::{Database, Options, Session};

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a dashboard asks every moment: the last quarter, by service and hour.
const QUERY: &str = "SELECT service, date_trunc('hour', ts) AS hour, count(*), avg(latency), max(latency), sum(bytes)
    FROM events WHERE ts >= TIMESTAMP '2024-01-01' + INTERVAL '15 days' GROUP BY service, hour ORDER BY service, hour";
/// Runs of the query while nothing else runs.
const IDLE_RUNS: usize = 40;
/// A dashboard's pause between two.
const PAUSE: Duration = Duration::from_millis(50);

fn main() -> Result<(), Box<dyn Error>> {
    let number = |at: usize, default: u64| std::env::args().nth(at).map_or(Ok(default), |text| text.parse());
    let (rows, parts) = (number(1, 20_000_000)?, number(2, 20)?.max(1));
    let dir = tempfile::tempdir()?;
    let mut options = Options::default();
    // Only the merge that is asked for, when it is asked for.
    options.store.background = false;
    let database = Database::open_with(dir.path(), options)?;
    load(&mut database.session(), rows, parts)?;
    let before = parts_of(&database)?;

    let mut session = database.session();
    run(&mut session)?;
    let idle = (0..IDLE_RUNS).map(|_| run(&mut session)).collect::<Result<Vec<_>, _>>()?;

    let (done, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watcher = watch_memory(&done, &peak);
    let merger = {
        let (database, done) = (database.clone(), done.clone());
        std::thread::spawn(move || {
            let started = Instant::now();
            let result = database.execute("OPTIMIZE TABLE events FINAL");
            done.store(true, Ordering::Relaxed);
            result.map(|_| started.elapsed())
        })
    };
    let mut merging = Vec::new();
    while !done.load(Ordering::Relaxed) {
        merging.push(run(&mut session)?);
    }
    let took = merger.join().map_err(|_| "the merge panicked")??;
    watcher.join().map_err(|_| "the watcher panicked")?;

    let (idle, merging_median) = (median(idle), median(merging.clone()));
    println!(
        "{rows} rows; parts {before} before, {} after; merged in {:.1} s",
        parts_of(&database)?,
        took.as_secs_f64()
    );
    println!("median latency idle     {:>8.1} ms ({IDLE_RUNS} runs)", idle * 1000.0);
    println!("median latency merging  {:>8.1} ms ({} runs)", merging_median * 1000.0, merging.len());
    println!("ratio                   {:>8.2}", merging_median / idle);
    println!("anonymous memory, peak  {:>8} MiB while merging", peak.load(Ordering::Relaxed) >> 10);
    println!("resident memory, peak   {:>8} MiB with mapped files", status("VmHWM") >> 10);
    Ok(())
}

/// Fills the table, one part an INSERT.
fn load(session: &mut Session, rows: u64, parts: u64) -> weir_engine::Result<()> {
    session.execute(
        "CREATE TABLE events (ts timestamp NOT NULL, service text NOT NULL, user_id bigint NOT NULL, latency double precision,
            bytes bigint, path text) ORDER BY (service, ts)",
    )?;
    let step = rows.div_ceil(parts);
    for part in 0..parts {
        let (from, to) = (part * step, rows.min((part + 1) * step));
        // Twenty days, each part over all of them.
        session.execute(&format!(
            "INSERT INTO events SELECT TIMESTAMP '2024-01-01' + (i * 7919 % 1728000) * INTERVAL '1 second',
                'service-' || (i * 31 % 20), i * 104729 % 1000000, (i * 2654435761 % 100000) / 100.0, i * 40503 % 65536,
                '/api/v' || (i % 3) || '/items/' || (i * 7 % 1000)
             FROM generate_series({from}::bigint, {to}::bigint - 1) AS g(i)"
        ))?;
    }
    Ok(())
}

/// Runs the query once; seconds.
fn run(session: &mut Session) -> weir_engine::Result<f64> {
    std::thread::sleep(PAUSE);
    let started = Instant::now();
    session.query(QUERY)?;
    Ok(started.elapsed().as_secs_f64())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

fn parts_of(database: &Database) -> weir_engine::Result<usize> {
    Ok(database.query("SELECT part FROM weir.parts WHERE \"table\" = 'events'")?.rows())
}

/// A line of `/proc/self/status`, in KiB.
fn status(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

fn watch_memory(done: &Arc<AtomicBool>, peak: &Arc<AtomicU64>) -> std::thread::JoinHandle<()> {
    let (done, peak) = (done.clone(), peak.clone());
    std::thread::spawn(move || {
        while !done.load(Ordering::Relaxed) {
            peak.fetch_max(status("RssAnon"), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
        }
    })
}
