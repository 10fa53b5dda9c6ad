//! Rows that come late: for a window that the watermark before their commit had closed.
//!
//! They count like any other, unless the view says otherwise: `late = 'drop'` leaves them out, `late = 'side'` also puts them into a table, in the same
//! commit. For such a view a closed window is final: rows that go or change do not touch it either. Which windows are closed is known to the
//! commit alone, so that [`derive`](super::derive) computes such views, and not the statement that brings the rows.
//!
//! A row is late, and counted under `late/OID`, if all windows that the view has it in are closed, as Flink counts: what is late for one window of HOP alone
//! is left out of that one. Where late rows are included the count goes by the watermark that their statement saw.
//!
//! Until a view is filled, and shown, all rows count.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{cast, filter_record_batch, min};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use weir_sql::catalog::{ColumnInfo, RelationKind};
use weir_sql::plan::Expr;
use weir_sql::statement::{Late, ObjectName};
use weir_sql::{ErrorKind as SqlErrorKind, Type};
use weir_storage::{Change, Snapshot, TableId, Tally, numbers};

use super::closing::{self, Windows, windows_of};
use super::create::over_own;
use super::derive::Derivation;
use super::plan_of;
use crate::catalog::{CatalogState, ColumnDef, Entry, Kind, LateDef, RelationDef};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::exec::{self, QueryContext, ViewPlan};
use crate::session::View;
use crate::statement::define::{blank, set_relation};
use crate::statement::names::{Named, look_up, sql_error, target_schema};
use crate::statement::relations::StoredRelations;
use crate::statement::table::{detached_context, storage_def, whole_scan};
use crate::statement::unique::Policy;
use crate::statement::writer::{Base, Writer};
use crate::transaction::{Item, Pending, table_of};
use crate::watermark;

fn key(view: u32) -> String {
    format!("late/{view}")
}

/// How many rows came late to a view, in all its life; `None` where it is not known.
pub(crate) fn count(state: &CatalogState, snapshot: &Snapshot, view: &Entry) -> Result<Option<i64>> {
    let Some(windows) = windows_of(state, view)? else { return Ok(None) };
    if time_of(&*plan_of(state, view)?, &windows).is_err() {
        return Ok(None);
    }
    let counted = snapshot.get(&key(view.def.oid)).and_then(|value| numbers(value).first().copied());
    Ok(Some(counted.unwrap_or(0)))
}

/// The change that forgets it.
pub(crate) fn forget(def: &RelationDef) -> Option<Change> {
    def.keeps_states().then(|| Change::Set { key: key(def.oid), value: None })
}

fn counted(view: u32, rows: i64) -> Option<Change> {
    (rows > 0).then(|| Change::Tally { key: key(view), how: Tally::Sum, numbers: vec![rows] })
}

/// Which rows of a view's table come late.
pub(super) struct Lateness {
    view: Arc<Entry>,
    plan: Arc<ViewPlan>,
    windows: Windows,
    /// The column that the windows are of.
    time: usize,
    watermark: i64,
    /// Which rows of the view's own table are of closed windows: bound when it is first asked.
    closed: OnceCell<Expr>,
}

/// What is late for a view at the watermark of a snapshot; `None` if nothing is, or it is not known of such a view.
pub(super) fn lateness(state: &CatalogState, snapshot: &Snapshot, view: &Arc<Entry>) -> Result<Option<Lateness>> {
    if view.def.building || !view.def.keeps_states() {
        return Ok(None);
    }
    let plan = plan_of(state, view)?;
    let Some(windows) = windows_of(state, view)? else { return Ok(None) };
    let Ok(time) = time_of(&plan, &windows) else { return Ok(None) };
    let Some(watermark) = watermark::of_table(snapshot, plan.inputs()[0].oid) else { return Ok(None) };
    Ok(Some(Lateness { view: view.clone(), plan, windows, time, watermark, closed: OnceCell::new() }))
}

