//! Functions as pg_proc shows them, and their oids for regproc.
//!
//! Functions that Postgres's own types name (`boolin`, …) keep Postgres's oids; ours have [`FIRST_OID`] plus their number in this binary's
//! registry, so that they never meet an oid of the catalogue. They are stable within one binary only.

use std::collections::HashMap;
use std::sync::OnceLock;

use weir_sql::catalog::{FunctionKind, Functions, Param, Returns, Volatility};

use super::system::{type_function_name, type_function_oid};
use crate::functions::registry::registry;

/// The oid of the function with id 0.
const FIRST_OID: u32 = 0x4000_0000;

/// A row of pg_proc.
#[derive(Debug)]
pub struct Proc {
    /// Its oid.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// `f`, `a` or `w`.
    pub kind: &'static str,
    /// Whether it gives rows.
    pub set: bool,
    /// `i`, `s` or `v`.
    pub volatility: &'static str,
    /// Types of its arguments, by oid.
    pub arguments: Vec<u32>,
    /// The type of its result, by oid.
    pub returns: u32,
    /// One sentence.
    pub doc: &'static str,
}

/// All our functions, a row for each name and overload. Operators are not functions to Postgres.
pub fn list() -> &'static [Proc] {
    static LIST: OnceLock<Vec<Proc>> = OnceLock::new();
    LIST.get_or_init(|| {
        let registry = registry();
        let mut list = Vec::new();
        let docs: HashMap<&str, &'static str> =
            registry.functions().iter().flat_map(|f| f.names.iter().map(|name| (*name, f.doc))).collect();
        let mut names: Vec<&str> = registry.names();
        names.retain(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'));
        names.sort_unstable();
        for name in names {
            for signature in registry.overloads(name) {
                list.push(Proc {
                    oid: FIRST_OID + list.len() as u32,
                    name: name.to_string(),
                    kind: match signature.kind {
                        FunctionKind::Aggregate => "a",
                        FunctionKind::Window => "w",
                        _ => "f",
                    },
                    set: signature.kind == FunctionKind::Table,
                    volatility: match signature.volatility {
                        Volatility::Immutable => "i",
                        Volatility::Stable => "s",
                        Volatility::Volatile => "v",
                    },
                    arguments: signature.params.iter().map(param_oid).collect(),
                    returns: match &signature.returns {
                        Returns::Exact(ty) => ty.oid(),
                        Returns::Element | Returns::Argument(_) | Returns::Computed(_) => 2283,
                        Returns::ArrayOfElement => 2277,
                    },
                    doc: docs.get(name).copied().unwrap_or_default(),
                });
            }
        }
        list
    })
}

fn param_oid(param: &Param) -> u32 {
    match param {
        Param::Exact(ty) => ty.oid(),
        Param::AnyArray => 2277,
        Param::AnyElement => 2283,
        _ => 2276,
    }
}

/// The oid of a function, for regproc; of its first overload, where there are several.
pub fn oid(name: &str) -> Option<u32> {
    static INDEX: OnceLock<HashMap<&'static str, u32>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        let mut index = HashMap::new();
        for function in list() {
            index.entry(function.name.as_str()).or_insert(function.oid);
        }
        index
    });
    type_function_oid(name).or_else(|| index.get(name).copied())
}

/// One of our functions by its oid.
pub fn by_oid(oid: u32) -> Option<&'static Proc> {
    list().get(oid.checked_sub(FIRST_OID)? as usize)
}

/// The name of a function, for regproc.
pub fn name(oid: u32) -> Option<String> {
    if let Some(name) = type_function_name(oid) {
        return Some(name.to_string());
    }
    by_oid(oid).map(|function| function.name.clone())
}
