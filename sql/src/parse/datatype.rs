//! Names of types: PostgreSQL's, ClickHouse's and Flink's, to [`Type`].
//!
//! Two steps. [`parse`] is the dialect's hook: it reads the forms that `sqlparser`'s PostgreSQL grammar does not have (`Nullable(T)`,
//! `LowCardinality(T)`, `Array(T)`, `Map(K, V)`, `Tuple(…)`, `DateTime('UTC')`, `Int8` …). [`type_of`] then gives the one type of Weir that a
//! `sqlparser` type stands for.
//!
//! `int8` is PostgreSQL's bigint; `Int8`, written exactly so, is ClickHouse's one-byte integer and becomes smallint.

use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, Ident, MapBracketKind, ObjectName, Spanned,
    TimezoneInfo, TypeModifier,
};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::names::fold;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{MapType, STATE, StateType, Type};

/// The dialect's hook: the types that PostgreSQL's grammar lacks. `None` leaves the parser where it was.
pub(super) fn parse(parser: &mut Parser) -> Option<std::result::Result<DataType, ParserError>> {
    let Token::Word(word) = &parser.peek_token_ref().token else { return None };
    if word.quote_style.is_some() {
        return None;
    }
    let open = parser.peek_nth_token_ref(1).token == Token::LParen;
    let angle = parser.peek_nth_token_ref(1).token == Token::Lt;
    let name = word.value.clone();
    let read: fn(&mut Parser) -> std::result::Result<DataType, ParserError> = match name.as_str() {
        "Int8" if !open => |_| Ok(DataType::TinyInt(None)),
        "Nullable" if open => |p| Ok(DataType::Nullable(Box::new(parenthesised(p)?))),
        "LowCardinality" if open => |p| Ok(DataType::LowCardinality(Box::new(parenthesised(p)?))),
        "Array" if open => |p| Ok(DataType::Array(ArrayElemTypeDef::Parenthesis(Box::new(parenthesised(p)?)))),
        "Map" if open => map_of,
        // DuckDB's: what is not there is NULL.
        name if open && name.eq_ignore_ascii_case("map") => |p| match map_of(p)? {
            DataType::Map(key, value, brackets) => {
                Ok(DataType::Map(key, Box::new(DataType::Nullable(value)), brackets))
            }
            other => Ok(other),
        },
        "Tuple" if open => |p| fields(p, Token::LParen, Token::RParen),
        "ROW" if open => |p| fields(p, Token::LParen, Token::RParen),
        "ROW" if angle => |p| fields(p, Token::Lt, Token::Gt),
        "AggregateFunction" if open => state,
        "DateTime" | "DateTime32" | "DateTime64" => |p| {
            // Arguments are a number of digits, a time zone, or both. Values are kept in UTC and shown in the session's time zone.
            let mut digits = 0;
            if p.consume_token(&Token::LParen) {
                while !p.consume_token(&Token::RParen) {
                    match p.next_token() {
                        found if matches!(found.token, Token::Number(..)) => {
                            p.prev_token();
                            digits = p.parse_literal_uint()?;
                        }
                        found if matches!(found.token, Token::SingleQuotedString(_) | Token::Comma) => {}
                        found => return p.expected("a number of digits, a time zone or )", found),
                    }
                }
            }
            Ok(DataType::Datetime64(digits, None))
        },
        _ => return None,
    };
    parser.next_token();
    Some(read(parser).and_then(|data_type| suffixed(parser, data_type)))
}

/// `AggregateFunction(f, T…)` or `AggregateFunction(f(0.9), T…)`. The name, how many parameters there are, these, and the types are kept as the
/// modifiers of a custom type.
fn state(parser: &mut Parser) -> std::result::Result<DataType, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let function = parser.parse_identifier()?;
    let mut params = Vec::new();
    if parser.consume_token(&Token::LParen) {
        params = parser.parse_comma_separated(Parser::parse_expr)?;
        parser.expect_token(&Token::RParen)?;
    }
    let mut modifiers =
        vec![TypeModifier::String(function.value), TypeModifier::Number(params.len().to_string(), false)];
    modifiers.extend(params.iter().map(|param| TypeModifier::String(param.to_string())));
    while parser.consume_token(&Token::Comma) {
        modifiers.push(TypeModifier::String(parser.parse_data_type()?.to_string()));
    }
    parser.expect_token(&Token::RParen)?;
    Ok(DataType::Custom(ObjectName::from(vec![Ident::with_quote('"', STATE)]), modifiers))
}

