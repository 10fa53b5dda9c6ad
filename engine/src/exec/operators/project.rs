//! Project: one computed column for each expression.

use std::sync::Arc;

use weir_sql::plan::Expr;

use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::{Expression, arrays};
use crate::exec::operator::{Description, Metrics, Node, Opened, Operator};
use crate::exec::pipeline::{Mapped, Source};

pub(crate) struct Project {
    input: Node,
    exprs: Arc<Vec<Expression>>,
}

impl Project {
    pub(crate) fn new(input: Node, exprs: &[Expr], context: &Arc<QueryContext>) -> Result<Project> {
        Ok(Project { input, exprs: Arc::new(Expression::list(exprs, context)?) })
    }
}

impl Project {
    fn over(&self, input: Opened, context: &Arc<QueryContext>) -> Arc<dyn Source> {
        self.exprs.iter().for_each(|e| e.prepare(context));
        let (exprs, context) = (self.exprs.clone(), context.clone());
        Arc::new(Mapped::new(input.source, move |batch, emit| {
            let mut columns = arrays(&exprs, &batch, &context)?;
            if input.is_placed {
                columns.extend(batch.columns.last().cloned());
            }
            emit(Batch::new(columns, batch.rows))
        }))
    }
}

impl Operator for Project {
    fn describe(&self) -> Description {
        Description::new("Projection")
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        Ok(self.over(Opened { source: self.input.open(context)?, is_placed: false }, context))
    }

    fn open_unordered(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Opened> {
        let input = self.input.open_unordered(context)?;
        let is_placed = input.is_placed;
        Ok(Opened { source: self.over(input, context), is_placed })
    }

    fn want_first(&mut self, rows: usize) {
        self.input.operator.want_first(rows);
    }
}
