//! What binder, kernels and executor ask of a session: [`View`], the catalogue at one version as one session sees it.

use std::sync::{Arc, OnceLock};

use arrow::array::AsArray;
use parking_lot::Mutex;
use weir_sql::catalog::{Catalog, Relation, RelationKind};
use weir_sql::plan::{Expr, ExprKind, OutputColumn, Plan};
use weir_sql::{Type, Value};
use weir_storage::{Snapshot, TableId};

use super::settings::SessionSettings;
use crate::cancel::Cancel;
use crate::catalog::system::{self, SystemContext};
use crate::catalog::{CatalogState, Found, procs};
use crate::database::{Database, Registered};
use crate::error::Result;
use crate::exec::{self, QueryContext};
use crate::functions::{CatalogLookup, Context, registry};
use crate::kernels::cast::cast_array;
use crate::statement::relations::SnapshotRelations;
use crate::statement::writer::Base;
use crate::transaction::Pending;
use crate::views::derive;

/// Who is connected, for what is computed from it; later changes of the session do not reach it.
#[derive(Debug)]
pub struct SessionInfo {
    /// The session's number.
    pub id: i32,
    /// Who is logged in.
    pub user: String,
    /// The database's name, as the client asked for it.
    pub database_name: String,
    /// Settings.
    pub settings: Arc<SessionSettings>,
    /// PREPAREd statements: name and text.
    pub prepared: Vec<(String, String)>,
    /// Cursors: name, text, and whether they outlive the transaction.
    pub cursors: Vec<(String, String, bool, bool)>,
}

/// How the schemas of temporary tables begin; the session's number follows.
pub(crate) const TEMPORARY: &str = "pg_temp_";

/// The catalogue as one session sees it in one statement.
#[derive(Debug)]
pub struct View {
    /// The catalogue.
    pub state: Arc<CatalogState>,
    /// The data.
    pub snapshot: Snapshot,
    /// Who asks.
    pub session: Arc<SessionInfo>,
    /// The database.
    pub database: Database,
    /// The search path, `"$user"` replaced.
    path: Vec<String>,
    /// Oids of the users' relations that the binder asked for.
    used: Mutex<Vec<u32>>,
    /// The changes of this transaction so far, and the snapshot under them. A view of its own that is not filled yet is read as its query.
    own: Option<(Pending, Snapshot)>,
    /// The data with what these changes mean for views, once somebody asked.
    derived: OnceLock<Snapshot>,
}

impl View {
    pub(super) fn new(
        state: Arc<CatalogState>,
        snapshot: Snapshot,
        session: Arc<SessionInfo>,
        database: Database,
        own: Option<(Pending, Snapshot)>,
    ) -> View {
        let path = session.settings.search_path(&session.user);
        View { state, snapshot, session, database, path, used: Mutex::default(), own, derived: OnceLock::new() }
    }

    /// The data as views show it.
    pub(crate) fn derived(&self) -> Result<&Snapshot> {
        if let Some(snapshot) = self.derived.get() {
            return Ok(snapshot);
        }
        let mut snapshot = self.snapshot.clone();
        if let Some((pending, base)) = &self.own {
            let base = Base::new(&self.database, self.state.clone(), base.clone(), Cancel::default());
            let views = derive::affected(&self.state, pending)?;
            snapshot = snapshot.with_changes(&derive::derive(&base, pending, &views)?)?;
        }
        Ok(self.derived.get_or_init(|| snapshot))
    }

    /// The same with another search path: what a view's text was written under.
    pub(crate) fn with_path(&self, path: Vec<String>) -> View {
        View {
            state: self.state.clone(),
            snapshot: self.snapshot.clone(),
            session: self.session.clone(),
            database: self.database.clone(),
            path,
            used: Mutex::default(),
            own: self.own.clone(),
            derived: OnceLock::new(),
        }
    }

