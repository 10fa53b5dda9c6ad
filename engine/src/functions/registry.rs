//! The one list of functions: what the binder resolves names against, what the executor looks ids up in, and what SHOW FUNCTIONS
//! shows.
//!
//! Every family's file gives its declarations; [`registry`] collects them once per process and numbers each overload in the order it
//! was declared. Ids are therefore stable within one binary only: whatever is stored names functions by name.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use weir_sql::catalog::{FunctionId, FunctionKind, Functions, Param, Returns, Signature, Volatility};

use super::example_list::example_of;
use super::window::WindowFunction;
use super::{Overload, ScalarFunction};
use crate::aggregates::{self, AggregateFunction, AggregateOverload};
use crate::exec::context::{TableFunction, TableOverload};

/// Everything that can be called.
#[derive(Debug, Default)]
pub struct Registry {
    implementations: Vec<Implementation>,
    volatilities: Vec<Volatility>,
    functions: Vec<FunctionInfo>,
    /// Keys are lower-case: names are found whether the client folded them or not.
    by_name: HashMap<String, Vec<Signature>>,
    names: Vec<&'static str>,
}

/// What is behind a [`FunctionId`].
#[derive(Debug, Clone)]
pub enum Implementation {
    /// One value a row.
    Scalar(Overload),
    /// One value a group.
    Aggregate(AggregateOverload),
    /// Rows.
    Table(TableOverload),
    /// One value a row, from its place among others.
    Window(WindowFunction),
}

/// A function as SHOW FUNCTIONS lists it.
#[derive(Debug, Clone)]
pub struct FunctionInfo {
    /// Its name, then its other names.
    pub names: &'static [&'static str],
    /// What kind it is.
    pub kind: FunctionKind,
    /// Its family.
    pub family: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// A SELECT and what it gives.
    pub example: (&'static str, &'static str),
    /// Whether two calls may differ.
    pub volatility: Volatility,
    /// Each overload's arguments and result, as text: `("integer, integer", "integer")`.
    pub signatures: Vec<(String, String)>,
    /// The ids of its overloads, in the order of `signatures`.
    pub ids: Range<u32>,
}

/// One row of SHOW FUNCTIONS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionRow {
    /// One of its names.
    pub name: &'static str,
    /// `scalar`, `aggregate`, `window`, `table`.
    pub kind: &'static str,
    /// Its family.
    pub family: &'static str,
    /// What it takes and gives: `(integer, integer) → integer`, one line an overload (the first few, where there are many).
    pub signatures: String,
    /// One sentence.
    pub doc: &'static str,
    /// What to try.
    pub example: &'static str,
    /// What that gives.
    pub result: &'static str,
}

/// Each family's declarations. A new family is added here.
const SCALAR_FAMILIES: &[fn() -> Vec<ScalarFunction>] = &[
    super::compare::functions,
    super::arithmetic::functions,
    super::moments::functions,
    super::math::functions,
    super::math_numeric::functions,
    super::families::functions,
];

/// Each family's declarations of functions that give rows.
const TABLE_FAMILIES: &[fn() -> Vec<TableFunction>] = &[super::table::functions];

/// The process's functions.
pub fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut registry = Registry::default();
        for family in SCALAR_FAMILIES {
            for function in family() {
                registry.add_scalar(function);
            }
        }
        for function in aggregates::functions() {
            registry.add_aggregate(function);
        }
        for family in TABLE_FAMILIES {
            for function in family() {
                registry.add_table(function);
            }
        }
        for (info, shapes, function) in super::window::functions() {
            registry.add(info, shapes.into_iter().map(|shape| (shape, Implementation::Window(function))));
        }
        registry
    })
}

impl Registry {
    fn add_scalar(&mut self, function: ScalarFunction) {
        let ScalarFunction { names, family, doc, example, volatility, overloads } = function;
        let overloads = overloads.into_iter().map(|o| {
            let shape = Shape {
                params: o.params.clone(),
                optional: o.optional,
                variadic: o.variadic,
                returns: o.returns.clone(),
            };
            (shape, Implementation::Scalar(o))
        });
        let info = FunctionInfo {
            names,
            kind: FunctionKind::Scalar,
            family,
            doc,
            example,
            volatility,
            signatures: Vec::new(),
            ids: 0..0,
        };
        self.add(info, overloads);
    }

