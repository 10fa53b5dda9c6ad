//! The table of a join's built side, and how rows of the other side are joined with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use weir_sql::Type;
use weir_sql::plan::JoinKind;

use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::{Expression, arrays};
use crate::exec::groups::{ABSENT, GroupTable, hash_keys};
use crate::exec::keys;
use crate::exec::memory::Reservation;
use crate::exec::runtime_filter::{KEYS_MAX, RuntimeFilter, Slot};

/// What the probing threads share.
pub(super) struct Shared {
    /// Keys over the probing side, and over the built side.
    pub(super) probe_keys: Vec<Expression>,
    pub(super) build_keys: Vec<Expression>,
    pub(super) types: Vec<Type>,
    pub(super) filter: Option<Expression>,
    pub(super) kind: JoinKind,
    /// Whether the left side is the built one.
    pub(super) build_left: bool,
    pub(super) probe_types: Vec<Type>,
    pub(super) build_types: Vec<Type>,
    /// Where scans of the probing side wait for keys of the built one, by number.
    pub(super) wanted: Vec<(usize, Arc<Slot>)>,
}

/// Pairs that wait for the rest of the condition.
struct Run {
    left: Vec<u32>,
    right: Vec<u32>,
    /// Rows of the probing batch whose last pairs are in this run, or that have none.
    done: std::ops::Range<usize>,
}

/// The built side.
pub(super) struct Built {
    pub(super) rows: Batch,
    /// Where its rows stand in the whole side; empty if they are all of it.
    pub(super) positions: Vec<u64>,
    table: GroupTable,
    /// Rows of group `g` are `members[starts[g]..starts[g + 1]]`.
    starts: Vec<u32>,
    members: Vec<u32>,
    /// Whether each row is a group by itself.
    is_key: bool,
    /// Which rows were met, if they are put out by that.
    met: Vec<AtomicBool>,
    pub(super) held: Reservation,
}

impl Built {
    /// Whether no row of it can be met.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The rows of a group.
    fn members<'a>(&'a self, group: &'a u32) -> &'a [u32] {
        match *group {
            ABSENT => &[],
            // Of a key, groups are numbered as the rows are.
            _ if self.is_key => std::slice::from_ref(group),
            g => &self.members[self.starts[g as usize] as usize..self.starts[g as usize + 1] as usize],
        }
    }

    fn is_met(&self, row: u32) -> bool {
        self.met[row as usize].load(Ordering::Relaxed)
    }

    fn meet(&self, row: u32) {
        self.met[row as usize].store(true, Ordering::Relaxed);
    }
}

/// Rows of the result, and which rows of both sides they come from.
pub(super) struct Matches {
    pub(super) rows: Batch,
    pub(super) probe: UInt32Array,
    /// NULL where a row met nothing; not there where only the probing side is put out.
    pub(super) build: Option<UInt32Array>,
}

/// Takes rows of the result.
type Out<'a> = &'a mut dyn FnMut(Matches) -> Result<()>;

/// Which rows have a NULL among their keys.
fn any_null(columns: &[ArrayRef]) -> Option<NullBuffer> {
    columns.iter().fold(None, |nulls: Option<NullBuffer>, column| {
        NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref())
    })
}

/// Each time a table is to have so many times as many rows it is looked whether they are a key.
const GROWTH: usize = 16;

impl Shared {
    pub(super) fn prepare(&self, context: &Arc<QueryContext>) {
        self.probe_keys.iter().chain(&self.build_keys).chain(&self.filter).for_each(|e| e.prepare(context));
    }

    /// Leaves the keys of the built side, if they are in memory and not too many, to the scans that wait for them.
    pub(super) fn fill_filters(&self, built: Option<&Built>, context: &QueryContext) -> Result<()> {
        let few = |built: &&Built| !self.wanted.is_empty() && built.table.len() <= KEYS_MAX;
        let Some(built) = built.filter(few) else {
            self.wanted.iter().for_each(|(_, slot)| slot.fill(None));
            return Ok(());
        };
        let keys = built.table.keys()?;
        for (nth, slot) in &self.wanted {
            slot.fill(RuntimeFilter::new(&self.types[*nth], &keys[*nth], &context.memory)?);
        }
        Ok(())
    }

    /// Hashes of the rows' keys, the same on both sides.
    pub(super) fn hashes(&self, rows: &Batch, of_built: bool, context: &Arc<QueryContext>) -> Result<Vec<u64>> {
        let keys = if of_built { &self.build_keys } else { &self.probe_keys };
        hash_keys(&self.types, &arrays(keys, rows, context)?, rows.rows)
    }

    /// Whether pairs are put out, rather than rows of the left side by whether they met something.
    pub(super) fn pairs_out(&self) -> bool {
        !matches!(self.kind, JoinKind::Semi | JoinKind::Anti)
    }

