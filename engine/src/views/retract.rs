//! What it means for the views on a table that rows of it go: the groups they were in are computed again.
//!
//! For each view: the groups that the statement touches are the keys of the states which its rows, deleted and added, would bring. The states of
//! these groups that the statement's snapshot shows are deleted, and states computed from the table as it is after the statement, of these
//! groups alone, are added, in the same commit. Commits that come between only add states of their own rows, which stay; one that
//! deletes touches the same states, so that one of the two is tried again. A view without groups keeps rows: then a whole row is the
//! key, and equal rows are added again as often as the table still brings them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{SortOptions, concat, filter_record_batch};
use arrow::row::RowConverter;
use weir_sql::plan::{Expr, ExprKind, Plan};
use weir_sql::{Type, Value};
use weir_storage::{Change, Condition, Prune, PruneOp, Snapshot};

use super::maintain::Feed;
use crate::catalog::{CatalogState, Entry};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::Batch;
use crate::exec::keys::{has_variants, normalize_all, row_converter};
use crate::exec::{self, ViewPlan};
use crate::statement::relations::StoredRelations;
use crate::statement::table::{detached_context, whole_scan};
use crate::statement::writer::Base;

/// Rows are aggregated this many bytes at a time.
const BYTES_AT_ONCE: usize = 32 << 20;
/// With at most this many touched groups, their keys narrow down what is read.
const KEYS_MAX: usize = 256;
/// How long a statement waits between looks at a view that is being filled.
const WAIT: Duration = Duration::from_millis(20);

/// The views on a table that rows go from.
#[derive(Default)]
pub(crate) struct Retractions {
    /// Each view; none before the first row goes.
    views: Vec<Retraction>,
}

impl Retractions {
    /// Whether no rows went that a view shows.
    pub(crate) fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// Notes the groups of rows of a table that go.
    pub(crate) fn touch(&mut self, base: &Base, entry: &Entry, rows: RecordBatch) -> Result<()> {
        if self.views.is_empty() {
            for view in base.state.fed_by(entry.def.oid) {
                if view.def.building {
                    return Err(wait_for(base, view));
                }
                self.views.push(Retraction::new(base, view)?);
            }
        }
        for view in &mut self.views {
            for (_, states) in view.feed.states(vec![rows.clone()])? {
                view.touched.add(&states)?;
            }
        }
        Ok(())
    }

    /// The changes to the views' own tables that go with `own`, a statement's changes to the table. `added` is what its added rows alone would
    /// bring.
    pub(crate) fn changes(&mut self, base: &Base, own: &[Change], added: &[Change]) -> Result<Vec<Change>> {
        let after = base.snapshot.with_changes(own)?;
        let mut changes = Vec::new();
        for view in &mut self.views {
            for change in added {
                match change {
                    Change::Append { table, rows, .. } if *table == view.feed.table() => view.touched.add(rows)?,
                    _ => {}
                }
            }
            view.changes(base, &after, &mut changes)?;
        }
        Ok(changes)
    }
}

/// A view that is being filled has states to come that no statement can see: the statement waits and is then tried again.
pub(crate) fn wait_for(base: &Base, view: &Entry) -> Error {
    let building = || -> Result<bool> {
        let snapshot = base.database.store()?.snapshot();
        let state: Arc<CatalogState> = base.database.catalog(&snapshot)?;
        Ok(state.entry(view.def.oid).is_some_and(|view| view.def.building))
    };
    loop {
        match building() {
            Err(error) => return error,
            Ok(false) => break,
            Ok(true) => {}
        }
        if let Err(error) = base.cancel.check() {
            return error;
        }
        std::thread::sleep(WAIT);
    }
    let message = format!("could not serialize access: the view \"{}\" was being filled", view.def.name);
    Error::new(ErrorKind::SerializationFailure, message).with_hint("The transaction might succeed if retried.")
}

/// One view, whose touched groups are computed again.
struct Retraction {
    feed: Feed,
    touched: Touched,
}

impl Retraction {
    fn new(base: &Base, view: &Entry) -> Result<Retraction> {
        let feed = Feed::new(&base.database, &base.state, view, &base.cancel)?;
        let touched = Touched::new(feed.plan(), &feed.column_types()?)?;
        Ok(Retraction { feed, touched })
    }

    fn changes(&self, base: &Base, after: &Snapshot, changes: &mut Vec<Change>) -> Result<()> {
        if !self.touched.any {
            return Ok(());
        }
        let table = self.feed.table();
        let places = self.states_of_touched(base)?;
        if !places.is_empty() {
            changes.push(Change::Delete { table, rows: base.snapshot.row_set(table, &places)? });
        }
        self.recompute(base, after, changes)
    }

    /// The places of the states of touched groups.
    fn states_of_touched(&self, base: &Base) -> Result<Vec<u64>> {
        let scan = base.snapshot.scan(self.feed.table(), &self.touched.conditions())?;
        let keys: Vec<usize> = (0..self.touched.types.len()).collect();
        let mut places = Vec::new();
        for granule in 0..scan.len() {
            base.cancel.check()?;
            let rows = scan.read(granule, &keys, None)?;
            let selection: Vec<u32> = self.touched.mask(&rows)?.values().set_indices_u32().collect();
            if !selection.is_empty() {
                places.extend_from_slice(scan.places(granule, Some(&selection))?.values());
            }
        }
        Ok(places)
    }

