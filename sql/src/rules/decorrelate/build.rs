//! Expressions and operators that take the place of queries: calls by name, joins in which NULL meets NULL, projections.

use arrow::array::{Array, make_array, new_null_array};
use arrow::datatypes::DataType;

use crate::bind::binder::resolve::overload_of;
use crate::bind::binder::window;
use crate::catalog::{FunctionId, FunctionKind, Functions};
use crate::plan::{AggregateCall, Expr, ExprKind, JoinKind, OutputColumn, Plan, SortKey};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// A column that is computed.
pub(super) fn computed(expr: &Expr) -> OutputColumn {
    OutputColumn { collating: expr.collating.of_column(), ..OutputColumn::computed("?column?", expr.ty.clone()) }
}

/// The columns of a plan, from one place on, as expressions.
pub(super) fn columns_from(columns: &[OutputColumn], first: usize) -> Vec<Expr> {
    columns.iter().enumerate().skip(first).map(|(at, column)| Expr::column(at, column.ty.clone())).collect()
}

/// A plan's columns at these places.
pub(super) fn select(plan: Plan, places: &[usize]) -> Plan {
    let all = plan.columns();
    let columns: Vec<OutputColumn> = places.iter().map(|&at| all[at].clone()).collect();
    let exprs = places.iter().zip(&columns).map(|(&at, column)| Expr::column(at, column.ty.clone())).collect();
    Plan::Project { input: Box::new(plan), exprs, columns }
}

/// A plan's first columns.
pub(super) fn first_columns(plan: Plan, columns: Vec<OutputColumn>) -> Plan {
    if plan.columns().len() == columns.len() {
        return plan;
    }
    let exprs = columns_from(&columns, 0);
    Plan::Project { input: Box::new(plan), exprs, columns }
}

/// A plan with more columns after its own.
pub(super) fn extended(plan: Plan, more: Vec<Expr>) -> Plan {
    let mut columns = plan.columns().to_vec();
    let mut exprs = columns_from(&columns, 0);
    columns.extend(more.iter().map(computed));
    exprs.extend(more);
    Plan::Project { input: Box::new(plan), exprs, columns }
}

pub(super) fn filtered(plan: Plan, conditions: Vec<Expr>) -> Plan {
    match walk::conjunction(conditions) {
        Some(predicate) => Plan::Filter { input: Box::new(plan), predicate },
        None => plan,
    }
}

pub(super) fn sorted(plan: Plan, keys: Vec<SortKey>) -> Plan {
    Plan::Sort { input: Box::new(plan), keys }
}

/// In ascending order of these.
pub(super) fn ascending(exprs: Vec<Expr>) -> Vec<SortKey> {
    exprs.into_iter().map(|expr| SortKey { expr, descending: false, nulls_first: false }).collect()
}

pub(super) fn not(expr: Expr) -> Expr {
    Expr::new(ExprKind::Not(Box::new(expr)), Type::Bool)
}

pub(super) fn is_null(expr: Expr) -> Expr {
    Expr::new(ExprKind::IsNull(Box::new(expr)), Type::Bool)
}

pub(super) fn and(list: Vec<Expr>) -> Expr {
    Expr::new(ExprKind::And(list), Type::Bool)
}

pub(super) fn or(list: Vec<Expr>) -> Expr {
    Expr::new(ExprKind::Or(list), Type::Bool)
}

/// A condition, or a truth value where it is NULL.
pub(super) fn settled(condition: Expr, if_null: bool) -> Expr {
    let list = vec![condition, Expr::literal(Value::bool(if_null))];
    Expr::new(ExprKind::Coalesce(list), Type::Bool)
}

/// The first branch that holds.
pub(super) fn case(branches: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    let ty = otherwise.ty.clone();
    Expr::new(ExprKind::Case { branches, otherwise: Some(Box::new(otherwise)) }, ty)
}

/// The function of this kind that takes exactly these types, and the type of its result.
fn exact(name: &str, kind: FunctionKind, args: &[Expr], functions: &dyn Functions) -> Option<(FunctionId, Type)> {
    let types: Vec<Type> = args.iter().map(|arg| arg.ty.clone()).collect();
    let (signature, cast, ty) = overload_of(functions.overloads(name), &types)?;
    (signature.kind == kind && cast == types).then_some((signature.id, ty))
}

/// A call of a scalar function of exactly these types; `None` if there is none.
pub(in crate::rules) fn call(name: &str, args: Vec<Expr>, functions: &dyn Functions) -> Option<Expr> {
    let (function, ty) = exact(name, FunctionKind::Scalar, &args, functions)?;
    Some(Expr::new(ExprKind::Call { function, name: name.into(), args }, ty))
}

/// A call of an aggregate over these; `None` if there is none of exactly these types.
pub(in crate::rules) fn aggregate(name: &str, args: Vec<Expr>, functions: &dyn Functions) -> Option<AggregateCall> {
    let (function, ty) = exact(name, FunctionKind::Aggregate, &args, functions)?;
    Some(AggregateCall {
        function,
        name: name.into(),
        params: Vec::new(),
        args,
        distinct: false,
        filter: None,
        order_by: Vec::new(),
        combinator: None,
        ty,
    })
}

