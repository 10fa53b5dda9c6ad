//! Keyed tables: what becomes of rows whose key is there already.
//!
//! [`Unique::settle`] takes rows that a statement adds and a snapshot, finds the rows of equal keys in both, and says which rows are added
//! and which go, as the statement or the table wants it ([`Policy`]). A row whose TTL is over counts as not there: it goes.
//!
//! Invariant: of the rows that are added no two have one key, and none has the key of a row that stays.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::row::{RowConverter, Rows, SortField};
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::{ErrorKind as SqlErrorKind, Type};
use weir_storage::{Snapshot, TableId};

use super::merging::Folds;
use super::names::sql_error;
use super::table::{conform, detached_context};
use super::ttl;
use super::writer::Base;
use crate::catalog::{Entry, MergingDef, RelationDef};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::{self, QueryContext};
use crate::format::{FormatSettings, text_at};

/// What is done with a row whose key is there.
#[derive(Clone)]
pub(crate) enum Policy {
    /// 23505.
    Fail,
    /// It is left out.
    Ignore,
    /// It takes the other's place.
    Replace,
    /// It takes the other's place unless its value in this column is less.
    Newer(usize),
    /// The two become one row, with the sums of these columns, and others as they say themselves.
    Fold(Vec<usize>),
    /// By the sign in a column it takes the other's place (1) or only removes it (-1).
    Collapse {
        /// The column.
        sign: usize,
        /// Whether rows of opposite signs cancel each other in any order.
        versioned: bool,
    },
    /// ON CONFLICT DO UPDATE: expressions over the row that is there, then the row that was to be added.
    Update {
        /// The row as it becomes.
        row: Vec<Expr>,
        /// WHERE.
        predicate: Option<Expr>,
        /// What they are evaluated in.
        context: Arc<QueryContext>,
    },
}

impl Policy {
    /// What INSERT and COPY do where they do not say it.
    pub(crate) fn of_table(def: &RelationDef) -> Policy {
        match &def.merging {
            Some(MergingDef::Replacing { version: Some(version), .. }) => return Policy::Newer(*version),
            Some(MergingDef::Replacing { version: None, .. }) => return Policy::Replace,
            Some(MergingDef::Summing(columns)) => return Policy::Fold(columns.clone()),
            Some(MergingDef::Aggregating) => return Policy::Fold(Vec::new()),
            Some(MergingDef::Collapsing { sign, version }) => {
                return Policy::Collapse { sign: *sign, versioned: version.is_some() };
            }
            None => {}
        }
        let option = def.options.iter().find(|(key, _)| key == "on_conflict").map(|(_, value)| value.as_str());
        match option {
            Some("replace") => Policy::Replace,
            Some("ignore") => Policy::Ignore,
            _ => Policy::Fail,
        }
    }

    /// What a stream does: a key that is there never stops it.
    pub(crate) fn of_stream(def: &RelationDef) -> Policy {
        match Policy::of_table(def) {
            Policy::Fail => Policy::Replace,
            policy => policy,
        }
    }
}

/// What becomes of rows.
pub(crate) struct Settled {
    /// Rows that are added.
    pub(crate) rows: RecordBatch,
    /// Places of rows that go.
    pub(crate) deleted: Vec<u64>,
}

/// A table's key, and what is done about it.
pub(crate) struct Unique {
    entry: Arc<Entry>,
    key: Vec<usize>,
    converter: RowConverter,
    policy: Policy,
    folds: Option<Folds>,
    /// Whose TTL is not over.
    alive: Option<Expr>,
    /// What is shown of columns in place of what is stored.
    faded: Vec<(usize, Expr)>,
    context: Arc<QueryContext>,
}

/// The rows that are there already.
struct Found {
    /// For each new row: the place of the row of its key.
    places: Vec<Option<u64>>,
    /// Places of those whose TTL is over.
    expired: Vec<u64>,
}

