//! Queries as values.
//!
//! A subquery without outer columns runs once, when its operator opens. One with outer columns runs once for each distinct tuple of
//! them that its rows bring: the tuple's values are put into the plan in place of the outer columns. Results of tuples are kept until
//! there are too many. Rows that do not fit are read from disk.

use std::sync::Arc;
use std::sync::OnceLock;

use arrow::array::{Array, ArrayRef, BooleanArray, ListArray, UInt32Array, new_null_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat, take};
use arrow::row::RowConverter;
use hashbrown::HashMap;
use parking_lot::Mutex;
use weir_sql::plan::{Expr, ExprKind, Plan, SubqueryKind};
use weir_sql::{Type, Value, walk};

use super::evaluate::{Compare, quantify};
use super::stored_set::{self, StoredSet};
use super::{Expression, ValueSet};
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::memory::Reservation;
use crate::exec::operator::Metrics;
use crate::exec::operators;
use crate::exec::reader::Reader;
use crate::exec::spool::Spool;
use crate::functions::subquery::several_rows;
use crate::functions::{Datum, Implementation, Kernel, registry};

/// Results of so many outer tuples are kept.
const KEPT: usize = 10_000;
/// Whose memory it is.
const OWNER: &str = "Subquery";
/// About what a value takes in a set besides its own bytes.
const SET_ROW: usize = 48;

/// A compiled subquery.
pub(super) struct Subquery {
    plan: Plan,
    kind: Kind,
    left: Vec<Expression>,
    /// Columns of the row around it that it reads, sorted.
    outer: Vec<usize>,
    types: Vec<Type>,
    once: OnceLock<Result<Arc<Answer>>>,
    kept: Mutex<HashMap<Box<[u8]>, Arc<Answer>>>,
}

enum Kind {
    Scalar,
    Exists,
    Array,
    Any(Vec<Comparison>),
    All(Vec<Comparison>),
}

struct Comparison {
    kernel: Kernel,
    strict: bool,
    types: [Type; 2],
}

/// The rows of one run, in the form its kind asks for.
enum Answer {
    /// One row: the value.
    One(ArrayRef),
    /// All rows of all columns.
    Rows(Arc<Spool>),
    /// Their set, where a look-up answers.
    Set { set: ValueSet, _held: Reservation },
    /// One that does not fit in memory.
    Stored(StoredSet),
}

impl Answer {
    /// Whether it may be kept beside many others.
    fn is_small(&self) -> bool {
        match self {
            Answer::One(_) | Answer::Set { .. } => true,
            Answer::Rows(rows) => !rows.is_on_disk(),
            Answer::Stored(_) => false,
        }
    }
}

impl Subquery {
    pub(super) fn new(
        subquery: &weir_sql::plan::Subquery,
        _ty: &Type,
        context: &Arc<QueryContext>,
    ) -> Result<Subquery> {
        let types: Vec<Type> = subquery.plan.columns().iter().map(|c| c.ty.clone()).collect();
        let comparisons = |left: &[Expr], functions: &[weir_sql::catalog::FunctionId]| {
            let mut list = Vec::new();
            for ((left, function), right) in left.iter().zip(functions).zip(&types) {
                let Implementation::Scalar(overload) = registry().implementation(*function) else {
                    return Err(Error::internal("a comparison is a scalar function"));
                };
                list.push(Comparison {
                    kernel: overload.kernel,
                    strict: overload.strict,
                    types: [left.ty.clone(), right.clone()],
                });
            }
            Ok((list, Expression::list(left, context)?))
        };
        let (kind, left) = match &subquery.kind {
            SubqueryKind::Scalar => (Kind::Scalar, Vec::new()),
            SubqueryKind::Exists => (Kind::Exists, Vec::new()),
            SubqueryKind::Array => (Kind::Array, Vec::new()),
            SubqueryKind::Any { left, functions } => {
                let (list, left) = comparisons(left, functions)?;
                (Kind::Any(list), left)
            }
            SubqueryKind::All { left, functions } => {
                let (list, left) = comparisons(left, functions)?;
                (Kind::All(list), left)
            }
        };
        let mut outer = Vec::new();
        walk::visit_plan(&subquery.plan, 1, &mut |node, depth| match node.kind {
            ExprKind::Outer { depth: out, column } if out == depth => outer.push(column),
            _ => {}
        });
        outer.sort_unstable();
        outer.dedup();
        Ok(Subquery {
            plan: subquery.plan.clone(),
            kind,
            left,
            outer,
            types,
            once: OnceLock::new(),
            kept: Mutex::default(),
        })
    }

    pub(super) fn left(&self) -> &[Expression] {
        &self.left
    }

    /// See [`Expression::prepare`].
    pub(super) fn prepare(&self, context: &Arc<QueryContext>) {
        self.left.iter().for_each(|left| left.prepare(context));
        if self.outer.is_empty() {
            self.once.get_or_init(|| self.run(&self.plan, context).map(Arc::new));
        }
    }

