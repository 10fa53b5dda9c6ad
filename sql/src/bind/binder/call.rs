//! Calls of functions and operators: which kind of function a name is, and what each kind becomes.

use sqlparser::ast::{
    self, DuplicateTreatment, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident,
};

use super::collate::together;
use super::combinator::Combined;
use super::names::{at, nearest};
use super::resolve::Resolved;
use super::scope::{Clause, SETS, SetCall};
use super::{Binder, CoercionContext};
use crate::catalog::{FunctionKind, Signature};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::names::fold;
use crate::plan::{Expr, ExprKind, Subquery, SubqueryKind};
use crate::types::Type;
use crate::value::Value;
use crate::walk;

/// ClickHouse's functions of time whose first argument is a unit.
const UNIT_FIRST: [&str; 10] = [
    "date_add",
    "dateadd",
    "date_sub",
    "datesub",
    "timestampadd",
    "timestamp_add",
    "timestampsub",
    "timestamp_sub",
    "datediff",
    "date_diff",
];

/// A function's name as it is looked up.
pub(super) struct CallName {
    /// As written, for messages.
    pub(super) shown: String,
    /// Lower case, without schema.
    pub(super) folded: String,
    /// As written, without schema: ClickHouse's names have capitals.
    pub(super) exact: String,
    /// With schema, lower case.
    pub(super) qualified: Option<String>,
    /// Where it stands.
    pub(super) ident: Ident,
}

impl CallName {
    pub(super) fn of(name: &ast::ObjectName) -> Result<CallName> {
        let parts: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        let Some(last) = parts.last() else {
            return Err(Error::new(ErrorKind::Unsupported, format!("function name {name} is not supported")));
        };
        let folded = fold(last);
        let qualified = (parts.len() > 1).then(|| format!("{}.{folded}", fold(parts[parts.len() - 2])));
        Ok(CallName {
            shown: qualified.clone().unwrap_or_else(|| folded.clone()),
            folded,
            exact: last.value.clone(),
            qualified,
            ident: parts[0].clone(),
        })
    }
}

