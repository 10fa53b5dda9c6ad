//! The whole database at one version: tables (definition, parts, head) and the key-value map.
//!
//! A [`State`] is a value: cloning it costs a few pointers, and [`State::apply`] is the only way it changes, whether for a
//! commit, a replay of the log, or a transaction's private overlay. An operation that fails leaves the clone it was applied
//! to half changed; the caller throws that away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::FieldRef;
use roaring::RoaringBitmap;

use crate::added::{Added, Keys};
use crate::def::{Change, PartId, TableDef, TableId};
use crate::encoding::raw_size;
use crate::error::{Error, Result};
use crate::head::{Head, Runs};
use crate::index;
use crate::map::Map;
use crate::marks::Marks;
use crate::moved::{Late, Moved, PartRows, Recent};
use crate::part::{NewPart, Part, repeat, widen, widens};
use crate::rows::{Marked, OwnRows, RowSet, without_deleted};
use crate::schema::check_schema;
use crate::shown::Shown;
use crate::unique;

/// Keys that belong to the catalogue: setting one raises its version.
const CATALOG_PREFIX: &str = "catalog/";

/// What a record of the log can do: what callers ask for, and what background work does.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Change(Change),
    /// The head's rows so far are what the next flush takes.
    Seal {
        table: TableId,
    },
    /// Rows to mark, found already.
    Delete {
        table: TableId,
        rows: Marked,
    },
    /// The sealed rows are in these parts now.
    Flush {
        table: TableId,
        sealed_at: u64,
        parts: Vec<NewPart>,
        late: Late,
    },
    /// A merge.
    Replace {
        table: TableId,
        old: Vec<PartId>,
        new: Vec<NewPart>,
        late: Late,
    },
    /// First in a checkpoint.
    Checkpoint {
        version: u64,
        next_part: u64,
    },
    /// In a checkpoint: the head so far was sealed then.
    SealedAt {
        table: TableId,
        version: u64,
    },
    /// Last in a checkpoint.
    End {
        catalog_version: u64,
    },
}

impl From<Change> for Op {
    fn from(change: Change) -> Op {
        Op::Change(change)
    }
}

/// What the operations of one commit did.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Parts that are named now.
    pub(crate) named: Vec<Arc<Part>>,
    /// Parts that were, and are not any more.
    pub(crate) dropped: Vec<Arc<Part>>,
    /// Where the rows begin that it appended.
    pub(crate) own: OwnRows,
    /// Unique keys that it adds.
    pub(crate) added: Vec<(TableId, Keys)>,
    /// The last operation as the log has to say it, when only the state could tell.
    pub(crate) resolved: Option<Op>,
}

/// One table at one version.
#[derive(Debug, Clone)]
pub struct TableState {
    id: TableId,
    def: Arc<TableDef>,
    pub(crate) parts: Arc<Vec<Shown>>,
    pub(crate) head: Head,
    /// Where rows went of late.
    recent: Recent,
    /// Unique keys that came of late.
    added: Added,
}

impl TableState {
    /// Its id.
    pub fn id(&self) -> TableId {
        self.id
    }

    /// Its definition.
    pub fn def(&self) -> &Arc<TableDef> {
        &self.def
    }

    /// Its parts, oldest rows first.
    pub fn parts(&self) -> &[Shown] {
        &self.parts
    }

    /// The partitions that have rows, deleted ones too.
    pub fn partitions(&self) -> BTreeSet<String> {
        let parts = self.parts.iter().map(|part| part.partition());
        parts.chain(self.head.partitions.iter().map(|(partition, _)| &**partition)).map(str::to_string).collect()
    }

    /// How many rows of a partition are in the head, not deleted.
    pub fn head_rows_of(&self, partition: &str) -> u64 {
        let runs = self.head.partitions.get(partition);
        runs.map_or(0, |runs| runs.end() - runs.first - runs.deleted.len())
    }

    /// Rows that are not in parts yet.
    pub fn head_rows(&self) -> usize {
        self.head.rows - self.head.deleted
    }

