//! How unusual a row's value is among those of its frame: zscore and mad_score.
//!
//! zscore is the distance from the mean in sample standard deviations, from the states of avg and stddev_samp over the frame.
//!
//! mad_score is the modified z-score of B. Iglewicz and D. Hoaglin, "How to Detect and Handle Outliers", ASQC 1993: 0.6745 (x - median) / MAD, where MAD
//! is the median of the distances from the median, and 0.6745 of it is one standard deviation of normally distributed values. Ranks of the values that the
//! frame at hand has are counted in a Fenwick tree, which gives the k-th least of them; the distances below and above the median are two ascending
//! runs of such, so that their median is found by bisection. A row that enters or leaves the frame costs O(log n), a frame O(log² n).
//!
//! Where there is nothing to measure by (a deviation of 0, as more than half of the values being equal makes MAD) the score is NULL, not infinite: an
//! alert on a series that rests would fire at the least movement.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::concat;
use arrow::datatypes::Float64Type;
use weir_sql::Type;
use weir_sql::catalog::{FunctionKind, Functions, Param};
use weir_sql::plan::{AggregateCall, Expr, SortKey, WindowCall};

use super::aggregate::Framed;
use super::frame::{Frame, Layout};
use super::{Before, Beyond};
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::Expression;
use crate::exec::memory::Reservation;
use crate::exec::operators::aggregate::Call;
use crate::functions::registry;

/// How many standard deviations of normally distributed values their median distance from the median is.
const NORMAL_MAD: f64 = 0.6745;
/// Frames between two looks at whether the query was cancelled.
const AT_ONCE: usize = 1 << 12;
/// Bytes a value that is ranked takes: itself, its place among the sorted ones, its rank and its count.
const RANKED: usize = 24;

/// A compiled zscore.
pub(super) struct ZScore {
    pub(super) value: Expression,
    pub(super) mean: Framed,
    deviation: Framed,
}

impl ZScore {
    pub(super) fn new(window: &WindowCall, order_by: &[SortKey], context: &Arc<QueryContext>) -> Result<ZScore> {
        let value = argument(window)?;
        let framed = |name| {
            let call = Call::new(&aggregate(name, value)?, context)?;
            Ok::<_, Error>(Framed { call, frame: Frame::new(&window.frame, order_by, context)?, ty: Type::Float8 })
        };
        Ok(ZScore { value: Expression::new(value, context)?, mean: framed("avg")?, deviation: framed("stddev_samp")? })
    }

    /// Its value in each row. What is beyond the rows are the mean's states, then the deviation's.
    pub(super) fn over(
        &self,
        rows: &Batch,
        layout: &Layout,
        before: &Before,
        beyond: &Beyond,
        held: &mut Reservation,
        context: &Arc<QueryContext>,
    ) -> Result<ArrayRef> {
        let split = self.mean.call.state_types().len();
        let of = |states: Range<Option<usize>>| {
            let part = |all: &Option<Vec<ArrayRef>>| {
                all.as_ref().map(|all| all[states.start.unwrap_or(0)..states.end.unwrap_or(all.len())].to_vec())
            };
            Beyond { before: part(&beyond.before), after: part(&beyond.after), of_peers: beyond.of_peers }
        };
        let means = self.mean.over(rows, layout, before, &of(None..Some(split)), held, context)?;
        let deviations = self.deviation.over(rows, layout, before, &of(Some(split)..None), held, context)?;
        let (means, deviations) = (means.as_primitive::<Float64Type>(), deviations.as_primitive::<Float64Type>());
        let values = self.value.array(rows, context)?;
        let scores = values.as_primitive::<Float64Type>().iter().zip(means).zip(deviations);
        let scores: Float64Array = scores
            .map(|((value, mean), deviation)| {
                let (value, mean, deviation) = (value?, mean?, deviation?);
                // Less than doubles around the mean can tell apart is what rounding leaves of equal values.
                let none = deviation <= mean.abs() * f64::EPSILON;
                (!none).then(|| (value - mean) / deviation)
            })
            .collect();
        Ok(Arc::new(scores))
    }

