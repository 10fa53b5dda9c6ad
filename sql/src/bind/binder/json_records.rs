//! `json_to_record`, `json_populate_record` and their kin in FROM: the fields of JSON objects as columns of the types that are asked for.
//!
//! They are a query over the object, or over the array's objects: a column of type json or jsonb is the field, one of an array type is made of the
//! items of a JSON array, and any other is cast from the field's text. What `populate` takes columns from is written `NULL::table`.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, SetExpr, TableAlias, TableFactor};

use super::Binder;
use super::call::CallName;
use super::from::Item;
use super::names::at;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::datatype::type_of;
use crate::parse::names::{fold, quoted};
use crate::types::Type;

impl Binder<'_> {
    /// One of them; `None` if the call is another.
    pub(super) fn bind_json_records(
        &mut self,
        name: &ast::ObjectName,
        args: &[FunctionArg],
        alias: Option<&TableAlias>,
    ) -> Result<Option<Item>> {
        let name = CallName::of(name)?;
        let Some((json, what)) = name.folded.split_once('_').filter(|(json, _)| matches!(*json, "json" | "jsonb"))
        else {
            return Ok(None);
        };
        let (populates, many) = match what {
            "to_record" => (false, false),
            "to_recordset" => (false, true),
            "populate_record" => (true, false),
            "populate_recordset" => (true, true),
            _ => return Ok(None),
        };
        let given: Vec<&ast::Expr> = args
            .iter()
            .filter_map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            })
            .collect();
        let (columns, value) = match (given.as_slice(), populates) {
            ([value], false) => (defined(&name, alias)?, *value),
            ([base, value], true) => (self.columns_of_row(base, &name)?, *value),
            _ => {
                let message = format!("wrong number of arguments for {}", name.exact);
                return Err(at(Error::new(ErrorKind::UndefinedFunction, message), &name.ident));
            }
        };
        let items: Vec<String> = columns.iter().map(|(column, ty)| field(column, ty, json)).collect();
        let value = ast::Expr::Nested(Box::new(value.clone()));
        let text = match many {
            true => format!("SELECT {} FROM {json}_array_elements(CAST(NULL AS {json})) AS r (e)", items.join(", ")),
            false => format!("SELECT {} FROM (SELECT CAST(NULL AS {json})) AS r (e)", items.join(", ")),
        };
        let mut query = crate::parse::query(&text)?;
        let SetExpr::Select(select) = query.body.as_mut() else { return Ok(None) };
        match select.from.first_mut().map(|from| &mut from.relation) {
            Some(TableFactor::Table { args: Some(arguments), .. }) => put(&mut arguments.args, value),
            Some(TableFactor::Derived { subquery, .. }) => {
                if let SetExpr::Select(inner) = subquery.body.as_mut()
                    && let Some(ast::SelectItem::UnnamedExpr(ast::Expr::Cast { expr, .. })) =
                        inner.projection.first_mut()
                {
                    **expr = value;
                }
            }
            _ => {}
        }
        let mut alias = alias.cloned();
        if let Some(alias) = &mut alias {
            alias.columns.iter_mut().for_each(|column| column.data_type = None);
        }
        let (lateral, sample) = (true, None);
        let mut item = self.bind_factor(&TableFactor::Derived { lateral, subquery: query, alias, sample })?;
        if item.scope.tables.is_empty() {
            self.rename(&mut item.scope, &name.folded, &[])?;
        }
        Ok(Some(item))
    }

    /// The columns of `NULL::table`, with their types.
    fn columns_of_row(&mut self, base: &ast::Expr, name: &CallName) -> Result<Vec<(String, Type)>> {
        let table = match base {
            ast::Expr::Cast { expr, data_type: ast::DataType::Custom(table, _), .. } => match expr.as_ref() {
                ast::Expr::Value(value) if value.value == ast::Value::Null => Some(table),
                _ => None,
            },
            _ => None,
        };
        let Some(table) = table else {
            let message = format!("{} of this row is not supported", name.exact);
            let error =
                Error::new(ErrorKind::Unsupported, message).with_hint("Write NULL::table as the first argument.");
            return Err(super::place::locate(error, base));
        };
        let item = self.bind_table(table)?;
        Ok(item.scope.columns.into_iter().map(|column| (column.name, column.ty)).collect())
    }
}

/// The columns that AS names with their types.
fn defined(name: &CallName, alias: Option<&TableAlias>) -> Result<Vec<(String, Type)>> {
    let columns = alias.map_or(&[][..], |alias| &alias.columns);
    let missing = || {
        let message = "a column definition list is required for functions returning \"record\"";
        at(Error::new(ErrorKind::Syntax, message), &name.ident)
    };
    if columns.is_empty() {
        return Err(missing());
    }
    let column = |column: &ast::TableAliasColumnDef| {
        let ty = column.data_type.as_ref().ok_or_else(missing)?;
        Ok((fold(&column.name), type_of(ty)?))
    };
    columns.iter().map(column).collect()
}

/// A field of the object `e` as a column.
fn field(column: &str, ty: &Type, json: &str) -> String {
    let key = format!("'{}'", column.replace('\'', "''"));
    let value = match ty {
        Type::Json | Type::Jsonb => format!("CAST(e -> {key} AS {ty})"),
        Type::Array(element) => {
            let items = match element.as_ref() {
                Type::Json | Type::Jsonb => format!("{json}_array_elements(e -> {key})"),
                _ => format!("{json}_array_elements_text(e -> {key})"),
            };
            format!(
                "CASE WHEN {json}_typeof(e -> {key}) = 'array' THEN ARRAY(SELECT CAST(i AS {element}) FROM {items} AS i) ELSE CAST(e ->> {key} AS {ty}) END"
            )
        }
        ty => format!("CAST(e ->> {key} AS {ty})"),
    };
    format!("{value} AS {}", quoted(column))
}

/// Puts an expression into the cast that is a call's only argument.
fn put(args: &mut [FunctionArg], value: ast::Expr) {
    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Cast { expr, .. }))) = args.first_mut() {
        **expr = value;
    }
}
