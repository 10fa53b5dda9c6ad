//! pg_type and pg_range, as PostgreSQL 15 lists its own types.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::{Cell, Fill, Rows, SystemContext};

pub(super) fn fill(name: &str) -> Option<Fill> {
    match name {
        "pg_type" => Some(pg_type),
        "pg_range" => Some(pg_range),
        _ => None,
    }
}

/// Columns of `data/pg_type.tsv`, in order.
const COLUMNS: [&str; 26] = [
    "oid",
    "typname",
    "typlen",
    "typbyval",
    "typtype",
    "typcategory",
    "typispreferred",
    "typisdefined",
    "typdelim",
    "typsubscript",
    "typelem",
    "typarray",
    "typinput",
    "typoutput",
    "typreceive",
    "typsend",
    "typmodin",
    "typmodout",
    "typanalyze",
    "typalign",
    "typstorage",
    "typnotnull",
    "typbasetype",
    "typtypmod",
    "typndims",
    "typcollation",
];

/// What pg_attribute repeats of a type.
#[derive(Debug, Clone)]
pub(super) struct TypeRow {
    pub(super) name: &'static str,
    pub(super) length: i16,
    pub(super) by_value: bool,
    pub(super) align: &'static str,
    pub(super) storage: &'static str,
    pub(super) collation: u32,
    /// The element's oid, of a true array (not of oidvector and the like).
    element: Option<u32>,
}

/// A type of Postgres by oid.
pub(super) fn type_row(oid: u32) -> Option<&'static TypeRow> {
    static INDEX: OnceLock<HashMap<u32, TypeRow>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        lines()
            .filter_map(|fields| {
                let row = TypeRow {
                    name: fields[1],
                    length: fields[2].parse().ok()?,
                    by_value: fields[3] == "t",
                    align: fields[19],
                    storage: fields[20],
                    collation: fields[25].parse().ok()?,
                    element: (fields[9] == "array_subscript_handler" && fields[20] != "p")
                        .then(|| fields[10].parse().ok())
                        .flatten(),
                };
                Some((fields[0].parse().ok()?, row))
            })
            .collect()
    });
    index.get(&oid)
}

fn lines() -> impl Iterator<Item = Vec<&'static str>> {
    include_str!("data/pg_type.tsv").lines().map(|line| line.split('\t').collect())
}

/// The oid of a type by the name in pg_type (`int4`, `trigger`, `anyarray`).
pub fn type_oid(name: &str) -> Option<u32> {
    static INDEX: OnceLock<HashMap<&'static str, u32>> = OnceLock::new();
    let index = INDEX.get_or_init(|| lines().filter_map(|fields| Some((fields[1], fields[0].parse().ok()?))).collect());
    index.get(name).copied()
}

/// The name of a type as `format_type` spells it where SQL has no spelling of its own: the one in pg_type, with `[]` for a true array.
pub fn type_name(oid: u32) -> Option<String> {
    let row = type_row(oid)?;
    match row.element.and_then(type_row) {
        Some(element) => Some(format!("{}[]", element.name)),
        None => Some(row.name.to_string()),
    }
}

/// Postgres's functions that its types and access methods name: oid and name.
fn functions() -> &'static [(u32, &'static str)] {
    static LIST: OnceLock<Vec<(u32, &'static str)>> = OnceLock::new();
    LIST.get_or_init(|| {
        include_str!("data/regproc.tsv")
            .lines()
            .filter_map(|line| line.split_once('\t').and_then(|(oid, name)| Some((oid.parse().ok()?, name))))
            .collect()
    })
}

/// The name of a function that a type names; `None` for others.
pub fn function_name(oid: u32) -> Option<&'static str> {
    functions().iter().find(|(known, _)| *known == oid).map(|(_, name)| *name)
}

/// The oid of a function that a type names; `None` for others.
pub fn function_oid(name: &str) -> Option<u32> {
    static INDEX: OnceLock<HashMap<&'static str, u32>> = OnceLock::new();
    INDEX.get_or_init(|| functions().iter().map(|(oid, name)| (*name, *oid)).collect()).get(name).copied()
}

fn pg_type(_: &SystemContext, rows: &mut Rows<'_>) {
    for fields in lines() {
        let mut row: Vec<(&str, Cell)> =
            COLUMNS.iter().zip(fields).map(|(name, text)| (*name, cell(name, text))).collect();
        row.push(("typnamespace", 11u32.into()));
        row.push(("typowner", 10u32.into()));
        rows.push(&row);
    }
}

fn cell(column: &str, text: &str) -> Cell {
    match column {
        "typname" | "typtype" | "typcategory" | "typdelim" | "typalign" | "typstorage" => text.into(),
        "typbyval" | "typispreferred" | "typisdefined" | "typnotnull" => (text == "t").into(),
        "typsubscript" | "typinput" | "typoutput" | "typreceive" | "typsend" | "typmodin" | "typmodout"
        | "typanalyze" => function_oid(text).unwrap_or(0).into(),
        _ => text.parse::<i64>().map_or(Cell::Null, Cell::Int),
    }
}

fn pg_range(_: &SystemContext, rows: &mut Rows<'_>) {
    for (range, subtype, multirange) in [
        (3904, 23, 4451),
        (3906, 1700, 4532),
        (3908, 1114, 4533),
        (3910, 1184, 4534),
        (3912, 1082, 4535),
        (3926, 20, 4536),
    ] {
        rows.push(&[("rngtypid", range.into()), ("rngsubtype", subtype.into()), ("rngmultitypid", multirange.into())]);
    }
}
