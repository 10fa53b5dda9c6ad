//! A partition that does not fit in memory, in pieces.
//!
//! A piece ends between groups of peers, and where every row's frame has ended. What its rows need of those before is carried from piece to
//! piece: numbers, the state of an aggregate whose frames begin with the partition, or the last rows themselves where frames and `lag` reach back
//! only so far. What needs the partition's end (`ntile`, a frame of all its rows) has it go to disk first, and be read from there.
//!
//! Pieces are computed one after the other. Calls that need more than this (a frame that ends with the partition but does not begin with
//! it, `nth_value` from its first row) need the whole partition, and so does a group of peers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt8Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Int32Type, UInt8Type};
use weir_sql::Type;

use super::frame::Layout;
use super::place::Place;
use super::{Ahead, Before, Begins, Compiled, Keys, Partitions};
use crate::aggregates::Accumulator;
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::arrays;
use crate::exec::memory::Reservation;
use crate::exec::pipeline::Emit;
use crate::exec::spill::{Extent, SpillFile};
use crate::functions::window::WindowFunction;

/// About how many bytes a call takes for each row of a piece while it is computed: a tree of states.
const WORKING_ROW: usize = 192;

/// How a call is computed in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// From numbers, the piece, and perhaps the partition's first row.
    Numbers,
    /// From the piece and some rows around it.
    Near,
    /// From the state of all rows before.
    Prefix,
    /// Once, from all rows.
    Whole,
}

/// How all calls are.
pub(super) struct Rules {
    rules: Vec<Rule>,
    /// Whether pieces end between peers.
    peers: bool,
    /// Whether the partition's end has to be known.
    total: bool,
    /// How many rows `lag` looks back, and `lead` ahead.
    reach: (usize, usize),
}

impl Rules {
    /// `None` if a call needs the partition as a whole. `ordered` is whether rows are peers only by some key.
    pub(super) fn new(calls: &[Compiled], ordered: bool) -> Option<Rules> {
        let mut rules = Rules { rules: Vec::new(), peers: false, total: false, reach: (0, 0) };
        for call in calls {
            let rule = match call {
                Compiled::Place(place) => rules.of_place(place)?,
                Compiled::Aggregate(framed) => {
                    let frame = &framed.frame;
                    let all_peers = !ordered && frame.looks_at_peers() && frame.ends_here();
                    match (frame.begins_with_partition(), frame.ends_with_partition() || all_peers) {
                        (true, true) if !frame.excludes() => Rule::Whole,
                        (true, false) => Rule::Prefix,
                        (false, false) => Rule::Near,
                        _ => return None,
                    }
                }
            };
            let peers = rule != Rule::Whole && looks_at_peers(call);
            // Without an order all rows are peers.
            if peers && !ordered {
                return None;
            }
            rules.peers |= peers;
            rules.total |= rule == Rule::Whole;
            rules.rules.push(rule);
        }
        Some(rules)
    }

    fn of_place(&mut self, place: &Place) -> Option<Rule> {
        use WindowFunction as W;
        let frame = &place.frame;
        match place.function {
            W::RowNumber | W::Rank | W::DenseRank => {}
            W::Ntile | W::PercentRank | W::CumeDist => self.total = true,
            W::Lag | W::Lead if !place.ignore_nulls => {
                let offset = match place.args.get(1) {
                    None => 1,
                    Some(offset) => {
                        let offset = offset.constant_value()?.array.as_primitive_opt::<Int32Type>()?;
                        if offset.is_null(0) { 0 } else { i64::from(offset.value(0)) }
                    }
                };
                let back = if place.function == W::Lag { offset } else { -offset };
                self.reach.0 = self.reach.0.max(usize::try_from(back).unwrap_or(0));
                self.reach.1 = self.reach.1.max(usize::try_from(-back).unwrap_or(0));
                return Some(Rule::Near);
            }
            W::FirstValue | W::LastValue | W::NthValue if !frame.ends_with_partition() => {
                if !frame.begins_with_partition() {
                    return Some(Rule::Near);
                }
                let last_is_here = place.function == W::LastValue && frame.ends_here();
                let first_is_known = place.function == W::FirstValue && frame.ends_here();
                if place.ignore_nulls || frame.excludes() || !(last_is_here || first_is_known) {
                    return None;
                }
            }
            _ => return None,
        }
        Some(Rule::Numbers)
    }
}

