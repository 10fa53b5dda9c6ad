//! Reading a part: opened when first wanted, mapped, decoded by granule and column.
//!
//! The footer is read on opening, a column's index and dictionary when the column is first wanted. Every section's and
//! chunk's checksum is verified before its first use.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, ArrayRef, Int32Array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::DataType;
use memchr::memmem::Finder;

use super::Part;
use super::format::{ColumnIndex, Footer, HEADER, PartIndex, Section, TAIL, nested_array};
use super::hashes::Directory;
use crate::bytes::Reader;
use crate::checksum;
use crate::encoding::{self, CodeRange, Coded, Encoding};
use crate::error::{Decoded, Error, Result};
use crate::index::Segment;
use crate::prune::Numbers;

/// What a part keeps once it has been opened.
pub(crate) struct Open {
    pub(crate) file: Buffer,
    pub(crate) footer: Footer,
    /// The first row of each granule, and the number of rows.
    starts: Vec<u64>,
    footer_bytes: u64,
    columns: Vec<OpenColumn>,
    keys: OnceLock<Vec<ArrayRef>>,
    /// Of each index, its segments.
    pub(super) indexes: Vec<Vec<OnceLock<Segment>>>,
    /// Of the hash index.
    pub(super) directory: OnceLock<Directory>,
}

#[derive(Default)]
struct OpenColumn {
    index: OnceLock<ColumnIndex>,
    dictionary: OnceLock<ArrayRef>,
    /// One bit a granule: its chunk's checksum was verified.
    verified: Vec<AtomicU64>,
}

/// How a column is kept in a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Bytes of its chunks.
    pub bytes: u64,
    /// Bytes that its values take uncompressed.
    pub raw_bytes: u64,
    /// How many chunks have each encoding.
    pub encodings: Vec<(Encoding, usize)>,
    /// How many of its values are NULL.
    pub nulls: u64,
}

/// A length with the zeros that bring it to a multiple of 8.
fn padded(length: u64) -> u64 {
    length.saturating_add(7) & !7
}

/// The cell's value, made by `make` if it is not there.
pub(super) fn get_or_try<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

