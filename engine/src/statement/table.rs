//! A stored table, ready for rows: its definition for storage, its partitions, its NOT NULL columns, and which rows its TTL still shows.
//!
//! PARTITION BY and TTL are evaluated in UTC and without a session, so that a row's partition does not depend on who inserted it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Date32Array, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use weir_sql::catalog::{Catalog, Relation, RelationKind};
use weir_sql::plan::{Expr, ExprKind, OutputColumn, Plan, Scan};
use weir_sql::{Type, Value};
use weir_storage::{Durability, TableDef};

use crate::cancel::Cancel;
use crate::catalog::{Entry, Kind, RelationDef};
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::{self, QueryContext, QueryMemory, Substituted};
use crate::format::{FormatSettings, text_at};
use crate::functions::{Context, registry};
use crate::kernels::datetime::{MICROS_PER_DAY, civil_from_days, days_from_civil, days_in_month, split_micros};

/// What storage has to know of a relation with these columns.
pub(crate) fn storage_def(def: &RelationDef, schema: SchemaRef) -> TableDef {
    let durable = |value: &str| !matches!(value.to_ascii_lowercase().as_str(), "async" | "off" | "false");
    let option = def.options.iter().find(|(key, _)| key == "durability" || key == "fsync");
    let durability = match option {
        Some((_, value)) if !durable(value) => Durability::Async,
        _ => Durability::Fsync,
    };
    TableDef {
        sort_key: def.order_by.clone(),
        durability,
        ttl: def.ttl.as_ref().map(|ttl| weir_storage::TtlDef {
            column: ttl.column,
            months: ttl.months,
            days: ttl.days,
            micros: ttl.micros,
        }),
        ..TableDef::new(format!("{}.{}", def.schema, def.name), schema)
    }
}

/// A catalogue without relations: what definitions' expressions are bound against.
struct NoRelations;

impl Catalog for NoRelations {
    fn relation(&self, _: Option<&str>, _: &str) -> weir_sql::Result<Option<Arc<Relation>>> {
        Ok(None)
    }
    fn relation_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn setting(&self, name: &str) -> Option<String> {
        crate::session::settings::definition(name).map(|d| d.shown_default())
    }
}

/// The columns of a relation as a plan puts them out.
pub(crate) fn output_columns(relation: &Relation) -> Vec<OutputColumn> {
    let column = |(i, c): (usize, &weir_sql::catalog::ColumnInfo)| OutputColumn {
        name: c.name.clone(),
        ty: c.ty.clone(),
        typmod: c.ty.typmod(),
        origin: Some((relation.oid, i as i16 + 1)),
    };
    relation.columns.iter().enumerate().map(column).collect()
}

/// A definition's expression over the columns of its relation.
pub(crate) fn bind_over(sql: &str, columns: &[OutputColumn]) -> Result<Expr> {
    let ast = weir_sql::parse::expr(sql)?;
    let mut binder = weir_sql::bind::Binder::new(&NoRelations, registry(), &[]);
    Ok(binder.bind_expr_over(&ast, columns)?)
}

/// An expression as it is assigned to a column of this type.
pub(crate) fn assigned(expr: Expr, ty: &Type) -> Result<Expr> {
    let mut binder = weir_sql::bind::Binder::new(&NoRelations, registry(), &[]);
    Ok(binder.coerce(expr, ty, weir_sql::bind::CoercionContext::Assignment)?)
}

/// What a definition's expressions are evaluated in: no session, UTC.
pub(crate) fn detached_context(database: &Database, cancel: &Cancel) -> QueryContext {
    QueryContext {
        functions: Arc::new(Context::detached()),
        relations: Arc::new(Substituted { rows: HashMap::new(), others: None }),
        parameters: Vec::new(),
        pool: database.pool().clone(),
        batch_rows: database.options().batch_rows,
        memory: QueryMemory::unlimited(),
        cancel: cancel.clone(),
    }
}

/// A scan of a whole relation.
pub(crate) fn whole_scan(relation: &Arc<Relation>) -> Plan {
    Plan::Scan(Scan {
        relation: relation.clone(),
        projection: (0..relation.columns.len()).collect(),
        filters: Vec::new(),
        columns: output_columns(relation),
    })
}

/// A table that rows go to.
pub(crate) struct Target {
    pub(crate) entry: Arc<Entry>,
    pub(crate) schema: SchemaRef,
    split: Split,
}

/// How rows are split by PARTITION BY.
pub(crate) struct Split {
    partition_by: Option<Expr>,
    context: Arc<QueryContext>,
}

impl Split {
    /// By an expression over the rows' columns, or not at all.
    pub(crate) fn new(partition_by: Option<Expr>, context: Arc<QueryContext>) -> Split {
        Split { partition_by, context }
    }