/// Whether a call depends on which rows are peers.
fn looks_at_peers(call: &Compiled) -> bool {
    use WindowFunction as W;
    match call {
        Compiled::Place(place) => match place.function {
            W::RowNumber | W::Ntile | W::Lag | W::Lead => false,
            W::Rank | W::DenseRank | W::PercentRank | W::CumeDist => true,
            W::FirstValue | W::LastValue | W::NthValue => place.frame.looks_at_peers(),
        },
        Compiled::Aggregate(framed) => framed.frame.looks_at_peers(),
    }
}

/// Where the partition's rows come from.
enum Feed {
    /// The input.
    Input,
    /// A file; a last column says what begins at each row.
    Disk(Arc<SpillFile>, std::vec::IntoIter<Extent>),
}

/// A partition in pieces.
pub(super) struct Pieces {
    rules: Arc<Rules>,
    calls: Arc<Vec<Compiled>>,
    keys: Arc<Keys>,
    types: Vec<Type>,
    context: Arc<QueryContext>,
    feed: Feed,
    /// Whether all its rows were read.
    ended: bool,
    /// Rows before the next piece that its calls still see, and rows that were read.
    batches: Vec<Batch>,
    begins: Vec<Begins>,
    /// How many of these come before the piece.
    halo: usize,
    before: Before,
    /// For each call: the first row's arguments, the state of all rows before, or the one result.
    carried: Vec<Option<Vec<ArrayRef>>>,
    held: Reservation,
}

/// Rows of a piece with their results.
pub(super) struct Piece {
    rows: Batch,
    _held: Reservation,
}

impl Piece {
    /// Puts them out.
    pub(super) fn emit(self, size: usize, emit: Emit<'_>) -> Result<()> {
        for start in (0..self.rows.rows).step_by(size) {
            emit(self.rows.slice(start, size.min(self.rows.rows - start)))?;
        }
        Ok(())
    }
}

impl Pieces {
    /// The partition at whose first row the input stands.
    pub(super) fn new(of: &Partitions, rules: &Arc<Rules>, ahead: &mut Ahead) -> Result<Pieces> {
        let mut pieces = Pieces {
            rules: rules.clone(),
            calls: of.calls.clone(),
            keys: of.keys.clone(),
            types: of.types.clone(),
            context: of.context.clone(),
            feed: Feed::Input,
            ended: false,
            batches: Vec::new(),
            begins: Vec::new(),
            halo: 0,
            before: Before::default(),
            carried: vec![None; of.calls.len()],
            held: of.context.memory.reservation("WindowAgg"),
        };
        if rules.total {
            pieces.write_all(ahead)?;
        }
        Ok(pieces)
    }