impl<'a> Binder<'a> {
    /// All overloads that a name may mean.
    pub(super) fn overloads(&self, name: &CallName) -> &'a [Signature] {
        let functions = self.functions;
        let names = [name.qualified.as_deref(), Some(name.folded.as_str()), Some(name.exact.as_str())];
        names.into_iter().flatten().map(|name| functions.overloads(name)).find(|found| !found.is_empty()).unwrap_or(&[])
    }

    /// A call of a function or operator, by its name, over bound arguments.
    pub fn operator(&mut self, symbol: &str, args: Vec<Expr>) -> Result<Expr> {
        let signatures: &'a [Signature] = self.functions.overloads(symbol);
        let is_word = symbol.starts_with(|c: char| c.is_alphabetic() || c == '_');
        let args = if is_word { args } else { widen_real(args) };
        let describe = |args: &[Expr]| match (is_word, args) {
            (false, [one]) => format!("operator {symbol} {}", one.ty),
            (false, [left, right]) => format!("operator {} {symbol} {}", left.ty, right.ty),
            _ => format!("function {symbol}({})", type_list(args)),
        };
        let (described, operands) = (describe(&args).replacen("operator ", "", 1), args.len());
        let args = match self.time_arithmetic(symbol, args)? {
            Ok(done) => return Ok(done),
            Err(args) => args,
        };
        match self.resolve(signatures, args, !is_word, &|args| {
            describe(args).replacen("operator ", "operator is not unique: ", 1)
        })? {
            Some(resolved) => self.collated_call(symbol, resolved),
            None if is_word => Err(self.no_such_function(symbol, &described)),
            None => Err(Error::new(ErrorKind::UndefinedFunction, format!("operator does not exist: {described}"))
                .with_hint(match operands {
                    1 => "No operator matches the given name and argument type. You might need to add an explicit type cast.",
                    _ => "No operator matches the given name and argument types. You might need to add explicit type casts.",
                })),
        }
    }

    /// `now() - '5 minutes'`: an unknown literal beside a time is an interval in arithmetic, unless it is a time itself.
    fn time_arithmetic(&mut self, symbol: &str, args: Vec<Expr>) -> Result<std::result::Result<Expr, Vec<Expr>>> {
        if let ("+", [left, right]) = (symbol, args.as_slice())
            && matches!(left.ty, Type::Date | Type::Timestamp | Type::Timestamptz)
            && right.ty == Type::Unknown
        {
            let mut args = args;
            let Some(right) = args.pop() else { return Ok(Err(args)) };
            args.push(self.coerce(right, &Type::Interval, CoercionContext::Implicit)?);
            return self.operator(symbol, args).map(Ok);
        }
        Ok(Err(args))
    }

    /// A written call.
    pub(super) fn bind_function(&mut self, function: &ast::Function) -> Result<Expr> {
        let name = CallName::of(&function.name)?;
        let bound = self.bind_call(function, &name);
        bound.map_err(|error| at(error, &name.ident))
    }

    fn bind_call(&mut self, function: &ast::Function, name: &CallName) -> Result<Expr> {
        if let FunctionArguments::Subquery(query) = &function.args {
            if name.folded == "array" {
                return self.bind_array_subquery(query);
            }
            let plan = self.bind_subquery(query)?;
            let scalar = self.scalar_subquery(plan)?;
            return self.call_scalar(name, vec![scalar]);
        }
        if let Some(bound) = self.bind_clock(function, name)? {
            return Ok(bound);
        }
        if let Some(bound) = self.bind_gapfill(function, name)? {
            return Ok(bound);
        }
        if let Some(bound) = self.bind_window_part(function, name)? {
            return Ok(bound);
        }
        if let Some(bound) = self.bind_over_map(function, name)? {
            return Ok(bound);
        }
        if let Some(bound) = self.bind_form(function, name)? {
            return Ok(bound);
        }
        let signatures = self.overloads(name);
        if let Some(over) = &function.over {
            return self.bind_window(function, name, over);
        }
        if let Some(bound) = self.bind_neighbour(function, name)? {
            return Ok(bound);
        }
        match signatures.first().map(|signature| signature.kind) {
            Some(FunctionKind::Aggregate) => {
                let plain = Combined { signatures, combinator: None, condition: false };
                self.bind_aggregate(function, name, &plain)
            }
            Some(FunctionKind::Window) => {
                if let Some(bound) = self.bind_hypothetical(function, name)? {
                    return Ok(bound);
                }
                let message = format!("window function {} requires an OVER clause", name.shown);
                Err(Error::new(ErrorKind::WrongObjectType, message))
            }
            None if let Some(combined) = self.combined(name) => self.bind_aggregate(function, name, &combined),
            None if let Some((inner, default)) = self.rewritten(function, name) => {
                let bound = self.bind_function(&inner)?;
                match default {
                    false => Ok(bound),
                    true => self.or_default(bound),
                }
            }
            _ => self.bind_plain(function, name),
        }
    }

    /// `current_timestamp(n)` and its kin: the time with so many digits of a second.
    fn bind_clock(&mut self, function: &ast::Function, name: &CallName) -> Result<Option<Expr>> {
        let round = match name.folded.as_str() {
            "current_timestamp" => "timestamptz",
            "localtimestamp" => "timestamp",
            "localtime" => "time",
            _ => return Ok(None),
        };
        let FunctionArguments::List(list) = &function.args else { return Ok(None) };
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(digits))] = list.args.as_slice() else { return Ok(None) };
        let digits = self.bind_expr(digits)?;
        let now = self.call_scalar(name, Vec::new())?;
        self.operator(round, vec![now, digits]).map(Some)
    }

    fn bind_plain(&mut self, function: &ast::Function, name: &CallName) -> Result<Expr> {
        let refuse = |what: &str| {
            let message = format!("{what} specified, but {} is not an aggregate function", name.shown);
            Error::new(ErrorKind::WrongObjectType, message)
        };
        if function.filter.is_some() {
            return Err(refuse("FILTER"));
        }
        if !function.within_group.is_empty() {
            return Err(refuse("WITHIN GROUP"));
        }
        let mut list: Vec<&FunctionArg> = Vec::new();
        for arguments in [&function.parameters, &function.args] {
            let FunctionArguments::List(arguments) = arguments else { continue };
            if let Some(DuplicateTreatment::Distinct) = arguments.duplicate_treatment {
                return Err(refuse("DISTINCT"));
            }
            if arguments.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_))) {
                return Err(refuse("ORDER BY"));
            }
            list.extend(&arguments.args);
        }
        if super::lambda::is_taken_by(self.overloads(name))
            && let Some(args) = self.bind_with_lambda(&list, name)?
        {
            return self.call_scalar(name, args);
        }
        let mut args = Vec::with_capacity(list.len());
        let given = list.len();
        for arg in list {
            if name.folded == "make_interval"
                && let Some((index, expr)) = interval_part(arg)
            {
                // Its arguments all have a default, which is zero.
                while args.len() <= index {
                    args.push(Expr::literal(Value::int4(0)));
                }
                args[index] = self.bind_expr(expr)?;
                continue;
            }
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                    let word = match (name.folded.as_str(), given, args.len()) {
                        ("normalize", 2, 1) => normal_form(expr),
                        (_, 3, 0) => unit(name, expr),
                        _ => None,
                    };
                    match word {
                        Some(word) => args.push(Expr::literal(Value::text(&word))),
                        None => args.push(self.bind_expr(expr)?),
                    }
                }
                FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(table)) => {
                    args.push(self.bind_whole_row(table)?)
                }
                FunctionArg::Unnamed(_) => {
                    let message =
                        format!("{}(*) specified, but {} is not an aggregate function", name.shown, name.shown);
                    return Err(Error::new(ErrorKind::WrongObjectType, message));
                }
                FunctionArg::Named { name: label, .. } => {
                    let message = format!("function {} has no argument named \"{}\"", name.shown, fold(label));
                    return Err(Error::new(ErrorKind::UndefinedFunction, message));
                }
                FunctionArg::ExprNamed { name: label, .. } => {
                    let message = format!("function {} has no argument named \"{label}\"", name.shown);
                    return Err(Error::new(ErrorKind::UndefinedFunction, message));
                }
            }
        }
        // A date stays one, in days and what has whole ones.
        let of_days = |arg: &Expr| {
            super::special::text_of(arg)
                .is_some_and(|unit| matches!(unit.as_str(), "day" | "week" | "month" | "quarter" | "year"))
        };
        let stays = matches!(args.as_slice(), [unit, _, date] if date.ty == Type::Date && of_days(unit));
        let bound = self.call_scalar(name, args)?;
        match stays
            && matches!(bound.ty, Type::Timestamp | Type::Timestamptz)
            && UNIT_FIRST.contains(&name.folded.as_str())
        {
            true => self.coerce(bound, &Type::Date, CoercionContext::Explicit),
            false => Ok(bound),
        }
    }

    /// A call by name over bound arguments: a scalar function, a set-returning one, or a type's name used as a cast.
    pub(super) fn call_scalar(&mut self, name: &CallName, args: Vec<Expr>) -> Result<Expr> {
        let signatures = self.overloads(name);
        let described = format!("function {}({})", name.shown, type_list(&args));
        if signatures.is_empty()
            && let [_] = args.as_slice()
            && let Some(ty) = type_named(&name.folded)
        {
            let mut args = args;
            return match args.pop() {
                Some(arg) => self.coerce(arg, &ty, CoercionContext::Explicit),
                None => Err(Error::new(ErrorKind::UndefinedFunction, format!("{described} does not exist"))),
            };
        }
        let what = |args: &[Expr]| format!("function {}({})", name.shown, type_list(args));
        match self.resolve(signatures, args, false, &what)? {
            Some(resolved) if resolved.signature.kind == FunctionKind::Table => self.set_returning(name, resolved),
            Some(resolved) => self.collated_call(&name.shown_name(), resolved),
            None => Err(self.no_such_function(&name.folded, &described)),
        }
    }

    /// A set-returning function outside of FROM: a placeholder, made a `ProjectSet` once the query is bound.
    fn set_returning(&mut self, name: &CallName, resolved: Resolved) -> Result<Expr> {
        let Some(frame) = self.frames.last_mut() else {
            return Err(Error::new(ErrorKind::Unsupported, "set-returning functions are not allowed here"));
        };
        if frame.in_aggregate {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "aggregate function calls cannot contain set-returning function calls",
            ));
        }
        if !frame.clause.allows_sets() {
            let message = format!("set-returning functions are not allowed in {}", frame.clause.name());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let (ty, collating) = (resolved.ty.clone(), together(&resolved.args)?);
        let call =
            SetCall { function: resolved.signature.id, name: name.shown_name(), args: resolved.args, ty: ty.clone() };
        // ORDER BY and GROUP BY name what the SELECT list has.
        let known = match frame.clause {
            Clause::Select => None,
            _ => frame.sets.iter().position(|known| *known == call),
        };
        let index = known.unwrap_or_else(|| {
            frame.sets.push(call);
            frame.sets.len() - 1
        });
        Ok(Expr::column(SETS + index, ty).collated(collating))
    }

    pub(super) fn no_such_function(&self, name: &str, described: &str) -> Error {
        let error = Error::new(ErrorKind::UndefinedFunction, format!("{} does not exist", described));
        if !self.functions.overloads(name).is_empty() {
            return error.with_hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            );
        }
        let words = self.functions.names().into_iter().filter(|known| known.starts_with(|c: char| c.is_alphabetic()));
        match nearest(name, words) {
            Some(known) => error.with_hint(format!("Did you mean \"{known}\"?")),
            None => error.with_hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            ),
        }
    }

    /// `t.*` as an argument: the row.
    pub(super) fn bind_whole_row(&mut self, table: &ast::ObjectName) -> Result<Expr> {
        let parts: Vec<&Ident> = table.0.iter().filter_map(|part| part.as_ident()).collect();
        let names: Vec<String> = parts.iter().map(|ident| fold(ident)).collect();
        let (schema, name) = match names.as_slice() {
            [name] => (None, name.as_str()),
            [.., schema, name] => (Some(schema.as_str()), name.as_str()),
            [] => (None, ""),
        };
        for depth in 0..self.frames.len() {
            let frame = &self.frames[self.frames.len() - 1 - depth];
            if frame.open
                && let Some(table) = frame.scope.table(schema, name)
            {
                return Ok(walk::outward(&frame.scope.whole_row(table), depth));
            }
        }
        let error = self.missing_table(schema, name);
        Err(parts.first().map_or(error.clone(), |ident| at(error, ident)))
    }

    /// `ARRAY(SELECT …)`
    fn bind_array_subquery(&mut self, query: &ast::Query) -> Result<Expr> {
        let plan = self.bind_subquery(query)?;
        let [column] = plan.columns() else {
            return Err(Error::new(ErrorKind::Syntax, "subquery must return only one column"));
        };
        let (ty, collating) = (Type::Array(Box::new(column.ty.clone())), column.collating);
        let correlated = walk::is_correlated(&plan);
        let subquery = Subquery { kind: SubqueryKind::Array, plan, correlated };
        Ok(Expr::new(ExprKind::Subquery(Box::new(subquery)), ty).collated(collating))
    }

    /// Whether an expression says the same of a row whoever asks and whenever.
    pub fn is_immutable(&self, expr: &Expr) -> bool {
        crate::rules::is_immutable(expr, self.functions)
    }

    /// Whether an expression may differ between two evaluations over the same row.
    pub fn is_volatile(&self, expr: &Expr) -> bool {
        crate::rules::is_volatile(expr, self.functions)
    }
}

