//! Window functions: the input comes sorted by partition and order, and is cut into morsels of whole partitions.
//!
//! A row begins a partition, or a group of peers, where the bytes of its key differ from the row's before it.

mod aggregate;
mod frame;
mod place;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use weir_sql::plan::{Expr, SortKey, WindowCall};

use self::aggregate::Framed;
use self::frame::{Frame, Layout};
use self::place::Place;
use super::aggregate::Call;
use super::sort::SortKeys;
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::expression::Expression;
use crate::exec::memory::Reservation;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Numbered, Reader, Source};
use crate::functions::{Implementation, registry};

pub(crate) struct Window {
    input: Node,
    partition_by: SortKeys,
    order_by: SortKeys,
    calls: Arc<Vec<Compiled>>,
    text: String,
}

enum Compiled {
    Place(Box<Place>),
    Aggregate(Box<Framed>),
}

impl Compiled {
    fn new(window: &WindowCall, order_by: &[SortKey], context: &Arc<QueryContext>) -> Result<Compiled> {
        let frame = Frame::new(&window.frame, order_by, context)?;
        let ty = window.call.ty.clone();
        Ok(match registry().implementation(window.call.function) {
            Implementation::Window(function) => Compiled::Place(Box::new(Place {
                function: *function,
                args: Expression::list(&window.call.args, context)?,
                frame,
                ignore_nulls: window.ignore_nulls,
                ty,
            })),
            _ => Compiled::Aggregate(Box::new(Framed { call: Call::new(&window.call, context)?, frame, ty })),
        })
    }

    fn prepare(&self, context: &Arc<QueryContext>) {
        match self {
            Compiled::Place(place) => place.args.iter().for_each(|arg| arg.prepare(context)),
            Compiled::Aggregate(framed) => framed.call.prepare(context),
        }
    }

    fn over(
        &self,
        rows: &Batch,
        layout: &Layout,
        held: &mut Reservation,
        context: &Arc<QueryContext>,
    ) -> Result<ArrayRef> {
        match self {
            Compiled::Place(place) => place.over(rows, layout, context),
            Compiled::Aggregate(framed) => framed.over(rows, layout, held, context),
        }
    }
}

impl Window {
    pub(crate) fn new(
        input: Node,
        partition_by: &[Expr],
        order_by: &[SortKey],
        calls: &[WindowCall],
        context: &Arc<QueryContext>,
    ) -> Result<Window> {
        let partition: Vec<SortKey> = partition_by
            .iter()
            .map(|expr| SortKey { expr: expr.clone(), descending: false, nulls_first: false })
            .collect();
        let text = explain::expressions(partition_by, &explain::names(&input.columns));
        let calls = calls.iter().map(|call| Compiled::new(call, order_by, context)).collect::<Result<Vec<_>>>()?;
        Ok(Window {
            input,
            partition_by: SortKeys::new(&partition, context)?,
            order_by: SortKeys::new(order_by, context)?,
            calls: Arc::new(calls),
            text,
        })
    }

    /// Reads all rows: batches, and what begins at each row.
    fn read(&self, context: &Arc<QueryContext>, held: &mut Reservation) -> Result<(Vec<Batch>, Vec<Begins>)> {
        let mut reader = Reader::new(context, self.input.open(context)?);
        let (mut batches, mut begins) = (Vec::new(), Vec::new());
        let mut last: Option<(Vec<u8>, Vec<u8>)> = None;
        while let Some(batch) = reader.next()? {
            if batch.rows == 0 {
                continue;
            }
            let partitions = self.partition_by.encode(&batch, context)?;
            let peers = self.order_by.encode(&batch, context)?;
            // Without keys all rows are equal, and encode to no rows at all.
            fn key(rows: &arrow::row::Rows, row: usize) -> Option<arrow::row::Row<'_>> {
                (row < rows.num_rows()).then(|| rows.row(row))
            }
            let bytes = |rows, row| key(rows, row).map_or(Vec::new(), |key| key.as_ref().to_vec());
            begins.push(match &last {
                Some((partition, _)) if *partition != bytes(&partitions, 0) => Begins::Partition,
                Some((_, before)) if *before != bytes(&peers, 0) => Begins::Peers,
                Some(_) => Begins::Nothing,
                None => Begins::Partition,
            });
            begins.extend((1..batch.rows).map(|row| {
                let differ = |rows| key(rows, row) != key(rows, row - 1);
                match (differ(&partitions), differ(&peers)) {
                    (true, _) => Begins::Partition,
                    (false, true) => Begins::Peers,
                    (false, false) => Begins::Nothing,
                }
            }));
            last = Some((bytes(&partitions, batch.rows - 1), bytes(&peers, batch.rows - 1)));
            held.grow(batch.bytes() + batch.rows)?;
            batches.push(batch);
        }
        Ok((batches, begins))
    }
}

/// What begins at a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Begins {
    Nothing,
    Peers,
    Partition,
}

/// Runs of whole partitions, each of at least `size` rows, but for the last.
fn morsels(begins: &[Begins], size: usize) -> Vec<Range<usize>> {
    let mut morsels: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for row in 1..=begins.len() {
        let is_end = row == begins.len() || begins[row] == Begins::Partition && row - start >= size;
        if is_end {
            morsels.push(start..row);
            start = row;
        }
    }
    morsels
}

/// A run of the rows of several batches.
fn rows_of(batches: &[Batch], starts: &[usize], run: &Range<usize>, types: &[weir_sql::Type]) -> Result<Batch> {
    let first = starts.partition_point(|&start| start <= run.start).saturating_sub(1);
    let mut pieces = Vec::new();
    for (batch, &start) in batches.iter().zip(starts).skip(first).take_while(|(_, start)| **start < run.end) {
        let (from, to) = (run.start.max(start), run.end.min(start + batch.rows));
        pieces.push(batch.slice(from - start, to - from));
    }
    Batch::concat(&pieces, types)
}

impl Operator for Window {
    fn describe(&self) -> Description {
        match self.text.is_empty() {
            true => Description::new("WindowAgg"),
            false => Description::new("WindowAgg").with("Partition By", self.text.clone()),
        }
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        self.partition_by.prepare(context);
        self.order_by.prepare(context);
        self.calls.iter().for_each(|call| call.prepare(context));
        let mut held = context.memory.reservation("WindowAgg");
        let (batches, begins) = self.read(context, &mut held)?;
        metrics.held(&held);
        let starts: Vec<usize> = batches
            .iter()
            .scan(0, |next, batch| {
                let start = *next;
                *next += batch.rows;
                Some(start)
            })
            .collect();
        let size = context.batch_rows.max(1);
        let morsels = if begins.is_empty() { Vec::new() } else { morsels(&begins, size) };
        let (types, calls, own) = (self.input.types(), self.calls.clone(), context.clone());
        Ok(Arc::new(Numbered::new(morsels.len(), move |i, emit| {
            let _ = &held;
            let run = &morsels[i];
            let mut rows = rows_of(&batches, &starts, run, &types)?;
            let layout = Layout::new(&begins[run.clone()]);
            let mut working = own.memory.reservation("WindowAgg");
            let columns =
                calls.iter().map(|call| call.over(&rows, &layout, &mut working, &own)).collect::<Result<Vec<_>>>()?;
            rows.columns.extend(columns);
            for start in (0..rows.rows).step_by(size) {
                emit(rows.slice(start, size.min(rows.rows - start)))?;
            }
            Ok(())
        })))
    }

    fn estimate(&self) -> f64 {
        self.input.operator.estimate()
    }
}
