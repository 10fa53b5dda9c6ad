//! Which overload a call means: Postgres's rules (`func_select_candidate`), over [`Functions::overloads`](crate::catalog::Functions).
//!
//! 1. Overloads that the arguments cannot be given to, by implicit casts, are out. An unknown literal can be given to any.
//! 2. The most exact matches win; then the most that are exact or a preferred type of their category.
//! 3. For unknown literals: text if any overload takes text there, else the category all agree on; within it, preferred types.
//! 4. Failing that, unknown literals are taken to be of the one type that the other arguments have.
//!
//! A polymorphic parameter counts as less than an exact match. Of overloads that still fit equally, the first declared is taken if its
//! match is polymorphic; otherwise the call is ambiguous (42725).

use super::Binder;
use super::CoercionContext;
use super::casts::{Category, can_cast, category, integer_digits, is_preferred, same_base};
use super::coerce::{common_type, comparison_type};
use super::literal::{integer_value, literal_numeric};
use crate::catalog::{FunctionKind, Param, Returns, Signature};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Expr, ExprKind};
use crate::types::Type;

/// A call's overload, and its arguments cast to it.
pub(super) struct Resolved {
    pub(super) signature: Signature,
    pub(super) args: Vec<Expr>,
    pub(super) ty: Type,
}

/// How well an argument fits a parameter; greater is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// By an implicit cast.
    Cast,
    /// By an implicit cast to its category's preferred type.
    Preferred,
    /// An unknown literal: anything fits.
    Unknown,
    /// A polymorphic parameter.
    Polymorphic,
    /// No cast.
    Exact,
}

impl Binder<'_> {
    /// The overload of `name` for these arguments; `None` if none fits. `operator` turns on the rule that an unknown operand is of the other's type.
    pub(super) fn resolve(
        &mut self,
        signatures: &[Signature],
        mut args: Vec<Expr>,
        operator: bool,
        what: &dyn Fn(&[Expr]) -> String,
    ) -> Result<Option<Resolved>> {
        if args.iter().any(|arg| matches!(arg.ty, Type::Record(_))) {
            let settled = args.into_iter().map(|arg| match arg.ty {
                Type::Record(_) => self.settle(arg),
                _ => Ok(arg),
            });
            args = settled.collect::<Result<_>>()?;
        }
        let Some(index) = choose(signatures, &args, operator).map_err(|()| {
            let what = what(&args);
            let message = if operator { what } else { format!("{what} is not unique") };
            Error::new(ErrorKind::AmbiguousFunction, message).with_hint(if operator {
                "Could not choose a best candidate operator. You might need to add explicit type casts."
            } else {
                "Could not choose a best candidate function. You might need to add explicit type casts."
            })
        })?
        else {
            return Ok(None);
        };
        let signature = signatures[index].clone();
        let comparison = operator && matches!(signature.returns, Returns::Exact(Type::Bool));
        let (args, element) = self.adapt(&signature, args, comparison)?;
        let types: Vec<Type> = args.iter().map(|arg| arg.ty.clone()).collect();
        let ty = result_type(&signature, &types, element);
        Ok(Some(Resolved { signature, args, ty }))
    }

    /// The arguments, cast to the parameters; and the common type of the `AnyElement` arguments.
    fn adapt(&mut self, signature: &Signature, args: Vec<Expr>, comparison: bool) -> Result<(Vec<Expr>, Option<Type>)> {
        let params: Vec<Param> = (0..args.len()).filter_map(|index| param(signature, index).cloned()).collect();
        let element = element_type(&params, &args, comparison);
        let makes_text = matches!(signature.returns, Returns::Exact(Type::Text));
        let mut adapted = Vec::with_capacity(args.len());
        for (arg, param) in args.into_iter().zip(&params) {
            if let Param::LambdaOf(wanted) = param {
                adapted.push(self.coerce_lambda(arg, wanted)?);
                continue;
            }
            let target = match param {
                // Blanks at the end of character(n) are no part of a text made of it.
                Param::Exact(Type::Text) if matches!(arg.ty, Type::Bpchar(_)) && makes_text => Type::Text,
                param => adapted_type(&arg, param, &element),
            };
            adapted.push(self.coerce(arg, &target, CoercionContext::Implicit)?);
        }
        Ok((adapted, element))
    }
}

