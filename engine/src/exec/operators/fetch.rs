//! Columns of few rows, read by the rows' places: of a top-n only what its order asks for is read of all rows, and the rest of those that won.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use weir_sql::plan::{OutputColumn, Scan, SortKey};
use weir_sql::rules::has_subquery;
use weir_sql::{Type, walk};
use weir_storage::{Snapshot, TableId};

use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::{QueryContext, RelationRows};
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Mapped, Source};

/// A scan cut in two.
pub(super) struct Late {
    /// What is read of all rows: what the order asks for, and last the places.
    pub(super) scan: Scan,
    /// The order of these.
    pub(super) keys: Vec<SortKey>,
    rest: Arc<Rest>,
}

/// What is read of few.
struct Rest {
    snapshot: Snapshot,
    table: TableId,
    /// The table's columns.
    columns: Vec<usize>,
    /// Where each column of the whole scan is found: among those that were read first, or behind them among the rest.
    order: Vec<usize>,
}

impl Late {
    /// `None` where there is nothing to be read late, or not by places.
    pub(super) fn new(scan: &Scan, keys: &[SortKey], context: &QueryContext) -> Result<Option<Late>> {
        let mut early: Vec<usize> = keys.iter().flat_map(|key| walk::columns_read(&key.expr)).collect();
        early.sort_unstable();
        early.dedup();
        if early.len() == scan.projection.len() || keys.iter().any(|key| has_subquery(&key.expr)) {
            return Ok(None);
        }
        let RelationRows::Stored { snapshot, table, shown, .. } = context.relations.rows(&scan.relation)? else {
            return Ok(None);
        };
        let place = scan.relation.columns.len();
        if !shown.is_empty() || scan.projection.contains(&place) {
            return Ok(None);
        }
        let (mut columns, mut order) = (Vec::new(), Vec::new());
        for (at, &column) in scan.projection.iter().enumerate() {
            order.push(early.binary_search(&at).unwrap_or_else(|_| {
                columns.push(column);
                early.len() + columns.len() - 1
            }));
        }
        let mut keys = keys.to_vec();
        keys.iter_mut().for_each(|key| walk::rename_columns(&mut key.expr, &|column| order[column]));
        let with_place = |of: &dyn Fn(usize) -> usize| early.iter().map(|&at| of(at)).chain([place]).collect();
        let mut shown: Vec<OutputColumn> = early.iter().map(|&at| scan.columns[at].clone()).collect();
        shown.push(OutputColumn::computed("place", Type::Int8));
        let scan = Scan { projection: with_place(&|at| scan.projection[at]), columns: shown, ..scan.clone() };
        Ok(Some(Late { scan, keys, rest: Arc::new(Rest { snapshot, table, columns, order }) }))
    }

    /// The whole of the rows that are left.
    pub(super) fn fetch(self, input: Node, columns: &[OutputColumn]) -> Node {
        let names = self.rest.order.iter().zip(columns).filter(|(at, _)| **at + 1 >= input.columns.len());
        let text = names.map(|(_, column)| column.name.as_str()).collect::<Vec<_>>().join(", ");
        Node::new(Fetch { input, rest: self.rest, text }, columns)
    }
}

struct Fetch {
    input: Node,
    rest: Arc<Rest>,
    text: String,
}

impl Rest {
    fn add(&self, mut batch: Batch, context: &QueryContext) -> Result<Batch> {
        let places = batch.columns.pop();
        let places = places.iter().flat_map(|places| places.as_primitive::<Int64Type>().values());
        let places: Vec<u64> = places.map(|&place| place as u64).collect();
        context.cancel.check()?;
        let fetched = self.snapshot.take(self.table, &places, &self.columns)?;
        batch.columns.extend_from_slice(fetched.columns());
        let columns = self.order.iter().map(|&at| batch.columns[at].clone()).collect();
        Ok(Batch::new(columns, batch.rows))
    }
}

impl Operator for Fetch {
    fn describe(&self) -> Description {
        Description::new("Fetch").with("Columns", self.text.clone())
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let input = self.input.open(context)?;
        let (rest, context) = (self.rest.clone(), context.clone());
        Ok(Arc::new(Mapped::new(input, move |batch, emit| {
            let whole = rest.add(batch, &context)?;
            let mut held = context.memory.reservation("Fetch");
            held.resize(whole.bytes())?;
            emit(whole)
        })))
    }
}
