//! The question that partial states answer, in a form that is the same only for questions with the same answer.
//!
//! All that is the same for a whole statement (parameters, `now() - interval '1 day'`) is a constant in it, and settings that functions and
//! casts go by are part of it. A question is not remembered ([`Question::new`] gives `None`) if it may be answered differently another time
//! although it looks the same: volatile functions, the clock, names of the catalogue, text that is read as a moment (`'today'`), other
//! queries; or if its states say where rows stood. A constant that was computed from the clock is another each time: to keep what is asked
//! for by it would only fill the cache.

use std::sync::Arc;

use weir_sql::Type;
use weir_sql::catalog::{FunctionId, Volatility};
use weir_sql::plan::{AggregateCall, Expr, ExprKind, Plan};
use weir_sql::walk;

use crate::exec::context::QueryContext;
use crate::exec::expression::constant;
use crate::functions::{DATETIME, Implementation, SYSTEM, registry};

/// What is asked of the rows of a scan.
#[derive(Debug, PartialEq)]
pub(crate) struct Question {
    relation: u32,
    projection: Vec<usize>,
    /// From the scan upwards.
    stages: Vec<Stage>,
    keys: Vec<Expr>,
    calls: Vec<AggregateCall>,
    settings: Vec<(String, String)>,
}

/// An operator between the scan and the aggregation.
#[derive(Debug, PartialEq)]
enum Stage {
    Filter(Expr),
    Project(Vec<Expr>),
}

/// A question and the filters that are not known to hold.
#[derive(Debug, PartialEq)]
pub(crate) struct Shape {
    question: Arc<Question>,
    filters: Vec<Expr>,
}

impl Question {
    /// That of an aggregation over `input`; `None` where nothing is remembered.
    pub(crate) fn new(
        input: &Plan,
        keys: &[Expr],
        calls: &[AggregateCall],
        context: &Arc<QueryContext>,
    ) -> Option<Question> {
        let mut stages = Vec::new();
        let scan = stages_of(input, &mut stages, context)?;
        // What comes after the columns is a row's place, which is no part of the row.
        if scan.projection.iter().any(|&column| column >= scan.relation.columns.len()) {
            return None;
        }
        let calls = calls.iter().map(|call| fixed_call(call, context)).collect::<Option<_>>()?;
        Some(Question {
            relation: scan.relation.oid,
            projection: scan.projection.clone(),
            stages,
            keys: fixed_all(keys, context)?,
            calls,
            settings: context.functions.settings.changed(),
        })
    }

    /// With the filters that are not known to hold.
    pub(crate) fn with<'f>(
        self: &Arc<Question>,
        filters: impl Iterator<Item = &'f Expr>,
        context: &Arc<QueryContext>,
    ) -> Option<Shape> {
        let filters = filters.map(|filter| fixed(filter, context)).collect::<Option<_>>()?;
        Some(Shape { question: self.clone(), filters })
    }
}

impl Shape {
    /// Whose rows it asks about.
    pub(super) fn relation(&self) -> u32 {
        self.question.relation
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let mut bytes = 512;
        let mut count = |expr: &Expr| {
            walk::visit(expr, 0, &mut |node, _| {
                bytes += 256;
                if let ExprKind::Literal(value) = &node.kind {
                    bytes += value.array.get_array_memory_size();
                }
            })
        };
        let Question { stages, keys, calls, .. } = &*self.question;
        self.filters.iter().chain(keys).for_each(&mut count);
        for call in calls {
            walk::aggregate_parts(call, &mut |part| count(part));
        }
        for stage in stages {
            match stage {
                Stage::Filter(filter) => count(filter),
                Stage::Project(exprs) => exprs.iter().for_each(&mut count),
            }
        }
        bytes
    }
}

/// The scan below, and what is between.
fn stages_of<'p>(
    plan: &'p Plan,
    stages: &mut Vec<Stage>,
    context: &Arc<QueryContext>,
) -> Option<&'p weir_sql::plan::Scan> {
    let (input, stage) = match plan {
        Plan::Scan(scan) => return Some(scan),
        Plan::Filter { input, predicate } => (input, Stage::Filter(fixed(predicate, context)?)),
        Plan::Project { input, exprs, .. } => (input, Stage::Project(fixed_all(exprs, context)?)),
        _ => return None,
    };
    let scan = stages_of(input, stages, context);
    stages.push(stage);
    scan
}

fn fixed_call(call: &AggregateCall, context: &Arc<QueryContext>) -> Option<AggregateCall> {
    let Implementation::Aggregate(overload) = registry().implementation(call.function) else { return None };
    if overload.wants_position() || !overload.steady {
        return None;
    }
    let mut call = call.clone();
    let mut is_fixed = true;
    walk::aggregate_parts_mut(&mut call, &mut |part| match fixed(part, context) {
        Some(constant) => *part = constant,
        None => is_fixed = false,
    });
    is_fixed.then_some(call)
}