impl CallName {
    /// For plans: without `pg_catalog`.
    pub(super) fn shown_name(&self) -> String {
        if self.exact.eq_ignore_ascii_case(&self.folded) { self.exact.clone() } else { self.folded.clone() }
    }
}

/// The unit that the first argument of ClickHouse's `dateAdd(day, 1, t)` names without quotes.
fn unit(name: &CallName, expr: &ast::Expr) -> Option<String> {
    const UNITS: [&str; 10] =
        ["microsecond", "millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year"];
    let ast::Expr::Identifier(ident) = expr else { return None };
    let word = ident.value.to_lowercase();
    let names = ident.quote_style.is_none() && UNIT_FIRST.contains(&name.folded.as_str());
    (names && UNITS.contains(&word.as_str())).then_some(word)
}

/// The form that the second argument of normalize names.
fn normal_form(expr: &ast::Expr) -> Option<String> {
    let ast::Expr::Identifier(ident) = expr else { return None };
    let word = ident.value.to_uppercase();
    (ident.quote_style.is_none() && ["NFC", "NFD", "NFKC", "NFKD"].contains(&word.as_str())).then_some(word)
}

/// Which argument of make_interval a named argument is, and its value.
fn interval_part(arg: &FunctionArg) -> Option<(usize, &ast::Expr)> {
    let (label, expr) = match arg {
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => (name, expr),
        FunctionArg::ExprNamed { name: ast::Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
            (name, expr)
        }
        _ => return None,
    };
    let label = fold(label);
    let parts = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    parts.iter().position(|part| *part == label).map(|index| (index, expr))
}

