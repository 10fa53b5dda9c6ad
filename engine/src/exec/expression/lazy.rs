//! AND, OR, CASE and COALESCE: each part only for the rows that reach it.
//!
//! The rows that reach a part are a list of row numbers. Where these are few, or the part may fail, the columns it reads are
//! gathered at those rows; a part that is safe runs over the whole batch while many rows are left.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, UInt32Array, new_null_array};
use arrow::compute::{and_kleene, interleave, is_not_null, or_kleene, take};
use weir_sql::{Type, Value};

use super::Expression;
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::functions::Datum;

/// A safe part runs over all rows while more than one in this many is left.
const GATHER_BELOW: usize = 4;

/// The batch at these rows, with only the columns that are read; the others are there in name.
fn gather(batch: &Batch, rows: &UInt32Array, columns: &[usize]) -> Result<Batch> {
    let at = |&column: &usize| Ok((column, take(&batch.columns[column], rows, None)?));
    let gathered = columns.iter().map(at).collect::<Result<Vec<_>>>()?;
    Ok(Batch::sparse(batch.columns.len(), rows.len(), gathered))
}

/// An expression at these rows; `None` is all.
fn evaluate_at(
    expr: &Expression,
    rows: Option<&UInt32Array>,
    batch: &Batch,
    context: &Arc<QueryContext>,
) -> Result<Datum> {
    match rows {
        None => expr.evaluate(batch, context),
        Some(rows) => expr.evaluate(&gather(batch, rows, &expr.columns)?, context),
    }
}

/// AND, three-valued.
pub(super) fn and(parts: &[Expression], batch: &Batch, context: &Arc<QueryContext>) -> Result<Datum> {
    Ok(match connect(parts, Connective { or: false, decided_by_null: false }, batch, context)? {
        Some(result) => Datum::Array(Arc::new(result)),
        None => Datum::Scalar(Value::bool(true)),
    })
}

/// OR, three-valued.
pub(super) fn or(parts: &[Expression], batch: &Batch, context: &Arc<QueryContext>) -> Result<Datum> {
    Ok(match connect(parts, Connective { or: true, decided_by_null: false }, batch, context)? {
        Some(result) => Datum::Array(Arc::new(result)),
        None => Datum::Scalar(Value::bool(false)),
    })
}

/// The rows for which all predicates are true; `None` for all rows.
pub(super) fn select_all<'a>(
    predicates: impl IntoIterator<Item = &'a Expression>,
    batch: &Batch,
    context: &Arc<QueryContext>,
) -> Result<Option<BooleanArray>> {
    let result = connect(predicates, Connective { or: false, decided_by_null: true }, batch, context)?;
    Ok(result.map(|keep| match keep.nulls() {
        Some(nulls) if keep.null_count() > 0 => BooleanArray::new(keep.values() & nulls.inner(), None),
        _ => keep,
    }))
}

#[derive(Clone, Copy)]
struct Connective {
    or: bool,
    /// Whether NULL settles a row as FALSE would, as in a WHERE clause.
    decided_by_null: bool,
}

impl Connective {
    fn join(self, a: &BooleanArray, b: &BooleanArray) -> Result<BooleanArray> {
        Ok(if self.or { or_kleene(a, b)? } else { and_kleene(a, b)? })
    }

    /// The rows that a later part may still change.
    fn open(self, so_far: &BooleanArray) -> Vec<u32> {
        let undecided = if self.or { !so_far.values() } else { so_far.values().clone() };
        let mask = match so_far.nulls() {
            None => undecided,
            Some(valid) if self.decided_by_null => &undecided & valid.inner(),
            Some(valid) => &undecided | &!valid.inner(),
        };
        mask.set_indices_u32().collect()
    }
}

/// Parts joined by AND or OR, left to right; `None` if there are none.
fn connect<'a>(
    parts: impl IntoIterator<Item = &'a Expression>,
    connective: Connective,
    batch: &Batch,
    context: &Arc<QueryContext>,
) -> Result<Option<BooleanArray>> {
    let mut so_far: Option<BooleanArray> = None;
    for part in parts {
        let Some(current) = &so_far else {
            so_far = Some(part.array(batch, context)?.as_boolean().clone());
            continue;
        };
        let open = connective.open(current);
        if open.is_empty() {
            break;
        }
        let whole = open.len() == batch.rows || (part.safe && open.len() > batch.rows / GATHER_BELOW);
        let value = if whole {
            part.array(batch, context)?.as_boolean().clone()
        } else {
            let rows = UInt32Array::from(open);
            let few = evaluate_at(part, Some(&rows), batch, context)?.into_array(rows.len())?;
            scatter(few.as_boolean(), rows.values(), batch.rows, !connective.or)
        };
        so_far = Some(connective.join(current, &value)?);
    }
    Ok(so_far)
}

/// Values at some rows, and `fill` at all others.
fn scatter(few: &BooleanArray, rows: &[u32], total: usize, fill: bool) -> BooleanArray {
    let mut builder = BooleanBuilder::with_capacity(total);
    let mut next = 0;
    for (i, &row) in rows.iter().enumerate() {
        builder.append_n(row as usize - next, fill);
        builder.append_option(few.is_valid(i).then(|| few.value(i)));
        next = row as usize + 1;
    }
    builder.append_n(total - next, fill);
    builder.finish()
}

/// Collects results of different branches: which branch's array a row takes its value from, and where in it.
struct Pieces {
    arrays: Vec<ArrayRef>,
    places: Vec<(usize, usize)>,
}