    /// Whether rows of the probing side that met nothing are put out beside NULLs.
    fn keeps_probing(&self) -> bool {
        match self.kind {
            JoinKind::Left => !self.build_left,
            // It always builds its left side.
            JoinKind::Right => true,
            kind => kind == JoinKind::Full,
        }
    }

    /// Whether rows of the built side are put out by whether they were met, once all of the other was seen.
    pub(super) fn keeps_built(&self) -> bool {
        match self.kind {
            JoinKind::Inner | JoinKind::Right => false,
            JoinKind::Full => true,
            JoinKind::Left | JoinKind::Semi | JoinKind::Anti => self.build_left,
        }
    }

    /// These rows.
    pub(super) fn kept(&self, built: &Built) -> Vec<u32> {
        let wanted = self.kind == JoinKind::Semi;
        (0..built.met.len() as u32).filter(|&row| built.is_met(row) == wanted).collect()
    }

    /// Rows of the built side as they are put out without one of the other.
    pub(super) fn alone(&self, rows: &[u32], built: &Built) -> Result<Batch> {
        let rows = built.rows.take(&UInt32Array::from(rows.to_vec()))?;
        Ok(if self.pairs_out() { self.pairs(Batch::nulls(&self.probe_types, rows.rows), rows) } else { rows })
    }

    /// Makes the table of some rows of the built side; `positions` says where they stand in it, unless they are all of them.
    pub(super) fn build(
        &self,
        rows: Batch,
        positions: Vec<u64>,
        mut held: Reservation,
        context: &Arc<QueryContext>,
    ) -> Result<Built> {
        if rows.rows >= u32::MAX as usize {
            return Err(Error::new(ErrorKind::OutOfMemory, "out of memory")
                .with_detail("One side of a join has over 2^32 rows."));
        }
        let mut table = GroupTable::new(&self.types)?;
        let mut groups = Vec::with_capacity(rows.rows);
        let mut scratch = Vec::new();
        let (size, mut looked_at) = (context.batch_rows.max(1024), 1);
        for start in (0..rows.rows).step_by(size) {
            context.cancel.check()?;
            let batch = rows.slice(start, size.min(rows.rows - start));
            let columns = arrays(&self.build_keys, &batch, context)?;
            let normal = keys::normalize_all(&self.types, &columns)?;
            table.intern(&normal, batch.rows, &mut scratch)?;
            if let Some(nulls) = any_null(&columns).filter(|n| n.null_count() > 0) {
                (!nulls.inner()).set_indices().for_each(|row| scratch[row] = ABSENT);
            }
            groups.extend_from_slice(&scratch);
            let done = start + batch.rows;
            if done >= looked_at {
                looked_at = done * GROWTH;
                if table.len() * 20 > done * 19 {
                    // It is a key, or nearly: the table need not double again and again.
                    table.expect((rows.rows - done).min(looked_at));
                }
            }
        }
        let n_groups = table.len();
        let mut starts = vec![0_u32; n_groups + 1];
        groups.iter().filter(|g| **g != ABSENT).for_each(|&g| starts[g as usize + 1] += 1);
        for group in 0..n_groups {
            starts[group + 1] += starts[group];
        }
        let mut next = starts.clone();
        let mut members = vec![0_u32; starts[n_groups] as usize];
        for (row, &group) in groups.iter().enumerate().filter(|(_, g)| **g != ABSENT) {
            members[next[group as usize] as usize] = row as u32;
            next[group as usize] += 1;
        }
        let met = if self.keeps_built() { rows.rows } else { 0 };
        held.resize(rows.bytes() + table.memory() + starts.len() * 4 + members.len() * 4 + met)?;
        let met = (0..met).map(|_| AtomicBool::new(false)).collect();
        let is_key = n_groups == rows.rows && members.len() == rows.rows;
        Ok(Built { rows, positions, table, starts, members, is_key, met, held })
    }

    /// Pairs, side by side in the plan's order of columns. `None` on the built side is a row of NULLs.
    fn pairs(&self, probe: Batch, build: Batch) -> Batch {
        if self.build_left { build.beside(probe) } else { probe.beside(build) }
    }