    fn add_aggregate(&mut self, function: AggregateFunction) {
        let AggregateFunction { names, family, doc, example, overloads } = function;
        let overloads = overloads.into_iter().map(|o| {
            let shape = Shape {
                params: o.params.clone(),
                optional: o.optional,
                variadic: o.variadic,
                returns: o.returns.clone(),
            };
            (shape, Implementation::Aggregate(o))
        });
        let info = FunctionInfo {
            names,
            kind: FunctionKind::Aggregate,
            family,
            doc,
            example,
            volatility: Volatility::Immutable,
            signatures: Vec::new(),
            ids: 0..0,
        };
        self.add(info, overloads);
    }

    fn add_table(&mut self, function: TableFunction) {
        let TableFunction { names, family, doc, example, overloads } = function;
        let overloads = overloads.into_iter().map(|o| {
            let shape = Shape {
                params: o.params.clone(),
                optional: o.optional,
                variadic: o.variadic,
                returns: o.returns.clone(),
            };
            (shape, Implementation::Table(o))
        });
        let info = FunctionInfo {
            names,
            kind: FunctionKind::Table,
            family,
            doc,
            example,
            volatility: Volatility::Volatile,
            signatures: Vec::new(),
            ids: 0..0,
        };
        self.add(info, overloads);
    }

    /// Adds a function: `info` with neither signatures nor ids yet, and each overload's shape and code.
    pub(crate) fn add(&mut self, mut info: FunctionInfo, overloads: impl Iterator<Item = (Shape, Implementation)>) {
        if info.example.0.is_empty() {
            info.example = info.names.first().and_then(|name| example_of(name)).unwrap_or_default();
        }
        let first = self.implementations.len() as u32;
        for (shape, implementation) in overloads {
            let id = FunctionId(self.implementations.len() as u32);
            self.implementations.push(implementation);
            self.volatilities.push(info.volatility);
            info.signatures.push(shape.describe());
            for (i, name) in info.names.iter().enumerate() {
                // Two spellings of one name are found as one.
                if info.names[..i].iter().any(|known| known.eq_ignore_ascii_case(name)) {
                    continue;
                }
                self.by_name.entry(name.to_ascii_lowercase()).or_default().push(Signature {
                    id,
                    kind: info.kind,
                    params: shape.params.clone(),
                    optional: shape.optional,
                    variadic: shape.variadic,
                    returns: shape.returns.clone(),
                    volatility: info.volatility,
                });
            }
        }
        info.ids = first..self.implementations.len() as u32;
        for name in info.names {
            if !self.names.contains(name) {
                self.names.push(name);
            }
        }
        self.functions.push(info);
    }

    /// The code behind an id. Panics on an id that this process did not give out.
    pub fn implementation(&self, id: FunctionId) -> &Implementation {
        &self.implementations[id.0 as usize]
    }

    /// The scalar overload behind an id; `None` if it is not a scalar function.
    pub fn scalar(&self, id: FunctionId) -> Option<&Overload> {
        match self.implementation(id) {
            Implementation::Scalar(overload) => Some(overload),
            _ => None,
        }
    }

    /// Whether two calls may differ.
    pub fn volatility(&self, id: FunctionId) -> Volatility {
        self.volatilities[id.0 as usize]
    }

    /// All functions, in the order they were declared.
    pub fn functions(&self) -> &[FunctionInfo] {
        &self.functions
    }

    /// SHOW FUNCTIONS: a row for each name of each function.
    pub fn rows(&self) -> Vec<FunctionRow> {
        let mut rows = Vec::new();
        for f in &self.functions {
            for name in f.names {
                rows.push(FunctionRow {
                    name,
                    kind: match f.kind {
                        FunctionKind::Scalar => "scalar",
                        FunctionKind::Aggregate => "aggregate",
                        FunctionKind::Window => "window",
                        FunctionKind::Table => "table",
                    },
                    family: f.family,
                    signatures: describe_all(&f.signatures),
                    doc: f.doc,
                    example: f.example.0,
                    result: f.example.1,
                });
            }
        }
        rows.sort_by_key(|row| row.name);
        rows
    }
}

