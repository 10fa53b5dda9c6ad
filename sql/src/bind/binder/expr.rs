//! Expressions: one function for each form of the syntax tree, all leading to operators, calls and the few forms of [`ExprKind`].

use sqlparser::ast::{self, BinaryOperator, CastKind, UnaryOperator};

use super::coerce::odd_one;
use super::collate::together;
use super::literal::number;
use super::place::locate;
use super::scope::Clause;
use super::{Binder, CoercionContext, settled_type};
use crate::error::{Error, ErrorKind, Result};
use crate::parse::datatype::type_of;
use crate::plan::{Expr, ExprKind};
use crate::types::Type;
use crate::value::Value;

impl Binder<'_> {
    /// An expression over the innermost frame. Its type may still be unknown.
    pub(super) fn bind_expr(&mut self, expr: &ast::Expr) -> Result<Expr> {
        self.depth += 1;
        let bound = if self.depth > super::DEPTH_MAX {
            Err(Error::new(ErrorKind::Unsupported, "the expression is nested too deeply"))
        } else {
            self.bind_form_of(expr)
        };
        self.depth -= 1;
        bound.map_err(|error| self.at_expression(error, expr))
    }

    fn bind_form_of(&mut self, expr: &ast::Expr) -> Result<Expr> {
        use ast::Expr as E;
        match expr {
            E::Identifier(ident) => self.bind_name(ident),
            E::CompoundIdentifier(parts) => self.bind_compound(parts),
            E::CompoundFieldAccess { root, access_chain } => self.bind_access(root, access_chain),
            E::Value(value) => self.bind_literal_at(value),
            E::Nested(inner) if let Some(value) = only_value(inner)? => self.bind_expr(value),
            E::Nested(inner) => self.bind_expr(inner),
            E::Collate { expr, collation } => self.bind_collate(expr, collation),
            E::Function(function) => self.bind_function(function),
            E::BinaryOp { .. } => self.bind_binary_chain(expr),
            E::UnaryOp { op, expr } => self.bind_unary(*op, expr),
            E::Cast { kind, expr, data_type, .. } => {
                let ty = settled_type(self.functions, &type_of(data_type)?)?;
                let value = self.bind_cast(expr, &ty, matches!(kind, CastKind::TryCast | CastKind::SafeCast))?;
                self.with_fraction(value, data_type)
            }
            E::TypedString(typed) => {
                let ty = type_of(&typed.data_type)?;
                let value = self.bind_literal_at(&typed.value)?;
                let value = self.coerce(value, &ty, CoercionContext::Explicit)?;
                self.with_fraction(value, &typed.data_type)
            }
            E::Interval(interval) => self.bind_interval(interval),
            E::IsNull(inner) => self.bind_is_null(inner),
            E::IsNotNull(inner) => self.bind_is_not_null(inner),
            E::IsTrue(inner) => self.bind_is(inner, false, "IS TRUE"),
            E::IsNotTrue(inner) => self.bind_is(inner, false, "IS NOT TRUE").map(not),
            E::IsFalse(inner) => self.bind_is(inner, true, "IS FALSE").map(not),
            E::IsNotFalse(inner) => self.bind_is(inner, true, "IS NOT FALSE"),
            E::IsUnknown(inner) => self.bind_is_unknown(inner),
            E::IsNotUnknown(inner) => self.bind_is_unknown(inner).map(not),
            E::IsDistinctFrom(left, right) => self.bind_distinct(left, right),
            E::IsNotDistinctFrom(left, right) => self.bind_distinct(left, right).map(not),
            E::In { expr, target, negated, .. } => self.bind_in(expr, target).map(|bound| negate_if(bound, *negated)),
            E::Between { expr, negated, low, high } => {
                let (value, low, high) = (self.bind_expr(expr)?, self.bind_expr(low)?, self.bind_expr(high)?);
                let above = self.operator(">=", vec![value.clone(), low])?;
                let below = self.operator("<=", vec![value, high])?;
                Ok(negate_if(Expr::new(ExprKind::And(vec![above, below]), Type::Bool), *negated))
            }
            E::Like { negated, any, expr, pattern, escape_char } => {
                self.bind_like("~~", expr, pattern, escape_char.as_deref(), *any, *negated)
            }
            E::ILike { negated, any, expr, pattern, escape_char } => {
                self.bind_like("~~*", expr, pattern, escape_char.as_deref(), *any, *negated)
            }
            E::SimilarTo { negated, expr, pattern, escape_char } => {
                self.bind_similar(expr, pattern, escape_char.as_deref()).map(|bound| negate_if(bound, *negated))
            }
            E::RLike { negated, expr, pattern, .. } => {
                let args = vec![self.bind_expr(expr)?, self.bind_expr(pattern)?];
                self.operator("~", args).map(|bound| negate_if(bound, *negated))
            }
            E::AnyOp { left, compare_op, right, .. } => self.bind_quantified(left, compare_op, right, false),
            E::AllOp { left, compare_op, right } => self.bind_quantified(left, compare_op, right, true),
            E::Case { operand, conditions, else_result, .. } => {
                self.bind_case(operand.as_deref(), conditions, else_result.as_deref())
            }
            E::Exists { subquery, negated } => self.bind_exists(subquery).map(|bound| negate_if(bound, *negated)),
            E::Subquery(query) => {
                let plan = self.bind_subquery(query)?;
                self.scalar_subquery(plan)
            }
            E::Tuple(items) => {
                let items = self.bind_list(items)?;
                Ok(self.row(items))
            }
            // In VALUES an empty list becomes an array of what its column holds.
            E::Array(array)
                if array.elem.is_empty()
                    && !array.named
                    && self.frames.last().is_some_and(|frame| matches!(frame.clause, Clause::Values)) =>
            {
                Ok(Expr::literal(Value::unknown("{}")))
            }
            E::Array(array) => {
                let items = self.bind_list(&array.elem)?;
                let odd = odd_one(&items);
                self.array(items).map_err(|error| match odd {
                    Some(odd) => locate(error, &array.elem[odd]),
                    None => error,
                })
            }
            // ClickHouse's map; DuckDB's says NULL of what is not there.
            E::Dictionary(fields) if fields.is_empty() => Ok(Expr::literal(Value::unknown("{}"))),
            E::Dictionary(fields) => {
                let mut args = Vec::with_capacity(fields.len() * 2);
                for field in fields {
                    args.push(Expr::literal(Value::unknown(&field.key.value)));
                    args.push(self.bind_expr(&field.value)?);
                }
                self.map_of(args, false)
            }
            E::Map(map) => {
                let mut args = Vec::with_capacity(map.entries.len() * 2);
                for entry in &map.entries {
                    args.push(self.bind_expr(&entry.key)?);
                    args.push(self.bind_expr(&entry.value)?);
                }
                self.map_of(args, true)
            }
            E::AtTimeZone { timestamp, time_zone } => {
                let args = vec![self.bind_expr(time_zone)?, self.bind_expr(timestamp)?];
                self.operator("timezone", args)
            }
            E::Extract { field, expr, .. } => {
                let field = field.to_string();
                let field = field.trim_matches('\'').to_lowercase();
                let args = vec![Expr::literal(Value::text(&field)), self.bind_expr(expr)?];
                self.operator("extract", args)
            }
            E::Ceil { expr, field } => self.bind_rounding("ceil", expr, field),
            E::Floor { expr, field } => self.bind_rounding("floor", expr, field),
            E::Position { expr, r#in } => {
                // position(a in b) is position(b, a).
                let args = vec![self.bind_expr(r#in)?, self.bind_expr(expr)?];
                self.operator("position", args)
            }
            E::Substring { expr, substring_from, substring_for, .. } => {
                self.bind_substring(expr, substring_from.as_deref(), substring_for.as_deref())
            }
            E::Trim { expr, trim_where, trim_what, trim_characters } => {
                self.bind_trim(expr, trim_where.as_ref(), trim_what.as_deref(), trim_characters.as_deref())
            }
            E::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut args =
                    vec![self.bind_expr(expr)?, self.bind_expr(overlay_what)?, self.bind_expr(overlay_from)?];
                if let Some(length) = overlay_for {
                    args.push(self.bind_expr(length)?);
                }
                self.operator("overlay", args)
            }
            E::IsNormalized { expr, form, negated } => {
                let text = self.bind_expr(expr)?;
                let form = form.as_ref().map_or_else(|| "NFC".to_string(), ToString::to_string);
                let normal = self.operator("normalize", vec![text.clone(), Expr::literal(Value::text(&form))])?;
                self.operator(if *negated { "<>" } else { "=" }, vec![normal, text])
            }
            E::IsJson { .. } | E::GroupingSets(_) | E::Cube(_) | E::Rollup(_) => {
                Err(Error::new(ErrorKind::Unsupported, format!("{expr} is not supported yet")))
            }
            E::Wildcard(_) | E::QualifiedWildcard(..) => {
                Err(Error::new(ErrorKind::Syntax, format!("{expr} is not allowed here")))
            }
            other => Err(Error::new(ErrorKind::Unsupported, format!("{other} is not supported"))),
        }
    }

    pub(super) fn bind_list(&mut self, exprs: &[ast::Expr]) -> Result<Vec<Expr>> {
        exprs.iter().map(|expr| self.bind_expr(expr)).collect()
    }

    /// `CAST`, `::`, `TRY_CAST`.
    fn bind_cast(&mut self, inner: &ast::Expr, ty: &Type, lenient: bool) -> Result<Expr> {
        // ARRAY[]::int[] has its type from the cast.
        if let (ast::Expr::Array(array), Type::Array(element)) = (inner, ty) {
            let items = self.bind_list(&array.elem)?;
            if !items.iter().any(|item| matches!(item.ty, Type::Array(_))) {
                let items: Result<Vec<Expr>> =
                    items.into_iter().map(|item| self.coerce(item, element, CoercionContext::Explicit)).collect();
                return Ok(Expr::new(ExprKind::Array(items?), ty.clone()));
            }
        }
        let bound = self.bind_expr(inner)?;
        self.explicit_cast(bound, ty, lenient)
    }

    /// A cast that the user wrote. A numeric keeps its static scale when cast to plain numeric, which changes no value.
    pub(super) fn explicit_cast(&mut self, bound: Expr, ty: &Type, lenient: bool) -> Result<Expr> {
        let numeric = super::literal::literal_numeric(&bound)
            .or_else(|| super::casts::integer_digits(&bound.ty).map(|digits| (digits, 0)));
        let ty = &match (ty, &bound.ty, numeric) {
            (Type::Numeric(None), Type::Numeric(_), _) => return Ok(bound),
            (Type::Numeric(None), from, Some(digits)) if from.is_integer() => Type::Numeric(Some(digits)),
            _ => ty.clone(),
        };
        let mut bound = bound;
        if lenient && bound.ty != *ty {
            if matches!(bound.kind, ExprKind::Parameter(_)) {
                bound = self.settle(bound)?;
            }
            if super::casts::can_cast(&bound.ty, ty, CoercionContext::Explicit) {
                let kind = ExprKind::Cast { expr: Box::new(bound), explicit: true, lenient: true };
                return Ok(Expr::new(kind, ty.clone()));
            }
        }
        self.coerce(bound, ty, CoercionContext::Explicit)
    }

    fn bind_unary(&mut self, op: UnaryOperator, inner: &ast::Expr) -> Result<Expr> {
        if let (UnaryOperator::Minus, ast::Expr::Value(value)) = (op, inner)
            && let ast::Value::Number(digits, _) = &value.value
        {
            return number(&format!("-{digits}"));
        }
        // The sign binds tighter than ^, which the parser does not know.
        if let (UnaryOperator::Minus, Some(powers)) = (op, negated_base(inner)) {
            return self.bind_expr(&powers);
        }
        let bound = self.bind_expr(inner)?;
        match op {
            UnaryOperator::Not => self.coerce_condition(bound, "NOT").map(not).map_err(|error| locate(error, inner)),
            // Postgres takes a lone sign before an unknown literal as double precision.
            UnaryOperator::Minus | UnaryOperator::Plus if bound.ty == Type::Unknown => {
                let bound = self.coerce(bound, &Type::Float8, CoercionContext::Implicit)?;
                self.operator(if op == UnaryOperator::Minus { "-" } else { "+" }, vec![bound])
            }
            UnaryOperator::Plus if bound.ty.is_number() => Ok(bound),
            UnaryOperator::Plus => self.operator("+", vec![bound]),
            UnaryOperator::Minus => self.operator("-", vec![bound]),
            UnaryOperator::BitwiseNot => self.operator("~", vec![bound]),
            UnaryOperator::PGAbs => self.operator("@", vec![bound]),
            UnaryOperator::PGSquareRoot => self.operator("|/", vec![bound]),
            UnaryOperator::PGCubeRoot => self.operator("||/", vec![bound]),
            other => {
                Err(Error::new(ErrorKind::UndefinedFunction, format!("operator does not exist: {other} {}", bound.ty)))
            }
        }
    }

    /// A run of binary operators that leans left (`a OR b OR c …`), bound without recursing into it: it may be thousands long.
    fn bind_binary_chain(&mut self, expr: &ast::Expr) -> Result<Expr> {
        let mut spine = Vec::new();
        let mut first = expr;
        while let ast::Expr::BinaryOp { left, op, right } = first {
            spine.push((op, right.as_ref(), left.as_ref()));
            first = left;
        }
        let mut bound: Option<Expr> = None;
        while let Some((op, right, left)) = spine.pop() {
            bound = Some(match (op, bound.take()) {
                (BinaryOperator::And | BinaryOperator::Or, known) => {
                    let word = if *op == BinaryOperator::And { "AND" } else { "OR" };
                    let left = match known {
                        Some(known) => known,
                        None => self.bind_expr(left)?,
                    };
                    let left = self.coerce_condition(left, word).map_err(|error| locate(error, first))?;
                    let mut list = match (op, left.kind) {
                        (BinaryOperator::And, ExprKind::And(list)) | (BinaryOperator::Or, ExprKind::Or(list)) => list,
                        (_, kind) => vec![Expr::new(kind, left.ty)],
                    };
                    let right_bound = self.bind_expr(right)?;
                    list.push(self.coerce_condition(right_bound, word).map_err(|error| locate(error, right))?);
                    let kind = if *op == BinaryOperator::And { ExprKind::And(list) } else { ExprKind::Or(list) };
                    Expr::new(kind, Type::Bool)
                }
                (_, None) => self.bind_binary(op, left, right)?,
                (_, Some(known)) => self.binary(op, known, right).map_err(|error| self.at_operator(error, op, left))?,
            });
        }
        match bound {
            Some(bound) => Ok(bound),
            None => self.bind_expr(first),
        }
    }

    fn bind_case(
        &mut self,
        operand: Option<&ast::Expr>,
        whens: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Result<Expr> {
        let operand = match operand {
            Some(operand) => {
                let bound = self.bind_expr(operand)?;
                Some(self.settle(bound)?)
            }
            None => None,
        };
        let (mut conditions, mut results) = (Vec::new(), Vec::new());
        for when in whens {
            let condition = self.bind_expr(&when.condition)?;
            conditions.push(match &operand {
                Some(operand) => self.operator("=", vec![operand.clone(), condition])?,
                None => {
                    self.coerce_condition(condition, "CASE/WHEN").map_err(|error| locate(error, &when.condition))?
                }
            });
            results.push(self.bind_expr(&when.result)?);
        }
        if let Some(otherwise) = otherwise {
            results.push(self.bind_expr(otherwise)?);
        }
        let odd = odd_one(&results);
        self.case(conditions, results, "CASE").map_err(|error| match odd {
            Some(odd) => {
                locate(error, whens.get(odd).map_or(otherwise.unwrap_or(&whens[0].result), |when| &when.result))
            }
            None => error,
        })
    }

    fn bind_is_null(&mut self, inner: &ast::Expr) -> Result<Expr> {
        let bound = self.bind_expr(inner)?;
        let bound = self.settle(bound)?;
        Ok(Expr::new(ExprKind::IsNull(Box::new(bound)), Type::Bool))
    }

    /// A row is not null if none of its fields is, which is not the same as not being null.
    fn bind_is_not_null(&mut self, inner: &ast::Expr) -> Result<Expr> {
        let bound = self.bind_expr(inner)?;
        let bound = self.settle(bound)?;
        let present = |value| not(Expr::new(ExprKind::IsNull(Box::new(value)), Type::Bool));
        match bound.kind {
            ExprKind::Row(fields) if !fields.is_empty() => {
                let fields: Result<Vec<Expr>> = fields.into_iter().map(|field| self.settle(field)).collect();
                Ok(Expr::new(ExprKind::And(fields?.into_iter().map(present).collect()), Type::Bool))
            }
            kind => Ok(present(Expr::new(kind, bound.ty))),
        }
    }

    /// The condition with NULL taken as `null_as`.
    fn bind_is(&mut self, inner: &ast::Expr, null_as: bool, place: &str) -> Result<Expr> {
        let bound = self.bind_expr(inner)?;
        let bound = self.coerce_condition(bound, place)?;
        Ok(Expr::new(ExprKind::Coalesce(vec![bound, Expr::literal(Value::bool(null_as))]), Type::Bool))
    }

    /// A moment with no more digits of a second than its type as written has: `timestamp(3)`.
    fn with_fraction(&mut self, value: Expr, written: &ast::DataType) -> Result<Expr> {
        let digits = match written {
            ast::DataType::Timestamp(Some(digits), _) | ast::DataType::Time(Some(digits), _) => *digits,
            _ => return Ok(value),
        };
        let name = match value.ty {
            Type::Timestamp => "timestamp",
            Type::Timestamptz => "timestamptz",
            Type::Time => "time",
            _ => return Ok(value),
        };
        self.operator(name, vec![value, Expr::literal(Value::int4(digits.min(6) as i32))])
    }

    fn bind_is_unknown(&mut self, inner: &ast::Expr) -> Result<Expr> {
        let bound = self.bind_expr(inner)?;
        let bound = self.coerce_condition(bound, "IS UNKNOWN")?;
        Ok(Expr::new(ExprKind::IsNull(Box::new(bound)), Type::Bool))
    }

    /// `ARRAY[…]`. Weir's arrays have one dimension.
    fn array(&mut self, items: Vec<Expr>) -> Result<Expr> {
        if items.is_empty() {
            let error = Error::new(ErrorKind::IndeterminateType, "cannot determine type of empty array");
            return Err(error.with_hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
        }
        let (items, ty) = self.unify(items, "ARRAY")?;
        if matches!(ty, Type::Array(_)) {
            return Err(Error::new(ErrorKind::Unsupported, "arrays of more than one dimension are not supported"));
        }
        let collating = together(&items)?;
        Ok(Expr::new(ExprKind::Array(items), Type::Array(Box::new(ty))).collated(collating))
    }

    /// `$n`
    pub(super) fn bind_parameter(&mut self, name: &str) -> Result<Expr> {
        let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        let Some(number @ 1..=65_535) = number else {
            return Err(Error::new(ErrorKind::UndefinedParameter, format!("there is no parameter {name}")));
        };
        if self.parameters.len() < number {
            self.parameters.resize(number, None);
        }
        let decided = self.parameters[number - 1].clone().filter(|ty| *ty != Type::Unknown);
        if decided.is_none() {
            self.parameters[number - 1] = None;
        }
        Ok(Expr::new(ExprKind::Parameter(number - 1), decided.unwrap_or(Type::Unknown)))
    }
}

/// Negation; of a negation, what it negates.
pub(super) fn not(expr: Expr) -> Expr {
    match expr.kind {
        ExprKind::Not(inner) => *inner,
        kind => Expr::new(ExprKind::Not(Box::new(Expr::new(kind, expr.ty))), Type::Bool),
    }
}

pub(super) fn negate_if(expr: Expr, negated: bool) -> Expr {
    if negated { not(expr) } else { expr }
}

/// `a ^ b`, of which a sign before it belongs to `a`: with `-a` in its place.
fn negated_base(expr: &ast::Expr) -> Option<ast::Expr> {
    let ast::Expr::BinaryOp { left, op: op @ (BinaryOperator::PGExp | BinaryOperator::BitwiseXor), right } = expr
    else {
        return None;
    };
    let left =
        negated_base(left).unwrap_or_else(|| ast::Expr::UnaryOp { op: UnaryOperator::Minus, expr: left.clone() });
    Some(ast::Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: right.clone() })
}

/// What `(VALUES (…))` holds: it is read as a call of a function.
fn only_value(inner: &ast::Expr) -> Result<Option<&ast::Expr>> {
    let ast::Expr::Function(ast::Function { name, args: ast::FunctionArguments::List(list), .. }) = inner else {
        return Ok(None);
    };
    if !name.to_string().eq_ignore_ascii_case("values") {
        return Ok(None);
    }
    match list.args.as_slice() {
        [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value))] => Ok(Some(value)),
        _ => Err(Error::new(ErrorKind::Syntax, "subquery must return only one column")),
    }
}
