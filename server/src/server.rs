//! A running server: its sockets, and the runtime that accepts on them.
//!
//! Accepting, HTTP and webhooks are async, on a small runtime of their own; a Postgres connection leaves it at once for its own thread.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_engine::Database;

use crate::config::{Config, ConfigError};
use crate::http;
use crate::pg::Door;
use crate::webhooks;

/// How long HTTP requests may take to finish when the server stops.
const HTTP_GRACE: Duration = Duration::from_secs(5);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Certificate or key cannot be used.
    #[error("{0}")]
    Tls(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Nothing can be sent.
    #[error("cannot make an HTTP client: {0}")]
    Client(String),
    /// No threads.
    #[error("cannot start the network threads: {0}")]
    Runtime(#[from] io::Error),
}

/// A server that accepts connections until it is stopped.
pub struct Server {
    runtime: Runtime,
    door: Door,
    pg: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    stopping: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Opens the doors of a database. When this returns, clients can connect.
    pub fn start(db: Database, config: &Config) -> Result<Server, StartError> {
        config.check()?;
        let door = Door::new(db.clone(), config).map_err(StartError::Tls)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("weir-net")
            .enable_io()
            .enable_time()
            .build()?;
        let (stopping, stopped) = watch::channel(false);
        let mut server = Server { runtime, door, pg: vec![], http: vec![], stopping, tasks: vec![] };

        for listener in server.listen(&config.pg_addresses()?)? {
            server.pg.push(listener.local_addr()?);
            let (door, stopped) = (server.door.clone(), stopped.clone());
            server.tasks.push(server.runtime.spawn(accept(listener, door, stopped)));
        }
        for listener in server.listen(&config.http_addresses()?)? {
            server.http.push(listener.local_addr()?);
            let app = http::router(db.clone(), config.password.as_deref());
            server.tasks.push(server.runtime.spawn(http::serve(listener, app, stopped.clone())));
        }
        let client = webhooks::client().map_err(StartError::Client)?;
        server.tasks.push(server.runtime.spawn(webhooks::run(db, client, stopped)));
        Ok(server)
    }

    /// Listens on all of an address's meanings (`localhost` has two), or on those that this machine has.
    fn listen(&self, addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, StartError> {
        let mut listeners = Vec::new();
        let mut failed = None;
        for &address in addresses {
            match self.runtime.block_on(TcpListener::bind(address)) {
                Ok(listener) => listeners.push(listener),
                Err(source) if source.kind() == io::ErrorKind::AddrNotAvailable => failed = Some((address, source)),
                Err(source) => return Err(StartError::Listen { address, source }),
            }
        }
        match failed {
            Some((address, source)) if listeners.is_empty() => Err(StartError::Listen { address, source }),
            _ => Ok(listeners),
        }
    }

    /// Where Postgres clients connect.
    pub fn pg_addresses(&self) -> &[SocketAddr] {
        &self.pg
    }

    /// Where HTTP clients connect; empty if HTTP is off.
    pub fn http_addresses(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Stops accepting, then ends all connections: those at work get `grace` to finish their statement.
    pub fn stop(self, grace: Duration) {
        let _ = self.stopping.send(true);
        self.door.stop(grace);
        self.runtime.block_on(async {
            for task in self.tasks {
                let _ = tokio::time::timeout(HTTP_GRACE, task).await;
            }
        });
        self.runtime.shutdown_background();
    }

    /// Blocks until the process is asked to end by SIGTERM or SIGINT.
    pub fn wait_for_signal(&self) -> io::Result<()> {
        self.runtime.block_on(signal())
    }
}

#[cfg(unix)]
async fn signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn signal() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// Hands sockets to the door until the server stops.
async fn accept(listener: TcpListener, door: Door, mut stopped: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let socket = accepted.and_then(|(socket, peer)| {
            let socket = socket.into_std()?;
            socket.set_nonblocking(false)?;
            Ok((socket, peer))
        });
        match socket {
            Ok((socket, peer)) => door.admit(socket, peer),
            Err(error) => {
                // Out of file descriptors, mostly: connections that end give some back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
