//! The Bloom filters of `bloom_filter`, `ngrambf_v1` and `tokenbf_v1`: what their entries are, and a filter for each block.
//!
//! The entries of `bloom_filter` are values; its filter is as large as the number of distinct ones in the block asks for. Those of the
//! other two are pieces of texts, and their filter has the size that the definition gives.

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, UInt32Type};
use hashbrown::HashSet;

use super::build::Blocks;
use super::hash::{contains, hash_bytes, hash_key, insert, size_for};
use super::open::Probe;
use super::words::{ngrams, wanted, words};
use super::{FilterSize, IndexKind, IndexTest, Piece, elements};
use crate::bytes::Reader;
use crate::encoding::{Effort, Encoder};
use crate::error::{Decoded, damaged};
use crate::key::key_at;
use crate::part::nested_array;

/// In place of a filter's length: nothing is known of the block.
const UNKNOWN: u32 = u32::MAX;
/// No filter of values is smaller (in a few bytes the bits of different values are too often the same), or larger.
const BYTES: (f64, f64) = (64.0, (64 << 20) as f64);

/// What the entries of a filter are.
#[derive(Debug, Clone, Copy)]
enum Entries {
    Values(f64),
    Ngrams(usize, FilterSize),
    Words(FilterSize),
}

impl Entries {
    fn of(kind: &IndexKind) -> Option<Entries> {
        match *kind {
            IndexKind::Bloom(rate) => Some(Entries::Values(rate)),
            IndexKind::Ngrams { n, filter } => Some(Entries::Ngrams(n as usize, filter)),
            IndexKind::Tokens(filter) => Some(Entries::Words(filter)),
            _ => None,
        }
    }

    fn hashes(&self) -> u32 {
        match self {
            Entries::Values(rate) => size_for(*rate).1,
            Entries::Ngrams(_, filter) | Entries::Words(filter) => filter.hashes,
        }
    }

    /// The hashes of all entries that a text with these pieces has for certain.
    fn of_pieces(&self, pieces: &[Piece]) -> Vec<u64> {
        let of_piece = |piece: &Piece| -> Vec<u64> {
            match self {
                Entries::Values(_) => Vec::new(),
                Entries::Ngrams(n, filter) => ngrams(&piece.text, *n).map(|run| hash_bytes(run, filter.seed)).collect(),
                Entries::Words(filter) => {
                    let whole = wanted(piece).into_iter().filter(|word| word.is_whole());
                    whole.map(|word| hash_bytes(word.text, filter.seed)).collect()
                }
            }
        };
        pieces.iter().flat_map(of_piece).collect()
    }
}

/// Builds filters.
pub(super) struct Filters {
    entries: Entries,
    /// The open block's: distinct hashes, for filters whose size follows from them.
    hashes: HashSet<u64>,
    /// The open block's filter, when its size is given.
    bitmap: Vec<u8>,
    is_empty: bool,
    unknown: bool,
    lengths: Vec<u32>,
    filters: Vec<u8>,
}

impl Filters {
    /// `None` for an index of another kind.
    pub(super) fn new(kind: &IndexKind) -> Option<Filters> {
        let entries = Entries::of(kind)?;
        let bitmap = match entries {
            Entries::Values(_) => Vec::new(),
            Entries::Ngrams(_, filter) | Entries::Words(filter) => vec![0; filter.bytes as usize],
        };
        Some(Filters {
            entries,
            hashes: HashSet::new(),
            bitmap,
            is_empty: true,
            unknown: false,
            lengths: Vec::new(),
            filters: Vec::new(),
        })
    }
}

impl Blocks for Filters {
    fn add(&mut self, values: Option<&ArrayRef>, _: usize) -> Decoded<()> {
        let Some(values) = values else {
            self.unknown = true;
            return Ok(());
        };
        match self.entries {
            Entries::Values(_) => {
                let values = elements(values);
                let keys = (0..values.len()).filter_map(|row| key_at(&values, row));
                self.hashes.extend(keys.map(|key| hash_key(key, 0)));
                self.is_empty = self.hashes.is_empty();
            }
            Entries::Ngrams(n, filter) => {
                for text in values.as_string_view().iter().flatten() {
                    for run in ngrams(text, n) {
                        insert(&mut self.bitmap, hash_bytes(run, filter.seed), filter.hashes);
                        self.is_empty = false;
                    }
                }
            }
            Entries::Words(filter) => {
                for text in values.as_string_view().iter().flatten() {
                    for word in words(text.as_bytes()) {
                        insert(&mut self.bitmap, hash_bytes(word, filter.seed), filter.hashes);
                        self.is_empty = false;
                    }
                }
            }
        }
        Ok(())
    }

