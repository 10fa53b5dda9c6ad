//! Groups of a view that a commit touches: their states go, and are computed again.
//!
//! A group is its key as bytes. A view without groups keeps rows: there a whole row is the key.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{SortOptions, concat};
use arrow::row::RowConverter;
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::{Type, Value, walk};
use weir_storage::{Condition, Prune, PruneOp, RowSet, Snapshot, TableId};

use crate::cancel::Cancel;
use crate::error::Result;
use crate::exec::keys::{has_variants, normalize_all, row_converter};

/// With at most this many touched groups, their keys narrow down what is read.
const KEYS_MAX: usize = 256;

/// A set of groups.
pub(crate) struct Touched {
    /// The key columns of the table, in which a view's are the first…
    columns: Vec<usize>,
    /// …and their types.
    types: Vec<Type>,
    converter: RowConverter,
    groups: HashSet<Box<[u8]>>,
    any: bool,
    /// The keys' own values, while they are few.
    values: Option<Vec<Vec<ArrayRef>>>,
}

impl Touched {
    /// Of a view.
    pub(super) fn new(types: Vec<Type>) -> Result<Touched> {
        let columns = (0..types.len()).collect();
        Touched::of_columns(types, columns)
    }

    /// Of any table, whose key these columns are.
    pub(crate) fn of_columns(types: Vec<Type>, columns: Vec<usize>) -> Result<Touched> {
        let converter = row_converter(&types, &vec![SortOptions::default(); types.len()])?;
        Ok(Touched { columns, types, converter, groups: HashSet::new(), any: false, values: Some(Vec::new()) })
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.any
    }

    fn keys(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        normalize_all(&self.types, &rows.columns()[..self.types.len()])
    }

    /// Adds the groups of a view's states, or of keys.
    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        self.any |= rows.num_rows() > 0;
        if self.types.is_empty() || rows.num_rows() == 0 {
            return Ok(());
        }
        let bytes = self.converter.convert_columns(&self.keys(rows)?)?;
        self.groups.extend(bytes.iter().map(|row| row.as_ref().into()));
        match &mut self.values {
            Some(values) if self.groups.len() <= KEYS_MAX => values.push(rows.columns()[..self.types.len()].to_vec()),
            values => *values = None,
        }
        Ok(())
    }

    /// Adds the groups of another set of the same view.
    pub(super) fn absorb(&mut self, other: Touched) {
        self.any |= other.any;
        self.groups.extend(other.groups);
        self.values = match (self.values.take(), other.values) {
            (Some(mut mine), Some(theirs)) if self.groups.len() <= KEYS_MAX => {
                mine.extend(theirs);
                Some(mine)
            }
            _ => None,
        };
    }

    /// Which rows of the view's own table are of these groups.
    pub(crate) fn mask(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        if self.types.is_empty() {
            return Ok(BooleanArray::from(vec![self.any; rows.num_rows()]));
        }
        let bytes = self.converter.convert_columns(&self.keys(rows)?)?;
        Ok(bytes.iter().map(|row| Some(self.groups.contains(row.as_ref()))).collect())
    }

    /// The states of these groups in the view's own table.
    pub(crate) fn states(&self, snapshot: &Snapshot, table: TableId, cancel: &Cancel) -> Result<RowSet> {
        let scan = snapshot.scan(table, &self.conditions())?;
        let mut places = Vec::new();
        for granule in 0..scan.len() {
            cancel.check()?;
            let rows = scan.read(granule, &self.columns, None)?;
            let selection: Vec<u32> = self.mask(&rows)?.values().set_indices_u32().collect();
            if !selection.is_empty() {
                places.extend_from_slice(scan.places(granule, Some(&selection))?.values());
            }
        }
        Ok(snapshot.row_set(table, &places)?)
    }

    /// The values of a key column, if they are few, none is NULL, and equal ones look alike.
    fn few(&self, key: usize) -> Option<ArrayRef> {
        let ty = &self.types[key];
        if has_variants(ty) || matches!(ty, Type::Float4 | Type::Float8 | Type::Array(_) | Type::Record(_) | Type::Json)
        {
            return None;
        }
        let columns: Vec<&dyn Array> = self.values.as_ref()?.iter().map(|keys| keys[key].as_ref()).collect();
        let all = concat(&columns).ok()?;
        (all.null_count() == 0).then_some(all)
    }

    /// Conditions on the view's own table.
    fn conditions(&self) -> Vec<Condition> {
        let few = self.columns.iter().enumerate().filter_map(|(key, &column)| Some((column, self.few(key)?)));
        few.map(|(column, values)| Prune { column, op: PruneOp::In, values }.into()).collect()
    }

    /// What holds for all rows of these groups and few others, where these are the keys.
    pub(super) fn condition(&self, keys: Vec<Expr>) -> Option<Expr> {
        let narrowed = keys.into_iter().enumerate().filter_map(|(key, expr)| {
            let (values, ty) = (self.few(key)?, self.types[key].clone());
            let value = |at| Expr::literal(Value::new(ty.clone(), values.slice(at, 1)));
            let list = (0..values.len()).map(value).collect();
            Some(Expr::new(ExprKind::InList { expr: Box::new(expr), list }, Type::Bool))
        });
        walk::conjunction(narrowed.collect())
    }
}
