//! INSERT, and how rows reach the pending changes.
//!
//! Small batches travel in the log. Once a statement has more than `bulk_bytes` of rows they are written as parts while it runs, and the
//! commit only names them. Deltas of the views on the table are computed from the same rows at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use weir_sql::plan::{Expr, OutputColumn, Plan};
use weir_sql::statement::Insert;
use weir_storage::{Change, NewPart, Store, TableId};

use super::query;
use super::table::{Target, run_over, whole_scan};
use crate::cancel::Cancel;
use crate::catalog::{CatalogState, Entry};
use crate::database::Database;
use crate::error::{Error, Result};
use crate::exec::batch::Batch;
use crate::session::run::Running;
use crate::session::{Outcome, Rows, Session};
use crate::transaction::{Item, Pending};
use crate::views::{Deltas, maintain};

/// INSERT.
pub(crate) fn insert(session: &mut Session, running: &Running, insert: &Insert) -> Result<Outcome> {
    session.writable("INSERT")?;
    let entry = entry(running, insert.oid)?;
    let mut writer = Writer::new(&session.database, &running.view.state, &entry, &running.cancel)?;
    let mut kept = Vec::new();
    let mut stream = query::stream(session, running, &insert.source)?;
    while let Some(batch) = stream.next()? {
        let batch = writer.push(&batch)?;
        if insert.returning.is_some() {
            kept.push(batch);
        }
    }
    drop(stream);
    let rows = writer.rows();
    writer.finish(&mut session.transaction()?.pending)?;
    match &insert.returning {
        None => Ok(Outcome::Command { tag: format!("INSERT 0 {rows}") }),
        Some((exprs, columns)) => {
            let batches = returning(session, running, &entry, kept, exprs, columns)?;
            Ok(Outcome::Rows(Rows::of_batches(columns.clone(), batches, "INSERT")))
        }
    }
}

/// The table of this oid.
pub(crate) fn entry(running: &Running, oid: u32) -> Result<Arc<Entry>> {
    let entry = running.view.state.entry(oid).cloned();
    entry.ok_or_else(|| Error::internal(format!("no table has the oid {oid}")))
}

fn returning(
    session: &Session,
    running: &Running,
    entry: &Entry,
    rows: Vec<RecordBatch>,
    exprs: &[Expr],
    columns: &[OutputColumn],
) -> Result<Vec<RecordBatch>> {
    let plan = Plan::Project {
        input: Box::new(whole_scan(&entry.relation)),
        exprs: exprs.to_vec(),
        columns: columns.to_vec(),
    };
    run_over(&plan, &entry.relation, rows, &session.query_context(running))
}

/// Takes the rows of one statement for one table.
pub(crate) struct Writer {
    target: Target,
    store: Store,
    bulk_bytes: usize,
    deltas: Deltas,
    version: u64,
    /// Rows not in parts yet, by partition.
    waiting: BTreeMap<String, Vec<RecordBatch>>,
    waiting_bytes: usize,
    parts: Vec<NewPart>,
    rows: u64,
    /// Everything goes to parts, however little it is.
    bulk: bool,
}

/// A bulk statement writes parts each time it has this many times `bulk_bytes` of rows.
const PART_FACTOR: usize = 8;

impl Writer {
    /// For the rows of a statement that sees this catalogue.
    pub(crate) fn new(
        database: &Database,
        state: &Arc<CatalogState>,
        entry: &Arc<Entry>,
        cancel: &Cancel,
    ) -> Result<Writer> {
        Ok(Writer {
            target: Target::new(entry, database, cancel)?,
            store: database.store()?,
            bulk_bytes: database.options().bulk_bytes,
            deltas: maintain::deltas(database, state, entry.def.oid, cancel)?,
            version: state.version,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            parts: Vec::new(),
            rows: 0,
            bulk: false,
        })
    }

    /// Whether to write parts whatever the rows' number.
    pub(crate) fn set_bulk(&mut self, bulk: bool) {
        self.bulk = bulk;
    }

    /// The table.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// How many rows it took.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes rows; gives them back as they are kept.
    pub(crate) fn push(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let rows = self.target.conform(rows)?;
        if rows.num_rows() == 0 {
            return Ok(rows);
        }
        self.rows += rows.num_rows() as u64;
        self.deltas.add(&rows)?;
        self.waiting_bytes += Batch::from_record(&rows).bytes();
        for (partition, rows) in self.target.split(&rows)? {
            self.waiting.entry(partition).or_default().push(rows);
        }
        if self.waiting_bytes > self.bulk_bytes * PART_FACTOR {
            self.write_parts()?;
        }
        Ok(rows)
    }

    fn write_parts(&mut self) -> Result<()> {
        let def = self.target.storage_def();
        for (partition, rows) in std::mem::take(&mut self.waiting) {
            self.parts.extend(self.store.write_parts(&def, &partition, rows)?);
        }
        self.waiting_bytes = 0;
        Ok(())
    }

    /// Adds everything to a transaction's changes.
    pub(crate) fn finish(mut self, pending: &mut Pending) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        if self.bulk || !self.parts.is_empty() || self.waiting_bytes > self.bulk_bytes {
            self.write_parts()?;
        }
        let table = TableId(self.target.entry.def.oid);
        if !self.parts.is_empty() {
            let parts = std::mem::take(&mut self.parts);
            pending.items.push(Item::Own(Change::AddParts { table, parts }));
        }
        for (partition, batches) in std::mem::take(&mut self.waiting) {
            let rows = match batches.as_slice() {
                [one] => one.clone(),
                many => arrow::compute::concat_batches(&self.target.schema, many)?,
            };
            pending.items.push(Item::Own(Change::Append { table, partition, rows }));
        }
        pending.items.extend(self.deltas.finish()?.into_iter().map(Item::Delta));
        pending.catalog.get_or_insert(self.version);
        Ok(())
    }
}
