//! ClickHouse's -State, -Merge, -MergeState and -SimpleState: aggregates that give their partial state, or that take states for rows; -ForEach,
//! -Array and -Resample, which spread one over elements or ranges; -OrNull, -OrDefault and -Distinct.
//!
//! They are suffixes of any aggregate's name, so that no list of functions has them. The type of a state says all that is needed to go on with it.

use sqlparser::ast;

use super::Binder;
use super::CoercionContext;
use super::call::CallName;
use super::resolve::{Resolved, overload_of};
use crate::catalog::{FunctionKind, Functions, Signature};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Combinator, Expr, ExprKind, Spread};
use crate::types::{StateType, Type};
use crate::value::Value;

/// What a name with a combinator means.
pub(super) struct Combined<'a> {
    /// The overloads of the aggregate.
    pub(super) signatures: &'a [Signature],
    /// `None` for -SimpleState, which is the aggregate itself.
    pub(super) combinator: Option<Combinator>,
    /// The name ends in -If: the last argument says which rows count.
    pub(super) condition: bool,
}

impl<'a> Binder<'a> {
    /// An aggregate's name with a combinator; `None` if this is none.
    pub(super) fn combined(&self, name: &CallName) -> Option<Combined<'a>> {
        const SUFFIXES: [(&str, Option<Combinator>); 7] = [
            ("mergestate", Some(Combinator::MergeState)),
            ("simplestate", None),
            ("state", Some(Combinator::State)),
            ("merge", Some(Combinator::Merge)),
            ("foreach", Some(Combinator::Spread(Spread::ForEach))),
            ("array", Some(Combinator::Spread(Spread::Array))),
            ("resample", Some(Combinator::Spread(Spread::Resample { start: 0, end: 0, step: 1 }))),
        ];
        let name = name.exact.to_ascii_lowercase();
        let (stem, condition) = name.strip_suffix("if").map_or((name.as_str(), false), |stem| (stem, true));
        SUFFIXES.iter().find_map(|(suffix, combinator)| {
            let signatures: &'a [Signature] = self.functions.overloads(stem.strip_suffix(suffix)?);
            let is_aggregate = signatures.first().is_some_and(|first| first.kind == FunctionKind::Aggregate);
            is_aggregate.then_some(Combined { signatures, combinator: combinator.clone(), condition })
        })
    }

    /// ClickHouse's -OrNull, -OrDefault and -Distinct, before -If or not: the call without it, and whether it is -OrDefault. Over no rows
    /// aggregates are NULL anyway.
    pub(super) fn rewritten(&self, function: &ast::Function, name: &CallName) -> Option<(ast::Function, bool)> {
        let folded = name.exact.to_ascii_lowercase();
        let (folded, condition) = folded.strip_suffix("if").map_or((folded.as_str(), ""), |stem| (stem, "If"));
        let (stem, suffix) = ["ordefault", "ornull", "distinct"]
            .into_iter()
            .find_map(|suffix| folded.strip_suffix(suffix).map(|stem| (stem, suffix)))?;
        let first = self.functions.overloads(stem).first()?;
        if first.kind != FunctionKind::Aggregate {
            return None;
        }
        let value = format!("{}{condition}", &name.exact[..stem.len()]);
        let ident = ast::Ident { value, ..name.ident.clone() };
        let mut call = ast::Function { name: ast::ObjectName::from(vec![ident]), ..function.clone() };
        if suffix == "distinct"
            && let ast::FunctionArguments::List(list) = &mut call.args
        {
            list.duplicate_treatment = Some(ast::DuplicateTreatment::Distinct);
        }
        Some((call, suffix == "ordefault"))
    }

    /// -Resample with the ranges that the last three parameters say, which are taken away.
    pub(super) fn ranges(&self, spread: Spread, params: &mut Vec<Value>) -> Result<Spread> {
        let Spread::Resample { .. } = spread else { return Ok(spread) };
        let wrong = |what: &str| Error::new(ErrorKind::InvalidParameter, what);
        let last = params.len().checked_sub(3).ok_or_else(|| wrong("-Resample takes a start, an end and a step"))?;
        let whole = |value: &Value| value.to_string().parse::<i64>();
        let numbers: Vec<i64> = params
            .drain(last..)
            .map(|value| whole(&value).map_err(|_| wrong("start, end and step of -Resample are whole numbers")))
            .collect::<Result<_>>()?;
        match numbers.as_slice() {
            [start, end, step] if *step > 0 => Ok(Spread::Resample { start: *start, end: *end, step: *step }),
            _ => Err(wrong("the step of -Resample must be above 0")),
        }
    }

    /// The overload of a call that is spread over elements or ranges. `None` if none fits.
    pub(super) fn spread(
        &mut self,
        spread: Spread,
        signatures: &[Signature],
        mut args: Vec<Expr>,
    ) -> Result<Option<Resolved>> {
        let key = match spread {
            Spread::Resample { .. } => args.pop(),
            Spread::ForEach | Spread::Array => None,
        };
        let of_arrays = !matches!(spread, Spread::Resample { .. });
        let mut types = Vec::with_capacity(args.len());
        for arg in &args {
            match &arg.ty {
                Type::Array(element) if of_arrays => types.push((**element).clone()),
                ty if !of_arrays => types.push(ty.clone()),
                _ => return Ok(None),
            }
        }
        if of_arrays && args.is_empty() {
            return Ok(None);
        }
        let Some((signature, types, ty)) = overload_of(signatures, &types) else { return Ok(None) };
        let list = |ty: Type| Type::Array(Box::new(ty));
        let mut adapted = Vec::with_capacity(args.len() + 1);
        for (arg, ty) in args.into_iter().zip(types) {
            let ty = if of_arrays { list(ty) } else { ty };
            adapted.push(self.coerce(arg, &ty, CoercionContext::Implicit)?);
        }
        match (key, of_arrays) {
            (Some(key), _) => adapted.push(self.coerce(key, &Type::Int8, CoercionContext::Assignment)?),
            (None, true) => {}
            (None, false) => return Ok(None),
        }
        let ty = if spread == Spread::Array { ty } else { list(ty) };
        Ok(Some(Resolved { signature, args: adapted, ty }))
    }

    /// The value, or its type's default in place of NULL.
    pub(super) fn or_default(&mut self, expr: Expr) -> Result<Expr> {
        let ty = expr.ty.clone();
        Ok(match crate::bind::ddl::zero(self, &ty)? {
            Some(zero) => Expr::new(ExprKind::Coalesce(vec![expr, zero.expr]), ty),
            None => expr,
        })
    }

    /// The aggregate that goes on with states of this type, if it is one of `signatures`, and the type of its result.
    pub(super) fn merged(&self, signatures: &[Signature], arg: &Expr) -> Option<(StateType, Signature, Type)> {
        let Type::State(state) = &arg.ty else { return None };
        let (function, _) = self.functions.aggregate(signatures.first()?.id);
        let (signature, _, ty) = state_overload(self.functions, state)?;
        (function == state.function).then_some(((**state).clone(), signature, ty))
    }
}

