//! Files as rows.

use weir_sql::{Type, Value};

use crate::error::Result;
use crate::exec::context::TableFunction;

/// The functions that read files.
pub(crate) fn functions() -> Vec<TableFunction> {
    Vec::new()
}

/// The columns of a file, for the binder; `None` if the function is none of these.
pub(crate) fn columns(_name: &str, _args: &[Value], _named: &[(String, Value)]) -> Result<Option<Vec<(String, Type)>>> {
    Ok(None)
}
