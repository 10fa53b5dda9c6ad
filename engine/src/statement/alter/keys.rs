//! ADD PRIMARY KEY and DROP CONSTRAINT: a table gets a unique key, or loses it.
//!
//! A key comes with every row written anew, since its index is part of a part; before, the rows are sorted by the key and no two
//! neighbours may be equal. Rows whose TTL is over are left out of both.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::row::{OwnedRow, RowConverter, SortField};
use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::plan::{Expr, Plan, SortKey};

use super::Work;
use crate::error::{Error, ErrorKind, Result};
use crate::session::Severity;
use crate::statement::define::check_key;
use crate::statement::names::sql_error;
use crate::statement::table::{output_columns, whole_scan};
use crate::statement::unique::key_and_values;

impl Work<'_> {
    /// ADD PRIMARY KEY.
    pub(super) fn add_primary_key(&mut self, columns: &[String]) -> Result<()> {
        let table = &self.def.name;
        if !self.def.primary_key.is_empty() || self.def.merging.is_some() {
            let message = format!("multiple primary keys for table \"{table}\" are not allowed");
            return Err(sql_error(SqlErrorKind::InvalidDefinition, message));
        }
        let mut key = Vec::new();
        for name in columns {
            let at = self.def.columns.iter().position(|column| column.name == *name).ok_or_else(|| {
                let message = format!("column \"{name}\" of relation \"{table}\" does not exist");
                sql_error(SqlErrorKind::UndefinedColumn, message)
            })?;
            if key.contains(&at) {
                let message = format!("column \"{name}\" appears twice in primary key constraint");
                return Err(sql_error(SqlErrorKind::DuplicateColumn, message));
            }
            key.push(at);
        }
        for name in columns {
            self.set_not_null(name, true)?;
        }
        if self.def.order_by.is_empty() {
            self.def.order_by.clone_from(&key);
        }
        self.def.primary_key = key;
        check_key(&self.def)?;
        self.rekey()
    }

    /// Looks at the keys of all rows, which are to be written anew.
    pub(super) fn rekey(&mut self) -> Result<()> {
        self.close_gate()?;
        self.anew = true;
        Ok(())
    }

    /// DROP CONSTRAINT. The columns stay NOT NULL, as in PostgreSQL.
    pub(super) fn drop_constraint(&mut self, name: &str, if_exists: bool) -> Result<()> {
        let table = &self.def.name;
        if self.def.primary_key.is_empty() || name != format!("{table}_pkey") {
            let message = format!("constraint \"{name}\" of relation \"{table}\" does not exist");
            if if_exists {
                self.session.notice(Severity::Notice, "00000", format!("{message}, skipping"));
                return Ok(());
            }
            return Err(sql_error(SqlErrorKind::UndefinedObject, message));
        }
        if let Some(view) = self.running.view.state.dependents(self.def.oid).next() {
            let message = format!("cannot drop constraint {name} on table {table} because other objects depend on it");
            let detail = format!("{} {} depends on table {table}.", view.def.kind.noun(), view.def.name);
            return Err(Error::new(ErrorKind::DependentObjects, message).with_detail(detail));
        }
        self.def.primary_key.clear();
        check_key(&self.def)
    }

    /// 23505 if two rows of the new definition have one key.
    pub(super) fn check_unique(&self) -> Result<()> {
        let Some(key) = self.def.key() else { return Ok(()) };
        let all = output_columns(&crate::catalog::Entry::new(self.def.clone()).relation);
        let ty = |at: usize| self.def.columns[at].ty.clone();
        let sort = |(nth, &at): (usize, &usize)| SortKey {
            expr: Expr::column(nth, ty(at)),
            descending: false,
            nulls_first: false,
        };
        let plan = Plan::Sort {
            input: Box::new(Plan::Project {
                input: Box::new(whole_scan(&self.entry.relation)),
                exprs: key.iter().map(|&at| self.current(at)).collect(),
                columns: key.iter().map(|&at| all[at].clone()).collect(),
            }),
            keys: key.iter().enumerate().map(sort).collect(),
        };
        let fields = key.iter().map(|&at| SortField::new(ty(at).to_arrow())).collect();
        let converter = RowConverter::new(fields)?;
        let mut last: Option<OwnedRow> = None;
        let mut rows = self.over_living_rows(&plan)?;
        while let Some(batch) = rows.next()? {
            let keys = converter.convert_columns(batch.columns())?;
            for (at, row) in keys.iter().enumerate() {
                let same =
                    if at == 0 { last.as_ref().is_some_and(|last| last.row() == row) } else { keys.row(at - 1) == row };
                if same {
                    return Err(self.repeated(&key, &batch, at));
                }
            }
            last = keys.num_rows().checked_sub(1).map(|at| keys.row(at).owned());
        }
        Ok(())
    }

    fn repeated(&self, key: &[usize], keys: &RecordBatch, row: usize) -> Error {
        let columns: Vec<(&str, &weir_sql::Type, &ArrayRef)> = key
            .iter()
            .zip(keys.columns())
            .map(|(&at, values)| (self.def.columns[at].name.as_str(), &self.def.columns[at].ty, values))
            .collect();
        let message = format!("could not create unique index \"{}_pkey\"", self.def.name);
        Error::new(ErrorKind::UniqueViolation, message)
            .with_detail(format!("Key {} is duplicated.", key_and_values(&columns, row)))
    }
}
