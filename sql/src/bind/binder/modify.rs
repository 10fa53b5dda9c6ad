//! UPDATE, DELETE, and what INSERT … ON CONFLICT and MERGE share with them: targets, SET lists, RETURNING.
//!
//! The table is bound as any FROM item, with one more column after its own: the place of the row, which has no name. The plan of a [`Modify`] puts
//! out, for each row that changes, its place, what is done, the row as it becomes, and the columns of the other tables.

use std::sync::Arc;

use sqlparser::ast::{self, Assignment, AssignmentTarget, SelectItem};

use super::from::Item;
use super::join::Condition;
use super::query::not_assignable;
use super::scope::{Clause, Frame, Scope, ScopeColumn};
use super::{Binder, CoercionContext, names, place};
use crate::bind::insert::{default_of, insertable, is_default};
use crate::catalog::Relation;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::ast::{Delete, Target, Update};
use crate::parse::names::{fold, object_name};
use crate::plan::{Expr, JoinKind, OutputColumn, Plan};
use crate::statement::{Modify, ModifyAction, ModifyVerb, ObjectName};
use crate::types::Type;
use crate::value::Value;

/// A list of RETURNING: what to compute, and what it looks like.
pub(crate) type Returning = (Vec<Expr>, Vec<OutputColumn>);

/// The table of a statement that changes rows.
pub(super) struct Changed {
    pub(super) relation: Arc<Relation>,
    /// Its columns, then its rows' places.
    pub(super) item: Item,
}

impl Changed {
    /// How many columns the table has, which is also where its rows' places are.
    pub(super) fn width(&self) -> usize {
        self.relation.columns.len()
    }
}