/// The first overloads' signatures, and how many more there are.
fn describe_all(signatures: &[(String, String)]) -> String {
    const SHOWN: usize = 8;
    let mut lines: Vec<String> =
        signatures.iter().take(SHOWN).map(|(params, returns)| format!("({params}) → {returns}")).collect();
    if signatures.len() > SHOWN {
        lines.push(format!("and {} more", signatures.len() - SHOWN));
    }
    lines.join("\n")
}

impl Functions for Registry {
    fn overloads(&self, name: &str) -> &[Signature] {
        let found = if name.bytes().any(|b| b.is_ascii_uppercase()) {
            self.by_name.get(&name.to_ascii_lowercase())
        } else {
            self.by_name.get(name)
        };
        found.map_or(&[], Vec::as_slice)
    }

    fn names(&self) -> Vec<&str> {
        self.names.clone()
    }

    fn aggregate(&self, id: FunctionId) -> (&str, bool) {
        let info = self.functions.iter().find(|info| info.ids.contains(&id.0));
        let name = info.and_then(|info| info.names.first()).copied().unwrap_or_default();
        match self.implementation(id) {
            Implementation::Aggregate(overload) if overload.condition => (&name[..name.len() - "If".len()], true),
            _ => (name, false),
        }
    }

    fn parameters_last(&self, id: FunctionId) -> bool {
        matches!(self.implementation(id), Implementation::Aggregate(overload) if overload.parameters_last)
    }
}

/// What a call of an overload looks like.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) params: Vec<Param>,
    pub(crate) optional: usize,
    pub(crate) variadic: bool,
    pub(crate) returns: Returns,
}

impl Shape {
    /// Arguments and result as SHOW FUNCTIONS writes them.
    fn describe(&self) -> (String, String) {
        let required = self.params.len() - self.optional.min(self.params.len());
        let mut params = Vec::new();
        for (i, param) in self.params.iter().enumerate() {
            let mut text = describe_param(param);
            if self.variadic && i + 1 == self.params.len() {
                text.push_str(", …");
            }
            params.push(if i < required { text } else { format!("[{text}]") });
        }
        let returns = match &self.returns {
            Returns::Exact(ty) => ty.to_string(),
            Returns::Element => "anyelement".into(),
            Returns::ArrayOfElement => "anyarray".into(),
            Returns::Argument(i) => self.params.get(*i).map_or("any".into(), describe_param),
            Returns::Computed(f) => {
                let exact: Option<Vec<_>> = self
                    .params
                    .iter()
                    .map(|p| match p {
                        Param::Exact(ty) => Some(ty.clone()),
                        _ => None,
                    })
                    .collect();
                exact.map_or("depends on the arguments".into(), |types| f(&types).to_string())
            }
        };
        (params.join(", "), returns)
    }
}

fn describe_param(param: &Param) -> String {
    match param {
        Param::Exact(ty) => ty.to_string(),
        Param::Any => "any".into(),
        Param::AnyNonArray => "anynonarray".into(),
        Param::AnyElement => "anyelement".into(),
        Param::AnyArray => "anyarray".into(),
        Param::AnyInteger => "any integer".into(),
        Param::AnyNumber => "any number".into(),
        Param::AnyTimestamp => "any timestamp".into(),
        Param::AnyState => "any state".into(),
        Param::AnyMap => "any map".into(),
        Param::Lambda => "lambda".into(),
        Param::LambdaOf(ty) => format!("lambda → {ty}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_ids_lead_back() {
        let registry = registry();
        let lower = registry.overloads("isdistinctfrom");
        assert!(!lower.is_empty());
        assert_eq!(lower.len(), registry.overloads("isDistinctFrom").len());
        for signature in lower {
            let overload = registry.scalar(signature.id).expect("it is scalar");
            assert_eq!(overload.params, signature.params);
        }
        assert!(registry.overloads("no_such_function").is_empty());
    }

    #[test]
    fn every_name_has_a_row_and_a_sentence() {
        let rows = registry().rows();
        for name in registry().names() {
            assert!(rows.iter().any(|row| row.name == name), "{name} is not in SHOW FUNCTIONS");
        }
        for row in rows {
            assert!(row.doc.ends_with('.'), "{}'s documentation is not a sentence: {:?}", row.name, row.doc);
        }
    }
}
