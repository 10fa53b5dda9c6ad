//! Joins: ON, USING, NATURAL; equalities of one side with the other become hash keys.

use sqlparser::ast::{self, JoinConstraint, JoinOperator};

use super::from::Item;
use super::names::at;
use super::scope::{Clause, Found, Frame, Scope, ScopeColumn, Visible};
use super::{Binder, CoercionContext};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::joins::{Strictness, strictness};
use crate::parse::names::fold;
use crate::plan::{Expr, ExprKind, JoinKind, Plan};
use crate::types::Type;
use crate::walk;

/// What a join must fulfil.
pub(super) enum Condition<'q> {
    On(&'q ast::Expr),
    Using(Vec<ast::Ident>),
}

impl Binder<'_> {
    pub(super) fn bind_join(&mut self, left: Item, join: &ast::Join) -> Result<Item> {
        use JoinOperator as O;
        let left = match self.bind_array_join(left, &join.relation)? {
            Ok(joined) => return Ok(joined),
            Err(left) => left,
        };
        let unsupported = || Err(Error::new(ErrorKind::Unsupported, format!("join {join} is not supported yet")));
        let (kind, constraint) = match &join.join_operator {
            O::Join(constraint) | O::Inner(constraint) => (JoinKind::Inner, constraint),
            O::CrossJoin(constraint) => (JoinKind::Inner, constraint),
            O::Left(constraint) | O::LeftOuter(constraint) => (JoinKind::Left, constraint),
            O::Right(constraint) | O::RightOuter(constraint) => (JoinKind::Right, constraint),
            O::FullOuter(constraint) => (JoinKind::Full, constraint),
            O::Semi(constraint) | O::LeftSemi(constraint) => (JoinKind::Semi, constraint),
            O::Anti(constraint) | O::LeftAnti(constraint) => (JoinKind::Anti, constraint),
            O::RightSemi(_) if join.global => {
                return Err(Error::new(ErrorKind::Unsupported, "ANY FULL JOIN is not supported"));
            }
            _ => return unsupported(),
        };
        let strictness = strictness(join);
        let (right, lateral) = self.bind_beside(&left.scope, &mut |binder| binder.bind_factor(&join.relation))?;
        if lateral && matches!(kind, JoinKind::Right | JoinKind::Full) {
            return Err(Error::new(
                ErrorKind::InvalidColumnReference,
                "invalid reference to FROM-clause entry: the combining JOIN type must be INNER or LEFT for a LATERAL reference",
            ));
        }
        let condition = match constraint {
            JoinConstraint::None => None,
            JoinConstraint::On(expr) => Some(Condition::On(expr)),
            JoinConstraint::Using(names) => {
                let names = names.iter().filter_map(|name| name.0.last().and_then(|part| part.as_ident()).cloned());
                Some(Condition::Using(names.collect()))
            }
            JoinConstraint::UsingAlias(..) => return unsupported(),
            JoinConstraint::Natural => {
                let common = |visible: &&Visible| !matches!(right.scope.unqualified(&visible.name), Found::No);
                let names = left.scope.visible.iter().filter(common);
                Some(Condition::Using(names.map(|visible| ast::Ident::with_quote('"', visible.name.clone())).collect()))
            }
        };
        match strictness {
            Strictness::All => self.join(left, right, kind, lateral, condition),
            _ if lateral => unsupported(),
            strictness => self.nearest_join(left, right, kind, condition, strictness),
        }
    }

    /// Joins two bound items.
    pub(super) fn join(
        &mut self,
        left: Item,
        right: Item,
        kind: JoinKind,
        lateral: bool,
        condition: Option<Condition<'_>>,
    ) -> Result<Item> {
        for table in &right.scope.tables {
            let twice = |known: &super::scope::ScopeTable| {
                known.name == table.name
                    && (known.schema == table.schema || known.schema.is_none() || table.schema.is_none())
            };
            if left.scope.tables.iter().any(twice) {
                let message = format!("table name \"{}\" specified more than once", table.name);
                return Err(Error::new(ErrorKind::DuplicateAlias, message));
            }
        }
        let width = left.scope.columns.len();
        let (on, filter, scope) = match condition {
            None => (Vec::new(), None, left.scope.join(right.scope)),
            Some(Condition::On(expr)) => {
                let scope = left.scope.join(right.scope);
                self.frames.push(Frame::query(scope, Clause::JoinOn));
                let bound = self.bind_expr(expr).and_then(|bound| {
                    self.coerce_condition(bound, "JOIN/ON").map_err(|error| super::place::locate(error, expr))
                });
                let frame = self.frames.pop();
                let (on, filter) = split_condition(bound?, width);
                (on, filter, frame.map(|frame| frame.scope).unwrap_or_default())
            }
            Some(Condition::Using(names)) => {
                let (on, filter, scope) = self.join_using(left.scope, right.scope, kind, &names)?;
                (on, filter, scope)
            }
        };
        let mut columns: Vec<_> = scope.columns.iter().map(ScopeColumn::output).collect();
        let scope = if matches!(kind, JoinKind::Semi | JoinKind::Anti) {
            columns.truncate(width);
            left_only(scope, width)
        } else {
            scope
        };
        let plan = Plan::Join {
            kind,
            left: Box::new(left.plan),
            right: Box::new(right.plan),
            on,
            filter,
            lateral,
            build_left: false,
            columns,
        };
        Ok(Item { plan, scope })
    }

    /// USING and NATURAL: the named columns are equal and appear once, first.
    #[allow(clippy::type_complexity)]
    fn join_using(
        &mut self,
        left: Scope,
        right: Scope,
        kind: JoinKind,
        names: &[ast::Ident],
    ) -> Result<(Vec<(Expr, Expr)>, Option<Expr>, Scope)> {
        let width = left.columns.len();
        let (mut on, mut rest, mut merged) = (Vec::new(), Vec::new(), Vec::new());
        for ident in names {
            let name = fold(ident);
            let a = side(&left, "left", ident)?;
            let mut b = side(&right, "right", ident)?;
            walk::rename_columns(&mut b, &|column| column + width);
            let equal = self.operator("=", vec![a.clone(), b.clone()]).map_err(|error| at(error, ident))?;
            let (pairs, filter) = split_condition(equal, width);
            on.extend(pairs);
            rest.extend(filter);
            // The two as one column, of their common type.
            let (mut both, ty) = self.unify(vec![a, b], "JOIN/USING")?;
            let expr = match kind {
                JoinKind::Right => both.swap_remove(1),
                JoinKind::Full => {
                    let collating = super::collate::together(&both)?;
                    Expr::new(ExprKind::Coalesce(both), ty).collated(collating)
                }
                _ => both.swap_remove(0),
            };
            merged.push(Visible { name, expr });
        }
        let is_merged = |visible: &Visible| merged.iter().any(|merged| merged.name == visible.name);
        let mut scope = left.join(right);
        scope.visible.retain(|visible| !is_merged(visible));
        let others = std::mem::take(&mut scope.visible);
        scope.visible = merged;
        scope.visible.extend(others);
        Ok((on, walk::conjunction(rest), scope))
    }

    /// Casts a plan's columns to these types, one for one.
    pub(super) fn coerce_columns(
        &mut self,
        plan: Plan,
        types: &[crate::types::Type],
        context: CoercionContext,
    ) -> Result<Plan> {
        let columns = plan.columns().to_vec();
        if columns.iter().zip(types).all(|(column, ty)| column.ty == *ty) {
            return Ok(plan);
        }
        let typed = |(column, ty): (&crate::plan::OutputColumn, &crate::types::Type)| {
            let mut column = column.clone();
            if column.ty != *ty {
                column.ty = ty.clone();
                column.typmod = -1;
                column.origin = None;
            }
            column
        };
        let outputs: Vec<_> = columns.iter().zip(types).map(typed).collect();
        match plan {
            // Literals take their type where they are written.
            Plan::Project { input, exprs, .. } => {
                let exprs: Result<Vec<Expr>> =
                    exprs.into_iter().zip(types).map(|(expr, ty)| self.coerce(expr, ty, context)).collect();
                Ok(Plan::Project { input, exprs: exprs?, columns: outputs })
            }
            Plan::Values { rows, .. } => {
                let mut typed_rows = Vec::with_capacity(rows.len());
                for row in rows {
                    let row: Result<Vec<Expr>> =
                        row.into_iter().zip(types).map(|(expr, ty)| self.coerce(expr, ty, context)).collect();
                    typed_rows.push(row?);
                }
                Ok(Plan::Values { rows: typed_rows, columns: outputs })
            }
            // Sorting and cutting look at rows, not at the columns' types, unless a key is one of the literals.
            Plan::Limit { input, limit, offset } => {
                let input = Box::new(self.coerce_columns(*input, types, context)?);
                Ok(Plan::Limit { input, limit, offset })
            }
            plan => {
                let exprs: Result<Vec<Expr>> = columns
                    .iter()
                    .enumerate()
                    .zip(types)
                    .map(|((index, column), ty)| self.coerce(Expr::column(index, column.ty.clone()), ty, context))
                    .collect();
                Ok(Plan::Project { input: Box::new(plan), exprs: exprs?, columns: outputs })
            }
        }
    }
}

