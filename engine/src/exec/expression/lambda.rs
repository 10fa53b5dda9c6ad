//! Lambdas over arrays.
//!
//! The elements of all rows' arrays are one batch: a column for each parameter, then the columns of the row that the body reads, repeated for
//! each of its elements. The body is evaluated once over that batch. What the function's kernel is given in the lambda's place
//! is the array of its values, so that `arrayFilter(x -> x > 1, a)` is a filter by an array of booleans.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{interleave, nullif, take};
use weir_sql::catalog::Volatility;
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::{Value, walk};

use super::{Expression, Node};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::functions::{Datum, registry};

/// A compiled lambda.
pub(super) struct Lambda {
    /// Over the parameters, then the captured columns.
    pub(super) body: Expression,
    params: usize,
    /// The columns of the row that the body reads.
    captured: Vec<usize>,
    /// Whether it gives the same for the same elements.
    pure: bool,
    /// Whether the first parameter is what it gave for the element before.
    folds: bool,
}

impl Lambda {
    pub(super) fn new(expr: &Expr, context: &Arc<QueryContext>) -> Result<Lambda> {
        let ExprKind::Lambda(lambda) = &expr.kind else { return Err(Error::internal("this is no lambda")) };
        let mut captured = walk::columns_read(expr);
        captured.sort_unstable();
        captured.dedup();
        let params = lambda.params.len();
        let place = |column| params + captured.partition_point(|captured| *captured < column);
        let body = Expression::new(&walk::inline(&lambda.body, &place), context)?;
        let volatile = walk::any(&lambda.body, &mut |node, _| match &node.kind {
            ExprKind::Call { function, .. } => registry().volatility(*function) == Volatility::Volatile,
            ExprKind::Subquery(_) => true,
            _ => false,
        });
        Ok(Lambda { body, params, folds: lambda.folds, pure: captured.is_empty() && !volatile, captured })
    }

    /// What the body gives for the last of each row's elements, the first value where there are none. The rows' first elements are one batch, then their
    /// second ones, and so on.
    fn fold(&self, args: &[Datum], batch: &Batch, context: &Arc<QueryContext>) -> Result<Datum> {
        let Some((first, args)) = args.split_last() else { return Err(Error::internal("a fold has a first value")) };
        let ty = &self.body.ty;
        if args.iter().any(Datum::is_null_scalar) {
            return Ok(Datum::Scalar(Value::null(ty.clone())));
        }
        let constants = args.iter().chain([first]).all(|arg| matches!(arg, Datum::Scalar(_)));
        let constant = self.pure && constants;
        let rows = if constant { 1 } else { batch.rows };
        let Lists { lists, nulls, lengths } = Lists::of(args, rows)?;
        // Values of rows that have more elements, and whose those are.
        let mut folded = first.clone().into_array(rows)?;
        let mut active: Vec<u32> = (0..rows as u32).collect();
        // Values of rows that have none, and where each row's is.
        let (mut done, mut places) = (Vec::new(), vec![(0, 0); rows]);
        for at in 0.. {
            let (on, over): (Vec<u32>, Vec<u32>) =
                (0..active.len() as u32).partition(|&nth| lengths[active[nth as usize] as usize] > at);
            if !over.is_empty() {
                over.iter().enumerate().for_each(|(nth, &of)| places[active[of as usize] as usize] = (done.len(), nth));
                let on = UInt32Array::from(on);
                done.push(take(&folded, &UInt32Array::from(over), None)?);
                folded = take(&folded, &on, None)?;
                active = on.values().iter().map(|&nth| active[nth as usize]).collect();
            }
            if active.is_empty() {
                break;
            }
            context.cancel.check()?;
            let owners = UInt32Array::from(active.clone());
            let mut columns = vec![folded];
            for list in &lists {
                let elements = active.iter().map(|&row| list.value_offsets()[row as usize] as u32 + at as u32);
                columns.push(take(list.values(), &UInt32Array::from_iter_values(elements), None)?);
            }
            for &column in &self.captured {
                columns.push(take(&batch.columns[column], &owners, None)?);
            }
            folded = self.body.array(&Batch::new(columns, active.len()), context)?;
        }
        if !done.is_empty() {
            folded = interleave(&done.iter().map(|values| values.as_ref()).collect::<Vec<_>>(), &places)?;
        }
        if let Some(nulls) = nulls {
            folded = nullif(&folded, &BooleanArray::new(!nulls.inner(), None))?;
        }
        Ok(if constant { Datum::Scalar(Value::new(ty.clone(), folded)) } else { Datum::Array(folded) })
    }

