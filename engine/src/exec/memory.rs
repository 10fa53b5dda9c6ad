//! The memory broker: whatever grows asks first.
//!
//! There is one [`Broker`] a database and one [`QueryMemory`] a query. An operator holds a [`Reservation`] and resizes it to what it
//! holds, once a batch; a request over either limit fails with Postgres's "out of memory" (53200), and what was granted is given
//! back when the reservation is dropped. The broker counts; it does not allocate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// What all queries together hold, and may hold.
#[derive(Debug)]
pub struct Broker {
    limit: usize,
    used: AtomicUsize,
}

impl Broker {
    /// A broker that grants up to `limit` bytes.
    pub fn new(limit: usize) -> Arc<Broker> {
        Arc::new(Broker { limit, used: AtomicUsize::new(0) })
    }

    /// Bytes granted at the moment.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// What one query holds.
#[derive(Debug)]
pub struct QueryMemory {
    broker: Arc<Broker>,
    limit: usize,
    used: AtomicUsize,
    peak: AtomicUsize,
}

impl QueryMemory {
    /// A query's share of the broker, of `limit` bytes at the most.
    pub fn new(broker: &Arc<Broker>, limit: usize) -> Arc<QueryMemory> {
        Arc::new(QueryMemory { broker: broker.clone(), limit, used: AtomicUsize::new(0), peak: AtomicUsize::new(0) })
    }

    /// A share without limits, of a broker of its own: for maintenance and tests.
    pub fn unlimited() -> Arc<QueryMemory> {
        QueryMemory::new(&Broker::new(usize::MAX), usize::MAX)
    }

    /// The most bytes it held at once.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// An empty reservation for the operator of this name.
    pub fn reservation(self: &Arc<Self>, owner: &'static str) -> Reservation {
        Reservation { memory: self.clone(), owner, bytes: 0, peak: 0 }
    }

    fn grow(&self, bytes: usize, owner: &str) -> Result<()> {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if used > self.limit {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(out_of_memory(bytes, owner).with_hint(format!(
                "The query holds {} bytes of the {} that it may have.",
                used - bytes,
                self.limit
            )));
        }
        let total = self.broker.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if total > self.broker.limit {
            self.broker.used.fetch_sub(bytes, Ordering::Relaxed);
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(out_of_memory(bytes, owner).with_hint(format!(
                "All queries together hold {} bytes of the {} that they may have.",
                total - bytes,
                self.broker.limit
            )));
        }
        self.peak.fetch_max(used, Ordering::Relaxed);
        Ok(())
    }

    fn shrink(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.broker.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn out_of_memory(bytes: usize, owner: &str) -> Error {
    Error::new(ErrorKind::OutOfMemory, "out of memory")
        .with_detail(format!("Failed on request of size {bytes} in memory context \"{owner}\"."))
}

/// Bytes granted to one operator's local state; given back on drop.
#[derive(Debug)]
pub struct Reservation {
    memory: Arc<QueryMemory>,
    owner: &'static str,
    bytes: usize,
    peak: usize,
}

impl Reservation {
    /// Asks to hold `bytes` in all from now on.
    pub fn resize(&mut self, bytes: usize) -> Result<()> {
        if bytes > self.bytes {
            self.memory.grow(bytes - self.bytes, self.owner)?;
        } else {
            self.memory.shrink(self.bytes - bytes);
        }
        self.bytes = bytes;
        self.peak = self.peak.max(bytes);
        Ok(())
    }

    /// Asks for more.
    pub fn grow(&mut self, bytes: usize) -> Result<()> {
        self.resize(self.bytes + bytes)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The most it held.
    pub fn peak(&self) -> usize {
        self.peak
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_over_a_limit_fails_and_drops_give_back() {
        let broker = Broker::new(1000);
        let first = QueryMemory::new(&broker, 600);
        let second = QueryMemory::new(&broker, 600);
        let mut a = first.reservation("Sort");
        a.resize(500).expect("within both limits");
        let own = a.resize(601).expect_err("over the query's limit");
        assert_eq!((own.kind, own.message.as_str()), (ErrorKind::OutOfMemory, "out of memory"));
        assert_eq!(own.detail.as_deref(), Some("Failed on request of size 101 in memory context \"Sort\"."));
        let mut b = second.reservation("Aggregate");
        let all = b.resize(501).expect_err("over the broker's limit");
        assert!(all.hint.is_some_and(|hint| hint.starts_with("All queries")));
        drop(a);
        b.resize(600).expect("the first gave back");
        assert_eq!((broker.used(), first.peak(), second.peak()), (600, 500, 600));
    }
}
