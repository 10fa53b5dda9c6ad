//! Joins without equalities, and lateral joins.
//!
//! [`NestedLoop`] pairs every left row with every right row, in runs of a batch, so that no pair waits in memory. What does not fit of either side
//! is read from disk. [`Lateral`] runs the
//! right side once for each left row, with the row's values in place of its outer columns.

use std::sync::Arc;

use arrow::array::{BooleanArray, UInt32Array};
use weir_sql::Type;
use weir_sql::plan::{Expr, JoinKind, Plan};

use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::explain;
use crate::exec::expression::{Expression, put_outer};
use crate::exec::keys;
use crate::exec::memory::Reservation;
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Emit, Mapped, Numbered, Source};
use crate::exec::reader::Reader;
use crate::exec::spool::Spool;

pub(crate) struct NestedLoop {
    left: Node,
    right: Node,
    filter: Option<Arc<Expression>>,
    text: Option<String>,
}

impl NestedLoop {
    pub(crate) fn new(
        left: Node,
        right: Node,
        filter: Option<&Expr>,
        context: &Arc<QueryContext>,
    ) -> Result<NestedLoop> {
        let names: Vec<String> =
            explain::names(&left.columns).into_iter().chain(explain::names(&right.columns)).collect();
        let text = filter.map(|f| explain::expression(f, &names));
        let filter = filter.map(|f| Expression::new(f, context)).transpose()?.map(Arc::new);
        Ok(NestedLoop { left, right, filter, text })
    }
}

impl Operator for NestedLoop {
    fn describe(&self) -> Description {
        match &self.text {
            Some(text) => Description::new("Nested Loop").with("Join Filter", text.clone()),
            None => Description::new("Nested Loop"),
        }
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.left, &self.right]
    }

    fn open(&self, context: &Arc<QueryContext>, metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        if let Some(filter) = &self.filter {
            filter.prepare(context);
        }
        let kept = Spool::fill(context, self.right.open(context)?.as_ref(), "Nested Loop", metrics)?;
        let right = match kept.into_memory() {
            Ok((batches, held)) => Right::Memory(Batch::concat(&batches, &self.right.types())?, held),
            Err(kept) => Right::Disk(kept),
        };
        let input = self.left.open(context)?;
        let (filter, own) = (self.filter.clone(), context.clone());
        let piece = match right {
            Right::Memory(right, held) if right.rows <= FEW => {
                return Ok(Arc::new(Mapped::new(input, move |left, emit| {
                    let _ = &held;
                    pairs(&left, &right, filter.as_deref(), &own, emit)
                })));
            }
            Right::Memory(ref right, _) => (MORSEL / right.rows).max(1),
            Right::Disk(_) => 1,
        };
        // A left batch with very many right rows would be a morsel without end: morsels are smaller pieces of the left.
        let lefts = Spool::fill(context, input.as_ref(), "Nested Loop", metrics)?;
        let mut morsels = Vec::new();
        for (i, rows) in lefts.sizes().enumerate() {
            morsels.extend((0..rows).step_by(piece).map(|start| (i, start)));
        }
        Ok(Arc::new(Numbered::new(morsels.len(), move |m, emit| {
            let (i, start) = morsels[m];
            let left = lefts.batch(i)?;
            let left = left.slice(start, piece.min(left.rows - start));
            right.each(|right| pairs(&left, right, filter.as_deref(), &own, emit))
        })))
    }
}

/// The right side.
enum Right {
    /// One batch, and what is reserved for it.
    Memory(Batch, Vec<Reservation>),
    /// Batches, to be read again for each left row.
    Disk(Arc<Spool>),
}

impl Right {
    /// Calls `f` with all rows.
    fn each(&self, mut f: impl FnMut(&Batch) -> Result<()>) -> Result<()> {
        match self {
            Right::Memory(whole, _) => f(whole),
            Right::Disk(kept) => (0..kept.sizes().len()).try_for_each(|i| f(&kept.batch(i)?)),
        }
    }
}

/// Up to this many right rows, the left side streams past them.
const FEW: usize = 32;
/// Pairs of a morsel, where the right side has more.
const MORSEL: usize = 1 << 16;

