//! The transaction around statements: BEGIN to COMMIT, implicit ones, and failed ones.

use weir_sql::statement::OnCommit;

use super::{Outcome, Prepared, Session, Severity, now_micros};
use crate::catalog::describe::quote;
use crate::error::{Error, ErrorKind, Result};
use crate::transaction::{Savepoint, Transaction};

impl Session {
    /// A query text of several statements is one transaction: call this before the first of several, and [`Session::end_implicit`] after
    /// the last one or the first error. Also right around the messages of an extended-protocol pipeline up to Sync.
    pub fn begin_implicit(&mut self) {
        self.implicit = true;
    }

    /// Ends what [`Session::begin_implicit`] began: commits, or rolls back if `failed`. Leaves an explicit block alone (which an error has
    /// failed already).
    pub fn end_implicit(&mut self, failed: bool) -> Result<()> {
        self.implicit = false;
        match &mut self.transaction {
            Some(transaction) if transaction.explicit => {
                transaction.failed |= failed;
                Ok(())
            }
            Some(_) if failed => {
                self.roll_back();
                Ok(())
            }
            Some(_) => self.commit(),
            None => Ok(()),
        }
    }

    /// An error happened outside [`Session::run`] (in the protocol, while rows were read): an open block fails.
    pub fn fail_transaction(&mut self) {
        self.statement_failed();
    }

