//! Merges: several parts of one partition become one, streamed.
//!
//! Each input is read granule by granule, and a granule only when its first key (which the part's key index has) is the least of
//! all; so what is in memory is one granule of each input that overlaps, and the output granule being filled. A binary heap of the
//! inputs' next keys says whose turn it is; the winner gives all its rows that are before the runner-up's next key, found by
//! galloping, so parts that do not overlap are passed on in whole granules. Equal keys keep the order of the parts.
//!
//! Deleted rows are left out. Without a sort key the parts follow each other. The result replaces its inputs by one commit, which fails when one of them is
//! gone by then (truncated, dropped, expired); the result is then garbage. Rows that were deleted meanwhile are deleted in the result too
//! ([`mod@crate::moved`]); if rows were folded, nobody can tell which they are, and the merge is done again without.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicBool};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::error::ArrowError;
use arrow::row::Rows;

use crate::committer::Expect;
use crate::def::{Collapse, PartId, TableDef, TableId};
use crate::encoding::{Effort, raw_size};
use crate::error::{Error, Result};
use crate::fold::Fold;
use crate::maintain::now_micros;
use crate::marks::Ranks;
use crate::moved::{Late, Merged, Moved};
use crate::part::{NewPart, PartWriter, Target};
use crate::rows::living;
use crate::shown::Shown;
use crate::sort::KeyRows;
use crate::state::Op;
use crate::store::Shared;

/// A granule is cut when its rows take about this much.
const GRANULE_BYTES: usize = 64 << 20;
/// Parts from this size on are encoded with more effort: they are read often and rewritten seldom.
const DENSE_BYTES: u64 = 64 << 20;
/// Runs of this many rows are copied as slices, shorter ones row by row.
const SLICE_ROWS: usize = 16;

/// Parts of one partition, oldest first, that are to become one.
#[derive(Debug)]
pub(crate) struct MergeTask {
    pub(crate) table: TableId,
    pub(crate) def: Arc<TableDef>,
    pub(crate) parts: Vec<Shown>,
    /// Raised when nobody waits for it any more.
    pub(crate) stop: Option<Arc<AtomicBool>>,
}

impl MergeTask {
    pub(crate) fn ids(&self) -> Vec<PartId> {
        self.parts.iter().map(|part| part.id()).collect()
    }
}

fn invalid(error: ArrowError) -> Error {
    Error::invalid(error.to_string())
}

impl Shared {
    /// Writes the merged part and commits it in place of its inputs; gives its id, if there was a row. Ends with
    /// [`Error::PartsChanged`] or [`Error::NoTable`] when they are gone, and with [`Error::Closed`] soon after the store was told to stop.
    pub(crate) fn merge(&self, task: &MergeTask) -> Result<Vec<PartId>> {
        match self.try_merge(task, true) {
            // Rows were deleted that it had folded or left out. Alone a part is not worth writing as it is.
            Err(Error::RowsChanged { .. }) if task.parts.len() > 1 => self.try_merge(task, false),
            Err(Error::RowsChanged { .. }) => {
                task.ids().into_iter().for_each(|part| self.note_retained(part, now_micros()));
                Ok(Vec::new())
            }
            other => other,
        }
    }

    /// `lossy`: rows are folded, and expired ones left out.
    fn try_merge(&self, task: &MergeTask, lossy: bool) -> Result<Vec<PartId>> {
        let collapse = self.options.collapse.as_ref().filter(|_| lossy);
        let Some(first) = task.parts.first() else { return Ok(Vec::new()) };
        let bytes: u64 = task.parts.iter().map(|part| part.bytes()).sum();
        let effort = if bytes >= DENSE_BYTES { Effort::Dense } else { Effort::Fast };
        let (table, def, partition) = (task.table, &*task.def, first.partition());
        let index_values = self.options.index_values.as_ref();
        let target = Target { dir: &self.parts, id: self.new_part_id(), def, partition, effort, index_values };
        let mut writer = PartWriter::create(target)?;
        let now = now_micros();
        let retain = lossy.then_some(now);
        let Stream { rows, from } = self.stream(task, collapse, retain, &mut |granule| writer.push(granule))?;
        // All rows may be deleted, or have expired.
        let new: Vec<NewPart> = if rows == 0 { Vec::new() } else { vec![writer.finish()?] };
        if lossy && !def.ttl.is_empty() {
            new.iter().for_each(|part| self.note_retained(part.id(), now));
        }
        self.parts.sync()?;
        let ids = new.iter().map(|part| part.id()).collect();
        let late = match from {
            None => Late::Refused { seen: task.parts.iter().map(Shown::deleted_rows).sum() },
            Some(from) => {
                let inputs = task.parts.iter().map(|shown| (shown.id(), Ranks::new(&shown.deleted))).collect();
                self.moved(Moved::Merge(Merged::new(inputs, from, new.first().map(|part| part.id()))))
            }
        };
        self.submit(vec![Op::Replace { table, old: task.ids(), new, late }], Expect::default())?;
        Ok(ids)
    }

