//! A `weir serve` process of a test's own, on ports the system gives.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pg: String,
}

/// The `weir` binary: what `WEIR_BINARY` names, or that of this build profile.
pub fn weir_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("WEIR_BINARY") {
        return path.into();
    }
    // Tests are in target/PROFILE/deps, benchmarks in target/PROFILE.
    let own = std::env::current_exe().expect("a test has a path");
    let binary = own.ancestors().skip(1).take(2).map(|folder| folder.join("weir")).find(|binary| binary.exists());
    binary.unwrap_or_else(|| {
        panic!("weir is not built beside {}: run `cargo build --package weir-server` first", own.display())
    })
}

impl Server {
    /// Starts a server on a data directory and waits until it says that it is ready.
    pub fn start(data: &Path) -> Server {
        Server::start_with(data, &[])
    }

    /// The same with more arguments.
    pub fn start_with(data: &Path, args: &[&str]) -> Server {
        let mut child = Command::new(weir_binary())
            .args(["serve", "--pg", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("weir starts");
        let mut ready = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        stdout.read_line(&mut ready).expect("weir prints a line");
        let listens = ready.split("postgres on ").nth(1).and_then(|rest| rest.split([';', ',']).next());
        let address =
            listens.unwrap_or_else(|| panic!("weir did not say where it listens: {ready:?}")).trim().to_string();
        Server { child, pg: address }
    }

    /// `host:port` of its Postgres door.
    pub fn address(&self) -> &str {
        &self.pg
    }

    /// The port of its Postgres door.
    pub fn port(&self) -> u16 {
        self.pg.rsplit(':').next().and_then(|port| port.parse().ok()).expect("an address ends with a port")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        self.try_connect().expect("weir takes connections")
    }

    /// A new connection, unless the server is gone.
    pub fn try_connect(&self) -> Result<Client, postgres::Error> {
        let config = format!("host=127.0.0.1 port={} user=weir dbname=weir connect_timeout=5", self.port());
        Client::connect(&config, NoTls)
    }

    /// SIGKILL: no time for anything.
    pub fn kill(mut self) {
        self.child.kill().expect("the server is ours to kill");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM: waits for a clean end and asserts that it was one.
    pub fn stop(mut self) {
        let status = Command::new("kill").arg(self.pid().to_string()).status().expect("kill runs");
        assert!(status.success());
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                assert!(status.success(), "weir ended with {status}");
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "weir did not stop on SIGTERM");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Rows of one statement as text, by the simple protocol; NULL is `NULL`.
pub fn rows(client: &mut Client, sql: &str) -> Vec<Vec<String>> {
    use postgres::SimpleQueryMessage;
    let messages = client.simple_query(sql).unwrap_or_else(|e| panic!("{sql}\n{}", explain(&e)));
    messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_string()).collect())
            }
            _ => None,
        })
        .collect()
}

/// The one value of a statement, as text.
pub fn value(client: &mut Client, sql: &str) -> String {
    let rows = rows(client, sql);
    assert!(rows.len() == 1 && rows[0].len() == 1, "{sql} gave {rows:?}, not one value");
    rows[0][0].clone()
}

/// All that a server said of an error.
pub fn explain(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => {
            format!("{} {}: {} {:?} {:?}", db.severity(), db.code().code(), db.message(), db.detail(), db.hint())
        }
        None => error.to_string(),
    }
}

/// Runs `weir check`; its exit code and what it printed.
pub fn check(data: &Path) -> (i32, String) {
    let output = Command::new(weir_binary()).args(["check", "--data"]).arg(data).output().expect("weir check runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

/// Waits until a condition holds; panics with `what` when it does not within the time.
pub fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
