//! From plan to tree: functions resolved, constants computed.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::concat;
use arrow::datatypes::Int64Type;
use weir_sql::catalog::Volatility;
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::{Type, Value, walk};

use super::lambda::Lambda;
use super::subquery::Subquery;
use super::{Expression, Node, ValueSet};
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::functions::{Implementation, arithmetic, registry};

/// Functions that cannot fail and cost little, whatever they are given: evaluating them for too many rows does no harm.
const SAFE: &[&str] = &[
    "=",
    "<>",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "isDistinctFrom",
    "isNotDistinctFrom",
    "is distinct from",
    "is not distinct from",
    "not",
];

/// See [`Expression::in_either_form`].
pub(super) fn in_either_form(expr: &Expr, context: &Arc<QueryContext>) -> Result<Expression> {
    let mut compiled = compile(expr, context)?;
    if let (ExprKind::Call { name, args: parts, .. }, Type::Numeric(None)) = (&expr.kind, &expr.ty)
        && let Node::Call { kernel, args, .. } = &mut compiled.node
        && let Some(either) = arithmetic::either_form(name, parts.len())
    {
        *kernel = either;
        *args = parts.iter().map(|part| in_either_form(part, context)).collect::<Result<_>>()?;
    }
    Ok(compiled)
}

/// See [`Expression::new`].
pub(super) fn compile(expr: &Expr, context: &Arc<QueryContext>) -> Result<Expression> {
    let one = |e: &Expr| compile(e, context).map(Box::new);
    let list = |l: &[Expr]| Expression::list(l, context);
    let mut safe = true;
    let node = match &expr.kind {
        ExprKind::Column(column) => Node::Column(*column),
        // EXPLAIN shows a query for one row without the row.
        ExprKind::Outer { .. } => Node::Failure(Error::internal("an outer column without an outer query")),
        ExprKind::Literal(value) => Node::Constant(value.clone()),
        ExprKind::Parameter(index) => {
            let value = context.parameter(*index)?;
            match (value.array.data_type() == &expr.ty.to_arrow(), value.is_null()) {
                (true, _) => Node::Constant(Value::new(expr.ty.clone(), value.array.clone())),
                (false, true) => Node::Constant(Value::null(expr.ty.clone())),
                _ => return Err(Error::internal(format!("parameter ${} is {}, not {}", index + 1, value.ty, expr.ty))),
            }
        }
        ExprKind::Call { function, name, args } => {
            let Implementation::Scalar(overload) = registry().implementation(*function) else {
                return Err(Error::internal(format!("{name} is not a scalar function")));
            };
            safe = SAFE.contains(&name.as_str());
            let fold = registry().volatility(*function) != Volatility::Volatile;
            let types = args.iter().map(|a| a.ty.clone()).collect();
            Node::Call { kernel: overload.kernel, strict: overload.strict, args: list(args)?, types, fold }
        }
        ExprKind::Cast { expr: input, explicit, lenient } => {
            safe = false;
            Node::Cast { input: one(input)?, explicit: *explicit, lenient: *lenient }
        }
        ExprKind::And(parts) => Node::And(list(parts)?),
        ExprKind::Or(parts) => Node::Or(list(parts)?),
        ExprKind::Not(input) => Node::Not(one(input)?),
        ExprKind::IsNull(input) => Node::IsNull(one(input)?),
        ExprKind::Case { branches, otherwise } => {
            let of_branch =
                |(condition, result): &(Expr, Expr)| Ok((compile(condition, context)?, compile(result, context)?));
            let branches = branches.iter().map(of_branch).collect::<Result<Vec<_>>>()?;
            case(branches, otherwise.as_deref().map(one).transpose()?, &expr.ty)?
        }
        ExprKind::Coalesce(parts) => Node::Coalesce(list(parts)?),
        ExprKind::InList { expr: input, list: values } => {
            let (input, values) = (one(input)?, list(values)?);
            match values.iter().map(|v| v.constant_value().cloned()).collect::<Option<Vec<_>>>() {
                Some(constants) => Node::InSet { set: ValueSet::new(&input.ty, &constants)?, input },
                None => Node::InList { input, list: values },
            }
        }
        ExprKind::Array(parts) => Node::Array(list(parts)?),
        ExprKind::Row(parts) => Node::Row(list(parts)?),
        ExprKind::Field(input, index) => Node::Field(one(input)?, *index),
        ExprKind::Quantified { left, function, name, array, all } => {
            let Implementation::Scalar(overload) = registry().implementation(*function) else {
                return Err(Error::internal(format!("{name} is not a scalar function")));
            };
            safe = false;
            Node::Quantified {
                left: one(left)?,
                array: one(array)?,
                kernel: overload.kernel,
                strict: overload.strict,
                all: *all,
            }
        }
        ExprKind::Subquery(subquery) => {
            safe = false;
            Node::Subquery(Box::new(Subquery::new(subquery, &expr.ty, context)?))
        }
        ExprKind::Lambda(_) => {
            safe = false;
            Node::Lambda(Box::new(Lambda::new(expr, context)?))
        }
    };
    let mut columns = walk::columns_read(expr);
    columns.sort_unstable();
    columns.dedup();
    let mut compiled = Expression { node, ty: expr.ty.clone(), columns, safe };
    compiled.safe = safe && compiled.children().iter().all(|child| child.safe);
    fold(&mut compiled, context);
    Ok(compiled)
}

