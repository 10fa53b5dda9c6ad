//! Project: one computed column for each expression.

use std::sync::Arc;

use weir_sql::plan::Expr;

use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::{Expression, arrays};
use crate::exec::operator::{Description, Metrics, Node, Operator};
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

impl Operator for Project {
    fn describe(&self) -> Description {
        Description::new("Projection")
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        self.exprs.iter().for_each(|e| e.prepare(context));
        let input = self.input.open(context)?;
        let (exprs, context) = (self.exprs.clone(), context.clone());
        Ok(Arc::new(Mapped::new(input, move |batch, emit| {
            emit(Batch::new(arrays(&exprs, &batch, &context)?, batch.rows))
        })))
    }
}