impl Unique {
    /// Of a table; `None` if it has no key.
    pub(crate) fn new(base: &Base, entry: &Arc<Entry>, policy: Policy) -> Result<Option<Unique>> {
        let Some(key) = entry.def.key() else { return Ok(None) };
        let schema = entry.schema();
        let fields = key.iter().map(|&column| SortField::new(schema.field(column).data_type().clone())).collect();
        let (alive, faded) = (ttl::alive(entry, base.now)?, ttl::faded(entry, base.now)?);
        let context = Arc::new(detached_context(&base.database, &base.cancel));
        let folds = match &policy {
            Policy::Fold(columns) => Some(Folds::new(base, entry, columns)?),
            _ => None,
        };
        let (entry, converter) = (entry.clone(), RowConverter::new(fields)?);
        Ok(Some(Unique { entry, key, converter, policy, folds, alive, faded, context }))
    }

    /// What is done with keys that are there.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether a command counts the rows that are added, rather than those that it was given.
    pub(crate) fn counts_added(&self) -> bool {
        matches!(self.policy, Policy::Ignore | Policy::Update { .. })
    }

    fn table(&self) -> TableId {
        TableId(self.entry.def.oid)
    }

    /// What becomes of rows that are added to what the snapshot shows.
    pub(crate) fn settle(&self, rows: &RecordBatch, snapshot: &Snapshot) -> Result<Settled> {
        let keys = self.keys(rows)?;
        let found = self.find(rows, snapshot)?;
        match &self.policy {
            Policy::Fail => self.all(rows, &keys, found),
            Policy::Ignore => {
                let mut seen = HashSet::new();
                let new = |row: &usize| found.places[*row].is_none() && seen.insert(keys.row(*row));
                let kept = (0..rows.num_rows()).filter(new).map(|row| row as u32).collect::<Vec<_>>();
                Ok(Settled { rows: taken(rows, kept)?, deleted: found.expired })
            }
            Policy::Replace => self.newest(rows, &keys, found, None, snapshot),
            Policy::Newer(version) => self.newest(rows, &keys, found, Some(*version), snapshot),
            Policy::Fold(_) => self.folded(rows, &keys, found, snapshot),
            &Policy::Collapse { sign, versioned } => self.collapsed(rows, &keys, found, snapshot, sign, versioned),
            Policy::Update { row, predicate, context } => {
                let update = Update { unique: self, row, predicate: predicate.as_ref(), context };
                update.settle(rows, &keys, found, snapshot)
            }
        }
    }

    /// The rows' keys as bytes.
    fn keys(&self, rows: &RecordBatch) -> Result<Rows> {
        let columns: Vec<ArrayRef> = self.key.iter().map(|&column| rows.column(column).clone()).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }

    fn find(&self, rows: &RecordBatch, snapshot: &Snapshot) -> Result<Found> {
        let columns: Vec<ArrayRef> = self.key.iter().map(|&column| rows.column(column).clone()).collect();
        let mut found = Found { places: snapshot.find_keys(self.table(), &columns)?, expired: Vec::new() };
        let Some(alive) = &self.alive else { return Ok(found) };
        let places: Vec<u64> = found.places.iter().flatten().copied().collect();
        if places.is_empty() {
            return Ok(found);
        }
        let there = self.take(snapshot, &places)?;
        let alive = exec::evaluate(alive, &there, &self.context)?;
        let alive = alive.as_boolean();
        let mut nth = 0;
        for place in &mut found.places {
            if let Some(expired) = *place {
                if !(alive.is_valid(nth) && alive.value(nth)) {
                    found.expired.push(expired);
                    *place = None;
                }
                nth += 1;
            }
        }
        Ok(found)
    }

    /// Whole rows at places.
    fn take(&self, snapshot: &Snapshot, places: &[u64]) -> Result<RecordBatch> {
        let all: Vec<usize> = (0..self.entry.relation.columns.len()).collect();
        ttl::as_shown(&snapshot.take(self.table(), places, &all)?, &self.faded, &self.context)
    }

