//! Chains of events, by ClickHouse's names: windowFunnel, sequenceMatch, sequenceCount and retention.
//!
//! State: of retention the conditions that were met, as bits; of the others two lists, the events' times (bigint) and the conditions that each
//! meets (bigint, a bit for each). Events of one time are in the order of their conditions, so that the order of rows makes no difference.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, UInt8Array, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use weir_sql::Type;
use weir_sql::catalog::{Param, Returns};

use super::states::{Collected, by_group, lists, rows_that_count};
use super::{Accumulator, AggregateFunction, AggregateOverload, Call, function};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::datetime::MICROS_PER_SECOND;

/// So many conditions fit into a state.
const CONDITIONS_MAX: usize = 32;

pub(super) fn functions() -> Vec<AggregateFunction> {
    let events = |_: &[Type], _: &Type| vec![Type::Array(Box::new(Type::Int8)), Type::Array(Box::new(Type::Int8))];
    let bits = |_: &[Type], _: &Type| vec![Type::Int8];
    let conditions = || Param::Exact(Type::Bool);
    let chain = |returns: Type, create| -> Vec<AggregateOverload> {
        [Param::AnyTimestamp, Param::AnyInteger]
            .into_iter()
            .map(|time| {
                let params = vec![time, conditions()];
                let returns = Returns::Exact(returns.clone());
                AggregateOverload { variadic: true, ..AggregateOverload::new(params, returns, events, create) }
            })
            .collect()
    };
    let flags = Returns::Exact(Type::Array(Box::new(Type::UInt8)));
    let retention = AggregateOverload::new(vec![conditions()], flags, bits, |call| {
        within(call.args.len())?;
        Ok(Box::new(Retention { conditions: call.args.len(), met: Vec::new() }))
    });
    vec![
        function(
            &["windowFunnel"],
            "How many of the conditions were met one after the other, within so many seconds of the first: windowFunnel(3600)(time, step1, step2). \
             Further parameters are 'strict_order', 'strict_deduplication' and 'strict_increase'.",
            ("windowFunnel(2)(x, x = 1, x = 2, x = 4)", "2"),
            chain(Type::UInt8, |call| events_of(call, funnel(call)?)),
        ),
        function(
            &["sequenceMatch"],
            "Whether events follow each other as a pattern says: sequenceMatch('(?1).*(?t<60)(?2)')(time, first, second).",
            ("sequenceMatch('(?1).*(?2)')(x, x = 1, x = 3)", "1"),
            chain(Type::UInt8, |call| events_of(call, What::Match(pattern(call)?))),
        ),
        function(
            &["sequenceCount"],
            "How often events follow each other as a pattern says, chains that share an event counted once.",
            ("sequenceCount('(?1)(?2)')(x, x < 3, x > 1)", "1"),
            chain(Type::UInt64, |call| events_of(call, What::Count(pattern(call)?))),
        ),
        function(
            &["retention"],
            "For each condition whether it was met, and the first one too.",
            ("retention(x = 1, x = 2, x = 9)", "{1,1,0}"),
            vec![AggregateOverload { variadic: true, ..retention }],
        ),
    ]
}

fn within(conditions: usize) -> Result<()> {
    match conditions <= CONDITIONS_MAX {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::ProgramLimit, format!("more than {CONDITIONS_MAX} conditions"))),
    }
}

/// What is made of a group's events.
enum What {
    Funnel(Funnel),
    Match(Vec<Step>),
    Count(Vec<Step>),
}

#[derive(Default)]
struct Funnel {
    window: i64,
    /// Another event than the next ends the chain.
    strict_order: bool,
    /// An event that was there already ends it.
    strict_deduplication: bool,
    /// Each is later than the one before.
    strict_increase: bool,
}

