//! WITH RECURSIVE: the base, then the step over the rows of the round before, until a round gives none.
//!
//! Rounds run as they are read, so that a LIMIT above ends a recursion that has no end of its own.

use std::sync::Arc;

use parking_lot::Mutex;
use weir_sql::catalog::Relation;
use weir_sql::plan::Plan;

use super::compile;
use super::seen::Seen;
use crate::error::{Error, Result};
use crate::exec::context::{QueryContext, RelationRows, Relations};
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Source, Task};
use crate::exec::spool::Spool;

/// Whose memory it is.
const OWNER: &str = "Recursive Union";

pub(crate) struct Recursive {
    id: usize,
    base: Node,
    step: Arc<Node>,
    all: bool,
}

impl Recursive {
    pub(crate) fn new(
        id: usize,
        base: &Plan,
        step: &Plan,
        all: bool,
        context: &Arc<QueryContext>,
    ) -> Result<Recursive> {
        Ok(Recursive { id, base: compile(base, context)?, step: Arc::new(compile(step, context)?), all })
    }
}

impl Operator for Recursive {
    fn describe(&self) -> Description {
        Description::new("Recursive Union")
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.base, &self.step]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let rows = Spool::fill(context, self.base.open(context)?.as_ref(), OWNER, metrics)?;
        let mut seen = if self.all { None } else { Some(Seen::new(&self.base.types(), context)?) };
        let round = fresh(&mut seen, rows, context)?;
        let state = State { seen, round, next: 0 };
        Ok(Arc::new(Rounds {
            id: self.id,
            step: self.step.clone(),
            context: context.clone(),
            state: Mutex::new(state),
        }))
    }
}

struct State {
    /// Rows that were put out, where duplicates are dropped.
    seen: Option<Seen>,
    round: Arc<Spool>,
    next: usize,
}

/// A round's rows, without those that are known.
fn fresh(seen: &mut Option<Seen>, rows: Arc<Spool>, context: &Arc<QueryContext>) -> Result<Arc<Spool>> {
    match seen {
        Some(seen) => seen.fresh(&rows, context),
        None => Ok(rows),
    }
}

struct Rounds {
    id: usize,
    step: Arc<Node>,
    context: Arc<QueryContext>,
    state: Mutex<State>,
}

impl Source for Rounds {
    fn claim(&self) -> Result<Option<Task>> {
        let mut state = self.state.lock();
        if state.next == state.round.sizes().len() {
            if state.next == 0 {
                return Ok(None);
            }
            self.context.cancel.check()?;
            let rows =
                std::mem::replace(&mut state.round, Spool::empty(&self.context, OWNER).finish(&Metrics::default()));
            state.next = 0;
            let tables = WorkingTables { id: self.id, rows, others: self.context.relations.clone() };
            let context = Arc::new(self.context.with_relations(Arc::new(tables)));
            let rows = Spool::fill(&context, self.step.open(&context)?.as_ref(), OWNER, &Metrics::default())?;
            state.round = fresh(&mut state.seen, rows, &context)?;
        }
        if state.next == state.round.sizes().len() {
            return Ok(None);
        }
        let (round, i) = (state.round.clone(), state.next);
        state.next += 1;
        Ok(Some(Box::new(move |emit| emit(round.batch(i)?))))
    }
}

/// The relations around a recursion, and the rows of its last round.
struct WorkingTables {
    id: usize,
    rows: Arc<Spool>,
    others: Arc<dyn Relations>,
}

impl Relations for WorkingTables {
    fn rows(&self, relation: &Relation) -> Result<RelationRows> {
        self.others.rows(relation)
    }

    fn working(&self, id: usize) -> Option<Arc<Spool>> {
        if id == self.id { Some(self.rows.clone()) } else { self.others.working(id) }
    }

    fn shared(&self, id: usize) -> Option<Result<Arc<Spool>>> {
        self.others.shared(id)
    }
}

/// The rows of the round before.
pub(crate) struct WorkingTable {
    id: usize,
}

impl WorkingTable {
    pub(crate) fn new(id: usize) -> WorkingTable {
        WorkingTable { id }
    }
}

impl Operator for WorkingTable {
    fn describe(&self) -> Description {
        Description::new("WorkTable Scan")
    }

    fn children(&self) -> Vec<&Node> {
        Vec::new()
    }

    fn open(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let rows = context.relations.working(self.id);
        let rows = rows.ok_or_else(|| Error::internal("a working table outside of its recursion"))?;
        Ok(rows.read())
    }
}