    /// The rows by partition, in the order of their first rows.
    pub(crate) fn split(&self, rows: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
        let Some(expr) = &self.partition_by else { return Ok(vec![(String::new(), rows.clone())]) };
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let keys = exec::evaluate(expr, rows, &self.context)?;
        let settings = FormatSettings::default();
        let mut order: Vec<(String, Vec<u32>)> = Vec::new();
        let mut index: HashMap<String, usize> = HashMap::new();
        let encoder = crate::format::TextEncoder::new(&expr.ty, &keys, &settings);
        let mut text = Vec::new();
        for row in 0..rows.num_rows() {
            text.clear();
            if encoder.is_null(row) {
                text.extend_from_slice(b"NULL");
            } else {
                encoder.write(row, &mut text);
            }
            let key = String::from_utf8_lossy(&text);
            match index.get(key.as_ref()) {
                Some(&at) => order[at].1.push(row as u32),
                None => {
                    index.insert(key.to_string(), order.len());
                    order.push((key.into_owned(), vec![row as u32]));
                }
            }
        }
        if let [(key, _)] = order.as_slice() {
            return Ok(vec![(key.clone(), rows.clone())]);
        }
        order
            .into_iter()
            .map(|(key, picked)| {
                let picked = UInt32Array::from(picked);
                let columns: Vec<ArrayRef> =
                    rows.columns().iter().map(|c| take(c, &picked, None)).collect::<std::result::Result<_, _>>()?;
                Ok((key, RecordBatch::try_new(rows.schema(), columns)?))
            })
            .collect()
    }
}

impl Target {
    /// Of a relation in storage.
    pub(crate) fn new(entry: &Arc<Entry>, database: &Database, cancel: &Cancel) -> Result<Target> {
        let columns = output_columns(&entry.relation);
        let partition_by = entry.def.partition_by.as_deref().map(|sql| bind_over(sql, &columns)).transpose()?;
        let context = detached_context(database, cancel);
        let split = Split::new(partition_by, Arc::new(context));
        Ok(Target { entry: entry.clone(), schema: entry.schema(), split })
    }

    /// The rows under the table's own schema; 23502 if a NULL stands where none may.
    pub(crate) fn conform(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        for (column, array) in self.entry.relation.columns.iter().zip(rows.columns()) {
            if !column.nullable && array.null_count() > 0 {
                return Err(self.null_violation(&column.name, rows));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), rows.columns().to_vec(), &options)
            .map_err(|e| Error::internal(format!("rows do not fit table \"{}\": {e}", self.entry.def.name)))
    }

    fn null_violation(&self, column: &str, rows: &RecordBatch) -> Error {
        let columns = &self.entry.relation.columns;
        let wrong = |row: &usize| columns.iter().zip(rows.columns()).any(|(c, a)| !c.nullable && a.is_null(*row));
        let row = (0..rows.num_rows()).find(wrong).unwrap_or(0);
        let settings = FormatSettings::default();
        let texts: Vec<String> = columns
            .iter()
            .zip(rows.columns())
            .map(|(c, a)| text_at(&c.ty, a, row, &settings).unwrap_or_else(|| "null".into()))
            .collect();
        let message = format!(
            "null value in column \"{column}\" of relation \"{}\" violates not-null constraint",
            self.entry.def.name
        );
        Error::new(ErrorKind::NotNullViolation, message)
            .with_detail(format!("Failing row contains ({}).", texts.join(", ")))
    }

    /// The rows by partition, in the order of their first rows.
    pub(crate) fn split(&self, rows: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
        self.split.split(rows)
    }

    /// Storage's definition of the table.
    pub(crate) fn storage_def(&self) -> TableDef {
        storage_def(&self.entry.def, self.schema.clone())
    }
}

/// The condition under which a row's TTL is not over at `now`: the column plus the interval is after `now`.
pub(crate) fn ttl_filter(entry: &Entry, now: i64) -> Result<Option<Expr>> {
    let Some(ttl) = &entry.def.ttl else { return Ok(None) };
    if entry.def.kind == Kind::View
        || !matches!(entry.relation.kind, RelationKind::Table | RelationKind::MaterializedView)
    {
        return Ok(None);
    }
    let ty = entry.relation.columns[ttl.column].ty.clone();
    let expired = Expired::at(now, ttl.months, ttl.days, ttl.micros);
    let column = Expr::column(ttl.column, ty.clone());
    let mut binder = weir_sql::bind::Binder::new(&NoRelations, registry(), &[]);
    let mut compare = |operator: &str, micros: i64| {
        binder.operator(operator, vec![column.clone(), Expr::literal(moment(&ty, micros))])
    };
    let alive = match ty {
        Type::Date => compare(">", expired.last_day.saturating_mul(MICROS_PER_DAY))?,
        _ => {
            let mut parts = vec![compare(">", expired.cutoff())?];
            for (from, to) in expired.after_cutoff() {
                parts.push(Expr::new(ExprKind::Or(vec![compare("<", from)?, compare(">", to)?]), Type::Bool));
            }
            if parts.len() == 1 { parts.remove(0) } else { Expr::new(ExprKind::And(parts), Type::Bool) }
        }
    };
    // A row without a time does not expire.
    if entry.relation.columns[ttl.column].nullable {
        let missing = Expr::new(ExprKind::IsNull(Box::new(column)), Type::Bool);
        return Ok(Some(Expr::new(ExprKind::Or(vec![alive, missing]), Type::Bool)));
    }
    Ok(Some(alive))
}