/// A step of a pattern.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// `(?N)`: an event that meets the condition of this bit.
    Event(i64),
    /// `.`
    Any,
    /// `.*`
    Some,
    /// `(?t<n)` and the like: any events, up to one that is so long after the step before.
    Time(Comparison, i64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

/// Seconds in the unit of the times: microseconds, or whatever integers count; a date's are days.
fn unit(call: &Call<'_>) -> i64 {
    if matches!(call.args[0], Type::Timestamp | Type::Timestamptz) { MICROS_PER_SECOND } else { 1 }
}

fn funnel(call: &Call<'_>) -> Result<What> {
    let wrong = |message: String| Error::new(ErrorKind::InvalidParameter, message);
    let mut params = call.params.iter();
    let window = params
        .next()
        .filter(|window| window.ty.is_integer() && !window.is_null())
        .ok_or_else(|| wrong("windowFunnel needs its window in seconds: windowFunnel(3600)(…)".into()))?;
    let window = cast(&window.array, &DataType::Int64)?.as_primitive::<Int64Type>().value(0);
    let window = window.checked_mul(unit(call)).filter(|window| *window >= 0);
    let window = window.ok_or_else(|| wrong("the window of windowFunnel is out of range".into()))?;
    let mut funnel = Funnel { window, ..Funnel::default() };
    for mode in params {
        match mode.as_str() {
            Some("strict_order") => funnel.strict_order = true,
            Some("strict_deduplication" | "strict") => funnel.strict_deduplication = true,
            Some("strict_increase") => funnel.strict_increase = true,
            _ => return Err(wrong(format!("windowFunnel has no mode {mode}"))),
        }
    }
    Ok(What::Funnel(funnel))
}

/// The steps of a pattern, which is the first parameter.
fn pattern(call: &Call<'_>) -> Result<Vec<Step>> {
    let text = call.params.first().and_then(|pattern| pattern.as_str()).unwrap_or_default();
    let wrong = |rest: &str| {
        Error::new(ErrorKind::InvalidParameter, format!("invalid pattern '{text}'"))
            .with_detail(format!("(?1), (?t<60), . and .* are its steps; \"{rest}\" is none."))
    };
    let (mut rest, mut steps) = (text, Vec::new());
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(".*") {
            steps.push(Step::Some);
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix('.') {
            steps.push(Step::Any);
            rest = after;
            continue;
        }
        let (inner, after) =
            rest.strip_prefix("(?").and_then(|rest| rest.split_once(')')).ok_or_else(|| wrong(rest))?;
        steps.push(match inner.strip_prefix('t') {
            Some(time) => {
                use Comparison as C;
                const SIGNS: [(&str, C); 5] = [
                    ("<=", C::LessOrEqual),
                    (">=", C::GreaterOrEqual),
                    ("==", C::Equal),
                    ("<", C::Less),
                    (">", C::Greater),
                ];
                let parsed = SIGNS.iter().find_map(|(sign, comparison)| {
                    let seconds: i64 = time.strip_prefix(sign)?.trim().parse().ok()?;
                    Some((*comparison, seconds.checked_mul(unit(call))?))
                });
                let (comparison, distance) = parsed.ok_or_else(|| wrong(rest))?;
                Step::Time(comparison, distance)
            }
            None => {
                let number = inner.parse::<usize>().ok().filter(|number| (1..call.args.len()).contains(number));
                Step::Event(1 << (number.ok_or_else(|| wrong(rest))? - 1))
            }
        });
        rest = after;
    }
    match steps.is_empty() {
        true => Err(wrong("")),
        false => Ok(steps),
    }
}

fn events_of(call: &Call<'_>, what: What) -> Result<Box<dyn Accumulator>> {
    within(call.args.len() - 1)?;
    Ok(Box::new(Events { what, rows: Collected::default() }))
}

/// When an event was, and the conditions that it meets, as bits.
type Event = (i64, i64);

/// Events by group.
struct Events {
    what: What,
    rows: Collected,
}

impl Events {
    /// All events, in the order of their groups, and how many each group has.
    fn take(&mut self, n_groups: usize) -> Result<(Vec<Event>, Vec<usize>)> {
        let (columns, groups) = self.rows.take(&[DataType::Int64, DataType::Int64])?;
        let (times, met) = (columns[0].as_primitive::<Int64Type>(), columns[1].as_primitive::<Int64Type>());
        let (order, lengths) = by_group(&groups, n_groups);
        let mut events: Vec<Event> =
            order.values().iter().map(|&row| (times.value(row as usize), met.value(row as usize))).collect();
        let mut start = 0;
        for length in &lengths {
            events[start..start + length].sort_unstable();
            start += length;
        }
        Ok((events, lengths))
    }
}

impl Accumulator for Events {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        _n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let met = conditions(&args[1..], groups.len());
        // What meets no condition matters only where it breaks a chain.
        let all = matches!(&self.what, What::Funnel(funnel) if funnel.strict_order);
        let counts: BooleanArray = met.iter().map(|met| Some(all || *met != 0)).collect();
        let counts = match filter {
            Some(filter) => arrow::compute::and(&counts, filter)?,
            None => counts,
        };
        let times = cast_time(&args[0])?;
        let mask = rows_that_count(times.nulls(), Some(&counts));
        let met: ArrayRef = Arc::new(Int64Array::from(met));
        self.rows.add(&[times, met], groups, mask)
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], _n_groups: usize) -> Result<()> {
        self.rows.add_lists(states, groups)
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        let (events, lengths) = self.take(n_groups)?;
        let list = |values: Int64Array| lists(Type::Int8.element_field(), Arc::new(values), &lengths, false);
        let times = events.iter().map(|(time, _)| *time).collect::<Vec<i64>>();
        let met = events.iter().map(|(_, met)| *met).collect::<Vec<i64>>();
        Ok(vec![list(times.into())?, list(met.into())?])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        let (events, lengths) = self.take(n_groups)?;
        let mut start = 0;
        let mut groups = lengths.iter().map(|length| {
            start += length;
            &events[start - length..start]
        });
        Ok(match &self.what {
            What::Funnel(funnel) => {
                Arc::new(UInt8Array::from_iter_values(groups.by_ref().map(|events| funnel.level(events))))
            }
            What::Match(steps) => {
                let found = |events: &[Event]| u8::from((0..events.len()).any(|at| chain(steps, events, at).is_some()));
                Arc::new(UInt8Array::from_iter_values(groups.by_ref().map(found)))
            }
            What::Count(steps) => {
                let count = |events: &[Event]| {
                    let (mut at, mut count) = (0, 0u64);
                    while at < events.len() {
                        match chain(steps, events, at) {
                            Some(end) => (at, count) = (end.max(at + 1), count + 1),
                            None => at += 1,
                        }
                    }
                    count
                };
                Arc::new(UInt64Array::from_iter_values(groups.by_ref().map(count)))
            }
        })
    }

    fn memory(&self) -> usize {
        self.rows.memory()
    }
}

