//! Rows that were made for an older definition of their table, brought to the newest: a stream's decoder goes on while columns come and go.
//!
//! Each field of an [`crate::IngestTarget`]'s schema carries its column's id ([`COLUMN`]), and so do the rows made by it. What the rows lack has its
//! DEFAULT, what the table has no longer is left out, and a type that has changed is cast as an assignment casts it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema, SchemaRef};
use weir_sql::Type;
use weir_sql::plan::Expr;

use crate::IngestTarget;
use crate::cancel::Cancel;
use crate::catalog::Entry;
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::exec;
use crate::ingest::table_named;
use crate::statement::table::{assigned, detached_context};

/// The key in a field's metadata under which the column's id is.
const COLUMN: &str = "weir.column";

impl Database {
    /// Adds columns to a table (`name` or `schema.name`), which admit NULL; those whose names are there already are passed over. Of
    /// [`Database::rebuilds`] both tables get them.
    pub fn add_columns(&self, table: &str, columns: &[(String, Type)]) -> Result<()> {
        let state = self.catalog(&self.store()?.snapshot())?;
        let entry = table_named(&state, table)?;
        // A hidden table follows the live one, which has a name.
        let live = entry.def.replaces.and_then(|live| state.entry(live));
        let table = live.unwrap_or(&entry).qualified();
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let table: Vec<String> = table.splitn(2, '.').map(quoted).collect();
        let add = |(name, ty): &(String, Type)| format!("ADD COLUMN IF NOT EXISTS {} {ty} NULL", quoted(name));
        let actions: Vec<String> = columns.iter().map(add).collect();
        self.execute(&format!("ALTER TABLE {} {}", table.join("."), actions.join(", "))).map(drop)
    }
}

/// A table's schema with the ids of its columns.
pub(crate) fn marked_schema(entry: &Entry) -> SchemaRef {
    let schema = entry.schema();
    let mark = |(field, id): (&Arc<Field>, u32)| {
        let known = field.metadata().iter().map(|(key, value)| (key.to_string(), value.to_string()));
        let metadata: HashMap<String, String> = known.chain([(COLUMN.to_string(), id.to_string())]).collect();
        Field::clone(field).with_metadata(metadata)
    };
    Arc::new(Schema::new(schema.fields().iter().zip(entry.def.ids()).map(mark).collect::<Vec<_>>()))
}

/// Rows as the table is now. `target` is of the same version as `entry`.
pub(crate) fn brought_to(
    database: &Database,
    entry: &Entry,
    target: &IngestTarget,
    rows: &RecordBatch,
) -> Result<RecordBatch> {
    if rows.schema().fields() == target.schema.fields() || rows.schema().fields() == entry.schema().fields() {
        return Ok(rows.clone());
    }
    let schema = rows.schema();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(target.columns.len());
    for (at, (column, id)) in target.columns.iter().zip(entry.def.ids()).enumerate() {
        let id = id.to_string();
        let by_id =
            schema.fields().iter().position(|field| field.metadata().get(COLUMN).is_some_and(|known| *known == id));
        let by_name = || {
            let named = |field: &Arc<Field>| field.name() == &column.name && !field.metadata().contains_key(COLUMN);
            schema.fields().iter().position(named)
        };
        columns.push(match by_id.or_else(by_name) {
            Some(found) => cast(database, schema.field(found), rows.column(found), &column.ty)?,
            None => {
                let value = target.missing(at).ok_or_else(|| {
                    let message = format!("null value in column \"{}\" violates not-null constraint", column.name);
                    Error::new(ErrorKind::NotNullViolation, message)
                        .with_detail("The rows are older than the column, which has no default.")
                })?;
                take(&value, &UInt32Array::from(vec![0; rows.num_rows()]), None)?
            }
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(target.schema.clone(), columns, &options)?)
}

fn cast(database: &Database, field: &Field, values: &ArrayRef, ty: &Type) -> Result<ArrayRef> {
    let from = Type::from_field(field).ok_or_else(|| Error::internal("rows of an unknown type"))?;
    if from == *ty {
        return Ok(values.clone());
    }
    let expr = assigned(Expr::column(0, from), ty)?;
    let rows = RecordBatch::try_new(Arc::new(Schema::new(vec![field.clone()])), vec![values.clone()])?;
    exec::evaluate(&expr, &rows, &Arc::new(detached_context(database, &Cancel::default())))
}
