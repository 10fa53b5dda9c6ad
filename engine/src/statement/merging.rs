//! ClickHouse's engines that make one row of those with equal sorting keys: done when rows are added, so that a plain SELECT shows what
//! `SELECT … FINAL` shows there.
//!
//! Values are folded pairwise, neighbour with neighbour, in as many rounds as the binary logarithm of the most rows of one key.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{Field, Schema};
use arrow::row::Rows;
use weir_sql::Type;
use weir_sql::plan::{Expr, OutputColumn};
use weir_sql::statement::Fold;

use super::table::{assigned, bind_over, detached_context, output_columns};
use super::writer::Base;
use crate::catalog::Entry;
use crate::error::Result;
use crate::exec::{self, QueryContext};

/// The condition under which a row is no tombstone; `None` where there are none.
pub(crate) fn shown(entry: &Entry) -> Result<Option<Expr>> {
    let Some(column) = entry.def.tombstones() else { return Ok(None) };
    let of = &entry.relation.columns[column];
    let name = format!("\"{}\"", of.name.replace('"', "\"\""));
    let sql = if of.ty == Type::Bool { format!("NOT {name}") } else { format!("{name} = 0") };
    bind_over(&sql, &output_columns(&entry.relation)).map(Some)
}

/// How rows of equal keys become one.
pub(crate) struct Folds {
    /// For each column that is folded: what becomes of two rows side by side.
    folds: Vec<(usize, Expr)>,
    /// Whether all sums of a row are zero, which then goes. Not where other columns are folded too.
    zero: Option<Expr>,
    context: Arc<QueryContext>,
}

impl Folds {
    /// Of a table whose engine sums these columns; others say themselves how they are folded.
    pub(crate) fn new(base: &Base, entry: &Entry, summed: &[usize]) -> Result<Folds> {
        let named = |prefix: &str| -> Vec<OutputColumn> {
            let mut columns = output_columns(&entry.relation);
            columns.iter_mut().zip(0..).for_each(|(column, at)| column.name = format!("{prefix}{at}"));
            columns
        };
        let both: Vec<OutputColumn> = named("l").into_iter().chain(named("r")).collect();
        let mut columns: Vec<(usize, Fold)> = summed.iter().map(|&at| (at, Fold::Sum)).collect();
        let own = entry.def.columns.iter().enumerate().filter_map(|(at, column)| {
            let fold = column.fold.or(matches!(column.ty, Type::State(_)).then_some(Fold::Merge));
            Some((at, fold?))
        });
        columns.extend(own.filter(|(at, _)| !entry.def.order_by.contains(at) && !summed.contains(at)));
        let fold = |&(at, fold): &(usize, Fold)| {
            let folded = bind_over(&fold.sql(&format!("l{at}"), &format!("r{at}")), &both)?;
            Ok((at, assigned(folded, &entry.relation.columns[at].ty)?))
        };
        let zeros: Vec<String> = summed.iter().map(|at| format!("coalesce(l{at}, 0) = 0")).collect();
        let zero = (!zeros.is_empty() && columns.len() == summed.len())
            .then(|| bind_over(&zeros.join(" AND "), &named("l")))
            .transpose()?;
        let context = Arc::new(detached_context(&base.database, &base.cancel));
        Ok(Folds { folds: columns.iter().map(fold).collect::<Result<_>>()?, zero, context })
    }

    /// One row for each key. `there` are the rows that are there already, each with the number of the first of `rows` with its key.
    pub(crate) fn fold(
        &self,
        rows: &RecordBatch,
        keys: &Rows,
        there: &RecordBatch,
        of: &[usize],
    ) -> Result<RecordBatch> {
        let mut all = concat_batches(&rows.schema(), [there, rows])?;
        let mut groups: HashMap<_, usize> = HashMap::with_capacity(rows.num_rows());
        let mut lists: Vec<Vec<u32>> = Vec::new();
        for row in 0..rows.num_rows() {
            let group = *groups.entry(keys.row(row)).or_insert_with(|| {
                lists.push(of.binary_search(&row).map(|at| at as u32).into_iter().collect());
                lists.len() - 1
            });
            lists[group].push((there.num_rows() + row) as u32);
        }
        while lists.iter().any(|list| list.len() > 1) {
            all = self.round(&all, &mut lists)?;
        }
        let order: Vec<u32> = lists.into_iter().flatten().collect();
        self.without_zeros(&take_record_batch(&all, &UInt32Array::from(order))?)
    }

    /// Folds neighbours of each list; the lists then name rows of what results.
    fn round(&self, all: &RecordBatch, lists: &mut [Vec<u32>]) -> Result<RecordBatch> {
        let (mut left, mut right, mut single) = (Vec::new(), Vec::new(), Vec::new());
        for list in lists.iter_mut() {
            let next = list.chunks(2).map(|pair| match *pair {
                [a, b] => {
                    left.push(a);
                    right.push(b);
                    (left.len() as u32 - 1, true)
                }
                _ => {
                    single.push(pair[0]);
                    (single.len() as u32 - 1, false)
                }
            });
            // Sums come first; where single rows begin is known at the end only.
            *list = next.map(|(at, summed)| at << 1 | u32::from(summed)).collect();
        }
        let sums = left.len() as u32;
        let place = |coded: &mut u32| *coded = if *coded & 1 == 1 { *coded >> 1 } else { sums + (*coded >> 1) };
        lists.iter_mut().flatten().for_each(place);
        let take = |rows: Vec<u32>| take_record_batch(all, &UInt32Array::from(rows));
        let folded = self.folded(&take(left)?, &take(right)?)?;
        Ok(concat_batches(&all.schema(), [&folded, &take(single)?])?)
    }

    /// What rows side by side become; other columns are the left's.
    fn folded(&self, left: &RecordBatch, right: &RecordBatch) -> Result<RecordBatch> {
        let (left_schema, right_schema) = (left.schema(), right.schema());
        let fields: Vec<Arc<Field>> = left_schema.fields().iter().chain(right_schema.fields()).cloned().collect();
        let both: Vec<ArrayRef> = left.columns().iter().chain(right.columns()).cloned().collect();
        let both = RecordBatch::try_new(Arc::new(Schema::new(fields)), both)?;
        let mut columns = left.columns().to_vec();
        for (at, fold) in &self.folds {
            columns[*at] = exec::evaluate(fold, &both, &self.context)?;
        }
        Ok(RecordBatch::try_new(left.schema(), columns)?)
    }

    fn without_zeros(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let Some(zero) = &self.zero else { return Ok(rows.clone()) };
        let zero = exec::evaluate(zero, rows, &self.context)?;
        let zero = zero.as_boolean();
        let kept: BooleanArray =
            (0..rows.num_rows()).map(|row| Some(!(zero.is_valid(row) && zero.value(row)))).collect();
        Ok(filter_record_batch(rows, &kept)?)
    }
}
