//! A stored table, ready for rows: its definition for storage, its partitions, its NOT NULL columns, and which rows its TTL still shows.
//!
//! PARTITION BY and TTL are evaluated in UTC and without a session, so that a row's partition does not depend on who inserted it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use weir_sql::Type;
use weir_sql::bind::codec;
use weir_sql::catalog::{Catalog, Relation};
use weir_sql::collation::Collating;
use weir_sql::plan::{Expr, OutputColumn, Plan, Scan};
use weir_storage::{Codec, Compression, Durability, TableDef, Transform};

use crate::cancel::Cancel;
use crate::catalog::definition::ColumnDef;
use crate::catalog::{Entry, RelationDef};
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::{self, Given, QueryContext, QueryMemory};
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
        key: def.key(),
        durability,
        ttl: def.ttl.iter().filter_map(super::ttl::storage_rule).collect(),
        ids: def.ids(),
        indexes: def.indexes.iter().map(super::index::stored).collect(),
        codecs: def.columns.iter().map(storage_codec).collect(),
        ..TableDef::new(format!("{}.{}", def.schema, def.name), schema)
    }
}

/// What a column's CODEC asks of storage. FPC has no like here: its floats are encoded as ALP's are, and LZ4HC's reader is LZ4's.
fn storage_codec(column: &ColumnDef) -> Codec {
    let mut asked = Codec::default();
    // A codec that the type cannot have is from before its type changed: it asks for nothing any more.
    let codecs = column.codec.as_ref().and_then(|text| codec::codecs(text, &column.ty).ok()).unwrap_or_default();
    for codec in codecs {
        let taken = if let Transform::Delta(times) = asked.transform { times } else { 0 };
        match codec {
            codec::Codec::Default => {}
            codec::Codec::None => asked = Codec { transform: Transform::Plain, compression: Compression::Off },
            codec::Codec::Lz4 | codec::Codec::Lz4Hc => asked.compression = Compression::Lz4,
            codec::Codec::Zstd(level) => asked.compression = Compression::Zstd(level),
            codec::Codec::Delta => asked.transform = Transform::Delta((taken + 1).min(3)),
            codec::Codec::DoubleDelta => asked.transform = Transform::Delta((taken + 2).min(3)),
            codec::Codec::Gcd => asked.transform = Transform::Scaled,
            codec::Codec::T64 => asked.transform = Transform::Packed,
            codec::Codec::Gorilla => asked.transform = Transform::Gorilla,
            codec::Codec::Fpc | codec::Codec::Alp => asked.transform = Transform::Alp,
        }
    }
    asked
}

/// A catalogue without relations: what definitions' expressions are bound against.
pub(crate) struct NoRelations;

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
        collating: Collating::Implicit(c.collation),
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
        relations: Arc::new(Given::default()),
        parameters: Vec::new(),
        pool: database.pool().clone(),
        batch_rows: database.options().batch_rows,
        memory: QueryMemory::unlimited(),
        cancel: cancel.clone(),
        cache: None,
        progress: None,
        statistics: None,
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
        // Neighbours mostly belong together: a key is written only where it is another than that before.
        let (before, after) = (keys.slice(0, keys.len() - 1), keys.slice(1, keys.len() - 1));
        let changes = match keys.data_type().is_nested() {
            true => BooleanBuffer::new_set(before.len()),
            false => distinct(&before, &after)?.values().clone(),
        };
        let starts = std::iter::once(0).chain(changes.set_indices().map(|row| row + 1));
        let ends = changes.set_indices().map(|row| row + 1).chain(std::iter::once(keys.len()));
        for (from, to) in starts.zip(ends) {
            text.clear();
            if encoder.is_null(from) {
                text.extend_from_slice(b"NULL");
            } else {
                encoder.write(from, &mut text);
            }
            let key = String::from_utf8_lossy(&text);
            let run = from as u32..to as u32;
            match index.get(key.as_ref()) {
                Some(&at) => order[at].1.extend(run),
                None => {
                    index.insert(key.to_string(), order.len());
                    order.push((key.into_owned(), run.collect()));
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
        conform(&self.entry, &self.schema, rows.columns(), rows.num_rows())
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

/// Columns as rows of a relation, under its own schema; 23502 if a NULL stands where none may.
pub(crate) fn conform(entry: &Entry, schema: &SchemaRef, columns: &[ArrayRef], rows: usize) -> Result<RecordBatch> {
    for (column, array) in entry.relation.columns.iter().zip(columns) {
        if !column.nullable && array.null_count() > 0 {
            return Err(null_violation(entry, &column.name, columns, rows));
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns.to_vec(), &options)
        .map_err(|e| Error::internal(format!("rows do not fit table \"{}\": {e}", entry.def.name)))
}

fn null_violation(entry: &Entry, column: &str, arrays: &[ArrayRef], rows: usize) -> Error {
    let columns = &entry.relation.columns;
    let wrong = |row: &usize| columns.iter().zip(arrays).any(|(c, a)| !c.nullable && a.is_null(*row));
    let row = (0..rows).find(wrong).unwrap_or(0);
    let settings = FormatSettings::default();
    let texts: Vec<String> = columns
        .iter()
        .zip(arrays)
        .map(|(c, a)| text_at(&c.ty, a, row, &settings).unwrap_or_else(|| "null".into()))
        .collect();
    let message =
        format!("null value in column \"{column}\" of relation \"{}\" violates not-null constraint", entry.def.name);
    Error::new(ErrorKind::NotNullViolation, message)
        .with_detail(format!("Failing row contains ({}).", texts.join(", ")))
}
