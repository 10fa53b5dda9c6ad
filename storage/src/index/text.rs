//! `text`: an inverted index. Each word of a segment, and the rows that have it.
//!
//! A segment is built in memory, word by word as texts come, and written sorted: words in pages of [`PAGE`], each page with its words, the
//! lengths of their row lists, and these; before them the first word of each page. A look-up finds the page by binary search, the
//! word in it likewise, and reads one list. A word of which only a part is known (`LIKE '%part%'`) is looked for in all pages.
//!
//! Rows are counted from the segment's first. A list of few rows is their distances; a longer one a roaring bitmap in its portable
//! form. Texts that are not known, or that hold a word longer than [`WORD_MAX`], are in one more list of rows that pass always.

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, UInt32Array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, UInt32Type};
use hashbrown::HashMap;
use memchr::memmem::Finder;
use roaring::RoaringBitmap;

use super::IndexTest;
use super::build::Blocks;
use super::words::{Wanted, wanted, words};
use crate::bytes::{Reader, Write};
use crate::encoding::{Effort, Encoder};
use crate::error::{Damage, Decoded, damaged};
use crate::part::nested_array;

/// Words of a page.
const PAGE: usize = 256;
/// Longer words are not indexed.
const WORD_MAX: usize = 255;
/// A list of up to this many rows is written as distances.
const FEW: usize = 16;
/// What an entry of the map takes besides its word and rows, about.
const ENTRY_BYTES: usize = 72;

/// The rows that have a word.
enum RowList {
    Few(Vec<u32>),
    Many(RoaringBitmap),
}

impl RowList {
    /// Adds a row that is not before the last one; says whether it is new.
    fn push(&mut self, row: u32) -> bool {
        match self {
            RowList::Few(rows) => {
                if rows.last() == Some(&row) {
                    return false;
                }
                rows.push(row);
                if rows.len() > FEW {
                    *self = RowList::Many(rows.iter().copied().collect());
                }
                true
            }
            RowList::Many(rows) => rows.insert(row),
        }
    }
}

/// Builds the index.
#[derive(Default)]
pub(super) struct Postings {
    words: HashMap<Vec<u8>, RowList>,
    always: RoaringBitmap,
    rows: u32,
    bytes: usize,
}

impl Postings {
    fn add_text(&mut self, row: u32, text: &[u8]) {
        for word in words(text) {
            if word.len() > WORD_MAX {
                self.always.insert(row);
                continue;
            }
            let list = self.words.entry_ref(word).or_insert_with(|| {
                self.bytes += word.len() + ENTRY_BYTES;
                RowList::Few(Vec::new())
            });
            if list.push(row) {
                self.bytes += 3;
            }
        }
    }
}

impl Blocks for Postings {
    fn add(&mut self, values: Option<&ArrayRef>, rows: usize) -> Decoded<()> {
        let first = self.rows;
        self.rows += rows as u32;
        let Some(values) = values else {
            self.always.insert_range(first..self.rows);
            return Ok(());
        };
        let texts = values.as_string_view();
        for (row, text) in (first..).zip(texts) {
            text.into_iter().for_each(|text| self.add_text(row, text.as_bytes()));
        }
        Ok(())
    }

    fn end_block(&mut self) -> Decoded<()> {
        Ok(())
    }

    fn held(&self) -> usize {
        self.bytes
    }

    fn end_segment(&mut self, out: &mut Vec<u8>) -> Decoded<()> {
        let done = std::mem::take(self);
        let mut words: Vec<(Vec<u8>, RowList)> = done.words.into_iter().collect();
        words.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut always = Vec::new();
        if !done.always.is_empty() {
            write_bitmap(done.always, &mut always)?;
        }
        out.put_bytes(&always);
        out.put_varint(words.len() as u64);
        let (mut firsts, mut lengths, mut pages) = (Vec::new(), Vec::new(), Vec::new());
        let mut words = words.into_iter().peekable();
        while let Some((first, _)) = words.peek() {
            firsts.push(first.clone());
            let from = pages.len();
            write_page(words.by_ref().take(PAGE), &mut pages)?;
            lengths.push(u32::try_from(pages.len() - from).map_err(|_| Damage("a page is over 4 GiB".into()))?);
        }
        Encoder::new(Effort::Fast).encode_nested(&BinaryViewArray::from_iter_values(firsts), out)?;
        Encoder::new(Effort::Fast).encode_nested(&UInt32Array::from(lengths), out)?;
        out.append(&mut pages);
        Ok(())
    }
}

fn write_page(words: impl Iterator<Item = (Vec<u8>, RowList)>, out: &mut Vec<u8>) -> Decoded<()> {
    let (mut names, mut lengths, mut lists) = (Vec::new(), Vec::new(), Vec::new());
    for (word, rows) in words {
        let from = lists.len();
        match rows {
            RowList::Few(rows) => {
                lists.put_varint(rows.len() as u64);
                let mut last = 0;
                for row in rows {
                    lists.put_varint((row - last).into());
                    last = row;
                }
            }
            RowList::Many(rows) => {
                lists.put_varint(rows.len());
                write_bitmap(rows, &mut lists)?;
            }
        }
        names.push(word);
        lengths.push((lists.len() - from) as u32);
    }
    Encoder::new(Effort::Fast).encode_nested(&BinaryViewArray::from_iter_values(names), out)?;
    Encoder::new(Effort::Fast).encode_nested(&UInt32Array::from(lengths), out)?;
    out.append(&mut lists);
    Ok(())
}

