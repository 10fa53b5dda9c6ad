//! Space-Saving: the most frequent keys of a stream in bounded memory (Metwally, Agrawal, El Abbadi: "Efficient Computation of Frequent and Top-k
//! Elements in Data Streams", 2005), merged as in Agarwal et al., "Mergeable Summaries", 2012.
//!
//! A summary counts [`Summary::capacity`] keys. A key that has no counter takes that of the key with the least count, and the count with it, which
//! is then its error: a count is at the least the truth, and over it by its error at the most, which is the total over the capacity at the
//! most. While there are no more keys than counters, all counts are exact and neither order nor splits matter.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// A key's counter.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    /// Bytes that order as the keys do.
    pub(super) key: Box<[u8]>,
    /// What stands for the key where equal keys may look different: of those that were seen, the least.
    pub(super) value: Box<[u8]>,
    /// At the least the truth.
    pub(super) count: i128,
    /// How much too much it may be.
    pub(super) error: i128,
}

/// The counters of one group.
#[derive(Debug)]
pub(super) struct Summary {
    capacity: usize,
    counters: Vec<Counter>,
    /// Counters by key.
    index: HashTable<u32>,
    /// Counters as a heap, the least count first, and each counter's place in it; empty until all counters are in use.
    heap: Vec<u32>,
    places: Vec<u32>,
    /// Bytes of keys.
    bytes: usize,
}

impl Summary {
    pub(super) fn new(capacity: usize) -> Summary {
        Summary {
            capacity,
            counters: Vec::new(),
            index: HashTable::new(),
            heap: Vec::new(),
            places: Vec::new(),
            bytes: 0,
        }
    }

    /// Counts a key `weight` more times.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8], weight: i128) {
        let hash = xxh3_64(key);
        let counters = &self.counters;
        if let Some(&at) = self.index.find(hash, |&at| *counters[at as usize].key == *key) {
            let counter = &mut self.counters[at as usize];
            counter.count += weight;
            if *value < *counter.value {
                counter.value = value.into();
            }
            self.sink(at);
            return;
        }
        if self.counters.len() < self.capacity {
            self.push(Counter { key: key.into(), value: value.into(), count: weight, error: 0 });
            return;
        }
        if self.heap.is_empty() {
            self.build();
        }
        let least = self.heap[0];
        let old = std::mem::replace(&mut self.counters[least as usize].key, key.into());
        self.bytes = self.bytes + key.len() - old.len();
        let counters = &self.counters;
        if let Ok(entry) = self.index.find_entry(xxh3_64(&old), |&at| at == least) {
            entry.remove();
        }
        self.index.insert_unique(hash, least, |&at| xxh3_64(&counters[at as usize].key));
        let counter = &mut self.counters[least as usize];
        counter.value = value.into();
        counter.error = counter.count;
        counter.count += weight;
        self.sink(least);
    }

    fn push(&mut self, counter: Counter) {
        let at = self.counters.len() as u32;
        let hash = xxh3_64(&counter.key);
        self.bytes += counter.key.len();
        self.counters.push(counter);
        let counters = &self.counters;
        self.index.insert_unique(hash, at, |&at| xxh3_64(&counters[at as usize].key));
    }

    fn build(&mut self) {
        self.heap = (0..self.counters.len() as u32).collect();
        let counters = &self.counters;
        self.heap.sort_unstable_by(|&a, &b| {
            let (a, b) = (&counters[a as usize], &counters[b as usize]);
            a.count.cmp(&b.count).then_with(|| a.key.cmp(&b.key))
        });
        self.places = vec![0; self.heap.len()];
        for (place, &at) in self.heap.iter().enumerate() {
            self.places[at as usize] = place as u32;
        }
    }

    /// A counter that has grown goes down the heap.
    fn sink(&mut self, at: u32) {
        if self.heap.is_empty() {
            return;
        }
        let count = |heap: &[u32], place: usize| self.counters[heap[place] as usize].count;
        let mut place = self.places[at as usize] as usize;
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let mut least = place;
            for child in [left, right] {
                if child < self.heap.len() && count(&self.heap, child) < count(&self.heap, least) {
                    least = child;
                }
            }
            if least == place {
                break;
            }
            self.heap.swap(place, least);
            self.places[self.heap[place] as usize] = place as u32;
            self.places[self.heap[least] as usize] = least as u32;
            place = least;
        }
    }

    /// What a key that has no counter may have been counted as.
    pub(super) fn floor(&self) -> i128 {
        match self.counters.len() < self.capacity {
            true => 0,
            false => self.counters.iter().map(|counter| counter.count).min().unwrap_or(0),
        }
    }

    /// Adds another summary's counters, whose floor is `floor`.
    pub(super) fn merge(&mut self, others: Vec<Counter>, floor: i128) {
        let own = self.floor();
        let mut merged = Summary::new(usize::MAX);
        for counter in std::mem::take(&mut self.counters) {
            merged.push(Counter { count: counter.count + floor, error: counter.error + floor, ..counter });
        }
        for other in others {
            let hash = xxh3_64(&other.key);
            let counters = &merged.counters;
            match merged.index.find(hash, |&at| counters[at as usize].key == other.key) {
                Some(&at) => {
                    let known = &mut merged.counters[at as usize];
                    known.count += other.count - floor;
                    known.error += other.error - floor;
                    if other.value < known.value {
                        known.value = other.value;
                    }
                }
                None => merged.push(Counter { count: other.count + own, error: other.error + own, ..other }),
            }
        }
        let mut counters = merged.counters;
        if counters.len() > self.capacity {
            sort(&mut counters);
            counters.truncate(self.capacity);
        }
        *self = Summary::new(self.capacity);
        counters.into_iter().for_each(|counter| self.push(counter));
    }

    /// The counters, greatest first, of equal counts the least key.
    pub(super) fn into_sorted(self) -> Vec<Counter> {
        let mut counters = self.counters;
        sort(&mut counters);
        counters
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes + self.counters.capacity() * (size_of::<Counter>() + 16) + self.index.capacity() * 5
    }
}

