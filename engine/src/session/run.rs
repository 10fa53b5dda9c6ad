//! From text to an outcome: binding, binding again when the catalogue moved, and the one place that says which statement is whose.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weir_sql::plan::{OutputColumn, Plan};
use weir_sql::statement::{Bound, Statement};
use weir_sql::{Type, Value};
use weir_storage::Snapshot;

use super::outcome::AtWork;
use super::{BoundUnder, Outcome, Parsed, Prepared, Rows, Session, SessionInfo, View};
use crate::cancel::Cancel;
use crate::catalog::CatalogState;
use crate::database::load_catalog;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::QueryContext;
use crate::functions::{Context, registry};
use crate::statement;
use crate::statement::changes::{Returned, WithReturned};
use crate::statement::relations::SnapshotRelations;
use crate::statement::writer::Base;
use crate::views;

/// Microseconds since the epoch.
pub(crate) fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}

/// What one statement runs in.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) view: Arc<View>,
    pub(crate) functions: Arc<Context>,
    pub(crate) cancel: Cancel,
    pub(crate) params: Vec<Value>,
    /// What the statement's own changes have returned.
    pub(crate) returned: Arc<Returned>,
}

impl Session {
    /// Binds a statement. `param_types` are the types that the client declared, `None` for those it left open; there may be fewer than the
    /// statement has.
    pub fn prepare(&self, parsed: &Parsed, param_types: &[Option<Type>]) -> Result<Prepared> {
        let view = self.view_for(parsed)?;
        let bound = Arc::new(self.bind(&view, parsed, param_types)?);
        let prepared = Prepared {
            parsed: parsed.clone(),
            declared: param_types.to_vec(),
            columns: self.columns_of(&bound)?.into(),
            bound,
            bound_under: self.bound_under(&view),
        };
        self.refuse_if_failed(&prepared)?;
        Ok(prepared)
    }

    pub(crate) fn bind(&self, view: &View, parsed: &Parsed, param_types: &[Option<Type>]) -> Result<Bound> {
        let mut bound = weir_sql::bind::bind(&parsed.syntax, view, registry(), param_types)?;
        optimise(&mut bound.statement, view);
        Ok(bound)
    }

    /// The columns of the result, which for EXECUTE and FETCH the session knows alone.
    fn columns_of(&self, bound: &Bound) -> Result<Vec<OutputColumn>> {
        match &bound.statement {
            Statement::Execute { name, .. } => match self.prepared.get(name) {
                Some(text) => Ok(self.prepare(&text.parsed, &text.types)?.columns.to_vec()),
                None => Ok(Vec::new()),
            },
            Statement::Fetch { name, skip: false, .. } => {
                Ok(self.cursors.get(name).map(|cursor| cursor.columns().to_vec()).unwrap_or_default())
            }
            _ => Ok(bound.columns.clone()),
        }
    }

    fn bound_under(&self, view: &View) -> BoundUnder {
        BoundUnder {
            catalog: view.state.version,
            ddl: self.transaction.as_ref().map_or(0, |t| t.pending.ddl),
            search_path: self.settings.raw("search_path"),
            rewrites: views::rewrite::rewrites_under(&self.settings),
        }
    }

    /// Runs a statement with its parameters' values, which are of the types that [`Prepared::parameters`] says.
    ///
    /// An error inside a transaction block has failed the block when this returns. Rows, CopyIn and CopyOut that are read later may fail
    /// later: then the caller tells with [`Session::fail_transaction`].
    pub fn run(&mut self, prepared: &Prepared, params: &[Value]) -> Result<Outcome> {
        let cancel = Cancel::with_deadline(self.deadline());
        {
            let mut live = self.live.lock();
            live.running = Some(cancel.clone());
            live.activity.query_started = Some(now_micros());
            live.activity.query = prepared.parsed.text().to_string();
            live.activity.active = true;
            live.activity.application = self.settings.raw("application_name").unwrap_or_default();
        }
        let started = self.live.lock().activity.query_started;
        let mut outcome = self.run_cancellable(prepared, params, &cancel);
        match &mut outcome {
            Ok(Outcome::Rows(rows)) => {
                rows.set_at_work(AtWork { live: self.live.clone(), cancel: cancel.clone(), started });
            }
            Ok(Outcome::CopyIn(_) | Outcome::CopyOut(_)) => {}
            _ => self.rest(),
        }
        outcome
    }