/// A moment as a constant of a TTL column's type.
fn moment(ty: &Type, micros: i64) -> Value {
    let moments = TimestampMicrosecondArray::from(vec![micros]);
    match ty {
        Type::Date => {
            let days = micros.div_euclid(MICROS_PER_DAY).clamp(i32::MIN.into(), i32::MAX.into());
            Value::new(Type::Date, Arc::new(Date32Array::from(vec![days as i32])))
        }
        Type::Timestamp => Value::new(Type::Timestamp, Arc::new(moments)),
        _ => Value::new(Type::Timestamptz, Arc::new(moments.with_timezone("UTC"))),
    }
}

/// Which moments `t` are expired: `t + months + days + micros <= now`, in UTC.
///
/// Adding months keeps the time of day and cuts the day to the month's last, so several days (30 and 31 March, plus a month) may land on
/// the last one, each with its own times that are over: 31 March 00:00 expires before 30 March 23:00 does.
#[derive(Debug, PartialEq, Eq)]
struct Expired {
    /// The first of the days that land on the last day, on which only a part is over; all of the days before it is over. It is the day after
    /// `last_day` if none lands there.
    first_day: i64,
    /// The last day of which anything is over.
    last_day: i64,
    /// The time of day, in microseconds, up to which these days are over.
    time: i64,
}

impl Expired {
    fn at(now: i64, months: i32, days: i32, micros: i64) -> Expired {
        let rest = i64::from(days).saturating_mul(MICROS_PER_DAY).saturating_add(micros);
        let (day, time) = split_micros(now.saturating_sub(rest));
        // The day of a month is within five days of where it lands.
        let mut last_day = add_months(day, -i64::from(months)) + 5;
        while add_months(last_day, months.into()) > day {
            last_day -= 1;
        }
        let mut first_day = last_day + 1;
        while add_months(first_day - 1, months.into()) == day {
            first_day -= 1;
        }
        Expired { first_day, last_day, time }
    }

    /// The moment up to which all are expired.
    fn cutoff(&self) -> i64 {
        let midnight = self.first_day.saturating_mul(MICROS_PER_DAY);
        if self.first_day > self.last_day { midnight.saturating_sub(1) } else { midnight.saturating_add(self.time) }
    }

    /// The other expired moments, as first and last of each stretch.
    fn after_cutoff(&self) -> impl Iterator<Item = (i64, i64)> {
        let days = self.first_day + 1..=self.last_day;
        days.map(|day| {
            (day.saturating_mul(MICROS_PER_DAY), day.saturating_mul(MICROS_PER_DAY).saturating_add(self.time))
        })
    }
}

/// A day moved by months as Postgres does: cut to the month's last.
fn add_months(day: i64, months: i64) -> i64 {
    let (year, month, of_month) = civil_from_days(day);
    let total = year * 12 + i64::from(month) - 1 + months;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
    days_from_civil(year, month, of_month.min(days_in_month(year, month as u32)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = MICROS_PER_DAY / 24;

    #[test]
    fn a_ttl_of_days_has_one_cutoff() {
        let expired = Expired::at(100 * MICROS_PER_DAY + 5, 0, 90, 0);
        assert_eq!(expired.cutoff(), 10 * MICROS_PER_DAY + 5);
        assert_eq!(expired.after_cutoff().count(), 0);
    }

    #[test]
    fn expired_is_what_plus_the_interval_is_not_after_now() {
        let check = |now: i64, months: i32, days: i32, micros: i64| {
            let expired = Expired::at(now, months, days, micros);
            let around = split_micros(now).0 - i64::from(months) * 30 - i64::from(days);
            for hour in (around - 12) * 24..(around + 12) * 24 {
                for t in [hour * HOUR, hour * HOUR + 1, hour * HOUR - 1] {
                    let (day, time) = split_micros(t);
                    let sum = add_months(day, months.into()) * MICROS_PER_DAY + time;
                    let over = sum + i64::from(days) * MICROS_PER_DAY + micros <= now;
                    let said = t <= expired.cutoff() || expired.after_cutoff().any(|(a, b)| (a..=b).contains(&t));
                    assert_eq!(said, over, "{t} + {months} months {days} days {micros} at {now}: {expired:?}");
                    if time == 0 {
                        assert_eq!(day <= expired.last_day, over, "the date {day} at {now}: {expired:?}");
                    }
                }
            }
        };
        for day in 0..400 {
            let midnight = day * MICROS_PER_DAY;
            check(midnight, 1, 0, 0);
            check(midnight + 13 * HOUR, 1, 0, 0);
            check(midnight + 13 * HOUR, 13, -3, HOUR);
            check(midnight + 1, -2, 0, 0);
        }
    }
}
