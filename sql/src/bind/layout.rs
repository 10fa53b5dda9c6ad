//! The clauses that say how rows are kept: ENGINE, PARTITION BY, ORDER BY, TTL, over the columns of a table or view.

use sqlparser::ast::{self, BinaryOperator, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::{Binder, CoercionContext};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::ast as written;
use crate::parse::names::{fold, quoted};
use crate::plan::{ExprKind, OutputColumn};
use crate::statement::{Layout, Rollup, SqlExpr, Ttl, TtlRule};
use crate::types::Type;
use crate::value::Value;

/// Binds the clauses. Without ORDER BY the sorting key is the primary key.
pub(super) fn layout(
    binder: &mut Binder<'_>,
    written: &written::Layout,
    columns: &[OutputColumn],
    primary_key: &[usize],
) -> Result<Layout> {
    let partition_by = match &written.partition_by {
        Some(by) if !is_empty_tuple(&by.expr) => {
            let expr = binder.bind_expr_over(&by.expr, columns)?;
            Some(SqlExpr { sql: by.text.clone(), expr })
        }
        _ => None,
    };
    let mut order_by = key(written.order_by.as_deref().unwrap_or_default(), columns)?;
    if written.order_by.is_none() {
        order_by = primary_key.to_vec();
    }
    let ttl = written.ttl.iter().map(|rule| ttl(binder, rule, columns)).collect::<Result<_>>()?;
    Ok(Layout { engine: written.engine.clone(), engine_args: written.engine_args.clone(), partition_by, order_by, ttl })
}

fn is_empty_tuple(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Tuple(exprs) => exprs.is_empty(),
        ast::Expr::Function(function) => {
            function.name.to_string().eq_ignore_ascii_case("tuple") && arguments(function).is_some_and(|a| a.is_empty())
        }
        _ => false,
    }
}

/// A key's columns, each once. An expression stands for the column that it rises with.
pub(super) fn key(exprs: &[ast::Expr], columns: &[OutputColumn]) -> Result<Vec<usize>> {
    let mut key = Vec::new();
    for expr in exprs {
        let column = key_column(expr, expr, columns)?;
        if !key.contains(&column) {
            key.push(column);
        }
    }
    Ok(key)
}

fn key_column(expr: &ast::Expr, whole: &ast::Expr, columns: &[OutputColumn]) -> Result<usize> {
    match expr {
        ast::Expr::Identifier(ident) => column(ident, columns),
        ast::Expr::CompoundIdentifier(idents) => match idents.last() {
            Some(ident) => column(ident, columns),
            None => Err(no_key(whole)),
        },
        ast::Expr::Nested(inner) => key_column(inner, whole, columns),
        ast::Expr::Cast { expr, data_type: ast::DataType::Date, .. } => key_column(expr, whole, columns),
        ast::Expr::Function(function) if rises(&function.name) => {
            let column = arguments(function).and_then(|args| {
                let mut named = args.into_iter().filter(|arg| !is_constant(arg));
                named.next().filter(|_| named.next().is_none())
            });
            column.map_or_else(|| Err(no_key(whole)), |expr| key_column(expr, whole, columns))
        }
        _ => Err(no_key(whole)),
    }
}

fn no_key(expr: &ast::Expr) -> Error {
    Error::new(ErrorKind::Unsupported, format!("sorting key expression {expr} is not supported")).with_hint(
        "Name columns, or times cut off as in toStartOfHour(column), for which rows are sorted by the column.",
    )
}

/// Whether rows in the order of the argument are in the order of the result.
fn rises(function: &ast::ObjectName) -> bool {
    let name = function.to_string().to_ascii_lowercase();
    name.starts_with("tostartof")
        || matches!(
            name.as_str(),
            "todate"
                | "todatetime"
                | "todatetime64"
                | "toyear"
                | "toyyyymm"
                | "toyyyymmdd"
                | "toyyyymmddhhmmss"
                | "tomonday"
        )
        || matches!(name.as_str(), "tounixtimestamp" | "date_trunc" | "time_bucket" | "date_bin" | "date")
}

fn is_constant(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Value(_) | ast::Expr::Interval(_) | ast::Expr::TypedString(_))
}

/// The plain arguments of a call, if it has no others.
fn arguments(function: &ast::Function) -> Option<Vec<&ast::Expr>> {
    match &function.args {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::List(list) => list
            .args
            .iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            })
            .collect(),
        FunctionArguments::Subquery(_) => None,
    }
}

/// A column of the table that is being defined, by its name.
fn column(ident: &ast::Ident, columns: &[OutputColumn]) -> Result<usize> {
    let name = fold(ident);
    columns.iter().position(|column| column.name == name).ok_or_else(|| {
        let error = Error::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" does not exist"));
        match ident.span.start.column {
            0 => error,
            at => error.at(at as usize),
        }
    })
}

