//! ALTER TABLE: its actions one after the other on a copy of the definition, then all changes at once.
//!
//! Most actions change the definition alone, however many rows there are: storage sees old parts through the new definition
//! ([`weir_storage::Change::AlterTable`]). What must look at the rows (SET NOT NULL) or write them anew (a type that does not
//! widen, a volatile DEFAULT, a primary key) closes the table's gate first, so that no row is missed; readers go on.
//!
//! [`Work`] keeps, for each column of the new definition, where its values come from: the old table's column, one value for rows
//! that are older than the column, or an expression over the old columns.

mod columns;
pub(super) mod depends;
mod keys;
mod rewrite;
mod settings;
mod types;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::plan::Expr;
use weir_sql::statement::{AlterAction, AlterTable, ObjectKind, ObjectName};
use weir_storage::{Change, TableDef, TableId};

pub(super) use rewrite::StoredRows;

use super::define::{define, done, set_relation};
use super::names::{Named, look_up, sql_error, written};
use super::{partition, table, ttl};
use crate::catalog::{Entry, Kind, RelationDef};
use crate::error::{Error, ErrorKind, Result};
use crate::exec;
use crate::replay;
use crate::session::run::Running;
use crate::session::{Outcome, Session, Severity};
use crate::views;

/// Where a column's values come from.
#[derive(Debug, Clone)]
struct Origin {
    /// What storage knows it by.
    id: u32,
    /// The old definition's column that it is.
    old: Option<usize>,
    /// Its values, over the old definition's columns, when they are not just that column's.
    expr: Option<Expr>,
    /// Its value in rows that are older than it; `None` is NULL.
    missing: Option<ArrayRef>,
}

/// An ALTER TABLE on its way.
struct Work<'a> {
    session: &'a mut Session,
    running: &'a Running,
    /// As it was.
    entry: Arc<Entry>,
    /// As it will be.
    def: RelationDef,
    /// Of each of `def`'s columns.
    origins: Vec<Origin>,
    /// Changes besides that of the definition: what CASCADE drops.
    others: Vec<Change>,
    /// Whether all rows are written anew, whatever the origins say: the unique key changes.
    anew: bool,
}

/// ALTER TABLE, ALTER VIEW, ALTER MATERIALIZED VIEW.
pub(super) fn alter(session: &mut Session, running: &Running, alter: &AlterTable) -> Result<Outcome> {
    let tag = match alter.kind {
        ObjectKind::View => "ALTER VIEW",
        ObjectKind::MaterializedView => "ALTER MATERIALIZED VIEW",
        _ => "ALTER TABLE",
    };
    session.writable(tag)?;
    let Some(entry) = find(session, running, alter)? else { return done(tag) };
    let mut work = Work::new(session, running, entry);
    for action in &alter.actions {
        match action {
            AlterAction::Partition(action) => {
                // What changed so far must be seen by what follows; a partition's rows do not wait for it.
                if alter.actions.len() > 1 {
                    let message = "ALTER TABLE with a partition takes one action at a time";
                    return Err(sql_error(SqlErrorKind::Unsupported, message));
                }
                partition::carry_out(work.session, running, &work.entry, action)?;
            }
            AlterAction::Replay(action) => {
                if alter.actions.len() > 1 {
                    let message = "ALTER TABLE that reads a stream again takes one action at a time";
                    return Err(sql_error(SqlErrorKind::Unsupported, message));
                }
                replay::carry_out(work.session, running, &work.entry, action)?;
            }
            action => work.act(action)?,
        }
    }
    work.finish()?;
    done(tag)
}

/// The relation; `None` when it is not there and need not be.
fn find(session: &mut Session, running: &Running, alter: &AlterTable) -> Result<Option<Arc<Entry>>> {
    let noun = match alter.kind {
        ObjectKind::View => "view",
        ObjectKind::MaterializedView => "materialized view",
        _ => "table",
    };
    match look_up(&running.view, &alter.name) {
        Named::User(entry) => {
            // PostgreSQL lets ALTER TABLE name views too.
            let right = match alter.kind {
                ObjectKind::View => entry.def.kind == Kind::View,
                ObjectKind::MaterializedView => entry.def.kind == Kind::Materialized,
                _ => entry.def.kind != Kind::Sink,
            };
            if !right {
                let message = format!("\"{}\" is not a {noun}", entry.def.name);
                return Err(sql_error(SqlErrorKind::WrongObjectType, message));
            }
            Ok(Some(entry))
        }
        Named::System => {
            let message = format!("permission denied: \"{}\" is a system catalog", alter.name.name);
            Err(sql_error(SqlErrorKind::WrongObjectType, message))
        }
        Named::Nothing if alter.if_exists => {
            let message = format!("relation \"{}\" does not exist, skipping", written(&alter.name));
            session.notice(Severity::Notice, "00000", message);
            Ok(None)
        }
        Named::Nothing => Err(missing(&alter.name)),
    }
}

