//! Groups and their accumulators: [`Grouping`] is GROUP BY compiled, [`Groups`] the keys and states of one thread, partition or query,
//! [`PartialGroups`](super::PartialGroups) their states as columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, UInt32Array, new_null_array};
use arrow::compute::{SortOptions, take};
use parking_lot::Mutex;
use weir_sql::plan::{AggregateCall, Combinator, Expr, Spread};
use weir_sql::{Type, Value};

use super::PartialGroups;
use super::sorting::Sorting;
use crate::aggregates::{self, Accumulator, AggregateOverload, StateOf};
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::{Expression, arrays, coded_arrays};
use crate::exec::groups::GroupTable;
use crate::exec::keys;
use crate::exec::memory::Reservation;
use crate::exec::pipeline::parallel;
use crate::exec::spill::SpillFile;
use crate::functions::{Context, Implementation, registry};

/// Keys and aggregate calls, compiled.
pub(crate) struct Grouping {
    pub(super) keys: Vec<Expression>,
    pub(crate) key_types: Vec<Type>,
    /// Keys of which equal values can look different.
    variants: Vec<usize>,
    pub(super) calls: Vec<Call>,
    positions: bool,
    /// See [`weir_sql::plan::Plan::Aggregate`].
    always: Vec<i32>,
    /// How many groups are of use, the first ones, if not all are.
    pub(super) wanted: Option<usize>,
}

/// One aggregate call, compiled.
pub(crate) struct Call {
    overload: &'static AggregateOverload,
    /// Arguments, then sort keys where they matter.
    inputs: Vec<Expression>,
    filters: Vec<Expression>,
    args: Vec<Type>,
    order_by: Vec<(Type, SortOptions)>,
    params: Vec<Value>,
    returns: Type,
    distinct: bool,
    descending: bool,
    /// With a combinator: what states it takes or gives, and their type.
    combined: Option<(Combinator, StateOf, Type)>,
    /// Whether it is spread over elements or ranges.
    spread: Option<Spread>,
    /// Whether its inputs are the columns of states.
    stored: bool,
}

impl Call {
    pub(crate) fn new(call: &AggregateCall, context: &Arc<QueryContext>) -> Result<Call> {
        if let Some(Combinator::Stored(of)) = &call.combinator {
            let inputs = Expression::list(&call.args, context)?;
            let filters = Expression::list(&call.filter, context)?;
            return Ok(Call { inputs, filters, stored: true, ..Call::new(of, context)? });
        }
        let Implementation::Aggregate(overload) = registry().implementation(call.function) else {
            return Err(Error::internal(format!("{} is not an aggregate", call.name)));
        };
        let either_form = overload.either_form && !call.distinct && call.combinator.is_none();
        let compile = if either_form { Expression::in_either_form } else { Expression::new };
        let mut args = call.args.iter().map(|arg| compile(arg, context)).collect::<Result<Vec<_>>>()?;
        let mut filters = Expression::list(&call.filter, context)?;
        if overload.condition {
            filters.extend(args.pop());
        }
        if args.is_empty() && overload.ordered_set {
            args = Expression::list(call.order_by.iter().map(|k| &k.expr), context)?;
        }
        let types: Vec<Type> = args.iter().map(|a| a.ty.clone()).collect();
        let mut order_by = Vec::new();
        if overload.wants_order() && !overload.ordered_set {
            for key in &call.order_by {
                let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
                order_by.push((key.expr.ty.clone(), options));
                args.push(Expression::new(&key.expr, context)?);
            }
        }
        let combined = match &call.combinator {
            None | Some(Combinator::Spread(_) | Combinator::Stored(_)) => None,
            Some(combinator) => {
                let ty = if *combinator == Combinator::State { &call.ty } else { &types[0] };
                let Type::State(state) = ty else { return Err(Error::internal(format!("{ty} is no state"))) };
                let of = StateOf::new(state)?;
                let merges = *combinator == Combinator::Merge;
                Some((combinator.clone(), if merges { of.with_params(&call.params) } else { of }, ty.clone()))
            }
        };
        let spread = match &call.combinator {
            Some(Combinator::Spread(spread)) => Some(*spread),
            _ => None,
        };
        Ok(Call {
            combined,
            spread,
            stored: false,
            overload,
            inputs: args,
            filters,
            args: types,
            order_by,
            params: call.params.clone(),
            returns: call.ty.clone(),
            distinct: call.distinct,
            descending: call.order_by.first().is_some_and(|k| k.descending),
        })
    }