    /// What is shown of a part, as a part that no commit names yet; nothing when every row is deleted.
    pub(crate) fn rewrite(&self, def: &Arc<TableDef>, shown: &Shown) -> Result<Option<NewPart>> {
        let (id, partition) = (self.new_part_id(), shown.partition());
        let index_values = self.options.index_values.as_ref();
        let target = Target { dir: &self.parts, id, def, partition, effort: Effort::Fast, index_values };
        let mut writer = PartWriter::create(target)?;
        let mut merge = Merge::new(def, std::slice::from_ref(shown), self.options.granule_rows)?;
        let mut rows = 0;
        while let Some(batch) = merge.next()? {
            rows += batch.num_rows();
            writer.push(&batch)?;
        }
        if rows == 0 { Ok(None) } else { writer.finish().map(Some) }
    }

    /// Hands the merged and folded rows on that have not expired at `retain`, a granule at a time.
    fn stream(
        &self,
        task: &MergeTask,
        collapse: Option<&Arc<dyn Collapse>>,
        retain: Option<i64>,
        granule: &mut dyn FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<Stream> {
        let mut merge = Merge::new(&task.def, &task.parts, self.options.granule_rows)?;
        let mut fold = Fold::new(collapse, &task.def);
        let retain = retain.filter(|_| !task.def.ttl.is_empty());
        let (mut rows, mut waiting, mut lossy) = (0, Vec::new(), fold.is_some());
        if !lossy {
            merge.from = Some(Vec::new());
        }
        loop {
            self.still_wanted(task)?;
            let mut batch = merge.next()?;
            let last = batch.is_none();
            if let (Some(now), Some(all)) = (retain, &mut batch) {
                let kept = self.retained(&task.def, all.clone(), now)?;
                lossy |= kept.num_rows() < all.num_rows();
                *all = kept;
            }
            // As they come they are granules already, unless some are left out or folded.
            if fold.is_none()
                && retain.is_none()
                && let Some(batch) = &batch
            {
                rows += batch.num_rows() as u64;
                granule(batch)?;
                continue;
            }
            waiting.extend(match (&mut fold, batch) {
                (None, batch) => batch,
                (Some(fold), Some(batch)) => fold.push(batch)?,
                (Some(fold), None) => fold.finish()?,
            });
            for batch in granules(&mut waiting, self.options.granule_rows, last)? {
                rows += batch.num_rows() as u64;
                granule(&batch)?;
            }
            if last {
                return Ok(Stream { rows, from: merge.from.filter(|_| !lossy) });
            }
        }
    }

    /// Ends a merge early whose result nobody would take.
    fn still_wanted(&self, task: &MergeTask) -> Result<()> {
        if self.is_stopping() {
            return Err(Error::Closed);
        }
        if task.stop.as_ref().is_some_and(|stop| stop.load(atomic::Ordering::Relaxed)) {
            return Err(Error::Stopped);
        }
        let state = self.state();
        let table = state.tables.get(&task.table).ok_or(Error::NoTable { table: task.table.0 })?;
        let there = |part: &Shown| table.parts().iter().any(|other| other.id() == part.id());
        match task.parts.iter().all(there) {
            true => Ok(()),
            false => Err(Error::PartsChanged { table: task.table.0 }),
        }
    }
}

/// What came out of a merge.
struct Stream {
    rows: u64,
    /// The input of each row; `None` when rows were folded or left out.
    from: Option<Vec<u8>>,
}

/// Cuts batches into granules; what does not fill one stays, unless it is the last.
fn granules(waiting: &mut Vec<RecordBatch>, granule_rows: usize, last: bool) -> Result<Vec<RecordBatch>> {
    let rows: usize = waiting.iter().map(RecordBatch::num_rows).sum();
    if rows == 0 || (rows < granule_rows && !last) {
        return Ok(Vec::new());
    }
    let all = concat(waiting)?;
    let bytes: usize = all.columns().iter().map(|column| raw_size(column)).sum();
    let step = (rows * (GRANULE_BYTES / 1024) / (bytes / 1024 + 1)).clamp(1, granule_rows);
    let whole = if last { rows } else { rows - rows % step };
    *waiting = if whole < rows { vec![all.slice(whole, rows - whole)] } else { Vec::new() };
    Ok((0..whole).step_by(step).map(|from| all.slice(from, step.min(whole - from))).collect())
}

fn concat(batches: &[RecordBatch]) -> Result<RecordBatch> {
    match batches {
        [one] => Ok(one.clone()),
        many => concat_batches(many[0].schema_ref(), many).map_err(invalid),
    }
}

/// A granule that was read.
struct Loaded {
    batch: RecordBatch,
    keys: Option<Rows>,
    row: usize,
    /// What a row takes on average.
    row_bytes: usize,
}

/// One input: where it stands.
struct Cursor {
    part: Shown,
    /// First keys of all granules; `None` without a sort key.
    firsts: Option<Rows>,
    granule: usize,
    loaded: Option<Loaded>,
}

impl Cursor {
    /// The next row's key.
    fn key(&self) -> &[u8] {
        match &self.loaded {
            Some(loaded) => loaded.keys.as_ref().map_or(&[], |keys| keys.row(loaded.row).data()),
            None => self.firsts.as_ref().map_or(&[], |firsts| firsts.row(self.granule).data()),
        }
    }
}

/// Merges the rows of parts in a table's order.
struct Merge {
    def: Arc<TableDef>,
    order: Vec<usize>,
    converter: Option<KeyRows>,
    cursors: Vec<Cursor>,
    /// Inputs that have rows left, the one with the least key on top.
    heap: Vec<usize>,
    /// The input of each row so far, when somebody wants to know.
    from: Option<Vec<u8>>,
    granule_rows: usize,
}

impl Merge {
    fn new(def: &Arc<TableDef>, parts: &[Shown], granule_rows: usize) -> Result<Merge> {
        let order = def.order();
        let types = order.iter().map(|&column| def.schema.field(column).data_type().clone());
        let converter = match order.is_empty() {
            true => None,
            false => Some(KeyRows::new(types).map_err(invalid)?),
        };
        let mut cursors = Vec::with_capacity(parts.len());
        for part in parts {
            if part.sort_key()? != order {
                return Err(Error::invalid(format!("part {} is sorted by another key", part.id())));
            }
            let firsts = match &converter {
                Some(converter) => Some(converter.rows(part.keys()?).map_err(invalid)?),
                None => None,
            };
            cursors.push(Cursor { part: part.clone(), firsts, granule: 0, loaded: None });
        }
        let with_rows = |&at: &usize| parts[at].living_rows() > 0;
        let heap = (0..parts.len()).filter(with_rows).collect();
        let mut merge = Merge { def: def.clone(), order, converter, cursors, heap, from: None, granule_rows };
        (0..merge.heap.len() / 2).rev().for_each(|at| merge.sift_down(at));
        Ok(merge)
    }