    pub(super) fn refuse_if_failed(&self, prepared: &Prepared) -> Result<()> {
        match &self.transaction {
            Some(transaction) if transaction.failed && !prepared.ends_transaction() => Err(Error::new(
                ErrorKind::InFailedTransaction,
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            _ => Ok(()),
        }
    }

    /// Every statement runs in a transaction; without BEGIN, in one of its own.
    pub(super) fn ensure_transaction(&mut self) {
        if self.transaction.is_none() {
            let read_only = self.settings.is_on("default_transaction_read_only");
            self.start(false, read_only);
        }
    }

    fn start(&mut self, explicit: bool, read_only: bool) {
        self.settings.save();
        self.transaction = Some(Transaction::new(explicit, read_only, now_micros()));
    }

    pub(super) fn statement_done(&mut self, outcome: &Outcome) -> Result<()> {
        let alone = self.transaction.as_ref().is_some_and(|t| !t.explicit) && !self.implicit;
        // COPY FROM STDIN has hardly begun: its end commits.
        if alone && !matches!(outcome, Outcome::CopyIn(_)) { self.commit() } else { Ok(()) }
    }

    pub(super) fn statement_failed(&mut self) {
        match &mut self.transaction {
            Some(transaction) if transaction.explicit => {
                transaction.failed = true;
                self.cursors.retain(|_, cursor| cursor.is_held());
            }
            Some(_) => self.roll_back(),
            None => {}
        }
    }

    /// Ends a transaction of one statement whose work came after [`Session::run`]: COPY FROM STDIN.
    pub(crate) fn finish_statement(&mut self) -> Result<()> {
        self.rest();
        let alone = self.transaction.as_ref().is_some_and(|t| !t.explicit) && !self.implicit;
        if alone { self.commit() } else { Ok(()) }
    }

    /// Whether a transaction block is open: BEGIN was said, or several statements came in one text.
    pub(crate) fn in_block(&self) -> bool {
        self.implicit || self.transaction.as_ref().is_some_and(|t| t.explicit)
    }

    /// BEGIN.
    pub(crate) fn begin(&mut self, read_only: bool) -> Outcome {
        let read_only = read_only || self.settings.is_on("default_transaction_read_only");
        match &mut self.transaction {
            Some(transaction) if transaction.explicit => {
                self.notice(Severity::Warning, "25001", "there is already a transaction in progress");
            }
            // Statements of the same text before BEGIN become part of the block, as in Postgres.
            Some(transaction) => {
                transaction.explicit = true;
                transaction.read_only = read_only;
            }
            None => self.start(true, read_only),
        }
        Outcome::Command { tag: "BEGIN".into() }
    }

    /// COMMIT: ROLLBACK, if the block failed.
    pub(crate) fn commit_block(&mut self) -> Result<Outcome> {
        match &self.transaction {
            Some(transaction) if transaction.explicit && transaction.failed => {
                self.roll_back();
                return Ok(Outcome::Command { tag: "ROLLBACK".into() });
            }
            Some(transaction) if transaction.explicit => {}
            _ => self.notice(Severity::Warning, "25P01", "there is no transaction in progress"),
        }
        self.commit()?;
        Ok(Outcome::Command { tag: "COMMIT".into() })
    }

    /// ROLLBACK.
    pub(crate) fn roll_back_block(&mut self) -> Outcome {
        if !self.transaction.as_ref().is_some_and(|t| t.explicit) {
            self.notice(Severity::Warning, "25P01", "there is no transaction in progress");
        }
        self.roll_back();
        Outcome::Command { tag: "ROLLBACK".into() }
    }

    /// Ends the transaction and makes its changes durable.
    fn commit(&mut self) -> Result<()> {
        let Some(transaction) = self.transaction.take() else { return Ok(()) };
        let pending = transaction.pending;
        let changed: Vec<u32> =
            self.on_commit.iter().map(|(oid, _)| *oid).filter(|oid| pending.touches(*oid)).collect();
        let result =
            if pending.is_empty() { Ok(()) } else { crate::statement::commit::commit(&self.database, pending) };
        let result = result.and_then(|()| self.clear_temporary(&changed));
        self.settings.end_transaction(result.is_ok());
        self.cursors.retain(|_, cursor| cursor.is_holdable());
        self.cursors.values_mut().for_each(|cursor| cursor.hold());
        result
    }

    /// What ON COMMIT takes of the temporary tables that a transaction changed. Nobody else sees them, so this may be a commit of its own.
    fn clear_temporary(&mut self, changed: &[u32]) -> Result<()> {
        if changed.is_empty() {
            return Ok(());
        }
        let state = self.database.catalog(&self.database.store()?.snapshot())?;
        for (oid, what) in self.on_commit.clone().into_iter().filter(|(oid, _)| changed.contains(oid)) {
            let Some(entry) = state.entry(oid) else { continue };
            let verb = if what == OnCommit::Drop { "DROP" } else { "TRUNCATE" };
            let name = format!("{}.{}", quote(&entry.def.schema), quote(&entry.def.name));
            self.database.query(&format!("{verb} TABLE {name}"))?;
        }
        self.on_commit.retain(|(oid, what)| *what == OnCommit::DeleteRows && state.entry(*oid).is_some());
        Ok(())
    }

    fn roll_back(&mut self) {
        self.transaction = None;
        self.settings.end_transaction(false);
        self.cursors.retain(|_, cursor| cursor.is_held());
    }

    /// The open transaction. There is one while a statement runs.
    pub(crate) fn transaction(&mut self) -> Result<&mut Transaction> {
        self.transaction.as_mut().ok_or_else(|| Error::internal("no transaction is open"))
    }

    /// Refuses to write in a read-only transaction.
    pub(crate) fn writable(&self, command: &str) -> Result<()> {
        let setting =
            self.settings.is_set("transaction_read_only").then(|| self.settings.is_on("transaction_read_only"));
        match (&self.transaction, setting) {
            (_, Some(true)) | (Some(Transaction { read_only: true, .. }), None) => Err(Error::new(
                ErrorKind::ReadOnlyTransaction,
                format!("cannot execute {command} in a read-only transaction"),
            )),
            _ => Ok(()),
        }
    }

    /// SAVEPOINT.
    pub(crate) fn savepoint(&mut self, name: &str) -> Result<Outcome> {
        self.require_block("SAVEPOINT")?;
        let settings = self.settings.save();
        let transaction = self.transaction()?;
        let pending = transaction.pending.clone();
        transaction.savepoints.push(Savepoint { name: name.into(), pending, settings });
        Ok(Outcome::Command { tag: "SAVEPOINT".into() })
    }

    /// RELEASE SAVEPOINT.
    pub(crate) fn release(&mut self, name: &str) -> Result<Outcome> {
        self.require_block("RELEASE SAVEPOINT")?;
        let at = self.find_savepoint(name)?;
        self.transaction()?.savepoints.truncate(at);
        Ok(Outcome::Command { tag: "RELEASE".into() })
    }

    /// ROLLBACK TO SAVEPOINT.
    pub(crate) fn roll_back_to(&mut self, name: &str) -> Result<Outcome> {
        self.require_block("ROLLBACK TO SAVEPOINT")?;
        let at = self.find_savepoint(name)?;
        let transaction = self.transaction()?;
        transaction.savepoints.truncate(at + 1);
        let savepoint = transaction.savepoints[at].clone();
        transaction.pending = savepoint.pending;
        transaction.failed = false;
        self.settings.roll_back_to(savepoint.settings);
        Ok(Outcome::Command { tag: "ROLLBACK".into() })
    }

    fn find_savepoint(&mut self, name: &str) -> Result<usize> {
        let found = self.transaction()?.savepoints.iter().rposition(|s| s.name == name);
        found.ok_or_else(|| Error::new(ErrorKind::NoSuchSavepoint, format!("savepoint \"{name}\" does not exist")))
    }

    pub(crate) fn require_block(&self, command: &str) -> Result<()> {
        if self.in_block() {
            return Ok(());
        }
        let message = format!("{command} can only be used in transaction blocks");
        Err(Error::new(ErrorKind::NoActiveTransaction, message))
    }
}
