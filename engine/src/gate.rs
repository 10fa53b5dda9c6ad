//! Gates: a statement that has to see every row of a table, and no new one until its own commit, closes the table's gate.
//!
//! Writers pass the gates of their tables while they commit, and for no longer; a closed one they wait at. Readers never do. Whoever
//! closes a gate holds it to the end of the transaction, as PostgreSQL holds its ACCESS EXCLUSIVE lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};

/// Nobody waits longer than this: two who wait for each other both would for ever.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// How often a waiting statement looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(50);

/// The gates of a database's tables.
#[derive(Default)]
pub(crate) struct Gates {
    tables: Mutex<HashMap<u32, Gate>>,
    changed: Condvar,
}

#[derive(Default)]
struct Gate {
    closed: bool,
    passing: usize,
}

/// A closed gate. It opens when this is dropped.
pub(crate) struct Closed {
    gates: Arc<Gates>,
    table: u32,
}

impl std::fmt::Debug for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Closed({})", self.table)
    }
}

impl Closed {
    /// Of which table.
    pub(crate) fn table(&self) -> u32 {
        self.table
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.gates.change(self.table, |gate| gate.closed = false);
    }
}

/// A commit on its way through gates.
pub(crate) struct Passing {
    gates: Arc<Gates>,
    tables: Vec<u32>,
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.tables.iter().for_each(|table| self.gates.change(*table, |gate| gate.passing -= 1));
    }
}

impl Gates {
    fn change(&self, table: u32, change: impl FnOnce(&mut Gate)) {
        let mut tables = self.tables.lock();
        let gate = tables.entry(table).or_default();
        change(gate);
        if !gate.closed && gate.passing == 0 {
            tables.remove(&table);
        }
        self.changed.notify_all();
    }

    /// Closes a table's gate once nobody passes it, and nobody else holds it.
    pub(crate) fn close(self: &Arc<Gates>, table: u32, cancel: &Cancel) -> Result<Closed> {
        let until = Instant::now() + WAIT_MAX;
        let mut tables = self.tables.lock();
        while tables.get(&table).is_some_and(|gate| gate.closed || gate.passing > 0) {
            self.wait(&mut tables, until, cancel)?;
        }
        tables.entry(table).or_default().closed = true;
        Ok(Closed { gates: self.clone(), table })
    }

    /// Passes the gates of these tables, each named once; those in `own` are the caller's.
    pub(crate) fn pass(self: &Arc<Gates>, tables: &[u32], own: &[Arc<Closed>], cancel: &Cancel) -> Result<Passing> {
        let until = Instant::now() + WAIT_MAX;
        let others: Vec<u32> =
            tables.iter().copied().filter(|table| own.iter().all(|closed| closed.table != *table)).collect();
        let mut gates = self.tables.lock();
        while others.iter().any(|table| gates.get(table).is_some_and(|gate| gate.closed)) {
            self.wait(&mut gates, until, cancel)?;
        }
        others.iter().for_each(|table| gates.entry(*table).or_default().passing += 1);
        Ok(Passing { gates: self.clone(), tables: others })
    }

    fn wait(
        &self,
        tables: &mut parking_lot::MutexGuard<'_, HashMap<u32, Gate>>,
        until: Instant,
        cancel: &Cancel,
    ) -> Result<()> {
        cancel.check()?;
        if Instant::now() > until {
            let message = "could not obtain lock on relation";
            return Err(Error::new(ErrorKind::Locked, message).with_detail("Its definition is being changed."));
        }
        self.changed.wait_for(tables, LOOK);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_closed_gate_is_waited_at_by_all_but_who_closed_it() {
        let (gates, cancel) = (Arc::new(Gates::default()), Cancel::default());
        let passing = gates.pass(&[1, 2], &[], &cancel).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let closer = scope.spawn(|| gates.close(1, &cancel).unwrap());
            drop(passing);
            let closed = Arc::new(closer.join().unwrap());
            drop(gates.pass(&[1], std::slice::from_ref(&closed), &cancel).unwrap());
            drop(gates.pass(&[2], &[], &cancel).unwrap());
            let writer = scope.spawn(|| {
                let passing = gates.pass(&[1], &[], &cancel).unwrap();
                assert!(done.load(Ordering::SeqCst), "it passed a closed gate");
                drop(passing);
            });
            done.store(true, Ordering::SeqCst);
            drop(closed);
            writer.join().unwrap();
        });
        assert!(gates.tables.lock().is_empty());
    }

    #[test]
    fn who_waits_can_be_cancelled() {
        let (gates, cancel) = (Arc::new(Gates::default()), Cancel::default());
        let _closed = gates.close(1, &cancel).unwrap();
        cancel.cancel();
        assert!(gates.pass(&[1], &[], &cancel).is_err());
    }
}
