//! Equi-joins by hash, and every outer, semi and anti join.
//!
//! One side is collected and its keys go into a group table; rows of a key lie side by side in one array. The other side streams past:
//! each batch is looked up, pairs are made in runs of a batch, the rest of the condition is evaluated on these. The right side is built, except
//! for a right join, which is a left join the other way round. A full join notes which built rows were met and puts out the others at the
//! end. NULL keys meet nothing. Without equalities all rows have the same key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use weir_sql::Type;
use weir_sql::plan::{Expr, JoinKind};

use super::limit::Held;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::expression::{Expression, arrays};
use crate::exec::groups::{ABSENT, GroupTable};
use crate::exec::keys;
use crate::exec::memory::Reservation;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Emit, Mapped, Source, collect};

pub(crate) struct HashJoin {
    kind: JoinKind,
    left: Node,
    right: Node,
    shared: Arc<Shared>,
    text: String,
    filter_text: Option<String>,
}

/// What the probing threads share.
struct Shared {
    /// Keys over the probing side, and over the built side.
    probe_keys: Vec<Expression>,
    build_keys: Vec<Expression>,
    types: Vec<Type>,
    filter: Option<Expression>,
    /// Inner, Left, Full, Semi or Anti, as the probing side sees it.
    kind: JoinKind,
    /// Whether the sides are swapped, so that the built one's columns come first.
    swapped: bool,
    build_types: Vec<Type>,
}

impl HashJoin {
    pub(crate) fn new(
        kind: JoinKind,
        left: Node,
        right: Node,
        on: &[(Expr, Expr)],
        filter: Option<&Expr>,
        context: &Arc<QueryContext>,
    ) -> Result<HashJoin> {
        let left_keys = Expression::list(on.iter().map(|(l, _)| l), context)?;
        let right_keys = Expression::list(on.iter().map(|(_, r)| r), context)?;
        let types: Vec<Type> = left_keys.iter().map(|k| k.ty.clone()).collect();
        let (left_names, right_names) = (explain::names(&left.columns), explain::names(&right.columns));
        let text = on
            .iter()
            .map(|(l, r)| format!("{} = {}", explain::expression(l, &left_names), explain::expression(r, &right_names)))
            .collect::<Vec<_>>()
            .join(" AND ");
        let both: Vec<String> = left_names.into_iter().chain(right_names).collect();
        let filter_text = filter.map(|f| explain::expression(f, &both));
        let filter = filter.map(|f| Expression::new(f, context)).transpose()?;
        let swapped = kind == JoinKind::Right;
        let (probe_keys, build_keys) = if swapped { (right_keys, left_keys) } else { (left_keys, right_keys) };
        let build_types = if swapped { left.types() } else { right.types() };
        let shared = Shared {
            probe_keys,
            build_keys,
            types,
            filter,
            kind: if swapped { JoinKind::Left } else { kind },
            swapped,
            build_types,
        };
        Ok(HashJoin { kind, left, right, shared: Arc::new(shared), text, filter_text })
    }
}

/// Pairs that wait for the rest of the condition.
struct Run {
    left: Vec<u32>,
    right: Vec<u32>,
    /// Rows of the probing batch whose last pairs are in this run, or that have none.
    done: std::ops::Range<usize>,
}

/// The built side.
struct Built {
    rows: Batch,
    table: GroupTable,
    /// Rows of group `g` are `members[starts[g]..starts[g + 1]]`.
    starts: Vec<u32>,
    members: Vec<u32>,
    /// Which rows were met, for a full join.
    met: Vec<AtomicBool>,
    _held: Reservation,
}

fn any_null(columns: &[ArrayRef]) -> Option<NullBuffer> {
    columns.iter().fold(None, |nulls: Option<NullBuffer>, column| {
        NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref())
    })
}