fn parenthesised(parser: &mut Parser) -> std::result::Result<DataType, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let data_type = parser.parse_data_type()?;
    parser.expect_token(&Token::RParen)?;
    Ok(data_type)
}

fn map_of(parser: &mut Parser) -> std::result::Result<DataType, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let key = parser.parse_data_type()?;
    parser.expect_token(&Token::Comma)?;
    let value = parser.parse_data_type()?;
    parser.expect_token(&Token::RParen)?;
    Ok(DataType::Map(Box::new(key), Box::new(value), MapBracketKind::Parentheses))
}

/// `(a T, b T)` or `(T, T)`: the fields of a tuple. Weir shows one as jsonb and does not look inside.
fn fields(parser: &mut Parser, open: Token, close: Token) -> std::result::Result<DataType, ParserError> {
    parser.expect_token(&open)?;
    loop {
        let named = matches!(parser.peek_nth_token_ref(0).token, Token::Word(_))
            && matches!(parser.peek_nth_token_ref(1).token, Token::Word(_));
        if named {
            parser.next_token();
        }
        parser.parse_data_type()?;
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    parser.expect_token(&close)?;
    Ok(DataType::Tuple(Vec::new()))
}

/// `T[]`, `T[3]`.
fn suffixed(parser: &mut Parser, mut data_type: DataType) -> std::result::Result<DataType, ParserError> {
    while parser.consume_token(&Token::LBracket) {
        let size = parser.maybe_parse(|p| p.parse_literal_uint())?;
        parser.expect_token(&Token::RBracket)?;
        data_type = DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(data_type), size));
    }
    Ok(data_type)
}

