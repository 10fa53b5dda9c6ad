//! UPDATE, DELETE and MERGE: rows of one table that change, as their plan says (see [`weir_sql::statement::Modify`]).
//!
//! A row is found by its place in the statement's snapshot. To update it is to delete it and to add it as it becomes, in the same commit. A place
//! that comes several times (by a join) is changed once; MERGE refuses it, as PostgreSQL does.

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use weir_sql::statement::{Modify, ModifyAction, ModifyVerb};

use super::insert::entry;
use super::query;
use super::unique::Policy;
use super::writer::Writer;
use crate::catalog::{Entry, RelationDef};
use crate::error::{Error, ErrorKind, Result};
use crate::session::run::Running;
use crate::session::{Outcome, Rows, Session};

/// Columns of the plan before the row.
const BEFORE_ROW: usize = 2;

/// UPDATE, DELETE, MERGE.
pub(crate) fn modify(session: &mut Session, running: &Running, modify: &Modify) -> Result<Outcome> {
    let verb = modify.verb.name();
    session.writable(verb)?;
    let entry = entry(running, modify.oid)?;
    let mut writer = match modify.actions.iter().any(|action| touches_key(action, &entry)) {
        true => Writer::new(session.base(running), &entry, key_policy(&entry.def))?,
        false => Writer::unchecked(session.base(running), &entry)?,
    };
    // What changes is not new.
    writer = writer.alone();
    // A row may get the key of one that goes.
    writer.settle_at_end();
    let (mut count, mut returned) = (0u64, Vec::new());
    let mut stream = query::stream(session, running, &modify.source)?;
    while let Some(batch) = stream.next()? {
        let picked = pick(modify, &batch, &mut writer)?;
        count += picked.changed.len() as u64;
        if !modify.has_rows {
            continue;
        }
        let rows = batch.project(&(BEFORE_ROW..batch.num_columns()).collect::<Vec<_>>())?;
        if !picked.added.is_empty() {
            let own: Vec<usize> = (0..entry.relation.columns.len()).collect();
            writer.push(&take_record_batch(&rows.project(&own)?, &UInt32Array::from(picked.added))?)?;
        }
        if modify.returning.is_some() {
            returned.push(take_record_batch(&rows, &UInt32Array::from(picked.changed))?);
        }
    }
    drop(stream);
    writer.finish(&mut session.transaction()?.pending)?;
    match &modify.returning {
        None => Ok(Outcome::Command { tag: format!("{verb} {count}") }),
        Some((exprs, columns)) => {
            let batches = query::returned(exprs, columns, &returned, &session.query_context(running))?;
            Ok(Outcome::Rows(Rows::of_batches(columns.clone(), batches, verb)))
        }
    }
}

/// Whether an action may give a row a key that it did not have.
fn touches_key(action: &ModifyAction, entry: &Entry) -> bool {
    match action {
        ModifyAction::Insert => true,
        ModifyAction::Update(columns) => entry.def.key().is_some_and(|key| key.iter().any(|c| columns.contains(c))),
        ModifyAction::Delete => false,
    }
}

/// What a changed row does to another of its key: only in tables whose inserts replace does it take the other's place.
fn key_policy(def: &RelationDef) -> Policy {
    match def.primary_key.is_empty() {
        true => Policy::of_table(def),
        false => Policy::Fail,
    }
}

/// Rows of a batch of the plan.
#[derive(Default)]
struct Picked {
    /// Those that change, each once.
    changed: Vec<u32>,
    /// Those of them that are added, as they become.
    added: Vec<u32>,
}

/// What a batch of the plan does; its deletions go to the writer.
fn pick(modify: &Modify, batch: &RecordBatch, writer: &mut Writer) -> Result<Picked> {
    let places = batch.column(0).as_primitive::<Int64Type>();
    let actions = batch.column(1).as_primitive::<Int32Type>();
    let mut picked = Picked::default();
    for row in 0..batch.num_rows() {
        let action = modify.actions.get(actions.value(row) as usize);
        let action = action.ok_or_else(|| Error::internal("a row that nothing is done to"))?;
        if *action != ModifyAction::Insert {
            if places.is_null(row) {
                return Err(Error::internal("a row without a place"));
            }
            if writer.delete([places.value(row) as u64]) == 0 {
                match modify.verb {
                    ModifyVerb::Merge => return Err(twice()),
                    ModifyVerb::Update | ModifyVerb::Delete => continue,
                }
            }
        }
        picked.changed.push(row as u32);
        if *action != ModifyAction::Delete {
            picked.added.push(row as u32);
        }
    }
    Ok(picked)
}

fn twice() -> Error {
    Error::new(ErrorKind::CardinalityViolation, "MERGE command cannot affect row a second time")
        .with_hint("Ensure that not more than one source row matches any one target row.")
}
