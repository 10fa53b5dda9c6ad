//! Optimiser rules over [`Plan`]: each its own file, each a function from plan to plan that gives the same rows and the same errors.

use crate::catalog::Functions;
use crate::catalog::Volatility;
use crate::plan::{Expr, ExprKind, Plan};
use crate::value::Value;
use crate::walk;

/// Evaluates constant expressions: the engine's part in constant folding.
pub trait Folder {
    /// The value of an expression without columns, parameters and subqueries, whose functions are all immutable; `None` where it fails (it is then left
    /// to fail when it is reached) or is better left alone.
    fn fold(&self, expr: &Expr) -> Option<Value>;
}

/// Applies all rules.
pub fn optimise(plan: Plan, _functions: &dyn Functions) -> Plan {
    plan
}

/// The volatility of a function by its id and the name it was called by; `Volatile` if it cannot be found.
pub(crate) fn volatility(function: crate::catalog::FunctionId, name: &str, functions: &dyn Functions) -> Volatility {
    let of = |name: &str| functions.overloads(name).iter().find(|signature| signature.id == function);
    of(name).or_else(|| of(&name.to_lowercase())).map_or(Volatility::Volatile, |signature| signature.volatility)
}

/// Whether an expression may differ between two evaluations over the same row.
pub(crate) fn is_volatile(expr: &Expr, functions: &dyn Functions) -> bool {
    walk::any(expr, &mut |node, _| match &node.kind {
        ExprKind::Call { function, name, .. } => volatility(*function, name, functions) == Volatility::Volatile,
        _ => false,
    })
}
