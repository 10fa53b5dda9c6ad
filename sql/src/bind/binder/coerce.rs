//! Coercion of expressions to types, and the common type of several (UNION, CASE, VALUES, ARRAY, comparisons).
//!
//! What is still of type unknown (a bare string, NULL, an untyped parameter) takes the type it is coerced to; an untyped parameter keeps
//! it. Literals are converted here when that is plain arithmetic, so that plans show `amount > 5.00` and not a cast of a column.

use super::casts::{
    Category, can_cast, category, integer_digits, integer_width, is_preferred, same_base, wider_numeric,
};
use super::literal::{cast, convert, integer_value, literal_numeric};
use super::{Binder, CoercionContext};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Expr, ExprKind};
use crate::types::{MapType, Type};

impl Binder<'_> {
    /// The expression as one of exactly this type. An error is 42846, in the words of an explicit cast.
    pub fn coerce(&mut self, expr: Expr, target: &Type, context: CoercionContext) -> Result<Expr> {
        if expr.ty == *target {
            return Ok(expr);
        }
        let collating = expr.collating;
        Ok(self.coerced(expr, target, context)?.collated(collating))
    }

    fn coerced(&mut self, expr: Expr, target: &Type, context: CoercionContext) -> Result<Expr> {
        if expr.ty == Type::Unknown
            && let ExprKind::Parameter(index) = expr.kind
        {
            let decided = self.decide_parameter(index, target)?;
            let parameter = Expr::new(ExprKind::Parameter(index), decided);
            // For an unsigned column the client sends the next larger signed type.
            return self.coerce(parameter, target, context.max(CoercionContext::Assignment));
        }
        if let Some(literal) = convert(&expr, target) {
            // NULL and unknown go anywhere; a number only where its own type may go, or where nothing is lost.
            if expr.ty == Type::Unknown
                || can_cast(&expr.ty, target, CoercionContext::Assignment)
                || target.is_integer()
            {
                return Ok(literal);
            }
        }
        self.check_literal(&expr, target)?;
        if can_cast(&expr.ty, target, context) {
            return Ok(match (expr.kind, target) {
                // The elements of ARRAY[…] are cast one by one, as Postgres does.
                (ExprKind::Array(elements), Type::Array(element)) => {
                    let elements: Result<Vec<Expr>> =
                        elements.into_iter().map(|item| self.coerce(item, element, context)).collect();
                    Expr::new(ExprKind::Array(elements?), target.clone())
                }
                (ExprKind::Row(fields), Type::Record(types)) if fields.len() == types.len() => {
                    let fields: Result<Vec<Expr>> =
                        fields.into_iter().zip(types).map(|(field, (_, ty))| self.coerce(field, ty, context)).collect();
                    Expr::new(ExprKind::Row(fields?), target.clone())
                }
                (kind, _) => cast(Expr::new(kind, expr.ty), target.clone(), context == CoercionContext::Explicit),
            });
        }
        let (from, to) = (unmodified(&expr.ty), unmodified(target));
        Err(Error::new(ErrorKind::CannotCoerce, format!("cannot cast type {from} to {to}")))
    }

    /// A condition. `place` is the word of the message: `argument of WHERE must be type boolean, not type integer`.
    pub(super) fn coerce_condition(&mut self, expr: Expr, place: &str) -> Result<Expr> {
        let ty = expr.ty.clone();
        let context = if ty == Type::UInt8 { CoercionContext::Assignment } else { CoercionContext::Implicit };
        self.coerce(expr, &Type::Bool, context).map_err(|error| match error.kind {
            ErrorKind::InvalidText => error,
            _ => {
                let message = format!("argument of {place} must be type boolean, not type {ty}");
                Error::new(ErrorKind::DatatypeMismatch, message)
            }
        })
    }

    /// What is still unknown becomes text.
    pub(super) fn settle(&mut self, expr: Expr) -> Result<Expr> {
        let open = |ty: &Type| match ty {
            Type::Unknown => true,
            Type::Array(element) => **element == Type::Unknown,
            _ => false,
        };
        match &expr.ty {
            Type::Record(fields) if fields.iter().any(|(_, ty)| open(ty) || matches!(ty, Type::Record(_))) => {
                let ExprKind::Row(args) = expr.kind else { return Ok(expr) };
                let args: Result<Vec<Expr>> = args.into_iter().map(|arg| self.settle(arg)).collect();
                Ok(self.row(args?))
            }
            Type::Unknown => self.coerce(expr, &Type::Text, CoercionContext::Implicit),
            Type::Array(element) if **element == Type::Unknown => {
                self.coerce(expr, &Type::Array(Box::new(Type::Text)), CoercionContext::Implicit)
            }
            _ => Ok(expr),
        }
    }

    /// All of one type. `place` is the word of the message: `CASE types integer and text cannot be matched`.
    pub(super) fn unify(&mut self, exprs: Vec<Expr>, place: &str) -> Result<(Vec<Expr>, Type)> {
        let refs: Vec<&Expr> = exprs.iter().collect();
        let ty = common_type(&refs).map_err(|(a, b)| {
            Error::new(ErrorKind::DatatypeMismatch, format!("{place} types {a} and {b} cannot be matched"))
        })?;
        let exprs: Result<Vec<Expr>> =
            exprs.into_iter().map(|expr| self.coerce(expr, &ty, CoercionContext::Implicit)).collect();
        Ok((exprs?, ty))
    }

    /// The type of a parameter, when its context says so. Modifiers are not part of a parameter's type, and it is of a type that clients
    /// have.
    pub(super) fn decide_parameter(&mut self, index: usize, target: &Type) -> Result<Type> {
        let ty = match target.wire() {
            Type::Numeric(_) => Type::Numeric(None),
            Type::Varchar(_) => Type::Varchar(None),
            Type::Bpchar(_) => Type::Bpchar(None),
            other => other,
        };
        match &mut self.parameters[index] {
            Some(decided) if *decided != ty => Err(Error::new(
                ErrorKind::IndeterminateType,
                format!("inconsistent types deduced for parameter ${}", index + 1),
            )
            .with_detail(format!("{decided} versus {ty}"))),
            slot => {
                *slot = Some(ty.clone());
                Ok(ty)
            }
        }
    }
}

