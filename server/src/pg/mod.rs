//! The Postgres wire protocol, version 3.0.
//!
//! A connection is a thread that reads a message, does what it says and writes the answer, with blocking I/O throughout: engine work blocks
//! anyway, the socket's own buffer is the back-pressure, and no message waits for a scheduler. `pgwire` gives the backend messages, SCRAM
//! and TLS; the state machine is ours, because what clients rely on is in its details:
//!
//! | file | is |
//! |---|---|
//! | `frontend` | messages from the client: framing and decoding, which cannot panic |
//! | `output` | messages to the client, gathered and sent |
//! | `startup` | encryption, start-up packet, log-in |
//! | `connection` | the message loop, errors and skipping to Sync, the simple protocol, transactions |
//! | `extended` | Parse, Bind, Describe, Execute, Close: statements and portals |
//! | `copy` | COPY in both directions |
//! | `rows` | record batches as DataRow messages |
//! | `failure` | errors and their SQLSTATE |
//! | `watch` | notices that a client is gone while its query runs |
//!
//! Cancel requests come on connections of their own: [`Shared`] knows every session by process id and secret.

// An error carries all of Postgres's fields; it ends a statement, so that its size is paid for once.
#![allow(clippy::result_large_err)]

mod connection;
mod copy;
mod extended;
mod failure;
mod frontend;
mod output;
mod rows;
mod startup;
mod stream;
mod watch;

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pgwire::tokio::tokio_rustls::rustls::ServerConfig;
use weir_engine::{CancelHandle, Database, Session};

use crate::config::Config;
use connection::Connection;
use failure::Failure;
pub(crate) use failure::sqlstate;
use startup::{Greeting, Refusal, Verifier};
use stream::Stream;
use watch::Activity;

/// The stack of a connection's thread: deep expressions are bound recursively on it.
const STACK_BYTES: usize = 16 << 20;

/// How many connections beyond the limit may be in the middle of their log-in, to be told about the limit or to cancel.
const GREETINGS_MAX: usize = 64;

/// What all connections share.
pub(crate) struct Shared {
    db: Database,
    password: Option<Verifier>,
    tls: Option<Arc<ServerConfig>>,
    connections_max: usize,
    sessions: Mutex<Sessions>,
    /// Signalled whenever a session ends.
    ended: Condvar,
    /// Sockets being served, logged in or not.
    admitted: AtomicUsize,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Sessions {
    by_pid: HashMap<i32, Entry>,
}

/// What others may do to a session.
struct Entry {
    secret: u32,
    cancel: CancelHandle,
    socket: TcpStream,
    activity: Arc<Activity>,
}

/// The Postgres door: give it sockets.
#[derive(Clone)]
pub(crate) struct Door {
    shared: Arc<Shared>,
}

impl Door {
    /// Reads certificates and prepares the password.
    pub(crate) fn new(db: Database, config: &Config) -> Result<Door, String> {
        let shared = Arc::new(Shared {
            db,
            password: config.password.as_deref().map(Verifier::new),
            tls: config.tls.as_ref().map(stream::tls_config).transpose()?,
            connections_max: config.max_connections,
            sessions: Mutex::default(),
            ended: Condvar::new(),
            admitted: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        });
        watch::start(&shared);
        Ok(Door { shared })
    }