fn missing(name: &ObjectName) -> Error {
    sql_error(SqlErrorKind::UndefinedTable, format!("relation \"{}\" does not exist", written(name)))
}

impl<'a> Work<'a> {
    fn new(session: &'a mut Session, running: &'a Running, entry: Arc<Entry>) -> Work<'a> {
        let stored = running.view.snapshot.table(TableId(entry.def.oid));
        let missing = stored.map(|table| table.def().missing.clone()).filter(|_| entry.def.kind == Kind::Table);
        let missing = |at: usize| missing.as_ref().and_then(|missing| missing.get(at).cloned().flatten());
        let ids = entry.def.ids().into_iter().enumerate();
        let origins = ids.map(|(at, id)| Origin { id, old: Some(at), expr: None, missing: missing(at) }).collect();
        Work { session, running, def: entry.def.clone(), entry, origins, others: Vec::new(), anew: false }
    }

    fn act(&mut self, action: &AlterAction) -> Result<()> {
        let of_columns = !matches!(
            action,
            AlterAction::RenameTo(_)
                | AlterAction::SetSchema(_)
                | AlterAction::Comment(_)
                | AlterAction::CommentColumn { .. }
        );
        let keeps_groups = self.def.kind == Kind::Materialized && matches!(action, AlterAction::SetTtl(_));
        if of_columns && self.def.kind != Kind::Table && !keeps_groups {
            let message = format!("ALTER action cannot be performed on relation \"{}\"", self.def.name);
            return Err(sql_error(SqlErrorKind::WrongObjectType, message)
                .with_detail(format!("This operation is not supported for {}s.", self.def.kind.noun())));
        }
        match action {
            AlterAction::AddColumn(column) => self.add_column(column),
            AlterAction::DropColumn { column, if_exists, cascade } => self.drop_column(column, *if_exists, *cascade),
            AlterAction::RenameColumn { column, to, if_exists } => self.rename_column(column, to, *if_exists),
            AlterAction::MoveColumn { column, place } => self.move_column(column, place),
            AlterAction::SetType(set) => self.set_type(set),
            AlterAction::SetDefault { column, default } => self.set_default(column, default.as_deref()),
            AlterAction::SetNotNull { column, not_null } => self.set_not_null(column, *not_null),
            AlterAction::SetCodec { column, codec } => {
                let at = self.column(column)?;
                if let Some(codec) = codec {
                    weir_sql::bind::codec::codecs(codec, &self.def.columns[at].ty)?;
                }
                self.def.columns[at].codec = codec.clone();
                Ok(())
            }
            AlterAction::CommentColumn { column, comment } => {
                let at = self.column(column)?;
                self.def.columns[at].comment = comment.clone().filter(|text| !text.is_empty());
                Ok(())
            }
            AlterAction::AddPrimaryKey { columns } => self.add_primary_key(columns),
            AlterAction::DropConstraint { name, if_exists } => self.drop_constraint(name, *if_exists),
            AlterAction::Comment(comment) => {
                self.def.comment = comment.clone().filter(|text| !text.is_empty());
                Ok(())
            }
            AlterAction::RenameTo(name) => self.rename(name),
            AlterAction::SetSchema(schema) => self.set_schema(schema),
            AlterAction::SetTtl(rules) => self.set_ttl(rules),
            AlterAction::SetColumnTtl { column, rule } => self.set_column_ttl(column, rule.as_ref()),
            AlterAction::SetOptions(options) => self.set_options(options),
            AlterAction::ResetOptions(names) => {
                self.def.options.retain(|(key, _)| !names.iter().any(|name| name.eq_ignore_ascii_case(key)));
                Ok(())
            }
            AlterAction::Partition(_) | AlterAction::Replay(_) => Err(Error::internal("rows are no column")),
        }
    }

    /// A column's place in the new definition, or 42703.
    fn column(&self, name: &str) -> Result<usize> {
        self.def.columns.iter().position(|column| column.name == name).ok_or_else(|| {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", self.def.name);
            sql_error(SqlErrorKind::UndefinedColumn, message)
        })
    }

    /// Closes the table's gate, for the rest of the transaction.
    fn close_gate(&mut self) -> Result<()> {
        let oid = self.def.oid;
        let held = |session: &mut Session| -> Result<bool> {
            Ok(session.transaction()?.pending.gates.iter().any(|gate| gate.table() == oid))
        };
        if held(self.session)? {
            return Ok(());
        }
        let closed = self.session.database.gates().close(oid, &self.running.cancel)?;
        let pending = &mut self.session.transaction()?.pending;
        pending.gates.push(Arc::new(closed));
        Ok(())
    }

    /// The value of an expression without columns, of one row.
    fn value(&self, expr: &Expr) -> Result<ArrayRef> {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let one = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        exec::evaluate(expr, &one, &self.session.query_context(self.running))
    }

    /// The new definition as storage has it.
    fn storage_def(&self) -> TableDef {
        let schema = Entry::new(self.def.clone()).schema();
        let missing = self.origins.iter().zip(schema.fields()).map(|(origin, field)| {
            let value = origin.missing.as_ref()?;
            match value.data_type() == field.data_type() {
                true => Some(value.clone()),
                // It was widened.
                false => arrow::compute::cast(value, field.data_type()).ok(),
            }
        });
        let missing = missing.map(|value| value.filter(|value| value.is_valid(0))).collect();
        TableDef { missing, ..table::storage_def(&self.def, schema) }
    }

    /// Adds the changes to the transaction.
    fn finish(mut self) -> Result<()> {
        if self.def == self.entry.def && self.others.is_empty() {
            return Ok(());
        }
        if self.def.kind == Kind::Table {
            ttl::check(&self.session.database, &Entry::new(self.def.clone()))?;
        }
        if !self.def.ttl.is_empty() {
            // Before what CASCADE drops.
            let parted = views::rewrite::under_ttl(&self.running.view.state, &self.def)?;
            self.others.splice(0..0, parted);
        }
        let ids: Vec<u32> = self.origins.iter().map(|origin| origin.id).collect();
        self.def.column_ids = if ids.iter().copied().eq(1..=ids.len() as u32) { Vec::new() } else { ids };
        let id = TableId(self.def.oid);
        let mut changes = std::mem::take(&mut self.others);
        match self.def.kind {
            Kind::View | Kind::Sink => {}
            Kind::Materialized if self.def.keeps_states() => {
                let stored =
                    self.running.view.snapshot.table(id).ok_or_else(|| Error::internal("no rows of a view"))?;
                let name = format!("{}.{}", self.def.schema, self.def.name);
                let plan = views::plan_of(&self.running.view.state, &self.entry)?;
                let ttl = views::own_ttl(&self.def, &plan)?;
                changes.push(Change::AlterTable { id, def: TableDef { name, ttl, ..(**stored.def()).clone() } });
            }
            Kind::Materialized | Kind::Table => {
                let def = self.storage_def();
                let rebuild = self.running.view.state.rebuild_of(self.def.oid);
                if let Some(hidden) = rebuild {
                    changes.extend(replay::mirrored(hidden, &self.def, &def)?);
                }
                match self.anew || self.origins.iter().any(|origin| origin.expr.is_some()) {
                    true if rebuild.is_some() => {
                        let message = format!("cannot rewrite table \"{}\" because it is being rebuilt", self.def.name);
                        return Err(Error::new(ErrorKind::WrongState, message).with_hint(replay::HINT));
                    }
                    true => {
                        if self.anew {
                            self.check_unique()?;
                        }
                        // No other key has come since the gate closed.
                        let version = self.session.view()?.snapshot.version();
                        self.session.transaction()?.pending.saw(version);
                        changes.extend(self.rewritten(def)?);
                    }
                    false => changes.push(Change::AlterTable { id, def }),
                }
            }
        }
        changes.push(set_relation(&self.def)?);
        let pending = &mut self.session.transaction()?.pending;
        pending.altered.entry(self.def.oid).or_insert_with(|| self.entry.clone());
        define(self.session, self.running, changes)
    }
}
