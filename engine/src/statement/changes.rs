//! Statements whose WITH changes rows: each change runs once and to its end, all against what was there before, then the statement itself; one
//! commit has them all.

use std::collections::HashMap;
use std::sync::Arc;

use weir_sql::catalog::Relation;
use weir_sql::plan::OutputColumn;
use weir_sql::statement::Statement;

use super::{insert, modify, query};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::batch::Batch;
use crate::exec::operator::Metrics;
use crate::exec::spool::Spool;
use crate::exec::{RelationRows, Relations};
use crate::session::run::Running;
use crate::session::{Outcome, Rows, Session};

/// What the changes of a statement returned, by the number of the working table that they are.
pub(crate) type Returned = HashMap<usize, Arc<Spool>>;

/// Runs all of them.
pub(super) fn run(
    session: &mut Session,
    running: &Running,
    changes: &[(usize, Statement)],
    main: &Statement,
    columns: &[OutputColumn],
) -> Result<Outcome> {
    refuse_twice(running, changes.iter().map(|(_, change)| change).chain([main]))?;
    let mut running = running.clone();
    for (id, change) in changes {
        let mut returned = Spool::empty(&session.query_context(&running), "RETURNING");
        if let Outcome::Rows(mut rows) = one(session, &running, change)? {
            while let Some(batch) = rows.next()? {
                returned.push(Batch::from_record(&batch))?;
            }
        }
        Arc::make_mut(&mut running.returned).insert(*id, returned.finish(&Metrics::default()));
    }
    let Statement::Query(plan) = main else { return one(session, &running, main) };
    // All rows are there before the commit is: an error among them undoes the changes.
    let mut stream = query::stream(session, &running, plan)?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next()? {
        batches.push(batch);
    }
    Ok(Outcome::Rows(Rows::of_batches(columns.to_vec(), batches, "SELECT")))
}

fn one(session: &mut Session, running: &Running, statement: &Statement) -> Result<Outcome> {
    match statement {
        Statement::Insert(statement) => insert::insert(session, running, statement),
        Statement::Modify(statement) => modify::modify(session, running, statement),
        _ => Err(Error::internal("a change that changes no rows")),
    }
}

/// None of the changes sees another: two that look for keys of one table, or for rows to change, could meet in one row.
fn refuse_twice<'s>(running: &Running, statements: impl Iterator<Item = &'s Statement>) -> Result<()> {
    let mut seen: Vec<(u32, bool)> = Vec::new();
    for statement in statements {
        let (oid, modifies) = match statement {
            Statement::Insert(insert) => (insert.oid, false),
            Statement::Modify(modify) => (modify.oid, true),
            _ => continue,
        };
        let entry = insert::entry(running, oid)?;
        let meets = |(other, also): &(u32, bool)| *other == oid && (modifies && *also || entry.def.key().is_some());
        if seen.iter().any(meets) {
            let kind = ErrorKind::Sql(weir_sql::ErrorKind::Unsupported);
            let message = format!("table \"{}\" cannot be changed twice in one statement", entry.def.name);
            return Err(Error::new(kind, message).with_hint("Use two statements in one transaction."));
        }
        seen.push((oid, modifies));
    }
    Ok(())
}

/// The relations of a statement, and what its changes returned.
pub(crate) struct WithReturned {
    pub(crate) rows: Arc<Returned>,
    pub(crate) others: Arc<dyn Relations>,
}

impl Relations for WithReturned {
    fn rows(&self, relation: &Relation) -> Result<RelationRows> {
        self.others.rows(relation)
    }

    fn working(&self, id: usize) -> Option<Arc<Spool>> {
        self.rows.get(&id).cloned().or_else(|| self.others.working(id))
    }
}
