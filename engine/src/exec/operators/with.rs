//! WITH: queries whose rows are kept, since more than one place of the query reads them.
//!
//! They run when the query opens, in order, before it does: what runs on threads of the pool never waits for one. Only what must be known to
//! compile the query (a LIMIT) runs one earlier. Rows are kept until the query ends, on disk if they do not fit.

use std::sync::{Arc, OnceLock};

use weir_sql::catalog::Relation;
use weir_sql::plan::{Cte, Plan};

use super::compile;
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::{QueryContext, RelationRows, Relations};
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Mapped, Source};
use crate::exec::spool::Spool;

pub(crate) struct With {
    /// Outermost last: each sees those before it.
    ctes: Vec<Arc<Kept>>,
    body: Node,
}

/// A query and, once it has run, its rows.
struct Kept {
    id: usize,
    node: Node,
    rows: OnceLock<Result<Arc<Spool>>>,
}

impl Kept {
    fn rows(&self, context: &Arc<QueryContext>) -> Result<Arc<Spool>> {
        let run = || Spool::fill(context, self.node.open(context)?.as_ref(), "CTE", &self.node.metrics);
        self.rows.get_or_init(run).clone()
    }
}

impl With {
    pub(crate) fn new(ctes: &[Cte], body: &Plan, context: &Arc<QueryContext>) -> Result<With> {
        let mut kept = Vec::new();
        for cte in ctes {
            let input = compile(&cte.plan, &inside(&kept, context))?;
            let node = Node::new(Named { name: cte.name.clone(), input }, cte.plan.columns());
            kept.push(Arc::new(Kept { id: cte.id, node, rows: OnceLock::new() }));
        }
        Ok(With { body: compile(body, &inside(&kept, context))?, ctes: kept })
    }
}

/// A context in which these can be scanned.
fn inside(ctes: &[Arc<Kept>], context: &Arc<QueryContext>) -> Arc<QueryContext> {
    let mut context = context.clone();
    for cte in ctes {
        let relations = Inside { cte: cte.clone(), outside: context.clone() };
        context = Arc::new(context.with_relations(Arc::new(relations)));
    }
    context
}

impl Operator for With {
    fn describe(&self) -> Description {
        Description::new("With")
    }

    fn children(&self) -> Vec<&Node> {
        self.ctes.iter().map(|cte| &cte.node).chain([&self.body]).collect()
    }

    fn open(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        for (nth, cte) in self.ctes.iter().enumerate() {
            cte.rows(&inside(&self.ctes[..nth], context))?;
        }
        self.body.open(&inside(&self.ctes, context))
    }
}

/// The query of a name, for EXPLAIN.
struct Named {
    name: String,
    input: Node,
}

impl Operator for Named {
    fn describe(&self) -> Description {
        Description::new(format!("CTE {}", self.name))
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        self.input.open(context)
    }
}

/// The relations outside, and a query that WITH names.
struct Inside {
    cte: Arc<Kept>,
    outside: Arc<QueryContext>,
}

impl Relations for Inside {
    fn rows(&self, relation: &Relation) -> Result<RelationRows> {
        self.outside.relations.rows(relation)
    }

    fn working(&self, id: usize) -> Option<Arc<Spool>> {
        self.outside.relations.working(id)
    }

    fn shared(&self, id: usize) -> Option<Result<Arc<Spool>>> {
        if id == self.cte.id { Some(self.cte.rows(&self.outside)) } else { self.outside.relations.shared(id) }
    }
}

/// Rows of such a query, where they are read.
pub(crate) struct CteScan {
    id: usize,
    name: String,
    projection: Arc<[usize]>,
}

impl CteScan {
    pub(crate) fn new(id: usize, name: &str, projection: &[usize]) -> CteScan {
        CteScan { id, name: name.to_string(), projection: projection.into() }
    }
}

impl Operator for CteScan {
    fn describe(&self) -> Description {
        Description::new(format!("CTE Scan on {}", self.name))
    }

    fn children(&self) -> Vec<&Node> {
        Vec::new()
    }

    fn open(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let rows = context.relations.shared(self.id);
        let rows = rows.ok_or_else(|| Error::internal("a scan of a query outside of its WITH"))??;
        let projection = self.projection.clone();
        Ok(Arc::new(Mapped::new(rows.read(), move |batch, emit| {
            emit(Batch::new(projection.iter().map(|&column| batch.columns[column].clone()).collect(), batch.rows))
        })))
    }
}