    /// Whether this transaction makes a view.
    pub(crate) fn makes(&self, view: u32) -> bool {
        self.own.as_ref().is_some_and(|(pending, _)| pending.views.contains(&view))
    }

    /// Users' relations that were asked for so far, each once.
    pub(crate) fn used(&self) -> Vec<u32> {
        let mut used = self.used.lock().clone();
        used.sort_unstable();
        used.dedup();
        used
    }

    /// The search path, without schemas that are not there.
    pub(crate) fn path(&self) -> Vec<String> {
        self.path.iter().filter(|schema| self.state.schema_oid(schema).is_some()).cloned().collect()
    }

    /// The schema that new relations go to.
    pub(crate) fn current_schema(&self) -> Option<String> {
        self.path().into_iter().next()
    }

    /// The schema of this session's temporary tables.
    pub(crate) fn temporary_schema(&self) -> String {
        format!("{TEMPORARY}{}", self.session.id)
    }

    /// What a name means in this session. Its temporary tables come first.
    pub(crate) fn find(&self, schema: Option<&str>, name: &str) -> Option<Found<'_>> {
        let found = match schema {
            None | Some("pg_temp") => self.state.find(&self.temporary_schema(), name).map(Found::User),
            _ => None,
        };
        let found = found.or_else(|| self.state.resolve(schema, name, &self.path))?;
        match &found {
            Found::User(entry) if entry.def.building && !self.makes(entry.def.oid) => None,
            _ => Some(found),
        }
    }

    fn registered(&self, schema: Option<&str>, name: &str) -> Option<Registered> {
        match schema {
            Some(schema) => self.database.registered(schema, name),
            None => self.path.iter().find_map(|schema| self.database.registered(schema, name)),
        }
    }

    /// What system relations are computed from.
    pub(crate) fn system_context(&self) -> SystemContext {
        SystemContext {
            state: self.state.clone(),
            snapshot: self.snapshot.clone(),
            session: self.session.clone(),
            database: self.database.clone(),
        }
    }
}

impl Catalog for View {
    fn relation(&self, schema: Option<&str>, name: &str) -> weir_sql::Result<Option<Arc<Relation>>> {
        let Some(found) = self.find(schema, name) else {
            return Ok(self.registered(schema, name).map(|registered| registered.relation));
        };
        Ok(Some(match found {
            Found::System(system) => system.relation.clone(),
            Found::User(entry) if entry.def.sink.is_some() => return Err(not_opened(entry)),
            Found::User(entry) => {
                self.used.lock().push(entry.def.oid);
                match (&entry.relation.kind, &entry.def.query) {
                    (RelationKind::MaterializedView, Some(query)) if entry.def.building => {
                        let kind = RelationKind::View { query: query.clone() };
                        Arc::new(Relation { kind, ..Relation::clone(&entry.relation) })
                    }
                    _ => entry.relation.clone(),
                }
            }
        }))
    }

    fn relation_names(&self) -> Vec<String> {
        self.state.entries().filter(|e| !e.def.building && e.def.sink.is_none()).map(|e| e.def.name.clone()).collect()
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.session.settings.get(name)
    }

    fn closed(&self, plan: Plan) -> weir_sql::Result<Plan> {
        crate::views::closed(&self.state, plan)
    }

