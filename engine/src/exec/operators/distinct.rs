//! DISTINCT and DISTINCT ON.
//!
//! DISTINCT is a GROUP BY of all columns. DISTINCT ON keeps the first row of each value of its expressions in the input's order, which the
//! plan has sorted; once these do not fit, all rows go to disk by the hash of the expressions, and each partition is done by itself.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use weir_sql::Type;
use weir_sql::plan::Expr;

use super::aggregate::{Grouping, aggregate};
use super::limit::Held;
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::expression::{Expression, arrays};
use crate::exec::groups::{GroupTable, hash_rows};
use crate::exec::keys;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::partitions::{PARTITIONS, Partitioned, partitions, split_positions};
use crate::exec::pipeline::{Source, parallel};
use crate::exec::reader::Reader;
use crate::exec::runs::{RunWriter, merge, number_keys};
use crate::exec::spill::SpillFile;

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
        let mut seen = Seen::new(on, context)?;
        let mut held = context.memory.reservation("Distinct");
        let (mut batches, mut bytes) = (Vec::new(), 0);
        let mut reader = Reader::new(context, input);
        while let Some(batch) = reader.next()? {
            let first = seen.first(&batch)?;
            if first.is_empty() {
                continue;
            }
            let batch = batch.take(&UInt32Array::from(first))?;
            bytes += batch.bytes();
            batches.push(batch);
            if !held.fits(bytes + seen.table.memory())? {
                drop((seen, held));
                return on_disk(on, batches, reader, context, metrics);
            }
        }
        metrics.held(&held);
        Ok(Arc::new(Held::new(batches, vec![held])))
    }
}

/// The values of the expressions that were seen.
struct Seen<'a> {
    on: &'a [Expression],
    types: Vec<Type>,
    table: GroupTable,
    groups: Vec<u32>,
    context: &'a Arc<QueryContext>,
}

impl<'a> Seen<'a> {
    fn new(on: &'a [Expression], context: &'a Arc<QueryContext>) -> Result<Seen<'a>> {
        let types: Vec<Type> = on.iter().map(|e| e.ty.clone()).collect();
        Ok(Seen { on, table: GroupTable::new(&types)?, types, groups: Vec::new(), context })
    }

    fn keys(&self, batch: &Batch) -> Result<Vec<ArrayRef>> {
        keys::normalize_all(&self.types, &arrays(self.on, batch, self.context)?)
    }

    /// The rows of a batch that are the first with their values.
    fn first(&mut self, batch: &Batch) -> Result<Vec<u32>> {
        let mut next = self.table.len() as u32;
        self.table.intern(&self.keys(batch)?, batch.rows, &mut self.groups)?;
        let mut first = Vec::new();
        for (row, &group) in self.groups.iter().enumerate() {
            if group == next {
                next += 1;
                first.push(row as u32);
            }
        }
        Ok(first)
    }
}

/// The first rows among those that were kept so far and those that are still to be read.
fn on_disk(
    on: &[Expression],
    kept: Vec<Batch>,
    mut reader: Reader,
    context: &Arc<QueryContext>,
    metrics: &Metrics,
) -> Result<Arc<dyn Source>> {
    let file = SpillFile::create(context)?;
    let partition = |rows: &Batch| -> Result<Vec<usize>> {
        let seen = Seen::new(on, context)?;
        Ok(partitions(hash_rows(&seen.types, &seen.keys(rows)?, rows.rows)?))
    };
    let mut rows = Partitioned::new(PARTITIONS);
    let mut at = 0;
    let mut push = |batch: Batch| {
        at += batch.rows as u64;
        rows.push(at - batch.rows as u64, batch, &file, &partition)
    };
    kept.into_iter().try_for_each(&mut push)?;
    while let Some(batch) = reader.next()? {
        push(batch)?;
    }
    let lists = rows.finish(&file, &partition)?;
    let runs = parallel(context, PARTITIONS, |i| {
        let mut seen = Seen::new(on, context)?;
        let mut held = context.memory.reservation("Distinct");
        let mut writer = RunWriter::new(&file);
        for extent in &lists[i] {
            context.cancel.check()?;
            let (rows, positions) = split_positions(file.read(extent)?)?;
            let first = seen.first(&rows)?;
            held.resize(seen.table.memory())?;
            let keys = number_keys(first.iter().map(|&row| [positions[row as usize]]));
            writer.push(rows.take(&UInt32Array::from(first))?, keys)?;
        }
        writer.finish()
    })?;
    file.note(metrics);
    merge(context, file, runs.into_iter().flatten().collect())
}