/// The overload that a state is of, the types of its arguments after casts, and the type of its result. `None` if there is none.
pub fn state_overload(functions: &dyn Functions, state: &StateType) -> Option<(Signature, Vec<Type>, Type)> {
    overload_of(functions.overloads(&state.function), &state.args)
}

/// The type of the states of a call: `args` are the types of its arguments, the condition of -If among them.
pub(crate) fn state_type(
    functions: &dyn Functions,
    signature: &Signature,
    params: &[Value],
    mut args: Vec<Type>,
) -> Result<Type> {
    let (function, condition) = functions.aggregate(signature.id);
    if condition {
        args.pop();
    }
    // What is counted makes no difference to a count.
    if function == "count" {
        args.clear();
    }
    let no_length = |ty: Type| if let Type::Varchar(_) = ty { Type::Text } else { ty };
    let params = params
        .iter()
        .map(|param| match param.ty {
            Type::Text | Type::Bool | Type::Int4 | Type::Int8 | Type::Float8 if !param.is_null() => {
                Ok(param.to_string())
            }
            _ => Err(not_constant(function)),
        })
        .collect::<Result<_>>()?;
    let args = args.into_iter().map(no_length).collect();
    Ok(Type::State(Box::new(StateType { function: function.to_string(), params, args })))
}

/// A type as it is written in DDL or a cast, with the states in it brought to their one form.
pub fn settled_type(functions: &dyn Functions, ty: &Type) -> Result<Type> {
    let Type::State(state) = ty else { return Ok(ty.clone()) };
    let mut state = state.clone();
    // What says which rows count is no part of their state, whatever type it has in ClickHouse.
    if let Some(first) = functions.overloads(&state.function).first()
        && let (function, true) = functions.aggregate(first.id)
    {
        state.function = function.to_string();
        state.args.pop();
    }
    let overload =
        state_overload(functions, &state).filter(|(signature, ..)| signature.kind == FunctionKind::Aggregate);
    let Some((signature, args, _)) = overload else {
        let types: Vec<String> = state.args.iter().map(Type::to_string).collect();
        let message = format!("aggregate function {}({}) does not exist", state.function, types.join(", "));
        return Err(Error::new(ErrorKind::UndefinedFunction, message));
    };
    state_type(functions, &signature, &params_of(&state)?, args)
}

/// The constant parameters of a state's aggregate.
pub fn params_of(state: &StateType) -> Result<Vec<Value>> {
    let value = |text: &String| {
        let quoted = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        match (quoted, text.as_str()) {
            (Some(quoted), _) => Some(Value::text(&quoted.replace("''", "'"))),
            (None, "true" | "false") => Some(Value::bool(text == "true")),
            (None, number) => match (number.parse::<i32>(), number.parse::<i64>()) {
                (Ok(small), _) => Some(Value::int4(small)),
                (_, Ok(large)) => Some(Value::int8(large)),
                _ => number.parse::<f64>().ok().map(Value::float8),
            },
        }
    };
    let known = |text: &String| value(text).ok_or_else(|| not_constant(&state.function));
    state.params.iter().map(known).collect()
}

fn not_constant(function: &str) -> Error {
    let message = format!("parameters of AggregateFunction({function}, …) must be numbers or texts");
    Error::new(ErrorKind::InvalidParameter, message)
}
