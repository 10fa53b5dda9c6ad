//! A part's hash index: its rows by the hash of their unique key, mapped and searched in place (FORMAT.md, "Hash index").
//!
//! Entries are sorted and cut into blocks. What is in memory is the directory, 16 bytes a block: its first hash, which leads to the
//! block, and its checksum, verified when the block is first read. Within a block, where hashes are spread evenly, the search begins
//! where the hash should be.

use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::ArrayRef;

use super::Part;
use super::format::{PartHashes, Section};
use super::reader::get_or_try;
use crate::bytes::{Reader, Write};
use crate::checksum;
use crate::def::TableDef;
use crate::error::{Decoded, Error, Result, damaged};
use crate::unique::{Entry, hash_keys};

/// Entries of a block; the last one may have fewer.
pub(crate) const BLOCK: usize = 8192;
/// Bytes of an entry: hash and row.
const ENTRY: usize = 12;

/// Where the blocks are, once the index was opened.
pub(crate) struct Directory {
    /// The first hash of each block.
    firsts: Vec<u64>,
    checksums: Vec<u64>,
    /// One bit a block: its checksum was verified.
    verified: Vec<AtomicU64>,
}

/// Bytes of a block with so many entries, padded.
fn block_bytes(entries: usize) -> usize {
    (entries * ENTRY).next_multiple_of(8)
}

/// Sorts entries and hands them out as blocks, each with its line of the directory.
pub(crate) fn blocks(mut entries: Vec<Entry>) -> impl Iterator<Item = (Vec<u8>, [u8; 16])> {
    entries.sort_unstable();
    let mut at = 0;
    std::iter::from_fn(move || {
        let block = &entries[at..entries.len().min(at + BLOCK)];
        at += block.len();
        let (first, _) = block.first()?;
        let mut bytes = Vec::with_capacity(block_bytes(block.len()));
        block.iter().for_each(|(hash, _)| bytes.put_u64(*hash));
        block.iter().for_each(|(_, row)| bytes.put_u32(*row));
        bytes.resize(block_bytes(block.len()), 0);
        let mut line = [0; 16];
        line[..8].copy_from_slice(&first.to_le_bytes());
        line[8..].copy_from_slice(&checksum::of(&bytes).to_le_bytes());
        Some((bytes, line))
    })
}

/// One block: hashes, then rows.
struct Block<'a> {
    hashes: &'a [u8],
    rows: &'a [u8],
}

