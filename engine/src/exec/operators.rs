//! One file an operator; [`compile`] makes the tree of a plan.

use std::sync::Arc;

use weir_sql::plan::Plan;

use crate::error::{Error, Result};
use crate::exec::context::QueryContext;
use crate::exec::operator::Node;

/// Compiles a plan.
pub(crate) fn compile(_plan: &Plan, _context: &Arc<QueryContext>) -> Result<Node> {
    Err(Error::internal("SQL is not built yet"))
}
