//! Window functions: the input comes sorted by partition and order, and is cut into morsels of whole partitions.
//!
//! A row begins a partition, or a group of peers, where the bytes of its key differ from the row's before it. The input is read ahead while it fits
//! in memory, and otherwise as far as the morsel at hand. A partition that does not fit is worked through in pieces (`pieces`).

mod aggregate;
mod frame;
mod pieces;
mod place;
mod score;
mod season;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::ArrayRef;
use parking_lot::Mutex;
use weir_sql::Type;
use weir_sql::plan::{Expr, SortKey, WindowCall};

use self::aggregate::Framed;
use self::frame::{Frame, Layout};
use self::pieces::{Pieces, Rules};
use self::place::Place;
use self::score::{MadScore, ZScore};
use super::aggregate::Call;
use super::sort::SortKeys;
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::expression::Expression;
use crate::exec::memory::Reservation;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Source, Task};
use crate::exec::reader::Reader;
use crate::functions::window::WindowFunction;
use crate::functions::{Implementation, registry};

pub(crate) struct Window {
    input: Node,
    keys: Arc<Keys>,
    calls: Arc<Vec<Compiled>>,
    text: String,
}

struct Keys {
    partition_by: SortKeys,
    order_by: SortKeys,
}

enum Compiled {
    Place(Box<Place>),
    Aggregate(Box<Framed>),
    ZScore(Box<ZScore>),
    MadScore(Box<MadScore>),
}

impl Compiled {
    fn new(window: &WindowCall, order_by: &[SortKey], context: &Arc<QueryContext>) -> Result<Compiled> {
        let frame = Frame::new(&window.frame, order_by, context)?;
        let ty = window.call.ty.clone();
        Ok(match registry().implementation(window.call.function) {
            Implementation::Window(WindowFunction::ZScore) => {
                Compiled::ZScore(Box::new(ZScore::new(window, order_by, context)?))
            }
            Implementation::Window(WindowFunction::MadScore) => {
                Compiled::MadScore(Box::new(MadScore::new(window, order_by, context)?))
            }
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
            Compiled::ZScore(score) => {
                score.value.prepare(context);
                score.mean.call.prepare(context);
            }
            Compiled::MadScore(score) => score.value.prepare(context),
        }
    }

    fn over(
        &self,
        rows: &Batch,
        layout: &Layout,
        before: &Before,
        beyond: &Beyond,
        held: &mut Reservation,
        context: &Arc<QueryContext>,
    ) -> Result<ArrayRef> {
        match self {
            Compiled::Place(place) => place.over(rows, layout, before, beyond, context),
            Compiled::Aggregate(framed) => framed.over(rows, layout, before, beyond, held, context),
            Compiled::ZScore(score) => score.over(rows, layout, before, beyond, held, context),
            Compiled::MadScore(score) => score.over(rows, layout, beyond, held, context),
        }
    }

    fn frame(&self) -> &Frame {
        match self {
            Compiled::Place(place) => &place.frame,
            Compiled::Aggregate(framed) => &framed.frame,
            Compiled::ZScore(score) => &score.mean.frame,
            Compiled::MadScore(score) => &score.frame,
        }
    }
}

/// What comes before the rows at hand in their partition, which is not there as a whole.
#[derive(Debug, Default, Clone, Copy)]
struct Before {
    rows: usize,
    /// Groups of peers that have begun.
    groups: usize,
    /// The row with which the last of them began, if the rows at hand go on with it.
    group_start: Option<usize>,
    /// Rows of the whole partition, where that is known.
    total: Option<usize>,
    /// The row before which the last group at hand ends, where that is known to be further on.
    group_end: Option<usize>,
}

/// What frames see beyond the rows at hand: of an aggregate the state of those rows, of `first_value` and the like the values that matter.
#[derive(Debug, Default)]
struct Beyond {
    before: Option<Vec<ArrayRef>>,
    after: Option<Vec<ArrayRef>>,
    /// Whether only the first group of peers sees what comes before, and only the last what comes after.
    of_peers: (bool, bool),
}

impl Beyond {
    /// Whether a row's frame goes on before the rows at hand, and after them.
    fn seen_from(&self, row: usize, layout: &Layout) -> (bool, bool) {
        let group = layout.group[row] as usize;
        (
            self.before.is_some() && (!self.of_peers.0 || group == 0),
            self.after.is_some() && (!self.of_peers.1 || group + 1 == layout.peers.len()),
        )
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
            keys: Arc::new(Keys {
                partition_by: SortKeys::new(&partition, context)?,
                order_by: SortKeys::new(order_by, context)?,
            }),
            calls: Arc::new(calls),
            text,
        })
    }
}