fn sort(counters: &mut [Counter]) {
    counters.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.key.cmp(&b.key)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Zipf-like keys: key `k` comes `4000 / (k + 1)` times, in an order that mixes them.
    fn stream() -> Vec<u32> {
        let mut keys: Vec<u32> =
            (0..2000_u32).flat_map(|k| std::iter::repeat_n(k, (4000 / (k + 1)) as usize)).collect();
        keys.sort_by_key(|key| xxh3_64(&key.to_le_bytes()) ^ u64::from(*key).wrapping_mul(0x9E37_79B9));
        let n = keys.len();
        (0..n).map(|i| keys[(i * 7919) % n]).collect()
    }

    #[test]
    fn the_frequent_keys_are_found_within_the_bound_and_across_merges() {
        let stream = stream();
        let capacity = 100;
        for parts in [1, 2, 7] {
            let mut whole = Summary::new(capacity);
            for part in stream.chunks(stream.len().div_ceil(parts)) {
                let mut summary = Summary::new(capacity);
                part.iter().for_each(|key| summary.add(&key.to_be_bytes(), &[], 1));
                let floor = summary.floor();
                whole.merge(summary.into_sorted(), floor);
            }
            let bound = (parts * stream.len() / capacity) as i128;
            let counters = whole.into_sorted();
            assert_eq!(counters.len(), capacity);
            for counter in &counters {
                let key = u32::from_be_bytes(counter.key[..].try_into().expect("four bytes"));
                let truth = i128::from(4000 / (key + 1));
                assert!(counter.count >= truth && counter.count - counter.error <= truth, "{key}: {counter:?}");
                assert!(counter.error <= bound, "{key}: {counter:?}, bound {bound}");
            }
            let top: Vec<u32> =
                counters[..5].iter().map(|c| u32::from_be_bytes(c.key[..].try_into().expect("four bytes"))).collect();
            assert_eq!(top, [0, 1, 2, 3, 4], "{parts} parts");
        }
    }
}