impl Binder<'_> {
    /// UPDATE.
    pub(crate) fn bind_update(&mut self, update: &Update) -> Result<Modify> {
        let changed = self.bind_changed(&update.target, "update")?;
        let (relation, width) = (changed.relation.clone(), changed.width());
        let mut item = changed.item;
        for other in &update.from {
            item = self.bind_other(item, other)?;
        }
        self.frames.push(Frame::query(item.scope, Clause::Where));
        let bound = self.update_in_scope(update, item.plan, &relation, width);
        self.frames.pop();
        bound
    }

    fn update_in_scope(
        &mut self,
        update: &Update,
        plan: Plan,
        relation: &Arc<Relation>,
        width: usize,
    ) -> Result<Modify> {
        let plan = self.filtered(plan, update.selection.as_ref())?;
        self.enter(Clause::Update);
        let own = |column: usize| Expr::column(column, relation.columns[column].ty.clone());
        let (row, assigned) = self.bind_assignments(relation, &update.assignments, &own)?;
        self.enter(Clause::Returning);
        let returning = self.bind_returning_beside(update.returning.as_deref(), width)?;
        let others = match returning {
            Some(_) => self.others(width),
            None => Vec::new(),
        };
        let actions = vec![ModifyAction::Update(assigned)];
        let source = changes(plan, width, Expr::literal(Value::int4(0)), row, others);
        Ok(modify(ModifyVerb::Update, relation, source, true, actions, returning))
    }

    /// DELETE.
    pub(crate) fn bind_delete(&mut self, delete: &Delete) -> Result<Modify> {
        let changed = self.bind_changed(&delete.target, "delete from")?;
        let (relation, width) = (changed.relation.clone(), changed.width());
        let mut item = changed.item;
        for other in &delete.using {
            item = self.bind_other(item, other)?;
        }
        self.frames.push(Frame::query(item.scope, Clause::Where));
        let bound = self.delete_in_scope(delete, item.plan, &relation, width);
        self.frames.pop();
        bound
    }

    fn delete_in_scope(
        &mut self,
        delete: &Delete,
        plan: Plan,
        relation: &Arc<Relation>,
        width: usize,
    ) -> Result<Modify> {
        let plan = self.filtered(plan, delete.selection.as_ref())?;
        self.enter(Clause::Returning);
        let returning = self.bind_returning_beside(delete.returning.as_deref(), width)?;
        let (row, others) = match returning {
            Some(_) => {
                let own = |(at, column): (usize, &crate::catalog::ColumnInfo)| Expr::column(at, column.ty.clone());
                (relation.columns.iter().enumerate().map(own).collect(), self.others(width))
            }
            None => (Vec::new(), Vec::new()),
        };
        let has_rows = returning.is_some();
        let source = changes(plan, width, Expr::literal(Value::int4(0)), row, others);
        Ok(modify(ModifyVerb::Delete, relation, source, has_rows, vec![ModifyAction::Delete], returning))
    }

    /// The table whose rows a statement changes, with their places.
    pub(super) fn bind_changed(&mut self, target: &Target, verb: &str) -> Result<Changed> {
        let name = object_name(&target.name)?;
        let ident = target.name.0.first().and_then(|part| part.as_ident());
        let located = |error: Error| ident.map_or(error.clone(), |ident| names::at(error, ident));
        let schema = name.schema.as_deref();
        let relation = self.catalog.relation(schema, &name.name).map_err(located)?;
        let relation = relation.ok_or_else(|| located(self.no_such_relation(schema, &name.name)))?;
        insertable(&relation, verb)?;
        let item = self.bind_relation(relation.clone())?;
        let mut item = self.alias(item, target.alias.as_ref())?;
        if let Plan::Scan(scan) = &mut item.plan {
            scan.projection.push(relation.columns.len());
            scan.columns.push(OutputColumn::computed("", Type::Int8));
        }
        item.scope.columns.push(ScopeColumn {
            name: String::new(),
            ty: Type::Int8,
            typmod: -1,
            origin: None,
            collating: Default::default(),
        });
        Ok(Changed { relation, item })
    }

    /// Another table beside the one that changes.
    fn bind_other(&mut self, left: Item, other: &ast::TableWithJoins) -> Result<Item> {
        let (right, lateral) = self.bind_beside(&left.scope, &mut |binder| binder.bind_joins(other))?;
        self.join(left, right, JoinKind::Inner, lateral, None::<Condition<'_>>)
    }

    fn filtered(&mut self, plan: Plan, selection: Option<&ast::Expr>) -> Result<Plan> {
        let Some(condition) = selection else { return Ok(plan) };
        let predicate = self.bind_where(condition, "WHERE")?;
        Ok(Plan::Filter { input: Box::new(plan), predicate })
    }

    /// The columns of the innermost scope after the changed table's.
    fn others(&self, width: usize) -> Vec<(Expr, OutputColumn)> {
        let Some(frame) = self.frames.last() else { return Vec::new() };
        let columns = frame.scope.columns.iter().enumerate().skip(width + 1);
        columns.map(|(at, column)| (frame.scope.column(at), column.output())).collect()
    }

    /// RETURNING in a scope that has the changed table first: its rows' places are not there in what it is evaluated over.
    fn bind_returning_beside(&mut self, items: Option<&[SelectItem]>, width: usize) -> Result<Option<Returning>> {
        let Some(items) = items else { return Ok(None) };
        let (mut exprs, columns) = self.bind_returned(items)?;
        let place = |column: usize| if column > width { column - 1 } else { column };
        exprs.iter_mut().for_each(|expr| crate::walk::rename_columns(expr, &place));
        Ok(Some((exprs, columns)))
    }

    /// RETURNING in the innermost scope.
    pub(super) fn bind_returned(&mut self, items: &[SelectItem]) -> Result<Returning> {
        let mut outputs = self.bind_projection(items)?;
        self.settle_outputs(&mut outputs)?;
        Ok(outputs.into_iter().map(|output| (output.expr, output.column)).unzip())
    }

    /// SET: the whole row as it becomes, and which columns were named. `own` is a column of the row as it is.
    pub(super) fn bind_assignments(
        &mut self,
        relation: &Relation,
        assignments: &[Assignment],
        own: &dyn Fn(usize) -> Expr,
    ) -> Result<(Vec<Expr>, Vec<usize>)> {
        let mut row: Vec<Option<Expr>> = vec![None; relation.columns.len()];
        let mut assigned = Vec::new();
        for assignment in assignments {
            let targets = match &assignment.target {
                AssignmentTarget::ColumnName(name) => vec![name],
                AssignmentTarget::Tuple(names) => names.iter().collect(),
            };
            let columns =
                targets.into_iter().map(|name| assigned_column(relation, name)).collect::<Result<Vec<_>>>()?;
            let values = match &assignment.target {
                AssignmentTarget::ColumnName(_) => {
                    vec![self.assigned_value(relation, columns[0], &assignment.value)?]
                }
                AssignmentTarget::Tuple(_) => self.assigned_values(relation, &columns, &assignment.value)?,
            };
            for (column, value) in columns.into_iter().zip(values) {
                if row[column].replace(value).is_some() {
                    let message = format!("multiple assignments to same column \"{}\"", relation.columns[column].name);
                    return Err(Error::new(ErrorKind::Syntax, message));
                }
                assigned.push(column);
            }
        }
        let row = row.into_iter().enumerate().map(|(column, value)| value.unwrap_or_else(|| own(column))).collect();
        Ok((row, assigned))
    }

    /// The values of `(a, b) = …`.
    fn assigned_values(&mut self, relation: &Relation, columns: &[usize], value: &ast::Expr) -> Result<Vec<Expr>> {
        let wrong = || {
            let message = "number of columns does not match number of values";
            place::locate(Error::new(ErrorKind::Syntax, message), value)
        };
        let list = match value {
            ast::Expr::Tuple(values) => values.iter().collect(),
            ast::Expr::Function(function) => match row_arguments(function) {
                Some(values) => values,
                None => return Err(not_a_row(value)),
            },
            ast::Expr::Subquery(query) => {
                let plan = self.bind_subquery(query)?;
                if plan.columns().len() != columns.len() {
                    return Err(wrong());
                }
                return columns
                    .iter()
                    .enumerate()
                    .map(|(at, &column)| self.field(&plan, at, relation, column))
                    .collect();
            }
            _ => return Err(not_a_row(value)),
        };
        if list.len() != columns.len() {
            return Err(wrong());
        }
        columns.iter().zip(list).map(|(&column, value)| self.assigned_value(relation, column, value)).collect()
    }

    /// One column of a subquery's one row, for a column of the table.
    fn field(&mut self, plan: &Plan, at: usize, relation: &Relation, column: usize) -> Result<Expr> {
        let of = plan.columns()[at].clone();
        let exprs = vec![Expr::column(at, of.ty.clone())];
        let one = Plan::Project { input: Box::new(plan.clone()), exprs, columns: vec![of] };
        let value = self.scalar_subquery(one)?;
        self.assign(relation, column, value)
    }

    /// A value for a column, where DEFAULT may stand.
    pub(super) fn assigned_value(&mut self, relation: &Relation, column: usize, value: &ast::Expr) -> Result<Expr> {
        if is_default(value) {
            let null = || Expr::literal(Value::null(relation.columns[column].ty.clone()));
            return Ok(default_of(self, relation, column)?.unwrap_or_else(null));
        }
        let bound = self.bind_expr(value)?;
        self.assign(relation, column, bound).map_err(|error| place::locate(error, value))
    }

    /// A value cast to a column's type by assignment.
    fn assign(&mut self, relation: &Relation, column: usize, value: Expr) -> Result<Expr> {
        let (of, from) = (&relation.columns[column], value.ty.clone());
        if !super::casts::can_cast(&from, &of.ty, CoercionContext::Assignment) && from != Type::Unknown {
            return Err(not_assignable(&of.name, &of.ty, &from));
        }
        self.coerce(value, &of.ty, CoercionContext::Assignment)
    }

    /// ON CONFLICT DO UPDATE: the row as it becomes, and the condition, over the table's columns and then `excluded`'s.
    pub(crate) fn bind_conflict_update(
        &mut self,
        relation: &Arc<Relation>,
        name: &str,
        update: &ast::DoUpdate,
    ) -> Result<(Vec<Expr>, Option<Expr>)> {
        let columns = crate::bind::insert::table_columns(relation);
        let table = |name: &str| Scope::of_table(name, super::scope::scope_columns(&columns));
        self.frames.push(Frame::query(table(name).join(table("excluded")), Clause::Update));
        let own = |column: usize| Expr::column(column, relation.columns[column].ty.clone());
        let bound = self.bind_assignments(relation, &update.assignments, &own).and_then(|(row, _)| {
            self.enter(Clause::Where);
            let predicate = update.selection.as_ref().map(|condition| self.bind_where(condition, "WHERE"));
            Ok((row, predicate.transpose()?))
        });
        self.frames.pop();
        bound
    }
}

