//! MERGE: the table joined with its source, and for each pair the first WHEN that fits.
//!
//! The join keeps unmatched rows only of the sides that some WHEN asks for. A constant column beside the source tells whether there is a row of it;
//! the place of the table's row tells the same of the table. What is done is a CASE over the conditions, and each column of the row that
//! results is a CASE over what is done, so that no value is computed for a row that does not need it.

use std::sync::Arc;

use super::Binder;
use super::from::Item;
use super::join::Condition;
use super::modify::{changes, modify};
use super::scope::{Clause, Frame, Scope, ScopeColumn};
use crate::bind::insert::{default_of, target_columns};
use crate::catalog::Relation;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::ast::{Merge, MergeAction, MergeWhen, MergeWhenKind as Kind};
use crate::plan::{Expr, ExprKind, JoinKind, OutputColumn, Plan};
use crate::statement::{Modify, ModifyAction, ModifyVerb};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// What one WHEN does.
struct Bound {
    action: ModifyAction,
    /// The row that results, over the join.
    row: Vec<Expr>,
}

/// The join of the table and the source.
struct Joined {
    relation: Arc<Relation>,
    /// Of the join.
    scope: Scope,
    /// Of the source alone, whose columns are the join's from `source_at` on.
    source: Scope,
    source_at: usize,
    /// The column that is NULL where there is no row of the source.
    marker: usize,
}

impl Binder<'_> {
    /// MERGE.
    pub(crate) fn bind_merge(&mut self, merge: &Merge) -> Result<Modify> {
        let changed = self.bind_changed(&merge.target, "merge into")?;
        let (relation, width) = (changed.relation.clone(), changed.width());
        let mut source = self.bind_factor(&merge.source)?;
        let source_scope = source.scope.clone();
        mark(&mut source);
        let asks = |kind: Kind| merge.whens.iter().any(|when| when.kind == kind);
        let kind = match (asks(Kind::NotMatched), asks(Kind::NotMatchedBySource)) {
            (false, false) => JoinKind::Inner,
            (false, true) => JoinKind::Left,
            (true, false) => JoinKind::Right,
            (true, true) => JoinKind::Full,
        };
        let item = self.join(changed.item, source, kind, false, Some(Condition::On(&merge.on)))?;
        let marker = item.scope.columns.len() - 1;
        let joined = Joined { relation, scope: item.scope, source: source_scope, source_at: width + 1, marker };
        let (action, bound) = self.bind_whens(&joined, &merge.whens)?;

        // First what is done, then, for the rows that something is done to, what they become.
        let (input, place_of_action) = with_action(item.plan, &joined.scope, action);
        let done = Expr::column(place_of_action, Type::Int4);
        let predicate = self.operator(">=", vec![done.clone(), Expr::literal(Value::int4(0))])?;
        let input = Plan::Filter { input: Box::new(input), predicate };
        let row = match bound.iter().all(|one| one.action == ModifyAction::Delete) {
            true => Vec::new(),
            false => self.rows_of(&joined.relation, &bound, &done)?,
        };
        let has_rows = !row.is_empty();
        let source = changes(input, width, done, row, Vec::new());
        let actions = bound.into_iter().map(|one| one.action).collect();
        Ok(modify(ModifyVerb::Merge, &joined.relation, source, has_rows, actions, None))
    }

    /// The number of the action that is done, -1 for none; and the actions.
    fn bind_whens(&mut self, joined: &Joined, whens: &[MergeWhen]) -> Result<(Expr, Vec<Bound>)> {
        let (mut branches, mut bound) = (Vec::new(), Vec::new());
        let mut unconditional: Vec<Kind> = Vec::new();
        for when in whens {
            if unconditional.contains(&when.kind) {
                let message = "unreachable WHEN clause specified after unconditional WHEN clause";
                return Err(Error::new(ErrorKind::Syntax, message).at(when.at));
            }
            let mut condition = joined.holds(when.kind);
            match &when.condition {
                None => unconditional.push(when.kind),
                Some(written) => condition.push(
                    self.bind_when(joined, when.kind, Clause::MergeWhen, |binder| binder.bind_where(written, "WHEN"))?,
                ),
            }
            let number = match self.bind_action(joined, when)? {
                None => -1,
                Some(action) => {
                    bound.push(action);
                    bound.len() as i32 - 1
                }
            };
            let condition = walk::conjunction(condition).unwrap_or_else(|| Expr::literal(Value::bool(true)));
            branches.push((condition, Expr::literal(Value::int4(number))));
        }
        let otherwise = Some(Box::new(Expr::literal(Value::int4(-1))));
        Ok((Expr::new(ExprKind::Case { branches, otherwise }, Type::Int4), bound))
    }

    /// Binds something in what a WHEN of this kind sees, as expressions over the join.
    fn bind_when<T: OverJoin>(
        &mut self,
        joined: &Joined,
        kind: Kind,
        clause: Clause,
        bind: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let scope = match kind {
            Kind::Matched => joined.scope.clone(),
            Kind::NotMatched => joined.source.clone(),
            Kind::NotMatchedBySource => joined.target(),
        };
        self.frames.push(Frame::query(scope, clause));
        let bound = bind(self);
        self.frames.pop();
        let mut bound = bound?;
        if kind == Kind::NotMatched {
            bound.shift(joined.source_at);
        }
        Ok(bound)
    }

    fn bind_action(&mut self, joined: &Joined, when: &MergeWhen) -> Result<Option<Bound>> {
        let relation = &joined.relation;
        let own = |column: usize| Expr::column(column, relation.columns[column].ty.clone());
        Ok(Some(match &when.action {
            MergeAction::Nothing => return Ok(None),
            MergeAction::Delete => {
                Bound { action: ModifyAction::Delete, row: (0..relation.columns.len()).map(own).collect() }
            }
            MergeAction::Update(assignments) => {
                let (row, assigned) = self.bind_when(joined, when.kind, Clause::Update, |binder| {
                    binder.bind_assignments(relation, assignments, &own)
                })?;
                Bound { action: ModifyAction::Update(assigned), row }
            }
            MergeAction::Insert { columns, values } => {
                let row = self.bind_when(joined, when.kind, Clause::Values, |binder| {
                    binder.merged_row(relation, columns, values.as_deref())
                })?;
                Bound { action: ModifyAction::Insert, row }
            }
        }))
    }

    /// The row that `INSERT (columns) VALUES (…)` adds.
    fn merged_row(
        &mut self,
        relation: &Relation,
        names: &[crate::parse::ast::Name],
        values: Option<&[sqlparser::ast::Expr]>,
    ) -> Result<Vec<Expr>> {
        let targets = target_columns(relation, names)?;
        let values = values.unwrap_or_default();
        if values.len() > targets.len() {
            return Err(Error::new(ErrorKind::Syntax, "INSERT has more expressions than target columns"));
        }
        if values.len() < targets.len() && !names.is_empty() && !values.is_empty() {
            return Err(Error::new(ErrorKind::Syntax, "INSERT has more target columns than expressions"));
        }
        let mut row = Vec::with_capacity(relation.columns.len());
        for (column, of) in relation.columns.iter().enumerate() {
            let given = targets.iter().position(|&target| target == column).and_then(|at| values.get(at));
            row.push(match given {
                Some(value) => self.assigned_value(relation, column, value)?,
                None => {
                    default_of(self, relation, column)?.unwrap_or_else(|| Expr::literal(Value::null(of.ty.clone())))
                }
            });
        }
        Ok(row)
    }

    /// Each column of the row that results, by what is done.
    fn rows_of(&mut self, relation: &Relation, bound: &[Bound], done: &Expr) -> Result<Vec<Expr>> {
        let mut row = Vec::with_capacity(relation.columns.len());
        for (column, of) in relation.columns.iter().enumerate() {
            let mut branches = Vec::with_capacity(bound.len());
            for (number, one) in bound.iter().enumerate() {
                let number = Expr::literal(Value::int4(number as i32));
                branches.push((self.operator("=", vec![done.clone(), number])?, one.row[column].clone()));
            }
            row.push(Expr::new(ExprKind::Case { branches, otherwise: None }, of.ty.clone()));
        }
        Ok(row)
    }
}