fn fixed_all(exprs: &[Expr], context: &Arc<QueryContext>) -> Option<Vec<Expr>> {
    exprs.iter().map(|expr| fixed(expr, context)).collect()
}

/// The expression with the value of all that is the same for the whole statement; `None` if what is left may say something else another time.
fn fixed(expr: &Expr, context: &Arc<QueryContext>) -> Option<Expr> {
    let mut expr = expr.clone();
    let mut is_fixed = true;
    fold(&mut expr, context, &mut is_fixed);
    is_fixed.then_some(expr)
}

fn fold(expr: &mut Expr, context: &Arc<QueryContext>, is_fixed: &mut bool) {
    if !*is_fixed || matches!(expr.kind, ExprKind::Literal(_)) {
        return;
    }
    let varies = walk::any(expr, &mut |node, _| match &node.kind {
        ExprKind::Column(_) | ExprKind::Outer { .. } | ExprKind::Subquery(_) | ExprKind::Lambda(_) => true,
        ExprKind::Call { function, args, .. } => match registry().volatility(*function) {
            Volatility::Immutable => false,
            // A clock has no arguments.
            Volatility::Stable => args.is_empty(),
            Volatility::Volatile => true,
        },
        _ => false,
    });
    if !varies {
        match constant(expr, context) {
            Ok(value) => *expr = Expr::literal(value),
            Err(_) => *is_fixed = false,
        }
        return;
    }
    walk::children_mut(expr, &mut |child| fold(child, context, is_fixed));
    *is_fixed &= says_the_same(expr);
}

/// Whether a node that reads columns gives the same for the same values, as long as the settings are the same.
fn says_the_same(expr: &Expr) -> bool {
    if names_catalogue(&expr.ty) {
        return false;
    }
    match &expr.kind {
        ExprKind::Subquery(_) | ExprKind::Outer { .. } | ExprKind::Parameter(_) => false,
        // Its own columns are parameters, and those of the row are outer ones.
        ExprKind::Lambda(lambda) => !walk::any(&lambda.body, &mut |node, depth| match &node.kind {
            ExprKind::Outer { depth: out, .. } => *out > depth + 1,
            ExprKind::Lambda(_) => false,
            _ => !says_the_same(node),
        }),
        ExprKind::Call { function, args, .. } => {
            is_steady(*function)
                && !(args.is_empty() && registry().volatility(*function) == Volatility::Stable)
                && !reads_moments(args, &expr.ty)
        }
        ExprKind::Quantified { function, .. } => is_steady(*function),
        ExprKind::Cast { expr: input, .. } => {
            let is_moment = matches!(input.ty, Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz);
            !names_catalogue(&input.ty) && (is_moment || input.ty == expr.ty || !has_moments(&expr.ty))
        }
        _ => true,
    }
}

/// Whether a function of columns asks neither the clock nor the catalogue; settings are part of the shape.
fn is_steady(function: FunctionId) -> bool {
    const WRITTEN: &[&str] = &["array_to_string", "arrayStringConcat", "toJSONString"];
    let info = registry().functions().iter().find(|info| info.ids.contains(&function.0));
    let Some(info) = info else { return false };
    // With one argument `age` counts from today.
    if info.family == SYSTEM || info.names.contains(&"age") {
        return false;
    }
    match info.volatility {
        Volatility::Immutable => true,
        Volatility::Stable => info.family == DATETIME || info.names.iter().any(|name| WRITTEN.contains(name)),
        Volatility::Volatile => false,
    }
}

/// Whether a function makes moments of values that are none: of text, say, that may be 'today'.
fn reads_moments(args: &[Expr], result: &Type) -> bool {
    let is_written = |ty: &Type| ty.is_text() || matches!(ty, Type::Json | Type::Jsonb | Type::Unknown);
    has_moments(result) && args.iter().any(|arg| is_written(&arg.ty) && !matches!(arg.kind, ExprKind::Literal(_)))
}

/// Whether there are dates or times in a type.
fn has_moments(ty: &Type) -> bool {
    match ty {
        Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz => true,
        Type::Array(element) => has_moments(element),
        Type::Record(fields) => fields.iter().any(|(_, ty)| has_moments(ty)),
        Type::Map(map) => has_moments(&map.key) || has_moments(&map.value),
        _ => false,
    }
}

/// Whether values of a type are written and read by names of the catalogue.
fn names_catalogue(ty: &Type) -> bool {
    match ty {
        Type::Regclass | Type::Regtype | Type::Regproc | Type::Regnamespace | Type::Regrole => true,
        Type::Array(element) => names_catalogue(element),
        Type::Record(fields) => fields.iter().any(|(_, ty)| names_catalogue(ty)),
        _ => false,
    }
}