fn assigned_column(relation: &Relation, name: &ast::ObjectName) -> Result<usize> {
    let parts: Vec<&ast::Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
    let Some(ident) = parts.first() else {
        return Err(Error::new(ErrorKind::Syntax, format!("{name} is not a column")));
    };
    let column = fold(ident);
    let found = relation.columns.iter().position(|known| known.name == column);
    match (found, parts.len()) {
        (Some(found), 1) => Ok(found),
        (Some(_), _) => {
            let message = format!("cannot assign to a field of column \"{column}\"");
            Err(names::at(Error::new(ErrorKind::Unsupported, message), ident))
        }
        (None, _) => {
            let message = format!("column \"{column}\" of relation \"{}\" does not exist", relation.name);
            Err(names::at(Error::new(ErrorKind::UndefinedColumn, message), ident))
        }
    }
}

/// The arguments of `ROW(…)`.
fn row_arguments(function: &ast::Function) -> Option<Vec<&ast::Expr>> {
    let ast::FunctionArguments::List(list) = &function.args else { return None };
    if !function.name.to_string().eq_ignore_ascii_case("row") {
        return None;
    }
    let plain = |arg: &'_ ast::FunctionArg| matches!(arg, ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(_)));
    if !list.args.iter().all(plain) {
        return None;
    }
    let value = |arg| match arg {
        &ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ref value)) => Some(value),
        _ => None,
    };
    list.args.iter().map(value).collect()
}

