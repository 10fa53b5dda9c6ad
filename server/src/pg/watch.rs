//! Notices that a client is gone while its query runs.
//!
//! A connection's thread is inside the engine then and does not look at its socket. One thread looks for all of them twice a second, at
//! sessions that have been at work for a while, and cancels those whose client has closed its end.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};

use super::Shared;

const INTERVAL: Duration = Duration::from_millis(500);

/// Since when a session is at work: milliseconds of [`clock`], 0 when it waits for its client; and whether it shall end.
#[derive(Default)]
pub(crate) struct Activity {
    since: AtomicU64,
    terminated: AtomicBool,
}

impl Activity {
    /// A message is being carried out.
    pub(crate) fn begin(&self) {
        self.since.store(clock(), Ordering::Relaxed);
    }

    /// The session waits for its client.
    pub(crate) fn end(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    /// Someone wants the session to end (`pg_terminate_backend`).
    pub(crate) fn terminate(&self) {
        self.terminated.store(true, Ordering::Relaxed);
    }

    /// Whether someone does.
    pub(crate) fn is_terminated(&self) -> bool {
        self.terminated.load(Ordering::Relaxed)
    }

    fn is_long(&self) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        since != 0 && clock() - since >= INTERVAL.as_millis() as u64
    }
}

/// Milliseconds since the first call, from 1.
fn clock() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1
}

/// Starts the watch; it ends with the last reference to `shared`.
pub(crate) fn start(shared: &Arc<Shared>) {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    let watch = move || {
        loop {
            std::thread::sleep(INTERVAL);
            let Some(shared) = shared.upgrade() else { return };
            if shared.is_stopping() {
                continue; // Reading has been shut down from this end, which looks the same.
            }
            for entry in shared.sessions().by_pid.values() {
                if entry.activity.is_long() && !entry.activity.is_terminated() && is_gone(&entry.socket) {
                    entry.cancel.cancel();
                }
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("weir-pg-watch".into()).spawn(watch) {
        tracing::warn!(%error, "no thread to watch connections: queries of clients that are gone run to their end");
    }
}

/// Lets the kernel find out within minutes that the machine at the other end is gone.
pub(crate) fn keep_alive(socket: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

/// Whether the other end has closed its half, even if bytes wait to be read before that.
#[cfg(target_os = "linux")]
fn is_gone(socket: &TcpStream) -> bool {
    use std::os::fd::AsRawFd;
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: `poll` points to one valid pollfd for the length of the call, and the descriptor is open while `socket` is borrowed.
    let ready = unsafe { libc::poll(&mut poll, 1, 0) };
    ready > 0 && poll.revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0
}

/// Elsewhere a client that is gone is noticed when rows are sent to it.
#[cfg(not(target_os = "linux"))]
fn is_gone(_socket: &TcpStream) -> bool {
    false
}
