//! Who asks a query that a view may answer: whether what the session computes of a row is what the view has computed of it.
//!
//! A view's expressions are evaluated as commits come, without a session: on UTC's clock, in the styles that are the defaults. A session that has set
//! others computes something else of the same text, where that depends on them.

use std::sync::Arc;

use jiff::tz::TimeZone;
use weir_sql::catalog::Volatility;
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::{Type, walk};

use crate::exec::context::QueryContext;
use crate::exec::expression::constant;
use crate::functions::{DATETIME, Settings, registry};
use crate::session::settings::SessionSettings;

/// Settings by which values are written as text, and read.
const STYLES: [&str; 4] = ["bytea_output", "datestyle", "extra_float_digits", "intervalstyle"];

/// A session, as far as values that functions give depend on it.
pub(crate) struct Asker {
    /// Whether its wall clock is UTC's.
    pub(crate) utc: bool,
    /// Whether it reads and writes values as a view does.
    styled: bool,
    /// In which constants are evaluated: no session's.
    pub(crate) context: Arc<QueryContext>,
}

impl Asker {
    /// With these settings; the context is no session's.
    pub(crate) fn new(settings: &SessionSettings, context: Arc<QueryContext>) -> Asker {
        let (utc, styled) = Asker::clock_and_styles(settings);
        Asker { utc, styled, context }
    }

    /// Whether the clock is UTC's, and the styles are the defaults: all that plans depend on.
    pub(crate) fn clock_and_styles(settings: &SessionSettings) -> (bool, bool) {
        let is_style = |(name, _): &(String, String)| STYLES.contains(&name.to_ascii_lowercase().as_str());
        (settings.time_zone() == TimeZone::UTC, !settings.changed().iter().any(is_style))
    }

    /// Brings an expression into a form that is the same for others that say the same: functions by their first names, constants to the right of
    /// what they are equal to, and as values of their types.
    pub(crate) fn settle(&self, expr: &mut Expr) {
        walk::visit_mut_shallow(expr, &mut |node| {
            if let ExprKind::Call { function, name, args } = &mut node.kind {
                let known = registry().functions().iter().find(|info| info.ids.contains(&function.0));
                if let Some(info) = known {
                    *name = info.names[0].to_string();
                }
                let is_constant = |arg: &Expr| matches!(arg.kind, ExprKind::Literal(_));
                if let ("=" | "<>", [left, right]) = (name.as_str(), args.as_mut_slice())
                    && is_constant(left)
                    && !is_constant(right)
                    && left.ty == right.ty
                {
                    std::mem::swap(left, right);
                }
            }
            if self.is_constant_cast(node)
                && let Ok(value) = constant(node, &self.context)
            {
                *node = Expr::literal(value);
            }
        });
    }

    /// Whether a node is the cast of a constant that comes to the same at any time.
    fn is_constant_cast(&self, node: &Expr) -> bool {
        let ExprKind::Cast { expr, .. } = &node.kind else { return false };
        let ExprKind::Literal(value) = &expr.kind else { return false };
        match &node.ty {
            _ if value.is_null() => true,
            // Of words, 'today' is another day tomorrow.
            ty if is_moment(ty) => match value.as_str() {
                Some(text) => {
                    text.starts_with(|first: char| first.is_ascii_digit())
                        && self.styled
                        && (self.utc || *ty != Type::Timestamptz)
                }
                None => {
                    is_moment(&value.ty) && (self.utc || (*ty == Type::Timestamptz) == (value.ty == Type::Timestamptz))
                }
            },
            Type::Text | Type::Varchar(_) => value.as_str().is_some() || value.ty.is_integer(),
            ty => ty.is_number() || matches!(ty, Type::Bool | Type::Uuid | Type::Interval),
        }
    }

    /// Whether this session computes of a row what the view has computed of it.
    pub(crate) fn is_fixed(&self, expr: &Expr) -> bool {
        !walk::any(expr, &mut |node, depth| match &node.kind {
            ExprKind::Call { function, args, .. } => match registry().volatility(*function) {
                Volatility::Immutable => false,
                Volatility::Stable => !self.is_fixed_call(function.0, args, &node.ty),
                Volatility::Volatile => true,
            },
            ExprKind::Quantified { function, .. } => registry().volatility(*function) != Volatility::Immutable,
            ExprKind::Cast { expr, .. } => !self.is_fixed_cast(&expr.ty, &node.ty),
            ExprKind::Parameter(_) | ExprKind::Subquery(_) => true,
            ExprKind::Outer { depth: out, .. } => *out > depth,
            _ => false,
        })
    }

    /// Of a stable function: of moments, by nothing but the zone.
    fn is_fixed_call(&self, function: u32, args: &[Expr], result: &Type) -> bool {
        let Some(info) = registry().functions().iter().find(|info| info.ids.contains(&function)) else { return false };
        let is_literal = |arg: &Expr| matches!(arg.kind, ExprKind::Literal(_));
        // What has no other arguments may be a clock, and `age` of one counts from today.
        if info.family != DATETIME || info.names.contains(&"age") || args.iter().all(is_literal) {
            return false;
        }
        let zoned = *result == Type::Timestamptz || args.iter().any(|arg| arg.ty == Type::Timestamptz);
        let spelt = args.iter().any(|arg| !is_literal(arg) && !is_moment(&arg.ty) && !arg.ty.is_integer());
        !spelt && (self.utc || !zoned) && (self.styled || !result.is_text())
    }

    fn is_fixed_cast(&self, from: &Type, to: &Type) -> bool {
        let is_zoned = |ty: &Type| *ty == Type::Timestamptz;
        match (is_moment(from), is_moment(to)) {
            (true, true) => self.utc || is_zoned(from) == is_zoned(to),
            // Text may say 'now'.
            (false, true) => from.is_integer(),
            (true, false) => !to.is_text() || (self.styled && (self.utc || !is_zoned(from))),
            (false, false) if to.is_text() => {
                let is_spelt_alike = from.is_text() || from.is_integer() || matches!(from, Type::Bool | Type::Uuid);
                is_spelt_alike || self.styled && (matches!(from, Type::Interval | Type::Bytea) || from.is_number())
            }
            (false, false) => {
                let is_simple = |ty: &Type| {
                    ty.is_number() || ty.is_text() || matches!(ty, Type::Bool | Type::Uuid | Type::Interval)
                };
                from == to
                    || (is_simple(from) && is_simple(to))
                    || matches!(to, Type::Json | Type::Jsonb) && is_simple(from)
            }
        }
    }
}

fn is_moment(ty: &Type) -> bool {
    matches!(ty, Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz)
}