/// The type that an argument is cast to.
fn adapted_type(arg: &Expr, param: &Param, element: &Option<Type>) -> Type {
    match param {
        Param::Exact(ty) => target_of(arg, ty),
        Param::AnyElement => element.clone().unwrap_or(Type::Text),
        Param::AnyArray => Type::Array(Box::new(element.clone().unwrap_or(Type::Text))),
        Param::Any | Param::AnyNonArray if arg.ty == Type::Unknown => Type::Text,
        Param::AnyInteger if arg.ty == Type::Unknown => Type::Int4,
        Param::AnyNumber if arg.ty == Type::Unknown => Type::Float8,
        Param::AnyTimestamp if arg.ty == Type::Unknown => Type::Timestamptz,
        _ => arg.ty.clone(),
    }
}

/// The type of a call's result; `types` are those of the arguments after casts.
fn result_type(signature: &Signature, types: &[Type], element: Option<Type>) -> Type {
    match &signature.returns {
        Returns::Exact(ty) => ty.clone(),
        Returns::Element => element.unwrap_or(Type::Text),
        Returns::ArrayOfElement => Type::Array(Box::new(element.unwrap_or(Type::Text))),
        Returns::Argument(index) => types.get(*index).cloned().unwrap_or(Type::Text),
        Returns::Computed(compute) => compute(types),
    }
}

/// The overload for arguments of these types, their types after casts, and the result's. `None` if none fits, or several do.
pub(crate) fn overload_of(signatures: &[Signature], types: &[Type]) -> Option<(Signature, Vec<Type>, Type)> {
    let args: Vec<Expr> = types.iter().enumerate().map(|(at, ty)| Expr::column(at, ty.clone())).collect();
    let signature = &signatures[choose(signatures, &args, false).ok()??];
    let params: Vec<Param> = (0..args.len()).filter_map(|index| param(signature, index).cloned()).collect();
    let element = element_type(&params, &args, false);
    let types: Vec<Type> = args.iter().zip(&params).map(|(arg, param)| adapted_type(arg, param, &element)).collect();
    let ty = result_type(signature, &types, element);
    Some((signature.clone(), types, ty))
}

/// The parameter that the argument at `index` is given to.
fn param(signature: &Signature, index: usize) -> Option<&Param> {
    signature.params.get(index).or_else(|| signature.params.last().filter(|_| signature.variadic))
}

fn takes(signature: &Signature, count: usize) -> bool {
    let least = signature.params.len() - signature.optional.min(signature.params.len());
    count >= least && (signature.variadic || count <= signature.params.len())
}

/// The type that an argument is cast to for a parameter of a fixed type. Any numeric meets numeric, any text meets text; integers become the
/// numeric of their own digits.
fn target_of(arg: &Expr, ty: &Type) -> Type {
    match ty {
        Type::Numeric(None) => match (&arg.ty, literal_numeric(arg)) {
            (Type::Numeric(_), _) => arg.ty.clone(),
            (_, Some(digits)) => Type::Numeric(Some(digits)),
            (integer, None) => Type::Numeric(integer_digits(integer).map(|digits| (digits, 0))),
        },
        Type::Text if arg.ty.is_text() && arg.ty != Type::Unknown => arg.ty.clone(),
        ty if same_base(&arg.ty, ty) => arg.ty.clone(),
        ty => ty.clone(),
    }
}

/// The common type of the arguments at `AnyElement`, and of the elements of those at `AnyArray`. `None` if there is none.
fn element_type(params: &[Param], args: &[Expr], comparison: bool) -> Option<Type> {
    let mut parts: Vec<Expr> = Vec::new();
    for (param, arg) in params.iter().zip(args) {
        match (param, &arg.ty) {
            (Param::AnyElement, _) => parts.push(arg.clone()),
            // Only the element's type matters here.
            (Param::AnyArray, Type::Array(element)) => parts.push(Expr::column(0, (**element).clone())),
            _ => {}
        }
    }
    let refs: Vec<&Expr> = parts.iter().collect();
    if refs.is_empty() {
        return None;
    }
    if comparison { comparison_type(&refs) } else { common_type(&refs) }.ok()
}