/// The type that all of these have in common, by Postgres's `select_common_type`; text if all are unknown. Integer literals count as the
/// smallest type they fit, where the others are unsigned or numeric. The error names the two types that do not go together.
pub(super) fn common_type(exprs: &[&Expr]) -> std::result::Result<Type, (Type, Type)> {
    let common = join_all(exprs)?;
    // Each value keeps the digits that it has: only where all have the same scale may the type say it.
    let scale = |ty: &Type| match ty {
        Type::Numeric(modifiers) => modifiers.map(|(_, scale)| scale),
        ty => ty.is_integer().then_some(0),
    };
    // A bare string may be any number, NaN too.
    let bare =
        |expr: &&Expr| expr.ty == Type::Unknown && !matches!(&expr.kind, ExprKind::Literal(value) if value.is_null());
    if matches!(common, Type::Numeric(_)) && exprs.iter().any(bare) {
        return Ok(Type::Numeric(None));
    }
    if let Type::Numeric(Some((_, common_scale))) = &common
        && !exprs.iter().filter(|e| e.ty != Type::Unknown).all(|e| scale(&e.ty) == Some(*common_scale))
    {
        return Ok(Type::Numeric(None));
    }
    Ok(common)
}

/// Which of these is the first that has no common type with those before it.
pub(super) fn odd_one(exprs: &[Expr]) -> Option<usize> {
    let refs: Vec<&Expr> = exprs.iter().collect();
    (1..refs.len()).find(|&odd| common_type(&refs[..=odd]).is_err())
}

fn join_all(exprs: &[&Expr]) -> std::result::Result<Type, (Type, Type)> {
    let mut known = exprs.iter().filter(|expr| expr.ty != Type::Unknown);
    let Some(first) = known.next() else { return Ok(Type::Text) };
    let mut common = Candidate::of(first);
    for expr in known {
        common = common.join(Candidate::of(expr))?;
    }
    Ok(common.ty)
}

/// A type as messages name it: without its modifiers.
fn unmodified(ty: &Type) -> String {
    match ty {
        Type::Numeric(_) => "numeric".into(),
        Type::Varchar(_) => "character varying".into(),
        Type::Bpchar(_) => "character".into(),
        ty => ty.to_string(),
    }
}

/// [`common_type`] for a comparison: real against another number is compared as double precision.
pub(super) fn comparison_type(exprs: &[&Expr]) -> std::result::Result<Type, (Type, Type)> {
    let ty = join_all(exprs)?;
    let mixed = exprs.iter().any(|expr| expr.ty.is_number() && expr.ty != Type::Float4);
    Ok(if ty == Type::Float4 && mixed { Type::Float8 } else { ty })
}

/// A type on its way to the common one, and what is known of the literals it stands for.
struct Candidate {
    ty: Type,
    /// Digits, for integer literals.
    digits: Option<(u8, i8)>,
    /// Least and greatest value, while only integer literals were seen.
    range: Option<(i128, i128)>,
}

impl Candidate {
    fn of(expr: &Expr) -> Candidate {
        let range = integer_value(expr).map(|value| (value, value));
        Candidate { ty: expr.ty.clone(), digits: literal_numeric(expr), range }
    }