    fn end_block(&mut self) -> Decoded<()> {
        if let Entries::Values(rate) = self.entries {
            let (bits, hashes) = size_for(rate);
            let bytes = (bits * self.hashes.len() as f64 / 8.0).ceil().clamp(BYTES.0, BYTES.1);
            self.bitmap = vec![0; bytes as usize];
            self.hashes.drain().for_each(|hash| insert(&mut self.bitmap, hash, hashes));
        }
        if self.unknown {
            self.lengths.push(UNKNOWN);
        } else if self.is_empty {
            self.lengths.push(0);
        } else {
            self.lengths.push(self.bitmap.len() as u32);
            self.filters.extend_from_slice(&self.bitmap);
        }
        self.bitmap.fill(0);
        (self.is_empty, self.unknown) = (true, false);
        Ok(())
    }

    fn held(&self) -> usize {
        self.filters.len() + self.hashes.len() * 16
    }

    fn end_segment(&mut self, out: &mut Vec<u8>) -> Decoded<()> {
        Encoder::new(Effort::Fast).encode_nested(&UInt32Array::from(std::mem::take(&mut self.lengths)), out)?;
        out.append(&mut self.filters);
        Ok(())
    }
}

/// The filters of a segment's blocks.
pub(super) struct OpenFilters {
    entries: Entries,
    /// The type of the values (the elements, of lists).
    ty: DataType,
    /// Of each block: where its filter is; `None` when nothing is known.
    filters: Vec<Option<Buffer>>,
}

impl OpenFilters {
    pub(super) fn read(kind: &IndexKind, ty: &DataType, section: &Buffer, blocks: usize) -> Decoded<OpenFilters> {
        let Some(entries) = Entries::of(kind) else { return damaged("an index of another kind") };
        let mut reader = Reader::new(section);
        let lengths = nested_array(&mut reader, section, &DataType::UInt32, blocks)?;
        let mut filters = Vec::with_capacity(blocks);
        for &length in lengths.as_primitive::<UInt32Type>().values() {
            if length == UNKNOWN {
                filters.push(None);
                continue;
            }
            let at = reader.position();
            reader.take(length as usize)?;
            filters.push(Some(section.slice_with_length(at, length as usize)));
        }
        reader.end()?;
        let ty = match ty {
            DataType::List(item) => item.data_type().clone(),
            ty => ty.clone(),
        };
        Ok(OpenFilters { entries, ty, filters })
    }
}

impl Probe for OpenFilters {
    fn blocks(&self, test: &IndexTest) -> Vec<bool> {
        let hashes = self.entries.hashes();
        let has = |filter: &[u8], hash: u64| !filter.is_empty() && contains(filter, hash, hashes);
        let by = |passes: &dyn Fn(&[u8]) -> bool| -> Vec<bool> {
            self.filters.iter().map(|filter| filter.as_ref().is_none_or(|filter| passes(filter))).collect()
        };
        match (test, self.entries) {
            (IndexTest::Compare { op, values }, Entries::Values(_))
                if op.is_equality() && *values.data_type() == self.ty =>
            {
                let keys = (0..values.len()).filter_map(|row| key_at(values, row));
                let wanted: Vec<u64> = keys.map(|key| hash_key(key, 0)).collect();
                by(&|filter| wanted.iter().any(|&hash| has(filter, hash)))
            }
            (IndexTest::Contains(pieces), Entries::Ngrams(..) | Entries::Words(_)) => {
                let wanted = self.entries.of_pieces(pieces);
                by(&|filter| wanted.iter().all(|&hash| has(filter, hash)))
            }
            _ => vec![true; self.filters.len()],
        }
    }
}
