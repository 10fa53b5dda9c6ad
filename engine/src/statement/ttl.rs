//! TTL: which rows have expired, as a condition on the rows; and which values of them, where a column has a TTL.
//!
//! Readers add [`alive`] to what they ask for, and read what [`faded`] says, so that a row or a value is in no answer from the moment its
//! TTL is over; storage leaves them out of what it writes ([`ExpiredRows`]). Both go by the same expressions, in UTC and without a session.

use std::sync::Arc;

use arrow::array::{AsArray, Date32Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::filter_record_batch;
use parking_lot::RwLock;
use weir_sql::bind::{Binder, ddl};
use weir_sql::catalog::RelationKind;
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::{ErrorKind as SqlErrorKind, Type, Value};
use weir_storage::{Retain, TableDef};

use super::alter::depends::clauses_with;
use super::names::sql_error;
use super::rollup;
use super::table::{NoRelations, bind_over, detached_context, output_columns};
use crate::cancel::Cancel;
use crate::catalog::{ColumnDef, Entry, RelationDef, TtlDef};
use crate::database::{Database, WeakDatabase};
use crate::error::{Error, Result};
use crate::exec::{self, QueryContext};
use crate::functions::registry;
use crate::kernels::datetime::{MICROS_PER_DAY, civil_from_days, days_from_civil, days_in_month, split_micros};
use crate::views;

/// A rule as storage knows it. It takes whole days for their last moment, so it is never early. Rows that become fewer are no matter of
/// its: [`super::rollup`] deals with them.
pub(crate) fn storage_rule(rule: &TtlDef) -> Option<weir_storage::TtlDef> {
    let TtlDef { column, months, days, micros, .. } = *rule;
    (!rule.rollup).then(|| weir_storage::TtlDef {
        column,
        months,
        days,
        micros,
        conditional: rule.condition.is_some() || rule.of.is_some(),
    })
}

/// The condition under which a row is not expired at `now`; `None` when the relation has no TTL.
pub(crate) fn alive(entry: &Entry, now: i64) -> Result<Option<Expr>> {
    if !matches!(entry.relation.kind, RelationKind::Table | RelationKind::MaterializedView) {
        return Ok(None);
    }
    let mut rules = Vec::new();
    for rule in entry.def.ttl.iter().filter(|rule| rule.of.is_none() && !rule.rollup) {
        let in_time = in_time(entry, rule, now)?;
        rules.push(match &rule.condition {
            None => in_time,
            Some(condition) => {
                let condition = bind_over(condition, &output_columns(&entry.relation))?;
                let unknown = Expr::new(ExprKind::IsNull(Box::new(condition.clone())), Type::Bool);
                let spared = Expr::new(ExprKind::Not(Box::new(condition)), Type::Bool);
                Expr::new(ExprKind::Or(vec![in_time, unknown, spared]), Type::Bool)
            }
        });
    }
    Ok(match rules.len() {
        0 | 1 => rules.pop(),
        _ => Some(Expr::new(ExprKind::And(rules), Type::Bool)),
    })
}

/// The columns with a TTL, and what is shown of each at `now`: its default, where the time is over.
pub(crate) fn faded(entry: &Entry, now: i64) -> Result<Vec<(usize, Expr)>> {
    let mut faded = Vec::new();
    for rule in &entry.def.ttl {
        let Some(of) = rule.of else { continue };
        let column = &entry.def.columns[of];
        let stored = Expr::column(of, column.ty.clone());
        let kind = ExprKind::Case {
            branches: vec![(in_time(entry, rule, now)?, stored)],
            otherwise: default(column)?.map(Box::new),
        };
        faded.push((of, Expr::new(kind, column.ty.clone())));
    }
    Ok(faded)
}

/// The value of a column that a row does not give, if it has a default.
pub(crate) fn default(column: &ColumnDef) -> Result<Option<Expr>> {
    let Some(sql) = &column.default else { return Ok(None) };
    let mut binder = Binder::new(&NoRelations, registry(), &[]);
    Ok(Some(ddl::default(&mut binder, &weir_sql::parse::expr(sql)?, &column.name, &column.ty)?))
}

/// Whether the rules can be kept.
pub(crate) fn check(database: &Database, entry: &Entry) -> Result<()> {
    check_columns(&entry.def)?;
    for rule in entry.def.ttl.iter().filter(|rule| rule.rollup) {
        if entry.def.key().is_some() {
            return Err(sql_error(
                SqlErrorKind::Unsupported,
                "TTL with GROUP BY is not supported for tables with a key",
            )
            .with_hint("Keep totals in a materialized view."));
        }
        rollup::plan(entry, rule, 0)?;
        database.watch_rollups();
    }
    Ok(())
}

/// Whether the columns with a TTL may have one: nothing else goes by them, and they have a value to go back to.
fn check_columns(def: &RelationDef) -> Result<()> {
    for of in def.ttl.iter().filter_map(|rule| rule.of) {
        let column = &def.columns[of];
        let refused = |detail: String| {
            let message = format!("column \"{}\" cannot have a TTL", column.name);
            Err(sql_error(SqlErrorKind::InvalidDefinition, message).with_detail(detail))
        };
        if let Some(clause) = clauses_with(def, of).first() {
            return refused(format!("The {clause} of the table goes by it."));
        }
        match default(column)? {
            None if !column.nullable => return refused("It has no default and does not admit NULL.".into()),
            Some(default) if !Binder::new(&NoRelations, registry(), &[]).is_immutable(&default) => {
                return refused("Its default is not always the same.".into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// The condition under which a rule's time is not over: the column plus the interval is after `now`.
pub(crate) fn in_time(entry: &Entry, ttl: &TtlDef, now: i64) -> Result<Expr> {
    let ty = entry.relation.columns[ttl.column].ty.clone();
    let expired = Expired::at(now, ttl.months, ttl.days, ttl.micros);
    let column = Expr::column(ttl.column, ty.clone());
    let mut binder = Binder::new(&NoRelations, registry(), &[]);
    let mut compare = |operator: &str, micros: i64| {
        binder.operator(operator, vec![column.clone(), Expr::literal(moment(&ty, micros))])
    };
    let alive = match ty {
        Type::Date => compare(">", expired.last_day.saturating_mul(MICROS_PER_DAY))?,
        _ if ttl.day => compare(">=", (expired.last_day + 1).saturating_mul(MICROS_PER_DAY))?,
        _ => {
            let mut parts = vec![compare(">", expired.cutoff())?];
            for (from, to) in expired.after_cutoff() {
                parts.push(Expr::new(ExprKind::Or(vec![compare("<", from)?, compare(">", to)?]), Type::Bool));
            }
            if parts.len() == 1 { parts.remove(0) } else { Expr::new(ExprKind::And(parts), Type::Bool) }
        }
    };
    // A row without a time does not expire.
    if entry.relation.columns[ttl.column].nullable {
        let missing = Expr::new(ExprKind::IsNull(Box::new(column)), Type::Bool);
        return Ok(Expr::new(ExprKind::Or(vec![alive, missing]), Type::Bool));
    }
    Ok(alive)
}

/// Tells storage what has expired.
#[derive(Default)]
pub(crate) struct ExpiredRows {
    /// Set once the database is open; weak, since the database owns the store that owns this.
    database: RwLock<Option<WeakDatabase>>,
}

impl ExpiredRows {
    pub(crate) fn attach(&self, database: &Database) {
        *self.database.write() = Some(database.downgrade());
    }

    fn kept(&self, def: &TableDef, rows: &RecordBatch, now: i64) -> Result<Option<RecordBatch>> {
        let database = self.database.read().as_ref().and_then(WeakDatabase::upgrade);
        let database = database.ok_or_else(|| Error::internal("the database is not open"))?;
        let state = database.catalog(&database.store()?.snapshot())?;
        let Some(entry) = state.entries().find(|entry| entry.qualified() == def.name) else { return Ok(None) };
        let context = Arc::new(detached_context(&database, &Cancel::default()));
        if entry.def.keeps_states() {
            let Some(alive) = alive(entry, now)? else { return Ok(None) };
            let alive = views::over_own(&alive, &*views::plan_of(&state, entry)?, "TTL")?;
            let kept = filter_record_batch(rows, exec::evaluate(&alive, rows, &context)?.as_boolean())?;
            return Ok(Some(kept));
        }
        // Rows of an older definition: the next merge asks again.
        if entry.def.ids() != def.ids || entry.schema().fields() != rows.schema().fields() {
            return Ok(None);
        }
        let mut kept = rows.clone();
        if let Some(alive) = alive(entry, now)? {
            kept = filter_record_batch(&kept, exec::evaluate(&alive, &kept, &context)?.as_boolean())?;
        }
        as_shown(&kept, &faded(entry, now)?, &context).map(Some)
    }
}

impl Retain for ExpiredRows {
    fn retain(&self, def: &TableDef, rows: &RecordBatch, now: i64) -> std::result::Result<Option<RecordBatch>, String> {
        self.kept(def, rows, now).map_err(|e| e.message)
    }
}

/// Whole rows of a table as they are shown.
pub(crate) fn as_shown(
    rows: &RecordBatch,
    faded: &[(usize, Expr)],
    context: &Arc<QueryContext>,
) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    for (of, shown) in faded {
        columns[*of] = exec::evaluate(shown, rows, context)?;
    }
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

/// A moment as a constant of a TTL column's type.
fn moment(ty: &Type, micros: i64) -> Value {
    let moments = TimestampMicrosecondArray::from(vec![micros]);
    match ty {
        Type::Date => {
            let days = micros.div_euclid(MICROS_PER_DAY).clamp(i32::MIN.into(), i32::MAX.into());
            Value::new(Type::Date, Arc::new(Date32Array::from(vec![days as i32])))
        }
        Type::Timestamp => Value::new(Type::Timestamp, Arc::new(moments)),
        _ => Value::new(Type::Timestamptz, Arc::new(moments.with_timezone("UTC"))),
    }
}

/// Which moments `t` are expired: `t + months + days + micros <= now`, in UTC.
///
/// Adding months keeps the time of day and cuts the day to the month's last, so several days (30 and 31 March, plus a month) may land on
/// the last one, each with its own times that are over: 31 March 00:00 expires before 30 March 23:00 does.
#[derive(Debug, PartialEq, Eq)]
struct Expired {
    /// The first of the days that land on the last day, on which only a part is over; all of the days before it is over. It is the day after
    /// `last_day` if none lands there.
    first_day: i64,
    /// The last day of which anything is over.
    last_day: i64,
    /// The time of day, in microseconds, up to which these days are over.
    time: i64,
}

impl Expired {
    fn at(now: i64, months: i32, days: i32, micros: i64) -> Expired {
        let rest = i64::from(days).saturating_mul(MICROS_PER_DAY).saturating_add(micros);
        let (day, time) = split_micros(now.saturating_sub(rest));
        // The day of a month is within five days of where it lands.
        let mut last_day = add_months(day, -i64::from(months)) + 5;
        while add_months(last_day, months.into()) > day {
            last_day -= 1;
        }
        let mut first_day = last_day + 1;
        while add_months(first_day - 1, months.into()) == day {
            first_day -= 1;
        }
        Expired { first_day, last_day, time }
    }

    /// The moment up to which all are expired.
    fn cutoff(&self) -> i64 {
        let midnight = self.first_day.saturating_mul(MICROS_PER_DAY);
        if self.first_day > self.last_day { midnight.saturating_sub(1) } else { midnight.saturating_add(self.time) }
    }

    /// The other expired moments, as first and last of each stretch.
    fn after_cutoff(&self) -> impl Iterator<Item = (i64, i64)> {
        let days = self.first_day + 1..=self.last_day;
        days.map(|day| {
            (day.saturating_mul(MICROS_PER_DAY), day.saturating_mul(MICROS_PER_DAY).saturating_add(self.time))
        })
    }
}

/// A day moved by months as Postgres does: cut to the month's last.
fn add_months(day: i64, months: i64) -> i64 {
    let (year, month, of_month) = civil_from_days(day);
    let total = year * 12 + i64::from(month) - 1 + months;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
    days_from_civil(year, month, of_month.min(days_in_month(year, month as u32)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = MICROS_PER_DAY / 24;

    #[test]
    fn a_ttl_of_days_has_one_cutoff() {
        let expired = Expired::at(100 * MICROS_PER_DAY + 5, 0, 90, 0);
        assert_eq!(expired.cutoff(), 10 * MICROS_PER_DAY + 5);
        assert_eq!(expired.after_cutoff().count(), 0);
    }

    #[test]
    fn expired_is_what_plus_the_interval_is_not_after_now() {
        let check = |now: i64, months: i32, days: i32, micros: i64| {
            let expired = Expired::at(now, months, days, micros);
            let around = split_micros(now).0 - i64::from(months) * 30 - i64::from(days);
            for hour in (around - 12) * 24..(around + 12) * 24 {
                for t in [hour * HOUR, hour * HOUR + 1, hour * HOUR - 1] {
                    let (day, time) = split_micros(t);
                    let sum = add_months(day, months.into()) * MICROS_PER_DAY + time;
                    let over = sum + i64::from(days) * MICROS_PER_DAY + micros <= now;
                    let said = t <= expired.cutoff() || expired.after_cutoff().any(|(a, b)| (a..=b).contains(&t));
                    assert_eq!(said, over, "{t} + {months} months {days} days {micros} at {now}: {expired:?}");
                    if time == 0 {
                        assert_eq!(day <= expired.last_day, over, "the date {day} at {now}: {expired:?}");
                    }
                }
            }
        };
        for day in 0..400 {
            let midnight = day * MICROS_PER_DAY;
            check(midnight, 1, 0, 0);
            check(midnight + 13 * HOUR, 1, 0, 0);
            check(midnight + 13 * HOUR, 13, -3, HOUR);
            check(midnight + 1, -2, 0, 0);
        }
    }
}