    fn numeric(&self) -> Option<(u8, i8)> {
        match (&self.ty, self.digits) {
            (_, Some(digits)) => Some(digits),
            (Type::Numeric(modifiers), None) => *modifiers,
            (ty, None) => integer_digits(ty).map(|digits| (digits, 0)),
        }
    }

    fn fits(&self, ty: &Type) -> bool {
        match (self.range, integer_width(ty)) {
            (Some((least, greatest)), Some((bits, signed))) => {
                let limit = 1_i128 << bits;
                greatest < limit && least >= if signed { -limit } else { 0 }
            }
            _ => false,
        }
    }

    fn join(self, other: Candidate) -> std::result::Result<Candidate, (Type, Type)> {
        let plain = |ty: Type| Candidate { ty, digits: None, range: None };
        let range = match (self.range, other.range) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            _ => None,
        };
        let digits = match (self.digits, other.digits) {
            (Some(a), Some(b)) => Some(wider_numeric(a, b)),
            _ => None,
        };
        if self.ty == other.ty {
            return Ok(Candidate { ty: self.ty, digits, range });
        }
        if self.ty.is_integer() && other.ty.is_integer() {
            // A literal takes the other's type where it fits in it.
            if range.is_none() && self.fits(&other.ty) && integer_width(&other.ty).is_some_and(|(_, signed)| !signed) {
                return Ok(plain(other.ty));
            }
            if range.is_none() && other.fits(&self.ty) && integer_width(&self.ty).is_some_and(|(_, signed)| !signed) {
                return Ok(plain(self.ty));
            }
            return Ok(Candidate { ty: common_integer(&self.ty, &other.ty), digits, range });
        }
        let decimal = |ty: &Type| matches!(ty, Type::Numeric(_));
        if (decimal(&self.ty) && (decimal(&other.ty) || other.ty.is_integer()))
            || (decimal(&other.ty) && self.ty.is_integer())
        {
            let joined = match (self.numeric(), other.numeric()) {
                (Some(a), Some(b)) => Some(wider_numeric(a, b)),
                _ => None,
            };
            return Ok(Candidate { ty: Type::Numeric(joined), digits, range: None });
        }
        if same_base(&self.ty, &other.ty) {
            return Ok(plain(match (&self.ty, &other.ty) {
                (Type::Varchar(_), _) => Type::Varchar(None),
                (Type::Bpchar(_), _) => Type::Bpchar(None),
                (Type::Array(a), Type::Array(b)) => {
                    Type::Array(Box::new(plain((**a).clone()).join(plain((**b).clone()))?.ty))
                }
                _ => self.ty,
            }));
        }
        if let (Type::Map(a), Type::Map(b)) = (&self.ty, &other.ty) {
            let key = plain(a.key.clone()).join(plain(b.key.clone()))?.ty;
            let value = plain(a.value.clone()).join(plain(b.value.clone()))?.ty;
            return Ok(plain(Type::Map(Box::new(MapType { key, value, nullable: a.nullable || b.nullable }))));
        }
        if let (Type::Array(a), Type::Array(b)) = (&self.ty, &other.ty) {
            return match (&**a, &**b) {
                (Type::Unknown, _) => Ok(other),
                (_, Type::Unknown) => Ok(self),
                _ => Err((self.ty, other.ty)),
            };
        }
        let (a, b) = (category(&self.ty), category(&other.ty));
        let implicit = |from: &Type, to: &Type| can_cast(from, to, CoercionContext::Implicit);
        if a != b || a == Category::User && !implicit(&self.ty, &other.ty) && !implicit(&other.ty, &self.ty) {
            return Err((self.ty, other.ty));
        }
        if !is_preferred(&self.ty) && implicit(&self.ty, &other.ty) && !implicit(&other.ty, &self.ty) {
            return Ok(plain(other.ty));
        }
        if implicit(&other.ty, &self.ty) {
            // Two that go either way (text and name, oid and regclass): the first, as in Postgres.
            return Ok(plain(self.ty));
        }
        if implicit(&self.ty, &other.ty) {
            return Ok(plain(other.ty));
        }
        if a == Category::Text {
            return Ok(plain(Type::Text));
        }
        Err((self.ty, other.ty))
    }
}

/// The smallest integer type that holds every value of both; numeric(20,0) where there is none.
fn common_integer(a: &Type, b: &Type) -> Type {
    let (Some((a_bits, a_signed)), Some((b_bits, b_signed))) = (integer_width(a), integer_width(b)) else {
        return Type::Int8;
    };
    if a_signed == b_signed {
        return if a_bits >= b_bits { a.clone() } else { b.clone() };
    }
    match a_bits.max(b_bits) {
        ..=15 => Type::Int2,
        16..=31 => Type::Int4,
        32..=63 => Type::Int8,
        _ => Type::Numeric(Some((20, 0))),
    }
}
