//! ASOF and ANY joins: each left row meets one row of the right, the nearest by an inequality among those whose keys are equal.
//!
//! The right side is collected; its keys go into a group table, and the rows of each group are sorted by the bytes of the inequality's
//! key. The left side streams past: a lookup finds the group, a binary search the row. Of rows equal in all keys the last of the right's
//! order is met looking back, the first looking ahead. NULL meets nothing. Without an inequality it is the group's first row.

use std::sync::Arc;

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
use crate::exec::groups::{ABSENT, GroupTable};
use crate::exec::keys;
use crate::exec::memory::Reservation;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Emit, Mapped, Source, collect, sort};

pub(crate) struct NearestJoin {
    left: Node,
    right: Node,
    shared: Arc<Shared>,
    text: String,
}

/// What the probing threads share.
struct Shared {
    /// Whether left rows that meet nothing are kept.
    outer: bool,
    left_keys: Vec<Expression>,
    right_keys: Vec<Expression>,
    types: Vec<Type>,
    order: Option<Order>,
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
    table: GroupTable,
    /// Rows of group `g` are `members[starts[g]..starts[g + 1]]`, by the inequality's key.
    starts: Vec<u32>,
    members: Vec<u32>,
    /// The inequality's key of each member.
    order: Option<Rows>,
    _held: Reservation,
}

impl NearestJoin {
    pub(crate) fn new(
        kind: JoinKind,
        left: Node,
        right: Node,
        on: &[(Expr, Expr)],
        order: Option<&Nearest>,
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
        let shared = Shared { outer: kind == JoinKind::Left, left_keys, right_keys, types, order };
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
    fn build(&self, input: Arc<dyn Source>, types: &[Type], context: &Arc<QueryContext>) -> Result<Built> {
        let (batches, mut held) = collect(context, input, "Nearest Join")?;
        if batches.iter().map(|b| b.rows).sum::<usize>() >= u32::MAX as usize {
            return Err(Error::new(ErrorKind::OutOfMemory, "out of memory")
                .with_detail("One side of a join has over 2^32 rows."));
        }
        let rows = Batch::concat(&batches, types)?;
        drop(batches);
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
        held.grow(table.memory() + rows.rows * 12 + order.as_ref().map_or(0, Rows::size))?;
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
        Ok(Built { rows, table, starts, members, order, _held: held })
    }

    fn probe(&self, built: &Built, batch: &Batch, context: &Arc<QueryContext>, emit: Emit<'_>) -> Result<()> {
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
        let (mut left, mut right) = (Vec::with_capacity(batch.rows), Vec::with_capacity(batch.rows));
        for (row, &group) in groups.iter().enumerate() {
            let members = match group {
                ABSENT => &[][..],
                g => &built.members[built.starts[g as usize] as usize..built.starts[g as usize + 1] as usize],
            };
            let met = match (&wanted, &built.order) {
                (Some((order, bytes)), Some(keys)) => nearest(members, keys, order, &bytes.row(row)),
                _ => members.first().copied(),
            };
            if met.is_some() || self.outer {
                left.push(row as u32);
                right.push(met);
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
}

/// The member of a group that is nearest to a key.
fn nearest(members: &[u32], keys: &Rows, order: &Order, wanted: &arrow::row::Row<'_>) -> Option<u32> {
    let below = |or_equal: bool| {
        members.partition_point(|&member| match keys.row(member as usize).cmp(wanted) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => or_equal,
            std::cmp::Ordering::Greater => false,
        })
    };
    match order.before {
        true => below(order.equal).checked_sub(1).map(|at| members[at]),
        false => members.get(below(!order.equal)).copied(),
    }
}

impl Operator for NearestJoin {
    fn describe(&self) -> Description {
        let name = match (self.shared.order.is_some(), self.shared.outer) {
            (true, false) => "ASOF Join",
            (true, true) => "ASOF Left Join",
            (false, _) => "Any Left Join",
        };
        Description::new(name).with("Join Cond", self.text.clone())
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.left, &self.right]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let shared = self.shared.clone();
        shared.left_keys.iter().chain(&shared.right_keys).for_each(|key| key.prepare(context));
        shared.order.iter().flat_map(|order| [&order.left, &order.right]).for_each(|key| key.prepare(context));
        let built = shared.build(self.right.open(context)?, &self.right.types(), context)?;
        metrics.held(&built._held);
        let (input, own) = (self.left.open(context)?, context.clone());
        Ok(Arc::new(Mapped::new(input, move |batch, emit| shared.probe(&built, &batch, &own, emit))))
    }

    fn estimate(&self) -> f64 {
        self.left.operator.estimate()
    }
}