    /// Serves a socket on a thread of its own.
    pub(crate) fn admit(&self, socket: TcpStream, peer: SocketAddr) {
        let shared = Arc::clone(&self.shared);
        if shared.admitted.fetch_add(1, Ordering::Relaxed) >= shared.connections_max + GREETINGS_MAX {
            shared.admitted.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(%peer, "too many connections at once; closed");
            return;
        }
        let thread = std::thread::Builder::new().name("weir-pg".into()).stack_size(STACK_BYTES);
        let counted = Arc::clone(&shared);
        let spawned = thread.spawn(move || {
            if let Err(error) = serve(&shared, socket, peer) {
                tracing::debug!(%peer, %error, "connection lost");
            }
            shared.admitted.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(error) = spawned {
            counted.admitted.fetch_sub(1, Ordering::Relaxed);
            tracing::error!(%peer, %error, "no thread for a connection");
        }
    }

    /// Ends all connections: idle ones at once, busy ones when their statement is done, all after `grace`. Returns when they have ended.
    pub(crate) fn stop(&self, grace: Duration) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let mut sessions = self.shared.sessions();
        // A session that waits for its client reads the end of the stream, and says goodbye; one at work meets it after its statement.
        for entry in sessions.by_pid.values() {
            let _ = entry.socket.shutdown(Shutdown::Read);
        }
        sessions = self.shared.wait_until_none(sessions, grace);
        for entry in sessions.by_pid.values() {
            entry.cancel.cancel();
        }
        sessions = self.shared.wait_until_none(sessions, Duration::from_secs(1));
        for entry in sessions.by_pid.values() {
            entry.cancel.cancel();
            let _ = entry.socket.shutdown(Shutdown::Both);
        }
        drop(self.shared.wait_until_none(sessions, Duration::from_secs(5)));
    }
}

impl Shared {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until_none<'a>(
        &'a self,
        mut sessions: MutexGuard<'a, Sessions>,
        limit: Duration,
    ) -> MutexGuard<'a, Sessions> {
        let deadline = Instant::now() + limit;
        while !sessions.by_pid.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            sessions = self.ended.wait_timeout(sessions, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        sessions
    }

    /// Whether the server is going down.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Carries out a cancel request; a wrong secret is ignored, and nobody learns of it.
    pub(crate) fn cancel(&self, pid: i32, secret: u32) {
        if let Some(entry) = self.sessions().by_pid.get(&pid).filter(|entry| entry.secret == secret) {
            entry.cancel.cancel();
        }
    }

    /// Enters a session under its process id; its secret, or the refusal when there are too many.
    fn enter(&self, session: &Session, socket: &TcpStream, activity: Arc<Activity>) -> Result<u32, Refusal> {
        let entry =
            Entry { secret: rand::random(), cancel: session.cancel_handle(), socket: socket.try_clone()?, activity };
        // Like a shutdown, for one: it reads the end of its client's stream.
        let (end, flag) = (socket.try_clone()?, Arc::clone(&entry.activity));
        session.on_terminate(move || {
            flag.terminate();
            let _ = end.shutdown(Shutdown::Read);
        });
        let mut sessions = self.sessions();
        if sessions.by_pid.len() >= self.connections_max {
            let failure = Failure::fatal("53300", "sorry, too many clients already")
                .with_hint(format!("max_connections is {}; raise it in weir.toml.", self.connections_max));
            return Err(failure.into());
        }
        let secret = entry.secret;
        sessions.by_pid.insert(session.id(), entry);
        Ok(secret)
    }

    fn leave(&self, pid: i32) {
        self.sessions().by_pid.remove(&pid);
        self.ended.notify_all();
    }
}

/// Serves one socket until it ends.
fn serve(shared: &Shared, socket: TcpStream, peer: SocketAddr) -> io::Result<()> {
    socket.set_nodelay(true)?;
    watch::keep_alive(&socket)?;
    let mut greeting = Greeting::new(Stream::Plain(socket));
    let refusal = match greeting.login(shared) {
        Ok(login) => {
            let session = shared.db.session();
            let activity = Arc::new(Activity::default());
            match shared.enter(&session, greeting.stream.socket(), Arc::clone(&activity)) {
                Ok(secret) => {
                    let pid = session.id();
                    tracing::debug!(%peer, pid, user = login.user, database = login.database, "connected");
                    let connection = Connection::new(shared, greeting, session, activity);
                    let result = catch_unwind(AssertUnwindSafe(|| connection.run(login, secret)));
                    shared.leave(pid);
                    tracing::debug!(%peer, pid, "disconnected");
                    return result.unwrap_or_else(|_| Err(io::Error::other("the session panicked; see the log above")));
                }
                Err(refusal) => refusal,
            }
        }
        Err(refusal) => refusal,
    };
    if let Refusal::Failure(failure) = refusal {
        tracing::info!(%peer, code = failure.code, "refused: {}", failure.message);
        greeting.output.push(&failure.to_response());
        greeting.output.flush(&mut greeting.stream)?;
    }
    Ok(())
}
