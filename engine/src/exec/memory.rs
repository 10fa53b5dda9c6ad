//! The memory broker: whatever grows asks first.
//!
//! There is one [`Broker`] a database and one [`QueryMemory`] a query. An operator holds a [`Reservation`] and resizes it to what it
//! holds, once a batch; a request over either limit fails with Postgres's "out of memory" (53200), and what was granted is given
//! back when the reservation is dropped. The broker counts; it does not allocate.
//!
//! An operator that can write to disk instead asks with [`Reservation::fits`], which says no well before the limit: a quarter of it is kept for
//! those that cannot, and no one takes more than half of what the others have left, so that whoever comes later finds some. A small share
//! is everyone's, for the batch at hand.

use std::path::{Path, PathBuf};
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

/// What one query may hold, and where the rest goes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes in all.
    pub query: usize,
    /// Bytes that one operator may hold on one thread before it writes to disk.
    pub operator: usize,
    /// The folder for what is written to disk; without it nothing is.
    pub folder: Option<PathBuf>,
}

/// What one query holds.
#[derive(Debug)]
pub struct QueryMemory {
    broker: Arc<Broker>,
    limits: Limits,
    used: AtomicUsize,
    peak: AtomicUsize,
}

impl QueryMemory {
    /// A query's share of the broker.
    pub fn new(broker: &Arc<Broker>, limits: Limits) -> Arc<QueryMemory> {
        Arc::new(QueryMemory { broker: broker.clone(), limits, used: AtomicUsize::new(0), peak: AtomicUsize::new(0) })
    }

    /// A share without limits, of a broker of its own: for maintenance and tests.
    pub fn unlimited() -> Arc<QueryMemory> {
        let limits = Limits { query: usize::MAX, operator: usize::MAX, folder: None };
        QueryMemory::new(&Broker::new(usize::MAX), limits)
    }

    /// Where an operator may write what it must not hold.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.limits.folder.as_deref()
    }

    /// Bytes that the query may hold.
    pub(crate) fn limit(&self) -> usize {
        self.limits.query
    }

    /// Bytes that an operator which holds `own` of them may hold before it writes to disk.
    pub(crate) fn share(&self, own: usize) -> usize {
        if self.limits.folder.is_none() {
            return usize::MAX;
        }
        let room = |limit: usize, used: &AtomicUsize| {
            let others = used.load(Ordering::Relaxed).saturating_sub(own);
            (limit - limit / 4).saturating_sub(others) / 2
        };
        let room = room(self.limits.query, &self.used).min(room(self.broker.limit, &self.broker.used));
        room.max(self.limits.query / 32).min(self.limits.operator)
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
        if used > self.limits.query {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(out_of_memory(bytes, owner).with_hint(format!(
                "The query holds {} bytes of the {} that it may have.",
                used - bytes,
                self.limits.query
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

    /// Asks to hold `bytes` in all from now on, which is granted only while there is plenty: otherwise whoever asks shall write to disk.
    /// In a query that has no folder to write to, a refusal is an error.
    pub(crate) fn fits(&mut self, bytes: usize) -> Result<bool> {
        if bytes > self.bytes && bytes > self.memory.share(self.bytes) {
            return Ok(false);
        }
        self.granted(bytes)
    }

    /// Asks to hold `bytes` in all from now on, up to the limit itself: for what is in memory already, but can still go to disk. In a query that
    /// has no folder to write to, a refusal is an error.
    pub(crate) fn granted(&mut self, bytes: usize) -> Result<bool> {
        match self.resize(bytes) {
            Err(_) if self.memory.limits.folder.is_some() => Ok(false),
            granted => granted.map(|()| true),
        }
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
        let limits = Limits { query: 600, operator: usize::MAX, folder: None };
        let first = QueryMemory::new(&broker, limits.clone());
        let second = QueryMemory::new(&broker, limits);
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

    #[test]
    fn an_operator_that_can_write_to_disk_leaves_room_for_others() {
        let limits = Limits { query: 3200, operator: 900, folder: Some(PathBuf::from("/tmp")) };
        let memory = QueryMemory::new(&Broker::new(usize::MAX), limits);
        let mut first = memory.reservation("Sort");
        let fits = |held: &mut Reservation, bytes| held.fits(bytes).expect("there is a folder");
        assert!(fits(&mut first, 900) && !fits(&mut first, 901), "one operator's share");
        assert_eq!(first.bytes(), 900, "a refusal changes nothing");
        let mut second = memory.reservation("Hash");
        assert!(fits(&mut second, 750) && !fits(&mut second, 751), "half of three quarters less what the first holds");
        let mut plain = memory.reservation("Limit");
        plain.resize(1500).expect("the limit itself is further off");
        assert!(fits(&mut second, 100), "a small share is everyone's");
        drop(plain);
        assert!(fits(&mut second, 750));
    }
}