fn case(branches: Vec<(Expression, Expression)>, otherwise: Option<Box<Expression>>, ty: &Type) -> Result<Node> {
    let null = Value::null(ty.clone());
    let last = otherwise.as_ref().map_or(Some(&null), |otherwise| otherwise.constant_value());
    let values = branches.iter().map(|(_, result)| result.constant_value()).chain([last]);
    let Some(values) = values.collect::<Option<Vec<&Value>>>().filter(|_| branches.iter().all(|(when, _)| when.safe))
    else {
        return Ok(Node::Case { branches, otherwise });
    };
    let values = concat(&values.iter().map(|value| value.array.as_ref()).collect::<Vec<_>>())?;
    Ok(Node::Choice { conditions: branches.into_iter().map(|(condition, _)| condition).collect(), values })
}

/// Computes an expression of constants once. An error waits until a row asks for the value.
fn fold(compiled: &mut Expression, context: &Arc<QueryContext>) {
    let foldable = match &compiled.node {
        Node::Column(_) | Node::Constant(_) | Node::Failure(_) | Node::Subquery(_) | Node::Lambda(_) => false,
        Node::Call { fold, .. } => *fold,
        _ => true,
    };
    if !foldable || !compiled.children().iter().all(|child| matches!(child.node, Node::Constant(_))) {
        return;
    }
    let row = Batch::new(Vec::new(), 1);
    compiled.node = match compiled.array(&row, context) {
        Ok(array) => Node::Constant(Value { ty: compiled.ty.clone(), array }),
        Err(error) => Node::Failure(error),
    };
    compiled.safe = matches!(compiled.node, Node::Constant(_));
}

/// The value of an expression that reads no columns.
pub(crate) fn constant(expr: &Expr, context: &Arc<QueryContext>) -> Result<Value> {
    let compiled = compile(expr, context)?;
    let array = compiled.array(&Batch::new(Vec::new(), 1), context)?;
    Ok(Value { ty: expr.ty.clone(), array })
}

/// A count of rows (LIMIT, OFFSET): `None` for NULL or no expression.
pub(crate) fn constant_of(expr: Option<&Expr>, context: &Arc<QueryContext>) -> Result<Option<i64>> {
    let Some(expr) = expr else { return Ok(None) };
    let value = constant(expr, context)?;
    if value.is_null() {
        return Ok(None);
    }
    match value.ty {
        Type::Int8 => Ok(Some(value.array.as_primitive::<Int64Type>().value(0))),
        ref other => Err(Error::internal(format!("a number of rows is a bigint, not {other}"))),
    }
}