    fn texts(&self, plan: Plan) -> weir_sql::Result<Vec<String>> {
        let view = Arc::new(self.with_path(self.path.clone()));
        let (now, settings) = (super::now_micros(), self.session.settings.clone());
        let functions = Context {
            now,
            statement_start: now,
            time_zone: settings.time_zone(),
            settings,
            catalog: view.clone(),
            cancel: Cancel::default(),
        };
        let options = self.database.options();
        let context = QueryContext {
            functions: Arc::new(functions),
            relations: Arc::new(SnapshotRelations::new(view, now)),
            parameters: Vec::new(),
            cache: None,
            progress: None,
            statistics: None,
            pool: self.database.pool().clone(),
            batch_rows: options.batch_rows,
            memory: self.database.query_memory(&self.session.settings),
            cancel: Cancel::default(),
        };
        let plan = weir_sql::rules::optimise(plan, registry(), self);
        let rows = || -> crate::error::Result<Vec<String>> {
            let mut stream = exec::run(&plan, &Arc::new(context))?;
            let mut texts = Vec::new();
            while let Some(batch) = stream.next()? {
                texts.extend(batch.column(0).as_string_view().iter().flatten().map(str::to_string));
            }
            Ok(texts)
        };
        rows().map_err(|e| weir_sql::Error {
            kind: match e.kind {
                crate::ErrorKind::Sql(kind) => kind,
                _ => weir_sql::ErrorKind::InvalidParameter,
            },
            message: e.message,
            detail: e.detail,
            hint: e.hint,
            position: None,
        })
    }

    fn check_constant(&self, expr: &Expr) -> weir_sql::Result<()> {
        let is_null = Expr::new(ExprKind::IsNull(Box::new(expr.clone())), Type::Bool);
        let text = Expr::literal(Value::text("NULL"));
        let kind = ExprKind::Case { branches: vec![(is_null, text)], otherwise: None };
        let rows = vec![vec![Expr::new(kind, Type::Text)]];
        self.texts(Plan::Values { rows, columns: vec![OutputColumn::computed("is_null", Type::Text)] }).map(drop)
    }

    fn check_literal(&self, text: &str, ty: &Type) -> weir_sql::Result<()> {
        // Names of objects and JSON may mean something else when the statement runs, or are dear to read twice.
        let fixed = ty.is_number()
            || matches!(
                ty,
                Type::Bool
                    | Type::Uuid
                    | Type::Date
                    | Type::Time
                    | Type::Timestamp
                    | Type::Timestamptz
                    | Type::Interval
                    | Type::Bytea
            );
        if !fixed {
            return Ok(());
        }
        let settings = self.session.settings.clone();
        let context = Context { time_zone: settings.time_zone(), settings, ..Context::detached() };
        let value = Value::unknown(text);
        match cast_array(&context, &value.array, &value.ty, ty, false) {
            Ok(_) => Ok(()),
            Err(e) => {
                let kind = match e.kind {
                    crate::ErrorKind::Sql(kind) => kind,
                    crate::ErrorKind::InvalidText => weir_sql::ErrorKind::InvalidText,
                    crate::ErrorKind::NumericOutOfRange => weir_sql::ErrorKind::OutOfRange,
                    crate::ErrorKind::InvalidDatetime => weir_sql::ErrorKind::InvalidDatetime,
                    crate::ErrorKind::DatetimeOutOfRange => weir_sql::ErrorKind::DatetimeOutOfRange,
                    // What else is wrong is told when the value is made.
                    _ => return Ok(()),
                };
                Err(weir_sql::Error { kind, message: e.message, detail: e.detail, hint: e.hint, position: None })
            }
        }
    }

    fn table_function_columns(
        &self,
        name: &str,
        args: &[Value],
        named_args: &[(String, Value)],
    ) -> weir_sql::Result<Option<Vec<(String, Type)>>> {
        crate::files::columns(name, args, named_args).map_err(|e| weir_sql::Error {
            kind: match e.kind {
                crate::ErrorKind::Sql(kind) => kind,
                crate::ErrorKind::UndefinedFile => weir_sql::ErrorKind::UndefinedFile,
                crate::ErrorKind::Io => weir_sql::ErrorKind::Io,
                crate::ErrorKind::InvalidText => weir_sql::ErrorKind::InvalidText,
                crate::ErrorKind::BadCopyFile | crate::ErrorKind::CharacterNotInRepertoire => {
                    weir_sql::ErrorKind::BadFile
                }
                _ => weir_sql::ErrorKind::InvalidParameter,
            },
            message: e.message,
            // The place in the file: the binder's errors have no other room for it.
            detail: e.detail.or(e.context),
            hint: e.hint,
            position: None,
        })
    }
}