pub(super) fn fit(param: &Param, arg: &Expr) -> Option<Fit> {
    let ty = &arg.ty;
    match (param, &arg.kind) {
        (Param::Lambda, ExprKind::Lambda(_)) => return Some(Fit::Polymorphic),
        (Param::LambdaOf(wanted), ExprKind::Lambda(lambda)) => return super::lambda::fits(&lambda.body, wanted),
        (Param::Lambda | Param::LambdaOf(_), _) | (_, ExprKind::Lambda(_)) => return None,
        _ if *ty == Type::Unknown => return Some(Fit::Unknown),
        _ => {}
    }
    match param {
        Param::Exact(wanted) if same_base(ty, wanted) => Some(Fit::Exact),
        Param::Exact(wanted) => {
            // A literal that fits may become unsigned.
            let literal = || {
                let fits = super::literal::convert(arg, wanted).is_some();
                integer_value(arg).is_some()
                    && wanted.is_integer()
                    && !matches!(wanted, Type::Int2 | Type::Int4)
                    && fits
            };
            if can_cast(ty, wanted, CoercionContext::Implicit) {
                Some(if is_preferred(wanted) { Fit::Preferred } else { Fit::Cast })
            } else {
                literal().then_some(Fit::Cast)
            }
        }
        Param::Any | Param::AnyElement => Some(Fit::Polymorphic),
        Param::AnyNonArray => (!matches!(ty, Type::Array(_))).then_some(Fit::Polymorphic),
        Param::AnyArray => matches!(ty, Type::Array(_)).then_some(Fit::Polymorphic),
        Param::AnyInteger => ty.is_integer().then_some(Fit::Exact),
        Param::AnyNumber => ty.is_number().then_some(Fit::Exact),
        Param::AnyTimestamp => matches!(ty, Type::Date | Type::Timestamp | Type::Timestamptz).then_some(Fit::Exact),
        Param::AnyState => matches!(ty, Type::State(_)).then_some(Fit::Exact),
        Param::AnyMap => matches!(ty, Type::Map(_)).then_some(Fit::Exact),
        Param::Lambda | Param::LambdaOf(_) => None,
    }
}

/// The index of the chosen signature; `None` if none fits, an error if several fit equally.
fn choose(signatures: &[Signature], args: &[Expr], operator: bool) -> std::result::Result<Option<usize>, ()> {
    if operator && let [left, right] = args {
        // One unknown operand: first see if there is an operator for twice the known type.
        let known = match (&left.ty, &right.ty) {
            (Type::Unknown, known) | (known, Type::Unknown) if *known != Type::Unknown => Some(known),
            _ => None,
        };
        if let Some(known) = known {
            let both = |signature: &Signature| {
                let exact = |param: &Param| matches!(param, Param::Exact(ty) if same_base(ty, known));
                signature.params.len() == 2 && signature.params.iter().all(exact)
            };
            if let Some(index) = signatures.iter().position(both) {
                return Ok(Some(index));
            }
        }
    }

    let mut candidates: Vec<(usize, Vec<Fit>)> = Vec::new();
    for (index, signature) in signatures.iter().enumerate() {
        if !takes(signature, args.len()) {
            continue;
        }
        let fits: Option<Vec<Fit>> =
            args.iter().enumerate().map(|(i, arg)| param(signature, i).and_then(|param| fit(param, arg))).collect();
        let Some(fits) = fits else { continue };
        let params: Vec<Param> = (0..args.len()).filter_map(|i| param(signature, i).cloned()).collect();
        let polymorphic = params.iter().any(|param| matches!(param, Param::AnyElement | Param::AnyArray));
        let comparison = operator && matches!(signature.returns, Returns::Exact(Type::Bool));
        let element = if polymorphic { element_type(&params, args, comparison) } else { None };
        // json has no order and no equality.
        if comparison && element == Some(Type::Json) {
            continue;
        }
        if polymorphic && !args.is_empty() && element.is_none() {
            // Arrays given as unknown literals alone decide nothing; anything else that has no common type does not fit.
            let undecided = params
                .iter()
                .zip(args)
                .all(|(param, arg)| !matches!(param, Param::AnyElement | Param::AnyArray) || arg.ty == Type::Unknown);
            if !undecided {
                continue;
            }
        }
        candidates.push((index, fits));
    }
    if candidates.len() <= 1 {
        return Ok(candidates.first().map(|(index, _)| *index));
    }

    let keep_best = |candidates: &mut Vec<(usize, Vec<Fit>)>, score: &dyn Fn(&[Fit]) -> usize| {
        let best = candidates.iter().map(|(_, fits)| score(fits)).max().unwrap_or(0);
        candidates.retain(|(_, fits)| score(fits) == best);
    };
    let count = |fits: &[Fit], test: &dyn Fn(Fit) -> bool| fits.iter().filter(|fit| test(**fit)).count();
    keep_best(&mut candidates, &|fits| count(fits, &|fit| fit == Fit::Exact));
    if candidates.len() > 1 {
        keep_best(&mut candidates, &|fits| count(fits, &|fit| fit >= Fit::Preferred && fit != Fit::Unknown));
    }
    if candidates.len() > 1 {
        by_category(signatures, args, &mut candidates);
    }
    if candidates.len() > 1 {
        by_known_type(signatures, args, &mut candidates);
    }
    if candidates.len() > 1 {
        // An unknown literal rather goes to a parameter with a type of its own than to one that takes anything.
        let typed = |(index, _): &(usize, Vec<Fit>)| {
            let own = |i: &usize| matches!(param(&signatures[*index], *i), Some(Param::Exact(_)));
            (0..args.len()).filter(|i| args[*i].ty == Type::Unknown).filter(own).count()
        };
        let best = candidates.iter().map(typed).max().unwrap_or(0);
        candidates.retain(|candidate| typed(candidate) == best);
    }
    let polymorphic = |(_, fits): &(usize, Vec<Fit>)| fits.contains(&Fit::Polymorphic);
    match candidates.as_slice() {
        [] => Ok(None),
        [(index, _)] => Ok(Some(*index)),
        several if several.iter().any(polymorphic) || same_signature(signatures, several) => Ok(Some(several[0].0)),
        several if several.iter().all(|(index, _)| signatures[*index].kind != FunctionKind::Scalar) => {
            Ok(Some(several[0].0))
        }
        // Several integers and none better: the narrowest that was declared first.
        several if args.iter().all(|arg| arg.ty != Type::Unknown) => Ok(Some(several[0].0)),
        _ => Err(()),
    }
}

