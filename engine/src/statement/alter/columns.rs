//! Columns that come, go, change names and places.

use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::bind::{Binder, ddl, settled_type};
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::statement::{AddColumn, Place};
use weir_sql::{Type, walk};
use weir_storage::TableId;

use super::depends::renamed;
use super::{Origin, Work};
use crate::catalog::{ColumnDef, MergingDef, RelationDef};
use crate::error::{Error, ErrorKind, Result};
use crate::functions::registry;
use crate::session::Severity;
use crate::statement::names::sql_error;
use crate::statement::table::NoRelations;

impl Work<'_> {
    /// ADD COLUMN: rows that are there get its DEFAULT as it is now, or NULL.
    pub(super) fn add_column(&mut self, add: &AddColumn) -> Result<()> {
        let add = &AddColumn { ty: settled_type(registry(), &add.ty)?, ..add.clone() };
        let relation = &self.def.name;
        if self.def.columns.iter().any(|column| column.name == add.name) {
            let message = format!("column \"{}\" of relation \"{relation}\" already exists", add.name);
            if add.if_not_exists {
                self.session.notice(Severity::Notice, "42701", format!("{message}, skipping"));
                return Ok(());
            }
            return Err(sql_error(SqlErrorKind::DuplicateColumn, message));
        }
        if matches!(add.ty, Type::Unknown | Type::Void | Type::Record(_)) {
            let message = format!("column \"{}\" has pseudo-type {}", add.name, add.ty);
            return Err(sql_error(SqlErrorKind::InvalidDefinition, message));
        }
        let clickhouse = self.def.engine.is_some();
        let nullable = add.nullable.unwrap_or(!clickhouse || matches!(add.ty, Type::State(_)));
        let mut binder = Binder::new(&NoRelations, registry(), &[]);
        let default = match &add.default {
            Some(sql) => Some((sql.clone(), self.default(sql, &add.name, &add.ty)?)),
            None if clickhouse && !nullable => ddl::zero(&mut binder, &add.ty)?.map(|zero| (zero.sql, zero.expr)),
            None => None,
        };
        let mut origin = Origin { id: self.next_id(), old: None, expr: None, missing: None };
        match &default {
            Some((_, expr)) if binder.is_volatile(expr) => {
                self.close_gate()?;
                origin.expr = Some(expr.clone());
            }
            Some((_, expr)) => origin.missing = Some(self.value(expr)?),
            None => {}
        }
        let is_null = origin.expr.is_none() && origin.missing.as_ref().is_none_or(|value| value.is_null(0));
        if !nullable && is_null {
            self.close_gate()?;
            let stored = self.session.view()?.snapshot.table(TableId(self.def.oid));
            if stored.is_some_and(|table| table.rows() > 0) {
                return Err(self.contains_null(&add.name));
            }
        }
        let column = ColumnDef {
            name: add.name.clone(),
            ty: add.ty.clone(),
            nullable,
            default: default.map(|(sql, _)| sql),
            codec: add.codec.clone(),
            fold: None,
            collation: add.collation,
            scale: add.scale,
            comment: add.comment.clone(),
        };
        let at = match &add.place {
            None => self.def.columns.len(),
            Some(place) => self.place(place)?,
        };
        self.def.columns.insert(at, column);
        self.origins.insert(at, origin);
        remap(&mut self.def, &|column| if column >= at { column + 1 } else { column });
        match &add.ttl {
            Some(rule) => self.set_column_ttl(&add.name, Some(rule)),
            None => Ok(()),
        }
    }

    pub(super) fn contains_null(&self, column: &str) -> Error {
        let message = format!("column \"{column}\" of relation \"{}\" contains null values", self.def.name);
        Error::new(ErrorKind::NotNullViolation, message)
    }

    /// An id that no column of the table ever had.
    pub(super) fn next_id(&mut self) -> u32 {
        let last = self.def.last_column_id.unwrap_or(0).max(self.origins.iter().map(|o| o.id).max().unwrap_or(0)) + 1;
        self.def.last_column_id = Some(last);
        last
    }

    /// Where FIRST or AFTER is.
    fn place(&self, place: &Place) -> Result<usize> {
        match place {
            Place::First => Ok(0),
            Place::After(name) => Ok(self.column(name)? + 1),
        }
    }

    /// DROP COLUMN.
    pub(super) fn drop_column(&mut self, name: &str, if_exists: bool, cascade: bool) -> Result<()> {
        if if_exists && self.column(name).is_err() {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist, skipping", self.def.name);
            self.session.notice(Severity::Notice, "00000", message);
            return Ok(());
        }
        let at = self.column(name)?;
        self.drop_dependents(at, cascade)?;
        if self.def.columns.len() == 1 {
            let message = format!("cannot drop the only column of table \"{}\"", self.def.name);
            return Err(sql_error(SqlErrorKind::Unsupported, message));
        }
        // Its id is not given out again.
        let last = self.origins.iter().map(|origin| origin.id).max();
        self.def.last_column_id = self.def.last_column_id.max(last);
        self.def.columns.remove(at);
        self.def.ttl.retain(|rule| rule.of != Some(at));
        self.origins.remove(at);
        // As PostgreSQL has it, its indexes go with a column.
        self.def.indexes.retain(|index| !index.keys.iter().any(|key| key.columns.contains(&at)));
        remap(&mut self.def, &|column| if column > at { column - 1 } else { column });
        Ok(())
    }

    /// RENAME COLUMN. Expressions of the definition follow; a query that names the column forbids it.
    pub(super) fn rename_column(&mut self, name: &str, to: &str, if_exists: bool) -> Result<()> {
        if if_exists && self.column(name).is_err() {
            return Ok(());
        }
        let missing = || sql_error(SqlErrorKind::UndefinedColumn, format!("column \"{name}\" does not exist"));
        let at = self.column(name).map_err(|_| missing())?;
        if self.def.columns.iter().any(|column| column.name == to) {
            let message = format!("column \"{to}\" of relation \"{}\" already exists", self.def.name);
            return Err(sql_error(SqlErrorKind::DuplicateColumn, message));
        }
        self.refuse_if_read(at, "rename")?;
        let before = self.def.clone();
        self.def.columns[at].name = to.to_string();
        if let Some(sql) = &mut self.def.partition_by {
            *sql = renamed(sql, &before, &self.def.columns, at)?;
        }
        if let Some((_, sql)) = &mut self.def.watermark {
            *sql = renamed(sql, &before, &self.def.columns, at)?;
        }
        for key in self.def.indexes.iter_mut().flat_map(|index| &mut index.keys) {
            key.sql = renamed(&key.sql, &before, &self.def.columns, at)?;
        }
        for rule in &mut self.def.ttl {
            let condition =
                rule.condition.as_deref().map(|sql| renamed(sql, &before, &self.def.columns, at)).transpose()?;
            if rule.rollup {
                rule.sql = weir_sql::parse::rename_column(&rule.sql, name, to)?;
                rule.condition = condition;
                continue;
            }
            let time = rule.sql.split(" DELETE WHERE ").next().unwrap_or_default();
            let time = renamed(time, &before, &self.def.columns, at)?;
            rule.sql = match &condition {
                Some(condition) => format!("{time} DELETE WHERE {condition}"),
                None => time,
            };
            rule.condition = condition;
        }
        Ok(())
    }

    /// MODIFY COLUMN … FIRST | AFTER.
    pub(super) fn move_column(&mut self, name: &str, place: &Place) -> Result<()> {
        let from = self.column(name)?;
        let mut to = self.place(place)?;
        if to > from {
            to -= 1;
        }
        let column = self.def.columns.remove(from);
        self.def.columns.insert(to, column);
        let origin = self.origins.remove(from);
        self.origins.insert(to, origin);
        remap(&mut self.def, &|column| match column {
            column if column == from => to,
            column if from < column && column <= to => column - 1,
            column if to <= column && column < from => column + 1,
            column => column,
        });
        Ok(())
    }

    /// SET DEFAULT: for rows to come.
    pub(super) fn set_default(&mut self, name: &str, default: Option<&str>) -> Result<()> {
        let at = self.column(name)?;
        if self.def.ttl.iter().any(|rule| rule.of == Some(at)) {
            let message = format!("cannot alter the default of column \"{name}\" because it has a TTL");
            return Err(sql_error(SqlErrorKind::Unsupported, message)
                .with_detail("Values whose time is over are the default already."));
        }
        if let Some(sql) = default {
            self.default(sql, name, &self.def.columns[at].ty)?;
        }
        self.def.columns[at].default = default.map(str::to_string);
        Ok(())
    }

    /// A DEFAULT, bound; a constant has to be one of its type.
    fn default(&self, sql: &str, name: &str, ty: &Type) -> Result<Expr> {
        let mut binder = Binder::new(&NoRelations, registry(), &[]);
        let expr = ddl::default(&mut binder, &weir_sql::parse::expr(sql)?, name, ty)?;
        let constant = |node: &Expr| matches!(node.kind, ExprKind::Literal(_) | ExprKind::Cast { .. });
        if !walk::any(&expr, &mut |node, _| !constant(node)) {
            self.value(&expr)?;
        }
        Ok(expr)
    }

    /// SET NOT NULL looks at every row; DROP NOT NULL at none.
    pub(super) fn set_not_null(&mut self, name: &str, not_null: bool) -> Result<()> {
        let at = self.column(name)?;
        if !not_null {
            if self.def.primary_key.contains(&at) {
                let message = format!("column \"{name}\" is in a primary key");
                return Err(sql_error(SqlErrorKind::InvalidDefinition, message));
            }
            self.def.columns[at].nullable = true;
            return Ok(());
        }
        if self.def.columns[at].nullable {
            self.close_gate()?;
            if self.has_null(at)? {
                return Err(self.contains_null(name));
            }
            self.def.columns[at].nullable = false;
        }
        Ok(())
    }
}

/// Gives the columns that a definition names by number their new numbers.
fn remap(def: &mut RelationDef, to: &dyn Fn(usize) -> usize) {
    let indexed = def.indexes.iter_mut().flat_map(|index| &mut index.keys).flat_map(|key| &mut key.columns);
    let columns = def.primary_key.iter_mut().chain(&mut def.order_by).chain(indexed);
    let columns = columns.chain(def.merging.iter_mut().flat_map(MergingDef::columns_mut));
    let columns =
        columns.chain(def.ttl.iter_mut().flat_map(|rule| std::iter::once(&mut rule.column).chain(&mut rule.of)));
    columns.chain(def.watermark.iter_mut().map(|(column, _)| column)).for_each(|column| *column = to(*column));
}