    pub(super) fn evaluate(&self, ty: &Type, batch: &Batch, context: &Arc<QueryContext>) -> Result<Datum> {
        let left = super::arrays(&self.left, batch, context)?;
        if self.outer.is_empty() {
            let answer = self.once.get_or_init(|| self.run(&self.plan, context).map(Arc::new)).clone()?;
            return match (&*answer, left.is_empty()) {
                (Answer::One(value), true) => Ok(Datum::Scalar(Value { ty: ty.clone(), array: value.clone() })),
                _ => Ok(Datum::Array(self.answer_rows(&answer, &left, batch.rows, context)?)),
            };
        }
        if batch.rows == 0 {
            return Ok(Datum::Scalar(Value::null(ty.clone())));
        }
        let keys: Vec<ArrayRef> = self.outer.iter().map(|&c| batch.columns[c].clone()).collect();
        let fields = keys.iter().map(|k| arrow::row::SortField::new(k.data_type().clone())).collect();
        let rows = RowConverter::new(fields)?.convert_columns(&keys)?;
        // Rows of one outer tuple are answered together.
        let encoded: Vec<_> = (0..batch.rows).map(|i| rows.row(i)).collect();
        let mut groups: HashMap<&[u8], Vec<u32>> = HashMap::new();
        let mut order: Vec<&[u8]> = Vec::new();
        for (i, row) in encoded.iter().enumerate() {
            let members = groups.entry(row.as_ref()).or_insert_with(|| {
                order.push(row.as_ref());
                Vec::new()
            });
            members.push(i as u32);
        }
        let mut pieces: Vec<ArrayRef> = Vec::with_capacity(order.len());
        let mut places = vec![0_u32; batch.rows];
        let mut at = 0_u32;
        for key in order {
            context.cancel.check()?;
            let members = &groups[key];
            let answer = self.answer_for(key, &keys, members[0] as usize, context)?;
            let piece = if let (Answer::One(value), true) = (&*answer, left.is_empty()) {
                members.iter().for_each(|&row| places[row as usize] = at);
                at += 1;
                value.clone()
            } else {
                for (i, &row) in members.iter().enumerate() {
                    places[row as usize] = at + i as u32;
                }
                at += members.len() as u32;
                let members = UInt32Array::from(members.clone());
                let left = left.iter().map(|l| take(l, &members, None)).collect::<std::result::Result<Vec<_>, _>>()?;
                self.answer_rows(&answer, &left, members.len(), context)?
            };
            pieces.push(piece);
        }
        let all = concat(&pieces.iter().map(|p| p.as_ref()).collect::<Vec<_>>())?;
        Ok(Datum::Array(take(&all, &UInt32Array::from(places), None)?))
    }

    fn answer_for(
        &self,
        key: &[u8],
        keys: &[ArrayRef],
        row: usize,
        context: &Arc<QueryContext>,
    ) -> Result<Arc<Answer>> {
        if let Some(answer) = self.kept.lock().get(key) {
            return Ok(answer.clone());
        }
        let values: Vec<ArrayRef> = keys.iter().map(|k| k.slice(row, 1)).collect();
        let mut plan = self.plan.clone();
        put_outer(&mut plan, &|column| self.outer.binary_search(&column).ok().map(|i| values[i].clone()));
        let answer = Arc::new(self.run(&plan, &context.without_cache())?);
        let mut kept = self.kept.lock();
        if kept.len() < KEPT && answer.is_small() {
            kept.insert(key.into(), answer.clone());
        }
        Ok(answer)
    }

    fn run(&self, plan: &Plan, context: &Arc<QueryContext>) -> Result<Answer> {
        let mut reader = Reader::new(context, operators::compile(plan, context)?.open(context)?);
        if let Kind::Any(list) | Kind::All(list) = &self.kind {
            return match list.as_slice() {
                [one] if matches!(self.kind, Kind::Any(_)) && is_equality(one) => self.set(reader, context),
                _ => {
                    let mut rows = Spool::empty(context, OWNER);
                    while let Some(batch) = reader.next()? {
                        rows.push(batch)?;
                    }
                    Ok(Answer::Rows(rows.finish(&Metrics::default())))
                }
            };
        }
        let mut held = context.memory.reservation(OWNER);
        let mut batches = Vec::new();
        let mut rows = 0;
        while let Some(batch) = reader.next()? {
            rows += batch.rows;
            held.grow(batch.bytes())?;
            batches.push(batch);
            match self.kind {
                Kind::Exists => break,
                Kind::Scalar if rows > 1 => {
                    return Err(several_rows());
                }
                _ => {}
            }
        }
        Ok(match &self.kind {
            Kind::Exists => Answer::One(Arc::new(BooleanArray::from(vec![rows > 0]))),
            Kind::Scalar => match batches.first() {
                Some(batch) => Answer::One(batch.columns[0].clone()),
                None => Answer::One(new_null_array(&self.types[0].to_arrow(), 1)),
            },
            Kind::Array => {
                let all = Batch::concat(&batches, &self.types)?;
                let element = &self.types[0];
                let offsets = OffsetBuffer::from_lengths([all.rows]);
                let list = ListArray::try_new(element.element_field(), offsets, all.columns[0].clone(), None)?;
                Answer::One(Arc::new(list))
            }
            Kind::Any(_) | Kind::All(_) => return Err(Error::internal("ANY and ALL are over rows")),
        })
    }

