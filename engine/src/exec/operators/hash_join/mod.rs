//! Equi-joins by hash, and every outer, semi and anti join.
//!
//! One side is collected and its keys go into a group table; rows of a key lie side by side in one array. The other side streams past:
//! each batch is looked up, pairs are made in runs of a batch, the rest of the condition is evaluated on these. The right side is built, except
//! for a right join, which is a left join the other way round. A full join notes which built rows were met and puts out the others at the
//! end. NULL keys meet nothing. Without equalities all rows have the same key.
//!
//! What was built makes filters for the scans of the other side (`runtime_filter`). A side that does not fit is joined on disk (`disk`), with the same rows in the same order.

mod disk;
mod table;

use std::sync::Arc;

use arrow::array::UInt32Array;
use weir_sql::Type;
use weir_sql::plan::{Expr, JoinKind};

use self::disk::{Side, gather};
use self::table::Shared;
use crate::error::Result;
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::expression::Expression;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Batches, Chained, Mapped, Numbered, Source};
use crate::exec::runtime_filter::Slot;
use crate::exec::spool::Spool;

pub(crate) struct HashJoin {
    kind: JoinKind,
    left: Node,
    right: Node,
    shared: Arc<Shared>,
    text: String,
    filter_text: Option<String>,
}

impl HashJoin {
    pub(crate) fn new(
        kind: JoinKind,
        left: Node,
        right: Node,
        on: &[(Expr, Expr)],
        filter: Option<&Expr>,
        wanted: Vec<(usize, Arc<Slot>)>,
        context: &Arc<QueryContext>,
    ) -> Result<HashJoin> {
        let left_keys = Expression::list(on.iter().map(|(l, _)| l), context)?;
        let right_keys = Expression::list(on.iter().map(|(_, r)| r), context)?;
        let types: Vec<Type> = left_keys.iter().map(|k| k.ty.clone()).collect();
        let (left_names, right_names) = (explain::names(&left.columns), explain::names(&right.columns));
        let text = on
            .iter()
            .map(|(l, r)| format!("{} = {}", explain::expression(l, &left_names), explain::expression(r, &right_names)))
            .collect::<Vec<_>>()
            .join(" AND ");
        let both: Vec<String> = left_names.into_iter().chain(right_names).collect();
        let filter_text = filter.map(|f| explain::expression(f, &both));
        let filter = filter.map(|f| Expression::new(f, context)).transpose()?;
        let swapped = kind == JoinKind::Right;
        let (probe_keys, build_keys) = if swapped { (right_keys, left_keys) } else { (left_keys, right_keys) };
        let (mut probe_types, mut build_types) = (left.types(), right.types());
        if swapped {
            std::mem::swap(&mut probe_types, &mut build_types);
        }
        let shared = Shared {
            probe_keys,
            build_keys,
            types,
            filter,
            kind: if swapped { JoinKind::Left } else { kind },
            swapped,
            probe_types,
            build_types,
            wanted: wanted.into_iter().filter(|(_, slot)| slot.is_wanted()).collect(),
        };
        Ok(HashJoin { kind, left, right, shared: Arc::new(shared), text, filter_text })
    }
}

impl Operator for HashJoin {
    fn describe(&self) -> Description {
        let kind = match self.kind {
            JoinKind::Inner => "Hash Join",
            JoinKind::Left => "Hash Left Join",
            JoinKind::Right => "Hash Right Join",
            JoinKind::Full => "Hash Full Join",
            JoinKind::Semi => "Hash Semi Join",
            JoinKind::Anti => "Hash Anti Join",
        };
        let mut description = Description::new(kind);
        if !self.text.is_empty() {
            description = description.with("Hash Cond", self.text.clone());
        }
        match &self.filter_text {
            Some(text) => description.with("Join Filter", text.clone()),
            None => description,
        }
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.left, &self.right]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        self.shared.prepare(context);
        let (probe, build) = if self.shared.swapped { (&self.right, &self.left) } else { (&self.left, &self.right) };
        let built = match gather(&self.shared, build.open(context)?.as_ref(), context, metrics)? {
            Side::Memory(built) => Arc::new(*built),
            Side::Disk(side) => {
                self.shared.fill_filters(None, context)?;
                return side.join(&self.shared, probe.open(context)?.as_ref(), context, metrics);
            }
        };
        if built.is_empty() && matches!(self.kind, JoinKind::Inner | JoinKind::Semi) {
            return Ok(Arc::new(Batches::new(Vec::new())));
        }
        self.shared.fill_filters(Some(&built), context)?;
        let input = probe.open(context)?;
        let (shared, side, own) = (self.shared.clone(), built.clone(), context.clone());
        let matches = Mapped::new(input, move |batch, emit| {
            let mut matched = vec![false; batch.rows];
            shared.probe(&side, &batch, &mut matched, true, &own, &mut |matches| emit(matches.rows))
        });
        if self.kind != JoinKind::Full {
            return Ok(Arc::new(matches));
        }
        let matches = Spool::fill(context, &matches, "Hash", metrics)?.read();
        let (unmet, size, shared) = (built.unmet(), context.batch_rows.max(1), self.shared.clone());
        let unmet = Numbered::new(unmet.len().div_ceil(size), move |i, emit| {
            let rows = &unmet[i * size..((i + 1) * size).min(unmet.len())];
            emit(shared.beside_nulls(&UInt32Array::from(rows.to_vec()), &built)?)
        });
        Ok(Arc::new(Chained::new(vec![matches, Arc::new(unmet)])))
    }
}
