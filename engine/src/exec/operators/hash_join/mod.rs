//! Equi-joins by hash, and every outer, semi and anti join.
//!
//! One side is collected and its keys go into a group table; rows of a key lie side by side in one array. The other side streams past:
//! each batch is looked up, pairs are made in runs of a batch, the rest of the condition is evaluated on these. The right side is built, except
//! for a right join, and where the plan says that the left one has fewer rows. A join that puts out built rows by whether they were met (a
//! full join; a left, semi or anti join whose left is built) notes which were, and puts them out at the end. NULL keys meet nothing. Without
//! equalities all rows have the same key.
//!
//! What was built makes filters for the scans of the other side (`runtime_filter`). A side that does not fit is joined on disk (`disk`), with the same rows in the same order.

mod disk;
mod table;

use std::sync::Arc;

use weir_sql::Type;
use weir_sql::plan::{Expr, JoinKind};

use self::disk::{Side, gather};
use self::table::Shared;
use crate::error::Result;
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::expression::Expression;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Batches, Chained, Mapped, Numbered, Source, drain};
use crate::exec::runtime_filter::Slot;
use crate::exec::spool::Spool;

/// What is joined, and how.
pub(crate) struct Sides {
    pub(crate) kind: JoinKind,
    pub(crate) left: Node,
    pub(crate) right: Node,
    /// Whether the left side is built.
    pub(crate) build_left: bool,
}

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
        Sides { kind, left, right, build_left }: Sides,
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
        let (probe_keys, build_keys) = if build_left { (right_keys, left_keys) } else { (left_keys, right_keys) };
        let (mut probe_types, mut build_types) = (left.types(), right.types());
        if build_left {
            std::mem::swap(&mut probe_types, &mut build_types);
        }
        let shared = Shared {
            probe_keys,
            build_keys,
            types,
            filter,
            kind,
            build_left,
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
        if let Some(text) = &self.filter_text {
            description = description.with("Join Filter", text.clone());
        }
        if self.shared.build_left && self.kind != JoinKind::Right {
            description = description.with("Hash Side", "left");
        }
        description
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.left, &self.right]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        self.shared.prepare(context);
        let (probe, build) = if self.shared.build_left { (&self.right, &self.left) } else { (&self.left, &self.right) };
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
        if !self.shared.keeps_built() {
            return Ok(Arc::new(matches));
        }
        let matches = match self.shared.pairs_out() {
            true => Some(Spool::fill(context, &matches, "Hash", metrics)?.read()),
            false => {
                drain(context, &matches, || Ok(()), |(), _, _| Ok(()))?;
                None
            }
        };
        let (kept, size, shared) = (self.shared.kept(&built), context.batch_rows.max(1), self.shared.clone());
        let kept = Numbered::new(kept.len().div_ceil(size), move |i, emit| {
            emit(shared.alone(&kept[i * size..((i + 1) * size).min(kept.len())], &built)?)
        });
        Ok(Arc::new(Chained::new(matches.into_iter().chain([Arc::new(kept) as Arc<dyn Source>]).collect())))
    }
}
