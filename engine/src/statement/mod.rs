//! Statements, carried out: one file a kind.
//!
//! Everything here adds to the open transaction's pending changes ([`crate::transaction::Pending`]); only [`commit`] writes.

mod alter;
mod backup;
pub(crate) mod bootstrap;
pub(crate) mod changes;
pub(crate) mod commit;
pub(crate) mod cursor;
pub(crate) mod define;
mod drop;
pub(crate) mod format;
mod index;
pub(crate) mod insert;
pub(crate) mod merging;
mod modify;
pub(crate) mod names;
mod optimize;
pub(crate) mod partition;
mod prepared;
pub(crate) mod query;
pub(crate) mod relations;
pub(crate) mod rollup;
mod setting;
pub(crate) mod table;
pub(crate) mod ttl;
pub(crate) mod unique;
pub(crate) mod writer;

use weir_sql::statement::{Bound, Statement};

use crate::error::Result;
use crate::session::run::Running;
use crate::session::{Outcome, Prepared, Session};

/// Runs a bound statement.
pub(crate) fn run(session: &mut Session, running: &Running, bound: &Bound, prepared: &Prepared) -> Result<Outcome> {
    let done = |tag: &str| Ok(Outcome::Command { tag: tag.into() });
    match &bound.statement {
        Statement::Empty => Ok(Outcome::Empty),
        Statement::Query(plan) => {
            setting::note_unknown(session, prepared);
            query::rows(session, running, plan, &bound.columns, "SELECT")
        }
        Statement::ShowQuery(plan) => query::rows(session, running, plan, &bound.columns, "SELECT"),
        Statement::Formatted { plan, format } => {
            setting::note_unknown(session, prepared);
            format::lines(session, running, plan, format, &bound.columns)
        }
        Statement::Insert(insert) => insert::insert(session, running, insert),
        Statement::Modify(change) => modify::modify(session, running, change),
        Statement::WithChanges { changes, main } => changes::run(session, running, changes, main, &bound.columns),
        Statement::CreateTable(create) => define::create_table(session, running, create),
        Statement::CreateView { name, or_replace, if_not_exists, query, columns } => {
            let create =
                define::CreateView { name, or_replace: *or_replace, if_not_exists: *if_not_exists, query, columns };
            define::create_view(session, running, &create)
        }
        Statement::CreateMaterializedView(create) => crate::views::create(session, running, create),
        Statement::CreateSink(create) => crate::sinks::create(session, running, create),
        Statement::RefreshView(name) => crate::views::refresh::refresh(session, running, name),
        Statement::CreateSchema { name, if_not_exists } => {
            define::create_schema(session, running, name, *if_not_exists)
        }
        Statement::Drop { kind, names, if_exists, cascade } => {
            drop::drop(session, running, *kind, names, *if_exists, *cascade)
        }
        Statement::AlterTable(alter) => alter::alter(session, running, alter),
        Statement::Backup { to, options } => backup::backup(session, running, &bound.columns, to, options),
        Statement::Restore { from, options } => backup::restore(session, running, &bound.columns, from, options),
        Statement::Truncate { names } => drop::truncate(session, running, names),
        Statement::Copy(copy) => crate::copy::copy(session, running, copy),
        Statement::Explain { statement, options } => {
            query::explain(session, running, statement, &bound.columns, options)
        }
        Statement::Show { name } => setting::show(session, name, &bound.columns),
        Statement::Set { name, value, local } => setting::set(session, name, value.as_deref(), *local),
        Statement::ResetAll => {
            session.settings.reset_all();
            done("RESET")
        }
        Statement::Begin { read_only } => Ok(session.begin(*read_only)),
        Statement::Commit => session.commit_block(),
        Statement::Rollback => Ok(session.roll_back_block()),
        Statement::Savepoint(name) => session.savepoint(name),
        Statement::Release(name) => session.release(name),
        Statement::RollbackTo(name) => session.roll_back_to(name),
        Statement::Prepare { name, parameters, query } => prepared::prepare(session, name, parameters, query),
        Statement::Execute { name, args } => prepared::execute(session, running, name, args),
        Statement::Deallocate(name) => prepared::deallocate(session, name.as_deref()),
        Statement::Discard => prepared::discard_all(session),
        Statement::DeclareCursor { name, plan, hold, scroll } => {
            cursor::declare(session, running, (name, plan), (*hold, *scroll), prepared.parsed().text())
        }
        Statement::Fetch { name, rows, skip } => cursor::fetch(session, name, *rows, *skip),
        Statement::CloseCursor(name) => cursor::close(session, name.as_deref()),
        Statement::Comment { relation, column, comment } => {
            define::comment(session, running, relation, column.as_deref(), comment.as_deref())
        }
        Statement::AlterIndexes(alter) => index::alter(session, running, alter),
        Statement::DropIndex(drop) => index::drop_index(session, running, drop),
        Statement::Optimize(optimize) => optimize::optimize(session, running, optimize),
        Statement::Alert(statement) => crate::alerts::run(session, running, statement),
        Statement::NoOp { tag } => done(tag),
    }
}