    /// When a statement that starts now has to end.
    fn deadline(&self) -> Option<Instant> {
        let timeout = self.settings.milliseconds("statement_timeout");
        (timeout > 0).then(|| Instant::now() + Duration::from_millis(timeout))
    }

    /// More of a statement's rows are about to be read, after [`Session::rest`]: a cancel and `statement_timeout` mean them again.
    pub fn resume(&self, rows: &Rows) {
        if let Some(cancel) = rows.cancel() {
            self.run_again(cancel);
        }
    }

    /// What `cancel` ends runs again.
    pub(crate) fn run_again(&self, cancel: &Cancel) {
        cancel.restart(self.deadline());
        let mut live = self.live.lock();
        live.running = Some(cancel.clone());
        live.activity.active = true;
    }

    /// Nothing runs: a cancel from now on means no statement. For servers that wait for their client's next message, and after a COPY.
    pub fn rest(&self) {
        let mut live = self.live.lock();
        live.activity.active = false;
        live.running = None;
        live.activity.in_transaction = self.transaction.as_ref().is_some_and(|t| t.explicit);
        live.activity.failed = self.transaction.as_ref().is_some_and(|t| t.failed);
    }

    fn run_cancellable(&mut self, prepared: &Prepared, params: &[Value], cancel: &Cancel) -> Result<Outcome> {
        let alone = !self.in_block();
        for attempt in 0.. {
            let result = self.refuse_if_failed(prepared).and_then(|()| {
                self.ensure_transaction();
                self.run_bound(prepared, params, cancel)
            });
            let result = match result {
                Ok(outcome) => self.statement_done(&outcome).map(|()| outcome),
                Err(error) => {
                    self.statement_failed();
                    Err(error)
                }
            };
            match result {
                // Another commit changed what this statement stood on: it stands alone, so it may run on what is there now.
                Err(error) if alone && error.kind == ErrorKind::SerializationFailure => {
                    cancel.check()?;
                    wait_before_retry(attempt);
                }
                result => return result,
            }
        }
        Err(Error::internal("a statement was tried without end"))
    }

    pub(crate) fn run_bound(&mut self, prepared: &Prepared, params: &[Value], cancel: &Cancel) -> Result<Outcome> {
        cancel.check()?;
        let view = Arc::new(self.view_for(&prepared.parsed)?);
        let bound = if self.bound_under(&view) == prepared.bound_under {
            prepared.bound.clone()
        } else {
            let bound = self.bind(&view, &prepared.parsed, &prepared.declared)?;
            let types = |columns: &[OutputColumn]| columns.iter().map(|c| c.ty.clone()).collect::<Vec<_>>();
            let same = bound.parameters == prepared.bound.parameters;
            if !same || types(&self.columns_of(&bound)?) != types(&prepared.columns) {
                let kind = ErrorKind::Sql(weir_sql::ErrorKind::Unsupported);
                return Err(Error::new(kind, "cached plan must not change result type"));
            }
            Arc::new(bound)
        };
        if params.is_empty()
            && !bound.parameters.is_empty()
            && let Some((name, at)) = weir_sql::parse::first_parameter(prepared.parsed.text())
        {
            let kind = ErrorKind::Sql(weir_sql::ErrorKind::UndefinedParameter);
            let error = Error::new(kind, format!("there is no parameter {name}"));
            return Err(Error { position: Some(prepared.parsed.syntax.offset + at), ..error });
        }
        if params.len() != bound.parameters.len() {
            return Err(Error::new(
                ErrorKind::InvalidParameter,
                format!(
                    "bind message supplies {} parameters, but prepared statement \"\" requires {}",
                    params.len(),
                    bound.parameters.len()
                ),
            ));
        }
        let running = Running {
            functions: self.functions_context(&view, cancel),
            view,
            cancel: cancel.clone(),
            params: params.to_vec(),
            returned: Arc::default(),
        };
        statement::run(self, &running, &bound, prepared)
    }