    /// Arguments, then sort keys where they matter.
    pub(crate) fn inputs(&self) -> &[Expression] {
        &self.inputs
    }

    /// Conditions on the rows that count.
    pub(crate) fn filters(&self) -> &[Expression] {
        &self.filters
    }

    /// Whether a last argument says each row's position.
    pub(crate) fn wants_position(&self) -> bool {
        self.overload.wants_position()
    }

    /// Runs the subqueries in it.
    pub(crate) fn prepare(&self, context: &Arc<QueryContext>) {
        self.inputs.iter().chain(&self.filters).for_each(|e| e.prepare(context));
    }

    pub(crate) fn accumulator(&self, context: &Context) -> Result<Box<dyn Accumulator>> {
        if let Some((combinator, of, ty)) = &self.combined {
            return of.combined(combinator, ty, context);
        }
        let call = aggregates::Call {
            args: &self.args,
            params: &self.params,
            returns: &self.returns,
            descending: self.descending,
            context,
        };
        match self.spread {
            Some(spread) => self.overload.spread(spread, &call, self.distinct, &self.order_by),
            None => self.overload.accumulator(&call, self.distinct, &self.order_by),
        }
    }

    /// Adds rows, or states, for which there is no filter any more.
    fn add(
        &self,
        accumulator: &mut dyn Accumulator,
        args: &[ArrayRef],
        groups: &[u32],
        n_groups: usize,
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        match self.stored {
            true => accumulator.merge(args, groups, n_groups),
            false => accumulator.update(args, groups, n_groups, filter),
        }
    }

    pub(crate) fn state_types(&self) -> Vec<Type> {
        if let Some((combinator, of, ty)) = &self.combined {
            return of.combined_types(combinator, ty);
        }
        let order_by: Vec<Type> = self.order_by.iter().map(|(ty, _)| ty.clone()).collect();
        match self.spread {
            Some(spread) => self.overload.spread_types(spread, &self.args, &self.returns, self.distinct, &order_by),
            None => self.overload.state_types(&self.args, &self.returns, self.distinct, &order_by),
        }
    }
}

impl Grouping {
    /// Whether there is one group only.
    pub(super) fn is_one(&self) -> bool {
        self.keys.is_empty()
    }

    /// Compiles GROUP BY.
    pub(crate) fn new(keys: &[Expr], calls: &[AggregateCall], context: &Arc<QueryContext>) -> Result<Grouping> {
        let calls = calls.iter().map(|call| Call::new(call, context)).collect::<Result<Vec<_>>>()?;
        let keys = Expression::list(keys, context)?;
        let key_types: Vec<Type> = keys.iter().map(|k| k.ty.clone()).collect();
        let variants = (0..keys.len()).filter(|&i| keys::has_variants(&key_types[i])).collect();
        let positions = calls.iter().any(|c| c.overload.wants_position());
        Ok(Grouping { keys, key_types, variants, calls, positions, always: Vec::new(), wanted: None })
    }

    /// With groups that are there even over no rows.
    pub(crate) fn with_always(self, always: &[i32]) -> Grouping {
        Grouping { always: always.to_vec(), ..self }
    }

    /// Runs the subqueries in it.
    pub(crate) fn prepare(&self, context: &Arc<QueryContext>) {
        self.keys.iter().for_each(|key| key.prepare(context));
        self.calls.iter().for_each(|call| call.prepare(context));
    }

    /// Whether the state of each row by itself is a few words.
    pub(super) fn has_small_states(&self) -> bool {
        let is_small = |ty: &Type| ty.to_arrow().primitive_width().is_some();
        self.calls.iter().flat_map(Call::state_types).all(|ty| is_small(&ty))
    }