fn not_a_row(value: &ast::Expr) -> Error {
    let message = "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
    place::locate(Error::new(ErrorKind::Unsupported, message), value)
}

/// Place, action, row and the others' columns, over a plan that has the places at `place`.
pub(super) fn changes(
    input: Plan,
    place: usize,
    action: Expr,
    row: Vec<Expr>,
    others: Vec<(Expr, OutputColumn)>,
) -> Plan {
    let mut exprs = vec![Expr::column(place, Type::Int8), action];
    let mut columns = vec![OutputColumn::computed("place", Type::Int8), OutputColumn::computed("action", Type::Int4)];
    for expr in row {
        columns.push(OutputColumn::computed("", expr.ty.clone()));
        exprs.push(expr);
    }
    for (expr, column) in others {
        exprs.push(expr);
        columns.push(column);
    }
    Plan::Project { input: Box::new(input), exprs, columns }
}

/// A statement of this plan.
pub(super) fn modify(
    verb: ModifyVerb,
    relation: &Relation,
    source: Plan,
    has_rows: bool,
    actions: Vec<ModifyAction>,
    returning: Option<Returning>,
) -> Modify {
    let table = ObjectName { schema: Some(relation.schema.clone()), name: relation.name.clone() };
    Modify { verb, table, oid: relation.oid, source, has_rows, actions, returning }
}