/// The type that a written type stands for. Errors: 42704 where there is none of this name, 0A000 where Weir has none, 22023 for modifiers
/// out of range.
pub fn type_of(data_type: &DataType) -> Result<Type> {
    use DataType as D;
    Ok(match data_type {
        D::Bool | D::Boolean => Type::Bool,
        D::TinyInt(_) | D::Int2(_) | D::SmallInt(_) | D::Int16 => Type::Int2,
        D::MediumInt(_) | D::Int(_) | D::Int4(_) | D::Int32 | D::Integer(_) | D::Signed | D::SignedInteger => {
            Type::Int4
        }
        D::Int8(_) | D::Int64 | D::BigInt(_) => Type::Int8,
        D::UInt8 | D::UTinyInt | D::TinyIntUnsigned(_) => Type::UInt8,
        D::UInt16 | D::USmallInt | D::SmallIntUnsigned(_) | D::Int2Unsigned(_) => Type::UInt16,
        D::UInt32 | D::IntUnsigned(_) | D::Int4Unsigned(_) | D::IntegerUnsigned(_) => Type::UInt32,
        D::UInt64 | D::UBigInt | D::BigIntUnsigned(_) | D::Int8Unsigned(_) => Type::UInt64,
        D::Int128 | D::Int256 | D::UInt128 | D::UInt256 | D::HugeInt | D::UHugeInt => Type::Numeric(None),
        D::Float4 | D::Float32 | D::Real => Type::Float4,
        D::Float8 | D::Float64 | D::Double(_) | D::DoublePrecision => Type::Float8,
        D::Float(info) => float(info)?,
        D::Numeric(info) | D::Decimal(info) | D::Dec(info) | D::BigNumeric(info) | D::BigDecimal(info) => {
            numeric(info)?
        }
        D::Text | D::TinyText | D::MediumText | D::LongText | D::String(_) | D::FixedString(_) | D::Enum(..) => {
            Type::Text
        }
        D::Clob(_) | D::CharacterLargeObject(_) | D::CharLargeObject(_) => Type::Text,
        D::Varchar(length) | D::CharacterVarying(length) | D::CharVarying(length) | D::Nvarchar(length) => {
            Type::Varchar(character_length(length, "varchar")?)
        }
        D::Character(length) | D::Char(length) => Type::Bpchar(Some(character_length(length, "char")?.unwrap_or(1))),
        D::Bytea | D::Bytes(_) | D::Binary(_) | D::Varbinary(_) | D::Blob(_) => Type::Bytea,
        D::Uuid => Type::Uuid,
        D::JSON => Type::Json,
        // Flink's, in angle brackets, has NULL for what is not there, too.
        D::Map(key, value, brackets) => map(key, value, matches!(brackets, MapBracketKind::AngleBrackets))?,
        D::JSONB | D::Tuple(_) | D::Struct(..) | D::Object(_) => Type::Jsonb,
        D::Date | D::Date32 => Type::Date,
        D::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => Type::Time,
        D::Time(..) => return Err(unsupported("type time with time zone")),
        D::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) | D::TimestampNtz(_) => Type::Timestamp,
        D::Timestamp(..) | D::Datetime(_) | D::Datetime64(..) => Type::Timestamptz,
        D::Interval { .. } => Type::Interval,
        D::Regclass => Type::Regclass,
        D::Nullable(inner) | D::LowCardinality(inner) | D::Collate(inner, _) => type_of(inner)?,
        D::Array(element) => match element {
            ArrayElemTypeDef::AngleBracket(element)
            | ArrayElemTypeDef::SquareBracket(element, _)
            | ArrayElemTypeDef::Parenthesis(element)
            | ArrayElemTypeDef::ParenthesisNotNull(element)
            | ArrayElemTypeDef::Qualified(element, _) => array_of(type_of(element)?),
            ArrayElemTypeDef::None => return Err(unsupported("an array type without an element type")),
        },
        D::Custom(name, modifiers) => custom(name, modifiers).map_err(|error| match name.span().start.column {
            0 => error,
            column => error.at(column as usize),
        })?,
        other => return Err(unsupported(&format!("type {}", other.to_string().to_lowercase()))),
    })
}

/// A map's keys are fields' names of an object: of what has one text, which reads back as the same value.
fn map(key: &DataType, value: &DataType, nullable: bool) -> Result<Type> {
    let (key, nullable) = (type_of(key)?, nullable || is_nullable(value));
    let plain = key.is_text() || key.is_integer() || matches!(key, Type::Bool | Type::Date | Type::Uuid);
    let value = type_of(value)?;
    // A text is a text, whatever it is called.
    let plainly = |ty: Type| if ty == Type::Varchar(None) { Type::Text } else { ty };
    let (key, value) = (plainly(key), plainly(value));
    if !plain || matches!(value, Type::Record(_) | Type::State(_) | Type::Bytea) {
        return Err(unsupported(&format!("type Map({key}, {value})")));
    }
    Ok(Type::Map(Box::new(MapType { key, value, nullable })))
}

/// Arrays have any number of dimensions in PostgreSQL, and the type does not say how many; Weir has arrays of one.
fn array_of(element: Type) -> Type {
    match element {
        array @ Type::Array(_) => array,
        element => Type::Array(Box::new(element)),
    }
}

fn float(info: &ExactNumberInfo) -> Result<Type> {
    match info {
        ExactNumberInfo::None => Ok(Type::Float8),
        ExactNumberInfo::Precision(0) => Err(parameter("precision for type float must be at least 1 bit")),
        ExactNumberInfo::Precision(1..=24) => Ok(Type::Float4),
        ExactNumberInfo::Precision(25..=53) => Ok(Type::Float8),
        ExactNumberInfo::Precision(_) => Err(parameter("precision for type float must be less than 54 bits")),
        ExactNumberInfo::PrecisionAndScale(..) => Ok(Type::Float8),
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<Type> {
    let (precision, scale) = match *info {
        ExactNumberInfo::None => return Ok(Type::Numeric(None)),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    numeric_with(precision, scale)
}

fn numeric_with(precision: u64, scale: i64) -> Result<Type> {
    if !(1..=1000).contains(&precision) {
        return Err(parameter(format!("NUMERIC precision {precision} must be between 1 and 1000")));
    }
    if !(-1000..=1000).contains(&scale) {
        return Err(parameter(format!("NUMERIC scale {scale} must be between -1000 and 1000")));
    }
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=38), Ok(s)) if s >= 0 && s as u8 <= p => Ok(Type::Numeric(Some((p, s)))),
        _ => Ok(Type::Numeric(None)),
    }
}