    /// About how many bytes those take.
    pub fn head_bytes(&self) -> usize {
        self.head.bytes
    }

    /// All rows that are not deleted, in parts and head.
    pub fn rows(&self) -> u64 {
        self.head_rows() as u64 + self.parts.iter().map(Shown::living_rows).sum::<u64>()
    }
}

/// The whole database at one version.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) version: u64,
    pub(crate) catalog_version: u64,
    pub(crate) tables: Map<TableId, Arc<TableState>>,
    pub(crate) keys: Map<Arc<str>, Arc<[u8]>>,
    /// Bytes of all heads.
    pub(crate) head_bytes: usize,
}

impl State {
    /// Applies one operation, which belongs to `version`.
    pub(crate) fn apply(&mut self, op: &Op, version: u64, effects: &mut Effects) -> Result<()> {
        match op {
            Op::Change(change) => self.apply_change(change, effects),
            Op::Seal { table } | Op::SealedAt { table, .. } => {
                let version = if let Op::SealedAt { version, .. } = op { *version } else { version };
                self.update(*table, |table| {
                    table.head.seal(version);
                    Ok(())
                })
            }
            Op::Delete { table, rows } => self.update(*table, |table| delete(table, rows)),
            Op::Flush { table, sealed_at, parts, late } => self.update(*table, |table| {
                if table.head.sealed_at != Some(*sealed_at) {
                    return Err(Error::PartsChanged { table: table.id.0 });
                }
                let rows = settle(table, late, table.head.sealed_deleted())?;
                table.head.drop_sealed();
                add_parts(table, parts, effects)?;
                mark(table, &rows)?;
                let (table, sealed_at, parts) = (table.id, *sealed_at, parts.clone());
                effects.resolved = Some(Op::Flush { table, sealed_at, parts, late: Late::Marks(rows) });
                Ok(())
            }),
            Op::Replace { table, old, new, late } => self.update(*table, |table| {
                let there = table.parts.iter().filter(|shown| old.contains(&shown.id()));
                let rows = settle(table, late, there.map(Shown::deleted_rows).sum())?;
                let at = remove_parts(table, old, effects)?;
                let rest = Arc::make_mut(&mut table.parts).split_off(at);
                add_parts(table, new, effects)?;
                Arc::make_mut(&mut table.parts).extend(rest);
                mark(table, &rows)?;
                let (table, old, new) = (table.id, old.clone(), new.clone());
                effects.resolved = Some(Op::Replace { table, old, new, late: Late::Marks(rows) });
                Ok(())
            }),
            Op::Checkpoint { version, .. } => {
                *self = State { version: *version, ..State::default() };
                Ok(())
            }
            Op::End { catalog_version } => {
                self.catalog_version = *catalog_version;
                Ok(())
            }
        }
    }

