//! Functions in FROM: `generate_series`, `unnest`, `read_parquet('…', option => value)`, WITH ORDINALITY; and scalar functions, as Postgres
//! allows, which give one row.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, Ident, TableAlias};

use super::aggregate_call::constant;
use super::call::{CallName, type_list};
use super::from::Item;
use super::names::at;
use super::scope::{Clause, Frame, Scope, scope_columns};
use super::{Binder, CoercionContext};
use crate::catalog::FunctionKind;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::datatype::type_of;
use crate::parse::names::fold;
use crate::plan::{Expr, ExprKind, OutputColumn, Plan};
use crate::types::Type;
use crate::value::Value;

impl Binder<'_> {
    pub(super) fn bind_table_function(
        &mut self,
        name: &ast::ObjectName,
        args: &[FunctionArg],
        ordinality: bool,
        alias: Option<&TableAlias>,
    ) -> Result<Item> {
        if let Some(item) = self.bind_rows_from(name, args, ordinality, alias)? {
            return Ok(item);
        }
        if !ordinality && let Some(item) = self.bind_time_windows(name, args, alias)? {
            return Ok(item);
        }
        if !ordinality && let Some(item) = self.bind_json_records(name, args, alias)? {
            return Ok(item);
        }
        if let Some(ident) =
            name.0.last().and_then(|part| part.as_ident()).filter(|ident| ident.value.starts_with('\0'))
        {
            let item = match self.bind_pivot_call(&ident.value, args)? {
                Some(item) => Some(item),
                None => self.bind_summary_call(&ident.value, args)?,
            };
            if let Some(item) = item {
                return self.alias(item, alias);
            }
        }
        let name = CallName::of(name)?;
        // Arguments see neighbours and outer queries, and no input of their own.
        self.frames.push(Frame::query(Scope::default(), Clause::From));
        let bound = self.bind_table_arguments(&name, args);
        self.frames.pop();
        let (args, named) = bound.map_err(|error| at(error, &name.ident))?;
        self.table_function(&name, args, named, ordinality, alias).map_err(|error| at(error, &name.ident))
    }

    /// `FROM 'file.parquet'`: the function that reads files of this ending; `None` if the name is not in single quotes.
    pub(super) fn bind_file(&mut self, name: &ast::ObjectName, alias: Option<&TableAlias>) -> Result<Option<Item>> {
        let [part] = name.0.as_slice() else { return Ok(None) };
        let Some(ident) = part.as_ident().filter(|ident| ident.quote_style == Some('\'')) else { return Ok(None) };
        let lower = ident.value.to_lowercase();
        let plain = lower.strip_suffix(".gz").or_else(|| lower.strip_suffix(".zst")).unwrap_or(&lower);
        let reader = match plain.rsplit_once('.').map(|(_, extension)| extension) {
            Some("parquet") => "read_parquet",
            Some("csv" | "tsv") => "read_csv",
            Some("json" | "jsonl" | "ndjson") => "read_json",
            _ => {
                let message = format!("cannot tell the format of file \"{}\" from its name", ident.value);
                return Err(at(Error::new(ErrorKind::UndefinedTable, message), ident)
                    .with_hint("Use read_parquet, read_csv or read_json."));
            }
        };
        let function = ast::ObjectName::from(vec![Ident { value: reader.into(), quote_style: None, span: ident.span }]);
        let file = ast::Expr::Value(ast::Value::SingleQuotedString(ident.value.clone()).into());
        let args = [FunctionArg::Unnamed(FunctionArgExpr::Expr(file))];
        self.bind_table_function(&function, &args, false, alias).map(Some)
    }

    pub(super) fn bind_unnest(
        &mut self,
        arrays: &[ast::Expr],
        ordinality: bool,
        alias: Option<&TableAlias>,
    ) -> Result<Item> {
        let name = ast::ObjectName::from(vec![Ident::new("unnest")]);
        let args: Vec<FunctionArg> =
            arrays.iter().map(|array| FunctionArg::Unnamed(FunctionArgExpr::Expr(array.clone()))).collect();
        self.bind_table_function(&name, &args, ordinality, alias)
    }

    #[allow(clippy::type_complexity)]
    pub(super) fn bind_table_arguments(
        &mut self,
        name: &CallName,
        args: &[FunctionArg],
    ) -> Result<(Vec<Expr>, Vec<(String, Value)>)> {
        let (mut positional, mut named) = (Vec::new(), Vec::new());
        for arg in args {
            match arg {
                FunctionArg::Named { name: label, arg: FunctionArgExpr::Expr(expr), .. } => {
                    named.push((fold(label), self.option(expr, &fold(label))?));
                }
                FunctionArg::ExprNamed {
                    name: ast::Expr::Identifier(label), arg: FunctionArgExpr::Expr(expr), ..
                } => {
                    named.push((fold(label), self.option(expr, &fold(label))?));
                }
                // DuckDB writes options of its readers with an equals sign.
                FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::BinaryOp {
                    left,
                    op: ast::BinaryOperator::Eq,
                    right,
                })) if name.folded.starts_with("read_") && matches!(left.as_ref(), ast::Expr::Identifier(_)) => {
                    let label = left.to_string().to_lowercase();
                    let value = self.option(right, &label)?;
                    named.push((label, value));
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => positional.push(self.bind_expr(expr)?),
                other => {
                    let message = format!("argument {other} of {} is not supported", name.shown);
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
            }
        }
        Ok((positional, named))
    }

    /// The value of an option; that of `columns` may be written as DuckDB does, `{'a': 'BIGINT'}`.
    fn option(&mut self, expr: &ast::Expr, label: &str) -> Result<Value> {
        match expr {
            ast::Expr::Dictionary(fields) => Ok(Value::text(&dictionary_text(fields))),
            other => option_value(&self.bind_expr(other)?, label),
        }
    }

    fn table_function(
        &mut self,
        name: &CallName,
        args: Vec<Expr>,
        named: Vec<(String, Value)>,
        ordinality: bool,
        alias: Option<&TableAlias>,
    ) -> Result<Item> {
        let signatures = self.overloads(name);
        let described = format!("function {}({})", name.shown, type_list(&args));
        let what = |args: &[Expr]| format!("function {}({})", name.shown, type_list(args));
        let constants: Option<Vec<Value>> = args.iter().map(constant).collect();
        let Some(resolved) = self.resolve(signatures, args, false, &what)? else {
            return Err(self.no_such_function(&name.folded, &described));
        };
        let shaped = match constants {
            Some(constants) if resolved.signature.kind == FunctionKind::Table => {
                self.catalog.table_function_columns(&name.folded, &constants, &named)?
            }
            _ => None,
        };
        if shaped.is_none() && matches!(&resolved.ty, Type::Record(fields) if fields.is_empty()) {
            let message = format!("the arguments of function {} must be constants", name.shown);
            return Err(Error::new(ErrorKind::InvalidParameter, message)
                .with_detail("They decide what columns there are before the query runs."));
        }
        if shaped.is_none()
            && let Some((label, _)) = named.first()
        {
            let message = format!("function {} has no argument named \"{label}\"", name.shown);
            return Err(Error::new(ErrorKind::UndefinedFunction, message));
        }
        // A single column is called as the function, or as its alias.
        let alias_name = alias.map_or_else(|| name.folded.clone(), |alias| fold(&alias.name));
        let scalar = shaped.is_none() && !matches!(resolved.ty, Type::Record(_));
        let mut columns: Vec<OutputColumn> = match (shaped, &resolved.ty) {
            (Some(columns), _) => columns.into_iter().map(|(name, ty)| OutputColumn::computed(&name, ty)).collect(),
            (None, Type::Record(fields)) => {
                fields.iter().map(|(name, ty)| OutputColumn::computed(name, ty.clone())).collect()
            }
            // Postgres declares their result as `OUT value`.
            (None, ty) if name.folded.starts_with("json") && name.folded.contains("_array_elements") => {
                vec![OutputColumn::computed("value", ty.clone())]
            }
            // ClickHouse calls its column so, whatever the alias.
            (None, ty) if name.folded == "numbers" => vec![OutputColumn::computed("number", ty.clone())],
            (None, ty) => vec![OutputColumn::computed(&alias_name, ty.clone())],
        };
        let plan = match resolved.signature.kind {
            FunctionKind::Table => {
                if ordinality {
                    columns.push(OutputColumn::computed("ordinality", Type::Int8));
                }
                Plan::TableFunction {
                    function: resolved.signature.id,
                    name: name.folded.clone(),
                    args: resolved.args,
                    named_args: named,
                    columns: columns.clone(),
                    ordinality,
                }
            }
            FunctionKind::Scalar => {
                let kind =
                    ExprKind::Call { function: resolved.signature.id, name: name.folded.clone(), args: resolved.args };
                let call = Expr::new(kind, resolved.ty.clone());
                let mut exprs: Vec<Expr> = match &resolved.ty {
                    Type::Record(fields) => (0..fields.len())
                        .map(|i| Expr::new(ExprKind::Field(Box::new(call.clone()), i), fields[i].1.clone()))
                        .collect(),
                    _ => vec![call],
                };
                if ordinality {
                    columns.push(OutputColumn::computed("ordinality", Type::Int8));
                    exprs.push(Expr::literal(Value::int8(1)));
                }
                Plan::Values { rows: vec![exprs], columns: columns.clone() }
            }
            FunctionKind::Aggregate => {
                let message = "aggregate functions are not allowed in functions in FROM";
                return Err(Error::new(ErrorKind::Grouping, message));
            }
            FunctionKind::Window => {
                return Err(Error::new(ErrorKind::Windowing, "window functions are not allowed in functions in FROM"));
            }
        };
        let mut scope = Scope::of_table(&name.folded, scope_columns(&columns));
        if let Some(table) = scope.tables.first_mut() {
            table.scalar = scalar && !ordinality;
        }
        let mut item = Item { plan, scope };
        if let Some(alias) = alias {
            let names: Vec<&Ident> = alias.columns.iter().map(|column| &column.name).collect();
            self.rename(&mut item.scope, &alias_name, &names)?;
            item = self.retype(item, alias)?;
        }
        Ok(item)
    }

    /// `AS t(a int, b text)`: a column definition list casts the columns.
    fn retype(&mut self, item: Item, alias: &TableAlias) -> Result<Item> {
        if alias.columns.iter().all(|column| column.data_type.is_none()) {
            return Ok(item);
        }
        let mut types: Vec<Type> = item.scope.columns.iter().map(|column| column.ty.clone()).collect();
        for (ty, column) in types.iter_mut().zip(&alias.columns) {
            if let Some(data_type) = &column.data_type {
                *ty = type_of(data_type)?;
            }
        }
        let plan = self.coerce_columns(item.plan, &types, CoercionContext::Explicit)?;
        let mut scope = item.scope;
        for (column, ty) in scope.columns.iter_mut().zip(types) {
            column.ty = ty;
        }
        scope.visible = super::scope::visible_columns(&scope.columns);
        Ok(Item { plan, scope })
    }
}

/// `{'a': 'BIGINT'}` as JSON.
fn dictionary_text(fields: &[ast::DictionaryField]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let field = |field: &ast::DictionaryField| {
        let value = match field.value.as_ref() {
            ast::Expr::Value(value) => match &value.value {
                ast::Value::SingleQuotedString(text) => text.clone(),
                other => other.to_string(),
            },
            other => other.to_string(),
        };
        format!("{}: {}", quoted(&field.key.value), quoted(&value))
    };
    format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
}

fn option_value(bound: &Expr, label: &str) -> Result<Value> {
    constant(bound).ok_or_else(|| {
        Error::new(ErrorKind::InvalidParameter, format!("the value of argument \"{label}\" must be a constant"))
    })
}
