//! Turns: queries begin in the order in which they came, no more at once than there are processors.
//!
//! A short query runs on its connection's thread. Where many come at once, the system would give each a little of every processor, by turns, so
//! that all of them end late, and some very late. Here each waits until one that came before it is over. One that is not over after
//! [`SHORT`] is a long one: nobody waits for it any more, so that a query never waits for longer than that for one before it, whatever
//! that one does; and a long one shares the processors with all others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A query that takes longer is a long one.
const SHORT: Duration = Duration::from_millis(4);

/// The turns of a database's queries.
pub(crate) struct Turns {
    at_once: usize,
    short: Duration,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    next: u64,
    /// Who has a turn, since when: the oldest first.
    running: VecDeque<(u64, Instant)>,
    /// Who waits for one: the oldest first.
    waiting: VecDeque<(u64, Thread)>,
}

/// A query's turn, which ends when this is dropped.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    number: u64,
}

impl Turns {
    /// So many queries run at once.
    pub(crate) fn new(at_once: usize) -> Arc<Turns> {
        Arc::new(Turns { at_once: at_once.max(1), short: SHORT, queue: Mutex::default() })
    }

    /// Waits for a turn.
    pub(crate) fn take(self: &Arc<Turns>) -> Turn {
        let mut queue = self.queue.lock();
        let number = queue.next;
        queue.next += 1;
        let mut waits = false;
        loop {
            let now = Instant::now();
            let is_first = queue.waiting.front().is_none_or(|(first, _)| *first == number);
            match is_first.then(|| self.free_at(&mut queue, now)) {
                Some(at) if at <= now => break,
                until => {
                    if !waits {
                        queue.waiting.push_back((number, std::thread::current()));
                        waits = true;
                    }
                    drop(queue);
                    match until {
                        Some(at) => std::thread::park_timeout(at - now),
                        None => std::thread::park(),
                    }
                    queue = self.queue.lock();
                }
            }
        }
        if waits {
            queue.waiting.pop_front();
        }
        queue.running.push_back((number, Instant::now()));
        // The next one may begin too, or is the one who looks when it may from now on.
        queue.wake();
        Turn { turns: self.clone(), number }
    }

    /// When there will be room for one more, at the latest.
    fn free_at(&self, queue: &mut Queue, now: Instant) -> Instant {
        while queue.running.pop_front_if(|(_, since)| *since + self.short <= now).is_some() {}
        match queue.running.len().checked_sub(self.at_once) {
            None => now,
            Some(more) => queue.running[more].1 + self.short,
        }
    }
}

impl Queue {
    fn wake(&self) {
        self.waiting.front().iter().for_each(|(_, thread)| thread.unpark());
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.turns.queue.lock();
        if let Some(at) = queue.running.iter().position(|(number, _)| *number == self.number) {
            queue.running.remove(at);
            queue.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn turns_come_in_order() {
        let turns = Arc::new(Turns { at_once: 1, short: Duration::from_secs(3600), queue: Mutex::default() });
        let (sender, receiver) = channel();
        let first = turns.take();
        let waiting: Vec<_> = (0..5)
            .map(|nth| {
                let (own, sender) = (turns.clone(), sender.clone());
                let thread = std::thread::spawn(move || {
                    let _turn = own.take();
                    sender.send(nth).expect("somebody listens");
                });
                while turns.queue.lock().next < nth + 2 {
                    std::thread::yield_now();
                }
                thread
            })
            .collect();
        drop(first);
        waiting.into_iter().for_each(|thread| thread.join().expect("it had its turn"));
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn nobody_waits_for_a_long_one() {
        let turns = Turns::new(2);
        let held: Vec<Turn> = (0..5).map(|_| turns.take()).collect();
        assert!(turns.queue.lock().running.len() <= 2);
        drop(held);
        assert!(turns.queue.lock().running.is_empty());
    }
}