    /// Whether input `a` comes before input `b`.
    fn before(&self, a: usize, b: usize) -> bool {
        self.cursors[a].key().cmp(self.cursors[b].key()).then(a.cmp(&b)) == Ordering::Less
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let children = (2 * at + 1..2 * at + 3).filter(|&child| child < self.heap.len());
            let least = children.fold(
                at,
                |least, child| {
                    if self.before(self.heap[child], self.heap[least]) { child } else { least }
                },
            );
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }

    /// Makes the input on top of the heap one whose next row is read and is the least of all. `false` when there is no input left.
    fn settle(&mut self) -> Result<bool> {
        while let Some(&input) = self.heap.first() {
            if self.cursors[input].loaded.is_some() {
                return Ok(true);
            }
            if self.load(input)? {
                // The granule's first row may be deleted: its next key is then greater than the index said.
                self.sift_down(0);
            } else {
                self.advance(input)?;
            }
        }
        Ok(false)
    }

    /// Passes on to the next granule of the input on top.
    fn advance(&mut self, input: usize) -> Result<()> {
        let cursor = &mut self.cursors[input];
        cursor.loaded = None;
        cursor.granule += 1;
        if cursor.granule == cursor.part.granules()?.len() {
            self.heap.swap_remove(0);
        }
        self.sift_down(0);
        Ok(())
    }