    /// All rows are added; the first whose key is there is an error.
    fn all(&self, rows: &RecordBatch, keys: &Rows, found: Found) -> Result<Settled> {
        let mut seen = HashSet::with_capacity(rows.num_rows());
        let twice = |row: &usize| found.places[*row].is_some() || !seen.insert(keys.row(*row));
        match (0..rows.num_rows()).find(twice) {
            Some(row) => Err(self.violation(rows, row)),
            None => Ok(Settled { rows: rows.clone(), deleted: found.expired }),
        }
    }

    /// Of each key the last row is added, or, with a version, the last of the greatest; unless what is there is greater.
    fn newest(
        &self,
        rows: &RecordBatch,
        keys: &Rows,
        found: Found,
        version: Option<usize>,
        snapshot: &Snapshot,
    ) -> Result<Settled> {
        let versions = version.map(|column| self.versions(rows.column(column))).transpose()?;
        let mut best: HashMap<_, usize> = HashMap::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            let newer = |old: usize| versions.as_ref().is_none_or(|versions| versions.row(row) >= versions.row(old));
            let kept = best.entry(keys.row(row)).or_insert(row);
            if newer(*kept) {
                *kept = row;
            }
        }
        let mut kept: Vec<usize> = best.into_values().collect();
        kept.sort_unstable();
        if let (Some(versions), Some(column)) = (&versions, version) {
            let places: Vec<u64> = kept.iter().filter_map(|&row| found.places[row]).collect();
            let there = self.versions(snapshot.take(self.table(), &places, &[column])?.column(0))?;
            let mut nth = 0..;
            kept.retain(|&row| match found.places[row] {
                Some(_) => nth.next().is_some_and(|nth| versions.row(row) >= there.row(nth)),
                None => true,
            });
        }
        let mut deleted = found.expired;
        deleted.extend(kept.iter().filter_map(|&row| found.places[row]));
        Ok(Settled { rows: taken(rows, kept.into_iter().map(|row| row as u32).collect())?, deleted })
    }

    /// Of each key one row is added, made of all.
    fn folded(&self, rows: &RecordBatch, keys: &Rows, found: Found, snapshot: &Snapshot) -> Result<Settled> {
        let Some(folds) = &self.folds else { return Err(Error::internal("nothing is folded")) };
        let mut seen = HashSet::with_capacity(rows.num_rows());
        let first = |row: &usize| seen.insert(keys.row(*row)) && found.places[*row].is_some();
        let of: Vec<usize> = (0..rows.num_rows()).filter(first).collect();
        let places: Vec<u64> = of.iter().filter_map(|&row| found.places[row]).collect();
        let rows = folds.fold(rows, keys, &self.take(snapshot, &places)?, &of)?;
        let mut deleted = found.expired;
        deleted.extend(places);
        Ok(Settled { rows, deleted })
    }

    /// Of each key what its rows leave, one after the other: one row, or none.
    fn collapsed(
        &self,
        rows: &RecordBatch,
        keys: &Rows,
        found: Found,
        snapshot: &Snapshot,
        sign: usize,
        versioned: bool,
    ) -> Result<Settled> {
        #[derive(Clone, Copy, PartialEq)]
        enum Left {
            Nothing,
            There(i64),
            Row(usize, i64),
        }
        let mut places: Vec<u64> = found.places.iter().flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        let there = self.signs(snapshot.take(self.table(), &places, &[sign])?.column(0))?;
        let mut left: HashMap<_, (Left, Option<u64>)> = HashMap::with_capacity(rows.num_rows());
        for (row, sign) in self.signs(rows.column(sign))?.into_iter().enumerate() {
            let begin = || {
                let place = found.places[row];
                let old = place.and_then(|place| places.binary_search(&place).ok());
                (old.map_or(Left::Nothing, |at| Left::There(there[at])), place)
            };
            let (now, _) = left.entry(keys.row(row)).or_insert_with(begin);
            *now = match (*now, sign) {
                (Left::There(other) | Left::Row(_, other), sign) if versioned && other != sign => Left::Nothing,
                (_, -1) if !versioned => Left::Nothing,
                (_, sign) => Left::Row(row, sign),
            };
        }
        let (mut kept, mut deleted) = (Vec::new(), found.expired);
        for (now, place) in left.into_values() {
            if let Left::Row(row, _) = now {
                kept.push(row as u32);
            }
            deleted.extend(place.filter(|_| !matches!(now, Left::There(_))));
        }
        kept.sort_unstable();
        Ok(Settled { rows: taken(rows, kept)?, deleted })
    }

    /// The values of a column of signs.
    fn signs(&self, column: &ArrayRef) -> Result<Vec<i64>> {
        let signs = arrow::compute::cast(column, &DataType::Int64)?;
        let sign = |sign: Option<i64>| match sign {
            Some(sign @ (1 | -1)) => Ok(sign),
            other => {
                let value = other.map_or("null".into(), |sign| sign.to_string());
                let message = format!("invalid sign for table \"{}\": {value}", self.entry.def.name);
                Err(sql_error(SqlErrorKind::InvalidParameter, message).with_detail("A sign is 1 or -1."))
            }
        };
        signs.as_primitive::<Int64Type>().iter().map(sign).collect()
    }

    /// A column in a form that compares as its values do; NULL before all.
    fn versions(&self, column: &ArrayRef) -> Result<Rows> {
        let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())])?;
        Ok(converter.convert_columns(std::slice::from_ref(column))?)
    }

    /// PostgreSQL's words for a key that is there already.
    fn violation(&self, rows: &RecordBatch, row: usize) -> Error {
        let column = |&at: &usize| {
            let of = &self.entry.relation.columns[at];
            (of.name.as_str(), &of.ty, rows.column(at))
        };
        let columns: Vec<_> = self.key.iter().map(column).collect();
        let message = format!("duplicate key value violates unique constraint \"{}_pkey\"", self.entry.def.name);
        Error::new(ErrorKind::UniqueViolation, message)
            .with_detail(format!("Key {} already exists.", key_and_values(&columns, row)))
    }
}

