//! Table functions: `generate_series`, `read_parquet` and the like, read batch after batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::Int64Array;
use parking_lot::Mutex;
use weir_sql::Value;
use weir_sql::catalog::FunctionId;
use weir_sql::plan::{Expr, OutputColumn};
use weir_storage::Prune;

use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::{QueryContext, TableCall, TableOverload, TableRows};
use crate::exec::expression::Expression;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Source, Task};
use crate::functions::{Implementation, registry};

pub(crate) struct TableFunction {
    overload: &'static TableOverload,
    name: String,
    args: Vec<Expression>,
    named: Vec<(String, Value)>,
    ordinality: bool,
    columns: Vec<OutputColumn>,
    prune: Vec<Prune>,
}

/// The table function behind an id.
pub(crate) fn overload(function: FunctionId, name: &str) -> Result<&'static TableOverload> {
    match registry().implementation(function) {
        Implementation::Table(overload) => Ok(overload),
        _ => Err(Error::internal(format!("{name} is not a table function"))),
    }
}

impl TableFunction {
    pub(crate) fn new(
        function: FunctionId,
        name: &str,
        args: &[Expr],
        named: &[(String, Value)],
        ordinality: bool,
        columns: &[OutputColumn],
        context: &Arc<QueryContext>,
    ) -> Result<TableFunction> {
        Ok(TableFunction {
            overload: overload(function, name)?,
            name: name.to_string(),
            args: Expression::list(args, context)?,
            named: named.to_vec(),
            ordinality,
            columns: columns[..columns.len() - usize::from(ordinality)].to_vec(),
            prune: Vec::new(),
        })
    }

    /// Rows that do not fulfil these conditions are of no use.
    pub(crate) fn with_prune(mut self, prune: Vec<Prune>) -> TableFunction {
        self.prune = prune;
        self
    }
}

impl Operator for TableFunction {
    fn describe(&self) -> Description {
        Description::new(format!("Function Scan on {}", self.name))
    }

    fn children(&self) -> Vec<&Node> {
        Vec::new()
    }

    fn open(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let one = Batch::new(Vec::new(), 1);
        let mut args = Vec::with_capacity(self.args.len());
        for arg in &self.args {
            arg.prepare(context);
            args.push(Value { ty: arg.ty.clone(), array: arg.array(&one, context)? });
        }
        let call = TableCall { context, args: &args, named: &self.named, columns: &self.columns, prune: &self.prune };
        let rows = (self.overload.open)(&call)?;
        Ok(Arc::new(Rows { rows: Mutex::new(Some(rows)), ordinality: self.ordinality.then(|| AtomicI64::new(1)) }))
    }
}

struct Rows {
    rows: Mutex<Option<Box<dyn TableRows>>>,
    ordinality: Option<AtomicI64>,
}

impl Source for Rows {
    fn claim(&self) -> Result<Option<Task>> {
        let mut rows = self.rows.lock();
        let Some(reader) = rows.as_mut() else { return Ok(None) };
        let Some(next) = &self.ordinality else {
            let Some(task) = reader.claim()? else {
                *rows = None;
                return Ok(None);
            };
            return Ok(Some(Box::new(move |emit| {
                task(&mut |batch| if batch.num_rows() > 0 { emit(Batch::from_record(&batch)) } else { Ok(()) })
            })));
        };
        // Rows are numbered in order, so that each batch has to be known before the next.
        let Some(batch) = reader.next()? else {
            *rows = None;
            return Ok(None);
        };
        let mut batch = Batch::from_record(&batch);
        let first = next.fetch_add(batch.rows as i64, Ordering::Relaxed);
        batch.columns.push(Arc::new(Int64Array::from_iter_values(first..first + batch.rows as i64)));
        Ok(Some(Box::new(move |emit| if batch.rows > 0 { emit(batch) } else { Ok(()) })))
    }
}