    /// Adds the states of touched groups as the table is after the statement.
    fn recompute(&self, base: &Base, after: &Snapshot, changes: &mut Vec<Change>) -> Result<()> {
        let relations = StoredRelations { state: base.state.clone(), snapshot: after.clone(), now: base.now };
        let context = Arc::new(detached_context(&base.database, &base.cancel).with_relations(Arc::new(relations)));
        let mut plan = whole_scan(self.feed.plan().input());
        if let Plan::Scan(scan) = &mut plan {
            scan.filters = self.touched.filters(self.feed.plan());
        }
        exec::run(&plan, &context)?.in_pieces(BYTES_AT_ONCE, |rows| self.add_states(base, rows, changes))
    }

    fn add_states(&self, base: &Base, rows: Vec<RecordBatch>, changes: &mut Vec<Change>) -> Result<()> {
        let table = self.feed.table();
        for (partition, states) in self.feed.states(rows)? {
            let rows = filter_record_batch(&states, &self.touched.mask(&states)?)?;
            if rows.num_rows() == 0 {
                continue;
            }
            if Batch::from_record(&rows).bytes() <= base.database.options().bulk_bytes {
                changes.push(Change::Append { table, partition, rows });
                continue;
            }
            let state = base.snapshot.table(table).ok_or_else(|| Error::internal("the view has no table"))?;
            let parts = base.database.store()?.write_parts(state.def(), &partition, vec![rows])?;
            changes.push(Change::AddParts { table, parts });
        }
        Ok(())
    }
}

/// A set of groups.
struct Touched {
    /// Types of the key columns, the first of the view's own table.
    types: Vec<Type>,
    converter: RowConverter,
    groups: HashSet<Box<[u8]>>,
    any: bool,
    /// The keys' own values, while they are few.
    values: Option<Vec<Vec<ArrayRef>>>,
}

impl Touched {
    fn new(plan: &ViewPlan, types: &[Type]) -> Result<Touched> {
        let types = match plan.key_columns() {
            Some(keys) => types[..keys].to_vec(),
            None => types.to_vec(),
        };
        let converter = row_converter(&types, &vec![SortOptions::default(); types.len()])?;
        Ok(Touched { types, converter, groups: HashSet::new(), any: false, values: Some(Vec::new()) })
    }

    fn keys(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        normalize_all(&self.types, &rows.columns()[..self.types.len()])
    }

    fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        self.any |= rows.num_rows() > 0;
        if self.types.is_empty() || rows.num_rows() == 0 {
            return Ok(());
        }
        let bytes = self.converter.convert_columns(&self.keys(rows)?)?;
        self.groups.extend(bytes.iter().map(|row| row.as_ref().into()));
        match &mut self.values {
            Some(values) if self.groups.len() <= KEYS_MAX => values.push(rows.columns()[..self.types.len()].to_vec()),
            values => *values = None,
        }
        Ok(())
    }

    /// Which rows of the view's own table are of these groups.
    fn mask(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        if self.types.is_empty() {
            return Ok(BooleanArray::from(vec![self.any; rows.num_rows()]));
        }
        let bytes = self.converter.convert_columns(&self.keys(rows)?)?;
        Ok(bytes.iter().map(|row| Some(self.groups.contains(row.as_ref()))).collect())
    }

    /// The values of a key column, if they are few, none is NULL, and equal ones look alike.
    fn few(&self, key: usize) -> Option<ArrayRef> {
        let ty = &self.types[key];
        if has_variants(ty) || matches!(ty, Type::Float4 | Type::Float8 | Type::Array(_) | Type::Record(_) | Type::Json)
        {
            return None;
        }
        let columns: Vec<&dyn Array> = self.values.as_ref()?.iter().map(|keys| keys[key].as_ref()).collect();
        let all = concat(&columns).ok()?;
        (all.null_count() == 0).then_some(all)
    }

    /// Conditions on the view's own table.
    fn conditions(&self) -> Vec<Condition> {
        let few = (0..self.types.len()).filter_map(|column| Some((column, self.few(column)?)));
        few.map(|(column, values)| Prune { column, op: PruneOp::In, values }.into()).collect()
    }

    /// Conditions on the view's input, where a key is one of its columns as it is.
    fn filters(&self, plan: &ViewPlan) -> Vec<Expr> {
        let narrowed = plan.input_of_keys().into_iter().enumerate().filter_map(|(key, column)| {
            let (column, values, ty) = (column?, self.few(key)?, self.types[key].clone());
            let value = |at| Expr::literal(Value::new(ty.clone(), values.slice(at, 1)));
            let list = (0..values.len()).map(value).collect();
            let expr = Box::new(Expr::column(column, ty.clone()));
            Some(Expr::new(ExprKind::InList { expr, list }, Type::Bool))
        });
        narrowed.collect()
    }
}