    /// Reads the living rows of the granule at which the input stands. `false` when there are none.
    fn load(&mut self, input: usize) -> Result<bool> {
        let cursor = &mut self.cursors[input];
        let columns = 0..self.def.schema.fields().len();
        let (start, count) = (cursor.part.starts()?[cursor.granule], cursor.part.granules()?[cursor.granule] as usize);
        let living = match cursor.part.deleted.count(start..start + count as u64) {
            0 => None,
            _ => Some(living(&cursor.part.deleted.offsets(start..start + count as u64), count)),
        };
        let rows = living.as_ref().map_or(count, Vec::len);
        if rows == 0 {
            return Ok(false);
        }
        let arrays: Vec<ArrayRef> =
            columns.map(|column| cursor.part.read(cursor.granule, column, living.as_deref())).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.def.schema.clone(), arrays, &options).map_err(invalid)?;
        let keys = match &self.converter {
            Some(converter) => {
                let keys: Vec<ArrayRef> = self.order.iter().map(|&column| batch.column(column).clone()).collect();
                Some(converter.rows(&keys).map_err(invalid)?)
            }
            None => None,
        };
        let bytes: usize = batch.columns().iter().map(|column| raw_size(column)).sum();
        cursor.loaded = Some(Loaded { batch, keys, row: 0, row_bytes: bytes / rows });
        Ok(true)
    }

    /// The next granule; all but the last are full, unless their values are huge.
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        // Pieces of the granule: a batch, its first row and its number of rows.
        let mut batches: Vec<RecordBatch> = Vec::new();
        let mut runs: Vec<(usize, usize, usize)> = Vec::new();
        // Which of `batches` an input's granule is.
        let mut current: Vec<Option<usize>> = vec![None; self.cursors.len()];
        let (mut rows, mut bytes) = (0, 0);
        while rows < self.granule_rows && bytes < GRANULE_BYTES && self.settle()? {
            let input = self.heap[0];
            let end = self.run_end(input);
            let Some(loaded) = &mut self.cursors[input].loaded else { break };
            let from = loaded.row;
            let to = end.min(from + self.granule_rows - rows);
            let at = *current[input].get_or_insert_with(|| {
                batches.push(loaded.batch.clone());
                batches.len() - 1
            });
            runs.push((at, from, to - from));
            if let Some(inputs) = &mut self.from {
                inputs.resize(inputs.len() + to - from, input as u8);
            }
            rows += to - from;
            bytes += loaded.row_bytes * (to - from);
            loaded.row = to;
            if to == loaded.batch.num_rows() {
                current[input] = None;
                self.advance(input)?;
            } else {
                self.sift_down(0);
            }
        }
        if runs.is_empty() {
            return Ok(None);
        }
        assemble(&batches, &runs, rows).map(Some)
    }

    /// The end of the winner's run: its rows in the granule that come before every other input's next row.
    fn run_end(&self, input: usize) -> usize {
        let Some(loaded) = &self.cursors[input].loaded else { return 0 };
        let rows = loaded.batch.num_rows();
        let children = self.heap.iter().skip(1).take(2).copied();
        let Some(other) = children.reduce(|a, b| if self.before(a, b) { a } else { b }) else { return rows };
        let (Some(keys), bound) = (&loaded.keys, self.cursors[other].key()) else { return rows };
        let mine = |row: usize| match keys.row(row).data().cmp(bound) {
            Ordering::Less => true,
            Ordering::Equal => input < other,
            Ordering::Greater => false,
        };
        // The row it stands at is its own: it won.
        let (mut low, mut step) = (loaded.row + 1, 1);
        while low + step <= rows && mine(low + step - 1) {
            low += step;
            step *= 2;
        }
        let mut high = rows.min(low + step);
        while low < high {
            let middle = low + (high - low) / 2;
            if mine(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// The runs as one batch.
fn assemble(batches: &[RecordBatch], runs: &[(usize, usize, usize)], rows: usize) -> Result<RecordBatch> {
    let slice = |&(at, from, count): &(usize, usize, usize)| batches[at].slice(from, count);
    if let [run] = runs {
        return Ok(slice(run));
    }
    if rows >= runs.len() * SLICE_ROWS || batches[0].num_columns() == 0 {
        return concat(&runs.iter().map(slice).collect::<Vec<_>>());
    }
    let indices: Vec<(usize, usize)> =
        runs.iter().flat_map(|&(at, from, count)| (from..from + count).map(move |row| (at, row))).collect();
    interleave_record_batch(&batches.iter().collect::<Vec<_>>(), &indices).map_err(invalid)
}
