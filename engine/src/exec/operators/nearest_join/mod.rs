//! ASOF and ANY joins: each left row meets one row of the right, the nearest by an inequality among those whose keys are equal.
//!
//! The right side is collected; its keys go into a group table, and the rows of each group are sorted by the bytes of the inequality's
//! key. The left side streams past: a lookup finds the group, a binary search the row. Of rows equal in all keys the last of the right's
//! order is met looking back, the first looking ahead. NULL meets nothing. Without an inequality it is the group's first row.
//! Where more is asked of a pair, each left row goes on to the next of its group until one passes, all rows of a batch in step.
//! A right or full join notes which right rows were met and puts out the others at the end. A right side that does not fit is joined on disk
//! (`disk`), with the same rows in the same order.

mod disk;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::SortOptions;
use arrow::row::{RowConverter, Rows};
use weir_sql::Type;
use weir_sql::plan::{Expr, JoinKind, Nearest};

use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::expression::{Expression, arrays};
use crate::exec::groups::{ABSENT, GroupTable, hash_keys};
use crate::exec::keys;
use crate::exec::memory::Reservation;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::partitions::{Gathered, gather, partitions};
use crate::exec::pipeline::{Chained, Emit, Mapped, Numbered, Source, sort};
use crate::exec::spool::Spool;

/// About what a row of the right side takes besides its own bytes.
const BUILT_ROW: usize = 80;

pub(crate) struct NearestJoin {
    left: Node,
    right: Node,
    shared: Arc<Shared>,
    text: String,
}

/// What the probing threads share.
struct Shared {
    kind: JoinKind,
    left_keys: Vec<Expression>,
    right_keys: Vec<Expression>,
    types: Vec<Type>,
    order: Option<Order>,
    filter: Option<Expression>,
    left_types: Vec<Type>,
    right_types: Vec<Type>,
}

/// The inequality.
struct Order {
    left: Expression,
    right: Expression,
    converter: RowConverter,
    before: bool,
    equal: bool,
}

impl Order {
    /// A side's key as bytes, and which of them are NULL.
    fn encode(&self, key: &Expression, batch: &Batch, context: &Arc<QueryContext>) -> Result<(Rows, ArrayRef)> {
        let column = keys::normalize(&key.ty, &key.array(batch, context)?)?;
        Ok((self.converter.convert_columns(std::slice::from_ref(&column))?, column))
    }
}

/// The right side.
struct Built {
    rows: Batch,
    /// Where its rows stand in the whole side; empty if they are all of it.
    positions: Vec<u64>,
    table: GroupTable,
    /// Rows of group `g` are `members[starts[g]..starts[g + 1]]`, by the inequality's key.
    starts: Vec<u32>,
    members: Vec<u32>,
    /// The inequality's key of each member.
    order: Option<Rows>,
    /// Which rows were met, where it matters.
    met: Vec<AtomicBool>,
    _held: Reservation,
}

impl NearestJoin {
    pub(crate) fn new(
        kind: JoinKind,
        left: Node,
        right: Node,
        on: &[(Expr, Expr)],
        order: Option<&Nearest>,
        filter: Option<&Expr>,
        context: &Arc<QueryContext>,
    ) -> Result<NearestJoin> {
        let left_keys = Expression::list(on.iter().map(|(l, _)| l), context)?;
        let right_keys = Expression::list(on.iter().map(|(_, r)| r), context)?;
        let types: Vec<Type> = left_keys.iter().map(|k| k.ty.clone()).collect();
        let (left_names, right_names) = (explain::names(&left.columns), explain::names(&right.columns));
        let shown = |l: &Expr, symbol: &str, r: &Expr| {
            format!("{} {symbol} {}", explain::expression(l, &left_names), explain::expression(r, &right_names))
        };
        let mut conditions: Vec<String> = on.iter().map(|(l, r)| shown(l, "=", r)).collect();
        conditions.extend(order.map(|order| {
            let symbol = match (order.before, order.equal) {
                (true, true) => ">=",
                (true, false) => ">",
                (false, true) => "<=",
                (false, false) => "<",
            };
            shown(&order.left, symbol, &order.right)
        }));
        let order = match order {
            Some(order) => {
                let (left, right) = (Expression::new(&order.left, context)?, Expression::new(&order.right, context)?);
                let converter = keys::row_converter(std::slice::from_ref(&left.ty), &[SortOptions::default()])?;
                Some(Order { left, right, converter, before: order.before, equal: order.equal })
            }
            None => None,
        };
        let both: Vec<String> = left_names.iter().chain(&right_names).cloned().collect();
        conditions.extend(filter.map(|filter| explain::expression(filter, &both)));
        let filter = filter.map(|filter| Expression::new(filter, context)).transpose()?;
        let shared = Shared {
            kind,
            left_keys,
            right_keys,
            types,
            order,
            filter,
            left_types: left.types(),
            right_types: right.types(),
        };
        Ok(NearestJoin { left, right, shared: Arc::new(shared), text: conditions.join(" AND ") })
    }
}

