//! Optimiser rules over [`Plan`]: each its own file, each a function from plan to plan that gives the same rows and the same errors.

use crate::catalog::Functions;
use crate::plan::{Expr, Plan};
use crate::value::Value;

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