/// Times as integers.
fn cast_time(times: &ArrayRef) -> Result<ArrayRef> {
    let plain = match times.data_type() {
        DataType::Date32 => cast(times, &DataType::Int32)?,
        _ => times.clone(),
    };
    Ok(cast(&plain, &DataType::Int64)?)
}

/// The conditions that each row meets, as bits.
fn conditions(columns: &[ArrayRef], rows: usize) -> Vec<i64> {
    let mut met = vec![0; rows];
    for (bit, column) in columns.iter().enumerate() {
        for (row, holds) in column.as_boolean().iter().enumerate() {
            met[row] |= i64::from(holds == Some(true)) << bit;
        }
    }
    met
}

impl Funnel {
    /// The longest chain that begins with the first condition. A row that meets several conditions may be several of its steps.
    fn level(&self, events: &[Event]) -> u8 {
        let levels = events.iter().fold(0, |levels, (_, met)| levels.max(64 - met.leading_zeros() as usize));
        // When the chain up to each condition began, and when it came there.
        let mut reached: Vec<Option<(i64, i64)>> = vec![None; levels.max(1)];
        let longest = |reached: &[Option<(i64, i64)>]| {
            reached.iter().rposition(Option::is_some).map_or(0, |level| level as u8 + 1)
        };
        for &(time, met) in events {
            if met == 0 {
                if reached[0].is_some() {
                    break;
                }
                continue;
            }
            for level in (0..levels).filter(|level| met & 1 << level != 0) {
                let before = if level == 0 { None } else { reached[level - 1] };
                if level == 0 {
                    reached[0] = Some((time, time));
                } else if self.strict_deduplication && reached[level].is_some() {
                    return longest(&reached);
                } else if self.strict_order && reached[0].is_some() && before.is_none() {
                    return reached.iter().position(Option::is_none).unwrap_or(levels) as u8;
                } else if let Some((first, previous)) = before
                    && time.saturating_sub(first) <= self.window
                    && !(self.strict_increase && previous >= time)
                {
                    reached[level] = Some((first, time));
                }
            }
        }
        longest(&reached)
    }
}

