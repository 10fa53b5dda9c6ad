//! What a commit means for views, as far as its own rows do not tell.
//!
//! Rows that come to a table are states for the linear views on it, whatever else is there ([`super::maintain`]). Everything else is found here, when the commit
//! is about to be made: what rows bring that go, what either side of a join brings, and what a view's change brings to the views on it.
//! It depends on the rest of the database, so nothing may come between: such commits hold one lock from the snapshot that they look at to
//! their end.
//!
//! For each view, after those that it reads: if rows only came to its inputs, and each brings rows of the view's stage by itself
//! ([`ViewPlan::adds`]), the states of these are added. Otherwise the groups are found that rows which come or go can reach
//! ([`ViewPlan::stage_rows`]); their states go, and are computed again from the inputs as they are afterwards. What came and what went is
//! itself a snapshot, in which a table has these rows alone, so that it is scanned as anything else is, however large. What comes or goes of a view
//! with groups is what the touched ones showed and show.
//!
//! A view that is being filled is not touched: what would have been is noted, and done when it is complete ([`super::fill`]).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use weir_sql::catalog::Relation;
use weir_storage::{Change, RowSet, Snapshot, TableId};

use super::late::lateness;
use super::maintain::Feed;
use super::touched::Touched;
use super::{added, plan_of};
use crate::catalog::{CatalogState, Entry};
use crate::error::{Error, Result};
use crate::exec::{RelationRows, Relations, ViewPlan};
use crate::statement::relations::StoredRelations;
use crate::statement::writer::Base;
use crate::transaction::{Item, Pending, table_of};

/// Rows are aggregated this many bytes at a time.
const BYTES_AT_ONCE: usize = 32 << 20;

/// The views for which pending changes mean more than they say, each after those that it reads. If there are any, [`derive`] is to be asked.
pub(crate) fn affected(state: &CatalogState, pending: &Pending) -> Result<Vec<u32>> {
    let mut views = BTreeSet::new();
    for item in pending.kept() {
        // What a view does with such a change by itself.
        let knows = |view: &Entry, plan: &ViewPlan| match item.change() {
            Change::Append { .. } | Change::AddParts { .. } => plan.is_linear() && view.def.late.is_none(),
            Change::Truncate { table } => plan.is_emptied_with(table.0),
            _ => false,
        };
        let (Item::Fed(change) | Item::Delta(change)) = item else { continue };
        let Some(table) = table_of(change) else { continue };
        let fed = || state.fed_by(table.0).filter(|view| !pending.views.contains(&view.def.oid));
        let is_view = state.entry(table.0).is_some_and(|entry| entry.def.keeps_states());
        let emptied = matches!(item, Item::Delta(Change::Truncate { .. }));
        if is_view && (fed().next().is_some() || (emptied && is_building(state, table.0))) {
            views.insert(table.0);
        }
        for view in fed() {
            if !knows(view, &*plan_of(state, view)?) {
                views.insert(view.def.oid);
            }
        }
    }
    let mut order = Vec::new();
    let mut visited = BTreeSet::new();
    for view in views {
        visit(state, view, pending, &mut visited, &mut order);
    }
    order.reverse();
    Ok(order)
}

/// Puts a view in the list after all that read it.
fn visit(state: &CatalogState, view: u32, pending: &Pending, visited: &mut BTreeSet<u32>, order: &mut Vec<u32>) {
    if pending.views.contains(&view) || !visited.insert(view) {
        return;
    }
    for reader in state.fed_by(view) {
        visit(state, reader.def.oid, pending, visited, order);
    }
    order.push(view);
}

fn is_building(state: &CatalogState, view: u32) -> bool {
    state.entry(view).is_some_and(|entry| entry.def.building)
}

/// What came to a relation, and what went from it: snapshots in which it has these rows alone.
#[derive(Default)]
struct Delta {
    come: Option<Snapshot>,
    gone: Vec<Snapshot>,
    /// All that it had before TRUNCATE.
    emptied: Option<Snapshot>,
}

/// The further changes that go with pending ones, made on the base's snapshot. `affected` is what [`affected`] found.
pub(crate) fn derive(base: &Base, pending: &Pending, affected: &[u32]) -> Result<Vec<Change>> {
    if affected.is_empty() {
        return Ok(Vec::new());
    }
    let mut derivation = Derivation::new(base, pending)?;
    for view in affected {
        if let Some(entry) = base.state.entry(*view) {
            derivation.follow(entry)?;
        }
    }
    Ok(derivation.changes)
}

/// What views come to with one commit.
pub(super) struct Derivation<'b> {
    base: &'b Base,
    /// The database with the commit's changes.
    after: Snapshot,
    deltas: HashMap<u32, Delta>,
    /// Changes that add rows, by table…
    added: BTreeMap<u32, Vec<Change>>,
    /// …and sets of rows that go, some of which may be among those.
    dropped: HashMap<u32, Vec<RowSet>>,
    /// What was found.
    changes: Vec<Change>,
}