    /// Joins a batch of the probing side with a part of the built one. `matched` says which of its rows met something in parts before,
    /// and is kept up; what depends on it is put out with the `last` part.
    pub(super) fn probe(
        &self,
        built: &Built,
        batch: &Batch,
        matched: &mut [bool],
        last: bool,
        context: &Arc<QueryContext>,
        out: Out<'_>,
    ) -> Result<()> {
        let columns = arrays(&self.probe_keys, batch, context)?;
        let normal = keys::normalize_all(&self.types, &columns)?;
        let mut groups = Vec::new();
        built.table.lookup(&normal, batch.rows, &mut groups)?;
        if let Some(nulls) = any_null(&columns).filter(|n| n.null_count() > 0) {
            (!nulls.inner()).set_indices().for_each(|row| groups[row] = ABSENT);
        }
        let narrow = !self.pairs_out();
        // A built row that was met once needs no more pairs.
        let once = narrow && self.build_left;
        if once && self.filter.is_none() {
            for group in &groups {
                let members = built.members(group);
                if members.first().is_some_and(|&row| !built.is_met(row)) {
                    members.iter().rev().for_each(|&row| built.meet(row));
                }
            }
        } else if narrow && self.filter.is_none() {
            for (row, group) in groups.iter().enumerate() {
                matched[row] |= !built.members(group).is_empty();
            }
        } else {
            let size = context.batch_rows.max(1024);
            let mut run = Run { left: Vec::new(), right: Vec::new(), done: 0..0 };
            for (row, group) in groups.iter().enumerate() {
                let mut members = built.members(group);
                while !members.is_empty() {
                    if once {
                        let open = members.iter().position(|&row| !built.is_met(row)).unwrap_or(members.len());
                        members = &members[open..];
                    }
                    let n = members.len().min(size - run.left.len());
                    run.left.extend(std::iter::repeat_n(row as u32, n));
                    run.right.extend_from_slice(&members[..n]);
                    members = &members[n..];
                    if run.left.len() == size {
                        run.done.end = if members.is_empty() { row + 1 } else { row };
                        self.run(built, batch, &mut run, matched, last, context, out)?;
                    }
                }
            }
            run.done.end = batch.rows;
            self.run(built, batch, &mut run, matched, last, context, out)?;
        }
        if !narrow || once || !last {
            return Ok(());
        }
        let wanted = self.kind == JoinKind::Semi;
        let rows: Vec<u32> = (0..batch.rows as u32).filter(|&row| matched[row as usize] == wanted).collect();
        let probe = UInt32Array::from(rows);
        match probe.len() {
            0 => Ok(()),
            n if n == batch.rows => out(Matches { rows: batch.clone(), probe, build: None }),
            _ => out(Matches { rows: batch.take(&probe)?, probe, build: None }),
        }
    }

    /// Puts out a run's pairs for which the rest of the condition holds and, for an outer join, the rows that met nothing, all in the order
    /// of the probing side.
    #[allow(clippy::too_many_arguments)]
    fn run(
        &self,
        built: &Built,
        batch: &Batch,
        run: &mut Run,
        matched: &mut [bool],
        last: bool,
        context: &Arc<QueryContext>,
        out: Out<'_>,
    ) -> Result<()> {
        context.cancel.check()?;
        let done = run.done.clone();
        run.done.start = done.end;
        let (mut left, mut right) =
            (UInt32Array::from(std::mem::take(&mut run.left)), UInt32Array::from(std::mem::take(&mut run.right)));
        // Where every row met one other, which keys of another table do, they are all there as they stand.
        let is_all = left.len() == batch.rows && left.values().iter().enumerate().all(|(i, &row)| row as usize == i);
        let of_probe = if is_all { batch.clone() } else { batch.take(&left)? };
        let mut pairs = self.pairs(of_probe, built.rows.take(&right)?);
        if let Some(filter) = &self.filter {
            let keep = filter.selects(&pairs, context)?;
            if keep.true_count() < pairs.rows {
                let rows = UInt32Array::from(keep.values().set_indices_u32().collect::<Vec<_>>());
                let few = |indices: &UInt32Array| -> Result<UInt32Array> {
                    let few = take(indices, &rows, None)?;
                    Ok(arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt32Type>(&few).clone())
                };
                (left, right) = (few(&left)?, few(&right)?);
                pairs = pairs.filter(&keep)?;
            }
        }
        if self.kind != JoinKind::Inner {
            left.values().iter().for_each(|&row| matched[row as usize] = true);
        }
        if self.keeps_built() {
            right.values().iter().for_each(|&row| built.meet(row));
        }
        if !self.pairs_out() {
            return Ok(());
        }
        if last && self.keeps_probing() && done.clone().any(|row| !matched[row]) {
            let mut places: Vec<(u32, Option<u32>)> = Vec::with_capacity(left.len() + done.len());
            let mut next = done.start;
            for (&row, &other) in left.values().iter().zip(right.values()) {
                let before = next..(row as usize).min(done.end);
                next = next.max(before.end);
                places.extend(before.filter(|&r| !matched[r]).map(|r| (r as u32, None)));
                places.push((row, Some(other)));
            }
            places.extend((next..done.end).filter(|&r| !matched[r]).map(|r| (r as u32, None)));
            left = places.iter().map(|(row, _)| Some(*row)).collect();
            right = places.iter().map(|(_, other)| *other).collect();
            pairs = self.pairs(batch.take(&left)?, built.rows.take(&right)?);
        }
        if pairs.rows == 0 {
            return Ok(());
        }
        out(Matches { rows: pairs, probe: left, build: Some(right) })
    }
}
