//! How old the rows can be that conditions leave: what a view keeps of younger rows than a TTL is what its table shows.

use weir_sql::Type;
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::walk;

use crate::functions::datetime_grain::{cut, grain_length, longest, micros, shown_name};
use crate::kernels::datetime::MICROS_PER_DAY;

/// The greatest age, in microseconds, by a moment in a column that rows can have for which all of these hold, at `now` and later: `None` if they do not
/// say. Wall clocks may differ by a day.
pub(super) fn age_max(conditions: &[Expr], column: usize, now: i64) -> Option<i64> {
    let ages = conditions.iter().filter_map(|condition| {
        let ExprKind::Call { name, args, .. } = &condition.kind else { return None };
        let [left, right] = args.as_slice() else { return None };
        let (moment, bound) = match name.as_str() {
            ">=" | ">" => (left, right),
            "<=" | "<" => (right, left),
            _ => return None,
        };
        // What is cut is not before where its window begins.
        let moment = cut(moment).map_or(moment, |(moment, _)| moment);
        (moment.kind == ExprKind::Column(column)).then(|| age(bound, now)).flatten()
    });
    ages.min()
}

/// How long before `now` a moment is at the most that is the same for all rows.
fn age(moment: &Expr, now: i64) -> Option<i64> {
    match &moment.kind {
        ExprKind::Literal(value) => now.checked_sub(micros(value)?),
        ExprKind::Cast { expr, .. } => {
            let days = if moment.ty == Type::Date { MICROS_PER_DAY } else { 0 };
            age(expr, now)?.checked_add(days)
        }
        ExprKind::Call { args, .. } => {
            if !walk::columns_read(moment).is_empty() {
                return None;
            }
            if let Some((inner, windows)) = cut(moment) {
                return age(inner, now)?.checked_add(grain_length(windows));
            }
            match (shown_name(moment)?, args.as_slice()) {
                ("now" | "now64" | "clock_timestamp" | "statement_timestamp" | "localtimestamp", _) => Some(0),
                ("current_date" | "today", []) => Some(MICROS_PER_DAY),
                ("yesterday", []) => Some(2 * MICROS_PER_DAY),
                ("-", [from, Expr { kind: ExprKind::Literal(span), .. }]) => {
                    age(from, now)?.checked_add(longest(span)?)
                }
                ("+", [from, Expr { kind: ExprKind::Literal(span), .. }]) => longest(span).and(age(from, now)),
                _ => None,
            }
        }
        _ => None,
    }
}