fn character_length(length: &Option<CharacterLength>, name: &str) -> Result<Option<u32>> {
    match length {
        None | Some(CharacterLength::Max) => Ok(None),
        Some(CharacterLength::IntegerLength { length, .. }) => length_modifier(*length, name).map(Some),
    }
}

fn length_modifier(length: u64, name: &str) -> Result<u32> {
    match u32::try_from(length) {
        Ok(0) => Err(parameter(format!("length for type {name} must be at least 1"))),
        Ok(n) if n <= 10_485_760 => Ok(n),
        _ => Err(parameter(format!("length for type {name} cannot exceed 10485760"))),
    }
}

/// A type that `sqlparser` does not know: the system catalogue's, ClickHouse's with digits in their names, and those that do not exist.
fn custom(name: &ObjectName, modifiers: &[TypeModifier]) -> Result<Type> {
    let parts: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
    let (schema, last) = match parts.as_slice() {
        [last] => (None, *last),
        [.., schema, last] => (Some(fold(schema)), *last),
        [] => return Err(undefined(&name.to_string())),
    };
    if !matches!(schema.as_deref(), None | Some("pg_catalog" | "information_schema" | "public")) {
        return Err(undefined(&name.to_string()));
    }
    let folded = fold(last);
    if let [TypeModifier::String(function), TypeModifier::Number(params, _), rest @ ..] = modifiers
        && folded == STATE
    {
        let mut texts = rest.iter().map(|modifier| match modifier {
            TypeModifier::String(text) => text.clone(),
            other => other.to_string(),
        });
        return Ok(Type::State(Box::new(StateType {
            function: function.clone(),
            params: texts.by_ref().take(params.parse().unwrap_or(0)).collect(),
            args: texts.map(|text| type_named(&text)).collect::<Result<_>>()?,
        })));
    }
    let number = |at: usize| match modifiers.get(at) {
        Some(TypeModifier::Number(digits, _)) => digits.parse::<u64>().ok(),
        _ => None,
    };
    if last.quote_style.is_some() && folded == "char" {
        return Ok(Type::Char);
    }
    // ClickHouse's DecimalN(scale): N bits hold this many digits.
    if let Some(digits) = match folded.as_str() {
        "decimal32" => Some(9),
        "decimal64" => Some(18),
        "decimal128" => Some(38),
        _ => None,
    } {
        return numeric_with(digits, number(0).map_or(0, |scale| scale as i64));
    }
    if let Some(n) = number(0) {
        match folded.as_str() {
            "bpchar" => return Ok(Type::Bpchar(Some(length_modifier(n, "char")?))),
            "varchar" => return Ok(Type::Varchar(Some(length_modifier(n, "varchar")?))),
            _ => {}
        }
    }
    named(&folded).ok_or_else(|| match folded.as_str() {
        "serial" | "bigserial" | "smallserial" | "serial2" | "serial4" | "serial8" => {
            unsupported(&format!("type {folded}")).with_hint("Give the values yourself; Weir has no sequences.")
        }
        "timetz" | "money" | "bit" | "varbit" | "xml" | "inet" | "cidr" | "macaddr" | "tsvector" | "tsquery" => {
            unsupported(&format!("type {folded}"))
        }
        _ => undefined(&name.to_string().replace('"', "")),
    })
}