fn write_bitmap(mut rows: RoaringBitmap, out: &mut Vec<u8>) -> Decoded<()> {
    rows.optimize();
    rows.serialize_into(out).map_err(|error| Damage(error.to_string()))
}

fn read_bitmap(bytes: &[u8]) -> Decoded<RoaringBitmap> {
    RoaringBitmap::deserialize_from(bytes).map_err(|error| Damage(format!("a list of rows: {error}")))
}

fn read_list(bytes: &[u8]) -> Decoded<RoaringBitmap> {
    let mut reader = Reader::new(bytes);
    let count = reader.varint()?;
    if count > FEW as u64 {
        let rows = read_bitmap(&bytes[reader.position()..])?;
        return if rows.len() == count { Ok(rows) } else { damaged("a list of another length") };
    }
    let (mut rows, mut last) = (RoaringBitmap::new(), 0u32);
    for _ in 0..count {
        let Some(row) = last.checked_add(reader.varint_u32()?) else { return damaged("a row past the last") };
        last = row;
        rows.insert(row);
    }
    reader.end()?;
    Ok(rows)
}

/// The words of one page.
struct Page {
    words: ArrayRef,
    /// Where each word's list begins among `lists`, and where the last ends.
    bounds: Vec<usize>,
    lists: Buffer,
}

impl Page {
    fn read(bytes: &Buffer, count: usize) -> Decoded<Page> {
        let mut reader = Reader::new(bytes);
        let words = nested_array(&mut reader, bytes, &DataType::BinaryView, count)?;
        let lengths = nested_array(&mut reader, bytes, &DataType::UInt32, count)?;
        let mut bounds = vec![0];
        let mut end = 0;
        for &length in lengths.as_primitive::<UInt32Type>().values() {
            end += length as usize;
            bounds.push(end);
        }
        if end != reader.left() {
            return damaged("a page's lists have another length");
        }
        let lists = bytes.slice_with_length(reader.position(), end);
        Ok(Page { words, bounds, lists })
    }

    fn rows(&self, word: usize) -> Decoded<RoaringBitmap> {
        read_list(&self.lists[self.bounds[word]..self.bounds[word + 1]])
    }
}

/// A segment of a text index.
pub(crate) struct OpenPostings {
    always: RoaringBitmap,
    words: usize,
    /// The first word of each page.
    firsts: ArrayRef,
    pages: Vec<Buffer>,
}

impl OpenPostings {
    pub(super) fn read(section: &Buffer) -> Decoded<OpenPostings> {
        let mut reader = Reader::new(section);
        let always = match reader.bytes()? {
            [] => RoaringBitmap::new(),
            bytes => read_bitmap(bytes)?,
        };
        let words = reader.count()?;
        let pages = words.div_ceil(PAGE);
        let firsts = nested_array(&mut reader, section, &DataType::BinaryView, pages)?;
        let lengths = nested_array(&mut reader, section, &DataType::UInt32, pages)?;
        let mut found = Vec::with_capacity(pages);
        for &length in lengths.as_primitive::<UInt32Type>().values() {
            let at = reader.position();
            reader.take(length as usize)?;
            found.push(section.slice_with_length(at, length as usize));
        }
        reader.end()?;
        Ok(OpenPostings { always, words, firsts, pages: found })
    }

    fn page(&self, page: usize) -> Decoded<Page> {
        Page::read(&self.pages[page], PAGE.min(self.words - page * PAGE))
    }

    /// Of each granule, whether one row of it has all that is wanted.
    pub(super) fn may_match(&self, test: &IndexTest, granules: &[u32]) -> Decoded<Vec<bool>> {
        let IndexTest::Contains(pieces) = test else { return Ok(vec![true; granules.len()]) };
        let mut rows: Option<RoaringBitmap> = None;
        for word in pieces.iter().flat_map(wanted) {
            let having = self.rows(&word)?;
            rows = Some(match rows {
                Some(rows) => rows & having,
                None => having,
            });
        }
        let Some(mut rows) = rows else { return Ok(vec![true; granules.len()]) };
        rows |= &self.always;
        let mut first = 0;
        let passes = |&count: &u32| {
            let range = first..first + count;
            first = range.end;
            rows.range_cardinality(range) > 0
        };
        Ok(granules.iter().map(passes).collect())
    }

    /// The rows that have such a word.
    fn rows(&self, word: &Wanted<'_>) -> Decoded<RoaringBitmap> {
        let firsts = self.firsts.as_binary_view();
        // The first page that may have words from this one on.
        let first = match word.open_before {
            true => 0,
            false => firsts.iter().flatten().take_while(|first| *first <= word.text).count().saturating_sub(1),
        };
        let finder = Finder::new(word.text);
        let fits = |candidate: &[u8]| match (word.open_before, word.open_after) {
            (false, false) => candidate == word.text,
            (false, true) => candidate.starts_with(word.text),
            (true, false) => candidate.ends_with(word.text),
            (true, true) => finder.find(candidate).is_some(),
        };
        let mut rows = RoaringBitmap::new();
        for page in first..self.pages.len() {
            let begins = firsts.value(page);
            if !word.open_before && begins > word.text && !begins.starts_with(word.text) {
                break;
            }
            let page = self.page(page)?;
            let words = page.words.as_binary_view();
            for at in (0..words.len()).filter(|&at| fits(words.value(at))) {
                rows |= page.rows(at)?;
            }
        }
        Ok(rows)
    }

    /// Reads all words and lists.
    pub(super) fn verify(&self) -> Decoded<()> {
        (0..self.pages.len()).try_for_each(|page| {
            let page = self.page(page)?;
            (0..page.words.len()).try_for_each(|word| page.rows(word).map(drop))
        })
    }
}
