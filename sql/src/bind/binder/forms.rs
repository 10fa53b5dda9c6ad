//! Calls that are forms of the language: they choose among their arguments, so that no strict function can stand for them, or the
//! value of an argument decides the type of the result.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::call::CallName;
use super::coerce::odd_one;
use super::collate::together;
use super::combinator::state_overload;
use super::dictionary::lookup_of;
use super::expr::negate_if;
use super::literal::integer_value;
use super::place::locate;
use super::special::text_of;
use super::{Binder, CoercionContext};
use crate::catalog::FunctionKind;
use crate::error::{Error, ErrorKind, Result};
use crate::parse::datatype::nullable_type_named;
use crate::plan::{Expr, ExprKind};
use crate::types::{StateType, Type};
use crate::value::Value;

/// Their names, in lower case.
const FORMS: [&str; 33] = [
    "coalesce",
    "ifnull",
    "nullif",
    "row",
    "if",
    "multiif",
    "grouping",
    "isnull",
    "isnotnull",
    "iszeroornull",
    "and",
    "or",
    "xor",
    "not",
    "jsonextract",
    "jsonextractkeysandvalues",
    "todecimal32",
    "todecimal64",
    "todecimal128",
    "todecimal32ornull",
    "todecimal64ornull",
    "todecimal128ornull",
    "todecimal32orzero",
    "todecimal64orzero",
    "todecimal128orzero",
    "accuratecast",
    "accuratecastornull",
    "transform",
    "tuple",
    "arrayreduce",
    "list_aggregate",
    "array_aggregate",
    "map",
];