    pub(crate) fn apply_change(&mut self, change: &Change, effects: &mut Effects) -> Result<()> {
        match change {
            Change::CreateTable { id, def } => {
                if self.tables.get(id).is_some() {
                    return Err(Error::invalid(format!("there is a table with id {id} already")));
                }
                check_def(def)?;
                let table = TableState {
                    id: *id,
                    def: Arc::new(def.clone()),
                    parts: Arc::default(),
                    head: Head::default(),
                    recent: Recent::default(),
                    added: Added::default(),
                };
                self.tables.insert(*id, Arc::new(table));
                self.catalog_version += 1;
                Ok(())
            }
            Change::DropTable { id } => {
                let table = self.tables.remove(id).ok_or(Error::NoTable { table: id.0 })?;
                self.head_bytes -= table.head.bytes;
                effects.own.retain(|(table, _), _| table != id);
                effects.dropped.extend(table.parts.iter().map(|shown| shown.part.clone()));
                self.catalog_version += 1;
                Ok(())
            }
            Change::AlterTable { id, def } => {
                check_def(def)?;
                self.update(*id, |table| alter(table, Arc::new(def.clone())))?;
                self.catalog_version += 1;
                Ok(())
            }
            Change::Append { table, partition, rows } => self.update(*table, |table| {
                let batch = conform(&table.def, rows)?;
                let text: usize = batch.columns().iter().map(|column| raw_size(column)).sum();
                let bytes = text + 16 * batch.num_rows();
                let keys = unique::entries(&table.def, &batch);
                if table.def.key.is_some() {
                    let hashes = keys.iter().map(|(hash, _)| *hash).collect();
                    effects.added.push((table.id, Keys::Hashes(hashes)));
                }
                let first = table.head.append(partition, batch, bytes, keys);
                effects.own.entry((table.id, partition.as_str().into())).or_insert(first);
                Ok(())
            }),
            Change::Delete { table, rows } => self.update(*table, |table| {
                let rows = resolve(table, rows, &effects.own)?;
                delete(table, &rows)?;
                effects.resolved = Some(Op::Delete { table: table.id, rows });
                Ok(())
            }),
            Change::AddParts { table, parts } => self.update(*table, |table| {
                add_parts(table, parts, effects)?;
                if table.def.key.is_some() {
                    let new = &table.parts[table.parts.len() - parts.len()..];
                    effects.added.extend(new.iter().map(|shown| (table.id, Keys::Part(shown.part.clone()))));
                }
                Ok(())
            }),
            Change::DropParts { table, parts } => {
                self.update(*table, |table| remove_parts(table, parts, effects).map(drop))
            }
            Change::DropPartitions { table, partitions } => self.update(*table, |table| {
                for partition in partitions {
                    effects.dropped.extend(take_parts(table, partition).into_iter().map(|shown| shown.part));
                    effects.own.remove(&(table.id, partition.as_str().into()));
                    table.head.take_partition(partition);
                }
                Ok(())
            }),
            Change::MovePartition { from, to, partition } => {
                effects.own.remove(&(*from, partition.as_str().into()));
                self.move_partition(*from, *to, partition)
            }
            Change::Truncate { table } => self.update(*table, |table| {
                effects.dropped.extend(std::mem::take(&mut table.parts).iter().map(|shown| shown.part.clone()));
                effects.own.retain(|(id, _), _| *id != table.id);
                table.head.clear();
                Ok(())
            }),
            Change::Tally { key, how, numbers } => self.tally(key, *how, numbers, effects),
            Change::Set { key, value } => {
                match value {
                    Some(value) => self.keys.insert(key.as_str().into(), value.as_slice().into()),
                    None => drop(self.keys.remove(key.as_str())),
                }
                if key.starts_with(CATALOG_PREFIX) {
                    self.catalog_version += 1;
                }
                Ok(())
            }
        }
    }

    fn move_partition(&mut self, from: TableId, to: TableId, partition: &str) -> Result<()> {
        let other = self.tables.get(&to).ok_or(Error::NoTable { table: to.0 })?.def().clone();
        let (mut parts, mut runs) = (Vec::new(), None);
        self.update(from, |table| {
            // Rows of a table whose keys are unique may go to one that has none; the other way they would have to be looked up.
            let same = table.def.has_same_rows(&TableDef { key: table.def.key.clone(), ..TableDef::clone(&other) });
            if other.key.is_some() || !same || from == to {
                return Err(Error::invalid(format!(
                    "rows of table {} are not those of table {}",
                    table.def.name, other.name
                )));
            }
            parts = take_parts(table, partition);
            runs = table.head.take_partition(partition);
            Ok(())
        })?;
        self.update(to, |table| {
            let parts = parts.into_iter().map(|shown| Shown { part: shown.part.under(&table.def), ..shown });
            Arc::make_mut(&mut table.parts).extend(parts);
            for (batch, bytes) in runs.iter().flat_map(living_rows) {
                table.head.append(partition, conform(&table.def, &batch?)?, bytes, Vec::new());
            }
            Ok(())
        })
    }

