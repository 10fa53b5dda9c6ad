//! Every SQL script again, embedded and under hostile settings: one-row batches, one-row granules, a head of one row, one thread and many, no
//! memory (so that all goes to disk), and a restart after each statement outside of a transaction. Answers must not depend on any of that.
//!
//! Errors are compared without their SQLSTATE, which only the wire has.

use std::fmt;
use std::time::{Duration, Instant};

use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};
use weir_engine::format::{FormatSettings, text_at};
use weir_engine::{Database, Error, Options, Outcome, Session, TransactionStatus};
use weir_storage::StoreOptions;
use weir_tests::script;

/// How long all scripts may take under one of the settings, all of which run at a time; scripts that come later are left out, which is said.
const TIME_MAX: Duration = Duration::from_secs(700);

/// One set of settings.
#[derive(Clone)]
struct Hostile {
    name: &'static str,
    options: Options,
    /// Whether the database is closed and opened again between statements.
    restarts: bool,
}

fn settings() -> Vec<Hostile> {
    let store = |head_rows_max| StoreOptions { head_rows_max, background: false, ..StoreOptions::default() };
    let tiny = Options { batch_rows: 1, granule_rows: 1, store: store(1), ..Options::default() };
    // An operator may hold nothing: whatever can goes to disk.
    let small =
        Options { operator_memory_limit: 0, batch_rows: 3, granule_rows: 2, store: store(2), ..Options::default() };
    vec![
        Hostile {
            name: "rows one by one, one thread",
            options: Options { threads: Some(1), ..tiny.clone() },
            restarts: false,
        },
        Hostile {
            name: "rows one by one, many threads",
            options: Options { threads: Some(8), ..tiny },
            restarts: false,
        },
        Hostile { name: "restarts, no memory", options: Options { threads: Some(2), ..small }, restarts: true },
    ]
}

/// An embedded database as the scripts' runner sees it.
struct Embedded {
    dir: tempfile::TempDir,
    hostile: Hostile,
    open: Option<(Database, Session)>,
    /// SET statements, which a new session is given again.
    settings: Vec<String>,
    /// Whether something was made that ends with its session.
    bound_to_session: bool,
}

/// What the engine said of an error.
#[derive(Debug)]
struct Refused(Error);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.message)
    }
}

impl std::error::Error for Refused {}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused(error)
    }
}

impl Embedded {
    fn new(hostile: &Hostile) -> Embedded {
        Embedded {
            dir: tempfile::tempdir().expect("a temporary folder"),
            hostile: hostile.clone(),
            open: None,
            settings: Vec::new(),
            bound_to_session: false,
        }
    }

    fn session(&mut self) -> Result<&mut Session, Error> {
        if self.open.is_none() {
            let database = Database::open_with(self.dir.path(), self.hostile.options.clone())?;
            let mut session = database.session();
            for setting in &self.settings {
                run_all(&mut session, setting)?;
            }
            self.open = Some((database, session));
        }
        match &mut self.open {
            Some((_, session)) => Ok(session),
            None => Err(Error::internal("the database is not open")),
        }
    }

    /// Notes what a new session must be told, and begins one if that is wanted.
    fn after(&mut self, sql: &str) -> Result<(), Error> {
        let words: Vec<String> = sql.split_whitespace().take(3).map(str::to_ascii_lowercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["set" | "reset" | "discard", ..] => self.settings.push(sql.to_string()),
            ["prepare" | "declare", ..] | ["create", "temp" | "temporary", ..] => self.bound_to_session = true,
            _ => {}
        }
        let idle = matches!(&self.open, Some((_, session)) if session.transaction_status() == TransactionStatus::Idle);
        if self.hostile.restarts
            && idle
            && !self.bound_to_session
            && let Some((database, session)) = self.open.take()
        {
            drop(session);
            database.close()?;
        }
        Ok(())
    }
}

/// The rows of a text's last statement, or how many rows it changed.
enum Answer {
    Rows(Vec<Vec<String>>),
    Done(u64),
}

/// How many rows a command's tag says: the last word of `INSERT 0 3`.
fn count_of(tag: &str) -> u64 {
    tag.rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn run_all(session: &mut Session, sql: &str) -> Result<Answer, Error> {
    let parsed = session.parse(sql)?;
    let mut answer = Answer::Done(0);
    for statement in &parsed {
        let prepared = session.prepare(statement, &[])?;
        answer = match session.run(&prepared, &[])? {
            Outcome::Rows(mut rows) => {
                let settings = FormatSettings::of(&session.function_context());
                let mut texts: Vec<Vec<String>> = Vec::new();
                while let Some(batch) = rows.next()? {
                    for row in 0..batch.num_rows() {
                        let cells = rows.columns().iter().zip(batch.columns());
                        let cells = cells.map(|(c, array)| text_at(&c.ty, array, row, &settings));
                        texts.push(script::shown_row(cells.map(|text| script::shown(text.as_deref())).collect()));
                    }
                }
                Answer::Rows(texts)
            }
            Outcome::Command { tag } => Answer::Done(count_of(&tag)),
            _ => Answer::Done(0),
        };
    }
    Ok(answer)
}

impl DB for Embedded {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let session = self.session()?;
        let answer = run_all(session, sql);
        if answer.is_err() {
            session.fail_transaction();
        }
        let answer = answer?;
        self.after(sql)?;
        Ok(match answer {
            Answer::Rows(rows) => {
                let width = rows.first().map_or(1, Vec::len);
                DBOutput::Rows { types: vec![DefaultColumnType::Text; width], rows }
            }
            Answer::Done(count) => DBOutput::StatementComplete(count),
        })
    }

    fn engine_name(&self) -> &str {
        "weir"
    }
}

/// A script without the SQLSTATEs of its errors.
fn without_states(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let end = match line.contains(" error ") {
            true => line.find(" \\(SQLSTATE").unwrap_or(line.len()),
            false => line.len(),
        };
        out.push_str(&line[..end]);
        out.push('\n');
    }
    out
}

#[test]
fn every_script_gives_the_same_under_hostile_settings() {
    let settings = settings();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = settings.iter().map(|hostile| scope.spawn(|| failures(hostile))).collect();
        running.into_iter().flat_map(|one| one.join().expect("scripts do not panic")).collect()
    });
    assert!(failures.is_empty(), "{} scripts failed:\n{}", failures.len(), failures.join("\n"));
}

/// The scripts that fail under these settings, and why.
fn failures(hostile: &Hostile) -> Vec<String> {
    let mut failures = Vec::new();
    let started = Instant::now();
    let mut left_out = 0;
    for path in script::scripts(&script::folder()) {
        if started.elapsed() > TIME_MAX {
            left_out += 1;
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("the script can be read");
        let mut runner = Runner::new(|| {
            let embedded = Embedded::new(hostile);
            async move { Ok(embedded) }
        });
        runner.with_validator(script::exactly);
        let name = path.display().to_string();
        if let Err(why) = runner.run_script_with_name(&without_states(&text), name) {
            failures.push(format!("{}: {}", hostile.name, why.display(false)));
        }
    }
    assert!(left_out < 4, "{}: {left_out} scripts were left out for lack of time", hostile.name);
    failures
}