/// Where a chain of the pattern that begins at an event ends.
fn chain(steps: &[Step], events: &[Event], start: usize) -> Option<usize> {
    // What led nowhere: the step, the event, and the one that times are counted from.
    let mut failed: HashSet<(usize, usize, usize)> = HashSet::new();
    // The first way that is open is taken: `.*` is as short as can be.
    let mut open = vec![(0, start, start)];
    while let Some((step, at, last)) = open.pop() {
        if !failed.insert((step, at, last)) {
            continue;
        }
        let Some(wanted) = steps.get(step) else { return Some(at) };
        let event = events.get(at);
        match (wanted, event) {
            (Step::Some, _) => {
                if event.is_some() {
                    open.push((step, at + 1, last));
                }
                open.push((step + 1, at, at));
            }
            (Step::Event(bit), Some((_, met))) if met & bit != 0 => open.push((step + 1, at + 1, at)),
            (Step::Any, Some(_)) => open.push((step + 1, at + 1, at)),
            (Step::Time(comparison, distance), Some((time, _))) => {
                let passed = time.saturating_sub(events[last].0);
                let holds = match comparison {
                    Comparison::Less => passed < *distance,
                    Comparison::LessOrEqual => passed <= *distance,
                    Comparison::Greater => passed > *distance,
                    Comparison::GreaterOrEqual => passed >= *distance,
                    Comparison::Equal => passed == *distance,
                };
                open.push((step, at + 1, last));
                if holds {
                    open.push((step + 1, at, at));
                }
            }
            _ => {}
        }
    }
    None
}

/// Conditions that were met, by group.
struct Retention {
    conditions: usize,
    met: Vec<i64>,
}

impl Accumulator for Retention {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        self.met.resize(n_groups.max(self.met.len()), 0);
        let met = conditions(args, groups.len());
        super::states::each_row(groups, None, filter, |row, group| self.met[group] |= met[row]);
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], n_groups: usize) -> Result<()> {
        self.met.resize(n_groups.max(self.met.len()), 0);
        let met = states[0].as_primitive::<Int64Type>();
        groups.iter().zip(met.values()).for_each(|(&group, met)| self.met[group as usize] |= met);
        Ok(())
    }

    fn state(&mut self, n_groups: usize) -> Result<Vec<ArrayRef>> {
        self.met.resize(n_groups, 0);
        Ok(vec![Arc::new(Int64Array::from(std::mem::take(&mut self.met)))])
    }

    fn finish(&mut self, n_groups: usize) -> Result<ArrayRef> {
        self.met.resize(n_groups, 0);
        let flags = std::mem::take(&mut self.met)
            .into_iter()
            .flat_map(|met| (0..self.conditions).map(move |bit| u8::from(met & 1 != 0 && met & 1 << bit != 0)));
        let values = UInt8Array::from_iter_values(flags);
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(self.conditions, n_groups));
        Ok(Arc::new(ListArray::try_new(Type::UInt8.element_field(), offsets, Arc::new(values), None)?))
    }

    fn memory(&self) -> usize {
        self.met.capacity() * 8
    }
}
