//! A partition that does not fit in memory, in pieces.
//!
//! A piece ends where all that its rows' frames see is at hand, or is known of the rows before and after: numbers, the states of aggregates whose frames
//! begin or end with the partition or with a group of peers, or the few values of such frames that matter. What frames and `lag` see of rows before
//! the piece stays at hand beside it.
//!
//! What comes after is known once the partition was written to disk and read back from its end: after each batch the state of all that follow it,
//! and of those among them that are peers of its last row. It is written if a call asks for the partition's end, or once a group of peers does not
//! fit.
//!
//! Pieces are computed one after the other. Calls that need more than this (`lag` by a number of each row, `seasonal_lag`) need the whole partition; frames
//! that leave peers out, or count groups of them, need a group of peers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt8Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Int32Type, UInt8Type};
use weir_sql::Type;

use super::frame::{Layout, Reach};
use super::place::Place;
use super::{Ahead, Before, Begins, Beyond, Compiled, Keys, Partitions};
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
    /// From numbers and the piece.
    Numbers,
    /// From the piece and what it gave in the row before.
    Running,
    /// From the piece and some rows beside it.
    Beside,
    /// From frames: how far they go to either side.
    Frame(Reach, Reach),
}

/// How all calls are.
pub(super) struct Rules {
    rules: Vec<Rule>,
    /// Whether pieces end between peers, and whether they do as long as the partition is not on disk.
    peers: (bool, bool),
    /// Whether the partition's end has to be known.
    total: bool,
    /// How many rows `lag` looks back, and `lead` ahead.
    reach: (usize, usize),
}

impl Rules {
    /// `None` if a call needs the partition as a whole. `ordered` is whether rows are peers only by some key.
    pub(super) fn new(calls: &[Compiled], ordered: bool) -> Option<Rules> {
        let mut rules = Rules { rules: Vec::new(), peers: (false, false), total: false, reach: (0, 0) };
        for call in calls {
            let rule = match call {
                Compiled::Place(place) => rules.of_place(place)?,
                Compiled::Aggregate(_) | Compiled::ZScore(_) | Compiled::MadScore(_) => {
                    let (start, end) = call.frame().reach();
                    Rule::Frame(start, end)
                }
            };
            let Rule::Frame(mut start, mut end) = rule else {
                rules.rules.push(rule);
                continue;
            };
            if !ordered {
                // All rows are peers.
                if call.frame().needs_peers() {
                    return None;
                }
                let whole = |reach| if reach == Reach::Peers { Reach::Partition } else { reach };
                (start, end) = (whole(start), whole(end));
            }
            rules.peers.0 |= call.frame().needs_peers();
            rules.peers.1 |= end == Reach::Peers;
            rules.total |= end == Reach::Partition;
            rules.rules.push(Rule::Frame(start, end));
        }
        Some(rules)
    }

    fn of_place(&mut self, place: &Place) -> Option<Rule> {
        use WindowFunction as W;
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
                return Some(Rule::Beside);
            }
            W::Lag | W::Lead | W::SeasonalLag => return None,
            // Scores are not of a row's place.
            W::ZScore | W::MadScore => return None,
            W::Ewma => return Some(Rule::Running),
            W::FirstValue | W::LastValue | W::NthValue => {
                let (start, end) = place.frame.reach();
                if (start, end) != (Reach::Near, Reach::Near) {
                    place.depth()?;
                }
                return Some(Rule::Frame(start, end));
            }
        }
        Some(Rule::Numbers)
    }
}

/// The rest of a partition on disk.
struct Disk {
    file: Arc<SpillFile>,
    /// Batches of rows; a last column says what begins at each row.
    extents: Vec<Extent>,
    /// How many of them were read.
    read: usize,
    /// For each call, what its frames see after each batch, if they see anything.
    after: Vec<Vec<Option<Extent>>>,
    /// Where the group of each batch's last row ends.
    group_ends: Vec<usize>,
}

