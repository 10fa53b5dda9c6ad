//! Filters that hold for all rows of a granule, as its bounds tell.
//!
//! What compares a column with a constant holds for all values between two for which it holds: each bound is put in place of the column and
//! the filter is evaluated as it is. So no rule about types, time zones or rounding is written down twice.

use std::sync::Arc;

use arrow::array::ArrayRef;
use weir_sql::catalog::Volatility;
use weir_sql::plan::{Expr, ExprKind};
use weir_sql::{Type, walk};
use weir_storage::{Run, Shown};

use crate::error::Result;
use crate::exec::batch::Batch;
use crate::exec::context::QueryContext;
use crate::exec::expression::Expression;
use crate::exec::operators::{ordered_bytes, same_order};
use crate::functions::registry;

/// What would have to be known of a granule.
pub(crate) enum Proof {
    /// More than its bounds can say.
    None,
    /// All of these.
    All(Vec<Proof>),
    /// One of these.
    Any(Vec<Proof>),
    /// That the column has no NULLs, or nothing else.
    Nulls { column: usize, none: bool },
    /// That this is true of both bounds of the column, which is column 0 to it, and that it has no NULLs.
    Holds { column: usize, test: Expression },
}

impl Proof {
    /// Of a filter over a relation's columns.
    pub(crate) fn new(filter: &Expr, context: &Arc<QueryContext>) -> Proof {
        let all = |parts: &[Expr]| parts.iter().map(|part| Proof::new(part, context)).collect();
        let nulls = |of: &Expr, none| match of.kind {
            // A record of NULLs is NULL without being one.
            ExprKind::Column(column) if !matches!(of.ty, Type::Record(_)) => Proof::Nulls { column, none },
            _ => Proof::None,
        };
        match &filter.kind {
            ExprKind::And(parts) => Proof::All(all(parts)),
            ExprKind::Or(parts) => Proof::Any(all(parts)),
            ExprKind::IsNull(of) => nulls(of, false),
            ExprKind::Not(of) => match &of.kind {
                ExprKind::IsNull(of) => nulls(of, true),
                _ => Proof::None,
            },
            ExprKind::Call { name, args, .. } if matches!(name.as_str(), "<" | "<=" | ">" | ">=" | "=") => {
                let column = match args.as_slice() {
                    [left, right] if is_constant(right) => ordered_column(left),
                    [left, right] if is_constant(left) => ordered_column(right),
                    _ => None,
                };
                let Some(column) = column else { return Proof::None };
                let mut test = filter.clone();
                walk::rename_columns(&mut test, &|_| 0);
                Expression::new(&test, context).map_or(Proof::None, |test| Proof::Holds { column, test })
            }
            _ => Proof::None,
        }
    }

    /// For each granule, whether it is known.
    pub(crate) fn of(&self, granules: &Zones<'_>, context: &Arc<QueryContext>) -> Result<Vec<bool>> {
        let rows = granules.rows()?;
        let each = |proofs: &[Proof], start: bool, join: fn(bool, bool) -> bool| {
            proofs.iter().try_fold(vec![start; rows.len()], |known, proof| {
                Ok(known.into_iter().zip(proof.of(granules, context)?).map(|(a, b)| join(a, b)).collect())
            })
        };
        let unknown = || Ok(vec![false; rows.len()]);
        match self {
            Proof::None => unknown(),
            Proof::All(proofs) => each(proofs, true, |a, b| a && b),
            Proof::Any(proofs) => each(proofs, false, |a, b| a || b),
            Proof::Nulls { column, none } => {
                let known = |(nulls, &rows): (u32, &u32)| if *none { nulls == 0 } else { nulls == rows };
                Ok(granules.nulls(*column)?.into_iter().zip(&rows).map(known).collect())
            }
            Proof::Holds { column, test } => {
                let Some((least, greatest)) = granules.bounds(*column)? else { return unknown() };
                let holds = |bounds: ArrayRef| test.selects(&Batch::new(vec![bounds], rows.len()), context);
                // What cannot be evaluated is left to the rows.
                let (Ok(least), Ok(greatest)) = (holds(least), holds(greatest)) else { return unknown() };
                let known = |(at, nulls): (usize, u32)| nulls == 0 && least.value(at) && greatest.value(at);
                Ok(granules.nulls(*column)?.into_iter().enumerate().map(known).collect())
            }
        }
    }
}

/// What is known of granules without reading them, deleted rows counted.
pub(crate) enum Zones<'a> {
    /// Of a part's.
    Part(&'a Shown),
    /// Of a run of the head, as if it were one.
    Run(&'a Run),
}

impl Zones<'_> {
    fn rows(&self) -> Result<Vec<u32>> {
        Ok(match self {
            Zones::Part(part) => part.granule_rows()?.to_vec(),
            Zones::Run(run) => vec![run.rows() as u32],
        })
    }

    fn nulls(&self, column: usize) -> Result<Vec<u32>> {
        Ok(match self {
            Zones::Part(part) => part.nulls(column)?.to_vec(),
            Zones::Run(run) => vec![run.nulls(column) as u32],
        })
    }

    fn bounds(&self, column: usize) -> Result<Option<(ArrayRef, ArrayRef)>> {
        Ok(match self {
            Zones::Part(part) => part.bounds(column)?.map(|(least, greatest)| (least.clone(), greatest.clone())),
            Zones::Run(run) => run.bounds(column).cloned(),
        })
    }
}

/// Whether it is the same for all rows.
fn is_constant(expr: &Expr) -> bool {
    !walk::any(expr, &mut |node, _| match &node.kind {
        ExprKind::Column(_) | ExprKind::Outer { .. } | ExprKind::Subquery(_) | ExprKind::Lambda(_) => true,
        ExprKind::Call { function, .. } => registry().volatility(*function) == Volatility::Volatile,
        _ => false,
    })
}

/// The column that an expression is, under casts that keep the order, in which storage has it too.
fn ordered_column(expr: &Expr) -> Option<usize> {
    let is_ordered = |ty: &Type| ordered_bytes(ty) && !matches!(ty, Type::Float4 | Type::Float8);
    match &expr.kind {
        ExprKind::Column(column) => is_ordered(&expr.ty).then_some(*column),
        ExprKind::Cast { expr: inner, lenient: false, .. } => {
            let (from, to) = (&inner.ty, &expr.ty);
            let exact = |ty: &Type| ty.is_integer() || matches!(ty, Type::Numeric(_));
            let keeps = same_order(from, to)
                || exact(from) && (exact(to) || matches!(to, Type::Float4 | Type::Float8))
                || matches!((from, to), (Type::Date, Type::Timestamp));
            if keeps { ordered_column(inner) } else { None }
        }
        _ => None,
    }
}