impl Block<'_> {
    fn len(&self) -> usize {
        self.hashes.len() / 8
    }

    fn hash(&self, at: usize) -> u64 {
        self.hashes[8 * at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn row(&self, at: usize) -> u32 {
        self.rows[4 * at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// The first entry whose hash is not less, between `first`, the block's first hash, and `last`, the next one's.
    fn find(&self, hash: u64, first: u64, last: u64) -> usize {
        let share = u128::from(hash.saturating_sub(first)) * self.len() as u128;
        let guess = ((share / u128::from(last.saturating_sub(first).max(1))) as usize).min(self.len() - 1);
        let (mut low, mut high, mut step) = (guess, guess, 1);
        if self.hash(guess) < hash {
            high = loop {
                low = high + 1;
                high += step;
                step *= 2;
                if high >= self.len() {
                    break self.len();
                }
                if self.hash(high) >= hash {
                    break high;
                }
            };
        } else {
            while low > 0 && self.hash(low - 1) >= hash {
                high = low - 1;
                low = high.saturating_sub(step);
                step *= 2;
                if self.hash(low) < hash {
                    break;
                }
            }
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.hash(middle) < hash { low = middle + 1 } else { high = middle }
        }
        low
    }
}

impl Part {
    /// Whether it is indexed by the unique key of a definition.
    pub(crate) fn has_hashes_of(&self, def: &TableDef) -> Result<bool> {
        let footer = &self.open()?.footer;
        let (Some(hashes), Some(key)) = (&footer.hashes, &def.key) else { return Ok(false) };
        Ok(hashes.key.iter().map(|&at| footer.ids[at]).eq(key.iter().map(|&at| def.ids[at])))
    }

    /// Hands on each row whose key may have one of these hashes, which are ascending, with the number of the hash.
    pub(crate) fn rows_of_hashes(
        &self,
        hashes: impl Iterator<Item = (u64, u32)>,
        mut found: impl FnMut(u32, u32),
    ) -> Result<()> {
        let Some((directory, index)) = self.directory()? else { return Ok(()) };
        let mut open: Option<(usize, Block<'_>)> = None;
        for (hash, number) in hashes {
            // The block before may end with the same hash.
            let start = directory.firsts.partition_point(|first| *first < hash).saturating_sub(1);
            for at in start..directory.firsts.len() {
                let first = directory.firsts[at];
                if first > hash {
                    break;
                }
                if open.as_ref().is_none_or(|(opened, _)| *opened != at) {
                    open = Some((at, self.block(directory, index, at)?));
                }
                let Some((_, block)) = &open else { break };
                let last = directory.firsts.get(at + 1).copied().unwrap_or(u64::MAX);
                let from = block.find(hash, first, last);
                let same = (from..block.len()).take_while(|&entry| block.hash(entry) == hash);
                for entry in same {
                    let row = block.row(entry);
                    if u64::from(row) >= self.rows() {
                        return Err(Error::corrupt(self.path(), index.offset, "a row that is not in the part"));
                    }
                    found(number, row);
                }
            }
        }
        Ok(())
    }

    /// All hashes, ascending.
    pub(crate) fn each_hash(&self, mut each: impl FnMut(u64, u32) -> Result<()>) -> Result<()> {
        let Some((directory, index)) = self.directory()? else { return Ok(()) };
        for at in 0..directory.firsts.len() {
            let block = self.block(directory, index, at)?;
            (0..block.len()).try_for_each(|entry| each(block.hash(entry), block.row(entry)))?;
        }
        Ok(())
    }

    fn directory(&self) -> Result<Option<(&Directory, &PartHashes)>> {
        let open = self.open()?;
        let Some(index) = &open.footer.hashes else { return Ok(None) };
        let directory = get_or_try(&open.directory, || {
            let section = self.section(index.directory)?;
            read_directory(&section, open.footer.rows).map_err(|damage| damage.at(self.path(), index.directory.offset))
        })?;
        Ok(Some((directory, index)))
    }

    fn block(&self, directory: &Directory, index: &PartHashes, at: usize) -> Result<Block<'_>> {
        let open = self.open()?;
        let entries = (self.rows() as usize - at * BLOCK).min(BLOCK);
        let (offset, length) = (index.offset + (at * BLOCK * ENTRY) as u64, block_bytes(entries));
        let bytes = &open.file[self.range(offset, length as u64)?];
        let (word, bit) = (&directory.verified[at / 64], 1u64 << (at % 64));
        if word.load(Ordering::Relaxed) & bit == 0 {
            if !checksum::matches(bytes, directory.checksums[at]) {
                return Err(Error::corrupt(self.path(), offset, "the checksum of a block of hashes does not match"));
            }
            word.fetch_or(bit, Ordering::Relaxed);
        }
        let (hashes, rest) = bytes.split_at(8 * entries);
        Ok(Block { hashes, rows: &rest[..4 * entries] })
    }

    /// Where the blocks and the directory lie.
    pub(super) fn hash_ranges(&self) -> Result<Vec<(u64, u64)>> {
        let Some(index) = &self.open()?.footer.hashes else { return Ok(Vec::new()) };
        let bytes = (self.rows() as usize / BLOCK * BLOCK * ENTRY + block_bytes(self.rows() as usize % BLOCK)) as u64;
        Ok(vec![(index.offset, bytes), (index.directory.offset, index.directory.length)])
    }

    /// Compares the index with the rows; what is wrong.
    pub(super) fn verify_hashes(&self) -> Result<()> {
        let open = self.open()?;
        let Some(index) = &open.footer.hashes else { return Ok(()) };
        let wrong = |detail: &str| Error::corrupt(self.path(), index.offset, detail);
        // By row, its hash; and how many were there.
        let (mut of_row, mut before, mut count) = (vec![0u64; self.rows() as usize], (0, 0), 0);
        self.each_hash(|hash, row| {
            let place = of_row.get_mut(row as usize).ok_or_else(|| wrong("a row that is not in the part"))?;
            if count > 0 && (hash, row) <= before {
                return Err(wrong("hashes that are not in order"));
            }
            (*place, before, count) = (hash, (hash, row), count + 1);
            Ok(())
        })?;
        let starts = self.starts()?;
        for granule in 0..open.footer.granules.len() {
            let key = |&column: &usize| self.file_read(granule, column, None);
            let keys: Vec<ArrayRef> = index.key.iter().map(key).collect::<Result<_>>()?;
            if hash_keys(&keys) != of_row[starts[granule] as usize..starts[granule + 1] as usize] {
                return Err(wrong("hashes that are not those of the rows"));
            }
        }
        Ok(())
    }
}

fn read_directory(section: &[u8], rows: u64) -> Decoded<Directory> {
    let blocks = (rows as usize).div_ceil(BLOCK);
    let mut reader = Reader::new(section);
    let mut directory = Directory { firsts: Vec::new(), checksums: Vec::new(), verified: Vec::new() };
    directory.verified.extend((0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)));
    if section.len() != 16 * blocks {
        return damaged(format!("{} bytes for {blocks} blocks of hashes", section.len()));
    }
    for _ in 0..blocks {
        directory.firsts.push(reader.u64()?);
        directory.checksums.push(reader.u64()?);
    }
    if !directory.firsts.is_sorted() {
        return damaged("blocks of hashes that are not in order");
    }
    Ok(directory)
}

/// What the footer says of the index.
pub(crate) fn footer(key: &[usize], offset: u64, directory: Section) -> PartHashes {
    PartHashes { key: key.to_vec(), offset, directory }
}