fn side(scope: &Scope, which: &str, ident: &ast::Ident) -> Result<Expr> {
    let name = fold(ident);
    match scope.unqualified(&name) {
        Found::One(expr) => Ok(expr),
        Found::No => Err(at(
            Error::new(
                ErrorKind::UndefinedColumn,
                format!("column \"{name}\" specified in USING clause does not exist in {which} table"),
            ),
            ident,
        )),
        Found::Ambiguous => Err(at(
            Error::new(
                ErrorKind::AmbiguousColumn,
                format!("common column name \"{name}\" appears more than once in {which} table"),
            ),
            ident,
        )),
    }
}

/// What a semi or anti join leaves in sight.
fn left_only(mut scope: Scope, width: usize) -> Scope {
    scope.columns.truncate(width);
    scope.tables.retain(|table| table.columns.iter().all(|&column| column < width));
    scope.visible.retain(|visible| walk::columns_read(&visible.expr).iter().all(|&column| column < width));
    scope
}

/// Splits a join's condition into equalities of one side with the other, and the rest. `width` is the number of the left's columns.
pub(crate) fn split_condition(condition: Expr, width: usize) -> (Vec<(Expr, Expr)>, Option<Expr>) {
    let (mut on, mut rest) = (Vec::new(), Vec::new());
    for conjunct in walk::conjuncts(condition) {
        match equality(&conjunct, width) {
            Some(pair) => on.push(pair),
            None => rest.push(conjunct),
        }
    }
    (on, walk::conjunction(rest))
}