impl Shared {
    fn build(&self, input: Arc<dyn Source>, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Built> {
        let (batches, mut held) = collect(context, input, "Hash")?;
        if batches.iter().map(|b| b.rows).sum::<usize>() >= u32::MAX as usize {
            return Err(Error::new(ErrorKind::OutOfMemory, "out of memory")
                .with_detail("One side of a join has over 2^32 rows."));
        }
        let rows = Batch::concat(&batches, &self.build_types)?;
        drop(batches);
        let mut table = GroupTable::new(&self.types)?;
        let mut groups = Vec::with_capacity(rows.rows);
        let mut scratch = Vec::new();
        let size = context.batch_rows.max(1024);
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
        let met = if self.kind == JoinKind::Full { rows.rows } else { 0 };
        held.grow(table.memory() + starts.len() * 4 + members.len() * 4 + met)?;
        metrics.held(&held);
        let met = (0..met).map(|_| AtomicBool::new(false)).collect();
        Ok(Built { rows, table, starts, members, met, _held: held })
    }

    /// Pairs, side by side in the plan's order of columns. `None` on the built side is a row of NULLs.
    fn pairs(&self, probe: Batch, build: Batch) -> Batch {
        if self.swapped { build.beside(probe) } else { probe.beside(build) }
    }

    fn probe(&self, built: &Built, batch: &Batch, context: &Arc<QueryContext>, emit: Emit<'_>) -> Result<()> {
        let columns = arrays(&self.probe_keys, batch, context)?;
        let normal = keys::normalize_all(&self.types, &columns)?;
        let mut groups = Vec::new();
        built.table.lookup(&normal, batch.rows, &mut groups)?;
        if let Some(nulls) = any_null(&columns).filter(|n| n.null_count() > 0) {
            (!nulls.inner()).set_indices().for_each(|row| groups[row] = ABSENT);
        }
        let range = |group: u32| match group {
            ABSENT => 0..0,
            g => built.starts[g as usize] as usize..built.starts[g as usize + 1] as usize,
        };
        let narrow = matches!(self.kind, JoinKind::Semi | JoinKind::Anti);
        let mut matched = vec![false; batch.rows];
        if narrow && self.filter.is_none() {
            for (row, &group) in groups.iter().enumerate() {
                matched[row] = !range(group).is_empty();
            }
        } else {
            let size = context.batch_rows.max(1024);
            let mut run = Run { left: Vec::new(), right: Vec::new(), done: 0..0 };
            for (row, &group) in groups.iter().enumerate() {
                let mut members = &built.members[range(group)];
                while !members.is_empty() {
                    let n = members.len().min(size - run.left.len());
                    run.left.extend(std::iter::repeat_n(row as u32, n));
                    run.right.extend_from_slice(&members[..n]);
                    members = &members[n..];
                    if run.left.len() == size {
                        run.done.end = if members.is_empty() { row + 1 } else { row };
                        self.run(built, batch, &mut run, &mut matched, context, emit)?;
                    }
                }
            }
            run.done.end = batch.rows;
            self.run(built, batch, &mut run, &mut matched, context, emit)?;
        }
        if !narrow {
            return Ok(());
        }
        let wanted = self.kind == JoinKind::Semi;
        let rows: Vec<u32> = (0..batch.rows as u32).filter(|&row| matched[row as usize] == wanted).collect();
        match rows.len() {
            0 => Ok(()),
            n if n == batch.rows => emit(batch.clone()),
            _ => emit(batch.take(&UInt32Array::from(rows))?),
        }
    }

    /// Emits a run's pairs for which the rest of the condition holds and, for an outer join, the rows that met nothing, all in the order
    /// of the probing side.
    fn run(
        &self,
        built: &Built,
        batch: &Batch,
        run: &mut Run,
        matched: &mut [bool],
        context: &Arc<QueryContext>,
        emit: Emit<'_>,
    ) -> Result<()> {
        context.cancel.check()?;
        let done = run.done.clone();
        run.done.start = done.end;
        let (mut left, mut right) =
            (UInt32Array::from(std::mem::take(&mut run.left)), UInt32Array::from(std::mem::take(&mut run.right)));
        let mut pairs = self.pairs(batch.take(&left)?, built.rows.take(&right)?);
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
        if self.kind == JoinKind::Full {
            right.values().iter().for_each(|&row| built.met[row as usize].store(true, Ordering::Relaxed));
        }
        if matches!(self.kind, JoinKind::Semi | JoinKind::Anti) {
            return Ok(());
        }
        if matches!(self.kind, JoinKind::Left | JoinKind::Full) && done.clone().any(|row| !matched[row]) {
            let mut places: Vec<(u32, Option<u32>)> = Vec::with_capacity(left.len() + done.len());
            let mut next = done.start;
            for (&row, &other) in left.values().iter().zip(right.values()) {
                let before = next..(row as usize).min(done.end);
                next = next.max(before.end);
                places.extend(before.filter(|&r| !matched[r]).map(|r| (r as u32, None)));
                places.push((row, Some(other)));
            }
            places.extend((next..done.end).filter(|&r| !matched[r]).map(|r| (r as u32, None)));
            let left: UInt32Array = places.iter().map(|(row, _)| Some(*row)).collect();
            let right: UInt32Array = places.iter().map(|(_, other)| *other).collect();
            pairs = self.pairs(batch.take(&left)?, built.rows.take(&right)?);
        }
        if pairs.rows > 0 { emit(pairs) } else { Ok(()) }
    }
}

impl Operator for HashJoin {
    fn describe(&self) -> Description {
        let kind = match self.kind {
            JoinKind::Inner => "Hash Join",
            JoinKind::Left => "Hash Left Join",
            JoinKind::Right => "Hash Right Join",
            JoinKind::Full => "Hash Full Join",
            JoinKind::Semi => "Hash Semi Join",
            JoinKind::Anti => "Hash Anti Join",
        };
        let mut description = Description::new(kind);
        if !self.text.is_empty() {
            description = description.with("Hash Cond", self.text.clone());
        }
        match &self.filter_text {
            Some(text) => description.with("Join Filter", text.clone()),
            None => description,
        }
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.left, &self.right]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let shared = &self.shared;
        shared.probe_keys.iter().chain(&shared.build_keys).chain(&shared.filter).for_each(|e| e.prepare(context));
        let (probe, build) = if shared.swapped { (&self.right, &self.left) } else { (&self.left, &self.right) };
        let built = Arc::new(shared.build(build.open(context)?, context, metrics)?);
        let input = probe.open(context)?;
        let (shared, side, own) = (self.shared.clone(), built.clone(), context.clone());
        let matches: Arc<dyn Source> =
            Arc::new(Mapped::new(input, move |batch, emit| shared.probe(&side, &batch, &own, emit)));
        if self.kind != JoinKind::Full {
            return Ok(matches);
        }
        let (mut batches, held) = collect(context, matches, "Hash")?;
        let unmet: Vec<u32> =
            (0..built.rows.rows as u32).filter(|&row| !built.met[row as usize].load(Ordering::Relaxed)).collect();
        let types = self.left.types();
        for rows in unmet.chunks(context.batch_rows.max(1)) {
            let right = built.rows.take(&UInt32Array::from(rows.to_vec()))?;
            batches.push(Batch::nulls(&types, right.rows).beside(right));
        }
        Ok(Arc::new(Held::new(batches, vec![held])))
    }

    fn estimate(&self) -> f64 {
        let (left, right) = (self.left.operator.estimate(), self.right.operator.estimate());
        match self.kind {
            JoinKind::Semi | JoinKind::Anti => left / 2.0,
            _ => left.max(right),
        }
    }
}
