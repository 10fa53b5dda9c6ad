//! Set-returning functions in a SELECT list: each input row is repeated for each row that they give; where they give different numbers of
//! rows, the shorter ones are NULL at the end.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StructArray, UInt32Array, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use weir_sql::catalog::FunctionId;
use weir_sql::plan::{Expr, OutputColumn};
use weir_sql::{Type, Value};

use super::table_function::overload;
use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::{QueryContext, TableCall, TableOverload};
use crate::exec::expression::{Expression, arrays};
use crate::exec::operator::{Description, Metrics, Node, Operator};
use crate::exec::pipeline::{Emit, Mapped, Source};

pub(crate) struct ProjectSet {
    input: Node,
    calls: Arc<Vec<SetCall>>,
}

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
        Ok(ProjectSet { input, calls: Arc::new(calls) })
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
        let (calls, context) = (self.calls.clone(), context.clone());
        Ok(Arc::new(Mapped::new(input, move |batch, emit| expand(&calls, &batch, &context, emit))))
    }
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