/// The type with this name as `pg_type.typname` has it (or `information_schema`'s domains, or Flink's names).
fn named(name: &str) -> Option<Type> {
    if let Some(element) = name.strip_prefix('_') {
        return named(element).map(array_of);
    }
    Some(match name {
        "bool" => Type::Bool,
        "int2" => Type::Int2,
        "int4" => Type::Int4,
        "int8" => Type::Int8,
        "float4" => Type::Float4,
        "float8" => Type::Float8,
        "numeric" => Type::Numeric(None),
        "text" | "citext" | "ipv4" | "ipv6" | "character_data" | "pg_node_tree" | "cstring" => Type::Text,
        "varchar" | "yes_or_no" => Type::Varchar(None),
        "bpchar" => Type::Bpchar(None),
        "char" => Type::Char,
        "name" | "sql_identifier" => Type::Name,
        "bytea" => Type::Bytea,
        "uuid" => Type::Uuid,
        "json" => Type::Json,
        "jsonb" => Type::Jsonb,
        // A path is read where it is used.
        "jsonpath" => Type::Text,
        "date" => Type::Date,
        "time" => Type::Time,
        "timestamp" => Type::Timestamp,
        "timestamptz" | "timestamp_ltz" | "time_stamp" | "datetime32" => Type::Timestamptz,
        "interval" => Type::Interval,
        "cardinal_number" => Type::Int4,
        "oid" | "xid" | "cid" => Type::Oid,
        "regclass" => Type::Regclass,
        "regtype" => Type::Regtype,
        "regproc" | "regprocedure" | "regoper" | "regoperator" => Type::Regproc,
        "regnamespace" => Type::Regnamespace,
        "regrole" => Type::Regrole,
        "oidvector" => Type::Array(Box::new(Type::Oid)),
        "int2vector" => Type::Array(Box::new(Type::Int2)),
        "unknown" => Type::Unknown,
        "record" => Type::Record(Vec::new()),
        "void" => Type::Void,
        _ => return None,
    })
}

/// The type with this name, as a text has it: `to_regtype('int4[]')`, `'text'::regtype`.
pub fn type_named(text: &str) -> Result<Type> {
    // The place is one in the type's own text.
    type_of(&data_type_named(text)?).map_err(|error| Error { position: None, ..error })
}

/// As [`type_named`], and whether it, or what it is an array of, is written as Nullable.
pub(crate) fn nullable_type_named(text: &str) -> Result<(Type, bool)> {
    let data_type = data_type_named(text)?;
    let mut inner = &data_type;
    while let DataType::Array(
        ArrayElemTypeDef::AngleBracket(element)
        | ArrayElemTypeDef::SquareBracket(element, _)
        | ArrayElemTypeDef::Parenthesis(element),
    ) = inner
    {
        inner = element;
    }
    // The place is one in the type's own text.
    let ty = type_of(&data_type).map_err(|error| Error { position: None, ..error })?;
    Ok((ty, is_nullable(inner)))
}

fn data_type_named(text: &str) -> Result<DataType> {
    let mut parser = Parser::new(&super::dialect::WeirDialect).try_with_sql(text).map_err(|_| undefined(text))?;
    let data_type = parser.parse_data_type().map_err(|_| undefined(text))?;
    match parser.peek_token_ref().token {
        Token::EOF => Ok(data_type),
        _ => Err(undefined(text)),
    }
}

/// The number of digits that `DateTime64(n)` or `timestamp(n)` asks for.
pub(crate) fn scale_of(data_type: &DataType) -> Option<u8> {
    match data_type {
        DataType::Datetime64(digits, _) | DataType::Timestamp(Some(digits), _) => u8::try_from(*digits).ok(),
        DataType::Nullable(inner) | DataType::LowCardinality(inner) => scale_of(inner),
        _ => None,
    }
}

/// Whether a written type has ClickHouse's Nullable(…) around it, or within LowCardinality(…).
pub(crate) fn is_nullable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Nullable(_) => true,
        DataType::LowCardinality(inner) => is_nullable(inner),
        _ => false,
    }
}

fn parameter(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidParameter, message)
}

