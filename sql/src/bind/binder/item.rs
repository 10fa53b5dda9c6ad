//! Names of select items that were given none: Postgres's `FigureColname`.

use sqlparser::ast::{self, AccessExpr, DataType, Expr, SetExpr, TrimWhereField};

use crate::parse::datatype::type_of;
use crate::parse::names::fold;
use crate::types::Type;

/// A name, and whether it is a strong one: a cast takes the name of what it casts only if that is strong.
pub(super) fn figure(expr: &Expr) -> Option<(String, bool)> {
    let strong = |name: &str| Some((name.to_string(), true));
    match expr {
        Expr::Identifier(ident) => Some((fold(ident), true)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| (fold(ident), true)),
        Expr::CompoundFieldAccess { root, access_chain } => access_chain
            .iter()
            .rev()
            .find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(ident)) => Some((fold(ident), true)),
                _ => None,
            })
            .or_else(|| figure(root)),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Function(function) => {
            function.name.0.last().and_then(|part| part.as_ident()).map(|ident| (fold(ident), true))
        }
        Expr::Cast { expr, data_type, .. } => match figure(expr) {
            Some((name, true)) => Some((name, true)),
            _ => Some((type_name(data_type), false)),
        },
        Expr::TypedString(typed) => Some((type_name(&typed.data_type), false)),
        Expr::Interval(_) => Some(("interval".into(), false)),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".into(), false)),
        },
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::IsNormalized { negated: false, .. } => strong("is_normalized"),
        Expr::Array(_) => strong("array"),
        Expr::Tuple(_) => strong("row"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Subquery(query) => subquery(query),
        _ => None,
    }
}

fn subquery(query: &ast::Query) -> Option<(String, bool)> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.first()? {
        ast::SelectItem::ExprWithAlias { alias, .. } => Some((fold(alias), true)),
        ast::SelectItem::UnnamedExpr(expr) => figure(expr),
        _ => None,
    }
}

/// Postgres's internal name of a type, which is what a cast's column is called.
fn type_name(data_type: &DataType) -> String {
    if let DataType::Custom(name, _) = data_type
        && let Some(ident) = name.0.last().and_then(|part| part.as_ident())
    {
        return fold(ident);
    }
    let Ok(ty) = type_of(data_type) else { return data_type.to_string().to_lowercase() };
    internal_name(&ty).to_string()
}

/// `pg_type.typname`, an array's being its element's (as FigureColname has it).
pub(super) fn internal_name(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::Int2 => "int2",
        Type::Int4 => "int4",
        Type::Int8 => "int8",
        Type::UInt8 => "uint8",
        Type::UInt16 => "uint16",
        Type::UInt32 => "uint32",
        Type::UInt64 => "uint64",
        Type::Float4 => "float4",
        Type::Float8 => "float8",
        Type::Numeric(_) => "numeric",
        Type::Text => "text",
        Type::Varchar(_) => "varchar",
        Type::Bpchar(_) => "bpchar",
        Type::Char => "char",
        Type::Name => "name",
        Type::Bytea | Type::State(_) => "bytea",
        Type::Uuid => "uuid",
        Type::Json => "json",
        Type::Jsonb => "jsonb",
        Type::Map(_) => "map",
        Type::Date => "date",
        Type::Time => "time",
        Type::Timestamp => "timestamp",
        Type::Timestamptz => "timestamptz",
        Type::Interval => "interval",
        Type::Array(element) => internal_name(element),
        Type::Record(_) => "record",
        Type::Oid => "oid",
        Type::Regclass => "regclass",
        Type::Regtype => "regtype",
        Type::Regproc => "regproc",
        Type::Regnamespace => "regnamespace",
        Type::Regrole => "regrole",
        Type::Unknown => "unknown",
        Type::Void => "void",
    }
}