/// Each left row with each right row, in runs of a batch.
fn pairs(
    left: &Batch,
    right: &Batch,
    filter: Option<&Expression>,
    context: &Arc<QueryContext>,
    emit: Emit<'_>,
) -> Result<()> {
    let size = context.batch_rows.max(1);
    if right.rows == 0 {
        return Ok(());
    }
    // Few right rows: many left rows a run; many right rows: a slice of them beside one left row.
    let per_run = (size / right.rows).max(1);
    for start in (0..left.rows).step_by(per_run) {
        let rows = per_run.min(left.rows - start);
        for from in (0..right.rows).step_by(size) {
            context.cancel.check()?;
            let length = size.min(right.rows - from);
            let lefts = (start..start + rows).flat_map(|row| std::iter::repeat_n(row as u32, length));
            let rights = (0..rows).flat_map(|_| from as u32..(from + length) as u32);
            let lefts = left.take(&UInt32Array::from_iter_values(lefts))?;
            let pairs = lefts.beside(right.take(&UInt32Array::from_iter_values(rights))?);
            let pairs = match filter {
                Some(filter) => pairs.filter(&filter.selects(&pairs, context)?)?,
                None => pairs,
            };
            if pairs.rows > 0 {
                emit(pairs)?;
            }
        }
    }
    Ok(())
}

pub(crate) struct Lateral {
    left: Node,
    shared: Arc<Shared>,
    kind: JoinKind,
}

struct Shared {
    kind: JoinKind,
    right: Plan,
    on: Vec<(Expression, Expression)>,
    filter: Option<Expression>,
    right_types: Vec<Type>,
}

impl Lateral {
    pub(crate) fn new(
        kind: JoinKind,
        left: Node,
        right: &Plan,
        on: &[(Expr, Expr)],
        filter: Option<&Expr>,
        context: &Arc<QueryContext>,
    ) -> Result<Lateral> {
        let on = on
            .iter()
            .map(|(l, r)| Ok((Expression::new(l, context)?, Expression::new(r, context)?)))
            .collect::<Result<_>>()?;
        let filter = filter.map(|f| Expression::new(f, context)).transpose()?;
        let right_types = right.columns().iter().map(|c| c.ty.clone()).collect();
        let shared = Shared { kind, right: right.clone(), on, filter, right_types };
        Ok(Lateral { left, shared: Arc::new(shared), kind })
    }
}

impl Operator for Lateral {
    fn describe(&self) -> Description {
        Description::new(match self.kind {
            JoinKind::Left => "Nested Loop Left Join (lateral)",
            JoinKind::Semi => "Nested Loop Semi Join (lateral)",
            JoinKind::Anti => "Nested Loop Anti Join (lateral)",
            _ => "Nested Loop (lateral)",
        })
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.left]
    }

    fn open(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        let shared = &self.shared;
        shared.on.iter().flat_map(|(l, r)| [l, r]).chain(&shared.filter).for_each(|e| e.prepare(context));
        let input = self.left.open(context)?;
        let (shared, own) = (self.shared.clone(), context.clone());
        Ok(Arc::new(Mapped::new(input, move |batch, emit| shared.apply(&batch, &own, emit))))
    }
}

impl Shared {
    fn apply(&self, left: &Batch, context: &Arc<QueryContext>, emit: Emit<'_>) -> Result<()> {
        let context = &context.without_cache();
        for row in 0..left.rows {
            context.cancel.check()?;
            let one = left.slice(row, 1);
            let mut plan = self.right.clone();
            put_outer(&mut plan, &|column| Some(one.columns[column].clone()));
            let source = super::compile(&plan, context)?.open(context)?;
            let mut reader = Reader::new(context, source);
            let mut matched = false;
            while let Some(right) = reader.next()? {
                let repeated = one.take(&UInt32Array::from(vec![0; right.rows]))?;
                let mut keep: Option<BooleanArray> = None;
                for (l, r) in &self.on {
                    let equal = keys::equal(&l.ty, &l.array(&repeated, context)?, &r.array(&right, context)?)?;
                    keep = Some(match keep {
                        None => equal,
                        Some(keep) => arrow::compute::and_kleene(&keep, &equal)?,
                    });
                }
                let mut pairs = repeated.beside(right);
                if let Some(keep) = keep {
                    pairs = pairs.filter(&arrow::compute::prep_null_mask_filter(&keep))?;
                }
                if let Some(filter) = &self.filter {
                    pairs = pairs.filter(&filter.selects(&pairs, context)?)?;
                }
                matched |= pairs.rows > 0;
                match self.kind {
                    JoinKind::Semi | JoinKind::Anti if matched => break,
                    JoinKind::Semi | JoinKind::Anti => {}
                    _ if pairs.rows > 0 => emit(pairs)?,
                    _ => {}
                }
            }
            match self.kind {
                JoinKind::Semi if matched => emit(one)?,
                JoinKind::Anti if !matched => emit(one)?,
                JoinKind::Left if !matched => emit(one.beside(Batch::nulls(&self.right_types, 1)))?,
                _ => {}
            }
        }
        Ok(())
    }
}
