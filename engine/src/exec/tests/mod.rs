//! Plans over small tables: SQL is bound and run under several thread counts and batch sizes, and must give the same each time.

mod aggregates;
mod joins;
mod limits;
mod queries;
mod views;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray};
use arrow::util::display::array_value_to_string;
use weir_sql::Type;
use weir_sql::catalog::{Catalog, ColumnInfo, NoStatistics, Relation, RelationKind};
use weir_sql::plan::Plan;
use weir_sql::statement::Statement;

use super::*;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};
use crate::functions::{Context, registry};

/// Tables by name.
#[derive(Default)]
pub(super) struct World {
    relations: HashMap<String, Arc<Relation>>,
    rows: HashMap<u32, Vec<RecordBatch>>,
}

impl Catalog for World {
    fn relation(&self, _schema: Option<&str>, name: &str) -> weir_sql::Result<Option<Arc<Relation>>> {
        Ok(self.relations.get(name).cloned())
    }

    fn relation_names(&self) -> Vec<String> {
        self.relations.keys().cloned().collect()
    }

    fn setting(&self, _name: &str) -> Option<String> {
        None
    }
}

impl World {
    /// Adds a table; its rows come in batches of at most 100.
    pub(super) fn table(mut self, name: &str, columns: Vec<(&str, Type, ArrayRef)>) -> World {
        let oid = 20_000 + self.relations.len() as u32;
        let infos = columns.iter().map(|(name, ty, _)| ColumnInfo::new(*name, ty.clone()));
        let relation = Relation {
            oid,
            schema: "public".into(),
            name: name.into(),
            kind: RelationKind::Table,
            columns: infos.collect(),
            primary_key: Vec::new(),
        };
        let schema =
            arrow::datatypes::Schema::new(columns.iter().map(|(name, ty, _)| ty.field(name, true)).collect::<Vec<_>>());
        let all = RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, _, a)| a).collect());
        let all = all.expect("columns are of their types");
        let batches = (0..all.num_rows()).step_by(100).map(|at| all.slice(at, 100.min(all.num_rows() - at))).collect();
        self.relations.insert(name.to_string(), Arc::new(relation));
        self.rows.insert(oid, batches);
        self
    }

    /// The plan of a query.
    pub(super) fn plan(&self, sql: &str) -> Plan {
        let parsed = weir_sql::parse::parse(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let bound = weir_sql::bind::bind(&parsed[0], self, registry(), &[]).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        match bound.statement {
            Statement::Query(plan) => weir_sql::rules::optimise(plan, registry(), &NoStatistics),
            other => panic!("{sql} is no query: {other:?}"),
        }
    }

    pub(super) fn context(&self, threads: usize, batch_rows: usize) -> Arc<QueryContext> {
        self.context_of(threads, batch_rows, QueryMemory::unlimited())
    }

    pub(super) fn context_of(&self, threads: usize, batch_rows: usize, memory: Arc<QueryMemory>) -> Arc<QueryContext> {
        let pool = Pool::new(threads).expect("a pool");
        Arc::new(QueryContext {
            functions: Arc::new(Context::detached()),
            relations: Arc::new(Given(self.rows.clone())),
            parameters: Vec::new(),
            pool,
            batch_rows,
            memory,
            cancel: Cancel::default(),
            cache: None,
            progress: None,
            statistics: None,
        })
    }

    /// The rows of a query, each as its values joined by `|`, NULL as nothing.
    pub(super) fn rows_in(&self, sql: &str, context: &Arc<QueryContext>) -> Result<Vec<String>> {
        let batches = run(&self.plan(sql), context)?.collect()?;
        Ok(batches.iter().flat_map(lines).collect())
    }

    /// The rows, in order; the same for every number of threads and batch size.
    pub(super) fn rows(&self, sql: &str) -> Vec<String> {
        self.outcome(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"))
    }

    /// The error, the same for every number of threads and batch size.
    pub(super) fn error(&self, sql: &str) -> Error {
        match self.outcome(sql) {
            Ok(rows) => panic!("{sql} gave {rows:?}"),
            Err(error) => error,
        }
    }

    fn outcome(&self, sql: &str) -> Result<Vec<String>> {
        let first = self.rows_in(sql, &self.context(1, 8192));
        for (threads, batch_rows) in [(1, 1), (2, 7), (4, 64), (3, 8192)] {
            let next = self.rows_in(sql, &self.context(threads, batch_rows));
            assert_eq!(first, next, "{sql} with {threads} threads and batches of {batch_rows}");
        }
        first
    }
}

/// The rows of a batch.
pub(super) fn lines(batch: &RecordBatch) -> Vec<String> {
    let cell = |array: &ArrayRef, ty: &Option<Type>, row: usize| match ty {
        Some(ty) => crate::format::text_at(ty, array, row, &Default::default()).unwrap_or_default(),
        None => array_value_to_string(array, row).expect("it has a text"),
    };
    let types: Vec<Option<Type>> = batch.schema().fields().iter().map(|f| Type::from_field(f)).collect();
    (0..batch.num_rows())
        .map(|row| batch.columns().iter().zip(&types).map(|(a, ty)| cell(a, ty, row)).collect::<Vec<_>>().join("|"))
        .collect()
}

/// Numbers 0..1000: `id`, `third` = id % 3 as text with NULL for 2, `n` = id % 10, `f` = id / 10 as float8, `even`.
pub(super) fn numbers() -> World {
    let ids = 0..1000_i64;
    let third: StringViewArray = ids.clone().map(|i| [Some("zero"), Some("one"), None][(i % 3) as usize]).collect();
    World::default().table(
        "numbers",
        vec![
            ("id", Type::Int8, Arc::new(Int64Array::from_iter_values(ids.clone()))),
            ("third", Type::Text, Arc::new(third)),
            ("n", Type::Int4, Arc::new(Int32Array::from_iter_values(ids.clone().map(|i| (i % 10) as i32)))),
            ("f", Type::Float8, Arc::new(Float64Array::from_iter_values(ids.clone().map(|i| i as f64 / 10.0)))),
            ("even", Type::Bool, Arc::new(ids.map(|i| Some(i % 2 == 0)).collect::<BooleanArray>())),
        ],
    )
}