fn undefined(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedObject, format!("type \"{name}\" does not exist"))
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} is not supported"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_three_worlds_give_one_type() {
        let numeric = |p, s| Type::Numeric(Some((p, s)));
        let array = |ty| Type::Array(Box::new(ty));
        for (text, ty) in [
            ("int8", Type::Int8),
            ("INT8", Type::Int8),
            ("Int8", Type::Int2),
            ("Int16", Type::Int2),
            ("Int32", Type::Int4),
            ("Int64", Type::Int8),
            ("UInt8", Type::UInt8),
            ("UInt64", Type::UInt64),
            ("Nullable(UInt32)", Type::UInt32),
            ("LowCardinality(Nullable(String))", Type::Text),
            ("Array(LowCardinality(String))", array(Type::Text)),
            ("Array(Array(Int32))", array(Type::Int4)),
            (
                "Map(String, UInt64)",
                Type::Map(Box::new(MapType { key: Type::Text, value: Type::UInt64, nullable: false })),
            ),
            (
                "MAP<STRING, STRING>",
                Type::Map(Box::new(MapType { key: Type::Text, value: Type::Text, nullable: true })),
            ),
            ("ARRAY<STRING>", array(Type::Text)),
            ("Tuple(a UInt8, b String)", Type::Jsonb),
            ("ROW<a INT, b STRING>", Type::Jsonb),
            ("DateTime", Type::Timestamptz),
            ("DateTime('UTC')", Type::Timestamptz),
            ("DateTime64(3)", Type::Timestamptz),
            ("DateTime64(6, 'Europe/Berlin')", Type::Timestamptz),
            ("TIMESTAMP(3)", Type::Timestamp),
            ("TIMESTAMP_LTZ(3)", Type::Timestamptz),
            ("timestamp with time zone", Type::Timestamptz),
            ("FixedString(16)", Type::Text),
            ("Enum8('a' = 1, 'b' = 2)", Type::Text),
            ("Decimal(10, 2)", numeric(10, 2)),
            ("Decimal64(4)", numeric(18, 4)),
            ("numeric(20)", numeric(20, 0)),
            ("numeric(50, 2)", Type::Numeric(None)),
            ("numeric", Type::Numeric(None)),
            ("float", Type::Float8),
            ("float(24)", Type::Float4),
            ("Float32", Type::Float4),
            ("double precision", Type::Float8),
            ("DOUBLE", Type::Float8),
            ("character varying(10)", Type::Varchar(Some(10))),
            ("char", Type::Bpchar(Some(1))),
            ("\"char\"", Type::Char),
            ("pg_catalog.\"char\"", Type::Char),
            ("bpchar(3)", Type::Bpchar(Some(3))),
            ("pg_catalog.int4", Type::Int4),
            ("_text", array(Type::Text)),
            ("oid[]", array(Type::Oid)),
            ("information_schema.sql_identifier", Type::Name),
            ("interval day to second", Type::Interval),
            ("text[][]", array(Type::Text)),
        ] {
            assert_eq!(type_named(text), Ok(ty), "{text}");
        }
    }

    #[test]
    fn what_is_no_type_says_so() {
        for (text, kind, message) in [
            ("blah", ErrorKind::UndefinedObject, "type \"blah\" does not exist"),
            ("a.b", ErrorKind::UndefinedObject, "type \"a.b\" does not exist"),
            ("int4 x", ErrorKind::UndefinedObject, "type \"int4 x\" does not exist"),
            ("timetz", ErrorKind::Unsupported, "type time with time zone is not supported"),
            ("bigserial", ErrorKind::Unsupported, "type bigserial is not supported"),
            ("numeric(2000)", ErrorKind::InvalidParameter, "NUMERIC precision 2000 must be between 1 and 1000"),
            ("varchar(0)", ErrorKind::InvalidParameter, "length for type varchar must be at least 1"),
            ("float(60)", ErrorKind::InvalidParameter, "precision for type float must be less than 54 bits"),
        ] {
            let error = type_named(text).expect_err(text);
            assert_eq!((error.kind, error.message.as_str()), (kind, message), "{text}");
        }
    }
}