impl<'b> Derivation<'b> {
    pub(super) fn new(base: &'b Base, pending: &Pending) -> Result<Derivation<'b>> {
        let (mut after, mut deltas) = (base.snapshot.clone(), HashMap::<u32, Delta>::new());
        let (mut added, mut dropped) = (BTreeMap::<u32, Vec<Change>>::new(), HashMap::<u32, Vec<RowSet>>::new());
        for item in pending.kept() {
            let change = item.change();
            if let Item::Fed(_) | Item::Delta(_) = item {
                match change {
                    Change::Append { table, .. } | Change::AddParts { table, .. } => {
                        added.entry(table.0).or_default().push(change.clone());
                    }
                    Change::Delete { table, rows } => {
                        deltas.entry(table.0).or_default().gone.push(after.with_only(*table, rows)?);
                        dropped.entry(table.0).or_default().push(rows.clone());
                    }
                    Change::Truncate { table } => {
                        deltas.entry(table.0).or_default().emptied.get_or_insert_with(|| after.clone());
                    }
                    _ => {}
                }
            }
            after = after.with_changes(std::slice::from_ref(change))?;
        }
        let mut derivation = Derivation { base, after, deltas, added, dropped, changes: Vec::new() };
        let tables: Vec<u32> = derivation.added.keys().copied().collect();
        for table in tables {
            let is_table = base.state.entry(table).is_some_and(|entry| !entry.def.keeps_states());
            if is_table && base.state.fed_by(table).next().is_some() {
                let come = derivation.come(TableId(table))?;
                derivation.deltas.entry(table).or_default().come = Some(come);
            }
        }
        Ok(derivation)
    }

    /// A snapshot in which a table has only the rows that are added and stay.
    fn come(&self, table: TableId) -> Result<Snapshot> {
        let added = self.added.get(&table.0).into_iter().flatten().cloned();
        let changes: Vec<Change> = std::iter::once(Change::Truncate { table }).chain(added).collect();
        let come = self.after.with_changes(&changes)?;
        let mut dropped = self.dropped.get(&table.0).into_iter().flatten();
        Ok(dropped.try_fold(come, |come, rows| come.without(table, rows))?)
    }

    /// A snapshot in which a table has only the rows that came; `None` if none did.
    pub(super) fn came(&self, table: u32) -> Option<&Snapshot> {
        self.deltas.get(&table)?.come.as_ref()
    }

    /// Lets a view follow what has come to its inputs and gone from them.
    fn follow(&mut self, entry: &Arc<Entry>) -> Result<()> {
        let mut feed = Feed::new(&self.base.database, &self.base.state, entry, &self.base.cancel)?;
        if entry.def.late.is_some() {
            feed.close(lateness(&self.base.state, &self.base.snapshot, entry)?);
        }
        let plan = feed.plan();
        let delta_of = |input: usize| self.deltas.get(&plan.inputs()[input].oid);
        let changed: Vec<usize> = (0..plan.inputs().len()).filter(|&input| delta_of(input).is_some()).collect();
        let is_emptied = |oid: u32| self.deltas.get(&oid).is_some_and(|delta| delta.emptied.is_some());
        let emptied = changed.iter().any(|&input| is_emptied(plan.inputs()[input].oid));
        if entry.def.building && (emptied || is_emptied(entry.def.oid)) {
            self.base.database.building().start_again(entry.def.oid);
            return Ok(());
        }
        // The states of what came are there already.
        let linear = plan.is_linear() && entry.def.late.is_none();
        let only_adds = (!emptied || is_emptied(entry.def.oid))
            && changed.iter().all(|&input| plan.adds(input) && delta_of(input).is_some_and(|d| d.gone.is_empty()));
        let mut touched = feed.touched()?;
        if only_adds && !linear {
            for &input in &changed {
                self.add(&feed, input)?;
            }
        } else if !only_adds {
            for &input in &changed {
                self.touch(&feed, input, &mut touched)?;
            }
            if entry.def.building {
                self.base.database.building().touch(entry.def.oid, touched);
                return Ok(());
            }
            self.replace(&feed, &touched)?;
        }
        if !entry.def.building && self.base.state.fed_by(entry.def.oid).next().is_some() {
            self.tell(&feed, touched)?;
        }
        Ok(())
    }

    /// Where a view's stage finds the rows of its inputs.
    fn inputs<'s>(&self, feed: &Feed, snapshot: impl Fn(usize) -> &'s Snapshot) -> Result<Vec<RelationRows>> {
        let rows = |(number, relation): (usize, &Arc<Relation>)| {
            let (state, snapshot) = (self.base.state.clone(), snapshot(number).clone());
            StoredRelations { state, snapshot, now: self.base.now }.rows(relation)
        };
        feed.plan().inputs().iter().enumerate().map(rows).collect()
    }

