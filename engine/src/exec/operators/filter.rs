//! Filter: the rows for which a predicate is true.

use std::sync::Arc;

use weir_sql::plan::{Expr, ExprKind};

use crate::error::Result;
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::expression::{Expression, select_all};
use crate::exec::operator::{Description, Metrics, Node, Opened, Operator};
use crate::exec::pipeline::{Mapped, Source};

pub(crate) struct Filter {
    input: Node,
    predicates: Arc<Vec<Expression>>,
    text: String,
}

impl Filter {
    pub(crate) fn new(input: Node, predicate: &Expr, context: &Arc<QueryContext>) -> Result<Filter> {
        let conjuncts = match &predicate.kind {
            ExprKind::And(parts) => parts.as_slice(),
            _ => std::slice::from_ref(predicate),
        };
        let predicates = Arc::new(Expression::list(conjuncts, context)?);
        let text = explain::expression(predicate, &explain::names(&input.columns));
        Ok(Filter { input, predicates, text })
    }

    fn over(&self, input: Arc<dyn Source>, context: &Arc<QueryContext>) -> Arc<dyn Source> {
        let (predicates, context) = (self.predicates.clone(), context.clone());
        Arc::new(Mapped::new(input, move |batch, emit| match select_all(predicates.iter(), &batch, &context)? {
            None => emit(batch),
            Some(keep) => {
                let batch = batch.filter(&keep)?;
                if batch.rows > 0 { emit(batch) } else { Ok(()) }
            }
        }))
    }
}

impl Operator for Filter {
    fn describe(&self) -> Description {
        Description::new("Filter").with("Filter", self.text.clone())
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        self.predicates.iter().for_each(|p| p.prepare(context));
        Ok(self.over(self.input.open(context)?, context))
    }

    fn open_unordered(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Opened> {
        self.predicates.iter().for_each(|p| p.prepare(context));
        let Opened { source, is_placed } = self.input.open_unordered(context)?;
        Ok(Opened { source: self.over(source, context), is_placed })
    }
}