    /// What a statement sees. What ends the transaction asks for nothing of its changes, which may no longer fit.
    fn view_for(&self, parsed: &Parsed) -> Result<View> {
        if !parsed.ends_transaction() {
            return self.view();
        }
        let snapshot = self.database.store()?.snapshot();
        let state = self.database.catalog(&snapshot)?;
        Ok(View::new(state, snapshot, self.info(), self.database.clone(), None))
    }

    /// The catalogue and data as the next statement sees them: the newest snapshot under the transaction's own changes.
    pub(crate) fn view(&self) -> Result<View> {
        let base = self.database.store()?.snapshot();
        let pending = self.transaction.as_ref().map(|t| &t.pending).filter(|p| !p.is_empty());
        let (snapshot, state) = match pending {
            None => {
                let state = self.database.catalog(&base)?;
                (base.clone(), state)
            }
            Some(pending) => {
                let over = pending.over(&base)?;
                let state = if pending.ddl == 0 {
                    self.database.catalog(&base)?
                } else {
                    self.own_catalog(base.catalog_version(), pending.ddl, &over)?
                };
                (over, state)
            }
        };
        let own = pending.map(|pending| (pending.clone(), base));
        Ok(View::new(state, snapshot, self.info(), self.database.clone(), own))
    }

    /// The catalogue with this transaction's own definitions. Its version is the committed one's that it stands on.
    fn own_catalog(&self, version: u64, ddl: u64, over: &Snapshot) -> Result<Arc<CatalogState>> {
        let mut cached = self.own_catalog.lock();
        if let Some((v, d, state)) = &*cached
            && (*v, *d) == (version, ddl)
        {
            return Ok(state.clone());
        }
        let mut state = load_catalog(over)?;
        state.version = version;
        let state = Arc::new(state);
        *cached = Some((version, ddl, state.clone()));
        Ok(state)
    }

    /// Who asks, as it is now.
    fn info(&self) -> Arc<SessionInfo> {
        Arc::new(SessionInfo {
            id: self.id,
            user: self.user.clone(),
            database_name: self.database_name.clone(),
            settings: self.settings.clone(),
            prepared: self.prepared.iter().map(|(name, p)| (name.clone(), p.text.clone())).collect(),
            cursors: self
                .cursors
                .iter()
                .map(|(name, c)| (name.clone(), c.text().to_string(), c.is_holdable(), c.is_scrollable()))
                .collect(),
        })
    }

    pub(crate) fn functions_context(&self, view: &Arc<View>, cancel: &Cancel) -> Arc<Context> {
        let now = now_micros();
        Arc::new(Context {
            now: self.transaction.as_ref().map_or(now, |t| t.started),
            statement_start: now,
            time_zone: self.settings.time_zone(),
            settings: self.settings.clone(),
            catalog: view.clone(),
            cancel: cancel.clone(),
        })
    }

    /// What a statement that changes rows stands on.
    pub(crate) fn base(&self, running: &Running) -> Base {
        Base {
            database: self.database.clone(),
            state: running.view.state.clone(),
            snapshot: running.view.snapshot.clone(),
            cancel: running.cancel.clone(),
            now: running.functions.now,
        }
    }

    /// What a statement stands on that begins now, in a transaction of its own if none is open.
    pub(crate) fn base_of_next(&mut self) -> Result<Base> {
        self.ensure_transaction();
        let view = self.view()?;
        Ok(Base::new(&self.database, view.state, view.snapshot, Cancel::default()))
    }

