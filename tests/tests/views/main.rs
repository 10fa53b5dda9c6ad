//! Views are never wrong: random changes of tables under random views, each of which must equal its SELECT after every step.
//!
//! A seed makes two or three tables and a few views: over one table, over joins of all kinds, over UNION ALL, over other views, over windows of
//! time; with and without groups. Then it inserts (late rows and bursts among them), upserts, updates, deletes, truncates, changes several
//! tables in one transaction or takes that back, alters tables, makes and drops views, and reopens the database: closed in
//! order, or as a crash would have left it. Heads of a few rows are flushed, and parts merged, behind all that.
//!
//! Queries like the views are asked as well, which some view may answer: the answer must be that of the table.
//!
//! The gate runs three thousand seeds, the test line fewer: `WEIR_VIEW_SEEDS=n` says how many, and `WEIR_SEED=n` where they start.

mod generator;

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arrow::array::RecordBatch;
use generator::{Step, World};
use rand::SeedableRng;
use rand::rngs::StdRng;
use weir_engine::format::{FormatSettings, text_at};
use weir_engine::{Database, Error, Options};
use weir_storage::StoreOptions;

const SEEDS: u64 = 60;
/// Steps of a seed.
const STEPS: usize = 12;

#[test]
fn views_equal_their_selects_after_every_step() {
    let number = |name: &str, default| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => default,
    };
    let (first, count) = (number("WEIR_SEED", 0), number("WEIR_VIEW_SEEDS", SEEDS));
    let (started, next) = (Instant::now(), AtomicU64::new(first));
    let work = || {
        let mut done = Done::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return done;
            }
            done.add(run(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}")));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let Done { views, compared, asked, rewritten } = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Done::default();
        workers.into_iter().for_each(|worker| all.add(worker.join().unwrap_or_else(|panic| resume_unwind(panic))));
        all
    });
    println!(
        "{count} seeds from {first}: {views} views, {compared} comparisons, {asked} queries of which a view answered \
         {rewritten}, no difference; {:?}",
        started.elapsed()
    );
    assert!(views > count && compared > views * 4, "the seeds do something");
    assert!(rewritten > count / 2 && rewritten < asked, "views answer some queries, and some they do not");
}

/// What seeds have done.
#[derive(Default)]
struct Done {
    /// Views that were made.
    views: u64,
    /// How often one was compared.
    compared: u64,
    /// Queries that a view may answer.
    asked: u64,
    /// Those that one answered.
    rewritten: u64,
}

impl Done {
    fn add(&mut self, other: Done) {
        self.views += other.views;
        self.compared += other.compared;
        self.asked += other.asked;
        self.rewritten += other.rewritten;
    }
}

/// Runs one seed.
fn run(seed: u64) -> Result<Done, String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let dir = match Path::new("/dev/shm").is_dir() {
        true => tempfile::tempdir_in("/dev/shm"),
        false => tempfile::tempdir(),
    };
    let dir = dir.map_err(|error| error.to_string())?;
    let (mut world, mut log, mut generation) = (World::new(&mut rng), Vec::new(), 0);
    let mut database = open(&dir.path().join("0"), seed)?;
    let run = |database: &Database, sql: &str, log: &mut Vec<String>| {
        log.push(sql.to_string());
        database.session().execute(sql).map(drop).map_err(|error| told(&error, log))
    };
    for sql in world.tables() {
        run(&database, &sql, &mut log)?;
    }
    let mut done = Done::default();
    for _ in 0..STEPS {
        match world.step(&mut rng) {
            Step::Sql(sql) => run(&database, &sql, &mut log)?,
            Step::Reopen => {
                log.push("-- reopened".into());
                database.close().map_err(|error| told(&error, &log))?;
                database = open(&dir.path().join(generation.to_string()), seed)?;
            }
            Step::Crash => {
                log.push("-- crashed".into());
                let from = dir.path().join(generation.to_string());
                generation += 1;
                let to = dir.path().join(generation.to_string());
                copy(&from, &to).map_err(|error| error.to_string())?;
                database = open(&to, seed)?;
            }
        }
        for view in world.views() {
            done.compared += 1;
            compare(&database, &format!("TABLE {}", view.name), &view.query)
                .map_err(|why| format!("{} is wrong: {why}, after\n{};", view.name, log.join(";\n")))?;
        }
        for question in (0..2).filter_map(|_| world.question(&mut rng)) {
            done.asked += 1;
            done.rewritten += u64::from(is_rewritten(&database, &question)?);
            compare(&database, &question, &question)
                .map_err(|why| format!("{question} is answered wrong: {why}, after\n{};", log.join(";\n")))?;
        }
    }
    database.close().map_err(|error| told(&error, &log))?;
    Ok(Done { views: world.made(), ..done })
}

/// Whether a view answers a query.
fn is_rewritten(database: &Database, query: &str) -> Result<bool, String> {
    let plan = database.session().query(&format!("EXPLAIN {query}")).map_err(|error| format!("{query}: {error}"))?;
    let lines = plan.batches.iter().map(|lines| format!("{:?}", lines.column(0)));
    Ok(lines.into_iter().any(|lines| lines.contains("State Scan on")))
}

/// Compares what a query gives with what another gives over the tables themselves.
fn compare(database: &Database, asked: &str, query: &str) -> Result<(), String> {
    let rows = |sql: &str, rewrite: &str| {
        let mut session = database.session();
        session.execute(&format!("SET weir.view_rewrite = {rewrite}")).map_err(|error| error.to_string())?;
        let found = session.query(sql).map_err(|error| format!("{sql}: {error}"))?;
        let settings = FormatSettings::of(&session.function_context());
        let row = |batch: &RecordBatch, row: usize| -> Vec<Option<String>> {
            let cells = found.columns.iter().zip(batch.columns());
            cells.map(|(column, array)| text_at(&column.ty, array, row, &settings)).collect()
        };
        let rows = found.batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|at| row(batch, at)));
        let mut rows: Vec<Vec<Option<String>>> = rows.collect();
        rows.sort_unstable();
        Ok::<_, String>(rows)
    };
    let (shown, wanted) = (rows(asked, "on")?, rows(query, "off")?);
    if shown == wanted {
        return Ok(());
    }
    let only = |rows: &[Vec<Option<String>>], others: &[Vec<Option<String>>]| -> Vec<Vec<Option<String>>> {
        rows.iter().filter(|row| !others.contains(row)).cloned().collect()
    };
    Err(format!(
        "it has {} rows and should have {}; more: {:?}; less: {:?}",
        shown.len(),
        wanted.len(),
        only(&shown, &wanted),
        only(&wanted, &shown)
    ))
}

fn told(error: &Error, log: &[String]) -> String {
    format!("{error} {:?}\n{};", error.detail, log.join(";\n"))
}

fn open(dir: &Path, seed: u64) -> Result<Database, String> {
    let options = Options {
        threads: Some(1 + seed as usize % 2),
        granule_rows: 4,
        // Some databases write all rows as parts at once.
        bulk_bytes: if seed.is_multiple_of(4) { 0 } else { 16 << 20 },
        store: StoreOptions { head_rows_max: 8, ..StoreOptions::default() },
        ..Options::default()
    };
    Database::open_with(dir, options).map_err(|error| error.to_string())
}

/// What a crash leaves: the files as they are.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to)?,
            // Background work may take a file away.
            false => match std::fs::copy(entry.path(), to) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                result => drop(result?),
            },
        }
    }
    Ok(())
}