impl Binder<'_> {
    /// COALESCE, NULLIF, ROW, `if`, `multiIf`; `None` if the call is an ordinary one.
    pub(super) fn bind_form(&mut self, function: &ast::Function, name: &CallName) -> Result<Option<Expr>> {
        let lookup = lookup_of(&name.folded);
        let is_form = lookup.is_some() || FORMS.contains(&name.folded.as_str());
        if name.qualified.is_some() || !is_form || function.over.is_some() {
            return Ok(None);
        }
        let (mut args, mut written) = (Vec::new(), Vec::new());
        if let FunctionArguments::List(list) = &function.args {
            for arg in &list.args {
                match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                        args.push(self.bind_expr(expr)?);
                        written.push(expr);
                    }
                    FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(table)) => {
                        args.push(self.bind_whole_row(table)?);
                    }
                    other => {
                        let message = format!("argument {other} of {} is not supported", name.shown);
                        return Err(Error::new(ErrorKind::Unsupported, message));
                    }
                }
            }
        }
        if let Some(lookup) = lookup
            && let Some(bound) = self.bind_lookup(lookup, &args)?
        {
            return Ok(Some(bound));
        }
        match name.folded.as_str() {
            "coalesce" | "ifnull" if !args.is_empty() => {
                let odd = odd_one(&args).and_then(|odd| written.get(odd).copied());
                self.coalesce(args, "COALESCE").map(Some).map_err(|error| match odd {
                    Some(odd) => locate(error, odd),
                    None => error,
                })
            }
            "nullif" if args.len() == 2 => self.nullif(args).map(Some),
            "row" | "tuple" => Ok(Some(self.row(args))),
            "if" if args.len() == 3 => self.multi_if(args).map(Some),
            "multiif" if args.len() >= 3 && args.len() % 2 == 1 => self.multi_if(args).map(Some),
            "isnull" | "isnotnull" if args.len() == 1 => {
                let Some(arg) = args.pop() else { return Ok(None) };
                let arg = self.settle(arg)?;
                let is_null = Expr::new(ExprKind::IsNull(Box::new(arg)), Type::Bool);
                Ok(Some(negate_if(is_null, name.folded == "isnotnull")))
            }
            "iszeroornull" if args.len() == 1 => {
                let Some(arg) = args.pop() else { return Ok(None) };
                let is_zero = self.operator("=", vec![arg, Expr::literal(Value::int4(0))])?;
                let list = vec![is_zero, Expr::literal(Value::bool(true))];
                Ok(Some(Expr::new(ExprKind::Coalesce(list), Type::Bool)))
            }
            "and" | "or" | "xor" if args.len() >= 2 => self.logic(&name.folded, args).map(Some),
            "not" if args.len() == 1 => {
                let Some(arg) = args.pop() else { return Ok(None) };
                self.truth(arg, "NOT").map(|arg| Some(negate_if(arg, true)))
            }
            decimal if decimal.starts_with("todecimal") && args.len() == 2 => {
                let digits = match &decimal["todecimal".len()..][..2] {
                    "32" => 9,
                    "64" => 18,
                    _ => 38,
                };
                let scale = args.pop().as_ref().and_then(integer_value);
                let (Some(scale @ 0..=38), Some(arg)) = (scale, args.pop()) else {
                    let message = format!("the second argument of {} must be a number of digits", name.exact);
                    return Err(Error::new(ErrorKind::InvalidParameter, message));
                };
                // ClickHouse leaves off the digits that are too many.
                let arg = self.settle(arg)?;
                let ty = Type::Numeric(Some((digits, scale as i8)));
                let lenient = decimal.ends_with("ornull") || decimal.ends_with("orzero");
                let given = arg.clone();
                let exact = self.explicit_cast(arg, &Type::Numeric(None), lenient)?;
                let cut = self.operator("trunc", vec![exact, Expr::literal(Value::int4(scale as i32))])?;
                let value = self.explicit_cast(cut, &ty, lenient)?;
                if !decimal.ends_with("orzero") {
                    return Ok(Some(value));
                }
                let is_null = |expr: Expr| Expr::new(ExprKind::IsNull(Box::new(expr)), Type::Bool);
                let zero = self.coerce(Expr::literal(Value::int4(0)), &ty, CoercionContext::Explicit)?;
                // What was NULL stays so.
                let wrong =
                    Expr::new(ExprKind::And(vec![is_null(value.clone()), negate_if(is_null(given), true)]), Type::Bool);
                let branches = vec![(wrong, zero)];
                Ok(Some(Expr::new(ExprKind::Case { branches, otherwise: Some(Box::new(value)) }, ty)))
            }
            "accuratecast" | "accuratecastornull" if args.len() == 2 => {
                let text = args.pop().and_then(|arg| text_of(&arg));
                let (Some(text), Some(arg)) = (text, args.pop()) else {
                    let message = format!("the last argument of {} must be the name of a type, in quotes", name.exact);
                    return Err(Error::new(ErrorKind::InvalidParameter, message));
                };
                let (ty, _) = nullable_type_named(&text)?;
                let arg = self.settle(arg)?;
                self.explicit_cast(arg, &ty, name.folded == "accuratecastornull").map(Some)
            }
            "jsonextract" | "jsonextractkeysandvalues" if args.len() >= 2 => self.json_extract(name, args).map(Some),
            "arrayreduce" if args.len() >= 2 => self.array_reduce(args).map(Some),
            "list_aggregate" | "array_aggregate" if args.len() == 2 => {
                args.swap(0, 1);
                self.array_reduce(args).map(Some)
            }
            "transform" if matches!(args.len(), 3 | 4) => self.transform(args).map(Some),
            "map" => self.map_of(args, false).map(Some),
            "grouping" => self.grouping_call(args).map(Some),
            _ => Err(Error::new(ErrorKind::UndefinedFunction, format!("wrong number of arguments for {}", name.exact))),
        }
    }

    pub(super) fn coalesce(&mut self, args: Vec<Expr>, place: &str) -> Result<Expr> {
        let (mut args, ty) = self.unify(args, place)?;
        if args.len() == 1
            && let Some(one) = args.pop()
        {
            return Ok(one);
        }
        let collating = together(&args)?;
        Ok(Expr::new(ExprKind::Coalesce(args), ty).collated(collating))
    }

    /// `NULLIF(a, b)`: NULL where they are equal, a otherwise; of a's own type.
    fn nullif(&mut self, mut args: Vec<Expr>) -> Result<Expr> {
        let (Some(right), Some(left)) = (args.pop(), args.pop()) else {
            return Err(Error::new(ErrorKind::UndefinedFunction, "wrong number of arguments for nullif"));
        };
        let left = if left.ty == Type::Unknown && right.ty == Type::Unknown { self.settle(left)? } else { left };
        let equal = self.operator("=", vec![left.clone(), right])?;
        let left = self.settle(left)?;
        let (ty, collating) = (left.ty.clone(), left.collating);
        let branches = vec![(equal, Expr::literal(Value::null(ty.clone())))];
        Ok(Expr::new(ExprKind::Case { branches, otherwise: Some(Box::new(left)) }, ty).collated(collating))
    }

    /// A row of values, its fields named f1, f2, … as in Postgres. Literals among them may still be of any type.
    pub(super) fn row(&mut self, args: Vec<Expr>) -> Expr {
        let fields = args.iter().enumerate().map(|(i, arg)| (format!("f{}", i + 1), arg.ty.clone())).collect();
        Expr::new(ExprKind::Row(args), Type::Record(fields))
    }

    /// A condition of a logical function: numbers are true where they are not zero.
    fn truth(&mut self, arg: Expr, place: &str) -> Result<Expr> {
        if arg.ty.is_number() && arg.ty != Type::UInt8 {
            return self.operator("<>", vec![arg, Expr::literal(Value::int4(0))]);
        }
        self.coerce_condition(arg, place)
    }

    /// ClickHouse's `and(…)`, `or(…)`, `xor(…)`.
    fn logic(&mut self, word: &str, args: Vec<Expr>) -> Result<Expr> {
        let place = word.to_uppercase();
        let args: Result<Vec<Expr>> = args.into_iter().map(|arg| self.truth(arg, &place)).collect();
        let mut args = args?;
        Ok(match word {
            "and" => Expr::new(ExprKind::And(args), Type::Bool),
            "or" => Expr::new(ExprKind::Or(args), Type::Bool),
            _ => {
                let mut odd = args.remove(0);
                for arg in args {
                    odd = self.operator("<>", vec![odd, arg])?;
                }
                odd
            }
        })
    }

    /// ClickHouse's `JSONExtract(json, path…, 'Type')`: the type's name becomes whether it is Nullable, and a NULL of it, from which the function
    /// has the type of its result.
    fn json_extract(&mut self, name: &CallName, mut args: Vec<Expr>) -> Result<Expr> {
        let last = args.pop();
        let Some(text) = last.as_ref().and_then(text_of) else {
            let message = format!("the last argument of {} must be the name of a type, in quotes", name.exact);
            return Err(Error::new(ErrorKind::InvalidParameter, message));
        };
        let (ty, nullable) = nullable_type_named(&text)?;
        args.push(Expr::literal(Value::bool(nullable)));
        args.push(Expr::literal(Value::null(ty)));
        self.operator(&name.exact, args)
    }

    /// ClickHouse's `if` and `multiIf`: condition, value, condition, value, …, otherwise.
    fn multi_if(&mut self, args: Vec<Expr>) -> Result<Expr> {
        let (mut conditions, mut results) = (Vec::new(), Vec::new());
        let last = args.len() - 1;
        for (i, arg) in args.into_iter().enumerate() {
            if i % 2 == 0 && i != last {
                conditions.push(self.coerce_condition(arg, "multiIf")?);
            } else {
                results.push(arg);
            }
        }
        self.case(conditions, results, "multiIf")
    }

    /// ClickHouse's `arrayReduce('aggregate', array, …)`: a NULL of the type of its result is added, from which the function has it.
    fn array_reduce(&mut self, mut args: Vec<Expr>) -> Result<Expr> {
        let Some(name) = text_of(&args[0]) else {
            return Err(Error::new(ErrorKind::InvalidParameter, "the name of an aggregate is a constant"));
        };
        let mut elements = Vec::with_capacity(args.len() - 1);
        for arg in &mut args[1..] {
            *arg = self.settle(arg.clone())?;
            let Type::Array(element) = &arg.ty else {
                let message = format!("an aggregate of elements is over arrays, not over {}", arg.ty);
                return Err(Error::new(ErrorKind::DatatypeMismatch, message));
            };
            elements.push((**element).clone());
        }
        let state = StateType { function: name.clone(), params: Vec::new(), args: elements.clone() };
        let found = state_overload(self.functions, &state);
        let Some((_, casts, ty)) = found.filter(|(signature, ..)| signature.kind == FunctionKind::Aggregate) else {
            let types: Vec<String> = elements.iter().map(Type::to_string).collect();
            let message = format!("aggregate function {name}({}) does not exist", types.join(", "));
            return Err(Error::new(ErrorKind::UndefinedFunction, message));
        };
        for (arg, element) in args[1..].iter_mut().zip(casts) {
            *arg = self.coerce(arg.clone(), &Type::Array(Box::new(element)), CoercionContext::Implicit)?;
        }
        args.push(Expr::literal(Value::null(ty)));
        self.operator("arrayReduce", args)
    }

    /// ClickHouse's `transform(x, [from, …], [to, …], otherwise)`; without the last, what is not in the list stays as it is.
    fn transform(&mut self, args: Vec<Expr>) -> Result<Expr> {
        let (value, lists, otherwise) = (&args[0], [&args[1].kind, &args[2].kind], args.get(3).unwrap_or(&args[0]));
        let [ExprKind::Array(from), ExprKind::Array(to)] = lists else {
            let message = "the second and third argument of transform must be arrays of constants";
            return Err(Error::new(ErrorKind::InvalidParameter, message));
        };
        if from.len() != to.len() {
            let message = "the arrays of transform must have equal lengths";
            return Err(Error::new(ErrorKind::InvalidParameter, message));
        }
        let equal = |from: &Expr| self.operator("=", vec![value.clone(), from.clone()]);
        let conditions = from.iter().map(equal).collect::<Result<_>>()?;
        let results = to.iter().chain([otherwise]).cloned().collect();
        self.case(conditions, results, "transform")
    }

    /// CASE of bound conditions and results; one result more than conditions is the ELSE.
    pub(super) fn case(&mut self, conditions: Vec<Expr>, results: Vec<Expr>, place: &str) -> Result<Expr> {
        let (mut results, ty) = self.unify(results, place)?;
        let collating = together(&results)?;
        let otherwise = if results.len() > conditions.len() { results.pop().map(Box::new) } else { None };
        let branches = conditions.into_iter().zip(results).collect();
        Ok(Expr::new(ExprKind::Case { branches, otherwise }, ty).collated(collating))
    }
}
