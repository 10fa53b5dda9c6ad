//! Short histories of concurrent INSERT, UPDATE, DELETE, MERGE and upserts against a model.
//!
//! Three sessions run a few statements each on one small table, alone or in transaction blocks, while heads of a few rows are flushed and parts
//! merged behind them. What each statement answered, and what the table holds in the end, must be what [`model`] can explain: an order of
//! commits in which every statement sees one version, and changes only rows that are still there. The tables: without a key, with
//! one, with partitions that rows move between, and one that feeds views (one on another, one over a join), which must show what their SELECTs show.
//!
//! The gate runs ten thousand, the test line a thousand: `WEIR_HISTORIES=n` says how many, and `WEIR_SEED=n` where they start.

mod model;
mod operation;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::Instant;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_engine::{Database, Error, ErrorKind, Options, Session, TransactionStatus};
use weir_storage::StoreOptions;

use model::{Done, Transaction};
use operation::{Answer, Operation};

const SESSIONS: usize = 3;
const HISTORIES: u64 = 1000;
/// Histories that share a database: one that grew old is not the subject.
const PER_DATABASE: u64 = 1000;

/// A table that histories run on.
struct Table {
    name: &'static str,
    create: &'static str,
    keyed: bool,
}

const TABLES: [Table; 5] = [
    Table { name: "plain", create: "CREATE TABLE plain (id int NOT NULL, v int NOT NULL)", keyed: false },
    Table { name: "keyed", create: "CREATE TABLE keyed (id int PRIMARY KEY, v int NOT NULL)", keyed: true },
    Table {
        name: "split",
        create: "CREATE TABLE split (id int, v int NOT NULL, PRIMARY KEY (id)) PARTITION BY (v % 2)",
        keyed: true,
    },
    Table {
        name: "viewed",
        create: "CREATE TABLE viewed (id int PRIMARY KEY, v int NOT NULL); \
                 CREATE MATERIALIZED VIEW of_viewed AS SELECT v % 3 AS g, count(*) AS n, max(v) AS hi FROM viewed GROUP BY 1",
        keyed: true,
    },
    Table {
        name: "joined",
        create: "CREATE TABLE joined (id int PRIMARY KEY, v int NOT NULL); \
                 CREATE MATERIALIZED VIEW of_joined AS SELECT v % 3 AS g, count(*) AS n, max(v) AS hi FROM joined GROUP BY 1; \
                 CREATE MATERIALIZED VIEW on_view AS SELECT n, count(*) AS groups, max(hi) AS hi FROM of_joined GROUP BY 1; \
                 CREATE MATERIALIZED VIEW pairs AS SELECT a.v % 3 AS g, count(*) AS n, sum(b.v) AS total FROM joined a \
                 LEFT JOIN joined b ON b.id = a.v GROUP BY 1",
        keyed: true,
    },
];

/// Tables, views that follow them, and what each is to show.
const VIEWS: [(&str, &str, &str); 4] = [
    ("viewed", "of_viewed", "SELECT v % 3, count(*), max(v) FROM viewed GROUP BY 1"),
    ("joined", "of_joined", "SELECT v % 3, count(*), max(v) FROM joined GROUP BY 1"),
    (
        "joined",
        "on_view",
        "SELECT n, count(*), max(hi) FROM (SELECT count(*) AS n, max(v) AS hi FROM joined GROUP BY v % 3) g GROUP BY 1",
    ),
    ("joined", "pairs", "SELECT a.v % 3, count(*), sum(b.v) FROM joined a LEFT JOIN joined b ON b.id = a.v GROUP BY 1"),
];

/// What one session shall do: blocks of statements; a block of one is a statement alone.
type Program = Vec<Vec<Operation>>;