impl Joined {
    /// What tells that rows are of this kind.
    fn holds(&self, kind: Kind) -> Vec<Expr> {
        let missing = |column: usize| Expr::new(ExprKind::IsNull(Box::new(self.scope.column(column))), Type::Bool);
        let there = |column: usize| Expr::new(ExprKind::Not(Box::new(missing(column))), Type::Bool);
        let place = self.source_at - 1;
        match kind {
            Kind::Matched => vec![there(place), there(self.marker)],
            Kind::NotMatched => vec![missing(place)],
            Kind::NotMatchedBySource => vec![missing(self.marker)],
        }
    }

    /// The scope of the table alone.
    fn target(&self) -> Scope {
        let mut scope = self.scope.clone();
        scope.tables.truncate(1);
        scope.visible.retain(|visible| walk::columns_read(&visible.expr).iter().all(|&at| at < self.source_at));
        scope
    }
}

/// What was bound over the source alone and belongs over the join.
trait OverJoin {
    fn shift(&mut self, by: usize);
}

impl OverJoin for Expr {
    fn shift(&mut self, by: usize) {
        walk::rename_columns(self, &|column| column + by);
    }
}

impl OverJoin for Vec<Expr> {
    fn shift(&mut self, by: usize) {
        self.iter_mut().for_each(|expr| expr.shift(by));
    }
}

impl OverJoin for (Vec<Expr>, Vec<usize>) {
    fn shift(&mut self, by: usize) {
        self.0.shift(by);
    }
}

/// Adds a column that is true in every row.
fn mark(item: &mut Item) {
    let plan = std::mem::replace(&mut item.plan, Plan::Values { rows: Vec::new(), columns: Vec::new() });
    let mut columns: Vec<OutputColumn> = plan.columns().to_vec();
    let mut exprs: Vec<Expr> = columns.iter().enumerate().map(|(at, c)| Expr::column(at, c.ty.clone())).collect();
    exprs.push(Expr::literal(Value::bool(true)));
    columns.push(OutputColumn::computed("", Type::Bool));
    item.plan = Plan::Project { input: Box::new(plan), exprs, columns };
    item.scope.columns.push(ScopeColumn {
        name: String::new(),
        ty: Type::Bool,
        typmod: -1,
        origin: None,
        collating: Default::default(),
    });
}

/// The join with one more column: what is done. And where it is.
fn with_action(plan: Plan, scope: &Scope, action: Expr) -> (Plan, usize) {
    let mut columns: Vec<OutputColumn> = plan.columns().to_vec();
    let mut exprs: Vec<Expr> = (0..columns.len()).map(|at| scope.column(at)).collect();
    let at = exprs.len();
    exprs.push(action);
    columns.push(OutputColumn::computed("action", Type::Int4));
    (Plan::Project { input: Box::new(plan), exprs, columns }, at)
}
