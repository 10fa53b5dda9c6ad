//! UNION, INTERSECT and EXCEPT.
//!
//! UNION ALL chains its inputs; UNION also drops duplicates. INTERSECT and EXCEPT count the right side's rows in a group table and then read the
//! left side in order.

use std::sync::Arc;

use arrow::array::UInt32Array;
use weir_sql::Type;
use weir_sql::plan::{Expr, SetKind};

use super::aggregate::{Grouping, aggregate};
use super::limit::Held;
use crate::error::Result;
use crate::exec::context::QueryContext;
use crate::exec::groups::GroupTable;
use crate::exec::keys;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Chained, Reader, Source};

pub(crate) struct SetOperation {
    kind: SetKind,
    all: bool,
    left: Node,
    right: Node,
}

impl SetOperation {
    pub(crate) fn new(kind: SetKind, all: bool, left: Node, right: Node) -> Result<SetOperation> {
        Ok(SetOperation { kind, all, left, right })
    }
}

impl Operator for SetOperation {
    fn describe(&self) -> Description {
        Description::new(match (self.kind, self.all) {
            (SetKind::Union, true) => "Append",
            (SetKind::Union, false) => "HashAggregate over Append",
            (SetKind::Intersect, true) => "HashSetOp Intersect All",
            (SetKind::Intersect, false) => "HashSetOp Intersect",
            (SetKind::Except, true) => "HashSetOp Except All",
            (SetKind::Except, false) => "HashSetOp Except",
        })
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.left, &self.right]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let types: Vec<Type> = self.left.types();
        if self.kind == SetKind::Union {
            let both = Chained::new(vec![self.left.open(context)?, self.right.open(context)?]);
            if self.all {
                return Ok(Arc::new(both));
            }
            let columns: Vec<Expr> = types.iter().enumerate().map(|(i, ty)| Expr::column(i, ty.clone())).collect();
            return aggregate(&Arc::new(Grouping::new(&columns, &[], context)?), &both, context, metrics);
        }
        let mut held = context.memory.reservation("SetOp");
        let mut table = GroupTable::new(&types)?;
        let (mut counts, mut groups): (Vec<u64>, Vec<u32>) = (Vec::new(), Vec::new());
        let mut reader = Reader::new(context, self.right.open(context)?);
        while let Some(batch) = reader.next()? {
            table.intern(&keys::normalize_all(&types, &batch.columns)?, batch.rows, &mut groups)?;
            counts.resize(table.len(), 0);
            groups.iter().for_each(|&g| counts[g as usize] += 1);
            held.resize(table.memory() + counts.len() * 8)?;
        }
        // Left rows of groups that were seen already, where each shall come once.
        let mut seen = vec![false; counts.len()];
        let (mut batches, mut bytes) = (Vec::new(), 0);
        let mut reader = Reader::new(context, self.left.open(context)?);
        while let Some(batch) = reader.next()? {
            table.intern(&keys::normalize_all(&types, &batch.columns)?, batch.rows, &mut groups)?;
            counts.resize(table.len(), 0);
            seen.resize(table.len(), false);
            let mut keep = Vec::new();
            for (row, &group) in groups.iter().enumerate() {
                let (count, seen) = (&mut counts[group as usize], &mut seen[group as usize]);
                let there = *count > 0;
                let wanted = match (self.kind, self.all) {
                    (SetKind::Intersect, true) => there,
                    (SetKind::Except, true) => !there,
                    (SetKind::Intersect, false) => there && !*seen,
                    _ => !there && !*seen,
                };
                if self.all && there {
                    *count -= 1;
                }
                *seen = true;
                if wanted {
                    keep.push(row as u32);
                }
            }
            if !keep.is_empty() {
                let batch = batch.take(&UInt32Array::from(keep))?;
                bytes += batch.bytes();
                batches.push(batch);
            }
            held.resize(table.memory() + counts.len() * 9 + bytes)?;
        }
        metrics.held(&held);
        Ok(Arc::new(Held::new(batches, vec![held])))
    }

    fn estimate(&self) -> f64 {
        match self.kind {
            SetKind::Union => self.left.operator.estimate() + self.right.operator.estimate(),
            _ => self.left.operator.estimate(),
        }
    }
}