    /// The states of rows and of others beside them.
    pub(super) fn joined(
        &self,
        others: Option<Vec<ArrayRef>>,
        rows: &Batch,
        before: &Before,
        context: &Arc<QueryContext>,
    ) -> Result<Vec<ArrayRef>> {
        let (means, deviations) = match others {
            Some(mut means) => {
                let deviations = means.split_off(self.mean.call.state_types().len());
                (Some(means), Some(deviations))
            }
            None => (None, None),
        };
        let mut states = self.mean.joined(means, rows, before, context)?;
        states.extend(self.deviation.joined(deviations, rows, before, context)?);
        Ok(states)
    }
}

/// A compiled mad_score.
pub(super) struct MadScore {
    pub(super) value: Expression,
    pub(super) frame: Frame,
}

impl MadScore {
    pub(super) fn new(window: &WindowCall, order_by: &[SortKey], context: &Arc<QueryContext>) -> Result<MadScore> {
        let frame = Frame::new(&window.frame, order_by, context)?;
        Ok(MadScore { value: Expression::new(argument(window)?, context)?, frame })
    }

    /// Its value in each row. What is beyond the rows are the values there.
    pub(super) fn over(
        &self,
        rows: &Batch,
        layout: &Layout,
        beyond: &Beyond,
        held: &mut Reservation,
        context: &Arc<QueryContext>,
    ) -> Result<ArrayRef> {
        let there = self.value.array(rows, context)?;
        let values = there.as_primitive::<Float64Type>();
        let frames = self.frame.over(rows, layout, context)?;
        let (earlier, later) = (first(&beyond.before), first(&beyond.after));
        let all: Vec<&dyn Array> =
            earlier.into_iter().chain([&there]).chain(later).map(|array| array.as_ref() as &dyn Array).collect();
        let all = concat(&all)?;
        held.resize(all.len() * RANKED)?;
        let mut ranked = Ranked::new(all.as_primitive::<Float64Type>());
        let from = earlier.map_or(0, |earlier| earlier.len());
        let to = from + rows.rows;
        let mut runs: Vec<Range<usize>> = Vec::new();
        let mut measures = None;
        let mut scores = Vec::with_capacity(rows.rows);
        for row in 0..rows.rows {
            if row % AT_ONCE == 0 {
                context.cancel.check()?;
            }
            let sees = beyond.seen_from(row, layout);
            let at_hand = frames.ranges(row, layout).map(|run| run.start + from..run.end + from);
            let mut now = Vec::with_capacity(5);
            now.extend(sees.0.then_some(0..from));
            now.extend(at_hand);
            now.extend(sees.1.then_some(to..all.len()));
            now.retain(|run| !run.is_empty());
            if now != runs {
                each_only_in(&runs, &now, |at| ranked.remove(at));
                each_only_in(&now, &runs, |at| ranked.add(at));
                runs = now;
                measures = ranked.median_and_mad();
            }
            scores.push(match (measures, values.is_valid(row)) {
                (Some((median, mad)), true) if mad != 0.0 => Some(NORMAL_MAD * (values.value(row) - median) / mad),
                _ => None,
            });
        }
        Ok(Arc::new(Float64Array::from(scores)))
    }

    /// The values of rows and of others beside them.
    pub(super) fn joined(
        &self,
        others: Option<Vec<ArrayRef>>,
        rows: &Batch,
        context: &Arc<QueryContext>,
    ) -> Result<Vec<ArrayRef>> {
        let values = self.value.array(rows, context)?;
        Ok(vec![match first(&others) {
            Some(others) => concat(&[others.as_ref(), values.as_ref()])?,
            None => values,
        }])
    }
}

fn first(columns: &Option<Vec<ArrayRef>>) -> Option<&ArrayRef> {
    columns.as_ref().and_then(|columns| columns.first())
}

fn argument(window: &WindowCall) -> Result<&Expr> {
    window.call.args.first().ok_or_else(|| Error::internal("a score has no argument"))
}

/// A call of an aggregate of one number.
fn aggregate(name: &str, value: &Expr) -> Result<AggregateCall> {
    let of_number = registry()
        .overloads(name)
        .iter()
        .find(|known| known.kind == FunctionKind::Aggregate && known.params == [Param::AnyNumber]);
    Ok(AggregateCall {
        function: of_number.ok_or_else(|| Error::internal(format!("{name} of a number is not there")))?.id,
        name: name.to_string(),
        params: Vec::new(),
        args: vec![value.clone()],
        distinct: false,
        filter: None,
        order_by: Vec::new(),
        combinator: None,
        ty: Type::Float8,
    })
}