/// The column that a view's windows are of, if they are of rows of one table and keys of its groups; otherwise the reason why not.
fn time_of(plan: &ViewPlan, windows: &Windows) -> std::result::Result<usize, String> {
    let [input] = plan.inputs() else { return Err("it reads more than one table".to_string()) };
    if input.kind != RelationKind::Table || !plan.is_linear() {
        return Err(format!("\"{}\" is no table", input.name));
    }
    if plan.key_of_column()[windows.column].is_none() {
        return Err("the end of its windows is not a group key".to_string());
    }
    match plan.times()[windows.column].as_ref().map(|traced| traced.times.as_slice()) {
        Some([(_, column)]) => Ok(*column),
        _ => Err("its windows are of several times".to_string()),
    }
}

impl Lateness {
    /// Which rows of a view's own table, or of its keys, are of closed windows.
    fn closed(&self) -> Result<&Expr> {
        if let Some(closed) = self.closed.get() {
            return Ok(closed);
        }
        let closed = over_own(&self.windows.closed(&self.view, self.watermark)?, &self.plan, "late")?;
        Ok(self.closed.get_or_init(|| closed))
    }

    /// The rows of the view's own table, or of its keys, that are not of closed windows.
    pub(super) fn open(&self, rows: &RecordBatch, context: &Arc<QueryContext>) -> Result<RecordBatch> {
        let closed = exec::evaluate(self.closed()?, rows, context)?;
        let closed = closed.as_boolean();
        let is_open = |row: usize| Some(closed.is_null(row) || !closed.value(row));
        Ok(filter_record_batch(rows, &(0..rows.num_rows()).map(is_open).collect())?)
    }

    /// Which rows of the table come late; `None` if none does.
    fn of(&self, rows: &RecordBatch, context: &Arc<QueryContext>) -> Result<Option<BooleanArray>> {
        // A time comes before the end of its windows.
        let times = rows.column(self.time);
        if times.data_type() != &DataType::Date32 {
            let micros = cast(times, &DataType::Int64)?;
            if min(micros.as_primitive::<Int64Type>()).is_none_or(|least| least >= self.watermark) {
                return Ok(None);
            }
        }
        let mut fields: Vec<Arc<Field>> = rows.schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Type::Int8.field("number", false)));
        let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows.num_rows() as i64));
        let columns = rows.columns().iter().cloned().chain([number]).collect();
        let numbered = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let (mut closed, mut open) = (vec![false; rows.num_rows()], vec![false; rows.num_rows()]);
        let mut found = self.plan.numbered(numbered, self.closed()?, context)?;
        while let Some(batch) = found.next()? {
            let (number, is_closed) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_boolean());
            for (row, number) in number.values().iter().enumerate() {
                let seen = if is_closed.is_valid(row) && is_closed.value(row) { &mut closed } else { &mut open };
                seen[*number as usize] = true;
            }
        }
        let late: BooleanArray = closed.iter().zip(&open).map(|(closed, open)| Some(*closed && !open)).collect();
        Ok((late.true_count() > 0).then_some(late))
    }
}

/// Counts the rows that come late to a view which includes them.
pub(super) struct Counter {
    late: Lateness,
    rows: i64,
}

impl Counter {
    /// For a view, as a statement sees it that begins now.
    pub(super) fn new(database: &Database, state: &CatalogState, view: &Arc<Entry>) -> Result<Option<Counter>> {
        let late = lateness(state, &database.store()?.snapshot(), view)?;
        Ok(late.map(|late| Counter { late, rows: 0 }))
    }

