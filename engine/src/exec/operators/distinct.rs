//! DISTINCT and DISTINCT ON.
//!
//! DISTINCT is a GROUP BY of all columns. DISTINCT ON keeps the first row of each value of its expressions in the input's order, which the
//! plan has sorted.

use std::sync::Arc;

use arrow::array::UInt32Array;
use weir_sql::Type;
use weir_sql::plan::Expr;

use super::aggregate::{Grouping, aggregate};
use super::limit::Held;
use crate::error::Result;
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::expression::{Expression, arrays};
use crate::exec::groups::GroupTable;
use crate::exec::keys;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Reader, Source};

pub(crate) struct Distinct {
    input: Node,
    how: How,
}

enum How {
    Rows(Arc<Grouping>),
    On(Vec<Expression>, String),
}

impl Distinct {
    pub(crate) fn new(input: Node, on: Option<&[Expr]>, context: &Arc<QueryContext>) -> Result<Distinct> {
        let how = match on {
            None => {
                let columns: Vec<Expr> =
                    input.columns.iter().enumerate().map(|(i, c)| Expr::column(i, c.ty.clone())).collect();
                How::Rows(Arc::new(Grouping::new(&columns, &[], context)?))
            }
            Some(on) => {
                let text = explain::expressions(on, &explain::names(&input.columns));
                How::On(Expression::list(on, context)?, text)
            }
        };
        Ok(Distinct { input, how })
    }
}

impl Operator for Distinct {
    fn describe(&self) -> Description {
        match &self.how {
            How::Rows(_) => Description::new("HashAggregate"),
            How::On(_, text) => Description::new("Unique").with("Distinct On", text.clone()),
        }
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let input = self.input.open(context)?;
        let on = match &self.how {
            How::Rows(grouping) => return aggregate(grouping, input.as_ref(), context, metrics),
            How::On(on, _) => on,
        };
        on.iter().for_each(|e| e.prepare(context));
        let types: Vec<Type> = on.iter().map(|e| e.ty.clone()).collect();
        let mut table = GroupTable::new(&types)?;
        let mut held = context.memory.reservation("Distinct");
        let (mut batches, mut groups, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut reader = Reader::new(context, input);
        while let Some(batch) = reader.next()? {
            let mut next = table.len() as u32;
            let keys = keys::normalize_all(&types, &arrays(on, &batch, context)?)?;
            table.intern(&keys, batch.rows, &mut groups)?;
            let mut first = Vec::new();
            for (row, &group) in groups.iter().enumerate() {
                if group == next {
                    next += 1;
                    first.push(row as u32);
                }
            }
            if !first.is_empty() {
                let batch = batch.take(&UInt32Array::from(first))?;
                bytes += batch.bytes();
                batches.push(batch);
            }
            held.resize(bytes + table.memory())?;
        }
        metrics.held(&held);
        Ok(Arc::new(Held::new(batches, vec![held])))
    }

    fn estimate(&self) -> f64 {
        (self.input.operator.estimate() / 10.0).max(1.0)
    }
}
