//! oid and its named aliases: regclass, regtype, regproc, regnamespace, regrole show names and read names or numbers.

use weir_sql::Type;

use super::integer;
use crate::catalog::system;
use crate::error::{Error, ErrorKind, Result};
use crate::functions::CatalogLookup;

/// The oid of the one role that each database has from the start.
const BOOTSTRAP_ROLE: u32 = 10;

/// Appends an oid as its type shows it: the name, or the number where nothing has it.
pub(crate) fn write(ty: &Type, oid: u32, catalog: &dyn CatalogLookup, out: &mut Vec<u8>) {
    if *ty != Type::Oid && oid == 0 {
        out.push(b'-');
        return;
    }
    let name = match ty {
        Type::Regclass => catalog.relation_name(oid).map(|(schema, name, visible)| {
            if visible {
                quote_identifier(&name)
            } else {
                format!("{}.{}", quote_identifier(&schema), quote_identifier(&name))
            }
        }),
        Type::Regtype => match Type::from_oid(oid) {
            Some(Type::Bpchar(None)) => Some("character".to_string()),
            Some(ty) => Some(ty.to_string()),
            None => system::type_name(oid),
        },
        Type::Regproc => catalog.function_name(oid),
        Type::Regnamespace => catalog.namespace_name(oid).map(|name| quote_identifier(&name)),
        Type::Regrole if oid == BOOTSTRAP_ROLE => Some(quote_identifier(&catalog.current_user())),
        _ => None,
    };
    match name {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => integer::write_u64(oid.into(), out),
    }
}

/// Reads a name or a number.
pub(crate) fn parse(ty: &Type, text: &str, catalog: &dyn CatalogLookup) -> Result<u32> {
    let trimmed = super::trim(text);
    if *ty == Type::Oid || trimmed.starts_with(|c: char| c.is_ascii_digit()) {
        return parse_oid(text);
    }
    if trimmed == "-" {
        return Ok(0);
    }
    let (schema, name) = split_name(trimmed)
        .ok_or_else(|| Error::new(ErrorKind::InvalidText, format!("invalid name syntax: \"{text}\"")))?;
    let undefined = |kind, what: &str| Error::new(ErrorKind::Sql(kind), format!("{what} \"{trimmed}\" does not exist"));
    use weir_sql::ErrorKind as Sql;
    match ty {
        Type::Regclass => {
            catalog.relation_oid(schema.as_deref(), &name).ok_or_else(|| undefined(Sql::UndefinedTable, "relation"))
        }
        Type::Regtype => type_oid(&name).ok_or_else(|| undefined(Sql::UndefinedObject, "type")),
        Type::Regproc => catalog.function_oid(&name).ok_or_else(|| undefined(Sql::UndefinedFunction, "function")),
        Type::Regnamespace => catalog.namespace_oid(&name).ok_or_else(|| undefined(Sql::UndefinedSchema, "schema")),
        _ if name == catalog.current_user() => Ok(BOOTSTRAP_ROLE),
        _ => Err(undefined(Sql::UndefinedObject, "role")),
    }
}

/// An oid as Postgres reads it: negative numbers wrap around.
fn parse_oid(text: &str) -> Result<u32> {
    let v: i64 = integer::parse(text, "oid")?;
    if v > i64::from(u32::MAX) || v < i64::from(i32::MIN) {
        return Err(Error::new(ErrorKind::NumericOutOfRange, format!("value \"{text}\" is out of range for type oid")));
    }
    Ok(v as u32)
}

/// The type of a name in Postgres's spellings.
fn type_oid(name: &str) -> Option<u32> {
    let (base, array) = match name.strip_suffix("[]") {
        Some(base) => (base, true),
        None => (name, false),
    };
    let ty = match base {
        "bool" => Type::Bool,
        "int2" => Type::Int2,
        "int4" | "int" => Type::Int4,
        "int8" => Type::Int8,
        "float4" => Type::Float4,
        "float8" => Type::Float8,
        "decimal" => Type::Numeric(None),
        "varchar" => Type::Varchar(None),
        "bpchar" | "character" => Type::Bpchar(None),
        "char" => Type::Char,
        "time" => Type::Time,
        "timestamp" => Type::Timestamp,
        "timestamptz" => Type::Timestamptz,
        other => {
            // Every type that has an oid, by the name it shows.
            const OIDS: [u32; 30] = [
                16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 114, 700, 701, 705, 1042, 1043, 1082, 1083, 1114, 1184, 1186,
                1700, 2205, 2206, 2278, 2950, 3802, 4089, 4096, 2249,
            ];
            match OIDS.iter().filter_map(|&oid| Type::from_oid(oid)).find(|ty| ty.to_string() == other) {
                Some(ty) => ty,
                // What no column is of but pg_type lists: pseudo-types, ranges, the arrays' own names (`_int4`).
                None if array => return system::type_oid(&format!("_{base}")),
                None => return system::type_oid(base),
            }
        }
    };
    Some(if array { ty.array_oid() } else { ty.oid() })
}

/// `schema.name` or `name`, each folded to lower case unless quoted; blanks may stand around the point.
fn split_name(text: &str) -> Option<(Option<String>, String)> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let part;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next()? {
                    (at, '"') if quoted[at + 1..].starts_with('"') => {
                        name.push('"');
                        chars.next();
                    }
                    (at, '"') => break at + 1,
                    (_, c) => name.push(c),
                }
            };
            part = name;
            rest = &quoted[end..];
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            part = rest[..end].trim_end().to_lowercase();
            rest = &rest[end..];
        }
        rest = rest.trim_start();
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match rest.strip_prefix('.') {
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() => break,
            None => return None,
        }
    }
    let name = parts.pop()?;
    Some((parts.pop(), name))
}

/// An identifier as SQL must write it.
pub fn quote_identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