/// How many rows there are for which a condition holds.
pub(super) fn count_of(condition: Option<Expr>, functions: &dyn Functions) -> Option<AggregateCall> {
    Some(AggregateCall { filter: condition, ..aggregate("count", Vec::new(), functions)? })
}

/// The comparison behind an id.
pub(super) fn comparison(id: FunctionId, functions: &dyn Functions) -> Option<&'static str> {
    const NAMES: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];
    NAMES.into_iter().find(|name| functions.overloads(name).iter().any(|signature| signature.id == id))
}

/// The rows of a plan, numbered in the order of `keys` among those that are equal in `partition_by`: a bigint after the plan's columns.
pub(super) fn numbered(
    plan: Plan,
    partition_by: Vec<Expr>,
    keys: Vec<SortKey>,
    functions: &dyn Functions,
) -> Option<Plan> {
    let call = window::numbering("row_number", functions).ok()?;
    let mut columns = plan.columns().to_vec();
    columns.push(computed(&Expr::column(0, Type::Int8)));
    let order: Vec<SortKey> = ascending(partition_by.clone()).into_iter().chain(keys.iter().cloned()).collect();
    let input = if order.is_empty() { plan } else { sorted(plan, order) };
    Some(Plan::Window { input: Box::new(input), partition_by, order_by: keys, calls: vec![call], columns })
}

/// Pairs of keys that are equal where two values are not distinct. If one side has no NULL, that is where they are equal.
pub(crate) fn not_distinct(left: Expr, right: Expr, no_null: bool) -> Vec<(Expr, Expr)> {
    if no_null {
        return vec![(left, right)];
    }
    match zero(&left.ty) {
        Some(zero) => {
            let filled = |expr: Expr| {
                let ty = expr.ty.clone();
                Expr::new(ExprKind::Coalesce(vec![expr, Expr::literal(zero.clone())]), ty)
            };
            vec![(filled(left.clone()), filled(right.clone())), (is_null(left), is_null(right))]
        }
        // A record of a NULL is no NULL.
        None => {
            let record = |expr: Expr| {
                let ty = Type::Record(vec![("f1".into(), expr.ty.clone())]);
                Expr::new(ExprKind::Row(vec![expr]), ty)
            };
            vec![(record(left), record(right))]
        }
    }
}

/// Any value of a type that is no NULL, where its Arrow form has an obvious one.
fn zero(ty: &Type) -> Option<Value> {
    let arrow = ty.to_arrow();
    let plain = match &arrow {
        DataType::Boolean | DataType::Utf8View | DataType::BinaryView | DataType::FixedSizeBinary(_) => true,
        DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..) => true,
        other => other.is_numeric(),
    };
    // An empty text is no json, and no bytes are no numeric.
    if !plain || matches!(ty, Type::Json | Type::Jsonb | Type::Numeric(None) | Type::State(_)) {
        return None;
    }
    let data = new_null_array(&arrow, 1).to_data().into_builder().nulls(None).build().ok()?;
    Some(Value { ty: ty.clone(), array: make_array(data) })
}

/// Whether a column of a plan is certainly never NULL.
pub(super) fn never_null(plan: &Plan, column: usize) -> bool {
    match plan {
        Plan::Scan(scan) => {
            let own = scan.projection.get(column).and_then(|own| scan.relation.columns.get(*own));
            own.is_some_and(|own| !own.nullable)
        }
        Plan::Filter { input, .. }
        | Plan::Sort { input, .. }
        | Plan::Sample { input, .. }
        | Plan::Limit { input, .. }
        | Plan::Distinct { input, .. }
        | Plan::Cte { input, .. } => never_null(input, column),
        Plan::Project { input, exprs, .. } => exprs.get(column).is_some_and(|expr| is_never_null(input, expr)),
        Plan::Window { input, .. } | Plan::ProjectSet { input, .. } => {
            column < input.columns().len() && never_null(input, column)
        }
        Plan::Aggregate { input, keys, always, aggregates, .. } => match keys.get(column) {
            Some(key) => always.is_empty() && is_never_null(input, key),
            None => aggregates.get(column - keys.len()).is_some_and(|call| call.name == "count"),
        },
        Plan::Join { kind, left, right, .. } => {
            let width = left.columns().len();
            match kind {
                JoinKind::Inner if column >= width => never_null(right, column - width),
                JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti => {
                    column < width && never_null(left, column)
                }
                JoinKind::Right => column >= width && never_null(right, column - width),
                JoinKind::Full => false,
            }
        }
        _ => false,
    }
}

/// Whether an expression over a plan is certainly never NULL.
pub(super) fn is_never_null(plan: &Plan, expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Column(column) => never_null(plan, *column),
        ExprKind::Literal(value) => !value.is_null(),
        ExprKind::Coalesce(list) => list.iter().any(|one| is_never_null(plan, one)),
        _ => false,
    }
}
