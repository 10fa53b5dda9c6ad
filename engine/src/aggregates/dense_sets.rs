//! Sets of words that lie close together, as bits: one for each value that there may be.
//!
//! A group's words with the same high bits share a block of 2^[`BLOCK_BITS`] bits, which is made once [`WORDS_MIN`] of them came. From then on a row
//! costs two loads and a bit, and equal values are never there twice, so that nothing has to be rid of duplicates and counting is counting bits.
//! Blocks are made only while they take no more than the words that came would by themselves, nor more than is near the processor: words that are few for their range, or far from those
//! that came first, are left to the caller; so are all that still come, if those were most.

const BLOCK_BITS: u32 = 16;
const BLOCK_WORDS: usize = (1 << BLOCK_BITS) / 64;
/// Blocks of a group, at the most.
const BLOCKS_MAX: u64 = 1024;
/// So many words come to a place before it has a block.
const WORDS_MIN: u32 = 64;
/// What there may be of blocks before any words came, for each word, and in all: where they are many, a row waits for memory. And of places.
const ROOM_FIRST: usize = 1 << 20;
const ROOM_OF_WORD: usize = 16;
const ROOM_MAX: usize = 32 << 20;
const PLACES_OF_WORD: usize = 4;
/// Without a block: less the words that came.
const NONE: u32 = u32::MAX;
/// After so many words one of how many has to have had a block.
const LOOKED_AT: [(usize, usize); 2] = [(1 << 18, 4), (1 << 20, 2)];

/// Sets of words, by group.
#[derive(Default)]
pub(super) struct DenseSets {
    /// The high bits of the least words that there may be.
    base: u64,
    /// How many blocks a group may have.
    stride: usize,
    /// Which block it is that a group has for some high bits, or how many words came without one.
    places: Vec<u32>,
    bits: Vec<u64>,
    /// How many words came, and how many of them had no block.
    came: usize,
    left: usize,
    gave_up: bool,
}

impl DenseSets {
    /// For words like some that came: `None` if they are far apart.
    pub(super) fn for_words(words: impl Iterator<Item = u64> + Clone) -> Option<DenseSets> {
        let (low, high) = (words.clone().min()? >> BLOCK_BITS, words.max()? >> BLOCK_BITS);
        let blocks = high - low + 1;
        if blocks > BLOCKS_MAX / 2 {
            return None;
        }
        // As much room again for others, on either side.
        let stride = (2 * blocks).next_power_of_two();
        Some(DenseSets {
            base: low.saturating_sub((stride - blocks) / 2),
            stride: stride as usize,
            ..DenseSets::default()
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    pub(super) fn memory(&self) -> usize {
        self.places.capacity() * size_of::<u32>() + self.bits.capacity() * size_of::<u64>()
    }

    /// Says that so many words come.
    pub(super) fn expect(&mut self, words: usize) {
        let (before, came) = (self.came, self.came + words);
        let is_in_vain = |&(at, one_of)| before < at && came >= at && self.left > before - before / one_of;
        self.gave_up |= LOOKED_AT.iter().any(is_in_vain);
        self.came = came;
    }

    /// Adds a word; false if it has no place.
    #[inline]
    pub(super) fn add(&mut self, word: u64, group: u32) -> bool {
        if self.gave_up {
            return false;
        }
        let place = self.at(word, group).and_then(|at| match self.places.get(at) {
            Some(&place) if is_block(place) => Some(place),
            _ => self.begin(at),
        });
        let Some(place) = place else {
            self.left += 1;
            return false;
        };
        self.bits[place as usize * BLOCK_WORDS + in_block(word)] |= 1 << (word % 64);
        true
    }

    pub(super) fn has(&self, word: u64, group: u32) -> bool {
        let place = self.at(word, group).and_then(|at| self.places.get(at)).filter(|&&place| is_block(place));
        place.is_some_and(|&place| self.bits[place as usize * BLOCK_WORDS + in_block(word)] >> (word % 64) & 1 == 1)
    }

    /// Where the place of a word's block is.
    #[inline]
    fn at(&self, word: u64, group: u32) -> Option<usize> {
        let block = (word >> BLOCK_BITS).wrapping_sub(self.base);
        (block < self.stride as u64).then(|| group as usize * self.stride + block as usize)
    }

    /// Makes a block, if it is worth it and there is room.
    fn begin(&mut self, at: usize) -> Option<u32> {
        if at >= self.places.len() {
            if !self.reaches(at) {
                return None;
            }
            self.places.resize(at + 1, NONE);
        }
        if self.places[at] > NONE - WORDS_MIN {
            self.places[at] -= 1;
            return None;
        }
        let bytes = size_of_val(self.bits.as_slice()) + size_of::<u64>() * BLOCK_WORDS;
        (bytes <= (ROOM_FIRST + ROOM_OF_WORD * self.came).min(ROOM_MAX)).then(|| self.make(at))
    }

    /// Whether there may be so many places.
    fn reaches(&self, at: usize) -> bool {
        at * size_of::<u32>() <= ROOM_FIRST + PLACES_OF_WORD * self.came
    }

    fn make(&mut self, at: usize) -> u32 {
        let place = (self.bits.len() / BLOCK_WORDS) as u32;
        self.bits.resize(self.bits.len() + BLOCK_WORDS, 0);
        self.places.resize(self.places.len().max(at + 1), NONE);
        self.places[at] = place;
        place
    }

    /// All blocks: their group, the first word that may be in them, and bits.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (u32, u64, &[u64])> {
        let made = self.places.iter().enumerate().filter(|(_, place)| is_block(**place));
        made.map(|(at, &place)| {
            let first = (self.base + (at % self.stride) as u64) << BLOCK_BITS;
            ((at / self.stride) as u32, first, &self.bits[place as usize * BLOCK_WORDS..][..BLOCK_WORDS])
        })
    }

    /// Adds a block of another; false if its words have no place here.
    pub(super) fn merge(&mut self, group: u32, first: u64, bits: &[u64]) -> bool {
        let Some(at) = self.at(first, group).filter(|&at| self.reaches(at)) else { return false };
        let place = self.places.get(at).copied().filter(|&place| is_block(place)).unwrap_or_else(|| self.make(at));
        let own = &mut self.bits[place as usize * BLOCK_WORDS..][..BLOCK_WORDS];
        own.iter_mut().zip(bits).for_each(|(own, other)| *own |= other);
        true
    }
}

fn is_block(place: u32) -> bool {
    place < NONE - WORDS_MIN
}

fn in_block(word: u64) -> usize {
    (word as usize % (1 << BLOCK_BITS)) / 64
}