/// PostgreSQL's `(names)=(values)` of a row, from its columns' names, types and values.
pub(super) fn key_and_values(columns: &[(&str, &Type, &ArrayRef)], row: usize) -> String {
    let settings = FormatSettings::default();
    let names: Vec<&str> = columns.iter().map(|(name, ..)| *name).collect();
    let value = |(_, ty, values): &(&str, &Type, &ArrayRef)| {
        text_at(ty, values, row, &settings).unwrap_or_else(|| "null".into())
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    format!("({})=({})", names.join(", "), values.join(", "))
}

fn taken(rows: &RecordBatch, kept: Vec<u32>) -> Result<RecordBatch> {
    if kept.len() == rows.num_rows() {
        return Ok(rows.clone());
    }
    Ok(take_record_batch(rows, &UInt32Array::from(kept))?)
}

/// ON CONFLICT DO UPDATE.
struct Update<'a> {
    unique: &'a Unique,
    row: &'a [Expr],
    predicate: Option<&'a Expr>,
    context: &'a Arc<QueryContext>,
}

impl Update<'_> {
    fn settle(&self, rows: &RecordBatch, keys: &Rows, found: Found, snapshot: &Snapshot) -> Result<Settled> {
        let conflicts: Vec<usize> = (0..rows.num_rows()).filter(|&row| found.places[row].is_some()).collect();
        let places: Vec<u64> = conflicts.iter().filter_map(|&row| found.places[row]).collect();
        let both = self.both(rows, &conflicts, &places, snapshot)?;
        let wanted = self.wanted(&both)?;
        // Which of the conflicts are updated; which rows are added. No row may be affected twice.
        let (mut updated, mut order) = (Vec::new(), Vec::new());
        let mut affected = HashSet::new();
        let mut nth = 0;
        for (row, place) in found.places.iter().enumerate() {
            if affected.contains(&keys.row(row)) {
                return Err(twice());
            }
            if place.is_some() {
                nth += 1;
                if !wanted[nth - 1] {
                    continue;
                }
                updated.push((nth - 1) as u32);
            }
            affected.insert(keys.row(row));
            order.push((row, place.is_some()));
        }
        let mut deleted = found.expired;
        deleted.extend(updated.iter().map(|&nth| places[nth as usize]));
        let changed = self.changed(&taken(&both, updated)?, rows)?;
        let rows = interleaved(rows, &changed, &order)?;
        self.check(&rows, snapshot, &deleted)?;
        Ok(Settled { rows, deleted })
    }

    /// The rows that are there beside those that were to be added.
    fn both(
        &self,
        rows: &RecordBatch,
        conflicts: &[usize],
        places: &[u64],
        snapshot: &Snapshot,
    ) -> Result<RecordBatch> {
        let there = self.unique.take(snapshot, places)?;
        let excluded = taken(rows, conflicts.iter().map(|&row| row as u32).collect())?;
        let fields: Vec<Arc<Field>> =
            there.schema().fields().iter().chain(excluded.schema().fields()).cloned().collect();
        let columns = there.columns().iter().chain(excluded.columns()).cloned().collect();
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    fn wanted(&self, both: &RecordBatch) -> Result<Vec<bool>> {
        let Some(predicate) = self.predicate else { return Ok(vec![true; both.num_rows()]) };
        let wanted = exec::evaluate(predicate, both, self.context)?;
        let wanted = wanted.as_boolean();
        Ok((0..both.num_rows()).map(|row| wanted.is_valid(row) && wanted.value(row)).collect())
    }

    /// The rows as they become.
    fn changed(&self, both: &RecordBatch, rows: &RecordBatch) -> Result<RecordBatch> {
        if both.num_rows() == 0 {
            return Ok(RecordBatch::new_empty(rows.schema()));
        }
        let columns: Vec<ArrayRef> =
            self.row.iter().map(|expr| exec::evaluate(expr, both, self.context)).collect::<Result<_>>()?;
        conform(&self.unique.entry, &rows.schema(), &columns, both.num_rows())
    }

    /// Where SET changes the key, the new keys must be free.
    fn check(&self, rows: &RecordBatch, snapshot: &Snapshot, deleted: &[u64]) -> Result<()> {
        let same = |&column: &usize| matches!(self.row[column].kind, ExprKind::Column(of) if of == column);
        let unique = self.unique;
        if unique.key.iter().all(same) {
            return Ok(());
        }
        let deleted: HashSet<u64> = deleted.iter().copied().collect();
        let mut found = unique.find(rows, snapshot)?;
        found.places.iter_mut().for_each(|place| *place = place.filter(|place| !deleted.contains(place)));
        unique.all(rows, &unique.keys(rows)?, found).map(drop)
    }
}

/// New rows and changed ones, in order: for each whether it is the next changed one, or else which new row.
fn interleaved(rows: &RecordBatch, changed: &RecordBatch, order: &[(usize, bool)]) -> Result<RecordBatch> {
    let all = concat_batches(&rows.schema(), [rows, changed])?;
    let mut next = rows.num_rows() as u32..;
    let place = |&(row, is_changed): &(usize, bool)| match is_changed {
        true => next.next().unwrap_or(u32::MAX),
        false => row as u32,
    };
    Ok(take_record_batch(&all, &UInt32Array::from(order.iter().map(place).collect::<Vec<_>>()))?)
}

fn twice() -> Error {
    let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
    Error::new(ErrorKind::CardinalityViolation, message).with_hint(
        "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
    )
}
