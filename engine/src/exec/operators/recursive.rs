//! WITH RECURSIVE: the base, then the step over the rows of the round before, until a round gives none.
//!
//! Rounds run as they are read, so that a LIMIT above ends a recursion that has no end of its own.

use std::sync::Arc;

use arrow::array::UInt32Array;
use parking_lot::Mutex;
use weir_sql::Type;
use weir_sql::catalog::Relation;
use weir_sql::plan::Plan;

use super::compile;
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::{QueryContext, RelationRows, Relations};
use crate::exec::groups::GroupTable;
use crate::exec::keys;
use crate::exec::memory::Reservation;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Batches, Source, Task, collect};
use crate::exec::spool::Spool;

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

    fn open(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let types = self.base.types();
        let (batches, held) = collect(context, self.base.open(context)?, "Recursive Union")?;
        let mut state = State {
            seen: if self.all { None } else { Some(GroupTable::new(&types)?) },
            types,
            held,
            round: Vec::new(),
            next: 0,
        };
        state.begin(batches)?;
        Ok(Arc::new(Rounds {
            id: self.id,
            step: self.step.clone(),
            context: context.clone(),
            state: Mutex::new(state),
        }))
    }
}

struct State {
    types: Vec<Type>,
    /// Rows that were put out, where duplicates are dropped.
    seen: Option<GroupTable>,
    round: Vec<Batch>,
    next: usize,
    held: Reservation,
}

impl State {
    /// Takes a round's rows, without those that are known.
    fn begin(&mut self, batches: Vec<Batch>) -> Result<()> {
        self.next = 0;
        self.round = batches;
        let Some(seen) = &mut self.seen else { return Ok(()) };
        let mut groups = Vec::new();
        let mut fresh = Vec::new();
        for batch in self.round.drain(..) {
            let mut next = seen.len() as u32;
            seen.intern(&keys::normalize_all(&self.types, &batch.columns)?, batch.rows, &mut groups)?;
            let mut rows = Vec::new();
            for (row, &group) in groups.iter().enumerate() {
                if group == next {
                    next += 1;
                    rows.push(row as u32);
                }
            }
            if !rows.is_empty() {
                fresh.push(batch.take(&UInt32Array::from(rows))?);
            }
        }
        self.round = fresh;
        self.held.resize(seen.memory() + self.round.iter().map(Batch::bytes).sum::<usize>())
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
        if state.next == state.round.len() {
            if state.round.is_empty() {
                return Ok(None);
            }
            self.context.cancel.check()?;
            let tables = WorkingTables {
                id: self.id,
                rows: Arc::new(std::mem::take(&mut state.round)),
                others: self.context.relations.clone(),
            };
            let context = Arc::new(self.context.with_relations(Arc::new(tables)));
            let (batches, _held) = collect(&context, self.step.open(&context)?, "Recursive Union")?;
            state.begin(batches)?;
        }
        let Some(batch) = state.round.get(state.next).cloned() else { return Ok(None) };
        state.next += 1;
        Ok(Some(Box::new(move |emit| emit(batch))))
    }
}

/// The relations around a recursion, and the rows of its last round.
struct WorkingTables {
    id: usize,
    rows: Arc<Vec<Batch>>,
    others: Arc<dyn Relations>,
}

impl Relations for WorkingTables {
    fn rows(&self, relation: &Relation) -> Result<RelationRows> {
        self.others.rows(relation)
    }

    fn working(&self, id: usize) -> Option<Arc<Vec<Batch>>> {
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
        Ok(Arc::new(Batches::shared(rows)))
    }
}