    /// Leaves only these rows of a table.
    pub(crate) fn keep_only(&mut self, table: TableId, rows: &RowSet, own: &OwnRows) -> Result<()> {
        self.update(table, |table| {
            let kept = resolve(table, rows, own)?;
            let shown = |shown: &Shown| {
                let rows = kept.parts.get(&shown.id())?;
                let deleted = Marks::all_but(0..shown.rows(), rows.iter().map(u64::from));
                Some(Shown { part: shown.part.clone(), deleted })
            };
            table.parts = Arc::new(table.parts.iter().filter_map(shown).collect());
            table.head.keep_only(&kept.head);
            Ok(())
        })
    }

    /// Checks that no commit after version `seen` has added one of these keys, and remembers them as added at the state's own version.
    pub(crate) fn add_keys(&mut self, added: &[(TableId, Keys)], seen: Option<u64>) -> Result<()> {
        let version = self.version;
        for (number, (id, keys)) in added.iter().enumerate() {
            self.update(*id, |table| {
                let Some(seen) = seen else {
                    return Err(Error::invalid(format!(
                        "no snapshot is named for the keys of table {}",
                        table.def.name
                    )));
                };
                // Those of this very commit are for its maker to keep apart.
                if table.added.conflicts(keys, seen, version)? {
                    return Err(Error::RowsChanged { table: table.id.0 });
                }
                table.added.push(version, number as u32, keys);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn update(&mut self, id: TableId, change: impl FnOnce(&mut TableState) -> Result<()>) -> Result<()> {
        let mut table = TableState::clone(self.tables.get(&id).ok_or(Error::NoTable { table: id.0 })?);
        self.head_bytes -= table.head.bytes;
        change(&mut table)?;
        self.head_bytes += table.head.bytes;
        self.tables.insert(id, Arc::new(table));
        Ok(())
    }
}

fn add_parts(table: &mut TableState, parts: &[NewPart], effects: &mut Effects) -> Result<()> {
    if let Some(part) = parts.iter().find(|part| table.parts.iter().any(|other| other.id() == part.id())) {
        return Err(Error::invalid(format!("part {} is in the table already", part.id())));
    }
    Arc::make_mut(&mut table.parts).extend(parts.iter().map(|part| Shown::new(part.0.under(&table.def))));
    effects.named.extend(parts.iter().map(|part| part.0.clone()));
    Ok(())
}

/// Removes the parts of a partition.
fn take_parts(table: &mut TableState, partition: &str) -> Vec<Shown> {
    let parts = table.parts.iter().cloned();
    let (taken, kept): (Vec<_>, Vec<_>) = parts.partition(|part| part.partition() == partition);
    table.parts = Arc::new(kept);
    taken
}

/// The rows of a head's partition that are not deleted, run by run, and what each run counts.
pub(crate) fn living_rows(runs: &Runs) -> impl Iterator<Item = (Result<RecordBatch>, usize)> {
    let mut from = runs.first;
    runs.iter().map(move |run| {
        let rows = without_deleted(&run.batch, &runs.deleted, from);
        from += run.batch.num_rows() as u64;
        (rows, run.bytes)
    })
}

/// Removes these parts; gives the place where the first one stood.
fn remove_parts(table: &mut TableState, ids: &[PartId], effects: &mut Effects) -> Result<usize> {
    let (gone, kept): (Vec<_>, Vec<_>) = table.parts.iter().cloned().partition(|part| ids.contains(&part.id()));
    if gone.len() != ids.len() {
        return Err(Error::PartsChanged { table: table.id.0 });
    }
    let at = table.parts.iter().position(|part| ids.contains(&part.id())).unwrap_or(kept.len());
    table.parts = Arc::new(kept);
    effects.dropped.extend(gone.into_iter().map(|shown| shown.part));
    Ok(at)
}

/// Where rows are now, as the log says it.
fn resolve(table: &TableState, rows: &RowSet, own: &OwnRows) -> Result<Marked> {
    let changed = || Error::RowsChanged { table: table.id.0 };
    let mut head: BTreeMap<Arc<str>, RoaringBitmap> = BTreeMap::new();
    let mut parts = PartRows::new();
    let mut moved = Vec::from_iter(rows.parts.iter().map(|(&part, rows)| (part, rows.clone())));
    for (partition, rows) in &rows.head {
        let first = table.head.partitions.get(partition).map_or(u64::MAX, |runs| runs.first);
        let mut flushed = rows.clone();
        flushed.remove_range(first..);
        if !flushed.is_empty() {
            let mut rows = PartRows::new();
            table.recent.of_head(partition, &flushed, &mut rows).ok_or_else(changed)?;
            moved.extend(rows);
        }
        let here = head.entry(partition.clone()).or_default();
        here.extend(rows.iter().filter(|row| *row >= first).map(|row| (row - first) as u32));
    }
    for (partition, rows) in &rows.own {
        let own = *own.get(&(table.id, partition.clone())).ok_or_else(changed)?;
        let first = table.head.partitions.get(partition).ok_or_else(changed)?.first;
        let here = head.entry(partition.clone()).or_default();
        here.extend(rows.iter().map(|row| (own + row - first) as u32));
    }
    while let Some((part, rows)) = moved.pop() {
        if table.parts.iter().any(|shown| shown.id() == part) {
            *parts.entry(part).or_default() |= rows;
        } else {
            let mut to = PartRows::new();
            table.recent.of_part(part, &rows, &mut to).ok_or_else(changed)?;
            moved.extend(to);
        }
    }
    head.retain(|_, rows| !rows.is_empty());
    Ok(Marked { parts, head: head.into_iter().collect() })
}

/// Marks rows; all of them are there and alive.
fn delete(table: &mut TableState, rows: &Marked) -> Result<()> {
    let changed = Error::RowsChanged { table: table.id.0 };
    for (partition, rows) in &rows.head {
        let first = table.head.partitions.get(partition).map_or(0, |runs| runs.first);
        let rows = rows.iter().map(|row| first + u64::from(row));
        table.head.delete(partition, rows).ok_or_else(|| changed.clone())?;
    }
    mark(table, &rows.parts)
}

/// Marks rows of parts; all of them are there and alive.
fn mark<'a>(table: &mut TableState, rows: impl IntoIterator<Item = (&'a PartId, &'a RoaringBitmap)>) -> Result<()> {
    let changed = Error::RowsChanged { table: table.id.0 };
    for (part, rows) in rows {
        let parts = Arc::make_mut(&mut table.parts);
        let shown = parts.iter_mut().find(|shown| shown.id() == *part).ok_or_else(|| changed.clone())?;
        let inside = rows.max().is_none_or(|row| u64::from(row) < shown.rows());
        if !inside || shown.deleted.insert(rows.iter().map(u64::from)).is_some() {
            return Err(changed);
        }
    }
    Ok(())
}

/// What marks that came during a flush or merge are in the new parts; `deleted` is how many the rows have that it took. Remembers
/// where they went.
fn settle(table: &mut TableState, late: &Late, deleted: u64) -> Result<PartRows> {
    let changed = || Error::RowsChanged { table: table.id.0 };
    let mut rows = PartRows::new();
    match late {
        Late::Marks(rows) => return Ok(rows.clone()),
        Late::Refused { seen } if *seen == deleted => return Ok(rows),
        Late::Refused { .. } => return Err(changed()),
        Late::Moved(moved) => {
            match &**moved {
                Moved::Flush(partitions) => {
                    for (partition, flushed) in partitions {
                        let runs = table.head.partitions.get(partition).ok_or_else(changed)?;
                        flushed.translate(flushed.late(&runs.deleted), &mut rows).ok_or_else(changed)?;
                    }
                }
                Moved::Merge(merged) => {
                    for shown in table.parts.iter().filter(|shown| merged.input(shown.id()).is_some()) {
                        let late = merged.late(shown.id(), &shown.deleted);
                        merged.translate(shown.id(), late, &mut rows).ok_or_else(changed)?;
                    }
                }
            }
            table.recent.push(moved);
        }
    }
    rows.retain(|_, rows| !rows.is_empty());
    Ok(rows)
}

/// The ids of the columns of a table's unique key.
fn key_ids(def: &TableDef) -> Option<Vec<u32>> {
    def.key.as_ref().map(|key| key.iter().map(|&column| def.ids[column]).collect())
}

/// Gives a table another definition: parts are seen through it from now on, rows of the head are brought to it.
fn alter(table: &mut TableState, def: Arc<TableDef>) -> Result<()> {
    let old = table.def.clone();
    // Types may get wider: hashes stay the same. Rows that are there have no hashes of another key.
    if key_ids(&old) != key_ids(&def) {
        if def.key.is_some() && table.rows() > 0 {
            return Err(Error::invalid(format!("table {} has rows: its key cannot change", def.name)));
        }
        table.added = Added::default();
    }
    for (id, field) in def.ids.iter().zip(def.schema.fields()) {
        let Some(at) = old.ids.iter().position(|other| other == id) else { continue };
        let (from, to) = (old.schema.field(at).data_type(), field.data_type());
        if from != to && !widens(from, to) {
            let change = format!("column {} of table {} cannot change from {from} to {to}", field.name(), def.name);
            return Err(Error::invalid(change));
        }
    }
    let parts = table.parts.iter().map(|shown| Shown { part: shown.part.under(&def), ..shown.clone() });
    table.parts = Arc::new(parts.collect());
    if old.ids != def.ids || old.schema != def.schema {
        table.head.convert(|rows| brought_to(rows, &old, &def))?;
    }
    table.def = def;
    Ok(())
}

/// Rows of one definition as another has them.
fn brought_to(rows: &RecordBatch, old: &TableDef, new: &TableDef) -> Result<RecordBatch> {
    let column = |(at, id): (usize, &u32)| {
        let ty = new.schema.field(at).data_type();
        match old.ids.iter().position(|other| other == id) {
            None => repeat(new.missing[at].as_ref(), ty, rows.num_rows()),
            Some(column) if rows.column(column).data_type() == ty => Ok(rows.column(column).clone()),
            Some(column) => widen(rows.column(column), ty),
        }
    };
    let columns = new.ids.iter().enumerate().map(column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(new.schema.clone(), columns, &options)
        .map_err(|error| Error::invalid(format!("rows do not fit table {}: {error}", new.name)))
}

fn check_def(def: &TableDef) -> Result<()> {
    check_schema(&def.schema)?;
    let columns = def.schema.fields().len();
    if def.ids.len() != columns
        || def.missing.len() != columns
        || (1..columns).any(|n| def.ids[..n].contains(&def.ids[n]))
    {
        return Err(Error::invalid(format!("the columns of table {} do not have an id each", def.name)));
    }
    let fits = |(missing, field): (&Option<ArrayRef>, &FieldRef)| {
        missing.as_ref().is_none_or(|value| value.len() == 1 && value.data_type() == field.data_type())
    };
    if !def.missing.iter().zip(def.schema.fields()).all(fits) {
        return Err(Error::invalid(format!(
            "a value of table {} for older rows is not of its column's type",
            def.name
        )));
    }
    let named = def.sort_key.iter().chain(def.collapse.iter().flatten()).chain(def.ttl.iter().map(|ttl| &ttl.column));
    if let Some(column) = named.into_iter().find(|&&column| column >= columns) {
        return Err(Error::invalid(format!("table {} has no column {column}", def.name)));
    }
    unique::check(def)?;
    for index in &def.indexes {
        let table = &def.name;
        let invalid = |why: String| Error::invalid(format!("index {} of table {table}: {why}", index.name));
        index::check(index, &def.schema).map_err(invalid)?;
    }
    Ok(())
}

/// The rows under the table's own schema.
pub(crate) fn conform(def: &TableDef, rows: &RecordBatch) -> Result<RecordBatch> {
    if Arc::ptr_eq(rows.schema_ref(), &def.schema) {
        return Ok(rows.clone());
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(def.schema.clone(), rows.columns().to_vec(), &options)
        .map_err(|error| Error::invalid(format!("rows do not fit table {}: {error}", def.name)))
}
