//! The expressions that skip indexes are over: bound from their text, and computed where storage writes parts.
//!
//! An index's expression is evaluated without a session (UTC, default settings), and asked by queries of any session: so only what
//! depends on nothing but the row may be indexed ([`is_fixed`]).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::Schema;
use parking_lot::Mutex;
use weir_sql::Type;
use weir_sql::catalog::Volatility;
use weir_sql::plan::{Expr, ExprKind, OutputColumn};
use weir_sql::walk;
use weir_storage::IndexValues;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::exec::{self, Given, Pool, QueryContext, QueryMemory};
use crate::functions::{Context, registry};
use crate::statement::table::bind_over;

/// Computes expressions for storage.
pub(crate) struct IndexExpressions {
    context: Arc<QueryContext>,
}

impl IndexExpressions {
    pub(crate) fn new(pool: Arc<Pool>, batch_rows: usize) -> IndexExpressions {
        let context = QueryContext {
            functions: Arc::new(Context::detached()),
            relations: Arc::new(Given::default()),
            parameters: Vec::new(),
            pool,
            batch_rows,
            memory: QueryMemory::unlimited(),
            cancel: Cancel::default(),
            cache: None,
            progress: None,
            statistics: None,
        };
        IndexExpressions { context: Arc::new(context) }
    }
}

impl IndexValues for IndexExpressions {
    fn values(&self, sql: &str, rows: &RecordBatch) -> std::result::Result<ArrayRef, String> {
        let computed = bound(sql, &rows.schema()).and_then(|expr| {
            let array = exec::evaluate(&expr, rows, &self.context)?;
            match *array.data_type() == expr.ty.to_arrow() {
                true => Ok(array),
                false => Err(Error::internal(format!("{sql} gave {}, not {}", array.data_type(), expr.ty))),
            }
        });
        computed.map_err(|error| error.message)
    }
}

/// How many texts are kept bound.
const KEPT_MAX: usize = 1000;

/// What texts were bound to, and over which columns.
type Kept = HashMap<String, Vec<(Vec<OutputColumn>, Arc<Expr>)>>;

/// An index's expression over columns of these names and types: bound once, and kept.
pub(crate) fn bound(sql: &str, schema: &Schema) -> Result<Arc<Expr>> {
    static KEPT: Mutex<Option<Kept>> = Mutex::new(None);
    let column = |field: &Arc<arrow::datatypes::Field>| {
        let ty = Type::from_field(field).ok_or_else(|| Error::internal("a stored column has no SQL type"))?;
        Ok(OutputColumn {
            name: field.name().clone(),
            typmod: ty.typmod(),
            ty,
            origin: None,
            collating: Default::default(),
        })
    };
    let columns: Vec<OutputColumn> = schema.fields().iter().map(column).collect::<Result<_>>()?;
    let known = |kept: &Kept| {
        let bound = kept.get(sql)?.iter().find(|(over, _)| *over == columns)?;
        Some(bound.1.clone())
    };
    if let Some(expr) = KEPT.lock().as_ref().and_then(known) {
        return Ok(expr);
    }
    let expr = Arc::new(bind_over(sql, &columns)?);
    let mut kept = KEPT.lock();
    let kept = kept.get_or_insert_default();
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
    kept.entry(sql.to_string()).or_default().push((columns, expr.clone()));
    Ok(expr)
}

/// Whether an expression depends on its row alone: not on the time, a setting or another relation.
pub(crate) fn is_fixed(expr: &Expr) -> bool {
    !walk::any(expr, &mut |node, depth| match &node.kind {
        ExprKind::Call { function, args, .. } => {
            registry().volatility(*function) != Volatility::Immutable
                || args.iter().map(|arg| &arg.ty).chain([&node.ty]).any(depends_on_zone)
        }
        ExprKind::Cast { expr: input, .. } => !is_fixed_cast(&input.ty, &node.ty),
        ExprKind::Parameter(_) | ExprKind::Subquery(_) => true,
        ExprKind::Outer { depth: out, .. } => *out > depth,
        _ => false,
    })
}

/// Types whose functions may ask for the session's time zone.
fn depends_on_zone(ty: &Type) -> bool {
    match ty {
        Type::Timestamptz => true,
        Type::Array(element) => depends_on_zone(element),
        _ => false,
    }
}

/// Casts that no setting changes: among numbers, among texts, and from whole numbers, booleans, uuid and json to text.
fn is_fixed_cast(from: &Type, to: &Type) -> bool {
    let as_text =
        |ty: &Type| ty.is_integer() || matches!(ty, Type::Bool | Type::Uuid | Type::Json | Type::Jsonb | Type::Map(_));
    match (from, to) {
        (from, to) if from == to => true,
        (from, to) if from.is_number() && to.is_number() => true,
        (from, to) if to.is_text() => from.is_text() || as_text(from) || matches!(from, Type::Numeric(_)),
        (Type::Date, Type::Timestamp) | (Type::Timestamp, Type::Date) => true,
        (Type::Array(from), Type::Array(to)) => is_fixed_cast(from, to),
        (from, to) if from.is_text() => {
            to.is_number() || matches!(to, Type::Uuid | Type::Bool | Type::Json | Type::Jsonb)
        }
        _ => false,
    }
}