    /// What the executor needs for a query of this statement.
    pub(crate) fn query_context(&self, running: &Running) -> Arc<QueryContext> {
        let options = self.database.options();
        let stored = SnapshotRelations::new(running.view.clone(), running.functions.now);
        Arc::new(QueryContext {
            functions: running.functions.clone(),
            relations: Arc::new(WithReturned { rows: running.returned.clone(), others: Arc::new(stored) }),
            parameters: running.params.clone(),
            pool: self.database.pool().clone(),
            batch_rows: options.batch_rows,
            memory: self.database.query_memory(&self.settings),
            cancel: running.cancel.clone(),
            cache: self.settings.is_on("weir.partial_cache").then(|| self.database.partial_cache()).flatten(),
            progress: None,
            statistics: None,
        })
    }

    /// Runs all statements of a text, as one implicit transaction unless it says otherwise, and reads their rows to the end.
    /// The rows affected by the last.
    pub fn execute(&mut self, sql: &str) -> Result<u64> {
        let mut affected = 0;
        self.run_text(sql, &mut |outcome| {
            affected = match outcome {
                Outcome::Rows(rows) => {
                    let mut n = 0;
                    while let Some(batch) = rows.next()? {
                        n += batch.num_rows() as u64;
                    }
                    n
                }
                Outcome::Command { tag } => tag.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0),
                _ => 0,
            };
            Ok(())
        })?;
        Ok(affected)
    }

    /// Runs all statements of a text and shows each outcome.
    pub(crate) fn run_text(&mut self, sql: &str, each: &mut dyn FnMut(&mut Outcome) -> Result<()>) -> Result<()> {
        let statements = self.parse(sql)?;
        let several = statements.len() > 1;
        if several {
            self.begin_implicit();
        }
        let mut result = Ok(());
        for parsed in &statements {
            result = self.run_one(parsed, each);
            if result.is_err() {
                break;
            }
        }
        if several {
            let ended = self.end_implicit(result.is_err());
            result = result.and(ended);
        }
        result
    }

    fn run_one(&mut self, parsed: &Parsed, each: &mut dyn FnMut(&mut Outcome) -> Result<()>) -> Result<()> {
        let prepared = self.prepare(parsed, &[]).inspect_err(|_| self.fail_transaction())?;
        let mut outcome = self.run(&prepared, &[])?;
        each(&mut outcome).inspect_err(|_| self.fail_transaction())
    }
}

/// Lets others finish before a statement is tried again: not at all at first, then ever longer, up to some milliseconds.
fn wait_before_retry(attempt: u32) {
    if attempt >= 2 {
        // No two wait for equally long.
        let spread = now_micros().unsigned_abs() % 1000;
        let longest = 100u64 << attempt.min(7);
        std::thread::sleep(Duration::from_micros(longest * (spread + 500) / 1500));
    }
}

/// Applies the optimiser's rules to every plan of a statement.
fn optimise(statement: &mut Statement, view: &View) {
    let plan = match statement {
        Statement::Query(plan) | Statement::ShowQuery(plan) | Statement::DeclareCursor { plan, .. } => plan,
        Statement::Formatted { plan, .. } => plan,
        Statement::Insert(insert) => &mut insert.source,
        Statement::Modify(change) => &mut change.source,
        Statement::Copy(copy) => match &mut copy.target {
            weir_sql::statement::CopyTarget::To(plan) => plan,
            weir_sql::statement::CopyTarget::From { .. } => return,
        },
        Statement::CreateTable(create) => match &mut create.source {
            Some(plan) => plan,
            None => return,
        },
        Statement::Explain { statement, .. } => return optimise(statement, view),
        Statement::WithChanges { changes, main } => {
            changes.iter_mut().for_each(|(_, change)| optimise(change, view));
            return optimise(main, view);
        }
        _ => return,
    };
    views::rewrite::rewrite(plan, view);
    let taken = std::mem::replace(plan, Plan::Values { rows: Vec::new(), columns: Vec::new() });
    *plan = weir_sql::rules::optimise(taken, registry(), view);
}