/// Real beside another kind of number is computed as double precision, as Postgres's mixed operators do.
fn widen_real(args: Vec<Expr>) -> Vec<Expr> {
    let [left, right] = args.as_slice() else { return args };
    let other = |ty: &Type| ty.is_number() && *ty != Type::Float4;
    let (widen_left, widen_right) =
        (left.ty == Type::Float4 && other(&right.ty), right.ty == Type::Float4 && other(&left.ty));
    let widen = |expr: Expr, yes: bool| if yes { super::literal::cast(expr, Type::Float8, false) } else { expr };
    let mut args = args.into_iter();
    match (args.next(), args.next()) {
        (Some(left), Some(right)) => vec![widen(left, widen_left), widen(right, widen_right)],
        (left, right) => left.into_iter().chain(right).collect(),
    }
}

/// Types as messages list them.
pub(super) fn type_list(args: &[Expr]) -> String {
    let types: Vec<String> = args
        .iter()
        .map(|arg| match &arg.ty {
            // Postgres's messages leave modifiers out.
            Type::Numeric(_) => "numeric".to_string(),
            Type::Varchar(_) => "character varying".to_string(),
            Type::Bpchar(_) => "character".to_string(),
            ty => ty.to_string(),
        })
        .collect();
    types.join(", ")
}

/// A type by its one-word name, for `int4(x)` and `text(x)`.
fn type_named(name: &str) -> Option<Type> {
    Some(match name {
        "bool" | "boolean" => Type::Bool,
        "int2" | "smallint" => Type::Int2,
        "int4" | "int" | "integer" => Type::Int4,
        "int8" | "bigint" => Type::Int8,
        "float4" | "real" => Type::Float4,
        "float8" => Type::Float8,
        "numeric" | "decimal" => Type::Numeric(None),
        "text" => Type::Text,
        "varchar" => Type::Varchar(None),
        "bpchar" => Type::Bpchar(None),
        "name" => Type::Name,
        "date" => Type::Date,
        "time" => Type::Time,
        "timestamp" => Type::Timestamp,
        "timestamptz" => Type::Timestamptz,
        "interval" => Type::Interval,
        "uuid" => Type::Uuid,
        "json" => Type::Json,
        "jsonb" => Type::Jsonb,
        "bytea" => Type::Bytea,
        "oid" => Type::Oid,
        "regclass" => Type::Regclass,
        "regtype" => Type::Regtype,
        "regproc" => Type::Regproc,
        "regnamespace" => Type::Regnamespace,
        "regrole" => Type::Regrole,
        _ => return None,
    })
}
