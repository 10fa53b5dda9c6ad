//! A stored table, ready for rows: its definition for storage, its partitions, its NOT NULL columns, and which rows its TTL still shows.
//!
//! PARTITION BY and TTL are evaluated in UTC and without a session, so that a row's partition does not depend on who inserted it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use weir_sql::catalog::{Catalog, Relation, RelationKind};
use weir_sql::plan::{Expr, OutputColumn, Plan, Scan};
use weir_sql::{Type, Value};
use weir_storage::{Durability, TableDef};

use crate::cancel::Cancel;
use crate::catalog::{Entry, Kind, RelationDef};
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::{self, QueryContext, QueryMemory, Substituted};
use crate::format::{FormatSettings, text_at};
use crate::functions::{Context, registry};

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

/// Runs a plan over rows in place of a relation's own.
pub(crate) fn run_over(
    plan: &Plan,
    relation: &Relation,
    rows: Vec<RecordBatch>,
    context: &QueryContext,
) -> Result<Vec<RecordBatch>> {
    let substituted = Substituted { rows: HashMap::from([(relation.oid, rows)]), others: None };
    exec::run(plan, &Arc::new(context.with_relations(Arc::new(substituted))))?.collect()
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

/// The condition under which a row's TTL is not over at `now`: `column > cutoff`, where the cutoff is the last moment that plus the
/// interval is not after `now`.
pub(crate) fn ttl_filter(entry: &Entry, now: i64) -> Result<Option<Expr>> {
    let Some(ttl) = &entry.def.ttl else { return Ok(None) };
    if entry.def.kind == Kind::View
        || !matches!(entry.relation.kind, RelationKind::Table | RelationKind::MaterializedView)
    {
        return Ok(None);
    }
    let ty = entry.relation.columns[ttl.column].ty.clone();
    let cutoff = cutoff(now, ttl.months, ttl.days, ttl.micros);
    let value = match ty {
        Type::Date => {
            // Expired once midnight of the date plus the interval is past.
            let days = cutoff.div_euclid(86_400_000_000) as i32;
            Value::new(Type::Date, Arc::new(arrow::array::Date32Array::from(vec![days])))
        }
        Type::Timestamp => {
            Value::new(Type::Timestamp, Arc::new(arrow::array::TimestampMicrosecondArray::from(vec![cutoff])))
        }
        _ => Value::new(
            Type::Timestamptz,
            Arc::new(arrow::array::TimestampMicrosecondArray::from(vec![cutoff]).with_timezone("UTC")),
        ),
    };
    let column = Expr::column(ttl.column, ty);
    let mut binder = weir_sql::bind::Binder::new(&NoRelations, registry(), &[]);
    let alive = binder.operator(">", vec![column.clone(), Expr::literal(value)])?;
    // A row without a time does not expire.
    let missing = Expr::new(weir_sql::plan::ExprKind::IsNull(Box::new(column)), Type::Bool);
    if entry.relation.columns[ttl.column].nullable {
        return Ok(Some(Expr::new(weir_sql::plan::ExprKind::Or(vec![alive, missing]), Type::Bool)));
    }
    Ok(Some(alive))
}

/// The greatest `t` with `t + months + days + micros <= now`, in UTC.
fn cutoff(now: i64, months: i32, days: i32, micros: i64) -> i64 {
    let rest = i64::from(days).saturating_mul(86_400_000_000).saturating_add(micros);
    let now = now.saturating_sub(rest);
    if months == 0 {
        return now;
    }
    // t + months never decreases as t grows, and is within a few days of t plus as many average months.
    let later = |t: i64| add_months(t, months) <= now;
    let guess = add_months(now, -months);
    let (mut low, mut high) = (guess - 5 * 86_400_000_000, guess + 5 * 86_400_000_000);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if later(middle) { low = middle } else { high = middle }
    }
    low
}

/// Adds months as Postgres does: the day is cut to the month's last.
fn add_months(micros: i64, months: i32) -> i64 {
    let day = micros.div_euclid(86_400_000_000);
    let time = micros.rem_euclid(86_400_000_000);
    let epoch = jiff::civil::date(1970, 1, 1);
    let added = epoch
        .checked_add(jiff::Span::new().days(day.clamp(-3_000_000, 2_900_000)))
        .and_then(|date| date.checked_add(jiff::Span::new().months(months)))
        .and_then(|date| date.since(epoch));
    added.map_or(micros, |span| i64::from(span.get_days()) * 86_400_000_000 + time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cutoff_is_the_last_expired_moment() {
        let day = 86_400_000_000i64;
        assert_eq!(cutoff(100 * day, 0, 90, 0), 10 * day);
        // 31 March: what is a month old by 30 April is expired then.
        let april_30 = 120 - 1;
        let last = cutoff(april_30 * day, 1, 0, 0);
        assert!(add_months(last, 1) <= april_30 * day && add_months(last + 1, 1) > april_30 * day);
        assert_eq!(last.div_euclid(day), 89);
    }
}