/// A partition in pieces.
pub(super) struct Pieces {
    rules: Arc<Rules>,
    calls: Arc<Vec<Compiled>>,
    keys: Arc<Keys>,
    types: Vec<Type>,
    context: Arc<QueryContext>,
    /// Where rows come from, if not from the input.
    disk: Option<Disk>,
    /// Whether all its rows were read.
    ended: bool,
    /// Rows before the next piece that its calls still see, and rows that were read.
    batches: Vec<Batch>,
    begins: Vec<Begins>,
    /// How many of these come before the piece.
    halo: usize,
    before: Before,
    /// With which row the last group of peers before the piece began.
    group_start: usize,
    /// For each call: what its frames see of rows that are not at hand any more; of `ntile` the first row's arguments, of
    /// `ewma` the last row's.
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
            disk: None,
            ended: false,
            batches: Vec::new(),
            begins: Vec::new(),
            halo: 0,
            before: Before::default(),
            group_start: 0,
            carried: vec![None; of.calls.len()],
            held: of.context.memory.reservation("WindowAgg"),
        };
        if rules.total {
            pieces.write(ahead)?;
        }
        Ok(pieces)
    }

    /// Writes the rest of the partition to disk, and what frames see after each batch.
    fn write(&mut self, ahead: &mut Ahead) -> Result<()> {
        let context = self.context.clone();
        let file = SpillFile::create(&context)?;
        let mut disk = Disk { file, extents: Vec::new(), read: 0, after: Vec::new(), group_ends: Vec::new() };
        let append = |disk: &mut Disk, mut batch: Batch, begins: &[Begins]| -> Result<()> {
            batch.columns.push(Arc::new(UInt8Array::from_iter_values(begins.iter().map(|begins| *begins as u8))));
            disk.extents.push(disk.file.append(&batch)?);
            Ok(())
        };
        let rows = Batch::concat(&std::mem::take(&mut self.batches), &self.types)?;
        let size = context.batch_rows.max(1);
        for start in (self.halo..rows.rows).step_by(size) {
            let end = (start + size).min(rows.rows);
            append(&mut disk, rows.slice(start, end - start), &self.begins[start..end])?;
        }
        self.batches = vec![rows.take(&UInt32Array::from_iter_values(0..self.halo as u32))?];
        self.begins.truncate(self.halo);
        drop(rows);
        self.held.resize(self.batches[0].bytes())?;
        let mut total = self.before.rows + disk.extents.iter().map(|extent| extent.rows).sum::<usize>();
        while !self.ended
            && let Some((batch, begins)) = self.input(ahead, total > 0)?
        {
            context.cancel.check()?;
            total += batch.rows;
            append(&mut disk, batch, &begins)?;
        }
        self.ended = false;
        self.before.total = Some(total);
        self.look_ahead(&mut disk, total)?;
        self.disk = Some(disk);
        Ok(())
    }

    /// Finds out what frames see after each batch on disk, from the last to the first.
    fn look_ahead(&mut self, disk: &mut Disk, total: usize) -> Result<()> {
        let context = self.context.clone();
        let mut held = context.memory.reservation("WindowAgg");
        let mut after: Vec<Option<Vec<ArrayRef>>> = vec![None; self.calls.len()];
        disk.after = vec![Vec::new(); self.calls.len()];
        let (mut end, mut group_end) = (total, total);
        for nth in (0..disk.extents.len()).rev() {
            context.cancel.check()?;
            for (states, state) in disk.after.iter_mut().zip(&after) {
                let rows = |state: &Vec<ArrayRef>| Batch::new(state.clone(), state.first().map_or(0, Array::len));
                states.push(state.as_ref().map(|state| disk.file.append(&rows(state))).transpose()?);
            }
            disk.group_ends.push(group_end);
            let (batch, begins) = disk.batch(nth)?;
            end -= batch.rows;
            // How many rows in front are peers of the last row before them.
            let peers = begins.iter().take_while(|begins| **begins == Begins::Nothing).count();
            group_end = if peers < batch.rows { end + peers } else { group_end };
            for ((call, rule), state) in self.calls.iter().zip(&self.rules.rules).zip(&mut after) {
                let seen = match rule {
                    Rule::Frame(_, Reach::Partition) => batch.clone(),
                    Rule::Frame(_, Reach::Peers) if peers < batch.rows => {
                        *state = None;
                        batch.slice(0, peers)
                    }
                    Rule::Frame(_, Reach::Peers) => batch.clone(),
                    _ => continue,
                };
                if seen.rows > 0 {
                    let before = Before { rows: end, ..Before::default() };
                    *state = Some(joined(call, state.take(), &seen, &before, true, &context)?);
                }
            }
            held.resize(after.iter().flatten().flatten().map(crate::exec::batch::array_bytes).sum())?;
        }
        disk.after.iter_mut().for_each(|states| states.reverse());
        disk.group_ends.reverse();
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
        let next = match &mut self.disk {
            None => self.input(ahead, !self.begins.is_empty() || self.before.rows > 0)?,
            Some(disk) if disk.read == disk.extents.len() => None,
            Some(disk) => {
                disk.read += 1;
                Some(disk.batch(disk.read - 1)?)
            }
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
            if self.rules.peers.1 && self.disk.is_none() {
                // All that was read is one group of peers.
                self.write(ahead)?;
                continue;
            }
            // All that was read is one frame or such a group: twice as much may be more.
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
        // From which row on what each row's frame sees has to be at hand.
        let mut needed: Vec<Vec<u32>> = Vec::new();
        for (rule, call) in self.rules.rules.iter().zip(self.calls.iter()) {
            let Rule::Frame(start, to) = rule else { continue };
            let frames = call.frame().over(&rows, &layout, &context)?;
            let known = |bounds: &[u32]| bounds.partition_point(|&at| (at as usize) < rows.rows);
            if !self.ended && *to == Reach::Near {
                end = end.min(known(&frames.end));
            }
            if !self.ended && *start == Reach::Near {
                end = end.min(known(&frames.start));
            }
            match (start, to) {
                (Reach::Near, _) => needed.push(frames.start),
                (_, Reach::Near) => needed.push(frames.end),
                _ => {}
            }
        }
        if (self.rules.peers.0 || self.rules.peers.1 && self.disk.is_none()) && !self.ended {
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
        let goes_on = self.begins[self.halo] == Begins::Nothing;
        let read_to = self.before.rows + tail.rows;
        self.before.group_start = goes_on.then_some(self.group_start);
        let group_end = self.disk.as_ref().and_then(|disk| disk.group_ends.get(disk.read.checked_sub(1)?).copied());
        self.before.group_end = group_end.filter(|end| *end > read_to);
        let at_hand = Before { rows: self.before.rows - self.halo, ..Before::default() };
        let mut out = tail.slice(0, body);
        for (at, call) in self.calls.iter().enumerate() {
            let mut beyond = Beyond { before: self.carried[at].clone(), ..Beyond::default() };
            out.columns.push(match self.rules.rules[at] {
                Rule::Numbers => {
                    call.over(&tail, &tail_layout, &self.before, &beyond, &mut working, &context)?.slice(0, body)
                }
                Rule::Running => {
                    let values = call.over(&tail, &tail_layout, &self.before, &beyond, &mut working, &context)?;
                    self.carried[at] = Some(vec![take(&values, &UInt32Array::from(vec![body as u32 - 1]), None)?]);
                    values.slice(0, body)
                }
                rule => {
                    if let (Rule::Frame(start, to), Some(disk)) = (rule, &self.disk) {
                        beyond.of_peers = (start == Reach::Peers, to == Reach::Peers);
                        beyond.after = disk.after(at)?;
                    }
                    if let Rule::Frame(Reach::Peers, _) = rule {
                        beyond.of_peers.0 = true;
                        beyond.before = beyond.before.filter(|_| self.begins[0] == Begins::Nothing);
                    }
                    call.over(&rows, &layout, &at_hand, &beyond, &mut working, &context)?.slice(self.halo, body)
                }
            });
        }
        let seen = needed.iter().map(|needed| needed[end - 1] as usize);
        let keep = seen.chain([end.saturating_sub(self.rules.reach.0)]).fold(end, usize::min);
        self.carry(&rows, keep, &at_hand)?;
        let began = |from: usize| self.begins[from..end].iter().rposition(|begins| *begins != Begins::Nothing);
        if let Some(last) = began(self.halo) {
            self.group_start = self.before.rows + last;
        }
        self.before.groups += self.begins[self.halo..end].iter().filter(|begins| **begins != Begins::Nothing).count();
        self.before.rows += body;
        self.batches = vec![rows.slice(keep, rows.rows - keep)];
        self.begins.drain(..keep);
        self.halo = end - keep;
        let mut held = context.memory.reservation("WindowAgg");
        held.resize(out.bytes())?;
        self.held.resize(self.batches.iter().map(Batch::bytes).sum())?;
        Ok(Some(Piece { rows: out, _held: held }))
    }

    /// Keeps what other rows need of the first ones, which will not be at hand.
    fn carry(&mut self, rows: &Batch, first: usize, before: &Before) -> Result<()> {
        let (all, rows) = (rows, rows.slice(0, first));
        let context = self.context.clone();
        for (at, call) in self.calls.iter().enumerate() {
            let carried = &mut self.carried[at];
            match (self.rules.rules[at], call) {
                (Rule::Numbers, Compiled::Place(place))
                    if place.function == WindowFunction::Ntile && carried.is_none() =>
                {
                    *carried = Some(arrays(&place.args, &all.take(&UInt32Array::from(vec![0]))?, &context)?);
                }
                _ if rows.rows == 0 => {}
                (Rule::Frame(Reach::Partition, _), call) => {
                    *carried = Some(joined(call, carried.take(), &rows, before, false, &context)?);
                }
                (Rule::Frame(Reach::Peers, _), call) => {
                    // Of the last group only, which rows that stay at hand may go on with.
                    let begins = &self.begins[..rows.rows];
                    let first = begins.iter().rposition(|begins| *begins != Begins::Nothing);
                    let state = carried.take().filter(|_| first.is_none());
                    let first = first.unwrap_or(0);
                    let before = Before { rows: before.rows + first, ..*before };
                    let rows = rows.slice(first, rows.rows - first);
                    *carried = Some(joined(call, state, &rows, &before, false, &context)?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Disk {
    /// A batch, and what begins at each of its rows.
    fn batch(&self, nth: usize) -> Result<(Batch, Vec<Begins>)> {
        let mut batch = self.file.read(&self.extents[nth])?;
        let begins = batch.columns.pop().ok_or_else(|| Error::internal("rows on disk lack a column"))?;
        let begins = begins.as_primitive::<UInt8Type>().values().iter().map(|&byte| match byte {
            b if b == Begins::Nothing as u8 => Begins::Nothing,
            b if b == Begins::Peers as u8 => Begins::Peers,
            _ => Begins::Partition,
        });
        Ok((batch, begins.collect()))
    }

    /// What a call's frames see after what was read.
    fn after(&self, call: usize) -> Result<Option<Vec<ArrayRef>>> {
        let Some(nth) = self.read.checked_sub(1) else { return Ok(None) };
        self.after[call][nth].as_ref().map(|extent| Ok(self.file.read(extent)?.columns)).transpose()
    }
}

/// What frames see of rows and of others beside them, of which `others` is what is seen: they come after the rows, or before.
fn joined(
    call: &Compiled,
    others: Option<Vec<ArrayRef>>,
    rows: &Batch,
    before: &Before,
    after: bool,
    context: &Arc<QueryContext>,
) -> Result<Vec<ArrayRef>> {
    match call {
        Compiled::Aggregate(framed) => framed.joined(others, rows, before, context),
        Compiled::ZScore(score) => score.joined(others, rows, before, context),
        Compiled::MadScore(score) => score.joined(others, rows, context),
        Compiled::Place(place) => {
            let values = place.args[0].array(rows, context)?;
            let others = others.as_ref().map(|others| &others[0]);
            let (earlier, later) = if after { (None, others) } else { (others, None) };
            Ok(vec![place.joined(earlier, &values, later)?])
        }
    }
}
