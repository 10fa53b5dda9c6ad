//! TTL … GROUP BY: of the rows whose time is over, those of one group become one row, in one commit.
//!
//! The rows stay in all answers, some time as several and then as one: [`watch`] looks every second, and OPTIMIZE TABLE … FINAL at once. As with
//! every TTL, the views of the table keep what they were given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use weir_sql::bind::Binder;
use weir_sql::catalog::{Catalog, ColumnInfo, NoStatistics, Relation};
use weir_sql::plan::{Expr, ExprKind, Plan, Scan};
use weir_sql::{Type, walk};

use super::commit::commit;
use super::relations::StoredRelations;
use super::table::{NoRelations, detached_context};
use super::ttl;
use super::writer::{Base, Writer};
use crate::cancel::Cancel;
use crate::catalog::describe::quote;
use crate::catalog::{Entry, TtlDef};
use crate::database::{Database, WeakDatabase};
use crate::error::{Error, ErrorKind, Result};
use crate::exec;
use crate::functions::registry;
use crate::session::now_micros;
use crate::transaction::Pending;

/// Where a row is, as a column that no table can have.
const PLACE: &str = "place of the row";
/// How often a rule is tried again when somebody changed its rows.
const TRIES: usize = 10;
/// How often tables are looked at, at most.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// A pause is this many times as long as the look before it took.
const PAUSE_FACTOR: u32 = 20;

/// A table's columns and the places of its rows, for [`plan`] to be bound over.
struct Placed(Arc<Relation>);

impl Catalog for Placed {
    fn relation(&self, _: Option<&str>, _: &str) -> weir_sql::Result<Option<Arc<Relation>>> {
        Ok(Some(self.0.clone()))
    }

    fn relation_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn setting(&self, name: &str) -> Option<String> {
        NoRelations.setting(name)
    }
}

/// The groups of more than one row whose time is over at `now`: what each becomes, and, in a last column, the places of its rows.
pub(crate) fn plan(entry: &Entry, rule: &TtlDef, now: i64) -> Result<Plan> {
    let missing = || Error::internal(format!("no GROUP BY in the TTL {}", rule.sql));
    let written = weir_sql::parse::ttl(&rule.sql)?.into_iter().next().ok_or_else(missing)?;
    let rollup = written.rollup.ok_or_else(missing)?;
    let relation = &entry.relation;
    let is_key = |column: &str| rollup.keys.iter().any(|key| *key == column || *key == quote(column));
    let becomes = |column: &ColumnInfo| {
        let name = quote(&column.name);
        match rollup.set.iter().find(|(set, _)| *set == column.name) {
            Some((_, sql)) => sql.clone(),
            None if is_key(&column.name) => name,
            None => format!("any({name})"),
        }
    };
    let columns: Vec<String> = relation.columns.iter().map(becomes).collect();
    let filter = rule.condition.as_ref().map_or(String::new(), |condition| format!(" WHERE {condition}"));
    let (columns, keys, place) = (columns.join(", "), rollup.keys.join(", "), quote(PLACE));
    let sql = format!(
        "SELECT {columns}, array_agg({place}) FROM {}{filter} GROUP BY {keys} HAVING count(*) > 1",
        quote(&relation.name)
    );
    let mut placed = Relation::clone(relation);
    placed.columns.push(ColumnInfo {
        name: PLACE.into(),
        ty: Type::Int8,
        nullable: false,
        default: None,
        collation: weir_sql::collation::Collation::DEFAULT,
    });
    let mut shape: Vec<(String, Type)> = relation.columns.iter().map(|c| (c.name.clone(), c.ty.clone())).collect();
    shape.push((PLACE.into(), Type::Array(Box::new(Type::Int8))));
    let catalog = Placed(Arc::new(placed));
    let mut plan =
        Binder::new(&catalog, registry(), &[]).bind_query_to(&*weir_sql::parse::query(&sql)?, &shape, false)?;
    let expired = Expr::new(ExprKind::Not(Box::new(ttl::in_time(entry, rule, now)?)), Type::Bool);
    each_scan(&mut plan, &mut |scan| {
        scan.relation = relation.clone();
        scan.filters.push(expired.clone());
    });
    Ok(weir_sql::rules::optimise(plan, registry(), &NoStatistics))
}

fn each_scan(plan: &mut Plan, f: &mut dyn FnMut(&mut Scan)) {
    if let Plan::Scan(scan) = plan {
        f(scan);
    }
    walk::inputs_mut(plan, &mut |input, _| each_scan(input, f));
}

/// Rolls up what is due in one table. Rows that somebody changes meanwhile are looked at again.
pub(crate) fn roll_up(database: &Database, table: u32, cancel: &Cancel) -> Result<()> {
    let (mut nth, mut tries) = (0, 0);
    while let Some(pending) = rolled_up(database, table, nth, cancel)? {
        let done = if pending.is_empty() { Ok(()) } else { commit(database, pending) };
        match done {
            Err(error) if error.kind == ErrorKind::SerializationFailure && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
            Ok(()) => (nth, tries) = (nth + 1, 0),
        }
    }
    Ok(())
}

/// What the n-th rule does to a table, as a transaction; `None` if there is no such rule, or table.
fn rolled_up(database: &Database, table: u32, nth: usize, cancel: &Cancel) -> Result<Option<Pending>> {
    let snapshot = database.store()?.snapshot();
    let (state, now) = (database.catalog(&snapshot)?, now_micros());
    let Some(entry) = state.entry(table) else { return Ok(None) };
    let Some(rule) = entry.def.ttl.iter().filter(|rule| rule.rollup).nth(nth) else { return Ok(None) };
    let plan = plan(entry, rule, now)?;
    let relations = StoredRelations { state: state.clone(), snapshot: snapshot.clone(), now };
    let context = Arc::new(detached_context(database, cancel).with_relations(Arc::new(relations)));
    let base = Base { database: database.clone(), state: state.clone(), snapshot, cancel: cancel.clone(), now };
    let mut writer = Writer::unchecked(base, entry)?.unfed();
    let mut groups = exec::run(&plan, &context)?;
    while let Some(batch) = groups.next()? {
        let width = batch.num_columns() - 1;
        // A batch may be a piece of a larger one: of the values only its own count.
        let lists = batch.column(width).as_list::<i32>();
        let own = lists.value_offsets();
        let own = own[0] as usize..own[lists.len()] as usize;
        let places = &lists.values().as_primitive::<Int64Type>().values()[own];
        writer.delete(places.iter().map(|&place| place as u64));
        writer.push(&batch.project(&(0..width).collect::<Vec<_>>())?)?;
    }
    drop(groups);
    let mut pending = Pending::default();
    writer.finish(&mut pending)?;
    Ok(Some(pending))
}

/// Rolls up what is due in all tables, again and again, until the database is closed.
pub(crate) fn watch(database: &WeakDatabase) {
    let mut pause = PAUSE_MIN;
    loop {
        std::thread::sleep(pause);
        let Some(database) = database.upgrade() else { return };
        let started = Instant::now();
        let Ok(state) = database.store().and_then(|store| database.catalog(&store.snapshot())) else { return };
        let due = state.entries().filter(|entry| entry.def.ttl.iter().any(|rule| rule.rollup));
        for entry in due {
            match roll_up(&database, entry.def.oid, &Cancel::default()) {
                Ok(()) => {}
                Err(error) if error.kind == ErrorKind::Shutdown => return,
                Err(error) => tracing::warn!(table = entry.qualified(), %error, "rows are not rolled up for now"),
            }
        }
        pause = PAUSE_MIN.max(started.elapsed() * PAUSE_FACTOR);
    }
}
