//! What a query's answer for a row may depend on beside its value: whether it fails, and how the value is written.

use crate::catalog::Functions;
use crate::plan::{Expr, ExprKind, Plan};
use crate::rules::is_volatile;
use crate::types::Type;
use crate::walk;

/// Functions that give a value for every argument.
const TOTAL: [&str; 37] = [
    "=",
    "<>",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "like",
    "ilike",
    "not like",
    "not ilike",
    "~~",
    "!~~",
    "~~*",
    "!~~*",
    "||",
    "lower",
    "upper",
    "length",
    "char_length",
    "character_length",
    "trim",
    "btrim",
    "ltrim",
    "rtrim",
    "concat",
    "concat_ws",
    "reverse",
    "replace",
    "left",
    "right",
    "nullif",
    "greatest",
    "least",
    "isdistinctfrom",
    "now",
    "md5",
];
/// These fail where a result is out of range only.
const ARITHMETIC: [&str; 5] = ["+", "-", "*", "abs", "round"];

/// Whether a query may fail for some rows that it reads. If it is not `strict`, results out of range do not count.
pub(super) fn plan(query: &Plan, functions: &dyn Functions, strict: bool) -> bool {
    let mut found = false;
    walk::visit_plan(query, 1, &mut |node, _| found = found || may_fail(node, functions, strict));
    found || table_function(query)
}

/// Whether an expression may fail.
pub(super) fn expr(of: &Expr, functions: &dyn Functions, strict: bool) -> bool {
    walk::any(of, &mut |node, _| may_fail(node, functions, strict))
}

fn may_fail(node: &Expr, functions: &dyn Functions, strict: bool) -> bool {
    match &node.kind {
        ExprKind::Call { name, .. } => {
            let name = name.to_lowercase();
            let total = TOTAL.contains(&name.as_str()) || !strict && ARITHMETIC.contains(&name.as_str());
            !total || is_volatile(node, functions)
        }
        ExprKind::Cast { expr, lenient, .. } => !lenient && !widens(&expr.ty, &node.ty),
        _ => false,
    }
}

/// Whether every value of one type is one of the other.
fn widens(from: &Type, to: &Type) -> bool {
    let wide = |ty: &Type| matches!(ty, Type::Float8 | Type::Numeric(None));
    match (from, to) {
        _ if from == to => true,
        (_, Type::Text | Type::Varchar(None)) => true,
        (Type::Int2, Type::Int4 | Type::Int8) | (Type::Int4, Type::Int8) => true,
        (_, to) if from.is_integer() && wide(to) => true,
        (Type::Float4, Type::Float8) | (Type::Numeric(_), Type::Numeric(None)) => true,
        (Type::Date, Type::Timestamp | Type::Timestamptz) => true,
        (Type::Timestamp, Type::Timestamptz) | (Type::Timestamp | Type::Timestamptz, Type::Date) => true,
        _ => false,
    }
}

fn table_function(plan: &Plan) -> bool {
    let mut found = match plan {
        Plan::TableFunction { args, .. } => args.iter().any(super::unnest::reads_outer),
        _ => false,
    };
    walk::plans(plan, &mut |below| found = found || table_function(below));
    found
}

/// Texts of those outer values that a query may tell apart though they are equal: 1 month and 30 days, 1.0 and 1.00, 0 and -0.
pub(super) fn told_apart(query: &Plan, keys: &[Expr]) -> Vec<Expr> {
    let written = |key: &&Expr| {
        let ExprKind::Column(column) = key.kind else { return false };
        let looks = matches!(
            &key.ty,
            Type::Interval
                | Type::Numeric(None)
                | Type::Float4
                | Type::Float8
                | Type::Bpchar(_)
                | Type::Array(_)
                | Type::Record(_)
                | Type::Jsonb
        );
        looks && !only_compared(query, column)
    };
    let text = |key: &Expr| {
        let kind = ExprKind::Cast { expr: Box::new(key.clone()), explicit: true, lenient: false };
        Expr::new(kind, Type::Text)
    };
    keys.iter().filter(written).map(text).collect()
}

/// Whether all that a query does with an outer column is to compare it.
fn only_compared(query: &Plan, column: usize) -> bool {
    let is_it = |node: &Expr, depth: usize| matches!(node.kind, ExprKind::Outer { depth: out, column: of } if out == depth && of == column);
    let (mut all, mut compared) = (0, 0);
    walk::visit_plan(query, 1, &mut |node, depth| {
        all += usize::from(is_it(node, depth));
        if let ExprKind::Call { name, args, .. } = &node.kind
            && matches!(name.as_str(), "=" | "<>" | "<" | "<=" | ">" | ">=")
        {
            compared += args.iter().filter(|arg| is_it(arg, depth)).count();
        }
    });
    all == compared
}
