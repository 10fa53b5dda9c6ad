//! The skip indexes of a part: found by the index's id, opened segment by segment when they are asked.

use super::Part;
use super::format::PartIndex;
use super::reader::get_or_try;
use crate::error::{Error, Result};
use crate::index::{IndexTest, Segment};

impl Part {
    /// Drops from `left`, which is sorted, the granules in which no row passes the test. A part without the index keeps all.
    pub(crate) fn retain_by_index(&self, id: u32, key: usize, test: &IndexTest, left: &mut Vec<u32>) -> Result<()> {
        let open = self.open()?;
        let is_it = |index: &PartIndex| index.id == id && index.key as usize == key;
        let Some(number) = open.footer.indexes.iter().position(is_it) else { return Ok(()) };
        let index = &open.footer.indexes[number];
        let rows = &open.footer.granules;
        let (mut kept, mut first) = (Vec::with_capacity(left.len()), 0);
        for (at, &(count, section)) in index.segments.iter().enumerate() {
            let range = first..first + count;
            let within = left.partition_point(|&granule| granule < range.start)
                ..left.partition_point(|&granule| granule < range.end);
            first = range.end;
            // A segment of which nothing is wanted is not read.
            if within.is_empty() {
                continue;
            }
            let rows = &rows[range.start as usize..range.end as usize];
            let passes = self
                .segment(number, at)?
                .may_match(test, rows)
                .map_err(|damage| damage.at(self.path(), section.offset))?;
            kept.extend(left[within].iter().filter(|&&granule| passes[(granule - range.start) as usize]));
        }
        *left = kept;
        Ok(())
    }

    fn segment(&self, index: usize, at: usize) -> Result<&Segment> {
        let open = self.open()?;
        get_or_try(&open.indexes[index][at], || {
            let index = &open.footer.indexes[index];
            let (granules, section) = index.segments[at];
            let bytes = self.section(section)?;
            Segment::read(index, &bytes, granules).map_err(|damage| damage.at(self.path(), section.offset))
        })
    }

    /// How many bytes an index ([`crate::IndexDef::id`]) takes in the file; `None` when the part does not have it.
    pub fn index_bytes(&self, id: u32) -> Result<Option<u64>> {
        let indexes = &self.open()?.footer.indexes;
        let bytes = |index: &PartIndex| index.segments.iter().map(|(_, section)| section.length).sum::<u64>();
        let mut sizes = indexes.iter().filter(|index| index.id == id).map(bytes).peekable();
        Ok(if sizes.peek().is_none() { None } else { Some(sizes.sum()) })
    }

    /// Reads every segment; what is wrong with them.
    pub(super) fn verify_indexes(&self) -> Vec<Error> {
        let open = match self.open() {
            Ok(open) => open,
            Err(error) => return vec![error],
        };
        let mut damage = Vec::new();
        for (number, index) in open.footer.indexes.iter().enumerate() {
            for (at, (_, section)) in index.segments.iter().enumerate() {
                let read = self.segment(number, at);
                let whole = |segment: &Segment| segment.verify().map_err(|wrong| wrong.at(self.path(), section.offset));
                damage.extend(read.and_then(whole).err());
            }
        }
        damage
    }
}
