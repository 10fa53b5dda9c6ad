//! Several set-returning functions side by side in FROM: `ROWS FROM (f(…), g(…))`, and `unnest` of several arrays.
//!
//! They are what they are in a SELECT list: one `ProjectSet` over a row of no columns, which puts the functions' rows side by side and NULLs
//! where one has fewer. Records become their fields; WITH ORDINALITY numbers the rows.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, Ident, TableAlias};

use super::Binder;
use super::call::{CallName, type_list};
use super::from::Item;
use super::names::at;
use super::scope::{Clause, Frame, Scope, scope_columns};
use crate::catalog::FunctionKind;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::clauses::ROWS_FROM;
use crate::parse::names::fold;
use crate::plan::{Expr, ExprKind, OutputColumn, Plan};
use crate::types::Type;

impl Binder<'_> {
    /// The rows of several functions, if the call is of such; `None` if it is an ordinary one.
    pub(super) fn bind_rows_from(
        &mut self,
        name: &ast::ObjectName,
        args: &[FunctionArg],
        ordinality: bool,
        alias: Option<&TableAlias>,
    ) -> Result<Option<Item>> {
        let own = CallName::of(name)?;
        let mut calls = Vec::new();
        if own.exact == ROWS_FROM {
            for arg in args {
                match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Function(call))) => {
                        let ast::FunctionArguments::List(list) = &call.args else { return Ok(None) };
                        calls.push((CallName::of(&call.name)?, list.args.as_slice()));
                    }
                    other => return Err(Error::new(ErrorKind::Syntax, format!("{other} is not a call of a function"))),
                }
            }
        } else if own.folded == "unnest" && own.qualified.is_none() && args.len() > 1 {
            for arg in args {
                calls.push((CallName::of(name)?, std::slice::from_ref(arg)));
            }
        }
        if calls.is_empty() {
            return Ok(None);
        }
        let shown = if own.exact == ROWS_FROM { calls[0].0.folded.clone() } else { own.folded.clone() };
        self.frames.push(Frame::query(Scope::default(), Clause::From));
        let bound = calls.iter().map(|(name, args)| self.bind_set_call(name, args)).collect::<Result<Vec<_>>>();
        self.frames.pop();
        let plan = side_by_side(bound?, ordinality, self.functions)?;
        let alias_name = alias.map_or(shown, |alias| fold(&alias.name));
        let mut scope = Scope::of_table(&alias_name, scope_columns(plan.columns()));
        if let Some(alias) = alias {
            let names: Vec<&Ident> = alias.columns.iter().map(|column| &column.name).collect();
            self.rename(&mut scope, &alias_name, &names)?;
        }
        Ok(Some(Item { plan, scope }))
    }

    fn bind_set_call(&mut self, name: &CallName, args: &[FunctionArg]) -> Result<SetCall> {
        let (args, named) = self.bind_table_arguments(name, args).map_err(|error| at(error, &name.ident))?;
        let located = |error: Error| at(error, &name.ident);
        if !named.is_empty() {
            let message = format!("named arguments of {} are not supported in ROWS FROM", name.shown);
            return Err(located(Error::new(ErrorKind::Unsupported, message)));
        }
        let described = format!("function {}({})", name.shown, type_list(&args));
        let what = |args: &[Expr]| format!("function {}({})", name.shown, type_list(args));
        let Some(resolved) = self.resolve(self.overloads(name), args, false, &what).map_err(located)? else {
            return Err(located(self.no_such_function(&name.folded, &described)));
        };
        let shaped = matches!(&resolved.ty, Type::Record(fields) if fields.is_empty());
        if resolved.signature.kind != FunctionKind::Table || shaped {
            let message = format!("function {} is not supported beside others in FROM", name.shown);
            return Err(located(Error::new(ErrorKind::Unsupported, message)));
        }
        Ok(SetCall { function: resolved.signature.id, name: name.folded.clone(), args: resolved.args, ty: resolved.ty })
    }
}

use super::scope::SetCall;

fn side_by_side(calls: Vec<SetCall>, ordinality: bool, functions: &dyn crate::catalog::Functions) -> Result<Plan> {
    let one = Plan::Values { rows: vec![Vec::new()], columns: Vec::new() };
    let columns: Vec<OutputColumn> =
        calls.iter().map(|call| OutputColumn::computed(&call.name, call.ty.clone())).collect();
    let (mut exprs, mut fields) = (Vec::new(), Vec::new());
    for (index, column) in columns.iter().enumerate() {
        let whole = Expr::column(index, column.ty.clone());
        match &column.ty {
            Type::Record(parts) => {
                for (field, (name, ty)) in parts.iter().enumerate() {
                    exprs.push(Expr::new(ExprKind::Field(Box::new(whole.clone()), field), ty.clone()));
                    fields.push(OutputColumn::computed(name, ty.clone()));
                }
            }
            _ => {
                exprs.push(whole);
                fields.push(column.clone());
            }
        }
    }
    let calls = calls.into_iter().map(|call| (call.function, call.args)).collect();
    let mut plan = Plan::ProjectSet { input: Box::new(one), calls, columns };
    plan = Plan::Project { input: Box::new(plan), exprs, columns: fields.clone() };
    if ordinality {
        fields.push(OutputColumn::computed("ordinality", Type::Int8));
        let calls = vec![super::window::numbering("row_number", functions)?];
        plan = Plan::Window {
            input: Box::new(plan),
            partition_by: Vec::new(),
            order_by: Vec::new(),
            calls,
            columns: fields,
        };
    }
    Ok(plan)
}
