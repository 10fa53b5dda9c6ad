//! Stopping a statement: [`Cancel`] is asked between morsels and batches, by everything that can take long.
//!
//! A statement ends early for one of three reasons: someone cancelled it, its `statement_timeout` passed, or the database is closing. All
//! three are looked up in one call that costs one relaxed load in the usual case.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};

const RUNNING: u8 = 0;
const USER: u8 = 1;
const SHUTDOWN: u8 = 2;

/// What one statement asks whether it shall go on. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    reason: Arc<AtomicU8>,
    deadline: Option<Instant>,
}

impl Cancel {
    /// One that also ends its statement at this moment (`statement_timeout`).
    pub fn with_deadline(deadline: Option<Instant>) -> Cancel {
        Cancel { reason: Arc::default(), deadline }
    }

    /// Ends the statement, on a user's wish.
    pub fn cancel(&self) {
        self.reason.store(USER, Ordering::Relaxed);
    }

    /// Ends the statement because the database closes.
    pub fn shut_down(&self) {
        self.reason.store(SHUTDOWN, Ordering::Relaxed);
    }

    /// An error once the statement shall end: 57014, in the words of its reason.
    pub fn check(&self) -> Result<()> {
        match self.reason.load(Ordering::Relaxed) {
            RUNNING => match self.deadline {
                Some(deadline) if Instant::now() >= deadline => {
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
    }
}