/// A rule of TTL: a time column plus a constant interval, and a condition on the row's columns.
pub fn ttl(binder: &mut Binder<'_>, rule: &TtlRule, columns: &[OutputColumn]) -> Result<Ttl> {
    let refused = || {
        Error::new(ErrorKind::Unsupported, format!("TTL {} is not supported", rule.time))
            .with_hint("TTL is a date or timestamp column plus a constant interval: TTL ts + INTERVAL 90 DAY.")
    };
    let (time, interval) = match &crate::parse::expr(&rule.time)? {
        ast::Expr::BinaryOp { left, op: BinaryOperator::Plus, right } => (left.clone(), right.clone()),
        _ => return Err(refused()),
    };
    let named = |name: &String| column(&ast::Ident::with_quote('"', name), columns);
    let of = rule.of.as_ref().map(named).transpose()?;
    let (mut day, mut sql) = (false, rule.time.clone());
    let column = ttl_column(&time, columns, &mut day, &refused)?;
    if !matches!(columns[column].ty, Type::Date | Type::Timestamp | Type::Timestamptz) {
        let message = format!("TTL column \"{}\" is of type {}", columns[column].name, columns[column].ty);
        return Err(Error::new(ErrorKind::DatatypeMismatch, message).with_hint("It has to be a date or a timestamp."));
    }
    let bound = match to_interval(&interval) {
        Some(text) => binder.bind_expr_over(&crate::parse::expr(&text)?, &[])?,
        None => binder.bind_expr_over(&interval, &[])?,
    };
    let condition = match &rule.condition {
        Some(condition) => {
            let verb = if rule.rollup.is_some() { "" } else { "DELETE " };
            sql = format!("{sql} {verb}WHERE {condition}");
            Some(ttl_condition(binder, condition, columns)?)
        }
        None => None,
    };
    if let Some(Rollup { keys, set }) = &rule.rollup {
        sql = format!("{sql} GROUP BY {}", keys.join(", "));
        for (nth, (of, value)) in set.iter().enumerate() {
            named(of)?;
            let word = if nth == 0 { " SET" } else { "," };
            sql = format!("{sql}{word} {} = {value}", quoted(of));
        }
    }
    match bound.kind {
        ExprKind::Literal(interval) if interval.ty == Type::Interval && !interval.is_null() => {
            check_interval(&interval, &refused)?;
            Ok(Ttl { column, day, interval, condition, of, rollup: rule.rollup.is_some(), sql })
        }
        _ => Err(refused()),
    }
}

/// Rows must not expire before their time.
fn check_interval(interval: &Value, refused: &dyn Fn() -> Error) -> Result<()> {
    use arrow::array::{Array, IntervalMonthDayNanoArray};
    let array = interval.array.as_any().downcast_ref::<IntervalMonthDayNanoArray>().ok_or_else(refused)?;
    let value = array.is_valid(0).then(|| array.value(0)).ok_or_else(refused)?;
    match value.months >= 0 && value.days >= 0 && value.nanoseconds >= 0 {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::InvalidParameter, "TTL must not be negative")),
    }
}

/// WHERE of a rule: it must say the same of a row whoever asks, and whenever.
fn ttl_condition(binder: &mut Binder<'_>, text: &str, columns: &[OutputColumn]) -> Result<SqlExpr> {
    let expr = binder.bind_expr_over(&crate::parse::expr(text)?, columns)?;
    let expr = binder.coerce(expr, &Type::Bool, CoercionContext::Assignment)?;
    if !binder.is_immutable(&expr) {
        let message = "functions in a TTL condition must be immutable";
        return Err(Error::new(ErrorKind::InvalidDefinition, message)
            .with_detail("Its answer must depend on nothing but the row."));
    }
    Ok(SqlExpr { sql: text.to_string(), expr })
}

/// The column that rows expire by; `day` is set when only its date counts.
fn ttl_column(
    expr: &ast::Expr,
    columns: &[OutputColumn],
    day: &mut bool,
    refused: &dyn Fn() -> Error,
) -> Result<usize> {
    match expr {
        ast::Expr::Identifier(ident) => column(ident, columns),
        ast::Expr::Nested(inner) => ttl_column(inner, columns, day, refused),
        ast::Expr::Cast { expr, data_type, .. } => {
            *day |= matches!(data_type, ast::DataType::Date);
            ttl_column(expr, columns, day, refused)
        }
        ast::Expr::Function(function)
            if matches!(
                function.name.to_string().to_ascii_lowercase().as_str(),
                "todatetime" | "todatetime64" | "todate" | "date"
            ) =>
        {
            match arguments(function).as_deref() {
                Some([first, rest @ ..]) if rest.iter().all(|arg| is_constant(arg)) => {
                    *day |= matches!(function.name.to_string().to_ascii_lowercase().as_str(), "todate" | "date");
                    ttl_column(first, columns, day, refused)
                }
                _ => Err(refused()),
            }
        }
        _ => Err(refused()),
    }
}

/// ClickHouse's `toIntervalDay(90)` as `INTERVAL '90 day'`.
fn to_interval(expr: &ast::Expr) -> Option<String> {
    let ast::Expr::Function(function) = expr else { return None };
    let unit = function.name.to_string().to_ascii_lowercase().strip_prefix("tointerval")?.to_string();
    match arguments(function)?.as_slice() {
        [ast::Expr::Value(count)] => match &count.value {
            ast::Value::Number(count, _) => Some(format!("INTERVAL '{count} {unit}'")),
            _ => None,
        },
        _ => None,
    }
}
