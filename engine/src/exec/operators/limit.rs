//! LIMIT and OFFSET: a run of rows, in the input's order. The input is read no further than that.

use std::sync::Arc;

use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::memory::Reservation;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Batches, Source, Task};
use crate::exec::reader::Reader;
use crate::exec::spool::Spool;

pub(crate) struct Limit {
    input: Node,
    limit: Option<usize>,
    offset: usize,
}

impl Limit {
    pub(crate) fn new(input: Node, limit: Option<usize>, offset: usize) -> Limit {
        Limit { input, limit, offset }
    }
}

impl Operator for Limit {
    fn describe(&self) -> Description {
        Description::new("Limit")
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let mut rows = Spool::empty(context, "Limit");
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut skip = self.offset;
        if left > 0 {
            let mut reader = Reader::new(context, self.input.open(context)?);
            while let Some(batch) = reader.next()? {
                if skip >= batch.rows {
                    skip -= batch.rows;
                    continue;
                }
                let batch = batch.slice(skip, (batch.rows - skip).min(left));
                skip = 0;
                left -= batch.rows;
                rows.push(batch)?;
                if left == 0 {
                    break;
                }
            }
        }
        Ok(rows.finish(metrics).read())
    }
}

/// Batches, and the memory they hold until they are dropped.
pub(crate) struct Held {
    batches: Batches,
    _held: Vec<Reservation>,
}

impl Held {
    pub(crate) fn new(batches: Vec<Batch>, held: Vec<Reservation>) -> Held {
        Held { batches: Batches::new(batches), _held: held }
    }
}

impl Source for Held {
    fn claim(&self) -> Result<Option<Task>> {
        self.batches.claim()
    }

    fn morsels(&self) -> Option<usize> {
        self.batches.morsels()
    }
}
