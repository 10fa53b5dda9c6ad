//! VALUES: rows of constant expressions.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::concat;
use weir_sql::plan::{Expr, OutputColumn};

use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::Expression;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Batches, Source};

pub(crate) struct Values {
    rows: Vec<Vec<Expression>>,
    columns: usize,
}

impl Values {
    pub(crate) fn new(rows: &[Vec<Expr>], columns: &[OutputColumn], context: &Arc<QueryContext>) -> Result<Values> {
        let rows = rows.iter().map(|row| Expression::list(row, context)).collect::<Result<_>>()?;
        Ok(Values { rows, columns: columns.len() })
    }
}

impl Operator for Values {
    fn describe(&self) -> Description {
        Description::new(if self.columns == 0 { "Result" } else { "Values Scan" })
    }

    fn children(&self) -> Vec<&Node> {
        Vec::new()
    }

    fn open(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let one = Batch::new(Vec::new(), 1);
        let mut batches = Vec::new();
        for rows in self.rows.chunks(context.batch_rows.max(1)) {
            let mut cells: Vec<Vec<ArrayRef>> = vec![Vec::with_capacity(rows.len()); self.columns];
            for row in rows {
                context.cancel.check()?;
                for (cells, expr) in cells.iter_mut().zip(row) {
                    expr.prepare(context);
                    cells.push(expr.array(&one, context)?);
                }
            }
            let columns = cells
                .iter()
                .map(|cells| concat(&cells.iter().map(|c| c.as_ref()).collect::<Vec<_>>()))
                .collect::<std::result::Result<Vec<_>, _>>()?;
            batches.push(Batch::new(columns, rows.len()));
        }
        Ok(Arc::new(Batches::new(batches)))
    }
}