    pub(super) fn add(&mut self, rows: &[RecordBatch], context: &Arc<QueryContext>) -> Result<()> {
        for rows in rows {
            self.rows += self.late.of(rows, context)?.map_or(0, |late| late.true_count() as i64);
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Option<Change> {
        counted(self.late.view.def.oid, std::mem::take(&mut self.rows))
    }
}

/// Pending changes with what late rows mean for views that leave them out: how many there are, and the rows for tables of their own. `None` where there are
/// no such views. The caller lets nothing come between this and the commit.
pub(crate) fn put_aside(base: &Base, pending: &Pending) -> Result<Option<Pending>> {
    let fed = pending.items.iter().filter(|item| matches!(item, Item::Fed(_)));
    let tables: BTreeSet<u32> = fed.filter_map(|item| table_of(item.change())).map(|table| table.0).collect();
    let mut all: Option<(Pending, Derivation<'_>)> = None;
    for view in tables.iter().flat_map(|table| base.state.fed_by(*table)).filter(|view| view.def.late.is_some()) {
        let Some(late) = lateness(&base.state, &base.snapshot, view)? else { continue };
        if all.is_none() {
            all = Some((pending.clone(), Derivation::new(base, pending)?));
        }
        let Some((pending, derivation)) = &mut all else { continue };
        let input = &late.plan.inputs()[0];
        let Some(snapshot) = derivation.came(input.oid).cloned() else { continue };
        let mut side = match view.def.late_table() {
            Some(table) => Some(Side::new(base, table)?),
            None => None,
        };
        let relations = StoredRelations { state: base.state.clone(), snapshot, now: base.now };
        let context = detached_context(&base.database, &base.cancel).with_relations(Arc::new(relations));
        let context = Arc::new(context);
        let (mut came, mut rows) = (exec::run(&whole_scan(input), &context)?, 0);
        while let Some(batch) = came.next()? {
            let Some(mask) = late.of(&batch, &context)? else { continue };
            rows += mask.true_count() as i64;
            if let Some(side) = &mut side {
                side.push(&input.columns, &filter_record_batch(&batch, &mask)?)?;
            }
        }
        drop(came);
        pending.items.extend(counted(late.view.def.oid, rows).map(Item::Own));
        if let Some(mut side) = side {
            side.writer.finish(pending)?;
        }
    }
    Ok(all.map(|(pending, _)| pending))
}

/// The table that late rows go to.
struct Side {
    entry: Arc<Entry>,
    writer: Writer,
}

impl Side {
    fn new(base: &Base, table: u32) -> Result<Side> {
        let entry = base.state.entry(table).ok_or_else(|| Error::internal("the table of late rows is gone"))?.clone();
        let writer = Writer::new(base.clone(), &entry, Policy::of_stream(&entry.def))?;
        Ok(Side { entry, writer })
    }

    /// Takes rows, each column by its name. What the table has besides is NULL, and what it has not is left out.
    fn push(&mut self, columns: &[ColumnInfo], rows: &RecordBatch) -> Result<()> {
        let schema = self.entry.schema();
        let column = |(at, own): (usize, &ColumnInfo)| -> Result<ArrayRef> {
            let field = schema.field(at);
            match columns.iter().position(|column| column.name == own.name) {
                Some(place) => Ok(cast(rows.column(place), field.data_type())?),
                None => Ok(arrow::array::new_null_array(field.data_type(), rows.num_rows())),
            }
        };
        let columns: Vec<ArrayRef> =
            self.entry.relation.columns.iter().enumerate().map(column).collect::<Result<_>>()?;
        let nullable: Vec<Field> =
            schema.fields().iter().map(|field| Field::clone(field).with_nullable(true)).collect();
        self.writer.push(&RecordBatch::try_new(Arc::new(Schema::new(nullable)), columns)?)
    }
}

/// Tables whose rows change, with those that late rows may go to.
pub(crate) fn with_sides(database: &Database, mut tables: Vec<u32>) -> Result<Vec<u32>> {
    let state = database.catalog(&database.store()?.snapshot())?;
    let sides: Vec<u32> =
        tables.iter().flat_map(|table| state.fed_by(*table)).filter_map(|view| view.def.late_table()).collect();
    tables.extend(sides);
    tables.sort_unstable();
    tables.dedup();
    Ok(tables)
}

/// A definition as SHOW CREATE says it: with the options that `late` stands for.
pub(crate) fn described(state: &CatalogState, def: &RelationDef) -> RelationDef {
    let mut def = def.clone();
    let mut option = |key: &str, value: String| def.options.push((key.to_string(), value));
    match def.late {
        None => {}
        Some(LateDef::Drop) => option("late", "drop".to_string()),
        Some(LateDef::Side(table)) => {
            option("late", "side".to_string());
            option("late_table", state.entry(table).map_or(String::new(), |entry| entry.qualified()));
        }
    }
    def
}

/// What `late` says of a view, to say it again.
pub(super) fn said(state: &CatalogState, def: &RelationDef) -> Option<Late> {
    match def.late? {
        LateDef::Drop => Some(Late::Drop),
        LateDef::Side(table) => {
            let entry = state.entry(table)?;
            Some(Late::Side(ObjectName { schema: Some(entry.def.schema.clone()), name: entry.def.name.clone() }))
        }
    }
}

/// What `late` means for a view that is about to be made, and the changes that make the table which late rows go to.
pub(super) fn defined(
    database: &Database,
    view: &View,
    entry: &Entry,
    plan: &ViewPlan,
    late: &Late,
) -> Result<(Option<LateDef>, Vec<Change>)> {
    let refused = |why: &str| Err(closing::unclosed("an option \"late\" that leaves rows out", why).into());
    if *late == Late::Include {
        return Ok((None, Vec::new()));
    }
    let windows = match closing::windows_for(&view.state, entry, plan) {
        Ok(windows) => windows,
        Err(why) => return refused(&why),
    };
    if let Err(why) = time_of(plan, &windows) {
        return refused(&why);
    }
    let input = &plan.inputs()[0];
    let is_side = |table: u32| view.state.entries().any(|other| other.def.late_table() == Some(table));
    if is_side(input.oid) {
        return refused(&format!("\"{}\" is where the late rows of another view go", input.name));
    }
    let Late::Side(name) = late else { return Ok((Some(LateDef::Drop), Vec::new())) };
    let wrong = |detail: String| {
        let message = format!("late rows cannot go to \"{}\"", name.name);
        sql_error(SqlErrorKind::InvalidDefinition, message).with_detail(detail)
    };
    match look_up(view, name) {
        Named::Nothing => {}
        Named::User(table) if table.def.kind == Kind::Table => {
            if table.def.oid == input.oid {
                return Err(wrong("It is what the view reads.".to_string()));
            }
            if view.state.fed_by(table.def.oid).any(|reader| reader.def.late.is_some()) {
                return Err(wrong("A view that leaves late rows out reads it.".to_string()));
            }
            for column in &table.relation.columns {
                match input.columns.iter().find(|other| other.name == column.name) {
                    Some(other) if other.ty == column.ty => {}
                    Some(other) => {
                        let (name, ty) = (&column.name, &column.ty);
                        return Err(wrong(format!(
                            "Its column \"{name}\" is of type {ty}, and the rows' of {}.",
                            other.ty
                        )));
                    }
                    None if column.nullable => {}
                    None => return Err(wrong(format!("The rows have no \"{}\", which is NOT NULL.", column.name))),
                }
            }
            return Ok((Some(LateDef::Side(table.def.oid)), Vec::new()));
        }
        _ => return Err(wrong("It is not a table.".to_string())),
    }
    let (oid, schema) = (database.new_oid(), target_schema(view, name)?);
    let source = view.state.entry(input.oid).ok_or_else(|| Error::internal("an input is gone"))?;
    let column = |column: &ColumnDef| ColumnDef { default: None, nullable: true, ..column.clone() };
    let columns = source.def.columns.iter().map(column).collect();
    let def = blank(oid, schema, &name.name, Kind::Table, columns);
    let table = Change::CreateTable { id: TableId(oid), def: storage_def(&def, Entry::new(def.clone()).schema()) };
    Ok((Some(LateDef::Side(oid)), vec![table, set_relation(&def)?]))
}