/// The places in `runs` that are not in `others`; both are in order and do not overlap.
fn each_only_in(runs: &[Range<usize>], others: &[Range<usize>], mut each: impl FnMut(usize)) {
    for run in runs {
        let mut from = run.start;
        for other in others {
            (from..other.start.min(run.end)).for_each(&mut each);
            from = from.max(other.end);
        }
        (from..run.end).for_each(&mut each);
    }
}

/// Some of a list of values, by rank.
struct Ranked {
    /// All values, ascending, NaN last.
    sorted: Vec<f64>,
    /// Where each value is among them; none of NULL.
    ranks: Vec<Option<u32>>,
    /// A Fenwick tree of how many there are: the node at `i`, from 1, has those of the ranks from `i - (i & -i)` to before `i`.
    counts: Vec<u32>,
    len: usize,
}

impl Ranked {
    fn new(values: &Float64Array) -> Ranked {
        let mut order: Vec<u32> = (0..values.len() as u32).filter(|&at| values.is_valid(at as usize)).collect();
        order.sort_unstable_by(|&a, &b| ascending(values.value(a as usize), values.value(b as usize)).then(a.cmp(&b)));
        let mut ranks = vec![None; values.len()];
        order.iter().zip(0u32..).for_each(|(&at, rank)| ranks[at as usize] = Some(rank));
        let sorted: Vec<f64> = order.iter().map(|&at| values.value(at as usize)).collect();
        Ranked { counts: vec![0; sorted.len() + 1], sorted, ranks, len: 0 }
    }

    fn add(&mut self, at: usize) {
        self.count(at, 1);
    }

    fn remove(&mut self, at: usize) {
        self.count(at, u32::MAX);
    }

    /// Adds to the counts of a value, modulo 2³².
    fn count(&mut self, at: usize, by: u32) {
        let Some(rank) = self.ranks[at] else { return };
        let mut node = rank as usize + 1;
        while node < self.counts.len() {
            self.counts[node] = self.counts[node].wrapping_add(by);
            node += node & node.wrapping_neg();
        }
        self.len = if by == 1 { self.len + 1 } else { self.len - 1 };
    }

    /// The value that `nth` others come before.
    fn nth(&self, nth: usize) -> f64 {
        let (mut node, mut left) = (0, nth as u32);
        let mut step = self.counts.len().next_power_of_two() / 2;
        while step > 0 {
            if let Some(&count) = self.counts.get(node + step)
                && count <= left
            {
                node += step;
                left -= count;
            }
            step /= 2;
        }
        self.sorted[node]
    }

    /// The median, and the median distance from it; `None` of no values.
    fn median_and_mad(&self) -> Option<(f64, f64)> {
        let half = self.len / 2;
        let median = match self.len {
            0 => return None,
            len if len % 2 == 1 => self.nth(half),
            _ => between(self.nth(half - 1), self.nth(half)),
        };
        if !median.is_finite() {
            return Some((median, f64::NAN));
        }
        let mad = match self.len % 2 {
            1 => self.nth_distance(median, half),
            _ => between(self.nth_distance(median, half - 1), self.nth_distance(median, half)),
        };
        Some((median, mad))
    }

    /// The distance from the median that `nth` others are less than: those of the lower half of the values and of the upper half are ascending.
    fn nth_distance(&self, median: f64, nth: usize) -> f64 {
        let lower = self.len / 2;
        let upper = self.len - lower;
        let below = |at: usize| median - self.nth(lower - 1 - at);
        let above = |at: usize| self.nth(lower + at) - median;
        // How many of the `nth` least are below.
        let (mut from, mut to) = (nth.saturating_sub(upper), nth.min(lower));
        while from < to {
            let middle = from.midpoint(to);
            match ascending(below(middle), above(nth - middle - 1)) {
                Ordering::Less => from = middle + 1,
                _ => to = middle,
            }
        }
        let next = [(from < lower).then(|| below(from)), (nth - from < upper).then(|| above(nth - from))];
        next.into_iter().flatten().min_by(|a, b| ascending(*a, *b)).unwrap_or(f64::NAN)
    }
}

/// The order of values, NaN last, as Postgres has it.
fn ascending(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The middle of two values.
fn between(a: f64, b: f64) -> f64 {
    if a == b { a } else { a + (b - a) * 0.5 }
}