    /// Types of each call's partial state.
    pub(crate) fn state_types(&self) -> Vec<Vec<Type>> {
        self.calls.iter().map(Call::state_types).collect()
    }
}

/// Groups and their states: of one thread, of one partition, or of all.
pub(crate) struct Groups {
    pub(crate) table: GroupTable,
    /// Where each group first appeared.
    first: Vec<u64>,
    /// No row so far stood at this position or behind it.
    end: u64,
    pub(super) accumulators: Vec<Box<dyn Accumulator>>,
    /// For each key with variants, the value that is shown.
    shown: Vec<Box<dyn Accumulator>>,
    scratch: Vec<u32>,
}

/// States of up to this many bytes are merged by one thread.
const MERGED_ALONE_BYTES: usize = 1 << 16;

impl Groups {
    pub(crate) fn new(grouping: &Grouping, context: &Context) -> Result<Groups> {
        let accumulators = grouping.calls.iter().map(|c| c.accumulator(context)).collect::<Result<Vec<_>>>()?;
        let shown = grouping.variants.iter().map(|&key| aggregates::least_bytes(&grouping.key_types[key]));
        Ok(Groups {
            table: GroupTable::new(&grouping.key_types)?,
            first: Vec::new(),
            end: 0,
            accumulators,
            shown: shown.collect::<Result<_>>()?,
            scratch: Vec::new(),
        })
    }

