//! A real PostgreSQL of the test's own, as the oracle for whatever PostgreSQL has an answer to.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::process::eventually;
use postgres::{Client, NoTls};

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A running PostgreSQL 15 with an empty database, in UTC and collation C. Dropping it stops it.
pub struct Postgres {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Postgres {
    /// Starts it in a temporary folder.
    pub fn start() -> Postgres {
        let dir = tempfile::Builder::new().prefix("weir-oracle").tempdir().expect("a temporary folder");
        // PostgreSQL refuses to run as root; its Debian package makes a user for it.
        run(Command::new("chown").arg("postgres").arg(dir.path()));
        let data = dir.path().join("data");
        run(as_postgres("initdb")
            .args(["--no-locale", "--encoding=UTF8", "--auth=trust", "--no-sync", "-D"])
            .arg(&data)
            .stdout(Stdio::null()));
        let port = free_port();
        let child = as_postgres("postgres")
            .args(["-c", "timezone=UTC", "-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c"])
            .arg(format!("unix_socket_directories={}", dir.path().display()))
            .args(["-p", &port.to_string(), "-D"])
            .arg(&data)
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres starts");
        let postgres = Postgres { child, port, _dir: dir };
        eventually("PostgreSQL takes connections", Duration::from_secs(30), || postgres.try_connect().is_ok());
        postgres
    }

    /// A libpq connection string.
    pub fn config(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port)
    }

    /// A libpq connection string of a database of its own, with nothing in it: quicker than a server of its own.
    pub fn fresh(&self) -> String {
        let name = format!("fresh_{}", rand::random::<u64>());
        let made = self.try_connect().and_then(|mut client| client.batch_execute(&format!("CREATE DATABASE {name}")));
        made.expect("a database is made");
        self.config().replace("dbname=postgres", &format!("dbname={name}"))
    }

    fn try_connect(&self) -> Result<Client, postgres::Error> {
        Client::connect(&self.config(), NoTls)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // runuser hands SIGTERM on to postgres, which then shuts down.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn as_postgres(program: &str) -> Command {
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(Path::new(BIN).join(program)).current_dir("/");
    command
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(status.success(), "{command:?} failed");
}

/// A port that nothing listens on now, nor on the next. It is below those that the system gives to outgoing connections: one of these
/// could take it before it is listened on.
pub fn free_port() -> u16 {
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut ports = (0..1000).map(|_| rand::random_range(15_000..32_000));
    ports.find(|port| is_free(*port) && is_free(port + 1)).expect("loopback has ports")
}