    fn evaluate(&self, args: &[Datum], batch: &Batch, context: &Arc<QueryContext>) -> Result<Datum> {
        if args.len() != self.params {
            return Err(Error::internal("a lambda has a parameter for each array"));
        }
        if self.folds {
            return self.fold(args, batch, context);
        }
        let ty = weir_sql::Type::Array(Box::new(self.body.ty.clone()));
        if args.iter().any(Datum::is_null_scalar) {
            return Ok(Datum::Scalar(Value::null(ty)));
        }
        let constant = self.pure && args.iter().all(|arg| matches!(arg, Datum::Scalar(_)));
        let rows = if constant { 1 } else { batch.rows };
        let Lists { lists, nulls, lengths } = Lists::of(args, rows)?;
        let total = lengths.iter().sum();
        let mut columns = lists.iter().map(|list| elements(list, &lengths, total)).collect::<Result<Vec<_>>>()?;
        if !self.captured.is_empty() {
            let owners = (0..).zip(&lengths).flat_map(|(row, length)| std::iter::repeat_n(row, *length));
            let owners = UInt32Array::from_iter_values(owners);
            for &column in &self.captured {
                columns.push(take(&batch.columns[column], &owners, None)?);
            }
        }
        let values = self.body.array(&Batch::new(columns, total), context)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        let list: ArrayRef = Arc::new(ListArray::try_new(self.body.ty.element_field(), offsets, values, nulls)?);
        Ok(if constant { Datum::Scalar(Value::new(ty, list)) } else { Datum::Array(list) })
    }
}

/// The arrays that a lambda is called with.
struct Lists {
    lists: Vec<ListArray>,
    /// Rows of which one is NULL.
    nulls: Option<NullBuffer>,
    lengths: Vec<usize>,
}

impl Lists {
    fn of(args: &[Datum], rows: usize) -> Result<Lists> {
        let list = |arg: &Datum| Ok(arg.clone().into_array(rows)?.as_list::<i32>().clone());
        let lists = args.iter().map(list).collect::<Result<Vec<_>>>()?;
        let nulls = lists.iter().fold(None, |nulls, list| NullBuffer::union(nulls.as_ref(), list.nulls()));
        let lengths = lengths(&lists, nulls.as_ref())?;
        Ok(Lists { lists, nulls, lengths })
    }
}

/// How many elements each row's arrays have: as many the one as the other. None where one of them is NULL.
fn lengths(lists: &[ListArray], nulls: Option<&NullBuffer>) -> Result<Vec<usize>> {
    let Some(first) = lists.first() else { return Ok(Vec::new()) };
    let mut lengths = Vec::with_capacity(first.len());
    for row in 0..first.len() {
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            lengths.push(0);
            continue;
        }
        let length = first.value_length(row);
        if lists.iter().any(|list| list.value_length(row) != length) {
            let shown: Vec<String> = lists.iter().map(|list| list.value_length(row).to_string()).collect();
            let error = Error::new(ErrorKind::ArraySubscript, "the arrays of a lambda must have equal lengths");
            return Err(error.with_detail(format!("They have {} elements.", shown.join(" and "))));
        }
        lengths.push(length as usize);
    }
    Ok(lengths)
}

/// The elements of the rows, one after the other; none of those with length 0.
fn elements(list: &ListArray, lengths: &[usize], total: usize) -> Result<ArrayRef> {
    let offsets = list.value_offsets();
    let (start, end) = (offsets[0] as usize, offsets[list.len()] as usize);
    if end - start == total {
        return Ok(list.values().slice(start, total));
    }
    let places = offsets.iter().zip(lengths).flat_map(|(start, length)| *start as u32..*start as u32 + *length as u32);
    Ok(take(list.values(), &UInt32Array::from_iter_values(places), None)?)
}

/// The arguments of a call, lambdas among them.
pub(super) fn arguments(args: &[Expression], batch: &Batch, context: &Arc<QueryContext>) -> Result<Vec<Datum>> {
    let is_lambda = |arg: &&Expression| matches!(arg.node, Node::Lambda(_));
    let plain = args.iter().filter(|arg| !is_lambda(arg)).map(|arg| arg.evaluate(batch, context));
    let mut values = plain.collect::<Result<Vec<_>>>()?;
    for (at, arg) in args.iter().enumerate() {
        if let Node::Lambda(lambda) = &arg.node {
            let value = lambda.evaluate(&values, batch, context)?;
            values.insert(at, value);
        }
    }
    Ok(values)
}