    /// The set of all values, in memory if it fits.
    fn set(&self, mut reader: Reader, context: &Arc<QueryContext>) -> Result<Answer> {
        let ty = &self.types[0];
        let mut held = context.memory.reservation(OWNER);
        let mut batches = Vec::new();
        let mut stored = None;
        while let Some(batch) = reader.next()? {
            // The values, and then the set of them.
            let bytes = held.bytes() + 2 * batch.bytes() + batch.rows * SET_ROW;
            batches.push(batch);
            if stored.is_some() || !held.fits(bytes)? {
                let filling = match &mut stored {
                    Some(filling) => filling,
                    None => stored.insert(stored_set::Filling::new(ty, context)?),
                };
                batches.drain(..).try_for_each(|batch| filling.push(&batch.columns[0]))?;
                held.resize(0)?;
            }
        }
        if let Some(stored) = stored {
            return Ok(Answer::Stored(stored.finish(context)?));
        }
        let set = ValueSet::of_column(ty, &Batch::concat(&batches, &self.types)?.columns[0])?;
        drop(batches);
        held.resize(set.memory())?;
        Ok(Answer::Set { set, _held: held })
    }

    fn answer_rows(
        &self,
        answer: &Answer,
        left: &[ArrayRef],
        rows: usize,
        context: &Arc<QueryContext>,
    ) -> Result<ArrayRef> {
        let (list, all) = match &self.kind {
            Kind::Any(list) => (list, false),
            Kind::All(list) => (list, true),
            _ => return Err(Error::internal("only ANY and ALL compare")),
        };
        match answer {
            Answer::One(_) => Err(Error::internal("ANY and ALL are over rows")),
            Answer::Set { set, .. } => Ok(Arc::new(set.contains(&left[0])?)),
            Answer::Stored(set) => Ok(Arc::new(set.contains(&left[0])?)),
            Answer::Rows(right) => {
                let mut result: Vec<Option<bool>> = vec![Some(all); rows];
                for nth in 0..right.sizes().len() {
                    let right = right.batch(nth)?;
                    for i in 0..right.rows {
                        if i % 64 == 0 {
                            context.cancel.check()?;
                        }
                        let outcome = compare_rows(list, left, &right, i, rows, context)?;
                        for (row, so_far) in result.iter_mut().enumerate() {
                            let next = outcome.is_valid(row).then(|| outcome.value(row));
                            *so_far = quantify([*so_far, next].into_iter(), all);
                        }
                    }
                }
                Ok(Arc::new(BooleanArray::from(result)))
            }
        }
    }
}

/// All left rows against the right's `i`-th: all comparisons must be true.
fn compare_rows(
    list: &[Comparison],
    left: &[ArrayRef],
    right: &Batch,
    i: usize,
    rows: usize,
    context: &Arc<QueryContext>,
) -> Result<BooleanArray> {
    let mut result: Option<BooleanArray> = None;
    for ((comparison, left), right) in list.iter().zip(left).zip(&right.columns) {
        let compare =
            Compare { kernel: comparison.kernel, strict: comparison.strict, types: &comparison.types, context };
        let value = Value { ty: comparison.types[1].clone(), array: right.slice(i, 1) };
        let outcome = compare.run(Datum::Array(left.clone()), Datum::Scalar(value), rows)?;
        result = Some(match result {
            None => outcome,
            Some(so_far) => arrow::compute::and_kleene(&so_far, &outcome)?,
        });
    }
    result.ok_or_else(|| Error::internal("a comparison of no columns"))
}

/// Whether a comparison is `=` of one type, which a hash lookup answers.
fn is_equality(comparison: &Comparison) -> bool {
    comparison.types[0] == comparison.types[1]
        && weir_sql::catalog::Functions::overloads(registry(), "=").iter().any(|signature| {
            matches!(registry().implementation(signature.id), Implementation::Scalar(o) if std::ptr::fn_addr_eq(o.kernel, comparison.kernel))
        })
}

/// Puts values in place of a plan's outer columns of the nearest level.
pub(crate) fn put_outer(plan: &mut Plan, value: &dyn Fn(usize) -> Option<ArrayRef>) {
    walk::visit_plan_mut(plan, 1, &mut |node, depth| {
        if let ExprKind::Outer { depth: out, column } = node.kind
            && out == depth
            && let Some(array) = value(column)
        {
            node.kind = ExprKind::Literal(Value { ty: node.ty.clone(), array });
        }
    });
}
