//! What a query runs in: [`QueryContext`], and the doors through which it finds rows ([`Relations`], [`TableFunction`]).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::RecordBatch;
use weir_sql::Value;
use weir_sql::catalog::{Param, Relation, Returns, Statistics};
use weir_sql::plan::{Expr, OutputColumn};
use weir_storage::{Prune, Snapshot, TableId};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::memory::QueryMemory;
use crate::exec::partial::ViewPlan;
use crate::exec::partial_cache::PartialCache;
use crate::exec::pool::Pool;
use crate::exec::spool::Spool;
use crate::functions::Context;

/// Everything a query needs besides its plan.
#[derive(Clone)]
pub struct QueryContext {
    /// What kernels may ask.
    pub functions: Arc<Context>,
    /// Where relations' rows are.
    pub relations: Arc<dyn Relations>,
    /// `$1`, `$2`, …
    pub parameters: Vec<Value>,
    /// The threads that help it.
    pub pool: Arc<Pool>,
    /// Rows of a batch, where an operator is free to choose.
    pub batch_rows: usize,
    /// What it may hold.
    pub memory: Arc<QueryMemory>,
    /// Whether it shall end.
    pub cancel: Cancel,
    /// What is remembered of rows that do not change, if it may be asked.
    pub cache: Option<Arc<PartialCache>>,
    /// Where rows are counted as scans of stored relations come to them, if anybody asks how far it is.
    pub progress: Option<Arc<AtomicU64>>,
    /// What the optimiser knew, for EXPLAIN, which says how many rows it thought there would be.
    pub statistics: Option<Arc<dyn Statistics + Send + Sync>>,
}

impl fmt::Debug for QueryContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryContext").field("batch_rows", &self.batch_rows).finish_non_exhaustive()
    }
}

impl QueryContext {
    /// The same with other relations.
    pub fn with_relations(&self, relations: Arc<dyn Relations>) -> QueryContext {
        QueryContext { relations, ..self.clone() }
    }

    /// The same for a query that runs many times with other constants, which would only fill the cache.
    pub(crate) fn without_cache(self: &Arc<Self>) -> Arc<QueryContext> {
        match self.cache {
            None => self.clone(),
            Some(_) => Arc::new(QueryContext { cache: None, ..QueryContext::clone(self) }),
        }
    }

    /// The value of a parameter.
    pub fn parameter(&self, index: usize) -> Result<&Value> {
        self.parameters.get(index).ok_or_else(|| {
            Error::new(ErrorKind::InvalidParameter, format!("there is no value for parameter ${}", index + 1))
        })
    }
}

/// Finds the rows of relations, in the one snapshot that the query reads.
pub trait Relations: Send + Sync {
    /// Where this relation's rows are.
    fn rows(&self, relation: &Relation) -> Result<RelationRows>;

    /// The rows of the round before, of the WITH RECURSIVE of this id that is running.
    #[doc(hidden)]
    fn working(&self, _id: usize) -> Option<Arc<Spool>> {
        None
    }

    /// The rows of the query that WITH names, by its id.
    #[doc(hidden)]
    fn shared(&self, _id: usize) -> Option<Result<Arc<Spool>>> {
        None
    }
}

/// Where rows are.
#[derive(Clone)]
pub enum RelationRows {
    /// Here: all columns of the relation, in order.
    Batches(Vec<RecordBatch>),
    /// In storage.
    Stored {
        /// The version to read.
        snapshot: Snapshot,
        /// The table; its columns are the relation's.
        table: TableId,
        /// What rows must fulfil besides what the query asks, over the relation's columns: a TTL.
        filters: Vec<Expr>,
        /// Columns of which something else is shown than is stored: values of what is stored, over the relation's columns.
        shown: Vec<(usize, Expr)>,
    },
    /// The states of a materialized view, in storage.
    View {
        /// The version to read.
        snapshot: Snapshot,
        /// The view's own table.
        table: TableId,
        /// Its SELECT, split.
        view: Arc<ViewPlan>,
        /// What rows must fulfil besides what the query asks, over the relation's columns: a TTL.
        filters: Vec<Expr>,
    },
    /// What the rest of a view's plan reads.
    #[doc(hidden)]
    States { snapshot: Snapshot, table: TableId, view: Arc<ViewPlan> },
}

impl RelationRows {
    /// About how many rows these are.
    pub(crate) fn count(&self) -> Option<u64> {
        match self {
            RelationRows::Batches(batches) => Some(batches.iter().map(|rows| rows.num_rows() as u64).sum()),
            RelationRows::Stored { snapshot, table, .. }
            | RelationRows::View { snapshot, table, .. }
            | RelationRows::States { snapshot, table, .. } => snapshot.table(*table).map(|table| table.rows()),
        }
    }
}

/// Relations whose rows are given, by oid; there are no others.
#[derive(Default)]
pub struct Given(pub HashMap<u32, Vec<RecordBatch>>);

impl Relations for Given {
    fn rows(&self, relation: &Relation) -> Result<RelationRows> {
        match self.0.get(&relation.oid) {
            Some(rows) => Ok(RelationRows::Batches(rows.clone())),
            None => Err(Error::internal(format!("no rows for relation \"{}\"", relation.name))),
        }
    }
}

/// A call of a table function.
#[derive(Clone, Copy)]
pub struct TableCall<'a> {
    /// The query.
    pub context: &'a QueryContext,
    /// Positional arguments.
    pub args: &'a [Value],
    /// `name => value` arguments.
    pub named: &'a [(String, Value)],
    /// The columns that it shall put out, `ordinality` not among them.
    pub columns: &'a [OutputColumn],
    /// What rows must fulfil to be of use, over `columns`: others may be left out, but need not be.
    pub prune: &'a [Prune],
}

/// Work that gives rows: done by whichever thread takes it.
pub type RowTask = Box<dyn FnOnce(&mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> + Send>;

/// The rows of a table function, batch after batch; asked by one thread at a time.
pub trait TableRows: Send {
    /// The next rows: columns as the call asked; `None` at the end.
    fn next(&mut self) -> Result<Option<RecordBatch>>;

    /// The next rows as work that can be done beside other work, for functions whose rows cost more than to find where they are.
    fn claim(&mut self) -> Result<Option<RowTask>> {
        Ok(match self.next()? {
            Some(batch) => Some(Box::new(move |emit| emit(batch))),
            None => None,
        })
    }
}

/// One overload of a table function.
#[derive(Debug, Clone)]
pub struct TableOverload {
    /// What its arguments must be.
    pub params: Vec<Param>,
    /// How many of them may be left off at the end.
    pub optional: usize,
    /// Whether the last may be repeated.
    pub variadic: bool,
    /// A record, or the type of its one column.
    pub returns: Returns,
    /// Its rows.
    pub open: fn(&TableCall<'_>) -> Result<Box<dyn TableRows>>,
}

/// A function that gives rows.
#[derive(Debug, Clone)]
pub struct TableFunction {
    /// Its name, then its other names.
    pub names: &'static [&'static str],
    /// Its family.
    pub family: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// A FROM item and what it gives; empty where there is none.
    pub example: (&'static str, &'static str),
    /// Its overloads.
    pub overloads: Vec<TableOverload>,
}