/// `left = right` where each side reads only its own input, as keys over those.
fn equality(conjunct: &Expr, width: usize) -> Option<(Expr, Expr)> {
    let ExprKind::Call { name, args, .. } = &conjunct.kind else { return None };
    let ("=", [a, b]) = (name.as_str(), args.as_slice()) else { return None };
    let ty = key_type(&a.ty, &b.ty)?;
    let plain = |expr: &Expr| !walk::any(expr, &mut |node, _| matches!(node.kind, ExprKind::Subquery(_)));
    if !plain(a) || !plain(b) {
        return None;
    }
    let (reads_a, reads_b) = (walk::columns_read(a), walk::columns_read(b));
    let all_left = |reads: &[usize]| !reads.is_empty() && reads.iter().all(|&column| column < width);
    let all_right = |reads: &[usize]| !reads.is_empty() && reads.iter().all(|&column| column >= width);
    let (left, right) = match () {
        () if all_left(&reads_a) && all_right(&reads_b) => (a, b),
        () if all_right(&reads_a) && all_left(&reads_b) => (b, a),
        () => return None,
    };
    let mut right = right.clone();
    walk::rename_columns(&mut right, &|column| column - width);
    Some((as_key(left.clone(), &ty), as_key(right, &ty)))
}

/// The type as which values of both are equal when they are equal; `None` where there is none that loses nothing.
fn key_type(a: &Type, b: &Type) -> Option<Type> {
    let small = |ty: &Type| ty.is_integer() && *ty != Type::UInt64;
    match (a, b) {
        _ if a == b => Some(a.clone()),
        _ if small(a) && small(b) => Some(Type::Int8),
        (Type::Float4 | Type::Float8, Type::Float4 | Type::Float8) => Some(Type::Float8),
        (Type::Text | Type::Varchar(_), Type::Text | Type::Varchar(_)) => Some(Type::Text),
        _ => None,
    }
}

fn as_key(expr: Expr, ty: &Type) -> Expr {
    match expr.ty == *ty {
        true => expr,
        false => Expr::new(ExprKind::Cast { expr: Box::new(expr), explicit: false, lenient: false }, ty.clone()),
    }
}