/// What begins at a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Begins {
    Nothing,
    Peers,
    Partition,
}

/// Input that was read and not yet handed out.
struct Ahead {
    reader: Reader,
    /// Whether all was read.
    done: bool,
    batches: VecDeque<Batch>,
    begins: VecDeque<Begins>,
    /// The keys of the last row.
    last: Option<(Vec<u8>, Vec<u8>)>,
    held: Reservation,
    /// Rows in front among which no morsel ends.
    searched: usize,
}

impl Ahead {
    /// Reads a batch. Whether it fits beside the others; it is held even if it does not, unless that is over the query's limit.
    fn read(&mut self, by: &Keys, context: &Arc<QueryContext>) -> Result<bool> {
        let Some(batch) = self.reader.next()? else {
            self.done = true;
            return Ok(true);
        };
        let partitions = by.partition_by.encode(&batch, context)?;
        let peers = by.order_by.encode(&batch, context)?;
        // Without keys all rows are equal, and encode to no rows at all.
        fn key(rows: &arrow::row::Rows, row: usize) -> Option<arrow::row::Row<'_>> {
            (row < rows.num_rows()).then(|| rows.row(row))
        }
        let bytes = |rows, row| key(rows, row).map_or(Vec::new(), |key| key.as_ref().to_vec());
        self.begins.push_back(match &self.last {
            Some((partition, _)) if *partition != bytes(&partitions, 0) => Begins::Partition,
            Some((_, before)) if *before != bytes(&peers, 0) => Begins::Peers,
            Some(_) => Begins::Nothing,
            None => Begins::Partition,
        });
        self.begins.extend((1..batch.rows).map(|row| {
            let differ = |rows| key(rows, row) != key(rows, row - 1);
            match (differ(&partitions), differ(&peers)) {
                (true, _) => Begins::Partition,
                (false, true) => Begins::Peers,
                (false, false) => Begins::Nothing,
            }
        }));
        self.last = Some((bytes(&partitions, batch.rows - 1), bytes(&peers, batch.rows - 1)));
        let bytes = self.held.bytes() + batch.bytes() + batch.rows;
        self.batches.push_back(batch);
        let fits = self.held.fits(bytes)?;
        if !fits {
            self.held.resize(bytes)?;
        }
        Ok(fits)
    }

    /// Where a run of whole partitions of at least `size` rows ends, if that is known yet.
    fn end(&mut self, size: usize) -> Option<usize> {
        let from = self.searched.max(size);
        let end = (from..self.begins.len()).find(|&row| self.begins[row] == Begins::Partition);
        self.searched = self.begins.len();
        end.or_else(|| Some(self.begins.len()).filter(|rows| self.done && *rows > 0))
    }

    /// Takes the first rows: batches, and what begins at each row.
    fn take(&mut self, rows: usize) -> Result<(Vec<Batch>, Vec<Begins>)> {
        self.searched = 0;
        let (mut taken, mut left) = (Vec::new(), rows);
        while left > 0
            && let Some(batch) = self.batches.pop_front()
        {
            let some = left.min(batch.rows);
            if some < batch.rows {
                self.batches.push_front(batch.slice(some, batch.rows - some));
            }
            taken.push(batch.slice(0, some));
            left -= some;
        }
        let bytes = taken.iter().map(Batch::bytes).sum::<usize>() + rows;
        self.held.resize(self.held.bytes().saturating_sub(bytes))?;
        Ok((taken, self.begins.drain(..rows).collect()))
    }
}