/// The group of each row; [`ABSENT`] where a key is NULL.
fn without_nulls(groups: &mut [u32], columns: &[ArrayRef]) {
    for column in columns {
        if let Some(nulls) = column.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
            (!nulls.inner()).set_indices().for_each(|row| groups[row] = ABSENT);
        }
    }
}

impl Shared {
    /// Whether left rows that meet nothing are kept.
    fn keeps_left(&self) -> bool {
        matches!(self.kind, JoinKind::Left | JoinKind::Full)
    }

    /// Whether right rows that nothing meets are.
    fn keeps_right(&self) -> bool {
        matches!(self.kind, JoinKind::Right | JoinKind::Full)
    }

    /// Hashes of the keys of rows of the right side, or of the left.
    fn hashes(&self, rows: &Batch, of_right: bool, context: &Arc<QueryContext>) -> Result<Vec<u64>> {
        let keys = if of_right { &self.right_keys } else { &self.left_keys };
        hash_keys(&self.types, &arrays(keys, rows, context)?, rows.rows)
    }

    fn build(
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
        let mut groups = Vec::new();
        let columns = arrays(&self.right_keys, &rows, context)?;
        table.intern(&keys::normalize_all(&self.types, &columns)?, rows.rows, &mut groups)?;
        without_nulls(&mut groups, &columns);
        let order = match &self.order {
            Some(order) => {
                let (bytes, column) = order.encode(&order.right, &rows, context)?;
                without_nulls(&mut groups, &[column]);
                Some(bytes)
            }
            None => None,
        };
        held.resize(rows.bytes() + table.memory() + rows.rows * 12 + order.as_ref().map_or(0, Rows::size))?;
        let mut members: Vec<u32> = (0..rows.rows as u32).filter(|&row| groups[row as usize] != ABSENT).collect();
        sort(context, &mut members, |&a, &b| {
            let key = |row: u32| order.as_ref().map(|order| order.row(row as usize));
            let group = |row: u32| groups[row as usize];
            group(a).cmp(&group(b)).then_with(|| key(a).cmp(&key(b))).then(a.cmp(&b))
        })?;
        let mut starts = vec![0_u32; table.len() + 1];
        members.iter().for_each(|&row| starts[groups[row as usize] as usize + 1] += 1);
        for group in 1..starts.len() {
            starts[group] += starts[group - 1];
        }
        let met = if self.keeps_right() { rows.rows } else { 0 };
        let met = (0..met).map(|_| AtomicBool::new(false)).collect();
        Ok(Built { rows, positions, table, starts, members, order, met, _held: held })
    }

    /// Which row each left row meets.
    fn meets(&self, built: &Built, batch: &Batch, context: &Arc<QueryContext>) -> Result<Vec<Option<u32>>> {
        context.cancel.check()?;
        let columns = arrays(&self.left_keys, batch, context)?;
        let mut groups = Vec::new();
        built.table.lookup(&keys::normalize_all(&self.types, &columns)?, batch.rows, &mut groups)?;
        without_nulls(&mut groups, &columns);
        let mut wanted = None;
        if let Some(order) = &self.order {
            let (bytes, column) = order.encode(&order.left, batch, context)?;
            without_nulls(&mut groups, &[column]);
            wanted = Some((order, bytes));
        }
        let mut met: Vec<Option<u32>> = vec![None; batch.rows];
        for (row, &group) in groups.iter().enumerate() {
            let range = built.range(group);
            let members = &built.members[range.clone()];
            let place = match (&wanted, &built.order) {
                (Some((order, bytes)), Some(keys)) => nearest(members, keys, order, &bytes.row(row)),
                _ => (!members.is_empty()).then_some(0),
            };
            met[row] = place.map(|place| (range.start + place) as u32);
        }
        if let Some(filter) = &self.filter {
            self.pass(filter, built, batch, &groups, &mut met, context)?;
        }
        Ok(met.into_iter().map(|place| place.map(|place| built.members[place as usize])).collect())
    }

