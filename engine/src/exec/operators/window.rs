//! Window functions that number rows: the input comes sorted, so that a row's numbers follow from the row before.
//!
//! A row begins a partition, or a group of peers, where the bytes of its key differ from the row's before it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use weir_sql::catalog::FunctionId;
use weir_sql::plan::{Expr, SortKey};

use super::limit::Held;
use super::sort::SortKeys;
use crate::error::{Error, Result};
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Reader, Source};
use crate::functions::window::Ranking;
use crate::functions::{Implementation, registry};

pub(crate) struct Window {
    input: Node,
    partition_by: SortKeys,
    order_by: SortKeys,
    rankings: Vec<Ranking>,
    text: String,
}

impl Window {
    pub(crate) fn new(
        input: Node,
        partition_by: &[Expr],
        order_by: &[SortKey],
        calls: &[(FunctionId, String)],
        context: &Arc<QueryContext>,
    ) -> Result<Window> {
        let partition: Vec<SortKey> = partition_by
            .iter()
            .map(|expr| SortKey { expr: expr.clone(), descending: false, nulls_first: false })
            .collect();
        let rankings = calls
            .iter()
            .map(|(function, name)| match registry().implementation(*function) {
                Implementation::Window(ranking) => Ok(*ranking),
                _ => Err(Error::internal(format!("{name} is not a window function"))),
            })
            .collect::<Result<Vec<_>>>()?;
        let text = explain::expressions(partition_by, &explain::names(&input.columns));
        Ok(Window {
            input,
            partition_by: SortKeys::new(&partition, context)?,
            order_by: SortKeys::new(order_by, context)?,
            rankings,
            text,
        })
    }
}

/// Where the row before stood.
#[derive(Default)]
struct Place {
    started: bool,
    partition: Vec<u8>,
    peers: Vec<u8>,
    row: i64,
    rank: i64,
    dense: i64,
}

impl Place {
    fn advance(&mut self, partition: &[u8], peers: &[u8]) {
        if !self.started || self.partition != partition {
            (self.row, self.rank, self.dense) = (0, 0, 0);
        }
        self.row += 1;
        if self.row == 1 || self.peers != peers {
            self.rank = self.row;
            self.dense += 1;
        }
        self.started = true;
        partition.clone_into(&mut self.partition);
        peers.clone_into(&mut self.peers);
    }

    fn number(&self, ranking: Ranking) -> i64 {
        match ranking {
            Ranking::RowNumber => self.row,
            Ranking::Rank => self.rank,
            Ranking::DenseRank => self.dense,
        }
    }
}

impl Operator for Window {
    fn describe(&self) -> Description {
        match self.text.is_empty() {
            true => Description::new("WindowAgg"),
            false => Description::new("WindowAgg").with("Partition By", self.text.clone()),
        }
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        self.partition_by.prepare(context);
        self.order_by.prepare(context);
        let mut held = context.memory.reservation("WindowAgg");
        let mut reader = Reader::new(context, self.input.open(context)?);
        let (mut place, mut batches) = (Place::default(), Vec::new());
        while let Some(mut batch) = reader.next()? {
            let partitions = self.partition_by.encode(&batch, context)?;
            let peers = self.order_by.encode(&batch, context)?;
            let mut numbers: Vec<Vec<i64>> = vec![Vec::with_capacity(batch.rows); self.rankings.len()];
            // Without keys all rows are equal, and encode to no rows at all.
            let key = |rows: &arrow::row::Rows, row: usize| match row < rows.num_rows() {
                true => rows.row(row).as_ref().to_vec(),
                false => Vec::new(),
            };
            for row in 0..batch.rows {
                place.advance(&key(&partitions, row), &key(&peers, row));
                for (numbers, ranking) in numbers.iter_mut().zip(&self.rankings) {
                    numbers.push(place.number(*ranking));
                }
            }
            batch.columns.extend(numbers.into_iter().map(|n| Arc::new(Int64Array::from(n)) as ArrayRef));
            held.grow(batch.bytes())?;
            batches.push(batch);
        }
        metrics.held(&held);
        Ok(Arc::new(Held::new(batches, vec![held])))
    }

    fn estimate(&self) -> f64 {
        self.input.operator.estimate()
    }
}
