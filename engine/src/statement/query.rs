//! Queries: SELECT and its kin, and EXPLAIN.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::Schema;
use weir_sql::plan::{Expr, OutputColumn, Plan};
use weir_sql::statement::{ExplainOptions, Statement};

use crate::error::{Error, Result};
use crate::exec::batch::{Batch, schema_of};
use crate::exec::{self, QueryContext};
use crate::session::run::Running;
use crate::session::{Outcome, Rows, Session};

/// Runs a query; its rows come as they are read.
pub(crate) fn rows(
    session: &mut Session,
    running: &Running,
    plan: &Plan,
    columns: &[OutputColumn],
    verb: &str,
) -> Result<Outcome> {
    let stream = stream(session, running, plan)?;
    Ok(Outcome::Rows(Rows::of_stream(columns.to_vec(), stream, verb)))
}

/// The rows of a plan.
pub(crate) fn stream(session: &Session, running: &Running, plan: &Plan) -> Result<exec::RowStream> {
    exec::run(plan, &session.query_context(running))
}

/// What RETURNING makes of rows.
pub(crate) fn returned(
    exprs: &[Expr],
    columns: &[OutputColumn],
    rows: &[RecordBatch],
    context: &Arc<QueryContext>,
) -> Result<Vec<RecordBatch>> {
    let schema = schema_of(columns);
    let of = |rows: &RecordBatch| {
        let values = exprs.iter().map(|expr| exec::evaluate(expr, rows, context)).collect::<Result<_>>()?;
        Batch::new(values, rows.num_rows()).into_record(&schema)
    };
    rows.iter().map(of).collect()
}

/// EXPLAIN: of a query, or of the query that an INSERT or a definition runs.
pub(crate) fn explain(
    session: &mut Session,
    running: &Running,
    statement: &Statement,
    columns: &[OutputColumn],
    options: &ExplainOptions,
) -> Result<Outcome> {
    let context = session.query_context(running);
    let context = Arc::new(QueryContext { statistics: Some(running.view.clone()), ..QueryContext::clone(&context) });
    let lines = match statement {
        Statement::WithChanges { changes, main } => {
            if options.analyze || options.json {
                return Err(not_explained());
            }
            let mut lines = exec::explain(explained(main)?, &context, options)?;
            for (id, change) in changes {
                lines.push(format!("  CTE {id}"));
                let own = exec::explain(explained(change)?, &context, options)?;
                lines.extend(own.into_iter().map(|line| format!("    {line}")));
            }
            lines
        }
        statement => exec::explain(explained(statement)?, &context, options)?,
    };
    let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(lines));
    let schema = Schema::new(columns.iter().map(|c| c.ty.field(&c.name, true)).collect::<Vec<_>>());
    let batch = RecordBatch::try_new(Arc::new(schema), vec![texts])?;
    Ok(Outcome::Rows(Rows::of_batches(columns.to_vec(), vec![batch], "EXPLAIN")))
}

/// The plan that a statement runs.
fn explained(statement: &Statement) -> Result<&Plan> {
    Ok(match statement {
        Statement::Query(plan) | Statement::ShowQuery(plan) => plan,
        Statement::Insert(insert) => &insert.source,
        Statement::Modify(change) => &change.source,
        Statement::CreateMaterializedView(create) => &create.plan,
        Statement::CreateTable(create) if create.source.is_some() => create.source.as_ref().expect("just seen"),
        Statement::Copy(copy) => match &copy.target {
            weir_sql::statement::CopyTarget::To(plan) => plan,
            weir_sql::statement::CopyTarget::From { .. } => return Err(not_explained()),
        },
        _ => return Err(not_explained()),
    })
}

fn not_explained() -> Error {
    let kind = crate::ErrorKind::Sql(weir_sql::ErrorKind::Unsupported);
    Error::new(kind, "EXPLAIN of this statement is not supported")
}