impl Part {
    /// The open file.
    pub(crate) fn open(&self) -> Result<&Open> {
        get_or_try(&self.file.open, || {
            let corrupt = |detail: String| Error::corrupt(self.path(), 0, detail);
            let file = self.file.io.read(self.path()).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => corrupt("the file is missing".into()),
                _ => Error::io("read", self.path(), error),
            })?;
            if file.len() as u64 != self.name.bytes {
                return Err(corrupt(format!("{} bytes instead of {}", file.len(), self.name.bytes)));
            }
            let end = self.name.bytes.saturating_sub(TAIL as u64);
            let (footer, hash) = Footer::read(&file).map_err(|damage| damage.at(self.path(), end))?;
            if hash != self.name.footer_hash || footer.rows != self.name.rows {
                return Err(Error::corrupt(self.path(), end, "the footer is another part's"));
            }
            let words = footer.granules.len().div_ceil(64);
            let verified = || (0..words).map(|_| AtomicU64::new(0)).collect();
            let columns =
                footer.columns.iter().map(|_| OpenColumn { verified: verified(), ..Default::default() }).collect();
            let footer_bytes = Footer::length(&file);
            let mut starts = vec![0];
            starts.extend(footer.granules.iter().scan(0, |rows, &granule| {
                *rows += u64::from(granule);
                Some(*rows)
            }));
            let segments = |index: &PartIndex| index.segments.iter().map(|_| OnceLock::new()).collect();
            let indexes = footer.indexes.iter().map(segments).collect();
            Ok(Open {
                file,
                footer,
                starts,
                footer_bytes,
                columns,
                keys: OnceLock::new(),
                indexes,
                directory: OnceLock::new(),
            })
        })
    }

    /// Bytes of a section, verified.
    pub(crate) fn section(&self, section: Section) -> Result<Buffer> {
        let open = self.open()?;
        let range = self.range(section.offset, section.length)?;
        match checksum::matches(&open.file[range.clone()], section.hash) {
            true => Ok(open.file.slice_with_length(range.start, section.length as usize)),
            false => Err(Error::corrupt(self.path(), section.offset, "a section's checksum does not match")),
        }
    }

    /// Where a section or chunk lies, its padding included.
    pub(super) fn range(&self, offset: u64, length: u64) -> Result<Range<usize>> {
        let end =
            offset.checked_add(padded(length)).filter(|&end| end <= self.name.bytes && offset >= HEADER.len() as u64);
        match end {
            Some(end) => Ok(offset as usize..end as usize),
            None => Err(Error::corrupt(self.path(), offset, format!("{length} bytes do not lie in the file"))),
        }
    }

    /// The index of a column of the file.
    pub(super) fn file_index(&self, column: usize) -> Result<&ColumnIndex> {
        let open = self.open()?;
        get_or_try(&open.columns[column].index, || {
            let section = open.footer.columns[column].index;
            let ty = open.footer.schema.field(column).data_type();
            ColumnIndex::read(&self.section(section)?, ty, open.footer.granules.len())
                .map_err(|damage| damage.at(self.path(), section.offset))
        })
    }

    /// The entries of the dictionary of a column of the file, if it has one.
    pub(super) fn file_dictionary(&self, column: usize) -> Result<Option<&ArrayRef>> {
        let open = self.open()?;
        let Some((section, entries)) = open.footer.columns[column].dictionary else { return Ok(None) };
        get_or_try(&open.columns[column].dictionary, || {
            let ty = open.footer.schema.field(column).data_type();
            encoding::decode(ty, entries as usize, &self.section(section)?, None, None)
                .map_err(|damage| damage.at(self.path(), section.offset))
        })
        .map(Some)
    }

    /// The first values of all granules, by the file's key columns.
    pub(super) fn file_keys(&self) -> Result<&[ArrayRef]> {
        let open = self.open()?;
        get_or_try(&open.keys, || {
            let footer = &open.footer;
            let section = self.section(footer.key)?;
            let mut reader = Reader::new(&section);
            let key = |&column: &usize| {
                nested_array(&mut reader, &section, footer.schema.field(column).data_type(), footer.granules.len())
                    .map_err(|damage| damage.at(self.path(), footer.key.offset))
            };
            footer.sort_key.iter().map(key).collect()
        })
        .map(Vec::as_slice)
    }

    /// How many granules there are.
    pub fn granule_count(&self) -> Result<usize> {
        Ok(self.granules()?.len())
    }

    /// The rows of each granule.
    pub(crate) fn granules(&self) -> Result<&[u32]> {
        Ok(&self.open()?.footer.granules)
    }

    /// The first row of each granule, and at the end the number of rows.
    pub(crate) fn starts(&self) -> Result<&[u64]> {
        Ok(&self.open()?.starts)
    }

    /// Bytes of a chunk, verified when they are read first.
    fn chunk(&self, granule: usize, column: usize) -> Result<Buffer> {
        let open = self.open()?;
        let index = self.file_index(column)?;
        let offset = index.offsets[granule];
        let length = index.lengths[granule];
        let range = self.range(offset, length.into())?;
        let (word, bit) = (&open.columns[column].verified[granule / 64], 1u64 << (granule % 64));
        if word.load(Ordering::Relaxed) & bit == 0 {
            if !checksum::matches(&open.file[range.clone()], index.hashes[granule]) {
                return Err(Error::corrupt(self.path(), offset, "a chunk's checksum does not match"));
            }
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(open.file.slice_with_length(range.start, length as usize))
    }

    /// Reads one column of the file, of a granule, all rows or the selected ones.
    pub(super) fn file_read(&self, granule: usize, column: usize, selection: Option<&[u32]>) -> Result<ArrayRef> {
        self.file_decode(granule, column, selection, encoding::decode)
    }

    /// The same as codes, if it is kept so.
    pub(super) fn file_codes(&self, granule: usize, column: usize, selection: Option<&[u32]>) -> Result<Option<Coded>> {
        self.file_decode(granule, column, selection, encoding::decode_codes)
    }

    /// Which rows are NULL.
    pub(super) fn file_nulls(&self, granule: usize, column: usize, selection: Option<&[u32]>) -> Result<NullBuffer> {
        self.file_decode(granule, column, selection, |_, rows, chunk, _, selection| {
            encoding::decode_nulls(rows, chunk, selection)
        })
    }

    /// How many bytes the values of a text column have, if that is known without reading them.
    pub(super) fn file_lengths(
        &self,
        granule: usize,
        column: usize,
        selection: Option<&[u32]>,
    ) -> Result<Option<Int32Array>> {
        self.file_decode(granule, column, selection, encoding::decode_lengths)
    }

    /// One column of documents, all rows or the selected ones, with only the fields of these names, if they can be read alone.
    pub(super) fn file_fields(
        &self,
        granule: usize,
        column: usize,
        selection: Option<&[u32]>,
        names: &[String],
    ) -> Result<Option<ArrayRef>> {
        self.file_decode(granule, column, selection, |ty, rows, chunk, _, selection| {
            encoding::decode_fields(ty, rows, chunk, selection, names)
        })
    }

    /// Which values of a column of integers are some numbers, where that is found without making values of what is encoded.
    pub(super) fn file_within(
        &self,
        granule: usize,
        column: usize,
        numbers: &Numbers,
    ) -> Result<Option<BooleanBuffer>> {
        self.file_decode(granule, column, None, |ty, rows, chunk, _, _| {
            encoding::decode_within(ty, rows, chunk, numbers)
        })
    }

    /// Which values of a column are kept as codes that `wanted` finds in the part's dictionary, where that is found without reading the codes.
    pub(super) fn file_codes_within(
        &self,
        granule: usize,
        column: usize,
        wanted: impl FnOnce(&ArrayRef) -> Option<CodeRange>,
    ) -> Result<Option<BooleanBuffer>> {
        self.file_decode(granule, column, None, |_, rows, chunk, dictionary, _| {
            encoding::decode_codes_within(rows, chunk, dictionary, wanted)
        })
    }

    /// Which values of a text column are empty, or else which are not, where that is found without reading them.
    pub(super) fn file_empty(&self, granule: usize, column: usize, is_empty: bool) -> Result<Option<BooleanBuffer>> {
        self.file_decode(granule, column, None, |ty, rows, chunk, _, _| {
            encoding::decode_empty(ty, rows, chunk, is_empty)
        })
    }

    /// Which values of a text column have a text in them, where that is found without looking at them one by one.
    pub(super) fn file_containing(
        &self,
        granule: usize,
        column: usize,
        needle: &Finder<'_>,
    ) -> Result<Option<BooleanBuffer>> {
        self.file_decode(granule, column, None, |ty, rows, chunk, _, _| {
            encoding::decode_containing(ty, rows, chunk, needle)
        })
    }

    fn file_decode<T>(
        &self,
        granule: usize,
        column: usize,
        selection: Option<&[u32]>,
        decode: impl FnOnce(&DataType, usize, &Buffer, Option<&ArrayRef>, Option<&[u32]>) -> Decoded<T>,
    ) -> Result<T> {
        let open = self.open()?;
        let chunk = self.chunk(granule, column)?;
        let ty = open.footer.schema.field(column).data_type();
        let rows = open.footer.granules[granule] as usize;
        let index = self.file_index(column)?;
        // Only chunks that refer to the dictionary need it.
        let dictionary = match index.encodings[granule] == Encoding::PartDictionary as u8 {
            true => self.file_dictionary(column)?,
            false => None,
        };
        decode(ty, rows, &chunk, dictionary, selection).map_err(|damage| damage.at(self.path(), index.offsets[granule]))
    }

    /// How a column of the file is kept.
    pub(super) fn file_column(&self, column: usize) -> Result<ColumnInfo> {
        let open = self.open()?;
        if column >= open.columns.len() {
            return Err(Error::invalid(format!("part {} has no column {column}", self.id())));
        }
        let index = self.file_index(column)?;
        let mut encodings = std::collections::BTreeMap::new();
        for &code in &index.encodings {
            let encoding = Encoding::from_code(code).map_err(|damage| damage.at(self.path(), 0))?;
            *encodings.entry(encoding).or_default() += 1;
        }
        let dictionary = open.footer.columns[column].dictionary.map_or(0, |(section, _)| section.length);
        Ok(ColumnInfo {
            bytes: dictionary + index.lengths.iter().map(|&length| u64::from(length)).sum::<u64>(),
            raw_bytes: open.footer.columns[column].raw_bytes,
            encodings: encodings.into_iter().collect(),
            nulls: index.nulls.iter().map(|&nulls| u64::from(nulls)).sum(),
        })
    }

    /// Verifies every byte of the file: all sections and chunks, and that they lie end to end.
    pub(crate) fn verify(&self) -> Vec<Error> {
        let open = match self.open() {
            Ok(open) => open,
            Err(error) => return vec![error],
        };
        let mut damage = Vec::new();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let mut sections: Vec<Section> = vec![open.footer.key];
        for (column, footer) in open.footer.columns.iter().enumerate() {
            sections.push(footer.index);
            sections.extend(footer.dictionary.map(|(section, _)| section));
            match self.file_index(column) {
                Err(error) => damage.push(error),
                Ok(index) => {
                    for granule in 0..open.footer.granules.len() {
                        ranges.push((index.offsets[granule], index.lengths[granule].into()));
                        damage.extend(self.file_read(granule, column, None).err());
                    }
                }
            }
        }
        sections.extend(open.footer.indexes.iter().flat_map(|index| index.segments.iter().map(|(_, section)| section)));
        for section in sections {
            ranges.push((section.offset, section.length));
            damage.extend(self.section(section).err());
        }
        damage.extend(self.file_keys().err());
        damage.extend(self.verify_indexes());
        damage.extend(self.verify_hashes().err());
        ranges.extend(self.hash_ranges().unwrap_or_default());
        if !damage.is_empty() {
            return damage;
        }
        ranges.sort_unstable();
        let mut at = HEADER.len() as u64;
        for (offset, length) in ranges {
            if offset != at {
                return vec![Error::corrupt(self.path(), at, "bytes that belong to no section")];
            }
            at += padded(length);
        }
        // The footer lies between the last section and the tail, which has its length.
        match self.name.bytes.checked_sub(at + TAIL as u64) {
            Some(length) if length == open.footer_bytes => Vec::new(),
            _ => vec![Error::corrupt(self.path(), at, "bytes that belong to no section")],
        }
    }

    /// The greatest value of a column over the whole part, when every granule knows it; `None` when one does not, or a value
    /// is NULL.
    pub(crate) fn max_of(&self, column: usize) -> Result<Option<i128>> {
        let index = self.index(column)?;
        let Some((_, max)) = index.zones.as_ref().filter(|_| index.nulls.iter().all(|&nulls| nulls == 0)) else {
            return Ok(None);
        };
        let keys = (0..max.len()).map(|row| match crate::key::key_at(max, row) {
            Some(crate::key::Key::Number(number)) => Some(number),
            _ => None,
        });
        Ok(keys.collect::<Option<Vec<_>>>().and_then(|keys| keys.into_iter().max()))
    }
}
