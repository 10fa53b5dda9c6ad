//! Execution: a bound plan to rows.
//!
//! [`run`] turns a [`Plan`] into a tree of operators (`physical`), each with its compiled expressions, opens it, and gives a
//! [`RowStream`]. Opening an operator runs what must be complete before its first row (build sides, groups, sorts); the rest flows
//! morsel by morsel as the stream is read (`pipeline`). [`explain`] shows the tree.
//!
//! Invariants: an answer does not depend on the number of threads or on the batch size; whatever grows has asked the memory broker
//! ([`memory`]); every morsel and every long loop asks whether the query was cancelled.

pub mod batch;
mod concat;
pub mod context;
pub mod explain;
mod expression;
pub(crate) mod groups;
pub(crate) mod keys;
pub mod memory;
pub(crate) mod operator;
pub(crate) mod operators;
pub mod partial;
pub(crate) mod partial_cache;
mod partitions;
mod pipeline;
mod pool;
mod reader;
mod runs;
mod runtime_filter;
pub(crate) mod spill;
pub(crate) mod spool;
mod top_bound;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use weir_sql::plan::{Expr, OutputColumn, Plan};

pub use context::{Given, QueryContext, RelationRows, Relations, TableCall, TableFunction, TableOverload, TableRows};
pub use explain::explain;
pub use memory::{Broker, Limits, QueryMemory};
pub use partial::ViewPlan;
pub(crate) use partial::{Bound, Traced, traced};
pub use partial_cache::{CacheStatus, PartialCache};
pub use pool::Pool;

use crate::error::Result;
use operator::Node;
use reader::Reader;

/// Runs a plan. The work happens while the stream is read, on the context's pool and the reader's own thread.
pub fn run(plan: &Plan, context: &Arc<QueryContext>) -> Result<RowStream> {
    RowStream::new(operators::compile(plan, context)?, context)
}

/// The values of an expression over rows.
pub fn evaluate(expr: &Expr, rows: &RecordBatch, context: &Arc<QueryContext>) -> Result<ArrayRef> {
    expression::Expression::new(expr, context)?.array(&batch::Batch::from_record(rows), context)
}

/// Rows of a query, computed as they are asked for. Dropping it ends the query.
pub struct RowStream {
    node: Arc<Node>,
    context: Arc<QueryContext>,
    schema: SchemaRef,
    reader: Option<Reader>,
    finished: bool,
}

impl RowStream {
    fn new(node: Node, context: &Arc<QueryContext>) -> Result<RowStream> {
        let schema = batch::schema_of(&node.columns);
        Ok(RowStream { node: Arc::new(node), context: context.clone(), schema, reader: None, finished: false })
    }

    /// What the rows look like.
    pub fn columns(&self) -> &[OutputColumn] {
        &self.node.columns
    }

    /// The same as an Arrow schema, SQL types in the fields' metadata.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows, never an empty batch; `None` at the end. Blocks until there are some.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.finished {
            return Ok(None);
        }
        let result = self.advance();
        if !matches!(result, Ok(Some(_))) {
            self.finished = true;
            self.reader = None;
        }
        result
    }

    /// Hands on all rows, in pieces of a little over `bytes` at most, of one batch or more each.
    pub(crate) fn in_pieces(
        mut self,
        bytes: usize,
        mut each: impl FnMut(Vec<RecordBatch>) -> Result<()>,
    ) -> Result<()> {
        let (mut piece, mut size) = (Vec::new(), 0);
        while let Some(rows) = self.next()? {
            size += batch::Batch::from_record(&rows).bytes();
            piece.push(rows);
            if size > bytes {
                size = 0;
                each(std::mem::take(&mut piece))?;
            }
        }
        if piece.is_empty() { Ok(()) } else { each(piece) }
    }

    fn advance(&mut self) -> Result<Option<RecordBatch>> {
        if self.reader.is_none() {
            self.context.cancel.check()?;
            let source = self.node.open(&self.context)?;
            self.reader = Some(Reader::new(&self.context, source));
        }
        let batch = match &mut self.reader {
            Some(reader) => reader.next()?,
            None => None,
        };
        batch.map(|batch| batch.into_record(&self.schema)).transpose()
    }

    /// All rows that are left.
    pub fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next()? {
            batches.push(batch);
        }
        Ok(batches)
    }

    /// The most bytes the query held at once.
    pub fn memory_peak(&self) -> usize {
        self.context.memory.peak()
    }
}