    /// Writes the whole partition to disk, and computes what is the same in all its rows.
    fn write_all(&mut self, ahead: &mut Ahead) -> Result<()> {
        let context = self.context.clone();
        let file = SpillFile::create(&context)?;
        let mut whole: Vec<Option<Box<dyn Accumulator>>> = Vec::new();
        for (rule, call) in self.rules.rules.iter().zip(self.calls.iter()) {
            whole.push(match call {
                Compiled::Aggregate(framed) if *rule == Rule::Whole => {
                    Some(framed.call.accumulator(&context.functions)?)
                }
                _ => None,
            });
        }
        let mut extents = Vec::new();
        let mut before = Before::default();
        while let Some((mut batch, begins)) = self.input(ahead, before.rows > 0)? {
            context.cancel.check()?;
            for (call, state) in self.calls.iter().zip(&mut whole) {
                if let (Compiled::Aggregate(framed), Some(state)) = (call, state) {
                    framed.add(&batch, &before, state.as_mut(), &context)?;
                    self.held.resize(state.memory())?;
                }
            }
            before.rows += batch.rows;
            batch.columns.push(Arc::new(UInt8Array::from_iter_values(begins.iter().map(|begins| *begins as u8))));
            extents.push(file.append(&batch)?);
        }
        for (carried, state) in self.carried.iter_mut().zip(whole) {
            *carried = state.map(|mut state| Ok::<_, Error>(vec![state.finish(1)?])).transpose()?;
        }
        self.before.total = Some(before.rows);
        self.feed = Feed::Disk(file, extents.into_iter());
        Ok(())
    }

    /// More rows of the partition from the input.
    fn input(&self, ahead: &mut Ahead, started: bool) -> Result<Option<(Batch, Vec<Begins>)>> {
        if ahead.batches.is_empty() {
            ahead.read(&self.keys, &self.context)?;
        }
        let Some(rows) = ahead.batches.front().map(|batch| batch.rows) else { return Ok(None) };
        if started && ahead.begins[0] == Begins::Partition {
            return Ok(None);
        }
        let end = (1..rows).find(|&row| ahead.begins[row] == Begins::Partition).unwrap_or(rows);
        let (mut batches, begins) = ahead.take(end)?;
        Ok(batches.pop().map(|batch| (batch, begins)))
    }

    /// Reads a batch. Whether it fits beside the others; it is held even if it does not, unless that is over the query's limit.
    fn read(&mut self, ahead: &mut Ahead) -> Result<bool> {
        let next = match &mut self.feed {
            Feed::Input => self.input(ahead, !self.begins.is_empty() || self.before.rows > 0)?,
            Feed::Disk(file, extents) => match extents.next() {
                None => None,
                Some(extent) => {
                    let mut batch = file.read(&extent)?;
                    let begins = batch.columns.pop().ok_or_else(|| Error::internal("rows on disk lack a column"))?;
                    let begins = begins.as_primitive::<UInt8Type>().values().iter().map(|&byte| match byte {
                        b if b == Begins::Nothing as u8 => Begins::Nothing,
                        b if b == Begins::Peers as u8 => Begins::Peers,
                        _ => Begins::Partition,
                    });
                    Some((batch, begins.collect()))
                }
            },
        };
        let Some((batch, begins)) = next else {
            self.ended = true;
            return Ok(true);
        };
        self.batches.push(batch);
        self.begins.extend(begins);
        let bytes = self.batches.iter().map(Batch::bytes).sum::<usize>() + self.begins.len();
        let working = self.begins.len() * WORKING_ROW * self.calls.len();
        let fits = self.held.fits(2 * bytes + working)?;
        if !fits {
            self.held.resize(bytes)?;
        }
        Ok(fits)
    }

    /// The next piece; `None` after the last.
    pub(super) fn next(&mut self, ahead: &mut Ahead) -> Result<Option<Piece>> {
        let mut least = 0;
        loop {
            while !self.ended && (self.read(ahead)? || self.begins.len() < least) {}
            if self.begins.len() == self.halo {
                return Ok(None);
            }
            if let Some(piece) = self.cut()? {
                return Ok(Some(piece));
            }
            // All that was read is one group of peers or one frame: twice as much may be more.
            least = 2 * self.begins.len();
        }
    }

