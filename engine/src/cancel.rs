//! Stopping a statement: [`Cancel`] is asked between morsels and batches, by everything that can take long.
//!
//! A statement ends early for one of three reasons: someone cancelled it, its `statement_timeout` passed, or the database is closing. All
//! three are looked up in one call that costs two relaxed loads in the usual case.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};

const RUNNING: u8 = 0;
const USER: u8 = 1;
const SHUTDOWN: u8 = 2;

/// What one statement asks whether it shall go on. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    reason: AtomicU8,
    /// Microseconds of [`clock`]; 0 for none.
    deadline: AtomicU64,
}

/// Microseconds from the first call to a moment, at least 1.
fn clock(moment: Instant) -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    moment.saturating_duration_since(start).as_micros() as u64 + 1
}

impl Cancel {
    /// One that also ends its statement at this moment (`statement_timeout`).
    pub fn with_deadline(deadline: Option<Instant>) -> Cancel {
        let cancel = Cancel::default();
        cancel.restart(deadline);
        cancel
    }

    /// Begins anew, with another deadline: rows of a portal or cursor are asked for again, by a later statement.
    pub fn restart(&self, deadline: Option<Instant>) {
        let _ = self.state.reason.compare_exchange(USER, RUNNING, Ordering::Relaxed, Ordering::Relaxed);
        self.state.deadline.store(deadline.map_or(0, clock), Ordering::Relaxed);
    }

    /// Ends the statement, on a user's wish.
    pub fn cancel(&self) {
        self.state.reason.store(USER, Ordering::Relaxed);
    }

    /// Ends the statement because the database closes.
    pub fn shut_down(&self) {
        self.state.reason.store(SHUTDOWN, Ordering::Relaxed);
    }

    /// An error once the statement shall end: 57014, in the words of its reason.
    pub fn check(&self) -> Result<()> {
        match self.state.reason.load(Ordering::Relaxed) {
            RUNNING => match self.state.deadline.load(Ordering::Relaxed) {
                deadline if deadline != 0 && clock(Instant::now()) >= deadline => {
                    Err(Error::new(ErrorKind::Cancelled, "canceling statement due to statement timeout"))
                }
                _ => Ok(()),
            },
            SHUTDOWN => Err(Error::new(ErrorKind::Shutdown, "terminating connection due to administrator command")),
            _ => Err(Error::new(ErrorKind::Cancelled, "canceling statement due to user request")),
        }
    }

    /// Whether [`Cancel::check`] would give an error.
    pub fn is_cancelled(&self) -> bool {
        self.check().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_cancels_and_a_deadline_passes() {
        let cancel = Cancel::default();
        assert!(cancel.check().is_ok());
        cancel.clone().cancel();
        assert_eq!(cancel.check().expect_err("cancelled").kind, ErrorKind::Cancelled);
        let late = Cancel::with_deadline(Some(Instant::now()));
        assert!(late.check().expect_err("timed out").message.contains("statement timeout"));
        late.restart(None);
        assert!(late.check().is_ok());
        cancel.restart(None);
        assert!(cancel.check().is_ok());
    }
}
