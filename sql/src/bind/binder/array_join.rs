//! ClickHouse's ARRAY JOIN: each row once for each element of its arrays, which stand side by side.
//!
//! An array that is a column, and has no other name here, is its element from then on; `*` shows it so. Elements with a name of their own are
//! seen by that name only. LEFT keeps a row whose arrays are empty, with the zero of each element's type.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, TableFactor};

use super::Binder;
use super::from::Item;
use super::scope::{Clause, Frame, ScopeColumn, Visible};
use crate::bind::ddl::zero;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::array_join::ARRAY_JOIN;
use crate::plan::{Expr, ExprKind, OutputColumn, Plan};
use crate::types::Type;

/// The arrays of an ARRAY JOIN with their names, which may be empty, and whether it is a LEFT one; `None` if the item is none.
fn arrays(factor: &TableFactor) -> Option<(Vec<(&ast::Expr, &str)>, bool)> {
    let TableFactor::Table { name, args: Some(arguments), .. } = factor else { return None };
    let name = name.0.last()?.as_ident()?;
    let is_left = ARRAY_JOIN.iter().position(|known| *known == name.value)? == 1;
    let expr = |arg| match arg {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    let args: Vec<&ast::Expr> = arguments.args.iter().map(expr).collect::<Option<_>>()?;
    let mut list = Vec::new();
    for pair in args.chunks(2) {
        let [array, ast::Expr::Value(name)] = pair else { return None };
        let ast::Value::SingleQuotedString(name) = &name.value else { return None };
        list.push((*array, name.as_str()));
    }
    Some((list, is_left))
}

impl Binder<'_> {
    /// Rows by the elements of arrays, if that is what an item of FROM is; else the left side again.
    pub(super) fn bind_array_join(
        &mut self,
        left: Item,
        factor: &TableFactor,
    ) -> Result<std::result::Result<Item, Item>> {
        let Some((arrays, is_left)) = arrays(factor) else { return Ok(Err(left)) };
        let Item { plan, scope } = left;
        self.frames.push(Frame::query(scope, Clause::From));
        let bound = self.bind_arrays(&arrays, is_left);
        let frame = self.frames.pop();
        let (bound, mut scope) = (bound?, frame.map(|frame| frame.scope).unwrap_or_default());
        let Some(unnest) = self.functions.overloads("unnest").iter().find(|signature| signature.params.len() == 1)
        else {
            return Err(Error::new(ErrorKind::Unsupported, "ARRAY JOIN is not supported"));
        };
        let mut columns = plan.columns().to_vec();
        let mut calls = Vec::new();
        for ((of, array), (_, name)) in bound.into_iter().zip(&arrays) {
            let Type::Array(element) = array.ty.clone() else { continue };
            let at = columns.len();
            let shown = match (&of.kind, name.is_empty()) {
                (ExprKind::Column(column), true) => scope.columns[*column].name.clone(),
                (_, true) => "unnest".to_string(),
                (_, false) => name.to_string(),
            };
            columns.push(OutputColumn::computed(&shown, (*element).clone()));
            let (ty, collating) = ((*element).clone(), array.collating);
            scope.columns.push(ScopeColumn { name: shown.clone(), ty, typmod: -1, origin: None, collating });
            let value = Expr::column(at, *element);
            match of.kind {
                ExprKind::Column(column) if name.is_empty() => {
                    scope.visible.iter_mut().filter(|seen| seen.expr == of).for_each(|seen| seen.expr = value.clone());
                    let of_tables = scope.tables.iter_mut().flat_map(|table| &mut table.columns);
                    of_tables.filter(|known| **known == column).for_each(|known| *known = at);
                }
                _ => scope.hidden.push(Visible { name: shown, expr: value }),
            }
            calls.push((unnest.id, vec![array]));
        }
        Ok(Ok(Item { plan: Plan::ProjectSet { input: Box::new(plan), calls, columns }, scope }))
    }

    /// Each array as it is written, and as its elements are taken from it.
    fn bind_arrays(&mut self, arrays: &[(&ast::Expr, &str)], is_left: bool) -> Result<Vec<(Expr, Expr)>> {
        let written: Vec<String> = arrays.iter().map(|(array, _)| array.to_string()).collect();
        let names: Vec<String> = (0..arrays.len()).map(|at| format!("x{at}")).collect();
        let mut bound = Vec::new();
        for (at, (array, _)) in arrays.iter().enumerate() {
            let of = self.bind_expr(array)?;
            let Type::Array(element) = of.ty.clone() else {
                let message = format!("ARRAY JOIN is of arrays, and this is {}", of.ty);
                return Err(super::place::locate(Error::new(ErrorKind::DatatypeMismatch, message), array));
            };
            // All have as many elements, or there is an error.
            let mut sql = match arrays.len() {
                1 => written[0].clone(),
                _ => format!("arrayMap(({}) -> {}, {})", names.join(", "), names[at], written.join(", ")),
            };
            if is_left {
                let zero = match zero(self, &element)? {
                    Some(zero) => format!("({})::{element}", zero.sql),
                    None => format!("NULL::{element}"),
                };
                sql = format!("CASE WHEN coalesce(cardinality({sql}), 0) = 0 THEN ARRAY[{zero}] ELSE {sql} END");
            }
            let taken = match arrays.len() == 1 && !is_left {
                true => of.clone(),
                false => self.bind_expr(&crate::parse::expr(&sql)?)?,
            };
            bound.push((of, taken));
        }
        Ok(bound)
    }
}