#[test]
fn concurrent_changes_are_what_the_model_allows() {
    let number = |name: &str, default| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => default,
    };
    let (first, count) = (number("WEIR_SEED", 0), number("WEIR_HISTORIES", HISTORIES));
    let (started, mut statements, mut conflicts) = (Instant::now(), 0, 0);
    let mut next = first;
    while next < first + count {
        let until = (next + PER_DATABASE).min(first + count);
        let world = World::new(next / PER_DATABASE);
        for seed in next..until {
            let history = world.run(seed);
            statements += history.iter().map(|t| t.statements.len()).sum::<usize>();
            conflicts += history.iter().filter(|t| !t.committed).count();
        }
        next = until;
    }
    println!(
        "{count} histories of {statements} statements agree; {conflicts} blocks were refused; {:?}",
        started.elapsed()
    );
}

/// A database with sessions that wait for programs.
struct World {
    database: Database,
    programs: Vec<Sender<(&'static Table, Program)>>,
    done: Receiver<Result<Vec<Transaction>, String>>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(nth: u64) -> World {
        let dir = match std::path::Path::new("/dev/shm").is_dir() {
            true => tempfile::tempdir_in("/dev/shm"),
            false => tempfile::tempdir(),
        };
        let dir = dir.expect("a temporary folder");
        let options = Options {
            threads: Some(1),
            granule_rows: 4,
            // Every other database writes all rows as parts at once.
            bulk_bytes: if nth.is_multiple_of(2) { 16 << 20 } else { 0 },
            store: StoreOptions { head_rows_max: 6, ..StoreOptions::default() },
            ..Options::default()
        };
        let database = Database::open_with(dir.path(), options).expect("the database opens");
        for table in &TABLES {
            database.execute(table.create).expect("the table is made");
        }
        let (report, done) = channel();
        let (clock, barrier) = (Arc::new(AtomicU64::new(0)), Arc::new(Barrier::new(SESSIONS)));
        let start = |_| {
            let (send, receive) = channel();
            let worker = Worker {
                session: database.session(),
                clock: clock.clone(),
                barrier: barrier.clone(),
                report: report.clone(),
            };
            std::thread::spawn(move || worker.serve(&receive));
            send
        };
        let programs = (0..SESSIONS).map(start).collect();
        World { database, programs, done, _dir: dir }
    }

    /// Runs one history and checks it.
    fn run(&self, seed: u64) -> Vec<Transaction> {
        let mut rng = StdRng::seed_from_u64(seed);
        let table = &TABLES[seed as usize % TABLES.len()];
        let mut session = self.database.session();
        let ids: Vec<i32> = (0..8).filter(|_| rng.random_bool(0.5)).collect();
        let rows: Vec<(i32, i32)> = ids.into_iter().map(|id| (id, rng.random_range(0..6))).collect();
        let fail = |why: &dyn std::fmt::Display| -> ! { panic!("seed {seed}, table {}: {why}", table.name) };
        let setup = |session: &mut Session, sql: &str| {
            if let Err(error) = session.execute(sql) {
                fail(&format!("{sql}: {error}"));
            }
        };
        setup(&mut session, &format!("TRUNCATE {}", table.name));
        if !rows.is_empty() {
            setup(&mut session, &Operation::Insert(rows.clone()).sql(table.name));
        }
        for send in &self.programs {
            send.send((table, program(&mut rng, table.keyed))).expect("the session lives");
        }
        let done: Vec<_> = (0..SESSIONS).map(|_| self.done.recv().expect("the session lives")).collect();
        let mut history = Vec::new();
        for session in done {
            history.extend(session.unwrap_or_else(|why| fail(&why)));
        }
        let last = contents(&mut session, table.name).unwrap_or_else(|error| fail(&error));
        if !model::explains(&rows, &history, &last, table.keyed) {
            let lines: Vec<String> = history.iter().map(|t| format!("{t:?}")).collect();
            fail(&format!("no order explains\n{}\nfrom {rows:?}\nto {last:?}", lines.join("\n")));
        }
        if let Err(error) = session.execute("SET weir.view_rewrite = off") {
            fail(&error);
        }
        for (_, view, query) in VIEWS.iter().filter(|(of, ..)| *of == table.name) {
            let wrong = format!("(TABLE {view} EXCEPT ALL {query}) UNION ALL ({query} EXCEPT ALL TABLE {view})");
            match session.query(&wrong) {
                Ok(found) if found.rows() == 0 => {}
                Ok(found) => fail(&format!("{view} is wrong in {} rows: {history:?}", found.rows())),
                Err(error) => fail(&error),
            }
        }
        history
    }
}

fn program(rng: &mut StdRng, keyed: bool) -> Program {
    let blocks = rng.random_range(1..4);
    let block = |_| {
        let statements = if rng.random_bool(0.25) { 2 } else { 1 };
        (0..statements).map(|_| Operation::random(rng, keyed)).collect()
    };
    (0..blocks).map(block).collect()
}

/// All rows, sorted.
fn contents(session: &mut Session, table: &str) -> Result<Vec<(i32, i32)>, Error> {
    let found = session.query(&format!("SELECT id, v FROM {table}"))?;
    let mut rows = Vec::new();
    for batch in &found.batches {
        let (ids, values) = (batch.column(0).as_primitive::<Int32Type>(), batch.column(1).as_primitive::<Int32Type>());
        rows.extend(ids.values().iter().copied().zip(values.values().iter().copied()));
    }
    rows.sort_unstable();
    Ok(rows)
}

/// One session.
struct Worker {
    session: Session,
    /// Ticks at the begin and the end of each block.
    clock: Arc<AtomicU64>,
    barrier: Arc<Barrier>,
    report: Sender<Result<Vec<Transaction>, String>>,
}

impl Worker {
    fn serve(mut self, programs: &Receiver<(&'static Table, Program)>) {
        while let Ok((table, program)) = programs.recv() {
            self.barrier.wait();
            let transactions = program.iter().map(|block| self.block(table, block)).collect();
            if self.report.send(transactions).is_err() {
                return;
            }
        }
    }

    fn block(&mut self, table: &Table, block: &[Operation]) -> Result<Transaction, String> {
        let started = self.clock.fetch_add(1, Ordering::SeqCst);
        let explicit = block.len() > 1;
        if explicit {
            self.session.execute("BEGIN").map_err(|error| format!("BEGIN: {error}"))?;
        }
        let (mut statements, mut committed) = (Vec::new(), true);
        for operation in block {
            let answer = self.statement(table, operation)?;
            if !explicit && answer == Answer::Conflict {
                return Err(format!("a statement alone is tried again: {operation:?}"));
            }
            committed = !matches!(answer, Answer::Duplicate | Answer::Conflict);
            statements.push(Done { operation: operation.clone(), answer });
            if !committed {
                break;
            }
        }
        if explicit {
            let end = if committed { "COMMIT" } else { "ROLLBACK" };
            match self.session.execute(end) {
                Ok(_) => {}
                Err(error) if error.kind == ErrorKind::SerializationFailure && committed => committed = false,
                Err(error) => return Err(format!("{end}: {error}")),
            }
            if self.session.transaction_status() != TransactionStatus::Idle {
                return Err(format!("{end} does not end the block"));
            }
        }
        let ended = self.clock.fetch_add(1, Ordering::SeqCst);
        Ok(Transaction { started, ended, statements, committed })
    }

    fn statement(&mut self, table: &Table, operation: &Operation) -> Result<Answer, String> {
        let sql = operation.sql(table.name);
        let answer = match operation {
            Operation::Sum => self.session.query(&sql).map(|found| {
                let column = |at: usize| found.batches[0].column(at).as_primitive::<Int64Type>().value(0);
                Answer::Sum(column(0), column(1))
            }),
            _ => self.session.execute(&sql).map(Answer::Count),
        };
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) if error.kind == ErrorKind::UniqueViolation => Ok(Answer::Duplicate),
            Err(error) if error.kind == ErrorKind::SerializationFailure => Ok(Answer::Conflict),
            Err(error) => Err(format!("{sql}: {error} {:?}", error.detail)),
        }
    }
}
