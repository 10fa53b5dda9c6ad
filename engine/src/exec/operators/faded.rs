//! Columns that are shown otherwise than they are stored: a value whose TTL is over is its column's default.

use std::sync::Arc;

use arrow::array::ArrayRef;
use weir_sql::plan::Expr;

use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::Expression;

/// For some of a table's columns, what is shown in their place, over the columns as they are stored.
pub(super) struct Faded {
    columns: Vec<(usize, Expression)>,
    /// How many columns a row has, its place included.
    width: usize,
}

impl Faded {
    pub(super) fn new(columns: &[(usize, Expr)], width: usize, context: &Arc<QueryContext>) -> Result<Faded> {
        let compile = |(column, shown): &(usize, Expr)| Ok((*column, Expression::new(shown, context)?));
        Ok(Faded { columns: columns.iter().map(compile).collect::<Result<_>>()?, width })
    }

    pub(super) fn prepare(&self, context: &Arc<QueryContext>) {
        self.columns.iter().for_each(|(_, shown)| shown.prepare(context));
    }

    pub(super) fn is_faded(&self, column: usize) -> bool {
        self.columns.iter().any(|(faded, _)| *faded == column)
    }

    /// What `read` gives of these columns, as it is shown.
    pub(super) fn read(
        &self,
        columns: &[usize],
        read: impl Fn(&[usize]) -> Result<Vec<ArrayRef>>,
        context: &Arc<QueryContext>,
    ) -> Result<Vec<ArrayRef>> {
        let faded: Vec<_> = self.columns.iter().filter(|(column, _)| columns.contains(column)).collect();
        if faded.is_empty() {
            return read(columns);
        }
        let inputs = faded.iter().flat_map(|(_, shown)| shown.columns.iter().copied());
        let mut stored: Vec<usize> = columns.iter().copied().chain(inputs).collect();
        stored.sort_unstable();
        stored.dedup();
        let arrays = read(&stored)?;
        let rows = arrays.first().map_or(0, |array| array.len());
        let batch = Batch::sparse(self.width, rows, stored.iter().copied().zip(arrays));
        let shown = |column: &usize| match faded.iter().find(|(of, _)| of == column) {
            Some((_, shown)) => shown.array(&batch, context),
            None => batch.columns.get(*column).cloned().ok_or_else(|| Error::internal("a column was not read")),
        };
        columns.iter().map(shown).collect()
    }
}