    fn probe(&self, built: &Built, batch: &Batch, context: &Arc<QueryContext>, emit: Emit<'_>) -> Result<()> {
        let (mut left, mut right) = (Vec::with_capacity(batch.rows), Vec::with_capacity(batch.rows));
        for (row, member) in self.meets(built, batch, context)?.into_iter().enumerate() {
            if let Some(member) = member.filter(|_| self.keeps_right()) {
                built.met[member as usize].store(true, Ordering::Relaxed);
            }
            if member.is_some() || self.keeps_left() {
                left.push(row as u32);
                right.push(member);
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        let right = built.rows.take(&UInt32Array::from(right))?;
        match left.len() == batch.rows {
            true => emit(batch.clone().beside(right)),
            false => emit(batch.take(&UInt32Array::from(left))?.beside(right)),
        }
    }

    /// Moves the places that rows met on to those whose pairs pass the filter.
    fn pass(
        &self,
        filter: &Expression,
        built: &Built,
        batch: &Batch,
        groups: &[u32],
        met: &mut [Option<u32>],
        context: &Arc<QueryContext>,
    ) -> Result<()> {
        let back = self.order.as_ref().is_some_and(|order| order.before);
        let mut asked: Vec<u32> = (0..batch.rows as u32).filter(|&row| met[row as usize].is_some()).collect();
        while !asked.is_empty() {
            context.cancel.check()?;
            let members = asked.iter().filter_map(|&row| met[row as usize]).map(|place| built.members[place as usize]);
            let rights = built.rows.take(&UInt32Array::from_iter_values(members))?;
            let pairs = batch.take(&UInt32Array::from(asked.clone()))?.beside(rights);
            let passes = filter.selects(&pairs, context)?;
            let mut passes = passes.values().iter();
            asked.retain(|&row| {
                if passes.next() == Some(true) {
                    return false;
                }
                let (range, place) = (built.range(groups[row as usize]), &mut met[row as usize]);
                *place = place.and_then(|place| if back { place.checked_sub(1) } else { Some(place + 1) });
                *place = place.filter(|&place| range.contains(&(place as usize)));
                place.is_some()
            });
        }
        Ok(())
    }
}

impl Built {
    /// Where the members of a group are.
    fn range(&self, group: u32) -> std::ops::Range<usize> {
        match group {
            ABSENT => 0..0,
            g => self.starts[g as usize] as usize..self.starts[g as usize + 1] as usize,
        }
    }
}

/// Which member of a group is nearest to a key.
fn nearest(members: &[u32], keys: &Rows, order: &Order, wanted: &arrow::row::Row<'_>) -> Option<usize> {
    let below = |or_equal: bool| {
        members.partition_point(|&member| match keys.row(member as usize).cmp(wanted) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => or_equal,
            std::cmp::Ordering::Greater => false,
        })
    };
    match order.before {
        true => below(order.equal).checked_sub(1),
        false => Some(below(!order.equal)).filter(|&at| at < members.len()),
    }
}

impl Operator for NearestJoin {
    fn describe(&self) -> Description {
        let word = if self.shared.order.is_some() { "ASOF" } else { "Any" };
        let kind = match self.shared.kind {
            JoinKind::Left => "Left ",
            JoinKind::Right => "Right ",
            JoinKind::Full => "Full ",
            _ => "",
        };
        Description::new(format!("{word} {kind}Join")).with("Join Cond", self.text.clone())
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.left, &self.right]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let shared = self.shared.clone();
        shared.left_keys.iter().chain(&shared.right_keys).for_each(|key| key.prepare(context));
        shared.filter.iter().for_each(|filter| filter.prepare(context));
        shared.order.iter().flat_map(|order| [&order.left, &order.right]).for_each(|key| key.prepare(context));
        let by_key = |rows: &Batch| Ok(partitions(shared.hashes(rows, true, context)?));
        let right = self.right.open(context)?;
        let (batches, held) = match gather(right.as_ref(), "Nearest Join", BUILT_ROW, context, &by_key)? {
            Gathered::Memory(batches, held) => (batches, held),
            Gathered::Disk(file, threads) => {
                let left = self.left.open(context)?;
                return disk::join(&shared, disk::Right { file, threads }, left.as_ref(), context, metrics);
            }
        };
        let rows = Batch::concat(&batches, &self.right.types())?;
        drop(batches);
        let built = shared.build(rows, Vec::new(), held, context)?;
        metrics.held(&built._held);
        let (input, own) = (self.left.open(context)?, context.clone());
        let built = Arc::new(built);
        let (side, probing) = (built.clone(), shared.clone());
        let matches = Mapped::new(input, move |batch, emit| probing.probe(&side, &batch, &own, emit));
        if !shared.keeps_right() {
            return Ok(Arc::new(matches));
        }
        let matches = Spool::fill(context, &matches, "Nearest Join", metrics)?.read();
        let met = |row: u32| built.met[row as usize].load(Ordering::Relaxed);
        let unmet: Vec<u32> = (0..built.rows.rows as u32).filter(|&row| !met(row)).collect();
        let size = context.batch_rows.max(1);
        let unmet = Numbered::new(unmet.len().div_ceil(size), move |i, emit| {
            let rows = UInt32Array::from(unmet[i * size..((i + 1) * size).min(unmet.len())].to_vec());
            emit(Batch::nulls(&shared.left_types, rows.len()).beside(built.rows.take(&rows)?))
        });
        Ok(Arc::new(Chained::new(vec![matches, Arc::new(unmet)])))
    }

    fn estimate(&self) -> f64 {
        self.left.operator.estimate()
    }
}