    /// Computes the rows whose frames are known, if there are any.
    fn cut(&mut self) -> Result<Option<Piece>> {
        let context = self.context.clone();
        let rows = Batch::concat(&std::mem::take(&mut self.batches), &self.types)?;
        self.batches.push(rows.clone());
        let layout = Layout::new(&self.begins);
        let mut end = if self.ended { rows.rows } else { rows.rows.saturating_sub(self.rules.reach.1) };
        let mut frames = Vec::new();
        for (rule, call) in self.rules.rules.iter().zip(self.calls.iter()) {
            if matches!(rule, Rule::Near | Rule::Prefix) && !is_beside(call) {
                let of_call = call.frame().over(&rows, &layout, &context)?;
                if !self.ended {
                    end = end.min(of_call.end.partition_point(|&to| (to as usize) < rows.rows));
                }
                frames.extend((*rule == Rule::Near).then_some(of_call));
            }
        }
        if self.rules.peers && !self.ended {
            // Of the last group that was read there may be more.
            end = end.min(layout.peers.last().map_or(0, |peers| peers.start));
            end = layout.peers.get(layout.group[end] as usize).map_or(0, |peers| peers.start);
        }
        if end <= self.halo {
            return Ok(None);
        }
        let body = end - self.halo;
        let tail = rows.slice(self.halo, rows.rows - self.halo);
        let tail_layout = Layout::new(&self.begins[self.halo..]);
        let mut working = context.memory.reservation("WindowAgg");
        let mut out = tail.slice(0, body);
        for (at, call) in self.calls.iter().enumerate() {
            let carried = self.carried[at].as_deref();
            out.columns.push(match self.rules.rules[at] {
                Rule::Near => {
                    call.over(&rows, &layout, &Before::default(), None, &mut working, &context)?.slice(self.halo, body)
                }
                Rule::Whole => {
                    let [result] = carried.unwrap_or_default() else {
                        return Err(Error::internal("a result of all rows is known before the first"));
                    };
                    take(result, &UInt32Array::from(vec![0; body]), None)?
                }
                Rule::Numbers | Rule::Prefix => {
                    call.over(&tail, &tail_layout, &self.before, carried, &mut working, &context)?.slice(0, body)
                }
            });
        }
        self.carry(&tail.slice(0, body))?;
        self.before.rows += body;
        self.before.groups += tail_layout.group[body - 1] as usize + 1;
        let seen = frames.iter().map(|frames| frames.start[end - 1] as usize);
        let keep = seen.chain([end.saturating_sub(self.rules.reach.0)]).fold(end, usize::min);
        self.batches = vec![rows.slice(keep, rows.rows - keep)];
        self.begins.drain(..keep);
        self.halo = end - keep;
        let mut held = context.memory.reservation("WindowAgg");
        held.resize(out.bytes())?;
        self.held.resize(self.batches.iter().map(Batch::bytes).sum())?;
        Ok(Some(Piece { rows: out, _held: held }))
    }

    /// Keeps what rows after these need of them.
    fn carry(&mut self, body: &Batch) -> Result<()> {
        let context = self.context.clone();
        for (at, call) in self.calls.iter().enumerate() {
            match (self.rules.rules[at], call) {
                (Rule::Numbers, Compiled::Place(place)) if self.carried[at].is_none() => {
                    if matches!(place.function, WindowFunction::FirstValue | WindowFunction::Ntile) {
                        let first = body.take(&UInt32Array::from(vec![0]))?;
                        self.carried[at] = Some(arrays(&place.args, &first, &context)?);
                    }
                }
                (Rule::Prefix, Compiled::Aggregate(framed)) => {
                    let mut state = framed.call.accumulator(&context.functions)?;
                    if let Some(carried) = &self.carried[at] {
                        state.merge(carried, &[0], 1)?;
                    }
                    framed.add(body, &self.before, state.as_mut(), &context)?;
                    self.carried[at] = Some(state.state(1)?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether a call looks at rows by their distance, whatever its frame.
fn is_beside(call: &Compiled) -> bool {
    matches!(call, Compiled::Place(place) if matches!(place.function, WindowFunction::Lag | WindowFunction::Lead))
}