impl CatalogLookup for View {
    fn relation_oid(&self, schema: Option<&str>, name: &str) -> Option<u32> {
        match self.find(schema, name) {
            Some(found) => Some(found.oid()),
            None => self.registered(schema, name).map(|r| r.relation.oid),
        }
    }

    fn relation_name(&self, oid: u32) -> Option<(String, String, bool)> {
        let (schema, name) = match (self.state.entry(oid), system::by_oid(oid)) {
            (Some(entry), _) => (entry.def.schema.clone(), entry.def.name.clone()),
            (None, Some(system)) => (system.relation.schema.clone(), system.relation.name.clone()),
            (None, None) => system::index_relation(&self.state, oid)?,
        };
        let seen = self.find(None, &name).map(|found| found.oid());
        let visible = seen == Some(oid) || (seen.is_none() && self.path.contains(&schema));
        Some((schema, name, visible))
    }

    fn namespace_oid(&self, name: &str) -> Option<u32> {
        self.state.schema_oid(name)
    }

    fn namespace_name(&self, oid: u32) -> Option<String> {
        self.state.schemas().find(|(_, known)| *known == oid).map(|(name, _)| name.to_string())
    }

    fn function_name(&self, oid: u32) -> Option<String> {
        procs::name(oid)
    }

    fn function_oid(&self, name: &str) -> Option<u32> {
        procs::oid(name)
    }

    fn current_user(&self) -> String {
        self.session.user.clone()
    }

    fn view_definition(&self, oid: u32) -> Option<String> {
        system::view_definition(&self.state.entry(oid)?.def)
    }

    fn signal_session(&self, pid: i32, terminate: bool) -> bool {
        self.database.signal_session(pid, terminate)
    }

    fn comment(&self, oid: u32, column: i32) -> Option<String> {
        let def = &self.state.entry(oid)?.def;
        match usize::try_from(column).ok()? {
            0 => def.comment.clone(),
            n => def.columns.get(n - 1)?.comment.clone(),
        }
    }

    fn search_path(&self) -> Vec<String> {
        self.path()
    }

    fn backend_pid(&self) -> i32 {
        self.session.id
    }

    fn relation_size(&self, oid: u32) -> Option<i64> {
        if let Some(table) = self.snapshot.table(TableId(oid)) {
            let parts: u64 = table.parts().iter().map(|part| part.bytes()).sum();
            return Some(parts as i64 + table.head_bytes() as i64);
        }
        (system::by_oid(oid).is_some() || self.state.entry(oid).is_some()).then_some(0)
    }

    fn index_definition(&self, oid: u32, column: i32) -> Option<String> {
        system::index_definition(&self.state, oid, column)
    }

    fn constraint_definition(&self, oid: u32) -> Option<String> {
        system::constraint_definition(&self.state, oid)
    }

    fn create_statement(&self, oid: u32) -> Option<String> {
        let entry = self.state.entry(oid)?;
        Some(crate::catalog::create_statement(&crate::views::late::described(&self.state, &entry.def)))
    }

    fn watermark(&self, oid: u32) -> Option<i64> {
        self.state.entry(oid).and_then(|entry| crate::watermark::of_view(&self.state, &self.snapshot, entry))
    }

    fn role_oid(&self, name: &str) -> Option<u32> {
        system::role_oid(&self.session.user, name)
    }

    fn role_name(&self, oid: u32) -> Option<String> {
        system::role_name(&self.session.user, oid)
    }

    fn database_name(&self) -> String {
        self.session.database_name.clone()
    }
}

/// 42809: what is a name, but of no rows.
fn not_opened(entry: &crate::catalog::Entry) -> weir_sql::Error {
    let message = format!("cannot open relation \"{}\"", entry.def.name);
    weir_sql::Error::new(weir_sql::ErrorKind::WrongObjectType, message)
        .with_detail("This operation is not supported for sinks.")
}
