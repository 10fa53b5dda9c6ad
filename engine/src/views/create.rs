//! CREATE MATERIALIZED VIEW: the definition, and a table of its own for the states.

use weir_sql::catalog::{Relation, RelationKind};
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::statement::CreateMaterializedView;
use weir_sql::{ErrorKind as SqlErrorKind, walk};
use weir_storage::{Change, TableDef, TableId};

use super::{bound, closing, late, plan_of, refresh, replace, rewrite, transform};
use crate::catalog::{EmitDef, Entry, Kind, RelationDef, TtlDef};
use crate::error::{Error, Result};
use crate::exec::ViewPlan;
use crate::session::run::Running;
use crate::session::{Outcome, Session, Severity, View};
use crate::statement::define::{blank, define, dependencies, done, set_relation, ttl_def, view_columns};
use crate::statement::names::{already_exists, sql_error, taken, target_schema};
use crate::statement::table::{bind_over, output_columns};
use crate::statement::ttl::storage_rule;

const COMMAND: &str = "CREATE MATERIALIZED VIEW";

/// Makes a view; it is filled when the transaction commits.
pub(crate) fn create(session: &mut Session, running: &Running, create: &CreateMaterializedView) -> Result<Outcome> {
    if let Some(if_exists) = create.alters {
        return replace::replace(session, running, create, if_exists);
    }
    session.writable(COMMAND)?;
    let view = &running.view;
    let schema = target_schema(view, &create.name)?;
    if taken(view, &schema, &create.name.name) {
        if create.if_not_exists {
            let message = format!("relation \"{}\" already exists, skipping", create.name.name);
            session.notice(Severity::Notice, "42P07", message);
            return done(COMMAND);
        }
        return Err(already_exists(&create.name.name));
    }
    match (&create.to, create.refresh) {
        (Some(to), _) => transform::create(session, running, create, schema, to)?,
        (None, Some(every)) => refresh::create(session, running, create, schema, every)?,
        (None, None) => make(session, running, create, schema, None)?,
    }
    done(COMMAND)
}

/// Makes a view that follows its inputs, under the name given; it may take the place of another once it is filled.
pub(super) fn make(
    session: &mut Session,
    running: &Running,
    create: &CreateMaterializedView,
    schema: String,
    replaces: Option<u32>,
) -> Result<()> {
    let view = &running.view;
    let (depends, path) = (dependencies(view, &create.query)?, view.path());
    let mut plan = ViewPlan::new(&create.plan)?;
    if depends.iter().any(|input| view.makes(*input)) {
        // To this transaction its views are their queries, to this view they are inputs.
        let names: Vec<&str> = create.columns.iter().map(|column| column.name.as_str()).collect();
        plan = bound(&view.state, &create.query, &path, &names)?;
    }
    for input in plan.inputs() {
        check_input(view, input)?;
    }
    let own = plan.key_of_column();
    let kept = |column: usize| own.get(column).copied().flatten();
    let order_by: Option<Vec<usize>> = create.layout.order_by.iter().map(|&column| kept(column)).collect();
    let order_by = order_by.ok_or_else(|| not_a_key("ORDER BY"))?;
    if let Some(partition_by) = &create.layout.partition_by {
        over_own(&partition_by.expr, &plan, "PARTITION BY")?;
    }
    let oid = session.database.new_oid();
    let mut def = RelationDef {
        query: Some(create.query.clone()),
        search_path: path,
        depends,
        order_by,
        partition_by: create.layout.partition_by.as_ref().map(|p| p.sql.clone()),
        ttl: create.layout.ttl.iter().map(ttl_def).collect(),
        engine: create.layout.engine.clone(),
        building: create.with_data,
        replaces,
        emit: create.emit.map(EmitDef::from),
        ..blank(oid, schema, &create.name.name, Kind::Materialized, view_columns(&create.columns))
    };
    let entry = Entry::new(def.clone());
    closing::check(&view.state, &entry, &plan)?;
    let mut changes = Vec::new();
    if let Some(late) = &create.late {
        (def.late, changes) = late::defined(&session.database, view, &entry, &plan, late)?;
        def.depends.extend(def.late_table());
    }
    rewrite::start_in_step(&mut def, create.with_data, &view.state);
    let table = own_table(&def, &plan, session, running)?;
    changes.extend([Change::CreateTable { id: TableId(oid), def: table }, set_relation(&def)?]);
    define(session, running, changes)?;
    if create.with_data {
        session.transaction()?.pending.views.push(oid);
    }
    Ok(())
}

