//! What is remembered of rows that do not change: the partial states of an aggregation over a run of granules of one part.
//!
//! A part is immutable, so what an aggregation makes of its rows is too, as long as the rows that are deleted, the table's definition and the
//! question stay the same. A part's granules are taken in [`Block`]s, whose bounds depend on the part alone; the states of a block are kept
//! under the part, the block's number and the [`Shape`] of the question, and merged again when a query asks the same; so are those of several
//! blocks in a row. A filter that holds for all rows of a block is not in its shape (`proof`), so that a window that slides with the clock meets
//! what was kept for all blocks that lie within it. Of the head, the runs that stay as they are until they are flushed are blocks too.
//!
//! Invariants: an answer is the same with and without the cache, since states are merged in the same way as those of threads, and nothing is
//! found by a hash alone: shapes are compared in full, parts by identity (an entry holds a weak reference, so that the address is nobody
//! else's), deleted rows one by one. No entry keeps a part or its file: states are copies. What is kept stays within `limit` bytes; what was
//! not asked for the longest goes first, entries of parts that are gone before.

mod proof;
mod shape;

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use weir_storage::TableDef;

pub(crate) use proof::{Proof, Zones};
pub(crate) use shape::{Question, Shape};

use crate::exec::operators::PartialGroups;

/// A block has so many granules. Those at a window's edge are read each time.
pub(crate) const BLOCK_GRANULES: usize = 4;
/// Fewer rows are read as soon as found.
pub(crate) const BLOCK_ROWS_MIN: usize = 128;
/// An entry may take this share of all, and the blocks of one query together this one.
const ENTRY_SHARE: usize = 8;
const QUERY_SHARE: usize = 4;
/// About what an entry takes besides its states.
const ENTRY_BYTES: usize = 256;

/// A run of granules of one part, or a full run of the head, with those of its rows that are deleted.
pub(crate) struct Block {
    /// The part or the run, whose rows never change.
    pub(crate) of: Arc<dyn Any + Send + Sync>,
    /// The definition by which they are read.
    pub(crate) def: Arc<TableDef>,
    /// Which of the part's.
    pub(crate) number: usize,
    /// Ascending, counted from the block's first row.
    pub(crate) deleted: Vec<u32>,
    /// How many of its rows are read when it is not known.
    pub(crate) rows: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    shape: u64,
    /// The first block: the address of its part or run, which the entry keeps from being another's, and its number.
    of: usize,
    block: usize,
    /// How many blocks in a row there are.
    blocks: usize,
}

/// A block of which something is known.
struct KnownBlock {
    of: Weak<dyn Any + Send + Sync>,
    def: Weak<TableDef>,
    number: usize,
    deleted: Vec<u32>,
}

impl KnownBlock {
    fn new(block: &Block) -> KnownBlock {
        KnownBlock {
            of: Arc::downgrade(&block.of),
            def: Arc::downgrade(&block.def),
            number: block.number,
            deleted: block.deleted.clone(),
        }
    }

    /// Whether the same rows of it are read, in the same way.
    fn is(&self, block: &Block) -> bool {
        std::ptr::addr_eq(self.of.as_ptr(), Arc::as_ptr(&block.of))
            && std::ptr::eq(self.def.as_ptr(), Arc::as_ptr(&block.def))
            && self.number == block.number
            && self.deleted == block.deleted
    }
}

/// What blocks in a row come to together.
struct Entry {
    blocks: Vec<KnownBlock>,
    states: Arc<PartialGroups>,
    bytes: usize,
    used: u64,
}

impl Entry {
    fn is_of(&self, blocks: &[&Block]) -> bool {
        self.blocks.len() == blocks.len() && self.blocks.iter().zip(blocks).all(|(known, block)| known.is(block))
    }
}

struct Known {
    id: u64,
    shape: Shape,
    bytes: usize,
    used: u64,
}

#[derive(Default)]
struct Kept {
    /// By relation, since few are of one.
    shapes: HashMap<u32, Vec<Known>>,
    entries: HashMap<Key, Entry>,
    bytes: usize,
    /// Ids of shapes, and the order in which things were used.
    clock: u64,
}

/// A database's cache of partial states.
pub struct PartialCache {
    limit: usize,
    kept: Mutex<Kept>,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
    rows: AtomicU64,
}

/// What a cache did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStatus {
    /// Blocks, alone or in a row, of which states are kept.
    pub entries: usize,
    /// Bytes they hold.
    pub bytes: usize,
    /// Bytes they may hold.
    pub limit: usize,
    /// Blocks that were found.
    pub hits: u64,
    /// Blocks that were not.
    pub misses: u64,
    /// Entries that went for others.
    pub evictions: u64,
    /// Rows that were not read because their block was found.
    pub rows_saved: u64,
}

impl std::fmt::Debug for PartialCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.status().fmt(f)
    }
}

impl PartialCache {
    /// An empty cache of up to `limit` bytes.
    pub fn new(limit: usize) -> PartialCache {
        PartialCache {
            limit,
            kept: Mutex::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            rows: AtomicU64::new(0),
        }
    }