/// Overloads that differ in what may be left off are the same for these arguments.
fn same_signature(signatures: &[Signature], several: &[(usize, Vec<Fit>)]) -> bool {
    several.iter().all(|(index, _)| signatures[*index].params.first() == signatures[several[0].0].params.first())
        && several.iter().all(|(index, _)| signatures[*index].params.len() != signatures[several[0].0].params.len())
}

/// What a parameter would make of an unknown literal; `beside_array` if another argument is an array.
fn unknown_as(param: &Param, beside_array: bool) -> Type {
    match param {
        // A bare string is no array unless what it stands beside is one.
        Param::AnyArray if !beside_array => Type::Array(Box::new(Type::Text)),
        Param::Exact(ty) => ty.clone(),
        Param::AnyInteger => Type::Int4,
        Param::AnyNumber => Type::Float8,
        Param::AnyTimestamp => Type::Timestamptz,
        Param::Any
        | Param::AnyNonArray
        | Param::AnyElement
        | Param::AnyArray
        | Param::AnyState
        | Param::AnyMap
        | Param::Lambda
        | Param::LambdaOf(_) => Type::Text,
    }
}

fn by_category(signatures: &[Signature], args: &[Expr], candidates: &mut Vec<(usize, Vec<Fit>)>) {
    let beside_array = args.iter().any(|arg| matches!(arg.ty, Type::Array(_)));
    let unknown_as = |param: &Param| unknown_as(param, beside_array);
    for (i, arg) in args.iter().enumerate() {
        if arg.ty != Type::Unknown || candidates.len() <= 1 {
            continue;
        }
        let types: Vec<Type> =
            candidates.iter().filter_map(|(index, _)| param(&signatures[*index], i).map(&unknown_as)).collect();
        let wanted = if types.iter().any(|ty| category(ty) == Category::Text) {
            Category::Text
        } else if types.iter().all(|ty| category(ty) == category(&types[0])) {
            category(&types[0])
        } else {
            continue;
        };
        let at = |index: usize| param(&signatures[index], i).map_or(Type::Unknown, &unknown_as);
        let fitting: Vec<_> = candidates.iter().filter(|(index, _)| category(&at(*index)) == wanted).cloned().collect();
        let preferred: Vec<_> = fitting.iter().filter(|(index, _)| is_preferred(&at(*index))).cloned().collect();
        *candidates = if preferred.is_empty() { fitting } else { preferred };
    }
}

fn by_known_type(signatures: &[Signature], args: &[Expr], candidates: &mut Vec<(usize, Vec<Fit>)>) {
    let mut known = args.iter().map(|arg| &arg.ty).filter(|ty| **ty != Type::Unknown);
    let Some(first) = known.next() else { return };
    if !known.all(|ty| same_base(ty, first)) {
        return;
    }
    let accepts = |index: usize| {
        (0..args.len()).all(|i| match param(&signatures[index], i) {
            Some(Param::Exact(ty)) => same_base(ty, first) || can_cast(first, ty, CoercionContext::Implicit),
            Some(_) => true,
            None => false,
        })
    };
    let fitting: Vec<_> = candidates.iter().filter(|(index, _)| accepts(*index)).cloned().collect();
    if fitting.len() == 1 {
        *candidates = fitting;
    }
}
