//! CREATE MATERIALIZED VIEW: the definition, and a table of its own for the states.

use weir_sql::catalog::RelationKind;
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::statement::CreateMaterializedView;
use weir_sql::{ErrorKind as SqlErrorKind, walk};
use weir_storage::{Change, TableDef, TableId};

use crate::catalog::{Kind, RelationDef};
use crate::error::Result;
use crate::exec::ViewPlan;
use crate::session::run::Running;
use crate::session::{Outcome, Session, Severity};
use crate::statement::define::{blank, define, dependencies, done, set_relation, view_columns};
use crate::statement::names::{already_exists, sql_error, taken, target_schema};

const COMMAND: &str = "CREATE MATERIALIZED VIEW";

/// Makes a view; it is filled when the transaction commits.
pub(crate) fn create(session: &mut Session, running: &Running, create: &CreateMaterializedView) -> Result<Outcome> {
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
    let plan = ViewPlan::new(&create.plan)?;
    if plan.input().kind != RelationKind::Table {
        let message = format!("materialized views over \"{}\" are not supported", plan.input().name);
        return Err(sql_error(SqlErrorKind::Unsupported, message).with_hint("Use a table as its input."));
    }
    if !create.layout.ttl.is_empty() {
        return Err(sql_error(SqlErrorKind::Unsupported, "TTL of a materialized view is not supported"));
    }
    let own = plan.key_of_column();
    let kept = |column: usize| own.get(column).copied().flatten();
    let order_by: Option<Vec<usize>> = create.layout.order_by.iter().map(|&column| kept(column)).collect();
    let order_by = order_by.ok_or_else(|| not_a_key("ORDER BY"))?;
    if let Some(partition_by) = &create.layout.partition_by {
        own_partition(&partition_by.expr, &own)?;
    }
    let oid = session.database.new_oid();
    let def = RelationDef {
        query: Some(create.query.clone()),
        search_path: view.path(),
        depends: dependencies(view, &create.query)?,
        order_by,
        partition_by: create.layout.partition_by.as_ref().map(|p| p.sql.clone()),
        engine: create.layout.engine.clone(),
        building: create.with_data,
        ..blank(oid, schema, &create.name.name, Kind::Materialized, view_columns(&create.columns))
    };
    let table = own_table(&def, &plan, session, running)?;
    define(session, running, vec![Change::CreateTable { id: TableId(oid), def: table }, set_relation(&def)?])?;
    if create.with_data {
        session.transaction()?.pending.views.push(oid);
    }
    done(COMMAND)
}

fn own_table(def: &RelationDef, plan: &ViewPlan, session: &Session, running: &Running) -> Result<TableDef> {
    let schema = plan.schema(&session.query_context(running))?;
    Ok(TableDef {
        sort_key: def.order_by.clone(),
        collapse: plan.key_columns().map(|keys| (0..keys).collect()),
        ..TableDef::new(format!("{}.{}", def.schema, def.name), schema)
    })
}

/// PARTITION BY over the view's columns as an expression over its own table: only group keys are there.
pub(super) fn own_partition(expr: &Expr, own: &[Option<usize>]) -> Result<Expr> {
    let mut expr = expr.clone();
    let mut missing = false;
    walk::visit_mut(&mut expr, 0, &mut |part, _| {
        if let ExprKind::Column(column) = &mut part.kind {
            match own.get(*column).copied().flatten() {
                Some(key) => *column = key,
                None => missing = true,
            }
        }
    });
    if missing { Err(not_a_key("PARTITION BY")) } else { Ok(expr) }
}

fn not_a_key(clause: &str) -> crate::Error {
    let message = format!("{clause} of a materialized view must name group keys");
    sql_error(SqlErrorKind::InvalidDefinition, message)
        .with_detail("What is not a group key is known only when the view is read.")
}
