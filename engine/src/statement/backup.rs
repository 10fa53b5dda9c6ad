//! BACKUP DATABASE and RESTORE DATABASE: one row that says what was done.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use weir_sql::ErrorKind as SqlErrorKind;
use weir_sql::catalog::ColumnInfo;
use weir_sql::plan::OutputColumn;

use super::names::sql_error;
use crate::backup::{self, Summary};
use crate::catalog::state::schema_of;
use crate::error::{Error, ErrorKind, Result};
use crate::session::run::Running;
use crate::session::{Outcome, Rows, Session};

/// BACKUP DATABASE TO.
pub(super) fn backup(
    session: &mut Session,
    running: &Running,
    columns: &[OutputColumn],
    to: &str,
    options: &[(String, String)],
) -> Result<Outcome> {
    if session.in_block() {
        let message = "BACKUP DATABASE cannot run inside a transaction block";
        return Err(Error::new(ErrorKind::ActiveTransaction, message));
    }
    shown(&backup::backup(&session.database, to, options, &running.cancel)?, columns, "BACKUP")
}

/// RESTORE DATABASE FROM … WITH (data = …): into another directory, which may then be opened.
pub(super) fn restore(
    session: &mut Session,
    running: &Running,
    columns: &[OutputColumn],
    from: &str,
    options: &[(String, String)],
) -> Result<Outcome> {
    let Some((_, data)) = options.iter().find(|(key, _)| key == "data") else {
        let message = "a database that is open cannot be restored over";
        return Err(sql_error(SqlErrorKind::Unsupported, message)
            .with_hint("Name a new directory: RESTORE … WITH (data = '/path'), or use \"weir restore\"."));
    };
    let places = session.database.places();
    let summary = backup::restore(&places, from, options, Path::new(data), &running.cancel)?;
    shown(&summary, columns, "RESTORE")
}

fn shown(summary: &Summary, columns: &[OutputColumn], tag: &str) -> Result<Outcome> {
    let values = [summary.version, summary.parts as u64, summary.copied as u64, summary.bytes];
    let arrays = values.iter().map(|value| Arc::new(Int64Array::from(vec![*value as i64])) as ArrayRef);
    let info = |c: &OutputColumn| ColumnInfo {
        name: c.name.clone(),
        ty: c.ty.clone(),
        nullable: true,
        default: None,
        collation: weir_sql::collation::Collation::DEFAULT,
    };
    let schema = schema_of(&columns.iter().map(info).collect::<Vec<_>>());
    let batch = RecordBatch::try_new(schema, arrays.collect())?;
    Ok(Outcome::Rows(Rows::of_batches(columns.to_vec(), vec![batch], tag)))
}