/// Morsels of whole partitions, as far ahead as was read or is asked for.
struct Partitions {
    ahead: Mutex<(Ahead, Option<Pieces>)>,
    rules: Option<Arc<Rules>>,
    keys: Arc<Keys>,
    calls: Arc<Vec<Compiled>>,
    types: Vec<Type>,
    context: Arc<QueryContext>,
}

impl Source for Partitions {
    fn claim(&self) -> Result<Option<Task>> {
        let size = self.context.batch_rows.max(1);
        let (ahead, pieces) = &mut *self.ahead.lock();
        let rows = loop {
            if let Some(at_hand) = pieces {
                if let Some(piece) = at_hand.next(ahead)? {
                    return Ok(Some(Box::new(move |emit| piece.emit(size, emit))));
                }
                *pieces = None;
            }
            if let Some(rows) = ahead.end(size) {
                break rows;
            }
            if ahead.done {
                return Ok(None);
            }
            let fits = ahead.read(&self.keys, &self.context)?;
            if let Some(rules) = self.rules.as_ref().filter(|_| !fits && ahead.end(size).is_none()) {
                // Whole partitions come first; the last one, of which the end is not known, is what does not fit.
                match ahead.begins.iter().rposition(|begins| *begins == Begins::Partition) {
                    Some(whole) if whole > 0 => break whole,
                    _ => *pieces = Some(Pieces::new(self, rules, ahead)?),
                }
            }
        };
        let (batches, begins) = ahead.take(rows)?;
        let (calls, types, context) = (self.calls.clone(), self.types.clone(), self.context.clone());
        let mut held = context.memory.reservation("WindowAgg");
        held.resize(batches.iter().map(Batch::bytes).sum::<usize>() + rows)?;
        Ok(Some(Box::new(move |emit| {
            let mut rows = Batch::concat(&batches, &types)?;
            drop(batches);
            let _ = &held;
            let layout = Layout::new(&begins);
            let mut working = context.memory.reservation("WindowAgg");
            let over = |call: &Compiled| {
                call.over(&rows, &layout, &Before::default(), &Beyond::default(), &mut working, &context)
            };
            let columns = calls.iter().map(over).collect::<Result<Vec<_>>>()?;
            rows.columns.extend(columns);
            for start in (0..rows.rows).step_by(size) {
                emit(rows.slice(start, size.min(rows.rows - start)))?;
            }
            Ok(())
        })))
    }
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
        self.keys.partition_by.prepare(context);
        self.keys.order_by.prepare(context);
        self.calls.iter().for_each(|call| call.prepare(context));
        let mut ahead = Ahead {
            reader: Reader::new(context, self.input.open(context)?),
            done: false,
            batches: VecDeque::new(),
            begins: VecDeque::new(),
            last: None,
            held: context.memory.reservation("WindowAgg"),
            searched: 0,
        };
        while !ahead.done && ahead.read(&self.keys, context)? {}
        // Pool threads read on, which must not wait for each other.
        while ahead.reader.wind_down() && !ahead.done {
            ahead.read(&self.keys, context)?;
        }
        metrics.held(&ahead.held);
        Ok(Arc::new(Partitions {
            ahead: Mutex::new((ahead, None)),
            rules: Rules::new(&self.calls, !self.keys.order_by.is_empty()).map(Arc::new),
            keys: self.keys.clone(),
            calls: self.calls.clone(),
            types: self.input.types(),
            context: context.clone(),
        }))
    }
}
