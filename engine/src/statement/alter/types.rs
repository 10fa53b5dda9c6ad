//! ALTER COLUMN TYPE.

use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::Type;
use weir_sql::bind::{Binder, CoercionContext, ddl, settled_type};
use weir_sql::collation::Collation;
use weir_sql::plan::Expr;
use weir_sql::statement::SetType;

use super::depends::{clauses_with, uses};
use super::{Origin, Work};
use crate::error::Result;
use crate::functions::registry;
use crate::session::Severity;
use crate::statement::define::check_key;
use crate::statement::index;
use crate::statement::names::sql_error;
use crate::statement::table::{NoRelations, bind_over, output_columns};

/// Whether values of `from`, as they are kept, are values of `to`.
fn is_instant(from: &Type, to: &Type) -> bool {
    let numbers = |ty: &Type| ty.is_integer() || matches!(ty, Type::Float4 | Type::Float8 | Type::Numeric(Some(_)));
    match (from, to) {
        (from, to) if from == to => true,
        (Type::Text | Type::Varchar(_), Type::Text | Type::Varchar(None)) => true,
        (Type::Varchar(Some(from)), Type::Varchar(Some(to))) => from <= to,
        (from, to) => numbers(from) && numbers(to) && weir_storage::widens(&from.to_arrow(), &to.to_arrow()),
    }
}

impl Work<'_> {
    /// ALTER COLUMN TYPE: at once where the new type holds what the old one did; otherwise every row is written anew.
    pub(super) fn set_type(&mut self, set: &SetType) -> Result<()> {
        let set = &SetType { ty: settled_type(registry(), &set.ty)?, ..set.clone() };
        let name = &set.column;
        if set.if_exists && self.column(name).is_err() {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist, skipping", self.def.name);
            self.session.notice(Severity::Notice, "00000", message);
            return Ok(());
        }
        let at = self.column(name)?;
        let from = self.def.columns[at].ty.clone();
        if matches!(set.ty, Type::Unknown | Type::Void | Type::Record(_)) {
            let message = format!("column \"{name}\" has pseudo-type {}", set.ty);
            return Err(sql_error(SqlErrorKind::InvalidDefinition, message));
        }
        self.def.columns[at].scale = set.scale;
        // As in Postgres, a type without COLLATE is of the database's.
        if !set.clickhouse {
            self.def.columns[at].collation = set.collation.filter(|collation| *collation != Collation::DEFAULT);
        }
        if from != set.ty || set.using.is_some() {
            self.refuse_type_in_use(at)?;
            let instant = set.using.is_none() && is_instant(&from, &set.ty) && self.origins[at].expr.is_none();
            if !instant && self.def.key().is_some_and(|key| key.contains(&at)) {
                self.rekey()?;
            }
            if !instant {
                let expr = self.converted(at, set)?;
                self.close_gate()?;
                // To storage it is another column: old parts have no values of it.
                let id = self.next_id();
                self.origins[at] = Origin { id, expr: Some(expr), missing: None, ..self.origins[at].clone() };
            }
            self.def.columns[at].ty = set.ty.clone();
            self.check_default(at)?;
            check_key(&self.def)?;
            index::with_new_type(self.session, &mut self.def, at)?;
        }
        if set.clickhouse && self.def.engine.is_some() && set.nullable != self.def.columns[at].nullable {
            self.set_not_null(name, !set.nullable)?;
        }
        Ok(())
    }

    fn refuse_type_in_use(&self, at: usize) -> Result<()> {
        self.refuse_if_read(at, "alter type of")?;
        if self.def.columns[at].fold.is_some() {
            let message = "cannot alter type of a column with an aggregate function";
            return Err(sql_error(SqlErrorKind::Unsupported, message));
        }
        let (name, table) = (&self.def.columns[at].name, &self.def.name);
        let in_partition = self.def.partition_by.as_deref().is_some_and(|sql| uses(sql, &self.def, at));
        let clauses = clauses_with(&self.def, at);
        match clauses.iter().find(|clause| matches!(**clause, "TTL" | "watermark")).copied() {
            None if !in_partition => Ok(()),
            clause => {
                let clause = clause.unwrap_or("partition key");
                let message = format!("cannot alter type of a column used by the {clause} of a table");
                let detail = format!("{clause} of table {table} depends on column {name}.");
                Err(sql_error(SqlErrorKind::Unsupported, message).with_detail(detail))
            }
        }
    }

    /// The new values, over the old table's columns.
    fn converted(&self, at: usize, set: &SetType) -> Result<Expr> {
        let name = &set.column;
        let mut binder = Binder::new(&NoRelations, registry(), &[]);
        let expr = match &set.using {
            Some(sql) => bind_over(sql, &output_columns(&self.entry.relation))?,
            None => self.current(at),
        };
        let from = expr.ty.clone();
        let not_cast =
            |message: String, hint: String| sql_error(SqlErrorKind::DatatypeMismatch, message).with_hint(hint);
        binder.coerce(expr, &set.ty, CoercionContext::Assignment).map_err(|_| match &set.using {
            None => not_cast(
                format!("column \"{name}\" cannot be cast automatically to type {}", set.ty),
                format!("You might need to specify \"USING {name}::{}\".", set.ty),
            ),
            Some(_) => not_cast(
                format!("result of USING clause for column \"{name}\" cannot be cast automatically to type {}", set.ty),
                format!("You might need to add an explicit cast. It is of type {from}."),
            ),
        })
    }

    /// A column's values as they are by now, over the old table's columns.
    pub(super) fn current(&self, at: usize) -> Expr {
        let origin = &self.origins[at];
        let ty = &self.def.columns[at].ty;
        match (&origin.expr, origin.old) {
            (Some(expr), _) => expr.clone(),
            (None, Some(old)) => {
                let column = Expr::column(old, self.entry.def.columns[old].ty.clone());
                let mut binder = Binder::new(&NoRelations, registry(), &[]);
                binder.coerce(column.clone(), ty, CoercionContext::Assignment).unwrap_or(column)
            }
            (None, None) => {
                let missing = || arrow::array::new_null_array(&ty.to_arrow(), 1);
                let value = origin.missing.clone().unwrap_or_else(missing);
                Expr::literal(weir_sql::Value::new(ty.clone(), value))
            }
        }
    }

    fn check_default(&self, at: usize) -> Result<()> {
        let column = &self.def.columns[at];
        let Some(sql) = &column.default else { return Ok(()) };
        let mut binder = Binder::new(&NoRelations, registry(), &[]);
        ddl::default(&mut binder, &weir_sql::parse::expr(sql)?, &column.name, &column.ty).map(drop).map_err(|_| {
            let message =
                format!("default for column \"{}\" cannot be cast automatically to type {}", column.name, column.ty);
            sql_error(SqlErrorKind::DatatypeMismatch, message)
        })
    }
}