/// A view can only be an input if what it shows comes group by group, and if it is there.
fn check_input(view: &View, input: &Relation) -> Result<()> {
    if input.kind != RelationKind::MaterializedView {
        return Ok(());
    }
    let entry = view.state.entry(input.oid).ok_or_else(|| Error::internal("an input is gone"))?;
    if entry.def.shows_closed() {
        let message = "this materialized view cannot be kept up to date".to_string();
        let detail = format!(
            "The reason: \"{}\" shows its windows when they close, and no commit of its own says so.",
            input.name
        );
        let hint = "Read what it reads, or make the view on it without EMIT ON WINDOW CLOSE.";
        return Err(sql_error(SqlErrorKind::Unsupported, message).with_detail(detail).with_hint(hint));
    }
    if entry.def.keeps_states() && !plan_of(&view.state, entry)?.is_local() {
        let message = "this materialized view cannot be kept up to date".to_string();
        let detail = format!("The reason: \"{}\" is sorted out as a whole when it is read.", input.name);
        let hint =
            "Leave DISTINCT, LIMIT, window functions and aggregates over aggregates to the queries that read it.";
        return Err(sql_error(SqlErrorKind::Unsupported, message).with_detail(detail).with_hint(hint));
    }
    Ok(())
}

fn own_table(def: &RelationDef, plan: &ViewPlan, session: &Session, running: &Running) -> Result<TableDef> {
    let schema = plan.schema(&session.query_context(running))?;
    Ok(TableDef {
        sort_key: def.order_by.clone(),
        collapse: plan.key_columns().map(|keys| (0..keys).collect()),
        ttl: own_ttl(def, plan)?,
        ..TableDef::new(format!("{}.{}", def.schema, def.name), schema)
    })
}

/// The rules of a view's TTL over its own table.
pub(crate) fn own_ttl(def: &RelationDef, plan: &ViewPlan) -> Result<Vec<weir_storage::TtlDef>> {
    let own = plan.key_of_column();
    let columns = output_columns(&Entry::new(def.clone()).relation);
    let rule = |rule: &TtlDef| -> Result<weir_storage::TtlDef> {
        if rule.of.is_some() || rule.rollup {
            return Err(sql_error(SqlErrorKind::Unsupported, "TTL of a materialized view only drops groups"));
        }
        if let Some(condition) = &rule.condition {
            over_own(&bind_over(condition, &columns)?, plan, "TTL")?;
        }
        let column = own.get(rule.column).copied().flatten().ok_or_else(|| not_a_key("TTL"))?;
        let rule = storage_rule(rule).ok_or_else(|| Error::internal("a rule that drops rows is storage's"))?;
        Ok(weir_storage::TtlDef { column, ..rule })
    };
    def.ttl.iter().map(rule).collect()
}

/// An expression over the view's columns as one over its own table: only group keys are there.
pub(crate) fn over_own(expr: &Expr, plan: &ViewPlan, clause: &str) -> Result<Expr> {
    let (own, mut expr, mut missing) = (plan.key_of_column(), expr.clone(), false);
    walk::visit_mut(&mut expr, 0, &mut |part, _| {
        if let ExprKind::Column(column) = &mut part.kind {
            match own.get(*column).copied().flatten() {
                Some(key) => *column = key,
                None => missing = true,
            }
        }
    });
    if missing { Err(not_a_key(clause)) } else { Ok(expr) }
}

fn not_a_key(clause: &str) -> crate::Error {
    let message = format!("{clause} of a materialized view must name group keys");
    sql_error(SqlErrorKind::InvalidDefinition, message)
        .with_detail("What is not a group key is known only when the view is read.")
}
