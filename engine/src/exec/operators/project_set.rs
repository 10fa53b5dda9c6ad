//! Set-returning functions in a SELECT list: each input row is repeated for each row that they give; where they give different numbers of
//! rows, the shorter ones are NULL at the end.
//!
//! The elements of one array a row, which windows of time and grouping sets are, are taken for many rows at once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray, UInt32Array, new_null_array};
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;
use weir_sql::catalog::{FunctionId, Functions};
use weir_sql::plan::{Expr, OutputColumn};
use weir_sql::{Type, Value};

use super::table_function::overload;
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::{QueryContext, TableCall, TableOverload};
use crate::exec::expression::{Expression, arrays};
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Emit, Mapped, Source};
use crate::functions::registry;

pub(crate) struct ProjectSet {
    input: Node,
    calls: Arc<Vec<SetCall>>,
    /// Whether the only call is of `unnest`.
    elements: bool,
}

/// Of so many rows the arrays are there at once.
const ROWS_AT_ONCE: usize = 1024;

struct SetCall {
    overload: &'static TableOverload,
    args: Vec<Expression>,
    column: OutputColumn,
    /// What the function gives: the column, or the fields of the record that the column is.
    gives: Vec<OutputColumn>,
}

impl SetCall {
    /// The column's values from what the function gave.
    fn values(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        match self.column.ty.to_arrow() {
            DataType::Struct(fields) => Ok(Arc::new(StructArray::try_new(fields, batch.columns().to_vec(), None)?)),
            _ => Ok(batch.column(0).clone()),
        }
    }
}

/// The columns that a record's fields are, of a function in FROM.
fn fields(column: &OutputColumn) -> Vec<OutputColumn> {
    match &column.ty {
        Type::Record(fields) => fields.iter().map(|(name, ty)| OutputColumn::computed(name, ty.clone())).collect(),
        _ => vec![column.clone()],
    }
}

impl ProjectSet {
    pub(crate) fn new(
        input: Node,
        calls: &[(FunctionId, Vec<Expr>)],
        columns: &[OutputColumn],
        context: &Arc<QueryContext>,
    ) -> Result<ProjectSet> {
        // The elements of an array of arrays are those of the innermost ones.
        let elements = match calls {
            [(function, args)] => {
                registry().overloads("unnest").iter().any(|unnest| unnest.id == *function)
                    && matches!(&args[0].ty, Type::Array(element) if !matches!(**element, Type::Array(_)))
            }
            _ => false,
        };
        let outputs = &columns[columns.len() - calls.len()..];
        let calls = calls
            .iter()
            .zip(outputs)
            .map(|((function, args), column)| {
                Ok(SetCall {
                    overload: overload(*function, &column.name)?,
                    args: Expression::list(args, context)?,
                    gives: fields(column),
                    column: column.clone(),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(ProjectSet { input, calls: Arc::new(calls), elements })
    }
}

impl Operator for ProjectSet {
    fn describe(&self) -> Description {
        Description::new("ProjectSet")
    }

    fn children(&self) -> Vec<&Node> {
        vec![&self.input]
    }

    fn open(&self, context: &Arc<QueryContext>, _metrics: &Arc<Metrics>) -> Result<Arc<dyn Source>> {
        self.calls.iter().flat_map(|c| &c.args).for_each(|a| a.prepare(context));
        let input = self.input.open(context)?;
        let (calls, context, elements) = (self.calls.clone(), context.clone(), self.elements);
        Ok(Arc::new(Mapped::new(input, move |batch, emit| match elements {
            true => expand_elements(&calls[0], &batch, &context, emit),
            false => expand(&calls, &batch, &context, emit),
        })))
    }
}

fn expand_elements(call: &SetCall, batch: &Batch, context: &Arc<QueryContext>, emit: Emit<'_>) -> Result<()> {
    for start in (0..batch.rows).step_by(ROWS_AT_ONCE) {
        let batch = batch.slice(start, ROWS_AT_ONCE.min(batch.rows - start));
        let args = arrays(&call.args, &batch, context)?;
        let lists = args[0].as_list::<i32>();
        let (mut owners, mut elements): (Vec<u32>, Vec<u32>) = Default::default();
        for row in (0..batch.rows).filter(|&row| lists.is_valid(row)) {
            let [from, to] = [0, 1].map(|end| lists.value_offsets()[row + end] as u32);
            owners.extend((from..to).map(|_| row as u32));
            elements.extend(from..to);
        }
        for (owners, elements) in owners.chunks(context.batch_rows).zip(elements.chunks(context.batch_rows)) {
            context.cancel.check()?;
            let mut out = batch.take(&UInt32Array::from(owners.to_vec()))?;
            out.columns.push(take(lists.values(), &UInt32Array::from(elements.to_vec()), None)?);
            emit(out)?;
        }
    }
    Ok(())
}

fn expand(calls: &[SetCall], batch: &Batch, context: &Arc<QueryContext>, emit: Emit<'_>) -> Result<()> {
    let args = calls.iter().map(|c| arrays(&c.args, batch, context)).collect::<Result<Vec<_>>>()?;
    let mut owners: Vec<u32> = Vec::new();
    let mut pieces: Vec<Vec<ArrayRef>> = vec![Vec::new(); calls.len()];
    for row in 0..batch.rows {
        context.cancel.check()?;
        let mut lengths = Vec::with_capacity(calls.len());
        for ((call, args), pieces) in calls.iter().zip(&args).zip(&mut pieces) {
            let values: Vec<Value> =
                call.args.iter().zip(args).map(|(e, a)| Value { ty: e.ty.clone(), array: a.slice(row, 1) }).collect();
            let columns = &call.gives;
            let mut rows =
                (call.overload.open)(&TableCall { context, args: &values, named: &[], columns, prune: &[] })?;
            let mut length = 0;
            while let Some(batch) = rows.next()? {
                context.cancel.check()?;
                length += batch.num_rows();
                pieces.push(call.values(&batch)?);
            }
            lengths.push(length);
        }
        let longest = lengths.iter().copied().max().unwrap_or(0);
        for ((call, pieces), length) in calls.iter().zip(&mut pieces).zip(lengths) {
            if length < longest {
                pieces.push(new_null_array(&call.column.ty.to_arrow(), longest - length));
            }
        }
        owners.extend(std::iter::repeat_n(row as u32, longest));
        if !owners.is_empty() && (owners.len() >= context.batch_rows || row + 1 == batch.rows) {
            let mut out = batch.take(&UInt32Array::from(std::mem::take(&mut owners)))?;
            for pieces in &mut pieces {
                out.columns.push(concat(&pieces.iter().map(|p| p.as_ref()).collect::<Vec<_>>())?);
                pieces.clear();
            }
            emit(out)?;
        }
    }
    Ok(())
}