    /// Adds the states of what the rows bring that came to an input: inputs before it have their rows already, those behind it not yet.
    fn add(&mut self, feed: &Feed, input: usize) -> Result<()> {
        let oid = feed.plan().inputs()[input].oid;
        let Some(come) = self.deltas.get(&oid).and_then(|delta| delta.come.as_ref()) else { return Ok(()) };
        let inputs = self.inputs(feed, |number| match number.cmp(&input) {
            Ordering::Less => &self.after,
            Ordering::Equal => come,
            Ordering::Greater => &self.base.snapshot,
        })?;
        let mut changes = Vec::new();
        let rows = feed.plan().stage_rows(Some(input), None, inputs, feed.context())?;
        rows.in_pieces(BYTES_AT_ONCE, |rows| self.append(feed, rows, None, &mut changes))?;
        self.take(feed.table(), changes)
    }

    /// Notes the groups that rows reach which came to an input or went from it.
    fn touch(&self, feed: &Feed, input: usize, touched: &mut Touched) -> Result<()> {
        let Some(delta) = self.deltas.get(&feed.plan().inputs()[input].oid) else { return Ok(()) };
        let emptied = delta.emptied.iter().filter(|_| !self.deltas.contains_key(&feed.table().0));
        let gone = delta.gone.iter().chain(emptied).map(|gone| (gone, &self.base.snapshot));
        for (rows, others) in gone.chain(delta.come.iter().map(|come| (come, &self.after))) {
            let inputs = self.inputs(feed, |number| if number == input { rows } else { others })?;
            let reached = feed.plan().stage_rows(Some(input), None, inputs, feed.context())?;
            reached.in_pieces(BYTES_AT_ONCE, |rows| {
                touched.add(&feed.open(feed.plan().keys_of(rows, feed.context())?)?)
            })?;
        }
        Ok(())
    }

    /// Computes touched groups again from the inputs as they are afterwards.
    pub(super) fn replace(&mut self, feed: &Feed, touched: &Touched) -> Result<()> {
        if touched.is_empty() {
            return Ok(());
        }
        let (table, mut changes) = (feed.table(), Vec::new());
        let states = touched.states(&self.after, table, &self.base.cancel)?;
        if !states.is_empty() {
            changes.push(Change::Delete { table, rows: states });
        }
        let inputs = self.inputs(feed, |_| &self.after)?;
        let condition = touched.condition(feed.plan().keys());
        let rows = feed.plan().stage_rows(None, condition, inputs, feed.context())?;
        rows.in_pieces(BYTES_AT_ONCE, |rows| self.append(feed, rows, Some(touched), &mut changes))?;
        self.take(table, changes)
    }

    /// Adds the states of rows of the stage, or those of touched groups alone.
    fn append(
        &self,
        feed: &Feed,
        rows: Vec<RecordBatch>,
        touched: Option<&Touched>,
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        let table = feed.table();
        for (partition, rows) in feed.states_of(rows)? {
            let mut rows = feed.open(rows)?;
            if let Some(touched) = touched {
                rows = filter_record_batch(&rows, &touched.mask(&rows)?)?;
            }
            if rows.num_rows() == 0 {
                continue;
            }
            let state = self.after.table(table).ok_or_else(|| Error::internal("the view has no table"))?;
            changes.push(added(&self.base.database, state.def(), table, partition, rows)?);
        }
        Ok(())
    }

    /// Takes changes of a view's own table.
    fn take(&mut self, table: TableId, changes: Vec<Change>) -> Result<()> {
        self.after = self.after.with_changes(&changes)?;
        let adds = |change: &&Change| matches!(change, Change::Append { .. } | Change::AddParts { .. });
        self.added.entry(table.0).or_default().extend(changes.iter().filter(adds).cloned());
        self.changes.extend(changes);
        Ok(())
    }

    /// Says what came to a view and went from it, for the views that read it. Without groups, and if none were touched, its rows came alone.
    fn tell(&mut self, feed: &Feed, mut touched: Touched) -> Result<()> {
        let table = feed.table();
        if let Some(Delta { emptied: Some(_), .. }) = self.deltas.get(&table.0) {
            let (come, emptied) = (Some(self.after.clone()), Some(self.base.snapshot.clone()));
            self.deltas.insert(table.0, Delta { come, gone: Vec::new(), emptied });
            return Ok(());
        }
        if feed.plan().key_columns().is_none() && touched.is_empty() {
            let come = self.come(table)?;
            self.deltas.insert(table.0, Delta { come: Some(come), ..Delta::default() });
            return Ok(());
        }
        let come = self.come(table)?;
        let all = come.scan(table, &[])?;
        for granule in 0..all.len() {
            touched.add(&all.read(granule, &feed.keys(), None)?)?;
        }
        let shown = |snapshot: &Snapshot| -> Result<Snapshot> {
            let states = touched.states(snapshot, table, &self.base.cancel)?;
            Ok(snapshot.with_only(table, &states)?)
        };
        let delta = Delta { come: Some(shown(&self.after)?), gone: vec![shown(&self.base.snapshot)?], emptied: None };
        self.deltas.insert(table.0, delta);
        Ok(())
    }

    /// What was found.
    pub(super) fn into_changes(self) -> Vec<Change> {
        self.changes
    }
}