impl Pieces {
    /// All rows are NULL so far.
    fn new(ty: &Type, rows: usize) -> Pieces {
        Pieces { arrays: vec![new_null_array(&ty.to_arrow(), 1)], places: vec![(0, 0); rows] }
    }

    /// These rows (`None`: all) take this datum's values, one after the other.
    fn put(&mut self, datum: Datum, rows: Option<&UInt32Array>) {
        let piece = self.arrays.len();
        let one = matches!(datum, Datum::Scalar(_));
        self.arrays.push(datum.array().clone());
        let total = self.places.len();
        let mut place = |i: usize, row: usize| self.places[row] = (piece, if one { 0 } else { i });
        match rows {
            None => (0..total).for_each(|row| place(row, row)),
            Some(rows) => rows.values().iter().enumerate().for_each(|(i, &row)| place(i, row as usize)),
        }
    }

    fn finish(self) -> Result<Datum> {
        let arrays: Vec<_> = self.arrays.iter().map(|a| a.as_ref()).collect();
        Ok(Datum::Array(interleave(&arrays, &self.places)?))
    }
}

/// Splits rows by a predicate over them: those for which it is true, and the rest.
fn split(rows: Option<&UInt32Array>, total: usize, keep: &BooleanArray) -> (UInt32Array, UInt32Array) {
    let row = |i: u32| rows.map_or(i, |rows| rows.value(i as usize));
    debug_assert_eq!(keep.len(), rows.map_or(total, |r| r.len()));
    let taken = keep.values().set_indices_u32().map(row).collect::<Vec<_>>();
    let rest = (!keep.values()).set_indices_u32().map(row).collect::<Vec<_>>();
    (taken.into(), rest.into())
}

/// CASE.
pub(super) fn case(
    branches: &[(Expression, Expression)],
    otherwise: Option<&Expression>,
    ty: &Type,
    batch: &Batch,
    context: &Arc<QueryContext>,
) -> Result<Datum> {
    let mut pieces = Pieces::new(ty, batch.rows);
    let mut left: Option<UInt32Array> = None;
    for (condition, result) in branches {
        let keep = match &left {
            None => condition.selects(batch, context)?,
            Some(rows) => condition.selects(&gather(batch, rows, &condition.columns)?, context)?,
        };
        let taken = keep.true_count();
        if taken == 0 {
            continue;
        }
        if taken == keep.len() {
            let value = evaluate_at(result, left.as_ref(), batch, context)?;
            if left.is_none() {
                return Ok(value);
            }
            pieces.put(value, left.as_ref());
            return pieces.finish();
        }
        let (hit, rest) = split(left.as_ref(), batch.rows, &keep);
        pieces.put(evaluate_at(result, Some(&hit), batch, context)?, Some(&hit));
        left = Some(rest);
    }
    match (otherwise, &left) {
        (None, None) => return Ok(Datum::Scalar(Value::null(ty.clone()))),
        (None, Some(_)) => {}
        (Some(otherwise), None) => return otherwise.evaluate(batch, context),
        (Some(otherwise), Some(rows)) => pieces.put(evaluate_at(otherwise, Some(rows), batch, context)?, Some(rows)),
    }
    pieces.finish()
}

/// For each byte of bits the masks of eight numbers.
static MASKS: [[u32; 8]; 256] = {
    let mut masks = [[0; 8]; 256];
    let mut at = 0;
    while at < 8 * masks.len() {
        let (byte, bit) = (at / 8, at % 8);
        masks[byte][bit] = if byte >> bit & 1 == 1 { u32::MAX } else { 0 };
        at += 1;
    }
    masks
};

/// For each row the number of the first condition that is true, or how many there are. They cannot fail, so each is asked of all rows.
pub(super) fn choice(conditions: &[Expression], batch: &Batch, context: &Arc<QueryContext>) -> Result<UInt32Array> {
    // Room for whole bytes of bits: eight rows at a time need no branch.
    let mut chosen = vec![conditions.len() as u32; batch.rows.next_multiple_of(8)];
    let (eights, _) = chosen.as_chunks_mut::<8>();
    for (nth, condition) in conditions.iter().enumerate().rev() {
        let keep = condition.selects(batch, context)?;
        for (eights, word) in eights.chunks_mut(8).zip(keep.values().bit_chunks().iter_padded()) {
            for (eight, byte) in eights.iter_mut().zip(word.to_le_bytes()) {
                let masks = &MASKS[byte as usize];
                eight.iter_mut().zip(masks).for_each(|(chosen, mask)| *chosen = *chosen & !mask | nth as u32 & mask);
            }
        }
    }
    chosen.truncate(batch.rows);
    Ok(chosen.into())
}

/// COALESCE.
pub(super) fn coalesce(parts: &[Expression], ty: &Type, batch: &Batch, context: &Arc<QueryContext>) -> Result<Datum> {
    let mut pieces = Pieces::new(ty, batch.rows);
    let mut left: Option<UInt32Array> = None;
    for part in parts {
        let value = evaluate_at(part, left.as_ref(), batch, context)?;
        if value.is_null_scalar() {
            continue;
        }
        let nulls = if let Datum::Array(array) = &value { array.null_count() } else { 0 };
        if nulls == 0 {
            if left.is_none() {
                return Ok(value);
            }
            pieces.put(value, left.as_ref());
            return pieces.finish();
        }
        let (_, rest) = split(left.as_ref(), batch.rows, &is_not_null(value.array())?);
        // Rows that are NULL take this part's NULL, until a later part says better.
        pieces.put(value, left.as_ref());
        left = Some(rest);
    }
    pieces.finish()
}