    /// What is kept, and what was asked so far.
    pub fn status(&self) -> CacheStatus {
        let mut kept = self.kept.lock();
        kept.sweep();
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CacheStatus {
            entries: kept.entries.len(),
            bytes: kept.bytes,
            limit: self.limit,
            hits: get(&self.hits),
            misses: get(&self.misses),
            evictions: get(&self.evictions),
            rows_saved: get(&self.rows),
        }
    }

    /// The most bytes that an entry's states may take.
    pub(crate) fn entry_bytes_max(&self) -> usize {
        self.limit / ENTRY_SHARE
    }

    /// The most bytes that one query's blocks may take.
    pub(crate) fn query_bytes_max(&self) -> usize {
        self.limit / QUERY_SHARE
    }

    /// The number of a shape, by which its blocks are found.
    pub(crate) fn shape(&self, shape: Shape) -> u64 {
        let mut kept = self.kept.lock();
        kept.clock += 1;
        let (id, bytes) = (kept.clock, shape.bytes());
        let known = kept.shapes.entry(shape.relation()).or_default();
        if let Some(known) = known.iter_mut().find(|known| known.shape == shape) {
            known.used = id;
            return known.id;
        }
        known.push(Known { id, shape, bytes, used: id });
        kept.bytes += bytes;
        self.evict(&mut kept);
        id
    }

    /// What is kept of blocks in a row, asked for by a shape; and how many bytes that takes.
    pub(crate) fn find(&self, shape: u64, blocks: &[&Block]) -> Option<(Arc<PartialGroups>, usize)> {
        let mut kept = self.kept.lock();
        kept.clock += 1;
        let clock = kept.clock;
        let entry = kept.entries.get_mut(&Key::new(shape, blocks)?).filter(|entry| entry.is_of(blocks));
        let Some(entry) = entry else {
            self.misses.fetch_add(u64::from(blocks.len() == 1), Ordering::Relaxed);
            return None;
        };
        entry.used = clock;
        self.hits.fetch_add(blocks.len() as u64, Ordering::Relaxed);
        self.rows.fetch_add(blocks.iter().map(|block| block.rows as u64).sum(), Ordering::Relaxed);
        Some((entry.states.clone(), entry.bytes))
    }

    /// Keeps what blocks in a row came to: states that share memory with nothing, of so many bytes.
    pub(crate) fn keep(&self, shape: u64, blocks: &[&Block], states: Arc<PartialGroups>, bytes: usize) {
        let Some(key) = Key::new(shape, blocks) else { return };
        let bytes = bytes + blocks.iter().map(|block| ENTRY_BYTES + 4 * block.deleted.len()).sum::<usize>();
        let mut kept = self.kept.lock();
        kept.clock += 1;
        let blocks = blocks.iter().map(|block| KnownBlock::new(block)).collect();
        let entry = Entry { blocks, states, bytes, used: kept.clock };
        kept.bytes += bytes;
        if let Some(old) = kept.entries.insert(key, entry) {
            kept.bytes -= old.bytes;
        }
        self.evict(&mut kept);
    }

    /// Makes room, and some more, so that not every entry that comes makes one go.
    fn evict(&self, kept: &mut Kept) {
        if kept.bytes <= self.limit {
            return;
        }
        kept.sweep();
        let aim = self.limit - self.limit / 8;
        let mut oldest: Vec<(u64, Key)> = kept.entries.iter().map(|(key, entry)| (entry.used, *key)).collect();
        oldest.sort_unstable_by_key(|(used, _)| *used);
        let mut evicted = 0;
        for (_, key) in oldest {
            if kept.bytes <= aim {
                break;
            }
            if let Some(entry) = kept.entries.remove(&key) {
                kept.bytes -= entry.bytes;
                evicted += 1;
            }
        }
        kept.forget_shapes();
        self.evictions.fetch_add(evicted, Ordering::Relaxed);
    }
}

impl Kept {
    /// Drops what is kept of parts that are gone.
    fn sweep(&mut self) {
        let bytes = &mut self.bytes;
        self.entries.retain(|_, entry| {
            let lives = entry.blocks.iter().all(|block| block.of.strong_count() > 0);
            if !lives {
                *bytes -= entry.bytes;
            }
            lives
        });
    }

    /// Drops shapes of which nothing is kept.
    fn forget_shapes(&mut self) {
        let of_entries: HashSet<u64> = self.entries.keys().map(|key| key.shape).collect();
        let (bytes, newest) = (&mut self.bytes, self.clock);
        for known in self.shapes.values_mut() {
            known.retain(|known| {
                let stays = known.used == newest || of_entries.contains(&known.id);
                if !stays {
                    *bytes -= known.bytes;
                }
                stays
            });
        }
        self.shapes.retain(|_, known| !known.is_empty());
    }
}

impl Key {
    /// `None` of no blocks.
    fn new(shape: u64, blocks: &[&Block]) -> Option<Key> {
        let first = blocks.first()?;
        let of = Arc::as_ptr(&first.of).cast::<()>() as usize;
        Some(Key { shape, of, block: first.number, blocks: blocks.len() })
    }
}