    /// Makes the one group of a grouping without keys, which is there even over no rows.
    pub(super) fn ensure_one(&mut self) {
        self.table.ensure_one();
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn memory(&self) -> usize {
        let accumulators = self.accumulators.iter().chain(&self.shown).map(|a| a.memory()).sum::<usize>();
        self.table.memory() + self.first.capacity() * 8 + accumulators + self.scratch.capacity() * 4
    }

    /// The keys of the first `n` groups, if the first row of all is among those that were grouped.
    pub(super) fn leading(&self, n: usize) -> Result<Option<Vec<ArrayRef>>> {
        if self.first.len() < n || self.first[0] != 0 {
            return Ok(None);
        }
        Ok(Some(self.table.keys()?.iter().map(|key| key.slice(0, n)).collect()))
    }

    /// Groups of rows with these keys; row by row they stand at `at(row)`, in any order.
    fn intern(&mut self, grouping: &Grouping, keys: &[ArrayRef], rows: usize, at: impl Fn(usize) -> u64) -> Result<()> {
        self.number(grouping, keys, rows)?;
        self.first.resize(self.table.len(), u64::MAX);
        for (row, &group) in self.scratch.iter().enumerate() {
            let first = &mut self.first[group as usize];
            *first = (*first).min(at(row));
        }
        self.end = u64::MAX;
        Ok(())
    }

    /// The same for rows that stand one behind the other, and behind all so far: groups that were there appeared before, and new ones are
    /// numbered in the order in which they do.
    fn intern_next(&mut self, grouping: &Grouping, keys: &[ArrayRef], rows: usize, at: u64) -> Result<()> {
        self.number(grouping, keys, rows)?;
        if self.first.len() < self.table.len() {
            for (row, &group) in self.scratch.iter().enumerate() {
                if group as usize == self.first.len() {
                    self.first.push(at + row as u64);
                }
            }
        }
        debug_assert_eq!(self.first.len(), self.table.len(), "a new group has a first row");
        self.end = at + rows as u64;
        Ok(())
    }

    /// Puts the numbers of the groups of rows with these keys into `scratch`.
    fn number(&mut self, grouping: &Grouping, keys: &[ArrayRef], rows: usize) -> Result<()> {
        let normal = keys::normalize_all(&grouping.key_types, keys)?;
        self.table.intern(&normal, rows, &mut self.scratch)?;
        let n_groups = self.table.len();
        for (&key, shown) in grouping.variants.iter().zip(&mut self.shown) {
            shown.update(std::slice::from_ref(&keys[key]), &self.scratch, n_groups, None)?;
        }
        Ok(())
    }

    /// Adds the groups that are there even over no rows.
    pub(super) fn ensure_always(&mut self, grouping: &Grouping) -> Result<()> {
        let Some((_, others)) = grouping.key_types.split_last().filter(|_| !grouping.always.is_empty()) else {
            return Ok(());
        };
        let rows = grouping.always.len();
        let mut keys: Vec<ArrayRef> = others.iter().map(|ty| new_null_array(&ty.to_arrow(), rows)).collect();
        keys.push(Arc::new(Int32Array::from(grouping.always.clone())));
        self.intern(grouping, &keys, rows, |row| u64::MAX - (rows - row) as u64)
    }

    /// Adds a batch of input rows, the first of which stands at position `at`.
    pub(crate) fn update(
        &mut self,
        grouping: &Grouping,
        at: u64,
        batch: &Batch,
        context: &Arc<QueryContext>,
    ) -> Result<()> {
        let keys = coded_arrays(&grouping.keys, batch, context)?;
        match at >= self.end {
            true => self.intern_next(grouping, &keys, batch.rows, at)?,
            false => self.intern(grouping, &keys, batch.rows, |row| at + row as u64)?,
        }
        let n_groups = self.table.len();
        self.accumulate(grouping, at, batch, n_groups, context)
    }

    /// The same rows, each a group by itself; keys as they came.
    pub(crate) fn apart(
        grouping: &Grouping,
        at: u64,
        batch: &Batch,
        context: &Arc<QueryContext>,
    ) -> Result<PartialGroups> {
        let keys = coded_arrays(&grouping.keys, batch, context)?;
        let mut groups = Groups::new(grouping, &context.functions)?;
        groups.scratch = (0..batch.rows as u32).collect();
        groups.accumulate(grouping, at, batch, batch.rows, context)?;
        let states = groups.accumulators.iter_mut().map(|a| a.state(batch.rows)).collect::<Result<_>>()?;
        Ok(PartialGroups { keys, first: (at..at + batch.rows as u64).collect(), states })
    }

    /// Adds rows to the accumulators of their groups, which are known.
    fn accumulate(
        &mut self,
        grouping: &Grouping,
        at: u64,
        batch: &Batch,
        n_groups: usize,
        context: &Arc<QueryContext>,
    ) -> Result<()> {
        let positions: Option<ArrayRef> = grouping.positions.then(|| {
            let at = at as i64;
            Arc::new(Int64Array::from_iter_values(at..at + batch.rows as i64)) as ArrayRef
        });
        for (call, accumulator) in grouping.calls.iter().zip(&mut self.accumulators) {
            let mut filter: Option<BooleanArray> = None;
            for predicate in &call.filters {
                let keep = predicate.selects(batch, context)?;
                filter = Some(match filter {
                    None => keep,
                    Some(filter) => arrow::compute::and(&filter, &keep)?,
                });
            }
            let as_they_are = !call.stored && call.inputs.iter().all(|e| e.as_column().is_some());
            let mut args = match (&filter, as_they_are) {
                // What may fail is computed only where the filter holds.
                (Some(keep), false) if keep.true_count() < batch.rows => {
                    let rows = UInt32Array::from(keep.values().set_indices_u32().collect::<Vec<_>>());
                    let few = batch.take(&rows)?;
                    let mut args = arrays(&call.inputs, &few, context)?;
                    if let (Some(positions), true) = (&positions, call.overload.wants_position()) {
                        args.push(take(positions, &rows, None)?);
                    }
                    let groups: Vec<u32> = rows.values().iter().map(|&row| self.scratch[row as usize]).collect();
                    call.add(accumulator.as_mut(), &args, &groups, n_groups, None)?;
                    continue;
                }
                _ => arrays(&call.inputs, batch, context)?,
            };
            if let (Some(positions), true) = (&positions, call.overload.wants_position()) {
                args.push(positions.clone());
            }
            call.add(accumulator.as_mut(), &args, &self.scratch, n_groups, filter.as_ref())?;
        }
        Ok(())
    }

    /// Adds partial states.
    pub(crate) fn merge(&mut self, grouping: &Grouping, partial: &PartialGroups) -> Result<()> {
        self.merge_some(grouping, partial, |_| true)
    }

    /// Adds the sets among partial states.
    pub(super) fn merge_sets(&mut self, grouping: &Grouping, partial: &PartialGroups) -> Result<()> {
        self.merge_some(grouping, partial, |accumulator| accumulator.is_set())
    }

    /// Adds the states that can only be merged as a whole.
    pub(super) fn merge_whole(&mut self, grouping: &Grouping, partial: &PartialGroups) -> Result<()> {
        self.merge_some(grouping, partial, |accumulator| !accumulator.is_set() && !accumulator.is_sorted())
    }

    /// Adds the rows of the last partial states that were merged to what is sorted, call by call.
    pub(super) fn sort(
        &self,
        partial: &PartialGroups,
        sortings: &mut [Sorting],
        file: &SpillFile,
        context: &QueryContext,
    ) -> Result<()> {
        let calls = self.accumulators.iter().zip(&partial.states).zip(sortings);
        for ((accumulator, states), sorting) in calls.filter(|((a, _), _)| a.is_sorted() && !a.is_set()) {
            sorting.add(accumulator.as_ref(), states, &self.scratch, file, context)?;
        }
        Ok(())
    }

    fn merge_some(
        &mut self,
        grouping: &Grouping,
        partial: &PartialGroups,
        which: impl Fn(&dyn Accumulator) -> bool,
    ) -> Result<()> {
        self.intern(grouping, &partial.keys, partial.first.len(), |row| partial.first[row])?;
        let n_groups = self.table.len();
        let some = self.accumulators.iter_mut().zip(&partial.states).filter(|(a, _)| which(a.as_ref()));
        for (accumulator, states) in some {
            accumulator.merge(states, &self.scratch, n_groups)?;
        }
        Ok(())
    }

    /// Adds the groups of other threads; large sets are merged side by side.
    pub(super) fn unite(
        &mut self,
        grouping: &Grouping,
        others: Vec<Groups>,
        context: &Arc<QueryContext>,
    ) -> Result<()> {
        let mut theirs = Vec::with_capacity(others.len());
        for mut other in others {
            let keys = other.keys(grouping)?;
            let n_groups = other.table.len();
            other.first.resize(n_groups, 0);
            self.intern(grouping, &keys, n_groups, |row| other.first[row])?;
            theirs.push((other.accumulators, self.scratch.clone()));
        }
        let n_groups = self.table.len();
        for (nth, own) in self.accumulators.iter_mut().enumerate() {
            let bytes = own.memory() + theirs.iter().map(|(accumulators, _)| accumulators[nth].memory()).sum::<usize>();
            let Some(mut parts) = (bytes > MERGED_ALONE_BYTES).then(|| own.take_parts()).flatten() else {
                for (accumulators, groups) in &mut theirs {
                    own.merge(&accumulators[nth].state(groups.len())?, groups, n_groups)?;
                }
                continue;
            };
            for (accumulators, groups) in &mut theirs {
                let more = accumulators[nth].take_parts();
                parts.append(more.ok_or_else(|| Error::internal("one call has one kind of states"))?, groups)?;
            }
            let tasks: Vec<_> = parts.split(n_groups)?.into_iter().map(|task| Mutex::new(Some(task))).collect();
            let settled = parallel(context, tasks.len(), |i| match tasks[i].lock().take() {
                Some(task) => task(),
                None => Err(Error::internal("a part is merged once")),
            })?;
            for settled in settled {
                own.settled(settled, n_groups)?;
            }
        }
        Ok(())
    }

    /// Whether some of its states are sets, which are merged in parts if they do not fit.
    pub(super) fn has_sets(&self) -> bool {
        self.accumulators.iter().any(|accumulator| accumulator.is_set())
    }

    /// Whether some of its states need not be held as a whole.
    pub(super) fn divides(&self) -> bool {
        self.accumulators.iter().any(|accumulator| accumulator.is_set() || accumulator.is_sorted())
    }

    /// Counts the values of a part's sets; those that are counted in order are added to what is sorted.
    pub(super) fn settle(&mut self, sortings: &mut [Sorting], file: &SpillFile, context: &QueryContext) -> Result<()> {
        let n_groups = self.table.len();
        let groups: Vec<u32> = (0..n_groups as u32).collect();
        for (accumulator, sorting) in self.accumulators.iter_mut().zip(sortings).filter(|(a, _)| a.is_set()) {
            accumulator.settle(n_groups)?;
            if accumulator.is_sorted() {
                let rows = accumulator.settled_rows(n_groups)?;
                sorting.add(accumulator.as_ref(), &rows, &groups, file, context)?;
            }
        }
        Ok(())
    }

    /// Passes what was sorted to the accumulators.
    pub(super) fn pass(
        &mut self,
        sortings: Vec<Sorting>,
        file: &Arc<SpillFile>,
        held: &mut Reservation,
        context: &Arc<QueryContext>,
    ) -> Result<()> {
        let n_groups = self.table.len();
        for (accumulator, sorting) in self.accumulators.iter_mut().zip(sortings).filter(|(a, _)| a.is_sorted()) {
            let others = held.bytes().saturating_sub(accumulator.memory());
            sorting.pass(accumulator.as_mut(), n_groups, file, context, |bytes| held.resize(others + bytes))?;
        }
        Ok(())
    }

    /// Room for the rows of each call that are sorted.
    pub(super) fn sortings(&self) -> Vec<Sorting> {
        self.accumulators.iter().map(|_| Sorting::default()).collect()
    }

    /// Keys of all groups, as they are shown.
    fn keys(&mut self, grouping: &Grouping) -> Result<Vec<ArrayRef>> {
        let keys = self.table.keys()?;
        self.shown(keys, grouping)
    }

    fn shown(&mut self, mut keys: Vec<ArrayRef>, grouping: &Grouping) -> Result<Vec<ArrayRef>> {
        for (&key, shown) in grouping.variants.iter().zip(&mut self.shown) {
            keys[key] = shown.finish(self.table.len())?;
        }
        Ok(keys)
    }

    /// The partial states.
    pub(crate) fn states(mut self, grouping: &Grouping) -> Result<PartialGroups> {
        let keys = self.keys(grouping)?;
        self.states_of(keys, |accumulator, n_groups| accumulator.state(n_groups))
    }

    /// The same with keys that may be in codes, for this query's other threads.
    pub(super) fn coded_states(mut self, grouping: &Grouping) -> Result<PartialGroups> {
        let keys = self.table.coded_keys()?;
        let keys = self.shown(keys, grouping)?;
        self.states_of(keys, |accumulator, n_groups| accumulator.state(n_groups))
    }

    /// The same to be kept, in forms that only [`Groups::merge`] knows.
    pub(super) fn kept_states(mut self, grouping: &Grouping) -> Result<PartialGroups> {
        let keys = self.keys(grouping)?;
        self.states_of(keys, |accumulator, n_groups| accumulator.kept_state(n_groups))
    }

    fn states_of(
        mut self,
        keys: Vec<ArrayRef>,
        state: impl Fn(&mut dyn Accumulator, usize) -> Result<Vec<ArrayRef>>,
    ) -> Result<PartialGroups> {
        let n_groups = self.table.len();
        let states = self.accumulators.iter_mut().map(|a| state(a.as_mut(), n_groups)).collect::<Result<_>>()?;
        self.first.resize(n_groups, 0);
        Ok(PartialGroups { keys, first: self.first, states })
    }

    /// Keys and results, and where each group first appeared.
    pub(crate) fn finish(mut self, grouping: &Grouping) -> Result<(Batch, Vec<u64>)> {
        let n_groups = self.table.len();
        let mut columns = self.keys(grouping)?;
        for accumulator in &mut self.accumulators {
            columns.push(accumulator.finish(n_groups)?);
        }
        self.first.resize(n_groups, 0);
        Ok((Batch::new(columns, n_groups), self.first))
    }
}
